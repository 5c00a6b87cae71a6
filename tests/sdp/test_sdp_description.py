"""Cutting text into lines and sections; every malformed text is refused with the number of its line."""

from __future__ import annotations

import pytest

from rtcstack.errors import Error, SdpError
from rtcstack.sdp import SessionDescription

HEAD = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


def test_sections_keep_their_lines_and_numbers():
    description = SessionDescription.parse(
        f"{HEAD}a=x:1\r\n{DATA}a=mid:d\r\nm=audio 49170/2 RTP/AVP 0 8\r\nb=AS:64"
    )
    assert description.session.lines == (*HEAD.split("\r\n")[:4], "a=x:1")
    assert description.session.numbers == (1, 2, 3, 4, 5)
    data, audio = description.media
    assert (data.index, data.line, data.mid, data.port) == (0, 6, "d", 9)
    assert (audio.index, audio.line, audio.mid, audio.port) == (1, 8, "", 49170)
    assert (audio.media, audio.protocol, audio.formats) == ("audio", "RTP/AVP", ("0", "8"))
    assert audio.lines == ("m=audio 49170/2 RTP/AVP 0 8", "b=AS:64")
    assert (description.session_id, description.session_version) == (1, 2)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\r\r\n", "\n\n", " \t\r\n"])
def test_any_line_end_will_do(end):
    text = (HEAD + DATA + "a=mid:0\r\na=group-not:x\r\n").replace("\r\n", end)
    (section,) = SessionDescription.parse(text).media
    assert section.mid == "0"


def test_only_cr_and_lf_end_a_line():
    description = SessionDescription.parse(HEAD + "a=x:\u2028\x0b\x85v=1\r\n")
    assert description.session.lines[-1] == "a=x:\u2028\x0b\x85v=1"


def test_blank_lines_count_for_line_numbers_but_are_not_kept():
    description = SessionDescription.parse("\n\n" + HEAD + "\n\n" + DATA)
    assert description.media[0].line == 9
    assert description == SessionDescription.parse(HEAD + DATA)


def test_unknown_lines_survive():
    lines = ["k=prompt", "z=0 0", "a=never-heard-of", "a=:", "a=", "a=with spaces  ", "b=X-YZ:128"]
    description = SessionDescription.parse(HEAD + "\r\n".join(lines))
    assert description.write() == HEAD + "".join(f"{line}\r\n" for line in lines)


def test_attributes_are_found_by_their_whole_name():
    (section,) = SessionDescription.parse(
        HEAD + DATA + "a=mid-x:no\r\na=midx\r\na=mid: 7 \r\na=flag\r\na=flag2:\r\na=sctp-port 5000"
    ).media
    assert section.find("mid") == ("7", 8)
    assert section.find("flag") == ("", 9)
    assert section.find("flag2") == ("", 10)
    assert section.find("sctp-port") == ("5000", 11)  # the space of draft-12
    assert section.find("sctp") is None
    assert section.find_all("other") == []


def test_an_attribute_may_be_repeated_but_not_contradicted():
    (section,) = SessionDescription.parse(HEAD + DATA + "a=x:1\r\na=x:1\r\na=y:1\r\na=y:2\r\n").media
    assert section.find("x") == ("1", 6)
    assert section.find_all("y") == [("1", 8), ("2", 9)]
    with pytest.raises(SdpError, match="contradicts line 8") as caught:
        section.find("y")
    assert caught.value.line == 9


def test_port_0_is_a_rejection_unless_the_section_is_bundle_only():
    description = SessionDescription.parse(
        HEAD + DATA.replace("9", "0") + DATA.replace("9", "0") + "a=bundle-only"
    )
    assert [section.rejected for section in description.media] == [True, False]


def test_bundle_groups_tell_who_shares_a_transport():
    description = SessionDescription.parse(
        HEAD
        + "a=group:LS a b\r\na=group:BUNDLE b a\r\na=group:BUNDLE c\r\na=group:BUNDLE\r\na=group:\r\n"
        + "".join(f"{DATA}a=mid:{mid}\r\n" for mid in "abcd")
        + DATA
    )
    a, b, c, d, e = description.media
    assert description.bundles == (("b", "a"), ("c",), ())
    assert description.bundled_with(a) == [b, a]
    assert description.bundled_with(c) == [c]
    assert description.bundled_with(d) == description.bundled_with(e) == []


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "begins with v=0"),
        ("\r\n\r\n", 1, "begins with v=0"),
        ("{}", 1, "not <type>=<value>"),
        ('{"type": "offer", "sdp": "v=0"}', 1, "not <type>=<value>"),
        ("\nv=1", 2, "begins with v=0"),
        ("o=- 1 1 IN IP4 0.0.0.0\nv=0", 1, "begins with v=0"),
        ("v=0", 1, "the o= line"),
        ("v=0\ns=-", 2, "the o= line"),
        ("v=0\no=- 1 1 IN IP4", 2, "o= needs"),
        ("v=0\no=- x 1 IN IP4 0.0.0.0", 2, "session id must be a number"),
        ("v=0\no=- -1 1 IN IP4 0.0.0.0", 2, "session id must be a number"),
        ("v=0\no=- \u00b2 1 IN IP4 0.0.0.0", 2, "session id must be a number"),
        ("v=0\no=- 1 18446744073709551616 IN IP4 0.0.0.0", 2, "session version must be a number"),
        (f"v=0\no=- {'9' * 5000} 1 IN IP4 0.0.0.0", 2, "session id must be a number"),
        (HEAD + "q=1", 5, "not <type>=<value>"),
        (HEAD + "a", 5, "not <type>=<value>"),
        (HEAD + " a=mid:0", 5, "not <type>=<value>"),
        (HEAD + "a =mid:0", 5, "not <type>=<value>"),
        (HEAD + "a=x\0y", 5, "NUL"),
        (HEAD + "a=" + "x" * 8191, 5, "8193 characters"),
        (HEAD + "a=" + b"\xff\xfe".decode("utf-8", "surrogateescape"), 5, "UTF-8"),
        (HEAD + "m=application 9 UDP/DTLS/SCTP", 5, "m= needs"),
        (HEAD + "m=application x UDP/DTLS/SCTP a", 5, "port must be a number"),
        (HEAD + "m=application 65536 UDP/DTLS/SCTP a", 5, "port must be a number"),
        (HEAD + "m=application -1 UDP/DTLS/SCTP a", 5, "port must be a number"),
        (HEAD + DATA + "a=mid:", 6, "mid must be a token"),
        (HEAD + DATA + "a=mid:a b", 6, "mid must be a token"),
        (HEAD + DATA + "a=mid:\u00e4", 6, "mid must be a token"),
        (HEAD + DATA + "a=mid:0\na=mid:1", 7, "contradicts line 6"),
        (HEAD + DATA + "a=mid:0\r\n" + DATA + "a=mid:0", 8, "'0' is used twice"),
        (HEAD + "a=group:BUNDLE 0 1\r\n" + DATA + "a=mid:0", 5, "'1', which no m= section has"),
        (HEAD + DATA * 101, 105, "more than 100 m="),
        (HEAD + "a=x\r\n" * 60_000, 52_425, "more than the 262144 allowed"),
        ("v=0\n" * 2_500_000, 65_537, "more than the 262144 allowed"),
        (b"v=0", 0, "a description is a str"),
        (None, 0, "a description is a str"),
    ],
)
def test_a_malformed_text_is_refused_with_its_line(text, line, says):
    """RFC 8829 §5.8: "If any line is not well formed ... the parser MUST stop with an error"."""
    with pytest.raises(SdpError, match=says) as caught:
        SessionDescription.parse(text)
    assert caught.value.line == line
    assert caught.value.code is Error.FAILED
