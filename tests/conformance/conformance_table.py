"""Write docs/conformance-*.md: which requirement of which RFC is held by which test.

    python tests/conformance/conformance_table.py

The first line of a test's docstring is the requirement: `RFC 9260 §5.1: what is demanded.`  Where it names
the section only, the name of the test is the requirement.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"

_REQUIREMENT = re.compile(
    r"(?P<source>RFC (?P<rfc>\d+) §(?P<section>[\d.]+)[^:]*|draft-[\w-]+): (?P<text>.+)"
)
_REFERENCES = re.compile(r"RFC \d+[^:]*")
_REFERENCE = re.compile(r"RFC (?P<rfc>\d+)|§(?P<section>\d[\d.]*\d|\d)|appendix (?P<appendix>[A-Z][\d.]*\d)")
_BARE = re.compile(r"(RFC \d+|§[\d.]*\d|and|to|[\s,;]|rules? [\d, and]+|(step|modes?|draft) \d+)+")

_ICE_STANDARDS = (
    *(8445, 8421, 8838, 8839, 8840, 8863, 7675, 6544, 4571, 8828),
    *(8489, 5769, 5780, 8656, 7064, 7065),
)

_ICE_FILES = (
    "configuration",
    "ice_descriptions",
    "network_changes",
    "restart",
    "safety",
    "servers",
    "tcp",
    "timing",
)

HEAD = """\
# {title}

Every row is a test in `{place}`; the sections are those of the RFCs. The page is written from
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


class Page(NamedTuple):
    """One document.

    name        of the file in docs.
    place       where its tests are, in words.
    patterns    of the files below tests.
    standards   those whose rows are shown, the first ones in this order; none for all of them.
    """

    name: str
    title: str
    place: str
    patterns: tuple[str, ...]
    standards: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it is written to."""
        return DOCS / self.name


SCTP = Page(
    "conformance-sctp.md",
    "SCTP and data channels: requirement by requirement",
    "tests/conformance",
    ("conformance/test_conformance_sctp_*.py",),
    ("RFC 9260",),
)
ICE = Page(
    "conformance-ice.md",
    "ICE, STUN and TURN: requirement by requirement",
    "tests",
    (
        *("ice/test_*.py", "stun/test_*.py", "turn/test_*.py", "conformance/test_conformance_nat_*.py"),
        *(f"peer/test_peer_{name}.py" for name in _ICE_FILES),
        *("net/test_net_framing.py", "testing/test_testing_servers.py", "tools/test_tools_doctor_nat.py"),
    ),
    tuple(f"RFC {number}" for number in _ICE_STANDARDS),
)
PAGES = (SCTP, ICE)


def _tests_of(path: Path) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Give each test of a file with the first line of its docstring."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node, (ast.get_docstring(node) or "").partition("\n")[0]


def _name(node: ast.FunctionDef) -> str:
    fails = any("xfail" in ast.unparse(decorator) for decorator in node.decorator_list)
    return node.name + (" †" if fails else "")


def rows_of(path: Path) -> Iterator[Row]:
    """Read the requirements of one file of conformance tests.

    Raises ValueError if a test does not begin with one.
    """
    for node, line in _tests_of(path):
        found = _REQUIREMENT.match(line)
        if found is None:
            raise ValueError(f"{path.name}: {node.name} does not say which requirement it holds")
        source = found["source"]
        standard = f"RFC {found['rfc']}" if found["rfc"] else source
        section = tuple(int(part) for part in (found["section"] or "0").strip(".").split("."))
        yield Row(standard, section, source.removeprefix(standard).strip(), found["text"], _name(node))


def rows_among(path: Path) -> Iterator[Row]:
    """Read the requirements that some tests of a file begin with; a test may stand for several sections."""
    for node, line in _tests_of(path):
        found = _REFERENCES.match(line)
        if found is None:
            continue
        prefix = found[0]
        if line[len(prefix) : len(prefix) + 2] == ": ":
            text = line[len(prefix) + 2 :]
        elif _BARE.fullmatch(prefix.rstrip(". ")):
            text = f"{node.name.removeprefix('test_').replace('_', ' ')}."
        else:
            text = line
        standard = ""
        for reference in _REFERENCE.finditer(prefix):
            if reference["rfc"]:
                standard = f"RFC {reference['rfc']}"
            elif reference["section"]:
                section = tuple(int(part) for part in reference["section"].split("."))
                yield Row(standard, section, f"§{reference['section']}", text, _name(node))
            else:
                yield Row(standard, (99,), f"appendix {reference['appendix']}", text, _name(node))


def table(page: Page) -> str:
    """Give a whole page."""
    read = rows_of if page is SCTP else rows_among
    paths = sorted(path for pattern in page.patterns for path in TESTS.glob(pattern))
    rows = [row for path in paths for row in read(path)]
    if page is not SCTP:
        rows = [row for row in rows if row.standard in page.standards]
    known = {name: place for place, name in enumerate(page.standards)}
    standards = sorted({row.standard for row in rows}, key=lambda name: (known.get(name, len(known)), name))
    parts = [HEAD.format(title=page.title, place=page.place), f"{len(rows)} requirements.\n"]
    for standard in standards:
        parts.append(f"## {standard}\n\n| section | requirement | test |\n|---|---|---|")
        of_it = sorted((row for row in rows if row.standard == standard), key=lambda row: row[1:3])
        parts += [f"| {row.source} | {row.text} | `{row.test}` |" for row in of_it]
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    for each in PAGES:
        each.path.write_text(table(each), encoding="utf-8")
