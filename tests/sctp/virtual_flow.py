"""A naive sender that never lacks data, to watch a congestion controller on a virtual bottleneck."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from rtcstack.sctp.congestion import CongestionControl
from rtcstack.testing import Link

SIZE = 1000
TIMEOUT = 1.0


class VirtualFlow:
    """Sends packets of SIZE bytes as its controller lets it; what a later packet overtakes is lost.

    The link must keep the order, its overhead be 0. Lost packets are not repeated: only amounts matter.

    back    seconds that an acknowledgement takes.
    demand  bytes a second that the application offers; math.inf = more than the path carries.
    """

    def __init__(
        self, controller: CongestionControl, back: float, start: float = 0.0, demand: float = math.inf
    ):
        self.controller = controller
        self.back = back
        self.demand = demand
        self.flight = 0
        self.delivered = 0
        self.lost = 0
        self.rtts: list[float] = []
        self.windows: list[tuple[float, int]] = []
        self.wakes_at = start
        self._next_number = 0
        self._outstanding: deque[tuple[int, tuple[float, int, float, float, bool]]] = deque()
        self._delivered_at = start
        self._first_sent_at = start
        self._recovery_end = 0
        self._in_recovery = False
        self._limited = False
        self._heard_at = start
        self._timeouts = 0
        self._acknowledgements: deque[tuple[float, int]] = deque()

    def take_packets(self, now: float) -> list[bytes]:
        """Build what may be sent at this instant, and set the time at which to ask again."""
        controller = self.controller
        if now < self.wakes_at:
            return []
        packets = []
        while self.flight + SIZE <= controller.cwnd and now >= self.wakes_at:
            if not self._outstanding:
                self._first_sent_at = self._delivered_at = self._heard_at = now
            sample = (now, self.delivered, self._delivered_at, self._first_sent_at, self.demand < math.inf)
            self._outstanding.append((self._next_number, sample))
            packets.append(self._next_number.to_bytes(8, "big").ljust(SIZE, b"."))
            self._next_number += 1
            self.flight += SIZE
            controller.on_sent(now, SIZE, self.flight)
            rate = min(controller.pacing_rate, self.demand)
            self.wakes_at = max(self.wakes_at, now - 0.001) + SIZE / rate
        self._limited = self.flight + SIZE > controller.cwnd
        return packets

    def arrived(self, packets: list[bytes], now: float) -> None:
        """Let the receiver acknowledge packets."""
        self._acknowledgements += [(now + self.back, int.from_bytes(packet[:8], "big")) for packet in packets]

    def receive(self, now: float) -> None:
        """Take the acknowledgements that have come back."""
        while self._acknowledgements and self._acknowledgements[0][0] <= now:
            self._acknowledge(self._acknowledgements.popleft()[1], now)

    def _acknowledge(self, number: int, now: float) -> None:
        outstanding = self._outstanding
        lost_numbers = []
        flight_before = self.flight
        while outstanding and outstanding[0][0] < number:
            lost_numbers.append(outstanding.popleft()[0])
        if not outstanding or outstanding[0][0] != number:
            return
        _, sample = outstanding.popleft()
        lost = SIZE * len(lost_numbers)
        self.lost += lost
        self.flight -= lost + SIZE
        self.delivered += SIZE
        self._delivered_at = self._heard_at = now
        self._first_sent_at = sample[0]
        self._timeouts = 0
        controller = self.controller
        if self._in_recovery and number >= self._recovery_end:
            self._in_recovery = False
            controller.on_recovered(now)
        if lost_numbers and lost_numbers[-1] >= self._recovery_end:
            self._in_recovery = True
            self._recovery_end = self._next_number
            controller.on_loss(now, flight_before, lost)
        rtt = now - sample[0]
        controller.on_acknowledged(now, SIZE, lost, self.flight, rtt, sample, self.delivered, self._limited)
        self.rtts.append(rtt)
        self.windows.append((now, controller.cwnd))

    @property
    def deadline(self) -> float:
        """When an acknowledgement comes, more may be sent, or what is outstanding is given up."""
        wakes_at = self.wakes_at if self.flight + SIZE <= self.controller.cwnd else math.inf
        gives_up_at = self._heard_at + TIMEOUT * 2**self._timeouts if self._outstanding else math.inf
        hears_at = self._acknowledgements[0][0] if self._acknowledgements else math.inf
        return min(wakes_at, gives_up_at, hears_at)

    def handle_timeout(self, now: float) -> None:
        """Count everything outstanding as lost if nothing was heard for too long."""
        if self._outstanding and now >= self._heard_at + TIMEOUT * 2**self._timeouts:
            self._timeouts += 1
            self.controller.on_timeout(now, self.flight, self._timeouts)
            self.lost += self.flight
            self.flight = 0
            self._outstanding.clear()
            self._recovery_end = self._next_number
            self._in_recovery = False


def drive(link: Link, flows: Sequence[VirtualFlow], seconds: float, now: float = 0.0) -> float:
    """Let flows share a link for some seconds; returns the time at the end."""
    end = now + seconds
    names = [((str(i), 0), ("", 0)) for i in range(len(flows))]
    while now < end:
        for name, flow in zip(names, flows, strict=True):
            packets = flow.take_packets(now)
            if packets:
                link.send(packets, now, name)
        now = max(now, min(end, link.deadline, *[flow.deadline for flow in flows]))
        for name, packets in link.take_routed(now):
            flows[names.index(name)].arrived(packets, now)
        for flow in flows:
            flow.receive(now)
            flow.handle_timeout(now)
    return now
