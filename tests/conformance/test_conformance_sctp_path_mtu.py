"""Path-MTU discovery by probes (RFC 8899), and beginning from INITs beside the SDP."""

from __future__ import annotations

import pytest
from sctp_peer import ESTABLISHED, Local, Peer, established, extensions, ladder
from sctp_script import Chunk, Data, Heartbeat, HeartbeatAck, Init, InitAck, Pad, Sack, Shutdown

from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.sctp import Established
from rtcstack.sctp import chunks as wire

BASE = 1160
LIMIT = 1412

MODERN = extensions(wire.RE_CONFIG, wire.FORWARD_TSN, zero_checksum=True)
"""What a peer announces that surely knows PAD, or skips it."""


class Path:
    """A, and a path to Z that carries packets up to some size; Z acknowledges what arrives."""

    def __init__(self, carries: int, *, limit: int = LIMIT, **options: object) -> None:
        self.a: Local
        self.z: Peer
        self.a, self.z = established(path_mtu_limit=limit, parameters=MODERN, **options)
        self.carries = carries
        self.probes: list[int] = []
        self.sizes: list[int] = []  # of packets with data, arrived or not
        self.arrived: set[int] = set()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.a.now + seconds
        while True:
            while self.z.is_heard:
                self._carry(self.z.expect_any())
            if self.a.association.deadline > end:
                break
            self.z.step()
        self.a.now = end

    def _carry(self, chunks: list[Chunk]) -> None:
        size = len(self.z.packet)
        data = [chunk.tsn for chunk in chunks if isinstance(chunk, Data)]
        if data:
            self.sizes.append(size)
        elif isinstance(chunks[-1], Pad):
            assert isinstance(chunks[0], Heartbeat)
            assert len(chunks) == 2
            self.probes.append(size)
        if size > self.carries:
            return
        if isinstance(chunks[0], Heartbeat):
            self.z.send(HeartbeatAck(chunks[0].info))
        if data:
            self.arrived.update(data)
            cumulative = next(tsn for tsn in range(len(self.arrived) + 1) if tsn + 1 not in self.arrived)
            beyond = sorted(tsn for tsn in self.arrived if tsn > cumulative + 1)
            self.z.send(Sack(cumulative, gaps=tuple((tsn, tsn) for tsn in beyond[:50])))

    def bulk(self, messages: int = 30, size: int = 10_000) -> list[int]:
        """Send much; give the sizes of the packets."""
        self.sizes.clear()
        for _ in range(messages):
            self.a.send(bytes(size))
        self.run(30)
        return self.sizes


def test_packets_begin_at_the_base_size():
    """RFC 8899 §5.1.2: until a larger size is confirmed no packet with data exceeds BASE_PLPMTU."""
    path = Path(65535)
    for _ in range(10):
        path.a.send(bytes(5000))
    while path.z.is_heard:
        path.z.expect_any()
        assert len(path.z.packet) <= BASE


def test_a_probe_is_a_heartbeat_with_padding_alone():
    """RFC 8899 §6.2.1.2: HEARTBEAT and PAD together make a packet of the size that is to be tried."""
    path = Path(65535)
    path.run(5)
    assert path.probes
    assert all(BASE < size <= LIMIT for size in path.probes)


def test_a_peer_without_newer_extensions_is_asked_without_pad():
    """RFC 9260 §3.3.5: PAD may be unknown; the information of a HEARTBEAT comes back whatever it is."""
    _, z = established(path_mtu_limit=LIMIT)
    z.wait(1)
    probe = z.expect(Heartbeat())
    assert len(z.packet) == LIMIT
    z.send(HeartbeatAck(probe.info))


def test_a_confirmed_size_is_used():
    """RFC 8899 §4.2: a HEARTBEAT ACK with the probe's information confirms its size."""
    path = Path(65535)
    path.run(5)
    assert max(path.bulk()) == LIMIT
    assert path.a.association.total_buffered == 0


@pytest.mark.parametrize("carries", [1160, 1200, 1280, 1300, 1400, 1408])
def test_the_search_ends_near_what_the_path_carries(carries):
    """RFC 8899 §5.3.2: sizes are tried until the largest that arrives is known closely."""
    path = Path(carries)
    path.run(120)
    sizes = path.bulk()
    assert carries - 40 <= max(max(sizes), BASE) <= max(carries, BASE)
    assert path.a.association.total_buffered == 0


def test_a_size_is_tried_three_times():
    """RFC 8899 §5.1.2: MAX_PROBES: not one lost probe, but three say that the size is too large."""
    path = Path(BASE)
    path.run(60)
    counts = [path.probes.count(size) for size in dict.fromkeys(path.probes)]
    assert counts
    assert all(count == 3 for count in counts)


def test_lost_probes_are_no_congestion():
    """RFC 8899 §4.1: the loss of a probe does not slow the sender down and is not repaired."""
    path = Path(BASE)
    path.run(60)
    assert path.a.stats.timeouts == path.a.stats.recoveries == path.a.stats.retransmitted_chunks == 0
    assert path.a.state is ESTABLISHED


def test_the_search_rests_and_begins_again():
    """RFC 8899 §5.1.1: PMTU_RAISE_TIMER: after ten minutes larger packets are tried again."""
    path = Path(BASE)
    path.run(120)
    count = len(path.probes)
    path.run(300)
    assert len(path.probes) == count
    path.carries = 65535
    path.run(600)
    assert len(path.probes) > count
    assert max(path.bulk()) == LIMIT


def test_an_answer_with_a_wrong_nonce_confirms_nothing():
    """RFC 8899 §4.1: the answer must identify the probe: nobody can talk us into a size."""
    path = Path(BASE)
    path.run(0.9)
    path.z.send(HeartbeatAck(bytes(16)))
    path.run(60)
    path.z.send(HeartbeatAck(bytes(16)))
    assert max(path.bulk()) <= BASE


def test_a_black_hole_brings_the_size_back():
    """RFC 8899 §4.3: when large packets arrive no more the base size is used again, and data gets through."""
    path = Path(65535)
    path.run(5)
    assert max(path.bulk()) == LIMIT
    path.carries = BASE
    path.sizes.clear()
    for _ in range(30):
        path.a.send(bytes(10_000))
    path.run(60)
    assert path.a.association.total_buffered == 0
    assert path.sizes[-1] <= BASE


def test_messages_that_were_cut_for_large_packets_survive_a_black_hole():
    """RFC 9260 §6.9: what was fragmented cannot be cut again: a chunk always fits the base size."""
    path = Path(65535)
    path.run(5)
    path.a.send(bytes(50_000))
    for chunk in path.z.expect_any():
        assert not isinstance(chunk, Data) or len(chunk.payload) <= BASE - 12 - 16


def test_no_search_unless_it_is_wanted():
    """RFC 8899 §6.1.1: the application may turn discovery off: a limit of no more than the base."""
    path = Path(65535, limit=BASE)
    path.run(60)
    assert path.probes == []
    assert max(path.bulk()) <= BASE


def test_no_probe_leaves_while_the_association_is_set_up():
    """RFC 8899 §6.2.1.1: discovery begins when the association is established."""
    a, z = ladder(path_mtu_limit=LIMIT)
    a.connect()
    z.wait(10)
    while z.is_heard:
        z.expect(Init())
    assert a.stats.mtu_probes == 0


def test_no_probe_leaves_after_shutdown():
    """RFC 9260 §8.3: HEARTBEATs, and with them probes, end with SHUTDOWN or SHUTDOWN ACK."""
    a, z = established(path_mtu_limit=LIMIT, parameters=MODERN)
    a.shutdown()
    z.wait(10)
    while z.is_heard:
        z.expect(Shutdown(0))


# -- INITs beside the SDP ------------------------------------------------------------------------------------


def test_two_inits_establish_the_association_without_a_packet():
    """draft-hancke-tsvwg-snap: with the other's INIT each side is ESTABLISHED at once, no packet sent."""
    a, z = ladder()
    ours = Init.read(a.association.local_init(), z)
    theirs = Init().write(z)
    a.association.connect_with(theirs[: int.from_bytes(theirs[2:4])], a.now)
    z.tag_of_a, z.first_tsn_of_a = ours.tag, ours.tsn
    assert a.state is ESTABLISHED
    assert a.events() == [Established()]
    z.expect_nothing()
    a.send(b"at once")
    z.expect(Data(1, b"at once"))
    z.send(Data(1, b"you too"))
    z.expect(Sack(1))
    assert a.receive() == [b"you too"]


def test_an_init_beside_the_sdp_is_the_one_that_is_sent_otherwise():
    """draft-hancke-tsvwg-snap: if the peer gives none, the usual handshake begins with the same INIT."""
    a, z = ladder()
    ours = Init.read(a.association.local_init(), z)
    a.connect()
    assert z.expect(Init()) == ours
    z.send(Init())
    assert z.expect(InitAck()).tag == ours.tag


@pytest.mark.parametrize(
    "fault",
    [{"tag": 0}, {"outbound": 0}, {"inbound": 0}, {"window": 1499}],
    ids=lambda fault: next(iter(fault)),
)
def test_an_init_beside_the_sdp_is_checked_like_any_other(fault):
    """RFC 9260 §3.3.2: forbidden values are refused; nothing has begun then."""
    a, z = ladder()
    a.association.local_init()
    with pytest.raises(InvalidParameter):
        a.association.connect_with(Init(**fault).write(z), a.now)
    a.connect()
    z.expect(Init())


@pytest.mark.parametrize(
    "chunk", [b"", b"\1\0\0\4", bytes(20), b"\2\0\0\x14" + bytes(16), b"\1\0\0\x15" + bytes(16)]
)
def test_what_is_no_init_is_refused(chunk):
    """draft-hancke-tsvwg-snap: what stands in the SDP must be one INIT chunk, whole."""
    a, _ = ladder()
    a.association.local_init()
    with pytest.raises(InvalidParameter):
        a.association.connect_with(chunk, a.now)


def test_an_association_that_has_begun_takes_no_init_beside_the_sdp():
    """draft-hancke-tsvwg-snap: an INIT that a renegotiation repeats begins nothing."""
    a, z = established()
    with pytest.raises(InvalidState):
        a.association.connect_with(Init().write(z), a.now)
    assert a.state is ESTABLISHED
