"""What two sides announce in INIT and INIT ACK, and what follows from it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Self

from rtcstack.sctp.chunks import FORWARD_TSN, I_DATA, I_FORWARD_TSN, RE_CONFIG, Init
from rtcstack.sctp.parameters import (
    DTLS_ERROR_DETECTION,
    FORWARD_TSN_SUPPORTED,
    STATE_COOKIE,
    SUPPORTED_EXTENSIONS,
    UNRECOGNIZED_PARAMETER,
    ZERO_CHECKSUM_ACCEPTABLE,
    Parameter,
    find_parameter,
    sort_parameters,
)

__all__ = ["Agreement", "Features", "announce", "features_of", "unknown_parameters"]

_KNOWN = frozenset(
    {
        5,  # IPv4 address: ignored, RFC 8261 section 6.1
        6,  # IPv6 address: ignored likewise
        9,  # cookie preservative: ignored
        12,  # supported address types: ignored
        STATE_COOKIE,
        UNRECOGNIZED_PARAMETER,
        0x8000,  # ECN capable: there is no ECN below DTLS
        ZERO_CHECKSUM_ACCEPTABLE,
        SUPPORTED_EXTENSIONS,
        FORWARD_TSN_SUPPORTED,
    }
)


@dataclass(frozen=True, slots=True)
class Features:
    """Extensions that one side has announced, or that both have.

    partial_reliability    FORWARD-TSN (RFC 3758).
    reconfiguration        RE-CONFIG (RFC 6525).
    interleaving           I-DATA and I-FORWARD-TSN (RFC 8260).
    zero_checksum          packets with checksum 0 are taken (RFC 9653).
    interleaved_forward    I-FORWARD-TSN, what partial reliability takes with interleaving (RFC 8260 section
                           2.3.1).
    """

    partial_reliability: bool = False
    reconfiguration: bool = False
    interleaving: bool = False
    zero_checksum: bool = False
    interleaved_forward: bool = False

    def __and__(self, other: Features) -> Features:
        """Give what both have."""
        return Features(
            self.partial_reliability and other.partial_reliability,
            self.reconfiguration and other.reconfiguration,
            self.interleaving and other.interleaving,
            self.zero_checksum and other.zero_checksum,
            self.interleaved_forward and other.interleaved_forward,
        )

    def write(self) -> int:
        """Give them as five bits."""
        return (
            self.partial_reliability
            | self.reconfiguration << 1
            | self.interleaving << 2
            | self.zero_checksum << 3
            | self.interleaved_forward << 4
        )

    @classmethod
    def parse(cls, bits: int) -> Self:
        """Read what write() gave."""
        return cls(bool(bits & 1), bool(bits & 2), bool(bits & 4), bool(bits & 8), bool(bits & 16))


def announce(features: Features) -> tuple[Parameter, ...]:
    """Write features as parameters of an INIT or INIT ACK.

    Source: RFC 3758 section 3.1, RFC 5061 section 4.2.7, RFC 6525 section 5.1.1, RFC 8260 section 2.2.1, RFC
    9653.
    """
    parameters: list[Parameter] = []
    extensions = bytearray()
    if features.partial_reliability:
        parameters.append((FORWARD_TSN_SUPPORTED, b""))
        extensions.append(FORWARD_TSN)
    if features.reconfiguration:
        extensions.append(RE_CONFIG)
    if features.interleaving:
        extensions.append(I_DATA)
    if features.interleaved_forward:
        extensions.append(I_FORWARD_TSN)
    if extensions:
        parameters.append((SUPPORTED_EXTENSIONS, bytes(extensions)))
    if features.zero_checksum:
        parameters.append((ZERO_CHECKSUM_ACCEPTABLE, struct.pack("!I", DTLS_ERROR_DETECTION)))
    return tuple(parameters)


def features_of(init: Init) -> Features:
    """Read which features an INIT or INIT ACK announces.

    Source: as for announce().
    """
    parameters, _ = sort_parameters(init.parameters, _KNOWN)
    extensions = find_parameter(parameters, SUPPORTED_EXTENSIONS) or b""
    return Features(
        partial_reliability=find_parameter(parameters, FORWARD_TSN_SUPPORTED) is not None
        or FORWARD_TSN in extensions,
        reconfiguration=RE_CONFIG in extensions,
        interleaving=I_DATA in extensions,
        zero_checksum=find_parameter(parameters, ZERO_CHECKSUM_ACCEPTABLE)
        == struct.pack("!I", DTLS_ERROR_DETECTION),
        interleaved_forward=I_FORWARD_TSN in extensions,
    )


def unknown_parameters(init: Init) -> tuple[Parameter, ...]:
    """Give the parameters of an INIT or INIT ACK that its sender wants to hear about if they are not known.

    Source: RFC 9260 section 3.2.1.
    """
    return sort_parameters(init.parameters, _KNOWN)[1]


@dataclass(frozen=True, slots=True)
class Agreement:
    """All that two sides have agreed on: enough to begin an association with.

    local_tag, peer_tag          verification tags, 32 bits: of packets to us, and of packets to the peer.
    local_tsn, peer_tsn          initial TSNs.
    peer_window                  bytes, a_rwnd.
    outbound, inbound            streams that may be used, 1 to 65535.
    features                     what both sides know; zero_checksum: we may send packets without checksum.
    """

    local_tag: int
    peer_tag: int
    local_tsn: int
    peer_tsn: int
    peer_window: int
    outbound: int
    inbound: int
    features: Features

    @classmethod
    def between(cls, local: Init, peer: Init) -> Self:
        """Give what follows from our INIT (or INIT ACK) and the peer's INIT ACK (or INIT).

        Source: RFC 9260 section 5.1.1: each side takes the smaller number of streams.
        """
        ours, theirs = features_of(local), features_of(peer)
        both = ours & theirs
        return cls(
            local.initiate_tag,
            peer.initiate_tag,
            local.initial_tsn,
            peer.initial_tsn,
            peer.a_rwnd,
            min(local.outbound_streams, peer.inbound_streams),
            min(local.inbound_streams, peer.outbound_streams),
            replace(
                both,
                partial_reliability=both.interleaved_forward
                if both.interleaving
                else both.partial_reliability,
                zero_checksum=theirs.zero_checksum,
            ),
        )
