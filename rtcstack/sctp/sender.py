"""The sending half of an association: what may be sent when, and what its acknowledgements mean."""

from __future__ import annotations

import math

from rtcstack.sctp.agreement import Agreement
from rtcstack.sctp.chunks import IMMEDIATE, write_forward_tsn, write_i_forward_tsn
from rtcstack.sctp.congestion import Transmission
from rtcstack.sctp.controllers import CONTROLLERS
from rtcstack.sctp.options import Options
from rtcstack.sctp.outstanding import ABANDONED, COST, SENT, SIZE, STATE, STREAM, Outstanding, write_chunk
from rtcstack.sctp.packet import HEADER_SIZE, checksum_seed, write_header, write_packet, write_packets
from rtcstack.sctp.rto import RoundTripTime
from rtcstack.sctp.send_queue import SMALLEST_FRAGMENT, SendQueue
from rtcstack.sctp.stats import Stats
from rtcstack.serial import U32

__all__ = ["Sender"]

_DUPLICATE_THRESHOLD = 3
"""Packets reported beyond a gap that make it a loss, while the path has not been seen to reorder (RFC 9260
section 7.2.4, RFC 8985 section 6.2)."""

_MOST_STEPS = 16
_STEPS_PERSIST = 16
"""The time allowed for reordering, in quarters of the least round-trip time, and for how many recoveries it
stays that large after a spurious retransmission (RFC 8985 section 6.2 step 4)."""

_FAR = 0.01
"""Seconds of round trip from which on asking for a SACK at once is worth the peer's packet."""

_PEER_SACK_DELAY = 0.2
"""Seconds for which a peer may delay a SACK (RFC 8985 section 7.2, WCDelAckT). What is sent after such a
pause
may have no follower that would bring its SACK."""

_TIMER_SLACK = 0.002
"""Seconds that a probe waits beyond two round trips, for timers to be late."""

_SLACK = 1e-6
"""Seconds by which a computed deadline may come out too early in floating point."""

_PACING_BURST = 0.002
"""Seconds of the controller's rate that may leave at once: small against a round trip, large against a
timer."""

_MOST_OUTSTANDING = 40_000
"""Chunks that may be sent and not acknowledged cumulatively: peers keep no more TSNs, a gap block can name no
more than 65,535, and an SSN must not come again before its first use is over (RFC 9260 section 6.1)."""

_CHUNKS_GROW_FROM = 4096
"""Bytes of a packet from which on chunks are cut to fill it. What carries such packets is one machine or one
local network; on other paths a chunk never exceeds the base, so that it fits whatever becomes of the path."""

_BURST_BYTES = 65_000
"""Bytes that one fill_packets() builds at most: one GSO send, however large the packets."""

_SENT_IN_VAIN = 4
"""Sendings of one chunk, all lost, after which large packets may not arrive: what else is sent, and arrives,
may put off T3-rtx for ever."""

_LEAST_WINDOW = 4
"""Packets that may leave in each time-out, however slow a controller takes the path to be."""

_OPEN_WINDOW = 1132
"""Bytes of the peer's window under which it counts as closed: the payload of a packet that fits every
path."""


class Sender:
    """Sends the messages of a SendQueue to one peer and sees that they arrive.

    An object of this class lives as long as the peer's tag and TSNs stand: from ESTABLISHED to the end or a
    restart.

    options        of the association.
    queue          what is to be sent.
    rtt            round-trip time of the path, shared with HEARTBEAT.
    stats          counters to add to.
    agreement      tags, initial TSNs and the peer's window.

    Source: RFC 9260 sections 6.1 to 6.3 and 7.2; RFC 8985 for what counts as lost.
    """

    def __init__(
        self,
        options: Options,
        queue: SendQueue,
        rtt: RoundTripTime,
        stats: Stats,
        agreement: Agreement,
    ) -> None:
        self.queue = queue
        self.rtt = rtt
        self.stats = stats
        self.outstanding = Outstanding(agreement.local_tsn, queue)
        # Windows count chunks, so their unit is what of them fills a packet.
        self.congestion = CONTROLLERS[options.congestion_control](queue.packet_cost, options.initial_window)
        self.peer_window = agreement.peer_window
        queue.most_begun = max(agreement.peer_window // 2, 2)
        self.seed: int | None = None
        self._ports = options.local_port, options.remote_port
        self._zero_checksum = agreement.features.zero_checksum
        self.set_peer_tag(agreement.peer_tag)
        self.mtu = options.mtu
        self._base_mtu = options.mtu
        self._holds_one = True
        self._oversized_tsn = -1  # last TSN that may be of a chunk larger than packets are now
        self.max_burst = self._most_packets = options.max_burst
        self.t3 = math.inf
        """Seconds: T3-rtx, when what is in flight counts as lost."""
        self.loss_due = math.inf
        """Seconds: when a chunk that may only be late becomes lost (the reordering timer of RFC 8985)."""
        self.tail_due = math.inf
        """Seconds: when the last packets in flight are probed for (the probe time-out of RFC 8985)."""
        self.probe_due = math.inf
        """Seconds: when the next packet may test a closed window of the peer."""
        self.pace_due = math.inf
        """Seconds: when the controller's rate lets the next packets leave."""
        self.has_more = False
        """Whether only the limit of packets a call ended the last fill_packets()."""
        self.black_hole = False
        """Whether two time-outs in a row, or one chunk that is lost again and again, say that large packets
        may not arrive; the owner resets it."""
        self.loses = False
        """Whether something was lost; the owner resets it."""
        self.forward_due = False
        """Whether a FORWARD-TSN is to be sent with the next packet."""
        self._forwarded = self.outstanding.advanced
        self._forwarded_at = -math.inf
        self._limited = False
        self._late_losses = 0
        self._holding = False  # the peer has not taken our cookie: no packet goes without it
        self._recovering = False
        self._recovery_point = agreement.local_tsn - 1
        self._timeouts = 0
        self._timed_out_before = agreement.local_tsn  # T3-rtx has taken what is older for lost
        self._may_undo = False
        self._reordering_steps = 1
        self._steps_end = 0
        self._tail_probe = False
        self._has_probed = False  # a tail probe has left, and nothing was acknowledged since
        self._tail_tsn = -1
        self._tail_sent_at = 0.0
        self._probe_backoff = 0
        self._rto_max = options.rto_max
        self._sent_at = -math.inf
        self._asked = False  # the newest packet asks for its SACK at once
        self._credit = 0.0
        self._credit_at = -math.inf
        self._delivered_at = 0.0
        self._first_sent_at = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether everything sent is acknowledged."""
        return not self.outstanding.records

    @property
    def needs_fragments(self) -> bool:
        """Whether chunks are outstanding that fit into no packet any more."""
        return self._oversized_tsn > self.outstanding.acked

    def set_mtu(self, mtu: int) -> None:
        """Build packets of so many bytes from now on, and cut chunks for them if they are large.

        What has been cut for larger ones cannot be cut again (RFC 9260 section 6.9): if it has to be sent
        again it goes alone in its packet, see needs_fragments.
        """
        queue = self.queue
        if queue.packet_cost > mtu - HEADER_SIZE and self.outstanding.records:
            self._oversized_tsn = self.outstanding.next_tsn - 1
        self.mtu = mtu
        self.max_burst = min(self._most_packets, max(1, _BURST_BYTES // mtu))
        queue.set_mtu(mtu if mtu >= _CHUNKS_GROW_FROM else self._base_mtu)
        self.congestion.on_mtu(queue.packet_cost)
        # No further fragment would fit behind a chunk of full size.
        self._holds_one = mtu - HEADER_SIZE - queue.packet_cost < SMALLEST_FRAGMENT + queue.header_size

    @property
    def wants_to_send(self) -> bool:
        """Whether take_packets() has something to try; the windows are not looked at."""
        queue = self.queue
        return bool(
            queue.current is not None
            or queue.ready
            or self.forward_due
            or self._tail_probe
            or self.outstanding.resend
        )

    def receive_sack(
        self,
        cumulative: int,
        window: int,
        gaps: tuple[int, ...],
        duplicates: tuple[int, ...],
        now: float,
    ) -> bool:
        """Take one SACK, or what a SHUTDOWN says of the cumulative TSN.

        cumulative    32-bit TSN.
        window        bytes, a_rwnd.
        gaps          (start0, end0, ...), relative to cumulative.
        duplicates    32-bit TSNs that have come to the peer again.
        Returns False if it acknowledges what was never sent, or contradicts itself; nothing is changed then.
        Source: RFC 9260 section 6.2.1.
        """
        outstanding = self.outstanding
        step = outstanding.check(cumulative, gaps)
        if step < 0:
            if step == -1:
                self.stats.old_sacks += 1
                return True
            return False
        self.peer_window = window
        if window > 0:
            self.probe_due = math.inf
            self._probe_backoff = 0
        rtt = self.rtt
        flight_before = outstanding.flight
        outstanding.acknowledge(step, gaps, now, rtt.least)
        newly = outstanding.newly
        sample = -1.0
        if newly:
            if outstanding.rtt_at >= 0.0:
                sample = now - outstanding.rtt_at
                rtt.measured(sample, now)
            self._delivered_at = now
            self._first_sent_at = outstanding.newest[0]
        if step:
            self._timeouts = 0
            self._restart_t3(now)
        if gaps or outstanding.has_resent:
            self._find_lost(now)
        lost = outstanding.lost
        congestion = self.congestion
        if duplicates:
            self._came_twice(duplicates, now)
        if self._tail_tsn >= 0:
            self._judge_tail_probe(now, flight_before)
        if self._recovering and outstanding.acked >= self._recovery_point:
            self._recovering = False
            congestion.on_recovered(now)
        if lost:
            outstanding.lost = 0
            self._lost(now, flight_before, lost)
        if newly:
            self._has_probed = False
            congestion.on_acknowledged(
                now,
                newly,
                lost + self._late_losses,
                outstanding.flight,
                sample,
                outstanding.newest,
                outstanding.delivered,
                self._limited,
            )
            self._late_losses = 0
            self._arm_tail_probe(now)
        if outstanding.advanced > outstanding.acked:
            self._want_forward(now)
        return True

    def _came_twice(self, duplicates: tuple[int, ...], now: float) -> None:
        """Learn from what the peer has received twice: if all that was sent again was, nothing had been lost.

        Source: RFC 8985 section 6.2 (the reordering window grows), RFC 9260 section 6.2 (duplicate TSNs).
        """
        outstanding = self.outstanding
        resent = outstanding.resent
        highest = outstanding.highest
        for duplicate in duplicates:
            tsn = highest - ((highest - duplicate) & U32)
            if tsn not in resent:
                continue  # the network has copied a packet, or the news is old
            resent.remove(tsn)
            self.stats.spurious_retransmissions += 1
            if tsn == self._tail_tsn:
                self._tail_tsn = -1
            elif not resent and self._may_undo:
                self._may_undo = False
                self._recovering = False
                self.stats.undone_recoveries += 1
                self.congestion.on_spurious(now)
                self._reordering_steps = min(self._reordering_steps + 1, _MOST_STEPS)
                self._steps_end = self.stats.recoveries + _STEPS_PERSIST

    def _judge_tail_probe(self, now: float, flight_before: int) -> None:
        """Slow down if a tail probe has repaired a loss: its TSN is acknowledged and came once only.

        Source: RFC 8985 section 7.4.
        """
        if self.outstanding.acked < self._tail_tsn:
            return
        self._tail_tsn = -1
        if not self._recovering and now - self._tail_sent_at >= self.rtt.least:
            self.congestion.on_loss(now, flight_before, 0)
            self.congestion.on_recovered(now)

    def _arm_tail_probe(self, now: float) -> None:
        """Let the last packets be probed for soon: a lost tail is not reported by anything behind it.

        Once: if the probe brings nothing either, T3 decides, which each probe would put off.
        Source: RFC 8985 section 7.2.
        """
        flight = self.outstanding.flight
        srtt = self.rtt.srtt
        if not flight or not srtt or self._recovering or self._has_probed or self._tail_tsn >= 0:
            self.tail_due = math.inf
            return
        # A peer delays the acknowledgement of a single packet, unless we have asked it not to.
        delay = _PEER_SACK_DELAY if flight <= self.mtu and not self._asked else _TIMER_SLACK
        due = now + 2 * srtt + delay
        # Never later than T3-rtx, which the probe puts off: a probe costs less than a time-out.
        self.tail_due = due if due < self.t3 else self.t3

    def _find_lost(self, now: float) -> None:
        outstanding = self.outstanding
        if outstanding.newest[0] == -math.inf:
            return
        rtt = self.rtt
        tolerance = min(rtt.least / 4 * self._reordering_steps, rtt.srtt)
        if not outstanding.reordering and (
            self._recovering
            or outstanding.reports >= _DUPLICATE_THRESHOLD
            # Early retransmit, RFC 5827: three chunks or fewer, or all but one packet's worth has arrived.
            or len(outstanding.records) <= _DUPLICATE_THRESHOLD
            or (outstanding.flight <= self.queue.packet_cost and self.queue.is_empty)
        ):
            tolerance = 0.0
        self.loss_due = outstanding.find_lost(now + _SLACK, max(rtt.latest, 0.0), tolerance)
        if outstanding.in_vain:
            self.loses = True
            self.black_hole |= outstanding.in_vain >= _SENT_IN_VAIN
            outstanding.in_vain = 0

    def _lost(self, now: float, flight_before: int, lost: int) -> None:
        if not self._recovering:
            self._recovering = True
            self._recovery_point = self.outstanding.next_tsn - 1
            self._begin_episode()
            self.stats.recoveries += 1
            self.congestion.on_loss(now, flight_before, lost)

    def _begin_episode(self) -> None:
        """Begin to watch whether what is sent again from now on had been lost at all."""
        self.outstanding.resent.clear()
        self._may_undo = True
        if self.stats.recoveries >= self._steps_end:
            self._reordering_steps = 1

    def _restart_t3(self, now: float) -> None:
        """Begin T3-rtx anew, as the cumulative TSN has moved.

        Source: RFC 9260 section 6.3.2 R3; RFC 7765: with little in flight the time counts from the sending of
        the oldest chunk, not from now. An abandoned one waits for the answer to a FORWARD-TSN only.
        """
        records = self.outstanding.records
        if not records:
            self.t3 = math.inf
        elif len(records) <= _DUPLICATE_THRESHOLD and (
            (oldest := records[self.outstanding.acked + 1])[STATE] != ABANDONED
        ):
            self.t3 = max(oldest[SENT][0] + self.rtt.rto, now + _TIMER_SLACK)
        else:
            self.t3 = now + self.rtt.rto

    def _want_forward(self, now: float) -> None:
        """Ask for a FORWARD-TSN: at once for news, once a round trip for what the peer still lacks."""
        advanced = self.outstanding.advanced
        if advanced > self._forwarded or now - self._forwarded_at >= self.rtt.srtt:
            self.forward_due = True

    def handle_timeout(self, now: float) -> None:
        """Do what is due.

        Source: RFC 9260 section 6.3.3; RFC 8985 section 6.3.
        """
        if now >= self.loss_due:
            self.loss_due = math.inf
            flight_before = self.outstanding.flight
            self._find_lost(now)
            lost, self.outstanding.lost = self.outstanding.lost, 0
            if self._recovering:
                self._late_losses += lost  # the next SACK tells the controller
            elif lost:
                self._lost(now, flight_before, lost)
        if now >= self.pace_due:
            self.pace_due = math.inf
        if now >= self.tail_due:
            self.tail_due = math.inf
            if not self.queue.is_empty or self.outstanding.newest_in_flight(now) is not None:
                self._tail_probe = True
                self.t3 = now + self.rtt.rto
        if now >= self.t3:
            self._time_out(now)
        if self.outstanding.advanced > self.outstanding.acked:
            self._want_forward(now)

    def _time_out(self, now: float) -> None:
        outstanding = self.outstanding
        flight_before = outstanding.flight
        self.stats.timeouts += 1
        self.loses = True
        self.rtt.back_off()
        outstanding.lose_all()
        self._timed_out_before = outstanding.next_tsn
        outstanding.lost = outstanding.in_vain = 0
        if flight_before and self.peer_window > 0:  # a closed window answers nothing about the path
            self._timeouts += 1
            self.congestion.on_timeout(now, flight_before, self._timeouts)
            self._recovering = True
            self._recovery_point = outstanding.next_tsn - 1
            if self._timeouts == 1:
                self._begin_episode()
            else:
                self.black_hole = True
        self.loss_due = self.tail_due = math.inf
        self._has_probed = False
        self._tail_tsn = -1
        if outstanding.advanced > outstanding.acked:
            self.forward_due = True
        self.t3 = now + self.rtt.rto if outstanding.records else math.inf

    def lose_all(self) -> None:
        """Send everything again; for the handshake, whose first data waits for the COOKIE ACK."""
        self.outstanding.lose_all()
        self.outstanding.lost = self.outstanding.in_vain = 0

    def take_back(self) -> None:
        """Put what was sent with the COOKIE ECHO back into the queue: something else will be agreed on.

        One packet holds whole messages, and at its end perhaps the beginning of one that is still in the
        queue.
        """
        for record in reversed(self.outstanding.records.values()):
            if record[STATE] != ABANDONED:
                self.queue.put_back(record)
        self.outstanding.records.clear()
        self.queue.rewind()

    def forget_all(self) -> None:
        """Drop what was sent: the peer has restarted and will not acknowledge it."""
        for record in self.outstanding.records.values():
            if record[SIZE]:
                self.queue.forget(record[STREAM], record[SIZE])
        self.outstanding.records.clear()

    def set_peer_tag(self, tag: int) -> None:
        """Send packets with this verification tag from now on."""
        self.header = write_header(*self._ports, tag)
        self.seed = None if self._zero_checksum else checksum_seed(self.header)

    def fill_behind_cookie(self, packets: list[bytes], chunks: list[bytes], now: float) -> None:
        """Build the one packet that may be sent before the COOKIE ACK, with as much data as fits.

        chunks    COOKIE ECHO, and what goes with it.
        Its checksum is never left out (RFC 9653).
        Source: RFC 9260 section 5.1 C.
        """
        seed, self.seed = self.seed, checksum_seed(self.header)
        burst, self.max_burst = self.max_burst, 1
        self._holding = True
        self.fill_packets(packets, chunks, self.mtu - HEADER_SIZE - sum(map(len, chunks)), now)
        self.seed, self.max_burst = seed, burst
        self._holding = False

    def take_forward_tsn(self, now: float) -> bytes:
        """Write the FORWARD-TSN that is due, or the I-FORWARD-TSN if messages are interleaved.

        Source: RFC 3758 section 3.5 C3 and C4; RFC 8260 section 2.3.
        """
        self.forward_due = False
        outstanding = self.outstanding
        self._forwarded_at = now
        if self.t3 == math.inf:
            self.t3 = now + self.rtt.rto
        if self.queue.interleaving:
            tsn, skipped = outstanding.skipped((self.mtu - HEADER_SIZE - 8) // 8)
            entries = [(stream_id, unordered, mid) for (stream_id, unordered), mid in skipped.items()]
            chunk = write_i_forward_tsn(tsn & U32, entries)
        else:
            tsn, skipped = outstanding.skipped((self.mtu - HEADER_SIZE - 8) // 4)
            chunk = write_forward_tsn(
                tsn & U32,
                [(stream_id, ssn) for (stream_id, unordered), ssn in skipped.items() if not unordered],
            )
        self._forwarded = tsn
        self.stats.forward_tsns_sent += 1
        return chunk

    def _may_probe(self, now: float) -> bool:
        """Tell whether one packet may be sent into a closed window; arm the timer for it otherwise.

        Source: RFC 9260 section 6.1 A.
        """
        if self.probe_due == math.inf:
            self.probe_due = now + min(self.rtt.rto * 2**self._probe_backoff, self._rto_max)
        if now < self.probe_due:
            return False
        self.probe_due = math.inf
        self._probe_backoff = min(self._probe_backoff + 1, 10)
        self.stats.window_probes += 1
        return True

    def _pacing_rate(self) -> float:
        """Give the bytes a second that may leave: no fewer than a small window each time-out."""
        return max(self.congestion.pacing_rate, _LEAST_WINDOW * self.queue.packet_cost / self.rtt.rto)

    def _pacing_budget(self, now: float, flight: int) -> float:
        """Give the bytes that may leave now at the controller's rate.

        flight    bytes in flight: what may leave as a burst while there are none is the controller's to say.
        Time that has passed becomes credit, two milliseconds of it at most; so the timer fires once for a
        small
        burst, not for each packet.
        """
        rate = self._pacing_rate()
        most = max(2 * self.mtu, rate * _PACING_BURST)
        if not flight:
            self._credit = max(self._credit, self.congestion.idle_burst)
        if self._credit < most:
            self._credit = min(self._credit + (now - self._credit_at) * rate, most)
        self._credit_at = now
        return self._credit

    def _probe_tail(self, packets: list[bytes], chunks: list[bytes], room: int, sent: Transmission) -> None:
        """Send the newest chunk in flight once more and ask for its SACK at once.

        packets, chunks    what is built already; a chunk that does not fit any more begins a packet.
        Source: RFC 8985 section 7.3.
        """
        newest = self.outstanding.newest_in_flight(sent[0])
        if newest is None:
            return
        tsn, record = newest
        chunk = write_chunk(record)
        if len(chunk) > room and chunks:
            packets.append(write_packet(self.header, chunks, self.seed))
            chunks.clear()
        chunks.append(chunk[:1] + bytes((chunk[1] | IMMEDIATE,)) + chunk[2:])
        self.outstanding.mark_resent(tsn, record, sent)
        self._tail_tsn = tsn
        self._tail_sent_at = sent[0]
        self.stats.retransmitted_chunks += 1
        self.stats.retransmitted_as_probe += 1

    def fill_packets(self, packets: list[bytes], chunks: list[bytes], room: int, now: float) -> None:
        """Build packets of data: what is lost first, by TSN, then new messages, as far as the windows allow.

        packets    they are appended here, at most options.max_burst.
        chunks     what the first packet begins with; it is written even if no data follows, unless it is
                   empty.
        room       bytes left in that packet.
        now        seconds.
        Source: RFC 9260 sections 6.1 and 6.10.
        """
        outstanding = self.outstanding
        queue = self.queue
        self.has_more = False
        if queue.current is None and not queue.ready and not outstanding.resend and not self._tail_probe:
            if chunks:
                packets.append(write_packet(self.header, chunks, self.seed))
            self.pace_due = self.probe_due = math.inf
            return
        congestion = self.congestion
        header = self.header
        seed = self.seed
        full = self.mtu - HEADER_SIZE
        base = self._base_mtu - HEADER_SIZE
        flight = outstanding.flight
        if not flight:
            self._delivered_at = self._first_sent_at = now
            if now - self._sent_at >= self.rtt.rto and self._sent_at > -math.inf:
                congestion.on_idle(now, now - self._sent_at, self.rtt.rto)
        sent = (now, outstanding.delivered, self._delivered_at, self._first_sent_at, not self._limited)
        packet_cost = queue.packet_cost
        # Whatever the controller says, one packet may be in flight (RFC 9260 section 6.1 B).
        cwnd = congestion.cwnd if congestion.cwnd > packet_cost else packet_cost
        if self._tail_probe:
            self._tail_probe = False
            self._has_probed = True
            if queue.is_empty or self.peer_window - flight < self.mtu:
                self._probe_tail(packets, chunks, room, sent)
                room = full - sum([len(chunk) for chunk in chunks])
            else:
                cwnd = max(cwnd, flight + 1)  # one packet, however small the window
            self.stats.tail_probes += 1
        credit = budget = math.inf if congestion.pacing_rate == math.inf else self._pacing_budget(now, flight)
        if not flight and budget <= 0:
            budget = 1  # nor does it wait for the rate: without it nothing would be heard of the path
        burst = self.max_burst
        resent = left = 0
        if outstanding.resend:
            while burst and budget > 0 and outstanding.flight < cwnd:
                record = outstanding.take_lost(room, not chunks, sent, now)
                if record is not None:
                    chunk = write_chunk(record)
                    chunks.append(chunk)
                    room -= len(chunk)
                    budget -= record[COST]
                    resent += record[SIZE]
                    left += record[COST]
                    self.stats.retransmitted_chunks += 1
                    if outstanding.last_resent < self._timed_out_before:
                        self.stats.retransmitted_after_timeout += 1
                    else:
                        self.stats.retransmitted_after_loss += 1
                elif chunks and outstanding.resend:
                    packets.append(write_packet(header, chunks, seed))
                    burst -= 1
                    chunks = []
                    room = full
                else:
                    break
            flight = outstanding.flight
        first = tsn = outstanding.next_tsn
        records = outstanding.records
        fill = queue.fill
        needed = queue.largest_payload if queue.largest_payload < _OPEN_WINDOW else _OPEN_WINDOW
        # Ask for a SACK at once where a delayed one would stall us (RFC 7053): when the window is full, and
        # for what follows a pause and may remain alone, if the peer is so far away that its loss should show
        # soon. In a steady flow the next packet brings the SACK, or the news of a gap.
        after_pause = not flight and now - self._sent_at >= _PEER_SACK_DELAY
        lone = 2 * self.mtu if after_pause and _FAR <= self.rtt.least < math.inf else 0
        last = cwnd - packet_cost
        new = immediate = 0
        while burst and budget > 0 and flight < cwnd:
            if tsn - outstanding.acked > _MOST_OUTSTANDING:
                self._limited = False
                break
            if room > base and room > (left_over := int(min(cwnd, self.peer_window)) - flight):
                room = max(base, left_over)  # a large packet must not overfill a small window
            if self.peer_window - flight < needed and (flight or not self._may_probe(now)):
                self._limited = False
                break
            if room == full and self._holds_one and queue.is_cutting:
                most = int(min(burst, (min(last, self.peer_window, flight + budget) - flight) // packet_cost))
                if most > 1 and (cut := queue.cut_full(most, records, tsn, sent)):
                    packets += write_packets(header, cut, seed)
                    new += queue.largest_payload * len(cut)
                    cost = packet_cost * len(cut)
                    flight += cost
                    left += cost
                    budget -= cost
                    burst -= len(cut)
                    tsn += len(cut)
                    continue
            immediate = IMMEDIATE if flight < lone or flight >= last else 0
            tsn, size, cost = fill(chunks, room, records, tsn, sent, now, immediate)
            if queue.given_up:
                outstanding.next_tsn = tsn
                outstanding.flight = flight + cost
                for fate in queue.given_up:
                    outstanding.abandon(fate.tsns[-1])
                queue.given_up.clear()
                flight = outstanding.flight
                tsn = outstanding.next_tsn
            else:
                flight += cost
            if size:
                new += size
                left += cost
                budget -= cost
            elif room == full or queue.is_empty:
                self._limited = False
                break
            packets.append(write_packet(header, chunks, seed))
            burst -= 1
            chunks = []
            room = full
            if queue.current is None and not queue.ready:
                self._limited = False
                break
        if chunks:
            packets.append(write_packet(header, chunks, seed))
        self.has_more = not burst
        if flight >= cwnd or budget <= 0:
            self._limited = True
        outstanding.next_tsn = tsn
        outstanding.flight = flight
        self.pace_due = math.inf
        if credit != math.inf:
            self._credit = budget
            if budget <= 0 and self.wants_to_send:
                rate = self._pacing_rate()
                self.pace_due = now + (max(self.mtu, rate * _PACING_BURST / 2) - budget) / rate
        if outstanding.advanced > self._forwarded and outstanding.advanced > outstanding.acked:
            if self._holding:
                self.forward_due = True
            else:
                packets.append(write_packet(header, [self.take_forward_tsn(now)], seed))
        if resent or new:
            self._asked = bool(immediate)
            self._sent_at = now
            self.stats.retransmitted_bytes += resent
            congestion.on_sent(now, left, flight)
            stats = self.stats
            stats.data_chunks_sent += tsn - first
            stats.data_bytes_sent += new
            # Section 7.2.4 rule 4: it begins anew when the first outstanding chunk is sent again.
            if self.t3 == math.inf or (resent and records[outstanding.acked + 1][SENT] is sent):
                self.t3 = now + self.rtt.rto
            self._arm_tail_probe(now)
