"""Headless Chromium as a program that speaks the JSON lines of interop_process.py over its standard streams.

Arguments: the browser's path, then further flags for it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from playwright.async_api import async_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def emit(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(executable: str, flags: list[str]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with async_playwright() as playwright:
        # playwright gives each browser a fresh profile folder of its own.
        browser = await playwright.chromium.launch(
            executable_path=executable, headless=True, args=[*FLAGS, *flags]
        )
        page = await browser.new_page()
        page.on("console", lambda message: print(message.text, file=sys.stderr))
        page.on("pageerror", lambda error: print(error, file=sys.stderr))
        devtools = await page.context.new_cdp_session(page)
        # A binding keeps the order of its calls, one string a call.
        await devtools.send("Runtime.enable")
        await devtools.send("Runtime.addBinding", {"name": "emitLine"})
        devtools.on("Runtime.bindingCalled", lambda call: emit(call["payload"]))
        await page.add_script_tag(content=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
        emit(json.dumps({"on": "ready"}))
        while line := await reader.readline():
            await page.evaluate("run", json.loads(line))
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
