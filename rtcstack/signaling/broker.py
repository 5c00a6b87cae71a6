"""What makes one cluster of several servers: a directory of lobbies and a post office, in Redis."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

__all__ = ["Broker", "RedisBroker"]

logger = logging.getLogger("rtcstack.signaling")

_EXPIRY = 30
"""Seconds after which the directory forgets a lobby whose server says nothing."""

_REFRESH = 10.0
"""Seconds between two sayings."""

_ANSWER_TIMEOUT = 2.0
"""Seconds that the directory has to answer."""

_RETRY = 0.5
"""Seconds between two attempts to reach Redis."""

_MOST_QUEUED = 50_000
"""Commands that may wait for Redis; what is dropped then, links send again."""


class Broker(Protocol):
    """What a server needs of a broker."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker can be reached."""

    async def start(self, hear: Callable[[str, str], None], back: Callable[[], None]) -> None:
        """Begin: `hear(server, frame)` gets what others publish for us, `back()` tells of an outage's end."""

    async def stop(self) -> None:
        """Take our lobbies out of the directory and end."""

    async def find(self, lobby: str) -> str | None:
        """Return the server that a lobby lives on.

        Raises:
            OSError: the directory does not answer.
        """

    def change(self, opened: Iterable[str], closed: Iterable[str]) -> None:
        """Put lobbies into the directory, and take others out."""

    def publish(self, server: str, frame: str) -> None:
        """Bring a frame to another server; it may get lost."""


class RedisBroker:
    """A broker in Redis.

    url     redis://[user:password@]host[:port][/database], rediss:// with TLS, or unix:///path.
    prefix  of all names in Redis: clusters with different prefixes do not meet.

    `PREFIX:lobby:NAME` holds the name of the server that the lobby lives on, for 30 seconds at a time;
    each server hears the channel `PREFIX:server:SERVER`.  Nothing else is kept: Redis may lose all of it, and
    the servers fill it anew.

    Raises:
        ValueError: the URL cannot be read.
        ModuleNotFoundError: the package redis is not installed.
    """

    def __init__(self, url: str, prefix: str = "rtcstack") -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "a cluster needs the package redis: pip install 'rtcstack[signaling,redis]'", name="redis"
            ) from error

        self.name = os.urandom(8).hex()
        self._prefix = prefix
        # A connection of its own for each: the one that waits for messages must not end a command's wait.
        options: dict[str, Any] = {
            "decode_responses": True,
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": _ANSWER_TIMEOUT,
        }
        self._commands = Redis.from_url(url, socket_timeout=_ANSWER_TIMEOUT, **options)
        self._messages = Redis.from_url(url, **options)
        self._lobbies: set[str] = set()
        self._queue: asyncio.Queue[tuple[str, ...]] = asyncio.Queue(_MOST_QUEUED)
        self._tasks: list[asyncio.Task[None]] = []
        self.is_connected = False

    async def start(self, hear: Callable[[str, str], None], back: Callable[[], None]) -> None:
        """Reach Redis and begin.

        Raises:
            OSError: Redis cannot be reached.
        """
        from redis.exceptions import RedisError

        self._failures = (RedisError, OSError, asyncio.TimeoutError)
        try:
            await self._commands.ping()
        except self._failures as error:
            raise OSError(f"Redis cannot be reached: {error}") from error
        ready = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._listen(hear, back, ready)),
            asyncio.create_task(self._write()),
            asyncio.create_task(self._refresh()),
        ]
        await ready.wait()

    async def stop(self) -> None:
        """Take our lobbies out of the directory and end."""
        self.change((), tuple(self._lobbies))
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                await self._queue.join()
        except TimeoutError:
            pass  # The directory forgets them by itself.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._commands.aclose()
        await self._messages.aclose()

    async def find(self, lobby: str) -> str | None:
        """Return the server that a lobby lives on.

        Raises:
            OSError: Redis does not answer.
        """
        try:
            found = await self._commands.get(self._key_of(lobby))
        except self._failures as error:
            raise OSError(f"Redis does not answer: {error}") from error
        # A name of our own is one that has just ended.
        return None if found is None or found == self.name else str(found)

    def change(self, opened: Iterable[str], closed: Iterable[str]) -> None:
        """Put lobbies into the directory, and take others out."""
        for lobby in opened:
            self._lobbies.add(lobby)
            self._enqueue("SET", self._key_of(lobby), self.name, "EX", str(_EXPIRY))
        for lobby in closed:
            self._lobbies.discard(lobby)
            self._enqueue("DEL", self._key_of(lobby))

    def publish(self, server: str, frame: str) -> None:
        """Bring a frame to another server; it gets lost if Redis is away."""
        self._enqueue("PUBLISH", f"{self._prefix}:server:{server}", f"{self.name}\n{frame}")

    def _key_of(self, lobby: str) -> str:
        return f"{self._prefix}:lobby:{lobby}"

    def _enqueue(self, *command: str) -> None:
        if not self._queue.full():
            self._queue.put_nowait(command)

    async def _write(self) -> None:
        """Bring commands to Redis in order, as many at once as there are; lost ones are not repeated."""
        while True:
            commands = [await self._queue.get()]
            while not self._queue.empty() and len(commands) < 500:
                commands.append(self._queue.get_nowait())
            pipeline = self._commands.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            try:
                await pipeline.execute()
            except self._failures as error:
                logger.warning("Redis takes nothing: %s", error, extra={"event": "broker failed"})
                await asyncio.sleep(_RETRY)
            finally:
                for _ in commands:
                    self._queue.task_done()

    async def _listen(
        self, hear: Callable[[str, str], None], back: Callable[[], None], ready: asyncio.Event
    ) -> None:
        """Hear our channel for as long as we live, across outages."""
        while True:
            try:
                async with self._messages.pubsub() as channel:
                    await channel.subscribe(f"{self._prefix}:server:{self.name}")
                    async for message in channel.listen():
                        if message["type"] == "subscribe":
                            self.is_connected = True
                            self._register_again()
                            if ready.is_set():
                                back()
                            ready.set()
                        elif message["type"] == "message":
                            server, _, frame = message["data"].partition("\n")
                            hear(server, frame)
            except self._failures as error:
                if self.is_connected:
                    logger.warning("Redis is away: %s", error, extra={"event": "broker lost"})
                self.is_connected = False
            await asyncio.sleep(_RETRY)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH)
            self._register_again()

    def _register_again(self) -> None:
        for lobby in self._lobbies:
            self._enqueue("SET", self._key_of(lobby), self.name, "EX", str(_EXPIRY))
