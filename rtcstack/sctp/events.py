"""What an association tells its owner, apart from the messages."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "AssociationState",
    "BufferedAmountLow",
    "Closed",
    "Established",
    "Event",
    "IncomingStreamsReset",
    "MessageDropped",
    "OutgoingStreamsReset",
    "PathNarrowed",
    "ResetDenied",
    "Restarted",
]


class AssociationState(enum.Enum):
    """The states of RFC 9260 section 4."""

    CLOSED = "CLOSED"
    COOKIE_WAIT = "COOKIE-WAIT"
    COOKIE_ECHOED = "COOKIE-ECHOED"
    ESTABLISHED = "ESTABLISHED"
    SHUTDOWN_PENDING = "SHUTDOWN-PENDING"
    SHUTDOWN_SENT = "SHUTDOWN-SENT"
    SHUTDOWN_RECEIVED = "SHUTDOWN-RECEIVED"
    SHUTDOWN_ACK_SENT = "SHUTDOWN-ACK-SENT"


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is done."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The peer has begun anew on the same path; what was in flight is lost, all streams begin at 0."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The association is over.

    reason      a sentence for people.
    graceful    True if both sides have shut down, everything delivered.
    """

    reason: str
    graceful: bool


@dataclass(frozen=True, slots=True)
class IncomingStreamsReset:
    """The peer has reset these streams, empty = all; what it had sent on them has been delivered."""

    stream_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OutgoingStreamsReset:
    """The peer has accepted the reset of these streams of ours; their numbers begin at 0."""

    stream_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResetDenied:
    """The peer has refused the reset of these streams, or knows nothing of resets."""

    stream_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BufferedAmountLow:
    """The buffered amount of a stream has fallen from above its threshold to it, or below."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class PathNarrowed:
    """Chunks in flight are larger than packets that arrive: the network has to cut them.

    Datagrams may be fragmented until Association.needs_fragments is False.
    Source: RFC 9260 section 6.9.
    """


@dataclass(frozen=True, slots=True)
class MessageDropped:
    """A message of the peer was larger than options.max_message_size; none of it is delivered."""

    stream_id: int


Event = (
    Established
    | Restarted
    | Closed
    | IncomingStreamsReset
    | OutgoingStreamsReset
    | ResetDenied
    | BufferedAmountLow
    | MessageDropped
    | PathNarrowed
)
