"""Beginning an association: our INIT, the answer to the peer's, and the cookie between them."""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

from rtcstack.errors import InvalidParameter, InvalidState, WireError
from rtcstack.sctp.agreement import Agreement, Features, announce, features_of, unknown_parameters
from rtcstack.sctp.chunks import CookieEcho, Init, InitAck
from rtcstack.sctp.options import Options
from rtcstack.sctp.parameters import STATE_COOKIE, UNRECOGNIZED_PARAMETER, Parameter, write_parameter
from rtcstack.timer import Timer

__all__ = ["LEAST_PEER_WINDOW", "Action", "Cookie", "Handshake", "is_acceptable"]

LEAST_PEER_WINDOW = 1500
"""Bytes of a_rwnd that an INIT must offer (RFC 9260 section 3.3.2)."""

_LARGEST_ECHO = 256
"""Bytes of a parameter that we do not know that go back to the peer."""


def is_acceptable(init: Init) -> bool:
    """Tell whether the fixed fields of an INIT or INIT ACK, its tag excepted, are as they must be.

    Source: RFC 9260 sections 3.3.2 and 3.3.3.
    """
    return init.outbound_streams > 0 and init.inbound_streams > 0 and init.a_rwnd >= LEAST_PEER_WINDOW


class Action(enum.Enum):
    """What a COOKIE ECHO means: RFC 9260 section 5.2.4, table 12."""

    BEGIN = "no association yet"
    RESTART = "A: the peer has begun anew"
    COLLISION = "B: both have begun at the same time"
    DUPLICATE = "D: the association is the one that stands"
    LATE = "C, or in no row of the table: discard"
    STALE = "too old: report it"
    FORGED = "not ours: discard"


@dataclass(frozen=True, slots=True)
class Cookie:
    """The State Cookie: all that an association needs to begin, so that nothing is kept for an INIT.

    made_at        seconds on our clock.
    agreement      what was agreed on.
    local_tie_tag, peer_tie_tag    tags of the association that stood when the INIT came; 0 = there was none.

    Source: RFC 9260 sections 5.1.3 and 5.2.
    """

    made_at: float
    agreement: Agreement
    local_tie_tag: int = 0
    peer_tie_tag: int = 0

    _FIELDS: ClassVar[struct.Struct] = struct.Struct("!dIIIIIHHBIIHH")
    _MAC_SIZE: ClassVar[int] = 32

    @property
    def tie_tags(self) -> tuple[int, int]:
        """Both tags of the association that stood."""
        return self.local_tie_tag, self.peer_tie_tag

    def write(self, key: bytes, ports: tuple[int, int]) -> bytes:
        """Write the cookie.

        key      32 random bytes that stay with us.
        ports    local and remote, so that a cookie of another association does not fit.
        """
        a = self.agreement
        fields = self._FIELDS.pack(
            self.made_at,
            a.local_tag,
            a.peer_tag,
            a.local_tsn,
            a.peer_tsn,
            a.peer_window,
            a.outbound,
            a.inbound,
            a.features.write(),
            self.local_tie_tag,
            self.peer_tie_tag,
            *ports,
        )
        return fields + hmac.digest(key, fields, hashlib.sha256)

    @classmethod
    def parse(cls, data: bytes, key: bytes, ports: tuple[int, int]) -> Self:
        """Read a cookie of ours.

        Raises WireError unless it is exactly as we wrote it.
        """
        if len(data) != cls._FIELDS.size + cls._MAC_SIZE:
            raise WireError(f"state cookie of {len(data)} bytes")
        fields = data[: -cls._MAC_SIZE]
        if not hmac.compare_digest(hmac.digest(key, fields, hashlib.sha256), data[-cls._MAC_SIZE :]):
            raise WireError("state cookie with a wrong signature")
        (
            made_at,
            local_tag,
            peer_tag,
            local_tsn,
            peer_tsn,
            peer_window,
            outbound,
            inbound,
            features,
            local_tie_tag,
            peer_tie_tag,
            *found_ports,
        ) = cls._FIELDS.unpack(fields)
        if tuple(found_ports) != ports:
            raise WireError("state cookie of another association")
        agreement = Agreement(
            local_tag,
            peer_tag,
            local_tsn,
            peer_tsn,
            peer_window,
            outbound,
            inbound,
            Features.parse(features),
        )
        return cls(made_at, agreement, local_tie_tag, peer_tie_tag)


class Handshake:
    """What one side has to remember to begin an association, and how it judges what comes.

    It changes nothing but itself: its owner carries out what it says.

    options         of the association.
    random_bytes    n -> n unpredictable bytes.

    Source: RFC 9260 sections 5.1 and 5.2.
    """

    def __init__(self, options: Options, random_bytes: Callable[[int], bytes]) -> None:
        self.timer = Timer(options.rto_initial, ceiling=options.rto_max)
        """T1-init or T1-cookie: our INIT or COOKIE ECHO is unanswered."""
        self.cookie_echo = b""
        """The COOKIE ECHO chunk that waits for its COOKIE ACK."""
        self.ports = options.local_port, options.remote_port
        """Our port and the peer's, which a cookie is bound to."""
        self._options = options
        self._random_bytes = random_bytes
        self._key = random_bytes(32)
        self._features = Features(
            partial_reliability=True,
            reconfiguration=True,
            interleaving=options.interleaving,
            zero_checksum=options.zero_checksum,
            interleaved_forward=options.interleaving,
        )
        self._inits: tuple[Init, ...] = ()  # ours: with all features, and with the old ones only
        self._sent = 0

    def _random32(self) -> int:
        """Give a random number that is not 0: a tag, or an initial TSN."""
        return int.from_bytes(self._random_bytes(4)) or 1

    def _make_init(self, features: Features) -> Init:
        options = self._options
        return Init(
            self._random32(),
            options.receive_window,
            options.outbound_streams,
            options.inbound_streams,
            self._random32(),
            announce(features),
        )

    def begin(self, *, afresh: bool = False) -> int:
        """Make our INITs; return the tag of the first.

        afresh    also if there are some: they have failed.
        """
        if self._inits and not afresh:
            return self._inits[0].initiate_tag
        plain = Features(partial_reliability=True, reconfiguration=True)
        self._inits = (self._make_init(self._features), self._make_init(plain))
        self._sent = 0
        return self._inits[0].initiate_tag

    def local_init(self) -> bytes:
        """Make our INIT, if that was not done, and give its chunk without padding."""
        self.begin()
        written = self._inits[0].write()
        return written[: int.from_bytes(written[2:4])]

    def agree(self, peer_init: bytes) -> Agreement:
        """Give what follows from our INIT and one that came beside the SDP.

        Raises InvalidState without a local_init() before, InvalidParameter if the peer's cannot be accepted
               or is ours.
        Source: draft-hancke-tsvwg-snap.
        """
        if not self._inits:
            raise InvalidState("connect_with() needs the INIT that local_init() gives the peer")
        if peer_init == self.local_init():
            raise InvalidParameter("the peer's sctp-init is our own, sent back")
        try:
            init = Init.parse(peer_init)
        except WireError as error:
            raise InvalidParameter(f"the peer's sctp-init is not an INIT chunk: {error}") from error
        if not init.initiate_tag or not is_acceptable(init):
            raise InvalidParameter("the peer's sctp-init has forbidden values")
        return Agreement.between(self._inits[0], init)

    def next_init(self) -> bytes:
        """Write the INIT to send now: with all features and, as that may stay unanswered, without, in turn.

        Some peers drop an INIT whole for a parameter that they do not know. Both have a tag of their own, so
        that the INIT ACK tells which one the peer has read.
        """
        init = self._inits[self._sent & 1]
        self._sent += 1
        return init.write()

    def find_init(self, tag: int) -> Init | None:
        """Give the INIT of ours that has this tag."""
        for init in self._inits:
            if init.initiate_tag == tag:
                return init
        return None

    def answer(self, init: Init, standing: Agreement | None, setting_up: bool, now: float) -> bytes:
        """Write the INIT ACK for an INIT; nothing is kept of it but what its cookie holds.

        standing      what holds for the association that stands, if one does.
        setting_up    our own INIT or COOKIE ECHO is under way: then the answer says the same as our INIT.
        Source: RFC 9260 sections 5.1.3, 5.2.1 and 5.2.2.
        """
        theirs = features_of(init)
        if standing is None:
            self.begin()
            ours = self._inits[0]
        elif setting_up:
            ours = self.find_init(standing.local_tag) or self._inits[0]
        else:
            ours = self._make_init(self._features)
        # What the peer has not announced it need not know: the answer names it no more than necessary.
        features = features_of(ours) & Features(
            True, True, theirs.interleaving, theirs.zero_checksum, theirs.interleaved_forward
        )
        parameters = announce(features)
        answer = InitAck(
            ours.initiate_tag,
            ours.a_rwnd,
            ours.outbound_streams,
            ours.inbound_streams,
            ours.initial_tsn,
            parameters,
        )
        cookie = Cookie(now, Agreement.between(answer, init))
        if standing is not None:
            cookie = Cookie(now, cookie.agreement, standing.local_tag, standing.peer_tag)
        extra: list[Parameter] = [
            (UNRECOGNIZED_PARAMETER, write_parameter(kind, value[:_LARGEST_ECHO]))
            for kind, value in unknown_parameters(init)[:4]
        ]
        return InitAck(
            answer.initiate_tag,
            answer.a_rwnd,
            answer.outbound_streams,
            answer.inbound_streams,
            answer.initial_tsn,
            ((STATE_COOKIE, cookie.write(self._key, self.ports)), *parameters, *extra),
        ).write()

    def judge(
        self, echo: CookieEcho, standing: Agreement | None, setting_up: bool, now: float
    ) -> tuple[Action, Cookie | None, float]:
        """Say what a COOKIE ECHO means.

        standing      what holds for the association that stands, if one does.
        setting_up    our own INIT or COOKIE ECHO is under way.
        Returns (action, cookie unless it is FORGED, seconds that it is too old if it is STALE).
        Source: RFC 9260 sections 5.1.5 and 5.2.4.
        """
        try:
            cookie = Cookie.parse(echo.cookie, self._key, self.ports)
        except WireError:
            return Action.FORGED, None, 0.0
        agreement = cookie.agreement
        if standing is None:
            local_matches = self.find_init(agreement.local_tag) is not None
            peer_matches = False
        else:
            local_matches = agreement.local_tag == standing.local_tag
            peer_matches = agreement.peer_tag == standing.peer_tag
        too_old = now - cookie.made_at - self._options.cookie_lifetime
        if too_old > 0 and not (local_matches and peer_matches):
            return Action.STALE, cookie, too_old
        if standing is None:
            # While our INIT waits, a cookie made before it is not the one that goes with it.
            action = Action.BEGIN if local_matches or not setting_up else Action.LATE
        elif local_matches:
            action = Action.DUPLICATE if peer_matches else Action.COLLISION
        elif not peer_matches and cookie.tie_tags == (standing.local_tag, standing.peer_tag):
            action = Action.RESTART
        elif setting_up and not peer_matches and self.find_init(agreement.local_tag) is not None:
            # Both sides have repeated their INITs, and each echoes a cookie that the other has left behind.
            # Each sees the same two pairs of tags, so both come to the same choice.
            pairs = [sorted((it.local_tag, it.peer_tag)) for it in (agreement, standing)]
            action = Action.COLLISION if pairs[0] > pairs[1] else Action.LATE
        else:
            action = Action.LATE
        return action, cookie, 0.0
