"""The life of channels: ids, opening, early data, closing and reopening (RFC 8831, RFC 8832)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.datachannel import (
    Channel,
    ChannelClosed,
    ChannelClosing,
    ChannelConfig,
    ChannelOpened,
    ChannelReceived,
    ChannelState,
    Open,
    Options,
    Registry,
)
from rtcstack.errors import AlreadyExists, InvalidParameter

DCEP, STRING, BINARY_PARTIAL, BINARY, STRING_PARTIAL, STRING_EMPTY, BINARY_EMPTY = 50, 51, 52, 53, 54, 56, 57
ACK = b"\x02"


def connected(*, client: bool = True, max_streams: int = 65535, options: Options = Options()) -> Registry:
    registry = Registry(options)
    registry.connect(client=client, max_streams=max_streams)
    return registry


def opened(registry: Registry, label: str = "chat", **config: object) -> Channel:
    channel = registry.create(ChannelConfig(label, **config))  # type: ignore[arg-type]
    registry.take_events()
    registry.take_control()
    return channel


def messages(registry: Registry, channel: Channel) -> list[tuple[bytes, bool]]:
    return [registry.take(channel) for _ in range(len(channel.incoming))]


# -- ids ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "ids"), [(True, [0, 2, 4]), (False, [1, 3, 5])])
def test_ids_are_even_for_the_dtls_client_and_odd_for_the_server(client: bool, ids: list[int]) -> None:
    """RFC 8832 §6."""
    registry = connected(client=client)
    assert [registry.create(ChannelConfig(str(i))).id for i in range(3)] == ids


def test_a_channel_gets_its_id_when_the_role_is_known() -> None:
    registry = Registry()
    channels = [registry.create(ChannelConfig(label)) for label in "ab"]
    assert [channel.id for channel in channels] == [None, None]
    assert registry.take_events() == []
    registry.connect(client=False, max_streams=16)
    assert [channel.id for channel in channels] == [1, 3]
    assert registry.take_events() == [ChannelOpened(channel) for channel in channels]
    assert registry.take_control() == [(1, Open("a").write()), (3, Open("b").write())]


def test_ids_in_use_are_passed_over() -> None:
    registry = connected()
    registry.create(ChannelConfig(negotiated=True), 0)
    assert registry.create(ChannelConfig()).id == 2


@pytest.mark.parametrize("stream_id", [-1, 65535, 65536])
def test_ids_outside_the_range_are_refused(stream_id: int) -> None:
    with pytest.raises(InvalidParameter):
        Registry().create(ChannelConfig(negotiated=True), stream_id)


def test_an_id_and_negotiated_belong_together() -> None:
    with pytest.raises(InvalidParameter):
        Registry().create(ChannelConfig(negotiated=True))
    with pytest.raises(InvalidParameter):
        Registry().create(ChannelConfig(), 1)


def test_an_id_in_use_is_refused() -> None:
    registry = Registry()
    registry.create(ChannelConfig(negotiated=True), 1)
    with pytest.raises(AlreadyExists):
        registry.create(ChannelConfig(negotiated=True), 1)


def test_an_id_beyond_the_peers_streams_closes_its_channel_with_a_reason() -> None:
    registry = Registry()
    channel = registry.create(ChannelConfig(negotiated=True), 1024)
    registry.connect(client=True, max_streams=1024)
    assert channel.state is ChannelState.CLOSED
    assert "1024" in channel.close_reason
    assert registry.take_events() == [ChannelClosed(channel, channel.close_reason)]


def test_when_all_ids_are_used_a_further_channel_closes_with_a_reason() -> None:
    registry = connected(max_streams=4)
    channels = [registry.create(ChannelConfig()) for _ in range(3)]
    assert [channel.id for channel in channels] == [0, 2, None]
    assert channels[2].state is ChannelState.CLOSED
    assert "in use" in channels[2].close_reason


# -- opening -----------------------------------------------------------------------------------------


def test_an_announced_channel_is_received_and_acknowledged() -> None:
    registry = connected()
    announcement = Open("日本", "proto", False, max_retransmits=2, priority=512)
    registry.receive([(1, DCEP, announcement.write())])
    (event,) = registry.take_events()
    assert isinstance(event, ChannelReceived)
    assert event.channel.config == ChannelConfig("日本", "proto", False, 2, priority=512)
    assert (event.channel.id, event.channel.state) == (1, ChannelState.OPEN)
    assert registry.take_control() == [(1, ACK)]


def test_nothing_may_overtake_the_open_before_its_ack() -> None:
    """RFC 8832 §6: until the ACK is here, everything is sent ordered."""
    registry = connected()
    channel = opened(registry, ordered=False)
    assert channel.ordered
    registry.receive([(0, DCEP, ACK)])
    assert not channel.ordered
    assert not channel.config.ordered


def test_the_wrong_parity_is_accepted_on_a_free_stream() -> None:
    registry = connected(client=True)
    registry.receive([(0, DCEP, Open("x").write())])
    assert isinstance(registry.take_events()[0], ChannelReceived)
    assert registry.create(ChannelConfig()).id == 2


@pytest.mark.parametrize(
    ("payload", "drop"),
    [
        (b"", "bad_dcep"),
        (b"\x03\x00", "bad_dcep"),
        (b"\x09", "bad_dcep"),
        (Open("x").write() + b"!", "bad_dcep"),
        (ACK, "unexpected_ack"),
    ],
)
def test_bad_dcep_is_counted_and_harms_nobody(payload: bytes, drop: str) -> None:
    registry = connected()
    channel = opened(registry)
    registry.receive([(0, DCEP, ACK), (7, DCEP, payload), (0, DCEP, payload), (0, BINARY, b"still here")])
    assert registry.drops.as_dict()[drop] == 2
    assert channel.state is ChannelState.OPEN
    assert messages(registry, channel) == [(b"still here", False)]


def test_an_unreadable_open_has_its_stream_reset() -> None:
    registry = connected()
    registry.receive([(5, DCEP, b"\x03\x00")])
    assert registry.take_resets() == [5]


def test_an_open_on_a_used_stream_is_ignored() -> None:
    registry = connected()
    channel = registry.create(ChannelConfig("mine", negotiated=True), 3)
    registry.take_events()
    registry.receive([(3, DCEP, Open("theirs").write())])
    assert registry.drops.open_on_used_stream == 1
    assert registry.take_events() == []
    assert channel.state is ChannelState.OPEN


def test_announced_channels_are_bounded() -> None:
    registry = connected(options=Options(max_channels=2))
    registry.receive([(stream_id, DCEP, Open().write()) for stream_id in (1, 3, 5)])
    assert registry.drops.too_many_channels == 1
    assert registry.take_resets() == [5]


# -- messages ----------------------------------------------------------------------------------------


def test_text_binary_and_empty_messages_are_told_apart() -> None:
    """RFC 8831 §6.6 and §8: an empty message is one zero byte with a PPID of its own."""
    registry = connected()
    channel = opened(registry)
    registry.receive(
        [(0, STRING, b"a"), (0, BINARY, b"b"), (0, STRING_EMPTY, b"\0"), (0, BINARY_EMPTY, b"\0")]
    )
    assert messages(registry, channel) == [(b"a", True), (b"b", False), (b"", True), (b"", False)]


def test_deprecated_partial_messages_are_put_together() -> None:
    registry = connected()
    channel = opened(registry)
    registry.receive(
        [(0, STRING_PARTIAL, b"a"), (0, STRING_PARTIAL, b"b"), (0, STRING, b"c"), (0, BINARY, b"d")]
    )
    assert messages(registry, channel) == [(b"abc", True), (b"d", False)]


def test_partial_messages_are_bounded() -> None:
    registry = connected(options=Options(max_message_size=10))
    channel = opened(registry)
    registry.receive([(0, BINARY_PARTIAL, b"12345")] * 3)
    assert registry.drops.partial_overflow == 1
    assert channel.state is ChannelState.CLOSING
    assert "max_message_size of 10 bytes" in channel.close_reason


def test_unknown_ppids_are_counted() -> None:
    registry = connected()
    channel = opened(registry)
    registry.receive([(0, 0, b"a"), (0, 99, b"b"), (0, 55, b"c")])
    assert registry.drops.unknown_ppid == 3
    assert not channel.incoming


def test_data_that_overtakes_its_open_waits_for_it() -> None:
    registry = connected()
    registry.receive(
        [(1, BINARY, b"early"), (1, STRING_EMPTY, b"\0"), (1, DCEP, Open("x", ordered=False).write())]
    )
    (event,) = registry.take_events()
    assert isinstance(event, ChannelReceived)
    assert messages(registry, event.channel) == [(b"early", False), (b"", True)]


def test_data_for_a_negotiated_channel_waits_until_it_is_created() -> None:
    registry = connected()
    registry.receive([(9, STRING, b"early")])
    channel = registry.create(ChannelConfig(negotiated=True), 9)
    assert messages(registry, channel) == [(b"early", True)]


@pytest.mark.parametrize("options", [Options(max_early_messages=2), Options(max_early_bytes=2)])
def test_early_data_is_bounded_and_a_channel_with_a_hole_says_so(options: Options) -> None:
    registry = connected(options=options)
    registry.receive([(9, BINARY, b"1"), (9, BINARY, b"2"), (9, BINARY, b"3")])
    assert registry.drops.early_overflow == 1
    channel = registry.create(ChannelConfig(negotiated=True), 9)
    assert messages(registry, channel) == [(b"1", False), (b"2", False)]
    assert channel.state is ChannelState.CLOSING
    assert "too many to keep" in channel.close_reason


# -- closing -----------------------------------------------------------------------------------------


def test_closing_takes_both_resets_before_the_id_is_free() -> None:
    """RFC 8831 §6.7."""
    registry = connected()
    channel = opened(registry)
    registry.close(channel)
    assert registry.take_resets() == [0]
    assert registry.take_events() == [ChannelClosing(channel)]
    assert registry.create(ChannelConfig()).id == 2
    registry.reset_sent([0])
    assert channel.state is ChannelState.CLOSING
    assert registry.create(ChannelConfig()).id == 4
    registry.reset_received([0])
    assert channel.state is ChannelState.CLOSED
    assert registry.create(ChannelConfig()).id == 0
    assert ChannelClosed(channel, "closed by this side") in registry.take_events()


@pytest.mark.parametrize("used", [False, True])
def test_the_id_of_a_channel_given_up_is_free_if_nothing_has_come_on_it(used: bool) -> None:
    registry = connected()
    channel = opened(registry)
    if used:
        registry.receive([(0, BINARY, b"counted")])
    registry.close(channel)
    assert registry.reset_sent([0]) == [channel]
    registry.give_up(channel)
    assert channel.state is ChannelState.CLOSED
    assert registry.create(ChannelConfig()).id == (2 if used else 0)
    if used:
        with pytest.raises(AlreadyExists):
            registry.create(ChannelConfig(negotiated=True), 0)
        registry.reset_received([0])
        assert registry.create(ChannelConfig(negotiated=True), 0).id == 0


def test_a_reset_by_the_peer_is_answered_in_kind() -> None:
    registry = connected()
    channel = opened(registry)
    registry.reset_received([0])
    assert registry.take_resets() == [0]
    assert registry.take_events() == [ChannelClosing(channel)]
    registry.reset_sent([0])
    assert registry.take_events() == [ChannelClosed(channel, "closed by the peer")]


def test_closing_twice_resets_once() -> None:
    registry = connected()
    channel = opened(registry)
    registry.close(channel)
    registry.close(channel)
    registry.reset_received([0])
    registry.reset_received([0])
    assert registry.take_resets() == [0]
    registry.reset_sent([0])
    registry.close(channel)
    assert registry.take_events() == [ChannelClosing(channel), ChannelClosed(channel, "closed by this side")]


def test_messages_in_flight_while_closing_are_delivered_and_stay_readable() -> None:
    registry = connected()
    channel = opened(registry)
    registry.close(channel)
    registry.receive([(0, BINARY, b"on its way")])
    registry.reset_sent([0])
    registry.reset_received([0])
    assert channel.state is ChannelState.CLOSED
    assert messages(registry, channel) == [(b"on its way", False)]


def test_data_after_the_peers_reset_is_dropped() -> None:
    registry = connected()
    channel = opened(registry)
    registry.reset_received([0])
    registry.receive([(0, BINARY, b"late")])
    assert registry.drops.after_close == 1
    assert not channel.incoming


def test_a_channel_closed_before_the_connection_is_up_is_closed_at_once() -> None:
    registry = Registry()
    channels = [registry.create(ChannelConfig()), registry.create(ChannelConfig(negotiated=True), 4)]
    for channel in channels:
        registry.close(channel)
    assert [channel.state for channel in channels] == [ChannelState.CLOSED] * 2
    assert registry.is_empty
    registry.connect(client=True, max_streams=10)
    assert registry.take_control() == []


def test_a_lost_connection_closes_every_channel_once_with_its_reason() -> None:
    registry = connected()
    first, second = opened(registry), opened(registry)
    registry.close(second)
    registry.take_events()
    registry.disconnect("the peer is gone")
    registry.disconnect("again")
    assert registry.take_events() == [
        ChannelClosed(first, "the peer is gone"),
        ChannelClosed(second, "closed by this side"),
    ]
    assert registry.is_empty


def test_a_reset_of_a_stream_without_a_channel_is_answered() -> None:
    """A negotiated channel that only the peer has created can be closed by it all the same."""
    registry = connected()
    registry.reset_received([9])
    assert registry.take_resets() == [9]
    registry.reset_sent([9])
    registry.reset_received([9])
    assert registry.take_resets() == [9]


def test_the_answer_to_a_refusal_is_not_answered_again() -> None:
    registry = connected()
    registry.receive([(7, DCEP, b"junk")])
    assert registry.take_resets() == [7]
    registry.reset_received([7])
    assert registry.take_resets() == []
    registry.reset_received([7])
    assert registry.take_resets() == [7]


# -- the window --------------------------------------------------------------------------------------

PAYLOADS = st.binary(min_size=1, max_size=8)
MESSAGES = st.tuples(st.sampled_from([0, 1, 2, 9]), st.sampled_from([0, *range(50, 58)]), PAYLOADS)


@given(st.lists(MESSAGES, max_size=60), st.booleans())
def test_every_byte_received_is_released_once_it_is_of_no_more_use(
    received: list[tuple[int, int, bytes]], take_first: bool
) -> None:
    registry = connected(options=Options(max_early_messages=5, max_early_bytes=20, max_message_size=12))
    channels = [opened(registry), registry.create(ChannelConfig(negotiated=True), 2)]
    registry.receive(received)
    if take_first:
        for channel in channels:
            messages(registry, channel)
    for stream_id in (0, 1, 2, 9):
        registry.reset_received([stream_id])
        registry.reset_sent([stream_id])
    for channel in channels:
        messages(registry, channel)
    assert registry.released == sum(len(payload) for _, _, payload in received)
