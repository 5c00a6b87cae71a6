"""What two servers say to each other arrives once and in order, or the other one is given up.  Sans-IO."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

__all__ = ["Body", "Links"]

Body = list[Any]
"""What a link carries: a JSON array, whose meaning is the user's."""

_HEARTBEAT = 2.0
"""Seconds of silence after which a frame is sent for its own sake."""

_ACK_DELAY = 0.2
"""Seconds that an acknowledgement may wait for a frame to travel with."""

_RETRANSMIT = 1.0
"""Seconds after which what was not acknowledged is sent again: a broker forgets when it restarts."""

_PATIENCE = 8.0
"""Seconds of silence after which the other server counts as dead: four heartbeats."""

_MOST_UNACKNOWLEDGED = 20_000
"""Bodies that may wait for an acknowledgement; with more the other server is too slow to be of use."""

_MOST_IN_FRAME = 200
"""Bodies in one frame."""


class Links:
    """The links of one server, one for each other server that it has spoken with.

    A frame is a JSON object: {"from": name of the sender's end, "to": name of the receiver's end or null,
    "seq": number of the first body, "ack": bodies received so far, "bodies": [...]}.  The broker keeps order
    and doubles nothing while it lives; a restart may lose frames.  What was lost is sent again after a
    second; what came before is dropped by its number.

    The ends have names, drawn at random, so that each side notices when the other one has started over: a
    server that was given up and lives is told {"reset": name of its end}, and gives us up in turn.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._links: dict[str, _Link] = {}
        self._resets: list[tuple[str, str]] = []
        self._dead: list[str] = []

    @property
    def deadline(self) -> float:
        """When take_frames() has something to say without being given anything, or patience ends."""
        if self._resets:
            return -math.inf
        return min((link.deadline for link in self._links.values()), default=math.inf)

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that we are linked with."""
        return tuple(self._links)

    def send(self, server: str, body: Body, now: float) -> None:
        """Queue a body for that server; take_frames() puts it on the way."""
        if server not in self._links:
            self._links[server] = _Link(self._random_bytes(8).hex(), now)
        link = self._links[server]
        link.send(body)
        if link.is_overfull:
            self._bury(server)

    def receive(self, server: str, text: str, now: float) -> list[Body]:
        """Take a frame that came from that server; returns the bodies that are new.

        What is no frame, or does not go on where the last one ended, gives nothing.
        """
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            return []
        if not isinstance(frame, dict):
            return []
        link = self._links.get(server)
        if "reset" in frame:
            if link is not None and frame["reset"] == link.name:
                self._bury(server)
            return []
        theirs, ours = frame.get("from"), frame.get("to")
        if not isinstance(theirs, str):
            return []
        if ours is not None and (link is None or ours != link.name):
            self._resets.append((server, json.dumps({"reset": theirs})))
            return []
        if link is not None and link.other not in (None, theirs):
            self._bury(server)
            link = None
        if link is None:
            link = self._links[server] = _Link(self._random_bytes(8).hex(), now)
        link.other = theirs
        return link.receive(frame, now)

    def take_frames(self, now: float) -> list[tuple[str, str]]:
        """Write what is to be sent now, with the server that each frame goes to."""
        frames, self._resets = self._resets, []
        for server, link in tuple(self._links.items()):
            if link.is_silent(now):
                self._bury(server)
            elif now >= link.deadline:
                frames += [(server, frame) for frame in link.take_frames(now)]
        return frames

    def take_dead(self) -> list[str]:
        """Hand over the servers that were given up since the last call."""
        dead, self._dead = self._dead, []
        return dead

    def forgive(self, now: float) -> None:
        """The broker was away: silence counts from now on, and what may be lost is sent again."""
        for link in self._links.values():
            link.forgive(now)

    def _bury(self, server: str) -> None:
        del self._links[server]
        self._dead.append(server)


class _Link:
    """One end of a link.

    name    of this end.
    other   name of the other end; None before it has said something.
    """

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.other: str | None = None
        self._unacknowledged: deque[Body] = deque()
        self._first = 1
        self._sent = 0
        self._received = 0
        self._ack_due = math.inf
        self._retransmit_at = math.inf
        self._heartbeat_at = now
        self._heard_at = now

    @property
    def is_overfull(self) -> bool:
        """Whether the other side acknowledges too slowly to be of use."""
        return len(self._unacknowledged) > _MOST_UNACKNOWLEDGED

    @property
    def deadline(self) -> float:
        """When take_frames() has something to say, or patience ends."""
        if self._sent < len(self._unacknowledged):
            return -math.inf
        return min(self._ack_due, self._retransmit_at, self._heartbeat_at, self._heard_at + _PATIENCE)

    def is_silent(self, now: float) -> bool:
        """Tell whether nothing was heard for too long."""
        return now >= self._heard_at + _PATIENCE

    def send(self, body: Body) -> None:
        self._unacknowledged.append(body)

    def receive(self, frame: dict[str, Any], now: float) -> list[Body]:
        seq, ack, bodies = frame.get("seq"), frame.get("ack"), frame.get("bodies")
        if not (isinstance(seq, int) and isinstance(ack, int) and isinstance(bodies, list)):
            return []
        self._heard_at = now
        while self._first <= ack and self._sent:
            self._unacknowledged.popleft()
            self._first += 1
            self._sent -= 1
            self._retransmit_at = now + _RETRANSMIT
        if not self._sent:
            self._retransmit_at = math.inf
        if not bodies:
            return []
        self._ack_due = min(self._ack_due, now + _ACK_DELAY)
        known = self._received + 1 - seq
        if not 0 <= known < len(bodies):
            return []
        self._received = seq + len(bodies) - 1
        return bodies[known:]

    def take_frames(self, now: float) -> list[str]:
        if now >= self._retransmit_at:
            self._sent = 0
            self._retransmit_at = math.inf
        frames = []
        while self._sent < len(self._unacknowledged):
            bodies = list(islice(self._unacknowledged, self._sent, self._sent + _MOST_IN_FRAME))
            frames.append(self._write(self._first + self._sent, bodies))
            self._sent += len(bodies)
            self._retransmit_at = min(self._retransmit_at, now + _RETRANSMIT)
        if not frames:
            frames.append(self._write(self._first + self._sent, []))
        self._ack_due = math.inf
        self._heartbeat_at = now + _HEARTBEAT
        return frames

    def forgive(self, now: float) -> None:
        self._heard_at = now
        if self._sent:
            self._retransmit_at = now

    def _write(self, seq: int, bodies: list[Body]) -> str:
        fields = {"from": self.name, "to": self.other, "seq": seq, "ack": self._received, "bodies": bodies}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
