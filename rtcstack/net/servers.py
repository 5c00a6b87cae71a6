"""What a session needs for its STUN and TURN servers beside its UDP sockets: names and connections."""

from __future__ import annotations

from typing import Protocol

from rtcstack.net.resolve import Resolver
from rtcstack.net.stream import Stream
from rtcstack.net.udp import Address
from rtcstack.session import StreamRequest

__all__ = ["ServerLinks", "ServerSession"]


class ServerSession(Protocol):
    """The part of a session that asks servers."""

    def take_lookups(self) -> list[str]:
        """Hand over names of servers to be resolved."""

    def resolved(self, host: str, addresses: list[str], reason: str) -> object:
        """Take the addresses of a name, or the reason why there are none."""

    def take_stream_requests(self) -> list[StreamRequest]:
        """Hand over connections to be opened."""

    def stream_opened(self, key: Address, now: float) -> object:
        """Take notice that a connection can be used."""

    def stream_closed(self, key: Address, reason: str, now: float) -> object:
        """Take notice that a connection could not be opened, or is gone."""

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> object:
        """Take what a server has sent; `local` is the key of the connection."""


class ServerLinks:
    """The resolver and the connections of one session."""

    __slots__ = ("_opened", "_resolver", "_session", "_streams")

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._streams: dict[Address, Stream] = {}
        self._opened: set[Address] = set()
        names = session.take_lookups()
        self._resolver = Resolver(names) if names else None

    def descriptors(self) -> list[int]:
        """File descriptors whose readability makes step() due."""
        found = [stream.fileno() for stream in self._streams.values()]
        if self._resolver is not None:
            found.append(self._resolver.fileno())
        return found

    def blocked_descriptors(self) -> list[int]:
        """File descriptors whose writability makes step() due."""
        return [stream.fileno() for stream in self._streams.values() if stream.wants_write]

    def step(self, now: float) -> int:
        """Take answers of the resolver, open connections, and hand over what has come by them.

        Returns how many pieces of data arrived.
        """
        session = self._session
        if self._resolver is not None:
            for answer in self._resolver.take():
                session.resolved(*answer)
            if self._resolver.is_done:
                self._resolver.close()
                self._resolver = None
        for request in session.take_stream_requests():
            self._streams[request.key] = Stream(request.remote, request.tls_name)
        count = 0
        for key, stream in list(self._streams.items()):
            pieces = stream.receive()
            if stream.is_open and key not in self._opened:
                self._opened.add(key)
                session.stream_opened(key, now)
            if pieces:
                count += len(pieces)
                session.receive(key, stream.remote, pieces, now)
            if stream.reason:
                del self._streams[key]
                session.stream_closed(key, stream.reason, now)
        return count

    def send(self, key: Address, pieces: list[bytes]) -> bool:
        """Send by a connection; returns whether there is one of this key."""
        stream = self._streams.get(key)
        if stream is None:
            return False
        stream.send(pieces)
        return True

    def close(self) -> None:
        """Close all of it.  May be called twice."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        if self._resolver is not None:
            self._resolver.close()
            self._resolver = None
