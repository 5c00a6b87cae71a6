"""While nothing but checks comes only ICE is asked, and whatever else happens is seen to at once."""

from __future__ import annotations

import math

import pytest
from session_support import ADDRESS_A, ADDRESS_B, Sessions

from rtcstack.session import ConnectionState, PeerSession


def check_of_a(s: Sessions) -> list[bytes]:
    """Run until A asks for consent; return what it sends."""
    for _ in range(2000):
        s.now = max(s.now, min(s.a.deadline, s.b.deadline))
        for session, other in ((s.b, s.a), (s.a, s.b)):
            if session.deadline <= s.now:
                session.handle_timeout(s.now)
            for local, remote, datagrams in session.take_packets(s.now):
                if session is s.a and datagrams[0][0] < 4:
                    return datagrams
                other.receive(remote, local, datagrams, s.now)
    pytest.fail("A never asks")


def idle() -> tuple[Sessions, list[bytes]]:
    s = Sessions().connect()
    s.run(20.0)
    return s, check_of_a(s)


def kinds(session: PeerSession, now: float) -> list[str]:
    batches = session.take_packets(now)
    return ["check" if each[0] < 4 else "record" for _, _, batch in batches for each in batch]


def test_a_check_is_answered_and_leaves_nothing_to_do() -> None:
    s, checks = idle()
    s.b.receive(ADDRESS_B, ADDRESS_A, checks, s.now)
    assert s.b.deadline == -math.inf
    assert set(kinds(s.b, s.now)) == {"check"}
    assert s.now < s.b.deadline < s.now + 10.0
    assert kinds(s.b, s.now) == []


def test_a_message_sent_before_the_answer_has_left_goes_with_it() -> None:
    s, checks = idle()
    s.b.receive(ADDRESS_B, ADDRESS_A, checks, s.now)
    s.b.send(s.channel_b, b"now", False, s.now)
    assert {"check", "record"} == set(kinds(s.b, s.now))


def test_a_check_that_comes_while_a_message_waits_does_not_hold_it_up() -> None:
    s, checks = idle()
    s.b.send(s.channel_b, b"now", False, s.now)
    s.b.receive(ADDRESS_B, ADDRESS_A, checks, s.now)
    assert {"check", "record"} == set(kinds(s.b, s.now))


def test_a_driver_of_many_is_told_of_a_check_and_of_a_message() -> None:
    s, checks = idle()
    told: list[str] = []
    s.b.woken = lambda: told.append("woken")
    s.b.receive(ADDRESS_B, ADDRESS_A, checks, s.now)
    assert told
    told.clear()
    s.b.send(s.channel_b, b"now", False, s.now)
    assert told


def test_the_timers_of_other_layers_run_while_only_checks_come() -> None:
    """RFC 9260 section 8.3: a heartbeat every 30 s, be there ever so many checks."""
    s = Sessions().connect()
    s.run(5.0)
    before = s.a.get_stats().sctp
    s.run(200.0)
    after = s.a.get_stats().sctp
    assert before is not None
    assert after is not None
    assert after.heartbeats_sent - before.heartbeats_sent >= 5
    assert s.a.connection_state is ConnectionState.CONNECTED


def test_a_closing_session_says_goodbye_though_a_check_comes_first() -> None:
    s, checks = idle()
    s.b.abort()
    s.b.receive(ADDRESS_B, ADDRESS_A, checks, s.now)
    assert "record" in kinds(s.b, s.now)
