"""Datagrams on a stream (RFC 4571): wherever it is cut, the same ones come out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.errors import WireError
from rtcstack.net.framing import Deframer, frame

datagrams = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


def test_the_length_comes_first_in_two_bytes() -> None:
    """RFC 4571 §2."""
    assert frame([b"ab", b""]) == [b"\0\2ab", b"\0\0"]
    assert frame([bytes(65536)]) == []


def test_a_stream_split_at_every_byte_gives_the_same_datagrams() -> None:
    sent = [b"first", b"x", bytes(400)]
    stream = b"".join(frame(sent))
    for cut in range(len(stream) + 1):
        assert Deframer().receive([stream[:cut], stream[cut:]]) == sent
    deframer = Deframer()
    assert [found for byte in stream for found in deframer.receive([bytes([byte])])] == sent


@given(datagrams, st.lists(st.integers(0, 3000)))
def test_any_cuts_give_the_same_datagrams(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(sent))
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    deframer = Deframer()
    found = []
    for start, end in itertools.pairwise(places):
        found += deframer.receive([stream[start:end]])
    assert found == sent


@given(st.binary(max_size=5000))
def test_what_is_no_framing_is_refused_or_harmless(noise: bytes) -> None:
    deframer = Deframer()
    try:
        found = deframer.receive([noise])
    except WireError:
        return
    assert sum(map(len, found)) <= len(noise)


def test_a_frame_that_no_peer_sends_is_refused() -> None:
    """It would have us keep 64 kB for whoever connects."""
    with pytest.raises(WireError, match="16385"):
        Deframer().receive([(16_385).to_bytes(2)])


def test_the_largest_packet_of_a_path_that_was_wide_before_is_taken() -> None:
    """RFC 9260 section 6.9: a chunk that was cut for a jumbo path is sent again as it is."""
    assert Deframer().receive(frame([bytes(16_000)])) == [bytes(16_000)]


def test_an_empty_frame_is_nothing() -> None:
    assert Deframer().receive([b"\0\0\0\1a"]) == [b"a"]
