"""How long does a program wait for `import rtcstack`, for its first name, and for its first offer?"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = {
    "import_ms": "import rtcstack",
    "first_name_ms": "rtcstack.PeerConnection",
    "first_offer_ms": "peer = rtcstack.PeerConnection(); peer.create_data_channel('a'); peer.create_offer()",
}
"""One after the other in one new process: name of the figure -> what takes the time."""

_PROGRAM = """
import json, sys, time
figures = {}
for name, step in json.loads(sys.argv[1]).items():
    started = time.perf_counter()
    exec(step)
    figures[name] = (time.perf_counter() - started) * 1e3
print(json.dumps(figures))
"""


def measure(rounds: int) -> dict[str, float]:
    """Take each step in new processes that find compiled modules, as after `pip install`: medians in ms."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "PYTHONPYCACHEPREFIX": cache,
            "PYTHONDONTWRITEBYTECODE": "",
        }
        command = [sys.executable, "-c", _PROGRAM, json.dumps(STEPS)]
        figures = [
            json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
            for _ in range(rounds + 1)
        ][1:]  # the first one compiles
    return {name: statistics.median(one[name] for one in figures) for name in STEPS}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    figures = measure(options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:16}{value:8.1f}")


if __name__ == "__main__":
    main()
