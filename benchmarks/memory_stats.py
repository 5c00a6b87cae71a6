"""What does a snapshot of a connected peer cost, by its number of channels?

    python benchmarks/memory_stats.py [--json]

In µs, the best of the rounds, to keep other programs out of it. as_dict() makes it ready for JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from rtcstack.testing import Pair

COUNTS = (1, 10, 100)
ROUNDS = 20
REPEATS = 100


def best(function: Callable[[], object], repeats: int) -> float:
    """Call a function often. Returns µs a call of the best round."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(repeats):
            function()
        rounds.append((time.process_time() - start) / repeats)
    return min(rounds) * 1e6


def measure(channels: int) -> dict[str, float]:
    """Measure with so many open channels."""
    pair = Pair()
    pair.connect()
    for number in range(channels):
        pair.open_channel(f"channel {number}")
    peer = pair.left
    assert len(peer.get_stats().channels) >= channels
    return {
        "get_stats_us": best(peer.get_stats, REPEATS),
        "as_dict_us": best(peer.get_stats().as_dict, REPEATS // 10),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {f"{count} channels": measure(count) for count in COUNTS}
    if options.json:
        print(json.dumps({"benchmark": "memory_stats", **results}))
        return
    for name, values in results.items():
        for figure, value in values.items():
            print(f"{name}, {figure:14}{value:8.1f}")


if __name__ == "__main__":
    main()
