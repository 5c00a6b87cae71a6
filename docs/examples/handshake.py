"""Signaling for two programs of which one can reach the other by TCP: an offer there, an answer back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from rtcstack import aio

LONGEST = 65_536
"""Bytes of the longest description that is read from the other side."""


@contextlib.asynccontextmanager
async def answered_by(host: str, port: int) -> AsyncIterator[tuple[aio.PeerConnection, aio.DataChannel]]:
    """Connect to a program that waits in `offered_to`; gives the connection and its open channel."""
    async with aio.PeerConnection() as peer:
        channel = peer.create_data_channel("main")
        reader, writer = await asyncio.open_connection(host, port, limit=LONGEST)
        # Without trickling one message each way is enough: every candidate is in the description.
        writer.write(json.dumps(await peer.offer(trickle=False)).encode() + b"\n")
        await peer.accept(tuple(json.loads(await reader.readline())))
        writer.close()
        await channel.opened()
        yield peer, channel


@contextlib.asynccontextmanager
async def offered_to(host: str, port: int) -> AsyncIterator[tuple[aio.PeerConnection, aio.DataChannel]]:
    """Wait for a program that connects with `answered_by`; gives the connection and its open channel."""
    calls: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda reader, writer: calls.put_nowait((reader, writer)), host, port, limit=LONGEST
    )
    print(f"waiting on {host}:{server.sockets[0].getsockname()[1]}", flush=True)
    reader, writer = await calls.get()
    server.close()
    async with aio.PeerConnection() as peer:
        offer = json.loads(await reader.readline())
        writer.write(json.dumps(await peer.answer(tuple(offer), trickle=False)).encode() + b"\n")
        await writer.drain()
        writer.close()
        async for channel in peer.channels():
            await channel.opened()
            yield peer, channel
            break
