"""Pairs: whole peers, from the offer to the last message, in virtual time."""

from __future__ import annotations

import pytest

from rtcstack import DataChannel, PeerConnection, poll
from rtcstack.testing import BurstLoss, Pair, Received, VirtualNetwork

CONNECTED = PeerConnection.STATE_CONNECTED


def test_connecting_takes_a_few_round_trips_of_virtual_time():
    pair = Pair(delay=0.05)
    pair.connect()
    assert pair.left.get_connection_state() is pair.right.get_connection_state() is CONNECTED
    assert 0.1 <= pair.now <= 1.0


def test_a_channel_connects_the_peers_and_carries_messages_both_ways():
    pair = Pair(delay=0.05)
    chat = pair.open_channel("chat")
    assert (chat.left.get_label(), chat.right.get_label()) == ("chat", "chat")
    opened = pair.now
    chat.left.put_packet("hello")
    chat.right.put_packet(b"\x01")
    assert pair.run(until=lambda: chat.left_received and chat.right_received)
    assert chat.right_received == [Received(pytest.approx(opened + 0.05), "hello")]
    assert chat.left_received == [Received(pytest.approx(opened + 0.05), b"\x01")]


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.10])
def test_every_reliable_message_arrives_once_and_in_order(loss):
    pair = Pair(seed=11, delay=0.040, loss=loss)
    channel = pair.open_channel("state")
    sent = [f"{i}".encode() * 300 for i in range(500)]
    for payload in sent:
        channel.left.put_packet(payload)
    pair.run(limit=60.0)
    assert [message.data for message in channel.right_received] == sent


def test_the_same_seed_gives_the_same_course():
    def course(seed: int) -> list[Received]:
        pair = Pair(seed=seed, delay=0.03, jitter=0.01, loss=0.1, duplicate=0.05, reorder=0.05)
        channel = pair.open_channel("state", ordered=False)
        for i in range(200):
            channel.left.put_packet(b"%d" % i)
            pair.run(1 / 30)
        pair.run(5.0)
        return channel.right_received

    assert course(5) == course(5) != course(6)


def test_messages_can_be_left_to_the_application():
    pair = Pair()
    channel = pair.open_channel("raw", record=False)
    channel.left.put_packet(b"kept")
    pair.run(1.0)
    assert channel.right_received == []
    assert channel.right.get_packet() == b"kept"


def test_a_negotiated_channel_has_its_ends_on_both_sides():
    pair = Pair()
    channel = pair.open_channel("state", negotiated=True, id=7, ordered=False, maxRetransmits=0)
    assert channel.left.get_id() == channel.right.get_id() == 7
    assert not channel.right.is_ordered()


def test_several_channels_of_one_pair():
    pair = Pair(delay=0.02)
    pair.connect()
    pair.connect()  # a second time finds everything done
    first, second = pair.open_channel("one"), pair.open_channel("two")
    second.left.put_packet("2")
    first.right.put_packet("1")
    pair.run(1.0)
    assert [message.data for message in first.left_received + second.right_received] == ["1", "2"]


def test_a_directions_conditions_can_change_on_the_way():
    pair = Pair(delay=0.01)
    channel = pair.open_channel("state")
    pair.left_to_right.change(loss=1.0)
    channel.left.put_packet("through the wall")
    pair.run(3.0)
    assert channel.right_received == []
    assert pair.right_to_left.loss == 0.0
    pair.left_to_right.change(loss=0.0)
    assert pair.run(until=lambda: channel.right_received, limit=10.0)


def test_callbacks_may_answer_at_once():
    pair = Pair(delay=0.05)
    channel = pair.open_channel("echo")
    answered: list[float] = []

    def answer() -> None:
        answered.append(pair.now)
        channel.right.put_packet("pong")

    channel.left.put_packet("ping")
    pair.run(until=lambda: channel.right_received)
    pair.right.data_channel_received.connect(lambda channel: answer())
    pair.left.create_data_channel("trigger")
    assert pair.run(until=lambda: channel.left_received)
    assert channel.left_received[0].at == pytest.approx(answered[0] + 0.05)


def test_the_configuration_reaches_both_peers():
    pair = Pair(configuration={"max_message_size": 1000})
    channel = pair.open_channel("small")
    assert channel.left.get_max_message_size() == channel.right.get_max_message_size() == 1000


def test_a_connection_that_cannot_be_ends_with_a_reason():
    pair = Pair(loss=1.0)
    with pytest.raises(TimeoutError, match="left is CONNECTING"):
        pair.connect(limit=5.0)
    with pytest.raises(TimeoutError, match="FAILED"):
        pair.connect(limit=120.0)


def test_a_bad_minute():
    """Everything at once, and a blackout: what is reliable arrives once and in order."""
    pair = Pair(
        seed=3,
        delay=0.05,
        jitter=0.02,
        jitter_reorders=True,
        loss=0.05,
        burst_loss=BurstLoss.average(0.02, 6),
        reorder=0.1,
        duplicate=0.1,
        rate=200_000,
        blackouts=[(20.0, 24.0)],
    )
    channel = pair.open_channel("state")
    sent = []
    while pair.now < 40.0:
        sent.append(f"state at {pair.now:.2f}")
        channel.left.put_packet(sent[-1])
        pair.run(0.05)
    pair.run(20.0)
    assert [message.data for message in channel.right_received] == sent
    assert pair.left_to_right.stats.dropped_blackout > 0
    assert channel.left.get_ready_state() is DataChannel.STATE_OPEN


def test_a_program_that_polls_with_a_timeout_lives_in_virtual_time_unchanged():
    network = VirtualNetwork(delay=0.05)
    peers = [PeerConnection(network=network.host(name)) for name in ("left", "right")]
    channels = [peer.create_data_channel("chat", {"negotiated": True, "id": 1}) for peer in peers]
    for peer, other in (peers, reversed(peers)):
        peer.session_description_created.connect(peer.set_local_description)
        peer.session_description_created.connect(other.set_remote_description)
        peer.ice_candidate_created.connect(other.add_ice_candidate)
    peers[0].create_offer()
    while any(channel.get_ready_state() is not channel.STATE_OPEN for channel in channels):
        poll(peers, 1.0)
    opened = network.now
    assert 0.2 <= opened <= 1.0
    channels[0].put_packet("hello")
    while not channels[1].get_available_packet_count():
        poll(peers, 1.0)
    assert network.now == pytest.approx(opened + 0.05)
    poll(peers, 0.02)  # the SACK is delayed, and nothing else happens
    assert network.now == pytest.approx(opened + 0.07)
