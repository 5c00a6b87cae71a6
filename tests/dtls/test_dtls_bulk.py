"""Batches of application records, by the fast way and by the public one; and the life of an endpoint."""

from __future__ import annotations

import weakref

import pytest
from dtls_support import LEFT, RIGHT, Pair, connected, endpoint, exchange, raw_connection
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from rtcstack.dtls import OVERHEAD, Closed, Connected, DtlsState
from rtcstack.dtls.bulk import Bulk, FastBulk, open_bulk
from rtcstack.errors import InvalidParameter


def raw_pair() -> tuple[SSL.Connection, SSL.Connection]:
    client, server = raw_connection(LEFT, client=True), raw_connection(RIGHT, client=False)
    done = set()
    while len(done) < 2:
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                done.add(end)
            except SSL.WantReadError:
                pass
            output = b"".join(Bulk(end).take_output())
            if output:
                other.bio_write(output)
    return client, server


@pytest.fixture(scope="module")
def established() -> tuple[SSL.Connection, SSL.Connection]:
    return raw_pair()


DAMAGE = ["flip", "cut", "twice", "drop", "empty"]
BOTH = pytest.mark.parametrize("kind", [Bulk, FastBulk])


def test_the_fast_way_is_taken_with_this_pyopenssl(established):
    assert type(open_bulk(established[0])) is FastBulk


@BOTH
@settings(max_examples=40)
@given(packets=st.lists(st.binary(min_size=1, max_size=1500), min_size=1, max_size=10))
def test_what_is_encrypted_is_decrypted(kind, established, packets):
    sender, receiver = map(kind, established)
    records = sender.encrypt(packets)
    assert [len(record) for record in records] == [len(packet) + OVERHEAD for packet in packets]
    assert receiver.decrypt(records) == packets


@BOTH
@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=12),
    damage=st.lists(st.tuples(st.integers(0, 11), st.sampled_from(DAMAGE))),
)
def test_damaged_records_do_not_harm_the_others_of_a_batch(kind, established, sizes, damage):
    """RFC 6347 §4.1.2.7: invalid records are dropped, and the association is preserved."""
    sender, receiver = map(kind, established)
    packets = [bytes((index,)) * size for index, size in enumerate(sizes)]
    batch = [[record] for record in sender.encrypt(packets)]
    expected = list(packets)
    for index, what in damage:
        if index >= len(batch) or len(batch[index]) != 1 or expected[index] == b"":
            continue
        (record,) = batch[index]
        if what == "twice":
            batch[index] = [record, record]
            continue
        expected[index] = b""
        batch[index] = {
            "flip": [record[:-1] + bytes((record[-1] ^ 1,))],
            "cut": [record[:11] + (len(record) - 20).to_bytes(2) + record[13:-7]],
            "drop": [],
            "empty": [record[:11] + b"\0\0"],
        }[what]
    records = [record for group in batch for record in group]
    if records:
        assert receiver.decrypt(records) == [packet for packet in expected if packet]
    more = sender.encrypt([b"and on"])
    assert receiver.decrypt(more) == [b"and on"]


@BOTH
def test_a_whole_batch_of_rubbish_returns_nothing(kind, established):
    _, receiver = map(kind, established)
    assert receiver.decrypt([b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\0\x30" + bytes(48)] * 5) == []


@BOTH
@pytest.mark.parametrize("size", [0, 16_385])
def test_packets_that_no_record_holds_are_refused(kind, size):
    client, server = map(kind, raw_pair())
    with pytest.raises(SSL.Error):
        client.encrypt([b"good", bytes(size)])
    assert server.decrypt(client.take_output()) == [b"good"]
    assert server.decrypt(client.encrypt([b"fine again"])) == [b"fine again"]


@pytest.mark.parametrize("size", [0, 16_385])
def test_an_endpoint_says_which_packets_it_refuses(size):
    pair = connected()
    with pytest.raises(InvalidParameter, match="1 to 16384 bytes"):
        pair.left.send([bytes(size)])
    exchange(pair.left, pair.right)


def test_one_datagram_carries_one_packet():
    """RFC 8261 §4; equal sizes are what the kernel can cut for us."""
    pair = connected()
    packets = [bytes(1160)] * 60 + [b"last"]
    pair.left.send(packets)
    datagrams = pair.left.take_packets(0.0)
    assert [len(datagram) for datagram in datagrams] == [1160 + OVERHEAD] * 60 + [4 + OVERHEAD]
    pair.right.receive(datagrams, 0.0)
    assert pair.right.take_data() == packets
    assert (pair.left.stats.records_out, pair.right.stats.records_in) == (62, 62)


def test_packets_of_several_calls_stay_in_order():
    pair = connected()
    for text in (b"a", b"b", b"c"):
        pair.left.send([text, text * 2])
    pair.left.send([])
    pair.right.receive(pair.left.take_packets(0.0), 0.0)
    assert pair.right.take_data() == [b"a", b"aa", b"b", b"bb", b"c", b"cc"]


def test_records_of_16_kib_arrive_in_batches_too():
    pair = connected()
    packets = [bytes((index,)) * 16_384 for index in range(5)] + [b"small", bytes(9000), b"small"]
    exchange(pair.left, pair.right, packets)


def test_several_records_in_a_datagram_are_read():
    pair = connected()
    pair.left.send([b"one", b"two", b"three"])
    pair.right.receive([b"".join(pair.left.take_packets(0.0))], 0.0)
    assert pair.right.take_data() == [b"one", b"two", b"three"]


def test_replayed_and_late_records_are_dropped():
    """RFC 6347 §4.1.2.6: a window of 64 records."""
    pair = connected()
    pair.left.send([bytes((index,)) for index in range(100)])
    datagrams = pair.left.take_packets(0.0)
    pair.right.receive(datagrams[50:], 0.0)
    pair.right.receive(datagrams, 0.0)
    assert pair.right.take_data() == [bytes((index,)) for index in [*range(50, 100), *range(36, 50)]]
    assert pair.right.drops.undecryptable == 86


@pytest.mark.parametrize("closer", ["left", "right"])
def test_close_tells_the_peer(closer):
    pair = connected()
    end = getattr(pair, closer)
    other = pair.other(end)
    end.send([b"last"])
    end.close()
    assert (end.state, end.deadline) == (DtlsState.CLOSED, float("inf"))
    assert Closed() not in end.take_events()
    other.receive(end.take_packets(0.0), 0.0)
    assert other.take_data() == [b"last"]
    assert other.state is DtlsState.CLOSED
    assert other.take_events() == [Connected(), Closed()]
    end.receive(other.take_packets(0.0), 0.0)
    other.send([b"too late"])
    assert other.take_packets(0.0) == []
    assert other.drops.not_connected == 1
    end.close()
    other.close()
    assert end.take_packets(0.0) == other.take_packets(0.0) == []


def test_data_behind_a_goodbye_is_not_delivered():
    pair = connected()
    pair.left.send([b"before"])
    pair.left.close()
    farewell = pair.left.take_packets(0.0)
    pair.right.receive([*farewell, *connected_data()], 0.0)
    assert pair.right.take_data() == [b"before"]
    assert pair.right.drops.not_connected == 1


def connected_data() -> list[bytes]:
    pair = connected()
    pair.left.send([b"other"])
    return pair.left.take_packets(0.0)


def test_closing_an_unfinished_handshake_is_silent():
    client = endpoint(client=True)
    client.start(0.0)
    client.take_packets(0.0)
    client.close()
    assert client.take_packets(0.0) == []
    assert client.state is DtlsState.CLOSED
    assert client.deadline == float("inf")


@pytest.mark.parametrize("stage", ["new", "connecting", "connected", "closed", "failed"])
def test_a_dropped_endpoint_dies_without_the_garbage_collector(stage):
    """No callback and no cycle keeps an endpoint, its OpenSSL objects or its certificate alive."""
    import gc

    gc.collect()
    gc.disable()
    try:
        if stage == "new":
            end = endpoint(client=True)
        elif stage == "connecting":
            pair = Pair().start()
            pair.run(lambda pair: pair.now >= 0.03)
            end = pair.right
            del pair
        elif stage == "failed":
            end = endpoint(client=True)
            end.start(0.0)
            end.handle_timeout(30.0)
        else:
            pair = connected()
            end = pair.left
            if stage == "closed":
                end.close()
            del pair
        watch = weakref.ref(end)
        del end
        assert watch() is None
    finally:
        gc.enable()
