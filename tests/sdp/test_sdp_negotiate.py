"""Offers and answers of a data-only session, and everything that can be wrong with a peer's."""

from __future__ import annotations

import dataclasses

import pytest

from rtcstack.errors import InvalidParameter, SdpError
from rtcstack.sdp import (
    CandidateLine,
    LocalParameters,
    SessionDescription,
    answer_setup,
    check_answer,
    check_update,
    data_section,
    parse_candidate,
    read_remote,
    write_answer,
    write_offer,
)

DIGEST = bytes(range(32))
HEX = DIGEST.hex(":").upper()
LOCAL = LocalParameters(
    session_id=4711,
    session_version=1,
    ufrag="abcd",
    password="p" * 22,
    fingerprints=(("sha-256", DIGEST),),
    setup="actpass",
)
OFFER = f"""\
v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:0
a=ice-ufrag:WXYZ
a=ice-pwd:0123456789012345678901
a=ice-options:trickle ice2
a=fingerprint:sha-256 {HEX}
a=setup:actpass
a=sctp-port:5000
a=max-message-size:262144
"""
AUDIO = """\
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=mid:audio
a=rtpmap:111 opus/48000/2
"""
TRANSPORT = f"""\
a=ice-ufrag:WXYZ
a=ice-pwd:0123456789012345678901
a=ice-options:trickle ice2
a=fingerprint:sha-256 {HEX}
a=setup:actpass
"""
LEGACY = OFFER.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000").replace(
    "a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 256"
)
CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host"


def parse(text: str) -> SessionDescription:
    return SessionDescription.parse(text)


def read(text: str):
    return read_remote(parse(text))


def local(**changes) -> LocalParameters:
    return dataclasses.replace(LOCAL, **changes)


def lines(description: SessionDescription) -> list[str]:
    return description.write().split("\r\n")[:-1]


# Offers -------------------------------------------------------------------------------------------


def test_a_first_offer_is_this():
    assert lines(write_offer(LOCAL)) == [
        "v=0",
        "o=- 4711 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:pppppppppppppppppppppp",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {HEX}",
        "a=setup:actpass",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
    ]


def test_an_offer_says_all_that_it_is_told():
    candidates = (parse_candidate(CANDIDATE), parse_candidate(CANDIDATE.replace("192.0.2.1", "::1")))
    told = local(
        fingerprints=(("sha-256", DIGEST), ("sha-512", bytes(64))),
        ice_options=("trickle", "ice2"),
        sctp_port=6000,
        max_message_size=0,
        mid="data",
        candidates=candidates,
        end_of_candidates=True,
        sctp_init=b"\x01\x00INIT",
        tls_id="x" * 20,
    )
    remote = read_remote(write_offer(told))
    for name in ("ufrag", "password", "fingerprints", "setup", "sctp_port", "max_message_size", "mid"):
        assert getattr(remote, name) == getattr(told, name)
    for name in ("candidates", "end_of_candidates", "sctp_init", "tls_id", "session_id", "session_version"):
        assert getattr(remote, name) == getattr(told, name)
    assert remote.ice_options == {"trickle", "ice2"}
    assert (remote.index, remote.ice_lite, remote.legacy) == (0, False, False)


@pytest.mark.parametrize(
    ("candidates", "m", "c"),
    [
        ([], "9", "IN IP4 0.0.0.0"),
        (["host 192.0.2.1 1000"], "1000", "IN IP4 192.0.2.1"),
        (["host 192.0.2.1 1000", "srflx 192.0.2.2 2000"], "2000", "IN IP4 192.0.2.2"),
        (["relay 2001:db8::1 3000", "srflx 192.0.2.2 2000"], "3000", "IN IP6 2001:db8::1"),
        (["host 8c1f-x.local 1000"], "9", "IN IP4 0.0.0.0"),
        (["host 192.0.2.1 0"], "9", "IN IP4 0.0.0.0"),
        (["moon 192.0.2.1 1000"], "9", "IN IP4 0.0.0.0"),
    ],
)
def test_the_default_destination_is_the_candidate_most_likely_to_work(candidates, m, c):
    """RFC 8839 §4.2.1.2; RFC 8840 §4.1.1 for none."""
    made = tuple(
        CandidateLine("1", 1, "udp", 1, address, int(port), kind)
        for kind, address, port in (text.split() for text in candidates)
    )
    section = write_offer(local(candidates=made)).media[0]
    assert section.lines[:2] == (f"m=application {m} UDP/DTLS/SCTP webrtc-datachannel", f"c={c}")


def test_tcp_is_no_default_destination():
    made = (CandidateLine("1", 1, "tcp", 1, "192.0.2.1", 9, "host", tcp_type="active"),)
    assert write_offer(local(candidates=made)).media[0].port == 9


@pytest.mark.parametrize("session_id", [-1, 2**62, 2**64])
def test_a_session_id_stays_below_2_to_the_62(session_id):
    """Firefox fails on session ids of 64 bits."""
    with pytest.raises(InvalidParameter):
        local(session_id=session_id)


def test_our_own_setup_is_checked():
    with pytest.raises(InvalidParameter):
        local(setup="holdconn")


# Answers ------------------------------------------------------------------------------------------


def test_an_answer_is_this():
    assert lines(write_answer(parse(OFFER), local(ice_options=("trickle", "ice2", "mine"), mid="x"))) == [
        "v=0",
        "o=- 4711 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:pppppppppppppppppppppp",
        "a=ice-options:trickle ice2",
        f"a=fingerprint:sha-256 {HEX}",
        "a=setup:active",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
    ]


def test_audio_and_video_are_rejected_in_their_place():
    """RFC 3264 §6, RFC 9143 §7.3.3: port 0, protocol and formats mirrored, mid kept, out of the group."""
    video = AUDIO.replace("audio", "video").replace("111 0", "96 97")
    offer = OFFER.replace("BUNDLE 0", "BUNDLE audio 0 video").replace("m=app", AUDIO + "m=app") + video
    answer = write_answer(parse(offer), LOCAL)
    assert answer.bundles == (("0",),)
    audio, data, video_section = answer.media
    assert audio.lines == (
        "m=audio 0 UDP/TLS/RTP/SAVPF 111 0",
        "c=IN IP4 0.0.0.0",
        "a=mid:audio",
        "a=inactive",
    )
    assert (data.index, data.mid, data.port) == (1, "0", 9)
    assert (video_section.port, video_section.mid, video_section.formats) == (0, "video", ("96", "97"))


def test_a_section_without_mid_is_answered_without_mid():
    """RFC 8829 §5.3.1: "If and only if present in the offer, an a=mid line"."""
    text = OFFER.replace("a=mid:0\n", "").replace("a=group:BUNDLE 0\n", "") + AUDIO.replace(
        "a=mid:audio\n", ""
    )
    answer = write_answer(parse(text), LOCAL)
    assert [section.mid for section in answer.media] == ["", ""]
    assert answer.bundles == ()
    assert check_answer(parse(text), answer).mid == ""


def test_no_group_is_answered_that_was_not_offered():
    """RFC 9143 §7.3."""
    assert write_answer(parse(OFFER.replace("a=group:BUNDLE 0\n", "")), LOCAL).bundles == ()


def test_the_first_usable_data_section_is_taken_and_a_second_rejected():
    section = OFFER[OFFER.index("m=app") :]
    off = section.replace("application 9", "application 0").replace("mid:0", "mid:1")
    other = section.replace("webrtc-datachannel", "bfcp").replace("mid:0", "mid:2")
    second = section.replace("mid:0", "mid:3")
    head = OFFER[: OFFER.index("m=app")]
    offer = parse(head + off + other + section + second)
    assert read_remote(offer).index == 2
    answer = write_answer(offer, LOCAL)
    assert [s.port for s in answer.media] == [0, 0, 9, 0]
    assert answer.media[3].lines[2:] == ("a=mid:3",)


def test_an_offer_without_data_section_is_answered_with_rejections():
    offer = parse(OFFER[: OFFER.index("a=group")] + AUDIO)
    assert data_section(offer) is None
    with pytest.raises(SdpError, match="no m=application section"):
        read_remote(offer)
    answer = write_answer(offer, LOCAL)
    assert [section.port for section in answer.media] == [0]
    with pytest.raises(SdpError, match="the offer has no data section"):
        check_answer(offer, answer)


def test_transport_in_the_audio_section_of_the_group_is_taken_from_there():
    """RFC 8829 §7.2: with max-bundle the data section is bundle-only and the audio section has it all."""
    lead = OFFER[: OFFER.index("a=group")] + "a=group:BUNDLE audio 0\n"
    audio = AUDIO + TRANSPORT + f"a={CANDIDATE}\na=end-of-candidates\n"
    data = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\na=mid:0\na=bundle-only\na=sctp-port:6000\n"
    remote = read(lead + audio + data)
    assert (remote.ufrag, remote.password, remote.setup) == ("WXYZ", "0123456789012345678901", "actpass")
    assert remote.fingerprints == (("sha-256", DIGEST),)
    assert remote.candidates == (parse_candidate(CANDIDATE),)
    assert remote.end_of_candidates
    assert (remote.index, remote.mid, remote.sctp_port) == (1, "0", 6000)
    audio_answer, data_answer = write_answer(parse(lead + audio + data), LOCAL).media
    assert audio_answer.port == 0
    assert audio_answer.find("ice-ufrag") is None
    assert data_answer.port == 9
    assert data_answer.find("bundle-only") is None
    assert data_answer.find("ice-ufrag").value == "abcd"


def test_a_bundled_section_with_a_transport_of_its_own_uses_that():
    """RFC 9143 §7.3.1: once the tagged section is rejected the next one counts; aiortc offers it so."""
    audio = AUDIO + TRANSPORT.replace("WXYZ", "otherone") + f"a={CANDIDATE}\na=end-of-candidates\n"
    remote = read(OFFER.replace("BUNDLE 0", "BUNDLE audio 0").replace("m=app", audio + "m=app"))
    assert (remote.ufrag, remote.candidates, remote.end_of_candidates) == ("WXYZ", (), False)


@pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup"])
def test_session_level_is_the_fallback(name):
    """Firefox, libdatachannel and pion have some there; RFC 8839 §5.4 allows ufrag and pwd."""
    (line,) = (line for line in OFFER.split("\n") if line.startswith(f"a={name}"))
    moved = OFFER.replace(line + "\n", "").replace("a=group", line + "\na=group")
    assert read(moved) == read(OFFER)
    doubled = OFFER.replace("a=group", f"a={name}:passive\na=group")
    assert read(doubled) == read(OFFER)


def test_flags_of_the_session():
    remote = read(OFFER.replace("a=group", "a=ice-lite\na=end-of-candidates\na=group"))
    assert remote.ice_lite
    assert remote.end_of_candidates


@pytest.mark.parametrize("extra", ["a=tls-id:" + "y" * 20, "a=sctp-init:AQAA"])
def test_what_the_offer_does_not_know_is_not_answered(extra):
    """RFC 8842 §5.3 for tls-id; draft-hancke-tsvwg-snap for sctp-init."""
    ours = local(tls_id="x" * 20, sctp_init=b"123")
    name = extra[2:].partition(":")[0]
    assert write_answer(parse(OFFER), ours).media[0].find(name) is None
    assert write_answer(parse(OFFER + extra), ours).media[0].find(name) is not None


@pytest.mark.parametrize("options", ["", "a=ice-options:renomination\n"])
def test_ice_options_are_answered_only_if_offered(options):
    """RFC 8829 §5.3.1."""
    text = OFFER.replace("a=ice-options:trickle ice2\n", options)
    assert write_answer(parse(text), LOCAL).media[0].find("ice-options") is None


@pytest.mark.parametrize(
    "text", ["ice2,trickle", "trickle ice2", " ice2 , trickle", "trickle\na=ice-options:ice2"]
)
def test_ice_options_in_several_spellings(text):
    """libdatachannel up to 0.24 has a comma."""
    assert read(OFFER.replace("trickle ice2", text)).ice_options == {"trickle", "ice2"}


# Dialects -----------------------------------------------------------------------------------------


def test_the_legacy_form_is_answered_in_kind():
    offer = parse(LEGACY)
    remote = read_remote(offer)
    assert (remote.legacy, remote.sctp_port) == (True, 5000)
    section = write_answer(offer, LOCAL).media[0]
    assert section.lines[0] == "m=application 9 DTLS/SCTP 5000"
    assert section.find("sctpmap").value == "5000 webrtc-datachannel 1024"
    assert section.find("sctp-port") is None
    again = write_offer(LOCAL, write_answer(offer, LOCAL)).media[0]
    assert again.lines[0] == "m=application 9 DTLS/SCTP 5000"


@pytest.mark.parametrize(
    ("text", "port", "legacy"),
    [
        # aiortc before 1.0 and Firefox before 63; node-webrtc answered these with port 0 and hung.
        (LEGACY.replace("application 9", "application 41420"), 5000, True),
        (LEGACY.replace("a=sctpmap:5000 webrtc-datachannel 256\n", ""), 5000, True),
        (LEGACY.replace("SCTP 5000", "SCTP 6000").replace("sctpmap:5000", "sctpmap:6000"), 6000, True),
        # draft-12
        (
            OFFER.replace("UDP/DTLS/SCTP", "DTLS/SCTP").replace("a=sctp-port:5000", "a=sctp-port 6000"),
            6000,
            False,
        ),
        (OFFER.replace("UDP/DTLS/SCTP", "TCP/DTLS/SCTP"), 5000, False),
        (OFFER.replace("a=sctp-port:5000\n", ""), 5000, False),
        (OFFER.replace("sctp-port:5000", "sctp-port:65535"), 65535, False),
    ],
)
def test_dialects_of_the_data_section(text, port, legacy):
    remote = read(text)
    assert (remote.sctp_port, remote.legacy) == (port, legacy)
    answer = write_answer(parse(text), LOCAL)
    assert answer.media[0].protocol == parse(text).media[0].protocol
    assert check_answer(parse(text), answer).legacy is legacy


@pytest.mark.parametrize(
    "text",
    [
        OFFER.replace("webrtc-datachannel", "t38"),
        OFFER.replace("UDP/DTLS/SCTP", "UDP/TLS/RTP/SAVPF"),
        OFFER.replace("m=application", "m=audio"),
        OFFER.replace("application 9", "application 0"),
        LEGACY.replace("5000 webrtc-datachannel", "5000 bfcp"),
        OFFER[: OFFER.index("a=group")],
    ],
)
def test_sections_that_are_not_for_us(text):
    with pytest.raises(SdpError, match="no m=application section"):
        read(text)


# Values that are missing, wrong or at their limits ------------------------------------------------


def swap(name: str, value: str | None) -> str:
    """OFFER with another value of an attribute, or without it."""
    return "".join(
        line if not line.startswith(f"a={name}:") else "" if value is None else f"a={name}:{value}\n"
        for line in OFFER.splitlines(keepends=True)
    )


M_LINE = 6
FINGERPRINT = "needs an a=fingerprint with sha-256, sha-384 or sha-512"


@pytest.mark.parametrize(
    ("name", "value", "line", "says"),
    [
        # 16: never connect unauthenticated
        ("fingerprint", None, M_LINE, FINGERPRINT),
        ("fingerprint", "sha-1 " + HEX[:59], 12, FINGERPRINT),
        ("fingerprint", "md5 " + HEX[:47], 12, FINGERPRINT),
        ("fingerprint", "sha3-256 " + HEX, 12, FINGERPRINT),
        ("fingerprint", "sha-256", 12, "32 octets"),
        ("fingerprint", "sha-256 " + HEX[:-3], 12, "32 octets"),
        ("fingerprint", "sha-256 " + HEX + ":00", 12, "32 octets"),
        ("fingerprint", "sha-384 " + HEX, 12, "48 octets"),
        ("fingerprint", "sha-256 " + HEX[:-2] + "XY", 12, "32 octets"),
        ("fingerprint", HEX, 12, FINGERPRINT),
        # 17: RFC 8839 §5.4
        ("ice-ufrag", None, M_LINE, "no a=ice-ufrag"),
        ("ice-ufrag", "abc", 9, "4 to 256"),
        ("ice-ufrag", "a" * 257, 9, "4 to 256"),
        ("ice-ufrag", "ab cd", 9, "4 to 256"),
        ("ice-ufrag", "abc:d", 9, "4 to 256"),
        ("ice-ufrag", "", 9, "4 to 256"),
        ("ice-pwd", None, M_LINE, "no a=ice-pwd"),
        ("ice-pwd", "a" * 21, 10, "22 to 256"),
        ("ice-pwd", "a" * 257, 10, "22 to 256"),
        ("ice-pwd", "\u00e4" * 22, 10, "22 to 256"),
        # 18
        ("setup", "holdconn", 13, "holdconn is not allowed"),
        ("setup", "both", 13, "must be actpass, active or passive"),
        ("setup", "", 13, "must be actpass, active or passive"),
        # 19
        ("sctp-port", "0", 14, "wants no association"),
        ("sctp-port", "65536", 14, "SCTP port must be a number"),
        ("sctp-port", "-1", 14, "SCTP port must be a number"),
        ("sctp-port", "", 14, "SCTP port must be a number"),
        ("sctp-port", "5000\na=sctp-port:5001", 15, "contradicts line 14"),
        ("max-message-size", "-1", 15, "max-message-size must be a number"),
        ("max-message-size", "1e6", 15, "max-message-size must be a number"),
        ("max-message-size", "1" * 21, 15, "max-message-size must be a number"),
        ("max-message-size", "1\na=sctp-init:%%", 16, "sctp-init must be base64"),
        ("max-message-size", "1\na=sctp-init:\u00e4", 16, "sctp-init must be base64"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(name, value, line, says):
    with pytest.raises(SdpError, match=says) as caught:
        read(swap(name, value))
    assert caught.value.line == line
    with pytest.raises(SdpError, match=says):
        write_answer(parse(swap(name, value)), LOCAL)


@pytest.mark.parametrize(
    "value",
    [
        f"sha-256 {HEX}",
        f"SHA-256 {HEX.lower()}",
        f" sha-256  {HEX} ",
        f"sha-256 {HEX.replace(':', '')}",
        f"sha-1 {HEX[:59]}\na=fingerprint:sha-256 {HEX}",
        f"sha-256 {HEX}\na=fingerprint:md5 nonsense",
    ],
)
def test_fingerprints_in_several_spellings(value):
    """RFC 8122 §5 wants upper case hex; hash names appear in both cases in its own examples."""
    assert read(swap("fingerprint", value)).fingerprints == (("sha-256", DIGEST),)


def test_several_fingerprints():
    others = [f"{name} {bytes(size).hex(':')}" for name, size in (("sha-512", 64), ("sha-384", 48))]
    value = f"{others[0]}\na=fingerprint:sha-256 {HEX}\na=fingerprint:{others[1]}"
    assert read(swap("fingerprint", value)).fingerprints == (
        ("sha-512", bytes(64)),
        ("sha-256", DIGEST),
        ("sha-384", bytes(48)),
    )


@pytest.mark.parametrize(
    ("name", "value"), [("ice-ufrag", "a" * 256), ("ice-pwd", "a+/0" * 64), ("ice-ufrag", "ab+/")]
)
def test_credentials_at_their_limits(name, value):
    remote = read(swap(name, value))
    assert value in (remote.ufrag, remote.password)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 65536),  # RFC 8841 §6.1; pion says nothing
        ("0", 0),  # no limit
        ("1073741823", 1073741823),  # Firefox
        ("18446744073709551616", 2**64),
        ("65536\na=max-message-size:65536", 65536),
    ],
)
def test_max_message_size(value, expected):
    assert read(swap("max-message-size", value)).max_message_size == expected


def test_a_candidate_that_cannot_be_read_is_skipped():
    """RFC 8839 §5.1: such lines are ignored, the description is not."""
    bad = ["", "x", "1 1 udp 1 192.0.2.1 99999 typ host", "1 1 udp 1 192.0.2.1 9 typ"]
    text = OFFER + "".join(f"a=candidate:{line}\n" for line in bad) + f"a={CANDIDATE}\na=candidate\n"
    assert read(text).candidates == (parse_candidate(CANDIDATE),)


@pytest.mark.parametrize(
    "line",
    [
        "1 1 udp 1 somewhere.example 9 typ host",
        "1 1 udp 1 192.0.2.1 0 typ host",
        "1 1 sctp 1 192.0.2.1 9 typ moon",
        "1 1 UDP 1 fe80::1%eth0 9 typ srflx",
        "1 2 udp 1 192.0.2.1 9 typ prflx network-id 1 ufrag x",
    ],
)
def test_an_unusual_candidate_is_kept(line):
    assert len(read(OFFER + f"a=candidate:{line}\n").candidates) == 1


# Setup --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "preferred", "expected"),
    [
        ("actpass", "active", "active"),
        ("actpass", "passive", "passive"),
        ("active", "active", "passive"),
        ("passive", "passive", "active"),
        (None, "active", "active"),
        (None, "passive", "passive"),
    ],
)
def test_the_answer_to_a_setup(offered, preferred, expected):
    """RFC 4145 §4.1, RFC 8842 §5.3: never both client, never both waiting."""
    assert answer_setup(offered, preferred) == expected
    ours = local(setup=preferred)
    assert write_answer(parse(swap("setup", offered)), ours).media[0].find("setup").value == expected


@pytest.mark.parametrize("offered", ["holdconn", "", "x"])
def test_a_setup_without_answer(offered):
    with pytest.raises(SdpError, match="cannot be answered"):
        answer_setup(offered)


@pytest.mark.parametrize(
    ("offered", "answered", "setup"),
    [
        ("actpass", "active", "active"),
        ("actpass", "passive", "passive"),
        ("actpass", "ACTIVE", "active"),
        ("actpass", None, "active"),
        ("active", None, "passive"),
        ("passive", None, "active"),
        ("active", "passive", "passive"),
        ("passive", "active", "active"),
        ("active", "active", None),  # werift and pion answer so: both would be clients
        ("passive", "passive", None),
        ("actpass", "actpass", None),
        ("active", "actpass", None),
    ],
)
def test_the_roles_of_an_answer(offered, answered, setup):
    offer = write_offer(local(setup=offered))
    answer = parse(swap("setup", answered))
    if setup is not None:
        assert check_answer(offer, answer).setup == setup
    else:
        with pytest.raises(SdpError, match="does not answer a=setup") as caught:
            check_answer(offer, answer)
        assert caught.value.line == 13


# Answers against our offer ------------------------------------------------------------------------


def mixed_offer() -> SessionDescription:
    """An offer of ours after a peer's audio was rejected: m=audio 0, m=application."""
    theirs = OFFER.replace("BUNDLE 0", "BUNDLE audio 0").replace("m=app", AUDIO + "m=app")
    return write_offer(LOCAL, write_answer(parse(theirs), LOCAL))


GOOD = OFFER.replace("actpass", "active").replace("m=app", AUDIO.replace("audio 9", "audio 0") + "m=app")


def test_a_good_answer():
    remote = check_answer(mixed_offer(), parse(GOOD))
    assert (remote.mid, remote.index, remote.ufrag) == ("0", 1, "WXYZ")


def test_an_answer_may_leave_the_mid_out():
    text = GOOD.replace("a=mid:0\n", "").replace("a=group:BUNDLE 0\n", "")
    assert check_answer(mixed_offer(), parse(text)).mid == "0"


def test_an_answer_in_the_manner_of_rfc_8843():
    """RFC 9143 §7.4.1: port 0 with a=bundle-only is an acceptance."""
    text = GOOD.replace("application 9", "application 0") + "a=bundle-only\n"
    assert check_answer(mixed_offer(), parse(text)).index == 1


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD + AUDIO.replace("mid:audio", "mid:more"), 20, "3 m= sections, the offer 2"),
        (GOOD[: GOOD.index("m=app")].replace("BUNDLE 0", "LS audio"), 9, "1 m= sections, the offer 2"),
        (GOOD.replace("m=audio", "m=video"), 6, "'video' does not answer 'audio'"),
        (GOOD.replace("mid:audio", "mid:other"), 6, "mid 'other' does not answer 'audio'"),
        (GOOD.replace("m=audio 0", "m=audio 9"), 6, "switched off"),
        (GOOD.replace("UDP/DTLS/SCTP", "TCP/DTLS/SCTP"), 10, "'TCP/DTLS/SCTP' does not answer"),
        (GOOD.replace("application 9", "application 0"), 10, "refused the data section"),
        (GOOD.replace("webrtc-datachannel", "t38"), 10, "refused the data section"),
        (GOOD.replace("a=ice-pwd", "a=x-pwd"), 10, "no a=ice-pwd"),
    ],
)
def test_an_answer_that_does_not_fit(text, line, says):
    """RFC 8829 §5.8.3, RFC 3264 §6."""
    with pytest.raises(SdpError, match=says) as caught:
        check_answer(mixed_offer(), parse(text))
    assert caught.value.line == line


def test_an_answer_must_not_bundle_what_was_not_offered():
    """RFC 9143 §7.4."""
    offer = parse(OFFER.replace("a=group:BUNDLE 0\n", ""))
    with pytest.raises(SdpError, match="bundles a section that the offer does not") as caught:
        check_answer(offer, parse(OFFER.replace("actpass", "active")))
    assert caught.value.line == M_LINE


# Renegotiation ------------------------------------------------------------------------------------


def test_a_re_offer_keeps_sections_and_mids_and_counts_on():
    """RFC 8829 §5.2.2, RFC 3264 §8."""
    offer = mixed_offer()
    assert offer.session_version == 2
    assert [(s.media, s.port, s.mid) for s in offer.media] == [("audio", 0, "audio"), ("application", 9, "0")]
    assert offer.bundles == (("0",),)
    again = write_offer(local(session_version=7, ufrag="wxyz"), offer)
    assert again.session_version == 7
    assert [(s.media, s.port, s.mid) for s in again.media] == [(s.media, s.port, s.mid) for s in offer.media]
    assert read_remote(again).ufrag == "wxyz"


def test_a_re_offer_without_living_data_section_adds_one():
    previous = parse(OFFER.replace("application 9", "application 0") + AUDIO.replace("mid:audio", "mid:1"))
    offer = write_offer(LOCAL, previous)
    assert [(s.media, s.port, s.mid) for s in offer.media] == [
        ("application", 0, "0"),
        ("audio", 0, "1"),
        ("application", 9, "2"),
    ]
    assert offer.bundles == (("2",),)


def test_a_data_section_without_mid_gets_one_in_our_offer():
    previous = write_answer(parse(LEGACY.replace("a=mid:0\n", "").replace("a=group:BUNDLE 0\n", "")), LOCAL)
    assert [section.mid for section in write_offer(LOCAL, previous).media] == ["0"]


@pytest.mark.parametrize(
    ("changes", "restart"),
    [
        ([], False),
        ([("sctp-port:5000", "sctp-port:5001")], False),
        ([(HEX, HEX + "\na=fingerprint:sha-512 " + bytes(64).hex(":"))], False),
        ([("WXYZ", "ABCD"), ("0123456789012345678901", "1" * 22)], True),
        ([("m=application 9", "m=application 0"), ("a=group:BUNDLE 0\n", "")], False),
        ([("a=setup", "a=tls-id:" + "x" * 20 + "\na=setup")], False),
        ([("a=mid:0\n", ""), ("a=group:BUNDLE 0\n", "")], False),
    ],
)
def test_a_new_description_of_a_peer(changes, restart):
    text = OFFER
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    assert check_update(parse(OFFER), parse(text)) is restart


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        # 17: both change, or none
        ("WXYZ", "ABCD", 9, "change together"),
        ("0123456789012345678901", "1" * 22, 9, "change together"),
        # 22
        (HEX, HEX[::-1], 12, "another certificate"),
        ("tls-id:y", "tls-id:z", 16, "another tls-id"),
        # 15
        (OFFER[OFFER.index("m=app") :], "", 5, "0 m= sections, where there were 1"),
        ("mid:0", "mid:7", M_LINE, "'application' with mid '0' before"),
    ],
)
def test_a_new_description_that_does_not_continue_the_old(old, new, line, says):
    before = OFFER + "a=tls-id:" + "y" * 20 + "\n"
    after = before.replace(old, new)
    if "BUNDLE" in after and "a=mid:0" not in after:
        after = after.replace("a=group:BUNDLE 0\n", "a=group:LS 0\n")
    if new == "":
        after = before[: before.index("m=app")].replace("BUNDLE", "LS")
    with pytest.raises(SdpError, match=says) as caught:
        check_update(parse(before), parse(after))
    assert caught.value.line == line


def test_a_switched_off_section_may_be_used_anew():
    """RFC 8829 §5.2.2: recycling."""
    before = parse(OFFER + AUDIO.replace("audio 9", "audio 0"))
    after = parse(OFFER + AUDIO.replace("audio", "video"))
    assert check_update(before, after) is False
    with pytest.raises(SdpError, match="was 'video'") as caught:
        check_update(after, before)
    assert caught.value.line == 16


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [(HEX, HEX[::-1], "another certificate"), ("tls-id:y", "tls-id:z", "another tls-id")],
)
def test_a_new_dtls_association_is_refused_even_with_an_ice_restart(old, new, says):
    """RFC 8842 §3.1 allows it; here it needs a new connection, and the error names the line."""
    before = OFFER + "a=tls-id:" + "y" * 20 + "\n"
    after = before.replace("WXYZ", "ABCD").replace("0123456789012345678901", "1" * 22).replace(old, new)
    with pytest.raises(SdpError, match=f"{says} needs a new connection") as caught:
        check_update(parse(before), parse(after))
    assert after.split("\n")[caught.value.line - 1].startswith(("a=fingerprint", "a=tls-id"))


def test_a_section_in_use_may_be_switched_off():
    """RFC 8841 §10.5, RFC 3264 §8.2."""
    off = parse(OFFER.replace("m=application 9", "m=application 0").replace("a=group:BUNDLE 0\n", ""))
    assert check_update(parse(OFFER), off) is False
    assert [section.rejected for section in write_answer(off, LOCAL).media] == [True]
