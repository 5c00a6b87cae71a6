"""The end: SHUTDOWN in every state, ABORT, and a path that answers no more (RFC 9260 §8 and §9)."""

from __future__ import annotations

import pytest
from sctp_peer import (
    CLOSED,
    COOKIE_ECHOED,
    ESTABLISHED,
    SHUTDOWN_ACK_SENT,
    SHUTDOWN_PENDING,
    SHUTDOWN_RECEIVED,
    SHUTDOWN_SENT,
    TAG,
    established,
    ladder,
)
from sctp_script import (
    Abort,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    Raw,
    Sack,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
)

from rtcstack.errors import Closed as ClosedError
from rtcstack.sctp import Closed
from rtcstack.sctp import chunks as wire

# -- graceful ------------------------------------------------------------------------------------------------


def test_we_shut_down():
    """RFC 9260 §9.2: SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE end an association gracefully."""
    a, z = established()
    a.shutdown()
    z.expect(Shutdown(0))  # A -- SHUTDOWN --> Z
    assert a.state is SHUTDOWN_SENT
    z.send(ShutdownAck())  # A <- SHUTDOWN ACK -- Z
    z.expect(ShutdownComplete())  # A -- SHUTDOWN COMPLETE --> Z
    assert a.state is CLOSED
    (event,) = a.events()
    assert isinstance(event, Closed)
    assert event.graceful
    z.expect_nothing(100)


def test_the_peer_shuts_down():
    """RFC 9260 §9.2: a SHUTDOWN with nothing outstanding is answered with SHUTDOWN ACK."""
    a, z = established()
    z.send(Shutdown(0))  # A <- SHUTDOWN -- Z
    z.expect(ShutdownAck())  # A -- SHUTDOWN ACK --> Z
    assert a.state is SHUTDOWN_ACK_SENT
    z.send(ShutdownComplete())  # A <- SHUTDOWN COMPLETE -- Z
    assert a.state is CLOSED
    (event,) = a.events()
    assert event.graceful
    z.expect_nothing(100)


def test_outstanding_data_goes_first():
    """RFC 9260 §9.2: SHUTDOWN-PENDING lasts until all data is acknowledged; only then SHUTDOWN is sent."""
    a, z = established()
    a.send(b"last words")
    a.shutdown()
    z.expect(Data(1, b"last words"))
    assert a.state is SHUTDOWN_PENDING
    z.expect_nothing(0.9)
    z.send(Sack(1))
    z.expect(Shutdown(0))
    assert a.state is SHUTDOWN_SENT


def test_queued_data_goes_first_however_much():
    """RFC 9260 §9.2: what was accepted before the shutdown is all delivered."""
    a, z = established()
    for _ in range(50):
        a.send(bytes(1000))
    a.shutdown()
    tsn = 0
    while tsn < 50:
        while z.is_heard:
            tsn = z.expect(Data()).tsn
        z.send(Sack(tsn))
    z.expect(Shutdown(0))


def test_lost_data_is_sent_again_in_shutdown_pending():
    """RFC 9260 §9.2: in SHUTDOWN-PENDING data is retransmitted if necessary to fill gaps."""
    a, z = established()
    a.send()
    a.shutdown()
    z.expect(Data(1))
    z.expect(Data(1), after=1)
    z.send(Sack(1))
    z.expect(Shutdown(0))


def test_a_shutdown_tells_what_has_been_received():
    """RFC 9260 §9.2: SHUTDOWN carries the Cumulative TSN Ack of what the peer has sent."""
    a, z = established()
    z.send(Data(1), Data(2))
    z.expect(Sack(2))
    a.shutdown()
    z.expect(Shutdown(2))


def test_an_unanswered_shutdown_is_repeated_with_back_off():
    """RFC 9260 §9.2: T2-shutdown repeats SHUTDOWN."""
    a, z = established()
    a.shutdown()
    z.expect(Shutdown(0))
    for pause in (1, 2, 4):
        z.expect(Shutdown(0), after=pause)
    assert a.state is SHUTDOWN_SENT


def test_an_unanswered_shutdown_ack_is_repeated_with_back_off():
    """RFC 9260 §9.2: T2-shutdown repeats SHUTDOWN ACK."""
    a, z = established()
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    for pause in (1, 2, 4):
        z.expect(ShutdownAck(), after=pause)
    assert a.state is SHUTDOWN_ACK_SENT


def test_data_in_shutdown_sent_is_taken_and_answered_with_shutdown():
    """RFC 9260 §9.2: each packet with DATA brings SHUTDOWN with the new cumulative TSN at once."""
    a, z = established()
    z.send(Data(1))
    z.expect(Sack(1))
    a.shutdown()
    z.expect(Shutdown(1))
    z.send(Data(2, b"crossed"))
    assert Shutdown(2) in z.expect_any()
    assert a.receive() == [b"data", b"crossed"]
    assert a.state is SHUTDOWN_SENT


def test_data_in_shutdown_sent_restarts_the_timer():
    """RFC 9260 §9.2: T2-shutdown begins anew with each packet that carries DATA."""
    a, z = established()
    a.shutdown()
    z.expect(Shutdown(0))
    z.wait(0.8)
    z.send(Data(1))
    z.ignore()
    z.expect_nothing(0.9)
    assert a.state is SHUTDOWN_SENT


def test_a_gap_in_shutdown_sent_brings_a_sack_too():
    """RFC 9260 §9.2: what SHUTDOWN alone cannot acknowledge, a gap or a duplicate, needs a SACK as well."""
    a, z = established()
    z.send(Data(1))
    z.expect(Sack(1))
    a.shutdown()
    z.expect(Shutdown(1))
    z.send(Data(3))
    chunks = z.expect_any()
    assert Sack(1, gaps=((3, 3),)).matches(chunks[0])
    assert Shutdown(1) in chunks
    z.send(Data(3))
    chunks = z.expect_any()
    assert Sack(1, gaps=((3, 3),), duplicates=(3,)).matches(chunks[0])
    assert Shutdown(1) in chunks


def test_a_shutdown_waits_for_our_outstanding_data():
    """RFC 9260 §9.2: in SHUTDOWN-RECEIVED data goes on until all is acknowledged, then SHUTDOWN ACK."""
    a, z = established()
    a.send(b"one")
    z.expect(Data(1))
    z.send(Shutdown(0))
    assert a.state is SHUTDOWN_RECEIVED
    z.expect(Data(1), after=1)
    z.send(Sack(1))
    z.expect(ShutdownAck())
    assert a.state is SHUTDOWN_ACK_SENT


def test_a_shutdown_acknowledges_data():
    """RFC 9260 §9.2: the Cumulative TSN Ack of a SHUTDOWN counts like that of a SACK."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Shutdown(1))
    z.expect(ShutdownAck())
    assert a.association.total_buffered == 0


def test_a_repeated_shutdown_acknowledges_more():
    """RFC 9260 §9.2: in SHUTDOWN-RECEIVED further SHUTDOWNs are processed."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Shutdown(0))
    z.expect_nothing()
    z.send(Shutdown(1))
    z.expect(ShutdownAck())


def test_a_shutdown_that_acknowledges_what_was_never_sent_is_not_believed():
    """RFC 9260 §6.2.1: a cumulative TSN ahead of what was sent is false, in a SHUTDOWN too."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Shutdown(7))
    assert a.association.total_buffered == 4
    assert a.state in (ESTABLISHED, CLOSED)


def test_shutdowns_that_cross_end_the_association():
    """RFC 9260 §9.2: a SHUTDOWN in SHUTDOWN-SENT is answered with SHUTDOWN ACK."""
    a, z = established()
    a.shutdown()
    z.expect(Shutdown(0))  # A -- SHUTDOWN --\ /-- Z
    z.send(Shutdown(0))  # A <- SHUTDOWN -----X--- Z
    z.expect(ShutdownAck())  # A -- SHUTDOWN ACK --> Z
    assert a.state is SHUTDOWN_ACK_SENT
    z.send(ShutdownAck())  # A <- SHUTDOWN ACK -- Z
    z.expect(ShutdownComplete())  # A -- SHUTDOWN COMPLETE --> Z
    assert a.state is CLOSED


def test_a_shutdown_in_shutdown_sent_restarts_the_timer():
    """RFC 9260 §9.2: T2-shutdown begins anew with the SHUTDOWN ACK that answers the peer's SHUTDOWN."""
    a, z = established()
    a.shutdown()
    z.expect(Shutdown(0))
    z.wait(0.7)
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    z.expect(ShutdownAck(), after=1)


def test_a_shutdown_in_shutdown_ack_sent_brings_the_answer_again():
    """RFC 9260 §9.2: the SHUTDOWN ACK was lost: it is sent again."""
    a, z = established()
    z.send(Shutdown(0))
    z.expect(ShutdownAck())  # A -- SHUTDOWN ACK --x
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    assert a.state is SHUTDOWN_ACK_SENT


def test_a_shutdown_in_shutdown_pending_lets_data_finish():
    """RFC 9260 §9.2: both want to end while A has data out: it goes on until that is acknowledged."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    a.shutdown()
    z.send(Shutdown(0))
    assert a.state is SHUTDOWN_RECEIVED
    z.send(Sack(1))
    z.expect(ShutdownAck())


def test_an_application_that_shuts_down_late_changes_nothing():
    """RFC 9260 §9.2: from SHUTDOWN-RECEIVED on requests of the application to shut down are ignored."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Shutdown(0))
    a.shutdown()
    assert a.state is SHUTDOWN_RECEIVED
    z.send(Sack(1))
    z.expect(ShutdownAck())
    a.shutdown()
    assert a.state is SHUTDOWN_ACK_SENT


def test_a_shutdown_after_the_end_is_answered_out_of_the_blue():
    """RFC 9260 §8.4: SHUTDOWN in CLOSED: ABORT with the tag reflected."""
    a, z = established()
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    z.send(ShutdownComplete())
    z.send(Shutdown(0))
    z.expect(Abort(reflected=True), tag=z.tag_of_a)
    assert a.state is CLOSED


def test_a_shutdown_ack_in_established_ends_nothing():
    """RFC 9260 §9.2: only who has sent a SHUTDOWN can take its SHUTDOWN ACK."""
    a, z = established()
    z.send(ShutdownAck())
    z.expect_nothing()
    assert a.state is ESTABLISHED
    a.send()
    z.expect(Data(1))


def test_a_shutdown_ack_with_a_wrong_tag_is_dropped_and_the_shutdown_repeated():
    """RFC 9260 §8.5.1 E: a SHUTDOWN ACK whose tag is not ours is discarded; T2-shutdown goes on."""
    a, z = established()
    a.shutdown()
    z.expect(Shutdown(0))
    z.wait(0.2)
    z.send(ShutdownAck(), tag=z.tag_of_a ^ 1)
    z.expect_nothing()
    z.expect(Shutdown(0), after=0.8)


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
def test_lost_shutdowns_only_take_time(lost):
    """RFC 9260 §9.2: after any number of lost SHUTDOWNs the association ends gracefully."""
    a, z = established(rto_max=3.0)
    a.shutdown()
    z.expect(Shutdown(0))
    for i in range(lost):
        z.expect(Shutdown(0), after=(1, 2, 3, 3, 3)[i])
    z.send(ShutdownAck())
    z.expect(ShutdownComplete())


@pytest.mark.parametrize("chunk", [ShutdownComplete(), ShutdownComplete(reflected=True)])
def test_shutdown_complete_counts_in_shutdown_ack_sent_only(chunk):
    """RFC 9260 §8.5.1 C: in any other state SHUTDOWN COMPLETE is ignored."""
    a, z = established()
    z.send(chunk, tag=TAG if chunk.reflected else z.tag_of_a)
    assert a.state is ESTABLISHED
    a.shutdown()
    z.expect(Shutdown(0))
    z.send(chunk, tag=TAG if chunk.reflected else z.tag_of_a)
    assert a.state is SHUTDOWN_SENT
    z.expect(Shutdown(0), after=1)


def test_nothing_is_accepted_while_shutting_down():
    """RFC 9260 §9.2: new data is rejected in SHUTDOWN-PENDING, -SENT, -RECEIVED and -ACK-SENT."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    a.shutdown()
    with pytest.raises(ClosedError):
        a.send()  # SHUTDOWN-PENDING
    z.send(Sack(1))
    z.expect(Shutdown(0))
    with pytest.raises(ClosedError):
        a.send()  # SHUTDOWN-SENT
    z.send(Shutdown(1))
    z.expect(ShutdownAck())
    with pytest.raises(ClosedError):
        a.send()  # SHUTDOWN-ACK-SENT
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Shutdown(0))
    with pytest.raises(ClosedError):
        a.send()  # SHUTDOWN-RECEIVED


def test_data_after_the_shutdown_ack_is_not_taken():
    """RFC 9260 §6: DATA in SHUTDOWN-ACK-SENT is discarded: its sender has said that there is no more."""
    a, z = established()
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    z.send(Data(1))
    z.ignore()
    assert a.receive() == []
    assert a.state is SHUTDOWN_ACK_SENT


def test_data_in_shutdown_received_is_not_taken():
    """RFC 9260 §6: DATA is taken in ESTABLISHED, SHUTDOWN-PENDING and SHUTDOWN-SENT only."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Shutdown(0))
    z.send(Data(1))
    z.ignore()
    assert a.receive() == []
    assert a.state is SHUTDOWN_RECEIVED


def test_data_in_shutdown_pending_is_taken():
    """RFC 9260 §6: until it has sent its own data the side that wants to end takes the peer's."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    a.shutdown()
    z.send(Data(1, b"still"))
    z.expect(Sack(1))
    assert a.receive() == [b"still"]


def test_a_shutdown_during_cookie_echoed_is_done_when_the_association_stands():
    """RFC 9260 §9.2: the application may shut down while connecting; what was queued is still delivered."""
    a, z = ladder()
    a.connect()
    a.send(b"early")
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1))
    a.shutdown()
    assert a.state is COOKIE_ECHOED
    z.send(CookieAck(), Sack(1))
    z.expect(Shutdown(0))


def test_a_shutdown_is_not_bundled_with_data():
    """RFC 9260 §6.10: DATA goes before SHUTDOWN, so the two never share a packet."""
    a, z = established()
    for _ in range(3):
        a.send()
    a.shutdown()
    z.expect(Data(1), Data(2), Data(3))
    z.expect_nothing()


def test_messages_that_have_arrived_can_be_taken_after_the_end():
    """RFC 9260 §9: a graceful end delivers what was queued on either side."""
    a, z = established()
    z.send(Data(1, b"last"))
    z.expect(Sack(1))
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    z.send(ShutdownComplete())
    assert a.receive() == [b"last"]


# -- abort ---------------------------------------------------------------------------------------------------


def test_an_abort_of_ours_says_why():
    """RFC 9260 §9.1: ABORT with the peer's tag and cause User-Initiated Abort, no DATA beside it."""
    a, z = established()
    a.send()
    a.abort("enough")
    z.expect(Abort(wire.USER_INITIATED_ABORT, b"enough"), tag=TAG)
    z.expect_nothing(100)
    assert a.state is CLOSED
    (event,) = a.events()
    assert isinstance(event, Closed)
    assert not event.graceful


def test_an_abort_during_set_up_ends_it():
    """RFC 9260 §9.1: in COOKIE-ECHOED the peer is told; in COOKIE-WAIT there is nobody to tell."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    a.abort()
    z.expect_nothing(10)
    assert a.state is CLOSED
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    a.abort()
    z.expect(Abort(wire.USER_INITIATED_ABORT), tag=TAG)
    z.expect_nothing(10)
    assert a.state is CLOSED


def test_what_is_queued_is_gone_after_an_abort():
    """RFC 9260 §9: any data pending on either end of the association is discarded."""
    a, z = established()
    for _ in range(20):
        a.send(bytes(1000))
    a.abort()
    z.expect(Abort(wire.USER_INITIATED_ABORT))
    z.expect_nothing(100)


def test_an_abort_of_the_peer_is_told_with_its_reason():
    """RFC 9260 §9.1: the association is removed, and the Upper Layer Abort Reason is told."""
    a, z = established()
    z.send(Abort(wire.USER_INITIATED_ABORT, b"had enough"))
    z.expect_nothing(100)
    assert a.state is CLOSED
    (event,) = a.events()
    assert "had enough" in event.reason
    assert not event.graceful


@pytest.mark.parametrize("cause", [None, wire.PROTOCOL_VIOLATION, wire.OUT_OF_RESOURCE, 0x7777])
def test_an_abort_counts_whatever_its_cause(cause):
    """RFC 9260 §9.1: an ABORT with no cause, or one that we do not know, ends the association."""
    a, z = established()
    z.send(Abort(cause))
    assert a.state is CLOSED
    assert len(a.events()) == 1


@pytest.mark.parametrize("state", [SHUTDOWN_PENDING, SHUTDOWN_SENT, SHUTDOWN_ACK_SENT, COOKIE_ECHOED])
def test_an_abort_counts_in_every_state(state):
    """RFC 9260 §9.1: an ABORT with the right tag is taken in every state."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    if state is not COOKIE_ECHOED:
        z.send(CookieAck())
        if state is SHUTDOWN_PENDING:
            a.send()
        if state is SHUTDOWN_ACK_SENT:
            z.send(Shutdown(0))
        else:
            a.shutdown()
        z.ignore()
    assert a.state is state
    z.send(Abort())
    assert a.state is CLOSED
    z.expect_nothing(10)


# -- heartbeats ----------------------------------------------------------------------------------------------


def test_a_heartbeat_is_given_back_unchanged():
    """RFC 9260 §8.3: HEARTBEAT ACK holds the Heartbeat Information as it came, at once."""
    _, z = established()
    z.send(Heartbeat(b"12:00 from here"))
    z.expect(HeartbeatAck(b"12:00 from here"))


@pytest.mark.parametrize("value", [b"", b"\0\1\0\4", b"\0\1\0\7abc", b"\0\2\0\x08abcd", b"odd"])
def test_a_heartbeat_of_any_shape_does_no_harm(value):
    """RFC 9260 §8.3: a HEARTBEAT without, or with malformed, information is given back or dropped."""
    a, z = established()
    z.send(Raw(wire.HEARTBEAT, value))
    z.ignore()
    assert a.state is ESTABLISHED
    z.send(Heartbeat())
    z.expect(HeartbeatAck())


def test_a_large_heartbeat_is_not_echoed_beyond_a_packet():
    """RFC 9260 §12.2.4.1: an echo fits into a packet, or there is none."""
    a, z = established()
    z.send(Heartbeat(bytes(4000)))
    z.ignore()
    assert a.state is ESTABLISHED


def test_heartbeats_are_answered_in_shutdown_pending_and_shutdown_received():
    """RFC 9260 §8.3: HEARTBEATs are answered until SHUTDOWN-SENT or SHUTDOWN-ACK-SENT is reached."""
    for begin in ("ours", "theirs"):
        a, z = established()
        a.send()
        z.expect(Data(1))
        if begin == "ours":
            a.shutdown()
        else:
            z.send(Shutdown(0))
        z.send(Heartbeat())
        z.expect(HeartbeatAck())


def test_an_idle_path_is_tested():
    """RFC 9260 §8.3: after the heartbeat interval without traffic a HEARTBEAT goes out, and again."""
    a, z = established(heartbeat_interval=30.0)
    z.wait(29)
    z.expect_nothing()
    z.wait(3)
    beat = z.expect(Heartbeat())
    assert beat.info
    z.send(HeartbeatAck(beat.info))
    z.wait(29)
    z.expect_nothing()
    z.wait(5)
    assert z.expect(Heartbeat()).info != beat.info
    assert a.state is ESTABLISHED


def test_a_busy_path_is_not_tested():
    """RFC 9260 §8.3: HEARTBEATs are for idle paths: data under way makes them needless."""
    a, z = established(heartbeat_interval=5.0)
    for tsn in range(1, 21):
        a.send()
        z.expect(Data(tsn))
        z.wait(0.9)
        z.send(Sack(tsn))
    assert a.stats.heartbeats_sent == 0


def test_no_heartbeat_after_shutdown():
    """RFC 9260 §8.3: heartbeats end with SHUTDOWN or SHUTDOWN ACK."""
    a, z = established(heartbeat_interval=5.0)
    a.shutdown()
    z.expect(Shutdown(0))
    z.wait(60)
    while z.is_heard:
        z.expect(Shutdown(0))
    assert a.stats.heartbeats_sent == 0


def test_a_heartbeat_ack_measures_the_path():
    """RFC 9260 §8.3: the answer of a HEARTBEAT gives a round-trip time, and with it the time-out."""
    a, z = established(heartbeat_interval=5.0, rto_min=0.1)
    while not z.is_heard:
        z.step()
    beat = z.expect(Heartbeat())
    z.wait(0.2)
    z.send(HeartbeatAck(beat.info))
    a.send()
    z.expect(Data(1))
    start = a.now
    while not a.stats.timeouts:
        z.step()
    assert 0.2 <= a.now - start < 2


def test_a_heartbeat_ack_that_nobody_asked_for_measures_nothing():
    """RFC 9260 §8.3: an answer with a wrong nonce, or a second one, is no measurement and no sign of life."""
    a, z = established(heartbeat_interval=5.0)
    z.send(HeartbeatAck(b"forged"))
    while not z.is_heard:
        z.step()
    beat = z.expect(Heartbeat())
    z.send(HeartbeatAck(bytes(16)))
    z.send(HeartbeatAck(beat.info))
    z.wait(1)
    z.send(HeartbeatAck(beat.info))
    assert sum(a.drops.values()) >= 3
    a.send()
    z.expect(Data(1))
    z.expect(Data(1), after=1)


def test_lost_heartbeats_do_not_end_the_association():
    """RFC 9260 §8.1: whether the path lives is for ICE to say (RFC 8261 §6.1): we go on trying."""
    a, z = established(heartbeat_interval=5.0)
    z.wait(600)
    count = 0
    while z.is_heard:
        z.expect(Heartbeat())
        count += 1
    assert count >= 10
    assert a.state is ESTABLISHED


def test_retransmissions_never_end_the_association():
    """RFC 9260 §8.1: the same for data: no number of retransmissions is too many while ICE sees a path."""
    a, z = established(rto_max=3.0)
    a.send(b"patience")
    z.expect(Data(1))
    z.wait(600)
    z.ignore()
    assert a.state is ESTABLISHED
    z.send(Sack(1))
    assert a.association.total_buffered == 0


def test_setting_up_is_tried_for_ever():
    """RFC 9260 §5.1.4: the same for INIT, whose limit RFC 8261 leaves to ICE as well."""
    a, z = ladder(rto_max=3.0)
    a.connect()
    z.wait(600)
    z.ignore()
    z.wait(3.1)
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())


def test_an_error_ends_nothing():
    """RFC 9260 §3.3.10: an Operation Error is not fatal in itself."""
    a, z = established()
    z.send(Error(wire.INVALID_STREAM_IDENTIFIER, b"\0\1\0\0"))
    z.expect_nothing()
    assert a.state is ESTABLISHED
