"""A network of hosts and NATs in virtual time: no socket, no waiting, the same course for the same seed."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Unpack

from rtcstack.errors import InvalidParameter
from rtcstack.net import Address
from rtcstack.testing.host import VirtualHost, VirtualTransport
from rtcstack.testing.link import Conditions, Link
from rtcstack.testing.nat import NatOptions, NatStats, Translator
from rtcstack.testing.stream import StreamPath

__all__ = ["NetworkStats", "Node", "Realm", "VirtualNat", "VirtualNetwork"]

_DELAY = 0.001
_INSIDE_DELAY = 0.0001
"""Seconds from host to host, and within a host or behind a NAT, if nothing is said. Not 0: two sides that
answer each other at once would go on at one instant without end."""

_LOCAL_ONLY = (ipaddress.ip_network("fc00::/7"), ipaddress.ip_network("fe80::/10"))
"""IPv6 addresses that nobody outside can reach (RFC 4193, RFC 4291)."""


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


class Realm:
    """An address space: hosts and NATs that reach each other directly, with a link from each to each.

    A network is one, and so is what lies behind each NAT. Two realms may use the same addresses.
    """

    def __init__(self, network: VirtualNetwork, conditions: Conditions) -> None:
        self.sockets: dict[Address, VirtualTransport] = {}
        """The open sockets of the hosts in this realm."""
        self.listeners: dict[Address, VirtualTransport] = {}
        """Who accepts connections where."""
        self._network = network
        self._conditions = conditions
        self._members: list[Node] = []
        self._by_ip: dict[str, Node] = {}
        self._links: dict[tuple[Node, Node], Link] = {}
        self._routes: dict[tuple[Node, str], tuple[Link, Arrive] | None] = {}

    def host(self, name: str, addresses: Sequence[str] = ()) -> VirtualHost:
        """Add a host.

        name         unlike that of any other host or NAT of the network.
        addresses    its IPv4 and IPv6 addresses; empty for one of 10.0.0.0/16, 192.168.0.0/16 behind a NAT.
        Returns      a host that `PeerConnection(network=...)` takes.
        Raises       InvalidParameter if an address is malformed or taken, or the name is.
        """
        host = VirtualHost(self._network, self, name, self._choose(addresses))
        self._add(host, host.addresses)
        return host

    def nat(self, name: str, outside: Sequence[str], **options: Unpack[NatOptions]) -> VirtualNat:
        """Add a NAT with a realm of its own behind it; behind a NAT this makes a NAT of a second level.

        An address family that is not among `outside` passes unchanged but filtered, as IPv6 does in a home.

        name       unlike that of any other host or NAT of the network.
        outside    its addresses in this realm.
        options    see NatOptions.
        Returns    the NAT: `.host(...)` adds a host behind it.
        Raises     InvalidParameter if an address is malformed or taken, the name is, or an option is wrong.
        """
        nat = VirtualNat(self._network, self, name, tuple(map(_normalized, outside)), options)
        self._add(nat, nat.outside)
        return nat

    def firewall(self, name: str, **options: Unpack[NatOptions]) -> VirtualNat:
        """Add a firewall: it translates nothing, but lets in answers only.

        Arguments and result as of `nat`; `allowed_ports=()` lets no UDP out either.
        """
        return self.nat(name, (), **options)

    def link(self, source: Node, destination: Node) -> Link:
        """Give the link from one host or NAT to another of this realm, to change it or read its counters.

        Behind a NAT the NAT itself is one of the ends. The link of a host to itself takes 0.1 ms and is
        perfect otherwise.

        Raises    InvalidParameter if one of them is not in this realm: the way leads over several links.
        """
        link = self._links.get((source, destination))
        if link is None:
            for node in (source, destination):
                if node is not self and node not in self._members:
                    raise InvalidParameter(f"{node!r} is not in this realm: ask for the link to its NAT")
            conditions = Conditions(delay=_INSIDE_DELAY) if source is destination else self._conditions
            link = Link(seed=f"{self._network.seed}/{source.name}/{destination.name}", **conditions)
            self._links[source, destination] = link
            self._network.links.append(link)
        return link

    def share(self, link: Link, pairs: Iterable[tuple[Node, Node]]) -> None:
        """Send everything between these hosts or NATs, pairs of (source, destination), over one link."""
        for pair in pairs:
            self._links[pair] = link
        if link not in self._network.links:
            self._network.links.append(link)
        self._routes.clear()

    def change(self, **conditions: Unpack[Conditions]) -> None:
        """Change the conditions of every link that there is and will be; what is behind NATs stays.

        Raises    InvalidParameter if one is unknown or out of its range; then nothing has changed.
        """
        Link(**conditions)
        self._conditions |= conditions
        for (source, destination), link in self._links.items():
            if source is not destination:
                link.change(**conditions)

    def inject(self, source: Address, destination: Address, datagrams: list[bytes]) -> None:
        """Put datagrams before a receiver at once, as if `source` had sent them: what an attacker can do.

        source         any address, also that of a host.
        destination    address and port of a socket or a NAT; nobody there counts as refused.
        """
        node = self._by_ip.get(destination[0])
        if isinstance(node, VirtualNat):
            node.receive_outside(source, destination, list(datagrams))
        else:
            self._receive(source, destination, list(datagrams))

    def send(self, sender: Node, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        """Put datagrams on their way from a host, or a NAT, to an address as this realm knows it."""
        route = sender, remote[0]
        if isinstance(sender, VirtualHost) and local[0] not in sender.addresses:
            self._network.stats.unreachable += len(datagrams)
            return
        try:
            way = self._routes[route]
        except KeyError:
            way = self._routes[route] = self._find_way(sender, local[0], remote[0])
        if way is None:
            self._network.stats.unreachable += len(datagrams)
        else:
            link, arrive = way
            link.send(datagrams, self._network.now, (local, remote, arrive))

    def trace(self, sender: Node, ip: str, remote: Address) -> StreamPath | None:
        """Find the way of a connection from a host to a server, None if there is none; NATs let it through.

        ip    that the sender has in this realm.
        """
        node = self._next_node(sender, ip, remote[0])
        if node is None:
            return None
        there, back = self.link(sender, node).delay, self.link(node, sender).delay
        if isinstance(node, VirtualNat):
            rest = node.trace_out(ip, remote) if node is self else None
            return rest and StreamPath(rest.ip, there + rest.there, back + rest.back, rest.server)
        return StreamPath(ip, there, back, self.listeners.get(remote))

    def _find_way(self, sender: Node, local: str, remote: str) -> tuple[Link, Arrive] | None:
        node = self._next_node(sender, local, remote)
        if node is None:
            return None
        if isinstance(node, VirtualHost):
            return self.link(sender, node), self._receive
        return self.link(sender, node), node.receive_inside if node is self else node.receive_outside

    def _next_node(self, sender: Node, local: str, remote: str) -> Node | None:
        """Find the host or NAT that what goes to an address is handed to; None if there is none."""
        node = self._by_ip.get(remote)
        if node is None and isinstance(self, VirtualNat) and sender is not self:
            node = self
        return None if node is None or (":" in local) != (":" in remote) else node

    def _receive(self, source: Address, destination: Address, datagrams: list[bytes]) -> None:
        transport = self.sockets.get(destination)
        if transport is None:
            self._network.stats.refused += len(datagrams)
        else:
            transport.receive(destination, source, datagrams)

    def _choose(self, addresses: Sequence[str]) -> tuple[str, ...]:
        number = len(self._members) + 1
        return tuple(map(_normalized, addresses)) or (f"10.0.{number // 256}.{number % 256}",)

    def _add(self, node: Node, addresses: tuple[str, ...]) -> None:
        """Take in a host or a NAT, with the addresses that lead to it."""
        if node.name in self._network.names:
            raise InvalidParameter(f"there is a host or NAT {node.name!r} already")
        self._route_to(node, addresses)
        self._network.names.add(node.name)
        self._members.append(node)

    def route_to(self, node: Node, address: str) -> str:
        """Let one more address lead to a host; returns it in its usual form."""
        address = _normalized(address)
        self._route_to(node, (address,))
        return address

    def forget_route(self, address: str) -> None:
        """Let an address lead nowhere."""
        del self._by_ip[address]
        self._routes.clear()

    def _route_to(self, node: Node, addresses: tuple[str, ...]) -> None:
        for address in addresses:
            if address in self._by_ip:
                raise InvalidParameter(f"{address} is the address of {self._by_ip[address].name!r} already")
        self._by_ip |= dict.fromkeys(addresses, node)
        self._routes.clear()


class VirtualNetwork(Realm):
    """A clock, hosts, NATs, and a link between any two in each direction; nothing in it is real.

    The clock stands still while a program runs and jumps to the next event in `run` or `VirtualHost.wait`.
    Every source of chance is seeded: the same program does the same each time.

    seed          number that all links' and NATs' chance is made from.
    conditions    see `Conditions`: of every link that is not changed, and not behind a NAT. The default of
                  `delay` is 1 ms here.
    """

    def __init__(self, *, seed: int = 0, **conditions: Unpack[Conditions]) -> None:
        super().__init__(self, Conditions(delay=_DELAY) | conditions)
        self.now = 0.0
        self.seed = seed
        self.stats = NetworkStats()
        self.names: set[str] = set()
        """Of all hosts and NATs."""
        self.links: list[Link] = []
        """Those of all realms, and of connections."""
        self.streams = 0
        """Connections opened so far."""
        self.transports: list[VirtualTransport] = []
        """Those of all hosts that are not closed yet."""

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

    def look_up(self, name: str) -> list[str]:
        """Give the addresses of a name in the virtual DNS: those of the host that is called so."""
        return [ip for ip, node in self._by_ip.items() if node.name == name]

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
            min((link.deadline for link in self.links), default=math.inf),
            min((transport.deadline for transport in watched), default=math.inf),
        )
        if min(event, end) < math.inf:
            self.now = max(self.now, min(event, end))
        if event > end or event == math.inf:
            return False
        for link in list(self.links):
            if link.deadline <= self.now:
                for (source, destination, arrive), datagrams in link.take_routed(self.now):
                    arrive(source, destination, datagrams)
        return True


class VirtualNat(Realm):
    """A NAT or firewall between an outer realm and the one behind it, which it is itself: `nat.host(...)`.

    Made by `nat` or `firewall` of the outer realm.

    name       what it was called.
    outside    its addresses in the outer realm; empty for a firewall.
    """

    def __init__(
        self,
        network: VirtualNetwork,
        outer: Realm,
        name: str,
        outside: tuple[str, ...],
        options: NatOptions,
    ) -> None:
        super().__init__(network, Conditions(delay=_INSIDE_DELAY))
        self.name = name
        self.outside = outside
        self._outer = outer
        self._translator = Translator(outside, seed=f"{network.seed}/{name}", **options)

    def __repr__(self) -> str:
        return f"VirtualNat({self.name!r}, outside={list(self.outside)!r})"

    @property
    def stats(self) -> NatStats:
        """Its counters up to now."""
        self._translator.expire(self._network.now)
        return self._translator.stats

    def forget(self) -> None:
        """Lose all mappings, as a router that is switched off and on does."""
        self._translator.forget()

    def trace_out(self, ip: str, remote: Address) -> StreamPath | None:
        """Find the rest of the way of a connection from behind it."""
        shown = next((own for own in self.outside if (":" in own) == (":" in ip)), ip)
        return self._outer.trace(self, shown, remote)

    def receive_inside(self, local: Address, remote: Address, datagrams: list[bytes]) -> None:
        """Take datagrams from a host behind it, and send them out or back in."""
        translator = self._translator
        count = len(datagrams)
        is_hairpin = remote[0] in self.outside
        if is_hairpin and not translator.hairpinning:
            translator.stats.not_hairpinned += count
            return
        outside = translator.map(local, remote, count, self._network.now)
        if outside is None:
            return
        if is_hairpin:
            # RFC 4787 REQ-9a: the receiver sees the outside address of the sender.
            self.receive_outside(outside, remote, datagrams)
        else:
            self._outer.send(self, outside, remote, datagrams)

    def receive_outside(self, remote: Address, outside: Address, datagrams: list[bytes]) -> None:
        """Take datagrams that came to it from the outer realm, and let in what may come in."""
        inside = self._translator.unmap(outside, remote, len(datagrams), self._network.now)
        if inside is not None:
            self.send(self, remote, inside, datagrams)

    def _choose(self, addresses: Sequence[str]) -> tuple[str, ...]:
        number = len(self._members) + 2
        return tuple(map(_normalized, addresses)) or (f"192.168.{number // 256}.{number % 256}",)

    def _route_to(self, node: Node, addresses: tuple[str, ...]) -> None:
        """Take in addresses; those that are not translated are known outside as well."""
        translated = {":" in ip for ip in self.outside}
        shown = tuple(ip for ip in addresses if (":" in ip) not in translated and not _is_local_only(ip))
        self._outer._route_to(self, shown)
        super()._route_to(node, addresses)


Node = VirtualHost | VirtualNat
Arrive = Callable[[Address, Address, list[bytes]], None]
"""Takes (source, destination, datagrams) at the end of a link."""


def _is_local_only(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in network for network in _LOCAL_ONLY)


def _normalized(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        raise InvalidParameter(f"{address!r} is no IP address: {error}") from error
