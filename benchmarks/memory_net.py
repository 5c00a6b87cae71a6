"""What does the driver cost a datagram? Two transports over loopback, with sessions that do nothing.

    python benchmarks/memory_net.py [--json] [--rounds 200]

Sending and receiving 160 datagrams of 1,200 bytes in one step, in µs a datagram, with offload and without; a
step that has nothing to do, in µs; opening the sockets of one session, in ms. Every figure is the best of the
rounds, to keep other programs out of it.
"""

from __future__ import annotations

import argparse
import json
import math
import time

from rtcstack.net import Address, Options, OsNetwork, OsTransport

BATCH = [bytes(1200)] * 160


class Idle:
    """A session that sends what it is told and forgets what it receives."""

    deadline = math.inf
    asks_servers = asks_mdns = asks_connections = watches_network = False
    tcp_types = ()

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self.outgoing: list[tuple[Address, Address, list[bytes]]] = []
        self.received = 0

    def add_local_address(self, address: Address, interface: str = "") -> None:
        """Remember it."""
        self.addresses.append(address)

    def end_of_local_candidates(self) -> None:
        """Do nothing."""

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Count."""
        self.received += len(datagrams)

    def handle_timeout(self, now: float) -> None:
        """Do nothing."""

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over what was put there."""
        outgoing, self.outgoing = self.outgoing, []
        return outgoing


def opened(network: OsNetwork) -> tuple[Idle, OsTransport]:
    """Make a session with open sockets."""
    session = Idle()
    transport = network.attach(session)
    transport.gather()
    return session, transport


def measure(rounds: int, offload: bool) -> dict[str, float]:
    """Return the best of each figure."""
    network = OsNetwork(Options(offload=offload))
    (here, sending), (there, receiving) = opened(network), opened(network)
    best = dict.fromkeys(("send_us", "receive_us", "idle_step_us", "gather_ms"), math.inf)

    def note(name: str, seconds: float, unit: float) -> None:
        best[name] = min(best[name], seconds * unit)

    for _ in range(rounds):
        here.outgoing = [(here.addresses[0], there.addresses[0], BATCH)]
        start = time.perf_counter()
        sending.step()
        sent = time.perf_counter()
        receiving.step()
        received = time.perf_counter()
        sending.step()
        note("idle_step_us", time.perf_counter() - received, 1e6)
        note("send_us", sent - start, 1e6 / len(BATCH))
        if there.received == len(BATCH):
            note("receive_us", received - sent, 1e6 / len(BATCH))
        there.received = 0
        start = time.perf_counter()
        _, transport = opened(network)
        note("gather_ms", time.perf_counter() - start, 1e3)
        transport.close()
    sending.close()
    receiving.close()
    return best


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    results = {
        name: measure(options.rounds, offload) for name, offload in (("offload", True), ("one by one", False))
    }
    if options.json:
        print(json.dumps({"benchmark": "memory_net", **results}))
        return
    for name, values in results.items():
        for figure, value in values.items():
            print(f"{name}, {figure:20}{value:8.2f}")


if __name__ == "__main__":
    main()
