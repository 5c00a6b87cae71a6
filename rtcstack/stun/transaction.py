"""One STUN request on its way: when to send it again and when to give it up, as data."""

from __future__ import annotations

from rtcstack.errors import InvalidParameter

__all__ = ["Transaction", "schedule"]


def schedule(rto: float = 0.5, rc: int = 7, rm: float = 16) -> tuple[float, ...]:
    """Lay out a transaction over UDP: seconds from the first sending to each sending, then to the time-out.

    rto     seconds, first interval; it doubles.
    rc      requests in all.
    rm      how many times `rto` the answer to the last request is awaited.

    schedule() is (0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 39.5).
    Source: RFC 8489 section 6.2.1.
    """
    if rto <= 0 or rc < 1 or rm <= 0:
        raise InvalidParameter(f"rto {rto}, rc {rc} and rm {rm} must be positive")
    sendings = [rto * ((1 << n) - 1) for n in range(rc)]
    return (*sendings, sendings[-1] + rm * rto)


class Transaction:
    """A request that has just been sent for the first time; its owner sends it again when told to.

    id          12 bytes, new for each transaction.
    request     the datagram; every retransmission is the same.
    offsets     seconds, from schedule().
    sent        time of the latest sending.
    sendings    how often the request has been sent.
    deadline    when to call handle_timeout.
    """

    __slots__ = ("_cancelled", "_end", "_offsets", "deadline", "id", "request", "sendings", "sent")

    def __init__(self, id_: bytes, request: bytes, offsets: tuple[float, ...], now: float) -> None:
        self.id = id_
        self.request = request
        self._offsets = offsets
        self._end = now + offsets[-1]
        self._cancelled = False
        self.sent = now
        self.sendings = 1
        self.deadline = now + offsets[1]

    @property
    def is_cancelled(self) -> bool:
        """Whether retransmission has stopped."""
        return self._cancelled

    def handle_timeout(self, now: float) -> bool:
        """Act on the deadline: True if the request is to be sent again, False if its time is over."""
        offsets = self._offsets
        if self._cancelled or self.sendings == len(offsets) - 1:
            return False
        # From now on, not from the start: after a pause of the process there is no burst to catch up.
        self.deadline = now + offsets[self.sendings + 1] - offsets[self.sendings]
        self._end = self.deadline + offsets[-1] - offsets[self.sendings + 1]
        self.sent = now
        self.sendings += 1
        return True

    def cancel(self) -> None:
        """Stop retransmitting but await the answer until the time-out (RFC 8445 section 7.3.1.4)."""
        self._cancelled = True
        self.deadline = self._end
