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
    HEARS_NO_GOODBYE = "neither SHUTDOWN nor close_notify closes its channels or its connection"
    LOSES_EMPTY_MESSAGES = (
        "an empty message that it sends takes a stream sequence number and never leaves: the rest is stuck"
    )
    ANNOUNCES_UNORDERED_AS_ORDERED = (
        "an unordered channel with a limit has an ordered channel type in its DCEP OPEN"
    )
    STARTS_NO_RESTART = "its API cannot begin an ICE restart"
    REFUSES_RESTARTS = "it refuses an offer with new ICE credentials, and keeps the old path"
    KEEPS_ITS_UFRAG = "it answers an ICE restart with its old credentials, and stays on the old path"
    LOSES_ITSELF_IN_RESTARTS = (
        "a check of the new generation that comes before the description is answered and forgotten: its own "
        "data then goes nowhere"
    )
    HIDES_RELIABILITY = "its API has no getters for ordered, maxRetransmits and maxPacketLifeTime"


DEFECTS: dict[str, frozenset[Defect]] = {
    # aiortc/rtcsctptransport.py, _data_channel_open: len(channel.label) beside channel.label.encode("utf8").
    # aiortc/rtcpeerconnection.py, __validate_description: never looks at the port (RFC 8829, 5.3.1).
    # aioice knows no restart.
    "aiortc": frozenset(
        {
            Defect.OPEN_COUNTS_CHARACTERS,
            Defect.KNOWS_NO_DECLINED_MEDIA,
            Defect.STARTS_NO_RESTART,
            Defect.KEEPS_ITS_UFRAG,
        }
    ),
    # node-datachannel 0.33, src/cpp/data-channel-wrapper.h; "Invalid ICE settings" is libjuice's answer.
    "libdatachannel": frozenset(
        {Defect.HIDES_RELIABILITY, Defect.STARTS_NO_RESTART, Defect.REFUSES_RESTARTS}
    ),
    # Between two Chromiums as well, 5 seconds.
    "chromium": frozenset({Defect.STATE_LAGS_BEHIND}),
    "chromium-addresses": frozenset({Defect.STATE_LAGS_BEHIND}),
    # werift/lib/index.mjs: label.length beside Buffer.from(label); channelType 1 and 2 whatever `ordered`
    # says; data of length 0 makes no DATA chunk; receiveChunk of SHUTDOWN tells no channel.
    "werift": frozenset(
        {
            Defect.OPEN_COUNTS_CHARACTERS,
            Defect.ANNOUNCES_UNORDERED_AS_ORDERED,
            Defect.LOSES_EMPTY_MESSAGES,
            Defect.LOSES_ITSELF_IN_RESTARTS,
            Defect.HEARS_NO_GOODBYE,
        }
    ),
    "rtcstack": frozenset(),
}
