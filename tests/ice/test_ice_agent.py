"""Two agents on a link: set-up in the round trips that the RFCs allow."""

from __future__ import annotations

import pytest
from ice_link import A4, A6, Z4, Z6, Link

from rtcstack.ice import IceState


@pytest.mark.parametrize("addresses", [([A4], [Z4]), ([A6], [Z6]), ([A4, A6], [Z4, Z6])])
def test_both_ends_have_a_pair_after_one_round_trip(addresses: tuple[list, list]) -> None:
    """RFC 8445 §7.2.5.3, §8.1.1: with a round trip of 100 ms.

    Both select at 100 ms, by the answer to their own first check. The controlling agent nominates at once;
    the nomination reaches the controlled one at 150 ms and its answer the controlling one at 200 ms.
    """
    link = Link(addresses=addresses)
    link.connect()
    link.run(1.0)
    assert (link.selected(link.a), link.selected(link.z)) == (0.1, 0.1)
    assert link.when(link.z, IceState.COMPLETED) == 0.15
    assert link.when(link.a, IceState.COMPLETED) == 0.2
    assert link.a.selected is not None
    assert link.a.selected.remote_address == addresses[1][-1]
    assert link.a.selected.rtt == pytest.approx(0.1)
