"""The examples of docs/testing.md run, one after the other, as a reader would run them."""

from __future__ import annotations

import re
from pathlib import Path

from rtcstack.testing import Conditions, NatOptions

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_examples_of_the_page_run(capsys):
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "of 300 positions arrived" in printed
    assert "did you get all that?" in printed
    assert "open after" in printed
    assert "relay 203.0.113.2:" in printed
    assert "datagrams did not get into the cell" in printed


def test_the_tables_name_every_condition_and_option():
    named = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert {*Conditions.__annotations__, *NatOptions.__annotations__} <= named
