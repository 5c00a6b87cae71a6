"""The sans-IO ICE agent: full ICE for one component (RFC 8445), trickled (8838), with consent (7675)."""

from __future__ import annotations

import base64
import logging
import math
from collections.abc import Callable

from rtcstack import stun
from rtcstack.errors import InvalidParameter, InvalidState, WireError
from rtcstack.ice.binding import Asked, Refusal, judge, write_refusal, write_request, write_success
from rtcstack.ice.candidate import Candidate, normalize, peer_reflexive_priority, reach
from rtcstack.ice.checklist import Checklist
from rtcstack.ice.checks import Check, Checks
from rtcstack.ice.consent import Consent
from rtcstack.ice.events import (
    Drops,
    EndOfLocalCandidates,
    Event,
    IceState,
    LocalCandidate,
    PairSelected,
    StateChanged,
    Stats,
)
from rtcstack.ice.explain import explain_no_pair
from rtcstack.ice.local_candidates import LocalCandidates
from rtcstack.ice.options import Options
from rtcstack.ice.pair import Pair, PairState
from rtcstack.ice.remote_candidates import RemoteCandidates
from rtcstack.stun import Address, Message, MessageClass

__all__ = ["Agent"]

logger = logging.getLogger("rtcstack.ice")

_CHECKING = IceState.CHECKING
_ENDED = (IceState.FAILED, IceState.CLOSED)
_SUCCEEDED = PairState.SUCCEEDED
_IN_PROGRESS = PairState.IN_PROGRESS
_DEFAULTS = Options()


class Agent:
    """One ICE session for one component.

    controlling     whether we nominate: the offerer does, and whoever faces a lite peer.
    random_bytes    count -> that many unpredictable bytes.
    tie_breaker     64 bits for role conflicts; None takes random ones.

    ufrag, password     our credentials, to be told to the peer.
    state               IceState.
    selected            Pair to send data on; None before the first is valid and after the end.
    deadline            seconds; take_packets is due then, math.inf while nothing is.
    failure_reason      a sentence once the state is FAILED.

    Candidates may be added before and after the credentials and start(). Checks begin when both have come.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        random_bytes: Callable[[int], bytes],
        options: Options = _DEFAULTS,
        tie_breaker: int | None = None,
    ) -> None:
        self.controlling = controlling
        self.options = options
        self.state = IceState.NEW
        self.selected: Pair | None = None
        self.deadline = math.inf
        self.failure_reason = ""
        self.drops = Drops()
        self.stats = Stats()
        self._random_bytes = random_bytes
        # 48 and 144 bits; RFC 8445 section 5.3 asks for 24 and 128. Base 64 has just the ice-chars.
        self.ufrag = base64.b64encode(random_bytes(6)).decode()
        self.password = base64.b64encode(random_bytes(18)).decode()
        self._key = self.password.encode()
        self._tie_breaker = int.from_bytes(random_bytes(8), "big") if tie_breaker is None else tie_breaker
        self._remote_ufrag = ""
        self._remote_key = b""
        self._remote_lite = False
        self._started = False
        self._now = -math.inf
        self._local = LocalCandidates(options.max_pairs)
        self._local_ended = False
        self._remote = RemoteCandidates(options.max_remote_candidates)
        self._early: dict[tuple[Address, Address], Asked] = {}
        self._checklist = Checklist(options.max_pairs)
        self._checks = Checks()
        self._pace = -math.inf
        self._pac = math.inf
        self._settled = math.inf
        self._nominating: Pair | None = None
        self._role_conflicts = 0
        self._valid: set[tuple[Address, Address]] = set()
        self._consent: Consent | None = None
        self._outgoing: list[tuple[Address, Address, bytes]] = []
        self._events: list[Event] = []

    @property
    def local_candidates(self) -> list[Candidate]:
        """Our candidates so far, peer-reflexive ones included."""
        return list(self._local.all)

    # Commands

    def add_local_address(self, address: Address, *, interface: str = "") -> Candidate | None:
        """Make a host candidate of a bound UDP socket.

        The caller's order is the order of preference within an address family; IPv6 and IPv4 alternate.
        Loopback addresses are taken: they reach loopback addresses of the peer only.

        interface   name of the network interface, for reports.

        Returns the candidate; None if a peer cannot use such an address, or it is known.
        Raises InvalidParameter if it is no IP address and port, InvalidState after end_of_local_candidates.
        Source: RFC 8445 sections 5.1.1 and 5.1.2, RFC 8421 section 4.
        """
        ip = normalize(address[0])
        if ip is None or not 0 < address[1] < 65536:
            raise InvalidParameter(f"{address!r} is not the IP address and port of a bound socket")
        if self._local_ended:
            raise InvalidState("a local address came after the end of local candidates")
        candidate = self._local.add_host((ip, address[1]), interface)
        if candidate is None:
            return None
        self._events.append(LocalCandidate(candidate))
        if self.state not in (IceState.NEW, *_ENDED):
            for remote in list(self._remote.values()):
                self._form_pair(candidate, remote)
            self._update_deadline()
        return candidate

    def end_of_local_candidates(self) -> None:
        """Note that no more local addresses will come (RFC 8838 section 13)."""
        if not self._local_ended:
            self._local_ended = True
            self._events.append(EndOfLocalCandidates())

    def set_remote_credentials(self, ufrag: str, password: str, *, lite: bool = False) -> None:
        """Take the peer's credentials; checks begin if start() has been called.

        ufrag       4 to 256 characters.
        password    22 to 256 characters.
        lite        the peer is an ICE-lite agent: we control (RFC 8445 section 6.1.1).
        Raises InvalidParameter for other lengths, InvalidState if there are different ones already.
        Source: RFC 8839 section 5.4.
        """
        if not 4 <= len(ufrag) <= 256 or not 22 <= len(password) <= 256:
            raise InvalidParameter("ICE ufrag must have 4 to 256 characters and password 22 to 256")
        key = password.encode()
        if self._remote_key and (ufrag, key) != (self._remote_ufrag, self._remote_key):
            raise InvalidState("remote ICE credentials have changed: that asks for an ICE restart")
        self._remote_ufrag, self._remote_key, self._remote_lite = ufrag, key, lite
        if lite:
            self.set_controlling(True)
        self._update_deadline()

    def add_remote_candidate(self, candidate: Candidate) -> None:
        """Take a candidate of the peer; one that cannot be used is counted and left out.

        Source: RFC 8838 section 11.
        """
        if self.state in _ENDED:
            return
        remote = self._remote.screen(candidate, self.drops)
        if remote is None:
            return
        address = remote.transport_address
        known = self._remote.get(address)
        if known is None and not self._make_room_for_remote():
            return
        self._remote[address] = remote
        if known is not None:
            for pair in self._checklist:
                if pair.remote is known:
                    pair.remote = remote
                    pair.foundation = (pair.foundation[0], remote.foundation)
            self._checklist.update_priorities(controlling=self.controlling)
        if self.state is not IceState.NEW:
            for base in self._local.bases.values():
                self._form_pair(base, remote)
            self._update_deadline()

    def end_of_remote_candidates(self) -> None:
        """Note that the peer will send no more candidates; later ones are ignored (RFC 8838 section 14)."""
        self._remote.has_ended = True
        self._update_deadline()

    def set_controlling(self, controlling: bool) -> None:
        """Take a role; a lite peer leaves us no choice."""
        if controlling != self.controlling and (controlling or not self._remote_lite):
            self._take_role(controlling)
            self._update_deadline()

    def start(self, now: float) -> None:
        """Let checks begin as soon as the remote credentials are there."""
        self._now = now
        self._started = True
        self._update_deadline()

    def close(self) -> None:
        """End at once; nothing is sent any more."""
        if self.state is not IceState.CLOSED:
            self._end(IceState.CLOSED)

    def heard(self, now: float) -> None:
        """Note that authenticated data of the peer came by the selected pair: it is no longer silent."""
        if self._consent is not None:
            self._consent.heard(now)
            if self.state is IceState.DISCONNECTED:
                self.deadline = now

    # From below

    def is_valid(self, local: Address, remote: Address) -> bool:
        """Tell whether data from there may be looked at: a check has passed on this five-tuple."""
        return (local, remote) in self._valid

    def receive(self, datagrams: list[bytes], local: Address, remote: Address, now: float) -> None:
        """Take STUN datagrams that arrived at one of our addresses; answers wait for take_packets.

        local       the socket's address, as given to add_local_address.
        remote      where they came from.
        """
        drops = self.drops
        if self.state in _ENDED:
            drops.inactive += len(datagrams)
            return
        if local not in self._local.bases:
            drops.unknown_local += len(datagrams)
            return
        self._now = now
        self._begin_if_ready(now)
        for datagram in datagrams:
            try:
                message = Message.parse(datagram)
            except stun.FingerprintError:
                drops.fingerprint += 1
                continue
            except WireError:
                drops.malformed += 1
                continue
            if message.method != stun.BINDING:
                drops.unsupported_method += 1
            elif message.message_class is MessageClass.REQUEST:
                self._receive_request(message, local, remote, now)
            elif message.message_class is MessageClass.INDICATION:
                self.stats.indications_received += 1
            else:
                self._receive_response(message, local, remote, now)
                if self.state in _ENDED:
                    return
        self._update_deadline()

    def handle_timeout(self, now: float) -> None:
        """Do what is due: checks, retransmissions, nomination, consent, giving up."""
        if self.state in _ENDED:
            return
        self._now = now
        self._begin_if_ready(now)
        for check in self._checks.due(now):
            self._handle_check_timeout(check, now)
        self._tend_consent(now)
        if now >= self._nomination_due():
            self._nominating, _ = self._checklist.best_valid()
            if self._nominating is not None:
                self._checklist.trigger(self._nominating)
        self._send_checks(now)
        if now >= self._pac and self._is_hopeless():
            reason = explain_no_pair(
                bases=len(self._local.bases),
                remotes=len(self._remote),
                pairs=len(self._checklist),
                patience=self.options.pac,
                drops=self.drops,
                stats=self.stats,
            )
            self._fail(reason)
        self._update_deadline()

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over what is to be sent now: (our address, the peer's address, datagrams)."""
        if now >= self.deadline:
            self.handle_timeout(now)
        if not self._outgoing:
            return []
        outgoing, self._outgoing = self._outgoing, []
        batches: dict[tuple[Address, Address], list[bytes]] = {}
        for local, remote, datagram in outgoing:
            batches.setdefault((local, remote), []).append(datagram)
        return [(local, remote, datagrams) for (local, remote), datagrams in batches.items()]

    def take_events(self) -> list[Event]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    # State

    def _set_state(self, state: IceState) -> None:
        if state is not self.state:
            logger.debug("ICE %s -> %s", self.state.value, state.value)
            self.state = state
            self._events.append(StateChanged(state))

    def _end(self, state: IceState) -> None:
        """Stop for good: no more sending, no more consent, nothing valid."""
        self.selected = None
        self._consent = None
        self._nominating = None
        self._checks.clear()
        self._checklist.clear()
        self._early.clear()
        self._valid.clear()
        self._outgoing.clear()
        self.deadline = math.inf
        self._set_state(state)

    def _fail(self, reason: str) -> None:
        self.failure_reason = reason
        self._end(IceState.FAILED)

    def _begin_if_ready(self, now: float) -> None:
        """Form the checklist and start the PAC timer (RFC 8445 section 6.1.2, RFC 8863 section 4)."""
        if self.state is not IceState.NEW or not self._started or not self._remote_key:
            return
        self._pac = now + self.options.pac
        self._set_state(_CHECKING)
        pairs = [
            Pair(base, remote, controlling=self.controlling)
            for base in self._local.bases.values()
            for remote in self._remote.values()
            if reach(base.address) == reach(remote.address)
        ]
        for pair in sorted(pairs, key=lambda pair: -pair.priority):
            self._add_pair(pair)
        self._valid.clear()  # Those of early checks return, if they were this peer's.
        early, self._early = self._early, {}
        for (local, remote_address), asked in early.items():
            self._checked_by_peer(asked, local, remote_address, now)

    def _update_deadline(self) -> None:
        """Find the soonest thing to do; what is overdue is due at the latest `now` that we were told."""
        if self.state in _ENDED:
            self.deadline = math.inf
            return
        if self.state is IceState.NEW:
            self.deadline = self._now if self._started and self._remote_key else math.inf
            return
        deadline = self._checks.deadline
        if self._checklist.triggered:
            deadline = min(deadline, self._pace - self.options.triggered_burst * self.options.ta)
        elif self._checklist.next_ordinary() is not None:
            deadline = min(deadline, self._pace)
        consent = self._consent
        if consent is not None:
            deadline = min(deadline, consent.next_check, consent.expires, self._nomination_due())
            if self.state is not IceState.DISCONNECTED:
                deadline = min(deadline, consent.silent_at)
            elif consent.silent_at > self._now:
                deadline = self._now
        elif self._is_hopeless():
            deadline = min(deadline, self._pac)
        self.deadline = max(deadline, self._now)

    def _is_hopeless(self) -> bool:
        return self.state is _CHECKING and self._checklist.is_exhausted()

    # Candidates and pairs

    def _form_pair(self, base: Candidate, remote: Candidate) -> None:
        """Pair a base with a remote candidate that it can reach, while no pair is nominated.

        Bases only: a reflexive candidate would be replaced by its base and then pruned.
        Source: RFC 8445 sections 6.1.2.2 to 6.1.2.4.
        """
        if (
            (self.selected is None or not self.selected.nominated)
            and reach(base.address) == reach(remote.address)
            and self._checklist.get(base.transport_address, remote.transport_address) is None
        ):
            self._add_pair(Pair(base, remote, controlling=self.controlling))

    def _add_pair(self, pair: Pair) -> bool:
        """Put a pair on the checklist; False if it is full of better ones."""
        discarded = self._checklist.add(pair)
        if discarded is not None:
            self.drops.pairs_discarded += 1
            self._checks.forget(discarded)
        return discarded is not pair

    def _make_room_for_remote(self) -> bool:
        """Let the oldest peer-reflexive candidate that never answered go, if the remote ones are too many."""
        if not self._remote.is_full:
            return True
        self.drops.remote_overflow += 1
        address = self._remote.evict(
            {
                pair.remote_address
                for pair in self._checklist
                if pair.state is _SUCCEEDED or pair is self.selected
            }
        )
        if address is None:
            return False
        for base in self._local.bases:
            self._valid.discard((base, address))
            pair = self._checklist.get(base, address)
            if pair is not None:
                self._checks.forget(pair)
                self._checklist.remove(pair)
        return True

    def _take_role(self, controlling: bool) -> None:
        self.controlling = controlling
        self._nominating = None
        for pair in self._checklist:
            pair.use_candidate = False
        self._checklist.update_priorities(controlling=controlling)

    # Checks that we send (RFC 8445 section 7.2)

    def _send_checks(self, now: float) -> None:
        """Send what Ta allows: the first at once, then one every Ta; triggered ones may borrow some turns."""
        checklist, options = self._checklist, self.options
        # DEVIATION RFC 8445 §6.1.4.2: triggered checks run ahead of Ta by up to `triggered_burst` turns, so
        # that a peer which reaches us is checked back at once. The mean rate stays one check every Ta.
        while checklist.triggered and now >= self._pace - options.triggered_burst * options.ta:
            self._send_check(checklist.triggered.popleft(), now)
        while now >= self._pace:
            pair = checklist.next_ordinary()
            if pair is None:
                break
            self._send_check(pair, now)

    def _send_check(self, pair: Pair, now: float) -> None:
        options = self.options
        self._pace = max(self._pace, now) + options.ta
        if pair.state is not _SUCCEEDED:
            pair.state = _IN_PROGRESS
        # RFC 8445 §14.3 lets an agent compute the RTO in another way: without its factor N, the number of all
        # checks, every pair still gets its first request before any gets its second, and the loss of one
        # packet among 10 pairs costs 0.5 s and not 5 s.
        rto = max(options.rto, options.ta * self._checklist.active())
        self.stats.checks_sent += 1
        self._send_request(
            pair, now, stun.schedule(rto, options.rc, options.rm), nominates=pair is self._nominating
        )

    def _send_request(
        self,
        pair: Pair,
        now: float,
        offsets: tuple[float, ...],
        *,
        nominates: bool = False,
        is_consent: bool = False,
    ) -> None:
        """Send a Binding request and keep it until it is answered or times out."""
        priority = peer_reflexive_priority(self._local.bases[pair.local_address].priority)
        transaction_id = self._random_bytes(12)
        request = write_request(
            transaction_id,
            f"{self._remote_ufrag}:{self.ufrag}",
            self._remote_key,
            priority=priority,
            controlling=self.controlling,
            tie_breaker=self._tie_breaker,
            use_candidate=nominates,
        )
        self._checks[transaction_id] = Check(
            transaction_id,
            request,
            offsets,
            now,
            pair,
            controlling=self.controlling,
            priority=priority,
            nominates=nominates,
            is_consent=is_consent,
        )
        pair.requests_sent += 1
        self._outgoing.append((pair.local_address, pair.remote_address, request))

    def _handle_check_timeout(self, check: Check, now: float) -> None:
        if check.handle_timeout(now):
            self.stats.retransmissions += 1
            check.pair.requests_sent += 1
            self._outgoing.append((check.pair.local_address, check.pair.remote_address, check.request))
        else:
            del self._checks[check.id]
            self._check_failed(check)

    def _check_failed(self, check: Check) -> None:
        """Mark the pair as Failed (RFC 8445 section 7.2.5.2), unless a newer check of it is under way."""
        pair = check.pair
        if check.is_consent or check.is_cancelled:
            return
        if pair is self._nominating:
            # DEVIATION RFC 8445 §7.2.5.3.4: when a nomination fails the next valid pair is nominated; the
            # checklist does not fail as long as there is one.
            self._nominating = None
            pair.state = PairState.FAILED
        elif pair.state is _IN_PROGRESS:
            pair.state = PairState.FAILED

    def _receive_response(self, message: Message, local: Address, remote: Address, now: float) -> None:
        """Process an answer (RFC 8445 section 7.2.5, RFC 8489 sections 6.3.3, 6.3.4 and 9.1.4)."""
        stats, drops = self.stats, self.drops
        check = self._checks.get(message.transaction_id)
        if check is None:
            drops.unknown_transaction += 1
            return
        is_success = message.message_class is MessageClass.SUCCESS
        code, _ = message.get(stun.ERROR_CODE) or (0, "")
        if not is_success:
            stats.errors_received[code] = stats.errors_received.get(code, 0) + 1
        if message.integrity is not stun.MESSAGE_INTEGRITY or not message.is_authentic(self._remote_key):
            # Discarded as if never received: the check goes on.
            if is_success:
                drops.unauthenticated_response += 1
            else:
                drops.unauthenticated_error += 1
            return
        pair = check.pair
        del self._checks[check.id]
        if (local, remote) != (pair.local_address, pair.remote_address):
            drops.non_symmetric += 1
            self._check_failed(check)
        elif is_success:
            mapped = message.get(stun.XOR_MAPPED_ADDRESS)
            if mapped is None or message.unknown:
                self._check_failed(check)
            else:
                stats.responses_received += 1
                self._check_succeeded(check, mapped, now)
        elif code == 487 and self._role_conflicts < self.options.max_role_conflicts and not self._remote_lite:
            self._resolve_conflict(check)
        elif code == 403 and check.is_consent:
            self._fail("the peer has revoked its consent (403)")
        else:
            self._check_failed(check)

    def _resolve_conflict(self, check: Check) -> None:
        """Take the other role, if we have not since the check left, and check again (section 7.2.5.1)."""
        self._role_conflicts += 1
        if check.controlling == self.controlling:
            self.stats.role_switches += 1
            self._tie_breaker = int.from_bytes(self._random_bytes(8), "big")
            self._take_role(not self.controlling)
        else:
            self.drops.stale_role_conflict += 1
        pair = check.pair
        listed = self._checklist.get(pair.local_address, pair.remote_address) is pair
        if listed and not check.is_consent and not check.is_cancelled:
            self._checklist.trigger(pair)

    def _check_succeeded(self, check: Check, mapped: Address, now: float) -> None:
        """Make the pair valid (RFC 8445 section 7.2.5.3)."""
        # When a pair was nominated the others were removed, and the peer may have brought this one back.
        pair = self._checklist.get(check.pair.local_address, check.pair.remote_address) or check.pair
        pair.responses_received += 1
        # After a retransmission it may be the answer to an earlier sending, but then the round trip is longer
        # than the RTO of at least 500 ms, and the next consent request measures it.
        pair.rtt = now - check.sent
        pair.answered = now
        if pair.state is not _SUCCEEDED:
            pair.state = _SUCCEEDED
            self._checks.cancel(pair)
            if pair in self._checklist.triggered:
                self._checklist.triggered.remove(pair)
            if self._checklist.get(pair.local_address, pair.remote_address) is None:
                self._add_pair(pair)
            pair.local = self._local.mapped(pair.local, pair.local_address, mapped, check.priority)
            self._checklist.update_priorities(controlling=self.controlling)
            self._checklist.thaw(pair.foundation)
            self._valid.add((pair.local_address, pair.remote_address))
        if self.selected is None:
            self._settled = now + max(self.options.settle, 2 * pair.rtt)
            self._select(pair, now)
            self._set_state(IceState.CONNECTED)
        elif pair is self.selected and self._consent is not None:
            self._consent.refresh(now)
        if check.nominates if self.controlling else pair.use_candidate:
            self._nominate(pair, now)

    # Checks that we receive (RFC 8445 section 7.3)

    def _receive_request(self, message: Message, local: Address, remote: Address, now: float) -> None:
        """Answer a Binding request, at once and whether or not the remote credentials are known."""
        stats = self.stats
        asked = judge(message, self.ufrag, self._key)
        if isinstance(asked, Asked) and not self._agree_on_roles(asked):
            asked = Refusal(487, self._key)
        if isinstance(asked, Refusal):
            stats.errors_sent[asked.code] = stats.errors_sent.get(asked.code, 0) + 1
            self._answer(write_refusal(message, asked), local, remote)
            return
        stats.requests_received += 1
        stats.successes_sent += 1
        self._answer(write_success(message, remote, self._key), local, remote)
        if self.state is not IceState.NEW:
            self._checked_by_peer(asked, local, remote, now)
            return
        early = self._early.get((local, remote))
        if early is None and len(self._early) >= self.options.max_early_checks:
            self.drops.early_overflow += 1
        elif early is None or asked.use_candidate or not early.use_candidate:
            self._valid.add((local, remote))
            self._early[local, remote] = asked

    def _answer(self, datagram: bytes, local: Address, remote: Address) -> None:
        """Queue an answer, to leave from where the request came to (RFC 8489 section 6.3.1.2)."""
        if len(self._outgoing) < self.options.max_queued:
            self._outgoing.append((local, remote, datagram))
        else:
            self.drops.queue_overflow += 1

    def _agree_on_roles(self, asked: Asked) -> bool:
        """If the peer has our role, let the larger tie-breaker control: False if the peer has to give in.

        Source: RFC 8445 section 7.3.1.1.
        """
        theirs = asked.controlling if self.controlling else asked.controlled
        if theirs is None:
            return True
        if (self._tie_breaker >= theirs) == self.controlling:
            return False
        self.stats.role_switches += 1
        self._take_role(not self.controlling)
        return True

    def _checked_by_peer(self, asked: Asked, local: Address, remote: Address, now: float) -> None:
        """Learn from an answered check: its source, a pair to check back, a nomination.

        Source: RFC 8445 sections 7.3.1.3 to 7.3.1.5.
        """
        if asked.remote_ufrag != self._remote_ufrag:
            self.drops.foreign_ufrag += 1
            return
        candidate = self._remote.get(remote)
        if candidate is None:
            if not self._make_room_for_remote():
                return
            candidate = self._remote.learn(remote, asked.priority)
        self._valid.add((local, remote))
        selected = self.selected
        pair = self._checklist.get(local, remote)
        if pair is None:
            if self.controlling and selected is not None and selected.nominated:
                return  # We have nominated: the peer's other pairs are answered, not checked back.
            pair = Pair(self._local.bases[local], candidate, controlling=self.controlling)
            if not self._add_pair(pair):
                return
        pair.requests_received += 1
        if pair is not selected and now >= pair.answered + self.options.consent_expiry:
            # Consent to a pair that was valid once has expired: it must be checked again before it is used.
            pair.state = PairState.FAILED if pair.state is _SUCCEEDED else pair.state
        if pair is selected and self._consent is not None:
            self._consent.heard(now)
        if asked.use_candidate and self.controlling:
            self.drops.use_candidate_ignored += 1
        elif asked.use_candidate and pair.state is _SUCCEEDED:
            self._nominate(pair, now)
        elif asked.use_candidate:
            pair.use_candidate = True
        if pair.state is not _SUCCEEDED:
            if pair.state is _IN_PROGRESS:
                self._checks.cancel(pair)
            self._checklist.trigger(pair)

    # Selection, nomination (RFC 8445 section 8), consent (RFC 7675)

    def _select(self, pair: Pair, now: float) -> None:
        """Send data by this pair from now on."""
        self.selected = pair
        self._consent = Consent(now, pair.answered, self.options, self._random_bytes)
        self._events.append(PairSelected(pair))

    def _nomination_due(self) -> float:
        """When to nominate the best valid pair; inf if that is not for us to do, or done.

        At once if no better pair can become valid: none is pending, and none can be trickled because both
        candidates are of the host type or the peer has told all of its own. Otherwise after `settle`.
        """
        if (
            not self.controlling
            or self._nominating is not None
            or self.selected is None
            or self.selected.nominated
        ):
            return math.inf
        best, better_pending = self._checklist.best_valid()
        if best is None:
            return math.inf
        final = self._remote.has_ended or best.local.type == best.remote.type == "host"
        return self._settled if better_pending or not final else -math.inf

    def _nominate(self, pair: Pair, now: float) -> None:
        """Conclude with this pair, and with the best of them if the peer nominates several (section 8.1.1).

        An aggressive peer nominates every pair that works. But when the selected pair has gone silent, the
        one it nominates now is the one it uses.
        """
        selected, consent = self.selected, self._consent
        if pair is selected and pair.nominated:
            return
        if (
            selected is not None
            and consent is not None
            and selected.nominated
            and pair.priority < selected.priority
            and now < consent.silent_at
        ):
            self.drops.use_candidate_ignored += 1
            return
        pair.nominated = True
        self._nominating = None
        if selected is not pair:
            self._select(pair, now)
        for other in self._checklist.conclude():
            self._checks.cancel(other)
        self._set_state(IceState.COMPLETED)

    def _tend_consent(self, now: float) -> None:
        """Ask for consent when it is due, stop when it has expired, notice silence (RFC 7675 section 5.1)."""
        consent, pair = self._consent, self.selected
        if consent is None or pair is None:
            return
        if now >= consent.expires:
            self._fail(f"consent expired: no answer from the peer for {self.options.consent_expiry:g} s")
            return
        if now >= consent.next_check:
            # Sent once only; an answer is good until consent expires.
            self.stats.consent_requests_sent += 1
            self._send_request(pair, now, (0.0, self.options.consent_expiry), is_consent=True)
            consent.check_sent(now)
        if now >= consent.silent_at:
            self._set_state(IceState.DISCONNECTED)
        elif self.state is IceState.DISCONNECTED:
            self._set_state(IceState.COMPLETED if pair.nominated else IceState.CONNECTED)
