"""How fast to send: the interface of a congestion controller, and NewReno."""

from __future__ import annotations

import math

__all__ = ["CongestionControl", "LossBased", "NewReno", "Transmission"]

_PACED_FROM = 0.01
"""Seconds of round trip from which on a window is spread; nearer, timers are too coarse for it."""
_PACING_GAIN = 2
"""The window leaves in this part of a round trip, so that pacing never holds it back."""

Transmission = tuple[float, int, float, float, bool]
"""What is remembered about the moment at which a burst of packets was sent, shared by all its chunks:
(sent_at, delivered, delivered_at, first_sent_at, limited): seconds when it was sent; bytes delivered to the
peer by then; seconds when the last of those were acknowledged; seconds when the packet acknowledged last had
been sent; whether the application, not a window, limited the sender. A delivery-rate sample of an
acknowledged packet is (delivered now - delivered) / max(now - delivered_at, sent_at - first_sent_at)."""


class CongestionControl:
    """What the sender tells a congestion controller and what it asks of it; to be derived from.

    Windows and sizes are bytes of chunks in flight, times seconds. The sender decides what is lost and
    when a
    recovery begins and ends; the controller only sets `cwnd` and `pacing_rate`.

    mtu               bytes of chunks that fill a packet.
    initial_window    packets of the first window.
    """

    name = ""

    def __init__(self, mtu: int, initial_window: int) -> None:
        self.mtu = mtu
        self.initial_window = self._first_window = initial_window * mtu
        self.cwnd = self.initial_window
        """Bytes that may be in flight."""
        self.ssthresh = math.inf
        """Window above which growth is careful, bytes; for controllers that have one, and for the
        statistics."""
        self.pacing_rate = math.inf
        """Bytes a second at which packets leave; infinite = as a burst."""
        self.idle_burst = 0
        """Bytes that leave as a burst even so while nothing is in flight."""

    def on_sent(self, now: float, size: int, flight: int) -> None:
        """Take note of a burst, retransmissions included.

        size      bytes of user data that left at this instant.
        flight    bytes in flight, the burst included.
        """

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
        """Take note of one SACK that acknowledged something new.

        acked        bytes newly acknowledged, by the cumulative point or by gap blocks.
        lost         bytes newly found lost.
        flight       bytes in flight after both.
        rtt          seconds, of the newest of them; negative = no sample (it had been retransmitted).
        newest       the transmission of the newest of them.
        delivered    bytes acknowledged in all.
        limited      True if the congestion window held the sender back since the last SACK (else do not
                     grow).
        """
        raise NotImplementedError

    def on_loss(self, now: float, flight: int, lost: int) -> None:
        """Begin a recovery: something that was sent after the last recovery began is lost.

        flight    bytes in flight before this SACK.
        lost      bytes found lost.
        Then: on_acknowledged() follows, unless a timer found the loss.
        """

    def on_recovered(self, now: float) -> None:
        """End a recovery: all that was in flight when it began is acknowledged."""

    def on_timeout(self, now: float, flight: int, consecutive: int) -> None:
        """The retransmission timer expired; everything in flight counts as lost.

        flight         bytes in flight before.
        consecutive    expirations in a row, from 1.
        """

    def on_spurious(self, now: float) -> None:
        """The last loss or time-out was none: the peer had everything. Undo it."""

    def on_idle(self, now: float, idle: float, rto: float) -> None:
        """Sending starts again after a pause.

        idle    seconds since the last burst.
        rto     seconds, the retransmission time-out.
        """

    def on_mtu(self, mtu: int) -> None:
        """The path carries larger or only smaller packets from now on: bytes.

        The window holds two of them at least, as the first one would (RFC 9260 section 7.2.1).
        """
        self.mtu = mtu
        self.initial_window = max(self._first_window, 2 * mtu)
        self.cwnd = max(self.cwnd, 2 * mtu)


class LossBased(CongestionControl):
    """What controllers that slow down at each loss share: slow start, proportional rate reduction, undoing.

    A derived class says how the window grows once it has reached ssthresh (`_avoid`) and how far a loss
    lowers it
    (`_reduce`).

    Source: RFC 9260 section 7.2, RFC 6937 (proportional rate reduction with the slow-start reduction bound).
    """

    smallest_window = 4
    """Packets that a loss leaves at least (RFC 9260 section 7.2.3), so that three later ones can report the
    next."""

    def __init__(self, mtu: int, initial_window: int) -> None:
        super().__init__(mtu, initial_window)
        self._recovering = False
        self._flight_before = 0
        self._delivered = 0
        self._sent = 0
        self._before: tuple[int, float] | None = None
        self._srtt = 0.0
        self._least_rtt = math.inf
        self.idle_burst = self.initial_window  # RFC 9002 section 7.7

    def on_sent(self, now: float, size: int, flight: int) -> None:
        """Count what leaves during a recovery (RFC 6937 prr_out)."""
        self._sent += size

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
        """Grow the window, or during a recovery bring it down to ssthresh in step with what arrives."""
        if rtt >= 0:
            self._srtt = self._srtt + (rtt - self._srtt) / 8 if self._srtt else rtt
            if rtt < self._least_rtt:
                self._least_rtt = rtt
        if self._recovering:
            self._reduce_proportionally(acked, flight)
        elif limited:
            if self.cwnd < self.ssthresh:
                self._start_slowly(now, acked, rtt)
            else:
                self._avoid(now, acked, rtt)
        if self._least_rtt >= _PACED_FROM and self._srtt:
            # Spread over half a round trip, a window brings several SACKs: one of them may be lost (RFC 9002
            # section 7.7 recommends it for other reasons too).
            window = max(self.cwnd, self.ssthresh) if self._recovering else self.cwnd
            self.pacing_rate = _PACING_GAIN * window / self._srtt
        else:
            self.pacing_rate = math.inf

    def _start_slowly(self, now: float, acked: int, rtt: float) -> None:
        # DEVIATION RFC 9260 §7.2.1: not at most one packet a SACK. One SACK of a batch reports up to forty
        # packets; growing by the bytes acknowledged doubles the window in each round trip, as meant (RFC
        # 3465, RFC 9406).
        self.cwnd += acked

    def _avoid(self, now: float, acked: int, rtt: float) -> None:
        raise NotImplementedError

    def _reduce(self, now: float, flight: int) -> float:
        """Return the window to go on with after a loss, bytes."""
        raise NotImplementedError

    def _reduce_proportionally(self, acked: int, flight: int) -> None:
        self._delivered += acked
        threshold = int(self.ssthresh)
        if flight > threshold:
            allowed = -(-self._delivered * threshold // max(self._flight_before, 1)) - self._sent
        else:
            allowed = min(threshold - flight, max(self._delivered - self._sent, acked) + self.mtu)
        # The first retransmission leaves at once, whatever the rule says (RFC 9260 section 7.2.4).
        self.cwnd = flight + max(allowed, 0 if self._sent else self.mtu)

    def on_loss(self, now: float, flight: int, lost: int) -> None:
        """Lower ssthresh and let the window follow it during the recovery."""
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(self._reduce(now, flight), self.smallest_window * self.mtu)
        self._recovering = True
        self._flight_before = flight
        self._delivered = 0
        self._sent = 0
        self.cwnd = max(flight - lost, 0) + self.mtu

    def on_recovered(self, now: float) -> None:
        """Set the window to ssthresh."""
        if self._recovering:
            self._recovering = False
            self.cwnd = int(self.ssthresh)

    def on_timeout(self, now: float, flight: int, consecutive: int) -> None:
        """Halve after one expiration, start over from one packet after two in a row.

        A single time-out is most often a lost tail; two in a row say that the path is gone or overloaded.
        """
        # DEVIATION RFC 9260 §7.2.3: cwnd stays at 4 packets after a single time-out, as in QUIC (RFC 9002
        # §7.6).
        if consecutive == 1:
            self._before = (self.cwnd, self.ssthresh)
            self.ssthresh = max(self._reduce(now, flight), self.smallest_window * self.mtu)
        self._recovering = False
        self.cwnd = self.mtu if consecutive > 1 else self.smallest_window * self.mtu

    def on_spurious(self, now: float) -> None:
        """Restore the window and ssthresh from before the last reduction."""
        if self._before is not None:
            cwnd, self.ssthresh = self._before
            self.cwnd = max(self.cwnd, cwnd)
            self._recovering = False
            self._before = None

    def on_idle(self, now: float, idle: float, rto: float) -> None:
        """Halve the window for each time-out of silence, down to the initial one (RFC 9260 section 7.2.1)."""
        halvings = min(int(idle / rto), 32)
        if halvings and self.cwnd > self.initial_window:
            self.ssthresh = max(self.ssthresh, 3 * self.cwnd // 4)
            self.cwnd = max(self.cwnd >> halvings, self.initial_window)


class NewReno(LossBased):
    """The controller of RFC 9260 section 7.2: one packet more a round trip, half after a loss."""

    name = "newreno"

    def __init__(self, mtu: int, initial_window: int) -> None:
        super().__init__(mtu, initial_window)
        self._partial_bytes_acked = 0

    def _avoid(self, now: float, acked: int, rtt: float) -> None:
        self._partial_bytes_acked += acked
        if self._partial_bytes_acked >= self.cwnd:
            self._partial_bytes_acked -= self.cwnd
            self.cwnd += self.mtu

    def _reduce(self, now: float, flight: int) -> float:
        self._partial_bytes_acked = 0
        # The window, not the flight, which a SACK for a whole batch may have emptied; in a recovery the
        # window is on its way to ssthresh.
        return (self.ssthresh if self._recovering else self.cwnd) // 2
