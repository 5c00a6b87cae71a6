"""What a session does with what is known of the path of its selected pair."""

from __future__ import annotations

import pytest
from session_support import ADDRESS_A, ADDRESS_B, Sessions

from rtcstack.sctp import Options as SctpOptions
from rtcstack.session import SessionOptions


def largest_datagram(s: Sessions) -> int:
    """Let A send much and tell how large its largest datagram was."""
    s.a.send(s.channel_a, bytes(200_000), False, s.now)
    for _ in range(20):  # beside a full chunk there is room for small ones
        s.a.send(s.channel_a, bytes(60), False, s.now)
    sizes = []
    for _ in range(200):
        for local, remote, datagrams in s.a.take_packets(s.now):
            sizes += map(len, datagrams)
            s.b.receive(remote, local, datagrams, s.now)
        for local, remote, datagrams in s.b.take_packets(s.now):
            s.a.receive(remote, local, datagrams, s.now)
    return max(sizes)


@pytest.mark.parametrize(
    ("mtu", "least", "most"),
    [(0, 1300, 1452), (1300, 1200, 1272), (1500, 1300, 1472), (9000, 8900, 8972), (65_535, 15_900, 16_000)],
)
def test_packets_grow_to_what_the_first_link_carries(mtu, least, most):
    """RFC 8899: the search ends below the link by 28 bytes of IPv4 and UDP."""
    s = Sessions()
    s.a.create_offer()
    s.exchange()
    s.gather()
    while s.a.route is None:
        s.run(0.01)
    assert s.a.route == (ADDRESS_A, ADDRESS_B)
    s.a.route_found(mtu)
    assert s.a.route is None
    s.run(5.0)
    assert least <= largest_datagram(s) <= most


def test_without_discovery_a_larger_link_changes_nothing():
    s = Sessions(SessionOptions(sctp=SctpOptions(path_mtu_limit=0))).connect()
    s.a.route_found(65_535)
    s.run(5.0)
    assert largest_datagram(s) <= 1200


def test_datagrams_may_be_cut_from_when_the_path_narrows_until_all_of_them_have_arrived():
    """RFC 9260 section 6.9."""
    s = Sessions().connect()
    s.a.route_found(65_535)
    s.run(5.0)
    s.a.send(s.channel_a, bytes(200_000), False, s.now)
    lost = s.a.take_packets(s.now)
    assert lost
    assert not s.a.may_fragment
    s.a.route_found(1280)
    s.a.take_packets(s.now)
    s.a.handle_timeout(s.now)
    assert s.a.may_fragment
    s.run(10.0)
    assert not s.a.may_fragment
    assert s.b.take_message(s.channel_b) == (bytes(200_000), False)
