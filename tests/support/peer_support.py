"""Two peers in virtual time, wired as Godot's page wires them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from rtcstack import DataChannel, PeerConnection, poll
from rtcstack.testing import VirtualNetwork

Signals = list[tuple[Any, ...]]

CHAT = {"id": 1, "negotiated": True}


class Two:
    """Peers `a` and `b` on a virtual network, with a negotiated channel each; nothing is started."""

    def __init__(
        self,
        configuration: Mapping[str, Any] | None = None,
        *,
        wired: bool = True,
        chat: bool = True,
        capture: str | None = None,
        **conditions: Any,
    ) -> None:
        conditions.setdefault("delay", 0.01)
        self.network = VirtualNetwork(seed=1, **conditions)
        self.a, self.b = (
            PeerConnection(
                configuration,
                capture=capture,
                network=self.network.host(name),
                random_bytes=random.Random(name).randbytes,
            )
            for name in "ab"
        )
        self.both = (self.a, self.b)
        if chat:
            self.chat_a = self.a.create_data_channel("chat", CHAT)
            self.chat_b = self.b.create_data_channel("chat", CHAT)
        if wired:
            self.wire()

    def wire(self) -> None:
        for here, there in (self.both, self.both[::-1]):
            here.session_description_created.connect(here.set_local_description)
            here.session_description_created.connect(there.set_remote_description)
            here.ice_candidate_created.connect(there.add_ice_candidate)

    def run(self, until: Callable[[], object], limit: float = 10.0) -> bool:
        """Poll both until the condition holds; False if `limit` virtual seconds went by first."""
        end = self.network.now + limit
        while not until():
            if self.network.now >= end - 1e-9:  # what is left may be too little to move the clock
                return False
            poll(self.both, end - self.network.now)
        return True

    def connected(self) -> Two:
        self.a.create_offer()
        assert self.run(lambda: all(p.get_connection_state() == p.STATE_CONNECTED for p in self.both))
        return self


def record(peer: PeerConnection) -> Signals:
    """Collect every signal of a peer, in order: (name, *arguments)."""
    signals: Signals = []

    def collect(name: str) -> Callable[..., None]:
        return lambda *arguments: signals.append((name, *arguments))

    for name in (
        "session_description_created",
        "ice_candidate_created",
        "data_channel_received",
        "connection_state_changed",
        "gathering_state_changed",
        "signaling_state_changed",
        "selected_pair_changed",
    ):
        getattr(peer, name).connect(collect(name))
    return signals


def take_all(channel: DataChannel) -> list[bytes]:
    return [channel.get_packet() for _ in range(channel.get_available_packet_count())]
