"""Roles, conflicts and nomination."""

from __future__ import annotations

import pytest
from ice_link import A4, A6, Z4, Z6, Link, Packet, answer, request

from rtcstack import stun
from rtcstack.ice import Address, IceState, PairSelected
from rtcstack.stun import Message, MessageClass

# Role conflicts (RFC 8445 §7.3.1.1, §7.2.5.1)


@pytest.mark.parametrize("roles", [(True, True), (False, False)])
@pytest.mark.parametrize("tie_breakers", [(9, 5), (5, 9), (7, 7), (None, None)])
def test_a_role_conflict_is_repaired(roles: tuple[bool, bool], tie_breakers: tuple[int, int]) -> None:
    """RFC 8445 §7.3.1.1: the larger tie-breaker controls.

    Of equal ones both may end as controlled, with a nominated pair; the next consent request settles that.
    """
    link = Link(roles=roles, tie_breakers=tie_breakers)
    link.connect()
    link.run(8.0)
    assert link.a.controlling is not link.z.controlling
    if tie_breakers in ((9, 5), (5, 9)):
        assert link.a.controlling is (tie_breakers == (9, 5))
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert link.a.stats.role_switches + link.z.stats.role_switches <= 6
    assert (link.selected(link.a) or 99) <= 0.3
    assert (link.selected(link.z) or 99) <= 0.3


def test_a_487_switches_the_role_and_changes_the_tie_breaker() -> None:
    """RFC 8445 §7.2.5.1."""
    link = Link(tie_breakers=(1, 0))
    link.describe(link.a)
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    key = link.z.password.encode()
    link.a.receive([answer(check, key, error=487)], A4, Z4, link.now)
    assert not link.a.controlling
    ((_, _, (again,)),) = link.a.take_packets(link.now)
    message = Message.parse(again)
    assert message.get(stun.ICE_CONTROLLING) is None
    assert message.get(stun.ICE_CONTROLLED) not in (None, 1)
    assert message.transaction_id != Message.parse(check).transaction_id


def test_a_stale_487_switches_nothing() -> None:
    """RFC 8445 §7.2.5.1: two checks of the old role, two refusals, one switch."""
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    link.describe(link.a)
    checks = [
        (source, destination, data)
        for time in (0.0, 0.05)
        for source, destination, datagrams in link.a.take_packets(link.now + time)
        for data in datagrams
    ]
    assert len(checks) == 2
    for source, destination, check in checks:
        refusal = answer(check, link.z.password.encode(), error=487)
        link.a.receive([refusal], source, destination, link.now + 0.1)
    assert not link.a.controlling
    assert link.a.stats.role_switches == 1
    assert link.a.drops.stale_role_conflict == 1
    again = [data for *_, datagrams in link.a.take_packets(link.now + 0.1) for data in datagrams]
    assert len(again) == 2


def test_we_refuse_with_487_only_with_the_larger_tie_breaker() -> None:
    """RFC 8445 §7.3.1.1."""
    link = Link(tie_breakers=(100, 100))
    for agent, local, attribute, keeps in (
        (link.a, A4, "ICE_CONTROLLING", (99, 100)),
        (link.z, Z4, "ICE_CONTROLLED", (101, 200)),
    ):
        role = agent.controlling
        other = "ICE_CONTROLLED" if role else "ICE_CONTROLLING"
        for theirs in keeps:
            claim = {attribute: theirs, other: None}
            agent.receive([request(agent, **claim)], local, ("10.0.0.1", 1), link.now)
            ((_, _, (reply,)),) = agent.take_packets(link.now)
            assert Message.parse(reply).get(stun.ERROR_CODE) == (487, "Role Conflict")
            assert agent.controlling is role
        claim = {attribute: 101 if role else 100, other: None}
        agent.receive([request(agent, **claim)], local, ("10.0.0.1", 1), link.now)
        ((_, _, (reply,)),) = agent.take_packets(link.now)
        assert Message.parse(reply).message_class is MessageClass.SUCCESS
        assert agent.controlling is not role


def test_roles_may_be_set_before_the_start() -> None:
    link = Link(roles=(False, True))
    link.a.set_controlling(True)
    link.z.set_controlling(False)
    link.connect()
    link.run(0.5)
    assert link.a.controlling
    assert link.a.stats.role_switches == link.z.stats.role_switches == 0


# Nomination (RFC 8445 §8.1.1)


def test_regular_nomination_happens_once() -> None:
    """RFC 8445 §8.1.1: one pair only, and never by the controlled agent."""
    link = Link(addresses=([A4, A6, ("192.0.2.9", 9)], [Z4, Z6]))
    link.connect()
    link.run(3.0)
    nominations = [
        packet.sender
        for _, packet in link.sent
        if packet.is_request and stun.USE_CANDIDATE in packet.message.attributes
    ]
    assert nominations == [link.a]
    assert link.a.selected is not None
    assert link.z.selected is not None
    assert link.a.selected.local_address == link.z.selected.remote_address
    assert link.a.selected.priority == link.z.selected.priority


def drop(*addresses: Address, link: Link) -> None:
    link.filter = lambda packet: packet.destination not in addresses


def test_the_best_pair_that_works_is_nominated() -> None:
    """RFC 8445 §8.1.1: IPv6 is broken; IPv4 is used at once and nominated after 0.2 s of settling.

    The IPv4 check leaves Ta after the first; both ends select at 150 ms, and 200 ms later a nominates.
    """
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    drop(A6, Z6, link=link)
    link.connect()
    link.run(2.0)
    assert (link.selected(link.a), link.selected(link.z)) == (0.15, 0.15)
    assert link.when(link.z, IceState.COMPLETED) == 0.4
    assert link.when(link.a, IceState.COMPLETED) == 0.45


def test_a_better_pair_that_succeeds_while_settling_is_nominated() -> None:
    """RFC 8445 §8.1.1; data may use any valid pair before (§12.1)."""
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    lost: list[Packet] = []

    def lose_first_ipv6(packet: Packet) -> bool:
        if packet.destination in (A6, Z6) and len(lost) < 2:
            lost.append(packet)
            return False
        return True

    link.filter = lose_first_ipv6
    link.connect()
    link.run(0.2)
    assert link.a.selected is not None
    assert link.a.selected.local_address == A4
    link.z.receive([request(link.z, ufrag=link.a.ufrag)], Z6, A6, link.now)
    link.run(2.0)
    assert link.a.selected.local_address == A6
    assert link.a.selected.nominated
    chosen = [
        what.pair.local_address
        for who, _, what in link.log
        if isinstance(what, PairSelected) and who is link.a
    ]
    assert chosen == [A4, A6]


def test_a_reflexive_pair_waits_for_what_may_still_be_trickled() -> None:
    """RFC 8838 §14: unless the end of candidates has been told."""
    for told, completed in ((False, 0.4), (True, 0.2)):
        link = Link()
        link.describe(link.z)
        link.describe(link.a, candidates=False)
        if told:
            link.a.end_of_remote_candidates()
        link.run(2.0)
        # z checks at 0, a checks back at 50 ms and has a pair at 150 ms.
        assert link.selected(link.a) == 0.15
        assert link.when(link.z, IceState.COMPLETED) == pytest.approx(completed)


def test_a_lost_nomination_is_repeated() -> None:
    link = Link()
    lost: list[Packet] = []

    def lose_one(packet: Packet) -> bool:
        nominates = packet.is_request and stun.USE_CANDIDATE in packet.message.attributes
        if nominates and not lost:
            lost.append(packet)
            return False
        return True

    link.filter = lose_one
    link.connect()
    link.run(2.0)
    assert link.when(link.z, IceState.COMPLETED) == 0.65


def test_a_refused_nomination_falls_back_to_the_next_valid_pair() -> None:
    """RFC 8445 §7.2.5.3.4, where we deviate: the checklist lives on."""
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    link.describe(link.a)
    key = link.z.password.encode()
    pending = [link.a.take_packets(link.now)[0], link.a.take_packets(link.now + 0.05)[0]]
    for local, remote, (check,) in pending:
        link.a.receive([answer(check, key, XOR_MAPPED_ADDRESS=local)], local, remote, link.now + 0.06)
    ((local, remote, (nomination,)),) = link.a.take_packets(link.now + 0.06)
    assert local == A6
    link.a.receive([answer(nomination, key, error=400)], local, remote, link.now + 0.07)
    ((local, _, (nomination,)),) = link.a.take_packets(link.now + 0.07)
    assert local == A4
    assert stun.USE_CANDIDATE in Message.parse(nomination).attributes


def test_a_check_of_the_controlling_agent_after_its_nomination_is_not_sent() -> None:
    """RFC 8445 §8.1.2, §8.3.1: the peer's other pairs are answered only."""
    link = Link()
    link.connect()
    link.run(1.0)
    before = link.a.stats.checks_sent
    link.a.receive([request(link.a, ufrag=link.z.ufrag)], A4, ("192.0.2.77", 7), link.now)
    link.run(0.1)
    assert link.a.stats.checks_sent == before
    assert link.a.is_valid(A4, ("192.0.2.77", 7))


# Aggressive peers (RFC 5245)


def aggressive(link: Link, *remotes: Address, nominate: bool = True) -> None:
    """Check z from these addresses as an aggressive controlling peer does."""
    for remote in remotes:
        data = request(link.z, ufrag=link.a.ufrag, USE_CANDIDATE=nominate or None, PRIORITY=1000 + remote[1])
        link.z.receive([data], Z4, remote, link.now)


def serve(link: Link) -> None:
    """Answer every check of z."""
    for local, remote, datagrams in link.z.take_packets(link.now):
        for data in datagrams:
            if Message.parse(data).message_class is MessageClass.REQUEST:
                reply = answer(data, link.a.password.encode(), XOR_MAPPED_ADDRESS=local)
                link.z.receive([reply], local, remote, link.now)


def test_of_several_nominated_pairs_the_best_is_selected() -> None:
    """RFC 8445 §8.1.1: aggressive nomination."""
    link = Link()
    link.describe(link.z, candidates=False)
    low, high = ("10.0.0.1", 1), ("10.0.0.1", 9)
    for remote, expected in ((low, low), (high, high), (low, high)):
        aggressive(link, remote)
        serve(link)
        serve(link)
        assert link.z.selected is not None
        assert link.z.selected.remote_address == expected
        assert link.z.selected.nominated
    assert link.z.drops.use_candidate_ignored == 1


def test_a_nomination_follows_a_pair_that_has_gone_silent() -> None:
    """A peer whose path broke nominates another one, be it worse."""
    link = Link()
    link.describe(link.z, candidates=False)
    low, high = ("10.0.0.1", 1), ("10.0.0.1", 9)
    aggressive(link, high)
    serve(link)
    aggressive(link, low, nominate=False)
    serve(link)
    while link.z.state is not IceState.DISCONNECTED:
        link.now = link.z.deadline
        link.z.take_packets(link.now)
    aggressive(link, low)
    serve(link)
    assert link.z.selected is not None
    assert link.z.selected.remote_address == low
    assert link.z.state is IceState.COMPLETED


def test_a_pair_whose_consent_is_old_is_checked_before_it_is_used() -> None:
    """RFC 7675 §5.1: consent is regained before sending is resumed."""
    link = Link()
    link.describe(link.z, candidates=False)
    low, high = ("10.0.0.1", 1), ("10.0.0.1", 9)
    aggressive(link, low)
    serve(link)
    aggressive(link, high)
    serve(link)
    for _ in range(40):
        link.now += 1.0
        serve(link)
    assert link.z.state is IceState.COMPLETED
    data = request(link.z, ufrag=link.a.ufrag, USE_CANDIDATE=True, PRIORITY=1)
    link.z.receive([data], Z4, low, link.now)
    assert link.z.selected is not None
    assert link.z.selected.remote_address == high
    assert link.z.stats.checks_sent == 2
    serve(link)
    assert link.z.stats.checks_sent == 3


# Lite peers


def test_facing_a_lite_peer_we_control() -> None:
    """RFC 8445 §6.1.1: a lite agent never checks; the full one nominates."""
    link = Link(roles=(False, True))
    link.z.set_controlling(False)
    link.describe(link.a, lite=True)
    assert link.a.controlling
    link.a.set_controlling(False)
    assert link.a.controlling
    # z has no credentials of a: it answers like a lite agent and checks nothing.
    link.run(20.0)
    assert link.a.state is IceState.COMPLETED
    assert link.selected(link.a) == 0.1
    assert link.when(link.a, IceState.COMPLETED) == 0.2
    assert not [packet for _, packet in link.sent_by(link.z) if packet.is_request]
    assert IceState.DISCONNECTED not in link.states(link.a)
