"""MultiplayerPeer: ids, roles, channels, who comes and goes, and whose packet is whose."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from multiplayer_support import Game, server_and_client, take_all, wire

from rtcstack import (
    Error,
    Full,
    InvalidParameter,
    InvalidState,
    MultiplayerPeer,
    PeerConnection,
    RTCError,
    poll,
)
from rtcstack.errors import Unavailable

UNRELIABLE, UNRELIABLE_ORDERED, RELIABLE = 0, 1, 2
DISCONNECTED, CONNECTING, CONNECTED = 0, 1, 2


def code_of(call, *arguments, **options):
    """Give the code that a call answers or raises."""
    try:
        return call(*arguments, **options)
    except RTCError as error:
        return error.code


# -- roles and codes -------------------------------------------------------------------------------


def test_a_new_peer_takes_no_part_in_anything():
    peer = MultiplayerPeer()
    assert peer.get_connection_status() == DISCONNECTED
    assert code_of(peer.get_unique_id) == Error.ERR_UNCONFIGURED
    assert code_of(peer.put_packet, b"x") == Error.ERR_UNCONFIGURED
    assert code_of(peer.add_peer, PeerConnection(), 2) == Error.ERR_UNCONFIGURED
    assert (peer.transfer_mode, peer.transfer_channel, peer.refuse_new_connections) == (RELIABLE, 0, False)
    peer.poll()
    peer.close()


@pytest.mark.parametrize(
    ("role", "peer_id", "code"),
    [
        ("client", 1, 31),
        ("client", 0, 31),
        ("client", -1, 31),
        ("client", 2**31, 31),
        ("client", "2", 31),
        ("client", True, 31),
        ("client", 2, 0),
        ("client", 2**31 - 1, 0),
        ("mesh", 0, 31),
        ("mesh", 2**31, 31),
        ("mesh", 1, 0),
        ("mesh", 2**31 - 1, 0),
    ],
)
def test_own_ids_have_a_range(role, peer_id, code):
    peer = MultiplayerPeer()
    assert code_of(getattr(peer, f"create_{role}"), peer_id) == code
    if not code:
        assert peer.get_unique_id() == peer_id


def test_the_status_right_after_creation_and_after_close():
    peer = MultiplayerPeer()
    for create, status, relay in (
        (peer.create_server, CONNECTED, True),
        (lambda: peer.create_client(5), CONNECTING, True),
        (lambda: peer.create_mesh(1), CONNECTED, False),
    ):
        create()
        assert peer.get_connection_status() == status
        assert peer.is_server_relay_supported() is relay
        peer.close()
        assert peer.get_connection_status() == DISCONNECTED
        assert not peer.is_server_relay_supported()


@pytest.mark.parametrize("config", [[3], ["x"], [-1], [None], [2, 1, 5], [True], [1.0]])
def test_channels_config_takes_modes_only(config):
    peer = MultiplayerPeer()
    assert code_of(peer.create_server, config) == Error.ERR_INVALID_PARAMETER
    assert peer.get_connection_status() == DISCONNECTED
    assert code_of(peer.create_mesh, 7, config) == Error.ERR_INVALID_PARAMETER
    assert code_of(peer.create_client, 7, config) == Error.ERR_INVALID_PARAMETER


def test_what_add_peer_refuses_in_godots_order():
    client, server, mesh = MultiplayerPeer(), MultiplayerPeer(), MultiplayerPeer()
    client.create_client(2)
    server.create_server()
    mesh.create_mesh(7)
    connection = PeerConnection()
    assert code_of(client.add_peer, connection, 3) == Error.ERR_INVALID_PARAMETER
    assert code_of(client.add_peer, connection, 0) == Error.ERR_INVALID_PARAMETER
    assert code_of(server.add_peer, connection, 1) == Error.ERR_INVALID_PARAMETER
    assert code_of(server.add_peer, connection, 0) == Error.ERR_INVALID_PARAMETER
    assert code_of(server.add_peer, connection, 2**31) == Error.ERR_INVALID_PARAMETER
    assert code_of(mesh.add_peer, connection, 7) == Error.ERR_INVALID_PARAMETER
    assert code_of(client.add_peer, connection, 1, -1) == Error.ERR_INVALID_PARAMETER
    assert code_of(client.add_peer, connection, 1, 65_536) == Error.ERR_INVALID_PARAMETER
    client.set_refuse_new_connections(True)
    assert client.is_refusing_new_connections()
    assert code_of(client.add_peer, None, 1, -1) == Error.ERR_INVALID_PARAMETER
    assert code_of(client.add_peer, None, 1) == Error.ERR_UNAUTHORIZED
    client.refuse_new_connections = False
    assert code_of(client.add_peer, None, 1) == Error.ERR_INVALID_PARAMETER
    taken = PeerConnection()
    taken.create_data_channel("mine", {"negotiated": True, "id": 2})
    assert code_of(client.add_peer, taken, 1) == Error.FAILED
    assert not client.has_peer(1)
    taken.create_offer()
    assert code_of(client.add_peer, taken, 1) == Error.ERR_INVALID_PARAMETER
    assert client.add_peer(connection, 1) == Error.OK
    assert client.has_peer(1)
    for peer in (client, taken):
        peer.close()


def test_the_channels_of_a_peer_are_negotiated_with_fixed_ids():
    peer = MultiplayerPeer()
    peer.create_server([RELIABLE, UNRELIABLE_ORDERED, UNRELIABLE])
    connection = PeerConnection()
    peer.add_peer(connection, 2, 200)
    info = peer.get_peer(2)
    assert info["connection"] is connection
    assert info["connected"] is False
    assert list(peer.get_peers()) == [2]
    assert [
        (
            c.get_label(),
            c.get_id(),
            c.is_negotiated(),
            c.is_ordered(),
            c.get_max_packet_life_time(),
            c.get_max_retransmits(),
        )
        for c in info["channels"]
    ] == [
        ("reliable", 1, True, True, 65535, 65535),
        ("ordered", 2, True, True, 200, 65535),
        ("unreliable", 3, True, False, 200, 65535),
        ("4", 4, True, True, 65535, 65535),
        ("5", 5, True, True, 65535, 0),
        ("6", 6, True, False, 65535, 0),
    ]
    assert code_of(peer.get_peer, 9) == Error.ERR_INVALID_PARAMETER
    assert code_of(peer.remove_peer, 9) == Error.ERR_INVALID_PARAMETER
    assert code_of(peer.disconnect_peer, 9) == Error.ERR_INVALID_PARAMETER


def test_an_unreliable_packet_is_sent_once_unless_its_lifetime_says_more():
    peer = MultiplayerPeer()
    peer.create_server()
    peer.add_peer(PeerConnection(), 2)
    ordered, unreliable = peer.get_peer(2)["channels"][1:]
    assert (ordered.get_max_retransmits(), unreliable.get_max_retransmits()) == (0, 0)


def test_the_properties_have_setters_and_getters_and_refuse_nonsense():
    peer = MultiplayerPeer()
    for mode in (UNRELIABLE, UNRELIABLE_ORDERED, RELIABLE):
        peer.set_transfer_mode(mode)
        assert peer.get_transfer_mode() == mode
    peer.set_transfer_channel(3)
    assert peer.get_transfer_channel() == 3
    for call, value in (
        (peer.set_transfer_mode, 3),
        (peer.set_transfer_channel, -1),
        (peer.set_transfer_channel, "1"),
    ):
        assert code_of(call, value) == Error.ERR_INVALID_PARAMETER
    assert peer.TARGET_PEER_BROADCAST == 0
    assert peer.TARGET_PEER_SERVER == 1


def test_a_generated_id_is_neither_0_nor_1():
    chance = iter([b"\0\0\0\0", b"\1\0\0\0", b"\1\0\0\x80", b"\2\0\0\x80"])
    assert MultiplayerPeer(random_bytes=lambda n: next(chance)).generate_unique_id() == 2
    assert 2 <= MultiplayerPeer().generate_unique_id() < 2**31


# -- packets ---------------------------------------------------------------------------------------


def test_each_mode_and_channel_has_its_stream_and_packets_know_where_they_came_from():
    game = server_and_client(RELIABLE, UNRELIABLE_ORDERED, UNRELIABLE)
    server, client = game.peers.values()
    client.set_target_peer(1)
    for channel in (3, 2, 1, 0):
        client.transfer_channel = channel
        for mode in (UNRELIABLE, UNRELIABLE_ORDERED, RELIABLE):
            client.transfer_mode = mode
            if channel == 0 or mode == RELIABLE:
                client.put_packet(b"%d %d" % (channel, mode))
    assert server.get_available_packet_count() == 0
    game.run(lambda: server.get_available_packet_count() == 6)
    assert sorted(take_all(server)) == [
        (2, 0, UNRELIABLE, b"0 0"),
        (2, 0, UNRELIABLE_ORDERED, b"0 1"),
        (2, 0, RELIABLE, b"0 2"),
        (2, 1, RELIABLE, b"1 2"),
        (2, 2, UNRELIABLE_ORDERED, b"2 2"),
        (2, 3, UNRELIABLE, b"3 2"),
    ]


def test_without_a_packet_there_is_no_peer_channel_or_mode():
    peer = MultiplayerPeer()
    assert (peer.get_packet_peer(), peer.get_packet_channel(), peer.get_packet_mode()) == (0, 0, RELIABLE)
    assert peer.get_packet_error() == Error.OK
    assert code_of(peer.get_packet) == Error.ERR_UNAVAILABLE
    assert peer.get_packet_error() == Error.ERR_UNAVAILABLE


def test_what_put_packet_refuses():
    game = server_and_client()
    server, client = game.peers.values()
    client.set_target_peer(9)
    assert code_of(client.put_packet, b"x") == Error.ERR_INVALID_PARAMETER
    client.set_target_peer(1)
    client.transfer_channel = 1
    assert code_of(client.put_packet, b"x") == Error.ERR_INVALID_PARAMETER
    client.transfer_channel = 0
    assert client.put_packet(b"x") == Error.OK
    assert client.put_packet(bytearray(b"y")) == Error.OK
    assert client.put_packet(memoryview(b"z")) == Error.OK
    game.run(server.get_available_packet_count)
    assert [packet for *_, packet in take_all(server)] == [b"x", b"y", b"z"]
    assert server.get_packet_error() == Error.OK


def test_a_client_without_a_connection_can_broadcast_to_nobody():
    client = MultiplayerPeer()
    client.create_client(2)
    assert client.put_packet(b"x") == Error.OK
    client.add_peer(PeerConnection(), 1)
    assert client.put_packet(b"x") == Error.OK
    client.set_target_peer(1)
    with pytest.raises(InvalidState, match="not open yet"):
        client.put_packet(b"x")


def test_targets_are_one_all_or_all_but_one():
    game = Game()
    for peer_id in (1, 2, 3, 4):
        game.add(peer_id, mesh=True)
    game.connected(*combinations(range(1, 5), 2))
    sender = game.peers[2]
    for target in (0, 3, -3, -2):
        sender.set_target_peer(target)
        sender.put_packet(str(target).encode())
    game.wait(0.1)
    got = {peer_id: [packet for *_, packet in take_all(peer)] for peer_id, peer in game.peers.items()}
    assert got == {1: [b"0", b"-3", b"-2"], 2: [], 3: [b"0", b"3", b"-2"], 4: [b"0", b"-3", b"-2"]}


def test_a_broadcast_skips_who_is_not_connected_and_reports_a_full_peer_after_the_others():
    game = Game()
    server = game.add(1)
    for client in (2, 3):
        game.add(client)
    slow = game.connection(1, send_buffer=16_384), game.connection(2)
    server.add_peer(slow[0], 2)
    game.peers[2].add_peer(slow[1], 1)
    wire(*slow)
    slow[1].create_offer()
    game.link(1, 3)
    server.add_peer(game.connection(1), 4)
    assert game.run(lambda: len(game.events[1]) == 2)
    for _ in range(8):
        server.put_packet(bytes(2000))
    with pytest.raises(Full):
        server.put_packet(bytes(2000))
    game.wait(1.0)
    assert len(take_all(game.peers[3])) > len(take_all(game.peers[2]))


def test_peers_take_turns_and_low_channels_come_first():
    game = Game()
    server = game.add(1)
    for client in (2, 3):
        game.add(client)
    game.connected((1, 2), (1, 3))
    for client, modes in ((2, (0, 2, 2, 2)), (3, (1, 0))):
        for mode in modes:
            game.peers[client].transfer_mode = mode
            game.peers[client].put_packet(b"x")
        game.peers[client].poll()
    game.network.run(0.1)
    server.poll()
    assert [about[:3] for about in take_all(server)] == [
        (2, 0, 2), (3, 0, 1), (2, 0, 2), (3, 0, 0), (2, 0, 2), (2, 0, 0)
    ]  # fmt: skip


def test_a_packet_left_alone_stays_the_next_one_when_others_come():
    game = server_and_client()
    server, client = game.peers.values()
    client.transfer_mode = UNRELIABLE
    client.put_packet(b"first")
    game.run(server.get_available_packet_count)
    client.transfer_mode = RELIABLE
    client.put_packet(b"second, on a lower channel")
    game.run(lambda: server.get_available_packet_count() == 2)
    assert take_all(server) == [(2, 0, 0, b"first"), (2, 0, 2, b"second, on a lower channel")]


def test_a_packet_taken_from_its_channel_behind_our_back_is_not_there_any_more():
    game = server_and_client()
    server, client = game.peers.values()
    client.put_packet(b"x")
    game.run(server.get_available_packet_count)
    assert server.get_peer(2)["channels"][0].get_packet() == b"x"
    with pytest.raises(Unavailable):
        server.get_packet()
    for packet in (b"y", b"z"):
        client.put_packet(packet)
    game.run(lambda: server.get_available_packet_count() == 2)
    assert server.get_peer(2)["channels"][0].get_packet() == b"y"
    server.poll()
    assert [packet for *_, packet in take_all(server)] == [b"z"]
    client.put_packet(b"last")
    game.run(server.get_available_packet_count)
    assert [packet for *_, packet in take_all(server)] == [b"last"]


def test_text_and_large_and_empty_packets_go_through_whole():
    game = server_and_client()
    server, client = game.peers.values()
    client.get_peer(1)["channels"][0].put_packet("text")
    client.put_packet(b"")
    client.put_packet(bytes(100_001))
    game.run(lambda: server.get_available_packet_count() == 3)
    assert [packet for *_, packet in take_all(server)] == [b"text", b"", bytes(100_001)]


def test_the_unreliable_modes_lose_packets_and_reliable_ones_do_not():
    game = server_and_client()
    server, client = game.peers.values()
    game.network.change(loss=0.3)
    for number in range(60):
        for mode in (UNRELIABLE, UNRELIABLE_ORDERED, RELIABLE):
            client.transfer_mode = mode
            client.put_packet(bytes([number]))
        game.wait(0.016)
    game.wait(10.0)
    came = take_all(server)
    by_mode = {mode: [packet[0] for _, _, m, packet in came if m == mode] for mode in (0, 1, 2)}
    assert by_mode[RELIABLE] == list(range(60))
    assert by_mode[UNRELIABLE_ORDERED] == sorted(by_mode[UNRELIABLE_ORDERED])
    for mode in (UNRELIABLE, UNRELIABLE_ORDERED):
        assert 20 < len(by_mode[mode]) < 60


def test_an_unreliable_packet_that_waits_for_a_late_poll_is_sent_all_the_same():
    game = server_and_client()
    server, client = game.peers.values()
    client.transfer_mode = UNRELIABLE
    client.put_packet(b"x")
    game.network.advance(game.network.now + 0.040, [])
    assert game.run(server.get_available_packet_count, 1.0)


# -- coming and going ------------------------------------------------------------------------------


def test_a_client_is_connected_when_all_channels_to_the_server_are_open():
    game = Game()
    server, client = game.add(1), game.add(2)
    game.link(1, 2)
    assert client.get_connection_status() == CONNECTING
    assert game.run(lambda: game.events[2])
    assert client.get_connection_status() == CONNECTED
    assert client.get_peer(1)["connected"] is True
    assert game.events[2] == [("connected", 1)]
    game.wait(0.1)
    assert game.events[1] == [("connected", 2)]
    assert server.get_unique_id() == 1


def test_nothing_is_delivered_before_peer_connected():
    game = Game()
    server = game.add(1)
    bare, theirs = game.connection(2), game.connection(1)
    channels = [bare.create_data_channel("", {"negotiated": True, "id": n}) for n in (1, 2, 3)]
    server.add_peer(theirs, 2)
    wire(bare, theirs)
    bare.create_offer()
    for channel in channels:
        channel.opened.connect(lambda c=channel: c.put_packet(b"early"))
    seen = []
    server.peer_connected.connect(lambda peer: seen.append(server.get_available_packet_count()))
    game.network.run(0.5, peers=[bare, theirs])
    assert [channel.get_available_packet_count() for channel in server.get_peer(2)["channels"]] == [1] * 3
    assert (seen, server.get_available_packet_count()) == ([], 0)
    server.poll()
    assert (seen, server.get_available_packet_count()) == ([0], 3)
    assert take_all(server) == [(2, 0, mode, b"early") for mode in (RELIABLE, UNRELIABLE_ORDERED, UNRELIABLE)]


def test_a_mesh_of_eight_connects_and_everybody_hears_everybody():
    game = Game()
    ids = [1, 5, 77, 1000, 12345, 999_999, 2**30, 2**31 - 1]
    for peer_id in ids:
        game.add(peer_id, mesh=True)
    game.connected(*combinations(ids, 2))
    for peer_id, peer in game.peers.items():
        assert set(peer.get_peers()) == set(ids) - {peer_id}
        assert sorted(game.events[peer_id]) == [("connected", other) for other in ids if other != peer_id]
        peer.put_packet(str(peer_id).encode())
    game.wait(0.1)
    for peer_id, peer in game.peers.items():
        came = {source: packet for source, _, _, packet in take_all(peer)}
        assert came == {other: str(other).encode() for other in ids if other != peer_id}


def test_closing_tells_the_others_and_delivers_what_was_sent():
    game = server_and_client()
    server, client = game.peers.values()
    client.put_packet(b"last words")
    client.close()
    assert client.get_connection_status() == DISCONNECTED
    assert not client.has_peer(1)
    assert game.run(lambda: server.get_available_packet_count())
    assert take_all(server) == [(2, 0, RELIABLE, b"last words")]
    assert game.run(lambda: len(game.events[1]) == 2, 1.0)
    game.wait(1.0)
    assert game.events == {
        1: [("connected", 2), ("disconnected", 2)],
        2: [("connected", 1), ("disconnected", 1)],
    }
    assert client.connections() == server.connections() == []
    assert server.get_connection_status() == CONNECTED


def test_a_client_that_loses_its_server_is_disconnected():
    game = server_and_client()
    server, client = game.peers.values()
    server.close()
    assert game.run(lambda: client.get_connection_status() == DISCONNECTED, 2.0)
    assert game.events[2] == [("connected", 1), ("disconnected", 1)]
    assert client.get_unique_id() == 2
    assert code_of(client.put_packet, b"x") == Error.ERR_UNCONFIGURED


def test_a_client_whose_server_never_came_up_is_disconnected():
    game = Game()
    client = game.add(2)
    connection = game.connection(2)
    client.add_peer(connection, 1)
    connection.create_offer()
    game.wait(0.1)
    assert client.get_connection_status() == CONNECTING
    connection.close()
    game.wait(0.1)
    assert client.get_connection_status() == DISCONNECTED
    assert game.events[2] == []


def test_a_client_whose_connection_fails_is_disconnected():
    game = Game()
    game.add(1)
    client = game.add(2)
    game.network.change(loss=1.0)
    game.link(1, 2)
    assert game.run(lambda: client.get_connection_status() == DISCONNECTED, 60.0)
    assert game.events[2] == []


def test_packets_that_came_before_the_end_can_be_taken_until_the_next_poll():
    game = server_and_client()
    server, client = game.peers.values()
    client.put_packet(b"taken")
    client.put_packet(b"not taken")
    client.close()
    while not server.get_available_packet_count():
        client.poll()
        game.network.run(0.01)
        server.poll(0.01)
    while server.due_in() == math.inf:
        client.poll(0.01)
        server.poll(0.01)
    assert game.events[1] == [("connected", 2)]
    assert server.get_packet() == b"taken"
    server.poll(10.0)
    assert game.events[1] == [("connected", 2), ("disconnected", 2)]
    assert server.get_available_packet_count() == 0


@pytest.mark.parametrize("way", ["remove_peer", "disconnect_peer", "force"])
def test_a_peer_that_is_sent_away_is_told_and_reported_once(way):
    game = server_and_client()
    server = game.peers[1]
    if way == "force":
        server.disconnect_peer(2, True)
    else:
        getattr(server, way)(2)
    assert server.has_peer(2) is (way == "disconnect_peer")
    assert game.events[1] == [("connected", 2)]
    game.wait(2.0)
    assert game.events == {
        1: [("connected", 2), ("disconnected", 2)],
        2: [("connected", 1), ("disconnected", 1)],
    }
    assert not server.has_peer(2)
    assert server.connections() == []


def test_a_client_that_sends_its_server_away_is_disconnected():
    game = server_and_client()
    client = game.peers[2]
    client.disconnect_peer(1, force=True)
    assert client.get_connection_status() == DISCONNECTED
    game.wait(1.0)
    assert game.events[2] == [("connected", 1), ("disconnected", 1)]


def test_a_peer_whose_channel_closes_is_gone():
    game = server_and_client()
    server, client = game.peers.values()
    client.get_peer(1)["channels"][2].close()
    game.wait(2.0)
    assert game.events == {
        1: [("connected", 2), ("disconnected", 2)],
        2: [("connected", 1), ("disconnected", 1)],
    }
    assert server.connections() == client.connections() == []


def test_the_same_id_comes_back_before_its_loss_was_noticed():
    game = server_and_client()
    old = game.peers[2]
    back = game.add(2)
    game.link(1, 2)
    game.peers[9] = old
    assert game.run(lambda: back.get_connection_status() == CONNECTED)
    game.wait(1.0)
    assert game.events[1] == [("connected", 2), ("disconnected", 2), ("connected", 2)]
    assert old.get_connection_status() == DISCONNECTED
    back.put_packet(b"I am back")
    game.wait(0.1)
    assert take_all(game.peers[1]) == [(2, 0, RELIABLE, b"I am back")]


def test_a_client_connects_again_with_the_same_object():
    game = server_and_client()
    client = game.peers[2]
    client.close()
    client.create_client(2)
    game.connected((1, 2))
    game.wait(1.0)
    assert client.get_connection_status() == CONNECTED
    assert game.events[2] == [("connected", 1), ("disconnected", 1), ("connected", 1)]
    assert game.events[1] == [("connected", 2), ("disconnected", 2), ("connected", 2)]


def test_a_lost_server_can_be_added_again():
    game = server_and_client()
    game.peers[1].remove_peer(2)
    assert game.run(lambda: game.peers[2].get_connection_status() == DISCONNECTED)
    game.link(1, 2)
    assert game.peers[2].get_connection_status() == CONNECTING
    assert game.run(lambda: game.peers[2].get_connection_status() == CONNECTED)


def test_a_killed_peer_is_missed_by_consent():
    game = server_and_client()
    game.peers.pop(2)
    game.network.change(loss=1.0)
    assert game.run(lambda: len(game.events[1]) == 2, 60.0)
    assert game.events[1] == [("connected", 2), ("disconnected", 2)]


def test_a_short_outage_keeps_the_peer():
    game = server_and_client()
    game.network.change(loss=1.0)
    game.wait(8.0)
    game.network.change(loss=0.0)
    game.wait(5.0)
    assert game.events == {1: [("connected", 2)], 2: [("connected", 1)]}


def test_a_thread_may_do_the_io():
    """On the loopback interface, with PeerConnection(background=True): the driver makes no difference."""
    server, client = MultiplayerPeer(), MultiplayerPeer()
    server.create_server()
    client.create_client(2)
    ends = [PeerConnection(background=True) for _ in range(2)]
    server.add_peer(ends[0], 2)
    client.add_peer(ends[1], 1)
    wire(*ends)
    ends[1].create_offer()
    for _ in range(500):
        if client.get_connection_status() == CONNECTED and server.get_peer(2)["connected"]:
            break
        poll([server, client], 0.1)
    for number in range(100):
        client.put_packet(bytes([number]))
    packets: list[bytes] = []
    for _ in range(500):
        if len(packets) == 100:
            break
        poll([server, client], 0.1)
        packets += [packet for *_, packet in take_all(server)]
    assert packets == [bytes([number]) for number in range(100)]
    gone = []
    server.peer_disconnected.connect(gone.append)
    client.close()
    for _ in range(500):
        if gone and not client.connections() and not server.connections():
            break
        poll([server, client], 0.1)
    assert gone == [2]


# -- callbacks -------------------------------------------------------------------------------------


def test_what_a_callback_raises_comes_out_of_poll_and_the_other_signals_later():
    game = Game()
    server = game.add(1)
    for client in (2, 3):
        game.add(client)
        game.link(1, client)

    def refuse(peer):
        if peer == 2:
            raise LookupError(peer)

    server.peer_connected.disconnect(server.peer_connected.callbacks[0])
    server.peer_connected.connect(refuse)
    server.peer_connected.connect(lambda peer: game.events[1].append(("connected", peer)))
    with pytest.raises(LookupError):
        game.wait(5.0)
    game.wait(0.1)
    assert sorted(game.events[1]) == [("connected", 2), ("connected", 3)]


def test_callbacks_may_poll_send_remove_and_close():
    game = Game()
    server = game.add(1)
    for client in (2, 3, 4):
        game.add(client)

    def act(peer):
        server.poll()
        server.put_packet(b"hello")
        if peer == 3:
            server.remove_peer(3)
        if peer == 4:
            server.close()

    server.peer_connected.connect(act)
    for client in (2, 3, 4):
        game.connected((1, client))
    game.wait(2.0)
    assert sorted(game.events[1]) == sorted(
        [(what, peer) for what in ("connected", "disconnected") for peer in (2, 3, 4)]
    )
    for client in (2, 3, 4):
        assert game.events[client] == [("connected", 1), ("disconnected", 1)]
    assert server.get_connection_status() == DISCONNECTED


def test_poll_serves_connections_and_multiplayer_peers_alike():
    game = Game()
    server, client = game.add(1), game.add(2)
    game.link(1, 2)
    plain = game.connection(5), game.connection(6)
    channel = plain[0].create_data_channel("plain", {"negotiated": True, "id": 7})
    plain[1].create_data_channel("plain", {"negotiated": True, "id": 7})
    wire(*plain)
    plain[0].create_offer()
    polls = 0
    while not (game.events[1] and game.events[2] and channel.get_ready_state() == channel.STATE_OPEN):
        poll([server, *plain, client], 1.0)
        polls += 1
    assert polls < 200


def test_an_invalid_target_names_it():
    game = server_and_client()
    game.peers[1].set_target_peer(44)
    with pytest.raises(InvalidParameter, match="44"):
        game.peers[1].put_packet(b"x")
