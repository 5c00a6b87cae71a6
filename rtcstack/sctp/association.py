"""The SCTP association: takes packets and commands, gives packets, messages and events."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from typing import ClassVar

from rtcstack.errors import Closed as ClosedError
from rtcstack.errors import Full, InvalidParameter, InvalidState, WireError
from rtcstack.sctp import chunks as wire
from rtcstack.sctp.chunks import (
    DATA,
    I_DATA,
    IMMEDIATE,
    SACK,
    UNORDERED,
    Abort,
    CookieAck,
    CookieEcho,
    ErrorChunk,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    ReConfig,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    describe_causes,
    read_forward_tsn,
    read_i_forward_tsn,
    read_sack,
    unpack_data,
    unpack_i_data,
    write_sack,
)
from rtcstack.sctp.controllers import CONTROLLERS
from rtcstack.sctp.events import (
    AssociationState,
    BufferedAmountLow,
    Closed,
    Established,
    Event,
    MessageDropped,
    ResetDenied,
    Restarted,
)
from rtcstack.sctp.handshake import Agreement, Cookie, Features, announce, unknown_parameters
from rtcstack.sctp.options import Options
from rtcstack.sctp.packet import (
    HEADER_SIZE,
    checksum_seed,
    is_intact,
    read_header,
    write_header,
    write_packet,
)
from rtcstack.sctp.parameters import (
    STATE_COOKIE,
    UNRECOGNIZED_PARAMETER,
    Parameter,
    find_parameter,
    write_parameter,
)
from rtcstack.sctp.reassembly import Message, ProtocolViolation, Reassembly
from rtcstack.sctp.received import DUPLICATE, NEW, ReceivedTsns
from rtcstack.sctp.rto import RoundTripTime
from rtcstack.sctp.send_queue import SendQueue
from rtcstack.sctp.sender import Sender
from rtcstack.sctp.stats import Stats
from rtcstack.sctp.stream_reset import StreamReset
from rtcstack.serial import U32
from rtcstack.timer import Timer

__all__ = ["Association"]

CLOSED = AssociationState.CLOSED
COOKIE_WAIT = AssociationState.COOKIE_WAIT
COOKIE_ECHOED = AssociationState.COOKIE_ECHOED
ESTABLISHED = AssociationState.ESTABLISHED
SHUTDOWN_PENDING = AssociationState.SHUTDOWN_PENDING
SHUTDOWN_SENT = AssociationState.SHUTDOWN_SENT
SHUTDOWN_RECEIVED = AssociationState.SHUTDOWN_RECEIVED
SHUTDOWN_ACK_SENT = AssociationState.SHUTDOWN_ACK_SENT

_RECEIVING = frozenset({ESTABLISHED, SHUTDOWN_PENDING, SHUTDOWN_SENT})
"""States in which user data is taken (RFC 9260 section 6)."""
_SENDING = frozenset({ESTABLISHED, SHUTDOWN_PENDING, SHUTDOWN_RECEIVED})
"""States in which user data is sent (RFC 9260 section 9.2)."""
_ACCEPTING = frozenset({CLOSED, COOKIE_WAIT, COOKIE_ECHOED, ESTABLISHED})
"""States in which the application may queue messages; CLOSED before the first connect only."""

_WATERMARK = 0.9
"""Share of the receive window beyond which only the chunk is taken that moves the cumulative TSN: so the rest
of a message can always arrive (as dcSCTP does)."""

_LEAST_WINDOW = 65536
"""Bytes that are announced however much of the window incomplete messages fill: only their rest makes them
complete."""
_LEAST_PEER_WINDOW = 1500
"""Bytes of a_rwnd that an INIT must offer (RFC 9260 section 3.3.2)."""
_MOST_CONTROL = 64
"""Answers that wait for one take_packets(); a peer that asks for more gets no more."""
_NO_LIMIT = 1 << 62
_LARGEST_ECHO = 1024
"""Bytes of a peer's chunk or HEARTBEAT that we give back to it."""

_chunk_head = struct.Struct("!BBH").unpack_from


class _Link:
    """What exists from the moment on when both tags are known: the two directions, and the reset of streams.

    Source: RFC 9260 section 14, the TCB.
    """

    __slots__ = ("accept_zero", "agreement", "header", "reassembly", "received", "reset", "sender")

    def __init__(
        self, agreement: Agreement, options: Options, queue: SendQueue, rtt: RoundTripTime, stats: Stats
    ) -> None:
        self.agreement = agreement
        self.accept_zero = agreement.accept_zero_checksum
        self.header = write_header(options.local_port, options.remote_port, agreement.peer_tag)
        interleaving = agreement.features.interleaving
        queue.set_mtu(options.mtu, interleaving)
        self.sender = Sender(
            options, queue, rtt, stats, self.header, agreement.local_tsn, agreement.peer_window
        )
        if agreement.features.zero_checksum:
            self.sender.seed = None
        self.received = ReceivedTsns(agreement.peer_tsn)
        self.reassembly = Reassembly(
            interleaving=interleaving, max_message_size=options.max_message_size or _NO_LIMIT
        )
        self.reset = StreamReset(
            queue,
            self.received,
            self.reassembly,
            rtt,
            stats,
            agreement.local_tsn,
            agreement.peer_tsn,
            agreement.inbound,
            (options.mtu - HEADER_SIZE - 20) // 2,
            options.rto_max,
        )


class Association:
    """One end of an association between two ports over one path.

    Commands change queues and state only; packets are built by take_packets(), which is to be called, until
    it gives
    none, after receive(), handle_timeout() and commands. All times are seconds on one monotonic clock of the
    caller.

    options         see Options.
    random_bytes    n -> n unpredictable bytes: for tags, initial TSNs, the key of the cookies and HEARTBEAT
                    nonces.

    Source: RFC 9260; RFC 8261 for its place on top of DTLS.
    """

    def __init__(self, *, options: Options | None = None, random_bytes: Callable[[int], bytes]) -> None:
        options = Options() if options is None else options
        if options.congestion_control not in CONTROLLERS:
            names = ", ".join(sorted(CONTROLLERS))
            raise InvalidParameter(f"congestion_control {options.congestion_control!r} is none of {names}")
        self.options = options
        self.state = CLOSED
        self.failure_reason = ""
        """Why the association ended, for people; empty while it has not."""
        self.stats = Stats()
        self.deadline = math.inf
        """Seconds: when handle_timeout() is to be called; math.inf = never."""
        self._random_bytes = random_bytes
        self._cookie_key = random_bytes(32)
        self._rtt = RoundTripTime(options.rto_initial, options.rto_min, options.rto_max)
        self._queue = SendQueue(options.mtu, self.stats)
        self._link: _Link | None = None
        self._init: Init | None = None  # ours, from connect() on
        self._over = False  # closed after use: no new association begins here
        self._shutting_down = False
        self._header_in = b""  # what packets to us begin with: ports and our tag
        self._seed_in = 0
        self._events: list[Event] = []
        self._replies: list[bytes] = []  # whole packets that do not belong to the association
        self._control: list[bytes] = []  # chunks for the next packet, in front of SACK and DATA
        self._first_chunk = b""  # COOKIE ECHO or COOKIE ACK: first in its packet
        self._t1 = Timer(options.rto_initial, ceiling=options.rto_max)  # INIT or COOKIE ECHO is unanswered
        self._t2 = Timer(options.rto_initial, ceiling=options.rto_max)  # SHUTDOWN (ACK) is unanswered
        self._cookie_echo = b""
        self._heartbeat_due = math.inf
        self._heartbeat = (b"", 0.0)  # nonce and time of the HEARTBEAT under way
        self._heard_at = 0.0
        self._sack_due = math.inf  # a delayed SACK
        self._sack_now = False
        self._unacknowledged = 0  # packets with user data since the last SACK
        self._first_sack = True  # the first packet with user data is acknowledged at once
        self._delivered = 0  # bytes of messages that the application has not released
        self._counted = 0  # messages in reassembly.messages that _delivered contains
        self._window_announced = options.receive_window

    # -- what the application sees
    # ------------------------------------------------------------------------------

    @property
    def max_streams(self) -> int:
        """Stream ids from 0 to this, excluded, may be used both ways; 0 before the handshake."""
        link = self._link
        return min(link.agreement.outbound, link.agreement.inbound) if link is not None else 0

    @property
    def features(self) -> Features:
        """The extensions that both sides know; none before the handshake."""
        return self._link.agreement.features if self._link is not None else Features()

    @property
    def total_buffered(self) -> int:
        """Bytes of all streams accepted, and neither acknowledged nor abandoned."""
        return self._queue.buffered

    def buffered_amount(self, stream_id: int) -> int:
        """Give the bytes accepted for a stream, and neither acknowledged nor abandoned."""
        stream = self._queue.streams.get(stream_id)
        return stream.buffered if stream is not None else 0

    def set_buffered_amount_low_threshold(self, stream_id: int, size: int) -> None:
        """Ask for BufferedAmountLow whenever the amount of a stream falls to so many bytes (0 at first)."""
        self._queue.stream(stream_id).threshold = size

    def set_priority(self, stream_id: int, weight: int) -> None:
        """Set the share of a stream when several have something to send: 1 to 65535, 256 at first.

        Source: RFC 8831 section 6.4 (128, 256, 512, 1024).
        """
        if not 1 <= weight <= 65535:
            raise InvalidParameter(f"priority {weight} is not between 1 and 65535")
        self._queue.stream(stream_id).weight = weight

    def connect(self, now: float) -> None:
        """Begin the handshake. Both sides may; nothing happens if the peer's has been answered already.

        Raises InvalidState if the association is over.
        Source: RFC 9260 section 5.1.
        """
        if self._over:
            raise InvalidState("the association is closed: make a new one")
        if self.state is not CLOSED:
            return
        self._init = self._make_init(self._announced)
        self._set_tag(self._init.initiate_tag)
        self._set_state(COOKIE_WAIT)
        self._send_init(now)
        self._t1.start(now, self._rtt.rto)
        self._rearm()

    def send(
        self,
        stream_id: int,
        ppid: int,
        payload: bytes,
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        now: float = 0.0,
    ) -> None:
        """Queue one message; it may be called before connect().

        stream_id          0 to 65534, below max_streams once that is known.
        ppid               payload protocol identifier, 32 bits.
        payload            at least one byte.
        ordered            deliver it behind the ordered messages queued before on this stream.
        max_retransmits    give it up rather than send a part of it again more often.
        lifetime           give it up rather than send it (again) so many seconds from `now`.
        Raises Closed if the association is over or shutting down, InvalidParameter for an empty payload or a
        stream
               that does not exist, Full if options.send_buffer is reached.
        Source: RFC 9260 section 11.1.5, RFC 7496.
        """
        if not payload:
            raise InvalidParameter("SCTP has no empty messages: send the PPID for empty ones with one byte")
        if self.state not in _ACCEPTING or self._over or self._shutting_down:
            raise ClosedError("the association is closed or shutting down")
        queue = self._queue
        stream = queue.streams.get(stream_id)
        if stream is None:
            if not 0 <= stream_id < (self.max_streams or 65535):
                raise InvalidParameter(
                    f"stream {stream_id} does not exist: there are {self.max_streams or 65535}"
                )
            stream = queue.stream(stream_id)
        limit = self.options.send_buffer
        if limit and queue.buffered and queue.buffered + len(payload) > limit:
            raise Full(
                f"{queue.buffered} bytes wait to be sent and the limit is {limit}: "
                "wait for the buffered amount to fall, or raise send_buffer"
            )
        unordered = 0 if ordered else UNORDERED
        limits = None
        if max_retransmits is not None or lifetime is not None:
            link = self._link
            if link is None or link.agreement.features.partial_reliability:
                limits = queue.make_limits(stream, max_retransmits, lifetime, unordered, now)
        queue.push(stream, ppid, payload, unordered, limits)
        self.stats.messages_sent += 1

    def reset_streams(self, stream_ids: Iterable[int]) -> None:
        """Begin outgoing streams anew, once what was sent on them before is acknowledged.

        Messages sent later wait. OutgoingStreamsReset or ResetDenied says how it ended.
        Raises InvalidState before the handshake is done.
        Source: RFC 6525 section 5.1.2.
        """
        link = self._link
        if link is None or self.state in (COOKIE_WAIT, COOKIE_ECHOED):
            raise InvalidState("streams can be reset once the association is established")
        ids = tuple(stream_ids)
        if not link.agreement.features.reconfiguration:
            self._events.append(ResetDenied(ids))
        elif ids:
            link.reset.reset(ids)

    def shutdown(self, now: float) -> None:
        """End the association once everything is delivered both ways; Closed says when.

        Source: RFC 9260 section 9.2.
        """
        if self.state is CLOSED or self.state is COOKIE_WAIT:
            self._close("closed before it was established", graceful=True)
        elif self.state is COOKIE_ECHOED:
            self._shutting_down = True
        elif self.state is ESTABLISHED:
            self._set_state(SHUTDOWN_PENDING)
            self._go_on_shutting_down(now)
        self._rearm()

    def abort(self, reason: str) -> None:
        """End the association at once and tell the peer why; what is queued is lost.

        Source: RFC 9260 section 9.1.
        """
        self._abort(((wire.USER_INITIATED_ABORT, reason.encode()[:512]),), f"aborted: {reason}")
        self._rearm()

    def release(self, size: int) -> None:
        """Say that the application has taken so many bytes of messages: the receive window opens again.

        Raises InvalidParameter if that is more than what was delivered.
        """
        if size > self._delivered:
            raise InvalidParameter(f"{size} bytes released, but only {self._delivered} are held")
        self._delivered -= size
        # Tell a peer that may be waiting: when a quarter of the window is free again that it does not know
        # of.
        link = self._link
        if link is not None and self.state in _RECEIVING:
            gained = self._window(link) - self._window_announced
            if gained >= min(self.options.receive_window // 4, 1 << 18):
                self._sack_now = True

    def take_messages(self) -> list[Message]:
        """Hand over the messages that are complete, in order of delivery: (stream_id, ppid, payload)."""
        link = self._link
        if link is None:
            return []
        self._counted = 0
        return link.reassembly.take_messages()

    def take_events(self) -> list[Event]:
        """Hand over what happened.

        Take the messages first: they were sent before the resets that are told here.
        """
        events, self._events = self._events, []
        queue = self._queue
        if queue.low:
            events += [BufferedAmountLow(stream_id) for stream_id in queue.low]
            queue.low.clear()
        link = self._link
        if link is not None:
            if link.reset.events:
                events += link.reset.events
                link.reset.events.clear()
            if link.reassembly.oversized:
                events += [MessageDropped(stream_id) for stream_id in link.reassembly.take_oversized()]
        return events

    # -- packets from the peer
    # ----------------------------------------------------------------------------------

    def receive(self, packets: list[bytes], now: float) -> None:
        """Take packets, in the order in which they came.

        Whatever is wrong with them is counted in stats.drops.
        Then: take_packets(), which holds at most one SACK for all of them.
        Source: RFC 9260 sections 6.2, 6.10 and 8.5.
        """
        self.stats.packets_received += len(packets)
        self._heard_at = now
        i = 0
        while i < len(packets):
            packet = packets[i]
            link = self._link
            at = 0
            if link is None or packet[:8] != self._header_in:
                at = self._receive_unexpected(packet, now)
                link = self._link
                if not at or link is None:
                    i += 1
                    continue
            i = self._receive_run(link, packets, i, at, now)
        if self.state is not ESTABLISHED:
            self._go_on_shutting_down(now)
        self._rearm()

    def _receive_run(self, link: _Link, packets: list[bytes], i: int, at: int, now: float) -> int:
        """Take packets of the association from packets[i] on, up to one that is not, or that changes it.

        at    0, or where the first one goes on behind a COOKIE ECHO that has been taken.
        Returns the index of the first packet that was not taken.
        """
        stats = self.stats
        header = self._header_in
        seed = self._seed_in
        accept_zero = link.accept_zero
        received = link.received
        reassembly = link.reassembly
        reset = link.reset
        receive_sack = link.sender.receive_sack
        interleaving = link.agreement.features.interleaving
        data_type, data_size = (I_DATA, 20) if interleaving else (DATA, 16)
        inbound = link.agreement.inbound
        receiving = self.state in _RECEIVING
        room = self._room(link)
        count = len(packets)
        with_data = chunks = total = 0
        while i < count:
            packet = packets[i]
            size = len(packet)
            if not at:
                if packet[:8] != header:
                    break
                if size < 16:
                    stats.drop("packet too short")
                    i += 1
                    continue
                if not is_intact(packet, seed, accept_zero):
                    stats.drop("wrong checksum")
                    i += 1
                    continue
                at = HEADER_SIZE
            i += 1
            before = chunks
            try:
                while at + 4 <= size:
                    chunk_type = packet[at]
                    if chunk_type == data_type and receiving and size - at > data_size:
                        if interleaving:
                            _, flags, length, tsn, stream_id, _, number, ppid = unpack_i_data(packet, at)
                        else:
                            _, flags, length, tsn, stream_id, number, ppid = unpack_data(packet, at)
                        end = at + length
                        if end > size or length <= data_size:
                            self._receive_malformed_data(packet, at, length, tsn)
                            break
                        if flags & IMMEDIATE:
                            self._sack_now = True
                        if (
                            tsn == (received.cumulative + 1) & U32
                            and room > 0
                            and stream_id < inbound
                            and not received.beyond
                            and reset.deferred_tsn is None
                        ):
                            received.cumulative = tsn
                        elif not self._accept(link, tsn, stream_id, room):
                            at = (end + 3) & ~3
                            continue
                        payload = packet[at + data_size : end]
                        length -= data_size
                        room -= length
                        total += length
                        chunks += 1
                        if interleaving:
                            reassembly.add_interleaved(stream_id, number, ppid, flags, payload)
                        else:
                            reassembly.add(tsn, stream_id, number, ppid, flags, payload)
                        at = (end + 3) & ~3
                        continue
                    _, flags, length = _chunk_head(packet, at)
                    end = at + length
                    if length < 4 or end > size:
                        raise WireError("length of a chunk")
                    if chunk_type == SACK:
                        cumulative, window, gaps, _ = read_sack(packet, at, end)
                        stats.sacks_received += 1
                        if not receive_sack(cumulative, window, gaps, now):
                            stats.drop("SACK of what was never sent")
                    elif not self._receive_chunk(link, packet, at, end, now):
                        break
                    elif self._link is not link:
                        return i
                    else:
                        receiving = self.state in _RECEIVING
                    at = (end + 3) & ~3
                else:
                    if at < size:
                        stats.drop("malformed chunk")
            except ProtocolViolation as violation:
                self._abort(((wire.PROTOCOL_VIOLATION, str(violation).encode()),), f"peer: {violation}")
                return count
            except WireError:
                stats.drop("malformed chunk")
            if chunks > before:
                with_data += 1
            at = 0
        if chunks:
            stats.data_chunks_received += chunks
            stats.data_bytes_received += total
            self._count_messages(reassembly)
            self._unacknowledged += with_data
            if reset.deferred_tsn is not None:
                reset.check_deferred()
            if self._unacknowledged >= 2 or self._first_sack:
                self._sack_now = True
                self._first_sack = False
            elif self._sack_due == math.inf:
                self._sack_due = now + self.options.sack_delay
        return i

    def _count_messages(self, reassembly: Reassembly) -> None:
        """Charge the messages that have become complete to the receive window."""
        messages = reassembly.messages
        self.stats.messages_received += len(messages) - self._counted
        self._delivered += sum([len(message[2]) for message in messages[self._counted :]])
        self._counted = len(messages)

    def _room(self, link: _Link) -> int:
        """Give the bytes up to the watermark beyond which only the chunk that is missing most is taken."""
        return int(_WATERMARK * self.options.receive_window) - self._delivered - link.reassembly.size

    def _window(self, link: _Link) -> int:
        """Give the a_rwnd to announce: bytes.

        Source: RFC 9260 section 6.2.
        """
        window = self.options.receive_window - self._delivered - link.reassembly.size
        if window < _LEAST_WINDOW and self._delivered < self.options.receive_window // 2:
            # Incomplete messages fill the window, and only their rest can free it: let that come.
            return _LEAST_WINDOW
        return max(window, 0)

    def _accept(self, link: _Link, tsn: int, stream_id: int, room: int) -> bool:
        """Decide on a chunk that is not simply the next one; tell whether its data is to be taken.

        Source: RFC 9260 sections 6.2, 6.5 and 6.7.
        """
        stats = self.stats
        received = link.received
        self._sack_now = True
        # Beyond the watermark only what moves the cumulative TSN, and not even that while nobody takes
        # messages.
        if room <= 0 and (
            tsn != (received.cumulative + 1) & U32 or self._delivered >= self.options.receive_window
        ):
            stats.drop("receive window full")
            return False
        if link.reset.holds_back(tsn, stream_id):
            stats.drop("data behind a deferred reset")
            return False
        outcome = received.add(tsn)
        if outcome != NEW:
            if outcome == DUPLICATE:
                stats.duplicates_received += 1
            else:
                stats.drop("TSN outside the window")
            return False
        if stream_id >= link.agreement.inbound:
            stats.drop("stream does not exist")
            self._report(((wire.INVALID_STREAM_IDENTIFIER, struct.pack("!HH", stream_id, 0)),))
            return False
        return True

    def _receive_malformed_data(self, packet: bytes, at: int, length: int, tsn: int) -> None:
        data_size = 20 if packet[at] == I_DATA else 16
        if length == data_size:
            self._abort(
                ((wire.NO_USER_DATA, struct.pack("!I", tsn)),), "the peer sent a chunk without user data"
            )
        else:
            self.stats.drop("malformed chunk")

    def _receive_unexpected(self, packet: bytes, now: float) -> int:
        """Take a packet that does not bear the tag of an association that stands.

        Returns where to go on in it: behind a COOKIE ECHO that has begun an association; 0 if it is done
                with.
        Source: RFC 9260 sections 8.4 and 8.5.
        """
        stats = self.stats
        try:
            source, destination, tag, _ = read_header(packet)
        except WireError:
            stats.drop("packet too short")
            return 0
        if source != self.options.remote_port or destination != self.options.local_port:
            stats.drop("wrong port")
            return 0
        chunk_type, flags, length = _chunk_head(packet, HEADER_SIZE)
        end: int = HEADER_SIZE + length
        link = self._link
        accept_zero = (
            link is not None and link.accept_zero and chunk_type not in (wire.INIT, wire.COOKIE_ECHO)
        )
        if not is_intact(packet, checksum_seed(packet), accept_zero):
            stats.drop("wrong checksum")
            return 0
        if length < 4 or end > len(packet):
            stats.drop("malformed chunk")
            return 0
        chunk = packet[HEADER_SIZE:end]
        try:
            if chunk_type == wire.INIT:
                if tag or (end + 3) & ~3 < len(packet):
                    stats.drop("INIT with a tag or with company")
                else:
                    self._receive_init(Init.parse(chunk), now)
            elif chunk_type == wire.COOKIE_ECHO:
                if self._receive_cookie_echo(CookieEcho.parse(chunk), tag, now):
                    return (end + 3) & ~3
            elif self._init is not None and self.state is COOKIE_WAIT and tag == self._init.initiate_tag:
                self._receive_while_waiting(chunk_type, chunk, packet, now)
            elif chunk_type in (wire.ABORT, wire.SHUTDOWN_COMPLETE):
                self._receive_reflected(chunk_type, flags, chunk, tag)
            elif link is None or self.state is CLOSED:
                self._answer_stray(chunk_type, tag)
            else:
                stats.drop("wrong verification tag")
        except WireError:
            stats.drop("malformed chunk")
        return 0

    def _receive_reflected(self, chunk_type: int, flags: int, chunk: bytes, tag: int) -> None:
        """Take an ABORT or SHUTDOWN COMPLETE that bears the peer's own tag: it has no association any more.

        Source: RFC 9260 section 8.5.1 B and C.
        """
        link = self._link
        if (
            link is None
            or not flags & wire.REFLECTED
            or tag != link.agreement.peer_tag
            or self.state is CLOSED
        ):
            self.stats.drop("wrong verification tag")
        elif chunk_type == wire.ABORT:
            self._close(
                f"aborted by the peer: {describe_causes(Abort.parse(chunk).causes) or 'no reason given'}"
            )
        elif self.state is SHUTDOWN_ACK_SENT:
            self._close("shut down", graceful=True)

    def _answer_stray(self, chunk_type: int, tag: int) -> None:
        """Answer a packet for which there is no association.

        Source: RFC 9260 section 8.4.
        """
        self.stats.drop("no association")
        if chunk_type == wire.SHUTDOWN_ACK:
            self._reply(tag, ShutdownComplete(reflected=True).write())
        elif chunk_type not in (wire.COOKIE_ACK, wire.ERROR, wire.INIT_ACK, wire.HEARTBEAT_ACK):
            self._reply(tag, Abort(reflected=True).write())

    def _receive_while_waiting(self, chunk_type: int, chunk: bytes, packet: bytes, now: float) -> None:
        """Take the first chunk of a packet with our tag in COOKIE-WAIT.

        Source: RFC 9260 sections 5.1, 8.5.1 E and 9.1.
        """
        if chunk_type == wire.INIT_ACK:
            if HEADER_SIZE + (len(chunk) + 3 & ~3) < len(packet):
                self.stats.drop("INIT ACK with company")
            else:
                self._receive_init_ack(InitAck.parse(chunk), now)
        elif chunk_type == wire.ABORT:
            causes = describe_causes(Abort.parse(chunk).causes)
            self._close(f"refused by the peer: {causes or 'no reason given'}")
        elif chunk_type == wire.SHUTDOWN_ACK:
            assert self._init is not None
            self._reply(self._init.initiate_tag, ShutdownComplete(reflected=True).write())
        else:
            self.stats.drop("unexpected chunk")

    def _receive_chunk(self, link: _Link, packet: bytes, at: int, end: int, now: float) -> bool:
        """Take one chunk that is neither user data nor a SACK; tell whether to go on in the packet.

        Source: RFC 9260 section 3.2 for chunk types that are not known.
        """
        chunk_type = packet[at]
        handler = self._HANDLERS.get(chunk_type)
        if handler is not None:
            return handler(self, link, packet[at:end], now)
        self.stats.drop("unexpected chunk" if chunk_type in wire.CHUNK_NAMES else "unknown chunk")
        if chunk_type in (DATA, I_DATA):
            if self.state in _RECEIVING and (chunk_type == I_DATA) != link.agreement.features.interleaving:
                text = f"{wire.CHUNK_NAMES[chunk_type]} was not agreed on"
                self._abort(((wire.PROTOCOL_VIOLATION, text.encode()),), f"peer: {text}")
                return False
            return True
        if chunk_type in wire.CHUNK_NAMES:
            return True
        if chunk_type & wire.REPORT_UNKNOWN:
            self._report(((wire.UNRECOGNIZED_CHUNK_TYPE, packet[at : min(end, at + _LARGEST_ECHO)]),))
        return bool(chunk_type & wire.SKIP_UNKNOWN)

    # -- handshake
    # ----------------------------------------------------------------------------------------------

    @property
    def _announced(self) -> Features:
        return Features(partial_reliability=True, reconfiguration=True)

    @property
    def _ports(self) -> tuple[int, int]:
        return self.options.local_port, self.options.remote_port

    def _random32(self) -> int:
        """Give a random number that is not 0: a tag, or an initial TSN."""
        return int.from_bytes(self._random_bytes(4)) or 1

    def _make_init(self, features: Features) -> Init:
        return Init(
            self._random32(),
            self.options.receive_window,
            self.options.outbound_streams,
            self.options.inbound_streams,
            self._random32(),
            announce(features),
        )

    def _set_tag(self, tag: int) -> None:
        """Say which tag packets to us bear from now on."""
        self._header_in = write_header(self.options.remote_port, self.options.local_port, tag)
        self._seed_in = checksum_seed(self._header_in)

    def _reply(self, tag: int, chunk: bytes) -> None:
        """Send one chunk alone in a packet that is not one of the association's."""
        header = write_header(*self._ports, tag)
        self._replies.append(write_packet(header, [chunk], checksum_seed(header)))

    def _send_init(self, now: float) -> None:
        if self._init is not None:
            self._reply(0, self._init.write())

    def _receive_init(self, init: Init, now: float) -> None:
        """Answer an INIT; what stands is not touched until the cookie comes back.

        Source: RFC 9260 sections 5.1, 5.2.1, 5.2.2 and 9.2.
        """
        if not init.initiate_tag:
            self.stats.drop("INIT with tag 0")
            return
        if not init.outbound_streams or not init.inbound_streams or init.a_rwnd < _LEAST_PEER_WINDOW:
            self.stats.drop("INIT with forbidden values")
            self._reply(init.initiate_tag, Abort(((wire.INVALID_MANDATORY_PARAMETER, b""),)).write())
            return
        if self._over:
            self.stats.drop("no association")
            self._reply(init.initiate_tag, Abort().write())
            return
        link = self._link
        if self.state is SHUTDOWN_ACK_SENT:
            self._control.append(ShutdownAck().write())
            return
        ours = self._init
        if ours is None or self.state not in (COOKIE_WAIT, COOKIE_ECHOED):
            ours = self._make_init(self._announced)
        agreement = Agreement.between(ours, init, self.options)
        cookie = Cookie(
            now,
            agreement,
            link.agreement.local_tag if link is not None else 0,
            link.agreement.peer_tag if link is not None else 0,
        )
        parameters: list[Parameter] = [(STATE_COOKIE, cookie.write(self._cookie_key, self._ports))]
        parameters += ours.parameters
        parameters += [
            (UNRECOGNIZED_PARAMETER, write_parameter(kind, value[:_LARGEST_ECHO]))
            for kind, value in unknown_parameters(init)[:4]
        ]
        answer = InitAck(
            ours.initiate_tag,
            ours.a_rwnd,
            ours.outbound_streams,
            ours.inbound_streams,
            ours.initial_tsn,
            tuple(parameters),
        )
        self._reply(init.initiate_tag, answer.write())

    def _receive_init_ack(self, answer: InitAck, now: float) -> None:
        """Go on with COOKIE ECHO.

        Source: RFC 9260 sections 5.1 C and 3.3.3.
        """
        assert self._init is not None
        cookie = find_parameter(answer.parameters, STATE_COOKIE)
        if (
            not answer.initiate_tag
            or not answer.outbound_streams
            or not answer.inbound_streams
            or answer.a_rwnd < _LEAST_PEER_WINDOW
        ):
            self._refuse(
                answer.initiate_tag, (wire.INVALID_MANDATORY_PARAMETER, b""), "INIT ACK with forbidden values"
            )
        elif cookie is None:
            missing = struct.pack("!IH", 1, STATE_COOKIE)
            self._refuse(
                answer.initiate_tag, (wire.MISSING_MANDATORY_PARAMETER, missing), "INIT ACK without a cookie"
            )
        else:
            self._begin(Agreement.between(self._init, answer, self.options))
            unknown = unknown_parameters(answer)
            self._cookie_echo = CookieEcho(cookie).write()
            self._first_chunk = self._cookie_echo
            if unknown:
                self._report(((wire.UNRECOGNIZED_PARAMETERS, write_parameter(*unknown[0])[:_LARGEST_ECHO]),))
            self._set_state(COOKIE_ECHOED)
            self._t1.start(now, self._rtt.rto)

    def _refuse(self, tag: int, cause: tuple[int, bytes], reason: str) -> None:
        if tag:
            self._reply(tag, Abort((cause,)).write())
        self._close(reason)

    def _begin(self, agreement: Agreement) -> None:
        """Make the two directions of the association."""
        self._link = _Link(agreement, self.options, self._queue, self._rtt, self.stats)
        self._set_tag(agreement.local_tag)
        self._unacknowledged = 0
        self._first_sack = True
        self._sack_now = False
        self._sack_due = math.inf
        self._counted = 0

    def _receive_cookie_echo(self, echo: CookieEcho, tag: int, now: float) -> bool:
        """Take a cookie that comes back; tell whether to go on in its packet.

        Source: RFC 9260 sections 5.1 D, 5.1.5 and 5.2.4 with its table of actions A to D.
        """
        try:
            cookie = Cookie.parse(echo.cookie, self._cookie_key, self._ports)
        except WireError:
            self.stats.drop("forged cookie")
            return False
        agreement = cookie.agreement
        link = self._link
        current = link.agreement if link is not None else None
        local_matches = current is not None and agreement.local_tag == current.local_tag
        if self.state is COOKIE_WAIT and self._init is not None:
            local_matches = agreement.local_tag == self._init.initiate_tag
        peer_matches = current is not None and agreement.peer_tag == current.peer_tag
        if tag != agreement.local_tag or self._over:
            self.stats.drop("wrong verification tag")
            return False
        age = now - cookie.made_at
        if age > self.options.cookie_lifetime and not (local_matches and peer_matches):
            self.stats.drop("stale cookie")
            staleness = int((age - self.options.cookie_lifetime) * 1e6)
            cause = (wire.STALE_COOKIE, struct.pack("!I", min(staleness, U32)))
            self._reply(agreement.peer_tag, ErrorChunk((cause,)).write())
            return False
        if self.state is CLOSED or (current is None and local_matches):
            self._begin(agreement)
            self._establish(now)
        elif current is None:
            self.stats.drop("cookie of another handshake")
            return False
        elif local_matches and peer_matches:  # D
            if self.state is COOKIE_ECHOED:
                self._establish(now)
        elif local_matches:  # B
            if self.state is COOKIE_ECHOED:
                self._begin(agreement)
                self._establish(now)
            elif link is not None:
                self._change_peer_tag(link, agreement)
        elif (cookie.local_tie_tag, cookie.peer_tie_tag) == (current.local_tag, current.peer_tag):  # A
            if self.state is SHUTDOWN_ACK_SENT:
                self._control.append(ShutdownAck().write())
                self._report(((wire.COOKIE_RECEIVED_WHILE_SHUTTING_DOWN, b""),))
                return False
            self._restart(agreement, now)
        else:  # C, and whatever the table does not name
            self.stats.drop("cookie of another handshake")
            return False
        self._first_chunk = CookieAck().write()
        return True

    def _change_peer_tag(self, link: _Link, agreement: Agreement) -> None:
        header = write_header(*self._ports, agreement.peer_tag)
        link.header = header
        link.agreement = agreement
        link.sender.set_header(header)

    def _establish(self, now: float) -> None:
        self._t1.stop()
        self._cookie_echo = b""
        self._heartbeat_due = now + self.options.heartbeat_interval
        self._set_state(ESTABLISHED)
        self._events.append(Established())
        if self._shutting_down:
            self._shutting_down = False
            self._set_state(SHUTDOWN_PENDING)

    def _restart(self, agreement: Agreement, now: float) -> None:
        """Begin anew with a peer that has forgotten the association (action A)."""
        old = self._link
        self.stats.restarts += 1
        if old is not None:
            old.sender.forget_all()
        self._queue.rewind()
        self._begin(agreement)
        if old is not None and self._link is not None:
            self._link.reassembly.messages = old.reassembly.messages
            self._counted = len(self._link.reassembly.messages)
        self._control.clear()
        self._t2.stop()
        if self.state is not ESTABLISHED:
            self._establish(now)
        self._events.append(Restarted())

    def _on_cookie_ack(self, link: _Link, chunk: bytes, now: float) -> bool:
        CookieAck.parse(chunk)
        if self.state is COOKIE_ECHOED:
            self._establish(now)
        return True

    def _on_cookie_echo(self, link: _Link, chunk: bytes, now: float) -> bool:
        return self._receive_cookie_echo(CookieEcho.parse(chunk), link.agreement.local_tag, now)

    # -- the other chunks
    # ---------------------------------------------------------------------------------------

    def _on_heartbeat(self, link: _Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 section 8.3."""
        heartbeat = Heartbeat.parse(chunk)
        if len(heartbeat.value) > _LARGEST_ECHO or len(self._control) >= _MOST_CONTROL:
            self.stats.drop("HEARTBEAT too large or too many")
        else:
            self._control.append(HeartbeatAck(heartbeat.value).write())
        return True

    def _on_heartbeat_ack(self, link: _Link, chunk: bytes, now: float) -> bool:
        info = HeartbeatAck.parse(chunk).info
        nonce, sent_at = self._heartbeat
        if not nonce or info != nonce:
            self.stats.drop("HEARTBEAT ACK that was not asked for")
        else:
            self._rtt.measured(now - sent_at, now)
            self._heartbeat = (b"", 0.0)
        return True

    def _on_abort(self, link: _Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 section 9.1."""
        abort = Abort.parse(chunk)
        if self.state is not CLOSED:
            self._close(f"aborted by the peer: {describe_causes(abort.causes) or 'no reason given'}")
        return False

    def _on_error(self, link: _Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 sections 3.3.10 and 5.2.6."""
        causes = ErrorChunk.parse(chunk).causes
        self.stats.drop("ERROR from the peer")
        if self.state is COOKIE_ECHOED and any(code == wire.STALE_COOKIE for code, _ in causes):
            self._link = None
            self._init = self._make_init(self._announced)
            self._set_tag(self._init.initiate_tag)
            self._first_chunk = self._cookie_echo = b""
            self._queue.rewind()
            self._set_state(COOKIE_WAIT)
            self._send_init(now)
            self._t1.start(now)
            return False
        return True

    def _on_shutdown(self, link: _Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 section 9.2."""
        shutdown = Shutdown.parse(chunk)
        if self.state in (COOKIE_WAIT, COOKIE_ECHOED, CLOSED):
            self.stats.drop("unexpected chunk")
            return True
        sender = link.sender
        if not sender.receive_sack(shutdown.cumulative_tsn, sender.peer_window, (), now):
            self.stats.drop("SACK of what was never sent")
            return True
        if self.state in (ESTABLISHED, SHUTDOWN_PENDING):
            self._set_state(SHUTDOWN_RECEIVED)
        elif self.state is SHUTDOWN_SENT:
            self._send_shutdown_ack(now)
        elif self.state is SHUTDOWN_ACK_SENT:
            self._control.append(ShutdownAck().write())
        return True

    def _on_shutdown_ack(self, link: _Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 sections 9.2 and 8.5.1 E."""
        ShutdownAck.parse(chunk)
        if self.state in (SHUTDOWN_SENT, SHUTDOWN_ACK_SENT):
            self._reply(link.agreement.peer_tag, ShutdownComplete().write())
            self._close("shut down", graceful=True)
            return False
        self.stats.drop("unexpected chunk")
        if self.state is COOKIE_ECHOED:
            self._reply(link.agreement.local_tag, ShutdownComplete(reflected=True).write())
        elif self.state is CLOSED:
            self._reply(link.agreement.peer_tag, ShutdownComplete().write())
        return True

    def _on_shutdown_complete(self, link: _Link, chunk: bytes, now: float) -> bool:
        ShutdownComplete.parse(chunk)
        if self.state is SHUTDOWN_ACK_SENT:
            self._close("shut down", graceful=True)
        else:
            self.stats.drop("unexpected chunk")
        return False

    def _on_forward_tsn(self, link: _Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 3758 section 3.6; RFC 8260 section 2.3.1."""
        features = link.agreement.features
        interleaved = chunk[0] == wire.I_FORWARD_TSN
        if self.state not in _RECEIVING:
            self.stats.drop("unexpected chunk")
            return True
        if not features.partial_reliability or interleaved != features.interleaving:
            text = f"{wire.CHUNK_NAMES[chunk[0]]} was not agreed on"
            self._abort(((wire.PROTOCOL_VIOLATION, text.encode()),), f"peer: {text}")
            return False
        self._sack_now = True
        if interleaved:
            tsn, entries = read_i_forward_tsn(chunk, 0, len(chunk))
            outcome = link.received.advance(tsn)
            if outcome == NEW:
                link.reassembly.skip_interleaved(entries)
        else:
            tsn, pairs = read_forward_tsn(chunk, 0, len(chunk))
            outcome = link.received.advance(tsn)
            if outcome == NEW:
                link.reassembly.skip(tsn, pairs)
        if outcome == NEW:
            self._count_messages(link.reassembly)
            link.reset.check_deferred()
        elif outcome != DUPLICATE:
            self.stats.drop("FORWARD-TSN outside the window")
        return True

    def _on_reconfig(self, link: _Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 6525 section 5.2."""
        if self.state in _RECEIVING or self.state is SHUTDOWN_RECEIVED:
            link.reset.receive(ReConfig.parse(chunk))
        else:
            self.stats.drop("unexpected chunk")
        return True

    def _on_pad(self, link: _Link, chunk: bytes, now: float) -> bool:
        return True

    _HANDLERS: ClassVar[dict[int, Callable[[Association, _Link, bytes, float], bool]]] = {
        wire.HEARTBEAT: _on_heartbeat,
        wire.HEARTBEAT_ACK: _on_heartbeat_ack,
        wire.ABORT: _on_abort,
        wire.SHUTDOWN: _on_shutdown,
        wire.SHUTDOWN_ACK: _on_shutdown_ack,
        wire.SHUTDOWN_COMPLETE: _on_shutdown_complete,
        wire.ERROR: _on_error,
        wire.COOKIE_ECHO: _on_cookie_echo,
        wire.COOKIE_ACK: _on_cookie_ack,
        wire.RE_CONFIG: _on_reconfig,
        wire.PAD: _on_pad,
        wire.FORWARD_TSN: _on_forward_tsn,
        wire.I_FORWARD_TSN: _on_forward_tsn,
    }

    def _report(self, causes: tuple[wire.Cause, ...]) -> None:
        if len(self._control) < _MOST_CONTROL:
            self._control.append(ErrorChunk(causes).write())

    # -- the end
    # ------------------------------------------------------------------------------------------------

    def _abort(self, causes: tuple[wire.Cause, ...], reason: str) -> None:
        link = self._link
        if link is not None and self.state is not CLOSED:
            self._replies.clear()
            self._reply(link.agreement.peer_tag, Abort(causes).write())
        self._close(reason)

    def _close(self, reason: str, *, graceful: bool = False) -> None:
        if self._over:
            return
        self._over = True
        self._set_state(CLOSED)
        self.failure_reason = reason
        self._t1.stop()
        self._t2.stop()
        self._control.clear()
        self._first_chunk = b""
        self._sack_now = False
        self._sack_due = self._heartbeat_due = math.inf
        self._events.append(Closed(reason, graceful))

    def _go_on_shutting_down(self, now: float) -> None:
        """Take the step of the shutdown that is due once all data is acknowledged.

        Source: RFC 9260 section 9.2.
        """
        if self._queue.buffered or self._link is None or not self._link.sender.is_idle:
            return
        if self.state is SHUTDOWN_PENDING:
            self._control.append(Shutdown(self._link.received.cumulative).write())
            self._set_state(SHUTDOWN_SENT)
            self._t2.start(now, self._rtt.rto)
        elif self.state is SHUTDOWN_RECEIVED:
            self._send_shutdown_ack(now)

    def _send_shutdown_ack(self, now: float) -> None:
        self._control.append(ShutdownAck().write())
        self._set_state(SHUTDOWN_ACK_SENT)
        self._t2.start(now, self._rtt.rto)

    def _set_state(self, state: AssociationState) -> None:
        self.state = state

    # -- the clock and packets to the peer
    # ----------------------------------------------------------------------

    def _rearm(self) -> None:
        link = self._link
        if self.state is CLOSED or link is None:
            self.deadline = self._t1.deadline
            return
        sender = link.sender
        self.deadline = min(
            self._t1.deadline,
            self._t2.deadline,
            self._sack_due,
            self._heartbeat_due,
            link.reset.due,
            math.inf if self.state is COOKIE_ECHOED else sender.deadline,
        )

    def handle_timeout(self, now: float) -> None:
        """Do what is due at this instant; harmless if nothing is.

        Then: take_packets(), and read `deadline`.
        Source: RFC 9260 sections 5.1, 6.2, 6.3.3, 8.3 and 9.2.
        """
        if now < self.deadline:
            return
        if self._t1.expire(now):
            self.stats.control_retransmissions += 1
            if self.state is COOKIE_WAIT:
                self._send_init(now)
            elif self._link is not None:
                self._first_chunk = self._cookie_echo
                self._link.sender.lose_all()
            self._t1.restart(now)
        link = self._link
        if link is not None and self.state is not CLOSED:
            if self._t2.expire(now):
                self.stats.control_retransmissions += 1
                self._control.append(
                    Shutdown(link.received.cumulative).write()
                    if self.state is SHUTDOWN_SENT
                    else ShutdownAck().write()
                )
                self._t2.restart(now)
            if now >= self._sack_due:
                self._sack_now = True
            if now >= self._heartbeat_due:
                self._beat(now)
            link.reset.handle_timeout(now)
            if self.state is not COOKIE_ECHOED:
                link.sender.handle_timeout(now)
                self._go_on_shutting_down(now)
        self._rearm()

    def _beat(self, now: float) -> None:
        """Send a HEARTBEAT if nothing came for the interval; ask again after it.

        Source: RFC 9260 section 8.3.
        """
        interval = self.options.heartbeat_interval
        if now - self._heard_at < interval and self._heard_at > -math.inf:
            self._heartbeat_due = self._heard_at + interval
            return
        self._heartbeat_due = now + interval
        nonce = self._random_bytes(16)
        self._heartbeat = (nonce, now)
        self._control.append(Heartbeat.with_info(nonce).write())
        self.stats.heartbeats_sent += 1

    def take_packets(self, now: float) -> list[bytes]:
        """Build the packets that may leave at this instant.

        Returns packets of at most options.mtu bytes in sending order, at most about options.max_burst of
                them: call
                again until the list is empty. Control chunks come first, then a SACK, then what is sent again
                by
                TSN, then new messages as the scheduler orders them.
        Then: send them, and read `deadline`, which this call may have moved.
        Source: RFC 9260 sections 6.1 and 6.10.
        """
        packets, self._replies = self._replies, []
        link = self._link
        if link is not None and self.state is not CLOSED:
            self._fill(link, packets, now)
        self.stats.packets_sent += len(packets)
        self._rearm()
        return packets

    def _fill(self, link: _Link, packets: list[bytes], now: float) -> None:
        sender = link.sender
        state = self.state
        if state is COOKIE_ECHOED:
            if self._first_chunk:
                first, self._first_chunk = self._first_chunk, b""
                sender.fill_behind_cookie(packets, first, now)
            return
        full = room = sender.mtu - HEADER_SIZE
        chunks: list[bytes] = []
        if self._first_chunk:
            chunks.append(self._first_chunk)
            room -= len(self._first_chunk)
            self._first_chunk = b""
        sending = state in _SENDING
        control = self._control
        if self._sack_now or (self._unacknowledged and sending and sender.wants_to_send):
            control.append(self._take_sack(link))
            if state is SHUTDOWN_SENT:
                control.append(Shutdown(link.received.cumulative).write())
                self._t2.start(now, self._rtt.rto)
        if sending:
            if link.reset.has_chunks:
                control += link.reset.take_chunks(sender.outstanding.next_tsn, now)
            if sender.forward_due:
                control.append(sender.take_forward_tsn(now))
        if control:
            for chunk in control:
                if len(chunk) > room and chunks:
                    packets.append(write_packet(sender.header, chunks, sender.seed))
                    chunks = []
                    room = full
                chunks.append(chunk)
                room -= len(chunk)
            control.clear()
        if sending:
            sender.fill_packets(packets, chunks, room, now)
        elif chunks:
            packets.append(write_packet(sender.header, chunks, sender.seed))

    def _take_sack(self, link: _Link) -> bytes:
        """Write the SACK that is due.

        Source: RFC 9260 sections 3.3.4 and 6.2.
        """
        self._sack_now = False
        self._sack_due = math.inf
        self._unacknowledged = 0
        self.stats.sacks_sent += 1
        received = link.received
        window = self._window_announced = self._window(link)
        return write_sack(
            received.cumulative,
            window,
            received.gaps() if received.beyond else (),
            received.take_duplicates(),
        )
