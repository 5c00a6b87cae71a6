"""Two peers on hosts of a virtual network, and what they say about their servers."""

from __future__ import annotations

import random
from collections.abc import Iterable

from rtcstack import PeerConnection
from rtcstack.testing import VirtualHost, VirtualNetwork

LOGIN = {"username": "user", "credential": "secret"}
USERS = {"user": "secret"}


class Peers:
    """Two peers and their channel, each configured with these servers."""

    def __init__(self, network: VirtualNetwork, hosts: Iterable[VirtualHost], *servers: dict) -> None:
        self.network = network
        self.errors: list[tuple[str, int, str]] = []
        self.candidates: list[str] = []
        self.both = [
            PeerConnection(
                {"iceServers": servers}, network=host, random_bytes=random.Random(host.name).randbytes
            )
            for host in hosts
        ]
        for peer, other in (self.both, self.both[::-1]):
            peer.session_description_created.connect(other.set_remote_description)
            peer.ice_candidate_created.connect(other.add_ice_candidate)
        self.both[0].ice_candidate_error.connect(lambda *error: self.errors.append(error))
        self.both[0].ice_candidate_created.connect(lambda *line: self.candidates.append(line[2]))
        self.ends = [peer.create_data_channel("x", {"negotiated": True, "id": 1}) for peer in self.both]
        self.both[0].create_offer()

    def run(self, seconds: float) -> None:
        self.network.run(seconds, peers=self.both)

    def open(self, limit: float = 20.0) -> bool:
        return self.network.run(
            lambda: all(end.get_ready_state() == end.STATE_OPEN for end in self.ends),
            limit=limit,
            peers=self.both,
        )

    def types(self) -> list[str]:
        """The kinds of candidates that the first peer has found."""
        return [line.split(" typ ")[1].split()[0] for line in self.candidates]

    def path(self) -> tuple[str, str]:
        """The kinds of candidates at both ends of the path, as the first peer sees them."""
        pair = self.both[0].get_stats().selected_pair
        return (pair.local_type, pair.remote_type) if pair else ("", "")

    def is_connected(self) -> bool:
        return all(peer.get_connection_state() == peer.STATE_CONNECTED for peer in self.both)

    def say(self, text: str) -> None:
        """Send a message each way."""
        for end in self.ends:
            end.put_packet(text.encode())

    def heard(self) -> list[list[str]]:
        """Take what has arrived at each end."""
        return [
            [end.get_packet().decode() for _ in range(end.get_available_packet_count())] for end in self.ends
        ]
