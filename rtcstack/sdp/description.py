"""A session description as lines: cut into sections, checked for structure, written back unchanged."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from rtcstack.errors import SdpError

__all__ = ["Attribute", "MediaSection", "Section", "SessionDescription", "read_number"]

MAX_TEXT = 256 * 1024
"""Longest description, characters.  The largest browser offers (audio, video, many candidates) have 20 K."""
MAX_LINE = 8 * 1024
"""Longest line, characters.  The longest seen, a sha-512 fingerprint, has 211; a=sctp-init may have 2 K."""
MAX_MEDIA = 100
"""Most m= sections.  We use one; a conference with a section for each speaker stays below this."""

_LINE_TYPES = frozenset("vosiuepcbtrzkam")
_token = re.compile(r"[!#-'*+\-.0-9A-Z^-~]+").fullmatch  # RFC 8866 §9

_name_end = re.compile("[: ]")


class Attribute(NamedTuple):
    """The value of an ``a=`` line ("" for a flag) and the number of that line."""

    value: str
    line: int


@lru_cache(maxsize=8)
def _attributes_of(lines: tuple[str, ...], numbers: tuple[int, ...]) -> dict[str, list[Attribute]]:
    """Find the attributes of a section by name.

    Reading a description asks for some twenty of them, so that one pass over the lines should answer all; but
    descriptions are kept as long as connections, and what they answered is not worth 10 kB of each.
    """
    attributes: dict[str, list[Attribute]] = {}
    for text, number in zip(lines, numbers, strict=True):
        if text.startswith("a="):
            # The space: "a=sctp-port 5000", as draft-ietf-mmusic-sctp-sdp-12 and old libwebrtc had it.
            name, *value = _name_end.split(text[2:], 1)
            found = Attribute(value[0].strip(" \t") if value else "", number)
            attributes.setdefault(name, []).append(found)
    return attributes


@dataclass(frozen=True, slots=True)
class Section:
    """The session-level lines, or an m= line with the lines below it.

    lines    without line ends, in their order, unknown ones included.
    numbers  where each line stood in the text that was parsed, from 1.
    """

    lines: tuple[str, ...]
    numbers: tuple[int, ...] = field(compare=False, repr=False)

    def find_all(self, name: str) -> list[Attribute]:
        """Return every ``a=name`` and ``a=name:value`` line, in order."""
        return _attributes_of(self.lines, self.numbers).get(name, [])

    def find(self, name: str) -> Attribute | None:
        """Return the ``a=name`` line of an attribute that may stand here once, None if there is none.

        Raises SdpError if the section contradicts itself; a mere repetition does no harm.
        """
        found = self.find_all(name)
        for other in found[1:]:
            if other.value != found[0].value:
                raise SdpError(f"a={name} contradicts line {found[0].line}", other.line)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class MediaSection(Section):
    """One media description.

    index     position among the m= sections, from 0.
    media     "application", "audio", ...
    port      0 to 65535; 0 = rejected, or bundled into another section (a=bundle-only).
    protocol  "UDP/DTLS/SCTP", ...
    formats   the rest of the m= line, at least one.
    mid       its identification tag, "" if it has none.
    Source: RFC 8866 §5.14, RFC 5888 §4.
    """

    index: int
    media: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    mid: str

    @property
    def line(self) -> int:
        """The number of the m= line."""
        return self.numbers[0]

    @property
    def rejected(self) -> bool:
        """Is the section refused or switched off?

        Port 0 with a=bundle-only is alive; RFC 8843 put that into answers as well (RFC 9143 §7.4.1).
        """
        return not self.port and not self.find_all("bundle-only")


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """An offer or an answer.

    session          the lines before the first m= line.
    media            the m= sections, in order.
    session_id       from the o= line.
    session_version  from the o= line.
    bundles          the mids of each a=group:BUNDLE line, the tag first (RFC 9143 §7).
    Source: RFC 8866 §5, RFC 8829 §5.8.
    """

    session: Section
    media: tuple[MediaSection, ...]
    session_id: int
    session_version: int
    bundles: tuple[tuple[str, ...], ...]

    @classmethod
    def parse(cls, text: str) -> SessionDescription:
        """Read a description whose lines end with CRLF, LF or CR; blank lines are skipped.

        Raises SdpError, with the number of the line at fault, if the text is too long, is no SDP, or its
        mids and BUNDLE groups do not fit together.
        """
        if not isinstance(text, str):
            raise SdpError(f"a description is a str, not {type(text).__name__}")
        if len(text) > MAX_TEXT:
            reached = text.count("\n", 0, MAX_TEXT) + 1
            raise SdpError(f"{len(text)} characters are more than the {MAX_TEXT} allowed", reached)
        # Not splitlines(): U+2028 and its like are no line ends in SDP.
        raw = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines = [(number, line) for number, line in enumerate(raw, 1) if line.strip(" \t")]
        for number, line in lines:
            _check_line(line, number)
        if not lines or lines[0][1].rstrip(" \t") != "v=0":
            raise SdpError("a description begins with v=0", lines[0][0] if lines else 1)
        if len(lines) < 2 or not lines[1][1].startswith("o="):
            raise SdpError("the line after v=0 is the o= line", lines[min(1, len(lines) - 1)][0])
        session_id, session_version = _read_origin(lines[1][1], lines[1][0])

        bounds = [at for at, (_, line) in enumerate(lines) if line.startswith("m=")]
        if len(bounds) > MAX_MEDIA:
            raise SdpError(f"more than {MAX_MEDIA} m= sections", lines[bounds[MAX_MEDIA]][0])
        bounds.append(len(lines))
        session = _section(lines[: bounds[0]])
        media = tuple(
            _media_section(index, lines[start:end])
            for index, (start, end) in enumerate(itertools.pairwise(bounds))
        )
        return cls(session, media, session_id, session_version, _read_bundles(session, media))

    def write(self) -> str:
        """Return the text, each line ended with CRLF."""
        sections: list[Section] = [self.session, *self.media]
        return "".join(f"{line}\r\n" for section in sections for line in section.lines)

    @property
    def last_line(self) -> int:
        """The number of the last line: what is missing is missing there."""
        return (self.media[-1] if self.media else self.session).numbers[-1]

    def bundled_with(self, section: MediaSection) -> list[MediaSection]:
        """Return the sections of the BUNDLE group that `section` is in, the tagged one first.

        Itself included; empty if it is in no group.
        """
        by_mid = {other.mid: other for other in self.media}
        for mids in self.bundles:
            if section.mid in mids:
                return [by_mid[mid] for mid in mids]
        return []


def read_number(text: str, maximum: int, what: str, line: int = 0) -> int:
    """Read an unsigned decimal number of at most 20 digits; SdpError names `what` it was to be."""
    # int() alone would take "+1", "1_0" and other scripts' digits, and thousands of digits slowly.
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= maximum):
        raise SdpError(f"{what} must be a number from 0 to {maximum}, not {text[:40]!r}", line)
    return int(text)


def _check_line(line: str, number: int) -> None:
    if len(line) > MAX_LINE:
        raise SdpError(f"{len(line)} characters are more than the {MAX_LINE} allowed", number)
    if line[0] not in _LINE_TYPES or line[1:2] != "=":
        raise SdpError(f"{line[:40]!r} is not <type>=<value>", number)
    if "\0" in line:
        raise SdpError("contains NUL", number)
    if not line.isascii():
        try:
            line.encode()
        except UnicodeEncodeError:
            raise SdpError("is not UTF-8", number) from None


def _read_origin(line: str, number: int) -> tuple[int, int]:
    fields = line[2:].split()
    if len(fields) != 6:
        raise SdpError("o= needs user, session id, version, IN, IP4 or IP6, address", number)
    return (
        read_number(fields[1], 2**64 - 1, "the session id", number),
        read_number(fields[2], 2**64 - 1, "the session version", number),
    )


def _section(lines: Sequence[tuple[int, str]]) -> Section:
    return Section(tuple(line for _, line in lines), tuple(number for number, _ in lines))


def _media_section(index: int, lines: Sequence[tuple[int, str]]) -> MediaSection:
    section = _section(lines)
    number = section.numbers[0]
    fields = section.lines[0][2:].split()
    if len(fields) < 4:
        raise SdpError("m= needs media, port, protocol and at least one format", number)
    media, port, protocol, *formats = fields
    # "9/1", a number of ports, is legal SDP.
    port_number = read_number(port.partition("/")[0], 65535, "the port", number)
    mid = section.find("mid")
    if mid is not None and not _token(mid.value):
        raise SdpError(f"a=mid must be a token, not {mid.value[:40]!r}", mid.line)
    return MediaSection(
        section.lines,
        section.numbers,
        index,
        media,
        port_number,
        protocol,
        tuple(formats),
        mid.value if mid is not None else "",
    )


def _read_bundles(session: Section, media: Sequence[MediaSection]) -> tuple[tuple[str, ...], ...]:
    mids: set[str] = set()
    for section in media:
        mid = section.find("mid")
        if mid is not None:
            if mid.value in mids:
                raise SdpError(f"mid {mid.value!r} is used twice", mid.line)
            mids.add(mid.value)
    bundles = []
    for value, number in session.find_all("group"):
        semantics, *members = value.split() or [""]
        if semantics == "BUNDLE":
            for member in members:
                if member not in mids:
                    raise SdpError(f"BUNDLE names mid {member[:40]!r}, which no m= section has", number)
            bundles.append(tuple(members))
    return tuple(bundles)
