"""Write docs/nat-matrix.md: which two places in a network connect, with which servers, how and how fast.

python tests/conformance/nat_matrix.py
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rtcstack import PeerConnection
from rtcstack.testing import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    NatKind,
    StunServer,
    TurnServer,
    VirtualHost,
    VirtualNat,
    VirtualNetwork,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "nat-matrix.md"

DELAY = 0.05
"""Seconds one way between any two places outside: a round trip of 100 ms, 200 ms through a relay."""
SETTLED = 15.0
"""Seconds after which the path is final: the agents have had the time to leave one for a better."""
USERS = {"user": "secret"}

SERVERS = ("none", "STUN", "TURN")
TITLES = {
    "none": "Without a server",
    "STUN": "With a STUN server",
    "TURN": "With STUN and TURN servers",
}


class Place(NamedTuple):
    """Where a peer may be.

    kind       of the NAT in effect there; None without any.
    has_udp    whether UDP can leave at all.
    build      (network, name, outside address) -> the host.
    """

    kind: NatKind | None
    has_udp: bool
    build: Callable[[VirtualNetwork, str, str], VirtualHost]


def _public(network: VirtualNetwork, name: str, ip: str) -> VirtualHost:
    return network.host(name, [ip])


def behind(kind: NatKind, network: VirtualNetwork, name: str, ip: str) -> VirtualHost:
    """Build a host behind a NAT of this kind."""
    return network.nat(f"{name}'s NAT", [ip], kind=kind).host(name)


def _behind_two(network: VirtualNetwork, name: str, ip: str) -> VirtualHost:
    provider = network.nat(f"{name}'s provider", [ip], kind=ADDRESS_RESTRICTED)
    return provider.nat(f"{name}'s home", ["100.64.0.2"], kind=PORT_RESTRICTED).host(name)


def _blocked(network: VirtualNetwork, name: str, ip: str) -> VirtualHost:
    return network.nat(f"{name}'s office", [ip], allowed_ports=()).host(name)


PLACES = {
    "public": Place(None, True, _public),
    "full cone": Place(FULL_CONE, True, functools.partial(behind, FULL_CONE)),
    "address-restricted": Place(ADDRESS_RESTRICTED, True, functools.partial(behind, ADDRESS_RESTRICTED)),
    "port-restricted": Place(PORT_RESTRICTED, True, functools.partial(behind, PORT_RESTRICTED)),
    "two NATs": Place(PORT_RESTRICTED, True, _behind_two),
    "symmetric": Place(SYMMETRIC, True, functools.partial(behind, SYMMETRIC)),
    "UDP blocked": Place(PORT_RESTRICTED, False, _blocked),
}

PAIRS = list(itertools.combinations_with_replacement(PLACES, 2))


class Outcome(NamedTuple):
    """What became of two peers.

    seconds    of virtual time from the offer to the open channel; None if it did not open.
    types      of the candidates of both ends of the final path, as the offerer sees them.
    reason     why it failed.
    """

    seconds: float | None
    types: tuple[str, str] = ("", "")
    reason: str = ""

    @property
    def is_direct(self) -> bool:
        return self.seconds is not None and "relay" not in self.types

    def __str__(self) -> str:
        return "no" if self.seconds is None else f"{' → '.join(self.types)}, {self.seconds * 1000:.0f} ms"


def connect(network: VirtualNetwork, hosts: tuple[VirtualHost, VirtualHost], servers: str) -> Outcome:
    """Let the first of two hosts offer, with signaling that takes no time, and see what becomes of it."""
    stun = StunServer.on(network.host("stun", ["203.0.113.1"]))
    turn = TurnServer.on(network.host("turn", ["203.0.113.2"]), users=USERS)
    relay = {"urls": [turn.url, turn.tcp_url, turn.tls_url], "username": "user", "credential": "secret"}
    ice_servers = {"none": [], "STUN": [{"urls": stun.url}], "TURN": [{"urls": stun.url}, relay]}[servers]
    peers = [
        PeerConnection(
            {"iceServers": ice_servers}, network=host, random_bytes=random.Random(host.name).randbytes
        )
        for host in hosts
    ]
    for peer, other in (peers, peers[::-1]):
        peer.session_description_created.connect(peer.set_local_description)
        peer.session_description_created.connect(other.set_remote_description)
        peer.ice_candidate_created.connect(other.add_ice_candidate)
    ends = [peer.create_data_channel("chat", {"negotiated": True, "id": 1}) for peer in peers]
    peers[0].create_offer()

    def is_open() -> bool:
        return all(end.get_ready_state() == end.STATE_OPEN for end in ends)

    def is_over() -> bool:
        return all(peer.get_connection_state() == peer.STATE_FAILED for peer in peers)

    network.run(lambda: is_open() or is_over(), limit=100.0, peers=peers)
    if not is_open():
        return Outcome(None, reason=peers[0].get_failure_reason())
    seconds = network.now
    network.run(SETTLED, peers=peers)
    pair = peers[0].get_stats().selected_pair
    assert pair is not None
    assert is_open()
    return Outcome(seconds, (pair.local_type, pair.remote_type))


@functools.cache
def outcome(offerer: str, answerer: str, servers: str) -> Outcome:
    """Connect two peers at different places."""
    network = VirtualNetwork(seed=1, delay=DELAY)
    left = PLACES[offerer].build(network, "left", "198.51.100.1")
    right = PLACES[answerer].build(network, "right", "198.51.100.2")
    return connect(network, (left, right), servers)


@functools.cache
def neighbors(place: str, servers: str) -> Outcome:
    """Connect two peers that share a NAT."""
    network = VirtualNetwork(seed=1, delay=DELAY)
    options = NEIGHBORS[place]
    if "kind" in options:
        homes: tuple[VirtualNat, ...] = (network.nat("NAT", ["198.51.100.1"], **options),) * 2
    else:
        provider = network.nat("provider", ["198.51.100.1"], **options)
        homes = provider.nat("first home", ["100.64.0.2"]), provider.nat("second home", ["100.64.0.3"])
    return connect(network, (homes[0].host("left"), homes[1].host("right")), servers)


NEIGHBORS = {
    "one home": {"kind": SYMMETRIC},
    "two homes of one provider, who hairpins": {"hairpinning": True},
    "two homes of one provider, who does not": {"hairpinning": False},
}

HEAD = """\
# Who connects with whom

Two peers, each at a place of its own in the virtual network of `rtcstack.testing`: the candidates at both
ends of the path that they end up with, and the time from the offer to the open channel. Between any two
places lies a round trip of 100 ms, by way of a relay 200 ms; descriptions and candidates take no time. The
row offers; who offers makes no difference to whether it works. **no** is what cannot work: neither side ever
learns an address at which it reaches the other. Wherever a direct path is possible, it is taken.

`host` is an address of the machine, `srflx` one that a server has seen, `prflx` one that the peer has seen,
`relay` one on a TURN server.

* **public**: no NAT.
* **full cone**, **address-restricted**, **port-restricted**, **symmetric**: behind such a NAT. In the words
  of RFC 4787 the first three map endpoint-independently, and filter endpoint-independently, by address, or by
  address and port; the symmetric one does both by address and port.
* **two NATs**: a port-restricted one at home, and an address-restricted one at the provider.
* **UDP blocked**: a NAT that lets no UDP out, but TCP.

The page is written by `python tests/conformance/nat_matrix.py`, and a test sees that it is up to date.
"""


def page() -> str:
    """Give the whole page."""
    parts = [HEAD]
    for servers in SERVERS:
        parts += [
            f"## {TITLES[servers]}\n",
            f"| | {' | '.join(PLACES)} |",
            "|---" * (len(PLACES) + 1) + "|",
        ]
        for offerer in PLACES:
            cells = [
                str(outcome(offerer, answerer, servers)) if (offerer, answerer) in PAIRS else ""
                for answerer in PLACES
            ]
            parts.append(f"| **{offerer}** | {' | '.join(cells)} |")
        parts.append("")
    parts += ["## Behind the same NAT\n", f"| | {' | '.join(SERVERS)} |", "|---" * (len(SERVERS) + 1) + "|"]
    parts += [
        f"| **{place}** | {' | '.join(str(neighbors(place, servers)) for servers in SERVERS)} |"
        for place in NEIGHBORS
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(page(), encoding="utf-8")
