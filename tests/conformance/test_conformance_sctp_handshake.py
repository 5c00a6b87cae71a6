"""Setting up an association: INIT, INIT ACK, COOKIE ECHO, COOKIE ACK, and what may be wrong with them."""

from __future__ import annotations

import pytest
from sctp_peer import (
    CLOSED,
    COOKIE_ECHOED,
    COOKIE_WAIT,
    ESTABLISHED,
    PLAIN,
    TAG,
    accepted,
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

from rtcstack.sctp import Closed, Established
from rtcstack.sctp import chunks as wire
from rtcstack.sctp.parameters import (
    HOST_NAME_ADDRESS,
    STATE_COOKIE,
    SUPPORTED_EXTENSIONS,
    UNRECOGNIZED_PARAMETER,
    read_parameters,
    write_parameter,
)

COOKIE = (STATE_COOKIE, b"cookie of Z")


# -- the four packets ----------------------------------------------------------------------------------------


def test_four_packets_establish_the_association_that_we_begin():
    """RFC 9260 §5.1: INIT, INIT ACK, COOKIE ECHO and COOKIE ACK establish an association."""
    a, z = ladder()
    a.connect()
    assert a.state is COOKIE_WAIT
    z.expect(Init())  # A -- INIT --> Z
    z.send(InitAck())  # A <- INIT ACK -- Z
    assert a.state is COOKIE_ECHOED
    z.expect(CookieEcho(b"cookie of Z"))  # A -- COOKIE ECHO --> Z
    z.send(CookieAck())  # A <- COOKIE ACK -- Z
    z.expect_nothing()
    assert a.state is ESTABLISHED
    assert a.events() == [Established()]


def test_four_packets_establish_the_association_that_the_peer_begins():
    """RFC 9260 §5.1: an INIT is answered, and the cookie that comes back begins the association."""
    a, z = ladder()
    z.send(Init())  # A <- INIT -- Z
    z.expect(InitAck())  # A -- INIT ACK --> Z
    assert (a.state, a.events()) == (CLOSED, [])
    z.send(CookieEcho())  # A <- COOKIE ECHO -- Z
    z.expect(CookieAck())  # A -- COOKIE ACK --> Z
    assert a.state is ESTABLISHED
    assert a.events() == [Established()]


def test_an_init_has_a_tag_and_bears_none():
    """RFC 9260 §8.5.1 A: the packet of an INIT bears the tag 0, its Initiate Tag is not 0."""
    a, z = ladder()
    a.connect()
    assert z.expect(Init(), tag=0).tag != 0


def test_an_init_travels_alone():
    """RFC 9260 §5.1: nothing is bundled with an INIT, even if data waits."""
    a, z = ladder()
    a.send(b"early")
    a.connect()
    z.expect(Init())


def test_data_queued_before_the_association_stands_goes_with_the_cookie():
    """RFC 9260 §5.1 C: COOKIE ECHO is the first chunk of its packet, and pending data may follow it."""
    a, z = ladder()
    a.connect()
    a.send(b"early")
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"early"))


def test_nothing_else_is_sent_until_the_cookie_is_acknowledged():
    """RFC 9260 §5.1 C: until the COOKIE ACK the sender must not send any other packet."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    for _ in range(3):
        a.send(bytes(2000))
    z.expect_nothing(0.5)
    z.send(CookieAck())
    z.expect(Data(1, flags="B"))


def test_data_queued_behind_the_cookie_flows_when_it_is_acknowledged():
    """RFC 9260 §5.1 E: COOKIE ACK opens the way for what did not fit behind the COOKIE ECHO."""
    a, z = ladder()
    a.connect()
    a.send(bytes(1000))
    a.send(b"second")
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1), Data(2))
    z.send(CookieAck(), Sack(2))
    a.send(b"third")
    z.expect(Data(3, b"third"))


def test_data_behind_a_cookie_is_taken_and_acknowledged_behind_the_cookie_ack():
    """RFC 9260 §5.1.5 7: data bundled with COOKIE ECHO is acknowledged at once, COOKIE ACK first."""
    a, z = ladder()
    z.send(Init())
    z.expect(InitAck())
    z.send(CookieEcho(), Data(1, b"early"))  # A <- COOKIE ECHO, DATA -- Z
    z.expect(CookieAck(), Sack(1))  # A -- COOKIE ACK, SACK --> Z
    assert a.receive() == [b"early"]


def test_data_behind_a_cookie_ack_is_taken():
    """RFC 9260 §5.1 D: COOKIE ACK may be bundled with data."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(CookieAck(), Data(1, b"early"))  # A <- COOKIE ACK, DATA -- Z
    z.expect(Sack(1))
    assert a.receive() == [b"early"]


def test_the_first_data_is_acknowledged_at_once():
    """RFC 9260 §5.1: the first DATA chunk of an association is acknowledged immediately."""
    _, z = established()
    z.send(Data(1))
    z.expect(Sack(1))
    z.send(Data(2))
    z.expect(Sack(2), after=0.2)


def test_the_association_begins_with_the_initial_tsn():
    """RFC 9260 §3.3.2: the first DATA chunk bears the Initial TSN of the INIT, wherever that lies."""
    a, z = accepted(first_tsn=0xFFFFFFFE)
    for tsn in (1, 2, 3, 4):  # 4294967294, 4294967295, 0, 1
        z.send(Data(tsn))
        z.expect(Sack(tsn), after=0.2 * (tsn > 1))
    assert len(a.receive()) == 4


@pytest.mark.parametrize(
    ("theirs", "ours", "usable"), [((10, 20), (65535, 65535), 10), ((30, 20), (65535, 25), 20)]
)
def test_each_side_uses_the_smaller_number_of_streams(theirs, ours, usable):
    """RFC 9260 §5.1.1: outgoing streams are the smaller of what we want and what the peer takes."""
    a, z = ladder(outbound_streams=ours[0], inbound_streams=ours[1])
    a.connect()
    z.expect(Init(outbound=ours[0], inbound=ours[1]))
    z.send(InitAck(outbound=theirs[0], inbound=theirs[1]))
    z.expect(CookieEcho())
    z.send(CookieAck())
    assert a.association.max_streams == usable


# -- retransmission ------------------------------------------------------------------------------------------


def test_an_unanswered_init_is_repeated_with_back_off():
    """RFC 9260 §5.1: T1-init repeats the INIT, doubling its time, without a change of state."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    for pause in (1, 2, 4, 8):
        z.expect(Init(), after=pause)
    assert a.state is COOKIE_WAIT
    assert a.stats.control_retransmissions == 4


def test_an_unanswered_cookie_echo_is_repeated_with_back_off():
    """RFC 9260 §5.1.4: T1-cookie repeats the COOKIE ECHO, and restarts."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    for pause in (1, 2, 4, 8):
        z.expect(CookieEcho(b"cookie of Z"), after=pause)
    assert a.state is COOKIE_ECHOED


def test_a_repeated_cookie_echo_carries_its_data_again():
    """RFC 9260 §5.1.4: data that was bundled with a lost COOKIE ECHO is sent again with it."""
    a, z = ladder()
    a.connect()
    a.send(b"early")
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"early"))  # A -- COOKIE ECHO, DATA --x
    z.expect(CookieEcho(), Data(1, b"early"), after=1)  # A -- COOKIE ECHO, DATA --> Z
    z.send(CookieAck(), Sack(1))
    z.expect_nothing(5)


def test_a_lost_cookie_ack_is_asked_for_again():
    """RFC 9260 §5.2.4 D: a repeated COOKIE ECHO is answered with COOKIE ACK, and nothing else happens."""
    a, z = accepted()
    z.send(Data(1))
    z.expect(Sack(1))
    z.send(CookieEcho())  # the COOKIE ACK was lost
    z.expect(CookieAck())
    assert a.state is ESTABLISHED
    assert a.events() == []
    assert a.receive() == [b"data"]


def test_the_first_of_two_init_acks_decides():
    """RFC 9260 §5.2.3: an INIT ACK that comes after COOKIE-WAIT is discarded."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.send(InitAck(tag=0x77777777, parameters=((STATE_COOKIE, b"second"), *PLAIN)))
    z.expect(CookieEcho(b"cookie of Z"))
    z.expect_nothing()
    z.send(CookieAck())
    assert a.state is ESTABLISHED


def test_repeated_inits_get_equal_answers_and_either_cookie_serves():
    """RFC 9260 §5.1 B: nothing is kept for an INIT, so each of its INIT ACKs leads to an association."""
    a, z = ladder()
    z.send(Init())
    first = z.expect(InitAck())
    z.send(Init())
    z.expect(InitAck())
    assert a.state is CLOSED
    z.answer = first
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert a.state is ESTABLISHED


def test_a_cookie_ack_is_heard_in_cookie_echoed_only():
    """RFC 9260 §5.2.5: a COOKIE ACK in any other state is silently discarded."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(CookieAck())
    z.expect_nothing()
    assert a.state is COOKIE_WAIT
    a, z = established()
    z.send(CookieAck())
    z.expect_nothing()
    assert (a.state, a.events()) == (ESTABLISHED, [])


# -- INITs that are refused ----------------------------------------------------------------------------------


def test_an_init_with_the_tag_0_is_dropped():
    """RFC 9260 §3.3.2: an Initiate Tag of 0 makes an INIT invalid, and there is no tag to answer to."""
    a, z = ladder()
    z.send(Init(tag=0))
    z.ignore()
    assert a.state is CLOSED
    a, z = established()
    z.send(Init(tag=0))
    z.ignore()
    assert a.state is ESTABLISHED


@pytest.mark.parametrize("fault", [{"outbound": 0}, {"inbound": 0}, {"window": 1499}])
@pytest.mark.parametrize("begin", [ladder, established])
def test_an_init_with_forbidden_values_is_refused(fault, begin):
    """RFC 9260 §3.3.2: no streams, or a window under 1500: ABORT to the Initiate Tag, no other effect."""
    a, z = begin()
    state = a.state
    z.send(Init(tag=0x1234, **fault))
    z.expect(Abort(), tag=0x1234)
    assert (a.state, a.events()) == (state, [])


def test_an_init_with_company_is_dropped():
    """RFC 9260 §8.5.1 A: a packet with the tag 0 that holds more than an INIT is silently discarded."""
    a, z = ladder()
    z.send(Init(), Data(1))
    z.expect_nothing()
    assert a.state is CLOSED


def test_an_init_with_a_tag_is_not_answered():
    """RFC 9260 §8.5.1 A: the packet of an INIT bears the tag 0, any other is no INIT."""
    a, z = ladder()
    z.send(Init(), tag=0x1234)
    z.expect_nothing()
    a, z = established()
    z.send(Init(), tag=z.tag_of_a)
    z.expect_nothing()
    assert a.state is ESTABLISHED


@pytest.mark.parametrize("initiate", [False, True])
def test_a_host_name_address_is_refused(initiate):
    """RFC 9260 §3.3.2.1.4: the receiver of a Host Name Address parameter sends an ABORT."""
    a, z = ladder()
    host = (HOST_NAME_ADDRESS, b"example.org\0")
    if initiate:
        a.connect()
        z.expect(Init())
        z.send(InitAck(parameters=(COOKIE, host)))
    else:
        z.send(Init(parameters=(*PLAIN, host)))
    z.expect(Abort(), tag=TAG)
    assert a.state is CLOSED


def test_an_init_ack_with_the_tag_0_destroys_the_association():
    """RFC 9260 §3.3.3: an INIT ACK with an Initiate Tag of 0 ends the attempt."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck(tag=0))
    assert a.state is CLOSED
    z.ignore()
    z.expect_nothing(10)


@pytest.mark.parametrize("fault", [{"outbound": 0}, {"inbound": 0}, {"window": 1499}])
def test_an_init_ack_with_forbidden_values_is_refused(fault):
    """RFC 9260 §3.3.3: no streams, or a window under 1500: ABORT, and the attempt is over."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck(**fault))
    z.expect(Abort(), tag=TAG)
    assert a.state is CLOSED


def test_an_init_ack_without_a_cookie_is_refused():
    """RFC 9260 §5.1: a missing State Cookie is answered with ABORT, cause Missing Mandatory Parameter."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck(parameters=PLAIN))
    z.expect(Abort(wire.MISSING_MANDATORY_PARAMETER, b"\0\0\0\1\0\7"), tag=TAG)
    assert a.state is CLOSED
    (event,) = a.events()
    assert isinstance(event, Closed)


def test_an_init_ack_with_company_is_dropped():
    """RFC 9260 §5.1: an INIT ACK must be the only chunk of its packet."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck(), Data(1))
    z.expect_nothing()
    assert a.state is COOKIE_WAIT


def test_an_abort_ends_the_attempt():
    """RFC 9260 §9.1: an ABORT in COOKIE-WAIT removes the association and is told to the application."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(Abort(wire.OUT_OF_RESOURCE))
    z.expect_nothing(10)
    assert a.state is CLOSED
    (event,) = a.events()
    assert "Out of Resource" in event.reason


# -- other chunks while the association is set up ------------------------------------------------------------


@pytest.mark.parametrize("chunk", [Shutdown(0), Data(1), Sack(0), Heartbeat(), ShutdownComplete(), Error(99)])
def test_chunks_of_an_association_are_discarded_in_cookie_wait(chunk):
    """RFC 9260 §9.2: SHUTDOWN, and all else that belongs to an association, is discarded in COOKIE-WAIT."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.first_tsn_of_a = 1
    z.send(chunk)
    z.expect_nothing()
    assert a.state is COOKIE_WAIT
    assert a.receive() == []


@pytest.mark.parametrize("chunk", [Shutdown(0), ShutdownComplete(), Error(99)])
def test_the_end_is_discarded_in_cookie_echoed(chunk):
    """RFC 9260 §9.2: a SHUTDOWN in COOKIE-ECHOED is silently discarded."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(chunk)
    z.expect_nothing()
    assert a.state is COOKIE_ECHOED
    z.expect(CookieEcho(), after=1)


def test_a_heartbeat_in_cookie_echoed_is_answered_when_the_cookie_is():
    """RFC 9260 §8.3: HEARTBEAT is answered from COOKIE-ECHOED on, though nothing leaves before COOKIE ACK."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(Heartbeat(b"are you there"))
    z.expect_nothing()
    z.send(CookieAck())
    z.expect(HeartbeatAck(b"are you there"))


@pytest.mark.parametrize("echoed", [False, True])
def test_a_shutdown_ack_during_set_up_is_answered_out_of_the_blue(echoed):
    """RFC 9260 §8.5.1 E: SHUTDOWN ACK during set-up: SHUTDOWN COMPLETE with the tag reflected."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    if echoed:
        z.send(InitAck())
        z.expect(CookieEcho())
    state = a.state
    z.send(ShutdownAck())  # A <- SHUTDOWN ACK -- Z
    z.expect(ShutdownComplete(reflected=True), tag=z.tag_of_a)  # A -- SHUTDOWN COMPLETE (T) --> Z
    assert a.state is state
    z.expect(CookieEcho() if echoed else Init(), after=1)  # T1 goes on


def test_data_is_not_taken_before_the_cookie_is_acknowledged():
    """RFC 9260 §6: user data in COOKIE-ECHOED is not delivered; it is sent again when COOKIE ACK is there."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(Data(1, b"overtakes"))
    z.send(CookieAck())
    z.ignore()
    z.send(Data(1, b"overtakes"))
    z.ignore()
    assert a.receive() == [b"overtakes"]


# -- cookies -------------------------------------------------------------------------------------------------


def test_a_forged_cookie_is_discarded_whichever_byte_is_wrong():
    """RFC 9260 §5.1.5 2: a cookie whose authentication fails is silently discarded, its data too."""
    a, z = ladder()
    z.send(Init())
    cookie = z.expect(InitAck()).cookie
    for i in range(len(cookie)):
        forged = bytearray(cookie)
        forged[i] ^= 0x10
        z.send(CookieEcho(bytes(forged)), Data(1), tag=z.answer.tag)
    z.send(CookieEcho(cookie[:-1]), tag=z.answer.tag)
    z.send(CookieEcho(cookie + b"\0"), tag=z.answer.tag)
    z.send(CookieEcho(b""), tag=z.answer.tag)
    z.expect_nothing()
    assert a.state is CLOSED
    assert a.receive() == []


def test_a_cookie_in_a_packet_with_another_tag_is_discarded():
    """RFC 9260 §5.1.5 3: the tag of the packet must be the one in the cookie."""
    a, z = ladder()
    z.send(Init())
    z.expect(InitAck())
    z.send(CookieEcho(), tag=z.answer.tag ^ 1)
    z.expect_nothing()
    assert a.state is CLOSED


def test_a_cookie_of_another_association_is_discarded():
    """RFC 9260 §5.1.5 1: only a cookie that was made here is taken."""
    _, other = ladder(local_port=5001)
    other.send(Init(), ports=(5000, 5001))
    cookie = other.expect(InitAck()).cookie
    a, z = ladder()
    z.send(CookieEcho(cookie), tag=other.answer.tag)
    z.expect_nothing()
    assert a.state is CLOSED


def test_a_stale_cookie_is_reported():
    """RFC 9260 §5.1.5 4: a cookie older than its life is answered with ERROR, cause Stale Cookie."""
    a, z = ladder()
    z.send(Init())
    z.expect(InitAck())
    z.wait(60.5)
    z.send(CookieEcho(), Data(1))
    error = z.expect(Error(wire.STALE_COOKIE))
    assert 0 <= int.from_bytes(error.value) <= 600_000  # microseconds; 0 says nothing
    assert a.state is CLOSED
    assert a.receive() == []


def test_a_cookie_within_its_life_is_good():
    """RFC 9260 §5.1.3: the cookie holds its time of birth and lives as long as the option says."""
    a, z = ladder(cookie_lifetime=60.0)
    z.send(Init())
    z.expect(InitAck())
    z.wait(59.5)
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert a.state is ESTABLISHED


def test_a_stale_cookie_error_begins_the_handshake_anew():
    """RFC 9260 §5.2.6 1: in COOKIE-ECHOED a Stale Cookie error is answered with a new INIT."""
    a, z = ladder()
    a.connect()
    a.send(b"early")
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"early"))
    z.send(Error(wire.STALE_COOKIE, bytes(4)))  # A <- ERROR (stale cookie) -- Z
    z.expect(Init())  # A -- INIT --> Z
    assert a.state is COOKIE_WAIT
    z.send(InitAck())
    z.expect(CookieEcho(), Data(1, b"early"))
    z.send(CookieAck(), Sack(1))
    assert a.state is ESTABLISHED


def test_what_follows_a_stale_cookie_error_in_its_packet_is_not_taken():
    """RFC 9260 §5.2.6: the association that the rest of the packet belongs to is gone."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(Error(wire.STALE_COOKIE, bytes(4)), CookieAck(), Data(1))
    z.expect(Init())
    assert a.state is COOKIE_WAIT
    assert a.receive() == []


def test_a_stale_cookie_error_is_heard_in_cookie_echoed_only():
    """RFC 9260 §5.2.6: in all other states the ERROR is silently discarded."""
    a, z = established()
    z.send(Error(wire.STALE_COOKIE, bytes(4)))
    z.expect_nothing()
    assert a.state is ESTABLISHED


def test_a_cookie_says_what_was_agreed_on_not_what_is_claimed_later():
    """RFC 9260 §5.1.3: all that the association needs is in the cookie, features of the INIT included."""
    a, z = ladder()
    z.send(Init(parameters=()))  # knows no extension
    z.expect(InitAck())
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert not a.association.features.partial_reliability
    assert not a.association.features.reconfiguration


def test_hundreds_of_inits_leave_nothing_behind():
    """RFC 9260 §5.1 B: no state is kept for an INIT, and each is answered with one packet at most."""
    a, z = ladder()
    for tag in range(1, 301):
        z.send(Init(tag=tag))
        z.expect(InitAck())
    assert a.state is CLOSED
    assert a.association.deadline == float("inf")


def test_inits_that_come_in_one_batch_are_answered_one_to_one_at_most():
    """RFC 9260 §12.2.4.1: a flood makes us send no more than it brings."""
    _, z = ladder()
    z.send(Init())
    z.expect(InitAck())
    z.deliver(*[z.packet_of(Init(), tag=0)] * 1000)
    answers = 0
    while z.is_heard:
        z.expect(InitAck())
        answers += 1
    assert 1 <= answers <= 1000


# -- parameters that are not known ---------------------------------------------------------------------------

UNKNOWN = {0b00: 0x3FF0, 0b01: 0x7FF0, 0b10: 0xBFF0, 0b11: 0xFFF0}


@pytest.mark.parametrize(("bits", "goes_on", "reports"), [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1)])
def test_the_two_highest_bits_decide_about_an_unknown_parameter_of_an_init(bits, goes_on, reports):
    """RFC 9260 §3.2.1: 00 stop, 01 stop and report, 10 skip, 11 skip and report; INIT ACK in all cases."""
    a, z = ladder()
    unknown = (UNKNOWN[bits], b"what is this")
    z.send(Init(parameters=(unknown, *PLAIN)))
    answer = z.expect(InitAck())
    reported = answer.find(UNRECOGNIZED_PARAMETER)
    assert reported == (write_parameter(*unknown) if reports else None)
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert a.association.features.reconfiguration == bool(goes_on)


@pytest.mark.parametrize(
    ("bits", "goes_on", "reports"),
    [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1)],
)
def test_the_two_highest_bits_decide_about_an_unknown_parameter_of_an_init_ack(bits, goes_on, reports):
    """RFC 9260 §3.2.2: unknown parameters of an INIT ACK are reported in an ERROR behind the COOKIE ECHO."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    unknown = (UNKNOWN[bits], b"what is this")
    z.send(InitAck(parameters=(COOKIE, unknown, *PLAIN)))
    if reports:
        z.expect(CookieEcho(), Error(wire.UNRECOGNIZED_PARAMETERS, write_parameter(*unknown)))
    else:
        z.expect(CookieEcho())
    z.send(CookieAck())
    z.expect_nothing()
    assert a.association.features.reconfiguration == bool(goes_on)


def test_several_unknown_parameters_are_all_reported():
    """RFC 9260 §3.2.2: the INIT ACK reports every parameter that wants it."""
    _, z = ladder()
    unknown = [(0xFFF0, b"one"), (0xFFF1, b"two"), (0xFFF2, b"three")]
    z.send(Init(parameters=tuple(unknown)))
    answer = z.expect(InitAck())
    reported = [value for kind, value in answer.parameters if kind == UNRECOGNIZED_PARAMETER]
    assert [read_parameters(value)[0] for value in reported] == unknown


def test_a_large_unknown_parameter_does_not_make_a_large_answer():
    """RFC 9260 §12.2.4.1: what is given back is bounded: nobody is answered with more than he sent."""
    _, z = ladder()
    z.send(Init(parameters=((0xFFF0, bytes(60_000)),)))
    z.expect(InitAck())
    assert len(z.packet) <= 1160


def test_parameters_that_we_know_and_do_not_need_are_ignored():
    """RFC 9260 §5.1.2: addresses, cookie preservative and address types have no meaning above DTLS."""
    a, z = ladder()
    odd = ((5, bytes(4)), (6, bytes(16)), (9, bytes(4)), (12, b"\0\5"), (0x8000, b""))
    z.send(Init(parameters=(*odd, *PLAIN)))
    assert z.expect(InitAck()).find(UNRECOGNIZED_PARAMETER) is None
    z.send(CookieEcho())
    z.expect(CookieAck())
    assert a.association.features.reconfiguration


@pytest.mark.parametrize("length", [0, 3, 200])
def test_a_parameter_whose_length_lies_spoils_its_init(length):
    """RFC 9260 §3.2.1: a length under 4 or past the end: the INIT is dropped, there is no endless loop."""
    a, z = ladder()
    init = Init(parameters=((0xC000, b""),)).write(z)
    z.deliver(z.packet_of_bytes(init[:-2] + length.to_bytes(2), tag=0))
    z.ignore()
    assert a.state is CLOSED
    z.send(Init())
    z.expect(InitAck())


def test_extensions_are_announced_in_init_and_init_ack():
    """RFC 5061 §4.2.7: Supported Extensions names the chunk types that both INIT and INIT ACK offer."""
    a, z = ladder()
    a.connect()
    offered = z.expect(Init()).find(SUPPORTED_EXTENSIONS)
    assert offered is not None
    assert {wire.RE_CONFIG, wire.FORWARD_TSN} <= set(offered)
    _, z = ladder()
    z.send(Init())
    answered = z.expect(InitAck()).find(SUPPORTED_EXTENSIONS)
    assert answered is not None
    assert {wire.RE_CONFIG, wire.FORWARD_TSN} <= set(answered)


def test_an_init_that_stays_unanswered_is_tried_without_new_parameters():
    """RFC 9260 §5.1: repeated INITs leave newer extensions out in turn, for peers that drop what is new."""
    a, z = ladder(interleaving=True, zero_checksum=True)
    a.connect()
    offers = [z.expect(Init())] + [z.expect(Init(), after=pause) for pause in (1, 2, 4)]
    extensions = [init.find(SUPPORTED_EXTENSIONS) or b"" for init in offers]
    assert any(wire.I_DATA in it for it in extensions)
    assert any(wire.I_DATA not in it for it in extensions)
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(CookieAck())
    assert a.state is ESTABLISHED


def test_shutdown_while_connecting_ends_the_attempt():
    """RFC 9260 §9.2: in COOKIE-WAIT there is no association to shut down: it is gone at once."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    a.shutdown()
    assert a.state is CLOSED
    z.expect_nothing(10)


def test_an_unknown_chunk_in_front_does_not_begin_an_association():
    """RFC 9260 §8.4 4: COOKIE ECHO counts as the first chunk of its packet only."""
    a, z = ladder()
    z.send(Init())
    z.expect(InitAck())
    z.send(Raw(0xBF), CookieEcho(z.answer.cookie), tag=z.answer.tag)
    z.ignore()
    assert a.state is CLOSED
