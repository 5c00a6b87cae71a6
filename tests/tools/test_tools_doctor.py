"""The doctor, with servers on loopback made of our own STUN."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rtcstack import InvalidParameter, stun
from rtcstack.stun import Address
from rtcstack.testing.servers import TurnServer
from rtcstack.tools import doctor, doctor_checks
from rtcstack.tools.cli import main
from rtcstack.tools.doctor import examine, read_servers
from rtcstack.tools.doctor_checks import Finding, check_nat, check_path_mtu, check_server


class LoopbackServer:
    """Puts a sans-IO STUN and TURN server on a real socket, answered from a thread."""

    def __init__(self, seen_at: Address | None = None, **options: Any) -> None:
        self.server = TurnServer("127.0.0.1", **options)
        if seen_at is not None:
            self.server.tamper = lambda answer: self._moved(answer, seen_at)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.address: Address = self._sock.getsockname()
        self.server.addresses = [self.address]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @staticmethod
    def _moved(answer: stun.Message, seen_at: Address) -> stun.Message:
        attributes = {**answer.attributes, stun.XOR_MAPPED_ADDRESS: seen_at}
        return stun.Message(answer.method, answer.message_class, answer.transaction_id, attributes)

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.address[1]}"

    def _serve(self) -> None:
        while True:
            data, source = self._sock.recvfrom(65536)
            if data == b"stop":
                self._sock.close()
                return
            self.server.receive(self.address, source, [data], time.monotonic())
            for _, remote, datagrams in self.server.take_packets(0.0):
                for datagram in datagrams:
                    self._sock.sendto(datagram, remote)

    def stop(self) -> None:
        """Answer what has come so far, and end."""
        if not self._thread.is_alive():
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", self.address)
        self._thread.join()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    one = LoopbackServer(users={"me": "secret"})
    yield one
    one.stop()


def silent_address() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """Something that never answers."""
    yield from silent_address()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "PATIENCE", 0.4)
    monkeypatch.setattr(doctor_checks, "SERVER_PATIENCE", 0.6)
    monkeypatch.setattr(doctor_checks, "is_installed", lambda: False)  # multicast stays out of these tests


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_servers_that_answer_are_well(server: LoopbackServer) -> None:
    servers = read_servers([f"stun:{server.url}"], [f"turn:{server.url}"], "me", "secret")
    findings = by_name(examine(servers))
    for scheme, word in (("stun", "sees us at 127.0.0.1"), ("turn", "relays at 127.0.0.1")):
        finding = findings[f"{scheme}:{server.url}"]
        assert finding.status == "ok"
        assert finding.text.startswith(word)
        assert finding.data["ms"] >= 0
    assert findings["NAT mapping"].data["mapping"] == "none"
    assert findings["hairpinning"].data == {"hairpinning": True}
    assert findings["NAT filtering"].status == "info"
    assert findings["path MTU"].data["mtu"] == 9000
    assert findings["versions"].data["OpenSSL"][0].isdigit()
    assert findings["mDNS"].status == "warning"
    assert {"interfaces", "offload", "socket buffers"} <= set(findings)
    server.stop()
    assert server.server.allocations == {}


def test_a_wrong_password_is_wrong(server: LoopbackServer) -> None:
    (finding,) = check_server(*read_servers([], [f"turn:{server.url}"], "me", "guess"))
    assert finding.status == "wrong"
    assert finding.data["code"] == 401


def test_servers_that_do_not_answer_are_wrong(silent: str) -> None:
    """And what depends on them is unknown, not wrong."""
    servers = read_servers(
        [f"stun:{silent}", "stun:nobody.invalid"], [f"turn:{silent}?transport=tcp"], "", ""
    )
    findings = by_name(examine(servers))
    assert [findings[str(each.url)].status for each in servers] == ["wrong"] * 3
    assert findings["NAT"].status == "warning"
    assert findings["path MTU"].status == "info"


@pytest.mark.parametrize(
    ("second", "mapping"),
    [(("192.0.2.9", 7000), "endpoint-independent"), (("192.0.2.9", 7001), "address-and-port-dependent")],
)
def test_two_servers_tell_the_mapping(second: Address, mapping: str) -> None:
    """RFC 4787 §4.1."""
    servers = [LoopbackServer(("192.0.2.9", 7000)), LoopbackServer(second)]
    try:
        finding = by_name(check_nat([each.address for each in servers]))["NAT mapping"]
        assert finding.data["mapping"] == mapping
    finally:
        for each in servers:
            each.stop()


def test_one_server_tells_that_there_is_a_nat_and_no_more() -> None:
    server = LoopbackServer(("192.0.2.9", 7000))
    try:
        findings = by_name(check_nat([server.address]))
        assert "mapping" not in findings["NAT mapping"].data
        assert findings["hairpinning"].data == {"hairpinning": False}
        assert check_path_mtu([server.address])[0].data["mtu"] == 9000
    finally:
        server.stop()


def test_what_takes_too_long_or_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang() -> list[Finding]:
        released.wait()
        return []

    def crash() -> list[Finding]:
        raise OSError("no such thing here")

    monkeypatch.setattr(doctor, "check_sockets", hang)
    monkeypatch.setattr(doctor, "check_interfaces", crash)
    findings = by_name(examine([], limit=0.5))
    released.set()
    assert findings["sockets"] == Finding("sockets", "wrong", "not finished within 0.5 s")
    assert findings["interfaces"].status == "wrong"
    assert "no such thing here" in findings["interfaces"].text


def test_the_command_line(server: LoopbackServer, silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "Give --stun" in capsys.readouterr().out
    assert main(["doctor", "--stun", f"stun:{server.url}", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {"name", "status", "text", "data"} == set(report["findings"][0])
    assert main(["doctor", "--stun", f"stun:{silent}"]) == 1
    assert "WRONG" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--stun", "http://x"], ["--nonsense"], ["--turn", "turn:a:0"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *arguments])
    assert caught.value.code == 2


def test_credentials_in_a_url_count_first() -> None:
    one, other = read_servers([], ["turn:you:own@example.org", "turn:example.org"], "me", "secret")
    assert (one.username, one.password) == ("you", "own")
    assert (other.username, other.password) == ("me", "secret")
    with pytest.raises(InvalidParameter):
        read_servers(["ftp:example.org:1:2"], [], "", "")
