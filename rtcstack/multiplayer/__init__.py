"""Godot's high-level multiplayer: peers with ids over WebRTC, and the protocol that scenes speak."""

from rtcstack.multiplayer.modes import ConnectionStatus, TransferMode
from rtcstack.multiplayer.peer import MultiplayerPeer

__all__ = ["ConnectionStatus", "MultiplayerPeer", "TransferMode"]
