"""WebRTC data channels from scratch in Python, in the shape of Godot's WebRTC API.

    peer = PeerConnection()
    channel = peer.create_data_channel("chat")

See PeerConnection, DataChannel and MultiplayerPeer; every exception derives from RTCError.
"""

from typing import TYPE_CHECKING

from rtcstack.lazy import lazy_names

if TYPE_CHECKING:
    from rtcstack.datachannel import ChannelState
    from rtcstack.dtls import Certificate
    from rtcstack.errors import (
        AlreadyExists,
        Closed,
        Error,
        Full,
        InvalidParameter,
        InvalidState,
        MessageTooLarge,
        RTCError,
        SdpError,
        Unauthorized,
        Unavailable,
        Unconfigured,
    )
    from rtcstack.multiplayer import ConnectionStatus, MultiplayerPeer, TransferMode
    from rtcstack.net import UdpMux
    from rtcstack.peer import DataChannel, PeerConnection, Signal, WriteMode, poll, wait_until_open
    from rtcstack.sdp import SignalingState
    from rtcstack.session import ConnectionState, GatheringState, Stats
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "rtcstack.datachannel": ("ChannelState",),
            "rtcstack.dtls": ("Certificate",),
            "rtcstack.errors": (
                "AlreadyExists",
                "Closed",
                "Error",
                "Full",
                "InvalidParameter",
                "InvalidState",
                "MessageTooLarge",
                "RTCError",
                "SdpError",
                "Unauthorized",
                "Unavailable",
                "Unconfigured",
            ),
            "rtcstack.multiplayer": ("ConnectionStatus", "MultiplayerPeer", "TransferMode"),
            "rtcstack.net": ("UdpMux",),
            "rtcstack.peer": (
                "DataChannel",
                "PeerConnection",
                "Signal",
                "WriteMode",
                "poll",
                "wait_until_open",
            ),
            "rtcstack.sdp": ("SignalingState",),
            "rtcstack.session": ("ConnectionState", "GatheringState", "Stats"),
        },
    )

__version__ = "0.1.0.dev0"

__all__ = [
    "AlreadyExists",
    "Certificate",
    "ChannelState",
    "Closed",
    "ConnectionState",
    "ConnectionStatus",
    "DataChannel",
    "Error",
    "Full",
    "GatheringState",
    "InvalidParameter",
    "InvalidState",
    "MessageTooLarge",
    "MultiplayerPeer",
    "PeerConnection",
    "RTCError",
    "SdpError",
    "Signal",
    "SignalingState",
    "Stats",
    "TransferMode",
    "UdpMux",
    "Unauthorized",
    "Unavailable",
    "Unconfigured",
    "WriteMode",
    "__version__",
    "poll",
    "wait_until_open",
]
