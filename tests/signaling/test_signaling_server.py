"""The server on real sockets: what it lets in, what it shows, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ssl
from pathlib import Path

import pytest
from server_support import connect, end_of, enter, fetch, hear, run, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rtcstack import Certificate, InvalidParameter
from rtcstack.signaling import Limits, Page, Server, ServerOptions
from rtcstack.signaling.messages import Kind, Message


def test_two_peers_meet_and_speak() -> None:
    async def story() -> None:
        async with serving() as server:
            host, _, lobby, _ = await enter(server.url)
            guest, guest_id, _, announced = await enter(server.url, lobby)
            assert announced == [Message(Kind.PEER_CONNECT, 1)]
            assert await hear(host) == Message(Kind.PEER_CONNECT, guest_id)
            await guest.send(Message(Kind.OFFER, 1, "v=0").write())
            assert await hear(host) == Message(Kind.OFFER, guest_id, "v=0")
            await guest.close()
            assert await hear(host) == Message(Kind.PEER_DISCONNECT, guest_id)
            assert server.rooms.peer_count == 1

    run(story())


def test_the_handshake_is_one_that_godot_s_websocketpeer_takes() -> None:
    """It asks for exactly `Connection: Upgrade`, no subprotocol, and at least three headers."""

    async def story() -> None:
        async with serving() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            key = "MDEyMzQ1Njc4OWFiY2RlZg=="
            writer.write(
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:])
            assert lines[0].startswith("HTTP/1.1 101 ")
            assert headers["Connection"] == "Upgrade"
            assert headers["Upgrade"] == "websocket"
            digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            assert headers["Sec-WebSocket-Accept"] == base64.b64encode(digest).decode()
            assert not any(
                name.startswith(("Sec-WebSocket-Protocol", "Sec-WebSocket-Ext")) for name in headers
            )
            assert len(headers) >= 3
            assert len(head) < 4096
            writer.close()

    run(story())


def test_close_codes_and_reasons_arrive() -> None:
    async def story() -> None:
        async with serving(Limits(join_timeout=0.05)) as server:
            late = await connect(server.url)
            assert await end_of(late) == (4000, "Have not joined lobby yet")
        async with serving() as server:
            rude, *_ = await enter(server.url)
            await rude.send(b"\x00")
            assert await end_of(rude) == (4000, "Invalid transfer mode, must be text")
            big, *_ = await enter(server.url)
            await big.send("x" * 70_000)
            assert (await end_of(big))[0] == 1009

    run(story())


def test_a_peer_over_the_limit_is_told_and_the_others_stay() -> None:
    async def story() -> None:
        async with serving(Limits(max_peers=1)) as server:
            host, *_ = await enter(server.url)
            extra = await connect(server.url)
            assert await end_of(extra) == (4000, "Too many peers connected")
            await host.send(Message(Kind.OFFER, 1, "x").write())
            assert await hear(host) == Message(Kind.OFFER, 1, "x")

    run(story())


def test_one_address_has_only_so_many_connections_even_before_it_speaks() -> None:
    async def story() -> None:
        async with serving(Limits(address_peers=2)) as server:
            silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.url)
            assert refused.value.response.status_code == 429
            for _, writer in silent:
                writer.close()

    run(story())


def test_a_trusted_proxy_s_word_names_the_address() -> None:
    async def story() -> None:
        async with serving(Limits(address_peers=1), trusted_proxies=("127.0.0.0/8",)) as server:
            first, *_ = await enter(
                server.url, additional_headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.5"}
            )
            with pytest.raises(InvalidStatus):
                await connect(server.url, additional_headers={"X-Forwarded-For": "203.0.113.5"})
            second, *_ = await enter(server.url, additional_headers={"X-Forwarded-For": "203.0.113.6"})
            assert server.addresses.count("203.0.113.5") == server.addresses.count("203.0.113.6") == 1
            await first.close()
            await second.close()

    run(story())


def test_a_token_opens_the_door_in_the_url_or_as_a_bearer() -> None:
    async def story() -> None:
        async with serving(tokens=("old", "new")) as server:
            for url, headers in (
                (server.url, {}),
                (server.url + "?token=wrong", {}),
                (server.url, {"Authorization": "Bearer wrong"}),
            ):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(url, additional_headers=headers)
                assert refused.value.response.status_code == 401
            await enter(server.url + "?token=old")
            await enter(server.url, additional_headers={"Authorization": "Bearer new"})

    run(story())


def test_pages_of_other_origins_stay_outside_when_origins_are_named() -> None:
    async def story() -> None:
        async with serving(origins=("https://game.example",)) as server:
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.url, origin="https://evil.example")
            assert refused.value.response.status_code == 403
            await enter(server.url, origin="https://game.example")
            await enter(server.url, origin=f"http://127.0.0.1:{server.port}")  # our own page
            await enter(server.url)  # a native game sends none

    run(story())


def test_health_metrics_and_pages_are_plain_http() -> None:
    async def story() -> None:
        async with serving(pages={"/": Page("text/html", b"<p>hi")}) as server:
            host, *_ = await enter(server.url)
            await host.send(Message(Kind.OFFER, 1, "x").write())
            await hear(host)
            assert await fetch(server, "/healthz") == (200, "ok\n")
            assert await fetch(server, "/") == (200, "<p>hi")
            assert await fetch(server, "/?lobby=x") == (200, "<p>hi")
            assert (await fetch(server, "/../secret"))[0] == 404
            status, metrics = await fetch(server, "/metrics")
            assert status == 200
            for line in (
                "rtcstack_signaling_peers 1",
                "rtcstack_signaling_lobbies 1",
                "rtcstack_signaling_relayed_total 1",
                'rtcstack_signaling_messages_total{type="join"} 1',
                'rtcstack_signaling_messages_total{type="offer"} 1',
            ):
                assert line in metrics.splitlines()
            await host.send("?")
            await end_of(host)
            _, metrics = await fetch(server, "/metrics")
            assert (
                'rtcstack_signaling_closes_total{reason="Invalid message format"} 1' in metrics.splitlines()
            )

    run(story())


def test_stopping_tells_every_peer() -> None:
    async def story() -> None:
        async with serving() as server:
            host, _, lobby, _ = await enter(server.url)
            guest, *_ = await enter(server.url, lobby)
            ends = asyncio.gather(end_of(host), end_of(guest))
            await server.stop()
            assert await ends == [(1001, "Server is shutting down")] * 2
        with pytest.raises(OSError, match=r"."):
            await connect(server.url)

    run(story())


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async def story() -> None:
        limits = Limits(peer_bytes=1e9, peer_burst=1e6)
        async with serving(limits) as server:
            host, _, lobby, _ = await enter(server.url, close_timeout=0.01)
            guest, *_ = await enter(server.url, lobby)
            offer = Message(Kind.OFFER, 1, "x" * 60_000).write()
            host.transport.pause_reading()
            while not server.refused["slow"]:
                await guest.send(offer)
            assert await end_of(guest) == (4000, "Room host has disconnected")

    run(story())


def test_a_handshake_that_dribbles_in_is_cut() -> None:
    async def story() -> None:
        async with serving(handshake_timeout=0.1) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
            assert await reader.read() == b""  # the server has cut it
            writer.close()

    run(story())


@pytest.mark.parametrize(
    "request_of",
    [
        "GET //[ HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n{}\r\n",
        "GET /?token=a HTTP/1.1\r\nHost: x\r\nOrigin: a\r\nOrigin: b\r\n{}\r\n",
        "GET /?token=a HTTP/1.1\r\nHost: x\r\nOrigin: http://[\r\n{}\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n{}\r\n",
    ],
)
def test_a_path_or_header_that_cannot_be_read_is_a_bad_request(request_of: str) -> None:
    handshake = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )

    async def story() -> None:
        async with serving(tokens=("a",), origins=("https://game.example",)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request_of.format(handshake).encode())
            assert (await reader.readline()).split()[1] == b"400"
            writer.close()

    run(story())


def test_a_request_without_end_is_refused() -> None:
    async def story() -> None:
        async with serving() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n")
            await reader.read()
            writer.close()
            await enter(server.url)

    run(story())


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x02\xff\xfe", 1002),  # not masked: RFC 6455 section 5.1
        (b"\x83\x80\0\0\0\0", 1002),  # reserved opcode: section 5.2
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),  # no UTF-8: section 8.1
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),  # eight exabytes
        (b"\x89\xfe\x01\x00\0\0\0\0" + bytes(256), 1002),  # a ping of 256 bytes: section 5.5
    ],
)
def test_frames_that_are_none_are_closed_with_the_code_of_rfc_6455(frame: bytes, code: int) -> None:
    async def story() -> None:
        async with serving() as server:
            host, *_ = await enter(server.url)
            rude, *_ = await enter(server.url)
            rude.transport.write(frame)
            assert (await end_of(rude))[0] == code
            await host.send(Message(Kind.OFFER, 1, "x").write())
            assert await hear(host) == Message(Kind.OFFER, 1, "x")

    run(story())


def test_a_flood_is_closed_with_a_reason_and_the_others_are_served() -> None:
    async def story() -> None:
        async with serving(Limits(peer_burst=100, peer_messages=1)) as server:
            host, *_ = await enter(server.url)
            flooder, *_ = await enter(server.url)
            text = Message(Kind.CANDIDATE, 1, "x").write()
            with contextlib.suppress(ConnectionClosed):
                for _ in range(200):
                    await flooder.send(text)
            await host.send(Message(Kind.OFFER, 1, "x").write())
            assert await hear(host) == Message(Kind.OFFER, 1, "x")
            assert await end_of(flooder) == (4000, "Too many messages")

    run(story())


def test_tls_needs_a_certificate_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="cannot be used"):
        Server(ServerOptions(tls_cert=str(tmp_path / "none.pem")))
    with pytest.raises(InvalidParameter, match="trusted proxies"):
        Server(ServerOptions(trusted_proxies=("nginx",)))


def test_a_server_with_a_certificate_speaks_tls(tmp_path: Path) -> None:
    certificate = Certificate.generate()
    file = tmp_path / "server.pem"
    file.write_bytes(certificate.to_pem())

    async def story() -> None:
        async with serving(tls_cert=str(file)) as server:
            assert server.url.startswith("wss://")
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            host, _, lobby, _ = await enter(server.url, ssl=trust)
            assert len(lobby) == 32
            server.reload_certificate()
            await host.close()

    run(story())
