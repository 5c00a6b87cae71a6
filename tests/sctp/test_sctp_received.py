"""Which TSNs have come: cumulative TSN, gap blocks, duplicates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.sctp.received import DUPLICATE, NEW, OUTSIDE, ReceivedTsns

U32 = 0xFFFFFFFF
WINDOW = 50

initial_tsns = st.sampled_from([0, 1, 1000, 2**31 - 3, 2**31, 2**32 - 1, 2**32 - 7])


class Model:
    """A set of all numbers that have come; numbers do not wrap here."""

    def __init__(self, initial: int) -> None:
        self.seen = {initial - 1}

    @property
    def cumulative(self) -> int:
        number = min(self.seen)
        while number + 1 in self.seen:
            number += 1
        return number

    def add(self, number: int) -> int:
        cumulative = self.cumulative
        if number <= cumulative or number in self.seen:
            return DUPLICATE
        if number > cumulative + WINDOW:
            return OUTSIDE
        self.seen.add(number)
        return NEW

    def advance(self, number: int) -> int:
        cumulative = self.cumulative
        if number <= cumulative:
            return DUPLICATE
        if number > cumulative + WINDOW:
            return OUTSIDE
        self.seen.update(range(cumulative, number + 1))
        return NEW

    def gaps(self) -> list[int]:
        cumulative = self.cumulative
        blocks: list[int] = []
        for number in sorted(n - cumulative for n in self.seen if n > cumulative):
            if blocks and blocks[-1] == number - 1:
                blocks[-1] = number
            else:
                blocks += [number, number]
        return blocks


steps = st.lists(
    st.tuples(
        st.sampled_from([False] * 9 + [True]),  # FORWARD-TSN
        st.booleans(),  # a SACK is sent afterwards
        st.integers(-60, 60) | st.integers(1, 15),
    ),
    max_size=120,
)


@given(initial_tsns, steps, st.sampled_from([1, 2, 5, 1000]))
@settings(max_examples=200)
def test_any_order_agrees_with_a_set(initial: int, steps: list[tuple[bool, bool, int]], max_gap_blocks: int):
    model = Model(initial)
    received = ReceivedTsns(initial, window=WINDOW, max_gap_blocks=max_gap_blocks, max_duplicates=1000)
    duplicates = []
    for is_forward_tsn, is_reported, offset in steps:
        number = model.cumulative + offset
        if is_forward_tsn:
            assert received.advance(number & U32) == model.advance(number)
        else:
            outcome = model.add(number)
            assert received.add(number & U32) == outcome
            if outcome == DUPLICATE:
                duplicates.append(number & U32)
        assert received.cumulative == model.cumulative & U32
        if is_reported:
            assert received.gaps() == model.gaps()[: 2 * max_gap_blocks]
        assert (not received.beyond) == (not model.gaps())
        assert len(received.beyond) <= WINDOW
    assert received.take_duplicates() == duplicates
    assert received.take_duplicates() == []


@given(initial_tsns, st.permutations(range(WINDOW)))
def test_every_permutation_of_a_window_ends_without_a_gap(initial: int, order: list[int]):
    received = ReceivedTsns(initial, window=WINDOW)
    assert all(received.add((initial + offset) & U32) == NEW for offset in order)
    assert received.cumulative == (initial + WINDOW - 1) & U32
    assert received.gaps() == []
    assert all(received.add((initial + offset) & U32) == DUPLICATE for offset in order)


def test_gap_blocks_are_those_of_the_example_in_the_rfc():
    """RFC 9260 §3.3.4: 10 to 12, 14, 15 and 17 have come."""
    received = ReceivedTsns(10)
    for tsn in (10, 17, 12, 15, 11, 14):
        received.add(tsn)
    assert received.cumulative == 12
    assert received.gaps() == [2, 3, 5, 5]


def test_a_duplicate_is_listed_each_time_it_comes():
    """RFC 9260 §3.3.4: a TSN received three times is listed twice; then the list begins anew."""
    received = ReceivedTsns(19)
    assert [received.add(19) for _ in range(3)] == [NEW, DUPLICATE, DUPLICATE]
    assert received.take_duplicates() == [19, 19]
    received.add(19)
    assert received.take_duplicates() == [19]


def test_reports_are_bounded():
    received = ReceivedTsns(0, max_gap_blocks=20, max_duplicates=20)
    for tsn in range(1, 40_000, 2):
        assert received.add(tsn) == NEW
        assert received.add(tsn) == DUPLICATE
    gaps = received.gaps()
    assert (len(gaps), gaps[:4], gaps[-2:]) == (40, [2, 2, 4, 4], [40, 40])
    assert len(received.take_duplicates()) == 20
    assert len(received.beyond) <= 40_000


@pytest.mark.parametrize(
    ("distance", "outcome"),
    [
        (1, NEW),
        (40_000, NEW),
        (40_001, OUTSIDE),
        (2**31 - 1, OUTSIDE),
        (2**31, OUTSIDE),
        (2**31 + 1, DUPLICATE),
        (2**32 - 1, DUPLICATE),
        (2**32, DUPLICATE),
    ],
)
def test_a_tsn_is_taken_only_inside_the_window(distance: int, outcome: int):
    """RFC 9260 §1.6: numbers up to 2**31 - 1 behind are old, the others are new."""
    for initial in (1, 2**32 - 20, 2**31):
        assert ReceivedTsns(initial).add((initial - 1 + distance) & U32) == outcome
        assert ReceivedTsns(initial).advance((initial - 1 + distance) & U32) == outcome


def test_forward_tsn_moves_on_over_what_has_come():
    """RFC 3758 §3.6: the new cumulative TSN is 103, and 104 and 105 are there."""
    received = ReceivedTsns(103)
    for tsn in (104, 105, 107):
        received.add(tsn)
    assert received.advance(103) == NEW
    assert received.cumulative == 105
    assert received.gaps() == [2, 2]
    assert received.advance(104) == DUPLICATE
    assert received.add(103) == DUPLICATE


def test_the_short_cut_of_the_receive_loop_may_be_mixed_with_add():
    received = ReceivedTsns(2**32 - 2)
    for tsn in (2**32 - 2, 2**32 - 1):
        assert tsn == (received.cumulative + 1) & U32
        assert not received.beyond
        received.cumulative = tsn
    assert received.add(1) == NEW
    assert received.gaps() == [2, 2]
    assert received.add(0) == NEW
    assert (received.cumulative, received.gaps()) == (1, [])
