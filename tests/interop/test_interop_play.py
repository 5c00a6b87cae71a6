"""The web page in headless Chromium: it joins, chats with Python, draws its graphs, and drags its dot.

RTCSTACK_SCREENSHOT=1 writes docs/images/play.png anew: only when the page has changed on purpose.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop

SCREENSHOT = Path(__file__).parents[2] / "docs" / "images" / "play.png"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]


@asynccontextmanager
async def played() -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """`python -m rtcstack play`, and the URL that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtcstack", "play", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().split()[1], process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def browser() -> AsyncIterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        pytest.fail(
            "Chromium or playwright is missing: apt-get install chromium; pip install -e '.[interop]'"
        )
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield running
        await running.close()


async def open_page(running: Any, url: str, name: str, **options: Any) -> tuple[Any, list[str]]:
    """Open the page as somebody; returns it and the errors that it will have."""
    context = await running.new_context(**options)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(url.replace("/#", f"/?name={name}#"))
    return page, errors


async def shows(page: Any, expression: str, argument: object = None) -> None:
    await page.wait_for_function(expression, arg=argument, timeout=30_000)


HAS_PEERS = "count => document.querySelectorAll('#people li[data-state=open]').length === count"
HAS_SAID = "text => [...document.querySelectorAll('#chat li')].some(line => line.textContent.includes(text))"
HAS_GRAPH = """
    name => [...document.querySelectorAll(`#people .${name} canvas`)].every(canvas => {
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let drawn = 0;
        for (let at = 3; at < pixels.length; at += 4) drawn += pixels[at] > 100;
        return drawn > canvas.width * 1.5;  // more than the base line
    })"""


def test_two_browsers_and_python_meet_chat_and_measure_each_other() -> None:
    async def story() -> None:
        async with played() as (url, process), browser() as running:
            ada, ada_errors = await open_page(running, url, "Ada", viewport={"width": 1280, "height": 800})
            phone = {"width": 390, "height": 844}
            grace, grace_errors = await open_page(running, url, "Grace", viewport=phone)
            for page in (ada, grace):
                await shows(page, HAS_PEERS, 2)
            await ada.fill("#chat input", "Hello from a browser")
            await ada.press("#chat input", "Enter")
            await shows(grace, HAS_SAID, "AdaHello from a browser")
            await shows(ada, HAS_SAID, "Python“Hello from a browser”, says Ada")
            await grace.fill("#chat input", "stats")
            await grace.press("#chat input", "Enter")
            await shows(grace, HAS_SAID, "Pythonthe path to you is")
            await shows(ada, HAS_SAID, "Gracestats")
            # A phone's screen is not wider than its page.
            assert await grace.evaluate("document.documentElement.scrollWidth <= innerWidth")

            box = await ada.locator("#arena canvas").bounding_box()
            await ada.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            await ada.mouse.down()
            await ada.mouse.move(box["x"] + 5, box["y"] + 5, steps=30)
            await ada.mouse.up()
            await ada.locator("#people li", has_text="Python").get_by_role("button").click()
            for name in ("rtt", "rate", "loss"):
                await shows(ada, HAS_GRAPH, name)
            await shows(
                ada, "() => /^[\\d.]+ ms$/.test(document.querySelector('#people .rtt b').textContent)"
            )
            if os.environ.get("RTCSTACK_SCREENSHOT"):
                linus, _ = await open_page(running, url, "Linus")
                await shows(linus, HAS_PEERS, 3)
                await linus.fill("#chat input", "hi from the third tab")
                await linus.press("#chat input", "Enter")
                await take_screenshot(ada, box)
                await linus.close()
            assert ada_errors == grace_errors == []
            process.terminate()  # signaling and bot go, the two browsers go on
            await shows(ada, HAS_PEERS, 1)
            await ada.fill("#chat input", "just us")
            await ada.press("#chat input", "Enter")
            await shows(grace, HAS_SAID, "Adajust us")

    asyncio.run(asyncio.wait_for(story(), 120))


async def take_screenshot(page: Any, box: dict[str, float]) -> None:
    """Play until there is something to see."""
    SCREENSHOT.parent.mkdir(exist_ok=True)
    await page.mouse.move(box["x"] + 300, box["y"] + 250)
    await page.mouse.down()
    for step in range(600):
        angle = step / 25
        x, y = 300 + 120 * math.sin(angle), 250 + 90 * math.cos(angle)
        await page.mouse.move(box["x"] + x, box["y"] + y)
        await asyncio.sleep(1 / 60)
        if step % 110 == 0:
            await page.evaluate(
                "document.querySelectorAll('#people li button').forEach(each => each.click())"
            )
    await page.screenshot(path=SCREENSHOT)
    await page.mouse.up()


def test_the_door_says_what_is_wrong_and_lets_one_try_again() -> None:
    async def story() -> None:
        async with played() as (url, _), browser() as running:
            page, errors = await open_page(running, url.rpartition("#")[0] + "#nope", "Ada")
            await page.goto(url.rpartition("#")[0] + "#nope")
            await page.get_by_role("button", name="Join").click()
            await shows(
                page, "() => document.querySelector('#trouble').textContent === 'Lobby does not exists'"
            )
            await page.get_by_label("Lobby").fill(url.rpartition("#")[2])
            await page.get_by_role("button", name="Join").click()
            await shows(page, HAS_PEERS, 1)
            assert errors == []

    asyncio.run(asyncio.wait_for(story(), 60))
