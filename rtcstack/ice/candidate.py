"""Candidates: their fields, priority, and which of them can reach each other."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass

from rtcstack.stun import Address

__all__ = [
    "TYPE_PREFERENCE",
    "Candidate",
    "can_pair",
    "candidate_priority",
    "is_private",
    "is_same_network",
    "is_usable_local",
    "is_usable_remote",
    "normalize",
    "peer_reflexive_priority",
    "reach",
]

TYPE_PREFERENCE = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}
"""Recommended type preferences (RFC 8445 section 5.1.2.2)."""

_TCP_TYPE_PREFERENCE = {"host": 90, "prflx": 80}
"""Any direct path by UDP is better than one by TCP, which is better than a relay (RFC 6544 section 4.2)."""

_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One transport address at which an agent may be reached.

    foundation      same text for candidates of the same kind, base address and server.
    component       1: there is one component.
    transport       "udp" or "tcp", lower case.
    priority        1 to 2**31 - 1, larger is preferred.
    address, port   IP address as text, without zone.
    type            "host", "srflx", "prflx" or "relay".
    related_address, related_port   the base, or the mapped address of a relay; None for host candidates.
    base            where a local candidate sends from; None for remote ones.
    interface       name of the network interface of a host candidate, if known.
    tcp_type        "active", "passive" or "so" for TCP; None for UDP.

    Source: RFC 8445 section 5.3, RFC 8839 section 5.1, RFC 6544 section 4.5.
    """

    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    type: str
    related_address: str | None = None
    related_port: int | None = None
    base: Address | None = None
    interface: str = ""
    tcp_type: str | None = None

    @property
    def transport_address(self) -> Address:
        """Address and port."""
        return self.address, self.port


def candidate_priority(
    type_: str, local_preference: int, component: int = 1, *, transport: str = "udp"
) -> int:
    """Compute the recommended priority.

    local_preference    0 to 65535, unique among our candidates of this type.
    Source: RFC 8445 section 5.1.2.1, RFC 6544 section 4.2.
    """
    preferences = TYPE_PREFERENCE if transport == "udp" else _TCP_TYPE_PREFERENCE
    return (preferences[type_] << 24) + (local_preference << 8) + (256 - component)


def peer_reflexive_priority(priority: int, *, transport: str = "udp") -> int:
    """Return what a candidate's priority would be if it were peer-reflexive (RFC 8445 section 7.1.1)."""
    return candidate_priority("prflx", 0, 256, transport=transport) + (priority & 0xFFFFFF)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What ICE asks about one IP address."""

    text: str
    zone: tuple[int, str]
    network: str
    is_private: bool
    is_local: bool
    is_remote: bool


# Set-up asks several times about each of a few addresses, and `ipaddress` is slow.
@functools.lru_cache(maxsize=1024)
def _facts(address: str) -> _Facts | None:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.version == 6 and ip.ipv4_mapped is not None
    old = ip.version == 6 and not ip.is_loopback and (ip in _SITE_LOCAL or ip in _IPV4_COMPATIBLE)
    single = not (ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255")
    place = "loopback" if ip.is_loopback else "link" if ip.version == 6 and ip.is_link_local else "any"
    return _Facts(
        text=str(ip),
        zone=(ip.version, place),
        network=str(ipaddress.ip_network((ip.packed, 24 if ip.version == 4 else 64), strict=False)),
        is_private=not ip.is_global,
        is_local=single and not mapped and not old,
        is_remote=single and not mapped,
    )


def normalize(address: str) -> str | None:
    """Return an IP address in its canonical form without zone; None for host names and other text."""
    facts = _facts(address)
    return facts.text if facts else None


def is_same_network(address: str, other: str) -> bool:
    """Guess whether two addresses are on one local network: a /24 of IPv4, a /64 of IPv6."""
    one, two = _facts(address), _facts(other)
    return one is not None and two is not None and one.network == two.network


def is_private(address: str) -> bool:
    """Tell whether an address means something inside one network only, as behind a NAT."""
    facts = _facts(address)
    return facts is not None and facts.is_private


def is_usable_local(address: str) -> bool:
    """Tell whether a host candidate may have this address.

    Loopback addresses may: whether to open sockets there is up to the caller.
    Source: RFC 8445 section 5.1.1.1.
    """
    facts = _facts(address)
    return facts is not None and facts.is_local


def is_usable_remote(address: str, port: int) -> bool:
    """Tell whether checks may be sent there: one host that can answer, on a real port."""
    facts = _facts(address)
    return facts is not None and facts.is_remote and 0 < port < 65536


def reach(address: str) -> tuple[int, str]:
    """Return the zone of an IP address: only candidates with the same one are paired.

    That is the address family, IPv6 link-local apart (RFC 8445 section 6.1.2.2), and loopback apart: a peer's
    loopback address means our own host unless the peer is on it too, and then ours is a loopback address.
    """
    facts = _facts(address)
    return facts.zone if facts else (0, "none")


def can_pair(local: Candidate, remote: Candidate) -> bool:
    """Tell whether checks from one to the other make sense.

    A passive candidate of ours is paired when a connection has come, not before.
    Source: RFC 8445 section 6.1.2.2, RFC 6544 section 6.2.
    """
    types = (local.tcp_type, remote.tcp_type)
    return types in ((None, None), ("active", "passive")) and reach(local.address) == reach(remote.address)
