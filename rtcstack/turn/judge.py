"""Whether an address that a server has told us can be used."""

from __future__ import annotations

import ipaddress

from rtcstack.errors import InvalidParameter
from rtcstack.stun import Address

__all__ = ["canonical_peer", "canonical_server", "judge_address", "judge_redirection"]


def judge_address(name: str, address: Address | None, family: int | None) -> str:
    """Tell what is wrong with an address from the wire: "" if we can use it.

    name      of its attribute.
    family    4 or 6, None for any.
    """
    if address is None:
        return f"{name} is missing"
    ip = ipaddress.ip_address(address[0])
    if not _is_host(ip) or address[1] == 0:
        return f"{name} {address} is no address of a host"
    return f"{name} {address} is not IPv{family}" if family not in (None, ip.version) else ""


def judge_redirection(alternate: Address | None, server: Address, *, redirected: bool) -> str:
    """Tell why a server's ALTERNATE-SERVER is not followed: "" if it is.

    redirected    whether another server has sent us to this one.
    Source: RFC 8489 section 10.
    """
    if redirected:
        return "the server that we were sent to sends us on"
    if alternate == server:
        return "the server sends us to itself"
    return judge_address("ALTERNATE-SERVER", alternate, ipaddress.ip_address(server[0]).version)


def canonical_peer(ip: str, family: int) -> str:
    """Return the address of a peer as it comes from the wire.

    Raises InvalidParameter if it is no IP address of one host, or of another family.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        address = None
    if address is None or address.version != family or not _is_host(address):
        raise InvalidParameter(f"{ip!r} is no IPv{family} address of a peer that a relay could reach")
    return str(address)


def canonical_server(server: Address) -> Address:
    """Return the address of a server as it comes from the wire.

    Raises InvalidParameter if it is no IP address and port.
    """
    try:
        address: Address | None = (str(ipaddress.ip_address(server[0])), server[1])
    except ValueError:
        address = None
    if address is None or judge_address("server", address, None) or not 0 < address[1] < 65536:
        raise InvalidParameter(
            f"{server!r} is not the IP address and port of a server: resolve its name first"
        )
    return address


def _is_host(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not (ip.is_unspecified or ip.is_multicast or str(ip) == "255.255.255.255")
