"""Two people chat, each at a terminal: what one types, the other reads.

python chat.py listen 192.168.1.23      # on one machine, which has this address
python chat.py call 192.168.1.23        # on the other
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from handshake import answered_by, offered_to

from rtcstack import RTCError, aio


async def show(channel: aio.DataChannel) -> None:
    """Print what the other side writes, until it leaves."""
    async for message in channel:
        print(f"< {message}", flush=True)


async def speak(channel: aio.DataChannel) -> None:
    """Send what is typed, until the input ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await channel.send(line.rstrip("\n"))


async def chat(channel: aio.DataChannel) -> None:
    """Speak and listen until one side has enough."""
    print("connected; an empty input (Ctrl-D) ends the chat", flush=True)
    tasks = {asyncio.create_task(speak(channel)), asyncio.create_task(show(channel))}
    _, unfinished = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in unfinished:
        task.cancel()


async def main() -> None:
    """Read the command line and chat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["listen", "call"])
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    chosen = parser.parse_args()
    meet = offered_to if chosen.role == "listen" else answered_by
    async with meet(chosen.host, chosen.port) as (_, channel):
        await chat(channel)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, RTCError) as error:  # nobody listens there, the other side has left, ...
        sys.exit(str(error))
