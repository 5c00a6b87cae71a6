"""Multiplayer peers on a virtual network, with signaling that takes no time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from rtcstack import MultiplayerPeer, PeerConnection
from rtcstack.testing import VirtualNetwork

Event = tuple[str, int]


class Game:
    """Peers by id, on one virtual network; what their signals said is in `events[id]`."""

    def __init__(self, **conditions: Any) -> None:
        conditions.setdefault("delay", 0.005)
        self.network = VirtualNetwork(seed=1, **conditions)
        self.peers: dict[int, MultiplayerPeer] = {}
        self.events: dict[int, list[Event]] = {}
        self._hosts: dict[int, Any] = {}

    def add(
        self,
        peer_id: int,
        channels_config: tuple[int, ...] = (),
        *,
        mesh: bool = False,
        make: type[MultiplayerPeer] = MultiplayerPeer,
    ) -> MultiplayerPeer:
        """Add a peer of the mesh, the server (1) or a client."""
        peer = make(random_bytes=random.Random(peer_id).randbytes)
        if mesh:
            peer.create_mesh(peer_id, channels_config)
        elif peer_id == 1:
            peer.create_server(channels_config)
        else:
            peer.create_client(peer_id, channels_config)
        events = self.events[peer_id] = []
        peer.peer_connected.connect(lambda other: events.append(("connected", other)))
        peer.peer_disconnected.connect(lambda other: events.append(("disconnected", other)))
        self.peers[peer_id] = peer
        return peer

    def connection(self, peer_id: int, **configuration: Any) -> PeerConnection:
        """Make a connection on the host of a peer."""
        if peer_id not in self._hosts:
            self._hosts[peer_id] = self.network.host(f"host {peer_id}")
        return PeerConnection(
            configuration, network=self._hosts[peer_id], random_bytes=random.Random(peer_id).randbytes
        )

    def link(self, a: int, b: int, **options: Any) -> tuple[PeerConnection, PeerConnection]:
        """Add each to the other and start connecting: the larger id offers."""
        ends = self.connection(a), self.connection(b)
        self.peers[a].add_peer(ends[0], b, **options)
        self.peers[b].add_peer(ends[1], a, **options)
        wire(*ends)
        ends[a < b].create_offer()
        return ends

    def run(self, until: Callable[[], object], limit: float = 20.0) -> bool:
        """Poll all until the condition holds; False if `limit` virtual seconds went by first."""
        return self.network.run(lambda: bool(until()), limit=limit, peers=self.peers.values())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.run(lambda: False, seconds)

    def connected(self, *pairs: tuple[int, int]) -> Game:
        """Connect these pairs."""
        for pair in pairs:
            self.link(*pair)
        assert self.run(
            lambda: all(
                ("connected", b) in self.events[a] and ("connected", a) in self.events[b] for a, b in pairs
            )
        )
        return self


def server_and_client(*config: int, **conditions: Any) -> Game:
    """Make a server and client 2, connected."""
    game = Game(**conditions)
    game.add(1, config)
    game.add(2, config)
    return game.connected((1, 2))


def wire(a: PeerConnection, b: PeerConnection) -> None:
    """Bring descriptions and candidates across at once."""
    for here, there in ((a, b), (b, a)):
        here.session_description_created.connect(there.set_remote_description)
        here.ice_candidate_created.connect(there.add_ice_candidate)


def take_all(peer: MultiplayerPeer) -> list[tuple[int, int, int, bytes]]:
    """Take all packets: (peer, channel, mode, packet)."""
    packets = []
    while peer.get_available_packet_count():
        about = peer.get_packet_peer(), peer.get_packet_channel(), peer.get_packet_mode()
        packets.append((*about, peer.get_packet()))
    return packets
