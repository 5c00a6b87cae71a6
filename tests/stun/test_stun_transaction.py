"""STUN transactions: the retransmission schedule in virtual time."""

from __future__ import annotations

import pytest

from rtcstack.errors import InvalidParameter
from rtcstack.stun import Transaction, schedule


def test_default_schedule() -> None:
    """RFC 8489 §6.2.1: 0, 500, 1500, ... 31500 ms, given up after 39500 ms."""
    assert schedule() == (0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 39.5)
    assert schedule(1.0, rc=2, rm=3) == (0, 1, 4)


@pytest.mark.parametrize("arguments", [(0, 7, 16), (0.5, 0, 16), (0.5, 7, 0)])
def test_a_schedule_that_makes_no_sense_is_refused(arguments: tuple[float, int, float]) -> None:
    with pytest.raises(InvalidParameter):
        schedule(*arguments)


def test_a_transaction_follows_its_schedule() -> None:
    transaction = Transaction(b"id", b"request", schedule(), 100.0)
    times = [100.0]
    while transaction.handle_timeout(transaction.deadline):
        times.append(transaction.sent)
    assert [time - 100 for time in times] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert transaction.deadline == 139.5
    assert transaction.sendings == 7


def test_a_late_timer_causes_no_burst() -> None:
    transaction = Transaction(b"id", b"request", schedule(), 0.0)
    assert transaction.handle_timeout(30.0)
    assert transaction.deadline == 31.0


def test_a_cancelled_transaction_is_silent_until_its_end() -> None:
    """RFC 8445 §7.3.1.4."""
    transaction = Transaction(b"id", b"request", schedule(), 0.0)
    transaction.cancel()
    assert transaction.is_cancelled
    assert transaction.deadline == 39.5
    assert not transaction.handle_timeout(39.5)
