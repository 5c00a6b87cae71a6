"""One UDP port for any number of sessions: a network whose transports share the sockets."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from rtcstack.errors import InvalidParameter, InvalidState, RTCError
from rtcstack.net.driver import OsNetwork, OsTransport, Port, Session, addresses_to_bind
from rtcstack.net.interfaces import Interface
from rtcstack.net.options import Options
from rtcstack.net.routes import Credentials, MuxDrops, Routes
from rtcstack.net.schedule import Schedule
from rtcstack.net.udp import Address, SocketStats, UdpSocket, bind

__all__ = ["MuxTransport", "UdpMux"]

_WAITING_DATAGRAMS = 4096
"""Datagrams that wait for one session at most, about 5 MB: more is a flood, or nobody polls the session."""

_TURN_DATAGRAMS = 256
"""Datagrams that a session takes before it has its say."""

_PORTS_TRIED = 16
"""Ports that are tried, where the system chooses, until one is free on every address."""


class UdpMux(OsNetwork):
    """One UDP port that any number of connections share, on every address of the machine.

    For servers behind a firewall or in a container, where one port is open:

        mux = UdpMux(3478)
        peer = PeerConnection({"udp_mux": mux})

    A datagram finds its connection by the ICE username that a check names, an answer by its transaction, and
    all else by the address it comes from, once a check from there has been proved. What belongs to nobody is
    dropped and counted.

    All connections are polled, best by poll([...]) of all of them, or run in one event loop, or in the
    background: it is not for several threads. Those in the background are to be closed before the port.

    port                1 to 65535; 0 lets the system choose.
    bind_addresses      IP addresses to use instead of those of the interfaces.
    interface_filter    says of each interface address whether to use it.
    offload, buffer_size    as in rtcstack.net.Options; one socket's buffer is that of all connections.

    Close it after the connections. It may be a context manager.

    Raises:
        InvalidParameter: an option is out of its range, or no address can be bound.
        RTCError: the port is taken.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        bind_addresses: tuple[str, ...] | list[str] | None = None,
        interface_filter: Callable[[Interface], bool] | None = None,
        offload: bool = True,
        buffer_size: int = Options().buffer_size,
    ) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise InvalidParameter(f"port: {port!r} is not allowed: give a whole number from 0 to 65535")
        super().__init__(
            Options(
                offload=offload,
                bind_addresses=None if bind_addresses is None else tuple(bind_addresses),
                interface_filter=interface_filter,
                interface_poll=0,
                buffer_size=buffer_size,
            )
        )
        self.stats = SocketStats()
        """What went through the sockets, of all connections together."""
        self.schedule: Schedule[MuxTransport] = Schedule()
        self.version = 0
        """Changes when a connection joins or leaves, or one's descriptors change."""
        self.roll: object = None
        """What a face remembers of polling the connections."""
        self._routes: Routes[MuxTransport] = Routes()
        self._transports: dict[MuxTransport, None] = {}
        self._cut: set[Share] = set()  # those whose datagrams the network may cut
        self._is_closed = False
        self._is_for_thread = False
        self._names: list[str] = []
        self._ports = self._open(port)
        self.port: int = self._ports[0].address[1]
        """The UDP port."""

    @property
    def addresses(self) -> list[Address]:
        """(IP address, port) of each socket."""
        return [sock.address for sock in self._ports]

    @property
    def drops(self) -> MuxDrops:
        """Datagrams that belonged to nobody, counted."""
        return self._routes.drops

    @property
    def connection_count(self) -> int:
        """Connections that use the port."""
        return len(self._transports)

    def attach(self, session: Session) -> MuxTransport:
        """Make the transport of one session.

        Raises:
            InvalidState: the mux is closed.
        """
        if self._is_closed:
            raise InvalidState("the UdpMux is closed: make a new one")
        transport = MuxTransport(self, session)
        self._transports[transport] = None
        self.version += 1
        return transport

    def claim(self, *, for_thread: bool) -> None:
        """Say who will drive the next connection: a thread of the library's, or the application.

        Raises:
            InvalidState: it has connections that the other drives.
        """
        if self._transports and for_thread != self._is_for_thread:
            raise InvalidState(
                "a UdpMux serves background connections or others, not both: give each kind its own"
            )
        self._is_for_thread = for_thread

    def close(self) -> None:
        """Cut the connections that still use the port, telling their peers, and close the sockets.

        May be called twice.

        Raises:
            InvalidState: background connections use it: close those first.
        """
        if self._is_closed:
            return
        if self._transports and self._is_for_thread:
            raise InvalidState(
                f"{len(self._transports)} background connections use this UdpMux: close them, and poll() "
                "until they are closed"
            )
        self._is_closed = True
        for transport in list(self._transports):
            transport.session.abort("the UdpMux is closed")
            transport.close()
        for sock in self._ports:
            sock.close()
        self._ports = []
        self.version += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<UdpMux port {self.port}, {len(self._transports)} connections>"

    # For those who drive it: OsNetwork.wait(), and the event loop of rtcstack.aio

    def descriptors(self) -> list[int]:
        """File descriptors whose readability makes receive() due."""
        return [sock.fileno() for sock in self._ports]

    def blocked_descriptors(self) -> list[int]:
        """File descriptors whose writability makes those due that wait for it."""
        return [sock.fileno() for sock in self._ports if sock.is_blocked]

    @property
    def is_blocked(self) -> bool:
        """Whether something waits until the kernel has room for it."""
        return any([sock.is_blocked for sock in self._ports])  # noqa: C419 - faster

    def receive(self) -> None:
        """Take what has arrived and give each session its own: those in `schedule.due` are to be stepped."""
        for transport in list(self.schedule.due):
            transport.register()  # a restart's checks may be there already
        for sock in self._ports:
            local = sock.address
            for remote, datagrams in sock.receive():
                self._routes.deliver(local, remote, datagrams, MuxTransport.take_in)

    def blocked_transports(self) -> list[MuxTransport]:
        """List those that wait until the kernel has room: to be stepped when it has."""
        return [transport for transport in list(self._transports) if transport.is_blocked]

    def soonest(self) -> float:
        """Tell when the first of the connections is due."""
        return self.schedule.soonest()

    def take_due(self, now: float) -> list[MuxTransport]:
        """List the connections that are to be stepped."""
        self.schedule.advance(now)
        return list(self.schedule.due)

    # For the transports

    def shares(self, transport: MuxTransport) -> list[tuple[Share, str]]:
        """Make a transport's shares of the sockets, each with the name of the interface."""
        return [
            (Share(transport, sock, self._routes), name)
            for sock, name in zip(self._ports, self._names, strict=True)
        ]

    def register(self, transport: MuxTransport, credentials: Credentials) -> None:
        """Let checks that name these credentials find the transport."""
        self._routes.add(transport, credentials)

    def allow_fragments(self, share: Share, sock: UdpSocket, allowed: bool) -> None:
        """Let the network cut what leaves by a socket while one of its shares asks for it.

        What the other sessions send may be cut as well: that harms none of them for a while.
        """
        if allowed:
            self._cut.add(share)
        else:
            self._cut.discard(share)
        sock.allow_fragments(any(each.address == share.address for each in self._cut))

    def leave(self, transport: MuxTransport) -> None:
        """Forget a transport that is closed."""
        if transport in self._transports:
            del self._transports[transport]
            self._routes.remove(transport)
            self.schedule.remove(transport)
            self.version += 1

    def _open(self, port: int) -> list[UdpSocket]:
        for _ in range(_PORTS_TRIED):
            try:
                return self._open_all(port)
            except RTCError as error:
                if port or isinstance(error, InvalidParameter):
                    raise
        raise RTCError("the system gave no UDP port that is free on every address: give one")

    def _open_all(self, port: int) -> list[UdpSocket]:
        with contextlib.ExitStack() as undo:
            ports: list[UdpSocket] = []
            names: list[str] = []
            for interface in addresses_to_bind(self.options)[: self.options.max_addresses]:
                chosen = replace(self.options, port_range=(port, port) if port else None)
                try:
                    sock = bind(interface.address, chosen, self.stats)
                except OSError:
                    continue
                except RTCError:
                    raise RTCError(f"UDP port {port} is taken on {interface.address}") from None
                undo.callback(sock.close)
                ports.append(sock)
                names.append(interface.name)
                port = sock.address[1]
            self._names = names
            if not ports:
                raise InvalidParameter("no address of this machine can be bound: see bind_addresses")
            undo.pop_all()
        return ports


class MuxTransport(OsTransport):
    """One session's part of a UdpMux: its shares of the sockets, and sockets of its own for relays.

    Made by UdpMux.attach().
    """

    __slots__ = ("_arrived", "_mux", "_registered", "_waiting", "scheduled")

    def __init__(self, mux: UdpMux, session: Session) -> None:
        self._mux = mux
        self._waiting: dict[Address, Share] = {}
        self._arrived = 0
        self._registered: Credentials | None = None
        self.scheduled = math.inf
        super().__init__(session, mux.options)
        session.woken = self._wake

    @property
    def hub(self) -> UdpMux:
        """Whose sockets it shares."""
        return self._mux

    @property
    def session(self) -> Session:
        """Whom it serves."""
        return self._session

    @property
    def deadline(self) -> float:
        """When step() is due: at once if something has arrived."""
        return -math.inf if self._waiting else super().deadline

    def step(self) -> bool:
        """Hand the session what has arrived, do what is due, and send, as OsTransport.step() does."""
        self.register()
        has_moved = super().step()
        self._mux.schedule.stepped(self)
        return has_moved

    def network_changed(self) -> None:
        """Do nothing: the port stays on the addresses that it was opened on."""

    def drop(self) -> None:
        """Leave the port without a word. May be called twice."""
        super().drop()
        self._waiting.clear()
        self._mux.leave(self)
        self._session.woken = None

    def register(self) -> None:
        """Let the port know the session's credentials, if they are new."""
        credentials = self._session.local_credentials
        if credentials is not None and credentials != self._registered and self._sockets:
            self._registered = credentials
            self._mux.register(self, credentials)

    def take_in(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        """Keep what has arrived until the next step()."""
        room = _WAITING_DATAGRAMS - self._arrived
        if len(datagrams) > room:
            self._mux.drops.overflow += len(datagrams) - room
            datagrams = datagrams[:room]
        share = self._sockets[local]
        if datagrams and isinstance(share, Share):
            self._arrived += len(datagrams)
            share.put(remote, datagrams)
            self._waiting[local] = share
            self._mux.schedule.wake(self)

    def taken(self, share: Share, count: int) -> None:
        """Note that so many datagrams have gone to the session."""
        self._arrived -= count
        if share.is_drained:
            self._waiting.pop(share.address, None)

    def _wake(self) -> None:
        self._mux.schedule.wake(self)

    def _open(self) -> RTCError | None:
        session = self._session
        for share, interface in self._mux.shares(self):
            self._sockets[share.address] = share
            session.add_local_address(share.address, interface, is_shared=True)
        if session.wants_relay_address:
            own = replace(self._options, port_range=None)
            for ip, _ in list(self._sockets):
                with contextlib.suppress(OSError):
                    sock = bind(ip, own, self.stats)
                    self._sockets[sock.address] = sock
                    session.add_relay_address(sock.address)
        self.register()
        return None

    def _ready(self) -> list[Port]:
        if not self.descriptors:
            self.readable = None
            return list(self._waiting.values())
        return [*self._waiting.values(), *super()._ready()]

    def _watch_sockets(self) -> None:
        super()._watch_sockets()
        self._mux.version += 1

    def _watch_links(self) -> None:
        before = self.descriptors
        super()._watch_links()
        if self.descriptors != before:
            self._mux.version += 1


class Share:
    """One session's share of a UdpMux's socket, in the place of a socket of its own.

    is_drained  whether nothing waits to be taken.
    """

    __slots__ = ("_arrived", "_may_fragment", "_routes", "_sock", "_transport", "address", "is_drained")

    def __init__(self, transport: MuxTransport, sock: UdpSocket, routes: Routes[MuxTransport]) -> None:
        self.address = sock.address
        self.is_drained = True
        self._may_fragment = False
        self._transport = transport
        self._sock = sock
        self._routes = routes
        self._arrived: deque[tuple[Address, list[bytes]]] = deque()

    @property
    def is_blocked(self) -> bool:
        """Whether datagrams, of any session, wait until the kernel takes them."""
        return self._sock.is_blocked

    def fileno(self) -> int:
        """-1: the descriptor is the mux's."""
        return -1

    def allow_fragments(self, allowed: bool) -> None:
        """Say whether the network may cut what this session sends by the socket."""
        self._may_fragment = allowed
        self._transport.hub.allow_fragments(self, self._sock, allowed)

    def put(self, remote: Address, datagrams: list[bytes]) -> None:
        """Keep what has arrived for the session."""
        self._arrived.append((remote, datagrams))
        self.is_drained = False

    def receive(self) -> list[tuple[Address, list[bytes]]]:
        """Take what has arrived, up to some 256 datagrams."""
        batches: list[tuple[Address, list[bytes]]] = []
        count = 0
        arrived = self._arrived
        while arrived and count < _TURN_DATAGRAMS:
            batch = arrived.popleft()
            count += len(batch[1])
            batches.append(batch)
        self.is_drained = not arrived
        self._transport.taken(self, count)
        return batches

    def send(self, remote: Address, datagrams: list[bytes]) -> bool:
        """Send by the shared socket, as UdpSocket.send() does; questions are remembered."""
        if datagrams and datagrams[0][0] < 4:
            self._routes.sent(self._transport, datagrams, time.monotonic())
        return self._sock.send(remote, datagrams)

    def flush(self) -> bool:
        """Send what waits. Returns True when nothing waits any more."""
        return self._sock.flush()

    def close(self) -> None:
        """Drop what waits; the socket stays for the others."""
        if self._may_fragment:
            self.allow_fragments(False)
        self._arrived.clear()
        self.is_drained = True
