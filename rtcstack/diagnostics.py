"""What lets people look inside of a connection: the log, the key log, a capture; all off at first."""

from __future__ import annotations

import os

from rtcstack.errors import InvalidParameter
from rtcstack.log import Log, configure
from rtcstack.net.capture import open_capture
from rtcstack.net.keylog import honour_key_log
from rtcstack.session import PeerSession

__all__ = ["observe"]


def observe(session: PeerSession, capture: str | None) -> None:
    """Let a new session be looked into as its configuration and the environment ask for.

    capture     file that was asked for; None for RTCSTACK_PCAP, if that is set.

    Raises:
        InvalidParameter: the file cannot be written.
    """
    configure()
    honour_key_log()
    path = capture or os.environ.get("RTCSTACK_PCAP")
    if not path:
        return
    try:
        session.tap = open_capture(path, session.tag, keep=capture is None)
    except OSError as error:
        if capture is not None:
            raise InvalidParameter(f"capture: {path!r} cannot be written: {error}") from None
        Log("peer", session.tag).warning("RTCSTACK_PCAP: %s cannot be written: %s", path, error)
