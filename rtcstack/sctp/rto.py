"""Round-trip time and retransmission time-out (RFC 9260 section 6.3.1)."""

from __future__ import annotations

import math

__all__ = ["RoundTripTime"]

_MIN_RTT_WINDOW = 10.0
"""Seconds after which an old minimum is forgotten, so that a path that became longer is seen as such."""

_LEAST_SPREAD = 0.22
"""Seconds that a time-out is longer than the round trip, however steady that is (dcSCTP does the same).

A peer may keep its SACK back for 200 ms; what was measured by SACKs that came at once knows nothing of it."""


class RoundTripTime:
    """Smoothed, least and latest round-trip time, and the time-out that follows from them.

    All values are seconds. `srtt` and `latest` are 0.0 and `least` is math.inf before the first measurement.

    initial, smallest, largest    seconds, of the time-out.
    """

    __slots__ = (
        "_largest",
        "_next_least",
        "_smallest",
        "_window_end",
        "latest",
        "least",
        "rto",
        "rttvar",
        "srtt",
    )

    def __init__(self, initial: float, smallest: float, largest: float) -> None:
        self._smallest = smallest
        self._largest = largest
        self.srtt = 0.0
        self.rttvar = 0.0
        self.latest = 0.0
        self.least = math.inf
        self.rto = initial
        self._next_least = math.inf
        self._window_end = -math.inf

    def measured(self, rtt: float, now: float) -> None:
        """Take one sample.

        rtt    seconds, of something sent once only (Karn's rule, RFC 9260 section 6.3.1 C5); negative ones
               are
               taken as 0, for a clock that steps back.

        Source: RFC 9260 section 6.3.1 C2, C3, C6, C7.
        """
        if rtt < 0.0:
            rtt = 0.0
        self.latest = rtt
        if rtt <= self.least:
            self.least = rtt
        if rtt < self._next_least:
            self._next_least = rtt
        if now >= self._window_end:
            self.least = self._next_least
            self._next_least = rtt
            self._window_end = now + _MIN_RTT_WINDOW
        if self.srtt == 0.0:
            self.srtt = rtt
            self.rttvar = rtt / 2
        else:
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) / 4
            self.srtt += (rtt - self.srtt) / 8
        rto = self.srtt + max(4 * self.rttvar, _LEAST_SPREAD)
        if rto < self._smallest:
            rto = self._smallest
        self.rto = rto if rto < self._largest else self._largest

    def back_off(self) -> None:
        """Double the time-out, up to the largest (RFC 9260 section 6.3.3 E2)."""
        self.rto = min(self.rto * 2, self._largest)
