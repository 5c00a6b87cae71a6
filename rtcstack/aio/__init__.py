"""The asyncio face: the same connections and channels, awaited."""

from rtcstack.aio.channel import DataChannel
from rtcstack.aio.connection import Candidate, Description, PeerConnection

__all__ = ["Candidate", "DataChannel", "Description", "PeerConnection"]
