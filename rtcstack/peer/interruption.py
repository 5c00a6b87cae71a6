"""Whether a call comes from a handler of the operating system's signals, in the middle of a layer's work."""

from __future__ import annotations

import sys
from types import FrameType

from rtcstack.net import OsTransport

__all__ = ["interrupts_a_layer"]

_LAYERS = (
    "rtcstack.session",
    "rtcstack.sdp",
    "rtcstack.ice",
    "rtcstack.stun",
    "rtcstack.turn",
    "rtcstack.dtls",
    "rtcstack.sctp",
    "rtcstack.datachannel",
    "rtcstack.net.udp",
    "rtcstack.net.servers",
)


def interrupts_a_layer() -> bool:
    """Tell whether a layer, or a transport that feeds it, has been interrupted half-way by the caller.

    Python runs such handlers between any two instructions, and what is half done there would be spoilt.
    Callbacks of our own signals are called while no layer is at work.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is OsTransport.step.__code__ or frame.f_globals.get("__name__", "").startswith(
            _LAYERS
        ):
            return True
        frame = frame.f_back
    return False
