"""The life of a connection and its channels: opening, messages, closing, failing, and bad input."""

from __future__ import annotations

import gc
import random
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_support import CHAT, Two, record, take_all

from rtcstack import (
    AlreadyExists,
    Closed,
    DataChannel,
    Error,
    Full,
    InvalidParameter,
    InvalidState,
    MessageTooLarge,
    PeerConnection,
    Unavailable,
    poll,
)
from rtcstack.testing import Pair, VirtualNetwork

# -- opening -----------------------------------------------------------------------------------------


def test_two_peers_open_their_negotiated_channels() -> None:
    two = Two()
    signals = record(two.a)
    two.connected()
    states = [signal[1] for signal in signals if signal[0] == "connection_state_changed"]
    assert states == [PeerConnection.STATE_CONNECTING, PeerConnection.STATE_CONNECTED]
    for channel in (two.chat_a, two.chat_b):
        assert channel.get_ready_state() == channel.STATE_OPEN == 1
        assert channel.get_id() == 1
    assert not [signal for signal in signals if signal[0] == "data_channel_received"]


def test_an_announced_channel_arrives_open_with_its_properties() -> None:
    two = Two()
    received: list[DataChannel] = []
    two.b.data_channel_received.connect(received.append)
    options = {"ordered": False, "maxRetransmits": 3, "protocol": "zähler", "priority": "high"}
    ours = two.a.create_data_channel("spiel 日本", options)
    two.connected()
    assert two.run(lambda: received)
    (theirs,) = received
    assert theirs.get_ready_state() == DataChannel.STATE_OPEN
    for channel in (ours, theirs):
        assert channel.get_label() == "spiel 日本"
        assert channel.get_protocol() == "zähler"
        assert not channel.is_ordered()
        assert not channel.is_negotiated()
        assert channel.get_max_retransmits() == 3
        assert channel.get_max_packet_life_time() == 65535
    # RFC 8832 §6: the answerer is the DTLS client and has the even ids.
    assert ours.get_id() == theirs.get_id() == 3


def test_channels_can_be_created_after_connecting_from_both_sides() -> None:
    two = Two().connected()
    received: list[DataChannel] = []
    for peer in two.both:
        peer.data_channel_received.connect(received.append)
    channels = [peer.create_data_channel(label) for peer, label in zip(two.both, "ab", strict=True)]
    for channel in channels:
        channel.put_packet(channel.get_label().encode() * 3)
    assert two.run(lambda: len(received) == 2 and all(c.get_available_packet_count() for c in received))
    assert sorted((c.get_label(), c.get_packet()) for c in received) == [("a", b"aaa"), ("b", b"bbb")]


def test_what_is_sent_right_after_opening_waits_for_a_late_reader() -> None:
    two = Two()
    first = two.a.create_data_channel("first")
    two.connected()
    first.put_packet(b"early bird")
    received: list[DataChannel] = []
    assert two.run(lambda: two.b.get_stats().channels[-1].messages_received)
    two.b.data_channel_received.connect(received.append)  # too late for the signal, as the test of order
    assert received == []


@pytest.mark.parametrize(
    ("snap_a", "snap_b", "seconds"),
    [(True, True, 0.30), (True, False, 0.45), (False, True, 0.45), (False, False, 0.45)],
)
def test_the_sctp_handshake_is_saved_where_both_descriptions_carry_an_init(
    snap_a: bool, snap_b: bool, seconds: float
) -> None:
    """draft-hancke-tsvwg-snap: ICE takes one round trip, DTLS two, SCTP one and a half or none.

    Of a round trip of 100 ms, from both descriptions to a channel that is open at both ends.
    """
    network = VirtualNetwork(seed=1, delay=0.05)
    a, b = (
        PeerConnection({"snap": snap}, network=network.host(name), random_bytes=random.Random(name).randbytes)
        for name, snap in (("a", snap_a), ("b", snap_b))
    )
    chat_a, chat_b = (peer.create_data_channel("chat", CHAT) for peer in (a, b))
    a.create_offer()
    b.set_remote_description("offer", a.get_local_description())
    a.set_remote_description("answer", b.get_local_description())
    assert ("a=sctp-init:" in a.get_local_description()) == snap_a
    while not chat_a.get_ready_state() == chat_b.get_ready_state() == DataChannel.STATE_OPEN:
        assert network.now < 5
        poll((a, b), 1.0)
    assert network.now == pytest.approx(seconds, abs=0.001)
    chat_a.put_packet(b"x" * 5000)
    chat_b.put_packet(b"y" * 5000)
    while not (chat_a.get_available_packet_count() and chat_b.get_available_packet_count()):
        poll((a, b), 1.0)


def test_no_handshake_is_left_where_nobody_has_anything_to_say() -> None:
    """Without the SCTP handshake something else has to end the DTLS server's: it would go on repeating."""
    two = Two(delay=0.05).connected()
    two.run(lambda: False, limit=5.0)
    for peer in two.both:
        assert peer.get_stats().drops == {}, "the last flight has come again"


def test_an_answer_that_sends_our_own_init_back_is_no_answer_to_it() -> None:
    """libdatachannel copies into its answer what it does not know of the offer: the handshake is needed."""
    network = VirtualNetwork(seed=1, delay=0.05)
    a, b = (
        PeerConnection({"snap": snap}, network=network.host(name), random_bytes=random.Random(name).randbytes)
        for name, snap in (("a", True), ("b", False))
    )
    chat_a, chat_b = (peer.create_data_channel("chat", CHAT) for peer in (a, b))
    a.create_offer()
    offer = a.get_local_description()
    b.set_remote_description("offer", offer)
    (ours,) = (line for line in offer.splitlines(keepends=True) if line.startswith("a=sctp-init:"))
    a.set_remote_description("answer", b.get_local_description() + ours)
    while not chat_a.get_ready_state() == chat_b.get_ready_state() == DataChannel.STATE_OPEN:
        assert network.now < 1
        poll((a, b), 1.0)
    stats = a.get_stats().sctp
    assert stats is not None
    assert stats.restarts == 0


# -- messages ----------------------------------------------------------------------------------------


def test_text_and_binary_and_empty_messages_arrive_as_they_were_sent() -> None:
    two = Two().connected()
    two.chat_a.put_packet(b"\x00\xff")
    two.chat_a.put_packet("täxt")
    two.chat_a.put_packet(b"")
    two.chat_a.put_packet("")
    two.chat_a.put_packet(bytearray(b"array"))
    two.chat_a.put_packet(memoryview(b"view"))
    two.chat_a.write_mode = DataChannel.WRITE_MODE_TEXT
    two.chat_a.put_packet(b"as text")
    two.chat_a.put_packet(b"")
    assert two.run(lambda: two.chat_b.get_available_packet_count() == 8)
    got = [(two.chat_b.get_packet(), two.chat_b.was_string_packet()) for _ in range(8)]
    assert got == [
        (b"\x00\xff", False),
        ("täxt".encode(), True),
        (b"", False),
        (b"", True),
        (b"array", False),
        (b"view", False),
        (b"as text", True),
        (b"", True),
    ]


def test_a_large_message_arrives_whole_and_a_larger_one_is_refused() -> None:
    two = Two().connected()
    payload = bytes(range(256)) * 1024
    two.chat_a.put_packet(payload)
    with pytest.raises(MessageTooLarge) as caught:
        two.chat_a.put_packet(payload + b"!")
    assert (caught.value.size, caught.value.limit) == (262145, 262144)
    two.chat_a.put_packet(b"the channel lives on")
    assert two.run(lambda: two.chat_b.get_available_packet_count() == 2)
    assert take_all(two.chat_b) == [payload, b"the channel lives on"]


def test_the_peers_limit_is_honoured() -> None:
    two = Two({"max_message_size": 1000}).connected()
    assert two.chat_a.get_max_message_size() == 1000
    with pytest.raises(MessageTooLarge):
        two.chat_a.put_packet(bytes(1001))


def test_wrong_use_raises_with_godots_code_and_a_sentence() -> None:
    two = Two()
    with pytest.raises(InvalidState, match="not open yet") as early:
        two.chat_a.put_packet(b"x")
    assert early.value.code == Error.FAILED
    with pytest.raises(Unavailable) as empty:
        two.chat_a.get_packet()
    assert empty.value.code == Error.ERR_UNAVAILABLE == two.chat_a.get_packet_error()
    two.connected()
    two.chat_a.write_mode = DataChannel.WRITE_MODE_TEXT
    with pytest.raises(InvalidParameter, match="UTF-8"):
        two.chat_a.put_packet(b"\xff")
    with pytest.raises(InvalidParameter):
        two.chat_a.set_write_mode(2)
    with pytest.raises(AlreadyExists):
        two.a.create_data_channel("again", CHAT)


def test_a_full_send_buffer_refuses_more_and_tells_when_there_is_room() -> None:
    two = Two({"send_buffer": 100_000}).connected()
    low: list[int] = []
    two.chat_a.set_buffered_amount_low_threshold(10_000)
    two.chat_a.buffered_amount_low.connect(lambda: low.append(two.chat_a.get_buffered_amount()))
    sent = 20
    for _ in range(sent):
        two.chat_a.put_packet(bytes(5000))
    with pytest.raises(Full):
        two.chat_a.put_packet(b"!")
    assert two.chat_a.get_buffered_amount() == sent * 5000 == 100_000
    assert two.run(lambda: low)
    assert low[0] <= 10_000
    two.chat_a.put_packet(b"room again")
    assert two.run(lambda: two.chat_b.get_available_packet_count() == sent + 1)
    assert two.run(lambda: two.chat_a.get_buffered_amount() == 0)
    assert len(low) == 1  # the last message never rose above the threshold


def test_who_asks_for_no_threshold_hears_when_nothing_waits_any_more() -> None:
    two = Two().connected()
    low: list[int] = []
    two.chat_a.put_packet(b"unheard")
    assert two.run(lambda: two.chat_a.get_buffered_amount() == 0)
    two.chat_a.buffered_amount_low.connect(lambda: low.append(two.chat_a.get_buffered_amount()))
    two.chat_a.put_packet(b"heard")
    assert two.run(lambda: low)
    assert low == [0]


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
def test_every_message_arrives_once_and_in_order_over_a_bad_path(loss: float) -> None:
    two = Two(loss=loss, jitter=0.01, delay=0.02)
    two.a.create_offer()
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_a.STATE_OPEN, limit=60)
    assert two.run(lambda: two.chat_b.get_ready_state() == two.chat_b.STATE_OPEN, limit=60)
    sent = [f"{i}".encode() * (i % 700 + 1) for i in range(300)]
    for payload in sent:
        two.chat_a.put_packet(payload)
    assert two.run(lambda: two.chat_b.get_available_packet_count() == len(sent), limit=120)
    assert take_all(two.chat_b) == sent


# -- closing channels --------------------------------------------------------------------------------


def test_closing_a_channel_delivers_what_was_sent_and_closes_the_other_end() -> None:
    two = Two().connected()
    reasons: list[tuple[str, str]] = []
    two.chat_a.closed.connect(lambda reason: reasons.append(("a", reason)))
    two.chat_b.closed.connect(lambda reason: reasons.append(("b", reason)))
    sent = [bytes([i]) * 1000 for i in range(200)]
    for payload in sent:
        two.chat_a.put_packet(payload)
    two.chat_a.close()
    with pytest.raises(Closed):
        two.chat_a.put_packet(b"too late")
    assert two.run(lambda: len(reasons) == 2)
    assert sorted(reasons) == [("a", "closed by this side"), ("b", "closed by the peer")]
    assert take_all(two.chat_b) == sent
    assert two.chat_b.get_ready_state() == DataChannel.STATE_CLOSED
    two.chat_a.close()


def test_an_id_can_be_used_again_after_both_ends_are_closed() -> None:
    two = Two().connected()
    for turn in range(3):
        two.chat_a.close()
        assert two.run(
            lambda: two.chat_a.get_ready_state() == two.chat_b.get_ready_state() == DataChannel.STATE_CLOSED
        )
        two.chat_a = two.a.create_data_channel("chat", CHAT)
        two.chat_b = two.b.create_data_channel("chat", CHAT)
        two.chat_a.put_packet(bytes([turn]))
        assert two.run(two.chat_b.get_available_packet_count)
        assert two.chat_b.get_packet() == bytes([turn])


def test_both_ends_may_close_at_once() -> None:
    two = Two().connected()
    two.chat_a.close()
    two.chat_b.close()
    assert two.run(
        lambda: two.chat_a.get_ready_state() == two.chat_b.get_ready_state() == DataChannel.STATE_CLOSED
    )


# -- closing connections -----------------------------------------------------------------------------


def test_closing_delivers_what_was_sent_and_the_other_side_notices() -> None:
    two = Two().connected()
    signals = record(two.b)
    sent = [bytes([i]) * 5000 for i in range(100)]
    for payload in sent:
        two.chat_a.put_packet(payload)
    two.a.close()
    two.a.close()
    assert two.run(lambda: all(p.get_connection_state() == p.STATE_CLOSED for p in two.both))
    assert take_all(two.chat_b) == sent
    assert two.b.get_failure_reason()
    assert [signal[1] for signal in signals if signal[0] == "connection_state_changed"] == [5]
    assert two.chat_b.get_ready_state() == two.chat_a.get_ready_state() == DataChannel.STATE_CLOSED


def test_closing_over_a_dead_path_is_bounded() -> None:
    two = Two({"close_timeout": 2.0}).connected()
    two.network.change(loss=1.0)
    two.chat_a.put_packet(b"never arrives")
    two.a.close()
    start = two.network.now
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_CLOSED)
    assert two.network.now - start == pytest.approx(2.0)
    assert "could" in two.a.get_failure_reason()


def test_abort_closes_at_once_and_tells_the_other_side() -> None:
    two = Two().connected()
    two.a.abort()
    assert two.a.get_connection_state() == two.a.STATE_CLOSED
    start = two.network.now
    assert two.run(lambda: two.b.get_connection_state() == two.b.STATE_CLOSED)
    assert two.network.now - start == pytest.approx(0.01)


@pytest.mark.parametrize("steps", range(12))
def test_close_is_allowed_in_every_state(steps: int) -> None:
    two = Two()
    closed: list[str] = []
    two.chat_a.closed.connect(closed.append)
    if steps:
        two.a.create_offer()
    for _ in range(steps):
        poll(two.both, 0.01)
    two.a.close()
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_CLOSED)
    two.a.close()
    two.a.poll()
    assert len(closed) == 1


def test_close_may_be_called_in_a_callback() -> None:
    two = Two()
    two.a.connection_state_changed.connect(
        lambda state: two.a.close() if state == two.a.STATE_CONNECTED else None
    )
    two.a.create_offer()
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_CLOSED)
    assert two.run(lambda: two.b.get_connection_state() == two.b.STATE_CLOSED)


def test_a_connection_that_nobody_holds_says_goodbye() -> None:
    two = Two().connected()
    for signal in (two.a.session_description_created, two.a.ice_candidate_created):
        signal.clear()
        getattr(two.b, signal.name).clear()
    watch = weakref.ref(two.a)
    gc.disable()
    try:
        two.both = (two.b,)  # type: ignore[assignment]
        del two.a
        assert watch() is None
    finally:
        gc.enable()
    assert two.run(lambda: two.b.get_connection_state() == two.b.STATE_CLOSED)


# -- failing -----------------------------------------------------------------------------------------


def test_a_wrong_fingerprint_fails_the_connection_and_delivers_nothing() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    offer = two.a.get_local_description().splitlines()
    at = next(i for i, line in enumerate(offer) if line.startswith("a=fingerprint"))
    offer[at] = offer[at][:-2] + ("00" if offer[at][-2:] != "00" else "11")
    two.b.set_remote_description("offer", "\r\n".join(offer) + "\r\n")
    two.a.set_remote_description("answer", two.b.get_local_description())
    opened: list[str] = []
    two.chat_b.opened.connect(lambda: opened.append("b"))
    assert two.run(lambda: two.b.get_connection_state() == two.b.STATE_FAILED, limit=60)
    assert "fingerprint" in two.b.get_failure_reason()
    assert two.chat_b.get_ready_state() == DataChannel.STATE_CLOSED
    assert opened == []
    assert two.run(lambda: two.a.get_connection_state() >= two.a.STATE_FAILED, limit=60)


def test_an_unreachable_peer_fails_in_bounded_time_with_a_reason() -> None:
    """RFC 8863: 39.5 s of patience."""
    two = Two({"restart_timeout": 20}, loss=1.0)
    two.a.create_offer()
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_FAILED, limit=45)
    assert two.network.now == pytest.approx(39.5, abs=1)
    assert two.a.get_failure_reason()
    assert two.chat_a.get_ready_state() == DataChannel.STATE_CONNECTING  # a restart may still help
    assert two.run(lambda: two.chat_a.get_ready_state() == DataChannel.STATE_CLOSED, limit=25)
    assert two.network.now == pytest.approx(59.5, abs=1)
    assert two.a.get_connection_state() == two.a.STATE_FAILED


def test_a_failure_is_explained_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    two = Two(loss=1.0)
    assert "nothing has been negotiated" in two.a.explain()
    two.a.create_offer()
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_FAILED, limit=45)
    text = two.a.explain()
    for part in (
        "FAILED",
        "host udp 10.0.0.1:50000",
        "host udp 10.0.0.2:50000",
        "asked, 0 answered",
        "most probably",
    ):
        assert part in text
    assert any(record.levelname == "WARNING" and text in record.getMessage() for record in caplog.records)


def test_a_connection_that_works_is_explained_too() -> None:
    two = Two().connected()
    assert "selected" in two.a.explain()
    assert "most probably" not in two.a.explain()


def test_a_silent_peer_is_noticed_and_then_given_up() -> None:
    """RFC 7675: consent ends after 30 s; DISCONNECTED after 5 s of silence."""
    two = Two().connected()
    signals = record(two.a)
    start = two.network.now
    two.network.change(loss=1.0)
    times = []
    two.a.connection_state_changed.connect(lambda state: times.append((state, two.network.now - start)))
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_FAILED, limit=60)
    assert [state for state, _ in times] == [two.a.STATE_DISCONNECTED, two.a.STATE_FAILED]
    assert 4 <= times[0][1] <= 12
    assert 24 <= times[1][1] <= 37
    assert [s[0] for s in signals].count("connection_state_changed") == 2


def test_a_path_that_comes_back_reconnects() -> None:
    two = Two().connected()
    two.network.change(loss=1.0)
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_DISCONNECTED, limit=20)
    two.chat_a.put_packet(b"through the gap")
    two.network.change(loss=0.0)
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_CONNECTED, limit=20)
    assert two.run(two.chat_b.get_available_packet_count)


@pytest.mark.parametrize("loss", [0.2, 0.3])
def test_a_connection_outlives_heavy_random_loss(loss: float) -> None:
    """Ten minutes of it: consent must not end by chance on a path that carries data (RFC 7675 §5.1)."""
    pair = Pair(seed=1, delay=0.02, loss=loss)
    channel = pair.open_channel("game")
    for i in range(600):
        channel.left.put_packet(str(i).encode())
        pair.run(1.0)
    assert pair.left.get_connection_state() == PeerConnection.STATE_CONNECTED
    pair.run(10.0)  # the last one may need several attempts
    assert len(channel.right_received) == 600


# -- signals and polling -----------------------------------------------------------------------------


def test_a_callback_that_raises_does_not_swallow_the_signals_behind_it() -> None:
    two = Two(wired=False)
    heard: list[str] = []

    def fail(*_: object) -> None:
        raise RuntimeError("user code")

    two.a.session_description_created.connect(fail)
    two.a.session_description_created.connect(lambda kind, sdp: heard.append(kind))
    two.a.ice_candidate_created.connect(lambda *candidate: heard.append("candidate"))
    two.a.create_offer()
    with pytest.raises(RuntimeError, match="user code"):
        two.a.poll()
    assert heard == []
    two.a.poll()
    assert heard == ["offer", "candidate"]


def test_polling_inside_a_callback_keeps_the_order_of_signals() -> None:
    two = Two(wired=False)
    heard: list[str] = []
    two.a.session_description_created.connect(lambda *_: (two.a.poll(), heard.append("description")))
    two.a.ice_candidate_created.connect(lambda *_: heard.append("candidate"))
    two.a.create_offer()
    two.a.poll()
    assert heard == ["description", "candidate"]


def test_signals_call_each_callback_once_in_order_until_disconnected() -> None:
    two = Two(wired=False)
    calls: list[str] = []
    first, second = (lambda *_: calls.append("first")), (lambda *_: calls.append("second"))
    signal = two.a.signaling_state_changed
    signal.connect(first)
    signal.connect(second)
    with pytest.raises(InvalidParameter):
        signal.connect(first)
    two.a.create_offer()
    two.a.poll()
    assert calls == ["first", "second"]
    signal.disconnect(first)
    assert not signal.is_connected(first)
    two.a.set_local_description("rollback", "")
    two.a.poll()
    assert calls == ["first", "second", "second"]
    with pytest.raises(InvalidParameter):
        signal.disconnect(first)


def test_poll_waits_no_longer_than_it_is_told() -> None:
    two = Two()
    two.a.poll(0.5)
    assert two.network.now == 0.5 or two.a.get_connection_state() == two.a.STATE_NEW
    two.connected()
    two.run(lambda: False, limit=1.0)
    start = two.network.now
    two.a.poll(0.25)
    assert two.network.now - start <= 0.25


# -- the hostile network -----------------------------------------------------------------------------

DATAGRAMS = st.lists(
    st.binary(max_size=80)
    | st.binary(max_size=60).map(lambda tail: b"\x16\xfe\xfd\x00\x00" + tail)
    | st.binary(max_size=60).map(lambda tail: b"\x17\xfe\xfd\x00\x01" + tail)
    | st.binary(max_size=60).map(lambda tail: b"\x00\x01\x00\x08\x21\x12\xa4\x42" + tail),
    max_size=8,
)


@settings(max_examples=30)
@given(DATAGRAMS, st.integers(0, 14))
def test_garbage_from_the_network_does_no_harm_in_any_state(datagrams: list[bytes], steps: int) -> None:
    """Whatever a stranger, or the peer's own address, sends: nothing raises, and the peers get along."""
    two = Two()
    two.a.create_offer()
    for _ in range(steps):
        poll(two.both, 0.01)
    for source in (("10.0.0.2", 50000), ("10.0.99.99", 50000)):
        two.network.inject(source, ("10.0.0.1", 50000), datagrams)
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_b.get_ready_state() == 1)
    two.chat_a.put_packet(b"fine")
    assert two.run(two.chat_b.get_available_packet_count)
