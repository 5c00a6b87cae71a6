"""Offers and answers of a session of data channels: write, read, and hold one against the other."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rtcstack.errors import InvalidParameter, SdpError
from rtcstack.sdp.candidate import CandidateLine, parse_candidate
from rtcstack.sdp.description import Attribute, MediaSection, Section, SessionDescription, read_number

__all__ = [
    "LocalParameters",
    "RemoteParameters",
    "answer_setup",
    "check_answer",
    "check_update",
    "data_section",
    "line_of",
    "read_remote",
    "write_answer",
    "write_offer",
]

DEFAULT_MAX_MESSAGE_SIZE = 65536
"""What a peer takes that does not tell, bytes: 64 K (RFC 8841 §6.1)."""
LEGACY_STREAMS = 1024
"""Streams announced in a=sctpmap, which RFC 8841 no longer has; libwebrtc and Firefox wrote this number."""

_DATA_PROTOCOLS = frozenset({"UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"})
_DIGEST_SIZES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_ufrag = re.compile(r"[A-Za-z0-9+/]{4,256}").fullmatch  # RFC 8839 §5.4
_password = re.compile(r"[A-Za-z0-9+/]{22,256}").fullmatch


@dataclass(frozen=True, slots=True)
class LocalParameters:
    """What we say about ourselves in a description.

    session_id         0 to 2**62 - 1: Firefox fails on larger ones; random, the same for a connection's life.
    session_version    goes up with each description.
    ufrag, password    of our ICE agent.
    fingerprints       of our certificate: (hash name in lower case, digest).
    setup              "actpass" to offer; "active" or "passive" is the role that an answer keeps or prefers.
    sctp_port          1 to 65535.
    max_message_size   largest message that we take, bytes; 0 = any.
    mid                of the data section in a first offer.
    ice_options        an answer repeats only those of them that were offered.
    ice_lite           our agent answers checks only.
    candidates         gathered so far.
    end_of_candidates  are these all?
    sctp_init          our INIT chunk (draft-hancke-tsvwg-snap); answered only if the peer offers its own.
    tls_id             RFC 8842 §4; answered only if the peer offers its own.
    """

    session_id: int
    session_version: int
    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, bytes], ...]
    setup: str
    sctp_port: int = 5000
    max_message_size: int = 262144
    mid: str = "0"
    ice_options: tuple[str, ...] = ("trickle",)
    ice_lite: bool = False
    candidates: tuple[CandidateLine, ...] = ()
    end_of_candidates: bool = False
    sctp_init: bytes | None = None
    tls_id: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.session_id < 2**62:
            raise InvalidParameter(f"session_id must be below 2**62, not {self.session_id}")
        if self.setup not in ("actpass", "active", "passive"):
            raise InvalidParameter(f"setup must be actpass, active or passive, not {self.setup!r}")


@dataclass(frozen=True, slots=True)
class RemoteParameters:
    """What a peer's description says about its data channels and their transport.

    mid                of the data section; "" if it has none.
    index              of the data section among the m= sections.
    ufrag, password    of its ICE agent.
    ice_lite           it answers checks only, so we control.
    ice_options        "trickle", "ice2", "renomination", ...
    fingerprints       (hash name in lower case, digest), at least one; weak and unknown hashes are left out.
    setup              "actpass", "active", "passive", None if not told.
    sctp_port          1 to 65535.
    max_message_size   largest message that it takes, bytes; 0 = any.
    sctp_init          its INIT chunk, if it wants to do without the SCTP handshake.
    tls_id             None if not told.
    candidates         those that can be read.
    end_of_candidates  are these all?
    legacy             m= has the SCTP port for a format, a=sctpmap tells the use (before RFC 8841).
    """

    mid: str
    index: int
    ufrag: str
    password: str
    ice_lite: bool
    ice_options: frozenset[str]
    fingerprints: tuple[tuple[str, bytes], ...]
    setup: str | None
    sctp_port: int
    max_message_size: int
    sctp_init: bytes | None
    tls_id: str | None
    candidates: tuple[CandidateLine, ...]
    end_of_candidates: bool
    legacy: bool
    session_id: int
    session_version: int


# Writing ------------------------------------------------------------------------------------------


def write_offer(local: LocalParameters, previous: SessionDescription | None = None) -> SessionDescription:
    """Return an offer of one data section.

    previous  our last description, offer or answer: its sections keep their order and mids, the rejected
              ones stay rejected, and the version goes on from it.
    Source: RFC 8829 §5.2.1 and §5.2.2, RFC 8841 §10.2 and §10.5, RFC 3264 §8.
    """
    kept = previous.media if previous is not None else ()
    data = data_section(previous) if previous is not None else None
    mid = data.mid if data is not None and data.mid else _unused_mid(local.mid, kept)
    blocks = [_rejected_lines(section) for section in kept]
    if data is not None:
        blocks[data.index] = _data_lines(local, mid, data)
    else:
        blocks.append(_data_lines(local, mid))
    version = max(local.session_version, previous.session_version + 1 if previous is not None else 0)
    return _description(local, version, mid, blocks)


def write_answer(offer: SessionDescription, local: LocalParameters) -> SessionDescription:
    """Return the answer: the first usable data section is accepted, all others are rejected with port 0.

    The accepted section carries all transport attributes itself, even if the offer had them in another
    section of the BUNDLE group, since that one is rejected. An offer without data section is answered with
    rejections alone.

    Raises SdpError as read_remote does.
    Source: RFC 8829 §5.3, RFC 8841 §10.3, RFC 3264 §6, RFC 9143 §7.3.
    """
    data = data_section(offer)
    blocks = [_rejected_lines(section) for section in offer.media]
    bundled = ""
    if data is not None:
        remote = read_remote(offer)
        answer = dataclasses.replace(
            local,
            setup=answer_setup(remote.setup, "active" if local.setup == "actpass" else local.setup),
            ice_options=tuple(option for option in local.ice_options if option in remote.ice_options),
            tls_id=local.tls_id if remote.tls_id is not None else None,
            sctp_init=local.sctp_init if remote.sctp_init is not None else None,
        )
        blocks[data.index] = _data_lines(answer, data.mid, data)
        if offer.bundled_with(data):
            bundled = data.mid
    return _description(local, local.session_version, bundled, blocks)


def _description(
    local: LocalParameters, version: int, bundled: str, blocks: Sequence[Sequence[str]]
) -> SessionDescription:
    lines = ["v=0", f"o=- {local.session_id} {version} IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if bundled:
        lines.append(f"a=group:BUNDLE {bundled}")
    if local.ice_lite:
        lines.append("a=ice-lite")
    for block in blocks:
        lines += block
    return SessionDescription.parse("\r\n".join(lines))


def _data_lines(local: LocalParameters, mid: str, like: MediaSection | None = None) -> list[str]:
    """Write the data section; `like` is the one whose protocol and dialect it repeats."""
    protocol = like.protocol if like is not None else "UDP/DTLS/SCTP"
    legacy = like is not None and _is_legacy(like)
    port, address = _default_destination(local.candidates)
    lines = [
        f"m=application {port} {protocol} {local.sctp_port if legacy else 'webrtc-datachannel'}",
        f"c=IN {'IP6' if ':' in address else 'IP4'} {address}",
    ]
    if mid:
        lines.append(f"a=mid:{mid}")
    lines += [f"a=ice-ufrag:{local.ufrag}", f"a=ice-pwd:{local.password}"]
    if local.ice_options:
        lines.append(f"a=ice-options:{' '.join(local.ice_options)}")
    lines += [f"a=fingerprint:{name} {digest.hex(':').upper()}" for name, digest in local.fingerprints]
    lines.append(f"a=setup:{local.setup}")
    if local.tls_id is not None:
        lines.append(f"a=tls-id:{local.tls_id}")
    if legacy:
        lines.append(f"a=sctpmap:{local.sctp_port} webrtc-datachannel {LEGACY_STREAMS}")
    else:
        lines.append(f"a=sctp-port:{local.sctp_port}")
    lines.append(f"a=max-message-size:{local.max_message_size}")
    if local.sctp_init is not None:
        lines.append(f"a=sctp-init:{base64.b64encode(local.sctp_init).decode()}")
    lines += [f"a={candidate.write()}" for candidate in local.candidates]
    if local.end_of_candidates:
        lines.append("a=end-of-candidates")
    return lines


def _rejected_lines(section: MediaSection) -> list[str]:
    lines = [f"m={section.media} 0 {section.protocol} {' '.join(section.formats)}", "c=IN IP4 0.0.0.0"]
    if section.mid:
        lines.append(f"a=mid:{section.mid}")
    if section.media != "application":
        lines.append("a=inactive")  # without it the direction is sendrecv, which may not answer recvonly
    return lines


def _default_destination(candidates: Sequence[CandidateLine]) -> tuple[int, str]:
    """Return port and address for m= and c=: the candidate most likely to work (RFC 8839 §4.2.1.2)."""
    usable = [c for c in candidates if c.transport == "udp" and c.port and not c.address.endswith(".local")]
    for kind in ("relay", "srflx", "host"):
        for candidate in usable:
            if candidate.type == kind:
                return candidate.port, candidate.address
    return 9, "0.0.0.0"


def _unused_mid(wish: str, sections: Sequence[MediaSection]) -> str:
    used = {section.mid for section in sections}
    return next(mid for mid in (wish, *map(str, range(len(used) + 1))) if mid not in used)


# Reading ------------------------------------------------------------------------------------------


def data_section(description: SessionDescription) -> MediaSection | None:
    """Return the first section for data channels that is not rejected; None if there is none.

    Source: RFC 8841 §4; before it, the format was the SCTP port (draft-ietf-mmusic-sctp-sdp).
    """
    for section in description.media:
        if (
            section.media == "application"
            and section.protocol.upper() in _DATA_PROTOCOLS
            and (section.formats[0] == "webrtc-datachannel" or _is_legacy(section))
            and not section.rejected
        ):
            return section
    return None


def _is_legacy(section: MediaSection) -> bool:
    """Is it "m=application 9 DTLS/SCTP 5000" with "a=sctpmap:5000 webrtc-datachannel 256"?

    So wrote Firefox before 63, old Chrome and old aiortc; an sctpmap for another use is none of ours.
    """
    port = section.formats[0]
    maps = [value.split() for value, _ in section.find_all("sctpmap")]
    return port.isdigit() and all(
        words[1:2] == ["webrtc-datachannel"] for words in maps if words[:1] == [port]
    )


def read_remote(description: SessionDescription) -> RemoteParameters:
    """Return what a peer says about its data section and the transport below.

    Each attribute is looked for in the section itself, then in the sections bundled with it, the tagged one
    first (there it is for a=bundle-only), then at session level (Firefox, libdatachannel, pion).

    Raises SdpError if there is no usable data section, or if something that it needs is missing or wrong.
    Source: RFC 8829 §5.8, RFC 9143 §7.1.3, RFC 8839 §5.4, RFC 8841 §5 and §6, RFC 8842 §5.
    """
    section = data_section(description)
    if section is None:
        raise SdpError("no m=application section offers or accepts webrtc-datachannel", description.last_line)
    places = _places(description, section)
    ufrag = _require(places, "ice-ufrag", section)
    if not _ufrag(ufrag.value):
        raise SdpError("ice-ufrag must be 4 to 256 of A-Z a-z 0-9 + /", ufrag.line)
    password = _require(places, "ice-pwd", section)
    if not _password(password.value):
        raise SdpError("ice-pwd must be 22 to 256 of A-Z a-z 0-9 + /", password.line)
    tls_id = _find(places, "tls-id")
    transport = next((p for p in places[:-1] if p.find("ice-ufrag") or p.find_all("candidate")), section)
    return RemoteParameters(
        mid=section.mid,
        index=section.index,
        ufrag=ufrag.value,
        password=password.value,
        ice_lite=description.session.find("ice-lite") is not None,
        ice_options=_read_ice_options(places),
        fingerprints=_read_fingerprints(places, section),
        setup=_read_setup(_find(places, "setup")),
        sctp_port=_read_sctp_port(section),
        max_message_size=_read_max_message_size(section.find("max-message-size")),
        sctp_init=_read_sctp_init(section.find("sctp-init")),
        tls_id=tls_id.value if tls_id else None,
        candidates=_read_candidates(transport),
        end_of_candidates=_find([transport, description.session], "end-of-candidates") is not None,
        legacy=_is_legacy(section),
        session_id=description.session_id,
        session_version=description.session_version,
    )


def line_of(description: SessionDescription, name: str) -> int:
    """Return the number of the line that gives an attribute of the data section, or else of its m= line."""
    section = data_section(description)
    if section is None:
        return description.last_line
    found = _find_all(_places(description, section), name)
    return found[0].line if found else section.line


def _places(description: SessionDescription, section: MediaSection) -> list[Section]:
    return [section, *description.bundled_with(section), description.session]


def _find_all(places: Sequence[Section], name: str) -> list[Attribute]:
    return next((found for place in places if (found := place.find_all(name))), [])


def _find(places: Sequence[Section], name: str) -> Attribute | None:
    return next((found for place in places if (found := place.find(name)) is not None), None)


def _require(places: Sequence[Section], name: str, section: MediaSection) -> Attribute:
    found = _find(places, name)
    if found is None:
        raise SdpError(f"the data section has no a={name}", section.line)
    return found


def _read_fingerprints(places: Sequence[Section], section: MediaSection) -> tuple[tuple[str, bytes], ...]:
    lines = _find_all(places, "fingerprint")
    fingerprints = []
    for value, number in lines:
        name, _, digest = value.partition(" ")
        name = name.lower()
        size = _DIGEST_SIZES.get(name)
        if size is None:
            continue  # md5 and sha-1 prove nothing any more; others we do not know
        try:
            octets = bytes.fromhex(digest.replace(":", ""))
        except ValueError:
            octets = b""
        if len(octets) != size:
            raise SdpError(
                f"a {name} fingerprint is {size} octets in hexadecimal, separated by colons", number
            )
        fingerprints.append((name, octets))
    if not fingerprints:
        raise SdpError(
            "the data section needs an a=fingerprint with sha-256, sha-384 or sha-512",
            lines[0].line if lines else section.line,
        )
    return tuple(fingerprints)


def _read_ice_options(places: Sequence[Section]) -> frozenset[str]:
    # libdatachannel up to 0.24 puts commas between the options.
    lines = _find_all(places, "ice-options")
    return frozenset(option for value, _ in lines for option in value.replace(",", " ").split())


def _read_setup(setup: Attribute | None) -> str | None:
    if setup is None:
        return None
    value = setup.value.lower()
    if value == "holdconn":
        raise SdpError("a=setup:holdconn is not allowed for DTLS", setup.line)
    if value not in ("actpass", "active", "passive"):
        raise SdpError(f"a=setup must be actpass, active or passive, not {value[:40]!r}", setup.line)
    return value


def _read_sctp_port(section: MediaSection) -> int:
    # RFC 8841 §5.1 has no default; 5000 is what every peer uses, and libdatachannel's guess as well.
    found = Attribute(section.formats[0], section.line) if _is_legacy(section) else section.find("sctp-port")
    if found is None:
        return 5000
    port = read_number(found.value, 65535, "the SCTP port", found.line)
    if port == 0:
        raise SdpError("SCTP port 0: the peer wants no association", found.line)
    return port


def _read_max_message_size(found: Attribute | None) -> int:
    if found is None:
        return DEFAULT_MAX_MESSAGE_SIZE
    # Firefox announces 2**30 - 1: a limit to respect, never a size to allocate.
    return read_number(found.value, 10**20, "max-message-size", found.line)


def _read_sctp_init(found: Attribute | None) -> bytes | None:
    if found is None:
        return None
    try:
        return base64.b64decode(found.value, validate=True)
    except ValueError:
        raise SdpError("a=sctp-init must be base64", found.line) from None


def _read_candidates(section: Section) -> tuple[CandidateLine, ...]:
    candidates = []
    for value, number in section.find_all("candidate"):
        try:
            candidates.append(parse_candidate(f"candidate:{value}", number))
        except SdpError:
            continue  # one that cannot be used does not spoil the others (RFC 8839 §5.1)
    return tuple(candidates)


# Offer against answer, new against old ------------------------------------------------------------


def answer_setup(offer_setup: str | None, preferred: str = "active") -> str:
    """Return the DTLS role, "active" (client) or "passive", that answers an offered a=setup.

    offer_setup  None if the offer has none, which is taken for "actpass".
    preferred    the role to take if the choice is ours: the one in force, else "active".
    Raises SdpError for anything that leaves the roles open.
    Source: RFC 8842 §5.3, RFC 4145 §4.1, RFC 5763 §5.
    """
    if offer_setup is None or offer_setup == "actpass":
        return preferred
    if offer_setup == "active":
        return "passive"
    if offer_setup == "passive":
        return "active"
    raise SdpError(f"a=setup:{offer_setup} cannot be answered")


def check_answer(offer: SessionDescription, answer: SessionDescription) -> RemoteParameters:
    """Check a peer's answer against our offer.

    Returns the answer's parameters; setup is "active" or "passive" and mid is the offered one even where the
            answer leaves them out.
    Raises  SdpError if the answer does not fit the offer, or refuses the data section.
    Source: RFC 8829 §5.8.3, RFC 3264 §6, RFC 9143 §7.4, RFC 8842 §5.4.
    """
    if len(answer.media) != len(offer.media):
        raise SdpError(
            f"the answer has {len(answer.media)} m= sections, the offer {len(offer.media)}",
            _line_of_section(answer, len(offer.media)),
        )
    for ours, theirs in zip(offer.media, answer.media, strict=True):
        if theirs.media != ours.media:
            raise SdpError(f"{theirs.media!r} does not answer {ours.media!r}", theirs.line)
        if theirs.mid and theirs.mid != ours.mid:
            raise SdpError(f"mid {theirs.mid!r} does not answer {ours.mid!r}", theirs.line)
        if theirs.rejected:
            continue
        if ours.rejected:
            raise SdpError("accepts a section that the offer has switched off", theirs.line)
        if theirs.protocol.upper() != ours.protocol.upper():
            raise SdpError(f"{theirs.protocol!r} does not answer {ours.protocol!r}", theirs.line)
        if answer.bundled_with(theirs) and not offer.bundled_with(ours):
            raise SdpError("bundles a section that the offer does not", theirs.line)
    data = data_section(offer)
    if data is None:
        raise SdpError("the offer has no data section", offer.last_line)
    section = answer.media[data.index]
    if data_section(answer) is not section:
        raise SdpError("the peer has refused the data section", section.line)

    remote = read_remote(answer)
    offered = _read_setup(_find(_places(offer, data), "setup"))
    setup = remote.setup or answer_setup(offered)
    if setup in ("actpass", offered):
        raise SdpError(f"a=setup:{setup} does not answer a=setup:{offered}", line_of(answer, "setup"))
    return dataclasses.replace(remote, mid=data.mid, setup=setup)


def check_update(previous: SessionDescription, update: SessionDescription) -> bool:
    """Check a peer's new description against its last one.

    A section that was switched off may come back as another one (recycling), and one that is in use may be
    switched off.

    Returns True if the peer restarts ICE: ufrag and password have changed.
    Raises  SdpError if sections are gone or have changed their meaning, if only one of ufrag and password has
            changed, or if a new certificate or tls-id asks for a new DTLS association.
    Source: RFC 3264 §8, RFC 8829 §5.8.3 and §5.10, RFC 8839 §4.4.1.1.1, RFC 8842 §3.1.
    """
    if len(update.media) < len(previous.media):
        raise SdpError(
            f"{len(update.media)} m= sections, where there were {len(previous.media)}", update.last_line
        )
    for old, new in zip(previous.media, update.media, strict=False):
        if not old.rejected and (new.media != old.media or (old.mid and new.mid and new.mid != old.mid)):
            raise SdpError(f"the section was {old.media!r} with mid {old.mid!r} before", new.line)
    if data_section(previous) is None or data_section(update) is None:
        return False
    before, after = read_remote(previous), read_remote(update)
    restart = after.ufrag != before.ufrag
    if restart != (after.password != before.password):
        raise SdpError("ice-ufrag and ice-pwd change together", line_of(update, "ice-ufrag"))
    # Hashes may be added and left out; nothing in common means another certificate.
    if not set(after.fingerprints) & set(before.fingerprints):
        raise SdpError(
            "another certificate needs a new connection: this one keeps its DTLS association",
            line_of(update, "fingerprint"),
        )
    if after.tls_id != before.tls_id and after.tls_id is not None and before.tls_id is not None:
        raise SdpError(
            "another tls-id needs a new connection: this one keeps its DTLS association",
            line_of(update, "tls-id"),
        )
    return restart


def _line_of_section(description: SessionDescription, index: int) -> int:
    """Return the line at which a section begins, or the last one if there are fewer."""
    return description.media[index].line if index < len(description.media) else description.last_line
