"""Real NATs: nftables in network namespaces, a coturn between, two hosts that meet by signaling only."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from netns_world import BY_TCP, BY_UDP, SERVER, STUN_ONLY, UPSTREAM, World

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("servers", [STUN_ONLY, BY_UDP], ids=["stun", "turn"])
def test_nats_that_keep_ports_are_passed_directly(tmp_path: Path, servers: list[dict[str, str]]) -> None:
    with World(tmp_path) as world:
        left, right = world.call(servers)
        assert "relay" not in world.path(left) + world.path(right)


@pytest.mark.parametrize("kind", ["random", "fully-random"])
def test_nats_with_a_random_port_for_each_peer_need_the_relay(tmp_path: Path, kind: str) -> None:
    with World(tmp_path, left=kind, right=kind) as world:
        left, right = world.call(BY_UDP)
        assert "relay" in world.path(left)
        assert "relay" in world.path(right)


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_random_nat_before_one_that_lets_in_answers_only(tmp_path: Path, side: str) -> None:
    with World(tmp_path, **{side: "fully-random"}) as world:
        left, _ = world.call(BY_UDP)
        assert "relay" in world.path(left)


def test_a_firewall_that_blocks_udp_is_passed_by_turn_over_tcp(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.set_rules("left-nat", extra="meta l4proto udp drop")
        left, _ = world.call(BY_UDP + BY_TCP)
        assert world.path(left)[0] == "relay"


def test_two_firewalls_that_block_udp(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        for nat in ("left-nat", "right-nat"):
            world.set_rules(nat, extra="meta l4proto udp drop")
        left, right = world.call(BY_TCP)
        assert world.path(left) == world.path(right) == ("relay", "relay")


def test_a_direct_path_that_breaks_gives_way_to_the_relay(tmp_path: Path) -> None:
    """RFC 7675 §5.1: the NATs cannot reach each other any more, the server can be reached."""
    with World(tmp_path) as world:
        left, right = world.call(BY_UDP)
        assert "relay" not in world.path(left)
        world.set_rules("left-nat", extra="ip daddr 203.0.113.2 drop; ip saddr 203.0.113.2 drop")
        world.exchange(left, right, "again", 60.0)
        assert "relay" in world.path(left)


def test_a_nat_that_forgets_its_ports_is_overcome(tmp_path: Path) -> None:
    """A router that restarts: other ports from now on, and nobody comes in by the old ones."""
    with World(tmp_path) as world:
        left, right = world.call(BY_UDP)
        world.run("left-nat", "ip", "address", "del", "203.0.113.1/24", "dev", "wan")  # masquerade forgets
        world.run("left-nat", "ip", "address", "add", "203.0.113.77/24", "dev", "wan")
        world.run("left-nat", "ip", "route", "add", "default", "via", UPSTREAM)
        assert world.until(lambda: left.told("state", state="DISCONNECTED"))
        left.do("restart")
        world.exchange(left, right, "again", 60.0)


def test_a_host_whose_way_out_dies_goes_on_by_another(tmp_path: Path) -> None:
    """Two interfaces, one of which is cut in mid-call; nobody restarts anything."""
    with World(tmp_path, has_spare=True) as world:
        left, right = world.call(BY_UDP)
        assert "relay" not in world.path(left)
        world.cut("left-nat")
        world.exchange(left, right, "again", 60.0)


@pytest.mark.parametrize(
    ("kind", "mapping"), [("", "endpoint-independent"), ("fully-random", "address-and-port-dependent")]
)
def test_the_doctor_knows_the_nat(tmp_path: Path, kind: str, mapping: str) -> None:
    """RFC 5780 section 4: what a NAT of Linux does with ports, and whom it lets in."""
    with World(tmp_path, left=kind) as world:
        server = f"turn:{SERVER}"
        options = ["--stun", f"stun:{SERVER}", "--turn", server, "--username", "me", "--credential", "secret"]
        said = world.run("left", sys.executable, "-m", "rtcstack", "doctor", "--json", *options)
        report = json.loads(said)
        found = {each["name"]: each["data"] for each in report["findings"]}
        assert report["ok"]
        assert found["NAT mapping"]["mapping"] == mapping
        assert found["NAT filtering"] == {"filtering": "address-and-port-dependent"}
        assert found["hairpinning"] == {"hairpinning": False}
        assert found["path MTU"]["mtu"] == 1500
