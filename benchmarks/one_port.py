"""What do a thousand peers on one UDP port cost a server: set-up, memory, and CPU while nobody speaks?"""

from __future__ import annotations

import argparse
import json
import resource
import time
from multiprocessing.connection import Connection
from typing import Any

from pairs import resident_kb
from processes import Result, run_pair

import rtcstack

LOOPBACK = ["127.0.0.1"]
CHAT = {"negotiated": True, "id": 1}
AT_ONCE = 16
"""Set-ups under way at a time, as a crowd that arrives: each waits for signaling, not for the others."""
SETTLE = 6.0
"""Seconds until everybody has sent its first consent checks and path probes."""


def serve(pipe: Connection, count: int, seconds: float) -> Result:
    """Answer `count` peers, then let them idle, polled in two ways."""
    mux = rtcstack.UdpMux(bind_addresses=LOOPBACK, buffer_size=8 << 20)
    before = resident_kb()
    peers: list[rtcstack.PeerConnection] = []
    opened: list[object] = []
    wall, cpu = time.perf_counter(), time.process_time()
    while len(opened) < count:
        while pipe.poll():
            number, sdp = pipe.recv()
            peer = rtcstack.PeerConnection({"udp_mux": mux})
            peer.create_data_channel("chat", CHAT).opened.connect(lambda: opened.append(None))
            peer.set_remote_description("offer", sdp)
            peer.poll()
            pipe.send((number, peer.get_local_description()))
            peers.append(peer)
        rtcstack.poll(peers, 0.002)
    result = {
        "set_up_cpu_ms": (time.process_time() - cpu) / count * 1e3,
        "set_ups_per_second": count / (time.perf_counter() - wall),
        "kb_per_peer": (resident_kb() - before) / count,
    }
    idle(peers, SETTLE, 1.0)
    result["idle_waiting_cpu_percent"] = idle(peers, seconds, 1.0)
    result["idle_60_hz_cpu_percent"] = idle(peers, seconds, 1 / 60)
    states = [peer.get_connection_state() for peer in peers]
    result["still_connected"] = states.count(rtcstack.PeerConnection.STATE_CONNECTED)
    result["drops"] = str(mux.drops)
    result["receive_buffer"] = mux.stats.receive_buffer
    pipe.send(None)
    mux.close()
    return result


def idle(peers: list[rtcstack.PeerConnection], seconds: float, timeout: float) -> float:
    """Poll for some seconds, waiting `timeout` each time. Returns CPU, percent of a core."""
    until, cpu = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < until:
        rtcstack.poll(peers, timeout)
    return (time.process_time() - cpu) / seconds * 100


def call(pipe: Connection, count: int, seconds: float) -> Result:
    """Call the server `count` times, and keep the connections until it has measured; not counted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 200)), hard))
    peers: list[rtcstack.PeerConnection] = []
    waiting: dict[int, rtcstack.PeerConnection] = {}
    opened: list[object] = []
    while True:
        while len(peers) < count and len(peers) - len(opened) < AT_ONCE:
            peer = rtcstack.PeerConnection({"bind_addresses": LOOPBACK})
            peer.create_data_channel("chat", CHAT).opened.connect(lambda: opened.append(None))
            peer.create_offer()
            peer.poll()
            waiting[len(peers)] = peer
            pipe.send((len(peers), peer.get_local_description()))
            peers.append(peer)
        rtcstack.poll(peers, 0.002 if len(opened) < count else 0.5)
        while pipe.poll():
            answer: Any = pipe.recv()
            if answer is None:
                return {}
            waiting.pop(answer[0]).set_remote_description("answer", answer[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to idle, each way")
    arguments = parser.parse_args()
    result, _ = run_pair(serve, call, arguments.peers, arguments.seconds)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
