"""The chunks of a script: numbers small, flags as letters, fields left open where they do not matter.

TSNs, and numbers of re-configuration requests, are small: the first of either side is 1. A field that is left
open (ANY) has a plain value when it is sent, and matches everything when it is expected. By default a DATA
chunk holds the whole ordered message of its TSN on stream 0: TSN 1 has SSN 0, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from rtcstack.sctp import chunks as wire
from rtcstack.sctp.parameters import (
    STATE_COOKIE,
    Parameter,
    ReconfigurationParameter,
    find_parameter,
)
from rtcstack.serial import U16, U32

if TYPE_CHECKING:
    from sctp_peer import Peer

ANY: Final[Any] = type("Any", (), {"__repr__": lambda self: "ANY"})()
"""What a field holds that the script leaves open."""


def signed(number: int) -> int:
    """Give a 32-bit difference as the signed number that it is."""
    return ((number + (1 << 31)) & U32) - (1 << 31)


def plain(value: Any, default: Any) -> Any:
    """Give the value, or the default if the script left it open."""
    return default if value is ANY else value


@dataclass(frozen=True)
class Chunk:
    """One chunk of a script; `read` and `write` know the real numbers from Z."""

    TYPE: ClassVar[int]

    def write(self, z: Peer) -> bytes:
        """Write it as Z sends it."""
        raise NotImplementedError

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        """Read it as A has sent it."""
        raise NotImplementedError

    def __str__(self) -> str:
        said = [f"{field.name}={getattr(self, field.name)!r:.40}" for field in fields(self)]
        return f"{type(self).__name__}({', '.join(it for it in said if not it.endswith('=ANY'))})"

    def matches(self, found: object) -> bool:
        """Tell whether a chunk is as this one says."""
        return type(found) is type(self) and all(
            getattr(self, field.name) in (ANY, getattr(found, field.name)) for field in fields(self)
        )


@dataclass(frozen=True)
class Init(Chunk):
    """INIT; its tag and TSN are the real ones."""

    TYPE = wire.INIT
    WIRE: ClassVar[type[wire.Init]] = wire.Init

    tag: int = ANY
    window: int = ANY
    outbound: int = ANY
    inbound: int = ANY
    tsn: int = ANY
    parameters: tuple[Parameter, ...] = ANY

    def write(self, z: Peer) -> bytes:
        return self.WIRE(
            plain(self.tag, z.tag),
            plain(self.window, z.window),
            plain(self.outbound, z.streams),
            plain(self.inbound, z.streams),
            plain(self.tsn, z.first_tsn),
            self._parameters(z),
        ).write()

    def _parameters(self, z: Peer) -> tuple[Parameter, ...]:
        return plain(self.parameters, z.parameters)  # type: ignore[no-any-return]

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        init = cls.WIRE.parse(chunk)
        return cls(
            init.initiate_tag,
            init.a_rwnd,
            init.outbound_streams,
            init.inbound_streams,
            init.initial_tsn,
            init.parameters,
        )

    def find(self, kind: int) -> bytes | None:
        """Give the value of a parameter; None if there is none."""
        return find_parameter(self.parameters, kind)

    @property
    def cookie(self) -> bytes:
        """The State Cookie of an INIT ACK."""
        cookie = self.find(STATE_COOKIE)
        assert cookie is not None, "no State Cookie"
        return cookie


@dataclass(frozen=True)
class InitAck(Init):
    """INIT ACK; a State Cookie is added unless the parameters are given."""

    TYPE = wire.INIT_ACK
    WIRE = wire.InitAck

    def _parameters(self, z: Peer) -> tuple[Parameter, ...]:
        return plain(self.parameters, ((STATE_COOKIE, b"cookie of Z"), *z.parameters))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class CookieEcho(Chunk):
    """COOKIE ECHO; Z gives back the cookie of the last INIT ACK."""

    TYPE = wire.COOKIE_ECHO

    cookie: bytes = ANY

    def write(self, z: Peer) -> bytes:
        return wire.CookieEcho(z.answer.cookie if self.cookie is ANY else self.cookie).write()

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        return cls(wire.CookieEcho.parse(chunk).cookie)


@dataclass(frozen=True)
class Data(Chunk):
    """DATA; flags are letters: U, B, E and I."""

    TYPE = wire.DATA
    FLAGS: ClassVar[dict[str, int]] = {
        "U": wire.UNORDERED,
        "B": wire.BEGIN,
        "E": wire.END,
        "I": wire.IMMEDIATE,
    }

    tsn: int = ANY
    payload: bytes = ANY
    stream: int = ANY
    ssn: int = ANY
    ppid: int = ANY
    flags: str = ANY

    def write(self, z: Peer) -> bytes:
        return wire.write_data(
            self._bits(),
            z.tsn(self.tsn),
            plain(self.stream, 0),
            plain(self.ssn, self.tsn - 1) & U16,
            plain(self.ppid, 51),
            plain(self.payload, b"data"),
        )

    def _bits(self) -> int:
        return sum(self.FLAGS[letter] for letter in plain(self.flags, "BE"))

    def matches(self, found: object) -> bool:
        """Compare; an I bit that the script does not name is the sender's own business (RFC 9260 §6.1)."""
        if isinstance(found, Data) and "I" not in plain(self.flags, "I"):
            found = replace(found, flags=found.flags.replace("I", ""))
        return super().matches(found)

    @classmethod
    def letters(cls, bits: int) -> str:
        """Give flags as letters."""
        return "".join(letter for letter, bit in cls.FLAGS.items() if bits & bit)

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        bits, tsn, stream, ssn, ppid, payload = wire.read_data(chunk, 0, len(chunk))
        return cls(z.tsn_of_a(tsn), payload, stream, ssn, ppid, cls.letters(bits))


@dataclass(frozen=True)
class IData(Data):
    """I-DATA: `ssn` is the MID, `ppid` the FSN unless the flags say B."""

    TYPE = wire.I_DATA

    def write(self, z: Peer) -> bytes:
        return wire.write_i_data(
            self._bits(),
            z.tsn(self.tsn),
            plain(self.stream, 0),
            plain(self.ssn, self.tsn - 1) & U32,
            plain(self.ppid, 51),
            plain(self.payload, b"data"),
        )

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        bits, tsn, stream, mid, ppid, payload = wire.read_i_data(chunk, 0, len(chunk))
        return cls(z.tsn_of_a(tsn), payload, stream, mid, ppid, cls.letters(bits))


@dataclass(frozen=True)
class Sack(Chunk):
    """SACK; gaps are pairs of TSNs (first, last)."""

    TYPE = wire.SACK

    tsn: int = ANY
    gaps: tuple[tuple[int, int], ...] = ()
    duplicates: tuple[int, ...] = ()
    window: int = ANY

    def write(self, z: Peer) -> bytes:
        offsets = [(tsn - self.tsn) & U16 for gap in self.gaps for tsn in gap]
        duplicates = [(z.first_tsn_of_a - 1 + tsn) & U32 for tsn in self.duplicates]
        cumulative = (z.first_tsn_of_a - 1 + self.tsn) & U32
        return wire.write_sack(cumulative, plain(self.window, z.window), offsets, duplicates)

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        cumulative, window, offsets, duplicates = wire.read_sack(chunk, 0, len(chunk))
        tsn = z.small(cumulative)
        gaps = tuple(zip([tsn + i for i in offsets[::2]], [tsn + i for i in offsets[1::2]], strict=True))
        return cls(tsn, gaps, tuple(z.small(duplicate) for duplicate in duplicates), window)


@dataclass(frozen=True)
class ForwardTsn(Chunk):
    """FORWARD-TSN: skipped is (stream, ssn) for each stream."""

    TYPE = wire.FORWARD_TSN

    tsn: int = ANY
    skipped: tuple[tuple[int, int], ...] = ()

    def write(self, z: Peer) -> bytes:
        return wire.write_forward_tsn(z.tsn(self.tsn), self.skipped)

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        tsn, skipped = wire.read_forward_tsn(chunk, 0, len(chunk))
        return cls(z.tsn_of_a(tsn), skipped)


@dataclass(frozen=True)
class IForwardTsn(Chunk):
    """I-FORWARD-TSN: skipped is (stream, unordered, mid) for each stream and kind."""

    TYPE = wire.I_FORWARD_TSN

    tsn: int = ANY
    skipped: tuple[tuple[int, bool, int], ...] = ()

    def write(self, z: Peer) -> bytes:
        return wire.write_i_forward_tsn(z.tsn(self.tsn), self.skipped)

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        tsn, skipped = wire.read_i_forward_tsn(chunk, 0, len(chunk))
        return cls(z.tsn_of_a(tsn), skipped)


@dataclass(frozen=True, init=False)
class ReConfig(Chunk):
    """RE-CONFIG: one or two parameters of rtcstack.sctp.parameters, their numbers small."""

    TYPE = wire.RE_CONFIG

    parameters: tuple[ReconfigurationParameter, ...]

    def __init__(self, *parameters: ReconfigurationParameter) -> None:
        object.__setattr__(self, "parameters", parameters)

    @staticmethod
    def _shift(parameter: Any, own: int, other: int) -> Any:
        """Add to the numbers that belong to the sender, and to those that answer the other side."""
        by = {"request_sequence": own, "last_tsn": own, "response_sequence": other}
        names = {field.name for field in fields(parameter)} & set(by)
        return replace(parameter, **{name: (getattr(parameter, name) + by[name]) & U32 for name in names})

    def write(self, z: Peer) -> bytes:
        own, other = z.first_tsn - 1, z.first_tsn_of_a - 1
        return wire.ReConfig(tuple(self._shift(it, own, other) for it in self.parameters)).write()

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        own, other = 1 - z.first_tsn_of_a, 1 - z.first_tsn
        shifted = [cls._shift(it, own, other) for it in wire.ReConfig.parse(chunk).parameters]
        return cls(*[cls._sign(it) for it in shifted])

    @staticmethod
    def _sign(parameter: Any) -> Any:
        """Give 0 - 1 as -1, not as 2**32 - 1."""
        names = {field.name for field in fields(parameter)} & {"response_sequence", "last_tsn"}
        return replace(parameter, **{name: signed(getattr(parameter, name)) for name in names})


@dataclass(frozen=True)
class Shutdown(Chunk):
    """SHUTDOWN: tsn is the cumulative TSN."""

    TYPE = wire.SHUTDOWN

    tsn: int = ANY

    def write(self, z: Peer) -> bytes:
        return wire.Shutdown((z.first_tsn_of_a - 1 + self.tsn) & U32).write()

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        return cls(z.small(wire.Shutdown.parse(chunk).cumulative_tsn))


@dataclass(frozen=True)
class Heartbeat(Chunk):
    """HEARTBEAT; info is what the Heartbeat Info parameter holds."""

    TYPE = wire.HEARTBEAT
    WIRE: ClassVar[type[wire.Heartbeat]] = wire.Heartbeat

    info: bytes | None = ANY

    def write(self, z: Peer) -> bytes:
        return self.WIRE.with_info(plain(self.info, b"heart")).write()

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        return cls(cls.WIRE.parse(chunk).info)


@dataclass(frozen=True)
class HeartbeatAck(Heartbeat):
    """HEARTBEAT ACK."""

    TYPE = wire.HEARTBEAT_ACK
    WIRE = wire.HeartbeatAck


@dataclass(frozen=True)
class Pad(Chunk):
    """PAD; size is the one of the whole chunk."""

    TYPE = wire.PAD

    size: int = ANY

    def write(self, z: Peer) -> bytes:
        return wire.Pad(plain(self.size, 100)).write()

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        return cls(wire.Pad.parse(chunk).size)


@dataclass(frozen=True)
class Error(Chunk):
    """ERROR with one cause; value is what the cause holds."""

    TYPE = wire.ERROR

    cause: int = ANY
    value: bytes = ANY

    def write(self, z: Peer) -> bytes:
        return wire.ErrorChunk(((self.cause, plain(self.value, b"")),)).write()

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        ((cause, value),) = wire.ErrorChunk.parse(chunk).causes
        return cls(cause, value)


@dataclass(frozen=True)
class Abort(Chunk):
    """ABORT with a cause, or none (None); reflected is the T bit."""

    TYPE = wire.ABORT

    cause: int | None = ANY
    value: bytes = ANY
    reflected: bool = False

    def write(self, z: Peer) -> bytes:
        causes = () if plain(self.cause, None) is None else ((self.cause, plain(self.value, b"")),)
        return wire.Abort(causes, self.reflected).write()  # type: ignore[arg-type]

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        abort = wire.Abort.parse(chunk)
        cause, value = abort.causes[0] if abort.causes else (None, b"")
        return cls(cause, value, abort.reflected)


@dataclass(frozen=True)
class ShutdownComplete(Chunk):
    """SHUTDOWN COMPLETE; reflected is the T bit."""

    TYPE = wire.SHUTDOWN_COMPLETE

    reflected: bool = False

    def write(self, z: Peer) -> bytes:
        return wire.ShutdownComplete(self.reflected).write()

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        return cls(wire.ShutdownComplete.parse(chunk).reflected)


@dataclass(frozen=True)
class Raw(Chunk):
    """Any chunk: type, value and flags; `length` is a lie if it is given."""

    type: int
    value: bytes = b""
    flags: int = 0
    length: int = ANY

    def write(self, z: Peer) -> bytes:
        chunk = wire.write_chunk(self.type, self.flags, self.value)
        return chunk if self.length is ANY else chunk[:2] + self.length.to_bytes(2) + chunk[4:]


@dataclass(frozen=True)
class _Empty(Chunk):
    """A chunk without a value."""

    def write(self, z: Peer) -> bytes:
        return wire.write_chunk(self.TYPE, 0, b"")

    @classmethod
    def read(cls, chunk: bytes, z: Peer) -> Self:
        assert len(chunk) == 4
        return cls()


class CookieAck(_Empty):
    """COOKIE ACK."""

    TYPE = wire.COOKIE_ACK


class ShutdownAck(_Empty):
    """SHUTDOWN ACK."""

    TYPE = wire.SHUTDOWN_ACK


READERS: dict[int, type[Chunk]] = {
    kind.TYPE: kind
    for kind in (
        Init, InitAck, CookieEcho, CookieAck, Data, IData, Sack, ForwardTsn, IForwardTsn, ReConfig,
        Heartbeat, HeartbeatAck, Pad, Error, Abort, Shutdown, ShutdownAck, ShutdownComplete,
    )
}  # fmt: skip
