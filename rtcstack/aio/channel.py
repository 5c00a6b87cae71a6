"""A data channel for asyncio: send() waits when the buffer is full, messages are iterated over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rtcstack.aio.waiting import Waiters
from rtcstack.configuration import encode_text
from rtcstack.datachannel import Channel, ChannelState
from rtcstack.errors import Closed, InvalidParameter
from rtcstack.session import PeerSession

if TYPE_CHECKING:
    from rtcstack.aio.driver import Driver

__all__ = ["DataChannel"]


class DataChannel:
    """One data channel of a PeerConnection, which makes it and keeps it alive.

        await channel.opened()
        await channel.send("hello")
        async for message in channel:      # bytes, or str for text; ends when the channel closes
            ...

    Messages wait in the channel from its birth on until they are taken, also after it was closed.

    Source: W3C webrtc-pc section 6.2; RFC 8831.
    """

    def __init__(
        self,
        session: PeerSession,
        channel: Channel,
        driver: Driver,
        waiters: Waiters,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._channel = channel
        self._driver = driver
        self._clock = clock
        self._waiters = waiters

    # -- messages ----------------------------------------------------------------------------------

    async def send(self, data: bytes | bytearray | memoryview | str) -> None:
        """Queue one message, waiting while the send buffer is at its high-water mark.

        data    bytes are sent as binary, str as text; of any length that `max_message_size` allows.

        Raises:
            InvalidState: the channel is not open yet.
            Closed: the channel is closing or closed, also while waiting.
            MessageTooLarge: the message exceeds what both sides accept; the channel lives on.
        Cancelled while it waits, it has queued nothing.
        """
        session = self._session
        if session.is_send_buffer_high:
            await self._waiters.until(
                lambda: not session.is_send_buffer_high or self._channel.state is not ChannelState.OPEN
            )
        self.send_nowait(data)

    async def drained(self, at_most: int = 0) -> None:
        """Wait until no more than `at_most` bytes are neither acknowledged nor given up; or it is closed."""
        await self._waiters.until(lambda: self.buffered_amount <= at_most)

    def send_nowait(self, data: bytes | bytearray | memoryview | str) -> None:
        """Queue one message without waiting.

        Raises:
            Full: too much waits to be sent already; otherwise as send().
        """
        is_text = isinstance(data, str)
        if isinstance(data, str):
            payload = encode_text("data", data)
        elif isinstance(data, bytes | bytearray | memoryview):
            payload = bytes(data)
        else:
            raise InvalidParameter(f"data is bytes or str, not {type(data).__name__}")
        self._session.send(self._channel, payload, is_text, self._clock())
        self._driver.wake()

    async def receive(self) -> bytes | str:
        """Wait for the next message; bytes, or str if it was sent as text.

        Text that is not UTF-8 comes with replacement characters.

        Raises:
            Closed: the channel is closed and every message has been taken.
        """
        incoming = self._channel.incoming
        if not incoming:
            await self._waiters.until(lambda: incoming or self._channel.state is ChannelState.CLOSED)
            if not incoming:
                raise Closed(f"the channel is closed: {self._channel.close_reason}")
        payload, is_text = self._session.take_message(self._channel)
        if self._session.wants_window_update:
            self._driver.wake()
        return payload.decode(errors="replace") if is_text else payload

    def __aiter__(self) -> DataChannel:
        return self

    async def __anext__(self) -> bytes | str:
        try:
            return await self.receive()
        except Closed:
            raise StopAsyncIteration from None

    # -- life --------------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Wait until the channel can be used.

        Raises:
            Closed: it was closed before that.
        """
        await self._waiters.until(lambda: self._channel.state is not ChannelState.CONNECTING)
        if self._channel.state is not ChannelState.OPEN and not self._channel.incoming:
            raise Closed(f"the channel did not open: {self._channel.close_reason}")

    def close(self) -> None:
        """Begin to close the channel: what was sent before is delivered first.  Idempotent."""
        self._session.close_channel(self._channel)
        self._driver.wake()

    async def closed(self) -> str:
        """Wait until the channel is closed; returns the reason."""
        await self._waiters.until(lambda: self._channel.state is ChannelState.CLOSED)
        return self._channel.close_reason

    # -- properties --------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """As it was given at creation."""
        return self._channel.config.label

    @property
    def protocol(self) -> str:
        """Name of the subprotocol, "" for none."""
        return self._channel.config.protocol

    @property
    def id(self) -> int | None:
        """Stream id, 0 to 65,534; None while it is not known yet."""
        return self._channel.id

    @property
    def ordered(self) -> bool:
        """Whether messages arrive in the order in which they were sent."""
        return self._channel.config.ordered

    @property
    def negotiated(self) -> bool:
        """Whether both sides created the channel with the same id, without announcing it."""
        return self._channel.config.negotiated

    @property
    def max_retransmits(self) -> int | None:
        """How often a message is sent again at most; None for no limit."""
        return self._channel.config.max_retransmits

    @property
    def max_packet_life_time(self) -> int | None:
        """For how many milliseconds a message is tried at most; None for no limit."""
        return self._channel.config.max_lifetime_ms

    @property
    def state(self) -> ChannelState:
        """CONNECTING, OPEN, CLOSING or CLOSED."""
        return self._channel.state

    @property
    def close_reason(self) -> str:
        """Why the channel closes or is closed, a sentence; "" while it is open."""
        return self._channel.close_reason

    @property
    def buffered_amount(self) -> int:
        """Bytes of messages that are neither acknowledged nor given up yet."""
        return self._session.buffered_amount(self._channel)

    @property
    def max_message_size(self) -> int:
        """Largest message that can be sent, bytes; 0 for no limit."""
        return self._session.max_send_size

    def __repr__(self) -> str:
        return f"<DataChannel {self.label!r} id {self.id} {self.state.name}>"
