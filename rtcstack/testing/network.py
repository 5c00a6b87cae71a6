"""A network of hosts in virtual time: no socket, no waiting, the same course for the same seed."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Unpack

from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.net import Address, Session, SocketStats, Transport
from rtcstack.testing.link import Conditions, Link

__all__ = ["NetworkStats", "VirtualHost", "VirtualNetwork", "VirtualTransport"]

_FIRST_PORT = 50000
_MOST_TURNS = 10_000
"""Rounds of one step: more than any window of data needs, so only a session that never rests has more."""
_DELAY = 0.001
_OWN_DELAY = 0.0001
"""Seconds from host to host and within a host if nothing is said. Not 0: two sides that answer each other at
once would go on at one instant without end."""


class Polled(Protocol):
    """What `VirtualNetwork.run` polls: a PeerConnection, or whatever has a PeerConnection inside."""

    def poll(self) -> object:
        """Deliver what has happened to the application."""


@dataclass(slots=True)
class NetworkStats:
    """What a virtual network could not carry, in datagrams."""

    unreachable: int = 0
    """Sent to an address that no host has, or from an IPv4 to an IPv6 address or the other way."""
    refused: int = 0
    """Arrived at a port that nobody listens at."""


class VirtualNetwork:
    """A clock, hosts, and a link between any two of them in each direction; nothing in it is real.

    The clock stands still while a program runs and jumps to the next event in `run` or `VirtualHost.wait`.
    Every source of chance is seeded: the same program does the same each time.

    seed          number that all links' chance is made from.
    conditions    see `Conditions`: of every link that is not changed. The default of `delay` is 1 ms here.
    """

    def __init__(self, *, seed: int = 0, **conditions: Unpack[Conditions]) -> None:
        self.now = 0.0
        self.stats = NetworkStats()
        self._seed = seed
        self._conditions = Conditions(delay=_DELAY) | conditions
        self._hosts: dict[str, VirtualHost] = {}
        self._links: dict[tuple[VirtualHost, VirtualHost], Link] = {}
        self._routes: dict[tuple[str, str], Link | None] = {}
        self.sockets: dict[Address, VirtualTransport] = {}
        """The open sockets of all hosts."""
        self.transports: list[VirtualTransport] = []
        """Those that are not closed yet."""

    def host(self, name: str, addresses: Sequence[str] = ()) -> VirtualHost:
        """Add a host.

        name         unlike that of any other host.
        addresses    its IPv4 and IPv6 addresses; empty for one of 10.0.0.0/16.
        Returns      a host that `PeerConnection(network=...)` takes.
        Raises       InvalidParameter if an address is malformed or taken, or the name is.
        """
        if any(name == host.name for host in self._hosts.values()):
            raise InvalidParameter(f"there is a host {name!r} already")
        number = len(self._hosts) + 1
        chosen = tuple(map(_normalized, addresses)) or (f"10.0.{number // 256}.{number % 256}",)
        for address in chosen:
            if address in self._hosts:
                raise InvalidParameter(
                    f"{address} is the address of host {self._hosts[address].name!r} already"
                )
        host = VirtualHost(self, name, chosen)
        self._hosts |= dict.fromkeys(chosen, host)
        self._routes.clear()
        return host

    def link(self, source: VirtualHost, destination: VirtualHost) -> Link:
        """Give the link from one host to another, to be changed or to read its counters.

        The link of a host to itself takes 0.1 ms and is perfect otherwise.
        """
        link = self._links.get((source, destination))
        if link is None:
            conditions = Conditions(delay=_OWN_DELAY) if source is destination else self._conditions
            link = Link(seed=f"{self._seed}/{source.name}/{destination.name}", **conditions)
            self._links[source, destination] = link
        return link

    def share(self, link: Link, pairs: Iterable[tuple[VirtualHost, VirtualHost]]) -> None:
        """Send everything between these hosts, pairs of (source, destination), over one link."""
        for pair in pairs:
            self._links[pair] = link
        self._routes.clear()

    def change(self, **conditions: Unpack[Conditions]) -> None:
        """Change the conditions of every link that there is and will be.

        Raises    InvalidParameter if one is unknown or out of its range; then nothing has changed.
        """
        Link(**conditions)
        self._conditions |= conditions
        for (source, destination), link in self._links.items():
            if source is not destination:
                link.change(**conditions)

    def run(
        self,
        until: float | Callable[[], bool] | None = None,
        *,
        limit: float = 60.0,
        peers: Iterable[Polled] = (),
    ) -> bool:
        """Let time pass and every session on every host do its part in it.

        until      seconds to let pass; or a condition, looked at after each event; None for `limit` seconds.
        limit      seconds after which to give up, for a condition.
        peers      connections to poll after each event, so that their signals are delivered.
        Returns    False if a condition was still not met at the limit.
        """
        is_met = until if callable(until) else None
        end = self.now + (until if isinstance(until, int | float) else limit)
        peers = tuple(peers)
        while True:
            self._settle(peers)
            if is_met and is_met():
                return True
            if not self.advance(end):
                return is_met is None

    def _settle(self, peers: tuple[Polled, ...]) -> None:
        """Let everything happen that happens at this instant, also what the callbacks of peers set going."""
        while True:
            for peer in peers:
                peer.poll()
            moved = [transport.step() for transport in self.transports]
            if not any(moved) or not peers:
                return

    def advance(self, end: float, transports: Sequence[VirtualTransport] | None = None) -> bool:
        """Move the clock to the next event, at most to `end`, and put what has arrived before its receivers.

        end           seconds of virtual time.
        transports    whose timers count as events; None for all.
        Returns       False if there is no event up to `end`; then it is `end`, if that is finite.
        """
        watched = self.transports if transports is None else transports
        event = min(
            min((link.deadline for link in self._links.values()), default=math.inf),
            min((transport.deadline for transport in watched), default=math.inf),
        )
        if min(event, end) < math.inf:
            self.now = max(self.now, min(event, end))
        if event > end or event == math.inf:
            return False
        for link in self._links.values():
            if link.deadline <= self.now:
                self._deliver(link)
        return True

    def inject(self, source: Address, destination: Address, datagrams: list[bytes]) -> None:
        """Put datagrams before a receiver at once, as if `source` had sent them: what an attacker can do.

        source         any address, also that of a host.
        destination    address and port of a socket; nobody there counts as refused.
        """
        transport = self.sockets.get(destination)
        if transport is None:
            self.stats.refused += len(datagrams)
        else:
            transport.receive(destination, source, list(datagrams))

    def _deliver(self, link: Link) -> None:
        for (source, destination), datagrams in link.take_routed(self.now):
            transport = self.sockets.get(destination)
            if transport is None:
                self.stats.refused += len(datagrams)
            else:
                transport.receive(destination, source, datagrams)

    def send(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        """Put datagrams on their way from a socket of one host to a socket of another."""
        route = (local[0], remote[0])
        link = self._routes.get(route)
        if link is None:
            destination = self._hosts.get(route[1])
            if destination is None or (":" in route[0]) != (":" in route[1]):
                self.stats.unreachable += len(datagrams)
                return
            self._routes[route] = link = self.link(self._hosts[route[0]], destination)
        link.send(datagrams, self.now, (local, remote))


class VirtualHost:
    """A machine in a virtual network: `PeerConnection(network=host)` lives on it, in virtual time.

    Made by `VirtualNetwork.host`. It has the methods of `rtcstack.net.Network`.

    name         what it was called.
    addresses    its IP addresses.
    """

    def __init__(self, network: VirtualNetwork, name: str, addresses: tuple[str, ...]) -> None:
        self.name = name
        self.addresses = addresses
        self._network = network
        self._next_port = _FIRST_PORT

    def __repr__(self) -> str:
        return f"VirtualHost({self.name!r}, addresses={list(self.addresses)!r})"

    def now(self) -> float:
        """Tell the virtual time, seconds."""
        return self._network.now

    def attach(self, session: Session) -> VirtualTransport:
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

    def __init__(self, network: VirtualNetwork, host: VirtualHost, session: Session) -> None:
        self.stats = SocketStats()
        self._network = network
        self._host = host
        self._session = session
        self._is_gathered = False
        self._sockets: list[Address] = []
        self._arrived: list[tuple[Address, Address, list[bytes]]] = []
        network.transports.append(self)

    @property
    def deadline(self) -> float:
        """The session's deadline, seconds of virtual time."""
        return self._session.deadline

    def is_ready(self) -> bool:
        """Tell whether something has arrived or a timer is due."""
        return bool(self._arrived) or self._session.deadline <= self._network.now

    def gather(self) -> None:
        """Open a socket at every address of the host and tell the session; the second call does nothing."""
        if self._is_gathered:
            return
        self._is_gathered = True
        for ip in self._host.addresses:
            address = (ip, self._host.take_port())
            self._sockets.append(address)
            self._network.sockets[address] = self
            self._session.add_local_address(address, "virtual0")
        self._session.end_of_local_candidates()

    def receive(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        """Keep what has arrived until the next `step`."""
        self._arrived.append((local, remote, datagrams))

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
            is_due = session.deadline <= now
            if is_due:
                session.handle_timeout(now)
            self._send()
            if not self.is_ready():
                return turn > 0 or bool(arrived) or is_due
        raise RuntimeError(
            f"a session on {self._host!r} is still busy after {_MOST_TURNS} rounds at one instant"
        )

    def _send(self) -> None:
        for local, remote, datagrams in self._session.take_packets(self._network.now):
            self.stats.datagrams_sent += len(datagrams)
            self.stats.bytes_sent += sum(map(len, datagrams))
            self._network.send(local, remote, datagrams)

    def close(self) -> None:
        """Send what the session has to say at this instant and close the sockets. May be called twice."""
        if self._sockets:
            self._send()
        for address in self._sockets:
            del self._network.sockets[address]
        self._sockets.clear()
        self._arrived.clear()
        if self in self._network.transports:
            self._network.transports.remove(self)


def _normalized(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        raise InvalidParameter(f"{address!r} is no IP address: {error}") from error
