"""Measures rtcstack beside aiortc and beside what Python can do at all, and prints one table.

    python benchmarks/run.py [--rounds 5] [--quick] [--json FILE] [row ...]

Each round measures each row with one stack after the other, so that whatever else the machine does meets
both; the table has the medians. Nothing runs at the same time, all traffic stays on this machine. Datagrams
have at most 1,200 bytes (aiortc's: 1,265, which it does not let one choose), but where a row says otherwise.
Needs the extra "bench".
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the checkout, unless rtcstack is installed

import ceiling  # noqa: E402
import pairs  # noqa: E402
import round_trip  # noqa: E402
import stream  # noqa: E402
from processes import MeasurementError  # noqa: E402

OURS, TWIN, CEILING = "rtcstack", "aiortc", "ceiling"
STACKS = (OURS, TWIN)
GAME = {"ordered": False, "maxRetransmits": 0}


@dataclass(frozen=True)
class Question:
    """One measurement, which may answer several rows.

    measure     (stack, seconds) -> values by name.
    stacks      whom to ask.
    """

    measure: Callable[[str, float], dict[str, float]]
    stacks: tuple[str, ...] = STACKS


@dataclass(frozen=True)
class Row:
    """One line of the table.

    question    the measurement that answers it, and `value` its name there.
    ceiling     the question whose "mb_per_s" is the most that Python can do; "" where that says nothing.
    """

    title: str
    question: str
    value: str
    form: str = "{:.1f}"
    less_is_better: bool = False
    ceiling: str = ""


QUESTIONS = {
    "ceiling": Question(lambda _, seconds: ceiling.measure(seconds), (CEILING,)),
    "ceiling-no-offload": Question(lambda _, seconds: ceiling.measure(seconds, offload=False), (CEILING,)),
    "bulk": Question(lambda stack, seconds: stream.measure(stack, seconds, 16384)),
    "bulk-no-offload": Question(
        lambda stack, seconds: stream.measure(stack, seconds, 16384, configuration={"offload": False}),
        (OURS,),
    ),
    "bulk-path-mtu": Question(
        lambda stack, seconds: stream.measure(
            stack, seconds, 16384, configuration={"path_mtu_discovery": True}
        ),
        (OURS,),
    ),
    "small": Question(lambda stack, seconds: stream.measure(stack, seconds, 64)),
    "unreliable": Question(lambda stack, seconds: stream.measure(stack, seconds, 100, GAME)),
    "round-trip": Question(round_trip.measure),
    "set-up": Question(lambda stack, seconds: pairs.measure_set_up(stack, 200 if seconds > 2 else 30)),
    "memory": Question(lambda stack, _: pairs.measure_memory(stack)),
    "chatter": Question(pairs.measure_chatter),
}

ROWS = (
    Row("bulk, 16 KiB reliable ordered, MB/s", "bulk", "mb_per_s", ceiling="ceiling"),
    Row("the same, CPU s per MB, both ends", "bulk", "cpu_s_per_mb", "{:.4f}", True, "ceiling"),
    Row("bulk without GSO and GRO, MB/s", "bulk-no-offload", "mb_per_s", ceiling="ceiling-no-offload"),
    Row("bulk with path-MTU discovery on loopback, MB/s", "bulk-path-mtu", "mb_per_s", ceiling="ceiling"),
    Row("64 B reliable ordered, messages/s", "small", "messages_per_s", "{:,.0f}"),
    Row("100 B unreliable unordered, messages/s", "unreliable", "messages_per_s", "{:,.0f}"),
    Row("the same, lost %", "unreliable", "lost_percent", "{:.1f}", True),
    Row("round trip 100 B, median µs", "round-trip", "median_us", "{:.0f}", True),
    Row("the same, 99th percentile µs", "round-trip", "p99_us", "{:.0f}", True),
    Row("set-up, both ends in one process, median ms", "set-up", "median_ms", "{:.1f}", True),
    Row("the same, worst ms", "set-up", "worst_ms", "{:.1f}", True),
    Row("the same, CPU ms a pair", "set-up", "cpu_ms", "{:.1f}", True),
    Row("memory a connected pair, kB", "memory", "kb_per_pair", "{:.0f}", True),
    Row("50 pairs, 100 B at 20 Hz, CPU % of a core", "chatter", "cpu_percent", "{:.1f}", True),
)

Values = dict[str, list[dict[str, float]]]


def main() -> int:
    """Measure what the command line asks for. Returns 1 if a measurement of rtcstack failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "rows", nargs="*", metavar="row", help=f"of {', '.join(QUESTIONS)}, in-memory; all if none"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each row; the table has their medians"
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every measured value there too")
    options = parser.parse_args()
    rounds, seconds = (1, 1.5) if options.quick else (options.rounds, 4.0)
    names = chosen(options.rows, parser)
    results = measure(names, rounds, seconds)
    layers = in_memory() if not options.rows or "in-memory" in options.rows else {}
    about = machine() | {"rounds": rounds, "seconds": seconds}
    print(report(results, layers, about))
    if options.json:
        content = {"about": about, "results": results, "in_memory": layers}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(any(OURS in QUESTIONS[name].stacks and not results[name].get(OURS) for name in names))


def chosen(rows: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Tell which questions to ask: those named, with the ceilings that their rows are compared with."""
    if unknown := set(rows) - {*QUESTIONS, "in-memory"}:
        parser.error(f"no row {', '.join(sorted(unknown))}")
    wanted = set(rows or QUESTIONS)
    wanted |= {row.ceiling for row in ROWS if row.question in wanted}
    return [name for name in QUESTIONS if name in wanted]


def measure(names: list[str], rounds: int, seconds: float) -> dict[str, Values]:
    """Ask each question of each stack in each round. Returns question -> stack -> values of each round."""
    results: dict[str, Values] = {name: {} for name in names}
    for number in range(rounds):
        for name in names:
            for stack in QUESTIONS[name].stacks:
                print(
                    f"\r\033[Kround {number + 1} of {rounds}: {name}, {stack}",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
                try:
                    values = QUESTIONS[name].measure(stack, seconds)
                except MeasurementError as error:
                    print(f"\r\033[K{name}, {stack}: {error}", file=sys.stderr)
                else:
                    results[name].setdefault(stack, []).append(values)
    print("\r\033[K", end="", file=sys.stderr)
    return results


def in_memory() -> dict[str, dict[str, Any]]:
    """Run what the layers measure without another process: layer -> figures, nested by case."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    layers = {}
    for path in [*sorted(HERE.glob("memory_*.py")), HERE / "import_time.py"]:
        command = [sys.executable, str(path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        try:
            layers[path.stem.removeprefix("memory_")] = json.loads(done.stdout)
        except ValueError:
            print(f"{path.name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    return layers


def flat(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Walk through nested figures: (names, figure)."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}, ")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value


def machine() -> dict[str, str | int]:
    """Tell where and with what this was measured."""
    names = ("rtcstack", "aiortc", "pyOpenSSL", "cryptography", "crc32c")
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "checkout" if name == "rtcstack" else "missing"
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def report(
    results: dict[str, Values], layers: dict[str, dict[str, Any]], about: dict[str, str | int | float]
) -> str:
    """Write the markdown table."""
    lines = [
        "{date}, {system}, {python}; {versions}. Median of {rounds}, {seconds} s each.\n".format(**about),
    ]
    if results:
        lines += ["| | rtcstack | aiortc | times better | of the ceiling |", "|---|---:|---:|---:|---:|"]
    for row in ROWS:
        if row.question in results:
            ours = median(results[row.question].get(OURS), row.value)
            twin = median(results[row.question].get(TWIN), row.value)
            most = median(results.get(row.ceiling, {}).get(CEILING), row.value)
            cells = [
                row.title,
                "failed" if ours is None else row.form.format(ours),
                "" if twin is None else row.form.format(twin),
                ratio(twin, ours, "{:.1f}") if row.less_is_better else ratio(ours, twin, "{:.1f}"),
                ratio(most, ours, "{:.0%}") if row.less_is_better else ratio(ours, most, "{:.0%}"),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    for name, form in (("ceiling", "with"), ("ceiling-no-offload", "without")):
        speed = median(results.get(name, {}).get(CEILING), "mb_per_s")
        if speed is not None:
            cpu = median(results[name][CEILING], "cpu_s_per_mb")
            lines.append(f"\nThe ceiling {form} GSO and GRO: {speed:.1f} MB/s, {cpu:.4f} CPU s per MB.")
    if layers:
        lines += [
            "",
            "In memory, without another process (names end in the unit):",
            "",
            "| | |",
            "|---|---:|",
        ]
        for layer, figures in layers.items():
            lines += [f"| {layer}: {name} | {value:,.4g} |" for name, value in flat(figures)]
    return "\n".join(lines)


def median(rounds: list[dict[str, float]] | None, value: str) -> float | None:
    """Tell the median of a value over the rounds, None where nothing was measured."""
    return statistics.median(values[value] for values in rounds) if rounds else None


def ratio(a: float | None, b: float | None, form: str) -> str:
    """Write a / b, or nothing where it makes no sense."""
    return form.format(a / b) if a and b else ""


if __name__ == "__main__":
    sys.exit(main())
