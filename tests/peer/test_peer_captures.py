"""What real peers put on the wire, whole and cut short, thrown at a connection that did not ask for it."""

from __future__ import annotations

from typing import Any

import pytest
from peer_support import Two

from rtcstack import PeerConnection

CAPTURES = [
    f"{folder}{name}"
    for folder in ("", "ipv6/")
    for name in ("aiortc", "chromium", "firefox", "ndc", "pion", "werift", "wrtc")
]


def datagrams_of(capture: dict[str, Any]) -> list[bytes]:
    """Every distinct datagram of a capture, both directions and both roles."""
    texts = [entry["hex"] for side in capture.get("wire", {}).values() for entry in side]
    texts += capture.get("client_hello", [])
    return [bytes.fromhex(text) for text in dict.fromkeys(texts)]


@pytest.mark.parametrize("name", CAPTURES)
def test_foreign_datagrams_and_their_truncations_do_no_harm(
    name: str, peer_captures: dict[str, dict[str, Any]]
) -> None:
    two = Two().connected()
    datagrams = datagrams_of(peer_captures[name])
    assert datagrams
    for datagram in datagrams:
        cuts = [datagram[:size] for size in range(0, len(datagram), 1 + len(datagram) // 64)]
        for source in (("10.0.0.2", 50000), ("10.9.9.9", 9)):
            two.network.inject(source, ("10.0.0.1", 50000), [*cuts, datagram])
        two.a.poll()
    assert two.a.get_connection_state() == PeerConnection.STATE_CONNECTED
    two.chat_b.put_packet(b"unharmed")
    assert two.run(two.chat_a.get_available_packet_count)
    drops = two.a.get_stats().drops
    assert drops["session.unvalidated_source"] > 0
    assert sum(drops.values()) > len(datagrams)


@pytest.mark.parametrize("name", CAPTURES)
def test_every_offer_of_a_real_peer_is_answered(name: str, peer_captures: dict[str, dict[str, Any]]) -> None:
    for entry in peer_captures[name]["sdp"]:
        if entry["type"] != "offer" or "m=application" not in entry["sdp"]:
            continue
        two = Two(wired=False)
        two.a.set_remote_description("offer", entry["sdp"])
        for line in peer_captures[name]["candidates"]:
            two.a.add_ice_candidate("0", 0, line)
        answer = two.a.get_local_description()
        assert answer.count("\r\nm=") == entry["sdp"].replace("\r\n", "\n").count("\nm=")
        assert two.a.get_signaling_state() == PeerConnection.SIGNALING_STATE_STABLE
        assert two.a.get_connection_state() == PeerConnection.STATE_CONNECTING
