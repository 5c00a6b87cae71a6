"""Captures: a pcapng file that anybody can read, with DATA chunks in it, and never an error."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from peer_support import Two, take_all

from rtcstack import InvalidParameter, PeerConnection, poll
from rtcstack.net.capture import open_capture

RAW, SCTP = 101, 248
DATA, I_DATA = 0, 64


@dataclass
class Read:
    """What a capture holds: the interfaces, (link type, name), and (interface, seconds, flags, bytes)."""

    interfaces: list[tuple[int, str]] = field(default_factory=list)
    packets: list[tuple[int, float, int, bytes]] = field(default_factory=list)

    def of(self, link_type: int, flags: int | None = None) -> list[bytes]:
        return [
            data
            for number, _, direction, data in self.packets
            if self.interfaces[number][0] == link_type and flags in (None, direction)
        ]


def read(path: Path) -> Read:
    """Read a little-endian pcapng file, strictly."""
    data = path.read_bytes()
    found = Read()
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0
        assert struct.unpack_from("<I", data, at + size - 4) == (size,)
        body = data[at + 8 : at + size - 4]
        if at == 0:
            assert kind == 0x0A0D0D0A
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
        elif kind == 1:
            link_type, _, _ = struct.unpack_from("<HHI", body)
            found.interfaces.append((link_type, dict(options(body[8:]))[2].decode()))
        else:
            assert kind == 6
            number, high, low, captured, length = struct.unpack_from("<IIIII", body)
            assert captured == length
            assert number < len(found.interfaces)
            flags = struct.unpack("<I", dict(options(body[20 + length + -length % 4 :]))[2])[0]
            found.packets.append((number, ((high << 32) + low) / 1e6, flags, body[20 : 20 + length]))
        at += size
    return found


def options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while True:
        code, size = struct.unpack_from("<HH", data, at)
        if not code:
            assert at + 4 == len(data)
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def chunks(packet: bytes) -> Iterator[tuple[int, bytes]]:
    at = 12
    while at < len(packet):
        kind, _, size = struct.unpack_from("!BBH", packet, at)
        yield kind, packet[at : at + size]
        at += size + -size % 4


def test_a_capture_has_the_datagrams_and_the_data_chunks(tmp_path: Path) -> None:
    path = tmp_path / "both.pcapng"
    two = Two(capture=str(path)).connected()
    two.chat_a.put_packet(b"to be found in the clear")
    two.run(two.chat_b.get_available_packet_count)
    assert take_all(two.chat_b) == [b"to be found in the clear"]
    found = read(path)
    assert [link_type for link_type, _ in found.interfaces] == [RAW, SCTP, RAW, SCTP]
    datagrams = found.of(RAW)
    assert len({data[28] for data in datagrams} & {0, 1, 22, 23}) >= 3  # STUN, handshake, application data
    for data in datagrams:
        version, _, size, _, _, _, protocol = struct.unpack_from("!BBHHHBB", data)
        assert (version, size, protocol) == (0x45, len(data), 17)
        assert checksum(data[:20]) == 0xFFFF
        assert struct.unpack_from("!H", data, 24) == (len(data) - 20,)
    said = [chunk for packet in found.of(SCTP, 2) for chunk in chunks(packet)]
    assert [chunk for kind, chunk in said if kind in (DATA, I_DATA) and b"in the clear" in chunk]
    heard = [chunk for packet in found.of(SCTP, 1) for chunk in chunks(packet)]
    assert sum(kind in (DATA, I_DATA) for kind, _ in heard) == sum(kind in (DATA, I_DATA) for kind, _ in said)


def test_ipv6_datagrams_have_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "six.pcapng"
    capture = open_capture(path, "six")
    capture.said(("fe80::1", 5), ("2001:db8::2", 6), [b"odd"], 10.0)
    capture.heard(("stream", 1), ("10.0.0.1", 3478), [b"by TCP"], 11.0)
    (_, early, _, six), (_, late, _, four) = read(path).packets
    assert late - early == pytest.approx(1.0)
    assert struct.unpack_from("!IHBB", six) == (0x60000000, 11, 17, 64)
    assert (ip_address(six[8:24]), ip_address(six[24:40])) == (
        ip_address("fe80::1"),
        ip_address("2001:db8::2"),
    )
    assert checksum(six[8:40] + struct.pack("!II", 11, 17) + six[40:]) == 0xFFFF
    assert four[-6:] == b"by TCP"


def test_a_file_that_cannot_be_written_is_told_at_once_and_a_full_disk_never(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="capture"):
        PeerConnection(capture=str(tmp_path / "missing" / "x.pcapng"))
    if Path("/dev/full").exists():
        with pytest.raises(InvalidParameter):
            PeerConnection(capture=str(tmp_path))
        two = Two(capture="/dev/full").connected()
        two.chat_a.put_packet("goes on")
        assert two.run(two.chat_b.get_available_packet_count)


def test_the_environment_names_one_file_for_all_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTCSTACK_PCAP", str(tmp_path / "all-%p.pcapng"))
    for _ in range(2):
        two = Two().connected()
        two.a.abort()
        poll(two.both, 0.1)
    (path,) = tmp_path.iterdir()
    assert "%" not in path.name
    assert len(read(path).interfaces) == 8
