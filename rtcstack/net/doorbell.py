"""A bell that one thread rings to end the wait of another."""

from __future__ import annotations

import contextlib
import math
import socket

__all__ = ["Doorbell"]


class Doorbell:
    """A pair of sockets that OsNetwork.wait() takes beside transports; step() is due when it was rung.

    descriptors, deadline, is_blocked, readable, hub    as of OsTransport.
    """

    __slots__ = ("_inside", "_outside", "deadline", "descriptors", "hub", "is_blocked", "readable")

    def __init__(self) -> None:
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)
        self.descriptors = [self._inside.fileno()]
        self.deadline = math.inf
        self.is_blocked = False
        self.hub = None
        self.readable: list[int] | None = None

    def __del__(self) -> None:
        self.close()

    def ring(self) -> None:
        """End the wait, or the next one; from any thread, also while the bell is being closed."""
        with contextlib.suppress(OSError):
            self._outside.send(b"!")

    def blocked_descriptors(self) -> list[int]:
        """Return none: a bell sends nothing."""
        return []

    def gather(self) -> None:
        """Do nothing: a bell has no addresses."""

    def network_changed(self) -> None:
        """Do nothing: a bell has no addresses."""

    def step(self) -> bool:
        """Stop ringing.  Returns whether it rang."""
        with contextlib.suppress(OSError):
            return bool(self._inside.recv(4096))
        return False

    def close(self) -> None:
        """Close both ends.  May be called twice."""
        self._inside.close()
        self._outside.close()
