"""What the clients of STUN and TURN servers report: states, events and counters."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from rtcstack.stun import Address

__all__ = [
    "NO_ANSWER",
    "Allocated",
    "AlternateServer",
    "BindingEvent",
    "Closed",
    "Drops",
    "Event",
    "Failed",
    "Mapped",
    "PeerRefused",
    "State",
    "Stats",
]

NO_ANSWER = 701
"""Code of a failure without a STUN error code, as in W3C's icecandidateerror: no answer, or none of use."""


class State(enum.Enum):
    """The life of a Client."""

    NEW = "new"
    """Before start()."""
    ALLOCATING = "allocating"
    """The server has been asked."""
    ALLOCATED = "allocated"
    """The relay is there."""
    REDIRECTED = "redirected"
    """The server has named another one; this client is done."""
    CLOSING = "closing"
    """The relay is being given back."""
    CLOSED = "closed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Allocated:
    """The relay is there.

    relayed     our address on it: the relayed candidate.
    mapped      our address as the server sees it: a server-reflexive candidate.
    lifetime    seconds until it must be refreshed, which the client does.
    """

    relayed: Address
    mapped: Address
    lifetime: float


@dataclass(frozen=True, slots=True)
class Mapped:
    """The server sees us here: a server-reflexive candidate. It comes again when the address has changed."""

    address: Address


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no address, or no longer.

    code      of the server's error answer, 437 asking for another local port; or NO_ANSWER.
    reason    a sentence.
    """

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class AlternateServer:
    """The server asks us to go to another one, by the same transport and with the same credentials.

    domain    whose certificate that server has, for TLS; None for the domain of this server.
    Then: make a new client with redirected=True, which will not follow another one.
    """

    address: Address
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The server does not relay to this IP address of a peer; the relay itself goes on."""

    ip: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The allocation has been given back, or as good as that."""


Event = Allocated | Failed | AlternateServer | PeerRefused | Closed
BindingEvent = Mapped | Failed | AlternateServer


@dataclass(slots=True)
class Drops:
    """What was thrown away, in messages or datagrams, one counter for each reason."""

    malformed: int = 0
    """Neither ChannelData nor a STUN message, or ChannelData longer than what it came in."""
    unexpected: int = 0
    """STUN requests, and indications of other methods than Data."""
    unknown_transaction: int = 0
    """Answers to nothing that we asked: late, replayed or forged."""
    unauthenticated: int = 0
    """Answers whose MESSAGE-INTEGRITY is missing or wrong."""
    bid_down: int = 0
    """Answers whose list of password algorithms somebody took out."""
    malformed_indication: int = 0
    """Data indications without peer or data, or with unknown attributes."""
    unknown_channel: int = 0
    """ChannelData on a channel that we have not bound."""
    no_permission: int = 0
    """Data of a peer that we have given no permission to."""
    receive_overflow: int = 0
    """Data beyond max_queued."""
    not_allocated: int = 0
    """Sent while there was no relay."""
    refused_peer: int = 0
    """Sent to a peer that the server refuses."""
    permission_overflow: int = 0
    """Permissions, or datagrams to peers, beyond max_permissions."""
    channel_overflow: int = 0
    """Channels beyond max_channels."""
    send_overflow: int = 0
    """Sent beyond max_queued."""


@dataclass(slots=True)
class Stats:
    """What was done."""

    requests_sent: int = 0
    retransmissions: int = 0
    stale_nonces: int = 0
    """Answers 438: the nonce was renewed."""
    errors_received: dict[int, int] = field(default_factory=dict)
    """Error answers by code, authenticated or not."""
    refreshes: int = 0
    """Times that the server has prolonged the allocation."""
    datagrams_sent: int = 0
    """To peers."""
    datagrams_received: int = 0
    """From peers."""
    send_indications: int = 0
    """Of the datagrams sent, those outside a channel, with 36 bytes of overhead for 4."""
    data_indications: int = 0
    """The same for those received."""
    keepalives: int = 0
    icmp_errors: int = 0
    """Reports of the server that a peer cannot be reached (RFC 8656 section 11.6)."""
