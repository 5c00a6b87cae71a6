"""Whole connections through coturn: each way to it, many from one port, a server that restarts in a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_interop_coturn import Coturn

from rtcstack import PeerConnection, UdpMux, poll

pytestmark = pytest.mark.interop

CHAT = {"id": 1, "negotiated": True}
LOOPBACK = ["127.0.0.1"]


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    server = Coturn(tmp_path_factory.mktemp("coturn"), "--stale-nonce=3")
    yield server
    server.stop()


class Call:
    """A peer that may use a relay only, and one that has none."""

    def __init__(self, relayed: dict[str, Any]) -> None:
        self.relayed = PeerConnection({"iceTransportPolicy": "relay", **relayed})
        self.plain = PeerConnection({"bind_addresses": LOOPBACK})
        self.both = (self.relayed, self.plain)
        self.here, self.there = (peer.create_data_channel("chat", CHAT) for peer in self.both)
        for a, b in (self.both, self.both[::-1]):
            a.session_description_created.connect(b.set_remote_description)
            a.ice_candidate_created.connect(b.add_ice_candidate)
        self.relayed.create_offer()

    def exchange(self, size: int) -> None:
        self.here.put_packet(bytes(size))
        self.there.put_packet(bytes(size))
        run(
            [self], lambda: self.here.get_available_packet_count() and self.there.get_available_packet_count()
        )
        assert self.here.get_packet() == self.there.get_packet() == bytes(size)
        pair = self.relayed.get_stats().selected_pair
        assert pair is not None
        assert pair.local_type == "relay"

    @property
    def is_up(self) -> bool:
        return all(peer.get_connection_state() == peer.STATE_CONNECTED for peer in self.both)


def run(calls: list[Call], until: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "\n".join(call.relayed.explain() for call in calls)
        poll([peer for call in calls for peer in call.both], 0.1)


def server(coturn: Coturn, way: str) -> dict[str, str]:
    url = f"turn:127.0.0.1:{coturn.port}?transport={way}"
    return {"urls": url, "username": "me", "credential": "secret"}


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_a_connection_through_coturn_outlives_its_nonces(coturn: Coturn, way: str) -> None:
    call = Call({"iceServers": [server(coturn, way)], "bind_addresses": LOOPBACK})
    run([call], lambda: call.is_up)
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        call.exchange(100_000)
    for peer in call.both:
        peer.abort()


def test_connections_of_one_port_have_a_relay_each(coturn: Coturn) -> None:
    """RFC 8656 §5: the server knows a relay by the port of its client."""
    with UdpMux(bind_addresses=LOOPBACK) as mux:
        calls = [Call({"iceServers": [server(coturn, "udp")], "udp_mux": mux}) for _ in range(3)]
        run(calls, lambda: all(call.is_up for call in calls))
        for call in calls:
            call.exchange(50_000)


def test_one_port_learns_its_mapped_address(coturn: Coturn) -> None:
    with UdpMux(bind_addresses=LOOPBACK) as mux:
        peers = [
            PeerConnection({"iceServers": [{"urls": f"stun:127.0.0.1:{coturn.port}"}], "udp_mux": mux})
            for _ in range(3)
        ]
        for peer in peers:
            peer.create_data_channel("x")
            peer.create_offer()
        end = time.monotonic() + 10
        while any(peer.get_gathering_state() != peer.GATHERING_STATE_COMPLETE for peer in peers):
            assert time.monotonic() < end
            poll(peers, 0.1)
        assert mux.drops.unknown_transaction == 0


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_a_server_that_restarts_in_mid_call_is_used_again(tmp_path: Path, way: str) -> None:
    """The relay is gone; an ICE restart gets a new one, and the channel goes on."""
    coturn = Coturn(tmp_path)
    try:
        call = Call({"iceServers": [server(coturn, way)], "bind_addresses": LOOPBACK})
        run([call], lambda: call.is_up)
        call.exchange(1000)
        coturn.stop()
        coturn.start()
        run([call], lambda: not call.is_up)
        call.relayed.restart_ice()
        run([call], lambda: call.is_up)
        call.exchange(1000)
        for peer in call.both:
            peer.abort()
    finally:
        coturn.stop()
