"""A relay between two hosts of a virtual network: the in-memory server as any session."""

from __future__ import annotations

import random

from rtcstack.stun import Address
from rtcstack.testing import TurnServer, VirtualNetwork
from rtcstack.turn import Allocated, Client


class Relayed:
    """A session that has only a relay."""

    def __init__(self, server: Address) -> None:
        self.client = Client(
            server=server, username="me", password="secret", random_bytes=random.Random(1).randbytes
        )
        self.local: Address = ("", 0)
        self.received: list[tuple[Address, list[bytes]]] = []

    @property
    def deadline(self) -> float:
        return self.client.deadline

    def add_local_address(self, address: Address, interface: str = "") -> None:
        self.local = address

    def end_of_local_candidates(self) -> None:
        self.client.start(0.0)

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        self.client.receive(datagrams, now)
        self.received += self.client.take_data()

    def handle_timeout(self, now: float) -> None:
        self.client.handle_timeout(now)

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        packets = self.client.take_packets(now)
        return [(self.local, self.client.server, packets)] if packets else []


class Direct:
    """A session that answers whatever comes."""

    deadline = float("inf")

    def __init__(self) -> None:
        self.local: Address = ("", 0)
        self.answers: list[tuple[Address, Address, list[bytes]]] = []

    def add_local_address(self, address: Address, interface: str = "") -> None:
        self.local = address

    def end_of_local_candidates(self) -> None:
        pass

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        self.answers.append((local, remote, [b"re: " + data for data in datagrams]))

    def handle_timeout(self, now: float) -> None:
        pass

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        answers, self.answers = self.answers, []
        return answers


def test_two_hosts_talk_through_a_relay() -> None:
    network = VirtualNetwork(seed=1)
    server = TurnServer.on(network.host("server", ["203.0.113.1"]), users={"me": "secret"})
    left, right = Relayed(server.addresses[0]), Direct()
    for name, session in (("left", left), ("right", right)):
        network.host(name).attach(session).gather()
    network.run(1)
    (event,) = left.client.take_events()
    assert isinstance(event, Allocated)
    assert event.relayed == ("203.0.113.1", 49152)
    assert event.mapped == left.local
    left.client.bind_channel(right.local)
    for number in range(20):
        left.client.send(right.local, [b"%d" % number])
        network.run(1)
    assert left.received == [(right.local, [b"re: %d" % number]) for number in range(20)]
    assert left.client.stats.send_indications == 1
    assert server.relayed_datagrams == 40
    left.client.close()
    network.run(1)
    assert server.allocations == {}
