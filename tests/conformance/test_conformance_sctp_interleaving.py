"""User message interleaving: I-DATA and I-FORWARD-TSN (RFC 8260)."""

from __future__ import annotations

from itertools import groupby

import pytest
from sctp_peer import (
    CLOSED,
    ESTABLISHED,
    INTERLEAVING,
    PLAIN,
    Local,
    Peer,
    accepted,
    established,
    extensions,
    ladder,
)
from sctp_script import (
    Abort,
    CookieAck,
    CookieEcho,
    Data,
    ForwardTsn,
    IData,
    IForwardTsn,
    Init,
    InitAck,
    Raw,
    ReConfig,
    Sack,
)

from rtcstack.sctp import chunks as wire
from rtcstack.sctp.parameters import PERFORMED, SUPPORTED_EXTENSIONS
from rtcstack.sctp.parameters import OutgoingSsnResetRequest as Outgoing
from rtcstack.sctp.parameters import ReconfigurationResponse as Response


def interleaved(**how: object) -> tuple[Local, Peer]:
    """Establish with I-DATA on both sides."""
    return established(**{"interleaving": True, "parameters": INTERLEAVING, **how})


def i_data(z: Peer) -> list[IData]:
    """Take all that A has sent; give the I-DATA chunks."""
    found: list[IData] = []
    while z.is_heard:
        found += [chunk for chunk in z.expect_any() if isinstance(chunk, IData)]
    return found


# -- negotiation ---------------------------------------------------------------------------------------------


def test_interleaving_is_offered_and_agreed_on():
    """RFC 8260 §2.2.1: I-DATA among the extensions of both sides: all user data travels in I-DATA."""
    a, z = ladder(interleaving=True, parameters=INTERLEAVING)
    a.connect()
    offered = z.expect(Init()).find(SUPPORTED_EXTENSIONS)
    assert offered is not None
    assert {wire.I_DATA, wire.I_FORWARD_TSN} <= set(offered)
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(CookieAck())
    assert a.association.features.interleaving
    a.send(b"hello")
    z.expect(IData(1, b"hello", 0, 0, flags="BE"))


@pytest.mark.parametrize(("ours", "theirs"), [(True, PLAIN), (False, INTERLEAVING), (False, PLAIN)])
@pytest.mark.parametrize("begin", [established, accepted])
def test_one_side_alone_does_not_interleave(ours, theirs, begin):
    """RFC 8260 §2.2.1: unless both have announced I-DATA, DATA is used."""
    a, z = begin(interleaving=ours, parameters=theirs)
    assert not a.association.features.interleaving
    a.send()
    assert z.expect(Data(1)).TYPE == wire.DATA


def test_data_is_a_violation_once_i_data_is_agreed_on():
    """RFC 8260 §2.2.3: a DATA chunk then ends the association with ABORT."""
    a, z = interleaved()
    z.send(Data(1))
    z.expect(Abort(wire.PROTOCOL_VIOLATION))
    assert (a.state, a.receive()) == (CLOSED, [])


def test_i_data_is_a_violation_unless_agreed_on():
    """RFC 8260 §2.2.3: an I-DATA chunk without the agreement ends the association with ABORT."""
    a, z = established()
    z.send(IData(1))
    z.expect(Abort(wire.PROTOCOL_VIOLATION))
    assert (a.state, a.receive()) == (CLOSED, [])


def test_forward_tsn_is_a_violation_once_i_data_is_agreed_on():
    """RFC 8260 §2.3.1: FORWARD-TSN must not be combined with I-DATA: ABORT."""
    a, z = interleaved()
    z.send(ForwardTsn(1, ((0, 0),)))
    z.expect(Abort(wire.PROTOCOL_VIOLATION))
    assert a.state is CLOSED


# -- receiving -----------------------------------------------------------------------------------------------


def test_fragments_of_two_streams_may_alternate():
    """RFC 8260 §2.2.3: fragments are joined by stream, U bit, MID and FSN, not by TSN."""
    a, z = interleaved()
    z.send(IData(1, b"a1-", stream=1, ssn=0, flags="B"))
    z.send(IData(2, b"b1-", stream=2, ssn=0, flags="B"))
    z.send(IData(3, b"a2", stream=1, ssn=0, ppid=1, flags="E"))
    z.send(IData(4, b"b2", stream=2, ssn=0, ppid=1, flags="E"))
    assert a.receive() == [b"a1-a2", b"b1-b2"]


@pytest.mark.parametrize("order", [(3, 1, 2), (2, 3, 1), (3, 2, 1)])
def test_fragments_may_come_in_any_order(order):
    """RFC 8260 §2.2.3: the FSN puts fragments in order, whatever their TSNs are."""
    a, z = interleaved()
    fragments = {
        1: IData(1, b"one-", ssn=0, flags="B"),
        2: IData(2, b"two-", ssn=0, ppid=1, flags=""),
        3: IData(3, b"three", ssn=0, ppid=2, flags="E"),
    }
    for tsn in order:
        z.send(fragments[tsn])
    assert a.receive() == [b"one-two-three"]


def test_tsns_say_nothing_about_the_order_of_fragments():
    """RFC 8260 §2.2.3: the receiver makes no assumption about how TSNs are assigned."""
    a, z = interleaved()
    z.send(IData(1, b"three", ssn=0, ppid=2, flags="E"))
    z.send(IData(2, b"one-", ssn=0, flags="B"))
    z.send(IData(3, b"two-", ssn=0, ppid=1, flags=""))
    assert a.receive() == [b"one-two-three"]


def test_messages_of_a_stream_are_delivered_by_mid():
    """RFC 8260 §2.1: ordered messages follow their Message Identifiers."""
    a, z = interleaved()
    z.send(IData(2, b"second", ssn=1), IData(3, b"third", ssn=2))
    assert a.receive() == []
    z.send(IData(1, b"first", ssn=0))
    assert a.receive() == [b"first", b"second", b"third"]


def test_unordered_messages_have_numbers_of_their_own():
    """RFC 8260 §2.1: ordered MID 0 and unordered MID 0 of one stream are two messages."""
    a, z = interleaved()
    z.send(IData(1, b"o1-", ssn=0, flags="B"), IData(2, b"u1-", ssn=0, flags="UB"))
    z.send(IData(3, b"u2", ssn=0, ppid=1, flags="UE"), IData(4, b"o2", ssn=0, ppid=1, flags="E"))
    assert a.receive() == [b"u1-u2", b"o1-o2"]


def test_several_unordered_messages_of_a_stream_may_be_open():
    """RFC 8260 §2.2.3: the MID tells unordered messages apart; none waits for another."""
    a, z = interleaved()
    z.send(IData(1, b"a1-", ssn=0, flags="UB"), IData(2, b"b1-", ssn=1, flags="UB"))
    z.send(IData(3, b"b2", ssn=1, ppid=1, flags="UE"))
    assert a.receive() == [b"b1-b2"]
    z.send(IData(4, b"a2", ssn=0, ppid=1, flags="UE"))
    assert a.receive() == [b"a1-a2"]


@pytest.mark.parametrize("mid", [1 << 31, (1 << 31) + 1, 0xFFFFFFFF, 1 << 20])
def test_a_mid_far_away_waits_or_is_dropped(mid):
    """RFC 8260 §2.1: a MID far from the next one is not delivered, and nothing breaks."""
    a, z = interleaved()
    z.send(IData(1, b"far", ssn=mid))
    assert a.receive() == []
    z.send(IData(2, b"first", ssn=0))
    assert a.receive() == [b"first"]


def test_the_i_bit_counts_on_i_data():
    """RFC 8260 §2.2: the I bit of I-DATA is treated like that of DATA."""
    _, z = interleaved()
    z.send(IData(1))
    z.expect(Sack(1))
    z.send(IData(2, flags="BEI"))
    z.expect(Sack(2))


def test_i_data_without_user_data_ends_the_association():
    """RFC 9260 §6.2, RFC 8260 §2.1: an empty I-DATA chunk is answered like an empty DATA chunk."""
    a, z = interleaved()
    z.send(IData(1, b""), Raw(0xBF))
    z.expect(Abort(wire.NO_USER_DATA, z.tsn(1).to_bytes(4)))
    assert a.state is CLOSED


def test_contradicting_fragments_are_never_joined():
    """RFC 8260 §2.2.3: a second beginning, a second end, an FSN beyond the end: no message comes of it."""
    a, z = interleaved()
    z.send(IData(1, b"a", ssn=0, flags="B"), IData(2, b"b", ssn=0, flags="B"))
    z.send(IData(3, b"c", ssn=0, ppid=1, flags="E"), IData(4, b"d", ssn=0, ppid=2, flags="E"))
    z.ignore()
    assert a.state in (CLOSED, ESTABLISHED)
    assert all(payload in (b"ac", b"bc") for payload in a.receive())


# -- sending -------------------------------------------------------------------------------------------------


def test_fragments_carry_the_mid_and_count_their_fsn():
    """RFC 8260 §2.2.2: B on the first, E on the last; the FSN of the others counts from 1."""
    a, z = interleaved()
    a.send(bytes(3000), stream=5)
    first, second, third = i_data(z)
    assert [(chunk.ssn, chunk.flags.replace("I", "")) for chunk in (first, second, third)] == [
        (0, "B"),
        (0, ""),
        (0, "E"),
    ]
    assert (first.ppid, second.ppid, third.ppid) == (51, 1, 2)


def test_ordered_and_unordered_messages_are_counted_apart():
    """RFC 8260 §2.1: two MID counters a stream, one for ordered and one for unordered messages."""
    a, z = interleaved()
    for ordered in (True, False, True, False):
        a.send(ordered=ordered)
    found = i_data(z)
    assert [chunk.ssn for chunk in found if "U" in chunk.flags] == [0, 1]
    assert [chunk.ssn for chunk in found if "U" not in chunk.flags] == [0, 1]


def test_a_small_message_does_not_wait_for_a_large_one():
    """RFC 8260 §1.1: with I-DATA a message of another stream goes between the fragments of a large one."""
    a, z = interleaved(initial_window=4)
    a.send(bytes(100_000), stream=1)
    sent = i_data(z)
    a.send(b"urgent", stream=2)
    z.send(Sack(sent[-1].tsn))
    following = i_data(z)
    assert any(chunk.stream == 2 for chunk in following)
    assert any(chunk.stream == 1 for chunk in following)


def test_without_i_data_a_message_is_not_interrupted():
    """RFC 9260 §6.9: fragments of a message in DATA chunks have consecutive TSNs."""
    a, z = established(initial_window=4)
    a.send(bytes(20_000), stream=1)
    a.send(b"small", stream=2)
    streams = []
    for _ in range(10):
        tsn = 0
        while z.is_heard:
            for chunk in z.expect_any():
                streams.append(chunk.stream)
                tsn = chunk.tsn
        if tsn:
            z.send(Sack(tsn))
    assert sorted(stream for stream, _ in groupby(streams)) == [1, 2]


def test_messages_of_one_stream_are_not_interleaved():
    """RFC 8260 §2.2.2: no more than one message of a stream is being sent at any time."""
    a, z = interleaved(initial_window=4)
    for _ in range(2):
        a.send(bytes(6000), stream=1)
    mids = []
    for _ in range(10):
        found = i_data(z)
        if not found:
            break
        mids += [chunk.ssn for chunk in found]
        z.send(Sack(found[-1].tsn))
    assert mids == sorted(mids)


def test_priorities_share_the_path_by_weight():
    """RFC 8260 §3.6: weighted fair queueing: streams of weight 1 : 2 : 4 get bytes in that proportion."""
    a, z = interleaved(initial_window=4)
    for stream, weight in ((1, 128), (2, 256), (3, 512)):
        a.association.set_priority(stream, weight)
        for _ in range(100):
            a.send(bytes(10_000), stream=stream)
    sizes = {1: 0, 2: 0, 3: 0}
    while sum(sizes.values()) < 700_000:
        found = i_data(z)
        for chunk in found:
            sizes[chunk.stream] += len(chunk.payload)
        z.send(Sack(found[-1].tsn))
    total = sum(sizes.values())
    assert sizes[1] / total == pytest.approx(1 / 7, abs=0.03)
    assert sizes[2] / total == pytest.approx(2 / 7, abs=0.03)
    assert sizes[3] / total == pytest.approx(4 / 7, abs=0.03)


def test_equal_streams_share_equally():
    """RFC 8260 §3.5: streams of one weight get the same number of bytes, however large their messages are."""
    a, z = interleaved(initial_window=4)
    for _ in range(40):
        a.send(bytes(10_000), stream=1)
    for _ in range(400):
        a.send(bytes(1000), stream=2)
    sizes = {1: 0, 2: 0}
    while sum(sizes.values()) < 300_000:
        found = i_data(z)
        for chunk in found:
            sizes[chunk.stream] += len(chunk.payload)
        z.send(Sack(found[-1].tsn))
    assert sizes[1] / sizes[2] == pytest.approx(1, abs=0.15)


# -- partial reliability and resets --------------------------------------------------------------------------


def test_an_abandoned_message_is_skipped_with_i_forward_tsn():
    """RFC 8260 §2.3.1: I-FORWARD-TSN names stream, U bit and the largest MID skipped."""
    a, z = interleaved()
    a.send(stream=4, max_retransmits=0)
    z.expect(IData(1, stream=4))
    z.expect(IForwardTsn(1, ((4, False, 0),)), after=1)


def test_abandoned_unordered_messages_are_named_too():
    """RFC 8260 §2.3.1: unordered messages have MIDs, and entries of their own."""
    a, z = interleaved()
    a.send(stream=4, ordered=False, max_retransmits=0)
    a.send(stream=4, max_retransmits=0)
    z.expect(IData(1, flags="UBE"), IData(2, flags="BE"))
    z.wait(1)
    (forward,) = z.expect_any()
    assert forward.tsn == 2
    assert sorted(forward.skipped) == [(4, False, 0), (4, True, 0)]


def test_a_fragmented_message_is_skipped_whole():
    """RFC 8260 §2.3.1: fragments that were never sent have no TSNs of their own: the MID skips them too."""
    a, z = interleaved(initial_window=4)
    a.send(bytes(50_000), stream=4, max_retransmits=0)
    sent = i_data(z)[-1].tsn
    z.wait(1)
    found = []
    while z.is_heard:
        found += z.expect_any()
    (forward,) = [chunk for chunk in found if isinstance(chunk, IForwardTsn)]
    assert forward.skipped == ((4, False, 0),)
    assert forward.tsn in (sent, sent + 1)  # one TSN may stand for the end that was never sent
    z.send(Sack(forward.tsn))
    a.send(b"next", stream=4)
    z.expect(IData(forward.tsn + 1, b"next", 4, 1))


def test_i_forward_tsn_is_not_sent_to_a_peer_that_does_not_know_it():
    """RFC 8260 §2.3.1: I-DATA without I-FORWARD-TSN among the extensions: nothing is abandoned."""
    a, z = interleaved(parameters=extensions(wire.RE_CONFIG, wire.FORWARD_TSN, wire.I_DATA), rto_max=1.0)
    a.send(max_retransmits=0)
    z.expect(IData(1))
    for _ in range(3):
        z.expect(IData(1), after=1)


def test_partial_reliability_with_i_data_needs_i_forward_tsn_only():
    """RFC 8260 §2.3.1: both announce I-DATA and I-FORWARD-TSN: that is enough to abandon messages."""
    a, z = interleaved(parameters=extensions(wire.I_DATA, wire.I_FORWARD_TSN, partial=False))
    a.send(max_retransmits=0)
    z.expect(IData(1))
    z.expect(IForwardTsn(1, ((0, False, 0),)), after=1)


def test_an_i_forward_tsn_releases_what_waits():
    """RFC 8260 §2.3.1: the principle of FORWARD-TSN with MIDs."""
    a, z = interleaved()
    z.send(IData(2, b"second", ssn=1))
    z.expect(Sack(0, gaps=((2, 2),)))
    z.send(IForwardTsn(1, ((0, False, 0),)))
    z.expect(Sack(2))
    assert a.receive() == [b"second"]


def test_an_i_forward_tsn_throws_incomplete_messages_away():
    """RFC 8260 §2.3.1: an unordered message up to the MID is forgotten, one beyond it is not."""
    a, z = interleaved()
    z.send(IData(1, b"a-", ssn=0, flags="UB"), IData(3, b"b-", ssn=1, flags="UB"))
    z.send(IForwardTsn(2, ((0, True, 0),)))
    z.ignore()
    z.send(IData(4, b"b", ssn=1, ppid=1, flags="UE"))
    assert a.receive() == [b"b-b"]


@pytest.mark.parametrize("value", [b"", bytes(8), bytes(15), bytes(5)])
def test_a_malformed_i_forward_tsn_is_dropped(value):
    """RFC 8260 §2.3.1: the chunk is 8 bytes and 8 for each entry."""
    a, z = interleaved()
    z.send(Raw(wire.I_FORWARD_TSN, value))
    z.ignore()
    assert a.state is ESTABLISHED


def test_both_counters_begin_anew_after_a_reset():
    """RFC 8260 §2.3.2: a stream reset sets both MID counters to 0."""
    a, z = interleaved()
    a.send(stream=3)
    a.send(stream=3, ordered=False)
    assert len(i_data(z)) == 2
    z.send(Sack(2))
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 2, (3,))))
    z.send(ReConfig(Response(1, PERFORMED)))
    a.send(stream=3)
    a.send(stream=3, ordered=False)
    assert [chunk.ssn for chunk in i_data(z)] == [0, 0]


def test_both_expected_numbers_begin_anew_after_the_peers_reset():
    """RFC 8260 §2.3.2: after the peer's reset its MIDs begin at 0, ordered and unordered."""
    a, z = interleaved()
    z.send(IData(1, stream=3, ssn=0), IData(2, stream=3, ssn=0, flags="UBE"))
    z.ignore()
    z.send(ReConfig(Outgoing(1, 0, 2, (3,))))
    z.ignore()
    a.receive()
    z.send(IData(3, b"o", stream=3, ssn=0), IData(4, b"u", stream=3, ssn=0, flags="UBE"))
    assert sorted(a.receive()) == [b"o", b"u"]
