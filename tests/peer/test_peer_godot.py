"""Row by row: what Godot's classes do with each call, in each state, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peer_support import CHAT, Two, record, take_all

from rtcstack import DataChannel, Error, PeerConnection, RTCError, poll, wait_until_open
from rtcstack.testing import VirtualNetwork

OK, FAILED = Error.OK, Error.FAILED
CANDIDATE = "candidate:1 1 UDP 2114977791 192.0.2.2 33950 typ host"


def code_of(call: Callable[[], object]) -> Error:
    """Return what Godot would: the answer, or the code of what was raised."""
    try:
        answer = call()
    except RTCError as error:
        return error.code
    assert isinstance(answer, Error)
    return answer


# -- WebRTCPeerConnection ------------------------------------------------------------------------------------


def test_an_offer_is_made_once_and_needs_a_channel() -> None:
    peer = PeerConnection()
    assert code_of(peer.create_offer) is FAILED
    peer.create_data_channel("chat", CHAT)
    signals = record(peer)
    assert code_of(peer.create_offer) is OK
    assert peer.get_connection_state() == peer.STATE_CONNECTING  # before the call returns
    assert signals == []  # they come from poll()
    assert code_of(peer.create_offer) is FAILED
    peer.poll()
    assert [name for name, *_ in signals].count("session_description_created") == 1
    peer.close()
    assert code_of(peer.create_offer) is FAILED


def test_an_offer_is_answered_inside_the_call_and_the_signal_waits_for_poll() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    signals = record(two.b)
    assert code_of(lambda: two.b.set_remote_description("offer", two.a.get_local_description())) is OK
    assert two.b.get_connection_state() == two.b.STATE_CONNECTING
    assert two.b.get_signaling_state() == two.b.SIGNALING_STATE_STABLE
    assert signals == []
    two.b.poll()
    names = [name for name, *_ in signals]
    assert names.index("session_description_created") < names.index("ice_candidate_created")
    description = next(arguments for name, *arguments in signals if name == "session_description_created")
    assert description[0] == "answer"
    assert "a=setup:active" in description[1]


def test_a_second_offer_before_the_connection_is_up_makes_a_second_answer_with_candidates() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    offer = two.a.get_local_description()
    two.b.set_remote_description("offer", offer)
    assert code_of(lambda: two.b.set_remote_description("offer", offer)) is OK
    answer = two.b.get_local_description()
    assert "a=candidate:" in answer
    assert "a=end-of-candidates" in answer
    two.a.set_remote_description("answer", answer)
    assert wait_until_open(two.both, 5)


@pytest.mark.parametrize("attribute", ["ice-ufrag", "ice-pwd", "fingerprint"])
def test_an_incomplete_description_fails(attribute: str) -> None:
    two = Two(wired=False)
    two.a.create_offer()
    bad = two.a.get_local_description().replace(f"a={attribute}:", "a=gone:")
    assert code_of(lambda: two.b.set_remote_description("offer", bad)) is FAILED
    assert two.b.get_connection_state() == two.b.STATE_NEW


def test_an_answer_needs_our_offer_and_a_role() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    two.b.set_remote_description("offer", two.a.get_local_description())
    answer = two.b.get_local_description()
    undecided = answer.replace("a=setup:active", "a=setup:actpass")
    assert code_of(lambda: two.a.set_remote_description("answer", undecided)) is FAILED
    assert code_of(lambda: two.a.set_remote_description("answer", answer)) is OK
    assert code_of(lambda: two.a.set_remote_description("answer", answer)) is FAILED


def test_the_local_description_is_confirmed_with_or_without_its_candidates() -> None:
    two = Two()
    two.a.create_offer()
    for text in (two.a.get_local_description(), two.a.get_local_description().split("a=candidate")[0]):
        assert code_of(lambda text=text: two.a.set_local_description("offer", text)) is OK


@pytest.mark.parametrize(
    ("media", "name", "code"),
    [
        ("0", CANDIDATE, OK),
        ("0", f"a={CANDIDATE}", OK),
        ("0", f"{CANDIDATE} generation 0 ufrag abcd network-id 1 network-cost 10", OK),
        ("0", "candidate:1 1 TCP 2105458943 192.0.2.2 9 typ host tcptype active", OK),
        ("wrong", CANDIDATE, OK),
        ("", CANDIDATE, OK),
        ("0", "", OK),
        ("0", "candidate:", OK),
        ("0", "this is no candidate", FAILED),
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_candidates(early: bool, media: str, name: str, code: Error) -> None:
    two = Two(wired=False)
    if not early:
        two.a.create_offer()
        two.b.set_remote_description("offer", two.a.get_local_description())
    assert code_of(lambda: two.b.add_ice_candidate(media, 0, name)) is code


def test_closing_is_idempotent_and_nothing_comes_after_it() -> None:
    peer = PeerConnection()
    channel = peer.create_data_channel("chat", CHAT)
    ends: list[str] = []
    channel.closed.connect(ends.append)
    peer.create_offer()
    for _ in range(2):
        peer.close()
        assert peer.get_connection_state() == peer.STATE_CLOSED
        assert channel.get_ready_state() == channel.STATE_CLOSED
        peer.poll()
    assert ends == ["closed by this side"]
    assert code_of(peer.poll) is OK


def test_a_connection_is_used_again_after_initialize() -> None:
    two = Two().connected()
    ends: list[str] = []
    two.chat_a.closed.connect(ends.append)
    two.a.initialize()
    assert two.a.get_connection_state() == two.a.STATE_NEW
    assert two.chat_a.get_ready_state() == DataChannel.STATE_CLOSED
    two.a.poll()
    assert ends == ["initialize() was called"]
    assert two.run(lambda: two.b.get_connection_state() == two.b.STATE_CLOSED)
    two.b.initialize()
    two.chat_a, two.chat_b = (peer.create_data_channel("chat", CHAT) for peer in two.both)
    assert two.connected()


@pytest.mark.parametrize(
    "ending", ["close", "abort", "close by the peer", "abort by the peer", "silence", "initialize"]
)
def test_whatever_ends_a_connection_is_told_once_with_its_cause(ending: str) -> None:
    two = Two().connected()
    extra = two.a.create_data_channel("in band")
    two.run(lambda: False, limit=1)
    ends: list[tuple[str, str]] = []
    for name, channel in (("chat", two.chat_a), ("in band", extra)):
        channel.closed.connect(lambda reason, name=name: ends.append((name, reason)))
    signals = record(two.a)
    match ending:
        case "close" | "abort" | "initialize":
            getattr(two.a, ending)()
        case "silence":
            two.network.change(loss=1.0)
        case _:
            getattr(two.b, ending.split()[0])()
    two.run(lambda: len(ends) == 2, limit=150)
    two.run(lambda: False, limit=10)
    assert sorted(name for name, _ in ends) == ["chat", "in band"]
    assert all(reason for _, reason in ends)
    final = [
        state for name, state in [signal[:2] for signal in signals] if name == "connection_state_changed"
    ]
    over = [state for state in final if state >= PeerConnection.STATE_FAILED]
    if ending != "initialize":
        assert len(over) == len(set(over)) >= 1
        assert two.a.get_failure_reason()


# -- wait_until_open() ---------------------------------------------------------------------------------------


def test_waiting_until_everything_is_open() -> None:
    two = Two()
    assert not wait_until_open(two.both, 0.5)
    two.a.create_offer()
    assert wait_until_open(two.both, 5)
    assert two.chat_a.get_ready_state() == two.chat_b.get_ready_state() == DataChannel.STATE_OPEN
    before = two.network.now
    assert wait_until_open(two.both, 5)
    assert two.network.now == before


def test_waiting_ends_with_the_connection() -> None:
    two = Two().connected()
    two.b.abort()
    before = two.network.now
    assert not two.a.wait_until_open(60) or two.run(lambda: two.a.get_failure_reason())
    assert not two.a.wait_until_open(60)
    assert two.network.now - before < 5
    assert two.a.get_failure_reason()


def test_waiting_for_a_silent_peer_takes_no_longer_than_told() -> None:
    network = VirtualNetwork(seed=1)
    peer = PeerConnection(network=network.host("a"))
    peer.create_data_channel("chat")
    peer.create_offer()
    assert not peer.wait_until_open(3)
    assert network.now == pytest.approx(3)


# -- WebRTCDataChannel ---------------------------------------------------------------------------------------


def test_what_a_channel_says_before_it_is_open() -> None:
    peer = PeerConnection()
    channel = peer.create_data_channel("chat")
    assert channel.get_id() == channel.get_max_retransmits() == channel.get_max_packet_life_time() == 65535
    assert not channel.is_negotiated()
    assert peer.create_data_channel("other", CHAT).is_negotiated()
    assert code_of(lambda: channel.put_packet(b"x")) is FAILED
    assert code_of(lambda: channel.get_packet()) is Error.ERR_UNAVAILABLE  # type: ignore[arg-type,return-value]
    assert channel.get_packet_error() is Error.ERR_UNAVAILABLE
    assert code_of(channel.poll) is OK


def test_packets_left_when_a_channel_closes_can_still_be_read() -> None:
    two = Two().connected()
    for payload in (b"one", b"", b"three"):
        two.chat_a.put_packet(payload)
    two.a.close()
    assert two.run(lambda: two.chat_b.get_ready_state() == DataChannel.STATE_CLOSED)
    assert take_all(two.chat_b) == [b"one", b"", b"three"]
    assert code_of(lambda: two.chat_b.put_packet(b"x")) is FAILED


@pytest.mark.parametrize(("size", "code"), [(262144, OK), (262145, Error.ERR_OUT_OF_MEMORY)])
def test_the_largest_message(size: int, code: Error) -> None:
    two = Two().connected()
    assert code_of(lambda: two.chat_a.put_packet(bytes(size))) is code
    two.chat_a.put_packet(b"next")
    expected = [size, 4] if code is OK else [4]
    assert two.run(lambda: two.chat_b.get_available_packet_count() == len(expected))
    assert [len(packet) for packet in take_all(two.chat_b)] == expected


def test_text_goes_through_as_it_is() -> None:
    """The plugin loses what follows a NUL, and sends what is no UTF-8."""
    two = Two().connected()
    two.chat_a.write_mode = DataChannel.WRITE_MODE_TEXT
    two.chat_a.put_packet(b"a\0b")
    assert two.run(two.chat_b.get_available_packet_count)
    assert two.chat_b.get_packet() == b"a\0b"
    assert two.chat_b.was_string_packet()
    assert code_of(lambda: two.chat_a.put_packet(b"\xff\xfe")) is Error.ERR_INVALID_PARAMETER


def test_channels_may_be_created_in_every_state() -> None:
    two = Two()
    two.a.create_offer()
    two.a.create_data_channel("while connecting")
    assert wait_until_open(two.both, 5)
    late = two.a.create_data_channel("late", {"id": 7, "negotiated": True})
    assert late.get_ready_state() == DataChannel.STATE_OPEN
    assert two.a.create_data_channel("later").get_id() != 65535
    two.a.close()
    with pytest.raises(RTCError):
        two.a.create_data_channel("too late")


@pytest.mark.parametrize(("timeout", "in_time"), [(5.0, True), (0.05, False)])
def test_a_close_delivers_what_was_sent_unless_the_time_is_over(timeout: float, in_time: bool) -> None:
    two = Two({"close_timeout": timeout}, delay=0.1).connected()
    for _ in range(40):
        two.chat_a.put_packet(bytes(1000))
    two.a.close()
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_CLOSED, limit=6)
    two.run(lambda: False, limit=1)
    assert (len(take_all(two.chat_b)) == 40) is in_time
    assert ("in time" in two.a.get_failure_reason()) is not in_time


# -- dictionaries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        ({}, OK),
        ({"iceServers": "no list"}, OK),
        ({"iceServers": []}, OK),
        ({"iceServers": [{"urls": "stun:example.org"}]}, OK),
        ({"iceServers": [{"urls": ["stun:example.org", "TURN:example.org"]}]}, OK),
        ({"iceServers": ["stun:example.org"]}, Error.ERR_INVALID_PARAMETER),
        ({"iceServers": [{"username": "nobody"}]}, FAILED),
        ({"iceServers": [{"urls": 7}]}, FAILED),
        (
            {
                "libdatachannel": {
                    "mtu": 1280,
                    "enableIceTcp": True,
                    "portRangeBegin": 5000,
                    "portRangeEnd": 5999,
                }
            },
            OK,
        ),
    ],
)
def test_initialize(configuration: dict[str, Any], code: Error) -> None:
    assert code_of(lambda: PeerConnection().initialize(configuration)) is code


def test_servers_that_are_no_list_are_none_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    PeerConnection({"iceServers": "stun:example.org"})
    assert "iceServers 'stun:example.org' is no list" in caplog.text


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({}, True),
        ({"negotiated": True, "id": 3}, True),
        ({"negotiated": True}, False),
        ({"id": 3}, False),
        ({"negotiated": False, "id": 3}, False),
        ({"maxRetransmits": 1, "maxPacketLifeTime": 1}, False),
        ({"maxPacketLifetime": 100}, True),
        ({"ordered": False}, True),
        ({"negotiated": True, "id": 1023}, True),
        ({"negotiated": True, "id": 1024}, True),
        ({"negotiated": True, "id": 65535}, False),
    ],
)
def test_channel_options(options: dict[str, Any], fits: bool) -> None:
    peer = PeerConnection()
    if fits:
        assert isinstance(peer.create_data_channel("chat", options), DataChannel)
    else:
        assert code_of(lambda: peer.create_data_channel("chat", options)) is Error.ERR_INVALID_PARAMETER  # type: ignore[arg-type,return-value]


def test_several_connections_are_polled_together() -> None:
    calls = [Two(wired=True) for _ in range(2)]
    for call in calls:
        call.a.create_offer()
        assert wait_until_open(call.both, 5)
        poll(call.both)
