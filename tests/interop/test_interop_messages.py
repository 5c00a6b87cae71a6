"""Messages between rtcstack and real peers: every kind and size, whole and in order."""

from __future__ import annotations

import hashlib
import random

import pytest
from interop_defects import DEFECTS, Defect
from interop_pair import Pair
from interop_sides import Channel, Message, Side

pytestmark = pytest.mark.interop

SMALL: list[Message] = [
    "plain",
    "ünïcödé, κόσμε, 世界, 🎲🐍",
    "with a \0 inside",
    "",
    "after an empty text",
    b"binary",
    b"",
    b"after an empty binary",
    bytes(range(256)),
    "\0",
    b"\0",
]


def open_channel(pair: Pair) -> tuple[Channel, Channel]:
    ours = pair.left.create_channel("messages", negotiated=True, id=1)
    theirs = pair.right.create_channel("messages", negotiated=True, id=1)
    pair.connect()
    pair.open(ours, theirs)
    return ours, theirs


def sendable(source: Side, messages: list[Message]) -> list[Message]:
    """Those of the messages that this side can send at all."""
    loses_empty = Defect.LOSES_EMPTY_MESSAGES in DEFECTS[source.name]
    return [message for message in messages if message or not loses_empty]


def digest(messages: list[Message]) -> list[tuple[str, int, str]]:
    """Short enough to read in a failure: type, size and hash of each message."""
    return [
        (type(message).__name__, len(data), hashlib.sha256(data).hexdigest()[:16])
        for message in messages
        for data in [message.encode() if isinstance(message, str) else message]
    ]


@pytest.mark.parametrize("direction", ["from us", "from them"])
def test_text_binary_and_empty_messages_arrive_as_they_were_sent(pair: Pair, direction: str):
    ours, theirs = open_channel(pair)
    source, target = (ours, theirs) if direction == "from us" else (theirs, ours)
    messages = sendable(pair.left if source is ours else pair.right, SMALL)
    source.send(*messages)
    assert pair.received(target, len(messages)) == messages


@pytest.mark.parametrize("direction", ["from us", "from them"])
def test_messages_of_200_kb_arrive_whole(pair: Pair, direction: str):
    ours, theirs = open_channel(pair)
    source, target = (ours, theirs) if direction == "from us" else (theirs, ours)
    large: list[Message] = [
        random.Random(1).randbytes(200_000),
        "日本" * 33_333,
        random.Random(2).randbytes(200_000),
    ]
    source.send(*large)
    assert digest(pair.received(target, len(large))) == digest(large)


def test_2000_mixed_messages_keep_their_order_in_both_directions_at_once(pair: Pair):
    ours, theirs = open_channel(pair)
    choose = random.Random(3)
    mixed: list[Message] = []
    for number in range(2000):
        filling = "é" * choose.choice((0, 1, 30, 200, 700, 3000))
        text = f"{number} {filling}" if choose.random() < 0.9 else ""
        mixed.append(text if choose.random() < 0.5 else text.encode())
    there, back = sendable(pair.left, mixed), sendable(pair.right, mixed[::-1])
    ours.send(*there)
    theirs.send(*back)
    assert digest(pair.received(theirs, len(there))) == digest(there)
    assert digest(pair.received(ours, len(back))) == digest(back)


@pytest.mark.parametrize("closing", ["the channel", "the connection"])
def test_what_we_sent_before_closing_arrives(pair: Pair, closing: str):
    ours, theirs = open_channel(pair)
    large = random.Random(4).randbytes(100_000)
    last: list[Message] = [*(f"message {number}" for number in range(20)), large, "the last"]
    ours.send(*last)
    if closing == "the channel":
        ours.close()
    else:
        pair.left.close()
    assert digest(pair.received(theirs, len(last))) == digest(last)
    told = closing == "the channel" or Defect.HEARS_NO_GOODBYE not in DEFECTS[pair.right.name]
    pair.until(
        lambda: ours.state == "closed" and (theirs.state == "closed" or not told),
        "the channel is closed on both sides",
    )
