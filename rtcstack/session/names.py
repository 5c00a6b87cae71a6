"""mDNS names in place of addresses: of the peer, until they are resolved, and of ours that are hidden."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from rtcstack.sdp import CandidateLine

__all__ = ["HiddenAddresses", "NamedCandidates", "is_local_name"]

_LOCAL_NAME = re.compile(r"[a-z0-9_-]{1,63}\.local\.?", re.IGNORECASE)

_MOST_CANDIDATES = 100
"""Candidates that wait for one name: as many as an agent keeps of all."""


def is_local_name(address: str) -> bool:
    """Tell whether this is a name of mDNS that browsers write: one label and ".local".

    Source: draft-ietf-mmusic-mdns-ice-candidates section 3.2.1, RFC 6762 section 3.
    """
    return _LOCAL_NAME.fullmatch(address) is not None


class NamedCandidates:
    """The peer's candidates that have a name for an address.

    at_once     names that are asked for at a time.
    in_all      names that are ever asked for: each is a multicast that a peer makes us send.

    wants       whether take() has something.
    is_pending  whether an answer is awaited.
    """

    def __init__(self, *, at_once: int, in_all: int) -> None:
        self.wants = False
        self._at_once = at_once
        self._in_all = in_all
        self._queue: list[str] = []
        self._asked: set[str] = set()
        self._waiting: dict[str, list[tuple[CandidateLine, str]]] = {}
        self._answers: dict[str, list[str]] = {}

    @property
    def is_pending(self) -> bool:
        """Whether candidates wait for an answer."""
        return bool(self._waiting)

    def add(self, line: CandidateLine, ufrag: str) -> list[CandidateLine] | None:
        """Take a candidate with a name, of the generation of this username fragment.

        Returns the same with its addresses if they are known; none if it waits; None if it is one too many.
        """
        name = _canonical(line.address)
        if name in self._answers:
            return _with_addresses(line, self._answers[name])
        waiting = self._waiting.get(name)
        if waiting is None:
            if len(self._answers) + len(self._waiting) >= self._in_all:
                return None
            waiting = self._waiting[name] = []
            self._queue.append(name)
            self._update()
        if len(waiting) >= _MOST_CANDIDATES:
            return None
        waiting.append((line, ufrag))
        return []

    def take(self) -> list[str]:
        """Hand over the names to ask for now."""
        count = self._at_once - len(self._asked)
        names, self._queue = self._queue[:count], self._queue[count:]
        self._asked.update(names)
        self._update()
        return names

    def resolved(self, name: str, addresses: Sequence[str]) -> list[tuple[CandidateLine, str]]:
        """Take the IP addresses of a name, none if it has none.

        Returns the candidates that waited, with addresses and username fragments.
        """
        name = _canonical(name)
        if name not in self._asked:
            return []
        self._asked.discard(name)
        self._update()
        # A name stands for one address; who has two by the same name is reached at one of each family.
        families = {":" in ip: ip for ip in reversed(addresses)}
        self._answers[name] = list(families.values())
        return [
            (found, ufrag)
            for line, ufrag in self._waiting.pop(name)
            for found in _with_addresses(line, self._answers[name])
        ]

    def clear(self) -> None:
        """Want nothing more."""
        self._queue.clear()
        self._asked.clear()
        self._waiting.clear()
        self._update()

    def _update(self) -> None:
        self.wants = bool(self._queue) and len(self._asked) < self._at_once


class HiddenAddresses:
    """Our host addresses, and the random names that the peer is told instead.

    random_bytes    n -> n unpredictable bytes.

    wants           whether take() has something.

    Source: draft-ietf-mmusic-mdns-ice-candidates section 3.1.1.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self.wants = False
        self._random_bytes = random_bytes
        self._names: dict[str, str] = {}
        self._new: list[tuple[str, str]] = []

    def hide(self, line: CandidateLine) -> CandidateLine:
        """Write the name of its address into a host candidate; one of another type stays as it is."""
        if line.type != "host":
            return line
        name = self._names.get(line.address)
        if name is None:
            name = self._names[line.address] = f"{_uuid4(self._random_bytes(16))}.local"
            self._new.append((name, line.address))
            self.wants = True
        return replace(line, address=name)

    def take(self) -> list[tuple[str, str]]:
        """Hand over new (name, address): questions of others for the name are to be answered."""
        new, self._new = self._new, []
        self.wants = False
        return new


def _canonical(name: str) -> str:
    return name.lower().removesuffix(".")


def _with_addresses(line: CandidateLine, addresses: Sequence[str]) -> list[CandidateLine]:
    return [replace(line, address=address) for address in addresses]


def _uuid4(random: bytes) -> str:
    """Write 16 random bytes as a version 4 UUID (RFC 9562 section 5.4)."""
    text = bytes(
        (*random[:6], random[6] & 0x0F | 0x40, random[7], random[8] & 0x3F | 0x80, *random[9:])
    ).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
