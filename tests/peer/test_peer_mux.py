"""Many connections on one UDP port, over loopback: poll(), restart, closing, strangers."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtcstack import InvalidParameter, InvalidState, PeerConnection, RTCError, UdpMux, poll
from rtcstack.net import OsNetwork

CHAT = {"id": 1, "negotiated": True}
LOOPBACK = ["127.0.0.1"]


@pytest.fixture(params=[True, False], ids=["offload", "one by one"])
def mux(request: pytest.FixtureRequest) -> Iterator[UdpMux]:
    with UdpMux(bind_addresses=LOOPBACK, offload=request.param) as mux:
        yield mux


class Call:
    """A connection on the port, `server`, and one with sockets of its own, `client`."""

    def __init__(
        self, mux: UdpMux, client: dict[str, Any] | None = None, *, background: bool = False
    ) -> None:
        self.server = PeerConnection({"udp_mux": mux}, background=background)
        self.client = PeerConnection(client or {"bind_addresses": LOOPBACK}, background=background)
        self.both = (self.server, self.client)
        self.here = self.server.create_data_channel("chat", CHAT)
        self.there = self.client.create_data_channel("chat", CHAT)
        for a, b in (self.both, self.both[::-1]):
            a.session_description_created.connect(b.set_remote_description)
            a.ice_candidate_created.connect(b.add_ice_candidate)


def run(peers: list[PeerConnection], until: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = OsNetwork.now() + seconds
    while not until():
        left = end - OsNetwork.now()
        if left <= 0:
            return False
        poll(peers, min(left, 0.02))  # a counter that changes ends no wait
    return True


def connected(mux: UdpMux, count: int, **options: Any) -> tuple[list[Call], list[PeerConnection]]:
    calls = [Call(mux, **options) for _ in range(count)]
    peers = [peer for call in calls for peer in call.both]
    for number, call in enumerate(calls):
        call.both[number % 2].create_offer()
    assert run(peers, lambda: all(p.get_connection_state() == p.STATE_CONNECTED for p in peers))
    return calls, peers


def exchange(calls: list[Call], peers: list[PeerConnection]) -> None:
    """Send a message of its own each way on each connection."""
    for number, call in enumerate(calls):
        call.here.put_packet(f"to client {number}".encode())
        call.there.put_packet(f"to server {number}".encode())
    assert run(
        peers,
        lambda: all(
            call.here.get_available_packet_count() + call.there.get_available_packet_count() == 2
            for call in calls
        ),
    )
    for number, call in enumerate(calls):
        assert call.here.get_packet() == f"to server {number}".encode()
        assert call.there.get_packet() == f"to client {number}".encode()


def test_many_connections_share_one_port(mux: UdpMux) -> None:
    calls, peers = connected(mux, 6)
    exchange(calls, peers)
    assert mux.connection_count == 6
    assert mux.addresses == [("127.0.0.1", mux.port)]
    for call in calls:
        assert call.server.get_stats().selected_pair.local == ("127.0.0.1", mux.port)


def test_each_connection_may_be_polled_alone(mux: UdpMux) -> None:
    calls = [Call(mux) for _ in range(3)]
    for call in calls:
        call.client.create_offer()
    peers = [peer for call in calls for peer in call.both]
    for _ in range(2_000):
        for peer in peers:
            peer.poll(0.001)
        if all(peer.get_connection_state() == peer.STATE_CONNECTED for peer in peers):
            break
    exchange(calls, peers)


def test_a_wait_for_one_does_not_spin_while_another_is_not_polled(mux: UdpMux) -> None:
    (first, second), _ = connected(mux, 2)
    second.server.restart_ice()  # due at once, and nobody steps it
    run([first.server, first.client], lambda: False, 0.05)
    before = mux.waits
    first.server.poll(0.05)
    assert mux.waits - before < 5


def test_large_messages_of_several_connections(mux: UdpMux) -> None:
    calls, peers = connected(mux, 3)
    for number, call in enumerate(calls):
        call.here.put_packet(bytes([number]) * 200_000)
        call.there.put_packet(bytes([100 + number]) * 200_000)
    assert run(
        peers,
        lambda: all(
            c.here.get_available_packet_count() and c.there.get_available_packet_count() for c in calls
        ),
    )
    for number, call in enumerate(calls):
        assert call.here.get_packet() == bytes([100 + number]) * 200_000
        assert call.there.get_packet() == bytes([number]) * 200_000


@pytest.mark.parametrize("side", ["server", "client"])
def test_an_ice_restart_keeps_the_connection(mux: UdpMux, side: str) -> None:
    calls, peers = connected(mux, 2)
    restarted: PeerConnection = getattr(calls[0], side)
    before = calls[0].server.get_local_description()
    states: list[int] = []
    restarted.gathering_state_changed.connect(states.append)
    restarted.restart_ice()
    assert run(peers, lambda: PeerConnection.GATHERING_STATE_COMPLETE in states)
    assert calls[0].server.get_local_description() != before
    exchange(calls, peers)
    assert mux.drops.unknown_ufrag == 0


def test_what_closes_leaves_the_port_to_the_others(mux: UdpMux) -> None:
    calls, peers = connected(mux, 3)
    calls[0].server.close()
    calls[1].client.close()
    assert run(
        peers,
        lambda: all(
            peer.get_connection_state() == peer.STATE_CLOSED for call in calls[:2] for peer in call.both
        ),
    )
    assert run(peers, lambda: mux.connection_count == 1, 2.0)
    exchange(calls[2:], peers)


def test_a_dropped_connection_leaves_the_port(mux: UdpMux) -> None:
    peer = PeerConnection({"udp_mux": mux})
    peer.create_data_channel("x")
    peer.create_offer()
    assert mux.connection_count == 1
    del peer
    gc.collect()
    assert mux.connection_count == 0


def test_closing_the_mux_cuts_what_is_left_and_tells_the_peers() -> None:
    mux = UdpMux(bind_addresses=LOOPBACK)
    calls, peers = connected(mux, 2)
    mux.close()
    mux.close()
    assert run(peers, lambda: all(peer.get_connection_state() == peer.STATE_CLOSED for peer in peers))
    assert calls[0].server.get_failure_reason() == "the UdpMux is closed"
    assert mux.connection_count == 0
    with pytest.raises(InvalidState, match="closed"):
        PeerConnection({"udp_mux": mux})


def test_strangers_cost_a_counter(mux: UdpMux) -> None:
    calls, peers = connected(mux, 1)
    check = b"\0\1\0\x10\x21\x12\xa4\x42" + bytes(12) + b"\0\6\0\x0bnobody:here" + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(50):
            stranger.sendto(check, mux.addresses[0])
            stranger.sendto(bytes([22]) * 100, mux.addresses[0])
    assert run(peers, lambda: mux.drops.unknown_ufrag >= 50 and mux.drops.unknown_source >= 50, 5.0)
    exchange(calls, peers)


def test_connections_in_the_background_share_a_port(mux: UdpMux) -> None:
    calls = [Call(mux, background=True) for _ in range(3)]
    peers = [peer for call in calls for peer in call.both]
    for call in calls:
        call.client.create_offer()
    assert run(peers, lambda: all(peer.get_connection_state() == peer.STATE_CONNECTED for peer in peers))
    exchange(calls, peers)
    for peer in peers:
        peer.close()
    assert run(peers, lambda: mux.connection_count == 0)


def test_every_signal_comes_though_only_the_port_is_polled(mux: UdpMux) -> None:
    """All connections of a port, and no others, are polled without a look at each."""
    calls, _ = connected(mux, 4)
    servers = [call.server for call in calls]
    clients = [call.client for call in calls]

    def run_both(until: Callable[[], bool]) -> None:
        for _ in range(2_000):
            poll(servers, 0.002)
            poll(clients, 0.002)
            if until():
                return
        raise AssertionError("not reached")

    told: list[Any] = []
    servers[0].data_channel_received.connect(lambda channel: told.append(channel.get_label()))
    clients[0].create_data_channel("late")
    run_both(lambda: told == ["late"])
    for number, server in enumerate(servers):
        server.connection_state_changed.connect(lambda state, number=number: told.append((number, state)))
    servers[1].abort()  # outside of poll(): the signal comes from the next one
    poll(servers)
    assert told == ["late", (1, PeerConnection.STATE_CLOSED)]
    left = [servers[0], *servers[2:]]
    clients[2].close()
    clients[3].close()
    for each in (servers[2], servers[3]):
        each.connection_state_changed.connect(lambda _: 1 / 0)
    errors = 0
    for _ in range(2_000):
        poll(clients, 0.002)
        try:
            poll(left, 0.002)
        except ZeroDivisionError:
            errors += 1
        if len(told) == 4:
            break
    assert (errors, {number for number, _ in told[2:]}) == (2, {2, 3})


def test_a_poll_of_a_port_notices_who_comes_and_goes(mux: UdpMux) -> None:
    calls, peers = connected(mux, 2)
    servers = [call.server for call in calls]
    poll(servers)
    more, others = connected(mux, 1)
    exchange(calls + more, peers + others)
    servers.append(more[0].server)
    poll(servers)
    del more, others, servers[2]
    gc.collect()
    poll(servers)
    exchange(calls, peers)


def test_two_ports_and_own_sockets_in_one_poll(mux: UdpMux) -> None:
    with UdpMux(bind_addresses=LOOPBACK) as other:
        calls, peers = connected(mux, 2)
        more, others = connected(other, 2)
        exchange(calls + more, peers + others)


def test_a_connection_from_port_to_port(mux: UdpMux) -> None:
    with UdpMux(bind_addresses=LOOPBACK) as other:
        calls, peers = connected(mux, 1, client={"udp_mux": other})
        exchange(calls, peers)


def test_it_may_be_given_as_network(mux: UdpMux) -> None:
    peer = PeerConnection(network=mux)
    peer.create_data_channel("x")
    peer.create_offer()
    assert f" {mux.port} typ host" in peer.get_local_description()
    peer.abort()
    assert mux.connection_count == 0


def test_a_taken_port_is_told(mux: UdpMux) -> None:
    with pytest.raises(RTCError, match=f"UDP port {mux.port} is taken on 127.0.0.1"):
        UdpMux(mux.port, bind_addresses=LOOPBACK)


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"udp_mux": 3478}, "udp_mux: 3478 is not allowed: give a rtcstack.UdpMux"),
        ({"udp_mux": True}, "udp_mux: True is not allowed"),
    ],
)
def test_other_values_are_refused(configuration: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        PeerConnection(configuration)


def test_options_of_sockets_belong_to_the_mux(mux: UdpMux) -> None:
    with pytest.raises(InvalidParameter, match="udp_mux has sockets of its own"):
        PeerConnection({"udp_mux": mux, "port_range": [5000, 6000]})


@pytest.mark.parametrize("port", [-1, 65536, "80", True, None])
def test_ports_out_of_range_are_refused(port: Any) -> None:
    with pytest.raises(InvalidParameter, match="port"):
        UdpMux(port)


def test_no_address_to_bind_is_told() -> None:
    with pytest.raises(InvalidParameter, match="no address"):
        UdpMux(bind_addresses=["203.0.113.1"])
