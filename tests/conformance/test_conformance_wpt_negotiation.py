"""What the Web Platform Tests ask of offers, answers and candidates, told anew for this API."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from peer_support import Two, record
from wpt_support import answer, by_hand, offer, states

from rtcstack import Closed, InvalidParameter, InvalidState, PeerConnection, SdpError

STABLE = PeerConnection.SIGNALING_STATE_STABLE
HAVE_LOCAL_OFFER = PeerConnection.SIGNALING_STATE_HAVE_LOCAL_OFFER
HAVE_REMOTE_OFFER = PeerConnection.SIGNALING_STATE_HAVE_REMOTE_OFFER
HAVE_LOCAL_PRANSWER = PeerConnection.SIGNALING_STATE_HAVE_LOCAL_PRANSWER
HAVE_REMOTE_PRANSWER = PeerConnection.SIGNALING_STATE_HAVE_REMOTE_PRANSWER
CLOSED = PeerConnection.SIGNALING_STATE_CLOSED
CANDIDATE = "candidate:1 1 udp 2113929471 10.9.9.9 10100 typ host"

# -- offers and answers --------------------------------------------------------------------------------------


def test_an_offer_is_made_and_set() -> None:
    """WPT RTCPeerConnection-createOffer: createOffer() and then setLocalDescription() should succeed
    WPT RTCPeerConnection-setLocalDescription-offer: setLocalDescription with valid offer should succeed
    WPT RTCPeerConnection-setLocalDescription-parameterless: Parameterless SLD() in 'stable' goes to
        'have-local-offer'
    WPT RTCPeerConnection-setLocalDescription-parameterless: Parameterless SLD() in 'stable' sets
        pendingLocalDescription
    WPT protocol/jsep-initial-offer: Offer conforms to basic SDP requirements
    """
    two = by_hand()
    seen = states(two.a)
    text = offer(two.a)
    two.a.set_local_description("offer", text)
    two.a.poll()
    assert two.a.get_signaling_state() == HAVE_LOCAL_OFFER
    assert seen == [HAVE_LOCAL_OFFER]
    lines = text.split("\r\n")
    assert [line[0] for line in lines[:4]] == ["v", "o", "s", "t"]
    assert lines[-1] == ""
    (media,) = (line.split() for line in lines if line.startswith("m="))
    assert media[2:] == ["UDP/DTLS/SCTP", "webrtc-datachannel"]


def test_a_closed_connection_negotiates_no_more() -> None:
    """WPT RTCPeerConnection-createOffer: createOffer() after connection is closed should reject with
        InvalidStateError
    WPT RTCPeerConnection-createAnswer: createAnswer() when connection is closed reject with InvalidStateError
    WPT RTCPeerConnection-setLocalDescription-parameterless: Parameterless SLD() rejects with
        InvalidStateError if already closed
    WPT RTCPeerConnection-addIceCandidate: addIceCandidate after close should reject with InvalidStateError
    WPT RTCPeerConnection-restartIce: restartIce() has no effect on a closed peer connection
    """
    two = by_hand()
    text = offer(two.b)
    two.a.close()
    calls: list[Callable[[], object]] = [
        two.a.create_offer,
        two.a.create_answer,
        two.a.restart_ice,
        lambda: two.a.set_local_description("rollback", ""),
        lambda: two.a.set_remote_description("offer", text),
        lambda: two.a.add_ice_candidate("0", 0, CANDIDATE),
    ]
    for call in calls:
        with pytest.raises(Closed):
            call()
    assert two.a.get_signaling_state() == CLOSED


def test_an_offer_needs_the_stable_state() -> None:
    """WPT RTCPeerConnection-createOffer: createOffer() should fail when signaling state is not stable or
        have-local-offer
    WPT RTCPeerConnection-operations: createOffer must detect InvalidStateError synchronously when chain
        is empty
    """
    two = by_hand()
    two.b.set_remote_description("offer", offer(two.a))
    with pytest.raises(InvalidState):
        two.b.create_offer()
    assert two.b.get_signaling_state() == HAVE_REMOTE_OFFER


def test_an_answer_needs_an_offer() -> None:
    """WPT RTCPeerConnection-createAnswer: createAnswer() with null remoteDescription should reject with
        InvalidStateError
    WPT RTCPeerConnection-setLocalDescription-answer: Calling setLocalDescription(answer) from stable
        state should reject with InvalidStateError
    WPT RTCPeerConnection-setLocalDescription-answer: Calling setLocalDescription(answer) from
        have-local-offer state should reject with InvalidStateError
    WPT RTCPeerConnection-setLocalDescription-pranswer: setLocalDescription(pranswer) from stable state
        should reject with InvalidStateError
    WPT RTCPeerConnection-operations: createAnswer must detect InvalidStateError synchronously when
        chain is empty
    """
    two = by_hand()
    for _ in range(2):
        before = two.a.get_signaling_state()
        for provisional in (False, True):
            with pytest.raises(InvalidState):
                two.a.create_answer(provisional=provisional)
        assert two.a.get_signaling_state() == before
        if before == STABLE:
            two.a.create_offer()


def test_an_offer_is_answered() -> None:
    """WPT RTCPeerConnection-createAnswer: createAnswer() after setting remote description should succeed
    WPT RTCPeerConnection-setLocalDescription-answer: setLocalDescription() with valid answer should succeed
    WPT RTCPeerConnection-setRemoteDescription-offer: setRemoteDescription with valid offer should succeed
    WPT RTCPeerConnection-setRemoteDescription-answer: setRemoteDescription() with valid state and
        answer should succeed
    WPT RTCPeerConnection-setRemoteDescription: Negotiation should fire signalingsstate events
    WPT RTCPeerConnection-setLocalDescription-parameterless: Parameterless SLD() in 'have-remote-offer'
        goes to 'stable'
    WPT RTCPeerConnection-setLocalDescription-parameterless: Parameterless SLD() in a full O/A exchange
        succeeds
    """
    two = by_hand()
    seen_a, seen_b = states(two.a), states(two.b)
    two.b.set_remote_description("offer", offer(two.a))
    text = answer(two.b)
    two.b.set_local_description("answer", text)
    two.a.set_remote_description("answer", text)
    two.a.poll()
    two.b.poll()
    assert (seen_a, seen_b) == ([HAVE_LOCAL_OFFER, STABLE], [HAVE_REMOTE_OFFER, STABLE])


def test_what_was_not_made_here_is_not_set_here() -> None:
    """WPT RTCPeerConnection-setLocalDescription-offer: setLocalDescription() with offer not created by own
        createOffer() should reject with InvalidModificationError
    WPT RTCPeerConnection-setLocalDescription-answer: setLocalDescription() with answer not created by
        own createAnswer() should reject with InvalidModificationError
    """
    two = by_hand()
    own, foreign = offer(two.a), offer(two.b)
    for text in (foreign, own.replace("a=mid:0", "a=mid:1").replace("BUNDLE 0", "BUNDLE 1")):
        with pytest.raises(InvalidParameter):
            two.a.set_local_description("offer", text)
    two.a.set_remote_description("offer", foreign)
    answered = answer(two.a)
    with pytest.raises(InvalidParameter):
        two.a.set_local_description("answer", answered.replace("a=setup:active", "a=setup:passive"))


@pytest.mark.parametrize("switch", [False, True])
def test_after_one_round_comes_another_from_either_side(switch: bool) -> None:
    """WPT RTCPeerConnection-setLocalDescription: Calling createOffer() and setLocalDescription() again
        after one round of local-offer/remote-answer should succeed
    WPT RTCPeerConnection-setLocalDescription: Switching role from answerer to offerer after going back
        to stable state should succeed
    WPT RTCPeerConnection-setRemoteDescription: Calling setRemoteDescription() again after one round of
        remote-offer/local-answer should succeed
    WPT RTCPeerConnection-setRemoteDescription: Switching role from offerer to answerer after going back
        to stable state should succeed
    WPT promises-call: Can set up a basic call
    WPT no-media-call: Can set up a basic WebRTC call without media
    """
    two = Two().connected()
    seen_a, seen_b = states(two.a), states(two.b)
    (two.b if switch else two.a).create_offer()
    two.run(lambda: False, limit=1)
    offerer, answerer = (seen_b, seen_a) if switch else (seen_a, seen_b)
    assert (offerer, answerer) == ([HAVE_LOCAL_OFFER, STABLE], [HAVE_REMOTE_OFFER, STABLE])
    assert all(p.get_connection_state() == p.STATE_CONNECTED for p in two.both)


def test_an_offer_may_come_several_times() -> None:
    """WPT RTCPeerConnection-setRemoteDescription-offer: setRemoteDescription multiple times should succeed
    WPT RTCPeerConnection-setRemoteDescription-offer: setRemoteDescription multiple times with different
        offer should succeed
    """
    two = by_hand()
    first = offer(two.a)
    two.a.set_local_description("rollback", "")
    for text in (first, first, offer(two.a)):
        two.b.set_remote_description("offer", text)
        assert two.b.get_signaling_state() == HAVE_REMOTE_OFFER
    two.a.set_remote_description("answer", answer(two.b))
    assert two.a.get_signaling_state() == STABLE


@pytest.mark.parametrize("kind", ["answer", "pranswer"])
def test_an_answer_that_nobody_waits_for_is_refused(kind: str) -> None:
    """WPT RTCPeerConnection-setRemoteDescription-answer: Calling setRemoteDescription(answer) from stable
        state should reject with InvalidStateError
    WPT RTCPeerConnection-setRemoteDescription-answer: Calling setRemoteDescription(answer) from
        have-remote-offer state should reject with InvalidStateError
    WPT RTCPeerConnection-setRemoteDescription-pranswer: setRemoteDescription(pranswer) from stable
        state should reject with InvalidStateError
    """
    two, other = by_hand(), by_hand()
    text = offer(two.a)
    two.b.set_remote_description("offer", text)
    answered = answer(two.b)
    for _ in range(2):
        before = other.a.get_signaling_state()
        with pytest.raises(InvalidState):
            other.a.set_remote_description(kind, answered)
        assert other.a.get_signaling_state() == before
        if before == STABLE:
            other.a.set_remote_description("offer", text)


@pytest.mark.parametrize(
    "sdp", ["", "Invalid SDP", "v=0", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"]
)
def test_what_is_no_description_is_refused(sdp: str) -> None:
    """WPT RTCPeerConnection-setRemoteDescription: setRemoteDescription() with invalid SDP and stable state
        should reject with InvalidStateError
    WPT RTCPeerConnection-setRemoteDescription: setRemoteDescription with invalid type and invalid SDP
        should reject with TypeError
    WPT RTCPeerConnection-setRemoteDescription-offer: setRemoteDescription(offer) with invalid SDP
        should reject with RTCError
    """
    two = by_hand()
    with pytest.raises(SdpError) as caught:
        two.a.set_remote_description("offer", sdp)
    assert caught.value.line > 0
    with pytest.raises(InvalidState):
        two.a.set_remote_description("answer", sdp)
    with pytest.raises(InvalidParameter):
        two.a.set_remote_description("nonsense", sdp)
    assert two.a.get_signaling_state() == STABLE


# -- provisional answers -------------------------------------------------------------------------------------


def test_provisional_answers_may_follow_each_other_and_the_answer_them() -> None:
    """WPT RTCPeerConnection-setLocalDescription-pranswer: setLocalDescription(pranswer) should succeed
    WPT RTCPeerConnection-setLocalDescription-pranswer: setLocalDescription(pranswer) can be applied
        multiple times while still in have-local-pranswer
    WPT RTCPeerConnection-setLocalDescription-pranswer: setLocalDescription(answer) from
        have-local-pranswer state should succeed
    WPT RTCPeerConnection-setRemoteDescription-pranswer: setRemoteDescription(pranswer) from
        have-local-offer state should succeed
    WPT RTCPeerConnection-setRemoteDescription-pranswer: setRemoteDescription(pranswer) multiple times
        should succeed
    WPT RTCPeerConnection-setRemoteDescription-pranswer: setRemoteDescription(answer) from
        have-remote-pranswer state should succeed
    """
    two = by_hand()
    seen_a, seen_b = states(two.a), states(two.b)
    two.b.set_remote_description("offer", offer(two.a))
    for _ in range(2):
        two.a.set_remote_description("pranswer", answer(two.b, provisional=True))
        assert two.a.get_signaling_state() == HAVE_REMOTE_PRANSWER
    two.a.set_remote_description("answer", answer(two.b))
    two.a.poll()
    two.b.poll()
    assert seen_a == [HAVE_LOCAL_OFFER, HAVE_REMOTE_PRANSWER, STABLE]
    assert seen_b == [HAVE_REMOTE_OFFER, HAVE_LOCAL_PRANSWER, STABLE]


# -- rollback and glare --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdp", ["", "!<Invalid SDP Content>;"])
@pytest.mark.parametrize("which", ["local", "remote"])
def test_a_pending_offer_is_taken_back_whatever_the_text(which: str, sdp: str) -> None:
    """WPT RTCPeerConnection-setLocalDescription-rollback: setLocalDescription(rollback) from
        have-local-offer state should reset back to stable state
    WPT RTCPeerConnection-setLocalDescription-rollback: setLocalDescription(rollback) should ignore
        invalid sdp content and succeed
    WPT RTCPeerConnection-setRemoteDescription-rollback: setRemoteDescription(rollback) in
        have-remote-offer state should revert to stable state
    WPT RTCPeerConnection-setRemoteDescription-rollback: setRemoteDescription(rollback) should ignore
        invalid sdp content and succeed
    """
    two = by_hand()
    text = offer(two.a)
    if which == "local":
        two.a.set_local_description("rollback", sdp)
        assert two.a.get_local_description() == ""
        peer = two.a
    else:
        two.b.set_remote_description("offer", text)
        two.b.set_remote_description("rollback", sdp)
        peer = two.b
    assert peer.get_signaling_state() == STABLE
    assert peer.create_offer() == 0


def test_nothing_is_taken_back_where_nothing_is_pending() -> None:
    """WPT RTCPeerConnection-setLocalDescription-rollback: setLocalDescription(rollback) from stable state
        should reject with InvalidStateError
    WPT RTCPeerConnection-setLocalDescription-rollback: setLocalDescription(rollback) after setting
        answer description should reject with InvalidStateError
    WPT RTCPeerConnection-setRemoteDescription-rollback: setRemoteDescription(rollback) from stable
        state should reject with InvalidStateError
    WPT RTCPeerConnection-operations: SLD(rollback) must detect InvalidStateError synchronously when
        chain is empty
    """
    two = by_hand()
    calls = [two.a.set_local_description, two.a.set_remote_description]
    for _ in range(2):
        for call in calls:
            with pytest.raises(InvalidState):
                call("rollback", "")
        two.a.set_remote_description("offer", offer(two.b))
        two.a.create_answer()
        two.b.set_local_description("rollback", "")


def test_an_offer_in_return_takes_ours_back() -> None:
    """WPT RTCPeerConnection-setRemoteDescription-offer: setRemoteDescription(offer) from have-local-offer
        should roll back and succeed
    WPT RTCPeerConnection-setRemoteDescription-offer: setRemoteDescription(offer) from have-local-offer
        fires signalingstatechange twice
    """
    two = by_hand()
    seen = states(two.a)
    two.a.create_offer()
    two.a.set_remote_description("offer", offer(two.b))
    two.a.poll()
    assert seen == [HAVE_LOCAL_OFFER, STABLE, HAVE_REMOTE_OFFER]


@pytest.mark.parametrize("polite", ["a", "b"])
def test_two_offers_at_once_end_in_one_connection(polite: str) -> None:
    """WPT RTCPeerConnection-perfect-negotiation: Perfect negotiation setup connects
    WPT RTCPeerConnection-perfect-negotiation: Perfect negotiation stress glare
    WPT RTCPeerConnection-setRemoteDescription-offer: setRemoteDescription(offer) from have-local-offer
        is glare-proof
    """
    two = Two(wired=False)
    for name, here, there in (("a", two.a, two.b), ("b", two.b, two.a)):

        def receive(
            kind: str, sdp: str, peer: PeerConnection = there, is_polite: bool = name != polite
        ) -> None:
            busy = peer.get_signaling_state() == HAVE_LOCAL_OFFER
            if kind != "offer" or is_polite or not busy:
                peer.set_remote_description(kind, sdp)

        here.session_description_created.connect(receive)
        here.ice_candidate_created.connect(there.add_ice_candidate)
    for _ in range(4):
        two.a.create_offer()
        two.b.create_offer()
        assert two.run(
            lambda: all(
                p.get_signaling_state() == STABLE and p.get_connection_state() == p.STATE_CONNECTED
                for p in two.both
            )
        )
        two.chat_a.put_packet(b"hello")
        assert two.run(two.chat_b.get_available_packet_count)
        assert two.chat_b.get_packet() == b"hello"


# -- candidates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        CANDIDATE,
        f"a={CANDIDATE}",
        f"{CANDIDATE} generation 0 ufrag wxyz network-id 1",
        "candidate:1 1 tcp 2113929471 10.9.9.9 9 typ host tcptype active",
        "candidate:2 1 udp 2113929471 203.0.113.5 10100 typ srflx raddr 10.9.9.9 rport 10100",
        "",
    ],
)
@pytest.mark.parametrize(("media", "index"), [("0", 0), ("", 0), ("0", 7)])
def test_candidates_are_taken_after_the_description(name: str, media: str, index: int) -> None:
    """WPT RTCPeerConnection-addIceCandidate: Add ICE candidate after setting remote description should
        succeed
    WPT RTCPeerConnection-addIceCandidate: Add candidate with only valid sdpMid should succeed
    WPT RTCPeerConnection-addIceCandidate: Add candidate with only valid sdpMLineIndex should succeed
    WPT RTCPeerConnection-addIceCandidate: Invalid sdpMLineIndex should be ignored if valid sdpMid is provided
    WPT RTCPeerConnection-addIceCandidate: Add with empty candidate string (end of candidate) should succeed
    WPT RTCPeerConnection-addTcpIceCandidate: Add TCP candidate should succeed
    """
    two = Two(wired=False)
    two.b.set_remote_description("offer", offer(two.a))
    assert two.b.add_ice_candidate(media, index, name) == 0


@pytest.mark.parametrize("name", ["(Invalid) candidate \r\n string", "candidate:1 1 udp", "nonsense"])
def test_what_is_no_candidate_is_refused(name: str) -> None:
    """WPT RTCPeerConnection-addIceCandidate: Add candidate with invalid candidate string should reject
    with OperationError
    """
    two = Two(wired=False)
    two.b.set_remote_description("offer", offer(two.a))
    with pytest.raises(SdpError):
        two.b.add_ice_candidate("0", 0, name)
    with pytest.raises(InvalidParameter):
        two.b.add_ice_candidate("0", 0, None)  # type: ignore[arg-type]


def test_a_candidate_of_another_generation_is_not_paired() -> None:
    """WPT RTCPeerConnection-addIceCandidate: Add candidate with invalid usernameFragment should reject
        with OperationError
    WPT protocol/ice-ufragpwd: candidates belong to the credentials that they name
    """
    two = Two(wired=False)
    two.b.set_remote_description("offer", offer(two.a))
    two.b.add_ice_candidate("0", 0, f"{CANDIDATE} ufrag none")
    two.b.poll(0.1)
    assert "10.9.9.9" not in two.b.explain()


@pytest.mark.parametrize("before", [True, False])
def test_candidates_connect_before_and_after_the_descriptions(before: bool) -> None:
    """WPT RTCPeerConnection-addIceCandidate-connectionSetup: Candidates are added dynamically; connection
        should work
    WPT protocol/candidate-exchange: Adding only caller -> callee candidates gives a connection
    """
    two = Two(wired=False)
    waiting: list[tuple[str, int, str]] = []
    two.a.ice_candidate_created.connect(lambda *candidate: waiting.append(candidate))
    text = offer(two.a)
    two.a.poll()
    described = text.split("a=candidate")[0]
    if before:
        for candidate in waiting:
            two.b.add_ice_candidate(*candidate)
    two.b.set_remote_description("offer", described)
    two.a.set_remote_description("answer", two.b.get_local_description().split("a=candidate")[0])
    if not before:
        for candidate in waiting:
            two.b.add_ice_candidate(*candidate)
    assert two.run(lambda: two.b.get_connection_state() == two.b.STATE_CONNECTED)


def test_without_candidates_nothing_connects() -> None:
    """WPT protocol/candidate-exchange: No ICE exchange means no connection
    WPT RTCPeerConnection-addIceCandidate: candidates that come after the end are ignored
    """
    two = Two(wired=False)
    text = offer(two.a).split("a=candidate")[0]
    two.b.set_remote_description("offer", text)
    two.b.add_ice_candidate("0", 0, "")
    two.b.add_ice_candidate("0", 0, CANDIDATE)
    two.a.set_remote_description("answer", two.b.get_local_description().split("a=candidate")[0])
    assert not two.run(lambda: two.a.get_connection_state() == two.a.STATE_CONNECTED, limit=5)
    assert "10.9.9.9" not in two.b.explain()


# -- states --------------------------------------------------------------------------------------------------


def test_how_a_connection_begins() -> None:
    """WPT RTCPeerConnection-constructor: signalingState initial value
    WPT RTCPeerConnection-constructor: iceGatheringState initial value
    WPT RTCPeerConnection-constructor: connectionState initial value
    WPT RTCPeerConnection-constructor: localDescription initial value
    WPT RTCPeerConnection-constructor: new RTCPeerConnection()
    WPT RTCPeerConnection-constructor: new RTCPeerConnection(undefined)
    WPT RTCPeerConnection-constructor: new RTCPeerConnection({})
    WPT RTCPeerConnection-constructor: new RTCPeerConnection({ certificates: [] })
    WPT RTCPeerConnection-constructor: new RTCPeerConnection({ certificates: [null] })
    WPT RTCPeerConnection-iceGatheringState: Initial iceGatheringState should be new
    WPT RTCPeerConnection-connectionState: Initial connectionState should be new
    WPT RTCPeerConnection-iceConnectionState: Initial iceConnectionState should be new
    """
    for configuration in (None, {}, {"certificates": []}):
        peer = PeerConnection(configuration)
        assert peer.get_signaling_state() == STABLE
        assert peer.get_gathering_state() == peer.GATHERING_STATE_NEW
        assert peer.get_connection_state() == peer.STATE_NEW
        assert peer.get_local_description() == ""
    with pytest.raises(InvalidParameter):
        PeerConnection({"certificates": [None]})


def test_gathering_ends() -> None:
    """WPT RTCPeerConnection-iceGatheringState: iceGatheringState should eventually become complete after
        setLocalDescription
    WPT RTCPeerConnection-explicit-rollback-iceGatheringState: rolling back an ICE restart when
        gathering is complete should not result in iceGatheringState changes (DataChannel case)
    """
    two = Two().connected()
    assert two.a.get_gathering_state() == two.a.GATHERING_STATE_COMPLETE
    two.a.session_description_created.clear()
    two.a.restart_ice()
    two.a.set_local_description("rollback", "")
    two.a.poll()
    assert two.a.get_gathering_state() == two.a.GATHERING_STATE_COMPLETE


def test_a_connection_goes_through_its_states_in_order() -> None:
    """WPT RTCPeerConnection-connectionState: connection with one data channel should eventually have
        connected connection state
    WPT RTCPeerConnection-iceConnectionState: connection with one data channel should eventually have
        connected or completed connection state
    WPT RTCPeerConnection-iceGatheringState: connection with one data channel should eventually have
        connected connection state
    WPT RTCPeerConnection-connectionState: Closing the connection should set connectionState to closed
    WPT RTCPeerConnection-iceConnectionState: Closing the connection should set iceConnectionState to closed
    WPT RTCPeerConnection-close: Closing a PeerConnection should set signalingState to closed
    WPT RTCPeerConnection-close: Closing a PeerConnection twice is harmless
    WPT protocol/candidate-exchange: Two way ICE exchange works
    WPT RTCDtlsTransport-state: DTLS transport goes to closed when the other side closes
    """
    two = Two()
    signals = {peer: record(peer) for peer in two.both}
    two.connected()
    two.a.close()
    two.a.close()
    assert two.run(lambda: all(p.get_connection_state() == p.STATE_CLOSED for p in two.both))
    two.a.poll()
    two.b.poll()
    for peer in two.both:
        names = [(name, args[0]) for name, *args in signals[peer] if name.endswith("state_changed")]
        connection = [state for name, state in names if name == "connection_state_changed"]
        assert connection == [peer.STATE_CONNECTING, peer.STATE_CONNECTED, peer.STATE_CLOSED]
        gathering = [state for name, state in names if name == "gathering_state_changed"]
        assert gathering == [peer.GATHERING_STATE_GATHERING, peer.GATHERING_STATE_COMPLETE]
        assert names[-1] == ("signaling_state_changed", CLOSED)


def test_a_peer_that_goes_silent_is_disconnected() -> None:
    """WPT RTCIceTransport: RTCIceTransport should transition to "disconnected" if packets stop flowing
    (DataChannel case)
    """
    two = Two().connected()
    two.network.change(loss=1.0)
    assert two.run(lambda: two.a.get_connection_state() == two.a.STATE_DISCONNECTED, limit=15)


# -- restarts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_restart_takes_new_credentials_and_keeps_the_rest(side: str) -> None:
    """WPT RTCPeerConnection-restartIce: restartIce() causes fresh ufrags"""
    two = Two().connected()
    peer, other = (two.a, two.b) if side == "a" else (two.b, two.a)
    before = [_ufrag(p) for p in two.both]
    peer.restart_ice()
    assert two.run(lambda: peer.get_signaling_state() == STABLE and _ufrag(other) not in before)
    assert not {_ufrag(p) for p in two.both} & set(before)
    fingerprints = [line for line in peer.get_local_description().split("\r\n") if "fingerprint" in line]
    assert len(fingerprints) == 1
    peer.create_offer()
    after = _ufrag(peer)
    two.run(lambda: False, limit=1)
    assert _ufrag(peer) == after  # an offer without restart keeps them


def _ufrag(peer: PeerConnection) -> str:
    lines = peer.get_local_description().split("\r\n")
    return next(line for line in lines if line.startswith("a=ice-ufrag"))
