"""What a NAT does to addresses: its mappings and filters in the words of RFC 4787, without a network."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypedDict, Unpack

from rtcstack.errors import InvalidParameter
from rtcstack.net import Address

__all__ = [
    "ADDRESS_RESTRICTED",
    "FULL_CONE",
    "PORT_RESTRICTED",
    "SYMMETRIC",
    "Dependence",
    "NatKind",
    "NatOptions",
    "NatStats",
    "Translator",
]


class Dependence(enum.Enum):
    """How much of the remote address matters to a NAT (RFC 4787 sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent"

    def seen(self, remote: Address) -> tuple[str, int]:
        """Give the part of a remote address that matters; the rest is blanked."""
        if self is Dependence.ADDRESS_AND_PORT_DEPENDENT:
            return remote
        return (remote[0], 0) if self is Dependence.ADDRESS_DEPENDENT else ("", 0)


class NatKind(NamedTuple):
    """The two behaviors by which NATs differ most.

    mapping      which remote addresses an inside address shows the same outside address to.
    filtering    which remote addresses may answer: those that something was sent to, as far as they are seen.
    """

    mapping: Dependence
    filtering: Dependence


FULL_CONE = NatKind(Dependence.ENDPOINT_INDEPENDENT, Dependence.ENDPOINT_INDEPENDENT)
ADDRESS_RESTRICTED = NatKind(Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_DEPENDENT)
PORT_RESTRICTED = NatKind(Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT)
SYMMETRIC = NatKind(Dependence.ADDRESS_AND_PORT_DEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT)
"""The four classic names (RFC 3489 section 5)."""


class NatOptions(TypedDict, total=False):
    """How a NAT behaves: the keyword arguments of `nat` and `firewall`."""

    kind: NatKind
    """Mapping and filtering. Default PORT_RESTRICTED, as most routers at home."""
    hairpinning: bool
    """Whether two inside can meet at outside addresses (RFC 4787 REQ-9: they must). Default True."""
    port_preservation: bool
    """Whether an inside port is kept outside if it is free there. Default False: ports are random."""
    ports: range
    """Outside ports that it gives away. Default 1024 to 65535; a provider may give a customer few."""
    timeout: float
    """Seconds after the last datagram out that a mapping, or the leave to answer, lasts.

    Default 120: the least of RFC 4787 REQ-5. What comes in refreshes nothing (REQ-6).
    """
    allowed_ports: Collection[int] | None
    """Remote ports that UDP may be sent to: () for none at all. Default None: every one."""


@dataclass(slots=True)
class NatStats:
    """What a NAT has done so far."""

    mappings: int = 0
    """Made."""
    expired: int = 0
    """Mappings that nothing was sent over for `timeout`, or that were forgotten."""
    exhausted: int = 0
    """Mappings that were not made, for want of a free port."""
    passed_out: int = 0
    """Datagrams, as in the counters below."""
    passed_in: int = 0
    filtered: int = 0
    """From a remote address that may not answer."""
    unmapped: int = 0
    """To an outside port that no mapping has."""
    blocked: int = 0
    """To a remote port that is not allowed."""
    not_hairpinned: int = 0


@dataclass(slots=True)
class _Mapping:
    inside: Address
    outside: Address
    key: tuple[Address, Address]
    used: float = -math.inf
    sent: dict[Address, float] = field(default_factory=dict)
    """What filtering sees of a remote address -> when something was sent there last."""


class Translator:
    """The tables of one NAT. An address family that it has no outside address of is filtered only.

    outside    its outside IP addresses; inside addresses get one each, in turn (RFC 4787 REQ-2: paired).
    seed       that random ports are drawn from.
    options    see NatOptions.
    Raises     InvalidParameter if an option is out of its range.
    Source:    RFC 4787 sections 4 and 5.
    """

    def __init__(
        self, outside: Sequence[str] = (), *, seed: int | str = 0, **options: Unpack[NatOptions]
    ) -> None:
        unknown = options.keys() - NatOptions.__annotations__.keys()
        if unknown:
            raise InvalidParameter(
                f"a NAT knows no option {min(unknown)!r}: use {', '.join(NatOptions.__annotations__)}"
            )
        self.outside = tuple(outside)
        self.kind = options.get("kind", PORT_RESTRICTED)
        self.hairpinning = options.get("hairpinning", True)
        self.port_preservation = options.get("port_preservation", False)
        self.ports = options.get("ports", range(1024, 65536))
        self.timeout = options.get("timeout", 120.0)
        self.allowed_ports = options.get("allowed_ports")
        if not self.timeout > 0 or not self.ports:
            raise InvalidParameter(
                f"timeout={self.timeout!r}, ports={self.ports!r}: both must be more than 0"
            )
        self.stats = NatStats()
        self._random = random.Random(seed)
        self._by_key: dict[tuple[Address, Address], _Mapping] = {}
        self._by_outside: dict[Address, _Mapping] = {}
        self._pool: dict[str, str] = {}

    def map(self, inside: Address, remote: Address, count: int, now: float) -> Address | None:
        """Give the outside address that datagrams from inside to a remote address leave from.

        count      datagrams, for the counters.
        now        seconds, never less than at an earlier call.
        Returns    None if they may not leave.
        """
        if self.allowed_ports is not None and remote[1] not in self.allowed_ports:
            self.stats.blocked += count
            return None
        is_translated = any((":" in ip) == (":" in inside[0]) for ip in self.outside)
        key = inside, self.kind.mapping.seen(remote) if is_translated else ("", 0)
        mapping = self._by_key.get(key)
        if mapping is None or not self._is_alive(mapping, now):
            self.expire(now)
            outside = self._take_address(inside) if is_translated else inside
            if outside is None:
                self.stats.exhausted += 1
                return None
            mapping = _Mapping(inside, outside, key)
            self._by_key[key] = self._by_outside[outside] = mapping
            self.stats.mappings += 1
        mapping.used = mapping.sent[self.kind.filtering.seen(remote)] = now
        self.stats.passed_out += count
        return mapping.outside

    def unmap(self, outside: Address, remote: Address, count: int, now: float) -> Address | None:
        """Give the inside address that datagrams from a remote to an outside address are let in to.

        Arguments as in `map`.
        Returns    None if they are dropped.
        """
        mapping = self._by_outside.get(outside)
        if mapping is None or not self._is_alive(mapping, now):
            self.stats.unmapped += count
            return None
        sent = mapping.sent.get(self.kind.filtering.seen(remote), -math.inf)
        if now >= sent + self.timeout:
            self.stats.filtered += count
            return None
        self.stats.passed_in += count
        return mapping.inside

    def expire(self, now: float) -> None:
        """Forget the mappings whose time is over."""
        for mapping in [mapping for mapping in self._by_key.values() if not self._is_alive(mapping, now)]:
            del self._by_key[mapping.key], self._by_outside[mapping.outside]
            self.stats.expired += 1

    def forget(self) -> None:
        """Lose all mappings."""
        self.stats.expired += len(self._by_key)
        self._by_key.clear()
        self._by_outside.clear()

    def _is_alive(self, mapping: _Mapping, now: float) -> bool:
        return now < mapping.used + self.timeout

    def _take_address(self, inside: Address) -> Address | None:
        """Choose an outside address for a new mapping; None if every port is taken."""
        ip = self._pool.get(inside[0])
        if ip is None:
            family = [ip for ip in self.outside if (":" in ip) == (":" in inside[0])]
            paired = sum((":" in other) == (":" in inside[0]) for other in self._pool)
            self._pool[inside[0]] = ip = family[paired % len(family)]
        if self.port_preservation and inside[1] in self.ports and (ip, inside[1]) not in self._by_outside:
            return ip, inside[1]
        first = self._random.randrange(len(self.ports))
        for port in chain(self.ports[first:], self.ports[:first]):
            if (ip, port) not in self._by_outside:
                return ip, port
        return None
