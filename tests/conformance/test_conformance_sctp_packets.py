"""Packets and chunks: checksums, tags, lengths, unknown types, and packets out of the blue."""

from __future__ import annotations

import pytest
from sctp_peer import (
    CLOSED,
    COOKIE_WAIT,
    ESTABLISHED,
    PLAIN,
    SHUTDOWN_ACK_SENT,
    TAG,
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

from rtcstack.sctp import Closed
from rtcstack.sctp import chunks as wire
from rtcstack.sctp.packet import checksum_seed, is_intact
from rtcstack.sctp.parameters import ZERO_CHECKSUM_ACCEPTABLE

ZERO = extensions(wire.RE_CONFIG, wire.FORWARD_TSN, zero_checksum=True)


# -- the common header ---------------------------------------------------------------------------------------


def test_a_wrong_checksum_makes_a_packet_worthless():
    """RFC 9260 §6.8: a packet whose CRC-32C is wrong is silently discarded."""
    a, z = established()
    z.send(Data(1), checksum=0x12345678)
    z.send(Data(1), checksum=0)
    z.send(Abort(), checksum=0x12345678)
    z.expect_nothing()
    assert (a.state, a.receive()) == (ESTABLISHED, [])


@pytest.mark.parametrize("ports", [(5001, 5000), (5000, 5001), (0, 5000), (5000, 0)])
def test_other_ports_are_another_association(ports):
    """RFC 9260 §3.1: ports and tag name the association; a port of 0 is never valid."""
    a, z = established()
    z.send(Data(1), ports=ports)
    z.ignore()
    assert a.receive() == []
    assert a.state is ESTABLISHED


@pytest.mark.parametrize(
    "chunk", [Data(1), Sack(0), Heartbeat(), Shutdown(0), ShutdownAck(), Error(99), CookieAck(), Abort()]
)
@pytest.mark.parametrize("tag", [0, TAG, 0x13131313])
def test_a_wrong_tag_makes_a_packet_worthless(chunk, tag):
    """RFC 9260 §8.5: a packet with another tag than ours is silently discarded, in every exception too."""
    a, z = established()
    z.send(chunk, tag=tag)
    z.expect_nothing()
    assert (a.state, a.events(), a.receive()) == (ESTABLISHED, [], [])


def test_an_abort_with_the_reflected_tag_is_taken():
    """RFC 9260 §8.5.1 B: an ABORT with the T bit and the peer's own tag comes from a peer without memory."""
    a, z = established()
    z.send(Abort(reflected=True), tag=TAG)
    z.expect_nothing(5)
    assert a.state is CLOSED


def test_an_abort_whose_tag_and_t_bit_do_not_fit_is_dropped():
    """RFC 9260 §8.5.1 B: our tag with the T bit, or the peer's tag without it, is silently discarded."""
    a, z = established()
    z.send(Abort(reflected=True), tag=z.tag_of_a)
    z.send(Abort(reflected=False), tag=TAG)
    z.expect_nothing()
    assert a.state is ESTABLISHED


@pytest.mark.parametrize(("reflected", "theirs"), [(False, False), (True, True)])
def test_shutdown_complete_with_a_tag_that_fits_ends_the_association(reflected, theirs):
    """RFC 9260 §8.5.1 C: SHUTDOWN COMPLETE with our tag, or with the T bit and the peer's, is taken."""
    a, z = established()
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    z.send(ShutdownComplete(reflected), tag=TAG if theirs else z.tag_of_a)
    assert a.state is CLOSED
    assert any(isinstance(event, Closed) and event.graceful for event in a.events())


@pytest.mark.parametrize(
    ("reflected", "theirs"),
    [(False, True), (True, False)],
)
def test_shutdown_complete_with_a_tag_that_does_not_fit_is_dropped(reflected, theirs):
    """RFC 9260 §8.5.1 C: all other combinations of tag and T bit are silently discarded."""
    a, z = established()
    z.send(Shutdown(0))
    z.expect(ShutdownAck())
    z.send(ShutdownComplete(reflected), tag=TAG if theirs else z.tag_of_a)
    assert a.state is SHUTDOWN_ACK_SENT
    z.expect(ShutdownAck(), after=1)


@pytest.mark.parametrize("size", range(16))
def test_a_packet_without_room_for_a_chunk_is_dropped(size):
    """RFC 9260 §3: a packet is a header of 12 bytes and at least one chunk of 4."""
    a, z = established()
    z.deliver(z.packet_of(Data(1))[:size])
    z.expect_nothing()
    assert (a.state, a.receive()) == (ESTABLISHED, [])


# -- chunks --------------------------------------------------------------------------------------------------

UNKNOWN = {0b00: 0x3F, 0b01: 0x7F, 0b10: 0xBF, 0b11: 0xFF}


@pytest.mark.parametrize(("bits", "goes_on", "reports"), [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1)])
def test_the_two_highest_bits_decide_about_an_unknown_chunk(bits, goes_on, reports):
    """RFC 9260 §3.2: 00 stop, 01 stop and report, 10 skip, 11 skip and report in an ERROR."""
    a, z = established()
    unknown = Raw(UNKNOWN[bits], b"what")
    z.send(unknown, Data(1))
    expected = [Error(wire.UNRECOGNIZED_CHUNK_TYPE, unknown.write(z))] if reports else []
    expected += [Sack(1)] if goes_on else []
    if expected:
        z.expect(*expected)
    z.expect_nothing()
    assert a.receive() == [b"data"] * goes_on
    assert a.state is ESTABLISHED


def test_chunks_in_front_of_an_unknown_one_count():
    """RFC 9260 §3.2: stopping discards the unknown chunk and all further ones, not those before."""
    a, z = established()
    z.send(Data(1), Raw(UNKNOWN[0]), Data(2))
    z.expect(Sack(1))
    assert a.receive() == [b"data"]


def test_a_large_unknown_chunk_is_reported_within_a_packet():
    """RFC 9260 §3.3.10.6: the report holds the chunk as far as a packet has room."""
    _, z = established()
    z.send(Raw(UNKNOWN[3], bytes(4000)))
    z.expect(Error(wire.UNRECOGNIZED_CHUNK_TYPE))


def test_many_unknown_chunks_bring_no_flood_of_reports():
    """RFC 9260 §12.2.4.1: a packet full of unknown chunks is not answered with more than it held."""
    _, z = established()
    z.send(*[Raw(UNKNOWN[3])] * 200)
    size = 0
    while z.is_heard:
        z.ignore()
        size += 1
    assert size <= 4


def test_padding_is_ignored_whatever_it_holds():
    """RFC 9260 §3.2: the receiver ignores padding bytes."""
    a, z = established()
    chunk = Data(1, b"odd", flags="BE").write(z)
    assert len(chunk) == 20
    z.deliver(z.packet_of_bytes(chunk[:-1] + b"\xff" + Data(2, b"next").write(z)))
    z.expect(Sack(2))
    assert a.receive() == [b"odd", b"next"]


def test_padding_may_be_missing_behind_the_last_chunk():
    """RFC 9260 §3.2: a robust implementation takes a last chunk whose padding is not there."""
    a, z = established()
    z.deliver(z.packet_of_bytes(Data(1, b"odd").write(z)[:-1]))
    z.expect(Sack(1))
    assert a.receive() == [b"odd"]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_chunk_length_under_four_ends_the_packet(length):
    """RFC 9260 §3.2: a chunk is at least its own header; a shorter one is no chunk, and nobody loops."""
    a, z = established()
    z.send(Data(1), Raw(0xBF, b"", length=length), Data(2))
    z.expect(Sack(1))
    assert a.receive() == [b"data"]


@pytest.mark.parametrize("chunk", [0, wire.HEARTBEAT, wire.SACK, 0xBF])
def test_a_partial_chunk_is_dropped(chunk):
    """RFC 9260 §6.10: a chunk that is not wholly in the packet is dropped, those before it count."""
    a, z = established()
    z.send(Data(1), Raw(chunk, bytes(16), length=24))
    z.expect(Sack(1))
    assert a.receive() == [b"data"]


@pytest.mark.parametrize("rest", [b"\0", b"\0\0", b"\0\0\0"])
def test_bytes_behind_the_last_chunk_are_ignored(rest):
    """RFC 9260 §6.10: one to three bytes are no chunk."""
    a, z = established()
    z.deliver(z.packet_of_bytes(Data(1).write(z) + rest))
    z.expect(Sack(1))
    assert a.receive() == [b"data"]


def test_every_chunk_of_a_crowded_packet_counts():
    """RFC 9260 §6.10: a receiver must take bundled chunks, four hundred of them too."""
    a, z = established()
    z.send(*[Data(tsn, b"x") for tsn in range(1, 401)])
    z.expect(Sack(400))
    assert len(a.receive()) == 400


def test_reserved_flags_are_ignored():
    """RFC 9260 §3.2: chunk flags without meaning are ignored on receipt."""
    a, z = established()
    chunk = bytearray(Data(1).write(z))
    chunk[1] |= 0xF0
    z.deliver(z.packet_of_bytes(bytes(chunk)))
    z.expect(Sack(1))
    assert a.receive() == [b"data"]


@pytest.mark.parametrize("chunk", [InitAck(), ShutdownComplete()])
def test_chunks_that_must_travel_alone_are_not_taken_in_company(chunk):
    """RFC 9260 §6.10: INIT ACK and SHUTDOWN COMPLETE are never bundled; in company they change nothing."""
    a, z = established()
    z.send(Data(1), chunk)
    z.ignore()
    assert a.state is ESTABLISHED


def test_an_error_with_an_unknown_cause_is_tolerated():
    """RFC 9260 §3.3.10: an ERROR is not fatal in itself, whatever its causes are."""
    a, z = established()
    z.send(Error(0x4321, b"odd"))
    z.send(Raw(wire.ERROR, b"\0\1\0\0"))  # a cause of length 0
    z.send(Raw(wire.ERROR, b"\0\1\0\xff"))  # a cause that ends behind the chunk
    z.send(Raw(wire.ERROR))  # no cause
    z.expect_nothing()
    assert a.state is ESTABLISHED


@pytest.mark.parametrize("value", [b"\0\1\0\0", b"\0\1\0\xff", b"\x12\x34\0\4", b"x"])
def test_an_abort_with_malformed_causes_still_aborts(value):
    """RFC 9260 §9.1: an ABORT removes the association, however bad its causes are."""
    a, z = established()
    z.send(Raw(wire.ABORT, value))
    assert a.state is CLOSED
    z.expect_nothing(5)


# -- out of the blue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [Data(1), Sack(1), Heartbeat(), Shutdown(1)])
def test_a_packet_out_of_the_blue_is_answered_with_abort(chunk):
    """RFC 9260 §8.4 8: ABORT with the tag of the packet and the T bit."""
    _, z = ladder()
    z.first_tsn_of_a = 1
    z.send(chunk, tag=0x99)
    z.expect(Abort(reflected=True), tag=0x99)


def test_a_shutdown_ack_out_of_the_blue_is_answered_with_shutdown_complete():
    """RFC 9260 §8.4 5: SHUTDOWN COMPLETE with the tag of the packet and the T bit."""
    _, z = ladder()
    z.send(ShutdownAck(), tag=0x99)
    z.expect(ShutdownComplete(reflected=True), tag=0x99)


@pytest.mark.parametrize(
    "chunk", [Abort(), Abort(reflected=True), ShutdownComplete(), CookieAck(), Error(wire.STALE_COOKIE)]
)
def test_some_packets_out_of_the_blue_are_not_answered(chunk):
    """RFC 9260 §8.4: ABORT, SHUTDOWN COMPLETE, COOKIE ACK and a Stale Cookie error are silently discarded."""
    _, z = ladder()
    z.send(chunk, tag=0x99)
    z.expect_nothing()


def test_an_abort_anywhere_in_a_packet_out_of_the_blue_forbids_an_answer():
    """RFC 9260 §8.4 2: a packet that contains an ABORT, in whatever place, is silently discarded."""
    _, z = ladder()
    z.send(Error(99), Abort(), tag=0x99)
    z.expect_nothing()


def test_data_after_an_abort_is_answered_with_an_abort():
    """RFC 9260 §8.4 8: a peer whose ABORT was lost learns from its next packet that we are gone."""
    a, z = established()
    a.abort()
    z.expect(Abort(wire.USER_INITIATED_ABORT))  # A -- ABORT --x
    z.send(Data(1))  # A <- DATA -- Z
    z.expect(Abort(reflected=True), tag=z.tag_of_a)


def test_a_shutdown_ack_after_the_end_is_answered():
    """RFC 9260 §8.4 5: a peer whose SHUTDOWN COMPLETE was lost gets another one."""
    a, z = established()
    a.shutdown()
    z.expect(Shutdown(0))
    z.send(ShutdownAck())
    z.expect(ShutdownComplete())  # A -- SHUTDOWN COMPLETE --x
    z.send(ShutdownAck())
    z.expect(ShutdownComplete(reflected=True), tag=z.tag_of_a)
    assert a.state is CLOSED


def test_an_abort_is_never_answered():
    """RFC 9260 §9.1: no packet that contains an ABORT is responded to, in no state."""
    a, z = established()
    z.send(Abort())
    z.send(Abort())
    z.expect_nothing(5)
    assert a.state is CLOSED


# -- zero checksum -------------------------------------------------------------------------------------------


def has_checksum(packet: bytes) -> bool:
    """Tell whether a packet bears a CRC-32C rather than 0."""
    return packet[8:12] != bytes(4) and is_intact(packet, checksum_seed(packet), False)


def test_set_up_with_zero_checksum_on_both_sides():
    """RFC 9653 §5.2: INIT and COOKIE ECHO always bear a CRC-32C; later packets need none."""
    a, z = ladder(parameters=ZERO, zero_checksum=True)
    a.connect()
    init = z.expect(Init())
    assert init.find(ZERO_CHECKSUM_ACCEPTABLE) == bytes((0, 0, 0, 1))
    assert has_checksum(z.packet)
    z.send(InitAck(), checksum=0)
    z.expect(CookieEcho())
    assert has_checksum(z.packet)
    z.send(CookieAck(), checksum=0)
    assert a.state is ESTABLISHED
    a.send()
    z.expect(Data(1))
    assert not has_checksum(z.packet)


def test_zero_checksums_are_accepted_once_we_have_announced_it():
    """RFC 9653 §5.3: who has announced it takes packets with a zero checksum, and correct ones too."""
    a, z = accepted(parameters=ZERO, zero_checksum=True)
    z.send(Data(1), checksum=0)
    z.expect(Sack(1))
    z.send(Data(2))
    z.expect(Sack(2), after=0.2)
    z.send(Data(3), checksum=0x1234)
    z.expect_nothing(1)
    assert len(a.receive()) == 2


def test_each_direction_of_zero_checksum_stands_alone():
    """RFC 9653 §5.2: a peer that has not announced it gets checksums, though it may leave them out itself."""
    a, z = accepted(parameters=PLAIN, zero_checksum=True)
    a.send()
    z.expect(Data(1))
    assert has_checksum(z.packet)


def test_a_zero_checksum_is_refused_unless_we_have_announced_it():
    """RFC 9653 §5.3: without our announcement a packet with checksum 0 is invalid."""
    a, z = accepted(parameters=ZERO, zero_checksum=False)
    z.send(Data(1), checksum=0)
    z.expect_nothing()
    assert a.receive() == []


def test_init_and_cookie_echo_with_a_zero_checksum_are_refused():
    """RFC 9653 §5.3: a packet with INIT or COOKIE ECHO must bear a CRC-32C."""
    a, z = ladder(parameters=ZERO, zero_checksum=True)
    z.send(Init(), checksum=0)
    z.expect_nothing()
    z.send(Init())
    z.expect(InitAck())
    z.send(CookieEcho(), checksum=0)
    z.expect_nothing()
    assert a.state is CLOSED


def test_a_cookie_echo_in_established_with_a_zero_checksum_is_refused():
    """RFC 9653 §5.3: the rule for COOKIE ECHO holds for an association that stands, too."""
    _, z = accepted(parameters=ZERO, zero_checksum=True)
    z.send(CookieEcho(), checksum=0)
    z.expect_nothing()


def test_another_error_detection_method_is_no_consent():
    """RFC 9653 §5.2: only a method that we share counts: 1 is SCTP over DTLS."""
    a, z = accepted(parameters=(*PLAIN, (ZERO_CHECKSUM_ACCEPTABLE, bytes((0, 0, 0, 2)))), zero_checksum=True)
    a.send()
    z.expect(Data(1))
    assert has_checksum(z.packet)


def test_no_zero_checksum_before_the_peer_has_announced_it():
    """RFC 9653 §5.2: an answer to a packet out of the blue bears a CRC-32C."""
    _, z = ladder(zero_checksum=True)
    z.send(Data(1), tag=0x99)
    z.expect(Abort(reflected=True), tag=0x99)
    assert has_checksum(z.packet)


# -- padding chunk -------------------------------------------------------------------------------------------


def test_a_pad_chunk_is_discarded_and_the_rest_taken():
    """RFC 4820 §3: PAD is discarded silently; what surrounds it counts."""
    a, z = established()
    z.send(Raw(wire.PAD, bytes(100)), Data(1), Raw(wire.PAD, bytes(7)))
    z.expect(Sack(1))
    z.send(Heartbeat(), Raw(wire.PAD, bytes(900)))
    z.expect(HeartbeatAck())
    assert a.receive() == [b"data"]


def test_cookie_wait_hears_no_pad():
    """RFC 4820 §3: PAD alone changes nothing in any state."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(Raw(wire.PAD, bytes(100)))
    z.expect_nothing()
    assert a.state is COOKIE_WAIT
