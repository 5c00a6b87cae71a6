"""What the demo's clients said to its GDScript server, said to ours: the recorded answers come back."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from rooms_support import Heard, Table

from rtcstack.signaling.lobbies import Close
from rtcstack.signaling.messages import RELAYED, Kind, Message

TRANSCRIPT = json.loads(
    (Path(__file__).parents[1] / "captures" / "godot" / "signaling_transcript.json").read_text("utf-8")
)


class Replay:
    """Plays one recorded story; ids and lobbies that each server drew are matched as they turn up."""

    def __init__(self, story: str) -> None:
        self.table = Table()
        self.peers: dict[str, int] = {}
        self.recorded: dict[str, list[Heard]] = defaultdict(list)
        self.ours: dict[str, int] = {}
        self._lobbies: dict[str, str] = {}
        self._ids: dict[int, int] = {0: 0, 1: 1}
        for event in TRANSCRIPT[story]:
            if "client" in event:
                self.table.wait(event["ms"] / 1000 + 100 - self.table.now)
                self._play(event["client"], event)

    def heard(self, client: str) -> list[Heard]:
        """What our server told a client, in the recorded server's ids and lobbies."""
        ids = {ours: theirs for theirs, ours in self._ids.items()}
        lobbies = {ours: theirs for theirs, ours in self._lobbies.items()}
        return [
            said
            if isinstance(said, Close)
            else (said[0], ids[said[1]], lobbies.get(said[2], "") if said[0] == "JOIN" else said[2])
            for said in self.table.heard[self.peers[client]]
        ]

    def _play(self, client: str, event: dict[str, Any]) -> None:
        is_from_client = event["dir"] == "c->s"
        if "handshake" in event and is_from_client:
            self.peers[client] = self.table.connect()
        elif event.get("opcode") == 2:
            self.table.say(self.peers[client], bytes.fromhex(event["hex"]))
        elif "text" in event and "... (" not in event["text"][-30:]:  # but not what was shortened
            if is_from_client:
                self._say(client, event["text"])
            else:
                self._expect(client, Message.parse(event["text"]))
        elif "close" in event:
            if is_from_client:
                self.table.go(self.peers[client])
            else:
                self.recorded[client].append(Close(*event["close"]))

    def _say(self, client: str, text: str) -> None:
        try:
            message = Message.parse(text)
        except ValueError:
            self.table.say(self.peers[client], text)
            return
        data = self._lobbies.get(message.data, message.data) if message.kind == Kind.JOIN else message.data
        destination = message.id if message.kind == Kind.JOIN else self._ids.get(message.id, message.id)
        self.table.say(self.peers[client], Message(message.kind, destination, data))

    def _expect(self, client: str, message: Message) -> None:
        told = self.table.heard[self.peers[client]]
        if isinstance(told[0], Close):
            pass
        elif message.kind == Kind.ID:
            self._ids[message.id] = told[0][1]
        elif message.kind == Kind.JOIN and message.data not in self._lobbies:
            self._lobbies[message.data] = told[-1][2]
        self.recorded[client].append((Kind(message.kind).name, message.id, message.data))


def by_sender(heard: list[Heard]) -> tuple[list[Heard], dict[int, list[Heard]]]:
    """What the server itself says, in order, and what each member says: who of two speaks first is chance."""
    of_server: list[Heard] = []
    of_members: dict[int, list[Heard]] = defaultdict(list)
    for said in heard:
        if not isinstance(said, Close) and Kind[said[0]] in RELAYED:
            of_members[said[1]].append(said)
        else:
            of_server.append(said)
    return of_server, of_members


@pytest.mark.parametrize("story", ["mesh", "relay"])
def test_three_clients_hear_what_the_demo_s_server_told_them(story: str) -> None:
    """Joins, offers, answers, candidates, a member that leaves, and the seal."""
    replay = Replay(story)
    complete = Close(1000, "Seal complete")
    for client in ("C1", "C2"):
        # The demo promises this close in its README, and only its Node server does it.
        assert by_sender(replay.heard(client)) == by_sender([*replay.recorded[client], complete])
    # Close frames that answer the client's own.
    assert by_sender(replay.heard("C3")) == by_sender(replay.recorded["C3"][:-1])
    # The GDScript server lets a newcomer believe that it joined a sealed lobby.
    assert [said[0] for said in replay.recorded["C4"]] == ["JOIN"]
    assert replay.heard("C4") == [Close(4000, "Lobby is sealed")]


def test_a_host_that_leaves_closes_the_others() -> None:
    replay = Replay("host_leaves")
    assert replay.heard("C1") == replay.recorded["C1"][:-1]
    assert replay.recorded["C2"][-1] == Close(1000, "")
    assert replay.heard("C2") == [
        *replay.recorded["C2"][:-1],
        Close(4000, "Room host has disconnected"),
    ]
    assert replay.heard("C3") == [Close(4000, "Lobby does not exists")]


def test_errors_are_closed_with_the_node_server_s_code_and_reason_where_gdscript_says_1000() -> None:
    replay = Replay("errors")
    reasons = {
        "C1": "Have not joined lobby yet",
        "C2": "Invalid message format",
        "C3": "Invalid message format",
        "C4": "Invalid message format",
        "C6": "Invalid message format",
        "C7": "Invalid message format",
        "C10": "Lobby does not exists",
        "C11": "Invalid message when not in a lobby",
        "C12": "Invalid message when not in a lobby",
        "C13": "Invalid message when not in a lobby",
        "C14": "Already in a lobby",
        "C15": "Invalid destination",
        "C16": "Invalid command",
        "C18": "Invalid command",
        "C25": "Only host can seal the lobby",
        "C28": "Only host can seal the lobby",
    }
    for client, reason in reasons.items():
        assert replay.recorded[client][-1] == Close(1000, ""), client
        assert replay.heard(client) == [*replay.recorded[client][:-1], Close(4000, reason)], client
    for client in ("C8", "C17", "C19", "C21", "C22", "C24", "C29", "C30"):
        assert replay.heard(client)[: len(replay.recorded[client])] == replay.recorded[client], client


def test_a_binary_frame_is_refused_as_by_the_node_server() -> None:
    assert Replay("errors").heard("C9") == [Close(4000, "Invalid transfer mode, must be text")]


def test_the_recorded_errors_that_ours_forgives() -> None:
    """Missing data counts as none, as in the Node server; a message to one just kicked is dropped."""
    replay = Replay("errors")
    assert [said[0] for said in replay.heard("C5")][:2] == ["ID", "JOIN"]
    for host in ("C23", "C26"):
        assert replay.recorded[host][-1] == Close(1000, "")
        assert not any(isinstance(said, Close) for said in replay.heard(host))
        assert replay.heard(host)[-1][0] == "PEER_DISCONNECT"
