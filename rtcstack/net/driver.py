"""Drives sessions with the machine's sockets and clock, without a thread of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from rtcstack.errors import RTCError
from rtcstack.net.doorbell import Doorbell
from rtcstack.net.group import Group, Hub, Waiter
from rtcstack.net.interfaces import (
    Interface,
    first_of_each_family,
    forget_interfaces,
    system_interfaces,
    usable_interfaces,
)
from rtcstack.net.options import Options
from rtcstack.net.readiness import Watch
from rtcstack.net.servers import ServerLinks, ServerSession
from rtcstack.net.tcp import PeerLinks, TcpSession
from rtcstack.net.udp import Address, SocketStats, bind, route_mtu

__all__ = ["Network", "OsNetwork", "OsTransport", "Port", "Session", "Transport", "addresses_to_bind"]

_STEP_DATAGRAMS = 512
"""Datagrams that one step() moves before it returns, 5 to 20 ms of work: a long queue must not hold a game's
frame for longer. One read more may come on top, see UdpSocket.receive()."""

_LAST_ROUNDS = 64
"""Times that close() asks a session for what it has left: a session that never ends must not keep it."""


class Session(ServerSession, TcpSession, Protocol):
    """What a driver needs of a session; times are seconds on the network's clock."""

    @property
    def asks_servers(self) -> bool:
        """Whether names will have to be resolved or connections to be opened."""

    @property
    def deadline(self) -> float:
        """When handle_timeout() and take_packets() are due, math.inf for never.

        -inf says that take_packets() alone is due, at once.
        """

    @property
    def local_credentials(self) -> tuple[str, str] | None:
        """ICE username fragment and password of the session; None while it has none."""

    woken: Callable[[], object] | None
    """To be called when `deadline` becomes -inf."""

    def add_local_address(self, address: Address, interface: str = "", *, is_shared: bool = False) -> object:
        """Take notice of a socket, which other sessions may have too."""

    @property
    def wants_relay_address(self) -> bool:
        """Whether a TURN server needs a socket that is not shared."""

    def add_relay_address(self, address: Address) -> object:
        """Take notice of a socket for TURN servers."""

    def remove_local_address(self, address: Address) -> object:
        """Take notice that a socket, or an address for TCP, is gone."""

    def end_of_local_candidates(self) -> object:
        """Take notice that no more sockets will come."""

    @property
    def watches_network(self) -> bool:
        """Whether it matters now that addresses of this machine come or go."""

    @property
    def route(self) -> tuple[Address, Address] | None:
        """(local, remote) of a route whose MTU is asked for; None = none."""

    def route_found(self, mtu: int) -> object:
        """Take the answer: bytes of an IP packet that its first link carries, 0 = unknown."""

    @property
    def may_fragment(self) -> bool:
        """Whether datagrams may be cut on the way."""

    def handle_timeout(self, now: float) -> object:
        """Do what is due at `deadline` (math.inf: nothing is)."""

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over (local, remote, datagrams) to send now; what is left stays due.

        One triple has STUN messages or other datagrams, not both.
        """

    def abort(self, reason: str) -> object:
        """End at once; take_packets() has what the peer is told."""


class Port(Protocol):
    """What a transport sends by and receives from: a socket, or its part of a shared one."""

    @property
    def address(self) -> Address:
        """Where it is bound."""

    @property
    def is_drained(self) -> bool:
        """Whether the last receive() took all there was."""

    @property
    def is_blocked(self) -> bool:
        """Whether datagrams wait until the kernel takes them."""

    def fileno(self) -> int:
        """File descriptor that is the transport's own; -1 if there is none."""

    def allow_fragments(self, allowed: bool) -> None:
        """Say whether the network may cut datagrams that are too large for it; at first it may not."""

    def receive(self) -> list[tuple[Address, list[bytes]]]:
        """Take what has arrived: (remote, datagrams)."""

    def send(self, remote: Address, datagrams: list[bytes]) -> bool:
        """Send in order; returns whether nothing waits."""

    def flush(self) -> bool:
        """Send what waits; returns whether nothing waits any more."""

    def close(self) -> None:
        """Give it back."""


class Transport(Protocol):
    """The network's end of one session."""

    def gather(self) -> None:
        """Open sockets and tell the session their addresses."""

    def step(self) -> bool:
        """Move what can be moved without waiting. Returns whether anything did."""

    def network_changed(self) -> None:
        """Open and close sockets after the host's addresses, as they are now, and tell the session."""

    def close(self) -> None:
        """Close the sockets. May be called twice."""


class Network(Protocol):
    """A clock and a way to reach others: the machine's own, or a virtual one in a test."""

    def now(self) -> float:
        """Tell the time: seconds, monotonic."""

    def attach(self, session: Session) -> Transport:
        """Make the transport of one session."""

    def wait(self, transports: Sequence[Transport], timeout: float | None) -> Sequence[Transport]:
        """Block until a transport has something to do, or `timeout` seconds (None: no limit) are over.

        Returns those whose step() is due.
        """


class OsTransport:
    """The UDP sockets of one session, one on each usable address.

    Made by OsNetwork.attach(). An event loop may drive it as well: step() is due when one of `descriptors` is
    readable, one of blocked_descriptors() writable, and at `deadline`.
    """

    __slots__ = (
        "_by_descriptor",
        "_gathered",
        "_is_closed",
        "_is_full",
        "_links",
        "_look_at",
        "_may_fragment",
        "_options",
        "_servers",
        "_session",
        "_sockets",
        "_tcp",
        "_wake_at",
        "_watch",
        "descriptors",
        "readable",
        "stats",
    )

    def __init__(self, session: Session, options: Options) -> None:
        self.stats = SocketStats()
        self.descriptors: list[int]
        """File descriptors whose readability makes step() due; a new list whenever they change."""
        self.readable: list[int] | None
        """Those that can be read, where a wait has found out already; the next step() uses it up."""
        self._session = session
        self._options = options
        self._sockets: dict[Address, Port] = {}
        self._servers: ServerLinks | None = None
        self._tcp: PeerLinks | None = None
        self._links: tuple[ServerLinks | PeerLinks, ...] = ()  # what there is beside the UDP sockets
        self._look_at = math.inf
        self._wake_at = math.inf
        self._is_closed = False
        self._is_full = False
        self._may_fragment = False
        self._gathered = False
        self._watch_sockets()

    @property
    def hub(self) -> Hub | None:
        """Who has the sockets that it shares with others."""
        return None

    @property
    def deadline(self) -> float:
        """When step() is due though nothing arrives: seconds, math.inf for never.

        It is never while datagrams wait for the kernel: what is due would only queue behind them.
        """
        if self._is_full:
            return math.inf
        deadline = self._session.deadline
        return deadline if deadline < self._wake_at else self._wake_at

    @property
    def is_blocked(self) -> bool:
        """Whether something waits until the kernel has room for it, or a connection until it is there."""
        links = self._links
        return self._is_full or (bool(links) and any(each.blocked_descriptors() for each in links))

    def blocked_descriptors(self) -> list[int]:
        """File descriptors whose writability makes step() due."""
        blocked = [descriptor for descriptor, sock in self._by_descriptor.items() if sock.is_blocked]
        return blocked + [each for links in self._links for each in links.blocked_descriptors()]

    def gather(self) -> None:
        """Open a socket on every usable address and tell the session; the second call does nothing.

        Addresses that cannot be bound are passed over.

        Raises:
            RTCError: there are addresses, but on each of them every port of the range is taken.
        """
        if self._gathered:
            return
        self._gathered = True
        exhausted = self._open()
        self._watch_sockets()
        self._session.end_of_local_candidates()
        if self._session.asks_servers:
            self._link_servers()
        if exhausted is not None and not self._sockets:
            raise exhausted

    def network_changed(self) -> None:
        """Look at the machine's addresses: open sockets on those that are new, close those that are gone.

        The session is told, and looks for better paths or for another one. What has been asked for in
        `bind_addresses` stays, as long as the machine has it. Nothing happens before gather().
        """
        if self._gathered and not self._is_closed:
            forget_interfaces()
            self._look()

    def _look(self) -> None:
        options = self._options
        found = addresses_to_bind(options)
        if options.bind_addresses is not None:
            present = {interface.address for interface in system_interfaces()}
            found = [interface for interface in found if interface.address in present]
        addresses = {interface.address for interface in found}
        gone = [sock for sock in self._sockets.values() if sock.address[0] not in addresses]
        for sock in gone:
            del self._sockets[sock.address]
        used = {address[0] for address in self._sockets}
        self._open_at([interface for interface in found if interface.address not in used])
        for sock in gone:
            # After the others are open: a descriptor that is used again would be missed by who watches it.
            sock.close()
            self._session.remove_local_address(sock.address)
            for local in self._tcp.remove(sock.address[0]) if self._tcp is not None else ():
                self._session.remove_local_address(local)
        self._watch_sockets()
        self._is_full = any(sock.is_blocked for sock in self._sockets.values())

    def _open(self) -> RTCError | None:
        """Open the sockets and tell the session; returns what is to be raised if there are none."""
        options = self._options
        if self._session.tcp_types:
            self._tcp = PeerLinks(self._session, options)
            self._links = (*self._links, self._tcp)
        if options.interface_poll and options.bind_addresses is None:
            self._look_at = self._wake_at = time.monotonic() + options.interface_poll
        return self._open_at(addresses_to_bind(options))

    def _open_at(self, interfaces: Sequence[Interface]) -> RTCError | None:
        """Open a socket on each address and tell the session; returns why a port range was of no use."""
        exhausted: RTCError | None = None
        for interface in interfaces:
            if len(self._sockets) == self._options.max_addresses:
                break
            try:
                sock = bind(interface.address, self._options, self.stats)
            except OSError:
                continue
            except RTCError as error:
                exhausted = error
                continue
            self._sockets[sock.address] = sock
            if self._may_fragment:
                sock.allow_fragments(True)
            self._session.add_local_address(sock.address, interface.name)
            if self._tcp is not None:
                self._tcp.open(interface.address, interface.name, {sock.address[1]})
        return exhausted

    def step(self) -> bool:
        """Receive what has arrived, do what is due, and send, until nothing is left or 500 datagrams moved.

        Returns whether anything moved. Where it stopped early, it is due again.
        """
        session = self._session
        now = time.monotonic()
        if self._wake_at <= now:
            self._look_if_due(now)
        ready = self._ready()
        moved = 0
        if self._servers is None and session.asks_mdns:
            self._link_servers()
        for links in self._links:
            moved += links.step(now)
        was_due = is_again = False
        while True:
            for sock in ready:
                local = sock.address
                for remote, datagrams in sock.receive():
                    session.receive(local, remote, datagrams, now)
                    moved += len(datagrams)
            deadline = session.deadline
            if deadline <= now and (deadline != -math.inf or is_again):
                session.handle_timeout(now)
                was_due = True
            if session.route is not None:
                session.route_found(route_mtu(*session.route))
            if not self._is_full or self._flush():
                batches = session.take_packets(now)
                if session.may_fragment is not self._may_fragment:
                    self._allow_fragments(session.may_fragment)
                for local, remote, datagrams in batches:
                    self._send(local, remote, datagrams)
                    moved += len(datagrams)
            ready = [sock for sock in ready if not sock.is_drained]
            is_due = session.deadline <= now and not self._is_full
            if moved >= _STEP_DATAGRAMS or not (ready or is_due):
                break
            is_again = True
            now = time.monotonic()
        if self._links:
            if self._tcp is not None and session.asks_connections:
                self._tcp.step(now)
            self._watch_links()
            self._rearm()
        return was_due or moved > 0

    def _look_if_due(self, now: float) -> None:
        """Look at the machine's addresses from time to time, while it matters."""
        if self._look_at <= now:
            self._look_at = now + self._options.interface_poll
            self._rearm()
            if self._session.watches_network:
                self._look()

    def close(self) -> None:
        """Send what the session has to say at this instant, and close the sockets. May be called twice.

        What it would say later is lost: step() a session that ends gracefully until it has, then close.
        """
        if self._sockets:
            now = time.monotonic()
            for _ in range(_LAST_ROUNDS):
                packets = self._session.take_packets(now)
                for local, remote, datagrams in packets:
                    self._send(local, remote, datagrams)
                if not packets:
                    break
        self.drop()

    def drop(self) -> None:
        """Close the sockets without a word: for the child of a fork, whose parent goes on with them."""
        self._gathered = True
        self._is_full = False
        self._is_closed = True
        self._look_at = math.inf
        for links in self._links:
            links.close()
        self._rearm()
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        self._watch_sockets()

    def _allow_fragments(self, allowed: bool) -> None:
        self._may_fragment = allowed
        for sock in self._sockets.values():
            sock.allow_fragments(allowed)

    def _ready(self) -> list[Port]:
        """List the sockets that can be read."""
        found = self.readable
        if found is None:
            found = self._watch.readable()
        self.readable = None
        sockets = self._by_descriptor
        return [sockets[descriptor] for descriptor in found if descriptor in sockets]

    def _watch_sockets(self) -> None:
        self._by_descriptor = {sock.fileno(): sock for sock in self._sockets.values() if sock.fileno() >= 0}
        self.descriptors = list(self._by_descriptor)
        self._watch = Watch(self.descriptors)
        self.readable = None
        self._watch_links()

    def _link_servers(self) -> None:
        options = self._options
        restricted = options.bind_addresses is not None or options.interface_filter is not None
        interfaces = [interface.address for interface in addresses_to_bind(options)] if restricted else None
        self._servers = ServerLinks(self._session, interfaces)
        self._links = (self._servers, *self._links)
        self._watch_links()

    def _watch_links(self) -> None:
        links = self._links
        if links:
            self.descriptors = [*self._by_descriptor, *(each for one in links for each in one.descriptors())]

    def _rearm(self) -> None:
        self._wake_at = self._look_at if self._tcp is None else min(self._look_at, self._tcp.deadline)

    def _flush(self) -> bool:
        left = [sock for sock in self._sockets.values() if not sock.flush()]
        self._is_full = bool(left)
        return not left

    def _send(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        sock = self._sockets.get(local)
        if sock is None:
            if not any(links.send(local, remote, datagrams) for links in self._links):
                self.stats.dropped += len(datagrams)
        elif not sock.send(remote, datagrams):
            self._is_full = True


class OsNetwork:
    """The machine's own network: its UDP sockets and its monotonic clock.

    One may serve every connection of a program, from several threads.

    options     see Options.
    """

    __slots__ = ("_group", "options", "waits")

    def __init__(self, options: Options | None = None) -> None:
        self.options = Options() if options is None else options
        self.waits = 0
        """Times that wait() has asked the system."""
        self._group = Group(())

    now = staticmethod(time.monotonic)  # every message asks for it
    """Tell the time: seconds, monotonic."""

    def attach(self, session: Session) -> OsTransport:
        """Make the transport of one session.

        Then: gather(), and step() whenever something may have happened.
        """
        return OsTransport(session, self.options)

    def wait(self, transports: Sequence[Transport], timeout: float | None) -> list[Waiter]:
        """Block until a socket is ready, a session's deadline has come, or time is out.

        transports  transports of any OsNetwork, and doorbells.
        timeout     seconds; None for no limit.
        Returns those whose step() is due; none if time is out.

        Raises:
            InvalidState: there is no limit, no socket and no deadline: nothing can ever happen.
        """
        group = self._group
        if not group.is_of(transports):
            group = self._group = _group_of(transports)
        self.waits += 1
        return group.wait(timeout)


def _group_of(transports: Sequence[Transport]) -> Group:
    for transport in transports:
        if not isinstance(transport, OsTransport | Doorbell):
            raise TypeError(f"{transport!r} belongs to another network: wait for it there")
    return Group(cast(Sequence[Waiter], transports))


def addresses_to_bind(options: Options) -> list[Interface]:
    """List the addresses that the options ask for, or else those of the machine."""
    if options.bind_addresses is not None:
        return [Interface("", address) for address in options.bind_addresses]
    found = usable_interfaces(time.monotonic(), options.interface_filter)
    return first_of_each_family(found) if options.default_route_only else found
