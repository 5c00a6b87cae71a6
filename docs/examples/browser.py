"""A page in the browser talks to this program: HTTP brings the offer and the answer, then it is peer to peer.

python browser.py               # and open http://127.0.0.1:8080
"""

from __future__ import annotations

import argparse
import asyncio
import http.server
import threading
from pathlib import Path

from rtcstack import RTCError, aio

PAGE = Path(__file__).with_name("browser.html")

LONGEST = 65_536
"""Bytes of the longest offer that is read."""


async def talk(peer: aio.PeerConnection) -> None:
    """Echo what comes over any channel of a connection, until it ends."""

    async def echo(channel: aio.DataChannel) -> None:
        async for message in channel:
            print(f"browser: {message}", flush=True)
            await channel.send(f"Python heard: {message}")

    async with peer, asyncio.TaskGroup() as channels:
        async for channel in peer.channels():
            channels.create_task(echo(channel))


class Calls:
    """Answers offers on an event loop; the web server asks from its own threads."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._talks: set[asyncio.Task[None]] = set()

    def answer(self, offer: str) -> str:
        """Answer an offer, from any thread."""
        return asyncio.run_coroutine_threadsafe(self._answer(offer), self._loop).result(timeout=10)

    async def _answer(self, offer: str) -> str:
        peer = aio.PeerConnection()
        try:
            answer = await peer.answer(offer, trickle=False)
        except RTCError:
            peer.abort()
            raise
        task = asyncio.create_task(talk(peer))
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        return answer.sdp


def web_server(port: int, calls: Calls) -> http.server.ThreadingHTTPServer:
    """Make the server of the page and of its one question."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/"
            self._reply(200 if found else 404, "text/html", PAGE.read_bytes() if found else b"")

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            if self.path != "/offer" or not 0 < size <= LONGEST:
                self._reply(400, "text/plain", b"POST an offer to /offer")
                return
            try:
                answer = calls.answer(self.rfile.read(size).decode())
            except (RTCError, UnicodeDecodeError) as error:
                self._reply(400, "text/plain", str(error).encode())
            else:
                self._reply(200, "application/sdp", answer.encode())

        def _reply(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)


async def main() -> None:
    """Serve the page until the program is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    server = web_server(parser.parse_args().port, Calls())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"open http://127.0.0.1:{server.server_address[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
