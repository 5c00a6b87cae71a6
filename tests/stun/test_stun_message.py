"""STUN messages: vectors of the RFCs, real peers, bad input and round trips."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack import stun
from rtcstack.errors import WireError
from rtcstack.stun import BINDING, Message, MessageClass

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")

REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
    "80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249"
    "c1b571a280280004e57a3bcf"
)
RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa"
    "a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
REQUEST_LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b900000015001c"
    "662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
REQUEST_SHA256 = bytes.fromhex(
    "0001009c2112a44278ad3433c6ad72c029da412e001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b2"
    "05c46e41407f1704001500296f624d61744a6f7332414141436"
    "62f2f3439396b39353464364f4c33346f4c394653547679363473410000000014000b6578616d706c652e6f726700"
    "001c0020e4686c8f0edeb59013e0709001 0a93efccbccc544c0a45d9f830aa6d6f735a01".replace(" ", "")
)


def captured_stun() -> list[bytes]:
    """Return every STUN datagram of the captured peers."""
    folder = Path(__file__).parents[1] / "captures" / "peers"
    return [
        bytes.fromhex(entry["hex"])
        for path in sorted(folder.rglob("*.json"))
        for entries in json.loads(path.read_text(encoding="utf-8"))["wire"].values()
        for entry in entries
        if entry["what"] == "stun"
    ]


CAPTURED = captured_stun()


def tlv(number: int, value: bytes) -> bytes:
    return struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)


def request(*attributes: bytes, length: int | None = None) -> bytes:
    body = b"".join(attributes)
    return (
        struct.pack("!HHI", 0x0001, len(body) if length is None else length, 0x2112A442) + TRANSACTION + body
    )


# The vectors


def test_sample_request() -> None:
    """RFC 5769 §2.1."""
    message = Message.parse(REQUEST)
    assert message == Message(
        BINDING,
        MessageClass.REQUEST,
        TRANSACTION,
        {
            stun.SOFTWARE: "STUN test client",
            stun.PRIORITY: 0x6E0001FF,
            stun.ICE_CONTROLLED: 0x932FF9B151263B36,
            stun.USERNAME: "evtj:h6vY",
        },
    )
    assert message.integrity is stun.MESSAGE_INTEGRITY
    assert message.is_authentic(PASSWORD)
    assert not message.is_authentic(b"wrong")
    # The vector pads with spaces, we with zeros: the rest is ours byte for byte.
    ours = message.write(PASSWORD)
    assert (len(ours), ours[:76]) == (len(REQUEST), REQUEST[:73] + bytes(3))


@pytest.mark.parametrize(
    ("wire", "address"),
    [
        (RESPONSE_IPV4, ("192.0.2.1", 32853)),
        (RESPONSE_IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_sample_responses(wire: bytes, address: stun.Address) -> None:
    """RFC 5769 §2.2 and §2.3."""
    message = Message.parse(wire)
    assert message.message_class is MessageClass.SUCCESS
    assert message.attributes == {stun.SOFTWARE: "test vector", stun.XOR_MAPPED_ADDRESS: address}
    assert message.is_authentic(PASSWORD)
    assert Message.parse(message.write(PASSWORD)) == message


def test_sample_request_with_long_term_credentials() -> None:
    """RFC 5769 §2.4."""
    message = Message.parse(REQUEST_LONG_TERM)
    username, realm = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org"
    assert message.attributes == {
        stun.USERNAME: username,
        stun.NONCE: b"f//499k954d6OL34oL9FSTvy64sA",
        stun.REALM: realm,
    }
    key = hashlib.md5(f"{username}:{realm}:TheMatrIX".encode()).digest()
    assert message.is_authentic(key)
    assert message.write(key, fingerprint=False) == REQUEST_LONG_TERM


def test_sample_request_with_sha256_and_userhash() -> None:
    """RFC 8489 appendix B.1: the header says 0x9c where 0x88 is right, and the HMAC covers it."""
    with pytest.raises(WireError):
        Message.parse(REQUEST_SHA256)
    message = Message.parse(REQUEST_SHA256[:3] + b"\x88" + REQUEST_SHA256[4:])
    username, realm = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org"
    assert message.attributes == {
        stun.USERHASH: hashlib.sha256(f"{username}:{realm}".encode()).digest(),
        stun.NONCE: b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA",
        stun.REALM: realm,
    }
    assert message.integrity is stun.MESSAGE_INTEGRITY_SHA256
    key = hashlib.sha256(f"{username}:{realm}:TheMatrIX".encode()).digest()
    assert hmac.digest(key, REQUEST_SHA256[:-36], "sha256") == REQUEST_SHA256[-32:]
    ours = message.write(key, integrity=stun.MESSAGE_INTEGRITY_SHA256, fingerprint=False)
    assert ours[4:-32] == REQUEST_SHA256[4:-32]
    assert Message.parse(ours).is_authentic(key)
    assert not Message.parse(ours).is_authentic(b"another key")


# Real peers


def test_every_captured_message_is_read_and_written_back() -> None:
    assert len(CAPTURED) > 80
    for wire in CAPTURED:
        message = Message.parse(wire)
        assert message.method == BINDING
        assert not message.unknown
        assert message.integrity is stun.MESSAGE_INTEGRITY
        if message.message_class is MessageClass.REQUEST:
            assert message.get(stun.PRIORITY)
            assert ":" in (message.get(stun.USERNAME) or "")
        else:
            assert message.get(stun.XOR_MAPPED_ADDRESS)
        assert Message.parse(message.write(b"key")) == message


def test_every_truncation_and_extension_of_a_capture_is_refused() -> None:
    for wire in CAPTURED:
        for size in range(len(wire)):
            with pytest.raises(WireError):
                Message.parse(wire[:size])
        for tail in (b"\0", bytes(4)):
            with pytest.raises(WireError):
                Message.parse(wire + tail)


def test_every_flipped_bit_is_noticed() -> None:
    wire = REQUEST
    for bit in range(8 * len(wire)):
        damaged = bytearray(wire)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            message = Message.parse(bytes(damaged))
        except WireError:
            continue
        # Some bits hide the FINGERPRINT; the integrity notices, but for the type of FINGERPRINT itself.
        assert not message.is_authentic(PASSWORD) or bit // 8 in (len(wire) - 8, len(wire) - 7)


# Bad input


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        bytes(19),
        bytes(20),
        request() + bytes(2),
        request(length=4),
        request(tlv(0x24, bytes(4)), length=0),
        b"\x40" + request()[1:],
        request()[:4] + bytes(4) + request()[8:],
    ],
    ids=["0", "1", "19", "no cookie", "not x4", "longer", "shorter", "first bits", "cookie"],
)
def test_a_bad_header_is_refused(data: bytes) -> None:
    """RFC 8489 §6.3: first two bits, cookie and length are checked."""
    with pytest.raises(WireError):
        Message.parse(data)


@pytest.mark.parametrize(
    "body",
    [
        struct.pack("!HH", 0x8022, 5) + bytes(4),
        struct.pack("!HH", 0x8022, 0xFFFF),
        tlv(0x24, bytes(3)),
        tlv(0x802A, bytes(4)),
        tlv(0x20, bytes(4)),
        tlv(0x20, bytes.fromhex("0003000021120000")),
        tlv(0x01, bytes(3)),
        tlv(0x01, bytes.fromhex("00020001c0000201")),
        tlv(0x09, bytes(3)),
        tlv(0x09, bytes((0, 0, 2, 0))),
        tlv(0x09, bytes((0, 0, 4, 100))),
        tlv(0x0A, bytes(3)),
        tlv(0x08, bytes(16)),
        tlv(0x1C, bytes(16)),
        tlv(0x8028, bytes(3)),
        tlv(0x8028, bytes(4)) + tlv(0x8022, b""),
        b"".join(tlv(0x8022, b"") for _ in range(10_000)),
    ],
)
def test_a_bad_attribute_is_refused(body: bytes) -> None:
    """RFC 8489 §14: lengths fit the datagram and the type; FINGERPRINT is last; their number is bounded."""
    with pytest.raises(WireError):
        Message.parse(request(body))


def test_a_wrong_fingerprint_is_refused_and_a_missing_one_is_not() -> None:
    """RFC 8489 §14.7."""
    message = Message.parse(REQUEST)
    without = message.write(PASSWORD, fingerprint=False)
    assert Message.parse(without).is_authentic(PASSWORD)
    wrong = REQUEST[:-1] + bytes((REQUEST[-1] ^ 1,))
    with pytest.raises(stun.FingerprintError):
        Message.parse(wrong)


def test_the_first_of_repeated_attributes_counts() -> None:
    """RFC 8489 §14."""
    wire = request(tlv(0x24, bytes((0, 0, 0, 1))), tlv(0x24, bytes((0, 0, 0, 2))))
    assert Message.parse(wire).get(stun.PRIORITY) == 1


def test_attributes_after_the_integrity_are_ignored() -> None:
    """RFC 8489 §14.5: but for MESSAGE-INTEGRITY-SHA256 and FINGERPRINT."""
    message = Message(BINDING, MessageClass.REQUEST, TRANSACTION, {stun.USERNAME: "a:b"})
    signed = message.write(b"key", fingerprint=False)
    appended = tlv(0x24, bytes(4)) + tlv(0x08, bytes(20)) + tlv(0x7FFF, b"")
    longer = signed[:2] + struct.pack("!H", len(signed) + len(appended) - 20) + signed[4:] + appended
    read = Message.parse(longer)
    assert read == message
    assert read.is_authentic(b"key")


def test_sha256_is_verified_when_both_integrities_are_present() -> None:
    """RFC 8489 §9.1.3."""
    message = Message(BINDING, MessageClass.REQUEST, TRANSACTION, {stun.USERNAME: "a:b"})
    sha1 = message.write(b"one key", fingerprint=False)
    text = sha1[:2] + struct.pack("!H", len(sha1) + 36 - 20) + sha1[4:]
    both = text + tlv(0x1C, hmac.digest(b"another", text, "sha256"))
    read = Message.parse(both)
    assert read.integrity is stun.MESSAGE_INTEGRITY_SHA256
    assert read.is_authentic(b"another")
    assert not read.is_authentic(b"one key")


def test_unknown_attributes_that_must_be_understood_are_named() -> None:
    """RFC 8489 §6.3.1; above 0x7FFF they are ignored (goog and nomination attributes)."""
    wire = request(tlv(0x7F01, b"x"), tlv(0xC057, bytes(4)), tlv(0xC001, bytes(4)), tlv(0x0030, b""))
    assert Message.parse(wire).unknown == (0x7F01, 0x0030)


def test_text_that_is_not_utf8_does_no_harm() -> None:
    assert Message.parse(request(tlv(0x8022, b"\xff\xfe"))).get(stun.SOFTWARE) == "\ufffd\ufffd"


def test_a_message_without_integrity_is_never_authentic() -> None:
    assert not Message.parse(request()).is_authentic(b"")


# Round trips

addresses = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))
attributes = st.fixed_dictionaries(
    {},
    optional={
        stun.USERNAME: st.text(max_size=100),
        stun.SOFTWARE: st.text(max_size=20),
        stun.REALM: st.text(max_size=20),
        stun.NONCE: st.binary(max_size=50),
        stun.PRIORITY: st.integers(0, 2**32 - 1),
        stun.USE_CANDIDATE: st.just(True),
        stun.ICE_CONTROLLED: st.integers(0, 2**64 - 1),
        stun.ICE_CONTROLLING: st.integers(0, 2**64 - 1),
        stun.MAPPED_ADDRESS: addresses,
        stun.XOR_MAPPED_ADDRESS: addresses,
        stun.ALTERNATE_SERVER: addresses,
        stun.ERROR_CODE: st.tuples(st.integers(300, 699), st.text(max_size=30)),
        stun.UNKNOWN_ATTRIBUTES: st.lists(st.integers(0, 65535), max_size=5).map(tuple),
        stun.USERHASH: st.binary(min_size=32, max_size=32),
    },
)


@settings(max_examples=150)
@given(
    method=st.integers(0, 0xFFF),
    message_class=st.sampled_from(MessageClass),
    transaction_id=st.binary(min_size=12, max_size=12),
    attributes=attributes,
    integrity=st.sampled_from([stun.MESSAGE_INTEGRITY, stun.MESSAGE_INTEGRITY_SHA256]),
    fingerprint=st.booleans(),
)
def test_what_is_written_is_read_again(
    method: int,
    message_class: MessageClass,
    transaction_id: bytes,
    attributes: dict[stun.Attribute[Any], Any],
    integrity: stun.Attribute[bytes],
    fingerprint: bool,
) -> None:
    message = Message(method, message_class, transaction_id, attributes)
    plain = message.write(fingerprint=fingerprint)
    assert Message.parse(plain) == message
    signed = Message.parse(message.write(b"key", integrity=integrity, fingerprint=fingerprint))
    assert signed == message
    assert signed.integrity is integrity
    assert signed.is_authentic(b"key")
    assert not signed.is_authentic(b"kez")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_wire_errors(body: bytes) -> None:
    for data in (body, request(body + bytes(-len(body) % 4))):
        with contextlib.suppress(WireError):
            Message.parse(data).is_authentic(b"key")


def test_fingerprint_is_crc32_xor_stun() -> None:
    """RFC 8489 §14.7."""
    wire = Message(BINDING, MessageClass.INDICATION, TRANSACTION, {}).write()
    assert int.from_bytes(wire[-4:], "big") == zlib.crc32(wire[:-8]) ^ 0x5354554E
