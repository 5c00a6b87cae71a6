"""Other stacks: their captured first flights, and plain pyOpenSSL peers set up as they set theirs up."""

from __future__ import annotations

import contextlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dtls_support import LEFT, RIGHT, Pair, endpoint, raw_connection, raw_output
from OpenSSL import SSL

from rtcstack.dtls import Certificate, Closed, Connected, DtlsState, Endpoint, Failed
from rtcstack.dtls.records import split_records

STACKS = ["aiortc", "chromium", "firefox", "ndc", "pion", "werift", "wrtc"]


def client_hello(captures, stack) -> list[bytes]:
    return [bytes.fromhex(text) for text in captures[stack]["client_hello"]]


def handshake_types(datagrams: list[bytes]) -> list[int]:
    """First byte of each plaintext handshake record's body, in order."""
    return [record[13] for datagram in datagrams for record in split_records(datagram)[0] if record[0] == 22]


@pytest.mark.parametrize("stack", [*STACKS, *(f"ipv6/{stack}" for stack in STACKS)])
def test_a_captured_client_hello_is_answered_whatever_the_order(stack, peer_captures):
    hello = client_hello(peer_captures, stack)
    for order in itertools.permutations(hello):
        server = endpoint(client=False)
        server.start(0.0)
        for datagram in order:
            assert server.take_packets(0.0) == []
            server.receive([datagram, datagram], 0.0)
        flight = server.take_packets(0.0)
        assert handshake_types(flight) == [2, 11, 12, 13, 14]
        assert max(map(len, flight)) <= 1200
        server.receive(hello, 0.01)  # at once again: within a round trip
        assert server.take_packets(0.01) == []
        server.receive(hello, 1.0)
        assert handshake_types(server.take_packets(1.0)) == [2, 11, 12, 13, 14]
        assert server.stats.rebuilds == 0


@pytest.mark.parametrize("stack", STACKS)
def test_every_truncation_of_a_captured_client_hello_leaves_the_server_ready(stack, peer_captures):
    hello = client_hello(peer_captures, stack)
    server = endpoint(client=False)
    server.start(0.0)
    for datagram in hello:
        for size in range(len(datagram)):
            server.receive([datagram[:size]], 0.0)
    assert server.take_packets(0.0) == []
    server.receive(hello, 0.0)
    assert handshake_types(server.take_packets(0.0)) == [2, 11, 12, 13, 14]


def test_our_client_hello_fits_one_small_record_and_offers_srtp():
    client = endpoint(client=True)
    client.start(0.0)
    (hello,) = client.take_packets(0.0)
    assert len(hello) < 256
    assert b"\x00\x0e" in hello  # extension 14, use_srtp (RFC 5764 section 4.1.1)


class RawPeer:
    """A pyOpenSSL connection driven datagram by datagram, as aiortc does: no splitting, no resending."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self.is_done = False
        self.error: SSL.Error | None = None

    def handshake(self) -> None:
        try:
            self.connection.do_handshake()
            self.is_done = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.error = error

    def receive(self, datagrams: list[bytes]) -> list[bytes]:
        data = []
        for datagram in datagrams:
            self.connection.bio_write(datagram)
            if not self.is_done:
                self.handshake()
            else:
                with contextlib.suppress(SSL.WantReadError):
                    data.append(self.connection.recv(20_000))
        return data


def talk(ours: Endpoint, peer: RawPeer, rounds: int = 6) -> None:
    ours.start(0.0)
    peer.handshake()
    for _ in range(rounds):
        ours.receive([output] if (output := raw_output(peer.connection)) else [], 0.0)
        peer.receive(ours.take_packets(0.0))


@pytest.mark.parametrize("client", [True, False])
def test_a_plain_openssl_peer_connects_and_talks(client):
    """Its MTU is OpenSSL's default of 256 bytes, and a flight is one large blob."""
    ours = endpoint(client=client)
    peer = RawPeer(raw_connection(RIGHT if client else LEFT, client=not client))
    talk(ours, peer)
    assert ours.state is DtlsState.CONNECTED
    assert peer.is_done
    assert peer.connection.get_selected_srtp_profile() == b"SRTP_AES128_CM_SHA1_80"
    assert ours.peer_certificate == (RIGHT if client else LEFT).der
    ours.send([b"ping", b"pong"])
    assert peer.receive(ours.take_packets(0.0)) == [b"ping", b"pong"]
    peer.connection.send(b"one")
    peer.connection.send(b"two")
    ours.receive([raw_output(peer.connection)], 0.0)
    assert ours.take_data() == [b"one", b"two"]


def test_a_second_client_hello_does_not_disturb_a_server_that_ignores_it():
    """Begun anew after resends in vain, while the first handshake was only slow."""
    client = endpoint(client=True)
    peer = RawPeer(raw_connection(RIGHT, client=False))
    client.start(0.0)
    peer.receive(client.take_packets(0.0))
    client.receive([raw_output(peer.connection)], 0.0)
    while client.stats.rebuilds == 0:
        client.take_packets(0.0)
        client.handle_timeout(client.deadline)
    for _ in range(3):
        peer.receive(client.take_packets(0.0))
        client.receive([raw_output(peer.connection)], 0.0)
        client.handle_timeout(client.deadline)
    assert client.state is DtlsState.CONNECTED
    client.send([b"first"])
    assert peer.receive(client.take_packets(0.0)) == [b"first"]


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize(
    ("ciphers", "name"),
    [
        (b"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (b"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (b"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ],
)
def test_each_cipher_suite_carries_data(client, ciphers, name):
    ours = endpoint(client=client)
    peer = RawPeer(raw_connection(RIGHT if client else LEFT, client=not client, ciphers=ciphers))
    talk(ours, peer)
    assert ours.cipher == name
    packets = [bytes((size % 256,)) * size for size in (1, 50, 1160, 1160, 16_384)]
    ours.send(packets)
    datagrams = ours.take_packets(0.0)
    assert len(datagrams) == len(packets)
    assert max(len(datagram) - len(packet) for datagram, packet in zip(datagrams, packets, strict=True)) <= 37
    assert peer.receive(datagrams) == packets
    for packet in packets:
        peer.connection.send(packet)
    ours.receive([raw_output(peer.connection)], 0.0)
    assert ours.take_data() == packets


@pytest.mark.parametrize("client", [True, False])
def test_a_peer_with_an_rsa_certificate_connects(client, rsa_certificate):
    ours = endpoint(client=client, fingerprints=[("sha-256", rsa_certificate.fingerprint())])
    peer = RawPeer(raw_connection(rsa_certificate, client=not client))
    talk(ours, peer)
    assert ours.state is DtlsState.CONNECTED
    assert peer.is_done


def signed(name: str, key: Any, *, issuer: x509.Certificate | None = None, issuer_key: Any = None) -> Any:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(issuer_key or key, hashes.SHA256())
    )
    return certificate, key


@pytest.fixture(scope="module")
def rsa_certificate() -> Certificate:
    certificate, key = signed("rsa", rsa.generate_private_key(65537, 2048))
    return Certificate(key, certificate)


@pytest.mark.parametrize("client", [True, False])
def test_the_expiry_of_a_peers_certificate_is_not_looked_at(client):
    """RFC 8827 §6.5: the fingerprint alone authenticates; many peers have no clock that is right."""
    expired = Certificate.generate(now=datetime(2020, 1, 1, tzinfo=UTC))
    ours = endpoint(client=client, fingerprints=[("sha-256", expired.fingerprint())])
    peer = RawPeer(raw_connection(expired, client=not client))
    talk(ours, peer)
    assert ours.state is DtlsState.CONNECTED
    assert peer.is_done


def test_a_client_without_certificate_never_connects():
    server = endpoint(client=False)
    peer = RawPeer(raw_connection(None, client=True))
    talk(server, peer)
    assert server.state is DtlsState.CONNECTING
    server.handle_timeout(30.0)
    assert server.failure_reason == "no DTLS handshake within 30 s: the peer sent no certificate"
    assert server.take_data() == []


def test_a_peer_without_a_common_cipher_is_named_as_the_reason():
    server = endpoint(client=False)
    peer = RawPeer(raw_connection(LEFT, client=True, ciphers=b"ECDHE-ECDSA-AES128-SHA"))
    talk(server, peer)
    server.handle_timeout(30.0)
    assert server.failure_reason == "no DTLS handshake within 30 s: no shared cipher"


@pytest.mark.parametrize("client", [True, False])
def test_the_peer_is_not_authenticated_by_another_certificate(client):
    """RFC 8827 §6.5: no match, no connection; an alert tells the peer, nothing is delivered."""
    stranger = Certificate.generate()
    ours = endpoint(client=client)
    peer = RawPeer(raw_connection(stranger, client=not client))
    ours.start(0.0)
    peer.handshake()
    alerts: list[bytes] = []
    for _ in range(6):
        output = raw_output(peer.connection)
        ours.receive([output, output], 0.0)  # it comes twice: the first could be a damaged one
        packets = ours.take_packets(0.0)
        alerts += [packet for packet in packets if packet[0] == 21]
        peer.receive(packets)
    assert ours.state is DtlsState.FAILED
    assert "does not match the fingerprint" in ours.failure_reason
    assert ours.take_events() == [Failed(ours.failure_reason)]
    assert len(alerts) == 1
    assert peer.error is not None
    assert ours.take_data() == []
    assert ours.deadline == float("inf")


@pytest.mark.parametrize("client", [True, False])
def test_a_goodbye_of_the_peer_closes_and_is_answered(client):
    ours = endpoint(client=client)
    peer = RawPeer(raw_connection(RIGHT if client else LEFT, client=not client))
    talk(ours, peer)
    ours.take_events()
    peer.connection.send(b"last words")
    peer.connection.shutdown()
    ours.receive([raw_output(peer.connection)], 0.0)
    assert ours.take_data() == [b"last words"]
    assert ours.state is DtlsState.CLOSED
    assert ours.take_events() == [Closed()]
    with pytest.raises(SSL.ZeroReturnError):
        peer.receive(ours.take_packets(0.0))


def test_renegotiation_is_refused():
    """RFC 8827 §6.5: a no_renegotiation alert, and the connection lives on."""
    server = endpoint(client=False)
    peer = RawPeer(raw_connection(LEFT, client=True))
    talk(server, peer)
    assert server.take_events() == [Connected()]
    peer.connection.renegotiate()
    with contextlib.suppress(SSL.Error):
        peer.connection.do_handshake()
    server.receive([raw_output(peer.connection)], 0.0)
    (refusal,) = server.take_packets(0.0)
    assert refusal[0] == 21
    assert server.state is DtlsState.CONNECTED
    server.send([b"still here"])
    (datagram,) = server.take_packets(0.0)
    assert len(datagram) == 10 + 37
    # The peer does not take no for an answer: its protected, fatal alert ends the connection.
    peer.connection.bio_write(refusal)
    with pytest.raises(SSL.Error):
        peer.connection.do_handshake()
    server.receive([raw_output(peer.connection)], 0.0)
    assert server.state is DtlsState.FAILED
    assert server.take_events() == [Failed("the connection broke: tls alert handshake failure")]


def test_the_hello_verify_request_of_a_server_is_followed(peer_captures):
    """RFC 6347 §4.2.1: the ClientHello goes again, with the cookie, numbered 1."""
    (request,) = [
        bytes.fromhex(entry["hex"])
        for entry in peer_captures["werift"]["wire"]["offerer"]
        if "hello_verify_request" in entry["what"]
    ][:1]
    client = endpoint(client=True)
    client.start(0.0)
    (first,) = client.take_packets(0.0)
    client.receive([request], 0.0)
    (second,) = client.take_packets(0.0)
    cookie = request[13 + 15 :]
    assert cookie in second
    assert (first[17:19], second[17:19]) == (b"\0\0", b"\0\1")
    assert first[27:59] == second[27:59]  # version and random stay


def test_a_server_that_verifies_cookies_connects():
    """A pyOpenSSL server that sends HelloVerifyRequest, as werift and pion do."""
    context = context_of(RIGHT)
    context.set_options(SSL.OP_COOKIE_EXCHANGE)
    context.set_cookie_generate_callback(lambda connection: b"biscuit")
    context.set_cookie_verify_callback(lambda connection, cookie: cookie == b"biscuit")
    server = SSL.Connection(context)
    server.set_accept_state()
    client = endpoint(client=True)
    client.start(0.0)
    listening = True
    peer = RawPeer(server)
    for _ in range(8):
        for datagram in client.take_packets(0.0):
            if listening:
                server.bio_write(datagram)
                try:
                    server.DTLSv1_listen()
                    listening = False
                    peer.handshake()
                except SSL.Error:
                    pass
            else:
                peer.receive([datagram])
        client.receive([output] if (output := raw_output(server)) else [], 0.0)
    assert client.state is DtlsState.CONNECTED


def context_of(certificate: Certificate) -> SSL.Context:
    pem = certificate.to_pem()
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(x509.load_pem_x509_certificate(pem))
    context.use_privatekey(load_pem_private_key(pem, None))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    return context


def test_pairs_with_each_hash_connect():
    for name in ("sha-256", "SHA-384", "sha-512"):
        pair = Pair(
            left=endpoint(client=True, fingerprints=[(name, RIGHT.fingerprint(name))]),
            right=endpoint(client=False, fingerprints=[(name, LEFT.fingerprint(name))]),
        )
        assert pair.start().run().is_connected


@pytest.mark.parametrize("client", [True, False])
def test_only_the_first_certificate_of_a_chain_is_looked_at(client):
    """RFC 8122 §6.2: the fingerprint is that of the peer's own certificate, whatever signs it."""
    authority, key = signed("authority", ec.generate_private_key(ec.SECP256R1()))
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf, _ = signed("leaf", leaf_key, issuer=authority, issuer_key=key)
    theirs = Certificate(leaf_key, leaf)
    context = context_of(theirs)
    context.add_extra_chain_cert(authority)
    connection = SSL.Connection(context)
    (connection.set_accept_state if client else connection.set_connect_state)()
    ours = endpoint(client=client, fingerprints=[("sha-256", theirs.fingerprint())])
    talk(ours, RawPeer(connection))
    assert ours.state is DtlsState.CONNECTED
    assert ours.peer_certificate == theirs.der
