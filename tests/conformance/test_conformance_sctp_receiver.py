"""Receiving user data: acknowledgements, gaps, duplicates, the window, order and reassembly (RFC 9260 §6)."""

from __future__ import annotations

import pytest
from sctp_peer import CLOSED, ESTABLISHED, Local, Peer, established, ladder
from sctp_script import ANY, Abort, Data, Error, Heartbeat, HeartbeatAck, Raw, Sack

from rtcstack.errors import InvalidParameter
from rtcstack.sctp import MessageDropped
from rtcstack.sctp import chunks as wire


def warm(**how: object) -> tuple[Local, Peer]:
    """Establish, and get past the first DATA chunk, which is acknowledged at once: TSN 1 is used up."""
    a, z = established(**how)
    z.send(Data(1))
    z.expect(Sack(1))
    a.receive()
    return a, z


# -- when a SACK leaves --------------------------------------------------------------------------------------


def test_a_lone_packet_is_acknowledged_after_the_delay():
    """RFC 9260 §6.2: a SACK waits for a second packet, but 200 ms at most."""
    _, z = warm(sack_delay=0.2)
    z.send(Data(2))
    z.expect_nothing(0.19)
    z.expect(Sack(2), after=0.01)


def test_every_second_packet_is_acknowledged_at_once():
    """RFC 9260 §6.2: at least every second packet brings a SACK."""
    _, z = warm()
    for tsn in (2, 4, 6):
        z.send(Data(tsn))
        z.expect_nothing()
        z.send(Data(tsn + 1))
        z.expect(Sack(tsn + 1))


def test_packets_count_not_chunks():
    """RFC 9260 §6.2: not every second DATA chunk, but every second packet; one SACK for bundled DATA."""
    _, z = warm()
    z.send(Data(2), Data(3), Data(4))
    z.expect_nothing(0.19)
    z.expect(Sack(4), after=0.01)


def test_one_packet_brings_one_sack_at_most():
    """RFC 9260 §6.2: no more than one SACK for every packet, whatever it holds."""
    _, z = warm()
    z.send(Data(5), Data(3), Data(3), Data(7))
    z.expect(Sack(1, gaps=((3, 3), (5, 5), (7, 7)), duplicates=(3,)))
    z.expect_nothing(5)


def test_packets_of_one_batch_share_a_sack():
    """RFC 9260 §6.2: one SACK may acknowledge several packets."""
    _, z = warm()
    z.deliver(*[z.packet_of(Data(tsn)) for tsn in range(2, 8)])
    z.expect(Sack(7))
    z.expect_nothing()


def test_the_delay_cannot_be_raised_beyond_the_limit():
    """RFC 9260 §6.2: SACK.Delay must not be configurable to more than 500 ms."""
    with pytest.raises(InvalidParameter):
        ladder(sack_delay=0.6)


def test_time_alone_brings_no_sack():
    """RFC 9260 §6.2: what is acknowledged is not acknowledged again, however long nothing happens."""
    _, z = warm()
    z.send(Data(2))
    z.expect(Sack(2), after=0.2)
    z.expect_nothing(100)


def test_the_i_bit_asks_for_a_sack_at_once():
    """RFC 7053 §5.2: a DATA chunk with the I bit is acknowledged without delay."""
    _, z = warm()
    z.send(Data(2, flags="BEI"))
    z.expect(Sack(2))


def test_the_i_bit_counts_on_any_chunk_of_the_packet():
    """RFC 7053 §5.2: the bit may stand on a chunk in the middle, or on one that has come before."""
    _, z = warm()
    z.send(Data(2), Data(3, flags="BEI"), Data(4))
    z.expect(Sack(4))
    z.send(Data(4, flags="BEI"))
    z.expect(Sack(4, duplicates=(4,)))


def test_a_gap_is_reported_at_once():
    """RFC 9260 §6.7: a SACK with gap blocks leaves as soon as a gap is seen."""
    _, z = warm()
    z.send(Data(3))
    z.expect(Sack(1, gaps=((3, 3),)))


def test_every_packet_is_answered_while_a_gap_is_open():
    """RFC 9260 §6.7: each packet that does not fill the gap brings a SACK."""
    _, z = warm()
    z.send(Data(3))
    z.expect(Sack(1, gaps=((3, 3),)))
    z.send(Data(4))
    z.expect(Sack(1, gaps=((3, 4),)))
    z.send(Data(6))
    z.expect(Sack(1, gaps=((3, 4), (6, 6))))


def test_a_filled_gap_is_reported_at_once():
    """RFC 5681 §4.2: a segment that fills a gap, wholly or in part, is acknowledged immediately."""
    _, z = warm()
    z.send(Data(3))
    z.expect(Sack(1, gaps=((3, 3),)))
    z.send(Data(5))
    z.expect(Sack(1, gaps=((3, 3), (5, 5))))
    z.send(Data(2))
    z.expect(Sack(3, gaps=((5, 5),)))
    z.send(Data(4))
    z.expect(Sack(5))


def test_the_gap_report_of_the_standard_is_given():
    """RFC 9260 §3.3.4: TSNs 10 to 12, 14, 15 and 17: cumulative 12, blocks 2-3 and 5-5."""
    _, z = warm()
    for tsn in (*range(2, 13), 14, 15, 17):
        z.send(Data(tsn, stream=tsn, ssn=0))
    z.ignore()
    z.send(Data(17, stream=17, ssn=0))
    z.expect(Sack(12, gaps=((14, 15), (17, 17)), duplicates=(17,)))


# -- duplicates ----------------------------------------------------------------------------------------------


def test_a_packet_of_duplicates_only_is_answered_at_once():
    """RFC 9260 §6.2: duplicates without new data bring a SACK without delay, which names them."""
    a, z = warm()
    z.send(Data(1))
    z.expect(Sack(1, duplicates=(1,)))
    assert a.receive() == []
    assert a.stats.duplicates_received == 1


def test_a_duplicate_beyond_a_gap_is_named():
    """RFC 9260 §3.3.4: a TSN that comes again after it was reported in a gap block is a duplicate."""
    _, z = warm()
    z.send(Data(3))
    z.expect(Sack(1, gaps=((3, 3),)))
    z.send(Data(3))
    z.expect(Sack(1, gaps=((3, 3),), duplicates=(3,)))


def test_each_duplicate_is_named_once():
    """RFC 9260 §3.3.4: the duplicate list begins anew after each SACK."""
    _, z = warm()
    z.send(Data(1))
    z.expect(Sack(1, duplicates=(1,)))
    z.send(Data(2), Data(3))
    z.send(Data(4))
    z.expect(Sack(4))


def test_the_list_of_duplicates_is_bounded():
    """RFC 9260 §6.2: however many duplicates come, the SACK fits into a packet."""
    _, z = warm()
    z.deliver(*[z.packet_of(Data(1))] * 2000)
    sack = z.expect(Sack(1, duplicates=ANY))
    assert 1 <= len(sack.duplicates) <= 280


# -- gap reports that do not fit -----------------------------------------------------------------------------


def test_the_lowest_gaps_are_reported_when_not_all_fit():
    """RFC 9260 §6.7: one SACK, with the blocks from the lowest TSN on, within the packet."""
    _, z = warm()
    z.deliver(*[z.packet_of(Data(tsn, b"x", flags="UBE")) for tsn in range(3, 2003, 2)])
    sack = z.expect(Sack(1, gaps=ANY))
    assert sack.gaps == tuple((tsn, tsn) for tsn in range(3, 3 + 2 * len(sack.gaps), 2))
    assert len(sack.gaps) >= 20
    z.expect_nothing()


@pytest.mark.parametrize("tsn", [1 << 31, (1 << 31) + 1, 1 << 30, 70_000])
def test_a_tsn_far_away_is_not_taken(tsn):
    """RFC 9260 §6.1: no sender goes 2**31 beyond its window, and a gap block can say 65535 at most."""
    a, z = warm()
    z.send(Data(tsn, b"far", flags="UBE"))
    sack = z.expect(Sack(1, duplicates=ANY))
    assert sack.gaps == ()
    assert a.receive() == []


def test_tsns_wrap_around():
    """RFC 9260 §1.6: TSNs are serial numbers modulo 2**32, gaps and duplicates across the wrap too."""
    a, z = established(first_tsn=0xFFFFFFFD)
    z.send(Data(1))
    z.expect(Sack(1))
    z.send(Data(5, flags="UBE"))
    z.expect(Sack(1, gaps=((5, 5),)))
    z.send(Data(3, flags="UBE"))
    z.expect(Sack(1, gaps=((3, 3), (5, 5))))
    z.send(Data(2, flags="UBE"), Data(4, flags="UBE"))
    z.expect(Sack(5))
    z.send(Data(2))
    z.expect(Sack(5, duplicates=(2,)))
    assert len(a.receive()) == 5


# -- the receive window --------------------------------------------------------------------------------------


def test_the_window_shrinks_with_what_waits_and_opens_with_what_is_taken():
    """RFC 9260 §6.2 B: a_rwnd goes down with buffered bytes and up again when the application takes them."""
    a, z = warm(receive_window=200_000)
    for tsn in range(2, 102):
        z.send(Data(tsn, bytes(1000)))
    windows = []
    while z.is_heard:
        windows.append(z.expect(Sack()).window)
    assert windows == sorted(windows, reverse=True)
    assert windows[-1] <= 100_000
    a.receive()
    z.send(Data(102))
    z.send(Data(103))
    z.ignore()
    z.send(Data(103))
    assert z.expect(Sack(103, duplicates=(103,))).window >= 199_000


def test_the_window_opening_is_told_without_data():
    """RFC 9260 §6.2: when the window opens by much, a SACK says so though no data has come."""
    a, z = warm(receive_window=200_000)
    for tsn in range(2, 192):
        z.send(Data(tsn, bytes(1000)))
    z.ignore()
    a.receive()
    assert z.expect(Sack(191)).window == 200_000


def test_small_steps_of_the_window_are_not_told():
    """RFC 9260 §6.2: window updates come in large steps, not for every message that is taken."""
    a, z = warm(receive_window=200_000)
    for tsn in range(2, 152):
        z.send(Data(tsn, bytes(1000)))
    z.ignore()
    messages = a.association.take_messages()
    updates = 0
    for _ in messages:
        a.association.release(1000)
        while z.is_heard:
            z.expect(Sack())
            updates += 1
    assert updates <= 5


def test_data_beyond_a_closed_window_is_dropped_and_answered_at_once():
    """RFC 9260 §6.2: with no room new data is dropped, not acknowledged, and a SACK says so immediately."""
    a, z = warm(receive_window=100_000)
    tsn = 2
    while tsn < 300:
        z.send(Data(tsn, bytes(1000)))
        tsn += 1
    z.ignore()
    z.send(Data(tsn, bytes(1000)))
    sack = z.expect(Sack(gaps=(), duplicates=()))
    assert sack.tsn < tsn
    assert sack.window == 0
    assert len(a.association.take_messages()) == sack.tsn - 1
    assert 1000 * (sack.tsn - 1) <= 110_000


def test_a_message_larger_than_what_is_left_of_the_window_still_arrives():
    """RFC 9260 §6.9: the end of a fragmented message is taken though others fill the window: no deadlock."""
    a, z = warm(receive_window=100_000, max_message_size=90_000)
    z.send(Data(2, bytes(30_000), stream=1, ssn=0))
    fragments = [bytes(1000)] * 80
    for i, payload in enumerate(fragments):
        flags = "B" if i == 0 else "E" if i == len(fragments) - 1 else ""
        z.send(Data(3 + i, payload, ssn=1, flags=flags))
        z.ignore()
    assert [len(payload) for payload in a.receive()] == [30_000, 80_000]


# -- streams and order ---------------------------------------------------------------------------------------


def test_ordered_messages_wait_for_those_before_them():
    """RFC 9260 §6.6: within a stream ordered messages are delivered by SSN."""
    a, z = established()
    z.send(Data(2, b"second"), Data(3, b"third"))
    assert a.receive() == []
    z.send(Data(1, b"first"))
    assert a.receive() == [b"first", b"second", b"third"]


def test_streams_do_not_wait_for_each_other():
    """RFC 9260 §1.5.2: a gap in one stream does not hold up another."""
    a, z = established()
    z.send(Data(2, b"waits", stream=0, ssn=1), Data(3, b"goes", stream=1, ssn=0))
    assert a.receive() == [b"goes"]


def test_unordered_messages_are_delivered_at_once():
    """RFC 9260 §6.6: the U bit bypasses ordering, whatever the SSN field holds."""
    a, z = established()
    z.send(Data(3, b"late", flags="UBE", ssn=999))
    assert a.receive() == [b"late"]
    z.send(Data(1, b"first", ssn=0))
    assert a.receive() == [b"first"]


def test_stream_sequence_numbers_wrap_around():
    """RFC 9260 §6.5: after SSN 65535 comes 0."""
    a, z = established(sack_delay=0.01)
    for start in range(1, 65537, 256):
        z.send(*[Data(tsn, b"x") for tsn in range(start, start + 256)])
        a.receive()
    z.ignore()
    z.send(Data(65538, b"one", ssn=1))
    assert a.receive() == []
    z.send(Data(65537, b"zero", ssn=0))
    assert a.receive() == [b"zero", b"one"]


def test_data_on_a_stream_that_does_not_exist_is_acknowledged_and_reported():
    """RFC 9260 §6.5: acknowledge the TSN, send ERROR Invalid Stream Identifier at once, discard the data."""
    a, z = established(inbound_streams=10)
    z.send(Data(1, stream=10, ssn=0))
    found = []
    while z.is_heard:
        packet = z.expect_any()
        found += packet
    assert Error(wire.INVALID_STREAM_IDENTIFIER, b"\0\x0a\0\0") in found
    assert any(isinstance(chunk, Sack) and chunk.tsn == 1 for chunk in found)
    assert a.receive() == []
    z.send(Data(2, b"fine", stream=9, ssn=0))
    assert a.receive() == [b"fine"]


def test_data_without_user_data_ends_the_association():
    """RFC 9260 §6.2: a DATA chunk without user data: ABORT with cause No User Data and its TSN."""
    a, z = established()
    z.send(Data(1, b""), Raw(0xBF))
    z.expect(Abort(wire.NO_USER_DATA, z.tsn(1).to_bytes(4)))
    assert a.state is CLOSED


def test_data_without_user_data_at_the_end_of_a_packet_ends_the_association():
    """RFC 9260 §6.2: the same if it is the last chunk of its packet."""
    a, z = established()
    z.send(Data(1, b""))
    z.expect(Abort(wire.NO_USER_DATA, z.tsn(1).to_bytes(4)))
    assert a.state is CLOSED


# -- fragments -----------------------------------------------------------------------------------------------


def test_fragments_become_a_message():
    """RFC 9260 §6.9: B begins, E ends, TSNs in sequence lie between."""
    a, z = established()
    z.send(Data(1, b"one-", flags="B", ssn=0))
    z.send(Data(2, b"two-", flags="", ssn=0))
    assert a.receive() == []
    z.send(Data(3, b"three", flags="E", ssn=0))
    assert a.receive() == [b"one-two-three"]


@pytest.mark.parametrize("order", [(3, 2, 1), (2, 3, 1), (2, 1, 3), (3, 1, 2), (1, 3, 2)])
@pytest.mark.parametrize("unordered", ["", "U"])
def test_fragments_may_come_in_any_order(order, unordered):
    """RFC 9260 §6.9: fragments are queued until the message is whole."""
    a, z = established()
    fragments = {
        1: Data(1, b"one-", flags=unordered + "B", ssn=0),
        2: Data(2, b"two-", flags=unordered, ssn=0),
        3: Data(3, b"three", flags=unordered + "E", ssn=0),
    }
    for tsn in order:
        z.send(fragments[tsn])
    assert a.receive() == [b"one-two-three"]


def test_fragments_of_one_message_do_not_mix_with_another():
    """RFC 9260 §6.9: an unordered message between two ordered ones keeps its own fragments."""
    a, z = established()
    z.send(Data(1, b"a", flags="B", ssn=0), Data(2, b"b", flags="E", ssn=0))
    z.send(Data(3, b"c", flags="UB", ssn=0), Data(4, b"d", flags="UE", ssn=0))
    z.send(Data(5, b"e", flags="B", ssn=1), Data(6, b"f", flags="E", ssn=1))
    assert a.receive() == [b"ab", b"cd", b"ef"]


@pytest.mark.parametrize(
    "second",
    [
        Data(2, b"b", flags="B", ssn=0),
        Data(2, b"b", flags="BE", ssn=1),
        Data(2, b"b", flags="E", ssn=1),
        Data(2, b"b", flags="E", ssn=0, stream=1),
        Data(2, b"b", flags="UE", ssn=0),
    ],
    ids=["two beginnings", "whole inside", "other SSN", "other stream", "other U bit"],
)
def test_fragments_that_contradict_each_other_are_never_delivered(second):
    """RFC 9260 §6.9: the TSN after a beginning continues its message; what does not fit is no message."""
    a, z = established()
    z.send(Data(1, b"a", flags="B", ssn=0), second, Data(3, b"c", flags="E", ssn=0))
    z.ignore()
    assert b"abc" not in a.receive()
    assert a.state in (CLOSED, ESTABLISHED)


def test_a_message_that_is_too_large_is_never_cut():
    """RFC 8831 §6.6: a message beyond our max-message-size is thrown away whole and reported."""
    a, z = established(max_message_size=2500)
    for tsn, flags in ((1, "B"), (2, ""), (3, "E")):
        z.send(Data(tsn, bytes(1000), flags=flags, ssn=0))
    z.send(Data(4, b"next", ssn=1))
    assert a.receive() == [b"next"]
    assert MessageDropped(0) in a.events()
    z.ignore()


# -- bundling ------------------------------------------------------------------------------------------------


def test_chunks_are_processed_in_their_order():
    """RFC 9260 §6.10: what is behind an ABORT in a packet is not looked at any more."""
    a, z = established()
    z.send(Data(1, b"before"), Abort(), Data(2, b"behind"))
    assert a.state is CLOSED
    assert a.receive() == [b"before"]


def test_data_in_packets_behind_an_abort_is_not_delivered():
    """RFC 9260 §9.1: after an ABORT the association is gone, though more packets came in the same batch."""
    a, z = established()
    z.deliver(z.packet_of(Data(1, b"before")), z.packet_of(Abort()), z.packet_of(Data(2, b"behind")))
    assert a.receive() == [b"before"]


def test_control_chunks_may_share_a_packet_with_data():
    """RFC 9260 §6.10: an endpoint must process bundled chunks, control and data alike."""
    a, z = warm()
    z.send(Heartbeat(), Sack(0), Data(2), Data(3, flags="BEI"))
    z.expect(HeartbeatAck(), Sack(3))
    assert len(a.receive()) == 2


def test_a_sack_rides_with_data_that_goes_anyway():
    """RFC 9260 §6.1: received data that is not acknowledged yet is acknowledged with the next DATA."""
    a, z = warm()
    z.send(Data(2))
    a.send(b"answer")
    z.expect(Sack(2), Data(1, b"answer"))
    z.expect_nothing(0.5)
