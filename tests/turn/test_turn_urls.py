"""URLs of servers: what browsers, Godot and the RFCs write, and what nobody may."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.errors import InvalidParameter
from rtcstack.turn import ServerUrl, parse_url


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "transport"),
    [
        # RFC 7064 appendix A, RFC 7065 appendix A
        ("stun:example.org", "stun", "example.org", 3478, "udp"),
        ("stuns:example.org", "stuns", "example.org", 5349, "tls"),
        ("stun:example.org:8000", "stun", "example.org", 8000, "udp"),
        ("turn:example.org", "turn", "example.org", 3478, "udp"),
        ("turns:example.org", "turns", "example.org", 5349, "tls"),
        ("turn:example.org:8000", "turn", "example.org", 8000, "udp"),
        ("turn:example.org?transport=udp", "turn", "example.org", 3478, "udp"),
        ("turn:example.org?transport=tcp", "turn", "example.org", 3478, "tcp"),
        ("turns:example.org?transport=tcp", "turns", "example.org", 5349, "tls"),
        # What real configurations have
        ("stun:stun.l.google.com:19302", "stun", "stun.l.google.com", 19302, "udp"),
        ("TURN:Example.org:443?transport=TCP", "turn", "Example.org", 443, "tcp"),
        ("turns:192.0.2.1:443", "turns", "192.0.2.1", 443, "tls"),
        ("turn:[2001:db8::1]", "turn", "2001:db8::1", 3478, "udp"),
        ("stun:[::1]:99", "stun", "::1", 99, "udp"),
        # Godot's native plugin
        ("stun://example.org", "stun", "example.org", 3478, "udp"),
        ("example.org", "stun", "example.org", 3478, "udp"),
        ("example.org:1000", "stun", "example.org", 1000, "udp"),
        ("localhost:3478", "stun", "localhost", 3478, "udp"),
        ("turn:example.org?transport=tls", "turn", "example.org", 5349, "tls"),
        ("turns:example.org:1?transport=tls", "turns", "example.org", 1, "tls"),
        ("stun:example.org?transport=tcp", "stun", "example.org", 3478, "tcp"),
        ("stun:münchen.example", "stun", "münchen.example", 3478, "udp"),
    ],
)
def test_urls_are_read(url: str, scheme: str, host: str, port: int, transport: str) -> None:
    """RFC 7064 §3.1, RFC 7065 §3.1."""
    assert parse_url(url) == ServerUrl(scheme, host, port, transport)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        ("turn:user:secret@example.org:99", "user", "secret"),
        ("turn://user:secret@example.org:99", "user", "secret"),
        ("turn:user@example.org:99", "user", None),
        ("turn:user:@example.org:99", "user", ""),
        ("turn:1700000000%3Auser:p%40ss%2Fw%C3%B6rd@example.org:99", "1700000000:user", "p@ss/wörd"),
        ("turn:user@home:a:b@example.org:99", "user@home", "a:b"),
    ],
)
def test_credentials_in_the_url_are_read(url: str, username: str, password: str | None) -> None:
    assert parse_url(url) == ServerUrl("turn", "example.org", 99, "udp", username, password)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stun:",
        "turn:",
        "turns://",
        "turn:@",
        "turn:user:secret@",
        "turn:user:secret?secret@example.org",
        "http://user:secret@example.org",
        "http://example.org",
        "http:example.org",
        "turn:example.org:",
        "turn:example.org:0",
        "turn:example.org:65536",
        "turn:example.org:123456",
        "turn:example.org:abc",
        "turn:example.org:-1",
        "turn:2001:db8::1",
        "turn:[2001:db8::1",
        "turn:[]",
        "turn:[192.0.2.1]",
        "turn:[example.org]:99",
        "turn:[2001:db8::1]99",
        "turn:example.org/path",
        "turn:example.org#part",
        "turn:exam ple.org",
        "turn:example.org\n",
        "turn:///example.org",
        "turn:example.org?",
        "turn:example.org?transport",
        "turn:example.org?transport=",
        "turn:example.org?transport=sctp",
        "turn:example.org?transport=udp&x=1",
        "turn:example.org?ttl=1",
        "turns:example.org?transport=udp",
        "turn:" + 300 * "a",
    ],
)
def test_bad_urls_are_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_url(url)
    assert "allowed is" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", [None, 5, b"stun:example.org", ["stun:example.org"]])
def test_what_is_no_text_is_refused(url: object) -> None:
    with pytest.raises(InvalidParameter, match="must be a string"):
        parse_url(url)  # type: ignore[arg-type]


def test_neither_errors_nor_reprs_show_credentials() -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_url("turn:me:secret@example.org:0")
    assert "secret" not in str(caught.value)
    assert "example.org:0" in str(caught.value)
    url = parse_url("turn:me:secret@example.org")
    assert "secret" not in repr(url)
    assert "secret" not in str(url)


@pytest.mark.parametrize(
    "text",
    [
        "stun:example.org:3478",
        "stuns:[::1]:5349",
        "turn:example.org:80?transport=tcp",
        "turns:example.org:443",
        "turn:example.org:443?transport=tls",
    ],
)
def test_urls_are_written_in_full(text: str) -> None:
    assert str(parse_url(text)) == text
    assert parse_url(text).is_turn == text.startswith("turn")


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=40),
        st.text(alphabet="sturn:/@[].0a?=&#%tcp ", max_size=40),
        st.builds("turn:{}".format, st.text(alphabet=":/@[].0a?=%", max_size=30)),
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidParameter):
        url = parse_url(text)
        assert url.host
        assert 0 < url.port < 65536
        assert parse_url(str(url)) == ServerUrl(url.scheme, url.host, url.port, url.transport)
