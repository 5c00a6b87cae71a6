"""Every face of rtcstack calls every real peer, and is called by it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from interop_aio_side import AioSide
from interop_pair import Pair
from interop_process import PeerProcess
from interop_sides import OurSide, ProcessSide

pytestmark = pytest.mark.interop

FACES: dict[str, Callable[[], OurSide | AioSide]] = {
    "poll": OurSide,
    "background": lambda: OurSide(background=True),
    "asyncio": AioSide,
}


@pytest.fixture(params=[True, False], ids=["we-offer", "they-offer"])
def call(
    request: pytest.FixtureRequest, face: str, peer_name: str, process: Callable[[str], PeerProcess]
) -> Iterator[Pair]:
    """One of our faces on the left, a real peer on the right, connected, with a channel agreed on."""
    pair = Pair(FACES[face](), ProcessSide(process(peer_name)), left_offers=request.param)
    yield pair
    pair.abort()


@pytest.mark.parametrize("face", FACES)
def test_messages_of_256_kib_go_each_way_and_the_end_is_told(call: Pair):
    ours = call.left.create_channel("agreed", negotiated=True, id=3)
    theirs = call.right.create_channel("agreed", negotiated=True, id=3)
    call.connect()
    call.open(ours, theirs)

    there, back = random.Random(1).randbytes(262_144), random.Random(2).randbytes(262_144)
    ours.send("small", there)
    theirs.send("small", back)
    assert call.received(theirs, 2) == ["small", there]
    assert call.received(ours, 2) == ["small", back]

    announced = call.left.create_channel("announced later")
    arrived = call.arrival(call.right, "announced later")
    announced.send("over it")
    assert call.received(arrived, 1) == ["over it"]

    call.left.close()
    call.until(lambda: call.left.state == ours.state == announced.state == "closed", "our side has closed")
