"""Handshakes between two endpoints in virtual time: on good links, and on bad ones."""

from __future__ import annotations

import itertools

import pytest
from dtls_support import Pair, always, connected, endpoint, exchange, losing, rough

from rtcstack.dtls import Connected, DtlsState, Failed, Options
from rtcstack.errors import InvalidParameter, InvalidState

FLIGHTS = 4  # datagrams of a whole handshake at an mtu of 1200: two flights each way


def test_both_ends_connect_after_two_round_trips():
    """RFC 6347 §4.2.4: ClientHello, server flight, client flight, server Finished."""
    pair = Pair(always(0.02)).start().run()
    assert pair.now == pytest.approx(0.08)
    assert [end.take_events() for end in (pair.left, pair.right)] == [[Connected()], [Connected()]]
    assert (pair.left.version, pair.left.cipher) == ("DTLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
    assert pair.left.cipher == pair.right.cipher
    assert len(pair.sent) == FLIGHTS
    assert pair.left.stats.handshake_resends == pair.right.stats.handshake_resends == 0


@pytest.mark.parametrize("mtu", [256, 576, 1200, 1400])
def test_no_datagram_of_the_handshake_exceeds_the_mtu(mtu):
    pair = Pair(mtu=mtu).start().run()
    assert pair.is_connected
    assert max(map(len, pair.sent)) <= mtu


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("mtu", [576, 1200])
def test_every_pattern_of_lost_handshake_datagrams_is_recovered(count, mtu):
    """RFC 6347 §4.2.4.1, protocol tests: each datagram lost in turn, and each two of the first ones."""
    window = 10 if mtu == 1200 else 14
    for lost in itertools.combinations(range(window), count):
        pair = Pair(losing(lost), mtu=mtu)
        pair.left.set_rtt(0.04)
        pair.right.set_rtt(0.04)
        pair.start().run()
        assert pair.is_connected, lost
        # Two round trips, and a wait of at most 0.08 + 0.16 + 0.32 s
        assert pair.now < 0.7, lost
        exchange(pair.left, pair.right)
        exchange(pair.right, pair.left)


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("mtu", [576, 1200])
def test_handshakes_survive_random_loss(loss, mtu):
    for seed in range(60):
        pair = Pair(rough(seed, loss=loss), mtu=mtu)
        pair.left.set_rtt(0.04)
        pair.right.set_rtt(0.04)
        pair.start().run()
        assert pair.is_connected, seed
        if loss < 0.3:  # nothing is begun anew before four resends in vain
            assert pair.left.stats.rebuilds == pair.right.stats.rebuilds == 0


def test_handshakes_survive_duplicates_and_reordering():
    for seed in range(60):
        pair = Pair(rough(seed, loss=0.05, duplicate=0.4, jitter=0.2), mtu=400).start().run()
        assert pair.is_connected, seed
        assert pair.left.stats.rebuilds == pair.right.stats.rebuilds == 0


def test_resends_double_from_two_round_trips_up_to_the_ceiling():
    client = endpoint(client=True)
    client.set_rtt(0.1)
    client.start(0.0)
    waits, now = [], 0.0
    while client.state is DtlsState.CONNECTING:
        assert client.take_packets(now)
        waits.append(round(client.deadline - now, 6))
        now = client.deadline
        client.handle_timeout(now)
    assert waits[:6] == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert now == 30.0


def test_a_short_round_trip_does_not_resend_before_50_ms():
    client = endpoint(client=True)
    client.set_rtt(0.0001)
    client.start(1.0)
    assert client.deadline == pytest.approx(1.05)


def test_resent_plaintext_records_carry_new_numbers():
    """RFC 6347 §4.1.2.6: a receiver drops a number it has seen."""
    client = endpoint(client=True)
    client.start(0.0)
    (first,) = client.take_packets(0.0)
    client.handle_timeout(client.deadline)
    (second,) = client.take_packets(1.0)
    assert (first[:5], first[11:]) == (second[:5], second[11:])
    assert (first[5:11], second[5:11]) == (bytes(6), b"\0\0\0\0\0\1")


def test_the_last_flight_is_resent_until_protected_data_arrives():
    """RFC 6347 §4.2.4: nobody acknowledges the last flight, so only data of the peer proves that it came."""
    pair = Pair(losing([3, 4, 5])).start().run(lambda pair: pair.right.state is DtlsState.CONNECTED)
    assert pair.left.state is DtlsState.CONNECTING
    pair.run()
    assert pair.right.stats.handshake_resends >= 2
    assert pair.right.deadline != float("inf")
    exchange(pair.left, pair.right)
    assert pair.right.deadline == float("inf")


def test_an_unneeded_last_flight_is_not_resent_for_ever():
    pair = Pair().start().run()
    pair.run(lambda pair: False)
    assert pair.now == pytest.approx(30.0)
    assert pair.is_connected


def test_data_before_the_last_flight_is_kept_and_delivered():
    """RFC 6347 §4.2.4: data may overtake the Finished; it is kept, and asks for the flight again."""
    pair = Pair(losing([3])).start().run(lambda pair: pair.right.state is DtlsState.CONNECTED)
    pair.post(pair.right)  # the last flight is lost
    pair.right.send([b"early", b"bird"])
    pair.run()
    assert pair.left.state is DtlsState.CONNECTED
    assert pair.left.take_data() == [b"early", b"bird"]


def test_an_unanswered_handshake_fails_at_its_deadline_and_says_so():
    client = endpoint(client=True, options=Options(handshake_timeout=5.0))
    client.start(10.0)
    while client.deadline < 15.0:
        client.handle_timeout(client.deadline)
    assert client.state is DtlsState.CONNECTING
    client.handle_timeout(15.0)
    assert client.state is DtlsState.FAILED
    assert client.failure_reason == "no DTLS handshake within 5 s: the peer did not answer"
    assert client.take_events() == [Failed(client.failure_reason)]
    assert client.deadline == float("inf")


def test_a_server_reads_what_came_before_it_was_started():
    client, server = endpoint(client=True), endpoint(client=False)
    client.start(0.0)
    server.receive(client.take_packets(0.0), 0.0)
    assert server.take_packets(0.0) == []
    server.start(0.5)
    assert server.take_packets(0.5)


def test_misuse_is_refused():
    client = endpoint(client=True)
    with pytest.raises(InvalidState):
        client.send([b"too early"])
    client.start(0.0)
    with pytest.raises(InvalidState):
        client.start(0.0)
    with pytest.raises(InvalidParameter):
        endpoint(client=True, mtu=100)


def test_a_pair_can_be_made_again_and_again_with_the_same_certificates():
    first, second = connected(), connected()
    exchange(first.left, first.right)
    second.left.receive(first.right.take_packets(0.0), 0.0)
    first.right.send([b"not for you"])
    second.left.receive(first.right.take_packets(0.0), 0.0)
    assert second.left.take_data() == []
    assert second.left.drops.undecryptable == 1
