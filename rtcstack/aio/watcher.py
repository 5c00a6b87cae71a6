"""Tells an event loop's callback when one of some sockets can be read or written."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable

__all__ = ["Watcher", "nobody"]


class Watcher:
    """Readers and writers of one event loop, or a thread where the loop knows none.

    callback    called in the loop.
    readable    called instead of it where the loop says which descriptor can be read.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        callback: Callable[[], None],
        readable: Callable[[list[int]], None] | None = None,
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._readable = readable
        self._watched: list[int] | None = None
        self._readers: list[int] = []
        self._writers: list[int] = []
        self._thread: _ReaderThread | None = None

    @property
    def is_blind(self) -> bool:
        """Whether nobody tells when a socket can be written: it is to be tried again."""
        return self._thread is not None

    @property
    def has_writers(self) -> bool:
        """Whether some are watched for room to write."""
        return bool(self._writers)

    def watch(self, descriptors: list[int]) -> None:
        """Watch these for something to read, and no others; the same list is the same descriptors."""
        if descriptors is self._watched:
            return
        self._watched = descriptors
        if descriptors == self._readers:
            return
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        try:
            for descriptor in self._readers:
                self._loop.remove_reader(descriptor)
            for descriptor in descriptors:
                if self._readable is None:
                    self._loop.add_reader(descriptor, self._callback)
                else:
                    self._loop.add_reader(descriptor, self._readable, [descriptor])
        except NotImplementedError:
            # Windows' proactor loop knows no readers.
            self._thread = _ReaderThread(self._loop, list(descriptors), self._callback)
        self._readers = list(descriptors)

    def watch_writers(self, descriptors: list[int]) -> None:
        """Watch these for room to write, and no others."""
        if descriptors != self._writers and self._thread is None:
            for descriptor in self._writers:
                self._loop.remove_writer(descriptor)
            for descriptor in descriptors:
                self._loop.add_writer(descriptor, self._callback)
            self._writers = list(descriptors)

    def close(self) -> None:
        """Watch nothing any more; it may begin again."""
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        else:
            for descriptor in self._readers:
                self._loop.remove_reader(descriptor)
            for descriptor in self._writers:
                self._loop.remove_writer(descriptor)
        self._readers, self._writers, self._watched = [], [], None

    def forget(self) -> None:
        """Watch nothing and call nobody any more: whom it would have called may go."""
        self.close()
        self._callback, self._readable = nobody, None


def nobody() -> None:
    """Stand in for a callback that is gone."""


class _ReaderThread:
    """Waits for sockets where the event loop cannot, and wakes the loop once for each turn."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, descriptors: list[int], callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._descriptors = descriptors
        self._callback = callback
        self._handled = threading.Event()
        self._handled.set()
        self._wake, self._woken = socket.socketpair()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="rtcstack reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping = True
        self._handled.set()
        self._wake.send(b"x")
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        woken = self._woken.fileno()
        while True:
            self._handled.wait()
            readable, _, _ = select.select([*self._descriptors, woken], [], [])
            if self._is_stopping:
                return
            if readable:
                self._handled.clear()
                self._loop.call_soon_threadsafe(self._handle)

    def _handle(self) -> None:
        if not self._is_stopping:
            self._callback()
            self._handled.set()
