"""Candidate lines of every shape: what a peer writes there makes nobody ask the world for anything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from session_support import Sessions

from rtcstack.errors import SdpError

WORDS = [
    "1",
    "udp",
    "tcp",
    "typ",
    "host",
    "srflx",
    "raddr",
    "rport",
    "tcptype",
    "passive",
    "so",
    "generation",
    "0",
    "65536",
    "-1",
    "2130706431",
    "10.0.0.7",
    "::1",
    "fe80::1%eth0",
    "x.local",
    "example.org",
    "224.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "localhost",
    ".local",
]
words = st.one_of(st.sampled_from([*WORDS, "a" * 300]), st.text(max_size=12))
lines = st.one_of(
    st.text(max_size=80),
    st.lists(words, max_size=14).map(lambda parts: "candidate:" + " ".join(parts)),
    st.builds(
        lambda address, port, kind: f"a=candidate:1 1 udp 2130706431 {address} {port} typ {kind}",
        st.one_of(words, st.ip_addresses().map(str)),
        st.one_of(words, st.integers(-1, 70000)),
        words,
    ),
)


@settings(max_examples=50)
@given(st.lists(lines, max_size=8))
def test_no_line_does_harm_and_no_name_is_looked_up_but_local_ones(given_lines: list[str]) -> None:
    """RFC 8839 §5.1: SdpError at most; only names of mDNS are asked for, and only of the local network."""
    sessions = Sessions()
    sessions.a.create_offer()
    sessions.exchange()
    for line in given_lines:
        try:
            sessions.a.add_remote_candidate(line)
        except SdpError:
            continue
    assert sessions.a.take_lookups() == []
    names = sessions.a.take_local_names()
    assert all(name.endswith(".local") for name in names)
    for name in names:
        sessions.a.local_name_resolved(name, [], "nobody has answered")
    sessions.gather()
    sessions.run(1.0)
