"""STUN and TURN servers of the configuration: candidates, relays, and servers that are of no help."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rtcstack import Error, InvalidParameter, PeerConnection, RTCError, poll
from rtcstack.testing import TurnServer, VirtualNetwork
from rtcstack.testing.servers import REFRESH

USERS = {"user": "secret"}
TURN = {"urls": "turn:10.0.0.1", "username": "user", "credential": "secret"}
CHAT = {"id": 1, "negotiated": True}


class Three:
    """A server at 10.0.0.1, and two peers that are configured to use it."""

    def __init__(self, servers: list[dict[str, Any]], **configuration: Any) -> None:
        self.network = VirtualNetwork(seed=1, delay=0.01)
        self.server = TurnServer.on(self.network.host("server"), users=USERS)
        self.a, self.b = self.both = tuple(
            PeerConnection(
                {"iceServers": servers, **configuration},
                network=self.network.host(name),
                random_bytes=random.Random(name).randbytes,
            )
            for name in "ab"
        )
        self.chat_a, self.chat_b = (peer.create_data_channel("chat", CHAT) for peer in self.both)
        self.candidates: list[str] = []
        self.errors: list[tuple[str, int, str]] = []
        for here, there in (self.both, self.both[::-1]):
            here.session_description_created.connect(there.set_remote_description)
            here.ice_candidate_created.connect(there.add_ice_candidate)
        self.a.ice_candidate_created.connect(lambda *candidate: self.candidates.append(candidate[2]))
        self.a.ice_candidate_error.connect(lambda *error: self.errors.append(error))
        self.a.create_offer()

    def run(self, until: Any, limit: float = 10.0) -> bool:
        end = self.network.now + limit
        while not until():
            if self.network.now >= end:
                return False
            self.network.run(0.005)
            poll(self.both)
        return True

    def is_open(self) -> bool:
        return self.chat_a.get_ready_state() == self.chat_b.get_ready_state() == self.chat_a.STATE_OPEN

    def is_gathered(self) -> bool:
        return self.a.get_gathering_state() == self.a.GATHERING_STATE_COMPLETE


def types(candidates: list[str]) -> list[str]:
    return [line.split(" typ ")[1].split()[0] for line in candidates]


def test_a_relay_is_gathered_beside_the_host_candidates_and_the_direct_path_wins() -> None:
    three = Three([TURN])
    assert three.run(three.is_open)
    assert three.run(three.is_gathered)
    assert types(three.candidates) == ["host", "relay"]
    pair = three.a.get_stats().selected_pair
    assert pair is not None
    assert (pair.local_type, pair.remote_type) == ("host", "host")


def test_relay_only_shows_no_other_address_and_carries_everything() -> None:
    """RFC 8828 mode 4."""
    three = Three([TURN], iceTransportPolicy="relay")
    assert three.run(three.is_open)
    assert types(three.candidates) == ["relay"]
    assert "10.0.0.2" not in "".join(three.candidates) + three.a.get_local_description()
    sent = [bytes([i]) * 5000 for i in range(100)]
    for payload in sent:
        three.chat_a.put_packet(payload)
    three.a.close()
    assert three.run(lambda: three.b.get_connection_state() == three.b.STATE_CLOSED)
    assert [three.chat_b.get_packet() for _ in range(three.chat_b.get_available_packet_count())] == sent


def test_the_offer_does_not_wait_for_dead_servers_and_each_says_why() -> None:
    dead = [{"urls": ["stun:10.0.77.1", "turn:10.0.77.2", "stun:nobody.invalid"]}]
    three = Three(dead)
    three.a.poll()
    assert three.a.get_signaling_state() == three.a.SIGNALING_STATE_HAVE_LOCAL_OFFER
    assert three.network.now == 0
    assert three.run(three.is_open)
    assert three.network.now < 1
    assert three.run(three.is_gathered)
    assert three.network.now == pytest.approx(5, abs=0.5)
    assert {url: code for url, code, _ in three.errors} == {
        "stun:10.0.77.1:3478": 701,
        "turn:10.0.77.2:3478": 701,
        "stun:nobody.invalid:3478": 701,
    }


def test_a_wrong_password_is_told_and_harms_nobody() -> None:
    three = Three([{**TURN, "credential": "wrong"}])
    assert three.run(three.is_open)
    assert three.run(three.is_gathered)
    ((url, code, reason),) = three.errors
    assert (url, code) == ("turn:10.0.0.1:3478", 401)
    assert "password" in reason
    assert types(three.candidates) == ["host"]


@pytest.mark.parametrize(
    ("servers", "code"),
    [
        (["stun:example.org"], Error.ERR_INVALID_PARAMETER),
        ([{}], Error.FAILED),
        ([{"urls": 5}], Error.FAILED),
        ([{"urls": ["stun:example.org", ""]}], Error.FAILED),
        ([{"urls": "http://example.org"}], Error.ERR_INVALID_PARAMETER),
        ([{"urls": "turn:example.org:99999"}], Error.ERR_INVALID_PARAMETER),
    ],
)
def test_a_bad_server_is_refused_at_construction(servers: list[Any], code: Error) -> None:
    with pytest.raises(RTCError) as caught:
        PeerConnection({"iceServers": servers})
    assert caught.value.code == code


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="iceTransportPolicy"):
        PeerConnection({"iceTransportPolicy": "some"})


def test_every_server_says_in_the_explanation_what_came_of_it() -> None:
    """Answers and failures alike, with the address that asked."""
    three = Three(
        [
            TURN,
            {"urls": "stun:10.0.0.77"},
            {"urls": "stun:nowhere.example.org"},
            {"urls": "turn:10.0.0.1?transport=tcp", "username": "user", "credential": "wrong"},
        ]
    )
    three.run(lambda: False, limit=0.015)
    assert "server stun:10.0.0.77:3478 from 10.0.0.2:50000: asked" in three.a.explain()
    assert three.run(three.is_gathered)
    text = three.a.explain()
    assert "server turn:10.0.0.1:3478 from 10.0.0.2:50000: relays for us at 10.0.0.1:49152" in text
    assert "server stun:10.0.0.77:3478 from 10.0.0.2:50000: 701 no answer within 5 s" in text
    assert "server stun:nowhere.example.org:3478: 701 there is no host 'nowhere.example.org'" in text
    assert "server turn:10.0.0.1:3478?transport=tcp: 401" in text


def test_a_server_that_forgets_its_relay_is_told_of() -> None:
    """RFC 8656 §7.3: the refresh is refused with 437."""
    three = Three([TURN])
    assert three.run(three.is_gathered)
    three.server.refusals[REFRESH] = 437
    three.network.run(600.0, peers=three.both)
    assert "50000: 437 the server does not prolong the relay" in three.a.explain()
    assert "relay udp" not in three.a.explain().partition("the peer's candidates")[0]


def test_a_restart_replaces_a_relay_that_its_server_has_forgotten() -> None:
    """RFC 8445 §9, RFC 8656 §7.3: nobody has noticed yet; the restart asks."""
    three = Three([TURN], iceTransportPolicy="relay")
    assert three.run(three.is_open)
    three.server.allocations.clear()
    three.a.restart_ice()
    three.chat_a.put_packet(b"still here")
    assert three.run(lambda: three.chat_b.get_available_packet_count() == 1, 60.0)
    assert set(types(three.candidates)) == {"relay"}
    assert len({line.split()[5] for line in three.candidates}) == 2


def test_the_path_its_rtt_and_its_changes_are_told() -> None:
    three = Three([TURN])
    paths: list[tuple[str, str]] = []
    three.a.selected_pair_changed.connect(lambda *path: paths.append(path))
    assert three.run(three.is_open)
    three.network.run(1.0)
    poll(three.both)
    stats = three.a.get_stats()
    assert stats.selected_pair is not None
    assert stats.selected_pair.current_round_trip_time == pytest.approx(0.02)
    assert paths[-1] == tuple(
        f"{ip}:{port}" for ip, port in (stats.selected_pair.local, stats.selected_pair.remote)
    )
    assert stats.transport.selected_candidate_pair_changes == len(paths)


def test_two_ipv6_hosts_meet_over_an_ipv6_relay() -> None:
    """RFC 8656 §7.1, §4: a server with an IPv6 address relays from one; both sides let UDP out to it only."""
    network = VirtualNetwork(seed=1, delay=0.01)
    server = TurnServer.on(network.host("server", ["2001:db8::3478"]), users=USERS)
    servers = [{"urls": server.url, "username": "user", "credential": "secret"}]
    peers = [
        PeerConnection(
            {"iceServers": servers}, network=network.firewall(name, allowed_ports=(3478,)).host(*host)
        )
        for name, *host in (("one", "a", ["2001:db8:1::1"]), ("other", "b", ["2001:db8:2::1"]))
    ]
    chats = [peer.create_data_channel("chat", CHAT) for peer in peers]
    for here, there in (peers, peers[::-1]):
        here.session_description_created.connect(there.set_remote_description)
        here.ice_candidate_created.connect(there.add_ice_candidate)
    peers[0].create_offer()
    assert network.run(
        lambda: all(chat.get_ready_state() == chat.STATE_OPEN for chat in chats), limit=10.0, peers=peers
    )
    pair = peers[0].get_stats().selected_pair
    assert pair is not None
    assert "2001:db8::3478" in (pair.local[0], pair.remote[0])
