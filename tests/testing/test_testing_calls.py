"""Calls through NATs that go on: short timers, routers that restart, servers that vanish."""

from __future__ import annotations

import pytest
from nat_peers import LOGIN, USERS, Peers

from rtcstack.testing import (
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    NatKind,
    StunServer,
    TurnServer,
    VirtualNetwork,
)


class Call(Peers):
    """Two connected peers behind NATs, with a STUN and a TURN server."""

    def __init__(self, left: NatKind, right: NatKind, timeout: float = 120.0) -> None:
        network = VirtualNetwork(seed=1, delay=0.03)
        self.stun = StunServer.on(network.host("stun", ["203.0.113.1"]))
        self.turn = TurnServer.on(network.host("turn", ["203.0.113.2"]), users=USERS)
        self.nats = [
            network.nat(f"home {n}", [f"198.51.100.{n}"], kind=kind, timeout=timeout)
            for n, kind in enumerate((left, right), 1)
        ]
        hosts = [nat.host(f"host {n}") for n, nat in enumerate(self.nats)]
        super().__init__(network, hosts, {"urls": self.stun.url}, {"urls": self.turn.url, **LOGIN})
        assert self.open()
        self.run(15.0)


@pytest.mark.parametrize("kinds", [(PORT_RESTRICTED, PORT_RESTRICTED), (PORT_RESTRICTED, SYMMETRIC)])
def test_an_idle_call_outlives_the_timers_of_nats(kinds):
    """RFC 8445 section 11: something is sent at least every 15 s; the shortest timers known are of 20 s."""
    call = Call(*kinds, timeout=20.0)
    path = call.path()
    made = [nat.stats.mappings for nat in call.nats]
    call.run(900.0)
    call.say("still there?")
    call.run(1.0)
    assert call.heard() == [["still there?"]] * 2
    assert call.path() == path
    assert [nat.stats.mappings for nat in call.nats] == made


def test_a_call_survives_a_router_that_restarts_where_the_other_side_lets_it_in():
    """RFC 8445 section 7.3.1.3: the new outside address is learned from the next check."""
    call = Call(PORT_RESTRICTED, FULL_CONE)
    assert call.path() == ("srflx", "srflx")
    call.nats[0].forget()
    call.run(60.0)
    assert call.is_connected()
    call.say("hello again")
    call.run(1.0)
    assert call.heard() == [["hello again"]] * 2


def test_a_relayed_call_ends_with_its_server_and_not_before():
    call = Call(PORT_RESTRICTED, SYMMETRIC)
    assert "relay" in call.path()
    call.run(1200.0)  # allocations last 600 s, permissions 300 s
    assert call.is_connected()
    call.turn.close()
    call.run(120.0)
    assert [peer.get_connection_state() for peer in call.both] == [peer.STATE_FAILED for peer in call.both]
