"""The Godot-shaped face: PeerConnection and DataChannel, driven by poll()."""

from rtcstack.peer.channel import DataChannel, WriteMode
from rtcstack.peer.connection import Group, PeerConnection, poll, wait_until_open
from rtcstack.peer.packet_peer import PacketPeer
from rtcstack.peer.signal import Signal
from rtcstack.peer.wakeup import Wakeup, next_wakeup

__all__ = [
    "DataChannel",
    "Group",
    "PacketPeer",
    "PeerConnection",
    "Signal",
    "Wakeup",
    "WriteMode",
    "next_wakeup",
    "poll",
    "wait_until_open",
]
