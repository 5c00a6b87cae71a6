"""Packets of scenes: truncations and garbage raise only WireError; what is written is read back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.errors import WireError
from rtcstack.multiplayer.replication import Spawn, SyncEntry, read_despawn, read_spawn, read_sync
from rtcstack.multiplayer.scene_wire import (
    PathConfirmed,
    read_confirm_path,
    read_number,
    read_remote_call,
    read_simplify_path,
    write_arguments,
    write_confirm_path,
    write_remote_call,
    write_simplify_path,
)
from rtcstack.variant import Vector2, compress

FILE = Path(__file__).parents[1] / "captures" / "godot" / "scene_multiplayer_vectors.json"


def packets(part: Any) -> Iterator[str]:
    """Find every packet of the captures."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ("hex", "sent") and isinstance(value, str) and value[:1].isdigit():
                yield value
            yield from packets(value)
    elif isinstance(part, list):
        for value in part:
            yield from packets(value)


RECORDED = sorted({bytes.fromhex(packet) for packet in packets(json.loads(FILE.read_text(encoding="utf-8")))})
READERS = (
    read_remote_call,
    read_simplify_path,
    read_confirm_path,
    lambda packet: packet,
    lambda packet: read_spawn(1, packet, str),
    lambda packet: read_despawn(1, packet),
    lambda packet: read_sync(1, packet, str),
    lambda packet: read_number(packet, 2, signed=True),
)


def test_there_are_packets_of_every_command():
    assert {packet[0] & 7 for packet in RECORDED} == set(range(8))


@pytest.mark.parametrize("command", range(8))
def test_every_truncation_of_a_recorded_packet_is_read_or_refused(command):
    for packet in RECORDED:
        if packet[0] & 7 == command:
            for size in range(1, len(packet)):
                with contextlib.suppress(WireError):
                    READERS[command](packet[:size])


@settings(max_examples=300)
@given(st.integers(0, 255), st.binary(max_size=60))
def test_garbage_is_read_or_refused(first, rest):
    with contextlib.suppress(WireError):
        READERS[first & 7](bytes([first]) + rest)


@pytest.mark.parametrize("node", [0, 1, 255, 256, 65535, 65536, 2**31 - 1, ".", "Main/Player", "Nöde"])
@pytest.mark.parametrize("method", [0, 255, 256, 0x8000, 0x8001])
@pytest.mark.parametrize("arguments", [[], [b"\1\2"], [b""], [None], [1, "a", Vector2(1, 2)], [b"a", b"b"]])
@pytest.mark.parametrize("is_wide", [False, True])
def test_a_call_is_read_as_it_was_written(node, method, arguments, is_wide):
    call = read_remote_call(write_remote_call(node, method, write_arguments(arguments), is_wide=is_wide))
    assert (call.cache_id if call.path is None else call.path) == node
    assert (call.method_id, call.arguments) == (method, arguments)


def test_paths_and_confirmations_are_read_as_they_were_written():
    assert read_simplify_path(write_simplify_path("0" * 32, 7, "Nöde")) == ("0" * 32, 7, "Nöde")
    assert read_confirm_path(write_confirm_path(True, 7)) == PathConfirmed(True, 7, "\7")
    assert read_confirm_path(write_confirm_path(False, "A/B")) == PathConfirmed(False, 0x422F41, "A/B")
    assert read_confirm_path(write_confirm_path(True, "P")) == PathConfirmed(True, None, "P")


def test_a_spawn_and_a_sync_by_path():
    spawn = (
        b"\4\2" + b"".join(n.to_bytes(4, "little") for n in (9, 5, 2, 4, 11, 12)) + b"Bob\0" + compress(True)
    )
    assert read_spawn(3, spawn, {9: "S"}.get) == Spawn(3, "S", 2, 5, "Bob", (11, 12), None, (True,))
    with pytest.raises(WireError, match="unknown spawner"):
        read_spawn(3, spawn, {}.get)
    entry = (0x8000_0007).to_bytes(4, "little") + (2).to_bytes(4, "little") + compress(5)
    assert read_sync(3, b"\6\1\0" + entry, {7: "Door"}.get).entries == (SyncEntry(None, "Door", None, (5,)),)
