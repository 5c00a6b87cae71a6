"""One other peer of a multiplayer game: its connection and the channels that carry its packets."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from rtcstack.errors import RTCError
from rtcstack.multiplayer.modes import TransferMode
from rtcstack.peer import DataChannel, PeerConnection

__all__ = ["Inlet", "Member", "Standing", "create_channels"]

_RELIABLE = TransferMode.RELIABLE
_LOST = (PeerConnection.STATE_FAILED, PeerConnection.STATE_CLOSED)
_CONNECTED = PeerConnection.STATE_CONNECTED
_OPEN = DataChannel.STATE_OPEN
_CONNECTING = DataChannel.STATE_CONNECTING

_DEFAULT_CHANNELS = (
    ("reliable", TransferMode.RELIABLE),
    ("ordered", TransferMode.UNRELIABLE_ORDERED),
    ("unreliable", TransferMode.UNRELIABLE),
)
"""Label, never sent, and mode of the channels that every peer has, with stream ids from 1 on."""

_SHORTEST_LIFETIME_MS = 50
"""A shorter lifetime means: send once.  No retransmission comes sooner on most paths, and a message that
waits for the next poll(), 33 ms at 30 Hz, must not be too old before it was sent at all."""

_EXTRA_LIFETIME_MS = 1
"""Of the unreliable channels of channels_config, as in Godot."""


class Standing(enum.Enum):
    """How far a peer is."""

    WAITING = enum.auto()
    OPEN = enum.auto()
    LOST = enum.auto()


class Inlet:
    """Where packets of one kind come in from one peer.

    peer_id             who sends them.
    transfer_channel    0 for the three channels that every peer has, or the number in channels_config.
    mode                what may happen to them on their way.
    take                takes the next one.
    queued              how many of those that wait in the channel the owner knows of.
    """

    __slots__ = ("_channel", "mode", "peer_id", "queued", "take", "transfer_channel")

    def __init__(self, peer_id: int, index: int, mode: TransferMode, channel: DataChannel) -> None:
        self.peer_id = peer_id
        self.transfer_channel = max(0, index - len(_DEFAULT_CHANNELS) + 1)
        self.mode = mode
        self.take: Callable[[], bytes] = channel.get_packet
        self.queued = 0
        self._channel = channel

    def count_fresh(self) -> int:
        """Count the packets that have come in since the last call."""
        fresh = self._channel.get_available_packet_count() - self.queued
        self.queued += fresh
        return fresh


class Member:
    """A peer that was added, connected or not yet.

    connection      to that peer.
    channels        in the order of their stream ids, from 1 on.
    inlets          one for each channel, in that order.
    is_connected    whether the application was told, or is about to be, that the peer is there.
    is_leaving      whether it is lost, but has left packets that may still be taken.
    """

    __slots__ = ("channels", "connection", "inlets", "is_connected", "is_leaving")

    def __init__(
        self,
        peer_id: int,
        connection: PeerConnection,
        channels: list[DataChannel],
        modes: Sequence[TransferMode],
    ) -> None:
        self.connection = connection
        self.channels = channels
        self.inlets = [
            Inlet(peer_id, index, mode, channel)
            for index, (mode, channel) in enumerate(zip(modes, channels, strict=True))
        ]
        self.is_connected = False
        self.is_leaving = False

    def standing(self) -> Standing:
        """Look at the connection and its channels.

        A connection that is DISCONNECTED may recover: it counts as it did before.
        """
        state = self.connection.get_connection_state()
        if state in _LOST:
            return Standing.LOST
        is_open = True
        for channel in self.channels:
            if channel.get_ready_state() is not _OPEN:
                if channel.get_ready_state() is not _CONNECTING:
                    return Standing.LOST
                is_open = False
        return Standing.OPEN if is_open and state is _CONNECTED else Standing.WAITING

    def has_packets(self) -> bool:
        """Tell whether a packet of this peer waits to be taken."""
        return any(channel.get_available_packet_count() for channel in self.channels)


def channel_modes(extra: Sequence[TransferMode]) -> list[TransferMode]:
    """List the modes of all channels: the three that every peer has, and those of channels_config."""
    return [mode for _, mode in _DEFAULT_CHANNELS] + list(extra)


def create_channels(
    connection: PeerConnection, extra: Sequence[TransferMode], unreliable_lifetime: int
) -> list[DataChannel]:
    """Create the negotiated channels of one peer, in the order of their stream ids.

    extra                   modes of the channels beyond the three that every peer has.
    unreliable_lifetime     milliseconds that an unreliable packet is tried for.

    Raises:
        RTCError: one cannot be created; those before it are closed again.
    """
    wanted = [(label, mode, unreliable_lifetime) for label, mode in _DEFAULT_CHANNELS]
    for mode in extra:
        wanted.append((str(len(wanted) + 1), mode, _EXTRA_LIFETIME_MS))
    channels: list[DataChannel] = []
    try:
        for stream_id, (label, mode, lifetime) in enumerate(wanted, 1):
            options = {"negotiated": True, "id": stream_id, "ordered": mode is not TransferMode.UNRELIABLE}
            if mode is not _RELIABLE:
                options |= _partial_reliability(lifetime)
            channels.append(connection.create_data_channel(label, options))
    except RTCError as error:
        for channel in channels:
            channel.close()
        raise RTCError(f"channel {len(channels) + 1} of the peer cannot be created: {error}") from error
    return channels


def _partial_reliability(lifetime: int) -> dict[str, int]:
    return {"maxRetransmits": 0} if lifetime < _SHORTEST_LIFETIME_MS else {"maxPacketLifeTime": lifetime}
