"""The log: layers, tags, levels from the environment, addresses hidden."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from peer_support import Two

from rtcstack.log import Log, redact


def test_every_line_of_a_connection_has_its_tag(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "rtcstack"):
        two = Two().connected()
        two.a.abort()
    layers = {record.name for record in caplog.records}
    assert {"rtcstack.ice", "rtcstack.sctp", "rtcstack.session"} <= layers
    tags = {record.connection for record in caplog.records}
    assert len(tags) == 2
    assert all(record.getMessage().startswith(f"[{record.connection}] ") for record in caplog.records)


def test_messages_are_not_logged_at_all(caplog: pytest.LogCaptureFixture) -> None:
    two = Two().connected()
    with caplog.at_level(logging.DEBUG, "rtcstack"):
        for i in range(100):
            two.chat_a.put_packet(bytes([i]))
        assert two.run(lambda: two.chat_b.get_available_packet_count() == 100)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("host 10.1.2.3:5000 -> [2001:db8::1]:6000", ["host ", ":5000 -> [", "]:6000"]),
        ("fe80::1 and ::1", [" and "]),
        ("at 12:30:05, version 1.2.3, sha-256 AB:CD:EF:01:23:45:67:89:AB:CD", []),
    ],
)
def test_addresses_become_hashes_and_nothing_else_does(text: str, kept: list[str]) -> None:
    hidden = redact(text)
    assert redact(text) == hidden  # the same for the same
    for address in ("10.1.2.3", "2001:db8::1", "fe80::1"):
        assert address not in hidden
    assert all(part in hidden for part in kept)
    if not kept:
        assert hidden == text


def test_redaction_reaches_the_arguments(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log("ice", "#9")
    with caplog.at_level(logging.INFO, "rtcstack"):
        log.info("heard of %s", "192.0.2.1")
        monkeypatch.setenv("RTCSTACK_REDACT", "1")
        log.info("heard of %s", "192.0.2.1")
        log.debug("not wanted")
    plain, hidden = (record.getMessage() for record in caplog.records)
    assert plain == "[#9] heard of 192.0.2.1"
    assert hidden.startswith("[#9] heard of ip-")


def run(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from peer_support import Two\n"
        "from rtcstack import PeerConnection, poll\n"
        "two = Two().connected()\n"
        "two.a.abort()\n"
    )
    paths = ":".join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": paths, **environment},
    )


def test_the_environment_turns_on_the_log_and_the_key_log(tmp_path: Path) -> None:
    keys = tmp_path / "keys.log"
    done = run(
        tmp_path, RTCSTACK_LOG="warning,ice=debug,x=loud", RTCSTACK_REDACT="1", SSLKEYLOGFILE=str(keys)
    )
    lines = done.stderr.splitlines()
    assert any("rtcstack.ice [#1] ICE" in line for line in lines)
    assert not any("rtcstack.sctp" in line for line in lines)
    assert any("'x=loud' is no level" in line for line in lines)
    assert any("SSLKEYLOGFILE is set" in line for line in lines)
    assert "10." not in done.stderr
    assert {line.split()[0] for line in keys.read_text().splitlines()} == {"CLIENT_RANDOM"}
