"""The only package with sockets: UDP in batches, the machine's addresses, and the driver of sessions."""

from rtcstack.net.doorbell import Doorbell
from rtcstack.net.driver import Network, OsNetwork, OsTransport, Session, Transport
from rtcstack.net.interfaces import Interface
from rtcstack.net.mux import MuxTransport, UdpMux
from rtcstack.net.options import Options
from rtcstack.net.routes import MuxDrops
from rtcstack.net.udp import Address, SocketStats, UdpSocket

__all__ = [
    "Address",
    "Doorbell",
    "Interface",
    "MuxDrops",
    "MuxTransport",
    "Network",
    "Options",
    "OsNetwork",
    "OsTransport",
    "Session",
    "SocketStats",
    "Transport",
    "UdpMux",
    "UdpSocket",
]
