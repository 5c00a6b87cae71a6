"""Which pair carries data: the first valid one, the nominated one, the next one when it goes silent."""

from __future__ import annotations

import math

from rtcstack.ice.checklist import Checklist
from rtcstack.ice.consent import Consent
from rtcstack.ice.local_end import LocalEnd
from rtcstack.ice.pair import Pair, PairState
from rtcstack.ice.remote_candidates import RemoteCandidates

__all__ = ["Selection"]


class Selection:
    """The selected pair of one generation and its consent (RFC 8445 sections 8 and 12.1, RFC 7675).

    pair            None before the first is valid, and when it is lost.
    consent         of that pair.
    had_pair        whether there has been one.
    nominating      the pair whose check with USE-CANDIDATE waits or is under way.
    """

    __slots__ = (
        "_checklist",
        "_end",
        "_remote",
        "_renomination_due",
        "_settled",
        "consent",
        "had_pair",
        "nominating",
        "pair",
    )

    def __init__(self, end: LocalEnd, checklist: Checklist, remote: RemoteCandidates) -> None:
        self._end = end
        self._checklist = checklist
        self._remote = remote
        self._settled = math.inf
        self._renomination_due = math.inf
        self.pair: Pair | None = None
        self.consent: Consent | None = None
        self.had_pair = False
        self.nominating: Pair | None = None

    def _select(self, pair: Pair, now: float) -> None:
        options = self._end.options
        self.pair = pair
        self.consent = Consent(now, pair.answered, options, self._end.random_bytes)
        self.had_pair = True
        self._settled = now + max(options.settle, 2 * pair.rtt)

    def lose(self) -> None:
        """Send by no pair any more."""
        self.pair = self.consent = self.nominating = None

    def fall_back(self, now: float) -> bool:
        """Select the best valid pair whose consent has not expired; False if there is none."""
        self.lose()
        for pair in self._checklist:
            if pair.state is PairState.SUCCEEDED and now < pair.answered + self._end.options.consent_expiry:
                self._select(pair, now)
                return True
        return False

    def wants(self, pair: Pair) -> bool:
        """Tell whether it would help if this pair were valid: until one is nominated, any would.

        Later a better one would, and any when the selected one has gone silent.
        """
        selected, consent = self.pair, self.consent
        return (
            selected is None
            or consent is None
            or not selected.nominated
            or pair.priority > selected.priority
            or consent.has_searched
        )

    def answered(self, pair: Pair, now: float) -> None:
        """Note that a check of a pair has just succeeded: it may be the first, or the way out of silence."""
        selected, consent = self.pair, self.consent
        if selected is None or consent is None:
            self._select(pair, now)
        elif pair is selected:
            consent.refresh(now)
        elif now >= consent.doubtful_at:
            selected.fail("went silent")
            self._checklist.trigger(selected)  # It may come back, and was the better one.
            self._select(pair, now)
        elif pair.nominated and not selected.nominated:
            self._select(pair, now)  # The path on which both had agreed is back.

    def nomination_due(self) -> float:
        """When to nominate the best valid pair; inf if that is not for us to do, or done.

        At once if no better pair can become valid: none is pending, and none can be trickled because both
        candidates are of the host type or the peer has told all of its own. Otherwise after `settle`.
        """
        selected = self.pair
        if selected is None or self.nominating is not None or not self._end.controlling:
            return math.inf
        best, better_pending = self._checklist.best_valid()
        if best is None:
            return math.inf
        if selected.nominated:
            # DEVIATION RFC 8445 §8.1.1: a better pair that becomes valid later is nominated too. Every peer
            # seen takes it, as it takes the nominations of an aggressive one; a relay need not carry data for
            # days because a packet of the direct path was lost.
            return self._renomination_due if best.priority > selected.priority else math.inf
        final = self._remote.has_ended or best.local.type == best.remote.type == "host"
        return self._settled if better_pending or not final else -math.inf

    def start_nomination(self) -> None:
        """Check the best valid pair once more, this time with USE-CANDIDATE (RFC 8445 section 8.1.1)."""
        self.nominating, _ = self._checklist.best_valid()
        if self.nominating is not None:
            self._checklist.trigger(self.nominating)

    def nominate(self, pair: Pair, now: float) -> bool:
        """Conclude with a valid pair that has been nominated; False if nothing changes."""
        selected = self.pair
        if pair is selected and pair.nominated:
            return False
        if not self._follows(pair, now):
            self._end.drops.use_candidate_ignored += 1
            return False
        for other in self._checklist:
            other.nominated = False
        pair.nominated = True
        self.nominating = None
        self._renomination_due = now + self._end.options.renomination_interval
        if selected is not pair:
            self._select(pair, now)
        return True

    def _follows(self, pair: Pair, now: float) -> bool:
        """Tell whether a nomination moves us away from a nominated pair.

        An aggressive peer nominates every pair that works with every check: of these the best is selected
        (RFC 8445 section 8.1.1). Not so when the peer has checked the pair without nominating it before, for
        then it has made up its mind; nor when the selected pair has gone silent.
        """
        selected, consent = self.pair, self.consent
        return (
            selected is None
            or consent is None
            or not selected.nominated
            or self._end.controlling
            or pair.priority >= selected.priority
            or pair.checked_plainly
            or now >= consent.silent_at
        )
