"""Made-up descriptions: whatever parses is stable and answerable; whatever does not raises SdpError alone."""

from __future__ import annotations

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.errors import SdpError
from rtcstack.sdp import (
    CandidateLine,
    LocalParameters,
    SessionDescription,
    check_answer,
    check_update,
    parse_candidate,
    read_remote,
    write_answer,
    write_offer,
)

ICE_CHARS = string.ascii_letters + string.digits + "+/"
TOKEN_CHARS = string.ascii_letters + string.digits + "!#$%&'*+-.^_`{|}~"
tokens = st.text(TOKEN_CHARS, min_size=1, max_size=20)
visible = st.text(string.ascii_letters + string.digits + string.punctuation, max_size=12)
addresses = st.one_of(
    st.ip_addresses().map(lambda ip: str(type(ip)(int(ip)))), st.uuids().map(lambda uuid: f"{uuid}.local")
)
ports = st.integers(0, 65535)

candidates = st.builds(
    CandidateLine,
    foundation=st.text(ICE_CHARS, min_size=1, max_size=32),
    component=st.integers(1, 256),
    transport=st.sampled_from(["udp", "tcp"]),
    priority=st.integers(1, 2**31 - 1),
    address=addresses,
    port=ports,
    type=st.sampled_from(["host", "srflx", "prflx", "relay"]),
    related_address=addresses,
    related_port=ports,
    tcp_type=st.sampled_from([None, "active", "passive", "so"]),
    extensions=st.lists(
        st.tuples(tokens.filter(lambda name: name not in ("raddr", "rport", "tcptype")), visible), max_size=4
    ).map(tuple),
)
local_parameters = st.builds(
    LocalParameters,
    session_id=st.integers(0, 2**62 - 1),
    session_version=st.integers(0, 1000),
    ufrag=st.text(ICE_CHARS, min_size=4, max_size=256),
    password=st.text(ICE_CHARS, min_size=22, max_size=256),
    fingerprints=st.lists(
        st.one_of(
            st.tuples(st.just("sha-256"), st.binary(min_size=32, max_size=32)),
            st.tuples(st.just("sha-384"), st.binary(min_size=48, max_size=48)),
            st.tuples(st.just("sha-512"), st.binary(min_size=64, max_size=64)),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    setup=st.sampled_from(["actpass", "active", "passive"]),
    sctp_port=st.integers(1, 65535),
    max_message_size=st.integers(0, 2**64),
    mid=tokens,
    ice_options=st.lists(tokens.filter(lambda t: "," not in t), max_size=3, unique=True).map(tuple),
    candidates=st.lists(candidates, max_size=3).map(tuple),
    end_of_candidates=st.booleans(),
    sctp_init=st.none() | st.binary(max_size=200),
    tls_id=st.none() | st.text(ICE_CHARS + "-_", min_size=20, max_size=255),
)

values = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
names = st.sampled_from(
    [
        *("candidate", "end-of-candidates", "fingerprint", "ice-options", "ice-pwd", "ice-ufrag"),
        *("max-message-size", "sctp-init", "sctp-port", "sctpmap", "setup", "tls-id"),
    ]
)
attribute_lines = st.one_of(
    st.builds("a={}:{}".format, names | tokens, values),
    st.builds("a={}".format, tokens),
    st.builds("{}={}".format, st.sampled_from("icbtrzkuep"), values),
    st.sampled_from(
        [
            "a=ice-ufrag:abcd",
            "a=ice-pwd:" + "p" * 22,
            "a=fingerprint:sha-256 " + bytes(32).hex(":"),
            "a=setup:active",
            "a=setup:holdconn",
            "a=sctp-port:5000",
            "a=sctp-port 0",
            "a=sctpmap:5000 webrtc-datachannel 256",
            "a=max-message-size:0",
            "a=bundle-only",
            "a=ice-lite",
            "a=candidate:1 1 udp 1 ::1 9 typ host",
            "a=candidate:",
        ]
    ),
)
media_lines = st.one_of(
    st.sampled_from(
        [
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "m=application 9 DTLS/SCTP 5000",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
        ]
    ),
    st.builds("m={} {} {} {}".format, tokens, ports, tokens, tokens),
)


@st.composite
def descriptions(draw) -> str:
    """A well-formed text: sections with distinct mids, some of them bundled, and any attributes."""
    mids = draw(st.lists(tokens, max_size=4, unique=True))
    bundled = draw(st.lists(st.sampled_from(mids), unique=True)) if mids else []
    lines = [
        "v=0",
        f"o=- {draw(ports)} {draw(ports)} IN IP4 0.0.0.0",
        *draw(st.lists(attribute_lines, max_size=4)),
    ]
    lines = [line for line in lines if not line.startswith(("a=group", "a=mid"))]
    if bundled:
        lines.append(f"a=group:BUNDLE {' '.join(bundled)}")
    for mid in mids:
        section = [draw(media_lines), *draw(st.lists(attribute_lines, max_size=8))]
        lines += [line for line in section if not line.startswith("a=mid")]
        if mid in bundled or draw(st.booleans()):
            lines.append(f"a=mid:{mid}")
    return draw(st.sampled_from(["\r\n", "\n", "\r"])).join(lines)


LOCAL = LocalParameters(1, 1, "abcd", "p" * 22, (("sha-256", bytes(32)),), "actpass")


@settings(max_examples=80)
@given(descriptions())
def test_a_well_formed_description_is_stable(text):
    description = SessionDescription.parse(text)
    again = SessionDescription.parse(description.write())
    assert again == description
    assert again.write() == description.write()


@settings(max_examples=80)
@given(descriptions())
def test_what_can_be_read_can_be_answered(text):
    offer = SessionDescription.parse(text)
    try:
        remote = read_remote(offer)
    except SdpError:
        return
    answer = write_answer(offer, LOCAL)
    checked = check_answer(offer, answer)
    assert (checked.mid, checked.index, checked.ufrag) == (remote.mid, remote.index, LOCAL.ufrag)
    assert {remote.setup, checked.setup} != {"active"}
    assert {remote.setup, checked.setup} != {"passive"}
    assert [section.index for section in answer.media if not section.rejected] == [remote.index]
    offer_again = write_offer(LOCAL, answer)
    assert check_update(answer, offer_again) is False
    assert read_remote(offer_again).legacy == remote.legacy


@settings(max_examples=80)
@given(local_parameters, local_parameters)
def test_offer_and_answer_carry_their_parameters(ours, theirs):
    offer = write_offer(ours)
    remote = read_remote(offer)
    for name in ("ufrag", "password", "fingerprints", "setup", "sctp_port", "max_message_size", "mid"):
        assert getattr(remote, name) == getattr(ours, name)
    for name in ("candidates", "end_of_candidates", "sctp_init", "tls_id", "session_id", "session_version"):
        assert getattr(remote, name) == getattr(ours, name)
    answer = check_answer(offer, write_answer(offer, theirs))
    assert answer.mid == ours.mid
    assert answer.ice_options == set(ours.ice_options) & set(theirs.ice_options)
    assert (answer.sctp_init is None) == (ours.sctp_init is None or theirs.sctp_init is None)
    assert answer.setup in ("active", "passive")
    assert answer.setup != ours.setup


@settings(max_examples=120)
@given(candidates)
def test_a_candidate_survives_the_wire(candidate):
    assert parse_candidate(candidate.write()) == candidate
    assert parse_candidate(f"a={candidate.write()}\r\n") == candidate


@settings(max_examples=120)
@given(st.text())
def test_no_text_raises_anything_but_sdp_error(text):
    lines = []
    for read, number in ((SessionDescription.parse, ()), (parse_candidate, (7,))):
        for prefix in ("", "v=0\no=- 1 1 IN IP4 0\n", "candidate:", "candidate:1 1 udp 1 ::1 9 typ host "):
            try:
                read(prefix + text, *number)
            except SdpError as error:
                lines.append(error.line)
    assert all(lines)


@settings(max_examples=120)
@given(st.data())
def test_a_damaged_description_raises_sdp_error_or_can_be_answered(data):
    """Octets of an offer changed, cut out or put in, then decoded as a careless application would."""
    text = bytearray(write_offer(data.draw(local_parameters)).write().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(at + 20, len(text))))
        text[at:until] = data.draw(st.binary(max_size=8))
    errors = data.draw(st.sampled_from(["surrogateescape", "replace", "ignore"]))
    try:
        offer = SessionDescription.parse(text.decode(errors=errors))
        remote = read_remote(offer)
    except SdpError as error:
        line = error.line
    else:
        line = 1
        assert check_answer(offer, write_answer(offer, LOCAL)).index == remote.index
    assert line > 0
