"""Which sockets can be read or written, asked in the cheapest way that the system has."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Sequence

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


def wait_for_any(readers: Sequence[UdpSocket], writers: Sequence[UdpSocket], seconds: float) -> None:
    """Block until one of `readers` can be read, one of `writers` be written, or time is over.

    writers     each is among the readers too.
    seconds     positive; math.inf for no limit.
    """
    if not readers:
        time.sleep(seconds)
    elif not HAS_POLL or (
        seconds < _SELECT_SECONDS and max(sock.fileno() for sock in readers) < _SELECT_DESCRIPTORS
    ):
        select.select(readers, writers, [], None if seconds == math.inf else seconds)
    else:
        poll = select.poll()
        for sock in readers:
            poll.register(sock, select.POLLIN)
        for sock in writers:
            poll.register(sock, select.POLLIN | select.POLLOUT)
        poll.poll(None if seconds == math.inf else seconds * 1000)
