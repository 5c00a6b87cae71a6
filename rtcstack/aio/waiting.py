"""Lets coroutines wait until something is so, without a task and without a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Waiters"]


class Waiters:
    """Coroutines that wait for conditions; whoever changes something calls wake()."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return bool(self._futures)

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once the condition holds; it is looked at now and after each wake()."""
        while not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._futures.append(future)
            try:
                await future
            finally:
                if future in self._futures:  # cancelled
                    self._futures.remove(future)

    def wake(self) -> None:
        """Let everybody look again."""
        futures, self._futures = self._futures, []
        for future in futures:
            if not future.done():
                future.set_result(None)
