"""A peer connection for asyncio: an async context manager over the same session that poll() drives."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from rtcstack.aio.channel import DataChannel
from rtcstack.aio.driver import Driver
from rtcstack.aio.waiting import Waiters
from rtcstack.configuration import read_channel_options, read_configuration
from rtcstack.datachannel import Channel, ChannelClosed, ChannelReceived
from rtcstack.diagnostics import observe
from rtcstack.errors import InvalidState, RTCError
from rtcstack.log import next_tag
from rtcstack.net import OsNetwork, UdpMux
from rtcstack.sdp import SignalingState
from rtcstack.session import (
    CandidateError,
    ConnectionState,
    ConnectionStateChanged,
    GatheringState,
    GatheringStateChanged,
    IceRestartProposed,
    LocalCandidate,
    LocalDescription,
    PeerSession,
    SelectedPairChanged,
    SignalingStateChanged,
    Stats,
)

__all__ = ["Candidate", "Description", "Happening", "PeerConnection"]

Happening = (
    ConnectionStateChanged
    | GatheringStateChanged
    | SignalingStateChanged
    | SelectedPairChanged
    | CandidateError
)
"""What events() tells of."""

_MOST_EVENTS = 1000
"""Events that are kept for a listener that does not ask; older ones are forgotten."""

_OVER = (ConnectionState.FAILED, ConnectionState.CLOSED)


class Description(NamedTuple):
    """An offer or an answer, for the other side."""

    type: str
    sdp: str


class Candidate(NamedTuple):
    """An ICE candidate, for the other side's add_candidate().

    mid         identification of the media section.  mline_index: its place among the m= lines.
    candidate   the "candidate:" line.
    """

    mid: str
    mline_index: int
    candidate: str


class PeerConnection:
    """A connection to one other peer; to be made where an event loop runs.

        async with PeerConnection() as peer:
            channel = peer.create_data_channel("chat")
            offer = await peer.offer()          # bring it to the other side ...
            await peer.accept(answer)           # ... and its answer here
            await channel.opened()

    Leaving the block delivers what was sent and closes; leaving it by an exception cuts the connection.

    configuration   as of rtcstack.PeerConnection.
    capture         a file for Wireshark, as of rtcstack.PeerConnection.
    network         the sockets' options, if they are shared, or a UdpMux; None makes them from the
                    configuration.
    random_bytes    n -> n bytes; for tests that repeat exactly.

    Raises:
        InvalidParameter, RTCError: a value of the configuration is not allowed.
        RuntimeError: no event loop is running.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any] | None = None,
        *,
        capture: str | None = None,
        network: OsNetwork | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        chosen = read_configuration(configuration or {})
        self._network = network or chosen.udp_mux or OsNetwork(chosen.net)
        if isinstance(self._network, UdpMux):
            self._network.claim(for_thread=False)
        self._session = PeerSession(random_bytes=random_bytes, options=chosen.session, tag=next_tag())
        observe(self._session, capture)
        self._driver = Driver(self._network, self._network.attach(self._session), self._stepped)
        self._channels: dict[Channel, DataChannel] = {}
        self._incoming: deque[DataChannel] = deque()
        self._candidates: deque[Candidate] = deque()
        self._description = self._before_offer = Description("", "")
        self._proposals: deque[str] = deque(maxlen=1)
        self._waiters = Waiters()
        self._listeners: list[deque[Happening]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            self.abort()

    # -- negotiation -------------------------------------------------------------------------------

    def create_data_channel(self, label: str, options: Mapping[str, Any] | None = None) -> DataChannel:
        """Create a channel; the connection keeps it alive.  Also allowed while connected.

        label, options and errors as of rtcstack.PeerConnection.create_data_channel.
        """
        config, stream_id = read_channel_options(label, options or {})
        channel = self._face(self._session.create_channel(config, stream_id, self._network.now()))
        self._driver.wake()
        return channel

    async def offer(self, *, trickle: bool = True, restart_ice: bool = False) -> Description:
        """Make an offer and begin to gather candidates.

        restart_ice True looks for a path anew; the one in use carries data until there is one.
        trickle     False waits for all candidates and puts them into the description.

        Raises:
            InvalidState: no channel was created, an offer is pending, or the connection is closed; or, while
                it waited, the offer was taken back, by rollback() or because the other side's was answered.
        """
        before = self._description
        self._session.create_offer(restart_ice=restart_ice)
        self._before_offer = before
        return await self._described(trickle=trickle)

    async def answer(
        self, offer: Description | tuple[str, str] | str, *, trickle: bool = True
    ) -> Description:
        """Apply the other side's offer and answer it.

        offer       a Description, or only its text.
        trickle     False waits for all candidates and puts them into the answer.

        Raises:
            SdpError, InvalidState: the offer cannot be read, or does not fit; nothing has changed.  Or the
                connection was closed while the answer waited for its candidates.
        """
        sdp = offer if isinstance(offer, str) else offer[1]
        self._session.set_remote_description("offer", sdp, self._network.now())
        if self._session.signaling_state is SignalingState.HAVE_REMOTE_OFFER:
            self._session.create_answer(self._network.now())
        return await self._described(trickle=trickle)

    async def accept(self, answer: Description | tuple[str, str] | str) -> None:
        """Apply the other side's answer to our offer.

        Raises:
            SdpError, InvalidState: the answer cannot be read, or does not fit; nothing has changed.
        """
        kind, sdp = ("answer", answer) if isinstance(answer, str) else answer
        self._session.set_remote_description(kind, sdp, self._network.now())
        self._driver.wake()

    def rollback(self) -> None:
        """Take back an offer that was not answered yet.

        Raises:
            InvalidState: there is none.
        """
        self._session.set_local_description("rollback", "")
        self._description = self._before_offer
        self._stepped()

    def add_candidate(self, candidate: Candidate | tuple[str, int, str] | str) -> None:
        """Add a candidate of the other side, at any time; "" for its name says that no more will come.

        Raises:
            SdpError: it is no candidate.
        """
        self._session.add_remote_candidate(candidate if isinstance(candidate, str) else candidate[2])
        self._driver.wake()

    async def candidates(self) -> AsyncIterator[Candidate]:
        """Iterate over our candidates, as they are found; ends when all are known.

        A restart, or an answer in place of our own offer, brings more: iterate again after each description.
        """
        while True:
            await self._waiters.until(
                lambda: (
                    self._candidates
                    or self._session.gathering_state is GatheringState.COMPLETE
                    or self._session.is_over
                )
            )
            if not self._candidates:
                return
            yield self._candidates.popleft()

    @property
    def local_description(self) -> Description:
        """Our description in force with all candidates so far; empty before the first."""
        return Description(self._description.type, self._session.local_description)

    # -- life --------------------------------------------------------------------------------------

    async def connected(self) -> None:
        """Wait until channels can be used.

        Raises:
            RTCError: the connection has failed or is closed; the text says why.
        """
        await self._waiters.until(
            lambda: self._session.connection_state is ConnectionState.CONNECTED or self._is_over
        )
        if self._is_over:
            raise RTCError(f"there is no connection: {self._session.reason}")

    def network_changed(self) -> None:
        """Look at the addresses of this machine now, as of rtcstack.PeerConnection.network_changed()."""
        self._driver.network_changed()

    async def restart_proposed(self) -> str:
        """Wait until our end of the path is gone, so that offer(restart_ice=True) would help.

        Returns the reason.

        Raises:
            RTCError: the connection is over.
        """
        await self._waiters.until(lambda: self._proposals or self._session.is_over)
        if not self._proposals:
            raise RTCError(f"there is no connection: {self._session.reason}")
        return self._proposals.popleft()

    async def channels(self) -> AsyncIterator[DataChannel]:
        """Iterate over the channels that the other side creates; ends with the connection."""
        while True:
            await self._waiters.until(lambda: self._incoming or self._session.is_over)
            if not self._incoming:
                return
            yield self._incoming.popleft()

    def events(self) -> AsyncIterator[Happening]:
        """Iterate over what happens to the connection from now on; ends with the connection.

        Changes of the connection, gathering and signaling state, another path that data takes, and servers
        that gave no address.  Several may listen, each hears all.
        """
        happened: deque[Happening] = deque(maxlen=_MOST_EVENTS)
        self._listeners.append(happened)
        return self._listen(happened)

    async def _listen(self, happened: deque[Happening]) -> AsyncIterator[Happening]:
        try:
            while True:
                await self._waiters.until(lambda: happened or self._session.is_over)
                if not happened:
                    return
                yield happened.popleft()
        finally:
            self._listeners = [listener for listener in self._listeners if listener is not happened]

    async def close(self) -> None:
        """Deliver what was sent, for at most `close_timeout` seconds, and close.  Idempotent.

        Cancelled while it delivers, it cuts the connection.
        """
        self._session.close(self._network.now())
        self._driver.wake()
        try:
            await self._waiters.until(lambda: self._is_over)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close now: what was not delivered is lost; the other side is told."""
        self._session.abort()
        self._stepped()
        self._driver.close()

    async def closed(self) -> str:
        """Wait until the connection has failed or is closed, on either side; returns the reason.

        After a failure of the path alone, offer(restart_ice=True) revives it for `restart_timeout` seconds.
        """
        await self._waiters.until(lambda: self._is_over)
        return self._session.reason

    # -- looking at it -----------------------------------------------------------------------------

    @property
    def connection_state(self) -> ConnectionState:
        """NEW, CONNECTING, CONNECTED (channels can be used), DISCONNECTED, FAILED or CLOSED."""
        return self._session.connection_state

    @property
    def gathering_state(self) -> GatheringState:
        """NEW, GATHERING or COMPLETE."""
        return self._session.gathering_state

    @property
    def signaling_state(self) -> SignalingState:
        """STABLE, or which half of an exchange of descriptions is pending; CLOSED at the end."""
        return self._session.signaling_state

    @property
    def failure_reason(self) -> str:
        """Why the connection failed or ended, a sentence; "" before that."""
        return self._session.reason

    def explain(self) -> str:
        """Say in several lines what was tried to connect, and what most probably stands in the way."""
        return self._session.explain()

    def get_stats(self) -> Stats:
        """Return counters of every layer."""
        return self._session.get_stats()

    def __repr__(self) -> str:
        return f"<PeerConnection {self._session.connection_state.name}>"

    # -- inside ------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._session.connection_state in _OVER

    async def _described(self, *, trickle: bool) -> Description:
        if self._session.wants_sockets:
            self._driver.gather()
        self._take_events()
        self._driver.wake()
        description = self._description
        if trickle:
            return description
        await self._waiters.until(
            lambda: (
                self._session.gathering_state is GatheringState.COMPLETE
                or self._session.is_over
                or self._description is not description
            )
        )
        if self._session.is_over:
            raise InvalidState(f"there is no connection: {self._session.reason}")
        if self._description is not description:
            raise InvalidState(f"the {description.type} was taken back while it waited for its candidates")
        self._candidates.clear()  # they are in the description
        return self.local_description

    def _stepped(self) -> None:
        """Tell those who wait, after the transport has done something."""
        self._take_events()
        if self._waiters.wake():
            self._driver.wake()  # behind them in the loop's next turn: what they say then leaves in it
        if self._session.is_finished:
            self._driver.close()

    def _take_events(self) -> None:
        for event in self._session.take_events():
            if isinstance(event, Happening):
                for listener in self._listeners:
                    listener.append(event)
            match event:
                case LocalDescription(kind, sdp):
                    self._description = Description(kind, sdp)
                case LocalCandidate(mid, index, line):
                    self._candidates.append(Candidate(mid, index, line))
                case IceRestartProposed(reason):
                    self._proposals.append(reason)
                case ChannelReceived(channel):
                    self._incoming.append(self._face(channel))
                case ChannelClosed(channel, _):
                    self._channels.pop(channel, None)

    def _face(self, channel: Channel) -> DataChannel:
        face = self._channels.get(channel)
        if face is None:
            face = self._channels[channel] = DataChannel(
                self._session, channel, self._driver, self._waiters, self._network.now
            )
        return face
