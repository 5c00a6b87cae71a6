"""The receiving half of an association: what is taken, how much room there is, and when the peer is told."""

from __future__ import annotations

import math

from rtcstack.sctp.agreement import Agreement
from rtcstack.sctp.chunks import read_forward_tsn, read_i_forward_tsn, write_sack
from rtcstack.sctp.options import Options
from rtcstack.sctp.packet import HEADER_SIZE
from rtcstack.sctp.reassembly import Message, Reassembly
from rtcstack.sctp.received import DUPLICATE, NEW, ReceivedTsns
from rtcstack.sctp.stats import Stats
from rtcstack.sctp.stream_reset import StreamReset
from rtcstack.serial import U32

__all__ = ["Receiver"]

_WATERMARK = 0.9
"""Share of the receive window beyond which only the chunk is taken that moves the cumulative TSN: so the rest
of a message can always arrive (as dcSCTP does)."""

_LEAST_WINDOW = 65536
"""Bytes that are announced however much of the window incomplete messages fill: only their rest completes
them.
"""

_COMPANY = 1.5
_LONGEST_WAIT = 0.15
"""A SACK waits for the packet that should come next: this times as long as the last one was in coming, if
that is at most so many seconds. So a steady flow of ten packets a second or more needs one SACK for two of
them, and RFC 9260 section 6.2 allows 0.2 s."""

_SOBER = 16
"""Packets after a wait in vain for which no SACK waits longer than its delay: a sender whose window is one
packet sends the next one only when it has the SACK, and each wait would make the next one longer."""

_UPDATE = 1 << 18
"""Bytes of window, at most, that open again without the peer being told; a quarter of a smaller window."""


class Receiver:
    """Keeps what the peer sends until the application has taken it.

    The loop over arriving chunks, in Association.receive(), does the common case inline: it takes the chunk
    that follows the cumulative TSN while `room() > 0` and nothing is out of order, and asks accept() about
    all others.

    received       the TSNs; reassembly: the messages.
    delivered      bytes of messages that are complete and not released by the application.
    sack_now       a SACK is to go with the next packet.
    sack_due       seconds: when a SACK that waits for company goes without; math.inf = none waits.
    unacknowledged packets with user data since the last SACK.
    """

    __slots__ = (
        "_announced",
        "_counted",
        "_delay",
        "_first",
        "_inbound",
        "_sack_room",
        "_size",
        "_sober",
        "_stats",
        "_took_at",
        "delivered",
        "reassembly",
        "received",
        "sack_due",
        "sack_now",
        "unacknowledged",
    )

    def __init__(self, agreement: Agreement, options: Options, stats: Stats) -> None:
        self._sack_room = (
            options.mtu - HEADER_SIZE - 16
        ) // 4  # gap blocks and duplicates that fit into a SACK
        self.received = ReceivedTsns(agreement.peer_tsn, max_gap_blocks=self._sack_room)
        self.reassembly = Reassembly(
            interleaving=agreement.features.interleaving,
            # A message has to fit into the window, or the window would close before it is complete.
            max_message_size=min(options.max_message_size or options.receive_window, options.receive_window),
        )
        self.delivered = 0
        self.sack_now = False
        self.sack_due = math.inf
        self.unacknowledged = 0
        self._took_at = -math.inf
        self._sober = 0  # packets to go until a SACK may wait longer again
        self._first = True  # the first packet with user data is acknowledged at once
        self._counted = 0  # messages in reassembly.messages that `delivered` contains
        self._size = options.receive_window
        self._announced = options.receive_window
        self._delay = options.sack_delay
        self._inbound = agreement.inbound
        self._stats = stats

    def inherit(self, old: Receiver) -> None:
        """Go on from before a restart: the application still takes what had arrived."""
        self.reassembly.messages = old.reassembly.messages
        self._counted = old._counted
        self.delivered = old.delivered

    def room(self) -> int:
        """Give the bytes up to the watermark beyond which only the chunk that is missed most is taken."""
        return int(_WATERMARK * self._size) - self.delivered - self.reassembly.size

    @property
    def announced(self) -> int:
        """The receive window that the peer has last been told, bytes."""
        return self._announced

    def _window(self) -> int:
        """Give the a_rwnd to announce, bytes.

        Source: RFC 9260 section 6.2.
        """
        window = self._size - self.delivered - self.reassembly.size
        if window < _LEAST_WINDOW and self.delivered < self._size // 2:
            return min(_LEAST_WINDOW, self._size)
        return max(window, 0)

    @property
    def is_exhausted(self) -> bool:
        """Whether incomplete messages take twice the window: their rest is let in beyond it, to a point."""
        return self.reassembly.size > 2 * self._size

    def accept(self, tsn: int, stream_id: int, room: int, reset: StreamReset) -> bool:
        """Decide on a chunk that is not simply the next one; tell whether its data is to be taken.

        room    what is left of room() by now.
        Source: RFC 9260 sections 6.2, 6.5 and 6.7.
        """
        stats = self._stats
        received = self.received
        self.sack_now = True
        # Beyond the watermark only what moves the cumulative TSN; not even that while nobody takes messages.
        if room <= 0 and (tsn != (received.cumulative + 1) & U32 or self.delivered >= self._size):
            stats.drop("receive window full")
            return False
        if reset.is_full and reset.holds_back(tsn, stream_id):
            stats.drop("data behind a deferred reset")
            return False
        outcome = received.add(tsn)
        if outcome == NEW:
            if stream_id < self._inbound:
                return True
            stats.drop("stream does not exist")
        elif outcome == DUPLICATE:
            stats.duplicates_received += 1
        else:
            stats.drop("TSN outside the window")
        return False

    def took(self, packets: int, chunks: int, size: int, now: float) -> None:
        """Account for a run of packets and decide about the SACK.

        packets    with user data that was taken.
        chunks     of user data in them; size: their bytes.
        Source: RFC 9260 section 6.2.
        """
        stats = self._stats
        stats.data_chunks_received += chunks
        stats.data_bytes_received += size
        self._count_messages()
        self.unacknowledged += packets
        if self.unacknowledged >= 2 or self._first:
            self.sack_now = True
            self._first = False
        elif self.sack_due == math.inf:
            wait = delay = self._delay
            if self._sober:
                self._sober -= 1
            elif delay:
                wait = (now - self._took_at) * _COMPANY
            self.sack_due = now + (wait if delay < wait <= _LONGEST_WAIT else delay)
        self._took_at = now

    def handle_timeout(self, now: float) -> None:
        """Send the SACK that no other packet has joined."""
        if now >= self.sack_due:
            self.sack_now = True
            if self.sack_due - self._took_at > self._delay:
                self._sober = _SOBER

    def _count_messages(self) -> None:
        """Charge the messages that have become complete to the window."""
        messages = self.reassembly.messages
        count = len(messages)
        if count == self._counted:
            return
        self._stats.messages_received += count - self._counted
        if count == 1:
            self.delivered += len(messages[0][2])
        else:
            self.delivered += sum([len(message[2]) for message in messages[self._counted :]])
        self._counted = count

    def receive_forward_tsn(self, chunk: bytes, interleaved: bool) -> None:
        """Pass over what the peer has given up.

        Raises WireError if the chunk is malformed.
        Source: RFC 3758 section 3.6; RFC 8260 section 2.3.1.
        """
        self.sack_now = True
        if interleaved:
            tsn, entries = read_i_forward_tsn(chunk, 0, len(chunk))
            outcome = self.received.advance(tsn)
            if outcome == NEW:
                self.reassembly.skip_interleaved(entries)
        else:
            tsn, pairs = read_forward_tsn(chunk, 0, len(chunk))
            outcome = self.received.advance(tsn)
            if outcome == NEW:
                self.reassembly.skip(tsn, pairs)
        if outcome == NEW:
            self._count_messages()
        elif outcome != DUPLICATE:
            self._stats.drop("FORWARD-TSN outside the window")

    def take_messages(self) -> list[Message]:
        """Hand over the complete messages, in order of delivery."""
        self._counted = 0
        return self.reassembly.take_messages()

    def release(self, size: int) -> None:
        """Free the room of messages that the application has taken, and tell a peer that may wait for it."""
        self.delivered -= size
        gained = self._window() - self._announced
        if gained >= min(self._size // 4, _UPDATE):
            self.sack_now = True

    def take_sack(self) -> bytes:
        """Write the SACK that is due.

        Source: RFC 9260 sections 3.3.4 and 6.2.
        """
        self.sack_now = False
        self.sack_due = math.inf
        self.unacknowledged = 0
        self._stats.sacks_sent += 1
        received = self.received
        self._announced = self._window()
        if not received.beyond and not received.has_duplicates:
            return write_sack(received.cumulative, self._announced)
        gaps = received.gaps() if received.beyond else []
        duplicates = received.take_duplicates()
        del duplicates[self._sack_room - len(gaps) // 2 :]
        return write_sack(received.cumulative, self._announced, gaps, duplicates)
