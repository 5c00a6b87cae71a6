"""What can be chosen about a session, all of it optional."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtcstack import dtls, ice, sctp, turn
from rtcstack.session.gatherer import Server

if TYPE_CHECKING:
    from rtcstack.dtls import Certificate

__all__ = ["SessionOptions"]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Choices that hold for one connection."""

    certificate: Certificate | None = None
    """The certificate to show; None makes a fresh one, so that connections cannot be linked."""

    max_message_size: int = 262_144
    """Largest message in either direction, bytes; 0 is no limit.  256 KiB is what browsers announce."""

    mtu: int = 1200
    """Largest UDP payload, bytes.  1200 passes every path that carries IPv6 (RFC 8899 section 5.1.2)."""

    snap: bool = True
    """Offer our SCTP INIT with the description; with a peer that does the same no handshake is needed, which
    saves two round trips (draft-hancke-tsvwg-snap).  Others do not notice."""

    close_timeout: float = 5.0
    """Seconds that close() may go on delivering what was sent before the connection is cut.  A channel waits
    as long, once the peer has confirmed its end, for the peer to close its side."""

    connect_timeout: float = 60.0
    """Seconds from the first check to open channels, after which the connection counts as failed.
    ICE and DTLS give up on their own after 39.5 and 30 s; this bounds a peer that never speaks SCTP."""

    restart_timeout: float = 60.0
    """Seconds that DTLS, the association and the channels outlive their path, once ICE has failed: an ICE
    restart by either side that finds another one within that time revives them, as W3C has it.  0: they end
    with the path."""

    answer_at_once: bool = True
    """Answer an offer as soon as it is set, as Godot does; else create_answer() is to be called."""

    max_early_candidates: int = 256
    """Most remote candidates kept while there is no remote description."""

    max_early_datagrams: int = 32
    """Most DTLS datagrams kept while there is no remote description: a whole flight, several times."""

    hide_addresses: bool = False
    """Announce random names in place of our host addresses, for mDNS to answer; set ice.hide_related too.
    Only peers in the same network learn the addresses (draft-ietf-mmusic-mdns-ice-candidates)."""

    max_names: int = 100
    """Most mDNS names of the peer that are ever asked for: as many as the ICE agent keeps candidates."""

    max_names_at_once: int = 16
    """Most mDNS names that are asked for at a time; browsers have one for each address of the host."""

    ice_tcp: tuple[str, ...] = ()
    """Host candidates for TCP to gather, "active", "passive" or both, for networks that let no UDP out
    (RFC 6544); the driver opens the sockets."""

    servers: tuple[Server, ...] = ()
    """STUN and TURN servers to ask for addresses."""

    turn: turn.Options = field(default_factory=turn.Options)
    """Numbers of the clients of these servers."""

    ice: ice.Options = field(default_factory=ice.Options)
    """Numbers of the ICE agent."""

    dtls: dtls.Options = field(default_factory=dtls.Options)
    """Numbers of the DTLS handshake."""

    sctp: sctp.Options = field(default_factory=sctp.Options)
    """Numbers of the association; its mtu and max_message_size follow from those above."""
