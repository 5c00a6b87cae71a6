"""Serial number arithmetic: sequence numbers that wrap around (RFC 1982, RFC 9260 section 1.6)."""

from __future__ import annotations

__all__ = ["U16", "U32", "less16", "less32", "more16", "more32"]

U16 = 0xFFFF
U32 = 0xFFFFFFFF
_HALF16 = 1 << 15
_HALF32 = 1 << 31


def less32(a: int, b: int) -> bool:
    """Tell whether the 32-bit serial number a comes before b.

    Numbers exactly 2**31 apart are in no order: neither is less (RFC 1982 section 3.2).
    """
    return ((a - b) & U32) > _HALF32


def more32(a: int, b: int) -> bool:
    """Tell whether the 32-bit serial number a comes after b."""
    return ((b - a) & U32) > _HALF32


def less16(a: int, b: int) -> bool:
    """Tell whether the 16-bit serial number a comes before b."""
    return ((a - b) & U16) > _HALF16


def more16(a: int, b: int) -> bool:
    """Tell whether the 16-bit serial number a comes after b."""
    return ((b - a) & U16) > _HALF16
