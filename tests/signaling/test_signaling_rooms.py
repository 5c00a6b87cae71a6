"""Rows of the demo's server rules: who hears what, and every reason to be closed."""

from __future__ import annotations

import json

import pytest
from rooms_support import Table

from rtcstack.signaling.limits import Limits
from rtcstack.signaling.lobbies import Close
from rtcstack.signaling.messages import Kind, Message

JOIN_NEW = Message(Kind.JOIN, 0, "")


# -- joining ---------------------------------------------------------------------------------------


def test_a_creator_is_told_its_id_and_then_its_lobby() -> None:
    table = Table()
    _, lobby = table.host()
    assert len(lobby) == 32
    assert lobby.isalnum()
    assert table.rooms.lobby_names == (lobby,)


def test_in_a_mesh_everybody_hears_of_everybody_in_the_demo_s_order() -> None:
    table = Table()
    a, lobby = table.host()
    b, b_id = table.join(lobby)
    assert table.take(a) == [("PEER_CONNECT", b_id, "")]
    c = table.connect()
    table.say(c, Message(Kind.JOIN, 0, lobby))
    heard = table.take(c)
    c_id = heard[0][1]
    assert heard == [
        ("ID", c_id, "true"),
        ("PEER_CONNECT", 1, ""),
        ("PEER_CONNECT", b_id, ""),
        ("JOIN", 0, lobby),
    ]
    assert table.take(a) == table.take(b) == [("PEER_CONNECT", c_id, "")]


def test_without_a_mesh_only_the_host_and_each_client_hear_of_each_other() -> None:
    table = Table()
    a, lobby = table.host(is_mesh=False)
    b, b_id = table.join(lobby)
    c = table.connect()
    table.say(c, Message(Kind.JOIN, 0, lobby))  # the flag counts for the creator alone
    heard = table.take(c)
    assert heard == [("ID", heard[0][1], ""), ("PEER_CONNECT", 1, ""), ("JOIN", 0, lobby)]
    assert table.take(a) == [("PEER_CONNECT", b_id, ""), ("PEER_CONNECT", heard[0][1], "")]
    assert table.take(b) == []


def test_ids_are_unique_and_from_2_up() -> None:
    table = Table(Limits(max_members=300))
    _, lobby = table.host()
    ids = [table.join(lobby)[1] for _ in range(250)]
    assert len(set(ids)) == 250
    assert min(ids) >= 2
    assert max(ids) < 2**31


# -- speaking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.OFFER, Kind.ANSWER, Kind.CANDIDATE])
def test_messages_reach_the_member_with_that_id_and_name_their_sender(kind: Kind) -> None:
    table = Table()
    a, lobby = table.host()
    b, b_id = table.join(lobby)
    table.take(a)
    table.say(b, Message(kind, 1, "\n0\n0\ncandidate:x"))
    table.say(a, Message(kind, b_id, "x"))
    assert table.take(a) == [(kind.name, b_id, "\n0\n0\ncandidate:x")]
    assert table.take(b) == [(kind.name, 1, "x")]
    assert table.rooms.relayed == 2


def test_a_message_to_oneself_comes_back() -> None:
    table = Table()
    a, _ = table.host()
    table.say(a, Message(Kind.OFFER, 1, "x"))
    assert table.take(a) == [("OFFER", 1, "x")]


def test_a_message_to_somebody_who_has_just_left_is_dropped() -> None:
    table = Table()
    a, lobby = table.host()
    b, b_id = table.join(lobby)
    table.go(b)
    assert table.take(a) == [("PEER_CONNECT", b_id, ""), ("PEER_DISCONNECT", b_id, "")]
    table.say(a, Message(Kind.CANDIDATE, b_id, "x"))
    assert table.take(a) == []


def test_a_message_into_another_lobby_closes_its_sender() -> None:
    table = Table()
    a, _ = table.host()
    _, other = table.host()
    _, stranger = table.join(other)
    table.say(a, Message(Kind.OFFER, stranger, "x"))
    assert table.take(a) == [Close(4000, "Invalid destination")]


# -- sealing and leaving ---------------------------------------------------------------------------


def test_a_seal_is_told_to_all_and_ends_the_lobby_after_ten_seconds() -> None:
    table = Table()
    a, lobby = table.host()
    b, _ = table.join(lobby)
    table.take(a)
    table.say(a, Message(Kind.SEAL))
    assert table.take(a) == table.take(b) == [("SEAL", 0, "")]
    table.wait(9.9)
    table.say(b, Message(Kind.CANDIDATE, 1, "late"))
    assert table.take(a)[0][0] == "CANDIDATE"
    table.wait(0.2)
    assert table.take(a) == table.take(b) == [Close(1000, "Seal complete")]
    assert table.rooms.lobby_names == ()


def test_leaving_a_sealed_lobby_tells_nobody_for_the_game_goes_on() -> None:
    table = Table()
    a, lobby = table.host()
    b, _ = table.join(lobby)
    c, c_id = table.join(lobby)
    table.say(a, Message(Kind.SEAL))
    table.take(b), table.take(c)
    table.go(a)
    table.say(b, Message(Kind.CANDIDATE, c_id, "x"))
    assert table.take(b) == []
    assert table.take(c)[0][0] == "CANDIDATE"
    table.wait(10)
    assert table.take(b) == [Close(1000, "Seal complete")]


def test_a_member_that_leaves_is_told_to_the_rest() -> None:
    table = Table()
    a, lobby = table.host()
    b, _ = table.join(lobby)
    c, c_id = table.join(lobby)
    table.take(a), table.take(b)
    table.go(c)
    assert table.take(a) == table.take(b) == [("PEER_DISCONNECT", c_id, "")]


def test_a_host_that_leaves_takes_the_lobby_with_it() -> None:
    table = Table()
    a, lobby = table.host()
    b, _ = table.join(lobby)
    table.go(a)
    assert table.take(b) == [Close(4000, "Room host has disconnected")]
    c = table.connect()
    table.say(c, Message(Kind.JOIN, 0, lobby))
    assert table.take(c) == [Close(4000, "Lobby does not exists")]


def test_somebody_closed_for_a_bad_message_leaves_no_ghost() -> None:
    table = Table()
    a, lobby = table.host()
    b, b_id = table.join(lobby)
    table.say(b, "nonsense")
    assert table.take(b) == [Close(4000, "Invalid message format")]
    assert table.take(a) == [("PEER_CONNECT", b_id, ""), ("PEER_DISCONNECT", b_id, "")]
    table.say(a, Message(Kind.OFFER, b_id, "x"))
    table.say(b, Message(Kind.OFFER, 1, "x"))
    assert table.take(a) == table.take(b) == []


# -- every reason ----------------------------------------------------------------------------------

BAD_FORMAT = [
    "hello",
    "",
    "[1,2]",
    "null",
    "5",
    '"text"',
    "{}",
    '{"type":0}',
    '{"id":0,"data":""}',
    '{"type":"0","id":0,"data":""}',
    '{"type":0,"id":"0","data":""}',
    '{"type":true,"id":0,"data":""}',
    '{"type":null,"id":0,"data":""}',
    '{"type":0,"id":[],"data":""}',
    '{"type":-1,"id":0,"data":""}',
    '{"type":0,"id":-1,"data":""}',
    '{"type":0.5,"id":0,"data":""}',
    '{"type":0,"id":1e400,"data":""}',
    '{"type":0,"id":NaN,"data":""}',
    '{"type":0,"id":2147483648,"data":""}',
    '{"type":0,"id":' + "9" * 5000 + ',"data":""}',
    '{"type":0,"id":0,"data":5}',
    '{"type":0,"id":0,"data":null}',
    '{"type":0,"id":0,"data":"\\ud800"}',
    '{"type":0,"id":0,"data":"","resume":7}',
    '{"type":0,"id":0,"data":""',
    "[" * 60_000,
    '{"a":' * 10_000,
]


@pytest.mark.parametrize("text", BAD_FORMAT, ids=range(len(BAD_FORMAT)))
@pytest.mark.parametrize("is_joined", [False, True], ids=["before joining", "joined"])
def test_what_is_no_message_is_refused_and_nobody_else_notices(text: str, is_joined: bool) -> None:
    table = Table()
    bystander, _ = table.host()
    peer = table.host()[0] if is_joined else table.connect()
    table.say(peer, text)
    assert table.take(peer) == [Close(4000, "Invalid message format")]
    assert table.take(bystander) == []
    assert table.rooms.peer_count == 1


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (Message(Kind.JOIN, 0, "nope"), "Lobby does not exists"),
        (Message(Kind.SEAL), "Invalid message when not in a lobby"),
        (Message(Kind.OFFER, 1, "x"), "Invalid message when not in a lobby"),
        (Message(9, 1, "x"), "Invalid message when not in a lobby"),
        (b'{"type":0,"id":0,"data":""}', "Invalid transfer mode, must be text"),
    ],
)
def test_a_first_message_that_is_no_join_of_a_lobby_is_refused(first: Message | bytes, reason: str) -> None:
    table = Table()
    peer = table.connect()
    table.say(peer, first)
    assert table.take(peer) == [Close(4000, reason)]
    assert table.rooms.peer_count == 0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (JOIN_NEW, "Already in a lobby"),
        (Message(Kind.ID, 1, "x"), "Invalid command"),
        (Message(Kind.PEER_CONNECT, 1), "Invalid command"),
        (Message(9, 1, "x"), "Invalid command"),
        (Message(Kind.OFFER, 77, "x"), "Invalid destination"),
        (Message(Kind.OFFER, 0, "x"), "Invalid destination"),
        (b"\x00", "Invalid transfer mode, must be text"),
    ],
)
def test_a_member_that_breaks_the_rules_is_closed(message: Message | bytes, reason: str) -> None:
    table = Table()
    peer, _ = table.host()
    table.say(peer, message)
    assert table.take(peer) == [Close(4000, reason)]
    assert table.rooms.lobby_names == ()


def test_only_the_host_may_seal() -> None:
    table = Table()
    _, lobby = table.host()
    b, _ = table.join(lobby)
    table.say(b, Message(Kind.SEAL))
    assert table.take(b) == [Close(4000, "Only host can seal the lobby")]


def test_a_sealed_lobby_lets_nobody_in() -> None:
    table = Table()
    a, lobby = table.host()
    table.say(a, Message(Kind.SEAL))
    b = table.connect()
    table.say(b, Message(Kind.JOIN, 0, lobby))
    assert table.take(b) == [Close(4000, "Lobby is sealed")]


def test_another_lobby_cannot_be_joined_from_inside_one() -> None:
    table = Table()
    _, other = table.host()
    a, _ = table.host()
    table.say(a, Message(Kind.JOIN, 0, other))
    assert table.take(a) == [Close(4000, "Already in a lobby")]


def test_who_does_not_join_in_time_is_closed_and_who_does_is_not() -> None:
    table = Table()
    late, (early, _) = table.connect(), table.host()
    table.wait(2.9)
    assert table.take(late) == []
    table.wait(0.2)
    assert table.take(late) == [Close(4000, "Have not joined lobby yet")]
    table.wait(1000)
    assert table.take(early) == []
    assert table.rooms.peer_count == 1


def test_peers_lobbies_and_members_are_limited() -> None:
    table = Table(Limits(max_peers=4, max_lobbies=1, max_members=2))
    _, lobby = table.host()
    table.join(lobby)
    third, fourth = table.connect(), table.connect()
    table.say(third, Message(Kind.JOIN, 0, lobby))
    assert table.take(third) == [Close(4000, "Lobby is full")]
    table.say(fourth, JOIN_NEW)
    assert table.take(fourth) == [Close(4000, "Too many lobbies open, disconnecting")]
    table.connect(), table.connect()
    fifth = table.connect()
    assert table.take(fifth) == [Close(4000, "Too many peers connected")]


def test_a_flood_is_stopped_and_a_steady_stream_is_not() -> None:
    table = Table(Limits(peer_messages=10, peer_burst=50))
    steady, _ = table.host()
    flooder, _ = table.host()
    for _ in range(100):
        table.wait(0.1)
        table.say(steady, Message(Kind.OFFER, 1, "x"))
    for _ in range(60):
        table.say(flooder, Message(Kind.OFFER, 1, "x"))
    heard = table.take(flooder)
    assert heard[-1] == Close(4000, "Too many messages")
    assert len(heard) == 51
    assert table.take(steady) == [("OFFER", 1, "x")] * 100


def test_the_bytes_of_a_peer_are_limited_too() -> None:
    table = Table(Limits(peer_bytes=10_000))
    peer, _ = table.host()
    for _ in range(5):
        table.say(peer, Message(Kind.OFFER, 1, "x" * 9_000))
    assert table.take(peer)[-1] == Close(4000, "Too many messages")


# -- numbers, keys, letters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ['{"type":0.0,"id":0.0,"data":""}', '{"type":0,"id":0,"data":"","x":1}', '{"type": 0, "id": 0}'],
)
def test_floats_further_keys_and_missing_data_are_taken(text: str) -> None:
    table = Table()
    peer = table.connect()
    table.say(peer, text)
    assert [heard[0] for heard in table.take(peer)] == ["ID", "JOIN"]


def test_a_relayed_message_never_outgrows_godot_s_buffer() -> None:
    """Godot's WebSocketPeer closes on more than 65,535 bytes: a member must not do that to another."""
    limits = Limits()
    table = Table(limits)
    _, lobby = table.host()
    b, _ = table.join(lobby)
    frame = '{"type":4,"id":1,"data":"%s"}'
    fill = limits.max_message_size - len(frame) + 2
    for letters in ("x" * fill, "é" * (fill // 2), "\\n" * (fill // 2), "/" * fill):
        text = frame % letters
        assert len(text.encode()) <= limits.max_message_size
        table.rooms.receive(b, text, table.now)
        (said,) = [said for _, said in table.rooms.take_output()]
        assert isinstance(said, Message)
        assert len(said.write().encode()) <= 65_535


def test_messages_are_written_as_godot_writes_them() -> None:
    assert Message(Kind.JOIN, 0, "").write() == '{"data":"","id":0,"type":0}'
    assert json.loads(Message(Kind.ID, 5, "true", "t").write())["resume"] == "t"


# -- coming back -----------------------------------------------------------------------------------


def test_a_lost_member_with_a_ticket_gets_its_seat_back_and_what_it_missed() -> None:
    table = Table()
    a, lobby = table.host(resume="")
    b, b_id = table.join(lobby, resume="")
    table.take(a)
    table.go(b, is_final=False)
    c, c_id = table.join(lobby)
    table.say(c, Message(Kind.OFFER, b_id, "hello"))
    assert table.take(a) == [("PEER_CONNECT", c_id, "")]
    table.wait(5)
    again = table.connect()
    table.say(again, Message(Kind.JOIN, 0, lobby, table.tickets[b]))
    assert table.take(again) == [
        ("ID", b_id, "true"),
        ("PEER_CONNECT", 1, ""),
        ("PEER_CONNECT", c_id, ""),
        ("JOIN", 0, lobby),
        ("OFFER", c_id, "hello"),
    ]
    table.wait(100)
    assert table.take(a) == []


def test_a_lost_host_with_a_ticket_does_not_end_the_lobby() -> None:
    table = Table()
    a, lobby = table.host(resume="")
    b, _ = table.join(lobby)
    table.go(a, is_final=False)
    table.say(b, Message(Kind.OFFER, 1, "x"))
    again = table.connect()
    table.say(again, Message(Kind.JOIN, 0, lobby, table.tickets[a]))
    assert [heard[0] for heard in table.take(again)] == ["ID", "PEER_CONNECT", "JOIN", "OFFER"]
    assert table.take(b) == []


def test_who_does_not_come_back_in_time_has_left() -> None:
    table = Table()
    a, lobby = table.host()
    b, b_id = table.join(lobby, resume="")
    table.take(a)
    table.go(b, is_final=False)
    table.wait(14.9)
    assert table.take(a) == []
    table.wait(0.2)
    assert table.take(a) == [("PEER_DISCONNECT", b_id, "")]
    again = table.connect()
    table.say(again, Message(Kind.JOIN, 0, lobby, table.tickets[b]))
    heard = table.take(again)
    assert heard[0][0] == "ID"
    assert heard[0][1] != b_id  # a newcomer like any other


def test_without_a_ticket_a_lost_member_has_left_at_once() -> None:
    table = Table()
    a, lobby = table.host()
    b, b_id = table.join(lobby)
    table.go(b, is_final=False)
    assert table.take(a)[-1] == ("PEER_DISCONNECT", b_id, "")


def test_a_ticket_takes_the_seat_from_a_connection_that_is_dead_and_does_not_know() -> None:
    table = Table()
    a, lobby = table.host()
    b, b_id = table.join(lobby, resume="")
    again = table.connect()
    table.say(again, Message(Kind.JOIN, 0, lobby, table.tickets[b]))
    assert table.take(again) == [("ID", b_id, "true"), ("PEER_CONNECT", 1, ""), ("JOIN", 0, lobby)]
    assert table.take(b) == [Close(4000, "Resumed by another connection")]
    table.go(b)
    table.say(a, Message(Kind.OFFER, b_id, "x"))
    assert table.take(again) == [("OFFER", 1, "x")]


def test_a_member_away_learns_of_the_seal_when_it_comes_back() -> None:
    table = Table()
    a, lobby = table.host()
    b, _ = table.join(lobby, resume="")
    table.go(b, is_final=False)
    table.say(a, Message(Kind.SEAL))
    again = table.connect()
    table.say(again, Message(Kind.JOIN, 0, lobby, table.tickets[b]))
    assert table.take(again)[-1] == ("SEAL", 0, "")


def test_too_much_waiting_mail_costs_the_seat() -> None:
    table = Table(Limits(peer_bytes=1e9))
    a, lobby = table.host()
    b, b_id = table.join(lobby, resume="")
    table.take(a)
    table.go(b, is_final=False)
    for _ in range(20):
        table.say(a, Message(Kind.OFFER, b_id, "x" * 50_000))
    table.wait(0.1)
    assert table.take(a) == [("PEER_DISCONNECT", b_id, "")]


def test_a_wrong_ticket_is_a_newcomer_s() -> None:
    table = Table()
    _, lobby = table.host()
    _, b_id = table.join(lobby, resume="")
    _, other = table.join(lobby, resume="0" * 32)
    assert other != b_id
