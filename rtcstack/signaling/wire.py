"""WebSockets in a background event loop: what comes is taken, what goes is queued, nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

__all__ = ["Wire"]

_OPEN_TIMEOUT = 8.0
"""Seconds for DNS, TCP, TLS and the handshake."""

_PING_INTERVAL = 10.0
"""Seconds between pings; a server that answers none for as long again is lost."""

_LARGEST_MESSAGE = 262_144
"""Bytes of a message that a server may send."""

_MOST_UNTAKEN = 256
"""Messages that may wait to be taken; with more the server has to wait, too."""


class Wire:
    """One WebSocket; all of a process share one thread.

    url     ws:// or wss://.
    options for websockets.connect(), as `ssl` and `additional_headers`.
    wake    called from the background thread when something has come.

    take() hands over ("opened",), ("text", message) and, last of all, ("closed", code, reason).
    """

    def __init__(self, url: str, options: dict[str, Any], wake: Callable[[], object]) -> None:
        self._url = url
        self._options = options
        self._wake = wake
        self._received: deque[tuple[Any, ...]] = deque()
        self._has_room = asyncio.Event()
        self._loop = _background_loop()
        self._connection: ClientConnection | None = None
        self._task = asyncio.run_coroutine_threadsafe(self._run(), self._loop)

    def take(self) -> list[tuple[Any, ...]]:
        """Hand over what has come, in order."""
        received = []
        while self._received:
            received.append(self._received.popleft())
        if received:
            self._loop.call_soon_threadsafe(self._has_room.set)
        return received

    def send(self, text: str) -> None:
        """Queue a message; it is lost if the connection is."""
        self._loop.call_soon_threadsafe(self._send, text)

    def close(self) -> None:
        """Send what is queued, and close; take() has nothing from now on."""
        self._wake = _do_nothing
        self._loop.call_soon_threadsafe(self._close)

    async def _run(self) -> None:
        try:
            self._connection = await connect(
                self._url,
                open_timeout=_OPEN_TIMEOUT,
                ping_interval=_PING_INTERVAL,
                ping_timeout=_PING_INTERVAL,
                close_timeout=1.0,
                max_size=_LARGEST_MESSAGE,
                # Godot's WebSocketPeer knows no extensions, and messages are small.
                compression=None,
                **self._options,
            )
        except asyncio.CancelledError:
            return
        except Exception as error:
            self._put("closed", *_explain(self._url, error))
            return
        self._put("opened")
        try:
            while True:
                while len(self._received) >= _MOST_UNTAKEN:
                    self._has_room.clear()
                    await self._has_room.wait()
                data = await self._connection.recv()
                if isinstance(data, str):
                    self._put("text", data)
        except ConnectionClosed:
            code = self._connection.close_code
            self._put("closed", 1006 if code is None else code, self._connection.close_reason or "")

    def _put(self, *item: Any) -> None:
        self._received.append(item)
        self._wake()

    def _send(self, text: str) -> None:
        if self._connection is not None and not self._task.done():
            # Each send() begins in the order of its creation, and a message is written in one go.
            _keep(self._loop.create_task(self._send_now(self._connection, text)))

    async def _send_now(self, connection: ClientConnection, text: str) -> None:
        with contextlib.suppress(ConnectionClosed):  # recv() tells.
            await connection.send(text)

    def _close(self) -> None:
        if self._connection is not None:
            _keep(self._loop.create_task(self._connection.close()))
        self._task.cancel()


def _explain(url: str, error: Exception) -> tuple[int, str]:
    """Say why there is no connection: a close code and a sentence."""
    if isinstance(error, InvalidStatus):
        # The server has answered, and does not want us: no use in asking again.
        status = error.response.status_code
        code = 1013 if status in (429, 502, 503, 504) else 1008
        return code, f"{url} answers with HTTP {status} {error.response.reason_phrase}"
    if isinstance(error, (InvalidURI, InvalidHandshake)):
        return 1002, f"{url} is no WebSocket server: {error}"
    if isinstance(error, TimeoutError):
        return 1006, f"{url} does not answer"
    return 1006, f"{url} cannot be reached: {error}"


_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_tasks: set[asyncio.Task[None]] = set()


def _background_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of the thread that all wires share."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="rtcstack signaling", daemon=True).start()
        return _loop


def _keep(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _do_nothing() -> None:
    """Wake nobody."""
