"""The offer/answer exchange of one connection: its state, and the descriptions in force (RFC 8829)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from rtcstack.errors import InvalidParameter, InvalidState, SdpError
from rtcstack.sdp import (
    CandidateLine,
    LocalParameters,
    RemoteParameters,
    SessionDescription,
    SignalingState,
    answer_setup,
    check_answer,
    check_update,
    data_section,
    line_of,
    next_state,
    read_remote,
    write_answer,
    write_offer,
)

__all__ = ["Negotiator", "RemoteDescription"]

_TYPES = ("offer", "answer", "pranswer", "rollback")
_STABLE = SignalingState.STABLE
_HAVE_LOCAL_OFFER = SignalingState.HAVE_LOCAL_OFFER


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """A description of the peer, read and checked.

    description     as it was parsed.
    parameters      what it says about the data channels; None: it is an offer that has none for us.
    setup           our DTLS role with it, "active" or "passive".
    """

    description: SessionDescription
    parameters: RemoteParameters | None
    setup: str


@dataclass(frozen=True, slots=True)
class _LocalDescription:
    """A description of ours, with what it was made from: candidates can be added to it later."""

    description: SessionDescription
    parameters: LocalParameters
    offer: SessionDescription | None
    previous: SessionDescription | None

    def text(self, candidates: tuple[CandidateLine, ...] = (), *, complete: bool = False) -> str:
        parameters = replace(self.parameters, candidates=candidates, end_of_candidates=complete)
        if self.offer is not None:
            return write_answer(self.offer, parameters).write()
        return write_offer(parameters, self.previous).write()


class Negotiator:
    """Which descriptions are in force, and what the next one must say.

    The exchange is sdp's table of states; here is what goes with each step.  A method that raises leaves
    everything as it was.

    session_id  below 2**62: Firefox refuses larger ones.
    lite        our ICE agent is a lite one.

    state       the signaling state.
    remote      the peer's description in force, that of a provisional answer too; None before the first.
    offered     the peer's offer that waits for our answer.
    """

    def __init__(self, session_id: int, *, lite: bool = False) -> None:
        self.state = _STABLE
        self.remote: RemoteDescription | None = None
        self.offered: RemoteDescription | None = None
        self._local: _LocalDescription | None = None
        self._session_id = session_id
        self._lite = lite
        # Goes up with every description that is made, also with one that is taken back (RFC 8829 §5.2.2).
        self._version = -1
        # What a rollback returns to, while an offer is pending.
        self._stable: _LocalDescription | None = None
        # What was made here: a late signal may bring one back that is no longer in force.
        self._made: deque[tuple[str, ...]] = deque(maxlen=16)

    @property
    def has_local(self) -> bool:
        """Whether a description of ours is pending or in force."""
        return self._local is not None

    @property
    def media(self) -> tuple[str, int]:
        """Identification and m-line index of our data section; candidates belong to it."""
        section = data_section(self._local.description) if self._local is not None else None
        return (section.mid, section.index) if section is not None else ("0", 0)

    # -- our offer ---------------------------------------------------------------------------------

    def require_stable(self) -> None:
        """Check that an offer of ours may be made.

        Raises:
            InvalidState: an offer is pending already.
        """
        if self.state is not _STABLE:
            raise InvalidState(
                f"an offer needs SIGNALING_STATE_STABLE, this is {self.state.name}: wait for the answer, or "
                'take the pending offer back with set_local_description("rollback", "")'
            )

    def offer(self, parameters: LocalParameters) -> str:
        """Make an offer and apply it as our description; returns its text.

        Raises:
            InvalidState: an offer is pending already.
        """
        self.require_stable()
        previous = self._local.description if self._local is not None else None
        parameters = self._versioned(parameters)
        offer = write_offer(parameters, previous)
        self.state = next_state(self.state, "local", "offer")
        self._stable = self._local
        return self._apply(_LocalDescription(offer, parameters, None, previous))

    def read_answer(self, kind: str, text: str, role: str | None) -> RemoteDescription:
        """Read the peer's answer, kind "answer" or "pranswer", without applying it.

        role    our DTLS role, "active" or "passive", once DTLS runs.

        Raises:
            SdpError: the text is no usable answer to our offer.
            InvalidState: no offer of ours is pending.
        """
        next_state(self.state, "remote", kind)
        assert self._local is not None  # the state says so
        description = SessionDescription.parse(text)
        parameters = check_answer(self._local.description, description)
        setup = "passive" if parameters.setup == "active" else "active"
        return self._checked(RemoteDescription(description, parameters, setup), role)

    def apply_answer(self, kind: str, answer: RemoteDescription) -> None:
        """Apply an answer that read_answer() has read."""
        self.state = next_state(self.state, "remote", kind)
        self.remote = answer

    # -- the peer's offer --------------------------------------------------------------------------

    def read_offer(self, text: str, role: str | None) -> RemoteDescription:
        """Read the peer's offer without applying it.

        An own offer that is pending does not stand in its way: take_offer() rolls it back.

        role    our DTLS role, "active" or "passive", once DTLS runs: an answer keeps it.

        Raises:
            SdpError: the text is no usable offer.
            InvalidState: no offer can be taken in this state.
        """
        pending = self.state is _HAVE_LOCAL_OFFER
        next_state(_STABLE if pending else self.state, "remote", "offer")
        description = SessionDescription.parse(text)
        if not description.media:
            raise SdpError("the offer has no m= section", description.last_line)
        if data_section(description) is None:
            return self._checked(RemoteDescription(description, None, "active"), role)
        parameters = read_remote(description)
        setup = answer_setup(parameters.setup, role or "active")
        return self._checked(RemoteDescription(description, parameters, setup), role)

    def take_offer(self, offer: RemoteDescription) -> None:
        """Let an offer that read_offer() has read wait for our answer.

        Source: RFC 8829 section 5.6.
        """
        self.state = next_state(self.state, "remote", "offer")
        self.offered = offer

    def require_offer(self, kind: str) -> RemoteDescription:
        """Return the peer's offer that an answer of this kind, "answer" or "pranswer", is for.

        Raises:
            InvalidState: no offer of the peer waits for an answer.
        """
        next_state(self.state, "local", kind)
        assert self.offered is not None  # the state says so
        return self.offered

    def answer(self, kind: str, parameters: LocalParameters) -> str:
        """Make our answer to the peer's offer and apply both; returns the answer's text.

        kind    "answer", or "pranswer" for one that may be followed by others.

        Raises:
            InvalidState: no offer of the peer waits for an answer.
        Source: RFC 8829 section 5.3.
        """
        offer = self.require_offer(kind)
        state = next_state(self.state, "local", kind)
        parameters = self._versioned(parameters)
        answer = write_answer(offer.description, parameters)
        self.state = state
        self.remote = offer
        if state is _STABLE:
            self.offered = None
        return self._apply(_LocalDescription(answer, parameters, offer.description, None))

    # -- both --------------------------------------------------------------------------------------

    def rollback(self, source: str) -> None:
        """Take the pending offer back, whichever side's it is.

        source  "local" or "remote": whose description said "rollback"; the effect is the same.

        Raises:
            InvalidState: none is pending, or a provisional answer has been applied.
        Source: RFC 8829 section 5.7.
        """
        before = self.state
        self.state = next_state(before, source, "rollback")
        if before is _HAVE_LOCAL_OFFER:
            self._local = self._stable
        self.offered = None

    def check_local(self, kind: str, text: str) -> None:
        """Check a description that is set locally: what was made here is in force since then.

        Raises:
            InvalidParameter: the type is unknown, or the text is not one that was made here.
            SdpError: the text is no description at all.
            InvalidState: nothing has been made yet.
        """
        if kind not in _TYPES:
            raise InvalidParameter(f"unknown description type {kind!r}: use one of {', '.join(_TYPES)}")
        if not self._made:
            raise InvalidState("no description has been made yet: call create_offer() first")
        if _without_candidates(SessionDescription.parse(text)) not in self._made:
            raise InvalidParameter(
                "the description is not one that this connection made: it cannot be edited on the way"
            )

    def local_description(self, candidates: tuple[CandidateLine, ...], *, complete: bool) -> str:
        """Return our description with candidates in it, for signaling that carries only one message."""
        return self._local.text(candidates, complete=complete) if self._local is not None else ""

    def _checked(self, new: RemoteDescription, role: str | None) -> RemoteDescription:
        """Hold a description of the peer against what runs already."""
        if self._lite and (flag := new.description.session.find("ice-lite")) is not None:
            raise SdpError(
                "both sides are ICE-lite, so nobody would check the path: one must not be", flag.line
            )
        if self.remote is not None:
            check_update(self.remote.description, new.description)  # a restart is the ICE agent's to see
        if new.parameters is not None and role is not None and new.setup != role:
            raise SdpError(
                f"a=setup:{new.parameters.setup} changes the DTLS roles of a running connection",
                line_of(new.description, "setup"),
            )
        return new

    def _versioned(self, parameters: LocalParameters) -> LocalParameters:
        return replace(parameters, session_id=self._session_id, session_version=self._version + 1)

    def _apply(self, local: _LocalDescription) -> str:
        self._local = local
        self._version = local.description.session_version
        self._made.append(_without_candidates(local.description))
        return local.description.write()


def _without_candidates(description: SessionDescription) -> tuple[str, ...]:
    """Return the lines that stay while candidates are gathered: addresses and ports do not."""
    lines = list(description.session.lines)
    for section in description.media:
        lines.append(f"{section.media} {section.rejected} {section.protocol} {section.formats}")
        lines += (
            line
            for line in section.lines[1:]
            if not line.startswith(("c=", "a=candidate:", "a=end-of-candidates"))
        )
    return tuple(lines)
