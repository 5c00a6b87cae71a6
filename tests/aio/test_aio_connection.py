"""The asyncio face over loopback sockets: opening, back-pressure, iteration, closing, cancellation."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import uvloop

import rtcstack
from rtcstack import ChannelState, Closed, InvalidState, MessageTooLarge, RTCError, SdpError
from rtcstack.aio import (
    ConnectionStateChanged,
    DataChannel,
    GatheringStateChanged,
    PeerConnection,
    SelectedPairChanged,
    SignalingStateChanged,
)
from rtcstack.sdp import SignalingState
from rtcstack.session import ConnectionState

CHAT = {"id": 1, "negotiated": True}
LOCAL = {"bind_addresses": ["127.0.0.1"]}


class NoReaders(asyncio.SelectorEventLoop):
    """A loop like Windows' proactor: it cannot watch descriptors for others."""

    def add_reader(self, *_: Any) -> None:
        raise NotImplementedError


def run(
    test: Coroutine[Any, Any, None],
    loop: type[asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop,
    within: float = 20.0,
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(test, within))


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[PeerConnection, PeerConnection, DataChannel, DataChannel]]:
    async with PeerConnection(LOCAL) as a, PeerConnection(LOCAL) as b:
        chat_a, chat_b = (peer.create_data_channel("chat", CHAT) for peer in (a, b))
        await a.accept(await b.answer(await a.offer(trickle=False), trickle=False))
        await asyncio.gather(chat_a.opened(), chat_b.opened())
        yield a, b, chat_a, chat_b


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, NoReaders, uvloop.Loop])
def test_messages_go_both_ways_on_every_kind_of_loop(loop: type[asyncio.AbstractEventLoop]) -> None:
    async def test() -> None:
        async with connected() as (_, _, chat_a, chat_b):
            await chat_a.send("täxt")
            await chat_a.send(b"\0\xff")
            await chat_b.send("")
            assert [await chat_b.receive(), await chat_b.receive()] == ["täxt", b"\0\xff"]
            assert await chat_a.receive() == ""

    run(test(), loop)


def test_candidates_are_trickled() -> None:
    async def trickle(source: PeerConnection, target: PeerConnection) -> None:
        async for candidate in source.candidates():
            target.add_candidate(candidate)

    async def test() -> None:
        async with PeerConnection(LOCAL) as a, PeerConnection(LOCAL) as b:
            channel = a.create_data_channel("chat", {"ordered": False, "protocol": "p"})
            offer = await a.offer()
            assert "a=candidate" not in offer.sdp
            await a.accept(await b.answer(offer))
            await asyncio.gather(trickle(a, b), trickle(b, a), a.connected(), b.connected())
            received = await anext(b.channels())
            assert (received.label, received.protocol, received.ordered) == ("chat", "p", False)
            assert received.id == channel.id
            await received.send("hello")
            assert await channel.receive() == "hello"

    run(test())


def test_sending_waits_while_the_buffer_is_high_and_iteration_ends_with_the_channel() -> None:
    async def send(channel: DataChannel) -> int:
        highest = 0
        for i in range(600):
            await channel.send(i.to_bytes(2) * 30_000)
            highest = max(highest, channel.buffered_amount)
        channel.close()
        return highest

    async def test() -> None:
        async with connected() as (_, _, chat_a, chat_b):
            sending = asyncio.create_task(send(chat_a))
            received = [message async for message in chat_b]
            assert [message[:2] for message in received] == [i.to_bytes(2) for i in range(600)]
            assert await sending < 10 << 20
            assert await chat_b.closed() == "closed by the peer"
            with pytest.raises(Closed):
                await chat_a.send("too late")

    run(test())


def test_what_was_sent_before_leaving_the_block_is_delivered() -> None:
    async def test() -> None:
        async with connected() as (a, b, chat_a, chat_b):
            for i in range(50):
                await chat_a.send(bytes([i]) * 10_000)
            await a.close()
            assert [message async for message in chat_b] == [bytes([i]) * 10_000 for i in range(50)]
            assert await b.closed()

    run(test())


def test_leaving_the_block_by_an_exception_cuts_the_connection() -> None:
    async def test() -> None:
        b = PeerConnection(LOCAL)
        b.create_data_channel("chat", CHAT)

        async def fail() -> None:
            async with PeerConnection(LOCAL) as a:
                chat = a.create_data_channel("chat", CHAT)
                await a.accept(await b.answer(await a.offer(trickle=False), trickle=False))
                await chat.opened()
                await b.connected()
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        assert await b.closed()

    run(test())


def test_a_cancelled_receive_loses_no_message() -> None:
    async def test() -> None:
        async with connected() as (_, _, chat_a, chat_b):
            received = []
            for i in range(20):
                receiving = asyncio.create_task(chat_b.receive())
                await chat_a.send(str(i))
                await asyncio.sleep(0)
                receiving.cancel()
                received += await asyncio.gather(receiving, return_exceptions=True)
            received = [message for message in received if isinstance(message, str)]
            while len(received) < 20:
                received.append(await chat_b.receive())
            assert received == [str(i) for i in range(20)]

    run(test())


def test_waiting_ends_when_the_connection_ends() -> None:
    async def test() -> None:
        async with PeerConnection(LOCAL) as peer:
            channel = peer.create_data_channel("never")
            waiting = [
                asyncio.create_task(wait) for wait in (channel.opened(), channel.receive(), peer.connected())
            ]
            await asyncio.sleep(0)
            peer.abort()
            for task in waiting:
                with pytest.raises(RTCError):
                    await task
            assert [c async for c in peer.channels()] == []
            assert [c async for c in peer.candidates()] == []

    run(test())


def test_wrong_use_raises_what_the_other_face_raises() -> None:
    async def test() -> None:
        async with PeerConnection(LOCAL) as peer:
            with pytest.raises(InvalidState):
                await peer.offer()
            channel = peer.create_data_channel("x")
            with pytest.raises(InvalidState):
                await channel.send("early")
            with pytest.raises(SdpError):
                await peer.answer("junk")
            with pytest.raises(SdpError):
                peer.add_candidate("junk")
        async with connected() as (_, _, chat_a, _):
            with pytest.raises(MessageTooLarge):
                await chat_a.send(bytes(262145))

    run(test())


def test_outside_of_a_loop_there_is_no_connection() -> None:
    with pytest.raises(RuntimeError):
        PeerConnection()


def test_a_changed_network_is_followed_by_a_restart() -> None:
    """RFC 8445 §9: the address of the path is gone, the channel goes on by another one."""
    ips = {"127.0.0.1"}

    async def test() -> None:
        filtered = {"interface_filter": lambda interface: interface.address in ips}
        async with PeerConnection(filtered) as a, PeerConnection(filtered) as b:
            chat_a, chat_b = (peer.create_data_channel("chat", CHAT) for peer in (a, b))
            await a.accept(await b.answer(await a.offer(trickle=False), trickle=False))
            await asyncio.gather(chat_a.opened(), chat_b.opened())
            ips.symmetric_difference_update({"127.0.0.1", "::1"})
            a.network_changed()
            b.network_changed()
            assert "127.0.0.1" in await a.restart_proposed()
            offer = await a.offer(restart_ice=True, trickle=False)
            await a.accept(await b.answer(offer, trickle=False))
            await chat_a.send("by the other family")
            assert await chat_b.receive() == "by the other family"
            pair = a.get_stats().selected_pair
            assert pair is not None
            assert pair.local[0] == "::1"
        with pytest.raises(RTCError, match="no connection"):
            await a.restart_proposed()

    run(test())


@pytest.mark.parametrize("loop", [NoReaders, uvloop.Loop])
def test_bulk_goes_through_on_every_kind_of_loop(loop: type[asyncio.AbstractEventLoop]) -> None:
    async def send(channel: DataChannel) -> None:
        for i in range(500):
            await channel.send(i.to_bytes(2) * 10_000)
        await channel.drained()
        assert channel.buffered_amount == 0
        channel.close()

    async def test() -> None:
        async with connected() as (_, _, chat_a, chat_b):
            sending = asyncio.create_task(send(chat_a))
            received = [message async for message in chat_b]
            assert [message[:2] for message in received] == [i.to_bytes(2) for i in range(500)]
            await sending
            assert chat_b.close_reason == "closed by the peer"

    run(test(), loop)


def test_no_task_is_made_for_packets() -> None:
    async def test() -> None:
        async with connected() as (_, _, chat_a, chat_b):
            alone = asyncio.all_tasks()
            for i in range(50):
                await chat_a.send(bytes([i]))
                await chat_b.receive()
                assert asyncio.all_tasks() == alone

    run(test())


def test_a_cancelled_send_has_queued_nothing() -> None:
    async def test() -> None:
        async with connected() as (_, _, chat_a, chat_b):
            sent = 0
            while True:
                sending = asyncio.ensure_future(chat_a.send(bytes(100_000)))
                await asyncio.sleep(0)
                if not sending.done():
                    break
                sent += 1
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert sending.cancelled()
            for _ in range(sent):
                await chat_b.receive()
            await chat_a.send("the next")
            assert await chat_b.receive() == "the next"

    run(test())


def test_a_cancelled_close_cuts_the_connection() -> None:
    async def test() -> None:
        async with connected() as (a, b, chat_a, _):
            await chat_a.send(bytes(200_000))
            closing = asyncio.create_task(a.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            assert a.connection_state is ConnectionState.CLOSED
            await b.closed()

    run(test())


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, NoReaders, uvloop.Loop])
@pytest.mark.parametrize("turns", [0, 1, 3, 9, 27])
def test_an_end_in_any_state_and_twice(turns: int, loop: type[asyncio.AbstractEventLoop]) -> None:
    """Whoever waits for anything then hears of it, and neither descriptor nor thread stays."""

    async def test() -> None:
        a, b = PeerConnection(LOCAL), PeerConnection(LOCAL)
        chats = [peer.create_data_channel("chat", CHAT) for peer in (a, b)]
        waiting = [asyncio.ensure_future(wait()) for chat in chats for wait in (chat.opened, chat.receive)]
        waiting += [asyncio.ensure_future(peer.restart_proposed()) for peer in (a, b)]

        async def connect() -> None:
            await a.accept(await b.answer(await a.offer(trickle=False), trickle=False))

        connecting = asyncio.create_task(connect())
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(a.close(), a.close(), b.close())
        b.abort()
        await a.close()
        assert a.connection_state is b.connection_state is ConnectionState.CLOSED
        ended = await asyncio.gather(*waiting, connecting, return_exceptions=True)
        assert all(isinstance(end, RTCError | None) for end in ended), ended
        with pytest.raises(RTCError):
            await a.offer()

    before = len(os.listdir("/dev/fd")), threading.active_count()
    run(test(), loop)
    assert (len(os.listdir("/dev/fd")), threading.active_count()) == before


def test_everybody_who_listens_hears_every_event() -> None:
    async def test() -> None:
        async with PeerConnection(LOCAL) as a, PeerConnection(LOCAL) as b:
            first, second = a.events(), a.events()
            chats = [peer.create_data_channel("chat", CHAT) for peer in (a, b)]
            await a.accept(await b.answer(await a.offer(trickle=False), trickle=False))
            await asyncio.gather(*(chat.opened() for chat in chats))
            assert a.signaling_state is SignalingState.STABLE
            await a.close()
            heard = [event async for event in first]
            assert heard == [event async for event in second]
            states = [event.state for event in heard if isinstance(event, ConnectionStateChanged)]
            assert states == [ConnectionState.CONNECTING, ConnectionState.CONNECTED, ConnectionState.CLOSED]
            assert {SelectedPairChanged, GatheringStateChanged, SignalingStateChanged} < set(map(type, heard))
            assert [event async for event in a.events()] == []

    run(test())


def test_an_offer_can_be_taken_back_and_a_path_be_looked_for_anew() -> None:
    async def test() -> None:
        async with connected() as (a, b, chat_a, chat_b):
            await a.offer()
            assert a.signaling_state is SignalingState.HAVE_LOCAL_OFFER
            a.rollback()
            with pytest.raises(InvalidState):
                a.rollback()
            pairs = a.events()
            offer = await a.offer(trickle=False, restart_ice=True)
            await a.accept(await b.answer(offer, trickle=False))
            async for event in pairs:
                if isinstance(event, SelectedPairChanged):
                    break
            await chat_a.send("by a new path")
            assert await chat_b.receive() == "by a new path"
            assert a.get_stats().selected_pair is not None
            assert "host" in a.explain()

    run(test())


@pytest.fixture
def silent_server() -> Iterator[dict[str, Any]]:
    """A configuration with a STUN server that never answers, so that gathering takes its time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield {**LOCAL, "iceServers": [{"urls": f"stun:127.0.0.1:{server.getsockname()[1]}"}]}


def test_an_offer_that_is_taken_back_while_it_waits_for_candidates_says_so(
    silent_server: dict[str, Any],
) -> None:
    """RFC 8829 §4.1.10.2: the other side's offer takes its place, and the answer is not given out as ours."""

    async def test() -> None:
        async with PeerConnection(silent_server) as a, PeerConnection(LOCAL) as b:
            for peer in (a, b):
                peer.create_data_channel("chat", CHAT)
            waiting = asyncio.create_task(a.offer(trickle=False))
            await asyncio.sleep(0)
            a.rollback()
            assert a.local_description == ("", "")
            with pytest.raises(InvalidState, match="offer was taken back"):
                await waiting

            waiting = asyncio.create_task(a.offer(trickle=False))
            await asyncio.sleep(0)
            answer = await a.answer(await b.offer(trickle=False))
            with pytest.raises(InvalidState, match="offer was taken back"):
                await waiting
            assert answer.type == a.local_description.type == "answer"
            await b.accept(answer)
            b.add_candidate(await anext(a.candidates()))
            await asyncio.gather(a.connected(), b.connected())

    run(test())


def test_no_description_is_given_out_once_the_connection_is_closed(silent_server: dict[str, Any]) -> None:
    async def test() -> None:
        peer = PeerConnection(silent_server)
        peer.create_data_channel("chat", CHAT)
        waiting = asyncio.create_task(peer.offer(trickle=False))
        await asyncio.sleep(0)
        peer.abort()
        with pytest.raises(InvalidState, match="no connection"):
            await waiting

    run(test())


Got = TypeVar("Got")


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_wait_may_be_cancelled_at_any_time_and_begun_anew(turns: int) -> None:
    """Nothing is lost, taken twice or out of order, however impatient the application is."""
    cancelled = 0

    async def impatiently(wait: Callable[[], Awaitable[Got]]) -> Got:
        nonlocal cancelled
        while True:
            task = asyncio.ensure_future(wait())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                return await task
            except asyncio.CancelledError:
                cancelled += 1

    async def test() -> None:
        async with PeerConnection({**LOCAL, "send_buffer": 1_000_000}) as a, PeerConnection(LOCAL) as b:
            chat = a.create_data_channel("chat")
            answer = await b.answer(await a.offer())
            await a.accept(answer)
            a.add_candidate(await impatiently(lambda: anext(b.candidates())))
            b.add_candidate(await impatiently(lambda: anext(a.candidates())))
            incoming = await impatiently(lambda: anext(b.channels()))
            await impatiently(chat.opened)
            await impatiently(b.connected)

            async def send() -> None:
                for number in range(40):
                    await impatiently(lambda number=number: chat.send(bytes([number]) * 200_000))
                await impatiently(chat.drained)
                chat.close()

            sending = asyncio.create_task(send())
            for number in range(40):
                assert await impatiently(incoming.receive) == bytes([number]) * 200_000
            assert await impatiently(incoming.closed)
            await sending
            closing = asyncio.create_task(a.close())
            assert await impatiently(b.closed)
            await closing
        assert cancelled

    run(test())


@pytest.mark.long
def test_a_failed_path_is_looked_for_anew_and_its_candidates_are_told() -> None:
    """RFC 8445 §9: candidates() and events() go on after FAILED, for the restart that ends it."""
    b = rtcstack.PeerConnection(LOCAL)  # is there while it is polled
    answers: deque[tuple[str, str]] = deque()
    b.session_description_created.connect(lambda kind, sdp: answers.append((kind, sdp)))
    chat_b = b.create_data_channel("chat", CHAT)

    async def negotiate(a: PeerConnection, offer: tuple[str, str]) -> None:
        b.set_remote_description(*offer)
        b.poll()
        await a.accept((answers.popleft()[0], b.get_local_description()))
        async for candidate in a.candidates():
            b.add_ice_candidate(*candidate)

    async def test() -> None:
        async with PeerConnection({**LOCAL, "consent_timeout": 7}) as a:
            chat_a = a.create_data_channel("chat", CHAT)
            events = a.events()
            await negotiate(a, await a.offer())
            while chat_a.state is not ChannelState.OPEN:
                b.poll()
                await asyncio.sleep(0)
            await a.closed()
            assert a.connection_state is ConnectionState.FAILED
            chat_a.send_nowait("in spite of all")
            await negotiate(a, await a.offer(restart_ice=True))
            while not chat_b.get_available_packet_count():
                b.poll()
                await asyncio.sleep(0)
            states = []
            while ConnectionState.FAILED not in states or states[-1] is not ConnectionState.CONNECTED:
                event = await anext(events)
                if isinstance(event, ConnectionStateChanged):
                    states.append(event.state)
            a.abort()

    run(test(), within=60.0)
    b.abort()


def test_a_closed_connection_is_gone_without_the_garbage_collector() -> None:
    async def test() -> list[weakref.ref[Any]]:
        async with connected() as (a, b, chat_a, chat_b):
            await chat_a.send("x")
            await chat_b.receive()
        return [weakref.ref(each) for each in (a, b, chat_a, chat_b)]

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            gone = runner.run(test())
            runner.run(asyncio.sleep(0))  # what was scheduled before the end
            assert [ref() for ref in gone] == [None] * 4
    finally:
        gc.enable()
