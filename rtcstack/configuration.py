"""Godot's and W3C's configuration dictionaries, checked value by value."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rtcstack import dtls
from rtcstack.datachannel import LABEL_LIMIT, ChannelConfig
from rtcstack.errors import Error, InvalidParameter, RTCError
from rtcstack.net import Options as NetOptions
from rtcstack.net.mdns import INSTALL as INSTALL_MDNS
from rtcstack.net.mdns import is_installed as is_mdns_installed
from rtcstack.sctp import Options as SctpOptions
from rtcstack.sctp.controllers import CONTROLLERS
from rtcstack.session import Server, SessionOptions
from rtcstack.turn import parse_url

__all__ = ["Configuration", "encode_text", "read_channel_options", "read_configuration"]

_logger = logging.getLogger("rtcstack.peer")

_PRIORITIES = {"very-low": 128, "low": 256, "medium": 512, "high": 1024}
"""W3C's RTCPriorityType -> weight (RFC 8831 section 6.4)."""

_W3C = {"bundlePolicy", "rtcpMuxPolicy", "iceCandidatePoolSize", "peerIdentity"}
"""Keys of W3C that change nothing for a connection that carries data only."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration dictionary says."""

    session: SessionOptions = field(default_factory=SessionOptions)
    net: NetOptions = field(default_factory=NetOptions)


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
    for key, value in configuration.items():
        match key:
            case "iceServers":
                session = replace(session, servers=_read_ice_servers(value))
            case "iceTransportPolicy":
                _expect(value in ("all", "relay"), key, value, '"all" or "relay"')
                session = replace(session, ice=replace(session.ice, relay_only=value == "relay"))
            case "certificates":
                valid = (
                    isinstance(value, list | tuple)
                    and len(value) == 1
                    and isinstance(value[0], dtls.Certificate)
                )
                _expect(valid, key, value, "a list of one rtcstack.Certificate")
                session = replace(session, certificate=value[0])
            case "max_message_size":
                session = replace(session, max_message_size=_integer(key, value, 0, 1 << 40))
            case "mtu":
                session = replace(session, mtu=_integer(key, value, 576, 65_507))
            case "close_timeout":
                session = replace(session, close_timeout=_seconds(key, value))
            case "connect_timeout":
                session = replace(session, connect_timeout=_seconds(key, value))
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
                hidden = replace(session.ice, hide_related=value)
                session = replace(session, hide_addresses=value, ice=hidden)
            case "offload":
                net = replace(net, offload=_flag(key, value))
            case "port_range":
                net = replace(net, port_range=_port_range(key, value))
            case "bind_addresses":
                valid = isinstance(value, list | tuple) and all(isinstance(a, str) for a in value)
                _expect(valid, key, value, "a list of IP addresses, as text")
                net = replace(net, bind_addresses=tuple(value))
            case "interface_filter":
                _expect(
                    callable(value), key, value, "a function of an Interface that tells whether to use it"
                )
                net = replace(net, interface_filter=value)
            case "libdatachannel":
                session, net = _read_libdatachannel(value, session, net)
            case _ if key not in _W3C:
                _logger.warning("unknown configuration key %r is ignored", key)
    return Configuration(replace(session, sctp=sctp), net)


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
                _logger.warning("unknown channel option %r is ignored", key)
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
        return ()  # Godot: no servers
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


def _seconds(key: str, value: Any) -> float:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
    _expect(valid, key, value, "a number of seconds")
    return float(value)


def _expect(valid: bool, key: str, value: object, allowed: str) -> None:
    if not valid:
        raise InvalidParameter(f"{key}: {value!r} is not allowed: give {allowed}")
