"""Godot's and W3C's configuration dictionaries, checked value by value."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rtcstack import dtls
from rtcstack.datachannel import LABEL_LIMIT, ChannelConfig
from rtcstack.errors import Error, InvalidParameter, RTCError
from rtcstack.log import Log
from rtcstack.net import Options as NetOptions
from rtcstack.net import UdpMux
from rtcstack.net.mdns import INSTALL as INSTALL_MDNS
from rtcstack.net.mdns import is_installed as is_mdns_installed
from rtcstack.sctp import Options as SctpOptions
from rtcstack.sctp.controllers import CONTROLLERS
from rtcstack.session import Server, SessionOptions
from rtcstack.turn import parse_url

__all__ = ["Configuration", "encode_text", "read_channel_options", "read_configuration"]

_log = Log("peer")

_PRIORITIES = {"very-low": 128, "low": 256, "medium": 512, "high": 1024}
"""W3C's RTCPriorityType -> weight (RFC 8831 section 6.4)."""

_BUNDLE_POLICIES = ("balanced", "max-compat", "max-bundle")
"""Values of W3C's key that changes nothing: there is one media section."""

_IP_HANDLING = ("all", "default_route_and_private", "default_route", "relay")
"""The four modes of RFC 8828 section 5.2, in its order."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration dictionary says."""

    session: SessionOptions = field(default_factory=SessionOptions)
    net: NetOptions = field(default_factory=NetOptions)
    udp_mux: UdpMux | None = None
    """The port to share; it has its own sockets, and options for them."""


def read_configuration(configuration: Mapping[str, Any]) -> Configuration:
    """Read the dictionary that PeerConnection.initialize() takes.

    Keys of Godot and W3C, and ours; the table stands in PeerConnection.  Unknown keys are passed over with
    a warning, as Godot and browsers pass them over.

    Raises:
        InvalidParameter: a value is not allowed; the text names the key, the value and what is allowed.
        RTCError: an entry of iceServers has no usable `urls` (Godot's FAILED).
    """
    _expect(isinstance(configuration, Mapping), "configuration", configuration, "a dictionary")
    session, sctp, net = SessionOptions(), SctpOptions(), NetOptions()
    ice = session.ice
    udp_mux: UdpMux | None = None
    for key, value in configuration.items():
        match key:
            case "iceServers":
                session = replace(session, servers=_read_ice_servers(value))
            case "iceTransportPolicy":
                policy = _one_of(key, value, ("all", "relay"))
                ice = replace(ice, relay_only=ice.relay_only or policy == "relay")
            case "ip_handling":
                mode = _one_of(key, value, _IP_HANDLING)
                net = replace(net, default_route_only=mode in _IP_HANDLING[1:3])
                ice = replace(
                    ice,
                    hide_host=mode == "default_route",
                    hide_related=ice.hide_related or mode == "default_route",
                    relay_only=ice.relay_only or mode == "relay",
                )
            case "ice_lite":
                ice = replace(ice, lite=_flag(key, value))
            case "remote_candidate_filter":
                _expect(
                    callable(value), key, value, "a function of address and port that tells whether to use it"
                )
                ice = replace(ice, remote_candidate_filter=_guarded(value))
            case "disconnected_timeout":
                ice = replace(ice, disconnected_after=_seconds(key, value, 1.0, 30.0))
            case "consent_timeout":
                # RFC 7675 section 5.1 allows no more than 30 s; less than one question would be no answer.
                ice = replace(ice, consent_expiry=_seconds(key, value, 7.0, 30.0))
            case "max_remote_candidates":
                ice = replace(ice, max_remote_candidates=_integer(key, value, 1, 1000))
            case "max_candidate_pairs":
                ice = replace(ice, max_pairs=_integer(key, value, 1, 1000))
            case "max_early_checks":
                ice = replace(ice, max_early_checks=_integer(key, value, 1, 1000))
            case "max_addresses":
                net = replace(net, max_addresses=_integer(key, value, 1, 1000))
            case "certificates":
                valid = (
                    isinstance(value, list | tuple)
                    and len(value) <= 1
                    and all(isinstance(certificate, dtls.Certificate) for certificate in value)
                )
                _expect(valid, key, value, "a list of one rtcstack.Certificate")
                for certificate in value:
                    certificate.require_valid()
                    session = replace(session, certificate=certificate)
            case "max_message_size":
                session = replace(session, max_message_size=_integer(key, value, 0, 1 << 40))
            case "mtu":
                session = replace(session, mtu=_integer(key, value, 576, 65_507))
            case "answer_at_once":
                session = replace(session, answer_at_once=_flag(key, value))
            case "close_timeout":
                session = replace(session, close_timeout=_seconds(key, value))
            case "connect_timeout":
                session = replace(session, connect_timeout=_seconds(key, value))
            case "restart_timeout":
                session = replace(session, restart_timeout=_seconds(key, value))
            case "send_buffer":
                sctp = replace(sctp, send_buffer=_integer(key, value, 1, 1 << 40))
            case "receive_window":
                sctp = replace(sctp, receive_window=_integer(key, value, 65_536, 1 << 31))
            case "snap":
                session = replace(session, snap=_flag(key, value))
            case "interleaving":
                sctp = replace(sctp, interleaving=_flag(key, value))
            case "zero_checksum":
                sctp = replace(sctp, zero_checksum=_flag(key, value))
            case "path_mtu_discovery":
                limit = SctpOptions().path_mtu_limit if _flag(key, value) else 0
                sctp = replace(sctp, path_mtu_limit=limit)
            case "congestion_control":
                valid = isinstance(value, str) and value in CONTROLLERS
                _expect(valid, key, value, " or ".join(CONTROLLERS))
                sctp = replace(sctp, congestion_control=value)
            case "mdns":
                _expect(isinstance(value, bool), key, value, "True or False")
                if value and not is_mdns_installed():
                    raise InvalidParameter(f"mdns: hiding our addresses needs mDNS: {INSTALL_MDNS}")
                ice = replace(ice, hide_related=ice.hide_related or value)
                session = replace(session, hide_addresses=value)
            case "offload":
                net = replace(net, offload=_flag(key, value))
            case "port_range":
                net = replace(net, port_range=_port_range(key, value))
            case "bind_addresses":
                valid = isinstance(value, list | tuple) and all(map(_is_address, value))
                _expect(valid, key, value, "a list of IP addresses, as text")
                net = replace(net, bind_addresses=tuple(value))
            case "interface_poll":
                net = replace(net, interface_poll=_seconds(key, value))
            case "ice_tcp":
                session = replace(session, ice_tcp=_tcp_types(key, value))
            case "interface_filter":
                _expect(
                    callable(value), key, value, "a function of an Interface that tells whether to use it"
                )
                net = replace(net, interface_filter=value)
            case "udp_mux":
                _expect(isinstance(value, UdpMux), key, value, "a rtcstack.UdpMux")
                udp_mux = value
            case "libdatachannel":
                session, net = _read_libdatachannel(value, session, net)
            case "bundlePolicy":
                _one_of(key, value, _BUNDLE_POLICIES)
            case "rtcpMuxPolicy":
                _one_of(key, value, ("require",))
            case "iceCandidatePoolSize":
                _integer(key, value, 0, 255)
            case "peerIdentity":
                _expect(value is None or isinstance(value, str), key, value, "text or None")
            case _:
                _log.warning("unknown configuration key %r is ignored", key)
    if ice.lite and (session.servers or ice.relay_only):
        raise InvalidParameter(
            "ice_lite: True is not allowed with iceServers or relays only: a lite agent has host candidates"
            " of a public address and asks nobody; leave one of them out"
        )
    if ice.disconnected_after > ice.consent_expiry:
        raise InvalidParameter(
            f"disconnected_timeout: {ice.disconnected_after:g} is not allowed: give at most consent_timeout,"
            f" {ice.consent_expiry:g} seconds"
        )
    if udp_mux is not None and net != NetOptions():
        raise InvalidParameter(
            "udp_mux has sockets of its own: give it offload, port_range, bind_addresses, interface_filter"
        )
    return Configuration(replace(session, ice=ice, sctp=sctp), net, udp_mux)


def read_channel_options(label: str, options: Mapping[str, Any]) -> tuple[ChannelConfig, int | None]:
    """Read the dictionary that PeerConnection.create_data_channel() takes.

    Returns:
        the channel's fixed properties, and its id if it is a negotiated one.

    Raises:
        InvalidParameter: a value is not allowed, or two of them do not go together.
    """
    _expect(isinstance(label, str), "label", label, "text")
    _expect(isinstance(options, Mapping), "options", options, "a dictionary")
    given = {key: value for key, value in options.items() if value is not None}
    stream_id: int | None = None
    values: dict[str, Any] = {}
    for key, value in given.items():
        match key:
            case "negotiated" | "ordered":
                values[key] = _flag(key, value)
            case "id":
                stream_id = _integer(key, value, 0, 65_534)
            # Godot's own multiplayer class writes the second spelling.
            case "maxPacketLifeTime" | "maxPacketLifetime":
                values["max_lifetime_ms"] = _integer(key, value, 0, 65_535)
            case "maxRetransmits":
                values["max_retransmits"] = _integer(key, value, 0, 65_535)
            case "protocol":
                _expect(isinstance(value, str), key, value, "text")
                values[key] = value
            case "priority":
                valid = isinstance(value, str) and value in _PRIORITIES
                _expect(valid, key, value, " or ".join(_PRIORITIES))
                values[key] = _PRIORITIES[value]
            case _:
                _log.warning("unknown channel option %r is ignored", key)
    if "max_lifetime_ms" in values and "max_retransmits" in values:
        raise InvalidParameter("maxPacketLifeTime and maxRetransmits exclude each other: give one of them")
    if values.get("negotiated", False) != (stream_id is not None):
        raise InvalidParameter("negotiated: True needs an id, and an id needs negotiated: True")
    for key, text in (("label", label), ("protocol", values.get("protocol", ""))):
        size = len(encode_text(key, text))
        if size > LABEL_LIMIT:
            raise InvalidParameter(f"{key} is {size} bytes of UTF-8, at most {LABEL_LIMIT} are allowed")
    return ChannelConfig(label=label, **values), stream_id


def encode_text(key: str, text: str) -> bytes:
    """Return text as UTF-8.

    Raises:
        InvalidParameter: it holds half a surrogate pair, which UTF-8 has not.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidParameter(f"{key} is no text that UTF-8 can hold: {error}") from None


def _read_ice_servers(servers: object) -> tuple[Server, ...]:
    """Read the list of servers; each URL is a server of its own.

    Credentials count if they are text, and then they win over those in the URL, as in Godot's plugin.
    """
    if not isinstance(servers, list | tuple):
        if servers is not None:  # no error, as in Godot
            _log.warning("iceServers %r is no list: there are no servers", servers)
        return ()
    read: list[Server] = []
    for entry in servers:
        _expect(isinstance(entry, Mapping), "iceServers", entry, "dictionaries with the key 'urls'")
        urls = entry.get("urls")
        listed = urls if isinstance(urls, list | tuple) else [urls]
        if not all(isinstance(url, str) and url for url in listed):
            error = RTCError(f"iceServers: urls {urls!r} is not allowed: give a URL or a list of them")
            error.code = Error.FAILED
            raise error
        for text in listed:
            url = parse_url(text)
            username, credential = entry.get("username"), entry.get("credential")
            read.append(
                Server(
                    url,
                    username if isinstance(username, str) else url.username or "",
                    credential if isinstance(credential, str) else url.password or "",
                )
            )
    return tuple(dict.fromkeys(read))


def _read_libdatachannel(
    value: object, session: SessionOptions, net: NetOptions
) -> tuple[SessionOptions, NetOptions]:
    """Read the sub-dictionary of Godot's native plugin; a value of another type is passed over, as there."""
    if isinstance(value, Mapping):
        mtu = value.get("mtu")
        if isinstance(mtu, int):
            # The plugin counts the IP and UDP headers in.
            session = replace(session, mtu=_integer("mtu", mtu, 576, 65_535) - 48)
        low, high = value.get("portRangeBegin", 1024), value.get("portRangeEnd", 65_535)
        if (low, high) != (1024, 65_535) and isinstance(low, int) and isinstance(high, int):
            net = replace(net, port_range=_port_range("portRangeBegin, portRangeEnd", (low, high)))
    return session, net


def _guarded(allows: Callable[[str, int], object]) -> Callable[[str, int], bool]:
    """Take an error of the application's filter for a refusal: no packet may raise."""

    def allow(address: str, port: int) -> bool:
        try:
            return bool(allows(address, port))
        except Exception:
            _log.exception("remote_candidate_filter raised: %s port %d is refused", address, port)
            return False

    return allow


def _is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _one_of(key: str, value: Any, allowed: Sequence[str]) -> str:
    valid = isinstance(value, str) and value in allowed
    _expect(valid, key, value, " or ".join(f'"{each}"' for each in allowed))
    return str(value)


def _tcp_types(key: str, value: Any) -> tuple[str, ...]:
    types = {True: ("active", "passive"), False: (), "active": ("active",), "passive": ("passive",)}
    valid = isinstance(value, bool | str) and value in types
    _expect(valid, key, value, 'True, False, "active" or "passive"')
    return types[value]


def _port_range(key: str, value: Any) -> tuple[int, int]:
    valid = isinstance(value, list | tuple) and len(value) == 2
    _expect(valid, key, value, "two port numbers, the lowest and the highest")
    low, high = (_integer(key, port, 1, 65_535) for port in value)
    _expect(low <= high, key, value, "two port numbers, the lowest and the highest")
    return low, high


def _flag(key: str, value: Any) -> bool:
    _expect(isinstance(value, bool), key, value, "True or False")
    return bool(value)


def _integer(key: str, value: Any, low: int, high: int) -> int:
    valid = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _expect(valid, key, value, f"a whole number from {low} to {high}")
    return int(value)


def _seconds(key: str, value: Any, low: float = 0.0, high: float = 1e6) -> float:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    _expect(valid, key, value, f"a number of seconds from {low:g} to {high:g}")
    return float(value)


def _expect(valid: bool, key: str, value: object, allowed: str) -> None:
    if not valid:
        raise InvalidParameter(f"{key}: {value!r} is not allowed: give {allowed}")
