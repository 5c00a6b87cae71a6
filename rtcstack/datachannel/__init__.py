"""Data channels over SCTP streams: DCEP, ids, opening and closing (RFC 8831, RFC 8832). Sans-IO."""

from rtcstack.datachannel.channel import Channel, ChannelConfig, ChannelState
from rtcstack.datachannel.dcep import LABEL_LIMIT, Open
from rtcstack.datachannel.events import (
    ChannelClosed,
    ChannelClosing,
    ChannelEvent,
    ChannelOpened,
    ChannelReceived,
)
from rtcstack.datachannel.registry import (
    PPID_BINARY,
    PPID_BINARY_EMPTY,
    PPID_DCEP,
    PPID_STRING,
    PPID_STRING_EMPTY,
    Drops,
    Options,
    Registry,
)

__all__ = [
    "LABEL_LIMIT",
    "PPID_BINARY",
    "PPID_BINARY_EMPTY",
    "PPID_DCEP",
    "PPID_STRING",
    "PPID_STRING_EMPTY",
    "Channel",
    "ChannelClosed",
    "ChannelClosing",
    "ChannelConfig",
    "ChannelEvent",
    "ChannelOpened",
    "ChannelReceived",
    "ChannelState",
    "Drops",
    "Open",
    "Options",
    "Registry",
]
