"""What a registry of channels reports to the layer above."""

from __future__ import annotations

from dataclasses import dataclass

from rtcstack.datachannel.channel import Channel

__all__ = ["ChannelClosed", "ChannelClosing", "ChannelEvent", "ChannelOpened", "ChannelReceived"]


@dataclass(frozen=True, slots=True)
class ChannelReceived:
    """The peer has announced a channel; it is open."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """A channel created on this side can be used."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelClosing:
    """Closing has begun, on either side; nothing more can be sent."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The channel is closed; this comes exactly once for each channel.

    reason  a sentence for the application's log.
    """

    channel: Channel
    reason: str


ChannelEvent = ChannelReceived | ChannelOpened | ChannelClosing | ChannelClosed
