"""A pair of open channels, and descriptions by hand, for what the Web Platform Tests ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peer_support import Two

from rtcstack import DataChannel, PeerConnection

IN_BAND: dict[str, Any] = {}
NEGOTIATED: dict[str, Any] = {"negotiated": True, "id": 0}
KINDS = [IN_BAND, NEGOTIATED]


def channel_pair(
    options: Mapping[str, Any], configuration: Mapping[str, Any] | None = None
) -> tuple[Two, DataChannel, DataChannel]:
    """Connect two peers; return them and the open ends of one channel, the first one's end first."""
    two = Two(configuration, chat=False)
    ends: list[DataChannel] = []
    two.b.data_channel_received.connect(ends.append)
    first = two.a.create_data_channel("", options)
    if options.get("negotiated"):
        ends.append(two.b.create_data_channel("", options))
    two.connected()
    assert two.run(lambda: ends and first.get_ready_state() == ends[0].get_ready_state() == first.STATE_OPEN)
    return two, first, ends[0]


def message(two: Two, channel: DataChannel) -> bytes:
    """Wait for the next message."""
    assert two.run(channel.get_available_packet_count)
    return channel.get_packet()


def by_hand(**configuration: Any) -> Two:
    """Make two peers that are not wired and answer when they are told to, with a channel each."""
    return Two({"answer_at_once": False, **configuration}, wired=False)


def offer(peer: PeerConnection) -> str:
    """Make an offer; return its text."""
    peer.create_offer()
    return peer.get_local_description()


def answer(peer: PeerConnection, *, provisional: bool = False) -> str:
    """Answer what was offered; return the text."""
    peer.create_answer(provisional=provisional)
    return peer.get_local_description()


def states(peer: PeerConnection) -> list[int]:
    """Collect the signaling states of a peer from now on; poll() brings them."""
    seen: list[int] = []
    peer.signaling_state_changed.connect(seen.append)
    return seen
