"""The numbers of the clients of STUN and TURN servers that are choices."""

from __future__ import annotations

from dataclasses import dataclass

from rtcstack.errors import InvalidParameter

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a Client or BindingClient may be told."""

    timeout: float = 5.0
    """Seconds that a server may take to give us an address, and to take it back, all retries together:
    RFC 8489 would wait 39.5 s, but nobody should wait for a dead server."""

    rto: float = 0.5
    """First retransmission interval over UDP, seconds (RFC 8489 section 6.2.1)."""

    stream_timeout: float = 39.5
    """Seconds to wait for an answer over TCP and TLS, Ti (RFC 8489 section 6.2.2)."""

    refresh_margin: float = 60.0
    """Seconds before its end at which an allocation is refreshed, a sixth of the lifetime if that is less:
    one minute (RFC 8656 section 8) is enough for a whole transaction and the beginning of another."""

    shortest_lifetime: float = 10.0
    """Seconds that an allocation is taken to last at least: who that says 0 is not asked without end."""

    longest_lifetime: float = 3600.0
    """Seconds that it is taken to last at most: a server that says a century is still asked now and then."""

    permission_refresh: float = 240.0
    """Seconds after which a permission in use is refreshed; it lasts 300 (RFC 8656 section 9)."""

    channel_refresh: float = 540.0
    """Seconds after which a channel in use is refreshed; it lasts 600 (RFC 8656 section 12)."""

    refusal_hold: float = 30.0
    """Seconds for which nothing is asked again for a peer that the server has refused."""

    retry_after: float = 5.0
    """Seconds after which a refresh that was not answered, or not usefully, is tried again."""

    keepalive: float = 15.0
    """Seconds of silence towards the server over UDP that a NAT is trusted with (RFC 8445 section 11)."""

    max_permissions: int = 200
    """IP addresses of peers at a time: twice the remote candidates that an ICE agent keeps."""

    max_channels: int = 200
    """Peers that get a channel in the life of an allocation, at most 4,096; others are sent indications."""

    max_queued: int = 5000
    """Datagrams that wait for take_packets, and as many for take_data; more are dropped."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name, least, most in (
            ("timeout", 0.1, 3600),
            ("rto", 0.1, 60),
            ("stream_timeout", 0.1, 3600),
            ("refresh_margin", 1, 3600),
            ("shortest_lifetime", 1, 3600),
            ("longest_lifetime", 60, 1e9),
            ("permission_refresh", 1, 300),
            ("channel_refresh", 1, 600),
            ("refusal_hold", 1, 3600),
            ("retry_after", 1, 3600),
            ("keepalive", 1, 3600),
            ("max_permissions", 1, 65536),
            ("max_channels", 0, 4096),
            ("max_queued", 1, 1_000_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise InvalidParameter(
                    f"TURN option {name} must be from {least} to {most}, not {getattr(self, name)}"
                )
