"""JSEP's state table: which description may be set when."""

from __future__ import annotations

import enum

from rtcstack.errors import InvalidState

__all__ = ["SignalingState", "next_state"]


class SignalingState(enum.IntEnum):
    """Where the exchange of descriptions stands; the values are Godot's.

    Source: RFC 8829 §3.2.
    """

    STABLE = 0
    HAVE_LOCAL_OFFER = 1
    HAVE_REMOTE_OFFER = 2
    HAVE_LOCAL_PRANSWER = 3
    HAVE_REMOTE_PRANSWER = 4
    CLOSED = 5


_S = SignalingState
_TRANSITIONS: dict[SignalingState, dict[tuple[str, str], SignalingState]] = {
    _S.STABLE: {
        ("local", "offer"): _S.HAVE_LOCAL_OFFER,
        ("remote", "offer"): _S.HAVE_REMOTE_OFFER,
    },
    _S.HAVE_LOCAL_OFFER: {
        ("local", "offer"): _S.HAVE_LOCAL_OFFER,
        ("remote", "pranswer"): _S.HAVE_REMOTE_PRANSWER,
        ("remote", "answer"): _S.STABLE,
        ("local", "rollback"): _S.STABLE,
        ("remote", "rollback"): _S.STABLE,
    },
    _S.HAVE_REMOTE_OFFER: {
        ("remote", "offer"): _S.HAVE_REMOTE_OFFER,
        ("local", "pranswer"): _S.HAVE_LOCAL_PRANSWER,
        ("local", "answer"): _S.STABLE,
        ("local", "rollback"): _S.STABLE,
        ("remote", "rollback"): _S.STABLE,
    },
    # DEVIATION RFC 8829 §5.7: no rollback here, as W3C has it: the transport runs already.
    _S.HAVE_LOCAL_PRANSWER: {
        ("local", "pranswer"): _S.HAVE_LOCAL_PRANSWER,
        ("local", "answer"): _S.STABLE,
    },
    _S.HAVE_REMOTE_PRANSWER: {
        ("remote", "pranswer"): _S.HAVE_REMOTE_PRANSWER,
        ("remote", "answer"): _S.STABLE,
    },
    _S.CLOSED: {},
}


def next_state(state: SignalingState, source: str, type: str) -> SignalingState:
    """Return the state after a description has been set.

    source  "local" or "remote": setLocalDescription or setRemoteDescription.
    type    "offer", "answer", "pranswer" or "rollback".
    Raises  InvalidState if the description does not fit.
    Source: RFC 8829 §3.2 figure 2, §4.1.10 and §5.7.
    """
    try:
        return _TRANSITIONS[state][source, type]
    except KeyError:
        fitting = " or ".join(f"{s} {t}" for s, t in _TRANSITIONS[state]) or "nothing"
        raise InvalidState(f"a {source} {type} does not fit {state.name}, which takes {fitting}") from None
