"""A STUN message of which only the transaction id changes: written, and known again, without its parts."""

from __future__ import annotations

import hmac
import zlib

from rtcstack.stun.attributes import FINGERPRINT, FINGERPRINT_XOR, MESSAGE_INTEGRITY

__all__ = ["SIGNED_TAIL", "Template"]

_INTEGRITY = MESSAGE_INTEGRITY.type.to_bytes(2, "big") + b"\0\x14"
_FINGERPRINT = FINGERPRINT.type.to_bytes(2, "big") + b"\0\x04"

SIGNED_TAIL = 32
"""Bytes of MESSAGE-INTEGRITY (24) and FINGERPRINT (8), with which a signed message ends."""


class Template:
    """Writes a message again with another transaction id, and recognises it when it comes with another one.

    Consent checks are such messages: the same for days (RFC 7675). Their attributes are kept as bytes, the
    key as an HMAC that has begun with it; what is left is one digest and one checksum.

    message     one that ends with MESSAGE-INTEGRITY and FINGERPRINT, and holds no address that is hidden
                behind the transaction id, as those of IPv6 are.
    key         of the integrity.
    """

    __slots__ = ("_attributes", "_begun", "_head", "_signed_head", "_signing")

    def __init__(self, message: bytes, key: bytes) -> None:
        self._head = message[:8]
        # The integrity is made as if the message ended with it (RFC 8489 section 14.5).
        self._signed_head = message[:2] + (len(message) - 28).to_bytes(2, "big") + message[4:8]
        self._attributes = message[20:-SIGNED_TAIL]
        self._signing = self._attributes + _INTEGRITY
        self._begun = hmac.new(key, digestmod="sha1")

    def write(self, transaction_id: bytes) -> bytes:
        """Write the message with this transaction id, 12 bytes."""
        signature = self._begun.copy()
        signature.update(self._signed_head + transaction_id + self._attributes)
        text = self._head + transaction_id + self._signing + signature.digest() + _FINGERPRINT
        return text + (zlib.crc32(text[:-4]) ^ FINGERPRINT_XOR).to_bytes(4, "big")

    def recognises(self, datagram: bytes) -> bool:
        """Tell whether a datagram is this message, but for the transaction id: then it is authentic, too.

        What it does not recognise may be good all the same, and is for the parser to judge.
        """
        return datagram[20:-SIGNED_TAIL] == self._attributes and hmac.compare_digest(
            self.write(datagram[8:20]), datagram
        )
