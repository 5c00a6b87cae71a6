"""What real peers do wrong or do not tell, each with its reason: an expectation less, never a test less."""

from __future__ import annotations

import enum


class Defect(enum.Enum):
    """A thing that a test leaves out when the peer at hand has it."""

    OPEN_COUNTS_CHARACTERS = (
        "its DCEP OPEN gives the lengths of label and protocol in characters instead of bytes"
    )
    KNOWS_NO_DECLINED_MEDIA = (
        "it refuses an answer whose sections with port 0 have no ICE, DTLS and RTCP attributes"
    )
    STATE_LAGS_BEHIND = "of a closed call its channels tell at once, its connection state when ICE times out"
    HIDES_RELIABILITY = "its API has no getters for ordered, maxRetransmits and maxPacketLifeTime"


DEFECTS: dict[str, frozenset[Defect]] = {
    # aiortc/rtcsctptransport.py, _data_channel_open: len(channel.label) beside channel.label.encode("utf8").
    # aiortc/rtcpeerconnection.py, __validate_description: never looks at the port (RFC 8829, 5.3.1).
    "aiortc": frozenset({Defect.OPEN_COUNTS_CHARACTERS, Defect.KNOWS_NO_DECLINED_MEDIA}),
    # node-datachannel 0.33, src/cpp/data-channel-wrapper.h.
    "libdatachannel": frozenset({Defect.HIDES_RELIABILITY}),
    # Between two Chromiums as well, 5 seconds.
    "chromium": frozenset({Defect.STATE_LAGS_BEHIND}),
    "chromium-addresses": frozenset({Defect.STATE_LAGS_BEHIND}),
    "rtcstack": frozenset(),
}
