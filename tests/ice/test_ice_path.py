"""The path changes under a connection: silence, better pairs, later nominations (RFC 7675, RFC 8445 §8)."""

from __future__ import annotations

import itertools
import math

import pytest
from ice_link import A4, A6, Z4, Z6, Link, Packet, answer, request

from rtcstack import stun
from rtcstack.ice import Address, Agent, Candidate, IceState, Options, PairSelected
from rtcstack.stun import Message, MessageClass

RELAY: Address = ("203.0.113.200", 60000)


def connected(**fields: object) -> Link:
    link = Link(**{"addresses": ([A4, A6], [Z4, Z6]), **fields})  # type: ignore[arg-type]
    link.connect()
    link.run(2.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert selected(link.a) == A6
    return link


def selected(agent: Agent) -> Address:
    assert agent.selected is not None
    return agent.selected.local_address


def cut(link: Link, *addresses: Address) -> None:
    """Break the path of these addresses."""
    link.filter = lambda packet: not {packet.source, packet.destination} & set(addresses)


def nominations(link: Link, since: float = 0.0) -> list[tuple[float, Address]]:
    return [
        (round(time - 100.0, 3), packet.source)
        for time, packet in link.sent
        if time >= since and packet.is_request and stun.USE_CANDIDATE in packet.message.attributes
    ]


# The selected pair goes silent


def test_the_next_valid_pair_takes_over_from_a_silent_one() -> None:
    """RFC 7675 §5.1, RFC 8445 §12.1: found within a round trip of the silence, nominated by who controls."""
    link = connected()
    broke = link.now - 100.0
    cut(link, A6, Z6)
    link.run(9.0)
    assert (selected(link.a), selected(link.z)) == (A4, Z4)
    assert link.a.state is link.z.state is IceState.COMPLETED
    switches = [
        time - 100.0 for who, time, what in link.log if who is link.a and isinstance(what, PairSelected)
    ]
    assert switches[-1] - broke < 7.5
    assert nominations(link)[-1][1] == A4
    link.run(120.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_a_pair_that_was_never_checked_may_take_over() -> None:
    """RFC 8445 §8.1.2: nominated at once, so the others were given up; now they are needed."""
    link = Link(addresses=([A6], [Z6, Z4]))
    link.a.restart()
    link.a.add_relayed(RELAY, A4)
    link.connect()
    link.run(2.0)
    assert selected(link.a) == A6
    cut(link, A6, Z6)
    link.run(10.0)
    assert selected(link.a) == RELAY
    assert link.z.selected is not None
    assert link.z.selected.remote_address == RELAY
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_silence_without_another_path_ends_as_before() -> None:
    """RFC 7675 §5.1: 30 s after the last answer, at that instant, although other pairs are being checked."""
    link = connected()
    last = max(time for time, packet in link.sent if packet.destination == A6 and not packet.is_request)
    link.filter = lambda packet: False
    link.run(60.0)
    failed = link.when(link.a, IceState.FAILED)
    assert failed == pytest.approx(last + link.delay - 100.0 + 30.0)
    assert max(time for time, _ in link.sent_by(link.a)) < (failed or 0)


def test_a_path_that_comes_back_is_used_as_before() -> None:
    """RFC 7675 §5.1: should a worse path be the first to come back, the better one takes over again."""
    link = connected()
    link.filter = lambda packet: False
    link.run(8.0)
    assert link.a.state is link.z.state is IceState.DISCONNECTED
    link.filter = lambda packet: True
    link.run(15.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert selected(link.a) == A6
    assert link.z.selected is not None
    assert link.z.selected.remote_address == A6


def test_a_peer_that_is_heard_but_never_answers_makes_us_look_elsewhere() -> None:
    """RFC 7675 §5.1: data arrives, but half of the consent has passed without an answer."""
    link = connected()
    broke = link.now
    link.filter = lambda packet: packet.destination != Z6
    for _ in range(25):
        link.run(1.0)
        link.a.heard(link.now)
    assert IceState.DISCONNECTED not in link.states(link.a)
    assert selected(link.a) == A4
    times = [time for who, time, what in link.log if who is link.a and isinstance(what, PairSelected)]
    assert 9.0 < times[-1] - broke < 16.5


def test_consent_is_regained_before_a_pair_is_used_again() -> None:
    """RFC 7675 §5.1: a pair valid at set-up is checked, not trusted."""
    link = connected()
    link.run(60.0)
    before = link.now
    cut(link, A6, Z6)
    link.run(9.0)
    first_switch = next(
        time
        for who, time, what in link.log
        if who is link.a and isinstance(what, PairSelected) and time > before
    )
    checks = [
        time
        for time, packet in link.sent
        if before < time < first_switch and packet.source == A4 and packet.is_request
    ]
    assert checks


def test_a_pair_valid_long_ago_is_asked_at_once() -> None:
    """RFC 7675 §5.1: its consent is nearly used up when it takes over."""
    link = connected()
    link.run(26.5)
    link.z.remove_local(Z6)
    cut(link, Z6)
    assert selected(link.z) == Z4
    link.run(5.0)
    assert selected(link.z) == Z4
    link.run(60.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


# Better pairs that appear later


def test_a_better_pair_is_nominated_when_it_becomes_valid_later() -> None:
    """RFC 8445 §8.1.1, where we deviate: direct wins over relay even after a lost packet."""
    link = Link(addresses=([A4], [Z4]))
    link.a.restart()
    link.a.add_relayed(RELAY, A4)
    cut(link, A4)
    link.connect()
    link.run(1.0)
    assert selected(link.a) == RELAY
    assert link.a.state is link.z.state is IceState.COMPLETED
    link.filter = lambda packet: True
    link.run(8.0)
    assert selected(link.a) == A4
    assert link.z.selected is not None
    assert link.z.selected.remote_address == A4
    first, *_, last = [time for time, _ in nominations(link)]
    assert last - first >= 4.9
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_nominating_once_only_may_be_asked_for() -> None:
    """RFC 8445 §8.1.1: to the letter."""
    link = Link(addresses=([A4], [Z4]), options=Options(renomination_interval=math.inf))
    link.a.restart()
    link.a.add_relayed(RELAY, A4)
    cut(link, A4)
    link.connect()
    link.run(1.0)
    link.filter = lambda packet: True
    link.run(20.0)
    assert selected(link.a) == RELAY
    assert {source for _, source in nominations(link)} == {RELAY}


def test_better_pairs_one_after_the_other_are_nominated_seconds_apart() -> None:
    """RFC 8445 §8.1.1: no storm of nominations, whatever the peer's candidates do."""
    link = Link(addresses=([A4], []))
    link.z.restart()
    remotes = [("198.51.100.1", 1000 + number) for number in range(20)]
    for remote in remotes:
        link.z.add_local_address(remote)
    link.connect(candidates=False)
    for number, candidate in enumerate(reversed(link.z.local_candidates)):
        link.a.add_remote_candidate(candidate)
        link.run(0.5 + 0.01 * number)
    times = [time for time, _ in nominations(link)]
    assert 2 <= len(times) <= 4
    assert all(later - earlier >= 4.9 for earlier, later in itertools.pairwise(times))


def test_a_late_candidate_that_is_no_better_is_not_checked() -> None:
    """RFC 8445 §8.1.2: after the nomination."""
    link = connected()
    before = link.a.stats.checks_sent
    low = Candidate("9", 1, "udp", 1000, "198.51.100.77", 7, "relay")
    link.a.add_remote_candidate(low)
    link.run(0.5)
    assert link.a.stats.checks_sent == before


def test_a_late_candidate_that_is_better_is() -> None:
    link = Link(addresses=([A4], [Z4]))
    link.connect(candidates=False)
    low = Candidate("9", 1, "udp", 1000, *Z4, "relay")
    link.a.add_remote_candidate(low)
    link.run(2.0)
    assert link.a.state is IceState.COMPLETED
    link.a.add_remote_candidate(Candidate("8", 1, "udp", 2**30, "198.51.100.77", 7, "host"))
    link.run(0.1)
    assert link.sent_by(link.a)[-1][1].destination == ("198.51.100.77", 7)


# The controlled side follows


def controlled() -> tuple[Link, Address, Address]:
    """Return z, controlled, connected by a nominated pair with `high`, with a worse valid one with `low`."""
    link = Link(addresses=([A4], [Z4]))
    link.describe(link.z, candidates=False)
    low, high = ("10.0.0.1", 1), ("10.0.0.1", 9)
    check(link, low, nominate=False)
    check(link, high, nominate=False)
    check(link, high)
    assert link.z.selected is not None
    assert link.z.selected.remote_address == high
    return link, low, high


def check(link: Link, remote: Address, *, nominate: bool = True) -> None:
    """Check z from there, and answer whatever z asks."""
    data = request(link.z, ufrag=link.a.ufrag, USE_CANDIDATE=nominate or None, PRIORITY=1000 + remote[1])
    link.z.receive([data], Z4, remote, link.now)
    for _ in range(2):
        for local, to, datagrams in link.z.take_packets(link.now):
            for sent in datagrams:
                if Message.parse(sent).message_class is MessageClass.REQUEST:
                    reply = answer(sent, link.a.password.encode(), XOR_MAPPED_ADDRESS=local)
                    link.z.receive([reply], local, to, link.now)


def test_the_latest_nomination_is_followed() -> None:
    """RFC 8445 §7.3.1.5: a peer that nominates a worse pair, checked plainly before, means it."""
    link, low, high = controlled()
    check(link, low)
    assert link.z.selected is not None
    assert link.z.selected.remote_address == low
    assert link.z.selected.nominated
    check(link, high)
    assert link.z.selected.remote_address == high
    assert link.z.drops.use_candidate_ignored == 0


def test_a_controlled_agent_does_not_nominate() -> None:
    """RFC 8445 §8.1.1: it may only send by the best valid pair while there is no nominated one."""
    link = connected()
    link.z.remove_local(Z6)
    cut(link, Z6)
    link.run(20.0)
    assert selected(link.z) == Z4
    assert {packet.sender for _, packet in link.sent if is_nomination(packet)} == {link.a}


def is_nomination(packet: Packet) -> bool:
    return packet.is_request and stun.USE_CANDIDATE in packet.message.attributes
