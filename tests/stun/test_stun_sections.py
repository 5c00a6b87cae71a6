"""RFC 8489 section by section: header, answers, attributes as they stand on the wire."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest

from rtcstack import stun
from rtcstack.errors import WireError
from rtcstack.stun import BINDING, Message, MessageClass
from rtcstack.testing import StunServer

TRANSACTION = bytes.fromhex("0102030405060708090a0b0c")
HEADER = struct.Struct("!HHI")


def written(attributes: dict[stun.Attribute[Any], Any] | None = None, **options: Any) -> bytes:
    message = Message(BINDING, MessageClass.REQUEST, TRANSACTION, attributes or {})
    return message.write(**{"fingerprint": False, **options})


def body_of(attribute: stun.Attribute[Any], value: Any) -> str:
    """Give the hex of one attribute on the wire, its padding included."""
    return written({attribute: value})[20:].hex(" ", 4)


@pytest.mark.parametrize(
    ("method", "message_class", "kind"),
    [
        (0x001, MessageClass.REQUEST, 0x0001),
        (0x001, MessageClass.INDICATION, 0x0011),
        (0x001, MessageClass.SUCCESS, 0x0101),
        (0x001, MessageClass.ERROR, 0x0111),
        (0x009, MessageClass.ERROR, 0x0119),
        (0xFFF, MessageClass.REQUEST, 0x3EEF),
    ],
)
def test_class_bits_stand_between_the_method_bits(
    method: int, message_class: MessageClass, kind: int
) -> None:
    """RFC 8489 §5: M11-M7, C1, M6-M4, C0, M3-M0, and two zero bits before them."""
    data = Message(method, message_class, TRANSACTION, {}).write(fingerprint=False)
    assert HEADER.unpack_from(data) == (kind, 0, 0x2112A442)
    assert data[8:] == TRANSACTION
    parsed = Message.parse(data)
    assert (parsed.method, parsed.message_class, parsed.transaction_id) == (
        method,
        message_class,
        TRANSACTION,
    )


def test_the_length_leaves_the_header_out_and_is_a_multiple_of_four() -> None:
    """RFC 8489 §5: attributes are padded, and the length counts the padding."""
    data = written({stun.SOFTWARE: "abcde"})
    assert HEADER.unpack_from(data)[1] == len(data) - 20 == 12
    assert data[24:29] == b"abcde"


def test_a_message_without_the_magic_cookie_is_not_answered() -> None:
    """RFC 8489 §11: RFC 3489 is served no more; to us it is no STUN at all."""
    old = struct.pack("!HH", 0x0001, 0) + bytes(16)
    with pytest.raises(WireError):
        Message.parse(old)
    server = StunServer("192.0.2.1")
    server.receive(("192.0.2.1", 3478), ("192.0.2.9", 9), [old], 0.0)
    assert server.take_packets(0.0) == []


def test_the_answer_has_the_transaction_id_and_the_method_of_the_request() -> None:
    """RFC 8489 §6.3.1.1: and goes back to where the request came from."""
    server = StunServer("192.0.2.1")
    server.receive(("192.0.2.1", 3478), ("192.0.2.9", 9), [written()], 0.0)
    ((local, remote, (data,)),) = server.take_packets(0.0)
    answer = Message.parse(data)
    assert (local, remote) == (("192.0.2.1", 3478), ("192.0.2.9", 9))
    assert (answer.method, answer.message_class) == (BINDING, MessageClass.SUCCESS)
    assert answer.transaction_id == TRANSACTION
    assert answer.get(stun.XOR_MAPPED_ADDRESS) == ("192.0.2.9", 9)


def test_an_indication_is_never_answered() -> None:
    """RFC 8489 §6.3.2: no response is generated."""
    server = StunServer("192.0.2.1")
    data = Message(BINDING, MessageClass.INDICATION, TRANSACTION, {}).write()
    server.receive(("192.0.2.1", 3478), ("192.0.2.9", 9), [data], 0.0)
    assert server.take_packets(0.0) == []


def test_the_fingerprint_is_the_crc_of_all_before_it() -> None:
    """RFC 8489 §7, §14.7: CRC-32 of the message up to it, XOR 0x5354554e, in the last attribute."""
    data = written({stun.SOFTWARE: "x"}, fingerprint=True)
    expected = zlib.crc32(data[:-8]) ^ 0x5354554E
    assert data[-8:] == struct.pack("!HHI", 0x8028, 4, expected)


def test_the_short_term_key_is_the_password() -> None:
    """RFC 8489 §9.1.1: in UTF-8, as it is; any other does not fit."""
    data = Message(BINDING, MessageClass.REQUEST, TRANSACTION, {}).write("pässword".encode())
    assert Message.parse(data).is_authentic("pässword".encode())
    assert not Message.parse(data).is_authentic(b"password")


def test_mapped_address_is_plain_and_xor_mapped_address_is_not() -> None:
    """RFC 8489 §14.1, §14.2: port with the upper cookie half, address with cookie and transaction id."""
    assert body_of(stun.MAPPED_ADDRESS, ("192.0.2.1", 0x1234)) == "00010008 00011234 c0000201"
    assert body_of(stun.XOR_MAPPED_ADDRESS, ("192.0.2.1", 0x1234)) == "00200008 00013326 e112a643"
    plain = body_of(stun.MAPPED_ADDRESS, ("2001:db8::1", 1))
    assert plain == "00010014 00020001 20010db8 00000000 00000000 00000001"
    mask = bytes.fromhex("2112a442") + TRANSACTION
    address = bytes.fromhex("20010db8000000000000000000000001")
    hidden = bytes(x ^ y for x, y in zip(address, mask, strict=True)).hex(" ", 4)
    assert body_of(stun.XOR_MAPPED_ADDRESS, ("2001:db8::1", 1)) == f"00200014 00022113 {hidden}"


def test_text_is_utf8_and_padded_with_zeros() -> None:
    """RFC 8489 §14.3, §14.9: USERNAME and REALM; the length is without padding."""
    assert body_of(stun.USERNAME, "añ") == "00060003 61c3b100"
    assert body_of(stun.REALM, "ab.cd") == "00140005 61622e63 64000000"


def test_a_nonce_is_any_bytes() -> None:
    """RFC 8489 §14.10: given back as it came."""
    nonce = bytes(range(250, 256)) + b"\0"
    assert Message.parse(written({stun.NONCE: nonce})).get(stun.NONCE) == nonce


@pytest.mark.parametrize(
    "code", [300, 400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 487, 500]
)
def test_an_error_code_is_hundreds_and_the_rest(code: int) -> None:
    """RFC 8489 §14.8: class 3 to 6 in three bits, number 0 to 99, a reason in UTF-8."""
    data = written({stun.ERROR_CODE: (code, "so")})
    assert data[20:30] == bytes((0, 9, 0, 6, 0, 0, code // 100, code % 100)) + b"so"
    assert Message.parse(data).get(stun.ERROR_CODE) == (code, "so")


@pytest.mark.parametrize(
    "value", [bytes((0, 0, 7, 0)), bytes((0, 0, 2, 99)), bytes((0, 0, 4, 100)), bytes(3)]
)
def test_an_error_code_out_of_range_is_refused(value: bytes) -> None:
    """RFC 8489 §14.8: the class is 3 to 6, the number 0 to 99."""
    body = struct.pack("!HH", 9, len(value)) + value + bytes(-len(value) % 4)
    with pytest.raises(WireError):
        Message.parse(struct.pack("!HHI", 0x0111, len(body), 0x2112A442) + TRANSACTION + body)


def test_unknown_attributes_are_a_list_of_types() -> None:
    """RFC 8489 §14.13: two bytes each, padded if their number is odd."""
    assert body_of(stun.UNKNOWN_ATTRIBUTES, (0x0003, 0x7F55, 0x0024)) == "000a0006 00037f55 00240000"


def test_the_bits_of_a_number_say_whether_it_must_be_understood() -> None:
    """RFC 8489 §14: below 0x8000 it must; ignored attributes after MESSAGE-INTEGRITY are none."""
    tlvs = b"".join(struct.pack("!HH", number, 0) for number in (0x7FFE, 0x8FFE, 0x7FFE, 0xC001))
    data = struct.pack("!HHI", 1, len(tlvs), 0x2112A442) + TRANSACTION + tlvs
    assert set(Message.parse(data).unknown) == {0x7FFE}


def test_the_alternate_server_is_an_address_as_it_is() -> None:
    """RFC 8489 §14.15: encoded like MAPPED-ADDRESS."""
    assert body_of(stun.ALTERNATE_SERVER, ("192.0.2.1", 3479)) == "80230008 00010d97 c0000201"


def test_a_sha256_integrity_is_whole() -> None:
    """RFC 8489 §14.6: 32 bytes; a truncated one is not taken, since no usage of ours allows it."""
    data = Message(BINDING, MessageClass.REQUEST, TRANSACTION, {}).write(
        b"key", integrity=stun.MESSAGE_INTEGRITY_SHA256, fingerprint=False
    )
    assert Message.parse(data).is_authentic(b"key")
    cut = HEADER.pack(1, 20, 0x2112A442) + TRANSACTION + struct.pack("!HH", 0x1C, 16) + data[24:40]
    with pytest.raises(WireError):
        Message.parse(cut)
