"""RFC 8656 section by section: what a client asks, what is let through, what nobody can make it do."""

from __future__ import annotations

import pytest
from turn_line import CLIENT, PEER_A, PEER_B, SERVER, USER, Line, changing

from rtcstack import stun
from rtcstack.stun import Message, MessageClass
from rtcstack.testing.servers import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, TurnServer
from rtcstack.turn import Allocated, Failed, State


def asked(line: Line) -> list[Message]:
    """Collect the requests and indications of the client from now on."""
    messages: list[Message] = []

    def note(data: bytes, is_ours: bool) -> bool:
        if is_ours and data[0] < 4:
            messages.append(Message.parse(data))
        return True

    line.passes = note
    return messages


def test_an_allocation_is_of_one_five_tuple() -> None:
    """RFC 8656 §3.2, §5: another port of the client has none, and may not use the first one's."""
    line = Line()
    line.start()
    other = (CLIENT[0], CLIENT[1] + 1)
    send = Message(6, MessageClass.INDICATION, bytes(12), {stun.XOR_PEER_ADDRESS: PEER_A, stun.DATA: b"x"})
    line.server.receive(line.server.addresses[0], other, [send.write()], line.now)
    assert line.server.take_packets(line.now) == []
    assert line.server.dropped_datagrams == 1


def test_an_allocate_request_names_udp_and_nothing_that_is_not_needed() -> None:
    """RFC 8656 §7.1: REQUESTED-TRANSPORT 17; no EVEN-PORT, no DONT-FRAGMENT, no lifetime of our own."""
    line = Line()
    messages = asked(line)
    line.start()
    assert all(message.get(stun.REQUESTED_TRANSPORT) == 17 for message in messages)
    assert not any(stun.LIFETIME in message.attributes for message in messages)


def test_a_repeated_allocate_request_gets_the_same_relay() -> None:
    """RFC 8656 §7.2: a retransmission is answered with the allocation that it made."""
    line = Line()
    lost: list[bytes] = []

    def lose_the_first_success(data: bytes, is_ours: bool) -> bool:
        is_success = not is_ours and Message.parse(data).message_class is MessageClass.SUCCESS
        if is_success and not lost:
            lost.append(data)
            return False
        return True

    line.passes = lose_the_first_success
    line.start(2.0)
    assert line.client.state is State.ALLOCATED
    assert len(line.server.allocations) == 1
    assert next(each for each in line.seen if isinstance(each, Allocated)).relayed == (SERVER[0], 49152)


def test_a_relay_with_a_mapped_address_of_ours_that_is_none_is_given_back() -> None:
    """RFC 8656 §7.3: XOR-RELAYED-ADDRESS and XOR-MAPPED-ADDRESS must be there and of the family asked for."""
    server = TurnServer(SERVER[0], users=USER)
    server.tamper = changing(XOR_RELAYED_ADDRESS=("2001:db8::1", 5))
    line = Line(server)
    line.start(1.0)
    assert isinstance(line.seen[-1], Failed)
    assert server.allocations == {}


def test_the_server_drops_what_no_refresh_has_prolonged() -> None:
    """RFC 8656 §8.2: LIFETIME 0 deletes at once."""
    line = Line()
    line.start()
    assert line.server.allocations
    line.client.close()
    line.run(0.1)
    assert not line.server.allocations
    assert line.client.state is State.CLOSED


def test_a_permission_is_asked_for_by_address_the_port_means_nothing() -> None:
    """RFC 8656 §10.1, §9: XOR-PEER-ADDRESS; one permission serves every port of the peer."""
    line = Line()
    line.start()
    messages = asked(line)
    line.client.permit(PEER_A[0])
    line.run(0.1)
    line.peer_sends((PEER_A[0], 1), b"one port")
    line.peer_sends((PEER_A[0], 65000), b"another")
    line.peer_sends(PEER_B, b"a stranger")
    line.run(0.1)
    (request,) = messages
    assert request.method == CREATE_PERMISSION
    assert (request.get(stun.XOR_PEER_ADDRESS) or ("", 0))[0] == PEER_A[0]
    assert [data for _, data in line.at_client] == [b"one port", b"another"]


def test_a_permission_is_good_when_its_answer_is_here() -> None:
    """RFC 8656 §10.3: for 300 s, which the next request prolongs."""
    line = Line()
    line.start()
    line.client.permit(PEER_A[0])
    line.run(299)
    line.peer_sends(PEER_A, b"in time")
    line.run(2)
    line.peer_sends(PEER_A, b"too late")
    line.run(2)
    assert [data for _, data in line.at_client] == [b"in time"]


def test_a_send_indication_has_the_peer_and_the_data_and_no_signature() -> None:
    """RFC 8656 §11.1: nobody answers it."""
    line = Line()
    line.start()
    messages = asked(line)
    line.client.send(PEER_A, [b"payload"])
    line.run(0.1)
    (send,) = [each for each in messages if each.message_class is MessageClass.INDICATION]
    assert send.method == 6
    assert send.attributes == {stun.XOR_PEER_ADDRESS: PEER_A, stun.DATA: b"payload"}
    assert send.integrity is None
    assert line.at_peers == [(PEER_A, b"payload")]


def test_the_server_relays_only_with_a_permission() -> None:
    """RFC 8656 §11.2, §11.3: in both directions; the rest is silently discarded."""
    line = Line()
    line.start()
    send = Message(6, MessageClass.INDICATION, bytes(12), {stun.XOR_PEER_ADDRESS: PEER_A, stun.DATA: b"x"})
    line.server.receive(line.server.addresses[0], CLIENT, [send.write()], line.now)
    line.peer_sends(PEER_A, b"unasked")
    line.run(0.1)
    assert line.at_peers == []
    assert line.at_client == []
    assert line.server.dropped_datagrams == 2


def test_channel_numbers_are_those_that_the_first_byte_tells_apart() -> None:
    """RFC 8656 §12: 0x4000 to 0x4FFF, so that 64 to 79 is no STUN and no DTLS (RFC 7983)."""
    line = Line()
    line.start()
    messages = asked(line)
    for port in range(1, 4):
        line.client.bind_channel((PEER_A[0], port))
    line.run(0.2)
    numbers = [each.get(stun.CHANNEL_NUMBER) for each in messages if each.method == CHANNEL_BIND]
    assert numbers == [0x4000, 0x4001, 0x4002]


@pytest.mark.parametrize("number", [0x3FFF, 0x5000, 0x7FFF, 0xFFFF])
def test_the_server_refuses_other_channel_numbers(number: int) -> None:
    """RFC 8656 §12.2: 400, as for a number or a peer that is bound otherwise."""
    server = TurnServer(SERVER[0])
    line = Line(server, username="", password="")
    line.start()
    bind = Message(
        CHANNEL_BIND,
        MessageClass.REQUEST,
        b"twelve bytes",
        {stun.CHANNEL_NUMBER: number, stun.XOR_PEER_ADDRESS: PEER_A},
    )
    server.receive(server.addresses[0], CLIENT, [bind.write()], line.now)
    ((_, _, (data,)),) = server.take_packets(line.now)
    assert (Message.parse(data).get(stun.ERROR_CODE) or (0, ""))[0] == 400


def test_a_channel_binds_one_peer_with_its_port() -> None:
    """RFC 8656 §12.1, §12.7: what the same host sends from another port comes as an indication."""
    line = Line()
    line.start()
    line.client.bind_channel(PEER_A)
    line.run(0.1)
    line.ladder.clear()
    line.peer_sends(PEER_A, b"bound")
    line.peer_sends((PEER_A[0], 7), b"not bound")
    line.run(0.1)
    assert line.story == ["<-- ChannelData 0x4000", "<-- Data indication"]
    assert [data for _, data in line.at_client] == [b"bound", b"not bound"]


def test_a_forged_refresh_of_somebody_else_changes_nothing() -> None:
    """RFC 8656 §21.1.3: without the credentials nobody deletes our relay."""
    line = Line()
    line.start()
    forged = Message(REFRESH, MessageClass.REQUEST, b"twelve bytes", {stun.LIFETIME: 0})
    line.server.receive(line.server.addresses[0], CLIENT, [forged.write()], line.now)
    line.server.receive(line.server.addresses[0], CLIENT, [forged.write(b"guess")], line.now)
    assert line.server.allocations


def test_faked_data_needs_a_permission_too() -> None:
    """RFC 8656 §21.1.4: from an address that we have not asked leave for it is dropped by the server."""
    line = Line()
    line.start()
    line.client.permit(PEER_A[0])
    line.run(0.1)
    line.peer_sends(PEER_B, b"fake")
    line.run(0.1)
    assert line.at_client == []


def test_requests_for_the_relay_follow_their_order() -> None:
    """RFC 8656 §3.2, §3.3, §3.5: allocation, permission, channel."""
    line = Line()
    line.client.start(line.now)
    line.client.bind_channel(PEER_A)
    line.run(0.3)
    assert [method for _, method in line.server.requests] == [ALLOCATE, CREATE_PERMISSION, CHANNEL_BIND]
