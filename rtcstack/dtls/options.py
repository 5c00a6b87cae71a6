"""What an application may want otherwise of a DTLS connection."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Numbers of one connection; times in seconds."""

    handshake_timeout: float = 30.0
    """From start() until an unfinished handshake fails: about as long as ICE tries (RFC 8863: 39.5 s)."""

    first_resend: float = 0.2
    """Wait for an answer before a flight is sent again, while set_rtt() has not told the round-trip time."""

    shortest_resend: float = 0.05
    """Least wait before a flight is sent again; 2 round trips if that is more. As libwebrtc has it."""

    longest_resend: float = 3.0
    """Most that the wait grows to, doubling. As libwebrtc has it; RFC 6347 section 4.2.4.1 allows for 60 s,
    which no user waits for."""

    max_attempts: int = 100
    """Connection objects made for one connection, whatever is forged; each costs a third of a millisecond."""

    max_early_records: int = 64
    """Protected records, and datagrams before start(), that are kept until they can be read."""
