"""A client that speaks as the demo's ws_webrtc_client.gd and multiplayer_client.gd do, at our server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from server_support import ServerThread
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import rtcstack
from rtcstack import MultiplayerPeer, PeerConnection
from rtcstack.signaling import Client, Limits, Matchmaker

JOIN, ID, PEER_CONNECT, PEER_DISCONNECT, OFFER, ANSWER, CANDIDATE, SEAL = range(8)


class DemoClient:
    """The demo's two scripts as one, with their strictness: a message that is not just so is an error."""

    def __init__(self, url: str, lobby: str = "", *, mesh: bool = True) -> None:
        self.game = MultiplayerPeer()
        self.lobby = ""
        self.id = 0
        self.is_sealed = False
        self.is_closed = False
        # Godot sends neither an origin nor extensions.
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(connect(url, compression=None, user_agent_header=None))
        self._send(JOIN, 0 if mesh else 1, lobby)

    def poll(self) -> None:
        try:
            while not self.is_closed:
                self._parse(str(self._socket.recv(timeout=0)))
        except TimeoutError:
            pass
        except ConnectionClosed:
            self.is_closed = True
            if not self.is_sealed:
                self.game.close()
        self.game.poll()

    def seal(self) -> None:
        self._send(SEAL, 0)

    def stop(self) -> None:
        self.game.close()
        self._stack.close()

    def _send(self, kind: int, peer_id: int, data: str = "") -> None:
        text = json.dumps({"data": data, "id": peer_id, "type": kind}, separators=(",", ":"))
        self._socket.send(text)

    def _parse(self, text: str) -> None:
        assert len(text.encode()) <= 65_535
        message = json.loads(text)
        assert set(message) == {"type", "id", "data"}
        kind, peer_id, data = message["type"], message["id"], message["data"]
        assert type(kind) is type(peer_id) is int
        assert type(data) is str
        assert 0 <= peer_id < 2**31
        match kind:
            case 1:
                self._connected(peer_id, data == "true")
            case 0:
                self.lobby = data
            case 7:
                self.is_sealed = True
            case 2:
                self._peer_connected(peer_id)
            case 3:
                if self.game.has_peer(peer_id):
                    self.game.remove_peer(peer_id)
            case 4 | 5:
                if self.game.has_peer(peer_id):
                    connection = self.game.get_peer(peer_id)["connection"]
                    connection.set_remote_description("offer" if kind == OFFER else "answer", data)
            case 6:
                parts = [part for part in data.split("\n") if part]
                assert len(parts) == 3
                if self.game.has_peer(peer_id):
                    connection = self.game.get_peer(peer_id)["connection"]
                    connection.add_ice_candidate(parts[0], int(parts[1]), parts[2])
            case _:
                raise AssertionError(text)

    def _connected(self, own_id: int, is_mesh: bool) -> None:
        self.id = own_id
        if is_mesh:
            self.game.create_mesh(own_id)
        elif own_id == 1:
            self.game.create_server()
        else:
            self.game.create_client(own_id)

    def _peer_connected(self, peer_id: int) -> None:
        connection = PeerConnection()
        connection.session_description_created.connect(partial(self._described, peer_id))
        connection.ice_candidate_created.connect(partial(self._found, peer_id))
        self.game.add_peer(connection, peer_id)
        if peer_id < self.id:
            connection.create_offer()

    def _described(self, peer_id: int, kind: str, sdp: str) -> None:
        self._send(OFFER if kind == "offer" else ANSWER, peer_id, sdp)

    def _found(self, peer_id: int, media: str, index: int, name: str) -> None:
        self._send(CANDIDATE, peer_id, f"\n{media}\n{index}\n{name}")


@pytest.fixture
def server() -> Iterator[ServerThread]:
    thread = ServerThread(limits=Limits(seal_timeout=0.05))
    yield thread
    thread.stop()


def poll_until(clients: list[DemoClient], is_true: Callable[[], object], *others: Matchmaker) -> None:
    until = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < until
        for client in clients:
            client.poll()
        rtcstack.poll([*(client.game for client in clients), *others], 0.01)


def connected(game: MultiplayerPeer) -> set[int]:
    return {peer_id for peer_id, peer in game.get_peers().items() if peer["connected"]}


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "relay"])
def test_demo_clients_and_one_of_ours_play_together(server: ServerThread, mesh: bool) -> None:
    host = DemoClient(server.url, mesh=mesh)
    poll_until([host], lambda: host.lobby)
    guest = DemoClient(server.url, host.lobby, mesh=mesh)
    ours = Matchmaker(Client(server.url, host.lobby), MultiplayerPeer())
    everybody = [host, guest]
    poll_until(everybody, lambda: guest.lobby and ours.client.joined_lobby, ours)
    ids = {1, guest.id, ours.client.id}
    for game in (host.game, guest.game, ours.game):
        wanted = ids - {game.get_unique_id()} if mesh or game is host.game else {1}
        poll_until(everybody, lambda game=game, wanted=wanted: connected(game) == wanted, ours)
    host.game.put_packet(b"to all")
    for game in (guest.game, ours.game):
        poll_until(everybody, game.get_available_packet_count, ours)
        assert (game.get_packet_peer(), game.get_packet()) == (1, b"to all")

    host.seal()
    poll_until(everybody, lambda: host.is_closed and guest.is_closed and ours.client.close_reason, ours)
    assert host.is_sealed
    assert guest.is_sealed
    assert ours.client.close_reason == "Seal complete"
    host.game.put_packet(b"on we play")  # the signaling has ended, the game has not
    poll_until(everybody, ours.game.get_available_packet_count, ours)
    for client in everybody:
        client.stop()
    ours.game.close()


def test_a_demo_client_whose_host_leaves_drops_its_game(server: ServerThread) -> None:
    host = DemoClient(server.url)
    poll_until([host], lambda: host.lobby)
    guest = DemoClient(server.url, host.lobby)
    poll_until([host, guest], lambda: connected(guest.game) == {1})
    host.stop()
    poll_until([guest], lambda: guest.is_closed)
    assert guest.game.get_connection_status() == MultiplayerPeer.CONNECTION_DISCONNECTED
    guest.stop()
