"""get_stats(): W3C's names, SCTP's insides, a snapshot that stays as it is, and JSON."""

from __future__ import annotations

import json

from session_support import ADDRESS_A, ADDRESS_B, Sessions

from rtcstack.datachannel import ChannelConfig
from rtcstack.session import PeerSession, Stats


def test_a_session_that_has_not_begun_has_stats_too():
    stats = Sessions().a.get_stats()
    assert (stats.connection_state, stats.transport.dtls_state, stats.transport.ice_role) == (
        "NEW",
        "new",
        "unknown",
    )
    assert stats.selected_pair is stats.sctp is stats.remote_certificate is None
    assert stats.local_candidates == stats.remote_candidates == ()
    assert [channel.label for channel in stats.channels] == ["chat"]
    json.dumps(stats.as_dict(), allow_nan=False)


def test_the_path_the_encryption_and_the_candidates_are_told():
    sessions = Sessions().connect()
    a, b = sessions.a.get_stats(), sessions.b.get_stats()
    assert a.selected_pair is not None
    assert (a.selected_pair.local, a.selected_pair.remote) == (ADDRESS_A, ADDRESS_B)
    assert a.selected_pair.nominated
    assert a.selected_pair.responses_received > 0
    assert {a.transport.ice_role, b.transport.ice_role} == {"controlling", "controlled"}
    assert {a.transport.dtls_role, b.transport.dtls_role} == {"client", "server"}
    assert (a.transport.dtls_state, a.transport.tls_version) == ("connected", "DTLSv1.2")
    assert a.local_candidates == b.remote_candidates[:1]
    assert a.local_candidates[0].candidate_type == "host"
    assert a.local_certificate == b.remote_certificate
    assert a.local_certificate is not None
    assert f"a=fingerprint:sha-256 {a.local_certificate.fingerprint}" in sessions.a.local_description
    json.dumps(a.as_dict(), allow_nan=False)


def test_what_one_side_has_sent_the_other_has_received():
    sessions = Sessions().connect()
    sessions.say("x" * 5000)
    a, b = sessions.a.get_stats(), sessions.b.get_stats()
    assert a.transport.packets_sent == b.transport.packets_received > 5
    assert a.transport.bytes_sent == b.transport.bytes_received > 5000
    assert b.transport.bytes_sent == a.transport.bytes_received
    assert a.transport.dtls_records_sent == b.transport.dtls_records_received
    assert (a.channels[0].messages_sent, a.channels[0].bytes_sent) == (1, 5000)
    assert (b.channels[0].messages_received, b.channels[0].bytes_received) == (1, 5000)


def test_sctp_tells_what_its_sender_and_receiver_think():
    sessions = Sessions().connect()
    sessions.a.send(sessions.channel_a, bytes(3000), False, sessions.now)
    queued = sessions.a.get_stats().sctp
    assert queued is not None
    assert (queued.buffered, queued.flight, queued.state) == (3000, 0, "ESTABLISHED")
    assert queued.cwnd > 0
    assert queued.peer_window > 1_000_000
    assert queued.mtu > 1000
    assert queued.congestion_control == "cubic"
    assert queued.partial_reliability
    assert queued.interleaving
    assert queued.max_streams == 65535
    sessions.a.take_packets(sessions.now)  # and nobody gets them
    sent = sessions.a.get_stats().sctp
    assert sent is not None
    assert sent.flight >= 3000
    sessions.run(2.0)
    after = sessions.a.get_stats().sctp
    assert after is not None
    assert (after.flight, after.buffered) == (0, 0)
    causes = after.retransmitted_after_loss + after.retransmitted_after_timeout + after.retransmitted_as_probe
    assert causes == after.retransmitted_chunks > 0
    assert queued.retransmitted_chunks == 0  # a snapshot stays as it is
    assert queued.data_chunks_sent == 0


def test_drops_are_named_by_layer_and_reason():
    sessions = Sessions().connect()
    sessions.a.receive(ADDRESS_A, ADDRESS_B, [b"\xff neither STUN nor DTLS"], sessions.now)
    assert sessions.a.get_stats().drops["session.not_stun_or_dtls"] == 1


def test_every_channel_that_is_not_closed_is_listed():
    sessions = Sessions().connect()
    for number in range(2, 12):
        sessions.a.create_channel(
            ChannelConfig(f"channel {number}", "p", negotiated=True), number, sessions.now
        )
    assert [channel.id for channel in _stats(sessions.a).channels] == list(range(1, 12))
    sessions.a.abort()
    assert _stats(sessions.a).channels == ()


def _stats(session: PeerSession) -> Stats:
    return session.get_stats()
