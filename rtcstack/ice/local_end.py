"""Our own end: what outlives an ICE restart and is shared by its generations."""

from __future__ import annotations

import math
from collections.abc import Callable

from rtcstack.ice.events import Drops, Stats
from rtcstack.ice.local_candidates import LocalCandidates
from rtcstack.ice.options import Options
from rtcstack.ice.tcp import TcpConnections
from rtcstack.stun import Address

__all__ = ["LocalEnd"]


class LocalEnd:
    """Role, candidates, pacing, counters, and the packets that wait to be taken.

    controlling     our role (RFC 8445 section 6.1.1).
    tie_breaker     64 bits for role conflicts.
    candidates      what peers see, and the bases that packets leave from.
    tcp             connections of active candidates.
    pace            time from which the next new check may leave: one every Ta, whatever it is for.
    """

    __slots__ = (
        "_outgoing",
        "candidates",
        "controlling",
        "drops",
        "options",
        "pace",
        "random_bytes",
        "stats",
        "tcp",
        "tie_breaker",
    )

    def __init__(
        self,
        *,
        controlling: bool,
        random_bytes: Callable[[int], bytes],
        options: Options,
        tie_breaker: int | None,
    ) -> None:
        self.controlling = controlling
        self.random_bytes = random_bytes
        self.options = options
        self.tie_breaker = self._new_tie_breaker() if tie_breaker is None else tie_breaker
        self.candidates = LocalCandidates(options)
        self.pace = -math.inf
        self.drops = Drops()
        self.stats = Stats()
        self.tcp = TcpConnections()
        self._outgoing: list[tuple[Address, Address, bytes]] = []

    def _new_tie_breaker(self) -> int:
        return int.from_bytes(self.random_bytes(8), "big")

    def give_in(self) -> None:
        """Take the other role, and a new tie-breaker (RFC 8445 section 7.2.5.1)."""
        self.tie_breaker = self._new_tie_breaker()
        self.controlling = not self.controlling

    def send(self, local: Address, remote: Address, datagram: bytes) -> None:
        """Queue a request."""
        self._outgoing.append((local, remote, datagram))

    def answer(self, local: Address, remote: Address, datagram: bytes) -> None:
        """Queue an answer, to leave from where the request came to (RFC 8489 section 6.3.1.2)."""
        if len(self._outgoing) < self.options.max_queued:
            self._outgoing.append((local, remote, datagram))
        else:
            self.drops.queue_overflow += 1

    def discard_packets(self) -> None:
        """Send nothing of what waits."""
        self._outgoing.clear()

    def take_packets(self) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over what waits: (our address, the peer's address, datagrams)."""
        if not self._outgoing:
            return []
        outgoing, self._outgoing = self._outgoing, []
        batches: dict[tuple[Address, Address], list[bytes]] = {}
        for local, remote, datagram in outgoing:
            batches.setdefault((local, remote), []).append(datagram)
        return [(local, remote, datagrams) for (local, remote), datagrams in batches.items()]
