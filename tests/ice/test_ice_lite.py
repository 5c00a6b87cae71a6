"""Being an ICE-lite agent, for servers that everybody can reach (RFC 8445 section 2.5)."""

from __future__ import annotations

import pytest
from ice_link import A4, Z4, Link, request

from rtcstack import stun
from rtcstack.errors import InvalidState
from rtcstack.ice import Agent, IceState, Options
from rtcstack.stun import Message


def lite_link() -> Link:
    """Agent a is full, z is lite."""
    link = Link(addresses=([A4], []))
    link.z = Agent(controlling=True, random_bytes=link.random.randbytes, options=Options(lite=True))
    link.z.add_local_address(Z4)
    link.z.end_of_local_candidates()
    return link


def connected() -> Link:
    link = lite_link()
    link.describe(link.a, lite=True)
    link.describe(link.z)
    link.run(1.0)
    return link


def test_a_lite_agent_answers_and_never_asks() -> None:
    """RFC 8445 §7: a lite agent is a STUN server only; the pair is the one that the peer nominates."""
    link = connected()
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert link.when(link.z, IceState.COMPLETED) == 0.15
    assert link.z.selected is not None
    assert (link.z.selected.local_address, link.z.selected.remote_address) == (Z4, A4)
    link.run(120.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert not [packet for _, packet in link.sent_by(link.z) if packet.is_request]


def test_a_lite_agent_is_controlled() -> None:
    """RFC 8445 §6.1.1: even when it makes the offer, and against whoever claims the same role."""
    link = lite_link()
    assert not link.z.controlling
    link.z.set_controlling(True)
    assert not link.z.controlling
    claim = {"ICE_CONTROLLED": 2**64 - 1, "ICE_CONTROLLING": None}
    link.z.receive([request(link.z, ufrag=link.a.ufrag, **claim)], Z4, A4, link.now)
    ((_, _, (reply,)),) = link.z.take_packets(link.now)
    assert Message.parse(reply).get(stun.ERROR_CODE) == (487, "Role Conflict")
    assert not link.z.controlling


def test_a_lite_agent_has_host_candidates_only() -> None:
    """RFC 8445 §5.2."""
    link = lite_link()
    link.z.restart()
    assert link.z.add_reflexive(Z4, ("203.0.113.7", 1)) is None
    assert link.z.add_relayed(("203.0.113.7", 1), Z4) is None


def test_two_lite_agents_are_refused() -> None:
    """RFC 8445 §6.1.1: nobody would check."""
    link = lite_link()
    with pytest.raises(InvalidState, match="lite"):
        link.describe(link.z, lite=True)


def test_a_check_before_the_nomination_opens_the_gate_only() -> None:
    """RFC 8445 §7.3.2: no pair is selected before the peer has nominated it."""
    link = lite_link()
    link.describe(link.z)
    link.z.receive([request(link.z, ufrag=link.a.ufrag)], Z4, A4, link.now)
    assert link.z.is_valid(Z4, A4)
    assert link.z.selected is None
    link.z.receive([request(link.z, ufrag=link.a.ufrag, USE_CANDIDATE=True)], Z4, A4, link.now)
    assert link.z.selected is not None


def test_the_peers_requests_stand_for_answers() -> None:
    """RFC 7675 §5.1: only a full agent asks; a lite one stops when the peer asks no more."""
    link = connected()
    last = max(time for time, packet in link.sent if packet.is_request) + link.delay - 100.0
    link.filter = lambda packet: False
    link.run(40.0)
    assert 5.0 <= (link.when(link.z, IceState.DISCONNECTED) or 0) - last <= 7.01
    assert link.when(link.z, IceState.FAILED) == pytest.approx(last + 30.0)


def test_the_peer_may_move() -> None:
    """RFC 8445 §7.3.2: the latest nomination counts; NAT rebinding and new interfaces look the same."""
    link = connected()
    elsewhere = ("198.51.100.9", 999)
    for nominates in (None, True):
        data = request(link.z, ufrag=link.a.ufrag, USE_CANDIDATE=nominates, PRIORITY=1)
        link.z.receive([data], Z4, elsewhere, link.now)
    assert link.z.selected is not None
    assert link.z.selected.remote_address == elsewhere


def test_a_lite_agent_restarts_like_any_other() -> None:
    """RFC 8445 §9."""
    link = connected()
    link.a.restart()
    link.describe(link.z)
    link.describe(link.a, lite=True)
    link.run(1.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert not [packet for _, packet in link.sent_by(link.z) if packet.is_request]


def test_a_lite_agent_that_nobody_reaches_gives_up() -> None:
    """RFC 8863 §4."""
    link = lite_link()
    link.describe(link.z)
    link.run(60.0)
    assert link.when(link.z, IceState.FAILED) == 39.5
