"""What an application may decide about its sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtcstack.errors import InvalidParameter
from rtcstack.net.interfaces import Interface

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Choices for every socket that a network opens.

    Raises:
        InvalidParameter: a number is out of its range.
    """

    offload: bool = True
    """Let the kernel cut and join datagrams (UDP GSO and GRO) where it can: several times less CPU a
    packet."""

    port_range: tuple[int, int] | None = None
    """Lowest and highest local UDP port, both included; None lets the system choose. For firewalls and
    containers."""

    bind_addresses: tuple[str, ...] | None = None
    """IP addresses to use instead of those of the interfaces; None asks the system. For hosts with many
    networks."""

    interface_filter: Callable[[Interface], bool] | None = None
    """Says of each interface address whether to use it; None takes all. Against the candidates of VPNs and
    bridges."""

    interface_poll: float = 5.0
    """Seconds between two looks at the machine's addresses while connected, so that a network that comes or
    goes is noticed; 0 for none: network_changed() tells."""

    default_route_only: bool = False
    """Use one address of each family only, the one that the default route starts from, or the first where
    there is no such route (RFC 8828 modes 2 and 3). Says nothing about bind_addresses."""

    max_addresses: int = 16
    """Sockets opened for one session at most: each costs a descriptor and, on both sides, a row of
    connectivity checks. Sixteen covers a host on several networks, not the bridges of its forty
    containers."""

    buffer_size: int = 4 << 20
    """Bytes of kernel buffer asked for, each way. A program that polls at 60 Hz leaves 16 ms of traffic in
    there: 2 MB at 125 MB/s, and the kernel counts its own overhead too. The system may grant less;
    SocketStats tells."""

    def __post_init__(self) -> None:
        if self.port_range is not None:
            low, high = self.port_range
            if not 0 < low <= high <= 65535:
                raise InvalidParameter(f"port_range {low}-{high} is not within 1-65535, lowest first")
        if self.interface_poll < 0:
            raise InvalidParameter("interface_poll must be a number of seconds, 0 for none")
        if self.max_addresses < 1:
            raise InvalidParameter("max_addresses must be at least 1")
        if self.buffer_size < 65536:
            raise InvalidParameter("buffer_size must be at least 65536 bytes, one full datagram")
