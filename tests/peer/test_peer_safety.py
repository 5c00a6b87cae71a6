"""What strangers, and a peer that means harm, can make a connection do: hardly anything."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from peer_support import CHAT

from rtcstack import PeerConnection
from rtcstack.testing import VirtualNetwork

A = ("10.0.0.1", 50000)


class Meeting:
    """Two peers, `a` at 10.0.0.1:50000, wired and not started."""

    def __init__(self) -> None:
        self.network = VirtualNetwork(seed=1, delay=0.01)
        self.hosts = [self.network.host("a", ["10.0.0.1"]), self.network.host("b", ["10.0.0.2"])]
        self.a, self.b = self.both = tuple(
            PeerConnection(network=host, random_bytes=random.Random(host.name).randbytes)
            for host in self.hosts
        )
        self.chat_a, self.chat_b = (peer.create_data_channel("chat", CHAT) for peer in self.both)
        for peer, other in (self.both, self.both[::-1]):
            peer.session_description_created.connect(other.set_remote_description)
            peer.ice_candidate_created.connect(other.add_ice_candidate)

    def run(self, until: Callable[[], object], limit: float = 10.0) -> bool:
        return self.network.run(lambda: bool(until()), limit=limit, peers=self.both)

    def connect(self) -> None:
        self.a.create_offer()
        assert self.run(lambda: self.chat_a.get_ready_state() == self.chat_a.STATE_OPEN)
        assert self.run(lambda: self.chat_b.get_ready_state() == self.chat_b.STATE_OPEN)


datagrams = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(lambda first, rest: bytes([first]) + rest, st.integers(0, 79), st.binary(max_size=200)),
        st.builds(
            lambda kind, body: (
                kind.to_bytes(2) + len(body).to_bytes(2) + bytes.fromhex("2112a442") + bytes(12) + body
            ),
            st.sampled_from([0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0116]),
            st.binary(max_size=80).map(lambda body: body[: len(body) & ~3]),
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=20)
@given(datagrams, st.booleans())
def test_a_stranger_does_no_harm_and_gets_no_more_than_it_sends(sent: list[bytes], is_up: bool) -> None:
    """RFC 8445 §19.5.1, RFC 8827 §6.5: no exception, no state, an answer a request at most, hardly larger."""
    meeting = Meeting()
    stranger = meeting.network.host("stranger", ["203.0.113.66"])
    answers: list[bytes] = []
    way_back = meeting.network.link(meeting.hosts[0], stranger)
    way_back.change(drop=lambda data, number: answers.append(data) is None)
    if is_up:
        meeting.connect()
    else:
        meeting.a.create_offer()
        meeting.a.poll()
    meeting.network.inject(("203.0.113.66", 4242), A, sent)
    meeting.a.poll()
    assert len(answers) <= sum(data[:1] < b"\x04" for data in sent)
    assert sum(map(len, answers)) <= 3 * sum(map(len, sent)) + 100
    assert not any(line.startswith("  prflx") for line in meeting.a.explain().splitlines())
    if is_up:
        meeting.chat_b.put_packet("unharmed")
        assert meeting.run(meeting.chat_a.get_available_packet_count)


def test_nothing_but_stun_is_looked_at_from_an_address_that_has_passed_no_check() -> None:
    """RFC 8827 §6.5, RFC 7983 §7: DTLS, ChannelData, RTP and noise are counted, no more."""
    meeting = Meeting()
    meeting.connect()
    hello = b"\x16\xfe\xff" + bytes(60)
    meeting.network.inject(
        ("203.0.113.66", 4242), A, [hello, b"\x40\0\0\4data", b"\x80" + bytes(30), b"\xff"]
    )
    meeting.network.inject(("10.0.0.2", 50001), A, [hello])  # the peer's host, another port
    meeting.a.poll()
    drops = meeting.a.get_stats().drops
    assert drops["session.unvalidated_source"] == 2
    assert drops["session.not_stun_or_dtls"] == 3
    assert not any(name.startswith("dtls.") for name in drops)


def test_a_peer_cannot_turn_us_against_a_third_host() -> None:
    """RFC 8445 §19.5.1, §14.2: 100 candidates at most, one check every 50 ms, seven times each."""
    meeting = Meeting()
    victim = meeting.network.host("victim", ["192.0.2.99"])
    link = meeting.network.link(meeting.hosts[0], victim)
    meeting.network.link(meeting.hosts[0], meeting.hosts[1]).change(loss=1.0)
    meeting.a.create_offer()
    assert meeting.run(lambda: meeting.a.get_signaling_state() == meeting.a.SIGNALING_STATE_STABLE)
    for port in range(1, 2001):
        line = f"candidate:{port} 1 udp 2130706431 192.0.2.99 {port} typ host"
        meeting.a.add_ice_candidate("0", 0, line)
    meeting.network.run(1.0)
    assert link.stats.sent <= 1 + 20
    assert meeting.run(lambda: meeting.a.get_connection_state() == meeting.a.STATE_FAILED, limit=100.0)
    assert 100 < link.stats.sent <= 100 * 7
    assert meeting.a.get_stats().drops["ice.remote_overflow"] >= 1900
    sent = link.stats.sent
    meeting.network.run(60.0)
    assert link.stats.sent == sent
