"""ChannelData in batches against one message at a time, and streams cut anywhere."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.stun import BINDING, DATA, Message, MessageClass
from rtcstack.turn.framing import StreamSplitter, read_channel_data, write_channel_data

STUN = Message(BINDING, MessageClass.INDICATION, bytes(12), {DATA: b"12345"}).write()


def channel_data(channel: int, data: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("!HH", channel, len(data) if length is None else length) + data


def padded(message: bytes) -> bytes:
    return message + bytes(-len(message) % 4)


def test_channel_data_has_the_bytes_of_the_rfc() -> None:
    """RFC 8656 §12.4 and §12.5."""
    datagrams = [b"", b"a", b"abcd"]
    plain = [b"\x40\x01\0\0", b"\x40\x01\0\1a", b"\x40\x01\0\4abcd"]
    assert write_channel_data(0x4001, datagrams, padded=False) == plain
    assert write_channel_data(0x4001, datagrams, padded=True) == [padded(message) for message in plain]


def test_runs_on_the_same_channel_come_together_and_in_order() -> None:
    batch = [
        channel_data(0x4000, b"1"),
        channel_data(0x4000, b"2"),
        STUN,
        channel_data(0x4000, b"33"),
        channel_data(0x4FFF, b"4") + b"padding",
        channel_data(0x4000, b""),
    ]
    assert read_channel_data(batch) == (
        [(0x4000, [b"1", b"2", b"33"]), (0x4FFF, [b"4"]), (0x4000, [b""])],
        [STUN],
        0,
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x40",
        b"\x40\0\0",
        channel_data(0x4000, b"123", length=4),
        channel_data(0x4000, b"", length=0xFFFF),
        channel_data(0x5000, b"123"),
        channel_data(0x7FFF, b"123"),
    ],
)
def test_short_or_reserved_channel_data_is_counted(message: bytes) -> None:
    """RFC 8656 §12.6: longer than its datagram, or on a reserved channel: silently discarded."""
    good = channel_data(0x4000, b"1234")
    assert read_channel_data([good, message, good]) == ([(0x4000, [b"1234", b"1234"])], [], 1)


@pytest.mark.parametrize("first", [0x00, 0x03, 0x80, 0xFF])
def test_what_is_not_channel_data_is_handed_back(first: int) -> None:
    message = bytes((first, 0, 0, 0))
    assert read_channel_data([message]) == ([], [message], 0)


messages = st.one_of(
    st.binary(max_size=12),
    st.builds(
        channel_data,
        st.integers(0x3FFE, 0x4002) | st.integers(0x4FFE, 0x5001),
        st.binary(max_size=6),
        length=st.none() | st.integers(0, 8),
    ),
)


@settings(max_examples=300)
@given(st.lists(messages, max_size=12))
def test_a_batch_reads_like_its_messages_one_by_one(batch: list[bytes]) -> None:
    runs: list[tuple[int, list[bytes]]] = []
    others, bad = [], 0
    for message in batch:
        one, other, one_bad = read_channel_data([message])
        others += other
        bad += one_bad
        if one and runs and runs[-1][0] == one[0][0]:
            runs[-1][1].extend(one[0][1])
        else:
            runs += one
    assert read_channel_data(batch) == (runs, others, bad)


# Streams

SENT = [STUN, channel_data(0x4000, b""), channel_data(0x4001, b"12345"), STUN, channel_data(0x4002, b"1234")]
STREAM = b"".join(map(padded, SENT))


def test_a_stream_may_be_cut_at_every_byte() -> None:
    """RFC 8656 §12.5: ChannelData is padded to four, the padding is not part of it."""
    for at in range(len(STREAM) + 1):
        splitter = StreamSplitter()
        assert splitter.split([STREAM[:at]]) + splitter.split([STREAM[at:]]) == SENT
        assert not splitter.error


def test_a_stream_may_come_byte_by_byte_or_all_at_once() -> None:
    splitter = StreamSplitter()
    received = [message for byte in STREAM for message in splitter.split([bytes((byte,))])]
    assert received == SENT
    assert StreamSplitter().split([STREAM[:30], STREAM[30:31], b"", STREAM[31:]]) == SENT
    assert StreamSplitter().split([]) == []


def test_what_is_written_padded_is_split_again() -> None:
    datagrams = [bytes(size) for size in range(9)]
    stream = b"".join(write_channel_data(0x4000, datagrams, padded=True))
    runs, others, bad = read_channel_data(StreamSplitter().split([stream]))
    assert (runs, others, bad) == ([(0x4000, datagrams)], [], 0)


@pytest.mark.parametrize(
    "head",
    [
        b"\x80\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\1\0\3\x21\x12\xa4\x42",
        b"\0\1\0\0\x21\x12\xa4\x43",
        b"\0\1\0\0\x20",
        b"\x16\x03\x01\0",
    ],
)
def test_a_stream_that_lost_its_place_says_so_and_ends(head: bytes) -> None:
    splitter = StreamSplitter()
    assert splitter.split([STREAM + head, STREAM]) == SENT
    assert splitter.error
    assert splitter.split([STREAM]) == []


def test_reserved_channels_in_a_stream_are_passed_over() -> None:
    """RFC 8656 §12.6: discarded; their length still tells where the next message begins."""
    stream = padded(channel_data(0x5000, b"12345")) + STREAM
    assert StreamSplitter().split([stream])[1:] == SENT


@settings(max_examples=200)
@given(
    sizes=st.lists(st.integers(0, 300), max_size=8),
    cuts=st.lists(st.integers(0, 2500), max_size=8),
)
def test_any_cutting_of_a_stream_gives_its_messages(sizes: list[int], cuts: list[int]) -> None:
    sent = [channel_data(0x4000 + size, bytes(size)) for size in sizes]
    stream = b"".join(map(padded, sent))
    edges = [0, *sorted(cuts), len(stream)]
    splitter = StreamSplitter()
    received: list[bytes] = []
    for start, end in itertools.pairwise(edges):
        received += splitter.split([stream[start:end]])
    assert received == sent


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=30), max_size=10))
def test_garbage_in_a_stream_raises_nothing(pieces: list[bytes]) -> None:
    splitter = StreamSplitter()
    for piece in pieces:
        read_channel_data(splitter.split([piece]))
