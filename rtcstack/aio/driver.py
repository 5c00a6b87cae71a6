"""Steps one transport from an asyncio event loop: a reader for each socket, one timer, no task."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from rtcstack.aio.mux import MuxReader
from rtcstack.aio.watcher import Watcher, nobody
from rtcstack.net import MuxTransport, OsNetwork, OsTransport

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
        self._watcher = Watcher(self._loop, self._step, self._on_readable)
        self._mux_reader: MuxReader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._is_scheduled = False
        self._is_closed = False

    def gather(self) -> None:
        """Open the sockets and watch them."""
        self._transport.gather()
        self._watcher.watch(self._transport.descriptors)
        if self._mux_reader is None and isinstance(self._transport, MuxTransport):
            self._mux_reader = MuxReader.join(self._transport, self._step)

    def network_changed(self) -> None:
        """Look at the machine's addresses, and watch the sockets that there are then."""
        self._transport.network_changed()
        if not self._is_closed:
            self._watcher.watch(self._transport.descriptors)
            self.wake()

    def wake(self) -> None:
        """Step in the loop's next turn: what is queued until then leaves together."""
        if not self._is_scheduled and not self._is_closed:
            self._is_scheduled = True
            self._loop.call_soon(self._on_wake)

    def close(self) -> None:
        """Send what the session has left to say, and let everything go.  May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._watcher.forget()
        self._stepped = nobody  # nor hold whom it told: nobody should need a garbage collector
        if self._mux_reader is not None and isinstance(self._transport, MuxTransport):
            self._mux_reader.leave(self._transport)
            self._mux_reader = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.close()

    def _on_readable(self, descriptors: list[int]) -> None:
        self._transport.readable = descriptors  # the loop has asked the system: step() need not
        self._step()

    def _on_wake(self) -> None:
        self._is_scheduled = False
        # Whoever a step has woken may have had nothing to say.
        if self._transport.deadline == -math.inf:
            self._transport.readable = []
            self._step()

    def _step(self) -> None:
        if self._is_closed:
            return
        self._transport.step()
        self._stepped()
        if not self._is_closed:
            self._watcher.watch(self._transport.descriptors)
            if self._watcher.has_writers or self._transport.is_blocked:
                self._watcher.watch_writers(self._transport.blocked_descriptors())
            if self._mux_reader is not None:
                self._mux_reader.stepped()
            self._rearm()

    def _rearm(self) -> None:
        """Move the timer only if it would be late: an early one costs a step, a new one costs more."""
        deadline = self._transport.deadline
        if self._watcher.is_blind and self._transport.is_blocked:
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
        self._transport.readable = []
        self._step()
