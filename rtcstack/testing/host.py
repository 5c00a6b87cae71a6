"""Machines of a virtual network, and the sockets of the sessions that live there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.net import Address, Session, SocketStats, Transport
from rtcstack.testing.stream import VirtualStream, is_stream, listening_at, without_prefix

if TYPE_CHECKING:
    from rtcstack.testing.network import Realm, VirtualNetwork

__all__ = ["VirtualHost", "VirtualTransport"]

_FIRST_PORT = 50000
_LOOK_AFTER = 2.5
"""Seconds after which a change of addresses is noticed: half of what rtcstack.net takes between two looks."""
_ACTIVE_PORT = 9
"""Port that an active TCP candidate shows (RFC 6544 section 4.1)."""

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

    def add_address(self, ip: str) -> None:
        """Give the host one more address, as a network that it joins does.

        Sessions notice within seconds, or when they are told so by network_changed().

        Raises    InvalidParameter if it is malformed or taken.
        """
        self.addresses += (self.realm.route_to(self, ip),)
        self._notice()

    def remove_address(self, ip: str) -> None:
        """Take an address from the host: nothing leaves from it or arrives there any more.

        Raises    InvalidParameter if it has none such.
        """
        if ip not in self.addresses:
            raise InvalidParameter(f"{self!r} has no address {ip}")
        self.realm.forget_route(ip)
        self.addresses = tuple(each for each in self.addresses if each != ip)
        self._notice()

    def _notice(self) -> None:
        for transport in self._network.transports:
            if transport.host is self:
                transport.look_at = min(transport.look_at, self._network.now + _LOOK_AFTER)

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
        self.host = host
        self.look_at = math.inf
        """When a change of the host's addresses will be noticed."""
        self._network = network
        self._session = session
        self._is_gathered = False
        self._asking: Session | None = None
        """The session of a peer; None for a server."""
        self._notices: list[tuple[Address, Address, str | None]] = []
        """Connections, as the session knows them, that are open, or have ended for a reason."""
        self._sockets: list[Address] = []
        self._arrived: list[tuple[Address, Address, list[bytes]]] = []
        network.transports.append(self)

    @property
    def deadline(self) -> float:
        """The session's deadline, seconds of virtual time."""
        return min(self._session.deadline, self.look_at)

    def is_ready(self) -> bool:
        """Tell whether something has arrived or a timer is due."""
        return bool(self._arrived or self._notices) or self.deadline <= self._network.now

    def gather(self) -> None:
        """Open a socket at every address of the host and tell the session; the second call does nothing."""
        if self._is_gathered:
            return
        self._is_gathered = True
        for ip in self.host.addresses:
            self._open_at(ip)
        self._session.end_of_local_candidates()
        if hasattr(self._session, "take_lookups"):
            self._asking = cast(Session, self._session)
            self._ask(self._asking)

    def _open_at(self, ip: str) -> None:
        session, address = self._session, (ip, self.host.take_port())
        self.open(address)
        session.add_local_address(address, "virtual0")
        types = getattr(session, "tcp_types", ())
        if "active" in types:
            cast(Session, session).add_tcp_address((ip, _ACTIVE_PORT), "active", "virtual0")
        if "passive" in types:
            address = (ip, self.host.take_port())
            self.listen(address)
            cast(Session, session).add_tcp_address(address, "passive", "virtual0")

    def network_changed(self) -> None:
        """Open and close sockets after the host's addresses, as they are now, and tell the session."""
        session, host = self._asking, self.host
        self.look_at = math.inf
        if session is None:
            return
        for address in [address for address in self._sockets if address[0] not in host.addresses]:
            self._sockets.remove(address)
            del host.realm.sockets[address]
            session.remove_local_address(address)
            session.remove_local_address((address[0], _ACTIVE_PORT))
        for address in [a for a, listener in host.realm.listeners.items() if listener is self]:
            if address[0] not in host.addresses:
                del host.realm.listeners[address]
                session.remove_local_address(address)
        used = {address[0] for address in self._sockets}
        for ip in host.addresses:
            if ip not in used:
                self._open_at(ip)

    def open(self, address: Address) -> None:
        """Open a socket at an address and port of the host, as servers do.

        Raises    InvalidParameter if the host has no such address, or a socket there.
        """
        if address[0] not in self.host.addresses or address in self.host.realm.sockets:
            raise InvalidParameter(f"{self.host!r} has no such address, or a socket there: {address}")
        self._sockets.append(address)
        self.host.realm.sockets[address] = self

    def listen(self, address: Address) -> None:
        """Accept TCP and TLS connections at an address and port of the host.

        What comes by them is received at `stream.listening_at(address)`.
        """
        self.host.realm.listeners[address] = self

    def receive(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        """Keep what has arrived until the next `step`."""
        self._arrived.append((local, remote, datagrams))

    def notice(self, local: Address, remote: Address, reason: str | None) -> None:
        """Keep until the next `step` that a connection is open, or has ended for a reason."""
        if self._asking is not None:
            self._notices.append((local, remote, reason))

    def step(self) -> bool:
        """Hand the session what has arrived, let its due timers run and send what it has to say.

        Returns    True if anything moved.
        Raises     RuntimeError if the session wants to go on at this instant without end.
        """
        network, session, stats = self._network, self._session, self.stats
        now = network.now
        if self.look_at <= now and self._asking is not None and self._asking.watches_network:
            self.network_changed()
        self.look_at = math.inf if self.look_at <= now else self.look_at
        for turn in range(_MOST_TURNS):
            arrived, self._arrived = self._arrived, []
            for local, remote, datagrams in arrived:
                stats.datagrams_received += len(datagrams)
                stats.bytes_received += sum(map(len, datagrams))
                if self._asking is not None:
                    local = without_prefix(local)  # a connection to a candidate of ours
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
            f"a session on {self.host!r} is still busy after {_MOST_TURNS} rounds at one instant"
        )

    def _send(self) -> None:
        for local, remote, datagrams in self._session.take_packets(self._network.now):
            self.stats.datagrams_sent += len(datagrams)
            self.stats.bytes_sent += sum(map(len, datagrams))
            stream = self.streams.get((local, remote)) or self.streams.get((listening_at(local), remote))
            if stream is not None:
                stream.send(self, datagrams)
            else:
                self.host.realm.send(self.host, local, remote, datagrams)

    def _tell(self, session: Session) -> None:
        """Tell the session what has become of its connections."""
        notices, self._notices = self._notices, []
        now = self._network.now
        for local, remote, reason in notices:
            is_ours = is_stream(local) or local[1] == _ACTIVE_PORT
            match is_ours, reason:
                case True, None:
                    session.tcp_opened(local, remote, now)
                case True, _:
                    session.tcp_closed(without_prefix(local), remote, now)
                case False, None:
                    session.stream_opened(local, now)
                case False, str(reason):
                    session.stream_closed(local, reason, now)

    def _ask(self, session: Session) -> None:
        """Look up the names and open the connections that the session wants."""
        network, host = self._network, self.host
        for name in session.take_lookups():
            addresses = network.look_up(name)
            session.resolved(name, addresses, "" if addresses else f"there is no host {name!r}")
        for request in session.take_stream_requests():
            remote = request.remote
            ip = next((ip for ip in host.addresses if (":" in ip) == (":" in remote[0])), "")
            self._connect(request.key, ip, remote, is_tls=bool(request.tls_name))
        for local, remote in session.take_connects():
            self._connect(local, local[0], remote, is_tls=False)

    def _connect(self, key: Address, ip: str, remote: Address, *, is_tls: bool) -> None:
        path = self.host.realm.trace(self.host, ip, remote) if ip in self.host.addresses else None
        if path is None:
            self.notice(key, remote, "network is unreachable")
        else:
            stream = VirtualStream(self._network, self, key, remote, path, is_tls=is_tls)
            self.streams[key, remote] = stream

    def close(self) -> None:
        """Send what the session has to say at this instant and close the sockets. May be called twice."""
        if self._sockets:
            self._send()
        for address in self._sockets:
            del self.host.realm.sockets[address]
        for stream in list(self.streams.values()):
            stream.close(self)
        for address in [a for a, listener in self.host.realm.listeners.items() if listener is self]:
            del self.host.realm.listeners[address]
        self.streams.clear()
        self._sockets.clear()
        self._arrived.clear()
        if self in self._network.transports:
            self._network.transports.remove(self)
