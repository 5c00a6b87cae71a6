"""join(): meshes, servers with clients, and games that outlive their signaling; on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from server_support import ServerThread, run, serving

import rtcstack
import rtcstack.aio
from rtcstack import MultiplayerPeer, RTCError
from rtcstack.errors import Closed, InvalidParameter
from rtcstack.signaling import Client, Limits, LobbyPeer, Matchmaker, Server, join


@asynccontextmanager
async def party(url: str, count: int, *, mesh: bool = True) -> AsyncIterator[list[LobbyPeer]]:
    """A host and guests that join one after the other, all connected."""
    peers = [await join(url, mesh=mesh)]
    try:
        peers += await asyncio.gather(*[join(url, peers[0].lobby) for _ in range(count - 1)])
        wanted = [count - 1 if mesh or peer is peers[0] else 1 for peer in peers]
        await asyncio.gather(
            *[peer.wait_for_peers(number) for peer, number in zip(peers, wanted, strict=True)]
        )
        yield peers
    finally:
        await asyncio.gather(*[peer.leave() for peer in peers])


def test_three_join_as_a_mesh_and_everybody_hears_everybody() -> None:
    async def story() -> None:
        async with serving() as server, party(server.url, 3) as peers:
            for peer in peers:
                peer.put_packet(f"from {peer.get_unique_id()}".encode())
            ids = {peer.get_unique_id() for peer in peers}
            assert 1 in ids
            for peer in peers:
                heard = [await peer.receive() for _ in range(2)]
                assert {packet.peer for packet in heard} == ids - {peer.get_unique_id()}
                assert all(packet.data == f"from {packet.peer}".encode() for packet in heard)
                assert all(packet.mode == peer.TRANSFER_MODE_RELIABLE for packet in heard)

    run(story())


def test_a_server_and_its_clients_know_nobody_but_each_other() -> None:
    async def story() -> None:
        async with serving() as server, party(server.url, 3, mesh=False) as peers:
            host, *clients = peers
            assert host.get_unique_id() == 1
            assert set(host.peers) == {client.get_unique_id() for client in clients}
            assert [client.peers for client in clients] == [[1], [1]]
            for client in clients:
                client.set_target_peer(1)
                client.put_packet(b"hi")
            assert {(await host.receive()).peer for _ in clients} == set(host.peers)

    run(story())


def test_a_mesh_of_eight_and_a_server_with_seven_clients() -> None:
    async def story() -> None:
        async with serving() as server:
            async with party(server.url, 8) as peers:
                peers[0].put_packet(b"to seven")
                assert [(await peer.receive()).peer for peer in peers[1:]] == [1] * 7
                assert {len(peer.peers) for peer in peers} == {7}
            async with party(server.url, 8, mesh=False) as (host, *clients):
                for client in clients:
                    client.put_packet(b"to the server")
                assert {(await host.receive()).peer for _ in clients} == set(host.peers)
                assert len(host.peers) == 7

    run(story())


def test_packets_can_be_iterated_until_the_peer_leaves() -> None:
    async def story() -> None:
        async with serving() as server, party(server.url, 2) as (host, guest):
            for number in range(3):
                guest.put_packet(bytes((number,)))
            heard = []
            async for packet in host:
                heard.append(packet.data)
                if len(heard) == 3:
                    await host.leave()
            assert heard == [b"\0", b"\1", b"\2"]
            with pytest.raises(Closed):
                await host.receive()

    run(story())


def test_who_leaves_is_told_to_the_others() -> None:
    async def story() -> None:
        async with serving() as server, party(server.url, 3) as (host, guest, other):
            gone: list[int] = []
            came = asyncio.Event()
            host.peer_disconnected.connect(lambda peer: (gone.append(peer), came.set()))
            await guest.leave()
            await came.wait()
            assert gone == [guest_id for guest_id in gone if guest_id != other.get_unique_id()]
            assert host.peers == [other.get_unique_id()]

    run(story())


def test_a_game_goes_on_when_the_signaling_server_is_gone() -> None:
    """As Godot's page says: once connected, the server is not needed."""

    async def story() -> None:
        async with serving() as server, party(server.url, 2) as (host, guest):
            await server.stop()
            host.put_packet(b"still here")
            assert (await guest.receive()).data == b"still here"
            guest.put_packet(b"me too")
            assert (await host.receive()).data == b"me too"

    run(story())


def test_a_cut_websocket_comes_back_and_newcomers_find_everybody() -> None:
    async def story() -> None:
        async with serving() as server, party(server.url, 2) as (host, guest):
            back = [asyncio.Event(), asyncio.Event()]
            for peer, event in zip((host, guest), back, strict=True):
                peer.client.reconnected.connect(event.set)
            for connection in server.connections():
                connection.transport.abort()
            await asyncio.gather(*[event.wait() for event in back])
            async with await join(server.url, host.lobby) as newcomer:
                await newcomer.wait_for_peers(2)
                assert set(newcomer.peers) == {1, guest.get_unique_id()}

    run(story())


def test_a_sealed_lobby_ends_and_the_game_does_not() -> None:
    async def story() -> None:
        limits = Limits(seal_timeout=0.05)
        async with serving(limits) as server, party(server.url, 2) as (host, guest):
            ended = asyncio.Event()
            guest.client.disconnected.connect(ended.set)
            host.seal()
            await ended.wait()
            assert guest.client.is_sealed
            assert guest.client.close_reason == "Seal complete"
            host.put_packet(b"on")
            assert (await guest.receive()).data == b"on"

    run(story())


def test_channels_beyond_the_three_have_the_modes_that_all_agree_on() -> None:
    async def story() -> None:
        config = [MultiplayerPeer.TRANSFER_MODE_UNRELIABLE, MultiplayerPeer.TRANSFER_MODE_RELIABLE]
        async with (
            serving() as server,
            await join(server.url, channels_config=config) as host,
            await join(server.url, host.lobby, channels_config=config) as guest,
        ):
            await host.wait_for_peers()
            host.transfer_channel = 2
            host.put_packet(b"x")
            packet = await guest.receive()
            assert (packet.channel, packet.mode) == (2, MultiplayerPeer.TRANSFER_MODE_RELIABLE)

    run(story())


def test_why_there_is_no_game_is_said() -> None:
    async def story() -> None:
        async with serving() as server:
            with pytest.raises(RTCError, match="Lobby does not exists"):
                await join(server.url, "nope")
        with pytest.raises(RTCError, match="cannot be reached"):
            await join(server.url)
        with pytest.raises(InvalidParameter, match="no ws:// or wss:// URL"):
            await join("http://127.0.0.1")

    run(story())


def test_a_host_that_never_answers_is_a_timeout() -> None:
    async def story() -> None:
        async with serving() as server:
            deaf = Client(server.url, mesh=False)  # a host that makes no connections
            while not deaf.joined_lobby:
                await asyncio.sleep(0.01)
                deaf.poll()
            with pytest.raises(TimeoutError):
                await join(server.url, deaf.joined_lobby, within=0.2)
            deaf.close()

    run(story())


def test_join_is_found_in_the_asyncio_face() -> None:
    assert rtcstack.aio.join is join
    with pytest.raises(AttributeError):
        _ = rtcstack.aio.nothing


def test_the_poll_face_needs_no_event_loop(server_thread_url: str) -> None:
    games = [MultiplayerPeer(), MultiplayerPeer()]
    host = Matchmaker(Client(server_thread_url), games[0])
    until = time.monotonic() + 60
    while not host.client.joined_lobby:
        assert time.monotonic() < until
        rtcstack.poll((host,), 0.1)
    guest = Matchmaker(Client(server_thread_url, host.client.joined_lobby), games[1])
    connected: list[int] = []
    games[0].peer_connected.connect(connected.append)
    while not (connected and any(peer["connected"] for peer in games[1].get_peers().values())):
        assert time.monotonic() < until
        rtcstack.poll((host, guest), 0.1)
    assert connected == [guest.client.id]
    games[1].put_packet(b"hello")
    while not games[0].get_available_packet_count():
        assert time.monotonic() < until
        rtcstack.poll((host, guest), 0.1)
    assert games[0].get_packet() == b"hello"
    for match in (host, guest):
        match.client.close()
        match.game.close()
    while any(list(match.connections()) for match in (host, guest)):
        rtcstack.poll((host, guest), 0.1)


@pytest.fixture
def server_thread_url() -> Iterator[str]:
    thread = ServerThread()
    yield thread.url
    thread.stop()


def test_who_leaves_the_lobby_and_is_alive_stays_and_who_is_silent_goes(server_thread_url: str) -> None:
    games = [MultiplayerPeer() for _ in range(3)]
    seconds_later = 0.0
    host = Matchmaker(Client(server_thread_url), games[0], clock=lambda: time.monotonic() + seconds_later)
    gone: list[int] = []
    games[0].peer_disconnected.connect(gone.append)
    polled = [host]

    def poll_until(is_done: Callable[[], object]) -> None:
        until = time.monotonic() + 60
        while not is_done():
            assert time.monotonic() < until
            rtcstack.poll(polled, 0.02)

    poll_until(lambda: host.client.joined_lobby)
    lobby = host.client.joined_lobby
    lively, silent = (Matchmaker(Client(server_thread_url, lobby), game) for game in games[1:])
    polled += [lively, silent]
    poll_until(lambda: sum(peer["connected"] for peer in games[0].get_peers().values()) == 2)
    lively.client.close()
    silent.client.close()
    polled.remove(silent)  # it hangs

    members: list[int] = [lively.client.id, silent.client.id]
    left: list[int] = []
    host.client.peer_disconnected.connect(left.append)
    poll_until(lambda: sorted(left) == sorted(members))
    games[1].set_target_peer(1)
    games[1].put_packet(b"x")
    poll_until(games[0].get_available_packet_count)
    assert gone == []
    seconds_later = 9.0
    poll_until(lambda: gone)
    assert gone == [silent.client.id]
    assert games[0].has_peer(lively.client.id)
    for match in (host, lively, silent):
        match.client.close()
        match.game.close()


def test_a_stopped_server_has_no_lobbies_left() -> None:
    async def story() -> Server:
        async with serving() as server, party(server.url, 2):
            pass
        return server

    assert run(story()).rooms.lobby_names == ()
