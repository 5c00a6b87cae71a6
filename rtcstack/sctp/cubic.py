"""CUBIC with HyStart++: the window grows with the time since the last loss, not with the round-trip time."""

from __future__ import annotations

import math

from rtcstack.sctp.congestion import LossBased, Transmission

__all__ = ["Cubic"]

_C = 0.4
"""How steep the curve is: packets per cubed second (RFC 9438 section 5)."""
_BETA = 0.7
"""Share of the window that a loss leaves (RFC 9438 section 4.6)."""
_ALPHA = 3 * (1 - _BETA) / (1 + _BETA)
"""Packets a round trip at which a flow with _BETA gets as much as one of NewReno (section 4.3)."""

# RFC 9406 section 4.3, with its names; thresholds in seconds.
_LEAST_THRESHOLD = 0.004  # MIN_RTT_THRESH
_LARGEST_THRESHOLD = 0.016  # MAX_RTT_THRESH
_THRESHOLD_DIVISOR = 8  # MIN_RTT_DIVISOR
_SAMPLES = 8  # N_RTT_SAMPLE
_CAREFUL_DIVISOR = 4  # CSS_GROWTH_DIVISOR
_CAREFUL_ROUNDS = 5  # CSS_ROUNDS


class HyStart:
    """Watches the round-trip time in the first slow start and tells when a queue begins to build up.

    growth    what the bytes acknowledged are divided by before they widen the window.

    Source: RFC 9406 section 4.2.
    """

    __slots__ = ("_baseline", "_careful_rounds", "_last_least", "_least", "_samples", "growth")

    def __init__(self) -> None:
        self.growth = 1
        self._last_least = math.inf
        self._least = math.inf
        self._samples = 0
        self._baseline = math.inf
        self._careful_rounds = 0

    def begin_round(self) -> bool:
        """Begin a round trip; tell whether slow start is to end, as the queue has lasted."""
        self._last_least, self._least = self._least, math.inf
        self._samples = 0
        if self.growth == 1:
            return False
        self._careful_rounds += 1
        return self._careful_rounds >= _CAREFUL_ROUNDS

    def measured(self, rtt: float) -> None:
        """Take a round-trip time, seconds."""
        self._least = min(self._least, rtt)
        self._samples += 1
        if self._samples < _SAMPLES:
            return
        if self.growth > 1:
            if self._least < self._baseline:
                self.growth = 1
        elif self._last_least < math.inf:
            threshold = max(_LEAST_THRESHOLD, min(self._last_least / _THRESHOLD_DIVISOR, _LARGEST_THRESHOLD))
            if self._least >= self._last_least + threshold:
                self.growth = _CAREFUL_DIVISOR
                self._baseline = self._least
                self._careful_rounds = 0


class Cubic(LossBased):
    """The controller of RFC 9438, with the slow start of RFC 9406.

    After a loss at a window of W the window first comes back to W quickly, stays near it for a while and then
    searches faster and faster for more. Where NewReno would do better, with short round trips and small
    windows, it grows as NewReno does.
    """

    name = "cubic"

    def __init__(self, mtu: int, initial_window: int) -> None:
        super().__init__(mtu, initial_window)
        self._hystart: HyStart | None = HyStart()
        self._round_end = 0
        self._acknowledged_at = 0.0
        self._epoch_start = math.nan
        """Seconds when growth along the curve began; nan = a new curve begins with the next growth."""
        self._plateau = 0.0
        """W_max: the window, bytes, that the curve is flat at; 0 = where the curve begins."""
        self._time_to_plateau = 0.0
        """K: seconds from the beginning of the curve to the plateau."""
        self._reno_window = 0.0
        """W_est: bytes that NewReno would have."""
        self._window_before = 0.0
        """cwnd_prior: bytes before the last reduction."""
        self._growth = 0.0
        """Bytes of growth that the window, a whole number, has not taken yet."""
        self._curve_before = (math.nan, 0.0, 0.0, 0.0, 0.0)

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
        """Grow the window; rounds and round-trip times are followed here."""
        if not limited:
            # Section 5.8: the curve stands still while the application, not the window, limits the sender.
            self._epoch_start += now - self._acknowledged_at
        self._acknowledged_at = now
        if self._hystart is not None:
            if newest[1] >= self._round_end:
                self._round_end = delivered
                if self._hystart.begin_round():
                    self.ssthresh = self.cwnd
            if self.cwnd >= self.ssthresh:
                self._hystart = None
            elif rtt >= 0:
                self._hystart.measured(rtt)
        super().on_acknowledged(now, acked, lost, flight, rtt, newest, delivered, limited)

    def _start_slowly(self, now: float, acked: int, rtt: float) -> None:
        self.cwnd += acked // self._hystart.growth if self._hystart is not None else acked

    def _avoid(self, now: float, acked: int, rtt: float) -> None:
        if math.isnan(self._epoch_start):
            self._begin_curve(now)
        cwnd = self.cwnd
        self._reno_window += (
            (_ALPHA if self._reno_window < self._window_before else 1.0) * self.mtu * acked / cwnd
        )
        elapsed = now - self._epoch_start
        if self._curve(elapsed) < self._reno_window:
            growth = self._reno_window - cwnd
        else:
            target = min(self._curve(elapsed + self._srtt), 1.5 * cwnd)
            growth = (target - cwnd) * acked / cwnd
        if growth > 0:
            self._growth += growth
            whole = int(self._growth)
            self._growth -= whole
            self.cwnd = cwnd + whole

    def _begin_curve(self, now: float) -> None:
        """Begin a curve at the present window (RFC 9438 section 4.2)."""
        self._epoch_start = now
        self._growth = 0.0
        self._reno_window = self.cwnd
        if self._plateau > self.cwnd:
            self._time_to_plateau = math.cbrt((self._plateau - self.cwnd) / self.mtu / _C)
        else:
            self._plateau = self.cwnd
            self._time_to_plateau = 0.0

    def _curve(self, elapsed: float) -> float:
        """Return W_cubic, bytes, so many seconds after the curve began."""
        return _C * self.mtu * (elapsed - self._time_to_plateau) ** 3 + self._plateau

    def _reduce(self, now: float, flight: int) -> int:
        self._curve_before = (
            self._epoch_start,
            self._plateau,
            self._time_to_plateau,
            self._reno_window,
            self._window_before,
        )
        # Not the flight (RFC 9438 section 4.6 allows both): SACKs may have emptied it since we last sent.
        window = self.ssthresh if self._recovering else self.cwnd
        # Section 4.7, fast convergence: a flow that did not get its old window back makes room for another.
        self._plateau = window * (1 + _BETA) / 2 if window < self._plateau else window
        self._window_before = window
        self._epoch_start = math.nan
        self._hystart = None
        return int(window * _BETA)

    def on_timeout(self, now: float, flight: int, consecutive: int) -> None:
        """Reduce the window; the curve after the slow start begins flat (RFC 9438 section 4.8)."""
        super().on_timeout(now, flight, consecutive)
        self._plateau = 0.0
        self._epoch_start = math.nan
        self._hystart = None

    def on_spurious(self, now: float) -> None:
        """Restore window and curve from before the last reduction (RFC 9438 section 4.9)."""
        if self._before is not None:
            (
                self._epoch_start,
                self._plateau,
                self._time_to_plateau,
                self._reno_window,
                self._window_before,
            ) = self._curve_before
        super().on_spurious(now)
