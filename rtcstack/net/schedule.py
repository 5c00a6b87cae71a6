"""Which of many sessions are due, found without asking each of them."""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import Generic, Protocol, TypeVar

__all__ = ["Schedule", "Scheduled"]

_FEW = 64
"""Entries that need no clearing out."""


class Scheduled(Protocol):
    """Something that is to be stepped when its deadline has come."""

    scheduled: float
    """The earliest entry in the heap, seconds; math.inf for none.  Only the schedule writes it."""

    @property
    def deadline(self) -> float:
        """When it is due, seconds: -inf for at once, math.inf for never."""


_Item = TypeVar("_Item", bound=Scheduled)


class Schedule(Generic[_Item]):
    """The deadlines of many, of which a few change at a time.

    A thousand idle connections have some six hundred wakes a second, for consent checks and their answers;
    to ask each one's deadline at every wake would take a good part of a core.  So each tells when it has
    become due (wake) and what it wants after a step (stepped).  A deadline that has moved later costs nothing
    until the old one comes.

    due     those to be stepped now, whatever their deadline; stepped() takes one out.
    """

    __slots__ = ("_heap", "_limit", "_numbers", "due")

    def __init__(self) -> None:
        self.due: dict[_Item, None] = {}
        self._heap: list[tuple[float, int, _Item]] = []
        self._limit = _FEW
        self._numbers = count()

    def wake(self, item: _Item) -> None:
        """Note that an item is due at once."""
        self.due[item] = None

    def stepped(self, item: _Item) -> None:
        """Note that an item has done what was due, and has a new deadline."""
        deadline = item.deadline
        if deadline == -math.inf:
            self.due[item] = None
            return
        self.due.pop(item, None)
        if deadline < item.scheduled:
            item.scheduled = deadline
            heapq.heappush(self._heap, (deadline, next(self._numbers), item))
            if len(self._heap) > self._limit:
                self._clear_out()

    def remove(self, item: _Item) -> None:
        """Forget an item."""
        self.due.pop(item, None)
        if item.scheduled < math.inf:
            item.scheduled = math.inf
            self._clear_out()

    def _clear_out(self) -> None:
        """Drop the entries of deadlines that have moved since."""
        self._heap = [entry for entry in self._heap if entry[0] == entry[2].scheduled]
        heapq.heapify(self._heap)
        self._limit = 2 * len(self._heap) + _FEW

    def soonest(self) -> float:
        """Tell when the first is due: seconds; math.inf if none ever is."""
        if self.due:
            return -math.inf
        while self._heap:
            at, _, item = self._heap[0]
            if at == item.scheduled and item.deadline <= at:
                return at
            # It has moved: nobody should wake up for what was.
            heapq.heappop(self._heap)
            if at == item.scheduled:
                item.scheduled = math.inf
                self.stepped(item)
        return math.inf

    def advance(self, now: float) -> None:
        """Bring into `due` all whose deadline has come."""
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heapq.heappop(self._heap)
            if at != item.scheduled:
                continue  # there was an earlier one for it
            item.scheduled = math.inf
            if item.deadline <= now:
                self.due[item] = None
            else:
                self.stepped(item)
