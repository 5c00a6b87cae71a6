"""DTLS 1.2 for data channels, without I/O: certificates, handshake, encryption of packet batches."""

from rtcstack.dtls.certificate import HASH_NAMES, Certificate
from rtcstack.dtls.endpoint import (
    OVERHEAD,
    Closed,
    Connected,
    Drops,
    DtlsState,
    Endpoint,
    Event,
    Failed,
    Options,
    Stats,
)

__all__ = [
    "HASH_NAMES",
    "OVERHEAD",
    "Certificate",
    "Closed",
    "Connected",
    "Drops",
    "DtlsState",
    "Endpoint",
    "Event",
    "Failed",
    "Options",
    "Stats",
]
