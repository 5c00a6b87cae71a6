"""What the doctor looks at, one function each: they may wait, within a limit, and return findings."""

from __future__ import annotations

import importlib.metadata
import os
import select
import socket
import ssl
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from rtcstack import __version__, stun, turn
from rtcstack.errors import WireError
from rtcstack.net import Options, UdpSocket
from rtcstack.net.interfaces import select_interfaces, system_interfaces
from rtcstack.net.mdns import INSTALL, MdnsNames, is_installed
from rtcstack.net.stream import Stream
from rtcstack.net.udp import bind
from rtcstack.session import Server, format_address
from rtcstack.stun import Address, Message, MessageClass

__all__ = [
    "Finding",
    "check_interfaces",
    "check_mdns",
    "check_nat",
    "check_path_mtu",
    "check_server",
    "check_sockets",
    "check_versions",
    "resolve_all",
]

PATIENCE = 1.5
"""Seconds for one question over UDP with its retransmissions: several follow each other within the limit."""

SERVER_PATIENCE = 5.0
_RTO = 0.25

# Of a type that everybody may ignore: makes a request as large as the path is tried with.
_FILLER = stun.Attribute(0xFF77, "FILLER", stun.DATA.read, stun.DATA.write)

# RFC 5780 section 7.2
_CHANGE_ADDRESS_AND_PORT, _CHANGE_PORT = 6, 2

_IP_SIZES = (1280, 1400, 1420, 1450, 1480, 1492, 1500, 9000)
"""Sizes of IP packets that are tried: the least of IPv6, tunnels, PPPoE, Ethernet, jumbo frames."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    name    what was looked at.
    status  "ok", "info", "warning", or "wrong", which makes the exit code 1.
    text    a sentence for people.
    data    the same for programs, ready for JSON.
    """

    name: str
    status: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


def check_versions() -> list[Finding]:
    """Name the versions that a bug report needs."""
    versions = {
        "rtcstack": __version__,
        "Python": sys.version.split()[0],
        "pyOpenSSL": importlib.metadata.version("pyOpenSSL"),
        "OpenSSL": _openssl_version(),
        "cryptography": importlib.metadata.version("cryptography"),
    }
    return [Finding("versions", "info", ", ".join(f"{k} {v}" for k, v in versions.items()), versions)]


def check_interfaces() -> list[Finding]:
    """List the addresses that candidates are made of."""
    found = system_interfaces()
    usable = select_interfaces(found)
    text = ", ".join(f"{each.address} ({each.name})" for each in usable)
    data = {
        "usable": [[each.name, each.address] for each in usable],
        "all": [[each.name, each.address] for each in found],
    }
    if not usable:
        return [
            Finding("interfaces", "wrong", "no address that a peer could reach: is there a network?", data)
        ]
    return [Finding("interfaces", "ok", text, data)]


def check_sockets() -> list[Finding]:
    """Find out what the kernel does for a UDP socket."""
    options = Options()
    sock = bind("127.0.0.1", options)
    stats, segments, coalesces = sock.stats, sock.segments, sock.coalesces
    sock.close()
    can = [name for name, has in (("GSO", segments), ("GRO", coalesces)) if has]
    asked, receive, send = options.buffer_size, stats.receive_buffer, stats.send_buffer
    text = f"asked for {asked >> 10} KiB, granted {receive >> 10} to receive and {send >> 10} to send"
    enough = min(receive, send) >= asked
    if not enough and sys.platform == "linux":
        text += "; raise net.core.rmem_max and wmem_max for fast transfers"
    offload = f"{' and '.join(can)} can be used" if can else "neither GSO nor GRO: more CPU for each datagram"
    return [
        Finding("offload", "ok" if len(can) == 2 else "info", offload, {"gso": segments, "gro": coalesces}),
        Finding(
            "socket buffers",
            "ok" if enough else "warning",
            text,
            {"asked": asked, "receive": receive, "send": send},
        ),
    ]


def check_mdns() -> list[Finding]:
    """Resolve a name of our own by mDNS (RFC 6762)."""
    if not is_installed():
        text = f"browsers' .local names cannot be resolved: {INSTALL}"
        return [Finding("mDNS", "warning", text, {"installed": False, "works": False})]
    name = f"{uuid4()}.local"
    ours, theirs = MdnsNames(), MdnsNames(patience=PATIENCE)
    try:
        ours.publish(name, "192.0.2.1")
        theirs.resolve(name)
        ready, _, _ = select.select([theirs], [], [], 2 * PATIENCE)
        _, addresses, reason = theirs.take()[0] if ready else (name, [], "zeroconf does not answer")
    finally:
        ours.close()
        theirs.close()
    if addresses:
        return [Finding("mDNS", "ok", "multicast works", {"installed": True, "works": True})]
    return [Finding("mDNS", "warning", reason, {"installed": True, "works": False})]


def check_server(server: Server) -> list[Finding]:
    """Ask one STUN or TURN server for what a connection would ask it for."""
    url, name = server.url, str(server.url)
    try:
        remote = _resolve(url.host, url.port)
        started = time.monotonic()
        client: turn.BindingClient | turn.Client
        if url.is_turn:
            client = turn.Client(
                server=remote,
                username=server.username,
                password=server.password,
                transport="udp" if url.transport == "udp" else "stream",
                random_bytes=os.urandom,
                family=6 if ":" in remote[0] else 4,
            )
        else:
            client = turn.BindingClient(server=remote, random_bytes=os.urandom)
        event = _run_client(client, remote, url.transport, url.host)
    except (OSError, UnicodeError) as error:
        return [Finding(name, "wrong", f"cannot be asked: {error}", {"error": str(error)})]
    milliseconds = round((time.monotonic() - started) * 1000, 1)
    data: dict[str, Any] = {"address": list(remote), "ms": milliseconds}
    match event:
        case turn.Mapped(address):
            text = f"sees us at {format_address(address)}, {milliseconds} ms"
            return [Finding(name, "ok", text, data | {"mapped": list(address)})]
        case turn.Allocated(relayed, mapped):
            text = (
                f"relays at {format_address(relayed)}, sees us at {format_address(mapped)}, {milliseconds} ms"
            )
            return [Finding(name, "ok", text, data | {"relayed": list(relayed), "mapped": list(mapped)})]
        case turn.AlternateServer(address):
            text = f"sends us on to {format_address(address)}, {milliseconds} ms"
            return [Finding(name, "ok", text, data | {"alternate": list(address)})]
        case turn.Failed(code, reason):
            return [Finding(name, "wrong", f"{code} {reason}", data | {"code": code, "error": reason})]
    return [Finding(name, "wrong", str(event), data | {"error": str(event)})]


def check_nat(servers: list[Address]) -> list[Finding]:
    """Classify the NAT on the way to STUN servers, and see whether it hairpins.

    servers     those over UDP, of one address family; the first that answers is asked most.
    Source: RFC 4787 sections 4 to 6, RFC 5780 sections 4.3 to 4.5.
    """
    with _Asker(servers[0]) as asker:
        answer = asker.ask(servers[0])
        if answer is None and len(servers) > 1:
            servers = servers[1:]
            answer = asker.ask(servers[0])
        if answer is None:
            return [Finding("NAT", "warning", "unknown: no server answers over UDP", {})]
        local, first = asker.address, _mapped(answer)
        if first is None:
            return [Finding("NAT", "warning", "unknown: the server tells no address", {})]
        other = answer.get(stun.OTHER_ADDRESS)
        if other is not None and (other[0] == servers[0][0] or other[1] == servers[0][1]):
            other = None  # it has one address or one port only, and can tell nothing more
        findings = [_judge_mapping(asker, servers, other, local, first)]
        if other is None:
            findings.append(
                Finding("NAT filtering", "info", "unknown: it takes a server with RFC 5780 to find out", {})
            )
        else:
            findings.append(_judge_filtering(servers[0]))
        findings.append(_judge_hairpinning(asker, servers[0], first))
        return findings


def _judge_mapping(
    asker: _Asker, servers: list[Address], other: Address | None, local: Address, first: Address
) -> Finding:
    data: dict[str, Any] = {"local": list(local), "mapped": list(first)}
    if local == first:
        return Finding("NAT mapping", "ok", "no NAT: servers see our own address", data | {"mapping": "none"})
    # Another address, then another port of it; without RFC 5780, whatever other server there is.
    targets = [(other[0], servers[0][1]), other] if other is not None else servers[1:3]
    behaviours = ("address-dependent", "address-and-port-dependent")
    seen = [first]
    for target in targets:
        answer = asker.ask(target)
        mapped = None if answer is None else _mapped(answer)
        if mapped is not None:
            seen.append(mapped)
    data["seen"] = [list(address) for address in seen]
    if len(seen) == 1:
        return Finding("NAT mapping", "info", "a NAT; a second server would tell more", data)
    if len(set(seen)) == 1 or (len(seen) > 1 and seen[1] == first):
        text = "endpoint-independent: direct connections are possible with STUN"
        return Finding("NAT mapping", "ok", text, data | {"mapping": "endpoint-independent"})
    kind = behaviours[0] if other is not None and len(seen) > 2 and seen[1] == seen[2] else behaviours[1]
    text = f"{kind} (symmetric): with such peers on both sides only a TURN server helps"
    return Finding("NAT mapping", "warning", text, data | {"mapping": kind})


def _judge_filtering(server: Address) -> Finding:
    """See from whom answers come through that we have not asked (RFC 5780 section 4.4)."""
    with _Asker(server) as asker:
        asker.ask(server)
        if asker.ask(server, {stun.CHANGE_REQUEST: _CHANGE_ADDRESS_AND_PORT}) is not None:
            kind = "endpoint-independent"
        elif asker.ask(server, {stun.CHANGE_REQUEST: _CHANGE_PORT}) is not None:
            kind = "address-dependent"
        else:
            kind = "address-and-port-dependent"
    return Finding("NAT filtering", "info", kind, {"filtering": kind})


def _judge_hairpinning(asker: _Asker, server: Address, mapped: Address) -> Finding:
    """Send to our own mapped address from another socket (RFC 5780 section 4.5)."""
    with _Asker(server) as other:
        comes_back = other.reaches(asker, mapped)
    text = "works" if comes_back else "does not work: peers behind this NAT need host candidates or a relay"
    return Finding("hairpinning", "ok" if comes_back else "info", text, {"hairpinning": comes_back})


def check_path_mtu(servers: list[Address]) -> list[Finding]:
    """Find the largest datagram that comes to a server whole, by requests that must not be fragmented.

    servers     those over UDP; the first one is asked.
    """
    server = servers[0]
    headers = 48 if ":" in server[0] else 28
    with _Asker(server) as asker:
        plain = len(asker.request({_FILLER: b""}))
        requests = {}
        for size in _IP_SIZES:
            requests[size] = asker.request({_FILLER: bytes((size - headers - plain) & ~3)})
        answered = asker.ask_all(server, requests)
    if not answered:
        return [Finding("path MTU", "info", "unknown: the server answers to no large request", {})]
    largest = max(answered)
    text = f"IP packets of {largest} bytes get to {format_address(server)}"
    return [Finding("path MTU", "ok" if largest >= 1280 else "warning", text, {"mtu": largest})]


class _Asker:
    """A UDP socket that asks Binding requests, on the interface that leads to a server."""

    def __init__(self, server: Address) -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(server)
            ip = str(probe.getsockname()[0])
        self.sock: UdpSocket = bind(ip, Options(offload=False))
        self.address: Address = self.sock.address

    def __enter__(self) -> _Asker:
        return self

    def __exit__(self, *details: object) -> None:
        self.sock.close()

    def request(self, attributes: dict[stun.Attribute[Any], Any]) -> bytes:
        """Write a Binding request."""
        return Message(stun.BINDING, MessageClass.REQUEST, os.urandom(12), attributes).write(
            fingerprint=False
        )

    def ask(
        self, server: Address, attributes: dict[stun.Attribute[Any], Any] | None = None
    ) -> Message | None:
        """Return the answer, wherever it comes from; None if there is none of use."""
        answer = self.ask_all(server, {0: self.request(attributes or {})}).get(0)
        return answer if answer is not None and answer.message_class is MessageClass.SUCCESS else None

    def ask_all(self, server: Address, requests: dict[int, bytes]) -> dict[int, Message]:
        """Send several requests at once, again and again; returns the answers that came, errors too."""
        end = time.monotonic() + PATIENCE
        next_sending = 0.0
        keys = {data[8:20]: key for key, data in requests.items()}
        answers: dict[int, Message] = {}
        while len(answers) < len(requests) and (now := time.monotonic()) < end:
            if now >= next_sending:
                next_sending = now + _RTO
                for key, data in requests.items():
                    if key not in answers:
                        self.sock.send(server, [data])
            for data in self.receive(min(next_sending, end)):
                try:
                    message = Message.parse(data)
                except WireError:
                    continue
                key_of = keys.get(message.transaction_id)
                if key_of is not None and message.message_class is not MessageClass.REQUEST:
                    answers[key_of] = message
        return answers

    def reaches(self, other: _Asker, mapped: Address) -> bool:
        """Tell whether what is sent to a mapped address comes to the socket behind it."""
        data = self.request({})
        end = time.monotonic() + PATIENCE / 2
        while (now := time.monotonic()) < end:
            self.sock.send(mapped, [data])
            if data in other.receive(now + _RTO):
                return True
        return False

    def receive(self, until: float) -> list[bytes]:
        ready, _, _ = select.select([self.sock], [], [], max(0.0, until - time.monotonic()))
        return [data for _, datagrams in self.sock.receive() for data in datagrams] if ready else []


def _mapped(answer: Message) -> Address | None:
    return answer.get(stun.XOR_MAPPED_ADDRESS) or answer.get(stun.MAPPED_ADDRESS)


def _resolve(host: str, port: int) -> Address:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return str(found[0][4][0]), port


def resolve_all(servers: list[Server]) -> list[Address]:
    """Return the UDP addresses of servers, of the address family of the first, without duplicates."""
    found: list[Address] = []
    for server in servers:
        try:
            found.append(_resolve(server.url.host, server.url.port))
        except (OSError, UnicodeError):
            continue
    return [address for address in dict.fromkeys(found) if (":" in address[0]) == (":" in found[0][0])]


def _run_client(
    client: turn.BindingClient | turn.Client, remote: Address, transport: str, host: str
) -> turn.Event | turn.BindingEvent | str:
    """Drive a client until it has an answer; returns it, or a sentence that says what went wrong."""
    if transport != "udp" and isinstance(client, turn.BindingClient):
        return "STUN over TCP and TLS is of no use for data channels: give a stun: URL without transport"
    end = time.monotonic() + SERVER_PATIENCE
    stream = Stream(remote, host if transport == "tls" else "") if transport != "udp" else None
    asker = _Asker(remote) if stream is None else None
    is_started = False
    try:
        while (now := time.monotonic()) < end:
            if stream is not None:
                received = stream.receive()
                if stream.reason:
                    return stream.reason
            else:
                assert asker is not None
                received = asker.receive(now)
            if not is_started and (stream is None or stream.is_open):
                client.start(now)
                is_started = True
            if received:
                client.receive(received, now)
            if client.deadline <= now:
                client.handle_timeout(now)
            events = client.take_events()
            if events and isinstance(client, turn.Client):
                client.close()  # gives the relay back
            packets = client.take_packets(now)
            if packets and stream is not None:
                stream.send(packets)
            elif packets and asker is not None:
                asker.sock.send(remote, packets)
            if events:
                return events[0]
            _wait(stream or asker, min(client.deadline, end, now + 0.25))
    finally:
        if stream is not None:
            stream.close()
        if asker is not None:
            asker.sock.close()
    return f"no answer within {SERVER_PATIENCE:g} s"


def _wait(connection: Stream | _Asker | None, until: float) -> None:
    seconds = max(0.0, until - time.monotonic())
    if isinstance(connection, Stream):
        writers = [connection] if connection.wants_write else []
        select.select([connection], writers, [], seconds)
    elif connection is not None:
        select.select([connection.sock], [], [], seconds)


def _openssl_version() -> str:
    from OpenSSL import SSL

    text = SSL.SSLeay_version(SSL.SSLEAY_VERSION)
    words = text.decode("ascii", "replace").split()
    return words[1] if len(words) > 1 else ssl.OPENSSL_VERSION
