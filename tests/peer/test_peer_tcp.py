"""ICE-TCP: paths for networks that let no UDP out (RFC 6544), in virtual time and over loopback sockets."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from peer_support import CHAT, take_all

from rtcstack import PeerConnection, poll
from rtcstack.testing import VirtualNetwork

LOCAL = {"bind_addresses": ["127.0.0.1"], "interface_poll": 0}


class Pair:
    """Peers that tell each other only candidates for TCP: no packet leaves by UDP."""

    def __init__(self, a: PeerConnection, b: PeerConnection) -> None:
        self.a, self.b, self.both = a, b, (a, b)
        self.lines: dict[PeerConnection, list[str]] = {a: [], b: []}
        self.chat_a, self.chat_b = (peer.create_data_channel("chat", CHAT) for peer in self.both)
        for peer, other in (self.both, self.both[::-1]):
            peer.session_description_created.connect(other.set_remote_description)
            peer.ice_candidate_created.connect(self._teller(peer, other))

    def _teller(self, peer: PeerConnection, other: PeerConnection) -> Callable[[str, int, str], None]:
        def tell(media: str, index: int, line: str) -> None:
            self.lines[peer].append(line)
            if " udp " not in line:
                other.add_ice_candidate(media, index, line)

        return tell

    def is_open(self) -> bool:
        return all(chat.get_ready_state() == chat.STATE_OPEN for chat in (self.chat_a, self.chat_b))


def on_loopback(of_a: object, of_b: object) -> Pair:
    return Pair(*(PeerConnection({**LOCAL, "ice_tcp": kinds}) for kinds in (of_a, of_b)))


def wait(pair: Pair, until: Callable[[], object], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            return False
        poll(pair.both, 0.05)
    return True


class Office:
    """`a` behind a firewall that lets no UDP out, `b` on a public address."""

    def __init__(self, of_a: object, of_b: object, **options: Any) -> None:
        self.network = VirtualNetwork(seed=1, delay=0.05)
        office = self.network.nat("office", ["198.51.100.1"], allowed_ports=())
        hosts = office.host("a", ["192.168.0.2"]), self.network.host("b", ["192.0.2.2"])
        self.pair = Pair(
            *(
                PeerConnection(
                    {"ice_tcp": kinds, **options},
                    network=host,
                    random_bytes=random.Random(host.name).randbytes,
                )
                for kinds, host in zip((of_a, of_b), hosts, strict=True)
            )
        )

    def run(self, until: Callable[[], object], limit: float = 60.0) -> bool:
        return self.network.run(lambda: bool(until()), limit=limit, peers=self.pair.both)


@pytest.mark.parametrize("kinds", [("active", "passive"), ("passive", "active"), (True, True)])
def test_two_of_ours_connect_over_loopback_without_udp(kinds: tuple[object, object]) -> None:
    """RFC 6544 §4.1, §7: an active candidate connects to a passive one; frames are those of RFC 4571."""
    pair = on_loopback(*kinds)
    pair.a.create_offer()
    assert wait(pair, pair.is_open)
    selected = pair.a.get_stats().selected_pair
    assert selected is not None
    assert selected.protocol == "tcp"
    sent = [bytes([i % 256]) * (i * 37 % 9000) for i in range(200)]
    for message in sent:
        pair.chat_a.put_packet(message)
        pair.chat_b.put_packet(message)
    assert wait(pair, lambda: pair.chat_b.get_available_packet_count() == len(sent))
    assert wait(pair, lambda: pair.chat_a.get_available_packet_count() == len(sent))
    assert take_all(pair.chat_a) == take_all(pair.chat_b) == sent
    pair.a.close()
    assert wait(pair, lambda: pair.b.get_connection_state() == pair.b.STATE_CLOSED)
    pair.b.close()


def test_candidates_for_tcp_name_their_kind_and_come_after_udp() -> None:
    """RFC 6544 §4.5 (tcptype), §4.1 (port 9), §4.2 (UDP is preferred)."""
    pair = on_loopback(True, False)
    pair.a.create_offer()
    pair.a.poll()
    udp, active, passive = (line.split() for line in pair.lines[pair.a] if line)
    assert [line[2] for line in (udp, active, passive)] == ["udp", "tcp", "tcp"]
    assert active[5] == "9"
    assert active[active.index("tcptype") + 1] == "active"
    assert passive[passive.index("tcptype") + 1] == "passive"
    assert passive[5] != udp[5]
    assert int(udp[3]) > int(active[3]) > int(passive[3])
    pair.a.close()


def test_udp_is_taken_where_it_works() -> None:
    """RFC 6544 §4.2."""
    network = VirtualNetwork(seed=1, delay=0.02)
    peers = [PeerConnection({"ice_tcp": True}, network=network.host(name)) for name in "ab"]
    for peer, other in (peers, peers[::-1]):
        peer.session_description_created.connect(other.set_remote_description)
        peer.ice_candidate_created.connect(other.add_ice_candidate)
    peers[0].create_data_channel("x")
    peers[0].create_offer()
    network.run(10.0, peers=peers)
    selected = peers[0].get_stats().selected_pair
    assert selected is not None
    assert selected.protocol == "udp"


@pytest.mark.parametrize("kinds", [("active", "passive"), (True, True)])
def test_where_no_udp_leaves_a_connection_to_the_other_side_does(kinds: tuple[object, object]) -> None:
    """RFC 6544 §1; the one behind the NAT connects."""
    office = Office(*kinds)
    office.pair.a.create_offer()
    assert office.run(office.pair.is_open, limit=5.0)
    office.pair.chat_b.put_packet(b"to the office")
    assert office.run(office.pair.chat_a.get_available_packet_count)
    # Consent is asked over TCP, too (RFC 7675 §5.1).
    office.run(lambda: False, limit=120.0)
    assert office.pair.a.get_connection_state() == office.pair.a.STATE_CONNECTED


def test_a_connection_that_breaks_is_opened_again() -> None:
    """RFC 6544 §7.1: in doubt every pair is checked anew, and an active one connects."""
    office = Office("active", "passive")
    office.pair.a.create_offer()
    assert office.run(office.pair.is_open)
    for transport in office.network.transports:
        for stream in list(transport.streams.values()):
            stream.close(transport)
    office.pair.chat_a.put_packet(b"by the next one")
    assert office.run(office.pair.chat_b.get_available_packet_count, limit=10.0)
    assert office.run(
        lambda: office.pair.a.get_connection_state() == office.pair.a.STATE_CONNECTED, limit=1.0
    )


def test_relays_only_open_no_port_for_tcp() -> None:
    """RFC 8828 §5.2 mode 4."""
    pair = Pair(*(PeerConnection({**LOCAL, "ice_tcp": True, "ip_handling": "relay"}) for _ in "ab"))
    pair.a.create_offer()
    pair.a.poll()
    assert not any(line for line in pair.lines[pair.a])
    pair.a.close()


def test_a_stranger_at_the_port_is_not_listened_to() -> None:
    """Only STUN is read before a check has passed; what is no frame ends the connection."""
    pair = on_loopback("active", "passive")
    pair.a.create_offer()
    assert wait(pair, pair.is_open)
    address = next(line.split()[4:6] for line in pair.lines[pair.b] if "passive" in line)
    with socket.create_connection((address[0], int(address[1])), timeout=5) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stranger.setblocking(False)

        def is_hung_up() -> bool:
            try:
                return stranger.recv(10) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        assert wait(pair, is_hung_up)
    with socket.create_connection((address[0], int(address[1])), timeout=5) as stranger:
        stranger.sendall(b"\0\4\x16abc")
        assert wait(pair, lambda: pair.b.get_stats().drops.get("session.unvalidated_source") == 1)
    assert pair.b.get_connection_state() == pair.b.STATE_CONNECTED
    pair.a.close()
    pair.b.close()


def test_a_port_that_nobody_listens_at_fails_its_pair_only() -> None:
    pair = on_loopback("active", "passive")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    pair.a.create_offer()
    pair.a.poll()
    pair.a.add_ice_candidate(
        "0", 0, f"candidate:9 1 tcp 1518280447 127.0.0.1 {port} typ host tcptype passive"
    )
    assert wait(pair, lambda: pair.is_open() and "no TCP connection" in pair.a.explain())
    pair.a.close()
    pair.b.close()


@pytest.mark.parametrize("value", ["both", 1, None, ["active"]])
def test_a_bad_kind_is_refused(value: object) -> None:
    with pytest.raises(Exception, match="ice_tcp"):
        PeerConnection({"ice_tcp": value})


def test_a_lite_agent_listens_and_never_connects() -> None:
    """RFC 6544 §4.4, §5.1: passive candidates only; the full side's active one comes."""
    network = VirtualNetwork(seed=1, delay=0.02)
    behind = network.nat("office", ["198.51.100.1"], allowed_ports=()).host("desk")
    pair = Pair(
        PeerConnection({"ice_tcp": True, "ice_lite": True}, network=network.host("server", ["192.0.2.2"])),
        PeerConnection({"ice_tcp": True}, network=behind),
    )
    pair.a.create_offer()
    assert network.run(pair.is_open, limit=5.0, peers=pair.both)
    kinds = [line.split("tcptype ")[1].split()[0] for line in pair.lines[pair.a] if " tcp " in line]
    assert kinds == ["passive"]
    selected = pair.a.get_stats().selected_pair
    assert selected is not None
    assert selected.protocol == "tcp"


def test_data_goes_by_the_connection_of_the_selected_pair_only() -> None:
    """RFC 6544 §10.1, §10.2, §11.1: one connection carries checks, consent and data, framed alike."""
    office = Office("active", "passive")
    office.pair.a.create_offer()
    assert office.run(office.pair.is_open)
    office.run(lambda: False, limit=30.0)
    connections = {key for transport in office.network.transports for key in transport.streams}
    assert len(connections) == 2  # its two ends
    for _ in range(50):
        office.pair.chat_a.put_packet(bytes(1000))
    assert office.run(lambda: office.pair.chat_b.get_available_packet_count() == 50)
