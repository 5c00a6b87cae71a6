"""Parameters: type, length, value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.errors import WireError
from rtcstack.sctp.parameters import (
    FORWARD_TSN_SUPPORTED,
    STATE_COOKIE,
    find_parameter,
    read_parameters,
    sort_parameters,
    write_parameter,
    write_parameters,
)

parameters = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=9)), max_size=8).map(tuple)


@given(parameters)
def test_what_is_written_can_be_read(written: tuple[tuple[int, bytes], ...]):
    assert read_parameters(write_parameters(written)) == written
    assert read_parameters(b"head" + write_parameters(written), 4) == written


@given(st.binary(max_size=100), st.integers(0, 110))
def test_garbage_raises_only_wire_errors(data: bytes, at: int):
    try:
        read = read_parameters(data, at)
    except WireError:
        return
    assert sum(4 + len(value) for _, value in read) <= max(0, len(data) - at)


def test_the_last_parameter_is_not_padded():
    """RFC 9260 §3.2: the chunk length counts the padding of all parameters but the last."""
    assert write_parameter(7, b"a") == bytes.fromhex("0007 0005 61")
    assert write_parameters([(7, b"a"), (8, b"b")]) == bytes.fromhex("0007 0005 61 000000 0008 0005 62")
    assert write_parameters([]) == b""


@pytest.mark.parametrize(
    "data",
    ["00", "000700", "0007 0000", "0007 0003 00", "0007 0005", "0007 0004 00", "0007 0006 61", "0007 ffff"],
)
def test_a_length_that_does_not_fit_is_refused(data: str):
    with pytest.raises(WireError):
        read_parameters(bytes.fromhex(data))


def test_sixteen_thousand_parameters_are_read_once():
    assert len(read_parameters(bytes.fromhex("0007 0004") * 16_000)) == 16_000


def test_the_first_of_several_is_found():
    given_parameters = ((STATE_COOKIE, b"1"), (FORWARD_TSN_SUPPORTED, b""), (STATE_COOKIE, b"2"))
    assert find_parameter(given_parameters, STATE_COOKIE) == b"1"
    assert find_parameter(given_parameters, FORWARD_TSN_SUPPORTED) == b""
    assert find_parameter(given_parameters, 99) is None


@pytest.mark.parametrize(
    ("unknown", "goes_on", "is_reported"),
    [(0x3FFF, False, False), (0x7FFF, False, True), (0xBFFF, True, False), (0xFFFF, True, True)],
)
def test_the_highest_bits_say_what_becomes_of_an_unknown_parameter(
    unknown: int, goes_on: bool, is_reported: bool
):
    """RFC 9260 §3.2.1: 00 stop, 01 stop and report, 10 skip, 11 skip and report."""
    known = {STATE_COOKIE, FORWARD_TSN_SUPPORTED}
    first, second, third = (STATE_COOKIE, b"c"), (unknown, b"?"), (FORWARD_TSN_SUPPORTED, b"")
    process, report = sort_parameters((first, second, third), known)
    assert process == ((first, third) if goes_on else (first,))
    assert report == ((second,) if is_reported else ())
