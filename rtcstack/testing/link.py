"""A one-way network link in virtual time: what happens to datagrams between two hosts."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, NamedTuple, TypedDict, Unpack

from rtcstack.errors import InvalidParameter

__all__ = ["BurstLoss", "Conditions", "Link", "LinkStats", "drop_numbers"]


class BurstLoss(NamedTuple):
    """Loss in bursts: the Gilbert-Elliott model, a link that is in a good or in a bad state.

    enter    probability that a good link turns bad, at each datagram.
    leave    probability that a bad link turns good, at each datagram: a burst lasts 1 / leave on average.
    loss     probability that a bad link loses a datagram; a good one loses as `Conditions.loss` says.
    """

    enter: float
    leave: float
    loss: float = 1.0

    @classmethod
    def average(cls, loss: float, length: float) -> BurstLoss:
        """Make the model that loses a given share of the datagrams in bursts of a given length.

        loss      share of all datagrams that is lost, 0 to below 1.
        length    datagrams lost in a row, on average, at least 1.
        Raises    InvalidParameter if a value is out of its range.
        """
        if not 0 <= loss < 1 or length < 1:
            raise InvalidParameter(
                f"loss={loss!r}, length={length!r}: a share below 1, at least 1 datagram in a row"
            )
        leave = 1 / length
        return cls(min(1.0, leave * loss / (1 - loss)), leave)


class Conditions(TypedDict, total=False):
    """How a link treats datagrams: the keyword arguments of `Link`, `VirtualNetwork` and `Pair`."""

    delay: float
    """Seconds that every datagram takes, one way. Default 0."""
    jitter: float
    """Seconds at most that a datagram takes longer, evenly spread from 0. Default 0."""
    jitter_reorders: bool
    """Whether jitter lets a datagram overtake another. Default False, as most real jitter is a queue's."""
    loss: float
    """Probability that a datagram is lost, 0 to 1. Default 0."""
    burst_loss: BurstLoss | None
    """Loss in bursts on top of `loss`. Default None."""
    reorder: float
    """Probability that a datagram is held back for a while, so that later ones overtake it. Default 0."""
    reorder_delay: float
    """Seconds at most that such a datagram is held back, evenly spread from 0. Default 0.01."""
    duplicate: float
    """Probability that a datagram arrives twice. Default 0."""
    rate: float
    """Bytes a second that the link carries, headers included; math.inf for no limit, the default."""
    overhead: int
    """Bytes that the network's headers add to each datagram, counted by `rate`. Default 28: IPv4 and UDP."""
    queue_seconds: float
    """Longest wait before a link with a `rate`, seconds; a datagram that would wait longer is dropped.

    Default 0.2: about what a home router holds.
    """
    queue_bytes: int | None
    """Bytes that may wait before a link with a `rate`, headers included; None for no limit, the default."""
    mtu: int | None
    """Largest datagram, bytes without `overhead`; larger ones vanish. None for no limit, the default."""
    blackouts: Sequence[tuple[float, float]]
    """Intervals (from, to) of virtual time, seconds; what is sent inside one is lost. Default none."""
    drop: Callable[[bytes, int], bool] | None
    """Called with each datagram and its number on this link, from 0: True drops it. Default None."""


def drop_numbers(*numbers: int) -> Callable[[bytes, int], bool]:
    """Make a `drop` condition that loses the datagrams of these numbers, counted from 0 as they are sent."""
    chosen = frozenset(numbers)
    return lambda datagram, number: number in chosen


@dataclass(slots=True)
class LinkStats:
    """What a link has done so far, in datagrams if nothing else is said."""

    sent: int = 0
    sent_bytes: int = 0
    lost: int = 0
    """By `loss` or `burst_loss`."""
    dropped_queue: int = 0
    dropped_mtu: int = 0
    dropped_blackout: int = 0
    dropped_filter: int = 0
    """By `drop`."""
    reordered: int = 0
    duplicated: int = 0
    arrived: int = 0
    """Taken at the far end, duplicates included."""
    queue_delays: array[float] = field(default_factory=lambda: array("d"), repr=False)
    """Seconds that each datagram waited before a link with a `rate`, in sending order."""

    @property
    def max_queue_delay(self) -> float:
        """The longest wait before the link, seconds."""
        return max(self.queue_delays, default=0.0)

    def queue_delay(self, percent: float) -> float:
        """Tell which wait before the link, in seconds, this percentage of the datagrams did not exceed.

        percent    0 to 100.
        """
        waits = sorted(self.queue_delays)
        return waits[max(0, math.ceil(len(waits) * percent / 100) - 1)] if waits else 0.0


_PROBABILITIES = frozenset({"loss", "reorder", "duplicate"})
_NOT_NEGATIVE = frozenset(
    {"delay", "jitter", "reorder_delay", "overhead", "queue_seconds", "queue_bytes", "mtu"}
)


class Link:
    """Carries datagrams one way, in virtual time, and spoils them as told; it knows no socket and no clock.

    A datagram meets, in this order: `drop`, `mtu`, `blackouts`, the queue before a limited `rate`, loss,
    duplication, and the way itself (`delay`, `jitter`, `reorder`). What is lost has used the rate.
    Datagrams keep their order unless `reorder` or `jitter_reorders` says otherwise.

    seed          of the link's own random numbers: the same seed and the same calls give the same result.
    conditions    see `Conditions`; each is an attribute too, to be changed with `change`.
    Raises        InvalidParameter if a condition is out of its range.
    """

    def __init__(self, *, seed: int | str = 0, **conditions: Unpack[Conditions]) -> None:
        self.delay: float = 0.0
        self.jitter: float = 0.0
        self.jitter_reorders: bool = False
        self.loss: float = 0.0
        self.burst_loss: BurstLoss | None = None
        self.reorder: float = 0.0
        self.reorder_delay: float = 0.01
        self.duplicate: float = 0.0
        self.rate: float = math.inf
        self.overhead: int = 28
        self.queue_seconds: float = 0.2
        self.queue_bytes: int | None = None
        self.mtu: int | None = None
        self.blackouts: Sequence[tuple[float, float]] = ()
        self.drop: Callable[[bytes, int], bool] | None = None
        self.stats = LinkStats()
        self.deadline = math.inf
        self._random = random.Random(seed).random
        self._numbers = 0
        self._batches = 0
        self._on_the_way: list[tuple[float, int, Any, list[bytes]]] = []
        self._free_at = -math.inf
        self._latest_arrival = -math.inf
        self._in_burst = False
        self.change(**conditions)

    def change(self, **conditions: Unpack[Conditions]) -> None:
        """Treat the datagrams sent from now on as these conditions say; what is not named stays as it is.

        Raises    InvalidParameter if a condition is unknown or out of its range; then nothing has changed.
        """
        for name, value in conditions.items():
            _check(name, value)
        for name, value in conditions.items():
            setattr(self, name, value)

    def send(self, datagrams: Sequence[bytes], now: float, route: Any = None) -> None:
        """Put datagrams on the link at one instant.

        datagrams    in sending order.
        now          seconds of virtual time, never less than at an earlier call.
        route        where they come from and go to, in any form; `take_routed` hands it back.
        Then:        read `deadline`.
        Cost:        O(log n) a datagram, n the batches on the way.
        """
        batch: list[bytes] = []
        batch_arrival = -math.inf
        for datagram in datagrams:
            departure = self._enter(datagram, now)
            if departure is None:
                continue
            copies = 1
            if self.duplicate and self._random() < self.duplicate:
                self.stats.duplicated += 1
                copies = 2
            for _ in range(copies):
                arrival = self._travel(departure)
                if arrival == batch_arrival:
                    batch.append(datagram)
                else:
                    batch, batch_arrival = [datagram], arrival
                    self._batches += 1
                    heappush(self._on_the_way, (arrival, self._batches, route, batch))
        if self._on_the_way:
            self.deadline = self._on_the_way[0][0]

    def _enter(self, datagram: bytes, now: float) -> float | None:
        """Tell when the datagram has left the queue and is on its way, or None if it will never arrive."""
        stats = self.stats
        number = self._numbers
        self._numbers = number + 1
        stats.sent += 1
        stats.sent_bytes += len(datagram)
        if self.drop is not None and self.drop(datagram, number):
            stats.dropped_filter += 1
            return None
        if self.mtu is not None and len(datagram) > self.mtu:
            stats.dropped_mtu += 1
            return None
        for start, end in self.blackouts:
            if start <= now < end:
                stats.dropped_blackout += 1
                return None
        departure = now
        if self.rate != math.inf:
            size = len(datagram) + self.overhead
            wait = self._free_at - now
            if wait <= 0.0:
                wait = 0.0
            elif wait > self.queue_seconds or (
                self.queue_bytes is not None and wait * self.rate + size > self.queue_bytes
            ):
                stats.dropped_queue += 1
                return None
            stats.queue_delays.append(wait)
            self._free_at = departure = now + wait + size / self.rate
        if (self.loss and self._random() < self.loss) or (
            self.burst_loss and self._is_lost_in_burst(self.burst_loss)
        ):
            stats.lost += 1
            return None
        return departure

    def _is_lost_in_burst(self, model: BurstLoss) -> bool:
        self._in_burst = self._random() >= model.leave if self._in_burst else self._random() < model.enter
        return self._in_burst and self._random() < model.loss

    def _travel(self, departure: float) -> float:
        """Tell when a datagram that leaves the queue at `departure` arrives."""
        arrival = departure + self.delay
        if self.jitter:
            arrival += self._random() * self.jitter
        if self.reorder and self._random() < self.reorder:
            self.stats.reordered += 1
            return arrival + self._random() * self.reorder_delay
        if self.jitter and self.jitter_reorders:
            return arrival
        self._latest_arrival = max(self._latest_arrival, arrival)
        return self._latest_arrival

    def take(self, now: float) -> list[bytes]:
        """Take the datagrams that have arrived, in the order of arrival.

        now      seconds of virtual time.
        Then:    read `deadline`.
        """
        return [datagram for _, batch in self.take_routed(now) for datagram in batch]

    def take_routed(self, now: float) -> list[tuple[Any, list[bytes]]]:
        """Take the datagrams that have arrived, in the order of arrival, in lists that share a route.

        now      seconds of virtual time.
        Then:    read `deadline`.
        """
        on_the_way = self._on_the_way
        arrived: list[tuple[Any, list[bytes]]] = []
        while on_the_way and on_the_way[0][0] <= now:
            _, _, route, batch = heappop(on_the_way)
            self.stats.arrived += len(batch)
            if arrived and arrived[-1][0] == route:
                arrived[-1][1].extend(batch)
            else:
                arrived.append((route, batch))
        self.deadline = on_the_way[0][0] if on_the_way else math.inf
        return arrived


def _check(name: str, value: object) -> None:
    """Raise InvalidParameter if the value is not one that the condition may have."""
    if name not in Conditions.__annotations__:
        raise InvalidParameter(
            f"a link knows no condition {name!r}: use {', '.join(Conditions.__annotations__)}"
        )
    if name in _PROBABILITIES and not (isinstance(value, int | float) and 0 <= value <= 1):
        raise InvalidParameter(f"{name}={value!r}: a probability is a number from 0 to 1")
    if name == "rate" and not (isinstance(value, int | float) and value > 0):
        raise InvalidParameter(f"{name}={value!r}: bytes a second, more than 0; math.inf for no limit")
    if name in _NOT_NEGATIVE and value is not None and not (isinstance(value, int | float) and value >= 0):
        raise InvalidParameter(f"{name}={value!r}: a number that is not negative is needed")
    if name == "burst_loss" and value is not None:
        model = value if isinstance(value, BurstLoss) else None
        if model is None or not all(0 <= probability <= 1 for probability in model):
            raise InvalidParameter(f"{name}={value!r}: a BurstLoss of three probabilities is needed")
