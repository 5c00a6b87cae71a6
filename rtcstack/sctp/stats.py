"""What an association counts, and what it can tell of itself at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter

__all__ = ["Snapshot", "Stats", "take_counters"]


@dataclass(slots=True)
class Stats:
    """Counters of one association, from its making on; a restart does not reset them."""

    packets_sent: int = 0
    packets_received: int = 0
    data_chunks_sent: int = 0
    """Chunks with user data, retransmissions excluded."""
    data_bytes_sent: int = 0
    """User data, retransmissions excluded, bytes."""
    retransmitted_chunks: int = 0
    """All chunks sent again; the next three are the causes."""
    retransmitted_after_loss: int = 0
    """Chunks sent again because later ones, or time, had shown that they were lost (RFC 8985)."""
    retransmitted_after_timeout: int = 0
    """Chunks sent again because T3-rtx had expired."""
    retransmitted_as_probe: int = 0
    """Chunks sent again to find out whether the last ones have arrived."""
    retransmitted_bytes: int = 0
    timeouts: int = 0
    """Expirations of T3-rtx."""
    recoveries: int = 0
    """Times that a loss, not a time-out, slowed the sender down."""
    tail_probes: int = 0
    """Packets sent to find out whether the last ones have arrived (RFC 8985 section 7)."""
    spurious_retransmissions: int = 0
    """Chunks sent again that the peer had already."""
    undone_recoveries: int = 0
    """Recoveries and time-outs taken back, as nothing had been lost."""
    window_probes: int = 0
    """Packets sent into a window that the peer had closed."""
    abandoned_messages: int = 0
    """Partially reliable messages given up."""
    forward_tsns_sent: int = 0
    sacks_sent: int = 0
    sacks_received: int = 0
    old_sacks: int = 0
    """SACKs that came later than a newer one."""
    data_chunks_received: int = 0
    data_bytes_received: int = 0
    duplicates_received: int = 0
    """Chunks with user data that had been received before."""
    messages_sent: int = 0
    messages_received: int = 0
    control_retransmissions: int = 0
    """INIT, COOKIE ECHO, SHUTDOWN, SHUTDOWN ACK and RE-CONFIG sent again."""
    heartbeats_sent: int = 0
    mtu_probes: int = 0
    """Packets sent to find out whether larger ones arrive."""
    restarts: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    """Reason -> how many packets or chunks were not used for it."""

    def drop(self, reason: str) -> None:
        """Count one packet or chunk that is not used."""
        self.drops[reason] = self.drops.get(reason, 0) + 1


@dataclass(slots=True)
class Snapshot(Stats):
    """The counters of an association at one moment, and the state of its sender and receiver then."""

    state: str = "CLOSED"
    """Name of the RFC 9260 state."""
    congestion_control: str = ""
    """Name of the controller."""
    cwnd: int = 0
    """Congestion window, bytes; 0 before the handshake."""
    ssthresh: int | None = None
    """Slow-start threshold, bytes; None while nothing has set it."""
    pacing_rate: float | None = None
    """Bytes a second at which packets are spread; None where the window alone rules."""
    srtt: float = 0.0
    """Smoothed round-trip time, seconds; 0 before the first measurement, as rttvar and min_rtt."""
    rttvar: float = 0.0
    """Its variation, seconds."""
    min_rtt: float = 0.0
    """Smallest round-trip time of the last minutes, seconds."""
    rto: float = 0.0
    """Retransmission time-out, seconds."""
    flight: int = 0
    """Bytes sent and neither acknowledged nor taken for lost."""
    buffered: int = 0
    """Bytes of messages accepted and neither acknowledged nor given up."""
    peer_window: int = 0
    """Receive window that the peer has last announced, bytes."""
    receive_window: int = 0
    """Receive window that we have last announced, bytes."""
    mtu: int = 0
    """Largest packet, bytes; path MTU discovery raises it."""
    max_streams: int = 0
    """Streams that both directions have."""
    partial_reliability: bool = False
    reconfiguration: bool = False
    interleaving: bool = False
    zero_checksum: bool = False
    """These four: extensions that both sides know."""


_COUNTERS = tuple(each.name for each in fields(Stats) if each.name != "drops")
_take_counters = attrgetter(*_COUNTERS)


def take_counters(stats: Stats) -> Snapshot:
    """Copy the counters into a new snapshot, whose other fields are to be filled."""
    snapshot = Snapshot(*_take_counters(stats))
    snapshot.drops = dict(stats.drops)
    return snapshot
