"""ICE restarts through the public API: the path changes, DTLS, SCTP and the channels stay (RFC 8445 §9)."""

from __future__ import annotations

import pytest
from peer_support import Two, take_all

from rtcstack import Closed, InvalidState, PeerConnection


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


# -- from FAILED -------------------------------------------------------------------------------------


def failed(configuration: dict[str, object] | None = None, **conditions: float) -> Two:
    """Two peers that were connected, until their path broke for good."""
    two = Two(configuration, **conditions).connected()
    two.network.change(loss=1.0)
    two.chat_a.put_packet(b"before the end")
    assert two.run(
        lambda: all(peer.get_connection_state() == peer.STATE_FAILED for peer in two.both), limit=40
    )
    return two


def is_connected(two: Two) -> bool:
    return all(peer.get_connection_state() == peer.STATE_CONNECTED for peer in two.both)


@pytest.mark.parametrize("side", ["offerer", "answerer"])
def test_a_restart_by_either_side_revives_a_failed_connection(side: str) -> None:
    """RFC 8445 §9, webrtc-pc 4.4.3: ICE starts anew; DTLS, the association and the channels are kept."""
    two = failed()
    closed: list[str] = []
    two.chat_a.closed.connect(closed.append)
    two.chat_a.put_packet(b"while it was gone")
    states = [two.a.get_connection_state()]
    two.a.connection_state_changed.connect(states.append)
    two.network.change(loss=0.0)
    (two.a if side == "offerer" else two.b).restart_ice()
    assert two.run(lambda: is_connected(two), limit=2)
    assert states == [two.a.STATE_FAILED, two.a.STATE_CONNECTING, two.a.STATE_CONNECTED]
    assert two.run(lambda: two.chat_b.get_available_packet_count() == 2, limit=2)
    assert take_all(two.chat_b) == [b"before the end", b"while it was gone"]
    assert two.a.get_failure_reason() == ""
    assert not closed


def test_nothing_is_sent_on_a_failed_path() -> None:
    """RFC 7675 §5.1: without consent no packet leaves, whatever waits."""
    two = failed()
    link = two.network.links[0]
    sent = [each.stats.sent for each in two.network.links]
    two.chat_a.put_packet(b"waits")
    two.run(lambda: False, limit=50)
    assert [each.stats.sent for each in two.network.links] == sent
    assert link.stats.sent > 0


def test_a_failed_connection_ends_when_no_restart_comes() -> None:
    two = failed()
    start = two.network.now
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_a.STATE_CLOSED, limit=100)
    assert 55 <= two.network.now - start <= 60
    assert two.a.get_connection_state() == two.a.STATE_FAILED
    with pytest.raises(Closed):
        two.a.restart_ice()


def test_a_restart_that_finds_nothing_does_not_keep_the_channels_for_longer() -> None:
    two = failed({"restart_timeout": 50})
    start = two.network.now
    two.a.restart_ice()
    assert two.a.get_connection_state() == two.a.STATE_CONNECTING
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_FAILED, limit=45)
    assert two.chat_a.get_ready_state() == two.chat_a.STATE_OPEN
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_a.STATE_CLOSED, limit=45)
    assert two.network.now - start <= 51


def test_without_a_restart_timeout_the_channels_end_with_the_path() -> None:
    two = failed({"restart_timeout": 0})
    assert two.chat_a.get_ready_state() == two.chat_a.STATE_CLOSED
    with pytest.raises(Closed):
        two.a.restart_ice()


def test_a_failed_connection_can_be_closed_at_once() -> None:
    two = failed()
    two.a.close()
    assert two.a.get_connection_state() == two.a.STATE_CLOSED
    assert two.chat_a.get_ready_state() == two.chat_a.STATE_CLOSED


def test_a_connection_that_never_came_about_can_be_restarted() -> None:
    two = Two(loss=1.0)
    two.a.create_offer()
    assert two.run(
        lambda: all(peer.get_connection_state() == peer.STATE_FAILED for peer in two.both), limit=45
    )
    two.network.change(loss=0.0)
    two.b.restart_ice()
    assert two.run(lambda: is_connected(two), limit=2)
    two.chat_a.put_packet(b"at last")
    assert two.run(two.chat_b.get_available_packet_count)


def test_a_restart_taken_back_leaves_it_failed() -> None:
    two = failed()
    two.a.session_description_created.disconnect(two.b.set_remote_description)
    two.a.restart_ice()
    assert two.a.get_connection_state() == two.a.STATE_CONNECTING
    two.a.set_local_description("rollback", "")
    assert two.a.get_connection_state() == two.a.STATE_FAILED


def test_the_association_does_not_die_of_an_outage_that_a_restart_ends() -> None:
    """RFC 9260 §8.1 would give up after ten timeouts; without a path there is nothing to time."""
    two = failed({"restart_timeout": 3600})
    two.run(lambda: False, limit=3000)
    two.network.change(loss=0.0)
    two.a.restart_ice()
    assert two.run(lambda: is_connected(two) and two.chat_b.get_available_packet_count(), limit=5)
