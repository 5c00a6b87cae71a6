"""The sans-IO TURN client: one relayed address, kept alive, with permissions and channels (RFC 8656)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from rtcstack import stun
from rtcstack.errors import InvalidParameter, InvalidState, WireError
from rtcstack.log import Log
from rtcstack.stun import Address, Message, MessageClass
from rtcstack.timer import Timer
from rtcstack.turn.credentials import Credentials
from rtcstack.turn.events import (
    NO_ANSWER,
    Allocated,
    AlternateServer,
    Closed,
    Drops,
    Event,
    Failed,
    PeerRefused,
    State,
    Stats,
)
from rtcstack.turn.framing import StreamSplitter, read_channel_data, write_channel_data
from rtcstack.turn.grants import CREATE_PERMISSION, GRANTED, IDLE, REFUSED, Grant, Grants
from rtcstack.turn.judge import canonical_peer, canonical_server, judge_address, judge_redirection
from rtcstack.turn.options import Options
from rtcstack.turn.requests import Answer, Requests

__all__ = ["Client"]


ALLOCATE = 0x003
REFRESH = 0x004
SEND = 0x006
DATA = 0x007
"""Methods (RFC 8656 section 17)."""

_UDP = 17
_FAMILIES = {4: 1, 6: 2}
_LIFETIME = 600
_DEFAULTS = Options()

_ALLOCATED = State.ALLOCATED

_HINTS = {
    403: "the server does not allow it",
    437: "it has an allocation for our local port already: try again from another one",
    440: "it has no relay of this address family",
    442: "it does not relay UDP",
    486: "there are too many relays in use with this username: try again in a minute",
    508: "it has no relay left: try again in a minute",
}
"""What an error answer to Allocate means for the user (RFC 8656 section 7.4)."""


class Client:
    """A relay on one TURN server, over a socket or connection that the caller owns.

    server          where requests go; what `receive` gets has come from there.
    username, password    long-term credentials; "" and "" if there are none.
    transport       "udp", or "stream" for TCP and TLS.
    random_bytes    count -> that many unpredictable bytes.
    family          4 or 6: of the relayed address, and so of the peers that it can reach.
    redirected      another server has sent us here: this one may not send us on.

    state           State.
    relayed, mapped    our address on the relay and as the server sees it; None before State.ALLOCATED.
    deadline        seconds; call handle_timeout, then take_packets. math.inf while nothing is due.

    permit, bind_channel and send may come at any time; what they need is asked for when the relay is there.
    """

    def __init__(
        self,
        *,
        server: Address,
        username: str = "",
        password: str = "",
        transport: Literal["udp", "stream"] = "udp",
        random_bytes: Callable[[int], bytes],
        options: Options = _DEFAULTS,
        family: Literal[4, 6] = 4,
        redirected: bool = False,
        tag: str = "-",
    ) -> None:
        self._log = Log("turn", tag)
        if transport not in ("udp", "stream") or family not in _FAMILIES:
            raise InvalidParameter(
                f"transport is 'udp' or 'stream' and family 4 or 6, not {transport!r}, {family!r}"
            )
        self.server = canonical_server(server)
        self.options = options
        self.state = State.NEW
        self.relayed: Address | None = None
        self.mapped: Address | None = None
        self.deadline = math.inf
        self.drops = Drops()
        self.stats = Stats()
        self._random_bytes = random_bytes
        self._family = family
        self._redirected = redirected
        self._splitter = StreamSplitter() if transport == "stream" else None
        self._credentials = Credentials(username, password)
        self._requests = Requests(
            self._credentials,
            random_bytes,
            offsets=stun.schedule(options.rto) if transport == "udp" else (0.0, options.stream_timeout),
            is_reliable=transport == "stream",
            stats=self.stats,
            drops=self.drops,
        )
        self._grants = Grants(options)
        self._now = -math.inf
        self._give_up = Timer(options.timeout)
        """The allocation, or its deletion, has taken too long."""
        self._refresh = Timer(_LIFETIME)
        self.is_in_doubt = False
        self._expiry = Timer(_LIFETIME)
        """The server has forgotten the allocation."""
        self._silence_ends = math.inf
        self._last_sent = -math.inf
        self._wants_deletion = False
        self._outgoing: list[bytes] = []
        self._data: list[tuple[Address, list[bytes]]] = []
        self._data_count = 0
        self._events: list[Event] = []

    # Commands

    def start(self, now: float) -> None:
        """Ask for a relay; a stream must be connected by now.

        Raises InvalidState if called twice.
        Source: RFC 8656 section 7.1.
        """
        if self.state is not State.NEW:
            raise InvalidState(f"a TURN client starts once; this one is {self.state.value}")
        self._now = now
        attributes = {stun.REQUESTED_TRANSPORT: _UDP}
        if self._family == 6:
            # IPv4 is what a server gives that is not asked, and old ones know no other.
            attributes[stun.REQUESTED_ADDRESS_FAMILY] = _FAMILIES[6]
        self._requests.send(ALLOCATE, attributes, now)
        self._give_up.start(now)
        self._set_state(State.ALLOCATING)
        self._update_deadline()

    def permit(self, peer_ip: str) -> None:
        """Let a peer send to us: its address, whatever the port.

        Raises InvalidParameter if it is no IP address of one host in the relay's family.
        Source: RFC 8656 sections 9 and 10.
        """
        if self._grants.permit(canonical_peer(peer_ip, self._family)) is None:
            self.drops.permission_overflow += 1
        self._note_wanted()

    def verify(self) -> None:
        """Ask at once whether the relay is still there: the server, or the NAT before us, may have restarted.

        `is_in_doubt` until it has answered, or has not; where the relay is gone, Failed tells.
        """
        if self.state is _ALLOCATED and not self.is_in_doubt:
            self.is_in_doubt = True
            self._refresh.start(self._now, 0)
            self.deadline = min(self.deadline, self._now)

    def bind_channel(self, peer: Address) -> None:
        """Get a channel to a peer, which costs 4 bytes a datagram instead of 36, and permit it.

        Beyond max_channels the peer stays without one.
        Raises InvalidParameter as `permit`, and for a port that is none.
        Source: RFC 8656 section 12.
        """
        peer = canonical_peer(peer[0], self._family), peer[1]
        if not 0 < peer[1] < 65536:
            raise InvalidParameter(f"{peer!r} is no address of a peer: the port must be from 1 to 65535")
        self.permit(peer[0])
        if self._grants.bind(peer) is None:
            self.drops.channel_overflow += 1
        self._note_wanted()

    def is_bound(self, peer: Address) -> bool:
        """Tell whether datagrams to a peer go through a channel now."""
        channel = self._grants.channels.get(peer)
        return channel is not None and channel.state is GRANTED

    def send(self, peer: Address, datagrams: list[bytes]) -> None:
        """Relay datagrams to a peer: through its channel if it is bound, else as Send indications.

        A peer without permission gets one: the request leaves before the data does. What cannot be sent,
        because the relay is not there or the server refuses the peer, is counted and dropped.

        Raises InvalidParameter as `permit`.
        Source: RFC 8656 sections 11.1 and 12.5.
        """
        count = len(datagrams)
        if self.state is not _ALLOCATED:
            self.drops.not_allocated += count
            return
        grants = self._grants
        permission = grants.permissions.get(peer[0])
        if permission is None:
            peer = canonical_peer(peer[0], self._family), peer[1]
            permission = grants.permit(peer[0])
            if permission is None:
                self.drops.permission_overflow += count
                return
        if permission.state is REFUSED:
            self.drops.refused_peer += count
            return
        if len(self._outgoing) + count > self.options.max_queued:
            self.drops.send_overflow += count
            return
        permission.is_used = True
        self.stats.datagrams_sent += count
        channel = grants.channels.get(peer)
        if channel is not None:
            if channel.state is GRANTED:
                channel.is_used = True
                self._outgoing += write_channel_data(
                    channel.number, datagrams, padded=self._splitter is not None
                )
                return
            if channel.state is IDLE:
                grants.bind(peer)
        self.stats.send_indications += count
        for data in datagrams:
            self._indicate(SEND, {stun.XOR_PEER_ADDRESS: peer, stun.DATA: data})

    def close(self) -> None:
        """Give the relay back; Closed comes when the server has answered, or has not in time.

        Then: take_packets, as long as there is a deadline.
        Source: RFC 8656 section 8.1.
        """
        if self.state is State.ALLOCATED or (
            self.state is State.ALLOCATING and self._credentials.realm is not None
        ):
            self._end(State.CLOSING)
            self._wants_deletion = True
            self.deadline = self._now
        elif self.state in (State.NEW, State.ALLOCATING):
            self._end(State.CLOSED)
            self._events.append(Closed())

    def connection_lost(self, reason: str) -> None:
        """Note that the socket or connection to the server is gone, and the relay with it."""
        if self.state is State.CLOSING:
            self._end(State.CLOSED)
            self._events.append(Closed())
        elif self.state in (State.ALLOCATING, _ALLOCATED):
            self._fail(NO_ANSWER, reason)

    # Input

    def receive(self, datagrams: list[bytes], now: float) -> None:
        """Take what has come from the server: datagrams, or pieces of the stream in order.

        Source: RFC 8656 sections 11.4 and 12.6.
        """
        self._now = now
        if self._splitter is not None:
            datagrams = self._splitter.split(datagrams)
        runs, others, bad = read_channel_data(datagrams)
        self.drops.malformed += bad
        if others:
            # Before the data: a channel opens with an answer, and what came before it are Data indications.
            for data in others:
                self._receive_stun(data, now)
            self._update_deadline()
        for number, payloads in runs:
            peer = self._grants.peer_of(number, now)
            if peer is None:
                self.drops.unknown_channel += len(payloads)
            else:
                self._deliver(peer, payloads, now)
        if self._splitter is not None and self._splitter.error:
            self.connection_lost(f"the stream is out of step: {self._splitter.error}")

    def handle_timeout(self, now: float) -> None:
        """Do what is due: send again, refresh, give up."""
        self._now = now
        for answer in self._requests.handle_timeout(now):
            self._conclude(answer, now)
        if self._give_up.expire(now):
            self._run_out_of_time()
        if self._expiry.expire(now):
            self._fail(NO_ANSWER, "the relay has expired: the server did not answer when asked to prolong it")
        if self._refresh.expire(now):
            self._requests.send(REFRESH, {}, now)
        if self._silence_ends <= now:
            self._silence_ends = self._last_sent + self.options.keepalive
            if self._silence_ends <= now:
                self._silence_ends = now + self.options.keepalive
                self.stats.keepalives += 1
                self._indicate(stun.BINDING, {})
        self._ask_for_grants(now)
        self._update_deadline()

    # Output

    def take_packets(self, now: float) -> list[bytes]:
        """Hand over what goes to the server now: datagrams, or pieces of the stream."""
        self._now = now
        if self._wants_deletion:
            self._delete(now)
            self._update_deadline()
        elif self._grants.due <= now:
            self._ask_for_grants(now)
            self._update_deadline()
        packets = self._requests.take()
        if self._outgoing:
            packets += self._outgoing
            self._outgoing = []
        if packets:
            self._last_sent = now
        return packets

    def take_data(self) -> list[tuple[Address, list[bytes]]]:
        """Hand over what peers have sent: (peer, datagrams in order) for each run from the same one."""
        data, self._data = self._data, []
        self._data_count = 0
        return data

    def take_events(self) -> list[Event]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    # Messages of the server

    def _receive_stun(self, data: bytes, now: float) -> None:
        try:
            message = Message.parse(data)
        except WireError:
            self.drops.malformed += 1
            return
        if message.message_class in (MessageClass.SUCCESS, MessageClass.ERROR):
            answer = self._requests.receive(message, now)
            if answer is not None:
                self._conclude(answer, now)
        elif message.message_class is MessageClass.INDICATION and message.method == DATA:
            self._receive_data(message, now)
        else:
            self.drops.unexpected += 1

    def _receive_data(self, message: Message, now: float) -> None:
        """Take a Data indication (RFC 8656 sections 11.4 and 11.6)."""
        peer, data = message.get(stun.XOR_PEER_ADDRESS), message.get(stun.DATA)
        is_report = message.get(stun.ICMP) is not None
        if peer is None or message.unknown or (data is None and not is_report):
            self.drops.malformed_indication += 1
        elif data is not None:
            self.stats.data_indications += 1
            self._deliver(peer, [data], now)
        else:
            self.stats.icmp_errors += 1

    def _deliver(self, peer: Address, payloads: list[bytes], now: float) -> None:
        permission = self._grants.permissions.get(peer[0])
        if permission is None or not permission.admits(now):
            self.drops.no_permission += len(payloads)
        elif self._data_count + len(payloads) > self.options.max_queued:
            self.drops.receive_overflow += len(payloads)
        else:
            self._data_count += len(payloads)
            self.stats.datagrams_received += len(payloads)
            if self._data and self._data[-1][0] == peer:
                self._data[-1][1].extend(payloads)
            else:
                self._data.append((peer, payloads))

    def _conclude(self, answer: Answer, now: float) -> None:
        if answer.grant is not None:
            self._conclude_grant(answer, answer.grant, now)
        elif answer.method == ALLOCATE:
            self._conclude_allocate(answer, now)
        elif self.state is _ALLOCATED:
            self._conclude_refresh(answer, now)
        elif self.state is State.CLOSING:
            # Whatever it says, 437 included, there is no relay any more (RFC 8656 section 8.3).
            self._end(State.CLOSED)
            self._events.append(Closed())

    def _conclude_allocate(self, answer: Answer, now: float) -> None:
        """Take the relay, or the reason why there is none (RFC 8656 sections 7.3 and 7.4)."""
        message = answer.message
        if answer.code == 300 and message is not None:
            self._redirect(message)
            return
        if answer.code or message is None:
            hint = _HINTS.get(answer.code)
            self._fail(answer.code, f"{answer.reason}: {hint}" if hint else answer.reason)
            return
        relayed, mapped = message.get(stun.XOR_RELAYED_ADDRESS), message.get(stun.XOR_MAPPED_ADDRESS)
        problem = judge_address("XOR-RELAYED-ADDRESS", relayed, self._family) or judge_address(
            "XOR-MAPPED-ADDRESS", mapped, None
        )
        if problem or relayed is None or mapped is None:
            self._fail(NO_ANSWER, f"the server gave a relay that is of no use: {problem}")
            self._delete(now)
            return
        self.relayed, self.mapped = relayed, mapped
        self._give_up.stop()
        lifetime = self._prolong(message, now)
        if self._splitter is None:
            self._silence_ends = now + self.options.keepalive
        self._set_state(_ALLOCATED)
        self._events.append(Allocated(relayed, mapped, lifetime))

    def _redirect(self, message: Message) -> None:
        """Pass on where to go instead (RFC 8489 section 10)."""
        alternate = message.get(stun.ALTERNATE_SERVER)
        problem = judge_redirection(alternate, self.server, redirected=self._redirected)
        if problem or alternate is None:
            self._fail(300, problem)
        else:
            self._end(State.REDIRECTED)
            self._events.append(AlternateServer(alternate, message.get(stun.ALTERNATE_DOMAIN)))

    def _conclude_refresh(self, answer: Answer, now: float) -> None:
        self.is_in_doubt = False
        if answer.message is not None and answer.code == 0:
            self.stats.refreshes += 1
            self._prolong(answer.message, now)
        elif answer.code == NO_ANSWER:
            self._refresh.start(now, self.options.retry_after)
        else:
            self._fail(answer.code, f"the server does not prolong the relay: {answer.reason}")

    def _prolong(self, message: Message, now: float) -> float:
        """Note how long the server keeps the allocation (RFC 8656 sections 7.3 and 8.3)."""
        options = self.options
        granted = message.get(stun.LIFETIME)
        lifetime = min(
            max(_LIFETIME if granted is None else granted, options.shortest_lifetime),
            options.longest_lifetime,
        )
        self._refresh.start(now, max(lifetime - options.refresh_margin, lifetime * 5 / 6))
        self._expiry.start(now, lifetime)
        return lifetime

    def _conclude_grant(self, answer: Answer, grant: Grant, now: float) -> None:
        if answer.code == 0:
            self._grants.grant(grant, now)
        elif answer.code == 437:
            self._fail(437, f"the server no longer has the relay: {answer.reason}")
        elif answer.code == NO_ANSWER and grant.state is GRANTED:
            self._grants.postpone(grant, now)
        else:
            self._grants.refuse(grant, now)
            if answer.code == 400:
                # Out of step (section 12.3), as coturn says after a restart: is the relay still there?
                self._refresh.start(now, 0)
            if answer.method == CREATE_PERMISSION:
                ip = grant.attributes[stun.XOR_PEER_ADDRESS][0]
                self._events.append(PeerRefused(ip, answer.code, answer.reason))

    def _ask_for_grants(self, now: float) -> None:
        if self.state is _ALLOCATED and self._grants.due <= now:
            for grant in self._grants.tend(now):
                self._requests.send(grant.method, grant.attributes, now, grant)

    def _note_wanted(self) -> None:
        if self.state is _ALLOCATED and self._grants.due == -math.inf:
            self.deadline = min(self.deadline, self._now)

    # Ends

    def _run_out_of_time(self) -> None:
        if self.state is State.ALLOCATING:
            code, reason = self._requests.explain()
            self._fail(code, f"{reason} within {self.options.timeout:g} s" if code == NO_ANSWER else reason)
        else:
            self._end(State.CLOSED)
            self._events.append(Closed())

    def _fail(self, code: int, reason: str) -> None:
        self._end(State.FAILED)
        self._events.append(Failed(code, reason))
        self._log.debug("relay on %s failed: %d %s", self.server, code, reason)

    def _delete(self, now: float) -> None:
        """Give the allocation back (RFC 8656 section 8.1)."""
        self._wants_deletion = False
        self._requests.send(REFRESH, {stun.LIFETIME: 0}, now)
        if self.state is State.CLOSING:
            self._give_up.start(now)

    def _end(self, state: State) -> None:
        """Leave everything behind that belongs to a relay."""
        self._set_state(state)
        self._requests.clear()
        self._outgoing.clear()
        self._grants.clear()
        for timer in (self._give_up, self._refresh, self._expiry):
            timer.stop()
        self._silence_ends = math.inf
        self._update_deadline()

    def _set_state(self, state: State) -> None:
        self._log.debug("relay on %s: %s -> %s", self.server, self.state.value, state.value)
        self.state = state

    def _indicate(self, method: int, attributes: dict[stun.Attribute[Any], Any]) -> None:
        message = Message(method, MessageClass.INDICATION, self._random_bytes(12), attributes)
        self._outgoing.append(message.write(fingerprint=False))

    def _update_deadline(self) -> None:
        self.deadline = min(
            self._requests.deadline,
            self._give_up.deadline,
            self._refresh.deadline,
            self._expiry.deadline,
            self._silence_ends,
            self._grants.due if self.state is _ALLOCATED else math.inf,
        )
