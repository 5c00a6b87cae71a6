"""Setting up an association: what is agreed on, cookies, and the state machine's answers to odd packets."""

from __future__ import annotations

import pytest
from support.sctp import START, Steps, association, chunk_types, connected, describe

from rtcstack.errors import InvalidState, WireError
from rtcstack.sctp import AssociationState, Closed, Established, Restarted
from rtcstack.sctp.agreement import Agreement, Features, announce, features_of
from rtcstack.sctp.chunks import COOKIE_ECHO, FORWARD_TSN, INIT, INIT_ACK, RE_CONFIG, Abort, Init, InitAck
from rtcstack.sctp.handshake import Cookie
from rtcstack.sctp.packet import checksum_seed, write_header, write_packet
from rtcstack.sctp.parameters import STATE_COOKIE, SUPPORTED_EXTENSIONS, find_parameter

State = AssociationState


def lone(chunk: bytes, tag: int = 0) -> bytes:
    """Make a packet of one chunk."""
    header = write_header(5000, 5000, tag)
    return write_packet(header, [chunk], checksum_seed(header))


def init_of(packet: bytes) -> Init:
    """Read the INIT or INIT ACK in a packet."""
    return (Init if packet[12] == INIT else InitAck).parse(packet[12 : 12 + int.from_bytes(packet[14:16])])


def test_four_packets_establish_the_association():
    """RFC 9260 section 5.1."""
    s = Steps()
    s.a.connect(s.now)
    assert s.move(s.a) == ["INIT"]
    assert s.move(s.z) == ["INIT ACK"]
    assert s.z.state is State.CLOSED
    assert s.move(s.a) == ["COOKIE ECHO"]
    assert (s.a.state, s.z.state) == (State.COOKIE_ECHOED, State.ESTABLISHED)
    assert s.move(s.z) == ["COOKIE ACK"]
    assert s.a.take_events() == s.z.take_events() == [Established()]
    assert s.a.max_streams == 65535


def test_data_travels_with_the_cookie():
    s = Steps()
    s.a.send(1, 51, b"first", now=s.now)
    s.a.connect(s.now)
    s.move(s.a)
    s.move(s.z)
    assert s.move(s.a) == ["COOKIE ECHO I-DATA"]
    assert s.z.take_messages() == [(1, 51, b"first")]
    assert s.move(s.z) == ["COOKIE ACK SACK"]
    assert s.a.buffered_amount(1) == 0


def test_more_data_than_fits_beside_the_cookie_waits_for_the_answer():
    s = Steps()
    for _ in range(50):
        s.a.send(1, 51, bytes(900), now=s.now)
    s.a.connect(s.now)
    s.move(s.a)
    s.move(s.z)
    assert s.move(s.a) == ["COOKIE ECHO I-DATA"]
    assert s.move(s.a) == []
    s.settle()
    assert len(s.z.take_messages()) == 50


@pytest.mark.parametrize("who_is_first", ["a", "z", "both"])
def test_both_sides_may_begin(who_is_first):
    """RFC 8841 section 9.3, RFC 9260 section 5.2.1."""
    s = Steps()
    for side in (s.a, s.z):
        side.send(0, 50, b"open", now=s.now)
        side.connect(s.now)
    if who_is_first != "both":
        s.lose(s.z if who_is_first == "a" else s.a)
    s.settle()
    assert (s.a.state, s.z.state) == (State.ESTABLISHED, State.ESTABLISHED)
    assert s.a.take_messages() == s.z.take_messages() == [(0, 50, b"open")]
    assert s.a.take_events().count(Established()) == s.z.take_events().count(Established()) == 1


@pytest.mark.parametrize("seed", range(12))
def test_both_sides_begin_and_every_packet_crosses_another(seed):
    import random

    rng = random.Random(seed)
    s = Steps(seed)
    s.a.send(0, 50, b"from a", now=s.now)
    s.z.send(0, 50, b"from z", now=s.now)
    s.a.connect(s.now)
    s.z.connect(s.now)
    waiting = {id(s.a): [], id(s.z): []}
    for _ in range(400):
        for side in (s.a, s.z):
            waiting[id(s.other(side))] += s.take(side)
        side = rng.choice((s.a, s.z))
        inbox = waiting[id(side)]
        if inbox:
            packet = inbox.pop(rng.randrange(len(inbox)))
            if rng.random() < 0.6:
                side.receive([packet], s.now)
            if rng.random() < 0.2:
                side.receive([packet], s.now)
        elif not waiting[id(s.a)] and not waiting[id(s.z)]:
            s.now = min(s.a.deadline, s.z.deadline)
            s.a.handle_timeout(s.now)
            s.z.handle_timeout(s.now)
    s.wait(10.0)
    assert s.a.take_messages() == [(0, 50, b"from z")]
    assert s.z.take_messages() == [(0, 50, b"from a")]
    assert (s.a.buffered_amount(0), s.z.buffered_amount(0)) == (0, 0)


def test_a_lost_init_is_sent_again_without_what_old_peers_do_not_know():
    """RFC 9260 section 5.1 A; some peers drop an INIT with a parameter that they do not know."""
    s = Steps()
    s.a.connect(s.now)
    first = init_of(s.take(s.a)[0])
    s.fire(s.a)
    second = init_of(s.take(s.a)[0])
    assert features_of(first) == Features(True, True, True, True, True)
    assert features_of(second) == Features(True, True, False, False)
    assert first.initiate_tag != second.initiate_tag
    s.fire(s.a)
    assert init_of(s.take(s.a)[0]) == first


def test_the_init_is_repeated_without_end_and_never_more_than_three_seconds_apart():
    s = Steps()
    s.a.connect(s.now)
    waits = []
    for _ in range(40):
        assert s.lose(s.a) == ["INIT"]
        waits.append(s.a.deadline - s.now)
        s.fire(s.a)
    assert waits[:4] == pytest.approx([0.5, 1.0, 2.0, 3.0])
    assert max(waits) <= 3.0
    assert s.a.state is State.COOKIE_WAIT


def test_a_lost_cookie_echo_is_sent_again_with_its_data():
    s = Steps()
    s.a.send(1, 51, b"first", now=s.now)
    s.a.connect(s.now)
    s.move(s.a)
    s.move(s.z)
    assert s.lose(s.a) == ["COOKIE ECHO I-DATA"]
    s.fire(s.a)
    assert s.move(s.a) == ["COOKIE ECHO I-DATA"]
    s.settle()
    assert s.z.take_messages() == [(1, 51, b"first")]


def test_a_lost_cookie_ack_is_recovered():
    """RFC 9260 section 5.1: T1-cookie runs until COOKIE ACK comes; section 5.2.4 D answers again."""
    s = Steps()
    s.a.connect(s.now)
    s.move(s.a)
    s.move(s.z)
    s.move(s.a)
    s.lose(s.z)
    assert (s.a.state, s.z.state) == (State.COOKIE_ECHOED, State.ESTABLISHED)
    s.fire(s.a)
    assert s.move(s.a) == ["COOKIE ECHO"]
    assert s.move(s.z) == ["COOKIE ACK"]
    assert s.a.take_events() == [Established()]
    assert s.z.take_events() == [Established()]
    assert s.a.stats.control_retransmissions == 1


def test_streams_are_the_smaller_of_offer_and_limit():
    """RFC 9260 section 5.1.1."""
    s = Steps(
        a=association(1, outbound_streams=20, inbound_streams=2000), z=association(2, inbound_streams=1024)
    )
    s.connect()
    assert (s.a.max_streams, s.z.max_streams) == (20, 20)


@pytest.mark.parametrize("flag", ["interleaving", "zero_checksum"])
@pytest.mark.parametrize("where", ["a", "z"])
def test_a_feature_holds_only_if_both_want_it(flag, where):
    sides = {"a": association(1), "z": association(2)}
    sides[where] = association(3, **{flag: False})
    s = Steps(a=sides["a"], z=sides["z"])
    s.a.connect(s.now)
    s.settle()
    s.a.send(1, 51, b"x", now=s.now)
    packet = s.take(s.a)[0]
    assert chunk_types(packet) == [64 if flag != "interleaving" else 0]
    assert (packet[8:12] == bytes(4)) == (flag != "zero_checksum")
    s.z.receive([packet], s.now)
    assert s.z.take_messages() == [(1, 51, b"x")]
    # Each direction by itself: Z may leave the checksum out if A has announced that it takes such packets.
    assert (s.take(s.z)[0][8:12] == bytes(4)) == (flag != "zero_checksum" or where == "z")


def test_init_init_ack_and_cookie_echo_always_carry_a_checksum():
    """RFC 9653 section 5.2."""
    s = Steps()
    s.a.connect(s.now)
    for side in (s.a, s.z, s.a):
        packets = s.take(side)
        assert all(packet[8:12] != bytes(4) for packet in packets)
        s.other(side).receive(packets, s.now)


def test_an_init_with_a_zero_checksum_is_dropped():
    s = connected()
    packet = bytearray(lone(Init(7, 65536, 10, 10, 7).write()))
    packet[8:12] = bytes(4)
    s.z.receive([bytes(packet)], s.now)
    assert s.take(s.z) == []
    assert s.z.stats.drops == {"wrong checksum": 1}


def test_what_an_init_may_not_say():
    """RFC 9260 sections 3.3.2 and 8.5.1 A."""
    s = Steps()
    for init, answer in (
        (Init(0, 65536, 10, 10, 7), []),
        (Init(7, 65536, 0, 10, 7), ["ABORT"]),
        (Init(7, 65536, 10, 0, 7), ["ABORT"]),
        (Init(7, 1499, 10, 10, 7), ["ABORT"]),
        (Init(7, 1500, 10, 10, 7), ["INIT ACK"]),
    ):
        s.z.receive([lone(init.write())], s.now)
        assert s.lose(s.z) == answer
    s.z.receive([lone(Init(7, 65536, 10, 10, 7).write(), tag=3)], s.now)
    assert s.take(s.z) == []
    header = write_header(5000, 5000, 0)
    bundle = write_packet(header, [Init(7, 65536, 10, 10, 7).write(), Abort().write()], checksum_seed(header))
    s.z.receive([bundle], s.now)
    assert s.take(s.z) == []


def test_an_init_flood_leaves_nothing_behind():
    """Every INIT gets at most one answer, and no state is kept for it."""
    s = connected()
    for tag in range(1, 3000):
        s.z.receive([lone(Init(tag, 65536, 10, 10, tag).write())], s.now)
        assert len(s.take(s.z)) == 1
    s.tag_to.clear()
    s.a.send(1, 51, b"still here", now=s.now)
    s.settle()
    assert s.z.take_messages() == [(1, 51, b"still here")]


def test_an_init_ack_without_a_cookie_is_refused():
    s = Steps()
    s.a.connect(s.now)
    tag = init_of(s.take(s.a)[0]).initiate_tag
    s.a.receive([lone(InitAck(9, 65536, 10, 10, 9).write(), tag)], s.now)
    assert s.lose(s.a) == ["ABORT"]
    (closed,) = s.a.take_events()
    assert isinstance(closed, Closed)
    assert "cookie" in s.a.failure_reason


def test_every_bit_of_a_cookie_is_protected():
    s = Steps()
    s.a.connect(s.now)
    s.move(s.a)
    s.move(s.z)
    (packet,) = s.take(s.a)
    assert packet[12] == COOKIE_ECHO
    chunk = packet[12 : 12 + int.from_bytes(packet[14:16])]
    tag = int.from_bytes(packet[4:8])
    for at in range(4, len(chunk)):
        forged = bytearray(chunk)
        forged[at] ^= 1 << at % 8
        s.z.receive([lone(bytes(forged), tag)], s.now)
    assert s.z.state is State.CLOSED
    assert s.take(s.z) == []
    assert s.z.stats.drops == {"forged cookie": len(chunk) - 4}
    s.z.receive([packet], s.now)
    assert s.z.state is State.ESTABLISHED


def test_a_cookie_is_good_for_one_pair_of_ports_and_one_key():
    agreement = Agreement(1, 2, 3, 4, 65536, 10, 20, Features(True, False, True, False))
    cookie = Cookie(5.0, agreement, 7, 8)
    data = cookie.write(b"k" * 32, (5000, 5000))
    assert Cookie.parse(data, b"k" * 32, (5000, 5000)) == cookie
    for key, ports in ((b"l" * 32, (5000, 5000)), (b"k" * 32, (5000, 5001))):
        with pytest.raises(WireError):
            Cookie.parse(data, key, ports)
    for length in range(len(data)):
        with pytest.raises(WireError):
            Cookie.parse(data[:length], b"k" * 32, (5000, 5000))


def test_a_stale_cookie_is_reported_and_the_handshake_begins_anew():
    """RFC 9260 sections 5.1.5 and 5.2.6."""
    s = Steps()
    s.a.send(1, 51, b"patient", now=s.now)
    s.a.connect(s.now)
    s.move(s.a)
    s.move(s.z)
    packets = s.take(s.a)
    s.now += 61
    s.z.receive(packets, s.now)
    assert s.move(s.z) == ["ERROR"]
    assert s.a.state is State.COOKIE_WAIT
    s.settle()
    assert s.z.take_messages() == [(1, 51, b"patient")]
    assert s.a.buffered_amount(1) == 0


def test_an_unexpected_init_gets_a_cookie_with_tie_tags_and_touches_nothing():
    """RFC 9260 section 5.2.2."""
    s = connected()
    s.z.receive([lone(Init(77, 65536, 10, 10, 99).write())], s.now)
    (packet,) = s.take(s.z)
    answer = init_of(packet)
    assert packet[12] == INIT_ACK
    assert int.from_bytes(packet[4:8]) == 77
    assert find_parameter(answer.parameters, STATE_COOKIE)
    s.a.send(1, 51, b"as before", now=s.now)
    s.settle()
    assert s.z.take_messages() == [(1, 51, b"as before")]


def test_a_peer_that_begins_anew_restarts_the_association():
    """RFC 9260 section 5.2.4 A."""
    s = connected()
    s.a.send(1, 51, b"one", now=s.now)
    s.settle()
    s.z.send(2, 51, bytes(5000), now=s.now)
    s.z.send(2, 51, b"two", now=s.now)
    s.lose(s.z)
    old_messages = s.z.take_messages()
    reborn = Steps(a=association(99), z=s.z)
    reborn.a.connect(s.now)
    reborn.settle()
    assert reborn.a.take_events() == [Established()]
    assert Restarted() in s.z.take_events()
    assert s.z.stats.restarts == 1
    reborn.a.send(1, 51, b"anew", now=s.now)
    s.z.send(2, 51, b"three", now=s.now)
    reborn.settle()
    assert old_messages == [(1, 51, b"one")]
    assert s.z.take_messages() == [(1, 51, b"anew")]
    assert reborn.a.take_messages()[-1] == (2, 51, b"three")
    assert s.z.total_buffered == 0


def test_a_late_cookie_of_another_handshake_is_dropped():
    """RFC 9260 section 5.2.4: local tag another, peer's tag the same, a row that the table does not have."""
    s = connected()
    s.a.send(1, 51, b"x", now=s.now)
    s.settle()
    s.z.receive([lone(Init(s.tag_to[id(s.a)], 65536, 10, 10, 9).write())], s.now)
    answer = s.take(s.z)[0]
    cookie = find_parameter(init_of(answer).parameters, STATE_COOKIE)
    assert cookie is not None
    chunk = bytes([COOKIE_ECHO, 0]) + (4 + len(cookie)).to_bytes(2) + cookie
    s.z.receive([lone(chunk, init_of(answer).initiate_tag)], s.now)
    assert s.z.stats.drops == {"cookie of another handshake": 1}
    assert s.take(s.z) == []


def test_an_init_that_comes_before_connect_costs_no_round_trip():
    """RFC 9260 section 5.2.1: the answer and our own INIT bear the same tag."""
    s = Steps()
    s.a.connect(s.now)
    s.move(s.a)
    s.z.connect(s.now)
    s.lose(s.a)
    packets = s.take(s.z)
    s.a.receive([packet for packet in packets if packet[12] == INIT_ACK], s.now)
    s.move(s.a)
    assert s.z.state is State.ESTABLISHED


def test_answers_without_a_checksum_are_taken_once_we_have_announced_it():
    """RFC 9653 section 5.2: also the INIT ACK, and also in answer to the INIT that did not say so."""
    for attempt in range(2):
        s = Steps()
        s.a.connect(s.now)
        for _ in range(attempt):
            s.lose(s.a)
            s.fire(s.a)
        s.move(s.a)
        for _ in range(2):
            for packet in s.take(s.z):
                s.a.receive([packet[:8] + bytes(4) + packet[12:]], s.now)
            s.move(s.a)
        assert s.a.state is State.ESTABLISHED


def test_a_host_name_is_refused():
    """RFC 9260 section 3.3.2.1.4."""
    s = Steps()
    s.z.receive([lone(Init(7, 65536, 10, 10, 7, ((11, b"example.org\0"),)).write())], s.now)
    assert s.move(s.z) == ["ABORT"]


def test_messages_for_streams_that_the_peer_lacks_are_dropped():
    s = Steps(z=association(2, inbound_streams=10))
    s.a.send(10, 51, b"nowhere", now=s.now)
    s.a.send(9, 51, b"fine", now=s.now)
    s.a.connect(s.now)
    s.settle()
    assert s.z.take_messages() == [(9, 51, b"fine")]
    assert s.a.total_buffered == 0
    assert s.a.max_streams == 10


def test_unknown_parameters_are_reported_as_their_type_says():
    """RFC 9260 section 3.2.1."""
    s = Steps()
    init = Init(
        7,
        65536,
        10,
        10,
        7,
        ((0xC123, b"report"), (0x8123, b"skip"), (0x4123, b"stop"), (0xC124, b"not seen")),
    )
    s.z.receive([lone(init.write())], s.now)
    answer = init_of(s.take(s.z)[0])
    reported = [value[:2] for kind, value in answer.parameters if kind == 8]
    assert reported == [b"\xc1\x23", b"\x41\x23"]


def test_a_peer_of_the_old_kind_is_told_no_news():
    """What its INIT did not announce, the answer does not name."""
    s = Steps()
    init = Init(7, 65536, 10, 10, 7, ((SUPPORTED_EXTENSIONS, bytes([FORWARD_TSN, RE_CONFIG])),))
    s.z.receive([lone(init.write())], s.now)
    assert features_of(init_of(s.take(s.z)[0])) == Features(True, True, False, False)


def test_features_survive_the_wire():
    for bits in range(32):
        features = Features.parse(bits)
        assert features.write() == bits
        assert features_of(Init(1, 2, 3, 4, 5, announce(features))) == features


def test_a_stray_packet_is_answered_by_abort_and_some_are_not():
    """RFC 9260 section 8.4."""
    s = Steps()
    for chunk_type, answer in (
        (0, ["ABORT"]),
        (6, []),
        (14, []),
        (8, ["SHUTDOWN COMPLETE"]),
        (11, []),
        (9, []),
    ):
        s.z.receive([lone(bytes([chunk_type, 0, 0, 4]), tag=1234)], s.now)
        packets = s.take(s.z)
        assert [describe(packet) for packet in packets] == answer
        for packet in packets:
            assert int.from_bytes(packet[4:8]) == 1234
            assert packet[13] == 1


def test_connect_after_the_end_is_refused():
    s = Steps()
    s.a.abort("enough")
    with pytest.raises(InvalidState):
        s.a.connect(START)
