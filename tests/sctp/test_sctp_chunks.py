"""Chunks: from bytes to fields and back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.errors import WireError
from rtcstack.sctp import chunks
from rtcstack.sctp.chunks import (
    BEGIN,
    CHUNK_NAMES,
    END,
    PADDING,
    UNORDERED,
    WHOLE,
    Abort,
    CookieAck,
    CookieEcho,
    ErrorChunk,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    Pad,
    ReConfig,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    describe_causes,
    read_causes,
    read_data,
    read_forward_tsn,
    read_i_data,
    read_i_forward_tsn,
    read_sack,
    write_chunk,
    write_data,
    write_forward_tsn,
    write_i_data,
    write_i_forward_tsn,
    write_sack,
)
from rtcstack.sctp.packet import walk_chunks
from rtcstack.sctp.parameters import (
    AddIncomingStreamsRequest,
    AddOutgoingStreamsRequest,
    IncomingSsnResetRequest,
    OutgoingSsnResetRequest,
    ReconfigurationResponse,
    SsnTsnResetRequest,
)

# Written by hand from the boxes of the RFCs: type, flags, length | fields | padding.
RARE: list[tuple[str, Any]] = [
    (  # RFC 9260 section 3.3.2, with Forward-TSN-Supported and, not padded, Supported Extensions
        "01 00 001f 11223344 00500000 ffff 0400 a0b0c0d0 c000 0004 8008 0007 82c040 00",
        Init(0x11223344, 5 << 20, 65535, 1024, 0xA0B0C0D0, ((0xC000, b""), (0x8008, b"\x82\xc0\x40"))),
    ),
    (  # RFC 9260 section 3.3.3, with a State Cookie, its padding, and Zero Checksum Acceptable
        "02 00 0028 00000001 0000 05dc 0001 0001 ffffffff 0007 0009 0102030405 000000 8001 0008 00000001",
        InitAck(1, 1500, 1, 1, 2**32 - 1, ((7, b"\1\2\3\4\5"), (0x8001, b"\0\0\0\1"))),
    ),
    ("0a 00 0007 636b69 00", CookieEcho(b"cki")),  # RFC 9260 section 3.3.11
    ("0b 00 0004", CookieAck()),  # RFC 9260 section 3.3.12
    ("04 00 000b 0001 0007 6e6f77 00", Heartbeat(b"\0\1\0\7now")),  # RFC 9260 section 3.3.5
    ("05 00 000b 0001 0007 6e6f77 00", HeartbeatAck(b"\0\1\0\7now")),  # RFC 9260 section 3.3.6
    ("06 00 0004", Abort()),  # RFC 9260 section 3.3.7
    ("06 01 000b 000c 0007 627965 00", Abort(((chunks.USER_INITIATED_ABORT, b"bye"),), reflected=True)),
    ("07 00 0008 deadbeef", Shutdown(0xDEADBEEF)),  # RFC 9260 section 3.3.8
    ("08 00 0004", ShutdownAck()),  # RFC 9260 section 3.3.9
    ("0e 00 0004", ShutdownComplete()),  # RFC 9260 section 3.3.13
    ("0e 01 0004", ShutdownComplete(reflected=True)),
    (  # RFC 9260 section 3.3.10: a stale cookie, and an unknown chunk of which 5 bytes came
        "09 00 0015 0003 0008 0000 0007 0006 0009 5500 0005 aa 000000",
        ErrorChunk(((chunks.STALE_COOKIE, b"\0\0\0\7"), (chunks.UNRECOGNIZED_CHUNK_TYPE, b"\x55\0\0\5\xaa"))),
    ),
    (  # RFC 6525 section 4.1: streams 1, 2 and 3
        "82 00 001a 000d 0016 0000000a 0000000b 0000000c 0001 0002 0003 0000",
        ReConfig((OutgoingSsnResetRequest(10, 11, 12, (1, 2, 3)),)),
    ),
    (  # RFC 6525 sections 4.1 and 4.2: one stream, whose parameter is padded, and all streams
        "82 00 0020 000d 0012 0000000a 0000000b 0000000c 0001 0000 000e 0008 0000000d",
        ReConfig((OutgoingSsnResetRequest(10, 11, 12, (1,)), IncomingSsnResetRequest(13))),
    ),
    ("82 00 000c 000f 0008 00000005", ReConfig((SsnTsnResetRequest(5),))),  # RFC 6525 section 4.3
    (  # RFC 6525 section 4.4
        "82 00 0010 0010 000c 00000005 00000006",
        ReConfig((ReconfigurationResponse(5, 6),)),
    ),
    (
        "82 00 0018 0010 0014 00000005 00000001 00000007 00000008",
        ReConfig((ReconfigurationResponse(5, 1, 7, 8),)),
    ),
    (  # RFC 6525 sections 4.5 and 4.6
        "82 00 001c 0011 000c 00000001 0010 0000 0012 000c 00000002 0020 0000",
        ReConfig((AddOutgoingStreamsRequest(1, 16), AddIncomingStreamsRequest(2, 32))),
    ),
    ("84 00 000c 0000000000000000", Pad(12)),  # RFC 4820 section 3
]

HOT: list[tuple[str, Any, Any, tuple[Any, ...]]] = [
    (  # RFC 9260 section 3.3.1: a whole ordered message of 5 bytes
        "00 03 0015 00000064 0001 0002 00000033 68656c6c6f 000000",
        read_data,
        write_data,
        (WHOLE, 100, 1, 2, 51, b"hello"),
    ),
    (  # all flags
        "00 0f 0011 ffffffff ffff ffff ffffffff 78 000000",
        read_data,
        write_data,
        (0x0F, 2**32 - 1, 65535, 65535, 2**32 - 1, b"x"),
    ),
    (  # RFC 8260 section 2.1: the first fragment has the PPID
        "40 02 0018 00000064 0001 0000 00010000 00000035 61626364",
        read_i_data,
        write_i_data,
        (BEGIN, 100, 1, 0x10000, 53, b"abcd"),
    ),
    (  # the others have the FSN
        "40 05 0016 00000065 0001 0000 00010000 00000001 6566 0000",
        read_i_data,
        write_i_data,
        (END | UNORDERED, 101, 1, 0x10000, 1, b"ef"),
    ),
    (  # RFC 9260 section 3.3.4: the example there
        "03 00 0018 0000000c 00001234 0002 0000 0002 0003 0005 0005",
        read_sack,
        write_sack,
        (12, 4660, (2, 3, 5, 5), ()),
    ),
    ("03 00 0010 0000000c 00001234 0000 0000", read_sack, write_sack, (12, 4660, (), ())),
    (
        "03 00 001c 0000000c ffffffff 0001 0002 0002 ffff 00000013 00000013",
        read_sack,
        write_sack,
        (12, 2**32 - 1, (2, 65535), (19, 19)),
    ),
    (  # RFC 3758 section 3.2
        "c0 00 0010 00000067 0001 0002 0003 ffff",
        read_forward_tsn,
        write_forward_tsn,
        (103, ((1, 2), (3, 65535))),
    ),
    ("c0 00 0008 00000067", read_forward_tsn, write_forward_tsn, (103, ())),
    (  # RFC 8260 section 2.3.1
        "c2 00 0018 00000067 0001 0000 00000002 0003 0001 ffffffff",
        read_i_forward_tsn,
        write_i_forward_tsn,
        (103, ((1, False, 2), (3, True, 2**32 - 1))),
    ),
]


def unpadded(data: bytes) -> bytes:
    """The chunk without its padding, as a receiver cuts it out."""
    return data[: int.from_bytes(data[2:4], "big")]


@pytest.mark.parametrize(("text", "chunk"), RARE, ids=lambda value: type(value).__name__)
def test_a_rare_chunk_is_read_and_written(text: str, chunk: Any):
    data = bytes.fromhex(text)
    assert type(chunk).parse(unpadded(data)) == chunk
    assert chunk.write() == data
    assert len(data) % 4 == 0


@pytest.mark.parametrize(("text", "read", "write", "fields"), HOT)
def test_a_frequent_chunk_is_read_and_written(text: str, read: Any, write: Any, fields: tuple[Any, ...]):
    data = bytes.fromhex(text)
    before = b"behind something else"
    end = len(before) + len(unpadded(data))
    assert read(before + data + b"and before", len(before), end) == fields
    assert write(*fields) == data


def test_the_pieces_of_a_data_chunk_join_to_what_write_data_makes():
    for payload in (b"1", b"12", b"123", b"1234"):
        length = 16 + len(payload)
        pieces = chunks.pack_data(chunks.DATA, WHOLE, length, 1, 2, 3, 51), payload, PADDING[length & 3]
        assert b"".join(pieces) == write_data(WHOLE, 1, 2, 3, 51, payload)
        length = 20 + len(payload)
        pieces = (
            chunks.pack_i_data(chunks.I_DATA, WHOLE, length, 1, 2, 0, 3, 51),
            payload,
            PADDING[length & 3],
        )
        assert b"".join(pieces) == write_i_data(WHOLE, 1, 2, 3, 51, payload)


def read_any(chunk: bytes) -> None:
    """Read a chunk as what its type says."""
    if chunk[0] in READERS:
        READERS[chunk[0]](chunk, 0, len(chunk))
    elif chunk[0] in CLASSES:
        CLASSES[chunk[0]].parse(chunk)


READERS = {
    chunks.DATA: read_data,
    chunks.I_DATA: read_i_data,
    chunks.SACK: read_sack,
    chunks.FORWARD_TSN: read_forward_tsn,
    chunks.I_FORWARD_TSN: read_i_forward_tsn,
}
CLASSES = {bytes.fromhex(text)[0]: type(chunk) for text, chunk in RARE}
EXAMPLES = [bytes.fromhex(text) for text, *_ in [*RARE, *HOT]]


def test_every_type_has_a_name_and_a_reader():
    assert CHUNK_NAMES.keys() == READERS.keys() | CLASSES.keys()


@pytest.mark.parametrize("data", EXAMPLES, ids=bytes.hex)
def test_every_truncation_is_refused_or_read_but_raises_nothing_else(data: bytes):
    """The length field tells the truth about the shorter chunk, or it tells the old length."""
    for size in range(4, len(data)):
        for chunk in (data[:size], data[:2] + size.to_bytes(2, "big") + data[4:size]):
            with suppress(WireError):
                read_any(chunk)
    for size in range(4):
        with pytest.raises(WireError):
            CLASSES.get(data[0], Init).parse(data[:size])
        if data[0] in READERS:
            with pytest.raises(WireError):
                READERS[data[0]](data, 0, size)


@given(st.sampled_from(EXAMPLES), st.binary(max_size=60), st.data())
def test_garbage_raises_only_wire_errors(example: bytes, garbage: bytes, data: st.DataObject):
    keep = data.draw(st.integers(0, len(example)))
    chunk = bytearray(example[:keep] + garbage)
    if len(chunk) >= 4 and data.draw(st.booleans()):
        chunk[0] = example[0]
        chunk[2:4] = len(chunk).to_bytes(2, "big")
    packet = bytes(12) + bytes(chunk)
    with suppress(WireError):
        for _, _, start, end in walk_chunks(packet):
            read_any(packet[start:end])


@pytest.mark.parametrize(
    ("chunk", "reader"),
    [
        ("00 03 000f 00000064 0001 0002 000000", read_data),
        ("40 03 0013 00000064 0001 0000 00000000 000000", read_i_data),
        ("03 00 000f 0000000c 00001234 0002 00", read_sack),
        ("03 00 0018 0000000c 00001234 0001 0000 0002 0003 0005 0005", read_sack),  # more than announced
        ("03 00 0010 0000000c 00001234 0001 0000", read_sack),  # less than announced
        ("03 00 0010 0000000c 00001234 ffff ffff", read_sack),
        ("c0 00 0004", read_forward_tsn),
        ("c0 00 000a 00000067 0001", read_forward_tsn),  # odd length
        ("c2 00 0004", read_i_forward_tsn),
        ("c2 00 000c 00000067 0001 0000", read_i_forward_tsn),
    ],
)
def test_a_length_that_does_not_fit_is_refused(chunk: str, reader: Any):
    data = bytes.fromhex(chunk)
    with pytest.raises(WireError):
        reader(data, 0, len(data))


@pytest.mark.parametrize("chunk_class", sorted(set(CLASSES.values()), key=lambda c: c.__name__))
@pytest.mark.parametrize("data", ["", "01", "55 00 0004", "ff ff ffff", "01 00 0000", "01 00 0003 00"])
def test_bytes_that_are_another_chunk_are_refused(chunk_class: Any, data: str):
    with pytest.raises(WireError):
        chunk_class.parse(bytes.fromhex(data))


@pytest.mark.parametrize(
    "parameters",
    [
        "",  # none
        "000f 0008 00000005" * 3,  # three
        "0001 0008 00000005",  # one that does not belong there
        "000d 000e 0000000a 0000000b 0000",  # too short for a request
        "000d 0011 0000000a 0000000b 0000000c 01",  # half a stream
        "000e 0006 0000",
        "000f 000c 00000005 00000006",
        "0010 0010 00000005 00000001 00000007",  # one next TSN of two
        "0011 0008 00000001",
        "000d 0000 0000000a",
    ],
)
def test_a_malformed_re_config_is_refused(parameters: str):
    value = bytes.fromhex(parameters)
    with pytest.raises(WireError):
        ReConfig.parse(unpadded(write_chunk(chunks.RE_CONFIG, 0, value)))


def test_a_reset_of_16000_streams_can_be_read():
    request = OutgoingSsnResetRequest(1, 2, 3, tuple(range(16_000)))
    assert ReConfig.parse(unpadded(ReConfig((request,)).write())).parameters == (request,)


def test_the_chunk_length_may_count_the_last_padding():
    """RFC 9260 §3.2: a robust implementation accepts the chunk either way."""
    init = Init(1, 1500, 1, 1, 1, ((0x8008, b"\x82"),))
    data = init.write()
    assert Init.parse(data[:2] + len(data).to_bytes(2, "big") + data[4:]) == init


def test_init_values_that_the_rfc_forbids_can_be_read_to_be_answered():
    assert Init.parse(Init(0, 0, 0, 0, 0).write()) == Init(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("value", "info"),
    [
        ("0001 0008 01020304", b"\1\2\3\4"),
        ("0001 0004", b""),
        ("", None),
        ("0002 0008 01020304", None),
        ("0001 0000", None),
        ("0001 ffff", None),
    ],
)
def test_heartbeat_info_may_be_missing_or_malformed(value: str, info: bytes | None):
    heartbeat = Heartbeat.parse(unpadded(write_chunk(chunks.HEARTBEAT, 0, bytes.fromhex(value))))
    assert heartbeat.info == info
    assert heartbeat.value == bytes.fromhex(value)


def test_heartbeat_with_info_comes_back():
    heartbeat = Heartbeat.with_info(b"nonce")
    assert HeartbeatAck.parse(unpadded(HeartbeatAck(heartbeat.value).write())).info == b"nonce"


@pytest.mark.parametrize(
    ("causes", "read"),
    [
        ("0003 0000", ()),
        ("0003 0003 00", ()),
        ("0003 ffff 00000000", ()),
        ("00", ()),
        ("0003 0008 00000001 0004 0000", ((3, b"\0\0\0\1"),)),
        ("9999 0005 61 000000 0004 0004", ((0x9999, b"a"), (4, b""))),
    ],
)
def test_malformed_causes_are_left_out(causes: str, read: tuple[tuple[int, bytes], ...]):
    value = bytes.fromhex(causes)
    assert read_causes(value) == read
    assert ErrorChunk.parse(unpadded(write_chunk(chunks.ERROR, 0, value))) == ErrorChunk(read)
    assert Abort.parse(unpadded(write_chunk(chunks.ABORT, 0, value))) == Abort(read)


def test_causes_are_put_into_words():
    assert describe_causes(()) == ""
    assert describe_causes(((4, b""), (77, b"?"))) == "Out of Resource, cause 77"
    assert describe_causes(((12, b"Close called"),)) == "User-Initiated Abort (Close called)"
    assert describe_causes(((13, b"\x1b[31m"),)) == "Protocol Violation"
    assert describe_causes(((13, b"\xff"),)) == "Protocol Violation (\ufffd)"
    assert len(describe_causes(((12, b"x" * 60_000),))) < 300
