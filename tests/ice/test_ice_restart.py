"""ICE restarts in virtual time: the old path carries data until the new one is there (RFC 8445 section 9)."""

from __future__ import annotations

import pytest
from ice_link import A4, A6, Z4, Z6, Link, Packet, answer, request

from rtcstack import stun
from rtcstack.errors import InvalidState
from rtcstack.ice import (
    Address,
    Agent,
    EndOfLocalCandidates,
    IceState,
    LocalCandidate,
    Options,
    PairSelected,
)
from rtcstack.stun import Message


def connected(**fields: object) -> Link:
    link = Link(**fields)  # type: ignore[arg-type]
    link.connect()
    link.run(1.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    return link


def restart(link: Link, first: Agent) -> None:
    """Exchange offer and answer of a restart, candidates included, without delay."""
    second = link.z if first is link.a else link.a
    first.restart()
    first.end_of_local_candidates()
    link.describe(second)
    second.end_of_local_candidates()
    link.describe(first)


def credentials_used(link: Link, since: float) -> set[str]:
    """Return the usernames of all requests from a moment on."""
    return {
        packet.message.get(stun.USERNAME) or ""
        for time, packet in link.sent
        if time >= since and packet.is_request
    }


@pytest.mark.parametrize("by_controlling", [True, False])
def test_both_credentials_change_and_the_role_stays(by_controlling: bool) -> None:
    """RFC 8445 §9, §6.1.1: whoever starts."""
    link = connected()
    before = [(agent.ufrag, agent.password) for agent in (link.a, link.z)]
    restart(link, link.a if by_controlling else link.z)
    link.run(1.0)
    after = [(agent.ufrag, agent.password) for agent in (link.a, link.z)]
    for (old_ufrag, old_password), (ufrag, password) in zip(before, after, strict=True):
        assert ufrag != old_ufrag
        assert password != old_password
    assert (link.a.controlling, link.z.controlling) == (True, False)
    assert link.a.stats.role_switches == link.z.stats.role_switches == 0
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_the_selected_pair_carries_data_throughout() -> None:
    """RFC 8445 §9: there is always a pair to send on, and the peer's data may always be looked at."""
    link = connected()
    old = link.a.selected
    link.a.restart()
    link.run(3.0)  # The offer is on its way.
    assert link.a.selected is old
    assert link.a.state is IceState.CONNECTED
    link.describe(link.z)
    link.run(3.0)  # So is the answer.
    assert link.z.selected is not None
    link.describe(link.a)
    for _ in range(40):
        link.run(0.05)
        for agent, local, remote in ((link.a, A4, Z4), (link.z, Z4, A4)):
            assert agent.selected is not None
            assert agent.is_valid(local, remote)
    assert link.a.selected is not old
    states = set(link.states(link.a))
    assert states == {IceState.CHECKING, IceState.CONNECTED, IceState.COMPLETED}


def test_one_round_trip_brings_the_new_pair() -> None:
    """RFC 8445 §9, §7.2.5.3: a restart costs what a start costs."""
    link = connected()
    began = link.now - 100.0
    restart(link, link.a)
    link.run(1.0)
    selected = [
        (who, round(time - 100.0 - began, 6))
        for who, time, what in link.log
        if isinstance(what, PairSelected) and time - 100.0 > began
    ]
    assert selected == [(link.a, 0.1), (link.z, 0.1)]
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_candidates_are_announced_again() -> None:
    """RFC 8838 §15, RFC 8839 §4.4.1.1.1: under the new ufrag, and more may follow."""
    link = connected(addresses=([A4, A6], [Z4, Z6]))
    link.a.restart()
    assert [event for event in link.a.take_events() if isinstance(event, LocalCandidate)] == [
        LocalCandidate(candidate) for candidate in link.a.local_candidates
    ]
    link.a.add_local_address(("192.0.2.9", 9))
    link.a.end_of_local_candidates()
    kinds = [type(event) for event in link.a.take_events()]
    assert kinds == [LocalCandidate, EndOfLocalCandidates]


def test_candidates_not_yet_told_are_told_once() -> None:
    """RFC 8838 §15: what waits under the old ufrag would be told under the new one anyway."""
    agent = Link().a
    agent.restart()
    assert [type(event) for event in agent.take_events()] == [LocalCandidate]


def test_remote_candidates_are_forgotten() -> None:
    """RFC 8445 §9: the candidate set of the new session may be another one."""
    link = connected(addresses=([A4, A6], [Z4, Z6]))
    link.a.restart()
    link.z.set_remote_credentials(link.a.ufrag, link.a.password)
    link.describe(link.a, candidates=False)
    before = link.now
    link.run(0.5)
    assert not [name for name in credentials_used(link, before) if name.endswith(link.a.ufrag)]


def test_consent_goes_on_with_the_old_credentials() -> None:
    """RFC 7675 §5.1: while the offer of a restart is unanswered, for as long as that takes."""
    link = connected()
    old = {f"{link.a.ufrag}:{link.z.ufrag}", f"{link.z.ufrag}:{link.a.ufrag}"}
    link.a.restart()
    before = link.now
    link.run(120.0)
    assert link.a.state is IceState.CONNECTED
    assert credentials_used(link, before) == old
    assert link.a.stats.errors_sent == link.z.stats.errors_sent == {}


def test_consent_goes_on_while_the_new_checks_fail_then_the_agent_fails() -> None:
    """RFC 7675 §5.1, RFC 8863 §4: a new generation without a pair is a failure, whatever the old one does."""
    link = connected()
    old_ufrags = (link.a.ufrag, link.z.ufrag)

    def old_only(packet: Packet) -> bool:
        username = packet.message.get(stun.USERNAME)
        return username is None or username.split(":")[0] in old_ufrags

    link.filter = old_only
    restart(link, link.a)
    began = link.now - 100.0
    link.run(39.0)
    assert link.a.state is link.z.state is IceState.CONNECTED
    assert link.a.selected is not None
    link.run(2.0)
    assert link.when(link.a, IceState.FAILED) == pytest.approx(began + 39.5)
    assert link.a.selected is None
    assert link.a.failure_reason.startswith("none of 1 candidate pairs was answered")


def test_old_checks_are_answered_until_the_new_pair_is_nominated() -> None:
    """RFC 8445 §8.3.1: three seconds longer, for a peer that has not yet selected the new pair."""
    link = connected()
    old = request(link.a, ufrag=link.z.ufrag)
    restart(link, link.a)
    link.run(2.0)
    assert link.a.state is IceState.COMPLETED
    link.a.receive([old], A4, Z4, link.now)
    ((_, _, (reply,)),) = link.a.take_packets(link.now)
    assert Message.parse(reply).get(stun.ERROR_CODE) is None
    link.run(3.0)
    link.a.receive([old], A4, Z4, link.now)
    ((_, _, (reply,)),) = link.a.take_packets(link.now)
    assert Message.parse(reply).get(stun.ERROR_CODE) == (401, "Unauthenticated")


def test_checks_of_the_new_generation_before_its_answer() -> None:
    """RFC 8445 §7.3: answered at once, checked back when the answer is here."""
    link = connected()
    link.a.restart()
    link.describe(link.z)
    link.run(0.2)
    assert link.z.selected is not None
    assert link.a.state is IceState.CONNECTED
    before = len(link.log)
    link.describe(link.a, candidates=False)
    link.run(1.0)
    assert [what for who, _, what in link.log[before:] if who is link.a and isinstance(what, PairSelected)]
    assert link.a.state is IceState.COMPLETED


def test_both_sides_restart_at_once() -> None:
    """RFC 8839 §4.4: the offers cross; whichever is withdrawn, each side has credentials to answer with."""
    link = connected()
    link.a.restart()
    link.z.restart()
    fresh = (link.a.ufrag, link.z.ufrag)
    link.describe(link.a)
    link.describe(link.z)
    link.run(1.0)
    assert (link.a.ufrag, link.z.ufrag) == fresh
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_a_restart_of_a_restart_replaces_the_unanswered_one() -> None:
    """RFC 8445 §9: the pair that carries data outlives both."""
    link = connected()
    old = link.a.selected
    link.a.restart()
    first = link.a.ufrag
    link.a.restart()
    assert link.a.ufrag != first
    assert link.a.selected is old
    link.describe(link.z)
    link.describe(link.a)
    link.run(0.01)
    restart(link, link.z)
    assert link.a.selected is old
    link.run(1.0)
    assert link.a.selected is not old
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_ten_restarts_in_a_row() -> None:
    """RFC 8445 §9: any number of times, by either side, data always has a pair."""
    link = connected()
    for number in range(10):
        restart(link, link.a if number % 2 else link.z)
        link.run(0.3)
        assert link.a.selected is not None
        assert link.z.selected is not None
    link.run(5.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert not link.a.drops.unknown_transaction


# Restarts that come to nothing


def test_an_abandoned_restart_leaves_everything_as_it_was() -> None:
    """RFC 8829 §4.1.10.2: the offer is rolled back."""
    link = connected()
    before = (link.a.ufrag, link.a.password, link.a.selected)
    link.a.restart()
    link.run(10.0)
    link.a.abandon_restart()
    assert (link.a.ufrag, link.a.password, link.a.selected) == before
    link.run(60.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    link.a.abandon_restart()
    assert link.a.ufrag == before[0]


def test_a_peer_that_knows_no_restarts_keeps_the_old_path() -> None:
    """RFC 8839 §4.4.1.1.1: its answer repeats its old credentials, as aiortc's does."""
    link = connected()
    before = (link.a.ufrag, link.a.selected)
    link.a.restart()
    link.a.set_remote_credentials(link.z.ufrag, link.z.password)
    assert (link.a.ufrag, link.a.selected) == before
    link.run(60.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_the_old_path_may_die_while_the_offer_is_unanswered() -> None:
    """RFC 7675 §5.1: sending stops; the answer may still come."""
    link = connected()
    link.a.restart()
    link.filter = lambda packet: False
    link.run(40.0)
    assert link.a.selected is None
    assert link.a.state is IceState.CHECKING
    assert link.z.state is IceState.FAILED
    link.filter = lambda packet: True
    link.describe(link.z)
    link.describe(link.a)
    link.run(1.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


# Revival


@pytest.mark.parametrize("seconds", [10.0, 60.0])
def test_a_restart_revives_a_silent_and_a_failed_agent(seconds: float) -> None:
    """RFC 7675 §5.1: new credentials regain consent on the same five-tuple; a late answer would not."""
    link = connected()
    link.filter = lambda packet: False
    link.run(seconds)
    assert link.a.state is (IceState.DISCONNECTED if seconds < 30 else IceState.FAILED)
    link.filter = lambda packet: True
    restart(link, link.a)
    link.run(0.0)
    assert link.a.state is link.z.state is IceState.CHECKING
    link.run(1.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert link.a.failure_reason == ""


def test_an_abandoned_revival_is_still_a_failure() -> None:
    link = connected()
    link.filter = lambda packet: False
    link.run(60.0)
    reason = link.a.failure_reason
    link.a.restart()
    assert link.a.state is IceState.CHECKING
    link.a.abandon_restart()
    assert (link.a.state, link.a.failure_reason) == (IceState.FAILED, reason)


def test_a_restart_after_a_start_that_failed() -> None:
    """RFC 8445 §9: the session may have been Failed from the beginning."""
    link = Link()
    link.filter = lambda packet: False
    link.connect()
    link.run(60.0)
    assert link.a.state is link.z.state is IceState.FAILED
    link.filter = lambda packet: True
    restart(link, link.z)
    link.run(1.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_a_restart_before_there_was_a_pair() -> None:
    """RFC 8445 §9: the old checks go on until the new ones begin."""
    link = Link()
    link.filter = lambda packet: False
    link.connect()
    link.run(1.0)
    link.filter = lambda packet: True
    link.a.restart()
    link.run(1.0)
    assert link.a.selected is not None
    link.describe(link.z)
    link.describe(link.a)
    link.run(1.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_a_restart_before_the_first_answer_only_changes_the_credentials() -> None:
    link = Link()
    before = link.a.ufrag
    link.a.start(link.now)
    link.a.restart()
    assert link.a.ufrag != before
    assert link.a.state is IceState.NEW
    link.connect()
    link.run(1.0)
    assert link.a.state is IceState.COMPLETED


def test_a_closed_agent_cannot_be_restarted() -> None:
    link = connected()
    link.a.close()
    with pytest.raises(InvalidState):
        link.a.restart()


# Where candidates belong


def test_candidates_belong_to_the_credentials_they_come_with() -> None:
    """RFC 8838 §15, RFC 8840 §4.3: late ones of the old generation are not taken for the new one."""
    link = connected()
    old_ufrag = link.z.ufrag
    (old,) = link.z.local_candidates
    restart(link, link.a)
    link.a.add_remote_candidate(old, ufrag=old_ufrag)
    assert link.a.drops.remote_other_generation == 1
    link.a.restart()
    link.a.add_remote_candidate(old, ufrag="future")
    link.a.set_remote_credentials("future", "p" * 22)
    link.flush()
    checks = {
        packet.destination
        for _, packet in link.sent
        if packet.is_request and (packet.message.get(stun.USERNAME) or "").startswith("future:")
    }
    assert checks == {Z4}


def test_a_candidate_without_ufrag_before_the_answer_is_the_old_generations() -> None:
    """RFC 8840 §4.3: the remote description in force is the old one."""
    link = Link()
    old = link.a.ufrag
    link.a.set_remote_credentials(link.z.ufrag, link.z.password)
    link.a.start(link.now)
    link.run(0.1)
    link.a.restart()
    link.a.add_remote_candidate(link.z.local_candidates[0])
    link.run(0.0)
    assert credentials_used(link, 0.0) == {f"{link.z.ufrag}:{old}"}


def test_a_nomination_by_new_credentials_from_an_old_address() -> None:
    """As Chromium may do: the address is learned anew, whatever was forgotten."""
    link = connected()
    link.z.restart()
    link.a.set_remote_credentials(link.z.ufrag, link.z.password)
    link.a.take_packets(link.now)
    link.a.receive([request(link.a, ufrag=link.z.ufrag)], A4, Z4, link.now)
    packets = link.a.take_packets(link.now)
    checks = [
        data
        for _, _, datagrams in packets
        for data in datagrams
        if (Message.parse(data).get(stun.USERNAME) or "").startswith(link.z.ufrag)
    ]
    (check,) = checks
    link.a.receive([answer(check, link.z.password.encode(), XOR_MAPPED_ADDRESS=A4)], A4, Z4, link.now)
    assert link.a.selected is not None
    assert link.a.selected.remote.type == "prflx"


def test_the_other_network_after_a_restart() -> None:
    """RFC 8445 §9: an agent moves to a new interface; the old path breaks at once."""
    new: Address = ("198.51.100.5", 5000)
    link = connected()
    link.filter = lambda packet: A4 not in (packet.source, packet.destination)
    link.a.restart()
    link.a.remove_local(A4)
    link.a.add_local_address(new)
    assert link.a.selected is None
    link.describe(link.z)
    link.describe(link.a)
    link.run(1.0)
    assert link.a.selected is not None
    assert link.a.selected.local_address == new
    assert link.z.selected is not None
    assert link.z.selected.remote_address == new


def test_an_old_path_that_the_peer_proves_anew_carries_its_data() -> None:
    """As Chromium does: its old port asks with our new credentials and its old ufrag, then sends there."""
    new: Address = ("198.51.100.5", 5000)
    link = connected()
    old_ufrag = link.z.ufrag
    link.filter = lambda packet: Z4 not in (packet.source, packet.destination)
    link.z.remove_local(Z4)
    link.z.restart()
    link.z.add_local_address(new)
    link.describe(link.a)
    link.describe(link.z)
    link.run(20.0)
    assert link.a.selected is not None
    assert link.a.selected.remote_address == new
    assert not link.a.is_valid(A4, Z4)
    link.a.receive([request(link.a, ufrag="stranger")], A4, Z4, link.now)
    link.a.receive([request(link.a, ufrag=old_ufrag, key=b"guessed")], A4, Z4, link.now)
    assert not link.a.is_valid(A4, Z4)
    link.a.receive([request(link.a, ufrag=old_ufrag)], A4, Z4, link.now)
    assert link.a.is_valid(A4, Z4)
    assert link.a.selected.remote_address == new


def test_restarts_under_loss() -> None:
    """RFC 8445 §9 with 30 % loss."""
    for seed in range(6):
        link = connected(seed=seed)
        link.filter = lambda packet, link=link: link.random.random() > 0.3
        restart(link, link.a)
        link.run(4.5)
        assert link.a.state is link.z.state is IceState.COMPLETED


def test_options_survive_a_restart() -> None:
    link = connected(options=Options(max_pairs=1))
    restart(link, link.a)
    link.run(1.0)
    assert link.a.options.max_pairs == 1
    assert link.a.state is IceState.COMPLETED
