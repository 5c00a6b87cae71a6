"""The examples of docs/multiplayer.md run, one after the other, as a reader would run them."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "multiplayer.md"


def test_the_examples_of_the_page_run(capsys):
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "77 has joined"
    assert sorted(line.split()[1] for line in printed[1:3]) == ["RELIABLE", "UNRELIABLE"]
    assert printed[3:] == [
        "77 says hello",
        "the server hears hello",
        "Vector2(x=3.0, y=4.0)",
        "each has heard 2 2 2",
        "1.5",
        "77 has left",
    ]
