"""Godot's WebRTCPeerConnection: a session with a network under it, driven by poll()."""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from rtcstack.configuration import Configuration, read_channel_options, read_configuration
from rtcstack.datachannel import Channel, ChannelClosed, ChannelOpened, ChannelReceived, ChannelState
from rtcstack.diagnostics import observe
from rtcstack.errors import Error, InvalidParameter
from rtcstack.log import next_tag
from rtcstack.net import Doorbell, Network, OsNetwork, Transport, UdpMux
from rtcstack.peer.background import BackgroundSession, Elsewhere
from rtcstack.peer.channel import DataChannel
from rtcstack.peer.interruption import interrupts_a_layer
from rtcstack.peer.io_thread import waiting_bell
from rtcstack.peer.roll import Roll
from rtcstack.peer.signal import Emitter, Signal
from rtcstack.sdp import SignalingState
from rtcstack.session import (
    BufferedAmountLow,
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
    SessionEvent,
    SignalingStateChanged,
    Stats,
    format_address,
)

__all__ = ["Group", "PeerConnection", "poll", "wait_until_open"]


class PeerConnection(Emitter):
    """A connection to one other peer, usable right after construction.

    Wire its signals to the other side, directly or through signaling, and call poll() often: signals and
    messages come from there and from nowhere else.

        peer.session_description_created.connect(send_description)
        peer.ice_candidate_created.connect(send_candidate)
        chat = peer.create_data_channel("chat")
        peer.create_offer()

    configuration   keys, all optional (units and defaults: Options of rtcstack.session, rtcstack.sctp
                    and rtcstack.net):
                      iceServers, iceTransportPolicy, certificates          as in Godot and W3C
                      ip_handling       which addresses are used and told, RFC 8828: "all",
                                        "default_route_and_private", "default_route", "relay"
                      remote_candidate_filter       (address, port) -> whether anything may be sent there
                      ice_lite                      True, on a public address: answer checks only
                      disconnected_timeout          seconds of silence until DISCONNECTED, 5
                      consent_timeout               seconds without an answer until FAILED, 7 to 30
                      max_remote_candidates, max_candidate_pairs, max_early_checks, max_addresses   caps
                      max_message_size, send_buffer, receive_window         bytes
                      mtu                                                   bytes of UDP payload
                      congestion_control                                    "cubic", "newreno" or "bbr"
                      interleaving, zero_checksum, path_mtu_discovery, snap True, or False to do without
                      answer_at_once                                        False: create_answer() is called
                      close_timeout, connect_timeout                        seconds
                      restart_timeout   seconds that channels outlive a failed path, for a restart, 60
                      offload, port_range, bind_addresses, interface_filter the sockets
                      udp_mux                                               a UdpMux: its port, for many
                      interface_poll    seconds between looks at our addresses, 5; 0: network_changed() only
                      ice_tcp           True, "active" or "passive": candidates for TCP, too
                      mdns                                                  True hides our host addresses
                      libdatachannel                                        the plugin's own keys
    background      True: a daemon thread, one for all such connections of the process, sends and receives;
                    poll() only hands over what is finished, so that neither latency nor throughput depend
                    on how often it is called.  False: poll() does everything, and there is no thread.
    capture         a file (pcapng, for Wireshark) that gets all datagrams, and all SCTP packets in the clear;
                    connections may share one.  None for the file that RTCSTACK_PCAP names, if it is set.
    network         where the connection lives: the machine's sockets, a UdpMux, a host of rtcstack.testing.
    random_bytes    n -> n bytes; for tests that repeat exactly.  Never predictable ones elsewhere.

    Signals, in the order of their events:
      session_description_created(type, sdp)     "offer", "answer" or "pranswer": bring it to the other side
      ice_candidate_created(media, index, name)  bring it to the other side's add_ice_candidate()
      data_channel_received(channel)             the other side has created a channel
      connection_state_changed(state)            a STATE_* value
      gathering_state_changed(state)             a GATHERING_STATE_* value
      signaling_state_changed(state)             a SIGNALING_STATE_* value
      selected_pair_changed(local, remote)       "ip:port" of both ends of the path that data takes
      ice_restart_proposed(reason)               our end of that path is gone: call restart_ice()
      ice_candidate_error(url, code, reason)     a server gave no address; 701: no answer of use came

    Raises:
        InvalidParameter, RTCError: a value of the configuration is not allowed.
    Source: Godot's WebRTCPeerConnection; where it is better to differ, docs/godot.md says so.
    """

    STATE_NEW = ConnectionState.NEW
    STATE_CONNECTING = ConnectionState.CONNECTING
    STATE_CONNECTED = ConnectionState.CONNECTED
    STATE_DISCONNECTED = ConnectionState.DISCONNECTED
    STATE_FAILED = ConnectionState.FAILED
    STATE_CLOSED = ConnectionState.CLOSED
    GATHERING_STATE_NEW = GatheringState.NEW
    GATHERING_STATE_GATHERING = GatheringState.GATHERING
    GATHERING_STATE_COMPLETE = GatheringState.COMPLETE
    SIGNALING_STATE_STABLE = SignalingState.STABLE
    SIGNALING_STATE_HAVE_LOCAL_OFFER = SignalingState.HAVE_LOCAL_OFFER
    SIGNALING_STATE_HAVE_REMOTE_OFFER = SignalingState.HAVE_REMOTE_OFFER
    SIGNALING_STATE_HAVE_LOCAL_PRANSWER = SignalingState.HAVE_LOCAL_PRANSWER
    SIGNALING_STATE_HAVE_REMOTE_PRANSWER = SignalingState.HAVE_REMOTE_PRANSWER
    SIGNALING_STATE_CLOSED = SignalingState.CLOSED

    def __init__(
        self,
        configuration: Mapping[str, Any] | None = None,
        *,
        background: bool = False,
        capture: str | None = None,
        network: Network | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if background and not isinstance(network, OsNetwork | None):
            raise InvalidParameter("background: a thread has no use for virtual time: leave out the network")
        self.session_description_created: Signal[str, str] = Signal("session_description_created")
        self.ice_candidate_created: Signal[str, int, str] = Signal("ice_candidate_created")
        self.data_channel_received: Signal[DataChannel] = Signal("data_channel_received")
        self.connection_state_changed: Signal[ConnectionState] = Signal("connection_state_changed")
        self.gathering_state_changed: Signal[GatheringState] = Signal("gathering_state_changed")
        self.signaling_state_changed: Signal[SignalingState] = Signal("signaling_state_changed")
        self.selected_pair_changed: Signal[str, str] = Signal("selected_pair_changed")
        self.ice_restart_proposed: Signal[str] = Signal("ice_restart_proposed")
        self.ice_candidate_error: Signal[str, int, str] = Signal("ice_candidate_error")
        self._is_background = background
        self._capture = capture
        self._calls: deque[Callable[[], object]] = deque()
        self._given_network = network
        self._random_bytes = random_bytes
        self._start(read_configuration({} if configuration is None else configuration))

    def initialize(self, configuration: Mapping[str, Any] | None = None) -> Error:
        """Start afresh with this configuration; the connection so far is cut, its channels close.

        Raises:
            InvalidParameter, RTCError: a value is not allowed; nothing has changed.
        """
        chosen = read_configuration({} if configuration is None else configuration)
        self._session.abort("initialize() was called")
        # What the old connection has still to say means nothing any more, but for the end of its channels.
        for event in (*self._pending, *self._session.take_events()):
            if isinstance(event, ChannelClosed):
                self._emit(event)
        self._farewell()
        self._start(chosen)
        return Error.OK

    def _start(self, chosen: Configuration) -> None:
        network = self._given_network or chosen.udp_mux or OsNetwork(chosen.net)
        self._network = network
        self._session: PeerSession | BackgroundSession
        self._transport: Transport
        if self._is_background and isinstance(network, OsNetwork):
            background = BackgroundSession(
                network, random_bytes=self._random_bytes, options=chosen.session, capture=self._capture
            )
            self._session, self._transport = background, Elsewhere(background)
            farewell: Callable[[], None] = background.leave
        else:
            if isinstance(network, UdpMux):
                network.claim(for_thread=False)
            session = PeerSession(random_bytes=self._random_bytes, options=chosen.session, tag=next_tag())
            observe(session, self._capture)
            self._session, self._transport = session, network.attach(session)
            farewell = partial(_part, session, self._transport)
        # Whoever drops a connection, or ends the program, without close(): the peer is told all the same.
        self._farewell = weakref.finalize(self, farewell)
        self._channels: dict[Channel, DataChannel] = {}
        self._pending: deque[SessionEvent] = deque()
        self._postponed = ""  # the name of the method that came at a bad time
        self._is_delivering = False
        self._seen = -1 if self._calls else 0

    # -- negotiation -------------------------------------------------------------------------------

    def create_data_channel(self, label: str, options: Mapping[str, Any] | None = None) -> DataChannel:
        """Create a channel; the connection keeps it alive.  Also allowed while connected.

        label       at most 65,535 bytes of UTF-8.
        options     keys, all optional: negotiated (bool) with id (0 to 65,534), ordered (bool, True),
                    maxPacketLifeTime (ms) or maxRetransmits (0 to 65,535), protocol (text),
                    priority ("very-low", "low", "medium" or "high").

        Raises:
            InvalidParameter: an option is not allowed, or they do not go together.
            AlreadyExists: the id is in use.
            Closed: the connection is closed.
        """
        config, stream_id = read_channel_options(label, {} if options is None else options)
        return self._face(self._session.create_channel(config, stream_id, self._network.now()))

    def create_offer(self) -> Error:
        """Make an offer, set it as the local description, and gather candidates; signals bring them.

        Raises:
            InvalidState: no channel was created, an offer is pending, or the connection is closed.
        """
        self._session.create_offer()
        self._gather()
        return Error.OK

    def create_answer(self, *, provisional: bool = False) -> Error:
        """Answer the other side's offer; a signal brings the answer.

        Only with answer_at_once False in the configuration: otherwise set_remote_description() has done it.

        provisional     make a "pranswer": the connection comes up, and another one or the answer follows.

        Raises:
            InvalidState: no offer waits for an answer, or the connection is closed.
        """
        self._session.create_answer(self._network.now(), provisional=provisional)
        self._gather()
        return Error.OK

    def restart_ice(self) -> Error:
        """Make an offer that looks for a path anew; the one in use carries data until there is one.

        For a network that has changed.  A peer that knows no restarts (aiortc, libdatachannel) keeps the old
        path, or refuses the offer.

        Raises:
            InvalidState: an offer is pending, nothing was negotiated before, or the connection is closed.
        """
        self._session.create_offer(restart_ice=True)
        return Error.OK

    def set_local_description(self, type: str, sdp: str) -> Error:
        """Confirm a description that session_description_created brought: it holds since it was made.

        With the type "rollback" a pending offer is taken back.

        Raises:
            InvalidParameter, SdpError: it was not made by this connection.
            InvalidState: nothing was made, or there is nothing to take back.
        """
        self._session.set_local_description(type, sdp)
        return Error.OK

    def set_remote_description(self, type: str, sdp: str) -> Error:
        """Apply the other side's description; an offer is answered, and a signal brings the answer.

        An offer takes back one of ours that is pending.  The type "rollback" takes back whichever is.

        Raises:
            SdpError: the text cannot be read, or does not fit; nothing has changed.
            InvalidState, InvalidParameter: the type does not fit the signaling state, or is none.
        """
        self._session.set_remote_description(type, sdp, self._network.now())
        self._gather()
        return Error.OK

    def add_ice_candidate(self, media: str, index: int, name: str) -> Error:
        """Add a candidate of the other side, at any time: early ones wait for the description.

        media, index    which media section it belongs to; a connection has only one that counts.
        name            the "candidate:" line; "" says that no more will come.

        Raises:
            SdpError: the line is no candidate.
            Closed: the connection is closed.
        """
        if not isinstance(name, str):
            raise InvalidParameter(
                f"name is a candidate line, not {name!r}; the end of candidates is an empty one"
            )
        self._session.add_remote_candidate(name)
        return Error.OK

    def get_local_description(self) -> str:
        """Return the local description with all candidates so far, for signaling by copy and paste."""
        return self._session.local_description

    # -- driving -----------------------------------------------------------------------------------

    def poll(self, timeout: float = 0.0) -> Error:
        """Receive, send, do what is due, and deliver signals.

        timeout     seconds to wait for something to happen, if nothing has yet; 0 never waits.

        Nothing that comes from the network raises here; what a callback raises does, and the signals
        behind it come with the next poll().
        """
        _poll_connections((self,), timeout)
        return Error.OK

    def wait_until_open(self, timeout: float) -> bool:
        """Poll until the connection is up and all its channels are open, for at most `timeout` seconds.

        Returns whether they are; False at once when the connection has failed or was closed, for which
        get_failure_reason() has the reason.  Signaling has to go on meanwhile, in callbacks or another
        process; two peers of one program need rtcstack.wait_until_open().
        """
        return wait_until_open((self,), timeout)

    def network_changed(self) -> Error:
        """Look at the addresses of this machine now: somebody says that a network has come or gone.

        Sockets are opened on new addresses and closed on those that are gone; better paths are taken as soon
        as they are found.  While connected the same happens by itself every few seconds.  Where the path in
        use is gone, ice_restart_proposed says so: only a restart tells the other side of the new addresses.
        """
        self._transport.network_changed()
        return Error.OK

    def close(self) -> None:
        """Close the connection: what was sent is delivered first, while poll() is called.

        That takes at most `close_timeout` seconds; then, or where nothing is connected, it is CLOSED.
        Idempotent, allowed in every state, in callbacks, and in handlers of the operating system's signals:
        one that comes in the middle of a poll() is heeded by the next.
        """
        if not self._is_postponed("close"):
            self._session.close(self._network.now())
            self._step()
            self._stir()

    def abort(self) -> None:
        """Close the connection now: what was not delivered is lost; the other side is told.

        Allowed wherever close() is.
        """
        if not self._is_postponed("abort"):
            self._session.abort()
            self._step()
            self._stir()

    # -- looking at it -----------------------------------------------------------------------------

    def get_connection_state(self) -> ConnectionState:
        """Return a STATE_* value; STATE_CONNECTED once channels can be used.

        STATE_FAILED is not always the end: restart_ice(), here or there, revives a connection whose path has
        failed for `restart_timeout` seconds; its channels stay open, and what is sent waits.
        """
        return self._session.connection_state

    def get_gathering_state(self) -> GatheringState:
        """Return a GATHERING_STATE_* value."""
        return self._session.gathering_state

    def get_signaling_state(self) -> SignalingState:
        """Return a SIGNALING_STATE_* value."""
        return self._session.signaling_state

    def get_failure_reason(self) -> str:
        """Return why the connection failed or ended, a sentence; "" before that."""
        return self._session.reason

    def explain(self) -> str:
        """Say in several lines what was tried to connect, and what most probably stands in the way.

        Every candidate of both sides, every pair with its outcome, every server that was of no help, and a
        guess.  When a connection fails, the logger "rtcstack.session" says the same as a warning.
        """
        return self._session.explain()

    def get_stats(self) -> Stats:
        """Return counters of every layer."""
        return self._session.get_stats()

    # -- inside ------------------------------------------------------------------------------------

    @property
    def _is_open(self) -> bool:
        return self._session.connection_state is ConnectionState.CONNECTED and all(
            channel.state is ChannelState.OPEN for channel in self._channels
        )

    def _gather(self) -> None:
        if self._session.wants_sockets:
            self._transport.gather()

    def _step(self) -> None:
        self._transport.step()
        if self._session.is_finished:
            self._transport.close()

    def _is_postponed(self, end: str) -> bool:
        """Leave close() or abort() to the next poll() if whoever calls it has interrupted a layer."""
        if not interrupts_a_layer():
            return False
        self._postponed = end
        self._seen = -1
        self._stir()
        return True

    def _stir(self) -> None:
        """See to it that the next poll() looks at this connection, even among a thousand of one port."""
        session = self._session
        if isinstance(session, PeerSession) and session.woken is not None:
            session.woken()

    def _deliver(self) -> None:
        """Call the callbacks of what has happened, in order; a poll() inside one of them leaves it to us."""
        self._take()
        if self._is_delivering:
            return
        if self._postponed:
            self.abort() if self._postponed == "abort" else self.close()
            self._postponed = ""
        self._is_delivering = True
        try:
            while self._calls or self._pending:
                if self._calls:
                    self._calls.popleft()()
                else:
                    self._emit(self._pending.popleft())
                    self._take()
        finally:
            self._is_delivering = False
            if self._calls or self._pending:
                self._seen = -1  # what an exception has left behind is still to be told
                self._stir()

    def _take(self) -> None:
        """Take what has happened until now; whatever comes later changes `activity` again."""
        self._seen = self._session.activity
        self._pending += self._session.take_events()

    def _emit(self, event: SessionEvent) -> None:
        match event:
            case BufferedAmountLow(channel):
                self._call(self._face(channel).buffered_amount_low)
            case LocalDescription(kind, sdp):
                self._call(self.session_description_created, kind, sdp)
            case LocalCandidate(mid, index, line):
                self._call(self.ice_candidate_created, mid, index, line)
            case ChannelReceived(channel):
                self._call(self.data_channel_received, self._face(channel))
            case ChannelOpened(channel):
                self._call(self._face(channel).opened)
            case ChannelClosed(channel, reason):
                face = self._face(channel)
                self._call(face.closed, reason)
                self._calls.append(face._disconnect)
                del self._channels[channel]
            case CandidateError(url, _, code, reason):
                self._call(self.ice_candidate_error, url, code, reason)
            case ConnectionStateChanged(state):
                self._call(self.connection_state_changed, state)
            case GatheringStateChanged(state):
                self._call(self.gathering_state_changed, state)
            case SignalingStateChanged(state):
                self._call(self.signaling_state_changed, state)
            case IceRestartProposed(reason):
                self._call(self.ice_restart_proposed, reason)
            case SelectedPairChanged(local, remote):
                self._call(self.selected_pair_changed, format_address(local), format_address(remote))

    def _call(self, signal: Signal[*tuple[Any, ...]], *arguments: Any) -> None:
        self._calls += [partial(callback, *arguments) for callback in signal.callbacks]

    def _face(self, channel: Channel) -> DataChannel:
        face = self._channels.get(channel)
        if face is None:
            face = self._channels[channel] = DataChannel(self._session, channel, self._network.now)
        return face

    def __repr__(self) -> str:
        return f"<PeerConnection {self._session.connection_state.name}>"


def _part(session: PeerSession, transport: Transport) -> None:
    """Say goodbye and let the sockets go."""
    session.abort("the connection object is gone")
    transport.close()


class Group(Protocol):
    """What poll() serves besides connections: something that is made of them, as a MultiplayerPeer is."""

    def connections(self) -> Iterable[PeerConnection]:
        """List the connections to poll."""

    def due_in(self) -> float:
        """Tell for how many seconds poll() may wait at most: math.inf for no limit."""

    def deliver(self) -> object:
        """Do what follows from what the connections have received, and deliver signals."""


def poll(peers: Iterable[PeerConnection | Group], timeout: float = 0.0) -> None:
    """Poll several connections and multiplayer peers at once, and wait for the first with something to do.

    timeout     seconds to wait for something to happen, if nothing has yet; 0 never waits.
    """
    peers = tuple(peers)
    if peers and isinstance(first := peers[0], PeerConnection):
        roll = Roll.known(peers, first)
        if roll is not None:
            _poll_roll(roll, first._network, timeout)
            return
    connections: list[PeerConnection] = []
    groups: list[Group] = []
    for peer in peers:
        if isinstance(peer, PeerConnection):
            connections.append(peer)
        else:
            groups.append(peer)
            connections += peer.connections()
            timeout = min(timeout, peer.due_in())
    _poll_connections(tuple(connections), timeout)
    for group in groups:
        group.deliver()


def _poll_connections(peers: tuple[PeerConnection, ...], timeout: float) -> None:
    roll = Roll.of(peers)
    if roll is not None:
        _poll_roll(roll, peers[0]._network, timeout)
        return
    background = [peer._session for peer in peers if isinstance(peer._session, BackgroundSession)]
    if not background:
        _step(peers, timeout)
    elif timeout > 0:
        bell = waiting_bell()
        for session in background:
            session.bell = bell
        try:
            _step(peers, timeout, bell)
        finally:
            for session in background:
                session.bell = None
    elif len(background) < len(peers):
        _step(tuple(peer for peer in peers if not peer._is_background), 0.0)
    for peer in peers:
        if peer._session.activity != peer._seen:
            peer._deliver()


def _poll_roll(roll: Roll, network: Network, timeout: float) -> None:
    """Poll all connections of a port: what has happened to one has made it due, or a step finds it out."""
    until = network.now() + timeout
    stirred: dict[PeerConnection, None] = {}
    is_over = False
    while not is_over:
        left = max(0.0, until - network.now())
        is_over = not left
        for transport in network.wait(roll.transports, left):
            peer = roll.peer(transport)
            if peer is not None:
                peer._step()
                if peer._session.activity != peer._seen:
                    stirred[peer] = None
                    is_over = True
    waiting = deque(stirred)
    try:
        while waiting:
            waiting.popleft()._deliver()
    finally:
        for peer in waiting:  # an exception of one's callback leaves the others for the next poll()
            peer._stir()


def wait_until_open(peers: Iterable[PeerConnection], timeout: float) -> bool:
    """Poll several connections until all are up and their channels open; see the method of a connection.

    timeout     seconds, at most.
    """
    peers = tuple(peers)
    now = peers[0]._network.now if peers else time.monotonic
    end = now() + timeout
    while not all([peer._is_open for peer in peers]):  # noqa: C419 - faster
        left = end - now()
        if left <= 0 or any(peer._session.connection_state >= ConnectionState.FAILED for peer in peers):
            return False
        poll(peers, left)
    return True


def _step(peers: tuple[PeerConnection, ...], timeout: float, bell: Doorbell | None = None) -> None:
    """Step those peers that are due, until something concerns one of their applications, or time is out.

    bell        rung when something concerns the application of a background connection.
    """
    owners = {
        peer._transport: peer for peer in peers if not (peer._is_background or peer._session.is_finished)
    }
    transports: tuple[Transport, ...] = tuple(owners)
    network = peers[0]._network if peers else OsNetwork()
    if bell is not None:
        transports = (*transports, bell)
        network = next((peer._network for peer in owners.values()), network)
    elif not owners:
        if timeout > 0:
            network.wait((), timeout)
        return
    until = network.now() + timeout
    is_over = any([peer._session.activity != peer._seen for peer in peers])  # noqa: C419 - faster
    while True:
        left = 0.0 if is_over else max(0.0, until - network.now())
        is_over = not left
        for transport in network.wait(transports, left):
            peer = owners.get(transport)
            if peer is None:
                transport.step()  # the bell
                is_over |= any(peer._session.activity != peer._seen for peer in peers)
                continue
            peer._step()
            if peer._session.activity != peer._seen:
                is_over = True
        if is_over:
            return
