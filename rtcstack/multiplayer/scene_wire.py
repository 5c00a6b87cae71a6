"""The packets of Godot's SceneMultiplayer, 4.3 and later: bytes in, fields out, and back.

The first byte of a packet holds the command in bits 0-2 and flags of the command in bits 4-7; all numbers are
little-endian.  Every read function raises WireError only.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

from rtcstack.errors import InvalidParameter, VariantError, WireError
from rtcstack.variant import compress, decompress

__all__ = [
    "Command",
    "PathConfirmed",
    "RemoteCall",
    "SysCommand",
    "read_confirm_path",
    "read_number",
    "read_remote_call",
    "read_simplify_path",
    "read_text",
    "write_arguments",
    "write_confirm_path",
    "write_remote_call",
    "write_simplify_path",
    "write_sys",
]

_u32, _i32 = Struct("<I"), Struct("<i")
_SYS = Struct("<BBi")
_MOST_ARGUMENTS = 255
_FULL_PATH = 0x8000_0000
_CHECKSUM_SIZE = 32


class Command(enum.IntEnum):
    """Bits 0-2 of the first byte."""

    REMOTE_CALL = 0
    SIMPLIFY_PATH = 1
    CONFIRM_PATH = 2
    RAW = 3
    SPAWN = 4
    DESPAWN = 5
    SYNC = 6
    SYS = 7


class SysCommand(enum.IntEnum):
    """The second byte of a SYS packet."""

    AUTH = 0
    ADD_PEER = 1
    DEL_PEER = 2
    RELAY = 3


class RemoteCall(NamedTuple):
    """A REMOTE_CALL as it came.

    cache_id    of the node; None if the path is there.
    path        of the node, relative to the root path; None if the cache id is there.
    method_id   index in the sorted list of the script's methods, or 0x8000 + index in that of rpc_config.
    arguments   in order.
    """

    cache_id: int | None
    path: str | None
    method_id: int
    arguments: list[Any]


class PathConfirmed(NamedTuple):
    """A CONFIRM_PATH as it came.

    is_right    whether the other side has the same list of methods.
    cache_id    as 4.3 and later send it; None if the packet has no room for it.
    path        as 4.0 to 4.2 send it.
    """

    is_right: bool
    cache_id: int | None
    path: str


def write_arguments(arguments: Sequence[Any]) -> tuple[bool, bytes]:
    """Write the arguments of a call.

    Returns (byte_only_or_no_args, bytes): nothing, or one argument of bytes, goes without count and type.

    Raises:
        InvalidParameter: there are more than 255.
        VariantError: one cannot be sent.
    """
    if not arguments:
        return True, b""
    # Empty bytes in the short form would arrive as no argument at all.
    if len(arguments) == 1 and isinstance(arguments[0], bytes | bytearray) and arguments[0]:
        return True, bytes(arguments[0])
    if len(arguments) > _MOST_ARGUMENTS:
        raise InvalidParameter(f"a remote call has at most {_MOST_ARGUMENTS} arguments, not {len(arguments)}")
    return False, bytes((len(arguments),)) + b"".join(map(compress, arguments))


def write_remote_call(
    node: int | str, method_id: int, arguments: tuple[bool, bytes], *, is_wide: bool = False
) -> bytes:
    """Write a REMOTE_CALL.

    node        cache id that the receiver has confirmed, or the path.
    arguments   from write_arguments().
    is_wide     write a cache id with 4 bytes, as Godot does where others of the same call get the path.
    """
    flags = 0x80 if arguments[0] else 0
    if method_id < 0x100:
        tail = bytes((method_id,)) + arguments[1]
    else:
        flags |= 0x40
        tail = method_id.to_bytes(2, "little") + arguments[1]
    if isinstance(node, str):
        head = _u32.pack(5 + len(tail) | _FULL_PATH)
        return bytes((flags | 0x20,)) + head + tail + node.encode() + b"\0"
    if is_wide or node > 0xFFFF:
        return bytes((flags | 0x20,)) + _u32.pack(node) + tail
    if node > 0xFF:
        return bytes((flags | 0x10,)) + node.to_bytes(2, "little") + tail
    return bytes((flags, node)) + tail


def read_remote_call(packet: bytes, allow_objects: bool = False) -> RemoteCall:
    """Read a REMOTE_CALL; what follows the arguments is ignored, as in Godot."""
    first = packet[0]
    at = 1 + (1, 2, 4, 0)[first >> 4 & 3]
    if at == 1:
        raise WireError("a node id of no size")
    method_at = at
    at += 1 + (first >> 6 & 1)
    if len(packet) < at:
        raise WireError("a call without node or method")
    cache_id: int | None = int.from_bytes(packet[1:method_at], "little")
    method_id = int.from_bytes(packet[method_at:at], "little")
    path, end = None, len(packet)
    if method_at == 5 and packet[4] & 0x80:
        end = int.from_bytes(packet[1:5], "little") & 0x7FFF_FFFF
        if not at <= end < len(packet):
            raise WireError("the path of a call is not in the packet")
        cache_id, path = None, read_text(packet, end)
    if first & 0x80:
        return RemoteCall(cache_id, path, method_id, [packet[at:end]] if at < end else [])
    if at == end:
        raise WireError("a call without the number of its arguments")
    count = packet[at]
    at += 1
    arguments = []
    body = packet if path is None else packet[:end]
    try:
        for _ in range(count):
            value, at = decompress(body, at, allow_objects)
            arguments.append(value)
    except VariantError as error:
        raise WireError(f"an argument that cannot be read: {len(arguments) + 1}: {error}") from None
    return RemoteCall(cache_id, path, method_id, arguments)


def write_simplify_path(checksum: str, cache_id: int, path: str) -> bytes:
    """Write a SIMPLIFY_PATH: from now on `cache_id` may stand for the path."""
    return b"\1" + checksum.encode() + b"\0" + _u32.pack(cache_id) + path.encode() + b"\0"


def read_simplify_path(packet: bytes) -> tuple[str, int, str]:
    """Read a SIMPLIFY_PATH: (checksum of the method list, cache id, path)."""
    if len(packet) < 6 + _CHECKSUM_SIZE or packet[1 + _CHECKSUM_SIZE]:
        raise WireError("no checksum, number and path")
    checksum = packet[1 : 1 + _CHECKSUM_SIZE].decode("latin-1")
    return checksum, read_number(packet, 2 + _CHECKSUM_SIZE), read_text(packet, 6 + _CHECKSUM_SIZE)


def write_confirm_path(is_right: bool, node: int | str) -> bytes:
    """Write a CONFIRM_PATH: with the cache id for Godot 4.3 and later, with the path for those before."""
    tail = node.encode() + b"\0" if isinstance(node, str) else _u32.pack(node)
    return bytes((Command.CONFIRM_PATH, is_right)) + tail


def read_confirm_path(packet: bytes) -> PathConfirmed:
    """Read a CONFIRM_PATH of either form; only the receiver knows which one it is."""
    if len(packet) < 3:
        raise WireError("a confirmation of nothing")
    cache_id = read_number(packet, 2) if len(packet) == 6 else None
    try:
        path = read_text(packet, 2)
    except WireError:
        path = ""
    return PathConfirmed(packet[1] != 0, cache_id, path)


def write_sys(command: SysCommand, peer_id: int, inner: bytes = b"") -> bytes:
    """Write an ADD_PEER, a DEL_PEER, or a RELAY of an inner packet to or from a peer."""
    return _SYS.pack(Command.SYS, command, peer_id) + inner


def read_number(packet: bytes, at: int, *, signed: bool = False) -> int:
    """Read a number of 32 bits."""
    if at + 4 > len(packet):
        raise WireError("it ends inside a number")
    number: int = (_i32 if signed else _u32).unpack_from(packet, at)[0]
    return number


def read_text(packet: bytes, at: int) -> str:
    """Read text up to a NUL or the end."""
    end = packet.find(b"\0", at)
    try:
        return packet[at : len(packet) if end < 0 else end].decode()
    except UnicodeDecodeError:
        raise WireError("text that is not UTF-8") from None
