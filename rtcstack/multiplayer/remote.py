"""Nodes and their remote methods: the two lists that both sides of a call must have alike."""

from __future__ import annotations

import enum
import hashlib
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from rtcstack.errors import Error, InvalidParameter
from rtcstack.multiplayer.modes import TransferMode
from rtcstack.variant.types import PYTHON_TYPES

if TYPE_CHECKING:
    from rtcstack.multiplayer.scene import SceneMultiplayer

__all__ = [
    "Node",
    "RemoteMethod",
    "RpcConfig",
    "RpcMode",
    "checksum_of",
    "explain_difference",
    "read_rpc_config",
]

_FROM_CONFIG = 0x8000
"""Added to the index of a method that was set by rpc_config."""

_MOST_GUESSES = 300
"""Checksums that explain_difference() tries: about a millisecond."""


class RpcMode(enum.IntEnum):
    """Who may call a method."""

    DISABLED = 0
    ANY_PEER = 1
    AUTHORITY = 2


@dataclass(frozen=True, slots=True)
class RpcConfig:
    """What GDScript's @rpc says about a method.

    rpc_mode        who may call it: anybody, or the authority of the node, which is the server at first.
    call_local      whether a call also runs it here.
    transfer_mode   how calls travel.
    channel         transfer channel that they travel by.
    """

    rpc_mode: RpcMode = RpcMode.AUTHORITY
    call_local: bool = False
    transfer_mode: TransferMode = TransferMode.RELIABLE
    channel: int = 0


def read_rpc_config(
    mode: Literal["authority", "any_peer"] = "authority",
    *,
    call_local: bool = False,
    transfer_mode: Literal["reliable", "unreliable", "unreliable_ordered"] = "reliable",
    channel: int = 0,
) -> RpcConfig:
    """Read the arguments of GDScript's @rpc.

    Raises:
        InvalidParameter: one is not allowed.
    """
    modes = {"authority": RpcMode.AUTHORITY, "any_peer": RpcMode.ANY_PEER}
    transfer_modes = {each.name.lower(): each for each in TransferMode}
    if mode not in modes:
        raise InvalidParameter(f'the mode {mode!r} is neither "authority" nor "any_peer"')
    if transfer_mode not in transfer_modes:
        raise InvalidParameter(f"transfer_mode {transfer_mode!r} is none of {', '.join(transfer_modes)}")
    if not isinstance(channel, int) or channel < 0:
        raise InvalidParameter(f"channel {channel!r} is not a number from 0 on")
    return RpcConfig(modes[mode], bool(call_local), transfer_modes[transfer_mode], channel)


class RemoteMethod:
    """One remote method of a node; calling it runs the function here, as in GDScript.

    node, name, config      whose it is, what it is called, who may call it and how.
    function                what runs here; None for a method that only the other side has.
    id                      what stands for it in a call: its place in the list, until that changes.
    """

    __slots__ = ("_checks", "_least", "_most", "config", "function", "id", "name", "node")

    def __init__(
        self, node: Node, name: str, config: RpcConfig, function: Callable[..., object] | None
    ) -> None:
        self.node = node
        self.name = name
        self.config = config
        self.function = function
        self.id = 0
        self._least, self._most, self._checks = (
            (0, 255, ()) if function is None else _read_signature(function)
        )

    def __call__(self, *arguments: Any) -> Any:
        """Run the function here, and nowhere else.

        Raises:
            InvalidParameter: it is declared only.
        """
        if self.function is None:
            raise InvalidParameter(f"{self.name} of {self.node.path} is declared only: it cannot run here")
        return self.function(*arguments)

    def rpc(self, *arguments: Any) -> Error:
        """Call it on all peers; see SceneMultiplayer.call()."""
        return self.node.scene.call(0, self, arguments)

    def rpc_id(self, peer_id: int, *arguments: Any) -> Error:
        """Call it on one peer, on all but one if negative; see SceneMultiplayer.call()."""
        return self.node.scene.call(peer_id, self, arguments)

    def fit(self, arguments: list[Any]) -> str:
        """Check arguments that came from a peer against the function; integers become the floats it wants.

        Returns why it cannot be called with them, "" if it can.
        """
        if not self._least <= len(arguments) <= self._most:
            return f"takes {self._least} to {self._most} arguments, not {len(arguments)}"
        for number, wanted in enumerate(self._checks[: len(arguments)]):
            value = arguments[number]
            if wanted is None or isinstance(value, wanted):
                continue
            if wanted is float and type(value) is int:
                arguments[number] = float(value)
                continue
            return f"wants {wanted.__name__} as argument {number + 1}, not {type(value).__name__}"
        return ""

    def __repr__(self) -> str:
        return f"<RemoteMethod {self.name} of {self.node.path}>"


class Node:
    """A node of the scene as both sides know it: a path, and the remote methods there.

    Made by SceneMultiplayer.node().

    path        relative to the root path; "." for the root itself.
    authority   id of the peer that may call methods with the mode "authority"; 1, the server, at first.
    """

    def __init__(self, scene: SceneMultiplayer, path: str) -> None:
        self.scene = scene
        self.path = path
        self.authority = 1
        self._script: dict[str, RemoteMethod] = {}
        self._config: dict[str, RemoteMethod] = {}
        self._arrange()

    def method(
        self,
        mode: Literal["authority", "any_peer"] = "authority",
        *,
        call_local: bool = False,
        transfer_mode: Literal["reliable", "unreliable", "unreliable_ordered"] = "reliable",
        channel: int = 0,
    ) -> Callable[[Callable[..., object]], RemoteMethod]:
        """Make a function a remote method of this node, as @rpc does in GDScript.

        Raises:
            InvalidParameter: an argument is not allowed, or the node has a method of this name.
        """
        config = read_rpc_config(mode, call_local=call_local, transfer_mode=transfer_mode, channel=channel)
        return lambda function: self.add(function.__name__, config, function)

    def declare(
        self,
        name: str,
        mode: Literal["authority", "any_peer"] = "authority",
        *,
        transfer_mode: Literal["reliable", "unreliable", "unreliable_ordered"] = "reliable",
        channel: int = 0,
    ) -> RemoteMethod:
        """Name a method that only the other side has: it has its place in the list, and can be called there.

        Raises:
            InvalidParameter: an argument is not allowed, or the node has a method of this name.
        """
        return self.add(name, read_rpc_config(mode, transfer_mode=transfer_mode, channel=channel), None)

    def rpc_config(
        self, method: str, config: RpcConfig | None, function: Callable[..., object] | None = None
    ) -> None:
        """Set a method as Node.rpc_config() does in Godot, apart from the script's; None takes it away."""
        if config is None:
            self._config.pop(method, None)
        else:
            self._config[method] = RemoteMethod(self, method, config, function)
        self._arrange()

    def add(self, name: str, config: RpcConfig, function: Callable[..., object] | None) -> RemoteMethod:
        """Add a remote method of the script."""
        if name in self._script:
            raise InvalidParameter(f"node {self.path!r} has a remote method {name} already")
        added = self._script[name] = RemoteMethod(self, name, config, function)
        self._arrange()
        return added

    def rpc(self, method: str, *arguments: Any) -> Error:
        """Call a method on all peers; see SceneMultiplayer.call()."""
        return self.scene.call(0, self.find(method), arguments)

    def rpc_id(self, peer_id: int, method: str, *arguments: Any) -> Error:
        """Call a method on one peer, on all but one if negative; see SceneMultiplayer.call()."""
        return self.scene.call(peer_id, self.find(method), arguments)

    def set_multiplayer_authority(self, peer_id: int) -> None:
        """Set `authority`."""
        self.authority = peer_id

    def get_multiplayer_authority(self) -> int:
        """Return `authority`."""
        return self.authority

    @property
    def names(self) -> list[str]:
        """Names of the remote methods, in the order that makes the checksum."""
        return [method.name for method in (*self._config_list, *self._script_list)]

    def names_with(self, missing: Collection[str], extra: Iterable[str]) -> list[str]:
        """Give `names` as it would be without some methods, and with others of the script besides."""
        script = [method.name for method in self._script_list if method.name not in missing]
        config = [method.name for method in self._config_list if method.name not in missing]
        return config + sorted([*script, *extra])

    def find(self, name: str) -> RemoteMethod:
        """Find a remote method by its name.

        Raises:
            InvalidParameter: there is none.
        """
        method = self._config.get(name) or self._script.get(name)
        if method is None:
            raise InvalidParameter(
                f"node {self.path!r} has no remote method {name}, only {', '.join(self.names) or 'none'}: "
                "add or declare it"
            )
        return method

    def by_id(self, method_id: int) -> RemoteMethod | None:
        """Find the method that a number in a call stands for."""
        methods = self._config_list if method_id & _FROM_CONFIG else self._script_list
        index = method_id & ~_FROM_CONFIG
        return methods[index] if index < len(methods) else None

    def _arrange(self) -> None:
        self._script_list = [self._script[name] for name in sorted(self._script)]
        self._config_list = [self._config[name] for name in sorted(self._config)]
        for methods, first in ((self._script_list, 0), (self._config_list, _FROM_CONFIG)):
            for method_id, method in enumerate(methods, first):
                method.id = method_id
        self.checksum = checksum_of(self.names)
        """MD5 of the names, which the other side compares with its own."""

    def __repr__(self) -> str:
        return f"<Node {self.path!r}, {len(self.names)} remote methods>"


def checksum_of(names: Iterable[str]) -> str:
    """Give the MD5 of names, as Godot makes it of a node's remote methods."""
    return hashlib.md5("".join(names).encode(), usedforsecurity=False).hexdigest()


def explain_difference(node: Node, checksum: str, known: Iterable[str]) -> str:
    """Say by name how the other side's list of methods differs from ours, as far as its checksum tells.

    known   names of methods that the other side may have, for instance those of other nodes.
    """
    ours = node.names
    text = f"node {node.path!r}: the other side has other remote methods than {', '.join(ours) or 'none'}"
    for missing, extra in _guesses(ours, sorted(set(known) - set(ours))):
        if checksum_of(node.names_with(missing, extra)) == checksum:
            parts = [f"it has no {name}" for name in missing] + [f"it has {name} besides" for name in extra]
            return f"{text}: {', and '.join(parts)}; calls may reach the wrong method until both lists agree"
    return f"{text}; compare the @rpc methods of both sides, calls may reach the wrong one until they agree"


def _guesses(ours: Sequence[str], others: Sequence[str]) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """List what may be missing and what may be there besides, the likely first."""
    tried = 0
    for changes in range(1, len(ours) + len(others) + 1):
        for gone in range(changes, -1, -1):
            for missing in combinations(ours, gone):
                for extra in combinations(others, changes - gone):
                    yield missing, extra
                    tried += 1
                    if tried == _MOST_GUESSES:
                        return


def _read_signature(function: Callable[..., object]) -> tuple[int, int, tuple[type | None, ...]]:
    """Give how many arguments a function takes, at least and at most, and the types that it wants."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # an annotation that exists for type checkers only
        signature = inspect.signature(function)
    least = most = 0
    checks: list[type | None] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = 255
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
            wanted = parameter.annotation
            is_known = isinstance(wanted, type) and wanted in PYTHON_TYPES
            checks.append(wanted if is_known else None)
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise InvalidParameter(f"{function!r} needs {parameter.name} by name, which no remote call gives")
    return least, most, tuple(checks)
