"""The sans-IO STUN client: what address a server sees us at, asked until it says so and kept open after."""

from __future__ import annotations

import math
from collections.abc import Callable

from rtcstack import stun
from rtcstack.errors import InvalidState, WireError
from rtcstack.stun import Address, Message, MessageClass, Transaction
from rtcstack.timer import Timer
from rtcstack.turn.events import NO_ANSWER, AlternateServer, BindingEvent, Drops, Failed, Mapped, Stats
from rtcstack.turn.judge import canonical_server, judge_address, judge_redirection
from rtcstack.turn.options import Options
from rtcstack.turn.requests import name_unknown, read_error

__all__ = ["BindingClient"]

_DEFAULTS = Options()


class BindingClient:
    """Binding requests from one of our UDP sockets to one STUN server.

    server          where requests go; what `receive` gets has come from there.
    random_bytes    count -> that many unpredictable bytes.
    redirected      another server has sent us here: this one may not send us on.

    mapped          our address as the server sees it; None before it has said so.
    is_finished     it has failed, was redirected or closed: nothing more will come.
    deadline        seconds; call handle_timeout, then take_packets. math.inf while nothing is due.

    Once mapped, a request every `options.keepalive` seconds keeps the NAT's binding and notices its changes.

    Source: RFC 8489 sections 6 and 12, RFC 8445 section 5.1.1.2.
    """

    def __init__(
        self,
        *,
        server: Address,
        random_bytes: Callable[[int], bytes],
        options: Options = _DEFAULTS,
        redirected: bool = False,
    ) -> None:
        self.server = canonical_server(server)
        self.options = options
        self.mapped: Address | None = None
        self.is_finished = False
        self.deadline = math.inf
        self.drops = Drops()
        self.stats = Stats()
        self._random_bytes = random_bytes
        self._redirected = redirected
        self._family = 6 if ":" in self.server[0] else 4
        self._offsets = stun.schedule(options.rto)
        self._transaction: Transaction | None = None
        self._give_up = Timer(options.timeout)
        self._keepalive = Timer(options.keepalive)
        self._outgoing: list[bytes] = []
        self._events: list[BindingEvent] = []

    def start(self, now: float) -> None:
        """Ask the server.

        Raises InvalidState if called twice.
        """
        if self.is_finished or self._give_up.is_running or self.mapped is not None:
            raise InvalidState("a STUN client starts once")
        self._give_up.start(now)
        self._ask(now)

    def close(self) -> None:
        """Ask no more."""
        self.is_finished = True
        self._transaction = None
        self._give_up.stop()
        self._keepalive.stop()
        self._outgoing.clear()
        self._update_deadline()

    def receive(self, datagrams: list[bytes], now: float) -> None:
        """Take datagrams that have come from the server."""
        for data in datagrams:
            try:
                message = Message.parse(data)
            except WireError:
                self.drops.malformed += 1
                continue
            transaction = self._transaction
            if message.message_class not in (MessageClass.SUCCESS, MessageClass.ERROR):
                self.drops.unexpected += 1
            elif transaction is None or (message.transaction_id, message.method) != (
                transaction.id,
                stun.BINDING,
            ):
                self.drops.unknown_transaction += 1
            else:
                self._transaction = None
                self._conclude(message, now)
                self._update_deadline()

    def handle_timeout(self, now: float) -> None:
        """Do what is due: send again, give up, ask once more to keep the binding."""
        if self._give_up.expire(now):
            self._fail(NO_ANSWER, f"no answer within {self.options.timeout:g} s")
        if self._keepalive.expire(now):
            self.stats.keepalives += 1
            self._ask(now)
        transaction = self._transaction
        if transaction is not None and transaction.deadline <= now:
            if transaction.handle_timeout(now):
                self.stats.retransmissions += 1
                self._outgoing.append(transaction.request)
            else:
                self._transaction = None
                if self.mapped is None:
                    self._fail(NO_ANSWER, "no answer")
        self._update_deadline()

    def take_packets(self, now: float) -> list[bytes]:
        """Hand over the datagrams that go to the server now."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take_events(self) -> list[BindingEvent]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    def _ask(self, now: float) -> None:
        transaction_id = self._random_bytes(12)
        request = Message(stun.BINDING, MessageClass.REQUEST, transaction_id, {}).write()
        self._transaction = Transaction(transaction_id, request, self._offsets, now)
        self._outgoing.append(request)
        self.stats.requests_sent += 1
        if self.mapped is not None:
            self._keepalive.start(now)
        self._update_deadline()

    def _conclude(self, message: Message, now: float) -> None:
        """Take the address, or the reason why there is none; later answers only tell of changes."""
        if message.message_class is MessageClass.ERROR:
            code, reason = read_error(message, self.stats)
        else:
            code, reason = 0, ""
            # Servers of RFC 3489 know no XOR (RFC 8489 section 6.3.3).
            address = message.get(stun.XOR_MAPPED_ADDRESS) or message.get(stun.MAPPED_ADDRESS)
            problem = judge_address("XOR-MAPPED-ADDRESS", address, self._family)
            if message.unknown:
                problem = name_unknown(message)
            if problem:
                code, reason = NO_ANSWER, problem
            elif address is not None and address != self.mapped:
                self.mapped = address
                self._events.append(Mapped(address))
        if self.mapped is not None:
            self._give_up.stop()
            if not self._keepalive.is_running:
                self._keepalive.start(now)
        elif code == 300:
            self._redirect(message)
        else:
            self._fail(code, reason)

    def _redirect(self, message: Message) -> None:
        # DEVIATION RFC 8445 §5.1.1.2: ALTERNATE-SERVER is followed, once, as RFC 8489 section 10 has it.
        alternate = message.get(stun.ALTERNATE_SERVER)
        problem = judge_redirection(alternate, self.server, redirected=self._redirected)
        if problem or alternate is None:
            self._fail(300, problem)
        else:
            self.close()
            self._events.append(AlternateServer(alternate, message.get(stun.ALTERNATE_DOMAIN)))

    def _fail(self, code: int, reason: str) -> None:
        self.close()
        self._events.append(Failed(code, reason))

    def _update_deadline(self) -> None:
        self.deadline = min(
            self._give_up.deadline,
            self._keepalive.deadline,
            math.inf if self._transaction is None else self._transaction.deadline,
        )
