"""Machines of a virtual network, and the sockets of the sessions that live there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.net import Address, Session, SocketStats, Transport
from rtcstack.testing.stream import VirtualStream

if TYPE_CHECKING:
    from rtcstack.testing.network import Realm, VirtualNetwork

__all__ = ["VirtualHost", "VirtualTransport"]

_FIRST_PORT = 50000
_MOST_TURNS = 10_000
"""Rounds of one step: more than any window of data needs, so only a session that never rests has more."""


class Resident(Protocol):
    """What lives on a host: a session that `rtcstack.net` would drive, or less, such as a server."""

    @property
    def deadline(self) -> float:
        """When handle_timeout() is due: math.inf for never."""

    def add_local_address(self, address: Address, interface: str = "") -> object:
        """Take notice of a socket."""

    def end_of_local_candidates(self) -> object:
        """Take notice that no more sockets will come."""

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> object:
        """Take datagrams that came from `remote` to the socket at `local`."""

    def handle_timeout(self, now: float) -> object:
        """Do what is due at `deadline`."""

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over (local, remote, datagrams) to send now."""


class VirtualHost:
    """A machine in a virtual network: `PeerConnection(network=host)` lives on it, in virtual time.

    Made by `host` of a network or a NAT. It has the methods of `rtcstack.net.Network`.

    name         what it was called.
    addresses    its IP addresses.
    realm        where these addresses are known: the network, or the NAT before it.
    """

    def __init__(self, network: VirtualNetwork, realm: Realm, name: str, addresses: tuple[str, ...]) -> None:
        self.name = name
        self.addresses = addresses
        self.realm = realm
        self._network = network
        self._next_port = _FIRST_PORT

    def __repr__(self) -> str:
        return f"VirtualHost({self.name!r}, addresses={list(self.addresses)!r})"

    def now(self) -> float:
        """Tell the virtual time, seconds."""
        return self._network.now

    def attach(self, session: Resident) -> VirtualTransport:
        """Give a session its way into the network.

        Then:    `gather`, then `step` whenever something may have happened.
        """
        return VirtualTransport(self._network, self, session)

    def wait(self, transports: Sequence[Transport], timeout: float | None) -> list[VirtualTransport]:
        """Jump to the instant at which one of the transports has something to do.

        Sessions of other transports are left alone, as if nobody polled them meanwhile.

        timeout    seconds of virtual time at most; None for no limit.
        Returns    those of them.
        Raises     InvalidState without a timeout if nothing will ever happen.
        """
        network = self._network
        end = math.inf if timeout is None else network.now + timeout
        ours = [transport for transport in transports if isinstance(transport, VirtualTransport)]
        if len(ours) < len(transports):
            raise TypeError("a transport of another network can not be waited for in virtual time")
        while not any(transport.is_ready() for transport in ours):
            if not network.advance(end, ours):
                if timeout is None:
                    raise InvalidState("nothing is on its way and no timer runs: this wait would never end")
                break
        return [transport for transport in ours if transport.is_ready()]

    def take_port(self) -> int:
        """Give a UDP port that nobody on this host has."""
        self._next_port += 1
        return self._next_port - 1


class VirtualTransport:
    """The virtual UDP sockets of one session, one for each address of its host.

    Made by `VirtualHost.attach`. It has the methods of `rtcstack.net.Transport`.
    """

    def __init__(self, network: VirtualNetwork, host: VirtualHost, session: Resident) -> None:
        self.stats = SocketStats()
        self.streams: dict[tuple[Address, Address], VirtualStream] = {}
        """Connections by (local, remote) as the session knows them."""
        self._network = network
        self._host = host
        self._session = session
        self._is_gathered = False
        self._asking: Session | None = None
        """The session, if it asks servers by name or over connections."""
        self._notices: list[tuple[Address, str | None]] = []
        """Connections that are open, or have ended for a reason."""
        self._sockets: list[Address] = []
        self._arrived: list[tuple[Address, Address, list[bytes]]] = []
        network.transports.append(self)

    @property
    def deadline(self) -> float:
        """The session's deadline, seconds of virtual time."""
        return self._session.deadline

    def is_ready(self) -> bool:
        """Tell whether something has arrived or a timer is due."""
        return bool(self._arrived or self._notices) or self._session.deadline <= self._network.now

    def gather(self) -> None:
        """Open a socket at every address of the host and tell the session; the second call does nothing."""
        if self._is_gathered:
            return
        self._is_gathered = True
        for ip in self._host.addresses:
            address = (ip, self._host.take_port())
            self.open(address)
            self._session.add_local_address(address, "virtual0")
        self._session.end_of_local_candidates()
        if getattr(self._session, "asks_servers", False):
            self._asking = cast(Session, self._session)
            self._ask(self._asking)

    def open(self, address: Address) -> None:
        """Open a socket at an address and port of the host, as servers do.

        Raises    InvalidParameter if the host has no such address, or a socket there.
        """
        if address[0] not in self._host.addresses or address in self._host.realm.sockets:
            raise InvalidParameter(f"{self._host!r} has no such address, or a socket there: {address}")
        self._sockets.append(address)
        self._host.realm.sockets[address] = self

    def listen(self, address: Address) -> None:
        """Accept TCP and TLS connections at an address and port of the host.

        What comes by them is received at `stream.listening_at(address)`.
        """
        self._host.realm.listeners[address] = self

    def receive(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        """Keep what has arrived until the next `step`."""
        self._arrived.append((local, remote, datagrams))

    def notice(self, key: Address, reason: str | None) -> None:
        """Keep until the next `step` that a connection is open, or has ended for a reason."""
        self._notices.append((key, reason))

    def step(self) -> bool:
        """Hand the session what has arrived, let its due timers run and send what it has to say.

        Returns    True if anything moved.
        Raises     RuntimeError if the session wants to go on at this instant without end.
        """
        network, session, stats = self._network, self._session, self.stats
        now = network.now
        for turn in range(_MOST_TURNS):
            arrived, self._arrived = self._arrived, []
            for local, remote, datagrams in arrived:
                stats.datagrams_received += len(datagrams)
                stats.bytes_received += sum(map(len, datagrams))
                session.receive(local, remote, datagrams, now)
            if self._asking is not None:
                self._tell(self._asking)
            is_due = session.deadline <= now
            if is_due:
                session.handle_timeout(now)
            self._send()
            if self._asking is not None:
                self._ask(self._asking)
            if not self.is_ready():
                return turn > 0 or bool(arrived) or is_due
        raise RuntimeError(
            f"a session on {self._host!r} is still busy after {_MOST_TURNS} rounds at one instant"
        )

    def _send(self) -> None:
        for local, remote, datagrams in self._session.take_packets(self._network.now):
            self.stats.datagrams_sent += len(datagrams)
            self.stats.bytes_sent += sum(map(len, datagrams))
            stream = self.streams.get((local, remote))
            if stream is not None:
                stream.send(self, datagrams)
            else:
                self._host.realm.send(self._host, local, remote, datagrams)

    def _tell(self, session: Session) -> None:
        """Tell the session what has become of its connections."""
        notices, self._notices = self._notices, []
        for key, reason in notices:
            if reason is None:
                session.stream_opened(key, self._network.now)
            else:
                session.stream_closed(key, reason, self._network.now)

    def _ask(self, session: Session) -> None:
        """Look up the names and open the connections that the session wants."""
        network, host = self._network, self._host
        for name in session.take_lookups():
            addresses = network.look_up(name)
            session.resolved(name, addresses, "" if addresses else f"there is no host {name!r}")
        for request in session.take_stream_requests():
            key, remote = request.key, request.remote
            ip = next((ip for ip in host.addresses if (":" in ip) == (":" in remote[0])), "")
            path = host.realm.trace(host, ip, remote) if ip else None
            if path is None:
                self.notice(key, "network is unreachable")
            else:
                stream = VirtualStream(network, self, key, remote, path, is_tls=bool(request.tls_name))
                self.streams[key, remote] = stream

    def close(self) -> None:
        """Send what the session has to say at this instant and close the sockets. May be called twice."""
        if self._sockets:
            self._send()
        for address in self._sockets:
            del self._host.realm.sockets[address]
        for stream in self.streams.values():
            stream.close(self)
        for address in [a for a, listener in self._host.realm.listeners.items() if listener is self]:
            del self._host.realm.listeners[address]
        self.streams.clear()
        self._sockets.clear()
        self._arrived.clear()
        if self in self._network.transports:
            self._network.transports.remove(self)
