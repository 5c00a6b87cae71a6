"""Numbers that stand for paths, in both directions between us and one other peer."""

from __future__ import annotations

from typing import NamedTuple

from rtcstack.multiplayer.remote import Node

__all__ = ["MOST_PATHS", "PathCache"]

MOST_PATHS = 4096
"""Paths that one peer may announce to us."""

LONGEST_PATH = 1024
"""Bytes of such a path; what is longer can be called by its path only."""


class _Incoming(NamedTuple):
    path: str
    node: Node | None


class PathCache:
    """What one peer knows of our paths, and we of its.

    has_old_form    whether it confirms as Godot 4.0 to 4.2 do, by the path; None until it was seen.
    """

    __slots__ = ("_announced", "_confirmed", "_ids", "_incoming", "has_old_form")

    def __init__(self, has_old_form: bool | None) -> None:
        self.has_old_form = has_old_form
        self._announced: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._confirmed: set[int] = set()
        self._incoming: dict[int, _Incoming] = {}

    def is_announced(self, cache_id: int) -> bool:
        """Tell whether the peer was told of a number."""
        return cache_id in self._announced

    def announce(self, cache_id: int, path: str) -> None:
        """Note that the peer was told of a number."""
        self._announced[cache_id] = path
        self._ids[path] = cache_id

    def is_confirmed(self, cache_id: int) -> bool:
        """Tell whether the peer understands a number."""
        return cache_id in self._confirmed

    def confirm(self, cache_id: int | None, path: str) -> str | None:
        """Note that the peer has confirmed a number, whose form is told by what was announced.

        Returns the path; None if it was not announced.
        """
        if cache_id is not None and cache_id in self._announced:
            self.has_old_form = False
        else:
            cache_id = self._ids.get(path)
            if cache_id is None:
                return None
            self.has_old_form = True
        self._confirmed.add(cache_id)
        return self._announced[cache_id]

    def learn(self, cache_id: int, path: str, node: Node | None) -> bool:
        """Note a number of the peer's; False if it is taken, or there are too many."""
        if cache_id in self._incoming or len(self._incoming) >= MOST_PATHS or len(path) > LONGEST_PATH:
            return False
        self._incoming[cache_id] = _Incoming(path, node)
        return True

    def node(self, cache_id: int) -> Node | None:
        """Find the node that a number of the peer's stands for."""
        known = self._incoming.get(cache_id)
        return None if known is None else known.node

    def path(self, cache_id: int) -> str | None:
        """Find the path that a number of the peer's stands for."""
        known = self._incoming.get(cache_id)
        return None if known is None else known.path
