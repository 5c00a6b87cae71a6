"""What does multiplayer add to a channel? Two peers in memory: no socket, no other process.

    python benchmarks/multiplayer.py [--json] [--rounds 40]

In µs of CPU: a packet put into a channel and taken out of it, the same through a MultiplayerPeer, and what
that adds. A remote call with three arguments: what the caller spends until the packet is queued, and the
receiver from the packet to the end of the call. Then one call alone with all layers below: what the caller
spends until its datagram is out, and the receiver from the datagram to the end of the call. Every figure is
the best of the rounds, to keep other programs out of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from rtcstack import MultiplayerPeer, PeerConnection
from rtcstack.multiplayer.scene import SceneMultiplayer
from rtcstack.testing import VirtualNetwork
from rtcstack.variant import Vector3

MANY = 300
ALONE = 10
PACKET = bytes(64)


class Game:
    """A server and a client, connected."""

    def __init__(self) -> None:
        self.network = VirtualNetwork(seed=1)
        self.server, self.client = MultiplayerPeer(), MultiplayerPeer()
        self.server.create_server()
        self.client.create_client(2)
        ends = [PeerConnection(network=self.network.host(name)) for name in ("server", "client")]
        self.server.add_peer(ends[0], 2)
        self.client.add_peer(ends[1], 1)
        for here, there in (ends, ends[::-1]):
            here.session_description_created.connect(there.set_remote_description)
            here.ice_candidate_created.connect(there.add_ice_candidate)
        ends[1].create_offer()
        peers = (self.server, self.client)
        if not self.network.run(self._is_connected, peers=peers):
            raise RuntimeError("the peers did not connect")
        self.client.set_target_peer(1)
        self.sender = self.client.get_peer(1)["channels"][0]
        self.receiver = self.server.get_peer(2)["channels"][0]

    def _is_connected(self) -> bool:
        return self.server.get_peer(2)["connected"] and self.client.get_peer(1)["connected"]

    def carry(self) -> None:
        """Bring everything that was sent to the other side, without looking at it."""
        self.network.run(0.2)


def seconds(call: Callable[[], object]) -> float:
    """Give the CPU time that a call takes."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def take(packets: MultiplayerPeer) -> None:
    """Take all packets of a multiplayer peer, as a game does."""
    packets.deliver()
    while packets.get_available_packet_count():
        packets.get_packet_peer()
        packets.get_packet()


def measure_packets(rounds: int) -> dict[str, float]:
    """Put and take packets through channels and through multiplayer peers, in turn."""
    game = Game()
    sender, receiver, client, server = game.sender, game.receiver, game.client, game.server
    times: dict[str, list[float]] = {"raw put": [], "put": [], "raw get": [], "get": []}

    def put_raw() -> None:
        for _ in range(MANY):
            sender.put_packet(PACKET)

    def put() -> None:
        for _ in range(MANY):
            client.put_packet(PACKET)

    def get_raw() -> None:
        while receiver.get_available_packet_count():
            receiver.get_packet()

    for _ in range(rounds):
        times["raw put"].append(seconds(put_raw))
        game.carry()
        times["raw get"].append(seconds(get_raw))
        times["put"].append(seconds(put))
        game.carry()
        times["get"].append(seconds(lambda: take(server)))
    best = {name: 1e6 * min(values) / MANY for name, values in times.items()}
    return best | {
        "put adds": best["put"] - best["raw put"],
        "get adds": best["get"] - best["raw get"],
    }


def measure_calls(rounds: int) -> dict[str, float]:
    """Call a method with three arguments, many at once and one alone."""
    game = Game()
    caller, callee = SceneMultiplayer(game.client), SceneMultiplayer(game.server)
    calls = 0

    @callee.rpc("any_peer", path="Main/Player")
    def move(to: Vector3, speed: float, name: str) -> None:
        nonlocal calls
        calls += 1

    remote = caller.node("Main/Player").declare("move", "any_peer")
    arguments = Vector3(1, 2, 3), 4.5, "walk"

    def call() -> None:
        for _ in range(MANY):
            remote.rpc_id(1, *arguments)

    def one() -> None:
        remote.rpc_id(1, *arguments)
        caller.poll()

    remote.rpc_id(1, *arguments)  # by its path, so that the next ones go by number
    game.network.run(0.2, peers=(caller, callee))
    times: dict[str, list[float]] = {
        "call: send": [],
        "call: receive": [],
        "alone: caller": [],
        "alone: receiver": [],
    }
    for _ in range(rounds):
        times["call: send"].append(seconds(call) / MANY)
        game.carry()
        times["call: receive"].append(seconds(callee.deliver) / MANY)
        game.network.run(0.5, peers=(caller, callee))
        for _ in range(ALONE):
            times["alone: caller"].append(seconds(one))
            game.network.advance(game.network.now + 0.0012, [])
            times["alone: receiver"].append(seconds(callee.poll))
            game.network.run(0.1, peers=(caller, callee))
    if calls != rounds * (MANY + ALONE) + 1:
        raise RuntimeError(f"only {calls} calls have arrived")
    return {name: 1e6 * min(values) for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    figures = measure_packets(arguments.rounds) | measure_calls(arguments.rounds)
    if arguments.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
        return
    for name, value in figures.items():
        print(f"{name:<26}{value:>8.2f} µs")


if __name__ == "__main__":
    main()
