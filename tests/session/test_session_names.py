"""mDNS names for addresses: the peer's candidates wait for answers, our own addresses hide."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from session_support import ADDRESS_A, ADDRESS_B, Sessions

from rtcstack import ice
from rtcstack.datachannel import ChannelConfig
from rtcstack.session import LocalCandidate, LocalDescription, PeerSession, SessionOptions
from rtcstack.session.names import is_local_name

NAME = "0b7a1c5e-58ee-4a0f-9e6a-0d5c0f1f5b1d.local"


def line(number: int, address: str = NAME, port: int = 5002, ufrag: str = "") -> str:
    extension = f" ufrag {ufrag}" if ufrag else ""
    return f"candidate:{number} 1 udp {2**31 - 2 - number} {address} {port} typ host{extension}"


def sessions(**options: Any) -> tuple[PeerSession, PeerSession]:
    """Return an offerer and an answerer with descriptions exchanged, and no candidate of either."""
    a = PeerSession(random_bytes=random.Random("a").randbytes, options=SessionOptions(**options))
    b = PeerSession(random_bytes=random.Random("b").randbytes)
    a.create_channel(ChannelConfig("chat"), None, 0.0)
    a.create_offer()
    (offer,) = [event.sdp for event in a.take_events() if isinstance(event, LocalDescription)]
    b.set_remote_description("offer", offer, 0.0)
    (answer,) = [event.sdp for event in b.take_events() if isinstance(event, LocalDescription)]
    a.set_remote_description("answer", answer, 0.0)
    return a, b


def destinations(session: PeerSession) -> set[tuple[str, int]]:
    """Tell where a session sends its checks in the first virtual second."""
    session.add_local_address(ADDRESS_A)
    session.end_of_local_candidates()
    found = set()
    for tick in range(100):
        now = tick / 100
        if session.deadline <= now:
            session.handle_timeout(now)
        found |= {remote for _, remote, _ in session.take_packets(now)}
    return found


def test_a_candidate_with_a_name_is_used_when_the_name_is_resolved() -> None:
    """draft-ietf-mmusic-mdns-ice-candidates §3.2.1."""
    a, _ = sessions()
    a.add_remote_candidate(line(1))
    assert a.asks_mdns
    assert a.take_local_names() == [NAME]
    assert not a.asks_mdns
    a.local_name_resolved(NAME, ["10.0.0.2"], "")
    assert destinations(a) == {ADDRESS_B}
    assert a.take_lookups() == []


def test_a_name_is_asked_for_once_for_all_its_candidates_early_and_late() -> None:
    a, _ = sessions()
    a.add_remote_candidate(line(1))
    a.add_remote_candidate(line(2, NAME.upper(), 6002))
    assert a.take_local_names() == [NAME]
    a.local_name_resolved(NAME, ["10.0.0.2"], "")
    a.add_remote_candidate(line(3, NAME, 7002))
    assert a.take_local_names() == []
    assert destinations(a) == {("10.0.0.2", port) for port in (5002, 6002, 7002)}


def test_a_name_that_nobody_answers_for_costs_its_own_candidate_only() -> None:
    a, _ = sessions()
    a.add_remote_candidate(line(1))
    a.add_remote_candidate(line(2, "10.0.0.2", 6002))
    a.local_name_resolved(a.take_local_names()[0], [], "no answer")
    assert destinations(a) == {("10.0.0.2", 6002)}
    assert a.drops["unresolved_name"] == 1


def test_the_end_of_candidates_waits_for_names() -> None:
    """RFC 8838 §14: after it the agent takes no more, and these came before it."""
    a, _ = sessions()
    a.add_remote_candidate(line(1))
    a.add_remote_candidate("")
    a.local_name_resolved(a.take_local_names()[0], ["10.0.0.2"], "")
    a.add_remote_candidate(line(2, "10.0.0.3", 6002))
    assert destinations(a) == {ADDRESS_B}
    assert a.get_stats().drops == {"ice.remote_late": 1}


@pytest.mark.parametrize("address", ["example.org", "a.b.local", ".local", "local", "a_.local.org"])
def test_no_other_name_is_resolved(address: str) -> None:
    assert not is_local_name(address)
    a, _ = sessions()
    a.add_remote_candidate(line(1, address))
    assert not a.asks_mdns
    assert a.take_local_names() == a.take_lookups() == []
    assert a.get_stats().drops == {"ice.remote_host_name": 1}


def test_behind_a_relay_nothing_is_asked_of_the_local_network() -> None:
    """RFC 8828 mode 4."""
    a, _ = sessions(ice=ice.Options(relay_only=True))
    a.add_remote_candidate(line(1))
    assert not a.asks_mdns
    assert a.get_stats().drops == {"ice.remote_host_name": 1}


def test_names_are_bounded_at_a_time_and_in_all() -> None:
    a, _ = sessions(max_names=20, max_names_at_once=8)
    names = [f"host-{i}.local" for i in range(30)]
    for i, name in enumerate(names):
        a.add_remote_candidate(line(i, name))
    asked: list[str] = []
    while a.asks_mdns:
        batch = a.take_local_names()
        assert len(batch) <= 8
        asked += batch
        assert a.take_local_names() == []
        for name in batch:
            a.local_name_resolved(name, [], "no answer")
    assert asked == names[:20]
    assert a.drops["name_overflow"] == 10


def test_answers_to_nothing_that_was_asked_change_nothing() -> None:
    a, _ = sessions()
    a.local_name_resolved(NAME, ["10.0.0.2"], "")
    a.add_remote_candidate(line(1))
    a.local_name_resolved(NAME, ["10.0.0.2"], "")  # not handed out yet
    assert a.take_local_names() == [NAME]
    a.local_name_resolved(NAME, ["nonsense", "224.0.0.1"], "")
    assert destinations(a) == set()
    PeerSession(random_bytes=random.Random(1).randbytes).local_name_resolved(NAME, ["10.0.0.2"], "")


def test_after_the_end_no_name_is_wanted() -> None:
    a, _ = sessions()
    a.add_remote_candidate(line(1))
    a.abort()
    assert not a.asks_mdns
    a.local_name_resolved(NAME, ["10.0.0.2"], "")


def test_a_name_of_an_earlier_generation_is_not_used_in_the_next() -> None:
    pair = Sessions().connect()
    (ufrag,) = {
        found[1]
        for event in pair.events[pair.b]
        if isinstance(event, LocalCandidate) and (found := re.search(r"ufrag (\S+)", event.line))
    }
    pair.a.add_remote_candidate(line(9, ufrag=ufrag))
    assert pair.a.take_local_names() == [NAME]
    pair.a.create_offer(restart_ice=True)
    pair.run(5.0)
    pair.a.local_name_resolved(NAME, ["10.0.0.77"], "")
    assert pair.a.get_stats().drops["ice.remote_other_generation"] == 1


def test_hidden_addresses_are_told_to_mdns_alone() -> None:
    """draft-ietf-mmusic-mdns-ice-candidates §3.1."""
    a, _ = sessions(hide_addresses=True, ice=ice.Options(hide_related=True))
    for ip in ("10.0.0.1", "fd00::1"):
        a.add_local_address((ip, 5001))
    a.end_of_local_candidates()
    lines = [event.line for event in a.take_events() if isinstance(event, LocalCandidate)]
    assert a.asks_mdns
    hidden = a.take_hidden_addresses()
    assert not a.asks_mdns
    assert [address for _, address in hidden] == ["10.0.0.1", "fd00::1"]
    for (name, address), text in zip(hidden, lines, strict=True):
        assert re.fullmatch(
            r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.local", name
        )
        assert f" {name} 5001 typ host" in text
        assert name in a.local_description
        assert address not in text + a.local_description
    assert a.take_hidden_addresses() == []


def test_addresses_are_not_hidden_unless_asked_for() -> None:
    a, b = sessions()
    b.add_local_address(ADDRESS_B)
    assert ADDRESS_B[0] in b.local_description
    assert a.take_hidden_addresses() == []
