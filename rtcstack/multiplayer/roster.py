"""Who takes part in a scene: peers that are admitted, and those that still have to authenticate."""

from __future__ import annotations

import math
from collections import deque

from rtcstack.errors import InvalidParameter
from rtcstack.multiplayer.notices import Notices
from rtcstack.multiplayer.path_cache import PathCache
from rtcstack.peer import Signal

__all__ = ["EarlyPackets", "Pending", "Player", "Roster"]

_SERVER = 1


class Pending:
    """A peer that is not admitted yet.

    deadline    when its time for authentication is over: seconds, math.inf for never.
    """

    __slots__ = ("deadline", "is_local_done", "is_remote_done")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.is_local_done = False
        self.is_remote_done = False


class Player:
    """A peer that is admitted.

    is_relayed      whether it is reached through the server.
    paths           what it knows of our paths, and we of its.
    explained       differences of method lists that were told.
    last_sync       time of its latest SYNC, 16 bits.
    """

    __slots__ = ("explained", "is_relayed", "last_sync", "paths")

    def __init__(self, is_relayed: bool, paths: PathCache) -> None:
        self.is_relayed = is_relayed
        self.paths = paths
        self.explained: set[str] = set()
        self.last_sync: int | None = None


class Roster:
    """Peers by id, and the signals that tell of them.

    notices         where signals wait for poll().
    has_old_form    of CONFIRM_PATH, see PathCache.
    """

    def __init__(self, notices: Notices, has_old_form: bool | None) -> None:
        self.peer_connected: Signal[int] = Signal("peer_connected")
        self.peer_disconnected: Signal[int] = Signal("peer_disconnected")
        self.connected_to_server: Signal[()] = Signal("connected_to_server")
        self.peer_authenticating: Signal[int] = Signal("peer_authenticating")
        self.peer_authentication_failed: Signal[int] = Signal("peer_authentication_failed")
        self.players: dict[int, Player] = {}
        self.pending: dict[int, Pending] = {}
        self._notices = notices
        self._has_old_form = has_old_form

    def __contains__(self, peer_id: int) -> bool:
        return peer_id in self.players or peer_id in self.pending

    @property
    def deadline(self) -> float:
        """When the first authentication is over, seconds; math.inf for never."""
        return min((pending.deadline for pending in self.pending.values()), default=math.inf)

    def ask(self, peer_id: int, deadline: float) -> None:
        """Let a peer authenticate until then."""
        self.pending[peer_id] = Pending(deadline)
        self._notices.add(self.peer_authenticating, peer_id)

    def find_pending(self, peer_id: int) -> Pending:
        """Find a peer that authenticates.

        Raises:
            InvalidParameter: it does not.
        """
        if peer_id not in self.pending:
            raise InvalidParameter(
                f"peer {peer_id} is not authenticating: get_authenticating_peers() lists those"
            )
        return self.pending[peer_id]

    def admit(self, peer_id: int, *, is_relayed: bool = False) -> None:
        """Let a peer take part."""
        self.pending.pop(peer_id, None)
        self.players[peer_id] = Player(is_relayed, PathCache(self._has_old_form))
        if peer_id == _SERVER:
            self._notices.add(self.connected_to_server)
        self._notices.add(self.peer_connected, peer_id)

    def forget(self, peer_id: int) -> None:
        """Let a peer go, whatever it was."""
        if self.players.pop(peer_id, None) is not None:
            self._notices.add(self.peer_disconnected, peer_id)
        elif self.pending.pop(peer_id, None) is not None:
            self._notices.add(self.peer_authentication_failed, peer_id)

    def clear(self) -> None:
        """Let all go."""
        for peer_id in (*self.players, *self.pending):
            self.forget(peer_id)


class EarlyPackets:
    """Relayed packets that overtook, on another channel, the notice of the peer that they come from.

    most, most_bytes    what is kept at most; the oldest make room, for they may be the last of a peer that
                        has left, and wait for nobody.
    """

    __slots__ = ("_bytes", "_most", "_most_bytes", "_packets")

    def __init__(self, most: int = 256, most_bytes: int = 262_144) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._packets: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def keep(self, source: int, packet: bytes) -> bool:
        """Keep a packet; False if others had to make room for it."""
        self._packets.append((source, packet))
        self._bytes += len(packet)
        had_room = True
        while len(self._packets) > self._most or self._bytes > self._most_bytes:
            _, oldest = self._packets.popleft()
            self._bytes -= len(oldest)
            had_room = False
        return had_room

    def take(self, source: int) -> list[bytes]:
        """Take the packets of a peer, in order."""
        packets = [packet for each, packet in self._packets if each == source]
        self._packets = deque(kept for kept in self._packets if kept[0] != source)
        self._bytes -= sum(map(len, packets))
        return packets

    def clear(self) -> None:
        """Keep none."""
        self._packets.clear()
        self._bytes = 0
