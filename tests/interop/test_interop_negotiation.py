"""Two offers at once between rtcstack and real peers: perfect negotiation, with ours as the polite side."""

from __future__ import annotations

import pytest
from interop_pair import Pair

pytestmark = pytest.mark.interop


def test_two_offers_at_once_end_in_one_connection(pair: Pair):
    ours = pair.left.create_channel("agreed", negotiated=True, id=3)
    theirs = pair.right.create_channel("agreed", negotiated=True, id=3)
    pair.collide()
    pair.open(ours, theirs)
    ours.send("Hi from the left")
    theirs.send("Hi from the right")
    assert pair.received(theirs, 1) == ["Hi from the left"]
    assert pair.received(ours, 1) == ["Hi from the right"]
