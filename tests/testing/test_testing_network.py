"""The virtual network, driven with sessions that send numbered datagrams on a timer."""

from __future__ import annotations

import math

import pytest

from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.testing import VirtualNetwork

Address = tuple[str, int]


class Ticker:
    """A session that sends one datagram a tick to a peer and notes what it gets."""

    def __init__(self, ticks: int = 0, interval: float = 1.0) -> None:
        self.addresses: list[Address] = []
        self.is_gathered = False
        self.received: list[tuple[float, list[bytes]]] = []
        self.sources: set[tuple[Address, Address]] = set()
        self.remote: Address | None = None
        self.deadline = interval if ticks else math.inf
        self.to_send: list[bytes] = []
        self._ticks = ticks
        self._interval = interval

    def add_local_address(self, address: Address, interface: str = "") -> None:
        self.addresses.append(address)

    def end_of_local_candidates(self) -> None:
        self.is_gathered = True

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        self.sources.add((local, remote))
        self.received.append((now, datagrams))

    def handle_timeout(self, now: float) -> None:
        self.to_send.append(b"tick %d" % self._ticks)
        self._ticks -= 1
        self.deadline = self.deadline + self._interval if self._ticks else math.inf

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        datagrams, self.to_send = self.to_send, []
        return [(self.addresses[0], self.remote, datagrams)] if datagrams and self.remote else []


def two_hosts(left: Ticker, right: Ticker, **conditions):
    """Two hosts with one session each that know each other's address."""
    network = VirtualNetwork(**conditions)
    hosts = network.host("left"), network.host("right")
    transports = hosts[0].attach(left), hosts[1].attach(right)
    for transport in transports:
        transport.gather()
    left.remote, right.remote = right.addresses[0], left.addresses[0]
    return network, hosts, transports


def test_gathering_tells_the_session_a_socket_at_each_address():
    network = VirtualNetwork()
    session = Ticker()
    network.host("a", addresses=["10.1.0.1", "2001:DB8::1"]).attach(session).gather()
    assert [ip for ip, _ in session.addresses] == ["10.1.0.1", "2001:db8::1"]
    assert session.is_gathered


def test_a_datagram_arrives_after_the_delay_with_both_addresses():
    left, right = Ticker(ticks=1), Ticker()
    network, _, transports = two_hosts(left, right, delay=0.04)
    assert network.run(5.0)
    assert right.received == [(1.04, [b"tick 1"])]
    assert right.sources == {(right.addresses[0], left.addresses[0])}
    assert network.now == 5.0
    assert (transports[0].stats.datagrams_sent, transports[0].stats.bytes_sent) == (1, 6)
    assert (transports[1].stats.datagrams_received, transports[1].stats.bytes_received) == (1, 6)


def test_run_stops_at_the_event_that_meets_the_condition():
    left, right = Ticker(ticks=100), Ticker()
    network, _, _ = two_hosts(left, right, delay=0.5)
    assert network.run(until=lambda: len(right.received) == 3)
    assert network.now == 3.5


def test_run_tells_that_a_condition_was_not_met_in_time():
    network, _, _ = two_hosts(Ticker(ticks=3), Ticker())
    assert not network.run(until=lambda: False, limit=10.0)
    assert network.now == 10.0


def test_run_without_an_argument_lets_the_limit_pass():
    network, _, _ = two_hosts(Ticker(), Ticker())
    assert network.run(limit=7.0)
    assert network.now == 7.0


def test_each_direction_has_its_own_link():
    left, right = Ticker(ticks=5), Ticker(ticks=5)
    network, hosts, _ = two_hosts(left, right)
    network.link(*hosts).change(loss=1.0)
    network.run(10.0)
    assert right.received == []
    assert len(left.received) == 5
    assert network.link(*hosts).stats.lost == 5
    assert network.link(*reversed(hosts)).stats.arrived == 5


def test_the_conditions_of_all_links_can_change_on_the_way():
    left, right = Ticker(ticks=2), Ticker()
    network, hosts, _ = two_hosts(left, right, delay=0.1)
    network.run(1.5)
    network.change(delay=0.3)
    network.run(3.0)
    assert [at for at, _ in right.received] == [1.1, 2.3]
    assert network.link(*hosts).delay == 0.3
    with pytest.raises(InvalidParameter):
        network.change(loss=2)


def test_the_same_seed_gives_the_same_course_whatever_the_order_of_the_hosts():
    def course(seed: int, names: list[str]) -> list[float]:
        network = VirtualNetwork(seed=seed, loss=0.5)
        hosts = {name: network.host(name) for name in names}
        left, right = Ticker(ticks=50), Ticker()
        for host, session in ((hosts["left"], left), (hosts["right"], right)):
            host.attach(session).gather()
        left.remote = right.addresses[0]
        network.run(100.0)
        return [at for at, _ in right.received]

    assert course(1, ["left", "right"]) == course(1, ["right", "left"]) != course(2, ["left", "right"])


def test_wait_jumps_to_the_arrival_of_a_datagram():
    left, right = Ticker(ticks=1), Ticker()
    network, hosts, transports = two_hosts(left, right, delay=0.25)
    network.run(1.0)
    hosts[1].wait([transports[1]], timeout=9.0)
    assert hosts[1].now() == 1.25
    assert right.received == []  # not before step()
    assert transports[1].step()
    assert right.received == [(1.25, [b"tick 1"])]
    assert not transports[1].step()


def test_wait_ends_at_its_timeout_and_leaves_other_sessions_alone():
    left, right = Ticker(ticks=1), Ticker()
    network, hosts, transports = two_hosts(left, right)
    hosts[1].wait([transports[1]], timeout=5.0)
    assert network.now == 5.0
    assert left.deadline == 1.0


def test_wait_jumps_to_the_sessions_own_timer():
    left, right = Ticker(ticks=1), Ticker()
    network, hosts, transports = two_hosts(left, right)
    hosts[0].wait([transports[0]], timeout=None)
    assert network.now == 1.0


def test_a_wait_that_would_never_end_is_refused():
    _, hosts, transports = two_hosts(Ticker(), Ticker())
    with pytest.raises(InvalidState):
        hosts[0].wait([transports[0]], timeout=None)


def test_datagrams_to_nobody_are_counted():
    left, right = Ticker(ticks=1), Ticker()
    network, _, transports = two_hosts(left, right)
    transports[1].close()
    transports[1].close()  # a second time does nothing
    network.run(2.0)
    assert network.stats.refused == 1
    left.to_send, left.remote = [b"lost"], ("192.0.2.1", 9)
    network.run(1.0)
    assert network.stats.unreachable == 1


def test_ipv4_does_not_reach_ipv6():
    network = VirtualNetwork()
    left, right = Ticker(ticks=1), Ticker()
    network.host("left", ["10.0.0.1"]).attach(left).gather()
    network.host("right", ["fd00::1"]).attach(right).gather()
    left.remote = right.addresses[0]
    network.run(2.0)
    assert network.stats.unreachable == 1


def test_two_sessions_on_one_host_meet_on_a_perfect_link():
    network = VirtualNetwork(loss=1.0, delay=9.0)
    host = network.host("alone")
    left, right = Ticker(ticks=1), Ticker()
    host.attach(left).gather()
    host.attach(right).gather()
    left.remote = right.addresses[0]
    network.run(2.0)
    assert right.received == [(1.0001, [b"tick 1"])]


def test_hosts_can_share_a_bottleneck():
    network = VirtualNetwork(delay=0.0, rate=34 * 10.0)  # bytes a second: a tick with its headers takes 0.1 s
    hosts = [network.host(name) for name in ("a", "b", "server")]
    sessions = [Ticker(ticks=1), Ticker(ticks=1), Ticker()]
    for host, session in zip(hosts, sessions, strict=True):
        host.attach(session).gather()
    sessions[0].remote = sessions[1].remote = sessions[2].addresses[0]
    network.share(network.link(hosts[0], hosts[2]), [(hosts[1], hosts[2])])
    network.run(3.0)
    assert [at for at, _ in sessions[2].received] == pytest.approx([1.1, 1.2])


def test_gathering_twice_opens_no_second_socket():
    session = Ticker()
    transport = VirtualNetwork().host("a").attach(session)
    transport.gather()
    transport.gather()
    assert len(session.addresses) == 1


@pytest.mark.parametrize("address", [("10.0.0.2", 3478), ("10.0.0.1", 50000)])
def test_a_socket_is_not_opened_where_there_is_one_or_no_such_address(address):
    network = VirtualNetwork()
    transport = network.host("a").attach(Ticker())
    transport.gather()
    with pytest.raises(InvalidParameter):
        transport.open(address)


def test_a_transport_of_another_network_cannot_be_waited_for():
    with pytest.raises(TypeError, match="virtual time"):
        VirtualNetwork().host("a").wait([object()], timeout=1.0)


def test_an_injected_datagram_arrives_at_once_whoever_it_is_from():
    right = Ticker()
    network, _, transports = two_hosts(Ticker(), right)
    network.inject(("203.0.113.9", 1), right.addresses[0], [b"forged"])
    network.inject(("203.0.113.9", 1), ("10.0.0.9", 1), [b"to nobody"])
    transports[1].step()
    assert right.sources == {(right.addresses[0], ("203.0.113.9", 1))}
    assert network.stats.refused == 1


def test_a_session_that_never_rests_is_reported():
    class Restless(Ticker):
        def handle_timeout(self, now: float) -> None:
            pass

    network, _, _ = two_hosts(Restless(ticks=1), Ticker())
    with pytest.raises(RuntimeError, match="left"):
        network.run(2.0)


@pytest.mark.parametrize(
    ("name", "addresses"), [("b", ["10.0.0.300"]), ("b", ["10.9.9.9"]), ("a", ["10.8.8.8"])]
)
def test_a_host_that_cannot_be_is_refused(name, addresses):
    network = VirtualNetwork()
    network.host("a", ["10.9.9.9"])
    with pytest.raises(InvalidParameter):
        network.host(name, addresses)
