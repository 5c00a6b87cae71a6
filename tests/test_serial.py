"""Serial number arithmetic against its definition (RFC 1982 section 3.2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtcstack.serial import less16, less32, more16, more32


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**31 - 1))
def test_32_bit_numbers_up_to_half_the_circle_ahead_come_later(number: int, step: int) -> None:
    later = (number + step) % 2**32
    assert less32(number, later)
    assert more32(later, number)
    assert not less32(later, number)
    assert not more32(number, later)


@given(st.integers(0, 2**16 - 1), st.integers(1, 2**15 - 1))
def test_16_bit_numbers_up_to_half_the_circle_ahead_come_later(number: int, step: int) -> None:
    later = (number + step) % 2**16
    assert less16(number, later)
    assert more16(later, number)
    assert not less16(later, number)
    assert not more16(number, later)


@given(st.integers(0, 2**32 - 1))
def test_equal_and_opposite_numbers_are_in_no_order(number: int) -> None:
    opposite = (number + 2**31) % 2**32
    for other in (number, opposite):
        assert not less32(number, other)
        assert not more32(number, other)
    short = number % 2**16
    for other in (short, (short + 2**15) % 2**16):
        assert not less16(short, other)
        assert not more16(short, other)
