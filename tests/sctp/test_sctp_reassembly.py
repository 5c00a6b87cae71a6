"""From chunks back to messages."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack.errors import WireError
from rtcstack.sctp.chunks import BEGIN, END, UNORDERED, WHOLE
from rtcstack.sctp.reassembly import PIECE_OVERHEAD, ProtocolViolation, Reassembly

U16 = 0xFFFF
U32 = 0xFFFFFFFF
MIDDLE = 0


def plain(max_message_size: int = 1000) -> Reassembly:
    return Reassembly(interleaving=False, max_message_size=max_message_size)


def interleaving(max_message_size: int = 1000) -> Reassembly:
    return Reassembly(interleaving=True, max_message_size=max_message_size)


# --- any order, against a model ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """One message as its sender knows it; numbers do not wrap here."""

    stream_id: int
    unordered: bool
    number: int
    ppid: int
    parts: tuple[bytes, ...]
    tsn: int
    lost: bool

    @property
    def message(self) -> tuple[int, int, bytes]:
        return self.stream_id, self.ppid, b"".join(self.parts)


@dataclass(frozen=True)
class Piece:
    """One fragment of a message."""

    sent: Sent
    index: int

    @property
    def tsn(self) -> int:
        return self.sent.tsn + self.index

    @property
    def flags(self) -> int:
        return (
            (BEGIN if self.index == 0 else 0)
            | (END if self.index == len(self.sent.parts) - 1 else 0)
            | (UNORDERED if self.sent.unordered else 0)
        )

    def give(self, reassembly: Reassembly, *, interleaved: bool) -> None:
        sent, payload = self.sent, self.sent.parts[self.index]
        if interleaved:
            ppid_or_fsn = sent.ppid if self.index == 0 else self.index
            reassembly.add_interleaved(sent.stream_id, sent.number & U32, ppid_or_fsn, self.flags, payload)
        else:
            ssn = 77 if sent.unordered else sent.number & U16  # of unordered chunks the SSN is to be ignored
            reassembly.add(self.tsn & U32, sent.stream_id, ssn, sent.ppid, self.flags, payload)


@st.composite
def conversations(draw: st.DrawFn) -> list[Sent]:
    """Messages on three streams, whose numbers begin just before they wrap."""
    shapes = draw(
        st.lists(
            st.tuples(
                st.integers(0, 2),  # stream
                st.booleans(),  # unordered
                st.integers(1, 5),  # fragments
                st.integers(0, 9).map(lambda dice: dice == 0),  # lost and given up
            ),
            min_size=1,
            max_size=25,
        )
    )
    tsn = draw(st.sampled_from([5, 2**32 - 10, 2**31 - 5]))
    first = draw(st.sampled_from([0, 2**16 - 3, 2**32 - 3]))
    numbers: dict[tuple[int, bool], int] = {}
    sent = []
    for index, (stream_id, unordered, count, lost) in enumerate(shapes):
        number = numbers.get((stream_id, unordered), first)
        numbers[stream_id, unordered] = number + 1
        parts = tuple(f"<{index}.{part}>".encode() for part in range(count))
        sent.append(Sent(stream_id, unordered, number, 50 + index, parts, tsn, lost))
        tsn += count
    return sent


def begin_at(reassembly: Reassembly, sent: list[Sent], *, interleaved: bool) -> None:
    """Bring the ordered numbers of each stream to those of the first message."""
    for message in sent:
        if message.unordered:
            continue
        last = message.number - 1
        if last >= 0 and interleaved:
            for step in (2**31 - 1, 2**32 - 2, last):
                reassembly.skip_interleaved([(message.stream_id, False, min(step, last))])
        elif last >= 0:
            for step in (2**15 - 1, 2**16 - 2, last & U16):
                reassembly.skip(0, [(message.stream_id, min(step, last & U16))])


def in_order_of(messages: list[tuple[int, int, bytes]], sent: list[Sent]) -> None:
    """Check that ordered messages of each stream come in the order in which they were sent."""
    position = {message.message: index for index, message in enumerate(sent)}
    unordered = {message.message for message in sent if message.unordered}
    for stream_id in range(3):
        places = [position[m] for m in messages if m[0] == stream_id and m not in unordered]
        assert places == sorted(places)


@pytest.mark.parametrize("interleaved", [False, True])
@given(data=st.data())
@settings(max_examples=60)
def test_any_order_of_arrival_gives_every_message_once(interleaved: bool, data: st.DataObject):
    sent = [m for m in data.draw(conversations()) if not m.lost]
    reassembly = Reassembly(interleaving=interleaved, max_message_size=0)
    first_of_streams = {}
    for message in sent:
        first_of_streams.setdefault((message.stream_id, message.unordered), message)
    begin_at(reassembly, list(first_of_streams.values()), interleaved=interleaved)
    numbers = {key: message.number for key, message in first_of_streams.items()}
    renumbered = []
    for message in sent:  # those that are not sent at all leave no hole in the numbers
        key = (message.stream_id, message.unordered)
        renumbered.append(replace(message, number=numbers[key]))
        numbers[key] += 1
    pieces = [Piece(message, index) for message in renumbered for index in range(len(message.parts))]

    for piece in data.draw(st.permutations(pieces)):
        piece.give(reassembly, interleaved=interleaved)
        assert reassembly.size >= 0
    messages = reassembly.take_messages()
    assert sorted(messages) == sorted(message.message for message in renumbered)
    in_order_of(messages, renumbered)
    assert (reassembly.size, reassembly.stale, reassembly.take_messages()) == (0, 0, [])


@pytest.mark.parametrize("interleaved", [False, True])
@given(data=st.data())
@settings(max_examples=60)
def test_what_the_peer_gives_up_holds_nothing_up(interleaved: bool, data: st.DataObject):
    """RFC 3758 §3.6: after the FORWARD-TSN all other messages are there, in order, and nothing is kept."""
    sent = data.draw(conversations())
    reassembly = Reassembly(interleaving=interleaved, max_message_size=0)
    firsts = {}
    for message in sent:
        firsts.setdefault((message.stream_id, message.unordered), message)
    begin_at(reassembly, list(firsts.values()), interleaved=interleaved)
    pieces = [
        Piece(message, index)
        for message in sent
        for index in range(len(message.parts))
        if not message.lost or (len(message.parts) > 1 and data.draw(st.booleans()))
    ]
    # At least one fragment of a message that is given up must be missing.
    for message in sent:
        own = [piece for piece in pieces if piece.sent is message]
        if message.lost and len(own) == len(message.parts):
            pieces.remove(data.draw(st.sampled_from(own)))
    for piece in data.draw(st.permutations(pieces)):
        piece.give(reassembly, interleaved=interleaved)

    abandoned = [message for message in sent if message.lost]
    skipped: dict[tuple[int, bool], int] = {}
    for message in abandoned:
        skipped[message.stream_id, message.unordered] = message.number
    cumulative = max((m.tsn + len(m.parts) - 1 for m in abandoned), default=0)
    if interleaved:
        entries = [(stream_id, unordered, number & U32) for (stream_id, unordered), number in skipped.items()]
        reassembly.skip_interleaved(entries)
    elif abandoned:
        ordered = [(stream_id, number & U16) for (stream_id, unord), number in skipped.items() if not unord]
        reassembly.skip(cumulative & U32, ordered)
    messages = reassembly.take_messages()
    assert sorted(messages) == sorted(message.message for message in sent if not message.lost)
    in_order_of(messages, sent)
    assert (reassembly.size, reassembly.stale) == (0, 0)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7),  # offset of the TSN from the last one
            st.integers(0, 2),
            st.integers(0, U32),
            st.integers(0, 7),
            st.binary(min_size=1, max_size=30),
            st.sampled_from(["add", "add", "add", "skip", "reset"]),
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_garbage_is_refused_or_held_but_never_breaks(steps, interleaved: bool):
    reassembly = Reassembly(interleaving=interleaved, max_message_size=50)
    given_tsns = set()
    given_bytes = delivered = 0
    for tsn, stream_id, number, flags, payload, action in steps:
        tsn = (2**32 - 3 + tsn * 3 + number % 3) & U32
        number %= 5 if number & 8 else 2**32
        try:
            if action == "skip" and interleaved:
                reassembly.skip_interleaved([(stream_id, bool(flags & UNORDERED), number)])
            elif action == "skip":
                reassembly.skip(tsn, [(stream_id, number & U16)])
            elif action == "reset":
                reassembly.reset_streams([stream_id] if flags else [])
            elif interleaved:
                reassembly.add_interleaved(stream_id, number % 4, number % 6, flags, payload)
                given_bytes += len(payload)
            elif tsn not in given_tsns:
                given_tsns.add(tsn)
                given_bytes += len(payload)
                reassembly.add(tsn, stream_id, number & U16, 51, flags, payload)
        except ProtocolViolation:
            return
        messages = reassembly.take_messages()
        assert all(len(payload) <= 50 for _, _, payload in messages)
        delivered += sum(len(payload) for _, _, payload in messages)
        assert delivered <= given_bytes
        assert 0 <= reassembly.size <= given_bytes + PIECE_OVERHEAD * len(steps)
    reassembly.reset_streams()
    assert reassembly.size == 0


# --- DATA -------------------------------------------------------------------------------------------------


def test_an_ordered_message_waits_for_the_one_before():
    """RFC 9260 §6.6: SSN 1 comes first and is held."""
    reassembly = plain()
    reassembly.add(11, 7, 1, 51, WHOLE, b"second")
    assert reassembly.take_messages() == []
    assert reassembly.size == len(b"second") + PIECE_OVERHEAD
    reassembly.add(10, 7, 0, 51, WHOLE, b"first")
    assert reassembly.take_messages() == [(7, 51, b"first"), (7, 51, b"second")]
    assert reassembly.size == 0


def test_an_unordered_message_and_another_stream_do_not_wait():
    reassembly = plain()
    reassembly.add(11, 7, 1, 51, WHOLE, b"held")
    reassembly.add(12, 7, 9, 53, WHOLE | UNORDERED, b"unordered")
    reassembly.add(13, 8, 0, 51, WHOLE, b"other stream")
    assert reassembly.take_messages() == [(7, 53, b"unordered"), (8, 51, b"other stream")]


def test_fragments_are_joined_and_counted_until_the_last_has_come():
    reassembly = plain()
    reassembly.add(10, 1, 0, 53, BEGIN, b"aaa")
    reassembly.add(11, 1, 0, 53, MIDDLE, b"bb")
    assert reassembly.size == 5 + 2 * PIECE_OVERHEAD
    reassembly.add(12, 1, 0, 53, END, b"c")
    assert reassembly.take_messages() == [(1, 53, b"aaabbc")]
    assert reassembly.size == 0


def test_ssn_wraps():
    reassembly = plain()
    for ssn in range(2**16 + 2):
        reassembly.add(ssn, 0, ssn & U16, 51, WHOLE, b"x")
    assert len(reassembly.take_messages()) == 2**16 + 2
    assert reassembly.size == 0


def test_the_ppid_is_that_of_the_first_fragment():
    reassembly = plain()
    reassembly.add(2, 1, 0, 99, END, b"b")
    reassembly.add(1, 1, 0, 51, BEGIN, b"a")
    assert reassembly.take_messages() == [(1, 51, b"ab")]


@pytest.mark.parametrize(
    ("stream_id", "ssn", "flags"),
    [(2, 0, MIDDLE), (1, 1, MIDDLE), (1, 0, MIDDLE | UNORDERED), (2, 0, END), (1, 1, END)],
)
@pytest.mark.parametrize("first_comes_first", [True, False])
def test_a_fragment_of_another_message_in_between_is_a_violation(
    stream_id: int, ssn: int, flags: int, first_comes_first: bool
):
    """RFC 9260 §3.3.1: the TSNs of the fragments of a message are strictly sequential."""
    chunks = [(1, 1, 0, 51, BEGIN, b"a"), (2, stream_id, ssn, 51, flags, b"b")]
    first, second = chunks if first_comes_first else reversed(chunks)
    reassembly = plain()
    reassembly.add(*first)
    with pytest.raises(ProtocolViolation):
        reassembly.add(*second)


def test_the_violation_is_an_error_of_the_wire():
    assert issubclass(ProtocolViolation, WireError)


def test_the_ssn_of_unordered_fragments_is_ignored():
    """RFC 9260 §3.3.1: the receiver MUST ignore the SSN if the U bit is set."""
    reassembly = plain()
    reassembly.add(1, 1, 0, 51, BEGIN | UNORDERED, b"a")
    reassembly.add(2, 1, 7, 51, END | UNORDERED, b"b")
    assert reassembly.take_messages() == [(1, 51, b"ab")]


def test_a_beginning_without_end_is_held_and_the_next_message_goes_on():
    reassembly = plain()
    reassembly.add(1, 1, 0, 51, BEGIN | UNORDERED, b"never finished")
    reassembly.add(2, 1, 0, 51, BEGIN | UNORDERED, b"a")
    reassembly.add(3, 1, 0, 51, END | UNORDERED, b"b")
    assert reassembly.take_messages() == [(1, 51, b"ab")]
    assert reassembly.size == len(b"never finished") + PIECE_OVERHEAD
    reassembly.skip(2, [])
    assert reassembly.size == 0


def test_an_end_without_beginning_delivers_nothing():
    reassembly = plain()
    for tsn in range(100):
        reassembly.add(tsn, 1, tsn, 51, END, b"x")
    assert reassembly.take_messages() == []
    assert reassembly.size == 100 * (1 + PIECE_OVERHEAD)
    reassembly.skip(99, [])
    assert reassembly.size == 0


def test_an_ssn_far_ahead_is_held_and_one_behind_is_dropped():
    reassembly = plain()
    reassembly.add(1, 1, 2**15 - 1, 51, WHOLE, b"ahead")
    reassembly.add(2, 1, 2**15, 51, WHOLE, b"behind")
    reassembly.add(3, 1, 2**16 - 1, 51, WHOLE, b"behind")
    assert reassembly.stale == 2
    reassembly.add(4, 1, 0, 51, WHOLE, b"next")
    assert reassembly.take_messages() == [(1, 51, b"next")]
    assert reassembly.size == len(b"ahead") + PIECE_OVERHEAD


def test_a_number_that_comes_twice_is_delivered_once():
    reassembly = plain()
    for tsn in (1, 2):
        reassembly.add(tsn, 1, 1, 51, WHOLE, b"held")
    for tsn in (3, 4):
        reassembly.add(tsn, 1, 0, 51, WHOLE, b"first")
    assert reassembly.take_messages() == [(1, 51, b"first"), (1, 51, b"held")]
    assert reassembly.stale == 2


# --- too large --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 1, 3), (1, 3, 0, 2), (3, 0, 1, 2)])
@pytest.mark.parametrize("interleaved", [False, True])
def test_a_message_that_is_too_large_is_thrown_away_and_reported(order: tuple[int, ...], interleaved: bool):
    reassembly = Reassembly(interleaving=interleaved, max_message_size=39)
    large = Sent(4, False, 0, 51, (b"x" * 10,) * 4, 100, False)
    after = Sent(4, False, 1, 51, (b"y" * 20, b"z" * 19), 104, False)
    for index in order:
        Piece(large, index).give(reassembly, interleaved=interleaved)
    assert reassembly.take_oversized() == [4]
    assert reassembly.take_oversized() == []
    assert reassembly.size == 0
    for index in (0, 1):
        Piece(after, index).give(reassembly, interleaved=interleaved)
    assert reassembly.take_messages() == [after.message]
    assert reassembly.size == 0


@pytest.mark.parametrize("interleaved", [False, True])
def test_nothing_more_of_a_message_that_is_too_large_is_held(interleaved: bool):
    reassembly = Reassembly(interleaving=interleaved, max_message_size=1000)
    endless = Sent(4, True, 0, 51, (b"x" * 100,) * 1000, 0, False)
    for index in range(999):
        Piece(endless, index).give(reassembly, interleaved=interleaved)
        assert reassembly.size <= 1000 + 10 * PIECE_OVERHEAD
    assert reassembly.size == 0
    Piece(endless, 999).give(reassembly, interleaved=interleaved)
    assert (reassembly.take_messages(), reassembly.take_oversized()) == ([], [4])


@pytest.mark.parametrize(
    "order",
    [
        (0, 1, 2, 4, 5, 6, 3, 7),  # both sides of a hole are too large when it closes
        (0, 4, 5, 6, 1, 2, 3, 7),  # only the later one
        (0, 1, 2, 4, 3, 5, 6, 7),  # only the earlier one
    ],
)
def test_parts_of_a_large_message_may_meet_in_any_way(order: tuple[int, ...]):
    reassembly = plain(25)
    large = Sent(4, False, 0, 51, (b"x" * 10,) * 8, 100, False)
    for index in order:
        Piece(large, index).give(reassembly, interleaved=False)
    assert set(reassembly.take_oversized()) == {4}
    assert reassembly.size == 0
    reassembly.add(108, 4, 1, 51, WHOLE, b"next")
    assert reassembly.take_messages() == [(4, 51, b"next")]


@pytest.mark.parametrize("flags", [WHOLE, WHOLE | UNORDERED])
@pytest.mark.parametrize("interleaved", [False, True])
def test_the_limit_holds_for_a_message_in_one_piece(flags: int, interleaved: bool):
    reassembly = Reassembly(interleaving=interleaved, max_message_size=5)
    for payload in (b"12345", b"123456"):
        if interleaved:
            reassembly.add_interleaved(0, len(payload) - 5, 51, flags, payload)
        else:
            reassembly.add(len(payload), 0, len(payload) - 5, 51, flags, payload)
    assert reassembly.take_messages() == [(0, 51, b"12345")]
    assert reassembly.take_oversized() == [0]


def test_a_message_behind_a_large_one_that_waits_is_delivered_in_its_turn():
    reassembly = plain(5)
    reassembly.add(3, 0, 2, 51, WHOLE, b"third")
    reassembly.add(2, 0, 1, 51, WHOLE, b"second")
    assert reassembly.take_oversized() == [0]
    reassembly.add(1, 0, 0, 51, WHOLE, b"first")
    assert reassembly.take_messages() == [(0, 51, b"first"), (0, 51, b"third")]
    assert reassembly.size == 0


# --- FORWARD-TSN ------------------------------------------------------------------------------------------


def test_messages_that_waited_for_an_abandoned_one_are_released():
    """RFC 3758 §3.6: SSN 0 of stream 1 is given up, 1 and 2 are there, 4 waits for 3."""
    reassembly = plain()
    for tsn, ssn in ((11, 1), (12, 2), (14, 4)):
        reassembly.add(tsn, 1, ssn, 51, WHOLE, b"%d" % ssn)
    reassembly.skip(10, [(1, 0)])
    assert reassembly.take_messages() == [(1, 51, b"1"), (1, 51, b"2")]
    reassembly.skip(13, [(1, 3)])
    assert reassembly.take_messages() == [(1, 51, b"4")]
    assert reassembly.size == 0


def test_a_skip_over_several_numbers_delivers_what_is_held_among_them():
    reassembly = plain()
    for ssn in (1, 3, 5, 40):
        reassembly.add(10 + ssn, 1, ssn, 51, WHOLE, b"%d" % ssn)
    reassembly.skip(14, [(1, 4)])
    assert [payload for _, _, payload in reassembly.take_messages()] == [b"1", b"3", b"5"]
    reassembly.skip(48, [(1, 38)])
    assert reassembly.take_messages() == []
    reassembly.add(49, 1, 39, 51, WHOLE, b"39")
    assert [payload for _, _, payload in reassembly.take_messages()] == [b"39", b"40"]


def test_an_incomplete_message_is_thrown_away_only_if_it_misses_an_old_tsn():
    """RFC 3758 §3.6: partially reassembled messages that miss a TSN up to the new cumulative one."""
    reassembly = plain()
    reassembly.add(10, 1, 0, 51, BEGIN | UNORDERED, b"misses 11")
    reassembly.add(13, 1, 0, 51, END | UNORDERED, b"misses 12")
    reassembly.add(14, 1, 0, 51, BEGIN | UNORDERED, b"misses 15")
    reassembly.skip(12, [])
    assert reassembly.size == len(b"misses 15") + PIECE_OVERHEAD
    reassembly.add(15, 1, 0, 51, END | UNORDERED, b"!")
    assert reassembly.take_messages() == [(1, 51, b"misses 15!")]


def test_a_number_never_goes_back():
    """An old SSN in a FORWARD-TSN, one of a stream that nobody knows, and the same stream several times."""
    reassembly = plain()
    for ssn in range(3):
        reassembly.add(10 + ssn, 1, ssn, 51, WHOLE, b"%d" % ssn)
    reassembly.skip(12, [(1, 0), (1, 2), (9, 2**15 - 1), (1, 3), (1, 1), (1, 2**16 - 1)])
    reassembly.take_messages()
    reassembly.add(14, 1, 4, 51, WHOLE, b"4")
    reassembly.add(15, 1, 3, 51, WHOLE, b"3")
    reassembly.add(16, 9, 2**15, 51, WHOLE, b"other")
    assert [payload for _, _, payload in reassembly.take_messages()] == [b"4", b"other"]
    assert reassembly.stale == 1


# --- streams begin anew -----------------------------------------------------------------------------------


@pytest.mark.parametrize("interleaved", [False, True])
def test_after_a_reset_the_numbers_begin_at_0(interleaved: bool):
    """RFC 6525 §5.2.2; RFC 8260 §2.3.2: of the streams that are named, or of all."""
    reassembly = Reassembly(interleaving=interleaved, max_message_size=1000)
    tsn = 0

    def give(stream_id: int, number: int, flags: int = WHOLE) -> list[int]:
        nonlocal tsn
        tsn += 2
        if interleaved:
            reassembly.add_interleaved(stream_id, number, 51 if flags & BEGIN else 1, flags, b"x")
        else:
            reassembly.add(tsn, stream_id, number, 51, flags, b"x")
        return [stream_id for stream_id, _, _ in reassembly.take_messages()]

    assert give(1, 0) + give(2, 0) + give(3, 0) == [1, 2, 3]
    give(1, 2)
    give(1, 1, BEGIN)
    give(1, 3, UNORDERED | BEGIN)
    assert give(2, 5) == []
    reassembly.reset_streams([1, 3, 77])
    assert reassembly.size == 1 + PIECE_OVERHEAD
    assert give(1, 0) + give(2, 1) + give(3, 0) == [1, 2, 3]
    reassembly.reset_streams()
    assert reassembly.size == 0
    assert give(1, 0) + give(2, 0) + give(3, 0) == [1, 2, 3]


# --- I-DATA -----------------------------------------------------------------------------------------------


def test_messages_of_several_streams_interleave():
    """RFC 8260 §2.2.3: stream, U bit and MID find the message; the TSN plays no part."""
    reassembly = interleaving()
    reassembly.add_interleaved(1, 0, 51, BEGIN, b"1a")
    reassembly.add_interleaved(2, 0, 52, BEGIN, b"2a")
    reassembly.add_interleaved(1, 0, 53, BEGIN | UNORDERED, b"3a")
    reassembly.add_interleaved(1, 0, 1, END | UNORDERED, b"3b")
    reassembly.add_interleaved(2, 0, 1, MIDDLE, b"2b")
    reassembly.add_interleaved(1, 0, 1, END, b"1b")
    reassembly.add_interleaved(2, 0, 2, END, b"2c")
    assert reassembly.take_messages() == [(1, 53, b"3a3b"), (1, 51, b"1a1b"), (2, 52, b"2a2b2c")]
    assert reassembly.size == 0


def test_mids_2_to_the_31_apart_are_in_no_order():
    reassembly = interleaving()
    reassembly.add_interleaved(1, 2**31, 51, WHOLE, b"whole")
    reassembly.add_interleaved(1, 2**31, 51, BEGIN, b"fragment")
    assert (reassembly.stale, reassembly.size) == (2, 0)
    reassembly.add_interleaved(1, 2**31 - 1, 51, WHOLE, b"ahead")
    reassembly.add_interleaved(1, 2**31 + 1, 51, WHOLE | UNORDERED, b"unordered")
    assert reassembly.take_messages() == [(1, 51, b"unordered")]


@pytest.mark.parametrize(
    "fragments",
    [
        [(51, BEGIN), (51, BEGIN)],
        [(51, BEGIN), (0, MIDDLE)],
        [(51, BEGIN), (2, MIDDLE), (2, MIDDLE)],
        [(51, BEGIN), (1, MIDDLE), (1, MIDDLE)],
        [(51, BEGIN), (3, END), (2, END)],
        [(51, BEGIN), (3, MIDDLE), (1, END)],
        [(1, END), (2, MIDDLE), (51, BEGIN)],
    ],
)
def test_fragments_that_contradict_each_other_are_a_violation(fragments: list[tuple[int, int]]):
    reassembly = interleaving()
    for ppid_or_fsn, flags in fragments[:-1]:
        reassembly.add_interleaved(1, 0, ppid_or_fsn, flags, b"x")
    ppid_or_fsn, flags = fragments[-1]
    with pytest.raises(ProtocolViolation):
        reassembly.add_interleaved(1, 0, ppid_or_fsn, flags, b"x")


def test_abandoned_messages_are_forgotten_by_their_mid():
    """RFC 8260 §2.3.1: unordered ones by the entry with the U bit, ordered ones by the one without."""
    reassembly = interleaving()
    reassembly.add_interleaved(1, 0, 51, BEGIN, b"ordered")
    reassembly.add_interleaved(1, 1, 51, WHOLE, b"next")
    reassembly.add_interleaved(1, 0, 51, BEGIN | UNORDERED, b"unordered")
    reassembly.add_interleaved(1, 1, 51, BEGIN | UNORDERED, b"a")
    reassembly.skip_interleaved([(1, False, 0), (1, True, 0), (5, True, 3)])
    assert reassembly.take_messages() == [(1, 51, b"next")]
    assert reassembly.size == 1 + PIECE_OVERHEAD
    reassembly.add_interleaved(1, 1, 1, END | UNORDERED, b"b")
    assert reassembly.take_messages() == [(1, 51, b"ab")]
    reassembly.add_interleaved(1, 0, 1, END, b"late")
    assert (reassembly.stale, reassembly.size) == (1, 0)


# --- cost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["forward", "backward", "even then odd"])
def test_a_message_of_any_number_of_fragments_can_come_in_any_order(order: str):
    count = 20_000
    tsns = list(range(count))
    if order == "backward":
        tsns.reverse()
    elif order == "even then odd":
        tsns.sort(key=lambda tsn: (tsn & 1, tsn))
    reassembly = plain(max_message_size=0)
    for tsn in tsns:
        flags = (BEGIN if tsn == 0 else 0) | (END if tsn == count - 1 else 0)
        reassembly.add(tsn, 0, 0, 53, flags, tsn.to_bytes(4, "big"))
    ((_, _, payload),) = reassembly.take_messages()
    assert payload == b"".join(tsn.to_bytes(4, "big") for tsn in range(count))


def test_no_limit_means_no_limit():
    reassembly = plain(max_message_size=0)
    size = math.prod((64, 1024))
    for tsn in range(64):
        flags = (BEGIN if tsn == 0 else 0) | (END if tsn == 63 else 0)
        reassembly.add(tsn, 0, 0, 53, flags, bytes(1024))
    assert [len(payload) for _, _, payload in reassembly.take_messages()] == [size]
