"""The offer/answer machine of a session: every description in every state, and what each step brings."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_support import Sessions

from rtcstack import ice, stun
from rtcstack.datachannel import ChannelConfig
from rtcstack.errors import InvalidState, SdpError
from rtcstack.sdp import SignalingState
from rtcstack.session import (
    ConnectionState,
    GatheringState,
    GatheringStateChanged,
    LocalCandidate,
    LocalDescription,
    PeerSession,
    SessionOptions,
    SignalingStateChanged,
)

STABLE, LOCAL_OFFER, REMOTE_OFFER, LOCAL_PRANSWER, REMOTE_PRANSWER, CLOSED = SignalingState

ADDRESS = ("10.0.0.1", 5001)
AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=rtpmap:111 opus/48000/2\r\n"
    "a=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\na=setup:actpass\r\n"
    f"a=fingerprint:sha-256 {bytes(32).hex(':').upper()}\r\n"
)


def session(name: str = "a", *, at_once: bool = False) -> PeerSession:
    made = PeerSession(
        random_bytes=random.Random(name).randbytes, options=SessionOptions(answer_at_once=at_once)
    )
    made.create_channel(ChannelConfig("chat", negotiated=True), 1, 0.0)
    return made


def gathered(made: PeerSession) -> PeerSession:
    """Give it one host candidate and end the gathering."""
    made.add_local_address(ADDRESS)
    made.end_of_local_candidates()
    return made


def described(made: PeerSession) -> tuple[str, str]:
    """Take the events; return the last description that it made."""
    return [(e.type, e.sdp) for e in made.take_events() if isinstance(e, LocalDescription)][-1]


def offer_of(name: str) -> str:
    offerer = session(name)
    offerer.create_offer()
    return described(offerer)[1]


def answer_to(offer: str, name: str = "z") -> str:
    answerer = session(name, at_once=True)
    answerer.set_remote_description("offer", offer, 0.0)
    return described(answerer)[1]


def line_that_begins(text: str, start: str) -> int:
    return next(i for i, line in enumerate(text.split("\r\n"), 1) if line.startswith(start))


# -- the table -----------------------------------------------------------------------------------------------


def in_state(state: SignalingState) -> tuple[PeerSession, str]:
    """Make a session in this state; also an answer that would fit its own offer, if it has made one."""
    made = session()
    fitting = ""
    if state in (LOCAL_OFFER, REMOTE_PRANSWER):
        made.create_offer()
        fitting = answer_to(described(made)[1])
    if state is REMOTE_PRANSWER:
        made.set_remote_description("pranswer", fitting, 0.0)
    if state in (REMOTE_OFFER, LOCAL_PRANSWER):
        made.set_remote_description("offer", offer_of("b"), 0.0)
    if state is LOCAL_PRANSWER:
        made.create_answer(0.0, provisional=True)
    if state is CLOSED:
        made.abort()
    assert made.signaling_state is state
    return made, fitting or answer_to(offer_of("x"))


STEPS: dict[str, Callable[[PeerSession, str], None]] = {
    "our offer": lambda made, _: made.create_offer(),
    "our pranswer": lambda made, _: made.create_answer(0.0, provisional=True),
    "our answer": lambda made, _: made.create_answer(0.0),
    "our rollback": lambda made, _: made.set_local_description("rollback", ""),
    "their offer": lambda made, _: made.set_remote_description("offer", offer_of("b"), 0.0),
    "their pranswer": lambda made, answer: made.set_remote_description("pranswer", answer, 0.0),
    "their answer": lambda made, answer: made.set_remote_description("answer", answer, 0.0),
    "their rollback": lambda made, _: made.set_remote_description("rollback", "", 0.0),
}

LEADS_TO = {
    (STABLE, "our offer"): LOCAL_OFFER,
    (STABLE, "their offer"): REMOTE_OFFER,
    (LOCAL_OFFER, "our rollback"): STABLE,
    (LOCAL_OFFER, "their offer"): REMOTE_OFFER,  # ours is taken back, RFC 8829 section 4.1.10.2
    (LOCAL_OFFER, "their pranswer"): REMOTE_PRANSWER,
    (LOCAL_OFFER, "their answer"): STABLE,
    (LOCAL_OFFER, "their rollback"): STABLE,
    (REMOTE_OFFER, "our pranswer"): LOCAL_PRANSWER,
    (REMOTE_OFFER, "our answer"): STABLE,
    (REMOTE_OFFER, "our rollback"): STABLE,
    (REMOTE_OFFER, "their offer"): REMOTE_OFFER,
    (REMOTE_OFFER, "their rollback"): STABLE,
    (LOCAL_PRANSWER, "our pranswer"): LOCAL_PRANSWER,
    (LOCAL_PRANSWER, "our answer"): STABLE,
    (REMOTE_PRANSWER, "their pranswer"): REMOTE_PRANSWER,
    (REMOTE_PRANSWER, "their answer"): STABLE,
}
"""RFC 8829 section 3.2; everything else raises InvalidState and changes nothing."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", SignalingState)
def test_every_step_in_every_state(state: SignalingState, step: str) -> None:
    made, answer = in_state(state)
    before = made.local_description
    made.take_events()
    if (state, step) in LEADS_TO:
        STEPS[step](made, answer)
        assert made.signaling_state is LEADS_TO[state, step]
    else:
        with pytest.raises(InvalidState):
            STEPS[step](made, answer)
        assert (made.signaling_state, made.local_description) == (state, before)
        assert made.take_events() == []


# -- answers -------------------------------------------------------------------------------------------------


def test_an_offer_is_answered_when_the_application_wants_to() -> None:
    made = session()
    made.set_remote_description("offer", offer_of("b"), 0.0)
    assert made.take_events() == [SignalingStateChanged(REMOTE_OFFER)]
    made.create_answer(0.0)
    events = made.take_events()
    assert isinstance(events[1], LocalDescription)
    assert events[1].type == "answer"
    assert SignalingStateChanged(STABLE) in events


def test_an_offer_is_answered_at_once_by_default_and_the_states_are_told() -> None:
    made = session(at_once=True)
    made.set_remote_description("offer", offer_of("b"), 0.0)
    assert [e for e in made.take_events() if isinstance(e, SignalingStateChanged)] == [
        SignalingStateChanged(REMOTE_OFFER),
        SignalingStateChanged(STABLE),
    ]


def pair(**options: bool) -> Sessions:
    return Sessions(SessionOptions(**options))


@pytest.mark.parametrize("final", [False, True])
def test_a_provisional_answer_brings_the_connection_up(final: bool) -> None:
    """RFC 8829 §4.1.10.1: it can "warm up the transport"."""
    two = pair(answer_at_once=False)
    two.a.create_offer()
    two.exchange()
    two.b.create_answer(two.now, provisional=True)
    two.exchange()
    two.gather()
    two.run(5.0)
    assert (two.a.signaling_state, two.b.signaling_state) == (REMOTE_PRANSWER, LOCAL_PRANSWER)
    assert two.a.connection_state is two.b.connection_state is ConnectionState.CONNECTED
    two.b.create_answer(two.now, provisional=not final)
    two.run(1.0)
    assert two.a.signaling_state is (STABLE if final else REMOTE_PRANSWER)
    two.a.send(two.channel_a, b"hello", False, two.now)
    two.run(1.0)
    assert two.b.take_message(two.channel_b) == (b"hello", False)


def test_the_final_answer_must_be_the_provisional_ones_peer() -> None:
    """No forking: another certificate in the answer is refused, and the provisional one stays."""
    made, _ = in_state(REMOTE_PRANSWER)
    offer = made.local_description
    other = answer_to(offer, "another")
    with pytest.raises(SdpError, match="another certificate") as caught:
        made.set_remote_description("answer", other, 0.0)
    assert caught.value.line == line_that_begins(other, "a=fingerprint")
    assert made.signaling_state is REMOTE_PRANSWER


# -- rollback ------------------------------------------------------------------------------------------------


def test_both_offers_can_be_taken_back_and_the_connection_made_the_other_way_round() -> None:
    two = pair(answer_at_once=False)
    two.a.create_offer()
    two.exchange()
    assert two.b.signaling_state is REMOTE_OFFER
    two.b.set_remote_description("rollback", "", two.now)
    two.a.set_local_description("rollback", "")
    assert two.a.signaling_state is two.b.signaling_state is STABLE
    assert two.a.local_description == ""
    two.b.create_offer()
    two.exchange()
    two.a.create_answer(two.now)
    two.gather()
    two.run(5.0)
    assert two.a.connection_state is two.b.connection_state is ConnectionState.CONNECTED


def test_an_offer_in_return_takes_ours_back_and_the_states_are_told() -> None:
    """RFC 8829 §4.1.10.2."""
    made, _ = in_state(LOCAL_OFFER)
    made.take_events()
    made.set_remote_description("offer", offer_of("b"), 0.0)
    assert [e for e in made.take_events() if isinstance(e, SignalingStateChanged)] == [
        SignalingStateChanged(STABLE),
        SignalingStateChanged(REMOTE_OFFER),
    ]


def test_an_offer_that_cannot_be_read_does_not_take_ours_back() -> None:
    made, answer = in_state(LOCAL_OFFER)
    bad = offer_of("b").replace("a=ice-pwd", "a=x-pwd")
    with pytest.raises(SdpError):
        made.set_remote_description("offer", bad, 0.0)
    assert made.signaling_state is LOCAL_OFFER
    made.set_remote_description("answer", answer, 0.0)
    assert made.signaling_state is STABLE


def test_the_candidates_of_an_offer_taken_back_come_again_with_the_next_description() -> None:
    """Who ignored the offer has ignored its candidates too, as browsers do."""
    made = session(at_once=True)
    made.create_offer()
    gathered(made)
    first = [e for e in made.take_events() if isinstance(e, LocalCandidate)]
    assert [(e.mid, e.index) for e in first] == [("0", 0)]
    offer = offer_of("b").replace("mid:0", "mid:7").replace("BUNDLE 0", "BUNDLE 7")
    made.set_remote_description("offer", offer, 0.0)
    events = [e for e in made.take_events() if not isinstance(e, SignalingStateChanged)]
    assert isinstance(events[0], LocalDescription)
    assert GatheringStateChanged(GatheringState.GATHERING) in events
    again = [e for e in events if isinstance(e, LocalCandidate)]
    assert [(e.mid, e.index, e.line) for e in again] == [("7", 0, first[0].line)]
    assert GatheringStateChanged(GatheringState.COMPLETE) in events
    assert events.index(again[0]) < events.index(GatheringStateChanged(GatheringState.COMPLETE))


def test_candidates_of_an_offer_that_waits_are_used_with_the_answer_and_lost_with_a_rollback() -> None:
    for ending, pairs in (("answer", 1), ("rollback", 0)):
        made = session()
        offer = offer_of("b")
        made.set_remote_description("offer", offer, 0.0)
        made.add_remote_candidate("candidate:1 1 udp 2130706431 10.0.0.2 5002 typ host")
        if ending == "answer":
            made.create_answer(0.0)
        else:
            made.set_local_description("rollback", "")
            made.set_remote_description("offer", offer, 0.0)
            made.create_answer(0.0)
        gathered(made)
        assert made.explain().count("10.0.0.2:5002") >= pairs
        assert ("10.0.0.2:5002" in made.explain()) is bool(pairs)


@pytest.mark.parametrize("last", ["their offer", "our offer"])
def test_who_offers_last_controls(last: str) -> None:
    """RFC 8445 §6.1.1: the side whose offer begins ICE is the controlling one, whatever came before."""
    made = session()
    candidate = "a=candidate:1 1 udp 2130706431 10.0.0.2 5002 typ host\r\n"
    if last == "their offer":
        made.create_offer()
        made.set_remote_description("offer", offer_of("b") + candidate, 0.0)
        made.create_answer(0.0)
    else:
        head = offer_of("b").split("m=application")[0].replace("a=group:BUNDLE 0\r\n", "")
        made.set_remote_description("offer", head + AUDIO, 0.0)
        made.create_answer(0.0)
        made.create_offer()
        made.set_remote_description("answer", answer_to(described(made)[1]) + candidate, 0.0)
    gathered(made)
    made.handle_timeout(0.0)
    ((_, _, datagrams),) = made.take_packets(0.0)
    check = stun.Message.parse(datagrams[0])
    assert (check.get(stun.ICE_CONTROLLING) is not None) is (last == "our offer")
    assert (check.get(stun.ICE_CONTROLLED) is not None) is (last == "their offer")


# -- what descriptions say -----------------------------------------------------------------------------------


def test_the_version_goes_up_with_every_description_also_with_those_taken_back() -> None:
    """RFC 8829 §5.2.2, RFC 3264 §8."""
    made = session(at_once=True)
    origins = []
    for _ in range(3):
        made.create_offer()
        origins.append(described(made)[1].split("\r\n")[1].split())
        made.set_local_description("rollback", "")
    made.set_remote_description("offer", offer_of("b"), 0.0)
    origins.append(described(made)[1].split("\r\n")[1].split())
    made.create_offer()
    origins.append(described(made)[1].split("\r\n")[1].split())
    assert [int(words[2]) for words in origins] == [0, 1, 2, 3, 4]
    assert len({words[1] for words in origins}) == 1
    assert int(origins[0][1]) < 2**62


def test_an_offer_that_comes_again_unchanged_is_answered_again() -> None:
    """RFC 3264 §8: "effectively a no-op", but the answerer must generate a valid answer."""
    made = session(at_once=True)
    offer = offer_of("b")
    made.set_remote_description("offer", offer, 0.0)
    first = described(made)[1].split("\r\n")
    made.set_remote_description("offer", offer, 0.0)
    second = described(made)[1].split("\r\n")
    assert [i for i, (x, y) in enumerate(zip(first, second, strict=True)) if x != y] == [1]


def test_a_tls_id_is_offered_kept_and_answered_where_it_was_offered() -> None:
    """RFC 8842 §4: 20 to 255 characters; the same as long as the DTLS association lasts."""
    made = session(at_once=True)
    made.create_offer()
    first = described(made)[1]
    tls_id = next(line for line in first.split("\r\n") if line.startswith("a=tls-id:"))
    assert len(tls_id.removeprefix("a=tls-id:")) == 20
    made.set_remote_description("answer", answer_to(first), 0.0)
    made.create_offer()
    assert tls_id in described(made)[1].split("\r\n")
    assert tls_id not in offer_of("b")
    without = "\r\n".join(line for line in first.split("\r\n") if "tls-id" not in line)
    assert "a=tls-id" in answer_to(first)
    assert "a=tls-id" not in answer_to(without)


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("actpass", "active"), ("active", "passive"), ("passive", "active"), (None, "active")],
)
def test_every_offered_role_is_answered_and_connects(offered: str | None, answered: str) -> None:
    """RFC 8842 §5.3, RFC 4145 §4.1: each side knows who is the DTLS client, whoever decided it."""
    two = pair(answer_at_once=True)
    line = "" if offered is None else f"a=setup:{offered}\r\n"
    two.a.create_offer()
    _, offer = described(two.a)
    two.b.set_remote_description("offer", offer.replace("a=setup:actpass\r\n", line), two.now)
    _, answer = described(two.b)
    assert f"a=setup:{answered}\r\n" in answer
    two.a.set_remote_description("answer", answer, two.now)
    two.gather()
    two.run(5.0)
    assert two.a.connection_state is two.b.connection_state is ConnectionState.CONNECTED


# -- sections ------------------------------------------------------------------------------------------------


def test_an_offer_of_audio_alone_is_answered_with_a_rejection_and_data_can_follow() -> None:
    """RFC 8829 §5.3.1: what is not wanted gets port 0; the exchange itself succeeds."""
    two = pair(answer_at_once=True)
    two.a.create_offer()
    _, data_offer = described(two.a)
    head, data = data_offer.split("m=application")
    audio_alone = head.replace("a=group:BUNDLE 0\r\n", "") + AUDIO
    two.b.set_remote_description("offer", audio_alone, two.now)
    _, answer = described(two.b)
    assert answer.count("m=") == answer.count("m=audio 0 ") == 1
    assert two.b.signaling_state is STABLE
    assert two.b.connection_state is ConnectionState.NEW
    assert not two.b.wants_sockets
    # The same peer adds the data channel: its section is the second one.
    two.b.set_remote_description("offer", head + AUDIO + "m=application" + data, two.now)
    _, answer = described(two.b)
    assert answer.count("m=") == 2
    assert two.b.wants_sockets


def test_after_audio_alone_our_own_offer_adds_the_data_section() -> None:
    made = session(at_once=True)
    head = offer_of("b").split("m=application")[0].replace("a=group:BUNDLE 0\r\n", "")
    made.set_remote_description("offer", head + AUDIO, 0.0)
    described(made)
    made.create_offer()
    _, offer = described(made)
    lines = [line for line in offer.split("\r\n") if line.startswith(("m=", "a=mid", "a=group"))]
    assert lines == [
        "a=group:BUNDLE 0",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111",
        "a=mid:a",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=mid:0",
    ]


def test_a_data_section_that_the_peer_switches_off_ends_the_connection() -> None:
    """RFC 8841 §10.5, RFC 3264 §8.2: port 0 takes the association down."""
    two = pair(answer_at_once=True).connect()
    two.a.create_offer()
    _, offer = described(two.a)
    off = offer.replace("m=application 9", "m=application 0").replace("a=group:BUNDLE 0\r\n", "")
    two.b.take_events()
    two.b.set_remote_description("offer", off, two.now)
    _, answer = described(two.b)
    assert "m=application 0" in answer
    assert two.b.connection_state is ConnectionState.CLOSED
    assert "switched the data channels off" in two.b.reason
    assert two.channel_b.close_reason == two.b.reason


def test_a_second_data_section_of_a_running_connection_is_rejected() -> None:
    two = pair(answer_at_once=True).connect()
    two.a.create_offer()
    _, offer = described(two.a)
    second = offer[offer.index("m=application") :].replace("a=mid:0", "a=mid:1")
    two.b.set_remote_description("offer", offer + second, two.now)
    _, answer = described(two.b)
    assert [line.split()[1] for line in answer.split("\r\n") if line.startswith("m=")] == ["9", "0"]
    assert "a=group:BUNDLE 0\r\n" in answer
    assert two.b.connection_state is ConnectionState.CONNECTED


# -- errors --------------------------------------------------------------------------------------------------

WRONG_UPDATES = [
    ("a=ice-ufrag:", "a=ice-ufrag:x", "change together", "a=ice-ufrag"),
    ("a=ice-pwd:", "a=ice-pwd:x", "change together", "a=ice-ufrag"),
    ("a=tls-id:", "a=tls-id:x", "another tls-id", "a=tls-id"),
    ("a=fingerprint:sha-256 ", "a=fingerprint:sha-1 ", "needs an a=fingerprint", "a=fingerprint"),
    ("a=mid:0", "a=mid:1", "with mid '0' before|does not answer '0'", "m=application"),
    ("m=application 9", "m=video 9", "was 'application'|does not answer", "m=video"),
]


@pytest.mark.parametrize(("old", "new", "says", "line"), WRONG_UPDATES)
@pytest.mark.parametrize("kind", ["offer", "answer"])
def test_a_wrong_update_is_refused_with_its_line_and_changes_nothing(
    kind: str, old: str, new: str, says: str, line: str
) -> None:
    two = pair(answer_at_once=True).connect()
    two.a.create_offer()
    _, text = described(two.a)
    offerer, target = two.a, two.b
    if kind == "answer":
        two.b.set_remote_description("offer", text, two.now)
        _, text = described(two.b)
        offerer, target = two.b, two.a
    wrong = text.replace(old, new).replace("a=group:BUNDLE 0\r\n", "")
    before = target.signaling_state
    target.take_events()
    with pytest.raises(SdpError, match=says) as caught:
        target.set_remote_description(kind, wrong, two.now)
    assert caught.value.line == line_that_begins(wrong, line)
    assert target.signaling_state is before
    assert target.take_events() == []
    target.set_remote_description(kind, text, two.now)  # the right one still fits
    assert target.signaling_state is STABLE
    assert offerer.connection_state is target.connection_state is ConnectionState.CONNECTED


@pytest.mark.parametrize("kind", ["offer", "answer"])
def test_the_dtls_roles_of_a_running_connection_stay(kind: str) -> None:
    """RFC 8842 §5.5: other roles would be another DTLS association."""
    two = pair(answer_at_once=True).connect()  # a is the server, b the client
    two.a.create_offer()
    _, text = described(two.a)
    target = two.b
    if kind == "answer":
        two.b.set_remote_description("offer", text, two.now)
        _, text = described(two.b)
        target = two.a
    wrong = text.replace("setup:active", "setup:passive").replace("setup:actpass", "setup:active")
    with pytest.raises(SdpError, match="changes the DTLS roles") as caught:
        target.set_remote_description(kind, wrong, two.now)
    assert caught.value.line == line_that_begins(wrong, "a=setup")
    assert target.connection_state is ConnectionState.CONNECTED


def test_no_offer_of_a_lite_peer_reaches_a_lite_agent() -> None:

    made = PeerSession(
        random_bytes=random.Random(1).randbytes, options=SessionOptions(ice=ice.Options(lite=True))
    )
    offer = offer_of("b").replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n")
    with pytest.raises(SdpError, match="both sides are ICE-lite") as caught:
        made.set_remote_description("offer", offer, 0.0)
    assert caught.value.line == 5


def test_candidates_that_name_no_generation_belong_to_the_offer_that_waits() -> None:
    """RFC 8840 §4.3: without a ufrag they are of the latest description, here one that restarts ICE."""
    two = pair(answer_at_once=False)
    two.a.create_offer()
    two.exchange()
    two.b.create_answer(two.now)
    two.exchange()
    two.gather()
    two.run(5.0)
    two.a.create_offer(restart_ice=True)
    two.b.set_remote_description("offer", described(two.a)[1], two.now)
    two.b.add_remote_candidate("candidate:1 1 udp 2130706431 10.9.9.9 5009 typ host")
    assert "10.9.9.9" not in two.b.explain()
    two.b.create_answer(two.now)
    two.run(0.1)
    assert "10.9.9.9" in two.b.explain()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_descriptions_are_applied_or_refused_without_a_trace(
    data: st.DataObject,
) -> None:
    """Lines of a description changed, cut out, repeated or exchanged; nothing but SdpError comes out."""
    kind = data.draw(st.sampled_from(["offer", "answer", "pranswer"]))
    made = session(at_once=data.draw(st.booleans()))
    if kind == "offer":
        text = offer_of("b")
    else:
        made.create_offer()
        text = answer_to(described(made)[1])
    lines = text.split("\r\n")[:-1]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["cut", "repeat", "exchange", "damage", "foreign"])):
            case "cut":
                del lines[at]
            case "repeat":
                lines.insert(data.draw(st.integers(0, len(lines))), lines[at])
            case "exchange":
                other = data.draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case "damage":
                cut = data.draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + data.draw(st.text(max_size=4)) + lines[at][cut + 1 :]
            case "foreign":
                lines[at:at] = AUDIO.split("\r\n")[:-1]
    before = (made.signaling_state, made.local_description, made.connection_state)
    made.take_events()
    refused: SdpError | None = None
    try:
        made.set_remote_description(kind, "\r\n".join(lines) + "\r\n", 0.0)
    except SdpError as error:
        refused = error
    if refused is not None:
        assert refused.line > 0
        assert (made.signaling_state, made.local_description, made.connection_state) == before
        assert made.take_events() == []
