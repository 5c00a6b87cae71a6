"""Two endpoints, a link with a fate for each datagram, and virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from OpenSSL import SSL

from rtcstack.dtls import Certificate, DtlsState, Endpoint

LEFT, RIGHT = Certificate.generate(), Certificate.generate()

Fate = Callable[[int, bytes], Iterable[float]]
"""(number of the datagram on the link, datagram) -> delays in seconds at which copies of it arrive."""


def endpoint(
    *,
    client: bool,
    certificate: Certificate | None = None,
    fingerprints: Sequence[tuple[str, bytes]] | None = None,
    **more: Any,
) -> Endpoint:
    ours, theirs = (LEFT, RIGHT) if client else (RIGHT, LEFT)
    return Endpoint(
        certificate=certificate or ours,
        client=client,
        fingerprints=fingerprints or [("sha-256", theirs.fingerprint())],
        **more,
    )


def always(delay: float = 0.02) -> Fate:
    return lambda number, datagram: (delay,)


def losing(numbers: Iterable[int], delay: float = 0.02) -> Fate:
    lost = frozenset(numbers)
    return lambda number, datagram: () if number in lost else (delay,)


def rough(
    seed: int, *, loss: float = 0.0, duplicate: float = 0.0, jitter: float = 0.0, delay: float = 0.02
) -> Fate:
    rng = random.Random(seed)

    def fate(number: int, datagram: bytes) -> Iterable[float]:
        copies = 0 if rng.random() < loss else 2 if rng.random() < duplicate else 1
        return [delay + rng.random() * jitter for _ in range(copies)]

    return fate


class Pair:
    """Client `left` and server `right`; run() moves datagrams and time until nothing is left to do."""

    def __init__(
        self,
        fate: Fate | None = None,
        *,
        left: Endpoint | None = None,
        right: Endpoint | None = None,
        **more: Any,
    ) -> None:
        self.left = left or endpoint(client=True, **more)
        self.right = right or endpoint(client=False, **more)
        self.fate = fate or always()
        self.now = 0.0
        self.sent: list[bytes] = []
        self._under_way: list[tuple[float, int, Endpoint, bytes]] = []
        self._order = 0

    def start(self) -> Pair:
        self.right.start(self.now)
        self.left.start(self.now)
        return self

    def other(self, end: Endpoint) -> Endpoint:
        return self.right if end is self.left else self.left

    def post(self, end: Endpoint) -> None:
        """Put what `end` has to send onto the link."""
        for datagram in end.take_packets(self.now):
            for delay in self.fate(len(self.sent), datagram):
                self._order += 1
                entry = (self.now + delay, self._order, self.other(end), datagram)
                heapq.heappush(self._under_way, entry)
            self.sent.append(datagram)

    def step(self) -> bool:
        """Do the next thing that is due; False if there is none."""
        self.post(self.left)
        self.post(self.right)
        arrival = self._under_way[0][0] if self._under_way else float("inf")
        due = min(arrival, self.left.deadline, self.right.deadline)
        if due == float("inf"):
            return False
        self.now = max(self.now, due)
        if arrival <= due:
            _, _, end, datagram = heapq.heappop(self._under_way)
            end.receive([datagram], self.now)
        else:
            for end in (self.left, self.right):
                if end.deadline <= self.now:
                    end.handle_timeout(self.now)
        return True

    @property
    def is_connected(self) -> bool:
        return self.left.state is DtlsState.CONNECTED and self.right.state is DtlsState.CONNECTED

    def run(
        self, until: Callable[[Pair], bool] = lambda pair: pair.is_connected, limit: float = 60.0
    ) -> Pair:
        """Go on until `until(pair)` (default: both connected), the limit of virtual seconds, or silence."""
        while not until(self) and self.now < limit and self.step():
            pass
        return self


def connected(**more: Any) -> Pair:
    """A pair whose handshake is done and whose last flight has been acknowledged by data."""
    pair = Pair(**more).start().run()
    assert pair.is_connected
    exchange(pair.left, pair.right)
    exchange(pair.right, pair.left)
    return pair


def exchange(sender: Endpoint, receiver: Endpoint, packets: list[bytes] | None = None) -> None:
    packets = packets or [b"hello"]
    sender.send(packets)
    receiver.receive(sender.take_packets(0.0), 0.0)
    assert receiver.take_data() == packets


def raw_connection(
    certificate: Certificate | None, *, client: bool, ciphers: bytes | None = None, srtp: bool = True
) -> SSL.Connection:
    """A peer as others set it up with pyOpenSSL: nothing of rtcstack but the bytes of a certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    if certificate is not None:
        pem = certificate.to_pem()
        context.use_certificate(x509.load_pem_x509_certificate(pem))
        context.use_privatekey(load_pem_private_key(pem, None))  # type: ignore[arg-type]
    if ciphers:
        context.set_cipher_list(ciphers)
    if srtp:
        context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    connection = SSL.Connection(context)
    if client:
        connection.set_connect_state()
    else:
        connection.set_accept_state()
    return connection


def raw_output(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(65536)
    except SSL.WantReadError:
        return b""
