"""Reflexive and relayed candidates, what the peer may see of them, and addresses that go away."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ice_link import A4, A6, Z4, Z6, Link, Packet

from rtcstack.errors import InvalidParameter
from rtcstack.ice import Address, Agent, Candidate, IceState, LocalCandidate, Options

MAPPED: Address = ("203.0.113.7", 4242)
RELAYED: Address = ("203.0.113.200", 60000)
RELAYED6: Address = ("2001:db8:200::1", 60000)
STUN = "203.0.113.3"
TURN = "203.0.113.4"


def agent(**options: bool) -> Agent:
    return Agent(
        controlling=True,
        random_bytes=random.Random(1).randbytes,
        options=Options(**options),  # type: ignore[arg-type]
    )


def added(candidate: Candidate | None) -> Candidate:
    assert candidate is not None
    return candidate


# Reflexive


def test_a_reflexive_candidate() -> None:
    """RFC 8445 §5.1.1.2, §5.1.2: type preference 100, the base is the host candidate's."""
    a = agent()
    host = added(a.add_local_address(A4))
    reflexive = added(a.add_reflexive(A4, MAPPED, server=STUN))
    assert (reflexive.type, reflexive.transport_address, reflexive.base) == ("srflx", MAPPED, A4)
    assert (reflexive.related_address, reflexive.related_port) == A4
    assert reflexive.priority == 100 << 24 | host.priority & 0xFFFFFF
    assert reflexive.foundation != host.foundation
    assert a.local_candidates == [host, reflexive]
    assert a.take_events() == [LocalCandidate(host), LocalCandidate(reflexive)]


def test_redundant_reflexive_candidates_are_left_out() -> None:
    """RFC 8445 §5.1.3: no NAT, or two servers that see the same; another base is not redundant."""
    other = ("192.0.2.9", 9)
    a = agent()
    a.add_local_address(A4)
    a.add_local_address(other)
    assert a.add_reflexive(A4, A4, server=STUN) is None
    assert a.add_reflexive(A4, MAPPED, server=STUN) is not None
    assert a.add_reflexive(A4, MAPPED, server=TURN) is None
    assert a.add_reflexive(other, MAPPED, server=STUN) is not None
    assert a.add_reflexive(("192.0.2.77", 7), ("203.0.113.8", 1)) is None


def test_what_a_check_revealed_is_told_when_a_server_confirms_it() -> None:
    """RFC 8445 §5.1.3, §7.2.5.3.1: a peer-reflexive candidate is not signalled, a server-reflexive one is."""
    link = Link()

    def nat(packet: Packet) -> bool:
        if packet.source == A4:
            packet.source = MAPPED
        elif packet.destination == MAPPED:
            packet.destination = A4
        return packet.destination != A4 or packet.source == Z4

    link.filter = nat
    link.a.restart()  # Gathering goes on.
    link.connect()
    link.run(1.0)
    assert [each.type for each in link.a.local_candidates] == ["host", "prflx"]
    assert added(link.a.add_reflexive(A4, MAPPED, server=STUN)).type == "srflx"
    assert [each.type for each in link.a.local_candidates] == ["host", "srflx"]


def test_foundations_name_type_base_server_and_protocol() -> None:
    """RFC 8445 §5.1.1.3."""
    a = agent()
    a.add_local_address(A4)
    a.add_local_address((A4[0], 1001))
    candidates = [
        a.add_reflexive(A4, MAPPED, server=STUN),
        a.add_reflexive((A4[0], 1001), ("203.0.113.7", 4243), server=STUN),
        a.add_reflexive(A4, ("203.0.113.7", 4244), server=TURN),
        a.add_relayed(RELAYED, MAPPED, server=TURN),
        a.add_relayed((RELAYED[0], 60001), MAPPED, server=TURN),
        a.add_relayed((RELAYED[0], 60002), MAPPED, server=TURN, protocol="tcp"),
    ]
    one, same, other_server, relay, same_relay, other_protocol = (
        added(each).foundation for each in candidates
    )
    assert one == same
    assert relay == same_relay
    assert len({one, other_server, relay, other_protocol}) == 4


def test_a_reflexive_candidate_is_never_checked_itself() -> None:
    """RFC 8445 §6.1.2.4: its base is, once."""
    link = Link(addresses=([], [Z4]))
    link.a.restart()
    link.a.add_local_address(A4)
    link.a.add_reflexive(A4, MAPPED, server=STUN)
    link.filter = lambda packet: False
    link.connect()
    link.run(0.4)
    assert [packet.source for _, packet in link.sent_by(link.a)] == [A4]


def test_reflexive_candidates_may_be_late() -> None:
    """RFC 8838 §10: the peer learns one after checks have begun, and reaches us there."""
    link = Link()
    link.filter = lambda packet: packet.destination != A4 or packet.source != Z4
    link.a.restart()
    link.connect(candidates=False)
    late = added(link.a.add_reflexive(A4, MAPPED, server=STUN))
    link.z.add_remote_candidate(late)
    link.run(0.0)
    assert [packet.destination for _, packet in link.sent_by(link.z)] == [MAPPED]


# Relayed


def test_a_relayed_candidate() -> None:
    """RFC 8445 §5.1.1.2: type preference 0, its own base, the mapped address as the related one."""
    a = agent()
    relay = added(a.add_relayed(RELAYED, MAPPED, server=TURN))
    assert (relay.type, relay.transport_address, relay.base) == ("relay", RELAYED, RELAYED)
    assert (relay.related_address, relay.related_port) == MAPPED
    assert relay.priority < 1 << 24
    assert a.add_relayed(RELAYED, MAPPED, server=TURN) is None


def test_a_relayed_pair_sends_from_the_relayed_address() -> None:
    """RFC 8445 §5.1.1.2, §6.1.2: the base of a relayed candidate is paired like a socket."""
    link = Link(addresses=([A4], [Z4]))
    link.a.restart()
    link.a.add_relayed(RELAYED, MAPPED, server=TURN)
    link.filter = lambda packet: A4 not in (packet.source, packet.destination)
    link.connect()
    link.run(2.0)
    for each, remote in ((link.a, Z4), (link.z, RELAYED)):
        assert each.state is IceState.COMPLETED
        assert each.selected is not None
        assert each.selected.remote_address == remote
    assert link.a.selected is not None
    assert (link.a.selected.local.type, link.a.selected.local_address) == ("relay", RELAYED)
    assert link.a.is_valid(RELAYED, Z4)


def test_direct_wins_over_relay() -> None:
    """RFC 8445 §5.1.2.1: when both work the relay is not even needed for a moment."""
    link = Link()
    link.a.restart()
    link.a.add_relayed(RELAYED, MAPPED, server=TURN)
    link.connect()
    link.run(2.0)
    assert link.a.selected is not None
    assert link.a.selected.local.type == "host"


def test_relays_over_udp_are_preferred() -> None:
    """RFC 8445 §5.1.2.2: UDP, then TCP, then TLS; IPv6 before IPv4 within each (RFC 8421 §4)."""
    a = agent()
    priorities = [
        added(a.add_relayed(relayed, MAPPED, server=TURN, protocol=protocol)).priority
        for protocol in ("udp", "tcp", "tls")
        for relayed in ((RELAYED6[0], len(protocol) + ord(protocol[1])), (RELAYED[0], ord(protocol[1])))
    ]
    assert priorities == sorted(priorities, reverse=True)


def test_bad_addresses_raise_and_unusable_ones_are_left_out() -> None:
    a = agent()
    a.add_local_address(A4)
    for bad in (("turn.example", 1), ("203.0.113.1", 0), ("203.0.113.1", 65536)):
        with pytest.raises(InvalidParameter):
            a.add_relayed(bad, MAPPED)
        with pytest.raises(InvalidParameter):
            a.add_reflexive(A4, bad)
    for unusable in (("0.0.0.0", 1), ("224.0.0.1", 1), ("255.255.255.255", 1)):
        assert a.add_relayed(unusable, MAPPED) is None
        assert a.add_reflexive(A4, unusable) is None


additions = st.lists(
    st.tuples(
        st.sampled_from(["host", "srflx", "udp", "tcp", "tls"]),
        st.booleans(),
        st.integers(0, 9),
        st.integers(1, 9),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(additions)
def test_priorities_are_unique(additions: list[tuple[str, bool, int, int]]) -> None:
    """RFC 8445 §5.1.2: among all candidates, whatever comes in whatever order, also after removals."""
    a = agent()
    for kind, is_ipv6, number, port in additions:
        net = "2001:db8::{}" if is_ipv6 else "192.0.2.{}"
        address = (net.format(number + 1), port)
        if kind == "host":
            a.add_local_address(address)
        elif kind == "srflx":
            a.add_reflexive(address, (net.format(number + 100), port * port))
        else:
            a.add_relayed((net.format(number + 50), port), MAPPED, protocol=kind)  # type: ignore[arg-type]
        if port == 9:
            a.remove_local(address)
    candidates = a.local_candidates
    assert len({each.priority for each in candidates}) == len(candidates)
    assert all(0 < each.priority < 1 << 31 for each in candidates)


# What the peer may see


def test_relay_only_offers_and_uses_relays_alone() -> None:
    """RFC 8828 §5.2 mode 4, W3C iceTransportPolicy "relay": nothing leaves from another address."""
    link = Link(options=Options(relay_only=True), addresses=([A4, A6], [Z4]))
    assert link.a.local_candidates == []
    link.a.restart()
    link.z.restart()
    assert link.a.add_local_address(A4) is None
    assert link.a.add_reflexive(A4, MAPPED, server=STUN) is None
    relay = added(link.a.add_relayed(RELAYED, MAPPED, server=TURN))
    link.z.add_relayed(("203.0.113.201", 60000), ("198.51.100.1", 1), server=TURN)
    assert (relay.related_address, relay.related_port) == ("0.0.0.0", 9)
    link.connect()
    link.run(2.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert {packet.source for _, packet in link.sent_by(link.a)} == {RELAYED}
    assert {each.transport_address for each in link.a.local_candidates} == {RELAYED}


def test_related_addresses_may_be_hidden() -> None:
    """RFC 8839 §5.1: 0.0.0.0 or ::, port 9."""
    a = agent(hide_related=True)
    a.add_local_address(A4)
    a.add_local_address(A6)
    for candidate, shown in (
        (a.add_reflexive(A4, MAPPED), "0.0.0.0"),
        (a.add_reflexive(A6, ("2001:db8:1::1", 5)), "::"),
        (a.add_relayed(RELAYED, MAPPED), "0.0.0.0"),
        (a.add_relayed(RELAYED6, MAPPED), "::"),
    ):
        assert (added(candidate).related_address, added(candidate).related_port) == (shown, 9)


# Addresses that go away


def two_paths() -> Link:
    """Two addresses on each side, connected by the better one, IPv6."""
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    link.connect()
    link.run(1.0)
    assert link.a.selected is not None
    assert link.a.selected.local_address == A6
    return link


def test_a_lost_socket_leaves_no_candidate_behind() -> None:
    """RFC 8445 §5.1.1.4."""
    a = agent()
    a.add_local_address(A4)
    a.add_local_address(A6)
    a.add_reflexive(A4, MAPPED)
    a.remove_local(A4)
    a.remove_local(A4)
    a.remove_local(("192.0.2.99", 9))
    assert [each.transport_address for each in a.local_candidates] == [A6]
    a.receive([b"anything"], A4, Z4, 1.0)
    assert a.drops.unknown_local == 1


@pytest.mark.parametrize("controlling", [True, False])
def test_the_next_pair_takes_over_when_a_socket_is_lost(controlling: bool) -> None:
    """RFC 8445 §5.1.1.4, §12.1: another path is checked at once and data goes on, whoever controls."""
    link = two_paths()
    loser, other = (link.a, link.z) if controlling else (link.z, link.a)
    lost, kept = (A6, A4) if controlling else (Z6, Z4)
    loser.remove_local(lost)
    link.filter = lambda packet: lost not in (packet.source, packet.destination)
    link.run(0.5)
    assert loser.selected is not None
    assert loser.selected.local_address == kept
    assert not any(loser.is_valid(lost, remote) for remote in (A6, Z6))
    link.run(10.0)
    assert other.selected is not None
    assert other.selected.remote_address == kept
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_without_another_path_the_agent_waits_then_fails() -> None:
    """RFC 7675 §5.1: a pair that is gone cannot be used; 30 s for another one to appear."""
    link = Link()
    link.connect()
    link.run(1.0)
    link.a.remove_local(A4)
    assert link.a.selected is None
    assert link.a.state is IceState.DISCONNECTED
    began = link.now - 100.0
    link.run(50.0)
    assert link.when(link.a, IceState.FAILED) == pytest.approx(began + 30.0, abs=1.0)
    assert "no local candidates" in link.a.failure_reason


def test_a_socket_lost_while_checking() -> None:
    """RFC 8445 §5.1.1.4: its checks end, the others go on."""
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    link.filter = lambda packet: False
    link.connect()
    link.run(0.2)
    link.a.remove_local(A6)
    before = link.now
    link.run(10.0)
    sources = {packet.source for time, packet in link.sent if time > before and packet.sender is link.a}
    assert sources == {A4}


def test_a_lost_relay_is_followed_by_the_next() -> None:
    """RFC 8656 §3.7: the allocation expired or the server died; there is a second one."""
    second = ("203.0.113.201", 60000)
    link = Link(addresses=([], [Z4]))
    link.a.restart()
    link.a.add_relayed(RELAYED, MAPPED, server=TURN)
    link.a.add_relayed(second, MAPPED, server="203.0.113.5")
    link.connect()
    link.run(2.0)
    assert link.a.selected is not None
    assert link.a.selected.local_address == RELAYED
    link.a.remove_local(RELAYED)
    link.run(2.0)
    assert link.a.selected is not None
    assert link.a.selected.local_address == second
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_a_hidden_host_candidate_is_told_once_a_server_has_seen_its_address() -> None:
    """RFC 8828 §5.2 mode 3: no private address is told; what a STUN server sees is public."""
    a = agent(hide_host=True, hide_related=True)
    assert a.add_local_address(A4) is not None
    assert a.take_events() == []
    mapped = a.add_reflexive(A4, MAPPED)
    assert mapped is not None
    assert a.take_events() == [LocalCandidate(mapped)]
    assert (mapped.related_address, mapped.related_port) == ("0.0.0.0", 9)
    assert a.add_reflexive(A4, A4) is None
    assert a.told_candidates == [a.local_candidates[0], mapped]
    assert [event.candidate.type for event in a.take_events()] == ["host"]
