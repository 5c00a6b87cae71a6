"""Candidates, pairs and checklist: priorities, foundations, who is paired with whom, what is frozen."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.errors import InvalidParameter
from rtcstack.ice import Agent, Candidate, EndOfLocalCandidates, LocalCandidate, Options, Pair, PairState
from rtcstack.ice.candidate import candidate_priority, normalize, peer_reflexive_priority, reach
from rtcstack.ice.checklist import Checklist


def agent() -> Agent:
    return Agent(controlling=True, random_bytes=random.Random(3).randbytes)


def candidate(number: int, priority: int = 0, *, local: bool, foundation: str = "1") -> Candidate:
    address = (f"10.0.{int(local)}.{number}", 5000)
    return Candidate(
        foundation, 1, "udp", priority or 1000 + number, *address, "host", base=address if local else None
    )


def pair(local: int, remote: int, priority: int = 0, foundation: str = "1") -> Pair:
    return Pair(
        candidate(local, priority, local=True),
        candidate(remote, priority, local=False, foundation=foundation),
        controlling=True,
    )


def test_recommended_priority() -> None:
    """RFC 8445 §5.1.2.1."""
    assert candidate_priority("host", 65535) == 2130706431
    assert candidate_priority("srflx", 65535) == 1694498815
    assert candidate_priority("relay", 65535, 2) == 16777214
    assert peer_reflexive_priority(2130706431) == candidate_priority("prflx", 65535) == 1862270975


def test_pair_priority_is_the_same_on_both_ends() -> None:
    """RFC 8445 §6.1.2.3: 2**32 MIN(G,D) + 2 MAX(G,D) + (G>D), G of the controlling agent."""
    a, z = candidate(1, 7, local=True), candidate(2, 5, local=True)
    assert Pair(a, z, controlling=True).priority == (5 << 32) + 2 * 7 + 1
    assert Pair(z, a, controlling=False).priority == (5 << 32) + 2 * 7 + 1
    assert Pair(a, z, controlling=False).priority == (5 << 32) + 2 * 7


def test_address_families_alternate_and_ipv6_comes_first() -> None:
    """RFC 8421 §4, RFC 8445 §5.1.2.1: unique preferences, whatever the order of gathering."""
    ours = agent()
    for number in range(3):
        ours.add_local_address((f"10.0.0.{number + 1}", 1000))
    for number in range(2):
        ours.add_local_address((f"2001:db8::{number + 1}", 1000))
    in_order = sorted(ours.local_candidates, key=lambda candidate: -candidate.priority)
    assert [candidate.address for candidate in in_order] == [
        "2001:db8::1",
        "10.0.0.1",
        "2001:db8::2",
        "10.0.0.2",
        "10.0.0.3",
    ]
    assert len({candidate.priority for candidate in in_order}) == 5
    assert in_order[0].priority == 2130706431


def test_same_address_same_foundation() -> None:
    """RFC 8445 §5.1.1.3: the port does not matter, the address does."""
    ours = agent()
    first = ours.add_local_address(("10.0.0.1", 1000), interface="eth0")
    second = ours.add_local_address(("10.0.0.1", 1001))
    third = ours.add_local_address(("10.0.0.2", 1000))
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.foundation == second.foundation != third.foundation
    assert first.interface == "eth0"


def test_host_candidates_are_reported_once() -> None:
    """RFC 8445 §5.1.3, RFC 8838 §9."""
    ours = agent()
    host = ours.add_local_address(("10.0.0.1", 1000))
    assert host is not None
    assert host.base == ("10.0.0.1", 1000)
    assert (host.type, host.component, host.transport) == ("host", 1, "udp")
    assert ours.add_local_address(("10.0.0.1", 1000)) is None
    ours.end_of_local_candidates()
    ours.end_of_local_candidates()
    assert ours.take_events() == [LocalCandidate(host), EndOfLocalCandidates()]
    assert ours.take_events() == []


def test_what_comes_after_the_end_is_told_with_the_next_restart() -> None:
    """RFC 8838 §13: no candidate follows the end of candidates in the same generation."""
    ours = agent()
    host = ours.add_local_address(("10.0.0.1", 1000))
    ours.end_of_local_candidates()
    ours.take_events()
    late = [
        ours.add_local_address(("10.0.0.2", 1000)),
        ours.add_reflexive(("10.0.0.2", 1000), ("198.51.100.1", 1000)),
        ours.add_relayed(("203.0.113.1", 1000), ("198.51.100.1", 1000)),
    ]
    assert None not in late
    assert ours.take_events() == []
    ours.restart()
    assert ours.take_events() == [LocalCandidate(each) for each in (host, *late)]


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fec0::1", "::10.0.0.1", "::ffff:10.0.0.1"]
)
def test_addresses_that_are_no_host_candidates(address: str) -> None:
    """RFC 8445 §5.1.1.1."""
    assert agent().add_local_address((address, 1000)) is None


@pytest.mark.parametrize("address", [("localhost", 1000), ("10.0.0.1", 0), ("10.0.0.1", 65536)])
def test_what_is_no_bound_address_raises(address: tuple[str, int]) -> None:
    with pytest.raises(InvalidParameter):
        agent().add_local_address(address)


def test_addresses_are_kept_in_one_form() -> None:
    assert normalize("2001:DB8:0::1%eth0") == "2001:db8::1"
    assert normalize("10.0.0.1") == "10.0.0.1"
    assert normalize("peer.local") is None
    assert normalize("") is None


@pytest.mark.parametrize(
    ("one", "other", "paired"),
    [
        ("10.0.0.1", "192.0.2.1", True),
        ("10.0.0.1", "2001:db8::1", False),
        ("fe80::1", "fe80::2", True),
        ("fe80::1", "2001:db8::1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("::1", "2001:db8::1", False),
        ("::1", "fe80::1", False),
    ],
)
def test_who_is_paired_with_whom(one: str, other: str, paired: bool) -> None:
    """RFC 8445 §6.1.2.2: family and link-local scope; loopback with loopback."""
    assert (reach(one) == reach(other)) is paired
    assert (reach(other) == reach(one)) is paired


@pytest.mark.parametrize(
    "values", [{"ta": 0.001}, {"rto": 0.1}, {"consent_interval": 1}, {"rc": 0}, {"max_pairs": 0}]
)
def test_options_that_the_rfcs_forbid_raise(values: dict[str, float]) -> None:
    with pytest.raises(InvalidParameter):
        Options(**values)  # type: ignore[arg-type]


# The checklist


def test_one_pair_of_each_foundation_waits() -> None:
    """RFC 8445 §6.1.2.6: the one of highest priority."""
    checklist = Checklist(100)
    first, second, other = pair(1, 2, 9), pair(1, 3, 8), pair(1, 4, 7, "2")
    for each in (first, second, other):
        checklist.add(each)
    assert [each.state for each in (first, second, other)] == [
        PairState.WAITING,
        PairState.FROZEN,
        PairState.WAITING,
    ]
    assert list(checklist) == [first, second, other]
    checklist.thaw(first.foundation)
    assert second.state is PairState.WAITING


def test_a_trickled_pair_on_top_or_of_a_proven_foundation_waits() -> None:
    """RFC 8838 §12 rules 1 and 2."""
    checklist = Checklist(100)
    low, high, later = pair(1, 2, 5), pair(1, 3, 8), pair(1, 4, 1)
    checklist.add(low)
    checklist.add(high)
    assert high.state is PairState.WAITING
    low.state = PairState.SUCCEEDED
    checklist.add(later)
    assert later.state is PairState.WAITING


def test_frozen_pairs_thaw_when_their_foundation_is_idle() -> None:
    """RFC 8445 §6.1.4.2 step 2: one of each foundation, not while one is in progress."""
    checklist = Checklist(100)
    first, second, third = pair(1, 2, 9), pair(1, 3, 8), pair(1, 4, 7)
    for each in (first, second, third):
        checklist.add(each)
    assert checklist.next_ordinary() is first
    first.state = PairState.IN_PROGRESS
    assert checklist.next_ordinary() is None
    first.state = PairState.FAILED
    assert checklist.next_ordinary() is second
    assert third.state is PairState.FROZEN


def test_a_full_checklist_discards_failed_pairs_then_the_worst() -> None:
    """RFC 8445 §6.1.2.5, RFC 8838 §11."""
    checklist = Checklist(2)
    low, middle, high, lowest = pair(1, 2, 5), pair(1, 3, 6), pair(1, 4, 7), pair(1, 5, 1)
    assert checklist.add(low) is None
    assert checklist.add(middle) is None
    assert checklist.add(lowest) is lowest
    assert checklist.add(high) is low
    high.state = PairState.FAILED
    assert checklist.add(low) is high
    low.state = middle.state = PairState.SUCCEEDED
    assert checklist.add(high) is high
    assert list(checklist) == [middle, low]


actions = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "trigger", "state", "thaw", "next", "conclude", "role", "revive"]),
        st.integers(0, 7),
        st.integers(1, 20),
        st.sampled_from(PairState),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(actions)
def test_the_checklist_stays_sorted_bounded_and_consistent(actions: list) -> None:
    checklist, controlling = Checklist(5), True
    for action, number, priority, state in actions:
        known = list(checklist)
        some = known[number % len(known)] if known else None
        if action == "add":
            new = pair(1, number, priority, foundation=str(number % 3))
            if checklist.get(new.local_address, new.remote_address) is None:
                checklist.add(new)
        elif action == "role":
            controlling = not controlling
            checklist.update_priorities(controlling=controlling)
        elif action == "next":
            chosen = checklist.next_ordinary()
            queued = list(checklist.triggered)
            waiting = [e for e in checklist if e.state is PairState.WAITING and e not in queued]
            assert chosen is (waiting[0] if waiting else None)
        elif action == "conclude":
            nominated = pair(9, 9, priority)
            for each in checklist.conclude(nominated):
                assert each.priority <= nominated.priority
                assert each.state is PairState.FAILED
        elif action == "revive":
            checklist.revive(some)
            assert all(
                each is some or each.state not in (PairState.FAILED, PairState.SUCCEEDED)
                for each in checklist
            )
        elif some is not None and action == "remove":
            checklist.remove(some)
        elif some is not None and action == "trigger":
            checklist.trigger(some)
        elif some is not None and action == "state":
            some.state = state
        elif some is not None and action == "thaw":
            checklist.thaw(some.foundation)
        known = list(checklist)
        assert len(known) == len(checklist) <= 5
        assert [each.priority for each in known] == sorted((each.priority for each in known), reverse=True)
        assert all(checklist.get(each.local_address, each.remote_address) is each for each in known)
        assert set(checklist.triggered) <= set(known)
        assert len(set(checklist.triggered)) == len(checklist.triggered)
