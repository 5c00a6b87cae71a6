"""What a hostile or broken peer may send: memory and answers are bounded, and nothing wrong is delivered."""

from __future__ import annotations

import random

import pytest
from sctp_peer import (
    CLOSED,
    COOKIE_ECHOED,
    COOKIE_WAIT,
    ESTABLISHED,
    INTERLEAVING,
    Local,
    Peer,
    established,
    greet,
    ladder,
)
from sctp_script import (
    ANY,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    ForwardTsn,
    Heartbeat,
    HeartbeatAck,
    IData,
    Init,
    InitAck,
    Raw,
    ReConfig,
    Sack,
    Shutdown,
    ShutdownAck,
)
from support.sctp import START, Path

from rtcstack.sctp.parameters import OutgoingSsnResetRequest as Outgoing

WINDOW = 100_000
"""Bytes of the receive window where memory is measured."""


def held(a: Local, z: Peer, count: int, flags: str) -> int:
    """Send a thousand bytes with every second TSN; give how many of these chunks A has acknowledged."""
    for number in range(count):
        z.send(Data(3 + 2 * number, bytes(1000), flags=flags))
        if a.state is not ESTABLISHED:
            break
    z.ignore()
    if a.state is not ESTABLISHED:
        return 0
    z.send(Data(2**31 - 5, b"x"))
    sack = z.expect(Sack(ANY, gaps=ANY, duplicates=ANY))
    return sum(last - first + 1 for first, last in sack.gaps)


# -- memory --------------------------------------------------------------------------------------------------


def test_every_second_tsn_fills_no_more_than_the_window():
    """RFC 9260 §6.2: what lies behind gaps counts against the window: when it is full new data is dropped."""
    a, z = established(receive_window=WINDOW, max_message_size=50_000)
    z.send(Data(1))
    z.expect(Sack(1))
    assert held(a, z, 250, "BE") * 1000 <= 1.3 * WINDOW


@pytest.mark.parametrize("flags", ["B", "E", "", "UB"])
def test_fragments_that_never_become_a_message_fill_no_more_than_the_window(flags):
    """RFC 9260 §6.9: B without E, E without B, neither: held within the window, or the end."""
    a, z = established(receive_window=WINDOW, max_message_size=50_000)
    z.send(Data(1))
    z.expect(Sack(1))
    assert held(a, z, 250, flags) * 1000 <= 1.3 * WINDOW


@pytest.mark.parametrize("flags", ["BE", "B"])
def test_messages_that_wait_for_an_earlier_one_fill_no_more_than_the_window(flags):
    """RFC 9260 §6.2: in sequence by TSN, but the first message never comes: twice the window at most."""
    a, z = established(receive_window=WINDOW, max_message_size=50_000)
    taken = 0
    for tsn in range(1, 1000):
        z.send(Data(tsn, bytes(1000), ssn=tsn, flags=flags))
        if a.state is CLOSED:
            break
        while z.is_heard:
            chunks = z.expect_any()
            taken = max([taken, *[chunk.tsn for chunk in chunks if isinstance(chunk, Sack)]])
    assert taken * 1000 <= 2 * WINDOW
    assert a.receive() == []


def test_small_fragments_are_counted_with_what_they_cost():
    """RFC 9260 §6.2: messages of one byte that wait count with their overhead: 20,000 do not fit."""
    a, z = established(receive_window=WINDOW, max_message_size=50_000)
    tsn = 2
    while a.state is ESTABLISHED and tsn < 20_000:
        z.deliver(z.packet_of(*[Data(tsn + i, b"x", ssn=tsn + i) for i in range(50)]))
        tsn += 50
    z.ignore()
    if a.state is CLOSED:
        return
    z.send(Data(1))
    sack = z.expect(Sack(ANY, gaps=ANY, duplicates=ANY))
    assert sack.tsn < 5000


def test_many_streams_cost_nothing_until_they_are_used():
    """RFC 9260 §5.1.1: 65,535 streams are a number, not 65,535 objects; a message on each is delivered."""
    a, z = ladder()
    z.streams = 65535
    greet(a, z)
    for start in range(1, 2001, 50):
        z.send(*[Data(tsn, b"x", stream=tsn, ssn=0) for tsn in range(start, start + 50)])
    z.ignore()
    assert len(a.receive()) == 2000


def test_an_application_that_takes_nothing_stops_the_peer_and_frees_it_again():
    """RFC 9260 §6.2: the window closes as messages wait, and opens when they are taken: no deadlock."""
    a, z = established(receive_window=WINDOW)
    tsn = 0
    window = WINDOW
    while window >= 1000:
        tsn += 1
        z.send(Data(tsn, bytes(1000)))
        while z.is_heard:
            sacks = [chunk for chunk in z.expect_any() if isinstance(chunk, Sack)]
            window = sacks[-1].window if sacks else window
        assert tsn < 200
    assert a.state is ESTABLISHED
    assert len(a.receive()) == tsn
    assert z.expect(Sack(tsn)).window >= 0.9 * WINDOW
    z.send(Data(tsn + 1))
    assert len(a.receive()) == 1


# -- answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunk",
    [
        Raw(0xFF, bytes(20)),
        Heartbeat(b"x" * 30),
        Shutdown(0),
        ReConfig(Outgoing(9, 0, 0, (1,))),
        ForwardTsn(0),
        Data(1, b"x"),
        Data(1, b"x", stream=50_000),
        Data(1 << 31),
    ],
    ids=["unknown", "HEARTBEAT", "SHUTDOWN", "RE-CONFIG", "FORWARD-TSN", "duplicate", "bad stream", "far"],
)
def test_a_batch_of_thousands_is_answered_with_few(chunk):
    """RFC 9260 §12.2.4.1: answers that wait for their packet are bounded, whatever comes in one batch."""
    _, z = established(inbound_streams=100)
    packet = z.packet_of(chunk)
    z.deliver(*[packet] * 3000)
    size = packets = 0
    while z.is_heard:
        z.expect_any()
        packets += 1
        size += len(z.packet)
    assert packets <= 200
    assert size <= 200_000


def test_packets_out_of_the_blue_are_answered_one_to_one_at_most():
    """RFC 9260 §8.4: nobody is answered with more packets, or more bytes, than came."""
    _, z = ladder()
    z.deliver(*[z.packet_of(Data(1), tag=99)] * 2000)
    count = 0
    while z.is_heard:
        z.expect_any()
        count += 1
    assert count <= 2000


def test_two_associations_never_answer_each_other_for_ever():
    """RFC 9260 §8.4: ABORTs and errors are not answered, so no ping-pong can arise."""
    _, first = ladder()
    _, second = ladder()
    packets = [first.packet_of(Data(1), tag=99)]
    for _ in range(10):
        second.deliver(*packets)
        packets = []
        while second.is_heard:
            second.expect_any()
            packets.append(second.packet)
        first.deliver(*packets)
        packets = []
        while first.is_heard:
            first.expect_any()
            packets.append(first.packet)
    assert packets == []


# -- false numbers -------------------------------------------------------------------------------------------


def test_a_sack_of_sixteen_thousand_blocks_is_judged_quickly_and_whole():
    """RFC 9260 §6.2.1: blocks beyond what was sent make the whole SACK false; nothing of it is applied."""
    a, z = established()
    for tsn in range(1, 5):
        a.send(bytes(100))
        z.expect(Data(tsn))
    gaps = tuple((2 * n, 2 * n) for n in range(2, 16_000))
    z.send(Sack(1, gaps=gaps))
    assert a.state is CLOSED or a.association.total_buffered == 400


def test_a_jump_of_sequence_numbers_is_never_delivered_out_of_order():
    """RFC 9260 §6.6: an SSN far ahead waits for those between, half the number space away too."""
    a, z = established()
    z.send(Data(1, b"a", ssn=0), Data(2, b"z", ssn=40_000), Data(3, b"y", ssn=65_535))
    assert a.receive() == [b"a"]
    z.send(Data(4, b"b", ssn=1))
    assert a.receive() == [b"b"]


def test_a_number_that_has_been_delivered_comes_again():
    """RFC 9260 §6.6: a new TSN with an old SSN is no new message; what follows is delivered all the same."""
    a, z = established()
    z.send(Data(1, b"a", ssn=0), Data(2, b"again", ssn=0), Data(3, b"b", ssn=1))
    z.ignore()
    assert a.receive() in ([b"a", b"b"], [b"a"])


def test_one_tsn_on_two_streams_counts_once():
    """RFC 9260 §6.2: the TSN alone says whether a chunk has come before."""
    a, z = established()
    z.send(Data(1, b"first", stream=1, ssn=0), Data(1, b"second", stream=2, ssn=0))
    assert a.receive() == [b"first"]


def test_acknowledging_ahead_does_not_open_the_congestion_window():
    """RFC 9260 §7.2.1: SACKs ahead of the data leave the window as it is."""
    a, z = established(initial_window=4)
    for _ in range(50):
        z.send(Sack(1000))
    for _ in range(50):
        a.send(bytes(1132))
    count = 0
    while z.is_heard:
        z.expect_any()
        count += 1
    assert count <= 5


def test_a_forged_heartbeat_ack_keeps_nothing_alive_and_measures_nothing():
    """RFC 9260 §8.3: only the nonce of our own HEARTBEAT counts."""
    a, z = established()
    for _ in range(100):
        z.send(HeartbeatAck(random.Random(3).randbytes(16)))
    z.expect_nothing()
    assert sum(a.drops.values()) == 100


# -- noise ---------------------------------------------------------------------------------------------------


def open_in(state: object, **how: object) -> tuple[Local, Peer]:
    """Lead A into a state."""
    a, z = ladder(**how)  # type: ignore[arg-type]
    if state is CLOSED:
        return a, z
    a.connect()
    z.expect(Init())
    if state is COOKIE_WAIT:
        return a, z
    z.send(InitAck())
    z.expect(CookieEcho())
    if state is COOKIE_ECHOED:
        return a, z
    z.send(CookieAck())
    a.send(b"outstanding")
    z.ignore()
    if state == "shutdown sent":
        z.send(Sack(1))
        a.shutdown()
    elif state == "shutdown pending":
        a.shutdown()
    elif state == "shutdown received":
        z.send(Shutdown(0))
    elif state == "shutdown ack sent":
        z.send(Shutdown(1))
    z.ignore()
    return a, z


STATES = [
    CLOSED,
    COOKIE_WAIT,
    COOKIE_ECHOED,
    ESTABLISHED,
    "shutdown pending",
    "shutdown sent",
    "shutdown received",
    "shutdown ack sent",
]


def noise(source: random.Random, z: Peer) -> bytes:
    """Make a packet of some chunks, each possible and many of them senseless."""
    stream = source.choice((0, 1, 99, 65535))
    tsn = source.choice((0, 1, 2, 3, 5, 1000, 1 << 31))
    kinds = [
        Data(tsn, source.randbytes(source.randrange(1, 9)), stream, source.randrange(3), flags=source.choice(
            ("BE", "B", "E", "", "UBE", "UB", "UE", "BEI"))),
        IData(tsn, b"data", stream, source.randrange(3), flags=source.choice(("BE", "B", "E", ""))),
        Data(tsn, b"", stream),
        Sack(source.randrange(-1, 4)),
        Sack(source.randrange(3), gaps=((source.randrange(5), source.randrange(9)),)),
        ForwardTsn(tsn, ((stream, source.randrange(3)),)),
        Heartbeat(source.randbytes(8)),
        HeartbeatAck(source.randbytes(8)),
        ReConfig(Outgoing(source.randrange(4), 0, tsn, (stream,))),
        Error(source.randrange(15), source.randbytes(4)),
        CookieEcho(source.randbytes(20)),
        CookieAck(),
        Init(),
        InitAck(),
        ShutdownAck(),
        Shutdown(source.randrange(3)),
        Raw(source.randrange(256), source.randbytes(source.randrange(12)), source.randrange(256)),
        Raw(source.randrange(256), source.randbytes(8), length=source.randrange(40)),
    ]  # fmt: skip
    body = b"".join(chunk.write(z) for chunk in source.choices(kinds, k=source.randrange(1, 5)))
    return z.packet_of_bytes(body, tag=source.choice((z.tag_of_a, z.tag_of_a, z.tag_of_a, 0, 7)))


@pytest.mark.parametrize("interleaving", [False, True], ids=["DATA", "I-DATA"])
@pytest.mark.parametrize("state", STATES, ids=str)
def test_no_packet_raises_in_any_state(state, interleaving):
    """RFC 9260 §12.2.4: whatever comes in whatever state is dropped, answered, or the end."""
    source = random.Random(str(state))
    for _ in range(25):
        a, z = open_in(
            state, interleaving=interleaving, **({"parameters": INTERLEAVING} if interleaving else {})
        )
        for _ in range(12):
            z.deliver(noise(source, z))
            while z.is_heard:
                z.expect_any()
            a.receive()
            a.events()
            z.wait(source.choice((0.0, 0.3, 2.0)))
        z.wait(10)


def test_every_truncation_of_a_packet_is_harmless():
    """RFC 9260 §6.10: a packet cut anywhere yields what was whole before the cut."""
    for size in range(80):
        a, z = established()
        body = b"".join(
            chunk.write(z)
            for chunk in (Heartbeat(b"abc"), Data(1, b"one"), ForwardTsn(2, ((0, 1),)), Data(3, b"three"))
        )
        z.deliver(z.packet_of_bytes(body[:size]))
        z.ignore()
        assert a.receive() in ([], [b"one"], [b"one", b"three"])
        assert a.state is ESTABLISHED


# -- terrible paths ------------------------------------------------------------------------------------------


def test_a_terrible_path_delivers_everything_once_and_in_order():
    """RFC 9260 §1.5: half reordered, half duplicated, a third lost: all arrives once and in order."""
    path = Path(seed=45, options={}, delay=0.02, jitter=0.02, loss=0.3, duplicate=0.5, reorder=0.5)
    path.connect()
    sent = [number.to_bytes(4) * (1 + 37 * number % 500) for number in range(100)]
    for payload in sent:
        path.a.send(7, 51, payload, now=path.now)
        path.z.send(7, 51, payload, now=path.now)
    assert path.run(600, until=lambda: len(path.at_z) == len(path.at_a) == len(sent))
    assert [payload for _, _, payload in path.at_z] == sent
    assert [payload for _, _, payload in path.at_a] == sent


def test_a_blackout_of_ten_seconds_is_overcome():
    """RFC 9260 §6.3.3: after an outage, longer than any time-out, the transfer goes on by itself."""
    path = Path(seed=46, delay=0.02, rate=100_000.0, blackouts=((START + 1, START + 11),))
    path.connect()
    sent = [number.to_bytes(4) * 300 for number in range(200)]
    for payload in sent:
        path.a.send(1, 51, payload, now=path.now)
    path.run(1)
    assert 0 < len(path.at_z) < len(sent)
    assert path.run(20, until=lambda: len(path.at_z) == len(sent))
    assert [payload for _, _, payload in path.at_z] == sent


def test_a_round_trip_that_changes_a_hundredfold_is_followed():
    """RFC 9260 §6.3.1: from 2 ms to 600 ms and back: the time-out follows, everything arrives once."""
    path = Path(seed=47, delay=0.001)
    path.connect()
    sent = []
    for delay in (0.001, 0.3, 0.001):
        path.there.change(delay=delay)
        path.back.change(delay=delay)
        for number in range(30):
            sent.append(bytes((number,)) * 2000)
            path.a.send(1, 51, sent[-1], now=path.now)
            path.run(0.05)
    assert path.run(30, until=lambda: len(path.at_z) == len(sent))
    assert [payload for _, _, payload in path.at_z] == sent
    assert path.a.stats.timeouts <= 3
