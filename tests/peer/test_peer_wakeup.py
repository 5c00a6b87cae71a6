"""next_wakeup(): what a foreign event loop needs to know of connections."""

from __future__ import annotations

import math
import select
import time

import pytest

from rtcstack import InvalidParameter, PeerConnection
from rtcstack.peer import next_wakeup
from rtcstack.testing import VirtualNetwork


def test_a_fresh_connection_wants_nothing() -> None:
    peer = PeerConnection()
    wakeup = next_wakeup([peer])
    assert (wakeup.readers, wakeup.writers, wakeup.seconds) == ([], [], math.inf)
    peer.close()
    peer.poll()
    assert next_wakeup([peer]).seconds == math.inf


def test_two_connections_meet_when_they_are_polled_only_on_demand() -> None:
    left, right = PeerConnection(), PeerConnection()
    for here, there in ((left, right), (right, left)):
        here.session_description_created.connect(there.set_remote_description)
        here.ice_candidate_created.connect(there.add_ice_candidate)
    channel = left.create_data_channel("x")
    left.create_offer()
    until = time.monotonic() + 10
    while channel.get_ready_state() != channel.STATE_OPEN:
        assert time.monotonic() < until
        for peer in (left, right):
            peer.poll()
        wakeup = next_wakeup([left, right])
        select.select(wakeup.readers, wakeup.writers, [], min(wakeup.seconds, 5))
    assert next_wakeup([left]).readers
    left.close()
    right.close()


def test_connections_without_sockets_of_this_thread_are_refused() -> None:
    background = PeerConnection(background=True)
    virtual = PeerConnection(network=VirtualNetwork(seed=1).host("a", ["10.0.0.1"]))
    for peer in (background, virtual):
        with pytest.raises(InvalidParameter, match="not driven by sockets"):
            next_wakeup([peer])
    background.close()
