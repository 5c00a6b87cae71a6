"""What the Web Platform Tests ask of data channels, told anew for this API."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from peer_support import Two, take_all
from wpt_support import IN_BAND, KINDS, NEGOTIATED, channel_pair, message, offer

from rtcstack import (
    AlreadyExists,
    Closed,
    DataChannel,
    InvalidParameter,
    InvalidState,
    MessageTooLarge,
    PeerConnection,
)
from rtcstack.datachannel import ChannelConfig, Registry

HELLO = b"hello"
WORLD = "世界你好"

# -- creating ------------------------------------------------------------------------------------------------


def test_a_channel_needs_a_label() -> None:
    """WPT RTCPeerConnection-createDataChannel: createDataChannel with no argument should throw TypeError"""
    with pytest.raises(TypeError):
        PeerConnection().create_data_channel()  # type: ignore[call-arg]


def test_a_closed_connection_makes_no_channel() -> None:
    """WPT RTCPeerConnection-createDataChannel: createDataChannel with closed connection should throw
    InvalidStateError
    """
    peer = PeerConnection()
    peer.close()
    with pytest.raises(Closed):
        peer.create_data_channel("")


def test_what_a_channel_is_by_default() -> None:
    """WPT RTCPeerConnection-createDataChannel: createDataChannel attribute default values
    WPT RTCPeerConnection-createDataChannel: createDataChannel with ordered null/undefined should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with protocol undefined should succeed
    WPT RTCPeerConnection-createDataChannel: New datachannel should be in the connecting state after creation
    WPT RTCDataChannel-bufferedAmountLowThreshold: buffered amount low threshold is 0 by default
    """
    peer = PeerConnection()
    for options in ({}, {"ordered": None, "protocol": None, "negotiated": None}):
        channel = peer.create_data_channel("test", options)
        assert channel.get_label() == "test"
        assert channel.is_ordered()
        assert channel.get_max_packet_life_time() == channel.get_max_retransmits() == 65535
        assert channel.get_protocol() == ""
        assert not channel.is_negotiated()
        assert channel.get_id() == 65535
        assert channel.get_ready_state() == DataChannel.STATE_CONNECTING
        assert channel.get_buffered_amount() == 0


def test_a_channel_is_what_it_was_asked_to_be() -> None:
    """WPT RTCPeerConnection-createDataChannel: createDataChannel with provided parameters should
        initialize attributes to provided values
    WPT RTCPeerConnection-createDataChannel: New negotiated datachannel should be in the connecting
        state after creation
    """
    options = {"ordered": False, "maxRetransmits": 7, "protocol": "rpc", "negotiated": True, "id": 23}
    peer = PeerConnection()
    channel = peer.create_data_channel("test", options)
    assert (channel.get_label(), channel.get_protocol(), channel.get_id()) == ("test", "rpc", 23)
    assert (channel.is_ordered(), channel.is_negotiated()) == (False, True)
    assert (channel.get_max_retransmits(), channel.get_max_packet_life_time()) == (7, 65535)
    assert channel.get_ready_state() == DataChannel.STATE_CONNECTING


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("foo", {}),
        ("", {"ordered": False}),
        ("", {"maxPacketLifeTime": 0}),
        ("", {"maxRetransmits": 0}),
        ("", {"protocol": "foo"}),
        ("", {"negotiated": False}),
        ("", {"negotiated": True, "id": 0}),
        ("", {"negotiated": True, "id": 1}),
        ("", {"negotiated": True, "id": 65534}),
        ("", {"priority": "high"}),
        ("l" * 65535, {}),
        ("", {"protocol": "p" * 65535}),
        ("l" * 65535, {"protocol": "p" * 65535, "negotiated": True, "id": 5}),
    ],
)
def test_options_that_are_allowed(label: str, options: dict[str, Any]) -> None:
    """WPT RTCPeerConnection-createDataChannel: createDataChannel with label "foo" should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with ordered false should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with maxPacketLifeTime 0 should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with maxRetransmits 0 should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with protocol "foo" should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with negotiated false should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with negotiated true and id should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with id 0 and negotiated true should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with id 1 and negotiated true should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with id 65534 and negotiated true should
        succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with priority "high" should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with maximum length label should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with maximum length protocol should succeed
    WPT RTCPeerConnection-createDataChannel: createDataChannel with maximum length label and protocol
        should succeed
    """
    peer = PeerConnection()
    channel = peer.create_data_channel(label, options)
    assert channel.get_label() == label
    assert channel.get_protocol() == options.get("protocol", "")
    if "id" in options:
        assert channel.get_id() == options["id"]
    for key, read in (
        ("maxPacketLifeTime", channel.get_max_packet_life_time),
        ("maxRetransmits", channel.get_max_retransmits),
    ):
        assert read() == options.get(key, 65535)


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("", {"negotiated": True, "id": -1}),
        ("", {"negotiated": True, "id": 65535}),
        ("", {"negotiated": True, "id": 65536}),
        ("", {"negotiated": True}),
        ("", {"maxPacketLifeTime": 0, "maxRetransmits": 0}),
        ("", {"maxPacketLifeTime": 65536}),
        ("", {"maxPacketLifeTime": -1}),
        ("", {"maxRetransmits": 65536}),
        ("", {"maxRetransmits": -1}),
        ("", {"priority": "invalid"}),
        ("l" * 65536, {}),
        ("", {"protocol": "p" * 65536}),
        ("l" * 65536, {"protocol": "p" * 65536, "negotiated": True, "id": 5}),
    ],
)
def test_options_that_are_not_allowed(label: str, options: dict[str, Any]) -> None:
    """WPT RTCPeerConnection-createDataChannel: createDataChannel with id -1 and negotiated true should
        throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with id 65535 and negotiated true should
        throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with id 65536 and negotiated true should
        throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with negotiated true and id not defined
        should throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with both maxPacketLifeTime and
        maxRetransmits should throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with invalid priority should throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with too long label should throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with too long label (2 byte unicode)
        should throw TypeError
    WPT RTCPeerConnection-createDataChannel: createDataChannel with too long protocol should throw TypeError
    WPT RTCDataChannelInit-maxRetransmits-enforce-range: maxRetransmits out of range should throw TypeError
    WPT RTCDataChannelInit-maxPacketLifeTime-enforce-range: maxPacketLifeTime out of range should throw
        TypeError
    """
    peer = PeerConnection()
    with pytest.raises(InvalidParameter):
        peer.create_data_channel(label, options)
    with pytest.raises(InvalidParameter):
        peer.create_data_channel("é" * 32768)  # 65,536 bytes of UTF-8


def test_two_channels_may_have_one_label() -> None:
    """WPT RTCPeerConnection-createDataChannel: createDataChannel with same label used twice should not
    throw
    """
    peer = PeerConnection()
    first, second = peer.create_data_channel("twin"), peer.create_data_channel("twin")
    assert first is not second


# -- ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "parity"), [("active", 1), ("passive", 0)])
def test_ids_are_known_with_the_dtls_role(role: str, parity: int) -> None:
    """WPT RTCDataChannel-id: DTLS client uses odd data channel IDs
    WPT RTCDataChannel-id: DTLS server uses even data channel IDs
    WPT RTCPeerConnection-createDataChannel: Channels created (after setRemoteDescription) should have
        id assigned
    """
    two = Two(chat=False, wired=False)
    channel = two.a.create_data_channel("")
    two.b.set_remote_description("offer", offer(two.a).replace("actpass", role.replace("active", "actpass")))
    answer = two.b.get_local_description().replace("a=setup:active", f"a=setup:{role}")
    two.a.set_remote_description("answer", answer)
    another = two.a.create_data_channel("another")
    assert channel.get_id() % 2 == another.get_id() % 2 == parity
    assert channel.get_id() != another.get_id()


def test_ids_of_channels_made_later_are_known_at_once() -> None:
    """WPT RTCPeerConnection-createDataChannel: Channels created (after SCTP connected) should have id
    assigned
    """
    two, first, _ = channel_pair(IN_BAND)
    assert two.a.create_data_channel("later").get_id() == first.get_id() + 2


@pytest.mark.parametrize("moment", ["before", "described", "connected"])
def test_an_id_in_use_is_not_given_again(moment: str) -> None:
    """WPT RTCPeerConnection-createDataChannel: Reusing a data channel id that is in use should throw
        OperationError
    WPT RTCPeerConnection-createDataChannel: Reusing a data channel id that is in use (after
        setRemoteDescription) should throw OperationError
    WPT RTCPeerConnection-createDataChannel: Reusing a data channel id that is in use (after
        setRemoteDescription, negotiated via DCEP) should throw OperationError
    """
    two = Two(chat=False)
    channel = two.a.create_data_channel("", {"negotiated": True, "id": 42})
    in_band = two.a.create_data_channel("")
    taken = [channel]
    if moment == "described":
        two.a.create_offer()
        assert two.run(lambda: two.a.get_signaling_state() == two.a.SIGNALING_STATE_STABLE)
        taken.append(in_band)
    elif moment == "connected":
        two.connected()
        taken.append(in_band)
    for other in taken:
        with pytest.raises(AlreadyExists):
            two.a.create_data_channel("", {"negotiated": True, "id": other.get_id()})


def test_negotiated_channels_do_not_disturb_the_parity_of_the_others() -> None:
    """WPT RTCDataChannel-id: Odd/even role should not be violated when mixing with negotiated channels"""
    two = Two(chat=False)
    negotiated = [two.a.create_data_channel("", {"negotiated": True, "id": i}) for i in (1, 2, 3, 7)]
    in_band = [two.a.create_data_channel("") for _ in range(4)]
    two.connected()
    assert [c.get_id() for c in negotiated] == [1, 2, 3, 7]
    assert [c.get_id() for c in in_band] == [5, 9, 11, 13]


def test_a_channel_beyond_the_streams_of_the_peer_is_not_opened() -> None:
    """WPT RTCSctpTransport-maxChannels: An unconnected peerconnection must not have maxChannels set
    WPT RTCSctpTransport-maxChannels: maxChannels gets instantiated after connecting
    """
    registry = Registry()
    beyond = registry.create(ChannelConfig("beyond", negotiated=True), 8)
    waiting = [registry.create(ChannelConfig(str(i))) for i in range(5)]
    assert beyond.state is DataChannel.STATE_CONNECTING
    registry.connect(client=True, max_streams=8)
    assert [channel.id for channel in waiting] == [0, 2, 4, 6, None]
    for channel in (beyond, waiting[-1]):
        assert channel.state is DataChannel.STATE_CLOSED
        assert "8 streams" in channel.close_reason
    with pytest.raises(InvalidParameter):
        registry.create(ChannelConfig("late", negotiated=True), 8)


# -- opening -------------------------------------------------------------------------------------------------


def test_a_channel_is_told_once_and_is_open_then() -> None:
    """WPT RTCPeerConnection-ondatachannel: Data channel event should fire when new data channel is
    announced to the remote peer
    """
    two = Two(chat=False)
    seen: list[int] = []
    two.b.data_channel_received.connect(lambda channel: seen.append(channel.get_ready_state()))
    two.a.create_data_channel("fire-me!")
    two.connected()
    two.run(lambda: False, limit=2)
    assert seen == [DataChannel.STATE_OPEN]


def test_messages_can_be_sent_where_a_channel_is_received() -> None:
    """WPT RTCPeerConnection-ondatachannel: Should be able to send data in a datachannel event handler
    WPT RTCDataChannel-send: Sending in ondatachannel should work
    """
    two = Two(chat=False)
    two.b.data_channel_received.connect(lambda channel: channel.put_packet("meow meow!"))
    channel = two.a.create_data_channel("fire-me!")
    two.connected()
    assert message(two, channel) == b"meow meow!"
    assert channel.was_string_packet()


def test_a_channel_that_is_closed_where_it_is_received_does_not_open() -> None:
    """WPT RTCPeerConnection-ondatachannel: Open event should not be raised when closing the channel in the
        datachannel event
    WPT RTCPeerConnection-ondatachannel: Open event should not be raised when sending and immediately
        closing the channel in the datachannel event
    """
    two = Two(chat=False)
    opened: list[DataChannel] = []
    closed: list[str] = []

    def receive(channel: DataChannel) -> None:
        channel.opened.connect(lambda: opened.append(channel))
        channel.closed.connect(closed.append)
        channel.put_packet("meow meow!")
        channel.close()

    two.b.data_channel_received.connect(receive)
    ours = two.a.create_data_channel("fire-me!")
    two.connected()
    assert message(two, ours) == b"meow meow!"
    assert two.run(lambda: closed)
    assert opened == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ordered": False, "maxRetransmits": 1, "protocol": "custom", "priority": "high"},
        {"ordered": False},
        {"ordered": True, "maxRetransmits": 0},
        {"ordered": True, "maxPacketLifeTime": 42, "protocol": "dcep"},
        {"ordered": False, "maxPacketLifeTime": 42},
    ],
)
def test_both_ends_of_an_announced_channel_are_alike(options: dict[str, Any]) -> None:
    """WPT RTCPeerConnection-ondatachannel: In-band negotiated channel created on remote peer should match
        the same configuration as local peer
    WPT RTCPeerConnection-ondatachannel: In-band negotiated channel created on remote peer should match
        the same (default) configuration as local peer
    WPT RTCDataChannel-dcep: reliable, unordered and partially reliable channels are announced as what
        they are
    """
    _, ours, theirs = channel_pair(options)
    for read in (
        DataChannel.get_label,
        DataChannel.get_protocol,
        DataChannel.get_id,
        DataChannel.is_ordered,
        DataChannel.is_negotiated,
        DataChannel.get_max_retransmits,
        DataChannel.get_max_packet_life_time,
    ):
        assert read(ours) == read(theirs)


def test_a_negotiated_channel_is_not_announced() -> None:
    """WPT RTCPeerConnection-ondatachannel: Negotiated channel should not fire datachannel event on remote
    peer
    """
    two = Two()
    received: list[DataChannel] = []
    two.b.data_channel_received.connect(received.append)
    two.connected()
    two.chat_a.put_packet(HELLO)
    assert message(two, two.chat_b) == HELLO
    assert received == []


def test_opened_comes_once_and_messages_after_it() -> None:
    """WPT RTCDataChannel-onopen: DataChannel open event should be called once
    WPT RTCDataChannel-send: Sending in onopen should work
    """
    two = Two()
    opened: list[int] = []
    two.chat_a.opened.connect(lambda: opened.append(two.chat_a.put_packet(HELLO)))
    two.connected()
    assert message(two, two.chat_b) == HELLO
    assert opened == [0]


# -- sending -------------------------------------------------------------------------------------------------


def test_nothing_can_be_sent_before_the_channel_is_open() -> None:
    """WPT RTCDataChannel-send: Calling send() when data channel is in connecting state should throw
    InvalidStateError
    """
    peer = PeerConnection()
    channel = peer.create_data_channel("test")
    with pytest.raises(InvalidState):
        channel.put_packet("hello")


@pytest.mark.parametrize("options", KINDS)
def test_text_and_bytes_arrive_as_what_they_were_sent(options: dict[str, Any]) -> None:
    """WPT RTCDataChannel-send: should be able to send simple string and receive as string
    WPT RTCDataChannel-send: should be able to send unicode string and receive as unicode string
    WPT RTCDataChannel-send: should be able to send Uint8Array message and receive as ArrayBuffer
    WPT RTCDataChannel-send: should be able to send ArrayBuffer message and receive as ArrayBuffer
    WPT RTCDataChannel-send: sending multiple messages with different types should succeed and be received
    WPT RTCDataChannel-send-receive: messages of each type, in both directions
    """
    two, first, second = channel_pair(options)
    sent: list[bytes | bytearray | memoryview | str] = [
        "hello",
        WORLD,
        HELLO,
        bytearray(HELLO),
        memoryview(HELLO),
    ]
    for here, there in ((first, second), (second, first)):
        for payload in sent:
            here.put_packet(payload)
        for payload in sent:
            got = message(two, there)
            assert there.was_string_packet() is isinstance(payload, str)
            assert got == (payload.encode() if isinstance(payload, str) else bytes(payload))


@pytest.mark.parametrize("options", KINDS)
def test_messages_up_to_the_limit_arrive_and_larger_ones_are_refused(options: dict[str, Any]) -> None:
    """WPT RTCDataChannel-send: send() up to max size should succeed, above max size should fail
    WPT RTCSctpTransport-maxMessageSize: Remote offer SDP missing max-message-size attribute
    WPT RTCSctpTransport-maxMessageSize: max-message-size with a (non-zero) value provided by the remote peer
    """
    two, first, second = channel_pair(options)
    size = 8
    while size <= first.get_max_message_size():
        first.put_packet("x" * size)
        assert len(message(two, second)) == size
        size *= 2
    with pytest.raises(MessageTooLarge):
        first.put_packet("x" * size)
    first.put_packet(HELLO)  # the channel lives on
    assert message(two, second) == HELLO


@pytest.mark.parametrize(
    ("line", "limit"),
    [("", 65536), ("a=max-message-size:0\r\n", 262144), ("a=max-message-size:1337\r\n", 1337)],
)
def test_the_limit_is_the_smaller_of_both_sides(line: str, limit: int) -> None:
    """WPT RTCSctpTransport-maxMessageSize: Remote offer SDP missing max-message-size attribute
    WPT RTCSctpTransport-maxMessageSize: max-message-size with a value of zero provided by the remote peer
    WPT RTCSctpTransport-maxMessageSize: max-message-size with a (non-zero) value provided by the remote peer
    """
    two = Two(wired=False)
    text = offer(two.a).replace("a=max-message-size:262144\r\n", line)
    two.b.set_remote_description("offer", text)
    assert two.chat_b.get_max_message_size() == limit


@pytest.mark.parametrize("options", KINDS)
def test_empty_messages_arrive_as_empty_messages(options: dict[str, Any]) -> None:
    """WPT datachannel-emptystring: Can send empty strings across a WebRTC data channel"""
    two, first, second = channel_pair(options)
    for payload in ("", b"", "done"):
        first.put_packet(payload)
    assert [(message(two, second), second.was_string_packet()) for _ in range(3)] == [
        (b"", True),
        (b"", False),
        (b"done", True),
    ]


def test_sending_before_the_other_side_knows_the_channel_works() -> None:
    """WPT RTCDataChannel-send: Sending before the other side is open should work"""
    two = Two(chat=False)
    received: list[DataChannel] = []
    two.b.data_channel_received.connect(received.append)
    two.a.create_data_channel("first")
    two.connected()
    channel = two.a.create_data_channel("second")
    channel.put_packet(HELLO)
    assert two.run(lambda: len(received) == 2)
    assert message(two, received[1]) == HELLO


def test_many_messages_of_different_types_arrive_in_order() -> None:
    """WPT RTCDataChannel-send-receive-stress: many messages in both directions
    WPT RTCDataChannel-send-blob-order: messages of different types keep their order
    """
    two, first, second = channel_pair(IN_BAND)
    sent = [str(i) if i % 3 else str(i).encode() * (i % 50) for i in range(400)]
    for here, there in ((first, second), (second, first)):
        for payload in sent:
            here.put_packet(payload)
        got = []
        for _ in sent:
            packet = message(two, there)
            got.append(packet.decode() if there.was_string_packet() else packet)
        assert got == sent


# -- what waits to be sent -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", KINDS)
def test_the_buffered_amount_counts_bytes_until_they_are_delivered(options: dict[str, Any]) -> None:
    """WPT RTCDataChannel-bufferedAmount: bufferedAmount initial value should be 0 for both peers
    WPT RTCDataChannel-bufferedAmount: bufferedAmount should increase to byte length of encoded unicode
        string sent
    WPT RTCDataChannel-bufferedAmount: bufferedAmount should increase to byte length of buffer sent
    WPT RTCDataChannel-bufferedAmount: bufferedAmount should increase by byte length for each message sent
    WPT RTCDataChannel-bufferedAmount: bufferedamount is data.length on send(data)
    WPT RTCDataChannel-bufferedAmount: bufferedamount returns the same amount if no more data is sent on
        the channel
    """
    two, first, second = channel_pair(options)
    assert first.get_buffered_amount() == second.get_buffered_amount() == 0
    total = 0
    for payload in (HELLO, WORLD, HELLO):
        first.put_packet(payload)
        total += len(payload.encode() if isinstance(payload, str) else payload)
        assert first.get_buffered_amount() == first.get_buffered_amount() == total
    assert two.run(lambda: second.get_available_packet_count() == 3)
    assert two.run(lambda: first.get_buffered_amount() == 0)
    assert second.get_buffered_amount() == 0


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("what", ["channel", "connection"])
def test_the_buffered_amount_does_not_fall_because_something_is_closed(
    options: dict[str, Any], what: str
) -> None:
    """WPT RTCDataChannel-bufferedAmount: bufferedAmount should not decrease immediately after initiating
        closure
    WPT RTCDataChannel-bufferedAmount: bufferedAmount should not decrease after closing the peer connection
    """
    two, first, second = channel_pair(options)
    first.put_packet(HELLO)
    (first if what == "channel" else two.a).close()
    assert first.get_buffered_amount() == len(HELLO)
    assert message(two, second) == HELLO


@pytest.mark.parametrize("options", KINDS)
def test_low_is_told_after_each_message_that_was_waited_for(options: dict[str, Any]) -> None:
    """WPT RTCDataChannel-bufferedAmount: bufferedamountlow event fires after send() is complete
    WPT RTCDataChannel-bufferedAmount: bufferedamountlow event fires after each sent message
    """
    two, first, second = channel_pair(options)
    low: list[int] = []
    first.buffered_amount_low.connect(lambda: low.append(first.get_buffered_amount()))
    for turn in (1, 2):
        first.put_packet(HELLO)
        assert message(two, second) == HELLO
        assert two.run(lambda turn=turn: len(low) == turn)
    assert low == [0, 0]


@pytest.mark.parametrize("options", KINDS)
def test_low_is_told_once_for_several_messages(options: dict[str, Any]) -> None:
    """WPT RTCDataChannel-bufferedAmount: bufferedamountlow event fires only once after multiple
        consecutive send() calls
    WPT RTCDataChannel-bufferedAmountLowThreshold: bufferedamountlow event fires once when the amount
        crosses the threshold
    """
    two, first, _ = channel_pair(options)
    low: list[int] = []
    first.set_buffered_amount_low_threshold(2)
    first.buffered_amount_low.connect(lambda: low.append(first.get_buffered_amount()))
    first.put_packet(HELLO)
    first.put_packet(HELLO)
    assert two.run(lambda: first.get_buffered_amount() == 0)
    two.run(lambda: False, limit=1)
    assert len(low) == 1
    assert low[0] <= 2


def test_low_is_not_told_for_the_announcement_of_a_channel() -> None:
    """WPT RTCDataChannel-bufferedAmountLowThreshold: bufferedamountlow event does not fire before anything
    is sent
    """
    two = Two(chat=False)
    low: list[int] = []
    channel = two.a.create_data_channel("")
    channel.buffered_amount_low.connect(lambda: low.append(channel.get_buffered_amount()))
    two.connected()
    two.run(lambda: False, limit=1)
    assert low == []
    channel.put_packet(HELLO)
    assert two.run(lambda: low)


# -- closing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", KINDS)
def test_the_other_end_goes_through_closing_to_closed(options: dict[str, Any]) -> None:
    """WPT RTCDataChannel-close: Close datachannel causes onclosing and onclose to be called
    WPT RTCDataChannel-close: Close datachannel causes closing and close event to be called
    """
    two, first, second = channel_pair(options)
    states = [second.get_ready_state()]
    closed: list[int] = []
    second.closed.connect(lambda _: closed.append(second.get_ready_state()))
    first.close()
    assert first.get_ready_state() == DataChannel.STATE_CLOSING

    def look() -> bool:
        if states[-1] != second.get_ready_state():
            states.append(second.get_ready_state())
        return bool(closed)

    assert two.run(look)
    assert states == [DataChannel.STATE_OPEN, DataChannel.STATE_CLOSING, DataChannel.STATE_CLOSED]
    assert closed == [DataChannel.STATE_CLOSED]


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("end", ["close", "abort"])
def test_the_end_of_a_connection_closes_its_channels_and_says_why(options: dict[str, Any], end: str) -> None:
    """WPT RTCDataChannel-close: Close peerconnection causes close event and error to be called on
    datachannel
    """
    two, first, second = channel_pair(options)
    reasons: list[tuple[str, str]] = []
    first.closed.connect(lambda reason: reasons.append(("first", reason)))
    second.closed.connect(lambda reason: reasons.append(("second", reason)))
    getattr(two.a, end)()
    assert two.run(lambda: len(reasons) == 2)
    two.run(lambda: False, limit=6)
    assert sorted(name for name, _ in reasons) == ["first", "second"]
    assert all(reason for _, reason in reasons)
    assert second.get_close_reason() == dict(reasons)["second"]


@pytest.mark.parametrize("options", KINDS)
def test_the_end_of_a_connection_says_nothing_of_channels_that_are_closed(options: dict[str, Any]) -> None:
    """WPT RTCDataChannel-close: Close peerconnection after datachannel close causes no events"""
    two, first, second = channel_pair(options)
    events: list[str] = []
    for channel in (first, second):
        channel.closed.connect(events.append)
    first.close()
    assert two.run(lambda: len(events) == 2)
    two.a.close()
    two.run(lambda: False, limit=6)
    assert len(events) == 2


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("payload", ["text", b"bytes"])
def test_what_is_sent_before_closing_arrives(options: dict[str, Any], payload: str | bytes) -> None:
    """WPT RTCDataChannel-send-close-string: Closing the channel after sending delivers the messages
    WPT RTCDataChannel-send-close-string-negotiated: Closing the channel after sending delivers the messages
    WPT RTCDataChannel-send-close-array-buffer: Closing the channel after sending delivers the messages
    WPT RTCDataChannel-send-close-array-buffer-negotiated: Closing the channel after sending delivers
        the messages
    """
    two, first, second = channel_pair(options)
    for _ in range(50):
        first.put_packet(payload * 1000)
    first.close()
    assert two.run(lambda: second.get_ready_state() == DataChannel.STATE_CLOSED)
    assert len(take_all(second)) == 50


def test_a_channel_that_nobody_holds_lives_on_and_dies_with_its_connection() -> None:
    """WPT RTCDataChannel-GC: Channels that are not referenced are not collected while they can receive"""
    two, first, second = channel_pair(IN_BAND)
    seen: list[bytes] = []
    weak = weakref.ref(second)
    two.b.data_channel_received.clear()
    del second
    gc.collect()
    first.put_packet(HELLO)
    alive = weak()
    assert alive is not None
    seen.append(message(two, alive))
    assert seen == [HELLO]


@pytest.mark.parametrize("side", ["a", "b"])
def test_channels_outlive_an_ice_restart(side: str) -> None:
    """WPT RTCDataChannel-iceRestart: Data channel keeps working after ICE restart
    WPT RTCIceTransport: Local ICE restart should not result in a different ICE transport (DataChannel case)
    WPT RTCIceTransport: Remote ICE restart should not result in a different ICE transport (DataChannel case)
    """
    two, first, second = channel_pair(NEGOTIATED)
    peer = getattr(two, side)
    before = peer.get_local_description()
    peer.restart_ice()
    assert two.run(lambda: peer.get_signaling_state() == peer.SIGNALING_STATE_STABLE)
    for here, there in ((first, second), (second, first)):
        here.put_packet(HELLO)
        assert message(two, there) == HELLO
    ufrag = next(line for line in before.split("\r\n") if line.startswith("a=ice-ufrag"))
    assert ufrag not in peer.get_local_description()
    assert first.get_ready_state() == second.get_ready_state() == DataChannel.STATE_OPEN
