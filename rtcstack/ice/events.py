"""What an ICE agent reports: its states, its events and its counters."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from rtcstack.ice.candidate import Candidate
from rtcstack.ice.pair import Pair
from rtcstack.stun import Address

__all__ = [
    "Drops",
    "EndOfLocalCandidates",
    "Event",
    "IceState",
    "LocalCandidate",
    "PairSelected",
    "StateChanged",
    "Stats",
    "TcpConnect",
]


class IceState(enum.Enum):
    """States of an agent, as W3C's RTCIceTransportState has them."""

    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    COMPLETED = "completed"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """A new local candidate, to be told to the peer."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class EndOfLocalCandidates:
    """No more local candidates will come (RFC 8838 section 13)."""


@dataclass(frozen=True, slots=True)
class PairSelected:
    """Data goes by this pair from now on: the first valid one, later the nominated one."""

    pair: Pair


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The agent's state has changed."""

    state: IceState


@dataclass(frozen=True, slots=True)
class TcpConnect:
    """A check needs a TCP connection from an active candidate.

    Then: open one, and call tcp_connected, or tcp_closed if that fails.

    local       address of the active candidate; the port, 9, says nothing.
    remote      where to.
    """

    local: Address
    remote: Address


Event = LocalCandidate | EndOfLocalCandidates | PairSelected | StateChanged | TcpConnect


@dataclass(slots=True)
class Drops:
    """What was thrown away, one counter for each reason."""

    malformed: int = 0
    """Datagrams that are no STUN message."""
    fingerprint: int = 0
    """STUN messages with a wrong FINGERPRINT."""
    unsupported_method: int = 0
    """STUN messages of other methods than Binding."""
    unknown_local: int = 0
    """Datagrams said to have arrived at an address that is none of ours."""
    inactive: int = 0
    """Datagrams that came when the agent had failed or was closed."""
    unknown_transaction: int = 0
    """Answers to nothing that we asked: late, replayed or forged."""
    unauthenticated_response: int = 0
    """Success answers without, or with a wrong, MESSAGE-INTEGRITY."""
    unauthenticated_error: int = 0
    """The same for error answers; a peer that refuses our credentials cannot sign its 401."""
    non_symmetric: int = 0
    """Answers from or to another address than the request's."""
    stale_role_conflict: int = 0
    """487 answers to checks from before a role switch."""
    foreign_ufrag: int = 0
    """Requests with our credentials but another peer's ufrag: answered, not checked back."""
    early_overflow: int = 0
    """Checks beyond max_early_checks before the remote credentials were known: answered, forgotten."""
    queue_overflow: int = 0
    """Answers beyond max_queued."""
    use_candidate_ignored: int = 0
    """USE-CANDIDATE from a peer that is not controlling, or for a worse pair than the nominated one."""
    remote_host_name: int = 0
    """Remote candidates with a host name instead of an address."""
    remote_tcp: int = 0
    """Remote candidates of another transport than UDP and TCP, or for TCP without a direction."""
    remote_unusable: int = 0
    """Remote candidates with an address or port that cannot be a peer's, or of another component."""
    remote_filtered: int = 0
    """Remote candidates, and checks from addresses, that the remote_candidate_filter refuses."""
    remote_duplicate: int = 0
    """Remote candidates known already."""
    remote_late: int = 0
    """Remote candidates after the end of candidates (RFC 8838 section 14)."""
    remote_other_generation: int = 0
    """Remote candidates with another ufrag than the peer's present one."""
    remote_overflow: int = 0
    """Remote candidates beyond max_remote_candidates, and peer-reflexive ones that had to make room."""
    remote_unsteady: int = 0
    """Checks answered, but not checked back: the peer's NAT shows a new port with each."""
    pairs_discarded: int = 0
    """Pairs beyond max_pairs."""


@dataclass(slots=True)
class Stats:
    """What was done."""

    checks_sent: int = 0
    """New connectivity checks, nominations included, consent requests not."""
    retransmissions: int = 0
    consent_requests_sent: int = 0
    requests_received: int = 0
    """Authenticated Binding requests."""
    indications_received: int = 0
    responses_received: int = 0
    """Authenticated success answers to our requests."""
    successes_sent: int = 0
    errors_sent: dict[int, int] = field(default_factory=dict)
    """Error answers that we gave, by code."""
    errors_received: dict[int, int] = field(default_factory=dict)
    """Error answers that we got, by code, authenticated or not."""
    role_switches: int = 0
