"""DTLS records: cut bytes at the headers, number the plaintext ones, pack them into datagrams.

     0                   1                   2                   3
    +---------------+-------------------------------+---------------+
    | content type  |       version fe fd / fe ff   |  epoch ...    |
    +---------------+-------------------------------+---------------+
    |  ... epoch    |        sequence number, 48 bits               |
    +---------------+-----------------------------------------------+
    |      ... sequence number      |     length of what follows    |
    +-------------------------------+-------------------------------+

Source: RFC 6347 section 4.1 (13 bytes: type 1, version 2, epoch 2, sequence number 6, length 2).
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ALERT",
    "APPLICATION_DATA",
    "CHANGE_CIPHER_SPEC",
    "DTLS_1_0",
    "DTLS_1_2",
    "HANDSHAKE",
    "HEADER_SIZE",
    "PLAINTEXT",
    "PROTECTED",
    "pack_records",
    "plaintext_record",
    "renumber",
    "split_records",
]

HEADER_SIZE = 13
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
DTLS_1_0, DTLS_1_2 = b"\xfe\xff", b"\xfe\xfd"
PLAINTEXT, PROTECTED = b"\x00\x00", b"\x00\x01"
"""Epochs, as record[3:5] has them: before and after the one ChangeCipherSpec (there is no renegotiation)."""

_VERSIONS = frozenset((DTLS_1_0, DTLS_1_2))


def split_records(data: bytes) -> tuple[list[bytes], int]:
    """Cut bytes into whole records, headers included.

    data        a datagram, or what OpenSSL wrote: any length, trusted in nothing.
    Returns     (records, rest): the leading records whose version is DTLS 1.0 or 1.2 and whose length fits,
                and the number of bytes after the last of them; 0 if the records tile the data exactly.
    Source: RFC 6347 sections 4.1 and 4.1.1.
    """
    records = []
    at, end = 0, len(data)
    while end - at >= HEADER_SIZE and data[at + 1 : at + 3] in _VERSIONS:
        after = at + HEADER_SIZE + (data[at + 11] << 8 | data[at + 12])
        if after > end:
            break
        records.append(data[at:after])
        at = after
    return records, end - at


def renumber(record: bytes, number: int) -> bytes:
    """Give a plaintext record another sequence number, which nothing protects and no transcript contains.

    number  0 to 2**48 - 1; one more than the last, so that no replay window of the receiver drops the record.
    Source: RFC 6347 sections 4.1.2.6 and 4.2.6.
    """
    return b"".join((record[:5], number.to_bytes(6), record[11:]))


def plaintext_record(content_type: int, version: bytes, number: int, body: bytes) -> bytes:
    """Write one record of epoch 0.

    body    at most 16,384 bytes.
    """
    return b"".join(
        (bytes((content_type,)), version, PLAINTEXT, number.to_bytes(6), len(body).to_bytes(2), body)
    )


def pack_records(records: Iterable[bytes], mtu: int) -> list[bytes]:
    """Fill datagrams with whole records, in order.

    mtu         largest datagram in bytes; a record larger than that gets one of its own.
    Source: RFC 6347 section 4.1.1 (several records may share a datagram, a record may not span two).
    """
    datagrams = []
    open_records: list[bytes] = []
    size = 0
    for record in records:
        if open_records and size + len(record) > mtu:
            datagrams.append(b"".join(open_records))
            open_records, size = [], 0
        open_records.append(record)
        size += len(record)
    if open_records:
        datagrams.append(b"".join(open_records))
    return datagrams
