"""The checks on their way: requests of ours that may still be answered."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rtcstack.ice.pair import Pair
from rtcstack.stun import Transaction

__all__ = ["Check", "Checks"]


class Check(Transaction):
    """A Binding request of ours.

    pair            what it checks.
    controlling     our role when it was made: an older 487 is no reason to switch again.
    priority        the PRIORITY in it, which a peer-reflexive local candidate found by it gets.
    nominates       whether it carries USE-CANDIDATE.
    is_consent      whether it only asks for consent.
    """

    __slots__ = ("controlling", "is_consent", "nominates", "pair", "priority")

    def __init__(
        self,
        id_: bytes,
        request: bytes,
        offsets: tuple[float, ...],
        now: float,
        pair: Pair,
        *,
        controlling: bool,
        priority: int,
        nominates: bool,
        is_consent: bool,
    ) -> None:
        super().__init__(id_, request, offsets, now)
        self.pair = pair
        self.controlling = controlling
        self.priority = priority
        self.nominates = nominates
        self.is_consent = is_consent


class Checks(dict[bytes, Check]):
    """Checks by transaction id."""

    def of(self, pair: Pair) -> Iterator[Check]:
        """Iterate over the checks of a pair."""
        return (check for check in self.values() if check.pair is pair)

    def forget(self, pair: Pair) -> None:
        """Take no more answers for a pair."""
        for check in list(self.of(pair)):
            del self[check.id]

    def cancel(self, pair: Pair) -> None:
        """Retransmit no more, but take an answer that still comes (RFC 8445 section 7.3.1.4)."""
        for check in self.of(pair):
            if not check.is_consent:
                check.cancel()

    def keep_consent_requests(self) -> None:
        """Take no more answers to connectivity checks."""
        for check in list(self.values()):
            if not check.is_consent:
                del self[check.id]

    def due(self, now: float) -> list[Check]:
        """Return the checks whose deadline has passed."""
        return [check for check in self.values() if check.deadline <= now] if self else []

    @property
    def deadline(self) -> float:
        """The soonest deadline; inf without checks."""
        return min([check.deadline for check in self.values()]) if self else math.inf
