"""Godot's PacketPeer: whatever carries packets also carries Variants."""

from __future__ import annotations

from typing import Any

from rtcstack.errors import Error, InvalidParameter, VariantError

__all__ = ["PacketPeer"]

_SMALLEST_LIMIT = 1024
_LARGEST_LIMIT = 268_435_456


class PacketPeer:
    """Variants over packets: get_var() and put_var() for a class that has get_packet() and put_packet()."""

    _encode_buffer_max_size = 8_388_608

    def get_packet(self) -> bytes:
        """Take the next packet."""
        raise NotImplementedError

    def put_packet(self, packet: bytes) -> Error:
        """Queue one packet."""
        raise NotImplementedError

    def get_var(self, allow_objects: bool = False) -> Any:
        """Take the next packet and read the Variant in it; rtcstack.variant says what comes as what.

        allow_objects   whether whole objects may come, as EncodedObject.

        Raises:
            Unavailable: no packet is waiting.
            VariantError: it is no Variant, or holds an object; the packet is gone.
        """
        from rtcstack.variant import bytes_to_var  # milliseconds that not every program needs

        return bytes_to_var(self.get_packet(), allow_objects=allow_objects)

    def put_var(self, var: Any, full_objects: bool = False) -> Error:
        """Queue one value as a Variant, as put_packet() queues bytes.

        var             None, bool, int, float, str, bytes, list, tuple, dict, or a type of rtcstack.variant.
        full_objects    whether an EncodedObject may be sent whole.

        Raises:
            VariantError: it cannot be sent, or is larger than encode_buffer_max_size.
            RTCError: as of put_packet().
        """
        from rtcstack.variant import var_to_bytes  # milliseconds that not every program needs

        data = var_to_bytes(var, full_objects=full_objects)
        if len(data) > self._encode_buffer_max_size:
            raise VariantError(
                f"the value takes {len(data)} bytes, more than encode_buffer_max_size, "
                f"{self._encode_buffer_max_size}: send less, or raise it",
                Error.ERR_OUT_OF_MEMORY,
            )
        return self.put_packet(data)

    @property
    def encode_buffer_max_size(self) -> int:
        """Bytes that put_var() sends at most, 8 MiB at first: 1,024 to 2**28, rounded up to a power of 2."""
        return self._encode_buffer_max_size

    @encode_buffer_max_size.setter
    def encode_buffer_max_size(self, size: int) -> None:
        if not _SMALLEST_LIMIT <= size <= _LARGEST_LIMIT:
            raise InvalidParameter(
                f"encode_buffer_max_size {size} is not {_SMALLEST_LIMIT} to {_LARGEST_LIMIT} bytes"
            )
        self._encode_buffer_max_size = 1 << (size - 1).bit_length()

    def set_encode_buffer_max_size(self, size: int) -> None:
        """Set `encode_buffer_max_size`."""
        self.encode_buffer_max_size = size

    def get_encode_buffer_max_size(self) -> int:
        """Return `encode_buffer_max_size`."""
        return self._encode_buffer_max_size
