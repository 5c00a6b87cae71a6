"""The pages that list all requirements are up to date."""

from __future__ import annotations

import pytest
import wpt_table
from conformance_table import PAGES, Page, table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_table_of_requirements_is_up_to_date(page: Page) -> None:
    """Write it anew with `python tests/conformance/conformance_table.py`."""
    assert page.path.read_text(encoding="utf-8") == table(page)


def test_the_table_of_web_platform_tests_is_up_to_date() -> None:
    """Write it anew with `python tests/conformance/wpt_table.py`."""
    assert wpt_table.DOCUMENT.read_text(encoding="utf-8") == wpt_table.table()
