"""What a hostile or broken peer sends: counted, answered as the RFC says, never fatal, always bounded."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ice_link import A4, Z4, Link, answer, request

from rtcstack import stun
from rtcstack.ice import Agent, IceState, Options
from rtcstack.stun import Message, MessageClass

STRANGER = ("198.51.100.66", 666)


def captured_stun() -> list[bytes]:
    folder = Path(__file__).parents[1] / "captures" / "peers"
    return [
        bytes.fromhex(entry["hex"])
        for path in sorted(folder.glob("*.json"))
        for entries in json.loads(path.read_text(encoding="utf-8"))["wire"].values()
        for entry in entries
        if entry["what"] == "stun"
    ]


def checking(*addresses: stun.Address) -> tuple[Agent, bytes, bytes]:
    """Return a controlling agent with one check under way from A4 to Z4, that check, and the peer's key."""
    link = Link(addresses=([A4, *addresses], [Z4]))
    link.describe(link.a)
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    return link.a, check, link.z.password.encode()


def reply_to(agent: Agent, datagram: bytes, remote: stun.Address = STRANGER) -> Message | None:
    """Let an agent receive one datagram; return its answer, if any."""
    agent.receive([datagram], A4, remote, 100.0)
    for _, _, datagrams in agent.take_packets(100.0):
        for data in datagrams:
            message = Message.parse(data)
            if message.message_class in (MessageClass.SUCCESS, MessageClass.ERROR):
                return message
    return None


def refused(agent: Agent, datagram: bytes) -> tuple[int, bool]:
    """Return code and whether signed of the error answer to a request."""
    message = reply_to(agent, datagram)
    assert message is not None
    assert message.message_class is MessageClass.ERROR
    code, _ = message.get(stun.ERROR_CODE) or (0, "")
    assert agent.stats.errors_sent == {code: 1}
    assert not agent.is_valid(A4, STRANGER)
    return code, message.is_authentic(agent.password.encode())


# Item 1: datagrams that are no STUN messages


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        bytes(19),
        bytes(20),
        bytes.fromhex("000100042112a442") + bytes(12),
        bytes.fromhex("000100012112a442") + bytes(13),
        bytes.fromhex("000100002112a443") + bytes(12),
    ],
)
def test_what_is_no_stun_message_is_dropped(data: bytes) -> None:
    """RFC 8489 §6.3."""
    agent, *_ = checking()
    assert reply_to(agent, data) is None
    assert agent.drops.malformed == 1


def test_every_truncation_of_captured_stun_is_dropped() -> None:
    agent, *_ = checking()
    count = 0
    for wire in captured_stun():
        pieces = [wire[:size] for size in range(len(wire))]
        agent.receive(pieces, A4, STRANGER, 100.0)
        count += len(pieces)
    assert agent.drops.malformed == count
    assert agent.take_packets(100.0) == []


def test_captured_stun_of_other_sessions_is_refused() -> None:
    """RFC 8489 §9.1.3, §6.3: 401 for requests, nothing for answers."""
    agent, *_ = checking()
    captured = captured_stun()
    agent.receive(captured, A4, STRANGER, 100.0)
    requests = sum(Message.parse(wire).message_class is MessageClass.REQUEST for wire in captured)
    assert agent.stats.errors_sent == {401: requests}
    assert agent.drops.unknown_transaction == len(captured) - requests
    assert not agent.is_valid(A4, STRANGER)


# Items 2 to 4: attributes, integrity, fingerprint


def test_a_wrong_fingerprint_is_dropped_and_a_missing_one_tolerated() -> None:
    """RFC 8445 §7.3 asks for FINGERPRINT; who cannot write it can still talk to us."""
    agent, *_ = checking()
    good = request(agent)
    assert reply_to(agent, good[:-1] + bytes((good[-1] ^ 1,))) is None
    assert agent.drops.fingerprint == 1
    message = reply_to(agent, request(agent, fingerprint=False))
    assert message is not None
    assert message.message_class is MessageClass.SUCCESS


def test_a_request_without_integrity_or_username_is_refused_with_400() -> None:
    """RFC 8489 §9.1.3: unsigned."""
    agent, *_ = checking()
    assert refused(agent, request(agent, key=None)) == (400, False)
    agent, *_ = checking()
    assert refused(agent, request(agent, USERNAME=None)) == (400, False)


@pytest.mark.parametrize("username", ["nobody:peer", "{0}", "{0}:", ":", ":peer", "peer:{0}"])
def test_a_request_for_another_username_is_refused_with_401(username: str) -> None:
    """RFC 8489 §9.1.3, RFC 8445 §7.3."""
    agent, *_ = checking()
    assert refused(agent, request(agent, username=username.format(agent.ufrag))) == (401, False)


def test_a_request_with_wrong_integrity_is_refused_with_401() -> None:
    """RFC 8489 §9.1.3."""
    agent, *_ = checking()
    assert refused(agent, request(agent, key=b"wrong")) == (401, False)


def test_a_request_without_priority_is_refused_with_400() -> None:
    """RFC 8445 §7.1.1."""
    agent, *_ = checking()
    assert refused(agent, request(agent, PRIORITY=None)) == (400, True)


def test_a_request_that_claims_both_roles_is_refused_with_400() -> None:
    """RFC 8445 §7.1.3."""
    agent, *_ = checking()
    assert refused(agent, request(agent, ICE_CONTROLLING=1, ICE_CONTROLLED=1)) == (400, True)


def test_unknown_attributes_are_named_in_a_420() -> None:
    """RFC 8489 §6.3.1; those that may be ignored are."""
    agent, *_ = checking()
    unknown = [stun.Attribute(number, "TEST", lambda v, _: v, lambda v, _: v) for number in (0x7F01, 0xFF01)]
    try:
        content = dict.fromkeys(unknown, b"x")
        content[stun.USERNAME] = f"{agent.ufrag}:peer"  # type: ignore[index]
        wire = Message(stun.BINDING, MessageClass.REQUEST, bytes(12), content).write(agent.password.encode())
    finally:
        for each in unknown:
            del stun.ATTRIBUTES[each.type]
    message = reply_to(agent, wire)
    assert message is not None
    assert message.get(stun.ERROR_CODE) == (420, "Unknown Attribute")
    assert message.get(stun.UNKNOWN_ATTRIBUTES) == (0x7F01,)
    assert message.is_authentic(agent.password.encode())


def test_the_answer_has_the_integrity_of_the_request() -> None:
    """RFC 8489 §9.1.3: SHA-256 for SHA-256."""
    agent, *_ = checking()
    message = reply_to(agent, request(agent, integrity=stun.MESSAGE_INTEGRITY_SHA256))
    assert message is not None
    assert message.integrity is stun.MESSAGE_INTEGRITY_SHA256
    assert message.is_authentic(agent.password.encode())
    assert message.get(stun.XOR_MAPPED_ADDRESS) == STRANGER
    assert message.get(stun.USERNAME) is None


def test_an_answer_goes_back_the_way_the_request_came() -> None:
    """RFC 8489 §6.3.1.2."""
    link = Link(addresses=([A4, ("192.0.2.9", 9)], [Z4]))
    link.a.receive([request(link.a)], ("192.0.2.9", 9), STRANGER, link.now)
    ((local, remote, _),) = link.a.take_packets(link.now)
    assert (local, remote) == (("192.0.2.9", 9), STRANGER)


def test_other_methods_and_indications_are_not_answered() -> None:
    """RFC 8489 §6.3, RFC 8445 §11."""
    agent, *_ = checking()
    key = agent.password.encode()
    assert reply_to(agent, Message(0x003, MessageClass.REQUEST, bytes(12), {}).write(key)) is None
    assert agent.drops.unsupported_method == 1
    assert reply_to(agent, Message(stun.BINDING, MessageClass.INDICATION, bytes(12), {}).write()) is None
    assert agent.stats.indications_received == 1
    assert not agent.is_valid(A4, STRANGER)


# Items 4 to 7: answers


def test_an_unsigned_or_wrongly_signed_answer_is_ignored_and_the_check_goes_on() -> None:
    """RFC 8489 §9.1.4."""
    agent, check, key = checking()
    for wrong in (None, b"wrong"):
        agent.receive([answer(check, wrong, XOR_MAPPED_ADDRESS=A4)], A4, Z4, 100.0)
    sha256 = Message(
        stun.BINDING,
        MessageClass.SUCCESS,
        Message.parse(check).transaction_id,
        {stun.XOR_MAPPED_ADDRESS: A4},
    ).write(key, integrity=stun.MESSAGE_INTEGRITY_SHA256)
    agent.receive([sha256], A4, Z4, 100.0)
    assert agent.drops.unauthenticated_response == 3
    agent.receive([answer(check, None, error=400)], A4, Z4, 100.0)
    assert agent.drops.unauthenticated_error == 1
    assert agent.state is IceState.CHECKING
    assert agent.deadline == 100.5
    agent.receive([answer(check, key, XOR_MAPPED_ADDRESS=A4)], A4, Z4, 100.1)
    assert agent.state is IceState.CONNECTED


def test_an_answer_without_mapped_address_fails_the_pair() -> None:
    """RFC 8489 §6.3.3."""
    agent, check, key = checking()
    agent.receive([answer(check, key)], A4, Z4, 100.0)
    assert agent.state is IceState.CHECKING
    assert agent.take_packets(110.0) == []
    assert agent.deadline == 139.5


def test_an_answer_from_another_address_fails_the_pair() -> None:
    """RFC 8445 §7.2.5.2.1: addresses must be symmetric."""
    other = ("192.0.2.9", 9)
    for local, remote in ((A4, STRANGER), (other, Z4)):
        agent, check, key = checking(other)
        reply = answer(check, key, XOR_MAPPED_ADDRESS=A4)
        agent.receive([reply], local, remote, 100.0)
        assert agent.drops.non_symmetric == 1
        assert agent.selected is None
        assert not agent.is_valid(local, remote)
        agent.receive([reply], A4, Z4, 100.0)
        assert agent.selected is None
        assert agent.drops.unknown_transaction == 1


def test_a_replayed_or_unknown_answer_is_ignored() -> None:
    """RFC 8489 §6.3."""
    agent, check, key = checking()
    reply = answer(check, key, XOR_MAPPED_ADDRESS=A4)
    agent.receive([reply, reply], A4, Z4, 100.0)
    assert agent.drops.unknown_transaction == 1
    assert agent.stats.responses_received == 1


def test_a_storm_of_role_conflicts_ends() -> None:
    """RFC 8445 §7.2.5.1: bounded switches, then the pair fails."""
    agent, check, key = checking()
    for _ in range(1000):
        agent.receive([answer(check, key, error=487)], A4, Z4, 100.0)
        packets = agent.take_packets(agent.deadline if agent.deadline < 130 else 130.0)
        if not packets:
            break
        ((_, _, (check,)),) = packets
    assert agent.stats.role_switches == 32
    assert agent.stats.checks_sent == 33
    assert agent.state is IceState.CHECKING


# Item 8: nominations that make no sense


def test_use_candidate_for_a_controlling_agent_is_ignored() -> None:
    """RFC 8445 §7.1.2."""
    agent, check, _ = checking()
    message = reply_to(
        agent, request(agent, USE_CANDIDATE=True, ufrag=Message.parse(check).get(stun.USERNAME).split(":")[0])
    )  # type: ignore[union-attr]
    assert message is not None
    assert message.message_class is MessageClass.SUCCESS
    assert agent.drops.use_candidate_ignored == 1


def test_a_request_with_another_remote_ufrag_is_answered_only() -> None:
    """RFC 8445 §7.3.1.4: there is no password to check back with."""
    agent, *_ = checking()
    message = reply_to(agent, request(agent, ufrag="other"))
    assert message is not None
    assert message.message_class is MessageClass.SUCCESS
    assert agent.drops.foreign_ufrag == 1
    assert not agent.is_valid(A4, STRANGER)
    assert agent.stats.checks_sent == 1


# Items 9 and 10: floods


def test_early_checks_are_answered_and_bounded() -> None:
    """RFC 8445 §7.3: 100 five-tuples are remembered."""
    link = Link()
    for number in range(300):
        link.a.receive([request(link.a, ufrag=link.z.ufrag)], A4, (STRANGER[0], 1000 + number), link.now)
    assert sum(len(datagrams) for _, _, datagrams in link.a.take_packets(link.now)) == 300
    assert link.a.drops.early_overflow == 200
    assert link.a.is_valid(A4, (STRANGER[0], 1099))
    assert not link.a.is_valid(A4, (STRANGER[0], 1100))
    link.describe(link.a)
    link.filter = lambda packet: False
    link.run(6.0)
    assert len({packet.destination for _, packet in link.sent_by(link.a)}) == 100


def test_early_checks_of_another_peer_are_not_checked_back() -> None:
    link = Link()
    link.a.receive([request(link.a, ufrag="other")], A4, STRANGER, link.now)
    assert link.a.is_valid(A4, STRANGER)
    link.describe(link.a)
    link.flush()
    assert not link.a.is_valid(A4, STRANGER)
    assert link.a.drops.foreign_ufrag == 1


def test_an_early_nomination_is_remembered() -> None:
    """RFC 8445 §7.3: an aggressive peer nominates before we know its password."""
    link = Link()
    for nominates in (None, True, None):
        link.z.receive([request(link.z, ufrag=link.a.ufrag, USE_CANDIDATE=nominates)], Z4, A4, link.now)
    link.connect()
    link.run(0.1)
    assert link.z.state is IceState.COMPLETED


def test_ten_thousand_peer_reflexive_sources_are_bounded() -> None:
    """RFC 8445 §19.5.1: the oldest that never answered make room, real ones stay, pacing holds."""
    link = Link()
    link.connect()
    link.run(0.0)
    for number in range(10_000):
        source = (f"10.{number >> 8}.{number & 255}.1", 5000)
        link.z.receive([request(link.z, ufrag=link.a.ufrag)], Z4, source, link.now)
        link.z.take_packets(link.now)
    assert link.z.drops.remote_overflow == 10_000 - 99
    assert sum(link.z.is_valid(Z4, (f"10.{n >> 8}.{n & 255}.1", 5000)) for n in range(10_000)) == 99
    assert link.z.stats.checks_sent == 1 + 5
    link.run(10.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_answers_that_nobody_takes_are_bounded() -> None:
    link = Link(options=Options(max_queued=10))
    link.a.receive([request(link.a)] * 50, A4, STRANGER, link.now)
    assert sum(len(datagrams) for _, _, datagrams in link.a.take_packets(link.now)) == 10
    assert link.a.drops.queue_overflow == 40


def test_error_answers_are_hardly_larger_than_their_requests() -> None:
    """RFC 8445 §19.5.1: no amplification worth the name."""
    agent, *_ = checking()
    smallest = Message(stun.BINDING, MessageClass.REQUEST, bytes(12), {}).write(fingerprint=False)
    agent.receive([smallest], A4, STRANGER, 100.0)
    ((_, _, (reply,)),) = agent.take_packets(100.0)
    assert len(reply) <= 3 * len(smallest)


def test_a_datagram_for_an_address_that_is_not_ours_is_dropped() -> None:
    agent, *_ = checking()
    agent.receive([request(agent)], ("192.0.2.99", 1), STRANGER, 100.0)
    assert agent.drops.unknown_local == 1
    assert agent.take_packets(100.0) == []


# Garbage in every state


def in_state(state: IceState) -> Link:
    link = Link(seed=9)
    if state is not IceState.NEW:
        link.connect()
        link.filter = lambda packet: state is not IceState.CHECKING
        link.run(0.1 if state is IceState.CONNECTED else 0.3)
    if state is IceState.DISCONNECTED:
        link.filter = lambda packet: False
        link.run(8.0)
    elif state is IceState.FAILED:
        link.filter = lambda packet: False
        link.run(60.0)
    elif state is IceState.CLOSED:
        link.a.close()
    assert link.a.state is state
    return link


mutations = st.tuples(st.integers(0, 100), st.integers(0, 255), st.integers(1, 255))


@pytest.mark.parametrize("state", IceState)
@settings(max_examples=25)
@given(
    garbage=st.lists(st.binary(max_size=60), max_size=4),
    mutations=st.lists(mutations, max_size=6),
    seconds=st.floats(0, 10),
)
def test_garbage_never_raises_and_never_opens_the_gate(
    state: IceState, garbage: list[bytes], mutations: list[tuple[int, int, int]], seconds: float
) -> None:
    link = in_state(state)
    agent = link.a
    seeds = [packet.data for _, packet in link.sent] or [request(agent)]
    header = bytes.fromhex("0101000c2112a442")
    damaged = [header + (piece + bytes(24))[:24] for piece in garbage]
    for number, at, flip in mutations:
        data = bytearray(seeds[number % len(seeds)])
        data[at % (len(data) - 8)] ^= flip  # without its FINGERPRINT a request is as authentic as before
        damaged.append(bytes(data))
    agent.receive(garbage + damaged, A4, STRANGER, link.now)
    assert not agent.is_valid(A4, STRANGER)
    link.run(seconds)
    if state in (IceState.FAILED, IceState.CLOSED):
        assert agent.state is state
        assert agent.take_packets(link.now) == []


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.floats(0, 0.6), st.floats(0.0, 0.3))
def test_any_link_leaves_both_agents_in_a_sane_state(seed: int, loss: float, delay: float) -> None:
    link = Link(seed=seed, delay=delay)
    chance = random.Random(seed)
    link.filter = lambda packet: chance.random() >= loss
    link.connect()
    link.run(30.0)
    for agent in (link.a, link.z):
        assert agent.deadline > link.now
        connected = agent.state in (IceState.CONNECTED, IceState.COMPLETED, IceState.DISCONNECTED)
        assert (agent.selected is not None) is connected
        assert bool(agent.failure_reason) is (agent.state is IceState.FAILED)
