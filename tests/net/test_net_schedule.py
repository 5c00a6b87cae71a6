"""Who is due, against a plain list of deadlines."""

from __future__ import annotations

import math
import random

from rtcstack.net.schedule import Schedule


class Item:
    """Something with a deadline."""

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.scheduled = math.inf


def test_items_become_due_when_their_deadline_comes() -> None:
    schedule: Schedule[Item] = Schedule()
    early, late, never = Item(1.0), Item(2.0), Item()
    for item in (late, early, never):
        schedule.stepped(item)
    assert schedule.soonest() == 1.0
    schedule.advance(0.5)
    assert not schedule.due
    schedule.advance(1.0)
    assert list(schedule.due) == [early]
    assert schedule.soonest() == -math.inf


def test_a_deadline_that_moves_later_is_looked_at_once_more() -> None:
    schedule: Schedule[Item] = Schedule()
    item = Item(1.0)
    schedule.stepped(item)
    item.deadline = 5.0
    schedule.stepped(item)
    schedule.advance(1.0)
    assert not schedule.due
    assert schedule.soonest() == 5.0


def test_who_is_woken_is_due_until_it_has_been_stepped() -> None:
    schedule: Schedule[Item] = Schedule()
    item = Item(7.0)
    schedule.wake(item)
    schedule.advance(0.0)
    assert list(schedule.due) == [item]
    schedule.stepped(item)
    assert (list(schedule.due), schedule.soonest()) == ([], 7.0)
    item.deadline = -math.inf
    schedule.stepped(item)
    assert list(schedule.due) == [item]


def test_what_is_removed_is_never_due() -> None:
    schedule: Schedule[Item] = Schedule()
    items = [Item(1.0), Item(2.0), Item(-math.inf)]
    for item in items:
        schedule.stepped(item)
    for item in items:
        schedule.remove(item)
    schedule.advance(10.0)
    assert (list(schedule.due), schedule.soonest()) == ([], math.inf)


def test_it_agrees_with_asking_everybody() -> None:
    chance = random.Random(4)
    schedule: Schedule[Item] = Schedule()
    items = [Item(chance.uniform(0, 30)) for _ in range(50)]
    for item in items:
        schedule.stepped(item)
    now = 0.0
    for _ in range(2_000):
        now += chance.expovariate(20)
        schedule.advance(now)
        assert set(schedule.due) == {item for item in items if item.deadline <= now}
        for item in list(schedule.due):
            item.deadline = now + chance.choice([0.001, 0.2, 5.0, 30.0, math.inf])
            schedule.stepped(item)
        assert schedule.soonest() <= min(item.deadline for item in items)
        moved = chance.choice(items)
        moved.deadline = now + chance.uniform(0, 10)
        schedule.stepped(moved)
