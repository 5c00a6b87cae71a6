"""Lets coroutines wait until something is so, without a task and without a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Waiters"]


class Waiters:
    """Coroutines that wait for conditions; whoever changes something calls wake()."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once the condition holds; it is looked at now, at each wake(), and after it."""
        while not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = (condition, future)
            self._waiting.append(waiting)
            try:
                await future
            finally:
                if waiting in self._waiting:  # cancelled
                    self._waiting.remove(waiting)

    def wake(self) -> bool:
        """Let those go on whose condition holds now.  Returns whether there was one."""
        ready = [waiting for waiting in self._waiting if waiting[0]()]
        if not ready:
            return False
        self._waiting = [waiting for waiting in self._waiting if waiting not in ready]
        for _, future in ready:
            if not future.done():
                future.set_result(None)
        return True
