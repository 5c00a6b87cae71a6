"""One UDP port that several connections of a real browser share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from interop_pair import Pair
from interop_process import PeerProcess
from interop_sides import OurSide, ProcessSide

import rtcstack

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("we_offer", [True, False], ids=["we-offer", "they-offer"])
@pytest.mark.parametrize("name", ["chromium", "chromium-addresses", "libdatachannel"])
def test_three_connections_share_a_port(
    process: Callable[[str], PeerProcess], name: str, we_offer: bool
) -> None:
    with rtcstack.UdpMux() as mux:
        pairs = [
            Pair(OurSide({"udp_mux": mux}), ProcessSide(process(name)), left_offers=we_offer)
            for _ in range(3)
        ]
        for pair in pairs:
            pair.connect()
        assert mux.connection_count == 3
        for number, pair in enumerate(pairs):
            pair.arrival(pair.answerer, "first")
            pair.offerer.channels[0].send(f"message {number}")
            pair.until(
                lambda pair=pair, number=number: f"message {number}" in pair.answerer.channels[0].received,
                "the message arrives",
            )
        for pair in pairs:
            pair.abort()
        assert mux.connection_count == 0
