"""Signaling: where peers meet.  The protocol of Godot's webrtc_signaling demo, server and client.

    game = await join("ws://127.0.0.1:9080")      # also rtcstack.aio.join
    client = Client("ws://127.0.0.1:9080")        # driven by poll()
    async with Server(ServerOptions()): ...       # python -m rtcstack signaling

The names are looked up when they are used: `Limits` and the rules of lobbies need nothing beyond rtcstack,
the rest needs `pip install "rtcstack[signaling]"`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtcstack.signaling.broker import RedisBroker
    from rtcstack.signaling.client import Client
    from rtcstack.signaling.limits import Limits
    from rtcstack.signaling.lobby_peer import LobbyPeer, Packet, join
    from rtcstack.signaling.matchmaker import Matchmaker
    from rtcstack.signaling.server import Page, Server, ServerOptions

_PLACES = {
    "Client": "client",
    "Limits": "limits",
    "LobbyPeer": "lobby_peer",
    "Matchmaker": "matchmaker",
    "Packet": "lobby_peer",
    "Page": "server",
    "RedisBroker": "broker",
    "Server": "server",
    "ServerOptions": "server",
    "join": "lobby_peer",
}

__all__ = [
    "Client",
    "Limits",
    "LobbyPeer",
    "Matchmaker",
    "Packet",
    "Page",
    "RedisBroker",
    "Server",
    "ServerOptions",
    "join",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_PLACES[name]}")
    except ModuleNotFoundError as error:
        if error.name != "websockets":
            raise
        raise ModuleNotFoundError(
            "signaling needs the package websockets: pip install 'rtcstack[signaling]'", name=error.name
        ) from None
    return getattr(module, name)
