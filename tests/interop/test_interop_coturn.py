"""Real relays: coturn on loopback, over UDP, TCP and TLS."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rtcstack.stun import Address
from rtcstack.turn import (
    Allocated,
    BindingClient,
    Client,
    Closed,
    Failed,
    Mapped,
    PeerRefused,
    State,
)

pytestmark = pytest.mark.interop

ARGUMENTS = {"username": "me", "password": "secret", "random_bytes": os.urandom}


def free_port(ip: str = "127.0.0.1") -> int:
    """Return a port that is free for TCP and, most likely, for UDP."""
    with socket.socket() as probe:
        probe.bind((ip, 0))
        return int(probe.getsockname()[1])


class Coturn:
    """One turnserver process on 127.0.0.1 and ::1."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, self.tls_port = free_port(), free_port()
        certify = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"
        files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
        subprocess.run([*certify.split(), *files], check=True, capture_output=True)
        path = shutil.which("turnserver")
        assert path, "these tests need coturn (Debian's package)"
        self._command = [path, "-n", "--no-cli", "--no-dtls", "--allow-loopback-peers", "--lt-cred-mech"]
        self._command += ["--user=me:secret", "--realm=example.org", "--log-file=stdout", "--simple-log"]
        self._command += [f"--listening-ip={ip}" for ip in ("127.0.0.1", "::1")]
        self._command += [f"--relay-ip={ip}" for ip in ("127.0.0.1", "::1")]
        self._command += [f"--listening-port={self.port}", f"--tls-listening-port={self.tls_port}"]
        self._command += [f"--cert={folder}/cert.pem", f"--pkey={folder}/key.pem"]
        self._command += [f"--userdb={folder}/turndb", f"--pidfile={folder}/pid", *options]
        self._log = folder / "log"
        self.start()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        with Binding(("127.0.0.1", self.port)) as binding:
            binding.run(lambda: bool(binding.events))
            assert isinstance(binding.events[0], Mapped)
        assert self._process.poll() is None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Driver:
    """Drives one client with one real socket, and plain UDP sockets as its peers."""

    def __init__(self, client: Client | BindingClient, connection: socket.socket) -> None:
        self.client = client
        self.events: list[Any] = []
        self.received: list[tuple[Address, bytes]] = []
        self.echoing: list[socket.socket] = []
        self._socket = connection
        self._unsent = b""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *details: object) -> None:
        for each in (self._socket, *self.echoing):
            each.close()

    def add_echo(self, ip: str = "127.0.0.1") -> Address:
        """Open a peer that sends everything back."""
        peer = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind((ip, 0))
        self.echoing.append(peer)
        address = peer.getsockname()
        return str(address[0]), int(address[1])

    def run(self, until: Callable[[], bool], limit: float = 10.0) -> None:
        """Let things happen until they have."""
        end = time.monotonic() + limit
        while not until():
            now = time.monotonic()
            assert now < end, f"not reached within {limit} s: {self.events}, {self.client.drops}"
            if self.client.deadline <= now:
                self.client.handle_timeout(now)
            self._send(self.client.take_packets(now))
            self.events += self.client.take_events()
            if until():
                return
            wait = max(0.0, min(self.client.deadline, end, now + 0.5) - now)
            pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
            readable, _, _ = select.select([self._socket, *self.echoing], [], [], 0 if pending else wait)
            for peer in self.echoing:
                if peer in readable:
                    data, source = peer.recvfrom(65536)
                    peer.sendto(data, source)
            if self._socket in readable or pending:
                self._receive()

    def _send(self, packets: list[bytes]) -> None:
        if self._socket.type == socket.SOCK_DGRAM:
            for data in packets:
                self._socket.send(data)
        elif packets:
            self._socket.sendall(b"".join(packets))

    def _receive(self) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = self._socket.recv(65536)
        if data:
            self.client.receive([data], time.monotonic())
        elif isinstance(self.client, Client) and self._socket.type == socket.SOCK_STREAM:
            self.client.connection_lost("the server has closed the connection")
        self.events += self.client.take_events()
        if isinstance(self.client, Client):
            for peer, datagrams in self.client.take_data():
                self.received += [(peer, each) for each in datagrams]


class Binding(Driver):
    """A STUN client at work."""

    def __init__(self, server: Address) -> None:
        connection = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        connection.connect(server)
        self.address = connection.getsockname()[:2]
        client = BindingClient(server=server, random_bytes=os.urandom)
        client.start(time.monotonic())
        super().__init__(client, connection)


class Relay(Driver):
    """A TURN client at work: asked for its relay, and waiting for what comes of it."""

    client: Client

    def __init__(
        self, coturn: Coturn, transport: str = "udp", *, ip: str = "127.0.0.1", **changes: Any
    ) -> None:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        server = ip, coturn.tls_port if transport == "tls" else coturn.port
        connection = socket.socket(family, kind)
        connection.connect(server)
        if transport == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(connection)
        super().__init__(self.make_client(server, transport, **changes), connection)
        self.run(lambda: bool(self.events))

    def make_client(self, server: Address, transport: str, **changes: Any) -> Client:
        client = Client(
            server=server, transport="udp" if transport == "udp" else "stream", **ARGUMENTS | changes
        )
        client.start(time.monotonic())
        return client

    def echo(self, peer: Address, count: int = 1) -> None:
        """Send datagrams to a peer that sends them back."""
        sent = [b"%d " % number + bytes(number % 1100) for number in range(count)]
        for at in range(0, count, 20):
            self.received.clear()
            self.client.send(peer, sent[at : at + 20])
            self.run(lambda at=at: len(self.received) == len(sent[at : at + 20]))  # type: ignore[misc]
            assert self.received == [(peer, data) for data in sent[at : at + 20]]


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    server = Coturn(tmp_path_factory.mktemp("coturn"))
    yield server
    server.stop()


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_coturn_tells_our_address(coturn: Coturn, ip: str) -> None:
    with Binding((ip, coturn.port)) as binding:
        binding.run(lambda: bool(binding.events))
        assert binding.events == [Mapped(binding.address)]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize(("ip", "family"), [("127.0.0.1", 4), ("::1", 6), ("127.0.0.1", 6)])
def test_coturn_relays(coturn: Coturn, transport: str, ip: str, family: int) -> None:
    """Indications first, then a channel; both ways, over every transport and between the families."""
    with Relay(coturn, transport, ip=ip, family=family) as relay:
        (event,) = relay.events
        assert isinstance(event, Allocated)
        assert event.lifetime == 600
        peer = relay.add_echo("::1" if family == 6 else "127.0.0.1")
        relay.echo(peer)
        assert relay.client.stats.send_indications == relay.client.stats.data_indications == 1
        relay.client.bind_channel(peer)
        relay.run(lambda: relay.client.is_bound(peer))
        relay.echo(peer, 200)
        stats = relay.client.stats
        assert (stats.datagrams_sent, stats.datagrams_received) == (201, 201)
        assert stats.send_indications == stats.data_indications == 1
        relay.client.close()
        relay.run(lambda: len(relay.events) == 2)
        assert relay.events[1] == Closed()
        assert set(vars_of(relay.client.drops)) == {0}


def vars_of(counters: Any) -> list[int]:
    return [getattr(counters, name) for name in counters.__slots__]


@pytest.mark.parametrize("transport", ["udp", "tls"])
@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"username": "you"}, {"username": ""}])
def test_coturn_refuses_wrong_credentials(coturn: Coturn, transport: str, changes: dict[str, str]) -> None:
    with Relay(coturn, transport, **changes) as relay:
        (event,) = relay.events
        assert isinstance(event, Failed)
        assert event.code == 401


def test_coturn_knows_our_port_already(coturn: Coturn) -> None:
    """437: a second allocation from the same port."""
    with Relay(coturn) as relay:
        relay.client = relay.make_client(relay.client.server, "udp")
        relay.run(lambda: len(relay.events) == 2)
        assert isinstance(relay.events[1], Failed)
        assert relay.events[1].code == 437


def test_coturn_refuses_a_peer_that_it_must_not_reach(coturn: Coturn) -> None:
    """403 for a peer that its administrator forbids: coturn's own 0.0.0.0/8."""
    with Relay(coturn) as relay:
        relay.client.permit("0.0.0.1")
        relay.run(lambda: len(relay.events) == 2)
        assert isinstance(relay.events[1], PeerRefused)
        assert relay.events[1].code == 403


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_stale_nonces_of_coturn_are_renewed(tmp_path: Path, transport: str) -> None:
    server = Coturn(tmp_path, "--stale-nonce=2")
    try:
        with Relay(server, transport) as relay:
            peers = [relay.add_echo() for _ in range(3)]
            for peer in peers:
                relay.client.bind_channel(peer)
                relay.echo(peer, 40)
                pause = time.monotonic() + 3
                relay.run(lambda pause=pause: time.monotonic() > pause)  # type: ignore[misc]
            assert relay.client.stats.stale_nonces >= 2
            assert relay.client.state is State.ALLOCATED
            assert len(relay.events) == 1
    finally:
        server.stop()


def test_the_quota_of_coturn_is_told_and_a_relay_given_back_is_free(tmp_path: Path) -> None:
    server = Coturn(tmp_path, "--user-quota=1")
    try:
        with Relay(server) as first, Relay(server) as second:
            assert isinstance(first.events[0], Allocated)
            assert isinstance(second.events[0], Failed)
            assert second.events[0].code == 486
            first.client.close()
            first.run(lambda: len(first.events) == 2)
        # coturn takes a moment to count again.
        end = time.monotonic() + 10
        codes = [486]
        while codes[-1] == 486 and time.monotonic() < end:
            with Relay(server) as third:
                codes.append(getattr(third.events[0], "code", 0))
                pause = time.monotonic() + 0.2
                third.run(lambda pause=pause: time.monotonic() > pause)  # type: ignore[misc]
        assert codes[-1] == 0
    finally:
        server.stop()


def test_a_restart_of_coturn_is_noticed(tmp_path: Path) -> None:
    server = Coturn(tmp_path)
    try:
        with Relay(server) as over_udp, Relay(server, "tcp") as over_tcp:
            server.stop()
            server.start()
            over_udp.client.permit("127.0.0.1")
            over_udp.run(lambda: over_udp.client.state is State.FAILED)
            assert over_udp.events[-1].code == 437
            over_tcp.run(lambda: len(over_tcp.events) == 2)
            assert over_tcp.events[1].reason == "the server has closed the connection"
    finally:
        server.stop()


def test_a_redirection_of_coturn_is_followed(tmp_path: Path, coturn: Coturn) -> None:
    """RFC 8489 §10."""
    server = Coturn(tmp_path, f"--alternate-server=127.0.0.1:{coturn.port}")
    try:
        with Relay(server) as relay:
            (event,) = relay.events
            assert event.address == ("127.0.0.1", coturn.port)
        with Relay(coturn, redirected=True) as relay:
            assert isinstance(relay.events[0], Allocated)
    finally:
        server.stop()
