"""How long things take, in virtual time: offers, paths, channels, and the end of a peer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from peer_support import CHAT

from rtcstack import Closed, PeerConnection
from rtcstack.testing import StunServer, TurnServer, VirtualNetwork

RTT = 0.1
DEAD = [
    {"urls": "stun:203.0.113.1"},
    {"urls": ["turn:203.0.113.2", "turn:203.0.113.2?transport=tcp"], "username": "u", "credential": "p"},
    {"urls": "stun:nowhere.example.org"},
    {"urls": "turns:203.0.113.77", "username": "u", "credential": "p"},
]


class Call:
    """Two peers, 100 ms apart; signaling takes no time."""

    def __init__(self, configuration: dict[str, Any] | None = None) -> None:
        self.network = VirtualNetwork(seed=1, delay=RTT / 2)
        for server in (
            StunServer.on(self.network.host("stun", ["203.0.113.1"])),
            TurnServer.on(self.network.host("turn", ["203.0.113.2"])),
        ):
            server.is_silent = True
        self.a, self.b = self.both = tuple(
            PeerConnection(
                configuration, network=self.network.host(name), random_bytes=random.Random(name).randbytes
            )
            for name in "ab"
        )
        self.chat_a, self.chat_b = (peer.create_data_channel("chat", CHAT) for peer in self.both)
        self.at: dict[str, float] = {}
        self.a.connection_state_changed.connect(lambda state: self.note(state.name))
        self.a.selected_pair_changed.connect(lambda *_: self.note("path"))
        self.a.session_description_created.connect(lambda *_: self.note("description"))
        self.a.ice_candidate_created.connect(lambda *_: self.note("candidate"))
        self.chat_a.opened.connect(lambda: self.note("open"))
        for peer, other in (self.both, self.both[::-1]):
            peer.session_description_created.connect(other.set_remote_description)
            peer.ice_candidate_created.connect(other.add_ice_candidate)

    def note(self, what: str) -> None:
        """Remember when something happened for the first time."""
        self.at.setdefault(what, self.network.now)

    def run(self, until: Callable[[], object], limit: float = 60.0, *, only: bool = False) -> bool:
        peers = (self.a,) if only else self.both
        return self.network.run(lambda: bool(until()), limit=limit, peers=peers)

    def connected(self) -> Call:
        self.a.create_offer()
        assert self.run(lambda: "open" in self.at)
        self.run(lambda: False, limit=1.0)
        self.at.clear()
        return self


def test_an_offer_waits_for_no_server() -> None:
    """RFC 8838 §4, §6: the description goes at once, candidates follow; here every server is dead."""
    call = Call({"iceServers": DEAD})
    call.a.create_offer()
    call.run(lambda: "candidate" in call.at)
    assert call.at["description"] == call.at["candidate"] == 0.0
    assert call.run(lambda: "open" in call.at)
    assert call.at["open"] < 0.5
    assert call.a.get_gathering_state() == call.a.GATHERING_STATE_GATHERING


def test_ice_needs_one_round_trip_and_the_channel_is_open_within_five() -> None:
    """RFC 8445 §7.2.5.3: from descriptions and candidates to a path; then DTLS and the SCTP handshake."""
    call = Call({"snap": False})
    call.a.create_offer()
    assert call.run(lambda: "open" in call.at)
    assert call.at["path"] == pytest.approx(RTT, abs=0.001)
    assert call.at["open"] < 0.5


def test_with_the_init_in_the_descriptions_it_is_open_within_three() -> None:
    """draft-hancke-tsvwg-snap: the SCTP handshake has been done by signaling."""
    call = Call({"snap": True})
    call.a.create_offer()
    assert call.run(lambda: "open" in call.at)
    assert call.at["open"] <= 0.3 + 0.001


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_killed_peer_is_disconnected_in_five_to_seven_seconds_and_failed_at_thirty(is_busy: bool) -> None:
    """RFC 7675 §5.1: consent ends 30 s after the last answer, whatever was sent meanwhile."""
    call = Call().connected()
    if is_busy:
        call.chat_b.put_packet("the last that is heard of it")
        assert call.run(call.chat_a.get_available_packet_count)
    killed = call.network.now
    call.network.change(loss=1.0)
    assert call.run(lambda: "FAILED" in call.at, limit=40.0, only=True)
    answered = killed - 6.0  # a question is asked every 4 to 6 s, so the last answer may be so old
    if is_busy:
        assert 5.0 <= call.at["DISCONNECTED"] - killed <= 7.0 + RTT
    else:
        assert 0.0 <= call.at["DISCONNECTED"] - killed <= 7.0 + RTT
    assert answered + 30.0 <= call.at["FAILED"] <= killed + 30.0


def test_a_peer_that_closes_is_noticed_within_one_round_trip() -> None:
    """RFC 9260 §9.2: by its SHUTDOWN; the connection is CLOSED when the three-way goodbye is complete."""
    call = Call().connected()
    start = call.network.now
    call.b.close()
    assert call.run(lambda: call.chat_a.get_ready_state() >= call.chat_a.STATE_CLOSING)
    assert call.network.now - start <= RTT + 0.001
    with pytest.raises(Closed, match="by the peer"):
        call.chat_a.put_packet("too late")
    assert call.run(lambda: "CLOSED" in call.at)
    assert call.at["CLOSED"] - start <= 1.5 * RTT + 0.001


def test_a_peer_that_aborts_is_noticed_within_one_round_trip() -> None:
    """RFC 9260 §9.1: ABORT, and close_notify."""
    call = Call().connected()
    start = call.network.now
    call.b.abort()
    assert call.run(lambda: "CLOSED" in call.at)
    assert call.at["CLOSED"] - start <= RTT + 0.001
