"""TURN and STUN servers as a client sees them (RFC 8656, 8489, 7064, 7065), sans-IO."""

from rtcstack.turn.urls import ServerTransport, ServerUrl, parse_url

__all__ = ["ServerTransport", "ServerUrl", "parse_url"]
