"""One end of a DTLS connection without I/O: handshake, resending, encryption and decryption of batches."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from OpenSSL import SSL

from rtcstack.dtls.attempt import Attempt, Outcome, describe
from rtcstack.dtls.bulk import LARGEST_BATCH, LARGEST_WRITE, Bulk, open_bulk
from rtcstack.dtls.certificate import Certificate, ExpectedPeer
from rtcstack.dtls.context import der_of
from rtcstack.dtls.messages import CERTIFICATE, CLIENT_HELLO, Message, Reassembly, has_shape, read_fragments
from rtcstack.dtls.options import Options
from rtcstack.dtls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    DTLS_1_2,
    HANDSHAKE,
    HEADER_SIZE,
    PLAINTEXT,
    PROTECTED,
    pack_records,
    renumber,
    split_records,
)
from rtcstack.errors import InvalidParameter, InvalidState, WireError
from rtcstack.log import Log
from rtcstack.timer import Timer

__all__ = [
    "OVERHEAD",
    "Closed",
    "Connected",
    "Drops",
    "DtlsState",
    "Endpoint",
    "Event",
    "Failed",
    "Stats",
]


OVERHEAD = 37
"""Most bytes that a record adds to a packet: header 13, nonce 8 (AES-GCM; ChaCha20 sends none), tag 16."""


class DtlsState(enum.Enum):
    """Life of an endpoint, as in W3C webrtc-pc section 5.5.1."""

    NEW = enum.auto()
    CONNECTING = enum.auto()
    CONNECTED = enum.auto()
    CLOSED = enum.auto()
    FAILED = enum.auto()


_NEW, _CONNECTING, _CONNECTED = DtlsState.NEW, DtlsState.CONNECTING, DtlsState.CONNECTED
_CLOSED, _FAILED = DtlsState.CLOSED, DtlsState.FAILED


@dataclass(frozen=True, slots=True)
class Connected:
    """The handshake is complete and the certificate of the peer matches its fingerprint."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer has said goodbye (close_notify)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The connection cannot come about, or cannot go on."""

    reason: str


Event: TypeAlias = Connected | Closed | Failed


@dataclass(slots=True)
class Drops:
    """Records that were thrown away, by the reason."""

    malformed: int = 0
    """Rest of a datagram that is no DTLS 1.0 or 1.2 record, or a handshake record with impossible lengths."""
    content_type: int = 0
    """Of a kind that has no place in its epoch, unknown kinds among them."""
    epoch: int = 0
    """Neither plaintext nor of the one protected epoch."""
    plaintext_alert: int = 0
    """Anyone can write those; they end nothing."""
    plaintext_data: int = 0
    """Application data that nothing protects."""
    implausible: int = 0
    """Handshake messages that the peer cannot have meant."""
    attempts: int = 0
    """ClientHellos after max_attempts."""
    early: int = 0
    """Protected records, or datagrams before start(), beyond max_early_records."""
    undecryptable: int = 0
    """Forged, damaged or repeated application records, and empty ones."""
    stale: int = 0
    """Handshake records after the handshake."""
    not_connected: int = 0
    """Datagrams, or packets to send, after the end."""


@dataclass(slots=True)
class Stats:
    """What has happened so far, as counts."""

    records_in: int = 0
    """Application records decrypted."""
    records_out: int = 0
    """Application records encrypted."""
    handshake_resends: int = 0
    """Flights sent again."""
    rebuilds: int = 0
    """Handshakes begun again from scratch, or beside another one."""


class Endpoint:
    """One end of a DTLS 1.2 connection that carries SCTP packets, one in each record.

    Feed it with receive(), send() and, at `deadline`, handle_timeout(); drain take_packets(), take_data() and
    take_events(). Nothing that comes from the network raises. Nothing is delivered before the certificate
    of the peer has matched its fingerprint.

    certificate     ours; may be shared by many endpoints.
    client          True sends the ClientHello (SDP a=setup:active), False waits for one (passive).
    fingerprints    (hash name, digest) pairs from the description of the peer.
    mtu             largest datagram that a handshake may need, bytes without UDP header, 256 to 16,384.
    options         see Options.
    tag             how the log calls the connection.
    Raises          InvalidParameter for an mtu out of range, or fingerprints that identify nobody.
    Source: RFC 6347; RFC 8261 (SCTP over DTLS), RFC 8827 section 6.5, RFC 8122 section 5.
    """

    def __init__(
        self,
        *,
        certificate: Certificate,
        client: bool,
        fingerprints: Sequence[tuple[str, bytes]],
        mtu: int = 1200,
        options: Options = Options(),
        tag: str = "-",
    ) -> None:
        self._log = Log("dtls", tag)
        if not 256 <= mtu <= 16_384:
            raise InvalidParameter(f"an mtu of {mtu} bytes is out of range: 256 to 16384")
        ExpectedPeer(fingerprints)  # raises for what could never match
        self.client = client
        self.state = _NEW
        self.deadline = math.inf
        self.failure_reason = ""
        self.cipher = ""
        self.version = ""
        self.peer_certificate = b""
        self.drops = Drops()
        self.stats = Stats()
        self._certificate = certificate
        self._fingerprints = tuple(fingerprints)
        self._mtu = mtu
        self._options = options
        self._events: list[Event] = []
        self._outgoing: list[bytes] = []
        self._data: list[bytes] = []
        self._bulk: Bulk | None = None
        # Of the handshake:
        self._resend = Timer(options.first_resend, ceiling=options.longest_resend)
        self._give_up_at = math.inf
        self._quiet_until = -math.inf
        self._next_number = 0
        self._flight: list[bytes] = []
        self._attempts: list[Attempt] = []
        self._current: Attempt | None = None
        self._attempts_made = 0
        self._reassembly = Reassembly()
        self._early: list[bytes] = []
        self._hints: dict[str, None] = {}

    # Commands

    def start(self, now: float) -> None:
        """Begin the handshake: a client sends its ClientHello, a server reads what came too early.

        Raises  InvalidState if it was started before.
        """
        if self.state is not _NEW:
            raise InvalidState(f"start() in state {self.state.name}: an endpoint starts once")
        self.state = _CONNECTING
        self._give_up_at = now + self._options.handshake_timeout
        if self.client:
            self._try_handshake(None, now)
        early, self._early = self._early, []
        self._update_deadline()
        self.receive(early, now)

    def set_rtt(self, rtt: float) -> None:
        """Tell the round-trip time of the path in seconds; from the next flight on, resending goes by it."""
        self._resend.duration = max(self._options.shortest_resend, 2 * rtt)

    def send(self, packets: list[bytes]) -> None:
        """Encrypt packets, each into a datagram of its own, OVERHEAD bytes larger at most.

        packets     1 to 16,384 bytes each; dropped and counted once the connection has ended.
        Raises      InvalidState before the connection is established, InvalidParameter for other sizes.
        """
        bulk = self._bulk
        if bulk is None:
            if self.state in (_NEW, _CONNECTING):
                raise InvalidState("send() before the connection is established: wait for Connected")
            self.drops.not_connected += len(packets)
            return
        while len(packets) > LARGEST_BATCH:
            self._encrypt(bulk, packets[:LARGEST_BATCH])
            packets = packets[LARGEST_BATCH:]
        if packets:
            self._encrypt(bulk, packets)

    def _encrypt(self, bulk: Bulk, packets: list[bytes]) -> None:
        try:
            records = bulk.encrypt(packets)
        except SSL.Error as error:
            self._outgoing += bulk.take_output()
            raise InvalidParameter(
                f"packets of {min(map(len, packets))} to {max(map(len, packets))} bytes: a DTLS record "
                f"holds 1 to 16384 bytes ({describe(error)})"
            ) from error
        self.stats.records_out += len(records)
        if self._outgoing:
            self._outgoing += records
        else:
            self._outgoing = records

    def close(self) -> None:
        """End the connection, with a close_notify if it is established; drain take_packets() then."""
        if self.state in (_CLOSED, _FAILED):
            return
        self._say_goodbye()
        self._end(_CLOSED)

    # From below, and from the clock

    def receive(self, datagrams: list[bytes], now: float) -> None:
        """Take DTLS datagrams (first byte 20 to 63) that came from a validated address.

        Data for take_data(), packets for take_packets() and events for take_events() may follow.
        """
        if self._bulk is None:
            for datagram in datagrams:
                self._receive_datagram(datagram, now)
            self._update_deadline()
            return
        batch: list[bytes] = []
        room = LARGEST_WRITE
        for datagram in datagrams:
            size = len(datagram)
            if (
                size > HEADER_SIZE
                and datagram.startswith(_DATA_START)
                and datagram[11] << 8 | datagram[12] == size - HEADER_SIZE
            ):
                if size > room and batch:
                    self._decrypt(batch)
                    batch = []
                    room = LARGEST_WRITE
                batch.append(datagram)
                room -= size
            else:
                if batch:
                    self._decrypt(batch)
                    batch = []
                    room = LARGEST_WRITE
                self._receive_datagram(datagram, now)
        if batch:
            self._decrypt(batch)

    def handle_timeout(self, now: float) -> None:
        """Send a flight again, or give the handshake up, if its time has come."""
        if now >= self._give_up_at:
            self._give_up_at = math.inf
            self._resend.stop()
            if self.state is _CONNECTING:
                hints = "; ".join(self._hints)
                self._fail(
                    f"no DTLS handshake within {self._options.handshake_timeout:g} s: "
                    + (hints or "the peer did not answer")
                )
        elif self._resend.expire(now):
            for attempt in self._attempts:
                attempt.handle_timeout()
            if self._current is not None:
                self._flight = self._current.flight
            self._resend.restart(now)
            self._send_again(now)
            if self.client and self._resend.expirations == _PATIENCE and self.state is _CONNECTING:
                self._begin_anew(now)
        self._update_deadline()

    # Drains

    def take_packets(self, now: float) -> list[bytes]:
        """Hand over the datagrams to send, in order."""
        packets, self._outgoing = self._outgoing, []
        return packets

    def take_data(self) -> list[bytes]:
        """Hand over the packets that the peer sent, decrypted, in the order of their arrival."""
        data, self._data = self._data, []
        return data

    def take_events(self) -> list[Event]:
        """Hand over what has happened to the connection since the last call."""
        events, self._events = self._events, []
        return events

    # Records, one at a time: the handshake, and all that is not application data

    def _receive_datagram(self, datagram: bytes, now: float) -> None:
        if self.state is _NEW:
            if len(self._early) < self._options.max_early_records:
                self._early.append(datagram)
            else:
                self.drops.early += 1
            return
        records, rest = split_records(datagram)
        if rest or not records:
            self.drops.malformed += 1
        for record in records:
            epoch = record[3:5]
            if self.state not in (_CONNECTING, _CONNECTED):
                self.drops.not_connected += 1
            elif epoch == PLAINTEXT:
                self._receive_plaintext(record, now)
            elif epoch == PROTECTED:
                self._receive_protected(record, now)
            else:
                self.drops.epoch += 1

    def _receive_plaintext(self, record: bytes, now: float) -> None:
        """Take a record that anyone could have written (RFC 6347 section 4.1.2.7: drop what is invalid)."""
        content_type = record[0]
        if content_type == HANDSHAKE and self.state is _CONNECTING:
            try:
                fragments = read_fragments(record[HEADER_SIZE:])
            except WireError:
                self.drops.malformed += 1
                return
            for fragment in fragments:
                message = self._reassembly.add(fragment)
                if message is not None and self.state is _CONNECTING:
                    self._receive_message(message, now)
        elif content_type in (HANDSHAKE, CHANGE_CIPHER_SPEC) and self.state is _CONNECTED:
            # RFC 6347 section 4.2.4: the last flight goes again when the one before it comes again.
            self.drops.stale += 1
            self._answer_duplicate(now)
        elif content_type == CHANGE_CIPHER_SPEC and record[HEADER_SIZE:] == b"\1":
            for attempt in tuple(self._attempts):
                self._settle(attempt, attempt.receive_change_cipher_spec(), now)
        elif content_type == ALERT:
            self.drops.plaintext_alert += 1
            if self.state is _CONNECTING and len(record) == HEADER_SIZE + 2:
                self._hint(f"the peer sent alert {record[HEADER_SIZE + 1]}, not protected and so not trusted")
        elif content_type == APPLICATION_DATA:
            self.drops.plaintext_data += 1
        else:
            self.drops.content_type += 1

    def _receive_message(self, message: Message, now: float) -> None:
        if message.type == CLIENT_HELLO and not self.client:
            self._receive_client_hello(message, now)
            return
        if not self._attempts or not has_shape(message):
            self.drops.implausible += 1
            if message.type == CERTIFICATE and not any(message.body):
                self._hint("the peer sent no certificate")
            return
        for attempt in tuple(self._attempts):
            self._settle(attempt, attempt.receive_message(message), now)

    def _receive_client_hello(self, message: Message, now: float) -> None:
        """Answer a ClientHello; each distinct one gets a connection object of its own, beside the others.

        So a forged one cannot harm the handshake with the peer, and a peer that began anew is served.
        """
        for attempt in self._attempts:
            if attempt.hello == message:
                self._current = attempt
                self._flight = attempt.flight
                self._answer_duplicate(now)
                return
        if message.sequence:
            self.drops.implausible += 1
        else:
            self._try_handshake(message, now)

    def _receive_protected(self, record: bytes, now: float) -> None:
        content_type = record[0]
        if self._bulk is None:
            if content_type == HANDSHAKE:
                for attempt in tuple(self._attempts):
                    self._settle(attempt, attempt.receive_protected(record), now)
            elif content_type not in (ALERT, APPLICATION_DATA):
                self.drops.content_type += 1
            elif len(self._early) < self._options.max_early_records:
                self._early.append(record)
                # RFC 6347 section 4.2.4: data before its Finished means that the Finished may be lost.
                self._answer_duplicate(now)
            else:
                self.drops.early += 1
        elif content_type == APPLICATION_DATA:
            self._decrypt([record])
        elif content_type in (ALERT, HANDSHAKE):
            self._receive_control(self._bulk, record)
        else:
            self.drops.content_type += 1

    def _receive_control(self, bulk: Bulk, record: bytes) -> None:
        """Let OpenSSL deal with a protected alert or handshake record of an established connection."""
        connection = bulk.connection
        connection.bio_write(record)
        reason = ""
        try:
            self._data.append(connection.recv(len(record)))
        except SSL.ZeroReturnError:
            self._say_goodbye()
            self._end(_CLOSED)
            self._events.append(Closed())
            return
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            reason = describe(error)
        for answer in bulk.take_output():
            self._outgoing.append(self._numbered(answer))
        if connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN or connection.get_state_string() == b"error":
            self._fail(f"the connection broke: {reason}")

    def _decrypt(self, records: list[bytes]) -> None:
        bulk = self._bulk
        if bulk is None:  # closed by a record before, in the same batch
            self.drops.not_connected += len(records)
            return
        packets = bulk.decrypt(records)
        count = len(packets)
        self.stats.records_in += count
        if count != len(records):
            self.drops.undecryptable += len(records) - count
        if not count:
            return
        if self._data:
            self._data += packets
        else:
            self._data = packets
        if self._flight:  # the peer has our last flight, or it could not have sent this
            self._flight = []
            self._resend.stop()
            self._give_up_at = math.inf
            self._update_deadline()

    # The handshake

    def _begin_anew(self, now: float) -> None:
        """Start a second handshake beside one that got an answer but makes no progress.

        A byte that nothing signs may have been damaged on its way, so that the transcripts of both sides
        differ. A peer that does not serve a second ClientHello drops it as an old one.
        """
        if self._current is not None and self._current.progress:
            self._try_handshake(None, now)

    def _try_handshake(self, hello: Message | None, now: float) -> None:
        if self._attempts_made >= self._options.max_attempts:
            self.drops.attempts += 1
            return
        if self._attempts_made:
            self.stats.rebuilds += 1
        self._attempts_made += 1
        if len(self._attempts) == _MAX_PARALLEL:
            self._attempts.remove(min(self._attempts, key=lambda attempt: attempt.progress))
        attempt = Attempt(
            self._certificate,
            ExpectedPeer(self._fingerprints),
            client=self.client,
            mtu=self._mtu,
            hello=hello,
        )
        self._attempts.append(attempt)
        self._settle(attempt, attempt.start(), now)

    def _settle(self, attempt: Attempt, outcome: Outcome, now: float) -> None:
        """Act on what a record made of a handshake."""
        if outcome is Outcome.NEW_FLIGHT:
            self._current = attempt
            self._send_flight(attempt.flight, now)
        elif outcome is Outcome.DONE:
            self._establish(attempt, now)
        elif outcome is Outcome.DUPLICATE:
            if attempt is self._current:
                self._answer_duplicate(now)
        elif outcome is Outcome.IMPLAUSIBLE:
            self.drops.implausible += 1
        elif outcome is Outcome.FAILED:
            self._attempts.remove(attempt)
            if attempt is self._current:
                self._current = None
                self._flight = []
                self._resend.stop()
            if attempt.expected.is_refused:
                self._queue(attempt.flight)
                self._fail(_MISMATCH)
                return
            self._hint(attempt.failure)
            if self.client:
                self._try_handshake(None, now)

    def _establish(self, attempt: Attempt, now: float) -> None:
        """Keep the connection of a completed handshake, once its certificate has been checked again."""
        connection = attempt.connection
        certificate = connection.get_peer_certificate()
        if certificate is None or not attempt.expected.accept(der_of(certificate)):
            self._fail(_MISMATCH)
            return
        self.peer_certificate = attempt.expected.certificate
        self.cipher = connection.get_cipher_name() or ""
        self.version = connection.get_protocol_version_name()
        self._bulk = open_bulk(connection)
        self._drop_handshake()
        self.state = _CONNECTED
        self._events.append(Connected())
        if self.client:  # the Finished of the server says that our last flight has arrived
            self._flight = []
            self._resend.stop()
            self._give_up_at = math.inf
        else:
            self._send_flight(attempt.flight, now)
        early, self._early = self._early, []
        for record in early:
            if self.state is _CONNECTED:
                self._receive_protected(record, now)

    def _send_flight(self, flight: list[bytes], now: float) -> None:
        self._flight = flight
        self._resend.start(now)
        self._queue(flight)
        self._quiet_until = now + self._resend.duration / 2

    def _send_again(self, now: float) -> None:
        self.stats.handshake_resends += 1
        self._queue(self._flight)
        if self.client:  # the peer decides which of our handshakes it goes on with
            for attempt in self._attempts:
                if attempt is not self._current:
                    self._queue(attempt.flight)
        self._quiet_until = now + self._resend.duration / 2

    def _answer_duplicate(self, now: float) -> None:
        """Send the flight again because the peer repeats its own; not more often than once a round trip."""
        if self._flight and now >= self._quiet_until:
            if self._resend.is_running:
                self._resend.start(now)
                self._update_deadline()
            self._send_again(now)

    def _queue(self, flight: list[bytes]) -> None:
        self._outgoing += pack_records(map(self._numbered, flight), self._mtu)

    def _numbered(self, record: bytes) -> bytes:
        """Give a plaintext record the next number: resent as it was, a replay window would drop it."""
        if record[3:5] != PLAINTEXT:
            return record
        record = renumber(record, self._next_number)
        self._next_number += 1
        return record

    # The end

    def _say_goodbye(self) -> None:
        if self._bulk is not None:
            try:
                self._bulk.connection.shutdown()
            except SSL.Error as error:
                self._log.debug("no close_notify: %s", describe(error))
            self._outgoing += self._bulk.take_output()

    def _fail(self, reason: str) -> None:
        self.failure_reason = reason
        self._end(_FAILED)
        self._events.append(Failed(reason))

    def _end(self, state: DtlsState) -> None:
        self.state = state
        self._bulk = None
        self._flight = []
        self._early = []
        self._resend.stop()
        self._give_up_at = math.inf
        self._drop_handshake()
        self._update_deadline()

    def _drop_handshake(self) -> None:
        self._attempts = []
        self._current = None
        self._reassembly = Reassembly()
        self._hints = {}

    def _hint(self, text: str) -> None:
        if len(self._hints) < _MAX_HINTS:
            self._hints[text] = None

    def _update_deadline(self) -> None:
        self.deadline = min(self._resend.deadline, self._give_up_at)


_DATA_START = bytes((APPLICATION_DATA,)) + DTLS_1_2 + PROTECTED
_MAX_PARALLEL = 3
_PATIENCE = 4  # times that a flight is sent again in vain
_MISMATCH = "the certificate of the peer does not match the fingerprint in its description"
_MAX_HINTS = 4
