"""What real peers wrote: read to exact values, answered, written back, cut anywhere."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from rtcstack.errors import SdpError
from rtcstack.sdp import (
    CandidateLine,
    LocalParameters,
    SessionDescription,
    check_answer,
    check_update,
    parse_candidate,
    read_remote,
    write_answer,
    write_offer,
)

FOLDER = Path(__file__).parent.parent / "captures"
LOCAL = LocalParameters(
    session_id=2**62 - 1,
    session_version=1,
    ufrag="abcd",
    password="p" * 22,
    fingerprints=(("sha-256", bytes(range(32))),),
    setup="actpass",
)


def _godot() -> list[tuple[str, str, str]]:
    """Every description that Godot's engine and library gave: (name, type, text)."""
    found: list[tuple[str, str, str]] = []

    def walk(node: object, path: str) -> None:
        if isinstance(node, dict):
            if str(node.get("sdp", "")).startswith("v=0"):
                type = node.get("type") or ("offer" if "actpass" in node["sdp"] else "answer")
                found.append((path, type, node["sdp"]))
            for key, value in node.items():
                walk(value, f"{path}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{path}/{index}")

    walk(json.loads((FOLDER / "godot" / "godot_sdp.json").read_text(encoding="utf-8")), "godot")
    return found


PEERS = {
    path.relative_to(FOLDER / "peers").with_suffix("").as_posix(): json.loads(
        path.read_text(encoding="utf-8")
    )
    for path in sorted((FOLDER / "peers").rglob("*.json"))
}
DESCRIPTIONS = _godot()
for name, content in PEERS.items():
    for index, entry in enumerate(content["sdp"]):
        DESCRIPTIONS.append((f"{name}/{index}", entry["type"], entry["sdp"]))
        if "to_offer" in entry:
            DESCRIPTIONS.append((f"{name}/{index}/to", "offer", entry["to_offer"]))
OFFERS = [(name, text) for name, type, text in DESCRIPTIONS if type == "offer"]
CANDIDATES = sorted({line for content in PEERS.values() for line in content["candidates"]})

every_description = pytest.mark.parametrize("text", [pytest.param(t, id=n) for n, _, t in DESCRIPTIONS])
every_offer = pytest.mark.parametrize("text", [pytest.param(t, id=n) for n, t in OFFERS])


def test_there_are_captures_of_every_peer():
    assert len(DESCRIPTIONS) > 100
    assert {name.split("/")[0] for name, _, _ in DESCRIPTIONS} == {
        *("aiortc", "chromium", "firefox", "godot", "ipv6", "ndc", "pion", "werift", "wrtc")
    }


@every_description
def test_a_description_is_written_back_as_it_was(text):
    description = SessionDescription.parse(text)
    assert description.write().replace("\r\n", "\n") == text.replace("\r\n", "\n")
    assert SessionDescription.parse(description.write()) == description


@every_description
def test_every_peer_tells_what_a_connection_needs(text):
    remote = read_remote(SessionDescription.parse(text))
    assert f"a=ice-ufrag:{remote.ufrag}" in text
    assert f"a=ice-pwd:{remote.password}" in text
    assert [(name, len(digest)) for name, digest in remote.fingerprints] in (
        [("sha-256", 32)],
        [("sha-256", 32), ("sha-384", 48), ("sha-512", 64)],
    )
    assert remote.setup in ("actpass", "active", "passive")
    assert remote.sctp_port == 5000
    assert remote.max_message_size in (65536, 262144, 1073741823)
    assert not remote.legacy
    section = text[text.index("m=application") :]
    assert len(remote.candidates) == section.count("a=candidate:")
    assert remote.end_of_candidates == ("a=end-of-candidates" in section)


@every_offer
def test_every_offer_is_answered_section_by_section(text):
    offer = SessionDescription.parse(text)
    answer = write_answer(offer, LOCAL)
    remote = check_answer(offer, answer)
    assert [section.media for section in answer.media] == [section.media for section in offer.media]
    for ours, theirs in zip(answer.media, offer.media, strict=True):
        assert (ours.mid, ours.protocol, ours.formats) == (theirs.mid, theirs.protocol, theirs.formats)
        assert ours.rejected == (ours.media != "application")
    assert answer.bundles == ((remote.mid,),)
    assert (remote.setup, remote.ufrag, remote.password) == ("active", "abcd", "p" * 22)


@pytest.mark.parametrize("name", PEERS)
def test_every_answer_fits_its_offer(name):
    for entry in PEERS[name]["sdp"]:
        if "to_offer" in entry:
            offer, answer = map(SessionDescription.parse, (entry["to_offer"], entry["sdp"]))
            assert check_answer(offer, answer).setup == "active"


@pytest.mark.parametrize("name", PEERS)
def test_an_ice_restart_is_seen(name):
    first, *more = [entry for entry in PEERS[name]["sdp"] if entry["type"] == "offer"]
    assert check_update(*[SessionDescription.parse(first["sdp"])] * 2) is False
    for entry in more:
        old, new = (SessionDescription.parse(e["sdp"]) for e in (first, entry))
        # aiortc and libdatachannel cannot restart: these captures are of another connection.
        if entry.get("ice_restart") and read_remote(old).session_id == read_remote(new).session_id:
            assert check_update(old, new) is (read_remote(old).ufrag != read_remote(new).ufrag)


@every_offer
def test_we_can_offer_to_a_peer_that_has_offered(text):
    answer = write_answer(SessionDescription.parse(text), LOCAL)
    offer = write_offer(LOCAL, answer)
    assert [(s.media, s.mid, s.rejected) for s in offer.media] == [
        (s.media, s.mid, s.rejected) for s in answer.media
    ]
    assert offer.session_version == answer.session_version + 1
    assert check_update(answer, offer) is False


def test_every_truncation_parses_or_raises_sdp_error():
    shapes: dict[str, str] = {}
    lines: list[int] = []
    for name, _, text in DESCRIPTIONS:
        shapes.setdefault(name.split("/")[0], text)
    for text in shapes.values():
        for length in range(len(text)):
            try:
                description = SessionDescription.parse(text[:length])
                read_remote(description)
            except SdpError as error:
                lines.append(error.line)
                continue
            write_answer(description, LOCAL)
    assert lines
    assert all(lines)


@pytest.mark.parametrize("text", CANDIDATES)
def test_a_candidate_is_written_back_as_it_was(text):
    candidate = parse_candidate(text)
    words = text.removeprefix("a=").split(" ")
    words[2] = words[2].lower()
    assert candidate.write() == " ".join(words)
    assert parse_candidate(candidate.write()) == candidate


def test_every_truncation_of_a_candidate_parses_or_raises_sdp_error():
    for text in CANDIDATES:
        for length in range(len(text)):
            with contextlib.suppress(SdpError):
                parse_candidate(text[:length])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "chromium",
            CandidateLine(
                *("2122531651", 1, "udp", 2113937151, "10.77.0.1", 34215, "host"),
                extensions=(("generation", "0"), ("ufrag", "W2KS"), ("network-cost", "999")),
            ),
        ),
        ("firefox", CandidateLine("0", 1, "udp", 2122252543, "10.77.0.1", 36616, "host")),
        ("ndc", CandidateLine("1", 1, "udp", 2114977791, "10.77.0.1", 45725, "host")),
        (
            "aiortc",
            CandidateLine(
                *("41c49a367b69f260933ec15436c8fa3b", 1, "udp", 2130706431, "10.77.0.1", 50825, "host")
            ),
        ),
        (
            "werift",
            CandidateLine(
                *("67b69f260933ec15436c8fa3b", 1, "udp", 2116026367, "10.77.0.1", 36326, "host"),
                extensions=(("generation", "0"), ("ufrag", "4b6c")),
            ),
        ),
        ("pion", CandidateLine("768377705", 1, "udp", 2130706431, "10.77.0.1", 42540, "host")),
        (
            "wrtc",
            CandidateLine(
                *("3548106173", 1, "udp", 2122260223, "10.77.0.1", 49475, "host"),
                extensions=(
                    *(("generation", "0"), ("ufrag", "fVVy")),
                    *(("network-id", "2"), ("network-cost", "50")),
                ),
            ),
        ),
    ],
)
def test_the_first_candidate_of_a_peer_has_these_fields(name, expected):
    assert parse_candidate(PEERS[name]["candidates"][0]) == expected
