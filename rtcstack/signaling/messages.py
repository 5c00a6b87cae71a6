"""The JSON messages of Godot's webrtc_signaling demo, read and written."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Any, NoReturn, Self

__all__ = ["Kind", "Message", "MessageError", "read_candidate", "write_candidate"]

LARGEST_ID = 2**31 - 1
"""Godot's ids are positive 32-bit numbers with sign."""


class Kind(enum.IntEnum):
    """The `type` of a message."""

    JOIN = 0
    ID = 1
    PEER_CONNECT = 2
    PEER_DISCONNECT = 3
    OFFER = 4
    ANSWER = 5
    CANDIDATE = 6
    SEAL = 7


RELAYED = frozenset({Kind.OFFER, Kind.ANSWER, Kind.CANDIDATE})
"""What the server passes on from member to member."""


class MessageError(ValueError):
    """A message does not have the form that the protocol asks for; the text is fit for a close reason."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: a JSON object in a text frame, `{"type": int, "id": int, "data": string}`.

    kind    a Kind, or another number of 0 or more: what it means is judged where the message is used.
    id      0 to 2**31 - 1: destination from a client, source from the server, a flag in JOIN.
    data    text; what it holds depends on the kind.
    resume  an addition of rtcstack that others ignore: in JOIN "" asks for a ticket and a ticket asks for the
            seat that it stands for; in ID the server's ticket.  None where it is not spoken of.
    """

    kind: int
    id: int = 0
    data: str = ""
    resume: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one message; numbers may be written as floats, missing `data` is "", further keys are ignored.

        Raises:
            MessageError: it is no JSON object of that form.
        """
        try:
            fields = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise MessageError("Invalid message format") from None
        if not isinstance(fields, dict):
            raise MessageError("Invalid message format")
        data = fields.get("data", "")
        resume = fields.get("resume")
        if not (_is_text(data) and (resume is None or _is_text(resume))):
            raise MessageError("Invalid message format")
        return cls(_read_number(fields.get("type")), _read_number(fields.get("id")), data, resume)

    def write(self) -> str:
        """Write the message as Godot does: sorted keys, no spaces, whole numbers."""
        fields: dict[str, Any] = {"data": self.data, "id": self.id, "type": int(self.kind)}
        if self.resume is not None:
            fields["resume"] = self.resume
        # Never longer than it came: a member cannot make a message too large for the others.
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def write_candidate(media: str, index: int, name: str) -> str:
    """Write the `data` of a CANDIDATE message; the line break in front is Godot's."""
    return f"\n{media}\n{index}\n{name}"


def read_candidate(data: str) -> tuple[str, int, str]:
    """Read the `data` of a CANDIDATE message: media, index and the candidate line.

    Raises:
        MessageError: there are not exactly three lines that are not empty, or the second is no number.
    """
    parts = [part for part in data.split("\n") if part]
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) < 10):
        raise MessageError("Invalid candidate")
    return parts[0], int(parts[1]), parts[2]


def _read_number(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_ID:
        raise MessageError("Invalid message format")
    return value


def _is_text(value: object) -> bool:
    """Tell whether this is a string that UTF-8 can carry: JSON can spell halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise MessageError(f"{name} is no JSON")
