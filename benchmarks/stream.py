"""How many messages get through one channel in a second, how many bytes, and what CPU does that cost?

The sender keeps a queue of messages full. The receiver's clock starts with the first that comes, and stops
the sender when the time is over: what is still queued then does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from processes import Result, run_pair

QUEUED_BYTES = 1 << 20
QUEUED_MESSAGES = 4000
NUMBER = 4


def measure(
    stack: str,
    seconds: float,
    size: int,
    options: Mapping[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Run once.

    stack           "rtcstack" or "aiortc".
    seconds         how long to send.
    size            bytes of a message, at least 4.
    options         of the channel; None for reliable and ordered.
    configuration   of rtcstack's connections.
    Returns "mb_per_s", "messages_per_s", "lost_percent", and "cpu_s_per_mb" of both ends.
    """
    send, receive = (send_ours, receive_ours) if stack == "rtcstack" else (send_twin, receive_twin)
    sent, received = run_pair(send, receive, seconds, size, options or {}, configuration)
    return {
        "mb_per_s": received["per_second"] * size / 1e6,
        "messages_per_s": received["per_second"],
        "lost_percent": received["lost"] * 100,
        "cpu_s_per_mb": (sent["cpu"] + received["cpu"]) / (received["count"] * size) * 1e6,
    }


class Numbered:
    """Messages that start with their number.

    size    bytes of each.  queued: bytes that the queue is kept filled with, at most.
    """

    def __init__(self, size: int, queued: int = QUEUED_BYTES) -> None:
        self.queue = min(queued, QUEUED_MESSAGES * size)
        self.padding = bytes(size - NUMBER)
        self.size = size
        self.number = 0

    def fill(self, buffered: int) -> list[bytes]:
        """Make as many messages as the queue has room for, of which `buffered` bytes are taken."""
        first = self.number
        self.number += max(0, self.queue - buffered) // self.size
        padding = self.padding
        return [number.to_bytes(NUMBER, "big") + padding for number in range(first, self.number)]


class Tally:
    """Counts messages for some seconds from the first one on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.count = 0
        self.numbers: list[int] = []

    def add(self, messages: list[bytes]) -> bool:
        """Count messages that came together. Returns whether time is over."""
        if not messages:
            return False
        now = time.perf_counter()
        if not self.count:
            self.started, self.cpu, self.at_start = now, time.process_time(), len(messages)
        self.last = now
        self.count += len(messages)
        self.numbers += [int.from_bytes(message[:NUMBER], "big") for message in (messages[0], messages[-1])]
        return now - self.started >= self.seconds

    def result(self) -> Result:
        """Tell what was counted: those that came first only start the clock."""
        return {
            "count": self.count,
            "per_second": (self.count - self.at_start) / (self.last - self.started),
            "lost": 1 - self.count / (max(self.numbers) - min(self.numbers) + 1),
            "cpu": time.process_time() - self.cpu,
        }


def send_ours(
    pipe: Connection,
    seconds: float,
    size: int,
    options: Mapping[str, Any],
    configuration: Mapping[str, Any] | None,
) -> Result:
    """Keep a channel busy until the other side says stop."""
    import ours

    peer, channel = ours.connect(pipe, True, options, configuration)
    messages = Numbered(size)
    channel.set_buffered_amount_low_threshold(messages.queue // 2)
    cpu = time.process_time()
    while not pipe.poll():
        for message in messages.fill(channel.get_buffered_amount()):
            channel.put_packet(message)
        peer.poll(0.1)
    return {"cpu": time.process_time() - cpu}


def receive_ours(
    pipe: Connection,
    seconds: float,
    size: int,
    options: Mapping[str, Any],
    configuration: Mapping[str, Any] | None,
) -> Result:
    """Take messages until time is over."""
    import ours

    peer, channel = ours.connect(pipe, False, options, configuration)
    tally = Tally(seconds)
    while not tally.add([channel.get_packet() for _ in range(channel.get_available_packet_count())]):
        peer.poll(5.0)
    pipe.send("stop")
    return tally.result()


def send_twin(pipe: Connection, seconds: float, size: int, options: Mapping[str, Any], _: object) -> Result:
    """Do what send_ours() does, with aiortc."""
    import twin

    async def run() -> Result:
        _, channel = await twin.connect(pipe, True, options)
        messages = Numbered(size)
        channel.bufferedAmountLowThreshold = messages.queue // 2
        room = asyncio.Event()
        channel.on("bufferedamountlow", room.set)
        asyncio.get_running_loop().add_reader(pipe.fileno(), room.set)
        cpu = time.process_time()
        while not pipe.poll():
            room.clear()
            for message in messages.fill(channel.bufferedAmount):
                channel.send(message)
            await room.wait()
        return {"cpu": time.process_time() - cpu}

    return asyncio.run(run())


def receive_twin(
    pipe: Connection, seconds: float, size: int, options: Mapping[str, Any], _: object
) -> Result:
    """Do what receive_ours() does, with aiortc."""
    import twin

    async def run() -> Result:
        _, channel = await twin.connect(pipe, False, options)
        tally = Tally(seconds)
        over = asyncio.Event()
        channel.on("message", lambda message: tally.add([message]) and over.set())
        await over.wait()
        pipe.send("stop")
        return tally.result()

    return asyncio.run(run())
