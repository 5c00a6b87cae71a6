"""What lies between a TURN client and its server: ChannelData in batches, message boundaries in a stream."""

from __future__ import annotations

import struct

from rtcstack.stun import MAGIC_COOKIE

__all__ = ["StreamSplitter", "read_channel_data", "write_channel_data"]

_HEAD = struct.Struct("!HH")
_unpack_head = _HEAD.unpack_from


def write_channel_data(channel: int, datagrams: list[bytes], *, padded: bool) -> list[bytes]:
    """Write one ChannelData message for each datagram.

     0                   1                   2                   3
    +-------------------------------+-------------------------------+
    |  Channel, 0x4000 to 0x4FFF    |   Length, without padding     |
    +-------------------------------+-------------------------------+
    |         Application data, over a stream padded to 4           |

    channel     number that is bound.
    datagrams   each at most 65,535 bytes.
    padded      the messages go into a stream, where each begins at a multiple of four.
    Source: RFC 8656 sections 12.4 and 12.5.
    """
    # int.to_bytes costs less than a bound Struct.pack, and this runs for each datagram of a relayed path.
    number = channel.to_bytes(2)
    if padded:
        return [number + len(data).to_bytes(2) + data + b"\0\0\0"[: -len(data) & 3] for data in datagrams]
    return [number + len(data).to_bytes(2) + data for data in datagrams]


def read_channel_data(messages: list[bytes]) -> tuple[list[tuple[int, list[bytes]]], list[bytes], int]:
    """Read all ChannelData messages of a batch.

    messages    datagrams, or what StreamSplitter made; bytes behind the data are padding.
    Returns     runs of messages on the same channel, (number, data of each) in order; the messages that are
                something else, STUN if they are any good; how many were ChannelData cut short or on a channel
                beyond 0x4FFF.
    Source: RFC 8656 sections 12.4 and 12.6.
    """
    runs: list[tuple[int, list[bytes]]] = []
    others: list[bytes] = []
    bad = 0
    current = 0
    run: list[bytes] = []
    # Most messages of a batch have the channel and length of the one before: then nothing is unpacked.
    head, size = b"\0\0\0\0", 0
    for message in messages:
        if len(message) == size and message.startswith(head):
            run.append(message[4:])
            continue
        if len(message) < 4:
            bad += 1
            continue
        channel, length = _unpack_head(message)
        if not 0x4000 <= channel < 0x8000:
            others.append(message)
        elif channel > 0x4FFF or 4 + length > len(message):
            bad += 1
        else:
            if channel != current:
                current, run = channel, []
                runs.append((channel, run))
            run.append(message[4 : 4 + length])
            head, size = message[:4], 4 + length
    return runs, others, bad


class StreamSplitter:
    """Cuts the bytes of a TCP or TLS connection into STUN and ChannelData messages.

    A stream that has lost its place cannot find it again: `error` then says why, and nothing more comes out.
    At most one incomplete message is kept, 65,555 bytes.

    Source: RFC 8656 sections 3.1 and 12.5, RFC 8489 section 6.2.2.
    """

    __slots__ = ("_rest", "error")

    def __init__(self) -> None:
        self.error = ""
        self._rest = b""

    def split(self, pieces: list[bytes]) -> list[bytes]:
        """Take what was read from the connection, in order; return the messages that are now complete.

        Those of STUN are whole, those of ChannelData come without padding.
        """
        if self.error:
            return []
        data = b"".join((self._rest, *pieces))
        size = len(data)
        at = 0
        messages: list[bytes] = []
        while size - at >= 4:
            kind, length = _unpack_head(data, at)
            if kind >= 0x8000:
                self.error = f"0x{kind:04x} begins neither a STUN nor a ChannelData message"
            elif kind >= 0x4000:
                length += 4
            elif length & 3 or not MAGIC_COOKIE.startswith(data[at + 4 : at + 8]):
                self.error = "the header of a STUN message has a wrong length or magic cookie"
            else:
                length += 20
            following = at + length + (-length & 3)
            if self.error or following > size:
                break
            messages.append(data[at : at + length])
            at = following
        self._rest = b"" if self.error else data[at:]
        return messages
