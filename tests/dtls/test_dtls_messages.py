"""Plaintext handshake messages: fragments put together, shapes judged, signatures checked."""

from __future__ import annotations

import itertools
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from dtls_support import LEFT, Pair
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.dtls.messages import (
    Fragment,
    Message,
    Reassembly,
    follows,
    has_shape,
    leaf_certificate,
    read_fragments,
    signature_of_server,
)
from rtcstack.dtls.proof import is_signed
from rtcstack.dtls.records import split_records
from rtcstack.errors import WireError


def fragment(body: bytes, offset: int, size: int, *, kind: int = 1, sequence: int = 0) -> Fragment:
    return Fragment(kind, sequence, len(body), offset, body[offset : offset + size])


def captured_messages(peer_captures) -> list[Message]:
    """Every whole plaintext handshake message of every capture."""
    messages = []
    for capture in peer_captures.values():
        for side in capture["wire"].values():
            for sender in ("peer", "partner"):
                reassembly = Reassembly()
                for entry in side:
                    if entry["from"] == sender and entry["what"].startswith("dtls"):
                        for record in split_records(bytes.fromhex(entry["hex"]))[0]:
                            if record[0] == 22 and record[3:5] == b"\0\0":
                                found = map(reassembly.add, read_fragments(record[13:]))
                                messages += [message for message in found if message]
    return messages


def test_every_captured_message_has_the_shape_of_its_type(peer_captures):
    messages = captured_messages(peer_captures)
    assert {message.type for message in messages} == {1, 2, 3, 11, 12, 13, 14, 15, 16}
    for message in messages:
        assert message.type == 1 or has_shape(message), message


def test_no_captured_message_keeps_its_shape_when_cut_or_grown(peer_captures):
    for message in captured_messages(peer_captures):
        if message.type != 1:
            for size in range(len(message.body)):
                # A ServerHello may end before its extensions.
                if not (message.type == 2 and size == 38 + message.body[34]):
                    assert not has_shape(Message(message.type, 0, message.data[: 12 + size])), (message, size)
            assert not has_shape(Message(message.type, 0, message.data + b"\0"))


def test_every_captured_signature_of_a_server_verifies(peer_captures):
    count = 0
    for capture in peer_captures.values():
        for side in capture["wire"].values():
            messages = {
                message.type: message
                for message in captured_messages({"": {"wire": {"": side}}})
                if message.type in (1, 2, 12)
            }
            certificates = [m for m in captured_messages({"": {"wire": {"": side}}}) if m.type == 11]
            if {1, 2, 12} <= messages.keys():
                parameters, signature = signature_of_server(messages[12])
                signed = messages[1].random + messages[2].random + parameters
                verdicts = [is_signed(signed, signature, leaf_certificate(m)) for m in certificates]
                assert True in verdicts
                assert is_signed(signed + b"!", signature, leaf_certificate(certificates[0])) is False
                count += 1
    assert count >= 14


@given(st.binary(min_size=1, max_size=200), st.data())
def test_fragments_in_any_order_overlapping_and_repeated_make_the_message(body, data):
    """RFC 6347 §4.2.3."""
    rng = random.Random(data.draw(st.integers(0, 1000)))
    cuts = sorted({0, len(body), *data.draw(st.lists(st.integers(0, len(body)), max_size=6))})
    pieces = [fragment(body, start, end - start) for start, end in itertools.pairwise(cuts)]
    pieces += [fragment(body, start, rng.randrange(1, 50)) for start in range(0, len(body), 37)]
    rng.shuffle(pieces)
    reassembly = Reassembly()
    found = [message for piece in pieces if (message := reassembly.add(piece))]
    assert found
    assert {message.body for message in found} == {body}
    assert read_fragments(found[0].data) == [Fragment(1, 0, len(body), 0, body)]


def test_a_forged_fragment_of_another_length_does_not_spoil_a_message():
    reassembly = Reassembly()
    body = bytes(range(100))
    assert reassembly.add(fragment(body, 0, 60)) is None
    assert reassembly.add(fragment(bytes(90), 50, 40)) is None
    assert reassembly.add(fragment(bytes(100), 60, 40, kind=2)) is None
    assert reassembly.add(fragment(body, 60, 40)).body == body


def test_incomplete_messages_are_bounded():
    reassembly = Reassembly(max_messages=3, max_fragments=4)
    first = bytes(50)
    reassembly.add(fragment(first, 0, 25))
    for length in range(60, 63):
        reassembly.add(fragment(bytes(length), 0, 25))
    assert reassembly.add(fragment(first, 25, 25)) is None
    body = bytes(100)
    for offset in range(0, 80, 10):
        assert reassembly.add(fragment(body, offset, 10)) is None
    assert reassembly.add(fragment(body, 80, 20)) is None


@pytest.mark.parametrize(
    "text",
    [
        "01",
        "01 000005 0000 000000 000005 61626364",
        "01 000005 0000 000001 000005 6162636465",
        "01 000003 0000 000000 000005 6162636465",
        "01 000005 0000 000002 000000",
        "01 ffffff 0000 000000 000001 61",
        "0e 000000 0000 000000 000000 0e",
    ],
)
def test_fragments_that_do_not_fit_are_refused(text):
    with pytest.raises(WireError):
        read_fragments(bytes.fromhex(text))


def test_one_record_may_hold_several_messages():
    assert read_fragments(bytes.fromhex("0e 000000 0004 000000 000000  10 000001 0005 000000 000001 41")) == [
        Fragment(14, 4, 0, 0, b""),
        Fragment(16, 5, 1, 0, b"A"),
    ]


@given(st.binary(max_size=60))
def test_rubbish_raises_nothing_but_wire_errors(data):
    try:
        fragments = read_fragments(data)
    except WireError:
        return
    reassembly = Reassembly()
    for piece in fragments:
        message = reassembly.add(piece)
        if message:
            has_shape(message)


@given(st.integers(0, 255), st.binary(max_size=80))
def test_judging_a_shape_never_raises(kind, body):
    has_shape(Message(kind, 0, bytes(12) + body))


def test_only_the_full_handshake_is_followed():
    assert follows(2, 0, from_server=True)
    assert not follows(2, 0, from_server=False)
    assert not follows(14, 2, from_server=True)
    assert not follows(16, 1, from_server=False)
    assert not follows(1, 15, from_server=False)


def signed_by(key, scheme: bytes, content: bytes) -> bytes:
    algorithm = {4: hashes.SHA256(), 5: hashes.SHA384(), 6: hashes.SHA512()}.get(scheme[0]) or hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(content, ec.ECDSA(algorithm))
    elif scheme[0] == 8:
        signature = key.sign(content, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
    else:
        signature = key.sign(content, padding.PKCS1v15(), algorithm)
    return scheme + len(signature).to_bytes(2) + signature


@pytest.fixture(scope="module")
def signers():
    from datetime import UTC, datetime, timedelta

    result = {}
    for name, key in (
        ("ecdsa", ec.generate_private_key(ec.SECP256R1())),
        ("rsa", rsa.generate_private_key(65537, 2048)),
    ):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        result[name] = (key, certificate.public_bytes(Encoding.DER))
    return result


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *(("ecdsa", bytes((number, 3))) for number in (4, 5, 6)),
        *(("rsa", bytes((number, 1))) for number in (4, 5, 6)),
        ("rsa", b"\x08\x04"),
    ],
)
def test_signatures_of_each_scheme_are_checked(name, scheme, signers):
    key, certificate = signers[name]
    signature = signed_by(key, scheme, b"content")
    assert is_signed(b"content", signature, certificate) is True
    assert is_signed(b"Content", signature, certificate) is False
    assert is_signed(b"content", signature, signers["rsa" if name == "ecdsa" else "ecdsa"][1]) is False
    assert is_signed(b"content", b"\x02\x01" + signature[2:], certificate) is None
    assert is_signed(b"content", signature, b"not a certificate") is None


def test_the_flights_of_a_handshake_are_those_of_the_rfc():
    """RFC 6347 §4.2.4, figure 1: flights 1, 4, 5 and 6."""
    pair = Pair().start().run()
    flights = [
        [
            record[13] if record[0] == 22 and record[3:5] == b"\0\0" else -record[0]
            for record in split_records(datagram)[0]
        ]
        for datagram in pair.sent
    ]
    assert flights == [[1], [2, 11, 12, 13, 14], [11, 16, 15, -20, -22], [-20, -22]]
    assert leaf_certificate(read_fragments_of(pair.sent[2])) == LEFT.der


def read_fragments_of(datagram: bytes) -> Message:
    record = split_records(datagram)[0][0]
    message = Reassembly().add(read_fragments(record[13:])[0])
    assert message is not None
    return message
