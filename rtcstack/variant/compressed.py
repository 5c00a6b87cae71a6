"""The shorter form of bool and int that arguments of remote calls and replicated properties have."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from rtcstack.errors import VariantError
from rtcstack.variant.decode import read_variant
from rtcstack.variant.encode import var_to_bytes
from rtcstack.variant.types import VariantType

__all__ = ["compress", "decompress"]

_INT, _BOOL = VariantType.INT.value, VariantType.BOOL.value
_SIZES = (1, 2, 4, 8)
_PACKS: tuple[Callable[[int, int], bytes], ...] = tuple(Struct("<B" + code).pack for code in "bhiq")


def compress(value: Any) -> bytes:
    """Write one value for a remote call: a bool in 1 byte, an int in 2, 3, 5 or 9, others as var_to_bytes().

    Bits 0-5 of the first byte are the type; bits 6-7 the value of a bool or the size of an int.

    Raises:
        VariantError: it cannot be sent.
    """
    kind = type(value)
    if kind is int:
        if -0x80 <= value < 0x80:
            return _PACKS[0](0x02, value)
        if -0x8000 <= value < 0x8000:
            return _PACKS[1](0x42, value)
        if -0x8000_0000 <= value < 0x8000_0000:
            return _PACKS[2](0x82, value)
        if -0x8000_0000_0000_0000 <= value < 0x8000_0000_0000_0000:
            return _PACKS[3](0xC2, value)
    elif kind is bool:
        return b"\x81" if value else b"\x01"
    return var_to_bytes(value)


def decompress(data: bytes, at: int, allow_objects: bool = False) -> tuple[Any, int]:
    """Read the value at an offset.

    Returns (value, offset behind it).

    Raises:
        VariantError: there is none.
    """
    if at >= len(data):
        raise VariantError(f"the {len(data)} bytes end before a value")
    first = data[at]
    kind = first & 0x3F
    if kind == _INT:
        end = at + 1 + _SIZES[first >> 6]
        if end > len(data):
            raise VariantError("the integer is cut short")
        return int.from_bytes(data[at + 1 : end], "little", signed=True), end
    if kind == _BOOL:
        return first > 0x7F, at + 1
    return read_variant(data, at, allow_objects)
