"""Two ICE agents on a virtual link in virtual time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rtcstack import stun
from rtcstack.ice import Address, Agent, IceState, Options, PairSelected
from rtcstack.stun import Message, MessageClass

A4: Address = ("192.0.2.1", 1000)
Z4: Address = ("192.0.2.2", 2000)
A6: Address = ("2001:db8::1", 1000)
Z6: Address = ("2001:db8::2", 2000)


@dataclass
class Packet:
    """One datagram under way; a filter may change its addresses."""

    sender: Agent
    source: Address
    destination: Address
    data: bytes

    @property
    def message(self) -> Message:
        return Message.parse(self.data)

    @property
    def is_request(self) -> bool:
        return self.message.message_class is MessageClass.REQUEST


class Link:
    """Agents a and z, a controlling, `delay` seconds apart.

    filter      Packet -> whether it arrives.
    log         (agent, time, event) of everything that take_events gave.
    """

    def __init__(
        self,
        *,
        delay: float = 0.05,
        seed: int = 1,
        options: Options | None = None,
        addresses: tuple[list[Address], list[Address]] = ([A4], [Z4]),
        roles: tuple[bool, bool] = (True, False),
        tie_breakers: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.random = random.Random(seed)
        self.now = 100.0
        self.delay = delay
        self.filter: Callable[[Packet], bool] = lambda packet: True
        self.log: list[tuple[Agent, float, Any]] = []
        self.sent: list[tuple[float, Packet]] = []
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Packet]] = []
        self.a, self.z = (
            Agent(
                controlling=role,
                random_bytes=self.random.randbytes,
                options=options or Options(),
                tie_breaker=tie_breaker,
            )
            for role, tie_breaker in zip(roles, tie_breakers, strict=True)
        )
        for agent, own in zip((self.a, self.z), addresses, strict=True):
            for address in own:
                agent.add_local_address(address)
            agent.end_of_local_candidates()

    def describe(self, to: Agent, *, candidates: bool = True, lite: bool = False) -> None:
        """Give an agent the other's credentials, candidates and end of candidates, and start it."""
        other = self.z if to is self.a else self.a
        to.set_remote_credentials(other.ufrag, other.password, lite=lite)
        if candidates:
            for candidate in other.local_candidates:
                to.add_remote_candidate(candidate)
            to.end_of_remote_candidates()
        to.start(self.now)

    def connect(self, *, candidates: bool = True) -> None:
        self.describe(self.a, candidates=candidates)
        self.describe(self.z, candidates=candidates)

    def flush(self) -> None:
        """Take what both agents want to send and put it on the wire."""
        for agent in (self.a, self.z):
            for source, destination, datagrams in agent.take_packets(self.now):
                for data in datagrams:
                    packet = Packet(agent, source, destination, data)
                    self.sent.append((self.now, packet))
                    if self.filter(packet):
                        entry = (self.now + self.delay, next(self._order), packet)
                        heapq.heappush(self._heap, entry)
            self.log += [(agent, self.now, event) for event in agent.take_events()]

    def run(self, seconds: float) -> None:
        """Let virtual time pass, from event to event."""
        end = self.now + seconds
        for _ in range(100_000):
            self.flush()
            due = min(self.a.deadline, self.z.deadline, self._heap[0][0] if self._heap else math.inf)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            while self._heap and self._heap[0][0] <= self.now:
                packet = heapq.heappop(self._heap)[2]
                receiver = self.z if packet.sender is self.a else self.a
                receiver.receive([packet.data], packet.destination, packet.source, self.now)
        raise AssertionError("the agents do not come to rest")

    def when(self, agent: Agent, event: type | IceState) -> float | None:
        """Return seconds from the beginning to the first such event of an agent."""
        for who, time, what in self.log:
            if who is agent and (what.__class__ is event or getattr(what, "state", None) is event):
                return round(time - 100.0, 6)
        return None

    def selected(self, agent: Agent) -> float | None:
        return self.when(agent, PairSelected)

    def sent_by(self, agent: Agent) -> list[tuple[float, Packet]]:
        return [(round(time - 100.0, 6), packet) for time, packet in self.sent if packet.sender is agent]

    def states(self, agent: Agent) -> list[IceState]:
        return [what.state for who, _, what in self.log if who is agent and hasattr(what, "state")]


def request(
    to: Agent,
    *,
    ufrag: str = "peer",
    username: str | None = None,
    key: bytes | None = b"",
    transaction_id: bytes = b"twelve bytes",
    integrity: stun.Attribute[bytes] = stun.MESSAGE_INTEGRITY,
    fingerprint: bool = True,
    **attributes: Any,
) -> bytes:
    """Write a Binding request as a peer would; attributes by their Python names, None leaves one out."""
    content: dict[stun.Attribute[Any], Any] = {
        stun.USERNAME: username or f"{to.ufrag}:{ufrag}",
        stun.PRIORITY: 1_862_270_975,
        stun.ICE_CONTROLLED if to.controlling else stun.ICE_CONTROLLING: 1,
    }
    for name, value in attributes.items():
        attribute = getattr(stun, name)
        if value is None:
            content.pop(attribute, None)
        else:
            content[attribute] = value
    message = Message(stun.BINDING, MessageClass.REQUEST, transaction_id, content)
    signed = to.password.encode() if key == b"" else key
    return message.write(signed, integrity=integrity, fingerprint=fingerprint)


def answer(request: bytes, key: bytes | None, *, error: int | None = None, **attributes: Any) -> bytes:
    """Write the answer to a Binding request."""
    asked = Message.parse(request)
    content: dict[stun.Attribute[Any], Any] = {
        getattr(stun, name): value for name, value in attributes.items()
    }
    message_class = MessageClass.SUCCESS
    if error is not None:
        message_class = MessageClass.ERROR
        content[stun.ERROR_CODE] = (error, "")
    return Message(stun.BINDING, message_class, asked.transaction_id, content).write(key)
