"""Connects an rtcstack peer with the one in the other process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from rtcstack import DataChannel, PeerConnection

DEADLINE = 20.0

AT_MOST_1200 = {"path_mtu_discovery": False}
"""Datagrams as on an Internet path, so that the large packets of loopback flatter nobody."""


def connect(
    pipe: Connection,
    offers: bool,
    options: Mapping[str, Any],
    configuration: Mapping[str, Any] | None = None,
    *,
    background: bool = False,
) -> tuple[PeerConnection, DataChannel]:
    """Connect through the pipe, candidates trickling.

    offers          whether this side makes the offer.
    options         of the channel, which both sides create with the same id.
    configuration   of the connection.
    background      whether a thread does its I/O.
    Returns the connection and its open channel.
    """
    peer = PeerConnection({**AT_MOST_1200, **(configuration or {})}, background=background)
    peer.session_description_created.connect(lambda *description: pipe.send(("description", description)))
    peer.ice_candidate_created.connect(lambda *candidate: pipe.send(("candidate", candidate)))
    channel = peer.create_data_channel("benchmark", {"negotiated": True, "id": 1, **options})
    if offers:
        peer.create_offer()
    until = time.monotonic() + DEADLINE
    is_open = other_is_open = False
    while not (is_open and other_is_open):
        while pipe.poll():
            kind, arguments = pipe.recv()
            if kind == "open":
                other_is_open = True
            elif kind == "description":
                peer.set_remote_description(*arguments)
            else:
                peer.add_ice_candidate(*arguments)
        peer.poll(0.002)
        if not is_open and channel.get_ready_state() == DataChannel.STATE_OPEN:
            is_open = True
            pipe.send(("open", ()))
        if time.monotonic() > until:
            raise TimeoutError(f"not connected: {peer.get_failure_reason() or peer}")
    return peer, channel
