"""Bad networks in virtual time: seeded links, a network of hosts, and two connected peers."""

from rtcstack.testing.link import BurstLoss, Conditions, Link, LinkStats, drop_numbers
from rtcstack.testing.network import VirtualHost, VirtualNetwork
from rtcstack.testing.pair import ChannelPair, Pair, Received

__all__ = [
    "BurstLoss",
    "ChannelPair",
    "Conditions",
    "Link",
    "LinkStats",
    "Pair",
    "Received",
    "VirtualHost",
    "VirtualNetwork",
    "drop_numbers",
]
