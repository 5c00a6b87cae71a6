"""The minimal connection of Godot's WebRTC page, with its time, its path and its cipher."""

from __future__ import annotations

import time

from rtcstack import DataChannel, PeerConnection, poll

__all__ = ["run"]

_PATIENCE = 10.0
"""Seconds for all of it; on one machine it takes some milliseconds."""


def run() -> int:
    """Connect P1 and P2, let them greet each other, print what arrives; 0 if both greetings did."""
    started = time.perf_counter()
    p1, p2 = PeerConnection(), PeerConnection()
    ch1 = p1.create_data_channel("chat", {"id": 1, "negotiated": True})
    ch2 = p2.create_data_channel("chat", {"id": 1, "negotiated": True})

    p1.session_description_created.connect(p1.set_local_description)
    p1.session_description_created.connect(p2.set_remote_description)
    p1.ice_candidate_created.connect(p2.add_ice_candidate)
    p2.session_description_created.connect(p2.set_local_description)
    p2.session_description_created.connect(p1.set_remote_description)
    p2.ice_candidate_created.connect(p1.add_ice_candidate)

    p1.create_offer()
    until = started + _PATIENCE
    while time.perf_counter() < until and not (_is_open(ch1) and _is_open(ch2)):
        poll((p1, p2), 0.1)
    seconds = time.perf_counter() - started
    greeted = (
        _is_open(ch1)
        and _is_open(ch2)
        and _greet("P1", ch1, "P2", ch2, (p1, p2), until)
        and _greet("P2", ch2, "P1", ch1, (p1, p2), until)
    )
    if greeted:
        stats = p1.get_stats()
        print(f"open after {seconds * 1000:.1f} ms, {stats.selected_pair}, {stats.transport.tls_version}")
    else:
        for name, peer in (("P1", p1), ("P2", p2)):
            reason = peer.get_failure_reason() or "nothing went wrong, it only took too long"
            print(f"{name} is {peer.get_connection_state().name}: {reason}")
    p1.close()
    p2.close()
    while p1.get_connection_state() != p1.STATE_CLOSED or p2.get_connection_state() != p2.STATE_CLOSED:
        poll((p1, p2), 0.1)
    return 0 if greeted else 1


def _is_open(channel: DataChannel) -> bool:
    return channel.get_ready_state() == channel.STATE_OPEN


def _greet(
    name: str,
    channel: DataChannel,
    other_name: str,
    other: DataChannel,
    peers: tuple[PeerConnection, ...],
    until: float,
) -> bool:
    channel.put_packet(f"Hi from {name}".encode())
    while time.perf_counter() < until:
        poll(peers, 0.1)
        if other.get_available_packet_count():
            print(f"{other_name} received: {other.get_packet().decode()}")
            return True
    return False
