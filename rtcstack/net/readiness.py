"""Which sockets can be read or written, asked in the cheapest way that the system has."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Iterable, Sequence

from rtcstack.net.udp import UdpSocket

__all__ = ["Watch", "wait_for_any"]

HAS_POLL = hasattr(select, "poll")
"""Whether the system has poll(); Windows has select() alone, for at most 512 sockets."""

_SELECT_SECONDS = 0.002
"""Waits up to this are given to select(), which counts microseconds; poll() would round a pacer's to
milliseconds."""

_SELECT_DESCRIPTORS = 1024
"""FD_SETSIZE: select() takes no descriptor from here on."""


class Watch:
    """Tells which of some sockets have datagrams waiting.

    One question for all of them costs a third of a read from a socket that has nothing.
    """

    __slots__ = ("_poll", "_sockets")

    def __init__(self) -> None:
        self._sockets: dict[int, UdpSocket] = {}
        self._poll = select.poll() if HAS_POLL else None

    def add(self, sock: UdpSocket) -> None:
        """Watch one more open socket."""
        self._sockets[sock.fileno()] = sock
        if self._poll is not None:
            self._poll.register(sock, select.POLLIN)

    def readable(self) -> list[UdpSocket]:
        """List the sockets that have something to receive, without waiting."""
        if self._poll is not None:
            sockets = self._sockets
            return [sockets[descriptor] for descriptor, _ in self._poll.poll(0)]
        if not self._sockets:
            return []
        return select.select(list(self._sockets.values()), [], [], 0)[0]


def wait_for_any(readers: Sequence[int], writers: Sequence[int], seconds: float) -> Iterable[int]:
    """Block until one of `readers` can be read, one of `writers` be written, or time is over.

    readers, writers    file descriptors; each writer is among the readers too.
    seconds             not negative; math.inf for no limit.
    Returns those that are ready.
    """
    if not readers:
        time.sleep(seconds)
        return ()
    if not HAS_POLL or (0 < seconds < _SELECT_SECONDS and max(readers) < _SELECT_DESCRIPTORS):
        timeout = None if seconds == math.inf else seconds
        readable, writable, _ = select.select(readers, writers, [], timeout)
        return {*readable, *writable}
    poll = select.poll()
    for descriptor in readers:
        poll.register(descriptor, select.POLLIN)
    for descriptor in writers:
        poll.register(descriptor, select.POLLIN | select.POLLOUT)
    return [descriptor for descriptor, _ in poll.poll(None if seconds == math.inf else seconds * 1000)]
