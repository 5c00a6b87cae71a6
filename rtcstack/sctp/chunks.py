"""The chunks of SCTP, read and written; what they mean is decided elsewhere.

DATA, I-DATA, SACK and the two FORWARD-TSNs travel in nearly every packet: plain functions, tuples in and out.
The others are rare: frozen dataclasses with parse and write.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias

from rtcstack.errors import WireError
from rtcstack.sctp.parameters import (
    HEARTBEAT_INFO,
    Parameter,
    ReconfigurationParameter,
    find_parameter,
    join_parameters,
    parse_reconfiguration,
    read_parameters,
    write_parameter,
    write_parameters,
)

# Chunk types: RFC 9260 section 3.2 unless said otherwise
DATA = 0
INIT = 1
INIT_ACK = 2
SACK = 3
HEARTBEAT = 4
HEARTBEAT_ACK = 5
ABORT = 6
SHUTDOWN = 7
SHUTDOWN_ACK = 8
ERROR = 9
COOKIE_ECHO = 10
COOKIE_ACK = 11
SHUTDOWN_COMPLETE = 14
I_DATA = 64  # RFC 8260 section 2.1
RE_CONFIG = 130  # RFC 6525 section 3.1
PAD = 132  # RFC 4820 section 3
FORWARD_TSN = 192  # RFC 3758 section 3.2
I_FORWARD_TSN = 194  # RFC 8260 section 2.3.1

CHUNK_NAMES = {
    DATA: "DATA",
    INIT: "INIT",
    INIT_ACK: "INIT ACK",
    SACK: "SACK",
    HEARTBEAT: "HEARTBEAT",
    HEARTBEAT_ACK: "HEARTBEAT ACK",
    ABORT: "ABORT",
    SHUTDOWN: "SHUTDOWN",
    SHUTDOWN_ACK: "SHUTDOWN ACK",
    ERROR: "ERROR",
    COOKIE_ECHO: "COOKIE ECHO",
    COOKIE_ACK: "COOKIE ACK",
    SHUTDOWN_COMPLETE: "SHUTDOWN COMPLETE",
    I_DATA: "I-DATA",
    RE_CONFIG: "RE-CONFIG",
    PAD: "PAD",
    FORWARD_TSN: "FORWARD-TSN",
    I_FORWARD_TSN: "I-FORWARD-TSN",
}
"""Names in the words of the RFCs, for logs and failure reasons."""

# What to do with a chunk that is not known, in the two highest bits of its type: RFC 9260 section 3.2
SKIP_UNKNOWN = 0x80
"""Bit of a chunk type: if it is not known, go on with the next chunk; without this bit, drop the rest."""
REPORT_UNKNOWN = 0x40
"""Bit of a chunk type: if it is not known, answer with an Unrecognized Chunk Type cause."""

# Flags of DATA and I-DATA: RFC 9260 section 3.3.1, RFC 7053
END = 1
BEGIN = 2
WHOLE = BEGIN | END
"""A message in one piece."""
UNORDERED = 4
IMMEDIATE = 8

REFLECTED = 1
"""T bit of ABORT and SHUTDOWN COMPLETE: the verification tag is reflected (RFC 9260 section 8.5.1)."""

# Error causes: RFC 9260 section 3.3.10
INVALID_STREAM_IDENTIFIER = 1
MISSING_MANDATORY_PARAMETER = 2
STALE_COOKIE = 3
OUT_OF_RESOURCE = 4
UNRESOLVABLE_ADDRESS = 5
UNRECOGNIZED_CHUNK_TYPE = 6
INVALID_MANDATORY_PARAMETER = 7
UNRECOGNIZED_PARAMETERS = 8
NO_USER_DATA = 9
COOKIE_RECEIVED_WHILE_SHUTTING_DOWN = 10
RESTART_WITH_NEW_ADDRESSES = 11
USER_INITIATED_ABORT = 12
PROTOCOL_VIOLATION = 13

CAUSE_NAMES = {
    INVALID_STREAM_IDENTIFIER: "Invalid Stream Identifier",
    MISSING_MANDATORY_PARAMETER: "Missing Mandatory Parameter",
    STALE_COOKIE: "Stale Cookie",
    OUT_OF_RESOURCE: "Out of Resource",
    UNRESOLVABLE_ADDRESS: "Unresolvable Address",
    UNRECOGNIZED_CHUNK_TYPE: "Unrecognized Chunk Type",
    INVALID_MANDATORY_PARAMETER: "Invalid Mandatory Parameter",
    UNRECOGNIZED_PARAMETERS: "Unrecognized Parameters",
    NO_USER_DATA: "No User Data",
    COOKIE_RECEIVED_WHILE_SHUTTING_DOWN: "Cookie Received While Shutting Down",
    RESTART_WITH_NEW_ADDRESSES: "Restart of an Association with New Addresses",
    USER_INITIATED_ABORT: "User-Initiated Abort",
    PROTOCOL_VIOLATION: "Protocol Violation",
}

PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
"""PADDING[length & 3] completes a chunk of this length to a multiple of four bytes."""

DATA_SIZE = 16
"""Bytes of a DATA chunk in front of the user data."""
I_DATA_SIZE = 20
"""Bytes of an I-DATA chunk in front of the user data."""

_DATA = struct.Struct("!BBHIHHI")
_I_DATA = struct.Struct("!BBHIHHII")
_SACK = struct.Struct("!BBHIIHH")
_HEAD = struct.Struct("!BBH")
_HEAD_AND_TSN = struct.Struct("!BBHI")

pack_data = _DATA.pack
"""(DATA, flags, 16 + length of the payload, tsn, stream_id, ssn, ppid) -> 16 bytes; the payload follows."""
pack_i_data = _I_DATA.pack
"""(I_DATA, flags, 20 + length of the payload, tsn, stream_id, 0, mid, ppid if BEGIN else fsn) -> 20 bytes."""
unpack_data = _DATA.unpack_from
"""(packet, at) -> (type, flags, length, tsn, stream_id, ssn, ppid); needs 16 bytes from `at`."""
unpack_i_data = _I_DATA.unpack_from
"""(packet, at) -> (type, flags, length, tsn, stream_id, reserved, mid, ppid or fsn); needs 20 bytes."""
unpack_sack = _SACK.unpack_from
"""(packet, at) -> (type, flags, length, cumulative_tsn, a_rwnd, gap blocks, duplicates); needs 16 bytes."""


def read_data(data: bytes, at: int, end: int) -> tuple[int, int, int, int, int, bytes]:
    """Read one DATA chunk.

    +---------------+-------+-+-+-+-+-------------------------------+
    |   Type = 0    |  Res  |I|U|B|E|            Length             |
    |                              TSN                              |
    |      Stream Identifier S      |   Stream Sequence Number n    |
    |                  Payload Protocol Identifier                  |
    |                 User Data (seq n of Stream S)                 |
    +---------------------------------------------------------------+

    data: a whole SCTP packet.  at, end: byte offsets of the chunk, padding excluded.
    Returns (flags, tsn, stream_id, ssn, ppid, payload); an empty payload is for the caller to refuse.
    Raises WireError if it is shorter than its header.
    Source: RFC 9260 section 3.3.1.
    """
    if end - at < 16:
        raise WireError(f"DATA chunk of {end - at} bytes")
    _, flags, _, tsn, stream_id, ssn, ppid = unpack_data(data, at)
    return flags, tsn, stream_id, ssn, ppid, data[at + 16 : end]


def write_data(flags: int, tsn: int, stream_id: int, ssn: int, ppid: int, payload: bytes) -> bytes:
    """Write one DATA chunk with its padding.

    A sender in a hurry puts pack_data(...), the payload and PADDING[length & 3] into its packet as they are.
    Source: RFC 9260 section 3.3.1.
    """
    length = 16 + len(payload)
    return pack_data(DATA, flags, length, tsn, stream_id, ssn, ppid) + payload + PADDING[length & 3]


def read_i_data(data: bytes, at: int, end: int) -> tuple[int, int, int, int, int, bytes]:
    """Read one I-DATA chunk.

    +---------------+-------+-+-+-+-+-------------------------------+
    |   Type = 64   |  Res  |I|U|B|E|            Length             |
    |                              TSN                              |
    |        Stream Identifier      |           Reserved            |
    |                      Message Identifier                       |
    |    Payload Protocol Identifier / Fragment Sequence Number     |
    |                           User Data                           |
    +---------------------------------------------------------------+

    data: a whole SCTP packet.  at, end: byte offsets of the chunk, padding excluded.
    Returns (flags, tsn, stream_id, mid, ppid if flags & BEGIN else fsn, payload).
    Raises WireError if it is shorter than its header.
    Source: RFC 8260 section 2.1.
    """
    if end - at < 20:
        raise WireError(f"I-DATA chunk of {end - at} bytes")
    _, flags, _, tsn, stream_id, _, mid, ppid_or_fsn = unpack_i_data(data, at)
    return flags, tsn, stream_id, mid, ppid_or_fsn, data[at + 20 : end]


def write_i_data(flags: int, tsn: int, stream_id: int, mid: int, ppid_or_fsn: int, payload: bytes) -> bytes:
    """Write one I-DATA chunk with its padding; ppid_or_fsn is the PPID if flags & BEGIN, else the FSN.

    Source: RFC 8260 section 2.1.
    """
    length = 20 + len(payload)
    return (
        pack_i_data(I_DATA, flags, length, tsn, stream_id, 0, mid, ppid_or_fsn)
        + payload
        + PADDING[length & 3]
    )


def read_sack(data: bytes, at: int, end: int) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    """Read one SACK chunk.

    +---------------+---------------+-------------------------------+
    |   Type = 3    |     Flags     |            Length             |
    |                      Cumulative TSN Ack                       |
    |                 Advertised window, a_rwnd (bytes)             |
    |      gap blocks, n            |      duplicate TSNs, m        |
    |      n * (start, end)  u16, relative to Cumulative TSN Ack    |
    |      m * TSN           u32                                    |
    +---------------------------------------------------------------+

    data: a whole SCTP packet.  at, end: byte offsets of the chunk, padding excluded.
    Returns (cumulative_tsn, a_rwnd, gaps, duplicates), gaps = (start0, end0, start1, end1, ...) as they came:
            whether they make sense only the sender of the data can tell.
    Raises WireError if the counts do not fill the chunk exactly.
    Source: RFC 9260 section 3.3.4.
    """
    size = end - at
    if size < 16:
        raise WireError(f"SACK of {size} bytes")
    _, _, _, cumulative, window, n, m = unpack_sack(data, at)
    if size != 16 + 4 * (n + m):
        raise WireError(f"SACK of {size} bytes announces {n} gap blocks and {m} duplicates")
    if size == 16:
        return cumulative, window, (), ()
    gaps = struct.unpack_from(f"!{2 * n}H", data, at + 16)
    return cumulative, window, gaps, struct.unpack_from(f"!{m}I", data, at + 16 + 4 * n) if m else ()


def write_sack(
    cumulative_tsn: int, a_rwnd: int, gaps: Sequence[int] = (), duplicates: Sequence[int] = ()
) -> bytes:
    """Write one SACK chunk.

    a_rwnd        bytes, 0 to 2**32 - 1.
    gaps          (start0, end0, start1, end1, ...), relative to cumulative_tsn.
    duplicates    TSNs.
    Source: RFC 9260 section 3.3.4.
    """
    n = len(gaps)
    m = len(duplicates)
    size = 16 + 2 * n + 4 * m
    if size == 16:
        return _SACK.pack(SACK, 0, 16, cumulative_tsn, a_rwnd, 0, 0)
    return struct.pack(
        f"!BBHIIHH{n}H{m}I", SACK, 0, size, cumulative_tsn, a_rwnd, n // 2, m, *gaps, *duplicates
    )


def read_forward_tsn(data: bytes, at: int, end: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Read one FORWARD-TSN chunk.

    +---------------+---------------+-------------------------------+
    |   Type = 192  |  Flags = 0    |        Length = 8 + 4 * n     |
    |                      New Cumulative TSN                       |
    |      n * (stream identifier, stream sequence number)  u16     |
    +---------------------------------------------------------------+

    data: a whole SCTP packet.  at, end: byte offsets of the chunk, padding excluded.
    Returns (new_cumulative_tsn, ((stream_id, ssn), ...)): the largest SSN skipped of each stream.
    Raises WireError if the length does not fit.
    Source: RFC 3758 section 3.2.
    """
    size = end - at
    if size < 8 or size & 3:
        raise WireError(f"FORWARD-TSN of {size} bytes")
    numbers = struct.unpack_from(f"!I{(size - 8) // 2}H", data, at + 4)
    return numbers[0], tuple(zip(numbers[1::2], numbers[2::2], strict=True))


def write_forward_tsn(new_cumulative_tsn: int, skipped: Iterable[tuple[int, int]]) -> bytes:
    """Write one FORWARD-TSN chunk; skipped is (stream_id, ssn) for each stream.

    Source: RFC 3758 section 3.2.
    """
    numbers = [number for pair in skipped for number in pair]
    size = 8 + 2 * len(numbers)
    return struct.pack(f"!BBHI{len(numbers)}H", FORWARD_TSN, 0, size, new_cumulative_tsn, *numbers)


def read_i_forward_tsn(data: bytes, at: int, end: int) -> tuple[int, tuple[tuple[int, bool, int], ...]]:
    """Read one I-FORWARD-TSN chunk.

    +---------------+---------------+-------------------------------+
    |   Type = 194  |  Flags = 0    |        Length = 8 + 8 * n     |
    |                      New Cumulative TSN                       |
    |  n * (stream identifier u16, U bit u16, message identifier u32)
    +---------------------------------------------------------------+

    data: a whole SCTP packet.  at, end: byte offsets of the chunk, padding excluded.
    Returns (new_cumulative_tsn, ((stream_id, unordered, mid), ...)): the largest MID skipped of each stream.
    Raises WireError if the length does not fit.
    Source: RFC 8260 section 2.3.1.
    """
    size = end - at
    if size < 8 or size & 7:
        raise WireError(f"I-FORWARD-TSN of {size} bytes")
    _, _, _, cumulative = _HEAD_AND_TSN.unpack_from(data, at)
    entries = struct.iter_unpack("!HHI", data[at + 8 : end])
    return cumulative, tuple([(stream_id, bool(flags & 1), mid) for stream_id, flags, mid in entries])


def write_i_forward_tsn(new_cumulative_tsn: int, skipped: Iterable[tuple[int, bool, int]]) -> bytes:
    """Write one I-FORWARD-TSN chunk; skipped is (stream_id, unordered, mid) for each stream and kind.

    Source: RFC 8260 section 2.3.1.
    """
    entries = b"".join([struct.pack("!HHI", *entry) for entry in skipped])
    return _HEAD_AND_TSN.pack(I_FORWARD_TSN, 0, 8 + len(entries), new_cumulative_tsn) + entries


def write_chunk(chunk_type: int, flags: int, value: bytes) -> bytes:
    """Write a chunk of any type with its padding.

    Source: RFC 9260 section 3.2.
    """
    length = 4 + len(value)
    return _HEAD.pack(chunk_type, flags, length) + value + PADDING[length & 3]


def _open(chunk: bytes, chunk_type: int, shortest: int = 4) -> None:
    """Check that these bytes are one chunk of this type with at least so many bytes."""
    if len(chunk) < shortest or len(chunk) < 4:
        raise WireError(f"{CHUNK_NAMES[chunk_type]} of {len(chunk)} bytes")
    found, _, length = _HEAD.unpack_from(chunk)
    if found != chunk_type or length != len(chunk):
        raise WireError(f"{len(chunk)} bytes are no {CHUNK_NAMES[chunk_type]}: type {found}, length {length}")


@dataclass(frozen=True, slots=True)
class Init:
    """INIT: begins an association.

    +---------------+---------------+-------------------------------+
    |   Type = 1    |  Chunk Flags  |      Chunk Length             |
    |                         Initiate Tag                          |
    |          Advertised Receiver Window Credit (a_rwnd)           |
    |  Number of Outbound Streams   |   Number of Inbound Streams   |
    |                          Initial TSN                          |
    |              Optional/Variable-Length Parameters              |
    +---------------------------------------------------------------+

    Values that the RFC forbids (tag 0, no streams, a_rwnd under 1500) are read: they want an answer.
    Source: RFC 9260 section 3.3.2.
    """

    TYPE: ClassVar[int] = INIT

    initiate_tag: int
    a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    parameters: tuple[Parameter, ...] = ()

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk, padding excluded; raises WireError."""
        _open(chunk, cls.TYPE, 20)
        tag, a_rwnd, outbound, inbound, tsn = struct.unpack_from("!IIHHI", chunk, 4)
        return cls(tag, a_rwnd, outbound, inbound, tsn, read_parameters(chunk, 20))

    def write(self) -> bytes:
        """Write the chunk with its padding."""
        fixed = struct.pack(
            "!IIHHI",
            self.initiate_tag,
            self.a_rwnd,
            self.outbound_streams,
            self.inbound_streams,
            self.initial_tsn,
        )
        return write_chunk(self.TYPE, 0, fixed + write_parameters(self.parameters))


@dataclass(frozen=True, slots=True)
class InitAck(Init):
    """INIT ACK: the same fields as INIT; the State Cookie is among the parameters.

    Source: RFC 9260 section 3.3.3.
    """

    TYPE: ClassVar[int] = INIT_ACK


@dataclass(frozen=True, slots=True)
class CookieEcho:
    """COOKIE ECHO: gives the State Cookie back.

    Source: RFC 9260 section 3.3.11.
    """

    cookie: bytes

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk, padding excluded; raises WireError."""
        _open(chunk, COOKIE_ECHO)
        return cls(chunk[4:])

    def write(self) -> bytes:
        """Write the chunk with its padding."""
        return write_chunk(COOKIE_ECHO, 0, self.cookie)


@dataclass(frozen=True, slots=True)
class CookieAck:
    """COOKIE ACK: a chunk without a value.

    Source: RFC 9260 section 3.3.12.
    """

    TYPE: ClassVar[int] = COOKIE_ACK

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk, whose value, if any, is ignored; raises WireError."""
        _open(chunk, cls.TYPE)
        return cls()

    def write(self) -> bytes:
        """Write the chunk."""
        return write_chunk(self.TYPE, 0, b"")


@dataclass(frozen=True, slots=True)
class ShutdownAck(CookieAck):
    """SHUTDOWN ACK: a chunk without a value.

    Source: RFC 9260 section 3.3.9.
    """

    TYPE: ClassVar[int] = SHUTDOWN_ACK


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """HEARTBEAT: asks whether the peer is there.

    value    the parameters as they travel, to be sent back as they are.
    Source: RFC 9260 section 3.3.5.
    """

    TYPE: ClassVar[int] = HEARTBEAT

    value: bytes

    @classmethod
    def with_info(cls, info: bytes) -> Self:
        """Make one whose Heartbeat Info parameter holds these bytes."""
        return cls(write_parameter(HEARTBEAT_INFO, info))

    @property
    def info(self) -> bytes | None:
        """What the Heartbeat Info parameter holds; None if there is none or it is malformed."""
        try:
            return find_parameter(read_parameters(self.value), HEARTBEAT_INFO)
        except WireError:
            return None

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk, padding excluded; raises WireError."""
        _open(chunk, cls.TYPE)
        return cls(chunk[4:])

    def write(self) -> bytes:
        """Write the chunk with its padding."""
        return write_chunk(self.TYPE, 0, self.value)


@dataclass(frozen=True, slots=True)
class HeartbeatAck(Heartbeat):
    """HEARTBEAT ACK: gives the value of a HEARTBEAT back.

    Source: RFC 9260 section 3.3.6.
    """

    TYPE: ClassVar[int] = HEARTBEAT_ACK


Cause: TypeAlias = tuple[int, bytes]
"""(code, value) of an error cause."""


def read_causes(data: bytes, at: int = 0) -> tuple[Cause, ...]:
    """Read error causes up to the first that is malformed: a report of an error is not worth another error.

    Source: RFC 9260 section 3.3.10.
    """
    causes = []
    size = len(data)
    while size - at >= 4:
        code, length = struct.unpack_from("!HH", data, at)
        if length < 4 or length > size - at:
            break
        causes.append((code, data[at + 4 : at + length]))
        at += (length + 3) & ~3
    return tuple(causes)


def describe_causes(causes: Iterable[Cause]) -> str:
    """Put error causes into words for logs and failure reasons, the peer's text cut at 200 bytes."""
    words = []
    for code, value in causes:
        name = CAUSE_NAMES.get(code, f"cause {code}")
        text = ""
        if code in (USER_INITIATED_ABORT, PROTOCOL_VIOLATION):
            text = value[:200].decode("utf-8", "replace")
        words.append(f"{name} ({text})" if text.isprintable() and text else name)
    return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Abort:
    """ABORT: ends the association at once.

    reflected    T bit: the verification tag is the one of the receiver of this chunk.
    Source: RFC 9260 section 3.3.7.
    """

    causes: tuple[Cause, ...] = ()
    reflected: bool = False

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk, padding excluded; malformed causes are left out; raises WireError."""
        _open(chunk, ABORT)
        return cls(read_causes(chunk, 4), bool(chunk[1] & REFLECTED))

    def write(self) -> bytes:
        """Write the chunk with its padding."""
        return write_chunk(ABORT, REFLECTED if self.reflected else 0, write_parameters(self.causes))


@dataclass(frozen=True, slots=True)
class ErrorChunk:
    """ERROR: reports causes that do not end the association.

    Source: RFC 9260 section 3.3.10.
    """

    causes: tuple[Cause, ...]

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk, padding excluded; malformed causes are left out; raises WireError."""
        _open(chunk, ERROR)
        return cls(read_causes(chunk, 4))

    def write(self) -> bytes:
        """Write the chunk with its padding."""
        return write_chunk(ERROR, 0, write_parameters(self.causes))


@dataclass(frozen=True, slots=True)
class Shutdown:
    """SHUTDOWN: begins the graceful end; acknowledges data like a SACK without gap blocks.

    Source: RFC 9260 section 3.3.8.
    """

    cumulative_tsn: int

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk; raises WireError."""
        _open(chunk, SHUTDOWN, 8)
        return cls(*struct.unpack_from("!I", chunk, 4))

    def write(self) -> bytes:
        """Write the chunk."""
        return write_chunk(SHUTDOWN, 0, struct.pack("!I", self.cumulative_tsn))


@dataclass(frozen=True, slots=True)
class ShutdownComplete:
    """SHUTDOWN COMPLETE: the end.

    reflected    T bit: the verification tag is the one of the receiver of this chunk.
    Source: RFC 9260 section 3.3.13.
    """

    reflected: bool = False

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk; raises WireError."""
        _open(chunk, SHUTDOWN_COMPLETE)
        return cls(bool(chunk[1] & REFLECTED))

    def write(self) -> bytes:
        """Write the chunk."""
        return write_chunk(SHUTDOWN_COMPLETE, REFLECTED if self.reflected else 0, b"")


@dataclass(frozen=True, slots=True)
class ReConfig:
    """RE-CONFIG: one or two requests and responses about streams.

    Source: RFC 6525 section 3.1.
    """

    parameters: tuple[ReconfigurationParameter, ...]

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk, padding excluded; raises WireError."""
        _open(chunk, RE_CONFIG)
        return cls(parse_reconfiguration(read_parameters(chunk, 4)))

    def write(self) -> bytes:
        """Write the chunk."""
        return write_chunk(
            RE_CONFIG, 0, join_parameters([parameter.write() for parameter in self.parameters])
        )


@dataclass(frozen=True, slots=True)
class Pad:
    """PAD: makes a packet larger.

    size    bytes of the whole chunk, a multiple of 4, from 4 to 65532.
    Source: RFC 4820 section 3.
    """

    size: int

    @classmethod
    def parse(cls, chunk: bytes) -> Self:
        """Read the whole chunk; raises WireError."""
        _open(chunk, PAD)
        return cls(len(chunk))

    def write(self) -> bytes:
        """Write the chunk."""
        return write_chunk(PAD, 0, bytes(self.size - 4))
