"""One non-blocking UDP socket that takes and gives lists of datagrams."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass

from rtcstack.errors import RTCError
from rtcstack.net.options import Options

__all__ = ["Address", "SocketStats", "UdpSocket", "bind", "route_mtu"]

Address = tuple[str, int]
"""IP address in text, without a zone, and port."""

# <linux/udp.h>; the socket module does not name them.
_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104
_pack_segment_size = struct.Struct("=H").pack
_unpack_segment_size = struct.Struct("=i").unpack

_LARGEST_DATAGRAM = 65535
_ANCILLARY_SIZE = 64
_MAX_SEGMENTS = 64
_MAX_SEGMENTED_BYTES = 65000
_RECEIVE_CALLS = 16
"""System calls of one receive(): up to a megabyte with GRO; another socket's turn comes after that."""
_UNSENT_DATAGRAMS = 4096
"""Datagrams kept while the kernel's buffer is full, about 5 MB: one burst of the largest window."""

_GSO_REFUSED = frozenset(
    {errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT}
)

# <linux/in.h>, <linux/in6.h>; IPV6_MTU, set on a socket, is the size into which it cuts what it may cut.
_IP_MTU, _IPV6_MTU = 14, 24
_LEAST_IPV6_MTU = 1280

# Never fragment, and leave the path's MTU to our own discovery: (level, option, value) for IPv4 and for IPv6.
_DONT_FRAGMENT = {
    "linux": (
        (socket.IPPROTO_IP, 10, 3),
        (socket.IPPROTO_IPV6, 23, 3),
    ),  # IP(V6)_MTU_DISCOVER = PMTUDISC_PROBE
    "darwin": ((socket.IPPROTO_IP, 28, 1), (socket.IPPROTO_IPV6, 62, 1)),  # IP_DONTFRAG, IPV6_DONTFRAG
    "win32": ((socket.IPPROTO_IP, 14, 1), (socket.IPPROTO_IPV6, 14, 1)),  # IP_DONTFRAGMENT, IPV6_DONTFRAG
}


@dataclass(slots=True)
class SocketStats:
    """What went through one socket, or through all sockets of one transport; all counts since the start.

    receive_buffer and send_buffer are the bytes of kernel buffer granted, as the system tells them (Linux
    counts its own overhead and tells twice what was asked for); where several sockets share the counters,
    the smallest.
    """

    datagrams_received: int = 0
    bytes_received: int = 0
    receive_calls: int = 0
    receive_errors: int = 0
    datagrams_sent: int = 0
    bytes_sent: int = 0
    send_calls: int = 0
    unreachable: int = 0
    """Datagrams that the system refused: no route, a firewall, too large for the interface. Other paths live
    on."""
    blocked: int = 0
    """Times that the kernel's send buffer was full."""
    dropped: int = 0
    """Datagrams given up: too many were waiting for a full buffer, or their socket is gone."""
    offload_refused: int = 0
    """Sockets that fell back to one datagram a call."""
    receive_buffer: int = 0
    send_buffer: int = 0


class UdpSocket:
    """A bound UDP socket, drained and filled in batches.

    Where the kernel can, one call carries up to 64 datagrams each way (UDP GSO and GRO). A kernel or network
    card that refuses to is not asked again by this socket. No failure of the network raises: it is counted.

    sock        a bound datagram socket; it becomes non-blocking and belongs to this object.
    options     see Options; bind() has applied those that concern binding.
    stats       counters to add to; None makes new ones.
    """

    __slots__ = (
        "_coalesces",
        "_may_fragment",
        "_segments",
        "_sock",
        "_unsent",
        "_unsent_count",
        "address",
        "is_drained",
        "stats",
    )

    def __init__(
        self, sock: socket.socket, options: Options | None = None, stats: SocketStats | None = None
    ) -> None:
        if options is None:
            options = Options()
        self._sock = sock
        self.address: Address = sock.getsockname()[:2]
        self.stats = SocketStats() if stats is None else stats
        self._unsent: deque[tuple[Address, list[bytes]]] = deque()
        self._unsent_count = 0
        self.is_drained = True
        """Whether the last receive() took all there was, rather than all it may."""
        sock.setblocking(False)
        self._ask_for_buffers(options.buffer_size)
        self._may_fragment = False
        self.allow_fragments(False)
        self._segments = options.offload and sys.platform == "linux"
        self._coalesces = False
        if self._segments:
            with contextlib.suppress(OSError):
                sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
                self._coalesces = True

    @property
    def segments(self) -> bool:
        """Whether several datagrams leave in one call."""
        return self._segments

    @property
    def coalesces(self) -> bool:
        """Whether several datagrams arrive in one call."""
        return self._coalesces

    @property
    def is_blocked(self) -> bool:
        """Whether datagrams wait until the kernel takes them; call flush() when the socket is writable."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """File descriptor, for select and its kin; -1 once closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket; what waits to be sent is dropped. May be called twice."""
        self.stats.dropped += self._unsent_count
        self._unsent.clear()
        self._unsent_count = 0
        self._sock.close()

    def receive(self) -> list[tuple[Address, list[bytes]]]:
        """Take what has arrived, up to about a megabyte.

        Returns (remote, datagrams) in order of arrival, neighbours from the same remote together.
        """
        batches: list[tuple[Address, list[bytes]]] = []
        datagrams: list[bytes] = []
        last: object = None
        coalesces = self._coalesces
        stats = self.stats
        sock = self._sock
        self.is_drained = False
        for _ in range(_RECEIVE_CALLS):
            try:
                if coalesces:
                    data, control, _, source = sock.recvmsg(_LARGEST_DATAGRAM, _ANCILLARY_SIZE)
                else:
                    data, source = sock.recvfrom(_LARGEST_DATAGRAM)
                    control = []
            except BlockingIOError:
                self.is_drained = True
                break
            except OSError:
                # An earlier datagram met a closed port (Windows and BSD report it here): the socket is fine.
                stats.receive_errors += 1
                continue
            if source != last:
                last = source
                datagrams = []
                batches.append((source[:2], datagrams))
            stats.receive_calls += 1
            stats.bytes_received += len(data)
            size = _unpack_segment_size(control[0][2])[0] if control else 0
            if 0 < size < len(data):
                parts = [data[at : at + size] for at in range(0, len(data), size)]
                datagrams += parts
                stats.datagrams_received += len(parts)
            else:
                datagrams.append(data)
                stats.datagrams_received += 1
        return batches

    def send(self, remote: Address, datagrams: list[bytes]) -> bool:
        """Send datagrams in order; what a full kernel buffer refuses waits for flush().

        remote      where to; an IP address of this socket's family, not a name.
        datagrams   1 to 65,507 bytes each.
        Returns     whether nothing waits.
        """
        done = 0 if self._unsent else self._transmit(remote, datagrams)
        if done == len(datagrams):
            return not self._unsent
        self._keep(remote, datagrams[done:])
        return False

    def flush(self) -> bool:
        """Send what waits. Returns True when nothing waits any more."""
        unsent = self._unsent
        while unsent:
            remote, datagrams = unsent[0]
            done = self._transmit(remote, datagrams)
            self._unsent_count -= done
            if done < len(datagrams):
                del datagrams[:done]
                return False
            unsent.popleft()
        return True

    def _keep(self, remote: Address, datagrams: list[bytes]) -> None:
        room = _UNSENT_DATAGRAMS - self._unsent_count
        if len(datagrams) > room:
            self.stats.dropped += len(datagrams) - room
            del datagrams[room:]
        if datagrams:
            self._unsent.append((remote, datagrams))
            self._unsent_count += len(datagrams)

    def _transmit(self, remote: Address, datagrams: list[bytes]) -> int:
        """Hand datagrams to the kernel. Returns how many are done with: fewer than all if it is full."""
        stats = self.stats
        sock = self._sock
        count = len(datagrams)
        at = 0
        while at < count:
            end = _run_end(datagrams, at) if self._segments and not self._may_fragment else at + 1
            try:
                if end - at == 1:
                    size = sock.sendto(datagrams[at], remote)
                else:
                    segment_size = _pack_segment_size(len(datagrams[at]))
                    control = [(_SOL_UDP, _UDP_SEGMENT, segment_size)]
                    size = sock.sendmsg([b"".join(datagrams[at:end])], control, 0, remote)
            except BlockingIOError:
                stats.blocked += 1
                return at
            except OSError as error:
                if end - at > 1 and error.errno in _GSO_REFUSED:
                    self._segments = False
                    stats.offload_refused += 1
                    continue
                stats.unreachable += end - at
            else:
                stats.send_calls += 1
                stats.datagrams_sent += end - at
                stats.bytes_sent += size
            at = end
        return count

    def _ask_for_buffers(self, size: int) -> None:
        stats = self.stats
        granted = self._buffer(socket.SO_RCVBUF, size)
        stats.receive_buffer = min(stats.receive_buffer or granted, granted)
        granted = self._buffer(socket.SO_SNDBUF, size)
        stats.send_buffer = min(stats.send_buffer or granted, granted)

    def _buffer(self, option: int, size: int) -> int:
        # Linux grants what it may; the BSDs refuse what is too much.
        while size >= 65536:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, option, size)
                break
            except OSError:
                size //= 2
        return self._sock.getsockopt(socket.SOL_SOCKET, option)

    def allow_fragments(self, allowed: bool) -> None:
        """Say whether datagrams larger than a link may be cut: here, and by routers of IPv4 on the way.

        They go one by one then, as the kernel does not cut what it is to segment.
        """
        self._may_fragment = allowed
        for_ipv4, for_ipv6 = _DONT_FRAGMENT.get(sys.platform, (None, None))
        is_ipv6 = self._sock.family == socket.AF_INET6
        choice = for_ipv6 if is_ipv6 else for_ipv4
        if choice is not None:
            level, option, value = choice
            with contextlib.suppress(OSError):
                self._sock.setsockopt(level, option, 0 if allowed else value)
        if is_ipv6 and sys.platform == "linux":
            with contextlib.suppress(OSError):  # no router cuts IPv6: all of it is for us to do
                self._sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU, _LEAST_IPV6_MTU if allowed else 0)


def route_mtu(local: Address, remote: Address) -> int:
    """Tell how large an IP packet the first link from one address to another carries, bytes; 0 = unknown.

    Only Linux tells. Between two addresses of one machine it is the loopback's, whatever interface has them.
    """
    is_ipv6 = ":" in remote[0]
    if sys.platform == "linux":
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((local[0], 0))
            sock.connect(remote)
            if is_ipv6:
                return sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
            return sock.getsockopt(socket.IPPROTO_IP, _IP_MTU)
    return 0


def _run_end(datagrams: list[bytes], start: int) -> int:
    """Find the end of a run that fits one segmented call: equal sizes, of which the last may be shorter."""
    size = len(datagrams[start])
    if not size:
        return start + 1
    limit = min(len(datagrams), start + _MAX_SEGMENTS, start + max(1, _MAX_SEGMENTED_BYTES // size))
    end = start + 1
    while end < limit:
        length = len(datagrams[end])
        if length == size:
            end += 1
        else:
            return end + 1 if length < size else end
    return end


def bind(address: str, options: Options, stats: SocketStats | None = None) -> UdpSocket:
    """Open a socket on one address, at a port of options.port_range.

    address     IPv4 or IPv6 address of this machine.
    Returns the socket.

    Raises:
        OSError: the address cannot be used (gone, or its interface is down).
        RTCError: every port of the range is taken.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if options.port_range is None:
            sock.bind((address, 0))
        else:
            _bind_within(sock, address, *options.port_range)
        return UdpSocket(sock, options, stats)
    except BaseException:
        sock.close()
        raise


def _bind_within(sock: socket.socket, address: str, low: int, high: int) -> None:
    # Begin anywhere: a port that has just been closed may still get datagrams of its last session.
    count = high - low + 1
    start = random.randrange(count)
    for i in range(count):
        try:
            sock.bind((address, low + (start + i) % count))
            return
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise RTCError(f"no UDP port of {low}-{high} is free on {address}: widen port_range or close connections")
