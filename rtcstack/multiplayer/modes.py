"""The numbers that Godot's MultiplayerPeer gives to states and modes."""

from __future__ import annotations

import enum

__all__ = ["ConnectionStatus", "TransferMode"]


class ConnectionStatus(enum.IntEnum):
    """Whether a multiplayer peer takes part in a game."""

    DISCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2


class TransferMode(enum.IntEnum):
    """What may happen to a packet on its way.

    UNRELIABLE              it may be lost, and overtake others.
    UNRELIABLE_ORDERED      it may be lost; what arrives, arrives in order.
    RELIABLE                it arrives, in order.
    """

    UNRELIABLE = 0
    UNRELIABLE_ORDERED = 1
    RELIABLE = 2
