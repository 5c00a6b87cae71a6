"""One deadline: started, expired once, started again with back-off up to its ceiling."""

from __future__ import annotations

import math

from rtcstack.timer import Timer


def test_it_expires_once_at_its_deadline() -> None:
    timer = Timer(2.0)
    assert timer.deadline == math.inf
    assert not timer.is_running
    timer.start(10.0)
    assert timer.deadline == 12.0
    assert not timer.expire(11.9)
    assert timer.expire(12.0)
    assert not timer.is_running
    assert not timer.expire(13.0)
    assert timer.expirations == 1


def test_restarts_back_off_up_to_the_ceiling_and_a_start_begins_anew() -> None:
    timer = Timer(1.0, ceiling=3.0)
    now = 0.0
    timer.start(now)
    waits = []
    for _ in range(4):
        waits.append(timer.deadline - now)
        now = timer.deadline
        assert timer.expire(now)
        timer.restart(now)
    assert waits == [1.0, 2.0, 3.0, 3.0]
    assert timer.expirations == 4
    timer.start(now, 0.5)
    assert timer.deadline == now + 0.5
    assert timer.expirations == 0


def test_a_stopped_timer_never_expires() -> None:
    timer = Timer(1.0)
    timer.start(0.0)
    timer.stop()
    assert not timer.expire(1e12)
