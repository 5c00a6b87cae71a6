"""Server-reflexive addresses: asked for, kept open, and what a STUN server may do wrong."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_line import CLIENT, SERVER, UNKNOWN

from rtcstack import stun
from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.stun import Message, MessageClass
from rtcstack.testing.servers import TurnServer
from rtcstack.turn import NO_ANSWER, AlternateServer, BindingClient, Failed, Mapped, Options


def client(**options: Any) -> BindingClient:
    return BindingClient(server=SERVER, random_bytes=random.Random(1).randbytes, **options)


def started(**options: Any) -> tuple[BindingClient, Message]:
    """Return a client that has asked, and its request."""
    binding = client(**options)
    binding.start(0.0)
    (data,) = binding.take_packets(0.0)
    return binding, Message.parse(data)


def answer(request: Message, **attributes: Any) -> bytes:
    content = {getattr(stun, name): value for name, value in attributes.items()}
    message_class = MessageClass.ERROR if "ERROR_CODE" in attributes else MessageClass.SUCCESS
    return Message(request.method, message_class, request.transaction_id, content).write()


def test_the_address_is_told_by_the_server() -> None:
    """RFC 8489 §2: the reflexive transport address."""
    server = TurnServer(SERVER[0])
    binding = client()
    binding.start(0.0)
    server.receive(SERVER, CLIENT, binding.take_packets(0.0), 0.0)
    for _, _, datagrams in server.take_packets(0.0):
        binding.receive(datagrams, 0.1)
    assert binding.take_events() == [Mapped(CLIENT)]
    assert binding.mapped == CLIENT
    assert binding.deadline == 15.1


def test_requests_have_a_fingerprint_and_nothing_else() -> None:
    binding, request = started()
    assert (request.method, request.attributes, request.integrity) == (stun.BINDING, {}, None)
    binding.handle_timeout(0.5)
    (again,) = binding.take_packets(0.5)
    assert Message.parse(again) == request


def test_a_dead_server_is_asked_four_times_and_given_up_after_five_seconds() -> None:
    """RFC 8489 §6.2.1 within the bound of our own."""
    binding = client()
    binding.start(0.0)
    sent = [(0.0, len(binding.take_packets(0.0)))]
    while binding.deadline < 100:
        now = binding.deadline
        binding.handle_timeout(now)
        sent.append((now, len(binding.take_packets(now))))
    assert sent == [(0.0, 1), (0.5, 1), (1.5, 1), (3.5, 1), (5.0, 0)]
    assert binding.take_events() == [Failed(NO_ANSWER, "no answer within 5 s")]
    assert binding.is_finished


def test_a_patient_client_ends_with_the_transaction() -> None:
    binding = client(options=Options(timeout=60))
    binding.start(0.0)
    while binding.deadline < 100:
        binding.handle_timeout(binding.deadline)
    assert binding.stats.retransmissions == 6
    assert binding.take_events() == [Failed(NO_ANSWER, "no answer")]


def test_the_binding_is_kept_open_and_its_changes_are_told() -> None:
    binding, request = started()
    binding.receive([answer(request, XOR_MAPPED_ADDRESS=("192.0.2.1", 1000))], 0.0)
    told = []
    for port in (1000, 1000, 2000, 2000):
        now = binding.deadline
        binding.handle_timeout(now)
        (data,) = binding.take_packets(now)
        binding.receive([answer(Message.parse(data), XOR_MAPPED_ADDRESS=("192.0.2.1", port))], now)
        told.append((now, binding.take_events()))
    assert told == [
        (15.0, [Mapped(("192.0.2.1", 1000))]),
        (30.0, []),
        (45.0, [Mapped(("192.0.2.1", 2000))]),
        (60.0, []),
    ]
    assert binding.stats.keepalives == 4


def test_a_server_that_dies_later_takes_nothing_away() -> None:
    binding, request = started()
    binding.receive([answer(request, XOR_MAPPED_ADDRESS=("192.0.2.1", 1000))], 0.0)
    binding.take_events()
    for code in (300, 500):
        now = binding.deadline
        binding.handle_timeout(now)
        (data,) = binding.take_packets(now)
        binding.receive([answer(Message.parse(data), ERROR_CODE=(code, ""))], now)
    while binding.deadline < 100:
        binding.handle_timeout(binding.deadline)
    assert binding.take_events() == []
    assert binding.mapped == ("192.0.2.1", 1000)
    assert not binding.is_finished


def test_a_keepalive_may_end_without_an_answer() -> None:
    binding, request = started(options=Options(keepalive=60))
    binding.receive([answer(request, XOR_MAPPED_ADDRESS=("192.0.2.1", 1000))], 0.0)
    while binding.deadline < 119:
        binding.handle_timeout(binding.deadline)
    assert binding.deadline == 120.0
    assert binding.take_events() == [Mapped(("192.0.2.1", 1000))]


def test_old_servers_answer_with_mapped_address() -> None:
    """RFC 8489 §6.3.3."""
    binding, request = started()
    binding.receive([answer(request, MAPPED_ADDRESS=("192.0.2.1", 1000))], 0.0)
    assert binding.take_events() == [Mapped(("192.0.2.1", 1000))]


@pytest.mark.parametrize(
    ("attributes", "event"),
    [
        ({"ERROR_CODE": (401, "Unauthenticated")}, Failed(401, "Unauthenticated")),
        ({"ERROR_CODE": (420, "")}, Failed(420, "")),
        ({"ERROR_CODE": (500, "Server Error")}, Failed(500, "Server Error")),
        ({"ERROR_CODE": (300, "")}, Failed(300, "ALTERNATE-SERVER is missing")),
        ({}, Failed(NO_ANSWER, "XOR-MAPPED-ADDRESS is missing")),
        (
            {"XOR_MAPPED_ADDRESS": ("0.0.0.0", 5)},
            Failed(NO_ANSWER, "XOR-MAPPED-ADDRESS ('0.0.0.0', 5) is no address of a host"),
        ),
        (
            {"XOR_MAPPED_ADDRESS": ("2001:db8::1", 5)},
            Failed(NO_ANSWER, "XOR-MAPPED-ADDRESS ('2001:db8::1', 5) is not IPv4"),
        ),
    ],
)
def test_an_answer_without_a_usable_address_is_a_failure(attributes: dict[str, Any], event: Failed) -> None:
    """RFC 8489 §6.3.4."""
    binding, request = started()
    binding.receive([answer(request, **attributes)], 0.1)
    assert binding.take_events() == [event]
    assert binding.is_finished
    assert binding.deadline == float("inf")


def test_an_error_without_code_and_unknown_attributes_are_failures() -> None:
    """RFC 8489 §6.3.3 and §6.3.4."""
    binding, request = started()
    binding.receive([Message(1, MessageClass.ERROR, request.transaction_id, {}).write()], 0.1)
    assert binding.take_events() == [Failed(NO_ANSWER, "error answer without a code")]
    binding, request = started()
    content = {stun.XOR_MAPPED_ADDRESS: CLIENT, UNKNOWN: b""}
    binding.receive([Message(1, MessageClass.SUCCESS, request.transaction_id, content).write()], 0.1)
    assert binding.take_events() == [Failed(NO_ANSWER, "answer with unknown attributes 0x7f55")]


def test_an_alternate_server_is_followed_once() -> None:
    """RFC 8489 §10."""
    elsewhere = ("192.0.2.77", 3478)
    for redirected, event in (
        (False, AlternateServer(elsewhere)),
        (True, Failed(300, "the server that we were sent to sends us on")),
    ):
        binding, request = started(redirected=redirected)
        binding.receive([answer(request, ERROR_CODE=(300, ""), ALTERNATE_SERVER=elsewhere)], 0.1)
        assert binding.take_events() == [event]
        assert binding.is_finished


def test_what_is_no_answer_to_the_request_is_counted() -> None:
    """RFC 8489 §6.3: late, replayed, forged, or no answer at all."""
    binding, request = started()
    other = Message(1, MessageClass.SUCCESS, bytes(12), {stun.XOR_MAPPED_ADDRESS: CLIENT})
    method = Message(3, MessageClass.SUCCESS, request.transaction_id, {stun.XOR_MAPPED_ADDRESS: CLIENT})
    ours = Message(1, MessageClass.REQUEST, request.transaction_id, {})
    good = answer(request, XOR_MAPPED_ADDRESS=CLIENT)
    binding.receive([other.write(), method.write(), ours.write(), b"", b"\x40\0\0\0"], 0.1)
    binding.receive([good[:-1], good + bytes(4)], 0.1)
    assert binding.take_events() == []
    drops = binding.drops
    assert (drops.unknown_transaction, drops.unexpected, drops.malformed) == (2, 1, 4)
    binding.receive([good, good], 0.1)
    assert binding.take_events() == [Mapped(CLIENT)]
    assert drops.unknown_transaction == 3


def test_close_ends_everything() -> None:
    binding, request = started()
    binding.close()
    binding.receive([answer(request, XOR_MAPPED_ADDRESS=CLIENT)], 0.1)
    assert (binding.deadline, binding.take_packets(1.0), binding.take_events()) == (float("inf"), [], [])


def test_misuse_raises_at_once() -> None:
    binding, _ = started()
    with pytest.raises(InvalidState):
        binding.start(1.0)
    binding.close()
    with pytest.raises(InvalidState):
        binding.start(1.0)
    with pytest.raises(InvalidParameter, match="resolve"):
        BindingClient(server=("stun.example.org", 3478), random_bytes=bytes)


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), max_size=5), st.lists(st.integers(0, 500), min_size=1, max_size=3))
def test_garbage_raises_nothing(datagrams: list[bytes], bits: list[int]) -> None:
    binding, request = started()
    damaged = bytearray(answer(request, XOR_MAPPED_ADDRESS=CLIENT, ERROR_CODE=(300, "x")))
    for bit in bits:
        damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    binding.receive([*datagrams, bytes(damaged)], 0.1)
    binding.take_events()
