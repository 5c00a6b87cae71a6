"""Steps one transport from an asyncio event loop: a reader for each socket, one timer, no task."""

from __future__ import annotations

import asyncio
import math
import select
import socket
import threading
from collections.abc import Callable

from rtcstack.net import OsNetwork, OsTransport

__all__ = ["Driver"]


class Driver:
    """Calls `transport.step()` when a socket can be read, when its deadline has come, and after commands.

    transport   of `network`; its sockets are watched from gather() on.
    stepped     called after each step, in the loop.
    """

    def __init__(self, network: OsNetwork, transport: OsTransport, stepped: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._transport = transport
        self._stepped = stepped
        self._readers: list[int] = []
        self._writers: list[int] = []
        self._thread: _ReaderThread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._is_scheduled = False
        self._is_closed = False

    def gather(self) -> None:
        """Open the sockets and watch them."""
        self._transport.gather()
        self._watch()

    def wake(self) -> None:
        """Step in the loop's next turn: what is queued until then leaves together."""
        if not self._is_scheduled and not self._is_closed:
            self._is_scheduled = True
            self._loop.call_soon(self._step)

    def close(self) -> None:
        """Send what the session has left to say, and let everything go.  May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._unwatch()
        self._transport.close()

    def _watch(self) -> None:
        """Watch the descriptors that the transport has now."""
        descriptors = self._transport.descriptors
        if descriptors == self._readers:
            return
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        try:
            for descriptor in self._readers:
                self._loop.remove_reader(descriptor)
            for descriptor in descriptors:
                self._loop.add_reader(descriptor, self._step)
        except NotImplementedError:
            # Windows' proactor loop knows no readers.
            self._thread = _ReaderThread(self._loop, list(descriptors), self._step)
        self._readers = list(descriptors)

    def _unwatch(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        else:
            for descriptor in self._readers:
                self._loop.remove_reader(descriptor)
            for descriptor in self._writers:
                self._loop.remove_writer(descriptor)
        self._readers, self._writers = [], []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self._is_scheduled = False
        if self._is_closed:
            return
        self._transport.step()
        self._stepped()
        if not self._is_closed:
            self._watch()
            self._watch_writers()
            self._rearm()

    def _watch_writers(self) -> None:
        blocked = self._transport.blocked_descriptors()
        if blocked != self._writers and self._thread is None:
            for descriptor in self._writers:
                self._loop.remove_writer(descriptor)
            for descriptor in blocked:
                self._loop.add_writer(descriptor, self._step)
            self._writers = blocked

    def _rearm(self) -> None:
        """Move the timer only if it would be late: an early one costs a step, a new one costs more."""
        deadline = self._transport.deadline
        if self._transport.is_blocked and self._thread is not None:
            deadline = self._network.now() + 0.001  # nobody tells when there is room again
        if deadline >= self._timer_at or deadline == math.inf:
            return
        if self._timer is not None:
            self._timer.cancel()
        # Not call_at: the clock of uvloop is another one.
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(deadline - self._network.now(), 0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._step()


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
