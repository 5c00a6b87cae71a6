"""One handshake tried with one OpenSSL connection object: what it is fed, and the flight it answers with."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from OpenSSL import SSL

from rtcstack.dtls.bulk import LARGEST_WRITE, read_all
from rtcstack.dtls.certificate import Certificate, ExpectedPeer
from rtcstack.dtls.context import shared_context
from rtcstack.dtls.messages import (
    CERTIFICATE,
    CLIENT_HELLO,
    Message,
    Reassembly,
    ends_flight,
    follows,
    leaf_certificate,
    precedes_change_cipher_spec,
    read_fragments,
    signature_of_server,
)
from rtcstack.dtls.proof import is_signed
from rtcstack.dtls.records import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    DTLS_1_0,
    DTLS_1_2,
    HANDSHAKE,
    HEADER_SIZE,
    PLAINTEXT,
    pack_records,
    plaintext_record,
    split_records,
)

__all__ = ["Attempt", "Outcome", "describe"]

_AHEAD = 8
_MAX_VERSIONS = 3
_MAX_EARLY = 4
_MAX_PROOFS = 50  # a signature takes 0.1 ms to check; so many between two times that we send our flight


class Outcome(enum.Enum):
    """What a record made of a handshake."""

    WAITING = enum.auto()
    """Taken, or kept until its flight is complete; nothing to send."""
    NEW_FLIGHT = enum.auto()
    """`flight` is another one than before: send it."""
    DUPLICATE = enum.auto()
    """The peer repeats itself: our flight seems to be lost."""
    IMPLAUSIBLE = enum.auto()
    """Not what the peer can have meant; nothing has changed."""
    DONE = enum.auto()
    """Both sides have proved their identity; on the server `flight` is the last one, to be sent."""
    FAILED = enum.auto()
    """This connection object cannot go on; `failure` tells why."""


class Attempt:
    """A handshake on the way to its end, fed with whole flights of plausible messages only.

    OpenSSL sees each message once, in one record, numbered by us: its replay window, its reassembly and its
    patience with nonsense do not matter. A flight is fed when it is complete, which costs no time, because no
    side can answer before, and when the signature in it is right: so neither damage nor forgery reaches
    OpenSSL, but for the few bytes that nothing signs.

    certificate     ours.
    expected        who the peer has to be; used by this attempt alone.
    client          our role.
    mtu             largest datagram, bytes, for which OpenSSL cuts its messages.
    hello           the ClientHello that a server answers; None for a client.
    """

    __slots__ = (
        "_early",
        "_from_server",
        "_has_change_cipher_spec",
        "_inbound_number",
        "_next_sequence",
        "_previous",
        "_progress",
        "_proofs_left",
        "_repeated",
        "_versions",
        "connection",
        "expected",
        "failure",
        "flight",
        "hello",
    )

    def __init__(
        self,
        certificate: Certificate,
        expected: ExpectedPeer,
        *,
        client: bool,
        mtu: int,
        hello: Message | None,
    ) -> None:
        self.connection = SSL.Connection(shared_context())
        certificate.apply_to(self.connection)
        self.connection.set_app_data(expected)
        self.connection.set_ciphertext_mtu(mtu)
        if client:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()
        self.expected = expected
        self.hello = hello
        self.flight: list[bytes] = []
        self.failure = ""
        self._from_server = client
        self._previous = 0
        self._next_sequence = 0
        self._versions: dict[int, list[Message]] = {}
        self._proofs_left = _MAX_PROOFS
        self._repeated = b""
        self._inbound_number = 0
        self._has_change_cipher_spec = False
        self._early: list[bytes] = []
        self._progress = (-1, False)

    @property
    def progress(self) -> int:
        """How many messages of the peer have been taken in."""
        return self._next_sequence

    def start(self) -> Outcome:
        """Make the first flight: a client's ClientHello, a server's answer to one."""
        return self._advance() if self.hello is None else self._feed((self.hello,))

    def receive_message(self, message: Message) -> Outcome:
        """Take one whole plaintext handshake message whose shape is right."""
        ahead = message.sequence - self._next_sequence
        if ahead < 0:
            return Outcome.DUPLICATE
        if ahead > _AHEAD:
            return Outcome.IMPLAUSIBLE
        versions = self._versions.setdefault(message.sequence, [])
        if message in versions:
            versions.remove(message)
            if message.type == CERTIFICATE:
                self._repeated = leaf_certificate(message)
        elif len(versions) == _MAX_VERSIONS:
            del versions[0]
        versions.append(message)
        outcome = Outcome.WAITING
        for flight in self._complete_flights(self._next_sequence, self._previous):
            if message in flight:
                if self._is_credible(flight):
                    return self._feed(flight)
                outcome = Outcome.IMPLAUSIBLE
        return outcome

    def receive_change_cipher_spec(self) -> Outcome:
        """Take a ChangeCipherSpec, and the protected records that came before it; out of turn it is lost."""
        if self._has_change_cipher_spec:
            return Outcome.DUPLICATE
        if not precedes_change_cipher_spec(self._previous):
            return Outcome.IMPLAUSIBLE
        self._has_change_cipher_spec = True
        self.connection.bio_write(self._inbound_record(CHANGE_CIPHER_SPEC, DTLS_1_2, b"\1"))
        early, self._early = self._early, []
        outcome = Outcome.WAITING
        for record in early:
            outcome = self.receive_protected(record)
            if outcome is not Outcome.WAITING:
                break
        return outcome

    def receive_protected(self, record: bytes) -> Outcome:
        """Take a handshake record of epoch 1, the Finished of the peer; before ChangeCipherSpec it waits."""
        if not self._has_change_cipher_spec:
            if len(self._early) < _MAX_EARLY and record not in self._early:
                self._early.append(record)
            return Outcome.WAITING
        self.connection.bio_write(record)
        return self._advance()

    def handle_timeout(self) -> None:
        """Let OpenSSL's own timer, on its own clock, renew the flight if it is due; allow for more checks."""
        self._proofs_left = _MAX_PROOFS
        try:
            self.connection.DTLSv1_handle_timeout()
        except SSL.Error:
            return
        self._take_flight()

    def _complete_flights(self, sequence: int, previous: int) -> Iterator[tuple[Message, ...]]:
        """Every way in which the messages at hand make a complete flight, the latest versions first.

        No signature covers a CertificateRequest, so that the order decides about it.
        """
        for message in reversed(self._versions.get(sequence, ())):
            if follows(message.type, previous, from_server=self._from_server):
                if ends_flight(message.type):
                    yield (message,)
                else:
                    for rest in self._complete_flights(sequence + 1, message.type):
                        yield message, *rest

    def _is_credible(self, flight: tuple[Message, ...]) -> bool:
        """Whether the peer has sent this flight, as far as can be told before OpenSSL reads it."""
        if len(flight) == 1:  # HelloVerifyRequest: nothing in it is signed
            return True
        if not self._proofs_left:
            return False
        self._proofs_left -= 1
        certificate = leaf_certificate(flight[1 if self._from_server else 0])
        if self._from_server:
            parameters, signature = signature_of_server(flight[2])
            (hello,) = self._sent_messages()
            signed = hello.random + flight[0].random + parameters
        else:
            *before, verify = flight
            signature = verify.body
            signed = b"".join(
                message.data for message in (self.hello, *self._sent_messages(), *before) if message
            )
        verdict = is_signed(signed, signature, certificate)
        if self.expected.matches(certificate):
            return verdict is not False
        # A damaged certificate may still hold the right key: only one that came twice is shown to be refused.
        return verdict is True and certificate == self._repeated

    def _sent_messages(self) -> list[Message]:
        """The plaintext messages of our flight, whole."""
        reassembly = Reassembly()
        return [
            message
            for record in self.flight
            if record[0] == HANDSHAKE and record[3:5] == PLAINTEXT
            for fragment in read_fragments(record[HEADER_SIZE:])
            if (message := reassembly.add(fragment))
        ]

    def _feed(self, flight: tuple[Message, ...]) -> Outcome:
        self._previous = flight[-1].type
        self._next_sequence = flight[-1].sequence + 1
        self._versions = {}
        version = DTLS_1_0 if self._previous == CLIENT_HELLO else DTLS_1_2
        records = [self._inbound_record(HANDSHAKE, version, message.data) for message in flight]
        outcome = Outcome.WAITING
        for part in pack_records(records, LARGEST_WRITE):
            self.connection.bio_write(part)
            outcome = self._advance()
            if outcome is Outcome.FAILED:
                break
        return outcome

    def _inbound_record(self, content_type: int, version: bytes, body: bytes) -> bytes:
        record = plaintext_record(content_type, version, self._inbound_number, body)
        self._inbound_number += 1
        return record

    def _advance(self) -> Outcome:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return Outcome.NEW_FLIGHT if self._take_flight() else Outcome.WAITING
        except SSL.Error as error:
            self.failure = describe(error)
            self.flight = split_records(read_all(self.connection))[0]
            return Outcome.FAILED
        self._take_flight()
        return Outcome.DONE

    def _take_flight(self) -> bool:
        """Keep the flight that OpenSSL wrote; returns whether it is another one, not the same again."""
        records = [record for record in split_records(read_all(self.connection))[0] if record[0] != ALERT]
        if not records:
            return False
        sequences = [
            int.from_bytes(record[HEADER_SIZE + 4 : HEADER_SIZE + 6])
            for record in records
            if record[0] == HANDSHAKE and record[3:5] == PLAINTEXT
        ]
        progress = (
            max(sequences, default=self._progress[0]),
            any(record[0] == CHANGE_CIPHER_SPEC for record in records),
        )
        is_new = progress > self._progress
        self._progress = progress
        self.flight = records
        return is_new


def describe(error: SSL.Error) -> str:
    """The reason in words that OpenSSL gives for an error."""
    reasons = error.args[0] if error.args else ()
    if isinstance(reasons, list | tuple):
        texts = [entry[-1] for entry in reasons if isinstance(entry, tuple) and entry and entry[-1]]
        if texts:
            return ", ".join(texts)
    return str(error) or type(error).__name__
