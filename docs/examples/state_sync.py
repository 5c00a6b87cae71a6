"""The state of a game at 60 Hz: snapshots that may be lost, events that may not, smooth in between.

A server moves a ball; a client sees it 100 ms late, but smoothly, over a path that loses every tenth
datagram. It runs in virtual time on rtcstack's own test network; over real sockets the loop is the same.
"""

from __future__ import annotations

import math
import struct
from collections import deque

from rtcstack.testing import Pair

RATE = 60
"""Snapshots a second."""

DELAY = 0.1
"""Seconds that the client lags behind: three lost snapshots in a row do not show."""

snapshot = struct.Struct("<Iff")
"""Number of the tick, x, y."""


def ball(time: float) -> tuple[float, float]:
    """Where the ball is at that time."""
    return math.cos(time), math.sin(2 * time)


class Replica:
    """The client's picture of the ball: positions between the snapshots that have come."""

    def __init__(self) -> None:
        self._known: deque[tuple[float, float, float]] = deque(maxlen=RATE)

    def take(self, packet: bytes) -> None:
        """Keep a snapshot; one that was overtaken is of no use any more."""
        tick, x, y = snapshot.unpack(packet)
        if not self._known or tick / RATE > self._known[-1][0]:
            self._known.append((tick / RATE, x, y))

    def at(self, time: float) -> tuple[float, float] | None:
        """Interpolate between the snapshots around that time; None before the first has come."""
        if not self._known:
            return None
        before = next((known for known in reversed(self._known) if known[0] <= time), self._known[0])
        after = next((known for known in self._known if known[0] > time), self._known[-1])
        span = after[0] - before[0]
        share = (time - before[0]) / span if span > 0 else 0.0
        return before[1] + share * (after[1] - before[1]), before[2] + share * (after[2] - before[2])


def main() -> None:
    """Play ten seconds and say how well the client saw them."""
    pair = Pair(seed=1, delay=0.03, jitter=0.01, loss=0.1)
    state = pair.open_channel("state", ordered=False, maxRetransmits=0, record=False)
    events = pair.open_channel("events", record=False)
    replica = Replica()
    goals, worst = 0, 0.0
    for tick in range(10 * RATE):
        now = tick / RATE
        state.left.put_packet(snapshot.pack(tick, *ball(now)))
        if tick % (2 * RATE) == 0:
            events.left.put_packet(f"goal {tick // (2 * RATE) + 1}")
        pair.run(1 / RATE)
        while state.right.get_available_packet_count():
            replica.take(state.right.get_packet())
        while events.right.get_available_packet_count():
            print(events.right.get_packet().decode())
            goals += 1
        seen, real = replica.at(now - DELAY), ball(now - DELAY)
        if tick > RATE and seen is not None:
            worst = max(worst, math.dist(seen, real))
    lost = pair.left_to_right.stats.lost
    print(f"{lost} datagrams lost, {goals} of 5 goals told, the ball at most {worst:.3f} off")


if __name__ == "__main__":
    main()
