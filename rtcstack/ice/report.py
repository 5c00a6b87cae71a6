"""What became of the search for a path, as data, and a guess in plain words at why it failed."""

from __future__ import annotations

from dataclasses import dataclass

from rtcstack.ice.candidate import Candidate, is_private, is_same_network
from rtcstack.ice.events import Drops, IceState
from rtcstack.ice.generation import Generation
from rtcstack.ice.local_end import LocalEnd
from rtcstack.ice.pair import Pair, PairState

__all__ = ["PairReport", "Report", "make_report"]


@dataclass(frozen=True, slots=True)
class PairReport:
    """One pair of candidates and what became of it.

    is_selected         whether data goes by it.
    rtt                 seconds, 0.0 before the first answer.
    requests_sent       checks and consent requests, retransmissions included.
    responses_received  authenticated answers.
    requests_received   authenticated checks of the peer.
    reason              why it is not usable, in words; "" if nothing is known against it.
    """

    local: Candidate
    remote: Candidate
    state: PairState
    is_nominated: bool
    is_selected: bool
    rtt: float
    requests_sent: int
    responses_received: int
    requests_received: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The state of an agent since its last restart.

    local, remote       candidates of both sides, peer-reflexive ones included.
    pairs               the best first.
    left_out            remote candidates that could not be used: how many and why, in words.
    has_foreign_keys    whether requests or answers came that other credentials had signed.
    strangers           private addresses of the peer at which somebody refuses our credentials: the peer,
                        or another host that has the same address in our network.
    own                 private addresses of the peer that are ours, too.
    relay_only          whether only relayed candidates may be used.
    """

    state: IceState
    controlling: bool
    local: tuple[Candidate, ...]
    remote: tuple[Candidate, ...]
    pairs: tuple[PairReport, ...]
    left_out: tuple[str, ...]
    has_foreign_keys: bool
    strangers: tuple[str, ...]
    own: tuple[str, ...]
    relay_only: bool

    @property
    def guess(self) -> str:
        """What is most probably wrong and what would help, in plain words; "" while there is a path."""
        if any(pair.is_selected for pair in self.pairs):
            return ""
        if self.state is IceState.NEW:
            return "checks have not begun: the peer's description is not here"
        if not self.local:
            if self.relay_only:
                return "only relays may be used and there is none: look at what the TURN servers answered"
            return "no usable network interface was found"
        if not self.remote:
            if any("host name" in each for each in self.left_out):
                return "the peer hides its addresses behind .local names that were not resolved"
            return "the peer named no address that can be used, and none of its checks arrived"
        if not self.pairs:
            return "the two sides have no address family and transport in common"
        if self.has_foreign_keys:
            return "the credentials do not match, one description may be of another session"
        if any(pair.requests_received for pair in self.pairs):
            return (
                "the peer's checks arrive here, but it is not reached from here: "
                "a firewall or NAT lets only one direction through"
            )
        guess = self._guess_from_candidates()
        if self.strangers:
            return (
                f"{guess} (at {', '.join(self.strangers)} somebody refuses our checks: another host of that "
                f"address in this network, or, if it is the peer, the credentials do not match)"
            )
        return guess

    def _guess_from_candidates(self) -> str:
        """Guess what kind of candidate would have helped."""
        elsewhere = (*self.strangers, *self.own)
        if any(
            is_same_network(pair.local.address, pair.remote.address)
            for pair in self.pairs
            if pair.remote.address not in elsewhere
        ):
            return "a firewall or NAT is in the way, or the peer is gone"
        if any(each.type == "relay" for each in (*self.local, *self.remote)):
            return "not even a relay helps: a firewall blocks UDP, the relay refuses, or the peer is gone"
        ours, theirs = _is_hidden(self.local), _is_hidden(self.remote)
        if ours and theirs:
            return "both sides have only host candidates, in different networks: add a STUN server"
        if ours or theirs:
            side = "our side" if ours else "the peer"
            return f"{side} has only host candidates of a private network: add a STUN server there"
        return "a firewall or a symmetric NAT is in the way, or the peer is gone: add a TURN server"

    def failure(self, patience: float) -> str:
        """Say why no pair became valid.

        patience    seconds waited.
        """
        left_out = f" (left out: {', '.join(self.left_out)})" if self.left_out else ""
        if not self.local:
            return f"no local candidates: {self.guess}"
        if not self.remote:
            return f"no remote candidates within {patience:g} s{left_out}: {self.guess}"
        if not self.pairs:
            return f"no candidate pairs with {len(self.remote)} remote candidates{left_out}: {self.guess}"
        sent = sum(pair.requests_sent for pair in self.pairs)
        received = sum(pair.requests_received for pair in self.pairs)
        return (
            f"none of {len(self.pairs)} candidate pairs was answered within {patience:g} s "
            f"({sent} requests sent, {received} of the peer's arrived){left_out}: {self.guess}"
        )


def _is_hidden(candidates: tuple[Candidate, ...]) -> bool:
    return all(each.type == "host" and is_private(each.address) for each in candidates)


def make_report(end: LocalEnd, generation: Generation) -> Report:
    """Collect what one generation knows."""
    selected = generation.selection.pair
    pairs = list(generation.checklist)
    refused = [pair.remote for pair in pairs if pair.reason.startswith("refused with 401")]
    private = [each for each in generation.remote.values() if _is_hidden((each,))]
    own = {each.address for each in private if end.candidates.has_ip(each.address)}
    strangers = {each.address for each in refused if each in private} - own
    if selected is not None and selected not in pairs:
        pairs.append(selected)  # The path of before a restart.
    return Report(
        state=generation.state,
        controlling=end.controlling,
        local=tuple(end.candidates.all),
        remote=tuple(generation.remote.values()),
        pairs=tuple(_report_pair(pair, is_selected=pair is selected) for pair in pairs),
        left_out=_left_out(end.drops),
        has_foreign_keys=bool(
            generation.has_foreign_keys
            or end.drops.unauthenticated_response
            or any(each not in private for each in refused)
        ),
        strangers=tuple(sorted(strangers)),
        own=tuple(sorted(own)),
        relay_only=end.options.relay_only,
    )


def _report_pair(pair: Pair, *, is_selected: bool) -> PairReport:
    return PairReport(
        local=pair.local,
        remote=pair.remote,
        state=pair.state,
        is_nominated=pair.nominated,
        is_selected=is_selected,
        rtt=pair.rtt,
        requests_sent=pair.requests_sent,
        responses_received=pair.responses_received,
        requests_received=pair.requests_received,
        reason=pair.reason,
    )


def _left_out(drops: Drops) -> tuple[str, ...]:
    counts = (
        (drops.remote_host_name, "with host names"),
        (drops.remote_tcp, "for TCP"),
        (drops.remote_unusable, "with unusable addresses"),
        (drops.remote_filtered, "refused by the filter"),
        (drops.remote_late, "after the end of candidates"),
        (drops.remote_other_generation, "from before a restart"),
    )
    return tuple(f"{count} {what}" for count, what in counts if count)
