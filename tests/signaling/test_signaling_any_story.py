"""Whatever peers do, in whatever order: nothing raises, a close is the last word, no ghost stays."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rooms_support import Table

from rtcstack.signaling.limits import Limits
from rtcstack.signaling.lobbies import Close
from rtcstack.signaling.messages import Message

Step = tuple[str, int, int, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["connect", "create", "join", "resume", "say", "say", "garbage", "go", "lose", "wait"]
        ),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans())
def test_any_story_keeps_the_rules(steps: list[Step], is_mesh: bool) -> None:
    limits = Limits(max_peers=8, max_lobbies=3, max_members=4, peer_burst=40, peer_messages=5)
    table = Table(limits)
    peers: list[int] = []
    lobbies = [""]
    ids = [1]
    for what, first, second, kind in steps:
        if what == "connect" or not peers:
            peers.append(table.connect())
        peer = peers[first % len(peers)]
        match what:
            case "create":
                table.say(peer, Message(0, 0 if is_mesh else 1, "", "" if second % 2 else None))
            case "join":
                table.say(peer, Message(0, 0, lobbies[second % len(lobbies)], "" if kind % 2 else None))
            case "resume":
                tickets = list(table.tickets.values()) or ["none"]
                table.say(peer, Message(0, 0, lobbies[second % len(lobbies)], tickets[kind % len(tickets)]))
            case "say":
                table.say(peer, Message(kind, ids[second % len(ids)], "x"))
            case "garbage":
                table.say(peer, ["", "{}", "null", b"\0"][kind % 4])
            case "go":
                table.go(peer)
            case "lose":
                table.go(peer, is_final=False)
            case "wait":
                table.wait(second)
        for heard in table.heard.values():
            for said in heard:
                if not isinstance(said, Close) and said[0] == "JOIN" and said[2] not in lobbies:
                    lobbies.append(said[2])
                if not isinstance(said, Close) and said[0] == "ID" and said[1] not in ids:
                    ids.append(said[1])
    for heard in table.heard.values():
        closes = [at for at, said in enumerate(heard) if isinstance(said, Close)]
        assert closes in ([], [len(heard) - 1])
    for peer in peers:
        table.go(peer)
    table.wait(100)
    assert table.rooms.peer_count == 0
    assert table.rooms.lobby_names == ()
    assert table.rooms.deadline == float("inf")
