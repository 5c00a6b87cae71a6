"""A real server on loopback, and clients that speak the protocol by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from websockets.asyncio import client
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from rtcstack.signaling import Limits, Server, ServerOptions
from rtcstack.signaling.messages import Kind, Message

Result = TypeVar("Result")

_dialled: list[ClientConnection] = []
"""Connections that run() closes at the end."""


def run(story: Coroutine[Any, Any, Result]) -> Result:
    """Run a story in an event loop; one that hangs fails."""

    async def bounded() -> Result:
        try:
            async with asyncio.timeout(60):
                return await story
        finally:
            while _dialled:
                await _dialled.pop().close()

    return asyncio.run(bounded())


@asynccontextmanager
async def serving(limits: Limits | None = None, **options: Any) -> AsyncIterator[Server]:
    async with Server(ServerOptions(port=0, limits=limits or Limits(), **options)) as server:
        yield server


async def connect(url: str, **options: Any) -> ClientConnection:
    """Connect and say nothing."""
    connection = await client.connect(url, compression=None, **options)
    _dialled.append(connection)
    return connection


async def enter(
    url: str, lobby: str = "", *, flag: int = 0, **options: Any
) -> tuple[ClientConnection, int, str, list[Message]]:
    """Connect and join; returns the connection, our id, the lobby, and whom the server announced."""
    connection = await connect(url, **options)
    await connection.send(Message(Kind.JOIN, flag, lobby).write())
    heard = [await hear(connection)]
    while heard[-1].kind != Kind.JOIN:
        heard.append(await hear(connection))
    return connection, heard[0].id, heard[-1].data, heard[1:-1]


async def hear(connection: ClientConnection) -> Message:
    return Message.parse(str(await connection.recv()))


async def end_of(connection: ClientConnection) -> tuple[int | None, str | None]:
    """Wait until the connection is closed: code and reason."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        return connection.close_code, connection.close_reason


async def fetch(server: Server, path: str, *headers: str) -> tuple[int, str]:
    """Ask for a page by plain HTTP: status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


class ServerThread:
    """A server in an event loop of its own."""

    def __init__(self, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.options = ServerOptions(**{"port": 0, **options})
        self.start()

    def start(self) -> None:
        self.server = Server(self.options)
        self.run(self.server.start())
        self.url = self.server.url

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def cut(self) -> None:
        """Cut every connection as a network does."""

        async def cut() -> None:
            for connection in self.server.connections():
                connection.transport.abort()

        self.run(cut())

    def stop(self) -> None:
        self.run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
