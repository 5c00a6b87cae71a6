"""Finding out how large packets may be: path-MTU discovery by probes (RFC 8899)."""

from __future__ import annotations

import math
from collections.abc import Callable

from rtcstack.sctp.chunks import Heartbeat, Pad
from rtcstack.sctp.packet import HEADER_SIZE

__all__ = ["LARGEST_PACKET", "PathMtu"]

_MOST_PROBES = 3
"""Probes of one size that may be lost before it counts as too large (RFC 8899 section 5.1.2, MAX_PROBES)."""

_RAISE_AFTER = 600.0
"""Seconds until larger packets are tried again (RFC 8899 section 5.1.1, PMTU_RAISE_TIMER)."""

_QUESTION_AFTER = 10.0
"""Seconds after which losses may make us ask again whether packets of the present size arrive."""

_PRECISION = 32
"""Bytes at which the search is close enough: another probe would cost more than it gains."""

LARGEST_PACKET = 65_535
"""Bytes of a packet in the largest datagram, and more."""

_NONCE_SIZE = 16
_HEARTBEAT_SIZE = 8 + _NONCE_SIZE


class PathMtu:
    """Searches the largest packet that arrives, between a size that is known to and a limit.

    The limit is tried first, as most paths carry what their first link does; then the middle of what is left.
    A probe is a HEARTBEAT filled up with PAD, so its loss costs nobody anything and says nothing about
    congestion. To a peer that has shown no extension of the last years the filling goes inside the
    HEARTBEAT, and comes back: there are some (werift) that die of a chunk type that they do not know.

    base            bytes of a packet that every path carries.
    limit           bytes beyond which there is no need to search; base or less = do not search.
    random_bytes    n -> n unpredictable bytes, for nonces.

    Source: RFC 8899 sections 5 and 6.2; RFC 4820.
    """

    __slots__ = (
        "_base",
        "_info",
        "_is_searching",
        "_largest",
        "_limit",
        "_losses",
        "_pads",
        "_probed",
        "_question_at",
        "_random_bytes",
        "_rest_until",
        "_too_large",
        "due",
        "mtu",
    )

    def __init__(self, base: int, limit: int, random_bytes: Callable[[int], bytes]) -> None:
        self.mtu = base
        """Bytes of the largest packet that may be sent."""
        self.due = math.inf
        """Seconds: when probe() is to be asked."""
        self._base = base
        self._limit = limit & ~3
        self._random_bytes = random_bytes
        self._too_large = self._limit + 4  # the smallest size that is known, or taken, not to arrive
        self._probed = 0  # the size that is being tried
        self._losses = 0
        self._question_at = -math.inf  # from when on losses count
        self._rest_until = math.inf  # when to go on after question()
        self._info = b""
        self._pads = True
        self._largest = LARGEST_PACKET
        self._is_searching = False

    def start(self, now: float, *, pads: bool = True, largest: int = LARGEST_PACKET) -> None:
        """Begin to search.

        pads        whether PAD may be sent; False fills the HEARTBEAT.
        largest     bytes of a packet that the peer can take, whatever the path carries.
        """
        self._pads = pads
        self._largest = largest & ~3
        self._limit = min(self._limit, self._largest)
        self._is_searching = True
        self._search(now)

    def take_path(self, limit: int, now: float) -> None:
        """Begin anew at the base, on another path; before start() only the limit is noted.

        Source: RFC 8899 section 4.9.
        """
        self._limit = min(limit & ~3, self._largest)
        if self._is_searching:
            self._search(now)

    def _search(self, now: float) -> None:
        self.mtu = self._base
        self._too_large = self._limit + 4
        self._probed = self._losses = 0
        self._info = b""
        self.due = now if self._limit > self._base else math.inf

    def probe(self, now: float, timeout: float) -> list[bytes]:
        """Build the chunks of the probe that is due; none if the search is over.

        timeout    seconds after which the probe counts as lost.
        Then: they go alone in a packet.
        """
        if self._probed:
            self._losses += 1
            if self._losses >= _MOST_PROBES:
                self._too_large = self._probed
                if self._probed == self.mtu:
                    self.mtu = self._base
                self._probed = self._losses = 0
                self._info = b""  # its answer may still come, and would be about no size
        if not self._probed:
            self._probed = self._next_size()
            if not self._probed:
                self.due = now + _RAISE_AFTER
                self._too_large = self._limit + 4
                return []
        self.due = now + timeout
        self._info = self._random_bytes(_NONCE_SIZE)
        filling = self._probed - HEADER_SIZE - _HEARTBEAT_SIZE
        if self._pads:
            return [Heartbeat.with_info(self._info).write(), Pad(filling).write()]
        self._info += bytes(filling)
        return [Heartbeat.with_info(self._info).write()]

    def _next_size(self) -> int:
        """Give the size to try next; 0 if what is known is close enough."""
        if self._too_large > self._limit:
            return self._limit if self._limit > self.mtu else 0
        if self._too_large - self.mtu <= _PRECISION:
            return 0
        return (self.mtu + self._too_large) // 2 & ~3

    def acknowledged(self, info: bytes, now: float) -> bool:
        """Take the information of a HEARTBEAT ACK; tell whether it was that of the probe."""
        if not self._info or info != self._info:
            return False
        self._info = b""
        self.due = now if self._probed > self.mtu else self._rest_until
        self.mtu = self._probed
        self._probed = self._losses = 0
        return True

    def question(self, now: float) -> None:
        """Probe for the present size, as packets have been lost: `mtu` is the base if the probes are, too.

        At most once in ten seconds.
        Source: RFC 8899 section 4.3, black-hole detection.
        """
        if self.mtu > self._base and not self._probed and now >= self._question_at:
            self._question_at = now + _QUESTION_AFTER
            self._probed = self.mtu
            self._losses = -1  # the first probe follows none that was lost
            self._rest_until, self.due = self.due, now

    def fall_back(self, now: float) -> bool:
        """Go back to the base, as nothing arrives any more; tell whether that makes a difference.

        Source: RFC 8899 section 4.3, black-hole detection.
        """
        if self.mtu == self._base:
            return False
        self.mtu = self._base
        self._probed = self._losses = 0
        self._info = b""
        self.due = now + _RAISE_AFTER
        return True
