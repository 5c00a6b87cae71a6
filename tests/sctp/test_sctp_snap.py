"""Setting up an association from INITs that came beside the SDP (SNAP)."""

from __future__ import annotations

import pytest
from support.sctp import Steps

from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.sctp import AssociationState, Established


def test_both_are_established_without_a_packet():
    s = Steps()
    inits = s.a.local_init(), s.z.local_init()
    assert inits[0] == s.a.local_init()
    s.a.send(1, 51, b"at once", now=s.now)
    s.a.connect_with(inits[1], s.now)
    s.z.connect_with(inits[0], s.now)
    assert s.a.take_events() == s.z.take_events() == [Established()]
    assert s.move(s.a) == ["I-DATA"]
    assert s.z.take_messages() == [(1, 51, b"at once")]
    s.z.send(1, 51, b"back", now=s.now)
    s.settle()
    assert s.a.take_messages() == [(1, 51, b"back")]


def test_it_is_not_used_if_only_one_side_knows_it():
    s = Steps()
    s.a.local_init()
    s.z.connect(s.now)
    s.settle()
    assert (s.a.state, s.z.state) == (AssociationState.ESTABLISHED, AssociationState.ESTABLISHED)


@pytest.mark.parametrize("chunk", [b"", b"\x01\x00\x00\x14" + bytes(16), b"\x02" + bytes(19), b"junk"])
def test_what_is_no_init_is_refused(chunk):
    s = Steps()
    s.a.local_init()
    with pytest.raises(InvalidParameter):
        s.a.connect_with(chunk, s.now)
    assert s.a.state is AssociationState.CLOSED


def test_it_needs_our_own_and_a_fresh_association():
    s = Steps()
    with pytest.raises(InvalidState):
        s.a.connect_with(s.z.local_init(), s.now)
    s.a.connect(s.now)
    with pytest.raises(InvalidState):
        s.a.connect_with(s.z.local_init(), s.now)
