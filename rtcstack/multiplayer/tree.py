"""The nodes that both sides of a game know, by their paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rtcstack.errors import InvalidParameter
from rtcstack.multiplayer.remote import Node

__all__ = ["Tree"]


class Tree:
    """Nodes by path, relative to a root path or absolute.

    root_path   absolute path of the node that relative paths begin at.

    Raises:
        InvalidParameter: it is not absolute.
    """

    def __init__(self, root_path: str) -> None:
        if not root_path.startswith("/"):
            raise InvalidParameter(f"root_path {root_path!r} is not absolute: it begins with a /")
        self._root = _split(root_path)
        self._nodes: dict[tuple[str, ...], Node] = {}
        self._by_path: dict[str, Node] = {}

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def node(self, path: str, make: Callable[[str], Node]) -> Node:
        """Give the node at a path, made of its path when first asked for.

        Raises:
            InvalidParameter: the path is empty or leads out of the tree.
        """
        parts = self._resolve(path)
        if parts is None:
            raise InvalidParameter(f"{path!r} is no path of a node")
        found = self._nodes.get(parts)
        if found is None:
            own = self._relative(parts)
            found = self._nodes[parts] = self._by_path[own] = make(own)
        return found

    def find(self, path: str) -> Node | None:
        """Find the node at a path that came from a peer; "." and ".." are followed, as in Godot."""
        node = self._by_path.get(path)
        if node is None:
            parts = self._resolve(path)
            node = None if parts is None else self._nodes.get(parts)
        return node

    def _resolve(self, path: str) -> tuple[str, ...] | None:
        """Give the names from the top of the tree to a node; None if the path leads out of it."""
        if not path:
            return None
        parts = [] if path.startswith("/") else list(self._root)
        for name in _split(path):
            if name != "..":
                parts.append(name)
            elif parts:
                parts.pop()
            else:
                return None
        return tuple(parts)

    def _relative(self, parts: tuple[str, ...]) -> str:
        """Write the path to a node as Godot does: down from the root path, up first where it must be."""
        shared = 0
        while shared < min(len(parts), len(self._root)) and parts[shared] == self._root[shared]:
            shared += 1
        return "/".join([".."] * (len(self._root) - shared) + list(parts[shared:])) or "."


def _split(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name not in ("", "."))
