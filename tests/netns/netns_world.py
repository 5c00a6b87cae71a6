r"""Two hosts behind NATs of their own and a TURN server between them, as network namespaces.

    left --- left-nat --+             +-- right-nat --- right        .2 hosts, .1 NATs inside
       \                +--- core ----+                              203.0.113.1, .2, .3 the NATs outside
        +--- spare-nat -+      |                                     203.0.113.10 coturn
                             server

Everything has a name with this process's number in it, and goes with the world, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

PEER = Path(__file__).with_name("netns_peer.py")
SERVER = "203.0.113.10"
UPSTREAM = "203.0.113.254"
"""Takes what goes to other networks, and forwards nothing: without a route coturn gives clients up."""
SECOND = "203.0.113.11"
"""The server's other address, by which it tells what a NAT does (RFC 5780)."""
NATS = {
    "left-nat": ("203.0.113.1", "10.1.0"),
    "right-nat": ("203.0.113.2", "10.2.0"),
    "spare-nat": ("203.0.113.3", "10.3.0"),
}
TURN = {"username": "me", "credential": "secret"}
STUN_ONLY = [{"urls": f"stun:{SERVER}"}]
BY_UDP = [{"urls": f"turn:{SERVER}", **TURN}]
BY_TCP = [{"urls": f"turn:{SERVER}?transport=tcp", **TURN}]

RULES = """
table ip nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade {flag}
    }}
}}
table ip filter {{
    chain input {{
        type filter hook input priority filter;
        iifname "wan" drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        {extra}
        ct state established,related accept
        iifname != "wan" accept
    }}
}}
"""
"""A home router. What comes uninvited is dropped before it leaves a trace in connection tracking, which would
otherwise take the port that the host inside is about to use."""

_numbers = itertools.count()


class Peer:
    """One peer in a namespace."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.events: list[dict[str, Any]] = []
        self.other: Peer | None = None
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._unread = b""

    def do(self, what: str, **details: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **details}).encode() + b"\n")
        self._process.stdin.flush()

    def fileno(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read(self) -> None:
        """Take the events that have come; descriptions and candidates go to the other side."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.fileno(), 1 << 16)
            assert data, f"{self.name} has ended: {self.events[-5:]}"
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                event = json.loads(line)
                self.events.append(event)
                if self.other is not None and event["event"] in ("description", "candidate"):
                    self.other.do(event.pop("event"), **event)
                    event["event"] = "signaled"

    def told(self, event: str, **details: Any) -> bool:
        """Whether an event with these details has come."""
        return any(each["event"] == event and details.items() <= each.items() for each in self.events)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class World:
    """The namespaces, the server and the peers.

    left, right     how a NAT chooses ports: "" keeps the host's, "random" and "fully-random" do not.
    has_spare       whether the left host has a second way out.
    """

    def __init__(self, folder: Path, *, left: str = "", right: str = "", has_spare: bool = False) -> None:
        self._prefix = f"rtc{os.getpid()}-{next(_numbers)}-"
        self._undo = contextlib.ExitStack()
        self._peers: list[Peer] = []
        for tool in ("ip", "nft", "turnserver"):
            assert shutil.which(tool), f"these tests need {tool}: iproute2, nftables and coturn (Debian)"
        try:
            self._build({"left-nat": left, "right-nat": right}, has_spare=has_spare)
            self._start_server(folder)
        except BaseException:
            self._undo.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._undo.close()

    # -- building ----------------------------------------------------------------------------------

    def run(self, name: str, *command: str, given: str | None = None) -> str:
        """Run a command in a namespace; returns what it says."""
        done = subprocess.run(
            ["ip", "netns", "exec", self._prefix + name, *command],
            input=given,
            text=True,
            check=True,
            capture_output=True,
            timeout=20,
        )
        return done.stdout

    def _add(self, name: str) -> None:
        subprocess.run(["ip", "netns", "add", self._prefix + name], check=True, timeout=20)
        self._undo.callback(
            subprocess.run, ["ip", "netns", "del", self._prefix + name], check=False, timeout=20
        )
        self.run(name, "ip", "link", "set", "lo", "up")

    def _join(self, one: str, its: str, other: str, others: str) -> None:
        """Lay a cable between two namespaces; interface names at both ends."""
        pair = ["type", "veth", "peer", "name", others, "netns", self._prefix + other]
        self.run(one, "ip", "link", "add", its, *pair)
        self.run(one, "ip", "link", "set", its, "up")
        self.run(other, "ip", "link", "set", others, "up")

    def _build(self, flags: dict[str, str], *, has_spare: bool) -> None:
        for name in ("core", "server", "left", "right"):
            self._add(name)
        self.run("core", "ip", "link", "add", "switch", "type", "bridge")
        self.run("core", "ip", "link", "set", "switch", "up")
        self.run("core", "ip", "address", "add", f"{UPSTREAM}/24", "dev", "switch")
        self._plug("server", SERVER)
        self.run("server", "ip", "address", "add", f"{SECOND}/24", "dev", "wan")
        nats = ["left-nat", "right-nat", *(["spare-nat"] if has_spare else [])]
        for nat in nats:
            outside, inside = NATS[nat]
            host = "right" if nat == "right-nat" else "left"
            self._add(nat)
            self._plug(nat, outside)
            self._join(nat, "lan", host, nat)
            self.run(nat, "ip", "address", "add", f"{inside}.1/24", "dev", "lan")
            self.run(nat, "sysctl", "-qw", "net.ipv4.ip_forward=1")
            self.set_rules(nat, flags.get(nat, ""))
            self.run(host, "ip", "address", "add", f"{inside}.2/24", "dev", nat)
            metric = "200" if nat == "spare-nat" else "100"
            self.run(
                host, "ip", "route", "add", "default", "via", f"{inside}.1", "dev", nat, "metric", metric
            )
            # What a socket sends from an address leaves by the interface of that address.
            table = str(10 + list(NATS).index(nat))
            self.run(host, "ip", "route", "add", "default", "via", f"{inside}.1", "dev", nat, "table", table)
            self.run(host, "ip", "rule", "add", "from", f"{inside}.2", "table", table)

    def _plug(self, name: str, address: str) -> None:
        self._join(name, "wan", "core", name)
        self.run("core", "ip", "link", "set", name, "master", "switch")
        self.run(name, "ip", "address", "add", f"{address}/24", "dev", "wan")
        self.run(name, "ip", "route", "add", "default", "via", UPSTREAM)

    def set_rules(self, nat: str, flag: str = "", extra: str = "") -> None:
        """Give a NAT its rules anew; connections that it knows go on.

        extra   rules before those that let anything through.
        """
        self.run(nat, "nft", "-f", "-", given="flush ruleset\n" + RULES.format(flag=flag, extra=extra))

    def cut(self, nat: str) -> None:
        """Pull the cable between a NAT and its host, at the NAT: the host's address stays."""
        self.run(nat, "ip", "link", "set", "lan", "down")

    # -- who lives there ---------------------------------------------------------------------------

    def _start_server(self, folder: Path) -> None:
        command = ["ip", "netns", "exec", self._prefix + "server", "turnserver", "-n", "--no-cli", "--no-tls"]
        command += ["--no-dtls", "--lt-cred-mech", "--user=me:secret", "--realm=example.org"]
        command += [
            f"--listening-ip={SERVER}",
            f"--listening-ip={SECOND}",
            f"--relay-ip={SERVER}",
            "--log-file=stdout",
            "--simple-log",
        ]
        command += [f"--userdb={folder}/turndb", f"--pidfile={folder}/pid"]
        with (folder / "turn.log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._undo.callback(server.wait)
        self._undo.callback(server.kill)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.run("server", "bash", "-c", f"exec 3<>/dev/tcp/{SERVER}/3478")
                return
        raise AssertionError("coturn does not answer")

    def add_peer(self, name: str, servers: list[dict[str, str]]) -> Peer:
        """Start a peer on a host."""
        configuration = json.dumps({"iceServers": servers})
        command = ["ip", "netns", "exec", self._prefix + name, sys.executable, str(PEER), configuration]
        peer = Peer(name, command)
        self._peers.append(peer)
        self._undo.callback(peer.stop)
        return peer

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> bool:
        """Let things happen until they have; False if time is out first."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            for peer in select.select(self._peers, [], [], left)[0]:
                peer.read()
        return True

    def call(
        self, servers: list[dict[str, str]], right_servers: list[dict[str, str]] | None = None
    ) -> tuple[Peer, Peer]:
        """Connect a peer on the left with one on the right, and exchange messages."""
        left = self.add_peer("left", servers)
        right = self.add_peer("right", servers if right_servers is None else right_servers)
        left.other, right.other = right, left
        left.do("offer")
        assert self.until(lambda: left.told("opened") and right.told("opened")), self.report(left, right)
        self.exchange(left, right, "hello")
        return left, right

    def exchange(self, left: Peer, right: Peer, text: str, seconds: float = 30.0) -> None:
        """Send a message each way."""
        left.do("send", text=f"{text} from left")
        right.do("send", text=f"{text} from right")
        arrived = self.until(
            lambda: (
                left.told("message", text=f"{text} from right")
                and right.told("message", text=f"{text} from left")
            ),
            seconds,
        )
        assert arrived, self.report(left, right)

    def path(self, peer: Peer) -> tuple[str, str]:
        """Tell the types of both ends of the path that a peer uses."""
        peer.events = [each for each in peer.events if each["event"] != "path"]
        peer.do("path")
        assert self.until(lambda: peer.told("path"))
        local, remote = peer.events[-1]["types"]
        return local, remote

    def report(self, *peers: Peer) -> str:
        """Let peers explain themselves."""
        for peer in peers:
            peer.do("explain")
        self.until(lambda: all(peer.told("explained") for peer in peers), 5.0)
        texts = [each["text"] for peer in peers for each in peer.events if each["event"] == "explained"]
        return "\n".join(texts)
