"""Congestion control as RFC 9260 §7 has it: every controller keeps these bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from sctp_peer import Local, Peer, established, ladder
from sctp_script import CookieAck, Data, Init, InitAck, Sack

FULL = 1132
"""Bytes of the largest message that fits into a packet."""

RTT = 0.1
"""Seconds."""

EVERY = pytest.mark.parametrize("control", ["newreno", "cubic", "bbr"])
LOSS_BASED = pytest.mark.parametrize("control", ["newreno", "cubic"])


class Flow:
    """A sends all it may; Z acknowledges a round trip later."""

    def __init__(self, control: str = "newreno", **options: object) -> None:
        self.a: Local
        self.z: Peer
        self.a, self.z = established(congestion_control=control, **options)
        self.sent = 0
        self.acked = 0

    def fill(self, messages: int = 3000, size: int = FULL) -> None:
        """Queue much."""
        for _ in range(messages):
            self.a.send(bytes(size))

    def burst(self, seconds: float = 0.0) -> list[int]:
        """Take what A sends within some time: the TSNs, packet by packet."""
        found: list[int] = []
        end = self.a.now + seconds
        while True:
            while self.z.is_heard:
                chunks = [chunk for chunk in self.z.expect_any() if isinstance(chunk, Data)]
                found += [chunk.tsn for chunk in chunks[:1]]
                self.sent = max([self.sent, *[chunk.tsn for chunk in chunks]])
            if self.a.association.deadline > end:
                break
            self.z.step()
        self.a.now = max(self.a.now, end)
        return found

    def acknowledge(self, tsn: int | None = None, **how: object) -> None:
        """Acknowledge up to a TSN, all by default."""
        self.acked = self.sent if tsn is None else tsn
        self.z.send(Sack(self.acked, **how))


@EVERY
def test_the_first_flight_is_the_initial_window(control):
    """RFC 9260 §7.2.1: a sender begins with a few packets, and waits for the first SACK then."""
    flow = Flow(control, initial_window=4)
    flow.fill()
    assert 3 <= len(flow.burst()) <= 5


def test_slow_start_at_most_doubles_the_window_each_round_trip():
    """RFC 9260 §7.2.1: cwnd grows by what is acknowledged, no faster."""
    flow = Flow(initial_window=4)
    flow.fill()
    counts = [len(flow.burst(RTT))]
    for _ in range(4):
        flow.acknowledge()
        counts.append(len(flow.burst(RTT)))
    for earlier, later in pairwise(counts):
        assert earlier < later <= 2 * earlier + 1


@LOSS_BASED
def test_the_window_does_not_grow_while_it_is_not_used(control):
    """RFC 9260 §7.2.1: cwnd is increased only if it is fully utilized."""
    flow = Flow(control, initial_window=4)
    for _ in range(100):
        flow.a.send(bytes(100))
        flow.burst(RTT)
        flow.acknowledge()
    flow.fill()
    assert len(flow.burst()) <= 5


def test_many_sacks_for_the_same_data_win_nothing():
    """RFC 9260 §7.2.1: the window grows by the bytes acknowledged, not by the number of SACKs."""
    flow = Flow(initial_window=4)
    flow.fill()
    first = len(flow.burst(RTT))
    for _ in range(50):
        flow.z.send(Sack(first))
    assert len(flow.burst()) <= 2 * first + 1


@LOSS_BASED
def test_a_loss_reduces_the_window(control):
    """RFC 9260 §7.2.3: on a loss ssthresh and cwnd go down, by half in NewReno; by three tenths in CUBIC."""
    flow = Flow(control, initial_window=40)
    flow.fill()
    before = len(flow.burst(RTT))
    flow.z.send(Sack(0, gaps=((2, flow.sent),)))
    flow.burst(RTT)
    flow.acknowledge()
    after = len(flow.burst(RTT))
    assert after <= (0.5 if control == "newreno" else 0.7) * before + 2
    assert after >= 4


def test_after_a_loss_the_window_grows_by_a_packet_a_round_trip():
    """RFC 9260 §7.2.2: in congestion avoidance cwnd goes up by one packet each round trip at most."""
    flow = Flow(initial_window=20)
    flow.fill()
    flow.burst(RTT)
    flow.z.send(Sack(0, gaps=((2, flow.sent),)))
    flow.burst(RTT)
    flow.acknowledge()
    counts = [len(flow.burst(RTT))]
    for _ in range(12):
        flow.acknowledge()
        counts.append(len(flow.burst(RTT)))
    assert all(later - earlier <= 1 for earlier, later in pairwise(counts))
    assert counts[-1] > counts[0]


@EVERY
def test_a_loss_leaves_at_least_four_packets(control):
    """RFC 9260 §7.2.3: ssthresh is never under 4 packets, so that three reports can tell of the next loss."""
    flow = Flow(control, initial_window=4)
    flow.fill()
    for _ in range(6):
        first = flow.acked + 1
        flow.burst(RTT)
        flow.z.send(Sack(first - 1, gaps=((first + 1, flow.sent),)))
        flow.burst(RTT)
        flow.acknowledge()
    assert len(flow.burst(RTT)) >= 3


@EVERY
def test_repeated_time_outs_leave_a_packet_or_two(control):
    """RFC 9260 §7.2.3: when nothing is acknowledged over several time-outs the sender nearly falls silent."""
    flow = Flow(control, initial_window=40, rto_max=2.0)
    flow.fill()
    flow.burst(20)
    assert len(flow.burst(20)) <= 25  # 10 time-outs of 2 s


@EVERY
def test_the_window_comes_back_after_an_outage(control):
    """RFC 9260 §7.2.1: after time-outs slow start brings the window up again."""
    flow = Flow(control, rto_max=2.0)
    flow.fill()
    flow.burst(10)
    for _ in range(25):
        flow.acknowledge()
        flow.burst(RTT)
    flow.acknowledge()
    assert len(flow.burst(RTT)) >= 4


@EVERY
def test_one_packet_can_always_be_sent(control):
    """RFC 9260 §6.1 B: with nothing in flight a packet may leave, whatever happened before."""
    flow = Flow(control, initial_window=1, rto_max=2.0)
    flow.fill(50)
    flow.burst(30)
    flow.acknowledge()
    assert flow.burst(RTT)


@pytest.mark.parametrize(
    "control",
    [
        "newreno",
        "cubic",
        "bbr",
    ],
)
def test_an_outage_of_a_minute_is_forgotten_in_seconds(control):
    """RFC 9260 §7.2.1: however long nothing was acknowledged, afterwards the window grows as at the start."""
    flow = Flow(control, rto_max=3.0)
    flow.fill(5)
    flow.burst(60)
    flow.acknowledge(1)
    flow.fill(100)
    for _ in range(30):
        flow.burst(RTT)
        flow.acknowledge()
    assert flow.sent > 50


@EVERY
def test_a_slow_handshake_says_nothing_of_the_path(control):
    """RFC 9260 §6.3.1 C5: data repeated with a COOKIE ECHO for a minute gives no round trip, and no rate."""
    a, z = ladder(congestion_control=control)
    a.send(bytes(FULL))
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.wait(40)
    z.ignore()
    z.send(CookieAck(), Sack(1))
    for _ in range(50):
        a.send(bytes(FULL))
    tsn = 1
    for _ in range(10):
        z.wait(0.1)
        while z.is_heard:
            tsn = max([tsn, *[chunk.tsn for chunk in z.expect_any() if isinstance(chunk, Data)]])
        z.send(Sack(tsn))
    z.wait(1)
    z.ignore()
    assert a.stats.data_chunks_sent > 10


@LOSS_BASED
def test_a_long_silence_brings_the_window_down(control):
    """RFC 9260 §7.2.1: while nothing is sent cwnd is halved each time-out, down to the initial window."""
    flow = Flow(control, initial_window=4)
    flow.fill(200)
    for _ in range(12):
        flow.burst(RTT)
        flow.acknowledge()
    flow.z.wait(60)
    flow.fill()
    assert len(flow.burst()) <= 6


def test_a_burst_is_bounded():
    """RFC 9260 §6.1 D: Max.Burst bounds the packets that one call sends."""
    flow = Flow(initial_window=100, max_burst=10)
    flow.fill()
    packets = flow.a.association.take_packets(flow.a.now)
    assert 1 <= len(packets) <= 11


def test_chunk_headers_count_towards_the_congestion_window():
    """RFC 9260 §7.2: the length of the whole DATA chunk, padding included, is what counts against cwnd."""
    flow = Flow(initial_window=4)
    for _ in range(2000):
        flow.a.send(b"x")
    assert len(flow.burst()) <= 5


@EVERY
def test_a_sender_with_nothing_to_send_has_nothing_to_do(control):
    """RFC 9260 §6.3.2 R2: when everything is acknowledged, or has expired, no timer runs."""
    flow = Flow(control, initial_window=4)
    for _ in range(200):
        flow.a.send(bytes(FULL), lifetime=0.3)
    flow.burst(RTT)
    for _ in range(20):
        flow.acknowledge()
        flow.burst(RTT)
    flow.acknowledge()
    flow.z.wait(5)
    flow.z.ignore()
    assert flow.a.association.total_buffered == 0
    assert flow.a.association.deadline > flow.a.now + 5


def test_abandoned_data_does_not_grow_the_window():
    """RFC 3758 §3.5 A2: what is abandoned counts as acknowledged, but cwnd must not grow by it."""
    flow = Flow(initial_window=4)
    for _ in range(4):
        flow.a.send(bytes(FULL), max_retransmits=0)
    flow.burst()
    flow.burst(1.5)  # the time-out abandons all of it
    flow.fill()
    assert len(flow.burst()) <= 5
