"""The client's rules, in virtual time and without a socket."""

from __future__ import annotations

import pytest

from rtcstack.signaling.membership import Membership, State
from rtcstack.signaling.messages import Kind, Message


class Stay:
    """A membership, what it has said, and what it has told."""

    def __init__(self, lobby: str = "", *, is_mesh: bool = True, reconnects: bool = True) -> None:
        self.now = 50.0
        self.membership = Membership(
            lobby, is_mesh=is_mesh, reconnects=reconnects, random_bytes=lambda n: b"\x80" * n
        )
        self.membership.start(self.now)

    def open(self) -> list[Message]:
        assert self.membership.take_connect()
        self.membership.opened()
        return self.said()

    def said(self) -> list[Message]:
        return [Message.parse(text) for text in self.membership.take_messages()]

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.membership.receive(message.write())

    def lose(self, code: int = 1006, reason: str = "") -> None:
        self.membership.closed(code, reason, self.now)

    def wait(self) -> None:
        self.now = self.membership.deadline
        self.membership.handle_timeout(self.now)

    def told(self) -> list[tuple[object, ...]]:
        return list(self.membership.take_events())


def joined(ticket: str | None = "t", *, own_id: int = 77, peers: tuple[int, ...] = (1,)) -> Stay:
    stay = Stay("room")
    stay.open()
    enter(stay, ticket, own_id=own_id, peers=peers)
    stay.told()
    return stay


def enter(stay: Stay, ticket: str | None = "t", *, own_id: int = 77, peers: tuple[int, ...] = (1,)) -> None:
    stay.hear(Message(Kind.ID, own_id, "true", ticket))
    stay.hear(*[Message(Kind.PEER_CONNECT, peer) for peer in peers])
    stay.hear(Message(Kind.JOIN, 0, "room"))


@pytest.mark.parametrize(("is_mesh", "flag"), [(True, 0), (False, 1)])
def test_the_first_message_is_a_join_with_the_flag_of_the_demo(is_mesh: bool, flag: int) -> None:
    assert Stay("room", is_mesh=is_mesh).open() == [Message(Kind.JOIN, flag, "room", "")]


def test_the_story_of_a_join_is_told_in_the_server_s_order() -> None:
    stay = Stay("room")
    stay.open()
    enter(stay, peers=(1, 9))
    assert stay.told() == [
        ("connected", 77, True),
        ("peer_connected", 1),
        ("peer_connected", 9),
        ("lobby_joined", "room"),
    ]
    assert stay.membership.state is State.JOINED


def test_offers_answers_and_candidates_of_known_members_are_passed_on() -> None:
    stay = joined()
    stay.hear(
        Message(Kind.OFFER, 1, "o"),
        Message(Kind.ANSWER, 1, "a"),
        Message(Kind.CANDIDATE, 1, "\n0\n0\ncandidate:x"),
        Message(Kind.CANDIDATE, 1, "0\n0\ncandidate:y"),
        Message(Kind.CANDIDATE, 1, "\n0\nzero\ncandidate:z"),
        Message(Kind.OFFER, 5, "of a stranger"),
    )
    assert stay.told() == [
        ("offer_received", 1, "o"),
        ("answer_received", 1, "a"),
        ("candidate_received", 1, "0", 0, "candidate:x"),
        ("candidate_received", 1, "0", 0, "candidate:y"),
    ]


def test_what_a_server_should_not_say_is_ignored() -> None:
    stay = joined()
    for text in ("", "{", "[]", '{"type":99,"id":1,"data":""}', '{"type":1,"id":5,"data":"true"}'):
        stay.membership.receive(text)
    assert stay.told() == []
    assert stay.membership.id == 77


def test_a_server_that_announces_without_end_is_not_believed() -> None:
    stay = joined()
    stay.hear(Message(Kind.PEER_CONNECT, 0), *[Message(Kind.PEER_CONNECT, 100 + n) for n in range(5000)])
    told = stay.told()
    assert len(told) == 4095  # and peer 1
    assert told[0] == ("peer_connected", 100)
    stay.hear(Message(Kind.PEER_DISCONNECT, 100), Message(Kind.PEER_CONNECT, 9999))
    assert stay.told() == [("peer_disconnected", 100), ("peer_connected", 9999)]


def test_candidates_are_written_as_the_demo_does_and_their_end_is_not_sent() -> None:
    stay = joined()
    stay.membership.send_candidate(1, "0", 0, "candidate:x")
    stay.membership.send_candidate(1, "0", 0, "")
    assert stay.said() == [Message(Kind.CANDIDATE, 1, "\n0\n0\ncandidate:x")]


def test_a_lost_connection_comes_back_to_its_seat_and_says_what_waited() -> None:
    stay = joined(peers=(1, 9))
    stay.lose(1006, "gone")
    stay.membership.send_offer(9, "later")
    assert stay.told() == [("reconnecting", 1006, "gone")]
    assert stay.said() == []
    stay.wait()
    assert stay.open() == [Message(Kind.JOIN, 0, "room", "t")]
    enter(stay, peers=(1, 9))
    assert stay.told() == [("reconnected",)]
    assert stay.said() == [Message(Kind.OFFER, 9, "later")]


def test_who_came_and_went_meanwhile_is_told_after_coming_back() -> None:
    stay = joined(peers=(1, 9))
    stay.lose()
    stay.wait()
    stay.open()
    enter(stay, peers=(1, 12))
    assert stay.told()[1:] == [("peer_connected", 12), ("peer_disconnected", 9), ("reconnected",)]


def test_at_a_server_without_seats_we_come_back_as_a_newcomer() -> None:
    stay = joined(None)
    stay.lose()
    stay.wait()
    assert stay.open() == [Message(Kind.JOIN, 0, "room", "")]
    enter(stay, None, own_id=78, peers=(1,))
    assert stay.told()[1:] == [
        ("peer_disconnected", 1),
        ("connected", 78, True),
        ("peer_connected", 1),
        ("lobby_joined", "room"),
    ]


def test_attempts_get_rarer_and_begin_anew_after_success() -> None:
    stay = joined()
    delays = []
    for _ in range(8):
        stay.lose()
        start = stay.now
        stay.wait()
        delays.append(round(stay.now - start, 2))
        assert stay.membership.take_connect()
    assert delays == sorted(delays)
    assert 0.2 < delays[0] < 0.3
    assert 7 < delays[-1] < 9
    stay.membership.opened()
    enter(stay)
    stay.lose()
    assert stay.membership.deadline - stay.now == pytest.approx(delays[0], abs=0.01)


def test_a_server_that_never_lets_us_in_is_given_up_and_tried_again() -> None:
    stay = joined()
    stay.lose()
    stay.wait()
    stay.open()
    stay.wait()
    assert stay.membership.state is State.WAITING


@pytest.mark.parametrize(
    ("code", "reason"), [(4000, "Lobby does not exists"), (1000, "Seal complete"), (1008, "no token")]
)
def test_a_server_that_means_it_is_not_asked_again(code: int, reason: str) -> None:
    stay = joined()
    stay.lose(code, reason)
    assert stay.told() == [("disconnected",)]
    assert (stay.membership.close_code, stay.membership.close_reason) == (code, reason)
    assert stay.membership.state is State.ENDED


def test_after_the_seal_nobody_comes_back() -> None:
    stay = joined()
    stay.hear(Message(Kind.SEAL), Message(Kind.SEAL))
    stay.lose()
    assert stay.told() == [("lobby_sealed",), ("disconnected",)]


def test_who_was_never_in_does_not_try_again_by_itself() -> None:
    stay = Stay("room")
    stay.lose(1006, "ws://x cannot be reached")
    assert stay.told() == [("disconnected",)]
    assert stay.membership.close_reason == "ws://x cannot be reached"


def test_leaving_is_final() -> None:
    stay = joined()
    stay.membership.end()
    stay.membership.end()
    stay.lose()
    stay.hear(Message(Kind.PEER_CONNECT, 5))
    stay.membership.send_offer(1, "x")
    assert stay.told() == [("disconnected",)]
    assert stay.said() == []
