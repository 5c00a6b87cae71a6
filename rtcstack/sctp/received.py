"""Which TSNs have come: the cumulative TSN, the gaps beyond it, and what came twice."""

from __future__ import annotations

from rtcstack.serial import U32

__all__ = ["DUPLICATE", "NEW", "OUTSIDE", "ReceivedTsns"]

NEW = 1
"""The TSN is taken."""
DUPLICATE = 0
"""The TSN, or a later cumulative TSN, is there already."""
OUTSIDE = -1
"""The TSN is beyond the window: the chunk must be dropped, it will come again."""

_HALF = 1 << 31
_HOLE = b"\0"
_SEEN = b"\1"


class ReceivedTsns:
    """The receiver's side of TSN bookkeeping.

    A receive loop may take the common case on itself, without a call:

        if tsn == (received.cumulative + 1) & U32 and not received.beyond:
            received.cumulative = tsn
        else:
            outcome = received.add(tsn)

    Every operation costs the same however much is out of order: `beyond` is searched by memchr, and deleting
    at its front only moves its start.

    initial_tsn       first TSN that the peer will use.
    window            how far beyond the cumulative TSN one is taken, 1 to 65535 (what a gap block can say).
                      Also the most bytes that `beyond` needs.
    max_gap_blocks    most gap blocks in one report, at least 1. It bounds the SACK (4 bytes each) and the
                      peer's work; more holes than this in a round trip are repaired report after report.
    max_duplicates    most duplicate TSNs in one report, 4 bytes each; more say nothing new.
    """

    __slots__ = (
        "_duplicates",
        "_gaps",
        "_max_duplicates",
        "_max_gap_blocks",
        "_window",
        "beyond",
        "cumulative",
    )

    def __init__(
        self, initial_tsn: int, *, window: int = 40_000, max_gap_blocks: int = 64, max_duplicates: int = 20
    ) -> None:
        self.cumulative = (initial_tsn - 1) & U32
        """The last TSN before the first one that is missing."""
        self.beyond = bytearray()
        """One byte for each TSN from cumulative + 1 to the highest that has come: 1 if it has, 0 if not.

        Empty while nothing is out of order; otherwise the first byte is 0 and the last is 1.
        """
        self._window = window
        self._max_gap_blocks = max_gap_blocks
        self._max_duplicates = max_duplicates
        self._duplicates: list[int] = []
        # What gaps() answers, None when it has to be found anew. While holes are open, nearly all that comes
        # belongs behind the last block: that is noted here at once, else each SACK would cost 0.3 us a block.
        self._gaps: list[int] | None = []

    def add(self, tsn: int) -> int:
        """Note that this TSN has come.

        Returns NEW, DUPLICATE (noted for the next SACK) or OUTSIDE (not noted).
        Source: RFC 9260 section 6.2.
        """
        distance = (tsn - self.cumulative) & U32
        beyond = self.beyond
        known = len(beyond)
        if distance > self._window:
            if distance <= _HALF:
                return OUTSIDE
        elif distance > known:
            if distance == 1:
                self.cumulative = tsn
                return NEW
            beyond += bytes(distance - known - 1) + _SEEN
            gaps = self._gaps
            if gaps is not None and (not known or gaps[-1] == known):
                if distance == known + 1:
                    gaps[-1] = distance
                elif len(gaps) < 2 * self._max_gap_blocks:
                    gaps += (distance, distance)
            return NEW
        elif distance and not beyond[distance - 1]:
            beyond[distance - 1] = 1
            if distance == 1:
                self._close_gap(0)
            elif self._gaps is not None and distance <= self._gaps[-1] + 1:
                self._gaps = None
            return NEW
        if len(self._duplicates) < self._max_duplicates:
            self._duplicates.append(tsn)
        return DUPLICATE

    def advance(self, cumulative: int) -> int:
        """Take all TSNs up to this one for received, as the peer's FORWARD-TSN says.

        Returns NEW, DUPLICATE (the cumulative TSN is there or further) or OUTSIDE (beyond the window: nothing
                is changed).
        Source: RFC 3758 section 3.6.
        """
        distance = (cumulative - self.cumulative) & U32
        if distance > self._window:
            return OUTSIDE if distance <= _HALF else DUPLICATE
        if not distance:
            return DUPLICATE
        self._close_gap(distance)
        return NEW

    def _close_gap(self, distance: int) -> None:
        """Move the cumulative TSN on by so many, and then over all that has come behind it."""
        beyond = self.beyond
        end = beyond.find(_HOLE, distance)
        if end < 0:
            end = max(distance, len(beyond))
        del beyond[:end]
        self._gaps = None
        self.cumulative = (self.cumulative + end) & U32

    def gaps(self) -> list[int]:
        """Give the gap blocks, the lowest ones if there are more than the limit.

        Returns [start0, end0, start1, end1, ...], relative to the cumulative TSN, as write_sack() takes them;
                the list is good until the next call of any other method.
        Source: RFC 9260 section 3.3.4.
        """
        if self._gaps is not None:
            return self._gaps
        beyond = self.beyond
        blocks: list[int] = []
        end = 0
        for _ in range(self._max_gap_blocks):
            start = beyond.find(_SEEN, end)
            if start < 0:
                break
            end = beyond.find(_HOLE, start)
            if end < 0:
                end = len(beyond)
            # Byte i stands for cumulative + 1 + i, and a block names its last TSN: start + 1 and end - 1 + 1.
            blocks += (start + 1, end)
        self._gaps = blocks
        return blocks

    @property
    def has_duplicates(self) -> bool:
        """Whether take_duplicates() has something."""
        return bool(self._duplicates)

    def take_duplicates(self) -> list[int]:
        """Hand over the TSNs that came again since the last call.

        Source: RFC 9260 section 3.3.4.
        """
        duplicates, self._duplicates = self._duplicates, []
        return duplicates
