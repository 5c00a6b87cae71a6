"""The SCTP packet: header, checksum, chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.errors import WireError
from rtcstack.sctp.packet import (
    HEADER_SIZE,
    checksum_seed,
    is_intact,
    read_header,
    walk_chunks,
    write_header,
    write_packet,
)

HEADER = write_header(5000, 5001, 0xDEADBEEF)
SEED = checksum_seed(HEADER)


def crc32c(data: bytes) -> int:
    """The polynomial of RFC 9260 appendix A, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_the_header_is_that_of_the_rfc():
    """RFC 9260 §3.1: ports, verification tag and, with its bytes mirrored, the checksum."""
    packet = write_packet(HEADER, [bytes.fromhex("0b000004")], SEED)
    assert packet[:8] == bytes.fromhex("1388 1389 deadbeef")
    assert packet[12:] == bytes.fromhex("0b000004")
    assert packet[8:12] == crc32c(packet[:8] + bytes(4) + packet[12:]).to_bytes(4, "little")
    assert read_header(packet) == (5000, 5001, 0xDEADBEEF, int.from_bytes(packet[8:12], "little"))


def test_the_checksum_is_crc32c():
    """RFC 9260 appendix A: the usual check value of the polynomial, and an INIT as aiortc 1.16 writes it."""
    assert crc32c(b"123456789") == 0xE3069283
    packet = bytes.fromhex(
        "13881388000000005548cf1a0100001e44c0b2a800100000ffffffffa1b2c3d4c000000480080006c0820000"
    )
    assert is_intact(packet, checksum_seed(packet), accept_zero=False)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_what_is_written_is_intact_and_one_flipped_bit_is_noticed(chunks: list[bytes]):
    packet = write_packet(HEADER, chunks, SEED)
    assert packet[12:] == b"".join(chunks)
    assert is_intact(packet, SEED, accept_zero=False)
    for at in range(len(packet)):
        broken = bytearray(packet)
        broken[at] ^= 1 << at % 8
        assert not is_intact(bytes(broken), checksum_seed(broken), accept_zero=False)


def test_a_zero_checksum_is_right_only_where_it_is_allowed():
    """RFC 9653: whoever announced it accepts zero, and a correct checksum as before."""
    zero = write_packet(HEADER, [bytes.fromhex("0b000004")], None)
    assert zero[8:12] == bytes(4)
    assert is_intact(zero, SEED, accept_zero=True)
    assert not is_intact(zero, SEED, accept_zero=False)
    right = write_packet(HEADER, [bytes.fromhex("0b000004")], SEED)
    assert is_intact(right, SEED, accept_zero=True)
    wrong = right[:8] + b"\1\0\0\0" + right[12:]
    assert not is_intact(wrong, SEED, accept_zero=True)


@pytest.mark.parametrize("size", range(HEADER_SIZE + 4))
def test_a_packet_without_room_for_a_chunk_is_refused(size: int):
    with pytest.raises(WireError):
        read_header(write_packet(HEADER, [bytes.fromhex("0b000004")], SEED)[:size])


@pytest.mark.parametrize(("source", "destination"), [(0, 5000), (5000, 0)])
def test_port_0_is_refused(source: int, destination: int):
    """RFC 9260 §3.1: port number 0 MUST NOT be used."""
    with pytest.raises(WireError):
        read_header(write_packet(write_header(source, destination, 1), [bytes(4)], None))


def walked(body: str) -> tuple[list[tuple[int, int, int, int]], bool]:
    """What the walk yields, and whether it ends with an error."""
    seen = []
    try:
        for chunk in walk_chunks(bytes(HEADER_SIZE) + bytes.fromhex(body)):
            seen.append(chunk)  # noqa: PERF402 - what came before the error counts
    except WireError:
        return seen, True
    return seen, False


@pytest.mark.parametrize(
    ("body", "chunks", "is_malformed"),
    [
        ("", [], False),
        ("0b000004", [(11, 0, 12, 16)], False),
        ("0b000004 00030005 61000000 0b000004", [(11, 0, 12, 16), (0, 3, 16, 21), (11, 0, 24, 28)], False),
        ("00030005 61", [(0, 3, 12, 17)], False),  # padding forgotten behind the last chunk
        ("00030006 6162 00", [(0, 3, 12, 18)], False),
        ("00030005 61ffffff 0b000004", [(0, 3, 12, 17), (11, 0, 20, 24)], False),  # padding is ignored
        ("0b000000", [], True),
        ("0b000001", [], True),
        ("0b000003", [], True),
        ("0b000004 0b000000 0b000004", [(11, 0, 12, 16)], True),
        ("0b000004 0b000005", [(11, 0, 12, 16)], True),  # beyond the end
        ("0b00ffff", [], True),
        ("0b000004 00", [(11, 0, 12, 16)], True),  # garbage of 1 to 3 bytes
        ("0b000004 0000", [(11, 0, 12, 16)], True),
        ("0b000004 000000", [(11, 0, 12, 16)], True),
    ],
)
def test_the_walk_stops_at_the_first_chunk_that_does_not_fit(
    body: str, chunks: list[tuple[int, int, int, int]], is_malformed: bool
):
    assert walked(body) == (chunks, is_malformed)


def test_a_packet_may_hold_hundreds_of_chunks():
    chunks, is_malformed = walked("0b000004" * 400)
    assert (len(chunks), is_malformed) == (400, False)


@given(st.binary(max_size=200))
def test_any_walk_ends_and_stays_inside(body: bytes):
    chunks, _ = walked(body.hex())
    place = HEADER_SIZE
    for _, _, start, end in chunks:
        assert start == place
        assert start + 4 <= end <= HEADER_SIZE + len(body)
        place = (end + 3) & ~3
