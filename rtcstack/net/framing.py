"""Datagrams on a stream: each behind its length (RFC 4571), as ICE-TCP has it."""

from __future__ import annotations

from collections.abc import Iterable

from rtcstack.errors import WireError

__all__ = ["Deframer", "frame"]

_LARGEST = 16_384
"""Bytes of the largest datagram taken from a peer. Packets on TCP are small, but what was cut for a local
network, and is sent again after the path has moved to TCP, holds up to 16,000."""


def frame(datagrams: Iterable[bytes]) -> list[bytes]:
    """Put its length, two bytes, before each datagram; what is longer than 65,535 bytes is left out.

    Source: RFC 4571 section 2, RFC 6544 section 3.
    """
    return [len(data).to_bytes(2) + data for data in datagrams if len(data) < 65536]


class Deframer:
    """Finds the datagrams in what arrives by one connection, wherever it was cut."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, pieces: Iterable[bytes]) -> list[bytes]:
        """Take bytes and return the datagrams that are whole now; empty ones mean nothing and are left out.

        Raises:
            WireError: a length is announced that no datagram of ours has: it is no peer's connection.
        """
        buffer = self._buffer
        for piece in pieces:
            buffer += piece
        found = []
        at = 0
        while len(buffer) - at >= 2:
            size = int.from_bytes(buffer[at : at + 2])
            if size > _LARGEST:
                raise WireError(f"a frame of {size} bytes, more than {_LARGEST}")
            if len(buffer) - at < 2 + size:
                break
            if size:
                found.append(bytes(buffer[at + 2 : at + 2 + size]))
            at += 2 + size
        del buffer[:at]
        return found
