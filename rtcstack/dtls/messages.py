"""Plaintext handshake messages of the peer: put together from fragments, and judged by their shape.

OpenSSL gives up for good on a message that makes no sense to it, and whoever can forge the source address of
the peer can send one. So nothing reaches OpenSSL that the peer could not have meant.

     0                   1                   2                   3
    +---------------+-----------------------------------------------+
    | message type  |          length of the whole message          |
    +---------------+---------------+-------------------------------+
    |       message sequence        |      fragment offset ...      |
    +---------------+---------------+-------------------------------+
    | ... offset    |          length of the fragment               |
    +---------------+-----------------------------------------------+

Source: RFC 6347 section 4.2.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from rtcstack.dtls.context import CIPHER_SUITES
from rtcstack.dtls.records import DTLS_1_2
from rtcstack.errors import WireError

__all__ = [
    "CERTIFICATE",
    "CLIENT_HELLO",
    "Fragment",
    "Message",
    "Reassembly",
    "ends_flight",
    "follows",
    "has_shape",
    "leaf_certificate",
    "precedes_change_cipher_spec",
    "read_fragments",
    "signature_of_server",
]

CLIENT_HELLO = 1
_SERVER_HELLO = 2
_HELLO_VERIFY_REQUEST = 3
CERTIFICATE = 11
_SERVER_KEY_EXCHANGE = 12
_CERTIFICATE_REQUEST = 13
_SERVER_HELLO_DONE = 14
_CERTIFICATE_VERIFY = 15
_CLIENT_KEY_EXCHANGE = 16

_HEADER = struct.Struct("!B3xH6x")
_HEADER_SIZE = 12
_LARGEST_MESSAGE = 16_384 - _HEADER_SIZE


class Message(NamedTuple):
    """One whole handshake message; `data` is header and body as if it had come in one fragment."""

    type: int
    sequence: int
    data: bytes

    @property
    def body(self) -> bytes:
        """What follows the header."""
        return self.data[_HEADER_SIZE:]

    @property
    def random(self) -> bytes:
        """The random of a ClientHello or ServerHello."""
        return self.data[_HEADER_SIZE + 2 : _HEADER_SIZE + 34]


class Fragment(NamedTuple):
    """A part of a handshake message; `length` is that of the whole message, in bytes."""

    type: int
    sequence: int
    length: int
    offset: int
    data: bytes


def read_fragments(body: bytes) -> list[Fragment]:
    """Read the fragments, usually one, that a plaintext handshake record holds.

    body    what follows the record header.
    Raises  WireError if the fragments do not tile the record, or one reaches beyond its message.
    Source: RFC 6347 sections 4.2.2 and 4.2.3.
    """
    fragments = []
    at, end = 0, len(body)
    while at < end:
        start = at + _HEADER_SIZE
        if start > end:
            raise WireError(f"{end - at} bytes are no handshake header")
        message_type, sequence = _HEADER.unpack_from(body, at)
        length = int.from_bytes(body[at + 1 : at + 4])
        offset = int.from_bytes(body[at + 6 : at + 9])
        size = int.from_bytes(body[at + 9 : at + 12])
        at = start + size
        if at > end or offset + size > length or length > _LARGEST_MESSAGE or (length and not size):
            raise WireError(f"fragment {offset}+{size} of a message of {length} bytes, {end - start} came")
        fragments.append(Fragment(message_type, sequence, length, offset, body[start:at]))
    return fragments


class Reassembly:
    """Puts fragments together, in any order and overlapping, within bounds.

    max_messages    incomplete messages kept; the oldest makes room for one more.
    max_fragments   fragments kept of one message; a message in more of them is given up.
    Source: RFC 6347 section 4.2.3.
    """

    __slots__ = ("_incomplete", "_max_fragments", "_max_messages")

    def __init__(self, *, max_messages: int = 16, max_fragments: int = 64) -> None:
        self._max_messages = max_messages
        self._max_fragments = max_fragments
        self._incomplete: dict[tuple[int, int, int], dict[int, bytes]] = {}

    def add(self, fragment: Fragment) -> Message | None:
        """Take one fragment; returns the message if that completes it."""
        message_type, sequence, length, offset, data = fragment
        if len(data) == length:
            return _message(message_type, sequence, data)
        # Fragments of another type or length are another message: a forged one cannot spoil the real one.
        key = (message_type, sequence, length)
        parts = self._incomplete.get(key)
        if parts is None:
            if len(self._incomplete) == self._max_messages:
                del self._incomplete[next(iter(self._incomplete))]
            parts = self._incomplete[key] = {}
        if len(data) >= len(parts.get(offset, b"")):
            parts[offset] = data
        body = bytearray()
        for start in sorted(parts):
            if start > len(body):
                break
            body[start:] = parts[start] if start + len(parts[start]) > len(body) else body[start:]
        if len(body) == length:
            del self._incomplete[key]
            return _message(message_type, sequence, bytes(body))
        if len(parts) >= self._max_fragments:
            del self._incomplete[key]
        return None


def _message(message_type: int, sequence: int, body: bytes) -> Message:
    length = len(body).to_bytes(3)
    header = b"".join((bytes((message_type,)), length, sequence.to_bytes(2), b"\0\0\0", length))
    return Message(message_type, sequence, header + body)


# Which messages may follow which in the plaintext part of a full handshake; 0 stands for its start.
# Source: RFC 5246 section 7.3, RFC 6347 section 4.2.1 (HelloVerifyRequest).
_FROM_SERVER = {
    0: (_HELLO_VERIFY_REQUEST, _SERVER_HELLO),
    _HELLO_VERIFY_REQUEST: (_HELLO_VERIFY_REQUEST, _SERVER_HELLO),
    _SERVER_HELLO: (CERTIFICATE,),
    CERTIFICATE: (_SERVER_KEY_EXCHANGE,),
    _SERVER_KEY_EXCHANGE: (_CERTIFICATE_REQUEST, _SERVER_HELLO_DONE),
    _CERTIFICATE_REQUEST: (_SERVER_HELLO_DONE,),
}
_FROM_CLIENT = {
    0: (CLIENT_HELLO,),
    CLIENT_HELLO: (CERTIFICATE,),
    CERTIFICATE: (_CLIENT_KEY_EXCHANGE,),
    _CLIENT_KEY_EXCHANGE: (_CERTIFICATE_VERIFY,),
}


def follows(message_type: int, previous: int, *, from_server: bool) -> bool:
    """Whether the peer may send a message of this type after one of type `previous`, 0 at the start."""
    return message_type in (_FROM_SERVER if from_server else _FROM_CLIENT).get(previous, ())


def ends_flight(message_type: int) -> bool:
    """Whether it is our turn after a plaintext message of this type (and a client's ChangeCipherSpec)."""
    return message_type in (_HELLO_VERIFY_REQUEST, _SERVER_HELLO_DONE, _CERTIFICATE_VERIFY)


def precedes_change_cipher_spec(message_type: int) -> bool:
    """Whether a ChangeCipherSpec is the next thing to come after a message of this type."""
    return message_type in (_SERVER_HELLO_DONE, _CERTIFICATE_VERIFY)


def has_shape(message: Message) -> bool:
    """Judge whether the body of a message is what its type announces; never so for types we do not expect.

    A client without a certificate sends an empty list, which is refused here: nothing proves who sent it.
    Source: RFC 5246 section 7.4, RFC 8422 section 5 (ECDHE), RFC 6347 section 4.2.
    """
    shape = _SHAPES.get(message.type)
    return shape is not None and shape(message.body)


def leaf_certificate(message: Message) -> bytes:
    """The first certificate, DER, of a Certificate message of the right shape."""
    body = message.body
    return body[6 : 6 + int.from_bytes(body[3:6])]


def signature_of_server(message: Message) -> tuple[bytes, bytes]:
    """Cut a ServerKeyExchange of the right shape into the parameters and their signature (with its scheme).

    Source: RFC 8422 section 5.4: what is signed is client random, server random, parameters.
    """
    body = message.body
    end = 4 + body[3]
    return body[:end], body[end:]


def _tiles(body: bytes, at: int, prefix: int) -> bool:
    """Whether a length of `prefix` bytes stands at `at` and what it announces ends the body exactly."""
    return len(body) >= at + prefix and int.from_bytes(body[at : at + prefix]) == len(body) - at - prefix


def _is_hello_verify_request(body: bytes) -> bool:
    return _tiles(body, 2, 1)


def _is_server_hello(body: bytes) -> bool:
    """Version 2, random 32, session id 1+n, cipher suite 2, compression 1 (none), extensions 2+n."""
    if len(body) < 38 or body[:2] != DTLS_1_2 or body[34] > 32:
        return False
    at = 35 + body[34]
    if body[at : at + 2] not in _CIPHER_SUITES or body[at + 2 : at + 3] != b"\0":
        return False
    return len(body) == at + 3 or _tiles(body, at + 3, 2)


def _is_certificate(body: bytes) -> bool:
    """List 3+n of certificates 3+n."""
    if len(body) < 6 or not _tiles(body, 0, 3):
        return False
    at = 3
    while at < len(body):
        at += 3 + int.from_bytes(body[at : at + 3])
    return at == len(body)


def _is_server_key_exchange(body: bytes) -> bool:
    """Curve type 1 (named), curve 2, point 1+n, signature algorithm 2, signature 2+n."""
    return len(body) > 4 and body[0] == 3 and _tiles(body, 4 + body[3] + 2, 2)


def _is_certificate_request(body: bytes) -> bool:
    """Certificate types 1+n, signature algorithms 2+n, authorities 2+n."""
    if not body:
        return False
    at = 1 + body[0]
    return _tiles(body, at + 2 + int.from_bytes(body[at : at + 2]), 2)


def _is_server_hello_done(body: bytes) -> bool:
    return not body


def _is_client_key_exchange(body: bytes) -> bool:
    return len(body) > 1 and _tiles(body, 0, 1)


def _is_certificate_verify(body: bytes) -> bool:
    return _tiles(body, 2, 2)


_CIPHER_SUITES = frozenset(CIPHER_SUITES.values())
_SHAPES: dict[int, Callable[[bytes], bool]] = {
    _SERVER_HELLO: _is_server_hello,
    _HELLO_VERIFY_REQUEST: _is_hello_verify_request,
    CERTIFICATE: _is_certificate,
    _SERVER_KEY_EXCHANGE: _is_server_key_exchange,
    _CERTIFICATE_REQUEST: _is_certificate_request,
    _SERVER_HELLO_DONE: _is_server_hello_done,
    _CERTIFICATE_VERIFY: _is_certificate_verify,
    _CLIENT_KEY_EXCHANGE: _is_client_key_exchange,
}
