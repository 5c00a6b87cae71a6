"""SCTP over DTLS, sans-IO (RFC 9260, RFC 8261)."""

from __future__ import annotations

from rtcstack.sctp.association import Association
from rtcstack.sctp.controllers import CONTROLLERS
from rtcstack.sctp.events import (
    AssociationState,
    BufferedAmountLow,
    Closed,
    Established,
    Event,
    IncomingStreamsReset,
    MessageDropped,
    OutgoingStreamsReset,
    PathNarrowed,
    ResetDenied,
    Restarted,
)
from rtcstack.sctp.options import Options
from rtcstack.sctp.stats import Snapshot, Stats

__all__ = [
    "CONTROLLERS",
    "Association",
    "AssociationState",
    "BufferedAmountLow",
    "Closed",
    "Established",
    "Event",
    "IncomingStreamsReset",
    "MessageDropped",
    "Options",
    "OutgoingStreamsReset",
    "PathNarrowed",
    "ResetDenied",
    "Restarted",
    "Snapshot",
    "Stats",
]
