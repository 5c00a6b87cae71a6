"""What does SCTP cost alone? Two associations in memory, without DTLS and sockets: microseconds a packet.

Each row sends messages from one association to the other in batches of packets as the driver would hand them
over, and takes the CPU time of the two halves apart: queueing and building packets and taking SACKs (tx), and
taking packets, delivering messages and building SACKs (rx). The last row keeps 40,000 chunks in flight with
every tenth missing and times the handling of one SACK: it must not grow with what is outstanding.

    python benchmarks/memory_sctp.py [--json] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

from rtcstack.sctp import Association, Options

BATCH = 40
"""Packets that one read of the socket gives at most: what GRO joins in 64 KiB."""


def associations(**options: object) -> tuple[Association, Association]:
    """Make two associations that are established."""
    a, z = (Association(options=Options(**options), random_bytes=os.urandom) for _ in range(2))  # type: ignore[arg-type]
    a.connect(0.0)
    for _ in range(4):
        z.receive(a.take_packets(0.0), 0.0)
        a.receive(z.take_packets(0.0), 0.0)
    return a, z


def transfer(size: int, total: int, *, ordered: bool = True, zero_checksum: bool = True) -> dict[str, float]:
    """Send messages of one size one way; give microseconds a packet and a message for each side.

    total    bytes.
    """
    a, z = associations(zero_checksum=zero_checksum) if hasattr(Options, "zero_checksum") else associations()
    payload = os.urandom(size)
    count = total // size
    clock = time.process_time
    sent = received = packets = 0
    tx = rx = 0.0
    now = 1.0
    while received < count:
        now += 0.0005
        started = clock()
        while sent < count and a.total_buffered < 1_000_000:
            a.send(1, 53, payload, ordered=ordered, now=now)
            sent += 1
        batch = a.take_packets(now)
        tx += clock() - started
        packets += len(batch)
        started = clock()
        z.receive(batch, now)
        messages = z.take_messages()
        received += len(messages)
        z.release(sum(len(message) for _, _, message in messages))
        answers = z.take_packets(now)
        rx += clock() - started
        started = clock()
        a.receive(answers, now)
        a.handle_timeout(now)
        tx += clock() - started
        z.handle_timeout(now)
    return {
        "packets": packets,
        "tx_us_per_packet": tx / packets * 1e6,
        "rx_us_per_packet": rx / packets * 1e6,
        "tx_us_per_message": tx / count * 1e6,
        "rx_us_per_message": rx / count * 1e6,
        "mb_per_s_if_alone": total / max(tx, rx) / 1e6,
    }


def alone(count: int = 4000) -> dict[str, float]:
    """Send messages of 100 B to and fro, one at a time: a packet with a SACK and a chunk each."""
    ends = associations()
    payload = os.urandom(100)
    clock = time.perf_counter
    tx = rx = float("inf")
    now = 1.0
    for number in range(count):
        sender, receiver = ends[number % 2], ends[1 - number % 2]
        now += 0.0003
        started = clock()
        sender.send(1, 53, payload, now=now)
        packets = sender.take_packets(now)
        taken = clock()
        receiver.receive(packets, now)
        receiver.release(sum(len(message) for _, _, message in receiver.take_messages()))
        tx = min(tx, taken - started)
        rx = min(rx, clock() - taken)
    return {
        "tx_us_per_packet": tx * 1e6,
        "rx_us_per_packet": rx * 1e6,
        "tx_us_per_message": tx * 1e6,
        "rx_us_per_message": rx * 1e6,
    }


def gaps(in_flight: int) -> dict[str, float]:
    """Time a SACK while so many chunks are in flight and every tenth packet is missing."""
    a, z = associations(initial_window=in_flight * 2, receive_window=1 << 30, send_buffer=0)
    payload = os.urandom(1000)
    for _ in range(in_flight):
        a.send(1, 53, payload, now=1.0)
    packets: list[bytes] = []
    while more := a.take_packets(1.0):
        packets += more
    arriving = [packet for i, packet in enumerate(packets) if i % 10]
    clock = time.process_time
    rx = tx = 0.0
    sacks = 0
    now = 1.01
    for at in range(0, len(arriving), 20):
        now += 1e-5
        started = clock()
        z.receive(arriving[at : at + 20], now)
        answers = z.take_packets(now)
        rx += clock() - started
        started = clock()
        a.receive(answers, now)
        tx += clock() - started
        sacks += len(answers)
    return {
        "packets": len(packets),
        "tx_us_per_packet": tx / sacks * 1e6,
        "rx_us_per_packet": rx / len(arriving) * 1e6,
    }


def best(measure: Callable[[], dict[str, float]], rounds: int) -> dict[str, float]:
    """Measure several times and give the least of each figure, to keep other programs out of it."""
    results = [measure() for _ in range(rounds)]
    return {key: min(result[key] for result in results) for key in results[0]}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows: dict[str, Callable[[], dict[str, float]]] = {
        "16 KiB": lambda: transfer(16384, 8_000_000),
        "64 B": lambda: transfer(64, 2_000_000),
        "64 B unordered": lambda: transfer(64, 2_000_000, ordered=False),
        "1,000 B": lambda: transfer(1000, 4_000_000),
        "100 B, one at a time": alone,
        "a SACK, 400 in flight, every tenth missing": lambda: gaps(400),
        "a SACK, 4,000 in flight, every tenth missing": lambda: gaps(4_000),
        "a SACK, 40,000 in flight, every tenth missing": lambda: gaps(40_000),
    }
    table = {name: best(measure, arguments.rounds) for name, measure in rows.items()}
    if arguments.json:
        print(json.dumps(table))
        return
    print(f"{'':46}{'tx':>8}{'rx':>8} us a packet{'tx':>8}{'rx':>8} us a message")
    for name, row in table.items():
        line = f"{name:46}{row['tx_us_per_packet']:8.2f}{row['rx_us_per_packet']:8.2f}            "
        if "tx_us_per_message" in row:
            line += f"{row['tx_us_per_message']:8.2f}{row['rx_us_per_message']:8.2f}"
        print(line)


if __name__ == "__main__":
    main()
