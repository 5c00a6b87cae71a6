"""ICE: finding a path to the peer and keeping its consent (RFC 8445, 8421, 8838, 8863, 7675), sans-IO."""

from rtcstack.ice.agent import Agent
from rtcstack.ice.candidate import Candidate
from rtcstack.ice.events import (
    Drops,
    EndOfLocalCandidates,
    Event,
    IceState,
    LocalCandidate,
    PairSelected,
    StateChanged,
    Stats,
    TcpConnect,
)
from rtcstack.ice.options import Options
from rtcstack.ice.pair import Pair, PairState
from rtcstack.ice.report import PairReport, Report
from rtcstack.stun import Address

__all__ = [
    "Address",
    "Agent",
    "Candidate",
    "Drops",
    "EndOfLocalCandidates",
    "Event",
    "IceState",
    "LocalCandidate",
    "Options",
    "Pair",
    "PairReport",
    "PairSelected",
    "PairState",
    "Report",
    "StateChanged",
    "Stats",
    "TcpConnect",
]
