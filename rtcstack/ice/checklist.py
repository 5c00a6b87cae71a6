"""The checklist: pairs in order, which of them are frozen, and the triggered-check queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from rtcstack.ice.pair import Pair, PairState
from rtcstack.stun import Address

__all__ = ["Checklist"]

_FROZEN = PairState.FROZEN
_WAITING = PairState.WAITING
_IN_PROGRESS = PairState.IN_PROGRESS
_SUCCEEDED = PairState.SUCCEEDED
_FAILED = PairState.FAILED


class Checklist:
    """Candidate pairs by decreasing priority; one component, so one list.

    limit   pairs at most (RFC 8445 section 6.1.2.5).
    """

    __slots__ = ("_by_address", "_limit", "_pairs", "triggered")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pairs: list[Pair] = []
        self._by_address: dict[tuple[Address, Address], Pair] = {}
        self.triggered: deque[Pair] = deque()

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def get(self, local: Address, remote: Address) -> Pair | None:
        """Return the pair of this base and remote address."""
        return self._by_address.get((local, remote))

    def add(self, pair: Pair) -> Pair | None:
        """Insert a pair by priority, Waiting or Frozen, unless the list is full of better ones.

        There is at most one pair for a base and a remote address: that is the pruning of section 6.1.2.4,
        for only bases are paired. When full, a Failed pair goes first, then the one of lowest priority.

        Returns the pair that had to go, which may be the new one; None if there was room.
        Source: RFC 8445 sections 6.1.2.4 to 6.1.2.6, RFC 8838 sections 10 to 12.
        """
        discarded = self._make_room(pair) if len(self._pairs) >= self._limit else None
        if discarded is pair:
            return pair
        if pair.state is _FROZEN:
            same = [other for other in self._pairs if other.foundation == pair.foundation]
            topmost = all(other.priority < pair.priority for other in same)
            if topmost or any(other.state is _SUCCEEDED for other in same):
                pair.state = _WAITING
        self._pairs.append(pair)
        self._by_address[pair.local_address, pair.remote_address] = pair
        self._pairs.sort(key=_order)
        return discarded

    def _make_room(self, pair: Pair) -> Pair:
        failed = [other for other in self._pairs if other.state is _FAILED]
        worse = [
            other
            for other in self._pairs
            if other.state is not _SUCCEEDED and other.priority <= pair.priority
        ]
        leaving = (failed or worse or [pair])[-1]
        if leaving is not pair:
            self.remove(leaving)
        return leaving

    def remove(self, pair: Pair) -> None:
        """Take a pair out of the list and of the queue."""
        self._pairs.remove(pair)
        del self._by_address[pair.local_address, pair.remote_address]
        if pair in self.triggered:
            self.triggered.remove(pair)

    def clear(self) -> None:
        """Forget all pairs."""
        self._pairs.clear()
        self._by_address.clear()
        self.triggered.clear()

    def update_priorities(self, *, controlling: bool) -> None:
        """Compute all priorities anew and sort: a candidate or our role has changed."""
        for pair in self._pairs:
            pair.update_priority(controlling=controlling)
        self._pairs.sort(key=_order)

    def trigger(self, pair: Pair) -> None:
        """Queue a check ahead of the ordinary ones (RFC 8445 section 6.1.4.1)."""
        if pair.state is not _SUCCEEDED:
            pair.state = _WAITING
        if pair not in self.triggered:
            self.triggered.append(pair)

    def thaw(self, foundation: tuple[str, str]) -> None:
        """Let the Frozen pairs of a foundation wait: one of them has succeeded (section 7.2.5.3.3)."""
        for pair in self._pairs:
            if pair.state is _FROZEN and pair.foundation == foundation:
                pair.state = _WAITING

    def next_ordinary(self) -> Pair | None:
        """Return the pair to check when no triggered one is (RFC 8445 section 6.1.4.2 steps 2 and 3)."""
        is_frozen = False
        for pair in self._pairs:
            if pair.state is _WAITING and pair not in self.triggered:
                return pair
            is_frozen = is_frozen or pair.state is _FROZEN
        if not is_frozen:
            return None
        busy = {pair.foundation for pair in self._pairs if pair.state is _IN_PROGRESS}
        first: Pair | None = None
        for pair in self._pairs:
            if pair.state is _FROZEN and pair.foundation not in busy:
                # One of each foundation: the others stay frozen behind it.
                pair.state = _WAITING
                busy.add(pair.foundation)
                first = first or pair
        return first

    def active(self) -> int:
        """Count the pairs that wait or are being checked."""
        return sum(pair.state is _WAITING or pair.state is _IN_PROGRESS for pair in self._pairs)

    def is_exhausted(self) -> bool:
        """Tell whether no pair is left that could still succeed."""
        return all(pair.state is _SUCCEEDED or pair.state is _FAILED for pair in self._pairs)

    def best_valid(self) -> tuple[Pair | None, bool]:
        """Return the valid pair of highest priority, and whether a better one may still become valid."""
        pending = False
        for pair in self._pairs:
            if pair.state is _SUCCEEDED:
                return pair, pending
            pending = pending or pair.state is not _FAILED
        return None, pending

    def conclude(self, nominated: Pair) -> list[Pair]:
        """Give up every pair that has not succeeded and is no better than the nominated one.

        Returns the pairs given up, whose checks are to be cancelled.
        """
        # DEVIATION RFC 8445 §8.1.2: the checks of better pairs go on, and the others stay in the list as
        # Failed ones, to be tried again if the nominated pair goes silent.
        given_up = [
            pair
            for pair in self._pairs
            if pair.state not in (_SUCCEEDED, _FAILED) and pair.priority <= nominated.priority
        ]
        for pair in given_up:
            pair.fail("not needed: a better pair was nominated")
        self.triggered = deque(pair for pair in self.triggered if pair.state is _WAITING)
        return given_up

    def revive(self, selected: Pair | None) -> None:
        """Let all pairs but the selected one be checked again, those that once worked first."""
        for pair in self._pairs:
            if pair is not selected and pair.state in (_SUCCEEDED, _FAILED):
                if pair.state is _SUCCEEDED and pair not in self.triggered:
                    self.triggered.append(pair)
                pair.state = _WAITING


def _order(pair: Pair) -> int:
    return -pair.priority
