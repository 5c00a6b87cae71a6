"""The page that lists all requirements is up to date."""

from __future__ import annotations

from conformance_table import DOCUMENT, table


def test_the_table_of_requirements_is_up_to_date() -> None:
    """Write it anew with `python tests/conformance/conformance_table.py`."""
    assert DOCUMENT.read_text(encoding="utf-8") == table()
