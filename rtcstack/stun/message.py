"""STUN messages: parsed with every check that needs no state, written with integrity and fingerprint."""

from __future__ import annotations

import enum
import hmac
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from rtcstack.errors import WireError
from rtcstack.stun.attributes import (
    ATTRIBUTES,
    FINGERPRINT,
    FINGERPRINT_XOR,
    MAGIC_COOKIE,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    Attribute,
)
from rtcstack.stun.template import SIGNED_TAIL, Template

__all__ = ["BINDING", "FingerprintError", "Message", "MessageClass"]

BINDING = 0x001
"""The one method of RFC 8489."""

MAX_ATTRIBUTES = 64
"""Attributes that one message may have; real ones have fewer than 20, a 64 KiB datagram could hold 16,000."""

_HEADER = struct.Struct("!HH4s12s")
_unpack_header = _HEADER.unpack_from
_TLV = struct.Struct("!HH")
_unpack_tlv = _TLV.unpack_from
_pack_tlv = _TLV.pack

Value = TypeVar("Value")


class FingerprintError(WireError):
    """The FINGERPRINT does not match: damaged, or not STUN at all."""


class MessageClass(enum.IntEnum):
    """The two class bits of the message type, in the place where they stand (RFC 8489 section 5)."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


@dataclass(frozen=True, slots=True)
class Message:
    """One STUN message.

     0                   1                   2                   3
    +---+---------------------------+-------------------------------+
    |0 0|   method and class        |   length, without the header  |
    +---+---------------------------+-------------------------------+
    |                    Magic Cookie 0x2112A442                    |
    |                  Transaction ID (96 bits)                     |
    |        attributes: type u16, length u16, value, padding       |

    method          BINDING and others, 0 to 0xFFF.
    transaction_id  12 bytes.
    attributes      decoded value by Attribute; of repeated ones the first counts, and what follows the
                    integrity is left out (section 14.5). Integrity and fingerprint are not among them.
    unknown         types that the reader must understand (below 0x8000) and does not; empty when writing.
    integrity       the integrity attribute to verify, SHA-256 before SHA-1; None if there is none.

    Source: RFC 8489 section 5.
    """

    method: int
    message_class: MessageClass
    transaction_id: bytes
    attributes: Mapping[Attribute[Any], Any]
    unknown: tuple[int, ...] = ()
    integrity: Attribute[bytes] | None = field(default=None, compare=False)
    _wire: bytes = field(default=b"", compare=False, repr=False)
    _integrity_at: int = field(default=0, compare=False, repr=False)

    def get(self, attribute: Attribute[Value]) -> Value | None:
        """Return the value of an attribute, None if the message has none."""
        value: Value | None = self.attributes.get(attribute)
        return value

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read one message that fills `data` exactly.

        Raises FingerprintError if there is a FINGERPRINT and it is wrong, WireError if anything else is.
        Source: RFC 8489 sections 5, 6.3, 14.5 to 14.7.
        """
        size = len(data)
        if size < 20 or size % 4 or data[0] > 0x3F:
            raise WireError(f"{size} bytes are no STUN message")
        kind, length, cookie, transaction_id = _unpack_header(data)
        if cookie != MAGIC_COOKIE or length != size - 20:
            raise WireError("magic cookie or length of the header is wrong")
        attributes: dict[Attribute[Any], Any] = {}
        unknown: list[int] = []
        integrity: Attribute[bytes] | None = None
        integrity_at = 0
        at = 20
        for _ in range(MAX_ATTRIBUTES):
            if at == size:
                break
            number, length = _unpack_tlv(data, at)
            end = at + 4 + length
            if end > size:
                raise WireError(f"attribute 0x{number:04x} runs past the end")
            value = data[at + 4 : end]
            if number == FINGERPRINT.type:
                _check_fingerprint(data, at, value)
            elif number == MESSAGE_INTEGRITY_SHA256.type:
                if integrity is not MESSAGE_INTEGRITY_SHA256:
                    MESSAGE_INTEGRITY_SHA256.read(value, transaction_id)
                    integrity, integrity_at = MESSAGE_INTEGRITY_SHA256, at
            elif integrity is None:
                attribute = ATTRIBUTES.get(number)
                if attribute is MESSAGE_INTEGRITY:
                    MESSAGE_INTEGRITY.read(value, transaction_id)
                    integrity, integrity_at = MESSAGE_INTEGRITY, at
                elif attribute is not None:
                    if attribute not in attributes:
                        attributes[attribute] = attribute.read(value, transaction_id)
                elif number < 0x8000:
                    unknown.append(number)
            at = end + (-length & 3)
        else:
            raise WireError(f"more than {MAX_ATTRIBUTES} attributes")
        method = (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
        return cls(
            method,
            MessageClass(kind & 0x0110),
            transaction_id,
            attributes,
            tuple(unknown),
            integrity,
            data,
            integrity_at,
        )

    def is_authentic(self, key: bytes) -> bool:
        """Tell whether the received message carries an integrity attribute made with this key.

        key     for short-term credentials the password in UTF-8 (RFC 8489 section 9.1.1).
        """
        if self.integrity is None:
            return False
        at = self._integrity_at
        expected = _hmac(key, self._wire[:at], self.integrity)
        return hmac.compare_digest(expected, self._wire[at + 4 : at + 4 + len(expected)])

    def template(self, key: bytes) -> Template | None:
        """Return what recognises the received message when it comes again with another transaction id.

        None if it does not end with MESSAGE-INTEGRITY and FINGERPRINT. Whether it is authentic is not asked.
        """
        at = self._integrity_at
        wire = self._wire
        is_plain = self.integrity is MESSAGE_INTEGRITY and at + SIGNED_TAIL == len(wire)
        ends_well = wire[-8:-6] == FINGERPRINT.type.to_bytes(2, "big")
        return Template(wire, key) if is_plain and ends_well else None

    def write(
        self,
        key: bytes | None = None,
        *,
        integrity: Attribute[bytes] = MESSAGE_INTEGRITY,
        fingerprint: bool = True,
    ) -> bytes:
        """Write the message, with integrity if there is a key, and with a FINGERPRINT.

        Source: RFC 8489 sections 5, 14.5 to 14.7.
        """
        transaction_id = self.transaction_id
        parts = [b""]
        for attribute, value in self.attributes.items():
            content = attribute.write(value, transaction_id)
            parts.append(_pack_tlv(attribute.type, len(content)) + content + b"\0\0\0"[: -len(content) & 3])
        body = b"".join(parts)
        method = self.method
        kind = (method & 0x000F) | (method & 0x0070) << 1 | (method & 0x0F80) << 2 | self.message_class
        text = _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction_id) + body
        if key is not None:
            digest = _hmac(key, text, integrity)
            text += _pack_tlv(integrity.type, len(digest)) + digest
        size = len(text) - 20 + 8 * fingerprint
        text = text[:2] + size.to_bytes(2, "big") + text[4:]
        if fingerprint:
            text += _pack_tlv(FINGERPRINT.type, 4) + (zlib.crc32(text) ^ FINGERPRINT_XOR).to_bytes(4, "big")
        return text


def _hmac(key: bytes, text: bytes, integrity: Attribute[bytes]) -> bytes:
    """Compute the integrity over a message cut off before it, the length as if the message ended with it."""
    algorithm, size = ("sha1", 20) if integrity is MESSAGE_INTEGRITY else ("sha256", 32)
    length = (len(text) - 20 + 4 + size).to_bytes(2, "big")
    return hmac.digest(key, text[:2] + length + text[4:], algorithm)


def _check_fingerprint(data: bytes, at: int, value: bytes) -> None:
    if at + 8 != len(data) or len(value) != 4:
        raise WireError("FINGERPRINT is not the last attribute, or not 4 bytes")
    if zlib.crc32(data[:at]) ^ FINGERPRINT_XOR != int.from_bytes(value, "big"):
        raise FingerprintError("FINGERPRINT is wrong")
