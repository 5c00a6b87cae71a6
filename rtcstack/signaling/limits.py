"""How much one peer and one address may ask for: token buckets, told the time."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

__all__ = ["AddressLimits", "Bucket", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server grants.  Whoever asks for more is closed with a reason, or not let in."""

    max_peers: int = 4096
    """WebSocket connections at once; the demo's Node server has the same number."""
    max_lobbies: int = 1024
    """Lobbies at once that this server keeps; the demo's number."""
    max_members: int = 256
    """Members of one lobby: each join costs two messages a member."""
    join_timeout: float = 3.0
    """Seconds from the connection to its JOIN.  The demo grants 1, which a phone's network can miss."""
    seal_timeout: float = 10.0
    """Seconds from the seal of a lobby to its end: time for the last candidates.  The demo's number."""
    resume_timeout: float = 15.0
    """Seconds that a lost member's seat is kept, if it asked for a ticket; 0 gives no tickets."""
    max_message_size: int = 65_000
    """Bytes of a message; Godot's WebSocketPeer takes 65,535, and ids grow by some digits on the way."""
    peer_messages: float = 100.0
    """Messages a second of one peer in the long run: a mesh of 16 takes about 100 when one joins."""
    peer_burst: float = 1000.0
    """Messages of one peer at once: joining a full mesh of 100."""
    peer_bytes: float = 256_000.0
    """Bytes a second of one peer in the long run; four seconds of it may come at once."""
    address_peers: int = 256
    """Connections at once of one address (an IPv6 network of 64 bits counts as one)."""
    address_connections: float = 20.0
    """New connections a second of one address in the long run; `address_peers` may come at once."""


class Bucket:
    """Fills at a steady rate up to a limit; what is taken must be there.

    rate    tokens a second.
    size    tokens at most, and at the start.
    """

    __slots__ = ("_filled_at", "_tokens", "rate", "size")

    def __init__(self, rate: float, size: float, now: float) -> None:
        self.rate = rate
        self.size = size
        self._tokens = size
        self._filled_at = now

    def take(self, tokens: float, now: float) -> bool:
        """Take so many tokens; False, and nothing is taken, if there are not enough."""
        self._fill(now)
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        return True

    def is_full(self, now: float) -> bool:
        """Tell whether the bucket is as it was at the start."""
        self._fill(now)
        return self._tokens >= self.size

    def _fill(self, now: float) -> None:
        self._tokens = min(self.size, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now


class AddressLimits:
    """Counts the connections of each address; remembers none that has been quiet long enough to be let in."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses: dict[str, tuple[Bucket, list[int]]] = {}
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._addresses)

    def count(self, address: str) -> int:
        """Return how many connections of this address there are."""
        entry = self._addresses.get(_network_of(address))
        return 0 if entry is None else entry[1][0]

    def enter(self, address: str, now: float) -> bool:
        """Count one more connection of this address; False, and it is not counted, if it has too many."""
        key = _network_of(address)
        self._sweep(now)
        entry = self._addresses.get(key)
        if entry is None:
            size = float(self._limits.address_peers)
            entry = self._addresses[key] = Bucket(self._limits.address_connections, size, now), [0]
        bucket, count = entry
        if count[0] >= self._limits.address_peers or not bucket.take(1, now):
            return False
        count[0] += 1
        return True

    def leave(self, address: str) -> None:
        """Forget one connection that was let in."""
        self._addresses[_network_of(address)][1][0] -= 1

    def _sweep(self, now: float) -> None:
        """Forget, once in a while, the addresses that have no connection and a full bucket."""
        if now >= self._sweep_at:
            idle = [
                key
                for key, (bucket, count) in self._addresses.items()
                if not count[0] and bucket.is_full(now)
            ]
            for key in idle:
                del self._addresses[key]
            self._sweep_at = now + 10.0


def _network_of(address: str) -> str:
    """Return what counts as one user: an IPv4 address, an IPv6 network of 64 bits, or the text as it is."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)
