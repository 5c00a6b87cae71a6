"""The two messages of the Data Channel Establishment Protocol (RFC 8832)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rtcstack.errors import WireError

__all__ = ["ACK", "LABEL_LIMIT", "MESSAGE_ACK", "MESSAGE_OPEN", "Open"]

MESSAGE_ACK = 0x02
MESSAGE_OPEN = 0x03

ACK = bytes([MESSAGE_ACK])
"""DATA_CHANNEL_ACK is its type and nothing else (RFC 8832 section 5.2)."""

LABEL_LIMIT = 0xFFFF
"""Most bytes of UTF-8 in a label, and in a protocol: their lengths are 16 bits wide."""

_RELIABLE, _REXMIT, _TIMED = 0x00, 0x01, 0x02
_UNORDERED = 0x80
_HEAD = struct.Struct("!BBHIHH")


@dataclass(frozen=True, slots=True)
class Open:
    """DATA_CHANNEL_OPEN: one side announces a channel on the stream that carries this message.

     0                   1                   2                   3
    +---------------+---------------+-------------------------------+
    |   Type = 3    | Channel type  |           Priority            |
    +---------------+---------------+-------------------------------+
    |                     Reliability parameter                     |
    +-------------------------------+-------------------------------+
    |     Label length, bytes       |    Protocol length, bytes     |
    +-------------------------------+-------------------------------+
    |               Label, then protocol, both UTF-8                |

    label, protocol     text; at most 65,535 bytes of UTF-8 each.
    ordered             False: messages may overtake each other.
    max_retransmits     times a message is sent again, 0 to 2**32 - 1; None: no limit.
    max_lifetime_ms     milliseconds a message is tried for, 0 to 2**32 - 1; None: no limit.
                        At most one of the two limits is set.
    priority            weight of the channel, 0 to 65,535 (128, 256, 512, 1024 in W3C's four levels).
    Source: RFC 8832 section 5.1.
    """

    label: str = ""
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_lifetime_ms: int | None = None
    priority: int = 256

    @classmethod
    def parse(cls, data: bytes) -> Open:
        """Read a whole DATA_CHANNEL_OPEN message.

        Raises:
            WireError: the message is cut short or too long, its type is unknown or its text not UTF-8.
        """
        if len(data) < _HEAD.size:
            raise WireError(f"DATA_CHANNEL_OPEN of {len(data)} bytes, at least {_HEAD.size} are needed")
        message, channel_type, priority, reliability, label_size, protocol_size = _HEAD.unpack_from(data)
        if message != MESSAGE_OPEN:
            raise WireError(f"message type {message} is not DATA_CHANNEL_OPEN")
        middle = _HEAD.size + label_size
        if len(data) != middle + protocol_size:
            raise WireError(
                f"DATA_CHANNEL_OPEN of {len(data)} bytes announces a label of {label_size} "
                f"and a protocol of {protocol_size} bytes"
            )
        policy = channel_type & ~_UNORDERED
        if policy not in (_RELIABLE, _REXMIT, _TIMED):
            raise WireError(f"unknown channel type {channel_type:#04x}")
        try:
            label, protocol = data[_HEAD.size : middle].decode(), data[middle:].decode()
        except UnicodeDecodeError as error:
            raise WireError(f"label or protocol is not UTF-8: {error}") from None
        return cls(
            label=label,
            protocol=protocol,
            ordered=not channel_type & _UNORDERED,
            max_retransmits=reliability if policy == _REXMIT else None,
            max_lifetime_ms=reliability if policy == _TIMED else None,
            priority=priority,
        )

    def write(self) -> bytes:
        """Return the message's bytes."""
        label, protocol = self.label.encode(), self.protocol.encode()
        channel_type = 0 if self.ordered else _UNORDERED
        reliability = 0
        if self.max_retransmits is not None:
            channel_type |= _REXMIT
            reliability = self.max_retransmits
        elif self.max_lifetime_ms is not None:
            channel_type |= _TIMED
            reliability = self.max_lifetime_ms
        head = _HEAD.pack(MESSAGE_OPEN, channel_type, self.priority, reliability, len(label), len(protocol))
        return head + label + protocol
