"""The attributes of TURN and of long-term credentials: exact bytes, round trips and bad values."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack import stun
from rtcstack.errors import WireError
from rtcstack.stun import Message, MessageClass

TRANSACTION = bytes(range(12))


def tlv(number: int, value: bytes) -> bytes:
    return struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)


def message(*attributes: bytes) -> bytes:
    body = b"".join(attributes)
    return struct.pack("!HHI", 0x0003, len(body), 0x2112A442) + TRANSACTION + body


@pytest.mark.parametrize(
    ("attribute", "value", "wire"),
    [
        (stun.CHANNEL_NUMBER, 0x4001, "000c 0004 4001 0000"),
        (stun.LIFETIME, 600, "000d 0004 00000258"),
        (stun.XOR_PEER_ADDRESS, ("192.0.2.1", 0x1234), "0012 0008 0001 3326 e112a643"),
        (stun.DATA, b"12345", "0013 0005 3132333435000000"),
        (stun.DATA, b"", "0013 0000"),
        (stun.XOR_RELAYED_ADDRESS, ("192.0.2.15", 50000), "0016 0008 0001 e242 e112a64d"),
        (stun.REQUESTED_ADDRESS_FAMILY, 2, "0017 0004 02000000"),
        (stun.REQUESTED_TRANSPORT, 17, "0019 0004 11000000"),
        (stun.PASSWORD_ALGORITHM, (2, b""), "001d 0004 00020000"),
        (stun.PASSWORD_ALGORITHMS, ((1, b""), (2, b"abc")), "8002 000c 00010000 00020003 61626300"),
        (stun.ALTERNATE_DOMAIN, "a.example", "8003 0009 612e6578616d706c65000000"),
        (stun.ICMP, (3, 4, 1280), "8004 0008 0000 03 04 00000500"),
    ],
    ids=repr,
)
def test_attributes_have_the_bytes_of_the_rfcs(
    attribute: stun.Attribute[Any], value: object, wire: str
) -> None:
    """RFC 8656 §18.1, §18.2, §18.3, §18.4, §18.5, §18.6, §18.8, §18.13, RFC 8489 §14.11, §14.12, §14.16."""
    expected = message(bytes.fromhex(wire))
    assert Message.parse(expected).get(attribute) == value
    ours = Message(0x003, MessageClass.REQUEST, TRANSACTION, {attribute: value})
    assert ours.write(fingerprint=False) == expected


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (0x000C, bytes(2)),
        (0x000D, bytes(2)),
        (0x000D, bytes(8)),
        (0x0012, bytes(4)),
        (0x0012, bytes(8)),
        (0x0016, bytes(19)),
        (0x0017, bytes(1)),
        (0x0019, bytes(5)),
        (0x001D, b""),
        (0x001D, bytes(3)),
        (0x001D, bytes.fromhex("0001000000020000")),
        (0x8002, bytes.fromhex("0001")),
        (0x8002, bytes.fromhex("00010001")),
        (0x8002, bytes.fromhex("0001ffff") + bytes(200)),
        (0x8004, bytes(4)),
    ],
)
def test_values_of_the_wrong_length_are_refused(number: int, value: bytes) -> None:
    with pytest.raises(WireError):
        Message.parse(message(tlv(number, value)))


def test_reserved_bytes_are_ignored() -> None:
    """RFC 8656 §18.1, §18.6, §18.8."""
    read = Message.parse(message(tlv(0x000C, b"\x40\x02\xff\xff"), tlv(0x0019, b"\x11\xff\xff\xff")))
    assert (read.get(stun.CHANNEL_NUMBER), read.get(stun.REQUESTED_TRANSPORT)) == (0x4002, 17)


addresses = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))
algorithms = st.tuples(st.integers(0, 65535), st.binary(max_size=9))


@settings(max_examples=100)
@given(
    attributes=st.fixed_dictionaries(
        {},
        optional={
            stun.CHANNEL_NUMBER: st.integers(0, 65535),
            stun.LIFETIME: st.integers(0, 2**32 - 1),
            stun.XOR_PEER_ADDRESS: addresses,
            stun.XOR_RELAYED_ADDRESS: addresses,
            stun.DATA: st.binary(max_size=40),
            stun.REQUESTED_ADDRESS_FAMILY: st.integers(0, 255),
            stun.REQUESTED_TRANSPORT: st.integers(0, 255),
            stun.PASSWORD_ALGORITHM: algorithms,
            stun.PASSWORD_ALGORITHMS: st.lists(algorithms, max_size=5).map(tuple),
            stun.ALTERNATE_DOMAIN: st.text(max_size=20),
            stun.ICMP: st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1)),
        },
    )
)
def test_what_is_written_is_read_again(attributes: dict[stun.Attribute[Any], Any]) -> None:
    written = Message(0x003, MessageClass.REQUEST, TRANSACTION, attributes)
    assert Message.parse(written.write()) == written
