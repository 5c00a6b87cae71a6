"""Candidates as descriptions write them, and as the ICE agent holds them."""

from __future__ import annotations

from rtcstack.ice import Candidate
from rtcstack.sdp import CandidateLine

__all__ = ["from_line", "to_line"]


def to_line(candidate: Candidate, ufrag: str) -> CandidateLine:
    """Describe a candidate of ours; the ufrag says to which generation it belongs (RFC 8838 section 9.1)."""
    return CandidateLine(
        foundation=candidate.foundation,
        component=candidate.component,
        transport=candidate.transport,
        priority=candidate.priority,
        address=candidate.address,
        port=candidate.port,
        type=candidate.type,
        related_address=candidate.related_address,
        related_port=candidate.related_port,
        tcp_type=candidate.tcp_type,
        extensions=(("ufrag", ufrag),),
    )


def from_line(line: CandidateLine) -> Candidate:
    """Make a candidate of what the peer has described."""
    return Candidate(
        foundation=line.foundation,
        component=line.component,
        transport=line.transport,
        priority=line.priority,
        address=line.address,
        port=line.port,
        type=line.type,
        related_address=line.related_address,
        related_port=line.related_port,
        tcp_type=line.tcp_type,
    )
