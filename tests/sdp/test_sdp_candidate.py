"""Candidate lines: tolerant of how peers write them, strict about what they say."""

from __future__ import annotations

import pytest

from rtcstack.errors import SdpError
from rtcstack.sdp import CandidateLine, is_end_of_candidates, parse_candidate

HOST = CandidateLine("1", 1, "udp", 2130706431, "192.0.2.1", 3478, "host")
BASE = "candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host"


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        f"a={BASE}",  # libdatachannel trickles it so
        f"  {BASE} \r\n",
        BASE.replace("udp", "UDP"),  # Firefox, libdatachannel
        BASE.replace("candidate", "Candidate"),
        BASE.replace(" ", "  "),
        BASE.replace("typ host", "TYP HOST"),
    ],
)
def test_spellings_of_the_same_candidate(text):
    assert parse_candidate(text) == HOST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The example of RFC 8839 §5.1.
        (
            "candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
            CandidateLine("2", 1, "udp", 1694498815, "192.0.2.3", 45664, "srflx", "203.0.113.141", 8998),
        ),
        (
            "candidate:2 1 tcp 1518280447 10.0.0.1 9 typ host tcptype active generation 0 network-cost 50",
            CandidateLine(
                *("2", 1, "tcp", 1518280447, "10.0.0.1", 9, "host"),
                tcp_type="active",
                extensions=(("generation", "0"), ("network-cost", "50")),
            ),
        ),
        (
            "candidate:ab+/ 256 udp 0 ::1 0 typ relay generation 0 rport 5 ufrag x raddr ::",
            CandidateLine(
                *("ab+/", 256, "udp", 0, "::1", 0, "relay", "::", 5),
                extensions=(("generation", "0"), ("ufrag", "x")),
            ),
        ),
    ],
)
def test_fields_in_any_order(text, expected):
    assert parse_candidate(text) == expected
    assert parse_candidate(expected.write()) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("FE80:0:0::0001", "fe80::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("9b36eaac-bb2e-49bb-bb78-21c41c499900.local", "9b36eaac-bb2e-49bb-bb78-21c41c499900.local"),
        ("host.invalid", "host.invalid"),
        ("1.2.3.4.5", "1.2.3.4.5"),
    ],
)
def test_addresses_are_canonical_and_without_zone(address, expected):
    candidate = parse_candidate(f"candidate:1 1 udp 1 {address} 9 typ srflx raddr {address} rport 9")
    assert (candidate.address, candidate.related_address) == (expected, expected)


@pytest.mark.parametrize(
    ("tail", "extensions"),
    [
        (" generation 0 ufrag  network-id 1", (("generation", "0"), ("ufrag", ""), ("network-id", "1"))),
        (" ufrag", (("ufrag", ""),)),
        (" generation 0  ufrag abcd", (("generation", "0"), ("ufrag", "abcd"))),
    ],
)
def test_an_extension_may_have_an_empty_value(tail, extensions):
    """RFC 8839 §5.1: extension-att-value = *VCHAR."""
    candidate = parse_candidate(BASE + tail)
    assert candidate.extensions == extensions
    assert parse_candidate(candidate.write()) == candidate


def test_the_ufrag_tells_the_generation():
    assert parse_candidate(f"{BASE} generation 1 ufrag 82eb").ufrag == "82eb"
    assert parse_candidate(BASE).ufrag is None


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("candidate:1 1 udp 1 192.0.2.1 9 typ srflx", " raddr 0.0.0.0 rport 9"),
        ("candidate:1 1 udp 1 2001:db8::1 9 typ relay", " raddr :: rport 9"),
        ("candidate:1 1 udp 1 192.0.2.1 9 typ prflx raddr 192.0.2.2", " rport 9"),
    ],
)
def test_a_missing_related_address_is_filled_in(text, tail):
    """RFC 8839 §5.1: 0.0.0.0 or :: and port 9 for an address that is not told; Firefox insists on them."""
    assert parse_candidate(text).write() == text + tail


@pytest.mark.parametrize("text", ["candidate:1 1 xyz 1 a 1 typ host", "candidate:1 1 udp 1 a 1 typ moon"])
def test_what_the_future_brings_is_kept_for_ice_to_ignore(text):
    assert parse_candidate(text).write() == text + ("" if text.endswith("host") else " raddr 0.0.0.0 rport 9")


@pytest.mark.parametrize(
    "text",
    [
        *("", "candidate:", "a=candidate:", "x", "1 1 udp 1 192.0.2.1 9 typ host", "a=a=" + BASE),
        BASE.removesuffix(" host"),
        BASE.replace("typ", "type"),
        BASE.replace(":1 1 ", ":1 257 "),
        BASE.replace(":1 1 ", ":1 x "),
        BASE.replace("2130706431", "4294967296"),
        BASE.replace("2130706431", "-1"),
        BASE.replace("3478", "65536"),
        BASE.replace("3478", "9" * 5000),
        BASE.replace("192.0.2.1", "%eth0"),
        BASE + " raddr %1 rport 1",
        BASE + " raddr 192.0.2.1 rport x",
        BASE + "\r\na=ice-lite",
        BASE.replace(" ", "\t"),
        BASE + " ufrag \u00e4",
        BASE + " x\0 y",
        BASE + " x" * 5000,
    ],
)
def test_a_candidate_that_says_nothing_usable_is_refused(text):
    with pytest.raises(SdpError) as caught:
        parse_candidate(text, 7)
    assert caught.value.line == 7


@pytest.mark.parametrize(
    "text", ["", " \r\n", "candidate:", "a=candidate:", "end-of-candidates", "a=end-of-candidates"]
)
def test_ways_to_say_that_no_more_come(text):
    assert is_end_of_candidates(text)
    assert not is_end_of_candidates(BASE)
