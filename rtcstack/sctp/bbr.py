"""A model-based controller: it measures bandwidth and base round-trip time and sends at that rate."""

from __future__ import annotations

import enum
import math
from collections import deque

from rtcstack.sctp.congestion import CongestionControl, Transmission

__all__ = ["Bbr", "Phase"]

_BANDWIDTH_ROUNDS = 10
"""Round trips for which the highest delivery rate is remembered: longer than a cycle of probing."""
_BASE_RTT_SECONDS = 10.0
"""Seconds without a round trip as short as the base one after which the queue is emptied to see it anew."""
_EMPTY_SECONDS = 0.2
"""Seconds for which the queue is kept empty then."""
_CRUISE_ROUNDS = 6
"""Base round trips at the estimated rate between two searches for more."""
_DRAIN_ROUNDS = 4
"""Base round trips, at most, for emptying a queue: what is left of it then is made by others."""
_CRUISE_AFTER_LOSS = 2.0
"""Seconds of it, at least, after a search that filled a queue: loss-based flows get time to come back."""

_WORTHWHILE = 1.15
"""Growth of the bandwidth since the last search began after which the next follows at once; on a path that is
full, of us or of others, a search finds less."""
_GROWTH = 1.25
"""Growth of the bandwidth in a round trip of STARTUP under which the path may be full."""
_FULL_ROUNDS = 3
"""Round trips with less growth that end STARTUP."""
_QUEUE_SHARE = 0.125
_QUEUE_LEAST = 0.004
"""A queue stands if all packets of a round took longer than the base round trip by this share of it, and by
these seconds."""
_LOSS_WITH_QUEUE = 0.02
_LOSS_WITHOUT_QUEUE = 0.2
"""Share of a round's bytes whose loss tells of congestion. Without a queue, loss below a fifth is the path's
own and says nothing of the rate; a search at 1.25 times the rate of a path without a queue loses a fifth."""
_LOSS_PACKETS = 3
"""Packets that may be lost by chance: such a round loses more."""
_BETA = 0.7
"""Share of the flight that is allowed after congestion."""
_HEADROOM = 0.85
"""Share of what congestion has left that is used between searches, so that other flows find room."""

_LEAST_WINDOW = 4
"""Packets: enough for a SACK to report a loss."""
_PACING_MARGIN = 0.99
"""Share of the estimated bandwidth that is used, so that a queue shrinks rather than grows."""
_QUANTUM_SECONDS = 0.001
_QUANTUM_LARGEST = 65536
"""The largest burst, in seconds of the rate and in bytes; the window allows for three of them more."""


class Phase(enum.Enum):
    """What the controller is doing: (gain on the bandwidth, gain on the bandwidth-delay product)."""

    STARTUP = (2.77, 2.0)
    """Doubles the rate in each round trip."""
    DRAIN = (0.5, 2.0)
    """Empties the queue that STARTUP has made."""
    CRUISE = (1.0, 2.0)
    """Sends at the estimated bandwidth."""
    UP = (1.25, 2.0)
    """Searches for more."""
    DOWN = (0.75, 2.0)
    """Empties the queue that UP has made."""
    PROBE_RTT = (1.0, 0.5)
    """Keeps the queue empty for a moment, to measure the base round trip."""


class Bbr(CongestionControl):
    """Bottleneck bandwidth and round-trip propagation time, in the line of BBR versions 1 and 3.

    The bandwidth is the highest delivery rate of some rounds, the base round trip the shortest of a few
    seconds. Packets leave at the bandwidth times the gain of the phase, and the flight is bound to twice what
    the path holds. Random loss changes nothing; loss with a standing queue, or very much loss, lowers that.

    Source: draft-cardwell-iccrg-bbr-congestion-control; what differs is that STARTUP ends at the first round
    with a standing queue, and that what loss means depends on whether there is one.
    """

    name = "bbr"

    def __init__(self, mtu: int, initial_window: int) -> None:
        super().__init__(mtu, initial_window)
        self._window_before = 0
        self._forget()

    def _forget(self) -> None:
        """Begin as if nothing were known of the path."""
        self.phase = Phase.STARTUP
        self.bandwidth = 0.0
        """Bytes a second that the bottleneck delivers to us; 0 = not known."""
        self.base_rtt = math.inf
        """Seconds of a round trip without a queue."""
        self.bound = math.inf
        """Bytes that may be in flight after congestion."""
        self.pacing_rate = math.inf
        self._phase_since = 0.0
        self._known_bandwidth = 0.0
        self._rates: deque[tuple[int, float]] = deque()
        self._base_rtt_at = 0.0
        self._empty_until = math.inf
        self._cruise = 0.0
        self._is_full = False
        self._full_bandwidth = 0.0
        self._full_rounds = 0
        self._round = 0
        self._round_end = -1
        self._round_began_with = 0
        self._round_lost = 0
        self._round_rtt = math.inf
        self._peak = 0
        self._last_peak = 0

    @property
    def product(self) -> float:
        """Bytes that the path holds, bandwidth times base round trip; infinite = not known."""
        return self.bandwidth * self.base_rtt if self.bandwidth else math.inf

    def on_sent(self, now: float, size: int, flight: int) -> None:
        """Follow how much is in flight."""
        if flight > self._peak:
            self._peak = flight

    def on_acknowledged(
        self,
        now: float,
        acked: int,
        lost: int,
        flight: int,
        rtt: float,
        newest: Transmission,
        delivered: int,
        limited: bool,
    ) -> None:
        """Update the model, and the rate and the window with it."""
        if rtt >= 0:
            self._measure_rtt(now, rtt)
        self._measure_bandwidth(now, newest, delivered)
        self._round_lost += lost
        if newest[1] >= self._round_end:
            self._end_round(now, delivered, newest[4])
        self._follow_flight(now, flight)
        self._set_rate()
        self._set_window(acked)

    def _measure_rtt(self, now: float, rtt: float) -> None:
        self._round_rtt = min(self._round_rtt, rtt)
        if rtt <= self.base_rtt:
            self.base_rtt = rtt
            self._base_rtt_at = now
        elif now - self._base_rtt_at > _BASE_RTT_SECONDS and self.phase is not Phase.PROBE_RTT:
            self.base_rtt = rtt
            self._base_rtt_at = now
            self._enter(Phase.PROBE_RTT, now)
            self._empty_until = math.inf

    def _measure_bandwidth(self, now: float, newest: Transmission, delivered: int) -> None:
        """Take the delivery rate of the packet acknowledged last.

        Over the longer of what sending and what acknowledging took, so that neither bursts nor bundled SACKs
        count as bandwidth.

        Source: draft-cheng-iccrg-delivery-rate-estimation section 3.3.
        """
        sent_at, delivered_then, delivered_at, first_sent_at, application_limited = newest
        interval = max(now - delivered_at, sent_at - first_sent_at)
        if interval <= 0 or interval < self.base_rtt < math.inf:
            return
        rate = (delivered - delivered_then) / interval
        if application_limited and rate < self.bandwidth:
            return
        rates = self._rates
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((self._round, rate))
        while rates[0][0] <= self._round - _BANDWIDTH_ROUNDS:
            rates.popleft()
        self.bandwidth = rates[0][1]

    def _end_round(self, now: float, delivered: int, application_limited: bool) -> None:
        """Judge a round trip: what was sent in the last one has been acknowledged or lost."""
        arrived = delivered - self._round_began_with
        lost = self._round_lost
        has_queue = self._round_rtt > self.base_rtt + max(self.base_rtt * _QUEUE_SHARE, _QUEUE_LEAST)
        tolerated = _LOSS_WITH_QUEUE if has_queue else _LOSS_WITHOUT_QUEUE
        is_congested = lost > _LOSS_PACKETS * self.mtu and lost > (arrived + lost) * tolerated
        if self.phase is Phase.STARTUP:
            if self.bandwidth >= self._full_bandwidth * _GROWTH:
                self._full_bandwidth = self.bandwidth
                self._full_rounds = 0
                is_congested = False  # what was lost was lost to bursts: there is room for more
            elif not application_limited:
                self._full_rounds += 1
            if is_congested or has_queue or self._full_rounds >= _FULL_ROUNDS:
                self._is_full = True
                self._enter(Phase.DRAIN, now)
        elif self.phase is Phase.UP:
            if is_congested:
                self._enter(Phase.DOWN, now)
            elif self._peak > _HEADROOM * self.bound:
                self.bound *= _GROWTH
        if is_congested:
            self.bound = max(_BETA * max(self._peak, self._last_peak), _LEAST_WINDOW * self.mtu)
            self._cruise = _CRUISE_AFTER_LOSS
        self._round += 1
        self._round_end = delivered
        self._round_began_with = delivered
        self._round_lost = 0
        self._round_rtt = math.inf
        self._last_peak = self._peak
        self._peak = 0

    def _follow_flight(self, now: float, flight: int) -> None:
        """Leave phases that end at a time or at a level of the flight."""
        phase = self.phase
        if phase is Phase.CRUISE:
            has_grown = self.bandwidth > _WORTHWHILE * self._known_bandwidth
            rounds = 0 if has_grown else _CRUISE_ROUNDS
            if now - self._phase_since > max(rounds * self.base_rtt, self._cruise):
                self._cruise = 0.0
                self._enter(Phase.UP, now)
        elif phase is Phase.UP:
            if now - self._phase_since > self.base_rtt and flight >= Phase.UP.value[0] * self.product:
                self._enter(Phase.DOWN, now)
        elif phase is Phase.DOWN or phase is Phase.DRAIN:
            if flight <= self.product or now - self._phase_since > _DRAIN_ROUNDS * self.base_rtt:
                self._enter(Phase.CRUISE, now)
        elif phase is Phase.PROBE_RTT:
            if self._empty_until == math.inf:
                if flight <= self.cwnd:
                    self._empty_until = now + max(_EMPTY_SECONDS, self.base_rtt)
            elif now > self._empty_until:
                self._base_rtt_at = now
                self._enter(Phase.CRUISE if self._is_full else Phase.STARTUP, now)

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase = phase
        self._phase_since = now
        if phase is Phase.UP or phase is Phase.DRAIN:
            self._known_bandwidth = self.bandwidth

    def _set_rate(self) -> None:
        if not self.bandwidth:
            if self.base_rtt < math.inf:
                self.pacing_rate = Phase.STARTUP.value[0] * self.cwnd / max(self.base_rtt, _QUANTUM_SECONDS)
            return
        rate = self.phase.value[0] * _PACING_MARGIN * self.bandwidth
        if self._is_full or rate > self.pacing_rate or self.pacing_rate == math.inf:
            self.pacing_rate = rate

    def _set_window(self, acked: int) -> None:
        burst = min(self.pacing_rate * _QUANTUM_SECONDS, _QUANTUM_LARGEST)
        target = self.phase.value[1] * self.product
        if self.phase is not Phase.PROBE_RTT:
            target += 3 * max(burst, 2 * self.mtu)
        if self.phase is Phase.UP or self.phase is Phase.STARTUP:
            target = min(target, self.bound)
        else:
            target = min(target, _HEADROOM * self.bound)
        least = _LEAST_WINDOW * self.mtu
        grown = self.cwnd + acked
        if not self._is_full:
            grown = max(grown, self.initial_window)
        self.cwnd = max(int(min(grown, target)), least)

    def on_timeout(self, now: float, flight: int, consecutive: int) -> None:
        """Begin with a small window again; after a second expiration the path may be another one."""
        if consecutive == 1:
            self._window_before = self.cwnd
        elif consecutive == 2:
            self._forget()
        self.cwnd = _LEAST_WINDOW * self.mtu if consecutive == 1 else self.mtu

    def on_spurious(self, now: float) -> None:
        """Restore the window from before the time-out."""
        self.cwnd = max(self.cwnd, self._window_before)
