"""The layers combined into one sans-IO object for one peer connection."""

from rtcstack.session.events import (
    BufferedAmountLow,
    CandidateError,
    ConnectionState,
    ConnectionStateChanged,
    GatheringState,
    GatheringStateChanged,
    IceRestartProposed,
    LocalCandidate,
    LocalDescription,
    SelectedPairChanged,
    SessionEvent,
    SignalingStateChanged,
)
from rtcstack.session.gatherer import Server, StreamRequest
from rtcstack.session.options import SessionOptions
from rtcstack.session.session import PeerSession
from rtcstack.session.stats import (
    CandidateStats,
    CertificateStats,
    ChannelStats,
    PairStats,
    Stats,
    TransportStats,
    format_address,
)
from rtcstack.session.tap import Tap

__all__ = [
    "BufferedAmountLow",
    "CandidateError",
    "CandidateStats",
    "CertificateStats",
    "ChannelStats",
    "ConnectionState",
    "ConnectionStateChanged",
    "GatheringState",
    "GatheringStateChanged",
    "IceRestartProposed",
    "LocalCandidate",
    "LocalDescription",
    "PairStats",
    "PeerSession",
    "SelectedPairChanged",
    "Server",
    "SessionEvent",
    "SessionOptions",
    "SignalingStateChanged",
    "Stats",
    "StreamRequest",
    "Tap",
    "TransportStats",
    "format_address",
]
