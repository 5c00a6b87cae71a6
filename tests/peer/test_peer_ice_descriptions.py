"""What descriptions say about ICE, and what is made of what they say (RFC 8839, RFC 8840, RFC 8838)."""

from __future__ import annotations

import re

import pytest
from peer_support import Two, record

from rtcstack import SdpError


class Described(Two):
    """Two peers with their descriptions kept; `edit` changes those of `a` on the way."""

    def __init__(self, *, wired: bool = True, **configuration: object) -> None:
        super().__init__(configuration, wired=False)
        self.signals = {peer: record(peer) for peer in self.both}
        self.edits: list[tuple[str, str]] = []
        if wired:
            for here, there in (self.both, self.both[::-1]):
                here.ice_candidate_created.connect(there.add_ice_candidate)
                here.session_description_created.connect(
                    lambda kind, sdp, there=there: there.set_remote_description(kind, self.edited(sdp))
                )

    def edited(self, sdp: str) -> str:
        for pattern, replacement in self.edits:
            sdp = re.sub(pattern, replacement, sdp)
        return sdp

    def told(self, peer: object) -> str:
        return next(each[2] for each in self.signals[peer] if each[0] == "session_description_created")  # type: ignore[index]

    def lines(self, peer: object) -> list[str]:
        return [each[3] for each in self.signals[peer] if each[0] == "ice_candidate_created"]  # type: ignore[index]


def test_a_description_says_that_we_are_compliant_and_trickle() -> None:
    """RFC 8445 §10, RFC 8839 §4.2.1.5, RFC 8840 §4.1.1, §4.1.3: ice2 and trickle, in offer and answer."""
    two = Described()
    two.connected()
    for peer in two.both:
        assert "\r\na=ice-options:trickle ice2\r\n" in two.told(peer)


def test_an_answer_repeats_only_what_was_offered() -> None:
    """RFC 8839 §4.2.1.5, RFC 8445 §10: to an RFC 5245 peer nothing is said that it does not know."""
    two = Described()
    two.edits = [(r"a=ice-options:.*\r\n", "")]
    two.connected()
    assert "ice-options" not in two.told(two.b)


def test_the_credentials_are_long_enough_and_of_ice_chars() -> None:
    """RFC 8839 §4.2.1.3, §5.4: 4 to 256 and 22 to 256 characters; ours carry 48 and 144 bits."""
    two = Described()
    two.connected()
    for peer in two.both:
        ufrag = re.search(r"a=ice-ufrag:([A-Za-z0-9+/]+)\r\n", two.told(peer))
        password = re.search(r"a=ice-pwd:([A-Za-z0-9+/]+)\r\n", two.told(peer))
        assert ufrag is not None
        assert password is not None
        assert (len(ufrag[1]), len(password[1])) == (8, 24)


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"a=ice-ufrag:.*\r\n", ""),
        (r"a=ice-pwd:.*\r\n", ""),
        (r"a=ice-ufrag:.*\r\n", "a=ice-ufrag:abc\r\n"),
        (r"a=ice-pwd:.*\r\n", "a=ice-pwd:short\r\n"),
        (r"a=ice-ufrag:.*\r\n", "a=ice-ufrag:" + "a" * 257 + "\r\n"),
    ],
)
def test_a_description_without_usable_credentials_is_refused(pattern: str, replacement: str) -> None:
    """RFC 8839 §4.2.5, §5.4: without them there is no ICE, and nothing else here."""
    two = Described(wired=False)
    two.edits = [(pattern, replacement)]
    two.a.create_offer()
    two.a.poll()
    with pytest.raises(SdpError, match="ice-"):
        two.b.set_remote_description("offer", two.edited(two.told(two.a)))
    assert two.b.get_signaling_state() == two.b.SIGNALING_STATE_STABLE


def test_a_candidate_line_has_all_fields_and_the_generation() -> None:
    """RFC 8839 §4.2.1.2, §5.1, RFC 8838 §9.1 (ufrag): foundation, component, transport, priority, type."""
    two = Described()
    two.connected()
    for line in two.lines(two.a):
        assert re.fullmatch(r"candidate:\S+ 1 udp \d+ \S+ \d+ typ host ufrag \S{8}", line)


def test_the_full_description_has_all_candidates_and_says_that_these_are_all() -> None:
    """RFC 8840 §8.1, RFC 8838 §16: for signaling without trickling, as half trickle needs it."""
    two = Described(wired=False)
    two.a.create_offer()
    two.run(lambda: two.a.get_gathering_state() == two.a.GATHERING_STATE_COMPLETE)
    text = two.a.get_local_description()
    assert "\r\na=candidate:" in text
    assert "\r\na=end-of-candidates\r\n" in text
    two.b.set_remote_description("offer", text)
    two.run(lambda: two.b.get_gathering_state() == two.b.GATHERING_STATE_COMPLETE)
    two.a.set_remote_description("answer", two.b.get_local_description())
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_a.STATE_OPEN)


def test_candidates_may_come_in_any_order() -> None:
    """RFC 8838 §17, §11: each is paired when it is here; the order in which they came means nothing."""
    two = Described()
    held: list[tuple[str, int, str]] = []
    two.a.ice_candidate_created.disconnect(two.b.add_ice_candidate)
    two.a.ice_candidate_created.connect(lambda *candidate: held.append(candidate))
    two.a.create_offer()
    two.run(lambda: held, limit=1.0)
    for port in (9, 8, 7):
        two.b.add_ice_candidate("0", 0, f"candidate:{port} 1 udp {port} 192.0.2.9 {port} typ host")
    for candidate in reversed(held):
        two.b.add_ice_candidate(*candidate)
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_a.STATE_OPEN)


@pytest.mark.parametrize("line", ["", "candidate:", "a=end-of-candidates", "end-of-candidates"])
def test_every_spelling_of_the_end_is_one(line: str) -> None:
    """RFC 8838 §14, RFC 8840 §8.2: later candidates are ignored, which is counted."""
    two = Two().connected()
    two.a.add_ice_candidate("0", 0, line)
    two.a.add_ice_candidate("0", 0, "candidate:9 1 udp 99 192.0.2.9 9 typ host")
    assert two.a.get_stats().drops["ice.remote_late"] == 1


def test_a_failure_of_every_pair_at_once_waits_for_the_peers_checks() -> None:
    """RFC 8863 §3.1, §3.2, §3.3: no usable candidate of the peer at all; its own checks make the path."""
    two = Described()
    two.b.ice_candidate_created.disconnect(two.a.add_ice_candidate)
    two.a.create_offer()
    two.b.ice_candidate_created.connect(lambda *_: None)
    assert two.run(lambda: two.chat_a.get_ready_state() == two.chat_a.STATE_OPEN)
    pair = two.a.get_stats().selected_pair
    assert pair is not None
    assert pair.remote_type == "prflx"
