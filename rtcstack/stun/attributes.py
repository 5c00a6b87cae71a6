"""The table of STUN attributes: how each value is read from the wire and written to it."""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from rtcstack.errors import WireError

__all__ = [
    "ALTERNATE_DOMAIN",
    "ALTERNATE_SERVER",
    "ATTRIBUTES",
    "CHANGE_REQUEST",
    "CHANNEL_NUMBER",
    "DATA",
    "ERROR_CODE",
    "FINGERPRINT",
    "FINGERPRINT_XOR",
    "ICE_CONTROLLED",
    "ICE_CONTROLLING",
    "ICMP",
    "LIFETIME",
    "MAGIC_COOKIE",
    "MAPPED_ADDRESS",
    "MESSAGE_INTEGRITY",
    "MESSAGE_INTEGRITY_SHA256",
    "NONCE",
    "OTHER_ADDRESS",
    "PADDING",
    "PASSWORD_ALGORITHM",
    "PASSWORD_ALGORITHMS",
    "PRIORITY",
    "REALM",
    "REQUESTED_ADDRESS_FAMILY",
    "REQUESTED_TRANSPORT",
    "RESPONSE_ORIGIN",
    "RESPONSE_PORT",
    "SOFTWARE",
    "UNKNOWN_ATTRIBUTES",
    "USERHASH",
    "USERNAME",
    "USE_CANDIDATE",
    "XOR_MAPPED_ADDRESS",
    "XOR_PEER_ADDRESS",
    "XOR_RELAYED_ADDRESS",
    "Address",
    "Algorithm",
    "Attribute",
]

Address = tuple[str, int]
"""IP address as text, without zone, and port."""

Algorithm = tuple[int, bytes]
"""Number of a password algorithm and its parameters (RFC 8489 section 18.5)."""

MAGIC_COOKIE = b"\x21\x12\xa4\x42"
"""The fixed second word of every STUN header (RFC 8489 section 5)."""

FINGERPRINT_XOR = 0x5354554E
"""What the checksum of a FINGERPRINT is combined with (RFC 8489 section 14.7)."""

Value = TypeVar("Value")


class Attribute(Generic[Value]):
    """One attribute type and its codec; it is the key under which a Message holds the value.

    type    number on the wire; 0x8000 and above may be ignored by who does not know it.
    name    as the RFC spells it.
    read    (value, transaction id) -> decoded value; raises WireError.
    write   (decoded value, transaction id) -> value without padding.
    """

    __slots__ = ("name", "read", "type", "write")

    def __init__(
        self,
        type_: int,
        name: str,
        read: Callable[[bytes, bytes], Value],
        write: Callable[[Value, bytes], bytes],
    ) -> None:
        self.type = type_
        self.name = name
        self.read = read
        self.write = write
        ATTRIBUTES[type_] = self

    def __repr__(self) -> str:
        return self.name


ATTRIBUTES: dict[int, Attribute[Any]] = {}
"""Every attribute that this process understands, by number on the wire."""


def _read_bytes(value: bytes, transaction_id: bytes) -> bytes:
    return value


def _write_bytes(value: bytes, transaction_id: bytes) -> bytes:
    return value


def _read_text(value: bytes, transaction_id: bytes) -> str:
    return value.decode("utf-8", "replace")


def _write_text(value: str, transaction_id: bytes) -> bytes:
    return value.encode("utf-8")


def _read_flag(value: bytes, transaction_id: bytes) -> bool:
    return True


def _write_flag(value: bool, transaction_id: bytes) -> bytes:
    return b""


def _sized(size: int) -> Callable[[bytes, bytes], bytes]:
    def read(value: bytes, transaction_id: bytes) -> bytes:
        if len(value) != size:
            raise WireError(f"attribute of {len(value)} bytes, not {size}")
        return value

    return read


def _unsigned(size: int) -> tuple[Callable[[bytes, bytes], int], Callable[[int, bytes], bytes]]:
    def read(value: bytes, transaction_id: bytes) -> int:
        if len(value) != size:
            raise WireError(f"number of {len(value)} bytes, not {size}")
        return int.from_bytes(value, "big")

    def write(value: int, transaction_id: bytes) -> bytes:
        return value.to_bytes(size, "big")

    return read, write


# A connection names the same few addresses in every message, and `ipaddress` is slow.
@functools.lru_cache(maxsize=1024)
def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


@functools.lru_cache(maxsize=1024)
def _packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def _read_address(value: bytes, transaction_id: bytes) -> Address:
    """Read a transport address.

     0                   1                   2                   3
    +---------------+---------------+-------------------------------+
    |       0       | Family 1, 2   |             Port              |
    +---------------+---------------+-------------------------------+
    |                 Address (32 bits or 128 bits)                 |

    Source: RFC 8489 section 14.1.
    """
    family = value[1] if len(value) > 3 else 0
    port = int.from_bytes(value[2:4], "big")
    if family == 1 and len(value) == 8:
        return _text(value[4:]), port
    if family == 2 and len(value) == 20:
        return _text(value[4:]), port
    raise WireError(f"address of family {family} in {len(value)} bytes")


def _write_address(value: Address, transaction_id: bytes) -> bytes:
    packed = _packed(value[0])
    return struct.pack("!BBH", 0, 1 if len(packed) == 4 else 2, value[1]) + packed


def _xor_address(value: bytes, transaction_id: bytes) -> bytes:
    """Hide or show port and address behind cookie and transaction id (RFC 8489 section 14.2)."""
    mask = b"\0\0" + MAGIC_COOKIE[:2] + (MAGIC_COOKIE + transaction_id)[: len(value) - 4]
    return (int.from_bytes(value, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(value), "big")


def _read_xor_address(value: bytes, transaction_id: bytes) -> Address:
    if len(value) not in (8, 20):
        raise WireError(f"address in {len(value)} bytes")
    return _read_address(_xor_address(value, transaction_id), transaction_id)


def _write_xor_address(value: Address, transaction_id: bytes) -> bytes:
    return _xor_address(_write_address(value, transaction_id), transaction_id)


def _read_error_code(value: bytes, transaction_id: bytes) -> tuple[int, str]:
    """Read class (3 to 6), number (0 to 99) and reason phrase (RFC 8489 section 14.8)."""
    if len(value) < 4:
        raise WireError("ERROR-CODE shorter than 4 bytes")
    hundreds, number = value[2] & 7, value[3]
    if not 3 <= hundreds <= 6 or number > 99:
        raise WireError(f"ERROR-CODE of class {hundreds} and number {number}")
    return hundreds * 100 + number, value[4:].decode("utf-8", "replace")


def _write_error_code(value: tuple[int, str], transaction_id: bytes) -> bytes:
    code, reason = value
    return bytes((0, 0, code // 100, code % 100)) + reason.encode("utf-8")


def _read_types(value: bytes, transaction_id: bytes) -> tuple[int, ...]:
    if len(value) % 2:
        raise WireError("UNKNOWN-ATTRIBUTES of odd length")
    return struct.unpack(f"!{len(value) // 2}H", value)


def _write_types(value: Sequence[int], transaction_id: bytes) -> bytes:
    return struct.pack(f"!{len(value)}H", *value)


def _write_algorithm(value: Algorithm, transaction_id: bytes) -> bytes:
    number, parameters = value
    return struct.pack("!HH", number, len(parameters)) + parameters + bytes(-len(parameters) % 4)


def _read_algorithms(value: bytes, transaction_id: bytes) -> tuple[Algorithm, ...]:
    """Read a list of number u16, length u16, parameters, padding (RFC 8489 section 14.11)."""
    algorithms: list[Algorithm] = []
    at = 0
    while at < len(value):
        end = at + 4 + int.from_bytes(value[at + 2 : at + 4], "big")
        if end > len(value):
            raise WireError("a password algorithm runs past the end")
        algorithms.append((int.from_bytes(value[at : at + 2], "big"), value[at + 4 : end]))
        at = end + (-end & 3)
    return tuple(algorithms)


def _write_algorithms(value: Sequence[Algorithm], transaction_id: bytes) -> bytes:
    return b"".join(_write_algorithm(algorithm, transaction_id) for algorithm in value)


def _read_algorithm(value: bytes, transaction_id: bytes) -> Algorithm:
    algorithms = _read_algorithms(value, transaction_id)
    if len(algorithms) != 1:
        raise WireError(f"PASSWORD-ALGORITHM names {len(algorithms)} algorithms")
    return algorithms[0]


def _leading(size: int) -> tuple[Callable[[bytes, bytes], int], Callable[[int, bytes], bytes]]:
    """Return the codec of a number of `size` bytes that reserved ones fill up to 4."""

    def read(value: bytes, transaction_id: bytes) -> int:
        if len(value) != 4:
            raise WireError(f"number and reserved bytes are {len(value)} bytes, not 4")
        return int.from_bytes(value[:size], "big")

    def write(value: int, transaction_id: bytes) -> bytes:
        return value.to_bytes(size, "big") + bytes(4 - size)

    return read, write


def _read_icmp(value: bytes, transaction_id: bytes) -> tuple[int, int, int]:
    """Read ICMP type, code and error data, such as the MTU (RFC 8656 section 18.13)."""
    if len(value) != 8:
        raise WireError(f"ICMP of {len(value)} bytes, not 8")
    return value[2], value[3], int.from_bytes(value[4:], "big")


def _write_icmp(value: tuple[int, int, int], transaction_id: bytes) -> bytes:
    return struct.pack("!HBBI", 0, *value)


# RFC 8489 section 18.3
MAPPED_ADDRESS = Attribute(0x0001, "MAPPED-ADDRESS", _read_address, _write_address)
USERNAME = Attribute(0x0006, "USERNAME", _read_text, _write_text)
MESSAGE_INTEGRITY = Attribute(0x0008, "MESSAGE-INTEGRITY", _sized(20), _write_bytes)
ERROR_CODE = Attribute(0x0009, "ERROR-CODE", _read_error_code, _write_error_code)
UNKNOWN_ATTRIBUTES = Attribute(0x000A, "UNKNOWN-ATTRIBUTES", _read_types, _write_types)
REALM = Attribute(0x0014, "REALM", _read_text, _write_text)
NONCE = Attribute(0x0015, "NONCE", _read_bytes, _write_bytes)
# Section 14.6 lets a usage allow a truncated value; none of ours does.
MESSAGE_INTEGRITY_SHA256 = Attribute(0x001C, "MESSAGE-INTEGRITY-SHA256", _sized(32), _write_bytes)
PASSWORD_ALGORITHM = Attribute(0x001D, "PASSWORD-ALGORITHM", _read_algorithm, _write_algorithm)
USERHASH = Attribute(0x001E, "USERHASH", _sized(32), _write_bytes)
XOR_MAPPED_ADDRESS = Attribute(0x0020, "XOR-MAPPED-ADDRESS", _read_xor_address, _write_xor_address)
PASSWORD_ALGORITHMS = Attribute(0x8002, "PASSWORD-ALGORITHMS", _read_algorithms, _write_algorithms)
ALTERNATE_DOMAIN = Attribute(0x8003, "ALTERNATE-DOMAIN", _read_text, _write_text)
SOFTWARE = Attribute(0x8022, "SOFTWARE", _read_text, _write_text)
ALTERNATE_SERVER = Attribute(0x8023, "ALTERNATE-SERVER", _read_address, _write_address)
FINGERPRINT = Attribute(0x8028, "FINGERPRINT", *_unsigned(4))
# RFC 8445 section 16.1
PRIORITY = Attribute(0x0024, "PRIORITY", *_unsigned(4))
USE_CANDIDATE = Attribute(0x0025, "USE-CANDIDATE", _read_flag, _write_flag)
ICE_CONTROLLED = Attribute(0x8029, "ICE-CONTROLLED", *_unsigned(8))
ICE_CONTROLLING = Attribute(0x802A, "ICE-CONTROLLING", *_unsigned(8))
# RFC 8656 section 18
CHANNEL_NUMBER = Attribute(0x000C, "CHANNEL-NUMBER", *_leading(2))
LIFETIME = Attribute(0x000D, "LIFETIME", *_unsigned(4))
XOR_PEER_ADDRESS = Attribute(0x0012, "XOR-PEER-ADDRESS", _read_xor_address, _write_xor_address)
DATA = Attribute(0x0013, "DATA", _read_bytes, _write_bytes)
XOR_RELAYED_ADDRESS = Attribute(0x0016, "XOR-RELAYED-ADDRESS", _read_xor_address, _write_xor_address)
REQUESTED_ADDRESS_FAMILY = Attribute(0x0017, "REQUESTED-ADDRESS-FAMILY", *_leading(1))
REQUESTED_TRANSPORT = Attribute(0x0019, "REQUESTED-TRANSPORT", *_leading(1))
ICMP = Attribute(0x8004, "ICMP", _read_icmp, _write_icmp)
# RFC 5780 section 7
CHANGE_REQUEST = Attribute(0x0003, "CHANGE-REQUEST", *_unsigned(4))
PADDING = Attribute(0x0026, "PADDING", _read_bytes, _write_bytes)
RESPONSE_PORT = Attribute(0x0027, "RESPONSE-PORT", *_leading(2))
RESPONSE_ORIGIN = Attribute(0x802B, "RESPONSE-ORIGIN", _read_address, _write_address)
OTHER_ADDRESS = Attribute(0x802C, "OTHER-ADDRESS", _read_address, _write_address)
