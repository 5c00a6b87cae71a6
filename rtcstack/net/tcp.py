"""The TCP connections between a session and its peer: those that it opens, and those that come."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import socket
from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from rtcstack.errors import WireError
from rtcstack.net.framing import Deframer, frame
from rtcstack.net.options import Options
from rtcstack.net.udp import Address

if TYPE_CHECKING:
    from rtcstack.net.stream import Stream

__all__ = ["PeerLinks", "TcpSession"]

_PATIENCE = 10.0
"""Seconds for a connection to be there, and for whoever connects to us to pass a check."""

_MOST_CONNECTIONS = 32
"""Connections of one session at a time; more are not accepted, nor opened."""

_ACTIVE_PORT = 9
"""Port that an active candidate shows (RFC 6544 section 4.1)."""


class TcpSession(Protocol):
    """The part of a session that talks with its peer over TCP."""

    @property
    def tcp_types(self) -> Collection[str]:
        """Which candidates there shall be: "active", "passive", both or none."""

    @property
    def asks_connections(self) -> bool:
        """Whether take_connects() has something."""

    def add_tcp_address(self, address: Address, tcp_type: str, interface: str = "") -> object:
        """Take notice of a listening socket, or of an address that connections can come from."""

    def take_connects(self) -> list[tuple[Address, Address]]:
        """Hand over connections to be opened: (address of an active candidate, the peer's address)."""

    def tcp_opened(self, local: Address, remote: Address, now: float) -> object:
        """Take notice that such a connection can be used."""

    def tcp_closed(self, local: Address, remote: Address, now: float) -> object:
        """Take notice that a connection could not be opened, or is gone."""

    def has_checked(self, local: Address, remote: Address) -> bool:
        """Tell whether a check has passed on a connection."""

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> object:
        """Take what the peer has sent; `local` is the address of our candidate."""


class _Connection:
    """One connection and the datagrams on it.

    doubtful_until  when it is closed unless it has proven itself; math.inf once it has.
    """

    __slots__ = ("deframer", "doubtful_until", "is_ours", "is_told", "stream")

    def __init__(self, stream: Stream, doubtful_until: float, *, is_ours: bool) -> None:
        self.stream = stream
        self.deframer = Deframer()
        self.doubtful_until = doubtful_until
        self.is_ours = is_ours
        self.is_told = False


class PeerLinks:
    """Listening sockets and connections of one session (RFC 6544).

    deadline    when step() is due though nothing arrives: a connection takes too long.
    """

    __slots__ = ("_connections", "_listeners", "_options", "_session", "deadline")

    def __init__(self, session: TcpSession, options: Options) -> None:
        self.deadline = math.inf
        self._session = session
        self._options = options
        self._listeners: dict[Address, socket.socket] = {}
        self._connections: dict[tuple[Address, Address], _Connection] = {}

    def open(self, ip: str, interface: str, taken: Collection[int]) -> None:
        """Offer one of our addresses for connections: what cannot be bound is passed over.

        taken   ports of UDP sockets at this address, which the session would not tell from ours.
        """
        session = self._session
        if "active" in session.tcp_types:
            session.add_tcp_address((ip, _ACTIVE_PORT), "active", interface)
        if "passive" in session.tcp_types:
            listener = _listen(ip, self._options.port_range, taken)
            if listener is not None:
                address = (ip, listener.getsockname()[1])
                self._listeners[address] = listener
                session.add_tcp_address(address, "passive", interface)

    def remove(self, ip: str) -> list[Address]:
        """Close what belongs to an address that is gone; returns the candidates' addresses."""
        gone = [address for address in self._listeners if address[0] == ip]
        for address in gone:
            self._listeners.pop(address).close()
        for five_tuple in [each for each in self._connections if each[0][0] == ip]:
            self._connections.pop(five_tuple).stream.close()
        return [*gone, (ip, _ACTIVE_PORT)]

    def descriptors(self) -> list[int]:
        """File descriptors whose readability makes step() due."""
        connections = [connection.stream.fileno() for connection in self._connections.values()]
        return [listener.fileno() for listener in self._listeners.values()] + connections

    def blocked_descriptors(self) -> list[int]:
        """File descriptors whose writability makes step() due."""
        streams = [connection.stream for connection in self._connections.values()]
        return [stream.fileno() for stream in streams if stream.wants_write]

    def step(self, now: float) -> int:
        """Accept and open connections, and hand over what has come by them.

        Returns how many datagrams arrived.
        """
        if self._session.asks_connections:
            for local, remote in self._session.take_connects():
                self._connect(local, remote, now)
        for address, listener in self._listeners.items():
            self._accept(address, listener, now)
        count = 0
        for five_tuple, connection in list(self._connections.items()):
            count += self._read(five_tuple, connection, now)
        self.deadline = min(
            (connection.doubtful_until for connection in self._connections.values()), default=math.inf
        )
        return count

    def send(self, local: Address, remote: Address, datagrams: list[bytes]) -> bool:
        """Send by the connection of a pair of addresses; returns whether there is one."""
        connection = self._connections.get((local, remote))
        if connection is None:
            return False
        connection.stream.send(frame(datagrams))
        return True

    def close(self) -> None:
        """Close all of it.  May be called twice."""
        for listener in self._listeners.values():
            listener.close()
        for connection in self._connections.values():
            connection.stream.close()
        self._listeners.clear()
        self._connections.clear()
        self.deadline = math.inf

    def _connect(self, local: Address, remote: Address, now: float) -> None:
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._session.tcp_closed(local, remote, now)
            return
        from rtcstack.net.stream import Stream  # with TLS behind it

        stream = Stream(remote, source=local[0])
        self._connections[local, remote] = _Connection(stream, now + _PATIENCE, is_ours=True)

    def _accept(self, address: Address, listener: socket.socket, now: float) -> None:
        for _ in range(_MOST_CONNECTIONS):
            try:
                sock, source = listener.accept()
            except OSError:
                return  # nobody is left, or whoever came is gone again
            remote = str(ipaddress.ip_address(source[0].partition("%")[0])), source[1]
            if len(self._connections) >= _MOST_CONNECTIONS or (address, remote) in self._connections:
                sock.close()
                continue
            from rtcstack.net.stream import Stream  # with TLS behind it

            stream = Stream(remote, accepted=sock)
            self._connections[address, remote] = _Connection(stream, now + _PATIENCE, is_ours=False)

    def _read(self, five_tuple: tuple[Address, Address], connection: _Connection, now: float) -> int:
        session, stream = self._session, connection.stream
        try:
            datagrams = connection.deframer.receive(stream.receive())
        except WireError:
            datagrams = []
            stream.close()
        if connection.is_ours and stream.is_open and not connection.is_told:
            connection.is_told = True
            connection.doubtful_until = math.inf
            session.tcp_opened(*five_tuple, now)
        if datagrams:
            session.receive(*five_tuple, datagrams, now)
        if connection.doubtful_until <= now or (datagrams and not connection.is_ours):
            if session.has_checked(*five_tuple):
                connection.doubtful_until = math.inf
            elif connection.doubtful_until <= now:
                stream.close()
        if stream.reason:
            del self._connections[five_tuple]
            session.tcp_closed(*five_tuple, now)
        return len(datagrams)


def _listen(ip: str, port_range: tuple[int, int] | None, taken: Collection[int]) -> socket.socket | None:
    """Open a listening socket on a port that is not taken; None if there is none."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    ports = range(port_range[0], port_range[1] + 1) if port_range is not None else (0,) * (len(taken) + 1)
    for port in ports:
        if port and port in taken:
            continue
        sock = socket.socket(family, socket.SOCK_STREAM)
        with contextlib.suppress(OSError):
            sock.setblocking(False)
            sock.bind((ip, port))
            if sock.getsockname()[1] not in taken:
                sock.listen(8)
                return sock
        sock.close()
    return None
