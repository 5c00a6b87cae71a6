"""Keys of the configuration that say which paths may be taken, and when one counts as lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from peer_support import CHAT, Two, record

from rtcstack import InvalidParameter, PeerConnection, SdpError, poll
from rtcstack.testing import StunServer, TurnServer, VirtualNetwork


def lines_of(signals: list[tuple[Any, ...]]) -> list[str]:
    return [signal[3] for signal in signals if signal[0] == "ice_candidate_created"]


class Apart(Two):
    """Peers whose configurations differ; `a` may be behind a NAT, and servers are there."""

    def __init__(self, of_a: dict[str, Any], of_b: dict[str, Any], *, nat: bool = False) -> None:
        self.network = VirtualNetwork(seed=1, delay=0.01)
        self.stun = StunServer.on(self.network.host("stun", ["203.0.113.1"]))
        self.turn = TurnServer.on(self.network.host("turn", ["203.0.113.2"]), users={"u": "p"})
        home = self.network.nat("home", ["198.51.100.1"]) if nat else self.network
        hosts = (
            home.host("a", ["192.168.0.2" if nat else "198.51.100.7"]),
            self.network.host("b", ["192.0.2.2"]),
        )
        self.a, self.b = (
            PeerConnection(options, network=host, random_bytes=random.Random(host.name).randbytes)
            for options, host in zip((of_a, of_b), hosts, strict=True)
        )
        self.both = (self.a, self.b)
        self.chat_a, self.chat_b = (peer.create_data_channel("chat", CHAT) for peer in self.both)
        self.wire()

    def run(self, until: Callable[[], object], limit: float = 10.0) -> bool:
        return self.network.run(lambda: bool(until()), limit=limit, peers=self.both)


STUN = {"iceServers": [{"urls": "stun:203.0.113.1"}]}
BOTH = {
    "iceServers": [
        {"urls": "stun:203.0.113.1"},
        {"urls": "turn:203.0.113.2", "username": "u", "credential": "p"},
    ]
}


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("iceTransportPolicy", "direct", '"all" or "relay"'),
        ("ip_handling", "public", "default_route"),
        ("ip_handling", 3, "default_route"),
        ("ice_lite", 1, "True or False"),
        ("remote_candidate_filter", "10.0.0.0/8", "a function"),
        ("disconnected_timeout", 0.5, "from 1 to 30"),
        ("disconnected_timeout", float("nan"), "from 1 to 30"),
        ("consent_timeout", 31, "from 7 to 30"),
        ("consent_timeout", True, "from 7 to 30"),
        ("max_remote_candidates", 0, "from 1 to 1000"),
        ("max_candidate_pairs", 1.5, "from 1 to 1000"),
        ("max_early_checks", "9", "from 1 to 1000"),
        ("max_addresses", 0, "from 1 to 1000"),
        ("bind_addresses", ["localhost"], "IP addresses"),
        ("interface_poll", -1, "from 0"),
        ("restart_timeout", "long", "from 0"),
        ("ice_tcp", "so", '"active" or "passive"'),
        ("bundlePolicy", "max", "max-bundle"),
        ("rtcpMuxPolicy", "negotiate", '"require"'),
        ("iceCandidatePoolSize", 256, "from 0 to 255"),
        ("peerIdentity", 5, "text or None"),
    ],
)
def test_a_refusal_names_the_key_the_value_and_what_is_allowed(key: str, value: object, allowed: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        PeerConnection({key: value})
    text = str(caught.value)
    assert text.startswith(f"{key}: {value!r} is not allowed")
    assert allowed in text


def test_keys_of_w3c_that_change_nothing_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    PeerConnection(
        {
            "bundlePolicy": "max-bundle",
            "rtcpMuxPolicy": "require",
            "iceCandidatePoolSize": 4,
            "peerIdentity": None,
        }
    )
    assert not caplog.records


@pytest.mark.parametrize("other", [STUN, {"iceTransportPolicy": "relay"}, {"ip_handling": "relay"}])
def test_a_lite_agent_asks_no_servers(other: dict[str, Any]) -> None:
    """RFC 8445 §2.5: a lite implementation has host candidates only."""
    with pytest.raises(InvalidParameter, match="ice_lite"):
        PeerConnection({"ice_lite": True, **other})


def test_silence_cannot_count_later_than_the_end_of_consent() -> None:
    with pytest.raises(InvalidParameter, match="disconnected_timeout"):
        PeerConnection({"consent_timeout": 10, "disconnected_timeout": 11})


@pytest.mark.parametrize("who_is_lite", [0, 1])
def test_a_lite_side_connects_with_a_full_one_whoever_offers(who_is_lite: int) -> None:
    """RFC 8445 §6.1.1: the full agent controls; a=ice-lite says so (RFC 8839 §5.3)."""
    options = [{}, {}]
    options[who_is_lite] = {"ice_lite": True}
    two = Apart(*options)
    signals = record(two.both[who_is_lite])
    two.connected()
    kinds = {signal[2] for signal in signals if signal[0] == "session_description_created"}
    assert all("\r\na=ice-lite\r\n" in sdp for sdp in kinds)
    assert ", 0 asked, 0 answered" in two.both[who_is_lite].explain()
    two.chat_a.put_packet("hello")
    assert two.run(two.chat_b.get_available_packet_count)
    two.run(lambda: False, limit=60.0)
    assert two.a.get_connection_state() == two.b.get_connection_state() == two.a.STATE_CONNECTED


def test_two_lite_sides_are_refused_before_anything_changes() -> None:
    """RFC 8445 §6.1.1 lets both be lite; without checks there is no consent to send (RFC 7675)."""
    two = Apart({"ice_lite": True}, {"ice_lite": True})
    two.a.session_description_created.disconnect(two.b.set_remote_description)
    offers = record(two.a)
    two.a.create_offer()
    two.a.poll()
    offer = next(signal[2] for signal in offers if signal[0] == "session_description_created")
    with pytest.raises(SdpError, match="lite"):
        two.b.set_remote_description("offer", offer)
    assert two.b.get_signaling_state() == two.b.SIGNALING_STATE_STABLE


def test_nothing_is_sent_to_an_address_that_the_filter_refuses() -> None:
    asked: list[tuple[str, int]] = []

    def refuse(address: str, port: int) -> bool:
        asked.append((address, port))
        return address != "192.0.2.2"

    two = Apart({"remote_candidate_filter": refuse}, {})
    two.a.create_offer()
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_FAILED, limit=60.0)
    assert ("192.0.2.2", 50000) in asked
    assert "refused by the filter" in two.a.explain()
    assert "0 of the peer's arrived" in two.b.get_failure_reason()


def test_a_filter_that_raises_refuses(caplog: pytest.LogCaptureFixture) -> None:
    two = Apart({"remote_candidate_filter": lambda address, port: 1 / 0}, {})
    two.a.create_offer()
    two.run(lambda: False, limit=1.0)
    assert two.a.get_connection_state() == two.a.STATE_CONNECTING
    assert "remote_candidate_filter raised" in caplog.text


def test_mode_2_uses_one_address_of_each_family() -> None:
    """RFC 8828 §5.2 mode 2: the default route, and the private address that belongs to it."""
    peer = PeerConnection({"ip_handling": "default_route_and_private"})
    peer.create_data_channel("x")
    signals = record(peer)
    peer.create_offer()
    peer.poll()
    peer.close()
    ips = [line.split()[4] for line in lines_of(signals) if line]
    assert ips
    assert len({":" in ip for ip in ips}) == len(ips)


def test_mode_3_tells_the_public_address_only() -> None:
    """RFC 8828 §5.2 mode 3: the private address is not told, nor is it the related one."""
    two = Apart({**STUN, "ip_handling": "default_route"}, {}, nat=True)
    signals = record(two.a)
    two.connected()
    lines = [line for line in lines_of(signals) if line]
    assert [line.split()[7] for line in lines] == ["srflx"]
    assert "192.168.0.2" not in two.a.get_local_description() + "".join(lines)


def test_mode_3_tells_the_own_address_where_there_is_no_nat() -> None:
    """RFC 8828 §5.2 mode 3: what a STUN server sees is public anyway."""
    two = Apart({**STUN, "ip_handling": "default_route"}, {})
    signals = record(two.a)
    two.connected()
    assert [line.split()[7] for line in lines_of(signals) if line] == ["host"]
    assert "198.51.100.7" in two.a.get_local_description()


@pytest.mark.parametrize("policy", [{"ip_handling": "relay"}, {"iceTransportPolicy": "relay"}])
def test_mode_4_shows_no_other_address_than_the_relays(policy: dict[str, str]) -> None:
    """RFC 8828 §5.2 mode 4; a relay is the proxy."""
    two = Apart({**BOTH, **policy, "ip_handling": "relay"}, {}, nat=True)
    signals = record(two.a)
    two.connected()
    assert [line.split()[7] for line in lines_of(signals) if line] == ["relay"]
    told = two.a.get_local_description() + str(signals)
    assert "192.168.0.2" not in told
    assert "198.51.100.1" not in told
    assert two.b.get_stats().selected_pair.remote[0] == "203.0.113.2"


def test_the_stricter_of_two_policies_holds_in_any_order() -> None:
    for options in (
        {"ip_handling": "relay", "iceTransportPolicy": "all"},
        {"iceTransportPolicy": "all", "ip_handling": "relay"},
        {"iceTransportPolicy": "relay", "ip_handling": "all"},
    ):
        two = Apart({**BOTH, **options}, {}, nat=True)
        signals = record(two.a)
        two.connected()
        assert [line.split()[7] for line in lines_of(signals) if line] == ["relay"]


def test_timeouts_can_be_chosen() -> None:
    """RFC 7675 §5.1: at most 30 s after the last answer nothing is sent any more."""
    two = Two({"disconnected_timeout": 2, "consent_timeout": 10}).connected()
    for chat in (two.chat_a, two.chat_b):
        chat.put_packet("the last words")
    two.run(two.chat_a.get_available_packet_count)
    lost = two.network.now
    two.network.change(loss=1.0)
    at: dict[int, float] = {}
    two.a.connection_state_changed.connect(lambda state: at.setdefault(state, two.network.now - lost))
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_FAILED, limit=30.0)
    assert 2.0 <= at[two.a.STATE_DISCONNECTED] <= 7.1
    assert 9.0 <= at[two.a.STATE_FAILED] <= 10.0


def test_more_candidates_of_the_peer_than_the_cap_are_not_kept() -> None:
    two = Apart({"max_remote_candidates": 3, "max_candidate_pairs": 2}, {})
    two.connected()
    for port in range(1000, 1020):
        two.a.add_ice_candidate("0", 0, f"candidate:1 1 udp 2122260223 192.0.2.9 {port} typ host")
    poll(two.both)
    drops = two.a.get_stats().drops
    assert drops["ice.remote_overflow"] == 18
    assert two.a.get_connection_state() == two.a.STATE_CONNECTED
