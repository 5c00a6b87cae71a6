"""Outstanding chunks: acknowledgement, loss and abandonment, also against a naive model."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtcstack.sctp.outstanding import ABANDONED, ACKED, COUNT, IN_FLIGHT, LOST, STATE, Outstanding
from rtcstack.sctp.send_queue import SendQueue
from rtcstack.sctp.stats import Stats

FIRST = 0xFFFFFFF0
"""An initial TSN from which the tests wrap around 2**32."""
SIZE = 100
COST = 116
"""Bytes of a message's chunk."""


class Flight:
    """Outstanding data of one stream, one chunk of SIZE bytes a message."""

    def __init__(self) -> None:
        self.queue = SendQueue(1160, Stats())
        self.out = Outstanding(FIRST, self.queue)

    def send(self, count: int, now: float, max_retransmits: int | None = None) -> None:
        stream = self.queue.stream(1)
        for _ in range(count):
            limits = self.queue.limits_of(stream, max_retransmits, None, now)
            self.queue.push(stream, 51, bytes(SIZE), 0, limits)
        sent = (now, self.out.delivered, now, now, False)
        while not self.queue.is_empty:
            tsn, _, cost = self.queue.fill([], 1148, self.out.records, self.out.next_tsn, sent, now, 0)
            self.out.next_tsn = tsn
            self.out.flight += cost

    def sack(self, cumulative: int, *gaps: int, now: float = 1.0) -> int:
        """Take a SACK; cumulative counts from FIRST - 1 = 0."""
        step = self.out.check((FIRST - 1 + cumulative) & 0xFFFFFFFF, gaps)
        if step >= 0:
            self.out.acknowledge(step, gaps, now, 0.0)
        return step

    def resend(self, now: float) -> list[int]:
        """Send again what is lost; give the TSNs, counted from FIRST = 1."""
        sent = (now, self.out.delivered, now, now, False)
        before = {tsn: record[COUNT] for tsn, record in self.out.records.items()}
        while self.out.take_lost(1148, True, sent, now) is not None:
            pass
        return [
            tsn - FIRST + 1 for tsn, record in self.out.records.items() if record[COUNT] > before.get(tsn, 0)
        ]

    def states(self) -> list[int]:
        return [record[STATE] for record in self.out.records.values()]


def test_a_cumulative_ack_frees_what_it_covers():
    flight = Flight()
    flight.send(5, now=0.0)
    assert flight.sack(3) == 3
    assert len(flight.out.records) == 2
    assert (flight.out.flight, flight.queue.buffered) == (2 * COST, 2 * SIZE)
    assert (flight.out.newly, flight.out.delivered) == (3 * COST, 3 * COST)


def test_gap_blocks_of_rfc_9260_section_3_3_4():
    flight = Flight()
    flight.send(8, now=0.0)
    flight.sack(2, 2, 3, 5, 5)
    assert flight.states() == [IN_FLIGHT, ACKED, ACKED, IN_FLIGHT, ACKED, IN_FLIGHT]
    assert flight.out.flight == 3 * COST
    assert flight.queue.buffered == 6 * SIZE


def test_a_gap_block_reported_again_counts_once():
    flight = Flight()
    flight.send(8, now=0.0)
    flight.sack(0, 3, 4)
    flight.sack(0, 3, 6)
    assert flight.out.newly == 2 * COST
    flight.sack(0, 3, 6)
    assert flight.out.newly == 0
    flight.sack(0, 2, 8)
    assert flight.out.newly == 3 * COST
    assert flight.out.flight == COST


@pytest.mark.parametrize(
    ("cumulative", "gaps"),
    [
        (6, ()),
        (0x7FFFFFFF, ()),
        (0, (0, 1)),
        (0, (3, 2)),
        (0, (2, 6)),
        (0, (2, 65535)),
        (4, (2, 2)),
        (0, (2, 3, 5, 9)),
    ],
)
def test_a_sack_that_cannot_be_true_changes_nothing(cumulative, gaps):
    flight = Flight()
    flight.send(5, now=0.0)
    assert flight.sack(cumulative, *gaps) == -2
    assert flight.out.flight == 5 * COST
    assert flight.states() == [IN_FLIGHT] * 5


def test_an_old_sack_is_recognised():
    flight = Flight()
    flight.send(5, now=0.0)
    flight.sack(4)
    assert flight.sack(2, 2, 3) == -1
    assert len(flight.out.records) == 1


def test_what_was_sent_before_the_newest_that_arrived_is_lost():
    """RFC 8985 section 6.2 step 5, without time for reordering."""
    flight = Flight()
    flight.send(3, now=0.0)
    flight.send(3, now=0.1)
    flight.sack(1, 3, 3, now=0.2)
    assert flight.out.find_lost(0.2, 0.1, 0.0) == math.inf
    assert flight.states() == [LOST, LOST, ACKED, IN_FLIGHT, IN_FLIGHT]
    assert flight.out.lost == 2 * COST
    assert flight.resend(0.2) == [2, 3]
    assert flight.out.flight == 4 * COST


def test_reordering_is_given_time():
    flight = Flight()
    flight.send(1, now=0.0)
    flight.send(1, now=0.1)
    flight.sack(0, 2, 2, now=0.2)
    due = flight.out.find_lost(0.2, 0.1, 0.05)
    assert due == math.inf or due == pytest.approx(0.15)
    assert flight.states()[0] == LOST
    flight = Flight()
    flight.send(1, now=0.09)
    flight.send(1, now=0.1)
    flight.sack(0, 2, 2, now=0.2)
    assert flight.out.find_lost(0.2, 0.1, 0.05) == pytest.approx(0.24)
    assert flight.states()[0] == IN_FLIGHT


def test_a_chunk_sent_again_can_be_lost_again():
    flight = Flight()
    flight.send(3, now=0.0)
    flight.sack(0, 2, 3, now=0.1)
    flight.out.find_lost(0.1, 0.1, 0.0)
    assert flight.resend(0.1) == [1]
    flight.send(1, now=0.15)
    flight.sack(0, 2, 4, now=0.25)
    flight.out.find_lost(0.25, 0.1, 0.0)
    assert flight.states() == [LOST, ACKED, ACKED, ACKED]


def test_reordering_is_noticed():
    """RFC 8985 section 6.2 step 3: a chunk sent once is acknowledged after a later one."""
    flight = Flight()
    flight.send(3, now=0.0)
    flight.sack(0, 2, 2)
    assert not flight.out.reordering
    flight.sack(2)
    assert flight.out.reordering


def test_a_limited_message_is_given_up_instead_of_sent_again():
    """RFC 7496 section 4.2: after so many retransmissions."""
    flight = Flight()
    flight.send(2, now=0.0, max_retransmits=1)
    flight.out.lose_all()
    assert flight.resend(1.0) == [1, 2]
    flight.out.lose_all()
    assert flight.resend(2.0) == []
    assert flight.states() == [ABANDONED, ABANDONED]
    assert flight.out.advanced == FIRST + 1
    assert flight.queue.buffered == flight.out.flight == 0
    assert flight.out.skipped(10) == (FIRST + 1, {(1, False): 1})


def test_what_the_peer_has_taken_back_is_sent_again():
    """RFC 9260 section 6.2.1: the peer may drop what it has reported in a gap block only."""
    flight = Flight()
    flight.send(3, now=0.0)
    flight.sack(0, 2, 3)
    flight.sack(1)
    flight.out.lose_all()
    assert flight.states() == [LOST, LOST]
    assert flight.resend(2.0) == [2, 3]


class AgainstModel(RuleBasedStateMachine):
    """Sets of numbers do the same more slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.flight = Flight()
        self.now = 0.0
        self.sent = 0
        self.cumulative = 0
        self.has: set[int] = set()  # beyond the cumulative TSN
        self.lost: set[int] = set()

    @rule(count=st.integers(1, 12))
    def send(self, count: int) -> None:
        self.now += 0.01
        self.flight.send(count, self.now)
        self.sent += count

    @rule(data=st.data())
    def sack(self, data: st.DataObject) -> None:
        if self.sent == self.cumulative:
            return
        self.now += 0.1
        arrived = data.draw(st.sets(st.integers(self.cumulative + 1, self.sent), max_size=8))
        self.has |= arrived
        while self.cumulative + 1 in self.has:
            self.cumulative += 1
            self.has.remove(self.cumulative)
        gaps: list[int] = []
        for number in sorted(self.has):
            offset = number - self.cumulative
            if gaps and gaps[-1] == offset - 1:
                gaps[-1] = offset
            else:
                gaps += [offset, offset]
        assert self.flight.sack(self.cumulative, *gaps, now=self.now) >= 0
        self.lost = {number for number in self.lost if number > self.cumulative and number not in self.has}

    @rule()
    def find_lost(self) -> None:
        if self.flight.out.newest[0] == -math.inf:
            return
        self.flight.out.find_lost(self.now, 0.0, 0.0)
        for tsn, record in self.flight.out.records.items():
            if record[STATE] == LOST:
                self.lost.add(tsn - FIRST + 1)
        highest = max(self.has, default=0)
        never_again = {
            tsn - FIRST + 1 for tsn, record in self.flight.out.records.items() if record[COUNT] == 1
        }
        missing = {number for number in range(self.cumulative + 1, highest) if number not in self.has}
        assert missing & never_again <= self.lost

    @rule()
    def time_out(self) -> None:
        self.flight.out.lose_all()
        self.lost = {n for n in range(self.cumulative + 1, self.sent + 1) if n not in self.has}

    @rule()
    def resend(self) -> None:
        self.now += 0.01
        assert set(self.flight.resend(self.now)) == self.lost
        self.lost = set()

    @invariant()
    def agrees(self) -> None:
        out = self.flight.out
        missing = {n for n in range(self.cumulative + 1, self.sent + 1) if n not in self.has}
        assert out.flight == COST * len(missing - self.lost)
        assert out.delivered == COST * (self.cumulative + len(self.has))
        assert self.flight.queue.buffered == SIZE * (self.sent - self.cumulative)
        assert {tsn - FIRST + 1 for tsn, record in out.records.items() if record[STATE] == ACKED} == self.has


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
