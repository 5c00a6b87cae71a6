"""The doctor before NATs of every kind, and a server of ours that speaks RFC 5780."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rtcstack.stun import Address
from rtcstack.testing import Dependence, NatKind, StunServer
from rtcstack.testing.nat import Translator
from rtcstack.tools import doctor_checks
from rtcstack.tools.doctor_checks import check_nat

IPS = ("127.0.0.1", "127.0.0.2")
INDEPENDENT, BY_ADDRESS, BY_BOTH = Dependence
KINDS = [NatKind(mapping, filtering) for mapping in Dependence for filtering in Dependence]

WORDS = {
    INDEPENDENT: "endpoint-independent",
    BY_ADDRESS: "address-dependent",
    BY_BOTH: "address-and-port-dependent",
}


class BehindNat:
    """A StunServer on four real sockets of loopback, with the tables of a NAT between it and whoever asks."""

    def __init__(self, kind: NatKind | None) -> None:
        self.nat = Translator(["127.0.0.3"], seed=1, kind=kind) if kind else None
        self.server = StunServer(*IPS, discovery=True)
        self._socks = self._bind()
        self.server.addresses = list(self._socks)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @staticmethod
    def _bind() -> dict[Address, socket.socket]:
        """Take two ports that both addresses have."""
        socks: dict[Address, socket.socket] = {}
        while len(socks) < 4:
            pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in IPS]
            with contextlib.suppress(OSError):
                pair[0].bind((IPS[0], 0))
                pair[1].bind((IPS[1], pair[0].getsockname()[1]))
                socks |= {sock.getsockname(): sock for sock in pair}
                continue
            for sock in pair:
                sock.close()
        return socks

    def _serve(self) -> None:
        while not self._is_ending.is_set():
            for sock in select.select(list(self._socks.values()), [], [], 0.02)[0]:
                data, inside = sock.recvfrom(65536)
                local, now = sock.getsockname(), time.monotonic()
                outside = self.nat.map(inside, local, 1, now) if self.nat else inside
                assert outside is not None
                self.server.receive(local, outside, [data], now)
                for source, target, datagrams in self.server.take_packets(now):
                    back = self.nat.unmap(target, source, 1, now) if self.nat else target
                    if back is not None:
                        self._socks[source].sendto(datagrams[0], back)

    def stop(self) -> None:
        self._is_ending.set()
        self._thread.join()
        for sock in self._socks.values():
            sock.close()


@contextlib.contextmanager
def behind(kind: NatKind | None) -> Iterator[BehindNat]:
    one = BehindNat(kind)
    try:
        yield one
    finally:
        one.stop()


def examine(kind: NatKind | None) -> dict[str, dict[str, object]]:
    with behind(kind) as one:
        return {each.name: each.data for each in check_nat([one.server.addresses[0]])}


def test_every_kind_of_nat_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5780 §4.3, §4.4: how it maps by asking three addresses, how it filters by three answers."""
    # What the NAT lets no answer to costs so much each time: all kinds at once.
    monkeypatch.setattr(doctor_checks, "PATIENCE", 0.6)
    with ThreadPoolExecutor(len(KINDS)) as pool:
        found = dict(zip(KINDS, pool.map(examine, KINDS), strict=True))
    for kind, data in found.items():
        assert data["NAT mapping"]["mapping"] == WORDS[kind.mapping]
        assert data["NAT filtering"]["filtering"] == WORDS[kind.filtering]
        assert data["hairpinning"] == {"hairpinning": False}


def test_no_nat_is_found_out_too() -> None:
    """RFC 5780 §4.3: the mapped address is the local one."""
    data = examine(None)
    assert data["NAT mapping"]["mapping"] == "none"
    assert data["NAT filtering"]["filtering"] == "endpoint-independent"
    assert data["hairpinning"] == {"hairpinning": True}
