"""The examples of the RFCs (folder rfc/, folded lines put together again): read, written back, negotiated."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtcstack.sdp import (
    LocalParameters,
    SessionDescription,
    check_answer,
    check_update,
    data_section,
    parse_candidate,
    read_remote,
    write_answer,
)

EXAMPLES = {path.stem: path.read_text(encoding="ascii") for path in Path(__file__).parent.glob("rfc/*.sdp")}
B1_DIGEST = bytes.fromhex("29E21C3B4B9F81E6B85CF4A5A8D87304BB052F709F04A90E05E92633E87088A2")

RFC_8841 = """\
v=0
o=- 1 1 IN IP6 ::
s=-
t=0 0
a=ice-ufrag:8hhY
a=ice-pwd:asd88fgpdd777uzjYhagZg
m=application 54111 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP6 2001:DB8::A8FD
a=tls-id:abc3de65cddef001be82
a=setup:actpass
a=fingerprint:SHA-256 12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:\
7C:AB:4A:AD
a=sctp-port:5000
a=max-message-size:100000
"""
RFC_8841_ANSWER = RFC_8841.replace("abc3de65cddef001be82", "dbc8de77cddef001be90").replace(
    "actpass", "passive"
)


def parse(name: str) -> SessionDescription:
    return SessionDescription.parse(EXAMPLES[name])


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_written_back_without_its_blank_lines(name):
    description = parse(name)
    assert description.write().split("\r\n")[:-1] == [line for line in EXAMPLES[name].split("\n") if line]
    assert SessionDescription.parse(description.write()) == description


def test_a_bundle_only_data_section_takes_the_transport_of_the_audio_section():
    """RFC 8829 §7.2, offer-B1: max-bundle."""
    offer = parse("rfc8829-offer-b1")
    remote = read_remote(offer)
    assert (remote.mid, remote.index, remote.setup) == ("d1", 1, "actpass")
    assert (remote.ufrag, remote.password) == ("ATEn", "AtSK0WpNtpUjkY4+86js7ZQl")
    assert remote.fingerprints == (("sha-256", B1_DIGEST),)
    assert remote.tls_id == "17f0f4ba8a5f1213faca591b58ba52a7"
    assert remote.ice_options == {"trickle", "ice2"}
    assert remote.max_message_size == 65536


def test_the_answer_to_it():
    """RFC 8829 §7.2, answer-B1: the data section is no longer bundle-only, but its transport is elsewhere."""
    remote = check_answer(parse("rfc8829-offer-b1"), parse("rfc8829-answer-b1"))
    assert (remote.mid, remote.ufrag, remote.setup) == ("d1", "7sFv", "active")


def test_the_re_offer_and_its_answer_keep_everything():
    """RFC 8829 §7.2, offer-B2 and answer-B2: setup:passive keeps the DTLS roles."""
    offer, answer = parse("rfc8829-offer-b2"), parse("rfc8829-answer-b2")
    assert check_update(parse("rfc8829-answer-b1"), offer) is False
    assert check_update(parse("rfc8829-offer-b1"), answer) is False
    remote = check_answer(offer, answer)
    assert remote.setup == "passive"
    assert remote.end_of_candidates
    assert [(c.type, c.address, c.port) for c in remote.candidates] == [
        ("host", "203.0.113.100", 10100),
        ("srflx", "198.51.100.100", 11100),
        ("relay", "192.0.2.100", 12100),
    ]


def test_our_answer_to_it():
    local = LocalParameters(
        session_id=1,
        session_version=2,
        ufrag="7sFv",
        password="dOTZKZNVlO9RSGsEGM63JXT2",
        fingerprints=(("sha-256", bytes(32)),),
        setup="actpass",
        tls_id="7a25ab85b195acaf3121f5a8ab4f0f71",
    )
    answer = write_answer(parse("rfc8829-offer-b2"), local)
    assert answer.bundles == (("d1",),)
    assert [(s.mid, s.port) for s in answer.media] == [("a1", 0), ("d1", 9), ("v1", 0), ("v2", 0)]
    assert read_remote(answer).tls_id == local.tls_id


@pytest.mark.parametrize("name", sorted(name for name in EXAMPLES if "-b" not in name))
def test_examples_of_audio_and_video_have_nothing_for_us(name):
    assert data_section(parse(name)) is None


def test_rfc_8841_section_13():
    offer, answer = map(SessionDescription.parse, (RFC_8841, RFC_8841_ANSWER))
    assert SessionDescription.parse(offer.write()) == offer
    remote = check_answer(offer, answer)
    assert (remote.setup, remote.sctp_port, remote.max_message_size) == ("passive", 5000, 100000)
    assert remote.tls_id == "dbc8de77cddef001be90"
    assert remote.fingerprints[0][1].hex().startswith("12df3e5d")


def test_candidates_of_rfc_8839():
    (section,) = parse("rfc8839-offer").media
    host, reflexive = (parse_candidate(f"candidate:{value}") for value, _ in section.find_all("candidate"))
    assert (host.address, host.port, host.type) == ("fe80::6676:baff:fe9c:ee4a", 8998, "host")
    assert (reflexive.address, reflexive.port) == ("2001:db8:8101:3a55:4858:a2a9:22ff:99b9", 45664)
    assert (reflexive.related_address, reflexive.related_port) == (host.address, host.port)


def test_a_bundle_only_section_is_alive():
    """RFC 9143 §7.3.5 and §7.4.1: how RFC 8843 wrote subsequent offers and answers."""
    for name in ("rfc9143-7.3.5-offer", "rfc9143-7.4.1-answer"):
        description = parse(name)
        assert [section.rejected for section in description.media] == [False, False]
        assert description.bundled_with(description.media[1]) == list(description.media)
