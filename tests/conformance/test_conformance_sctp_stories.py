"""Two associations, random messages, random paths: nothing is lost, doubled, disordered or stuck."""

from __future__ import annotations

import random

import pytest
from support.sctp import Path

from rtcstack.sctp import AssociationState

RELIABLE, UNORDERED, COUNTED, TIMED = range(4)


def limits(stream: int, chance: random.Random) -> dict[str, object]:
    """Give the way in which messages of a stream are sent."""
    if stream == UNORDERED:
        return {"ordered": False}
    if stream == COUNTED:
        return {"max_retransmits": chance.randrange(2)}
    if stream == TIMED:
        return {"lifetime": chance.choice((0.01, 0.1))}
    return {}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("control", ["newreno", "cubic"])
def test_no_story_ends_badly(control, seed):
    """RFC 9260 §1.5: on any path what is reliable arrives once and in order, and the end is graceful."""
    chance = random.Random(f"{control} {seed}")
    path = Path(
        seed=seed,
        options={
            "congestion_control": control,
            "interleaving": chance.random() < 0.5,
            "receive_window": chance.choice((100_000, 5_000_000)),
            "max_message_size": 60_000,
            "path_mtu_limit": chance.choice((0, 1412)),
        },
        delay=chance.choice((0.001, 0.02, 0.1)),
        jitter=chance.choice((0.0, 0.02)),
        loss=chance.choice((0.0, 0.02, 0.2)),
        duplicate=chance.choice((0.0, 0.1)),
        reorder=chance.choice((0.0, 0.2)),
    )
    path.connect()
    sent: dict[tuple[object, int], list[bytes]] = {
        (side, stream): [] for side in (path.a, path.z) for stream in range(4)
    }
    for _ in range(50):
        for side in (path.a, path.z):
            if chance.random() < 0.6:
                stream = chance.randrange(4)
                messages = sent[side, stream]
                messages.append(
                    len(messages).to_bytes(2) + bytes(chance.choice((1, 50, 1130, 1131, 5000, 40_000)))
                )
                side.send(stream, 51, messages[-1], now=path.now, **limits(stream, chance))
        path.run(chance.choice((0.0, 0.01, 0.1, 0.5)))
    assert path.run(120, until=lambda: path.a.total_buffered == path.z.total_buffered == 0), "it is stuck"
    path.run(2)
    for side, inbox in ((path.a, path.at_z), (path.z, path.at_a)):
        received: dict[int, list[bytes]] = {stream: [] for stream in range(4)}
        for stream, _, payload in inbox:
            received[stream].append(payload)
        assert received[RELIABLE] == sent[side, RELIABLE]
        assert sorted(received[UNORDERED]) == sorted(sent[side, UNORDERED])
        for stream in (COUNTED, TIMED):
            numbers = [int.from_bytes(payload[:2]) for payload in received[stream]]
            assert numbers == sorted(set(numbers))
            assert received[stream] == [sent[side, stream][number] for number in numbers]
    path.a.shutdown(path.now)
    closed = AssociationState.CLOSED
    assert path.run(60, until=lambda: path.a.state is path.z.state is closed)


@pytest.mark.parametrize("window", [300_000, 1 << 20])
def test_messages_cut_in_turn_do_not_fill_the_peers_window(window):
    """RFC 8260 §3: streams take turns, but a peer has to keep what it has of each message."""
    path = Path(options={"receive_window": window}, delay=0.01, loss=0.01)
    path.connect()
    path.run(1)
    messages = {stream: bytes([stream]) * 200_000 for stream in range(20)}
    for stream, message in messages.items():
        path.a.send(stream, 51, message, now=path.now)
    assert path.run(60, until=lambda: len(path.at_z) == len(messages))
    assert {stream: payload for stream, _, payload in path.at_z} == messages
    assert path.a.state is AssociationState.ESTABLISHED


def test_short_messages_pass_while_no_large_one_may_begin():
    """RFC 8260 §1.2: a large message of one stream does not hold up those of another."""
    path = Path(options={"receive_window": 1 << 20}, delay=0.01)
    path.connect()
    path.run(1)
    for stream in range(20):
        path.a.send(stream, 51, bytes(200_000), now=path.now)
    path.run(0.1)
    assert len(path.at_z) < 20
    path.a.send(100, 51, b"short", now=path.now)
    assert path.run(0.05, until=lambda: (100, 51, b"short") in path.at_z)
    assert len(path.at_z) < 20
