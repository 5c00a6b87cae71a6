"""Write docs/conformance-sctp.md: which requirement of which RFC is held by which test.

    python tests/conformance/conformance_table.py

The first line of a test's docstring is the requirement: `RFC 9260 §5.1: what is demanded.`
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
DOCUMENT = FOLDER.parents[1] / "docs" / "conformance-sctp.md"

_REQUIREMENT = re.compile(
    r"(?P<source>RFC (?P<rfc>\d+) §(?P<section>[\d.]+)[^:]*|draft-[\w-]+): (?P<text>.+)"
)

HEAD = """\
# SCTP and data channels: requirement by requirement

Every row is a test in `tests/conformance`; the sections are those of the RFCs. The page is written from
the tests by `python tests/conformance/conformance_table.py`, and a test sees that it is up to date. A test
that is marked † is known to fail.
"""


class Row(NamedTuple):
    """One requirement and the test that holds it."""

    standard: str
    section: tuple[int, ...]
    source: str
    text: str
    test: str


def rows_of(path: Path) -> Iterator[Row]:
    """Read the requirements of one file.

    Raises ValueError if a test does not begin with one.
    """
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        found = _REQUIREMENT.match((ast.get_docstring(node) or "").partition("\n")[0])
        if found is None:
            raise ValueError(f"{path.name}: {node.name} does not say which requirement it holds")
        fails = any("xfail" in ast.unparse(decorator) for decorator in node.decorator_list)
        source = found["source"]
        standard = f"RFC {found['rfc']}" if found["rfc"] else source
        section = tuple(int(part) for part in (found["section"] or "0").strip(".").split("."))
        place = source.removeprefix(standard).strip()
        yield Row(standard, section, place, found["text"], node.name + (" †" if fails else ""))


def table() -> str:
    """Give the whole page."""
    rows = [row for path in sorted(FOLDER.glob("test_conformance_sctp_*.py")) for row in rows_of(path)]
    standards = sorted({row.standard for row in rows}, key=lambda name: (name != "RFC 9260", name))
    parts = [HEAD, f"{len(rows)} requirements.\n"]
    for standard in standards:
        parts.append(f"## {standard}\n\n| section | requirement | test |\n|---|---|---|")
        of_it = sorted((row for row in rows if row.standard == standard), key=lambda row: row[1:3])
        parts += [f"| {row.source} | {row.text} | `{row.test}` |" for row in of_it]
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(table(), encoding="utf-8")
