"""Runs what is measured in processes of its own, so that nothing of one measurement is left in the next."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

Result = dict[str, Any]

TIMEOUT = 60.0
"""Seconds after which a measurement has failed."""


class MeasurementError(Exception):
    """A measurement brought no result."""


def run_pair(
    first: Callable[..., Result], second: Callable[..., Result], *arguments: Any
) -> tuple[Result, Result]:
    """Run two functions in two new processes, with a pipe between them.

    first, second   functions of a module; called with their end of the pipe and the arguments.
    Returns what both return.

    Raises:
        MeasurementError: one of them raised, or time is out.
    """
    ends = multiprocessing.get_context("spawn").Pipe()
    return tuple(_run([(first, (ends[0], *arguments)), (second, (ends[1], *arguments))]))  # type: ignore[return-value]


def run_alone(function: Callable[..., Result], *arguments: Any) -> Result:
    """Run one function in a new process; otherwise as run_pair()."""
    return _run([(function, arguments)])[0]


def _run(calls: list[tuple[Callable[..., Result], tuple[Any, ...]]]) -> list[Result]:
    context = multiprocessing.get_context("spawn")
    processes, answers = [], []
    for function, arguments in calls:
        answer, report = context.Pipe(duplex=False)
        process = context.Process(target=_report, args=(report, function, arguments), daemon=True)
        process.start()
        report.close()
        processes.append(process)
        answers.append(answer)
    try:
        return _collect(answers)
    finally:
        for process in processes:
            process.join(1.0)
            process.kill()
            process.join()


def _collect(answers: list[Connection]) -> list[Result]:
    results: dict[Connection, Result] = {}
    until = time.monotonic() + TIMEOUT
    while len(results) < len(answers):
        ready = wait([answer for answer in answers if answer not in results], until - time.monotonic())
        if not ready:
            raise MeasurementError(f"no result after {TIMEOUT:.0f} s")
        for answer in ready:
            assert isinstance(answer, Connection)
            try:
                result = answer.recv()
            except EOFError:
                raise MeasurementError("the process has died") from None
            if isinstance(result, str):
                raise MeasurementError(result)
            results[answer] = result
    return [results[answer] for answer in answers]


def _report(report: Connection, function: Callable[..., Result], arguments: tuple[Any, ...]) -> None:
    try:
        report.send(function(*arguments))
    except BaseException as error:
        report.send(f"{type(error).__name__}: {error}")
        raise
