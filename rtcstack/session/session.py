"""One peer connection as one sans-IO object: its negotiation, on top of what carries its messages."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rtcstack import ice
from rtcstack.errors import InvalidParameter, InvalidState, SdpError
from rtcstack.sdp import (
    LocalParameters,
    RemoteParameters,
    SignalingState,
    is_end_of_candidates,
    parse_candidate,
)
from rtcstack.session.command import command
from rtcstack.session.events import (
    ConnectionState,
    GatheringState,
    LocalDescription,
    SignalingStateChanged,
)
from rtcstack.session.explain import explain
from rtcstack.session.negotiator import Negotiator, setup_for_answer
from rtcstack.session.options import SessionOptions
from rtcstack.session.stats import DtlsStats, PairStats, Stats, channel_stats, counters
from rtcstack.session.transport import PeerTransport

__all__ = ["PeerSession"]

_logger = logging.getLogger("rtcstack.session")


class PeerSession(PeerTransport):
    """ICE, DTLS, SCTP and the channels of one connection, and the negotiation that joins two of them.

    It owns no socket and no clock.  Whoever drives it
      - calls a command or receive() or handle_timeout(), then
      - sends what take_packets() gives, again while `deadline` is over, and reads take_events().

    random_bytes    n -> n unpredictable bytes, for every secret of every layer.

    deadline        seconds, on the driver's clock, at which handle_timeout() and then take_packets() are due:
                    -inf, at once, after whatever may have left something to send; math.inf for never.
    reason          why the connection failed or ended, a sentence; "" before that.
    max_send_size   largest message that can be sent, bytes; 0 is no limit.
    activity        counts what may concern the application: data and acknowledgements in, events out.
    wants_sockets   True while candidates are to be gathered: call add_local_address() for each socket,
                    and end_of_local_candidates().
    is_finished     True when nothing is left to send or to wait for: the sockets may go.
    """

    def __init__(
        self, *, random_bytes: Callable[[int], bytes], options: SessionOptions = SessionOptions()
    ) -> None:
        super().__init__(random_bytes, options)
        # Session ids stay below 2**62: Firefox refuses larger ones.
        self._negotiator = Negotiator(int.from_bytes(random_bytes(8)) >> 2)
        self._early_candidates: list[str] = []
        self._is_replaying = False
        self._signaled = SignalingState.STABLE

    # -- negotiation -------------------------------------------------------------------------------

    @property
    def signaling_state(self) -> SignalingState:
        """Where the offer/answer exchange stands."""
        return SignalingState.CLOSED if self._is_ending else self._negotiator.state

    @property
    def local_description(self) -> str:
        """Our description in force, with the candidates gathered so far; "" before the first."""
        agent = self._agent
        lines = (
            tuple(self._describe(candidate, agent.ufrag) for candidate in agent.told_candidates)
            if agent is not None
            else ()
        )
        complete = self.gathering_state is GatheringState.COMPLETE
        return self._negotiator.local_description(lines, complete=complete)

    @command
    def create_offer(self, *, restart_ice: bool = False) -> None:
        """Make an offer, apply it, and start gathering; LocalDescription brings the text.

        restart_ice     look for a path anew, with fresh credentials; the one in use stays until there is one
                        (RFC 8445 section 9).

        Raises:
            InvalidState: there is no channel to negotiate, an offer is pending, or the session is closed.
        """
        self._require_alive()
        if not self._negotiator.has_local and self.channels.is_empty:
            raise InvalidState("there is nothing to negotiate: create a data channel before the offer")
        agent = self._agent or self._start_ice(controlling=True)
        self._negotiator.require_stable()
        if restart_ice and self._negotiator.remote is not None:
            agent.restart()
            self._gather_again(agent)
        text = self._negotiator.offer(self._local_parameters(agent, "actpass"))
        self._media = self._negotiator.media
        self._events.append(LocalDescription("offer", text))
        self._signaling_changed()
        self._start_gathering()

    @command
    def set_local_description(self, kind: str, text: str) -> None:
        """Accept a description made here: it is in force already.  "rollback" takes a pending offer back.

        Raises:
            InvalidParameter, SdpError: the description was not made here.
            InvalidState: there is nothing to apply or to roll back.
        """
        self._require_alive()
        if kind == "rollback":
            self._negotiator.rollback()
            self._media = self._negotiator.media
            if self._agent is not None:
                self._agent.abandon_restart()
        else:
            self._negotiator.check_local(kind, text)
        self._signaling_changed()

    @command
    def set_remote_description(self, kind: str, text: str, now: float) -> None:
        """Apply the peer's description; an offer is answered at once, LocalDescription brings the answer.

        Raises:
            SdpError: the text cannot be read or does not fit; nothing has changed.
            InvalidState, InvalidParameter: the type does not fit the signaling state, or is none.
        """
        self._require_alive()
        if kind == "offer":
            self._receive_offer(text, now)
        elif kind in ("answer", "pranswer"):
            answer = self._negotiator.read_answer(kind, text)
            self._refuse_other_peer(answer.parameters)
            setup = "passive" if answer.parameters.setup == "active" else "active"
            self._negotiator.apply_answer(kind, answer)
            self._apply_remote(answer.parameters, setup, now)
        else:
            raise InvalidParameter(f"unknown remote description type {kind!r}: use offer, answer or pranswer")
        self._signaling_changed()
        self._take_early(now)

    @command
    def add_remote_candidate(self, line: str) -> None:
        """Add a candidate of the peer, a "candidate:" line; "" says that no more will come.

        Candidates that come before the remote description are kept until it is here.

        Raises:
            SdpError: the line is no candidate.
            Closed: the session is closed.
        """
        self._require_alive()
        candidate = None if is_end_of_candidates(line) else parse_candidate(line)
        agent, remote = self._agent, self._negotiator.remote
        known = () if remote is None else (None, remote.parameters.ufrag)
        is_early = candidate is not None and candidate.ufrag not in known
        if agent is None or remote is None or (is_early and not self._is_replaying):
            # Of a description that is still on its way: the first, or one that restarts ICE.
            if len(self._early_candidates) < self.options.max_early_candidates:
                self._early_candidates.append(line)
            else:
                self.drops["early_overflow"] += 1
        elif candidate is None:
            self._end_remote(agent, remote.parameters.ufrag)
        else:
            self._add_remote(agent, candidate, candidate.ufrag or remote.parameters.ufrag)

    def _receive_offer(self, text: str, now: float) -> None:
        offer = self._negotiator.read_offer(text)
        self._refuse_other_peer(offer.parameters)
        remote = offer.parameters
        setup = setup_for_answer(remote.setup, self._role)
        agent = self._agent or self._start_ice(controlling=remote.ice_lite)
        if self._dtls is None:
            # An own first offer may just have been rolled back: the answerer is the controlled side.
            agent.set_controlling(remote.ice_lite)
        if self._negotiator.state is SignalingState.HAVE_LOCAL_OFFER:
            agent.abandon_restart()
        self._apply_remote(remote, setup, now)
        answer = self._negotiator.answer(offer, self._local_parameters(agent, setup))
        self._media = self._negotiator.media
        self._events.append(LocalDescription("answer", answer))
        self._start_gathering()

    def _local_parameters(self, agent: ice.Agent, setup: str) -> LocalParameters:
        return LocalParameters(
            session_id=0,
            session_version=0,
            ufrag=agent.ufrag,
            password=agent.password,
            fingerprints=(("sha-256", self._certificate.fingerprint("sha-256")),),
            setup=setup,
            ice_lite=self.options.ice.lite,
            max_message_size=self.options.max_message_size,
            sctp_init=self._prepared.local_init() if self._prepared and self.options.snap else None,
        )

    def _refuse_other_peer(self, remote: RemoteParameters) -> None:
        """Refuse a peer that nothing can come of: the certificate of the DTLS connection that runs stays.

        Source: RFC 8842 section 5; two lite agents would wait for each other's checks.
        """
        if remote.ice_lite and self.options.ice.lite:
            raise SdpError("both sides are ICE-lite, so nobody would check the path: one must not be")
        before = self._negotiator.remote
        if before is not None and set(remote.fingerprints).isdisjoint(before.parameters.fingerprints):
            raise SdpError("the fingerprint has changed: a running connection keeps its certificate")

    def _take_early(self, now: float) -> None:
        """Use what came before the remote description."""
        candidates, self._early_candidates = self._early_candidates, []
        self._is_replaying = True
        for line in candidates:
            self.add_remote_candidate(line)
        self._is_replaying = False
        self._take_early_datagrams(now)

    def _signaling_changed(self) -> None:
        if self.signaling_state is not self._signaled:
            self._signaled = self.signaling_state
            self._events.append(SignalingStateChanged(self._signaled))

    def _end(self, state: ConnectionState, reason: str) -> None:
        if not self._is_ending:
            super()._end(state, reason)
            self._signaling_changed()

    def _set_connection_state(self, state: ConnectionState, reason: str = "") -> None:
        has_failed = state is ConnectionState.FAILED and self.connection_state is not state
        super()._set_connection_state(state, reason)
        if has_failed:
            _logger.warning("a connection has failed\n%s", self.explain())

    # -- looking inside ----------------------------------------------------------------------------

    def get_stats(self) -> Stats:
        """Take a snapshot of every layer."""
        agent, endpoint, association = self._agent, self._dtls, self._association
        pair = agent.selected if agent is not None else None
        drops = counters("session", self.drops) | counters("channel", self.channels.drops)
        if agent is not None:
            drops |= counters("ice", agent.drops)
        if endpoint is not None:
            drops |= counters("dtls", endpoint.drops)
        if association is not None:
            drops |= counters("sctp", association.stats.drops)
        return Stats(
            connection_state=self.connection_state.name,
            gathering_state=self.gathering_state.name,
            signaling_state=self.signaling_state.name,
            selected_pair=None
            if pair is None
            else PairStats(
                pair.local_address, pair.local.type, pair.remote_address, pair.remote.type, pair.rtt
            ),
            dtls=None if endpoint is None else DtlsStats(endpoint.version, endpoint.cipher),
            sctp=None if association is None else association.stats,
            channels=tuple(
                channel_stats(channel, self.buffered_amount(channel)) for channel in self.channels.all
            ),
            drops=drops,
        )

    def explain(self) -> str:
        """Say in words what was tried to connect, and what most probably stands in the way."""
        report = self._agent.report() if self._agent is not None else None
        return explain(self.get_stats(), self.reason, report, self._candidate_errors)
