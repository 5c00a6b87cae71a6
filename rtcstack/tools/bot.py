"""A bot for the web page: it dances, answers pings and talks."""

from __future__ import annotations

import asyncio
import contextlib
import math
import struct
from collections.abc import Callable

from rtcstack.errors import RTCError
from rtcstack.multiplayer import TransferMode
from rtcstack.signaling.lobby_peer import LobbyPeer, Packet

__all__ = ["BULK", "CHAT", "DOT", "HELLO", "PING", "PONG", "Bot"]

CHAT, DOT, PING, PONG, HELLO, BULK = 1, 2, 3, 4, 5, 6
"""First byte of a packet, as in web/mesh.js."""

_DOT = struct.Struct("!IHH")
"""Number of the dot, then where it is: 0 to 65,535 from left to right and from top to bottom."""

_FRAME = 1 / 60

_HELP = "I know: help, stats, faster, slower. Whatever else you say, I say again."


class Bot:
    """A peer of the page's lobby.

    game    joined already, a mesh.
    name    what the page shows.
    tell    called with a line for each thing that happens.
    """

    def __init__(self, game: LobbyPeer, name: str = "Python", tell: Callable[[str], None] = print) -> None:
        self.game = game
        self.name = name
        self.names: dict[int, str] = {}
        """What the others call themselves."""
        self._tell = tell
        self._speed = 1.0
        self._phase = 0.0
        self._count = 0
        game.peer_connected.connect(self._on_peer_connected)
        game.peer_disconnected.connect(self._on_peer_disconnected)

    async def run(self) -> None:
        """Dance and listen until the game is left."""
        dance = asyncio.create_task(self._dance())
        try:
            async for packet in self.game:
                self._hear(packet)
        finally:
            dance.cancel()

    def say(self, text: str, peer: int = 0) -> None:
        """Send a line of chat to one peer, or to all."""
        self._send(CHAT, text.encode(), peer, TransferMode.RELIABLE)

    def _send(self, kind: int, payload: bytes, peer: int, mode: TransferMode) -> None:
        """Send what can be sent: a peer that has just left, or takes nothing, does not end the dance."""
        if self.game.peers:
            self.game.set_target_peer(peer)
            self.game.transfer_mode = mode
            with contextlib.suppress(RTCError):
                self.game.put_packet(bytes((kind,)) + payload)

    def _on_peer_connected(self, peer: int) -> None:
        self._tell(f"peer {peer} is connected")
        self._send(HELLO, self.name.encode(), peer, TransferMode.RELIABLE)

    def _on_peer_disconnected(self, peer: int) -> None:
        self._tell(f"{self._name_of(peer)} has left")
        self.names.pop(peer, None)

    def _name_of(self, peer: int) -> str:
        return self.names.get(peer, f"peer {peer}")

    async def _dance(self) -> None:
        """Send a dot sixty times a second, on a curve that closes after a while."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._phase += self._speed * _FRAME
            self._count += 1
            x, y = 0.5 + 0.4 * math.sin(self._phase * 1.1), 0.5 + 0.4 * math.sin(self._phase * 1.7)
            dot = _DOT.pack(self._count & 0xFFFF_FFFF, int(x * 65535), int(y * 65535))
            self._send(DOT, dot, 0, TransferMode.UNRELIABLE)
            due = max(due + _FRAME, loop.time())
            await asyncio.sleep(due - loop.time())

    def _hear(self, packet: Packet) -> None:
        kind, payload = packet.data[:1], packet.data[1:]
        if kind == bytes((PING,)):
            self._send(PONG, payload, packet.peer, TransferMode.UNRELIABLE)
        elif kind == bytes((HELLO,)):
            self.names[packet.peer] = _read_text(payload)[:24]
            self._tell(f"peer {packet.peer} is {self._name_of(packet.peer)}")
        elif kind == bytes((CHAT,)):
            text = _read_text(payload)[:500]
            self._tell(f"{self._name_of(packet.peer)}: {text}")
            self.say(self._answer(packet.peer, text.strip()), packet.peer)

    def _answer(self, peer: int, text: str) -> str:
        match text.lower():
            case "help":
                return _HELP
            case "faster" | "slower" as wish:
                self._speed = min(16.0, max(0.25, self._speed * (2 if wish == "faster" else 0.5)))
                return f"{wish} it is"
            case "stats":
                pair = self.game.get_peer(peer)["connection"].get_stats().selected_pair
                return f"the path to you is {pair}" if pair else "no path yet"
        return f"“{text}”, says {self._name_of(peer)}"


def _read_text(payload: bytes) -> str:
    """Read what somebody has written, without what would command a terminal."""
    text = payload.decode(errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)
