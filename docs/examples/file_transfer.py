"""A file goes from one machine to another, with progress, back-pressure and a hash at the end.

python file_transfer.py receive incoming/ 192.168.1.23   # on one machine, which has this address
python file_transfer.py send holiday.mp4 192.168.1.23    # on the other
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import time
from pathlib import Path

from handshake import answered_by, offered_to

from rtcstack import RTCError, aio

PIECE = 65_536
"""Bytes of one message: every WebRTC peer takes that much."""


class Progress:
    """Tells on one line how far it is, once every half second."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._began = self._told = time.monotonic()

    def tell(self, done: int, buffered: int = 0) -> None:
        """Print rate, rest and what waits to be sent."""
        now = time.monotonic()
        if now - self._told < 0.5 and done < self._size:
            return
        self._told = now
        rate = done / max(now - self._began, 1e-6)
        left = (self._size - done) / max(rate, 1.0)
        print(
            f"{done}/{self._size} bytes, {rate / 1e6:.1f} MB/s, {left:.0f} s left, {buffered} buffered",
            file=sys.stderr,
        )


async def send(channel: aio.DataChannel, path: Path) -> bool:
    """Send one file: its name and size, its bytes, its hash; tells whether it has arrived unharmed."""
    size = path.stat().st_size
    await channel.send(json.dumps({"name": path.name, "size": size}))
    progress, digest, done = Progress(size), hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            await channel.send(piece)  # waits while too much is on its way
            done += len(piece)
            progress.tell(done, channel.buffered_amount)
    await channel.send(json.dumps({"sha256": digest.hexdigest()}))
    return await channel.receive() == "ok"


async def receive(channel: aio.DataChannel, folder: Path) -> Path | None:
    """Receive one file into the folder; gives its path, None if its hash is wrong."""
    head = json.loads(await channel.receive())
    # A name from outside must not lead out of the folder, nor over what is there.
    path = folder / Path(head["name"]).name
    progress, digest, done = Progress(head["size"]), hashlib.sha256(), 0
    with path.open("xb") as file:
        while done < head["size"]:
            piece = await channel.receive()
            if isinstance(piece, str):
                break
            digest.update(piece)
            file.write(piece)
            done += len(piece)
            progress.tell(done)
    is_intact = json.loads(await channel.receive())["sha256"] == digest.hexdigest()
    await channel.send("ok" if is_intact else "the hash is another one")
    return path if is_intact else None


async def main() -> int:
    """Read the command line and move one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["receive", "send"])
    parser.add_argument("path", type=Path)
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    chosen = parser.parse_args()
    if chosen.role == "send":
        async with answered_by(chosen.host, chosen.port) as (_, channel):
            arrived = await send(channel, chosen.path)
            print("arrived, the hash is right" if arrived else "the other side has another hash")
            return 0 if arrived else 1
    async with offered_to(chosen.host, chosen.port) as (_, channel):
        path = await receive(channel, chosen.path)
        print(f"received {path}" if path else "the hash is another one")
        await channel.closed()
        return 0 if path else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except (OSError, RTCError) as error:  # nobody listens there, no such folder, the other side has left, ...
        sys.exit(str(error))
