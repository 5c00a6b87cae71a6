"""STUN and TURN servers as a client sees them (RFC 8489, 8656, 7064, 7065), sans-IO."""

from rtcstack.stun import Address
from rtcstack.turn.binding import BindingClient
from rtcstack.turn.client import Client
from rtcstack.turn.events import (
    NO_ANSWER,
    Allocated,
    AlternateServer,
    BindingEvent,
    Closed,
    Drops,
    Event,
    Failed,
    Mapped,
    PeerRefused,
    State,
    Stats,
)
from rtcstack.turn.options import Options
from rtcstack.turn.urls import ServerTransport, ServerUrl, parse_url

__all__ = [
    "NO_ANSWER",
    "Address",
    "Allocated",
    "AlternateServer",
    "BindingClient",
    "BindingEvent",
    "Client",
    "Closed",
    "Drops",
    "Event",
    "Failed",
    "Mapped",
    "Options",
    "PeerRefused",
    "ServerTransport",
    "ServerUrl",
    "State",
    "Stats",
    "parse_url",
]
