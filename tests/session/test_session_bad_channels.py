"""What a peer may put into the channels of a live session: nothing raises, nobody else suffers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_support import DEFAULTS, Sessions

from rtcstack.datachannel import ChannelClosed, ChannelReceived, ChannelState, Open
from rtcstack.session import ConnectionState

PPIDS = st.sampled_from([0, *range(49, 60)])
STREAMS = st.sampled_from([0, 1, 2, 3, 65534])
DCEP = st.builds(
    Open,
    label=st.text(max_size=4),
    ordered=st.booleans(),
    max_retransmits=st.none() | st.integers(0, 2**32 - 1),
    priority=st.integers(0, 65535),
).map(Open.write)
MESSAGES = st.tuples(STREAMS, st.just(50), DCEP) | st.tuples(
    STREAMS, PPIDS, st.binary(min_size=1, max_size=20)
)


def test_a_channel_announced_with_priority_0_opens() -> None:
    """libdatachannel announces every channel so."""
    sessions = Sessions().connect()
    sessions.b.channels.receive([(8, 50, Open("x", priority=0).write())])
    assert sessions.say("fine") == [(b"fine", True)]
    assert [e.channel.id for e in sessions.events[sessions.b] if isinstance(e, ChannelReceived)] == [8]


@settings(max_examples=25)
@given(st.lists(MESSAGES, max_size=20))
def test_whatever_the_peer_sends_on_its_streams_the_connection_lives(
    received: list[tuple[int, int, bytes]],
) -> None:
    sessions = Sessions().connect()
    sessions.b.channels.receive(received)
    sessions.run(0.5)
    assert sessions.b.connection_state is ConnectionState.CONNECTED
    sessions.run(0.5)
    sessions.say("fine")
    assert sessions.b.connection_state is ConnectionState.CONNECTED


def test_a_channel_whose_peer_never_closes_its_side_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """werift resets no stream on which it has sent nothing."""
    sessions = Sessions().connect()
    monkeypatch.setattr(sessions.b.channels, "take_resets", list)
    sessions.say("the last")
    sessions.a.close_channel(sessions.channel_a)
    sessions.run(DEFAULTS.close_timeout - 0.5)
    assert sessions.channel_a.state is ChannelState.CLOSING
    sessions.run(1.0)
    sessions.exchange()
    assert sessions.channel_a.state is ChannelState.CLOSED
    closed = [event for event in sessions.events[sessions.a] if isinstance(event, ChannelClosed)]
    assert closed == [ChannelClosed(sessions.channel_a, "closed by this side")]
    assert sessions.a.connection_state is ConnectionState.CONNECTED
