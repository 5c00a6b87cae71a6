"""A TCP connection to a server on loopback: opening, both directions, every way to end, and TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rtcstack.net.resolve import Resolver
from rtcstack.net.stream import Stream

PATIENCE = 5.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(PATIENCE)
        yield sock


def until_open(stream: Stream) -> None:
    for _ in range(100):
        stream.receive()
        if stream.is_open or stream.reason:
            return
        writers = [stream] if stream.wants_write else []
        assert any(select.select([stream], writers, [], PATIENCE))


def read(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size and not stream.reason:
        assert select.select([stream], [], [], PATIENCE)[0]
        data += b"".join(stream.receive())
    return data


def test_bytes_go_both_ways(listener: socket.socket) -> None:
    stream = Stream(listener.getsockname())
    stream.send([b"early"])
    until_open(stream)
    server, _ = listener.accept()
    with server:
        assert server.recv(100) == b"early"
        stream.send([b"one", b"two"])
        assert server.recv(6, socket.MSG_WAITALL) == b"onetwo"
        server.sendall(b"answer")
        assert read(stream, 6) == b"answer"
    stream.close()
    stream.close()
    assert stream.fileno() == -1


def test_a_refused_connection_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
    stream = Stream(address)
    until_open(stream)
    assert "cannot connect" in stream.reason
    stream.send([b"dropped"])
    assert stream.dropped == 7


def test_the_end_of_the_server_is_noticed(listener: socket.socket) -> None:
    stream = Stream(listener.getsockname())
    until_open(stream)
    server, _ = listener.accept()
    server.sendall(b"bye")
    server.close()
    assert read(stream, 4) == b"bye"
    assert "closed the connection" in stream.reason


def test_what_waits_is_bounded(listener: socket.socket) -> None:
    stream = Stream(listener.getsockname())
    until_open(stream)
    for _ in range(200):
        stream.send([bytes(100_000)])
    assert stream.wants_write
    assert stream.dropped > 0
    stream.close()


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.mark.parametrize("is_trusted", [True, False])
def test_tls_is_spoken_with_a_server_whose_certificate_holds(
    listener: socket.socket, tmp_path: Path, is_trusted: bool
) -> None:
    path = certificate(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(path) if is_trusted else None)
    stream = Stream(listener.getsockname(), "127.0.0.1", context=trusting)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = serving.wrap_bio(incoming, outgoing, server_side=True)
    stream.receive()
    plain, _ = listener.accept()
    with plain:
        plain.setblocking(False)
        received = b""
        for _ in range(200):
            stream.receive()
            if stream.reason:
                break
            if stream.is_open:
                stream.send([b"hello"]) if not received else None
            if select.select([plain], [], [], 0.02)[0]:
                incoming.write(plain.recv(65536))
            with contextlib.suppress(ssl.SSLError):
                received += tls.read(100)
            plain.sendall(outgoing.read())
            if received:
                break
    if is_trusted:
        assert received.startswith(b"hello")
        assert not stream.reason
    else:
        assert "TLS" in stream.reason
    stream.close()


def test_names_are_looked_up_in_the_background() -> None:
    resolver = Resolver(["localhost", "no such name.invalid"])
    answers = {}
    while not resolver.is_done:
        assert select.select([resolver], [], [], PATIENCE)[0]
        answers.update({name: (addresses, reason) for name, addresses, reason in resolver.take()})
    assert "127.0.0.1" in answers["localhost"][0] or "::1" in answers["localhost"][0]
    addresses, reason = answers["no such name.invalid"]
    assert addresses == []
    assert "cannot be resolved" in reason
    resolver.close()
    resolver.close()
