"""NATs: their tables against a naive reading of RFC 4787, and each behavior seen from a network."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.errors import InvalidParameter
from rtcstack.testing import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    NatKind,
    VirtualHost,
    VirtualNetwork,
)
from rtcstack.testing.nat import Translator

Address = tuple[str, int]

KINDS = [NatKind(*behaviors) for behaviors in itertools.product(Dependence, repeat=2)]
INSIDE = [("192.168.0.2", 5000), ("192.168.0.2", 5001), ("192.168.0.3", 5000)]
REMOTE = [("203.0.113.1", 7000), ("203.0.113.1", 7001), ("203.0.113.2", 7000)]


# The tables alone


class Naive:
    """RFC 4787 read literally: everything follows from the list of what was sent."""

    def __init__(self, kind: NatKind, timeout: float) -> None:
        self.kind = kind
        self.timeout = timeout
        self.sent: list[tuple[float, Address, Address, Address]] = []
        """(time, inside, outside, remote)"""

    def recent(self, now: float) -> list[tuple[Address, Address, Address]]:
        return [send[1:] for send in self.sent if now - send[0] < self.timeout]

    def outside_addresses(self, inside: Address, remote: Address, now: float) -> set[Address]:
        """Those that a datagram may leave from because its mapping is there already."""
        return {o for i, o, r in self.recent(now) if i == inside and is_same(self.kind.mapping, r, remote)}

    def receivers(self, outside: Address, remote: Address, now: float) -> set[Address]:
        return {i for i, o, r in self.recent(now) if o == outside and is_same(self.kind.filtering, r, remote)}


def is_same(dependence: Dependence, one: Address, other: Address) -> bool:
    """Whether two remote addresses are the same to a NAT."""
    return {
        Dependence.ENDPOINT_INDEPENDENT: True,
        Dependence.ADDRESS_DEPENDENT: one[0] == other[0],
        Dependence.ADDRESS_AND_PORT_DEPENDENT: one == other,
    }[dependence]


@settings(deadline=None, max_examples=300)
@given(
    kind=st.sampled_from(KINDS),
    port_preservation=st.booleans(),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 59.0, 60.0, 61.0]),
            st.sampled_from(["out", "out", "in"]),
            st.sampled_from(INSIDE),
            st.sampled_from(REMOTE),
            st.integers(0, 9),
        ),
        max_size=30,
    ),
)
def test_tables_do_what_a_literal_reading_says(kind, port_preservation, steps):
    nat = Translator(["198.51.100.1"], kind=kind, timeout=60.0, port_preservation=port_preservation)
    naive = Naive(kind, 60.0)
    now = 0.0
    for gap, direction, inside, remote, which in steps:
        now += gap
        if direction == "out":
            expected = naive.outside_addresses(inside, remote, now)
            outside = nat.map(inside, remote, 1, now)
            assert outside is not None
            assert expected <= {outside}
            if not expected:  # a fresh one, that nobody has
                assert outside not in {other for _, other, _ in naive.recent(now)}
            naive.sent.append((now, inside, outside, remote))
        else:
            used = [outside for _, _, outside, _ in naive.sent] or [("198.51.100.1", 9)]
            outside = used[which % len(used)]
            found = nat.unmap(outside, remote, 1, now)
            assert naive.receivers(outside, remote, now) == ({found} if found else set())
    nat.expire(now)
    stats = nat.stats
    in_use = {outside for _, outside, _ in naive.recent(now)}
    assert stats.mappings - stats.expired == len(in_use)
    assert stats.passed_out == len(naive.sent)
    assert stats.passed_in + stats.filtered + stats.unmapped == len(steps) - len(naive.sent)


def test_ports_are_preserved_where_they_are_free():
    """RFC 4787 section 4.2.1: two inside hosts with one port cannot both keep it."""
    nat = Translator(["198.51.100.1"], port_preservation=True)
    assert nat.map(INSIDE[0], REMOTE[0], 1, 0.0) == ("198.51.100.1", 5000)
    assert nat.map(INSIDE[1], REMOTE[0], 1, 0.0) == ("198.51.100.1", 5001)
    assert nat.map(INSIDE[2], REMOTE[0], 1, 0.0) not in (None, ("198.51.100.1", 5000))


def test_ports_are_random_and_the_same_for_the_same_seed():
    def ports(seed: int) -> list[int]:
        nat = Translator(["198.51.100.1"], seed=seed)
        return [nat.map(("192.168.0.2", port), REMOTE[0], 1, 0.0)[1] for port in range(2000, 2020)]

    assert ports(1) == ports(1) != ports(2)
    assert len(set(ports(1))) == 20
    assert all(1024 <= port < 65536 for port in ports(1))


def test_an_inside_address_keeps_its_outside_address():
    """RFC 4787 REQ-2: IP address pooling is "paired"."""
    nat = Translator(["198.51.100.1", "198.51.100.2", "2001:db8::1"])
    chosen = [
        nat.map((ip, port), REMOTE[0], 1, 0.0)[0]
        for port in (1, 2)
        for ip in ("192.168.0.2", "192.168.0.3", "192.168.0.4")
    ]
    assert chosen == ["198.51.100.1", "198.51.100.2", "198.51.100.1"] * 2
    assert nat.map(("fd00::2", 1), ("2001:db8::9", 1), 1, 0.0)[0] == "2001:db8::1"


def test_a_nat_without_a_free_port_drops():
    nat = Translator(["198.51.100.1"], ports=range(4000, 4005))
    given_away = {nat.map(("192.168.0.2", port), REMOTE[0], 1, 0.0) for port in range(5)}
    assert given_away == {("198.51.100.1", port) for port in range(4000, 4005)}
    assert nat.map(("192.168.0.3", 1), REMOTE[0], 1, 119.9) is None
    assert nat.map(("192.168.0.3", 1), REMOTE[0], 1, 120.0) is not None
    assert (nat.stats.exhausted, nat.stats.expired) == (1, 5)


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": math.nan}, {"ports": range(0)}, {"kin": FULL_CONE}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InvalidParameter):
        VirtualNetwork().nat("home", ["198.51.100.1"], **options)


# Seen from a network


class Talker:
    """A session with one socket: it sends when told, and notes who has sent it what."""

    def __init__(self, host: VirtualHost) -> None:
        self.received: list[tuple[Address, list[bytes]]] = []
        self._outgoing: list[tuple[Address, Address, list[bytes]]] = []
        self._transport = host.attach(self)
        self._transport.gather()

    @property
    def deadline(self) -> float:
        return -math.inf if self._outgoing else math.inf

    def add_local_address(self, address: Address, interface: str = "") -> None:
        self.local = address

    def end_of_local_candidates(self) -> None:
        pass

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        self.received.append((remote, datagrams))

    def handle_timeout(self, now: float) -> None:
        pass

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def send(self, remote: Address, *datagrams: bytes) -> None:
        self._outgoing.append((self.local, remote, list(datagrams)))
        self._transport.step()

    def sources(self) -> list[Address]:
        """Take where everything has come from."""
        sources = [remote for remote, _ in self.received]
        self.received.clear()
        return sources


class Home:
    """A host behind a NAT at 198.51.100.1, and two servers outside with two sockets each."""

    def __init__(self, **options) -> None:
        self.network = VirtualNetwork(seed=1, delay=0.01)
        self.nat = self.network.nat("home", ["198.51.100.1"], **options)
        self.host = Talker(self.nat.host("host", ["192.168.0.2"]))
        hosts = [self.network.host("near", ["203.0.113.1"]), self.network.host("far", ["203.0.113.2"])]
        self.servers = [Talker(host) for host in hosts for _ in range(2)]

    def ask(self, *servers: int) -> list[Address]:
        """Send to servers; returns where they see it come from."""
        for number in servers:
            self.host.send(self.servers[number].local, b"hello")
        self.network.run(0.1)
        return [source for number in servers for source in self.servers[number].sources()]

    def heard(self, outside: Address) -> list[int]:
        """Let every server send to an outside address; returns whose datagrams come in."""
        for server in self.servers:
            server.send(outside, b"hello yourself")
        self.network.run(0.1)
        locals_ = [server.local for server in self.servers]
        return [locals_.index(source) for source in self.host.sources()]


@pytest.mark.parametrize(
    ("mapping", "same"),
    [
        (Dependence.ENDPOINT_INDEPENDENT, [0, 0, 0, 0]),
        (Dependence.ADDRESS_DEPENDENT, [0, 0, 2, 2]),
        (Dependence.ADDRESS_AND_PORT_DEPENDENT, [0, 1, 2, 3]),
    ],
)
def test_mapping_decides_who_sees_the_same_outside_address(mapping, same):
    """RFC 4787 section 4.1."""
    home = Home(kind=NatKind(mapping, Dependence.ADDRESS_AND_PORT_DEPENDENT))
    seen = home.ask(0, 1, 2, 3)
    assert {ip for ip, _ in seen} == {"198.51.100.1"}
    assert [seen.index(address) for address in seen] == same
    assert home.nat.stats.mappings == len(set(same))
    assert home.ask(0, 1, 2, 3) == seen


@pytest.mark.parametrize(
    ("kind", "heard"),
    [(FULL_CONE, [0, 1, 2, 3]), (ADDRESS_RESTRICTED, [0, 1]), (PORT_RESTRICTED, [0]), (SYMMETRIC, [0])],
)
def test_filtering_decides_who_may_answer(kind, heard):
    """RFC 4787 section 5."""
    home = Home(kind=kind)
    (outside,) = home.ask(0)
    assert home.heard(outside) == heard
    assert home.nat.stats.passed_in == len(heard)
    assert home.nat.stats.filtered == 4 - len(heard)
    assert home.nat.stats.unmapped == 0


def test_nothing_comes_in_where_nothing_has_gone_out():
    home = Home(kind=FULL_CONE)
    assert home.heard(("198.51.100.1", 50000)) == []
    assert home.nat.stats.unmapped == 4
    home.network.inject(("203.0.113.9", 1), ("198.51.100.1", 50000), [b"guess"])
    assert home.nat.stats.unmapped == 5


def test_a_mapping_lasts_while_something_is_sent():
    """RFC 4787 REQ-6: what goes out refreshes a mapping."""
    home = Home(kind=FULL_CONE, timeout=30.0)
    (outside,) = home.ask(0)
    for _ in range(5):
        home.network.run(29.0)
        assert home.ask(3) == [outside]
    home.network.run(29.0)
    assert home.heard(outside) == [0, 1, 2, 3]
    home.network.run(29.0)  # what came in has refreshed nothing
    assert home.heard(outside) == []
    assert home.ask(0) != [outside]
    assert (home.nat.stats.mappings, home.nat.stats.expired) == (2, 1)


def test_the_leave_to_answer_ends_for_each_remote_address_alone():
    home = Home(kind=PORT_RESTRICTED, timeout=30.0)
    (outside, _) = home.ask(0, 1)
    home.network.run(20.0)
    home.ask(1)
    home.network.run(20.0)
    assert home.heard(outside) == [1]


def test_two_inside_meet_directly_and_over_a_hairpin():
    """RFC 4787 REQ-9a: who sends over the NAT is seen at its outside address."""
    home = Home(kind=FULL_CONE)
    other = Talker(home.nat.host("other", ["192.168.0.3"]))
    (outside,) = home.ask(0)
    other.send(home.host.local, b"direct")
    other.send(outside, b"hairpin")
    home.network.run(1.0)
    direct, hairpin = home.host.sources()
    assert direct == other.local
    assert hairpin[0] == "198.51.100.1"
    home.host.send(hairpin, b"back")
    home.network.run(1.0)
    assert other.sources() == [outside]


def test_a_hairpin_is_filtered_like_anything_else():
    home = Home(kind=PORT_RESTRICTED)
    other = Talker(home.nat.host("other", ["192.168.0.3"]))
    (outside,) = home.ask(0)
    other.send(outside, b"hairpin")
    home.network.run(1.0)
    assert home.host.sources() == []
    assert home.nat.stats.filtered == 1


def test_a_nat_without_hairpinning_drops():
    home = Home(kind=FULL_CONE, hairpinning=False)
    other = Talker(home.nat.host("other", ["192.168.0.3"]))
    (outside,) = home.ask(0)
    other.send(outside, b"one", b"two")
    home.network.run(1.0)
    assert home.host.sources() == []
    assert home.nat.stats.not_hairpinned == 2


def test_homes_may_use_the_same_private_addresses():
    network = VirtualNetwork(delay=0.01)
    server = Talker(network.host("server", ["203.0.113.1"]))
    for number in (1, 2):
        nat = network.nat(f"home {number}", [f"198.51.100.{number}"])
        talker = Talker(nat.host(f"host {number}", ["192.168.0.2"]))
        talker.send(server.local, b"hello")
        talker.send(("192.168.0.3", 1), b"nobody")
    network.run(1.0)
    assert sorted(ip for ip, _ in server.sources()) == ["198.51.100.1", "198.51.100.2"]
    # A home router sends what it does not know to its provider, who has no use for private addresses.
    assert network.stats.unreachable == 2


def test_hosts_behind_a_nat_get_private_addresses_of_their_own():
    nat = VirtualNetwork().nat("home", ["198.51.100.1"])
    assert nat.host("a").addresses == ("192.168.0.2",)
    assert nat.host("b").addresses == ("192.168.0.3",)


def test_nats_may_be_nested():
    """A home behind a provider's NAT: RFC 4787 section 4.4, RFC 6888."""
    network = VirtualNetwork(seed=1, delay=0.01)
    provider = network.nat("provider", ["198.51.100.1"], kind=FULL_CONE)
    homes = [provider.nat(f"home {n}", [f"100.64.0.{n}"], kind=FULL_CONE) for n in (1, 2)]
    left, right = (Talker(home.host(f"host {n}")) for n, home in enumerate(homes))
    server = Talker(network.host("server", ["203.0.113.1"]))
    left.send(server.local, b"hello")
    network.run(1.0)
    (outside,) = server.sources()
    assert outside[0] == "198.51.100.1"
    server.send(outside, b"in through both")
    right.send(outside, b"hairpin at the provider's")
    network.run(1.0)
    first, second = left.sources()
    assert second == server.local
    assert first[0] == "198.51.100.1"
    assert provider.stats.mappings == 2
    assert [home.stats.mappings for home in homes] == [1, 1]


def test_a_firewall_changes_no_address_and_lets_in_answers_only():
    network = VirtualNetwork(delay=0.01)
    office = network.firewall("office", allowed_ports=[53, 50000])
    inside = Talker(office.host("inside", ["198.51.100.7"]))
    servers = [Talker(network.host("server", ["203.0.113.1"])) for _ in "a"]
    stranger = Talker(network.host("stranger"))
    (server,) = servers
    inside.send(server.local, b"hello")
    network.run(1.0)
    assert server.sources() == [inside.local]
    server.send(inside.local, b"hello yourself")
    stranger.send(inside.local, b"anybody there?")
    inside.send((server.local[0], 9), b"not allowed")
    network.run(1.0)
    assert inside.sources() == [server.local]
    assert (office.stats.unmapped, office.stats.filtered, office.stats.blocked) == (0, 1, 1)


def test_a_firewall_may_block_all_udp():
    network = VirtualNetwork()
    inside = Talker(network.firewall("office", allowed_ports=()).host("inside", ["198.51.100.7"]))
    server = Talker(network.host("server"))
    inside.send(server.local, b"hello")
    network.run(1.0)
    assert server.sources() == []


def test_ipv6_passes_a_home_router_unchanged_but_filtered():
    """RFC 6092: the usual home has a NAT for IPv4 and a firewall for IPv6."""
    network = VirtualNetwork(delay=0.01)
    home = network.nat("home", ["198.51.100.1"])
    inside = Talker(home.host("inside", ["192.168.0.2", "fd00::2", "2001:db8:1::2"]))
    server = Talker(network.host("server", ["2001:db8:9::1"]))
    server.send(inside.local, b"unasked")
    network.run(1.0)
    inside.send(server.local, b"hello")
    network.run(1.0)
    assert server.sources() == [inside.local] == [("2001:db8:1::2", 50002)]
    server.send(inside.local, b"hello yourself")
    server.send(("fd00::2", 50001), b"has no meaning out here")
    network.run(1.0)
    assert inside.sources() == [server.local]
    assert (home.stats.unmapped, home.stats.passed_in) == (1, 1)
    assert network.stats.unreachable == 1


def test_the_line_before_a_nat_and_the_net_behind_it_have_links_of_their_own():
    home = Home()
    server = home.network.host("third", ["203.0.113.3"])
    home.network.link(home.nat, server).change(delay=0.5)
    home.nat.change(delay=0.25)
    talker = Talker(server)
    home.host.send(talker.local, b"hello")
    home.network.run(0.74)
    assert talker.sources() == []
    home.network.run(0.02)
    assert [ip for ip, _ in talker.sources()] == ["198.51.100.1"]
    assert home.network.link(home.nat, server).stats.arrived == 1


def test_a_link_across_a_nat_is_refused_with_the_name_of_what_is_not_there():
    network = VirtualNetwork()
    inside = network.nat("home", ["198.51.100.1"]).host("inside")
    with pytest.raises(InvalidParameter, match="inside"):
        network.link(inside, network.host("server"))


@pytest.mark.parametrize(
    ("name", "outside"), [("home", ["198.51.100.2"]), ("b", ["198.51.100.1"]), ("b", ["198.51.100"])]
)
def test_a_nat_that_cannot_be_is_refused(name, outside):
    network = VirtualNetwork()
    network.nat("home", ["198.51.100.1"])
    with pytest.raises(InvalidParameter):
        network.nat(name, outside)
