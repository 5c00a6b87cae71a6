"""SSLKEYLOGFILE: writes the keys of DTLS connections where Wireshark finds them."""

from __future__ import annotations

import os
import threading

from rtcstack import dtls
from rtcstack.log import Log

__all__ = ["honour_key_log"]

_log = Log("net")

_lock = threading.Lock()
_path: str | None = None


def honour_key_log() -> None:
    """Write the keys of all connections made from now on, if the environment names a file for them.

    Source: draft-ietf-tls-keylogfile.
    """
    global _path
    path = os.environ.get("SSLKEYLOGFILE") or None
    if path == _path:
        return
    _path = path
    if path is None:
        dtls.log_keys(lambda line: None)
        return
    _log.warning("SSLKEYLOGFILE is set: whoever reads %s can read what connections carry", path)

    def write(line: bytes) -> None:
        try:
            with _lock, open(path, "ab") as file:
                file.write(line + b"\n")
        except OSError as error:
            _log.warning("SSLKEYLOGFILE: %s", error)

    dtls.log_keys(write)
