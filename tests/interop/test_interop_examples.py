"""The example with a page, as a user runs it: the program, a headless Chromium, a word each way."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def address() -> Iterator[str]:
    """Where the running example serves its page."""
    program = subprocess.Popen(
        [sys.executable, "docs/examples/browser.py", "--port", "0"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    try:
        assert program.stdout is not None
        found = re.search(r"http://\S+", program.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        program.kill()
        program.communicate()


def test_a_page_talks_to_the_program(address: str):
    # What the other tests can do without is imported here.
    from peers.chromium_peer import FLAGS
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        executable = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function("document.querySelector('#log').textContent.includes('Hi from the browser')")
        page.fill("input", "hello, Python")
        page.press("input", "Enter")
        page.wait_for_function("document.querySelector('#log').textContent.includes('heard: hello, Python')")
        assert page.text_content("#state") == "connected"
        browser.close()
