"""Connects an aiortc peer with the one in the other process: the twin of ours.py."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

DEADLINE = 20.0


def new_peer() -> RTCPeerConnection:
    """Make a connection that asks no server on the Internet."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def connect(
    pipe: Connection, offers: bool, options: Mapping[str, Any]
) -> tuple[RTCPeerConnection, RTCDataChannel]:
    """Connect through the pipe; aiortc knows no trickling.

    offers      whether this side makes the offer.
    options     of the channel, which both sides create with the same id.
    Returns the connection and its open channel.
    """
    peer = new_peer()
    channel = peer.createDataChannel("benchmark", negotiated=True, id=1, **options)
    opened = asyncio.Event()
    channel.on("open", opened.set)
    if offers:
        await peer.setLocalDescription(await peer.createOffer())
        send(pipe, peer)
        await peer.setRemoteDescription(await receive(pipe))
    else:
        await peer.setRemoteDescription(await receive(pipe))
        await peer.setLocalDescription(await peer.createAnswer())
        send(pipe, peer)
    if channel.readyState != "open":
        await asyncio.wait_for(opened.wait(), DEADLINE)
    pipe.send("open")
    await asyncio.to_thread(pipe.recv)
    return peer, channel


def send(pipe: Connection, peer: RTCPeerConnection) -> None:
    """Bring the local description to the other side."""
    pipe.send((peer.localDescription.sdp, peer.localDescription.type))


async def receive(pipe: Connection) -> RTCSessionDescription:
    """Wait for the other side's description."""
    return RTCSessionDescription(*await asyncio.to_thread(pipe.recv))
