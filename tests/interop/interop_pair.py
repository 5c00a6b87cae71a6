"""Two sides and the signaling between them: set-up in each way, bounded waits, readable failures."""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable

import pytest
from interop_sides import Channel, Side

TIMEOUT = 40.0
"""Seconds any wait of a test may take; the usual one takes some milliseconds."""

STEP = 0.005
"""Seconds the left side waits for something to happen before the right side is looked at again."""

_CANDIDATE_LINES = re.compile(r"^a=(candidate:.*|end-of-candidates)\r?\n", re.MULTILINE)


class Signaling(enum.Enum):
    """How descriptions and candidates travel."""

    TRICKLE = "the description first, candidates as they are found"
    FULL = "the description with every candidate inside, after gathering"
    CANDIDATES_FIRST = (
        "to the left side all candidates and their end, then the description; to the right TRICKLE"
    )


def split_candidates(sdp: str) -> tuple[str, list[str]]:
    """The description without its candidates, and these as `candidate:...`."""
    lines = [found for found in _CANDIDATE_LINES.findall(sdp) if found.startswith("candidate:")]
    return _CANDIDATE_LINES.sub("", sdp), lines


def with_candidates(sdp: str, candidates: list[str]) -> str:
    """The description of a data-only session with every candidate inside."""
    bare, inside = split_candidates(sdp)
    names = [name.removeprefix("a=") for name in [*inside, *candidates] if name]
    return bare + "".join(f"a={name}\r\n" for name in dict.fromkeys(names)) + "a=end-of-candidates\r\n"


class _Wire:
    """Carries the description and the candidates of one side to the other."""

    def __init__(self, source: Side, target: Side, signaling: Signaling) -> None:
        self._source = source
        self._target = target
        self._signaling = signaling
        self._carried = 0
        self._described: tuple[str, str] | None = None

    def carry(self) -> None:
        if self._source.description is None:
            return
        if self._signaling is not Signaling.TRICKLE and not self._source.gathered:
            return
        if self._described is self._source.description:
            self._carry_candidates()
            return
        self._described = self._source.description
        kind, sdp = self._described
        if self._signaling is Signaling.FULL:
            names = [name for _, _, name in self._source.candidates]
            self._carried = len(names)
            sdp = with_candidates(sdp, names)
        elif self._signaling is Signaling.CANDIDATES_FIRST:
            sdp, inside = split_candidates(sdp)
            for name in inside:
                self._target.add_candidate("0", 0, name)
            self._carry_candidates()
            self._target.add_candidate("0", 0, "")
        self._target.set_remote_description(kind, sdp)

    def _carry_candidates(self) -> None:
        for candidate in self._source.candidates[self._carried :]:
            self._target.add_candidate(*candidate)
        self._carried = len(self._source.candidates)


class Pair:
    """A call between `left` (ours) and `right` (the real peer)."""

    def __init__(self, left: Side, right: Side, *, left_offers: bool) -> None:
        self.left = left
        self.right = right
        self.offerer, self.answerer = (left, right) if left_offers else (right, left)
        self._wires: list[_Wire] = []

    def call(self, signaling: Signaling = Signaling.TRICKLE) -> None:
        """Let the offerer offer; what follows is carried while anything is waited for."""
        if not self.offerer.channels:
            # Without a channel there is nothing to negotiate.
            self.offerer.create_channel("first")
        to_right = Signaling.TRICKLE if signaling is Signaling.CANDIDATES_FIRST else signaling
        self._wires = [
            _Wire(self.left, self.right, to_right),
            _Wire(self.right, self.left, signaling),
        ]
        self.offerer.create_offer()

    def connect(self, signaling: Signaling = Signaling.TRICKLE) -> None:
        """Call, and wait until both sides are connected and the offerer's channels open."""
        self.call(signaling)
        self.until(
            lambda: (
                self.left.state == self.right.state == "connected"
                and all(channel.state == "open" for channel in self.offerer.channels)
            ),
            "both sides are connected and the offerer's channels open",
        )

    def offer_again(self, by: Side, *, restart_ice: bool = False) -> None:
        """Let a side of a connected call offer once more, and wait until the other one's answer is there."""
        other = self.right if by is self.left else self.left
        before = other.description
        (by.restart_ice if restart_ice else by.create_offer)()
        self.until(
            lambda: other.description is not before and (other.description or ("",))[0] == "answer",
            f"{other.name} answers another offer",
        )

    def collide(self) -> None:
        """Let both sides offer at once: the right one ignores what it hears, the left one gives way."""
        for side in (self.left, self.right):
            side.create_offer()
        self.until(lambda: self.left.description and self.right.description, "both sides have offered")
        self.left.description = None
        self.left.candidates.clear()
        self._wires = [
            _Wire(self.left, self.right, Signaling.TRICKLE),
            _Wire(self.right, self.left, Signaling.TRICKLE),
        ]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Let both sides work until the condition holds; fail with both sides' states after TIMEOUT."""
        end = time.monotonic() + TIMEOUT
        while not condition():
            self.left.step(STEP)
            self.right.step(0)
            for wire in self._wires:
                wire.carry()
            errors = self.left.errors + self.right.errors
            if (errors or time.monotonic() > end) and not condition():
                story = errors or f"not within {TIMEOUT:g} s"
                pytest.fail(f"{what}: {story}\n{self.left.report()}\n{self.right.report()}", pytrace=False)

    def arrival(self, at: Side, label: str) -> Channel:
        """Wait for the channel of that label that the other side announces, and for it to open."""
        self.until(
            lambda: any(channel.label == label and channel.state == "open" for channel in at.incoming),
            f"{at.name} is told of the channel {label!r}",
        )
        return next(channel for channel in at.incoming if channel.label == label)

    def open(self, *channels: Channel) -> None:
        """Wait until each of the channels is open."""
        self.until(
            lambda: all(channel.state == "open" for channel in channels),
            f"open: {[channel.label for channel in channels]}",
        )

    def received(self, channel: Channel, count: int) -> list[str | bytes]:
        """Wait until the channel has that many messages and return all of them."""
        self.until(lambda: len(channel.received) >= count, f"{channel.label!r} receives {count} messages")
        return channel.received

    def abort(self) -> None:
        """Leave nothing behind, whatever state the call is in."""
        self.left.abort()
        self.right.abort()
