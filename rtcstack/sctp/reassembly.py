"""From chunks back to messages: fragments joined, ordered messages put in order."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from rtcstack.errors import WireError
from rtcstack.sctp.chunks import BEGIN, END, UNORDERED, WHOLE
from rtcstack.serial import U16, U32

__all__ = ["PIECE_OVERHEAD", "Message", "ProtocolViolation", "Reassembly"]

Message: TypeAlias = tuple[int, int, bytes]
"""(stream_id, ppid, payload)"""

PIECE_OVERHEAD = 100
"""Bytes that each waiting piece counts in `size` besides its payload: about what Python needs to hold it.

Without it a peer could make us hold five million messages of one byte in a window of 5 MiB.
"""

_HALF32 = 1 << 31


class ProtocolViolation(WireError):  # noqa: N818 - the name of the error cause
    """Fragments contradict each other: the association has to end with the cause "Protocol Violation"."""


class Reassembly:
    """Makes messages of the user data that arrives; knows nothing of windows, SACKs or packets.

    A chunk comes here once only: one whose TSN came before is dropped by the caller. Whether there is room
    for a chunk is for the caller to see as well, before its TSN is noted: `size` tells what is held.

    What the peer does wrong ends in one of three ways. Fragments that contradict each other raise
    ProtocolViolation. A message that is too large is thrown away, never cut, and reported in `oversized`.
    Anything else that cannot be placed is dropped (a number that was delivered before) or held within `size`
    (pieces of a message that never becomes whole).

    interleaving       False: DATA by add(), FORWARD-TSN by skip(). True: I-DATA by add_interleaved(),
                       I-FORWARD-TSN by skip_interleaved().
    max_message_size   bytes; 0 = no limit. A message larger than the receive window can never be complete, so
                       the limit has to be smaller.

    messages     complete messages in order of delivery.
    oversized    ids of streams on which a message was too large; one may stand there more than once.
    size         bytes of what waits here for something missing, PIECE_OVERHEAD a piece included.
    stale        how many messages were dropped because their number had been delivered, skipped or held.
    """

    __slots__ = (
        "_current",
        "_headless",
        "_held",
        "_mask",
        "_next",
        "_open",
        "_partial",
        "max_message_size",
        "messages",
        "oversized",
        "size",
        "stale",
    )

    def __init__(self, *, interleaving: bool, max_message_size: int) -> None:
        self.messages: list[Message] = []
        self.oversized: list[int] = []
        self.size = 0
        self.stale = 0
        self.max_message_size = max_message_size or sys.maxsize
        self._mask = U32 if interleaving else U16
        # Stream id -> SSN or MID of the ordered message to deliver next; no entry means 0.
        self._next: dict[int, int] = {}
        # Stream id -> SSN or MID -> message that waits for an earlier one; None for one that was too large.
        self._held: dict[int, dict[int, Message | None]] = {}
        # The run of fragments that grew last and has no end yet. It is kept out of the dict: there each
        # fragment of a bulk transfer would cost a removal and an insertion, and every fifth a rebuilding.
        self._current: _Run | None = None
        # TSN that a run misses at its end (if it is not current), or in front of its beginning -> the run.
        self._open: dict[int, _Run] = {}
        self._headless: dict[int, _Run] = {}
        # (stream id, UNORDERED or 0) -> MID -> incomplete message in I-DATA chunks.
        self._partial: dict[tuple[int, int], dict[int, _Partial]] = {}

    def take_messages(self) -> list[Message]:
        """Hand over the complete messages, in order of delivery."""
        messages, self.messages = self.messages, []
        return messages

    def take_oversized(self) -> list[int]:
        """Hand over the ids of the streams on which a message was too large."""
        oversized, self.oversized = self.oversized, []
        return oversized

    def add_whole(self, stream_id: int, number: int, ppid: int, flags: int, payload: bytes) -> None:
        """Take a message in one piece, of at most max_message_size bytes; it never raises.

        number    its SSN or MID.
        """
        if flags & UNORDERED:
            self.messages.append((stream_id, ppid, payload))
        elif number == self._next.get(stream_id, 0) and stream_id not in self._held:
            self._next[stream_id] = (number + 1) & self._mask
            self.messages.append((stream_id, ppid, payload))
        else:
            self._deliver_in_order(stream_id, number, (stream_id, ppid, payload))

    def add(self, tsn: int, stream_id: int, ssn: int, ppid: int, flags: int, payload: bytes) -> None:
        """Take the user data of one DATA chunk.

        Raises ProtocolViolation if its TSN continues a message of another stream, SSN or U bit.
        Source: RFC 9260 sections 6.6 and 6.9.
        """
        if flags & WHOLE == WHOLE and len(payload) <= self.max_message_size:
            self.add_whole(stream_id, ssn, ppid, flags, payload)
            return

        run = self._current
        if run is None or run.next != tsn or flags & BEGIN:
            run = self._find_run(tsn, stream_id, ssn, ppid, flags)
        if run.stream_id != stream_id or run.unordered != flags & UNORDERED or run.ssn != ssn:
            self._check_same_message(run, tsn, stream_id, ssn, flags)
        run.next = (tsn + 1) & U32
        if run.parts is not None:
            size = len(payload)
            run.parts.append(payload)
            run.size += size
            self.size += size + PIECE_OVERHEAD
        if flags & END:
            run.end = END
        elif self._headless and (right := self._headless.pop(tsn, None)) is not None:
            self._merge(run, right)
        if run.size > self.max_message_size and run.parts is not None:
            self.size -= _held_by(run)
            run.parts = None
            self.oversized.append(stream_id)
        if run.end:
            self._current = None
            if run.begin:
                self._complete(run, stream_id, run.ssn, run.unordered)

    def _find_run(self, tsn: int, stream_id: int, ssn: int, ppid: int, flags: int) -> _Run:
        """Make current the run that a fragment continues, or a new one."""
        self._park()
        run = None if flags & BEGIN else self._open.pop(tsn, None)
        if run is None:
            run = _Run(tsn, stream_id, ssn, ppid, flags)
            if not run.begin:
                self._headless[(tsn - 1) & U32] = run
        self._current = run
        return run

    def _park(self) -> None:
        """Put the current run among those that wait."""
        if self._current is not None:
            self._open[self._current.next] = self._current
            self._current = None

    def _merge(self, run: _Run, right: _Run) -> None:
        """Join to a run the one that begins where it ends."""
        self._check_same_message(run, right.first, right.stream_id, right.ssn, right.unordered)
        self._open.pop(right.next, None)
        if run.parts is None or right.parts is None:
            self.size -= _held_by(run) + _held_by(right)
            run.parts = None
        # The smaller one moves, so that the work stays small whatever the order of arrival.
        elif len(run.parts) >= len(right.parts):
            run.parts.extend(right.parts)
        else:
            right.parts.extendleft(reversed(run.parts))
            run.parts = right.parts
        run.next = right.next
        run.end = right.end
        run.size += right.size

    def _check_same_message(self, run: _Run, tsn: int, stream_id: int, ssn: int, flags: int) -> None:
        """Raise ProtocolViolation unless a run and what continues it agree; unordered ones need no SSN."""
        unordered = flags & UNORDERED
        if run.stream_id != stream_id or run.unordered != unordered or (run.ssn != ssn and not unordered):
            raise ProtocolViolation(f"TSN {tsn} does not belong to the message that it continues")

    def _complete(self, pieces: _Run | _Partial, stream_id: int, number: int, unordered: int) -> None:
        """Deliver a message of which the last fragment has come, or pass over it if it was too large."""
        if pieces.parts is None:
            message = None
        else:
            self.size -= _held_by(pieces)
            message = (stream_id, pieces.ppid, b"".join(pieces.parts))
        if not unordered:
            self._deliver_in_order(stream_id, number, message)
        elif message is not None:
            self.messages.append(message)

    def add_interleaved(self, stream_id: int, mid: int, ppid_or_fsn: int, flags: int, payload: bytes) -> None:
        """Take the user data of one I-DATA chunk; its TSN plays no part.

        ppid_or_fsn    the PPID if flags & BEGIN, else the FSN.
        Raises ProtocolViolation if the same fragment came before or does not fit behind the last one.
        Source: RFC 8260 section 2.2.3.
        """
        if flags & WHOLE == WHOLE and len(payload) <= self.max_message_size:
            self.add_whole(stream_id, mid, ppid_or_fsn, flags, payload)
            return
        unordered = flags & UNORDERED
        if not unordered and (mid - self._next.get(stream_id, 0)) & U32 >= _HALF32:
            self.stale += 1
            return
        partials = self._partial.setdefault((stream_id, unordered), {})
        partial = partials.get(mid)
        if partial is None:
            partial = partials[mid] = _Partial()
        if flags & BEGIN:
            partial.ppid = ppid_or_fsn
            fsn = 0
        else:
            fsn = ppid_or_fsn
        if flags & END:
            if partial.last is not None:
                raise ProtocolViolation(f"two last fragments of message {mid}")
            partial.last = fsn
        self._place(partial, fsn, payload)
        if partial.size > self.max_message_size and partial.parts is not None:
            self.size -= _held_by(partial)
            partial.next_fsn += len(partial.later)
            partial.parts = None
            partial.later.clear()
            self.oversized.append(stream_id)
        if partial.last is not None and (partial.last - partial.next_fsn) & U32 >= _HALF32:
            if partial.later or partial.next_fsn != (partial.last + 1) & U32:
                raise ProtocolViolation(f"fragments behind the last one of message {mid}")
            del partials[mid]
            if not partials:
                del self._partial[stream_id, unordered]
            self._complete(partial, stream_id, mid, unordered)

    def _place(self, partial: _Partial, fsn: int, payload: bytes) -> None:
        """Put a fragment where it belongs in its message."""
        parts = partial.parts
        if parts is None:
            # Too large and thrown away: its fragments are only counted, to know when it is over.
            partial.next_fsn = (partial.next_fsn + 1) & U32
            return
        partial.size += len(payload)
        self.size += len(payload) + PIECE_OVERHEAD
        later = partial.later
        if fsn == partial.next_fsn:
            parts.append(payload)
            fsn = (fsn + 1) & U32
            while later and fsn in later:
                parts.append(later.pop(fsn))
                fsn = (fsn + 1) & U32
            partial.next_fsn = fsn
        elif fsn in later or (fsn - partial.next_fsn) & U32 >= _HALF32:
            raise ProtocolViolation(f"fragment {fsn} came twice")
        else:
            later[fsn] = payload

    def _deliver_in_order(self, stream_id: int, number: int, message: Message | None) -> None:
        """Deliver an ordered message, and those that waited for it; or let it wait.

        number     its SSN or MID.
        message    None if it was too large: the others must not wait for it.
        """
        expected = self._next.get(stream_id, 0)
        if number == expected:
            if message is not None:
                self.messages.append(message)
            self._next[stream_id] = (number + 1) & self._mask
            if stream_id in self._held:
                self._release(stream_id)
            return
        if (number - expected) & self._mask > self._mask >> 1:
            self.stale += 1
            return
        held = self._held.setdefault(stream_id, {})
        if number in held:
            self.stale += 1
        else:
            held[number] = message
            self.size += PIECE_OVERHEAD + (len(message[2]) if message is not None else 0)

    def _release(self, stream_id: int) -> None:
        """Deliver the held messages of a stream from the next number on, up to one that is missing."""
        held = self._held[stream_id]
        number = self._next[stream_id]
        while number in held:
            self._deliver_held(held, number)
            number = (number + 1) & self._mask
        self._next[stream_id] = number
        if not held:
            del self._held[stream_id]

    def _deliver_held(self, held: dict[int, Message | None], number: int) -> None:
        message = held.pop(number)
        self.size -= PIECE_OVERHEAD
        if message is not None:
            self.size -= len(message[2])
            self.messages.append(message)

    def skip(self, cumulative: int, streams: Iterable[tuple[int, int]]) -> None:
        """Give up what the peer has given up, in DATA chunks.

        cumulative    new cumulative TSN of a FORWARD-TSN: messages that miss a TSN up to it are thrown away.
        streams       (stream_id, ssn): ordered messages behind this SSN need not wait for it any more. An SSN
                      that has been passed already changes nothing.
        Source: RFC 3758 section 3.6.
        """
        self._park()
        for waiting in (self._open, self._headless):
            for run in [run for tsn, run in waiting.items() if (cumulative - tsn) & U32 < _HALF32]:
                self._forget_run(run)
        for stream_id, ssn in streams:
            self._pass_over(stream_id, ssn)

    def skip_interleaved(self, streams: Iterable[tuple[int, bool, int]]) -> None:
        """Give up what the peer has given up, in I-DATA chunks.

        streams    (stream_id, unordered, mid): incomplete messages up to this MID are thrown away, and
                   ordered ones behind it need not wait for it any more.
        Source: RFC 8260 section 2.3.1.
        """
        for stream_id, unordered, mid in streams:
            key = (stream_id, UNORDERED if unordered else 0)
            partials = self._partial.get(key, {})
            for number in [number for number in partials if (mid - number) & U32 < _HALF32]:
                self.size -= _held_by(partials.pop(number))
            if not partials:
                self._partial.pop(key, None)
            if not unordered:
                self._pass_over(stream_id, mid)

    def _pass_over(self, stream_id: int, last: int) -> None:
        """Deliver the held messages of a stream up to this number and expect the one behind it."""
        mask = self._mask
        expected = self._next.get(stream_id, 0)
        distance = (last - expected) & mask
        if distance > mask >> 1:
            return
        self._next[stream_id] = (last + 1) & mask
        if held := self._held.get(stream_id):
            # Whichever is shorter: the way to `last`, or what is held.
            if distance < len(held):
                numbers = [(expected + i) & mask for i in range(distance + 1)]
                numbers = [number for number in numbers if number in held]
            else:
                numbers = [number for number in held if (number - expected) & mask <= distance]
                numbers.sort(key=lambda number: (number - expected) & mask)
            for number in numbers:
                self._deliver_held(held, number)
            self._release(stream_id)

    def reset_streams(self, stream_ids: Iterable[int] = ()) -> None:
        """Let the numbers of these incoming streams begin at 0 again; of all streams if none is named.

        What still waits on them is thrown away. The caller does this when all TSNs up to the request's last
        one have come, so with a peer that keeps to the rules nothing waits.
        Source: RFC 6525 section 5.2.2; RFC 8260 section 2.3.2.
        """
        self._park()
        ids = set(stream_ids)
        if not ids:
            for state in (self._next, self._held, self._open, self._headless, self._partial):
                state.clear()
            self.size = 0
            return
        for run in {*self._open.values(), *self._headless.values()}:
            if run.stream_id in ids:
                self._forget_run(run)
        for stream_id in ids:
            self._next.pop(stream_id, None)
            for message in self._held.pop(stream_id, {}).values():
                self.size -= PIECE_OVERHEAD + (len(message[2]) if message is not None else 0)
            for unordered in (0, UNORDERED):
                for partial in self._partial.pop((stream_id, unordered), {}).values():
                    self.size -= _held_by(partial)

    def _forget_run(self, run: _Run) -> None:
        self.size -= _held_by(run)
        if not run.end:
            self._open.pop(run.next, None)
        if not run.begin:
            self._headless.pop((run.first - 1) & U32, None)


class _Run:
    """Fragments of one message in DATA chunks whose TSNs have no hole between them."""

    __slots__ = ("begin", "end", "first", "next", "parts", "ppid", "size", "ssn", "stream_id", "unordered")

    def __init__(self, tsn: int, stream_id: int, ssn: int, ppid: int, flags: int) -> None:
        self.stream_id = stream_id
        self.unordered = flags & UNORDERED
        self.ssn = ssn
        self.ppid = ppid
        self.begin = flags & BEGIN
        self.end = 0
        self.first = tsn
        self.next = tsn
        self.parts: deque[bytes] | None = deque()
        """None once the message was too large."""
        self.size = 0


class _Partial:
    """A message in I-DATA chunks of which fragments are missing."""

    __slots__ = ("last", "later", "next_fsn", "parts", "ppid", "size")

    def __init__(self) -> None:
        self.ppid = 0
        self.next_fsn = 0
        self.last: int | None = None
        """FSN of the fragment with the E bit."""
        self.parts: list[bytes] | None = []
        """Fragments from the first on without a hole; None once the message was too large."""
        self.later: dict[int, bytes] = {}
        """FSN -> fragment behind a hole."""
        self.size = 0


def _held_by(pieces: _Run | _Partial) -> int:
    """Tell how much of Reassembly.size these pieces make up."""
    if pieces.parts is None:
        return 0
    count = len(pieces.parts) + (len(pieces.later) if isinstance(pieces, _Partial) else 0)
    return pieces.size + PIECE_OVERHEAD * count
