"""The pattern of docs/examples/perfect_negotiation.py holds, however slow signaling is."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest
from peer_support import Two

from rtcstack import PeerConnection

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "perfect_negotiation.py"
STABLE = PeerConnection.SIGNALING_STATE_STABLE


@pytest.mark.parametrize("seed", range(12))
def test_both_sides_may_offer_and_restart_whenever_they_like(seed: int) -> None:
    """Signaling keeps the order of each side, and takes up to half a second for each message."""
    chance = random.Random(seed)
    negotiation = runpy.run_path(str(EXAMPLE))["Negotiation"]
    two = Two(wired=False, loss=0.02)
    polite = chance.random() < 0.5
    sides = [negotiation(two.a, polite=polite), negotiation(two.b, polite=not polite)]
    on_the_way: list[list[tuple[float, tuple[str, str, str, int]]]] = [[], []]

    def signal() -> None:
        for side, there, queue in zip(sides, sides[::-1], on_the_way, strict=True):
            while side.outbox:
                earliest = max(two.network.now, queue[-1][0] if queue else 0.0)
                queue.append((earliest + chance.choice([0.0, 0.01, 0.5]), side.outbox.popleft()))
            while queue and queue[0][0] <= two.network.now:
                there.receive(*queue.pop(0)[1])

    def run(seconds: float) -> None:
        end = two.network.now + seconds
        while two.network.now < end - 1e-9:
            two.run(lambda: False, limit=0.02)
            signal()

    for _ in range(6):
        side = chance.choice(sides)
        if chance.random() < 0.5 and side.peer.get_connection_state() == PeerConnection.STATE_CONNECTED:
            if side.peer.get_signaling_state() == STABLE:
                side.peer.restart_ice()
        else:
            side.offer()
            if chance.random() < 0.6:
                sides[side is sides[0]].offer()
        run(chance.choice([0.0, 0.05, 1.5]))
    run(8.0)
    assert [peer.get_signaling_state() for peer in two.both] == [STABLE, STABLE]
    assert [peer.get_connection_state() for peer in two.both] == [PeerConnection.STATE_CONNECTED] * 2
    for here, there in ((two.chat_a, two.chat_b), (two.chat_b, two.chat_a)):
        here.put_packet(b"hello")
        run(2.0)
        assert there.get_packet() == b"hello"
