"""The signatures of a handshake, checked before OpenSSL sees it: without our packets nobody can forge them.

OpenSSL checks the same signatures again; but it gives the connection up for good when one is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

__all__ = ["is_signed"]

_Scheme: TypeAlias = tuple[str, hashes.HashAlgorithm]

_SCHEMES: Mapping[bytes, _Scheme] = {
    b"\x04\x03": ("ecdsa", hashes.SHA256()),
    b"\x05\x03": ("ecdsa", hashes.SHA384()),
    b"\x06\x03": ("ecdsa", hashes.SHA512()),
    b"\x04\x01": ("pkcs1", hashes.SHA256()),
    b"\x05\x01": ("pkcs1", hashes.SHA384()),
    b"\x06\x01": ("pkcs1", hashes.SHA512()),
    b"\x08\x04": ("pss", hashes.SHA256()),
    b"\x08\x05": ("pss", hashes.SHA384()),
    b"\x08\x06": ("pss", hashes.SHA512()),
}
"""Code points of signature schemes. Source: RFC 5246 section 7.4.1.4.1, RFC 8446 section 4.2.3."""


def is_signed(content: bytes, signature: bytes, certificate: bytes) -> bool | None:
    """Check a signature as TLS 1.2 writes it, with the key of a certificate.

    content         what was signed.
    signature       scheme 2, length 2, signature.
    certificate     DER.
    Returns         True or False; None if the certificate or the scheme cannot be read here.
    Source: RFC 5246 section 4.7.
    """
    scheme = _SCHEMES.get(signature[:2])
    if scheme is None:
        return None
    kind, algorithm = scheme
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        if kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature[4:], content, ec.ECDSA(algorithm))
        elif kind == "pkcs1" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature[4:], content, padding.PKCS1v15(), algorithm)
        elif kind == "pss" and isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            key.verify(signature[4:], content, pss, algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    except Exception:  # a certificate is what its maker wrote, and there are many ways to be unreadable
        return None
    return True
