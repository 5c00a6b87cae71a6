"""What a session can tell about itself at one moment."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from rtcstack import ice, sctp
from rtcstack.datachannel import Channel

__all__ = [
    "CandidateStats",
    "CertificateStats",
    "ChannelStats",
    "PairStats",
    "Stats",
    "TransportStats",
    "candidate_stats",
    "certificate_stats",
    "channel_stats",
    "counters",
    "format_address",
    "pair_stats",
]


@dataclass(slots=True)
class TransportStats:
    """The path and the encryption (W3C: RTCTransportStats).

    packets_sent, packets_received      datagrams of ICE, DTLS and TURN, of this connection alone.
    bytes_sent, bytes_received          bytes in them, without UDP and IP headers.
    ice_role                            "controlling" or "controlled"; "unknown" before ICE begins.
    ice_state                           name of the agent's state, lower case.
    ice_local_username_fragment         ours; "" before ICE begins.
    dtls_role                           "client", "server", or "unknown" before the peer has been described.
    dtls_state                          "new", "connecting", "connected", "closed" or "failed".
    tls_version, dtls_cipher            "DTLSv1.2" and the suite, OpenSSL's names; "" before the handshake.
    dtls_records_sent, dtls_records_received    application records, one for each SCTP packet.
    dtls_handshake_resends              flights sent again.
    selected_candidate_pair_changes     how often a path was taken into use, the first one included.
    """

    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    ice_role: str
    ice_state: str
    ice_local_username_fragment: str
    dtls_role: str
    dtls_state: str
    tls_version: str
    dtls_cipher: str
    dtls_records_sent: int
    dtls_records_received: int
    dtls_handshake_resends: int
    selected_candidate_pair_changes: int


@dataclass(frozen=True, slots=True)
class CandidateStats:
    """One candidate (W3C: RTCIceCandidateStats).

    address, port       as the other side reaches it.
    protocol            "udp" or "tcp".
    candidate_type      "host", "srflx", "prflx" or "relay".
    related_address, related_port   the base, or what a relay's server sees; None for host candidates.
    tcp_type            "active", "passive" or "so" for TCP.
    interface           name of the network interface; "" where it is not known.
    """

    address: str
    port: int
    protocol: str
    candidate_type: str
    priority: int
    foundation: str
    related_address: str | None
    related_port: int | None
    tcp_type: str | None
    interface: str


@dataclass(slots=True)
class PairStats:
    """The path that data takes (W3C: RTCIceCandidatePairStats).

    local, remote           (ip, port) of both ends.
    local_type, remote_type "host", "srflx", "prflx" or "relay".
    protocol                "udp" or "tcp", between the two ends.
    state                   of RFC 8445: "Succeeded" as a rule.
    nominated               whether both sides have settled for it.
    priority                of RFC 8445.
    current_round_trip_time round-trip time of the last check, seconds; 0 before the first.
    requests_sent           checks and consent requests, retransmissions included.
    responses_received      authenticated answers.
    requests_received       authenticated checks of the peer.
    """

    local: tuple[str, int]
    local_type: str
    remote: tuple[str, int]
    remote_type: str
    protocol: str
    state: str
    nominated: bool
    priority: int
    current_round_trip_time: float
    requests_sent: int
    responses_received: int
    requests_received: int

    def __str__(self) -> str:
        seconds = self.current_round_trip_time
        rtt = f", {seconds * 1000:.2f} ms" if seconds else ""
        return (
            f"{self.local_type} {format_address(self.local)} -> "
            f"{self.remote_type} {format_address(self.remote)}{rtt}"
        )


@dataclass(frozen=True, slots=True)
class CertificateStats:
    """A certificate of one side (W3C: RTCCertificateStats).

    fingerprint             as in the description: "AB:CD:...".
    fingerprint_algorithm   "sha-256".
    base64_certificate      the whole of it, DER in base 64.
    """

    fingerprint: str
    fingerprint_algorithm: str
    base64_certificate: str


@dataclass(slots=True)
class ChannelStats:
    """One channel that is not closed (W3C: RTCDataChannelStats).

    id                  stream id (W3C: dataChannelIdentifier); None while it is not known yet.
    state               "CONNECTING", "OPEN" or "CLOSING".
    messages_sent, messages_received, bytes_sent, bytes_received    counts of messages and their bytes.
    buffered_amount     bytes neither acknowledged nor given up yet.
    """

    id: int | None
    label: str
    protocol: str
    state: str
    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    buffered_amount: int


@dataclass(slots=True)
class Stats:
    """A snapshot of one connection.  Names are those of W3C's webrtc-stats, written as Python writes them.

    connection_state, gathering_state, signaling_state     names of the states.
    transport       packets and bytes, ICE and DTLS.
    selected_pair   the path in use; None before there is one.
    local_candidates, remote_candidates     of both sides; explain() tells what became of their pairs.
    local_certificate, remote_certificate   None before the first description, or the handshake.
    sctp            counters and state of the association; None before DTLS is up.
    channels        the channels that are not closed.
    drops           "layer.reason" -> how much of what arrived was not used for it; zeros are left out.
    """

    connection_state: str
    gathering_state: str
    signaling_state: str
    transport: TransportStats
    selected_pair: PairStats | None
    local_candidates: tuple[CandidateStats, ...]
    remote_candidates: tuple[CandidateStats, ...]
    local_certificate: CertificateStats | None
    remote_certificate: CertificateStats | None
    sctp: sctp.Snapshot | None
    channels: tuple[ChannelStats, ...]
    drops: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return it as nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)


def channel_stats(channel: Channel, buffered_amount: int) -> ChannelStats:
    """Describe one channel."""
    config = channel.config
    return ChannelStats(
        channel.id,
        config.label,
        config.protocol,
        channel.state.name,
        channel.messages_sent,
        channel.messages_received,
        channel.bytes_sent,
        channel.bytes_received,
        buffered_amount,
    )


def pair_stats(pair: ice.Pair) -> PairStats:
    """Describe the selected pair."""
    return PairStats(
        pair.local_address,
        pair.local.type,
        pair.remote_address,
        pair.remote.type,
        pair.local.transport,
        pair.state.value,
        pair.nominated,
        pair.priority,
        pair.rtt,
        pair.requests_sent,
        pair.responses_received,
        pair.requests_received,
    )


@functools.lru_cache(maxsize=256)
def candidate_stats(candidate: ice.Candidate) -> CandidateStats:
    """Describe one candidate, which never changes."""
    return CandidateStats(
        candidate.address,
        candidate.port,
        candidate.transport,
        candidate.type,
        candidate.priority,
        candidate.foundation,
        candidate.related_address,
        candidate.related_port,
        candidate.tcp_type,
        candidate.interface,
    )


@functools.lru_cache(maxsize=256)
def certificate_stats(der: bytes) -> CertificateStats:
    """Describe one certificate."""
    fingerprint = hashlib.sha256(der).digest().hex(":").upper()
    return CertificateStats(fingerprint, "sha-256", base64.b64encode(der).decode())


def format_address(address: tuple[str, int]) -> str:
    """Write (ip, port) as people do: "10.0.0.1:5000", "[fe80::1]:5000"."""
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def counters(layer: str, drops: Any) -> dict[str, int]:
    """Name the counters of a layer, a dataclass or a dictionary of numbers, and leave out zeros."""
    if isinstance(drops, dict):
        return {f"{layer}.{reason}": count for reason, count in drops.items() if count}
    names, read = _reader(layer, drops.__class__)
    return {name: count for name, count in zip(names, read(drops), strict=True) if count}


@functools.cache
def _reader(layer: str, kind: type) -> tuple[tuple[str, ...], attrgetter[tuple[int, ...]]]:
    """Prepare to read all counters of a kind of drops at once."""
    names = [each.name for each in dataclasses.fields(kind)]
    return tuple(f"{layer}.{name}" for name in names), attrgetter(*names)
