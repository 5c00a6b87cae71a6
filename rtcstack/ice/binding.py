"""The Binding requests of ICE as messages: written, judged on arrival, answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rtcstack import stun
from rtcstack.stun import Address, Message, MessageClass, Template

__all__ = ["Asked", "Familiar", "Refusal", "judge", "write_refusal", "write_request", "write_success"]

_REASONS = {400: "Bad Request", 401: "Unauthenticated", 420: "Unknown Attribute", 487: "Role Conflict"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an authenticated check of the peer says.

    controlling, controlled     the peer's tie-breaker, under the role that it has; None under the other.
    """

    remote_ufrag: str
    priority: int
    use_candidate: bool
    controlling: int | None
    controlled: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer: its code, and the key that signs it, None if the request was not authenticated."""

    code: int
    key: bytes | None


def write_request(
    transaction_id: bytes,
    username: str,
    key: bytes,
    *,
    priority: int,
    controlling: bool,
    tie_breaker: int,
    use_candidate: bool,
) -> bytes:
    """Write a check.

    username    the peer's ufrag, a colon, ours.
    key         the peer's password.
    priority    what a peer-reflexive candidate found by this check would have.
    Source: RFC 8445 sections 7.1 and 7.2.2.
    """
    # DEVIATION RFC 8489 §6.1: no SOFTWARE; it would help nobody but who looks for our bugs.
    attributes: dict[stun.Attribute[Any], Any] = {
        stun.USERNAME: username,
        stun.PRIORITY: priority,
        stun.ICE_CONTROLLING if controlling else stun.ICE_CONTROLLED: tie_breaker,
    }
    if use_candidate:
        attributes[stun.USE_CANDIDATE] = True
    return Message(stun.BINDING, MessageClass.REQUEST, transaction_id, attributes).write(key)


def judge(request: Message, ufrag: str, key: bytes) -> Asked | Refusal:
    """Authenticate a request and check that it says all that a check must say.

    ufrag, key  our ufrag and password: those of the peer are not needed.
    Source: RFC 8489 sections 6.3.1 and 9.1.3, RFC 8445 sections 7.1.1 and 7.3.
    """
    username = request.get(stun.USERNAME)
    if request.integrity is None or username is None:
        return Refusal(400, None)
    first, _, remote_ufrag = username.partition(":")
    if first != ufrag or not remote_ufrag or not request.is_authentic(key):
        return Refusal(401, None)
    if request.unknown:
        return Refusal(420, key)
    priority = request.get(stun.PRIORITY)
    controlling, controlled = request.get(stun.ICE_CONTROLLING), request.get(stun.ICE_CONTROLLED)
    if priority is None or (controlling is not None and controlled is not None):
        return Refusal(400, key)
    use_candidate = stun.USE_CANDIDATE in request.attributes
    return Asked(remote_ufrag, priority, use_candidate, controlling, controlled)


def write_success(request: Message, source: Address, key: bytes) -> bytes:
    """Answer a request with the address that it came from (RFC 8489 section 6.3.1.1)."""
    return _write_answer(request, MessageClass.SUCCESS, {stun.XOR_MAPPED_ADDRESS: source}, key)


def write_refusal(request: Message, refusal: Refusal) -> bytes:
    """Answer a request with an error, signed only if the request was authentic (RFC 8489 section 9.1.3)."""
    attributes: dict[stun.Attribute[Any], Any] = {stun.ERROR_CODE: (refusal.code, _REASONS[refusal.code])}
    if refusal.code == 420:
        attributes[stun.UNKNOWN_ATTRIBUTES] = request.unknown
    return _write_answer(request, MessageClass.ERROR, attributes, refusal.key)


def _write_answer(
    request: Message,
    message_class: MessageClass,
    attributes: dict[stun.Attribute[Any], Any],
    key: bytes | None,
) -> bytes:
    answer = Message(stun.BINDING, message_class, request.transaction_id, attributes)
    return answer.write(key, integrity=request.integrity or stun.MESSAGE_INTEGRITY)


class Familiar:
    """What two agents say again and again: requests and answers of consent (RFC 7675).

    From one to the next nothing changes but the transaction id, and with it integrity and FINGERPRINT. So the
    last of each kind is kept, and what it said; the next is written from it, or known by comparing bytes.
    What differs in anything, be it one bit of the integrity, is not known here: the full reader judges it.

    key, peer_key   the passwords that sign what the peer asks and we answer, and what we ask.
    """

    __slots__ = ("_answer", "_answered", "_asked", "_key", "_mapped", "_peer_key", "_question")

    def __init__(self, key: bytes, peer_key: bytes) -> None:
        self._key = key
        self._peer_key = peer_key
        self._question: tuple[tuple[object, ...], Template] | None = None
        self._answer: tuple[Address, Template] | None = None
        self._asked: tuple[Asked, Template] | None = None
        self._mapped: tuple[Address, Template] | None = None

    def write_request(
        self, transaction_id: bytes, username: str, priority: int, controlling: bool, tie_breaker: int
    ) -> bytes:
        """Write a check that nominates nothing."""
        says = (username, priority, controlling, tie_breaker)
        known = self._question
        if known is not None and known[0] == says:
            return known[1].write(transaction_id)
        request = write_request(
            transaction_id,
            username,
            self._peer_key,
            priority=priority,
            controlling=controlling,
            tie_breaker=tie_breaker,
            use_candidate=False,
        )
        self._question = says, Template(request, self._peer_key)
        return request

    def write_success(self, transaction_id: bytes, source: Address) -> bytes:
        """Answer a request that was signed with SHA-1."""
        known = self._answer
        if known is not None and known[0] == source:
            return known[1].write(transaction_id)
        attributes = {stun.XOR_MAPPED_ADDRESS: source}
        answer = Message(stun.BINDING, MessageClass.SUCCESS, transaction_id, attributes).write(self._key)
        if _is_plain(source):
            self._answer = source, Template(answer, self._key)
        return answer

    def keep_request(self, request: Message, asked: Asked) -> None:
        """Know an authentic request when it comes again."""
        template = request.template(self._key)
        self._asked = None if template is None else (asked, template)

    def read_request(self, datagram: bytes) -> Asked | None:
        """Return what an authentic request says; None if it is not known."""
        known = self._asked
        return known[0] if known is not None and known[1].recognises(datagram) else None

    def keep_success(self, answer: Message, mapped: Address) -> None:
        """Know an authentic answer when it comes again."""
        template = answer.template(self._peer_key) if _is_plain(mapped) else None
        self._mapped = None if template is None else (mapped, template)

    def read_success(self, datagram: bytes) -> Address | None:
        """Return the mapped address of an authentic answer; None if it is not known."""
        known = self._mapped
        return known[0] if known is not None and known[1].recognises(datagram) else None


def _is_plain(address: Address) -> bool:
    """Tell whether an XOR-MAPPED-ADDRESS is the same in every message: IPv6 hides behind the transaction."""
    return ":" not in address[0]
