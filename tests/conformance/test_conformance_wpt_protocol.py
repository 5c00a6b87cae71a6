"""What the Web Platform Tests ask of the wire, the configuration and certificates, told anew for this API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from peer_support import CHAT, Two
from wpt_support import offer

from rtcstack import Certificate, InvalidParameter, PeerConnection, RTCError, SdpError, wait_until_open
from rtcstack.testing import VirtualNetwork

AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:audio\r\na=rtpmap:111 opus/48000/2\r\n"
    "a=sendrecv\r\n"
)


def connects(two: Two, limit: float = 10.0) -> bool:
    return two.run(lambda: all(p.get_connection_state() == p.STATE_CONNECTED for p in two.both), limit)


def exchange(two: Two, old: str, new: str, in_answer: bool = False) -> str:
    """Let `a` offer and `b` answer with `old` replaced by `new` on the way; returns the answer."""
    text = offer(two.a)
    two.b.set_remote_description("offer", text if in_answer else text.replace(old, new))
    answer = two.b.get_local_description()
    two.a.set_remote_description("answer", answer.replace(old, new) if in_answer else answer)
    return answer


# -- DTLS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answered"), [("actpass", "active"), ("active", "passive"), ("passive", "active")]
)
def test_every_setup_is_answered_and_connects(offered: str, answered: str) -> None:
    """WPT protocol/dtls-setup: PC should accept initial offer with setup:active
    WPT protocol/dtls-setup: PC should accept initial offer with setup:passive
    WPT protocol/dtls-setup: PC should accept initial offer with setup:actpass
    WPT protocol/dtls-setup: subsequent offers stay actpass and the answer keeps its role
    """
    two = Two(wired=False)
    answer = exchange(two, "a=setup:actpass", f"a=setup:{offered}")
    assert f"a=setup:{answered}\r\n" in answer
    assert connects(two)
    assert "a=setup:actpass" in offer(two.a)
    two.b.set_remote_description("offer", two.a.get_local_description())
    assert f"a=setup:{answered}\r\n" in two.b.get_local_description()


@pytest.mark.parametrize("value", ["holdconn", "actpass", "nonsense"])
def test_an_answer_must_choose_a_role(value: str) -> None:
    """WPT protocol/dtls-setup: answers with actpass, holdconn or nonsense are refused"""
    two = Two(wired=False)
    with pytest.raises(SdpError, match="setup"):
        exchange(two, "a=setup:active", f"a=setup:{value}", in_answer=True)


@pytest.mark.parametrize("in_answer", [False, True])
def test_a_wrong_fingerprint_fails_the_connection(in_answer: bool) -> None:
    """WPT protocol/dtls-fingerprint-validation: Connection fails if one side provides a wrong DTLS
    fingerprint
    """
    two = Two(wired=False)
    wrong = f"a=fingerprint:sha-256 {bytes(32).hex(':').upper()}\r\na=x-fingerprint:"
    exchange(two, "a=fingerprint:", wrong, in_answer)
    victim = two.a if in_answer else two.b
    assert two.run(lambda: victim.get_connection_state() == victim.STATE_FAILED)
    assert "fingerprint" in victim.get_failure_reason()


@pytest.mark.parametrize("restart", [False, True])
def test_another_fingerprint_is_refused_in_a_running_connection(restart: bool) -> None:
    """WPT protocol/fingerprint-change-requires-ice-restart: Changing the DTLS fingerprint requires an ICE
    restart
    """
    two = Two().connected()
    two.a.session_description_created.clear()
    if restart:
        two.a.restart_ice()
    else:
        two.a.create_offer()
    text = two.a.get_local_description()
    wrong = text.replace("a=fingerprint:sha-256 ", f"a=fingerprint:sha-256 {'00:' * 31}00\r\na=x:")
    with pytest.raises(SdpError, match="another certificate") as caught:
        two.b.set_remote_description("offer", wrong)
    assert wrong.split("\r\n")[caught.value.line - 1].startswith("a=fingerprint")
    two.b.set_remote_description("offer", text)
    assert two.b.get_connection_state() == two.b.STATE_CONNECTED


def test_the_cipher_is_a_modern_one() -> None:
    """WPT protocol/crypto-suite: the DTLS cipher has forward secrecy and authenticates
    WPT RTCDtlsTransport-state: DTLS transport goes to connected state
    """
    two = Two().connected()
    transport = two.a.get_stats().transport
    assert transport.dtls_state == "connected"
    assert "GCM" in transport.dtls_cipher or "CHACHA20" in transport.dtls_cipher


# -- descriptions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint"])
def test_what_the_transport_needs_must_be_there(name: str) -> None:
    """WPT protocol/missing-fields: offer without ice-ufrag, ice-pwd or fingerprint is rejected
    WPT protocol/ice-ufragpwd: setRemoteDescription with a ufrag or pwd that is too short fails
    """
    two = Two(wired=False)
    text = offer(two.a)
    with pytest.raises(SdpError, match=name):
        two.b.set_remote_description("offer", text.replace(f"a={name}:", "a=x:"))
    if name != "fingerprint":
        with pytest.raises(SdpError, match=name):
            two.b.set_remote_description("offer", text.replace(f"a={name}:", f"a={name}:x\r\na=y:"))
    assert two.b.get_signaling_state() == two.b.SIGNALING_STATE_STABLE


@pytest.mark.parametrize("name", ["setup", "mid", "sctp-port", "max-message-size"])
def test_what_has_a_default_may_be_missing(name: str) -> None:
    """WPT protocol/missing-fields: offer without setup, mid, sctp-port or max-message-size is answered"""
    two = Two(wired=False)
    text = offer(two.a).replace(f"a={name}:", "a=x:")
    if name == "mid":
        text = text.replace("a=group:BUNDLE 0\r\n", "")
    assert two.b.set_remote_description("offer", text) == 0
    two.a.set_remote_description("answer", two.b.get_local_description())
    assert connects(two)


def test_both_forms_of_the_sctp_section_are_understood() -> None:
    """WPT protocol/sctp-format: Generated Datachannel SDP uses correct SCTP offer syntax
    WPT protocol/sctp-format: Old-style SCTP SDP is answered in kind
    """
    two = Two(wired=False)
    text = offer(two.a)
    assert "UDP/DTLS/SCTP webrtc-datachannel\r\n" in text
    assert "a=sctp-port:5000\r\n" in text
    old = text.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
    old = old.replace("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 1024")
    two.b.set_remote_description("offer", old)
    answer = two.b.get_local_description()
    assert " DTLS/SCTP 5000\r\n" in answer
    assert "a=sctpmap:5000 webrtc-datachannel" in answer


@pytest.mark.parametrize("kind", ["audio 9 UDP/TLS/RTP/SAVPF 111", "text 9 RTP/AVP 98", "hologram 9 Q 1 2"])
def test_other_media_are_rejected_in_their_place(kind: str) -> None:
    """WPT protocol/unknown-mediatypes: Unknown media types are rejected with the port set to 0
    WPT protocol/bundle: bundle-only and rejected sections do not disturb the data channel
    WPT protocol/sdes-dont-dont-dont: media without DTLS is not accepted
    """
    two = Two(wired=False)
    head, data = offer(two.a).split("m=application")
    media = AUDIO.replace("audio 9 UDP/TLS/RTP/SAVPF 111", kind)
    head = head.replace("BUNDLE 0", "BUNDLE audio 0")
    two.b.set_remote_description("offer", f"{head}{media}m=application{data}")
    lines = two.b.get_local_description().split("\r\n")
    assert [line.split()[1] == "0" for line in lines if line.startswith("m=")] == [True, False]
    assert "a=group:BUNDLE 0" in lines


def test_trickled_and_whole_descriptions_meet() -> None:
    """WPT protocol/split: A connection between a trickling and a non-trickling side works"""
    two = Two(wired=False)
    two.a.ice_candidate_created.connect(two.b.add_ice_candidate)
    exchange(two, "a=end-of-candidates\r\n", "")
    assert connects(two)
    two.chat_a.put_packet(b"hello")
    assert two.run(two.chat_b.get_available_packet_count)


# -- configuration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "servers",
    [
        [],
        [{"urls": "stun:stun1.example.net"}],
        [{"urls": ["stun:stun1.example.net", "stun:stun2.example.net:19302"]}],
        [{"urls": "turn:turn.example.org", "username": "user", "credential": "cred"}],
        [{"urls": "turns:turn.example.org:5349?transport=tcp", "username": "user", "credential": "cred"}],
    ],
)
def test_servers_that_are_allowed(servers: list[dict[str, object]]) -> None:
    """WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with empty iceServers should succeed
    WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with stun server should succeed
    WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with 2 stun servers should succeed
    WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with turn server, username,
        credential should succeed
    WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with turns server, username,
        credential should succeed
    """
    assert PeerConnection({"iceServers": servers}).get_connection_state() == PeerConnection.STATE_NEW


@pytest.mark.parametrize(
    "servers",
    [
        [None],
        [{}],
        [{"urls": ""}],
        [{"urls": ["stun:stun1.example.net", ""]}],
        [{"urls": "http://example.com"}],
        [{"urls": "stun:"}],
    ],
)
def test_servers_that_are_not_allowed(servers: list[dict[str, object]]) -> None:
    """WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - [null] should throw TypeError
    WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with empty object should throw TypeError
    WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with empty urls should throw SyntaxError
    WPT RTCConfiguration-iceServers: new RTCPeerConnection(config) - with http url should throw SyntaxError
    """
    with pytest.raises(RTCError):
        PeerConnection({"iceServers": servers})


@pytest.mark.parametrize("policy", ["all", "relay", "invalid", None, 7])
def test_the_transport_policy(policy: object) -> None:
    """WPT RTCConfiguration-iceTransportPolicy: new RTCPeerConnection(config) - with valid
        iceTransportPolicy should succeed
    WPT RTCConfiguration-iceTransportPolicy: new RTCPeerConnection(config) - with invalid
        iceTransportPolicy should throw TypeError
    WPT RTCConfiguration-iceTransportPolicy: iceTransportPolicy "relay" on offerer should prevent
        candidate gathering
    """
    if policy not in ("all", "relay"):
        with pytest.raises(InvalidParameter):
            PeerConnection({"iceTransportPolicy": policy})
        return
    two = Two({"iceTransportPolicy": policy}, wired=False)
    assert ("a=candidate" in offer(two.a)) == (policy == "all")


@pytest.mark.parametrize(
    ("key", "allowed", "refused"),
    [
        ("bundlePolicy", ["balanced", "max-compat", "max-bundle"], ["invalid", None]),
        ("rtcpMuxPolicy", ["require"], ["invalid", None]),
        ("iceCandidatePoolSize", [0, 255], [-1, 256]),
    ],
)
def test_keys_without_meaning_for_data_are_checked(
    key: str, allowed: list[object], refused: list[object]
) -> None:
    """WPT RTCConfiguration-bundlePolicy: values are accepted, invalid ones throw TypeError
    WPT RTCConfiguration-rtcpMuxPolicy: new RTCPeerConnection() with invalid rtcpMuxPolicy should throw
        TypeError
    WPT RTCConfiguration-iceCandidatePoolSize: 0 and 255 are accepted, -1 and 256 throw TypeError
    """
    for value in allowed:
        assert PeerConnection({key: value}).get_connection_state() == PeerConnection.STATE_NEW
    for value in refused:
        with pytest.raises(InvalidParameter):
            PeerConnection({key: value})


# -- certificates --------------------------------------------------------------------------------------------


def test_a_certificate_lives_as_long_as_it_is_told() -> None:
    """WPT RTCPeerConnection-generateCertificate: generateCertificate() with compulsary ECDSA parameters
        should succeed
    WPT RTCPeerConnection-generateCertificate: generateCertificate() with valid expires parameter should
        succeed
    WPT RTCPeerConnection-generateCertificate: generateCertificate() with invalid range for expires
        should reject with TypeError
    WPT RTCCertificate: Constructing RTCCertificate with expiry in the future
    """
    now = datetime.now(UTC)
    certificate = Certificate.generate(lifetime=timedelta(hours=2))
    assert timedelta(hours=1) < certificate.expires - now < timedelta(hours=3)
    for lifetime in (timedelta(0), timedelta(days=-1), timedelta(days=400)):
        with pytest.raises(InvalidParameter):
            Certificate.generate(lifetime=lifetime)


def test_an_expired_certificate_makes_no_connection() -> None:
    """WPT RTCCertificate: Constructing RTCPeerConnection with expired certificate should reject with
        InvalidAccessError
    WPT RTCConfiguration-certificates: expired certificates are refused
    """
    then = datetime.now(UTC) - timedelta(days=60)
    expired = Certificate.generate(now=then)  # it was valid when it was made
    with pytest.raises(InvalidParameter, match="expired on"):
        PeerConnection({"certificates": [expired]})
    with pytest.raises(InvalidParameter, match="expired on"):
        Certificate.from_pem(expired.to_pem())


def test_one_certificate_serves_many_connections_also_when_it_was_saved() -> None:
    """WPT RTCCertificate: Calling setConfiguration with different set of certs: each description has the
        fingerprint
    WPT RTCCertificate: RTCCertificate should have getFingerprints() method, and they are those of the SDP
    WPT RTCConfiguration-certificates: the given certificate is used
    """
    certificate = Certificate.from_pem(Certificate.generate().to_pem())
    line = f"a=fingerprint:sha-256 {certificate.fingerprint().hex(':').upper()}\r\n"
    network = VirtualNetwork(seed=1, delay=0.01)
    for number in range(3):
        a, b = (
            PeerConnection({"certificates": [certificate]}, network=network.host(f"{name}{number}"))
            for name in "ab"
        )
        chat, _ = a.create_data_channel("chat", CHAT), b.create_data_channel("chat", CHAT)
        b.set_remote_description("offer", offer(a))
        a.set_remote_description("answer", b.get_local_description())
        assert line in a.get_local_description()
        assert line in b.get_local_description()
        assert wait_until_open((a, b), 5)
        assert chat.get_ready_state() == chat.STATE_OPEN


def test_servers_that_do_not_answer_are_told() -> None:
    """WPT RTCPeerConnection-onicecandidateerror: Surfacing onicecandidateerror"""
    configuration = {"iceServers": [{"urls": "stun:nowhere.example.net"}]}
    two = Two(configuration)
    errors: list[tuple[str, int, str]] = []
    two.a.ice_candidate_error.connect(lambda *error: errors.append(error))
    two.a.create_offer()
    assert two.run(lambda: errors, limit=60)
    assert errors[0][0].startswith("stun:nowhere.example.net")
    assert errors[0][1] == 701
