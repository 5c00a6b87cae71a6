"""Godot's WebRTCDataChannel: packets in, packets out, never waiting."""

from __future__ import annotations

import enum
from collections.abc import Callable

from rtcstack.configuration import encode_text
from rtcstack.datachannel import Channel, ChannelState
from rtcstack.errors import Error, InvalidParameter, Unavailable
from rtcstack.peer.background import BackgroundSession
from rtcstack.peer.packet_peer import PacketPeer
from rtcstack.peer.signal import Emitter, Signal
from rtcstack.session import PeerSession

__all__ = ["DataChannel", "WriteMode"]

_UNSET = 65535
"""What Godot documents for an id that is not known yet and for a limit that is not set."""

_CLOSED = ChannelState.CLOSED


class WriteMode(enum.IntEnum):
    """How put_packet() marks bytes for the peer."""

    TEXT = 0
    BINARY = 1


class DataChannel(PacketPeer, Emitter):
    """One data channel of a PeerConnection, which makes it and keeps it alive.

    Messages wait in the channel until they are taken, also after it was closed.

    opened()            signal: the channel can be used.
    closed(reason)      signal: the channel is closed; comes once, whatever the cause.
    buffered_amount_low()   signal: what waits to be sent has fallen to the threshold.

    Source: Godot's WebRTCDataChannel; RFC 8831.
    """

    WRITE_MODE_TEXT = WriteMode.TEXT
    WRITE_MODE_BINARY = WriteMode.BINARY
    STATE_CONNECTING = ChannelState.CONNECTING
    STATE_OPEN = ChannelState.OPEN
    STATE_CLOSING = ChannelState.CLOSING
    STATE_CLOSED = ChannelState.CLOSED

    def __init__(
        self, session: PeerSession | BackgroundSession, channel: Channel, clock: Callable[[], float]
    ) -> None:
        self.opened: Signal[()] = Signal("opened")
        self.closed: Signal[str] = Signal("closed")
        self._buffered_amount_low: Signal[()] | None = None
        self._session = session
        self._channel = channel
        self._clock = clock
        self._is_text = False
        self._was_text = False
        self._packet_error = Error.OK

    # -- PacketPeer --------------------------------------------------------------------------------

    def put_packet(self, packet: bytes | bytearray | memoryview | str) -> Error:
        """Queue one message; the next poll() of the connection sends it.

        packet  bytes of any length that max_message_size allows, also none, sent as `write_mode` says;
                or a str, which is always sent as text.

        Raises:
            InvalidState: the channel is not open yet.
            Closed: the channel is closing or closed.
            MessageTooLarge: the message exceeds what both sides accept; the channel lives on.
            Full: too much waits to be sent; the channel lives on.
            InvalidParameter: it is neither bytes nor str, or write_mode is WRITE_MODE_TEXT and the bytes are
                not UTF-8.
        """
        is_text = self._is_text
        if isinstance(packet, str):
            packet, is_text = encode_text("packet", packet), True
        elif is_text:
            packet = _checked_text(packet)
        elif not isinstance(packet, bytes):
            packet = _checked_bytes(packet)
        self._session.send(self._channel, packet, is_text, self._clock())
        return Error.OK

    def get_packet(self) -> bytes:
        """Take the next message; was_string_packet() tells whether it was text.

        Raises:
            Unavailable: no message is waiting: ask get_available_packet_count() first.
        """
        try:
            packet, self._was_text = self._session.take_message(self._channel)
        except IndexError:
            self._packet_error = Error.ERR_UNAVAILABLE
            raise Unavailable("no packet is waiting: ask get_available_packet_count() first") from None
        self._packet_error = Error.OK
        return packet

    def get_available_packet_count(self) -> int:
        """Count the messages that wait to be taken."""
        return len(self._channel.incoming)

    def get_packet_error(self) -> Error:
        """Tell how the last get_packet() went."""
        return self._packet_error

    def was_string_packet(self) -> bool:
        """Tell whether the last message taken was text."""
        return self._was_text

    # -- the channel -------------------------------------------------------------------------------

    def poll(self) -> Error:
        """Do nothing, as in Godot: the connection serves its channels."""
        return Error.OK

    def close(self) -> None:
        """Close the channel: what was sent before is delivered first.  Idempotent."""
        self._session.close_channel(self._channel)

    @property
    def write_mode(self) -> WriteMode:
        """Whether put_packet() marks bytes as text or as binary, WRITE_MODE_BINARY at first."""
        return WriteMode.TEXT if self._is_text else WriteMode.BINARY

    @write_mode.setter
    def write_mode(self, mode: WriteMode | int) -> None:
        if mode not in (0, 1):
            raise InvalidParameter(
                f"write_mode {mode!r} is not allowed: use WRITE_MODE_TEXT or WRITE_MODE_BINARY"
            )
        self._is_text = mode == WriteMode.TEXT

    def set_write_mode(self, mode: WriteMode | int) -> None:
        """Set `write_mode`."""
        self.write_mode = mode

    def get_write_mode(self) -> WriteMode:
        """Return `write_mode`."""
        return self.write_mode

    def get_ready_state(self) -> ChannelState:
        """Return STATE_CONNECTING, STATE_OPEN, STATE_CLOSING or STATE_CLOSED."""
        return self._channel.state

    def get_close_reason(self) -> str:
        """Return why the channel closes or is closed, a sentence; "" while it is open."""
        return self._channel.close_reason

    def get_label(self) -> str:
        """Return the label, as it was given at creation."""
        return self._channel.config.label

    def get_protocol(self) -> str:
        """Return the name of the subprotocol, "" for none."""
        return self._channel.config.protocol

    def get_id(self) -> int:
        """Return the stream id, 0 to 65,534; 65,535 while it is not known yet."""
        stream_id = self._channel.id
        return _UNSET if stream_id is None else stream_id

    def is_ordered(self) -> bool:
        """Tell whether messages arrive in the order in which they were sent."""
        return self._channel.config.ordered

    def is_negotiated(self) -> bool:
        """Tell whether both sides created the channel with the same id, without announcing it."""
        return self._channel.config.negotiated

    def get_max_retransmits(self) -> int:
        """Return how often a message is sent again at most, 65,535 for no limit."""
        limit = self._channel.config.max_retransmits
        return _UNSET if limit is None else limit

    def get_max_packet_life_time(self) -> int:
        """Return for how many milliseconds a message is tried at most, 65,535 for no limit."""
        limit = self._channel.config.max_lifetime_ms
        return _UNSET if limit is None else limit

    def get_max_message_size(self) -> int:
        """Return the largest message that can be sent, bytes; 0 for no limit."""
        return self._session.max_send_size

    @property
    def buffered_amount_low(self) -> Signal[()]:
        """Emitted when what waits to be sent has fallen to the threshold; nobody is told before asking."""
        if self._buffered_amount_low is None:
            self._buffered_amount_low = Signal("buffered_amount_low")
            if self._channel.low_threshold < 0:
                self.set_buffered_amount_low_threshold(0)
        return self._buffered_amount_low

    def get_buffered_amount(self) -> int:
        """Return how many bytes of messages are neither acknowledged nor given up yet."""
        return self._session.buffered_amount(self._channel)

    def set_buffered_amount_low_threshold(self, threshold: int) -> None:
        """Emit buffered_amount_low when get_buffered_amount() falls to `threshold` bytes, 0 at first."""
        if threshold < 0:
            raise InvalidParameter(f"a threshold of {threshold} bytes is not allowed: it cannot be negative")
        self._session.set_buffered_amount_low_threshold(self._channel, threshold)

    def _disconnect(self) -> None:
        """Let go of all callbacks: nothing is emitted after `closed`, and many hold the channel in turn."""
        self.opened.clear()
        self.closed.clear()
        if self._buffered_amount_low is not None:
            self._buffered_amount_low.clear()

    def __repr__(self) -> str:
        return f"<DataChannel {self.get_label()!r} id {self.get_id()} {self._channel.state.name}>"


def _checked_bytes(packet: object) -> bytes:
    if not isinstance(packet, bytes | bytearray | memoryview):
        raise InvalidParameter(f"a packet is bytes or str, not {type(packet).__name__}")
    return bytes(packet)


def _checked_text(packet: object) -> bytes:
    packet = _checked_bytes(packet)
    try:
        packet.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"WRITE_MODE_TEXT needs UTF-8: {error}; use WRITE_MODE_BINARY") from None
    return packet
