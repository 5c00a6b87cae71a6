"""RFC 8829 §3.2: the whole JSEP state table."""

from __future__ import annotations

import itertools

import pytest

from rtcstack.errors import InvalidState
from rtcstack.sdp import SignalingState, next_state

STABLE, LOCAL_OFFER, REMOTE_OFFER, LOCAL_PRANSWER, REMOTE_PRANSWER, CLOSED = SignalingState

ALLOWED = {
    (STABLE, "local", "offer"): LOCAL_OFFER,
    (STABLE, "remote", "offer"): REMOTE_OFFER,
    (LOCAL_OFFER, "local", "offer"): LOCAL_OFFER,
    (LOCAL_OFFER, "remote", "pranswer"): REMOTE_PRANSWER,
    (LOCAL_OFFER, "remote", "answer"): STABLE,
    (REMOTE_OFFER, "remote", "offer"): REMOTE_OFFER,
    (REMOTE_OFFER, "local", "pranswer"): LOCAL_PRANSWER,
    (REMOTE_OFFER, "local", "answer"): STABLE,
    (LOCAL_PRANSWER, "local", "pranswer"): LOCAL_PRANSWER,
    (LOCAL_PRANSWER, "local", "answer"): STABLE,
    (REMOTE_PRANSWER, "remote", "pranswer"): REMOTE_PRANSWER,
    (REMOTE_PRANSWER, "remote", "answer"): STABLE,
    # §5.7: whichever side asks for it; not from a provisional answer, which has started the transport.
    **{
        (state, source, "rollback"): STABLE
        for state in (LOCAL_OFFER, REMOTE_OFFER)
        for source in ("local", "remote")
    },
}


@pytest.mark.parametrize("state", SignalingState)
def test_every_description_in_every_state(state):
    for source, type in itertools.product(("local", "remote"), ("offer", "pranswer", "answer", "rollback")):
        if (state, source, type) in ALLOWED:
            assert next_state(state, source, type) is ALLOWED[state, source, type]
        else:
            with pytest.raises(InvalidState, match=f"a {source} {type} does not fit {state.name}"):
                next_state(state, source, type)


def test_the_error_says_what_would_fit():
    with pytest.raises(InvalidState, match="takes local offer or remote pranswer or remote answer or"):
        next_state(LOCAL_OFFER, "remote", "offer")
    with pytest.raises(InvalidState, match="CLOSED, which takes nothing"):
        next_state(CLOSED, "local", "offer")
    with pytest.raises(InvalidState):
        next_state(STABLE, "local", "nonsense")


def test_the_values_are_godots():
    assert [state.value for state in SignalingState] == [0, 1, 2, 3, 4, 5]
