"""Templates: the bytes of the full writer, and a short reader that says nothing the full one would not."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack import stun
from rtcstack.stun import BINDING, Message, MessageClass, Template

IDS = st.binary(min_size=12, max_size=12)
KEYS = st.binary(min_size=1, max_size=256)
NUMBERS = st.integers(0, 2**32 - 1)
PORTS = st.integers(1, 65535)
REQUESTS = st.builds(
    lambda username, priority, tie_breaker, nominates: Message(
        BINDING,
        MessageClass.REQUEST,
        bytes(12),
        {
            stun.USERNAME: username,
            stun.PRIORITY: priority,
            stun.ICE_CONTROLLING: tie_breaker,
            **({stun.USE_CANDIDATE: True} if nominates else {}),
        },
    ),
    st.text(min_size=1, max_size=40),
    NUMBERS,
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
ANSWERS = st.builds(
    lambda ip, port: Message(
        BINDING, MessageClass.SUCCESS, bytes(12), {stun.XOR_MAPPED_ADDRESS: (str(ip), port)}
    ),
    st.ip_addresses(v=4),
    PORTS,
)
MESSAGES = REQUESTS | ANSWERS


def again(message: Message, transaction_id: bytes) -> Message:
    """Return the message with another transaction id."""
    return Message(message.method, message.message_class, transaction_id, message.attributes)


@given(MESSAGES, KEYS, IDS, IDS)
def test_a_template_writes_what_the_full_writer_writes(
    message: Message, key: bytes, first: bytes, second: bytes
) -> None:
    template = Template(again(message, first).write(key), key)
    assert template.write(second) == again(message, second).write(key)


@given(MESSAGES, KEYS, IDS, IDS)
def test_a_message_that_comes_again_with_another_id_is_recognised(
    message: Message, key: bytes, first: bytes, second: bytes
) -> None:
    template = Message.parse(again(message, first).write(key)).template(key)
    assert template is not None
    assert template.recognises(again(message, second).write(key))


@given(MESSAGES, KEYS, KEYS, IDS)
def test_another_key_is_not_recognised(message: Message, key: bytes, other: bytes, id_: bytes) -> None:
    # HMAC fills short keys up with zeros, and hashes those that are longer than a block.
    signs_alike = hmac.digest(key, b"", "sha1") == hmac.digest(other, b"", "sha1")
    assert Template(message.write(key), key).recognises(again(message, id_).write(other)) is signs_alike


@given(MESSAGES, KEYS, IDS, st.data())
def test_a_damaged_or_cut_message_is_not_recognised(
    message: Message, key: bytes, id_: bytes, data: st.DataObject
) -> None:
    wire = bytearray(again(message, id_).write(key))
    if data.draw(st.booleans(), "cut"):
        wire = wire[: data.draw(st.integers(0, len(wire) - 1), "size")]
    else:
        wire[data.draw(st.integers(0, len(wire) - 1), "where")] ^= data.draw(st.integers(1, 255), "bits")
    assert not Template(message.write(key), key).recognises(bytes(wire))


@given(MESSAGES, KEYS, IDS, st.data())
def test_what_is_recognised_is_authentic_and_says_the_same(
    message: Message, key: bytes, id_: bytes, data: st.DataObject
) -> None:
    """The short reader accepts nothing that the full reader refuses, or reads otherwise."""
    template = Template(message.write(key), key)
    other = again(data.draw(MESSAGES | st.just(message), "other"), id_)
    wire = other.write(data.draw(st.just(key) | KEYS, "key"), fingerprint=data.draw(st.booleans(), "print"))
    wire += data.draw(st.sampled_from([b"", b"\0", bytes(4), b"\x80\x28\0\x04abcd"]), "more")
    if template.recognises(wire):
        read = Message.parse(wire)
        assert read.is_authentic(key)
        assert read == again(message, id_)


@given(st.binary(max_size=200), MESSAGES, KEYS)
def test_noise_is_not_recognised(noise: bytes, message: Message, key: bytes) -> None:
    assert not Template(message.write(key), key).recognises(noise)


def test_a_wrong_fingerprint_is_left_to_the_full_reader() -> None:
    key = b"a key that both know"
    message = Message(BINDING, MessageClass.REQUEST, bytes(12), {stun.USERNAME: "a:b"})
    wire = message.write(key)
    wire = wire[:-1] + bytes([wire[-1] ^ 1])
    assert not Template(message.write(key), key).recognises(wire)
    with pytest.raises(stun.FingerprintError):
        Message.parse(wire)


@pytest.mark.parametrize(
    "wire",
    [
        Message(BINDING, MessageClass.REQUEST, bytes(12), {stun.USERNAME: "a:b"}).write(None),
        Message(BINDING, MessageClass.REQUEST, bytes(12), {stun.USERNAME: "a:b"}).write(
            b"key", fingerprint=False
        ),
        Message(BINDING, MessageClass.REQUEST, bytes(12), {stun.USERNAME: "a:b"}).write(
            b"key", integrity=stun.MESSAGE_INTEGRITY_SHA256
        ),
    ],
    ids=["no integrity", "no fingerprint", "SHA-256"],
)
def test_other_endings_have_no_template(wire: bytes) -> None:
    assert Message.parse(wire).template(b"key") is None


def test_an_attribute_in_the_place_of_the_fingerprint_has_no_template() -> None:
    message = Message(BINDING, MessageClass.REQUEST, bytes(12), {stun.USERNAME: "a:b"})
    wire = message.write(b"key")[:-8] + b"\xc0\x57\0\x04abcd"
    assert Message.parse(wire).template(b"key") is None
