"""The model-based controller on virtual bottlenecks: it finds them, fills them, and shares them."""

from __future__ import annotations

import math

import pytest
from virtual_flow import SIZE, VirtualFlow, drive

from rtcstack.sctp.bbr import Bbr, Phase
from rtcstack.sctp.congestion import CongestionControl, NewReno
from rtcstack.testing import Link

BACK = 0.02


def bottleneck(rate: float = 1_000_000, **conditions) -> Link:
    """A link of 20 ms that carries 1 MB/s: with the way back it holds 40 packets."""
    return Link(seed=1, delay=0.02, rate=rate, overhead=0, **conditions)


def share(other: CongestionControl, queue_seconds: float, seconds: float = 30.0) -> float:
    """Let a flow join another one's full bottleneck; returns its share once it has found its place."""
    link = bottleneck(500_000, queue_seconds=queue_seconds)
    flows = [VirtualFlow(Bbr(SIZE, 10), 3 * BACK, start=3.0), VirtualFlow(other, 3 * BACK)]
    now = drive(link, flows, 5.0)
    before = [flow.delivered for flow in flows]
    drive(link, flows, seconds, now)
    ours, theirs = (flow.delivered - done for flow, done in zip(flows, before, strict=True))
    return ours / (ours + theirs)


@pytest.mark.parametrize("rate", [100_000, 1_000_000, 5_000_000])
def test_it_finds_bandwidth_and_base_round_trip(rate):
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    drive(bottleneck(rate, queue_seconds=1.0), [flow], 5.0)
    assert flow.controller.bandwidth == pytest.approx(rate, rel=0.03)
    assert flow.controller.base_rtt == pytest.approx(0.04 + SIZE / rate)
    assert flow.controller.product == pytest.approx(rate * 0.04 + SIZE, rel=0.03)


def test_the_link_is_used_and_its_queue_is_short():
    link = bottleneck(queue_seconds=1.0)
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    now = drive(link, [flow], 2.0)
    assert link.stats.max_queue_delay < 0.06  # of STARTUP: one and a half of what the path holds
    before = flow.delivered
    drive(link, [flow], 10.0, now)
    assert flow.delivered - before > 0.96 * 10.0 * 1_000_000
    assert link.stats.queue_delay(95) < 0.012
    assert flow.lost == 0


def test_startup_ends_without_a_queue_when_the_bandwidth_stops_growing():
    """A policer instead of a queue: no round trip is ever longer, but nothing more gets through."""
    link = bottleneck(queue_seconds=0.003)
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    drive(link, [flow], 2.0)
    assert flow.controller.phase is not Phase.STARTUP
    assert flow.controller.bandwidth == pytest.approx(1_000_000, rel=0.1)


@pytest.mark.parametrize(("loss", "least"), [(0.01, 0.94), (0.05, 0.85)])
def test_random_loss_costs_what_is_lost_and_no_more(loss, least):
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    drive(bottleneck(loss=loss), [flow], 15.0)
    assert flow.delivered > least * 15.0 * 1_000_000


def test_loss_beyond_a_fifth_bounds_the_flight():
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    drive(bottleneck(loss=0.3), [flow], 5.0)
    assert flow.controller.bound < math.inf
    assert flow.delivered > 0


@pytest.mark.parametrize("rate", [250_000, 4_000_000])
def test_it_follows_a_path_whose_bandwidth_changes(rate):
    link = bottleneck(queue_seconds=1.0)
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    now = drive(link, [flow], 3.0)
    link.change(rate=rate)
    now = drive(link, [flow], 5.0, now)
    assert flow.controller.bandwidth == pytest.approx(rate, rel=0.05)


def test_it_follows_a_path_that_becomes_longer():
    """The base round trip is forgotten after ten seconds, and measured anew with the queue kept empty."""
    link = bottleneck(queue_seconds=1.0)
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    now = drive(link, [flow], 3.0)
    link.change(delay=0.1)
    phases = set()
    while now < 16.0:
        now = drive(link, [flow], 0.02, now)
        phases.add(flow.controller.phase)
    assert flow.controller.base_rtt == pytest.approx(0.121, rel=0.02)
    assert phases >= {Phase.PROBE_RTT, Phase.CRUISE, Phase.UP, Phase.DOWN}
    before = flow.delivered
    drive(link, [flow], 5.0, now)
    assert flow.delivered - before > 0.95 * 5.0 * 1_000_000


def test_a_slow_application_does_not_lower_the_estimate():
    link = bottleneck(queue_seconds=1.0)
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    now = drive(link, [flow], 3.0)
    flow.demand = 50_000
    now = drive(link, [flow], 9.0, now)
    assert flow.controller.bandwidth > 900_000


def test_an_application_that_was_always_slow_stays_in_startup():
    flow = VirtualFlow(Bbr(SIZE, 10), BACK, demand=50_000)
    drive(bottleneck(), [flow], 5.0)
    assert flow.controller.phase is Phase.STARTUP
    assert flow.rtts[-1] == pytest.approx(0.041)


@pytest.mark.parametrize("queue_seconds", [0.04, 0.08, 0.2])
def test_it_shares_a_bottleneck_with_newreno(queue_seconds):
    assert 0.25 <= share(NewReno(SIZE, 10), queue_seconds) <= 0.75


def test_it_shares_a_bottleneck_with_itself():
    assert 0.3 <= share(Bbr(SIZE, 10), 0.08) <= 0.7


def test_one_timeout_keeps_the_model_and_two_begin_anew():
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    drive(bottleneck(), [flow], 3.0)
    controller = flow.controller
    window = controller.cwnd
    controller.on_timeout(3.0, flow.flight, 1)
    assert controller.cwnd == 4 * SIZE
    assert controller.bandwidth > 0
    controller.on_spurious(3.1)
    assert controller.cwnd == window
    controller.on_timeout(4.0, flow.flight, 2)
    assert (controller.phase, controller.bandwidth, controller.cwnd) == (Phase.STARTUP, 0.0, SIZE)


def test_it_recovers_from_a_blackout():
    link = bottleneck(queue_seconds=1.0, blackouts=[(3.0, 8.0)])
    flow = VirtualFlow(Bbr(SIZE, 10), BACK)
    now = drive(link, [flow], 12.0)
    before = flow.delivered
    drive(link, [flow], 3.0, now)
    assert flow.delivered - before > 0.9 * 3.0 * 1_000_000


def test_samples_without_a_duration_say_nothing():
    controller = Bbr(SIZE, 10)
    controller.on_acknowledged(1.0, SIZE, 0, 0, 0.0, (1.0, 0, 1.0, 1.0, False), SIZE, True)
    assert controller.bandwidth == 0.0
    assert controller.product == math.inf
