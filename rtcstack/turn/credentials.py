"""Long-term credentials: what a challenge asks for, and requests signed with it (RFC 8489 section 9.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any

from rtcstack import stun
from rtcstack.stun import Message, MessageClass

__all__ = ["MD5", "SHA256", "Credentials", "is_bid_down", "long_term_key", "user_hash"]

MD5 = 0x0001
SHA256 = 0x0002
"""Password algorithms (RFC 8489 section 18.5)."""

_HASHES = {MD5: hashlib.md5, SHA256: hashlib.sha256}
_NONCE_COOKIE = b"obMatJos2"
_PASSWORD_ALGORITHMS = 0x800000
_USERNAME_ANONYMITY = 0x400000
_MAX_TEXT = 763
"""Bytes that realm and nonce may have (RFC 8489 sections 14.9 and 14.10); they are echoed in each request."""


def long_term_key(username: str, realm: str, password: str, algorithm: int = MD5) -> bytes:
    """Make the key of the message integrity.

    algorithm    MD5 or SHA256.
    Source: RFC 8489 sections 9.2.2 and 18.5.1.
    """
    parts = _opaque(username), _opaque(realm.rstrip("\0").strip('"')), _opaque(password.rstrip("\0"))
    return _HASHES[algorithm](":".join(parts).encode()).digest()


def user_hash(username: str, realm: str) -> bytes:
    """Make the value of USERHASH, 32 bytes (RFC 8489 section 14.4)."""
    return hashlib.sha256(f"{_opaque(username)}:{_opaque(realm)}".encode()).digest()


def _opaque(text: str) -> str:
    """Prepare text as the OpaqueString profile does: any space is U+0020, NFC (RFC 8265 section 4.2.2)."""
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    return unicodedata.normalize("NFC", spaced)


def _features(nonce: bytes) -> int:
    """Read the 24 security features from a nonce that begins with the nonce cookie (RFC 8489 section 9.2)."""
    if not nonce.startswith(_NONCE_COOKIE):
        return 0
    try:
        return int.from_bytes(base64.b64decode(nonce[9:13], validate=True), "big")
    except binascii.Error:
        return 0


def is_bid_down(message: Message) -> bool:
    """Tell whether somebody took out the list of algorithms that the nonce says was sent (section 9.2.5)."""
    nonce = message.get(stun.NONCE) or b""
    return bool(_features(nonce) & _PASSWORD_ALGORITHMS) and message.get(stun.PASSWORD_ALGORITHMS) is None


class Credentials:
    """Username and password for one server, and what its latest challenge said.

    username, password    "" and "" if there are none.
    realm                 from the challenge; None before one was accepted, when requests go unsigned.
    """

    __slots__ = (
        "_algorithms",
        "_attributes",
        "_integrity",
        "_key",
        "_nonce",
        "_password",
        "_username",
        "realm",
    )

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self.realm: str | None = None
        self._nonce = b""
        self._key = b""
        self._integrity = stun.MESSAGE_INTEGRITY
        self._algorithms: tuple[stun.Algorithm, ...] | None = None
        self._attributes: dict[stun.Attribute[Any], Any] = {}

    def accept(self, challenge: Message) -> str:
        """Take realm, nonce and algorithm from an answer 401 or 438.

        Returns "", or why no request can be signed for it.
        Source: RFC 8489 section 9.2.5; the choice of SHA-256 wherever offered RFC 8656 section 6.
        """
        realm = challenge.get(stun.REALM)
        if realm is None:
            realm = self.realm
        nonce = challenge.get(stun.NONCE)
        offered = challenge.get(stun.PASSWORD_ALGORITHMS)
        if not self._username:
            return "the server asks for username and password"
        if realm is None or nonce is None:
            return "the challenge has no REALM or no NONCE"
        if len(realm.encode()) > _MAX_TEXT or len(nonce) > _MAX_TEXT:
            return "REALM or NONCE of the challenge is too long"
        if is_bid_down(challenge) or (self._algorithms and not offered):
            return "the password algorithms were taken out of the challenge"
        algorithm = MD5
        if offered:
            numbers = [number for number, _ in offered if number in _HASHES]
            if not numbers:
                return "none of the server's password algorithms is known"
            algorithm = max(numbers)
        self.realm, self._nonce, self._algorithms = realm, nonce, offered
        self._key = long_term_key(self._username, realm, self._password, algorithm)
        self._integrity = stun.MESSAGE_INTEGRITY_SHA256 if offered else stun.MESSAGE_INTEGRITY
        if _features(nonce) & _USERNAME_ANONYMITY:
            self._attributes = {stun.USERHASH: user_hash(self._username, realm)}
        else:
            self._attributes = {stun.USERNAME: _opaque(self._username)}
        self._attributes |= {stun.REALM: realm, stun.NONCE: nonce}
        if offered:
            self._attributes[stun.PASSWORD_ALGORITHMS] = offered
            self._attributes[stun.PASSWORD_ALGORITHM] = (algorithm, b"")
        return ""

    def write(
        self, method: int, transaction_id: bytes, attributes: Mapping[stun.Attribute[Any], Any]
    ) -> bytes:
        """Write a request, signed once a challenge was accepted (RFC 8489 section 9.2.3)."""
        everything = {**attributes, **self._attributes}
        message = Message(method, MessageClass.REQUEST, transaction_id, everything)
        key = None if self.realm is None else self._key
        # DEVIATION RFC 8656 §5: no SOFTWARE; it would help nobody but who looks for our bugs.
        return message.write(key, integrity=self._integrity, fingerprint=False)

    def is_authentic(self, answer: Message) -> bool:
        """Tell whether an answer to a signed request was made by one who knows the password.

        Requests with SHA-256 ask for answers with SHA-256: nobody may talk us down to SHA-1.
        """
        if self._integrity is stun.MESSAGE_INTEGRITY_SHA256 and answer.integrity is not self._integrity:
            return False
        return answer.is_authentic(self._key)
