"""Requests to a TURN server: sent again, signed again after a challenge, ended with one answer each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rtcstack import stun
from rtcstack.stun import Message, MessageClass, Transaction
from rtcstack.turn.credentials import Credentials, is_bid_down
from rtcstack.turn.events import NO_ANSWER, Drops, Stats
from rtcstack.turn.grants import Grant

__all__ = ["Answer", "Requests", "name_unknown", "read_error"]

_MOST_CHALLENGES = 3
"""Challenges that one request answers: the first 401, a 438, and a 401 of another realm."""


def read_error(message: Message, stats: Stats) -> tuple[int, str]:
    """Return code and reason of an error answer, and count it; coturn ends its reasons with a NUL."""
    code, reason = message.get(stun.ERROR_CODE) or (NO_ANSWER, "error answer without a code")
    stats.errors_received[code] = stats.errors_received.get(code, 0) + 1
    return code, reason.rstrip("\0")


def name_unknown(message: Message) -> str:
    """Say which attributes of an answer would have to be understood (RFC 8489 section 6.3.3)."""
    listed = ", ".join(f"0x{number:04x}" for number in message.unknown)
    return f"answer with unknown attributes {listed}"


class _Request:
    """One question, over all the transactions that it takes.

    realm         with which the latest transaction was signed; None if it was not.
    challenges    answers 401 and 438 so far.
    is_stale      whether a 438 was among them.
    distrusted    code and reason of the latest answer without integrity; None if there was none.
    """

    __slots__ = (
        "attributes",
        "challenges",
        "distrusted",
        "grant",
        "is_stale",
        "method",
        "realm",
        "transaction",
    )

    def __init__(
        self, method: int, attributes: Mapping[stun.Attribute[Any], Any], grant: Grant | None
    ) -> None:
        self.method = method
        self.attributes = attributes
        self.grant = grant
        self.realm: str | None = None
        self.challenges = 0
        self.is_stale = False
        self.distrusted: tuple[int, str] | None = None
        self.transaction: Transaction


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended.

    grant      what was asked for; None for the allocation itself.
    code       0 for success, an error code, or NO_ANSWER.
    message    of the server; None if no answer came.
    """

    method: int
    grant: Grant | None
    code: int
    reason: str
    message: Message | None


class Requests:
    """All requests of one client that have no answer yet.

    offsets        seconds, from stun.schedule(); (0, timeout) where nothing is sent again.
    is_reliable    the transport is a stream: an answer that proves false ends its request (section 9.2.5).
    deadline       when handle_timeout is due.

    Source: RFC 8489 sections 6 and 9.2.
    """

    def __init__(
        self,
        credentials: Credentials,
        random_bytes: Callable[[int], bytes],
        *,
        offsets: tuple[float, ...],
        is_reliable: bool,
        stats: Stats,
        drops: Drops,
    ) -> None:
        self.deadline = math.inf
        self._credentials = credentials
        self._random_bytes = random_bytes
        self._offsets = offsets
        self._is_reliable = is_reliable
        self._stats = stats
        self._drops = drops
        self._under_way: dict[bytes, _Request] = {}
        self._outgoing: list[bytes] = []

    def send(
        self,
        method: int,
        attributes: Mapping[stun.Attribute[Any], Any],
        now: float,
        grant: Grant | None = None,
    ) -> None:
        """Ask the server; `take` has the request then."""
        self._write(_Request(method, attributes, grant), now)

    def take(self) -> list[bytes]:
        """Hand over the messages to send now."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def clear(self) -> None:
        """Forget all requests; late answers will be unknown."""
        self._under_way.clear()
        self._outgoing.clear()
        self.deadline = math.inf

    def explain(self) -> tuple[int, str]:
        """Tell why the oldest request has no answer: code and reason."""
        return self._why_silent(next(iter(self._under_way.values()), None))

    def receive(self, message: Message, now: float) -> Answer | None:
        """Take an answer of the server; return how its request ended, None if it has not.

        Source: RFC 8489 sections 6.3.3, 6.3.4 and 9.2.5.
        """
        request = self._under_way.get(message.transaction_id)
        if request is None or message.method != request.method:
            self._drops.unknown_transaction += 1
            return None
        code, reason = 0, ""
        if message.message_class is MessageClass.ERROR:
            code, reason = read_error(message, self._stats)
            if code in (401, 438):
                return self._receive_challenge(request, message, code, reason, now)
        if is_bid_down(message):
            self._drops.bid_down += 1
            return None
        if not self._is_trusted(request, message, code):
            self._drops.unauthenticated += 1
            request.distrusted = code or NO_ANSWER, reason or "success answer"
            return self._end(request, *self._why_silent(request)) if self._is_reliable else None
        if message.unknown:
            return self._end(request, code or NO_ANSWER, name_unknown(message))
        return self._end(request, code, reason, message)

    def _is_trusted(self, request: _Request, message: Message, code: int) -> bool:
        """Tell whether an answer may be believed (RFC 8489 section 9.2.5; 300: section 10)."""
        if request.realm is not None and code != 300:
            return self._credentials.is_authentic(message)
        return code != 400

    def _receive_challenge(
        self, request: _Request, message: Message, code: int, reason: str, now: float
    ) -> Answer | None:
        """Sign the request anew after 401 and 438, a bounded number of times (RFC 8489 section 9.2.5)."""
        if code == 401 and request.realm is not None and message.get(stun.REALM) in (None, request.realm):
            problem = "username or password is wrong"
        elif code == 438 and request.is_stale:
            problem = "the nonce that the server has just given is stale too"
        elif request.challenges == _MOST_CHALLENGES:
            problem = "the server asks for other credentials again and again"
        else:
            problem = self._credentials.accept(message)
        if problem:
            return self._end(request, code, f"{reason}: {problem}" if reason else problem, message)
        del self._under_way[request.transaction.id]
        request.challenges += 1
        if code == 438:
            request.is_stale = True
            self._stats.stale_nonces += 1
        self._write(request, now)
        return None

    def handle_timeout(self, now: float) -> list[Answer]:
        """Send again what is due; return the requests whose time is over."""
        answers: list[Answer] = []
        for request in list(self._under_way.values()):
            transaction = request.transaction
            if transaction.deadline > now:
                continue
            if transaction.handle_timeout(now):
                self._stats.retransmissions += 1
                self._outgoing.append(transaction.request)
            else:
                answers.append(self._end(request, *self._why_silent(request)))
        self._update_deadline()
        return answers

    def _why_silent(self, request: _Request | None) -> tuple[int, str]:
        if request is None or request.distrusted is None:
            return NO_ANSWER, "no answer"
        code, reason = request.distrusted
        return code, f"{reason} (not believed: it is not signed with our password)"

    def _write(self, request: _Request, now: float) -> None:
        transaction_id = self._random_bytes(12)
        request.realm = self._credentials.realm
        data = self._credentials.write(request.method, transaction_id, request.attributes)
        request.transaction = Transaction(transaction_id, data, self._offsets, now)
        self._under_way[transaction_id] = request
        self._outgoing.append(data)
        self._stats.requests_sent += 1
        self._update_deadline()

    def _end(self, request: _Request, code: int, reason: str, message: Message | None = None) -> Answer:
        del self._under_way[request.transaction.id]
        self._update_deadline()
        return Answer(request.method, request.grant, code, reason, message)

    def _update_deadline(self) -> None:
        self.deadline = min(
            (request.transaction.deadline for request in self._under_way.values()), default=math.inf
        )
