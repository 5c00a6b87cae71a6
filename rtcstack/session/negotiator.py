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
    next_state,
    read_remote,
    write_answer,
    write_offer,
)

__all__ = ["Negotiator", "RemoteDescription", "setup_for_answer"]

_TYPES = ("offer", "answer", "pranswer", "rollback")


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """A description of the peer, read and checked.

    description     as it was parsed.
    parameters      what it says about the data channels.
    """

    description: SessionDescription
    parameters: RemoteParameters


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

    A method that raises leaves everything as it was.

    state       the signaling state.
    remote      the peer's description, pending or in force; None before the first.
    """

    def __init__(self, session_id: int) -> None:
        self.state = SignalingState.STABLE
        self.remote: RemoteDescription | None = None
        self._local: _LocalDescription | None = None
        self._session_id = session_id
        # What a rollback returns to, while an offer is pending.
        self._stable: _LocalDescription | None = None
        # Texts made here: a late signal may bring one back that is no longer in force.
        self._made: deque[str] = deque(maxlen=16)

    @property
    def has_local(self) -> bool:
        """Whether a description of ours is pending or in force."""
        return self._local is not None

    @property
    def media(self) -> tuple[str, int]:
        """Identification and m-line index of our data section; candidates belong to it."""
        section = data_section(self._local.description) if self._local is not None else None
        return (section.mid, section.index) if section is not None else ("0", 0)

    def require_stable(self) -> None:
        """Check that an offer of ours may be made.

        Raises:
            InvalidState: an offer is pending already.
        """
        if self.state is not SignalingState.STABLE:
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
        parameters = replace(parameters, session_id=self._session_id)
        offer = write_offer(parameters, previous)
        self.state = next_state(self.state, "local", "offer")
        self._stable = self._local
        return self._apply(_LocalDescription(offer, parameters, None, previous))

    def read_offer(self, text: str) -> RemoteDescription:
        """Read the peer's offer without applying it.

        An own offer that is pending does not stand in its way: answer() rolls it back.

        Raises:
            SdpError: the text is no usable offer.
            InvalidState: no offer can be taken in this state.
        """
        pending = self.state is SignalingState.HAVE_LOCAL_OFFER
        next_state(SignalingState.STABLE if pending else self.state, "remote", "offer")
        description = SessionDescription.parse(text)
        return self._checked(description, read_remote(description))

    def answer(self, offer: RemoteDescription, parameters: LocalParameters) -> str:
        """Apply the peer's offer and our answer to it; returns the answer's text.

        Source: RFC 8829 section 5.3; section 4.1.10.2 for the implicit rollback.
        """
        before = self._stable if self.state is SignalingState.HAVE_LOCAL_OFFER else self._local
        version = before.description.session_version + 1 if before is not None else 0
        parameters = replace(parameters, session_id=self._session_id, session_version=version)
        answer = write_answer(offer.description, parameters)
        self.state = SignalingState.STABLE
        self.remote = offer
        return self._apply(_LocalDescription(answer, parameters, offer.description, None))

    def read_answer(self, kind: str, text: str) -> RemoteDescription:
        """Read the peer's answer, kind "answer" or "pranswer", without applying it.

        Raises:
            SdpError: the text is no usable answer to our offer.
            InvalidState: no offer of ours is pending.
        """
        next_state(self.state, "remote", kind)
        if self._local is None:
            raise InvalidState("an answer needs an offer of this side: call create_offer() first")
        description = SessionDescription.parse(text)
        return self._checked(description, check_answer(self._local.description, description))

    def apply_answer(self, kind: str, answer: RemoteDescription) -> None:
        """Apply an answer that read_answer() has read."""
        self.state = next_state(self.state, "remote", kind)
        self.remote = answer

    def rollback(self) -> None:
        """Take our pending offer back.

        Raises:
            InvalidState: none is pending.
        """
        self.state = next_state(self.state, "local", "rollback")
        self._local = self._stable

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
        if text not in self._made and SessionDescription.parse(text).write() not in self._made:
            raise InvalidParameter(
                "the description is not one that this connection made: it cannot be edited on the way"
            )

    def local_description(self, candidates: tuple[CandidateLine, ...], *, complete: bool) -> str:
        """Return our description with candidates in it, for signaling that carries only one message."""
        return self._local.text(candidates, complete=complete) if self._local is not None else ""

    def _checked(self, description: SessionDescription, parameters: RemoteParameters) -> RemoteDescription:
        if self.remote is not None:
            check_update(self.remote.description, description)  # a restart is left to the ICE agent to see
        return RemoteDescription(description, parameters)

    def _apply(self, local: _LocalDescription) -> str:
        self._local = local
        text = local.description.write()
        self._made.append(text)
        return text


def setup_for_answer(offered: str | None, role: str | None) -> str:
    """Return our a=setup in an answer: the DTLS role in force, or else the one that the offer leaves us.

    offered     a=setup of the offer.  role: "active" or "passive" once DTLS runs.

    Raises:
        SdpError: the offer would change the roles of a running connection, or leaves them open.
    Source: RFC 8842 sections 5.3 and 5.5.
    """
    setup = answer_setup(offered, role or "active")
    if role is not None and setup != role:
        raise SdpError(f"a=setup:{offered} changes the DTLS roles of a running connection")
    return setup
