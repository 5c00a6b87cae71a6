"""The asyncio face: the same connections and channels, awaited."""

from rtcstack.aio.channel import DataChannel
from rtcstack.aio.connection import Candidate, Description, Happening, PeerConnection
from rtcstack.session import (
    CandidateError,
    ConnectionStateChanged,
    GatheringStateChanged,
    SelectedPairChanged,
    SignalingStateChanged,
)

__all__ = [
    "Candidate",
    "CandidateError",
    "ConnectionStateChanged",
    "DataChannel",
    "Description",
    "GatheringStateChanged",
    "Happening",
    "PeerConnection",
    "SelectedPairChanged",
    "SignalingStateChanged",
]
