"""The association as its user sees it: messages, amounts, windows, events, the end, and misuse."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sctp import START, Path, Steps, association, connected, describe

from rtcstack.errors import Closed as ClosedError
from rtcstack.errors import Full, InvalidParameter, InvalidState
from rtcstack.sctp import (
    AssociationState,
    BufferedAmountLow,
    Closed,
    IncomingStreamsReset,
    MessageDropped,
    OutgoingStreamsReset,
    ResetDenied,
)
from rtcstack.sctp.chunks import Abort, Heartbeat, Init, ReConfig, write_data, write_sack
from rtcstack.sctp.packet import checksum_seed, write_header, write_packet
from rtcstack.sctp.parameters import OutgoingSsnResetRequest as ResetRequest

State = AssociationState
SIZES = (1, 2, 3, 64, 1000, 1128, 1129, 1132, 1133, 5000, 65536, 262144)


@pytest.mark.parametrize("interleaving", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_any_size_arrives_whole(size, interleaving):
    s = connected(interleaving=interleaving)
    payload = random.Random(size).randbytes(size)
    s.a.send(5, 53, payload, now=s.now)
    assert s.a.buffered_amount(5) == s.a.total_buffered == size
    s.settle()
    s.wait(1.0)
    assert s.z.take_messages() == [(5, 53, payload)]
    assert s.a.buffered_amount(5) == 0


@pytest.mark.parametrize("interleaving", [True, False])
def test_messages_keep_their_order_and_streams_do_not_mix(interleaving):
    s = connected(interleaving=interleaving)
    rng = random.Random(5)
    sent: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    for _ in range(200):
        stream_id = rng.choice((1, 2, 3))
        payload = rng.randbytes(rng.choice((1, 50, 3000)))
        sent[stream_id].append(payload)
        s.a.send(stream_id, 53, payload, now=s.now)
    s.settle()
    received = s.z.take_messages()
    for stream_id, payloads in sent.items():
        assert [payload for number, _, payload in received if number == stream_id] == payloads


def test_small_messages_leave_bundled():
    s = connected()
    for _ in range(13):
        s.a.send(1, 51, bytes(64), now=s.now)
    assert [describe(packet) for packet in s.take(s.a)] == [" ".join(["I-DATA"] * 13)]


def test_no_packet_is_larger_than_the_mtu():
    s = connected(mtu=1000)
    for size in SIZES:
        s.a.send(1, 51, bytes(size), now=s.now)
    seen = 0
    for _ in range(400):
        packets = s.take(s.a)
        seen = max([seen, *map(len, packets)])
        s.z.receive(packets, s.now)
        s.move(s.z)
    assert seen == 1000


def test_one_call_builds_no_more_than_a_burst():
    s = connected(initial_window=100, max_burst=40)
    s.a.send(1, 51, bytes(100_000), now=s.now)
    assert len(s.a.take_packets(s.now)) == 40
    assert len(s.a.take_packets(s.now)) == 40
    assert len(s.a.take_packets(s.now)) > 0


def test_a_batch_of_packets_is_acknowledged_once():
    s = connected(initial_window=100)
    s.a.send(1, 51, bytes(60_000), now=s.now)
    s.z.receive(s.take(s.a), s.now)
    assert [describe(packet) for packet in s.take(s.z)] == ["SACK"]


def test_a_single_packet_is_acknowledged_after_the_delay():
    """RFC 9260 section 6.2: every second packet, or after a while."""
    s = connected(sack_delay=0.02)
    s.a.send(1, 51, b"first", now=s.now)
    s.move(s.a)
    assert s.move(s.z) == ["SACK"]
    s.a.send(1, 51, b"second", now=s.now)
    s.move(s.a)
    assert s.move(s.z) == []
    assert s.z.deadline == pytest.approx(s.now + 0.02)
    s.fire(s.z)
    assert s.move(s.z) == ["SACK"]


def test_a_sack_travels_with_data_that_leaves_anyway():
    s = connected()
    s.a.send(1, 51, b"first", now=s.now)
    s.settle()
    s.a.send(1, 51, b"ping", now=s.now)
    s.move(s.a)
    s.z.send(1, 51, b"pong", now=s.now)
    assert s.move(s.z) == ["SACK I-DATA"]


def test_amounts_are_low_once_on_crossing():
    s = connected(initial_window=2)
    s.a.set_buffered_amount_low_threshold(1, 5000)
    for _ in range(10):
        s.a.send(1, 51, bytes(1000), now=s.now)
    s.settle()
    s.wait(1.0)
    assert s.a.take_events() == [BufferedAmountLow(1)]
    assert s.a.buffered_amount(1) == 0
    assert s.a.buffered_amount(77) == 0


def test_the_send_buffer_is_bounded():
    s = connected(send_buffer=10_000)
    s.a.send(1, 51, bytes(12_000), now=s.now)
    with pytest.raises(Full):
        s.a.send(1, 51, b"one more", now=s.now)
    s.settle()
    s.a.send(1, 51, b"one more", now=s.now)
    s.settle()
    assert len(s.z.take_messages()) == 2


def test_misuse_raises():
    s = connected(outbound_streams=10)
    with pytest.raises(InvalidParameter):
        s.a.send(1, 51, b"", now=s.now)
    with pytest.raises(InvalidParameter):
        s.a.send(10, 51, b"x", now=s.now)
    with pytest.raises(InvalidParameter):
        s.a.send(-1, 51, b"x", now=s.now)
    with pytest.raises(InvalidParameter):
        s.a.set_priority(1, 0)
    with pytest.raises(InvalidState):
        association().reset_streams([1])
    with pytest.raises(InvalidParameter):
        association(congestion_control="wishful")
    s.a.shutdown(s.now)
    with pytest.raises(ClosedError):
        s.a.send(1, 51, b"x", now=s.now)


def test_the_window_shrinks_with_what_the_application_has_not_taken():
    s = connected(receive_window=100_000)
    for _ in range(300):
        s.a.send(1, 51, bytes(1000), now=s.now)
    for _ in range(20):
        s.settle()
        s.wait(1.0)
    held = len(s.z.take_messages())
    assert 80 <= held <= 101
    s.z.release(1000 * held)
    total = held
    for _ in range(20):
        s.settle()
        messages = s.z.take_messages()
        total += len(messages)
        s.z.release(1000 * len(messages))
    assert total == 300


@pytest.mark.parametrize("interleaving", [True, False])
def test_a_message_larger_than_what_is_left_of_the_window_does_not_stick(interleaving):
    s = connected(receive_window=300_000, max_message_size=262144, interleaving=interleaving)
    for _ in range(4):
        s.a.send(1, 51, bytes(262144), now=s.now)
        s.a.send(2, 51, bytes(100_000), now=s.now)
    got = 0
    for _ in range(400):
        s.settle()
        s.wait(0.05)
        messages = s.z.take_messages()
        got += len(messages)
        s.z.release(sum(len(payload) for _, _, payload in messages))
        if got == 8:
            break
    assert got == 8


def test_a_message_above_the_limit_is_dropped_whole_and_told():
    s = connected(max_message_size=10_000)
    s.a.send(3, 51, bytes(20_000), now=s.now)
    s.a.send(3, 51, b"next", now=s.now)
    s.settle()
    assert s.z.take_messages() == [(3, 51, b"next")]
    assert MessageDropped(3) in s.z.take_events()


def test_a_limited_message_is_given_up_and_the_stream_goes_on():
    """RFC 3758 section 3.5, RFC 7496."""
    s = connected()
    s.a.send(1, 51, b"lost", max_retransmits=0, now=s.now)
    s.lose(s.a)
    s.a.send(1, 51, b"kept", now=s.now)
    s.settle()
    s.wait(5.0)
    assert s.z.take_messages() == [(1, 51, b"kept")]
    assert s.a.buffered_amount(1) == 0
    assert s.a.stats.abandoned_messages == 1


@pytest.mark.parametrize("interleaving", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_a_forward_tsn_is_repeated_until_it_arrives(interleaving, ordered):
    s = connected(interleaving=interleaving)
    s.a.send(1, 51, bytes(3000), max_retransmits=0, ordered=ordered, now=s.now)
    s.lose(s.a)
    told = []
    for _ in range(10):
        s.fire(s.a)
        told += s.lose(s.a)
    name = "I-FORWARD-TSN" if interleaving else "FORWARD-TSN"
    assert told.count(name) >= 3
    s.wait(5.0)
    s.a.send(1, 51, b"after", now=s.now)
    s.settle()
    assert s.z.take_messages() == [(1, 51, b"after")]
    assert s.a.deadline == pytest.approx(s.a.deadline)
    assert s.a.stats.abandoned_messages == 1


def test_a_message_is_not_sent_after_its_lifetime():
    s = connected(initial_window=1)
    s.a.send(1, 51, bytes(2000), now=s.now)
    s.a.send(1, 51, b"late", lifetime=0.1, now=s.now)
    s.lose(s.a)
    s.wait(3.0)
    assert [payload for _, _, payload in s.z.take_messages()] == [bytes(2000)]
    assert s.a.total_buffered == 0


def test_the_last_words_before_the_shutdown_arrive():
    s = connected()
    for i in range(100):
        s.a.send(1, 51, b"%d" % i * 300, now=s.now)
    s.a.shutdown(s.now)
    assert s.a.state is State.SHUTDOWN_PENDING
    s.settle()
    assert len(s.z.take_messages()) == 100
    assert s.a.take_events()[-1] == s.z.take_events()[-1] == Closed("shut down", True)
    assert s.a.deadline == s.z.deadline == math.inf


def test_both_sides_may_shut_down_at_once():
    """RFC 9260 section 9.2, simultaneous SHUTDOWN."""
    s = connected()
    s.a.shutdown(s.now)
    s.z.shutdown(s.now)
    s.settle()
    assert (s.a.state, s.z.state) == (State.CLOSED, State.CLOSED)


@pytest.mark.parametrize("lost", range(3))
def test_a_shutdown_survives_the_loss_of_any_of_its_packets(lost):
    s = connected()
    s.a.shutdown(s.now)
    for number in range(3):
        side = (s.a, s.z, s.a)[number]
        (s.lose if number == lost else s.move)(side)
    s.wait(10.0)
    assert (s.a.state, s.z.state) == (State.CLOSED, State.CLOSED)


def test_abort_tells_the_peer_why():
    """RFC 9260 section 9.1."""
    s = connected()
    s.a.abort("tea time")
    s.settle()
    assert s.z.state is State.CLOSED
    assert s.z.take_events() == [Closed(s.z.failure_reason, False)]
    assert "tea time" in s.z.failure_reason


def test_a_peer_that_is_gone_is_told_so():
    """RFC 9260 section 8.4 rule 8: data for no association is answered by ABORT with the T bit."""
    s = connected()
    s.a.abort("lost")
    s.lose(s.a)
    s.z.send(1, 51, b"hello?", now=s.now)
    assert s.move(s.z) == ["I-DATA"]
    assert s.move(s.a) == ["ABORT"]
    assert s.z.state is State.CLOSED


def test_closing_before_the_handshake_is_done():
    s = Steps()
    s.a.connect(s.now)
    s.a.shutdown(s.now)
    assert s.a.state is State.CLOSED
    s = Steps()
    s.a.send(1, 51, b"said", now=s.now)
    s.a.connect(s.now)
    s.move(s.a)
    s.move(s.z)
    s.a.shutdown(s.now)
    s.settle()
    assert s.z.take_messages() == [(1, 51, b"said")]
    assert (s.a.state, s.z.state) == (State.CLOSED, State.CLOSED)


def test_an_idle_path_is_measured():
    """RFC 9260 section 8.3."""
    s = connected(heartbeat_interval=30.0)
    s.wait(95.0)
    assert s.a.stats.heartbeats_sent >= 2
    assert s.a.state is State.ESTABLISHED


# -- stream reset -------------------------------------------------------------------------------------------


def test_a_reset_follows_the_data_and_both_are_told():
    """RFC 6525 section 5."""
    s = connected()
    s.a.send(4, 51, bytes(5000), now=s.now)
    s.a.reset_streams([4])
    s.settle()
    assert s.z.take_messages() == [(4, 51, bytes(5000))]
    assert IncomingStreamsReset((4,)) in s.z.take_events()
    assert OutgoingStreamsReset((4,)) in s.a.take_events()


def test_numbers_begin_again_after_a_reset():
    s = connected()
    for round_number in range(3):
        for i in range(3):
            s.a.send(4, 51, b"%d %d" % (round_number, i), now=s.now)
        s.a.reset_streams([4])
    s.settle()
    assert [payload for _, _, payload in s.z.take_messages()] == [
        b"%d %d" % (round_number, i) for round_number in range(3) for i in range(3)
    ]


def test_messages_behind_a_reset_wait_for_it():
    s = connected()
    s.a.send(4, 51, b"before", now=s.now)
    s.a.reset_streams([4])
    s.a.send(4, 51, b"behind", now=s.now)
    s.move(s.a)
    assert s.z.take_messages() == [(4, 51, b"before")]
    s.settle()
    assert s.z.take_messages() == [(4, 51, b"behind")]


@pytest.mark.parametrize("lost", range(4))
def test_a_reset_survives_loss(lost):
    s = connected()
    s.a.send(4, 51, b"x", now=s.now)
    s.a.reset_streams([4])
    for number in range(4):
        side = (s.a, s.z)[number % 2]
        (s.lose if number == lost else s.move)(side)
    s.wait(10.0)
    assert s.a.take_events().count(OutgoingStreamsReset((4,))) == 1
    assert s.z.take_events().count(IncomingStreamsReset((4,))) == 1
    assert s.z.take_messages() == [(4, 51, b"x")]


def test_both_sides_reset_the_same_stream_at_once():
    s = connected()
    s.a.reset_streams([4])
    s.z.reset_streams([4])
    s.settle()
    for side in (s.a, s.z):
        assert set(side.take_events()) == {OutgoingStreamsReset((4,)), IncomingStreamsReset((4,))}


def test_two_resets_follow_each_other():
    """RFC 6525 section 5.1.1: one request at a time."""
    s = connected()
    s.a.reset_streams([1])
    first = s.move(s.a)
    s.a.reset_streams([2, 3])
    assert first == ["RE-CONFIG"]
    assert s.move(s.a) == []
    s.settle()
    assert s.a.take_events() == [OutgoingStreamsReset((1,)), OutgoingStreamsReset((2, 3))]


def test_a_peer_without_reconfiguration_denies_at_once():
    s = Steps()
    s.a.connect(s.now)
    packet = s.take(s.a)[0]
    init = Init.parse(packet[12 : 12 + int.from_bytes(packet[14:16])])
    bare = Init(init.initiate_tag, init.a_rwnd, 10, 10, init.initial_tsn)
    s.inject(s.z, bare.write(), tag=0)
    s.settle()
    s.z.reset_streams([1])
    assert ResetDenied((1,)) in s.z.take_events()


# -- bad paths ----------------------------------------------------------------------------------------------


def run_chaos(seed: int, options: dict[str, object], **conditions: object) -> Path:
    """Exchange messages of all sizes on three streams both ways; all must arrive once and in order."""
    path = Path(seed, options=options, **conditions)
    path.connect()
    rng = random.Random(seed)
    sent = {i: [rng.randbytes(rng.choice((1, 64, 1000, 5000, 20_000))) for _ in range(12)] for i in range(3)}
    for number in range(12):
        for stream_id in sent:
            path.a.send(stream_id, 53, sent[stream_id][number], now=path.now)
            path.z.send(stream_id, 53, sent[stream_id][number], now=path.now)
    assert path.run(600.0, until=lambda: len(path.at_a) >= 36 and len(path.at_z) >= 36)
    assert path.run(30.0, until=lambda: path.a.total_buffered == path.z.total_buffered == 0)
    for inbox in (path.at_a, path.at_z):
        for stream_id, payloads in sent.items():
            assert [payload for number, _, payload in inbox if number == stream_id] == payloads
    return path


@pytest.mark.parametrize("interleaving", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_all_reliable_data_arrives_once_and_in_order_on_a_terrible_path(seed, interleaving):
    run_chaos(
        seed,
        {"interleaving": interleaving},
        delay=0.02,
        loss=0.3,
        duplicate=0.5,
        reorder=0.5,
        reorder_delay=0.03,
        blackouts=[(START + 2, START + 12)],
    )


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    delay=st.sampled_from([0.0, 0.001, 0.3]),
    reorder=st.sampled_from([0.0, 0.5]),
    duplicate=st.sampled_from([0.0, 0.5]),
    control=st.sampled_from(["newreno", "cubic", "bbr"]),
    window=st.sampled_from([70_000, 5_000_000]),
)
def test_chaos(seed, loss, delay, reorder, duplicate, control, window):
    run_chaos(
        seed,
        {"congestion_control": control, "receive_window": window},
        delay=delay,
        loss=loss,
        reorder=reorder,
        duplicate=duplicate,
    )


@pytest.mark.parametrize("ordered", [True, False])
def test_partial_reliability_on_a_lossy_path(ordered):
    path = Path(3, delay=0.02, loss=0.1, reorder=0.1)
    path.connect()
    path.run(1.0)
    for i in range(300):
        path.a.send(1, 51, b"%d " % i * (1 + i % 400), ordered=ordered, max_retransmits=0, now=path.now)
        path.run(0.01)
    path.run(20.0)
    numbers = [int(payload.split()[0]) for _, _, payload in path.at_z]
    assert len(numbers) == len(set(numbers)) > 200
    assert not ordered or numbers == sorted(numbers)
    assert all(
        payload == b"%d " % n * (1 + n % 400) for n, (_, _, payload) in zip(numbers, path.at_z, strict=True)
    )
    assert path.a.total_buffered == 0
    assert len(numbers) + path.a.stats.abandoned_messages >= 300


def data(
    s: Steps, tsn: int, *, stream_id: int = 1, ssn: int = 0, flags: int = 3, payload: bytes = b"x"
) -> bytes:
    """Make a DATA chunk as A would send it; tsn counts from the first of the association."""
    return write_data(flags, (s.first_tsn + tsn) & 0xFFFFFFFF, stream_id, ssn, 51, payload)


def plain_receiver(**options: object) -> Steps:
    """Make an established pair without interleaving, and note A's initial TSN."""
    s = Steps(interleaving=False, path_mtu_limit=0, **options)
    s.connect()
    s.a.send(1, 51, b"x", now=s.now)
    (packet,) = s.take(s.a)
    s.first_tsn = int.from_bytes(packet[16:20])
    return s


@pytest.mark.parametrize("flags", [3, 2])
def test_messages_that_never_become_complete_end_the_association(flags):
    """Beyond twice the window memory is worth more than the peer."""
    s = plain_receiver(receive_window=100_000)
    for number in range(2000):
        if flags == 3:  # whole messages, but the first of them is missing
            chunk = data(s, number, ssn=number + 1, payload=bytes(1000))
        else:  # messages that begin and never end
            chunk = data(s, number, stream_id=number, flags=2, payload=bytes(1000))
        s.inject(s.z, chunk)
        s.take(s.z)
        if s.z.state is State.CLOSED:
            break
    assert s.z.state is State.CLOSED
    assert number * 1000 < 250_000
    assert "window" in s.z.failure_reason


def test_a_violation_does_not_spoil_the_messages_before_it():
    s = plain_receiver()
    s.inject(
        s.z,
        data(s, 0, payload=b"whole"),
        data(s, 1, ssn=1, flags=2),
        data(s, 2, stream_id=5, ssn=1, flags=1),
    )
    assert s.z.state is State.CLOSED
    assert s.z.take_messages() == [(1, 51, b"whole")]
    s.z.release(5)
    assert [describe(packet) for packet in s.take(s.z)] == ["ABORT"]


@pytest.mark.parametrize("company", [True, False])
def test_a_chunk_without_user_data_ends_the_association(company):
    """RFC 9260 section 6.2."""
    s = plain_receiver()
    chunks = [data(s, 0, payload=b""), data(s, 1)] if company else [data(s, 0, payload=b"")]
    s.inject(s.z, *chunks)
    assert s.z.state is State.CLOSED
    assert [describe(packet) for packet in s.take(s.z)] == ["ABORT"]


def test_nothing_behind_an_abort_is_delivered():
    s = plain_receiver()
    header = write_header(5000, 5000, s.tag_to[id(s.z)])
    seed = checksum_seed(header)
    packets = [write_packet(header, [chunk], seed) for chunk in (Abort().write(), data(s, 0))]
    s.z.receive(packets, s.now)
    assert s.z.take_messages() == []


def test_overlapping_gap_blocks_are_refused():
    s = connected(initial_window=100)
    s.a.send(1, 51, bytes(60_000), now=s.now)
    s.take(s.a)
    s.inject(s.a, write_sack(int.from_bytes(bytes(4)), 65536, (2, 9, 5, 12)))
    assert sum(s.a.stats.drops.values()) + s.a.stats.old_sacks == 1


def test_a_message_given_up_while_packets_are_built_is_told_at_once():
    s = connected(path_mtu_limit=0)
    s.a.send(1, 51, b"short-lived", lifetime=0.3, now=s.now)
    s.lose(s.a)
    told: list[str] = []
    while not told:
        s.fire(s.a)
        told = [name for name in s.lose(s.a) if "FORWARD" in name]
    assert s.now - START < 1.0
    assert s.a.stats.abandoned_messages == 1


def test_nothing_to_send_leaves_no_deadline_behind():
    s = connected(path_mtu_limit=0, congestion_control="bbr", initial_window=2)
    for _ in range(20):
        s.a.send(1, 51, bytes(1000), lifetime=0.5, now=s.now)
    s.lose(s.a)
    for _ in range(50):
        if s.a.deadline > s.now + 5:
            break
        before = s.now
        s.fire(s.a)
        s.settle()
        assert s.a.deadline > before or s.a.deadline > s.now
    assert s.a.total_buffered == 0


def test_data_in_shutdown_sent_is_answered_at_once():
    """RFC 9260 section 9.2."""
    s = plain_receiver()
    s.z.shutdown(s.now)
    s.take(s.z)
    assert s.z.state is State.SHUTDOWN_SENT
    for number in range(3):
        s.inject(s.z, data(s, number, ssn=number))
        assert s.lose(s.z) == ["SACK SHUTDOWN"]


def test_a_flood_of_requests_is_bounded():
    s = connected(path_mtu_limit=0)
    s.a.send(1, 51, b"x", now=s.now)
    s.settle()
    for chunk in (Heartbeat.with_info(b"12345678").write(), ReConfig((ResetRequest(9, 9, 9, (1,)),)).write()):
        header = write_header(5000, 5000, s.tag_to[id(s.z)])
        s.z.receive([write_packet(header, [chunk] * 20, checksum_seed(header))] * 50, s.now)
        assert sum(len(packet) for packet in s.take(s.z)) < 20_000


def test_garbage_never_raises():
    s = connected()
    rng = random.Random(8)
    s.a.send(1, 51, bytes(3000), now=s.now)
    genuine = s.take(s.a)
    for _ in range(3000):
        packet = bytearray(rng.choice(genuine))
        for _ in range(rng.randrange(1, 6)):
            packet[rng.randrange(8 if rng.random() < 0.9 else 0, len(packet))] = rng.randrange(256)
        packet[8:12] = bytes(4)
        s.z.receive([bytes(packet[: rng.randrange(len(packet) + 1)])], s.now)
        s.z.take_packets(s.now)
        s.z.take_messages()
    s.now += 1
    s.z.handle_timeout(s.now)
    s.z.take_packets(s.now)
