"""How much of the direct throughput is left where one end goes through coturn on this machine?"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from processes import Result, run_pair
from stream import receive_ours, send_ours

SIZE = 16384
RELAYED = ("udp", "tcp")
LOOPBACK = {"bind_addresses": ["127.0.0.1"]}


class Coturn:
    """A turnserver on loopback; `cpu()` is what it has used, seconds."""

    def __init__(self) -> None:
        path = shutil.which("turnserver")
        if path is None:
            raise SystemExit("coturn is missing: apt-get install coturn")
        self._folder = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        command = [
            path,
            "-n",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--allow-loopback-peers",
            "--lt-cred-mech",
        ]
        command += ["--user=me:secret", "--realm=example.org", "--log-file=stdout", "--simple-log"]
        command += ["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={self.port}"]
        command += [f"--userdb={self._folder.name}/turndb", f"--pidfile={self._folder.name}/pid"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.0)

    def cpu(self) -> float:
        """Tell the CPU time of all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def send(pipe: Connection, seconds: float, url: str, offload: bool) -> Result:
    """Send through the relay at `url`; directly if it is empty."""
    server = {"urls": url, "username": "me", "credential": "secret"}
    relayed = {"iceServers": [server], "iceTransportPolicy": "relay"}
    return send_ours(pipe, seconds, SIZE, {}, {**LOOPBACK, **(relayed if url else {}), "offload": offload})


def receive(pipe: Connection, seconds: float, url: str, offload: bool) -> Result:
    """Receive from wherever it comes."""
    return receive_ours(pipe, seconds, SIZE, {}, {**LOOPBACK, "offload": offload})


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Take turns: direct, direct with a call for each datagram as coturn makes, by UDP, by TCP.

    Returns medians by way.
    """
    coturn = Coturn()
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ("direct", "one by one", *RELAYED)}
    try:
        for _ in range(rounds):
            for way, values in runs.items():
                url = "" if way not in RELAYED else f"turn:127.0.0.1:{coturn.port}?transport={way}"
                before, start = coturn.cpu(), time.perf_counter()
                sent, received = run_pair(send, receive, seconds, url, way != "one by one")
                megabytes = received["count"] * SIZE / 1e6
                values.append(
                    {
                        "mb_per_s": received["per_second"] * SIZE / 1e6,
                        "ends_cpu_s_per_mb": (sent["cpu"] + received["cpu"]) / megabytes,
                        "coturn_cpu_s_per_mb": (coturn.cpu() - before) / megabytes,
                        "coturn_cores": (coturn.cpu() - before) / (time.perf_counter() - start),
                    }
                )
    finally:
        coturn.stop()
    figures: dict[str, Any] = {
        way: {name: statistics.median(value[name] for value in values) for name in values[0]}
        for way, values in runs.items()
    }
    for way in ("one by one", *RELAYED):
        figures[way]["of_direct_percent"] = figures[way]["mb_per_s"] / figures["direct"]["mb_per_s"] * 100
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.seconds, arguments.rounds), indent=1))


if __name__ == "__main__":
    main()
