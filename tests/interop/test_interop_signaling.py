"""Our clients at the Node server of Godot's demo, written anew from its protocol on npm's ws 7."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtcstack import RTCError
from rtcstack.signaling import LobbyPeer, join

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent


@contextmanager
def demo_server(seal_ms: int = 10_000) -> Iterator[str]:
    if not (HERE / "node_modules" / "ws").is_dir():
        pytest.fail("npm's ws is not installed: npm ci --prefix tests/interop")
    process = subprocess.Popen(
        ["node", str(HERE / "peers" / "demo_server.cjs"), str(seal_ms)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"ws://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.communicate()


async def gather(url: str, count: int, *, mesh: bool = True) -> list[LobbyPeer]:
    host = await join(url, mesh=mesh)
    guests = await asyncio.gather(*[join(url, host.lobby) for _ in range(count - 1)])
    await host.wait_for_peers(count - 1)
    return [host, *guests]


def test_a_mesh_meets_speaks_and_parts() -> None:
    async def story(url: str) -> None:
        host, guest, other = peers = await gather(url, 3)
        assert len(host.lobby) == 16
        for peer in peers:
            await peer.wait_for_peers(2)
            peer.put_packet(b"hello")
        for peer in peers:
            assert {(await peer.receive()).peer for _ in range(2)} == set(peer.peers)
        has_left = asyncio.Event()
        host.peer_disconnected.connect(lambda _: has_left.set())
        await guest.leave()
        await has_left.wait()
        assert host.peers == [other.get_unique_id()]
        await asyncio.gather(host.leave(), other.leave())

    with demo_server() as url:
        asyncio.run(story(url))


def test_clients_of_a_relay_lobby_ignore_each_other_although_that_server_announces_them() -> None:
    async def story(url: str) -> None:
        host, *clients = await gather(url, 4, mesh=False)
        assert len(host.peers) == 3
        assert [client.peers for client in clients] == [[1]] * 3
        await asyncio.gather(*[peer.leave() for peer in (host, *clients)])

    with demo_server() as url:
        asyncio.run(story(url))


def test_a_seal_closes_the_signaling_and_the_game_goes_on() -> None:
    async def story(url: str) -> None:
        host, guest = await gather(url, 2)
        ended = asyncio.Event()
        guest.client.disconnected.connect(ended.set)
        host.seal()
        await ended.wait()
        assert (guest.client.close_code, guest.client.close_reason) == (1000, "Seal complete")
        guest.put_packet(b"on")
        assert (await host.receive()).data == b"on"
        await asyncio.gather(host.leave(), guest.leave())

    with demo_server(seal_ms=100) as url:
        asyncio.run(story(url))


def test_what_that_server_refuses_is_said() -> None:
    with demo_server() as url, pytest.raises(RTCError, match="Lobby does not exists"):
        asyncio.run(join(url, "nope"))


def test_a_host_that_is_cut_off_there_keeps_its_peers() -> None:
    """That server ends the lobby with its host's WebSocket; the game needs neither."""

    async def story() -> None:
        with demo_server() as url:
            host, guest = await gather(url, 2)
        ended = [asyncio.Event(), asyncio.Event()]
        await asyncio.sleep(0)
        for peer, event in zip((host, guest), ended, strict=True):
            peer.client.reconnecting.connect(lambda *_, event=event: event.set())
        await asyncio.gather(*[event.wait() for event in ended])
        host.put_packet(b"who needs it")
        assert (await guest.receive()).data == b"who needs it"
        await asyncio.gather(host.leave(), guest.leave())

    asyncio.run(story())
