"""Fixtures of the interop tests: each real peer, in both roles.

RTCSTACK_INTEROP_LEFT=aiortc (or another name of COMMANDS) puts that peer in our place: what fails then as
well is the fault of the harness or of the other peer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from interop_pair import Pair
from interop_process import COMMANDS, PeerProcess
from interop_sides import OurSide, ProcessSide, Side

LEFT = os.environ.get("RTCSTACK_INTEROP_LEFT", "rtcstack")


@pytest.fixture(scope="session")
def process() -> Iterator[Callable[[str], PeerProcess]]:
    """The running process of a peer, started when first asked for and after it has died."""
    running: dict[str, PeerProcess] = {}

    def get(name: str) -> PeerProcess:
        if name in running and not running[name].is_running:
            running.pop(name).stop()
        if name not in running:
            running[name] = PeerProcess(name)
        return running[name]

    yield get
    for peer in running.values():
        peer.stop()


@pytest.fixture(params=list(COMMANDS))
def peer_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def sides(peer_name: str, process: Callable[[str], PeerProcess]) -> tuple[Side, ProcessSide]:
    """We, and a real peer."""
    theirs = ProcessSide(process(peer_name))
    return (OurSide() if LEFT == "rtcstack" else ProcessSide(process(LEFT))), theirs


@pytest.fixture(params=[True, False], ids=["we-offer", "they-offer"])
def pair(request: pytest.FixtureRequest, sides: tuple[Side, ProcessSide]) -> Iterator[Pair]:
    """We on the left, a real peer on the right, nothing signaled yet; in both roles."""
    pair = Pair(*sides, left_offers=request.param)
    yield pair
    pair.abort()


@pytest.fixture
def pair_with_media(sides: tuple[Side, ProcessSide]) -> Iterator[Pair]:
    """A real peer on the right that will offer audio and video beside the data."""
    ours, theirs = sides
    theirs.add_media()
    pair = Pair(ours, theirs, left_offers=False)
    yield pair
    pair.abort()
