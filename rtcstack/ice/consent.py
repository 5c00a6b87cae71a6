"""Consent to send on the selected pair, and whether the peer is still heard there (RFC 7675)."""

from __future__ import annotations

import math
from collections.abc import Callable

from rtcstack.ice.options import Options

__all__ = ["Consent"]

_TICK = 0.05
"""Seconds between the instants at which consent requests are sent."""


class Consent:
    """The timers of one pair since it was selected. Times are seconds on the caller's clock.

    answered        when the peer last answered a check on this pair.
    next_check      when the next consent request is due.
    expires         when sending must stop, unless an answer comes before.
    has_searched    whether other paths have been checked since the last answer on this one.

    A lite agent asks nothing: there the peer's own requests take the place of answers.
    Source: RFC 7675 section 5.1.
    """

    __slots__ = (
        "_earliest",
        "_heard",
        "_options",
        "_random_bytes",
        "_unanswered",
        "expires",
        "has_searched",
        "next_check",
    )

    def __init__(
        self,
        now: float,
        answered: float,
        options: Options,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._options = options
        self._random_bytes = random_bytes
        self._unanswered = math.inf
        self._heard = now
        self._earliest = math.inf
        self.expires = answered + options.consent_expiry
        self.has_searched = False
        if options.lite:
            self.next_check = math.inf
        elif answered + options.consent_interval < now:
            self.next_check = now  # The pair was valid long ago: less than 30 s may be left.
        else:
            self._schedule(now)

    def _schedule(self, now: float) -> None:
        # 0.8 to 1.2 times the interval, so that many connections do not check in step; but on ticks of the
        # clock, so that a thousand of them wake their program 20 times a second and not 200.
        fraction = int.from_bytes(self._random_bytes(2), "big") / 0xFFFF
        self._earliest = now + self._options.consent_interval * 0.8
        at = self._earliest + self._options.consent_interval * 0.4 * fraction
        tick = at // _TICK * _TICK
        self.next_check = tick if tick >= self._earliest else at

    def check_sent(self, now: float) -> None:
        """Note that a consent request has gone out; the next one is due 4 to 6 s later."""
        self._unanswered = min(self._unanswered, now)
        self._schedule(now)

    def refresh(self, now: float) -> None:
        """Note a valid answer: consent lasts for another 30 s."""
        self.expires = now + self._options.consent_expiry
        self.has_searched = False
        self.heard(now)

    def asked(self, now: float) -> None:
        """Note a request of the peer: if it is time, ours leaves with the answer, in the same breath.

        So both ends wake up together, and their questions and answers share system calls.
        """
        self.heard(now)
        if now >= self._earliest:
            self.next_check = now

    def heard(self, now: float) -> None:
        """Note a sign of life that gives no consent: an authenticated request or data of the peer."""
        self._heard = now
        self._unanswered = math.inf

    @property
    def silent_at(self) -> float:
        """When the peer counts as silent; inf while no consent request is unanswered.

        Both ends may have nothing to say for 6 s, so silence alone proves nothing: our question must have
        stayed unanswered too. A lite agent has no question, so it waits for the peer's next one.
        """
        options = self._options
        asked = self._heard + 1.2 * options.consent_interval if options.lite else self._unanswered
        if asked == math.inf:
            return math.inf
        return max(self._heard + options.disconnected_after, asked + options.answer_timeout)

    def is_overdue(self, now: float) -> bool:
        """Tell whether the last request should have been answered by now."""
        answered = self.expires - self._options.consent_expiry
        return now > answered + 1.2 * self._options.consent_interval + self._options.answer_timeout

    @property
    def doubtful_at(self) -> float:
        """When to look for another path: the peer is silent, or half of the consent has passed."""
        return min(self.silent_at, self._half_time)

    @property
    def _half_time(self) -> float:
        return self.expires - self._options.consent_expiry / 2

    def deadline(self, now: float) -> float:
        """Tell what comes first: a request, the peer's silence unless it has come, doubt, or the end."""
        silent_at = self.silent_at
        deadline = self.next_check if self.next_check < self.expires else self.expires
        if now < silent_at < deadline:
            deadline = silent_at
        return deadline if self.has_searched else min(deadline, silent_at, self._half_time)
