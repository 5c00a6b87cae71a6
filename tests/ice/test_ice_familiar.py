"""Consent messages are known by their bytes: whatever differs is judged in full, as if nothing were known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ice_link import A4, Z4, Link, answer, request

from rtcstack import stun
from rtcstack.errors import WireError
from rtcstack.ice import Agent, IceState
from rtcstack.stun import Message, MessageClass

UNKNOWN = stun.Attribute(0x7777, "UNKNOWN-TO-RFCS", lambda value, _: value, lambda value, _: value)
del stun.ATTRIBUTES[UNKNOWN.type]


def idling() -> Link:
    """Return agents that have exchanged some consent checks."""
    link = Link(seed=5)
    link.connect()
    link.run(20.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    return link


def replies(agent: Agent, datagram: bytes, now: float) -> list[Message]:
    """Hand z's datagram to a; return what a has to say, requests of its own left out."""
    agent.receive([datagram], A4, Z4, now)
    sent = [Message.parse(each) for _, _, batch in agent.take_packets(now) for each in batch]
    return [message for message in sent if message.message_class is not MessageClass.REQUEST]


def last_request(link: Link, sender: Agent) -> bytes:
    return [packet.data for _, packet in link.sent_by(sender) if packet.is_request][-1]


def renew(datagram: bytes, key: str, transaction_id: bytes = b"another one.") -> bytes:
    """Write a message again with another id."""
    old = Message.parse(datagram)
    return Message(old.method, old.message_class, transaction_id, old.attributes).write(key.encode())


def test_a_familiar_request_is_answered_under_its_own_id() -> None:
    """RFC 8489 §6.3.3: with the address that it came from, signed with our password."""
    link = idling()
    known = last_request(link, link.z)
    for number in range(3):
        asked = renew(known, link.a.password, b"id number %2d" % number)
        (said,) = replies(link.a, asked, link.now)
        wire = answer(asked, link.a.password.encode(), XOR_MAPPED_ADDRESS=Z4)
        assert said == Message.parse(wire)
        assert said.is_authentic(link.a.password.encode())


DAMAGED = idling()


@given(st.data())
def test_a_damaged_request_is_judged_as_one_never_seen(data: st.DataObject) -> None:
    """RFC 8489 §6.3 and 9.1.3: what an agent that knows the message says, one says that does not, too."""
    link = DAMAGED
    wire = bytearray(renew(last_request(link, link.z), link.a.password))
    wire[data.draw(st.integers(0, len(wire) - 1), "where")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    damaged = bytes(wire[: data.draw(st.integers(1, len(wire)), "size")])
    try:
        message = Message.parse(damaged)
        is_good = message.is_authentic(link.a.password.encode())
    except WireError:
        assert replies(link.a, damaged, link.now) == []
        return
    assert not is_good
    said = replies(link.a, damaged, link.now)
    assert all(each.message_class is MessageClass.ERROR and each.integrity is None for each in said)


def test_a_wrong_fingerprint_is_dropped() -> None:
    """RFC 8489 §14.7."""
    link = idling()
    wire = renew(last_request(link, link.z), link.a.password)
    before = link.a.drops.fingerprint
    assert replies(link.a, wire[:-1] + bytes([wire[-1] ^ 1]), link.now) == []
    assert link.a.drops.fingerprint == before + 1


def test_a_wrong_integrity_is_refused() -> None:
    """RFC 8489 §9.1.3."""
    link = idling()
    (said,) = replies(link.a, renew(last_request(link, link.z), "not the password"), link.now)
    assert said.get(stun.ERROR_CODE) == (401, "Unauthenticated")


def test_an_attribute_more_is_read() -> None:
    """RFC 8489 §6.3.1: one that must be understood and is not is refused, though all else is familiar."""
    link = idling()
    known = Message.parse(last_request(link, link.z))
    more = Message(known.method, known.message_class, b"another one.", {**known.attributes, UNKNOWN: b"1234"})
    (said,) = replies(link.a, more.write(link.a.password.encode()), link.now)
    assert said.get(stun.ERROR_CODE) == (420, "Unknown Attribute")
    assert said.get(stun.UNKNOWN_ATTRIBUTES) == (UNKNOWN.type,)


def test_a_familiar_request_is_refused_once_our_role_has_changed() -> None:
    """RFC 8445 §7.3.1.1: the peer, whose tie-breaker is smaller, still claims the role that now is ours."""
    link = idling()
    known = renew(last_request(link, link.a), link.z.password)
    link.z.set_controlling(True)
    link.z.receive([known], Z4, A4, link.now)
    said = [Message.parse(each) for _, _, batch in link.z.take_packets(link.now) for each in batch]
    answers = [each for each in said if each.message_class is not MessageClass.REQUEST]
    assert [each.get(stun.ERROR_CODE) for each in answers] == [(487, "Role Conflict")]


def test_a_familiar_request_from_elsewhere_is_read_as_from_there() -> None:
    """RFC 8489 §6.3.3: the mapped address is the source, whatever it was before."""
    link = idling()
    elsewhere = ("198.51.100.77", 7777)
    link.a.receive([renew(last_request(link, link.z), link.a.password)], A4, elsewhere, link.now)
    sent = [(remote, batch) for _, remote, batch in link.a.take_packets(link.now)]
    (datagram,) = [each for remote, batch in sent if remote == elsewhere for each in batch]
    assert Message.parse(datagram).get(stun.XOR_MAPPED_ADDRESS) == elsewhere


@pytest.mark.parametrize("key", ["", "not the password of the peer"], ids=["unsigned", "badly signed"])
def test_a_forged_answer_gives_no_consent(key: str) -> None:
    """RFC 7675 §5.1: sending stops, for nobody has consented."""
    link = idling()
    link.filter = lambda packet: False
    before = link.a.drops.unauthenticated_response
    seen = 0
    for _ in range(40):
        link.run(1.0)
        sent = [packet.data for _, packet in link.sent_by(link.a) if packet.is_request]
        for asked in sent[seen:]:
            wire = answer(asked, key.encode() or None, XOR_MAPPED_ADDRESS=A4)
            link.a.receive([wire], A4, Z4, link.now)
        seen = len(sent)
    assert link.a.drops.unauthenticated_response > before
    assert link.a.state is IceState.FAILED


def test_an_old_familiar_answer_is_of_no_use() -> None:
    """RFC 7675 §5.1: an id is good once."""
    link = idling()
    old = [packet.data for _, packet in link.sent_by(link.z) if not packet.is_request][-1]
    before = link.a.drops.unknown_transaction
    link.a.receive([old], A4, Z4, link.now)
    assert link.a.drops.unknown_transaction == before + 1


def test_a_restart_makes_everything_unfamiliar() -> None:
    """RFC 8445 §9: the old password signs no check of the new generation."""
    link = idling()
    known, password = renew(last_request(link, link.z), link.a.password), link.a.password
    link.a.restart()
    link.a.set_remote_credentials("newufrag", "a new password of the peer")
    (said,) = replies(link.a, request(link.a, key=password.encode()), link.now)
    assert said.get(stun.ERROR_CODE) == (401, "Unauthenticated")
    (said,) = replies(link.a, known, link.now)
    assert said.message_class is MessageClass.SUCCESS  # the generation before still answers
