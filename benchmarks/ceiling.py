"""How fast can Python move bytes at all? The shortest program with this stack's packets, nothing else.

Two processes on loopback. The sender keeps a fixed window of packets in flight: a DATA chunk of RFC 9260
with its CRC-32C, in a DTLS record, in a UDP datagram. The receiver checks each, joins fragments to messages
of 16 KiB and acknowledges cumulatively. No loss handling, streams, timers or congestion window: what any
data-channel stack in Python must do at least, so that its speed can be told as a share of this.

    python benchmarks/ceiling.py
"""

from __future__ import annotations

import datetime
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import crc32c
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from processes import Result, run_pair

DATAGRAM = 1200
"""Bytes of the largest UDP datagram: what fits every Internet path, and what all rows of the report use."""

RECORD_OVERHEAD = 37
DATA_HEADER = 28
PAYLOAD = (DATAGRAM - RECORD_OVERHEAD - DATA_HEADER) & ~3
RECORD = PAYLOAD + DATA_HEADER + RECORD_OVERHEAD
FRAGMENTS = -(-16384 // PAYLOAD)
BURST = 40
WINDOW = 1600
BIO_LIMIT = 16000

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
DATA = struct.Struct("!HHLLBBHLHHL")
SACK = struct.Struct("!HHLLBBHLLHH")
CHECKSUM = struct.Struct("<L")
CUMULATIVE_TSN = struct.Struct("!L")


def measure(seconds: float, offload: bool = True) -> dict[str, float]:
    """Run once.

    seconds     how long to send.
    offload     let the kernel cut and join datagrams (UDP GSO and GRO).
    Returns "mb_per_s", "packets_per_s", CPU a packet "sender_us" and "receiver_us", "cpu_s_per_mb" of both.
    """
    sent, received = run_pair(send, receive, seconds, offload)
    megabytes = received["packets"] * PAYLOAD / 1e6
    return {
        "mb_per_s": megabytes / received["seconds"],
        "packets_per_s": received["packets"] / received["seconds"],
        "sender_us": sent["cpu"] / received["packets"] * 1e6,
        "receiver_us": received["cpu"] / received["packets"] * 1e6,
        "cpu_s_per_mb": (sent["cpu"] + received["cpu"]) / megabytes,
    }


def send(pipe: Connection, seconds: float, offload: bool) -> Result:
    """Keep the window full until the time is over."""
    sock, ssl = connect(pipe, True, offload)
    source = os.urandom(PAYLOAD * 1000)
    next_tsn, acknowledged = 1, 0
    outstanding: dict[int, bytes] = {}
    cpu, end = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        if next_tsn - acknowledged <= WINDOW - BURST:
            for next_tsn in range(next_tsn, next_tsn + BURST):  # noqa: B020
                at = next_tsn % 1000 * PAYLOAD
                payload = source[at : at + PAYLOAD]
                header = bytearray(DATA.pack(5000, 5000, 12345, 0, 0, 3, 16 + PAYLOAD, next_tsn, 1, 2, 51))
                CHECKSUM.pack_into(header, 8, crc32c.crc32c(payload, crc32c.crc32c(header)))
                ssl.send(b"".join((header, payload)))
                outstanding[next_tsn] = payload
            next_tsn += 1
            send_records(sock, ssl.bio_read(BURST * RECORD), offload)
            is_full = False
        else:
            is_full = True
        if is_full and not select.select([sock], [], [], 1.0)[0]:
            raise RuntimeError("a datagram was lost: raise net.core.rmem_max, or run again")
        for packet in receive_packets(sock, ssl):
            (cumulative,) = CUMULATIVE_TSN.unpack_from(packet, 16)
            while acknowledged < cumulative:
                acknowledged += 1
                del outstanding[acknowledged]
    cpu = time.process_time() - cpu
    pipe.send("stop")
    pipe.recv()
    return {"cpu": cpu}


def receive(pipe: Connection, seconds: float, offload: bool) -> Result:
    """Check, join and acknowledge what comes until the other side stops."""
    sock, ssl = connect(pipe, False, offload)
    crc = crc32c.crc32c
    cumulative, fragments = 0, []
    started = last = 0.0
    cpu = time.process_time()
    while select.select([sock, pipe], [], [], 5.0)[0] != [pipe]:
        before = cumulative
        for packet in receive_packets(sock, ssl):
            tsn = DATA.unpack_from(packet)[7]
            expected = crc(packet[12:], crc(b"\0\0\0\0", crc(packet[:8])))
            if expected != CHECKSUM.unpack_from(packet, 8)[0] or tsn != cumulative + 1:
                raise RuntimeError("a datagram was damaged or lost")
            cumulative = tsn
            fragments.append(packet[DATA_HEADER:])
            if len(fragments) == FRAGMENTS:
                b"".join(fragments)
                fragments.clear()
        if cumulative > before:
            last = time.perf_counter()
            started = started or last
            ssl.send(SACK.pack(5000, 5000, 1, 0, 3, 0, 16, cumulative, 1_000_000, 0, 0))
            sock.send(ssl.bio_read(2000))
    pipe.send("stopped")
    return {"packets": cumulative, "seconds": last - started, "cpu": time.process_time() - cpu}


def connect(pipe: Connection, client: bool, offload: bool) -> tuple[socket.socket, SSL.Connection]:
    """Open a socket, tell the other process, and shake hands."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    if offload:
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    pipe.send(sock.getsockname())
    sock.connect(pipe.recv())
    ssl = make_dtls(client)
    while True:
        try:
            ssl.do_handshake()
            is_done = True
        except SSL.WantReadError:
            is_done = False
        try:
            while True:
                sock.send(ssl.bio_read(1500))
        except SSL.WantReadError:
            pass
        if is_done:
            break
        if select.select([sock], [], [], 0.5)[0]:
            ssl.bio_write(sock.recv(65535))
    sock.setblocking(False)
    return sock, ssl


def make_dtls(client: bool) -> SSL.Connection:
    """Make one end of a DTLS connection over memory BIOs, with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ceiling")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - day)
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.use_certificate(builder.not_valid_after(now + day).sign(key, hashes.SHA256()))
    context.use_privatekey(key)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    ssl = SSL.Connection(context)
    (ssl.set_connect_state if client else ssl.set_accept_state)()
    ssl.set_ciphertext_mtu(DATAGRAM)
    return ssl


def send_records(sock: socket.socket, records: bytes, offload: bool) -> None:
    """Send records of equal size, each in a datagram."""
    if offload:
        sock.sendmsg([records], [(SOL_UDP, UDP_SEGMENT, struct.pack("H", RECORD))])
    else:
        for at in range(0, len(records), RECORD):
            sock.send(records[at : at + RECORD])


def receive_packets(sock: socket.socket, ssl: SSL.Connection) -> Iterator[bytes]:
    """Take what has arrived, decrypted; many records share one write to OpenSSL."""
    while True:
        try:
            data, control, _, _ = sock.recvmsg(65535, 64)
        except BlockingIOError:
            return
        size = struct.unpack("i", control[0][2])[0] if control else len(data)
        step = max(1, BIO_LIMIT // size) * size
        for start in range(0, len(data), step):
            part = data[start : start + step]
            ssl.bio_write(part)
            for _ in range(-(-len(part) // size)):
                yield ssl.recv(2000)


if __name__ == "__main__":
    for offload in (True, False):
        result = measure(2.0, offload)
        print("with" if offload else "without", "GSO and GRO:")
        for name, value in result.items():
            print(f"    {name:15}{value:12,.4g}")
