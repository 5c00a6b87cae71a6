"""Setting up an association from INITs that came beside the SDP (SNAP)."""

from __future__ import annotations

import pytest
from support.sctp import Steps, association

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


def test_a_heartbeat_may_be_asked_for():
    """RFC 9260 §11.1.10: it measures the path before there is data."""
    s = Steps()
    inits = s.a.local_init(), s.z.local_init()
    s.a.request_heartbeat(s.now)
    assert s.move(s.a) == []
    s.a.connect_with(inits[1], s.now)
    s.z.connect_with(inits[0], s.now)
    s.a.request_heartbeat(s.now)
    s.a.request_heartbeat(s.now)
    assert s.move(s.a) == ["HEARTBEAT"]
    assert s.move(s.z) == ["HEARTBEAT ACK"]
    assert s.a.stats.heartbeats_sent == 1


@pytest.mark.parametrize("who", ["a", "z", "az"])
@pytest.mark.parametrize("order", ["inits first", "in turn"])
def test_handshakes_that_cross_after_local_init_make_one_association(who: str, order: str):
    """RFC 9260 §5.2.1: the INIT ACK for an INIT that crosses ours says what our INIT said."""
    s = Steps()
    for side in who:
        getattr(s, side).local_init()
    s.a.connect(s.now)
    s.z.connect(s.now)
    if order == "inits first":
        there, back = s.take(s.a), s.take(s.z)
        s.z.receive(there, s.now)
        s.a.receive(back, s.now)
    s.settle()
    assert s.a.take_events() == s.z.take_events() == [Established()]
    assert s.a.stats.restarts == s.z.stats.restarts == 0
    s.a.send(1, 51, b"there", now=s.now)
    s.settle()
    assert s.z.take_messages() == [(1, 51, b"there")]


def test_our_own_init_sent_back_is_no_offer_of_the_peer():
    """libdatachannel copies attributes that it does not know from our offer into its answer."""
    s = Steps()
    with pytest.raises(InvalidParameter, match="our own"):
        s.a.connect_with(s.a.local_init(), s.now)
    s.a.connect(s.now)
    s.settle()
    assert s.a.state is s.z.state is AssociationState.ESTABLISHED


def test_the_port_of_the_peer_may_be_told_late_and_changes_no_init():
    """RFC 8841 §5: a=sctp-port comes with the description, which our INIT may have left with."""
    a, z = association(1), association(2, local_port=6000)
    init = a.local_init()
    a.set_remote_port(6000)
    assert a.local_init() == init
    s = Steps(a=a, z=z)
    a.connect(s.now)
    s.settle()
    assert a.take_events() == z.take_events() == [Established()]
    with pytest.raises(InvalidState):
        a.set_remote_port(5000)
