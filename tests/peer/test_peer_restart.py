"""ICE restarts through the public API: the path changes, DTLS, SCTP and the channels stay (RFC 8445 §9)."""

from __future__ import annotations

import pytest
from peer_support import Two, take_all

from rtcstack import InvalidState, PeerConnection


def credentials(peer: PeerConnection) -> list[str]:
    return [line for line in peer.get_local_description().splitlines() if line.startswith("a=ice-")]


@pytest.mark.parametrize("side", ["offerer", "answerer"])
def test_either_side_restarts_and_the_data_flows_on(side: str) -> None:
    two = Two().connected()
    starter = two.a if side == "offerer" else two.b
    before = [credentials(peer) for peer in two.both]
    paths: list[tuple[str, str]] = []
    two.a.selected_pair_changed.connect(lambda *path: paths.append(path))
    sent = [str(i).encode() for i in range(200)]
    starter.restart_ice()
    for payload in sent:
        two.chat_a.put_packet(payload)
        two.run(lambda: False, limit=0.005)
    assert two.run(lambda: two.chat_b.get_available_packet_count() == len(sent))
    assert take_all(two.chat_b) == sent
    assert [peer.get_signaling_state() for peer in two.both] == [0, 0]
    assert all(old != credentials(peer) for old, peer in zip(before, two.both, strict=True))
    assert paths
    assert [peer.get_connection_state() for peer in two.both] == [PeerConnection.STATE_CONNECTED] * 2
    assert [peer.get_gathering_state() for peer in two.both] == [PeerConnection.GATHERING_STATE_COMPLETE] * 2


def test_candidates_of_a_restart_may_come_before_its_offer() -> None:
    two = Two().connected()
    two.a.session_description_created.disconnect(two.b.set_remote_description)
    offers: list[str] = []
    two.a.session_description_created.connect(lambda _, sdp: offers.append(sdp))
    two.a.restart_ice()
    two.run(lambda: False, limit=0.2)
    two.b.set_remote_description("offer", offers[0])
    paths: list[tuple[str, str]] = []
    two.b.selected_pair_changed.connect(lambda *path: paths.append(path))
    assert two.run(lambda: paths)
    two.chat_a.put_packet(b"new path")
    assert two.run(two.chat_b.get_available_packet_count)


def test_a_restart_that_is_rolled_back_leaves_the_old_path() -> None:
    two = Two().connected()
    before = credentials(two.a)
    two.a.session_description_created.disconnect(two.b.set_remote_description)
    two.a.restart_ice()
    two.a.set_local_description("rollback", "")
    assert credentials(two.a) == before
    two.run(lambda: False, limit=40)
    two.chat_a.put_packet(b"still there")
    assert two.run(two.chat_b.get_available_packet_count)


def test_a_restart_while_disconnected_brings_the_connection_back() -> None:
    two = Two().connected()
    two.network.change(loss=1.0)
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_DISCONNECTED, limit=20)
    two.chat_a.put_packet(b"through the gap")
    two.network.change(loss=0.0)
    two.a.restart_ice()
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_CONNECTED, limit=20)
    assert two.run(two.chat_b.get_available_packet_count)


def test_a_restart_is_refused_while_an_offer_is_pending() -> None:
    two = Two(wired=False)
    two.a.create_offer()
    with pytest.raises(InvalidState):
        two.a.restart_ice()
