"""One peer connection as one sans-IO object: its negotiation, on top of what carries its messages."""

from __future__ import annotations

import base64
from collections.abc import Callable

from rtcstack import ice
from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.sdp import (
    CandidateLine,
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
from rtcstack.session.negotiator import Negotiator
from rtcstack.session.options import SessionOptions
from rtcstack.session.stats import (
    Stats,
    TransportStats,
    candidate_stats,
    certificate_stats,
    channel_stats,
    counters,
    pair_stats,
)
from rtcstack.session.transport import PeerTransport

__all__ = ["PeerSession"]


class PeerSession(PeerTransport):
    """ICE, DTLS, SCTP and the channels of one connection, and the negotiation that joins two of them.

    It owns no socket and no clock.  Whoever drives it
      - calls a command or receive() or handle_timeout(), then
      - sends what take_packets() gives, again while `deadline` is over, and reads take_events().

    random_bytes    n -> n unpredictable bytes, for every secret of every layer.
    tag             how the log calls it.

    deadline        seconds, on the driver's clock, at which handle_timeout() and then take_packets() are due:
                    -inf, take_packets() alone and at once, after whatever may have left something to send;
                    math.inf for never.
    reason          why the connection failed or ended, a sentence; "" before that.
    max_send_size   largest message that can be sent, bytes; 0 is no limit.
    route           (local, remote) of a path whose MTU is to be asked of the system: route_found() answers;
                    else None.
    may_fragment    True while datagrams may be cut on the way: they are larger than the path carries now.
    woken           called when `deadline` becomes -inf; for a driver of many sessions, which cannot ask each.
    activity        counts what may concern the application: data and acknowledgements in, events out.
    tap             hears every datagram and every SCTP packet, see Tap; None for nobody.
    wants_sockets   True while candidates are to be gathered: call add_local_address() for each socket,
                    and end_of_local_candidates().
    is_finished     True when nothing is left to send or to wait for: the sockets may go.
    """

    def __init__(
        self,
        *,
        random_bytes: Callable[[int], bytes],
        options: SessionOptions = SessionOptions(),
        tag: str = "-",
    ) -> None:
        super().__init__(random_bytes, options, tag)
        self._negotiator = Negotiator(int.from_bytes(random_bytes(8)) >> 2, lite=options.ice.lite)
        # Names the DTLS association, which lasts as long as the session: 20 characters (RFC 8842 section 4).
        self._tls_id = base64.urlsafe_b64encode(random_bytes(15)).decode()
        self._early_candidates: list[str] = []
        self._is_replaying = False
        self._was_taken_back = False
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
        self._negotiator.require_stable()
        agent = self._agent or self._start_ice(controlling=True)
        if self._remote is None:
            agent.set_controlling(True)  # an offer of the peer may have been taken back
        elif restart_ice:
            agent.restart()
            self._gather_again(agent)
        self._tell("offer", self._negotiator.offer(self._local_parameters(agent, "actpass")))
        self._start_gathering()

    @command
    def create_answer(self, now: float, *, provisional: bool = False) -> None:
        """Answer the peer's offer and apply both; LocalDescription brings the text.

        Only where `answer_at_once` is False: otherwise set_remote_description() has done it.

        provisional     make a "pranswer", which starts the transport; another one or the answer may follow.

        Raises:
            InvalidState: no offer of the peer waits for an answer, or the session is closed.
        Source: RFC 8829 section 4.1.10.1.
        """
        self._require_alive()
        self._answer("pranswer" if provisional else "answer", now)

    @command
    def set_local_description(self, kind: str, text: str) -> None:
        """Accept a description made here: it is in force already.  "rollback" takes a pending offer back.

        Raises:
            InvalidParameter, SdpError: the description was not made here.
            InvalidState: there is nothing to apply or to roll back.
        """
        self._require_alive()
        if kind == "rollback":
            self._roll_back("local")
        else:
            self._negotiator.check_local(kind, text)

    @command
    def set_remote_description(self, kind: str, text: str, now: float) -> None:
        """Apply the peer's description.

        An offer takes back a pending one of ours; if `answer_at_once` is set it is answered, and
        LocalDescription brings the answer.  "rollback" takes a pending offer back, whichever side's it is.

        Raises:
            SdpError: the text cannot be read or does not fit; nothing has changed.
            InvalidState, InvalidParameter: the type does not fit the signaling state, or is none.
        """
        self._require_alive()
        match kind:
            case "offer":
                self._take_offer(text)
                if self.options.answer_at_once:
                    self._answer("answer", now)
            case "answer" | "pranswer":
                self._take_answer(kind, text, now)
            case "rollback":
                self._roll_back("remote")
            case _:
                raise InvalidParameter(
                    f"unknown remote description type {kind!r}: use offer, answer, pranswer or rollback"
                )

    @command
    def add_remote_candidate(self, line: str) -> None:
        """Add a candidate of the peer, a "candidate:" line; "" says that no more will come.

        Candidates that come before the remote description are kept until it is applied.

        Raises:
            SdpError: the line is no candidate.
            Closed: the session is closed.
        """
        self._require_alive()
        candidate = None if is_end_of_candidates(line) else parse_candidate(line)
        agent, remote = self._agent, self._remote
        if agent is None or remote is None or (not self._is_replaying and self._is_early(candidate, remote)):
            if len(self._early_candidates) < self.options.max_early_candidates:
                self._early_candidates.append(line)
            else:
                self.drops["early_overflow"] += 1
        elif candidate is None:
            self._end_remote(agent, remote.ufrag)
        else:
            self._add_remote(agent, candidate, candidate.ufrag or remote.ufrag)

    def _is_early(self, candidate: CandidateLine | None, remote: RemoteParameters) -> bool:
        """Tell whether a candidate belongs to a description that is still to be applied, as in a restart."""
        if candidate is None or candidate.ufrag is None:
            return self._negotiator.state is SignalingState.HAVE_REMOTE_OFFER
        return candidate.ufrag != remote.ufrag

    def _take_offer(self, text: str) -> None:
        offer = self._negotiator.read_offer(text, self._role)
        if self._negotiator.state is SignalingState.HAVE_LOCAL_OFFER:
            self._roll_back("local")
        self._negotiator.take_offer(offer)
        self._signaling_changed()

    def _answer(self, kind: str, now: float) -> None:
        offer = self._negotiator.require_offer(kind)
        remote = offer.parameters
        agent = self._agent or self._start_ice(controlling=False)
        if remote is not None and remote is not self._remote:
            if self._remote is None:
                # An own first offer may have been rolled back: the answerer is the controlled side.
                agent.set_controlling(remote.ice_lite)
            self._apply_remote(remote, offer.setup, now)
        self._tell(kind, self._negotiator.answer(kind, self._local_parameters(agent, offer.setup)))
        if remote is not None:
            self._start_gathering()
            self._take_early(now)
        elif self._remote is not None:
            self._end(ConnectionState.CLOSED, "the peer has switched the data channels off")

    def _take_answer(self, kind: str, text: str, now: float) -> None:
        answer = self._negotiator.read_answer(kind, text, self._role)
        assert answer.parameters is not None  # an answer that has none does not answer our offer
        self._negotiator.apply_answer(kind, answer)
        self._apply_remote(answer.parameters, answer.setup, now)
        self._signaling_changed()
        self._take_early(now)

    def _roll_back(self, source: str) -> None:
        is_ours = self._negotiator.state is SignalingState.HAVE_LOCAL_OFFER
        self._negotiator.rollback(source)
        if not is_ours:
            self._early_candidates.clear()
        elif self._agent is not None:
            self._agent.abandon_restart()
            # The candidates went out for an offer that is void: the next description brings them again.
            self._was_taken_back = self._remote is None
        self._media = self._negotiator.media
        self._signaling_changed()

    def _tell(self, kind: str, text: str) -> None:
        """Hand a description that was made and applied to the application."""
        self._media = self._negotiator.media
        self._events.append(LocalDescription(kind, text))
        self._signaling_changed()
        if self._was_taken_back:
            self._was_taken_back = False
            self._announce_again()

    def _local_parameters(self, agent: ice.Agent, setup: str) -> LocalParameters:
        return LocalParameters(
            session_id=0,
            session_version=0,
            ufrag=agent.ufrag,
            password=agent.password,
            fingerprints=(("sha-256", self._certificate.fingerprint("sha-256")),),
            setup=setup,
            # RFC 8445 section 10: who is compliant must say so; an old peer then nominates regularly, too.
            ice_options=("trickle", "ice2"),
            ice_lite=self.options.ice.lite,
            max_message_size=self.options.max_message_size,
            sctp_init=self._prepared.local_init() if self._prepared and self.options.snap else None,
            tls_id=self._tls_id,
        )

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
            self._log.warning("a connection has failed\n%s", self.explain())

    # -- looking inside ----------------------------------------------------------------------------

    def get_stats(self) -> Stats:
        """Take a snapshot of every layer."""
        agent, endpoint, association = self._agent, self._dtls, self._association
        drops = counters("session", self.drops) | counters("channel", self.channels.drops)
        if agent is not None:
            drops |= counters("ice", agent.drops)
        if endpoint is not None:
            drops |= counters("dtls", endpoint.drops)
        if association is not None:
            drops |= counters("sctp", association.stats.drops)
        pair = agent.selected if agent is not None else None
        own, theirs = self._own_certificate, endpoint.peer_certificate if endpoint is not None else b""
        return Stats(
            connection_state=self.connection_state.name,
            gathering_state=self.gathering_state.name,
            signaling_state=self.signaling_state.name,
            transport=self._transport_stats(),
            selected_pair=None if pair is None else pair_stats(pair),
            local_candidates=() if agent is None else tuple(map(candidate_stats, agent.local_candidates)),
            remote_candidates=() if agent is None else tuple(map(candidate_stats, agent.remote_candidates)),
            local_certificate=None if own is None else certificate_stats(own.der),
            remote_certificate=certificate_stats(theirs) if theirs else None,
            sctp=None if association is None else association.snapshot(),
            channels=tuple(
                [channel_stats(channel, self.buffered_amount(channel)) for channel in self.channels.all]
            ),
            drops=drops,
        )

    def _transport_stats(self) -> TransportStats:
        agent, endpoint = self._agent, self._dtls
        return TransportStats(
            packets_sent=self._packets_sent,
            packets_received=self._packets_received,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            ice_role="unknown" if agent is None else "controlling" if agent.controlling else "controlled",
            ice_state="new" if agent is None else agent.state.name.lower(),
            ice_local_username_fragment="" if agent is None else agent.ufrag,
            dtls_role={"active": "client", "passive": "server"}.get(self._role or "", "unknown"),
            dtls_state="new" if endpoint is None else endpoint.state.name.lower(),
            tls_version="" if endpoint is None else endpoint.version,
            dtls_cipher="" if endpoint is None else endpoint.cipher,
            dtls_records_sent=0 if endpoint is None else endpoint.stats.records_out,
            dtls_records_received=0 if endpoint is None else endpoint.stats.records_in,
            dtls_handshake_resends=0 if endpoint is None else endpoint.stats.handshake_resends,
            selected_candidate_pair_changes=self._pair_changes,
        )

    def explain(self) -> str:
        """Say in words what was tried to connect, and what most probably stands in the way."""
        report = self._agent.report() if self._agent is not None else None
        servers = self._gatherer.outcomes() if self._gatherer is not None else []
        return explain(self.get_stats(), self.reason, report, servers)
