"""The one-way link: each condition alone, and all of them against a naive model."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.errors import InvalidParameter
from rtcstack.testing import BurstLoss, Link, drop_numbers


def numbered(count: int, size: int = 100) -> list[bytes]:
    return [i.to_bytes(4, "big").ljust(size, b".") for i in range(count)]


def arrivals(link: Link) -> list[tuple[float, list[bytes]]]:
    """Take everything, at each of the link's own deadlines."""
    result = []
    while link.deadline < math.inf:
        now = link.deadline
        result.append((now, link.take(now)))
    return result


def test_a_batch_arrives_whole_after_the_delay_and_not_before():
    link = Link(delay=0.05)
    packets = numbered(3)
    link.send(packets, 1.0)
    assert link.deadline == 1.05
    assert link.take(1.049) == []
    assert link.take(1.05) == packets
    assert link.deadline == math.inf
    assert (link.stats.sent, link.stats.sent_bytes, link.stats.arrived) == (3, 300, 3)


def test_the_callers_list_is_not_kept():
    link = Link()
    packets = numbered(2)
    link.send(packets, 0.0)
    packets.clear()
    assert link.take(0.0) == numbered(2)


def test_an_empty_batch_changes_nothing():
    link = Link(delay=0.1)
    link.send([], 0.0)
    assert link.deadline == math.inf


def test_loss_is_the_same_for_the_same_seed_and_another_for_another():
    def survivors(seed: int) -> list[bytes]:
        link = Link(seed=seed, loss=0.3)
        link.send(numbered(2000), 0.0)
        return link.take(0.0)

    assert survivors(1) == survivors(1) != survivors(2)
    assert 1320 <= len(survivors(1)) <= 1480


def test_loss_of_one_loses_everything():
    link = Link(loss=1.0)
    link.send(numbered(50), 0.0)
    assert link.deadline == math.inf
    assert link.stats.lost == 50


def test_bursts_have_the_average_loss_and_length_that_were_asked_for():
    link = Link(seed=5, burst_loss=BurstLoss.average(0.05, 8))
    link.send(numbered(100_000, 4), 0.0)
    seen = [int.from_bytes(packet, "big") for packet in link.take(0.0)]
    gaps = [b - a - 1 for a, b in pairwise(seen) if b - a > 1]
    assert link.stats.lost / 100_000 == pytest.approx(0.05, rel=0.15)
    assert sum(gaps) / len(gaps) == pytest.approx(8, rel=0.15)


def test_a_rate_spaces_datagrams_by_their_size_and_overhead():
    link = Link(delay=0.1, rate=10_000, queue_seconds=10)
    link.send(numbered(3, 72), 0.0)  # 72 + 28 bytes at 10 kB/s: 10 ms each
    assert [round(at, 9) for at, _ in arrivals(link)] == [0.11, 0.12, 0.13]
    assert list(link.stats.queue_delays) == pytest.approx([0.0, 0.01, 0.02])
    link.send(numbered(1, 72), 1.0)  # the queue has emptied meanwhile
    assert link.deadline == pytest.approx(1.11)


def test_overhead_is_a_choice():
    link = Link(rate=10_000, overhead=0)
    link.send(numbered(1, 100), 0.0)
    assert link.deadline == pytest.approx(0.01)


def test_a_full_queue_drops_the_newest_by_waiting_time():
    link = Link(rate=10_000, queue_seconds=0.025)
    link.send(numbered(10, 72), 0.0)  # waits of 0, 10 and 20 ms are allowed, 30 are not
    assert link.stats.dropped_queue == 7
    assert [packet for _, batch in arrivals(link) for packet in batch] == numbered(3, 72)


def test_a_full_queue_drops_the_newest_by_bytes():
    link = Link(rate=10_000, queue_bytes=350, queue_seconds=math.inf)
    link.send(numbered(10, 72), 0.0)
    assert link.stats.dropped_queue == 7


def test_a_datagram_larger_than_the_queue_passes_while_the_link_is_idle():
    link = Link(rate=10_000, queue_bytes=50)
    link.send(numbered(2, 72), 0.0)
    assert (len(arrivals(link)), link.stats.dropped_queue) == (1, 1)


def test_queue_delay_percentiles():
    link = Link(rate=10_000, queue_seconds=10)
    assert (link.stats.queue_delay(95), link.stats.max_queue_delay) == (0.0, 0.0)
    link.send(numbered(100, 72), 0.0)  # waits of 0, 10, ... 990 ms
    assert link.stats.queue_delay(95) == pytest.approx(0.94)
    assert link.stats.queue_delay(0) == 0.0
    assert link.stats.queue_delay(100) == link.stats.max_queue_delay == pytest.approx(0.99)


def test_larger_datagrams_than_the_mtu_vanish():
    link = Link(mtu=1200)
    link.send([bytes(1200), bytes(1201)], 0.0)
    assert link.take(0.0) == [bytes(1200)]
    assert link.stats.dropped_mtu == 1


def test_nothing_sent_during_a_blackout_arrives():
    link = Link(delay=0.5, blackouts=[(1.0, 2.0)])
    for at in (0.9, 1.0, 1.9, 2.0):
        link.send([str(at).encode()], at)
    assert link.take(9.0) == [b"0.9", b"2.0"]
    assert link.stats.dropped_blackout == 2


def test_a_test_can_drop_chosen_datagrams():
    link = Link(drop=drop_numbers(1, 3))
    link.send(numbered(2), 0.0)
    link.send(numbered(3), 1.0)
    assert link.take(1.0) == [numbered(1)[0], numbered(3)[0], numbered(3)[2]]
    assert link.stats.dropped_filter == 2
    link.change(drop=lambda datagram, number: datagram.startswith(b"secret"))
    link.send([b"secret", b"public"], 2.0)
    assert link.take(2.0) == [b"public"]


def test_jitter_keeps_the_order_unless_told_otherwise():
    steady = Link(seed=3, delay=0.01, jitter=0.05)
    loose = Link(seed=3, delay=0.01, jitter=0.05, jitter_reorders=True)
    packets = numbered(200)
    for i, packet in enumerate(packets):
        steady.send([packet], i * 0.001)
        loose.send([packet], i * 0.001)
    assert steady.take(9.0) == packets
    overtaken = loose.take(9.0)
    assert sorted(overtaken) == packets != overtaken


def test_jitter_stays_within_its_bound():
    link = Link(seed=3, delay=0.01, jitter=0.05)
    for i in range(100):
        link.send(numbered(1), i * 1.0)
        assert i + 0.01 <= link.deadline <= i + 0.06
        link.take(link.deadline)


def test_reordered_datagrams_are_overtaken_by_the_rest_that_keeps_its_order():
    link = Link(seed=9, delay=0.02, reorder=0.5, reorder_delay=0.1)
    packets = numbered(200)
    link.send(packets, 0.0)
    at_once = link.take(0.02)
    assert at_once == sorted(at_once)
    assert len(at_once) + link.stats.reordered == 200
    late = link.take(0.12)
    assert sorted(at_once + late) == packets
    assert late != sorted(late)


def test_duplicates_are_counted_and_arrive_twice():
    link = Link(duplicate=1.0)
    link.send([b"a", b"b"], 0.0)
    assert link.take(0.0) == [b"a", b"a", b"b", b"b"]
    assert (link.stats.duplicated, link.stats.arrived) == (2, 4)


def test_a_delay_that_shrinks_keeps_the_order():
    link = Link(delay=0.3)
    link.send([b"slow"], 0.0)
    link.change(delay=0.001)
    link.send([b"quick"], 0.1)
    assert link.take(0.299) == []
    assert link.take(0.3) == [b"slow", b"quick"]


def test_routes_come_back_with_their_datagrams_in_lists_as_long_as_they_share_one():
    link = Link(delay=0.01)
    first = (("10.0.0.1", 1), ("10.0.0.2", 2))
    second = (("10.0.0.3", 3), ("10.0.0.2", 2))
    link.send([b"a"], 0.0, first)
    link.send([b"b"], 0.0, first)
    link.send([b"c"], 0.0, second)
    link.send([b"d"], 0.0, first)
    assert link.take_routed(0.01) == [(first, [b"a", b"b"]), (second, [b"c"]), (first, [b"d"])]


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": 1.5},
        {"loss": -0.1},
        {"reorder": "often"},
        {"rate": 0},
        {"delay": -1.0},
        {"queue_bytes": -1},
        {"burst_loss": BurstLoss(2.0, 0.1)},
        {"burst_loss": 0.5},
        {"latency": 0.1},
    ],
)
def test_a_wrong_condition_is_refused_and_changes_nothing(wrong):
    with pytest.raises(InvalidParameter):
        Link(**wrong)
    link = Link(delay=0.25)
    with pytest.raises(InvalidParameter):
        link.change(
            delay=0.5, **{name: value for name, value in wrong.items() if name != "delay"} or {"mtu": -1}
        )
    assert link.delay == 0.25


def test_bursts_that_cannot_be_are_refused():
    with pytest.raises(InvalidParameter):
        BurstLoss.average(1.0, 5)
    with pytest.raises(InvalidParameter):
        BurstLoss.average(0.1, 0.5)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=20),
    st.integers(0, 30),
    st.one_of(st.none(), st.integers(10, 200)),
)
def test_a_link_without_chance_is_a_queue_and_a_shift_in_time(schedule, delay_ms, rate_per_ms):
    """Against a naive model: a datagram waits for the one before it, then travels."""
    link = Link(
        delay=delay_ms / 1000,
        rate=math.inf if rate_per_ms is None else rate_per_ms * 1000,
        queue_seconds=math.inf,
        overhead=0,
    )
    expected: list[tuple[float, bytes]] = []
    now = free_at = 0.0
    number = 0
    for gap_ms, count in schedule:
        now += gap_ms / 1000
        batch = numbered(number + count, 50)[number:]
        number += count
        link.send(batch, now)
        for packet in batch:
            free_at = max(free_at, now) + (0.0 if rate_per_ms is None else 50 / (rate_per_ms * 1000))
            expected.append((free_at + delay_ms / 1000, packet))
    seen = [(at, packet) for at, batch in arrivals(link) for packet in batch]
    assert [packet for _, packet in seen] == [packet for _, packet in expected]
    assert [at for at, _ in seen] == pytest.approx([at for at, _ in expected])


@settings(max_examples=100)
@given(
    st.integers(0, 1000),
    st.fixed_dictionaries(
        {
            "delay": st.floats(0, 0.2),
            "jitter": st.floats(0, 0.1),
            "jitter_reorders": st.booleans(),
            "loss": st.floats(0, 0.5),
            "reorder": st.floats(0, 1),
            "duplicate": st.floats(0, 0.5),
            "rate": st.sampled_from([math.inf, 5_000, 100_000]),
            "burst_loss": st.sampled_from([None, BurstLoss(0.1, 0.3)]),
        }
    ),
    st.integers(0, 200),
)
def test_every_datagram_is_accounted_for_and_time_never_runs_backwards(seed, conditions, count):
    link = Link(seed=seed, **conditions)
    for i, packet in enumerate(numbered(count)):
        link.send([packet], i * 0.002)
    times = [at for at, batch in arrivals(link) for _ in batch]
    assert times == sorted(times)
    stats = link.stats
    assert stats.sent == count
    assert stats.arrived == len(times) == count - stats.lost - stats.dropped_queue + stats.duplicated
