"""UdpSocket on real loopback sockets: batches, offload and its refusal, full buffers, dead ends."""

from __future__ import annotations

import errno
import select
import socket
import sys
from typing import Any

import pytest

from rtcstack.errors import RTCError
from rtcstack.net.options import Options
from rtcstack.net.udp import SocketStats, UdpSocket, bind, route_mtu

LOOPBACK = ["127.0.0.1", "::1"]
ONE_BY_ONE = Options(offload=False)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="UDP GSO and GRO are Linux's")


class Kernel(socket.socket):
    """A loopback socket whose kernel answers sends with the listed errors first."""

    def __init__(self, segmented: list[int] = [], single: list[int] = []) -> None:  # noqa: B006
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.bind(("127.0.0.1", 0))
        self.segmented = list(segmented)
        self.single = list(single)

    def sendmsg(self, *arguments: Any) -> int:
        if self.segmented:
            raise OSError(self.segmented.pop(0), "no")
        return super().sendmsg(*arguments)

    def sendto(self, *arguments: Any) -> int:
        if self.single and (error := self.single.pop(0)):
            raise OSError(error, "no")
        return super().sendto(*arguments)


@pytest.fixture(params=LOOPBACK)
def address(request: pytest.FixtureRequest) -> str:
    try:
        bind(request.param, Options()).close()
    except OSError:
        pytest.skip(f"no {request.param} here")
    return str(request.param)


@pytest.fixture
def receiver() -> Any:
    sock = bind("127.0.0.1", Options())
    yield sock
    sock.close()


def receive(sock: UdpSocket, count: int) -> list[tuple[tuple[str, int], list[bytes]]]:
    batches: list[tuple[tuple[str, int], list[bytes]]] = []
    while sum(len(datagrams) for _, datagrams in batches) < count:
        assert select.select([sock], [], [], 5)[0], f"only {batches} came"
        batches += sock.receive()
    return batches


def datagrams_of(batches: list[tuple[tuple[str, int], list[bytes]]]) -> list[bytes]:
    return [datagram for _, datagrams in batches for datagram in datagrams]


@pytest.mark.parametrize("to_offload", [True, False])
@pytest.mark.parametrize("from_offload", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        [1],
        [1200] * 2,
        [1200] * 40 + [700],
        [1200] * 130,
        [60, 1200, 1200, 300, 300, 300, 1200, 1],
        [9000] * 20,
        [1, 2, 3, 3, 2, 1],
        [40000, 40000, 40000],
        [1200] * 54 + [1201] * 3,
    ],
)
def test_every_datagram_arrives_whole_and_in_order(
    address: str, sizes: list[int], from_offload: bool, to_offload: bool
) -> None:
    here = bind(address, Options(offload=from_offload))
    there = bind(address, Options(offload=to_offload))
    sent = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    assert here.send(there.address, sent)
    batches = receive(there, len(sent))
    assert datagrams_of(batches) == sent
    assert {remote for remote, _ in batches} == {here.address}
    assert here.stats.datagrams_sent == there.stats.datagrams_received == len(sent)
    assert here.stats.bytes_sent == there.stats.bytes_received == sum(sizes)
    assert there.receive() == []
    here.close()
    there.close()


@on_linux
def test_a_burst_of_equal_datagrams_costs_one_call_each_way() -> None:
    here, there = bind("127.0.0.1", Options()), bind("127.0.0.1", Options())
    assert here.segments
    assert there.coalesces
    here.send(there.address, [bytes(1200)] * 40 + [bytes(500)])
    assert [len(datagrams) for _, datagrams in receive(there, 41)] == [41]
    assert (here.stats.send_calls, there.stats.receive_calls) == (1, 1)
    here.close()
    there.close()


@on_linux
def test_what_the_network_may_cut_goes_one_by_one(receiver: UdpSocket) -> None:
    """The kernel does not cut what it is to segment (RFC 9260 section 6.9 is why it may)."""
    kernel = Kernel()
    sender = UdpSocket(kernel)
    discover = socket.IPPROTO_IP, 10
    for allowed, calls, choice in ((False, 1, 3), (True, 10, 0), (False, 1, 3)):
        sender.allow_fragments(allowed)
        assert kernel.getsockopt(*discover) == choice
        before = sender.stats.send_calls
        sender.send(receiver.address, [bytes(1200)] * 10)
        assert datagrams_of(receive(receiver, 10)) == [bytes(1200)] * 10
        assert sender.stats.send_calls - before == calls
    sender.close()


def test_fragments_can_be_allowed_in_each_family(address: str) -> None:
    sock = bind(address, Options())
    sock.allow_fragments(True)
    assert sock.send(sock.address, [bytes(30_000)])
    sock.allow_fragments(False)
    assert sock.send(sock.address, [bytes(30_000)])
    assert datagrams_of(receive(sock, 2)) == [bytes(30_000)] * 2
    sock.close()


def test_the_mtu_of_a_route_is_that_of_its_first_link(address: str) -> None:
    mtu = route_mtu((address, 5000), (address, 5000))
    assert mtu > 16_000 if sys.platform == "linux" else mtu == 0
    assert route_mtu(("192.0.2.77", 5000), (address, 5000)) == 0  # not an address of this machine


def test_without_offload_each_datagram_is_a_call() -> None:
    here, there = bind("127.0.0.1", ONE_BY_ONE), bind("127.0.0.1", ONE_BY_ONE)
    assert not here.segments
    assert not there.coalesces
    here.send(there.address, [bytes(1200)] * 10)
    assert [len(datagrams) for _, datagrams in receive(there, 10)] == [10]
    assert (here.stats.send_calls, there.stats.receive_calls) == (10, 10)
    here.close()
    there.close()


def test_neighbours_from_one_remote_share_a_batch(receiver: UdpSocket) -> None:
    a, b = bind("127.0.0.1", ONE_BY_ONE), bind("127.0.0.1", ONE_BY_ONE)
    a.send(receiver.address, [b"1", b"2"])
    b.send(receiver.address, [b"3"])
    a.send(receiver.address, [b"4"])
    assert receive(receiver, 4) == [(a.address, [b"1", b"2"]), (b.address, [b"3"]), (a.address, [b"4"])]
    a.close()
    b.close()


def test_an_empty_datagram_is_a_datagram(receiver: UdpSocket) -> None:
    receiver.send(receiver.address, [b"", b"", b"x"])
    assert datagrams_of(receive(receiver, 3)) == [b"", b"", b"x"]


def test_one_receive_is_bounded(receiver: UdpSocket) -> None:
    sender = bind("127.0.0.1", ONE_BY_ONE)
    # Every other size: the kernel joins nothing, each datagram is a call.
    sender.send(receiver.address, [bytes(1 + number % 2) for number in range(100)])
    first = datagrams_of(receiver.receive())
    assert 0 < len(first) < 100
    assert not receiver.is_drained
    assert len(first) + len(datagrams_of(receive(receiver, 100 - len(first)))) == 100
    sender.close()


@on_linux
@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP])
def test_a_refused_segmentation_is_not_tried_again_and_nothing_is_lost(
    receiver: UdpSocket, error: int
) -> None:
    sender = UdpSocket(Kernel(segmented=[error]))
    sent = [bytes([number]) * 1200 for number in range(20)]
    assert sender.segments
    sender.send(receiver.address, sent)
    assert not sender.segments
    assert datagrams_of(receive(receiver, 20)) == sent
    assert (sender.stats.offload_refused, sender.stats.send_calls) == (1, 20)
    sender.send(receiver.address, sent)
    assert datagrams_of(receive(receiver, 20)) == sent
    assert (sender.stats.offload_refused, sender.stats.send_calls) == (1, 40)
    sender.close()


@on_linux
def test_a_segmented_call_to_a_dead_path_keeps_segmentation(receiver: UdpSocket) -> None:
    sender = UdpSocket(Kernel(segmented=[errno.ENETUNREACH]))
    assert sender.send(receiver.address, [bytes(1200)] * 20)
    assert sender.segments
    assert sender.stats.unreachable == 20
    assert sender.send(receiver.address, [bytes(1200)] * 20)
    receive(receiver, 20)
    sender.close()


@pytest.mark.parametrize(
    "error", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM, errno.EMSGSIZE]
)
def test_an_unreachable_path_is_counted_and_the_rest_goes_on(receiver: UdpSocket, error: int) -> None:
    sender = UdpSocket(Kernel(single=[error]), ONE_BY_ONE)
    assert sender.send(receiver.address, [b"lost", b"found"])
    assert datagrams_of(receive(receiver, 1)) == [b"found"]
    assert sender.stats.unreachable == 1
    sender.close()


def test_a_dead_port_troubles_nobody(address: str) -> None:
    sender, gone = bind(address, Options()), bind(address, Options())
    dead = gone.address
    gone.close()
    for _ in range(3):
        assert sender.send(dead, [b"anyone?"] * 3)
        assert sender.receive() == []
    sender.send(sender.address, [b"alive"])
    assert datagrams_of(receive(sender, 1)) == [b"alive"]
    sender.close()


def test_a_datagram_too_large_for_any_path_is_counted(receiver: UdpSocket) -> None:
    assert receiver.send(receiver.address, [bytes(65536)])
    assert receiver.stats.unreachable == 1


def test_a_remote_of_the_other_family_is_counted(receiver: UdpSocket) -> None:
    assert receiver.send(("::1", 9), [b"x"])
    assert receiver.stats.unreachable == 1


def test_a_reset_told_by_a_read_is_counted_and_reading_goes_on(receiver: UdpSocket) -> None:
    class Resetting(socket.socket):
        told = False

        def recvfrom(self, size: int, flags: int = 0) -> Any:
            if not self.told:
                self.told = True
                raise ConnectionResetError(errno.ECONNRESET, "an earlier datagram met a closed port")
            return super().recvfrom(size, flags)

    raw = Resetting(socket.AF_INET, socket.SOCK_DGRAM)
    raw.bind(("127.0.0.1", 0))
    sock = UdpSocket(raw, ONE_BY_ONE)
    receiver.send(sock.address, [b"after the reset"])
    assert datagrams_of(receive(sock, 1)) == [b"after the reset"]
    assert sock.stats.receive_errors == 1
    sock.close()


def test_what_a_full_buffer_refuses_waits_and_keeps_its_order(receiver: UdpSocket) -> None:
    sender = UdpSocket(Kernel(single=[0, errno.EAGAIN, errno.EAGAIN]), ONE_BY_ONE)
    assert not sender.send(receiver.address, [b"1", b"2", b"3"])
    assert sender.is_blocked
    assert not sender.send(receiver.address, [b"4"])
    assert not sender.flush()
    assert sender.flush()
    assert not sender.is_blocked
    assert sender.send(receiver.address, [b"5"])
    assert datagrams_of(receive(receiver, 5)) == [b"1", b"2", b"3", b"4", b"5"]
    assert (sender.stats.blocked, sender.stats.dropped) == (2, 0)
    sender.close()


@on_linux
def test_a_full_buffer_refuses_a_segmented_call_as_a_whole(receiver: UdpSocket) -> None:
    sender = UdpSocket(Kernel(segmented=[errno.EAGAIN]))
    sent = [bytes([number]) * 1200 for number in range(60)]
    assert not sender.send(receiver.address, sent)
    assert sender.flush()
    assert datagrams_of(receive(receiver, 60)) == sent
    assert sender.segments
    sender.close()


def test_what_waits_is_bounded_and_the_rest_is_dropped(receiver: UdpSocket) -> None:
    sender = UdpSocket(Kernel(single=[errno.EAGAIN]), ONE_BY_ONE)
    for _ in range(10):
        sender.send(receiver.address, [b"x"] * 1000)
    assert 0 < sender.stats.dropped < 10000
    sender.close()
    assert sender.stats.dropped == 10000
    assert sender.fileno() == -1
    sender.close()


def test_the_sockets_of_one_transport_share_counters() -> None:
    stats = SocketStats()
    a, b = bind("127.0.0.1", Options(), stats), bind("127.0.0.1", ONE_BY_ONE, stats)
    a.send(b.address, [b"x"])
    receive(b, 1)
    assert (stats.datagrams_sent, stats.datagrams_received) == (1, 1)
    a.close()
    b.close()


def test_granted_buffers_are_told() -> None:
    sock = bind("127.0.0.1", Options(buffer_size=128 << 10))
    assert sock.stats.receive_buffer >= 128 << 10
    assert sock.stats.send_buffer >= 128 << 10
    sock.close()


def test_a_system_that_refuses_large_buffers_is_asked_for_less() -> None:
    class Strict(socket.socket):
        def setsockopt(self, level: int, option: int, value: Any, *rest: Any) -> None:
            if option in (socket.SO_RCVBUF, socket.SO_SNDBUF) and value > 300000:
                raise OSError(errno.ENOBUFS, "too much")
            super().setsockopt(level, option, value, *rest)

    raw = Strict(socket.AF_INET, socket.SOCK_DGRAM)
    raw.bind(("127.0.0.1", 0))
    sock = UdpSocket(raw)
    assert sock.stats.receive_buffer >= 262144
    sock.close()


def test_a_port_range_is_kept_and_its_exhaustion_says_so() -> None:
    first = bind("127.0.0.1", Options())
    port = first.address[1]
    first.close()
    options = Options(port_range=(port, port))
    taken = bind("127.0.0.1", options)
    assert taken.address == ("127.0.0.1", port)
    with pytest.raises(RTCError, match=rf"no UDP port of {port}-{port} is free on 127\.0\.0\.1"):
        bind("127.0.0.1", options)
    taken.close()


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(OSError, match="ssign"):
        bind("192.0.2.200", Options(port_range=(40000, 50000)))


def test_an_ipv6_socket_takes_no_ipv4() -> None:
    try:
        sock = bind("::", Options())
    except OSError:
        pytest.skip("no IPv6 here")
    other = bind("127.0.0.1", Options(port_range=(sock.address[1],) * 2))
    sock.close()
    other.close()
