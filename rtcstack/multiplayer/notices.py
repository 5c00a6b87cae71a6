"""Signals that wait to be delivered: in order, each callback once, never from inside another call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVarTuple

from rtcstack.peer import Signal

__all__ = ["Notices"]

Arguments = TypeVarTuple("Arguments")


class Notices:
    """What a poll() has to tell the application.

    A callback that raises ends deliver(); the callbacks behind it are called by the next one.
    """

    __slots__ = ("_calls", "_is_delivering", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], tuple[Callable[[], object], ...]]] = deque()
        self._calls: deque[Callable[[], object]] = deque()
        self._is_delivering = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._calls)

    def add(self, signal: Signal[*Arguments], *arguments: *Arguments) -> None:
        """Let deliver() emit a signal; whoever is connected by then is called."""
        self._waiting.append(lambda: tuple(partial(callback, *arguments) for callback in signal.callbacks))

    def call(self, callback: Callable[[], object]) -> None:
        """Let deliver() call this."""
        self._waiting.append(lambda: (callback,))

    def deliver(self) -> None:
        """Call the callbacks of everything added, also of what is added meanwhile.

        From inside one of the callbacks it does nothing: the call that runs goes on to the end.
        """
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._calls or self._waiting:
                if self._calls:
                    self._calls.popleft()()
                else:
                    self._calls.extend(self._waiting.popleft()())
        finally:
            self._is_delivering = False
