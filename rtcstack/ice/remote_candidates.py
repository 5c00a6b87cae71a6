"""The peer's candidates: screened when signalled, learned when its checks come from elsewhere, bounded."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from rtcstack.ice.candidate import Candidate, is_usable_remote, normalize
from rtcstack.ice.events import Drops
from rtcstack.ice.options import Options
from rtcstack.stun import Address

__all__ = ["RemoteCandidates"]

_OPPOSITE = {"active": "passive", "passive": "active"}
_TRANSPORTS = (("udp", None), ("tcp", "active"), ("tcp", "passive"), ("tcp", "so"))


_MAX_ELSEWHERE = 10
"""Answers from elsewhere that one address may give before its ports count as unsteady."""


class RemoteCandidates(dict[tuple[str, Address], Candidate]):
    """Remote candidates by transport and address, the oldest first.

    limit       how many at most.
    has_ended   whether the peer has said that there are no more (RFC 8838 section 14).
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._learned = 0
        self._elsewhere: dict[str, int] = {}
        self.has_ended = False

    @property
    def is_full(self) -> bool:
        """Whether one has to go before another may come."""
        return len(self) >= self._limit

    def screen(self, candidate: Candidate, drops: Drops, options: Options) -> Candidate | None:
        """Check a signalled candidate; None, and a counter, if it cannot be used or says nothing new.

        One that was peer-reflexive until now is new: the peer's check was faster than its signalling.
        Source: RFC 8445 section 7.3.1.3, RFC 8838 sections 11 and 14.
        """
        ip = normalize(candidate.address)
        transport = candidate.transport.lower()
        if self.has_ended:
            drops.remote_late += 1
        elif (transport, candidate.tcp_type) not in _TRANSPORTS:
            drops.remote_tcp += 1
        elif ip is None:
            drops.remote_host_name += 1
        elif candidate.component != 1 or not is_usable_remote(ip, candidate.port):
            drops.remote_unusable += 1
        elif options.remote_candidate_filter and not options.remote_candidate_filter(ip, candidate.port):
            drops.remote_filtered += 1
        elif (known := self.get((transport, (ip, candidate.port)))) is not None and known.type != "prflx":
            drops.remote_duplicate += 1
        else:
            return replace(candidate, transport=transport, address=ip, base=None)
        return None

    def learn(self, address: Address, priority: int, base: Candidate) -> Candidate:
        """Add a peer-reflexive candidate, of a foundation of its own (RFC 8445 section 7.3.1.3).

        base        candidate of ours that it has reached, and shares the transport with.
        """
        self._learned += 1
        tcp_type = _OPPOSITE.get(base.tcp_type or "")
        foundation = f"prflx{self._learned}"
        candidate = Candidate(foundation, 1, base.transport, priority, *address, "prflx", tcp_type=tcp_type)
        self[base.transport, address] = candidate
        return candidate

    def answered_elsewhere(self, ip: str) -> None:
        """Note that a check was answered from another five-tuple than it was sent by."""
        if ip in self._elsewhere or len(self._elsewhere) < self._limit:
            self._elsewhere[ip] = self._elsewhere.get(ip, 0) + 1

    def is_unsteady(self, ip: str) -> bool:
        """Tell whether every check at this address shows a new port from which no answer comes.

        Two NATs that map by destination, but let everybody in, would go on making ports for each other.
        """
        return self._elsewhere.get(ip, 0) >= _MAX_ELSEWHERE

    def evict(self, proven: Container[Candidate]) -> Candidate | None:
        """Take out the oldest peer-reflexive candidate that is not proven; None if there is none."""
        for key, candidate in self.items():
            if candidate.type == "prflx" and candidate not in proven:
                del self[key]
                return candidate
        return None
