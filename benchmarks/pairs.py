"""What do set-up, memory and chatter of pairs of peers cost, all in one process?"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from typing import Any

from processes import Result, run_alone

WARM_UP = 3
PAIRS = 50
RATE = 20
MESSAGE = bytes(100)
GAME = {"ordered": False, "maxRetransmits": 0}


def measure_set_up(stack: str, count: int) -> dict[str, float]:
    """Set pairs up, one after the other, from the constructors until both channels are open.

    stack       "rtcstack" or "aiortc".
    count       pairs.
    Returns "median_ms", "worst_ms", and "cpu_ms" a pair.
    """
    run = set_up_ours if stack == "rtcstack" else set_up_twin
    result = run_alone(run, count)
    return {
        "median_ms": statistics.median(result["times"]) * 1e3,
        "worst_ms": max(result["times"]) * 1e3,
        "cpu_ms": result["cpu"] / count * 1e3,
    }


def measure_memory(stack: str) -> dict[str, float]:
    """Hold PAIRS connected pairs. Returns "kb_per_pair": resident memory of both ends of one."""
    return run_alone(memory_ours if stack == "rtcstack" else memory_twin)


def measure_chatter(stack: str, seconds: float) -> dict[str, float]:
    """Let one end of each of PAIRS pairs send 100 bytes, unreliably, RATE times a second: a game's state.

    Returns "cpu_percent" of one core, and "delivered_percent".
    """
    return run_alone(chat_ours if stack == "rtcstack" else chat_twin, seconds)


def resident_kb() -> float:
    """Tell the resident memory of this process."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1000


def pair_ours(options: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Connect two rtcstack peers. Returns them, and their open channels.

    Datagrams stay small, as in all rows: OpenSSL keeps buffers as large as the largest probe of a path's MTU.
    """
    import rtcstack

    peers = [rtcstack.PeerConnection({"path_mtu_discovery": False}) for _ in range(2)]
    for one, other in (peers, peers[::-1]):
        one.session_description_created.connect(other.set_remote_description)
        one.ice_candidate_created.connect(other.add_ice_candidate)
    channels = [
        peer.create_data_channel("benchmark", {"negotiated": True, "id": 1, **options}) for peer in peers
    ]
    peers[0].create_offer()
    until = time.monotonic() + 10
    while any(channel.get_ready_state() != channel.STATE_OPEN for channel in channels):
        rtcstack.poll(peers, 0.1)
        if time.monotonic() > until:
            raise TimeoutError(f"not connected: {[peer.get_failure_reason() for peer in peers]}")
    return peers, channels


async def pair_twin(options: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Connect two aiortc peers. Returns them, and their open channels."""
    import twin

    peers = [twin.new_peer(), twin.new_peer()]
    channels = [peer.createDataChannel("benchmark", negotiated=True, id=1, **options) for peer in peers]
    opened = [asyncio.Event() for _ in channels]
    for channel, event in zip(channels, opened, strict=True):
        channel.on("open", event.set)
    a, b = peers
    await a.setLocalDescription(await a.createOffer())
    await b.setRemoteDescription(a.localDescription)
    await b.setLocalDescription(await b.createAnswer())
    await a.setRemoteDescription(b.localDescription)
    for channel, event in zip(channels, opened, strict=True):
        if channel.readyState != "open":
            await asyncio.wait_for(event.wait(), 10)
    return peers, channels


def set_up_ours(count: int) -> Result:
    """Set up and close, again and again."""
    import rtcstack

    times, cpu = [], 0.0
    for number in range(-WARM_UP, count):
        started, cpu_started = time.perf_counter(), time.process_time()
        peers, _ = pair_ours({})
        if number >= 0:
            times.append(time.perf_counter() - started)
            cpu += time.process_time() - cpu_started
        for peer in peers:
            peer.abort()
        rtcstack.poll(peers)
    return {"times": times, "cpu": cpu}


def set_up_twin(count: int) -> Result:
    """Do what set_up_ours() does, with aiortc."""

    async def run() -> Result:
        times, cpu = [], 0.0
        for number in range(-WARM_UP, count):
            started, cpu_started = time.perf_counter(), time.process_time()
            peers, _ = await pair_twin({})
            if number >= 0:
                times.append(time.perf_counter() - started)
                cpu += time.process_time() - cpu_started
            for peer in peers:
                await peer.close()
        return {"times": times, "cpu": cpu}

    return asyncio.run(run())


def memory_ours() -> Result:
    """Hold pairs, after the first few have brought what all share."""
    held = [pair_at_rest() for _ in range(WARM_UP)]
    before = resident_kb()
    held += [pair_at_rest() for _ in range(PAIRS)]
    return {"kb_per_pair": (resident_kb() - before) / PAIRS}


def pair_at_rest() -> list[Any]:
    """Connect two rtcstack peers, and let them say what they have to say after the channels are open."""
    import rtcstack

    peers, _ = pair_ours({})
    for _ in range(4):
        rtcstack.poll(peers, 0.01)
    return peers


def memory_twin() -> Result:
    """Do what memory_ours() does, with aiortc."""

    async def run() -> Result:
        held = [await pair_twin({}) for _ in range(WARM_UP)]
        before = resident_kb()
        held += [await pair_twin({}) for _ in range(PAIRS)]
        return {"kb_per_pair": (resident_kb() - before) / PAIRS}

    return asyncio.run(run())


def chat_ours(seconds: float) -> Result:
    """Send at each tick; between the ticks, wait for what comes."""
    import rtcstack

    peers: list[Any] = []
    channels: list[Any] = []
    for _ in range(PAIRS):
        two_peers, two_channels = pair_ours(GAME)
        peers += two_peers
        channels += two_channels
    sent = received = 0
    cpu, started = time.process_time(), time.monotonic()
    tick = started
    while (now := time.monotonic()) < started + seconds:
        if now >= tick:
            for channel in channels[::2]:
                channel.put_packet(MESSAGE)
            sent += PAIRS
            tick += 1 / RATE
        rtcstack.poll(peers, max(0.0, tick - time.monotonic()))
        for channel in channels[1::2]:
            for _ in range(channel.get_available_packet_count()):
                channel.get_packet()
                received += 1
    return _chatter(time.process_time() - cpu, time.monotonic() - started, received, sent)


def chat_twin(seconds: float) -> Result:
    """Do what chat_ours() does, with aiortc."""

    async def run() -> Result:
        channels: list[Any] = []
        held = []
        received = 0

        def count(_: bytes) -> None:
            nonlocal received
            received += 1

        for _ in range(PAIRS):
            peers, two_channels = await pair_twin(GAME)
            held.append(peers)
            channels += two_channels
        for channel in channels[1::2]:
            channel.on("message", count)
        sent = 0
        cpu, started = time.process_time(), time.monotonic()
        tick = started
        while time.monotonic() < started + seconds:
            for channel in channels[::2]:
                channel.send(MESSAGE)
            sent += PAIRS
            tick += 1 / RATE
            await asyncio.sleep(max(0.0, tick - time.monotonic()))
        return _chatter(time.process_time() - cpu, time.monotonic() - started, received, sent)

    return asyncio.run(run())


def _chatter(cpu: float, seconds: float, received: int, sent: int) -> Result:
    return {"cpu_percent": cpu / seconds * 100, "delivered_percent": received / sent * 100}
