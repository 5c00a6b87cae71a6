"""A STUN and TURN server in memory: sans-IO, alone in a ladder test or as a session on a virtual host."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rtcstack import stun
from rtcstack.errors import WireError
from rtcstack.stun import Address, Message, MessageClass
from rtcstack.testing import VirtualHost, VirtualNetwork

ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = 3, 4, 6, 7, 8, 9

Attributes = dict[stun.Attribute[Any], Any]


@dataclass
class Allocation:
    """What the server keeps for one client; times are when it ends."""

    client: Address
    local: Address
    username: str
    relayed: Address
    transaction_id: bytes
    expires: float
    permissions: dict[str, float] = field(default_factory=dict)
    channels: dict[int, tuple[Address, float]] = field(default_factory=dict)


class RefusalError(Exception):
    """A request is answered with this error."""

    def __init__(self, code: int, **attributes: Any) -> None:
        self.code = code
        self.attributes = {getattr(stun, name): value for name, value in attributes.items()}


class TurnServer:
    """One server at port 3478 of its addresses; relays are at the first address of their family.

    users              username -> password; None relays for anybody.
    sha256             offer SHA-256 beside MD5, and announce it in the nonce.
    anonymity          ask for USERHASH in place of USERNAME.
    nonce_lifetime     seconds after which a nonce is stale, for everybody at once.
    lifetime           seconds of an allocation.
    quota              allocations that it has.
    alternate          where it sends everybody who asks for an allocation or an address; None for nowhere.

    refusals           method -> error code that every such request is answered with, signed.
    tamper             changes an answer before it is signed; None from it loses the answer.
    open_port          told of each new relayed address.
    requests           (time, method) of each valid request, answered or not.
    """

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
        self.addresses = [(ip, 3478) for ip in ips]
        self.users = users
        self.realm = realm
        self.sha256 = sha256
        self.anonymity = anonymity
        self.nonce_lifetime = nonce_lifetime
        self.lifetime = lifetime
        self.quota = quota
        self.alternate = alternate
        self.refusals: dict[int, int] = {}
        self.tamper: Callable[[Message], Message | None] = lambda answer: answer
        self.open_port: Callable[[Address], object] = lambda address: None
        self.requests: list[tuple[float, int]] = []
        self.allocations: dict[Address, Allocation] = {}
        self.relayed_datagrams = 0
        self.dropped_datagrams = 0
        self._relays: dict[Address, Allocation] = {}
        self._next_port = 49152
        self._outgoing: list[tuple[Address, Address, list[bytes]]] = []

    # The shape of a session

    @property
    def deadline(self) -> float:
        return -math.inf if self._outgoing else math.inf

    def add_local_address(self, address: Address, interface: str = "") -> None:
        """The addresses are known."""

    def end_of_local_candidates(self) -> None:
        """The addresses are known."""

    def handle_timeout(self, now: float) -> None:
        """Everything is looked at when it is needed."""

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        for client, allocation in list(self.allocations.items()):
            if allocation.expires <= now:
                self._delete(client)
        if local in self._relays:
            self._relay_from_peer(self._relays[local], remote, datagrams, now)
        if local not in self.addresses:
            return
        for data in datagrams:
            if data[:1] and 64 <= data[0] < 80:
                self._relay_channel_data(remote, data, now)
                continue
            try:
                message = Message.parse(data)
            except WireError:
                continue
            if message.message_class is MessageClass.REQUEST:
                self._answer(local, remote, message, now)
            elif message.method == SEND and remote in self.allocations:
                to_peer = message.attributes[stun.XOR_PEER_ADDRESS], message.attributes[stun.DATA]
                self._relay_to_peer(self.allocations[remote], *to_peer, now)

    # Requests

    def _answer(self, local: Address, remote: Address, request: Message, now: float) -> None:
        key: bytes | None = None
        try:
            if request.method == stun.BINDING:
                if self.alternate is not None:
                    raise RefusalError(300, ALTERNATE_SERVER=self.alternate)
                attributes: Attributes = {stun.XOR_MAPPED_ADDRESS: remote}
            else:
                username, key = self._authenticate(request, now)
                self.requests.append((now, request.method))
                if request.method in self.refusals:
                    raise RefusalError(self.refusals[request.method])
                attributes = self._carry_out(local, remote, username, request, now)
            answer = Message(request.method, MessageClass.SUCCESS, request.transaction_id, attributes)
        except RefusalError as refused:
            content = {stun.ERROR_CODE: (refused.code, f"error {refused.code}"), **refused.attributes}
            answer = Message(request.method, MessageClass.ERROR, request.transaction_id, content)
        tampered = self.tamper(answer)
        if tampered is not None:
            data = tampered.write(key, integrity=request.integrity or stun.MESSAGE_INTEGRITY)
            self._outgoing.append((local, remote, [data]))

    def nonce(self, now: float) -> bytes:
        """Return what is fresh now (RFC 8489 §9.2: the nonce cookie announces security features)."""
        plain = b"%d" % (now // self.nonce_lifetime)
        features = {
            (False, False): b"",
            (True, False): b"gAAA",
            (False, True): b"QAAA",
            (True, True): b"wAAA",
        }
        chosen = features[self.sha256, self.anonymity]
        return b"obMatJos2" + chosen + plain if chosen else plain

    def _authenticate(self, request: Message, now: float) -> tuple[str, bytes | None]:
        """Return username and key (RFC 8489 §9.2.4)."""
        if self.users is None:
            return "", None
        challenge: dict[str, Any] = {"REALM": self.realm, "NONCE": self.nonce(now)}
        if self.sha256:
            challenge["PASSWORD_ALGORITHMS"] = ((2, b""), (1, b""))
        if request.integrity is None:
            raise RefusalError(401, **challenge)
        algorithm, _ = request.get(stun.PASSWORD_ALGORITHM) or (1, b"")
        if self.sha256 and (request.get(stun.PASSWORD_ALGORITHMS), algorithm) != (
            challenge["PASSWORD_ALGORITHMS"],
            2,
        ):
            raise RefusalError(400)
        if self.anonymity:
            hashes = {hashlib.sha256(f"{user}:{self.realm}".encode()).digest(): user for user in self.users}
            username = hashes.get(request.get(stun.USERHASH) or b"", "")
        else:
            username = request.get(stun.USERNAME) or ""
        password = self.users.get(username)
        text = f"{username}:{self.realm}:{password}".encode()
        key = hashlib.sha256(text).digest() if algorithm == 2 else hashlib.md5(text).digest()
        if password is None or request.get(stun.REALM) != self.realm or not request.is_authentic(key):
            raise RefusalError(401, **challenge)
        if request.get(stun.NONCE) != challenge["NONCE"]:
            raise RefusalError(438, **challenge)
        return username, key

    def _carry_out(
        self, local: Address, remote: Address, username: str, request: Message, now: float
    ) -> Attributes:
        allocation = self.allocations.get(remote)
        if request.method == ALLOCATE:
            return self._allocate(local, remote, username, request, now)
        if allocation is None:
            raise RefusalError(437)
        if allocation.username != username:
            raise RefusalError(441)
        if request.method == REFRESH:
            lifetime = request.get(stun.LIFETIME)
            if lifetime == 0:
                self._delete(remote)
                return {stun.LIFETIME: 0}
            allocation.expires = now + self.lifetime
            return {stun.LIFETIME: self.lifetime}
        peer = request.get(stun.XOR_PEER_ADDRESS)
        if peer is None:
            raise RefusalError(400)
        if (":" in peer[0]) != (":" in allocation.relayed[0]):
            raise RefusalError(443)
        if request.method == CHANNEL_BIND:
            number = request.get(stun.CHANNEL_NUMBER) or 0
            bound = {n: p for n, (p, expires) in allocation.channels.items() if expires > now}
            if not 0x4000 <= number <= 0x4FFF or bound.get(number, peer) != peer:
                raise RefusalError(400)
            if any(p == peer and n != number for n, p in bound.items()):
                raise RefusalError(400)
            allocation.channels[number] = peer, now + 600
        allocation.permissions[peer[0]] = now + 300
        return {}

    def _allocate(
        self, local: Address, remote: Address, username: str, request: Message, now: float
    ) -> Attributes:
        """Make an allocation (RFC 8656 §7.2)."""
        allocation = self.allocations.get(remote)
        if allocation is None:
            protocol = request.get(stun.REQUESTED_TRANSPORT)
            family = request.get(stun.REQUESTED_ADDRESS_FAMILY) or 1
            ips = [ip for ip, _ in self.addresses if (":" in ip) == (family == 2)]
            for code, is_wrong in (
                (420, bool(request.unknown)),
                (400, protocol is None),
                (442, protocol != 17),
                (440, not ips),
                (486, len(self.allocations) >= self.quota),
            ):
                if is_wrong:
                    raise RefusalError(code)
            if self.alternate is not None:
                raise RefusalError(300, ALTERNATE_SERVER=self.alternate)
            relayed = ips[0], self._next_port
            self._next_port += 1
            allocation = Allocation(
                remote, local, username, relayed, request.transaction_id, now + self.lifetime
            )
            self.allocations[remote] = self._relays[relayed] = allocation
            self.open_port(relayed)
        elif allocation.transaction_id != request.transaction_id:
            raise RefusalError(437)
        return {
            stun.XOR_RELAYED_ADDRESS: allocation.relayed,
            stun.LIFETIME: round(allocation.expires - now),
            stun.XOR_MAPPED_ADDRESS: remote,
        }

    def _delete(self, client: Address) -> None:
        del self._relays[self.allocations.pop(client).relayed]

    # Data

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
            messages = [head + len(data).to_bytes(2, "big") + data for data in datagrams]
        else:
            messages = [
                Message(
                    DATA, MessageClass.INDICATION, bytes(12), {stun.XOR_PEER_ADDRESS: peer, stun.DATA: data}
                ).write(fingerprint=False)
                for data in datagrams
            ]
        self._outgoing.append((allocation.local, allocation.client, messages))


def host_turn_server(network: VirtualNetwork, host: VirtualHost, **options: Any) -> TurnServer:
    """Put a server on a host of a virtual network, at port 3478 of all the host's addresses."""
    server = TurnServer(*host.addresses, **options)
    transport = host.attach(server)

    def open_port(address: Address) -> None:
        network.sockets[address] = transport

    server.open_port = open_port
    for address in server.addresses:
        open_port(address)
    return server
