"""`python -m rtcstack play` and `signaling`: the bot's manners, the pages, programs that stop when told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rtcstack.signaling import LobbyPeer, Packet, Server, ServerOptions, join
from rtcstack.tools.bot import CHAT, DOT, HELLO, PING, PONG, Bot
from rtcstack.tools.cli import main
from rtcstack.tools.signaling import read_pages


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rtcstack", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def packet_of(game: LobbyPeer, kind: int) -> Packet:
    async for packet in game:
        if packet.data[0] == kind:
            return packet
    raise AssertionError("the game has ended")


def test_the_bot_dances_answers_pings_and_talks() -> None:
    async def story() -> None:
        lines: list[str] = []
        async with (
            Server(ServerOptions(port=0)) as server,
            await join(server.url) as game,
            await join(server.url, game.lobby) as guest,
        ):
            bot = Bot(game, "Ferris", lines.append)
            running = asyncio.create_task(bot.run())
            await game.wait_for_peers()
            guest.put_packet(bytes((HELLO,)) + b"Ada")
            guest.put_packet(bytes((PING,)) + b"12345678")
            assert (await packet_of(guest, PONG)).data[1:] == b"12345678"
            first = struct.unpack("!IHH", (await packet_of(guest, DOT)).data[1:])
            second = struct.unpack("!IHH", (await packet_of(guest, DOT)).data[1:])
            assert second[0] > first[0]  # some may be lost
            assert second[1:] != first[1:]
            answers = {"help": "I know: help", "faster": "faster it is", "stats": "the path to you"}
            for said, heard in answers.items():
                guest.put_packet(bytes((CHAT,)) + said.encode())
                assert heard in (await packet_of(guest, CHAT)).data[1:].decode()
            guest.put_packet(bytes((CHAT,)) + "grüß dich".encode() + b"\xff")
            assert "grüß dich" in (await packet_of(guest, CHAT)).data[1:].decode()
            guest.put_packet(b"\xee?")  # what it does not know, it ignores
            await game.leave()
            await running
        assert "Ada: help" in lines

    asyncio.run(story())


def test_the_page_and_all_that_it_needs_are_in_the_package() -> None:
    pages = read_pages()
    assert pages["/"].body == pages["/index.html"].body
    for name in ("style.css", "page.js", "mesh.js", "signaling.js", "icon.svg"):
        assert f"/{name}" in pages
    everything = b"".join(page.body for page in pages.values())
    assert b"https://" not in everything  # no outside asset
    assert pages["/page.js"].content_type == "text/javascript; charset=utf-8"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")
def test_the_server_logs_json_lines_and_stops_when_told() -> None:
    with program("signaling", "--port", "0", "--json") as process:
        assert process.stderr is not None
        started = json.loads(process.stderr.readline())
        assert started["event"] == "listening"
        with urllib.request.urlopen(started["url"].replace("ws:", "http:") + "/healthz") as answer:
            assert answer.read() == b"ok\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        events = [json.loads(line)["event"] for line in process.stderr]
        assert events == ["stopping", "stopped"]


def test_play_says_where_and_the_bot_is_there() -> None:
    with program("play", "--port", "0", "--name", "Ferris") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        page, _, lobby = url.partition("/#")
        with urllib.request.urlopen(page) as answer:
            assert b"<title>rtcstack play</title>" in answer.read()

        async def visit() -> Packet:
            async with await join(page.replace("http:", "ws:"), lobby) as guest:
                return await packet_of(guest, HELLO)

        assert asyncio.run(visit()).data[1:] == b"Ferris"


def test_a_ping_from_somebody_who_leaves_at_once_does_not_end_the_bot() -> None:
    async def ping(guest: LobbyPeer) -> Packet:
        await packet_of(guest, HELLO)  # now we are among those whom the bot can answer
        guest.put_packet(bytes((PING,)) + b"12345678")
        return await packet_of(guest, PONG)

    async def story() -> None:
        async with Server(ServerOptions(port=0)) as server, await join(server.url) as game:
            running = asyncio.create_task(Bot(game, "Ferris", lambda line: None).run())
            for _ in range(2):
                guest = await join(server.url, game.lobby)
                guest.put_packet(bytes((PING,)) + b"12345678")
                await guest.leave()
            async with await join(server.url, game.lobby) as guest:
                answer = asyncio.create_task(ping(guest))
                await asyncio.wait({running, answer}, return_when=asyncio.FIRST_COMPLETED)
                assert not running.done()
                assert answer.result().data[1:] == b"12345678"
            await game.leave()
            await running

    asyncio.run(story())


def test_what_the_bot_hears_cannot_command_the_terminal() -> None:
    async def story() -> None:
        lines: list[str] = []
        async with (
            Server(ServerOptions(port=0)) as server,
            await join(server.url) as game,
            await join(server.url, game.lobby) as guest,
        ):
            running = asyncio.create_task(Bot(game, "Ferris", lines.append).run())
            guest.put_packet(bytes((HELLO,)) + b"\x1b]0;Eve\x07")
            guest.put_packet(bytes((CHAT,)) + b"\x1b[2Jgone\r\n")
            await packet_of(guest, CHAT)
            await game.leave()
            await running
        assert any("gone" in line for line in lines)
        assert all(line.isprintable() for line in lines)

    asyncio.run(story())


def test_a_package_that_is_missing_is_named_with_the_way_to_install_it() -> None:
    program = """
import sys
from rtcstack.tools.cli import main

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
for Missing.name, arguments in (("websockets", ["play"]), ("redis", ["signaling", "--redis", "redis://"])):
    try:
        main(arguments)
    except SystemExit as error:
        print(error.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "2"]
    assert "a cluster needs the package redis: pip install 'rtcstack[signaling,redis]'\n" in done.stderr
    assert "signaling needs the package websockets: pip install 'rtcstack[signaling]'\n" in done.stderr


def test_a_port_in_use_and_a_bad_url_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with program("signaling", "--port", port) as process:
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot serve" in errors
    with pytest.raises(SystemExit):
        main(["signaling", "--redis", "nonsense"])
    assert "--redis nonsense" in capsys.readouterr().err
