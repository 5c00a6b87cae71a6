"""What does a DTLS record cost, and a handshake? Two endpoints in one process, no sockets.

    python benchmarks/memory_dtls.py [--json] [--size 1160] [--rounds 300]

Encrypting covers send() and take_packets(), decrypting receive() and take_data(), in µs per packet: in
batches of 40, and one packet at a time. A handshake is that of both ends together, in ms, with certificates
made before (`handshake_ms`) or each time (`set_up_ms`). Every figure is the best of the rounds, to keep other
programs out of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from rtcstack.dtls import Certificate, Endpoint

BATCH = 40


def pair(left: Certificate, right: Certificate) -> tuple[Endpoint, Endpoint]:
    """Two endpoints that have shaken hands."""
    ends = (
        Endpoint(certificate=left, client=True, fingerprints=[("sha-256", right.fingerprint())]),
        Endpoint(certificate=right, client=False, fingerprints=[("sha-256", left.fingerprint())]),
    )
    for end in ends:
        end.start(0.0)
    while ends[0].cipher == "" or ends[1].cipher == "":
        ends[1].receive(ends[0].take_packets(0.0), 0.0)
        ends[0].receive(ends[1].take_packets(0.0), 0.0)
    return ends


def best(rounds: int, function: Callable[[], object]) -> float:
    """Shortest time of one call, in seconds."""
    shortest = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def per_packet(sender: Endpoint, receiver: Endpoint, batch: list[bytes], rounds: int) -> tuple[float, float]:
    """Shortest times to encrypt and to decrypt one packet of a batch, in µs."""
    encrypting = decrypting = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        sender.send(batch)
        datagrams = sender.take_packets(0.0)
        middle = time.perf_counter()
        receiver.receive(datagrams, 0.0)
        data = receiver.take_data()
        end = time.perf_counter()
        if data != batch:
            raise SystemExit("the packets did not arrive")
        encrypting, decrypting = min(encrypting, middle - start), min(decrypting, end - middle)
    return encrypting / len(batch) * 1e6, decrypting / len(batch) * 1e6


def measure(size: int, rounds: int) -> dict[str, float]:
    """All figures by name."""
    left, right = Certificate.generate(), Certificate.generate()
    figures = {
        "certificate_ms": best(20, Certificate.generate) * 1e3,
        "handshake_ms": best(30, lambda: pair(left, right)) * 1e3,
        "set_up_ms": best(30, lambda: pair(Certificate.generate(), Certificate.generate())) * 1e3,
    }
    client, server = pair(left, right)
    batch = [bytes(size)] * BATCH
    for name, packets in (("batch", batch), ("single", batch[:1])):
        encrypt, decrypt = per_packet(client, server, packets, rounds)
        figures[f"encrypt_{name}_us"], figures[f"decrypt_{name}_us"] = encrypt, decrypt
    return figures


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=1160, help="bytes of a packet")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {name: round(value, 3) for name, value in measure(options.size, options.rounds).items()}
    if options.json:
        print(json.dumps({"benchmark": "memory_dtls", "size": options.size, **figures}))
    else:
        for name, value in figures.items():
            print(f"{name:20} {value:8.3f}")


if __name__ == "__main__":
    main()
