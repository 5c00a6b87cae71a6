"""What a session reports to the face above it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rtcstack.datachannel import Channel, ChannelEvent
from rtcstack.sdp import SignalingState

__all__ = [
    "BufferedAmountLow",
    "CandidateError",
    "ConnectionState",
    "ConnectionStateChanged",
    "GatheringState",
    "GatheringStateChanged",
    "IceRestartProposed",
    "LocalCandidate",
    "LocalDescription",
    "SelectedPairChanged",
    "SessionEvent",
    "SignalingStateChanged",
]


class ConnectionState(enum.IntEnum):
    """The connection as a whole, numbered as Godot numbers it.

    CONNECTED means that ICE, DTLS and SCTP are all up: channels can be used.
    """

    NEW = 0
    CONNECTING = 1
    CONNECTED = 2
    DISCONNECTED = 3
    FAILED = 4
    CLOSED = 5


class GatheringState(enum.IntEnum):
    """The gathering of local candidates, numbered as Godot numbers it."""

    NEW = 0
    GATHERING = 1
    COMPLETE = 2


@dataclass(frozen=True, slots=True)
class IceRestartProposed:
    """The address of ours that data left from is gone: an ICE restart tells the peer of the others.

    reason  what has happened, a sentence.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class LocalDescription:
    """A description for the other side; type is "offer" or "answer"."""

    type: str
    sdp: str


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """A candidate for the other side: media identification, m-line index, and the "candidate:" line."""

    mid: str
    index: int
    line: str


@dataclass(frozen=True, slots=True)
class CandidateError:
    """A STUN or TURN server gave no address; gathering goes on with the others.

    url     of the server, without credentials.
    local   (ip, port) that asked; None if it did not come to that.
    code    the STUN error code, or 701 where no answer of use came.
    """

    url: str
    local: tuple[str, int] | None
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionStateChanged:
    """The connection has entered a state; reason is a sentence where something went wrong or ended."""

    state: ConnectionState
    reason: str


@dataclass(frozen=True, slots=True)
class GatheringStateChanged:
    """Gathering has entered a state."""

    state: GatheringState


@dataclass(frozen=True, slots=True)
class SignalingStateChanged:
    """Negotiation has entered a state."""

    state: SignalingState


@dataclass(frozen=True, slots=True)
class SelectedPairChanged:
    """Data takes another path now: (ip, port) on this side and on the other."""

    local: tuple[str, int]
    remote: tuple[str, int]


@dataclass(frozen=True, slots=True)
class BufferedAmountLow:
    """What waits to be sent on a channel has fallen to its threshold."""

    channel: Channel


SessionEvent = (
    LocalDescription
    | LocalCandidate
    | CandidateError
    | ConnectionStateChanged
    | GatheringStateChanged
    | SignalingStateChanged
    | SelectedPairChanged
    | IceRestartProposed
    | BufferedAmountLow
    | ChannelEvent
)
