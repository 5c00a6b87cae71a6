"""The send queue: cutting, numbering, scheduling and counting, also against a naive model."""

from __future__ import annotations

import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtcstack.sctp.chunks import BEGIN, END, I_DATA, UNORDERED, read_data, read_i_data
from rtcstack.sctp.outstanding import ABANDONED, SIZE, STATE
from rtcstack.sctp.send_queue import SendQueue
from rtcstack.sctp.stats import Stats

MTU = 1160
SENT = (0.0, 0, 0.0, 0.0, False)


class Cutter:
    """A queue and what was cut from it."""

    def __init__(self, *, interleaving: bool = False) -> None:
        self.queue = SendQueue(MTU, Stats())
        self.queue.set_mtu(MTU, interleaving)
        self.records: dict[int, list[object]] = {}
        self.tsn = 1

    def push(self, stream_id: int, payload: bytes, *, unordered: bool = False, **limits: float) -> None:
        stream = self.queue.stream(stream_id)
        flag = UNORDERED if unordered else 0
        made = self.queue.limits_of(
            stream, limits.get("max_retransmits"), limits.get("lifetime"), limits.get("now", 0.0)
        )
        self.queue.push(stream, 51, payload, flag, made)

    def packet(self, room: int = MTU - 12, now: float = 0.0) -> list[tuple[int, int, int, int, int, bytes]]:
        """Cut one packet: (flags, tsn, stream_id, ssn or mid, ppid or fsn, payload) of each chunk."""
        chunks: list[bytes] = []
        self.tsn, size, cost = self.queue.fill(chunks, room, self.records, self.tsn, SENT, now, 0)
        cut = b"".join(chunks)
        assert len(cut) == cost <= room
        read = []
        at = 0
        while at < len(cut):
            length = struct.unpack_from("!H", cut, at + 2)[0]
            read.append((read_i_data if cut[at] == I_DATA else read_data)(cut, at, at + length))
            at += (length + 3) & ~3
        assert size == sum(len(fields[5]) for fields in read)
        return read

    def packets(self) -> list[list[tuple[int, int, int, int, int, bytes]]]:
        packets = []
        while chunks := self.packet():
            packets.append(chunks)
        return packets


def test_a_message_that_fits_goes_whole():
    cutter = Cutter()
    cutter.push(3, b"abc")
    assert cutter.packet() == [(BEGIN | END, 1, 3, 0, 51, b"abc")]
    assert cutter.queue.is_empty


def test_small_messages_share_a_packet_and_are_numbered_in_order():
    cutter = Cutter()
    for i in range(30):
        cutter.push(1, bytes([i]) * 64)
    first, second, third = cutter.packets()
    assert [fields[3] for fields in first + second + third] == list(range(30))
    assert len(first) == len(second) == 14


def test_a_large_message_is_cut_into_full_packets():
    cutter = Cutter()
    cutter.push(1, bytes(3000))
    flags = [fields[0] for packet in cutter.packets() for fields in packet]
    assert flags == [BEGIN, 0, END]


def test_the_rest_of_a_packet_takes_the_beginning_of_the_next_large_message():
    cutter = Cutter()
    cutter.push(1, b"a" * 1500)
    cutter.push(1, b"b" * 3000)
    packets = cutter.packets()
    assert [len(fields[5]) for fields in packets[1]] == [368, 748]


def test_a_message_that_would_fit_alone_is_not_cut_to_fill_a_packet():
    cutter = Cutter()
    cutter.push(1, b"a" * 700)
    cutter.push(1, b"b" * 700)
    assert [[len(fields[5]) for fields in packet] for packet in cutter.packets()] == [[700], [700]]


def test_unordered_messages_use_no_ssn():
    cutter = Cutter()
    cutter.push(1, b"a", unordered=True)
    cutter.push(1, b"b")
    assert [fields[3] for fields in cutter.packet()] == [0, 0]


def test_with_interleaving_ordered_and_unordered_messages_are_numbered_apart():
    """RFC 8260 section 2.1: each stream has two number spaces."""
    cutter = Cutter(interleaving=True)
    for unordered in (False, True, False, True):
        cutter.push(1, b"x", unordered=unordered)
    assert [fields[3] for fields in cutter.packet()] == [0, 0, 1, 1]


def test_with_interleaving_later_fragments_carry_their_number_instead_of_the_ppid():
    cutter = Cutter(interleaving=True)
    cutter.push(1, bytes(4000))
    assert [fields[4] for packet in cutter.packets() for fields in packet] == [51, 1, 2, 3]


def test_without_interleaving_a_message_is_finished_before_another_stream_has_its_turn():
    cutter = Cutter()
    cutter.push(1, bytes(5000))
    first = cutter.packet()
    cutter.push(2, b"short")
    rest = [fields[2] for packet in cutter.packets() for fields in packet]
    assert [fields[2] for fields in first] == [1]
    assert rest == [1, 1, 1, 1, 2]


def test_with_interleaving_a_short_message_overtakes_a_long_one():
    cutter = Cutter(interleaving=True)
    cutter.push(1, bytes(10_000_000))
    cutter.packet()
    cutter.push(2, bytes(100))
    assert [fields[2] for fields in cutter.packet()] == [2, 1]


def test_streams_share_by_their_weights():
    """RFC 8831 section 6.4, RFC 8260 section 3.6: a stream of twice the weight sends twice as much."""
    cutter = Cutter(interleaving=True)
    for stream_id, weight in ((1, 128), (2, 256), (3, 512)):
        cutter.queue.stream(stream_id).weight = weight
        cutter.push(stream_id, bytes(1_000_000))
    sent = {1: 0, 2: 0, 3: 0}
    for _ in range(210):
        for fields in cutter.packet():
            sent[fields[2]] += len(fields[5])
    assert sent[2] / sent[1] == pytest.approx(2, rel=0.1)
    assert sent[3] / sent[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("agreed", ["no interleaving", "interleaving, later"])
def test_streams_of_equal_weight_send_as_many_bytes_however_large_their_messages_are(agreed):
    """RFC 8260 section 3.5: a turn that takes a whole message counts as much as that holds."""
    cutter = Cutter()
    for _ in range(500):
        cutter.push(2, bytes(1000))
    for _ in range(10):
        cutter.push(1, bytes(50_000))
    if agreed == "interleaving, later":
        cutter.queue.set_mtu(1160, True)
    sent = {1: 0, 2: 0}
    for _ in range(200):
        for fields in cutter.packet():
            sent[fields[2]] += len(fields[5])
    assert sent[1] == pytest.approx(sent[2], abs=5_000 if cutter.queue.interleaving else 50_000)


def test_streams_of_equal_weight_take_turns_between_messages():
    cutter = Cutter()
    for stream_id in (1, 2, 3):
        for _ in range(4):
            cutter.push(stream_id, bytes(1000))
    order = [fields[2] for packet in cutter.packets() for fields in packet]
    assert all(set(order[i : i + 3]) == {1, 2, 3} for i in range(0, 12, 3))


def test_an_expired_message_is_dropped_and_uses_no_number():
    """RFC 7496 section 4.1: a message whose lifetime is over is not sent."""
    cutter = Cutter()
    cutter.push(1, b"late", lifetime=1.0, now=0.0)
    cutter.push(1, b"fine")
    assert [(fields[3], fields[5]) for fields in cutter.packet(now=1.5)] == [(0, b"fine")]
    assert cutter.queue.buffered == 4
    assert cutter.queue.stats.abandoned_messages == 1


def test_a_message_that_expires_half_sent_leaves_a_placeholder_behind():
    """RFC 3758 section 3.5 A3: no fragment may seem to follow those that were sent."""
    cutter = Cutter()
    cutter.push(1, bytes(3000), lifetime=1.0, now=0.0)
    cutter.push(1, b"next")
    assert cutter.packet(now=0.5)[0][0] == BEGIN
    (chunk,) = cutter.packet(now=1.5)
    assert (chunk[1], chunk[3], chunk[5]) == (3, 1, b"next")
    assert cutter.records[2][STATE] == ABANDONED
    assert cutter.records[2][SIZE] == 0
    (fate,) = cutter.queue.given_up
    assert fate.tsns == [1, 2]


def test_the_amount_falls_below_the_threshold_once():
    cutter = Cutter()
    stream = cutter.queue.stream(1)
    stream.threshold = 150
    for _ in range(3):
        cutter.push(1, bytes(100))
    for _ in range(3):
        cutter.queue.forget(stream, 100)
    assert cutter.queue.low == [1]
    assert stream.buffered == cutter.queue.buffered == 0


def test_messages_behind_a_reset_wait_for_it_and_begin_at_zero():
    """RFC 6525 section 5.1.2 A1 and section 5.2.7 H4."""
    cutter = Cutter()
    cutter.push(1, b"before")
    cutter.queue.hold([1])
    cutter.push(1, b"behind")
    assert not cutter.queue.is_drained(1)
    assert [fields[5] for fields in cutter.packet()] == [b"before"]
    cutter.queue.forget(cutter.queue.stream(1), 6)
    assert cutter.queue.is_drained(1)
    assert cutter.packet() == []
    cutter.queue.resume([1], reset=True)
    assert [(fields[3], fields[5]) for fields in cutter.packet()] == [(0, b"behind")]


class AgainstModel(RuleBasedStateMachine):
    """Whatever is pushed comes out whole, in order within its stream, and the amounts are right."""

    def __init__(self) -> None:
        super().__init__()
        self.cutter: Cutter | None = None
        self.expected: dict[int, list[bytes]] = {}
        self.partial: dict[int, bytes] = {}
        self.pushed = 0
        self.acked = 0
        self.filler = 0

    @rule(interleaving=st.booleans())
    def begin(self, interleaving: bool) -> None:
        if self.cutter is None:
            self.cutter = Cutter(interleaving=interleaving)

    @rule(stream_id=st.integers(0, 3), size=st.sampled_from([1, 3, 64, 400, 1132, 1133, 2500, 9000]))
    def push(self, stream_id: int, size: int) -> None:
        if self.cutter is None:
            return
        self.filler = (self.filler + 1) % 256
        payload = bytes([self.filler]) * size
        self.cutter.push(stream_id, payload)
        self.expected.setdefault(stream_id, []).append(payload)
        self.pushed += size

    @rule(room=st.sampled_from([1148, 1148, 1148, 600, 300, 40]))
    def cut(self, room: int) -> None:
        if self.cutter is None:
            return
        for flags, _, stream_id, _, _, payload in self.cutter.packet(room):
            so_far = b"" if flags & BEGIN else self.partial.pop(stream_id)
            assert stream_id not in self.partial
            so_far += payload
            if flags & END:
                assert self.expected[stream_id].pop(0) == so_far
            else:
                self.partial[stream_id] = so_far

    @rule()
    def acknowledge_all(self) -> None:
        if self.cutter is None:
            return
        for record in self.cutter.records.values():
            self.cutter.queue.forget(record[3], record[1])
            self.acked += record[1]
        self.cutter.records.clear()

    @invariant()
    def amounts(self) -> None:
        if self.cutter is None:
            return
        queue = self.cutter.queue
        assert queue.buffered == self.pushed - self.acked == sum(s.buffered for s in queue.streams.values())
        assert queue.is_empty == (not any(self.expected.values()))


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
