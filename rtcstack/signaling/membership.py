"""A client's side of the protocol: joining, staying joined, coming back after an outage.  Sans-IO."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

from rtcstack.signaling.messages import RELAYED, Kind, Message, MessageError, read_candidate, write_candidate

__all__ = ["Event", "Membership", "State"]

Event = tuple[str, *tuple[str | int | bool, ...]]
"""The name of a signal of Client, and its arguments."""

_FIRST_RETRY, _LAST_RETRY = 0.25, 8.0
"""Seconds before the first attempt to come back, doubled for each one after it up to the last."""

_JOIN_TIMEOUT = 10.0
"""Seconds from the start of an attempt to the lobby's JOIN."""

_LOST = frozenset({1001, 1005, 1006, 1011, 1012, 1013, 1014})
"""Close codes that leave hope: the network failed, or the server goes away and may come back."""

_MOST_MEMBERS = 4096
"""Members that a server may announce: each becomes a connection."""

_MOST_QUEUED = 1000
"""Messages that wait for a connection; with more the oldest are dropped."""


class State(enum.Enum):
    """Where a client stands."""

    IDLE = enum.auto()
    CONNECTING = enum.auto()
    JOINING = enum.auto()
    JOINED = enum.auto()
    WAITING = enum.auto()
    ENDED = enum.auto()


@dataclass(slots=True)
class _Seat:
    """What the server has given us: who we are, and the ticket for coming back."""

    id: int
    is_mesh: bool
    ticket: str | None = None
    lobby: str = ""


class Membership:
    """One stay in one lobby.

    lobby           its name; "" creates one.
    is_mesh         whether the lobby that is created is a mesh, or a server and its clients.
    reconnects      whether to come back when a joined, unsealed connection is lost.
    random_bytes    n -> n bytes, which spread attempts of many clients over time.

    The owner connects when `take_connect()` is true, calls opened(), receive() and closed(), and sends
    `take_messages()`.  Events are signals of Client by name.  A server of ours gives us our seat back, with
    the same id; with others we are a newcomer, and everybody known is told as gone first.
    """

    def __init__(
        self, lobby: str, *, is_mesh: bool, reconnects: bool, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.state = State.IDLE
        self.is_sealed = False
        self.close_code = -1
        self.close_reason = ""
        self.deadline = math.inf
        """When handle_timeout() is due, seconds."""
        self._lobby = lobby
        self._is_mesh = is_mesh
        self._reconnects = reconnects
        self._random_bytes = random_bytes
        self._seat: _Seat | None = None
        self._known: set[int] = set()
        self._announced: set[int] = set()
        self._retry = _FIRST_RETRY
        self._wants_connection = False
        self._messages: list[Message] = []
        self._queue: list[Message] = []
        self._events: list[Event] = []

    @property
    def id(self) -> int:
        """Our id; 0 before the server has given us one."""
        return self._seat.id if self._seat else 0

    @property
    def lobby(self) -> str:
        """The lobby that we are in; "" before."""
        return self._seat.lobby if self._seat else ""

    # -- commands ----------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Connect for the first time."""
        self._connect(now)

    def seal(self) -> None:
        """Seal the lobby; only its creator may."""
        self._say(Message(Kind.SEAL))

    def send_offer(self, peer_id: int, sdp: str) -> None:
        """Send an offer to another member."""
        self._say(Message(Kind.OFFER, peer_id, sdp))

    def send_answer(self, peer_id: int, sdp: str) -> None:
        """Send an answer to another member."""
        self._say(Message(Kind.ANSWER, peer_id, sdp))

    def send_candidate(self, peer_id: int, media: str, index: int, name: str) -> None:
        """Send a candidate to another member; the end of candidates cannot be expressed and is not sent."""
        if name:
            self._say(Message(Kind.CANDIDATE, peer_id, write_candidate(media, index, name)))

    def end(self, code: int = 1000, reason: str = "") -> None:
        """Leave; nothing happens from now on."""
        if self.state is not State.ENDED:
            self.state = State.ENDED
            self.deadline = math.inf
            self._wants_connection = False
            self.close_code, self.close_reason = code, reason
            self._events.append(("disconnected",))

    # -- the connection ----------------------------------------------------------------------------

    def opened(self) -> None:
        """The WebSocket is open."""
        if self.state is State.CONNECTING:
            self.state = State.JOINING
            ticket = self._seat.ticket if self._seat else None
            lobby = (self._seat.lobby if self._seat else "") or self._lobby
            self._messages.append(Message(Kind.JOIN, 0 if self._is_mesh else 1, lobby, ticket or ""))

    def receive(self, text: str) -> None:
        """The server has sent a frame; what is no message, or makes no sense, is ignored."""
        try:
            message = Message.parse(text)
        except MessageError:
            return
        if self.state is State.JOINING and message.kind == Kind.ID:
            self._sit_down(message)
        elif self._seat is not None and self.state in (State.JOINING, State.JOINED):
            self._follow(message)

    def closed(self, code: int, reason: str, now: float) -> None:
        """The WebSocket has ended, or could not be opened: 1006."""
        if self.state in (State.ENDED, State.IDLE, State.WAITING):
            return
        has_hope = code in _LOST and self._reconnects and not self.is_sealed and self.lobby
        if not has_hope:
            self.end(code, reason)
            return
        self.state = State.WAITING
        spread = 0.5 + self._random_bytes(1)[0] / 255
        self.deadline = now + self._retry * spread
        self._retry = min(self._retry * 2, _LAST_RETRY)
        self._messages.clear()
        self._events.append(("reconnecting", code, reason))

    def handle_timeout(self, now: float) -> None:
        """Try again, or give up what takes too long."""
        if now < self.deadline:
            return
        if self.state is State.WAITING:
            self._connect(now)
        else:
            self.closed(1006, "The server has not let us join in time", now)

    def take_connect(self) -> bool:
        """Tell, once, whether a new connection is wanted; one that there is has no use any more."""
        wants, self._wants_connection = self._wants_connection, False
        return wants

    def take_messages(self) -> list[str]:
        """Hand over what to send on the open connection."""
        messages, self._messages = self._messages, []
        return [message.write() for message in messages]

    def take_events(self) -> list[Event]:
        """Hand over what has happened, in order."""
        events, self._events = self._events, []
        return events

    # -- inside ------------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        self.state = State.CONNECTING
        self._wants_connection = True
        self.deadline = now + _JOIN_TIMEOUT

    def _say(self, message: Message) -> None:
        if self.state is State.JOINED:
            self._messages.append(message)
        elif self.state is not State.ENDED:
            self._queue.append(message)
            del self._queue[:-_MOST_QUEUED]

    def _sit_down(self, message: Message) -> None:
        """The server says who we are: the one that we were, or somebody new."""
        old = self._seat
        self._seat = _Seat(message.id, message.data == "true", message.resume)
        self._announced = set()
        if old is not None and old.id == message.id and old.ticket == message.resume is not None:
            self._seat.lobby = old.lobby
            return
        self._queue.clear()
        for peer_id in sorted(self._known):
            self._forget(peer_id)
        self._events.append(("connected", message.id, self._seat.is_mesh))

    def _follow(self, message: Message) -> None:
        match message.kind:
            case Kind.PEER_CONNECT:
                if message.id in self._known:
                    self._announced.add(message.id)
                elif message.id not in (0, self.id) and len(self._known) < _MOST_MEMBERS:
                    self._announced.add(message.id)
                    self._known.add(message.id)
                    self._events.append(("peer_connected", message.id))
            case Kind.PEER_DISCONNECT:
                self._forget(message.id)
            case Kind.JOIN:
                self._settle(message.data)
            case Kind.SEAL:
                if not self.is_sealed:
                    self.is_sealed = True
                    self._events.append(("lobby_sealed",))
            case kind if kind in RELAYED and message.id in self._known:
                self._pass_on(message)

    def _settle(self, lobby: str) -> None:
        """We are in: whoever was not announced anew has left meanwhile."""
        if self._seat is None or self.state is not State.JOINING:
            return
        self.state = State.JOINED
        self.deadline = math.inf
        self._retry = _FIRST_RETRY
        for peer_id in sorted(self._known - self._announced):
            self._forget(peer_id)
        if self._seat.lobby:
            self._events.append(("reconnected",))
        else:
            self._seat.lobby = lobby
            self._events.append(("lobby_joined", lobby))
        queue, self._queue = self._queue, []
        self._messages += queue

    def _forget(self, peer_id: int) -> None:
        if peer_id in self._known:
            self._known.discard(peer_id)
            self._events.append(("peer_disconnected", peer_id))

    def _pass_on(self, message: Message) -> None:
        if message.kind == Kind.OFFER:
            self._events.append(("offer_received", message.id, message.data))
        elif message.kind == Kind.ANSWER:
            self._events.append(("answer_received", message.id, message.data))
        else:
            try:
                media, index, name = read_candidate(message.data)
            except MessageError:
                return
            self._events.append(("candidate_received", message.id, media, index, name))
