"""The SCTP association: takes packets and commands, gives packets, messages and events."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace

from rtcstack.errors import Closed as ClosedError
from rtcstack.errors import Full, InvalidParameter, InvalidState, WireError
from rtcstack.sctp import chunks as wire
from rtcstack.sctp.agreement import Features
from rtcstack.sctp.chunks import (
    DATA,
    I_DATA,
    IMMEDIATE,
    SACK,
    UNORDERED,
    WHOLE,
    Shutdown,
    read_sack,
    unpack_data,
    unpack_i_data,
    unpack_sack,
)
from rtcstack.sctp.controllers import CONTROLLERS
from rtcstack.sctp.events import BufferedAmountLow, Event, MessageDropped, ResetDenied
from rtcstack.sctp.life_cycle import (
    CLOSED,
    COOKIE_ECHOED,
    COOKIE_WAIT,
    ESTABLISHED,
    SHUTDOWN_PENDING,
    SHUTDOWN_SENT,
    LifeCycle,
    Link,
)
from rtcstack.sctp.options import Options
from rtcstack.sctp.packet import HEADER_SIZE, is_intact, write_packet
from rtcstack.sctp.reassembly import Message, ProtocolViolation
from rtcstack.sctp.stats import Snapshot, take_counters
from rtcstack.serial import U32

__all__ = ["Association"]

_LONGEST_SACK_DELAY = 0.5
"""Seconds for which a SACK may be delayed at most (RFC 9260 section 6.2)."""

_chunk_head = struct.Struct("!BBH").unpack_from


class Association(LifeCycle):
    """One end of an association between two ports over one path.

    Commands change queues and state only; packets are built by take_packets(), which is to be called, until
    it gives
    none, after receive(), handle_timeout() and commands. All times are seconds on one monotonic clock of the
    caller.

    options         see Options.
    random_bytes    n -> n unpredictable bytes: for tags, initial TSNs, the key of the cookies and HEARTBEAT
                    nonces.
    tag             how the log calls the connection.

    Source: RFC 9260; RFC 8261 for its place on top of DTLS.
    """

    def __init__(
        self, *, options: Options | None = None, random_bytes: Callable[[int], bytes], tag: str = "-"
    ) -> None:
        options = Options() if options is None else options
        if options.congestion_control not in CONTROLLERS:
            names = ", ".join(sorted(CONTROLLERS))
            raise InvalidParameter(f"congestion_control {options.congestion_control!r} is none of {names}")
        if not 0 <= options.sack_delay <= _LONGEST_SACK_DELAY:
            raise InvalidParameter(f"sack_delay {options.sack_delay} s: from 0 to {_LONGEST_SACK_DELAY}")
        super().__init__(options, random_bytes, tag)
        self._has_news = False  # something has happened since take_packets() had nothing to send

    # -- what the application sees --------------------------------------------------------------------------

    @property
    def max_streams(self) -> int:
        """Stream ids from 0 to this, excluded, may be used both ways; 0 before the handshake."""
        link = self._link
        return min(link.agreement.outbound, link.agreement.inbound) if link is not None else 0

    @property
    def features(self) -> Features:
        """The extensions that both sides know; none before the handshake."""
        return self._link.agreement.features if self._link is not None else Features()

    def snapshot(self) -> Snapshot:
        """Copy the counters and tell the state of sender and receiver."""
        taken = take_counters(self.stats)
        taken.state = self.state.name
        taken.congestion_control = self.options.congestion_control
        taken.buffered = self._queue.buffered
        rtt = self._rtt
        taken.rto = rtt.rto
        if rtt.least != math.inf:
            taken.srtt, taken.rttvar, taken.min_rtt = rtt.srtt, rtt.rttvar, rtt.least
        link = self._link
        if link is not None:
            sender, congestion = link.sender, link.sender.congestion
            taken.cwnd = int(congestion.cwnd)
            taken.ssthresh = None if congestion.ssthresh == math.inf else int(congestion.ssthresh)
            taken.pacing_rate = None if congestion.pacing_rate == math.inf else congestion.pacing_rate
            taken.flight = sender.outstanding.flight
            taken.peer_window = sender.peer_window
            taken.receive_window = link.receiver.announced
            taken.mtu = sender.mtu
            taken.max_streams = self.max_streams
            features = link.agreement.features
            taken.partial_reliability = features.partial_reliability
            taken.reconfiguration = features.reconfiguration
            taken.interleaving = features.interleaving
            taken.zero_checksum = features.zero_checksum
        return taken

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
        self._check_stream(stream_id)
        self._queue.stream(stream_id).threshold = size

    def set_priority(self, stream_id: int, weight: int) -> None:
        """Set the share of a stream when several have something to send: 1 to 65535, 256 at first.

        Source: RFC 8831 section 6.4 (128, 256, 512, 1024).
        """
        if not 1 <= weight <= 65535:
            raise InvalidParameter(f"priority {weight} is not between 1 and 65535")
        self._check_stream(stream_id)
        self._queue.stream(stream_id).weight = weight

    def _check_stream(self, stream_id: int) -> None:
        count = self.max_streams or self.options.outbound_streams
        if not 0 <= stream_id < count:
            raise InvalidParameter(f"stream {stream_id} does not exist: there are {count}")

    def connect(self, now: float) -> None:
        """Begin the handshake. Both sides may; nothing happens if the peer's has been answered already.

        Raises InvalidState if the association is over.
        Source: RFC 9260 section 5.1.
        """
        if self._over:
            raise InvalidState("the association is closed: make a new one")
        if self.state is CLOSED:
            self._begin_handshake(now)
            self._has_news = True

    def request_heartbeat(self, now: float) -> None:
        """Send a HEARTBEAT with the next packet: its answer measures the path, and tells who is there.

        Nothing happens where no data could be sent, or while another one waits for its answer.
        Source: RFC 9260 section 11.1.10.
        """
        if self._sends and not self._heartbeat[0]:
            self._send_heartbeat(now)
            self._has_news = True

    def set_remote_port(self, port: int) -> None:
        """Learn the peer's SCTP port, which its description tells: 1 to 65535.

        Our INIT stays the same.
        Raises InvalidState if the association has begun.
        """
        if self._over or self.state is not CLOSED:
            raise InvalidState("the association has begun already")
        self.options = replace(self.options, remote_port=port)
        self._handshake.ports = self.options.local_port, port

    def local_init(self) -> bytes:
        """Give our INIT chunk, to be carried to the peer beside the SDP (`a=sctp-init`).

        Then: connect_with() if the peer gives one too, else connect().
        Source: draft-hancke-tsvwg-snap.
        """
        return self._handshake.local_init()

    def connect_with(self, peer_init: bytes, now: float) -> None:
        """Establish the association at once, from both sides' INIT chunks, without a handshake.

        peer_init    the chunk that the peer's local_init() gave.
        Raises InvalidState unless local_init() was called and nothing has begun; InvalidParameter if the
               chunk is not an INIT that could be accepted, or is our own.
        Source: draft-hancke-tsvwg-snap.
        """
        if self._over or self.state is not CLOSED:
            raise InvalidState("the association has begun already")
        self._begin(self._handshake.agree(peer_init))
        self._establish(now)
        self._has_news = True

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
        if not self._accepts:
            raise ClosedError("the association is closed or shutting down")
        queue = self._queue
        stream = queue.streams.get(stream_id)
        if stream is None:
            self._check_stream(stream_id)
            stream = queue.stream(stream_id)
        size = len(payload)
        limit = self.options.send_buffer
        if limit and queue.buffered + size > limit and queue.buffered:
            raise Full(
                f"{queue.buffered} bytes wait to be sent and the limit is {limit}: "
                "wait for the buffered amount to fall, or raise send_buffer"
            )
        unordered = 0 if ordered else UNORDERED
        limits = None
        if max_retransmits is not None or lifetime is not None:
            link = self._link
            if link is None or link.agreement.features.partial_reliability:
                limits = queue.limits_of(stream, max_retransmits, lifetime, now)
        if stream.active and stream.held is None:  # as push(), without a call for each message
            stream.messages.append((payload, ppid, unordered, limits))
            stream.buffered += size
            queue.buffered += size
        else:
            queue.push(stream, ppid, payload, unordered, limits)
        self._has_news = True
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
            self._has_news = True

    def shutdown(self, now: float) -> None:
        """End the association once everything is delivered both ways; Closed says when.

        Source: RFC 9260 section 9.2.
        """
        if self.state in (CLOSED, COOKIE_WAIT):
            self._close("closed before it was established", graceful=True)
        elif self.state is COOKIE_ECHOED:
            self._shutting_down = True
            self._accepts = False
        elif self.state is ESTABLISHED:
            self._set_state(SHUTDOWN_PENDING)
            self._go_on_shutting_down(now)
            self._has_news = True

    def abort(self, reason: str) -> None:
        """End the association at once and tell the peer why; what is queued is lost.

        Source: RFC 9260 section 9.1.
        """
        self._abort((wire.USER_INITIATED_ABORT, reason.encode()[:512]), f"aborted: {reason}")
        self._has_news = True

    def take_path(self, largest: int, now: float) -> None:
        """Say that packets take another path from now on: what was found out about its MTU is void.

        largest    bytes of a packet that its first link carries; 0 = unknown.
        Nothing larger is tried; and nothing at all beyond options.mtu where options.path_mtu_limit forbids
        it.
        Source: RFC 8899 sections 3 and 5.2.
        """
        if self.options.path_mtu_limit <= self.options.mtu:
            return
        self._path_mtu.take_path(largest or self.options.path_mtu_limit, now)
        if self._link is not None and self._link.sender.mtu > self._path_mtu.mtu:
            self._narrow(self._link)

    @property
    def needs_fragments(self) -> bool:
        """Whether chunks are in flight that are larger than packets which arrive; see PathNarrowed."""
        return self._link is not None and self._link.sender.needs_fragments

    @property
    def has_more(self) -> bool:
        """Whether the last take_packets() ended at its limit, with more to give at once."""
        return self._link is not None and self._link.sender.has_more

    def release(self, size: int) -> None:
        """Say that the application has taken so many bytes of messages: the receive window opens again.

        What was delivered before a restart of the peer, or by an association that is over, no longer counts.
        """
        link = self._link
        if link is not None:
            link.receiver.release(min(size, link.receiver.delivered))
            self._has_news |= link.receiver.sack_now

    def take_messages(self) -> list[Message]:
        """Hand over the messages that are complete, in order of delivery: (stream_id, ppid, payload)."""
        return self._link.receiver.take_messages() if self._link is not None else []

    def take_events(self) -> list[Event]:
        """Hand over what happened; Closed is the last.

        Take the messages first: they were sent before the resets that are told here.
        """
        queue = self._queue
        link = self._link
        if not (
            self._events
            or queue.low
            or (link is not None and (link.reset.events or link.receiver.reassembly.oversized))
        ):
            return []
        events, self._events = self._events, []
        last = [events.pop()] if events and self._over else []
        if queue.low:
            events += [BufferedAmountLow(stream_id) for stream_id in queue.low]
            queue.low.clear()
        if link is not None:
            if link.reset.events:
                events += link.reset.events
                link.reset.events.clear()
            if link.receiver.reassembly.oversized:
                oversized = link.receiver.reassembly.take_oversized()
                events += [MessageDropped(stream_id) for stream_id in oversized]
        return events + last

    # -- packets from the peer ------------------------------------------------------------------------------

    def receive(self, packets: list[bytes], now: float) -> None:
        """Take packets, in the order in which they came.

        Whatever is wrong with them is counted in stats.drops.
        Then: take_packets(), which holds at most one SACK for all of them.
        Source: RFC 9260 sections 6.2, 6.10 and 8.5.
        """
        self.stats.packets_received += len(packets)
        self._heard_at = now
        self._has_news = True
        i = at = 0
        if len(packets) == 1 and self.state is ESTABLISHED:
            at = self._receive_alone(packets[0], now)
            if at and at == len(packets[0]):
                return
        while i < len(packets):
            packet = packets[i]
            link = self._link
            if link is None or self._over or packet[:8] != self._header_in:
                at = self._receive_unexpected(packet, now)
                link = self._link
                if not at or link is None:
                    i += 1
                    continue
            i = self._receive_run(link, packets, i, at, now)
            at = 0
            if link.sender.loses:
                self._question_mtu(link, now)
        if self.state is not ESTABLISHED:
            self._go_on_shutting_down(now)

    def _receive_alone(self, packet: bytes, now: float) -> int:
        """Take a packet that came alone, as far as it holds a SACK without gaps and a whole message in order.

        A game's messages come like this. _receive_run() would do the same, after preparations that only pay
        for a long run of packets.
        Returns where _receive_run() is to go on: 0 for all of it, its length if nothing is left.
        """
        size = len(packet)
        link = self._link
        if (
            size < 28
            or link is None
            or packet[:8] != self._header_in
            or not is_intact(packet, self._seed_in, self.options.zero_checksum)
        ):
            return 0
        at = HEADER_SIZE
        if packet[at] == SACK:
            _, _, length, cumulative, window, gaps, duplicates = unpack_sack(packet, at)
            if length != 16 or gaps or duplicates:
                return at
            self.stats.sacks_received += 1
            if not link.sender.receive_sack(cumulative, window, (), (), now):
                self.stats.drop("SACK of what was never sent")
            at += 16
            if at == size:
                return size
        if link.agreement.features.interleaving:
            if packet[at] != I_DATA or size - at <= 20:
                return at
            _, flags, length, tsn, stream_id, _, number, ppid = unpack_i_data(packet, at)
            start = at + 20
        else:
            if packet[at] != DATA or size - at <= 16:
                return at
            _, flags, length, tsn, stream_id, number, ppid = unpack_data(packet, at)
            start = at + 16
        end = at + length
        receiver = link.receiver
        received = receiver.received
        reassembly = receiver.reassembly
        if (
            not start < end <= size < end + 4
            or flags & WHOLE != WHOLE
            or end - start > reassembly.max_message_size
            or tsn != (received.cumulative + 1) & U32
            or received.beyond
            or stream_id >= link.agreement.inbound
            or link.reset.deferred_tsn is not None
            or receiver.room() <= 0
        ):
            return at
        received.cumulative = tsn
        if flags & IMMEDIATE:
            receiver.sack_now = True
        reassembly.add_whole(stream_id, number, ppid, flags, packet[start:end])
        receiver.took(1, 1, end - start, now)
        return size

    def _receive_run(self, link: Link, packets: list[bytes], i: int, at: int, now: float) -> int:
        """Take packets of the association from packets[i] on, up to one that is not, or that changes it.

        at    0, or where the first one goes on behind a COOKIE ECHO that has been taken.
        Returns the index of the first packet that was not taken.
        """
        stats = self.stats
        header = self._header_in
        seed = self._seed_in
        agreement = link.agreement
        accept_zero = self.options.zero_checksum
        interleaving = agreement.features.interleaving
        inbound = agreement.inbound
        data_type, data_size = (I_DATA, 20) if interleaving else (DATA, 16)
        receiver = link.receiver
        received = receiver.received
        reassembly = receiver.reassembly
        add_whole = reassembly.add_whole
        largest = reassembly.max_message_size
        reset = link.reset
        receive_sack = link.sender.receive_sack
        receives = self._receives
        room = receiver.room()
        count = len(packets)
        with_data = chunks = total = resume_at = 0
        going_on = True
        while going_on and i < count:
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
                    if chunk_type == data_type and receives and size - at >= data_size:
                        if interleaving:
                            _, flags, length, tsn, stream_id, _, number, ppid = unpack_i_data(packet, at)
                        else:
                            _, flags, length, tsn, stream_id, number, ppid = unpack_data(packet, at)
                        end = at + length
                        if end > size or length < data_size:
                            raise WireError("length of a chunk")
                        if length == data_size:
                            self._abort(
                                (wire.NO_USER_DATA, struct.pack("!I", tsn)),
                                "the peer has sent a chunk without user data",
                            )
                            going_on = False
                            break
                        if flags & IMMEDIATE:
                            receiver.sack_now = True
                        if (
                            tsn == (received.cumulative + 1) & U32
                            and room > 0
                            and stream_id < inbound
                            and not received.beyond
                            and reset.deferred_tsn is None
                        ):
                            received.cumulative = tsn
                        elif not receiver.accept(tsn, stream_id, room, reset):
                            if stream_id >= inbound:
                                self._report(
                                    (wire.INVALID_STREAM_IDENTIFIER, struct.pack("!HH", stream_id, 0))
                                )
                            at = (end + 3) & ~3
                            continue
                        payload = packet[at + data_size : end]
                        length -= data_size
                        room -= length
                        total += length
                        chunks += 1
                        if reset.deferred_tsn is not None and reset.holds_back(tsn, stream_id):
                            reset.keep(tsn, stream_id, number, ppid, flags, payload)
                        elif flags & WHOLE == WHOLE and length <= largest:
                            add_whole(stream_id, number, ppid, flags, payload)
                        elif interleaving:
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
                        cumulative, window, gaps, duplicates = read_sack(packet, at, end)
                        stats.sacks_received += 1
                        if not receive_sack(cumulative, window, gaps, duplicates, now):
                            stats.drop("SACK of what was never sent")
                    else:
                        goes_on = self._receive_chunk(link, packet, at, end, now)
                        if self._link is not link or self._over:
                            going_on = False
                            if goes_on:
                                resume_at = (end + 3) & ~3
                            break
                        if not goes_on:
                            break
                        receives = self._receives
                    at = (end + 3) & ~3
                else:
                    if at < size:
                        stats.drop("malformed chunk")
            except ProtocolViolation as violation:
                self._accuse(str(violation))
                going_on = False
            except WireError:
                stats.drop("malformed chunk")
            if chunks > before:
                with_data += 1
            at = 0
        if chunks:
            receiver.took(with_data, chunks, total, now)
            if receiver.is_exhausted:
                self._abort(
                    (wire.OUT_OF_RESOURCE, b""), "incomplete messages have used up the receive window"
                )
            elif reset.deferred_tsn is not None:
                reset.check_deferred()
            if self.state is SHUTDOWN_SENT:
                receiver.sack_now = True  # each packet with data is answered at once (RFC 9260 section 9.2)
        if resume_at and self._link is not None:
            return self._receive_run(self._link, packets, i - 1, resume_at, now)
        return i

    # -- the clock and packets to the peer ------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """Seconds: when handle_timeout() is to be called; math.inf = never.

        Found when it is asked for: most of what happens to an association moves a timer, and nobody waits for
        each.
        """
        link = self._link
        if link is None or self._over or self.state is COOKIE_ECHOED:
            return self._handshake.timer.deadline
        sender = link.sender
        return min(
            link.receiver.sack_due,
            sender.t3,
            sender.loss_due,
            sender.tail_due,
            sender.probe_due,
            sender.pace_due,
            self._t2.deadline,
            self._heartbeat_due,
            self._path_mtu.due,
            link.reset.due,
        )

    def handle_timeout(self, now: float) -> None:
        """Do what is due at this instant; harmless if nothing is.

        Then: take_packets(), and read `deadline`.
        Source: RFC 9260 sections 5.1, 6.2, 6.3.3, 8.3 and 9.2.
        """
        if now < self.deadline:
            return
        self._has_news = True
        link = self._link
        if self._handshake.timer.expire(now):
            self._repeat_handshake(now)
        elif link is not None and not self._over:
            if self._t2.expire(now):
                self._repeat_shutdown(link, now)
            link.receiver.handle_timeout(now)
            if now >= self._heartbeat_due:
                self._beat(now)
            link.reset.handle_timeout(now)
            link.sender.handle_timeout(now)
            if link.sender.loses:
                self._question_mtu(link, now)
            if now >= self._path_mtu.due:
                self._probe_path(link, now)
            self._go_on_shutting_down(now)

    def take_packets(self, now: float) -> list[bytes]:
        """Build the packets that may leave at this instant.

        Returns packets in sending order, at most about options.max_burst of
                them: call
                again until the list is empty. Control chunks come first, then a SACK, then what is sent again
                by
                TSN, then new messages as the scheduler orders them.
        Then: send them, and read `deadline`, which this call may have moved.
        Source: RFC 9260 sections 6.1 and 6.10.
        """
        if not self._has_news:
            return []
        packets, self._replies = self._replies, []
        link = self._link
        if link is not None and not self._over:
            self._fill(link, packets, now)
        self._has_news = link is not None and link.sender.has_more
        self.stats.packets_sent += len(packets)
        return packets

    def _fill(self, link: Link, packets: list[bytes], now: float) -> None:
        sender = link.sender
        state = self.state
        if state is COOKIE_ECHOED:
            if self._first_chunk:
                sender.fill_behind_cookie(packets, [self._first_chunk, *self._control], now)
                self._first_chunk = b""
                self._control.clear()
            return
        full = room = sender.mtu - HEADER_SIZE
        chunks: list[bytes] = []
        if self._first_chunk:
            chunks.append(self._first_chunk)
            room -= len(self._first_chunk)
            self._first_chunk = b""
        sends = self._sends
        receiver = link.receiver
        control = self._control
        if receiver.sack_now or (receiver.unacknowledged and sends and sender.wants_to_send):
            control.append(receiver.take_sack())
            if state is SHUTDOWN_SENT:
                control.append(Shutdown(receiver.received.cumulative).write())
                self._t2.start(now, self._rtt.rto)
        if sends:
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
        if sends:
            sender.fill_packets(packets, chunks, room, now)
        elif chunks:
            packets.append(write_packet(sender.header, chunks, sender.seed))
