"""How do the congestion controllers do on paths with delay, loss and queues? In virtual time, so exactly.

    python benchmarks/paths.py [--json FILE] [row ...]

Two SCTP associations speak over the links of rtcstack.testing; each packet counts with 37 bytes of DTLS and
28 of IP and UDP. No clock is read: the figures are the same on every machine. Where chance plays a part, they
are medians over several seeds.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import statistics
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))  # the checkout, unless rtcstack is installed

from rtcstack.sctp import Association, Options
from rtcstack.testing import Link, VirtualHost, VirtualNetwork

OVERHEAD = 37 + 28
SEEDS = (1, 2, 3)
BULK = bytes(16384)
BINARY = 53
STAMP = struct.Struct("!d")

Values = dict[str, float]


class End:
    """One association on a virtual host, as the network wants a session; datagrams of at most 1,200 bytes."""

    def __init__(self, host: VirtualHost, seed: int, controller: str) -> None:
        chosen = Options(congestion_control=controller, send_buffer=0, path_mtu_limit=0)
        self.association = Association(options=chosen, random_bytes=random.Random(seed).randbytes)
        self.received_bytes = 0
        self.delays: list[float] = []
        """Seconds on the way of each message that carries its time."""
        self.remote = ("", 0)
        self._transport = host.attach(self)
        self._transport.gather()

    @property
    def deadline(self) -> float:
        """When the association has something to do."""
        return self.association.deadline

    def add_local_address(self, address: tuple[str, int], interface: str = "") -> None:
        """Take the one address there is."""
        self.address = address

    def end_of_local_candidates(self) -> None:
        """Take notice that there is no other."""

    def receive(self, local: object, remote: object, datagrams: list[bytes], now: float) -> None:
        """Take packets, and their messages at once."""
        self.association.receive(datagrams, now)
        for _, _, payload in self.association.take_messages():
            self.association.release(len(payload))
            if len(payload) == len(BULK):
                self.received_bytes += len(payload)
            else:
                self.delays.append(now - STAMP.unpack_from(payload)[0])
        self.association.take_events()

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.association.handle_timeout(now)

    def take_packets(self, now: float) -> list[tuple[tuple[str, int], tuple[str, int], list[bytes]]]:
        """Give the packets to send."""
        packets: list[bytes] = []
        while burst := self.association.take_packets(now):  # each call gives a bounded one
            packets += burst
        return [(self.address, self.remote, packets)] if packets else []

    def send_bulk(self, size: int, stream_id: int = 0) -> None:
        """Queue so many bytes in large messages."""
        for _ in range(-(-size // len(BULK))):
            self.association.send(stream_id, BINARY, BULK)


class Path:
    """A network with one path between senders and receivers, and its bottleneck.

    conditions    of the links, each way; a rate and its queue hold for the way of the data only.
    """

    def __init__(self, seed: int, **conditions: Any) -> None:
        back = {name: value for name, value in conditions.items() if name in ("delay", "loss")}
        self.network = VirtualNetwork(seed=seed, overhead=OVERHEAD, **back)
        self.seed = seed
        self.link = Link(seed=f"{seed}/data", overhead=OVERHEAD, **conditions)
        self._flows = 0

    def flow(self, controller: str) -> tuple[End, End]:
        """Add a sender and a receiver and let them connect."""
        self._flows += 1
        hosts = [self.network.host(f"{side} {self._flows}") for side in ("sender", "receiver")]
        self.network.share(self.link, [(hosts[0], hosts[1])])
        ends = [End(host, 100 * self.seed + 2 * self._flows + i, controller) for i, host in enumerate(hosts)]
        ends[0].remote, ends[1].remote = ends[1].address, ends[0].address
        ends[0].association.connect(self.network.now)
        return ends[0], ends[1]


def measure_transfer(seed: int, controller: str, size: int, **conditions: Any) -> Values:
    """Send some bytes; throughput from the first INIT to the last byte."""
    path = Path(seed, **conditions)
    sender, receiver = path.flow(controller)
    sender.send_bulk(size)
    path.network.run(lambda: receiver.received_bytes >= size, limit=1000.0)
    stats = sender.association.stats
    return {
        "mb_per_s": receiver.received_bytes / path.network.now / 1e6,
        "queue_p95_ms": path.link.stats.queue_delay(95) * 1e3,
        "lost": path.link.stats.lost + path.link.stats.dropped_queue,
        "retransmitted": stats.retransmitted_chunks,
        "timeouts": stats.timeouts,
    }


def measure_messages(
    seed: int, controller: str, hertz: float, size: int, bulk: int, **conditions: Any
) -> Values:
    """Send messages at a rate for a minute of virtual time; delays from sending to delivery.

    bulk    bytes that a second channel has to send meanwhile; the messages are unreliable then.
    """
    path = Path(seed, **conditions)
    sender, receiver = path.flow(controller)
    path.network.run(1.0)
    if bulk:
        sender.send_bulk(bulk, stream_id=2)
    padding = bytes(size - STAMP.size)
    for _ in range(int(60 * hertz)):
        now = path.network.now
        message = STAMP.pack(now) + padding
        sender.association.send(
            4, BINARY, message, ordered=not bulk, max_retransmits=0 if bulk else None, now=now
        )
        path.network.run(1 / hertz)
    path.network.run(2.0)
    delays = sorted(receiver.delays)
    return {
        "p50_ms": delays[len(delays) // 2] * 1e3,
        "p99_ms": delays[int(len(delays) * 0.99)] * 1e3,
        "worst_ms": delays[-1] * 1e3,
        "arrived_percent": 100 * len(delays) / int(60 * hertz),
        "mb_per_s": receiver.received_bytes / path.network.now / 1e6,
    }


def measure_share(seed: int, controller: str, other: str, **conditions: Any) -> Values:
    """Let a flow join one of another controller on a full bottleneck; its share of the minute after."""
    path = Path(seed, **conditions)
    theirs, ours = path.flow(other), path.flow(controller)
    theirs[0].send_bulk(100_000_000)
    path.network.run(5.0)
    ours[0].send_bulk(100_000_000)
    path.network.run(5.0)
    before = [flow[1].received_bytes for flow in (ours, theirs)]
    path.network.run(60.0)
    gained = [flow[1].received_bytes - was for flow, was in zip((ours, theirs), before, strict=True)]
    return {"share_percent": 100 * gained[0] / sum(gained), "mb_per_s": sum(gained) / 60 / 1e6}


@dataclass(frozen=True)
class Question:
    """One measurement, which may answer several rows.

    measure    seed -> values by name; the table has their medians over the seeds.
    """

    measure: Callable[[int], Values]
    seeds: Sequence[int] = SEEDS


@dataclass(frozen=True)
class Row:
    """One line of the table.

    question    the measurement that answers it, and `value` its name there.
    goal        what it should be at least, with `most` at most; None where the row is there to compare.
    """

    path: str
    question: str
    value: str
    unit: str
    goal: float | None = None
    most: float | None = None


def transfer(controller: str, size: int, seeds: Sequence[int] = SEEDS, **conditions: Any) -> Question:
    """Ask for the throughput of one transfer."""
    return Question(lambda seed: measure_transfer(seed, controller, size, **conditions), seeds)


def messages(controller: str, hertz: float, size: int, bulk: int, **conditions: Any) -> Question:
    """Ask for the delay of a game's messages."""
    return Question(lambda seed: measure_messages(seed, controller, hertz, size, bulk, **conditions))


def share(controller: str, **conditions: Any) -> Question:
    """Ask for the share beside a NewReno flow."""
    return Question(lambda seed: measure_share(seed, controller, "newreno", **conditions), SEEDS[:1])


TEN_MBIT = 1_250_000
CLEAN = {"delay": 0.025}
LOSSY = {"delay": 0.01, "loss": 0.01}
BAD = {"delay": 0.025, "loss": 0.05}
NARROW = {"delay": 0.05, "loss": 0.01, "rate": TEN_MBIT, "queue_seconds": 0.1}
GAME = {"delay": 0.05, "loss": 0.02}
BESIDE = {"delay": 0.02, "rate": TEN_MBIT, "queue_seconds": 0.2}
SHARED = {"delay": 0.02, "rate": TEN_MBIT}

QUESTIONS = {
    **{
        f"clean-{name}": transfer(name, 20_000_000, SEEDS[:1], **CLEAN)
        for name in ("newreno", "cubic", "bbr")
    },
    **{f"lossy-{name}": transfer(name, 20_000_000, **LOSSY) for name in ("newreno", "cubic", "bbr")},
    **{f"bad-{name}": transfer(name, 4_000_000, **BAD) for name in ("newreno", "cubic")},
    "bad-bbr": transfer("bbr", 20_000_000, **BAD),
    "narrow-cubic": transfer("cubic", 4_000_000, **NARROW),
    "narrow-bbr": transfer("bbr", 20_000_000, **NARROW),
    "game-cubic": messages("cubic", 30, 64, 0, **GAME),
    "game-bbr": messages("bbr", 30, 64, 0, **GAME),
    "beside-cubic": messages("cubic", 20, 100, 90_000_000, **BESIDE),
    "beside-bbr": messages("bbr", 20, 100, 90_000_000, **BESIDE),
    **{
        f"share-{name}-{queue}": share(name, queue_seconds=queue / 1000, **SHARED)
        for name in ("cubic", "bbr")
        for queue in (20, 40, 100)
    },
}

_MB, _MS, _PERCENT = "MB/s", "ms", "%"
_CLEAN = "50 ms RTT, no loss, 20 MB"
_LOSSY = "20 ms RTT, 1 % loss"
_BAD = "50 ms RTT, 5 % loss"
_NARROW = "100 ms RTT, 1 % loss, 10 Mbit/s, 100 ms queue"
_GAME = "30 Hz x 64 B reliable, 100 ms RTT, 2 % loss: p99"
_BESIDE = "20 Hz x 100 B unreliable beside bulk, 40 ms RTT, 10 Mbit/s, 200 ms queue: p99 one way"

ROWS = (
    Row(_CLEAN, "clean-newreno", "mb_per_s", _MB),
    Row(_CLEAN, "clean-cubic", "mb_per_s", _MB, 25.0),
    Row(_CLEAN, "clean-bbr", "mb_per_s", _MB, 25.0),
    Row(_LOSSY, "lossy-newreno", "mb_per_s", _MB),
    Row(_LOSSY, "lossy-cubic", "mb_per_s", _MB, 0.75),
    Row(_LOSSY, "lossy-bbr", "mb_per_s", _MB, 10.0),
    Row(_BAD, "bad-newreno", "mb_per_s", _MB),
    Row(_BAD, "bad-cubic", "mb_per_s", _MB, 0.15),
    Row(_BAD, "bad-bbr", "mb_per_s", _MB, 5.0),
    Row(_NARROW, "narrow-cubic", "mb_per_s", _MB),
    Row(_NARROW, "narrow-bbr", "mb_per_s", _MB, 1.0),
    Row(f"{_NARROW}: queue p95", "narrow-bbr", "queue_p95_ms", _MS, most=40.0),
    Row(_GAME, "game-cubic", "p99_ms", _MS, most=200.0),
    Row(_GAME, "game-bbr", "p99_ms", _MS, most=200.0),
    Row(_BESIDE, "beside-cubic", "p99_ms", _MS),
    Row(_BESIDE, "beside-bbr", "p99_ms", _MS, most=60.0),
    *(
        Row(
            f"share beside a NewReno flow, 40 ms RTT, 10 Mbit/s, {queue} ms queue",
            f"share-{name}-{queue}",
            "share_percent",
            _PERCENT,
            30.0,
            70.0,
        )
        for name in ("cubic", "bbr")
        for queue in (20, 40, 100)
    ),
)


def main() -> None:
    """Measure what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("questions", nargs="*", metavar="row", help=f"of {', '.join(QUESTIONS)}; all if none")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write every value there too")
    options = parser.parse_args()
    names = options.questions or list(QUESTIONS)
    if unknown := set(names) - set(QUESTIONS):
        parser.error(f"no row is called {', '.join(sorted(unknown))}")
    results = {name: measure(QUESTIONS[name]) for name in names}
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(question: Question) -> Values:
    """Measure with each seed; the medians."""
    runs = [question.measure(seed) for seed in question.seeds]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def report(results: dict[str, Values]) -> str:
    """Write the table as Markdown."""
    lines = ["| path | control | rtcstack | goal | |", "|---|---|---|---|---|"]
    for row in ROWS:
        if row.question not in results:
            continue
        value = results[row.question][row.value]
        goals = [f"at least {row.goal:g}"] if row.goal is not None else []
        goals += [f"at most {row.most:g}"] if row.most is not None else []
        is_met = (row.goal is None or value >= row.goal) and (row.most is None or value <= row.most)
        mark = ("yes" if is_met else "no") if goals else ""
        control = row.question.split("-")[1]
        lines.append(f"| {row.path} | {control} | {value:.3g} {row.unit} | {', '.join(goals)} | {mark} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
