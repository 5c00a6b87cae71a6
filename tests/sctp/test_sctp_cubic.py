"""CUBIC against the closed form of its curve, and HyStart++ on a path whose queue builds up."""

from __future__ import annotations

import math

import pytest
from virtual_flow import SIZE, VirtualFlow, drive

from rtcstack.sctp.cubic import Cubic, HyStart
from rtcstack.testing import Link

MTU = 1000


class Flow:
    """A sender that always fills the window of a controller, one acknowledgement a packet."""

    def __init__(self, controller: Cubic, rtt: float) -> None:
        self.controller = controller
        self.rtt = rtt
        self.now = 0.0
        self.delivered = 0

    def acknowledge(self, limited: bool = True) -> None:
        """Acknowledge one packet, at the time at which it would come."""
        controller = self.controller
        self.now += self.rtt * MTU / controller.cwnd
        sent = (self.now - self.rtt, max(self.delivered - controller.cwnd, 0), 0.0, 0.0, False)
        self.delivered += MTU
        controller.on_acknowledged(self.now, MTU, 0, controller.cwnd, self.rtt, sent, self.delivered, limited)

    def lose(self) -> None:
        """Lose a packet and recover at once, so that the window stands at ssthresh."""
        self.controller.on_loss(self.now, self.controller.cwnd, MTU)
        self.controller.on_recovered(self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.acknowledge()

    def grow_to(self, window: int) -> None:
        while self.controller.cwnd < window:
            self.acknowledge()


def test_slow_start_doubles_the_window_in_each_round_trip():
    flow = Flow(Cubic(MTU, 10), rtt=0.1)
    for _ in range(10 + 20 + 40):
        flow.acknowledge()
    assert flow.controller.cwnd == 80 * MTU


def test_a_loss_leaves_seven_tenths():
    """RFC 9438 §4.6: ssthresh = flight x 0.7."""
    flow = Flow(Cubic(MTU, 100), rtt=0.1)
    flow.lose()
    assert flow.controller.cwnd == flow.controller.ssthresh == 70 * MTU


@pytest.mark.parametrize("rtt", [0.1, 0.2])
def test_the_window_follows_the_closed_form(rtt):
    """RFC 9438 §4.2: W(t) = C (t - K)^3 + W_max, K = cbrt((W_max - cwnd_epoch) / C)."""
    flow = Flow(Cubic(MTU, 1000), rtt)
    flow.lose()
    flow.acknowledge()
    start = flow.now
    time_to_plateau = math.cbrt(300 / 0.4)
    for seconds in (2.0, 5.0, 8.0, 9.0, 10.0, 12.0, 15.0):
        flow.run(start + seconds - flow.now)
        expected = 0.4 * (seconds - time_to_plateau) ** 3 + 1000
        assert flow.controller.cwnd / MTU == pytest.approx(expected, rel=0.01)


def test_the_window_follows_newreno_where_that_is_faster():
    """RFC 9438 §4.3: W_est grows by 0.53 packets a round trip, by 1 above the old window."""
    flow = Flow(Cubic(MTU, 20), rtt=0.01)
    flow.lose()
    assert flow.controller.cwnd == 14 * MTU
    flow.run(0.1)  # ten round trips
    assert flow.controller.cwnd / MTU == pytest.approx(14 + 10 * 9 / 17, abs=0.4)
    flow.grow_to(20 * MTU)
    flow.run(0.1)
    assert flow.controller.cwnd / MTU == pytest.approx(30, abs=0.5)


def test_the_window_never_grows_by_more_than_half_in_a_round_trip():
    """RFC 9438 §4.4: the target is at most 1.5 times the window."""
    flow = Flow(Cubic(MTU, 10), rtt=3.0)
    flow.lose()
    flow.run(30.0)
    before = flow.controller.cwnd
    flow.run(3.0)
    assert flow.controller.cwnd <= 1.66 * before  # 1.5 compounded over the packets of a window


def test_fast_convergence_lowers_the_plateau_of_a_flow_that_shrinks():
    """RFC 9438 §4.7: a second loss below W_max makes the plateau W (1 + 0.7) / 2."""
    flow = Flow(Cubic(MTU, 1000), rtt=0.1)
    flow.lose()
    flow.lose()  # at 700 packets: the plateau is 595, the window 490
    time_to_plateau = math.cbrt((595 - 490) / 0.4)
    flow.acknowledge()
    start = flow.now
    flow.run(start + time_to_plateau - flow.now)
    assert flow.controller.cwnd / MTU == pytest.approx(595, rel=0.01)


def test_the_curve_stands_still_while_the_application_limits():
    """RFC 9438 §5.8."""
    busy, lazy = Flow(Cubic(MTU, 1000), rtt=0.1), Flow(Cubic(MTU, 1000), rtt=0.1)
    for flow in (busy, lazy):
        flow.lose()
        flow.run(2.0)
    before = lazy.controller.cwnd
    end = lazy.now + 10.0
    while lazy.now < end:
        lazy.acknowledge(limited=False)
    assert lazy.controller.cwnd == before
    busy.run(1.0)
    lazy.run(1.0)
    assert lazy.controller.cwnd == pytest.approx(busy.controller.cwnd, abs=2 * MTU)


def test_a_timeout_starts_slowly_and_then_flat():
    """RFC 9438 §4.8: after a time-out K is 0 and W_max the window at which avoidance begins."""
    flow = Flow(Cubic(MTU, 1000), rtt=0.1)
    flow.controller.on_timeout(flow.now, flow.controller.cwnd, 1)
    assert (flow.controller.cwnd, flow.controller.ssthresh) == (4 * MTU, 700 * MTU)
    flow.grow_to(700 * MTU)
    flow.acknowledge()
    start = flow.now
    flow.run(3.0)
    assert flow.controller.cwnd / MTU == pytest.approx(
        max(700 + 0.4 * (flow.now - start) ** 3, 700 + 30 * 9 / 17), rel=0.01
    )


def test_a_spurious_loss_is_undone_with_its_curve():
    """RFC 9438 §4.9."""
    flow, twin = Flow(Cubic(MTU, 1000), rtt=0.1), Flow(Cubic(MTU, 1000), rtt=0.1)
    for each in (flow, twin):
        each.lose()
        each.run(3.0)
    flow.lose()
    flow.controller.on_spurious(flow.now)
    assert flow.controller.cwnd == twin.controller.cwnd
    for each in (flow, twin):
        each.run(4.0)
    assert flow.controller.cwnd == pytest.approx(twin.controller.cwnd, rel=0.001)


def test_hystart_leaves_slow_start_without_a_loss_when_the_queue_lasts():
    """RFC 9406 §4.3: a round whose least RTT rises slows growth; after five such rounds ssthresh = cwnd."""
    flow = VirtualFlow(Cubic(SIZE, 10), back=0.04)
    drive(Link(delay=0.04, rate=1_000_000, overhead=0, queue_seconds=2.0), [flow], 5.0)  # holds 80 packets
    assert flow.lost == 0
    assert 160 * SIZE <= flow.controller.ssthresh <= 1000 * SIZE
    assert flow.controller.cwnd >= flow.controller.ssthresh


def test_hystart_goes_back_to_slow_start_when_the_round_trip_shrinks_again():
    """RFC 9406 §4.3: an RTT below the baseline shows that the exit was wrong."""
    watch = HyStart()
    for rtt in [0.1] * 8:
        watch.measured(rtt)
    assert not watch.begin_round()
    for rtt in [0.12] * 8:
        watch.measured(rtt)
    assert watch.growth == 4
    assert not watch.begin_round()
    for rtt in [0.1] * 8:
        watch.measured(rtt)
    assert watch.growth == 1


def test_hystart_needs_eight_samples_a_round():
    watch = HyStart()
    for rtt in [0.1] * 8:
        watch.measured(rtt)
    watch.begin_round()
    for rtt in [0.2] * 7:
        watch.measured(rtt)
    assert watch.growth == 1
    watch.measured(0.2)
    assert watch.growth == 4


@pytest.mark.parametrize(("rise", "growth"), [(0.003, 1), (0.0041, 4)])
def test_hystart_ignores_jitter_of_less_than_four_milliseconds(rise, growth):
    watch = HyStart()
    for rtt in [0.01] * 8:
        watch.measured(rtt)
    watch.begin_round()
    for rtt in [0.01 + rise] * 8:
        watch.measured(rtt)
    assert watch.growth == growth


def test_random_loss_gives_the_window_of_the_response_function():
    """RFC 9438 §4.3: in the Reno-friendly region the average window is that of NewReno, 1.22 / sqrt(p)."""
    flow = VirtualFlow(Cubic(SIZE, 10), back=0.01)
    drive(Link(seed=1, delay=0.01, loss=0.01, overhead=0), [flow], 120.0)
    assert flow.delivered / 120.0 * 0.02 / SIZE == pytest.approx(1.22 / math.sqrt(0.01), rel=0.15)
