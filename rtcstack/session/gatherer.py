"""Asks STUN and TURN servers for addresses of ours, and carries what goes through the relays."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rtcstack import turn
from rtcstack.turn import BindingClient, Client, ServerUrl

__all__ = [
    "Address",
    "Gathered",
    "Gatherer",
    "RelayLost",
    "Relayed",
    "Server",
    "ServerFailed",
    "ServerReflexive",
    "StreamRequest",
]

Address = tuple[str, int]

_MOST_CLIENTS = 64
"""Questions to servers at a time: eight addresses of ours and eight servers; more help nobody."""

_MOST_OUTCOMES = 256
"""Outcomes of questions that are remembered, to be told: addresses may come and go for days."""

_ANY: Address = ("stream", 0)
"""Stands for our side of connections to servers that are not open yet."""

_NO_ADDRESS = 701
"""W3C's code for a server that cannot be reached (webrtc-pc section 5.6.4)."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the configuration, with the credentials for it."""

    url: ServerUrl
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A connection to open to a server.

    key         stands for the local address: what arrives is received at it, what is sent there leaves on it.
    remote      (ip, port) of the server.
    tls_name    name that its certificate must have; "" for plain TCP.
    """

    key: Address
    remote: Address
    tls_name: str


@dataclass(frozen=True, slots=True)
class ServerReflexive:
    """The server, an IP address, sees the socket bound to `base` as `mapped`."""

    base: Address
    mapped: Address
    server: str


@dataclass(frozen=True, slots=True)
class Relayed:
    """A relay is ours; data from `relayed` goes through relay()."""

    relayed: Address
    mapped: Address
    server: str
    protocol: Literal["udp", "tcp", "tls"]


@dataclass(frozen=True, slots=True)
class RelayLost:
    """A relay is ours no more."""

    relayed: Address
    reason: str


@dataclass(frozen=True, slots=True)
class ServerFailed:
    """A server gave no address; W3C's RTCPeerConnectionIceErrorEvent.

    local   the socket that asked; None if it did not come to that.
    code    STUN error code, or 701 where none was received.
    """

    url: str
    local: Address | None
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """Every server has answered, failed, or used up its time."""


Event = ServerReflexive | Relayed | RelayLost | ServerFailed | Gathered


BaseUse = Literal["all", "mapped", "relay"]
"""What a socket asks servers for."""


@dataclass(slots=True)
class _Question:
    """One client of one server: on its way, or keeping alive what it got."""

    server: Server
    client: BindingClient | Client
    local: Address
    remote: Address
    is_pending: bool = True

    @property
    def is_open(self) -> bool:
        """Whether something may come of it soon."""
        return self.is_pending or (isinstance(self.client, Client) and self.client.is_in_doubt)


class Gatherer:
    """All questions to all servers, each with its own time: none waits for another.

    servers         in the order of the configuration.
    random_bytes    n -> n unpredictable bytes.
    wants_reflexive     False asks TURN servers only.

    deadline        seconds; call handle_timeout, then take_packets. math.inf while nothing is due.
    is_done         whether every question has come to an end; Gathered has told.
    has_packets     whether take_packets may have something before the deadline.
    relays          relayed address -> its client.

    Source: RFC 8445 section 5.1.1, RFC 8656.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        random_bytes: Callable[[int], bytes],
        options: turn.Options | None = None,
        wants_reflexive: bool = True,
        tag: str = "-",
    ) -> None:
        self._tag = tag
        self.deadline = math.inf
        self.has_packets = False
        self.relays: dict[Address, Client] = {}
        self._random_bytes = random_bytes
        self._options = options or turn.Options()
        self._servers = [server for server in servers if wants_reflexive or server.url.is_turn]
        self._wants_reflexive = wants_reflexive
        self._bases: dict[Address, BaseUse] = {}
        self._bases_ended = False
        self._addresses: dict[str, list[str]] = {}
        self._lookups: list[str] = []
        self._unresolved: set[str] = set()
        self._questions: dict[tuple[Address, Address], _Question] = {}
        self._streams: dict[Address, _Question] = {}
        self._stream_requests: list[StreamRequest] = []
        self._asked: set[tuple[int, Address, Address]] = set()
        self._replaceable: set[tuple[Address, Address]] = set()
        self._stream_count = 0
        self._has_to_ask = False
        self._lookups_end = math.inf
        self.is_done = False
        self._events: list[Event] = []
        self._outcomes: dict[tuple[str, Address | None], str] = {}
        for server in self._servers:
            host = server.url.host
            if _is_ip(host):
                self._addresses[host] = [host]
            elif host not in self._unresolved:
                self._unresolved.add(host)
                self._lookups.append(host)

    # Commands

    def add_base(self, base: Address, use: BaseUse = "all") -> None:
        """Ask every server from one more of our UDP sockets.

        use     "mapped" for one that other sessions have too, so that it cannot have a relay of its own: a
                TURN server is asked for our mapped address only (RFC 8656 section 5: the 5-tuple is the
                allocation). "relay" for one that is there for TURN servers only.
        """
        self._bases[base] = use
        self._has_to_ask = True
        if self._bases_ended:
            # The network has changed: connections that have broken may be possible again.
            self.is_done = False
            alive = {question.remote for question in self._streams.values()}
            self._asked = {each for each in self._asked if each[1] is not _ANY or each[2] in alive}
        self._update()

    def ask_again(self) -> None:
        """Ask anew who has failed, and who sees us where: ICE restarts, perhaps behind another NAT.

        Relays stay, if their servers say that they are still there; others are asked for once more.
        Source: RFC 8445 section 9.
        """
        for question in list(self._questions.values()):
            if isinstance(question.client, BindingClient):
                question.client.close()
                self._drop(question, "it is asked anew")
            else:
                question.client.verify()
        alive = {(question.local, question.remote) for question in self._questions.values()}
        self._replaceable = alive
        streams = {question.remote for question in self._streams.values()}
        self._asked = {
            each for each in self._asked if each[1:] in alive or (each[1] is _ANY and each[2] in streams)
        }
        self.is_done = False
        self.has_packets = True
        self._has_to_ask = True
        self._update()

    def remove_base(self, base: Address) -> None:
        """Forget what was asked from a socket that is gone, its relays included."""
        if base in self._bases:
            del self._bases[base]
            for question in [each for each in self._questions.values() if each.local == base]:
                self._drop(question, f"the local address {base[0]} is gone")
            self._update()

    def end_of_bases(self) -> None:
        """Note that no more sockets will come."""
        self._bases_ended = True
        self._has_to_ask = True
        self._update()

    def resolved(self, host: str, addresses: Sequence[str], reason: str) -> None:
        """Take the addresses of a server's name; none, and the reason, if it has none."""
        if host not in self._unresolved:
            return
        self._unresolved.discard(host)
        # One of each family is enough: more would only multiply the candidates.
        families = {":" in ip: ip for ip in reversed(addresses) if _is_ip(ip)}
        self._addresses[host] = list(families.values())
        if not families:
            for server in self._servers:
                if server.url.host == host:
                    self._fail(server, None, _NO_ADDRESS, reason or f"{host} has no address")
        self._has_to_ask = True
        self._update()

    def stream_opened(self, key: Address, now: float) -> None:
        """Note that a connection to a server is there."""
        question = self._streams.get(key)
        if question is not None:
            question.client.start(now)
            self.has_packets = True
            self._update()

    def stream_closed(self, key: Address, reason: str, now: float) -> None:
        """Note that a connection to a server could not be opened, or is gone."""
        question = self._streams.pop(key, None)
        if question is None:
            return
        assert isinstance(question.client, Client)
        if question.client.state is turn.State.NEW:
            self._conclude(question)
            self._drop(question, reason)
            self._fail(question.server, None, _NO_ADDRESS, reason)
        else:
            question.client.connection_lost(reason)
            self._take_events_of(question, now)
        self._update()

    def outcomes(self) -> list[tuple[str, Address | None, str]]:
        """Tell what became of every question so far: (url, the socket that asked or None, words)."""
        waiting = [
            (str(server.url), None, "its name is being resolved")
            for server in self._servers
            if server.url.host in self._unresolved
        ]
        return waiting + [(url, local, words) for (url, local), words in self._outcomes.items()]

    def close(self) -> None:
        """Give every relay back: take_packets has the requests."""
        for question in self._questions.values():
            question.client.close()
        self._lookups.clear()
        self._unresolved.clear()
        self._lookups_end = math.inf
        self.has_packets = True
        self._update()

    # Input and output

    @property
    def wants_relay_over_udp(self) -> bool:
        """Whether a TURN server is to be asked over UDP."""
        return any(server.url.is_turn and server.url.transport == "udp" for server in self._servers)

    def owns(self, local: Address, remote: Address) -> bool:
        """Tell whether what came from there is a server's answer."""
        return (local, remote) in self._questions

    def receive(
        self, local: Address, remote: Address, datagrams: list[bytes], now: float
    ) -> list[tuple[Address, Address, list[bytes]]]:
        """Take what a server has sent.

        Returns what peers have sent through it: (relayed address, peer, datagrams).
        """
        question = self._questions[local, remote]
        client = question.client
        client.receive(datagrams, now)
        self.has_packets = True
        data = []
        if isinstance(client, Client) and client.relayed is not None:
            data = [(client.relayed, peer, packets) for peer, packets in client.take_data()]
        self._take_events_of(question, now)
        self._update()
        return data

    def relay(self, relayed: Address, peer: Address, datagrams: list[bytes]) -> None:
        """Send datagrams to a peer from our address on a relay; take_packets has them then."""
        client = self.relays.get(relayed)
        if client is not None:
            client.send(peer, datagrams)
            self.has_packets = True

    def bind(self, relayed: Address, peer: Address) -> None:
        """Get a channel to the peer that data goes to: less overhead a datagram."""
        client = self.relays.get(relayed)
        if client is not None:
            client.bind_channel(peer)
            self.has_packets = True

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self._lookups_end <= now:
            self._lookups_end = math.inf
            for host in list(self._unresolved):
                self.resolved(host, (), f"{host} could not be resolved within {self._options.timeout:g} s")
        self.has_packets = True
        for question in list(self._questions.values()):
            if question.client.deadline <= now:
                question.client.handle_timeout(now)
                self._take_events_of(question, now)
        self._update()

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over what goes to servers: (local, remote, datagrams or pieces of a stream)."""
        self.has_packets = False
        if self._unresolved and self._lookups_end == math.inf:
            self._lookups_end = now + self._options.timeout
        if self._has_to_ask:
            self._has_to_ask = False
            self._ask(now)
        out = []
        for question in self._questions.values():
            packets = question.client.take_packets(now)
            if packets:
                out.append((question.local, question.remote, packets))
        self._update()
        return out

    def take_lookups(self) -> list[str]:
        """Hand over the names of servers to look up; resolved() takes the answers."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def take_stream_requests(self) -> list[StreamRequest]:
        """Hand over the connections to open."""
        requests, self._stream_requests = self._stream_requests, []
        return requests

    def take_events(self) -> list[Event]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    # Asking

    def _ask(self, now: float) -> None:
        """Ask every server that has an address from every socket that has not asked it yet."""
        for number, server in enumerate(self._servers):
            for ip in self._addresses.get(server.url.host, ()):
                remote = (ip, server.url.port)
                if server.url.transport == "udp":
                    useless = set() if server.url.is_turn else {"relay"}
                    if not self._wants_reflexive:
                        useless.add("mapped")
                    bases = [
                        base
                        for base, use in self._bases.items()
                        if (":" in base[0]) == (":" in ip) and use not in useless
                    ]
                elif server.url.is_turn and self._bases_ended:
                    bases = [_ANY]  # one connection serves all: who only wants addresses needs none
                else:
                    bases = []
                for base in bases:
                    if (number, base, remote) in self._asked:
                        continue
                    self._asked.add((number, base, remote))
                    if base is _ANY:
                        self._ask_by_stream(server, remote, redirected=False)
                    else:
                        self._ask_by_udp(server, base, remote, now, redirected=False)
        self._update()

    def _ask_by_udp(
        self, server: Server, base: Address, remote: Address, now: float, *, redirected: bool
    ) -> None:
        if (base, remote) in self._questions or len(self._questions) >= _MOST_CLIENTS:
            return  # the same server under another name; a TURN server tells our mapped address as well
        client: BindingClient | Client
        if server.url.is_turn and self._bases.get(base) != "mapped":
            client = self._client(server, remote, "udp", redirected=redirected)
        else:
            client = BindingClient(
                server=remote, random_bytes=self._random_bytes, options=self._options, redirected=redirected
            )
        self._questions[base, remote] = _Question(server, client, base, remote)
        self._note(server, base, "asked")
        client.start(now)

    def _ask_by_stream(self, server: Server, remote: Address, *, redirected: bool) -> None:
        if len(self._questions) >= _MOST_CLIENTS:
            return
        self._stream_count += 1
        key = ("stream", self._stream_count)
        client = self._client(server, remote, "stream", redirected=redirected)
        question = _Question(server, client, key, remote)
        self._questions[key, remote] = self._streams[key] = question
        tls_name = server.url.host if server.url.transport == "tls" else ""
        self._note(server, key, "asked")
        self._stream_requests.append(StreamRequest(key, remote, tls_name))

    def _client(
        self, server: Server, remote: Address, transport: Literal["udp", "stream"], *, redirected: bool
    ) -> Client:
        return Client(
            server=remote,
            username=server.username,
            password=server.password,
            transport=transport,
            random_bytes=self._random_bytes,
            options=self._options,
            family=6 if ":" in remote[0] else 4,
            redirected=redirected,
            tag=self._tag,
        )

    def _take_events_of(self, question: _Question, now: float) -> None:
        server = question.remote[0]
        for event in question.client.take_events():
            match event:
                case turn.Mapped(address):
                    self._conclude(question)
                    self._note(question.server, question.local, f"sees us at {_text(address)}")
                    self._events.append(ServerReflexive(question.local, address, server))
                case turn.Allocated(relayed, mapped):
                    self._conclude(question)
                    self._note(question.server, question.local, f"relays for us at {_text(relayed)}")
                    assert isinstance(question.client, Client)
                    self.relays[relayed] = question.client
                    protocol = question.server.url.transport
                    if protocol == "udp":
                        self._events.append(ServerReflexive(question.local, mapped, server))
                    self._events.append(Relayed(relayed, mapped, server, protocol))
                case turn.AlternateServer(address):
                    self._redirect(question, address, now)
                case turn.Failed(code, reason):
                    self._conclude(question)
                    self._drop(question, reason)
                    self._fail(question.server, question.local, code, reason)
                    self._replace(question)
                case turn.Closed():
                    self._conclude(question)
                    self._drop(question, "given back")

    def _replace(self, question: _Question) -> None:
        """Ask once more for a relay that is found lost after a restart of ICE."""
        key = (question.local, question.remote)
        if key in self._replaceable:
            self._replaceable = self._replaceable - {key}
            self._asked = {each for each in self._asked if each[1:] != key}
            self.is_done = False
            self._has_to_ask = True

    def _redirect(self, question: _Question, address: Address, now: float) -> None:
        """Ask the server that the first one names; it may not name another (RFC 8489 section 10)."""
        self._conclude(question)
        self._drop(question, "the server names another one")
        self._note(question.server, question.local, f"sends us to {_text(address)}")
        if question.server.url.transport == "udp":
            self._ask_by_udp(question.server, question.local, address, now, redirected=True)
        else:
            self._ask_by_stream(question.server, address, redirected=True)

    def _drop(self, question: _Question, reason: str) -> None:
        self._questions.pop((question.local, question.remote), None)
        for relayed, client in list(self.relays.items()):
            if client is question.client:
                del self.relays[relayed]
                self._note(question.server, question.local, f"relays no more: {reason}")
                self._events.append(RelayLost(relayed, reason))

    def _conclude(self, question: _Question) -> None:
        question.is_pending = False

    def _fail(self, server: Server, local: Address | None, code: int, reason: str) -> None:
        shown = _shown(local)
        self._note(server, local, f"{code} {reason}")
        self._events.append(ServerFailed(str(server.url), shown, code, reason))

    def _note(self, server: Server, local: Address | None, outcome: str) -> None:
        key = str(server.url), _shown(local)
        if key in self._outcomes or len(self._outcomes) < _MOST_OUTCOMES:
            self._outcomes[key] = outcome

    def _update(self) -> None:
        questions = self._questions.values()
        self.deadline = min((question.client.deadline for question in questions), default=math.inf)
        self.deadline = min(self.deadline, self._lookups_end)
        if self._has_to_ask:
            self.deadline = -math.inf
        elif (
            not self.is_done
            and self._bases_ended
            and not self._unresolved
            and not any(question.is_open for question in questions)
        ):
            self.is_done = True
            self._events.append(Gathered())


def _shown(local: Address | None) -> Address | None:
    return None if local is None or local[0] == _ANY[0] else local


def _text(address: Address) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
