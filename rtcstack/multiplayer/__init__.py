"""Godot's high-level multiplayer: peers with ids over WebRTC, and the protocol that scenes speak.

The protocol stands in rtcstack.multiplayer.scene.
"""

from rtcstack.multiplayer.modes import ConnectionStatus, TransferMode
from rtcstack.multiplayer.peer import MultiplayerPeer, PeerInfo

__all__ = ["ConnectionStatus", "MultiplayerPeer", "PeerInfo", "TransferMode"]
