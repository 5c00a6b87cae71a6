"""The candidate line of ICE: "candidate:..." to fields and back."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from rtcstack.errors import SdpError
from rtcstack.sdp.description import MAX_LINE, read_number

__all__ = ["CandidateLine", "is_end_of_candidates", "parse_candidate"]

_END = frozenset({"", "candidate:", "end-of-candidates"})
_KNOWN = frozenset({"raddr", "rport", "tcptype"})


@dataclass(frozen=True, slots=True)
class CandidateLine:
    """One ICE candidate as it is signalled.

    foundation       equal for candidates of the same type, base and server.
    component        0 to 256; data channels use 1 (pion offers the RTCP component 2 as well).
    transport        "udp", "tcp" or another name, lower case.
    priority         0 to 2**32 - 1.
    address          an IP address in its canonical form without zone, or a name (mDNS: "<uuid>.local").
    port             0 to 65535; TCP candidates of type "active" have 9, which nobody may connect to.
    type             "host", "srflx", "prflx", "relay" or one of the future.
    related_address  base (srflx, prflx) or mapped address (relay); None if not told.
    related_port     its port.
    tcp_type         "active", "passive" or "so" (RFC 6544); None for UDP.
    extensions       the other name and value pairs, in order; a value may be empty.
    Source: RFC 8839 §5.1.
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
    tcp_type: str | None = None
    extensions: tuple[tuple[str, str], ...] = ()

    @property
    def ufrag(self) -> str | None:
        """The username fragment, hence the generation, that the candidate belongs to, if it says so."""
        return dict(self.extensions).get("ufrag")

    def write(self) -> str:
        """Return the line as "candidate:...", without "a=" and line end."""
        parts = [
            f"candidate:{self.foundation} {self.component} {self.transport} {self.priority}",
            f"{self.address} {self.port} typ {self.type}",
        ]
        if self.related_address is not None or self.type != "host":
            # Firefox refuses the other types without them; RFC 8839 §5.1 has the values for "not told".
            address = self.related_address or ("::" if ":" in self.address else "0.0.0.0")
            parts.append(f"raddr {address} rport {9 if self.related_port is None else self.related_port}")
        if self.tcp_type is not None:
            parts.append(f"tcptype {self.tcp_type}")
        parts.extend(f"{name} {value}" for name, value in self.extensions)
        return " ".join(parts)


def parse_candidate(text: str, line: int = 0) -> CandidateLine:
    """Read "candidate:..." or "a=candidate:..." (libdatachannel's trickled ones have the "a=").

    Unknown transports, types and names are for the ICE agent to pass over: they are no error here.

    line    its number, for the error.
    Raises  SdpError if fields are missing or out of range.
    Source: RFC 8839 §5.1.
    """
    body = text.strip()
    if len(body) > MAX_LINE or not (body.isascii() and body.isprintable()):
        raise SdpError("a candidate is one line of printable ASCII", line)
    body = body.removeprefix("a=")
    if body[:10].lower() != "candidate:":
        raise SdpError(f"a candidate begins with 'candidate:', not {body[:20]!r}", line)
    fields = body[10:].split(None, 8)
    if len(fields) < 8 or fields[6].lower() != "typ":
        raise SdpError(
            "a candidate needs foundation, component, transport, priority, address, port, 'typ' and type",
            line,
        )
    pairs = _read_pairs(fields[8]) if len(fields) > 8 else []
    known = {name: value for name, value in pairs if name in _KNOWN}
    related_port = known.get("rport")
    return CandidateLine(
        foundation=fields[0],
        component=read_number(fields[1], 256, "the component", line),
        transport=fields[2].lower(),
        priority=read_number(fields[3], 2**32 - 1, "the priority", line),
        address=_read_address(fields[4], line),
        port=read_number(fields[5], 65535, "the port", line),
        type=fields[7].lower(),
        related_address=_read_address(known["raddr"], line) if known.get("raddr") else None,
        related_port=read_number(related_port, 65535, "rport", line) if related_port else None,
        tcp_type=known.get("tcptype"),
        extensions=tuple(pair for pair in pairs if pair[0] not in _KNOWN),
    )


def is_end_of_candidates(text: str) -> bool:
    """Is this how a peer says that no more candidates follow: "", "candidate:" or "end-of-candidates"?

    Source: RFC 8840 §8.2; the empty ones are what browsers hand to their applications.
    """
    return text.strip().removeprefix("a=") in _END


def _read_pairs(text: str) -> list[tuple[str, str]]:
    # Cut at single spaces: two in a row are an empty value after a name, careless spacing before one.
    words = iter(text.split(" "))
    return [(name, next(words, "")) for name in words if name]


def _read_address(text: str, line: int) -> str:
    address = text.partition("%")[0]  # a zone has a meaning on the sender's host only
    if not address:
        raise SdpError("a candidate without address", line)
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
