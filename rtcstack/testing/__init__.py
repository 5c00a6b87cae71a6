"""Bad networks in virtual time: seeded links, a network of hosts and NATs, and two connected peers."""

from rtcstack.testing.host import VirtualHost
from rtcstack.testing.link import BurstLoss, Conditions, Link, LinkStats, drop_numbers
from rtcstack.testing.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    NatKind,
    NatOptions,
    NatStats,
)
from rtcstack.testing.network import VirtualNat, VirtualNetwork
from rtcstack.testing.pair import ChannelPair, Pair, Received
from rtcstack.testing.servers import Allocation, StunServer, TurnServer

__all__ = [
    "ADDRESS_RESTRICTED",
    "FULL_CONE",
    "PORT_RESTRICTED",
    "SYMMETRIC",
    "Allocation",
    "BurstLoss",
    "ChannelPair",
    "Conditions",
    "Dependence",
    "Link",
    "LinkStats",
    "NatKind",
    "NatOptions",
    "NatStats",
    "Pair",
    "Received",
    "StunServer",
    "TurnServer",
    "VirtualHost",
    "VirtualNat",
    "VirtualNetwork",
    "drop_numbers",
]
