"""The programs in docs/examples and the demo do what their first lines say."""

from __future__ import annotations

import runpy
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


def test_every_example_is_tested() -> None:
    tested = {"minimal.py", "local_signaling.py"}
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
