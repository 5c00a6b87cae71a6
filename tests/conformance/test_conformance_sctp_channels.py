"""Data channels on top: announcements, early and late data, and what may be wrong with them."""

from __future__ import annotations

import struct
from functools import partial

import pytest

from rtcstack.datachannel import (
    Channel,
    ChannelClosed,
    ChannelConfig,
    ChannelReceived,
    ChannelState,
    Open,
    Options,
    Registry,
)
from rtcstack.errors import (
    AlreadyExists,
    Closed,
    Error,
    Full,
    InvalidParameter,
    InvalidState,
    MessageTooLarge,
)
from rtcstack.testing import Pair

DCEP, STRING, BINARY_PARTIAL, BINARY, STRING_PARTIAL, STRING_EMPTY, BINARY_EMPTY = 50, 51, 52, 53, 54, 56, 57
ACK = b"\x02"
OPEN = Open("chat").write()


def connected(*, client: bool = True, **options: int) -> Registry:
    """Make the registry of a connection that stands."""
    registry = Registry(Options(**options))
    registry.connect(client=client, max_streams=65535)
    return registry


def received(registry: Registry) -> list[Channel]:
    """Take the channels that the peer has opened."""
    return [event.channel for event in registry.take_events() if isinstance(event, ChannelReceived)]


def messages(registry: Registry, channel: Channel) -> list[tuple[bytes, bool]]:
    """Take what has arrived on a channel."""
    return [registry.take(channel) for _ in range(len(channel.incoming))]


# -- announcements -------------------------------------------------------------------------------------------


def test_an_open_makes_a_channel_and_is_acknowledged():
    """RFC 8832 §6: DATA_CHANNEL_OPEN is answered with DATA_CHANNEL_ACK on the same stream."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN)])
    (channel,) = received(registry)
    assert (channel.id, channel.config.label, channel.state) == (1, "chat", ChannelState.OPEN)
    assert registry.take_control() == [(1, ACK)]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\3",
        OPEN[:11],
        OPEN[:-1],
        OPEN + b"x",
        struct.pack("!BBHIHH", 3, 0, 256, 0, 65535, 0) + b"chat",
        struct.pack("!BBHIHH", 3, 0, 256, 0, 0, 65535) + b"chat",
        struct.pack("!BBHIHH", 3, 0, 256, 0, 2, 0) + b"\xff\xfe",
        struct.pack("!BBHIHH", 3, 0, 256, 0, 0, 1) + b"\xc3",
        struct.pack("!BBHIHH", 3, 0x7F, 256, 0, 4, 0) + b"chat",
        b"\x99" + OPEN[1:],
    ],
    ids=[
        "empty",
        "type only",
        "head cut",
        "label cut",
        "trailing byte",
        "label past the end",
        "protocol past the end",
        "label not UTF-8",
        "protocol not UTF-8",
        "unknown channel type",
        "unknown message",
    ],
)
def test_a_bad_open_costs_its_stream_never_the_connection(payload):
    """RFC 8832 §6: what cannot be read opens nothing; its stream is reset, all other channels go on."""
    registry = connected()
    registry.receive([(3, DCEP, OPEN), (5, DCEP, payload), (3, STRING, b"fine")])
    (channel,) = received(registry)
    assert messages(registry, channel) == [(b"fine", True)]
    assert registry.drops.bad_dcep == 1
    assert 3 not in registry.take_resets()
    registry.reset_received([5])
    registry.receive([(5, DCEP, OPEN)])
    assert [channel.id for channel in received(registry)] == [5]


def test_a_label_of_any_length_is_taken():
    """RFC 8832 §5.1: label and protocol have up to 65,535 bytes each."""
    registry = connected()
    registry.receive([(1, DCEP, Open("l" * 65535, "p" * 65535).write())])
    (channel,) = received(registry)
    assert len(channel.config.label) == len(channel.config.protocol) == 65535


@pytest.mark.parametrize("client", [True, False])
def test_an_open_with_the_wrong_parity_is_taken_if_its_stream_is_free(client):
    """RFC 8832 §6: ids follow the DTLS role; peers that go by another role still get their channel."""
    registry = connected(client=client)
    registry.receive([(0 if client else 1, DCEP, OPEN)])
    assert len(received(registry)) == 1


def test_an_open_for_a_stream_in_use_changes_nothing():
    """RFC 8832 §6: neither a second OPEN nor one for a negotiated id takes the stream from its channel."""
    registry = connected()
    negotiated = registry.create(ChannelConfig("mine", negotiated=True), 7)
    registry.receive([(1, DCEP, OPEN), (1, DCEP, Open("again").write()), (7, DCEP, OPEN)])
    (channel,) = received(registry)
    assert channel.config.label == "chat"
    assert negotiated.state is ChannelState.OPEN
    assert registry.drops.open_on_used_stream == 2


def test_an_id_in_use_cannot_be_negotiated():
    """RFC 8831 §6.5: one id, one channel."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN)])
    with pytest.raises(AlreadyExists):
        registry.create(ChannelConfig("mine", negotiated=True), 1)


def test_an_ack_that_nobody_waits_for_is_ignored():
    """RFC 8832 §6: an ACK without an OPEN of ours, or a second one, means nothing."""
    registry = connected()
    channel = registry.create(ChannelConfig("mine"))
    registry.receive([(9, DCEP, ACK), (channel.id, DCEP, ACK), (channel.id, DCEP, ACK)])
    assert registry.drops.unexpected_ack == 2
    assert channel.state is ChannelState.OPEN


def test_nothing_overtakes_the_open_until_it_is_acknowledged():
    """RFC 8832 §6: before the ACK all messages are sent ordered, on an unordered channel too."""
    registry = connected()
    channel = registry.create(ChannelConfig("mine", ordered=False))
    assert channel.ordered
    registry.receive([(channel.id, DCEP, ACK)])
    assert not channel.ordered


def test_the_number_of_announced_channels_is_bounded():
    """RFC 8832 §8: a peer cannot make us keep channels without end; further streams are reset."""
    registry = connected(max_channels=10)
    registry.receive([(stream, DCEP, OPEN) for stream in range(1, 101, 2)])
    assert len(received(registry)) == 10
    assert len(registry.take_resets()) == 40


# -- data at odd times ---------------------------------------------------------------------------------------


def test_data_that_overtakes_its_open_is_kept_for_the_channel():
    """RFC 8832 §6: unordered data may arrive before the OPEN; it is delivered when the channel is there."""
    registry = connected()
    registry.receive([(1, BINARY, b"first"), (1, STRING, b"second"), (1, DCEP, OPEN)])
    (channel,) = received(registry)
    assert messages(registry, channel) == [(b"first", False), (b"second", True)]


def test_data_for_streams_that_never_open_is_bounded():
    """RFC 8832 §8: early data is kept up to a bound; what is beyond is dropped and its room given back."""
    registry = connected(max_early_messages=10, max_early_bytes=1000)
    registry.receive([(stream, BINARY, bytes(100)) for stream in range(500)])
    assert registry.drops.early_overflow == 490
    assert registry.released == 49_000


def test_data_after_the_peers_reset_is_dropped():
    """RFC 8831 §6.7: a stream that was reset has no channel any more; its room is given back."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN)])
    received(registry)
    released = registry.released
    registry.reset_received([1])
    registry.receive([(1, BINARY, bytes(100))])
    assert registry.drops.after_close == 1
    assert registry.released == released + 100


def test_a_stream_can_be_opened_anew_after_both_resets():
    """RFC 8831 §6.7: once both directions are reset the id is free."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN)])
    (first,) = received(registry)
    registry.reset_received([1])
    assert registry.take_resets() == [1]
    registry.reset_sent([1])
    assert first.state is ChannelState.CLOSED
    registry.receive([(1, DCEP, Open("second").write())])
    (second,) = received(registry)
    assert second.config.label == "second"


@pytest.mark.parametrize("ppid", [0, 49, 55, 58, 0x33000000, 0xFFFFFFFF])
def test_an_unknown_ppid_is_dropped(ppid):
    """RFC 8831 §6.6: only the PPIDs of the standard carry messages; the channel goes on."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN), (1, ppid, b"what"), (1, STRING, b"fine")])
    (channel,) = received(registry)
    assert messages(registry, channel) == [(b"fine", True)]
    assert registry.drops.unknown_ppid == 1


def test_text_that_is_not_utf_8_harms_nobody():
    """RFC 8831 §6.6: strings are UTF-8; bytes that are not are handed over as they are, or reported."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN), (1, STRING, b"\xff\xfe"), (1, STRING, b"fine")])
    (channel,) = received(registry)
    assert messages(registry, channel)[-1] == (b"fine", True)
    assert channel.state is ChannelState.OPEN


def test_deprecated_partial_messages_are_joined():
    """RFC 8831 §6.6: PPIDs 52 and 54 carry all but the last part of a message of old peers."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN), (1, STRING_PARTIAL, b"one "), (1, STRING, b"message")])
    registry.receive([(1, BINARY_PARTIAL, b"\0"), (1, BINARY_PARTIAL, b"\1"), (1, BINARY, b"\2")])
    (channel,) = received(registry)
    assert messages(registry, channel) == [(b"one message", True), (b"\0\1\2", False)]


def test_partial_messages_without_end_close_their_channel():
    """RFC 8831 §6.6: the limit of a message holds for one in parts too: closed with a reason, never cut."""
    registry = connected(max_message_size=1000)
    registry.receive([(1, DCEP, OPEN)] + [(1, BINARY_PARTIAL, bytes(100))] * 20)
    (channel,) = registry.all
    assert channel.state is ChannelState.CLOSING
    assert "max_message_size" in channel.close_reason


@pytest.mark.parametrize(("ppid", "is_text"), [(STRING_EMPTY, True), (BINARY_EMPTY, False)])
@pytest.mark.parametrize("padding", [b"\0", b"x", b"many bytes"])
def test_an_empty_message_is_a_ppid_of_its_own(ppid, is_text, padding):
    """RFC 8831 §6.6: what the one byte of an empty message is does not matter."""
    registry = connected()
    registry.receive([(1, DCEP, OPEN), (1, ppid, padding)])
    (channel,) = received(registry)
    assert messages(registry, channel) == [(b"", is_text)]


def test_the_end_of_the_association_closes_every_channel_once():
    """RFC 8831 §6.7: when the association ends all its channels are closed, with the reason."""
    registry = connected()
    registry.receive([(stream, DCEP, OPEN) for stream in (1, 3, 5)])
    received(registry)
    registry.disconnect("the peer is gone")
    closed = [event for event in registry.take_events() if isinstance(event, ChannelClosed)]
    assert [event.reason for event in closed] == ["the peer is gone"] * 3
    registry.disconnect("again")
    assert registry.take_events() == []


# -- whole connections ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Make two peers that are connected."""
    pair = Pair(seed=47)
    pair.connect()
    return pair


def test_empty_messages_cross_a_connection(pair):
    """RFC 8831 §6.6: PPIDs 56 and 57 with one zero byte carry messages of no bytes."""
    channel = pair.open_channel("empty")
    channel.left.put_packet(b"")
    channel.left.put_packet("")
    pair.run(lambda: len(channel.right_received) == 2)
    assert [message.data for message in channel.right_received] == [b"", ""]


def test_a_message_of_the_largest_size_crosses_and_one_byte_more_is_refused(pair):
    """RFC 8841 §6.1: nothing above the peer's max-message-size is sent; the channel lives on."""
    channel = pair.open_channel("large")
    limit = channel.left.get_max_message_size()
    with pytest.raises(MessageTooLarge):
        channel.left.put_packet(bytes(limit + 1))
    channel.left.put_packet(bytes(limit))
    pair.run(lambda: bool(channel.right_received))
    assert len(channel.right_received[0].data) == limit


def test_sending_after_close_is_refused(pair):
    """RFC 8831 §6.7: a channel that closes takes nothing more; what was sent before is delivered."""
    channel = pair.open_channel("close")
    channel.left.put_packet(b"last words")
    channel.left.close()
    with pytest.raises(Closed):
        channel.left.put_packet(b"too late")
    pair.run(lambda: channel.right.get_ready_state() == channel.right.STATE_CLOSED)
    assert [message.data for message in channel.right_received] == [b"last words"]


def test_sending_before_the_channel_is_open_is_refused():
    """RFC 8831 §6.6: a channel without an association cannot send."""
    pair = Pair(seed=48)
    channel = pair.left.create_data_channel("early")
    with pytest.raises(InvalidState):
        channel.put_packet(b"too early")


def test_a_full_send_buffer_refuses_and_the_channel_lives_on(pair):
    """RFC 8831 §6.4: when too much waits to be sent the message is refused, nothing else happens."""
    channel = pair.open_channel("full")
    limit = channel.left.get_max_message_size()
    fill = partial(channel.left.put_packet, bytes(limit))
    with pytest.raises(Full):
        all(fill() == Error.OK for _ in range(1000))
    assert channel.left.get_ready_state() == channel.left.STATE_OPEN
    assert pair.run(lambda: channel.left.get_buffered_amount() == 0, limit=120)
    channel.left.put_packet(b"again")
    assert pair.run(lambda: channel.right_received[-1].data == b"again")


def test_channels_of_both_sides_have_different_parity(pair):
    """RFC 8832 §6: the DTLS client takes even ids, the server odd ones, so that both can open at once."""
    left = pair.open_channel("left").left.get_id()
    right = pair.right.create_data_channel("right")
    pair.run(lambda: right.get_ready_state() == right.STATE_OPEN)
    assert left % 2 != right.get_id() % 2


@pytest.mark.parametrize("stream", [-1, 65535, 65536])
def test_ids_outside_the_range_are_refused(pair, stream):
    """RFC 8831 §6.5: stream ids go from 0 to 65534."""
    with pytest.raises(InvalidParameter):
        pair.left.create_data_channel("odd", {"negotiated": True, "id": stream})


def test_both_limits_of_reliability_exclude_each_other(pair):
    """RFC 8831 §6.4: a channel is limited by count or by time, not by both."""
    with pytest.raises(InvalidParameter):
        pair.left.create_data_channel("odd", {"maxRetransmits": 1, "maxPacketLifeTime": 1})
