"""What a session needs beside its UDP sockets: names looked up, and connections to its servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rtcstack.net.mdns import MdnsNames
from rtcstack.net.resolve import Resolver
from rtcstack.net.udp import Address
from rtcstack.session import StreamRequest

if TYPE_CHECKING:
    from rtcstack.net.stream import Stream

__all__ = ["ServerLinks", "ServerSession"]


class ServerSession(Protocol):
    """The part of a session that asks servers."""

    def take_lookups(self) -> list[str]:
        """Hand over names of servers to be resolved."""

    def resolved(self, host: str, addresses: list[str], reason: str) -> object:
        """Take the addresses of a name, or the reason why there are none."""

    @property
    def asks_mdns(self) -> bool:
        """Whether the next two have something."""

    def take_local_names(self) -> list[str]:
        """Hand over names of the peer to be resolved by mDNS."""

    def take_hidden_addresses(self) -> list[tuple[str, str]]:
        """Hand over (name, address) of ours to be told to who asks by mDNS."""

    def local_name_resolved(self, name: str, addresses: list[str], reason: str) -> object:
        """Take the addresses of a name of the peer, or the reason why there are none."""

    def take_stream_requests(self) -> list[StreamRequest]:
        """Hand over connections to be opened."""

    def stream_opened(self, key: Address, now: float) -> object:
        """Take notice that a connection can be used."""

    def stream_closed(self, key: Address, reason: str, now: float) -> object:
        """Take notice that a connection could not be opened, or is gone."""

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> object:
        """Take what a server has sent; `local` is the key of the connection."""


class ServerLinks:
    """The resolvers and the connections of one session.

    mdns_interfaces     IP addresses of the interfaces on which to ask for names; None for all.
    """

    __slots__ = ("_mdns", "_mdns_interfaces", "_opened", "_resolver", "_session", "_streams")

    def __init__(self, session: ServerSession, mdns_interfaces: Sequence[str] | None = None) -> None:
        self._session = session
        self._mdns_interfaces = mdns_interfaces
        self._mdns: MdnsNames | None = None
        self._streams: dict[Address, Stream] = {}
        self._opened: set[Address] = set()
        names = session.take_lookups()
        self._resolver = Resolver(names) if names else None

    def descriptors(self) -> list[int]:
        """File descriptors whose readability makes step() due."""
        found = [stream.fileno() for stream in self._streams.values()]
        if self._resolver is not None:
            found.append(self._resolver.fileno())
        if self._mdns is not None:
            found.append(self._mdns.fileno())
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
        if self._mdns is not None:
            for answer in self._mdns.take():
                session.local_name_resolved(*answer)
        if session.asks_mdns:
            self._ask_mdns()
        for request in session.take_stream_requests():
            from rtcstack.net.stream import Stream  # with ssl behind it

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

    def _ask_mdns(self) -> None:
        if self._mdns is None:
            self._mdns = MdnsNames(self._mdns_interfaces)
        for name, address in self._session.take_hidden_addresses():
            self._mdns.publish(name, address)
        for name in self._session.take_local_names():
            self._mdns.resolve(name)

    def send(self, key: Address, remote: Address, pieces: list[bytes]) -> bool:
        """Send by a connection; returns whether there is one of this key, which is to this server."""
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
        if self._mdns is not None:
            self._mdns.close()
            self._mdns = None
