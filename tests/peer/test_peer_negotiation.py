"""Offers, answers and candidates through the public API: Godot's order, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from peer_support import CHAT, Two, record

from rtcstack import Closed, Error, InvalidParameter, InvalidState, PeerConnection, RTCError, SdpError
from rtcstack.testing import VirtualNetwork


def names(signals: list[tuple[object, ...]]) -> list[object]:
    return [signal[0] for signal in signals]


def test_a_connection_is_usable_right_after_construction() -> None:
    peer = PeerConnection()
    assert peer.get_connection_state() == peer.STATE_NEW == 0
    assert peer.get_gathering_state() == peer.GATHERING_STATE_NEW == 0
    assert peer.get_signaling_state() == peer.SIGNALING_STATE_STABLE == 0
    assert peer.create_data_channel("x").get_id() == 65535
    assert peer.poll() == Error.OK


def test_after_create_offer_the_states_are_those_of_godot() -> None:
    """The engine reads CONNECTING, COMPLETE, HAVE_LOCAL_OFFER before the next poll."""
    two = Two()
    assert two.a.create_offer() == Error.OK
    assert two.a.get_connection_state() == PeerConnection.STATE_CONNECTING
    assert two.a.get_gathering_state() == PeerConnection.GATHERING_STATE_COMPLETE
    assert two.a.get_signaling_state() == PeerConnection.SIGNALING_STATE_HAVE_LOCAL_OFFER


def test_signals_come_from_poll_only_and_the_description_first() -> None:
    two = Two(wired=False)
    signals = record(two.a)
    two.a.create_offer()
    assert signals == []
    two.a.poll()
    assert names(signals)[0] == "session_description_created"
    assert signals[0][1] == "offer"
    candidates = [signal for signal in signals if signal[0] == "ice_candidate_created"]
    assert [signal[1:3] for signal in candidates] == [("0", 0)]
    assert candidates[0][3].startswith("candidate:")


def test_the_emitted_offer_has_no_candidates_and_the_local_description_has_all() -> None:
    two = Two(wired=False)
    signals = record(two.a)
    two.a.create_offer()
    two.a.poll()
    assert "a=candidate" not in signals[0][2]
    assert "a=candidate" in two.a.get_local_description()
    assert "a=end-of-candidates" in two.a.get_local_description()


def test_an_offer_without_a_channel_is_refused() -> None:
    with pytest.raises(InvalidState, match="create a data channel") as caught:
        PeerConnection().create_offer()
    assert caught.value.code == Error.FAILED


def test_a_second_offer_is_refused_while_the_first_is_pending() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    with pytest.raises(InvalidState):
        two.a.create_offer()


def test_a_pending_offer_can_be_rolled_back_and_made_again() -> None:
    two = Two(wired=False)
    signals = record(two.a)
    two.a.create_offer()
    two.a.set_local_description("rollback", "")
    assert two.a.get_signaling_state() == PeerConnection.SIGNALING_STATE_STABLE
    two.a.create_offer()
    two.a.poll()
    assert names(signals).count("session_description_created") == 2


def test_full_descriptions_connect_without_trickling() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    two.b.set_remote_description("offer", two.a.get_local_description())
    two.a.set_remote_description("answer", two.b.get_local_description())
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_a.STATE_OPEN)


def test_candidates_before_the_description_are_kept() -> None:
    two = Two(wired=False)
    offers, candidates = [], []
    two.a.session_description_created.connect(lambda kind, sdp: offers.append(sdp))
    two.a.ice_candidate_created.connect(lambda *candidate: candidates.append(candidate))
    two.b.session_description_created.connect(two.a.set_remote_description)
    two.a.create_offer()
    two.a.poll()
    for candidate in candidates:
        two.b.add_ice_candidate(*candidate)
    two.b.set_remote_description("offer", offers[0])
    assert two.run(lambda: two.chat_b.get_ready_state() == two.chat_b.STATE_OPEN)


@pytest.mark.parametrize("prefix", ["", "a="], ids=["plain", "with a="])
def test_candidates_are_read_with_either_prefix(prefix: str) -> None:
    two = Two()
    two.b.add_ice_candidate(
        "", 7, f"{prefix}candidate:1 1 UDP 2130706431 10.9.9.9 4444 typ host generation 0"
    )
    two.b.add_ice_candidate("0", 0, "")
    assert two.connected()


@pytest.mark.parametrize("line", ["nonsense", "candidate:1 1 udp x 10.0.0.1 1 typ host", "candidate:1"])
def test_a_line_that_is_no_candidate_is_refused(line: str) -> None:
    two = Two()
    with pytest.raises(SdpError) as caught:
        two.b.add_ice_candidate("0", 0, line)
    assert caught.value.code == Error.FAILED
    assert two.connected()


@pytest.mark.parametrize("sdp", ["", "junk", "v=0\r\n", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"])
def test_a_bad_description_is_refused_and_changes_nothing(sdp: str) -> None:
    two = Two()
    with pytest.raises(SdpError):
        two.b.set_remote_description("offer", sdp)
    assert two.b.get_signaling_state() == PeerConnection.SIGNALING_STATE_STABLE
    assert two.b.get_connection_state() == PeerConnection.STATE_NEW
    assert two.connected()


def test_an_answer_without_an_offer_is_refused() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    two.b.set_remote_description("offer", two.a.get_local_description())
    answer = two.b.get_local_description()
    other = PeerConnection(network=VirtualNetwork().host("c"))
    with pytest.raises(InvalidState):
        other.set_remote_description("answer", answer)
    two.a.set_remote_description("answer", answer)
    with pytest.raises(InvalidState):  # a second one
        two.a.set_remote_description("answer", answer)
    assert two.a.get_signaling_state() == PeerConnection.SIGNALING_STATE_STABLE


def test_an_unknown_type_is_refused() -> None:
    two = Two(wired=False)
    for method in (two.a.set_remote_description, two.a.set_local_description):
        with pytest.raises(InvalidParameter, match="unknown"):
            method("anything", "v=0")


def test_a_foreign_local_description_is_refused() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    two.b.create_offer()
    with pytest.raises(InvalidParameter, match="not one that this connection made"):
        two.a.set_local_description("offer", two.b.get_local_description())


def test_the_answer_may_reach_the_other_side_before_it_is_set_locally() -> None:
    """The page's second example forwards a description first and sets it afterwards."""
    two = Two(wired=False)
    for here, there in (two.both, two.both[::-1]):
        here.session_description_created.connect(there.set_remote_description)
        here.session_description_created.connect(here.set_local_description)
        here.ice_candidate_created.connect(there.add_ice_candidate)
    assert two.connected()


def test_an_offer_that_arrives_while_our_own_is_pending_rolls_it_back() -> None:
    """RFC 8829 §4.1.10.2; whoever answers becomes the controlled side."""
    two = Two(wired=False)
    two.b.create_offer()
    two.wire()
    two.b.session_description_created.disconnect(two.a.set_remote_description)
    two.b.poll()  # its offer goes nowhere
    two.b.session_description_created.connect(two.a.set_remote_description)
    assert two.connected()


def test_renegotiation_in_both_directions_keeps_the_connection() -> None:
    two = Two().connected()
    for peer in two.both:
        peer.create_offer()
        assert two.run(lambda peer=peer: peer.get_signaling_state() == peer.SIGNALING_STATE_STABLE)
        assert peer.get_connection_state() == peer.STATE_CONNECTED
    two.chat_a.put_packet(b"still here")
    assert two.run(two.chat_b.get_available_packet_count)


def test_the_sctp_port_of_the_peer_is_used() -> None:
    """RFC 8841 §5: each side names its own port; ours stays 5000."""
    two = Two(wired=False)
    two.a.create_offer()
    two.b.set_remote_description("offer", two.a.get_local_description())
    answer = two.b.get_local_description()
    assert "a=sctp-port:5000" in answer
    two.a.set_remote_description("answer", answer.replace("a=sctp-port:5000", "a=sctp-port:6000"))
    assert two.run(lambda: two.b.get_stats().drops.get("sctp.wrong port", 0))


def test_audio_and_video_are_rejected_in_place() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    offer = two.a.get_local_description()
    media = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=rtpmap:111 opus/48000/2\r\n"
    head, data = offer.split("m=application", 1)
    two.b.set_remote_description("offer", f"{head}{media}m=application{data}")
    answer = two.b.get_local_description()
    lines = answer.splitlines()
    media_lines = [line.split() for line in lines if line.startswith("m=")]
    assert [(words[0], words[1] == "0") for words in media_lines] == [
        ("m=audio", True),
        ("m=application", False),
    ]
    assert "a=group:BUNDLE 0" in lines


def test_a_changed_fingerprint_is_refused_in_a_running_connection() -> None:
    two = Two().connected()
    stranger = PeerConnection(network=two.network.host("c"))
    stranger.create_data_channel("x", CHAT)
    stranger.create_offer()
    foreign = next(x for x in stranger.get_local_description().splitlines() if "fingerprint" in x)
    two.a.session_description_created.disconnect(two.b.set_remote_description)
    two.a.create_offer()
    lines = [foreign if "fingerprint" in x else x for x in two.a.get_local_description().splitlines()]
    with pytest.raises(SdpError):
        two.b.set_remote_description("offer", "\r\n".join(lines) + "\r\n")
    assert two.b.get_connection_state() == PeerConnection.STATE_CONNECTED


def test_a_closed_connection_says_so() -> None:
    two = Two()
    two.a.close()
    assert two.a.get_signaling_state() == PeerConnection.SIGNALING_STATE_CLOSED
    for call in (
        two.a.create_offer,
        lambda: two.a.create_data_channel("x"),
        lambda: two.a.set_remote_description("offer", "v=0"),
        lambda: two.a.set_local_description("offer", "v=0"),
        lambda: two.a.add_ice_candidate("0", 0, ""),
    ):
        with pytest.raises(Closed):
            call()


# -- configuration -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        ({"iceServers": ["stun:example.org"]}, Error.ERR_INVALID_PARAMETER),
        ({"iceServers": [{}]}, Error.FAILED),
        ({"iceServers": [{"urls": 5}]}, Error.FAILED),
        ({"iceTransportPolicy": "direct"}, Error.ERR_INVALID_PARAMETER),
        ({"certificates": ["x"]}, Error.ERR_INVALID_PARAMETER),
        ({"max_message_size": -1}, Error.ERR_INVALID_PARAMETER),
        ({"max_message_size": True}, Error.ERR_INVALID_PARAMETER),
        ({"mtu": 100}, Error.ERR_INVALID_PARAMETER),
        ({"port_range": (9, 5)}, Error.ERR_INVALID_PARAMETER),
        ({"port_range": 5}, Error.ERR_INVALID_PARAMETER),
        ({"offload": "yes"}, Error.ERR_INVALID_PARAMETER),
        ({"close_timeout": "1"}, Error.ERR_INVALID_PARAMETER),
        ({"bind_addresses": "127.0.0.1"}, Error.ERR_INVALID_PARAMETER),
        ({"interface_filter": 1}, Error.ERR_INVALID_PARAMETER),
        ({"congestion_control": "vegas"}, Error.ERR_INVALID_PARAMETER),
    ],
)
def test_a_bad_configuration_is_refused_with_its_key_and_value(
    configuration: dict[str, object], code: Error
) -> None:
    with pytest.raises(RTCError, match=next(iter(configuration))) as caught:
        PeerConnection(configuration)
    assert caught.value.code == code


def test_initialize_starts_afresh_or_changes_nothing() -> None:
    network = VirtualNetwork()
    peer = PeerConnection(network=network.host("a"))
    channel = peer.create_data_channel("x")
    with pytest.raises(InvalidParameter):
        peer.initialize({"mtu": 1})
    assert channel.get_ready_state() == channel.STATE_CONNECTING
    assert peer.initialize({"mtu": 1280}) == Error.OK
    assert channel.get_ready_state() == channel.STATE_CLOSED
    assert peer.create_data_channel("y")


@pytest.mark.parametrize(
    "options",
    [
        {"negotiated": True},
        {"id": 1},
        {"id": 1, "negotiated": False},
        {"id": -1, "negotiated": True},
        {"id": 65535, "negotiated": True},
        {"id": "1", "negotiated": True},
        {"id": True, "negotiated": True},
        {"maxRetransmits": 1, "maxPacketLifeTime": 1},
        {"maxRetransmits": -1},
        {"maxRetransmits": 65536},
        {"maxPacketLifeTime": 65536},
        {"ordered": 1},
        {"protocol": 1},
        {"priority": "highest"},
        {"protocol": "é" * 32768},
    ],
)
def test_bad_channel_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidParameter):
        PeerConnection().create_data_channel("x", options)


def test_a_label_is_measured_in_bytes() -> None:
    peer = PeerConnection()
    peer.create_data_channel("x" * 65535)
    with pytest.raises(InvalidParameter, match="65536 bytes"):
        peer.create_data_channel("é" * 32768)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda peer, _: peer.add_ice_candidate("0", 0, None),
        lambda peer, _: peer.create_data_channel("x", [1]),
        lambda peer, _: peer.create_data_channel("\ud800"),
        lambda peer, _: peer.create_data_channel(5),
        lambda peer, _: peer.initialize([1]),
        lambda peer, _: peer.session_description_created.connect(5),
        lambda _, channel: channel.put_packet(5),
        lambda _, channel: channel.put_packet(None),
        lambda _, channel: channel.put_packet([1, 2]),
        lambda _, channel: channel.put_packet("\ud800"),
        lambda _, channel: channel.set_buffered_amount_low_threshold(-1),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_code_and_a_sentence(misuse: Any) -> None:
    two = Two().connected()
    with pytest.raises(InvalidParameter) as caught:
        misuse(two.a, two.chat_a)
    assert caught.value.code == Error.ERR_INVALID_PARAMETER
    assert len(str(caught.value).split()) > 3


def test_both_spellings_of_the_lifetime_are_taken() -> None:
    peer = PeerConnection()
    for key in ("maxPacketLifeTime", "maxPacketLifetime"):
        assert peer.create_data_channel("x", {key: 500}).get_max_packet_life_time() == 500
