"""Consent freshness and liveness in virtual time (RFC 7675)."""

from __future__ import annotations

import collections
import itertools
import random

import pytest
from ice_link import A4, Z4, Link, Packet, answer, request

from rtcstack import stun
from rtcstack.ice import IceState
from rtcstack.stun import Message


def connected(seed: int = 1) -> Link:
    link = Link(seed=seed)
    link.connect()
    link.run(1.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    return link


def consent_times(link: Link) -> list[float]:
    return [time for time, packet in link.sent_by(link.a) if packet.is_request and time > 0.3]


def test_consent_requests_are_four_to_six_seconds_apart() -> None:
    """RFC 7675 §5.1: 0.8 to 1.2 times 5 s, randomised, each sent once with an id of its own."""
    link = connected()
    link.run(600.0)
    times = consent_times(link)
    intervals = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 3.999 <= min(intervals) < 4.2
    assert 5.8 < max(intervals) <= 6.001
    # Who is asked after 4 s asks too: the mean is that of the sooner of two.
    assert sum(intervals) / len(intervals) == pytest.approx(4.67, abs=0.15)
    ids = [packet.message.transaction_id for _, packet in link.sent_by(link.a) if packet.is_request]
    assert len(set(ids)) == len(ids)
    assert link.a.stats.retransmissions == 0
    assert link.a.stats.consent_requests_sent == len(times)
    assert link.states(link.a)[-1] is IceState.COMPLETED
    assert IceState.DISCONNECTED not in link.states(link.a)


def test_a_consent_request_does_not_nominate() -> None:
    """RFC 8445 §8.1.1."""
    link = connected()
    link.run(20.0)
    late = [packet for time, packet in link.sent_by(link.a) if packet.is_request and time > 0.3]
    assert late
    assert not any(stun.USE_CANDIDATE in packet.message.attributes for packet in late)


def test_sending_stops_thirty_seconds_after_the_last_answer() -> None:
    """RFC 7675 §5.1: at that instant; FAILED says why."""
    link = connected()
    link.run(7.3)
    answered = max(time for time, packet in link.sent_by(link.z) if not packet.is_request) + link.delay
    link.filter = lambda packet: False
    link.run(40.0)
    assert link.when(link.a, IceState.FAILED) == pytest.approx(answered + 30.0)
    assert link.a.failure_reason == "consent expired: no answer from the peer for 30 s"
    assert max(time for time, _ in link.sent_by(link.a)) < answered + 30.0
    assert link.a.selected is None
    assert not link.a.is_valid(A4, Z4)


def test_a_late_answer_does_not_bring_consent_back() -> None:
    """RFC 7675 §5.1."""
    link = connected()
    link.filter = lambda packet: packet.sender is link.a
    link.run(29.0)
    asked = [packet.data for _, packet in link.sent_by(link.a) if packet.is_request][-1]
    link.run(10.0)
    assert link.a.state is IceState.FAILED
    link.a.receive([answer(asked, link.z.password.encode(), XOR_MAPPED_ADDRESS=A4)], A4, Z4, link.now)
    assert link.a.state is IceState.FAILED
    assert link.a.selected is None
    assert not link.a.is_valid(A4, Z4)
    assert link.a.take_packets(link.now) == []


def test_an_answer_to_an_older_request_renews_consent() -> None:
    """RFC 7675 §5.1: any outstanding request will do."""
    link = connected()
    link.filter = lambda packet: packet.sender is link.a
    link.run(25.0)
    asked = next(packet.data for time, packet in link.sent_by(link.a) if packet.is_request and time > 0.3)
    link.a.receive([answer(asked, link.z.password.encode(), XOR_MAPPED_ADDRESS=A4)], A4, Z4, link.now)
    link.run(29.0)
    assert link.a.state is IceState.DISCONNECTED
    link.run(1.1)
    assert link.a.state is IceState.FAILED


def test_requests_and_errors_give_no_consent() -> None:
    """RFC 7675 §5.1: a non-error answer it must be; requests only show that the peer lives."""
    link = connected()

    def refuse(packet: Packet) -> bool:
        if packet.sender is link.z and not packet.is_request:
            asked = Message.parse(packet.data)
            error = {stun.ERROR_CODE: (500, "")}
            packet.data = Message(stun.BINDING, stun.MessageClass.ERROR, asked.transaction_id, error).write(
                link.z.password.encode()
            )
        return True

    link.filter = refuse
    for _ in range(14):
        link.run(2.0)
        link.a.receive([request(link.a, ufrag=link.z.ufrag)], A4, Z4, link.now)
    assert IceState.DISCONNECTED not in link.states(link.a)
    link.run(7.0)
    assert link.a.state is IceState.FAILED


def test_the_peer_can_revoke_consent() -> None:
    """RFC 7675 §5.2: an authenticated 403."""
    link = connected()
    while not (packets := link.a.take_packets(link.a.deadline)):
        pass
    ((_, _, (asked,)),) = packets
    when = link.a.deadline - 0.1
    link.a.receive([answer(asked, b"wrong", error=403)], A4, Z4, when)
    assert link.a.state is IceState.COMPLETED
    link.a.receive([answer(asked, link.z.password.encode(), error=403), asked], A4, Z4, when)
    assert link.a.state is IceState.FAILED
    assert "403" in link.a.failure_reason
    assert link.a.take_packets(when) == []


def test_five_seconds_of_silence_are_a_disconnection_and_a_sign_of_life_ends_it() -> None:
    """As in browsers: 5 s after the last sign of life, once a question has stayed unanswered for 1 s."""
    link = connected()
    link.run(20.0)
    before = link.now
    link.filter = lambda packet: False
    link.run(8.0)
    assert link.a.state is link.z.state is IceState.DISCONNECTED
    for agent in (link.a, link.z):
        assert (link.when(agent, IceState.DISCONNECTED) or 0) + 100.0 <= before + 7.0
    link.filter = lambda packet: True
    link.run(7.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_requests_of_the_peer_are_signs_of_life() -> None:
    """A peer that asks but does not answer, as Chromium may, is alive until consent expires."""
    link = connected()
    link.filter = lambda packet: packet.sender is link.a
    for _ in range(11):
        link.run(2.5)
        link.a.receive([request(link.a, ufrag=link.z.ufrag)], A4, Z4, link.now)
    assert IceState.DISCONNECTED not in link.states(link.a)
    assert link.a.selected is not None
    assert link.a.selected.requests_received > 11
    link.run(4.0)
    assert link.a.state is IceState.FAILED


def test_data_of_the_peer_is_a_sign_of_life_but_no_consent() -> None:
    """RFC 7675 §5.1."""
    link = connected()
    link.filter = lambda packet: False
    for _ in range(28):
        link.run(1.0)
        link.a.heard(link.now)
    assert IceState.DISCONNECTED not in link.states(link.a)
    assert IceState.DISCONNECTED in link.states(link.z)
    link.z.heard(link.now)
    link.run(0.0)
    assert link.z.state is IceState.COMPLETED
    link.run(4.0)
    assert link.a.state is IceState.FAILED


def test_a_consent_answer_from_elsewhere_does_not_count() -> None:
    """RFC 8445 §7.2.5.2.1."""
    link = connected()

    def elsewhere(packet: Packet) -> bool:
        if packet.sender is link.z and not packet.is_request:
            packet.source = ("203.0.113.99", 1)
        return True

    link.filter = elsewhere
    link.run(40.0)
    assert link.a.state is IceState.FAILED
    assert link.a.drops.non_symmetric > 3


def test_round_trips_are_measured_again() -> None:
    link = connected()
    link.delay = 0.15
    link.run(10.0)
    assert link.a.selected is not None
    assert link.a.selected.rtt == pytest.approx(0.3)


def test_an_idle_agent_wakes_up_only_for_consent() -> None:
    """The steady state costs a wake-up every few seconds."""
    link = connected()
    link.run(60.0)
    wakeups = 0
    end = link.now + 60.0
    while link.a.deadline < end:
        link.run(link.a.deadline - link.now)
        wakeups += 1
    assert wakeups < 40


def test_a_consent_request_is_sent_once_and_the_pair_is_checked_when_answers_are_missing() -> None:
    """RFC 7675 §5.1: "transmitted once only"; connectivity checks are permitted, and repeated, beside."""
    link = connected()
    link.run(10.0)
    before = len(link.sent)
    link.filter = lambda packet: False
    link.run(29.0)
    requests = [
        (time, packet.message.transaction_id)
        for time, packet in link.sent[before:]
        if packet.sender is link.a and packet.is_request
    ]
    counts = collections.Counter(id_ for _, id_ in requests)
    once = [time for time, id_ in requests if counts[id_] == 1]
    assert all(3.999 <= later - sooner <= 6.001 for sooner, later in itertools.pairwise(once))
    checks = [count for count in counts.values() if count > 1]
    assert len(checks) == len(once) - 1  # nothing is missing yet when the first one leaves
    assert len(requests) <= 30


@pytest.mark.parametrize("seed", range(3))
def test_a_path_that_loses_a_fifth_keeps_its_consent(seed: int) -> None:
    """RFC 7675 §5.1, §1: an hour of it; six lost answers in a row would end it every forty minutes."""
    link = connected()
    chance = random.Random(seed)
    link.filter = lambda packet: chance.random() > 0.2
    link.run(3600.0)
    assert IceState.FAILED not in link.states(link.a)
    assert IceState.FAILED not in link.states(link.z)
    assert link.a.state in (IceState.COMPLETED, IceState.DISCONNECTED)
