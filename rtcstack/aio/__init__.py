"""The asyncio face: the same connections and channels, awaited; and join(), which enters a game."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtcstack.aio.channel import DataChannel
from rtcstack.aio.connection import Candidate, Description, Happening, PeerConnection
from rtcstack.session import (
    CandidateError,
    ConnectionStateChanged,
    GatheringStateChanged,
    SelectedPairChanged,
    SignalingStateChanged,
)

if TYPE_CHECKING:
    from rtcstack.signaling import join

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
    "join",
]


def __getattr__(name: str) -> Any:
    """Look up join() where it lives, above this package; it needs the packages of `rtcstack[signaling]`."""
    if name == "join":
        from rtcstack.signaling import join

        return join
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
