"""Signals: the order of their callbacks, and whom they keep alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from rtcstack import InvalidParameter, PeerConnection, Signal
from rtcstack.peer.signal import Emitter


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What dies now does so because nobody refers to it."""
    gc.disable()
    yield
    gc.enable()


class Listener:
    """Somebody's object with a callback."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def hear(self, value: int) -> None:
        self.heard.append(value)


class EmittingListener(Listener, Emitter):
    """The same, with signals of its own."""


def emit(signal: Signal[int], value: int) -> None:
    for callback in signal.callbacks:
        callback(value)


@pytest.mark.parametrize("kind", [Listener, EmittingListener])
def test_a_callback_is_connected_once_and_can_be_taken_back(kind: type[Listener]) -> None:
    signal: Signal[int] = Signal("news")
    one, other = kind(), kind()
    signal.connect(one.hear)
    signal.connect(other.hear)
    with pytest.raises(InvalidParameter, match="connected to news already"):
        signal.connect(one.hear)
    emit(signal, 1)
    signal.disconnect(one.hear)
    emit(signal, 2)
    assert (one.heard, other.heard) == ([1], [1, 2])
    assert not signal.is_connected(one.hear)
    assert signal.is_connected(other.hear)
    with pytest.raises(InvalidParameter, match="is not connected to news"):
        signal.disconnect(one.hear)


def test_a_signal_keeps_its_listener_alive() -> None:
    signal: Signal[int] = Signal("news")
    heard: list[int] = []

    def listen() -> None:
        listener = Listener()
        listener.heard = heard
        signal.connect(listener.hear)
        signal.connect(heard.append)

    listen()
    emit(signal, 1)
    assert heard == [1, 1]


@pytest.mark.usefixtures("no_collector")
def test_a_signal_does_not_keep_an_emitter_alive() -> None:
    signal: Signal[int] = Signal("news")
    listener = EmittingListener()
    signal.connect(listener.hear)
    gone = weakref.ref(listener)
    del listener
    assert gone() is None
    emit(signal, 1)
    assert repr(signal) == "<Signal news, 0 connected>"


@pytest.mark.usefixtures("no_collector")
def test_peers_that_are_wired_to_each_other_and_to_themselves_are_no_cycle() -> None:
    peers = [PeerConnection(), PeerConnection()]
    for one, other in (peers, peers[::-1]):
        one.session_description_created.connect(one.set_local_description)
        one.session_description_created.connect(other.set_remote_description)
        one.ice_candidate_created.connect(other.add_ice_candidate)
    gone = [weakref.ref(peer) for peer in peers]
    del peers, one, other
    assert [peer() for peer in gone] == [None, None]
