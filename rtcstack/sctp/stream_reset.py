"""Resetting streams, our own and the peer's (RFC 6525)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rtcstack.sctp.agreement import Agreement
from rtcstack.sctp.chunks import ReConfig
from rtcstack.sctp.events import Event, IncomingStreamsReset, OutgoingStreamsReset, ResetDenied
from rtcstack.sctp.options import Options
from rtcstack.sctp.packet import HEADER_SIZE
from rtcstack.sctp.parameters import (
    BAD_SEQUENCE_NUMBER,
    DENIED,
    IN_PROGRESS,
    NOTHING_TO_DO,
    PERFORMED,
    WRONG_SSN,
    AddOutgoingStreamsRequest,
    IncomingSsnResetRequest,
    OutgoingSsnResetRequest,
    ReconfigurationParameter,
    ReconfigurationResponse,
    SsnTsnResetRequest,
)
from rtcstack.sctp.reassembly import PIECE_OVERHEAD, Reassembly
from rtcstack.sctp.received import ReceivedTsns
from rtcstack.sctp.rto import RoundTripTime
from rtcstack.sctp.send_queue import SendQueue
from rtcstack.sctp.stats import Stats
from rtcstack.serial import U32

__all__ = ["StreamReset"]

ReconfigurationRequest = (
    OutgoingSsnResetRequest | IncomingSsnResetRequest | SsnTsnResetRequest | AddOutgoingStreamsRequest
)

_HALF = 1 << 31

_MOST_KEPT = 65536
"""Bytes of data that are kept for after a deferred reset."""

_MOST_ANSWERS = 8
"""Responses that wait to be sent; a peer may have one request under way."""


class StreamReset:
    """Both directions of stream reset for one association.

    All arguments are the association's.

    Source: RFC 6525.
    """

    def __init__(
        self,
        agreement: Agreement,
        queue: SendQueue,
        received: ReceivedTsns,
        reassembly: Reassembly,
        rtt: RoundTripTime,
        stats: Stats,
        options: Options,
    ) -> None:
        self.due = math.inf
        """Seconds: when the request that is under way is sent again."""
        self.events: list[Event] = []
        """What the owner is to be told; he empties it."""
        self.deferred_tsn: int | None = None
        """TSN up to which everything must have come before the peer's last request is carried out."""
        self.deferred_ids: frozenset[int] = frozenset()
        """Streams of that request; empty = all."""
        self._queue = queue
        self._received = received
        self._reassembly = reassembly
        self._rtt = rtt
        self._stats = stats
        self._inbound = agreement.inbound
        self._most = (options.mtu - HEADER_SIZE - 20) // 2  # stream ids that fit into one request
        self._rto_max = options.rto_max
        self._pending: dict[int, None] = {}  # streams to reset, in order of the wish
        self._next_sequence = agreement.local_tsn
        self._request: OutgoingSsnResetRequest | None = None
        self._request_due = False
        self._backoff = 0
        self._expected_sequence = agreement.peer_tsn
        self._answers: list[ReconfigurationParameter] = []
        self._last_answers: dict[int, ReconfigurationResponse] = {}
        self._deferred: OutgoingSsnResetRequest | None = None
        self._kept: list[tuple[int, int, int, int, int, bytes]] = []  # data for after the deferred request
        self._kept_size = 0
        self._interleaving = agreement.features.interleaving

    def reset(self, stream_ids: Iterable[int]) -> None:
        """Reset outgoing streams, when all that was sent on them before is acknowledged."""
        ids = [stream_id for stream_id in stream_ids if stream_id not in self._pending]
        self._queue.hold(ids)
        self._pending.update(dict.fromkeys(ids))

    @property
    def has_chunks(self) -> bool:
        """Whether take_chunks() may have something."""
        return bool(self._answers or self._pending or self._request_due)

    def holds_back(self, tsn: int, stream_id: int) -> bool:
        """Tell whether a chunk belongs to a stream's time after a reset that cannot be carried out yet."""
        last = self.deferred_tsn
        return (
            last is not None
            and 0 < (tsn - last) & U32 < _HALF
            and (not self.deferred_ids or stream_id in self.deferred_ids)
        )

    @property
    def is_full(self) -> bool:
        """Whether no more data can be kept for after a reset; a peer has no right to send any before."""
        return self._kept_size >= _MOST_KEPT

    def keep(self, tsn: int, stream_id: int, number: int, ppid: int, flags: int, payload: bytes) -> None:
        """Hold the user data of a chunk until the reset is carried out.

        Source: RFC 6525 section 5.2.2 E2.
        """
        self._kept.append((tsn, stream_id, number, ppid, flags, payload))
        self._kept_size += len(payload) + PIECE_OVERHEAD

    def receive(self, chunk: ReConfig, now: float) -> None:
        """Take one RE-CONFIG chunk.

        Source: RFC 6525 section 5.2.
        """
        for parameter in chunk.parameters:
            if len(self._answers) >= _MOST_ANSWERS:
                self._stats.drop("too many RE-CONFIG requests")
            elif isinstance(parameter, ReconfigurationResponse):
                self._receive_response(parameter, now)
            else:
                self._receive_request(parameter)

    def _receive_request(self, request: ReconfigurationRequest) -> None:
        sequence = request.request_sequence
        if self._deferred is not None and sequence == self._deferred.request_sequence:
            self._answer(sequence, IN_PROGRESS)
        elif sequence in self._last_answers:
            self._answers.append(self._last_answers[sequence])
        elif sequence != self._expected_sequence:
            self._answers.append(ReconfigurationResponse(sequence, BAD_SEQUENCE_NUMBER))
        else:
            self._expected_sequence = (sequence + 1) & U32
            # A peer that has gone on to its next request has our answer to those before.
            self._last_answers = {
                number: answer
                for number, answer in self._last_answers.items()
                if number == (sequence - 1) & U32
            }
            if isinstance(request, OutgoingSsnResetRequest):
                self._receive_outgoing(request)
            elif isinstance(request, IncomingSsnResetRequest):
                self._receive_incoming(request)
            else:
                self._answer(sequence, DENIED)

    def _receive_outgoing(self, request: OutgoingSsnResetRequest) -> None:
        """Source: RFC 6525 section 5.2.2."""
        if any(stream_id >= self._inbound for stream_id in request.stream_ids):
            self._answer(request.request_sequence, WRONG_SSN)
        elif 0 < (request.last_tsn - self._received.cumulative) & U32 < _HALF:
            self._deferred = request  # a peer that numbers its repetitions anew replaces its last one
            self.deferred_tsn = request.last_tsn
            self.deferred_ids = frozenset(request.stream_ids)
            self._answer(request.request_sequence, IN_PROGRESS)
        else:
            self._carry_out(request)

    def _carry_out(self, request: OutgoingSsnResetRequest) -> None:
        self._reassembly.reset_streams(request.stream_ids)
        kept, self._kept, self._kept_size = self._kept, [], 0
        for tsn, stream_id, number, ppid, flags, payload in kept:
            if self._interleaving:
                self._reassembly.add_interleaved(stream_id, number, ppid, flags, payload)
            else:
                self._reassembly.add(tsn, stream_id, number, ppid, flags, payload)
        self._answer(request.request_sequence, PERFORMED)
        self.events.append(IncomingStreamsReset(request.stream_ids))

    def check_deferred(self) -> None:
        """Carry out the peer's request if what it waited for has come; to be called when TSNs have come."""
        request = self._deferred
        if request is not None and not 0 < (request.last_tsn - self._received.cumulative) & U32 < _HALF:
            self._deferred = None
            self.deferred_tsn = None
            self._carry_out(request)

    def _receive_incoming(self, request: IncomingSsnResetRequest) -> None:
        """Source: RFC 6525 section 5.2.3."""
        ids = request.stream_ids or tuple(self._queue.streams)
        known = [stream_id for stream_id in ids if stream_id in self._queue.streams]
        waiting = set(self._pending).union(self._request.stream_ids if self._request is not None else ())
        if all(stream_id in waiting for stream_id in known):
            self._answer(request.request_sequence, NOTHING_TO_DO)
        else:
            self._answer(request.request_sequence, PERFORMED)
            self.reset([stream_id for stream_id in known if stream_id not in waiting])

    def _answer(self, sequence: int, result: int) -> None:
        answer = ReconfigurationResponse(sequence, result)
        if result != IN_PROGRESS:
            self._last_answers[sequence] = answer
        self._answers.append(answer)

    def _receive_response(self, response: ReconfigurationResponse, now: float) -> None:
        """Source: RFC 6525 section 5.2.7."""
        request = self._request
        if request is None or response.response_sequence != request.request_sequence:
            self._stats.drop("unexpected RE-CONFIG response")
            return
        self._backoff = 0
        if response.result == IN_PROGRESS:  # asked again when the timer runs out (H2)
            self.due = now + self._rtt.rto
            return
        self._request = None
        self._request_due = False
        self.due = math.inf
        done = response.result in (PERFORMED, NOTHING_TO_DO)
        self._queue.resume(request.stream_ids, done)
        self.events.append((OutgoingStreamsReset if done else ResetDenied)(request.stream_ids))

    def handle_timeout(self, now: float) -> None:
        """Send the request again if it is due."""
        if now >= self.due:
            self.due = math.inf
            self._backoff += 1
            self._request_due = True
            self._stats.control_retransmissions += 1

    def take_chunks(self, next_tsn: int, now: float) -> list[bytes]:
        """Write the RE-CONFIG chunks to send now.

        next_tsn    the TSN that we assign next.
        Source: RFC 6525 sections 5.1.1 and 5.1.2.
        """
        answers, self._answers = self._answers, []
        chunks = [ReConfig(tuple(answers[i : i + 2])).write() for i in range(0, len(answers), 2)]
        if self._request is None and self._pending:
            ready = [stream_id for stream_id in self._pending if self._queue.is_drained(stream_id)]
            if ready:
                del ready[self._most :]
                for stream_id in ready:
                    del self._pending[stream_id]
                self._request = OutgoingSsnResetRequest(
                    self._next_sequence,
                    (self._expected_sequence - 1) & U32,
                    (next_tsn - 1) & U32,
                    tuple(ready),
                )
                self._next_sequence = (self._next_sequence + 1) & U32
                self._request_due = True
                self._backoff = 0
        if self._request_due and self._request is not None:
            self._request_due = False
            self.due = now + min(self._rtt.rto * 2 ** min(self._backoff, 10), self._rto_max)
            chunks.append(ReConfig((self._request,)).write())
        return chunks
