"""Partial reliability: FORWARD-TSN both ways, limits by count and by time (RFC 3758, RFC 7496)."""

from __future__ import annotations

import pytest
from sctp_peer import CLOSED, ESTABLISHED, SHUTDOWN_SENT, Local, Peer, established, extensions, ladder
from sctp_script import (
    ANY,
    Abort,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    ForwardTsn,
    IForwardTsn,
    Init,
    InitAck,
    Raw,
    Sack,
    Shutdown,
)

from rtcstack.sctp import chunks as wire

WITHOUT = extensions(wire.RE_CONFIG, partial=False)


def one_lost(**how: object) -> tuple[Local, Peer]:
    """Establish; TSN 1 has come, TSN 2 is missing, TSN 3 waits behind it."""
    a, z = established()
    z.send(Data(1))
    z.expect(Sack(1))
    z.send(Data(3))
    z.expect(Sack(1, gaps=((3, 3),)))
    assert a.receive() == [b"data"]
    return a, z


# -- receiving -----------------------------------------------------------------------------------------------


def test_a_forward_tsn_moves_the_cumulative_tsn():
    """RFC 3758 §3.6: the cumulative TSN goes to the new value, and on over what has come behind it."""
    a, z = one_lost()
    z.send(ForwardTsn(2, ((0, 1),)))
    z.expect(Sack(3))
    assert a.receive() == [b"data"]


def test_the_cumulative_tsn_moves_on_as_in_the_standard():
    """RFC 3758 §3.6: 102 received, 103 missing, 104 and 105 there: FORWARD-TSN 103 leads to 105."""
    _, z = established()
    z.send(Data(1))
    z.expect(Sack(1))
    z.send(Data(3), Data(4), Data(6))
    z.expect(Sack(1, gaps=((3, 4), (6, 6))))
    z.send(ForwardTsn(2, ((0, 1),)))
    z.expect(Sack(4, gaps=((6, 6),)))


def test_messages_behind_a_skipped_one_are_delivered():
    """RFC 3758 §3.6: what waited for the skipped SSN becomes deliverable at once."""
    a, z = established()
    z.send(Data(2, b"second"), Data(3, b"third"))
    assert a.receive() == []
    z.send(ForwardTsn(1, ((0, 0),)))
    assert a.receive() == [b"second", b"third"]


def test_several_streams_are_skipped_at_once():
    """RFC 3758 §3.6: each listed stream is examined."""
    a, z = established()
    z.send(Data(3, b"on 1", stream=1, ssn=1), Data(4, b"on 2", stream=2, ssn=1))
    z.send(ForwardTsn(2, ((1, 0), (2, 0))))
    assert sorted(a.receive()) == [b"on 1", b"on 2"]


def test_messages_that_had_arrived_below_the_skipped_number_are_delivered():
    """RFC 3758 §3.6: SSNs up to and including the listed one are made available, in order."""
    a, z = established()
    z.send(Data(2, b"1"), Data(3, b"2"), Data(5, b"4"))
    z.send(ForwardTsn(4, ((0, 3),)))
    assert a.receive() == [b"1", b"2", b"4"]


def test_unordered_data_needs_no_entry():
    """RFC 3758 §3.5 C4: unordered messages are skipped by the TSN alone."""
    a, z = established()
    z.send(Data(2, b"there", flags="UBE"))
    assert a.receive() == [b"there"]
    z.send(ForwardTsn(1))
    z.ignore()
    z.send(Data(3, b"first", ssn=0))
    assert a.receive() == [b"first"]


def test_a_partly_received_message_is_thrown_away():
    """RFC 3758 §3.6: fragments of a message that misses a TSN up to the new value are removed."""
    a, z = established()
    z.send(Data(1, b"begin-", flags="B", ssn=0), Data(2, b"middle-", flags="", ssn=0))
    z.send(ForwardTsn(3, ((0, 0),)))
    z.send(Data(4, b"next", ssn=1))
    assert a.receive() == [b"next"]
    z.ignore()
    assert z.a.association.stats.drops.get("FORWARD-TSN outside the window", 0) == 0


def test_a_partly_received_unordered_message_is_thrown_away():
    """RFC 3758 §3.6: unordered fragments too."""
    a, z = established()
    z.send(Data(1, b"begin-", flags="UB"))
    z.send(ForwardTsn(3))
    z.send(Data(4, b"whole", flags="UBE"))
    assert a.receive() == [b"whole"]


def test_late_fragments_of_a_skipped_message_are_never_joined():
    """RFC 3758 §3.6: the end of a skipped message that comes after all is no message."""
    a, z = established()
    z.send(Data(1, b"begin-", flags="B", ssn=0))
    z.send(ForwardTsn(2, ((0, 0),)))
    z.send(Data(3, b"end", flags="E", ssn=0))
    z.send(Data(4, b"next", ssn=1))
    assert a.receive() == [b"next"]


def test_a_skipped_tsn_that_comes_after_all_is_a_duplicate():
    """RFC 3758 §3.6: data below the new cumulative TSN is dropped and reported as a duplicate."""
    a, z = one_lost()
    z.send(ForwardTsn(2, ((0, 1),)))
    z.expect(Sack(3))
    a.receive()
    z.send(Data(2))
    z.expect(Sack(3, duplicates=(2,)))
    assert a.receive() == []


@pytest.mark.parametrize("tsn", [0, 1, -5])
def test_a_forward_tsn_that_is_behind_is_out_of_date(tsn):
    """RFC 3758 §3.6: at or behind the cumulative TSN: nothing changes, but a SACK is sent."""
    a, z = one_lost()
    z.send(ForwardTsn(tsn, ((0, 50),)))
    z.expect(Sack(1, gaps=((3, 3),)))
    z.send(Data(2))
    z.expect(Sack(3))
    assert a.receive() == [b"data", b"data"]


@pytest.mark.parametrize("tsn", [1 << 31, (1 << 31) - 1, 1_000_000])
def test_a_forward_tsn_far_ahead_is_not_believed(tsn):
    """RFC 3758 §3.6: nothing beyond the window can have been sent, so it cannot be skipped."""
    a, z = one_lost()
    z.send(ForwardTsn(tsn, ((0, 1),)))
    z.ignore()
    if a.state is CLOSED:
        return
    z.send(Data(2))
    z.expect(Sack(3))


def test_the_next_expected_number_never_goes_back():
    """RFC 3758 §3.6: an entry below what has been delivered does not make old numbers deliverable again."""
    a, z = established()
    z.send(Data(1, b"0"), Data(2, b"1"), Data(3, b"2"))
    a.receive()
    z.send(ForwardTsn(4, ((0, 0),)))
    z.send(Data(5, b"again", ssn=1))
    assert a.receive() == []
    z.send(Data(6, b"3", ssn=3))
    assert a.receive() == [b"3"]


@pytest.mark.parametrize("skipped", [((0, 1), (0, 1)), ((77, 5),), ((65535, 65535),), ((0, 1), (99, 0))])
def test_odd_entries_do_no_harm(skipped):
    """RFC 3758 §3.6: a stream named twice, a stream never used, a stream that does not exist."""
    a, z = one_lost()
    z.send(ForwardTsn(2, skipped))
    z.ignore()
    assert a.state is ESTABLISHED
    z.send(Data(4))
    z.send(Data(4))
    z.expect(Sack(4, duplicates=ANY))


@pytest.mark.parametrize("value", [b"", b"\0\0\0", bytes(6), bytes(9)])
def test_a_malformed_forward_tsn_is_dropped(value):
    """RFC 3758 §3.2: the chunk is 8 bytes and 4 for each entry."""
    a, z = one_lost()
    z.send(Raw(wire.FORWARD_TSN, value))
    z.ignore()
    assert a.state is ESTABLISHED
    z.send(Data(2))
    z.expect(Sack(3))


def test_a_forward_tsn_without_news_is_acknowledged_at_once():
    """RFC 3758 §3.6: a duplicate may mean that our SACK was lost: it is sent again."""
    _, z = one_lost()
    z.send(ForwardTsn(2, ((0, 1),)))
    z.expect(Sack(3))
    z.send(ForwardTsn(2, ((0, 1),)))
    z.expect(Sack(3))


def test_a_forward_tsn_that_was_not_agreed_on_is_reported():
    """RFC 3758 §3.3.1: without the agreement a FORWARD-TSN is unknown: ERROR, or the end, never obeyed."""
    a, z = established(parameters=WITHOUT)
    z.send(Data(2, b"waits"))
    z.expect(Sack(0, gaps=((2, 2),)))
    z.send(ForwardTsn(1, ((0, 0),)))
    (answer,) = z.expect_any()
    assert isinstance(answer, Abort | Error)
    assert a.receive() == []


def test_a_forward_tsn_may_precede_data_in_its_packet():
    """RFC 3758 §3.5 F2: FORWARD-TSN is bundled with DATA."""
    a, z = one_lost()
    z.send(ForwardTsn(2, ((0, 1),)), Data(4))
    z.expect(Sack(4))
    assert len(a.receive()) == 2


def test_a_forward_tsn_counts_in_shutdown_sent():
    """RFC 3758 §3.6: FORWARD-TSN is taken wherever DATA is: while we wait for the peer's last data too."""
    a, z = established()
    z.send(Data(1))
    z.expect(Sack(1))
    a.shutdown()
    z.expect(Shutdown(1))
    z.send(Data(3))
    z.ignore()
    z.send(ForwardTsn(2, ((0, 1),)))
    found = z.expect_any()
    assert Sack(3).matches(found[0]) or Shutdown(3) in found
    assert len(a.receive()) == 2
    assert a.state is SHUTDOWN_SENT


def test_a_forward_tsn_across_the_wrap():
    """RFC 9260 §1.6: the new cumulative TSN is a serial number."""
    a, z = established(first_tsn=0xFFFFFFFE)
    z.send(Data(1))
    z.expect(Sack(1))
    z.send(Data(5))
    z.expect(Sack(1, gaps=((5, 5),)))
    z.send(ForwardTsn(4, ((0, 3),)))
    z.expect(Sack(5))
    assert len(a.receive()) == 2


# -- sending -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_message_is_sent_again_no_more_often_than_allowed(limit):
    """RFC 7496 §4.1: after so many retransmissions it is abandoned and FORWARD-TSN skips it."""
    a, z = established(rto_max=1.0)
    a.send(b"maybe", max_retransmits=limit)
    z.expect(Data(1, b"maybe"))
    for _ in range(limit):
        z.expect(Data(1, b"maybe"), after=1)
    z.expect(ForwardTsn(1, ((0, 0),)), after=1)
    assert a.association.total_buffered == 0
    assert a.stats.abandoned_messages == 1


def test_a_message_is_not_sent_again_after_its_lifetime():
    """RFC 7496 §4.1, RFC 3758 §4.1: when its time is over an unacknowledged message is abandoned."""
    a, z = established()
    a.send(b"now or never", lifetime=0.5)
    z.expect(Data(1))
    z.expect(ForwardTsn(1, ((0, 0),)), after=1)
    assert a.association.total_buffered == 0


def test_a_message_whose_time_is_over_is_never_sent():
    """RFC 3758 §4.1: before a TSN is assigned an expired message just vanishes: no FORWARD-TSN is needed."""
    a, z = established()
    z.window = 1_000_000
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=0))
    a.send(b"too late", lifetime=0.5)
    a.send(b"good")
    z.wait(0.6)
    z.ignore()
    z.send(Sack(1, window=100_000))
    z.expect(Data(2, b"good", ssn=1))


def test_a_reported_loss_abandons_too():
    """RFC 3758 §3.5 A2: a message that SACKs report as missing is abandoned instead of sent again."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.wait(0.1)
    z.send(Sack(1))
    a.send(b"maybe", max_retransmits=0)
    z.expect(Data(2))
    z.wait(0.001)
    for tsn in (3, 4, 5):
        a.send()
        z.expect(Data(tsn))
    z.wait(0.1)
    z.send(Sack(1, gaps=((3, 5),)))
    z.wait(0.05)
    assert ForwardTsn(2, ((0, 1),)) in z.expect_any()
    assert a.stats.retransmitted_chunks == 0


def test_a_message_that_is_lost_again_and_again_is_abandoned():
    """RFC 7496 §4.2: losses that SACKs report count like those of the timer."""
    a, z = established(initial_window=50)
    a.send(b"maybe", max_retransmits=2)
    a.send()
    z.expect(Data(1), Data(2))
    sent = 1
    for tsn in range(3, 30):
        z.wait(0.1)
        z.send(Sack(0, gaps=((2, tsn - 1),)))
        a.send()
        z.wait(0.05)
        while z.is_heard:
            chunks = z.expect_any()
            sent += sum(isinstance(chunk, Data) and chunk.tsn == 1 for chunk in chunks)
            if ForwardTsn(1, ((0, 0),)) in chunks:
                assert sent == 3
                return
    raise AssertionError("it is never abandoned")


def test_a_message_that_expires_while_it_is_partly_sent_is_ended():
    """RFC 3758 §3.5 A3: what was sent is skipped, what was not is dropped, and the stream goes on."""
    a, z = established(initial_window=4)
    a.send(bytes(50_000), lifetime=0.5)
    a.send(b"next", stream=1)
    sent = 0
    while z.is_heard:
        sent = max([sent, *[chunk.tsn for chunk in z.expect_any()]])
    z.wait(0.6)
    z.send(Sack(sent))
    found = []
    for _ in range(5):
        z.wait(0.5)
        while z.is_heard:
            found += z.expect_any()
        forwards = [chunk.tsn for chunk in found if isinstance(chunk, ForwardTsn)]
        z.send(Sack(max([sent, *forwards])))
    assert all(chunk.payload == b"next" for chunk in found if isinstance(chunk, Data))
    assert a.association.buffered_amount(0) == 0


def test_a_reliable_message_is_never_abandoned():
    """RFC 3758 §3.5: messages without a limit are as reliable as ever."""
    a, z = established(rto_max=1.0)
    a.send(b"reliable")
    z.expect(Data(1))
    for _ in range(60):
        z.expect(Data(1, b"reliable"), after=1)
    assert a.stats.abandoned_messages == 0


def test_a_forward_tsn_is_repeated_until_it_is_acknowledged():
    """RFC 3758 §3.5 C5: while the peer has not caught up, T3-rtx runs and FORWARD-TSN is sent again."""
    a, z = established(rto_max=1.0)
    a.send(max_retransmits=0)
    z.expect(Data(1))
    z.expect(ForwardTsn(1, ((0, 0),)), after=1)  # A -- FORWARD-TSN --x
    z.expect(ForwardTsn(1, ((0, 0),)), after=1)
    z.expect(ForwardTsn(1, ((0, 0),)), after=1)
    z.send(Sack(1))
    z.expect_nothing(5)
    assert a.stats.forward_tsns_sent == 3


def test_a_sack_behind_the_advanced_point_brings_a_forward_tsn():
    """RFC 3758 §3.5 C3: after a SACK below Advanced.Peer.Ack.Point a FORWARD-TSN is due."""
    a, z = established()
    a.send(max_retransmits=0)
    z.expect(Data(1))
    z.expect(ForwardTsn(1, ((0, 0),)), after=1)
    z.wait(0.5)
    a.send()
    z.ignore()
    z.send(Sack(0, gaps=((2, 2),)))
    z.wait(0.5)
    found = []
    while z.is_heard:
        found += z.expect_any()
    assert ForwardTsn(1, ((0, 0),)) in found


def test_a_tail_probe_is_a_retransmission():
    """RFC 7496 §4.2: a message that may not be retransmitted is sent once, and no probe sends it again."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.wait(0.1)
    z.send(Sack(1))
    a.send(b"once", max_retransmits=0)
    z.expect(Data(2, b"once"))
    z.wait(5)
    while z.is_heard:
        assert not any(isinstance(chunk, Data) for chunk in z.expect_any())


def test_the_whole_message_is_abandoned_with_its_fragment():
    """RFC 3758 §3.5 A3: all TSNs of a fragmented message go together, acknowledged or not."""
    a, z = established()
    a.send(bytes(3000), max_retransmits=0)
    for tsn in (1, 2, 3):
        z.expect(Data(tsn))
    z.send(Sack(1))
    z.wait(1.2)
    found = []
    while z.is_heard:
        found += z.expect_any()
    assert ForwardTsn(3, ((0, 0),)) in found
    assert not any(isinstance(chunk, Data) for chunk in found)
    assert a.association.total_buffered == 0


def test_a_message_that_is_partly_sent_is_ended_for_the_peer():
    """RFC 3758 §3.5 A3: fragments not sent yet are abandoned too, and the next message begins cleanly."""
    a, z = established(initial_window=4)
    a.send(bytes(20_000), max_retransmits=0)
    a.send(b"next")
    sent = 0
    while z.is_heard:
        sent = z.expect(Data()).tsn
    assert sent < 10
    z.wait(1.0)
    found = []
    for _ in range(10):
        while z.is_heard:
            found += z.expect_any()
        forwards = [chunk for chunk in found if isinstance(chunk, ForwardTsn)]
        if forwards:
            z.send(Sack(forwards[-1].tsn))
        z.wait(0.1)
    while z.is_heard:
        found += z.expect_any()
    (following,) = {(chunk.tsn, chunk.ssn) for chunk in found if isinstance(chunk, Data)}
    last = [chunk for chunk in found if isinstance(chunk, ForwardTsn)][-1]
    assert last.skipped == ((0, 0),)
    assert following == (last.tsn + 1, 1)


def test_each_stream_is_named_once_with_its_highest_number():
    """RFC 3758 §3.5 C4: of several abandoned messages of a stream the highest SSN is reported."""
    a, z = established()
    for stream in (1, 2, 1, 2, 1):
        a.send(stream=stream, max_retransmits=0)
    z.expect(*[Data()] * 5)
    z.wait(1)
    (forward,) = z.expect_any()
    assert forward.tsn == 5
    assert sorted(forward.skipped) == [(1, 2), (2, 1)]


def test_unordered_messages_are_not_named():
    """RFC 3758 §3.5 C4: only ordered messages have a stream and a number to report."""
    a, z = established()
    a.send(ordered=False, max_retransmits=0)
    z.expect(Data(1, flags="UBE"))
    z.expect(ForwardTsn(1), after=1)


def test_only_what_lies_before_the_first_reliable_message_is_skipped():
    """RFC 3758 §3.5 C2: the advanced point stops at the first TSN neither abandoned nor acknowledged."""
    a, z = established()
    a.send(b"maybe", max_retransmits=0)
    a.send(b"surely")
    a.send(b"maybe", max_retransmits=0)
    z.expect(Data(1), Data(2), Data(3))
    z.wait(1)
    assert z.expect_any() == [ForwardTsn(1, ((0, 0),)), Data(2, b"surely", 0, 1, 51, "BE")]
    z.send(Sack(2))
    found = []
    z.wait(1)
    while z.is_heard:
        found += z.expect_any()
    assert ForwardTsn(3, ((0, 2),)) in found


def test_the_buffered_amount_falls_when_a_message_is_abandoned():
    """RFC 3758 §3.5 A2: an abandoned message counts as acknowledged."""
    a, z = established()
    a.send(bytes(500), stream=3, max_retransmits=0)
    z.expect(Data(1))
    assert a.association.buffered_amount(3) == 500
    z.wait(1)
    assert a.association.buffered_amount(3) == 0


def test_nothing_is_abandoned_unless_the_peer_knows_forward_tsn():
    """RFC 3758 §3.3.2: without the peer's support no FORWARD-TSN is ever sent: all messages are reliable."""
    a, z = established(parameters=WITHOUT, rto_max=1.0)
    a.send(max_retransmits=0)
    z.expect(Data(1))
    for _ in range(5):
        z.expect(Data(1), after=1)
    assert a.stats.forward_tsns_sent == 0


def test_nothing_is_skipped_before_the_association_stands():
    """RFC 9260 §5.1 C: until COOKIE ACK no packet but COOKIE ECHO: a FORWARD-TSN waits."""
    a, z = ladder()
    a.send(b"maybe", max_retransmits=0)
    a.send(b"surely")
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"maybe"), Data(2, b"surely"))
    z.expect(CookieEcho(), Data(2, b"surely"), after=1)
    z.expect_nothing()
    z.send(CookieAck(), Sack(0, gaps=((2, 2),)))
    z.wait(0.5)
    z.expect(ForwardTsn(1, ((0, 0),)))


def test_a_message_abandoned_during_set_up_does_not_come_back():
    """RFC 3758 §3.5 A2: abandoned is abandoned, though the handshake begins anew."""
    a, z = ladder()
    a.send(b"maybe", max_retransmits=0)
    a.send(b"surely")
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"maybe"), Data(2, b"surely"))
    z.wait(1.1)
    z.ignore()
    z.send(Error(wire.STALE_COOKIE, bytes(4)))
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"surely"))


def test_a_shutdown_skips_what_is_abandoned_first():
    """RFC 3758 §3.5, RFC 9260 §9.2: SHUTDOWN waits until the peer has heard of everything abandoned."""
    a, z = established()
    a.send(max_retransmits=0)
    z.expect(Data(1))
    a.shutdown()
    z.expect(ForwardTsn(1, ((0, 0),)), after=1)
    z.expect_nothing()
    z.send(Sack(1))
    z.expect(Shutdown(0))


def test_a_forward_tsn_with_too_many_streams_is_cut_at_a_tsn():
    """RFC 3758 §3.5 C4: if not all entries fit the chunk ends at the last TSN whose entry fits."""
    a, z = established(initial_window=100)
    z.streams = 65535
    for stream in range(100):
        a.send(b"x", stream=stream, max_retransmits=0)
    while z.is_heard:
        z.expect_any()
    z.wait(1)
    skipped = 0
    while z.is_heard:
        for chunk in z.expect_any():
            if isinstance(chunk, ForwardTsn):
                assert chunk.tsn == len(chunk.skipped)
                skipped = max(skipped, chunk.tsn)
    assert skipped == 100


def test_i_forward_tsn_is_not_used_without_i_data():
    """RFC 8260 §2.3.1: FORWARD-TSN goes with DATA; an I-FORWARD-TSN then ends the association."""
    a, z = established()
    z.send(IForwardTsn(1, ((0, False, 0),)))
    z.expect(Abort(wire.PROTOCOL_VIOLATION))
    assert a.state is CLOSED
