"""One data channel: its fixed properties, its state, and the messages that wait to be taken."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

__all__ = ["Channel", "ChannelConfig", "ChannelState"]


class ChannelState(enum.IntEnum):
    """States of a channel, numbered as Godot numbers them (W3C: RTCDataChannelState)."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """What is fixed about a channel when it is created.

    label, protocol     text; at most 65,535 bytes of UTF-8 each.
    ordered             False: messages may overtake each other.
    max_retransmits     times a message is sent again, 0 to 65,535; None: no limit.
    max_lifetime_ms     milliseconds a message is tried for, 0 to 65,535; None: no limit.
    negotiated          True: both sides create the channel with the same id and nothing is announced.
    priority            weight against the other channels: 128, 256, 512 or 1024.
    """

    label: str = ""
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_lifetime_ms: int | None = None
    negotiated: bool = False
    priority: int = 256


class Channel:
    """The state of one channel.  Its registry writes it; faces read it and take from `incoming`.

    id              stream id, 0 to 65,534; None until the DTLS role is known (RFC 8832 section 6).
    state           where in its life the channel is.
    incoming        messages in order of arrival: (payload, is_text).
    close_reason    why the channel is closed, a sentence; "" before that.
    ordered_until_ack   True while DATA_CHANNEL_ACK is awaited: nothing may overtake the OPEN.
    low_threshold   bytes of buffered amount at which the application wants to know; -1: it does not.
    messages_sent, messages_received, bytes_sent, bytes_received    payload counters.
    """

    __slots__ = (
        "__weakref__",
        "bytes_received",
        "bytes_sent",
        "close_reason",
        "config",
        "id",
        "incoming",
        "lifetime",
        "low_threshold",
        "messages_received",
        "messages_sent",
        "ordered",
        "ordered_until_ack",
        "partial",
        "partial_size",
        "reset_received",
        "reset_sent",
        "state",
    )

    def __init__(self, config: ChannelConfig, stream_id: int | None) -> None:
        self.config = config
        self.id = stream_id
        self.state = ChannelState.CONNECTING
        self.incoming: deque[tuple[bytes, bool]] = deque()
        self.close_reason = ""
        self.ordered_until_ack = False
        self.low_threshold = -1
        self.ordered = config.ordered
        self.lifetime = None if config.max_lifetime_ms is None else config.max_lifetime_ms / 1000
        self.messages_sent = self.messages_received = 0
        self.bytes_sent = self.bytes_received = 0
        self.partial: list[bytes] = []
        self.partial_size = 0
        self.reset_sent = False
        self.reset_received = False
