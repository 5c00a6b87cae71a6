"""Write docs/conformance-wpt.md: which subtest of the Web Platform Tests is held by which test of ours.

    python tests/conformance/wpt_table.py

A line `WPT file: title` in the docstring of a test names a subtest that it tells anew; what is indented below
belongs to the line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
DOCUMENT = FOLDER.parents[1] / "docs" / "conformance-wpt.md"

_SUBTEST = re.compile(r"WPT (?P<file>[\w/-]+): (?P<title>.+)")

HEAD = """\
# Web Platform Tests: subtest by subtest

Browsers are held to the [Web Platform
Tests](https://github.com/web-platform-tests/wpt/tree/master/webrtc). Those of their subtests that concern
data channels and negotiation are told anew here, in the words and methods of `PeerConnection`: what
throws there raises an `RTCError` here, what fires there is a signal. The titles are theirs where they
have one for what a test shows, and otherwise say it in few words. All of them pass. The page is written
from the tests by `python tests/conformance/wpt_table.py`, and a test sees that it is up to date.
"""

DIFFERENT = {
    "createOffer() with no argument from newly created RTCPeerConnection should succeed": (
        "RTCPeerConnection-createOffer",
        "as in Godot, an offer without a channel is refused: there is nothing to negotiate",
    ),
    "createOffer() in have-local-offer, several offers of which the last counts": (
        "RTCPeerConnection-setLocalDescription-offer",
        "as in Godot, create_offer() sets its offer at once, and a second one is refused while it is pending",
    ),
    "setLocalDescription(rollback) after setting a remote offer should reject with InvalidStateError": (
        "RTCPeerConnection-setLocalDescription-rollback",
        "RFC 8829 section 5.7: the effect is the same whichever side's description says rollback",
    ),
    "setRemoteDescription(rollback) after setting a local offer should reject with InvalidStateError": (
        "RTCPeerConnection-setRemoteDescription-rollback",
        "likewise",
    ),
    'setLocalDescription(rollback) of original offer should cause iceGatheringState to reach "new"': (
        "RTCPeerConnection-explicit-rollback-iceGatheringState",
        "sockets and candidates are kept; the next description brings the candidates again",
    ),
    "restartIce() survives rollback": (
        "RTCPeerConnection-restartIce",
        "restart_ice() makes the offer itself; who takes it back asks again",
    ),
    "Add ICE candidate before setting remote description should reject with InvalidStateError": (
        "RTCPeerConnection-addIceCandidate",
        "it waits for the description",
    ),
    "Add candidate with invalid sdpMid or sdpMLineIndex should reject with OperationError": (
        "RTCPeerConnection-addIceCandidate",
        "as in Godot, both are ignored: there is one section that counts",
    ),
    "createDataChannel with lone surrogate in label or protocol should succeed": (
        "RTCPeerConnection-createDataChannel",
        "refused: a str of Python that is no UTF-8 is a mistake",
    ),
    "createDataChannel with negotiated false and id 42 should ignore the id": (
        "RTCPeerConnection-createDataChannel",
        "as in Godot, an id without negotiated is refused",
    ),
    "New datachannel should be in the connecting state after creation (after connection establishment)": (
        "RTCPeerConnection-createDataChannel",
        "it is open at once: what it sends follows its announcement (RFC 8832 section 6)",
    ),
    "Open event should be raised when closing the channel in the datachannel event after enqueuing a task": (
        "RTCPeerConnection-ondatachannel",
        "a channel is open when it is received; there is no second signal for it",
    ),
    "bufferedAmount keeps its value once the channel is closed": (
        "RTCDataChannel-bufferedAmount",
        "while it is closing; a closed channel has nothing left to send, and says 0",
    ),
    "Calling close() on a failed connection sets connectionState to closed": (
        "RTCPeerConnection-close",
        "FAILED stays, with its reason",
    ),
    "with relative url should throw SyntaxError": (
        "RTCConfiguration-iceServers",
        "as in Godot's plugin, a URL without scheme is a STUN server",
    ),
    "with turn server and no credentials should throw InvalidAccessError": (
        "RTCConfiguration-iceServers",
        "as in Godot; a server that wants some says so in ice_candidate_error",
    ),
    "Handover to another peer connection of the other side": (
        "protocol/handover, -datachannel, -failure, -torture",
        "another certificate needs a new connection here; it is refused with its line",
    ),
}
"""Subtest -> (file, what we do instead and why)."""

ABSENT = {
    "RTCDataChannel-binaryType, -send with Blob, -send-blob-order with Blob, -send-close-blob": (
        "bytes are bytes in Python"
    ),
    "RTCDataChannelEvent-, RTCIceCandidate-, RTCPeerConnectionIceEvent-, RTCSctpTransport-constructor": (
        "signals carry plain values; there are no event classes to construct"
    ),
    "RTCPeerConnection-operations, -description-attributes-timing, promises": (
        "calls do their work at once: there is no chain of operations and no promise"
    ),
    "RTCPeerConnection-onnegotiationneeded": (
        "a connection negotiates for its first channel, and when the application asks for a restart"
    ),
    "RTCPeerConnection-canTrickleIceCandidates": "every connection takes candidates at any time",
    "RTCPeerConnection-rollback-receptive, -plan-b, tracks, transceivers": "no media",
    "RTCIceTransport-extension, RTCIceTransport objects": "get_stats() has what they say",
    "RTCConfiguration-validation of setConfiguration()": "initialize() starts afresh instead",
    "RTCCertificate-postMessage": "to_pem() and from_pem() carry a certificate",
}
"""Files or groups of subtests that cannot be told with this API -> why."""


class Row(NamedTuple):
    """One subtest and the test that holds it."""

    file: str
    title: str
    test: str


def rows_of(path: Path) -> Iterator[Row]:
    """Read the subtests that one file of tests names.

    Raises ValueError if a test names none.
    """
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        lines = re.sub(r"\n +", " ", ast.get_docstring(node) or "").split("\n")
        found = [match for line in lines if (match := _SUBTEST.match(line.strip()))]
        if not found:
            raise ValueError(f"{path.name}: {node.name} does not say which subtest it tells")
        for match in found:
            yield Row(match["file"], match["title"].strip(), node.name)


def table() -> str:
    """Give the whole page."""
    rows = sorted(row for path in FOLDER.glob("test_conformance_wpt_*.py") for row in rows_of(path))
    parts = [
        HEAD,
        f"{len({row[:2] for row in rows})} subtests.\n",
        "| file | subtest | test | |",
        "|---|---|---|---|",
    ]
    parts += [f"| {row.file} | {row.title} | `{row.test}` | pass |" for row in rows]
    parts += ["\n## What we do differently\n", "| file | subtest | here |", "|---|---|---|"]
    parts += [f"| {file} | {title} | {reason} |" for title, (file, reason) in DIFFERENT.items()]
    parts += ["\n## What has no counterpart\n", "| subtests | why |", "|---|---|"]
    parts += [f"| {what} | {reason} |" for what, reason in ABSENT.items()]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(table(), encoding="utf-8")
