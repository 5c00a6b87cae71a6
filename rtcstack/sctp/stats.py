"""What an association counts."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Stats"]


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
