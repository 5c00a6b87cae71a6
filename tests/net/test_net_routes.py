"""Whose datagram it is: ufrags, transactions and addresses, and what an attacker can not do with them."""

from __future__ import annotations

import pytest

from rtcstack import stun
from rtcstack.net.routes import Routes

LOCAL = ("192.0.2.1", 3478)
PEER = ("198.51.100.7", 5000)
DATA = bytes([20]) * 40
PASSWORDS = {"one": "p" * 22, "two": "q" * 22, "three": "r" * 22}


def message(
    kind: stun.MessageClass, number: int = 1, username: str = "", password: str = "", *more: bytes
) -> bytes:
    attributes = {stun.USERNAME: username} if username else {}
    return stun.Message(stun.BINDING, kind, number.to_bytes(12, "big"), attributes).write(
        password.encode() if password else None
    )


def check(ufrag: str, password: str | None = None, number: int = 1) -> bytes:
    password = PASSWORDS.get(ufrag, "x" * 22) if password is None else password
    return message(stun.MessageClass.REQUEST, number, f"{ufrag}:theirs", password)


SUCCESS, ERROR, REQUEST, INDICATION = (
    stun.MessageClass.SUCCESS,
    stun.MessageClass.ERROR,
    stun.MessageClass.REQUEST,
    stun.MessageClass.INDICATION,
)


class Port:
    """Routes with sessions "one", "two" and "three", and what each has got."""

    def __init__(self, *names: str) -> None:
        self.routes: Routes[str] = Routes()
        self.got: list[tuple[str, bytes]] = []
        for name in names or tuple(PASSWORDS):
            self.routes.add(name, (name, PASSWORDS[name]))

    def arrive(self, *datagrams: bytes, remote: tuple[str, int] = PEER) -> list[tuple[str, bytes]]:
        before = len(self.got)
        self.routes.deliver(LOCAL, remote, list(datagrams), self._take)
        return self.got[before:]

    def _take(self, owner: str, local: object, remote: object, datagrams: list[bytes]) -> None:
        assert local == LOCAL
        self.got += [(owner, datagram) for datagram in datagrams]


def test_a_check_goes_to_the_session_that_it_names() -> None:
    port = Port()
    assert [owner for owner, _ in port.arrive(check("two"), check("one"))] == ["two", "one"]


def test_checks_for_nobody_are_counted_and_leave_no_trace() -> None:
    port = Port()
    for number in range(100):
        assert port.arrive(check(f"stranger{number}"), remote=("203.0.113.1", 1000 + number)) == []
    assert port.arrive(message(REQUEST), b"\0\1", b"\0") == []
    assert port.routes.drops.unknown_ufrag == 102
    assert port.routes.address_count == 0


def test_a_username_behind_many_attributes_is_not_looked_for() -> None:
    port = Port()
    many = b"\0\1" + (4 * 300).to_bytes(2, "big") + bytes(16) + b"\x80\x22\0\0" * 300
    assert port.arrive(many) == []
    assert port.routes.drops.unknown_ufrag == 1


def test_data_follows_the_proved_check_of_its_address() -> None:
    port = Port()
    assert port.arrive(DATA) == []
    port.arrive(check("two"))
    assert port.arrive(DATA, DATA) == [("two", DATA), ("two", DATA)]
    assert port.arrive(DATA, remote=("198.51.100.7", 5001)) == []
    assert port.routes.drops.unknown_source == 2


def test_messages_and_data_of_one_batch_are_parted() -> None:
    port = Port()
    port.arrive(check("two"))
    first, second = check("one", "wrong" * 5), check("two")
    assert port.arrive(DATA, first, DATA, second) == [
        ("one", first),
        ("two", second),
        ("two", DATA),
        ("two", DATA),
    ]


def test_a_check_without_proof_owns_nothing() -> None:
    port = Port()
    assert [owner for owner, _ in port.arrive(check("two", "guessed" * 4))] == ["two"]
    assert port.arrive(DATA) == []


def test_an_address_moves_to_another_session_with_a_proved_check_only() -> None:
    port = Port()
    port.arrive(check("one"))
    port.arrive(check("two", "guessed" * 4))
    assert port.arrive(DATA) == [("one", DATA)]
    port.arrive(check("two"))
    assert port.arrive(DATA) == [("two", DATA)]
    assert port.routes.address_count == 1


def test_a_response_goes_to_the_session_that_has_asked() -> None:
    port = Port()
    port.routes.sent("three", [message(REQUEST, 77)], now=0.0)
    answer = message(SUCCESS, 77)
    assert port.arrive(answer) == [("three", answer)]
    assert port.arrive(DATA) == [("three", DATA)]
    assert port.arrive(message(SUCCESS, 78), message(ERROR, 79)) == []
    assert port.routes.drops.unknown_transaction == 2


def test_an_answer_takes_no_address_from_another_session() -> None:
    port = Port()
    port.arrive(check("one"))
    port.routes.sent("two", [message(REQUEST, 5), message(REQUEST, 6)], now=0.0)
    answers = [message(SUCCESS, 5), message(ERROR, 6)]
    assert port.arrive(*answers) == [("two", answer) for answer in answers]
    assert port.arrive(DATA) == [("one", DATA)]


def test_an_error_gives_no_address() -> None:
    port = Port()
    port.routes.sent("two", [message(REQUEST, 5)], now=0.0)
    port.arrive(message(ERROR, 5))
    assert port.arrive(DATA) == []


def test_what_a_session_answers_is_no_question() -> None:
    port = Port()
    port.routes.sent("one", [message(SUCCESS, 5), message(ERROR, 6), message(INDICATION, 7)], now=0.0)
    assert port.arrive(*(message(SUCCESS, number) for number in (5, 6, 7))) == []


def test_questions_are_remembered_for_forty_seconds_and_then_forgotten() -> None:
    port = Port()
    port.routes.sent("one", [message(REQUEST, 1)], now=0.0)
    port.routes.sent("one", [message(REQUEST, 2)], now=39.5)
    assert len(port.arrive(message(SUCCESS, 1))) == 1
    port.routes.sent("one", [message(REQUEST, 3)], now=41.0)
    port.routes.sent("one", [message(REQUEST, 4)], now=82.0)
    assert len(port.arrive(message(SUCCESS, 3), message(SUCCESS, 4))) == 2
    assert port.arrive(message(SUCCESS, 1), message(SUCCESS, 2)) == []


def test_an_indication_follows_the_address() -> None:
    port = Port()
    beat = message(INDICATION)
    assert port.arrive(beat) == []
    port.arrive(check("one"))
    assert port.arrive(beat) == [("one", beat)]


def test_a_restart_keeps_the_old_credentials_and_the_address() -> None:
    port = Port("one")
    port.arrive(check("one"))
    port.routes.add("one", ("fresh", "f" * 22))
    assert len(port.arrive(check("fresh", "f" * 22), check("one"), DATA)) == 3


def test_the_credentials_of_one_session_are_bounded() -> None:
    port = Port("one")
    for number in range(20):
        port.routes.add("one", (f"ufrag{number}", "f" * 22))
    assert port.arrive(check("one"), check("ufrag15")) == []
    assert len(port.arrive(*(check(f"ufrag{number}") for number in (16, 17, 18, 19)))) == 4


def test_two_sessions_with_one_ufrag_leave_it_to_the_first() -> None:
    port = Port("one")
    port.routes.add("two", ("one", PASSWORDS["two"]))
    assert [owner for owner, _ in port.arrive(check("one"))] == ["one"]
    port.routes.remove("two")
    assert [owner for owner, _ in port.arrive(check("one"))] == ["one"]


def test_a_session_that_leaves_takes_everything_with_it() -> None:
    port = Port("one", "two")
    port.arrive(check("one"))
    port.routes.sent("one", [message(REQUEST, 9)], now=0.0)
    port.routes.remove("one")
    assert port.arrive(check("one"), DATA, message(SUCCESS, 9)) == []
    assert port.routes.address_count == 0
    port.routes.remove("one")


def test_the_addresses_of_one_session_are_bounded() -> None:
    port = Port("one", "two")
    port.arrive(check("two"), remote=("203.0.113.9", 9))
    for number in range(500):
        port.arrive(check("one"), remote=("203.0.113.1", 1000 + number))
    assert port.routes.address_count == 65
    assert port.arrive(DATA, remote=("203.0.113.1", 1000)) == []
    assert port.arrive(DATA, remote=("203.0.113.1", 1499)) == [("one", DATA)]
    assert port.arrive(DATA, remote=("203.0.113.9", 9)) == [("two", DATA)]


@pytest.mark.parametrize("end", range(0, 60, 3))
def test_cut_and_empty_datagrams_harm_nobody(end: int) -> None:
    port = Port()
    assert len(port.arrive(check("one")[:end], b"")) <= 1
    assert port.routes.address_count == 0
