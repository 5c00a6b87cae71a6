"""Connections whose I/O a thread does, over loopback sockets: the same order of things, and every end."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peer_support import record, take_all

from rtcstack import (
    Closed,
    DataChannel,
    Full,
    InvalidParameter,
    InvalidState,
    MessageTooLarge,
    PeerConnection,
    UdpMux,
    Unavailable,
    poll,
)
from rtcstack.net import OsNetwork
from rtcstack.testing import VirtualNetwork

CHAT = {"id": 1, "negotiated": True}
LOCAL = {"bind_addresses": ["127.0.0.1"]}


class Pair:
    """Two peers of this process, wired to each other, with a negotiated channel each."""

    def __init__(
        self, *, other_too: bool = True, network_a: OsNetwork | None = None, **configuration: Any
    ) -> None:
        self.a = PeerConnection(LOCAL | configuration, background=True, network=network_a)
        self.b = PeerConnection(LOCAL | configuration, background=other_too)
        self.both = (self.a, self.b)
        for here, there in (self.both, self.both[::-1]):
            here.session_description_created.connect(there.set_remote_description)
            here.ice_candidate_created.connect(there.add_ice_candidate)
        self.chat_a = self.a.create_data_channel("chat", CHAT)
        self.chat_b = self.b.create_data_channel("chat", CHAT)

    def run(self, until: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not until():
            poll(self.both, 1.0)
            assert time.monotonic() < end, [peer.explain() for peer in self.both]

    def connected(self) -> Pair:
        self.a.create_offer()
        self.run(
            lambda: all(chat.get_ready_state() == chat.STATE_OPEN for chat in (self.chat_a, self.chat_b))
        )
        return self


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()  # peers that are wired to each other hold each other
    for thread in io_threads():
        thread.join(10)
        assert not thread.is_alive()


def io_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rtcstack I/O"]


def received(pair: Pair, channel: DataChannel, count: int) -> list[bytes]:
    packets: list[bytes] = []

    def enough() -> bool:
        packets.extend(take_all(channel))
        return len(packets) >= count

    pair.run(enough)
    return packets


def test_messages_go_both_ways_in_order() -> None:
    pair = Pair().connected()
    sent = [i.to_bytes(2) * (i % 50) for i in range(1000)]
    for packet in sent:
        pair.chat_a.put_packet(packet)
    pair.chat_b.put_packet("täxt")
    assert received(pair, pair.chat_b, 1000) == sent
    assert received(pair, pair.chat_a, 1) == ["täxt".encode()]
    assert pair.chat_a.was_string_packet()
    assert len(io_threads()) == 1


def test_a_background_peer_and_one_without_a_thread_are_polled_together() -> None:
    pair = Pair(other_too=False).connected()
    for round_trip in range(20):
        pair.chat_a.put_packet(bytes([round_trip]))
        pair.chat_b.put_packet(received(pair, pair.chat_b, 1)[0])
        assert received(pair, pair.chat_a, 1) == [bytes([round_trip])]


def test_signals_and_messages_come_from_poll_alone() -> None:
    pair = Pair()
    signals = record(pair.a)
    pair.a.create_offer()
    assert signals == []
    assert pair.a.get_signaling_state() == pair.a.SIGNALING_STATE_HAVE_LOCAL_OFFER
    pair.run(lambda: pair.chat_a.get_ready_state() == DataChannel.STATE_OPEN)
    names = [name for name, *_ in signals]
    assert names.index("session_description_created") < names.index("ice_candidate_created")
    pair.run(lambda: pair.chat_b.get_ready_state() == DataChannel.STATE_OPEN)
    pair.b.abort()
    before, told = pair.a.get_connection_state(), list(signals)
    while pair.a.get_stats().connection_state != "CLOSED":  # the thread knows already
        assert pair.a.get_connection_state() == before
        assert signals == told
    pair.run(lambda: pair.a.get_signaling_state() == pair.a.SIGNALING_STATE_CLOSED)
    assert signals[-2:] == [
        ("connection_state_changed", pair.a.STATE_CLOSED),
        ("signaling_state_changed", pair.a.SIGNALING_STATE_CLOSED),
    ]


def test_wrong_use_raises_at_once() -> None:
    pair = Pair(send_buffer=200_000)
    with pytest.raises(InvalidState):
        pair.chat_a.put_packet("early")
    with pytest.raises(InvalidParameter):
        pair.a.create_data_channel("x", {"id": "y"})
    pair.connected()
    with pytest.raises(MessageTooLarge):
        pair.chat_a.put_packet(bytes(262_145))
    with pytest.raises(Unavailable):
        pair.chat_a.get_packet()
    with pytest.raises(Full, match="200000"):
        list(map(pair.chat_a.put_packet, [bytes(50_000)] * 1_000_000))
    pair.run(lambda: not pair.chat_a.get_buffered_amount())
    pair.chat_a.put_packet("room again")


def test_virtual_time_has_no_thread() -> None:
    with pytest.raises(InvalidParameter, match="virtual time"):
        PeerConnection(background=True, network=VirtualNetwork(seed=1).host("a"))


def test_what_the_application_does_not_take_closes_the_window() -> None:
    window = 100_000
    pair = Pair(receive_window=window).connected()
    sent = [bytes([i]) * 10_000 for i in range(100)]
    for packet in sent:
        pair.chat_a.put_packet(packet)

    def is_shut() -> bool:
        sctp = pair.a.get_stats().sctp
        return sctp is not None and sctp.window_probes > 0

    pair.run(is_shut)
    assert 0 < pair.chat_b.get_available_packet_count() * 10_000 <= window + 10_000
    assert pair.chat_a.get_buffered_amount() > 0
    assert received(pair, pair.chat_b, 100) == sent
    pair.run(lambda: not pair.chat_a.get_buffered_amount())


def test_unread_messages_of_a_closed_channel_keep_no_window_shut() -> None:
    pair = Pair(receive_window=100_000).connected()
    for number in range(2, 8):
        options = {"id": number, "negotiated": True}
        one, other = (peer.create_data_channel("brief", options) for peer in pair.both)
        pair.run(lambda one=one: one.get_ready_state() == one.STATE_OPEN)
        one.put_packet(bytes(60_000))
        pair.run(other.get_available_packet_count)
        one.close()
        pair.run(lambda other=other: other.get_ready_state() == other.STATE_CLOSED)
        assert other.get_packet() == bytes(60_000)
    pair.chat_a.put_packet("still open")
    assert received(pair, pair.chat_b, 1) == [b"still open"]


def test_closing_a_channel_delivers_what_was_put_before() -> None:
    pair = Pair().connected()
    channels: list[DataChannel] = []
    closed: list[str] = []
    pair.b.data_channel_received.connect(channels.append)
    one = pair.a.create_data_channel("later", {"ordered": False})
    one.closed.connect(closed.append)
    pair.run(lambda: one.get_ready_state() == one.STATE_OPEN)
    for i in range(100):
        one.put_packet(bytes([i]) * 1000)
    one.close()
    assert one.get_ready_state() == one.STATE_CLOSING
    with pytest.raises(Closed):
        one.put_packet("late")
    pair.run(lambda: closed)
    assert closed == ["closed by this side"]
    pair.run(lambda: channels[0].get_ready_state() == DataChannel.STATE_CLOSED)
    assert len(take_all(channels[0])) == 100
    assert not channels[0].is_ordered()


def test_low_buffers_are_told() -> None:
    pair = Pair().connected()
    lows: list[int] = []
    pair.chat_a.set_buffered_amount_low_threshold(50_000)
    pair.chat_a.buffered_amount_low.connect(lambda: lows.append(pair.chat_a.get_buffered_amount()))
    for _ in range(100):
        pair.chat_a.put_packet(bytes(10_000))
    pair.run(lambda: lows)
    received(pair, pair.chat_b, 100)


def test_close_delivers_and_the_thread_ends() -> None:
    pair = Pair().connected()
    for i in range(100):
        pair.chat_a.put_packet(bytes([i]) * 10_000)
    pair.a.close()
    pair.a.close()
    pair.run(lambda: all(peer.get_connection_state() == peer.STATE_CLOSED for peer in pair.both))
    assert take_all(pair.chat_b) == [bytes([i]) * 10_000 for i in range(100)]
    for thread in io_threads():
        thread.join(10)
    assert io_threads() == []
    # Afterwards everything still answers.
    assert "closed by the peer" in pair.b.explain()
    assert pair.a.get_local_description()
    pair.a.abort()
    with pytest.raises(Closed):
        pair.a.create_data_channel("x")
    poll(pair.both, 0.0)


def test_a_command_shows_the_end_of_a_connection_and_of_its_channels_alike() -> None:
    pair = Pair().connected()
    for peer in pair.both:
        peer.close()
    for thread in io_threads():
        thread.join(10)  # nobody polls
    pair.b.get_local_description()
    assert pair.b.get_connection_state() == pair.b.STATE_CLOSED
    assert pair.chat_b.get_ready_state() == DataChannel.STATE_CLOSED
    assert pair.chat_b.get_close_reason()


@pytest.mark.parametrize("method", ["close", "abort"])
@pytest.mark.parametrize("polls", range(0, 12, 2))
def test_an_end_in_any_state_and_twice(polls: int, method: str) -> None:
    pair = Pair()
    pair.a.create_offer()
    for _ in range(polls):
        poll(pair.both, 0.001)
    for _ in range(2):
        for peer in pair.both:
            getattr(peer, method)()
    pair.run(lambda: all(peer.get_connection_state() == peer.STATE_CLOSED for peer in pair.both))
    assert pair.chat_a.get_ready_state() == pair.chat_b.get_ready_state() == DataChannel.STATE_CLOSED


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no interval timers")
@pytest.mark.parametrize("attempt", range(4))
@pytest.mark.parametrize("method", ["close", "abort"])
def test_an_end_inside_a_handler_of_the_system(method: str, attempt: int) -> None:
    """It may come in the middle of any poll(), put_packet() or command of that very connection."""
    pair = Pair().connected()
    interrupted: list[int] = []

    def end(number: int, frame: object) -> None:
        interrupted.append(number)
        getattr(pair.a, method)()

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + attempt * 0.0003)
        while not interrupted:
            with contextlib.suppress(Closed):  # between any two of these lines
                pair.chat_a.put_packet(b"busy")
                pair.a.get_local_description()
            poll(pair.both)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pair.run(lambda: all(peer.get_connection_state() == peer.STATE_CLOSED for peer in pair.both))


def test_close_inside_a_callback() -> None:
    pair = Pair()
    pair.chat_b.opened.connect(pair.b.abort)
    pair.a.create_offer()
    pair.run(lambda: all(peer.get_connection_state() == peer.STATE_CLOSED for peer in pair.both))
    assert pair.chat_b.get_close_reason() == "aborted by this side"


def test_a_dropped_connection_says_goodbye_and_leaves_nothing() -> None:
    pair = Pair().connected()
    other, gone = pair.b, weakref.ref(pair.a)
    other.session_description_created.clear()
    other.ice_candidate_created.clear()
    del pair
    assert gone() is None
    end = time.monotonic() + 20
    while other.get_connection_state() != other.STATE_CLOSED and time.monotonic() < end:
        other.poll(1.0)
    assert other.get_failure_reason() == "closed by the peer"


def test_closed_connections_are_gone_without_the_garbage_collector() -> None:
    def close() -> list[weakref.ref[Any]]:
        pair = Pair().connected()
        pair.a.close()
        pair.run(lambda: all(peer.get_connection_state() == peer.STATE_CLOSED for peer in pair.both))
        for peer in pair.both:
            peer.session_description_created.clear()
            peer.ice_candidate_created.clear()
        return [weakref.ref(each) for each in (*pair.both, pair.chat_a, pair.chat_b)]

    gc.disable()
    try:
        gone = close()
        for thread in io_threads():
            thread.join(10)
        assert [ref() for ref in gone] == [None] * 4
    finally:
        gc.enable()


def test_starting_afresh_cuts_the_connection() -> None:
    pair = Pair().connected()
    pair.a.initialize(LOCAL)
    assert pair.a.get_connection_state() == pair.a.STATE_NEW
    pair.run(lambda: pair.b.get_connection_state() == pair.b.STATE_CLOSED)
    assert pair.a.get_stats().channels == ()
    pair.a.close()
    pair.a.poll()


def test_an_error_in_the_thread_ends_one_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        is_broken = False

        def __call__(self, size: int) -> bytes:
            if self.is_broken:
                raise ZeroDivisionError
            return bytes(range(size % 256)) if size < 256 else bytes(size)

    pair = Pair().connected()
    source = Broken()
    victim = PeerConnection(LOCAL, background=True, random_bytes=source)
    victim.create_data_channel("x")
    victim.create_offer()
    victim.poll()
    source.is_broken = True
    with caplog.at_level(logging.CRITICAL, "rtcstack"):
        third = PeerConnection(LOCAL, background=True)
        third.session_description_created.connect(victim.set_remote_description)
        third.set_remote_description("offer", victim.get_local_description())
        end = time.monotonic() + 20
        while victim.get_connection_state() != victim.STATE_CLOSED and time.monotonic() < end:
            poll((victim, third), 1.0)
    assert "ZeroDivisionError" in victim.get_failure_reason()
    pair.chat_a.put_packet("alive")
    assert received(pair, pair.chat_b, 1) == [b"alive"]


def test_one_port_serves_many_background_connections_and_no_others() -> None:
    mux = UdpMux(bind_addresses=["127.0.0.1"])
    pairs = []
    for _ in range(3):
        pair = Pair(network_a=mux)
        pair.connected()
        pairs.append(pair)
    assert mux.connection_count == 3
    with pytest.raises(InvalidState, match="not both"):
        PeerConnection(network=mux)
    with pytest.raises(InvalidState, match="close them"):
        mux.close()
    for number, pair in enumerate(pairs):
        pair.chat_b.put_packet(bytes([number]))
        assert received(pair, pair.chat_a, 1) == [bytes([number])]
        pair.a.close()
        pair.run(lambda pair=pair: pair.a.get_connection_state() == pair.a.STATE_CLOSED)
    end = time.monotonic() + 20
    while mux.connection_count:
        assert time.monotonic() < end
    mux.close()
    with pytest.raises(InvalidState, match="closed"):
        PeerConnection(background=True, network=mux)


FORK = """
import os, sys, threading, time
from test_peer_background import LOCAL, Pair, received
from rtcstack import Closed, PeerConnection

pair = Pair().connected()
child = os.fork()
if not child:
    assert pair.a.get_connection_state() == pair.a.STATE_CLOSED
    pair.a.poll()
    assert pair.chat_a.get_ready_state() == pair.chat_a.STATE_CLOSED
    for wrong in (pair.a.create_offer, lambda: pair.chat_a.put_packet("x")):
        try:
            wrong()
        except Closed as error:
            assert "process" in str(error), error
        else:
            sys.exit("it should have raised")
    pair.a.close()
    fresh = Pair().connected()
    fresh.chat_a.put_packet("child")
    assert received(fresh, fresh.chat_b, 1) == [b"child"]
    sys.exit(0)  # with its atexit handlers
assert os.waitpid(child, 0)[1] == 0
pair.chat_a.put_packet("parent")
assert received(pair, pair.chat_b, 1) == [b"parent"]
print("ends by itself, with two connections open")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_and_the_end_of_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ends by itself" in done.stdout
