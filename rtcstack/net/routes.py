"""Whose datagram it is, where many sessions share one UDP port."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rtcstack import stun
from rtcstack.errors import WireError
from rtcstack.net.udp import Address

__all__ = ["Credentials", "MuxDrops", "Routes"]

Credentials = tuple[str, str]
"""ICE username fragment and password."""

_Path = tuple[Address, Address]
"""Address of the socket, and address of the peer."""

_BINDING_REQUEST = b"\x00\x01"
_BINDING_SUCCESS = b"\x01\x01"
_USERNAME = 0x0006
_unpack_attribute = struct.Struct("!HH").unpack_from

_USERNAME_WITHIN = 16
"""Attributes of a request among which USERNAME is looked for; in real ones it is the first to fifth."""

_TRANSACTION_SECONDS = 40.0
"""How long a question is remembered, at least: RFC 8489 gives up after 39.5 s."""

_MOST_TRANSACTIONS = 1 << 17
"""Questions remembered in each half of the memory: 1,000 sessions that check 100 pairs each."""

_MOST_ADDRESSES = 64
"""Addresses of peers that one session may own at a time; of more, the oldest is forgotten until it is checked
again."""

_MOST_CREDENTIALS = 4
"""Credentials of one session that count: the present ones and those of before its last restarts."""


@dataclass(slots=True)
class MuxDrops:
    """Datagrams that belonged to nobody, or came too fast; all counts since the start."""

    unknown_ufrag: int = 0
    """Checks for no session of this port: of one that has ended, or a scan."""
    unknown_transaction: int = 0
    """STUN responses to nothing that was asked within the last 40 seconds."""
    unknown_source: int = 0
    """Data from an address that has passed no check."""
    overflow: int = 0
    """Datagrams beyond what one session may have waiting."""


_Owner = TypeVar("_Owner")


class Routes(Generic[_Owner]):
    """Finds the session that a datagram is for.

    - A check belongs to the session whose ufrag it names.
    - A STUN response belongs to the session that has asked, by its transaction id.
    - Anything else belongs to the session that owns the address it comes from.

    A session comes to own an address by the answer to one of its checks, if nobody owns it, or by a check
    whose integrity was made with its password.  That also takes the address from another session, since a NAT
    may have given the port to a new peer.  Nothing that is not authentic leaves a trace but a counter.

    Source: RFC 8445 section 7.3, RFC 8489 section 6.3.
    """

    def __init__(self) -> None:
        self.drops = MuxDrops()
        self._ufrags: dict[bytes, tuple[_Owner, bytes]] = {}
        self._owners: dict[_Path, _Owner] = {}
        self._asked: dict[bytes, _Owner] = {}
        self._asked_before: dict[bytes, _Owner] = {}
        self._turn_at = 0.0
        self._credentials: dict[_Owner, dict[bytes, None]] = {}
        self._paths: dict[_Owner, dict[_Path, None]] = {}

    @property
    def address_count(self) -> int:
        """Addresses of peers that are known."""
        return len(self._owners)

    def add(self, owner: _Owner, credentials: Credentials) -> None:
        """Route the checks that name these credentials; the ones of before a restart hold as well.

        Ufrags have at least 24 random bits, ours 48: where two sessions have the same, the first keeps it.
        """
        ufrag = credentials[0].encode()
        known = self._credentials.setdefault(owner, {})
        if ufrag in self._ufrags:
            return
        self._ufrags[ufrag] = (owner, credentials[1].encode())
        known[ufrag] = None
        if len(known) > _MOST_CREDENTIALS:
            oldest = next(iter(known))
            del known[oldest], self._ufrags[oldest]

    def remove(self, owner: _Owner) -> None:
        """Forget a session and everything that was its own; what it has asked is forgotten in time."""
        for ufrag in self._credentials.pop(owner, ()):
            del self._ufrags[ufrag]
        for path in self._paths.pop(owner, ()):
            del self._owners[path]

    def sent(self, owner: _Owner, datagrams: list[bytes], now: float) -> None:
        """Remember which STUN requests a session sends, so that their answers find it."""
        if now >= self._turn_at or len(self._asked) >= _MOST_TRANSACTIONS:
            self._asked_before, self._asked = self._asked, {}
            self._turn_at = now + _TRANSACTION_SECONDS
        for datagram in datagrams:
            if not (datagram[0] & 0x01 or datagram[1] & 0x10):
                self._asked[datagram[8:20]] = owner

    def deliver(
        self,
        local: Address,
        remote: Address,
        datagrams: list[bytes],
        hand_over: Callable[[_Owner, Address, Address, list[bytes]], object],
    ) -> None:
        """Hand each datagram of a batch to the session that it is for, or count why to none.

        local       address of the socket.  remote: where they came from.
        """
        messages = [datagram for datagram in datagrams if datagram and datagram[0] < 4]
        if messages:
            if len(messages) < len(datagrams):
                datagrams = [datagram for datagram in datagrams if not datagram or datagram[0] >= 4]
            else:
                datagrams = []
            for message in messages:
                owner = self._owner_of_stun(local, remote, message)
                if owner is not None:
                    hand_over(owner, local, remote, [message])
        if datagrams:
            owner = self._owners.get((local, remote))
            if owner is None:
                self.drops.unknown_source += len(datagrams)
            else:
                hand_over(owner, local, remote, datagrams)

    def _owner_of_stun(self, local: Address, remote: Address, message: bytes) -> _Owner | None:
        path = (local, remote)
        kind = message[:2]
        if kind == _BINDING_REQUEST:
            found = self._ufrags.get(_named_ufrag(message))
            if found is None:
                self.drops.unknown_ufrag += 1
                return None
            owner, password = found
            if self._owners.get(path) is not owner and _is_authentic(message, password):
                self._give(path, owner)
            return owner
        if message[0] & 0x01:
            transaction_id = message[8:20]
            asked = self._asked.get(transaction_id) or self._asked_before.get(transaction_id)
            if asked is None or asked not in self._credentials:
                self.drops.unknown_transaction += 1
                return None
            if kind == _BINDING_SUCCESS and path not in self._owners:
                self._give(path, asked)
            return asked
        holder = self._owners.get(path)
        if holder is None:
            self.drops.unknown_source += 1
        return holder

    def _give(self, path: _Path, owner: _Owner) -> None:
        before = self._owners.get(path)
        if before is not None:
            del self._paths[before][path]
        paths = self._paths.setdefault(owner, {})
        paths[path] = None
        self._owners[path] = owner
        if len(paths) > _MOST_ADDRESSES:
            oldest = next(iter(paths))
            del paths[oldest], self._owners[oldest]


def _named_ufrag(request: bytes) -> bytes:
    """Find the receiver's ufrag in the USERNAME of a check; b"" if there is none (RFC 8445 section 7.2.2)."""
    at = 20
    for _ in range(_USERNAME_WITHIN):
        if at + 4 > len(request):
            break
        kind, size = _unpack_attribute(request, at)
        at += 4
        if kind == _USERNAME:
            return request[at : at + size].partition(b":")[0]
        at += size + (-size & 3)
    return b""


def _is_authentic(message: bytes, password: bytes) -> bool:
    try:
        return stun.Message.parse(message).is_authentic(password)
    except WireError:
        return False
