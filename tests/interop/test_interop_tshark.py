"""Wireshark finds the DATA chunks and the text of a message in a capture of two peers on loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from rtcstack import PeerConnection, poll

pytestmark = pytest.mark.interop

TEXT = b"what the DTLS records hide"


def record(path: Path, background: bool) -> None:
    """Let two peers send each other one message each, both written to one file."""
    configuration = {"bind_addresses": ["127.0.0.1"], "interleaving": False}
    peers = [PeerConnection(configuration, capture=str(path), background=background) for _ in range(2)]
    for here, there in (peers, peers[::-1]):
        here.session_description_created.connect(there.set_remote_description)
        here.ice_candidate_created.connect(there.add_ice_candidate)
    chats = [peer.create_data_channel("chat", {"id": 1, "negotiated": True}) for peer in peers]
    peers[0].create_offer()
    end = time.monotonic() + 20
    while not all(chat.get_ready_state() == chat.STATE_OPEN for chat in chats):
        assert time.monotonic() < end, peers[0].explain()
        poll(peers, 1.0)
    for chat in chats:
        chat.put_packet(TEXT)
    while not all(chat.get_available_packet_count() for chat in chats):
        assert time.monotonic() < end
        poll(peers, 1.0)
    for peer in peers:
        peer.abort()


def tshark(path: Path, condition: str) -> list[dict[str, Any]]:
    """Read the packets that a display filter lets through."""
    program = shutil.which("tshark")
    assert program, "this test needs tshark (Debian's package)"
    command = [program, "-r", str(path), "-n", "-Y", condition, "-T", "json", "-x"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


@pytest.mark.parametrize("background", [False, True])
def test_tshark_shows_the_data_chunks(tmp_path: Path, background: bool) -> None:
    path = tmp_path / "peers.pcapng"
    record(path, background)
    packets = tshark(path, "sctp.chunk_type == 0")
    # Each message twice: where it leaves, and where it arrives.
    assert sum(TEXT.hex() in layers["frame_raw"][0] for layers in packets) == 4
    assert {layers["frame"]["frame.encap_type"] for layers in packets} == {"149"}  # SCTP alone
    hidden = tshark(path, "dtls.app_data")
    assert len(hidden) >= len(packets)
    assert not any(TEXT.hex() in layers["frame_raw"][0] for layers in hidden)
    assert tshark(path, "stun.type == 0x0001 && ip.checksum.status != 0 && udp")
    assert not tshark(path, "_ws.malformed")
