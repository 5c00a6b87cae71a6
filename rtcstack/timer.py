"""One restartable deadline with back-off, as plain data."""

from __future__ import annotations

import math

__all__ = ["Timer"]


class Timer:
    """A deadline that its owner asks about; it calls nobody.

    All times are seconds on the caller's clock. `deadline` is math.inf while the timer is stopped.
    An expired timer is stopped: its owner decides whether to start it again.

    duration    seconds from start() to the deadline, at the first start.
    backoff     factor on the duration of each start(..., again=True).
    ceiling     seconds that the duration never exceeds.
    """

    __slots__ = ("_current", "backoff", "ceiling", "deadline", "duration", "expirations")

    def __init__(self, duration: float, *, backoff: float = 2.0, ceiling: float = math.inf) -> None:
        self.duration = duration
        self.backoff = backoff
        self.ceiling = ceiling
        self.deadline = math.inf
        self.expirations = 0
        self._current = duration

    @property
    def is_running(self) -> bool:
        """Whether a deadline is set."""
        return self.deadline != math.inf

    def start(self, now: float, duration: float | None = None) -> None:
        """Arm the timer afresh, the count of expirations at zero; it replaces a running deadline.

        duration    seconds, kept for later starts; None keeps the one in force.
        """
        if duration is not None:
            self.duration = duration
        self.expirations = 0
        self._current = min(self.duration, self.ceiling)
        self.deadline = now + self._current

    def stop(self) -> None:
        """Forget the deadline."""
        self.deadline = math.inf

    def expire(self, now: float) -> bool:
        """Tell, once, that the deadline has passed: True stops the timer and counts the expiration."""
        if now < self.deadline:
            return False
        self.deadline = math.inf
        self.expirations += 1
        return True

    def restart(self, now: float) -> None:
        """Arm the timer again after an expiration, `backoff` times longer than before, up to the ceiling."""
        self._current = min(self._current * self.backoff, self.ceiling)
        self.deadline = now + self._current
