"""One candidate pair: a five-tuple to check, its priority and what became of it."""

from __future__ import annotations

import enum
import math

from rtcstack.ice.candidate import Candidate
from rtcstack.stun import Address

__all__ = ["Pair", "PairState"]


class PairState(enum.Enum):
    """States of a candidate pair (RFC 8445 section 6.1.2.6)."""

    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Pair:
    """A local and a remote candidate.

    local, remote       candidates; when a check has succeeded, local is the one that the peer sees.
    local_address       the base: what we send from, and what the peer's packets arrive at.
    remote_address      what we send to.
    foundation          (local, remote) foundation, fixes which pairs thaw together.
    priority            larger is preferred, see update_priority().
    state               PairState.
    nominated           whether both agents agreed on this pair.
    reason              why it failed, in words; "" otherwise.
    use_candidate       controlled agent: the peer nominated the pair before our own check succeeded.
    checked_plainly     controlled agent: the peer has checked the pair without nominating it.
    rtt                 seconds, latest round trip measured; 0.0 before the first.
    answered            when the latest authenticated answer came; -inf before the first.
    requests_sent, responses_received, requests_received    authenticated STUN messages.
    """

    __slots__ = (
        "answered",
        "checked_plainly",
        "foundation",
        "local",
        "local_address",
        "nominated",
        "priority",
        "reason",
        "remote",
        "remote_address",
        "requests_received",
        "requests_sent",
        "responses_received",
        "rtt",
        "state",
        "use_candidate",
    )

    def __init__(self, local: Candidate, remote: Candidate, *, controlling: bool) -> None:
        self.local = local
        self.remote = remote
        self.local_address: Address = local.base or local.transport_address
        self.remote_address: Address = remote.transport_address
        self.foundation = (local.foundation, remote.foundation)
        self.state = PairState.FROZEN
        self.nominated = False
        self.reason = ""
        self.use_candidate = False
        self.checked_plainly = False
        self.rtt = 0.0
        self.answered = -math.inf
        self.requests_sent = 0
        self.responses_received = 0
        self.requests_received = 0
        self.priority = 0
        self.update_priority(controlling=controlling)

    def update_priority(self, *, controlling: bool) -> None:
        """Compute the priority anew from the candidates and our role.

        2**32 * min(G, D) + 2 * max(G, D) + (G > D), G the controlling agent's candidate, D the other's.
        Source: RFC 8445 section 6.1.2.3.
        """
        g, d = self.local.priority, self.remote.priority
        if not controlling:
            g, d = d, g
        self.priority = (min(g, d) << 32) + 2 * max(g, d) + (g > d)

    def fail(self, reason: str) -> None:
        """Enter the Failed state."""
        self.state = PairState.FAILED
        self.reason = reason

    def __repr__(self) -> str:
        flag = " nominated" if self.nominated else ""
        return (
            f"<Pair {self.local.type} {self.local_address} -> {self.remote.type} {self.remote_address} "
            f"{self.state.value}{flag}>"
        )
