"""Later in the life of a call with real peers: offers again, ICE restarts, and a peer that is killed."""

from __future__ import annotations

import re

import pytest
from interop_defects import DEFECTS, Defect
from interop_pair import Pair
from interop_process import PeerProcess
from interop_sides import Channel, OurSide, ProcessSide, Side

pytestmark = pytest.mark.interop


def connected(pair: Pair) -> tuple[Channel, Channel]:
    """Connect, with a channel that both sides know."""
    ours = pair.left.create_channel("agreed", negotiated=True, id=3)
    theirs = pair.right.create_channel("agreed", negotiated=True, id=3)
    pair.connect()
    pair.open(ours, theirs)
    exchange(pair, ours, theirs)
    return ours, theirs


def exchange(pair: Pair, ours: Channel, theirs: Channel) -> None:
    before = len(ours.received), len(theirs.received)
    ours.send(f"message {before[1]}")
    theirs.send(f"message {before[0]}")
    assert pair.received(theirs, before[1] + 1)[-1] == f"message {before[1]}"
    assert pair.received(ours, before[0] + 1)[-1] == f"message {before[0]}"


def ufrag(side: Side) -> str:
    """The ICE username fragment of a side's last description."""
    assert side.description is not None
    found = re.search(r"^a=ice-ufrag:(\S+)", side.description[1], re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("offered_by", ["us", "them"])
def test_another_offer_leaves_the_channels_alone(pair: Pair, offered_by: str):
    ours, theirs = connected(pair)
    before = ufrag(pair.left), ufrag(pair.right)
    by = pair.left if offered_by == "us" else pair.right
    for _ in range(2):
        pair.offer_again(by)
        exchange(pair, ours, theirs)
    assert (ufrag(pair.left), ufrag(pair.right)) == before
    later = pair.left.create_channel("later")
    arrived = pair.arrival(pair.right, "later")
    pair.open(later)
    exchange(pair, later, arrived)


@pytest.mark.parametrize("offered_by", ["us", "them"])
def test_ice_restarts_and_the_channels_live_on(pair: Pair, offered_by: str):
    ours, theirs = connected(pair)
    defects = DEFECTS[pair.right.name]
    if offered_by == "them" and Defect.STARTS_NO_RESTART in defects:
        return
    before = ufrag(pair.left), ufrag(pair.right)
    if Defect.REFUSES_RESTARTS in defects:
        pair.left.restart_ice()
        pair.until(lambda: bool(pair.right.errors), "the restart is refused")
        pair.right.errors.clear()
        pair.left.roll_back()
    else:
        pair.offer_again(pair.left if offered_by == "us" else pair.right, restart_ice=True)
        after = ufrag(pair.left), ufrag(pair.right)
        assert after[0] != before[0]
        assert (after[1] != before[1]) or Defect.KEEPS_ITS_UFRAG in defects
    if Defect.LOSES_ITSELF_IN_RESTARTS in defects:
        return
    for _ in range(3):
        exchange(pair, ours, theirs)
    assert pair.left.state == "connected"


def test_a_killed_peer_is_missed_within_seconds(peer_name: str):
    process = PeerProcess(peer_name)
    pair = Pair(OurSide(), ProcessSide(process), left_offers=True)
    try:
        connected(pair)
        process.kill()
        pair.until(lambda: pair.left.state == "disconnected", "the silence is noticed")
    finally:
        pair.left.abort()
        process.stop()
