"""Chunks that are sent and not yet acknowledged: what the peer has, what is lost, what was given up."""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from rtcstack.sctp.chunks import PADDING, UNORDERED
from rtcstack.sctp.congestion import Transmission
from rtcstack.sctp.limits import Fate
from rtcstack.serial import U32

if TYPE_CHECKING:
    from rtcstack.sctp.send_queue import SendQueue

__all__ = [
    "ABANDONED",
    "ACKED",
    "AT",
    "COST",
    "COUNT",
    "HEAD",
    "IN_FLIGHT",
    "LIMITS",
    "LOST",
    "PAYLOAD",
    "SENT",
    "SIZE",
    "STATE",
    "STREAM",
    "Outstanding",
    "Record",
    "write_chunk",
]

Record = list[Any]
"""One chunk: [STATE, SIZE, HEAD, STREAM, LIMITS, SENT, COUNT, PAYLOAD, AT, COST].

A list, because making one takes 60 ns and an object 300, and one is made for each chunk. It holds the
message, not a copy of its part: what is in flight then costs little memory, and packets are built in memory
that the cache knows.
"""

STATE = 0  # IN_FLIGHT, ACKED, LOST or ABANDONED
SIZE = 1  # bytes of user data that still count as buffered
HEAD = 2  # what stands in front of the user data; empty if the chunk was never sent
STREAM = 3  # the OutgoingStream
LIMITS = 4  # the Limits of its message, its Fate if that was cut, None if it is reliable
SENT = 5  # the Transmission of the last sending
COUNT = 6  # how often it was sent
PAYLOAD = 7  # the whole message
AT = 8  # where in it the user data begins
COST = 9  # bytes of the whole chunk with padding, which count against the windows (RFC 9260 section 7.2)

IN_FLIGHT = 0
ACKED = 1  # by a gap block
LOST = 2  # waits to be sent again
ABANDONED = 3

_HALF = 1 << 31

_MANY_GAPS = 2 * 20
"""Numbers in the gap blocks of a SACK from which on there may be more gaps than it tells."""


def write_chunk(record: Record) -> bytes:
    """Write the chunk of a record once more, padded."""
    at = record[AT]
    size = record[SIZE]
    chunk: bytes = record[HEAD] + record[PAYLOAD][at : at + size] + PADDING[size & 3]
    return chunk


class Outstanding:
    """The chunks between the cumulative TSN ack point and the next TSN.

    TSNs are counted without wrapping here; on the wire they are taken modulo 2**32. Each operation costs in
    proportion
    to what it changes, never to what is outstanding (the expiry of the retransmission timer excepted).

    records      TSN -> record.
    next_tsn     the TSN of the next new chunk.
    acked        cumulative TSN ack point of the peer.
    advanced     advanced peer ack point (RFC 3758 section 3.5): `acked`, or behind it the last of the
                 abandoned chunks.
    flight       bytes of chunks that are in flight.
    delivered    bytes of chunks that the peer has said it has, in all.
    lost         bytes of chunks found lost since the owner last set it to 0.
    in_vain      how often a chunk found lost has been sent, at most, since the owner last set it to 0.
    newly        bytes of chunks acknowledged by the last acknowledge().
    highest      the highest TSN that the peer has said it has.
    reordering   whether a chunk sent once has been acknowledged after a later one: the path reorders.
    resend       TSNs that may wait to be sent again, a heap; some of them may have arrived by now.
    resent       TSNs sent again since the owner last emptied it.
    last_resent  the last of them.
    reports      packets' worth of data beyond a gap that the peer has reported since the gap opened.
    newest       transmission of the newest chunk that acknowledge() has ever found acknowledged; newest_tsn
                 its TSN.
    rtt_at       seconds at which the newest chunk of the last acknowledge() was sent; negative if none was
                 sent only once.
    """

    __slots__ = (
        "_fresh",
        "_gaps",
        "_judged",
        "_last_gaps",
        "_resent",
        "acked",
        "advanced",
        "delivered",
        "flight",
        "highest",
        "in_vain",
        "last_resent",
        "lost",
        "newest",
        "newest_tsn",
        "newly",
        "next_tsn",
        "queue",
        "records",
        "reordering",
        "reports",
        "resend",
        "resent",
        "rtt_at",
    )

    def __init__(self, initial_tsn: int, queue: SendQueue) -> None:
        self.queue = queue
        self.records: dict[int, Record] = {}
        self.next_tsn = initial_tsn
        self.acked = initial_tsn - 1
        self.advanced = initial_tsn - 1
        self.flight = 0
        self.delivered = 0
        self.lost = 0
        self.in_vain = 0
        self.newly = 0
        self.newest: Transmission = (-math.inf, 0, 0.0, 0.0, False)
        self.newest_tsn = initial_tsn - 1
        self.rtt_at = -1.0
        self.highest = initial_tsn - 1
        self.reordering = False
        self.reports = 0
        self.resent: set[int] = set()
        self._last_gaps: tuple[int, ...] = ()  # of the SACK before
        self._fresh = 0  # index of the first block that was not in it
        # First TSN -> last TSN of each range that the peer has beyond `acked`.
        self._gaps: dict[int, int] = {}
        self._judged = initial_tsn  # chunks before this one were acknowledged, found lost or sent again
        self._resent: deque[tuple[int, Transmission]] = deque()  # sent again, by time
        self.resend: list[int] = []
        self.last_resent = -1

    def check(self, cumulative: int, gaps: tuple[int, ...]) -> int:
        """Look at a whole SACK before anything is changed by it.

        cumulative    32-bit TSN.
        gaps          (start0, end0, start1, end1, ...), relative to it.
        Returns how far the cumulative point moves: 0 or more; -1 if the SACK is older than one seen before;
                -2 if it
                acknowledges what was never sent, or its blocks make no sense.
        Source: RFC 9260 section 6.2.1.
        """
        step = (cumulative - self.acked) & U32
        if step >= _HALF:
            return -1
        room = self.next_tsn - self.acked - 1 - step
        if room < 0:
            return -2
        # While the cumulative point stands, a SACK mostly repeats the blocks of the one before: these are
        # known.
        known = len(self._last_gaps) - 2
        if step or known <= 0 or gaps[:known] != self._last_gaps[:known]:
            known = 0
        self._fresh = known
        end = gaps[known - 1] if known else 0
        for i in range(known, len(gaps), 2):
            if not end < gaps[i] <= gaps[i + 1]:
                return -2  # overlapping blocks could make us walk over the same chunks again and again
            end = gaps[i + 1]
        return step if end <= room else -2

    def acknowledge(self, step: int, gaps: tuple[int, ...], now: float, least_rtt: float) -> None:
        """Carry out a SACK that check() has let through.

        step         what check() returned.
        gaps         as for check().
        now          seconds.
        least_rtt    seconds: a chunk sent again that is acknowledged sooner was acknowledged for its first
                     sending.
        """
        newest = self.newest
        newest_at = newest[0]
        newest_tsn = self.newest_tsn
        rtt_at = -1.0
        newly = flown = 0
        if step:
            pop = self.records.pop
            known = self._gaps
            queue = self.queue
            stream = None
            done = 0
            first = self.acked + 1
            self.acked += step
            for tsn in range(first, self.acked + 1):
                state, size, _, owner, _, sent, count, _, _, cost = pop(tsn)
                if known:
                    known.pop(tsn, None)
                    if count == 1 and state == IN_FLIGHT and tsn < self.highest:
                        self.reordering = True
                if owner is not stream:
                    if done:
                        queue.forget(stream, done)  # type: ignore[arg-type]
                        done = 0
                    stream = owner
                done += size
                if state == IN_FLIGHT:
                    flown += cost
                elif state != LOST:
                    continue
                newly += cost
                if count > 1:
                    if now - sent[0] < least_rtt:
                        continue
                else:
                    rtt_at = sent[0]
                if sent is newest:
                    if tsn > newest_tsn:
                        newest_tsn = tsn
                elif sent[0] >= newest_at:
                    newest = sent
                    newest_at = sent[0]
                    newest_tsn = tsn
            if done:
                queue.forget(stream, done)  # type: ignore[arg-type]
            if self.advanced < self.acked:
                self.advanced = self.acked
                self._advance()
        self.flight -= flown
        self.newest = newest
        self.newest_tsn = newest_tsn
        self.newly = newly
        self.rtt_at = rtt_at
        self._last_gaps = gaps
        if gaps:
            self._acknowledge_gaps(gaps, now, least_rtt)
            self.highest = max(self.highest, self.acked + gaps[-1])
            if self.newly > newly:
                self.reports += 1 + (self.newly - newly) // self.queue.packet_cost
        else:
            self.highest = max(self.highest, self.acked)
            self.reports = 0
        self.delivered += self.newly

    def _acknowledge_gaps(self, gaps: tuple[int, ...], now: float, least_rtt: float) -> None:
        acked = self.acked
        known = self._gaps
        known_end = known.get
        for i in range(self._fresh, len(gaps), 2):
            start = acked + gaps[i]
            end = acked + gaps[i + 1]
            tsn = known_end(start, start - 1) + 1
            if tsn > end:
                continue  # nothing new in this block
            last = tsn - 1
            while tsn <= end:
                further = known.pop(tsn, None)  # a range seen before grows together with this one
                if further is None:
                    self._acknowledge_one(tsn, now, least_rtt)
                    last = tsn
                else:
                    last = further
                tsn = last + 1
            known[start] = last

    def _acknowledge_one(self, tsn: int, now: float, least_rtt: float) -> None:
        record = self.records[tsn]
        state = record[STATE]
        if state in (ACKED, ABANDONED):
            return
        cost = record[COST]
        if state == IN_FLIGHT:
            self.flight -= cost
        record[STATE] = ACKED
        self.newly += cost
        sent = record[SENT]
        if record[COUNT] > 1:
            if now - sent[0] < least_rtt:
                return
        else:
            if sent[0] > self.rtt_at:
                self.rtt_at = sent[0]
            if tsn < self.highest:
                self.reordering = True
        at = self.newest[0]
        if sent[0] > at or (sent[0] == at and tsn > self.newest_tsn):
            self.newest = sent
            self.newest_tsn = tsn

    def find_lost(self, now: float, rtt: float, tolerance: float) -> float:
        """Find chunks lost: those sent before the newest acknowledged one, with time for reordering allowed.

        rtt          seconds, of the newest acknowledged chunk.
        tolerance    seconds of reordering that are allowed.
        Returns the time at which the next chunk becomes lost if nothing is heard of it; math.inf if there is
                none.
        Source: RFC 8985 section 6.2, for SCTP.
        """
        newest_at = self.newest[0]
        newest_tsn = self.newest_tsn
        spare = rtt + tolerance
        due = math.inf
        records = self.records
        tsn = max(self._judged, self.acked + 1)
        # A peer reports so many gaps at most, ours 256, others 20: then what lies behind the last one is
        # unknown.
        next_tsn = self.highest + 1 if len(self._last_gaps) >= _MANY_GAPS else self.next_tsn
        while tsn < next_tsn:
            record = records[tsn]
            if record[STATE] == IN_FLIGHT and record[COUNT] == 1:
                at = record[SENT][0]
                if at > newest_at or (at == newest_at and tsn > newest_tsn):
                    break
                if at + spare > now:
                    due = at + spare
                    break
                self._lose(tsn, record)
            tsn += 1
        self._judged = tsn
        resent = self._resent
        while resent:
            tsn, sent = resent[0]
            lost = records.get(tsn)
            if lost is not None and lost[SENT] is sent and lost[STATE] == IN_FLIGHT:
                at = sent[0]
                if at > newest_at or (at == newest_at and tsn > newest_tsn):
                    break
                if at + spare > now:
                    due = min(due, at + spare)
                    break
                self._lose(tsn, lost)
            resent.popleft()
        return due

    def _lose(self, tsn: int, record: Record) -> None:
        record[STATE] = LOST
        cost = record[COST]
        self.flight -= cost
        self.lost += cost
        if record[COUNT] > self.in_vain:
            self.in_vain = record[COUNT]
        limits = record[LIMITS]
        if limits is not None and record[COUNT] > limits.max_retransmits:
            self.abandon(tsn)
        else:
            heappush(self.resend, tsn)

    def lose_all(self) -> None:
        """Take all that is in flight for lost: the retransmission timer has expired.

        A peer that has acknowledged, by a gap block, what it does not have any more is forgiven.
        Source: RFC 9260 section 6.3.3 E3, 6.2.1 (reneging).
        """
        records = self.records
        first = records.get(self.acked + 1)
        if first is not None and first[STATE] == ACKED:
            self._gaps.clear()
            self._last_gaps = ()
            for record in records.values():
                if record[STATE] == ACKED:
                    record[STATE] = IN_FLIGHT
                    self.flight += record[COST]
        for tsn, record in list(records.items()):
            if record[STATE] == IN_FLIGHT:
                self._lose(tsn, record)
        self._judged = self.next_tsn
        self._resent.clear()

    def take_lost(self, room: int, alone: bool, sent: Transmission, now: float) -> Record | None:
        """Take the lost chunk with the lowest TSN to send it again.

        room     bytes: a chunk larger than that stays.
        alone    it goes even so, as it would be the only one in its packet: the MTU has become smaller.
        Returns its record, in flight again; None if there is none, or none that fits.
        """
        resend = self.resend
        while resend:
            tsn = resend[0]
            record = self.records.get(tsn)
            if record is None or record[STATE] != LOST:
                heappop(resend)
                continue
            limits = record[LIMITS]
            if limits is not None and limits.expires <= now:
                heappop(resend)
                self.abandon(tsn)
                continue
            if record[COST] > room and not alone:
                return None
            heappop(resend)
            self.mark_resent(tsn, record, sent)
            return record
        return None

    def mark_resent(self, tsn: int, record: Record, sent: Transmission) -> None:
        """Count a chunk as sent again."""
        if record[STATE] == LOST:
            record[STATE] = IN_FLIGHT
            self.flight += record[COST]
        record[COUNT] += 1
        record[SENT] = sent
        self.last_resent = tsn
        self.resent.add(tsn)
        self._resent.append((tsn, sent))

    @property
    def has_resent(self) -> bool:
        """Whether a chunk that was sent again may be unacknowledged."""
        return bool(self._resent)

    def newest_in_flight(self, now: float) -> tuple[int, Record] | None:
        """Give the chunk in flight with the highest TSN that may be sent again, and its TSN."""
        for tsn, record in reversed(self.records.items()):
            limits = record[LIMITS]
            if record[STATE] == IN_FLIGHT and (
                limits is None or (record[COUNT] <= limits.max_retransmits and now < limits.expires)
            ):
                return tsn, record
        return None

    def abandon(self, tsn: int) -> None:
        """Give the message up that the chunk with this TSN belongs to.

        Its chunks are not sent again, the rest of it is not sent at all.
        Source: RFC 3758 section 3.5 A3 and section 4.1; RFC 7496 section 4.
        """
        records = self.records
        queue = self.queue
        limits = records[tsn][LIMITS]
        tsns = [tsn]
        if isinstance(limits, Fate):
            queue.stats.abandoned_messages += not limits.abandoned
            limits.abandoned = True
            if queue.discard_rest(limits):
                limits.tsns.append(self.next_tsn)
                rest = [ABANDONED, 0, b"", limits.stream, limits, self.newest, 1, b"", 0, 0]
                records[self.next_tsn] = rest
                self.next_tsn += 1
            tsns = limits.tsns
        else:
            queue.stats.abandoned_messages += 1
        for each in tsns:
            record = records.get(each)
            if record is None or record[STATE] == ABANDONED:
                continue
            size = record[SIZE]
            if record[STATE] == IN_FLIGHT:
                self.flight -= record[COST]
            record[STATE] = ABANDONED
            record[SIZE] = 0
            record[PAYLOAD] = b""
            queue.forget(record[STREAM], size)
        self._advance()

    def _advance(self) -> None:
        """Move the advanced peer ack point over what was abandoned (RFC 3758 section 3.5 C2)."""
        records = self.records
        tsn = self.advanced + 1
        while (record := records.get(tsn)) is not None and record[STATE] == ABANDONED:
            tsn += 1
        self.advanced = tsn - 1

    def skipped(self, most: int) -> tuple[int, dict[tuple[int, bool], int]]:
        """Say what a FORWARD-TSN has to tell.

        most    entries that fit into it.
        Returns (new cumulative TSN, (stream id, unordered) -> largest number skipped there).
        """
        entries: dict[tuple[int, bool], int] = {}
        for tsn in range(self.acked + 1, self.advanced + 1):
            _, _, head, stream, limits, *_ = self.records[tsn]
            if isinstance(limits, Fate):
                unordered, number = limits.unordered, limits.number
            else:
                unordered = bool(head[1] & UNORDERED)
                number = int.from_bytes(head[12:16] if self.queue.interleaving else head[10:12])
            key = (stream.stream_id, unordered)
            if key not in entries and len(entries) == most:
                return tsn - 1, entries
            entries[key] = number
        return self.advanced, entries
