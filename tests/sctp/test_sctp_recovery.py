"""Loss recovery between two associations, step by step: what is found lost when, and what it costs."""

from __future__ import annotations

import itertools

import pytest
from support.sctp import Path, Steps, connected

from rtcstack.testing import Link, drop_numbers

RTT = 0.1


def measured(**options: object) -> Steps:
    """Make two sides that have measured a round trip of RTT seconds."""
    s = connected(path_mtu_limit=0, **options)
    for _ in range(20):
        s.a.send(1, 51, b"x", now=s.now)
        packets = s.take(s.a)
        s.now += RTT / 2
        s.z.receive(packets, s.now)
        packets = s.take(s.z)
        s.now += RTT / 2
        s.a.receive(packets, s.now)
    s.z.take_messages()
    return s


def answer(s: Steps, packets: list[bytes]) -> None:
    """Let Z take packets one at a time, and A its answers, half a round trip later each."""
    s.now += RTT / 2
    answers = []
    for packet in packets:
        s.z.receive([packet], s.now)
        answers += s.take(s.z)
    s.now += RTT / 2
    for packet in answers:
        s.a.receive([packet], s.now)


def test_a_gap_of_three_packets_is_a_loss():
    """RFC 9260 section 7.2.4, fast retransmit."""
    s = measured()
    s.a.send(1, 51, bytes(11_000), now=s.now)
    packets = s.take(s.a)
    answer(s, packets[:1] + packets[2:])
    first, *_ = s.take(s.a)
    assert first[16:20] == packets[1][16:20]
    assert (s.a.stats.recoveries, s.a.stats.timeouts) == (1, 0)


def test_a_loss_is_repaired_once_and_the_window_is_lowered_once():
    s = measured()
    s.a.send(1, 51, bytes(60_000), now=s.now)
    packets = s.take(s.a)
    answer(s, packets[:1] + packets[2:4] + packets[5:])
    s.settle()
    assert s.a.stats.retransmitted_chunks == 2
    assert s.a.stats.recoveries == 1
    s.wait(1.0)
    assert s.z.take_messages()[-1][2] == bytes(60_000)


def test_a_lost_tail_is_probed_for_before_the_timer():
    """RFC 8985 section 7: two round trips, not a retransmission time-out."""
    s = measured()
    s.a.send(1, 51, bytes(5000), now=s.now)
    packets = s.take(s.a)
    sent_at = s.now
    answer(s, packets[:-1])
    assert s.a.deadline < sent_at + RTT + 0.25
    s.fire(s.a)
    (probe,) = s.take(s.a)
    assert probe[13] & 8
    answer(s, [probe])
    assert s.a.total_buffered == 0
    assert (s.a.stats.tail_probes, s.a.stats.timeouts) == (1, 0)


def test_a_tail_probe_that_brings_nothing_is_not_repeated_but_leaves_t3_to_expire():
    """RFC 8985 section 7.3: one probe at a time, of one packet, also where more waits to be sent."""
    s = measured()
    s.a.send(1, 51, bytes(200_000), now=s.now)
    s.lose(s.a)
    began = s.now
    probes = []
    while s.a.stats.timeouts == 0 and s.now < began + 3:
        s.fire(s.a)
        if s.a.stats.timeouts == 0:
            probes += s.lose(s.a)
    assert probes == ["I-DATA"]
    assert s.now == pytest.approx(began + 2 * RTT + RTT + 0.22, abs=0.005)


def test_a_thin_stream_is_repaired_on_the_first_report():
    """RFC 5827: with little in flight there will never be three reports."""
    s = measured()
    s.a.send(1, 51, b"lost", now=s.now)
    s.take(s.a)
    s.now += 0.03
    s.a.send(1, 51, b"next", now=s.now)
    answer(s, s.take(s.a))
    assert s.move(s.a) == ["I-DATA"]
    assert [payload for _, _, payload in s.z.take_messages()] == [b"lost", b"next"]


@pytest.mark.parametrize("sack_delay", [0.02, 0.2])
@pytest.mark.parametrize("rtt", [0.02, 0.15, 0.3])
@pytest.mark.parametrize("rate", [5, 6, 12, 15, 30])
def test_no_steady_flow_without_a_loss_is_sent_twice_or_given_up(rate, rtt, sack_delay):
    """RFC 9260 section 6.2: a SACK that waits for company, or 200 ms as peers may let it, is no loss."""
    path = Path(options={"sack_delay": sack_delay}, delay=rtt / 2)
    path.connect()
    path.run(3)
    for _ in range(25):
        path.a.send(1, 51, b"kept", now=path.now)
        path.run(0.5 / rate)
        path.a.send(2, 51, b"once", max_retransmits=0, now=path.now)
        path.run(0.5 / rate)
    path.run(2)
    stats = path.a.stats
    assert len(path.at_z) == 50
    assert (stats.timeouts, stats.tail_probes, stats.retransmitted_chunks, stats.abandoned_messages) == (
        0,
    ) * 4


def test_t3_does_not_expire_for_a_message_that_was_given_up_before_its_forward_tsn_is_answered():
    """RFC 7765 counts from the sending of the oldest chunk, which must be one that is still wanted."""
    path = Path(delay=0.15)
    path.connect()
    path.run(3)
    path.there = Link(delay=0.15, drop=drop_numbers(0, 1))
    path.a.send(1, 51, b"lost", now=path.now)
    path.run(0.01)
    path.a.send(1, 51, b"given up", max_retransmits=0, now=path.now)
    path.run(0.01)
    path.a.send(1, 51, b"behind them", now=path.now)
    path.run(0.5)
    path.a.send(1, 51, b"on its way", max_retransmits=0, now=path.now)
    path.run(2)
    assert [payload for _, _, payload in path.at_z] == [b"lost", b"behind them", b"on its way"]
    assert (path.a.stats.timeouts, path.a.stats.abandoned_messages) == (0, 1)


def test_a_distant_peer_is_asked_for_a_sack_at_once_after_a_pause_and_a_near_one_is_not():
    """RFC 7053: a message that may remain alone; the ones that follow soon bring its SACK or report it."""
    s = measured()
    s.wait(0.25)
    s.a.send(1, 51, b"far", now=s.now)
    assert s.take(s.a)[0][13] & 8
    s.now += 0.03
    s.a.send(1, 51, b"soon after", now=s.now)
    assert not s.take(s.a)[0][13] & 8
    s = connected()
    s.now += 0.25
    s.a.send(1, 51, b"near", now=s.now)
    assert not s.take(s.a)[0][13] & 8


def test_a_steady_flow_needs_one_sack_for_two_packets():
    """RFC 9260 section 6.2: a SACK waits for the packet that is to come next, 0.15 s at most."""
    s = connected(path_mtu_limit=0)
    before = s.z.stats.sacks_sent
    for _ in range(40):
        s.a.send(1, 51, bytes(100), now=s.now)
        s.settle()
        s.wait(0.05)
    assert s.z.stats.sacks_sent - before <= 22
    assert s.a.stats.tail_probes == 0
    s.wait(0.1)
    assert s.a.total_buffered == 0


def test_a_sack_waits_longer_than_its_delay_only_while_company_is_expected():
    s = connected(path_mtu_limit=0, sack_delay=0.02)
    for pause, delay in ((0.0, 0.0), (0.0, 0.02), (0.05, 0.075), (0.05, 0.0), (0.12, 0.02)):
        s.wait(pause)
        s.a.send(1, 51, b"x", now=s.now)
        s.move(s.a)
        due = s.z.deadline
        assert (s.move(s.z) == ["SACK"]) == (not delay)
        if delay:
            assert due == pytest.approx(s.now + delay)


def test_a_sender_that_waits_for_each_sack_does_not_wait_longer_and_longer():
    """Its window is one packet, as aiortc's after a time-out: only its own SACK brings the next one."""
    s = connected(path_mtu_limit=0, sack_delay=0.02)
    waits = []
    for _ in range(20):
        s.wait(0.01)
        s.a.send(1, 51, b"x", now=s.now)
        s.move(s.a)
        began = s.now
        while s.move(s.z) != ["SACK"]:
            s.now = s.z.deadline
            s.z.handle_timeout(s.now)
        waits.append(s.now - began)
    assert max(waits) < 0.05
    assert sum(wait > 0.021 for wait in waits) <= 3


@pytest.mark.parametrize("controller", ["newreno", "cubic"])
def test_a_window_to_a_distant_peer_is_spread_over_half_a_round_trip(controller):
    """RFC 9002 section 7.7: then it brings several SACKs, and one of them may be lost."""
    s = measured(congestion_control=controller)
    s.wait(0.25)
    s.a.send(1, 51, bytes(500_000), now=s.now)
    assert 8 <= len(s.take(s.a)) <= 10  # nothing was in flight: an initial window
    s = measured(congestion_control=controller, initial_window=40)
    s.wait(0.25)
    s.a.send(1, 51, bytes(500_000), now=s.now)
    answer(s, s.take(s.a)[:20])
    began = s.now
    bursts = [len(s.take(s.a))]
    while sum(bursts) < 30:
        s.fire(s.a)
        bursts.append(len(s.take(s.a)))
    assert max(bursts) <= 3
    assert 0.01 < s.now - began < RTT / 2


def test_few_bytes_in_flight_are_repaired_on_the_first_report():
    """RFC 5827 section 3.1: early retransmit counts bytes, so that many small messages are no obstacle."""
    s = measured()
    packets = []
    for number in range(6):
        s.a.send(1, 51, bytes([number]) * 20, now=s.now)
        packets += s.take(s.a)
        s.now += 0.001
    answer(s, packets[1:2])
    assert s.move(s.a) == ["I-DATA"]
    assert s.z.take_messages()[0][2] == bytes(20)


def test_reordering_is_learned_and_then_tolerated():
    """RFC 8985 section 6.2: once the path has been seen to reorder, a gap is given time."""
    path = Path(5, delay=0.05, reorder=0.3, reorder_delay=0.01, options={"path_mtu_limit": 0})
    path.connect()
    path.run(1.0)
    for _ in range(100):
        path.a.send(1, 51, bytes(10_000), now=path.now)
        path.run(0.02)
    path.run(5.0)
    assert len(path.at_z) == 100
    assert path.there.stats.reordered > 100
    assert path.a.stats.retransmitted_chunks < 20


def test_what_was_sent_again_for_nothing_is_undone():
    """RFC 9260 section 6.2: the peer reports what has come twice."""
    s = measured(initial_window=40)
    s.a.send(1, 51, bytes(20_000), now=s.now)
    late = s.take(s.a)
    again: list[bytes] = []
    while not s.a.stats.timeouts:
        s.fire(s.a)
        again += s.take(s.a)
    s.z.receive(late, s.now)
    s.z.receive(again, s.now)
    s.settle()
    s.wait(1.0)
    assert s.z.take_messages() == [(1, 51, bytes(20_000))]
    assert s.a.stats.spurious_retransmissions >= 4
    assert s.a.stats.undone_recoveries == 1


def test_one_time_out_does_not_bring_the_window_down_to_one_packet():
    s = connected(initial_window=40, path_mtu_limit=0)
    s.a.send(1, 51, bytes(60_000), now=s.now)
    s.lose(s.a)
    s.fire(s.a)
    assert s.a.stats.timeouts == 1
    assert len(s.take(s.a)) == 4
    s.fire(s.a)
    assert len(s.take(s.a)) == 1


def test_the_time_out_doubles_up_to_three_seconds():
    s = measured()
    s.a.send(1, 51, b"into the void", now=s.now)
    s.take(s.a)
    fired = []
    while len(fired) < 8:
        before = s.a.stats.timeouts
        s.fire(s.a)
        s.take(s.a)
        if s.a.stats.timeouts > before:
            fired.append(s.now)
    waits = [later - sooner for sooner, later in itertools.pairwise(fired)]
    first = 0.1 + 0.22  # the round trip, and for how long the peer may keep its SACK back
    assert waits == pytest.approx([2 * first, 4 * first, 8 * first, 3.0, 3.0, 3.0, 3.0], rel=0.01)


def test_a_closed_window_is_probed_with_growing_patience_and_opens_at_once():
    """RFC 9260 section 6.1 A."""
    s = connected(receive_window=20_000)
    for _ in range(100):
        s.a.send(1, 51, bytes(1000), now=s.now)
    s.settle()
    s.wait(300.0)
    assert 50 < s.a.stats.window_probes + s.a.stats.timeouts < 300
    assert s.a.stats.recoveries == 0
    for _ in range(20):
        messages = s.z.take_messages()
        s.z.release(sum(len(payload) for _, _, payload in messages))
        s.settle()
        s.wait(0.5)
    assert s.a.total_buffered == 0


def test_an_outage_of_ten_seconds_is_over_within_three():
    path = Path(2, delay=0.05)
    path.connect()
    path.run(1.0)
    path.there.change(blackouts=[(path.now, path.now + 10)])
    path.back.change(blackouts=[(path.now, path.now + 10)])
    path.a.send(1, 51, b"patience", now=path.now)
    assert path.run(10.0 + 3.2, until=lambda: bool(path.at_z))


def test_a_longer_path_is_learned():
    path = Path(2, delay=0.001)
    path.connect()
    for delay in (0.001, 0.3, 0.001):
        path.there.change(delay=delay)
        path.back.change(delay=delay)
        for i in range(100):
            path.a.send(1, 51, b"%d" % i, now=path.now)
            path.run(0.05)
        path.run(2.0)
        assert len(path.at_z) == 100
        path.at_z.clear()
    assert path.a.stats.timeouts <= 3


def test_a_short_message_does_not_wait_for_a_long_one():
    """RFC 8260: a 10 MB message on one stream must not delay a 100-byte message on another."""
    path = Path(
        4,
        delay=0.01,
        rate=1_250_000.0,
        queue_seconds=0.5,
        options={"congestion_control": "bbr", "max_message_size": 0},
    )
    path.connect()
    path.run(1.0)
    path.a.send(1, 51, bytes(10_000_000), now=path.now)
    path.run(2.0)
    path.a.send(2, 51, bytes(100), now=path.now)
    started = path.now
    assert path.run(1.0, until=lambda: bool(path.at_z))
    assert path.at_z[0][0] == 2
    assert path.now - started < 0.2
