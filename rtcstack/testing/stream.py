"""TCP and TLS connections in virtual time: what is written arrives, whole and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rtcstack.net import Address
from rtcstack.testing.link import Link

if TYPE_CHECKING:
    from rtcstack.testing.host import VirtualTransport
    from rtcstack.testing.network import VirtualNetwork

__all__ = ["StreamPath", "VirtualStream", "is_stream", "listening_at", "without_prefix"]

_FIRST_PORT = 10000
_SYN = [b""]
_PREFIX = "tcp:"


def listening_at(address: Address) -> Address:
    """Give what stands for an address at which connections are accepted: that of a UDP socket looks alike."""
    return _PREFIX + address[0], address[1]


def is_stream(local: Address) -> bool:
    """Tell whether something came by a connection, from the local address that a server is told."""
    return local[0].startswith(_PREFIX)


def without_prefix(local: Address) -> Address:
    """Give back what listening_at() was given; any other address as it is."""
    return local[0].removeprefix(_PREFIX), local[1]


class StreamPath(NamedTuple):
    """The way from a host to a server.

    ip             where the server sees the host.
    there, back    seconds that it takes.
    server         who accepts connections there; None for nobody.
    """

    ip: str
    there: float
    back: float
    server: VirtualTransport | None


class VirtualStream:
    """One connection to a server, from the first packet on.

    Only the delay of the links counts: TCP makes good what they lose. Pieces arrive as they were written.

    client    whose session has asked for it, and is told under `key` what becomes of it.
    is_tls    whether it takes one more round trip to open (RFC 8446 section 2).
    """

    def __init__(
        self,
        network: VirtualNetwork,
        client: VirtualTransport,
        key: Address,
        remote: Address,
        path: StreamPath,
        *,
        is_tls: bool,
    ) -> None:
        network.streams += 1
        self._network = network
        self._client = client
        self._client_end = key, remote
        self._server = path.server
        self._server_end = listening_at(remote), (path.ip, _FIRST_PORT + network.streams)
        self._round_trips = 2 if is_tls else 1
        self._there = Link(delay=path.there)
        self._back = Link(delay=path.back)
        network.links += (self._there, self._back)
        self._there.send(_SYN, network.now, (key, remote, self._accept))

    def send(self, sender: VirtualTransport, pieces: list[bytes]) -> None:
        """Write pieces at one of the ends."""
        if sender is self._client:
            self._there.send(pieces, self._network.now, (*self._client_end, self._to_server))
        else:
            self._back.send(pieces, self._network.now, (*self._server_end, self._to_client))

    def close(self, sender: VirtualTransport) -> None:
        """Close it at one of the ends; the other end learns of it when all has arrived that was written."""
        if sender is self._client:
            self._there.send(_SYN, self._network.now, (*self._client_end, self._end))
        else:
            self._back.send(_SYN, self._network.now, (*self._server_end, self._end))

    def _accept(self, source: Address, destination: Address, pieces: list[bytes]) -> None:
        if self._server is not None:
            self._server.streams[self._server_end] = self
        self._back.send(_SYN, self._network.now, (source, destination, self._confirm))

    def _confirm(self, source: Address, destination: Address, pieces: list[bytes]) -> None:
        self._round_trips -= 1
        if self._server is None:
            self._end(source, destination, pieces, "connection refused")
        elif self._round_trips:
            self._there.send(_SYN, self._network.now, (source, destination, self._accept))
        else:
            self._client.notice(*self._client_end, None)

    def _to_server(self, source: Address, destination: Address, pieces: list[bytes]) -> None:
        if self._server is not None:
            self._server.receive(*self._server_end, pieces)

    def _to_client(self, source: Address, destination: Address, pieces: list[bytes]) -> None:
        self._client.receive(*self._client_end, pieces)

    def _end(
        self,
        source: Address,
        destination: Address,
        pieces: list[bytes],
        reason: str = "closed by the other side",
    ) -> None:
        """Take the connection from both ends."""
        if self._there in self._network.links:
            self._network.links.remove(self._there)
            self._network.links.remove(self._back)
        if self._server is not None and self._server.streams.pop(self._server_end, None) is not None:
            self._server.notice(*self._server_end, reason)
        if self._client.streams.pop(self._client_end, None) is not None:
            self._client.notice(*self._client_end, reason)
