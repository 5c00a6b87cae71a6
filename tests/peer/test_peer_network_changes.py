"""Addresses that come and go: sockets follow them, better paths are taken, a restart is proposed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from peer_support import CHAT

from rtcstack import PeerConnection, poll
from rtcstack.net import Interface
from rtcstack.testing import TurnServer, VirtualNetwork

SERVERS = {"iceServers": [{"urls": "turn:203.0.113.2", "username": "u", "credential": "p"}]}


class Mobile:
    """`a`, a phone in a wireless network, connected with `b` on a public address."""

    def __init__(self, configuration: dict[str, object] | None = None) -> None:
        self.network = VirtualNetwork(seed=1, delay=0.02)
        self.turn = TurnServer.on(self.network.host("turn", ["203.0.113.2"]), users={"u": "p"})
        self.host = self.network.host("a", ["198.51.100.1"])
        hosts = self.host, self.network.host("b", ["192.0.2.2", "2001:db8::2"])
        self.a, self.b = self.both = tuple(
            PeerConnection(configuration, network=host, random_bytes=random.Random(host.name).randbytes)
            for host in hosts
        )
        self.proposals: list[str] = []
        self.lines: list[str] = []
        self.paths: list[tuple[str, str]] = []
        self.a.ice_restart_proposed.connect(self.proposals.append)
        self.a.ice_candidate_created.connect(lambda _media, _index, line: self.lines.append(line))
        self.a.selected_pair_changed.connect(lambda *path: self.paths.append(path))
        self.chat_a, self.chat_b = (peer.create_data_channel("chat", CHAT) for peer in self.both)
        for peer, other in (self.both, self.both[::-1]):
            peer.session_description_created.connect(other.set_remote_description)
            peer.ice_candidate_created.connect(other.add_ice_candidate)
        self.a.create_offer()
        assert self.run(self.is_connected)
        self.run(lambda: False, limit=2.0)

    def run(self, until: Callable[[], object], limit: float = 20.0) -> bool:
        return self.network.run(lambda: bool(until()), limit=limit, peers=self.both)

    def is_connected(self) -> bool:
        return all(peer.get_connection_state() == peer.STATE_CONNECTED for peer in self.both)

    def has_gathered_again(self) -> bool:
        return bool(self.lines) and self.a.get_gathering_state() == self.a.GATHERING_STATE_COMPLETE

    def delivers(self) -> bool:
        before = self.chat_b.get_available_packet_count(), self.chat_a.get_available_packet_count()
        self.chat_a.put_packet("there")
        self.chat_b.put_packet("and back")
        return self.run(
            lambda: (
                self.chat_b.get_available_packet_count() > before[0]
                and self.chat_a.get_available_packet_count() > before[1]
            )
        )


def test_a_new_address_alone_changes_nothing_that_works() -> None:
    mobile = Mobile()
    mobile.host.add_address("198.51.100.9")
    mobile.a.network_changed()
    mobile.run(lambda: False, limit=10.0)
    assert not mobile.proposals
    assert "198.51.100.9:" in mobile.a.explain()
    assert mobile.a.get_stats().transport.selected_candidate_pair_changes == 1
    assert mobile.delivers()


def test_data_goes_on_from_the_new_address_when_the_old_one_goes() -> None:
    """RFC 8445 §5.1.1.4: the new base is checked with what the peer has told; the checks show it."""
    mobile = Mobile()
    mobile.host.add_address("198.51.100.9")
    mobile.host.remove_address("198.51.100.1")
    mobile.a.network_changed()
    assert mobile.run(lambda: mobile.proposals)
    assert "198.51.100.1" in mobile.proposals[0]
    assert mobile.run(lambda: mobile.paths[-1][0].startswith("198.51.100.9:"))
    assert mobile.run(mobile.is_connected)
    assert mobile.delivers()
    assert mobile.a.get_stats().transport.selected_candidate_pair_changes == 2


def test_the_change_is_noticed_without_being_told() -> None:
    mobile = Mobile()
    mobile.host.add_address("198.51.100.9")
    mobile.host.remove_address("198.51.100.1")
    assert mobile.run(lambda: mobile.paths[-1][0].startswith("198.51.100.9:"), limit=6.0)
    assert mobile.delivers()


def test_the_proposed_restart_tells_the_peer_the_new_candidates() -> None:
    """RFC 8838 §13: what comes after the end of candidates is told with a restart, and not before."""
    mobile = Mobile()
    mobile.a.ice_restart_proposed.connect(lambda _reason: mobile.a.restart_ice())
    mobile.lines.clear()
    mobile.host.add_address("198.51.100.9")
    mobile.host.remove_address("198.51.100.1")
    mobile.a.network_changed()
    assert mobile.run(mobile.has_gathered_again)
    assert [line.split()[4] for line in mobile.lines] == ["198.51.100.9"]
    assert mobile.run(mobile.is_connected)
    assert mobile.delivers()
    remote = mobile.b.get_stats().selected_pair
    assert remote is not None
    assert (remote.remote[0], remote.remote_type) == ("198.51.100.9", "host")


def test_servers_are_asked_from_the_new_address_before_a_restart_ends_its_candidates() -> None:
    mobile = Mobile(SERVERS)
    mobile.a.ice_restart_proposed.connect(lambda _reason: mobile.a.restart_ice())
    assert len(mobile.turn.allocations) == 2
    mobile.lines.clear()
    mobile.host.add_address("198.51.100.9")
    mobile.host.remove_address("198.51.100.1")
    mobile.a.network_changed()
    assert mobile.run(mobile.has_gathered_again)
    assert [line.split()[7] for line in mobile.lines] == ["host", "relay"]
    assert mobile.run(mobile.is_connected)
    assert any(client[0] == "198.51.100.9" for client in mobile.turn.allocations)


def test_a_relay_is_the_way_where_the_new_network_has_no_other() -> None:
    """The new address is of a firewalled network: only its relay is reached, and only by a restart."""
    mobile = Mobile({**SERVERS, "iceTransportPolicy": "relay"})
    mobile.a.ice_restart_proposed.connect(lambda _reason: mobile.a.restart_ice())
    mobile.host.add_address("198.51.100.9")
    mobile.host.remove_address("198.51.100.1")
    mobile.a.network_changed()
    assert mobile.run(lambda: mobile.proposals)
    assert "relay" in mobile.proposals[0]
    assert mobile.run(lambda: mobile.paths[-1][0].startswith("203.0.113.2:") and mobile.is_connected())
    assert mobile.delivers()


def test_a_gap_between_two_networks_is_survived() -> None:
    mobile = Mobile()
    mobile.a.ice_restart_proposed.connect(lambda _reason: mobile.a.restart_ice())
    mobile.host.remove_address("198.51.100.1")
    mobile.a.network_changed()
    mobile.run(lambda: False, limit=10.0)
    assert mobile.a.get_connection_state() != mobile.a.STATE_CONNECTED
    mobile.host.add_address("198.51.100.9")
    mobile.a.network_changed()
    assert mobile.run(mobile.is_connected)
    assert mobile.delivers()


def test_the_better_path_of_a_new_network_is_taken() -> None:
    """RFC 8445 §8.1.1, RFC 8421 §4: `a` gets an IPv6 address, which is preferred; nobody restarts."""
    mobile = Mobile()
    mobile.host.add_address("2001:db8::1")
    mobile.a.network_changed()
    assert mobile.run(lambda: mobile.paths[-1][0].startswith("[2001:db8::1]:"))
    assert mobile.delivers()
    assert not mobile.proposals
    remote = mobile.b.get_stats().selected_pair
    assert remote is not None
    assert remote.remote[0] == "2001:db8::1"


def choose(peer_ips: set[str]) -> Callable[[Interface], bool]:
    return lambda interface: interface.address in peer_ips


@pytest.mark.parametrize("background", [False, True])
def test_real_sockets_follow_what_the_filter_lets_through(background: bool) -> None:
    """The same with the machine's sockets: 127.0.0.1 goes, ::1 comes."""
    ips = {"127.0.0.1"}
    peers = [PeerConnection({"interface_filter": choose(ips)}, background=background) for _ in "ab"]
    proposals: list[str] = []
    chats = [peer.create_data_channel("chat", CHAT) for peer in peers]
    for peer, other in (peers, peers[::-1]):
        peer.session_description_created.connect(other.set_remote_description)
        peer.ice_candidate_created.connect(other.add_ice_candidate)
    peers[0].ice_restart_proposed.connect(proposals.append)
    peers[0].ice_restart_proposed.connect(lambda _reason: peers[0].restart_ice())
    peers[0].create_offer()

    def wait(until: Callable[[], object]) -> bool:
        end = time.monotonic() + 10.0
        while not until():
            if time.monotonic() > end:
                return False
            poll(peers, 0.05)
        return True

    def path() -> str:
        pair = peers[0].get_stats().selected_pair
        return "" if pair is None else pair.local[0]

    assert wait(lambda: all(chat.get_ready_state() == chat.STATE_OPEN for chat in chats))
    assert path() == "127.0.0.1"
    ips.clear()
    ips.add("::1")
    for peer in peers:
        peer.network_changed()
    assert wait(lambda: path() == "::1")
    assert proposals == ["the local address 127.0.0.1 is gone"]
    chats[0].put_packet("by the other family")
    assert wait(chats[1].get_available_packet_count)
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("ip", ["198.51.100.1", "192.0.2.2"])
def test_a_host_has_an_address_once(ip: str) -> None:
    mobile = Mobile()
    with pytest.raises(Exception, match="already"):
        mobile.host.add_address(ip)
    with pytest.raises(Exception, match="no address"):
        mobile.host.remove_address("198.51.100.77")


def test_after_the_end_a_change_means_nothing() -> None:
    mobile = Mobile()
    mobile.a.close()
    mobile.run(lambda: False, limit=1.0)
    mobile.host.add_address("198.51.100.9")
    mobile.a.network_changed()
    assert not mobile.proposals


def test_while_candidates_are_still_gathered_a_new_one_is_trickled() -> None:
    """RFC 8838 §9, §13: the end has not been told, for a server has not answered yet."""
    mobile = Mobile({"iceServers": [{"urls": "stun:203.0.113.99"}]})
    assert mobile.a.get_gathering_state() == mobile.a.GATHERING_STATE_GATHERING
    mobile.lines.clear()
    mobile.host.add_address("198.51.100.9")
    mobile.a.network_changed()
    assert mobile.run(lambda: mobile.lines, limit=0.5)
    assert [line.split()[4] for line in mobile.lines] == ["198.51.100.9"]
    mobile.host.remove_address("198.51.100.1")
    mobile.a.network_changed()
    assert mobile.run(lambda: mobile.paths[-1][0].startswith("198.51.100.9:"))
    assert mobile.run(mobile.is_connected)
    assert mobile.delivers()
