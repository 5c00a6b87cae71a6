"""Every public method of a session: what changes it asks to be driven at once, the rest changes nothing."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from contextlib import suppress

import pytest
from session_support import ADDRESS_A, ADDRESS_B, Sessions

from rtcstack.datachannel import ChannelConfig
from rtcstack.errors import RTCError
from rtcstack.session import PeerSession

COMMANDS: dict[str, Callable[[Sessions], object]] = {
    "abort": lambda s: s.a.abort(),
    "add_local_address": lambda s: s.a.add_local_address(("10.0.0.9", 5009)),
    "add_relay_address": lambda s: s.a.add_relay_address(("10.0.0.9", 5010)),
    "add_remote_candidate": lambda s: s.a.add_remote_candidate(""),
    "add_tcp_address": lambda s: s.a.add_tcp_address(("10.0.0.9", 5010), "passive"),
    "close": lambda s: s.a.close(s.now),
    "close_channel": lambda s: s.a.close_channel(s.channel_a),
    "create_answer": lambda s: s.a.create_answer(s.now),
    "create_channel": lambda s: s.a.create_channel(ChannelConfig("more"), None, s.now),
    "create_offer": lambda s: s.a.create_offer(),
    "end_of_local_candidates": lambda s: s.a.end_of_local_candidates(),
    "handle_timeout": lambda s: s.a.handle_timeout(s.now),
    "local_name_resolved": lambda s: s.a.local_name_resolved("x.local", [], "nobody has answered"),
    "receive": lambda s: s.a.receive(ADDRESS_A, ADDRESS_B, [b"neither STUN nor DTLS"], s.now),
    "remove_local_address": lambda s: s.a.remove_local_address(("10.0.0.9", 5009)),
    "resolved": lambda s: s.a.resolved("stun.example.org", [], "there is no such name"),
    "route_found": lambda s: s.a.route_found(1500),
    "send": lambda s: s.a.send(s.channel_a, b"payload", False, s.now),
    "set_buffered_amount_low_threshold": lambda s: s.a.set_buffered_amount_low_threshold(s.channel_a, 0),
    "set_local_description": lambda s: s.a.set_local_description("rollback", ""),
    "set_remote_description": lambda s: s.a.set_remote_description("offer", "", s.now),
    "stream_closed": lambda s: s.a.stream_closed(ADDRESS_A, "refused", s.now),
    "stream_opened": lambda s: s.a.stream_opened(ADDRESS_A, s.now),
    "tcp_closed": lambda s: s.a.tcp_closed(ADDRESS_A, ADDRESS_B, s.now),
    "tcp_opened": lambda s: s.a.tcp_opened(ADDRESS_A, ADDRESS_B, s.now),
}
"""How to call each method that changes the session; whether it succeeds does not matter here."""

CHANGE_NOTHING = {
    "buffered_amount",
    "explain",
    "get_stats",
    "hand_over",
    "release",  # as take_message
    "has_checked",
    "take_connects",
    "take_events",
    "take_hidden_addresses",
    "take_local_names",
    "take_lookups",
    "take_message",  # until so much is taken that the peer should know, see below
    "take_packets",  # the one that sets the deadline
    "take_stream_requests",
}


def test_no_public_method_is_forgotten_here():
    methods = {name for name, _ in inspect.getmembers(PeerSession, inspect.isfunction) if name[0] != "_"}
    assert methods == COMMANDS.keys() | CHANGE_NOTHING


@pytest.mark.parametrize("name", COMMANDS)
def test_after_a_command_the_driver_is_wanted_at_once(name):
    sessions = Sessions().connect()
    sessions.a.take_packets(sessions.now)
    assert sessions.a.deadline > sessions.now
    with suppress(RTCError):
        COMMANDS[name](sessions)
    assert sessions.a.deadline == -math.inf


def test_taking_messages_wants_the_driver_when_the_peer_should_know_of_the_room():
    sessions = Sessions().connect()
    for _ in range(8):
        sessions.b.send(sessions.channel_b, bytes(50_000), False, sessions.now)
    sessions.run(1.0)
    for _ in range(5):
        sessions.a.take_message(sessions.channel_a)
        assert sessions.a.deadline > sessions.now
    sessions.a.take_message(sessions.channel_a)  # 300,000 bytes: more than a quarter of the window
    assert sessions.a.deadline == -math.inf


def test_giving_back_what_was_handed_over_does_the_same():
    sessions = Sessions().connect()
    for _ in range(8):
        sessions.b.send(sessions.channel_b, bytes(50_000), False, sessions.now)
    sessions.run(1.0)
    assert list(sessions.a.hand_over(sessions.channel_a)) == [(bytes(50_000), False)] * 8
    assert not sessions.a.hand_over(sessions.channel_a)
    sessions.a.release(250_000)
    assert sessions.a.deadline > sessions.now
    sessions.a.release(50_000)
    assert sessions.a.deadline == -math.inf
