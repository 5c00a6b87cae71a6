"""What servers, attackers and networks do to a TURN client: each ends in a reason or a counter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_line import CLIENT, PEER_A, PEER_B, SERVER, UNKNOWN, USER, Line, changing

from rtcstack import stun
from rtcstack.stun import Message, MessageClass
from rtcstack.testing.servers import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, TurnServer
from rtcstack.turn import (
    NO_ANSWER,
    Allocated,
    AlternateServer,
    Closed,
    Failed,
    Options,
    PeerRefused,
    State,
)


def failed(line: Line) -> Failed:
    """Return the one event of a client that got no relay."""
    (event,) = line.seen
    assert isinstance(event, Failed)
    assert line.client.state is State.FAILED
    return event


def indication(method: int, **attributes: Any) -> bytes:
    content = {getattr(stun, name): value for name, value in attributes.items()}
    return Message(method, MessageClass.INDICATION, bytes(12), content).write()


# No relay


def test_a_wrong_password_is_told_after_one_try() -> None:
    """RFC 8489 §9.2.5, RFC 8656 §7.4: no request again with the same credentials."""
    line = Line(password="wrong")
    line.start()
    assert line.story == ["--> Allocate request", "<-- Allocate error 401"] * 2
    event = failed(line)
    assert event.code == 401
    assert "password is wrong" in event.reason
    assert line.events[0][0] == 0.04


def test_missing_credentials_are_told() -> None:
    line = Line(username="", password="")
    line.start()
    assert failed(line) == Failed(401, "error 401: the server asks for username and password")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (403, "not allow"),
        (420, "error 420"),
        (437, "another one"),
        (440, "address family"),
        (441, "error 441"),
        (442, "UDP"),
        (486, "in a minute"),
        (500, "error 500"),
        (508, "in a minute"),
    ],
)
@pytest.mark.parametrize("transport", ["udp", "stream"])
def test_each_error_code_is_a_reason(code: int, hint: str, transport: Any) -> None:
    """RFC 8656 §7.4 and §19."""
    line = Line(transport=transport)
    line.server.refusals[ALLOCATE] = code
    line.start()
    event = failed(line)
    assert event.code == code
    assert hint in event.reason
    assert line.client.stats.errors_received == {401: 1, code: 1}
    assert line.client.deadline == float("inf")


def test_a_full_server_and_one_without_ipv6_say_so() -> None:
    line = Line(TurnServer(SERVER[0], users=USER, quota=0))
    line.start()
    assert failed(line).code == 486
    line = Line(family=6)
    line.start()
    assert failed(line).code == 440


def test_a_local_port_with_an_allocation_asks_for_another_port() -> None:
    """RFC 8656 §7.4: 437."""
    line = Line()
    line.start()
    again = Line(line.server, seed=2)
    again.start()
    assert failed(again).code == 437


def test_a_dead_server_is_given_up_in_time() -> None:
    line = Line(options=Options(timeout=3))
    line.passes = lambda data, is_ours: False
    line.start(60)
    assert failed(line) == Failed(NO_ANSWER, "no answer within 3 s")
    assert [time for time, _, _ in line.ladder] == [0, 0.5, 1.5]
    assert line.events[0][0] == 3.0


def test_a_server_that_falls_silent_after_its_challenge_is_given_up() -> None:
    line = Line()
    line.passes = lambda data, is_ours: is_ours or Message.parse(data).get(stun.ERROR_CODE) is not None
    line.start(60)
    assert failed(line).code == NO_ANSWER
    assert line.events[0][0] == 5.0


def test_over_a_stream_nothing_is_sent_twice() -> None:
    """RFC 8489 §6.2.2."""
    line = Line(transport="stream")
    line.passes = lambda data, is_ours: False
    line.start(60)
    assert len(line.ladder) == 1
    assert failed(line).code == NO_ANSWER


# Nonces and realms


def nonce_churn(line: Line, method: int) -> None:
    """Let the server find every nonce stale in requests of that method."""

    def tamper(answer: Message) -> Message:
        if answer.method != method or answer.message_class is not MessageClass.SUCCESS:
            return answer
        line.server.allocations.pop(CLIENT, None) if method == ALLOCATE else None
        content = {stun.ERROR_CODE: (438, "stale"), stun.REALM: "example.org", stun.NONCE: b"another"}
        return Message(answer.method, MessageClass.ERROR, answer.transaction_id, content)

    line.server.tamper = tamper


def test_a_nonce_that_is_always_stale_ends_in_failure() -> None:
    """RFC 8489 §9.2.5: 438 is answered once for each request, not for ever."""
    line = Line()
    # Stale at once, each time.
    line.server.nonce_lifetime = 1e-6
    line.start(60)
    event = failed(line)
    assert event.code == 438
    assert len(line.ladder) == 6
    assert line.client.stats.stale_nonces == 1


def test_a_nonce_that_goes_stale_in_between_is_renewed() -> None:
    line = Line(TurnServer(SERVER[0], users=USER, nonce_lifetime=5))
    line.start()
    for _ in range(50):
        line.client.permit(PEER_A[0])
        line.client.send(PEER_A, [b"x"])
        line.run(13)
    assert line.client.state is State.ALLOCATED
    assert line.client.stats.stale_nonces >= 2


def test_nonce_churn_on_permissions_is_bounded() -> None:
    line = Line()
    line.start()
    nonce_churn(line, CREATE_PERMISSION)
    line.ladder.clear()
    for _ in range(20):
        line.client.send(PEER_A, [b"x"])
        line.run(1)
    assert line.story.count("--> CreatePermission request") == 2
    assert line.seen[1:] == [PeerRefused(PEER_A[0], 438, line.seen[1].reason)]  # type: ignore[union-attr]
    assert line.client.drops.refused_peer == 19


def test_realms_that_change_all_the_time_end_in_failure() -> None:
    line = Line()
    realms = iter(range(100))

    def tamper(answer: Message) -> Message:
        return replace(answer, attributes={**answer.attributes, stun.REALM: f"realm {next(realms)}"})

    line.server.tamper = tamper
    line.start(60)
    assert failed(line).code == 401
    assert line.story.count("--> Allocate request") == 4


def test_401_after_success_fails_the_request_and_no_more() -> None:
    """RFC 8489 §9.2.5: the same credentials are not tried again."""
    line = Line()
    line.start()
    line.server.users = {"George": "changed"}
    line.client.send(PEER_A, [b"x"])
    line.run(1)
    assert line.seen[1:] == [PeerRefused(PEER_A[0], 401, "error 401: username or password is wrong")]
    assert line.client.state is State.ALLOCATED
    line.run(600)
    assert line.seen[2].code == 401  # type: ignore[union-attr]
    assert "does not prolong" in line.seen[2].reason  # type: ignore[union-attr]
    assert line.client.state is State.FAILED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"REALM": None}, "no REALM"),
        ({"NONCE": None}, "no NONCE"),
        ({"REALM": 800 * "r"}, "too long"),
        ({"NONCE": 800 * b"n"}, "too long"),
        ({"NONCE": b"obMatJos2gAAA"}, "taken out"),
        ({"PASSWORD_ALGORITHMS": ((9, b""), (8, b"x"))}, "none of the server's"),
    ],
)
def test_a_challenge_that_cannot_be_answered_is_a_reason(changes: dict[str, Any], reason: str) -> None:
    """RFC 8489 §9.2.5; §9.2.1: the list of algorithms must not vanish."""
    line = Line()

    def tamper(answer: Message) -> Message:
        attributes = dict(answer.attributes)
        for name, value in changes.items():
            attributes.pop(getattr(stun, name), None)
            if value is not None:
                attributes[getattr(stun, name)] = value
        return replace(answer, attributes=attributes)

    line.server.tamper = tamper
    line.start()
    event = failed(line)
    assert event.code == 401
    assert reason in event.reason


@pytest.mark.parametrize("nonce", [b"obMatJos2", b"obMatJos2gA", b"obMatJos2!!!!", b"obMatJos2AAAAx"])
def test_a_nonce_that_only_looks_like_the_cookie_announces_nothing(nonce: bytes) -> None:
    """RFC 8489 §9.2: nine characters and four of base 64."""
    line = Line()
    line.server.nonce = lambda now: nonce  # type: ignore[method-assign]
    line.start()
    assert line.client.state is State.ALLOCATED


def test_sha256_is_not_given_up_for_a_stale_nonce() -> None:
    """RFC 8489 §9.2.1: bid-down."""
    line = Line(TurnServer(SERVER[0], users=USER, sha256=True))
    line.start()
    line.server.sha256 = False
    line.server.nonce_lifetime = 100
    line.client.permit(PEER_A[0])
    line.run(1)
    (refused,) = line.seen[1:]
    assert isinstance(refused, PeerRefused)
    assert "taken out" in refused.reason


def test_an_answer_whose_algorithms_were_taken_out_is_ignored() -> None:
    """RFC 8489 §9.2.5."""
    line = Line()
    line.server.tamper = changing(NONCE=b"obMatJos2gAAA1")
    line.start(60)
    assert failed(line).code == NO_ANSWER
    assert line.client.drops.bid_down > 0


# Integrity


def resigned(key: bytes | None) -> Callable[[bytes], bytes]:
    """Let somebody else sign what the server says."""

    def resign(data: bytes) -> bytes:
        message = Message.parse(data)
        return replace(message, integrity=None).write(key)

    return resign


@pytest.mark.parametrize("key", [None, b"another"])
def test_success_that_is_not_signed_with_our_key_is_not_believed(key: bytes | None) -> None:
    """RFC 8489 §9.2.5: over UDP the request goes on, and the end says why it was in vain."""
    line = Line()
    line.change = resigned(key)
    line.start(60)
    event = failed(line)
    assert event.code == NO_ANSWER
    assert "not signed with our password" in event.reason
    assert line.client.drops.unauthenticated == 4
    assert line.events[0][0] == 5.0


def test_an_unsigned_error_is_not_believed_but_told_at_the_end() -> None:
    """Servers that do not sign their errors are common: what they said is in the reason."""
    line = Line()
    line.server.refusals[ALLOCATE] = 486
    line.change = resigned(None)
    line.start(4)
    assert line.seen == []
    line.run(60)
    event = failed(line)
    assert event.code == 486
    assert "not believed" in event.reason


@pytest.mark.parametrize("code", [0, 486])
def test_over_a_stream_an_unsigned_answer_ends_the_request_at_once(code: int) -> None:
    """RFC 8489 §9.2.5."""
    line = Line(transport="stream")
    if code:
        line.server.refusals[ALLOCATE] = code
    line.change = resigned(None)
    line.start()
    event = failed(line)
    assert event.code == (code or NO_ANSWER)
    assert line.events[0][0] == 0.04


def test_a_forged_answer_does_not_keep_the_real_one_out() -> None:
    line = Line()
    line.change = resigned(b"another")
    line.start(0.3)
    line.change = lambda data: data
    line.run(1)
    assert line.client.state is State.ALLOCATED
    assert line.client.drops.unauthenticated == 1


def test_an_unsigned_400_is_not_believed() -> None:
    """RFC 8489 §9.2.5."""
    line = Line(TurnServer(SERVER[0]))
    line.server.refusals[ALLOCATE] = 400
    line.start(1)
    assert line.seen == []
    line.server.refusals.clear()
    line.run(1)
    assert line.client.state is State.ALLOCATED


def test_sha256_is_not_answered_with_sha1() -> None:
    """RFC 8489 §9.2.1."""
    line = Line(TurnServer(SERVER[0], users=USER, sha256=True))
    key = hashlib.sha256(b"George:example.org:secret").digest()
    line.change = resigned(key)
    line.start(2)
    assert line.client.state is State.ALLOCATING
    assert line.client.drops.unauthenticated == 3


def test_an_answer_with_unknown_attributes_fails_its_request() -> None:
    """RFC 8489 §6.3.3."""
    line = Line()
    line.server.tamper = lambda answer: replace(answer, attributes={**answer.attributes, UNKNOWN: b"x"})
    line.server.users = None
    line.start()
    assert failed(line) == Failed(NO_ANSWER, "answer with unknown attributes 0x7f55")


def test_a_refresh_answered_with_nonsense_is_not_repeated_without_pause() -> None:
    line = Line()
    line.start()
    line.server.tamper = lambda answer: replace(answer, attributes={UNKNOWN: b"x"})
    line.run(700)
    refreshes = [time for time, method in line.server.requests if method == REFRESH]
    assert len(refreshes) == 12
    assert line.client.state is State.FAILED


def test_an_error_without_a_code_is_a_failure() -> None:
    line = Line(TurnServer(SERVER[0]))
    line.server.refusals[ALLOCATE] = 403
    line.server.tamper = lambda answer: replace(answer, attributes={})
    line.start()
    assert failed(line) == Failed(NO_ANSWER, "error answer without a code")


# What it is told


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"XOR_RELAYED_ADDRESS": None}, "XOR-RELAYED-ADDRESS is missing"),
        ({"XOR_RELAYED_ADDRESS": ("0.0.0.0", 5000)}, "no address of a host"),
        ({"XOR_RELAYED_ADDRESS": ("192.0.2.15", 0)}, "no address of a host"),
        ({"XOR_RELAYED_ADDRESS": ("224.0.0.1", 5000)}, "no address of a host"),
        ({"XOR_RELAYED_ADDRESS": ("2001:db8::1", 5000)}, "not IPv4"),
        ({"XOR_MAPPED_ADDRESS": None}, "XOR-MAPPED-ADDRESS is missing"),
        ({"XOR_MAPPED_ADDRESS": ("0.0.0.0", 5000)}, "no address of a host"),
    ],
)
def test_a_relay_of_no_use_is_given_back(changes: dict[str, Any], reason: str) -> None:
    """RFC 8656 §7.3: the client deletes it and fails."""
    line = Line()
    line.server.tamper = changing(**changes)
    line.start()
    event = failed(line)
    assert event.code == NO_ANSWER
    assert reason in event.reason
    assert line.story[-2:] == ["--> Refresh request", "<-- Refresh success"]
    assert line.server.allocations == {}


@pytest.mark.parametrize(
    ("told", "taken", "refreshed"),
    [(0, 10, 8.4), (30, 30, 25), (600, 600, 540), (None, 600, 540), (2**32 - 1, 3600, 3540)],
)
def test_lifetimes_are_taken_within_bounds(told: int | None, taken: float, refreshed: float) -> None:
    """RFC 8656 §7.3 and §8; 600 is the default."""
    line = Line()
    line.server.lifetime = 100_000
    line.server.tamper = changing(LIFETIME=told)
    line.start()
    assert line.seen == [Allocated(("192.0.2.15", 49152), CLIENT, taken)]
    line.run(4000)
    first = next(time for time, method in line.server.requests if method == REFRESH) - 1000
    assert first == pytest.approx(refreshed, abs=0.1)


def test_a_server_that_stops_prolonging_loses_the_relay_at_its_end() -> None:
    line = Line()
    line.start()
    line.passes = lambda data, is_ours: False
    line.ladder.clear()
    line.run(700)
    (event,) = line.seen[1:]
    assert event == Failed(
        NO_ANSWER, "the relay has expired: the server did not answer when asked to prolong it"
    )
    assert line.events[1][0] == pytest.approx(600, abs=0.1)
    # One transaction of 39.5 s, a pause, and the beginning of another.
    assert line.story.count(" x  Refresh request") == 12


def test_a_restarted_server_is_noticed_with_the_next_request() -> None:
    """RFC 8656 §5: 437 to anything but Allocate means that there is no allocation."""
    line = Line()
    line.start()
    line.server.allocations.clear()
    line.client.permit(PEER_A[0])
    line.run(1)
    assert line.seen[1:] == [Failed(437, "the server no longer has the relay: error 437")]
    line = Line()
    line.start()
    line.server.allocations.clear()
    line.run(600)
    assert line.seen[1:] == [Failed(437, "the server does not prolong the relay: error 437")]


def test_a_400_for_a_permission_asks_whether_the_relay_is_still_there() -> None:
    """RFC 8656 §12.3: coturn answers so after a restart."""
    line = Line()
    line.start()
    line.server.refusals[CREATE_PERMISSION] = 400
    line.client.permit(PEER_A[0])
    line.run(1)
    assert line.seen[1:] == [PeerRefused(PEER_A[0], 400, "error 400")]
    assert line.client.stats.refreshes == 1
    assert line.client.state is State.ALLOCATED
    line.server.allocations.clear()
    line.client.permit(PEER_B[0])
    line.run(1)
    assert line.seen[3:] == [Failed(437, "the server does not prolong the relay: error 437")]


def test_a_lost_connection_is_the_end() -> None:
    line = Line(transport="stream")
    line.start()
    line.client.connection_lost("reset by peer")
    line.client.connection_lost("twice")
    assert line.client.take_events() == [Failed(NO_ANSWER, "reset by peer")]
    line = Line(transport="stream")
    line.start()
    line.client.close()
    line.client.connection_lost("reset by peer")
    assert line.client.take_events() == [Closed()]


# Another server


def test_an_alternate_server_is_followed_once() -> None:
    """RFC 8489 §10: the same credentials, whatever its realm."""
    other = TurnServer("192.0.2.16", users=USER, realm="other.example")
    line = Line(TurnServer(SERVER[0], users=USER, alternate=("192.0.2.16", 3478)))
    line.start()
    assert line.seen == [AlternateServer(("192.0.2.16", 3478), None)]
    assert line.client.state is State.REDIRECTED
    assert line.client.deadline == float("inf")
    line = Line(other, redirected=True)
    line.start()
    assert line.seen == [Allocated(("192.0.2.16", 49152), CLIENT, 600)]


def test_a_redirection_before_authentication_and_its_domain_are_taken() -> None:
    """RFC 8489 §10: the answer may be unsigned; ALTERNATE-DOMAIN is whose certificate to expect."""
    line = Line(TurnServer(SERVER[0], alternate=("192.0.2.16", 5349)))
    line.server.tamper = lambda answer: replace(
        answer, attributes={**answer.attributes, stun.ALTERNATE_DOMAIN: "turn.example"}
    )
    line.start()
    assert line.seen == [AlternateServer(("192.0.2.16", 5349), "turn.example")]


@pytest.mark.parametrize(
    ("alternate", "redirected", "reason"),
    [
        (("192.0.2.16", 3478), True, "sends us on"),
        (SERVER, False, "to itself"),
        (("0.0.0.0", 3478), False, "no address of a host"),
        (("192.0.2.16", 0), False, "no address of a host"),
        (("2001:db8::1", 3478), False, "not IPv4"),
    ],
)
def test_a_redirection_that_leads_nowhere_is_not_followed(
    alternate: stun.Address, redirected: bool, reason: str
) -> None:
    line = Line(TurnServer(SERVER[0], alternate=alternate), redirected=redirected)
    line.start()
    event = failed(line)
    assert event.code == 300
    assert reason in event.reason


def test_a_redirection_without_address_fails() -> None:
    line = Line()
    line.server.refusals[ALLOCATE] = 300
    line.start()
    assert failed(line) == Failed(300, "ALTERNATE-SERVER is missing")


# Peers


def test_a_refused_peer_is_reported_and_left_alone_for_a_while() -> None:
    """RFC 8656 §10.2: 403."""
    line = Line()
    line.start()
    line.server.refusals[CREATE_PERMISSION] = 403
    for _ in range(10):
        line.client.send(PEER_A, [b"x"])
        line.run(1)
    assert line.seen[1:] == [PeerRefused(PEER_A[0], 403, "error 403")]
    assert line.client.drops.refused_peer == 9
    line.server.refusals.clear()
    line.run(30)
    line.client.send(PEER_A, [b"y"])
    line.run(1)
    assert line.at_peers == [(PEER_A, b"y")]


@pytest.mark.parametrize("code", [400, 403, 486, 508])
def test_without_a_channel_data_goes_on_as_indications(code: int) -> None:
    """RFC 8656 §12.3."""
    line = Line()
    line.start()
    line.server.refusals[CHANNEL_BIND] = code
    line.client.bind_channel(PEER_A)
    line.run(1)
    line.client.send(PEER_A, [b"x"])
    line.run(1)
    assert line.at_peers == [(PEER_A, b"x")]
    assert line.client.state is State.ALLOCATED
    line.server.refusals.clear()
    line.run(40)
    line.client.send(PEER_A, [b"y"])
    line.run(1)
    line.client.send(PEER_A, [b"z"])
    line.run(1)
    assert line.story[-1] == "--> ChannelData 0x4000"


def test_a_permission_that_nobody_answers_for_is_given_up() -> None:
    line = Line()
    line.start()
    line.passes = lambda data, is_ours: False
    line.client.permit(PEER_A[0])
    line.run(45)
    assert line.seen[1:] == [PeerRefused(PEER_A[0], NO_ANSWER, "no answer")]


def test_a_renewal_that_nobody_answers_is_tried_again_in_time() -> None:
    line = Line()
    line.start()
    line.client.permit(PEER_A[0])
    line.run(1)
    line.client.send(PEER_A, [b"x"])
    line.run(238)
    line.passes = lambda data, is_ours: Message.parse(data).method != CREATE_PERMISSION
    line.run(45)
    line.passes = lambda data, is_ours: True
    line.run(20)
    line.peer_sends(PEER_A, b"still here")
    line.run(1)
    assert line.at_client == [(PEER_A, b"still here")]


def test_data_without_permission_is_dropped() -> None:
    """RFC 8656 §11.4 and §12.6: a server may have been tricked."""
    line = Line()
    line.start()
    client = line.client
    client.bind_channel(PEER_A)
    line.run(0.1)
    client.receive([indication(7, XOR_PEER_ADDRESS=PEER_B, DATA=b"x")], line.now)
    client.receive([b"\x40\x01\0\1x", b"\x40\x01\0\1x"], line.now)
    assert client.take_data() == []
    assert (client.drops.no_permission, client.drops.unknown_channel) == (1, 2)
    # The permission ends after 300 s, the channel after 600.
    later = line.now + 301
    client.handle_timeout(later)
    client.receive([b"\x40\0\0\1x"], later)
    assert client.take_data() == []
    assert client.drops.no_permission == 2


def test_data_of_a_refused_peer_is_dropped() -> None:
    line = Line()
    line.start()
    line.server.refusals[CREATE_PERMISSION] = 403
    line.client.permit(PEER_A[0])
    line.run(1)
    line.client.receive([indication(7, XOR_PEER_ADDRESS=PEER_A, DATA=b"x")], line.now)
    assert line.client.drops.no_permission == 1


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "malformed"),
        (b"\x40\0\0\5abcd", "malformed"),
        (b"\x50\0\0\1a", "malformed"),
        (b"\x16\xfe\xfd\0", "malformed"),
        (bytes(20), "malformed"),
        (indication(7, DATA=b"x"), "malformed_indication"),
        (indication(7, XOR_PEER_ADDRESS=PEER_A), "malformed_indication"),
        (
            Message(
                7,
                MessageClass.INDICATION,
                bytes(12),
                {stun.XOR_PEER_ADDRESS: PEER_A, stun.DATA: b"x", UNKNOWN: b""},
            ).write(),
            "malformed_indication",
        ),
        (indication(6, XOR_PEER_ADDRESS=PEER_A, DATA=b"x"), "unexpected"),
        (indication(1), "unexpected"),
        (Message(1, MessageClass.REQUEST, bytes(12), {}).write(), "unexpected"),
        (Message(3, MessageClass.SUCCESS, bytes(12), {}).write(), "unknown_transaction"),
    ],
)
def test_what_makes_no_sense_is_counted(data: bytes, counter: str) -> None:
    line = Line()
    line.start()
    line.client.permit(PEER_A[0])
    line.run(1)
    line.client.receive([data], line.now)
    assert getattr(line.client.drops, counter) == 1
    assert line.client.take_data() == []


def test_an_icmp_report_is_counted() -> None:
    """RFC 8656 §11.6."""
    line = Line()
    line.start()
    line.client.receive([indication(7, XOR_PEER_ADDRESS=PEER_A, ICMP=(3, 3, 0))], line.now)
    assert line.client.stats.icmp_errors == 1


# Bounds


def test_everything_kept_is_bounded() -> None:
    line = Line(options=Options(max_permissions=3, max_channels=2, max_queued=10))
    line.start()
    client = line.client
    for number in range(5):
        client.permit(f"192.0.2.{number + 1}")
    assert client.drops.permission_overflow == 2
    client.send(("192.0.2.200", 1), [b"x"])
    assert client.drops.permission_overflow == 3
    for port in range(1, 5):
        client.bind_channel(("192.0.2.1", port))
    assert client.drops.channel_overflow == 2
    line.run(1)
    client.send(("192.0.2.1", 1), 8 * [b"x"])
    client.send(("192.0.2.1", 1), 3 * [b"x"])
    assert client.drops.send_overflow == 3
    client.receive(8 * [b"\x40\0\0\1x"], line.now)
    client.receive(3 * [b"\x40\0\0\1x"], line.now)
    assert client.drops.receive_overflow == 3
    assert client.take_data() == [(("192.0.2.1", 1), 8 * [b"x"])]
    client.receive(3 * [b"\x40\0\0\1x"], line.now)
    assert client.drops.receive_overflow == 3


def test_sending_without_a_relay_is_counted() -> None:
    line = Line()
    line.client.send(PEER_A, [b"x", b"y"])
    line.start()
    line.client.close()
    line.client.send(PEER_A, [b"x"])
    assert line.client.drops.not_allocated == 3


# Streams and garbage


def test_a_whole_life_over_a_stream_that_is_cut_anywhere() -> None:
    """RFC 8656 §12.5: padding, no retransmission, no keepalive."""
    line = Line(transport="stream", seed=5)
    line.start()
    line.client.bind_channel(PEER_A)
    line.run(1)
    sent = [bytes(size) for size in range(60)]
    for data in sent:
        line.client.send(PEER_A, [data])
        line.peer_sends(PEER_A, data)
        line.run(20)
    assert line.at_peers == [(PEER_A, data) for data in sent]
    assert line.at_client == line.at_peers
    assert line.client.stats.keepalives == 0
    line.client.close()
    line.run(1)
    assert line.seen[1:] == [Closed()]


def test_a_stream_out_of_step_is_the_end() -> None:
    line = Line(transport="stream")
    line.start()
    line.client.receive([b"\xff\xff\xff\xff"], line.now)
    line.client.receive([b"\xff\xff\xff\xff"], line.now)
    (event,) = line.client.take_events()
    assert isinstance(event, Failed)
    assert "out of step" in event.reason


def record(of_server: Callable[[], TurnServer], transport: Any) -> list[bytes]:
    """Return all that a server says in a short life."""
    line = Line(of_server(), transport=transport)
    said: list[bytes] = []
    line.passes = lambda data, is_ours: is_ours or said.append(data) is None
    line.start()
    line.client.bind_channel(PEER_A)
    line.client.permit(PEER_B[0])
    line.run(1)
    line.peer_sends(PEER_A, b"12345")
    line.peer_sends(PEER_B, b"12345")
    line.run(1)
    line.client.close()
    line.run(1)
    return said


@pytest.mark.parametrize("transport", ["udp", "stream"])
def test_every_truncation_of_every_answer_does_no_harm(transport: Any) -> None:
    for data in record(lambda: TurnServer(SERVER[0], users=USER, sha256=True), transport):
        for size in range(len(data)):
            line = Line(TurnServer(SERVER[0], users=USER, sha256=True), transport=transport)
            line.start(0.02)
            line.client.receive([data[:size]], line.now)
            line.client.take_packets(line.now)
            line.client.take_data()


@settings(max_examples=150)
@given(
    pieces=st.lists(st.binary(max_size=60), max_size=6),
    transport=st.sampled_from(["udp", "stream"]),
    at=st.sampled_from([0.0, 0.015, 0.035, 0.1]),
    bits=st.lists(st.integers(0, 4000), max_size=4),
)
def test_garbage_raises_nothing(pieces: list[bytes], transport: Any, at: float, bits: list[int]) -> None:
    """Random bytes, and the server's own words with some bits turned."""
    line = Line(transport=transport)

    def damage(data: bytes, is_ours: bool) -> bool:
        if not is_ours and bits:
            damaged = bytearray(data)
            for bit in bits:
                damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
            line.client.receive([bytes(damaged)], line.now)
        return True

    line.passes = damage
    line.start(at)
    line.client.permit(PEER_A[0])
    line.client.receive(pieces, line.now)
    line.run(1)
    for first in (b"\x40\0", b"\0\x17"):
        line.client.receive([first + piece for piece in pieces], line.now)
    line.run(10)
