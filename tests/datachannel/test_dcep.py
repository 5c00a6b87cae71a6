"""DATA_CHANNEL_OPEN and ACK, byte for byte (RFC 8832 section 5)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.datachannel import LABEL_LIMIT, Open
from rtcstack.errors import WireError

EXAMPLES = [
    ("03 00 0100 00000000 0004 0000 63686174", Open("chat")),
    ("03 80 0100 00000000 0000 0000", Open(ordered=False)),
    ("03 01 0100 00000003 0001 0000 61", Open("a", max_retransmits=3)),
    ("03 81 0080 00000000 0001 0001 61 62", Open("a", "b", False, 0, priority=128)),
    ("03 02 0400 000001f4 0000 0000", Open(max_lifetime_ms=500, priority=1024)),
    ("03 82 0000 ffffffff 0000 0000", Open(ordered=False, max_lifetime_ms=2**32 - 1, priority=0)),
    ("03 00 0100 00000000 0006 0003 e697a5e69cac e7aa93", Open("日本", "窓")),  # lengths are bytes
]


@pytest.mark.parametrize(("text", "message"), EXAMPLES)
def test_open_reads_and_writes_the_same_bytes(text: str, message: Open) -> None:
    data = bytes.fromhex(text)
    assert Open.parse(data) == message
    assert message.write() == data


@pytest.mark.parametrize(("text", "message"), EXAMPLES)
def test_every_truncation_and_a_longer_message_are_refused(text: str, message: Open) -> None:
    data = bytes.fromhex(text)
    for size in range(len(data)):
        with pytest.raises(WireError):
            Open.parse(data[:size])
    with pytest.raises(WireError):
        Open.parse(data + b"\0")


@pytest.mark.parametrize(
    "text",
    [
        "03 03 0100 00000000 0000 0000",  # an unknown channel type
        "03 7f 0100 00000000 0000 0000",
        "04 00 0100 00000000 0000 0000",  # an unknown message
        "03 00 0100 00000000 0002 0000 ff61",  # a label that is not UTF-8
        "03 00 0100 00000000 0000 0001 c3",  # nor is the protocol
    ],
)
def test_malformed_opens_are_refused(text: str) -> None:
    with pytest.raises(WireError):
        Open.parse(bytes.fromhex(text))


def test_the_longest_label_and_protocol_go_through() -> None:
    message = Open("x" * LABEL_LIMIT, "y" * LABEL_LIMIT)
    assert Open.parse(message.write()) == message


@given(
    st.builds(
        Open,
        label=st.text(max_size=40),
        protocol=st.text(max_size=40),
        ordered=st.booleans(),
        max_retransmits=st.none() | st.integers(0, 2**32 - 1),
        priority=st.integers(0, 65535),
    )
)
def test_what_is_written_is_read(message: Open) -> None:
    assert Open.parse(message.write()) == message


@given(st.binary(max_size=64))
def test_garbage_raises_only_wire_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        Open.parse(data)
