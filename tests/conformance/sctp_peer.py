"""A peer of one association, played by a script in virtual time: a test reads as a ladder diagram.

    a, z = ladder()
    a.connect()
    z.expect(Init())                    # A -- INIT --> Z
    z.send(InitAck())                   # A <- INIT ACK -- Z
    z.expect(CookieEcho())              # A -- COOKIE ECHO --> Z
    z.send(CookieAck())                 # A <- COOKIE ACK -- Z
    assert a.state is ESTABLISHED

A is a real association and obeys the commands of its application. Z only says what the test makes it say.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

from sctp_script import (
    ANY,
    READERS,
    Chunk,
    CookieAck,
    CookieEcho,
    Data,
    Init,
    InitAck,
    ShutdownComplete,
    plain,
    signed,
)

from rtcstack.sctp import Association, AssociationState, BufferedAmountLow, Established, Event, Options
from rtcstack.sctp import chunks as wire
from rtcstack.sctp.packet import (
    checksum_seed,
    is_intact,
    read_header,
    walk_chunks,
    write_header,
    write_packet,
)
from rtcstack.sctp.parameters import (
    DTLS_ERROR_DETECTION,
    FORWARD_TSN_SUPPORTED,
    SUPPORTED_EXTENSIONS,
    ZERO_CHECKSUM_ACCEPTABLE,
    Parameter,
)
from rtcstack.serial import U32

START = 1000.0
"""Seconds: an origin of time that no rule may depend on."""

SLACK = 0.001
"""Seconds by which a timer may miss its mark in floating point."""

TAG = 0x5A5A5A5A
"""Verification tag of Z."""

RFC: Final[dict[str, Any]] = {
    "rto_initial": 1.0,
    "rto_min": 1.0,
    "rto_max": 60.0,
    "sack_delay": 0.2,
    "heartbeat_interval": 3600.0,
    "initial_window": 4,
    "congestion_control": "newreno",
    "interleaving": False,
    "zero_checksum": False,
    "path_mtu_limit": 0,
}
"""Options of A: the values that RFC 9260 section 16 recommends, no extension that a test does not ask
for, and no HEARTBEAT that would disturb the ladder."""

ALONE = (Init, ShutdownComplete)
"""Chunks that share a packet with no other; INIT ACK is an Init here."""

FIRST = (*ALONE, CookieEcho, CookieAck)
"""Chunks that never stand behind another one."""

CLOSED = AssociationState.CLOSED
COOKIE_WAIT = AssociationState.COOKIE_WAIT
COOKIE_ECHOED = AssociationState.COOKIE_ECHOED
ESTABLISHED = AssociationState.ESTABLISHED
SHUTDOWN_PENDING = AssociationState.SHUTDOWN_PENDING
SHUTDOWN_SENT = AssociationState.SHUTDOWN_SENT
SHUTDOWN_RECEIVED = AssociationState.SHUTDOWN_RECEIVED
SHUTDOWN_ACK_SENT = AssociationState.SHUTDOWN_ACK_SENT


def text(chunks: Iterable[Chunk]) -> str:
    """Give the chunks of a packet in words."""
    return " + ".join(map(str, chunks))


def extensions(*chunk_types: int, partial: bool = True, zero_checksum: bool = False) -> tuple[Parameter, ...]:
    """Make the parameters that announce what Z knows."""
    parameters: list[Parameter] = [(FORWARD_TSN_SUPPORTED, b"")] if partial else []
    if chunk_types:
        parameters.append((SUPPORTED_EXTENSIONS, bytes(chunk_types)))
    if zero_checksum:
        parameters.append((ZERO_CHECKSUM_ACCEPTABLE, DTLS_ERROR_DETECTION.to_bytes(4)))
    return tuple(parameters)


PLAIN = extensions(wire.RE_CONFIG, wire.FORWARD_TSN)
INTERLEAVING = extensions(wire.RE_CONFIG, wire.FORWARD_TSN, wire.I_DATA, wire.I_FORWARD_TSN)


# -- the two sides ---------------------------------------------------------------------------------------


class Local:
    """A: the association under test and its application."""

    def __init__(self, **options: Any) -> None:
        self.options = Options(**{**RFC, **options})
        self.association = Association(options=self.options, random_bytes=random.Random(7).randbytes)
        self.stats = self.association.stats
        self.now = START

    @property
    def state(self) -> AssociationState:
        """The state of RFC 9260 section 4."""
        return self.association.state

    @property
    def drops(self) -> dict[str, int]:
        """Reason -> how many packets or chunks were not used."""
        return self.stats.drops

    def connect(self) -> None:
        """The application associates."""
        self.association.connect(self.now)

    def send(self, payload: bytes = b"data", stream: int = 0, **how: Any) -> None:
        """The application sends one message."""
        self.association.send(stream, 51, payload, now=self.now, **how)

    def reset(self, *streams: int) -> None:
        """The application resets outgoing streams."""
        self.association.reset_streams(streams)

    def shutdown(self) -> None:
        """The application shuts down."""
        self.association.shutdown(self.now)

    def abort(self, reason: str = "enough") -> None:
        """The application aborts."""
        self.association.abort(reason)

    def receive(self) -> list[bytes]:
        """The application takes what has arrived."""
        payloads = [payload for _, _, payload in self.association.take_messages()]
        self.association.release(sum(map(len, payloads)))
        return payloads

    def events(self) -> list[Event]:
        """The application hears what has happened, buffered amounts apart."""
        return [it for it in self.association.take_events() if not isinstance(it, BufferedAmountLow)]


class Peer:
    """Z: says what the script says, and compares what A says.

    tag, window, streams, parameters, first_tsn    what its INIT and INIT ACK announce.
    answer                                         the last INIT ACK of A.
    tag_of_a, first_tsn_of_a                       what A's INIT or INIT ACK has announced.
    packet                                         the last packet of A that was expected.
    """

    def __init__(self, a: Local, *, parameters: tuple[Parameter, ...] = PLAIN, first_tsn: int = 1) -> None:
        self.a = a
        self.tag = TAG
        self.window = 1_000_000
        self.streams = 100
        self.parameters = parameters
        self.first_tsn = first_tsn
        self.tag_of_a = 0
        self.first_tsn_of_a = 0
        self.answer = InitAck()
        self.packet = b""
        self._init = Init(tag=self.tag, tsn=first_tsn)
        self._waiting: list[bytes] = []

    # -- numbers

    def tsn(self, small: int) -> int:
        """Give the real TSN of Z's chunk of this small number."""
        return (self.first_tsn - 1 + small) & U32

    def tsn_of_a(self, tsn: int) -> int:
        """Give the small number of a TSN of A."""
        return signed(tsn - self.first_tsn_of_a + 1)

    def small(self, tsn: int) -> int:
        """Give the small number of a TSN of Z that A speaks of."""
        return signed(tsn - self.first_tsn + 1)

    # -- verbs

    def send(self, *chunks: Chunk, **how: Any) -> None:
        """Send one packet; see packet_of()."""
        self.deliver(self.packet_of(*chunks, **how))

    def packet_of(self, *chunks: Chunk, tag: int = ANY, **how: Any) -> bytes:
        """Write one packet; tag: another verification tag than the right one; see packet_of_bytes()."""
        first = chunks[0]
        if isinstance(first, InitAck):
            if self.a.state is COOKIE_WAIT:
                self.tag = plain(first.tag, self.tag)
                self.first_tsn = plain(first.tsn, self.first_tsn)
        elif isinstance(first, Init):
            self._init = Init(tag=plain(first.tag, self.tag), tsn=plain(first.tsn, self.first_tsn))
        elif isinstance(first, CookieEcho) and first.cookie is ANY:
            self.tag, self.first_tsn = self._init.tag, self._init.tsn
            self.tag_of_a, self.first_tsn_of_a = self.answer.tag, self.answer.tsn
        right = 0 if type(first) is Init else self.tag_of_a
        body = b"".join(chunk.write(self) for chunk in chunks)
        return self.packet_of_bytes(body, tag=plain(tag, right), **how)

    def packet_of_bytes(
        self, body: bytes, *, tag: int = ANY, ports: tuple[int, int] = (5000, 5000), checksum: int = ANY
    ) -> bytes:
        """Write one packet of bytes that need not be chunks; checksum: another one than the right one."""
        header = write_header(*ports, plain(tag, self.tag_of_a))
        packet = write_packet(header, [body], checksum_seed(header))
        if checksum is not ANY:
            packet = packet[:8] + checksum.to_bytes(4, "little") + packet[12:]
        return packet

    def deliver(self, *packets: bytes) -> None:
        """Let packets arrive at A at once, as they are."""
        self._collect()
        self.a.association.receive(list(packets), self.a.now)
        self._collect()

    def expect(self, *chunks: Chunk, tag: int = ANY, after: float = 0.0) -> Any:
        """Take the next packet of A: exactly these chunks.

        tag      the verification tag that it must bear, if not the one that belongs there.
        after    seconds that pass before it comes; 0 = it is there.
        Returns the chunk as it was, or the chunks.
        """
        __tracebackhide__ = True
        if after:
            self._wait_for_packet(after)
        self._collect()
        assert self._waiting, f"A is silent; expected {text(chunks)}"
        self.packet = packet = self._waiting.pop(0)
        found = self.read(packet)
        as_said = len(found) == len(chunks) and all(
            chunk.matches(it) for chunk, it in zip(chunks, found, strict=True)
        )
        assert as_said, f"A has sent {text(found)}; expected {text(chunks)}"
        first = found[0]
        if isinstance(first, InitAck):
            self.answer = first
            right = self._init.tag
        elif isinstance(first, Init):
            self.tag_of_a, self.first_tsn_of_a = first.tag, first.tsn
            right = 0
        else:
            right = self.tag
        assert read_header(packet)[2] == plain(tag, right), "wrong verification tag"
        return found[0] if len(found) == 1 else found

    def expect_any(self) -> list[Chunk]:
        """Take the next packet of A, whatever it holds."""
        __tracebackhide__ = True
        self._collect()
        assert self._waiting, "A is silent"
        self.packet = self._waiting.pop(0)
        return self.read(self.packet)

    def expect_nothing(self, seconds: float = 0.0) -> None:
        """Let time pass; A must be silent."""
        __tracebackhide__ = True
        self.wait(seconds)
        assert not self._waiting, f"A has sent {[text(self.read(packet)) for packet in self._waiting]}"

    @property
    def is_heard(self) -> bool:
        """Whether A has sent something that was not expected yet."""
        self._collect()
        return bool(self._waiting)

    def ignore(self) -> None:
        """Pass over what A has sent."""
        self._collect()
        self._waiting.clear()

    def wait(self, seconds: float) -> None:
        """Let time pass; what is due in A is done."""
        end = self.a.now + seconds
        self._collect()
        while self.a.association.deadline <= end:
            self._fire()
        self.a.now = end

    # -- the wire

    def read(self, packet: bytes) -> list[Chunk]:
        """Read a packet of A, and hold it to what every packet has to be (RFC 9260 §5.1, §6.8 and §6.10)."""
        assert len(packet) <= max(self.a.options.mtu, self.a.options.path_mtu_limit)
        assert not len(packet) & 3, f"{len(packet)} bytes"
        accept_zero = any(kind == ZERO_CHECKSUM_ACCEPTABLE for kind, _ in self.parameters)
        assert is_intact(packet, checksum_seed(packet), accept_zero), "wrong checksum"
        chunks = [READERS[kind].read(packet[at:end], self) for kind, _, at, end in walk_chunks(packet)]
        data = [chunk for chunk in chunks if isinstance(chunk, Data)]
        assert not data or chunks[-len(data) :] == data, "control chunks come first"
        assert all(one.tsn < other.tsn for one, other in pairwise(data)), "TSNs go up"
        assert len(chunks) == 1 or not isinstance(chunks[0], ALONE), "it travels alone"
        assert not any(isinstance(chunk, FIRST) for chunk in chunks[1:]), "it comes first or alone"
        return chunks

    def _collect(self) -> None:
        while packets := self.a.association.take_packets(self.a.now):
            self._waiting += packets

    def step(self) -> None:
        """Let time pass up to the next deadline of A."""
        self._collect()
        assert self.a.association.deadline < math.inf, "no timer runs in A"
        self._fire()

    def _fire(self) -> None:
        self.a.now = max(self.a.now, self.a.association.deadline)
        self.a.association.handle_timeout(self.a.now)
        self._collect()
        assert self.a.association.deadline > self.a.now, "a timer that fires for ever"

    def _wait_for_packet(self, seconds: float) -> None:
        __tracebackhide__ = True
        start = self.a.now
        self._collect()
        while not self._waiting and self.a.association.deadline <= start + seconds + SLACK:
            self._fire()
        passed = self.a.now - start
        assert self._waiting, (
            f"A is silent for {seconds} s; its next deadline is {self._due():.3f} s from now"
        )
        assert abs(passed - seconds) <= SLACK, f"A has sent after {passed:.3f} s; expected after {seconds} s"

    def _due(self) -> float:
        deadline = self.a.association.deadline
        return deadline - self.a.now if deadline < math.inf else math.inf


# -- where most tests begin ------------------------------------------------------------------------------


def ladder(
    *, parameters: tuple[Parameter, ...] = PLAIN, first_tsn: int = 1, **options: Any
) -> tuple[Local, Peer]:
    """Make both sides; parameters and first_tsn are Z's, options are A's."""
    a = Local(**options)
    return a, Peer(a, parameters=parameters, first_tsn=first_tsn)


def greet(a: Local, z: Peer) -> None:
    """Establish the association; A begins."""
    a.connect()
    z.expect(Init())  # A -- INIT --> Z
    z.send(InitAck())  # A <- INIT ACK -- Z
    z.expect(CookieEcho())  # A -- COOKIE ECHO --> Z
    z.send(CookieAck())  # A <- COOKIE ACK -- Z
    assert a.state is ESTABLISHED
    assert a.events() == [Established()]


def established(**how: Any) -> tuple[Local, Peer]:
    """Make both sides, as ladder() does, and establish the association."""
    a, z = ladder(**how)
    greet(a, z)
    return a, z


def accepted(**how: Any) -> tuple[Local, Peer]:
    """Make both sides, as ladder() does, and establish the association; Z begins."""
    a, z = ladder(**how)
    z.send(Init())  # A <- INIT -- Z
    z.expect(InitAck())  # A -- INIT ACK --> Z
    z.send(CookieEcho())  # A <- COOKIE ECHO -- Z
    z.expect(CookieAck())  # A -- COOKIE ACK --> Z
    assert a.events() == [Established()]
    return a, z
