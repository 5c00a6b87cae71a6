"""Transports that are waited for together, which most programs do again and again."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from rtcstack.errors import InvalidState
from rtcstack.net.readiness import Watch, wait_for_any

__all__ = ["Group", "Hub", "Waiter"]


class Waiter(Protocol):
    """A transport as those see it who wait for it."""

    descriptors: list[int]
    """File descriptors whose readability makes step() due; a new list whenever they change."""

    readable: list[int] | None
    """Those that can be read, where a wait has found out already."""

    @property
    def hub(self) -> Hub | None:
        """Who has the sockets that it shares with others."""

    @property
    def deadline(self) -> float:
        """When step() is due though nothing arrives: seconds, math.inf for never."""

    @property
    def is_blocked(self) -> bool:
        """Whether something waits until the kernel has room for it."""

    def blocked_descriptors(self) -> list[int]:
        """File descriptors whose writability makes step() due."""

    def gather(self) -> None:
        """Open sockets."""

    def network_changed(self) -> None:
        """Open and close sockets after the machine's addresses."""

    def step(self) -> bool:
        """Move what can be moved without waiting. Returns whether anything did."""

    def close(self) -> None:
        """Close the sockets."""


class Hub(Protocol):
    """Sockets that many transports share."""

    @property
    def version(self) -> int:
        """Changes with connection_count, with descriptors(), and with the transports' own descriptors."""

    @property
    def connection_count(self) -> int:
        """How many transports share them."""

    @property
    def is_blocked(self) -> bool:
        """Whether something waits until the kernel has room for it."""

    def descriptors(self) -> list[int]:
        """File descriptors whose readability makes receive() due."""

    def blocked_descriptors(self) -> list[int]:
        """File descriptors whose writability makes blocked_transports() due."""

    def blocked_transports(self) -> Sequence[Waiter]:
        """List those that wait for that."""

    def receive(self) -> None:
        """Give each transport what has arrived for it."""

    def soonest(self) -> float:
        """Tell when the first of its transports is due, in constant time."""

    def take_due(self, now: float) -> Sequence[Waiter]:
        """List those that are due, in a time that depends on how many they are."""


class Group:
    """Some transports, and how to wait for them.

    Transports with sockets of their own are asked one by one, as the kernel is about their sockets. All
    transports of a hub together are not: the hub knows who is due.
    """

    __slots__ = (
        "_asked",
        "_descriptors",
        "_given",
        "_has_passed",
        "_hub_of",
        "_hubs",
        "_owners",
        "_transports",
        "_versions",
        "_watch",
        "_whole",
    )

    def __init__(self, transports: Sequence[Waiter]) -> None:
        self._given = transports if isinstance(transports, tuple) else None
        self._has_passed = False
        self._transports = list(transports)
        members = Counter(transport.hub for transport in transports if transport.hub is not None)
        self._hubs: list[Hub] = list(members)
        self._versions = [hub.version for hub in self._hubs]
        self._whole = [hub for hub, count in members.items() if count == hub.connection_count]
        self._asked = [transport for transport in transports if transport.hub not in self._whole]
        self._descriptors = [transport.descriptors for transport in self._asked]
        self._owners = {
            descriptor: transport for transport in transports for descriptor in transport.descriptors
        }
        self._hub_of = {descriptor: hub for hub in self._hubs for descriptor in hub.descriptors()}
        self._watch = Watch([*self._owners, *self._hub_of])

    def is_of(self, transports: Sequence[object]) -> bool:
        """Whether it is of these transports, and they have opened or closed no socket since."""
        if transports is not self._given and self._transports != list(transports):
            return False
        return self._descriptors == [
            transport.descriptors for transport in self._asked
        ] and self._versions == [hub.version for hub in self._hubs]

    def wait(self, timeout: float | None) -> list[Waiter]:
        """Block until a socket is ready, a deadline has come, or time is out.

        Returns those whose step() is due; `readable` of each is set.

        Raises:
            InvalidState: there is no limit, no socket and no deadline: nothing can ever happen.
        """
        soonest = math.inf
        is_blocked = False
        for transport in self._asked:
            if transport.is_blocked:
                is_blocked = True
            if transport.deadline < soonest:
                soonest = transport.deadline
        for hub in self._whole:
            soonest = min(soonest, hub.soonest())
        for hub in self._hubs:
            is_blocked = is_blocked or hub.is_blocked
        if timeout is None and soonest == math.inf and not self._owners and not self._hub_of:
            raise InvalidState("nothing is open and no timer runs: this wait would never end")
        seconds = 0.0 if timeout == 0 else max(0.0, soonest - time.monotonic())
        if timeout is not None and timeout < seconds:
            seconds = timeout
        # Who may wait will come back: while something is due at once, the kernel is asked every other time.
        self._has_passed = soonest == -math.inf and timeout != 0 and not (self._has_passed or self._hub_of)
        if self._has_passed:
            ready = []
        elif is_blocked:
            ready = wait_for_any([*self._owners, *self._hub_of], self._blocked(), seconds)
        else:
            ready = self._watch.readable(seconds)
        due: dict[Waiter, list[int]] = {}
        ready_hubs: dict[Hub, None] = {}
        for descriptor in ready:
            owner = self._owners.get(descriptor)
            if owner is not None:
                due.setdefault(owner, []).append(descriptor)
            else:
                ready_hubs[self._hub_of[descriptor]] = None
        for hub in ready_hubs:
            hub.receive()
            if is_blocked:
                self._add_blocked(hub, due)
        now = time.monotonic()
        if soonest <= now or ready_hubs:
            for transport in self._asked:
                if transport.deadline <= now:
                    due.setdefault(transport, [])
        for hub in self._whole:
            for transport in hub.take_due(now):
                due.setdefault(transport, [])
        for transport, readable in due.items():
            transport.readable = readable
        return list(due)

    def _add_blocked(self, hub: Hub, due: dict[Waiter, list[int]]) -> None:
        members = set(self._transports)
        for transport in hub.blocked_transports():
            if transport in members:
                due.setdefault(transport, [])

    def _blocked(self) -> list[int]:
        """List the descriptors that wait for the kernel."""
        waiting = [
            descriptor for transport in self._transports for descriptor in transport.blocked_descriptors()
        ]
        return waiting + [descriptor for hub in self._hubs for descriptor in hub.blocked_descriptors()]
