"""What does each way of holding a connection cost: the driver alone, frames at 60 Hz, a thread, asyncio?

    python benchmarks/faces.py [--rounds 3] [--seconds 2] [row ...]

Both ends use the same face. Each round measures every row, so that whatever else the machine does meets all
of them; the table has the medians. A face that is polled at 60 Hz answers at the next frame: two ends add
two frames, on average, to a round trip.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the checkout, unless rtcstack is installed

from processes import Result, run_pair  # noqa: E402
from round_trip import MESSAGE, WARM_UP, answer_ours, ask_ours  # noqa: E402
from stream import Numbered, Tally  # noqa: E402

SIZE = 16384
QUEUED = 8 << 20
"""Bytes that a sender keeps queued: some frames' worth at 60 Hz."""
FRAME = 1 / 60
OPTIONS = {"negotiated": True, "id": 1}


class Frames:
    """Sleeps until the next frame, as a game does between two of them."""

    def __init__(self) -> None:
        self.next = time.perf_counter()

    def sleep(self) -> None:
        """Wait for the next frame; one that is late is left out."""
        now = time.perf_counter()
        self.next = max(self.next + FRAME, now)
        time.sleep(self.next - now)


# -- poll() ------------------------------------------------------------------------------------------


def send(pipe: Connection, seconds: float, background: bool, in_frames: bool) -> Result:
    """Keep a channel busy until the other side says stop."""
    import ours

    peer, channel = ours.connect(pipe, True, {}, background=background)
    messages, frames = Numbered(SIZE, QUEUED), Frames()
    channel.set_buffered_amount_low_threshold(messages.queue // 2)
    while not pipe.poll():
        for message in messages.fill(channel.get_buffered_amount()):
            channel.put_packet(message)
        peer.poll(0.0 if in_frames else 0.1)
        if in_frames:
            frames.sleep()
    return {}


def receive(pipe: Connection, seconds: float, background: bool, in_frames: bool) -> Result:
    """Take messages until time is over."""
    import ours

    peer, channel = ours.connect(pipe, False, {}, background=background)
    tally, frames = Tally(seconds), Frames()
    while not tally.add([channel.get_packet() for _ in range(channel.get_available_packet_count())]):
        if in_frames:
            frames.sleep()
        peer.poll(0.0 if in_frames else 5.0)
    pipe.send("stop")
    return tally.result()


def ask(pipe: Connection, seconds: float, background: bool, in_frames: bool) -> Result:
    """Send, wait for the echo, again."""
    if not in_frames:
        return ask_ours(pipe, seconds, background)
    import ours

    peer, channel = ours.connect(pipe, True, {}, background=background)
    times, frames = [], Frames()
    started = time.perf_counter()
    end = started + seconds
    channel.put_packet(MESSAGE)
    while time.perf_counter() < end:
        peer.poll()
        if channel.get_available_packet_count():
            channel.get_packet()
            times.append(time.perf_counter() - started)
            started = time.perf_counter()
            channel.put_packet(MESSAGE)
        frames.sleep()
    pipe.send("stop")
    return {"times": times}


def answer(pipe: Connection, seconds: float, background: bool, in_frames: bool) -> Result:
    """Send back what comes."""
    if not in_frames:
        return answer_ours(pipe, seconds, background)
    import ours

    peer, channel = ours.connect(pipe, False, {}, background=background)
    frames = Frames()
    while not pipe.poll():
        peer.poll()
        while channel.get_available_packet_count():
            channel.put_packet(channel.get_packet())
        frames.sleep()
    return {}


# -- asyncio -----------------------------------------------------------------------------------------


def run(main: Coroutine[Any, Any, Result], uvloop: bool) -> Result:
    """Run a coroutine on one loop or the other."""
    if uvloop:
        import uvloop as loops

        return loops.run(main)
    return asyncio.run(main)


async def connect(pipe: Connection, offers: bool) -> tuple[Any, Any]:
    """Connect through the pipe. Returns the connection and its open channel."""
    import ours

    from rtcstack.aio import PeerConnection

    loop = asyncio.get_running_loop()
    peer = PeerConnection(ours.AT_MOST_1200)
    channel = peer.create_data_channel("benchmark", OPTIONS)
    if offers:
        pipe.send(tuple(await peer.offer(trickle=False)))
        await peer.accept(await loop.run_in_executor(None, pipe.recv))
    else:
        description = await peer.answer(await loop.run_in_executor(None, pipe.recv), trickle=False)
        pipe.send(tuple(description))
    await channel.opened()
    pipe.send("open")
    await loop.run_in_executor(None, pipe.recv)
    return peer, channel


def send_aio(pipe: Connection, seconds: float, uvloop: bool) -> Result:
    """Do what send() does."""

    async def main() -> Result:
        _, channel = await connect(pipe, True)
        over = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), over.set)
        number, padding = 0, bytes(SIZE - 4)
        while not over.is_set():
            await channel.send(number.to_bytes(4, "big") + padding)
            number += 1
        return {}

    return run(main(), uvloop)


def receive_aio(pipe: Connection, seconds: float, uvloop: bool) -> Result:
    """Do what receive() does."""

    async def main() -> Result:
        _, channel = await connect(pipe, False)
        tally = Tally(seconds)
        async for message in channel:
            if tally.add([message]):
                break
        pipe.send("stop")
        return tally.result()

    return run(main(), uvloop)


def ask_aio(pipe: Connection, seconds: float, uvloop: bool) -> Result:
    """Do what ask() does."""

    async def main() -> Result:
        _, channel = await connect(pipe, True)
        times = []
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            await channel.send(MESSAGE)
            await channel.receive()
            times.append(time.perf_counter() - started)
        pipe.send("stop")
        return {"times": times}

    return run(main(), uvloop)


def answer_aio(pipe: Connection, seconds: float, uvloop: bool) -> Result:
    """Do what answer() does."""

    async def main() -> Result:
        peer, channel = await connect(pipe, False)
        asyncio.get_running_loop().add_reader(pipe.fileno(), peer.abort)
        async for message in channel:
            await channel.send(message)
        return {}

    return run(main(), uvloop)


# -- the table ---------------------------------------------------------------------------------------

POLLED = (send, receive, ask, answer)
AWAITED = (send_aio, receive_aio, ask_aio, answer_aio)

ROWS: dict[str, tuple[str, tuple[Callable[..., Result], ...], tuple[Any, ...]]] = {
    "driver": ("plain, poll() that waits", POLLED, (False, False)),
    "plain-60": ("plain, poll() at 60 Hz", POLLED, (False, True)),
    "background": ("background=True, poll() that waits", POLLED, (True, False)),
    "background-60": ("background=True, poll() at 60 Hz", POLLED, (True, True)),
    "asyncio": ("asyncio", AWAITED, (False,)),
    "uvloop": ("asyncio on uvloop", AWAITED, (True,)),
}


def measure(row: str, seconds: float) -> dict[str, float]:
    """Run once. Returns "mb_per_s" of one direction, and "median_us" of a round trip."""
    _, (sender, receiver, asker, answerer), arguments = ROWS[row]
    _, received = run_pair(sender, receiver, seconds, *arguments)
    asked, _ = run_pair(asker, answerer, seconds / 2, *arguments)
    times = asked["times"]
    return {
        "mb_per_s": received["per_second"] * SIZE / 1e6,
        "median_us": statistics.median(times[WARM_UP if len(times) > 2 * WARM_UP else 0 :]) * 1e6,
    }


def main() -> None:
    """Measure what the command line asks for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="row", help=f"of {', '.join(ROWS)}; all if none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no row {', '.join(sorted(unknown))}")
    names = [name for name in ROWS if name in (options.rows or ROWS)]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            results[name].append(measure(name, options.seconds))
    medians = {
        name: {key: statistics.median(values[key] for values in rounds) for key in rounds[0]}
        for name, rounds in results.items()
    }
    most = medians.get("driver", {}).get("mb_per_s")
    print(f"| 16 KiB reliable, median of {options.rounds} | MB/s | of the driver | round trip 100 B, µs |")
    print("|---|---:|---:|---:|")
    for name, values in medians.items():
        share = f"{values['mb_per_s'] / most:.0%}" if most else ""
        print(f"| {ROWS[name][0]} | {values['mb_per_s']:.1f} | {share} | {values['median_us']:,.0f} |")


if __name__ == "__main__":
    main()
