"""Messages that wait to be sent, stream by stream, and their cutting into DATA chunks."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from rtcstack.sctp.chunks import (
    BEGIN,
    DATA,
    DATA_SIZE,
    END,
    I_DATA,
    I_DATA_SIZE,
    PADDING,
    UNORDERED,
    WHOLE,
    pack_data,
    pack_i_data,
)
from rtcstack.sctp.limits import Fate, Limits
from rtcstack.sctp.outstanding import ABANDONED, HEAD, IN_FLIGHT, LIMITS, PAYLOAD, SIZE, STREAM, Record
from rtcstack.sctp.stats import Stats
from rtcstack.serial import U16, U32

__all__ = ["SMALLEST_FRAGMENT", "OutgoingStream", "SendQueue"]

_DEFAULT_WEIGHT = 256
"""The W3C's "low" in the numbers of RFC 8832: very low 128, low 256, medium 512, high 1024."""

SMALLEST_FRAGMENT = 256
"""Bytes of a packet's rest that are worth a fragment: filling it costs one more chunk on either side."""


Message = tuple[bytes, int, int, Limits | None]
"""(payload, ppid, UNORDERED or 0, limits or None if it is reliable)."""


class OutgoingStream:
    """One stream on its way out.

    buffered     bytes accepted, and neither acknowledged nor abandoned.
    threshold    bytes at or below which `buffered` counts as low.
    """

    __slots__ = (
        "active",
        "buffered",
        "finish",
        "fragment",
        "held",
        "limits",
        "messages",
        "mid",
        "offset",
        "ssn",
        "stream_id",
        "threshold",
        "unordered_mid",
        "weight",
    )

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.messages: deque[Message] = deque()
        self.limits: Limits | None = None  # of the last message that had any
        self.held: deque[Message] | None = None  # what comes after a reset, while that is under way
        self.offset = 0  # bytes of messages[0] that have been cut off
        self.fragment = 0  # fragments of messages[0] that have been cut off
        self.ssn = 0
        self.mid = 0
        self.unordered_mid = 0
        self.buffered = 0
        self.threshold = 0
        self.weight = _DEFAULT_WEIGHT
        self.active = False  # known to the scheduler
        self.finish = 0.0  # virtual time at which its next chunk is done


class SendQueue:
    """All outgoing streams of an association and the scheduler between them.

    Streams share the path by weighted fair queueing: the stream whose next chunk would be finished first, if
    each
    had its share of the path, goes first (RFC 8260 section 3.6). Without interleaving the turn passes only
    between
    messages, with it after each chunk.

    A peer has to keep what it has of a message until the rest is there. So that those cut in turn do not fill
    its window, a message of several chunks begins only while those that have begun take less than half of it.

    current     the stream whose turn it is, None if it has run empty.
    ready       the other streams with something to send, a heap by the time at which they are due.
    buffered    bytes of all streams accepted, and neither acknowledged nor abandoned.
    low         ids of streams whose amount has fallen to their threshold, in order; the owner empties it.
    packet_cost    bytes of the chunk that fills a packet.
    most_begun     bytes of messages that have begun and not ended, at least 2: while there are so many, no
                other one of several chunks begins.
    given_up    fates of partly sent messages whose time was over; the owner abandons their chunks and
                empties it.
    """

    __slots__ = (
        "_begun",
        "_order",
        "_postponed",
        "_virtual_time",
        "buffered",
        "current",
        "given_up",
        "header_size",
        "interleaving",
        "largest_payload",
        "low",
        "most_begun",
        "packet_cost",
        "ready",
        "stats",
        "streams",
    )

    def __init__(self, mtu: int, stats: Stats) -> None:
        self.stats = stats
        self.streams: dict[int, OutgoingStream] = {}
        self.buffered = 0
        self.low: list[int] = []
        self.given_up: list[Fate] = []
        self.interleaving = False
        self.current: OutgoingStream | None = None
        self.ready: list[tuple[float, int, OutgoingStream]] = []
        self.most_begun = sys.maxsize
        self._begun = 0  # bytes of messages of which a part is cut off, as _weigh() counts them
        self._postponed: list[OutgoingStream] = []  # streams that wait for it to fall to begin a message
        self._order = 0
        self._virtual_time = 0.0
        self.set_mtu(mtu)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be sent for the first time; what is held behind a reset does not count."""
        return self.current is None and not self.ready

    @property
    def is_cutting(self) -> bool:
        """Whether the rest of a message waits of which a part was sent: cut_full() may serve."""
        return self.current is not None and self.current.offset > 0

    def set_mtu(self, mtu: int, interleaving: bool | None = None) -> None:
        """Cut what follows into chunks for packets of so many bytes, as DATA or (interleaving) as I-DATA."""
        if interleaving is not None:
            self.interleaving = interleaving
        self.header_size = I_DATA_SIZE if self.interleaving else DATA_SIZE
        self.largest_payload = (mtu - 12 - self.header_size) & ~3
        self.packet_cost = self.header_size + self.largest_payload
        if interleaving and self.ready:
            # Their turns became due as if they sent whole messages.
            self.ready = [
                (min(finish, self._virtual_time + self._turn(stream) / stream.weight), order, stream)
                for finish, order, stream in self.ready
            ]
            for finish, _, stream in self.ready:
                stream.finish = finish
            heapify(self.ready)

    def stream(self, stream_id: int) -> OutgoingStream:
        """Give the stream with this id, a new one if it was not used yet."""
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.streams[stream_id] = OutgoingStream(stream_id)
        return stream

    def push(
        self, stream: OutgoingStream, ppid: int, payload: bytes, unordered: int, limits: Limits | None
    ) -> None:
        """Queue one message of at least one byte; unordered is UNORDERED or 0."""
        size = len(payload)
        stream.buffered += size
        self.buffered += size
        if stream.held is not None:
            stream.held.append((payload, ppid, unordered, limits))
            return
        stream.messages.append((payload, ppid, unordered, limits))
        if not stream.active:
            self._activate(stream)

    def _turn(self, stream: OutgoingStream) -> int:
        """Give the bytes that a stream sends before the turn can pass on."""
        left = len(stream.messages[0][0]) - stream.offset
        return min(left, self.largest_payload) if self.interleaving else left

    def _activate(self, stream: OutgoingStream) -> None:
        stream.active = True
        start = stream.finish if stream.finish > self._virtual_time else self._virtual_time
        stream.finish = start + self._turn(stream) / stream.weight
        if self.current is None and not self.ready:
            self.current = stream
        else:
            self._order += 1
            heappush(self.ready, (stream.finish, self._order, stream))

    def _weigh(self, payload: bytes) -> int:
        """Give the bytes for which a begun message counts: a very large one leaves room for another."""
        return min(len(payload), self.most_begun // 2)

    def _end(self, weight: int) -> None:
        """Note that a begun message is cut to its end or dropped: others may begin."""
        self._begun -= weight
        if self._postponed and self._begun < self.most_begun:
            for stream in self._postponed:
                self._order += 1
                heappush(self.ready, (stream.finish, self._order, stream))
            self._postponed.clear()

    def _switch(self, stream: OutgoingStream) -> OutgoingStream:
        """Pass the turn on if another stream's next chunk is due before the next one of this stream."""
        self._virtual_time = stream.finish
        stream.finish += self._turn(stream) / stream.weight
        if self.ready[0][0] < stream.finish:
            self._order += 1
            heappush(self.ready, (stream.finish, self._order, stream))
            stream = self.current = heappop(self.ready)[2]
        return stream

    def _next(self) -> OutgoingStream | None:
        """Give the stream whose turn it is, after a stream has run empty."""
        self.current = None
        if self.ready:
            finish, _, self.current = heappop(self.ready)
            self._virtual_time = max(self._virtual_time, finish)
        return self.current

    def fill(
        self,
        chunks: list[bytes],
        room: int,
        records: dict[int, Record],
        tsn: int,
        sent: object,
        now: float,
        immediate: int,
    ) -> tuple[int, int, int]:
        """Cut chunks for the rest of one packet.

        chunks       they are appended here, padded, in pieces.
        room         bytes left in the packet.
        records      gets a record of each chunk under its TSN.
        tsn          of the first chunk; not wrapped at 2**32.
        sent         the Transmission that the records refer to.
        now          seconds.
        immediate    IMMEDIATE or 0: flag for each chunk.
        Returns (next TSN, bytes of user data, bytes of chunks).
        Source: RFC 9260 sections 6.9 and 6.10; RFC 8260 section 2.
        """
        size = cost = 0
        header_size = self.header_size
        largest = self.largest_payload
        interleaving = self.interleaving
        stream = self.current
        if stream is not None and self.ready and (self.interleaving or not stream.offset):
            finish, _, other = self.ready[0]
            if finish < stream.finish:  # a stream that has become active since the last packet goes first
                heappop(self.ready)
                self._order += 1
                heappush(self.ready, (stream.finish, self._order, stream))
                stream = self.current = other
        elif stream is None:
            stream = self._next()
        while stream is not None:
            messages = stream.messages
            payload, ppid, unordered, limits = messages[0]
            offset = stream.offset
            if limits is not None and limits.expires <= now:
                if isinstance(limits, Fate):
                    self.given_up.append(limits)
                    limits.tsns.append(tsn)
                    records[tsn] = [ABANDONED, 0, b"", stream, limits, sent, 1, b"", 0, 0]
                    tsn += 1
                self._drop_head(stream)
                stream = self.current or self._next()
                continue
            length = len(payload)
            if length > largest and not offset and self._begun >= self.most_begun:
                self._postponed.append(stream)
                stream = self._next()
                continue
            if not offset and length <= largest and length + header_size <= room:
                part = payload
                flags = WHOLE | unordered
            else:
                space = (room - header_size) & ~3
                if space > largest:
                    space = largest
                if length - offset <= space:
                    part = payload[offset:]
                    length -= offset
                    flags = END | unordered
                elif space < SMALLEST_FRAGMENT or (not offset and length <= largest and chunks):
                    break
                else:
                    part = payload[offset : offset + space]
                    length = space
                    flags = unordered if offset else BEGIN | unordered
            if interleaving:
                number = stream.unordered_mid if unordered else stream.mid
                head = pack_i_data(
                    I_DATA,
                    flags | immediate,
                    20 + length,
                    tsn & U32,
                    stream.stream_id,
                    0,
                    number,
                    ppid if flags & BEGIN else stream.fragment,
                )
            else:
                number = 0 if unordered else stream.ssn
                head = pack_data(
                    DATA, flags | immediate, 16 + length, tsn & U32, stream.stream_id, number, ppid
                )
            chunks.append(head)
            chunks.append(part)
            if length & 3:
                chunks.append(PADDING[length & 3])
            chunk_cost = (header_size + length + 3) & ~3
            if limits is not None and flags & WHOLE != WHOLE:
                if not isinstance(limits, Fate):
                    limits = Fate(limits, stream, bool(unordered), number)
                    messages[0] = payload, ppid, unordered, limits
                limits.tsns.append(tsn)
            records[tsn] = [IN_FLIGHT, length, head, stream, limits, sent, 1, payload, offset, chunk_cost]
            tsn += 1
            size += length
            cost += chunk_cost
            room -= chunk_cost
            if flags & END:
                messages.popleft()
                if offset:
                    stream.offset = stream.fragment = 0
                    self._end(self._weigh(payload))
                # As in _finish_message(), without a call for each message.
                if not interleaving:
                    if not unordered:
                        stream.ssn = (number + 1) & U16
                elif unordered:
                    stream.unordered_mid = (number + 1) & U32
                else:
                    stream.mid = (number + 1) & U32
                if not messages:
                    stream.active = False
                    stream = self._next()
                elif self.ready:
                    stream = self._switch(stream)
            else:
                if not offset:
                    self._begun += self._weigh(payload)
                stream.offset = offset + length
                stream.fragment += 1
                if interleaving and self.ready:
                    stream = self._switch(stream)
        return tsn, size, cost

    def cut_full(self, most: int, records: dict[int, Record], tsn: int, sent: object) -> list[bytes]:
        """Cut chunks of full size from the middle of a reliable message, each for a packet of its own.

        What fill() does too, many times faster: there is nothing to decide between the first and the last
        fragment of a large message while no other stream wants a turn.

        most    chunks, at most.
        tsn     of the first.
        The other arguments as for fill().
        Returns the chunks; none if fill() is to decide.
        """
        stream = self.current
        if stream is None or not stream.offset or (self.ready and self.interleaving):
            return []
        payload, ppid, unordered, limits = stream.messages[0]
        offset = stream.offset
        size = self.largest_payload
        count = min(most, (len(payload) - offset - 1) // size)
        if count <= 0 or limits is not None:
            return []
        chunks = []
        stream_id = stream.stream_id
        length = self.header_size + size
        fragment = stream.fragment
        number = stream.unordered_mid if unordered else stream.mid
        ssn = 0 if unordered else stream.ssn
        interleaving = self.interleaving
        for at in range(offset, offset + count * size, size):
            if interleaving:
                head = pack_i_data(I_DATA, unordered, length, tsn & U32, stream_id, 0, number, fragment)
                fragment += 1
            else:
                head = pack_data(DATA, unordered, length, tsn & U32, stream_id, ssn, ppid)
            chunks.append(head + payload[at : at + size])
            records[tsn] = [IN_FLIGHT, size, head, stream, None, sent, 1, payload, at, length]
            tsn += 1
        stream.offset = offset + count * size
        stream.fragment = fragment
        return chunks

    def _finish_message(self, stream: OutgoingStream, unordered: int) -> None:
        stream.offset = 0
        stream.fragment = 0
        if not self.interleaving:
            if not unordered:
                stream.ssn = (stream.ssn + 1) & U16
        elif unordered:
            stream.unordered_mid = (stream.unordered_mid + 1) & U32
        else:
            stream.mid = (stream.mid + 1) & U32

    def _drop_head(self, stream: OutgoingStream) -> None:
        """Take the first message of a stream from the queue; its number is used up if a part was sent."""
        payload, _, unordered, limits = stream.messages.popleft()
        offset = stream.offset
        if offset:
            self._finish_message(stream, unordered)
            self._end(self._weigh(payload))
        if isinstance(limits, Fate):
            self.stats.abandoned_messages += not limits.abandoned
            limits.abandoned = True
        elif limits is not None:
            self.stats.abandoned_messages += 1
        self.forget(stream, len(payload) - offset)
        if not stream.messages:
            stream.active = False
            if self.current is stream:
                self.current = None
            else:
                self.ready = [entry for entry in self.ready if entry[2] is not stream]
                self.ready.sort()
                self._postponed = [each for each in self._postponed if each is not stream]

    def discard_rest(self, fate: Fate) -> bool:
        """Drop what is unsent of a message that is given up; tell whether there was something.

        Then: if so, the caller takes up one TSN for it, so that no fragment seems to follow those that were
        sent.
        """
        stream = fate.stream
        if not (stream.offset and stream.messages[0][3] is fate):
            return False
        self._drop_head(stream)
        return True

    def forget(self, stream: OutgoingStream, size: int) -> None:
        """Count bytes as acknowledged or abandoned."""
        before = stream.buffered
        after = stream.buffered = before - size
        self.buffered -= size
        if after <= stream.threshold < before:
            self.low.append(stream.stream_id)

    def hold(self, stream_ids: Iterable[int]) -> None:
        """Keep back messages pushed to these streams from now on, until their reset is answered."""
        for stream_id in stream_ids:
            stream = self.stream(stream_id)
            if stream.held is None:
                stream.held = deque()

    def drop_streams(self, first: int) -> int:
        """Forget the streams from this id on, as the peer has fewer; give the number of messages dropped."""
        dropped = 0
        for stream_id in [stream_id for stream_id in self.streams if stream_id >= first]:
            stream = self.streams[stream_id]
            stream.messages.extend(stream.held or ())
            dropped += len(stream.messages)
            while stream.messages:
                self._drop_head(stream)
            del self.streams[stream_id]
        return dropped

    def is_drained(self, stream_id: int) -> bool:
        """Tell whether all that was pushed to a stream before hold() is acknowledged or abandoned."""
        stream = self.stream(stream_id)
        return not stream.messages and stream.buffered == sum(
            [len(message[0]) for message in stream.held or ()]
        )

    def put_back(self, record: Record) -> None:
        """Queue a message in front of its stream again, from the record of the chunk that it was sent in.

        Then: rewind(). A chunk that holds only the beginning of a message changes nothing before that.
        """
        stream, limits, head, size = record[STREAM], record[LIMITS], record[HEAD], record[SIZE]
        flags = head[1] if head else 0
        if flags & WHOLE == WHOLE:
            ppid = int.from_bytes(head[-4:])
            stream.messages.appendleft((record[PAYLOAD], ppid, flags & UNORDERED, limits))
            if not stream.active:
                self._activate(stream)
        else:
            stream.buffered -= size  # rewind() counts it again
            self.buffered -= size
        if isinstance(limits, Fate):
            limits.tsns.clear()

    def rewind(self) -> None:
        """Begin all numbers at 0, and partly sent messages from their start: the peer has restarted."""
        for stream in self.streams.values():
            stream.buffered += stream.offset
            self.buffered += stream.offset
            stream.offset = stream.fragment = 0
        self._end(self._begun)
        self.resume(
            [stream_id for stream_id, stream in self.streams.items() if stream.held is not None], True
        )
        for stream in self.streams.values():
            stream.ssn = stream.mid = stream.unordered_mid = 0

    def resume(self, stream_ids: Iterable[int], reset: bool) -> None:
        """Go on with streams that were held; reset begins their numbers at 0 (RFC 6525 section 5.2.7)."""
        for stream_id in stream_ids:
            stream = self.stream(stream_id)
            if reset:
                stream.ssn = stream.mid = stream.unordered_mid = 0
            held, stream.held = stream.held, None
            if held:
                stream.messages.extend(held)
                if not stream.active:
                    self._activate(stream)

    def limits_of(
        self, stream: OutgoingStream, max_retransmits: int | None, lifetime: float | None, now: float
    ) -> Limits | None:
        """Give the limits of a message that is queued now; None if it is fully reliable.

        lifetime    seconds from now; None = no limit.
        """
        if max_retransmits is None and lifetime is None:
            return None
        most = math.inf if max_retransmits is None else max_retransmits
        expires = math.inf if lifetime is None else now + lifetime
        limits = stream.limits
        if limits is None or limits.expires != expires or limits.max_retransmits != most:
            limits = stream.limits = Limits(most, expires)
        return limits
