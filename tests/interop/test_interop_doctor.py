"""The doctor before a real server that speaks RFC 5780: coturn on two addresses of loopback."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from rtcstack.tools.doctor import examine, read_servers
from rtcstack.tools.doctor_checks import Finding

pytestmark = pytest.mark.interop


def free_ports() -> int:
    """Return a port that is free on both addresses, and the next one with it."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            for ip, number in (("127.0.0.2", port), ("127.0.0.1", port + 1), ("127.0.0.2", port + 1)):
                stack.enter_context(socket.socket()).bind((ip, number))
            return port


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("coturn")
    path = shutil.which("turnserver")
    assert path, "these tests need coturn (Debian's package)"
    port = free_ports()
    command = [path, "-n", "--no-cli", "--no-tls", "--no-dtls", "--lt-cred-mech", "--user=me:secret"]
    command += ["--realm=example.org", "--allow-loopback-peers", "--log-file=stdout"]
    command += ["--listening-ip=127.0.0.1", "--listening-ip=127.0.0.2", "--relay-ip=127.0.0.1"]
    command += [f"--listening-port={port}", f"--alt-listening-port={port + 1}"]
    command += [f"--userdb={folder}/turndb", f"--pidfile={folder}/pid"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
    yield port
    process.kill()
    process.wait()


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_everything_can_be_told_with_coturn(port: int) -> None:
    """RFC 5780 §4: nothing is between us and the server, so nothing is mapped and nothing is filtered."""
    server = f"127.0.0.1:{port}"
    servers = read_servers(
        [f"stun:{server}"], [f"turn:{server}", f"turn:{server}?transport=tcp"], "me", "secret"
    )
    findings = by_name(examine(servers))
    for each in servers:
        assert findings[str(each.url)].status == "ok", findings[str(each.url)]
    assert findings["NAT mapping"].data["mapping"] == "none"
    assert findings["NAT filtering"].data == {"filtering": "endpoint-independent"}
    assert findings["hairpinning"].data == {"hairpinning": True}
    assert findings["path MTU"].data["mtu"] >= 1280


def test_coturn_refuses_a_wrong_password(port: int) -> None:
    (server,) = read_servers([], [f"turn:127.0.0.1:{port}"], "me", "guess")
    finding = by_name(examine([server]))[str(server.url)]
    assert (finding.status, finding.data["code"]) == ("wrong", 401)
