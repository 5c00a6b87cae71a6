"""One handshake tried with one OpenSSL connection object: what it is fed, and the flight it answers with."""

from __future__ import annotations

import enum

from OpenSSL import SSL

from rtcstack.dtls.bulk import read_all
from rtcstack.dtls.certificate import Certificate, ExpectedPeer
from rtcstack.dtls.messages import (
    CERTIFICATE,
    CLIENT_HELLO,
    Message,
    is_plausible,
    precedes_change_cipher_spec,
)
from rtcstack.dtls.records import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    DTLS_1_0,
    DTLS_1_2,
    HANDSHAKE,
    HEADER_SIZE,
    PLAINTEXT,
    plaintext_record,
    split_records,
)

__all__ = ["Attempt", "Outcome"]

_AHEAD = 8
_LARGEST_EARLY = 4


class Outcome(enum.Enum):
    """What a record made of a handshake."""

    WAITING = enum.auto()
    """Taken, or kept for its turn; nothing to send."""
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
    """A handshake on the way to its end, fed with whole plaintext messages in their order only.

    OpenSSL sees each message once, in one record, numbered by us: its replay window, its reassembly and its
    patience with nonsense do not matter.

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
        "_kept",
        "_next_sequence",
        "_previous",
        "_progress",
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
        self.connection = SSL.Connection(certificate.ssl_context)
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
        self._kept: dict[int, Message] = {}
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
        return self._advance() if self.hello is None else self.receive_message(self.hello)

    def receive_message(self, message: Message) -> Outcome:
        """Take one whole plaintext handshake message; those that come too early wait for the ones before."""
        ahead = message.sequence - self._next_sequence
        if ahead < 0:
            return Outcome.DUPLICATE
        if ahead > _AHEAD:
            return Outcome.IMPLAUSIBLE
        if ahead:
            self._kept[message.sequence] = message
            return Outcome.WAITING
        outcome = self._feed_message(message)
        while outcome in (Outcome.WAITING, Outcome.NEW_FLIGHT) and self._next_sequence in self._kept:
            following = self._feed_message(self._kept.pop(self._next_sequence))
            if following not in (Outcome.WAITING, Outcome.IMPLAUSIBLE):
                outcome = following
        return outcome

    def receive_change_cipher_spec(self) -> Outcome:
        """Take a ChangeCipherSpec, and the protected records that came before it; out of turn it is lost."""
        if self._has_change_cipher_spec:
            return Outcome.DUPLICATE
        if not precedes_change_cipher_spec(self._previous):
            return Outcome.IMPLAUSIBLE
        self._has_change_cipher_spec = True
        self._feed_plaintext(CHANGE_CIPHER_SPEC, DTLS_1_2, b"\1")
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
            if len(self._early) < _LARGEST_EARLY and record not in self._early:
                self._early.append(record)
            return Outcome.WAITING
        self.connection.bio_write(record)
        return self._advance()

    def handle_timeout(self) -> None:
        """Let OpenSSL's own timer, on its own clock, renew the flight if it is due."""
        try:
            self.connection.DTLSv1_handle_timeout()
        except SSL.Error:
            return
        self._take_flight()

    def _feed_message(self, message: Message) -> Outcome:
        if not is_plausible(message, self._previous, from_server=self._from_server):
            return Outcome.IMPLAUSIBLE
        self._previous = message.type
        self._next_sequence += 1
        if message.type == CERTIFICATE and not any(message.body):
            self.expected.is_refused = True
        version = DTLS_1_0 if message.type == CLIENT_HELLO else DTLS_1_2
        self._feed_plaintext(HANDSHAKE, version, message.data)
        return self._advance()

    def _feed_plaintext(self, content_type: int, version: bytes, body: bytes) -> None:
        self.connection.bio_write(plaintext_record(content_type, version, self._inbound_number, body))
        self._inbound_number += 1

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
