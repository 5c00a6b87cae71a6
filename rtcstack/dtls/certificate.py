"""The certificate that names one end of a connection, and the check of the other end's fingerprint."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from rtcstack.errors import InvalidParameter

__all__ = ["HASH_NAMES", "Certificate", "ExpectedPeer"]

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_HASHES = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
HASH_NAMES = tuple(_HASHES)
"""Hash functions a fingerprint may use, weakest first, as RFC 8122 section 5 spells them."""

_LIFETIME = timedelta(days=29)
_LONGEST_LIFETIME = timedelta(days=365)
_CLOCK_SKEW = timedelta(days=1)


class Certificate:
    """A self-signed certificate with its private key; one of them may serve any number of connections.

    Browsers make one for each connection, so that connections cannot be linked to each other; keep one
    (to_pem) only if peers are to recognise this end by its fingerprint.

    private_key     ECDSA or RSA; generate() makes an ECDSA key on P-256.
    certificate     belongs to the key and has not expired.
    now             wall-clock time that the expiry is held against; None is the system's.
    Raises          InvalidParameter if the certificate has expired or does not belong to the key.
    Source: RFC 8827 section 6.5; lifetime as browsers have it (W3C webrtc-pc section 4.9).
    """

    def __init__(
        self, private_key: PrivateKey, certificate: x509.Certificate, *, now: datetime | None = None
    ) -> None:
        if certificate.public_key() != private_key.public_key():
            raise InvalidParameter("the certificate and the private key do not belong together")
        self.expires = certificate.not_valid_after_utc
        self.require_valid(now=now)
        self._private_key = private_key
        self._certificate = certificate
        self.der = certificate.public_bytes(Encoding.DER)

    @classmethod
    def generate(cls, *, now: datetime | None = None, lifetime: timedelta = _LIFETIME) -> Certificate:
        """Make a key and a certificate with a random name and serial number, valid from a day ago on.

        now         wall-clock time, with a time zone; None is the system's.
        lifetime    time from now to the expiry, up to 365 days.
        Raises      InvalidParameter if the lifetime is not positive or too long.
        """
        if not timedelta(0) < lifetime <= _LONGEST_LIFETIME:
            raise InvalidParameter(f"a lifetime of {lifetime} is out of range: more than 0, at most 365 days")
        now = now or datetime.now(UTC)
        private_key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, os.urandom(16).hex())])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + lifetime)
            .sign(private_key, hashes.SHA256())
        )
        return cls(private_key, certificate, now=now)

    @classmethod
    def from_pem(cls, pem: bytes | str, *, now: datetime | None = None) -> Certificate:
        """Read what to_pem() wrote, or any PEM text with an unencrypted private key and its certificate.

        Raises  InvalidParameter if either is missing, unreadable or of another kind, or the certificate
                has expired.
        """
        data = pem.encode() if isinstance(pem, str) else pem
        try:
            private_key = load_pem_private_key(data, password=None)
            certificate = x509.load_pem_x509_certificate(data)
        except (ValueError, TypeError) as error:
            raise InvalidParameter(
                f"no certificate and unencrypted private key can be read from this PEM text ({error})"
            ) from error
        if not isinstance(private_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise InvalidParameter("the private key is neither ECDSA nor RSA, which DTLS peers expect")
        return cls(private_key, certificate, now=now)

    def to_pem(self) -> bytes:
        """Write the private key (not encrypted: keep it safe) and the certificate as PEM text."""
        key = self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self._certificate.public_bytes(Encoding.PEM)

    def require_valid(self, *, now: datetime | None = None) -> None:
        """Check that the certificate has not expired.

        now     wall-clock time; None is the system's.
        Raises  InvalidParameter if it has.
        """
        if self.expires <= (now or datetime.now(UTC)):
            raise InvalidParameter(
                f"the certificate expired on {self.expires:%Y-%m-%d %H:%M} UTC: make a new one with "
                "Certificate.generate() and pass its fingerprint on"
            )

    def fingerprint(self, hash_name: str = "sha-256") -> bytes:
        """Hash the certificate for an SDP a=fingerprint line.

        hash_name   one of HASH_NAMES, in any case.
        Raises      InvalidParameter for any other hash.
        Source: RFC 8122 section 5.
        """
        function = _HASHES.get(hash_name.lower())
        if function is None:
            raise InvalidParameter(f"no fingerprint by {hash_name!r}: use one of {', '.join(HASH_NAMES)}")
        return function(self.der).digest()

    def apply_to(self, connection: SSL.Connection) -> None:
        """Let an OpenSSL connection show this certificate and sign with its key."""
        connection.use_certificate(self._certificate)
        connection.use_privatekey(self._private_key)


class ExpectedPeer:
    """Who the other end has to be: the fingerprints of its description, held against its certificate.

    Of several fingerprints only those by the strongest hash count, and one of them has to match; hashes
    weaker than SHA-256 never count.

    fingerprints    (hash name in any case, digest) pairs.
    Raises          InvalidParameter if none is by a hash of HASH_NAMES, or one has a wrong length.
    Source: RFC 8122 section 5.1, RFC 8827 section 6.5.
    """

    __slots__ = ("_digests", "_hash_name", "certificate", "is_refused")

    def __init__(self, fingerprints: Sequence[tuple[str, bytes]]) -> None:
        offered = [(name.lower(), digest) for name, digest in fingerprints]
        for name, digest in offered:
            if name in _HASHES and len(digest) != _HASHES[name]().digest_size:
                raise InvalidParameter(f"a {name} fingerprint of {len(digest)} bytes has a wrong length")
        strongest = max((name for name, _ in offered if name in _HASHES), key=HASH_NAMES.index, default=None)
        if strongest is None:
            raise InvalidParameter(
                f"the peer cannot be identified without a fingerprint by one of {', '.join(HASH_NAMES)}"
            )
        self._hash_name = strongest
        self._digests = [digest for name, digest in offered if name == strongest]
        self.certificate = b""
        self.is_refused = False

    def matches(self, certificate: bytes) -> bool:
        """Compare one certificate (DER) with the fingerprints, in constant time."""
        actual = _HASHES[self._hash_name](certificate).digest()
        return any(hmac.compare_digest(actual, digest) for digest in self._digests)

    def accept(self, certificate: bytes) -> bool:
        """Decide about the certificate (DER) that the peer has shown, and remember both."""
        self.certificate = certificate
        self.is_refused = not self.matches(certificate)
        return not self.is_refused
