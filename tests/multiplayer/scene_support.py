"""Scenes over real multiplayer peers on a virtual network, with a record of every packet that they send."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

from multiplayer_support import Game

from rtcstack import Error, MultiplayerPeer
from rtcstack.multiplayer.scene import SceneMultiplayer, rpc

CHANNELS = (2, 1, 1)
"""Reliable, and two unreliable ordered ones: what the recorded games use."""


class Recorder(MultiplayerPeer):
    """A multiplayer peer that keeps what is put into it: (target, mode, channel, hex)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[tuple[int, int, int, str]] = []

    def put_packet(self, packet: Any) -> Error:
        self.sent.append((self._target, int(self.transfer_mode), self.transfer_channel, bytes(packet).hex()))
        return super().put_packet(packet)


class Methods:
    """The node of the recorded games: who called what is in `calls`."""

    def __init__(self, scene: SceneMultiplayer) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], int]] = []
        self._scene = scene

    def _note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, arguments, self._scene.get_remote_sender_id()))

    @rpc("any_peer")
    def a0(self) -> None:
        self._note("a0")

    @rpc("any_peer")
    def a1(self, a: Any) -> None:
        self._note("a1", a)

    @rpc("any_peer")
    def a2(self, a: Any, b: Any) -> None:
        self._note("a2", a, b)

    @rpc("any_peer")
    def a3(self, a: Any, b: Any, c: Any = 7) -> None:
        self._note("a3", a, b, c)

    @rpc()
    def auth_only(self, a: Any) -> None:
        self._note("auth_only", a)

    @rpc("any_peer")
    def bytes_m(self, a: bytes) -> None:
        self._note("bytes_m", a)

    @rpc("any_peer", call_local=True)
    def local_too(self, a: Any) -> None:
        self._note("local_too", a)

    @rpc("any_peer", transfer_mode="unreliable")
    def unrel(self, a: Any) -> None:
        self._note("unrel", a)

    @rpc("any_peer", transfer_mode="unreliable_ordered")
    def unrel_ord(self, a: Any) -> None:
        self._note("unrel_ord", a)

    @rpc("any_peer", transfer_mode="unreliable_ordered", channel=2)
    def unrel_ord_ch2(self, a: Any) -> None:
        self._note("unrel_ord_ch2", a)


class Play:
    """Peers 1, 2, ..., each with a scene and the recorded node; `said[id]` has what its signals said."""

    def __init__(self, count: int, *, mesh: bool = False, path: str = "P", **options: Any) -> None:
        self.game = Game()
        self.scenes: dict[int, SceneMultiplayer] = {}
        self.methods: dict[int, Methods] = {}
        self.said: dict[int, list[tuple[Any, ...]]] = {}
        for peer_id in range(1, count + 1):
            peer = self.game.add(peer_id, CHANNELS, mesh=mesh, make=Recorder)
            scene = self.scenes[peer_id] = SceneMultiplayer(
                peer, clock=lambda: self.game.network.now, **options
            )
            self.methods[peer_id] = Methods(scene)
            scene.add(path, self.methods[peer_id])
            self._listen(peer_id, scene)
        self.pairs = (
            list(combinations(range(1, count + 1), 2)) if mesh else [(1, n) for n in range(2, count + 1)]
        )

    def _listen(self, peer_id: int, scene: SceneMultiplayer) -> None:
        said = self.said[peer_id] = []
        for name in (
            "peer_connected",
            "peer_disconnected",
            "connected_to_server",
            "connection_failed",
            "server_disconnected",
            "peer_authenticating",
            "peer_authentication_failed",
            "peer_packet",
            "spawned",
            "despawned",
            "synchronized",
            "methods_differ",
        ):
            getattr(scene, name).connect(lambda *values, name=name: said.append((name, *values)))

    def connect(self, *pairs: tuple[int, int], at_once: bool = False) -> Play:
        """Connect these pairs, or all, one after the other or all together."""
        for a, b in pairs or self.pairs:
            self.game.link(a, b)
            if not at_once:
                assert self.run(lambda a=a, b=b: self._are_linked(a, b))
        assert self.run(lambda: all(self._are_linked(a, b) for a, b in pairs or self.pairs))
        self.run(lambda: False, 0.2)
        return self

    def _are_linked(self, a: int, b: int) -> bool:
        return ("connected", b) in self.game.events[a] and ("connected", a) in self.game.events[b]

    def run(self, until: Callable[[], object], limit: float = 5.0) -> bool:
        """Poll all scenes until the condition holds."""
        return self.game.network.run(lambda: bool(until()), limit=limit, peers=list(self.scenes.values()))

    def settle(self) -> None:
        """Let everything arrive."""
        self.run(lambda: False, 0.2)

    def recorder(self, peer_id: int) -> Recorder:
        peer = self.game.peers[peer_id]
        assert isinstance(peer, Recorder)
        return peer

    def take_sent(self) -> dict[int, list[tuple[int, int, int, str]]]:
        """Take the record of what each peer has put since the last time."""
        sent = {}
        for peer_id in self.scenes:
            sent[peer_id], self.recorder(peer_id).sent = self.recorder(peer_id).sent, []
        return {peer_id: packets for peer_id, packets in sent.items() if packets}

    def take_said(self) -> dict[int, list[tuple[Any, ...]]]:
        """Take what the signals of each scene have said."""
        said = {peer_id: list(said) for peer_id, said in self.said.items() if said}
        for each in self.said.values():
            each.clear()
        return said

    def take_calls(self) -> dict[int, list[tuple[str, tuple[Any, ...], int]]]:
        """Take which methods have run where."""
        calls = {peer_id: list(methods.calls) for peer_id, methods in self.methods.items() if methods.calls}
        for methods in self.methods.values():
            methods.calls.clear()
        return calls

    def inject(self, source: int, target: int, packet: bytes, mode: int = 2) -> None:
        """Let one peer send bytes as they are to another, and let them arrive."""
        self.inject_later(source, target, packet, mode)
        self.settle()

    def inject_later(self, source: int, target: int, packet: bytes, mode: int = 2) -> None:
        """Let one peer send bytes as they are to another."""
        peer = self.game.peers[source]
        peer.set_target_peer(target)
        peer.transfer_mode, peer.transfer_channel = mode, 0
        MultiplayerPeer.put_packet(peer, packet)
