"""What may be chosen about an SCTP association, each choice with its unit, default and reason."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of one association; the defaults suit data channels over DTLS."""

    local_port: int = 5000
    """Source port. WebRTC uses one association per DTLS connection, so the number only has to match the
    SDP."""

    remote_port: int = 5000
    """Destination port, the `a=sctp-port` of the peer."""

    mtu: int = 1160
    """Largest SCTP packet, bytes. 1200-byte datagrams (RFC 8831 section 5) - 37 of a DTLS record, rounded
    down to 4."""

    path_mtu_limit: int = 1412
    """Largest SCTP packet that path-MTU discovery tries while Association.take_path() has not said what the
    first link carries, bytes; `mtu` or less = no discovery. 1500 of Ethernet - 48 of IPv6 and UDP - 37 of a
    DTLS record."""

    outbound_streams: int = 65535
    """Streams we ask for. RFC 8831 section 6.2: as many as there are, so that none has to be added later."""

    inbound_streams: int = 65535
    """Streams we accept from the peer. State of a stream is made when it is first used, so many cost
    nothing."""

    receive_window: int = 5 * 1024 * 1024
    """Bytes that may wait here, incomplete or not yet taken by the application. 5 MiB fill 100 ms at 400
    Mbit/s."""

    max_message_size: int = 262144
    """Largest message taken from the peer, bytes; 0 = no limit. 256 KiB is what browsers announce."""

    send_buffer: int = 16 * 1024 * 1024
    """Bytes queued and not yet acknowledged before send() raises Full; 0 = no limit. As much as browsers
    allow."""

    interleaving: bool = True
    """Offer I-DATA (RFC 8260), so that a large message does not hold up the others."""

    zero_checksum: bool = True
    """Offer to take packets without CRC-32C (RFC 9653), and send such if the peer offers it: DTLS protects
    them.
    """

    congestion_control: str = "cubic"
    """Which controller sets the sending rate: a name in `controllers.CONTROLLERS`."""

    initial_window: int = 10
    """First congestion window, packets (RFC 6928; libwebrtc and libdatachannel do the same)."""

    max_burst: int = 40
    """Packets that one take_packets() call builds. It bounds the latency of a call and fills one GSO send of
    64 KiB;
    the caller asks again until nothing comes. The window bounds the burst on the path, not this number."""

    rto_initial: float = 0.5
    """Retransmission time-out before the first measurement, seconds (libwebrtc; RFC 9260 says 1)."""

    rto_min: float = 0.25
    """Smallest retransmission time-out, seconds. Above the 200 ms for which a peer may delay a SACK."""

    rto_max: float = 3.0
    """Largest time-out with back-off, seconds: recovery after an outage takes no longer (RFC 9260 says
    60)."""

    sack_delay: float = 0.02
    """How long a SACK waits for a second packet, seconds; up to 0.15 in a steady flow, 0 = never. RFC 9260
    allows 0.5; 20 ms keep the sender's estimates fresh."""

    heartbeat_interval: float = 30.0
    """Idle seconds before a HEARTBEAT measures the path (RFC 9260 section 16)."""

    cookie_lifetime: float = 60.0
    """Seconds for which a state cookie is good (RFC 9260 section 16, Valid.Cookie.Life)."""
