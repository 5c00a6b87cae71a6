"""Tells a foreign event loop when poll() has something to do: which sockets to watch, and until when."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rtcstack.errors import InvalidParameter
from rtcstack.net import OsNetwork, OsTransport
from rtcstack.peer.connection import PeerConnection

__all__ = ["Wakeup", "next_wakeup"]


@dataclass(frozen=True, slots=True)
class Wakeup:
    """When poll() is due: at the first of these.

    readers     file descriptors that may become readable.
    writers     file descriptors that may become writable: their buffers are full now.
    seconds     time that may pass without either; 0 if something waits already, math.inf for no limit.
    """

    readers: list[int]
    writers: list[int]
    seconds: float


def next_wakeup(connections: Iterable[PeerConnection]) -> Wakeup:
    """Tell when these connections want to be polled, for event loops that are not rtcstack's.

    Ask after each poll() and after each command: both move it.

    Raises:
        InvalidParameter: a connection lives in a virtual network, or in its own background thread.
    """
    readers: list[int] = []
    writers: list[int] = []
    deadline = math.inf
    is_due = False
    for connection in connections:
        transport = connection._transport
        if connection._session.is_finished:
            is_due |= connection._session.activity != connection._seen
            continue
        if connection._is_background or not isinstance(transport, OsTransport):
            raise InvalidParameter(f"{connection!r} is not driven by sockets of this thread")
        readers += transport.descriptors
        writers += transport.blocked_descriptors()
        deadline = min(deadline, transport.deadline)
        is_due |= connection._session.activity != connection._seen
    seconds = 0.0 if is_due else max(0.0, deadline - OsNetwork().now())
    return Wakeup(readers, writers, seconds)
