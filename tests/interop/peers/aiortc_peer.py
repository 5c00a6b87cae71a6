"""aiortc as a program that speaks the JSON lines of interop_process.py over its standard streams."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp


def emit(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Peer:
    """One connection and its channels; a method for each command."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.channels: dict[str, RTCDataChannel] = {}
        # Without this, aiortc asks a public STUN server.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("connectionstatechange", self.on_state)
        self.connection.on("datachannel", self.on_channel)

    def emit(self, on: str, **event: Any) -> None:
        emit(on=on, pc=self.name, **event)

    def on_state(self) -> None:
        self.emit("state", state=self.connection.connectionState)

    def on_channel(self, channel: RTCDataChannel) -> None:
        key = f"incoming-{len(self.channels)}"
        self.emit(
            "channel",
            channel=key,
            label=channel.label,
            protocol=channel.protocol,
            id=channel.id,
            ordered=channel.ordered,
            negotiated=channel.negotiated,
            maxRetransmits=channel.maxRetransmits,
            maxPacketLifeTime=channel.maxPacketLifeTime,
        )
        self.watch(key, channel)

    def watch(self, key: str, channel: RTCDataChannel) -> None:
        self.channels[key] = channel

        def on_message(data: str | bytes) -> None:
            if isinstance(data, str):
                self.emit("message", channel=key, kind="text", data=data)
            else:
                self.emit("message", channel=key, kind="binary", data=base64.b64encode(data).decode())

        channel.on("message", on_message)
        channel.on("close", lambda: self.emit("closed", channel=key))
        if channel.readyState == "open":
            self.emit("open", channel=key, id=channel.id)
        else:
            channel.on("open", lambda: self.emit("open", channel=key, id=channel.id))

    async def describe(self, description: RTCSessionDescription) -> None:
        await self.connection.setLocalDescription(description)
        local = self.connection.localDescription
        self.emit("description", type=local.type, sdp=local.sdp)
        # aiortc does not trickle: the candidates are in the description.
        self.emit("gathered")

    async def do_channel(self, channel: str, label: str, options: dict[str, Any]) -> None:
        self.watch(channel, self.connection.createDataChannel(label, **options))

    async def do_media(self) -> None:
        self.connection.addTransceiver("audio")
        self.connection.addTransceiver("video")

    async def do_offer(self) -> None:
        await self.describe(await self.connection.createOffer())

    async def do_remote(self, type: str, sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, type))
        if type == "offer":
            await self.describe(await self.connection.createAnswer())

    async def do_candidate(self, mid: str, index: int, candidate: str) -> None:
        if not candidate:
            await self.connection.addIceCandidate(None)
            return
        parsed = candidate_from_sdp(candidate.removeprefix("a=").removeprefix("candidate:"))
        parsed.sdpMid, parsed.sdpMLineIndex = mid, index
        await self.connection.addIceCandidate(parsed)

    async def do_send(self, channel: str, messages: list[tuple[str, str]]) -> None:
        for kind, data in messages:
            self.channels[channel].send(data if kind == "text" else base64.b64decode(data))

    async def do_close_channel(self, channel: str) -> None:
        self.channels[channel].close()

    async def do_close(self) -> None:
        await self.connection.close()
        self.emit("state", state="closed")


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    peers: dict[str, Peer] = {}
    emit(on="ready")
    while line := await reader.readline():
        command = json.loads(line)
        do, pc = command.pop("do"), command.pop("pc")
        try:
            if do == "create":
                peers[pc] = Peer(pc)
            else:
                await getattr(peers[pc], f"do_{do}")(**command)
        except Exception as error:
            emit(on="error", pc=pc, error=f"{do}: {error!r}")


asyncio.run(main())
