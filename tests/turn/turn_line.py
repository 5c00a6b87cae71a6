"""A TURN client, a server in memory and peers, some milliseconds apart in virtual time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from rtcstack import stun
from rtcstack.stun import Address, Message
from rtcstack.testing.servers import TurnServer
from rtcstack.turn import Client, Event, Options
from rtcstack.turn.framing import StreamSplitter

CLIENT: Address = ("198.51.100.2", 49721)
SERVER: Address = ("192.0.2.15", 3478)
PEER_A: Address = ("192.0.2.150", 32102)
PEER_B: Address = ("192.0.2.210", 49191)
USER = {"George": "secret"}

METHODS = {
    1: "Binding",
    3: "Allocate",
    4: "Refresh",
    6: "Send",
    7: "Data",
    8: "CreatePermission",
    9: "ChannelBind",
}


def describe(data: bytes) -> str:
    """Name a message as a ladder diagram would."""
    if data[:1] and 64 <= data[0] < 80:
        return f"ChannelData {int.from_bytes(data[:2], 'big'):#x}"
    message = Message.parse(data)
    error = message.get(stun.ERROR_CODE)
    ending = f" {error[0]}" if error else ""
    return f"{METHODS[message.method]} {message.message_class.name.lower()}{ending}"


class Line:
    """A client and a server with `delay` seconds between them, and between the server and each peer.

    passes      (data, from the client) -> whether a message between client and server arrives.
    change      what becomes of a message of the server on its way.
    ladder      (seconds, "-->" or "<--", what) of every message between client and server.
    events      (seconds, event) of the client.
    at_client   (peer, data) that the client got, at_peers (peer, data) that peers got.
    """

    def __init__(
        self,
        server: TurnServer | None = None,
        *,
        delay: float = 0.01,
        transport: Literal["udp", "stream"] = "udp",
        username: str = "George",
        password: str = "secret",
        options: Options | None = None,
        seed: int = 1,
        **client: Any,
    ) -> None:
        self.random = random.Random(seed)
        self.server = server or TurnServer(SERVER[0], users=USER)
        self.client = Client(
            server=self.server.addresses[0],
            username=username,
            password=password,
            transport=transport,
            random_bytes=self.random.randbytes,
            options=options or Options(),
            **client,
        )
        self.now = 1000.0
        self.delay = delay
        self.passes: Callable[[bytes, bool], bool] = lambda data, is_ours: True
        self.change: Callable[[bytes], bytes] = lambda data: data
        self.ladder: list[tuple[float, str, str]] = []
        self.events: list[tuple[float, Event]] = []
        self.at_client: list[tuple[Address, bytes]] = []
        self.at_peers: list[tuple[Address, bytes]] = []
        self._is_stream = transport == "stream"
        self._to_server = StreamSplitter()
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def seen(self) -> list[Event]:
        return [event for _, event in self.events]

    @property
    def story(self) -> list[str]:
        """The ladder without its times."""
        return [f"{arrow} {what}" for _, arrow, what in self.ladder]

    def start(self, seconds: float = 0.1) -> None:
        """Start the client and let it get its relay."""
        self.client.start(self.now)
        self.run(seconds)

    def later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._order), action))

    def peer_sends(self, peer: Address, *datagrams: bytes) -> None:
        """Let a peer send to the relayed address."""
        relayed = self.client.relayed
        assert relayed is not None
        self.later(self.delay, lambda: self.server.receive(relayed, peer, list(datagrams), self.now))

    def run(self, seconds: float) -> None:
        """Let virtual time pass, from event to event."""
        end = self.now + seconds
        for _ in range(200_000):
            self._flush()
            due = min(self.client.deadline, self._heap[0][0] if self._heap else math.inf)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            while self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
            if self.client.deadline <= self.now:
                self.client.handle_timeout(self.now)
        raise AssertionError("the client does not come to rest")

    def _flush(self) -> None:
        messages = self.client.take_packets(self.now)
        if self._is_stream:
            messages = self._to_server.split(messages)
            assert not self._to_server.error
        for data in messages:
            self._carry(data, is_ours=True)
        for local, remote, datagrams in self.server.take_packets(self.now):
            for data in datagrams:
                if local in self.server.addresses:
                    self._carry(data, is_ours=False)
                else:
                    self.at_peers.append((remote, data))
        for peer, datagrams in self.client.take_data():
            self.at_client += [(peer, data) for data in datagrams]
        self.events += [(round(self.now - 1000, 6), event) for event in self.client.take_events()]

    def _carry(self, data: bytes, *, is_ours: bool) -> None:
        arrow = "-->" if is_ours else "<--"
        passes = self.passes(data, is_ours)
        self.ladder.append((round(self.now - 1000, 6), arrow if passes else " x ", describe(data)))
        if not passes:
            return
        if not is_ours:
            data = self.change(data)
        if is_ours:
            self.later(
                self.delay, lambda: self.server.receive(self.server.addresses[0], CLIENT, [data], self.now)
            )
        elif self._is_stream:
            # A connection cuts as it likes.
            padded = data + bytes(-len(data) % 4)
            at = self.random.randrange(len(padded) + 1)
            self.later(self.delay, lambda: self.client.receive([padded[:at]], self.now))
            self.later(self.delay, lambda: self.client.receive([padded[at:]], self.now))
        else:
            self.later(self.delay, lambda: self.client.receive([data], self.now))


class Unknown:
    """Stands for an attribute that nobody knows and everybody must understand."""

    type = 0x7F55

    def write(self, value: bytes, transaction_id: bytes) -> bytes:
        return value


UNKNOWN: Any = Unknown()


def changing(**changes: Any) -> Callable[[Message], Message]:
    """Return a `TurnServer.tamper` that changes answers to Allocate; None takes an attribute out."""

    def tamper(answer: Message) -> Message:
        if answer.method != 3 or answer.get(stun.ERROR_CODE):
            return answer
        attributes = dict(answer.attributes)
        for name, value in changes.items():
            attribute = getattr(stun, name)
            attributes.pop(attribute, None)
            if value is not None:
                attributes[attribute] = value
        return replace(answer, attributes=attributes)

    return tamper
