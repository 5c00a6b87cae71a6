"""OsNetwork drives fake sessions over real loopback sockets; nothing sleeps, every wait is bounded."""

from __future__ import annotations

import errno
import math
import select
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rtcstack.errors import InvalidState, RTCError
from rtcstack.net import Interface, Network, Options, OsNetwork, OsTransport, Transport
from rtcstack.net.udp import route_mtu

Address = tuple[str, int]


class EchoSession:
    """Sends back what it receives; also a plain list of things to send."""

    def __init__(self, *, echo: bool = True) -> None:
        self.deadline = math.inf
        self.locals: list[tuple[Address, str]] = []
        self.gathered = 0
        self.received: list[bytes] = []
        self.outgoing: list[tuple[Address, Address, list[bytes]]] = []
        self.timeouts: list[float] = []
        self.echo = echo
        self.asks_servers = False
        self.asks_mdns = False
        self.asks_connections = False
        self.watches_network = False
        self.tcp_types: tuple[str, ...] = ()
        self.removed: list[Address] = []
        self.route: tuple[Address, Address] | None = None
        self.route_mtu = -1
        self.may_fragment = False

    def route_found(self, mtu: int) -> None:
        self.route = None
        self.route_mtu = mtu

    @property
    def address(self) -> Address:
        return self.locals[0][0]

    def add_local_address(self, address: Address, interface: str = "") -> None:
        self.locals.append((address, interface))

    def remove_local_address(self, address: Address) -> None:
        self.removed.append(address)

    def end_of_local_candidates(self) -> None:
        self.gathered += 1

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        self.received += datagrams
        if self.echo:
            self.outgoing.append((local, remote, datagrams))

    def take_lookups(self) -> list[str]:
        return []

    def resolved(self, host: str, addresses: list[str], reason: str) -> None:
        raise AssertionError("nothing was asked")

    def take_local_names(self) -> list[str]:
        raise AssertionError("nothing is asked")

    def take_hidden_addresses(self) -> list[tuple[str, str]]:
        raise AssertionError("nothing is asked")

    def local_name_resolved(self, name: str, addresses: list[str], reason: str) -> None:
        raise AssertionError("nothing was asked")

    def add_tcp_address(self, address: Address, tcp_type: str, interface: str = "") -> None:
        raise AssertionError("nothing was asked")

    def take_connects(self) -> list[tuple[Address, Address]]:
        raise AssertionError("nothing is asked")

    def tcp_opened(self, local: Address, remote: Address, now: float) -> None:
        raise AssertionError("nothing was asked")

    def tcp_closed(self, local: Address, remote: Address, now: float) -> None:
        raise AssertionError("nothing was asked")

    def has_checked(self, local: Address, remote: Address) -> bool:
        raise AssertionError("there is no connection")

    def take_stream_requests(self) -> list[Any]:
        return []

    def stream_opened(self, key: Address, now: float) -> None:
        raise AssertionError("nothing was asked")

    def stream_closed(self, key: Address, reason: str, now: float) -> None:
        raise AssertionError("nothing was asked")

    def handle_timeout(self, now: float) -> None:
        self.timeouts.append(now)
        self.deadline = math.inf

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        outgoing, self.outgoing = self.outgoing, []
        return outgoing


@pytest.fixture(params=[True, False], ids=["offload", "one by one"])
def network(request: pytest.FixtureRequest) -> OsNetwork:
    return OsNetwork(Options(offload=request.param, bind_addresses=("127.0.0.1",)))


class Ends:
    """Transports of one network, closed at the end of the test."""

    def __init__(self, network: OsNetwork) -> None:
        self.network = network
        self.transports: list[OsTransport] = []

    def add(self, session: EchoSession) -> OsTransport:
        transport = self.network.attach(session)
        transport.gather()
        self.transports.append(transport)
        return transport


@pytest.fixture
def ends(network: OsNetwork) -> Iterator[Ends]:
    ends = Ends(network)
    yield ends
    for transport in ends.transports:
        transport.close()


def test_the_network_has_the_shape_that_faces_ask_for() -> None:
    network: Network = OsNetwork()
    transport: Transport = network.attach(EchoSession())
    assert network.now() <= network.now()
    assert not transport.step()
    transport.close()


def test_gathering_tells_each_address_once_and_then_the_end(ends: Ends) -> None:
    session = EchoSession()
    transport = ends.add(session)
    transport.gather()
    assert [address[0] for address, _ in session.locals] == ["127.0.0.1"]
    assert session.gathered == 1
    assert len(transport.descriptors) == 1
    assert transport.stats.receive_buffer > 0


def test_a_session_is_told_the_mtu_of_a_route(ends: Ends) -> None:
    session = EchoSession()
    transport = ends.add(session)
    session.route = (session.address, session.address)
    transport.step()
    assert session.route is None
    assert session.route_mtu == route_mtu(session.address, session.address)


def test_the_network_may_cut_datagrams_while_the_session_says_so(ends: Ends) -> None:
    sender, receiver = EchoSession(), EchoSession(echo=False)
    there, back = ends.add(sender), ends.add(receiver)
    count = 0
    for allowed in (True, False):
        sender.may_fragment = allowed
        sender.outgoing = [(sender.address, receiver.address, [bytes(1200)] * 10)]
        calls = there.stats.send_calls
        there.step()
        count += 10
        while len(receiver.received) < count:
            ends.network.wait([back], 1.0)
            back.step()
        joins = sys.platform == "linux" and ends.network.options.offload and not allowed
        assert there.stats.send_calls - calls == (1 if joins else 10)


def test_gathering_opens_a_socket_on_every_usable_address_of_the_machine() -> None:
    session = EchoSession()
    transport = OsNetwork().attach(session)
    transport.gather()
    assert session.locals
    assert all(port for (_, port), _ in session.locals)
    assert len(transport.descriptors) == len(session.locals)
    transport.close()
    assert transport.descriptors == []


def test_addresses_that_cannot_be_bound_are_passed_over() -> None:
    session = EchoSession()
    transport = OsNetwork(Options(bind_addresses=("192.0.2.200", "127.0.0.1"))).attach(session)
    transport.gather()
    assert [address[0] for address, _ in session.locals] == ["127.0.0.1"]
    transport.close()


def test_the_number_of_sockets_is_bounded() -> None:
    session = EchoSession()
    network = OsNetwork(Options(bind_addresses=("127.0.0.1",) * 5, max_addresses=2))
    transport = network.attach(session)
    transport.gather()
    assert len(session.locals) == 2
    transport.close()


def test_a_filter_can_leave_nothing() -> None:
    def none(interface: Interface) -> bool:
        return False

    session = EchoSession()
    transport = OsNetwork(Options(interface_filter=none)).attach(session)
    transport.gather()
    assert (session.locals, session.gathered) == ([], 1)
    transport.close()


def test_an_exhausted_port_range_is_told_and_ends_gathering(ends: Ends) -> None:
    session = EchoSession()
    ends.add(session)
    port = session.address[1]
    late = EchoSession()
    transport = OsNetwork(Options(bind_addresses=("127.0.0.1",), port_range=(port, port))).attach(late)
    with pytest.raises(RTCError, match="no UDP port"):
        transport.gather()
    assert late.gathered == 1
    transport.gather()
    assert not transport.step()
    transport.close()


def test_two_sessions_talk_through_wait_and_step(ends: Ends) -> None:
    asking, answering = EchoSession(echo=False), EchoSession()
    transports = [ends.add(asking), ends.add(answering)]
    sent = [bytes([number]) * 1200 for number in range(100)]
    asking.outgoing = [(asking.address, answering.address, sent)]
    assert transports[0].step()
    for _ in range(1000):
        if len(asking.received) == len(sent):
            break
        ends.network.wait(transports, 5.0)
        for transport in transports:
            transport.step()
    assert asking.received == answering.received == sent
    assert not any([transport.step() for transport in transports])  # noqa: C419
    assert transports[0].stats.datagrams_sent == transports[0].stats.datagrams_received == 100


def test_a_flood_does_not_hold_a_step_for_ever(ends: Ends) -> None:
    session = EchoSession()
    transport = ends.add(session)
    # It echoes to itself: each datagram is there again at once, without end.
    session.outgoing = [(session.address, session.address, [b"again"] * 50)]
    assert transport.step()
    assert transport.step()
    after_one = len(session.received)
    assert 0 < after_one < 10_000
    assert transport.step()
    assert len(session.received) > after_one


def test_one_step_takes_all_that_has_arrived(ends: Ends) -> None:
    session = EchoSession(echo=False)
    transport = ends.add(session)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(200):
            sock.sendto(bytes(1 + number % 2), session.address)
    assert transport.step()
    assert len(session.received) == 200
    assert not transport.step()


def test_a_step_that_leaves_datagrams_unread_is_due_again(ends: Ends) -> None:
    session = EchoSession(echo=False)
    transport = ends.add(session)
    if transport.stats.receive_buffer < 4 << 20:
        pytest.skip("the kernel keeps fewer datagrams than a step takes")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(700):
            sock.sendto(bytes(1 + number % 2), session.address)
    assert transport.step()
    assert 500 <= len(session.received) < 700
    assert ends.network.wait([transport], None) == [transport]
    assert transport.step()
    assert len(session.received) == 700
    assert ends.network.wait([transport], 0) == []


def test_a_session_that_never_stops_sending_does_not_hold_a_step_for_ever(ends: Ends) -> None:
    class Chatterbox(EchoSession):
        def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
            self.deadline = -math.inf
            return [(self.address, ("127.0.0.1", 9), [b"x"] * 10)]

    transport = ends.add(Chatterbox())
    assert transport.step()
    assert 0 < transport.stats.datagrams_sent + transport.stats.unreachable < 10_000
    # There is more to send, though nothing will come: no wait must stand in its way.
    assert ends.network.wait([transport], None) == [transport]


def test_due_timers_run_in_step(ends: Ends) -> None:
    session = EchoSession()
    transport = ends.add(session)
    session.deadline = ends.network.now()
    assert transport.deadline == session.deadline
    assert transport.step()
    assert len(session.timeouts) == 1
    assert not transport.step()


def test_wait_ends_at_once_when_a_deadline_is_over(ends: Ends) -> None:
    session = EchoSession()
    transport = ends.add(session)
    session.deadline = ends.network.now() - 1
    assert ends.network.wait([transport], None) == [transport]
    assert ends.network.wait([transport], 0) == [transport]


@pytest.mark.parametrize("seconds", [0.0005, 0.01])
def test_wait_until_a_deadline_asks_the_system_once(ends: Ends, seconds: float) -> None:
    session = EchoSession()
    transport = ends.add(session)
    session.deadline = ends.network.now() + seconds
    while not session.timeouts:
        ends.network.wait([transport], None)
        transport.step()
    assert session.timeouts[0] >= session.deadline or session.deadline == math.inf
    assert ends.network.waits <= 2


@pytest.mark.parametrize("seconds", [0.0005, 0.01])
def test_wait_until_the_timeout_asks_the_system_once(ends: Ends, seconds: float) -> None:
    transport = ends.add(EchoSession())
    started = ends.network.now()
    assert ends.network.wait([transport], seconds) == []
    assert ends.network.now() - started >= seconds * 0.9
    assert ends.network.waits == 1


def test_wait_ends_when_a_datagram_comes(ends: Ends) -> None:
    session = EchoSession(echo=False)
    transports = [ends.add(EchoSession()), ends.add(session)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", session.address)
    assert ends.network.wait(transports, None) == [transports[1]]
    assert ends.network.waits == 1
    for transport in transports:
        transport.step()
    assert session.received == [b"hello"]


def test_what_is_always_due_hears_what_arrives_all_the_same(ends: Ends) -> None:
    """A sender with a long queue is due at once again and again: every other wait looks at the sockets."""
    session, waiting = EchoSession(echo=False), EchoSession(echo=False)
    transports = [ends.add(session), ends.add(waiting)]
    session.deadline = -math.inf
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", session.address)
        sock.sendto(b"you too", waiting.address)
    found = [ends.network.wait(transports, 1.0) for _ in range(4)]
    assert [set(due) for due in found[1::2]] == [set(transports)] * 2
    assert [set(due) for due in found[::2]] == [{transports[0]}] * 2


def test_a_wait_of_no_time_always_looks_at_the_sockets(ends: Ends) -> None:
    """A game that polls once a frame gets with each poll what has arrived."""
    session = EchoSession(echo=False)
    transport = ends.add(session)
    for message in (b"one", b"two"):
        session.deadline = -math.inf
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(message, session.address)
        for due in ends.network.wait([transport], 0.0):
            due.step()
        assert session.received.pop() == message


def test_what_is_to_be_sent_at_once_is_no_timeout(ends: Ends) -> None:
    """A deadline of -inf asks for take_packets() alone, a finite one for handle_timeout() too."""
    session = EchoSession(echo=False)
    transport = ends.add(session)
    session.deadline = -math.inf
    session.take_packets = lambda now: setattr(session, "deadline", math.inf) or []  # type: ignore[assignment]
    transport.step()
    assert session.timeouts == []
    session.deadline = ends.network.now()
    transport.step()
    assert len(session.timeouts) == 1


def test_wait_for_nothing_lasts_as_long_as_asked() -> None:
    network = OsNetwork()
    transport = network.attach(EchoSession())
    network.wait([transport], 0.001)
    network.wait([], 0.001)
    assert network.waits == 2
    for transports in ([], [transport]):
        with pytest.raises(InvalidState, match="never end"):
            network.wait(transports, None)


def test_wait_refuses_the_transports_of_another_network() -> None:
    class Foreign:
        def gather(self) -> None: ...
        def step(self) -> bool:
            return False

        def close(self) -> None: ...

    with pytest.raises(TypeError, match="another network"):
        OsNetwork().wait([Foreign()], 0)


def test_packets_for_an_address_that_is_gone_are_dropped(ends: Ends) -> None:
    session = EchoSession()
    transport = ends.add(session)
    session.outgoing = [(("127.0.0.1", 1), ("127.0.0.1", 2), [b"x", b"y"])]
    transport.step()
    assert transport.stats.dropped == 2


def test_close_sends_what_the_session_has_left(ends: Ends) -> None:
    receiver = EchoSession(echo=False)
    receiving = ends.add(receiver)
    session = EchoSession()
    transport = ends.network.attach(session)
    transport.gather()
    session.outgoing = [(session.address, receiver.address, [b"bye"])]
    transport.close()
    transport.close()
    ends.network.wait([receiving], 5.0)
    receiving.step()
    assert receiver.received == [b"bye"]
    assert not transport.step()


def test_a_closed_transport_does_not_gather() -> None:
    session = EchoSession()
    transport = OsNetwork().attach(session)
    transport.close()
    transport.gather()
    assert session.locals == []


def test_a_full_send_buffer_holds_the_session_back_until_there_is_room(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    class Full(socket.socket):
        def sendto(self, *arguments: Any) -> int:
            if full:
                raise BlockingIOError(errno.EAGAIN, "full")
            return super().sendto(*arguments)

    monkeypatch.setattr(socket, "socket", Full)
    sender = EchoSession(echo=False)
    sending = ends.add(sender)
    monkeypatch.undo()
    receiver = EchoSession(echo=False)
    receiving = ends.add(receiver)

    sender.outgoing = [(sender.address, receiver.address, [b"1"])]
    sending.step()
    assert sending.is_blocked
    sender.outgoing = [(sender.address, receiver.address, [b"2"])]
    sender.deadline = ends.network.now()
    sending.step()
    assert sender.outgoing, "what is not taken cannot pile up"
    assert len(sender.timeouts) == 1, "timers run all the same"

    # A due deadline must not make wait() spin: the kernel says when there is room, here at once.
    sender.deadline = ends.network.now()
    assert sending.deadline == math.inf
    assert sending.blocked_descriptors() == sending.descriptors
    assert ends.network.wait([sending], 5.0) == [sending]
    assert ends.network.waits == 1

    full = False
    assert sending.step()
    assert not sending.is_blocked
    while len(receiver.received) < 2:
        ends.network.wait([receiving], 5.0)
        receiving.step()
    assert receiver.received == [b"1", b"2"]


def test_a_step_goes_on_while_the_session_has_more(ends: Ends) -> None:
    class Bursts(EchoSession):
        left = 5

        def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
            self.left -= 1
            self.deadline = -math.inf if self.left else math.inf
            return [(self.address, self.address, [b"x"])]

    session = Bursts()
    transport = ends.add(session)
    session.deadline = -math.inf
    assert ends.network.wait([transport], None) == [transport]
    assert transport.step()
    assert transport.stats.datagrams_sent == 5
    assert ends.network.wait([transport], None) == [transport]
    session.left = 1
    transport.step()
    assert len(session.received) == 5, "what arrived meanwhile is for the next step"


def test_waits_for_changing_transports_watch_the_right_sockets(ends: Ends) -> None:
    sessions = [EchoSession(echo=False) for _ in range(3)]
    transports = [ends.add(session) for session in sessions]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"1", sessions[1].address)
        assert ends.network.wait(transports, 5.0) == [transports[1]]
        assert ends.network.wait(transports[::-1], 5.0) == [transports[1]]
        assert ends.network.wait(transports[:1], 0) == []
        transports[1].step()
        assert ends.network.wait(transports, 0) == []
        transports[0].close()
        transports[0] = ends.add(sessions[0])  # may well get the descriptor of the socket before
        sock.sendto(b"2", sessions[0].locals[1][0])
        assert ends.network.wait(transports, 5.0) == [transports[0]]
    transports[0].step()
    assert [session.received for session in sessions] == [[b"2"], [b"1"], []]


def test_descriptors_serve_an_event_loop(ends: Ends) -> None:
    session = EchoSession(echo=False)
    transport = ends.add(session)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", session.address)
    assert select.select(transport.descriptors, [], [], 5)[0] == transport.descriptors
    transport.step()
    assert session.received == [b"hello"]


def test_without_poll_the_driver_uses_select(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtcstack.net.readiness.HAS_POLL", False)
    network = OsNetwork(Options(bind_addresses=("127.0.0.1",)))
    session = EchoSession(echo=False)
    transport = network.attach(session)
    assert not transport.step()
    transport.gather()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", session.address)
    assert network.wait([transport], None) == [transport]
    transport.step()
    assert session.received == [b"hello"]
    assert network.wait([transport], 0) == []
    transport.close()


def test_a_wait_without_time_tells_which_are_ready(ends: Ends) -> None:
    quiet, addressed, late = EchoSession(), EchoSession(), EchoSession()
    transports = [ends.add(session) for session in (quiet, addressed, late)]
    assert ends.network.wait(transports, 0) == []
    late.deadline = ends.network.now()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", addressed.address)
    assert ends.network.wait(transports[1:2], 5.0) == [transports[1]]
    assert ends.network.wait(transports, 0) == [transports[1], transports[2]]


# -- addresses that come and go ----------------------------------------------------------------------


def changing(ips: set[str], poll: float) -> Options:
    return Options(interface_poll=poll, interface_filter=lambda interface: interface.address in ips)


def test_a_look_at_the_addresses_opens_and_closes_sockets() -> None:
    ips = {"127.0.0.1"}
    session = EchoSession()
    transport = OsNetwork(changing(ips, 0)).attach(session)
    transport.network_changed()
    assert session.locals == []  # nothing has been gathered yet
    transport.gather()
    (old,) = [address for address, _ in session.locals]
    ips |= {"::1"}
    transport.network_changed()
    transport.network_changed()
    assert [address[0] for address, _ in session.locals] == ["127.0.0.1", "::1"]
    assert session.removed == []
    ips -= {"127.0.0.1"}
    transport.network_changed()
    assert session.removed == [old]
    assert len(transport.descriptors) == 1
    assert session.gathered == 1
    transport.close()
    transport.network_changed()
    assert len(session.locals) == 2


@pytest.mark.parametrize("is_watched", [True, False])
def test_while_it_matters_the_driver_looks_by_itself(is_watched: bool) -> None:
    ips = {"127.0.0.1"}
    session = EchoSession()
    session.watches_network = is_watched
    network = OsNetwork(changing(ips, 0.001))
    transport = network.attach(session)
    transport.gather()
    ips.clear()
    for _ in range(3):
        assert network.wait([transport], 1.0) == [transport]  # it is due though nothing arrives
        transport.step()
    assert bool(session.removed) == is_watched
    transport.close()


def test_addresses_asked_for_by_name_stay_while_the_machine_has_them() -> None:
    session = EchoSession()
    transport = OsNetwork(Options(bind_addresses=("127.0.0.1",))).attach(session)
    transport.gather()
    assert transport.deadline == math.inf
    transport.network_changed()
    assert session.removed == []
    transport.close()
