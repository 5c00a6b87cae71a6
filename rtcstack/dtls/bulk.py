"""Encrypt and decrypt many records of an established OpenSSL connection with as few calls as possible.

Two ways to do the same: `Bulk` speaks to pyOpenSSL's public methods; `FastBulk` calls the OpenSSL functions
beneath them, which takes half the time (1,160 bytes: encrypt 1.6 instead of 3.3 µs, decrypt 1.6 instead of
3.3 µs), because it needs no fresh buffer and no error bookkeeping for each record. That is a fifth of all the
work that a packet causes. It uses names that pyOpenSSL keeps to itself, here and nowhere else: if one of them
is missing, `open_bulk` falls back to `Bulk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL

from rtcstack.dtls.records import APPLICATION_DATA, split_records

__all__ = ["LARGEST_BATCH", "LARGEST_WRITE", "Bulk", "FastBulk", "open_bulk"]

LARGEST_WRITE = 16_000
"""Bytes that one decrypt() may hold: OpenSSL reads about that much at once, for one datagram."""

LARGEST_BATCH = 64
"""Packets that one encrypt() should get: a memory BIO keeps the size of the largest batch it has held."""

_READ = 65_536
_LARGEST_OVERHEAD = 64
_APPLICATION_DATA = bytes((APPLICATION_DATA,))


class Bulk:
    """Moves batches of records through pyOpenSSL's public methods."""

    __slots__ = ("connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection

    def encrypt(self, packets: Sequence[bytes]) -> list[bytes]:
        """Turn each packet into one record, and hand over what else OpenSSL had to say.

        packets     1 to 16,384 bytes each.
        Raises      SSL.Error if OpenSSL refuses; take_output() has the records of the packets before.
        """
        size = 0
        for packet in packets:
            self.connection.send(packet)
            size += len(packet) + _LARGEST_OVERHEAD
        return split_records(self.connection.bio_read(size))[0]

    def decrypt(self, records: Sequence[bytes]) -> list[bytes]:
        """Read application records; those that are forged, damaged or repeated do no harm.

        records     whole ones of epoch 1, content type 23; at most LARGEST_WRITE bytes, or a single one.
        Returns     the content of each good record; empty ones may be left out.
        """
        data = b"".join(records)
        self.connection.bio_write(data)
        largest = max(map(len, records))
        packets = []
        try:
            for _ in records:
                packets.append(self.connection.recv(largest))  # noqa: PERF401 - keeps what came before an error
        except SSL.Error:  # usually WantReadError: the rest was not worth reading
            pass
        return packets

    def take_output(self) -> list[bytes]:
        """Take the records that OpenSSL wrote on its own: alerts, handshake messages sent again."""
        return split_records(read_all(self.connection))[0]


class FastBulk(Bulk):
    """Moves batches of records through the functions of OpenSSL itself.

    Buffers live as long as a call: the functions let other threads run, so that they cannot be shared.
    """

    __slots__ = ("_from_ssl", "_into_ssl", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        super().__init__(connection)
        private: Any = connection
        self._ssl = private._ssl
        self._into_ssl = private._into_ssl
        self._from_ssl = private._from_ssl

    def encrypt(self, packets: Sequence[bytes]) -> list[bytes]:
        """See Bulk.encrypt."""
        write, ssl = _ssl_write, self._ssl
        total = 0
        for packet in packets:
            length = len(packet)
            if write(ssl, packet, length) <= 0:
                self.connection.send(packet)  # raises, and says what is wrong
            total += length
        count = len(packets)
        size = total + count * _LARGEST_OVERHEAD
        buffer = _new_buffer("char[]", size)
        size = _bio_read(self._from_ssl, buffer, size)
        overhead, odd = divmod(size - total, count)
        view = _buffer_view(buffer, size)
        if odd or view[0] != _APPLICATION_DATA:
            return split_records(view[:])[0]
        records = []
        at = 0
        for packet in packets:
            end = at + len(packet) + overhead
            records.append(view[at:end])
            at = end
        return records

    def decrypt(self, records: Sequence[bytes]) -> list[bytes]:
        """See Bulk.decrypt."""
        data = b"".join(records)
        _bio_write(self._into_ssl, data, len(data))
        largest = max(map(len, records))
        buffer = _new_buffer("char[]", largest)
        view = _buffer_view(buffer, largest)
        read, ssl = _ssl_read, self._ssl
        packets = []
        for _ in records:
            size = read(ssl, buffer, largest)
            if size <= 0:
                _clear_errors()
                break
            packets.append(view[:size])
        return packets


def read_all(connection: SSL.Connection) -> bytes:
    """Take everything that OpenSSL has written to its memory BIO."""
    parts = []
    try:
        while True:
            parts.append(connection.bio_read(_READ))
    except SSL.WantReadError:
        return b"".join(parts)


try:
    _lib: Any = SSL._lib  # type: ignore[attr-defined]
    _ffi: Any = SSL._ffi  # type: ignore[attr-defined]
    _ssl_read, _ssl_write, _clear_errors = _lib.SSL_read, _lib.SSL_write, _lib.ERR_clear_error
    _bio_read, _bio_write = _lib.BIO_read, _lib.BIO_write
    _buffer_view = _ffi.buffer
    _new_buffer = _ffi.new_allocator(should_clear_after_alloc=False)
    _HAS_PRIVATE_NAMES = True
except AttributeError:  # pragma: no cover
    _HAS_PRIVATE_NAMES = False


def open_bulk(connection: SSL.Connection) -> Bulk:
    """Choose the fastest way that this pyOpenSSL allows.

    connection      established, its memory BIOs empty.
    """
    names = ("_ssl", "_into_ssl", "_from_ssl")
    if _HAS_PRIVATE_NAMES and all(getattr(connection, name, None) is not None for name in names):
        return FastBulk(connection)
    return Bulk(connection)  # pragma: no cover
