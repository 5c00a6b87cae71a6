"""A TURN client through its life with a server in memory: the ladders of RFC 8656."""

from __future__ import annotations

import hashlib

import pytest
from turn_line import CLIENT, PEER_A, PEER_B, SERVER, USER, Line

from rtcstack import stun
from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.stun import Message
from rtcstack.testing.servers import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, TurnServer
from rtcstack.turn import Allocated, Client, Closed, Options, State
from rtcstack.turn.credentials import SHA256, long_term_key, user_hash

RELAYED = ("192.0.2.15", 49152)


def test_the_detailed_example_of_the_rfc() -> None:
    """RFC 8656 §20: SHA-256, permission, Send and Data, channel, refresh with a stale nonce."""
    server = TurnServer(SERVER[0], users=USER, realm="example.com", sha256=True, nonce_lifetime=2600)
    server.lifetime = 1200
    line = Line(server)
    line.now = 1499.0
    line.start(0.09)
    line.client.permit(PEER_A[0])
    line.run(0.05)
    line.client.send(PEER_A, [b"to A"])
    line.run(0.05)
    line.peer_sends(PEER_A, b"from A")
    line.run(0.05)
    line.client.bind_channel(PEER_B)
    assert not line.client.is_bound(PEER_B)
    line.run(0.05)
    assert line.client.is_bound(PEER_B)
    assert not line.client.is_bound(PEER_A)
    line.client.send(PEER_B, [b"to B"])
    line.run(0.05)
    line.peer_sends(PEER_B, b"from B")
    line.run(0.05)
    assert line.story == [
        "--> Allocate request",
        "<-- Allocate error 401",
        "--> Allocate request",
        "<-- Allocate success",
        "--> CreatePermission request",
        "<-- CreatePermission success",
        "--> Send indication",
        "<-- Data indication",
        "--> CreatePermission request",
        "--> ChannelBind request",
        "<-- CreatePermission success",
        "<-- ChannelBind success",
        "--> ChannelData 0x4000",
        "<-- ChannelData 0x4000",
    ]
    assert line.seen == [Allocated(RELAYED, CLIENT, 1200)]
    assert line.at_peers == [(PEER_A, b"to A"), (PEER_B, b"to B")]
    assert line.at_client == [(PEER_A, b"from A"), (PEER_B, b"from B")]

    line.ladder.clear()
    line.run(1200)
    refresh = line.story.index("--> Refresh request")
    assert line.story[refresh : refresh + 4] == [
        "--> Refresh request",
        "<-- Refresh error 438",
        "--> Refresh request",
        "<-- Refresh success",
    ]
    assert line.client.stats.stale_nonces == 1
    assert line.client.state is State.ALLOCATED


def test_the_first_request_says_nothing_of_the_user_and_the_second_everything() -> None:
    """RFC 8489 §9.2.3.1 and §9.2.5."""
    line = Line()
    requests: list[Message] = []
    line.passes = lambda data, is_ours: not is_ours or requests.append(Message.parse(data)) is None
    line.start()
    first, second = requests
    assert first.attributes == {stun.REQUESTED_TRANSPORT: 17}
    assert first.integrity is None
    assert second.attributes == {
        stun.REQUESTED_TRANSPORT: 17,
        stun.USERNAME: "George",
        stun.REALM: "example.org",
        stun.NONCE: line.server.nonce(1000),
    }
    assert second.is_authentic(hashlib.md5(b"George:example.org:secret").digest())
    assert first.transaction_id != second.transaction_id


@pytest.mark.parametrize("anonymity", [False, True])
def test_sha256_and_userhash_are_used_where_the_server_announces_them(anonymity: bool) -> None:
    """RFC 8489 §9.2.4, §9.2.5 and §14.4; RFC 8656 §6."""
    server = TurnServer(SERVER[0], users=USER, sha256=True, anonymity=anonymity)
    line = Line(server)
    requests: list[Message] = []
    line.passes = lambda data, is_ours: not is_ours or requests.append(Message.parse(data)) is None
    line.start()
    assert line.client.state is State.ALLOCATED
    signed = requests[1]
    assert signed.integrity is stun.MESSAGE_INTEGRITY_SHA256
    assert signed.get(stun.PASSWORD_ALGORITHM) == (SHA256, b"")
    assert signed.get(stun.PASSWORD_ALGORITHMS) == ((2, b""), (1, b""))
    assert signed.get(stun.USERHASH) == (user_hash("George", "example.org") if anonymity else None)
    assert signed.get(stun.USERNAME) == (None if anonymity else "George")


def test_the_long_term_key_is_that_of_the_rfcs() -> None:
    """RFC 8489 §9.2.2 and §18.5.1, RFC 5769 §2.4, RFC 8265 §4.2.2."""
    assert long_term_key("user", "realm", "pass").hex() == "8493fbc53ba582fb4c044c456bdc40eb"
    assert long_term_key("user", '"realm"\0', "pass\0") == long_term_key("user", "realm", "pass")
    assert long_term_key("u", "r", "p", SHA256) == hashlib.sha256(b"u:r:p").digest()
    assert long_term_key("u", "r", "a\u00a0e\u0301") == long_term_key("u", "r", "a \u00e9")
    vector = bytes.fromhex(
        "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b900000015001c"
        "662f2f3439396b39353464364f4c33346f4c39465354767936347341"
        "0014000b6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
    )
    key = long_term_key("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org", "TheMatrIX")
    assert Message.parse(vector).is_authentic(key)


def test_a_server_without_users_relays_for_anybody() -> None:
    line = Line(TurnServer(SERVER[0]), username="", password="")
    line.start()
    assert line.story == ["--> Allocate request", "<-- Allocate success"]
    assert line.seen == [Allocated(RELAYED, CLIENT, 600)]


def test_an_ipv6_relay_is_asked_for_by_family() -> None:
    """RFC 8656 §7.1: REQUESTED-ADDRESS-FAMILY."""
    server = TurnServer(SERVER[0], "2001:db8::15", users=USER)
    line = Line(server, family=6)
    line.start()
    assert line.seen == [Allocated(("2001:db8::15", 49152), CLIENT, 600)]
    line.client.send(("2001:DB8:0::99", 7), [b"hello"])
    line.run(0.1)
    line.peer_sends(("2001:db8::99", 7), b"you too")
    line.run(0.1)
    assert line.at_peers == [(("2001:db8::99", 7), b"hello")]
    assert line.at_client == [(("2001:db8::99", 7), b"you too")]
    with pytest.raises(InvalidParameter):
        line.client.send(PEER_A, [b"IPv4"])


def test_lost_requests_and_answers_are_sent_again() -> None:
    """RFC 8489 §6.2.1: after 500 ms and twice that; a request sent twice makes one allocation."""
    line = Line()
    lost = iter([True, False, True, False, True])
    line.passes = lambda data, is_ours: not next(lost, False)
    line.start(4)
    assert line.seen == [Allocated(RELAYED, CLIENT, 600)]
    assert len(line.server.allocations) == 1
    assert line.client.stats.retransmissions == 3
    assert line.ladder[0][0] == 0.0
    assert line.ladder[1][0] == 0.5


def test_data_to_an_unknown_peer_leaves_right_behind_the_request_for_its_permission() -> None:
    line = Line()
    line.start()
    line.ladder.clear()
    line.client.send(PEER_A, [b"1", b"2"])
    line.run(0.1)
    assert line.story == [
        "--> CreatePermission request",
        "--> Send indication",
        "--> Send indication",
        "<-- CreatePermission success",
    ]
    assert line.at_peers == [(PEER_A, b"1"), (PEER_A, b"2")]
    assert line.client.stats.send_indications == 2


def test_what_is_wanted_before_the_relay_is_there_is_asked_for_then() -> None:
    line = Line()
    line.client.permit(PEER_A[0])
    line.client.start(line.now)
    line.client.bind_channel(PEER_B)
    line.run(0.1)
    assert [method for _, method in line.server.requests] == [
        ALLOCATE,
        CREATE_PERMISSION,
        CREATE_PERMISSION,
        CHANNEL_BIND,
    ]


def test_a_batch_through_a_channel_stays_a_batch() -> None:
    line = Line()
    line.start()
    line.client.bind_channel(PEER_A)
    line.run(0.1)
    batch = [b"%d" % number for number in range(50)]
    line.client.send(PEER_A, batch)
    packets = line.client.take_packets(line.now)
    assert packets == [b"\x40\0\0" + bytes((len(data),)) + data for data in batch]
    line.client.receive([*packets, b"\x40\0\0\1x"], line.now)
    assert line.client.take_data() == [(PEER_A, [*batch, b"x"])]
    assert line.client.take_data() == []


def test_channel_data_is_taken_before_the_answer_to_channel_bind() -> None:
    """RFC 8656 §12: the client is prepared for it as soon as it has sent the request."""
    line = Line()
    line.start()
    line.client.bind_channel(PEER_A)
    line.client.take_packets(line.now)
    line.client.receive([b"\x40\0\0\1x"], line.now)
    assert line.client.take_data() == [(PEER_A, [b"x"])]


def test_data_indications_come_before_the_channel_data_of_the_same_batch() -> None:
    line = Line()
    line.start()
    line.client.bind_channel(PEER_A)
    line.run(0.1)
    indication = Message(
        7, stun.MessageClass.INDICATION, bytes(12), {stun.XOR_PEER_ADDRESS: PEER_A, stun.DATA: b"first"}
    ).write()
    line.client.receive([indication, b"\x40\0\0\1x"], line.now)
    assert line.client.take_data() == [(PEER_A, [b"first", b"x"])]


# Keeping it


def test_allocation_permission_and_channel_in_use_are_refreshed_in_time() -> None:
    """RFC 8656 §8, §9, §12: one minute before 600, 300 and 600 seconds are over."""
    line = Line()
    line.start()
    line.client.bind_channel(PEER_A)
    for _ in range(1300):
        line.client.send(PEER_A, [b"tick"])
        line.run(1)
    assert len(line.at_peers) == 1300
    times = {
        method: [round(time - 1000) for time, each in line.server.requests if each == method]
        for method in (REFRESH, CREATE_PERMISSION, CHANNEL_BIND)
    }
    assert times == {
        REFRESH: [540, 1080],
        CREATE_PERMISSION: [0, 240, 480, 720, 960, 1200],
        CHANNEL_BIND: [0, 540, 1080],
    }


def test_permission_and_channel_out_of_use_lapse_and_come_back_when_needed() -> None:
    line = Line()
    line.start()
    line.client.bind_channel(PEER_A)
    line.run(0.1)
    line.client.send(PEER_A, [b"once"])
    line.run(1200)
    # Used in the first four minutes, so prolonged once.
    asked = [method for _, method in line.server.requests]
    assert (asked.count(CREATE_PERMISSION), asked.count(CHANNEL_BIND)) == (2, 2)
    line.peer_sends(PEER_A, b"too late")
    line.run(1)
    assert line.at_client == []

    line.ladder.clear()
    line.client.send(PEER_A, [b"again"])
    line.run(1)
    line.client.send(PEER_A, [b"and again"])
    line.run(1)
    assert line.story == [
        "--> CreatePermission request",
        "--> ChannelBind request",
        "--> Send indication",
        "<-- CreatePermission success",
        "<-- ChannelBind success",
        "--> ChannelData 0x4000",
    ]
    assert [data for _, data in line.at_peers] == [b"once", b"again", b"and again"]


def test_a_permission_used_again_before_it_ends_goes_on() -> None:
    line = Line()
    line.start()
    line.client.permit(PEER_A[0])
    line.run(290)
    line.client.send(PEER_A, [b"just in time"])
    line.run(20)
    line.peer_sends(PEER_A, b"still welcome")
    line.run(1)
    assert line.at_client == [(PEER_A, b"still welcome")]


def test_a_silent_relay_keeps_the_nat_open() -> None:
    """RFC 8445 §11: something goes to the server every 15 s."""
    line = Line()
    line.start()
    line.ladder.clear()
    line.run(100)
    sent = [time for time, arrow, _ in line.ladder if arrow == "-->"]
    assert [round(time) for time in sent] == [15, 30, 45, 60, 75, 90]
    assert line.client.stats.keepalives == 6
    line.ladder.clear()
    for _ in range(100):
        line.client.send(PEER_A, [b"not silent"])
        line.run(1)
    assert "--> Binding indication" not in line.story


def test_two_hours_of_traffic_with_stale_nonces_and_loss() -> None:
    """RFC 8656 §3.2, RFC 8489 §9.2.5: relays live for days: all is renewed in time, though 5 % are lost."""
    server = TurnServer(SERVER[0], users=USER, nonce_lifetime=600, sha256=True)
    line = Line(server, seed=3)
    line.passes = lambda data, is_ours: data[0] >= 64 or line.random.random() > 0.05
    line.start(3)
    line.client.bind_channel(PEER_A)
    line.run(3)
    for second in range(7200):
        line.client.send(PEER_A, [b"%d" % second])
        if second % 10 == 0:
            line.peer_sends(PEER_A, b"%d" % second)
        line.run(1)
    assert line.client.state is State.ALLOCATED
    assert len(line.at_peers) == 7200
    assert len(line.at_client) == 720
    assert line.client.stats.refreshes == 13
    assert 11 <= line.client.stats.stale_nonces <= 40
    assert line.client.stats.datagrams_sent == 7200
    assert len(line.seen) == 1


# Giving it back


def test_close_gives_the_relay_back() -> None:
    """RFC 8656 §8.1: LIFETIME 0."""
    line = Line()
    line.start()
    line.ladder.clear()
    line.client.close()
    line.client.close()
    line.run(0.1)
    assert line.story == ["--> Refresh request", "<-- Refresh success"]
    assert line.seen[1:] == [Closed()]
    assert line.server.allocations == {}
    assert line.client.state is State.CLOSED
    assert line.client.deadline == float("inf")


def test_an_allocation_that_is_gone_already_is_given_back_too() -> None:
    """RFC 8656 §8.3: 437 to a deletion is as good as success."""
    line = Line()
    line.start()
    line.server.allocations.clear()
    line.client.close()
    line.run(0.1)
    assert line.story[-1] == "<-- Refresh error 437"
    assert line.seen[1:] == [Closed()]


def test_close_while_allocating_takes_back_what_the_server_may_have_given() -> None:
    line = Line()
    line.client.start(line.now)
    line.run(0.025)
    line.client.close()
    line.run(0.1)
    assert line.story[-3:] == ["--> Refresh request", "<-- Allocate success", "<-- Refresh success"]
    assert line.server.allocations == {}
    assert line.seen == [Closed()]


def test_close_before_the_server_knows_us_ends_at_once() -> None:
    line = Line()
    line.client.close()
    assert line.client.take_events() == [Closed()]
    line = Line()
    line.client.start(line.now)
    line.client.close()
    assert line.client.take_events() == [Closed()]
    assert line.client.take_packets(line.now) == []


def test_close_does_not_wait_for_a_dead_server() -> None:
    line = Line(options=Options(timeout=2))
    line.start()
    line.passes = lambda data, is_ours: False
    line.client.close()
    line.run(3)
    assert [event for time, event in line.events if 2 < time < 2.2] == [Closed()]


# Misuse


def test_misuse_raises_at_once() -> None:
    line = Line()
    client = line.client
    client.start(line.now)
    with pytest.raises(InvalidState):
        client.start(line.now)
    for ip in ("", "example.org", "0.0.0.0", "224.0.0.1", "255.255.255.255", "2001:db8::1"):
        with pytest.raises(InvalidParameter):
            client.permit(ip)
    for port in (0, 65536, -1):
        with pytest.raises(InvalidParameter):
            client.bind_channel((PEER_A[0], port))
    for changes in (
        {"server": ("turn.example.org", 3478)},
        {"server": ("192.0.2.1", 0)},
        {"server": ("0.0.0.0", 1)},
        {"transport": "tcp"},
        {"family": 5},
    ):
        with pytest.raises(InvalidParameter):
            Client(**({"server": SERVER, "random_bytes": bytes} | changes))  # type: ignore[arg-type]
    for name, value in (("timeout", 0), ("max_channels", 4097), ("permission_refresh", 301)):
        with pytest.raises(InvalidParameter, match=name):
            Options(**{name: value})
