"""Bad networks in virtual time: seeded links, a network of hosts, and two connected peers."""

from rtcstack.testing.link import BurstLoss, Conditions, Link, LinkStats, drop_numbers
from rtcstack.testing.network import VirtualHost, VirtualNetwork

__all__ = [
    "BurstLoss",
    "Conditions",
    "Link",
    "LinkStats",
    "VirtualHost",
    "VirtualNetwork",
    "drop_numbers",
]
