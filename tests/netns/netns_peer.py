"""One peer of the namespace tests: told what to do in lines of JSON, it tells what happens."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import rtcstack

CHAT = {"id": 1, "negotiated": True}


def tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def obey(peer: rtcstack.PeerConnection, chat: rtcstack.DataChannel, order: dict[str, Any]) -> bool:
    match order["do"]:
        case "offer":
            peer.create_offer()
        case "restart":
            peer.restart_ice()
        case "description":
            peer.set_remote_description(order["type"], order["sdp"])
        case "candidate":
            peer.add_ice_candidate(order["media"], order["index"], order["name"])
        case "send":
            chat.put_packet(order["text"].encode())
        case "explain":
            tell(event="explained", text=peer.explain())
        case "path":
            pair = peer.get_stats().selected_pair
            tell(event="path", types=None if pair is None else [pair.local_type, pair.remote_type])
        case "quit":
            peer.close()
            return False
    return True


def main() -> None:
    peer = rtcstack.PeerConnection(json.loads(sys.argv[1]))
    peer.session_description_created.connect(lambda kind, sdp: tell(event="description", type=kind, sdp=sdp))
    peer.ice_candidate_created.connect(
        lambda media, index, name: tell(event="candidate", media=media, index=index, name=name)
    )
    peer.connection_state_changed.connect(lambda state: tell(event="state", state=state.name))
    peer.selected_pair_changed.connect(lambda local, remote: tell(event="pair", local=local, remote=remote))
    peer.ice_candidate_error.connect(
        lambda url, code, why: tell(event="error", url=url, code=code, reason=why)
    )
    chat = peer.create_data_channel("chat", CHAT)
    chat.opened.connect(lambda: tell(event="opened"))
    os.set_blocking(sys.stdin.fileno(), False)
    unread = b""
    goes_on = True
    while goes_on:
        peer.poll(0.01)
        while chat.get_available_packet_count():
            tell(event="message", text=chat.get_packet().decode())
        try:
            data = os.read(sys.stdin.fileno(), 1 << 16)
        except BlockingIOError:
            continue
        goes_on = bool(data)  # whoever started us is gone
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            goes_on = goes_on and obey(peer, chat, json.loads(line))
    for _ in range(50):
        peer.poll(0.01)


if __name__ == "__main__":
    main()
