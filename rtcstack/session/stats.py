"""What a session can tell about itself at one moment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rtcstack import sctp
from rtcstack.datachannel import Channel

__all__ = ["ChannelStats", "DtlsStats", "PairStats", "Stats"]


@dataclass(frozen=True, slots=True)
class PairStats:
    """The path that data takes.

    local, remote           (ip, port) of both ends.
    local_type, remote_type "host", "srflx", "prflx" or "relay".
    rtt                     round-trip time of the last check, seconds; 0 before the first.
    transport               "udp" or "tcp", between the two ends.
    """

    local: tuple[str, int]
    local_type: str
    remote: tuple[str, int]
    remote_type: str
    rtt: float
    transport: str = "udp"

    def __str__(self) -> str:
        rtt = f", {self.rtt * 1000:.2f} ms" if self.rtt else ""
        return (
            f"{self.local_type} {format_address(self.local)} -> "
            f"{self.remote_type} {format_address(self.remote)}{rtt}"
        )


@dataclass(frozen=True, slots=True)
class DtlsStats:
    """The encryption: "DTLSv1.2" and the cipher suite, OpenSSL's names; "" before the handshake is done."""

    version: str
    cipher: str

    def __str__(self) -> str:
        return f"{self.version} {self.cipher}"


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """One channel that is not closed: its identity, its state, and counts of messages and their bytes."""

    id: int | None
    label: str
    protocol: str
    state: str
    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    buffered_amount: int


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of one connection.

    connection_state, gathering_state, signaling_state     names of the states.
    selected_pair   the path in use; None before there is one.
    selected_pair_changes   how often a path was taken into use, the first one included.
    dtls            version and cipher; None before the peer has been described.
    sctp            counters of the association; None before DTLS is up.
    channels        the channels that are not closed.
    drops           "layer.reason" -> how much of what arrived was not used for it; zeros are left out.
    """

    connection_state: str
    gathering_state: str
    signaling_state: str
    selected_pair: PairStats | None
    selected_pair_changes: int
    dtls: DtlsStats | None
    sctp: sctp.Stats | None
    channels: tuple[ChannelStats, ...]
    drops: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return it as nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)


def channel_stats(channel: Channel, buffered_amount: int) -> ChannelStats:
    """Describe one channel."""
    return ChannelStats(
        id=channel.id,
        label=channel.config.label,
        protocol=channel.config.protocol,
        state=channel.state.name,
        messages_sent=channel.messages_sent,
        messages_received=channel.messages_received,
        bytes_sent=channel.bytes_sent,
        bytes_received=channel.bytes_received,
        buffered_amount=buffered_amount,
    )


def format_address(address: tuple[str, int]) -> str:
    """Write (ip, port) as people do: "10.0.0.1:5000", "[fe80::1]:5000"."""
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def counters(layer: str, drops: Any) -> dict[str, int]:
    """Name the counters of a layer, a dataclass or a dictionary of numbers, and leave out zeros."""
    counts = drops if isinstance(drops, dict) else dataclasses.asdict(drops)
    return {f"{layer}.{reason}": count for reason, count in counts.items() if count}
