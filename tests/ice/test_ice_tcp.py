"""ICE over TCP connections that the session opens and accepts (RFC 6544)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ice_link import A4, A6, Z4, Link, Packet, request

from rtcstack.errors import InvalidParameter
from rtcstack.ice import Address, Agent, Candidate, IceState, LocalCandidate, Options, PairState, TcpConnect

ACTIVE: Address = ("192.0.2.1", 9)
LISTENER: Address = ("192.0.2.2", 3000)


class TcpLink(Link):
    """Agent a has an active candidate, z a passive one; connections take a round trip.

    refuses     whether connection attempts fail.
    """

    def __init__(self, *, udp: bool = False, **fields: Any) -> None:
        super().__init__(addresses=([A4], [Z4]) if udp else ([], []), **fields)
        self.refuses = False
        self.open: dict[tuple[Address, Address], Address] = {}
        self.attempts: list[tuple[Address, Address]] = []
        self._ports = itertools.count(50000)
        self.filter = self.carry
        for agent in (self.a, self.z):
            agent.restart()
        self.a.add_tcp_local(ACTIVE, "active")
        self.z.add_tcp_local(LISTENER, "passive")

    def carry(self, packet: Packet) -> bool:
        """Translate the placeholder port of the active side, as the session does by connection."""
        if packet.sender is self.a:
            source = self.open.get((packet.source, packet.destination))
            packet.source = source or packet.source
            return source is not None
        for (local, remote), source in self.open.items():
            if (packet.source, packet.destination) == (remote, source):
                packet.destination = local
                return True
        return False

    def flush(self) -> None:
        super().flush()
        for _, _, event in self.log[-10:]:
            if isinstance(event, TcpConnect) and (event.local, event.remote) not in self.attempts:
                self.attempts.append((event.local, event.remote))
                if self.refuses:
                    self.a.tcp_closed(event.local, event.remote, self.now)
                else:
                    self.open[event.local, event.remote] = (event.local[0], next(self._ports))
                    self.a.tcp_connected(event.local, event.remote, self.now)
                super().flush()

    def break_connection(self) -> None:
        """Close the connection on both sides."""
        ((local, remote), source) = self.open.popitem()
        self.attempts.clear()
        self.log.clear()
        self.a.tcp_closed(local, remote, self.now)
        self.z.tcp_closed(remote, source, self.now)


def connected(**fields: Any) -> TcpLink:
    link = TcpLink(**fields)
    link.connect()
    link.run(3.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    return link


def test_candidates_for_tcp() -> None:
    """RFC 6544 §4.2, §4.5: port 9 for active ones, which are preferred to passive ones; UDP comes first."""
    agent = Link(addresses=([], [])).a
    agent.restart()
    udp = agent.add_local_address(A4)
    active = agent.add_tcp_local(ACTIVE, "active")
    passive = agent.add_tcp_local((A4[0], 3000), "passive")
    assert udp is not None
    assert active is not None
    assert passive is not None
    assert (active.transport, active.tcp_type, active.port) == ("tcp", "active", 9)
    assert (passive.transport, passive.tcp_type, passive.port) == ("tcp", "passive", 3000)
    assert udp.priority > active.priority > passive.priority > 1 << 24
    assert (active.priority >> 21 & 7, passive.priority >> 21 & 7) == (6, 4)
    assert len({udp.foundation, active.foundation}) == 2
    assert LocalCandidate(active) in agent.take_events()


def test_misuse_raises_and_what_must_not_be_is_left_out() -> None:
    agent = Link(addresses=([A4], [])).a
    agent.restart()
    with pytest.raises(InvalidParameter):
        agent.add_tcp_local((A4[0], 4000), "active")
    assert agent.add_tcp_local(A4, "passive") is None
    random_bytes = Link().random.randbytes
    relay_only = Agent(controlling=True, random_bytes=random_bytes, options=Options(relay_only=True))
    assert relay_only.add_tcp_local(ACTIVE, "active") is None
    lite = Agent(controlling=False, random_bytes=random_bytes, options=Options(lite=True))
    assert lite.add_tcp_local(ACTIVE, "active") is None
    assert lite.add_tcp_local(LISTENER, "passive") is not None


def test_a_connection_by_tcp_alone() -> None:
    """RFC 6544 §7.1, §7.2: the active side connects and checks; the passive one learns it and checks back."""
    link = connected()
    assert link.attempts == [(ACTIVE, LISTENER)]
    a, z = link.a.selected, link.z.selected
    assert a is not None
    assert z is not None
    assert (a.local_address, a.remote_address) == (ACTIVE, LISTENER)
    assert (a.local.type, a.local.transport_address, a.local.tcp_type) == ("prflx", (A4[0], 50000), "active")
    assert (z.local_address, z.remote_address) == (LISTENER, (A4[0], 50000))
    assert (z.remote.type, z.remote.tcp_type) == ("prflx", "active")
    assert a.priority == z.priority
    link.run(60.0)
    assert link.a.state is link.z.state is IceState.COMPLETED


def test_nothing_is_sent_twice() -> None:
    """RFC 6544 §7.1: TCP retransmits; a check that is not answered ends after 39.5 s."""
    link = TcpLink()
    link.connect()
    link.filter = lambda packet: False
    link.run(20.0)
    assert link.a.stats.checks_sent == 1
    assert link.a.stats.retransmissions == 0
    link.run(40.0)
    assert link.a.state is IceState.FAILED


def test_udp_is_preferred() -> None:
    """RFC 6544 §4.2: when UDP answers within Ta no connection is even opened."""
    link = TcpLink(udp=True, delay=0.01)
    link.filter = lambda packet: True
    link.connect()
    link.run(3.0)
    assert link.a.selected is not None
    assert link.a.selected.local_address == A4
    assert link.attempts == []


def test_a_connection_that_cannot_be_opened_fails_the_pair() -> None:
    """RFC 6544 §7.1."""
    link = TcpLink()
    link.refuses = True
    link.connect()
    link.run(1.0)
    (pair,) = link.a.report().pairs
    assert (pair.state, pair.reason, pair.requests_sent) == (PairState.FAILED, "no TCP connection", 0)
    link.run(60.0)
    assert link.a.state is IceState.FAILED


def test_a_lost_connection_is_opened_again() -> None:
    """RFC 7675 §5.2: an end of the connection revokes nothing; a new one is opened, and checked."""
    link = connected()
    link.break_connection()
    assert link.a.selected is None
    assert link.a.state is IceState.DISCONNECTED
    link.run(3.0)
    assert link.attempts == [(ACTIVE, LISTENER)]
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert link.z.selected is not None
    assert link.z.selected.remote_address == (A4[0], 50001)


def test_only_active_and_passive_make_a_pair() -> None:
    """RFC 6544 §6.2: and nothing but the same transport."""
    link = Link(addresses=([A4, A6], []))
    link.a.restart()
    link.a.add_tcp_local(ACTIVE, "active")
    link.a.add_tcp_local((A4[0], 3001), "passive")
    link.describe(link.a, candidates=False)
    for tcp_type in ("active", "passive", "so"):
        remote = Candidate("1", 1, "TCP", 5, "192.0.2.2", 9 + len(tcp_type), "host", tcp_type=tcp_type)
        link.a.add_remote_candidate(remote)
    link.run(0.0)
    pairs = [(pair.local.tcp_type, pair.remote.tcp_type) for pair in link.a.report().pairs]
    assert pairs == [("active", "passive")]


def test_udp_and_tcp_may_share_address_and_port() -> None:
    """As servers with one port for everything have it."""
    link = Link(addresses=([A4], []))
    link.a.restart()
    link.a.add_tcp_local(ACTIVE, "active")
    link.describe(link.a, candidates=False)
    link.a.add_remote_candidate(Candidate("1", 1, "udp", 6, *LISTENER, "host"))
    link.a.add_remote_candidate(Candidate("2", 1, "tcp", 5, *LISTENER, "host", tcp_type="passive"))
    link.run(0.0)
    assert len(link.a.report().pairs) == 2
    assert link.a.drops.remote_duplicate == 0


def test_a_restart_uses_the_connection_that_is_there() -> None:
    """RFC 6544 §9.2: a five-tuple may serve two generations."""
    link = connected()
    link.a.restart()
    link.describe(link.z)
    link.describe(link.a)
    link.run(2.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert link.attempts == [(ACTIVE, LISTENER)]


def test_a_removed_interface_forgets_its_connections() -> None:
    """RFC 8445 §5.1.1.4."""
    link = connected()
    link.a.remove_local(ACTIVE)
    assert link.a.selected is None
    link.a.restart()
    link.a.add_tcp_local(ACTIVE, "active")
    link.attempts.clear()
    link.log.clear()
    link.describe(link.z)
    link.describe(link.a)
    link.run(2.0)
    assert link.attempts == [(ACTIVE, LISTENER)]


def test_connections_that_nobody_asked_for_do_no_harm() -> None:
    link = connected()
    for agent in (link.a, link.z):
        agent.tcp_connected(("10.0.0.1", 9), ("10.0.0.2", 1), link.now)
        agent.tcp_closed(("10.0.0.1", 9), ("10.0.0.2", 1), link.now)
    link.z.receive([request(link.z, ufrag=link.a.ufrag)], LISTENER, ("198.51.100.1", 1), link.now)
    link.z.tcp_closed(LISTENER, ("198.51.100.1", 1), link.now)
    assert not link.z.is_valid(LISTENER, ("198.51.100.1", 1))
    link.run(10.0)
    assert link.a.state is link.z.state is IceState.COMPLETED
