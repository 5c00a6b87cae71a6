"""Channels between rtcstack and real peers: announced, negotiated, closed, opened again."""

from __future__ import annotations

import pytest
from interop_defects import DEFECTS, Defect
from interop_pair import Pair
from interop_sides import Channel, Side

pytestmark = pytest.mark.interop

LABEL = "Grüße, κόσμε, 世界 🎲"
PROTOCOL = "prötöcol/1 ✓"


def here_and_there(pair: Pair, announced_by: str) -> tuple[Side, Side]:
    return (pair.left, pair.right) if announced_by == "us" else (pair.right, pair.left)


def exchange(pair: Pair, one: Channel, other: Channel) -> None:
    """A message each way over a channel that is open on both sides."""
    before = len(one.received), len(other.received)
    one.send("there")
    assert pair.received(other, before[1] + 1)[-1] == "there"
    other.send(b"and back")
    assert pair.received(one, before[0] + 1)[-1] == b"and back"


def negotiated(pair: Pair, label: str, id: int) -> tuple[Channel, Channel]:
    return (
        pair.left.create_channel(label, negotiated=True, id=id),
        pair.right.create_channel(label, negotiated=True, id=id),
    )


@pytest.mark.parametrize("announced_by", ["us", "them"])
def test_a_channel_announced_in_band_arrives_with_label_and_protocol(pair: Pair, announced_by: str):
    here, there = here_and_there(pair, announced_by)
    label, protocol = LABEL, PROTOCOL
    if Defect.OPEN_COUNTS_CHARACTERS in DEFECTS[here.name]:
        label, protocol = "chat", "protocol/1"
    pair.connect()

    channel = here.create_channel(label, protocol=protocol)
    arrived = pair.arrival(there, label)
    pair.open(channel)

    assert (arrived.label, arrived.protocol) == (label, protocol)
    assert arrived.id == channel.id
    assert not arrived.negotiated
    exchange(pair, channel, arrived)


@pytest.mark.parametrize("announced_by", ["us", "them"])
def test_channels_created_before_connecting_open(pair: Pair, announced_by: str):
    here, there = here_and_there(pair, announced_by)
    if pair.offerer is not here:
        pair.offerer.create_channel("of the offerer")
    channels = [here.create_channel(f"early {i}") for i in range(3)]
    pair.connect()

    pair.open(*channels)
    for channel in channels:
        exchange(pair, channel, pair.arrival(there, channel.label))
    assert len({channel.id for channel in pair.left.channels}) == len(pair.left.channels)


def test_a_negotiated_channel_opens_on_both_sides_unannounced(pair: Pair):
    ours, theirs = negotiated(pair, "by agreement", 7)
    pair.connect()

    pair.open(ours, theirs)
    exchange(pair, ours, theirs)
    assert ours.id == theirs.id == 7
    assert pair.left.incoming == pair.right.incoming == []


RELIABILITIES = [
    {"ordered": False, "maxRetransmits": 0},
    {"ordered": False, "maxRetransmits": 3},
    {"ordered": True, "maxRetransmits": 5},
    {"ordered": False, "maxPacketLifeTime": 250},
    {"ordered": True, "maxPacketLifeTime": 500},
    {"ordered": False},
]


@pytest.mark.parametrize("announced_by", ["us", "them"])
def test_the_reliability_of_a_channel_is_seen_on_the_other_side(pair: Pair, announced_by: str):
    here, there = here_and_there(pair, announced_by)
    pair.connect()

    for number, options in enumerate(RELIABILITIES):
        channel = here.create_channel(f"reliability {number}", **options)
        arrived = pair.arrival(there, channel.label)
        if Defect.HIDES_RELIABILITY not in DEFECTS[there.name]:
            limited = "maxRetransmits" in options or "maxPacketLifeTime" in options
            if not limited or Defect.ANNOUNCES_UNORDERED_AS_ORDERED not in DEFECTS[here.name]:
                assert arrived.ordered == options["ordered"]
            assert arrived.max_retransmits == options.get("maxRetransmits")
            assert arrived.max_packet_life_time == options.get("maxPacketLifeTime")
        pair.open(channel)
        exchange(pair, channel, arrived)


@pytest.mark.parametrize("closed_by", ["us", "them"])
def test_a_channel_closed_by_one_side_closes_on_the_other(pair: Pair, closed_by: str):
    kept = negotiated(pair, "kept", 2)
    ours, theirs = negotiated(pair, "closed", 4)
    pair.connect()
    pair.open(*kept, ours, theirs)
    exchange(pair, ours, theirs)

    (ours if closed_by == "us" else theirs).close()
    pair.until(lambda: ours.state == theirs.state == "closed", "the channel is closed on both sides")

    exchange(pair, *kept)


@pytest.mark.parametrize("closed_by", ["us", "them"])
def test_the_id_of_a_closed_channel_serves_again(pair: Pair, closed_by: str):
    pair.connect()
    for generation in range(3):
        ours, theirs = negotiated(pair, f"generation {generation}", 6)
        pair.open(ours, theirs)
        exchange(pair, ours, theirs)
        (ours if closed_by == "us" else theirs).close()
        pair.until(lambda a=ours, b=theirs: a.state == b.state == "closed", "closed on both sides")


@pytest.mark.parametrize("announced_by", ["us", "them"])
def test_channels_open_and_close_again_and_again(pair: Pair, announced_by: str):
    here, there = here_and_there(pair, announced_by)
    pair.connect()
    for generation in range(5):
        channel = here.create_channel(f"generation {generation}")
        arrived = pair.arrival(there, channel.label)
        pair.open(channel)
        exchange(pair, channel, arrived)
        (channel if generation % 2 else arrived).close()
        pair.until(lambda a=channel, b=arrived: a.state == b.state == "closed", "closed on both sides")
