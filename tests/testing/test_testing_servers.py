"""STUN and TURN servers on virtual hosts, as peers find them; their protocol is tested with our clients."""

from __future__ import annotations

import math
from typing import Any

import pytest
from nat_peers import LOGIN, USERS, Peers

from rtcstack import stun
from rtcstack.stun import Address, Message, MessageClass
from rtcstack.testing import PORT_RESTRICTED, StunServer, TurnServer, VirtualHost, VirtualNetwork
from rtcstack.testing.servers import ALLOCATE


def offices(network: VirtualNetwork) -> list[VirtualHost]:
    """Two hosts behind NATs that let no UDP out."""
    return [
        network.nat(f"office {n}", [f"198.51.100.{n}"], allowed_ports=()).host(f"desk {n}") for n in (1, 2)
    ]


def test_a_stun_server_tells_the_outside_address():
    network = VirtualNetwork(seed=1, delay=0.01)
    server = StunServer.on(network.host("server", ["203.0.113.1", "2001:db8::1"]))
    assert server.url == "stun:203.0.113.1:3478"
    homes = [network.nat(f"home {n}", [f"198.51.100.{n}"], kind=PORT_RESTRICTED) for n in (1, 2)]
    peers = Peers(network, [home.host(f"host {n}") for n, home in enumerate(homes)], {"urls": server.url})
    assert peers.open()
    pair = peers.both[0].get_stats().selected_pair
    assert (pair.local_type, pair.remote_type, pair.remote[0]) == ("srflx", "srflx", "198.51.100.2")


def test_servers_are_found_by_the_names_of_their_hosts():
    network = VirtualNetwork(seed=1)
    StunServer.on(network.host("stun.example.org", ["203.0.113.1"]))
    home = network.nat("home", ["198.51.100.1"])
    peers = Peers(
        network,
        [home.host("a"), home.host("b")],
        {"urls": ["stun:stun.example.org", "stun:nowhere.example.org"]},
    )
    peers.run(1.0)
    assert "srflx" in peers.types()
    ((url, code, reason),) = peers.errors
    assert (url, code) == ("stun:nowhere.example.org:3478", 701)
    assert "nowhere.example.org" in reason


def test_a_silent_server_is_a_dead_one():
    network = VirtualNetwork(seed=1)
    server = StunServer.on(network.host("server", ["203.0.113.1"]))
    server.is_silent = True
    peers = Peers(network, [network.host("a"), network.host("b")], {"urls": server.url})
    assert peers.open()
    peers.run(10.0)
    ((url, code, _),) = peers.errors
    assert (url, code) == (server.url, 701)


@pytest.mark.parametrize(("kind", "opening"), [("tcp_url", 0.06), ("tls_url", 0.12)])
def test_a_relay_is_reached_over_a_connection_where_udp_is_blocked(kind, opening):
    """TCP takes one round trip to open, TLS two: of 60 ms here."""
    network = VirtualNetwork(seed=1, delay=0.03, loss=0.0)
    turn = TurnServer.on(network.host("turn", ["203.0.113.2"]), users=USERS)
    peers = Peers(network, offices(network), {"urls": getattr(turn, kind), **LOGIN})
    assert peers.open()
    assert peers.types() == ["host", "relay"]
    first_request, _ = turn.requests[0]
    assert first_request == pytest.approx(opening + 0.06 + 0.03, abs=0.001)  # after the challenge
    for size in (1, 2, 3, 4, 1000):
        peers.ends[0].put_packet(bytes(size))
    peers.run(2.0)
    sizes = [len(peers.ends[1].get_packet()) for _ in range(peers.ends[1].get_available_packet_count())]
    assert sizes == [1, 2, 3, 4, 1000]
    assert turn.dropped_datagrams == 0
    assert turn.relayed_datagrams > 10


def test_a_connection_loses_nothing_on_a_bad_link():
    network = VirtualNetwork(seed=1, delay=0.03, loss=1.0)
    turn = TurnServer.on(network.host("turn", ["203.0.113.2"]), users=USERS)
    peers = Peers(network, offices(network), {"urls": turn.tcp_url, **LOGIN})
    peers.run(1.0)
    assert len(turn.allocations) == 2


def test_a_connection_to_nobody_is_refused():
    network = VirtualNetwork(seed=1, delay=0.03)
    StunServer.on(network.host("server", ["203.0.113.1"]))  # listens for UDP only
    urls = [f"turn:{ip}?transport=tcp" for ip in ("203.0.113.1", "203.0.113.99", "[2001:db8::1]")]
    peers = Peers(network, offices(network), {"urls": urls, **LOGIN})
    peers.run(1.0)
    assert {url: (code, reason) for url, code, reason in peers.errors} == {
        "turn:203.0.113.1:3478?transport=tcp": (701, "connection refused"),
        "turn:203.0.113.99:3478?transport=tcp": (701, "network is unreachable"),
        "turn:[2001:db8::1]:3478?transport=tcp": (701, "network is unreachable"),
    }


def test_a_private_address_is_not_reached_from_outside_by_a_connection():
    network = VirtualNetwork(seed=1)
    home = network.nat("home", ["198.51.100.1"])
    turn = TurnServer.on(home.host("turn", ["192.168.0.9"]), users=USERS)
    urls = ["turn:198.51.100.1?transport=tcp", turn.tcp_url]
    outsiders = Peers(network, [network.host("a"), network.host("b")], {"urls": urls, **LOGIN})
    outsiders.run(1.0)
    assert len(outsiders.errors) == 2
    insiders = Peers(network, [home.host("c"), home.host("d")], {"urls": turn.tcp_url, **LOGIN})
    insiders.run(1.0)
    assert insiders.errors == []
    assert len(turn.allocations) == 2


def test_peers_learn_that_a_server_has_closed_its_connections():
    network = VirtualNetwork(seed=1, delay=0.03)
    host = network.host("turn", ["203.0.113.2"])
    turn = TurnServer.on(host, users=USERS)
    peers = Peers(network, offices(network), {"urls": turn.tcp_url, **LOGIN})
    assert peers.open()
    turn.close()
    turn.close()  # a second time does nothing
    peers.run(1.0)
    assert peers.both[0].get_stats().selected_pair is None
    assert network.sockets == {}
    assert network.listeners == {}


def test_wrong_credentials_are_refused():
    network = VirtualNetwork(seed=1)
    turn = TurnServer.on(network.host("turn", ["203.0.113.2"]), users=USERS)
    login = {"username": "user", "credential": "guess"}
    peers = Peers(network, [network.host("a"), network.host("b")], {"urls": turn.url, **login})
    peers.run(1.0)
    assert [code for _, code, _ in peers.errors] == [401]


def ask(server: StunServer, data: bytes) -> list[Message]:
    """Hand a server one datagram from somewhere; returns its answers."""
    server.receive(server.addresses[0], ("198.51.100.1", 5000), [data], 0.0)
    return [Message.parse(answer) for _, _, answers in server.take_packets(0.0) for answer in answers]


def test_a_server_can_be_asked_without_a_network():
    server = StunServer("203.0.113.1")
    assert server.deadline == math.inf
    request = Message(stun.BINDING, MessageClass.REQUEST, bytes(12), {})
    (answer,) = ask(server, request.write())
    assert answer.get(stun.XOR_MAPPED_ADDRESS) == ("198.51.100.1", 5000)
    server.tamper = lambda answer: None
    assert ask(server, request.write()) == []


@pytest.mark.parametrize("server", [StunServer("203.0.113.1"), TurnServer("203.0.113.1", users=USERS)])
@pytest.mark.parametrize("data", [b"", b"hello", b"\x40\x00", b"\x40\x00\x00\x09abc"])
def test_what_is_no_request_is_dropped(server, data):
    assert ask(server, data) == []
    for method in (*range(1, 10), 0xFFF):
        for message_class in MessageClass:
            for answer in ask(server, Message(method, message_class, bytes(12), {}).write()):
                assert message_class is MessageClass.REQUEST
                assert method == stun.BINDING or answer.message_class is MessageClass.ERROR


def test_a_stun_server_refuses_to_relay_and_may_send_elsewhere():
    server = StunServer("203.0.113.1", alternate=("203.0.113.7", 3478))
    (answer,) = ask(server, Message(ALLOCATE, MessageClass.REQUEST, bytes(12), {}).write())
    assert answer.get(stun.ERROR_CODE)[0] == 400
    (answer,) = ask(server, Message(stun.BINDING, MessageClass.REQUEST, bytes(12), {}).write())
    assert answer.get(stun.ERROR_CODE)[0] == 300
    assert answer.get(stun.ALTERNATE_SERVER) == ("203.0.113.7", 3478)


def test_urls_of_ipv6_servers_have_brackets():
    server = TurnServer("2001:db8::1")
    assert (server.url, server.tcp_url, server.tls_url) == (
        "turn:[2001:db8::1]:3478",
        "turn:[2001:db8::1]:3478?transport=tcp",
        "turns:[2001:db8::1]:5349",
    )


# -- RFC 5780 ----------------------------------------------------------------------------------------

A1, A2, P1, P2 = "192.0.2.1", "192.0.2.2", 3478, 3479


def discover(server: StunServer, local: Address, **attributes: Any) -> tuple[Address, Address, Message]:
    """Ask a server; returns where the answer left from, where it went, and the answer."""
    content = {getattr(stun, name): value for name, value in attributes.items()}
    asked = Message(stun.BINDING, MessageClass.REQUEST, b"twelve bytes", content)
    server.receive(local, ("198.51.100.9", 7), [asked.write()], 0.0)
    ((source, target, (data,)),) = server.take_packets(0.0)
    return source, target, Message.parse(data)


@pytest.mark.parametrize("local", [(A1, P1), (A1, P2), (A2, P1), (A2, P2)])
@pytest.mark.parametrize("flags", [None, 0, 2, 4, 6])
def test_an_answer_leaves_from_where_it_is_asked_to(local: Address, flags: int | None) -> None:
    """RFC 5780 §6.1, §7.2, §7.3, §7.4: table 1, and both attributes that tell addresses."""
    server = StunServer(A1, A2, discovery=True)
    asked = {} if flags is None else {"CHANGE_REQUEST": flags}
    source, _, answer = discover(server, local, **asked)
    other = (A2 if local[0] == A1 else A1, P2 if local[1] == P1 else P1)
    assert source == (
        other[0] if (flags or 0) & 4 else local[0],
        other[1] if (flags or 0) & 2 else local[1],
    )
    assert answer.get(stun.RESPONSE_ORIGIN) == source
    assert answer.get(stun.OTHER_ADDRESS) == other
    assert answer.get(stun.MAPPED_ADDRESS) == answer.get(stun.XOR_MAPPED_ADDRESS) == ("198.51.100.9", 7)


@pytest.mark.parametrize("server", [StunServer(A1), StunServer(A1, "2001:db8::1", discovery=True)])
def test_a_server_of_one_address_cannot_change_it(server: StunServer) -> None:
    """RFC 5780 §6.1: 420, with the attribute that cannot be obeyed."""
    _, _, answer = discover(server, (A1, P1), CHANGE_REQUEST=6)
    code, _ = answer.get(stun.ERROR_CODE) or (0, "")
    assert code == 420
    assert answer.get(stun.UNKNOWN_ATTRIBUTES) == (3,)
    _, _, answer = discover(server, (A1, P1))
    assert answer.get(stun.OTHER_ADDRESS) is None


def test_the_answer_goes_to_the_port_that_was_asked_for() -> None:
    """RFC 5780 §7.5: RESPONSE-PORT at the address of whoever asks."""
    _, target, answer = discover(StunServer(A1, A2, discovery=True), (A1, P1), RESPONSE_PORT=99)
    assert target == ("198.51.100.9", 99)
    assert answer.get(stun.XOR_MAPPED_ADDRESS) == ("198.51.100.9", 7)


def test_padding_is_answered_with_padding_but_not_to_another_port() -> None:
    """RFC 5780 §6.1, §7.6: as large as the interface takes; with RESPONSE-PORT it would be an amplifier."""
    server = StunServer(A1, A2, discovery=True)
    _, _, answer = discover(server, (A1, P1), PADDING=bytes(64))
    assert len(answer.get(stun.PADDING) or b"") == 1500
    _, _, answer = discover(server, (A1, P1), PADDING=bytes(64), RESPONSE_PORT=99)
    code, _ = answer.get(stun.ERROR_CODE) or (0, "")
    assert code == 400
