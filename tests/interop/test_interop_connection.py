"""Connections between rtcstack and real peers: every way to signal, and the end of the call."""

from __future__ import annotations

import pytest
from interop_defects import DEFECTS, Defect
from interop_pair import Pair, Signaling

pytestmark = pytest.mark.interop

OVER = {"disconnected", "failed", "closed"}


@pytest.mark.parametrize("signaling", Signaling, ids=lambda signaling: signaling.name.lower())
def test_the_call_comes_up(pair: Pair, signaling: Signaling):
    ours = pair.left.create_channel("agreed", negotiated=True, id=3)
    theirs = pair.right.create_channel("agreed", negotiated=True, id=3)
    pair.connect(signaling)
    pair.open(ours, theirs)
    ours.send("Hi from the left")
    theirs.send("Hi from the right")
    assert pair.received(theirs, 1) == ["Hi from the left"]
    assert pair.received(ours, 1) == ["Hi from the right"]


@pytest.mark.parametrize("closed_by", ["us", "them"])
def test_the_end_of_a_call_is_noticed_by_the_other_side(pair: Pair, closed_by: str):
    ours = pair.left.create_channel("agreed", negotiated=True, id=3)
    theirs = pair.right.create_channel("agreed", negotiated=True, id=3)
    pair.connect()
    pair.open(ours, theirs)

    closing, staying = (pair.left, pair.right) if closed_by == "us" else (pair.right, pair.left)
    closing.close()
    if Defect.HEARS_NO_GOODBYE in DEFECTS[staying.name]:
        pair.until(lambda: closing.state == "closed", f"{closing.name} has closed")
        return
    pair.until(
        lambda: (
            closing.state == "closed"
            and ours.state == theirs.state == "closed"
            and (staying.state in OVER or Defect.STATE_LAGS_BEHIND in DEFECTS[staying.name])
        ),
        f"{staying.name} notices that {closing.name} has closed",
    )


def test_audio_and_video_in_an_offer_are_declined_and_the_data_flows(pair_with_media: Pair):
    pair = pair_with_media
    theirs = pair.right.create_channel("data")
    pair.call()

    pair.until(lambda: pair.left.description is not None, "the offer is answered")
    _, answer = pair.left.description or ("", "")
    ports = dict(line.split()[:2] for line in answer.splitlines() if line.startswith("m="))
    assert ports == {"m=audio": "0", "m=video": "0", "m=application": "9"}

    if Defect.KNOWS_NO_DECLINED_MEDIA not in DEFECTS[pair.right.name]:
        ours = pair.arrival(pair.left, "data")
        theirs.send("beside the media")
        assert pair.received(ours, 1) == ["beside the media"]
