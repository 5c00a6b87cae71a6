"""The URLs of STUN and TURN servers, as browsers and Godot write them (RFC 7064, RFC 7065)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from rtcstack.errors import InvalidParameter

__all__ = ["ServerTransport", "ServerUrl", "parse_url"]

ServerTransport = Literal["udp", "tcp", "tls"]
"""How a server is reached; "tls" is TLS over TCP."""

_DEFAULT_TRANSPORT: dict[str, ServerTransport] = {
    "stun": "udp",
    "turn": "udp",
    "stuns": "tls",
    "turns": "tls",
}
_TRANSPORTS: dict[tuple[bool, str], ServerTransport] = {
    (False, "udp"): "udp",
    (False, "tcp"): "tcp",
    (False, "tls"): "tls",
    # The s means TLS, so "tcp" says what is below it; there is no DTLS to servers here.
    (True, "tcp"): "tls",
    (True, "tls"): "tls",
}
"""Whether the scheme has the s, and the word after ?transport= -> transport."""

_GRAMMAR = "[stun|stuns|turn|turns:][//][user:password@]host[:port][?transport=udp|tcp|tls]"
_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<ipv6>[^]]*)]|(?P<name>[^\s\[\]:/?#@]{1,255}))(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """One STUN or TURN server.

    scheme              "stun", "stuns", "turn" or "turns".
    host                name or IP address, IPv6 without brackets.
    port                1 to 65535.
    transport           how to reach it.
    username, password  from the URL; None if it names none. They are not shown in reprs.
    """

    scheme: str
    host: str
    port: int
    transport: ServerTransport
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def is_turn(self) -> bool:
        """Whether it is a relay; otherwise it only tells addresses."""
        return self.scheme.startswith("turn")

    def __str__(self) -> str:
        """Write the URL in full, without the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _DEFAULT_TRANSPORT[self.scheme]
        query = "" if self.transport == default else f"?transport={self.transport}"
        return f"{self.scheme}:{host}:{self.port}{query}"


def parse_url(url: str) -> ServerUrl:
    """Read the URL of a server.

    url       what stands under "urls" in a configuration. Beside RFC 7064 and 7065 it may have what Godot's
              native plugin takes: no scheme (then it is stun), slashes, credentials (percent-encoded where
              they hold reserved characters), a transport for stun, transport=tls.
    Returns   the parts. The port defaults to 3478, for TLS to 5349; the transport to UDP, with the s to TLS.
    Raises    InvalidParameter naming the URL, without its credentials, what is wrong and what is allowed.
    Source: RFC 7064 section 3, RFC 7065 section 3.
    """
    if not isinstance(url, str):
        raise InvalidParameter(f"the URL of a server must be a string, not {url!r}: {_GRAMMAR}")
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in _DEFAULT_TRANSPORT:
        scheme, rest = "stun", url
    rest, question, query = rest.removeprefix("//").partition("?")
    userinfo, at, location = rest.rpartition("@")
    shown = f"{scheme}:***@{url.rpartition('@')[2]}" if "@" in url else url
    if "/" in userinfo:
        raise _refuse(shown, "the scheme is another one, or the credentials hold a / that must be %2F")
    match = _HOST_AND_PORT.fullmatch(location)
    if match is None:
        raise _refuse(shown, "host and port can not be read (IPv6 addresses need brackets)")
    host = match["name"] or match["ipv6"]
    if match["ipv6"] is not None:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise _refuse(shown, f"[{host}] is no IPv6 address") from None
    transport = _DEFAULT_TRANSPORT[scheme]
    if question:
        key, _, word = query.partition("=")
        wanted = _TRANSPORTS.get((scheme.endswith("s"), word.lower()))
        if key != "transport" or wanted is None:
            raise _refuse(shown, f"?{query} is not a transport that {scheme} has")
        transport = wanted
    port = int(match["port"] or (5349 if transport == "tls" else 3478))
    if not 0 < port < 65536:
        raise _refuse(shown, f"port {port} is not in 1 to 65535")
    username, colon, password = userinfo.partition(":")
    return ServerUrl(
        scheme,
        host,
        port,
        transport,
        unquote(username) if at else None,
        unquote(password) if colon else None,
    )


def _refuse(url: str, what: str) -> InvalidParameter:
    return InvalidParameter(f"{url!r} is no URL of a STUN or TURN server: {what}; allowed is {_GRAMMAR}")
