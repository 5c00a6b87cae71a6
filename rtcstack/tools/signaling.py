"""Runs the signaling server until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import importlib.resources
import json
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from rtcstack.errors import InvalidParameter
from rtcstack.signaling.limits import Limits

if TYPE_CHECKING:
    from rtcstack.signaling.broker import Broker
    from rtcstack.signaling.server import Page, Server, ServerOptions

__all__ = ["add_arguments", "read_broker", "read_options", "read_pages", "run", "set_up_log"]

_LIMITS = {
    "max_peers": "WebSocket connections at once",
    "max_lobbies": "lobbies at once",
    "max_members": "members of one lobby",
    "join_timeout": "seconds from the connection to its JOIN",
    "seal_timeout": "seconds from a lobby's seal to its end",
    "resume_timeout": "seconds that the seat of a lost client of ours is kept",
    "max_message_size": "bytes of a message",
    "peer_messages": "messages a second of one peer in the long run",
    "peer_burst": "messages of one peer at once",
    "peer_bytes": "bytes a second of one peer in the long run",
    "address_peers": "connections at once of one address",
    "address_connections": "new connections a second of one address in the long run",
}

_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server to a command."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 or :: for all of a family"
    )
    parser.add_argument("--port", type=int, default=9080)
    parser.add_argument("--redis", metavar="URL", default="", help="make one cluster of several servers")
    parser.add_argument("--tls-cert", metavar="FILE", default="", help="speak TLS only; SIGHUP reads it anew")
    parser.add_argument(
        "--tls-key", metavar="FILE", default="", help="if it is not in the certificate's file"
    )
    parser.add_argument("--origins", nargs="+", metavar="URL", default=[], help="pages that may connect")
    parser.add_argument(
        "--token", action="append", default=[], help="ask for it; may be repeated; also RTCSTACK_TOKEN"
    )
    parser.add_argument(
        "--trusted-proxies", nargs="+", metavar="NETWORK", default=[], help="believe their X-Forwarded-For"
    )
    parser.add_argument("--no-page", action="store_true", help="serve no web page")
    parser.add_argument("--json", action="store_true", help="log JSON lines")
    parser.add_argument("--verbose", action="store_true", help="log each peer that goes, too")
    for limit in dataclasses.fields(Limits):
        default = getattr(Limits(), limit.name)
        parser.add_argument(
            "--" + limit.name.replace("_", "-"),
            type=type(default),
            metavar="N",
            default=default,
            help=f"{_LIMITS[limit.name]} ({default})",
        )


def read_options(chosen: argparse.Namespace) -> ServerOptions:
    """Make a server's options of a command's."""
    from rtcstack.signaling import ServerOptions

    tokens = [*chosen.token, *filter(None, [os.environ.get("RTCSTACK_TOKEN")])]
    return ServerOptions(
        host=chosen.host,
        port=chosen.port,
        tls_cert=chosen.tls_cert,
        tls_key=chosen.tls_key,
        limits=Limits(**{limit.name: getattr(chosen, limit.name) for limit in dataclasses.fields(Limits)}),
        origins=tuple(chosen.origins),
        tokens=tuple(tokens),
        trusted_proxies=tuple(chosen.trusted_proxies),
        pages={} if chosen.no_page else read_pages(),
    )


def read_broker(url: str) -> Broker | None:
    """Make the broker that a URL names; none of no URL.

    Raises:
        InvalidParameter: the URL cannot be read.
    """
    if not url:
        return None
    from rtcstack.signaling import RedisBroker

    try:
        return RedisBroker(url)
    except ValueError as error:
        raise InvalidParameter(f"--redis {url}: {error}") from None


def read_pages() -> dict[str, Page]:
    """Read the web page and what it needs; "/" is index.html."""
    from rtcstack.signaling import Page

    pages = {}
    for file in importlib.resources.files("rtcstack.tools").joinpath("web").iterdir():
        content_type = _TYPES.get(os.path.splitext(file.name)[1])
        if content_type is not None:
            pages["/" + file.name] = Page(f"{content_type}; charset=utf-8", file.read_bytes())
    pages["/"] = pages["/index.html"]
    return pages


def run(chosen: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    from rtcstack.signaling import Server

    set_up_log(as_json=chosen.json, is_verbose=chosen.verbose)
    return asyncio.run(_serve(Server(read_options(chosen), read_broker(chosen.redis))))


def set_up_log(*, as_json: bool, is_verbose: bool) -> None:
    """Let the server's logger write to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logger = logging.getLogger("rtcstack.signaling")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if is_verbose else logging.INFO)


async def _serve(server: Server) -> int:
    loop = asyncio.get_running_loop()
    is_over = asyncio.Event()
    # Windows has none of them: there Ctrl-C ends the loop.
    with contextlib.suppress(NotImplementedError, AttributeError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, is_over.set)
        loop.add_signal_handler(signal.SIGHUP, _reload, server)
    try:
        await server.start()
    except OSError as error:
        print(f"cannot serve: {error}", file=sys.stderr)
        return 1
    await is_over.wait()
    await server.stop()
    return 0


def _reload(server: Server) -> None:
    try:
        server.reload_certificate()
    except InvalidParameter as error:
        logging.getLogger("rtcstack.signaling").error("%s", error, extra={"event": "certificate"})


class _JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message, and the fields that a record brings."""

    _USUAL = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{name: value for name, value in record.__dict__.items() if name not in self._USUAL},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)
