"""What do all layers together cost a message? Two sessions in memory: no socket, no other process.

    python benchmarks/memory_session.py [--json] [--rounds 400]

One message of 100 bytes alone, with the SACK that it brings along, in µs: queueing, building its datagram,
taking the datagram, handing the message over. Then 600 messages together, in µs a message. Setting up a pair,
in ms. Every figure is the best of the rounds, to keep other programs out of it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time

from rtcstack.datachannel import Channel, ChannelConfig
from rtcstack.session import ConnectionState, LocalDescription, PeerSession

MANY = 600
KINDS = {"reliable": ChannelConfig(negotiated=True)}
KINDS["game"] = ChannelConfig(negotiated=True, ordered=False, max_retransmits=0)


class Pair:
    """Two sessions with one open channel, and a clock that moves when it is told to."""

    def __init__(self, config: ChannelConfig) -> None:
        self.now = 0.0
        self.sessions = [PeerSession(random_bytes=os.urandom) for _ in range(2)]
        self.channels: list[Channel] = [session.create_channel(config, 1, 0.0) for session in self.sessions]
        offerer, answerer = self.sessions
        offerer.create_offer()
        answerer.set_remote_description("offer", self._description(offerer), self.now)
        offerer.set_remote_description("answer", self._description(answerer), self.now)
        for number, session in enumerate(self.sessions):
            session.add_local_address(("127.0.0.1", 5001 + number))
            session.end_of_local_candidates()
        for session, other in zip(self.sessions, self.sessions[::-1], strict=True):
            for line in session.local_description.splitlines():
                if line.startswith("a=candidate"):
                    other.add_remote_candidate(line)
        while any(session.connection_state is not ConnectionState.CONNECTED for session in self.sessions):
            self.exchange()

    @staticmethod
    def _description(session: PeerSession) -> str:
        return next(event.sdp for event in session.take_events() if isinstance(event, LocalDescription))

    def exchange(self) -> None:
        """Let a millisecond pass and carry what both have to send."""
        self.now += 0.001
        self.carry(*self.sessions)
        self.carry(*self.sessions[::-1])

    def carry(self, sender: PeerSession, receiver: PeerSession) -> None:
        """Carry what one has to send to the other."""
        if sender.deadline <= self.now:
            sender.handle_timeout(self.now)
        for local, remote, datagrams in sender.take_packets(self.now):
            receiver.receive(remote, local, datagrams, self.now)


def measure(config: ChannelConfig, rounds: int) -> dict[str, float]:
    """Return the best of each figure."""
    best: dict[str, float] = {}

    def note(name: str, seconds: float, unit: float) -> None:
        best[name] = min(best.get(name, math.inf), seconds * unit)

    for _ in range(rounds // 20):
        start = time.perf_counter()
        pair = Pair(config)
        note("set_up_ms", time.perf_counter() - start, 1e3)
    for _ in range(500):  # the checks that are still going on
        pair.exchange()
    for count, name in ((1, "one"), (MANY, "many")):
        for number in range(rounds):
            spent = send(pair, number % 2, count)
            for figure, seconds in spent.items():
                note(f"{name}_{figure}_us", seconds, 1e6 / count)
    return best


def send(pair: Pair, here: int, count: int) -> dict[str, float]:
    """Send messages from one side to the other. Returns the seconds that each part took."""
    sender, receiver = pair.sessions[here], pair.sessions[1 - here]
    sending, receiving = pair.channels[here], pair.channels[1 - here]
    payload = bytes(100)
    clock = time.perf_counter
    pair.now += 0.0003
    start = clock()
    for _ in range(count):
        sender.send(sending, payload, False, pair.now)
    spent = {"send": clock() - start, "take_packets": 0.0, "receive": 0.0, "take_message": 0.0}
    while True:
        start = clock()
        batches = sender.take_packets(pair.now)
        taken = clock()
        for local, remote, datagrams in batches:
            receiver.receive(remote, local, datagrams, pair.now)
        received = clock()
        spent["take_packets"] += taken - start
        spent["receive"] += received - taken
        if len(receiving.incoming) == count:
            break
        pair.now += 0.001
        pair.carry(receiver, sender)
    start = clock()
    for _ in range(count):
        receiver.take_message(receiving)
    spent["take_message"] = clock() - start
    return spent


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    results = {name: measure(config, options.rounds) for name, config in KINDS.items()}
    if options.json:
        print(json.dumps({"benchmark": "memory_session", **results}))
        return
    for name, values in results.items():
        for figure, value in values.items():
            print(f"{name}, {figure:24}{value:8.2f}")


if __name__ == "__main__":
    main()
