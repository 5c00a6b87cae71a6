"""Two associations under arbitrary commands, losses and delays: whatever happens, the books balance."""

from __future__ import annotations

import math
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.sctp import START, association

from rtcstack.errors import RTCError
from rtcstack.sctp import Association, AssociationState, Closed, IncomingStreamsReset, OutgoingStreamsReset

STREAMS = st.integers(0, 2)
SIDES = st.sampled_from([0, 1])


class Commands(RuleBasedStateMachine):
    """Reliable messages arrive once and in order; everything is delivered in the end, or the association is
    closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.sides: tuple[Association, Association] | None = None
        self.random = random.Random(3)
        self.on_the_way: list[list[bytes]] = [[], []]  # to side 0, to side 1
        self.sent: list[dict[int, list[bytes]]] = [{}, {}]
        self.received: list[dict[int, list[bytes]]] = [{}, {}]
        self.number = 0
        self.ended = False

    @rule(seed=st.integers(0, 999), interleaving=st.booleans(), window=st.sampled_from([70_000, 5_000_000]))
    def begin(self, seed: int, interleaving: bool, window: int) -> None:
        if self.sides is None:
            options = {"interleaving": interleaving, "receive_window": window, "heartbeat_interval": 5.0}
            self.sides = association(seed, **options), association(seed + 1000, **options)

    @rule(side=SIDES)
    def connect(self, side: int) -> None:
        if self.sides is not None and not self.ended:
            self.sides[side].connect(self.now)

    @rule(
        side=SIDES, stream_id=STREAMS, size=st.sampled_from([1, 100, 1200, 20_000]), count=st.integers(1, 8)
    )
    def send(self, side: int, stream_id: int, size: int, count: int) -> None:
        if self.sides is None:
            return
        for _ in range(count):
            self.number += 1
            payload = self.number.to_bytes(4) * (size // 4 + 1)
            try:
                self.sides[side].send(stream_id, 51, payload, now=self.now)
            except RTCError:
                assert self.ended
                return
            self.sent[side].setdefault(stream_id, []).append(payload)

    @rule(side=SIDES, stream_id=STREAMS)
    def send_unreliable(self, side: int, stream_id: int) -> None:
        """On streams of their own, so that what may be lost is not counted with what may not."""
        if self.sides is not None and not self.ended:
            self.sides[side].send(10 + stream_id, 51, bytes(3000), max_retransmits=stream_id, now=self.now)

    @rule(side=SIDES, stream_id=STREAMS)
    def reset(self, side: int, stream_id: int) -> None:
        if self.sides is not None and self.sides[side].state is AssociationState.ESTABLISHED:
            self.sides[side].reset_streams([stream_id])

    @rule(side=SIDES, loss=st.sampled_from([0.0, 0.0, 0.5, 1.0]), shuffled=st.booleans(), twice=st.booleans())
    def exchange(self, side: int, loss: float, shuffled: bool, twice: bool) -> None:
        self.step(side, loss, shuffled, twice)

    def step(self, side: int, loss: float = 0.0, shuffled: bool = False, twice: bool = False) -> bool:
        """Let one side take what is on the way to it, and send; tell whether anything moved."""
        if self.sides is None:
            return False
        packets = [packet for packet in self.on_the_way[side] if self.random.random() >= loss]
        moved = bool(self.on_the_way[side])
        self.on_the_way[side] = []
        if shuffled:
            self.random.shuffle(packets)
        if twice:
            packets += packets[:5]
        me = self.sides[side]
        me.receive(packets, self.now)
        for stream_id, _, payload in me.take_messages():
            self.received[side].setdefault(stream_id, []).append(payload)
            me.release(len(payload))
        for event in me.take_events():
            assert not isinstance(event, Closed) or self.ended
            assert not isinstance(event, IncomingStreamsReset | OutgoingStreamsReset) or event.stream_ids
        while batch := me.take_packets(self.now):
            assert all(len(packet) <= 1412 for packet in batch)
            self.on_the_way[1 - side] += batch
            moved = True
        return moved

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 2.0]))
    def wait(self, seconds: float) -> None:
        if self.sides is None:
            return
        self.now += seconds
        for side in self.sides:
            side.handle_timeout(self.now)
            assert side.deadline > self.now or side.take_packets(self.now) is not None

    @invariant()
    def in_order(self) -> None:
        for side in (0, 1):
            for stream_id, payloads in self.sent[1 - side].items():
                got = self.received[side].get(stream_id, [])
                assert got == payloads[: len(got)]

    def teardown(self) -> None:
        if self.sides is None:
            return
        for side in self.sides:
            side.connect(self.now)
        end = self.now + 120
        while self.now < end:
            while any([self.step(0), self.step(1)]):
                pass
            if not any(side.total_buffered for side in self.sides):
                break
            self.now = max(self.now, min(side.deadline for side in self.sides))
            assert self.now < math.inf
            for side in self.sides:
                side.handle_timeout(self.now)
        for side in (0, 1):
            for stream_id, payloads in self.sent[1 - side].items():
                assert self.received[side].get(stream_id) == payloads
        self.ended = True
        self.sides[0].shutdown(self.now)
        for _ in range(60):
            while any([self.step(0), self.step(1)]):
                pass
            if all(side.state is AssociationState.CLOSED for side in self.sides):
                break
            self.now = min(side.deadline for side in self.sides)
            for side in self.sides:
                side.handle_timeout(self.now)
        assert [side.state for side in self.sides] == [AssociationState.CLOSED] * 2


TestCommands = Commands.TestCase
TestCommands.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
