"""Our own candidates: of bound sockets, of STUN and TURN servers, and those that answers reveal."""

from __future__ import annotations

from rtcstack.ice.candidate import Candidate, candidate_priority, is_usable_local
from rtcstack.ice.options import Options
from rtcstack.stun import Address

__all__ = ["LocalCandidates"]

_RELAY_RANK = {"udp": 0, "tcp": 1, "tls": 2}


class LocalCandidates:
    """Candidates that peers see, and the bases that packets leave from.

    bases       host or relayed candidate by the address that packets leave from, in order of arrival.
    all         every candidate, in the order in which they became known.
    """

    __slots__ = ("_foundations", "_options", "_public", "all", "bases")

    def __init__(self, options: Options) -> None:
        self._options = options
        self._foundations: dict[tuple[str, str, str, str], str] = {}
        self._public: set[Address] = set()
        self.bases: dict[Address, Candidate] = {}
        self.all: list[Candidate] = []

    def add_host(self, base: Address, interface: str) -> Candidate | None:
        """Make a host candidate; None if a peer cannot use such an address, must not see it, or it is known.

        The families alternate, IPv6 first, each in the order in which its addresses were added.
        Source: RFC 8445 sections 5.1.1.1 and 5.1.2, RFC 8421 section 4.
        """
        ip, port = base
        if base in self.bases or not is_usable_local(ip) or self._options.relay_only:
            return None
        candidate = Candidate(
            foundation=self._foundation("host", ip),
            component=1,
            transport="udp",
            priority=self._priority("host", ip),
            address=ip,
            port=port,
            type="host",
            base=base,
            interface=interface,
        )
        return self._add(candidate)

    def has_ip(self, ip: str) -> bool:
        """Tell whether an IP address is one that packets of ours leave from."""
        return any(base[0] == ip for base in self.bases)

    def confirm(self, base: Address, mapped: Address) -> Candidate | None:
        """Note that a server sees a socket at its own address, so that a hidden host candidate is public.

        Returns the candidate, if it is to be told now.
        """
        known = self.bases.get(base)
        if known is None or mapped != base or self.is_told(known):
            return None
        self._public.add(base)
        return known

    def is_told(self, candidate: Candidate) -> bool:
        """Tell whether the peer may learn of a candidate by signaling."""
        is_hidden = self._options.hide_host and candidate.type == "host"
        return candidate.type != "prflx" and (not is_hidden or candidate.transport_address in self._public)

    def add_tcp(self, base: Address, tcp_type: str, interface: str) -> Candidate | None:
        """Make a host candidate for TCP; None as in add_host, and for an active one of a lite agent.

        Source: RFC 6544 sections 4.1, 4.2, 4.4 and 5.1.
        """
        ip, port = base
        if base in self.bases or not is_usable_local(ip) or self._options.relay_only:
            return None
        is_active = tcp_type == "active"
        if is_active and self._options.lite:
            return None
        candidate = Candidate(
            foundation=self._foundation("host", ip, protocol="tcp"),
            component=1,
            transport="tcp",
            priority=self._priority("host", ip, penalty=(1 if is_active else 3) << 13, transport="tcp"),
            address=ip,
            port=port,
            type="host",
            base=base,
            interface=interface,
            tcp_type=tcp_type,
        )
        return self._add(candidate)

    def add_reflexive(self, base: Address, mapped: Address, server: str) -> Candidate | None:
        """Make a server-reflexive candidate; None if it is redundant or the peer must not see it.

        Source: RFC 8445 sections 5.1.1.2 and 5.1.3.
        """
        options = self._options
        if options.relay_only or options.lite or base not in self.bases or not is_usable_local(mapped[0]):
            return None
        for known in self.all:
            if known.transport_address == mapped and known.base == base:
                if known.type != "prflx":
                    return None
                self.all.remove(known)  # A check was faster than the server; this one the peer is told.
                break
        related_address, related_port = self._related(base, mapped[0])
        candidate = Candidate(
            foundation=self._foundation("srflx", base[0], server),
            component=1,
            transport="udp",
            priority=self._priority("srflx", base[0], at_most=self.bases[base].priority),
            address=mapped[0],
            port=mapped[1],
            type="srflx",
            related_address=related_address,
            related_port=related_port,
            base=base,
        )
        return self._add(candidate)

    def add_relayed(self, relayed: Address, mapped: Address, server: str, protocol: str) -> Candidate | None:
        """Make a relayed candidate; None if its address is known already or a peer cannot use it.

        protocol    how we reach the server: relays over UDP are preferred to those over TCP, then TLS.
        Source: RFC 8445 sections 5.1.1.2 and 5.1.2.2.
        """
        if relayed in self.bases or self._options.lite or not is_usable_local(relayed[0]):
            return None
        related_address, related_port = self._related(mapped, relayed[0])
        candidate = Candidate(
            foundation=self._foundation("relay", relayed[0], server, protocol),
            component=1,
            transport="udp",
            priority=self._priority("relay", relayed[0], penalty=_RELAY_RANK[protocol] << 14),
            address=relayed[0],
            port=relayed[1],
            type="relay",
            related_address=related_address,
            related_port=related_port,
            base=relayed,
        )
        return self._add(candidate)

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
        if sum(candidate.type == "prflx" for candidate in self.all) >= self._options.max_pairs:
            return current
        candidate = Candidate(
            foundation=self._foundation("prflx", base[0], protocol=self.bases[base].transport),
            component=1,
            transport=self.bases[base].transport,
            priority=priority,
            address=address[0],
            port=address[1],
            type="prflx",
            related_address=base[0],
            related_port=base[1],
            base=base,
            tcp_type=self.bases[base].tcp_type,
        )
        return self._add(candidate)

    def remove(self, base: Address) -> bool:
        """Withdraw a base and every candidate that packets leave from there; False if it is none of ours."""
        self.all = [candidate for candidate in self.all if candidate.base != base]
        self._public.discard(base)
        return self.bases.pop(base, None) is not None

    def forget_learned(self) -> None:
        """Withdraw the peer-reflexive candidates: they belong to the generation that found them."""
        self.all = [candidate for candidate in self.all if candidate.type != "prflx"]

    def _add(self, candidate: Candidate) -> Candidate:
        self.all.append(candidate)
        if candidate.base == candidate.transport_address:
            self.bases[candidate.base] = candidate
        return candidate

    def _priority(
        self, type_: str, ip: str, *, at_most: int = 2**31 - 1, penalty: int = 0, transport: str = "udp"
    ) -> int:
        """Return the highest priority of a type that no candidate has, even for IPv4 and odd for IPv6.

        at_most     priority of a candidate whose local preference is not exceeded.
        penalty     taken off the local preference.
        Source: RFC 8445 section 5.1.2, RFC 8421 section 4.
        """
        # DEVIATION RFC 8445 §5.1.2.1: with IPv4 alone the first preference is 65534 and not 65535, because
        # nobody knows yet whether an IPv6 address will follow.
        taken = {candidate.priority for candidate in self.all if candidate.type == type_}
        preference = min(65535, at_most >> 8 & 0xFFFF) - penalty
        preference -= (preference & 1) != (":" in ip)
        priority = candidate_priority(type_, preference, transport=transport)
        while priority in taken and priority > 2 << 8:
            priority -= 2 << 8
        return priority

    def _related(self, address: Address, ip: str) -> Address:
        """Return the related address that a candidate of this IP address shows (RFC 8839 section 5.1)."""
        if self._options.hide_related or self._options.relay_only:
            return ("::" if ":" in ip else "0.0.0.0"), 9
        return address

    def _foundation(self, type_: str, base_ip: str, server: str = "", protocol: str = "") -> str:
        """Number the kinds (RFC 8445 section 5.1.1.3)."""
        return self._foundations.setdefault(
            (type_, base_ip, server, protocol), str(len(self._foundations) + 1)
        )
