"""Set-up chunks that come when nobody asked for them: collisions, duplicates and restarts (RFC 9260 §5.2)."""

from __future__ import annotations

import pytest
from sctp_peer import (
    CLOSED,
    COOKIE_ECHOED,
    COOKIE_WAIT,
    ESTABLISHED,
    INTERLEAVING,
    PLAIN,
    SHUTDOWN_ACK_SENT,
    SHUTDOWN_PENDING,
    SHUTDOWN_RECEIVED,
    SHUTDOWN_SENT,
    TAG,
    Local,
    Peer,
    accepted,
    established,
    greet,
    ladder,
)
from sctp_script import (
    Abort,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    Init,
    InitAck,
    Sack,
    Shutdown,
    ShutdownAck,
)

from rtcstack.sctp import Established, Restarted
from rtcstack.sctp import chunks as wire

NEW = 0x11223344
"""Verification tag of a Z that has begun anew."""


def in_state(state: object) -> tuple[Local, Peer]:
    """Lead A into a state; nothing is left unsaid."""
    a, z = ladder()
    if state is CLOSED:
        return a, z
    if state in (COOKIE_WAIT, COOKIE_ECHOED):
        a.connect()
        z.expect(Init())
        if state is COOKIE_ECHOED:
            z.send(InitAck())
            z.expect(CookieEcho())
        return a, z
    greet(a, z)
    if state in (SHUTDOWN_PENDING, SHUTDOWN_RECEIVED):
        a.send()
        z.expect(Data(1))
    if state in (SHUTDOWN_PENDING, SHUTDOWN_SENT):
        a.shutdown()
    if state is SHUTDOWN_SENT:
        z.expect(Shutdown(0))
    if state in (SHUTDOWN_RECEIVED, SHUTDOWN_ACK_SENT):
        z.send(Shutdown(0))
    if state is SHUTDOWN_ACK_SENT:
        z.expect(ShutdownAck())
    assert a.state is state
    return a, z


STANDING = [ESTABLISHED, SHUTDOWN_PENDING, SHUTDOWN_SENT, SHUTDOWN_RECEIVED]


# -- INIT ----------------------------------------------------------------------------------------------------


def test_an_init_in_cookie_wait_is_answered_with_our_own_tag():
    """RFC 9260 §5.2.1: in COOKIE-WAIT the INIT ACK repeats the parameters of our INIT, its tag included."""
    a, z = ladder()
    a.connect()
    ours = z.expect(Init())  # A -- INIT --x
    z.send(Init())  # A <- INIT -- Z
    answer = z.expect(InitAck())  # A -- INIT ACK --> Z
    assert (answer.tag, answer.tsn) == (ours.tag, ours.tsn)
    assert (answer.window, answer.outbound, answer.inbound) == (ours.window, ours.outbound, ours.inbound)
    assert a.state is COOKIE_WAIT
    z.expect(Init(), after=1)  # T1-init goes on


def test_an_init_in_cookie_echoed_is_answered_with_our_own_tag():
    """RFC 9260 §5.2.1: in COOKIE-ECHOED the INIT ACK repeats the parameters of our INIT; T1 goes on."""
    a, z = ladder()
    a.connect()
    ours = z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(Init())
    answer = z.expect(InitAck())
    assert (answer.tag, answer.tsn) == (ours.tag, ours.tsn)
    assert a.state is COOKIE_ECHOED
    z.expect(CookieEcho(), after=1)


def test_inits_that_cross_make_one_association():
    """RFC 9260 §5.2.4 D: both begin, both cookies come back: one association, told once."""
    a, z = ladder()
    a.connect()
    z.expect(Init())  # A -- INIT -----\ /-- Z
    z.send(Init())  # A <- INIT -------X--- Z
    z.expect(InitAck())  # A -- INIT ACK --> Z
    z.send(InitAck())  # A <- INIT ACK -- Z
    z.expect(CookieEcho())  # A -- COOKIE ECHO --> Z
    z.send(CookieEcho())  # A <- COOKIE ECHO -- Z
    z.expect(CookieAck())  # A -- COOKIE ACK --> Z
    z.send(CookieAck())  # A <- COOKIE ACK -- Z
    z.expect_nothing()
    assert a.state is ESTABLISHED
    assert a.events() == [Established()]
    z.send(Data(1))
    z.expect(Sack(1))


def test_a_cookie_in_cookie_wait_begins_the_association():
    """RFC 9260 §5.2.4 B: tag matches, the peer's is not known yet: ESTABLISHED, T1-init stops."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(Init())
    z.expect(InitAck())
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert a.state is ESTABLISHED
    z.expect_nothing(20)


@pytest.mark.parametrize("state", STANDING)
def test_an_unexpected_init_is_answered_with_a_new_tag_and_changes_nothing(state):
    """RFC 9260 §5.2.2: INIT ACK to the new tag, with a new tag of ours; the association is not touched."""
    a, z = in_state(state)
    z.send(Init(tag=NEW, tsn=5000))  # A <- INIT -- Z'
    answer = z.expect(InitAck(), tag=NEW)  # A -- INIT ACK --> Z'
    assert answer.tag != z.tag_of_a
    assert (a.state, a.events()) == (state, [])
    if state is not SHUTDOWN_RECEIVED:
        z.send(Data(1))
        z.ignore()
        assert a.receive() == [b"data"]


def test_an_init_that_repeats_the_parameters_of_the_peer_changes_nothing():
    """RFC 9260 §5.2.2: a late duplicate of the INIT that began the association does no harm."""
    a, z = accepted()
    z.send(Init())
    z.expect(InitAck())
    z.send(Data(1))
    z.expect(Sack(1))
    assert (a.state, a.events()) == (ESTABLISHED, [])


def test_an_init_in_shutdown_ack_sent_brings_the_shutdown_ack_again():
    """RFC 9260 §9.2: in SHUTDOWN-ACK-SENT an INIT is discarded and SHUTDOWN ACK sent again."""
    a, z = in_state(SHUTDOWN_ACK_SENT)
    z.send(Init(tag=NEW))
    z.expect(ShutdownAck())
    assert a.state is SHUTDOWN_ACK_SENT


@pytest.mark.parametrize("state", [*STANDING, COOKIE_ECHOED, SHUTDOWN_ACK_SENT])
def test_an_unexpected_init_ack_is_discarded(state):
    """RFC 9260 §5.2.3: an INIT ACK outside COOKIE-WAIT is an old or duplicated one."""
    a, z = in_state(state)
    z.send(InitAck(tag=NEW))
    z.expect_nothing()
    assert a.state is state


def test_an_init_ack_after_the_end_is_discarded():
    """RFC 9260 §5.2.3: an INIT ACK for which there is no association gets no association, and no INIT."""
    a, z = in_state(CLOSED)
    z.send(InitAck(), tag=NEW)
    z.ignore()
    assert a.state is CLOSED


# -- COOKIE ECHO: the table of actions -----------------------------------------------------------------------


def restart(z: Peer, *, tsn: int = 5000) -> None:
    """Let Z begin anew, up to its COOKIE ECHO excluded."""
    z.send(Init(tag=NEW, tsn=tsn))  # A <- INIT -- Z'
    z.expect(InitAck(), tag=NEW)  # A -- INIT ACK --> Z'


def test_a_restarted_peer_gets_a_new_association():
    """RFC 9260 §5.2.4 A: tags differ, tie-tags match: the association begins anew, RESTART is told."""
    a, z = established()
    restart(z)
    z.send(CookieEcho())  # A <- COOKIE ECHO -- Z'
    z.expect(CookieAck(), tag=NEW)  # A -- COOKIE ACK --> Z'
    assert a.state is ESTABLISHED
    assert a.events() == [Restarted()]
    assert a.stats.restarts == 1
    z.send(Data(1, b"new life"))
    z.expect(Sack(1))
    assert a.receive() == [b"new life"]
    a.send(b"welcome")
    z.expect(Data(1, b"welcome", ssn=0))


def test_the_old_tag_is_worth_nothing_after_a_restart():
    """RFC 9260 §5.3.1: after a restart packets with the old tag are not of the association."""
    a, z = established()
    old = z.tag_of_a
    restart(z)
    z.send(CookieEcho())
    z.expect(CookieAck())
    z.send(Data(1), tag=old)
    z.ignore()
    assert a.receive() == []
    assert a.state is ESTABLISHED


def flight_of(a: Local, z: Peer, before: int = 0) -> int:
    """Let A send as much as it may; give the number of packets."""
    for _ in range(30):
        a.send(bytes(1132), stream=3)
    count = 0
    while z.is_heard:
        count += 1
        z.expect(Data(before + count, stream=3, ssn=before + count - 1))
    return count


def test_a_restart_starts_sequence_numbers_and_congestion_afresh():
    """RFC 9260 §5.2.4 A: SSNs, TSNs and congestion control are as at the beginning."""
    a, z = established()
    first = flight_of(a, z)
    z.send(Sack(first))
    grown = flight_of(a, z, first)
    z.send(Sack(first + grown))
    assert grown > first
    z.ignore()
    restart(z)
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert flight_of(a, z) == first


def test_data_in_flight_at_a_restart_does_not_stop_the_new_association():
    """RFC 9260 §5.2.4 A: unacknowledged data may be retained or dropped, but what follows arrives."""
    a, z = established()
    a.send(b"in flight")
    z.expect(Data(1))
    restart(z)
    z.send(CookieEcho())
    z.expect(CookieAck())
    z.ignore()
    a.send(b"after", stream=1)
    z.wait(5)
    assert z.is_heard
    assert a.association.buffered_amount(1) == 5


def test_messages_that_had_arrived_before_a_restart_are_still_delivered():
    """RFC 9260 §5.2.4 A: what was complete before the restart belongs to the application."""
    a, z = established()
    z.send(Data(1, b"old"))
    z.expect(Sack(1))
    restart(z)
    z.send(CookieEcho(), Data(1, b"new"))
    z.expect(CookieAck(), Sack(1))
    assert a.receive() == [b"old", b"new"]


def test_fragments_of_before_a_restart_are_forgotten():
    """RFC 9260 §5.2.4 A: a message that was incomplete is not completed by the new association."""
    a, z = established()
    z.send(Data(1, b"old-", flags="B", ssn=0))
    z.expect(Sack(1))
    restart(z, tsn=2)
    z.send(CookieEcho(), Data(1, b"end", flags="E", ssn=0))
    z.ignore()
    assert a.receive() == []


def test_a_restart_with_a_pending_reset_stands_up():
    """RFC 9260 §5.2.4 A: a stream reset that waits for its answer does not outlive the old association."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1))
    a.reset(0)
    z.ignore()
    restart(z)
    z.send(CookieEcho())
    z.expect(CookieAck())
    a.send(b"again")
    z.expect(Data(1, b"again", ssn=0))


@pytest.mark.parametrize("state", [SHUTDOWN_PENDING, SHUTDOWN_SENT, SHUTDOWN_RECEIVED])
def test_a_restart_while_shutting_down_is_established_again(state):
    """RFC 9260 §5.2.4 A: after a restart the endpoint enters ESTABLISHED, whatever it was about."""
    a, z = in_state(state)
    restart(z)
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert a.state is ESTABLISHED
    assert Restarted() in a.events()


def test_a_restart_with_the_old_tag_is_none():
    """RFC 9260 §5.2.4: only our tag differs, and there are tie-tags: in no row of the table, so discarded."""
    a, z = established()
    z.send(Init(tsn=5000))
    z.expect(InitAck(), tag=TAG)
    z.send(CookieEcho(z.answer.cookie), tag=z.answer.tag)
    z.expect_nothing()
    assert (a.state, a.events()) == (ESTABLISHED, [])


def test_a_restart_in_shutdown_ack_sent_is_refused():
    """RFC 9260 §5.2.4 A: in SHUTDOWN-ACK-SENT: SHUTDOWN ACK again, and an ERROR with the reason."""
    a, z = established()
    restart(z)
    old_tag = z.tag
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    z.send(CookieEcho(z.answer.cookie), tag=z.answer.tag)
    z.expect(ShutdownAck(), Error(wire.COOKIE_RECEIVED_WHILE_SHUTTING_DOWN), tag=old_tag)
    assert a.state is SHUTDOWN_ACK_SENT


def test_a_collision_takes_the_peers_new_tag():
    """RFC 9260 §5.2.4 B: our tag matches, the peer's does not: take its new tag, answer COOKIE ACK."""
    a, z = ladder()
    a.connect()
    z.expect(Init())  # A -- INIT --> Z
    z.send(InitAck())  # A <- INIT ACK -- Z
    z.expect(CookieEcho())  # A -- COOKIE ECHO --x
    z.send(Init(tag=NEW))  # A <- INIT -- Z, which has picked a new tag
    z.expect(InitAck(), tag=NEW)  # A -- INIT ACK --> Z
    z.send(CookieEcho())  # A <- COOKIE ECHO -- Z
    z.expect(CookieAck(), tag=NEW)  # A -- COOKIE ACK --> Z
    assert a.state is ESTABLISHED
    assert a.events() == [Established()]
    z.expect_nothing(5)  # T1-cookie is stopped


def test_a_collision_in_established_takes_all_that_the_peer_says_anew():
    """RFC 9260 §5.2.4 B: in ESTABLISHED too the peer's tag is updated, and with it its TSNs and window."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(Init(tag=NEW, tsn=7000))
    z.expect(InitAck(), tag=NEW)
    late = z.answer.cookie
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(CookieAck())
    assert a.state is ESTABLISHED
    z.answer = InitAck(tag=z.tag_of_a, tsn=z.first_tsn_of_a, parameters=((7, late),))
    z.send(CookieEcho())
    z.expect(CookieAck(), tag=NEW)
    z.send(Data(1))
    z.expect(Sack(1))
    assert a.receive() == [b"data"]


def late_cookie() -> tuple[Local, Peer, InitAck]:
    """Lead A to COOKIE-ECHOED with its second INIT; give what it has answered while the first was out."""
    a, z = ladder()
    a.connect()
    z.expect(Init())  # A -- INIT --x
    z.send(Init())  # A <- INIT -- Z
    late = z.expect(InitAck())  # A -- INIT ACK --> Z
    z.expect(Init(), after=1)  # A -- INIT --> Z, with another tag
    assert late.tag != z.tag_of_a
    z.send(InitAck())  # A <- INIT ACK -- Z
    z.expect(CookieEcho())  # A -- COOKIE ECHO --> Z
    return a, z, late


def test_data_lost_behind_a_cookie_that_lost_the_race_is_sent_again():
    """RFC 9260 §5.2.4 D: both begin; A's COOKIE ECHO is lost with its data: that is sent again."""
    a, z = ladder()
    a.connect()
    a.send(b"early")
    z.expect(Init())
    z.send(Init())
    z.expect(InitAck())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"early"))  # A -- COOKIE ECHO, DATA --x
    z.send(CookieEcho())  # A <- COOKIE ECHO -- Z
    z.expect(CookieAck())
    z.expect(Data(1, b"early"), after=1)
    z.send(Sack(1))
    assert a.association.total_buffered == 0


def test_a_restart_may_agree_on_other_extensions():
    """RFC 9260 §5.2.4 A: the new INIT decides anew: without I-DATA what is queued leaves in DATA."""
    a, z = established(interleaving=True, parameters=INTERLEAVING)
    a.send(bytes(30_000), stream=1)
    a.send(b"queued", stream=2)
    z.ignore()
    z.parameters = PLAIN
    restart(z)
    z.send(CookieEcho())
    a.send(b"new", stream=3)
    found: list[Data] = []
    for _ in range(20):
        while z.is_heard:
            found += [chunk for chunk in z.expect_any() if chunk != CookieAck()]
            assert all(type(chunk) is Data for chunk in found)
        z.send(Sack(found[-1].tsn))
    assert not a.association.features.interleaving
    assert [chunk.payload for chunk in found if chunk.stream == 3] == [b"new"]
    assert a.association.total_buffered == 0


@pytest.mark.parametrize("state", [COOKIE_ECHOED, *STANDING, SHUTDOWN_ACK_SENT])
def test_a_wrong_tag_is_wrong_in_every_state(state):
    """RFC 9260 §8.5: a packet with another tag than ours is silently discarded in every state."""
    a, z = in_state(state)
    for chunk in (Data(1), Sack(0), Abort(), Shutdown(0), ShutdownAck(), CookieAck(), Error(3, bytes(4))):
        z.send(chunk, tag=z.tag_of_a ^ 0x10)
    z.expect_nothing()
    assert a.state is state


def test_a_late_cookie_is_discarded():
    """RFC 9260 §5.2.4 C: our tag differs, the peer's matches, no tie-tags: silently discarded."""
    a, z, late = late_cookie()
    z.send(CookieAck())
    z.send(CookieEcho(late.cookie), tag=late.tag)
    z.expect_nothing()
    assert (a.state, a.events()) == (ESTABLISHED, [Established()])


def test_a_late_cookie_in_cookie_echoed_leaves_the_timer_running():
    """RFC 9260 §5.2.4 C: no change of state, and timers go on."""
    a, z, late = late_cookie()
    z.wait(0.4)
    z.send(CookieEcho(late.cookie), tag=late.tag)
    z.expect_nothing()
    assert a.state is COOKIE_ECHOED
    z.expect(CookieEcho(), after=0.6)


def test_a_cookie_in_no_row_of_the_table_is_discarded():
    """RFC 9260 §5.2.4: tags differ and tie-tags do not match: silently discarded."""
    a, z = established()
    restart(z)
    old = z.answer
    z.send(CookieEcho())  # the restart happens
    z.expect(CookieAck())
    a.events()
    z.send(CookieEcho(old.cookie), tag=old.tag)
    z.expect(CookieAck())  # both tags match by now: D
    z.send(Init(tag=0x555, tsn=1))
    z.expect(InitAck(), tag=0x555)
    first = z.answer
    z.send(Init(tag=0x666, tsn=1))
    z.expect(InitAck(), tag=0x666)
    z.send(CookieEcho())
    z.expect(CookieAck(), tag=0x666)
    assert a.events() == [Restarted()]
    z.send(CookieEcho(first.cookie), tag=first.tag)  # its tie-tags are of the association before
    z.expect_nothing()
    assert (a.state, a.events()) == (ESTABLISHED, [])


def test_a_duplicate_cookie_is_acknowledged_however_old():
    """RFC 9260 §5.2.4 3: if both tags match the cookie counts, even when its life is over."""
    a, z = accepted()
    z.wait(100)
    z.ignore()
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert (a.state, a.events()) == (ESTABLISHED, [])


def test_a_stale_cookie_of_a_restart_is_reported():
    """RFC 9260 §5.2.4 3: too old and of other tags: ERROR with cause Stale Cookie, no restart."""
    a, z = established()
    restart(z)
    z.wait(61)
    z.ignore()
    z.send(CookieEcho(z.answer.cookie), tag=z.answer.tag)
    z.expect(Error(wire.STALE_COOKIE), tag=NEW)
    assert (a.state, a.events()) == (ESTABLISHED, [])


def test_a_duplicate_cookie_with_data_is_acknowledged_and_its_data_taken_once():
    """RFC 9260 §5.2.4 D: COOKIE ECHO sent again with its data: COOKIE ACK, and the data is a duplicate."""
    a, z = ladder()
    z.send(Init())
    z.expect(InitAck())
    z.send(CookieEcho(), Data(1))
    z.expect(CookieAck(), Sack(1))
    z.send(CookieEcho(), Data(1))
    z.expect(CookieAck(), Sack(1, duplicates=(1,)))
    assert a.receive() == [b"data"]


def test_a_forged_cookie_does_not_touch_a_standing_association():
    """RFC 9260 §5.2.4 2: a cookie that is not ours is discarded, and what is behind it."""
    a, z = established()
    restart(z)
    forged = bytearray(z.answer.cookie)
    forged[-1] ^= 1
    z.send(CookieEcho(bytes(forged)), Data(1), tag=z.answer.tag)
    z.expect_nothing()
    assert (a.state, a.events(), a.receive()) == (ESTABLISHED, [], [])


def test_after_the_end_an_init_is_refused():
    """RFC 9260 §8.4 3: an INIT that cannot be served gets an ABORT with its Initiate Tag, T bit 0."""
    a, z = established()
    a.abort()
    z.expect(Abort(wire.USER_INITIATED_ABORT))
    z.send(Init(tag=NEW))
    z.expect(Abort(reflected=False), tag=NEW)


def test_the_tag_stays_for_the_life_of_the_association():
    """RFC 9260 §5.3.1: every packet bears the tag of the peer's INIT or INIT ACK, from first to last."""
    a, z = established()
    a.send()
    z.expect(Data(1), tag=TAG)
    z.expect(Data(1), tag=TAG, after=1)
    z.send(Sack(1))
    a.shutdown()
    z.expect(Shutdown(0), tag=TAG)
