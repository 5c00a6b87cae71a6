"""What do Variants cost? Values such as games send, written and read, in MB/s of what is sent.

    python benchmarks/variant.py [--json] [--rounds 200]

Every figure is the best of the rounds, to keep other programs out of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from rtcstack.variant import PackedVector3Array, Transform3D, Vector3, bytes_to_var, var_to_bytes

PLAYER = {
    "name": "Ada Lovelace",
    "id": 12345,
    "at": Vector3(1, 2, 3),
    "velocity": Vector3(0.5, 0, -1),
    "health": 99.1,
    "alive": True,
    "tags": ["red", "blue", "captain"],
    "pack": {"wood": 10, "stone": 5, "gold": [1, 2, 3, 4]},
}
VALUES: dict[str, Any] = {
    "nested": [PLAYER] * 20,
    "integers": [[1, 2, 3, 4, 5]] * 200,
    "texts": ["hello", "world"] * 250,
    "transforms": [Transform3D()] * 100,
    "packed vectors": PackedVector3Array([Vector3(1, 2, 3)] * 500),
    "bytes": bytes(16_384),
}


def best(call: Callable[[], object], rounds: int) -> float:
    """Give the seconds of CPU that the quickest of the rounds took."""
    quickest = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(5):
            call()
        quickest = min(quickest, (time.process_time() - begin) / 5)
    return quickest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    figures = {}
    for name, value in VALUES.items():
        data = var_to_bytes(value)
        seconds = {
            "write": best(lambda value=value: var_to_bytes(value), arguments.rounds),
            "read": best(lambda data=data: bytes_to_var(data), arguments.rounds),
        }
        figures[name] = {what: round(len(data) / each / 1e6, 1) for what, each in seconds.items()}
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{'MB/s':<16}{'write':>10}{'read':>10}")
    for name, figure in figures.items():
        print(f"{name:<16}{figure['write']:>10,.1f}{figure['read']:>10,.1f}")


if __name__ == "__main__":
    main()
