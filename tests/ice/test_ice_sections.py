"""RFC 8445 and RFC 7675 section by section: what is sent, what becomes of answers, what is received."""

from __future__ import annotations

import itertools

import pytest
from ice_link import A4, Z4, Link, answer, request

from rtcstack import stun
from rtcstack.ice import Agent, Candidate, IceState, Options, PairState
from rtcstack.stun import Message, MessageClass


def first_check(link: Link) -> bytes:
    """Let agent a alone begin; returns its first check."""
    link.describe(link.a)
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    return check


def only_pair(agent: Agent) -> tuple[PairState, str]:
    (pair,) = agent.report().pairs
    return pair.state, pair.reason


def test_the_username_is_the_peers_fragment_then_ours() -> None:
    """RFC 8445 §7.2.2: and the password is the peer's."""
    link = Link()
    check = Message.parse(first_check(link))
    assert check.get(stun.USERNAME) == f"{link.z.ufrag}:{link.a.ufrag}"
    assert check.is_authentic(link.z.password.encode())


def test_a_check_has_all_that_it_must_have() -> None:
    """RFC 8445 §7.2.4, §16.1: USERNAME, PRIORITY, the role, MESSAGE-INTEGRITY, FINGERPRINT; from the base."""
    link = Link()
    data = first_check(link)
    check = Message.parse(data)
    assert check.message_class is MessageClass.REQUEST
    assert set(check.attributes) == {stun.USERNAME, stun.PRIORITY, stun.ICE_CONTROLLING}
    assert check.integrity is stun.MESSAGE_INTEGRITY
    assert data[-8:-4] == bytes.fromhex("80280004")
    assert (stun.PRIORITY.type, stun.USE_CANDIDATE.type) == (0x0024, 0x0025)
    assert (stun.ICE_CONTROLLED.type, stun.ICE_CONTROLLING.type) == (0x8029, 0x802A)


def test_a_pair_fails_when_no_answer_comes() -> None:
    """RFC 8445 §7.2.5.2.3: seven requests in 39.5 s."""
    link = Link()
    link.filter = lambda packet: False
    link.describe(link.a)
    link.run(39.0)
    assert only_pair(link.a)[0] is PairState.IN_PROGRESS
    link.run(1.0)
    assert only_pair(link.a) == (PairState.FAILED, "no answer to 7 requests")


@pytest.mark.parametrize("code", [400, 420, 500])
def test_a_pair_fails_by_a_signed_error(code: int) -> None:
    """RFC 8445 §7.2.5.2.4: an error that is not 487 is not recovered from."""
    link = Link()
    check = first_check(link)
    link.a.receive([answer(check, link.z.password.encode(), error=code)], A4, Z4, link.now)
    state, reason = only_pair(link.a)
    assert state is PairState.FAILED
    assert str(code) in reason


def test_success_lets_the_frozen_pairs_of_its_foundation_wait() -> None:
    """RFC 8445 §7.2.5.3.3, §6.1.2.6: one of each foundation is checked, the others thaw with it."""
    link = Link(addresses=([A4], []))
    link.a.set_remote_credentials(link.z.ufrag, link.z.password)
    for port in (1, 2, 3):
        link.a.add_remote_candidate(Candidate("same", 1, "udp", 1000 - port, "192.0.2.9", port, "host"))
    link.a.start(link.now)
    ((_, remote, (check,)),) = link.a.take_packets(link.now)
    link.now += 0.06
    assert link.a.take_packets(link.now) == []  # the others are frozen behind it
    mapped = answer(check, link.z.password.encode(), XOR_MAPPED_ADDRESS=A4)
    link.a.receive([mapped], A4, remote, link.now)
    states = [pair.state for pair in link.a.report().pairs]
    assert states.count(PairState.FROZEN) == 0


def test_every_pair_failed_is_a_failed_checklist_once_patience_is_over() -> None:
    """RFC 8445 §7.2.5.4, §6.1.3, RFC 8863 §4: Failed, and Running until then."""
    link = Link()
    check = first_check(link)
    link.a.receive([answer(check, link.z.password.encode(), error=400)], A4, Z4, link.now)
    link.run(39.0)
    assert link.a.state is IceState.CHECKING
    link.run(1.0)
    assert link.a.state is IceState.FAILED


def test_the_answer_tells_where_the_request_came_from() -> None:
    """RFC 8445 §7.3.1.2: by a relay that is the peer as the relay sees it."""
    link = Link()
    relayed = ("203.0.113.200", 60000)
    late = Agent(controlling=True, random_bytes=link.random.randbytes)
    late.add_relayed(relayed, A4)
    late.receive([request(late)], relayed, ("198.51.100.77", 7), 0.0)
    ((local, remote, (data,)),) = late.take_packets(0.0)
    assert (local, remote) == (relayed, ("198.51.100.77", 7))
    assert Message.parse(data).get(stun.XOR_MAPPED_ADDRESS) == ("198.51.100.77", 7)


def test_something_is_sent_on_the_selected_pair_every_fifteen_seconds() -> None:
    """RFC 8445 §11: keepalives; the consent requests are ours."""
    link = Link()
    link.connect()
    link.run(120.0)
    times = [time for time, packet in link.sent_by(link.a) if packet.is_request]
    assert max(later - sooner for sooner, later in itertools.pairwise(times)) < 15.0


def test_data_is_taken_where_a_check_has_passed_and_nowhere_else() -> None:
    """RFC 8445 §12.2: on any such pair, before and after one is selected."""
    link = Link()
    assert not link.a.is_valid(A4, Z4)
    link.connect()
    link.run(0.051)
    assert link.a.is_valid(A4, Z4)  # the peer's check has come, ours is not answered yet
    assert link.a.selected is None
    link.run(1.0)
    assert link.a.is_valid(A4, Z4)
    assert not link.a.is_valid(A4, (Z4[0], Z4[1] + 1))
    assert not link.a.is_valid((A4[0], A4[1] + 1), Z4)


def test_a_lite_agent_concludes_with_the_pair_that_is_nominated() -> None:
    """RFC 8445 §8.2, §8.3.2: and keeps its candidate, for the peer may nominate another one."""
    link = Link(addresses=([A4], []))
    link.z = Agent(controlling=False, random_bytes=link.random.randbytes, options=Options(lite=True))
    link.z.add_local_address(Z4)
    link.z.end_of_local_candidates()
    link.describe(link.a, lite=True)
    link.describe(link.z)
    link.run(1.0)
    assert link.z.state is IceState.COMPLETED
    assert [candidate.transport_address for candidate in link.z.local_candidates] == [Z4]


def test_consent_is_asked_of_the_pair_in_use_whatever_carries_it() -> None:
    """RFC 7675 §5: signed Binding requests with fresh transaction ids, from the same five-tuple."""
    link = Link()
    link.connect()
    link.run(60.0)
    asked = [packet for time, packet in link.sent_by(link.a) if packet.is_request and time > 5.0]
    assert {(packet.source, packet.destination) for packet in asked} == {(A4, Z4)}
    assert len({packet.message.transaction_id for packet in asked}) == len(asked)
    assert all(packet.message.is_authentic(link.z.password.encode()) for packet in asked)


def test_a_wrong_transaction_id_gives_no_consent() -> None:
    """RFC 7675 §8: whoever guesses one has 2**96 to choose from, and needs the password as well."""
    link = Link()
    link.connect()
    link.run(2.0)
    link.filter = lambda packet: packet.is_request
    forged = Message(
        stun.BINDING, MessageClass.SUCCESS, b"guessed here", {stun.XOR_MAPPED_ADDRESS: A4}
    ).write(link.z.password.encode())
    for _ in range(14):
        link.run(2.5)
        link.a.receive([forged], A4, Z4, link.now)
    assert link.a.state is IceState.FAILED
    assert link.a.drops.unknown_transaction >= 10
