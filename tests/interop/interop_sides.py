"""The two ends of a call behind one shape: our PeerConnection, and a real peer in another process.

A text message is `str` and a binary message is `bytes`, on either side.  The options of a channel have W3C's
names, which are Godot's; what a side does not tell of a channel is None.
"""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, field
from typing import Any

from interop_process import Event, PeerProcess

import rtcstack

Message = str | bytes
_numbers = itertools.count(1)


def describe_channel(channel: Channel) -> str:
    sizes = [len(message) for message in channel.received]
    tail = f", last {str(channel.received[-1])[:40]!r}" if sizes else ""
    return (
        f"channel {channel.label!r} id {channel.id} {channel.state}: "
        f"received {len(sizes)} messages, {sum(sizes)} bytes or characters{tail}"
    )


@dataclass(eq=False)
class ProcessChannel:
    """A channel of a peer in another process, as its events tell."""

    side: ProcessSide
    key: str
    label: str
    protocol: str = ""
    id: int | None = None
    ordered: bool | None = None
    negotiated: bool | None = None
    max_retransmits: int | None = None
    max_packet_life_time: int | None = None
    state: str = "connecting"
    received: list[Message] = field(default_factory=list)

    def send(self, *messages: Message) -> None:
        lines = [
            ["text", message] if isinstance(message, str) else ["binary", base64.b64encode(message).decode()]
            for message in messages
        ]
        self.side.command("send", channel=self.key, messages=lines)

    def close(self) -> None:
        self.side.command("close_channel", channel=self.key)


class ProcessSide:
    """A connection of a peer that runs in another process."""

    def __init__(self, process: PeerProcess) -> None:
        self.name = process.name
        self.state = "new"
        self.description: tuple[str, str] | None = None
        self.candidates: list[tuple[str, int, str]] = []
        self.gathered = False
        self.channels: list[ProcessChannel] = []
        self.incoming: list[ProcessChannel] = []
        self.errors: list[str] = []
        self._process = process
        self._pc = str(next(_numbers))
        self._by_key: dict[str, ProcessChannel] = {}
        self._history: list[str] = []
        self.command("create")

    def command(self, do: str, **arguments: Any) -> None:
        self._history.append(f"-> {do} {str(arguments)[:200]}")
        self._process.command(do, self._pc, **arguments)

    def create_channel(self, label: str, **options: Any) -> ProcessChannel:
        channel = ProcessChannel(self, f"created-{len(self.channels)}", label)
        channel.protocol = options.get("protocol", "")
        channel.negotiated = options.get("negotiated", False)
        self._add(channel)
        self.command("channel", channel=channel.key, label=label, options=options)
        return channel

    def add_media(self) -> None:
        self.command("media")

    def create_offer(self) -> None:
        self.command("offer")

    def restart_ice(self) -> None:
        self.command("restart")

    def set_remote_description(self, type: str, sdp: str) -> None:
        self.command("remote", type=type, sdp=sdp)

    def add_candidate(self, mid: str, index: int, candidate: str) -> None:
        self.command("candidate", mid=mid, index=index, candidate=candidate)

    def close(self) -> None:
        self.command("close")

    def abort(self) -> None:
        self.close()

    def step(self, timeout: float) -> None:
        event = self._process.take_event(self._pc, timeout)
        while event is not None:
            self._history.append(f"<- {str(event)[:200]}")
            self._on_event(event)
            event = self._process.take_event(self._pc, 0)

    def report(self) -> str:
        lines = [
            f"{self.name}: {self.state}, gathered {self.gathered}, {len(self.candidates)} candidates",
            *(describe_channel(channel) for channel in self.channels),
            *self._history[-30:],
            f"log of the process: {self._process.log()}",
        ]
        return "\n  ".join(lines)

    def _add(self, channel: ProcessChannel) -> None:
        self.channels.append(channel)
        self._by_key[channel.key] = channel

    def _on_event(self, event: Event) -> None:
        channel = self._by_key.get(event.get("channel", ""))
        match event:
            case {"on": "description", "type": type, "sdp": sdp}:
                self.description = (type, sdp)
            case {"on": "candidate", "mid": mid, "index": index, "candidate": candidate}:
                self.candidates.append((mid, index, candidate))
            case {"on": "gathered"}:
                self.gathered = True
            case {"on": "state", "state": state}:
                self.state = state
            case {"on": "channel", "channel": key}:
                channel = ProcessChannel(self, key, event["label"], event["protocol"], event["id"])
                channel.ordered = event.get("ordered")
                channel.negotiated = event["negotiated"]
                channel.max_retransmits = event.get("maxRetransmits")
                channel.max_packet_life_time = event.get("maxPacketLifeTime")
                self._add(channel)
                self.incoming.append(channel)
            case {"on": "open", "id": id} if channel is not None:
                channel.id = id
                channel.state = "open"
            case {"on": "message", "kind": kind, "data": data} if channel is not None:
                channel.received.append(data if kind == "text" else base64.b64decode(data))
            case {"on": "closed"} if channel is not None:
                channel.state = "closed"
            case {"on": "error", "error": error}:
                self.errors.append(error)


class OurChannel:
    """A DataChannel of rtcstack."""

    def __init__(self, channel: rtcstack.DataChannel) -> None:
        self._channel = channel
        self.received: list[Message] = []

    @property
    def label(self) -> str:
        return self._channel.get_label()

    @property
    def protocol(self) -> str:
        return self._channel.get_protocol()

    @property
    def id(self) -> int:
        return self._channel.get_id()

    @property
    def ordered(self) -> bool:
        return self._channel.is_ordered()

    @property
    def negotiated(self) -> bool:
        return self._channel.is_negotiated()

    @property
    def max_retransmits(self) -> int | None:
        return _unless_unset(self._channel.get_max_retransmits())

    @property
    def max_packet_life_time(self) -> int | None:
        return _unless_unset(self._channel.get_max_packet_life_time())

    @property
    def state(self) -> str:
        return ("connecting", "open", "closing", "closed")[self._channel.get_ready_state()]

    def send(self, *messages: Message) -> None:
        for message in messages:
            if isinstance(message, str):
                self._channel.write_mode = self._channel.WRITE_MODE_TEXT
                self._channel.put_packet(message.encode())
            else:
                self._channel.write_mode = self._channel.WRITE_MODE_BINARY
                self._channel.put_packet(message)

    def close(self) -> None:
        self._channel.close()

    def take(self) -> None:
        """Move what has arrived into `received`."""
        for _ in range(self._channel.get_available_packet_count()):
            packet = self._channel.get_packet()
            self.received.append(packet.decode() if self._channel.was_string_packet() else packet)


def _unless_unset(value: int) -> int | None:
    return None if value == 65535 else value


class OurSide:
    """A PeerConnection of rtcstack, its signals wired to lists."""

    name = "rtcstack"

    def __init__(self, configuration: dict[str, Any] | None = None, *, background: bool = False) -> None:
        self.description: tuple[str, str] | None = None
        self.candidates: list[tuple[str, int, str]] = []
        self.channels: list[OurChannel] = []
        self.incoming: list[OurChannel] = []
        self.errors: list[str] = []
        self._history: list[str] = []
        self._connection = rtcstack.PeerConnection(configuration, background=background)
        self._connection.session_description_created.connect(self._on_description)
        self._connection.ice_candidate_created.connect(self._on_candidate)
        self._connection.data_channel_received.connect(self._on_channel)
        self._connection.connection_state_changed.connect(self._on_state)

    @property
    def state(self) -> str:
        names = ("new", "connecting", "connected", "disconnected", "failed", "closed")
        return names[self._connection.get_connection_state()]

    @property
    def gathered(self) -> bool:
        return self._connection.get_gathering_state() == self._connection.GATHERING_STATE_COMPLETE

    def create_channel(self, label: str, **options: Any) -> OurChannel:
        channel = OurChannel(self._connection.create_data_channel(label, options))
        self.channels.append(channel)
        return channel

    def create_offer(self) -> None:
        self._connection.create_offer()

    def restart_ice(self) -> None:
        self._connection.restart_ice()

    def roll_back(self) -> None:
        self._connection.set_local_description("rollback", "")

    def set_remote_description(self, type: str, sdp: str) -> None:
        self._history.append(f"set_remote_description {type}")
        self._connection.set_remote_description(type, sdp)

    def add_candidate(self, mid: str, index: int, candidate: str) -> None:
        self._history.append(f"add_ice_candidate {mid!r} {index} {candidate}")
        self._connection.add_ice_candidate(mid, index, candidate)

    def step(self, timeout: float) -> None:
        rtcstack.poll([self._connection], timeout)
        for channel in self.channels:
            channel.take()

    def close(self) -> None:
        self._connection.close()

    def abort(self) -> None:
        self._connection.abort()

    def report(self) -> str:
        lines = [
            f"rtcstack: {self.state}, gathered {self.gathered}, {len(self.candidates)} candidates, "
            f"failure {self._connection.get_failure_reason()!r}",
            f"stats {self._connection.get_stats()}",
            *(describe_channel(channel) for channel in self.channels),
            *self._history[-30:],
        ]
        return "\n  ".join(lines)

    def _on_description(self, type: str, sdp: str) -> None:
        self._history.append(f"description {type}: {sdp!r}")
        self._connection.set_local_description(type, sdp)
        self.description = (type, sdp)

    def _on_candidate(self, media: str, index: int, name: str) -> None:
        self._history.append(f"candidate {name}")
        self.candidates.append((media, index, name))

    def _on_channel(self, channel: rtcstack.DataChannel) -> None:
        ours = OurChannel(channel)
        self.channels.append(ours)
        self.incoming.append(ours)

    def _on_state(self, state: int) -> None:
        self._history.append(f"state {self.state}")


Channel = OurChannel | ProcessChannel
Side = OurSide | ProcessSide
