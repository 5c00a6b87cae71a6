"""What the signaling server costs: memory of idle clients, latency of relayed messages, time to a full mesh.

    python benchmarks/signaling.py idle --clients 5000
    python benchmarks/signaling.py relay --rate 2000 --seconds 5
    python benchmarks/signaling.py mesh --peers 8 --rounds 5
    python benchmarks/signaling.py crowd --clients 10000

The server is a process of its own but for `mesh`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from rtcstack.signaling import Limits, Server, ServerOptions, join

UNLIMITED = [
    "--address-peers", "100000", "--address-connections", "100000", "--max-peers", "6000",
    "--max-lobbies", "6000", "--join-timeout", "60", "--peer-messages", "100000", "--peer-burst", "100000",
    "--peer-bytes", "1e9",
]  # fmt: skip


@asynccontextmanager
async def server_program(*options: str) -> AsyncIterator[tuple[str, int]]:
    """A server in a process of its own: URL and process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtcstack", "signaling", "--port", "0", "--json", *UNLIMITED, *options,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    url = json.loads(await process.stderr.readline())["url"]
    reading = asyncio.create_task(_drain(process.stderr))
    try:
        yield url, process.pid
    finally:
        process.kill()
        await process.wait()
        reading.cancel()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def open_all_files() -> None:
    """Let this process and its children have as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def enter(url: str, lobby: str = "") -> tuple[ClientConnection, int, str]:
    """Connect and join: the connection, our id, the lobby."""
    connection = await connect(url, compression=None, ping_interval=None, max_queue=None, open_timeout=60)
    await connection.send(json.dumps({"type": 0, "id": 0, "data": lobby}))
    own_id = 0
    async for text in connection:
        message = json.loads(text)
        if message["type"] == 1:
            own_id = message["id"]
        elif message["type"] == 0:
            return connection, own_id, message["data"]
    raise ConnectionError(connection.close_reason)


async def idle(clients: int) -> dict[str, Any]:
    """Connect so many clients, eight to a lobby, and see what the server holds for each."""
    open_all_files()
    async with server_program() as (url, pid):
        warm, *_ = await enter(url)
        before = resident(pid)
        started = time.perf_counter()
        connections = [warm]
        gate = asyncio.Semaphore(64)

        async def host_and_guests(count: int) -> None:
            async with gate:
                connection, _, lobby = await enter(url)
                connections.append(connection)
                connections.extend([(await enter(url, lobby))[0] for _ in range(count - 1)])

        await asyncio.gather(*[host_and_guests(8) for _ in range(clients // 8)])
        seconds = time.perf_counter() - started
        held = resident(pid) - before
        cpu = processor_seconds(pid)
        await asyncio.sleep(12)  # one round of pings
        pinging = (processor_seconds(pid) - cpu) / 12
        probe, *_ = await enter(url)
        sent = time.perf_counter()
        await probe.send(json.dumps({"type": 4, "id": 1, "data": "x"}))
        await probe.recv()
        result = {
            "clients": len(connections) - 1,
            "kB each": round(held / (len(connections) - 1) / 1000, 1),
            "joins a second": round(len(connections) / seconds),
            "CPU share while idle": round(pinging, 3),
            "relay through it, ms": round((time.perf_counter() - sent) * 1000, 2),
        }
        os.kill(pid, 9)
        for connection in connections:
            connection.transport.abort()
        return result


async def relay(rate: int, seconds: float, pairs: int = 50) -> dict[str, Any]:
    """Send offers of 1,000 bytes at a steady rate between pairs, and time each one's way."""
    async with server_program() as (url, pid):
        hosts, guests = [], []
        for _ in range(pairs):
            host, _, lobby = await enter(url)
            hosts.append(host)
            guests.append((await enter(url, lobby))[0])
        for host in hosts:
            await host.recv()  # PEER_CONNECT
        delays: list[float] = []

        async def hear(connection: ClientConnection) -> None:
            with contextlib.suppress(Exception):
                while True:
                    message = json.loads(await connection.recv())
                    delays.append(time.perf_counter() - float(message["data"][:20]))

        hearing = [asyncio.create_task(hear(host)) for host in hosts]
        cpu = processor_seconds(pid)
        started = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            data = f"{time.perf_counter():<20.9f}" + "x" * 980
            await guests[number % pairs].send(json.dumps({"type": 4, "id": 1, "data": data}))
        took = time.perf_counter() - started
        await asyncio.sleep(0.5)
        for task in hearing:
            task.cancel()
        delays.sort()
        return {
            "messages": len(delays),
            "a second": round(len(delays) / took),
            "median ms": round(statistics.median(delays) * 1000, 2),
            "p99 ms": round(delays[int(len(delays) * 0.99)] * 1000, 2),
            "server's CPU, us a message": round((processor_seconds(pid) - cpu) / len(delays) * 1e6),
        }


async def mesh(peers: int, rounds: int) -> dict[str, Any]:
    """Join so many at once, and wait until everybody is connected with everybody; all in this process."""
    times = []
    async with Server(ServerOptions(port=0, limits=Limits())) as server:
        for _ in range(rounds):
            started = time.perf_counter()
            host = await join(server.url)
            others = await asyncio.gather(*[join(server.url, host.lobby) for _ in range(peers - 1)])
            for peer in (host, *others):
                await peer.wait_for_peers(peers - 1)
            times.append(time.perf_counter() - started)
            await asyncio.gather(*[peer.leave() for peer in (host, *others)])
    return {
        "peers": peers,
        "connections": peers * (peers - 1) // 2,
        "median s": round(statistics.median(times), 3),
        "fastest s": round(min(times), 3),
    }


async def crowd(clients: int) -> dict[str, Any]:
    """Connect more clients than the server takes, who say nothing; see how each ends, who notices."""
    open_all_files()
    async with server_program("--max-peers", str(clients // 2), "--join-timeout", "20") as (url, pid):
        host, _, _ = await enter(url)
        before = resident(pid)
        ends: Counter[str] = Counter()
        gate = asyncio.Semaphore(64)

        async def stand() -> None:
            async with gate:
                connection = await connect(url, compression=None, ping_interval=None, open_timeout=60)
            with contextlib.suppress(Exception):
                await connection.recv()
            ends[f"{connection.close_code} {connection.close_reason}"] += 1

        standing = [asyncio.create_task(stand()) for _ in range(clients)]
        worst, held = 0.0, 0
        while not all(task.done() for task in standing):
            sent = time.perf_counter()
            await host.send(json.dumps({"type": 4, "id": 1, "data": "x"}))
            await host.recv()
            worst = max(worst, time.perf_counter() - sent)
            held = max(held, resident(pid) - before)
            await asyncio.sleep(0.1)
        return {**ends, "MB at most": round(held / 1e6), "slowest relay beside it, ms": round(worst * 1000)}


def main() -> None:
    """Read the question from the command line, and print the answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    questions = parser.add_subparsers(dest="question", required=True)
    question = questions.add_parser("idle")
    question.add_argument("--clients", type=int, default=5000)
    question = questions.add_parser("relay")
    question.add_argument("--rate", type=int, default=2000)
    question.add_argument("--seconds", type=float, default=5)
    question = questions.add_parser("mesh")
    question.add_argument("--peers", type=int, default=8)
    question.add_argument("--rounds", type=int, default=5)
    question = questions.add_parser("crowd")
    question.add_argument("--clients", type=int, default=10_000)
    chosen = vars(parser.parse_args())
    answer = {"idle": idle, "relay": relay, "mesh": mesh, "crowd": crowd}[chosen.pop("question")](**chosen)
    for name, value in asyncio.run(answer).items():
        print(f"{name:30} {value}")


if __name__ == "__main__":
    main()
