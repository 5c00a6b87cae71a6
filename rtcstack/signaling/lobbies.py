"""The rules of lobbies: who is told what when somebody joins, leaves, seals or speaks.  Sans-IO."""

from __future__ import annotations

import heapq
import hmac
import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rtcstack.signaling.limits import Limits
from rtcstack.signaling.messages import RELAYED, Kind, Message

__all__ = ["Close", "Lobbies", "RefusedError"]

Peer = TypeVar("Peer", bound=Hashable)

HOST = 1
"""The id that a lobby's creator is known by."""

PROTOCOL_ERROR = 4000
"""The close code of everything that the server refuses, as in the demo's Node server."""

NORMAL = 1000

_NAME_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_NAME_LENGTH = 32
"""Letters of a lobby's name, as GDScript's server makes them: 190 bits that nobody guesses."""

_REMEMBERED = 256
"""Ids of members that have left: what is still on its way to them is dropped without blame."""

_BACKLOG_LENGTH, _BACKLOG_SIZE = 512, 262_144
"""Messages, and characters of them, that may wait for a lost member; with more its seat is given up."""


@dataclass(frozen=True, slots=True)
class Close:
    """The end of a peer's connection: a WebSocket close code, and a reason of at most 123 bytes."""

    code: int
    reason: str


class RefusedError(Exception):
    """What a peer asks for is against the rules; the text is the close reason."""


@dataclass(slots=True, eq=False)
class _Member(Generic[Peer]):
    """A seat in a lobby.

    peer        who sits there; None while the connection is lost and the seat is kept.
    ticket      what buys the seat back; "" if it did not ask for one.
    backlog     offers, answers and candidates that wait for it; the rest it is told anew.
    """

    id: int
    peer: Peer | None
    ticket: str
    backlog: list[Message] = field(default_factory=list)
    backlog_size: int = 0
    kept_until: float = math.inf


@dataclass(slots=True, eq=False)
class _Lobby(Generic[Peer]):
    name: str
    is_mesh: bool
    members: dict[int, _Member[Peer]] = field(default_factory=dict)
    left: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    is_sealed: bool = False


class Lobbies(Generic[Peer]):
    """All lobbies of one server.

    Peer            any hashable value that stands for a connection; known from its JOIN until it leaves.
    random_bytes    n -> n bytes nobody can guess: names, ids and tickets come from it.

    As in every layer: input changes state, `take_output()` tells what to send, `deadline` when the clock is
    wanted.  Announcements follow the demo's GDScript server (in a lobby that is no mesh only the host and
    each client hear of each other), close codes and reasons its Node server.  Different from both: a seal
    keeps its promise even if the host goes, leaving after it tells nobody, and a message to somebody who has
    just left is dropped instead of punished.
    """

    def __init__(self, limits: Limits, random_bytes: Callable[[int], bytes]) -> None:
        self._limits = limits
        self._random_bytes = random_bytes
        self._lobbies: dict[str, _Lobby[Peer]] = {}
        self._seats: dict[Peer, tuple[_Lobby[Peer], _Member[Peer]]] = {}
        self._due: list[tuple[float, int, _Lobby[Peer], _Member[Peer] | None]] = []
        self._due_count = 0
        self._output: list[tuple[Peer, Message | Close]] = []
        self._opened: list[str] = []
        self._closed: list[str] = []
        self.relayed = 0

    def __len__(self) -> int:
        return len(self._lobbies)

    def __contains__(self, name: object) -> bool:
        return name in self._lobbies

    @property
    def names(self) -> tuple[str, ...]:
        """The lobbies that there are."""
        return tuple(self._lobbies)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Whoever sits in a lobby."""
        return tuple(self._seats)

    @property
    def deadline(self) -> float:
        """When handle_timeout() is due, seconds; math.inf while nothing is."""
        return self._due[0][0] if self._due else math.inf

    def take_output(self) -> list[tuple[Peer, Message | Close]]:
        """Hand over what to send, in order; after a Close nothing follows for that peer."""
        output, self._output = self._output, []
        return output

    def take_changes(self) -> tuple[list[str], list[str]]:
        """Hand over the names of lobbies opened, and of those closed, since the last call."""
        changes = self._opened, self._closed
        self._opened, self._closed = [], []
        return changes

    def receive(self, peer: Peer, message: Message, now: float) -> None:
        """Do what a peer asks for; one who breaks the rules is closed and leaves at once."""
        try:
            self._obey(peer, message, now)
        except RefusedError as refusal:
            self.close(peer, PROTOCOL_ERROR, str(refusal))

    def close(self, peer: Peer, code: int, reason: str) -> None:
        """Close a peer; it leaves its lobby for good."""
        self._output.append((peer, Close(code, reason)))
        seat = self._seats.pop(peer, None)
        if seat is not None:
            self._vacate(*seat)

    def leave(self, peer: Peer, now: float, *, is_final: bool = True) -> None:
        """A peer's connection has ended; unknown peers are ignored.

        is_final    False if it was lost rather than closed: its seat is kept for a while if it has a ticket.
        """
        seat = self._seats.pop(peer, None)
        if seat is None:
            return
        lobby, member = seat
        if is_final or not member.ticket:
            self._vacate(lobby, member)
            return
        member.peer = None
        member.kept_until = now + self._limits.resume_timeout
        self._at(member.kept_until, lobby, member)

    def handle_timeout(self, now: float) -> None:
        """End what was sealed long enough ago, and give up the seats of those who did not come back."""
        while self._due and self._due[0][0] <= now:
            _, _, lobby, member = heapq.heappop(self._due)
            if member is None:
                self._end(lobby, NORMAL, "Seal complete")
            elif member.peer is None and member.kept_until <= now:
                self._vacate(lobby, member)

    # -- what a peer may ask for -----------------------------------------------------------------------

    def _obey(self, peer: Peer, message: Message, now: float) -> None:
        seat = self._seats.get(peer)
        if message.kind == Kind.JOIN:
            if seat is not None:
                raise RefusedError("Already in a lobby")
            self._join(peer, message, now)
            return
        if seat is None:
            raise RefusedError("Invalid message when not in a lobby")
        lobby, member = seat
        if message.kind in RELAYED:
            self._relay(lobby, member, message)
        elif message.kind == Kind.SEAL:
            self._seal(lobby, member, now)
        else:
            raise RefusedError("Invalid command")

    def _join(self, peer: Peer, message: Message, now: float) -> None:
        name = message.data
        if not name:
            lobby = self._open(is_mesh=message.id == 0)
        elif name in self._lobbies:
            lobby = self._lobbies[name]
            if message.resume and self._resume(peer, lobby, message.resume):
                return
        else:
            raise RefusedError("Lobby does not exists")
        if lobby.is_sealed:
            raise RefusedError("Lobby is sealed")
        if len(lobby.members) >= self._limits.max_members:
            raise RefusedError("Lobby is full")
        has_ticket = message.resume is not None and self._limits.resume_timeout > 0
        member = _Member(self._new_id(lobby), peer, self._random_bytes(16).hex() if has_ticket else "")
        self._greet(lobby, member)
        for other in lobby.members.values():
            if lobby.is_mesh or other.id == HOST:
                self._tell(lobby, other, Message(Kind.PEER_CONNECT, member.id))
                self._tell(lobby, member, Message(Kind.PEER_CONNECT, other.id))
        lobby.members[member.id] = member
        self._seats[peer] = lobby, member
        self._tell(lobby, member, Message(Kind.JOIN, 0, lobby.name))

    def _resume(self, peer: Peer, lobby: _Lobby[Peer], ticket: str) -> bool:
        """Give a lost member its seat back, with what it has missed; False if the ticket is none of ours.

        The whole membership is told anew, up to JOIN: whom the member knows and does not hear of has left.
        """
        for member in lobby.members.values():
            if member.ticket and hmac.compare_digest(member.ticket.encode(), ticket.encode()):
                break
        else:
            return False
        if member.peer is not None:
            # The old connection is dead and nobody has noticed yet.
            del self._seats[member.peer]
            self._output.append((member.peer, Close(PROTOCOL_ERROR, "Resumed by another connection")))
        missed, member.backlog, member.backlog_size = member.backlog, [], 0
        member.peer, member.kept_until = peer, math.inf
        self._seats[peer] = lobby, member
        self._greet(lobby, member)
        for other in lobby.members.values():
            if other is not member and (lobby.is_mesh or HOST in (member.id, other.id)):
                self._tell(lobby, member, Message(Kind.PEER_CONNECT, other.id))
        self._tell(lobby, member, Message(Kind.JOIN, 0, lobby.name))
        for message in missed:
            self._tell(lobby, member, message)
        if lobby.is_sealed:
            self._tell(lobby, member, Message(Kind.SEAL))
        return True

    def _greet(self, lobby: _Lobby[Peer], member: _Member[Peer]) -> None:
        """Tell a member its id, and its ticket if it asked for one."""
        mesh = "true" if lobby.is_mesh else ""
        self._tell(lobby, member, Message(Kind.ID, member.id, mesh, member.ticket or None))

    def _relay(self, lobby: _Lobby[Peer], member: _Member[Peer], message: Message) -> None:
        destination = lobby.members.get(message.id)
        if destination is not None:
            self.relayed += 1
            self._tell(lobby, destination, Message(message.kind, member.id, message.data))
        elif message.id not in lobby.left:
            raise RefusedError("Invalid destination")

    def _seal(self, lobby: _Lobby[Peer], member: _Member[Peer], now: float) -> None:
        if member.id != HOST:
            raise RefusedError("Only host can seal the lobby")
        if lobby.is_sealed:
            return
        lobby.is_sealed = True
        self._at(now + self._limits.seal_timeout, lobby, None)
        self._tell_all(lobby, Message(Kind.SEAL))

    # -- lobbies ---------------------------------------------------------------------------------------

    def _open(self, *, is_mesh: bool) -> _Lobby[Peer]:
        if len(self._lobbies) >= self._limits.max_lobbies:
            raise RefusedError("Too many lobbies open, disconnecting")
        drawn = int.from_bytes(self._random_bytes(_NAME_LENGTH), "big")
        letters = []
        for _ in range(_NAME_LENGTH):
            drawn, letter = divmod(drawn, len(_NAME_LETTERS))
            letters.append(_NAME_LETTERS[letter])
        lobby: _Lobby[Peer] = _Lobby("".join(letters), is_mesh)
        self._lobbies[lobby.name] = lobby
        self._opened.append(lobby.name)
        return lobby

    def _new_id(self, lobby: _Lobby[Peer]) -> int:
        """Draw an id that nobody in this lobby has or had a moment ago; the first member is the host."""
        if not lobby.members:
            return HOST
        while True:
            drawn = int.from_bytes(self._random_bytes(4), "big") >> 1
            if drawn > HOST and drawn not in lobby.members and drawn not in lobby.left:
                return drawn

    def _vacate(self, lobby: _Lobby[Peer], member: _Member[Peer]) -> None:
        """A member is gone for good.  A host takes an open lobby with it; a sealed one is left quietly."""
        if lobby.members.pop(member.id, None) is None:
            return
        lobby.left.append(member.id)
        if not lobby.members:
            self._end(lobby, NORMAL, "")
        elif lobby.is_sealed:
            return
        elif member.id == HOST:
            self._end(lobby, PROTOCOL_ERROR, "Room host has disconnected")
        else:
            self._tell_all(lobby, Message(Kind.PEER_DISCONNECT, member.id))

    def _end(self, lobby: _Lobby[Peer], code: int, reason: str) -> None:
        if self._lobbies.pop(lobby.name, None) is None:
            return
        self._closed.append(lobby.name)
        members, lobby.members = lobby.members, {}
        for member in members.values():
            if member.peer is not None:
                del self._seats[member.peer]
                self._output.append((member.peer, Close(code, reason)))

    def _tell_all(self, lobby: _Lobby[Peer], message: Message) -> None:
        for member in lobby.members.values():
            self._tell(lobby, member, message)

    def _tell(self, lobby: _Lobby[Peer], member: _Member[Peer], message: Message) -> None:
        if member.peer is not None:
            self._output.append((member.peer, message))
        elif message.kind in RELAYED and member.kept_until > -math.inf:
            member.backlog.append(message)
            member.backlog_size += len(message.data)
            if len(member.backlog) > _BACKLOG_LENGTH or member.backlog_size > _BACKLOG_SIZE:
                member.kept_until = -math.inf
                self._at(-math.inf, lobby, member)

    def _at(self, when: float, lobby: _Lobby[Peer], member: _Member[Peer] | None) -> None:
        self._due_count += 1
        heapq.heappush(self._due, (when, self._due_count, lobby, member))
