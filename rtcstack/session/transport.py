"""What carries the messages of one connection: ICE, DTLS, SCTP, channels, and the states they go through."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from rtcstack import datachannel, dtls, ice, sctp
from rtcstack.datachannel import Channel, ChannelConfig, ChannelState
from rtcstack.errors import Closed, InvalidState, MessageTooLarge, RTCError
from rtcstack.sdp import RemoteParameters
from rtcstack.session.command import command
from rtcstack.session.events import (
    BufferedAmountLow,
    ConnectionState,
    ConnectionStateChanged,
    GatheringState,
    LocalCandidate,
    SelectedPairChanged,
    SessionEvent,
)
from rtcstack.session.gatherer import Gatherer
from rtcstack.session.gathering import Address, Gathering
from rtcstack.session.options import SessionOptions
from rtcstack.session.tap import Tap

__all__ = ["Batches", "PeerTransport"]

Batches = list[tuple[Address, Address, list[bytes]]]
"""(local address, remote address, datagrams) each."""

_OPEN = ChannelState.OPEN
_PPID_TEXT = datachannel.PPID_STRING
_PPID_BINARY = datachannel.PPID_BINARY

_DEFAULT_PRIORITY = 256
"""Weight of a channel that was announced with priority 0, as libdatachannel announces all."""

_WINDOW_STEP = 1 << 18
"""Bytes, at most, that the application has taken before the association hears of them, which may be worth a
packet of its own; a quarter of a smaller receive window."""

_AT_ONCE = -math.inf

_STUN = (b"\0", b"\1", b"\2", b"\3")
"""First bytes of STUN messages (RFC 7983 section 7)."""

_PEER_CLOSES = (sctp.AssociationState.SHUTDOWN_RECEIVED, sctp.AssociationState.SHUTDOWN_ACK_SENT)

_LARGEST_DATAGRAM = 16_000
"""Bytes of UDP payload beyond which no larger ones are tried: a DTLS record holds 16,384."""
_IP_AND_UDP = {4: 28, 6: 48}
"""Bytes in front of the UDP payload, by version of IP."""

_UP = (ConnectionState.CONNECTED, ConnectionState.DISCONNECTED)


class _Timed(Protocol):
    """A layer with a clock."""

    @property
    def deadline(self) -> float: ...

    def handle_timeout(self, now: float) -> object: ...


class PeerTransport(Gathering):
    """ICE, DTLS, SCTP and the channels of one connection; PeerSession adds the negotiation.

    It is set going by what two descriptions say, and knows no description itself.
    """

    def __init__(self, random_bytes: Callable[[int], bytes], options: SessionOptions, tag: str) -> None:
        super().__init__(random_bytes, options, tag)
        self.connection_state = ConnectionState.NEW
        self.reason = ""
        self.max_send_size = options.max_message_size
        self.activity = 0
        self.is_finished = False
        self.channels = datachannel.Registry(
            datachannel.Options(max_message_size=options.max_message_size), tag=tag
        )
        self._own_certificate = options.certificate
        self._dtls: dtls.Endpoint | None = None
        # What will be the association once DTLS stands; its INIT may travel with the descriptions.
        self._prepared: sctp.Association | None = None
        self._association: sctp.Association | None = None
        self.route: tuple[Address, Address] | None = None
        self.may_fragment = False
        self._link_mtu: int | None = None  # of a path that the association has not heard of; 0 = unknown
        self._role: str | None = None
        self._remote: RemoteParameters | None = None
        self._early_datagrams: list[bytes] = []
        self._pair_changes = 0
        self.tap: Tap | None = None
        self._packets_sent = self._packets_received = 0
        self._bytes_sent = self._bytes_received = 0
        self._released = 0
        self._window_step = min(_WINDOW_STEP, options.sctp.receive_window // 4)
        self._connect_deadline = math.inf
        self._close_deadline = math.inf
        # Set by the next take_packets(): ICE fails inside of calls that know no clock.
        self._revival_deadline: float | None = None
        # Channels whose end the peer has confirmed but not echoed, and until when that is waited for;
        # the next take_packets() sets the time.
        self._half_closed: dict[Channel, float] = {}
        self._is_ending = False
        self._others_due = math.inf  # the first deadline but that of ICE, as of the last take_packets()

    # -- what descriptions say ---------------------------------------------------------------------

    def _apply_remote(self, remote: RemoteParameters, setup: str, now: float) -> None:
        """Start the transport with what the peer has described, or refresh its candidates."""
        agent = self._agent
        assert agent is not None  # made with our own description
        if self._dtls is None:
            self._role = setup
            self.channels.set_role(client=setup == "active")
            self._dtls = dtls.Endpoint(
                certificate=self._certificate,
                client=setup == "active",
                fingerprints=remote.fingerprints,
                mtu=self.options.mtu,
                options=self.options.dtls,
                tag=self.tag,
            )
            assert self._prepared is not None  # as the agent
            self._prepared.set_remote_port(remote.sctp_port)
            agent.start(now)
            self._connect_deadline = now + self.options.connect_timeout
            self._set_connection_state(ConnectionState.CONNECTING)
        elif not self.channels.is_connected and agent.state is ice.IceState.FAILED:
            self._connect_deadline = now + self.options.connect_timeout
        ours = agent.ufrag
        self._remote = remote
        agent.set_remote_credentials(remote.ufrag, remote.password, lite=remote.ice_lite)
        if agent.ufrag != ours:
            self._gather_again(agent)
        limits = [size for size in (self.options.max_message_size, remote.max_message_size) if size]
        self.max_send_size = min(limits, default=0)
        for candidate in remote.candidates:
            self._add_remote(agent, candidate, remote.ufrag)
        if remote.end_of_candidates:
            self._end_remote(agent, remote.ufrag)

    def _take_early_datagrams(self, now: float) -> None:
        """Use the records that came before the remote description."""
        datagrams, self._early_datagrams = self._early_datagrams, []
        if datagrams and self._dtls is not None:
            self._receive_records(datagrams, now)

    @property
    def _certificate(self) -> dtls.Certificate:
        # Made when the first description needs it: a connection that is never used costs no key.
        if self._own_certificate is None:
            self._own_certificate = dtls.Certificate.generate()
        return self._own_certificate

    def _start_ice(self, *, controlling: bool) -> ice.Agent:
        agent = super()._start_ice(controlling=controlling)
        self._prepared = self._make_association()
        return agent

    def _make_association(self) -> sctp.Association:
        options = replace(
            self.options.sctp,
            mtu=(self.options.mtu - dtls.OVERHEAD) & ~3,  # chunks are padded to 4 bytes
            max_message_size=self.options.max_message_size,
        )
        return sctp.Association(options=options, random_bytes=self._random_bytes, tag=self.tag)

    def _start_gathering(self) -> None:
        if self.gathering_state is GatheringState.NEW:
            self.wants_sockets = True
            self._set_gathering_state(GatheringState.GATHERING)
            self._set_connection_state(ConnectionState.CONNECTING)

    # -- channels ----------------------------------------------------------------------------------

    @command
    def create_channel(self, config: ChannelConfig, stream_id: int | None, now: float) -> Channel:
        """Create a channel; before the connection is up it opens with it.

        Raises:
            InvalidParameter, AlreadyExists: see Registry.create.
            Closed: the session is closed.
        """
        self._require_alive()
        channel = self.channels.create(config, stream_id)
        if self._association is not None:
            self._flush_channels(self._association, now)
        return channel

    @command
    def close_channel(self, channel: Channel) -> None:
        """Close a channel: what was sent is delivered first."""
        self.channels.close(channel)

    def send(self, channel: Channel, payload: bytes, is_text: bool, now: float) -> None:
        """Queue one message.

        Raises:
            InvalidState: the channel is not open yet.
            Closed: the channel closes, or is closed.
            MessageTooLarge: the message exceeds what both sides accept.
            Full: the send buffer has reached `send_buffer`.
        """
        association, stream_id = self._association, channel.id
        if channel.state is not _OPEN or association is None or stream_id is None:
            if channel.state is ChannelState.CONNECTING:
                raise InvalidState(
                    "the channel is not open yet: poll() until get_ready_state() is STATE_OPEN"
                )
            raise Closed(
                f"the channel is {channel.state.name.lower()}: {channel.close_reason or 'by this side'}"
            )
        size = len(payload)
        if self.max_send_size and size > self.max_send_size:
            raise MessageTooLarge(size, self.max_send_size)
        ppid = _PPID_TEXT if is_text else _PPID_BINARY
        if not size:
            # A DATA chunk cannot be empty: one zero byte stands for nothing (RFC 8831 section 6.6).
            ppid, payload = ppid + (5 if is_text else 4), b"\0"
        association.send(
            stream_id,
            ppid,
            payload,
            ordered=channel.ordered,
            max_retransmits=channel.config.max_retransmits,
            lifetime=channel.lifetime,
            now=now,
        )
        channel.messages_sent += 1
        channel.bytes_sent += size
        if not self._is_awake:
            self._wake()

    def take_message(self, channel: Channel) -> tuple[bytes, bool]:
        """Hand over the next message of a channel, (payload, is_text).

        Raises:
            IndexError: no message is waiting.
        """
        channels = self.channels
        message = channels.take(channel)
        if channels.released - self._released >= self._window_step and not self._is_awake:
            self._wake()
        return message

    def hand_over(self, channel: Channel) -> deque[tuple[bytes, bool]]:
        """Hand over all messages of a channel at once, (payload, is_text) each.

        They count as waiting here until release() is called.
        """
        messages, channel.incoming = channel.incoming, deque()
        return messages

    def release(self, size: int) -> None:
        """Take notice that the application has taken so many bytes of what hand_over() gave; 1 if empty."""
        channels = self.channels
        channels.released += size
        if channels.released - self._released >= self._window_step:
            self._is_awake = True
            self.deadline = _AT_ONCE

    def buffered_amount(self, channel: Channel) -> int:
        """Bytes of the channel's messages that are neither acknowledged nor given up yet."""
        if self._association is None or channel.id is None or channel.state is ChannelState.CLOSED:
            return 0
        # The announcement of the channel does not count, and goes first.
        return min(self._association.buffered_amount(channel.id), channel.bytes_sent)

    @property
    def total_buffered(self) -> int:
        """Bytes of all channels' messages that are neither acknowledged nor given up yet."""
        association = self._association
        return 0 if association is None else association.total_buffered

    @property
    def is_send_buffer_high(self) -> bool:
        """Whether a sender that can wait should: all channels together use half of `send_buffer`."""
        association = self._association
        return association is not None and 2 * association.total_buffered > self.options.sctp.send_buffer

    @property
    def wants_window_update(self) -> bool:
        """Whether the application has taken so much that the peer should be told with the next packet."""
        return self.channels.released - self._released >= self._window_step

    @command
    def set_buffered_amount_low_threshold(self, channel: Channel, threshold: int) -> None:
        """Report BufferedAmountLow when buffered_amount() falls to `threshold` bytes; -1, at first: never."""
        channel.low_threshold = threshold
        if self._association is not None and channel.id is not None:
            self._association.set_buffered_amount_low_threshold(channel.id, threshold)

    # -- from below --------------------------------------------------------------------------------

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Take datagrams that one socket received from one source.

        local       address of the socket.  remote: address of the sender.
        Source: RFC 7983 section 7 (first byte 0 to 3 is STUN, 20 to 63 DTLS).
        """
        gatherer = self._gatherer
        if self.is_finished:
            return
        self._packets_received += len(datagrams)
        for datagram in datagrams:
            self._bytes_received += len(datagram)
        if self.tap is not None:
            self.tap.heard(local, remote, datagrams, now)
        if gatherer is not None and gatherer.owns(local, remote):
            for relayed, peer, packets in gatherer.receive(local, remote, datagrams, now):
                self._receive_from_peer(relayed, peer, packets, now)
        else:
            if len(datagrams) == 1 and datagrams[0][:1] in _STUN and self._agent is not None:
                # All that an idle connection gets.
                self._agent.receive(datagrams, local, remote, now)
                self._pump_checks(self._agent)
                return
            self._receive_from_peer(local, remote, datagrams, now)
        self._pump()

    def _receive_from_peer(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        agent = self._agent
        if agent is None:
            return
        records = [datagram for datagram in datagrams if datagram and 19 < datagram[0] < 64]
        if len(records) != len(datagrams):
            checks = [datagram for datagram in datagrams if datagram and datagram[0] < 4]
            self.drops["not_stun_or_dtls"] += len(datagrams) - len(records) - len(checks)
            if checks:
                agent.receive(checks, local, remote, now)
        if records:
            # Before ICE has vouched for a source, its records could only do harm (RFC 8827 section 6.5).
            if not agent.is_valid(local, remote):
                self.drops["unvalidated_source"] += len(records)
            elif self._dtls is None:
                room = self.options.max_early_datagrams - len(self._early_datagrams)
                self._early_datagrams += records[:room]
                self.drops["early_overflow"] += len(records[room:])
            else:
                self.activity += 1
                self._receive_records(records, now)

    def _receive_records(self, records: list[bytes], now: float) -> None:
        agent, endpoint = self._agent, self._dtls
        assert agent is not None
        assert endpoint is not None
        endpoint.receive(records, now)
        packets = endpoint.take_data()
        if packets and self.tap is not None:
            self.tap.decrypted(packets, now)
        if self._association is None:
            self._pump()
        association = self._association
        if packets and association is not None:
            agent.heard(now)
            if association.state is sctp.AssociationState.CLOSED and not self._is_ending:
                self._connect_association(association, now)  # the peer may be ahead of us
            association.receive(packets, now)
            if not self.channels.is_connected:
                self._pump()  # the first messages may come in the packet that establishes the association
            messages = association.take_messages()
            if messages:
                self.channels.receive(messages)
            if association.state in _PEER_CLOSES:
                self.channels.stop("the connection is being closed by the peer")

    def handle_timeout(self, now: float) -> None:
        """Do what is due: call it when the clock reaches `deadline`."""
        agent = self._agent
        if agent is not None and agent.deadline <= now < self._others_due and not self._is_awake:
            agent.handle_timeout(now)
            self._pump_checks(agent)
            return
        due = [layer for layer in (agent, *self._layers()) if layer is not None and layer.deadline <= now]
        if not due and self._own_deadline() > now:  # take_packets() is, nothing else
            self.deadline = _AT_ONCE
            return
        for layer in due:
            layer.handle_timeout(now)
        if self._revival_deadline is not None and self._revival_deadline <= now:
            self._end(ConnectionState.FAILED, self.reason)
        if self._connect_deadline <= now:
            self._connect_deadline = math.inf
            self._end(
                ConnectionState.FAILED, f"no channel could be opened in {self.options.connect_timeout:g} s"
            )
        if self._close_deadline <= now:
            self._end(
                ConnectionState.CLOSED, "closed; not everything that was sent could be delivered in time"
            )
        for channel in [channel for channel, until in self._half_closed.items() if until <= now]:
            del self._half_closed[channel]
            self.channels.give_up(channel)
        self._pump()

    def take_packets(self, now: float) -> Batches:
        """Build and hand over what is to be sent: (local address, remote address, datagrams) each.

        Then: send it, and read `deadline`, which this call has set.
        """
        agent = self._agent
        if agent is None or self.is_finished:
            self.is_finished = self._is_ending
            self._is_awake = False
            self.deadline = math.inf
            return []
        if agent.deadline <= now:
            self.handle_timeout(now)  # for the events that this may bring
        out = agent.take_packets(now)
        has_more = False
        # What only answers checks is not looked at twice: a server has a thousand that do nothing else.
        is_idle = now < self._others_due and not self._is_awake
        if not is_idle:
            has_more = self._take_records(agent, out, now) or self._is_ending  # until nothing is left
        if self._gatherer is not None:
            out = self._route(out, self._gatherer, now)
        if not is_idle or self._gatherer is not None:
            self._others_due = self._soonest_but_ice()
        self._is_awake = has_more
        self.deadline = _AT_ONCE if has_more else min(agent.deadline, self._others_due)
        if self._is_ending and not out:
            agent.close()
            self.is_finished = True
            if self._gatherer is not None:
                # The goodbye has left through the relays: now they can be given back.
                self._gatherer.close()
                out = self._gatherer.take_packets(now)
            self._is_awake = False
            self.deadline = math.inf
        for local, remote, datagrams in out:
            self._packets_sent += len(datagrams)
            for datagram in datagrams:
                self._bytes_sent += len(datagram)
            if self.tap is not None:
                self.tap.said(local, remote, datagrams, now)
        return out

    def _take_records(self, agent: ice.Agent, out: Batches, now: float) -> bool:
        """Add what DTLS and all above it have to send. Returns whether there is more of it."""
        endpoint, association = self._dtls, self._association
        has_more = False
        if self._revival_deadline == math.inf:
            self._revival_deadline = now + self.options.restart_timeout
        if self._half_closed:
            until = now + self.options.close_timeout
            self._half_closed = {
                channel: min(known, until)
                for channel, known in self._half_closed.items()
                if channel.state is ChannelState.CLOSING
            }
        pair = agent.selected
        if endpoint is not None and pair is not None:
            if endpoint.state is dtls.DtlsState.NEW:
                endpoint.start(now)
            if association is not None:
                if association.state is sctp.AssociationState.CLOSED and not self._is_ending:
                    self._connect_association(association, now)
                channels = self.channels
                if self._link_mtu is not None:
                    association.take_path(_largest_packet(pair.local_address, self._link_mtu), now)
                    self._link_mtu = None
                if channels.has_work:
                    self._flush_channels(association, now)
                if channels.released - self._released >= self._window_step:
                    association.release(channels.released - self._released)
                    self._released = channels.released
                packets = association.take_packets(now)
                if packets:
                    if self.tap is not None:
                        self.tap.encrypted(packets, now)
                    endpoint.send(packets)
                    has_more = association.has_more
                    if self.may_fragment:
                        self.may_fragment = association.needs_fragments
            if self._is_ending:
                endpoint.close()
            datagrams = endpoint.take_packets(now)
            if datagrams:
                out.append((pair.local_address, pair.remote_address, datagrams))
        return has_more

    def _soonest_but_ice(self) -> float:
        """Find the deadline that comes first of our own and of the layers other than ICE."""
        deadline = self._own_deadline()
        for layer in self._layers():
            if layer is not None and (due := layer.deadline) < deadline:
                deadline = due
        return deadline

    def _own_deadline(self) -> float:
        deadline = min(self._connect_deadline, self._close_deadline)
        if self._revival_deadline is not None and self._revival_deadline < deadline:
            deadline = self._revival_deadline
        if self._half_closed:
            deadline = min(deadline, *self._half_closed.values())
        return deadline

    def _layers(self) -> tuple[_Timed | None, ...]:
        """List who beside ICE has a clock.

        Without a path the association's stands still, for nothing can be lost.
        """
        agent = self._agent
        if agent is None or agent.selected is None:
            return self._gatherer, self._dtls
        return self._gatherer, self._dtls, self._association

    def _route(self, batches: Batches, gatherer: Gatherer, now: float) -> Batches:
        """Put what leaves from a relay into what goes to its server, and ask the servers what is due."""
        if gatherer.relays:
            for local, remote, datagrams in batches:
                if local in gatherer.relays:
                    gatherer.relay(local, remote, datagrams)
            batches = [batch for batch in batches if batch[0] not in gatherer.relays]
        if gatherer.has_packets or gatherer.deadline <= now:
            batches += gatherer.take_packets(now)
            self._pump()
        return batches

    def _connect_association(self, association: sctp.Association, now: float) -> None:
        """Begin the association: at once if both descriptions carried an INIT, else by the handshake.

        Source: draft-hancke-tsvwg-snap; RFC 8841 section 9.3 (both sides begin).
        """
        remote = self._remote
        assert remote is not None  # it named the fingerprint
        peer_init = remote.sctp_init
        # libdatachannel copies attributes that it does not know, our own INIT among them, into its answer.
        if peer_init is None or not self.options.snap or peer_init == association.local_init():
            association.connect(now)
            return
        try:
            association.connect_with(peer_init, now)
            if self._role == "active":
                # The DTLS server keeps its last flight, and repeats it, until something protected comes.
                association.request_heartbeat(now)
        except RTCError as error:
            self._end(ConnectionState.FAILED, f"the a=sctp-init of the peer cannot be used: {error}")
        self._pump()

    def _flush_channels(self, association: sctp.Association, now: float) -> None:
        """Hand the association what the channels have for it, before later data of theirs."""
        if association.state is sctp.AssociationState.ESTABLISHED:
            for stream_id, payload in self.channels.take_control():
                association.send(stream_id, datachannel.PPID_DCEP, payload, now=now)
            resets = self.channels.take_resets()
            if resets:
                association.reset_streams(resets)

    def take_events(self) -> list[SessionEvent]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    # -- events of the layers ----------------------------------------------------------------------

    def _pump(self) -> None:
        """Carry events from layer to layer until all is quiet; what it led to may leave at once."""
        if not self._is_awake:
            self._wake()
        self._take_ice_events()
        if self._gatherer is not None:
            for server_event in self._gatherer.take_events():
                self._on_server(server_event)
                self._take_ice_events()
        if self._dtls is not None:
            for dtls_event in self._dtls.take_events():
                self._on_dtls(dtls_event)
        association = self._association
        if association is not None:
            for sctp_event in association.take_events():
                self._on_sctp(sctp_event)
        for channel_event in self.channels.take_events():
            self._events.append(channel_event)
            if isinstance(channel_event, datachannel.ChannelOpened | datachannel.ChannelReceived):
                self._set_up_stream(channel_event.channel)
        if self._events:
            self.activity += 1

    def _pump_checks(self, agent: ice.Agent) -> None:
        """Do as _pump() where only ICE had something to do: of a check of consent nothing comes."""
        if self.deadline != _AT_ONCE:
            self._wake_for_checks()
        events = agent.take_events()
        if events:
            for event in events:
                self._on_ice(event)
            self._pump()

    def _take_ice_events(self) -> None:
        if self._agent is not None:
            for event in self._agent.take_events():
                self._on_ice(event)

    def _on_ice(self, event: ice.Event) -> None:
        agent = self._agent
        assert agent is not None
        match event:
            case ice.LocalCandidate(candidate):
                line = self._describe(candidate, agent.ufrag).write()
                self._events.append(LocalCandidate(*self._media, line))
            case ice.EndOfLocalCandidates():
                self._set_gathering_state(GatheringState.COMPLETE)
            case ice.TcpConnect(local, remote):
                self._connects.append((local, remote))
            case ice.PairSelected(pair):
                self._pair_changes += 1
                self._events.append(SelectedPairChanged(pair.local_address, pair.remote_address))
                if self._gatherer is not None and pair.local_address in self._gatherer.relays:
                    self._gatherer.bind(pair.local_address, pair.remote_address)
                if self._dtls is not None and pair.rtt:
                    self._dtls.set_rtt(pair.rtt)
                self._link_mtu = 0
                # A relay is reached by another route, and frames on TCP have a limit of their own.
                is_direct = pair.local.type != "relay" and pair.local.tcp_type is None
                self.route = (pair.local_address, pair.remote_address) if is_direct else None
            case ice.StateChanged(ice.IceState.FAILED):
                self._lose_path(agent.failure_reason)
            case ice.StateChanged(ice.IceState.CHECKING):
                if self.connection_state is ConnectionState.FAILED and not self._is_ending:
                    self.reason = ""
                    self._set_connection_state(ConnectionState.CONNECTING)
            case ice.StateChanged(ice.IceState.DISCONNECTED):
                if self.connection_state is ConnectionState.CONNECTED:
                    self._set_connection_state(ConnectionState.DISCONNECTED, "the peer has gone silent")
            case ice.StateChanged(ice.IceState.CONNECTED | ice.IceState.COMPLETED):
                self._revival_deadline = None
                if self.channels.is_connected and not self._is_ending:
                    self._set_connection_state(ConnectionState.CONNECTED)

    @command
    def route_found(self, mtu: int) -> None:
        """Take the answer to `route`.

        mtu    bytes of an IP packet that the first link of this route carries; 0 if the system does not tell.
        """
        self.route = None
        if mtu:
            self._link_mtu = mtu

    def _on_dtls(self, event: dtls.Event) -> None:
        match event:
            case dtls.Connected():
                self._association = self._prepared
            case dtls.Closed():
                self._end(ConnectionState.CLOSED, "closed by the peer")
            case dtls.Failed(reason):
                self._end(ConnectionState.FAILED, reason)

    def _on_sctp(self, event: sctp.Event) -> None:
        association = self._association
        assert association is not None
        match event:
            case sctp.BufferedAmountLow(stream_id):
                channel = self.channels.channels.get(stream_id)
                if channel is not None and channel.bytes_sent:
                    self._events.append(BufferedAmountLow(channel))
            case sctp.Established():
                self._connect_deadline = math.inf
                if self._close_deadline == math.inf:
                    self._set_connection_state(ConnectionState.CONNECTED)
                    self.channels.connect(client=self._role == "active", max_streams=association.max_streams)
            case sctp.IncomingStreamsReset(stream_ids):
                self.channels.reset_received(stream_ids or tuple(self.channels.channels))
            case sctp.OutgoingStreamsReset(stream_ids):
                waiting = self.channels.reset_sent(stream_ids)
                self._half_closed.update(dict.fromkeys(waiting, math.inf))
            case sctp.ResetDenied(stream_ids):
                # The peer will not reset its side either: waiting for it would keep the channels for ever.
                self.channels.reset_sent(stream_ids)
                self.channels.reset_received(stream_ids)
            case sctp.MessageDropped(stream_id):
                limit = self.options.max_message_size
                self.channels.fail(stream_id, f"the peer's message exceeds our max_message_size of {limit}")
            case sctp.PathNarrowed():
                self.may_fragment = True
            case sctp.Restarted():
                self.channels.disconnect("the peer has restarted: what was in flight is lost")
            case sctp.Closed(reason):
                self._end(ConnectionState.CLOSED, reason)

    def _set_up_stream(self, channel: Channel) -> None:
        """Tell the association what was chosen for a channel before it had a stream."""
        association, stream_id = self._association, channel.id
        if association is not None and stream_id is not None:
            association.set_priority(stream_id, channel.config.priority or _DEFAULT_PRIORITY)
            if channel.low_threshold:
                association.set_buffered_amount_low_threshold(stream_id, channel.low_threshold)

    # -- states ------------------------------------------------------------------------------------

    @command
    def close(self, now: float) -> None:
        """Close the connection: what was sent is delivered first, for at most `close_timeout` seconds.

        Idempotent.  The state is CLOSED at once where nothing is connected yet.
        """
        if self._is_ending or self._close_deadline != math.inf:
            return
        association = self._association
        if association is not None and self.connection_state in _UP:
            self.channels.stop("the connection was closed by this side")
            association.shutdown(now)
            self._close_deadline = now + self.options.close_timeout
        else:
            self.abort("closed by this side")

    @command
    def abort(self, reason: str = "aborted by this side") -> None:
        """Close the connection now: what has not been delivered is lost; the peer is told."""
        if self._association is not None and not self._is_ending:
            self._association.abort(reason)
        self._end(ConnectionState.CLOSED, reason)

    @property
    def watches_network(self) -> bool:
        """Whether a change of our addresses matters: there is a path, or one may come again."""
        return not self._is_ending and self.connection_state >= ConnectionState.CONNECTED

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended for good; where only its path has failed, a restart revives it."""
        return self._is_ending

    def _lose_path(self, reason: str) -> None:
        """Enter FAILED; what ran over the path stays for `restart_timeout` seconds, for another one."""
        if self._is_ending or self._close_deadline != math.inf or not self.options.restart_timeout:
            self._end(ConnectionState.FAILED, reason)
            return
        self.reason = reason
        self._connect_deadline = math.inf
        if self._revival_deadline is None:
            self._revival_deadline = math.inf
        self._set_connection_state(ConnectionState.FAILED, reason)

    def _require_alive(self) -> None:
        if self._is_ending or self._close_deadline != math.inf:
            raise Closed(f"the connection is closed: {self.reason or 'close() was called'}")

    def _end(self, state: ConnectionState, reason: str) -> None:
        """Enter a final state: channels close, and what says goodbye is still sent."""
        if self._is_ending:
            return
        self.reason = reason
        self._is_ending = True
        self._revival_deadline = None
        self._named.clear()
        self._connect_deadline = self._close_deadline = math.inf
        self._half_closed.clear()
        self.channels.disconnect(reason)
        self._set_connection_state(state, reason)

    def _set_connection_state(self, state: ConnectionState, reason: str = "") -> None:
        if state is not self.connection_state:
            self._log.debug("connection %s %s", state.name, reason)
            self.connection_state = state
            self._events.append(ConnectionStateChanged(state, reason))


def _largest_packet(local: Address, mtu: int) -> int:
    """Say how large an SCTP packet may be on a link of this MTU, bytes; 0 if that is unknown."""
    if not mtu:
        return 0
    payload = min(mtu - _IP_AND_UDP[6 if ":" in local[0] else 4], _LARGEST_DATAGRAM)
    return max(payload - dtls.OVERHEAD, 4) & ~3
