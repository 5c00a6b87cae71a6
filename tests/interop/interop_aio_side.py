"""Our end of a call behind the asyncio face, in the shape that the tests drive."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from interop_sides import Message, describe_channel

from rtcstack import aio


class AioChannel:
    """A DataChannel of rtcstack.aio: a task sends, another one receives."""

    def __init__(self, side: AioSide, channel: aio.DataChannel) -> None:
        self._side = side
        self._channel = channel
        self._unsent: asyncio.Queue[Message] = asyncio.Queue()
        self.received: list[Message] = []
        side.spawn(self._receive())
        side.spawn(self._send())

    @property
    def label(self) -> str:
        return self._channel.label

    @property
    def protocol(self) -> str:
        return self._channel.protocol

    @property
    def id(self) -> int | None:
        return self._channel.id

    @property
    def state(self) -> str:
        return self._channel.state.name.lower()

    def send(self, *messages: Message) -> None:
        for message in messages:
            self._unsent.put_nowait(message)

    def close(self) -> None:
        self._channel.close()

    async def _receive(self) -> None:
        async for message in self._channel:
            self.received.append(message)

    async def _send(self) -> None:
        await self._channel.opened()
        while True:
            await self._channel.send(await self._unsent.get())


class AioSide:
    """A PeerConnection of rtcstack.aio on a loop of its own, which runs while step() waits."""

    name = "rtcstack"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: list[asyncio.Task[None]] = []
        self.description: tuple[str, str] | None = None
        self.candidates: list[tuple[str, int, str]] = []
        self.channels: list[AioChannel] = []
        self.incoming: list[AioChannel] = []
        self.errors: list[str] = []
        self._connection = self._run(self._make())
        self.spawn(self._watch_channels())

    @property
    def state(self) -> str:
        return self._connection.connection_state.name.lower()

    @property
    def gathered(self) -> bool:
        return self._connection.gathering_state.name == "COMPLETE"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the others; what it raises fails the test."""
        task = self._loop.create_task(work)
        task.add_done_callback(self._finished)
        self._tasks.append(task)

    def create_channel(self, label: str, **options: Any) -> AioChannel:
        async def create() -> AioChannel:
            return AioChannel(self, self._connection.create_data_channel(label, options))

        channel = self._run(create())
        self.channels.append(channel)
        return channel

    def create_offer(self) -> None:
        self.spawn(self._offer())

    def set_remote_description(self, type: str, sdp: str) -> None:
        self.spawn(self._answer(sdp) if type == "offer" else self._connection.accept((type, sdp)))

    def add_candidate(self, mid: str, index: int, candidate: str) -> None:
        async def add() -> None:
            self._connection.add_candidate((mid, index, candidate))

        self._run(add())

    def step(self, timeout: float) -> None:
        self._run(asyncio.sleep(timeout))

    def close(self) -> None:
        self.spawn(self._connection.close())

    def abort(self) -> None:
        async def abort() -> None:
            self._connection.abort()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._run(abort())
        self._loop.close()

    def report(self) -> str:
        lines = [
            f"rtcstack.aio: {self.state}, gathered {self.gathered}, {len(self.candidates)} candidates, "
            f"failure {self._connection.failure_reason!r}",
            *(describe_channel(channel) for channel in self.channels),
        ]
        return "\n  ".join(lines)

    async def _make(self) -> aio.PeerConnection:
        return aio.PeerConnection()

    async def _offer(self) -> None:
        self.description = tuple(await self._connection.offer())
        await self._list_candidates()

    async def _answer(self, sdp: str) -> None:
        self.description = tuple(await self._connection.answer(sdp))
        await self._list_candidates()

    async def _list_candidates(self) -> None:
        async for candidate in self._connection.candidates():
            self.candidates.append(tuple(candidate))

    async def _watch_channels(self) -> None:
        async for channel in self._connection.channels():
            ours = AioChannel(self, channel)
            self.channels.append(ours)
            self.incoming.append(ours)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(repr(error))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)
