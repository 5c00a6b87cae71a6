"""The shortest way into a game: `await join(url)` gives a multiplayer peer whose others are connected."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rtcstack.aio.watcher import Watcher
from rtcstack.errors import Closed, Error, RTCError
from rtcstack.multiplayer import ConnectionStatus, MultiplayerPeer, TransferMode
from rtcstack.peer import next_wakeup, poll
from rtcstack.signaling.client import Client
from rtcstack.signaling.matchmaker import Matchmaker
from rtcstack.signaling.membership import State

__all__ = ["LobbyPeer", "Packet", "join"]

_BLIND_WRITE = 0.002
"""Seconds until a full socket is tried again where nobody tells when there is room."""

_GOODBYE = 2.0
"""Seconds that leave() waits for the others to take leave."""


@dataclass(frozen=True, slots=True)
class Packet:
    """What another peer has sent: its id, the bytes, and how they came."""

    peer: int
    data: bytes
    mode: TransferMode
    channel: int


class LobbyPeer(MultiplayerPeer):
    """A MultiplayerPeer that lives in an asyncio event loop and keeps in touch with its lobby; see join().

        async with await join("ws://127.0.0.1:9080") as game:
            game.put_packet(b"hello")
            async for packet in game:
                print(packet.peer, packet.data)

    All of MultiplayerPeer is there; poll() is called by the loop, and signals come from there.
    """

    def __init__(self, url: str, lobby: str, mesh: bool, **options: Any) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._is_scheduled = False
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher = Watcher(self._loop, self._turn)
        client_options = {name: options.pop(name) for name in ("reconnects", "options")}
        self.client = Client(url, lobby, mesh, wake=self._wake_from_thread, **client_options)
        """The signaling: its signals and its state."""
        self._match = Matchmaker(self.client, self, **options)
        self._turn()

    @property
    def lobby(self) -> str:
        """The lobby's name: what others join."""
        return self.client.joined_lobby

    @property
    def peers(self) -> list[int]:
        """The ids of the peers that are connected."""
        return [peer_id for peer_id, peer in self.get_peers().items() if peer["connected"]]

    def seal(self) -> None:
        """Let nobody in any more; only the lobby's creator may."""
        self.client.seal_lobby()

    async def wait_for_peers(self, count: int = 1) -> list[int]:
        """Wait until at least that many others are connected; returns their ids.

        Raises:
            Closed: this peer has left.
        """
        await self._until(lambda: len(self.peers) >= count)
        return self.peers

    async def receive(self) -> Packet:
        """Wait for the next packet.

        Raises:
            Closed: this peer has left.
        """
        await self._until(self.get_available_packet_count)
        peer, mode, channel = self.get_packet_peer(), self.get_packet_mode(), self.get_packet_channel()
        return Packet(peer, self.get_packet(), mode, channel)

    async def __aiter__(self) -> AsyncIterator[Packet]:
        """Hand over packets until this peer leaves."""
        while True:
            try:
                packet = await self.receive()
            except Closed:
                return
            yield packet

    def put_packet(self, packet: bytes | bytearray | memoryview) -> Error:
        """Send a packet, as MultiplayerPeer does; it leaves in this turn of the loop."""
        answer = super().put_packet(packet)
        self._wake()
        return answer

    async def leave(self) -> None:
        """Close the connections and leave the lobby; what was sent is delivered first.  Idempotent."""
        self.close()
        self.client.close()
        self._wake()
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._until(lambda: not any(True for _ in self.connections()))
        except (TimeoutError, Closed):
            pass
        self._is_over = True
        self._watcher.close()
        if self._timer is not None:
            self._timer.cancel()
        self._changed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()

    # -- inside ------------------------------------------------------------------------------------

    async def _ready(self) -> None:
        """Wait until we are in the lobby, and everybody who was there is connected or has failed to."""
        client = self.client

        def is_decided() -> bool:
            if client.state is State.ENDED:
                return True
            is_waiting = client.state is not State.JOINED or self._match.arrivals
            return not is_waiting and self.get_connection_status() != ConnectionStatus.CONNECTING

        await self._until(is_decided)
        if not client.joined_lobby:
            raise RTCError(f"no lobby at the signaling server: {client.close_reason or client.close_code}")
        if self.get_connection_status() == ConnectionStatus.DISCONNECTED:
            raise RTCError("the lobby's server, peer 1, cannot be reached: its connection has failed")

    async def _until(self, is_true: Callable[[], object]) -> None:
        while not is_true():
            if self._is_over:
                raise Closed("this peer has left its lobby")
            self._changed.clear()
            await self._changed.wait()

    def _wake_from_thread(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self._is_scheduled and not self._is_over:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Poll everything, tell those who wait, and watch for the next thing to happen."""
        self._is_scheduled = False
        if self._is_over:
            return
        try:
            poll((self._match,))
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "a callback of a signal has failed", "exception": error}
            )
        self._changed.set()
        self._watch()

    def _watch(self) -> None:
        wakeup = next_wakeup(self.connections())
        self._watcher.watch(wakeup.readers)
        self._watcher.watch_writers(wakeup.writers)
        seconds = min(wakeup.seconds, self.due_in(), self.client.next_timeout(), self._match.next_doubt())
        if wakeup.writers and self._watcher.is_blind:
            seconds = min(seconds, _BLIND_WRITE)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds < math.inf:
            self._timer = self._loop.call_later(max(seconds, 0.0), self._turn)


async def join(
    url: str,
    lobby: str | None = None,
    mesh: bool = True,
    *,
    within: float = 30.0,
    configuration: Mapping[str, Any] | None = None,
    channels_config: Iterable[TransferMode | int] = (),
    unreliable_lifetime: int = 1,
    reconnects: bool = True,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> LobbyPeer:
    """Join a lobby, or create one, and connect with everybody in it.

    url         ws:// or wss:// of a signaling server, ours or one of Godot's demo.
    lobby       its name; None creates one, whose name is then in `.lobby`.
    mesh        for a lobby that is created: a mesh, or a server (us) with clients.
    within      seconds for all of it.
    configuration, channels_config, unreliable_lifetime     of the connections and the game, see Matchmaker.
    reconnects  whether to come back when signaling is lost before the seal.
    tls         for wss:// with a certificate of one's own.
    headers     further headers of the WebSocket's request, as Authorization.

    Raises:
        RTCError: there is no such server or lobby; or the lobby is no mesh, and its host cannot be reached.
        TimeoutError: it has taken too long.
        InvalidParameter: an argument is not allowed.
    """
    options: dict[str, Any] = {"additional_headers": dict(headers or {})}
    if tls is not None:
        options["ssl"] = tls
    peer = LobbyPeer(
        url,
        lobby or "",
        mesh,
        configuration=configuration,
        channels_config=channels_config,
        unreliable_lifetime=unreliable_lifetime,
        reconnects=reconnects,
        options=options,
    )
    try:
        async with asyncio.timeout(within):
            await peer._ready()
    except BaseException:
        await peer.leave()
        raise
    return peer
