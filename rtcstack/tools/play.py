"""Starts a signaling server, the web page and a bot in one lobby, and says where to find them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
import time
from urllib.parse import urlencode

from rtcstack.net.interfaces import usable_interfaces
from rtcstack.tools import signaling

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server, and the bot's name."""
    parser.add_argument("--name", default="Python", help="the bot's name")
    signaling.add_arguments(parser)


def run(chosen: argparse.Namespace) -> int:
    """Play until Ctrl-C or SIGTERM; returns the exit code."""
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        return asyncio.run(_play(chosen))
    return 0


async def _play(chosen: argparse.Namespace) -> int:
    from rtcstack.signaling import Server, join
    from rtcstack.tools.bot import Bot

    server = Server(signaling.read_options(chosen), signaling.read_broker(chosen.redis))
    try:
        await server.start()
    except OSError as error:
        print(f"cannot serve: {error}", file=sys.stderr)
        return 1
    playing = asyncio.current_task()
    if playing is not None:
        # Windows has none of them: there Ctrl-C ends the loop.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    tokens = server.options.tokens[:1]
    query = "?" + urlencode({"token": tokens[0]}) if tokens else ""
    try:
        async with await join(server.url + "/" + query, tls=_trust_ourselves(chosen.tls_cert)) as game:
            for host in _hosts(chosen.host):
                scheme = "https" if chosen.tls_cert else "http"
                print(f"open {scheme}://{host}:{server.port}/{query}#{game.lobby}", flush=True)
            await Bot(game, chosen.name, lambda line: print(line, flush=True)).run()
    finally:
        await server.stop()
    return 0


def _trust_ourselves(certificate: str) -> ssl.SSLContext | None:
    """Take the certificate of the server in this process without asking for which name it was made."""
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _hosts(host: str) -> list[str]:
    """List the names under which the page can be opened: this machine's addresses if it listens on all."""
    if host not in ("0.0.0.0", "::"):
        return [f"[{host}]" if ":" in host else host]
    found = [
        interface.address for interface in usable_interfaces(time.monotonic()) if ":" not in interface.address
    ]
    return ["127.0.0.1", *found]
