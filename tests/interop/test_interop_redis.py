"""Several servers with a real Redis between them: a lobby spans them, one is killed, Redis is restarted."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rtcstack.signaling import Client, join
from rtcstack.signaling.membership import State

pytestmark = pytest.mark.interop


class Redis:
    """A redis-server on loopback that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            pytest.fail("redis-server is not installed: apt-get install redis-server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
             str(self._folder)],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "Ready to accept connections" in line:
                return
        pytest.fail("redis-server has not started")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class ServerProgram:
    """`python -m rtcstack signaling` in a process of its own."""

    def __init__(self, redis: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rtcstack", "signaling", "--port", "0", "--json", "--redis", redis,
             "--resume-timeout", "1"],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        started: dict[str, Any] = json.loads(self.process.stderr.readline())
        self.url: str = started["url"]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    yield redis
    redis.stop()


@pytest.fixture
def start(redis: Redis) -> Iterator[Callable[[], ServerProgram]]:
    with ExitStack() as stack:

        def start() -> ServerProgram:
            server = ServerProgram(redis.url)
            stack.callback(server.kill)
            return server

        yield start


class Guest:
    """A client by hand, that tells what it has heard."""

    def __init__(self, url: str, lobby: str = "") -> None:
        self.client = Client(url, lobby)
        self.told: list[tuple[object, ...]] = []
        for name in ("peer_connected", "peer_disconnected", "offer_received", "disconnected", "reconnected"):
            getattr(self.client, name).connect(lambda *args, name=name: self.told.append((name, *args)))

    async def until(self, is_true: Callable[[], object], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not is_true():
                self.client.poll()
                await asyncio.sleep(0.01)


async def enter(url: str, lobby: str = "") -> Guest:
    guest = Guest(url, lobby)
    await guest.until(lambda: guest.client.state in (State.JOINED, State.ENDED))
    assert guest.client.state is State.JOINED, guest.client.close_reason
    return guest


def run(story: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story

    asyncio.run(bounded())


def test_a_game_spans_two_servers(start: Callable[[], ServerProgram]) -> None:
    async def story() -> None:
        first, second = start(), start()
        async with (
            await join(first.url) as host,
            await join(second.url, host.lobby) as guest,
            await join(second.url, host.lobby) as third,
        ):
            await guest.wait_for_peers(2)
            guest.put_packet(b"across")
            assert (await host.receive()).data == (await third.receive()).data == b"across"

    run(story())


def test_a_killed_server_takes_only_its_own_clients_with_it(start: Callable[[], ServerProgram]) -> None:
    async def story() -> None:
        first, second, third = start(), start(), start()
        host = await enter(first.url)
        lobby = host.client.joined_lobby
        lost, stays = await enter(second.url, lobby), await enter(third.url, lobby)
        second.kill()
        gone = ("peer_disconnected", lost.client.id)
        await host.until(lambda: gone in host.told)
        await stays.until(lambda: gone in stays.told)
        stays.client.send_offer(1, "still here")
        await host.until(lambda: ("offer_received", stays.client.id, "still here") in host.told)
        for guest in (host, stays, lost):
            guest.client.close()

    run(story())


def test_the_host_s_server_killed_is_a_clear_close(start: Callable[[], ServerProgram]) -> None:
    async def story() -> None:
        first, second = start(), start()
        host = await enter(first.url)
        guest = await enter(second.url, host.client.joined_lobby)
        first.kill()
        await guest.until(lambda: guest.client.state is State.ENDED)
        assert (guest.client.close_code, guest.client.close_reason) == (4000, "Room host has disconnected")
        host.client.close()

    run(story())


def test_a_restarted_redis_has_cost_nothing(redis: Redis, start: Callable[[], ServerProgram]) -> None:
    """Nobody is closed; what was said meanwhile arrives; the directory is filled anew."""

    async def story() -> None:
        first, second = start(), start()
        host = await enter(first.url)
        guest = await enter(second.url, host.client.joined_lobby)
        redis.stop()
        guest.client.send_offer(1, "into the dark")
        guest.client.poll()
        await asyncio.sleep(1)
        redis.start()
        await host.until(lambda: ("offer_received", guest.client.id, "into the dark") in host.told)
        late = await enter(second.url, host.client.joined_lobby)
        await host.until(lambda: ("peer_connected", late.client.id) in host.told)
        assert host.client.state is guest.client.state is State.JOINED
        assert not any(event[0] in ("disconnected", "reconnected") for event in host.told + guest.told)
        for each in (host, guest, late):
            each.client.close()

    run(story())


def test_while_redis_is_away_lobbies_here_work_and_others_are_a_clear_close(
    redis: Redis, start: Callable[[], ServerProgram]
) -> None:
    async def story() -> None:
        first, second = start(), start()
        host = await enter(first.url)
        redis.stop()
        await enter(first.url, host.client.joined_lobby)
        stranger = Guest(second.url, host.client.joined_lobby)
        await stranger.until(lambda: stranger.client.state is State.ENDED)
        assert stranger.client.close_reason == "Server error, lobby not found"

    run(story())
