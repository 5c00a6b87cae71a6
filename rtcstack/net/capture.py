"""Writes what goes through a connection to a file for Wireshark: datagrams, and SCTP in the clear."""

from __future__ import annotations

import ipaddress
import os
import struct
import threading
import time
import weakref
from pathlib import Path

from rtcstack.log import Log
from rtcstack.net.udp import Address

__all__ = ["Capture", "open_capture"]

_log = Log("net")

# Blocks and options of pcapng (draft-ietf-opsawg-pcapng), link types of tcpdump.org.
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_IF_NAME, _EPB_FLAGS = 2, 2
_LINK_RAW, _LINK_SCTP = 101, 248
_INBOUND, _OUTBOUND = 1, 2

_block_head = struct.Struct("<II").pack
_packet_head = struct.Struct("<IIIII").pack
_ipv4_head = struct.Struct("!BBHHHBBH4s4s").pack
_udp_head = struct.Struct("!HHHH").pack


class _File:
    """A pcapng file of one section, to which several connections may write, from several threads.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("wb", buffering=0)
        self._interfaces = 0
        self._epoch = time.time() - time.monotonic()
        self._is_broken = False
        head = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)
        self._write([_block(_SECTION, head)])

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()

    def add_interface(self, link_type: int, name: str) -> int:
        """Describe one more source of packets. Returns its number."""
        content = struct.pack("<HHI", link_type, 0, 0) + _option(_IF_NAME, name.encode()) + _option(0, b"")
        with self._lock:
            self._write([_block(_INTERFACE, content)])
            self._interfaces += 1
            return self._interfaces - 1

    def add(self, interface: int, packets: list[bytes], now: float, flags: int) -> None:
        """Write packets, which reach the disk together."""
        stamp = int((now + self._epoch) * 1e6)
        options = _option(_EPB_FLAGS, struct.pack("<I", flags)) + _option(0, b"")
        blocks = []
        for packet in packets:
            size = len(packet)
            head = _packet_head(interface, stamp >> 32, stamp & 0xFFFFFFFF, size, size)
            blocks.append(_block(_PACKET, head + packet + bytes(-size % 4) + options))
        with self._lock:
            self._write(blocks)

    def _write(self, blocks: list[bytes]) -> None:
        if self._is_broken:
            return
        try:
            self._file.write(b"".join(blocks))
        except OSError as error:
            self._is_broken = True
            _log.warning("the capture %s ends here: %s", self.path, error)


class Capture:
    """Listens to one session (a Tap) and writes all of it, as two interfaces of the file.

    The datagrams get IP and UDP headers, which sockets keep to themselves; the SCTP packets stand alone.
    """

    def __init__(self, file: _File, name: str) -> None:
        self._file = file
        self._datagrams = file.add_interface(_LINK_RAW, f"{name} datagrams")
        self._sctp = file.add_interface(_LINK_SCTP, f"{name} SCTP")

    def heard(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Datagrams have arrived from `remote`."""
        packets = [_ip_packet(remote, local, datagram) for datagram in datagrams]
        self._file.add(self._datagrams, packets, now, _INBOUND)

    def said(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Datagrams leave for `remote`."""
        packets = [_ip_packet(local, remote, datagram) for datagram in datagrams]
        self._file.add(self._datagrams, packets, now, _OUTBOUND)

    def decrypted(self, packets: list[bytes], now: float) -> None:
        """SCTP packets of the peer have been decrypted."""
        self._file.add(self._sctp, packets, now, _INBOUND)

    def encrypted(self, packets: list[bytes], now: float) -> None:
        """SCTP packets of ours are about to be encrypted."""
        self._file.add(self._sctp, packets, now, _OUTBOUND)


_lock = threading.Lock()
_files: weakref.WeakValueDictionary[Path, _File] = weakref.WeakValueDictionary()
"""The files that are open now: connections that name the same one share it."""
_kept: list[_File] = []
"""Files of the environment: later connections of the process go on in them."""


def open_capture(path: str | os.PathLike[str], name: str, *, keep: bool = False) -> Capture:
    """Begin to write down a connection.

    path    a file, which is overwritten unless another connection writes to it now; "%p" in it stands for
            the number of this process.
    name    how the connection is called there.
    keep    True goes on in the same file until the process ends.

    Raises:
        OSError: the file cannot be opened.
    """
    target = Path(os.fspath(path).replace("%p", str(os.getpid()))).absolute()
    with _lock:
        file = _files.get(target)
        if file is None:
            file = _files[target] = _File(target)
            _log.warning("%s gets everything that connections carry, decrypted", target)
            if keep:
                _kept.append(file)
    return Capture(file, name)


def _block(kind: int, content: bytes) -> bytes:
    size = len(content) + 12
    return _block_head(kind, size) + content + struct.pack("<I", size)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _ip_packet(source: Address, destination: Address, payload: bytes) -> bytes:
    """Put IP and UDP headers before a datagram, and before what came by a connection to a server too."""
    sender, receiver = _packed(source[0]), _packed(destination[0])
    size = len(payload) + 8
    if len(sender) == len(receiver) == 4:
        # UDP over IPv4 may go without a checksum.
        udp = _udp_head(source[1], destination[1], size & 0xFFFF, 0)
        parts = 0x45, 0, (size + 20) & 0xFFFF, 0, 0x4000, 64, 17
        head = _ipv4_head(*parts, _checksum(_ipv4_head(*parts, 0, sender, receiver)), sender, receiver)
        return head + udp + payload
    sender, receiver = sender.rjust(16, b"\0"), receiver.rjust(16, b"\0")
    pseudo = sender + receiver + struct.pack("!II", size, 17)
    udp = _udp_head(source[1], destination[1], size & 0xFFFF, 0)
    checksum = _checksum(pseudo + udp + payload) or 0xFFFF
    udp = _udp_head(source[1], destination[1], size & 0xFFFF, checksum)
    return struct.pack("!IHBB", 0x60000000, size & 0xFFFF, 17, 64) + sender + receiver + udp + payload


def _packed(address: str) -> bytes:
    """Return an address as bytes; 0.0.0.0 for what is none, as the key of a connection to a server."""
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return bytes(4)


def _checksum(data: bytes) -> int:
    """Compute the checksum of the Internet protocols (RFC 1071): with its carries a remainder of 65,535."""
    return -int.from_bytes(data + bytes(len(data) % 2)) % 0xFFFF
