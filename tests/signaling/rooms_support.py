"""A signaling server without sockets, and what its peers have been told."""

from __future__ import annotations

import random
from typing import Any

from rtcstack.signaling.limits import Limits
from rtcstack.signaling.lobbies import Close
from rtcstack.signaling.messages import Kind, Message
from rtcstack.signaling.rooms import Rooms

Heard = tuple[str, int, str] | Close


class Table:
    """Rooms with a clock, and an inbox for each peer: (kind's name, id, data) or Close."""

    def __init__(self, limits: Limits | None = None, seed: int = 7, **options: Any) -> None:
        self.rooms = Rooms(limits or Limits(), random.Random(seed).randbytes, **options)
        self.now = 100.0
        self.heard: dict[int, list[Heard]] = {}
        self.tickets: dict[int, str] = {}
        self._count = 0

    def connect(self) -> int:
        self._count += 1
        self.heard[self._count] = []
        self.rooms.connect(self._count, self.now)
        self.collect()
        return self._count

    def say(self, peer: int, data: str | bytes | Message) -> None:
        self.rooms.receive(peer, data.write() if isinstance(data, Message) else data, self.now)
        self.collect()

    def go(self, peer: int, *, is_final: bool = True) -> None:
        self.rooms.disconnect(peer, self.now, is_final=is_final)
        self.collect()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.rooms.deadline <= until:
            self.now = max(self.now, self.rooms.deadline)
            self.rooms.handle_timeout(self.now)
            self.collect()
        self.now = until

    def collect(self) -> None:
        for peer, said in self.rooms.take_output():
            if isinstance(said, str):
                said = Message.parse(said)
            if isinstance(said, Close):
                self.heard[peer].append(said)
                continue
            if said.resume is not None:
                self.tickets[peer] = said.resume
            self.heard[peer].append((Kind(said.kind).name, said.id, said.data))

    def take(self, peer: int) -> list[Heard]:
        heard, self.heard[peer] = self.heard[peer], []
        return heard

    def host(self, *, is_mesh: bool = True, resume: str | None = None) -> tuple[int, str]:
        """Connect a peer that creates a lobby; returns it and the lobby's name."""
        peer = self.connect()
        self.say(peer, Message(Kind.JOIN, 0 if is_mesh else 1, "", resume))
        heard = self.take(peer)
        assert heard[0] == ("ID", 1, "true" if is_mesh else "")
        assert heard[1][:2] == ("JOIN", 0)
        return peer, heard[1][2]

    def join(self, lobby: str, resume: str | None = None) -> tuple[int, int]:
        """Connect a peer that joins a lobby; returns it and its id, and clears its inbox."""
        peer = self.connect()
        self.say(peer, Message(Kind.JOIN, 0, lobby, resume))
        heard = self.take(peer)
        assert heard[0][0] == "ID", heard
        return peer, heard[0][1]


class Cluster:
    """Servers that meet through a broker, which may be down or lose what it is given."""

    def __init__(self, count: int = 2, limits: Limits | None = None) -> None:
        self.tables = {
            name: Table(limits, seed=seed, is_clustered=True) for seed, name in enumerate("ABCDEFGH"[:count])
        }
        self.directory: dict[str, str] = {}
        self.is_up = True
        self.dead: set[str] = set()
        self.published = 0

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]

    def settle(self) -> None:
        """Carry out what the servers ask of the broker until nothing is left."""
        is_busy = True
        while is_busy:
            is_busy = False
            for name, table in self.tables.items():
                if name not in self.dead:
                    is_busy |= self._serve(name, table)

    def wait(self, seconds: float, step: float = 0.1) -> None:
        """Let time pass for all."""
        for _ in range(round(seconds / step)):
            for name, table in self.tables.items():
                if name not in self.dead:
                    table.now += step
                    table.rooms.handle_timeout(table.now)
            self.settle()

    def come_back(self) -> None:
        """The broker is up again: it has forgotten everything."""
        self.is_up = True
        self.directory = {
            lobby: name for name, table in self.tables.items() for lobby in table.rooms.lobby_names
        }
        for table in self.tables.values():
            table.rooms.broker_back(table.now)
        self.settle()

    def _serve(self, name: str, table: Table) -> bool:
        table.collect()
        opened, closed = table.rooms.take_changes()
        lookups = table.rooms.take_lookups()
        frames = table.rooms.take_frames(table.now)
        if self.is_up:
            self.directory |= dict.fromkeys(opened, name)
            for lobby in closed:
                self.directory.pop(lobby, None)
        for lobby in lookups:
            if self.is_up:
                table.rooms.found(lobby, self.directory.get(lobby), table.now)
            else:
                table.rooms.lookup_failed(lobby, table.now)
        for server, frame in frames:
            self.published += 1
            if self.is_up and server not in self.dead:
                receiver = self.tables[server]
                receiver.rooms.receive_frame(name, frame, receiver.now)
        table.collect()
        return bool(lookups or frames)
