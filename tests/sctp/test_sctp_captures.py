"""What real peers send: the SCTP packets of Chromium and of libdatachannel (usrsctp), out of DTLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rtcstack.errors import WireError
from rtcstack.sctp import chunks
from rtcstack.sctp.chunks import (
    Abort,
    CookieAck,
    CookieEcho,
    Init,
    InitAck,
    ReConfig,
    Shutdown,
    ShutdownComplete,
    describe_causes,
    read_data,
    read_sack,
    write_data,
    write_sack,
)
from rtcstack.sctp.packet import checksum_seed, is_intact, read_header, walk_chunks
from rtcstack.sctp.parameters import (
    FORWARD_TSN_SUPPORTED,
    SUPPORTED_EXTENSIONS,
    ZERO_CHECKSUM_ACCEPTABLE,
    find_parameter,
)
from rtcstack.sctp.reassembly import Reassembly
from rtcstack.sctp.received import NEW, ReceivedTsns

CAPTURES = {
    path.stem: [bytes.fromhex(packet) for packet in json.loads(path.read_text(encoding="utf-8"))["packets"]]
    for path in sorted((Path(__file__).parent / "captures").glob("*.json"))
}
RARE: dict[int, Any] = {
    chunks.INIT: Init,
    chunks.INIT_ACK: InitAck,
    chunks.COOKIE_ECHO: CookieEcho,
    chunks.COOKIE_ACK: CookieAck,
    chunks.RE_CONFIG: ReConfig,
    chunks.SHUTDOWN: Shutdown,
    chunks.SHUTDOWN_COMPLETE: ShutdownComplete,
    chunks.ABORT: Abort,
}

each_stack = pytest.mark.parametrize("stack", CAPTURES)


def chunks_of(stack: str) -> Iterator[tuple[int, bytes, int, int]]:
    """(type, packet, start, end) of all chunks that the stack sent."""
    for packet in CAPTURES[stack]:
        for chunk_type, _, start, end in walk_chunks(packet):
            yield chunk_type, packet, start, end


@each_stack
def test_every_packet_is_intact(stack: str):
    for packet in CAPTURES[stack]:
        assert is_intact(packet, checksum_seed(packet), accept_zero=False)
        source, destination, _, _ = read_header(packet)
        assert (source, destination) == (5000, 5000)


@each_stack
def test_every_chunk_is_written_as_it_was_read(stack: str):
    """Padding included; INIT chunks whose length counts the last padding come out shorter by it."""
    for chunk_type, packet, start, end in chunks_of(stack):
        padded = packet[start : (end + 3) & ~3]
        if chunk_type == chunks.DATA:
            assert write_data(*read_data(packet, start, end)) == padded
        elif chunk_type == chunks.SACK:
            assert write_sack(*read_sack(packet, start, end)) == padded
        else:
            written = RARE[chunk_type].parse(packet[start:end]).write()
            assert written[:2] + written[4:] == padded[:2] + padded[4:]


@each_stack
def test_every_truncation_raises_only_wire_errors(stack: str):
    for packet in CAPTURES[stack]:
        for size in range(len(packet)):
            with suppress(WireError):
                read_header(packet[:size])
                for chunk_type, _, start, end in walk_chunks(packet[:size]):
                    if chunk_type in RARE:
                        RARE[chunk_type].parse(packet[start:end])


@each_stack
def test_the_data_become_the_messages_that_were_sent(stack: str):
    init = next(Init.parse(p[s:e]) for kind, p, s, e in chunks_of(stack) if kind == chunks.INIT)
    received = ReceivedTsns(init.initial_tsn)
    reassembly = Reassembly(interleaving=False, max_message_size=262144)
    for chunk_type, packet, start, end in chunks_of(stack):
        if chunk_type == chunks.DATA:
            flags, tsn, stream_id, ssn, ppid, payload = read_data(packet, start, end)
            assert received.add(tsn) == NEW
            reassembly.add(tsn, stream_id, ssn, ppid, flags, payload)
    messages = [message for message in reassembly.take_messages() if message[1] != 50]
    # Chromium's channel u was not open yet when it was told to send.
    unordered = [] if stack == "chromium" else [(3, 51, b"x")]
    assert messages == [*unordered, (1, 51, b"hello"), (1, 53, bytes(3000))]
    assert reassembly.size == 0
    assert received.gaps() == []


def test_what_chromium_offers():
    init = next(Init.parse(p[s:e]) for kind, p, s, e in chunks_of("chromium") if kind == chunks.INIT)
    assert (init.a_rwnd, init.outbound_streams, init.inbound_streams) == (5 << 20, 65535, 65535)
    assert find_parameter(init.parameters, FORWARD_TSN_SUPPORTED) == b""
    assert find_parameter(init.parameters, SUPPORTED_EXTENSIONS) == bytes(
        (chunks.RE_CONFIG, chunks.FORWARD_TSN)
    )
    aborts = [Abort.parse(p[s:e]) for kind, p, s, e in chunks_of("chromium") if kind == chunks.ABORT]
    assert describe_causes(aborts[-1].causes) == "User-Initiated Abort (Close called)"


def test_what_libdatachannel_offers():
    init = next(Init.parse(p[s:e]) for kind, p, s, e in chunks_of("libdatachannel") if kind == chunks.INIT)
    assert (init.a_rwnd, init.outbound_streams, init.inbound_streams) == (1 << 20, 1024, 1024)
    assert find_parameter(init.parameters, ZERO_CHECKSUM_ACCEPTABLE) == bytes((0, 0, 0, 1))
    extensions = find_parameter(init.parameters, SUPPORTED_EXTENSIONS)
    assert extensions is not None
    assert {chunks.RE_CONFIG, chunks.FORWARD_TSN} <= set(extensions)
