"""Serial number arithmetic: sequence numbers that wrap around (RFC 1982, used as RFC 9260 section 1.6 says)."""

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
    return _HALF32 < ((a - b) & U32)


def more32(a: int, b: int) -> bool:
    """Tell whether the 32-bit serial number a comes after b."""
    return _HALF32 < ((b - a) & U32)


def less16(a: int, b: int) -> bool:
    """Tell whether the 16-bit serial number a comes before b."""
    return _HALF16 < ((a - b) & U16)


def more16(a: int, b: int) -> bool:
    """Tell whether the 16-bit serial number a comes after b."""
    return _HALF16 < ((b - a) & U16)
