"""NAT by NAT: whatever can connect does, directly where that is possible, and the page says so."""

from __future__ import annotations

import nat_matrix
import pytest
from nat_matrix import DELAY, DOCUMENT, NEIGHBORS, PAIRS, PLACES, SERVERS, neighbors, outcome, page

from rtcstack.testing import Dependence, NatKind, VirtualNetwork

ENDPOINT_INDEPENDENT = Dependence.ENDPOINT_INDEPENDENT
# Symmetric by mapping alone: everybody is let in, at a port from which no answer ever leaves.
OPEN_SYMMETRIC = NatKind(Dependence.ADDRESS_AND_PORT_DEPENDENT, ENDPOINT_INDEPENDENT)
HALF_OPEN_SYMMETRIC = NatKind(Dependence.ADDRESS_AND_PORT_DEPENDENT, Dependence.ADDRESS_DEPENDENT)


def can_meet(one: str, other: str, servers: str) -> bool:
    """Whether a direct path is possible, from the behaviors alone (RFC 5128 section 3.3, RFC 4787 section 5).

    A packet to an address that a server has seen is let in if the receiver has sent to where it comes from.
    Behind a symmetric NAT that is a new port for each peer: only who does not look at ports lets it in.
    """
    sides = PLACES[one], PLACES[other]
    if not all(side.has_udp for side in sides):
        return False
    kinds = [side.kind for side in sides]
    if None in kinds:
        return True  # The one without a NAT can be reached by anybody.
    if servers == "none":
        return False
    moving = [kind for kind in kinds if kind.mapping is not ENDPOINT_INDEPENDENT]
    steady = [kind for kind in kinds if kind.mapping is ENDPOINT_INDEPENDENT]
    if not moving:
        return True
    return bool(steady) and steady[0].filtering is not Dependence.ADDRESS_AND_PORT_DEPENDENT


@pytest.mark.parametrize("servers", SERVERS)
@pytest.mark.parametrize(("offerer", "answerer"), PAIRS)
def test_what_can_connect_does_and_directly_where_possible(offerer, answerer, servers):
    """RFC 8445 §2: candidate pairs are tried until one works, the direct ones preferred."""
    result = outcome(offerer, answerer, servers)
    if can_meet(offerer, answerer, servers):
        assert result.is_direct, result.reason
    elif servers == "TURN":
        assert result.seconds is not None, result.reason
        assert "relay" in result.types
    else:
        assert result.seconds is None
        assert result.reason


@pytest.mark.parametrize("answerer", ["public", "address-restricted", "port-restricted", "UDP blocked"])
def test_it_does_not_matter_who_offers(answerer):
    forth, back = outcome("symmetric", answerer, "TURN"), outcome(answerer, "symmetric", "TURN")
    assert forth.seconds is not None
    assert back.seconds is not None
    assert forth.is_direct == back.is_direct


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if "UDP blocked" not in pair])
def test_one_relay_is_never_chained_to_another_where_udp_can_leave(pair):
    """RFC 8445 §5.1.2.1: relayed candidates come last, so a path has no more of them than it needs."""
    assert outcome(*pair, "TURN").types != ("relay", "relay")


@pytest.mark.parametrize(
    "kinds",
    [
        (OPEN_SYMMETRIC, OPEN_SYMMETRIC),
        (OPEN_SYMMETRIC, HALF_OPEN_SYMMETRIC),
        (HALF_OPEN_SYMMETRIC, OPEN_SYMMETRIC),
    ],
)
def test_checks_that_are_answered_from_elsewhere_do_not_starve_the_relays(kinds):
    """RFC 8445 §7.2.5.2.1: such an answer fails the check; each check makes both sides show a new port."""
    network = VirtualNetwork(seed=1, delay=DELAY)
    nats = [
        network.nat(name, outside=[address], kind=kind)
        for kind, name, address in zip(kinds, "AB", ["198.51.100.1", "198.51.100.2"], strict=True)
    ]
    result = nat_matrix.connect(network, (nats[0].host("left"), nats[1].host("right")), "TURN")
    assert result.seconds is not None, result.reason
    assert result.seconds < 3.0
    made = [nat.stats.mappings for nat in nats]
    network.run(60.0)
    assert [nat.stats.mappings for nat in nats] == made, "checks go on making ports"
    assert max(made) < 100


@pytest.mark.parametrize("place", NEIGHBORS)
def test_neighbors_meet_behind_their_nat_if_it_lets_them(place):
    """RFC 4787 REQ-9: two homes of one provider need hairpinning, or a relay."""
    results = {servers: neighbors(place, servers) for servers in SERVERS}
    at_home = place == "one home"
    hairpins = bool(NEIGHBORS[place].get("hairpinning"))
    assert results["none"].is_direct == at_home
    assert results["STUN"].is_direct == results["TURN"].is_direct == (at_home or hairpins)
    assert results["TURN"].seconds is not None


def test_the_page_is_up_to_date():
    """What is written is what happens; `python tests/conformance/nat_matrix.py` writes it anew."""
    assert DOCUMENT.read_text(encoding="utf-8") == page()


def test_the_page_is_written_by_the_program_that_it_names():
    assert f"python tests/conformance/{nat_matrix.__name__}.py" in page()
