"""Two agents on a link: set-up, trickle, NAT, loss, giving up."""

from __future__ import annotations

import math
import random

import pytest
from ice_link import A4, A6, Z4, Z6, Link, Packet, answer, request

from rtcstack.errors import InvalidParameter
from rtcstack.ice import Address, Agent, Candidate, IceState, Options, PairSelected, PairState
from rtcstack.stun import Message

NO_DROPS = {"unknown_transaction", "malformed", "non_symmetric", "unauthenticated_response"}


def host(address: Address, priority: int = 2130706431, **fields: object) -> Candidate:
    values = {"foundation": "9", "component": 1, "transport": "udp", "type": "host", **fields}
    return Candidate(priority=priority, address=address[0], port=address[1], **values)  # type: ignore[arg-type]


def assert_clean(link: Link) -> None:
    for agent in (link.a, link.z):
        assert not [name for name in NO_DROPS if getattr(agent.drops, name)]


@pytest.mark.parametrize("addresses", [([A4], [Z4]), ([A6], [Z6]), ([A4, A6], [Z4, Z6])])
def test_both_ends_have_a_pair_after_one_round_trip(addresses: tuple[list, list]) -> None:
    """RFC 8445 §7.2.5.3, §8.1.1: with a round trip of 100 ms.

    Both select at 100 ms, by the answer to their own first check. The controlling agent nominates at once;
    the nomination reaches the controlled one at 150 ms and its answer the controlling one at 200 ms.
    """
    link = Link(addresses=addresses)
    link.connect()
    link.run(1.0)
    assert (link.selected(link.a), link.selected(link.z)) == (0.1, 0.1)
    assert link.when(link.z, IceState.COMPLETED) == 0.15
    assert link.when(link.a, IceState.COMPLETED) == 0.2
    assert link.a.selected is not None
    assert link.a.selected.remote_address == addresses[1][-1]
    assert link.a.selected.rtt == pytest.approx(0.1)
    assert_clean(link)


def test_one_pair_costs_five_checks() -> None:
    """RFC 8445 §7.3.1.4: each side checks, checks back, and one nominates."""
    link = Link()
    link.connect()
    link.run(1.0)
    assert (link.a.stats.checks_sent, link.z.stats.checks_sent) == (3, 2)
    assert (link.a.stats.successes_sent, link.z.stats.successes_sent) == (2, 3)
    assert link.a.stats.retransmissions == link.z.stats.retransmissions == 0


def test_the_first_check_and_every_answer_leave_in_the_same_take() -> None:
    """RFC 8445 §6.1.4.2, §7.3: no timer in the set-up path."""
    link = Link(delay=0.0)
    link.connect()
    ((source, destination, (check,)),) = link.a.take_packets(link.now)
    assert (source, destination) == (A4, Z4)
    link.z.receive([check], Z4, A4, link.now)
    ((_, _, datagrams),) = link.z.take_packets(link.now)
    assert [Message.parse(data).message_class.name for data in datagrams] == ["SUCCESS", "REQUEST"]
    link.a.receive(datagrams, A4, Z4, link.now)
    assert PairSelected(link.a.selected) in link.a.take_events()  # type: ignore[arg-type]


def test_checks_before_the_answer_came() -> None:
    """RFC 8445 §7.3: answered at once, checked back when the remote credentials are known.

    The answering agent z has everything at 0 ms, the offering agent a gets the answer at 120 ms.
    """
    link = Link()
    link.describe(link.z)
    link.run(0.12)
    assert link.selected(link.z) == 0.1
    assert link.a.state is IceState.NEW
    assert link.a.is_valid(A4, Z4)
    link.describe(link.a, candidates=False)
    link.run(0.5)
    assert link.selected(link.a) == 0.22
    assert link.a.selected is not None
    assert link.a.selected.remote.type == "prflx"
    assert link.z.state is IceState.COMPLETED
    assert_clean(link)


def test_a_peer_reflexive_candidate_becomes_the_signalled_one() -> None:
    """RFC 8445 §7.3.1.3: the signalled foundation and priority replace the learned ones."""
    link = Link()
    link.describe(link.z)
    link.describe(link.a, candidates=False)
    link.run(0.3)
    assert link.a.selected is not None
    assert link.a.selected.remote.type == "prflx"
    before = link.a.selected.priority
    link.a.add_remote_candidate(link.z.local_candidates[0])
    assert link.a.selected.remote.type == "host"
    assert link.a.selected.priority > before
    assert link.a.drops.remote_duplicate == 0


def test_candidates_may_come_before_credentials_and_after_the_start() -> None:
    """RFC 8838 §8 to §11: an empty checklist waits for what is trickled."""
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    link.a.add_remote_candidate(host(Z4))
    link.connect(candidates=False)
    link.run(0.0)
    assert link.a.state is IceState.CHECKING
    assert [packet.destination for _, packet in link.sent_by(link.a)] == [Z4]
    assert link.sent_by(link.z) == []
    link.z.add_remote_candidate(host(A6))
    link.run(0.0)
    assert [packet.destination for _, packet in link.sent_by(link.z)] == [A6]


def test_a_local_address_after_the_start_is_paired() -> None:
    """RFC 8838 §10."""
    agent = Agent(controlling=True, random_bytes=random.Random(1).randbytes)
    agent.set_remote_credentials("ufra", "p" * 22)
    agent.add_remote_candidate(host(Z4))
    agent.start(0.0)
    assert agent.take_packets(0.0) == []
    assert agent.deadline == 39.5
    agent.add_local_address(A4)
    ((source, destination, _),) = agent.take_packets(1.0)
    assert (source, destination) == (A4, Z4)


def test_new_checks_are_ta_apart() -> None:
    """RFC 8445 §14.2: the first at once, then one every 50 ms; by priority, IPv6 first."""
    a = [(f"10.0.0.{number}", 1000) for number in range(1, 4)]
    link = Link(addresses=(a, [Z4]))
    link.filter = lambda packet: False
    link.connect()
    link.run(0.4)
    assert [(time, packet.source) for time, packet in link.sent_by(link.a)] == [
        (0.0, a[0]),
        (0.05, a[1]),
        (0.1, a[2]),
    ]


def test_an_unanswered_check_is_sent_seven_times() -> None:
    """RFC 8445 §14.3, RFC 8489 §6.2.1: RTO 500 ms, doubling."""
    link = Link()
    link.filter = lambda packet: False
    link.connect()
    link.run(60.0)
    assert [time for time, _ in link.sent_by(link.a)] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert len({packet.data for _, packet in link.sent_by(link.a)}) == 1
    assert link.when(link.a, IceState.FAILED) == 39.5


def test_many_pairs_stretch_the_rto() -> None:
    """RFC 8445 §14.3: every pair gets its first check before any gets its second."""
    a = [(f"10.0.0.{number}", 1000) for number in range(1, 31)]
    link = Link(addresses=(a, [Z4]))
    link.filter = lambda packet: False
    link.connect()
    link.run(1.6)
    sources = [packet.source for _, packet in link.sent_by(link.a)]
    assert sources[:30] == a
    assert link.sent_by(link.a)[30][0] == pytest.approx(1.5)


@pytest.mark.parametrize("seed", range(12))
def test_thirty_percent_loss_still_connects(seed: int) -> None:
    link = Link(seed=seed, addresses=([A4, A6], [Z4, Z6]))
    loss = random.Random(seed)
    link.filter = lambda packet: loss.random() > 0.3
    link.connect()
    link.run(10.0)
    assert link.when(link.a, IceState.COMPLETED) is not None
    assert link.when(link.z, IceState.COMPLETED) is not None
    assert (link.selected(link.a) or 99) < 4.0
    assert (link.selected(link.z) or 99) < 4.0


def nat(link: Link, inside: Address, outside: Address) -> None:
    """Put a on the inside of a NAT."""

    def rewrite(packet: Packet) -> bool:
        if packet.source == inside:
            packet.source = outside
        elif packet.destination == outside:
            packet.destination = inside
        elif packet.destination == inside:
            return False  # From outside nobody reaches the inner address.
        return True

    link.filter = rewrite


def test_a_nat_gives_peer_reflexive_candidates_on_both_sides() -> None:
    """RFC 8445 §7.2.5.3.1 and §7.3.1.3."""
    link = Link()
    nat(link, A4, ("203.0.113.7", 4242))
    link.connect()
    link.run(1.0)
    a, z = link.a.selected, link.z.selected
    assert a is not None
    assert z is not None
    assert (a.local.type, a.local.transport_address) == ("prflx", ("203.0.113.7", 4242))
    assert (a.local_address, a.local.base, a.local.related_address) == (A4, A4, A4[0])
    assert a.local.priority == z.remote.priority == 1862270719
    assert (z.remote.type, z.remote_address) == ("prflx", ("203.0.113.7", 4242))
    assert a.priority == z.priority
    assert (link.selected(link.a), link.selected(link.z)) == (0.1, 0.15)
    assert [candidate.type for candidate in link.a.local_candidates] == ["host", "prflx"]
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert link.z.is_valid(Z4, ("203.0.113.7", 4242))
    assert not link.z.is_valid(Z4, A4)


def test_a_mapped_address_of_another_base_changes_nothing() -> None:
    """RFC 8445 §7.2.5.3.2: data leaves from the socket whose check was answered."""
    other = ("192.0.2.9", 1000)
    link = Link(addresses=([A4, other], [Z4]))
    link.connect()
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    link.a.receive([answer(check, link.z.password.encode(), XOR_MAPPED_ADDRESS=other)], A4, Z4, link.now)
    assert link.a.selected is not None
    assert link.a.selected.local.transport_address == A4
    assert len(link.a.local_candidates) == 2


def test_invented_mapped_addresses_are_bounded() -> None:
    link = Link(options=Options(max_pairs=3, max_remote_candidates=50))
    link.a.set_remote_credentials(link.z.ufrag, link.z.password)
    link.a.start(link.now)
    for number in range(20):
        remote = ("198.51.100.1", 3000 + number)
        link.a.receive([request(link.a, ufrag=link.z.ufrag)], A4, remote, link.now)
        for local, to, datagrams in link.a.take_packets(link.now):
            for data in datagrams:
                if Message.parse(data).message_class.name == "REQUEST":
                    mapped = ("203.0.113.1", 1000 + number)
                    reply = answer(data, link.z.password.encode(), XOR_MAPPED_ADDRESS=mapped)
                    link.a.receive([reply], local, to, link.now)
        link.now += 1.0
    assert len(link.a.local_candidates) <= 1 + 3


# Remote candidates


@pytest.mark.parametrize(
    ("candidate", "counter"),
    [
        (host(("peer.example", 1)), "remote_host_name"),
        (host(("f3a1.local", 1)), "remote_host_name"),
        (host(Z4, transport="tcp"), "remote_tcp"),
        (host(("224.0.0.1", 1)), "remote_unusable"),
        (host(("255.255.255.255", 1)), "remote_unusable"),
        (host(("0.0.0.0", 1)), "remote_unusable"),
        (host(("::", 1)), "remote_unusable"),
        (host(("ff02::1", 1)), "remote_unusable"),
        (host(("::ffff:10.0.0.1", 1)), "remote_unusable"),
        (host((Z4[0], 0)), "remote_unusable"),
        (host((Z4[0], 70000)), "remote_unusable"),
        (host(Z4, component=2), "remote_unusable"),
    ],
)
def test_a_candidate_that_cannot_be_used_does_not_break_the_rest(candidate: Candidate, counter: str) -> None:
    """RFC 8445 §5.1.1.1, §6.1.2.2; a peer must not send our checks to whom it likes."""
    link = Link()
    link.a.add_remote_candidate(candidate)
    link.connect()
    link.run(0.3)
    assert getattr(link.a.drops, counter) == 1
    assert link.a.selected is not None
    assert {packet.destination for _, packet in link.sent_by(link.a)} == {Z4}


def test_a_zone_and_capitals_do_no_harm() -> None:
    link = Link(addresses=([("fe80::1", 1000)], [("fe80::2", 2000)]))
    link.connect(candidates=False)
    link.a.add_remote_candidate(host(("FE80:0::2%eth0", 2000), transport="UDP"))
    link.run(0.3)
    assert link.a.selected is not None


def test_known_candidates_and_late_ones_are_ignored() -> None:
    """RFC 8838 §14."""
    link = Link()
    link.connect(candidates=False)
    link.a.add_remote_candidate(host(Z4))
    link.a.add_remote_candidate(host(Z4, 5))
    link.a.end_of_remote_candidates()
    link.a.add_remote_candidate(host(("192.0.2.9", 1)))
    assert (link.a.drops.remote_duplicate, link.a.drops.remote_late) == (1, 1)


def test_remote_candidates_and_pairs_are_bounded() -> None:
    """RFC 8445 §6.1.2.5: 100 pairs; the better ones stay."""
    link = Link(addresses=([A4, ("192.0.2.9", 1000)], [Z4]))
    link.connect(candidates=False)
    link.flush()
    for number in range(500):
        link.a.add_remote_candidate(host(("198.51.100.1", 1000 + number), 1000 + number))
    assert link.a.drops.remote_overflow == 400
    assert link.a.drops.pairs_discarded == 100
    link.filter = lambda packet: False
    link.run(6.0)
    assert len({(packet.source, packet.destination) for _, packet in link.sent_by(link.a)}) == 100


# States, commands


def test_nothing_is_sent_before_credentials_and_start() -> None:
    link = Link()
    link.a.add_remote_candidate(host(Z4))
    link.a.start(link.now)
    assert link.a.take_packets(link.now) == []
    assert link.a.deadline == math.inf
    link.z.set_remote_credentials(link.a.ufrag, link.a.password)
    assert link.z.take_packets(link.now) == []
    assert link.a.state is link.z.state is IceState.NEW


def test_credentials_are_long_enough_and_unpredictable() -> None:
    """RFC 8445 §5.3: 24 and 128 bits."""
    one, other = (Agent(controlling=True, random_bytes=random.Random(seed).randbytes) for seed in (1, 2))
    assert one.ufrag != other.ufrag
    assert one.password != other.password
    assert (len(one.ufrag), len(one.password)) == (8, 24)


def test_bad_remote_credentials_raise_and_changed_ones_restart() -> None:
    """RFC 8839 §5.4; RFC 8445 §9: others are a restart, and cost us new ones too."""
    agent = Agent(controlling=True, random_bytes=random.Random(1).randbytes)
    for ufrag, password in (
        ("abc", "p" * 22),
        ("u" * 257, "p" * 22),
        ("ufrag", "p" * 21),
        ("ufrag", "p" * 257),
    ):
        with pytest.raises(InvalidParameter):
            agent.set_remote_credentials(ufrag, password)
    agent.set_remote_credentials("ufrag", "p" * 22)
    agent.set_remote_credentials("ufrag", "p" * 22)
    before = agent.ufrag, agent.password
    agent.set_remote_credentials("other", "p" * 22)
    assert agent.ufrag != before[0]
    assert agent.password != before[1]


def test_states_follow_each_other() -> None:
    link = Link()
    link.connect()
    link.run(0.5)
    assert link.states(link.a) == [IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED]
    link.a.close()
    link.a.close()
    link.flush()
    assert link.states(link.a)[-1] is IceState.CLOSED
    assert link.states(link.a).count(IceState.CLOSED) == 1


def test_a_closed_agent_is_silent() -> None:
    link = Link()
    link.connect()
    link.run(0.5)
    link.a.close()
    sent = len(link.sent_by(link.a))
    link.run(20.0)
    assert len(link.sent_by(link.a)) == sent
    assert link.a.selected is None
    assert not link.a.is_valid(A4, Z4)
    assert link.a.drops.inactive > 0
    assert link.a.deadline == math.inf
    link.a.add_remote_candidate(host(("192.0.2.9", 1)))
    link.a.handle_timeout(link.now)
    assert link.a.take_packets(link.now) == []


# Giving up


def failed(link: Link) -> str:
    link.run(80.0)
    assert link.a.state is IceState.FAILED
    assert link.a.deadline == math.inf
    return link.a.failure_reason


def test_pac_timer_waits_for_peers_that_name_no_candidates() -> None:
    """RFC 8863 §4: no failure before 39.5 s, even with nothing to check."""
    link = Link()
    link.describe(link.a, candidates=False)
    link.a.end_of_remote_candidates()
    reason = failed(link)
    assert link.when(link.a, IceState.FAILED) == 39.5
    assert reason.startswith("no remote candidates")


def test_failure_names_what_was_left_out() -> None:
    link = Link()
    link.describe(link.a, candidates=False)
    link.a.add_remote_candidate(host(("a.local", 1)))
    link.a.add_remote_candidate(host(("b.local", 1)))
    link.a.add_remote_candidate(host(Z4, transport="tcp"))
    assert "(left out: 2 with host names, 1 for TCP)" in failed(link)


def test_failure_without_local_candidates() -> None:
    link = Link(addresses=([], [Z4]))
    link.describe(link.a)
    assert failed(link).startswith("no local candidates")


def test_failure_without_a_common_address_family() -> None:
    link = Link(addresses=([A4], [Z6]))
    link.connect()
    assert failed(link).endswith("no address family and transport in common")


def test_failure_without_answers() -> None:
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    link.filter = lambda packet: False
    link.connect()
    reason = failed(link)
    assert reason.startswith(
        "none of 2 candidate pairs was answered within 39.5 s (14 requests sent, 0 of the peer's"
    )
    assert "firewall" in reason


def test_failure_with_wrong_credentials() -> None:
    """RFC 8489 §9.1.4: a 401 cannot be signed, so it is not believed, but remembered for the reason."""
    link = Link()
    link.describe(link.z)
    link.a.set_remote_credentials(link.z.ufrag, "wrong" * 5)
    link.a.add_remote_candidate(link.z.local_candidates[0])
    link.a.start(link.now)
    link.filter = lambda packet: packet.sender is link.a or not packet.is_request
    reason = failed(link)
    assert "credentials do not match" in reason
    assert link.a.drops.unauthenticated_error == 7
    assert link.z.stats.errors_sent == {401: 7}


def test_a_check_under_way_delays_failure() -> None:
    """RFC 8445 §6.1.2.1: the checklist fails when every pair has."""
    link = Link()
    link.filter = lambda packet: False
    link.describe(link.a, candidates=False)
    link.run(10.0)
    link.a.add_remote_candidate(host(Z4))
    failed(link)
    assert link.when(link.a, IceState.FAILED) == 49.5


def test_a_failed_pair_is_checked_again_when_the_peer_reaches_us() -> None:
    """RFC 8445 §7.3.1.4."""
    link = Link()
    link.connect()
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    link.a.receive([answer(check, link.z.password.encode(), error=500)], A4, Z4, link.now)
    assert link.a.stats.errors_received == {500: 1}
    assert link.a.take_packets(link.now) == []
    link.run(0.3)
    assert link.a.selected is not None
    assert link.a.selected.state is PairState.SUCCEEDED
