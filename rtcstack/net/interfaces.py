"""The IP addresses of this machine that are worth a socket."""

from __future__ import annotations

import contextlib
import enum
import functools
import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = [
    "CACHE_SECONDS",
    "Interface",
    "first_of_each_family",
    "forget_interfaces",
    "select_interfaces",
    "system_interfaces",
    "usable_interfaces",
]

CACHE_SECONDS = 2.0
"""How long one look at the interfaces is good for. Asking the system takes 0.3 ms, a tenth of a connection's
set-up; an address that is gone meanwhile fails to bind and is passed over."""

# Documentation addresses (RFC 5737, RFC 3849): never on the machine's own networks, so they follow the
# default route.
_FAR_AWAY = ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1"))


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one network interface.

    name        the system's name of the interface, such as "eth0"; empty for an address that the application
                gave.
    address     IPv4 or IPv6 address in text, without a zone.
    """

    name: str
    address: str


def usable_interfaces(now: float, accept: Callable[[Interface], bool] | None = None) -> list[Interface]:
    """List the addresses to open sockets on, the most promising first.

    now         seconds, monotonic: the system is asked at most once every CACHE_SECONDS.
    accept      says of each whether to use it; None takes all.
    Returns addresses without duplicates; see select_interfaces() for which.
    Source: RFC 8445 section 5.1.1.1.
    """
    found = _system_interfaces_during(int(now // CACHE_SECONDS))
    return select_interfaces(found if accept is None else filter(accept, found))


def forget_interfaces() -> None:
    """Ask the system anew at the next call: something is said to have changed."""
    _system_interfaces_during.cache_clear()


def select_interfaces(found: Iterable[Interface]) -> list[Interface]:
    """Leave out what a remote peer cannot reach, unless there is nothing else.

    found       addresses in order of preference.
    Returns the addresses of wider scope; if there is none, link-local IPv4 and loopback ones, for two
            programs on one machine or one cable. Link-local IPv6 addresses need a zone, which a candidate
            cannot carry: never.
    Source: RFC 8445 section 5.1.1.1.
    """
    scopes: dict[_Scope, list[Interface]] = {scope: [] for scope in _Scope}
    for interface in dict.fromkeys(found):
        scopes[_scope(interface.address)].append(interface)
    return scopes[_Scope.WIDE] or scopes[_Scope.NARROW]


def first_of_each_family(found: Iterable[Interface]) -> list[Interface]:
    """Keep the first IPv4 and the first IPv6 address: those that the default routes start from."""
    families: dict[bool, Interface] = {}
    for interface in found:
        families.setdefault(":" in interface.address, interface)
    return list(families.values())


def system_interfaces() -> list[Interface]:
    """Ask the system for every address of every interface, those that its default routes start from first."""
    import ifaddr  # with ctypes behind it

    found: dict[str, Interface] = {}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            found.setdefault(address, Interface(adapter.nice_name, address))
    preferred = {_route_source(family, target) for family, target in _FAR_AWAY}
    return sorted(found.values(), key=lambda interface: interface.address not in preferred)


class _Scope(enum.Enum):
    WIDE = enum.auto()
    NARROW = enum.auto()
    USELESS = enum.auto()


@functools.lru_cache(maxsize=256)
def _scope(address: str) -> _Scope:
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified or ip.is_multicast or (ip.version == 6 and ip.is_link_local):
        return _Scope.USELESS
    return _Scope.NARROW if ip.is_loopback or ip.is_link_local else _Scope.WIDE


@functools.lru_cache(maxsize=1)
def _system_interfaces_during(period: int) -> tuple[Interface, ...]:
    return tuple(system_interfaces())


def _route_source(family: socket.AddressFamily, target: str) -> str:
    """Tell which of our addresses the system would send from; connecting a UDP socket sends nothing."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((target, 9))
        return str(sock.getsockname()[0])
    return ""
