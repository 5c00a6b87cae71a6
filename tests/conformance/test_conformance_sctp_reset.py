"""Resetting streams (RFC 6525): our requests, the peer's, and what goes wrong between them."""

from __future__ import annotations

import pytest
from sctp_peer import (
    CLOSED,
    ESTABLISHED,
    SHUTDOWN_SENT,
    Local,
    Peer,
    established,
    extensions,
    greet,
    ladder,
)
from sctp_script import Chunk, CookieEcho, Data, ForwardTsn, Init, InitAck, Raw, ReConfig, Sack, Shutdown

from rtcstack.errors import InvalidState
from rtcstack.sctp import IncomingStreamsReset, OutgoingStreamsReset, ResetDenied
from rtcstack.sctp import chunks as wire
from rtcstack.sctp.parameters import (
    BAD_SEQUENCE_NUMBER,
    DENIED,
    IN_PROGRESS,
    NOTHING_TO_DO,
    PERFORMED,
    WRONG_SSN,
    AddIncomingStreamsRequest,
    AddOutgoingStreamsRequest,
    SsnTsnResetRequest,
)
from rtcstack.sctp.parameters import IncomingSsnResetRequest as Incoming
from rtcstack.sctp.parameters import OutgoingSsnResetRequest as Outgoing
from rtcstack.sctp.parameters import ReconfigurationResponse as Response


def used(*streams: int) -> tuple[Local, Peer]:
    """Establish, and send one acknowledged message each way on each stream: TSNs 1 to n are used up."""
    a, z = established()
    for tsn, stream in enumerate(streams, 1):
        a.send(stream=stream)
        z.expect(Data(tsn, stream=stream, ssn=0))
        z.send(Sack(tsn))
        z.send(Data(tsn, stream=stream, ssn=0))
        z.ignore()
        z.wait(0.2)
        z.ignore()
    a.receive()
    return a, z


def answers(z: Peer) -> list[Chunk]:
    """Take all that A has sent; give what is no SACK."""
    found: list[Chunk] = []
    while z.is_heard:
        found += [chunk for chunk in z.expect_any() if not isinstance(chunk, Sack)]
    return found


# -- our requests --------------------------------------------------------------------------------------------


def test_we_reset_a_stream():
    """RFC 6525 §5.1.2: an Outgoing SSN Reset Request with our last TSN; the answer resets the stream."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))  # A -- RE-CONFIG (reset 3) --> Z
    assert a.events() == []
    z.send(ReConfig(Response(1, PERFORMED)))  # A <- RE-CONFIG (performed) -- Z
    assert a.events() == [OutgoingStreamsReset((3,))]
    z.expect_nothing(5)
    a.send(stream=3)
    z.expect(Data(2, stream=3, ssn=0))


def test_only_the_streams_that_were_asked_for_are_reset():
    """RFC 6525 §5.1.2 A4: the numbers of other streams go on."""
    a, z = used(3, 4)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 2, (3,))))
    z.send(ReConfig(Response(1, PERFORMED)))
    a.send(stream=4)
    z.expect(Data(3, stream=4, ssn=1))


def test_several_streams_are_reset_with_one_request():
    """RFC 6525 §4.1: a request names as many streams as it wants."""
    a, z = used(1, 2, 3)
    a.reset(1, 2, 3)
    (request,) = z.expect_any()[0].parameters
    assert sorted(request.stream_ids) == [1, 2, 3]
    z.send(ReConfig(Response(1, PERFORMED)))
    (event,) = a.events()
    assert sorted(event.stream_ids) == [1, 2, 3]


def test_a_reset_waits_for_the_data_before_it():
    """RFC 8831 §6.7: what was sent on the stream is delivered before the stream is reset."""
    a, z = used(3)
    a.send(b"last words", stream=3)
    a.reset(3)
    z.expect(Data(2, b"last words", stream=3))
    z.expect_nothing(0.9)
    z.send(Sack(2))
    z.expect(ReConfig(Outgoing(1, 0, 2, (3,))))


def test_new_messages_wait_while_a_reset_is_under_way():
    """RFC 6525 §5.1.2 A1: no SSN is assigned to new data of the stream until the answer is there."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    a.send(b"later", stream=3)
    a.send(b"now", stream=4)
    z.expect(Data(2, b"now", stream=4))
    z.send(Sack(2))
    z.expect_nothing()
    z.send(ReConfig(Response(1, PERFORMED)))
    z.expect(Data(3, b"later", stream=3, ssn=0))


def test_new_messages_go_on_with_old_numbers_if_the_reset_is_denied():
    """RFC 6525 §5.2.7 H3: a refusal resets nothing; the stream goes on."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    a.send(b"after all", stream=3)
    z.send(ReConfig(Response(1, DENIED)))
    z.expect(Data(2, b"after all", stream=3, ssn=1))
    assert a.events() == [ResetDenied((3,))]


@pytest.mark.parametrize("result", [WRONG_SSN, BAD_SEQUENCE_NUMBER, 77])
def test_every_other_refusal_counts_as_one(result):
    """RFC 6525 §4.4: results that are errors, or not known, are refusals."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.send(ReConfig(Response(1, result)))
    assert a.events() == [ResetDenied((3,))]
    z.expect_nothing(5)


def test_nothing_to_do_is_success():
    """RFC 6525 §4.4: the streams were at 0 already."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.send(ReConfig(Response(1, NOTHING_TO_DO)))
    assert a.events() == [OutgoingStreamsReset((3,))]


def test_an_unanswered_request_is_repeated_unchanged_with_back_off():
    """RFC 6525 §5.1.1: the re-configuration timer is T3's, doubles, and sends the same chunk again."""
    a, z = used(3)
    a.reset(3)
    request = ReConfig(Outgoing(1, 0, 1, (3,)))
    z.expect(request)
    for pause in (1, 2, 4):
        z.expect(request, after=pause)
    z.send(ReConfig(Response(1, PERFORMED)))
    assert a.events() == [OutgoingStreamsReset((3,))]
    z.expect_nothing(20)


def test_in_progress_makes_us_ask_again():
    """RFC 6525 §5.2.7 H2: the timer starts again, and the same request is repeated until it is decided."""
    a, z = used(3)
    a.reset(3)
    request = ReConfig(Outgoing(1, 0, 1, (3,)))
    z.expect(request)
    z.send(ReConfig(Response(1, IN_PROGRESS)))
    assert a.events() == []
    z.expect(request, after=1)
    z.send(ReConfig(Response(1, PERFORMED)))
    assert a.events() == [OutgoingStreamsReset((3,))]


def test_in_progress_starts_the_timer_again():
    """RFC 6525 §5.2.7 H2: the time of the repetition counts from the answer on."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.wait(0.7)
    z.send(ReConfig(Response(1, IN_PROGRESS)))
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))), after=1)
    assert a.state is ESTABLISHED


def test_one_request_at_a_time():
    """RFC 6525 §5.1.1: a second wish waits until the first is answered, and has the next number then."""
    a, z = used(3, 4)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 2, (3,))))
    a.reset(4)
    z.expect_nothing()
    z.send(ReConfig(Response(1, PERFORMED)))
    z.expect(ReConfig(Outgoing(2, 0, 2, (4,))))
    z.send(ReConfig(Response(2, PERFORMED)))
    assert a.events() == [OutgoingStreamsReset((3,)), OutgoingStreamsReset((4,))]


def test_two_streams_closed_at_once_while_a_third_waits():
    """RFC 6525 §5.1.1: what is wished for during a request goes together into the next one."""
    a, z = used(1, 2, 3)
    a.reset(1)
    z.expect(ReConfig(Outgoing(1, 0, 3, (1,))))
    a.reset(2)
    a.reset(3)
    z.send(ReConfig(Response(1, PERFORMED)))
    z.expect(ReConfig(Outgoing(2, 0, 3, (2, 3))))


def test_an_answer_for_nothing_is_ignored():
    """RFC 6525 §5.2.7 H1: a response whose request is not under way is done with."""
    a, z = used(3)
    z.send(ReConfig(Response(1, PERFORMED)))
    z.send(ReConfig(Response(99, DENIED)))
    z.expect_nothing()
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.send(ReConfig(Response(5, PERFORMED)))
    assert a.events() == []


def test_an_answer_that_comes_twice_counts_once():
    """RFC 6525 §5.2.7 H1: the second one finds no request."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.send(ReConfig(Response(1, PERFORMED)))
    a.events()
    a.send(stream=3)
    z.expect(Data(2, stream=3, ssn=0))
    z.send(Sack(2), ReConfig(Response(1, PERFORMED)))
    a.send(stream=3)
    z.expect(Data(3, stream=3, ssn=1))
    assert a.events() == []


def test_a_stream_can_be_reset_again_and_again():
    """RFC 6525 §5.1.2 A2: each request has the next number."""
    a, z = used(3)
    for number in range(1, 6):
        a.reset(3)
        z.expect(ReConfig(Outgoing(number, 0, number, (3,))))
        z.send(ReConfig(Response(number, PERFORMED)))
        a.send(stream=3)
        z.expect(Data(number + 1, stream=3, ssn=0))
        z.send(Sack(number + 1))


def test_a_peer_that_knows_no_resets_is_not_asked():
    """RFC 6525 §5.1.1: without RE-CONFIG among its extensions no request is sent; it counts as denied."""
    a, z = established(parameters=extensions(wire.FORWARD_TSN))
    a.send(stream=3)
    z.expect(Data(1, stream=3))
    z.send(Sack(1))
    a.reset(3)
    z.expect_nothing(5)
    assert a.events() == [ResetDenied((3,))]


def test_no_reset_before_the_association_stands():
    """RFC 6525 §5.1.1: what the peer supports is not known before the handshake is done."""
    a, _ = ladder()
    with pytest.raises(InvalidState):
        a.reset(3)


def test_a_reset_waits_for_abandoned_data_too():
    """RFC 6525 §5.1.2 A3: what is abandoned is skipped first, so that the reset need not be deferred."""
    a, z = used(3)
    a.send(b"maybe", stream=3, max_retransmits=0)
    a.reset(3)
    z.expect(Data(2))
    z.wait(1)
    found: list[Chunk] = []
    while z.is_heard:
        found += z.expect_any()
    assert ForwardTsn(2, ((3, 1),)) in found
    z.send(Sack(2))
    while z.is_heard:
        found += z.expect_any()
    assert ReConfig(Outgoing(1, 0, 2, (3,))) in found
    z.send(ReConfig(Response(1, PERFORMED)))
    a.send(stream=3)
    z.expect(Data(3, stream=3, ssn=0))


def test_a_reset_of_a_stream_whose_messages_wait_lets_them_go_first():
    """RFC 8831 §6.7: messages queued before the reset are sent before it, however the window stands."""
    a, z = used(3)
    a.send(bytes(50_000), stream=3)
    a.reset(3)
    a.send(b"after", stream=3)
    seen: list[Chunk] = []
    for _ in range(30):
        while z.is_heard:
            seen += [chunk for chunk in z.expect_any() if not isinstance(chunk, Sack)]
        last = seen[-1]
        if isinstance(last, ReConfig):
            break
        z.send(Sack(last.tsn))
    requests = [chunk for chunk in seen if isinstance(chunk, ReConfig)]
    assert requests == [ReConfig(Outgoing(1, 0, last_tsn(seen), (3,)))]
    z.send(ReConfig(Response(1, PERFORMED)))
    z.expect(Data(last_tsn(seen) + 1, b"after", stream=3, ssn=0))


def last_tsn(chunks: list[Chunk]) -> int:
    """Give the highest TSN."""
    return max(chunk.tsn for chunk in chunks if isinstance(chunk, Data))


def test_a_shutdown_does_not_wait_for_a_reset_for_ever():
    """RFC 9260 §9.2: with no data outstanding SHUTDOWN is sent, though a request is not answered."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    a.shutdown()
    z.wait(10)
    found: list[Chunk] = []
    while z.is_heard:
        found += z.expect_any()
    assert Shutdown(1) in found
    assert a.state is SHUTDOWN_SENT


# -- the peer's requests -------------------------------------------------------------------------------------


def test_the_peer_resets_a_stream():
    """RFC 6525 §5.2.2 E3 and E5: the next SSN expected is 0, the answer is Performed."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 1, (3,))))  # A <- RE-CONFIG (reset 3) -- Z
    assert answers(z) == [ReConfig(Response(1, PERFORMED))]  # A -- RE-CONFIG (performed) --> Z
    assert a.events() == [IncomingStreamsReset((3,))]
    z.send(Data(2, b"anew", stream=3, ssn=0))
    assert a.receive() == [b"anew"]


def test_streams_that_are_not_named_keep_their_numbers():
    """RFC 6525 §5.2.2 E3: only the listed streams are reset."""
    a, z = used(3, 4)
    z.send(ReConfig(Outgoing(1, 0, 2, (3,))))
    z.send(Data(3, b"four", stream=4, ssn=1))
    assert a.receive() == [b"four"]


def test_a_request_without_streams_resets_them_all():
    """RFC 6525 §5.2.2 E3: no stream number means every stream."""
    a, z = used(3, 4)
    z.send(ReConfig(Outgoing(1, 0, 2)))
    assert answers(z) == [ReConfig(Response(1, PERFORMED))]
    assert a.events() == [IncomingStreamsReset(())]
    z.send(Data(3, b"3", stream=3, ssn=0), Data(4, b"4", stream=4, ssn=0))
    assert a.receive() == [b"3", b"4"]


def test_a_reset_in_front_of_missing_data_is_deferred():
    """RFC 6525 §5.2.2 E2: data up to the last TSN is missing: In Progress; performed when it has come."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 2, (3,))))  # TSN 2 is on its way
    assert answers(z) == [ReConfig(Response(1, IN_PROGRESS))]
    assert a.events() == []
    z.send(Data(2, b"last words", stream=3, ssn=1))
    z.ignore()
    assert a.receive() == [b"last words"]
    assert a.events() == [IncomingStreamsReset((3,))]
    z.send(ReConfig(Outgoing(1, 0, 2, (3,))))  # asked again, as §5.2.7 H2 says
    assert answers(z) == [ReConfig(Response(1, PERFORMED))]
    assert a.events() == []


def test_data_behind_a_deferred_reset_belongs_to_the_new_life_of_the_stream():
    """RFC 6525 §5.2.2 E2 and E4: data above the last TSN is held, or comes again, and is processed then."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 2, (3,))))
    z.send(Data(3, b"anew", stream=3, ssn=0))
    assert a.receive() == []
    z.send(Data(2, b"last words", stream=3, ssn=1))
    z.ignore()
    received = a.receive()
    if received == [b"last words"]:  # it was not held: then it is not acknowledged either
        z.send(Data(3, b"anew", stream=3, ssn=0))
        z.ignore()
        received += a.receive()
    assert received == [b"last words", b"anew"]


def test_data_behind_a_deferred_reset_is_queued():
    """RFC 6525 §5.2.2 E2: such data MUST be queued locally, so that it need not be sent again."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 2, (3,))))
    z.send(Data(3, b"anew", stream=3, ssn=0))
    z.send(Data(2, b"last words", stream=3, ssn=1))
    assert a.receive() == [b"last words", b"anew"]


def test_other_streams_do_not_wait_for_a_deferred_reset():
    """RFC 6525 §5.2.2 E2: only the affected streams are held up."""
    a, z = used(3, 4)
    z.send(ReConfig(Outgoing(1, 0, 3, (3,))))
    z.send(Data(4, b"four", stream=4, ssn=1))
    assert a.receive() == [b"four"]


def test_a_forward_tsn_carries_out_a_deferred_reset():
    """RFC 6525 §5.2.2 E2: the cumulative TSN may reach the last TSN by a FORWARD-TSN, too."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 2, (3,))))
    answers(z)
    z.send(ForwardTsn(2, ((3, 1),)))
    z.ignore()
    assert a.events() == [IncomingStreamsReset((3,))]
    z.send(Data(3, b"anew", stream=3, ssn=0))
    assert a.receive() == [b"anew"]


def test_a_forward_tsn_from_before_a_reset_does_not_spoil_the_new_numbers():
    """RFC 6525 §5.2.2: a late FORWARD-TSN names old SSNs; the new ones begin at 0 all the same."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 1, (3,))))
    answers(z)
    z.send(ForwardTsn(1, ((3, 0),)))
    z.ignore()
    z.send(Data(2, b"anew", stream=3, ssn=0))
    assert a.receive() == [b"anew"]


def test_a_repeated_request_gets_the_same_answer():
    """RFC 6525 §5.2.1: a retransmitted request is answered as before, and carried out once."""
    a, z = used(3)
    for _ in range(3):
        z.send(ReConfig(Outgoing(1, 0, 1, (3,))))
        assert answers(z) == [ReConfig(Response(1, PERFORMED))]
    assert a.events() == [IncomingStreamsReset((3,))]


@pytest.mark.parametrize("number", [-1, 0, 2, 3, 100])
def test_a_request_out_of_turn_is_refused(number):
    """RFC 6525 §5.2.1: only the next number is taken; Bad Sequence Number otherwise."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(number, 0, 1, (3,))))
    assert answers(z) == [ReConfig(Response(number, BAD_SEQUENCE_NUMBER))]
    assert a.events() == []


def test_a_stream_that_does_not_exist_cannot_be_reset():
    """RFC 6525 §4.4: an unknown stream: Wrong SSN, and nothing is reset."""
    a, z = established(inbound_streams=10)
    z.send(ReConfig(Outgoing(1, 0, 0, (3, 10))))
    assert answers(z) == [ReConfig(Response(1, WRONG_SSN))]
    assert a.events() == []


def test_a_stream_never_used_can_be_reset():
    """RFC 6525 §5.2.2: a reset of a stream at 0 is performed like any other."""
    a, z = established()
    z.send(ReConfig(Outgoing(1, 0, 0, (50,))))
    assert answers(z) == [ReConfig(Response(1, PERFORMED))]
    assert a.events() == [IncomingStreamsReset((50,))]


def test_the_peer_asks_for_our_streams():
    """RFC 6525 §5.2.3 F1: an Incoming SSN Reset Request makes us send an Outgoing one for its streams."""
    a, z = used(3)
    z.send(ReConfig(Incoming(1, (3,))))
    found = answers(z)
    requests = [it for chunk in found for it in chunk.parameters if isinstance(it, Outgoing)]
    assert requests == [Outgoing(1, 1, 1, (3,))]
    z.send(ReConfig(Response(1, PERFORMED)))
    assert OutgoingStreamsReset((3,)) in a.events()


def test_the_peer_asks_for_what_we_are_doing():
    """RFC 6525 §5.2.3: our request for those streams is under way: Nothing to do."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.send(ReConfig(Incoming(1, (3,))))
    assert answers(z) == [ReConfig(Response(1, NOTHING_TO_DO))]


def test_both_sides_reset_at_once():
    """RFC 6525 §5.2.2: requests that cross are both carried out."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.send(ReConfig(Outgoing(1, 0, 1, (3,))))
    assert answers(z) == [ReConfig(Response(1, PERFORMED))]
    z.send(ReConfig(Response(1, PERFORMED)))
    assert sorted(map(str, a.events())) == [
        "IncomingStreamsReset(stream_ids=(3,))",
        "OutgoingStreamsReset(stream_ids=(3,))",
    ]


def test_a_request_may_answer_ours():
    """RFC 6525 §5.2.2 E1: an outgoing request that names ours as answered stops our timer."""
    a, z = used(3)
    a.reset(3)
    z.expect(ReConfig(Outgoing(1, 0, 1, (3,))))
    z.send(ReConfig(Response(1, PERFORMED), Outgoing(1, 1, 1, (3,))))
    assert ReConfig(Response(1, PERFORMED)) in answers(z)
    z.expect_nothing(20)


def test_a_request_and_an_answer_share_a_chunk():
    """RFC 6525 §5.2.1: each parameter of a RE-CONFIG chunk is processed."""
    a, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 1, (3,)), Incoming(2, (3,))))
    results = {
        it.response_sequence: it.result
        for chunk in answers(z)
        for it in chunk.parameters
        if isinstance(it, Response)
    }
    assert results[1] == PERFORMED
    assert IncomingStreamsReset((3,)) in a.events()


def test_two_answers_share_a_chunk():
    """RFC 6525 §5.2.1: if several parameters have to be returned they are put into one RE-CONFIG chunk."""
    _, z = used(3)
    z.send(ReConfig(Outgoing(1, 0, 1, (3,)), Incoming(2, (50,))))
    assert answers(z) == [ReConfig(Response(1, PERFORMED), Response(2, NOTHING_TO_DO))]


def test_a_repeated_chunk_gets_the_same_chunk_back():
    """RFC 6525 §5.2.1: the same RE-CONFIG chunk is sent back as it was earlier."""
    _, z = used(3)
    request = ReConfig(Outgoing(1, 0, 1, (3,)), Incoming(2, (50,)))
    z.send(request)
    first = answers(z)
    z.send(request)
    assert answers(z) == first


def test_a_request_is_answered_with_a_sack_too():
    """RFC 6525 §5.2.1: a request is a reason to send a SACK, so that what a reset waits for comes soon."""
    _, z = used(3)
    z.send(Data(2, stream=4, ssn=0), ReConfig(Outgoing(1, 0, 1, (3,))))
    found: list[Chunk] = []
    while z.is_heard:
        found += z.expect_any()
    assert any(isinstance(chunk, Sack) and chunk.tsn == 2 for chunk in found)


@pytest.mark.parametrize(
    "request_", [AddOutgoingStreamsRequest(1, 10), AddIncomingStreamsRequest(1, 10), SsnTsnResetRequest(1)]
)
def test_what_we_do_not_do_is_denied(request_):
    """RFC 6525 §5.2.1: a request that is not wanted is answered, with Denied; data channels need no more."""
    a, z = used(3)
    z.send(ReConfig(request_))
    assert answers(z) == [ReConfig(Response(1, DENIED))]
    assert a.state is ESTABLISHED
    z.send(Data(2, stream=3, ssn=1))
    assert len(a.receive()) == 1


def test_a_request_for_very_many_streams_is_answered_shortly():
    """RFC 6525 §4.1: thousands of stream numbers are one request, and one answer."""
    a, z = established()
    z.send(ReConfig(Outgoing(1, 0, 0, tuple(range(100)) * 80)))
    assert len(answers(z)) == 1
    assert a.state is ESTABLISHED


def test_repeated_requests_in_one_batch_do_not_pile_up_answers():
    """RFC 9260 §12.2.4.1: a batch of a thousand requests is not answered a thousandfold in memory."""
    _, z = used(3)
    z.deliver(*[z.packet_of(ReConfig(Outgoing(number, 0, 1, (3,)))) for number in range(5, 2005)])
    assert len(answers(z)) <= 2000


def test_requests_in_shutdown_sent_are_answered_or_dropped_but_never_kept():
    """RFC 6525 §5.2.1: after SHUTDOWN nothing waits for an occasion that does not come."""
    a, z = used(3)
    a.shutdown()
    z.expect(Shutdown(1))
    for _ in range(200):
        z.send(ReConfig(Outgoing(50, 0, 1, (3,))))
    answered = len(answers(z))
    z.send(Shutdown(1))
    assert answered in (0, 200)
    assert a.state is not CLOSED


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\x0d\0\4",
        b"\0\x0d\0\x0f" + bytes(11),
        b"\0\x0d\0\0",
        b"\0\x0d\xff\xff",
        b"\0\x10\0\5x",
        b"\xff\xff\0\4",
    ],
)
def test_a_malformed_re_config_is_dropped(value):
    """RFC 6525 §3.1: lengths that do not fit, parameters cut short, unknown ones: no answer, no harm."""
    a, z = used(3)
    z.send(Raw(wire.RE_CONFIG, value))
    z.ignore()
    assert (a.state, a.events()) == (ESTABLISHED, [])
    z.send(ReConfig(Outgoing(1, 0, 1, (3,))))
    assert answers(z) == [ReConfig(Response(1, PERFORMED))]


def test_a_reset_is_not_carried_out_during_set_up():
    """RFC 6525 §5.2.1: RE-CONFIG before the association stands is no request."""
    a, z = ladder()
    a.connect()
    z.expect(Init())
    z.send(InitAck())
    z.expect(CookieEcho())
    z.send(ReConfig(Outgoing(1, 0, 0, (3,))))
    z.expect_nothing()
    assert a.events() == []


def test_a_reset_is_announced_among_the_extensions():
    """RFC 6525 §5.1.1: both INIT and INIT ACK name RE-CONFIG among the supported extensions."""
    a, z = ladder()
    greet(a, z)
    assert a.association.features.reconfiguration
