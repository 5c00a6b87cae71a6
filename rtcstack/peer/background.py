"""A session that the I/O thread owns, as its application sees it."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Generic, TypeVar

from rtcstack.datachannel import (
    Channel,
    ChannelClosed,
    ChannelClosing,
    ChannelConfig,
    ChannelOpened,
    ChannelReceived,
    ChannelState,
)
from rtcstack.diagnostics import observe
from rtcstack.errors import Closed, Full, InvalidState, MessageTooLarge, RTCError
from rtcstack.log import Log, next_tag
from rtcstack.net import Doorbell, OsNetwork, OsTransport, UdpMux
from rtcstack.peer import io_thread
from rtcstack.sdp import SignalingState
from rtcstack.session import (
    BufferedAmountLow,
    ConnectionState,
    ConnectionStateChanged,
    GatheringState,
    GatheringStateChanged,
    PeerSession,
    SessionEvent,
    SessionOptions,
    SignalingStateChanged,
    Stats,
)

__all__ = ["BackgroundSession", "Elsewhere"]

Result = TypeVar("Result")


_WINDOW_STEP = 1 << 18
"""Bytes, at most, that the application has taken before the thread is woken to tell the peer of them."""

_LOOK_AGAIN = 0.05
"""Seconds after which somebody who waits for the thread looks whether it is still there."""


class _Mirror(Channel):
    """A channel as the application sees it: the state and the messages that have been handed to it.

    real        the thread's channel.
    queued      bytes of messages put, since the start; written by the application.
    passed      those of them that the association has; written by the thread.
    is_settled  True once what is unread has been given back to the receive window.
    """

    __slots__ = ("is_settled", "passed", "queued", "real")

    def __init__(self, real: Channel) -> None:
        super().__init__(real.config, real.id)
        self.real = real
        self.state = real.state
        self.queued = self.passed = 0
        self.is_settled = False


_Message = tuple[_Mirror, bytes, bool, float]
"""(channel, payload, is_text, when it was put) on its way to the thread."""

_Batch = tuple[_Mirror, deque[tuple[bytes, bool]]]
"""Messages of one channel on their way to the application."""


class _Call(Generic[Result]):
    """A command on its way to the thread, and its outcome on the way back."""

    __slots__ = ("done", "error", "function", "result", "view")

    def __init__(self, function: Callable[[], Result]) -> None:
        self.function = function
        self.error: Exception | None = None
        self.result: Result
        self.view: _View
        self.done = threading.Lock()
        self.done.acquire()


class _View:
    """The states of a session and its channels at one moment."""

    __slots__ = ("channels", "connection", "gathering", "reason", "signaling")

    def __init__(self, session: PeerSession, mirrors: list[_Mirror]) -> None:
        self.connection = session.connection_state
        self.gathering = session.gathering_state
        self.signaling = session.signaling_state
        self.reason = session.reason
        self.channels = [(m, m.real.state, m.real.id, m.real.close_reason) for m in mirrors]


class BackgroundSession:
    """Stands in for a PeerSession that lives in the I/O thread: the same commands, states and events.

    Commands wait until the thread has done them, which is microseconds, or one step of a busy connection.
    Messages do not: send() appends to a queue, and take_events() brings what has arrived.  What the thread
    has found out shows in take_events() and after commands only, so that states, signals and messages keep
    the order that they have without a thread.

    network         the sockets' options.
    random_bytes    n -> n bytes.
    capture         file for everything that is sent and received; None for what the environment says.

    activity        changes when there is something for take_events(), or room to send.
    bell            rung when that changes; for whoever waits.

    Only the application writes what is not marked as the thread's, and one thread of it at a time.
    """

    def __init__(
        self,
        network: OsNetwork,
        *,
        random_bytes: Callable[[int], bytes],
        options: SessionOptions,
        capture: str | None = None,
    ) -> None:
        # The limit holds for what waits in both queues, so it is checked here.
        unlimited = replace(options, sctp=replace(options.sctp, send_buffer=0))
        self._session = PeerSession(random_bytes=random_bytes, options=unlimited, tag=next_tag())
        observe(self._session, capture)
        self._log = Log("peer", self._session.tag)
        self.transport: OsTransport | None = None
        self.connection_state = ConnectionState.NEW
        self.gathering_state = GatheringState.NEW
        self.signaling_state = SignalingState.STABLE
        self.reason = ""
        self.wants_sockets = False  # the thread opens them
        self.bell: Doorbell | None = None
        self._send_buffer = options.sctp.send_buffer
        self._window_step = min(_WINDOW_STEP, options.sctp.receive_window // 4)
        self._queued = 0
        self._taken = 0
        self._is_foreign = False
        self._outgoing: deque[_Message | _Call[Any]] = deque()
        self._finished: deque[_Batch | SessionEvent] = deque()
        # The thread's; closed channels are in `_departed` until the application has been told of them.
        self.activity = 0
        self.is_noted = False
        self._mirrors: dict[Channel, _Mirror] = {}
        self._departed: deque[_Mirror] = deque()
        self._passed = 0
        self._released = 0
        self._seen = 0
        self._has_ended = False
        self._thread = io_thread.join(self)
        self._call(partial(self._begin, network))

    # -- commands ----------------------------------------------------------------------------------

    def create_channel(self, config: ChannelConfig, stream_id: int | None, now: float) -> Channel:
        """Create a channel; see PeerSession."""
        return self._call(lambda: self._mirror(self._session.create_channel(config, stream_id, now)))

    def create_offer(self, *, restart_ice: bool = False) -> None:
        """Make an offer, and open the sockets; see PeerSession."""
        self._call(partial(self._negotiate, partial(self._session.create_offer, restart_ice=restart_ice)))

    def create_answer(self, now: float, *, provisional: bool = False) -> None:
        """Answer the peer's offer, and open the sockets; see PeerSession."""
        self._call(
            partial(self._negotiate, partial(self._session.create_answer, now, provisional=provisional))
        )

    def set_local_description(self, kind: str, text: str) -> None:
        """Confirm a description; see PeerSession."""
        self._call(partial(self._session.set_local_description, kind, text))

    def set_remote_description(self, kind: str, text: str, now: float) -> None:
        """Apply the peer's description, and open the sockets; see PeerSession."""
        self._call(partial(self._negotiate, partial(self._session.set_remote_description, kind, text, now)))

    def add_remote_candidate(self, line: str) -> None:
        """Add a candidate of the peer; see PeerSession."""
        self._call(partial(self._session.add_remote_candidate, line))

    def close_channel(self, channel: Channel) -> None:
        """Close a channel after what was put before; see PeerSession."""
        self._call(partial(self._session.close_channel, _real(channel)))

    def set_buffered_amount_low_threshold(self, channel: Channel, threshold: int) -> None:
        """Ask for BufferedAmountLow; see PeerSession."""
        channel.low_threshold = threshold
        self._call(partial(self._session.set_buffered_amount_low_threshold, _real(channel), threshold))

    def network_changed(self) -> None:
        """Look at the machine's addresses; see OsTransport."""
        if self.transport is not None:
            self._call(self.transport.network_changed)

    def close(self, now: float) -> None:
        """Close the connection; see PeerSession."""
        if not self._is_foreign:
            self._call(partial(self._session.close, now))

    def abort(self, reason: str = "aborted by this side") -> None:
        """Close the connection now; see PeerSession."""
        if not self._is_foreign:
            self._call(partial(self._session.abort, reason))

    def leave(self) -> None:
        """Abort, waiting for nothing: allowed in a finalizer, whichever thread it runs in."""
        if not self._is_foreign:
            self._outgoing.append(_Call(partial(self._session.abort, "the connection object is gone")))
            self._thread.note(self)

    # -- messages ----------------------------------------------------------------------------------

    def send(self, channel: Channel, payload: bytes, is_text: bool, now: float) -> None:
        """Queue one message.

        Raises:
            InvalidState, Closed, MessageTooLarge, Full: see PeerSession.send().
        """
        assert isinstance(channel, _Mirror)
        if channel.state is not ChannelState.OPEN:
            if channel.state is ChannelState.CONNECTING:
                raise InvalidState(
                    "the channel is not open yet: poll() until get_ready_state() is STATE_OPEN"
                )
            raise Closed(
                f"the channel is {channel.state.name.lower()}: {channel.close_reason or 'by this side'}"
            )
        size = len(payload)
        limit = self._session.max_send_size
        if limit and size > limit:
            raise MessageTooLarge(size, limit)
        # In this order, a message that passes to the association meanwhile counts twice, never not at all.
        waiting = self._queued - self._passed
        waiting += self._session.total_buffered
        limit = self._send_buffer
        if limit and waiting and waiting + size > limit:
            raise Full(
                f"{waiting} bytes wait to be sent and the limit is {limit}: "
                "wait for the buffered amount to fall, or raise send_buffer"
            )
        self._queued += size
        channel.queued += size
        self._outgoing.append((channel, payload, is_text, now))
        self._thread.note(self)

    def take_message(self, channel: Channel) -> tuple[bytes, bool]:
        """Hand over the next message of a channel, (payload, is_text).

        Raises:
            IndexError: no message is waiting.
        """
        assert isinstance(channel, _Mirror)
        message = channel.incoming.popleft()
        if not channel.is_settled:
            self._taken += len(message[0]) or 1
            if self._taken - self._released >= self._window_step:
                self._thread.note(self)
        return message

    def buffered_amount(self, channel: Channel) -> int:
        """Bytes of the channel's messages that are neither acknowledged nor given up yet."""
        assert isinstance(channel, _Mirror)
        if channel.state is ChannelState.CLOSED:
            return 0
        waiting = channel.queued - channel.passed
        return waiting + self._session.buffered_amount(channel.real)

    def take_events(self) -> list[SessionEvent]:
        """Hand over what has happened since the last call; states and messages show it from now on."""
        events: list[SessionEvent] = []
        finished = self._finished
        for _ in range(len(finished)):
            entry = finished.popleft()
            if isinstance(entry, tuple):
                entry[0].incoming += entry[1]
            else:
                self._show(entry)
                events.append(entry)
        return events

    # -- looking at it -----------------------------------------------------------------------------

    @property
    def max_send_size(self) -> int:
        """Largest message that can be sent, bytes; 0 is no limit."""
        return self._session.max_send_size

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will come."""
        return self._has_ended and not self._finished

    @property
    def local_description(self) -> str:
        """Our description in force with the candidates so far; "" before the first."""
        return self._call(lambda: self._session.local_description)

    def explain(self) -> str:
        """Say in words what was tried to connect; see PeerSession."""
        return self._call(self._session.explain)

    def get_stats(self) -> Stats:
        """Take a snapshot of every layer, which may mix the moments before and after a datagram."""
        try:
            return self._session.get_stats()
        except RuntimeError:
            # The thread has added something to a table that was being copied.
            return self._call(self._session.get_stats)

    # -- inside ------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], Result]) -> Result:
        """Let the thread do something, and wait for the outcome."""
        if self._is_foreign:
            raise Closed(
                "this connection belongs to the process that has forked this one: make a new one here"
            )
        call = _Call(function)
        self._outgoing.append(call)
        if self._thread.is_current or not self._thread.is_alive:
            self.serve()  # asked by a handler of the log, say; or after the end, when nobody else does it
        else:
            self._thread.note(self)
            while not call.done.acquire(timeout=_LOOK_AGAIN):
                if not self._thread.is_alive:
                    self.serve()
        view = call.view
        self.connection_state, self.gathering_state = view.connection, view.gathering
        self.signaling_state, self.reason = view.signaling, view.reason
        for mirror, state, stream_id, reason in view.channels:
            mirror.state, mirror.id, mirror.close_reason = state, stream_id, reason
        if call.error is not None:
            raise call.error
        return call.result

    def _show(self, event: SessionEvent) -> None:
        """Let the states be what an event says."""
        match event:
            case ChannelOpened(channel) | ChannelReceived(channel):
                channel.state = ChannelState.OPEN
                channel.id = _real(channel).id
            case ChannelClosing(channel):
                channel.state = ChannelState.CLOSING
                channel.close_reason = _real(channel).close_reason
            case ChannelClosed(channel, reason):
                assert isinstance(channel, _Mirror)
                channel.state, channel.close_reason = ChannelState.CLOSED, reason
                channel.is_settled = True
                # What is unread stays readable, but must not hold the window of the other channels shut.
                self._taken += sum(len(payload) or 1 for payload, _ in channel.incoming)
            case ConnectionStateChanged(state):
                self.connection_state = state
                self.reason = self.reason if self._is_foreign else self._session.reason
            case GatheringStateChanged(state):
                self.gathering_state = state
            case SignalingStateChanged(state):
                self.signaling_state = state

    # -- in the thread -----------------------------------------------------------------------------

    def serve(self) -> bool:
        """Do what the application has asked for; see Member."""
        self._take_in()
        self._publish()
        return not self._has_ended

    def step(self) -> bool:
        """Take in, move datagrams, and publish; see Member."""
        self._take_in()
        if self.transport is not None:
            self.transport.step()
        self._publish()
        return not self._has_ended

    def fail(self, error: Exception) -> None:
        """Cut the connection after an error of ours; see Member."""
        with contextlib.suppress(Exception):  # whatever is broken may break this too
            self._session.abort(f"an error of rtcstack itself: {error!r}")
        if self.transport is not None:
            self.transport.drop()
        self._has_ended = True
        self._take_in()
        self._publish()

    def disown(self) -> None:
        """Be closed in the child of a fork; see Member."""
        reason = "it belongs to the process that has forked this one"
        self._is_foreign = self._has_ended = True
        if self.transport is not None:
            self.transport.drop()
        self._finished.clear()
        mirrors = [*self._mirrors.values(), *self._departed]
        self._finished += [ChannelClosed(mirror, reason) for mirror in mirrors]
        self._finished.append(ConnectionStateChanged(ConnectionState.CLOSED, reason))
        self._finished.append(SignalingStateChanged(SignalingState.CLOSED))
        self.reason = reason
        self.activity += 1
        self.connection_state, self.signaling_state = ConnectionState.CLOSED, SignalingState.CLOSED
        for mirror in mirrors:
            mirror.state, mirror.close_reason = ChannelState.CLOSED, reason

    def _take_in(self) -> None:
        session = self._session
        taken = self._taken - self._released
        if taken:
            self._released += taken
            session.release(taken)
        outgoing = self._outgoing
        while outgoing:
            entry = outgoing.popleft()
            if isinstance(entry, tuple):
                mirror, payload, is_text, now = entry
                try:
                    session.send(mirror.real, payload, is_text, now)
                except RTCError as error:  # closed since: lost, like what had not been sent yet
                    self._log.debug("a message was put too late: %s", error)
                mirror.passed += len(payload)
                self._passed += len(payload)
            else:
                self._answer(entry)

    def _answer(self, call: _Call[Any]) -> None:
        try:
            call.result = call.function()
        except Exception as error:
            call.error = error
        self._publish()
        # Also those whose end still waits in the queue: with the connection CLOSED, no channel is CLOSING.
        call.view = _View(self._session, [*self._mirrors.values(), *self._departed])
        call.done.release()

    def _begin(self, network: OsNetwork) -> None:
        try:
            if isinstance(network, UdpMux):
                network.claim(for_thread=True)
            self.transport = network.attach(self._session)
        except Exception:
            self._has_ended = True
            raise

    def _negotiate(self, function: Callable[[], None]) -> None:
        function()
        if self._session.wants_sockets and self.transport is not None:
            self.transport.gather()

    def _mirror(self, real: Channel) -> _Mirror:
        mirror = self._mirrors.get(real)
        if mirror is None:
            mirror = self._mirrors[real] = _Mirror(real)
        return mirror

    def _publish(self) -> None:
        """Put messages and events where the application takes them, and let whoever waits know."""
        session = self._session
        if session.is_finished and not self._has_ended:
            self._has_ended = True
            if self.transport is not None:
                self.transport.close()
        if session.activity == self._seen:
            return
        self._seen = session.activity
        finished = self._finished
        for channel in session.channels.channels.values():
            if channel.incoming:
                finished.append((self._mirror(channel), session.hand_over(channel)))
        for event in session.take_events():
            match event:
                case ChannelClosed(channel):
                    mirror = self._mirror(channel)
                    finished.append(ChannelClosed(mirror, event.reason))
                    # After the event: these have been given back to the window when the channel closed.
                    finished.append((mirror, session.hand_over(channel)))
                    del self._mirrors[channel]
                    self._departed.append(mirror)
                case ChannelOpened(channel):
                    finished.append(ChannelOpened(self._mirror(channel)))
                case ChannelReceived(channel):
                    finished.append(ChannelReceived(self._mirror(channel)))
                case ChannelClosing(channel):
                    finished.append(ChannelClosing(self._mirror(channel)))
                case BufferedAmountLow(channel):
                    finished.append(BufferedAmountLow(self._mirror(channel)))
                case _:
                    finished.append(event)
        while self._departed and self._departed[0].is_settled:
            self._departed.popleft()
        self.activity += 1
        if self.bell is not None:
            self.bell.ring()


class Elsewhere:
    """The transport of a connection whose thread moves the datagrams: here is nothing to do."""

    def __init__(self, session: BackgroundSession) -> None:
        self._session = session

    def gather(self) -> None:
        """Do nothing."""

    def step(self) -> bool:
        """Do nothing."""
        return False

    def network_changed(self) -> None:
        """Let the thread look at the machine's addresses."""
        self._session.network_changed()

    def close(self) -> None:
        """Do nothing."""


def _real(channel: Channel) -> Channel:
    assert isinstance(channel, _Mirror)
    return channel.real
