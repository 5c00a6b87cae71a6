"""Sending user data: SACKs, the peer's window, T3-rtx, loss, bundling and fragments (RFC 9260 §6)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from sctp_peer import CLOSED, ESTABLISHED, Local, Peer, established, greet, ladder
from sctp_script import (
    ANY,
    Abort,
    CookieAck,
    CookieEcho,
    Data,
    ForwardTsn,
    IData,
    Init,
    InitAck,
    Raw,
    Sack,
    Shutdown,
)

from rtcstack.errors import Closed, Full, InvalidParameter
from rtcstack.sctp import BufferedAmountLow
from rtcstack.sctp import chunks as wire

FULL = 1132
"""Bytes of the largest message that fits into a packet."""


def tsns(z: Peer) -> list[int]:
    """Take all that A has sent; give the TSNs of the DATA chunks."""
    found = []
    while z.is_heard:
        found += [chunk.tsn for chunk in z.expect_any() if isinstance(chunk, Data)]
    return found


def distant(rtt: float = 0.1, **how: object) -> tuple[Local, Peer]:
    """Establish, and let A measure a round trip of so many seconds with its TSN 1."""
    a, z = established(**{"initial_window": 10, **how})
    a.send()
    z.expect(Data(1))
    z.wait(rtt)
    z.send(Sack(1))
    z.expect_nothing()
    return a, z


# -- SACKs ---------------------------------------------------------------------------------------------------


def test_data_is_buffered_until_it_is_acknowledged():
    """RFC 9260 §6.1: what is sent stays until the Cumulative TSN Ack covers it."""
    a, z = established()
    a.send(bytes(100))
    z.expect(Data(1))
    assert a.association.total_buffered == 100
    z.send(Sack(1))
    assert a.association.total_buffered == 0
    z.expect_nothing(30)


def test_an_old_sack_is_dropped():
    """RFC 9260 §6.2.1 D i: a SACK below the Cumulative TSN Ack Point is out of order and changes nothing."""
    a, z = established()
    for tsn in (1, 2, 3):
        a.send()
        z.expect(Data(tsn))
    z.send(Sack(2))
    z.send(Sack(1, window=0))  # it comes too late; the window it tells of is history
    assert a.stats.old_sacks == 1
    a.send()
    z.expect(Data(4))


@pytest.mark.parametrize(
    "sack",
    [
        Sack(9),
        Sack(1 << 30),
        Sack(1, gaps=((3, 9),)),
        Sack(1, gaps=((4, 3),)),
        Sack(1, gaps=((1, 1),)),
        Sack(1, gaps=((3, 3), (3, 4))),
        Sack(1, gaps=((4, 4), (3, 3))),
        Sack(1, gaps=((3, 65536),)),
    ],
    ids=[
        "ahead",
        "far ahead",
        "gap ahead",
        "gap backwards",
        "gap at the cumulative TSN",
        "gaps overlap",
        "gaps descend",
        "gap of 65533",
    ],
)
def test_a_sack_that_cannot_be_true_changes_nothing(sack):
    """RFC 9260 §6.2.1: what was never sent cannot be acknowledged; no part of such a SACK is applied."""
    a, z = established()
    for tsn in (1, 2, 3, 4):
        a.send(bytes(100))
        z.expect(Data(tsn))
    z.send(sack)
    if a.state is CLOSED:  # to abort with Protocol Violation is allowed as well
        return
    assert a.association.total_buffered == 400
    z.expect(Data(1), Data(2), Data(3), Data(4), after=1)


def test_an_acknowledgement_before_the_data_is_sent_is_worthless():
    """RFC 9260 §7.2.1: a peer that acknowledges ahead wins nothing: only what was sent counts."""
    a, z = established()
    z.send(Sack(100))
    a.send()
    z.expect(Data(1))
    z.expect(Data(1), after=1)
    assert a.association.total_buffered == 4


def test_duplicates_in_a_sack_are_taken_note_of_at_most():
    """RFC 9260 §6.2: the duplicate list may be used or ignored; thousands of entries do no harm."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, duplicates=tuple(range(5000))))
    a.send()
    z.expect(Data(2))
    assert a.state is ESTABLISHED


def test_the_largest_window_is_taken():
    """RFC 9260 §3.3.4: a_rwnd is 32 bits without a sign."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=0xFFFFFFFF))
    a.send()
    z.expect(Data(2))


def test_a_sack_whose_counts_do_not_fit_is_dropped():
    """RFC 9260 §3.3.4: the number of gap blocks and duplicates must fill the chunk."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    good = Sack(1).write(z)
    for lie in (b"\0\1\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff"):
        z.deliver(z.packet_of_bytes(good[:12] + lie))
    assert a.association.total_buffered == 4


def test_a_sack_is_taken_in_shutdown_pending_and_shutdown_received():
    """RFC 9260 §6: SACKs are processed in SHUTDOWN-PENDING and SHUTDOWN-RECEIVED too."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    a.shutdown()
    z.send(Sack(1))
    z.expect(Shutdown(0))


def test_data_that_the_peer_takes_back_is_sent_again():
    """RFC 9260 §6.2.1 D iii: a TSN that was in a gap block and is no more counts as missing."""
    a, z = established()
    for tsn in (1, 2, 3):
        a.send(bytes(100))
        z.expect(Data(tsn))
    z.send(Sack(0, gaps=((3, 3),)))
    z.ignore()
    z.send(Sack(2))  # TSN 3 was reported before, and is not any more
    z.ignore()
    found = []
    for _ in range(10):
        z.wait(1)
        found += tsns(z)
    assert 3 in found


# -- the peer's window ---------------------------------------------------------------------------------------


def test_no_more_is_sent_than_the_peer_has_room_for():
    """RFC 9260 §6.1 A: what is outstanding never exceeds the peer's a_rwnd."""
    a, z = established(initial_window=100)
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=5000))
    for _ in range(20):
        a.send(bytes(1000))
    sent = tsns(z)
    assert sent in ([2, 3, 4, 5], [2, 3, 4, 5, 6])  # the last one may wait for a full packet's room
    z.send(Sack(3, window=5000))
    assert len(tsns(z)) == 2


def test_the_window_of_the_init_holds_until_the_first_sack():
    """RFC 9260 §6.2.1 A: at first the peer's window is what its INIT or INIT ACK says."""
    a, z = ladder(initial_window=100)
    z.window = 5000
    greet(a, z)
    for _ in range(20):
        a.send(bytes(1000))
    assert tsns(z) in ([1, 2, 3, 4], [1, 2, 3, 4, 5])


def test_a_closed_window_is_probed_with_back_off():
    """RFC 9260 §6.1 A: the first probe after one RTO, one packet at a time, ever rarer; for ever."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=0))
    for _ in range(5):
        a.send(bytes(1000))
    z.expect(Data(2), after=1)
    times = []
    while sum(times) < 300:
        start = a.now
        z.send(Sack(1, window=0))  # dropped, there is no room
        z.expect_nothing()
        while not z.is_heard:
            z.step()
        z.expect(Data(2))
        times.append(a.now - start)
    assert all(later >= earlier - 0.001 for earlier, later in pairwise(times))
    assert max(times) <= 60.001
    assert len(times) <= 15
    assert a.state is ESTABLISHED


def test_a_window_that_opens_is_used_at_once():
    """RFC 9260 §6.1: a SACK that opens the window lets data flow without waiting for a timer."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=0))
    for _ in range(3):
        a.send(bytes(1000))
    z.expect_nothing()
    z.send(Sack(1, window=100_000))
    assert tsns(z) == [2, 3, 4]


def test_a_probe_that_is_taken_opens_nothing_while_the_window_is_closed():
    """RFC 9260 §6.1 A: a probe may be acknowledged though the window stays shut: the next one waits again."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=0))
    for _ in range(3):
        a.send(bytes(1000))
    z.expect(Data(2), after=1)
    z.send(Sack(2, window=0))
    z.expect_nothing(0.5)
    z.wait(10)
    assert tsns(z)[0] == 3


def test_no_small_packets_are_squeezed_into_a_small_window():
    """RFC 9260 §6.1 A: silly window: no fragment is made smaller because the window is nearly closed."""
    a, z = established(initial_window=100)
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=100))
    a.send(bytes(50_000))
    z.expect_nothing()
    z.send(Sack(1, window=2000))
    assert len(z.expect(Data(2)).payload) == FULL
    z.expect_nothing()


def test_lost_data_is_repaired_though_the_window_is_closed():
    """RFC 9260 §6.1 A: a closed window stops new data; what it has room for by right is sent again."""
    a, z = established()
    for tsn in range(1, 5):
        a.send(bytes(100))
        z.expect(Data(tsn))
    z.wait(0.1)
    z.send(Sack(0, gaps=((2, 4),), window=0))
    z.wait(0.9)
    z.expect(Data(1))
    z.send(Sack(4, window=0))
    z.expect_nothing(30)


def test_a_message_that_expires_in_front_of_a_closed_window_leaves_no_timer_behind():
    """RFC 9260 §6.1 A: with nothing left to send there is nothing to probe for."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1, window=0))
    a.send(bytes(1000), lifetime=0.5)
    z.expect_nothing()
    z.wait(0.6)
    z.expect_nothing()
    z.wait(1000)
    z.ignore()
    assert a.association.total_buffered == 0
    assert a.association.deadline > a.now


def test_a_window_that_shrinks_below_what_is_outstanding_stops_the_sender():
    """RFC 9260 §6.2.1 D ii: rwnd is a_rwnd less what is outstanding, and never below nothing."""
    a, z = established(initial_window=100)
    for _ in range(10):
        a.send(bytes(1000))
    assert tsns(z) == [*range(1, 11)]
    z.send(Sack(2, window=1000))
    for _ in range(10):
        a.send(bytes(1000))
    z.expect_nothing()
    z.send(Sack(10, window=100_000))
    assert tsns(z) == [*range(11, 21)]


# -- T3-rtx --------------------------------------------------------------------------------------------------


def test_unacknowledged_data_is_sent_again_with_back_off():
    """RFC 9260 §6.3.3 E2: T3-rtx doubles with each expiration."""
    a, z = established()
    a.send(b"again")
    z.expect(Data(1))
    for pause in (1, 2, 4, 8, 16, 32):
        z.expect(Data(1, b"again"), after=pause)
    assert a.stats.timeouts == 6


def test_back_off_ends_at_the_largest_value():
    """RFC 9260 §6.3.1 C7: RTO.Max bounds the back-off."""
    a, z = established(rto_max=3.0)
    a.send()
    z.expect(Data(1))
    for pause in (1, 2, 3, 3, 3):
        z.expect(Data(1), after=pause)


def test_the_timer_stops_when_all_is_acknowledged():
    """RFC 9260 §6.3.2 R2: with nothing outstanding T3-rtx is off."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.send(Sack(1))
    z.expect_nothing(29)


def test_the_timer_runs_from_the_first_transmission():
    """RFC 9260 §6.3.2 R1: later chunks do not restart a timer that is running."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.wait(0.6)
    a.send()
    z.expect(Data(2))
    z.expect(Data(1), Data(2), after=0.4)


def test_the_timer_starts_over_when_the_earliest_data_is_acknowledged():
    """RFC 9260 §6.3.2 R3: a SACK for the earliest outstanding TSN restarts T3-rtx."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.wait(0.6)
    a.send()
    z.expect(Data(2))
    z.wait(0.2)
    z.send(Sack(1))
    found = []
    start = a.now
    while not found:
        z.step()
        found = tsns(z)
    assert found == [2]
    assert a.now - start >= 0.4 - 0.001 or a.stats.tail_probes


def test_a_time_out_sends_the_earliest_data_in_one_packet():
    """RFC 9260 §6.3.3 E3: as many of the earliest chunks as fit into one packet, by TSN."""
    a, z = established()
    for tsn in range(1, 5):
        a.send(bytes(400))
        z.expect(Data(tsn))
    z.wait(1)
    first = z.expect_any()
    assert [chunk.tsn for chunk in first] == [1, 2]


def test_two_time_outs_leave_one_packet_in_flight():
    """RFC 9260 §7.2.3: after a time-out no more than one packet is in flight until something is acknowledged.

    We hold to this from the second time-out in a row on: a single one is most often a lost tail.
    """
    a, z = established()
    for _ in range(20):
        a.send(bytes(FULL))
    assert len(tsns(z)) >= 4
    z.wait(1)
    assert tsns(z)[0] == 1
    z.wait(2)
    assert tsns(z) == [1]
    z.send(Sack(1))
    assert 2 in tsns(z)


def test_retransmissions_go_before_new_data():
    """RFC 9260 §6.1 C: what is marked for retransmission is sent before new data."""
    a, z = established()
    for _ in range(30):
        a.send(bytes(FULL))
    flight = tsns(z)
    z.wait(1)
    z.wait(2)
    assert tsns(z)[0] == 1
    z.send(Sack(1))
    resent = tsns(z)
    assert resent == sorted(resent)
    assert max(resent) <= flight[-1]


def test_a_measurement_sets_the_time_out():
    """RFC 9260 §6.3.1 C2: after the first measurement R, RTO is R + 4 * R/2 = 3R."""
    a, z = distant(2.0, rto_initial=10.0)
    a.send()
    z.expect(Data(2))
    start = a.now
    while not a.stats.timeouts:
        z.step()
    assert a.now - start == pytest.approx(6.0, abs=0.01) or a.stats.tail_probes


def test_the_time_out_is_never_shorter_than_the_smallest():
    """RFC 9260 §6.3.1 C6: RTO.Min bounds the time-out from below."""
    a, z = distant(0.01)
    a.send()
    z.expect(Data(2))
    start = a.now
    while not a.stats.timeouts:
        z.step()
    assert a.now - start >= 1.0 - 0.001


def test_retransmitted_data_gives_no_measurement():
    """RFC 9260 §6.3.1 C5: Karn: an acknowledgement of what was sent twice says nothing of the round trip."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.expect(Data(1), after=1)
    z.send(Sack(1))
    a.send()
    z.expect(Data(2))
    z.expect(Data(2), after=2)  # the back-off stays in force


def test_a_new_measurement_ends_the_back_off():
    """RFC 9260 §6.3.3: once new data is measured, RTO collapses to what the path says."""
    a, z = established()
    a.send()
    z.expect(Data(1))
    z.expect(Data(1), after=1)
    z.expect(Data(1), after=2)
    z.send(Sack(1))
    a.send()
    z.expect(Data(2))
    z.send(Sack(2))
    a.send()
    z.expect(Data(3))
    z.expect(Data(3), after=1)


def test_a_sack_in_time_needs_no_retransmission():
    """RFC 9260 §6.3.3: what is acknowledged within the time-out is never sent again."""
    a, z = distant()
    for tsn in range(2, 12):
        a.send()
        z.expect(Data(tsn))
        z.wait(0.1)
        z.send(Sack(tsn))
    assert a.stats.retransmitted_chunks == 0


# -- loss ----------------------------------------------------------------------------------------------------


def spread(a: Local, z: Peer, first: int, count: int, pause: float = 0.001) -> None:
    """Send full packets one after another."""
    for tsn in range(first, first + count):
        a.send(bytes(1000))
        z.expect(Data(tsn))
        z.wait(pause)


def test_the_third_missing_report_brings_a_retransmission():
    """RFC 9260 §7.2.4: after three reports that miss a TSN it is sent again at once, T3-rtx not awaited."""
    a, z = distant()
    spread(a, z, 2, 4)
    z.wait(0.09)
    z.send(Sack(1, gaps=((3, 3),)))
    z.expect_nothing()
    z.send(Sack(1, gaps=((3, 4),)))
    z.expect_nothing()
    z.send(Sack(1, gaps=((3, 5),)))
    z.expect(Data(2))
    assert a.stats.timeouts == 0
    assert a.stats.recoveries == 1


def test_a_gap_that_closes_soon_is_no_loss():
    """RFC 8985 §6.2: what is a little late, up to a quarter of the round trip, is not sent again."""
    a, z = distant()
    spread(a, z, 2, 5)
    z.wait(0.095)
    z.send(Sack(1, gaps=((3, 3),)))
    z.expect_nothing(0.01)
    z.send(Sack(6))
    z.expect_nothing(5)
    assert a.stats.retransmitted_chunks == 0


def test_a_gap_that_stays_open_is_a_loss_even_with_one_report():
    """RFC 8985 §6.2: a chunk that is later than the reordering window is lost, however few reports came."""
    a, z = distant()
    spread(a, z, 2, 5)
    z.wait(0.095)
    z.send(Sack(1, gaps=((3, 3),)))
    z.wait(0.05)
    z.expect(Data(2))
    assert a.stats.timeouts == 0


def test_few_packets_in_flight_need_no_three_reports():
    """RFC 5827 §3: with less than four packets outstanding one report has to be enough."""
    a, z = distant()
    spread(a, z, 2, 2)
    z.wait(0.098)
    z.send(Sack(1, gaps=((3, 3),)))
    z.expect(Data(2))
    assert a.stats.timeouts == 0


def test_a_lost_tail_is_probed_for():
    """RFC 8985 §7.2: when the last packet is lost a probe goes after about two round trips, not at T3-rtx."""
    a, z = distant()
    spread(a, z, 2, 3)
    z.wait(0.097)
    z.send(Sack(3))
    start = a.now
    while not z.is_heard:
        z.step()
    z.expect(Data(4))
    assert a.now - start < 0.6
    assert a.stats.tail_probes == 1
    assert a.stats.timeouts == 0


def test_a_retransmission_that_is_lost_again_is_found():
    """RFC 8985 §6.2: a retransmission is judged like any other transmission, T3-rtx not awaited."""
    a, z = distant()
    spread(a, z, 2, 4)
    z.wait(0.096)
    z.send(Sack(1, gaps=((3, 5),)))
    z.expect(Data(2))  # A -- DATA --x
    spread(a, z, 6, 4)
    z.wait(0.1)
    z.send(Sack(1, gaps=((3, 9),)))
    z.wait(0.06)
    z.expect(Data(2))
    assert a.stats.timeouts == 0


def test_one_loss_slows_down_once_a_round_trip():
    """RFC 9260 §7.2.4: in Fast Recovery further losses of the same flight do not reduce the window again."""
    a, z = distant(initial_window=20)
    for _ in range(20):
        a.send(bytes(FULL))
    flight = tsns(z)
    z.wait(0.1)
    z.send(Sack(1, gaps=((3, 5), (7, flight[-1]))))
    z.wait(0.04)
    assert {2, 6} <= set(tsns(z))
    assert a.stats.recoveries == 1


def test_a_loss_that_is_given_up_in_a_recovery_does_not_silence_the_sender():
    """RFC 9260 §6.1 B: with nothing in flight a packet may always leave, whatever was lost before."""
    a, z = distant()
    spread(a, z, 2, 5)
    z.wait(0.095)
    z.send(Sack(1, gaps=((3, 3),)))
    z.wait(0.01)
    z.send(Sack(6))  # TSN 2 was only late: A knows of reordering from now on
    a.send(bytes(FULL), max_retransmits=1)
    z.expect(Data(7))
    z.wait(0.001)
    spread(a, z, 8, 5)
    z.wait(0.094)
    z.send(Sack(6, gaps=((8, 11),)))
    z.wait(0.04)
    z.expect(Data(7))  # A -- DATA --x, a second time
    a.send()
    z.send(Sack(6, gaps=((8, 12),)))
    z.expect(Data(13))
    z.wait(0.1)
    z.send(Sack(6, gaps=((8, 13),)))
    z.wait(0.05)
    z.expect(ForwardTsn(7, ((0, 6),)))
    z.send(Sack(13))
    for _ in range(10):
        a.send(bytes(FULL))
    assert tsns(z)


def test_a_retransmission_that_was_not_needed_is_noticed():
    """RFC 8985 §6.2: a duplicate report tells that the original was only late: the loss is undone."""
    a, z = distant()
    spread(a, z, 2, 6)
    z.wait(0.094)
    z.send(Sack(1, gaps=((3, 7),)))
    z.expect(Data(2))
    z.wait(0.1)
    z.send(Sack(7, duplicates=(2,)))
    assert a.stats.spurious_retransmissions == 1
    assert a.stats.undone_recoveries == 1


def test_the_timer_starts_over_with_the_first_retransmission():
    """RFC 9260 §7.2.4 4: T3-rtx is restarted when the first outstanding chunk is sent again."""
    a, z = distant()
    spread(a, z, 2, 5)
    z.wait(0.5)
    z.ignore()
    z.send(Sack(1, gaps=((3, 6),)))
    start = a.now
    while not a.stats.timeouts:
        z.step()
    assert a.now - start >= 1.0 - 0.001


def test_as_many_packets_leave_as_the_window_allows():
    """RFC 9260 §6.1 E: with room for two of three packets two leave, the third with the next SACK."""
    a, z = established(initial_window=100)
    a.send(bytes(FULL))
    z.expect(Data(1))
    z.send(Sack(1, window=2 * FULL + 100))
    for _ in range(3):
        a.send(bytes(FULL))
    assert tsns(z) == [2, 3]
    z.send(Sack(2, window=2 * FULL + 100))
    assert tsns(z) == [4]


def test_the_reported_chunks_are_not_sent_again():
    """RFC 9260 §6.7: only what is not in a gap block is missing."""
    a, z = distant()
    spread(a, z, 2, 6)
    z.wait(0.1)
    z.send(Sack(1, gaps=((3, 4), (6, 7))))
    z.wait(0.2)
    assert set(tsns(z)) == {2, 5}


# -- streams, fragments, bundling ----------------------------------------------------------------------------


def test_stream_sequence_numbers_count_ordered_messages_only():
    """RFC 9260 §6.5: SSNs begin at 0, go up by one a message, and pass over unordered ones."""
    a, z = established()
    for ordered in (True, False, True):
        a.send(stream=5, ordered=ordered)
        a.send(stream=6)
    chunks = z.expect(*[Data()] * 6)
    assert [chunk.ssn for chunk in chunks if chunk.stream == 5 and "U" not in chunk.flags] == [0, 1]
    assert [chunk.ssn for chunk in chunks if chunk.stream == 6] == [0, 1, 2]


def test_stream_sequence_numbers_wrap_around():
    """RFC 9260 §6.5: SSN 65535 is followed by 0."""
    a, z = established(initial_window=1000)
    ssns = []
    for _ in range(65):
        for _ in range(1010):
            a.send(b"x")
        while z.is_heard:
            ssns += [(chunk.tsn, chunk.ssn) for chunk in z.expect_any()]
        z.send(Sack(ssns[-1][0]))
    assert [ssn for _, ssn in ssns[65534:65538]] == [65534, 65535, 0, 1]


def test_no_more_ordered_messages_are_outstanding_than_there_are_numbers():
    """RFC 9260 §6.1: never more than 65,535 ordered messages of a stream in the send window."""
    a, z = ladder(initial_window=10_000)
    z.window = 1 << 30
    greet(a, z)
    for _ in range(66_000):
        a.send(b"x")
    assert len(tsns(z)) <= 65_535


def test_a_large_message_is_fragmented():
    """RFC 9260 §6.9: B on the first, E on the last fragment, TSNs in sequence, one SSN."""
    a, z = established()
    a.send(bytes(3000), stream=2)
    z.expect(Data(1, bytes(FULL), 2, 0, flags="B"))
    z.expect(Data(2, bytes(FULL), 2, 0, flags=""))
    z.expect(Data(3, bytes(3000 - 2 * FULL), 2, 0, flags="E"))


def test_all_fragments_of_an_unordered_message_say_so():
    """RFC 9260 §6.9: the U bit stands on every fragment."""
    a, z = established()
    a.send(bytes(3000), ordered=False)
    for tsn, flags in ((1, "UB"), (2, "U"), (3, "UE")):
        z.expect(Data(tsn, flags=flags))


def test_small_messages_share_a_packet():
    """RFC 9260 §6.10: DATA chunks are bundled by TSN, within the packet size."""
    a, z = established()
    for _ in range(100):
        a.send(bytes(50))
    z.expect(*[Data(tsn) for tsn in range(1, 17)])
    z.expect(*[Data(tsn) for tsn in range(17, 33)])


def test_control_chunks_come_first():
    """RFC 9260 §6.10: control chunks stand in front of DATA."""
    a, z = established()
    z.send(Data(1))
    z.expect(Sack(1))
    z.send(Data(2))
    z.a.association.receive([z.packet_of(Raw(0xFF))], a.now)
    a.send()
    chunks = z.expect_any()
    assert isinstance(chunks[-1], Data)
    assert not any(isinstance(chunk, Data) for chunk in chunks[:-1])


def test_an_empty_message_is_refused():
    """RFC 9260 §3.3.1: there is no DATA chunk without user data."""
    a, z = established()
    with pytest.raises(InvalidParameter):
        a.send(b"")
    z.expect_nothing()


@pytest.mark.parametrize("stream", [-1, 100, 65535])
def test_a_stream_that_the_peer_does_not_take_is_refused(stream):
    """RFC 9260 §5.1.1: valid outgoing streams are 0 to min(local OS, remote MIS) - 1."""
    a, z = established()
    assert a.association.max_streams == 100
    with pytest.raises(InvalidParameter):
        a.send(stream=stream)
    a.send(stream=99)
    z.expect(Data(1, stream=99))


def test_data_queued_for_a_stream_that_does_not_come_to_exist_is_not_sent():
    """RFC 9260 §6.5: every DATA chunk carries a valid stream identifier, one queued before connecting too."""
    a, z = ladder()
    a.send(stream=500)
    a.send(b"fine", stream=1)
    a.connect()
    z.expect(Init())
    z.send(InitAck())  # it takes 100 streams
    z.expect(CookieEcho(), Data(1, b"fine", stream=1))
    z.send(CookieAck(), Sack(1))
    z.expect_nothing(5)


def test_a_full_send_buffer_refuses_without_closing():
    """RFC 9260 §11.1.5: a message for which there is no room is refused, and fits again later."""
    a, z = established(send_buffer=3000)
    for _ in range(3):
        a.send(bytes(1000))
    with pytest.raises(Full):
        a.send(bytes(1000))
    assert tsns(z) == [1, 2, 3]
    z.send(Sack(1))
    a.send(bytes(1000))
    z.expect(Data(4))


def test_the_application_hears_once_when_the_buffer_runs_low():
    """RFC 8831 §6.4: the buffered amount falls across the threshold: told once a crossing."""
    a, z = established()
    a.association.set_buffered_amount_low_threshold(0, 100)
    for tsn in (1, 2, 3):
        a.send(bytes(60))
        z.expect(Data(tsn))
    z.send(Sack(1))
    assert a.association.take_events() == []  # 120 is above
    z.send(Sack(2))
    assert a.association.take_events() == [BufferedAmountLow(0)]  # 60 is below
    z.send(Sack(3))
    assert a.association.take_events() == []


def test_the_i_bit_is_set_where_a_delayed_sack_would_hurt():
    """RFC 7053 §4: a lone message asks for its SACK at once: nothing else would make the peer hurry."""
    a, z = distant()
    z.wait(0.2)
    a.send()
    z.expect(Data(2, flags="BEI"))


def test_the_i_bit_is_not_set_in_a_steady_flow():
    """RFC 7053 §4: a sender asks only where it gains: the next message brings the SACK of this one anyway."""
    a, z = distant()
    for tsn in range(2, 6):
        z.wait(0.05)
        z.send(Sack(tsn - 1))
        a.send()
        assert "I" not in z.expect(Data(tsn)).flags


def test_nothing_is_accepted_after_the_end():
    """RFC 9260 §11.1.5: sending on an association that is over is an error."""
    a, z = established()
    a.abort()
    z.expect(Abort(ANY))
    with pytest.raises(Closed):
        a.send()


def test_i_data_is_not_sent_unless_agreed_on():
    """RFC 8260 §2.2.1: without negotiation all user data travels in DATA chunks."""
    a, z = established(interleaving=True)
    a.send()
    chunk = z.expect(Data(1))
    assert not isinstance(chunk, IData)
    assert chunk.TYPE == wire.DATA
