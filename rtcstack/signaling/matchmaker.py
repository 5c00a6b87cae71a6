"""Brings a multiplayer peer together with whoever the lobby has: offers, answers and candidates."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from rtcstack.errors import RTCError
from rtcstack.multiplayer import MultiplayerPeer, TransferMode
from rtcstack.peer import PeerConnection
from rtcstack.signaling.client import Client

__all__ = ["Matchmaker"]

logger = logging.getLogger("rtcstack.signaling")

_HOST = 1


class Matchmaker:
    """Does what the demo's multiplayer_client.gd does: the lobby's members become the game's peers.

        match = Matchmaker(Client("ws://127.0.0.1:9080"), game := MultiplayerPeer())
        while True:
            rtcstack.poll((match,), 0.1)

    client              signaling; its signals are ours to connect, further callbacks come after ours.
    game                fresh; the lobby decides whether it becomes a mesh, a server or a client.
    configuration       of each PeerConnection, with `iceServers` for peers that are not on one network.
    channels_config     of the game.
    unreliable_lifetime milliseconds, see MultiplayerPeer.add_peer().
    doubt               seconds in which a connected peer that has left the lobby must show that it lives;
                        consent to send is asked for every 5.
    clock               monotonic seconds, for doubts.

    The peer with the larger id offers, as in Godot.  Unlike with the demo's client, a game outlives its
    signaling: peers that are connected stay, whatever becomes of the WebSocket.  A peer that leaves the lobby
    while it is connected is removed only if nothing comes from it for a while.
    """

    def __init__(
        self,
        client: Client,
        game: MultiplayerPeer,
        configuration: Mapping[str, Any] | None = None,
        *,
        channels_config: Iterable[TransferMode | int] = (),
        unreliable_lifetime: int = 1,
        doubt: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.game = game
        self.arrivals: set[int] = set()
        """Peers that the lobby has told us of and whose connection is not yet decided."""
        self._configuration = configuration
        self._channels_config = list(channels_config)
        self._lifetime = unreliable_lifetime
        self._doubt = doubt
        self._clock = clock
        self._doubts: dict[int, tuple[float, object]] = {}
        client.connected.connect(self._on_connected)
        client.peer_connected.connect(self._on_peer_connected)
        client.peer_disconnected.connect(self._on_peer_disconnected)
        client.offer_received.connect(partial(self._on_description, "offer"))
        client.answer_received.connect(partial(self._on_description, "answer"))
        client.candidate_received.connect(self._on_candidate)

    # -- for rtcstack.poll() -----------------------------------------------------------------------

    def connections(self) -> Iterable[PeerConnection]:
        """List the connections that poll() serves."""
        return self.game.connections()

    def due_in(self) -> float:
        """Tell for how many seconds poll() may wait."""
        return min(self.client.due_in(), self.game.due_in(), self.next_doubt())

    def deliver(self) -> None:
        """Take what signaling has brought, and deliver signals of the client and the game."""
        self.client.deliver()
        self.game.deliver()
        self._resolve_doubts()
        self.arrivals = {
            peer_id
            for peer_id in self.arrivals
            if self.game.has_peer(peer_id) and not self.game.get_peer(peer_id)["connected"]
        }

    def next_doubt(self) -> float:
        """Tell in how many seconds a peer that has left the lobby is judged."""
        if not self._doubts:
            return math.inf
        return max(0.0, min(until for until, _ in self._doubts.values()) - self._clock())

    # -- what the lobby tells ----------------------------------------------------------------------

    def _on_connected(self, own_id: int, is_mesh: bool) -> None:
        self.game.close()
        self.arrivals.clear()
        self._doubts.clear()
        if is_mesh:
            self.game.create_mesh(own_id, self._channels_config)
        elif own_id == _HOST:
            self.game.create_server(self._channels_config)
        else:
            self.game.create_client(own_id, self._channels_config)

    def _on_peer_connected(self, peer_id: int) -> None:
        is_client = self.game.is_server_relay_supported() and self.client.id != _HOST
        if is_client and peer_id != _HOST:
            return  # The demo's Node server tells clients of each other, too.
        connection = PeerConnection(self._configuration)
        connection.session_description_created.connect(partial(self._send_description, connection, peer_id))
        connection.ice_candidate_created.connect(partial(self.client.send_candidate, peer_id))
        try:
            self.game.add_peer(connection, peer_id, self._lifetime)
        except RTCError as error:
            logger.info("peer %d is not taken in: %s", peer_id, error)
            connection.close()
            return
        self.arrivals.add(peer_id)
        self._doubts.pop(peer_id, None)
        if peer_id < self.client.id:
            connection.create_offer()

    def _on_peer_disconnected(self, peer_id: int) -> None:
        if not self.game.has_peer(peer_id):
            return
        peer = self.game.get_peer(peer_id)
        if peer["connected"]:
            self._doubts[peer_id] = self._clock() + self._doubt, _signs_of_life(peer["connection"])
        else:
            self.game.remove_peer(peer_id)

    def _on_description(self, kind: str, peer_id: int, sdp: str) -> None:
        if self.game.has_peer(peer_id):
            try:
                self.game.get_peer(peer_id)["connection"].set_remote_description(kind, sdp)
            except RTCError as error:
                logger.warning("the %s of peer %d is of no use: %s", kind, peer_id, error)

    def _on_candidate(self, peer_id: int, media: str, index: int, name: str) -> None:
        if self.game.has_peer(peer_id):
            try:
                self.game.get_peer(peer_id)["connection"].add_ice_candidate(media, index, name)
            except RTCError as error:
                logger.warning("a candidate of peer %d is of no use: %s", peer_id, error)

    def _send_description(self, connection: PeerConnection, peer_id: int, kind: str, sdp: str) -> None:
        connection.set_local_description(kind, sdp)
        if kind == "offer":
            self.client.send_offer(peer_id, sdp)
        else:
            self.client.send_answer(peer_id, sdp)

    def _resolve_doubts(self) -> None:
        now = self._clock()
        for peer_id, (until, signs) in list(self._doubts.items()):
            if not self.game.has_peer(peer_id):
                del self._doubts[peer_id]
            elif now >= until:
                del self._doubts[peer_id]
                if _signs_of_life(self.game.get_peer(peer_id)["connection"]) == signs:
                    self.game.disconnect_peer(peer_id)


def _signs_of_life(connection: PeerConnection) -> object:
    """Return something that changes whenever the other side answers or sends."""
    stats = connection.get_stats()
    return (
        stats.sctp and stats.sctp.packets_received,
        stats.selected_pair and stats.selected_pair.current_round_trip_time,
    )
