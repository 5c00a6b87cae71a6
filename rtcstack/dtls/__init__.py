"""DTLS 1.2 for data channels, without I/O: certificates, handshake, encryption of packet batches.

OpenSSL and cryptography, which take longer to import than everything else together, come with the first
certificate or endpoint.
"""

from typing import TYPE_CHECKING

from rtcstack.dtls.options import Options
from rtcstack.lazy import lazy_names

if TYPE_CHECKING:
    from rtcstack.dtls.certificate import HASH_NAMES, Certificate
    from rtcstack.dtls.context import log_keys
    from rtcstack.dtls.endpoint import (
        OVERHEAD,
        Closed,
        Connected,
        Drops,
        DtlsState,
        Endpoint,
        Event,
        Failed,
        Stats,
    )
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "rtcstack.dtls.certificate": ("HASH_NAMES", "Certificate"),
            "rtcstack.dtls.context": ("log_keys",),
            "rtcstack.dtls.endpoint": (
                "OVERHEAD",
                "Closed",
                "Connected",
                "Drops",
                "DtlsState",
                "Endpoint",
                "Event",
                "Failed",
                "Stats",
            ),
        },
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
    "log_keys",
]
