"""Drives sessions with the machine's sockets and clock, without a thread of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Protocol

from rtcstack.errors import InvalidState, RTCError
from rtcstack.net.interfaces import Interface, usable_interfaces
from rtcstack.net.options import Options
from rtcstack.net.readiness import Watch, wait_for_any
from rtcstack.net.servers import ServerLinks, ServerSession
from rtcstack.net.udp import Address, SocketStats, UdpSocket, bind

__all__ = ["Network", "OsNetwork", "OsTransport", "Session", "Transport"]

_STEP_DATAGRAMS = 2048
"""Datagrams that one step() sends, about 20 ms of work: a long queue must not hold poll() for longer. What it
receives is bounded by UdpSocket.receive()."""

_LAST_ROUNDS = 64
"""Times that close() asks a session for what it has left: a session that never ends must not keep it."""


class Session(ServerSession, Protocol):
    """What a driver needs of a session; times are seconds on the network's clock."""

    @property
    def asks_servers(self) -> bool:
        """Whether names will have to be resolved or connections to be opened."""

    @property
    def deadline(self) -> float:
        """When handle_timeout() is due: math.inf for never."""

    def add_local_address(self, address: Address, interface: str = "") -> object:
        """Take notice of a socket."""

    def end_of_local_candidates(self) -> object:
        """Take notice that no more sockets will come."""

    def handle_timeout(self, now: float) -> object:
        """Do what is due at `deadline` (math.inf: nothing is)."""

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over (local, remote, datagrams) to send now."""


class Transport(Protocol):
    """The network's end of one session."""

    def gather(self) -> None:
        """Open sockets and tell the session their addresses."""

    def step(self) -> bool:
        """Move what can be moved without waiting. Returns whether anything did."""

    def close(self) -> None:
        """Close the sockets. May be called twice."""


class Network(Protocol):
    """A clock and a way to reach others: the machine's own, or a virtual one in a test."""

    def now(self) -> float:
        """Tell the time: seconds, monotonic."""

    def attach(self, session: Session) -> Transport:
        """Make the transport of one session."""

    def wait(self, transports: Sequence[Transport], timeout: float | None) -> Sequence[Transport] | None:
        """Block until a transport has something to do, or `timeout` seconds (None: no limit) are over.

        Returns those whose step() is due; None if the network cannot tell.
        """


class OsTransport:
    """The UDP sockets of one session, one on each usable address.

    Made by OsNetwork.attach(). An event loop may drive it as well: step() is due when one of `descriptors` is
    readable, one of blocked_descriptors() writable, and at `deadline`.
    """

    __slots__ = (
        "_gathered",
        "_has_more",
        "_is_blocked",
        "_options",
        "_servers",
        "_session",
        "_sockets",
        "_watch",
        "descriptors",
        "stats",
    )

    def __init__(self, session: Session, options: Options) -> None:
        self.stats = SocketStats()
        self.descriptors: list[int] = []
        """File descriptors whose readability makes step() due; a new list whenever they change."""
        self._session = session
        self._options = options
        self._sockets: dict[Address, UdpSocket] = {}
        self._watch = Watch()
        self._servers: ServerLinks | None = None
        self._gathered = False
        self._has_more = False
        self._is_blocked = False

    @property
    def deadline(self) -> float:
        """When step() is due though nothing arrives: seconds, math.inf for never.

        It is never while datagrams wait for the kernel: what is due would only queue behind them.
        """
        if self._is_blocked:
            return math.inf
        return -math.inf if self._has_more else self._session.deadline

    @property
    def is_blocked(self) -> bool:
        """Whether something waits until the kernel has room for it, or a connection until it is there."""
        return self._is_blocked or (self._servers is not None and bool(self._servers.blocked_descriptors()))

    def blocked_descriptors(self) -> list[int]:
        """File descriptors whose writability makes step() due."""
        blocked = [sock.fileno() for sock in self._sockets.values() if sock.is_blocked]
        return blocked if self._servers is None else blocked + self._servers.blocked_descriptors()

    def gather(self) -> None:
        """Open a socket on every usable address and tell the session; the second call does nothing.

        Addresses that cannot be bound are passed over.

        Raises:
            RTCError: there are addresses, but on each of them every port of the range is taken.
        """
        if self._gathered:
            return
        self._gathered = True
        exhausted: RTCError | None = None
        for interface in _addresses(self._options):
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
            self._watch.add(sock)
            self.descriptors.append(sock.fileno())
            self._session.add_local_address(sock.address, interface.name)
        self._session.end_of_local_candidates()
        if self._session.asks_servers:
            self._servers = ServerLinks(self._session)
            self._watch_servers()
        if exhausted is not None and not self._sockets:
            raise exhausted

    def step(self) -> bool:
        """Receive what has arrived, do what is due, and send, until nothing is left or 2,000 datagrams moved.

        Returns whether anything moved. Where it stopped early, `deadline` is over at once.
        """
        session = self._session
        received = sent = 0
        if self._servers is not None:
            received = self._servers.step(time.monotonic())
        was_due = False
        ready = self._watch.readable()
        while True:
            now = time.monotonic()
            for sock in ready:
                local = sock.address
                for remote, datagrams in sock.receive():
                    session.receive(local, remote, datagrams, now)
                    received += len(datagrams)
            if session.deadline <= now:
                session.handle_timeout(now)
                was_due = True
            while not self._is_blocked or self._flush():
                packets = session.take_packets(now)
                for local, remote, datagrams in packets:
                    self._send(local, remote, datagrams)
                    sent += len(datagrams)
                if not packets or sent >= _STEP_DATAGRAMS:
                    break
            ready = [sock for sock in ready if not sock.is_drained]
            if not ready or received + sent >= _STEP_DATAGRAMS:
                break
        if self._servers is not None:
            self._watch_servers()
        self._has_more = bool(ready) or sent >= _STEP_DATAGRAMS
        return was_due or received + sent > 0

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
        self._gathered = True
        self._has_more = self._is_blocked = False
        self._watch = Watch()
        if self._servers is not None:
            self._servers.close()
        self.descriptors = []
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _watch_servers(self) -> None:
        servers = self._servers
        if servers is not None:
            own = [sock.fileno() for sock in self._sockets.values()]
            self.descriptors = own + servers.descriptors()

    def _flush(self) -> bool:
        left = [sock for sock in self._sockets.values() if not sock.flush()]
        self._is_blocked = bool(left)
        return not left

    def _send(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        sock = self._sockets.get(local)
        if sock is None:
            if self._servers is None or not self._servers.send(local, datagrams):
                self.stats.dropped += len(datagrams)
        elif not sock.send(remote, datagrams):
            self._is_blocked = True


class OsNetwork:
    """The machine's own network: its UDP sockets and its monotonic clock.

    It has no state but its options and counters; one may serve every connection of a program, from several
    threads.

    options     see Options.
    """

    __slots__ = ("options", "waits")

    def __init__(self, options: Options | None = None) -> None:
        self.options = Options() if options is None else options
        self.waits = 0
        """Times that wait() has asked the system."""

    def now(self) -> float:
        """Tell the time: seconds, monotonic."""
        return time.monotonic()

    def attach(self, session: Session) -> OsTransport:
        """Make the transport of one session.

        Then: gather(), and step() whenever something may have happened.
        """
        return OsTransport(session, self.options)

    def wait(self, transports: Sequence[Transport], timeout: float | None) -> list[OsTransport]:
        """Block until a socket is ready, a session's deadline has come, or time is out.

        transports  transports of any OsNetwork, stepped before.
        timeout     seconds; None for no limit.
        Returns those whose step() is due; none if time is out.

        Raises:
            InvalidState: there is no limit, no socket and no deadline: nothing can ever happen.
        """
        owners: dict[int, OsTransport] = {}
        writers: list[int] = []
        deadlines: list[tuple[float, OsTransport]] = []
        until = math.inf if timeout is None else time.monotonic() + timeout
        for transport in transports:
            if not isinstance(transport, OsTransport):
                raise TypeError(f"{transport!r} belongs to another network: wait for it there")
            for descriptor in transport.descriptors:
                owners[descriptor] = transport
            if transport.is_blocked:
                writers += transport.blocked_descriptors()
            deadline = transport.deadline
            if deadline < math.inf:
                deadlines.append((deadline, transport))
                until = min(until, deadline)
        if until == math.inf and not owners:
            raise InvalidState("nothing is open and no timer runs: this wait would never end")
        self.waits += 1
        ready = wait_for_any(list(owners), writers, max(0.0, until - time.monotonic()))
        due = [owners[descriptor] for descriptor in ready]
        now = time.monotonic()
        due += [transport for deadline, transport in deadlines if deadline <= now]
        return list(dict.fromkeys(due))


def _addresses(options: Options) -> list[Interface]:
    if options.bind_addresses is not None:
        return [Interface("", address) for address in options.bind_addresses]
    return usable_interfaces(time.monotonic(), options.interface_filter)
