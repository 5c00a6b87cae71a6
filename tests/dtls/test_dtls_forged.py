"""Forged records, during the handshake and after it: the connection with the real peer stands."""

from __future__ import annotations

import contextlib
import random

import pytest
from dtls_support import RIGHT, Pair, always, connected, endpoint, exchange, raw_connection, raw_output
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from rtcstack.dtls import Closed, DtlsState, Options
from rtcstack.dtls.records import split_records

HANDSHAKE_TYPES = [0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20, 99]


def record(
    content_type: int, body: bytes, *, number: int = 0, epoch: int = 0, version: bytes = b"\xfe\xfd"
) -> bytes:
    return (
        bytes((content_type,))
        + version
        + epoch.to_bytes(2)
        + number.to_bytes(6)
        + len(body).to_bytes(2)
        + body
    )


def message(kind: int, sequence: int, body: bytes, *, offset: int = 0, length: int | None = None) -> bytes:
    total = len(body) if length is None else length
    header = bytes((kind,)) + total.to_bytes(3) + sequence.to_bytes(2)
    return header + offset.to_bytes(3) + len(body).to_bytes(3) + body


NULL_CIPHER_HELLO = record(22, message(1, 0, b"\xfe\xfd" + bytes(32) + b"\0\0\0\x02\0\0\x01\0"))
DTLS_1_0_HELLO = record(22, message(1, 0, b"\xfe\xff" + bytes(32) + b"\0\0\0\x02\xc0\x09\x01\0"))


def junk_handshake() -> list[bytes]:
    """A message of each type at each place of the handshake, its body rubbish; and rubbish altogether."""
    rng = random.Random(5)
    records = [
        record(22, message(kind, sequence, rng.randbytes(size)), number=200 + sequence)
        for kind in HANDSHAKE_TYPES
        for sequence in range(8)
        for size in (0, 1, 40, 300)
        # A ServerHelloDone is empty; in its turn it is a perfect forgery, as any forger could write it.
        if (kind, size) != (14, 0)
    ]
    records += [
        record(22, message(kind, sequence, rng.randbytes(20), offset=offset, length=length))
        for kind in (1, 2, 11, 12, 16)
        for sequence in range(5)
        for offset, length in ((0, 30), (5, 400), (20, 10), (0, 2**24 - 1))
    ]
    records += [record(22, rng.randbytes(size)) for size in (0, 1, 3, 11, 12, 13, 50, 1000)]
    return records


FORGERIES = {
    "null cipher ClientHello": [NULL_CIPHER_HELLO],
    "DTLS 1.0 ClientHello": [DTLS_1_0_HELLO],
    "ClientHello cut short": [record(22, message(1, 0, b"\xfe\xfd" + bytes(10)))],
    "junk handshake": junk_handshake(),
    "plaintext alerts": [
        record(21, bytes((level, code))) for level in (1, 2) for code in (0, 10, 20, 40, 47, 48, 80, 90, 100)
    ],
    "plaintext application data": [record(23, b"epoch 0"), record(23, b"")],
    "ChangeCipherSpec": [record(20, b"\1"), record(20, b"\2"), record(20, b""), record(20, b"\1\1")],
    "unknown types": [record(kind, b"what?") for kind in (19, 24, 25, 63)],
    "protected rubbish": [
        record(kind, bytes(60), epoch=1, number=number)
        for kind in (20, 21, 22, 23, 24)
        for number in range(3)
    ],
    "epochs to come": [record(kind, bytes(60), epoch=epoch) for kind in (22, 23) for epoch in (2, 65535)],
    "DTLS 1.3": [b"\x2e" + bytes(60), record(22, bytes(60), version=b"\xfe\xfc")],
    "TLS": [b"\x16\x03\x01\x00\x05hello"],
}


@pytest.mark.parametrize("victim", ["client", "server"])
@pytest.mark.parametrize("kind", FORGERIES)
@pytest.mark.parametrize("stage", range(5))
def test_a_handshake_completes_in_spite_of(kind, victim, stage):
    """Null cipher, junk handshake, plaintext alert, data at epoch 0, ... in each role at each stage."""
    pair = Pair(always(0.02)).start()
    pair.run(lambda pair: pair.now >= 0.02 * stage)
    end = pair.left if victim == "client" else pair.right
    for forged in FORGERIES[kind]:
        end.receive([forged], pair.now)
    pair.run()
    assert pair.is_connected
    assert pair.now < 0.2
    exchange(pair.left, pair.right)
    exchange(pair.right, pair.left)


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_client_connects_to_plain_openssl_in_spite_of(kind):
    """Another stack's server does not begin anew, so the client must not lose its handshake either."""
    for stage in range(3):
        client = endpoint(client=True)
        server = raw_connection(RIGHT, client=False)
        client.start(0.0)
        for round_trip in range(3):
            if round_trip == stage:
                for forged in FORGERIES[kind]:
                    client.receive([forged], 0.0)
            for datagram in client.take_packets(0.0):
                server.bio_write(datagram)
                with contextlib.suppress(SSL.WantReadError):
                    server.do_handshake()
            output = raw_output(server)
            if output:
                client.receive([output], 0.0)
        assert client.state is DtlsState.CONNECTED, stage
        assert client.stats.rebuilds == 0
        server.send(b"after all")
        client.receive([raw_output(server)], 0.0)
        assert client.take_data() == [b"after all"]


def test_forgeries_of_a_whole_handshake_are_counted():
    pair = Pair(always(0.02)).start()
    pair.right.receive([NULL_CIPHER_HELLO], 0.0)
    pair.run(lambda pair: pair.now >= 0.03)
    assert pair.right.state is DtlsState.CONNECTING
    pair.right.receive([record(21, b"\2\x28"), record(23, b"x"), record(24, b"x"), b"\x16\xfe"], pair.now)
    pair.right.receive([record(22, message(2, 1, bytes(60))), record(23, b"x", epoch=7)], pair.now)
    drops = pair.right.drops
    assert (drops.plaintext_alert, drops.plaintext_data, drops.content_type) == (1, 1, 1)
    assert (drops.malformed, drops.implausible, drops.epoch) == (1, 1, 1)


def test_what_was_forged_is_told_when_the_handshake_fails():
    server = endpoint(client=False)
    server.start(0.0)
    server.receive([NULL_CIPHER_HELLO, record(21, b"\2\x28")], 0.0)
    server.handle_timeout(server.deadline)
    assert server.failure_reason == (
        "no DTLS handshake within 30 s: no shared cipher; "
        "the peer sent alert 40, not protected and so not trusted"
    )


@pytest.mark.parametrize("stage", [1, 2])
def test_a_server_serves_a_client_that_began_anew(stage):
    """A second ClientHello of the same peer gets a handshake of its own, beside the first."""
    pair = Pair(always(0.02)).start()
    pair.run(lambda pair: pair.now >= 0.02 * stage)
    again = Pair(left=endpoint(client=True), right=pair.right)
    again.now = pair.now
    again.left.start(again.now)
    again.run()
    assert again.is_connected
    exchange(again.left, again.right)


@pytest.mark.parametrize("stack", ["chromium", "firefox", "pion", "aiortc", "ndc", "werift", "wrtc"])
@pytest.mark.parametrize("stage", range(1, 4))
def test_a_server_is_not_diverted_by_a_perfect_foreign_client_hello(stack, stage, peer_captures):
    pair = Pair(always(0.02)).start()
    pair.run(lambda pair: pair.now >= 0.02 * stage)
    pair.right.receive([bytes.fromhex(text) for text in peer_captures[stack]["client_hello"]], pair.now)
    pair.run()
    assert pair.is_connected
    exchange(pair.right, pair.left)


def test_client_hellos_without_end_cost_a_bounded_number_of_objects():
    server = endpoint(client=False, options=Options(max_attempts=5))
    server.start(0.0)
    for number in range(50):
        hello = record(22, message(1, 0, b"\xfe\xfd" + number.to_bytes(32) + b"\0\0\0\x02\xc0\x2b\x01\0"))
        server.receive([hello], 0.0)
    assert server.stats.rebuilds == 4
    assert server.drops.attempts == 45


def test_a_flight_that_answers_another_client_hello_is_not_believed():
    """The right certificate, and a signature that does not cover our random (RFC 8422 §5.4)."""
    pair = Pair(always(0.02)).start()
    impostor = endpoint(client=False)
    impostor.start(0.0)
    other = endpoint(client=True)
    other.start(0.0)
    impostor.receive(other.take_packets(0.0), 0.0)
    pair.left.receive(impostor.take_packets(0.0), 0.0)
    pair.run()
    assert pair.is_connected
    assert pair.left.stats.rebuilds == 0
    assert pair.left.drops.implausible > 0


def test_a_client_whose_handshake_was_spoilt_begins_anew():
    """Nothing signs the extensions of a ServerHello: OpenSSL finds the damage, a new handshake mends it."""
    pair = Pair(always(0.02)).start()
    pair.run(lambda pair: pair.now >= 0.02)
    pair.post(pair.right)
    hello, *others = split_records(pair.sent[1])[0]
    at = 13 + 12 + 35 + hello[13 + 12 + 34] + 3 + 2
    pair.left.receive([hello[:at] + b"\x77\x77" + hello[at + 2 :], *others], pair.now)
    assert pair.left.stats.rebuilds == 1
    pair.run()
    assert pair.is_connected
    exchange(pair.left, pair.right)


def test_a_client_whose_transcript_differs_begins_anew_beside():
    """Nothing signs a CertificateRequest: when the server stays silent, a second handshake starts."""
    pair = Pair(always(0.02)).start()
    pair.run(lambda pair: pair.now >= 0.02)
    pair.post(pair.right)
    hello, certificate, keys, request, done = split_records(pair.sent[1])[0]
    damaged = bytearray(request)
    damaged[-3] ^= 4  # in the last signature algorithm
    pair.left.receive([hello, certificate, keys, bytes(damaged), done], pair.now)
    pair.run()
    assert pair.is_connected
    assert pair.left.stats.rebuilds == pair.right.stats.rebuilds == 1
    exchange(pair.right, pair.left)


def test_random_damage_to_handshake_datagrams_is_recovered():
    """A UDP checksum misses some, and virtual links do not compute it: one bit in every third datagram."""
    for seed in range(40):
        rng = random.Random(seed)
        pair = Pair(always(0.02))
        for end in (pair.left, pair.right):
            end.set_rtt(0.04)
        pair.start()
        while not pair.is_connected and pair.now < 30.0:
            for end in (pair.left, pair.right):
                for datagram in end.take_packets(pair.now):
                    damaged = bytearray(datagram)
                    if rng.random() < 0.3:
                        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
                    pair.other(end).receive([bytes(damaged)], pair.now)
            pair.step()
        assert pair.is_connected, seed
        exchange(pair.left, pair.right)
        exchange(pair.right, pair.left)


@pytest.mark.parametrize("kind", FORGERIES)
def test_an_established_connection_does_not_mind(kind):
    pair = connected()
    for end, other in ((pair.left, pair.right), (pair.right, pair.left)):
        for forged in FORGERIES[kind]:
            other.send([b"before", b"after"])
            before, after = other.take_packets(0.0)
            end.receive([before, forged, after], 0.0)
            assert end.take_data() == [b"before", b"after"]
            end.receive([forged], 0.0)
        assert end.take_packets(0.0) == []
        assert end.state is DtlsState.CONNECTED


def test_a_record_behind_a_genuine_one_in_its_datagram_is_judged_for_itself():
    pair = connected()
    pair.left.send([b"one", b"two", b"three"])
    one, two, three = pair.left.take_packets(0.0)
    pair.right.receive([one + record(21, b"\2\x28") + two, three + b"\x17\xfe"], 0.0)
    assert pair.right.take_data() == [b"one", b"two", b"three"]
    assert pair.right.drops.malformed == pair.right.drops.plaintext_alert == 1


def test_every_truncation_of_an_application_record_is_dropped():
    pair = connected()
    pair.left.send([b"cut me" * 20])
    (datagram,) = pair.left.take_packets(0.0)
    for size in range(len(datagram)):
        pair.right.receive([datagram[:size]], 0.0)
        assert pair.right.take_data() == []
    pair.right.receive([datagram], 0.0)
    assert pair.right.take_data() == [b"cut me" * 20]


def test_every_bit_flip_of_an_application_record_is_dropped():
    pair = connected()
    pair.left.send([b"flip me"])
    (datagram,) = pair.left.take_packets(0.0)
    for bit in range(8 * len(datagram)):
        flipped = bytearray(datagram)
        flipped[bit // 8] ^= 1 << bit % 8
        pair.right.receive([bytes(flipped)], 0.0)
        assert pair.right.take_data() == []
        assert pair.right.state is DtlsState.CONNECTED
    pair.right.receive([datagram], 0.0)
    assert pair.right.take_data() == [b"flip me"]


def test_every_truncation_of_a_real_handshake_is_survived(peer_captures):
    """Each datagram of each captured handshake, cut all over, to both roles; then they connect."""
    for name, capture in peer_captures.items():
        datagrams = [
            bytes.fromhex(entry["hex"])
            for side in capture["wire"].values()
            for entry in side
            if entry["what"].startswith("dtls")
        ]
        assert datagrams, name
        pair = Pair(always(0.02)).start()
        for datagram in datagrams[:8]:
            for size in range(0, len(datagram), 1 if len(datagram) < 200 else 7):
                for end in (pair.left, pair.right):
                    end.receive([datagram[:size]], 0.0)
        assert pair.left.state is pair.right.state is DtlsState.CONNECTING
        pair.run(limit=10.0)
        assert pair.is_connected, name


GARBAGE = st.one_of(
    st.binary(max_size=100),
    st.builds(
        record,
        st.integers(19, 25),
        st.binary(max_size=60),
        number=st.integers(0, 100),
        epoch=st.integers(0, 2),
        version=st.sampled_from([b"\xfe\xfd", b"\xfe\xff", b"\xfe\xfc"]),
    ),
    st.builds(
        lambda kind, sequence, body, offset, length: record(
            22, message(kind, sequence, body, offset=offset, length=length)
        ),
        st.sampled_from(HANDSHAKE_TYPES),
        st.integers(0, 8),
        st.binary(min_size=1, max_size=60),
        st.integers(0, 80),
        st.one_of(st.none(), st.integers(0, 80)),
    ),
)


@settings(max_examples=60)
@given(st.lists(GARBAGE, max_size=12), st.integers(0, 4))
def test_garbage_raises_nothing_and_delivers_nothing_in_any_state(garbage, stage):
    pair = Pair(always(0.02))
    for end in (pair.left, pair.right):
        end.receive(garbage, 0.0)
    pair.start().run(lambda pair: pair.now >= 0.02 * stage)
    for end in (pair.left, pair.right):
        end.receive(garbage, pair.now)
    pair.run()
    assert pair.is_connected
    for end in (pair.left, pair.right):
        end.receive(garbage, pair.now)
        assert end.take_data() == []
        end.close()
        end.receive(garbage, pair.now)
        assert end.take_data() == []
        assert Closed() not in end.take_events()


def test_what_comes_before_its_time_is_kept_within_bounds():
    options = Options(max_early_records=3)
    server = endpoint(client=False, options=options)
    server.receive([b"\x16"] * 5, 0.0)
    assert server.drops.early == 2
    server.start(0.0)
    assert server.drops.malformed == 3
    server.receive([record(23, bytes(40), epoch=1, number=number) for number in range(5)], 0.0)
    assert server.drops.early == 4
    server.receive([record(22, bytes(40), epoch=1, number=number) for number in range(9)], 0.0)


def test_the_newest_client_hellos_are_tried_side_by_side(peer_captures):
    """A flood of perfect foreign ones crowds out the oldest; a peer that still sends its own gets through."""
    pair = Pair(always(0.02)).start()
    for stack in ("chromium", "pion", "aiortc", "ndc", "wrtc"):
        pair.right.receive([bytes.fromhex(text) for text in peer_captures[stack]["client_hello"]], 0.0)
    assert len(pair.right.take_packets(0.0)) >= 5
    pair.run()
    assert pair.is_connected
    assert pair.right.stats.rebuilds == 5


def test_a_flood_of_contradicting_messages_is_not_checked_for_ever():
    """A signature check is dear, so they are limited; with the next flight the real messages win."""
    pair = Pair(always(0.02)).start()
    pair.run(lambda pair: pair.now >= 0.02)
    pair.post(pair.right)
    hello, certificate, exchange_of_keys, request, done = split_records(pair.sent[1])[0]
    rng = random.Random(3)
    forged = [exchange_of_keys[:-8] + rng.randbytes(8) for _ in range(100)]
    pair.left.receive([hello, certificate, *forged[:2], request, done, *forged], pair.now)
    assert pair.left.take_packets(pair.now) == []
    pair.left.receive([record(22, message(14, 60, b""))], pair.now)
    pair.run()
    assert pair.is_connected
    assert pair.now > 0.2
    assert pair.left.stats.rebuilds == 0
