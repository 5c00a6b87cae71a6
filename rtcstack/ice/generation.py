"""One generation of ICE: everything that a restart begins anew (RFC 8445 sections 6 to 9)."""

from __future__ import annotations

import base64
import math

from rtcstack import stun
from rtcstack.ice.binding import Asked, Familiar, Refusal, judge, write_refusal, write_request, write_success
from rtcstack.ice.candidate import Candidate, can_pair, peer_reflexive_priority
from rtcstack.ice.checklist import Checklist
from rtcstack.ice.checks import Check, Checks
from rtcstack.ice.events import IceState
from rtcstack.ice.local_end import LocalEnd
from rtcstack.ice.pair import Pair, PairState
from rtcstack.ice.remote_candidates import RemoteCandidates
from rtcstack.ice.selection import Selection
from rtcstack.stun import Address, Message, MessageClass

__all__ = ["Generation"]

_SUCCEEDED = PairState.SUCCEEDED
_IN_PROGRESS = PairState.IN_PROGRESS

_TRIGGERED_IN_A_ROW = 2
"""Triggered checks after which an ordinary one that waits has its turn."""


class Generation:
    """Credentials of both sides, remote candidates, checklist, checks, and the pair that came of it.

    ufrag, password     ours.
    remote_ufrag        the peer's; "" until set.
    state               IceState of this generation alone, never CLOSED.
    failure_reason      a sentence once the state is FAILED.
    deadline            seconds; handle_timeout is due then. Always up to date after update().
    remote              the peer's candidates.
    checklist           pairs of our bases with them.
    selection           the pair that carries data, its nomination and consent.
    valid               five-tuples on which data may be looked at.
    has_foreign_keys    whether a request came, from no address of ours, that other credentials had signed.
    is_retired          whether a later generation is being checked: this one only keeps its pair.
    """

    def __init__(self, end: LocalEnd) -> None:
        self._end = end
        # 48 and 144 bits; RFC 8445 section 5.3 asks for 24 and 128. Base 64 has just the ice-chars.
        self.ufrag = base64.b64encode(end.random_bytes(6)).decode()
        self.password = base64.b64encode(end.random_bytes(18)).decode()
        self.remote_ufrag = ""
        self.state = IceState.NEW
        self.failure_reason = ""
        self.deadline = math.inf
        self.remote = RemoteCandidates(end.options.max_remote_candidates)
        self.checklist = Checklist(end.options.max_pairs)
        self.selection = Selection(end, self.checklist, self.remote)
        self.valid: set[tuple[Address, Address]] = set()
        self._former_ufrag = ""
        self._former_valid: frozenset[tuple[Address, Address]] = frozenset()
        self.has_foreign_keys = False
        self.is_retired = False
        self._key = self.password.encode()
        self._remote_key = b""
        self._familiar = Familiar(self._key, b"")
        self._remote_lite = False
        self._early: dict[tuple[Address, Address], Asked] = {}
        self._checks = Checks()
        self._gives_up = math.inf
        self._role_conflicts = 0
        self._triggered_in_a_row = 0

    # Life

    @property
    def has_remote_credentials(self) -> bool:
        """Whether the peer's credentials are known."""
        return bool(self._remote_key)

    @property
    def is_active(self) -> bool:
        """Whether candidates are paired and checked."""
        return self.state not in (IceState.NEW, IceState.FAILED) and not self.is_retired

    def is_of(self, ufrag: str, password: str) -> bool:
        """Tell whether these are the peer's credentials."""
        return (self.remote_ufrag, self._remote_key) == (ufrag, password.encode())

    def succeed(self, before: Generation) -> None:
        """Take note of the generation before a restart: its peer may prove old paths with new credentials.

        Chromium's connections outlive a restart: they ask with our new ufrag and password and with theirs of
        before, and send data once they are answered. These paths have been checked from here, too, before.
        """
        if before.remote_ufrag:
            self._former_ufrag, self._former_valid = before.remote_ufrag, frozenset(before.valid)
        else:  # that restart came to nothing
            self._former_ufrag, self._former_valid = before._former_ufrag, before._former_valid

    def set_remote_credentials(self, ufrag: str, password: str, *, lite: bool) -> None:
        """Take the peer's credentials."""
        self.remote_ufrag, self._remote_key, self._remote_lite = ufrag, password.encode(), lite
        self._familiar = Familiar(self._key, self._remote_key)
        if lite:
            self.set_controlling(True)

    def begin(self, now: float) -> None:
        """Form the checklist and start the PAC timer (RFC 8445 section 6.1.2, RFC 8863 section 4)."""
        self._gives_up = now + self._end.options.pac
        self.state = IceState.CHECKING
        pairs = [
            Pair(base, remote, controlling=self._end.controlling)
            for base in self._end.candidates.bases.values()
            for remote in self.remote.values()
            if self._may_pair(base, remote)
        ]
        for pair in sorted(pairs, key=lambda pair: -pair.priority):
            self._add_pair(pair)
        self.valid.clear()  # Those of early checks return, if they were this peer's.
        early, self._early = self._early, {}
        for (local, remote_address), asked in early.items():
            self._checked_by_peer(asked, local, remote_address, now)

    def retire(self) -> None:
        """Keep only what carries data, and answer the peer's checks: a new generation is being checked.

        Source: RFC 8445 section 9, RFC 7675 section 5.1.
        """
        self.is_retired = True
        self.selection.nominating = None
        self.checklist.clear()
        self._checks.keep_consent_requests()
        self.remote.clear()

    def fail(self, reason: str) -> None:
        """Stop for good: nothing is sent any more, nothing is valid. Pairs stay, to be reported."""
        self.state = IceState.FAILED
        self.failure_reason = reason
        self.deadline = math.inf
        self.selection.lose()
        self.checklist.triggered.clear()
        self._checks.clear()
        self._early.clear()
        self.valid.clear()

    def set_controlling(self, controlling: bool) -> None:
        """Take a role; a lite peer leaves us no choice, nor does being lite."""
        if controlling != self._end.controlling and self._is_role_free(controlling):
            self._end.controlling = controlling
            self._role_changed()

    def _is_role_free(self, controlling: bool) -> bool:
        is_fixed = self._end.options.lite or self.is_retired or (self._remote_lite and not controlling)
        return not is_fixed

    def _role_changed(self) -> None:
        self.selection.nominating = None
        for pair in self.checklist:
            pair.use_candidate = pair.checked_plainly = False
        self.checklist.update_priorities(controlling=self._end.controlling)

    def update(self, now: float) -> None:
        """Bring state and deadline up to date; what is overdue is due now."""
        if self.state in (IceState.NEW, IceState.FAILED):
            return
        selection, options = self.selection, self._end.options
        pair, consent = selection.pair, selection.consent
        deadline = self._checks.deadline
        if self.checklist.triggered:
            deadline = min(deadline, self._end.pace - options.triggered_burst * options.ta)
        elif self.checklist.next_ordinary() is not None:
            deadline = min(deadline, self._end.pace)
        if pair is None or consent is None:
            self.state = IceState.DISCONNECTED if selection.had_pair else IceState.CHECKING
            if self.checklist.is_exhausted():
                deadline = min(deadline, self._gives_up)
        else:
            deadline = min(deadline, consent.deadline(now), selection.nomination_due())
            if now >= consent.silent_at:
                self.state = IceState.DISCONNECTED
            else:
                self.state = IceState.COMPLETED if pair.nominated else IceState.CONNECTED
        self.deadline = max(deadline, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due: checks, retransmissions, nomination, consent."""
        if self.state in (IceState.NEW, IceState.FAILED):
            return
        for check in self._checks.due(now):
            self._handle_check_timeout(check, now)
        if not self._tend_consent(now):
            return
        if now >= self.selection.nomination_due():
            self.selection.start_nomination()
        self._send_checks(now)

    def is_hopeless(self, now: float) -> bool:
        """Tell whether there is no pair, none is being checked, and patience is at its end."""
        return (
            self.is_active
            and self.selection.pair is None
            and now >= self._gives_up
            and self.checklist.is_exhausted()
        )

    # Candidates and pairs

    def add_base(self, base: Candidate) -> None:
        """Pair one of our candidates that is its own base with those of the peer."""
        if self.is_active:
            for remote in list(self.remote.values()):
                self._form_pair(base, remote)

    def remove_base(self, address: Address, now: float) -> None:
        """Lose the pairs of a base; data goes on by the best other valid pair, or checks go on."""
        for pair in [pair for pair in self.checklist if pair.local_address == address]:
            self._remove_pair(pair)
        self.valid = {(local, remote) for local, remote in self.valid if local != address}
        self._early = {key: asked for key, asked in self._early.items() if key[0] != address}
        selected = self.selection.pair
        if selected is not None and selected.local_address == address:
            self._leave_selected(now)

    def add_remote(self, candidate: Candidate) -> None:
        """Take a candidate of the peer; one that cannot be used is counted and left out.

        Source: RFC 8838 section 11.
        """
        remote = self.remote.screen(candidate, self._end.drops, self._end.options)
        if remote is None:
            return
        key = remote.transport, remote.transport_address
        known = self.remote.get(key)
        if known is None and not self._make_room_for_remote():
            return
        self.remote[key] = remote
        if known is not None:
            for pair in self.checklist:
                if pair.remote is known:
                    pair.remote = remote
                    pair.foundation = (pair.foundation[0], remote.foundation)
            self.checklist.update_priorities(controlling=self._end.controlling)
        if self.is_active:
            for base in self._end.candidates.bases.values():
                self._form_pair(base, remote)

    def tcp_opened(self, local: Address, remote: Address) -> None:
        """Check a pair whose connection is there at last (RFC 6544 section 7.1)."""
        pair = self.checklist.get(local, remote)
        if self.is_active and pair is not None and pair.state is _IN_PROGRESS:
            self.checklist.trigger(pair)

    def tcp_closed(self, local: Address, remote: Address, now: float) -> None:
        """Give up what needed a connection; the peer may come again, and we may ask again in doubt."""
        pair = self.checklist.get(local, remote)
        selected = self.selection.pair
        if pair is not None and pair.local.tcp_type == "active":
            self._checks.forget(pair)
            pair.fail("no TCP connection")
            pair.nominated = False
            self.valid.discard((local, remote))
        else:
            self._forget(local, remote)
        if selected is not None and (local, remote) == (selected.local_address, selected.remote_address):
            self._leave_selected(now)

    def _may_pair(self, base: Candidate, remote: Candidate) -> bool:
        """Tell whether checks make sense between two candidates (RFC 8445 section 6.1.2.2)."""
        return not self._end.options.lite and can_pair(base, remote)

    def _form_pair(self, base: Candidate, remote: Candidate) -> None:
        """Pair a base with a remote candidate that it can reach, if that may better things.

        Bases only: a reflexive candidate would be replaced by its base and then pruned.
        Source: RFC 8445 sections 6.1.2.2 to 6.1.2.4.
        """
        if (
            self._may_pair(base, remote)
            and self.checklist.get(base.transport_address, remote.transport_address) is None
        ):
            pair = Pair(base, remote, controlling=self._end.controlling)
            if self.selection.wants(pair):
                self._add_pair(pair)

    def _add_pair(self, pair: Pair) -> bool:
        """Put a pair on the checklist; False if it is full of better ones."""
        discarded = self.checklist.add(pair)
        if discarded is not None:
            self._end.drops.pairs_discarded += 1
            self._checks.forget(discarded)
        return discarded is not pair

    def _remove_pair(self, pair: Pair) -> None:
        self._checks.forget(pair)
        self.checklist.remove(pair)
        if pair is self.selection.nominating:
            self.selection.nominating = None

    def _make_room_for_remote(self) -> bool:
        """Let the oldest peer-reflexive candidate that never answered go, if the remote ones are too many."""
        if not self.remote.is_full:
            return True
        self._end.drops.remote_overflow += 1
        evicted = self.remote.evict(
            {
                pair.remote
                for pair in self.checklist
                if pair.state is _SUCCEEDED or pair is self.selection.pair
            }
        )
        if evicted is None:
            return False
        for base in self._end.candidates.bases.values():
            if base.transport == evicted.transport:
                self._forget(base.transport_address, evicted.transport_address)
        return True

    def _forget(self, local: Address, remote: Address) -> None:
        """Forget a five-tuple and its pair."""
        self.valid.discard((local, remote))
        self._early.pop((local, remote), None)
        pair = self.checklist.get(local, remote)
        if pair is not None:
            self._remove_pair(pair)

    # Checks that we send (RFC 8445 section 7.2)

    def _send_checks(self, now: float) -> None:
        """Send what Ta allows: the first at once, then one every Ta; triggered ones may borrow some turns."""
        checklist, end, options = self.checklist, self._end, self._end.options
        # DEVIATION RFC 8445 §6.1.4.2: triggered checks run ahead of Ta by up to `triggered_burst` turns, so
        # that a peer which reaches us is checked back at once. The mean rate stays one check every Ta.
        # Every third turn is an ordinary check's all the same: where both sides are behind NATs with a new
        # port for each destination, every check triggers another one, and the relays would never be tried.
        while checklist.triggered and now >= end.pace - options.triggered_burst * options.ta:
            ordinary = checklist.next_ordinary() if self._triggered_in_a_row >= _TRIGGERED_IN_A_ROW else None
            self._triggered_in_a_row = self._triggered_in_a_row + 1 if ordinary is None else 0
            self._send_check(ordinary or checklist.triggered.popleft(), now)
        while now >= end.pace:
            pair = checklist.next_ordinary()
            if pair is None:
                break
            self._triggered_in_a_row = 0
            self._send_check(pair, now)

    def _send_check(self, pair: Pair, now: float) -> None:
        end, options = self._end, self._end.options
        end.pace = max(end.pace, now) + options.ta
        if pair.state is not _SUCCEEDED:
            pair.state = _IN_PROGRESS
            pair.reason = ""
        five_tuple = (pair.local_address, pair.remote_address)
        if pair.local.tcp_type == "active" and not end.tcp.is_open(five_tuple):
            end.tcp.ask(five_tuple)  # The check waits for tcp_opened.
            return
        # RFC 8445 §14.3 lets an agent compute the RTO in another way: without its factor N, the number of all
        # checks, every pair still gets its first request before any gets its second, and the loss of one
        # packet among 10 pairs costs 0.5 s and not 5 s.
        rto = max(options.rto, options.ta * self.checklist.active())
        end.stats.checks_sent += 1
        offsets = stun.schedule(rto, options.rc, options.rm)
        if pair.local.transport == "tcp":
            offsets = (0.0, offsets[-1])
        self._send_request(pair, now, offsets, nominates=pair is self.selection.nominating)

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
        end = self._end
        base = end.candidates.bases[pair.local_address]
        priority = peer_reflexive_priority(base.priority, transport=base.transport)
        transaction_id = end.random_bytes(12)
        username = f"{self.remote_ufrag}:{self.ufrag}"
        controlling, tie_breaker = end.controlling, end.tie_breaker
        if is_consent:
            request = self._familiar.write_request(
                transaction_id, username, priority, controlling, tie_breaker
            )
        else:
            request = write_request(
                transaction_id,
                username,
                self._remote_key,
                priority=priority,
                controlling=controlling,
                tie_breaker=tie_breaker,
                use_candidate=nominates,
            )
        self._checks[transaction_id] = Check(
            transaction_id,
            request,
            offsets,
            now,
            pair,
            controlling=end.controlling,
            priority=priority,
            nominates=nominates,
            is_consent=is_consent,
        )
        pair.requests_sent += 1
        end.send(pair.local_address, pair.remote_address, request)

    def _handle_check_timeout(self, check: Check, now: float) -> None:
        pair = check.pair
        if check.handle_timeout(now):
            self._end.stats.retransmissions += 1
            pair.requests_sent += 1
            self._end.send(pair.local_address, pair.remote_address, check.request)
        else:
            del self._checks[check.id]
            self._check_failed(check, pair.reason or f"no answer to {check.sendings} requests")

    def _check_failed(self, check: Check, reason: str) -> None:
        """Mark the pair as Failed (RFC 8445 section 7.2.5.2), unless a newer check of it is under way."""
        pair = check.pair
        if check.is_consent or check.is_cancelled:
            return
        if pair is self.selection.nominating:
            # DEVIATION RFC 8445 §7.2.5.3.4: when a nomination fails the next valid pair is nominated; the
            # checklist does not fail as long as there is one.
            self.selection.nominating = None
            pair.fail(reason)
        elif pair.state is _IN_PROGRESS:
            pair.fail(reason)

    def has_check(self, transaction_id: bytes) -> bool:
        """Tell whether an answer with this id is awaited."""
        return transaction_id in self._checks

    def receive_response(self, message: Message, local: Address, remote: Address, now: float) -> None:
        """Process an answer (RFC 8445 section 7.2.5, RFC 8489 sections 6.3.3, 6.3.4 and 9.1.4)."""
        stats, drops = self._end.stats, self._end.drops
        check = self._checks.get(message.transaction_id)
        if check is None:
            drops.unknown_transaction += 1
            return
        pair = check.pair
        is_success = message.message_class is MessageClass.SUCCESS
        code, text = message.get(stun.ERROR_CODE) or (0, "")
        if not is_success:
            stats.errors_received[code] = stats.errors_received.get(code, 0) + 1
        if message.integrity is not stun.MESSAGE_INTEGRITY or not message.is_authentic(self._remote_key):
            # Discarded as if never received: the check goes on.
            if is_success:
                drops.unauthenticated_response += 1
                pair.reason = "answered with a wrong signature"
            else:
                drops.unauthenticated_error += 1
                pair.reason = f"refused with {code}, unsigned"
            return
        del self._checks[check.id]
        if (local, remote) != (pair.local_address, pair.remote_address):
            drops.non_symmetric += 1
            self.remote.answered_elsewhere(pair.remote_address[0])
            self._check_failed(check, f"answered from {remote[0]}:{remote[1]} to {local[0]}:{local[1]}")
        elif is_success:
            mapped = message.get(stun.XOR_MAPPED_ADDRESS)
            if mapped is None or message.unknown:
                self._check_failed(check, "answered without a mapped address that can be read")
            else:
                if check.is_consent:
                    self._familiar.keep_success(message, mapped)
                stats.responses_received += 1
                self._check_succeeded(check, mapped, now)
        elif code == 487 and self._role_conflicts < self._end.options.max_role_conflicts:
            self._resolve_conflict(check)
        elif code == 403 and check.is_consent:
            self.fail("the peer has revoked its consent (403)")
        else:
            self._check_failed(check, f"refused with {code} {text}".rstrip())

    def receive_familiar(self, datagram: bytes, local: Address, remote: Address, now: float) -> bool:
        """Take a message of consent that says what the one before has said.

        Returns False, and nothing has happened, if it does not: then it is to be parsed, and may be anything.
        """
        if not self._is_selected(local, remote):
            return False
        check = self._checks.get(datagram[8:20])
        if check is not None:
            mapped = self._familiar.read_success(datagram) if check.pair is self.selection.pair else None
            if mapped is None:
                return False
            del self._checks[check.id]
            self._end.stats.responses_received += 1
            self._check_succeeded(check, mapped, now)
            return True
        asked = self._familiar.read_request(datagram)
        if asked is None or not self._admits(local, remote) or not self._agree_on_roles(asked):
            return False
        self._end.answer(local, remote, self._familiar.write_success(datagram[8:20], remote))
        self._answered(asked, local, remote, now)
        return True

    def _resolve_conflict(self, check: Check) -> None:
        """Take the other role, if we have not since the check left, and check again (section 7.2.5.1)."""
        self._role_conflicts += 1
        if check.controlling == self._end.controlling and self._is_role_free(not self._end.controlling):
            self._end.stats.role_switches += 1
            self._end.give_in()
            self._role_changed()
        else:
            self._end.drops.stale_role_conflict += 1
        if not check.is_consent and not check.is_cancelled and not self.is_retired:
            self.checklist.trigger(check.pair)

    def _check_succeeded(self, check: Check, mapped: Address, now: float) -> None:
        """Make the pair valid (RFC 8445 section 7.2.5.3)."""
        pair = check.pair
        pair.responses_received += 1
        # After a retransmission it may be the answer to an earlier sending, but then the round trip is longer
        # than the RTO of at least 500 ms, and the next consent request measures it.
        pair.rtt = now - check.sent
        pair.answered = now
        if pair.state is not _SUCCEEDED:
            pair.state = _SUCCEEDED
            pair.reason = ""
            self._checks.cancel(pair)
            if pair in self.checklist.triggered:
                self.checklist.triggered.remove(pair)
            pair.local = self._end.candidates.mapped(pair.local, pair.local_address, mapped, check.priority)
            self.checklist.update_priorities(controlling=self._end.controlling)
            self.checklist.thaw(pair.foundation)
            self.valid.add((pair.local_address, pair.remote_address))
        self.selection.answered(pair, now)
        if check.nominates if self._end.controlling else pair.use_candidate:
            self._nominate(pair, now)

    def _nominate(self, pair: Pair, now: float) -> None:
        if self.selection.nominate(pair, now):
            for other in self.checklist.conclude(pair):
                self._checks.cancel(other)

    # Checks that we receive (RFC 8445 section 7.3)

    def receive_request(self, message: Message, local: Address, remote: Address, now: float) -> None:
        """Answer a Binding request, at once and whether or not the remote credentials are known."""
        end = self._end
        asked = judge(message, self.ufrag, self._key)
        if isinstance(asked, Asked) and not self._agree_on_roles(asked):
            asked = Refusal(487, self._key)
        if isinstance(asked, Refusal):
            end.stats.errors_sent[asked.code] = end.stats.errors_sent.get(asked.code, 0) + 1
            if asked.code == 401 and not end.candidates.has_ip(remote[0]):
                self.has_foreign_keys = True
            end.answer(local, remote, write_refusal(message, asked))
            return
        if not self._admits(local, remote):
            end.drops.remote_filtered += 1
            return
        if self._is_selected(local, remote):
            self._familiar.keep_request(message, asked)
        end.answer(local, remote, write_success(message, remote, self._key))
        self._answered(asked, local, remote, now)

    def _admits(self, local: Address, remote: Address) -> bool:
        """Tell whether the peer may be there."""
        allows = self._end.options.remote_candidate_filter
        if allows is None or (self._end.candidates.bases[local].transport, remote) in self.remote:
            return True
        return allows(*remote)

    def _is_selected(self, local: Address, remote: Address) -> bool:
        selected = self.selection.pair
        return selected is not None and remote == selected.remote_address and local == selected.local_address

    def _answered(self, asked: Asked, local: Address, remote: Address, now: float) -> None:
        """Draw conclusions from an authentic check that has been answered."""
        end = self._end
        end.stats.requests_received += 1
        end.stats.successes_sent += 1
        if self.state is not IceState.NEW:
            self._checked_by_peer(asked, local, remote, now)
            return
        early = self._early.get((local, remote))
        if early is None and len(self._early) >= end.options.max_early_checks:
            end.drops.early_overflow += 1
        elif early is None or asked.use_candidate or not early.use_candidate:
            self.valid.add((local, remote))
            self._early[local, remote] = asked

    def _agree_on_roles(self, asked: Asked) -> bool:
        """If the peer has our role, let the larger tie-breaker control: False if the peer has to give in.

        Source: RFC 8445 section 7.3.1.1.
        """
        end = self._end
        theirs = asked.controlling if end.controlling else asked.controlled
        if theirs is None or self.is_retired:
            return True
        if (end.tie_breaker >= theirs) == end.controlling or not self._is_role_free(not end.controlling):
            return False
        end.stats.role_switches += 1
        end.controlling = not end.controlling
        self._role_changed()
        return True

    def _checked_by_peer(self, asked: Asked, local: Address, remote: Address, now: float) -> None:
        """Learn from an answered check: its source, a pair to check back, a nomination.

        Source: RFC 8445 sections 7.3.1.3 to 7.3.1.5.
        """
        end, selection = self._end, self.selection
        if asked.remote_ufrag != self.remote_ufrag:
            if asked.remote_ufrag == self._former_ufrag and (local, remote) in self._former_valid:
                self.valid.add((local, remote))  # Chromium sends by its old ports with our new credentials.
                return
            end.drops.foreign_ufrag += 1
            return
        selected = selection.pair
        if selected is not None and (local, remote) == (selected.local_address, selected.remote_address):
            selected.requests_received += 1
            if selection.consent is not None:
                selection.consent.asked(now)
        if self.is_retired:
            return
        base = end.candidates.bases[local]
        candidate = self.remote.get((base.transport, remote))
        if candidate is None:
            if self.remote.is_unsteady(remote[0]) and not asked.use_candidate:
                end.drops.remote_unsteady += 1
                return
            if not self._make_room_for_remote():
                return
            candidate = self.remote.learn(remote, asked.priority, base)
        self.valid.add((local, remote))
        pair = self.checklist.get(local, remote)
        if pair is None:
            pair = Pair(base, candidate, controlling=end.controlling)
            if (end.controlling and not selection.wants(pair)) or not self._add_pair(pair):
                return  # We have nominated: the peer's worse pairs are answered, not checked back.
        if pair is not selected:
            pair.requests_received += 1
            if now >= pair.answered + end.options.consent_expiry and pair.state is _SUCCEEDED:
                pair.fail("consent expired")  # It must be regained before the pair is used.
        if end.options.lite:
            self._validate(pair, now)
        if asked.use_candidate and end.controlling:
            end.drops.use_candidate_ignored += 1
        elif asked.use_candidate and pair.state is _SUCCEEDED:
            self._nominate(pair, now)
        elif asked.use_candidate:
            pair.use_candidate = True
        else:
            pair.checked_plainly = True
        if pair.state is not _SUCCEEDED and (not end.controlling or selection.wants(pair)):
            if pair.state is _IN_PROGRESS:
                self._checks.cancel(pair)
            self.checklist.trigger(pair)

    def _validate(self, pair: Pair, now: float) -> None:
        """Take the peer's check for ours: a lite agent sends none (RFC 8445 section 7.3.2)."""
        pair.state = _SUCCEEDED
        pair.answered = now
        if self.selection.pair is pair:
            self.selection.answered(pair, now)

    # Consent (RFC 7675) and what to do without

    def _tend_consent(self, now: float) -> bool:
        """Ask for consent when it is due, stop when it has expired, look for another path in doubt.

        Returns False when everything has ended.
        Source: RFC 7675 section 5.1.
        """
        selection, options = self.selection, self._end.options
        pair, consent = selection.pair, selection.consent
        if pair is None or consent is None:
            return True
        if now >= consent.expires:
            pair.fail("consent expired")
            if not selection.fall_back(now):
                self.fail(f"consent expired: no answer from the peer for {options.consent_expiry:g} s")
                return False
            return True
        if now >= consent.next_check:
            # Sent once only; an answer is good until consent expires.
            self._end.stats.consent_requests_sent += 1
            self._send_request(pair, now, (0.0, options.consent_expiry), is_consent=True)
            consent.check_sent(now)
            if consent.is_overdue(now):
                # At 20 % loss six single requests in 30 s are all lost now and then, yet data gets through.
                # Where answers are missing the pair is checked, too, as checks are retransmitted. Anew each
                # time: the later retransmissions of one check are as rare as these requests.
                self.checklist.trigger(pair)
        if now >= consent.doubtful_at and not consent.has_searched:
            consent.has_searched = True
            self._search()
        return True

    def _leave_selected(self, now: float) -> None:
        """Go on without the selected pair, whose base is gone."""
        if self.selection.fall_back(now):
            return
        if self.is_retired:
            self.fail("the local address of the selected pair is gone")
            return
        self._gives_up = now + self._end.options.consent_expiry
        self._search()

    def _search(self) -> None:
        """Check every other pair, those too that were not worth a check while one was nominated."""
        self.checklist.revive(self.selection.pair)
        for base in self._end.candidates.bases.values():
            for remote in list(self.remote.values()):
                self._form_pair(base, remote)
