"""How long a partially reliable message is worth sending, and what becomes of one that was cut (RFC 3758)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtcstack.sctp.send_queue import OutgoingStream

__all__ = ["Fate", "Limits"]


class Limits:
    """How long a partially reliable message is worth sending; all messages with the same limits share them.

    max_retransmits    how often a chunk of it may be sent again; math.inf = no limit.
    expires            seconds, on the clock of `now`, after which it is not sent (again); math.inf = never.

    Source: RFC 3758 section 4.1, RFC 7496.
    """

    __slots__ = ("expires", "max_retransmits")

    def __init__(self, max_retransmits: float, expires: float) -> None:
        self.max_retransmits = max_retransmits
        self.expires = expires


class Fate(Limits):
    """What the chunks of one message have in common that was cut into several: they are given up together.

    stream       the stream that it belongs to.
    unordered    whether it was sent unordered.
    number       its SSN, or MID with interleaving.
    tsns         the TSNs of its chunks.
    abandoned    whether it has been given up.
    """

    __slots__ = ("abandoned", "number", "stream", "tsns", "unordered")

    def __init__(self, limits: Limits, stream: OutgoingStream, unordered: bool, number: int) -> None:
        super().__init__(limits.max_retransmits, limits.expires)
        self.stream = stream
        self.unordered = unordered
        self.number = number
        self.tsns: list[int] = []
        self.abandoned = False
