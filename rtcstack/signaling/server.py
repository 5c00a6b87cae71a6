"""The signaling server: rooms behind WebSockets, with pages, metrics and a broker beside them."""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import itertools
import logging
import math
import os
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rtcstack.errors import InvalidParameter
from rtcstack.signaling.broker import Broker
from rtcstack.signaling.limits import AddressLimits, Limits
from rtcstack.signaling.lobbies import Close
from rtcstack.signaling.metrics import write_metrics
from rtcstack.signaling.rooms import Rooms

__all__ = ["Page", "Server", "ServerOptions"]

logger = logging.getLogger("rtcstack.signaling")

_MOST_UNSENT = 1_000_000
"""Bytes that may wait for a peer that does not read; with more it is cut off."""

_CLOSE_TIMEOUT = 3.0
"""Seconds for a peer to answer a close frame before its connection is cut."""

_LOST = frozenset({None, 1006, 1011})
"""Close codes of connections that nobody wanted to end."""

_NO_STORE = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers to a browser that asks for no WebSocket."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server is reached, and whom it lets in."""

    host: str = "127.0.0.1"
    """Address to listen on; "0.0.0.0" for all of IPv4, "::" for all of IPv6, "" for both."""
    port: int = 9080
    """0 takes a free one."""
    tls_cert: str = ""
    """File with the certificate chain, PEM; with it the server speaks wss:// and https:// only."""
    tls_key: str = ""
    """File with the private key, PEM; "" if it is in the certificate's file."""
    limits: Limits = field(default_factory=Limits)
    origins: tuple[str, ...] = ()
    """Origins whose pages may connect, beside our own page and programs that send none; () allows all."""
    tokens: tuple[str, ...] = ()
    """Any of these must come with a connection, as `?token=` or as a bearer; () asks for none."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies whose X-Forwarded-For names the peer's address."""
    handshake_timeout: float = 5.0
    """Seconds for TLS, and again for the HTTP request."""
    ping_interval: float = 10.0
    """Seconds between pings; a peer that answers none for that long again is lost.  Node's server: 10."""
    pages: Mapping[str, Page] = field(default_factory=dict)
    """What plain HTTP requests get, by path; /metrics and /healthz are our own."""


class Server:
    """A signaling server in an asyncio event loop.

        async with Server(ServerOptions(port=9080)) as server:
            await server.wait_closed()

    broker  makes one cluster of several servers; without one this server stands alone.

    `rooms`, `addresses` and `refused` hold what is counted.

    Raises:
        InvalidParameter: an option is not allowed, or a certificate cannot be read.
    """

    def __init__(self, options: ServerOptions | None = None, broker: Broker | None = None) -> None:
        self.options = options = ServerOptions() if options is None else options
        self.rooms = Rooms(options.limits, os.urandom, is_clustered=broker is not None)
        self.refused: Counter[str] = Counter()
        self._broker = broker
        self.addresses = AddressLimits(options.limits)
        self._proxies = _read_networks(options.trusted_proxies)
        self._tls = _read_certificate(options.tls_cert, options.tls_key) if options.tls_cert else None
        self._numbers = itertools.count(1)
        self._open: dict[int, ServerConnection] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._is_pumping = False
        self._is_stopping = False
        self._server: WebSocketServer | None = None
        self._port = options.port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is in use or not ours; or the broker cannot be reached.
        """
        self._loop = asyncio.get_running_loop()
        if self._broker is not None:
            await self._broker.start(self._hear, self._broker_back)
        options = self.options

        class Guest(_Guest):
            house = self

        self._server = await serve(
            self._serve,
            options.host,
            options.port,
            ssl=self._tls,
            ssl_handshake_timeout=options.handshake_timeout if self._tls else None,
            process_request=self._admit,
            create_connection=Guest,
            compression=None,
            server_header=None,
            open_timeout=options.handshake_timeout,
            close_timeout=_CLOSE_TIMEOUT,
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_interval,
            max_size=options.limits.max_message_size,
            logger=_QUIET,
        )
        self._port = int(next(iter(self._server.sockets)).getsockname()[1])
        logger.info("listening on %s", self.url, extra={"event": "listening", "url": self.url})

    async def stop(self) -> None:
        """Stop listening, tell every peer with close code 1001, and wait until all are gone."""
        if self._server is None or self._is_stopping:
            return
        self._is_stopping = True
        logger.info("stopping with %d peers", self.rooms.peer_count, extra={"event": "stopping"})
        self.rooms.close_all(Close(1001, "Server is shutting down"), self._loop.time())
        self._pump()
        self._server.close(code=1001, reason="Server is shutting down")
        await self._server.wait_closed()
        if self._timer is not None:
            self._timer.cancel()
        if self._broker is not None:
            await self._broker.stop()
        logger.info("stopped", extra={"event": "stopped"})

    async def wait_closed(self) -> None:
        """Wait until somebody calls stop()."""
        if self._server is not None:
            await self._server.wait_closed()

    def reload_certificate(self) -> None:
        """Read the certificate and its key anew; connections from now on get it.

        Raises:
            InvalidParameter: they cannot be read; the old ones stay.
        """
        if self._tls is not None:
            _read_certificate(self.options.tls_cert, self.options.tls_key)
            self._tls.load_cert_chain(self.options.tls_cert, self.options.tls_key or None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The port that the server listens on, also after the end; before the start what was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients on this machine connect to."""
        host = self.options.host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
        host = f"[{host}]" if ":" in host else host
        return f"{'wss' if self._tls else 'ws'}://{host}:{self.port}"

    def connections(self) -> list[ServerConnection]:
        """List the WebSockets that are open."""
        return list(self._open.values())

    # -- letting in --------------------------------------------------------------------------------

    def is_proxy(self, address: str) -> bool:
        """Tell whether connections from this address are a trusted proxy's."""
        return bool(self._proxies) and any(ipaddress.ip_address(address) in it for it in self._proxies)

    def enter(self, address: str) -> bool:
        """Count a connection of this address; False if it has too many."""
        if self.addresses.enter(address, self._loop.time()):
            return True
        self.refused["address"] += 1
        logger.info("too many from %s", address, extra={"event": "refused", "address": address})
        return False

    def leave(self, address: str) -> None:
        """Count a connection of this address out again."""
        self.addresses.leave(address)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request: None lets the WebSocket open."""
        try:
            return self._judge(cast(_Guest, connection), request)
        except (ValueError, MultipleValuesError):
            return _answer(http.HTTPStatus.BAD_REQUEST, "The path or a header cannot be read\n")

    def _judge(self, guest: _Guest, request: Request) -> Response | None:
        url = urlsplit(request.path)
        if guest.is_proxied:
            forwarded = ",".join(request.headers.get_all("X-Forwarded-For"))
            if not guest.enter(forwarded.rpartition(",")[2].strip() or guest.address):
                return _answer(http.HTTPStatus.TOO_MANY_REQUESTS, "Too many connections\n")
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            return self._show(url.path)
        if not self._knows_token(url.query, request.headers):
            self.refused["token"] += 1
            return _answer(http.HTTPStatus.UNAUTHORIZED, "A valid token is needed\n")
        if not self._likes_origin(request.headers):
            self.refused["origin"] += 1
            return _answer(http.HTTPStatus.FORBIDDEN, "This origin is not allowed\n")
        return None

    def _knows_token(self, query: str, headers: Headers) -> bool:
        if not self.options.tokens:
            return True
        given = parse_qs(query).get("token", [""])[0] or headers.get("Authorization", "").removeprefix(
            "Bearer "
        )
        return any(hmac.compare_digest(given.encode(), token.encode()) for token in self.options.tokens)

    def _likes_origin(self, headers: Headers) -> bool:
        origin = headers.get("Origin")
        if origin is None or not self.options.origins or origin in self.options.origins:
            return True
        return urlsplit(origin).netloc == headers.get("Host", "")

    def _show(self, path: str) -> Response:
        """Answer a plain HTTP request."""
        if path == "/healthz":
            if self._is_stopping or (self._broker is not None and not self._broker.is_connected):
                return _answer(http.HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
            return _answer(http.HTTPStatus.OK, "ok\n")
        if path == "/metrics":
            text = write_metrics(self.rooms, self.refused)
            return _answer(http.HTTPStatus.OK, text, "text/plain; version=0.0.4; charset=utf-8")
        page = self.options.pages.get(path)
        if page is None:
            return _answer(http.HTTPStatus.NOT_FOUND, "Not found\n")
        return _answer(http.HTTPStatus.OK, page.body, page.content_type)

    # -- serving -----------------------------------------------------------------------------------

    async def _serve(self, connection: ServerConnection) -> None:
        """Bring what one peer sends to the rooms, until it goes."""
        number = next(self._numbers)
        self._open[number] = connection
        rooms, time = self.rooms, self._loop.time
        rooms.connect(number, time())
        self._pump()
        try:
            while True:
                rooms.receive(number, await connection.recv(), time())
                self._pump()
        except ConnectionClosed:
            pass
        except Exception:
            logger.exception("peer %d met a defect of the server", number, extra={"event": "defect"})
            raise
        finally:
            del self._open[number]
            rooms.disconnect(number, time(), is_final=connection.close_code not in _LOST)
            self._pump()
            logger.debug(
                "peer %d has gone: %s %s",
                number,
                connection.close_code,
                connection.close_reason,
                extra={"event": "gone", "peer": number, "code": connection.close_code},
            )

    def _pump(self) -> None:
        """Carry out what the rooms ask for, and wake up when they want the clock."""
        rooms = self.rooms
        now = self._loop.time()
        self._send(rooms.take_output())
        opened, closed = rooms.take_changes()
        for name in opened:
            logger.info("lobby %s opened", name, extra={"event": "lobby opened", "lobby": name})
        for name in closed:
            logger.info("lobby %s closed", name, extra={"event": "lobby closed", "lobby": name})
        if self._broker is not None:
            self._broker.change(opened, closed)
            for name in rooms.take_lookups():
                self._spawn(self._look_up(self._broker, name))
            for server, frame in rooms.take_frames(now):
                self._broker.publish(server, frame)
            # Taking frames may have found a server dead, and its peers' friends are to be told.
            self._send(rooms.take_output())
        self._rearm(now)

    def _send(self, output: list[tuple[int, Any]]) -> None:
        for number, said in output:
            connection = self._open.get(number)
            if connection is None:
                continue
            if isinstance(said, Close):
                logger.info(
                    "peer %d is closed: %d %s",
                    number,
                    said.code,
                    said.reason,
                    extra={"event": "close", "peer": number, "code": said.code, "reason": said.reason},
                )
                self._spawn(connection.close(said.code, said.reason))
                continue
            broadcast((connection,), said if isinstance(said, str) else said.write())
            if connection.transport.get_write_buffer_size() > _MOST_UNSENT:
                self.refused["slow"] += 1
                connection.transport.abort()

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _rearm(self, now: float) -> None:
        """Move the timer only if it would be late."""
        deadline = self.rooms.deadline
        if deadline >= self._timer_at or deadline == math.inf:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(deadline - now, 0.0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self.rooms.handle_timeout(self._loop.time())
        self._pump()

    # -- the broker --------------------------------------------------------------------------------

    async def _look_up(self, broker: Broker, name: str) -> None:
        try:
            server = await broker.find(name)
        except OSError as error:
            logger.warning("no answer from the broker: %s", error, extra={"event": "broker failed"})
            self.rooms.lookup_failed(name, self._loop.time())
        else:
            self.rooms.found(name, server, self._loop.time())
        self._pump()

    def _hear(self, server: str, frame: str) -> None:
        self.rooms.receive_frame(server, frame, self._loop.time())
        self._pump()

    def _broker_back(self) -> None:
        logger.warning("the broker is back", extra={"event": "broker back"})
        self.rooms.broker_back(self._loop.time())
        self._pump()


class _Guest(ServerConnection):
    """A TCP connection to the server, counted by its address before it has said a word."""

    house: Server
    address = ""
    is_proxied = False
    _entered: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.address = str(transport.get_extra_info("peername")[0])
        self.is_proxied = self.house.is_proxy(self.address)
        if not self.is_proxied and not self.enter(self.address):
            self.transport.write(
                b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.transport.close()

    def enter(self, address: str) -> bool:
        """Count this connection for that address; False if there are too many."""
        if not self.house.enter(address):
            return False
        self._entered = address
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._entered is not None:
            self.house.leave(self._entered)
        super().connection_lost(exc)


_QUIET = logging.getLogger("rtcstack.signaling.websockets")
_QUIET.setLevel(logging.CRITICAL)
"""What the library says of handshakes that fail is the network's noise."""


def _answer(
    status: http.HTTPStatus, body: str | bytes, content_type: str = "text/plain; charset=utf-8"
) -> Response:
    data = body.encode() if isinstance(body, str) else body
    headers = Headers(
        {
            "Connection": "close",
            "Content-Length": str(len(data)),
            "Content-Type": content_type,
            **_NO_STORE,
        }
    )
    return Response(status.value, status.phrase, headers, data)


def _read_networks(texts: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(text) for text in texts]
    except ValueError as error:
        raise InvalidParameter(
            f"trusted proxies are addresses or networks like 10.0.0.0/8: {error}"
        ) from None


def _read_certificate(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(
            f"the certificate {certificate} or its key {key or 'in the same file'} cannot be used: {error}"
        ) from None
    return context
