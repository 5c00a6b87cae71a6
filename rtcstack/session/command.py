"""What every command of a session ends with, in one place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["command"]


class _Pumped(Protocol):
    def _pump(self) -> None: ...


_Owner = TypeVar("_Owner", bound=_Pumped)
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def command(
    method: Callable[Concatenate[_Owner, _Given], _Result],
) -> Callable[Concatenate[_Owner, _Given], _Result]:
    """Mark a method that changes the session: once it is done, its effects are carried from layer to layer.

    Then `deadline` is -inf, so that whoever drives the session asks for what is to be sent.  Every public
    method of a session is a command, or changes nothing, or is called for each message or datagram and sees
    to `deadline` itself; a test knows those by name.
    """

    @functools.wraps(method)
    def run(self: _Owner, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        try:
            return method(self, *args, **kwargs)
        finally:
            self._pump()

    return run
