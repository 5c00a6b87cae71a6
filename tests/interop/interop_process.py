"""A real peer in a process of its own, driven by JSON lines.

One process serves every connection of its kind, told apart by `pc`.  Commands go to its standard input:

    {"do": "create", "pc": "1"}
    {"do": "channel", "pc": "1", "channel": "a", "label": "chat", "options": {W3C's RTCDataChannelInit}}
    {"do": "media", "pc": "1"}                                        the offer will have audio and video
    {"do": "offer", "pc": "1"}
    {"do": "restart", "pc": "1"}                                      an offer that restarts ICE
    {"do": "remote", "pc": "1", "type": "offer", "sdp": "..."}        an offer is answered at once
    {"do": "candidate", "pc": "1", "mid": "0", "index": 0, "candidate": "candidate:..."}
    {"do": "send", "pc": "1", "channel": "a", "messages": [["text", "Hi"], ["binary", "<base64>"]]}
    {"do": "close_channel", "pc": "1", "channel": "a"}
    {"do": "close", "pc": "1"}

and events come back on its standard output:

    {"on": "ready"}                                                   once, commands may come
    {"on": "description", "pc": "1", "type": "offer", "sdp": "..."}
    {"on": "candidate", "pc": "1", "mid": "0", "index": 0, "candidate": "..."}
    {"on": "gathered", "pc": "1"}
    {"on": "state", "pc": "1", "state": W3C's RTCPeerConnectionState}
    {"on": "channel", "pc": "1", "channel": "incoming-0", "label": ..., "protocol": ..., "id": ...,
     "ordered": ..., "negotiated": ..., "maxRetransmits": ..., "maxPacketLifeTime": ...}
    {"on": "open", "pc": "1", "channel": "a", "id": 0}
    {"on": "message", "pc": "1", "channel": "a", "kind": "text" | "binary", "data": "..."}
    {"on": "closed", "pc": "1", "channel": "a"}
    {"on": "note", "pc": "1", "note": "..."}                          for the reader of a failure
    {"on": "error", "pc": "1", "error": "..."}                        a command failed
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START_TIMEOUT = 60.0
"""Seconds a browser may take to start on a busy machine."""

Event = dict[str, Any]


class PeerMissingError(Exception):
    """A peer is not installed; the text says how to install it.  Never a reason to skip."""


def _aiortc() -> list[str]:
    if importlib.util.find_spec("aiortc") is None:
        raise PeerMissingError("aiortc is missing: pip install -e '.[interop]'")
    return [sys.executable, str(HERE / "peers" / "aiortc_peer.py")]


def _node(package: str, program: str) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise PeerMissingError("Node.js is missing: apt-get install -y nodejs npm")
    if not (HERE / "node_modules" / package).is_dir():
        raise PeerMissingError(f"{package} is missing: npm ci --prefix tests/interop")
    return [node, str(HERE / "peers" / program)]


def _chromium(*flags: str) -> list[str]:
    executable = shutil.which("chromium")
    if executable is None:
        raise PeerMissingError("Chromium is missing: apt-get install -y chromium")
    if importlib.util.find_spec("playwright") is None:
        raise PeerMissingError("playwright is missing: pip install -e '.[interop]'")
    return [sys.executable, str(HERE / "peers" / "chromium_peer.py"), executable, *flags]


COMMANDS: dict[str, Callable[[], list[str]]] = {
    "aiortc": _aiortc,
    "libdatachannel": lambda: _node("node-datachannel", "libdatachannel_peer.mjs"),
    "werift": lambda: _node("werift", "werift_peer.mjs"),
    # As users have it: host candidates hide behind names that only multicast DNS resolves.
    "chromium": _chromium,
    "chromium-addresses": lambda: _chromium("--disable-features=WebRtcHideLocalIpsWithMdns"),
}
"""Name of a peer -> the command that runs it."""


def _descendants(pid: int) -> list[int]:
    """The process, and all that it has started, directly or not."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (name) state ppid ...": the name may hold anything.
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


class PeerProcess:
    """A running peer program: commands in, events out, an inbox for each connection."""

    def __init__(self, name: str) -> None:
        command = COMMANDS[name]()
        self.name = name
        self._inboxes: dict[str, queue.SimpleQueue[Event]] = defaultdict(queue.SimpleQueue)
        self._ready = threading.Event()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (stop() closes it)
        # A group of its own, so that stop() reaches the browser behind the program.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"{name}-reader", daemon=True)
        self._reader.start()
        if not self._ready.wait(START_TIMEOUT) or not self.is_running:
            log = self.log()
            self.stop()
            raise PeerMissingError(f"{name} did not start ({' '.join(command)}):\n{log}")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        """The end of what the program wrote to its standard error."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), 4000, max(0, size - 4000)).decode(errors="replace")

    def command(self, do: str, pc: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, "pc": pc, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(f"{self.name} has died:\n{self.log()}") from None

    def take_event(self, pc: str, timeout: float) -> Event | None:
        """The next event of one connection, or None after `timeout` seconds (0: at once)."""
        try:
            return self._inboxes[pc].get(timeout > 0, timeout)
        except queue.Empty:
            return None

    def kill(self) -> None:
        """End the program and all that it has started, so that nobody can say goodbye."""
        for pid in _descendants(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.stdin.close()
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if event["on"] == "ready":
                self._ready.set()
            else:
                self._inboxes[event["pc"]].put(event)
        self._ready.set()
