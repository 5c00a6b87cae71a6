"""Two SCTP associations in virtual time: step by step, or over links that lose, delay and reorder."""

from __future__ import annotations

import math
import random
import struct

from rtcstack.sctp import Association, Established, Options
from rtcstack.sctp.chunks import CHUNK_NAMES
from rtcstack.sctp.packet import checksum_seed, write_header, write_packet
from rtcstack.testing import Link

START = 1000.0
"""Seconds: an origin that no rule may depend on."""


def association(seed: int = 1, **options: object) -> Association:
    """Make one association whose random numbers come from the seed."""
    return Association(options=Options(**options), random_bytes=random.Random(seed).randbytes)  # type: ignore[arg-type]


class Steps:
    """Two associations, A and Z, moved by hand: a ladder diagram as a program."""

    def __init__(
        self, seed: int = 1, *, a: Association | None = None, z: Association | None = None, **options: object
    ):
        self.a = a or association(seed, **options)
        self.z = z or association(seed + 1000, **options)
        self.now = START
        self.first_tsn = 0
        self.tag_to: dict[int, int] = {}  # id of a side -> verification tag of the last packet to it

    def other(self, side: Association) -> Association:
        """Give the other side."""
        return self.z if side is self.a else self.a

    def take(self, source: Association) -> list[bytes]:
        """Take all packets that a side has to send."""
        packets: list[bytes] = []
        while more := source.take_packets(self.now):
            packets += more
        for packet in packets:
            if tag := struct.unpack_from("!I", packet, 4)[0]:
                self.tag_to[id(self.other(source))] = tag
        return packets

    def inject(self, side: Association, *chunks: bytes, tag: int | None = None) -> None:
        """Give a side a packet with these chunks, as if the other had sent it, perhaps with another tag."""
        header = write_header(5000, 5000, self.tag_to[id(side)] if tag is None else tag)
        side.receive([write_packet(header, chunks, checksum_seed(header))], self.now)

    def move(self, source: Association) -> list[str]:
        """Carry all packets of one side to the other; tell what they hold."""
        packets = self.take(source)
        if packets:
            self.other(source).receive(packets, self.now)
        return [describe(packet) for packet in packets]

    def lose(self, source: Association) -> list[str]:
        """Take all packets of one side and let them vanish; tell what they hold."""
        return [describe(packet) for packet in self.take(source)]

    def settle(self, limit: int = 10_000) -> None:
        """Carry packets to and fro at this instant until both sides are silent."""
        for _ in range(limit):
            if not (self.move(self.a) + self.move(self.z)):
                return
        raise AssertionError("the two sides never fall silent")

    def wait(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile is done and carried over."""
        end = self.now + seconds
        while (due := min(self.a.deadline, self.z.deadline)) <= end:
            self.now = max(self.now, due)
            self.a.handle_timeout(self.now)
            self.z.handle_timeout(self.now)
            self.settle()
        self.now = end

    def fire(self, side: Association) -> None:
        """Go on to the next deadline of a side and let it act."""
        assert side.deadline < math.inf, "no timer is running"
        self.now = max(self.now, side.deadline)
        side.handle_timeout(self.now)

    def connect(self) -> None:
        """Establish the association from both sides and forget how."""
        self.a.connect(self.now)
        self.z.connect(self.now)
        self.settle()
        assert Established() in self.a.take_events()
        assert Established() in self.z.take_events()


def connected(seed: int = 1, **options: object) -> Steps:
    """Make two sides that are established."""
    steps = Steps(seed, **options)
    steps.connect()
    return steps


class Path:
    """Two associations over two links, run in virtual time; messages are collected as they come."""

    def __init__(
        self, seed: int = 1, *, options: dict[str, object] | None = None, **conditions: object
    ) -> None:
        self.a = association(seed, **(options or {}))
        self.z = association(seed + 1000, **(options or {}))
        self.there = Link(seed=f"{seed} there", **conditions)  # type: ignore[arg-type]
        self.back = Link(seed=f"{seed} back", **conditions)  # type: ignore[arg-type]
        self.now = START
        self.at_a: list[tuple[int, int, bytes]] = []
        self.at_z: list[tuple[int, int, bytes]] = []
        self.events_a: list[object] = []
        self.events_z: list[object] = []

    def connect(self) -> None:
        """Begin the handshake on both sides."""
        self.a.connect(self.now)
        self.z.connect(self.now)

    def step(self, end: float = math.inf) -> None:
        """Go on to the next instant at which something happens, and do it; no further than to the end."""
        for side, link, inbox, events in (
            (self.a, self.there, self.at_a, self.events_a),
            (self.z, self.back, self.at_z, self.events_z),
        ):
            messages = side.take_messages()
            inbox += messages
            side.release(sum(len(payload) for _, _, payload in messages))
            events += side.take_events()
            while packets := side.take_packets(self.now):
                link.send(packets, self.now)
        due = min(self.a.deadline, self.z.deadline, self.there.deadline, self.back.deadline)
        if due > end or due == math.inf:
            self.now = end
            return
        self.now = max(self.now, due)
        for side, link in ((self.z, self.there), (self.a, self.back)):
            if packets := link.take(self.now):
                side.receive(packets, self.now)
            side.handle_timeout(self.now)

    def run(self, seconds: float, *, until: object = None) -> bool:
        """Run for so many seconds, or until a callable says True; tell whether it did."""
        end = self.now + seconds
        while self.now < end:
            if callable(until) and until():
                return True
            self.step(end)
        return bool(callable(until) and until())


def chunk_types(packet: bytes) -> list[int]:
    """Give the types of the chunks in a packet."""
    types = []
    at = 12
    while at < len(packet):
        chunk_type, _, length = struct.unpack_from("!BBH", packet, at)
        types.append(chunk_type)
        at += (length + 3) & ~3
    return types


def describe(packet: bytes) -> str:
    """Name the chunks of a packet: "SACK DATA DATA"."""
    return " ".join(CHUNK_NAMES.get(chunk_type, str(chunk_type)) for chunk_type in chunk_types(packet))
