"""Our own candidates: host ones from bound sockets, peer-reflexive ones from answers."""

from __future__ import annotations

from rtcstack.ice.candidate import Candidate, candidate_priority, is_usable_local
from rtcstack.stun import Address

__all__ = ["LocalCandidates"]


class LocalCandidates:
    """Candidates that peers see, and the bases that packets leave from.

    bases       host candidate by the address of its socket, in the order in which they were added.
    all         every candidate, in the order in which they became known.
    limit       peer-reflexive candidates at most: a peer can invent as many as it likes.
    """

    __slots__ = ("_foundations", "_limit", "all", "bases")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._foundations: dict[tuple[str, str], str] = {}
        self.bases: dict[Address, Candidate] = {}
        self.all: list[Candidate] = []

    def add_host(self, base: Address, interface: str) -> Candidate | None:
        """Make a host candidate; None if a peer cannot use such an address, or it is known.

        The families alternate, IPv6 first, each in the order in which its addresses were added.
        Source: RFC 8445 sections 5.1.1.1 and 5.1.2, RFC 8421 section 4.
        """
        ip, port = base
        if base in self.bases or not is_usable_local(ip):
            return None
        # DEVIATION RFC 8445 §5.1.2.1: with IPv4 alone the first preference is 65534 and not 65535, because
        # nobody knows yet whether an IPv6 address will follow.
        rank = sum((":" in other) == (":" in ip) for other, _ in self.bases)
        preference = max(65535 - 2 * rank - (":" not in ip), 0)
        candidate = Candidate(
            foundation=self._foundation("host", ip),
            component=1,
            transport="udp",
            priority=candidate_priority("host", preference),
            address=ip,
            port=port,
            type="host",
            base=base,
            interface=interface,
        )
        self.bases[base] = candidate
        self.all.append(candidate)
        return candidate

    def mapped(self, current: Candidate, base: Address, address: Address, priority: int) -> Candidate:
        """Find the candidate that a peer sees when we send from a base, a new peer-reflexive one if need be.

        current     what is returned if the address is a candidate of another base.
        priority    the PRIORITY in the request that was answered.
        Source: RFC 8445 sections 7.2.5.3.1 and 7.2.5.3.2.
        """
        # DEVIATION RFC 8445 §7.2.5.3.2: the valid pair is the checked one with this candidate in it, and an
        # address of another base changes nothing: data takes the way that was checked.
        for candidate in self.all:
            if candidate.transport_address == address:
                return candidate if candidate.base == base else current
        if len(self.all) >= len(self.bases) + self._limit:
            return current
        candidate = Candidate(
            foundation=self._foundation("prflx", base[0]),
            component=1,
            transport="udp",
            priority=priority,
            address=address[0],
            port=address[1],
            type="prflx",
            related_address=base[0],
            related_port=base[1],
            base=base,
        )
        self.all.append(candidate)
        return candidate

    def _foundation(self, type_: str, base_ip: str) -> str:
        """Number the kinds: same type and base address, same foundation (RFC 8445 section 5.1.1.3)."""
        return self._foundations.setdefault((type_, base_ip), str(len(self._foundations) + 1))
