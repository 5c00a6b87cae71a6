"""Godot's signals: several callbacks, called in the order in which they were connected."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, TypeAlias, TypeVarTuple

from rtcstack.errors import Error, InvalidParameter

__all__ = ["Emitter", "Signal"]

Arguments = TypeVarTuple("Arguments")

_Held: TypeAlias = Callable[..., object] | weakref.WeakMethod[Any]


class Emitter:
    """What has signals: its own methods may be connected to signals without being kept alive by them.

    Two peers that are wired to each other (`a.ice_candidate_created.connect(b.add_ice_candidate)`, and the
    other way round) would otherwise be a reference cycle, and stay until the garbage collector comes by.  As
    in Godot, a connection does not keep its target: whoever wants it, keeps it to poll() it.
    """


class Signal(Generic[*Arguments]):
    """A list of callbacks that the owner calls from its `poll()`, and from nowhere else.

    It keeps its callbacks alive, except methods of an Emitter.

    name    how the signal is called in messages.
    """

    __slots__ = ("_held", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._held: list[_Held] = []

    def connect(self, callback: Callable[[*Arguments], object]) -> Error:
        """Call `callback` with the signal's arguments from now on; it may be connected only once.

        Raises:
            InvalidParameter: it is connected already, or cannot be called.
        """
        if not callable(callback):
            raise InvalidParameter(f"{callback!r} cannot be called: connect a function or a method")
        held = _hold(callback)
        if held in self._held:
            raise InvalidParameter(f"{callback!r} is connected to {self.name} already")
        self._held.append(held)
        return Error.OK

    def disconnect(self, callback: Callable[[*Arguments], object]) -> None:
        """Stop calling `callback`.

        Raises:
            InvalidParameter: it is not connected.
        """
        held = _hold(callback)
        if held not in self._held:
            raise InvalidParameter(f"{callback!r} is not connected to {self.name}")
        self._held.remove(held)

    def is_connected(self, callback: Callable[[*Arguments], object]) -> bool:
        """Tell whether `callback` is connected."""
        return _hold(callback) in self._held

    @property
    def callbacks(self) -> tuple[Callable[..., object], ...]:
        """The callbacks as they are connected now, in order."""
        found = [held() if isinstance(held, weakref.WeakMethod) else held for held in self._held]
        if None in found:
            self._held = [
                held for held, callback in zip(self._held, found, strict=True) if callback is not None
            ]
        return tuple(callback for callback in found if callback is not None)

    def clear(self) -> None:
        """Forget every callback."""
        self._held.clear()

    def __repr__(self) -> str:
        return f"<Signal {self.name}, {len(self.callbacks)} connected>"


def _hold(callback: Callable[..., object]) -> _Held:
    """Give what the list is to hold; two of the same callback are equal."""
    if isinstance(callback, MethodType) and isinstance(callback.__self__, Emitter):
        return weakref.WeakMethod(callback)
    return callback
