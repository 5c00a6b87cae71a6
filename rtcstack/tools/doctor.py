"""`python -m rtcstack doctor`: what this machine and its network do for peer connections."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

from rtcstack.session import Server
from rtcstack.stun import Address
from rtcstack.tools.doctor_checks import (
    Finding,
    check_interfaces,
    check_mdns,
    check_nat,
    check_path_mtu,
    check_server,
    check_sockets,
    check_versions,
    resolve_all,
)
from rtcstack.turn import parse_url

__all__ = ["LIMIT", "examine", "read_servers", "run"]

LIMIT = 7.5
"""Seconds for everything; who has not answered by then is reported as such."""

_MARKS = {"ok": "ok", "info": "-", "warning": "!", "wrong": "WRONG"}


def read_servers(
    stun_urls: Sequence[str], turn_urls: Sequence[str], username: str, credential: str
) -> list[Server]:
    """Make servers of URLs; credentials that stand in a URL count before the given ones.

    Raises:
        InvalidParameter: a URL cannot be read.
    """
    return [
        Server(url, url.username or username, url.password or credential)
        for url in map(parse_url, [*stun_urls, *turn_urls])
    ]


def examine(servers: Sequence[Server], limit: float = LIMIT) -> list[Finding]:
    """Make every check at once.

    limit   seconds after which checks that are not done are given up.
    Returns the findings, in the order of the report.
    """
    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("versions", check_versions),
        ("interfaces", check_interfaces),
        ("sockets", check_sockets),
        ("mDNS", check_mdns),
    ]
    checks += [(str(server.url), partial(check_server, server)) for server in servers]
    udp = [server for server in servers if server.url.transport == "udp"]
    if udp:
        checks += [("NAT", partial(_on_path, check_nat, "NAT", udp))]
        checks += [("path MTU", partial(_on_path, check_path_mtu, "path MTU", udp))]
    results: dict[int, list[Finding]] = {}

    def work(number: int, name: str, check: Callable[[], list[Finding]]) -> None:
        try:
            results[number] = check()
        except Exception as error:  # whatever a strange system brings is a finding
            results[number] = [Finding(name, "wrong", f"the check failed: {error!r}", {"error": repr(error)})]

    # Daemons: a resolver that hangs must not hold the program.
    threads = [
        threading.Thread(target=work, args=(number, name, check), name=f"doctor {name}", daemon=True)
        for number, (name, check) in enumerate(checks)
    ]
    end = time.monotonic() + limit
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = [Finding("", "wrong", f"not finished within {limit:g} s", {})]
    findings: list[Finding] = []
    for number, (name, _) in enumerate(checks):
        findings += [
            finding if finding.name else Finding(name, finding.status, finding.text)
            for finding in results.get(number, late)
        ]
    return findings


def run(servers: Sequence[Server], *, as_json: bool) -> int:
    """Print the report; returns 0 if nothing is wrong, otherwise 1."""
    findings = examine(servers)
    is_fine = all(finding.status != "wrong" for finding in findings)
    if as_json:
        print(json.dumps({"ok": is_fine, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"{_MARKS[finding.status]:5}  {finding.name:{width}}  {finding.text}")
        if not servers:
            print("\nGive --stun and --turn to see what servers and NATs do.")
    return 0 if is_fine else 1


def _on_path(
    check: Callable[[list[Address]], list[Finding]], name: str, servers: Sequence[Server]
) -> list[Finding]:
    addresses = resolve_all(list(servers))
    return check(addresses) if addresses else [Finding(name, "info", "unknown: no server has an address")]
