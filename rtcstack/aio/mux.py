"""Reads the sockets of a UdpMux for all connections of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtcstack.aio.watcher import Watcher
from rtcstack.net import MuxTransport, UdpMux

__all__ = ["MuxReader"]

_readers: dict[UdpMux, MuxReader] = {}
"""Those of the ports that have connections in an event loop."""


class MuxReader:
    """One reader for each socket of a port, while it has connections; it steps those that got something."""

    def __init__(self, mux: UdpMux) -> None:
        self._mux = mux
        self._steps: dict[MuxTransport, Callable[[], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._watcher = Watcher(self._loop, self._arrived)

    @classmethod
    def join(cls, transport: MuxTransport, step: Callable[[], None]) -> MuxReader:
        """Call `step` when something has arrived for a transport, or when there is room to send again.

        Returns the reader of the port, one for all its connections.

        Raises:
            RuntimeError: another event loop has connections on this port.
        """
        mux = transport.hub
        reader = _readers.get(mux)
        if reader is None or reader._loop.is_closed():
            reader = _readers[mux] = cls(mux)
        elif reader._loop is not asyncio.get_running_loop():
            raise RuntimeError("the UdpMux serves another event loop: give each loop its own")
        reader._steps[transport] = step
        reader._watcher.watch(mux.descriptors())
        return reader

    def leave(self, transport: MuxTransport) -> None:
        """Leave a transport alone; with the last, the sockets are."""
        self._steps.pop(transport, None)
        if not self._steps:
            self._watcher.close()
            _readers.pop(self._mux, None)

    def stepped(self) -> None:
        """Watch for room where a step has filled the kernel's buffer."""
        self._watcher.watch_writers(self._mux.blocked_descriptors())

    def _arrived(self) -> None:
        mux = self._mux
        mux.receive()
        ready = [*mux.schedule.due]
        if mux.is_blocked:
            ready += mux.blocked_transports()
        for transport in ready:
            step = self._steps.get(transport)
            if step is not None:
                step()
