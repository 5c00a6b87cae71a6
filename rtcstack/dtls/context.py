"""The OpenSSL settings that all connections share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from OpenSSL import SSL, crypto

__all__ = ["CIPHER_SUITES", "der_of", "log_keys", "shared_context"]

CIPHER_SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": b"\xc0\x2b",
    "ECDHE-ECDSA-AES256-GCM-SHA384": b"\xc0\x2c",
    "ECDHE-ECDSA-CHACHA20-POLY1305": b"\xcc\xa9",
    "ECDHE-RSA-AES128-GCM-SHA256": b"\xc0\x2f",
    "ECDHE-RSA-AES256-GCM-SHA384": b"\xc0\x30",
    "ECDHE-RSA-CHACHA20-POLY1305": b"\xcc\xa8",
}
"""What is offered and accepted, in the order of preference: OpenSSL's name and the code point on the wire.

Forward secrecy and AEAD only; few, so that a ClientHello stays small. The first is the one that every WebRTC
peer has to know, and the cheapest (1,160 bytes take 1.5 µs to encrypt, with ChaCha20 2.0 µs).
Source: RFC 8827 section 6.5.
"""

_SRTP_PROFILES = b"SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
_DTLS_1_2 = 0xFEFD


def _verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Accept the certificate of the peer by its fingerprint alone; chain, name and validity mean nothing.

    A plain function that finds its data on the connection: a bound method would tie every connection to its
    owner in a reference cycle, and need a callback of its own.
    Source: RFC 8827 section 6.5, RFC 8122 section 6.2.
    """
    if depth:  # what lies above the certificate of the peer
        return True
    expected = connection.get_app_data()
    return bool(expected.accept(der_of(certificate)))


def der_of(certificate: crypto.X509) -> bytes:
    """The bytes of a certificate, which fingerprints are made of."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


@cache
def shared_context() -> SSL.Context:
    """The context of the process, for both roles; its connections carry an ExpectedPeer as their app data.

    Certificates belong to connections: a context for each certificate would cost 0.25 ms and 15 kB more.

    use_srtp is offered although no media flows: some peers (aiortc) refuse one that does not offer it.
    Source: RFC 5764 section 4.1 (use_srtp), RFC 8827 section 6.5 (no renegotiation).
    """
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_cipher_list(":".join(CIPHER_SUITES).encode())
    context.set_tlsext_use_srtp(_SRTP_PROFILES)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    # A memory BIO cannot be asked for its MTU: without the first option OpenSSL cuts messages into 256 bytes.
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # About 20 kB a connection less, for 0.1 µs a packet more.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def log_keys(write: Callable[[bytes], None]) -> None:
    """Give the secrets of all handshakes from now on to `write`, one line each; it must not raise.

    Source: draft-ietf-tls-keylogfile.
    """
    shared_context().set_keylog_callback(lambda _, line: write(line))
