"""Parameters of INIT, INIT ACK, HEARTBEAT and RE-CONFIG chunks: type, length, value.

A parameter is a plain tuple (type, value) until someone needs what is in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias

from rtcstack.errors import WireError

__all__ = [
    "ADD_INCOMING_STREAMS_REQUEST",
    "ADD_OUTGOING_STREAMS_REQUEST",
    "BAD_SEQUENCE_NUMBER",
    "COOKIE_PRESERVATIVE",
    "DENIED",
    "DTLS_ERROR_DETECTION",
    "ECN_CAPABLE",
    "FORWARD_TSN_SUPPORTED",
    "HEARTBEAT_INFO",
    "HOST_NAME_ADDRESS",
    "INCOMING_SSN_RESET_REQUEST",
    "IN_PROGRESS",
    "IPV4_ADDRESS",
    "IPV6_ADDRESS",
    "NOTHING_TO_DO",
    "OUTGOING_SSN_RESET_REQUEST",
    "PADDING",
    "PERFORMED",
    "RECONFIGURATION_RESPONSE",
    "REQUEST_ALREADY_IN_PROGRESS",
    "SSN_TSN_RESET_REQUEST",
    "STATE_COOKIE",
    "SUPPORTED_ADDRESS_TYPES",
    "SUPPORTED_EXTENSIONS",
    "UNRECOGNIZED_PARAMETER",
    "WRONG_SSN",
    "ZERO_CHECKSUM_ACCEPTABLE",
    "AddIncomingStreamsRequest",
    "AddOutgoingStreamsRequest",
    "IncomingSsnResetRequest",
    "OutgoingSsnResetRequest",
    "Parameter",
    "ReconfigurationParameter",
    "ReconfigurationResponse",
    "SsnTsnResetRequest",
    "find_parameter",
    "join_parameters",
    "parse_reconfiguration",
    "read_parameters",
    "sort_parameters",
    "write_parameter",
    "write_parameters",
]

Parameter: TypeAlias = tuple[int, bytes]
"""(type, value): what stands between the length field and the padding."""

# RFC 9260 sections 3.3.2, 3.3.3 and 3.3.5
HEARTBEAT_INFO = 1
IPV4_ADDRESS = 5
IPV6_ADDRESS = 6
STATE_COOKIE = 7
UNRECOGNIZED_PARAMETER = 8
COOKIE_PRESERVATIVE = 9
HOST_NAME_ADDRESS = 11
SUPPORTED_ADDRESS_TYPES = 12
ECN_CAPABLE = 0x8000
# RFC 9653
ZERO_CHECKSUM_ACCEPTABLE = 0x8001
DTLS_ERROR_DETECTION = 1
"""Value of Zero Checksum Acceptable that means SCTP over DTLS, as 32 bits."""
# RFC 4820 section 4
PADDING = 0x8005
# RFC 5061 section 4.2.7
SUPPORTED_EXTENSIONS = 0x8008
# RFC 3758 section 3.1
FORWARD_TSN_SUPPORTED = 0xC000
# RFC 6525 section 4
OUTGOING_SSN_RESET_REQUEST = 13
INCOMING_SSN_RESET_REQUEST = 14
SSN_TSN_RESET_REQUEST = 15
RECONFIGURATION_RESPONSE = 16
ADD_OUTGOING_STREAMS_REQUEST = 17
ADD_INCOMING_STREAMS_REQUEST = 18

# Results in a Re-configuration Response, RFC 6525 section 4.4
NOTHING_TO_DO = 0
PERFORMED = 1
DENIED = 2
WRONG_SSN = 3
REQUEST_ALREADY_IN_PROGRESS = 4
BAD_SEQUENCE_NUMBER = 5
IN_PROGRESS = 6

# What to do with a parameter that is not known, in the two highest bits of its type: RFC 9260 section 3.2.1
_SKIP = 0x8000
_REPORT = 0x4000

_TLV = struct.Struct("!HH")
_pack_tlv = _TLV.pack
_unpack_tlv = _TLV.unpack_from


def write_parameter(kind: int, value: bytes) -> bytes:
    """Write one parameter or, as it has the same form, one error cause; without the padding.

    Source: RFC 9260 sections 3.2.1 and 3.3.10.
    """
    return _pack_tlv(kind, 4 + len(value)) + value


def join_parameters(written: Iterable[bytes]) -> bytes:
    """Put written parameters or causes behind each other, with the zeros that each needs but the last.

    The length of a chunk counts the padding between its parameters, but not the one at its end.
    Source: RFC 9260 section 3.2.
    """
    joined = b""
    for parameter in written:
        joined += bytes(-len(joined) & 3) + parameter
    return joined


def write_parameters(parameters: Iterable[Parameter]) -> bytes:
    """Write parameters, or causes, behind each other, as a chunk holds them."""
    return join_parameters([write_parameter(kind, value) for kind, value in parameters])


def read_parameters(data: bytes, at: int = 0) -> tuple[Parameter, ...]:
    """Read all parameters of a chunk.

    data    the chunk; at: byte offset in it of the first parameter.
    Raises WireError if a length is smaller than 4 or larger than what is left. Padding that is missing behind
           the last one is forgiven: the length of a chunk may or may not count it.
    Source: RFC 9260 section 3.2.1.
    """
    parameters = []
    size = len(data)
    while at < size:
        if size - at < 4:
            raise WireError(f"{size - at} bytes behind the last parameter")
        kind, length = _unpack_tlv(data, at)
        if length < 4 or length > size - at:
            raise WireError(f"parameter of type {kind} and length {length} with {size - at} bytes left")
        parameters.append((kind, data[at + 4 : at + length]))
        at += (length + 3) & ~3
    return tuple(parameters)


def find_parameter(parameters: Iterable[Parameter], kind: int) -> bytes | None:
    """Give the value of the first parameter of this type; None if there is none."""
    for found, value in parameters:
        if found == kind:
            return value
    return None


def sort_parameters(
    parameters: Iterable[Parameter], known: Set[int]
) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    """Decide by the two highest bits of their types what becomes of parameters that we do not know.

    00 stops, 01 stops and reports, 10 skips, 11 skips and reports.

    Returns (to process, to report): the known ones in front of the first that says stop; and the unknown ones
            to send back, each as write_parameter(*it), in Unrecognized Parameter parameters of the INIT ACK
            or in an ERROR chunk.
    Source: RFC 9260 sections 3.2.1 and 3.2.2.
    """
    process = []
    report = []
    for kind, value in parameters:
        if kind in known:
            process.append((kind, value))
            continue
        if kind & _REPORT:
            report.append((kind, value))
        if not kind & _SKIP:
            break
    return tuple(process), tuple(report)


def _read_stream_ids(value: bytes, at: int) -> tuple[int, ...]:
    if len(value) < at or len(value) & 1:
        raise WireError(f"SSN reset request with a value of {len(value)} bytes")
    return struct.unpack_from(f"!{(len(value) - at) // 2}H", value, at)


@dataclass(frozen=True, slots=True)
class OutgoingSsnResetRequest:
    """The sender wants to begin its outgoing streams anew.

    request_sequence    number of this request.
    response_sequence   number of the incoming request that this one answers, else the last one that was seen.
    last_tsn            the last TSN that the sender assigned: the reset is due when all up to it have come.
    stream_ids          empty means all.
    Source: RFC 6525 section 4.1.
    """

    TYPE: ClassVar[int] = OUTGOING_SSN_RESET_REQUEST

    request_sequence: int
    response_sequence: int
    last_tsn: int
    stream_ids: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read the value of the parameter; raises WireError if its length is not 12 + 2 * n."""
        stream_ids = _read_stream_ids(value, 12)
        request, response, last_tsn = struct.unpack_from("!III", value)
        return cls(request, response, last_tsn, stream_ids)

    def write(self) -> bytes:
        """Write the whole parameter, without the padding."""
        ids = self.stream_ids
        value = struct.pack(
            f"!III{len(ids)}H", self.request_sequence, self.response_sequence, self.last_tsn, *ids
        )
        return write_parameter(self.TYPE, value)


@dataclass(frozen=True, slots=True)
class IncomingSsnResetRequest:
    """The sender wants its peer to reset the peer's outgoing streams; empty stream_ids means all.

    Source: RFC 6525 section 4.2.
    """

    TYPE: ClassVar[int] = INCOMING_SSN_RESET_REQUEST

    request_sequence: int
    stream_ids: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read the value of the parameter; raises WireError if its length is not 4 + 2 * n."""
        stream_ids = _read_stream_ids(value, 4)
        (request,) = struct.unpack_from("!I", value)
        return cls(request, stream_ids)

    def write(self) -> bytes:
        """Write the whole parameter, without the padding."""
        ids = self.stream_ids
        return write_parameter(self.TYPE, struct.pack(f"!I{len(ids)}H", self.request_sequence, *ids))


@dataclass(frozen=True, slots=True)
class SsnTsnResetRequest:
    """The sender wants TSNs and SSNs of all streams both ways to begin anew.

    Source: RFC 6525 section 4.3.
    """

    TYPE: ClassVar[int] = SSN_TSN_RESET_REQUEST

    request_sequence: int

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read the value of the parameter; raises WireError if it is not 4 bytes long."""
        if len(value) != 4:
            raise WireError(f"SSN/TSN reset request with a value of {len(value)} bytes")
        return cls(*struct.unpack("!I", value))

    def write(self) -> bytes:
        """Write the whole parameter."""
        return write_parameter(self.TYPE, struct.pack("!I", self.request_sequence))


@dataclass(frozen=True, slots=True)
class ReconfigurationResponse:
    """The answer to a request.

    response_sequence   number of the request.
    result              NOTHING_TO_DO, PERFORMED, DENIED, ...; a value that is not known is a refusal.
    sender_next_tsn, receiver_next_tsn   only in answer to an SSN/TSN reset request, both or none.
    Source: RFC 6525 section 4.4.
    """

    TYPE: ClassVar[int] = RECONFIGURATION_RESPONSE

    response_sequence: int
    result: int
    sender_next_tsn: int | None = None
    receiver_next_tsn: int | None = None

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read the value of the parameter; raises WireError if it is not 8 or 16 bytes long."""
        if len(value) not in (8, 16):
            raise WireError(f"re-configuration response with a value of {len(value)} bytes")
        return cls(*struct.unpack(f"!{len(value) // 4}I", value))

    def write(self) -> bytes:
        """Write the whole parameter."""
        value = struct.pack("!II", self.response_sequence, self.result)
        if self.sender_next_tsn is not None and self.receiver_next_tsn is not None:
            value += struct.pack("!II", self.sender_next_tsn, self.receiver_next_tsn)
        return write_parameter(self.TYPE, value)


@dataclass(frozen=True, slots=True)
class AddOutgoingStreamsRequest:
    """The sender wants so many more outgoing streams.

    Source: RFC 6525 section 4.5.
    """

    TYPE: ClassVar[int] = ADD_OUTGOING_STREAMS_REQUEST

    request_sequence: int
    new_streams: int

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read the value of the parameter; raises WireError if it is not 8 bytes long."""
        if len(value) != 8:
            raise WireError(f"request to add streams with a value of {len(value)} bytes")
        return cls(*struct.unpack("!IH2x", value))

    def write(self) -> bytes:
        """Write the whole parameter."""
        return write_parameter(self.TYPE, struct.pack("!IH2x", self.request_sequence, self.new_streams))


@dataclass(frozen=True, slots=True)
class AddIncomingStreamsRequest(AddOutgoingStreamsRequest):
    """The sender wants its peer to add so many outgoing streams.

    Source: RFC 6525 section 4.6.
    """

    TYPE: ClassVar[int] = ADD_INCOMING_STREAMS_REQUEST


ReconfigurationParameter: TypeAlias = (
    OutgoingSsnResetRequest
    | IncomingSsnResetRequest
    | SsnTsnResetRequest
    | ReconfigurationResponse
    | AddOutgoingStreamsRequest
    | AddIncomingStreamsRequest
)

_RECONFIGURATION: dict[int, type[ReconfigurationParameter]] = {
    OUTGOING_SSN_RESET_REQUEST: OutgoingSsnResetRequest,
    INCOMING_SSN_RESET_REQUEST: IncomingSsnResetRequest,
    SSN_TSN_RESET_REQUEST: SsnTsnResetRequest,
    RECONFIGURATION_RESPONSE: ReconfigurationResponse,
    ADD_OUTGOING_STREAMS_REQUEST: AddOutgoingStreamsRequest,
    ADD_INCOMING_STREAMS_REQUEST: AddIncomingStreamsRequest,
}


def parse_reconfiguration(parameters: Sequence[Parameter]) -> tuple[ReconfigurationParameter, ...]:
    """Read the parameters of a RE-CONFIG chunk.

    Raises WireError if there is none, more than two, or one that is malformed or does not belong there.
    Source: RFC 6525 section 3.1.
    """
    if not 1 <= len(parameters) <= 2:
        raise WireError(f"RE-CONFIG with {len(parameters)} parameters")
    parsed = []
    for kind, value in parameters:
        parameter_class = _RECONFIGURATION.get(kind)
        if parameter_class is None:
            raise WireError(f"RE-CONFIG with a parameter of type {kind}")
        parsed.append(parameter_class.parse(value))
    return tuple(parsed)
