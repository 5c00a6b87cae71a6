"""All data channels of a connection: ids, opening and closing, and whose message is whose (RFC 8831)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from rtcstack.datachannel import dcep
from rtcstack.datachannel.channel import Channel, ChannelConfig, ChannelState
from rtcstack.datachannel.events import (
    ChannelClosed,
    ChannelClosing,
    ChannelEvent,
    ChannelOpened,
    ChannelReceived,
)
from rtcstack.errors import AlreadyExists, InvalidParameter, WireError
from rtcstack.log import Log

__all__ = [
    "PPID_BINARY",
    "PPID_BINARY_EMPTY",
    "PPID_DCEP",
    "PPID_STRING",
    "PPID_STRING_EMPTY",
    "Drops",
    "Options",
    "Registry",
]

# Payload protocol identifiers, RFC 8831 section 8.  The partial ones are deprecated: read, never written.
PPID_DCEP = 50
PPID_STRING = 51
PPID_BINARY_PARTIAL = 52
PPID_BINARY = 53
PPID_STRING_PARTIAL = 54
PPID_STRING_EMPTY = 56
PPID_BINARY_EMPTY = 57
_IS_TEXT = {PPID_BINARY: False, PPID_STRING: True}
_TEXT = frozenset({PPID_STRING, PPID_STRING_PARTIAL, PPID_STRING_EMPTY})
_DATA = frozenset({*_TEXT, PPID_BINARY_PARTIAL, PPID_BINARY, PPID_BINARY_EMPTY})

_CONNECTING = ChannelState.CONNECTING
_OPEN = ChannelState.OPEN
_CLOSING = ChannelState.CLOSING
_CLOSED = ChannelState.CLOSED


@dataclass(frozen=True, slots=True)
class Options:
    """Bounds of what a peer can make us keep."""

    max_channels: int = 1024
    """Most channels that the peer may have open; a further OPEN is answered with a reset of its stream."""

    max_early_messages: int = 256
    """Most messages kept for streams whose OPEN has not arrived yet (unordered data can overtake it)."""

    max_early_bytes: int = 1 << 20
    """Most payload bytes kept for such streams.  1 MiB: a burst at the start of a file transfer."""

    max_message_size: int = 262_144
    """Largest message put together from deprecated partial ones, bytes; 0 is no limit."""


@dataclass(slots=True)
class Drops:
    """What was thrown away, by reason."""

    bad_dcep: int = 0
    """DCEP messages that cannot be read, or of an unknown type."""
    open_on_used_stream: int = 0
    """OPENs for a stream that carries a channel already."""
    too_many_channels: int = 0
    """OPENs beyond `max_channels`."""
    unexpected_ack: int = 0
    """ACKs for a channel that waits for none."""
    unknown_ppid: int = 0
    """Messages with a payload protocol identifier that is not one of RFC 8831."""
    early_overflow: int = 0
    """Messages for unknown streams beyond the bounds."""
    after_close: int = 0
    """Messages for a channel that is closed on this side."""
    partial_overflow: int = 0
    """Deprecated partial messages larger than `max_message_size`."""

    def as_dict(self) -> dict[str, int]:
        """Return reason -> count."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Registry:
    """The channels of one connection, sans-IO.

    Commands change states and queue what the association has to do; `take_control()` and
    `take_resets()` hand that over.  User messages do not pass through here on their way down.

    has_work    whether take_control() or take_resets() has something.
    released    bytes of received messages that are no longer held here, since the start: taken by the
                application, or of no use to it.  The association's window opens by as much.

    Source: RFC 8831 sections 6.4 to 6.7, RFC 8832 section 6.
    """

    def __init__(self, options: Options = Options(), *, tag: str = "-") -> None:
        self._log = Log("channel", tag)
        self.drops = Drops()
        self.released = 0
        self.has_work = False
        self.channels: dict[int, Channel] = {}
        self._options = options
        # Created here and not announced yet; with an id as soon as the role is known.
        self._waiting: list[Channel] = []
        self._client: bool | None = None
        self._is_connected = False
        self._max_streams = 65_535
        self._early: dict[int, list[tuple[int, bytes]]] = {}
        self._early_count = 0
        self._early_bytes = 0
        self._spoiled: set[int] = set()
        # Ids of channels that were given up, until the peer resets its side at last.
        self._held: set[int] = set()
        # Streams that we have reset unasked, until the peer resets its side in answer.
        self._refused: set[int] = set()
        self._control: list[tuple[int, bytes]] = []
        self._resets: list[int] = []
        self._events: list[ChannelEvent] = []

    # -- commands ----------------------------------------------------------------------------------

    def create(self, config: ChannelConfig, stream_id: int | None = None) -> Channel:
        """Create a channel on this side.

        stream_id   0 to 65,534, with a negotiated channel only; None: chosen when the DTLS role is known.

        Raises:
            InvalidParameter: the id does not fit `config`, or lies beyond the streams of the association.
            AlreadyExists: another channel uses that id.
        """
        if config.negotiated != (stream_id is not None):
            raise InvalidParameter("a negotiated channel needs an id, and only a negotiated one takes it")
        channel = Channel(config, stream_id)
        if stream_id is None:
            self._waiting.append(channel)
            if self._client is not None:
                self._number(channel)
            if self._is_connected:
                self._open_waiting()
        else:
            if not 0 <= stream_id < self._max_streams:
                raise InvalidParameter(
                    f"id {stream_id} is not allowed: this connection has the ids 0 to {self._max_streams - 1}"
                )
            if stream_id in self.channels or stream_id in self._held:
                raise AlreadyExists(f"id {stream_id} is in use by another channel: choose a free one")
            self.channels[stream_id] = channel
            if self._is_connected:
                self._set_open(channel)
        return channel

    def close(self, channel: Channel, reason: str = "closed by this side") -> None:
        """Close a channel: what was sent before is delivered first; idempotent.

        Source: RFC 8831 section 6.7: reset the outgoing stream, wait for the peer to reset its own.
        """
        if channel.state >= _CLOSING:
            return
        channel.close_reason = reason
        if not self._is_connected:
            if not channel.config.negotiated:
                self._waiting.remove(channel)
            self._set_closed(channel)
        else:
            self._set_closing(channel)

    def set_role(self, *, client: bool) -> None:
        """The DTLS role is known: number the waiting channels.

        client          True if this side is the DTLS client; it uses the even ids (RFC 8832 section 6).
        """
        self._client = client
        for channel in list(self._waiting):
            if channel.id is None:
                self._number(channel)

    def connect(self, *, client: bool, max_streams: int) -> None:
        """The association is established: open the waiting channels.

        client          as in set_role(), if that has not been called.
        max_streams     streams that the association has in both directions.
        """
        self._max_streams = min(max_streams, 65_535)
        if self._client is None:
            self.set_role(client=client)
        self._is_connected = True
        for stream_id, channel in list(self.channels.items()):
            if stream_id >= self._max_streams:
                channel.close_reason = (
                    f"id {stream_id} is beyond the {max_streams} streams that the peer allows"
                )
                if channel in self._waiting:
                    self._waiting.remove(channel)
                self._set_closed(channel)
            elif channel.state is _CONNECTING and channel.config.negotiated:
                self._set_open(channel)
        self._open_waiting()

    @property
    def all(self) -> list[Channel]:
        """Every channel that is not closed, those without an id last."""
        return [*self.channels.values(), *(c for c in self._waiting if c.id is None)]

    @property
    def is_connected(self) -> bool:
        """Whether connect() has been called: messages can be sorted."""
        return self._is_connected

    @property
    def is_empty(self) -> bool:
        """Whether there is no channel at all."""
        return not self.channels and not self._waiting

    def stop(self, reason: str) -> None:
        """The connection is being closed: nothing more can be sent, what was sent is still delivered."""
        for channel in self.all:
            if channel.state < _CLOSING:
                channel.close_reason = reason
                channel.state = _CLOSING
                self._events.append(ChannelClosing(channel))

    def disconnect(self, reason: str) -> None:
        """The association is gone: every channel closes with this reason."""
        for channel in self.all:
            if channel.state is not _CLOSED:
                channel.close_reason = channel.close_reason or reason
                self._set_closed(channel)
        self._waiting.clear()
        self._early.clear()
        self._early_count = self._early_bytes = 0
        self._spoiled.clear()
        self._held.clear()
        self._control.clear()
        self._resets.clear()

    # -- from below --------------------------------------------------------------------------------

    def receive(self, messages: Iterable[tuple[int, int, bytes]]) -> None:
        """Sort messages of the association, (stream_id, ppid, payload), into their channels."""
        channels = self.channels
        for stream_id, ppid, payload in messages:
            channel = channels.get(stream_id)
            is_text = _IS_TEXT.get(ppid)
            if is_text is None or channel is None or channel.state is not _OPEN or channel.partial:
                self._receive_other(channel, stream_id, ppid, payload)
                continue
            channel.incoming.append((payload, is_text))
            channel.messages_received += 1
            channel.bytes_received += len(payload)

    def reset_received(self, stream_ids: Iterable[int]) -> None:
        """The peer has reset its side of these streams: close ours as well (RFC 8831 section 6.7)."""
        for stream_id in stream_ids:
            self.released += sum(len(payload) for _, payload in self._forget_early(stream_id))
            self._spoiled.discard(stream_id)
            channel = self.channels.get(stream_id)
            if channel is None:
                if stream_id in self._held:
                    self._held.discard(stream_id)
                else:
                    self._answer_reset(stream_id)
                continue
            channel.reset_received = True
            channel.close_reason = channel.close_reason or "closed by the peer"
            if channel.state < _CLOSING:
                self._set_closing(channel)
            self._finish_close(channel)

    def reset_sent(self, stream_ids: Iterable[int]) -> list[Channel]:
        """The peer has confirmed the reset of our side of these streams.

        Returns the channels that now wait for the peer to reset its side: it may never do so.
        """
        waiting: list[Channel] = []
        for stream_id in stream_ids:
            channel = self.channels.get(stream_id)
            if channel is not None and channel.state is _CLOSING:
                channel.reset_sent = True
                self._finish_close(channel)
                if channel.state is _CLOSING:
                    waiting.append(channel)
        return waiting

    def give_up(self, channel: Channel) -> None:
        """Wait no longer for the peer's reset: the channel is closed.

        werift never resets a stream on which it has sent nothing.  Where something has come, the peer would
        go on counting from there, so the id stays out of use.
        """
        if channel.state is not _CLOSING:
            return
        if channel.messages_received and channel.id is not None:
            self._held.add(channel.id)
        self._set_closed(channel)

    def _answer_reset(self, stream_id: int) -> None:
        """Reset our side of a stream that has no channel here: the peer's waits for it to be closed."""
        if stream_id in self._refused:
            self._refused.discard(stream_id)  # it answers us, who have refused its channel
        elif self._is_connected:
            self._reset(stream_id)

    def _refuse(self, stream_id: int) -> None:
        """Reset a stream on which the peer wanted a channel."""
        self._refused.add(stream_id)
        self._reset(stream_id)

    def fail(self, stream_id: int, reason: str) -> None:
        """Close the channel on this stream because its data cannot be used."""
        channel = self.channels.get(stream_id)
        if channel is not None:
            self.close(channel, reason)

    # -- to the application ------------------------------------------------------------------------

    def take(self, channel: Channel) -> tuple[bytes, bool]:
        """Hand over the next message of a channel, (payload, is_text).

        Raises:
            IndexError: no message is waiting.
        """
        message = channel.incoming.popleft()
        if channel.state is not _CLOSED:
            self.released += len(message[0]) or 1  # an empty one came as one byte
        return message

    # -- drains ------------------------------------------------------------------------------------

    def take_control(self) -> list[tuple[int, bytes]]:
        """Hand over DCEP messages, (stream_id, payload): send them ordered and reliable, PPID 50."""
        control, self._control = self._control, []
        self.has_work = bool(self._resets)
        return control

    def take_resets(self) -> list[int]:
        """Hand over the ids of the outgoing streams to reset."""
        resets, self._resets = self._resets, []
        self.has_work = bool(self._control)
        return resets

    def take_events(self) -> list[ChannelEvent]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    def _tell(self, stream_id: int, message: bytes) -> None:
        self._control.append((stream_id, message))
        self.has_work = True

    def _reset(self, stream_id: int) -> None:
        self._resets.append(stream_id)
        self.has_work = True

    # -- the life of a channel ---------------------------------------------------------------------

    def _set_open(self, channel: Channel) -> None:
        channel.state = _OPEN
        self._events.append(ChannelOpened(channel))
        if channel.id is not None:
            self._deliver_early(channel.id)

    def _set_closing(self, channel: Channel) -> None:
        assert channel.id is not None  # only numbered channels of an association close in steps
        channel.state = _CLOSING
        self._reset(channel.id)
        self._events.append(ChannelClosing(channel))

    def _finish_close(self, channel: Channel) -> None:
        # The id is free again only now: earlier, late data of this channel would reach its successor.
        if channel.reset_sent and channel.reset_received:
            self._set_closed(channel)

    def _set_closed(self, channel: Channel) -> None:
        channel.state = _CLOSED
        # What is unread stays readable, but must not hold the window of the other channels shut.
        self.released += sum(len(payload) or 1 for payload, _ in channel.incoming)
        self._forget_partial(channel)
        if channel.id is not None and self.channels.get(channel.id) is channel:
            del self.channels[channel.id]
        self._events.append(ChannelClosed(channel, channel.close_reason))

    def _number(self, channel: Channel) -> None:
        """Give a channel the first free id of our parity; without one it closes."""
        start = 0 if self._client else 1
        taken = self.channels.keys() | self._held
        stream_id = next((i for i in range(start, self._max_streams, 2) if i not in taken), None)
        if stream_id is None:
            channel.close_reason = f"all {self._max_streams} streams of the connection are in use"
            self._waiting.remove(channel)
            self._set_closed(channel)
        else:
            channel.id = stream_id
            self.channels[stream_id] = channel

    def _open_waiting(self) -> None:
        """Announce the channels created on this side, and count them as open.

        Data may follow the OPEN at once, in order, before the ACK is here (RFC 8832 section 6).
        """
        waiting, self._waiting = self._waiting, []
        for channel in waiting:
            stream_id = channel.id
            assert stream_id is not None  # numbered when the role became known
            channel.ordered_until_ack = True
            channel.ordered = True
            config = channel.config
            announcement = dcep.Open(
                config.label,
                config.protocol,
                config.ordered,
                config.max_retransmits,
                config.max_lifetime_ms,
                config.priority,
            )
            self._tell(stream_id, announcement.write())
            self._set_open(channel)

    # -- messages off the main road ----------------------------------------------------------------

    def _receive_other(self, channel: Channel | None, stream_id: int, ppid: int, payload: bytes) -> None:
        if ppid == PPID_DCEP:
            self.released += len(payload)
            self._receive_dcep(channel, stream_id, payload)
        elif ppid not in _DATA:
            self.released += len(payload)
            self.drops.unknown_ppid += 1
        elif channel is None or channel.state is _CONNECTING:
            self._keep_early(stream_id, ppid, payload)
        elif channel.reset_received or channel.state is _CLOSED:
            self.released += len(payload)
            self.drops.after_close += 1
        else:
            self._receive_data(channel, ppid, payload)

    def _receive_data(self, channel: Channel, ppid: int, payload: bytes) -> None:
        if ppid in (PPID_STRING_PARTIAL, PPID_BINARY_PARTIAL):
            channel.partial.append(payload)
            channel.partial_size += len(payload)
            limit = self._options.max_message_size
            if limit and channel.partial_size > limit:
                self.drops.partial_overflow += 1
                self.close(channel, f"the peer's message exceeds our max_message_size of {limit} bytes")
                self._forget_partial(channel)
            return
        if ppid in (PPID_STRING_EMPTY, PPID_BINARY_EMPTY):
            # Alone it is charged with one byte until it is taken: nothing may wait here for free.
            self.released += len(payload) - (not channel.partial)
            payload = b""  # the one byte only keeps the DATA chunk from being empty, RFC 8831 section 6.6
        if channel.partial:
            payload = b"".join((*channel.partial, payload))
            channel.partial.clear()
            channel.partial_size = 0
        channel.incoming.append((payload, ppid in _TEXT))
        channel.messages_received += 1
        channel.bytes_received += len(payload)

    def _forget_partial(self, channel: Channel) -> None:
        self.released += channel.partial_size
        channel.partial.clear()
        channel.partial_size = 0

    def _receive_dcep(self, channel: Channel | None, stream_id: int, payload: bytes) -> None:
        if payload == dcep.ACK:
            if channel is not None and channel.ordered_until_ack:
                channel.ordered_until_ack = False
                channel.ordered = channel.config.ordered
            else:
                self.drops.unexpected_ack += 1
            return
        try:
            announcement = dcep.Open.parse(payload)
        except WireError as error:
            self.drops.bad_dcep += 1
            self._log.debug("stream %d: %s", stream_id, error)
            if channel is None:
                self._refuse(stream_id)
            return
        if channel is not None:
            self.drops.open_on_used_stream += 1
            return
        if len(self.channels) >= self._options.max_channels or not self._is_connected:
            self.drops.too_many_channels += 1
            self._refuse(stream_id)
            return
        # An id of the wrong parity is accepted as long as it is free: peers that choose by ICE role exist.
        channel = Channel(
            ChannelConfig(
                announcement.label,
                announcement.protocol,
                announcement.ordered,
                announcement.max_retransmits,
                announcement.max_lifetime_ms,
                priority=announcement.priority,
            ),
            stream_id,
        )
        self.channels[stream_id] = channel
        channel.state = _OPEN
        self._tell(stream_id, dcep.ACK)
        self._events.append(ChannelReceived(channel))
        self._deliver_early(stream_id)

    def _keep_early(self, stream_id: int, ppid: int, payload: bytes) -> None:
        options = self._options
        if (
            self._early_count >= options.max_early_messages
            or self._early_bytes + len(payload) > options.max_early_bytes
        ):
            self.released += len(payload)
            self.drops.early_overflow += 1
            if len(self._spoiled) < options.max_channels:
                self._spoiled.add(stream_id)
            return
        self._early.setdefault(stream_id, []).append((ppid, payload))
        self._early_count += 1
        self._early_bytes += len(payload)

    def _forget_early(self, stream_id: int) -> list[tuple[int, bytes]]:
        kept = self._early.pop(stream_id, [])
        self._early_count -= len(kept)
        self._early_bytes -= sum(len(payload) for _, payload in kept)
        return kept

    def _deliver_early(self, stream_id: int) -> None:
        channel = self.channels[stream_id]
        for ppid, payload in self._forget_early(stream_id):
            self._receive_data(channel, ppid, payload)
        if stream_id in self._spoiled:
            self._spoiled.discard(stream_id)
            self.close(channel, "messages that came before the channel existed were too many to keep")
