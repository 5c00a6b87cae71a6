"""What a game's MultiplayerSpawner and MultiplayerSynchronizer send, as events; nothing of it is applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from rtcstack.errors import VariantError, WireError
from rtcstack.multiplayer.scene_wire import read_number, read_text
from rtcstack.variant import decompress

__all__ = ["Despawn", "Spawn", "Sync", "SyncEntry", "read_despawn", "read_spawn", "read_sync"]

_SPAWN = Struct("<BBIIII")
_SYNC_HEAD = Struct("<II")
_DELTA_HEAD = Struct("<IQI")
_CUSTOM = 0xFF
_BY_PATH = 0x8000_0000

FindPath = Callable[[int], str | None]
"""Gives the path that a number of the sender stands for."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """A peer wants a scene to be spawned.

    sender      id of the peer; its numbers mean nothing elsewhere.
    spawner     path of the MultiplayerSpawner.
    scene       index in the spawner's list of scenes; None for a custom spawn.
    net_id      number of the new node.
    name        of the new node.
    sync_ids    numbers of its synchronizers, from which `Sync` comes.
    custom      what the custom spawn function is given.
    state       values of the properties that come with a spawn, in order.
    """

    sender: int
    spawner: str
    scene: int | None
    net_id: int
    name: str
    sync_ids: tuple[int, ...]
    custom: Any
    state: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Despawn:
    """A peer wants a node that it has spawned to go.

    sender      id of the peer.
    net_id      number of the node.
    """

    sender: int
    net_id: int


@dataclass(frozen=True, slots=True)
class SyncEntry:
    """New values of one synchronizer.

    net_id      its number; None for one that was not spawned.
    path        of one that was not spawned; None otherwise.
    changed     one bit for each watched property that has changed, from the lowest; None: all are there.
    values      of the properties, in order.
    """

    net_id: int | None
    path: str | None
    changed: int | None
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """A peer sends new values of what it has authority over.

    sender      id of the peer; only the application knows whether it may change these nodes.
    time        counts the sender's network frames, 16 bits; None for changes, which come reliably.
    entries     one for each synchronizer.
    """

    sender: int
    time: int | None
    entries: tuple[SyncEntry, ...]


def read_spawn(sender: int, packet: bytes, find_path: FindPath) -> Spawn:
    """Read a SPAWN.

    Raises:
        WireError: it is none, or its spawner was never announced.
    """
    if len(packet) < _SPAWN.size:
        raise WireError("a spawn shorter than 18 bytes")
    _, scene, spawner_id, net_id, syncs, name_size = _SPAWN.unpack_from(packet)
    at = _SPAWN.size
    if 4 * syncs + name_size > len(packet) - at or not name_size:
        raise WireError("a spawn without all that it announces")
    sync_ids = tuple(read_number(packet, at + 4 * index) for index in range(syncs))
    at += 4 * syncs
    name = read_text(packet[: at + name_size], at)
    at += name_size
    custom = None
    if scene == _CUSTOM:
        size = read_number(packet, at)
        at += 4
        if size > len(packet) - at:
            raise WireError("a custom spawn without its value")
        values = _read_values(packet[at : at + size])
        custom = values[0] if values else None
        at += size
    spawner = find_path(spawner_id)
    if spawner is None:
        raise WireError("a spawn by an unknown spawner")
    state = _read_values(packet[at:])
    return Spawn(sender, spawner, None if scene == _CUSTOM else scene, net_id, name, sync_ids, custom, state)


def read_despawn(sender: int, packet: bytes) -> Despawn:
    """Read a DESPAWN.

    Raises:
        WireError: it is none.
    """
    return Despawn(sender, read_number(packet, 1))


def read_sync(sender: int, packet: bytes, find_path: FindPath) -> Sync:
    """Read a SYNC: all values, or with bit 4 of the first byte those that have changed.

    Raises:
        WireError: it is none.
    """
    is_delta = bool(packet[0] & 0x10)
    head = _DELTA_HEAD if is_delta else _SYNC_HEAD
    at = 1 if is_delta else 3
    if len(packet) < at + head.size:
        raise WireError("a sync without an entry")
    time = None if is_delta else int.from_bytes(packet[1:3], "little")
    entries = []
    while at < len(packet):
        if at + head.size > len(packet):
            raise WireError("a sync that ends inside an entry")
        net_id, *changed, size = head.unpack_from(packet, at)
        at += head.size
        if size > len(packet) - at:
            raise WireError("a sync without all that it announces")
        is_spawned = not net_id & _BY_PATH
        entries.append(
            SyncEntry(
                net_id if is_spawned else None,
                None if is_spawned else find_path(net_id & ~_BY_PATH),
                changed[0] if changed else None,
                _read_values(packet[at : at + size]),
            )
        )
        at += size
    return Sync(sender, time, tuple(entries))


def _read_values(data: bytes) -> tuple[Any, ...]:
    values = []
    at = 0
    try:
        while at < len(data):
            value, at = decompress(data, at)
            values.append(value)
    except VariantError as error:
        raise WireError(f"a replicated value that cannot be read: {len(values) + 1}: {error}") from None
    return tuple(values)
