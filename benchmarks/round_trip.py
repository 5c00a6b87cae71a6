"""How long does a message of 100 bytes take to the other side and back, while nothing else is going on?"""

from __future__ import annotations

import asyncio
import statistics
import time
from multiprocessing.connection import Connection

from processes import Result, run_pair

MESSAGE = bytes(100)
WARM_UP = 50


def measure(stack: str, seconds: float) -> dict[str, float]:
    """Run once: one message after the other, each sent when the one before has come back.

    stack       "rtcstack" or "aiortc".
    seconds     how long.
    Returns "median_us", "p99_us", and "cpu_us" of both ends a round trip.
    """
    ask, answer = (ask_ours, answer_ours) if stack == "rtcstack" else (ask_twin, answer_twin)
    asked, answered = run_pair(ask, answer, seconds)
    times = asked["times"][WARM_UP:]
    return {
        "median_us": statistics.median(times) * 1e6,
        "p99_us": statistics.quantiles(times, n=100)[98] * 1e6,
        "cpu_us": (asked["cpu"] + answered["cpu"]) / len(asked["times"]) * 1e6,
    }


def ask_ours(pipe: Connection, seconds: float, background: bool = False) -> Result:
    """Send, wait for the echo, again."""
    import ours

    peer, channel = ours.connect(pipe, True, {}, background=background)
    times = []
    cpu = time.process_time()
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        channel.put_packet(MESSAGE)
        while not channel.get_available_packet_count():
            peer.poll(1.0)
        channel.get_packet()
        times.append(time.perf_counter() - started)
    pipe.send("stop")
    return {"times": times, "cpu": time.process_time() - cpu}


def answer_ours(pipe: Connection, seconds: float, background: bool = False) -> Result:
    """Send back what comes."""
    import ours

    peer, channel = ours.connect(pipe, False, {}, background=background)
    cpu = time.process_time()
    while channel.get_available_packet_count() or not pipe.poll():
        while channel.get_available_packet_count():
            channel.put_packet(channel.get_packet())
        peer.poll(0.2)
    return {"cpu": time.process_time() - cpu}


def ask_twin(pipe: Connection, seconds: float) -> Result:
    """Do what ask_ours() does, with aiortc."""
    import twin

    async def run() -> Result:
        _, channel = await twin.connect(pipe, True, {})
        times = []
        echoed = asyncio.Event()
        channel.on("message", lambda _: echoed.set())
        cpu = time.process_time()
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            channel.send(MESSAGE)
            await echoed.wait()
            echoed.clear()
            times.append(time.perf_counter() - started)
        pipe.send("stop")
        return {"times": times, "cpu": time.process_time() - cpu}

    return asyncio.run(run())


def answer_twin(pipe: Connection, seconds: float) -> Result:
    """Do what answer_ours() does, with aiortc."""
    import twin

    async def run() -> Result:
        _, channel = await twin.connect(pipe, False, {})
        channel.on("message", channel.send)
        cpu = time.process_time()
        over = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), over.set)
        await over.wait()
        return {"cpu": time.process_time() - cpu}

    return asyncio.run(run())
