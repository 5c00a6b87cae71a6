"""SceneMultiplayer beyond what was recorded: codes, explanations, hostile packets, many peers, versions."""

from __future__ import annotations

import random
import struct
from itertools import combinations
from typing import Any

import pytest
from scene_support import Play

from rtcstack import Error, MultiplayerPeer, RTCError, poll
from rtcstack.multiplayer.remote import RpcConfig, RpcMode
from rtcstack.multiplayer.scene import SceneMultiplayer, rpc
from rtcstack.multiplayer.scene_wire import write_simplify_path, write_sys
from rtcstack.variant import EncodedObject, StringName, VariantError, Vector2, var_to_bytes


def code_of(call, *arguments, **options):
    """Give the code that a call answers or raises."""
    try:
        return call(*arguments, **options)
    except RTCError as error:
        return error.code


# -- codes -----------------------------------------------------------------------------------------


def test_without_a_peer_nothing_can_be_sent():
    scene = SceneMultiplayer()

    @scene.rpc("any_peer", call_local=True)
    def ping(number):
        pass

    assert not scene.has_multiplayer_peer()
    assert scene.multiplayer_peer is None
    assert (scene.get_unique_id(), scene.is_server(), scene.get_peers()) == (1, True, [])
    for call in (
        lambda: ping.rpc(1),
        lambda: scene.send_bytes(b"x"),
        lambda: scene.send_auth(2, b"x"),
        lambda: scene.complete_auth(2),
        lambda: scene.disconnect_peer(2),
        lambda: setattr(scene, "refuse_new_connections", True),
    ):
        assert code_of(call) == Error.ERR_UNCONFIGURED
    assert scene.refuse_new_connections is False
    scene.poll()


def test_a_client_that_connects_cannot_send_yet():
    client = MultiplayerPeer()
    client.create_client(2)
    scene = SceneMultiplayer(client)
    method = scene.node(".").declare("ping")
    assert code_of(method.rpc, 1) == Error.ERR_CONNECTION_ERROR
    assert code_of(scene.send_bytes, b"x") == Error.ERR_UNCONFIGURED
    assert code_of(scene.send_auth, 1, b"x") == Error.ERR_UNCONFIGURED
    assert code_of(scene.complete_auth, 1) == Error.ERR_UNCONFIGURED


def test_a_disconnected_peer_is_refused():
    assert code_of(SceneMultiplayer, MultiplayerPeer()) == Error.ERR_UNCONFIGURED
    assert code_of(SceneMultiplayer, root_path="root") == Error.ERR_INVALID_PARAMETER


def test_codes_of_a_connected_scene():
    play = Play(2).connect()
    server, client = play.scenes[1], play.scenes[2]
    node = client.node("P")
    assert code_of(server.send_bytes, b"") == Error.ERR_INVALID_DATA
    assert code_of(server.send_bytes, b"x", 9) == Error.ERR_BUG
    assert code_of(client.send_bytes, b"x", 2) == Error.ERR_BUG
    assert code_of(client.send_bytes, b"x", 99) == Error.OK
    assert code_of(client.send_bytes, b"x", 2**31) == Error.ERR_INVALID_PARAMETER
    assert code_of(server.send_bytes, b"x", 2, 3) == Error.ERR_INVALID_PARAMETER
    assert code_of(server.send_bytes, b"x", 2, 2, 9) == Error.ERR_INVALID_PARAMETER
    assert code_of(server.send_auth, 2, b"x") == Error.ERR_INVALID_PARAMETER
    assert code_of(server.complete_auth, 2) == Error.ERR_INVALID_PARAMETER
    assert code_of(server.disconnect_peer, 9) == Error.ERR_INVALID_PARAMETER
    assert code_of(node.rpc, "nope", 1) == Error.ERR_INVALID_PARAMETER
    assert code_of(node.rpc_id, 2, "a1", 1) == Error.ERR_INVALID_PARAMETER
    assert code_of(node.rpc_id, 2, "local_too", 1) == Error.OK
    assert code_of(node.rpc_id, 77, "a1", 1) == Error.ERR_INVALID_PARAMETER
    assert code_of(node.rpc_id, -5, "local_too", 2) == Error.OK
    assert code_of(node.rpc_id, -2, "local_too", 3) == Error.OK
    assert code_of(node.rpc, "a1", *range(256)) == Error.ERR_INVALID_PARAMETER
    with pytest.raises(VariantError):
        node.rpc("a1", object())
    play.settle()
    assert [call[1:] for call in play.take_calls()[2]] == [((1,), 2), ((2,), 2)]


def test_codes_of_authentication():
    play = Play(2)
    for scene in play.scenes.values():
        scene.auth_callback = lambda sender, data: None
    play.connect()
    server, client = play.scenes[1], play.scenes[2]
    assert code_of(server.send_auth, 2, b"") == Error.ERR_INVALID_PARAMETER
    assert code_of(server.send_auth, 7, b"x") == Error.ERR_INVALID_PARAMETER
    assert code_of(server.send_auth, 2, b"x") == Error.OK
    assert code_of(server.send_bytes, b"x", 2) == Error.ERR_BUG
    assert code_of(server.complete_auth, 2) == Error.OK
    assert code_of(server.complete_auth, 2) == Error.ERR_FILE_CANT_WRITE
    assert code_of(server.send_auth, 2, b"x") == Error.ERR_FILE_CANT_WRITE
    play.settle()
    assert code_of(client.send_auth, 1, b"x") == Error.ERR_FILE_CANT_WRITE
    assert code_of(client.complete_auth, 1) == Error.OK
    assert code_of(client.complete_auth, 1) == Error.ERR_INVALID_PARAMETER


def test_no_time_limit_for_authentication():
    play = Play(2)
    play.scenes[1].auth_callback = lambda sender, data: None
    play.scenes[1].auth_timeout = 0
    play.connect()
    play.run(lambda: False, 60.0)
    assert play.scenes[1].get_authenticating_peers() == [2]


# -- nodes and methods -----------------------------------------------------------------------------


def test_paths_are_relative_to_the_root_or_absolute():
    scene = SceneMultiplayer(root_path="/root/World")
    assert scene.node("A/B") is scene.node("/root/World/A/B") is scene.node("A/./C/../B/")
    assert scene.node(".").path == "."
    assert scene.node("/root/Other/X").path == "../Other/X"
    assert scene.node("/").path == "../.."
    for path in ("", "../../../x"):
        assert code_of(scene.node, path) == Error.ERR_INVALID_PARAMETER


def test_a_method_has_one_place():
    scene = SceneMultiplayer()
    node = scene.node("P")
    node.declare("a")
    assert code_of(node.declare, "a") == Error.ERR_INVALID_PARAMETER
    assert code_of(node.declare, "b", "everybody") == Error.ERR_INVALID_PARAMETER
    assert code_of(node.declare, "b", transfer_mode="fast") == Error.ERR_INVALID_PARAMETER
    assert code_of(node.declare, "b", channel=-1) == Error.ERR_INVALID_PARAMETER
    assert code_of(scene.add, "P", object()) == Error.ERR_INVALID_PARAMETER
    assert code_of(node.find("a"), 1) == Error.ERR_INVALID_PARAMETER

    def by_name(*, speed):
        pass

    assert code_of(node.method(), by_name) == Error.ERR_INVALID_PARAMETER


def test_methods_of_a_class_are_marked_by_a_scene_too():
    play = Play(2).connect()
    scene = play.scenes[1]
    seen = []

    class Door:
        @scene.rpc("any_peer")
        def open(self, wide: bool) -> None:
            seen.append((self, wide))

        @rpc("any_peer")
        def shut(self) -> None:
            seen.append((self, None))

    door = Door()
    scene.add("Door", door)
    play.scenes[2].node("Door").declare("open")
    play.scenes[2].node("Door").declare("shut")
    play.scenes[2].node("Door").rpc("open", True)
    play.scenes[2].node("Door").rpc("shut")
    play.settle()
    assert seen == [(door, True), (door, None)]
    door.open(False)
    assert seen[-1] == (door, False)


def test_annotated_arguments_are_checked_and_integers_become_floats():
    play = Play(2).connect()
    got: list[tuple[Any, ...]] = []

    @play.scenes[1].rpc("any_peer", path="T")
    def move(to: Vector2, speed: float, name: str = "", *rest: Any) -> None:
        got.append((to, speed, name, *rest))

    node = play.scenes[2].node("T")
    node.declare("move")
    for arguments in (
        (Vector2(1, 2), 3),
        (Vector2(1, 2), 3.5, StringName("x"), 1, 2),
        ((1, 2), 3.5),
        (Vector2(1, 2), True),
        (Vector2(1, 2), 1.0, 5),
        (Vector2(1, 2),),
    ):
        node.rpc("move", *arguments)
    play.settle()
    assert got == [(Vector2(1, 2), 3.0, ""), (Vector2(1, 2), 3.5, "x", 1, 2)]
    assert type(got[0][1]) is float
    assert play.scenes[1].dropped["a call with wrong arguments"] == 4


def test_only_the_authority_of_a_node_may_call_some_methods():
    play = Play(3, mesh=True).connect()
    play.scenes[1].node("P").set_multiplayer_authority(3)
    assert play.scenes[1].node("P").get_multiplayer_authority() == 3
    play.scenes[2].node("P").rpc_id(1, "auth_only", 2)
    play.scenes[3].node("P").rpc_id(1, "auth_only", 3)
    play.settle()
    assert play.take_calls() == {1: [("auth_only", (3,), 3)]}
    assert play.scenes[1].dropped["a call that is not allowed"] == 1


def test_disabled_and_declared_methods_do_not_run():
    play = Play(2).connect()
    for scene in play.scenes.values():
        scene.node("D").rpc_config("off", RpcConfig(RpcMode.DISABLED), print)
        scene.node("D").declare("elsewhere", "any_peer")
    for name in ("off", "elsewhere"):
        play.scenes[1].node("D").rpc(name)
    play.settle()
    assert play.scenes[2].dropped == {"a call that is not allowed": 1, "a call of an unknown method": 1}


def test_objects_come_as_arguments_only_where_they_are_allowed():
    play = Play(2).connect()
    whole = var_to_bytes(EncodedObject("Node", {}), full_objects=True)
    call = bytes.fromhex("20") + struct.pack("<I", 7 + len(whole) | 1 << 31) + b"\x01\x01" + whole + b"P\0"
    play.inject(2, 1, call)
    assert play.take_calls() == {}
    play.scenes[1].allow_object_decoding = True
    play.inject(2, 1, call)
    assert play.take_calls() == {1: [("a1", (EncodedObject("Node", {}),), 2)]}


# -- other lists of methods ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (["a", "b"], ["it has no c"]),
        (["a"], ["it has no b", "it has no c"]),
        (["a", "b", "c", "hidden"], ["it has hidden besides"]),
        (["a", "b", "hidden"], ["it has no c", "it has hidden besides"]),
        (["x", "y", "z"], ["compare the @rpc methods"]),
    ],
)
def test_a_differing_list_of_methods_is_explained_by_name(theirs, words):
    play = Play(2).connect()
    for name in ("a", "b", "c"):
        play.scenes[1].node("N").declare(name)
    play.scenes[1].node("Other").declare("hidden")
    for name in theirs:
        play.scenes[2].node("N").declare(name)
    play.take_said()
    play.scenes[2].node("N").rpc(theirs[0])
    play.settle()
    said = play.take_said()
    ((name, peer_id, text),) = said[1]
    assert (name, peer_id) == ("methods_differ", 2)
    assert all(word in text for word in [*words, "'N'", "a, b, c"])
    # The other side learns of it by the confirmation, which has no checksum.
    assert [each[0] for each in said[2]] == ["methods_differ"]


def test_explanations_are_counted():
    play = Play(2).connect()
    for number in range(40):
        play.scenes[1].node(f"N{number}").declare("a")
        play.scenes[2].node(f"N{number}").declare("b")
        play.scenes[2].node(f"N{number}").rpc("b")
    play.take_said()
    play.settle()
    assert len(play.take_said()[1]) == 16


# -- Godot 4.0 to 4.2 ------------------------------------------------------------------------------


def test_a_game_of_4_2_confirms_by_path():
    play = Play(2, godot_version=(4, 2)).connect()
    for _ in range(2):
        play.scenes[2].node("P").rpc("a1", 1)
        play.settle()
    sent = play.take_sent()
    assert sent[1] == [(2, 2, 0, b"\x02\x01P\0".hex())]
    assert sent[2][-1][3] == "000101010201"


@pytest.mark.parametrize("path", ["S", "abc"])
def test_the_form_of_a_peer_is_learnt_from_its_first_confirmation(path):
    """The old form for "abc" has the length of the new one: only what was announced tells them apart."""
    play = Play(2).connect()
    play.scenes[1].node(path).declare("there")
    play.scenes[1].node(path).rpc("there")
    play.settle()
    play.take_sent()
    old_form = b"\x02\x01" + path.encode() + b"\0"
    play.inject(2, 1, old_form)
    play.scenes[1].node(path).rpc("there")
    assert play.take_sent()[1] == [(2, 2, 0, "800100")]
    play.inject(2, 1, write_simplify_path(play.scenes[1].node(path).checksum, 9, path))
    assert play.take_sent()[1] == [(2, 2, 0, old_form.hex())]


# -- many peers ------------------------------------------------------------------------------------


def test_a_mesh_of_eight_calls():
    play = Play(8, mesh=True).connect(at_once=True)
    assert len(play.pairs) == len(list(combinations(range(8), 2)))
    for peer_id, scene in play.scenes.items():
        assert sorted(scene.get_peers()) == [each for each in play.scenes if each != peer_id]
        scene.node("P").rpc("local_too", peer_id)
    play.settle()
    for scene in play.scenes.values():
        scene.node("P").rpc("local_too", 0)
    play.settle()
    for calls in play.take_calls().values():
        assert sorted(call[2] for call in calls) == sorted([*play.scenes] * 2)


def test_a_server_relays_between_seven_clients():
    play = Play(8).connect(at_once=True)
    play.take_said()
    for peer_id, scene in play.scenes.items():
        assert sorted(scene.get_peers()) == [each for each in play.scenes if each != peer_id]
        scene.node("P").rpc("a1", peer_id)
        scene.send_bytes(bytes([peer_id]))
    play.settle()
    for peer_id, calls in play.take_calls().items():
        assert sorted(call[1:] for call in calls) == [
            ((each,), each) for each in play.scenes if each != peer_id
        ]
    for peer_id, said in play.take_said().items():
        packets = [("peer_packet", each, bytes([each])) for each in play.scenes if each != peer_id]
        assert sorted(said) == packets
    play.game.peers[1].close()
    play.settle()
    for peer_id in range(2, 9):
        said = play.take_said() if peer_id == 2 else said
        gone = [each for each in said[peer_id] if each[0] == "peer_disconnected"]
        assert sorted(gone) == [("peer_disconnected", each) for each in play.scenes if each != peer_id]
        assert said[peer_id][-1] == ("server_disconnected",)


def test_the_same_id_comes_back_and_knows_no_paths():
    play = Play(2).connect()
    for _ in range(2):
        play.scenes[1].node("P").rpc("local_too", 1)
        play.settle()
    client = play.game.peers[2]
    client.close()
    client.create_client(2, (2, 1, 1))
    play.game.events[1].clear()
    play.game.events[2].clear()
    play.take_said()
    play.connect()
    said = play.take_said()
    assert said[1] == [("peer_disconnected", 2), ("peer_connected", 2)]
    assert said[2][-2:] == [("connected_to_server",), ("peer_connected", 1)]
    play.take_sent()
    play.take_calls()
    play.scenes[1].node("P").rpc("local_too", 2)
    play.settle()
    assert play.take_sent()[1][0][3].startswith("01")
    assert play.take_calls()[2] == [("local_too", (2,), 1)]


def test_relayed_packets_that_overtake_the_notice_of_their_sender_wait_for_it():
    play = Play(2).connect()
    play.take_said()
    for number in range(300):
        play.inject_later(1, 2, write_sys(3, 7, b"\3" + bytes([number & 0xFF])))
    play.settle()
    assert play.take_said() == {}
    assert play.scenes[2].dropped["a packet too many of peers that were not announced"] == 44
    play.inject(1, 2, write_sys(1, 7))
    said = play.take_said()[2]
    assert said[0] == ("peer_connected", 7)
    assert [each[2][0] for each in said[1:]] == [number & 0xFF for number in range(44, 300)]


def test_peers_that_are_there_already_are_taken_over():
    play = Play(2).connect()
    peer = play.game.peers[1]
    late = SceneMultiplayer(peer)
    assert late.get_peers() == [2]
    heard = []
    late.peer_connected.connect(heard.append)
    late.poll()
    assert heard == [2]


def test_a_call_that_one_peer_cannot_take_reaches_the_others():
    play = Play(3).connect()
    slow = play.game.peers[1].get_peer(2)["channels"][0]
    while code_of(slow.put_packet, bytes(60_000)) == Error.OK:
        pass
    with pytest.raises(RTCError):
        play.scenes[1].node("P").rpc("local_too", bytes(50_000))
    assert len(play.take_calls()[1]) == 1
    play.settle()
    assert len(play.take_calls()[3]) == 1


def test_the_last_packets_of_peers_that_have_left_do_not_crowd_out_those_of_newcomers():
    play = Play(2).connect()
    play.take_said()
    for _ in range(300):
        play.inject_later(1, 2, write_sys(3, 6, b"\3" + bytes(1000)))
    play.inject_later(1, 2, write_sys(3, 7, b"\3first"))
    play.settle()
    play.inject(1, 2, write_sys(1, 7))
    assert play.take_said()[2] == [("peer_connected", 7), ("peer_packet", 7, b"first")]


def test_a_server_that_is_lost_before_the_first_poll_of_the_scene_is_told():
    play = Play(2).connect()
    scene = SceneMultiplayer(play.game.peers[2])
    said = []
    scene.connected_to_server.connect(lambda: said.append("connected"))
    scene.connection_failed.connect(lambda: said.append("failed"))
    scene.server_disconnected.connect(lambda: said.append("disconnected"))
    play.game.peers[1].close()
    play.settle()  # polls the peer, but not this scene of it
    assert play.game.peers[2].get_connection_status() == MultiplayerPeer.CONNECTION_DISCONNECTED
    scene.poll()
    assert said == ["connected", "disconnected"]


def test_a_server_that_came_and_went_between_two_polls_was_connected():
    play = Play(2)
    scene = SceneMultiplayer(play.game.peers[2])
    said = []
    scene.connection_failed.connect(lambda: said.append("failed"))
    scene.server_disconnected.connect(lambda: said.append("disconnected"))
    play.connect()
    play.game.peers[1].close()
    play.settle()
    scene.poll()
    assert said == ["disconnected"]


def test_another_peer_starts_from_nothing():
    play = Play(2).connect()
    scene, old = play.scenes[2], play.game.peers[2]
    play.take_said()
    scene.multiplayer_peer = old
    assert scene.get_peers() == [1]
    fresh = MultiplayerPeer()
    fresh.create_mesh(5)
    scene.multiplayer_peer = fresh
    play.settle()
    assert play.take_said()[2] == [("peer_disconnected", 1)]
    assert scene.get_peers() == []
    scene.refuse_new_connections = True
    assert fresh.refuse_new_connections
    scene.multiplayer_peer = None
    assert not scene.has_multiplayer_peer()


# -- callbacks -------------------------------------------------------------------------------------


def test_what_a_method_raises_comes_out_and_the_next_calls_run():
    play = Play(2).connect()
    ran = []

    @play.scenes[1].rpc("any_peer", path="Bad")
    def bad(number: int) -> None:
        ran.append(number)
        if number == 1:
            raise LookupError(number)

    play.scenes[2].node("Bad").declare("bad")
    for number in range(3):
        play.scenes[2].node("Bad").rpc("bad", number)
    with pytest.raises(LookupError):
        play.settle()
    assert play.scenes[1].get_remote_sender_id() == 0
    play.settle()
    assert ran == [0, 1, 2]


def test_methods_may_call_poll_and_close():
    play = Play(2).connect()

    @play.scenes[1].rpc("any_peer", path="Busy")
    def busy() -> None:
        play.scenes[1].poll()
        play.scenes[1].node("P").rpc("a0")
        play.scenes[1].send_bytes(b"bye")
        play.game.peers[1].close()

    play.scenes[2].node("Busy").declare("busy")
    for _ in range(3):
        play.scenes[2].node("Busy").rpc("busy")
    play.take_said()
    play.settle()
    said = play.take_said()
    assert said[1] == [("peer_disconnected", 2)]
    assert sorted(said[2]) == [("peer_disconnected", 1), ("peer_packet", 1, b"bye"), ("server_disconnected",)]
    assert play.take_calls() == {2: [("a0", (), 1)]}


def test_poll_waits_for_scenes_and_authentication():
    play = Play(2)
    play.scenes[1].auth_callback = lambda sender, data: None
    play.connect()
    assert 0 < play.scenes[1].due_in() <= 3.0
    before = play.game.network.now
    while play.scenes[1].get_authenticating_peers():
        poll(play.scenes.values(), 10.0)
    assert play.game.network.now - before < 4.0


def test_a_scene_and_its_peer_may_be_polled_together():
    play = Play(2).connect()
    play.take_said()
    play.scenes[2].send_bytes(b"last")
    play.game.peers[2].close()
    everything = [*play.game.peers.values(), *play.scenes.values()]
    play.game.network.run(lambda: False, limit=1.0, peers=everything)
    assert play.take_said()[1] == [("peer_packet", 2, b"last"), ("peer_disconnected", 2)]


# -- hostile packets -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_no_packet_raises_or_disturbs_the_game(seed):
    play = Play(3).connect()
    chance = random.Random(seed)
    known = [
        b"\x00\x01\x01\x01\x02\x05", b"\x20\x09\0\0\x80\x01\x01\x02\x05P\0", b"\x80\x01\x00",
        b"\x01" + b"0" * 32 + b"\0\1\0\0\0P\0", b"\x02\x01\x01\0\0\0", b"\x03hi", b"\x07\x00x",
        bytes.fromhex("04ff01000000030000000000000007000000437573746f6d001c0000001c00000002000000"),
        bytes.fromhex("0501000000"), bytes.fromhex("060d00020000000c000000050000000000a0400000c040"),
        bytes.fromhex("1602000000010000000000000008000000030000000000003f"),
        bytes.fromhex("070105000000"), bytes.fromhex("070300000000036869"),
        bytes.fromhex("0703ffffffff036869"),
    ]  # fmt: skip
    for source, target in ((2, 1), (1, 2)):
        for _ in range(150):
            packet = bytearray(chance.choice(known))
            for _ in range(chance.randrange(4)):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            if chance.random() < 0.3:
                packet = packet[: chance.randrange(len(packet) + 1)]
            if chance.random() < 0.1:
                packet = bytearray(chance.randbytes(chance.randrange(40)))
            play.inject_later(source, target, bytes(packet))
    play.settle()
    assert sum(play.scenes[1].dropped.values()) > 20
    assert len(play.scenes[1].dropped) < 60
    play.take_calls()
    play.scenes[3].node("P").rpc_id(1, "a1", "still here")
    play.settle()
    assert play.take_calls()[1] == [("a1", ("still here",), 3)]


def test_a_peer_can_announce_only_so_many_paths():
    play = Play(2).connect()
    for number in range(4200):
        play.inject_later(2, 1, write_simplify_path("0" * 32, number, "x"))
        if number % 500 == 0:
            play.settle()
    play.settle()
    assert play.scenes[1].dropped["a path of an unknown node"] == 4096
    assert play.scenes[1].dropped["a path with a number that is taken, or one too many"] == 104


def test_a_client_that_cannot_take_more_does_not_stop_the_relay():
    play = Play(3).connect()
    slow = play.game.peers[1].get_peer(3)["channels"][0]
    while code_of(slow.put_packet, bytes(60_000)) == Error.OK:
        pass
    play.scenes[2].send_bytes(bytes(60_000), 3)
    play.scenes[2].send_bytes(b"to the server", 1)
    play.game.network.run(
        lambda: ("peer_packet", 2, b"to the server") in play.said[1],
        limit=1.0,
        peers=[play.scenes[2], play.scenes[1]],
    )
    assert ("peer_packet", 2, b"to the server") in play.said[1]
