"""The programs in docs/examples and the demo do what their first lines say."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtcstack.tools.cli import main

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def output_of(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_the_minimal_connection_greets_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert output_of("minimal.py", capsys) == ["P2 received: Hi from P1", "P1 received: Hi from P2"]


def test_two_nodes_meet_through_local_signaling(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(output_of("local_signaling.py", capsys)) == [
        "/root/main/@chat received: Hi from /root/main/@chat2",
        "/root/main/@chat2 received: Hi from /root/main/@chat",
    ]


def test_two_offers_at_once_end_in_one_connection(capsys: pytest.CaptureFixture[str]) -> None:
    assert output_of("perfect_negotiation.py", capsys) == ["Received:  both offered, one connection"]


Program = subprocess.Popen[str]
Start = Callable[..., Program]

PATIENCE = 60.0
"""Seconds after which a program that hangs is ended, so that its test fails instead of hanging too."""


@pytest.fixture
def start() -> Iterator[Start]:
    """Start an example as a program of its own, with pipes; what is left is ended with the test."""
    programs: list[Program] = []
    watchdogs: list[threading.Timer] = []

    def start(name: str, *arguments: str) -> Program:
        program = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=EXAMPLES.parents[1],
            env={"PYTHONPATH": str(EXAMPLES.parents[1])},
        )
        programs.append(program)
        watchdogs.append(threading.Timer(PATIENCE, program.kill))
        watchdogs[-1].start()
        return program

    yield start
    for watchdog in watchdogs:
        watchdog.cancel()
    for program in programs:
        program.kill()
        with program:
            pass  # closes the pipes


def port_of(listener: Program) -> str:
    """The port on which a program waits, as it says itself."""
    assert listener.stdout is not None
    found = re.fullmatch(r"waiting on 127\.0\.0\.1:(\d+)\n", listener.stdout.readline())
    assert found is not None
    return found[1]


def say(program: Program, text: str) -> None:
    assert program.stdin is not None
    program.stdin.write(text + "\n")
    program.stdin.flush()


def hears(program: Program, text: str) -> bool:
    assert program.stdout is not None
    return any(line.rstrip("\n") == f"< {text}" for line in iter(program.stdout.readline, ""))


def test_two_programs_chat_until_one_has_enough(start: Start) -> None:
    listener = start("chat.py", "listen", "--port", "0")
    caller = start("chat.py", "call", "--port", port_of(listener))
    say(caller, "hi there")
    assert hears(listener, "hi there")
    say(listener, "κόσμε")
    assert hears(caller, "κόσμε")
    assert caller.stdin is not None
    caller.stdin.close()
    assert caller.wait() == 0
    say(listener, "still there?")
    assert listener.wait() == 0


def test_a_file_that_is_there_already_stays_and_both_sides_hear_of_it(start: Start, tmp_path: Path) -> None:
    source, folder = tmp_path / "holiday.bin", tmp_path / "incoming"
    source.write_bytes(bytes(1_000))
    folder.mkdir()
    (folder / source.name).write_bytes(b"old")
    receiver = start("file_transfer.py", "receive", str(folder), "--port", "0")
    sender = start("file_transfer.py", "send", str(source), "--port", port_of(receiver))
    assert sender.communicate()[1].splitlines()[-1].endswith("closed by the peer")
    assert "File exists" in receiver.communicate()[1].splitlines()[-1]
    assert (sender.returncode, receiver.returncode) == (1, 1)
    assert (folder / source.name).read_bytes() == b"old"


def test_a_file_arrives_whole_and_its_hash_is_compared(start: Start, tmp_path: Path) -> None:
    source, folder = tmp_path / "holiday.bin", tmp_path / "incoming"
    source.write_bytes(bytes(range(256)) * 4_000)
    folder.mkdir()
    receiver = start("file_transfer.py", "receive", str(folder), "--port", "0")
    sender = start("file_transfer.py", "send", str(source), "--port", port_of(receiver))
    assert sender.communicate()[0] == "arrived, the hash is right\n"
    assert receiver.communicate()[0] == f"received {folder / source.name}\n"
    assert (sender.returncode, receiver.returncode) == (0, 0)
    assert (folder / source.name).read_bytes() == source.read_bytes()


def test_a_ball_is_followed_over_a_path_that_loses_every_tenth_datagram(
    capsys: pytest.CaptureFixture[str],
) -> None:
    *goals, summary = output_of("state_sync.py", capsys)
    assert goals == [f"goal {number}" for number in range(1, 6)]
    found = re.fullmatch(r"(\d+) datagrams lost, 5 of 5 goals told, the ball at most ([\d.]+) off", summary)
    assert found is not None
    assert int(found[1]) > 30
    assert float(found[2]) < 0.02


def test_every_example_is_tested() -> None:
    tested = {"minimal.py", "local_signaling.py", "chat.py", "file_transfer.py", "state_sync.py"}
    tested |= {"perfect_negotiation.py"}
    tested |= {"handshake.py"}  # what two of them share
    tested |= {"browser.py"}  # by a real browser, in tests/interop
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def test_the_demo_prints_both_greetings_and_how_it_connected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["P2 received: Hi from P1", "P1 received: Hi from P2"]
    assert "ms" in lines[2]
    assert "->" in lines[2]
    assert "DTLSv1.2" in lines[2]
    assert len(lines) == 3


def test_the_command_line_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "demo" in capsys.readouterr().out
