"""One TCP connection, with or without TLS, that never waits."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections import deque

from rtcstack.net.udp import Address

__all__ = ["Stream"]

_READ_SIZE = 65536
_READS = 16
"""Reads in one receive(), a megabyte: one fast server must not hold a step for ever."""

_MOST_UNSENT = 1 << 20
"""Bytes that may wait for the connection; what is relayed beyond is dropped, as a full UDP socket drops."""

_IN_PROGRESS = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR})


class Stream:
    """A connection that is opened, read and written as far as that goes at each call.

    remote      (ip, port) of the other side.
    tls_name    name that its certificate must have; "" for plain TCP.
    source      our IP address to connect from; "" leaves it to the system.
    accepted    a connection that is there already; None opens one.

    is_open     whether it can be used: connected, and for TLS the handshake done.
    reason      why it is closed, a sentence; "" while it is not.
    dropped     bytes that were not sent because too many waited.
    """

    __slots__ = (
        "_connected",
        "_incoming",
        "_outgoing",
        "_sock",
        "_tls",
        "_unsent",
        "_unsent_size",
        "dropped",
        "is_open",
        "reason",
        "remote",
    )

    def __init__(
        self,
        remote: Address,
        tls_name: str = "",
        *,
        source: str = "",
        accepted: socket.socket | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.remote = remote
        self.is_open = False
        self.reason = ""
        self.dropped = 0
        self._connected = False
        self._unsent: deque[bytes] = deque()
        self._unsent_size = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if tls_name:
            context = context or ssl.create_default_context()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=tls_name)
        family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
        self._sock = accepted or socket.socket(family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if accepted is not None:
            self._connected = self.is_open = True
        else:
            self._connect(source)

    def _connect(self, source: str) -> None:
        try:
            if source:
                self._sock.bind((source, 0))
            error = self._sock.connect_ex(self.remote)
        except OSError as failure:
            error = failure.errno or errno.EADDRNOTAVAIL
        if error not in _IN_PROGRESS:
            self._fail(f"cannot connect: {errno.errorcode.get(error, error)}")

    def fileno(self) -> int:
        """File descriptor, for select and its kin; -1 once closed."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether the connection is to be watched for writability."""
        return not self.reason and (not self._connected or bool(self._unsent))

    def close(self) -> None:
        """Close the connection.  May be called twice."""
        self._fail("closed by this side")

    def send(self, pieces: list[bytes]) -> None:
        """Send bytes in order; what does not go out now waits, within a bound."""
        for piece in pieces:
            if self._unsent_size + len(piece) > _MOST_UNSENT or self.reason:
                self.dropped += len(piece)
            elif self._tls is not None:
                with contextlib.suppress(ssl.SSLError):
                    self._tls.write(piece)
                self._queue(self._outgoing.read())
            else:
                self._queue(piece)
        self._flush()

    def receive(self) -> list[bytes]:
        """Go on as far as possible: connect, shake hands, write what waits; returns what has arrived."""
        if not self._connected and not self._finish_connect():
            return []
        received: list[bytes] = []
        for _ in range(_READS):
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                break
            except OSError as error:
                self._fail(f"the connection broke: {error.strerror or error}")
                break
            if not data:
                self._fail("the other side has closed the connection")
                break
            if self._tls is None:
                received.append(data)
            else:
                self._incoming.write(data)
                received += self._decrypt()
        self._flush()
        return received

    def _finish_connect(self) -> bool:
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if not self.reason else -1
        if error:
            self._fail(f"cannot connect: {errno.errorcode.get(error, error)}")
            return False
        try:
            self._sock.getpeername()
        except OSError:
            return False  # still on its way
        self._connected = True
        if self._tls is None:
            self.is_open = True
        else:
            self._decrypt()  # begins the handshake
            self._flush()
        return True

    def _decrypt(self) -> list[bytes]:
        tls = self._tls
        assert tls is not None
        received: list[bytes] = []
        try:
            if not self.is_open:
                tls.do_handshake()
                self.is_open = True
            while data := tls.read(_READ_SIZE):
                received.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._queue(self._outgoing.read())
            self._flush()
            self._fail(f"TLS: {error.reason or error}")
        self._queue(self._outgoing.read())
        return received

    def _queue(self, data: bytes) -> None:
        if data:
            self._unsent.append(data)
            self._unsent_size += len(data)

    def _flush(self) -> None:
        while self._unsent and self._connected and not self.reason:
            data = self._unsent[0]
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(f"the connection broke: {error.strerror or error}")
                return
            self._unsent_size -= sent
            if sent < len(data):
                self._unsent[0] = data[sent:]
                return
            self._unsent.popleft()

    def _fail(self, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            self.is_open = False
            self._unsent.clear()
            self._unsent_size = 0
            self._sock.close()
