"""Which sockets can be read or written, asked in the cheapest way that the system has."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Iterable, Sequence

__all__ = ["Watch", "wait_for_any"]

HAS_POLL = hasattr(select, "poll")
"""Whether the system has poll(); Windows has select() alone, for at most 512 sockets."""

_SELECT_SECONDS = 0.002
"""Waits up to this are given to select(), which counts microseconds; poll() would round a pacer's to
milliseconds."""

_SELECT_DESCRIPTORS = 1024
"""FD_SETSIZE: select() takes no descriptor from here on."""


class Watch:
    """Tells which of some file descriptors can be read.

    One question for all of them costs a third of a read from a socket that has nothing.
    """

    __slots__ = ("_descriptors", "_largest", "_poll")

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._descriptors = list(descriptors)
        self._largest = max(self._descriptors, default=0)
        self._poll = select.poll() if HAS_POLL else None
        if self._poll is not None:
            for descriptor in self._descriptors:
                self._poll.register(descriptor, select.POLLIN)

    def readable(self, seconds: float = 0.0) -> list[int]:
        """List the descriptors that can be read; block until there is one, or time is over.

        seconds     not negative; math.inf for no limit.
        """
        descriptors = self._descriptors
        if not descriptors:
            if seconds:
                time.sleep(seconds)
            return []
        poll = self._poll
        if poll is None or (0 < seconds < _SELECT_SECONDS and self._largest < _SELECT_DESCRIPTORS):
            return select.select(descriptors, (), (), None if seconds == math.inf else seconds)[0]
        return [ready[0] for ready in poll.poll(None if seconds == math.inf else seconds * 1000)]


def wait_for_any(readers: Sequence[int], writers: Sequence[int], seconds: float) -> list[int]:
    """Block until one of `readers` can be read, one of `writers` be written, or time is over.

    readers, writers    file descriptors, at least one; each writer is among the readers too.
    seconds             not negative; math.inf for no limit.
    Returns those that are ready.
    """
    if not HAS_POLL:
        readable, writable, _ = select.select(readers, writers, (), None if seconds == math.inf else seconds)
        return list({*readable, *writable})
    poll = select.poll()
    for descriptor in readers:
        poll.register(descriptor, select.POLLIN)
    for descriptor in writers:
        poll.register(descriptor, select.POLLIN | select.POLLOUT)
    return [ready[0] for ready in poll.poll(None if seconds == math.inf else seconds * 1000)]
