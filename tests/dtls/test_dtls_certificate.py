"""Certificates: generated, saved, loaded, refused; fingerprints: which of them count."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dtls_support import LEFT, RIGHT, Pair, endpoint

from rtcstack.dtls import HASH_NAMES, Certificate, DtlsState
from rtcstack.dtls.certificate import ExpectedPeer
from rtcstack.errors import InvalidParameter


def parsed(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)


def test_a_generated_certificate_is_what_browsers_make():
    """W3C webrtc-pc §4.9: ECDSA on P-256; random name and number, a day of slack, 30 days in all."""
    now = datetime.now(UTC).replace(microsecond=0)
    first, second = (parsed(Certificate.generate(now=now)) for _ in range(2))
    key = first.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert first.not_valid_before_utc == now - timedelta(days=1)
    assert first.not_valid_after_utc - first.not_valid_before_utc == timedelta(days=30)
    assert first.subject == first.issuer != second.subject
    assert first.serial_number != second.serial_number
    assert first.signature_hash_algorithm.name == "sha256"


def test_a_certificate_survives_saving_and_loading():
    loaded = Certificate.from_pem(LEFT.to_pem())
    assert loaded.der == LEFT.der
    assert loaded.expires == LEFT.expires
    assert Certificate.from_pem(LEFT.to_pem().decode()).to_pem() == LEFT.to_pem()
    pair = Pair(left=endpoint(client=True, certificate=loaded)).start().run()
    assert pair.is_connected


@pytest.mark.parametrize("name", HASH_NAMES)
def test_a_fingerprint_is_the_hash_of_the_certificate(name):
    """RFC 8122 §5."""
    assert LEFT.fingerprint(name) == hashlib.new(name.replace("-", ""), LEFT.der).digest()
    assert LEFT.fingerprint(name.upper()) == LEFT.fingerprint(name)


@pytest.mark.parametrize("name", ["sha-1", "md5", "sha256", ""])
def test_no_fingerprint_by_a_weak_or_unknown_hash(name):
    with pytest.raises(InvalidParameter, match="sha-256"):
        LEFT.fingerprint(name)


def test_an_expired_certificate_is_refused_at_once():
    old = Certificate.generate(now=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidParameter, match=r"expired on 2020-01-30 00:00 UTC: make a new one"):
        Certificate.from_pem(old.to_pem())
    assert Certificate.from_pem(old.to_pem(), now=datetime(2020, 1, 2, tzinfo=UTC)).der == old.der


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=-1), timedelta(days=366)])
def test_a_lifetime_out_of_range_is_refused(lifetime):
    with pytest.raises(InvalidParameter, match="lifetime"):
        Certificate.generate(lifetime=lifetime)


def test_pem_text_without_key_or_certificate_is_refused():
    key, _, certificate = LEFT.to_pem().partition(b"-----END PRIVATE KEY-----\n")
    for pem in (b"", b"nonsense", key, certificate, key + b"-----END PRIVATE KEY-----\n"):
        with pytest.raises(InvalidParameter, match="PEM"):
            Certificate.from_pem(pem)


def test_a_key_that_dtls_peers_do_not_expect_is_refused():
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidParameter, match="ECDSA"):
        Certificate.from_pem(pem + parsed(LEFT).public_bytes(Encoding.PEM))


def test_a_foreign_key_is_refused():
    key = LEFT.to_pem().partition(b"-----BEGIN CERTIFICATE")[0]
    certificate = parsed(RIGHT).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidParameter, match="belong together"):
        Certificate.from_pem(key + certificate)


def digests(certificate: Certificate, *names: str) -> list[tuple[str, bytes]]:
    return [(name, certificate.fingerprint(name)) for name in names]


def test_any_fingerprint_by_the_strongest_hash_may_match():
    """RFC 8122 §5.1: the set of the most preferred hash decides, one of it has to match."""
    left, right = (lambda *names: digests(LEFT, *names)), (lambda *names: digests(RIGHT, *names))
    sha1 = [("sha-1", hashlib.sha1(LEFT.der).digest()), ("md5", hashlib.md5(LEFT.der).digest())]
    for fingerprints in (
        left("sha-256"),
        left("sha-256", "sha-384", "sha-512"),
        right("sha-256") + left("sha-256"),
        left("sha-256") + right("sha-256"),
        right("sha-256") + left("sha-512"),
        [*sha1, *left("sha-256")],
        [("SHA-256", LEFT.fingerprint())],
        [("sha-3000", b"?"), *left("sha-384")],
    ):
        assert ExpectedPeer(fingerprints).accept(LEFT.der), fingerprints
        assert not ExpectedPeer(fingerprints).accept(Certificate.generate().der)
    for fingerprints in (left("sha-256") + right("sha-512"), [*sha1, *right("sha-256")]):
        expected = ExpectedPeer(fingerprints)
        assert not expected.accept(LEFT.der)
        assert expected.is_refused


@pytest.mark.parametrize(
    "fingerprints",
    [
        [],
        [("sha-1", bytes(20))],
        [("md5", bytes(16))],
        [("sha-3000", bytes(32))],
        [("sha-256", bytes(31))],
        [("sha-256", b"")],
    ],
)
def test_nobody_is_expected_without_a_usable_fingerprint(fingerprints):
    with pytest.raises(InvalidParameter, match="fingerprint"):
        endpoint(client=True).__class__(certificate=LEFT, client=True, fingerprints=fingerprints)


def test_a_mismatch_on_either_side_fails_both_and_delivers_nothing():
    stranger = Certificate.generate()
    pair = Pair(right=endpoint(client=False, certificate=stranger)).start()
    pair.run(limit=31.0)
    assert pair.left.state is DtlsState.FAILED
    assert "does not match the fingerprint" in pair.left.failure_reason
    assert pair.right.state is DtlsState.FAILED
    assert "alert" in pair.right.failure_reason
    assert pair.left.take_data() == pair.right.take_data() == []
