"""Godot's signals: several callbacks, called in the order in which they were connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVarTuple

from rtcstack.errors import Error, InvalidParameter

__all__ = ["Signal"]

Arguments = TypeVarTuple("Arguments")


class Signal(Generic[*Arguments]):
    """A list of callbacks that the owner calls from its `poll()`, and from nowhere else.

    name    how the signal is called in messages.
    """

    __slots__ = ("_callbacks", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._callbacks: list[Callable[[*Arguments], object]] = []

    def connect(self, callback: Callable[[*Arguments], object]) -> Error:
        """Call `callback` with the signal's arguments from now on; it may be connected only once.

        Raises:
            InvalidParameter: it is connected already, or cannot be called.
        """
        if not callable(callback):
            raise InvalidParameter(f"{callback!r} cannot be called: connect a function or a method")
        if callback in self._callbacks:
            raise InvalidParameter(f"{callback!r} is connected to {self.name} already")
        self._callbacks.append(callback)
        return Error.OK

    def disconnect(self, callback: Callable[[*Arguments], object]) -> None:
        """Stop calling `callback`.

        Raises:
            InvalidParameter: it is not connected.
        """
        if callback not in self._callbacks:
            raise InvalidParameter(f"{callback!r} is not connected to {self.name}")
        self._callbacks.remove(callback)

    def is_connected(self, callback: Callable[[*Arguments], object]) -> bool:
        """Tell whether `callback` is connected."""
        return callback in self._callbacks

    @property
    def callbacks(self) -> tuple[Callable[[*Arguments], object], ...]:
        """The callbacks as they are connected now, in order."""
        return tuple(self._callbacks)

    def clear(self) -> None:
        """Forget every callback."""
        self._callbacks.clear()

    def __repr__(self) -> str:
        return f"<Signal {self.name}, {len(self._callbacks)} connected>"
