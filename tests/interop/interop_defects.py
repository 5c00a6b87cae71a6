"""What real peers do wrong or do not tell, each with its reason: an expectation less, never a test less."""

from __future__ import annotations

import enum


class Defect(enum.Enum):
    """A thing that a test leaves out when the peer at hand has it."""

    OPEN_COUNTS_CHARACTERS = (
        "its DCEP OPEN gives the lengths of label and protocol in characters instead of bytes"
    )
    HIDES_RELIABILITY = "its API has no getters for ordered, maxRetransmits and maxPacketLifeTime"


DEFECTS: dict[str, frozenset[Defect]] = {
    # aiortc/rtcsctptransport.py, _data_channel_open: len(channel.label) beside channel.label.encode("utf8").
    "aiortc": frozenset({Defect.OPEN_COUNTS_CHARACTERS}),
    # node-datachannel 0.33, src/cpp/data-channel-wrapper.h.
    "libdatachannel": frozenset({Defect.HIDES_RELIABILITY}),
    "chromium": frozenset(),
    "chromium-addresses": frozenset(),
    "rtcstack": frozenset(),
}
