"""Nothing is left of connections that are over: no object, no file descriptor, no thread, no memory."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from rtcstack import Closed, DataChannel, PeerConnection, poll

LOOPBACK = {"bind_addresses": ["127.0.0.1"]}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """What dies now does so because nobody refers to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def wired() -> tuple[PeerConnection, PeerConnection, list[DataChannel]]:
    """Two peers as the README wires them, with a negotiated channel and one that is announced."""
    a, b = PeerConnection(LOOPBACK), PeerConnection(LOOPBACK)
    for one, other in ((a, b), (b, a)):
        one.session_description_created.connect(other.set_remote_description)
        one.ice_candidate_created.connect(other.add_ice_candidate)
    channels = [peer.create_data_channel("chat", {"negotiated": True, "id": 5}) for peer in (a, b)]
    announced = a.create_data_channel("announced")
    channels.append(announced)
    b.data_channel_received.connect(channels.append)
    return a, b, channels


def run(peers: tuple[PeerConnection, ...], until: Any) -> None:
    """Poll until the condition holds; the wait that this bounds takes milliseconds."""
    for _ in range(1000):
        if until():
            return
        poll(peers, 0.01)
    raise AssertionError([peer.explain() for peer in peers])


def run_until_closed(*peers: PeerConnection) -> None:
    run(peers, lambda: all(peer.get_connection_state() == peer.STATE_CLOSED for peer in peers))


def connect_and_part(*, ending: str) -> list[weakref.ref[Any]]:
    """Connect two peers, send something each way, end it; give weak references to all that was there."""
    a, b, channels = wired()
    if ending != "dropped":  # such a callback keeps its channel until this is closed
        announced = channels[2]
        announced.opened.connect(lambda: announced.put_packet(b"from a callback"))
    a.create_offer()
    run((a, b), lambda: len(channels) == 4)
    channels[0].put_packet(b"there")
    channels[1].put_packet(bytes(100_000))
    run((a, b), lambda: all(channel.get_available_packet_count() for channel in channels[:2]))
    assert channels[0].get_packet() == bytes(100_000)
    if ending == "close":
        a.close()
        run_until_closed(a, b)
    elif ending == "abort":
        a.abort()
        b.abort()
        poll((a, b))
    return [weakref.ref(it) for it in (a, b, *channels)]


def ours() -> Counter[str]:
    """Count the living objects of rtcstack and of OpenSSL, by class."""
    return Counter(
        f"{type(it).__module__}.{type(it).__qualname__}"
        for it in gc.get_objects()
        if str(type(it).__module__).partition(".")[0] in ("rtcstack", "OpenSSL")
    )


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize("ending", ["close", "abort", "dropped"])
def test_nothing_is_left_without_the_garbage_collector(ending: str) -> None:
    connect_and_part(ending=ending)  # what all connections share stays
    before, opened, threads = ours(), descriptors(), threading.active_count()
    for _ in range(3):
        assert [reference() for reference in connect_and_part(ending=ending)] == [None] * 6
    assert ours() == before
    assert descriptors() == opened
    assert threading.active_count() == threads


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory")
def test_two_hundred_connections_leave_no_memory_behind() -> None:
    def resident_kb() -> float:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1000

    for _ in range(100):  # until the allocators have what they need
        connect_and_part(ending="close")
    before, memory, opened = ours(), resident_kb(), descriptors()
    for number in range(200):
        connect_and_part(ending=("close", "abort", "dropped")[number % 3])
    assert ours() == before
    assert descriptors() == opened
    assert resident_kb() - memory < 200 * 5, "of each pair, which holds some 240 kB, more than 5 stay"


@pytest.mark.parametrize("steps", range(0, 12, 2))
def test_close_in_any_state_and_twice(steps: int) -> None:
    opened = descriptors()
    a, b, _ = wired()
    a.create_offer()
    for _ in range(steps):
        poll((a, b))
    for _ in range(2):
        a.close()
        b.close()
    run_until_closed(a, b)
    a.close()
    assert descriptors() == opened


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no interval timers")
@pytest.mark.parametrize("attempt", range(8))
@pytest.mark.parametrize("method", ["close", "abort"])
def test_close_inside_a_handler_of_the_system(method: str, attempt: int) -> None:
    """It may come in the middle of any poll() or put_packet() of that very connection."""
    a, b, channels = wired()
    a.create_offer()
    run((a, b), lambda: len(channels) == 4)
    interrupted: list[int] = []

    def end(number: int, frame: object) -> None:
        interrupted.append(number)
        getattr(a, method)()

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + attempt * 0.0002)
        while not interrupted:
            with contextlib.suppress(Closed):  # between any two of these lines
                channels[0].put_packet(b"busy")
                channels[1].put_packet(b"busy")
            poll((a, b))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    run_until_closed(a, b)
