"""Path-MTU discovery: the search alone, and between two associations."""

from __future__ import annotations

import math
import random

import pytest
from support.sctp import Path, connected

from rtcstack.sctp import PathNarrowed
from rtcstack.sctp.path_mtu import PathMtu


def search(carries: int, limit: int) -> tuple[PathMtu, list[int]]:
    """Let it search a path that carries packets of so many bytes; give the sizes it has tried."""
    path = PathMtu(1160, limit, random.Random(1).randbytes)
    path.start(0.0)
    tried = []
    while path.due < 100.0:
        now = path.due
        chunks = path.probe(now, 1.0)
        if chunks:
            tried.append(12 + sum(map(len, chunks)))
            if tried[-1] <= carries:
                assert not path.acknowledged(b"something else", now)
                assert path.acknowledged(chunks[0][8:24], now)
    return path, tried


def test_the_limit_is_tried_first():
    path, tried = search(1500, 1412)
    assert path.mtu == 1412
    assert tried == [1412]
    assert path.due == pytest.approx(600.0)


@pytest.mark.parametrize("carries", [1160, 1200, 1300, 1500, 9000, 16000])
def test_the_search_ends_close_below_what_the_path_carries(carries):
    path, tried = search(carries, 16000)
    assert max(1160, carries - 40) <= path.mtu <= max(1160, carries)
    assert all(size % 4 == 0 for size in tried)
    assert max(tried.count(size) for size in tried) <= 3


def test_a_peer_that_may_not_know_pad_gets_the_filling_inside_the_heartbeat():
    """RFC 9260 section 3.3.5: the information is opaque, whoever answers gives it back."""
    path = PathMtu(1160, 1412, random.Random(1).randbytes)
    path.start(0.0, pads=False)
    (chunk,) = path.probe(path.due, 1.0)
    assert len(chunk) + 12 == 1412
    assert not path.acknowledged(chunk[8:24], 0.1)
    assert path.acknowledged(chunk[8:], 0.1)
    assert path.mtu == 1412


def test_a_peer_with_a_small_buffer_gets_nothing_that_does_not_fit():
    """aiortc lags behind over a packet of more than 1,500 bytes, Chromium ends the connection over 2,048."""
    path = PathMtu(1160, 60_000, random.Random(1).randbytes)
    path.start(0.0, largest=1440)
    path.take_path(65_000, 0.0)
    heartbeat, pad = path.probe(path.due, 1.0)
    assert 12 + len(heartbeat) + len(pad) == 1440
    assert path.acknowledged(heartbeat[8:24], 0.1)
    assert path.mtu == 1440
    assert path.probe(path.due, 1.0) == []


@pytest.mark.parametrize("limit", [1412, 16000])
def test_an_answer_that_comes_after_its_size_was_given_up_changes_nothing(limit):
    path = PathMtu(1160, limit, random.Random(1).randbytes)
    path.start(0.0)
    probes = []
    while path.due < 100.0:
        probes.append(path.probe(path.due, 1.0))
    assert probes.pop() == []
    assert not path.acknowledged(probes[-1][0][8:24], 100.0)
    assert path.mtu == 1160


def test_no_search_without_room():
    path = PathMtu(1160, 1160, random.Random(1).randbytes)
    path.start(0.0)
    assert path.due == math.inf


def test_a_wider_path_is_found_later():
    """RFC 8899 section 5.1.1: the raise timer."""
    path, _ = search(1160, 1412)
    assert path.mtu == 1160
    now = path.due
    chunks = path.probe(now, 1.0)
    assert path.acknowledged(chunks[0][8:24], now)
    assert path.mtu == 1412


def test_associations_find_what_the_path_carries():
    path = Path(1, options={"path_mtu_limit": 4000}, delay=0.01, mtu=3000)
    path.connect()
    path.run(60.0)
    for i in range(300):
        path.a.send(1, 51, bytes([i % 256]) * 3000, now=path.now)
    largest: list[int] = []
    send = path.there.send
    path.there.send = lambda packets, now: (largest.append(max(map(len, packets))), send(packets, now))  # type: ignore[method-assign]
    assert path.run(10.0, until=lambda: len(path.at_z) == 300)
    assert 2900 < max(largest) <= 3000
    assert path.a.stats.retransmitted_chunks == 0


def test_a_path_that_becomes_narrower_is_survived():
    """RFC 8899 section 4.3: black-hole detection; here no chunk is ever too large for the base."""
    path = Path(1, options={"path_mtu_limit": 4000}, delay=0.01)
    path.connect()
    path.run(5.0)
    for i in range(300):
        path.a.send(1, 51, bytes([i % 256]) * 3000, now=path.now)
    path.there.change(mtu=1160)
    assert path.run(60.0, until=lambda: len(path.at_z) == 300)
    assert path.a.stats.timeouts >= 2
    assert PathNarrowed() not in path.events_a


def test_a_black_hole_shows_while_small_packets_arrive():
    """RFC 8899 section 4.3: what arrives of other messages must not put the discovery off."""
    path = Path(1, options={"path_mtu_limit": 1412}, delay=0.02)
    path.connect()
    path.run(5.0)
    assert path.a.snapshot().mtu == 1412
    path.there.change(mtu=1200)
    for tick in range(120):
        path.a.send(1, 51, bytes(60), now=path.now)
        if tick % 6 == 0:
            path.a.send(2, 51, bytes(5000), now=path.now)
        path.run(1 / 60)
    assert path.run(0.5, until=lambda: path.a.total_buffered == 0)
    assert path.a.snapshot().mtu == 1160
    assert path.a.stats.retransmitted_chunks < 50


def test_losses_make_it_ask_again_and_an_answer_changes_nothing():
    path, tried = search(1300, 1412)
    before, rest = path.mtu, path.due
    path.question(50.0)
    chunks = path.probe(path.due, 1.0)
    assert 12 + sum(map(len, chunks)) == before == max(size for size in tried if size <= 1300)
    assert path.acknowledged(chunks[0][8:24], 50.1)
    assert (path.mtu, path.due) == (before, rest)
    path.question(59.0)
    assert path.due == rest  # once in ten seconds
    path.question(61.0)
    assert path.due == 61.0


def test_a_size_that_does_not_arrive_any_more_leads_to_another_search():
    path, _ = search(1412, 1412)
    path.question(50.0)
    for _ in range(3):
        assert path.mtu == 1412
        path.probe(path.due, 1.0)
    chunks = path.probe(path.due, 1.0)
    assert path.mtu == 1160
    assert 1160 < 12 + sum(map(len, chunks)) < 1412


def test_a_black_hole_shows_by_messages_that_are_not_sent_again():
    """RFC 8899 section 4.3: unreliable messages in packets that are too large, among others that arrive."""
    path = Path(1, options={"path_mtu_limit": 1412}, delay=0.02)
    path.connect()
    path.run(5.0)
    path.there.change(mtu=1200)
    for tick in range(200):
        path.a.send(1, 51, bytes(60), now=path.now)
        if tick % 2 == 0:
            path.a.send(2, 51, bytes(1350), max_retransmits=0, now=path.now)
        path.run(0.05)
    arrived = [len(payload) for stream, _, payload in path.at_z if stream == 2]
    assert arrived[:1] == [1350]
    assert len(arrived) > 50
    assert path.a.snapshot().mtu < 1200


@pytest.mark.parametrize("interleaving", [True, False])
def test_chunks_fill_the_packets_of_a_path_that_carries_large_ones(interleaving):
    path = Path(1, options={"path_mtu_limit": 15_960, "interleaving": interleaving}, delay=0.001, mtu=15_960)
    path.connect()
    path.run(5.0)
    before = path.a.stats.data_chunks_sent
    for i in range(100):
        path.a.send(1, 51, bytes([i]) * 100_000, now=path.now)
    assert path.run(10.0, until=lambda: len(path.at_z) == 100)
    assert [payload for _, _, payload in path.at_z] == [bytes([i]) * 100_000 for i in range(100)]
    # A peer without interleaving is not one of ours, as far as is known: its packets stay below 1,500 bytes.
    count = 700 if interleaving else 14_300
    assert path.a.stats.data_chunks_sent - before == pytest.approx(count, rel=0.06)
    assert path.a.stats.retransmitted_chunks == 0


@pytest.mark.parametrize("is_told", [False, True], ids=["black hole", "another path"])
def test_large_chunks_in_flight_are_cut_by_the_network_when_the_path_becomes_narrower(is_told):
    """RFC 9260 section 6.9: what is cut cannot be cut again, IP has to do it."""
    path = Path(1, options={"path_mtu_limit": 15_960}, delay=0.01)
    path.connect()
    path.run(5.0)
    for i in range(100):
        path.a.send(1, 51, bytes([i]) * 40_000, now=path.now)
    path.run(0.005)
    path.there.change(mtu=1160)
    if is_told:
        path.a.take_path(1200, path.now)

    def is_done() -> bool:
        # What the sockets do: fragments are allowed while they are needed.
        path.there.change(mtu=15_960 if path.a.needs_fragments else 1160)
        return len(path.at_z) == 100

    assert path.run(60.0, until=is_done)
    assert [payload for _, _, payload in path.at_z] == [bytes([i]) * 40_000 for i in range(100)]
    assert path.events_a.count(PathNarrowed()) == 1
    assert not path.a.needs_fragments
    assert (path.a.stats.timeouts < 2) == is_told


def test_a_small_message_does_not_fill_the_window_of_a_path_with_large_packets():
    """RFC 9260 section 7.2.1: a window holds two packets from the start, so no SACK is asked for at once."""
    s = connected(path_mtu_limit=15_960)
    s.wait(3.0)
    s.a.send(1, 51, b"small", now=s.now)
    (packet,) = s.take(s.a)
    assert not packet[13] & 8


def test_large_packets_do_not_overfill_the_window_of_the_peer():
    path = Path(1, options={"path_mtu_limit": 15_960, "receive_window": 70_000}, delay=0.001)
    path.connect()
    path.run(5.0)
    path.a.send(1, 51, bytes(60_000), now=path.now)
    path.a.send(1, 51, bytes(12_000), now=path.now)  # it would fit into a packet, but not into the window
    assert sum(map(len, path.a.take_packets(path.now) + path.a.take_packets(path.now))) < 71_000
    path.run(5.0)
    assert path.z.stats.drops == {}


def test_another_path_is_searched_anew_within_what_its_first_link_carries():
    """RFC 8899 section 5.2."""
    path = Path(1, options={"path_mtu_limit": 1412}, delay=0.001)
    path.connect()
    path.run(5.0)
    sizes: list[int] = []
    send = path.there.send
    path.there.send = lambda packets, now: (sizes.extend(map(len, packets)), send(packets, now))  # type: ignore[method-assign]
    for largest, found in ((9000, 9000), (1300, 1300), (0, 1412), (1000, 1160)):
        path.a.take_path(largest, path.now)
        path.run(3.0)
        assert path.a.stats.mtu_probes > 0
        sizes.clear()
        path.a.send(1, 51, bytes(200_000), now=path.now)
        for _ in range(20):
            path.a.send(1, 51, bytes(50), now=path.now)
        path.run(3.0)
        assert max(sizes) <= found
        if largest == 9000:
            assert max(sizes) > 8900


def test_a_lost_probe_slows_nothing_down():
    s = connected(path_mtu_limit=1412)
    s.wait(0.4)
    s.now += 0.2
    s.a.handle_timeout(s.now)
    assert s.lose(s.a) == ["HEARTBEAT PAD"]
    s.wait(10.0)
    assert (s.a.stats.timeouts, s.a.stats.recoveries, s.a.stats.mtu_probes) == (0, 0, 2)
