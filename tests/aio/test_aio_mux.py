"""Many connections on one UDP port in an event loop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from test_aio_connection import CHAT, LOCAL, NoReaders, run

from rtcstack import RTCError, UdpMux
from rtcstack.aio import DataChannel, PeerConnection


async def call(stack: AsyncExitStack, mux: UdpMux) -> tuple[PeerConnection, DataChannel, DataChannel]:
    """Connect one more; returns the connection on the port, its channel, and the other side's."""
    server = await stack.enter_async_context(PeerConnection({"udp_mux": mux}))
    client = await stack.enter_async_context(PeerConnection(LOCAL))
    here, there = (peer.create_data_channel("chat", CHAT) for peer in (server, client))
    await server.accept(await client.answer(await server.offer(trickle=False), trickle=False))
    await asyncio.gather(here.opened(), there.opened())
    return server, here, there


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, NoReaders])
def test_connections_in_an_event_loop_share_a_port(loop: type[asyncio.AbstractEventLoop]) -> None:
    async def test() -> None:
        with UdpMux(bind_addresses=["127.0.0.1"]) as mux:
            async with AsyncExitStack() as stack:
                calls = await asyncio.gather(*(call(stack, mux) for _ in range(4)))
                assert mux.connection_count == 4
                for number, (_, here, there) in enumerate(calls):
                    await here.send(f"down {number}" * 20_000)
                    await there.send(f"up {number}")
                for number, (_, here, there) in enumerate(calls):
                    assert await there.receive() == f"down {number}" * 20_000
                    assert await here.receive() == f"up {number}"
            assert mux.connection_count == 0
            async with AsyncExitStack() as stack:  # and again, after the last has left
                await call(stack, mux)

    run(test(), loop)


def test_closing_the_mux_ends_the_connections() -> None:
    async def test() -> None:
        mux = UdpMux(bind_addresses=["127.0.0.1"])
        async with AsyncExitStack() as stack:
            server, here, there = await call(stack, mux)
            mux.close()
            assert await server.closed() == "the UdpMux is closed"
            with pytest.raises(RTCError):
                await here.send("x")
            with pytest.raises(RTCError):
                await there.receive()

    run(test())


def test_a_port_serves_one_loop_at_a_time() -> None:
    with UdpMux(bind_addresses=["127.0.0.1"]) as mux:

        async def test() -> None:
            async with AsyncExitStack() as stack:
                await call(stack, mux)
                with pytest.raises(RuntimeError, match="another event loop"):
                    await asyncio.to_thread(asyncio.run, other())

        async def other() -> None:
            peer = PeerConnection({"udp_mux": mux})
            peer.create_data_channel("x")
            try:
                await peer.offer()
            finally:
                peer.abort()

        run(test())
        run(test())
