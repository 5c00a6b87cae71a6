"""STUN and TURN servers in memory: sessions on a virtual host, or alone in a test that plays the network."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rtcstack import stun
from rtcstack.errors import WireError
from rtcstack.net import Address
from rtcstack.stun import Message, MessageClass
from rtcstack.testing.host import VirtualHost
from rtcstack.testing.stream import is_stream

__all__ = [
    "ALLOCATE",
    "CHANNEL_BIND",
    "CREATE_PERMISSION",
    "DATA",
    "REFRESH",
    "SEND",
    "Allocation",
    "StunServer",
    "TurnServer",
]

_PORT = 3478
_OTHER_PORT = 3479
_TLS_PORT = 5349
_FIRST_RELAY_PORT = 49152
_PERMISSION_LIFETIME = 300
_CHANNEL_LIFETIME = 600
"""Seconds (RFC 8656 sections 9 and 12)."""

ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = 3, 4, 6, 7, 8, 9
"""Methods (RFC 8656 section 17)."""
_UDP = 17
_CHANGE_IP, _CHANGE_PORT = 4, 2
"""Flags of CHANGE-REQUEST (RFC 5780 section 7.2)."""
_MTU = 1500
_IPV6 = 2

Attributes = dict[stun.Attribute[Any], Any]


class _RefusalError(Exception):
    """A request is answered with this error."""

    def __init__(self, code: int, attributes: Attributes | None = None) -> None:
        self.code = code
        self.attributes = attributes or {}


class StunServer:
    """Tells whoever asks at port 3478 the address that the question came from.

    ips          its IP addresses.
    alternate    where it sends everybody instead (RFC 8489 section 10); None for nowhere.
    discovery    with two addresses of a family: let clients find out how their NAT behaves (RFC 5780), at
                 ports 3478 and 3479 of both.

    Attributes that a test may set:
      is_silent  no answer to anything: a dead server.
      tamper     changes an answer before it is signed; None from it loses the answer.

    Source: RFC 8489, RFC 5780 section 6.
    """

    scheme = "stun"

    def __init__(self, *ips: str, alternate: Address | None = None, discovery: bool = False) -> None:
        ports = (_PORT, _OTHER_PORT) if discovery else (_PORT,)
        self.addresses = [(ip, port) for port in ports for ip in ips]
        self.stream_addresses: list[Address] = []
        """Where it accepts connections."""
        self.alternate = alternate
        self.discovery = discovery
        self.is_silent = False
        self.tamper: Callable[[Message], Message | None] = lambda answer: answer
        self.open_port: Callable[[Address], object] = lambda address: None
        """Told of each relayed address; `on` sets it."""
        self.close: Callable[[], object] = lambda: None
        """End the server with its sockets and connections; `on` sets it."""
        self._outgoing: list[tuple[Address, Address, list[bytes]]] = []

    @classmethod
    def on(cls, host: VirtualHost, **options: Any) -> Self:
        """Start a server on a host of a virtual network, at all its addresses.

        options    as for the class itself.
        """
        server = cls(*host.addresses, **options)
        transport = host.attach(server)
        server.open_port, server.close = transport.open, transport.close
        for address in server.addresses:
            transport.open(address)
        for address in server.stream_addresses:
            transport.listen(address)
        return server

    @property
    def url(self) -> str:
        """What goes into `iceServers`: its first address."""
        return f"{self.scheme}:{_bracketed(self.addresses[0][0])}:{_PORT}"

    @property
    def deadline(self) -> float:
        """Now while there is something to send, else never."""
        return -math.inf if self._outgoing else math.inf

    def add_local_address(self, address: Address, interface: str = "") -> None:
        """Do nothing: it knows its addresses."""

    def end_of_local_candidates(self) -> None:
        """Do nothing: it knows its addresses."""

    def handle_timeout(self, now: float) -> None:
        """Do nothing: what has expired is found out when it is needed."""

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over (local, remote, datagrams) to send."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Take datagrams from a client or a peer; what is no request is dropped."""
        if self.is_silent:
            return
        for data in datagrams:
            try:
                message = Message.parse(data)
            except WireError:
                continue
            if message.message_class is MessageClass.REQUEST:
                self._answer(local, remote, message, now)
            elif message.message_class is MessageClass.INDICATION:
                self._receive_indication(remote, message, now)

    def _answer(self, local: Address, remote: Address, request: Message, now: float) -> None:
        key: bytes | None = None
        source, destination = local, remote
        message_class = MessageClass.SUCCESS
        try:
            key = self._authenticate(request, now)
            attributes = self._carry_out(local, remote, request, now)
            source = self._origin(local, request)
            destination = remote[0], request.get(stun.RESPONSE_PORT) or remote[1]
            if self.discovery:
                attributes |= {stun.MAPPED_ADDRESS: remote, stun.RESPONSE_ORIGIN: source}
        except _RefusalError as refused:
            message_class = MessageClass.ERROR
            attributes = {stun.ERROR_CODE: (refused.code, f"error {refused.code}"), **refused.attributes}
        answer = self.tamper(Message(request.method, message_class, request.transaction_id, attributes))
        if answer is not None:
            data = answer.write(key, integrity=request.integrity or stun.MESSAGE_INTEGRITY)
            self._outgoing.append((source, destination, [data]))

    def other(self, local: Address) -> Address | None:
        """Tell the other address and the other port, as seen from one of ours; None without RFC 5780."""
        if not self.discovery:
            return None
        ips = [ip for ip, _ in self.addresses if ip != local[0] and (":" in ip) == (":" in local[0])]
        ports = [port for _, port in self.addresses if port != local[1]]
        return (ips[0], ports[0]) if ips and ports else None

    def _origin(self, local: Address, request: Message) -> Address:
        """Choose where an answer leaves from (RFC 5780 section 6.1, table 1)."""
        flags = request.get(stun.CHANGE_REQUEST)
        if flags is None:
            return local
        other = self.other(local)
        if other is None:
            raise _RefusalError(420, {stun.UNKNOWN_ATTRIBUTES: (stun.CHANGE_REQUEST.type,)})
        return other[0] if flags & _CHANGE_IP else local[0], other[1] if flags & _CHANGE_PORT else local[1]

    def _authenticate(self, request: Message, now: float) -> bytes | None:
        """Return the key to sign the answer with; RFC 8489 needs none for Binding."""
        return None

    def _carry_out(self, local: Address, remote: Address, request: Message, now: float) -> Attributes:
        """Do what is asked and return the attributes of the answer."""
        if request.method != stun.BINDING:
            raise _RefusalError(400)
        self._redirect()
        attributes: Attributes = {stun.XOR_MAPPED_ADDRESS: remote}
        other = self.other(local)
        if other is not None:
            attributes[stun.OTHER_ADDRESS] = other
        if self.discovery and request.get(stun.PADDING) is not None:
            if request.get(stun.RESPONSE_PORT) is not None:
                raise _RefusalError(400)
            attributes[stun.PADDING] = bytes(_MTU)
        return attributes

    def _redirect(self) -> None:
        if self.alternate is not None:
            raise _RefusalError(300, {stun.ALTERNATE_SERVER: self.alternate})

    def _receive_indication(self, remote: Address, message: Message, now: float) -> None:
        """Take an indication; a STUN server has no use for any."""


@dataclass(slots=True)
class Allocation:
    """What a TURN server keeps for one client.

    client, local    both ends of the way between client and server.
    expires          virtual time, seconds, as in the tables.
    permissions      IP address of a peer -> when it ends.
    channels         number -> peer, and when it ends.
    """

    client: Address
    local: Address
    username: str
    relayed: Address
    transaction_id: bytes
    expires: float
    permissions: dict[str, float] = field(default_factory=dict)
    channels: dict[int, tuple[Address, float]] = field(default_factory=dict)


class TurnServer(StunServer):
    """Relays over UDP, and tells addresses as a StunServer does; relays are at its first address of a family.

    users             username -> password; None relays for anybody.
    sha256            offer SHA-256 beside MD5, and announce it in the nonce.
    anonymity         ask for USERHASH in place of USERNAME.
    nonce_lifetime    seconds after which a nonce is stale, for everybody at once.
    lifetime          seconds of an allocation.
    quota             allocations that it has.

    refusals             method -> error code that every such request is answered with, signed.
    requests             (time, method) of each request with valid credentials, answered or not.
    allocations          client -> Allocation.
    relayed_datagrams, dropped_datagrams    those that had, or had not, a permission.

    Source: RFC 8656, RFC 8489 section 9.2.
    """

    scheme = "turn"

    def __init__(
        self,
        *ips: str,
        users: Mapping[str, str] | None = None,
        realm: str = "example.org",
        sha256: bool = False,
        anonymity: bool = False,
        nonce_lifetime: float = 3600.0,
        lifetime: int = 600,
        quota: int = 100,
        alternate: Address | None = None,
    ) -> None:
        super().__init__(*ips, alternate=alternate)
        self.stream_addresses = [(ip, port) for ip in ips for port in (_PORT, _TLS_PORT)]
        self.users = users
        self.realm = realm
        self.sha256 = sha256
        self.anonymity = anonymity
        self.nonce_lifetime = nonce_lifetime
        self.lifetime = lifetime
        self.quota = quota
        self.refusals: dict[int, int] = {}
        self.requests: list[tuple[float, int]] = []
        self.allocations: dict[Address, Allocation] = {}
        self.relayed_datagrams = 0
        self.dropped_datagrams = 0
        self._relays: dict[Address, Allocation] = {}
        self._next_port = _FIRST_RELAY_PORT

    @property
    def tcp_url(self) -> str:
        """The same for TCP."""
        return f"{self.url}?transport=tcp"

    @property
    def tls_url(self) -> str:
        """The same for TLS over TCP; there is no certificate, as nothing is encrypted."""
        return f"turns:{_bracketed(self.addresses[0][0])}:{_TLS_PORT}"

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Take datagrams from a client or a peer; what cannot be used is dropped.

        Of a connection each piece must be one message: a virtual one keeps them apart.
        """
        for allocation in list(self.allocations.values()):
            if allocation.expires <= now:
                self._delete(allocation)
        if self.is_silent:
            return
        if local in self._relays:
            self._relay_from_peer(self._relays[local], remote, datagrams, now)
        elif local in self.addresses or is_stream(local):
            for data in datagrams:
                if data[:1] and 64 <= data[0] < 80:
                    self._relay_channel_data(remote, data, now)
                else:
                    super().receive(local, remote, [data], now)

    def nonce(self, now: float) -> bytes:
        """Return what is fresh now (RFC 8489 section 9.2: a nonce cookie announces security features)."""
        plain = b"%d" % (now // self.nonce_lifetime)
        features = self.sha256 << 23 | self.anonymity << 22
        if not features:
            return plain
        # Four characters of Base64 hold the 24 bits.
        alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        return b"obMatJos2" + bytes(alphabet[features >> shift & 63] for shift in (18, 12, 6, 0)) + plain

    # Requests

    def _authenticate(self, request: Message, now: float) -> bytes | None:
        """Check the credentials and return the key (RFC 8489 section 9.2.4)."""
        if self.users is None or request.method == stun.BINDING:
            return None
        challenge: Attributes = {stun.REALM: self.realm, stun.NONCE: self.nonce(now)}
        if self.sha256:
            challenge[stun.PASSWORD_ALGORITHMS] = ((2, b""), (1, b""))
        if request.integrity is None:
            raise _RefusalError(401, challenge)
        algorithm, _ = request.get(stun.PASSWORD_ALGORITHM) or (1, b"")
        offered = request.get(stun.PASSWORD_ALGORITHMS)
        if self.sha256 and (offered, algorithm) != (challenge[stun.PASSWORD_ALGORITHMS], 2):
            raise _RefusalError(400)
        username = self._username(request)
        password = self.users.get(username)
        text = f"{username}:{self.realm}:{password}".encode()
        key = hashlib.sha256(text).digest() if algorithm == 2 else hashlib.md5(text).digest()
        if password is None or request.get(stun.REALM) != self.realm or not request.is_authentic(key):
            raise _RefusalError(401, challenge)
        if request.get(stun.NONCE) != challenge[stun.NONCE]:
            raise _RefusalError(438, challenge)
        return key

    def _username(self, request: Message) -> str:
        """Return the name that a request gives; "" if none of ours."""
        users = self.users or {}
        if self.anonymity:
            hashes = {hashlib.sha256(f"{user}:{self.realm}".encode()).digest(): user for user in users}
            return hashes.get(request.get(stun.USERHASH) or b"", "")
        return request.get(stun.USERNAME) or ""

    def _carry_out(self, local: Address, remote: Address, request: Message, now: float) -> Attributes:
        if request.method == stun.BINDING:
            return super()._carry_out(local, remote, request, now)
        self.requests.append((now, request.method))
        if request.method in self.refusals:
            raise _RefusalError(self.refusals[request.method])
        username = self._username(request)
        allocation = self.allocations.get(remote)
        if request.method == ALLOCATE:
            return self._allocate(local, remote, username, request, now)
        if allocation is None:
            raise _RefusalError(437)
        if allocation.username != username:
            raise _RefusalError(441)
        if request.method == REFRESH:
            if request.get(stun.LIFETIME) == 0:
                self._delete(allocation)
                return {stun.LIFETIME: 0}
            allocation.expires = now + self.lifetime
            return {stun.LIFETIME: self.lifetime}
        peer = request.get(stun.XOR_PEER_ADDRESS)
        if peer is None or request.method not in (CREATE_PERMISSION, CHANNEL_BIND):
            raise _RefusalError(400)
        if (":" in peer[0]) != (":" in allocation.relayed[0]):
            raise _RefusalError(443)
        if request.method == CHANNEL_BIND:
            self._bind_channel(allocation, request.get(stun.CHANNEL_NUMBER) or 0, peer, now)
        allocation.permissions[peer[0]] = now + _PERMISSION_LIFETIME
        return {}

    def _allocate(
        self, local: Address, remote: Address, username: str, request: Message, now: float
    ) -> Attributes:
        """Make an allocation, or repeat the answer to the same request (RFC 8656 section 7.2)."""
        allocation = self.allocations.get(remote)
        if allocation is None:
            protocol = request.get(stun.REQUESTED_TRANSPORT)
            wants_ipv6 = request.get(stun.REQUESTED_ADDRESS_FAMILY) == _IPV6
            ips = [ip for ip, _ in self.addresses if (":" in ip) == wants_ipv6]
            for code, is_wrong in (
                (420, bool(request.unknown)),
                (400, protocol is None),
                (442, protocol != _UDP),
                (440, not ips),
                (486, len(self.allocations) >= self.quota),
            ):
                if is_wrong:
                    raise _RefusalError(code)
            self._redirect()
            relayed = ips[0], self._next_port
            self._next_port += 1
            allocation = Allocation(
                remote, local, username, relayed, request.transaction_id, now + self.lifetime
            )
            self.allocations[remote] = self._relays[relayed] = allocation
            self.open_port(relayed)
        elif allocation.transaction_id != request.transaction_id:
            raise _RefusalError(437)
        return {
            stun.XOR_RELAYED_ADDRESS: allocation.relayed,
            stun.LIFETIME: round(allocation.expires - now),
            stun.XOR_MAPPED_ADDRESS: remote,
        }

    def _bind_channel(self, allocation: Allocation, number: int, peer: Address, now: float) -> None:
        bound = {n: p for n, (p, expires) in allocation.channels.items() if expires > now}
        is_taken = bound.get(number, peer) != peer or any(p == peer and n != number for n, p in bound.items())
        if is_taken or not 0x4000 <= number <= 0x4FFF:
            raise _RefusalError(400)
        allocation.channels[number] = peer, now + _CHANNEL_LIFETIME

    def _delete(self, allocation: Allocation) -> None:
        del self.allocations[allocation.client], self._relays[allocation.relayed]

    # Data

    def _receive_indication(self, remote: Address, message: Message, now: float) -> None:
        allocation = self.allocations.get(remote)
        peer, data = message.get(stun.XOR_PEER_ADDRESS), message.get(stun.DATA)
        if message.method != SEND or allocation is None or peer is None or data is None:
            self.dropped_datagrams += 1
        else:
            self._relay_to_peer(allocation, peer, data, now)

    def _relay_channel_data(self, client: Address, data: bytes, now: float) -> None:
        allocation = self.allocations.get(client)
        number, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        peer, expires = (allocation.channels if allocation else {}).get(number, (None, 0.0))
        if allocation is None or peer is None or expires <= now or len(data) < 4 + length:
            self.dropped_datagrams += 1
        else:
            self._relay_to_peer(allocation, peer, data[4 : 4 + length], now)

    def _relay_to_peer(self, allocation: Allocation, peer: Address, data: bytes, now: float) -> None:
        if allocation.permissions.get(peer[0], 0.0) <= now:
            self.dropped_datagrams += 1
        else:
            self.relayed_datagrams += 1
            self._outgoing.append((allocation.relayed, peer, [data]))

    def _relay_from_peer(
        self, allocation: Allocation, peer: Address, datagrams: list[bytes], now: float
    ) -> None:
        if allocation.permissions.get(peer[0], 0.0) <= now:
            self.dropped_datagrams += len(datagrams)
            return
        self.relayed_datagrams += len(datagrams)
        bound = [n for n, (p, expires) in allocation.channels.items() if p == peer and expires > now]
        if bound:
            head = bound[0].to_bytes(2, "big")
            # RFC 8656 section 12.5: over a connection each message is padded to 4 bytes.
            align = 3 if is_stream(allocation.local) else 0
            messages = [
                head + len(data).to_bytes(2, "big") + data + bytes(-len(data) & align) for data in datagrams
            ]
        else:
            messages = [
                Message(
                    DATA, MessageClass.INDICATION, bytes(12), {stun.XOR_PEER_ADDRESS: peer, stun.DATA: data}
                ).write(fingerprint=False)
                for data in datagrams
            ]
        self._outgoing.append((allocation.local, allocation.client, messages))


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
