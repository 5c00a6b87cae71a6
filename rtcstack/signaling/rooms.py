"""A signaling server without its sockets: connections, what they may do, where their lobby is.  Sans-IO."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from rtcstack.signaling.limits import Bucket, Limits
from rtcstack.signaling.links import Body, Links
from rtcstack.signaling.lobbies import PROTOCOL_ERROR, Close, Lobbies, RefusedError
from rtcstack.signaling.messages import Kind, Message, MessageError

__all__ = ["Rooms"]

Member = tuple[str, int]
"""A peer as lobbies know it: the server it is connected to, "" for this one, and its connection there."""

_HERE = ""

_NO_ANSWER = "Server error, lobby not found"

_BYTES_BURST = 4.0
"""Seconds' worth of bytes that a peer may send at once."""


@dataclass(slots=True, eq=False)
class _Connection:
    """A peer that is connected to this server.

    home    where its lobby is: None before it has joined, "" here, else another server's name.
    asked   the JOIN whose lobby is being looked for on other servers.
    """

    messages: Bucket
    bytes: Bucket
    home: str | None = None
    asked: Message | None = None


class Rooms:
    """The behaviour of a signaling server; the owner brings text and the time, and sends what comes out.

    limits          what is granted to whom.
    random_bytes    n -> n bytes nobody can guess.
    is_clustered    whether there are other servers, found and spoken with through a broker.

    Connections are numbers of the owner's choice that are never used again.  A lobby lives on the server
    that its host is connected to, and dies with it; members elsewhere speak with it through that server.
    With a broker the owner also carries out `take_lookups()`, `take_changes()` and `take_frames()`, and
    brings what it hears: `found()`, `receive_frame()`, `broker_back()`.
    """

    def __init__(
        self, limits: Limits, random_bytes: Callable[[int], bytes], *, is_clustered: bool = False
    ) -> None:
        self._limits = limits
        self._lobbies: Lobbies[Member] = Lobbies(limits, random_bytes)
        self._links = Links(random_bytes)
        self._is_clustered = is_clustered
        self._connections: dict[int, _Connection] = {}
        self._joining: deque[tuple[float, int]] = deque()
        self._output: list[tuple[int, Message | Close | str]] = []
        self._lookups: list[str] = []
        self._waiting: dict[str, list[int]] = {}
        self.connected = 0
        self.received: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()

    # -- looking at it -----------------------------------------------------------------------------

    @property
    def peer_count(self) -> int:
        """Connections of this server."""
        return len(self._connections)

    @property
    def lobby_names(self) -> tuple[str, ...]:
        """Lobbies that live on this server."""
        return self._lobbies.names

    @property
    def relayed(self) -> int:
        """Offers, answers and candidates passed on in this server's lobbies so far."""
        return self._lobbies.relayed

    @property
    def linked_servers(self) -> tuple[str, ...]:
        """Other servers that this one speaks with."""
        return self._links.servers

    @property
    def deadline(self) -> float:
        """When handle_timeout() is due, seconds; math.inf while nothing is."""
        joining = self._joining[0][0] if self._joining else math.inf
        return min(joining, self._lobbies.deadline, self._links.deadline)

    # -- connections -------------------------------------------------------------------------------

    def connect(self, connection: int, now: float) -> None:
        """A peer has opened its WebSocket."""
        if len(self._connections) >= self._limits.max_peers:
            self._close(connection, Close(PROTOCOL_ERROR, "Too many peers connected"))
            return
        self.connected += 1
        limits = self._limits
        self._connections[connection] = _Connection(
            Bucket(limits.peer_messages, limits.peer_burst, now),
            Bucket(limits.peer_bytes, limits.peer_bytes * _BYTES_BURST, now),
        )
        self._joining.append((now + limits.join_timeout, connection))

    def receive(self, connection: int, data: str | bytes, now: float) -> None:
        """A peer has sent a frame: text, or bytes, which nobody should."""
        state = self._connections.get(connection)
        if state is None:
            return
        try:
            self._judge(connection, state, data, now)
        except (RefusedError, MessageError) as refusal:
            self._drop(connection, Close(PROTOCOL_ERROR, str(refusal)), now)
        self._settle(now)

    def disconnect(self, connection: int, now: float, *, is_final: bool = True) -> None:
        """A peer's WebSocket has ended; unknown ones are ignored.

        is_final    False if it was lost, True if the peer or we closed it.
        """
        state = self._connections.pop(connection, None)
        if state is None:
            return
        if state.home == _HERE:
            self._lobbies.leave((_HERE, connection), now, is_final=is_final)
        elif state.home is not None:
            self._links.send(state.home, ["left", connection, is_final], now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        while self._joining and self._joining[0][0] <= now:
            _, connection = self._joining.popleft()
            state = self._connections.get(connection)
            if state is not None and state.home is None:
                reason = _NO_ANSWER if state.asked else "Have not joined lobby yet"
                self._drop(connection, Close(PROTOCOL_ERROR, reason), now)
        self._lobbies.handle_timeout(now)
        self._settle(now)

    def close_all(self, close: Close, now: float) -> None:
        """End every connection; tell the other servers."""
        connections, self._connections = self._connections, {}
        for connection in connections:
            self._close(connection, close)
            self._lobbies.leave((_HERE, connection), now)
        for server in self._links.servers:
            self._links.send(server, ["bye"], now)
        self._settle(now)

    def take_output(self) -> list[tuple[int, Message | Close | str]]:
        """Hand over what to send, in order; text is a message that another server has written."""
        output, self._output = self._output, []
        return output

    def _judge(self, connection: int, state: _Connection, data: str | bytes, now: float) -> None:
        """Weigh a frame, and bring it to where the peer's lobby is."""
        if not (state.messages.take(1, now) and state.bytes.take(len(data), now)):
            raise RefusedError("Too many messages")
        if not isinstance(data, str):
            raise RefusedError("Invalid transfer mode, must be text")
        message = Message.parse(data)
        self.received[_name_of(message.kind)] += 1
        if state.asked is not None:
            raise RefusedError("Invalid message when not in a lobby")
        if state.home is None and self._is_elsewhere(message):
            state.asked = message
            waiting = self._waiting.setdefault(message.data, [])
            if not waiting:
                self._lookups.append(message.data)
            waiting.append(connection)
        elif state.home is None or state.home == _HERE:
            state.home = _HERE
            self._lobbies.receive((_HERE, connection), message, now)
        else:
            self._links.send(state.home, ["says", connection, message.write()], now)

    def _is_elsewhere(self, message: Message) -> bool:
        name = message.data
        return bool(self._is_clustered and message.kind == Kind.JOIN and name and name not in self._lobbies)

    def _drop(self, connection: int, close: Close, now: float) -> None:
        """Close a connection that is against the rules or has no place any more."""
        self._close(connection, close)
        self.disconnect(connection, now)

    def _close(self, connection: int, close: Close) -> None:
        self.closes[close.reason] += 1
        self._output.append((connection, close))

    def _settle(self, now: float) -> None:
        """Bring what lobbies say to their members, here and elsewhere; bury the servers that are gone."""
        for server in self._links.take_dead():
            self._bury(server, now)
        for (server, connection), said in self._lobbies.take_output():
            if server != _HERE:
                if isinstance(said, Close):
                    self._links.send(server, ["close", connection, said.code, said.reason], now)
                else:
                    self._links.send(server, ["tell", connection, said.write()], now)
            elif connection not in self._connections:
                pass  # It has gone in the same breath.
            elif isinstance(said, Close):
                del self._connections[connection]
                self._close(connection, said)
            else:
                self._output.append((connection, said))

    # -- other servers -----------------------------------------------------------------------------

    def take_lookups(self) -> list[str]:
        """Hand over names of lobbies that the broker's directory should be asked for; then call found()."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def take_changes(self) -> tuple[list[str], list[str]]:
        """Hand over names of lobbies to put into the directory, and of those to take out of it."""
        return self._lobbies.take_changes()

    def take_frames(self, now: float) -> list[tuple[str, str]]:
        """Hand over what to publish: server and frame."""
        frames = self._links.take_frames(now)
        self._settle(now)
        return frames

    def found(self, name: str, server: str | None, now: float) -> None:
        """The directory's answer: the server that a lobby lives on; None if there is no such lobby."""
        for connection in self._waiting.pop(name, ()):
            state = self._connections.get(connection)
            if state is None or state.asked is None:
                continue
            message, state.asked = state.asked, None
            state.home = _HERE if server is None else server
            if server is None:
                self._lobbies.receive((_HERE, connection), message, now)
            else:
                self._links.send(server, ["says", connection, message.write()], now)
        self._settle(now)

    def lookup_failed(self, name: str, now: float) -> None:
        """The directory cannot be asked; whoever wants that lobby may try again later."""
        for connection in self._waiting.pop(name, ()):
            if connection in self._connections:
                self._drop(connection, Close(PROTOCOL_ERROR, _NO_ANSWER), now)
        self._settle(now)

    def receive_frame(self, server: str, frame: str, now: float) -> None:
        """Another server has published a frame for us; what cannot be read is dropped."""
        for body in self._links.receive(server, frame, now):
            self._hear(server, body, now)
        self._settle(now)

    def broker_back(self, now: float) -> None:
        """The broker can be reached again: nobody is to blame for the silence meanwhile."""
        self._links.forgive(now)

    def _hear(self, server: str, body: Body, now: float) -> None:
        match body:
            case ["says", int(connection), str(text)]:
                try:
                    message = Message.parse(text)
                except MessageError:
                    return
                self._lobbies.receive((server, connection), message, now)
            case ["left", int(connection), bool(is_final)]:
                self._lobbies.leave((server, connection), now, is_final=is_final)
            case ["tell", int(connection), str(text)] if self._lives_at(connection, server):
                self._output.append((connection, text))
            case ["close", int(connection), int(code), str(reason)] if self._lives_at(connection, server):
                del self._connections[connection]
                self._close(connection, Close(code, reason))
            case ["bye"]:
                self._bury(server, now)

    def _lives_at(self, connection: int, server: str) -> bool:
        state = self._connections.get(connection)
        return state is not None and state.home == server

    def _bury(self, server: str, now: float) -> None:
        """A server is gone: so are its peers, and the lobbies that lived there with their hosts."""
        for member in self._lobbies.peers:
            if member[0] == server:
                self._lobbies.leave(member, now, is_final=False)
        for connection, state in tuple(self._connections.items()):
            if state.home == server:
                del self._connections[connection]
                self._close(connection, Close(PROTOCOL_ERROR, "Room host has disconnected"))


def _name_of(kind: int) -> str:
    return _NAMES.get(kind, "unknown")


_NAMES = {int(kind): kind.name.lower() for kind in Kind}
