"""The demo's WebSocket client in the shape of Godot: signals from poll(), and never a wait."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from rtcstack.errors import Error, InvalidParameter, InvalidState
from rtcstack.peer import PeerConnection, Signal
from rtcstack.signaling.membership import Event, Membership, State
from rtcstack.signaling.wire import Wire

__all__ = ["Client"]

_GLANCE = 0.02
"""Seconds after which rtcstack.poll() looks at the background thread again."""


class Client:
    """A member of a lobby at a signaling server: ours, or one of Godot's webrtc_signaling demo.

        client = Client("ws://127.0.0.1:9080", lobby="")
        client.lobby_joined.connect(print)
        while True:
            rtcstack.poll((client, game), 0.1)

    url         ws:// or wss://; joins at once if it is given, else with connect_to_url().
    lobby       name of the lobby to join; "" creates one.
    mesh        whether a lobby that is created connects everybody with everybody, or a server with clients.
    reconnects  whether to come back by itself when the connection is lost before the lobby is sealed.
    options     for websockets.connect(): `ssl`, `additional_headers`, `origin`, `proxy`...

    Signals, from poll() only.  Those of the demo's ws_webrtc_client:
      connected(id, mesh)                           the server has given us an id; the creator's is 1
      lobby_joined(lobby)                           we are in: everybody who was there has been told
      peer_connected(id), peer_disconnected(id)     another member has come, has gone
      offer_received(id, sdp), answer_received(id, sdp)
      candidate_received(id, media, index, name)
      lobby_sealed()                                nobody comes any more; the server closes soon
      disconnected()                                for good; `close_code` and `close_reason` say why
    And two more:
      reconnecting(code, reason)                    the connection is lost, and we try to come back
      reconnected()                                 we are in again as the one that we were

    The WebSocket lives in a background thread that all clients of the process share.

    Raises:
        InvalidParameter: the URL is none of a WebSocket.
    """

    def __init__(
        self,
        url: str = "",
        lobby: str = "",
        mesh: bool = True,
        *,
        reconnects: bool = True,
        options: dict[str, Any] | None = None,
        wake: Callable[[], object] = lambda: None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.connected: Signal[int, bool] = Signal("connected")
        self.lobby_joined: Signal[str] = Signal("lobby_joined")
        self.peer_connected: Signal[int] = Signal("peer_connected")
        self.peer_disconnected: Signal[int] = Signal("peer_disconnected")
        self.offer_received: Signal[int, str] = Signal("offer_received")
        self.answer_received: Signal[int, str] = Signal("answer_received")
        self.candidate_received: Signal[int, str, int, str] = Signal("candidate_received")
        self.lobby_sealed: Signal[()] = Signal("lobby_sealed")
        self.disconnected: Signal[()] = Signal("disconnected")
        self.reconnecting: Signal[int, str] = Signal("reconnecting")
        self.reconnected: Signal[()] = Signal("reconnected")
        self.lobby = lobby
        self.mesh = mesh
        self._reconnects = reconnects
        self._options = {} if options is None else options
        self._wake = wake
        self._random_bytes = random_bytes
        self._url = url
        self._membership: Membership | None = None
        self._wire: Wire | None = None
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_delivering = False
        if url:
            self.connect_to_url(url)

    # -- what the demo's client has ----------------------------------------------------------------

    def connect_to_url(self, url: str) -> Error:
        """Connect, and join `lobby`; what there was before is closed without a word.

        Raises:
            InvalidParameter: the URL is none of a WebSocket.
        """
        if urlsplit(url).scheme not in ("ws", "wss") or not urlsplit(url).hostname:
            raise InvalidParameter(f"{url!r} is no ws:// or wss:// URL of a signaling server")
        self._hang_up()
        self._url = url
        self._membership = Membership(
            self.lobby, is_mesh=self.mesh, reconnects=self._reconnects, random_bytes=self._random_bytes
        )
        self._membership.start(time.monotonic())
        self._advance()
        return Error.OK

    def join_lobby(self, lobby: str) -> Error:
        """Leave what we are in, and join another lobby at the same server.

        Raises:
            InvalidState: there is no server yet.
        """
        if not self._url:
            raise InvalidState("no server is known yet: give the URL to Client() or connect_to_url()")
        self.lobby = lobby
        return self.connect_to_url(self._url)

    def seal_lobby(self) -> Error:
        """Let nobody in any more; only the creator may.  The server ends the lobby some seconds later."""
        self._joined().seal()
        self._advance()
        return Error.OK

    def send_offer(self, id: int, offer: str) -> Error:
        """Send an offer's SDP to another member."""
        self._joined().send_offer(id, offer)
        self._advance()
        return Error.OK

    def send_answer(self, id: int, answer: str) -> Error:
        """Send an answer's SDP to another member."""
        self._joined().send_answer(id, answer)
        self._advance()
        return Error.OK

    def send_candidate(self, id: int, mid: str, index: int, sdp: str) -> Error:
        """Send a candidate to another member; "", the end of candidates, is not sent."""
        self._joined().send_candidate(id, mid, index, sdp)
        self._advance()
        return Error.OK

    def close(self) -> None:
        """Leave the lobby; `disconnected` comes with the next poll().  Idempotent."""
        if self._membership is not None:
            self._membership.end()
            self._hang_up()

    def poll(self) -> None:
        """Take what has come, and deliver signals.  Never waits.

        What a callback raises goes through; the signals behind it come with the next poll().
        """
        self.deliver()

    # -- looking at it -----------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """Our id in the lobby, 0 before there is one."""
        return self._membership.id if self._membership else 0

    @property
    def joined_lobby(self) -> str:
        """The name of the lobby that we are, or were, in; "" before."""
        return self._membership.lobby if self._membership else ""

    @property
    def state(self) -> State:
        """Where we stand: IDLE, CONNECTING, JOINING, JOINED, WAITING (to try again) or ENDED."""
        return self._membership.state if self._membership else State.IDLE

    @property
    def is_sealed(self) -> bool:
        """Whether the lobby is sealed."""
        return self._membership is not None and self._membership.is_sealed

    @property
    def close_code(self) -> int:
        """How it ended: a WebSocket close code, 1006 without one; -1 before."""
        return self._membership.close_code if self._membership else -1

    @property
    def close_reason(self) -> str:
        """Why it ended: the server's words or a sentence; "" before."""
        return self._membership.close_reason if self._membership else ""

    # -- for rtcstack.poll() -----------------------------------------------------------------------

    def connections(self) -> Iterable[PeerConnection]:
        """List the connections that poll() serves: none."""
        return ()

    def due_in(self) -> float:
        """Tell for how many seconds poll() may wait."""
        self._advance()
        if self._calls:
            return 0.0
        return math.inf if self.state in (State.IDLE, State.ENDED) else _GLANCE

    def next_timeout(self) -> float:
        """Tell in how many seconds poll() has something to do even if nothing comes."""
        if self._calls:
            return 0.0
        return math.inf if self._membership is None else self._membership.deadline - time.monotonic()

    def deliver(self) -> None:
        """Take what has come, and deliver signals; rtcstack.poll() calls it."""
        self._advance()
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._calls:
                callback, arguments = self._calls.popleft()
                callback(*arguments)
        finally:
            self._is_delivering = False

    # -- inside ------------------------------------------------------------------------------------

    def _joined(self) -> Membership:
        if self._membership is None:
            raise InvalidState("not connected: give the URL to Client() or connect_to_url()")
        return self._membership

    def _advance(self) -> None:
        """Bring what has come to the membership, and what it wants to the wire."""
        membership = self._membership
        if membership is None:
            return
        now = time.monotonic()
        if self._wire is not None:
            for item in self._wire.take():
                match item:
                    case ("opened",):
                        membership.opened()
                    case ("text", text):
                        membership.receive(text)
                    case ("closed", code, reason):
                        membership.closed(code, reason, now)
        membership.handle_timeout(now)
        if membership.take_connect():
            self._hang_up()
            self._wire = Wire(self._url, self._options, self._wake)
            # Whoever drops a client without close(): the server is told all the same.
            self._farewell = weakref.finalize(self, self._wire.close)
        if self._wire is not None:
            for text in membership.take_messages():
                self._wire.send(text)
        for event in membership.take_events():
            self._queue(event)
        if membership.state is State.ENDED:
            self._hang_up()

    def _queue(self, event: Event) -> None:
        name, *arguments = event
        signal: Signal[*tuple[Any, ...]] = getattr(self, str(name))
        self._calls += [(callback, tuple(arguments)) for callback in signal.callbacks]

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._farewell()
            self._wire = None

    def __repr__(self) -> str:
        return f"<Client {self._url} {self.state.name}>"
