"""The log: one logger a layer below "rtcstack", a connection's tag in each line, addresses hidden on demand.

Nothing is logged for each packet.  Two variables of the environment, read when the first connection is made:

    RTCSTACK_LOG=debug              writes the log to stderr, from this level on; or by layer:
    RTCSTACK_LOG=info,ice=debug
    RTCSTACK_REDACT=1               writes a short hash in the place of each IP address, wherever the log goes
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import itertools
import logging
import os
import re
from typing import Any

__all__ = ["Log", "configure", "next_tag", "redact"]

_ROOT = "rtcstack"
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s %(message)s"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w.])|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]))"
)
"""What may be an IP address; whether it is one is looked at afterwards."""

_numbers = itertools.count(1)
_salt = os.urandom(16)
"""Without it, a hash could be looked up: there are not that many addresses."""


class Log(logging.LoggerAdapter[logging.Logger]):
    """The log of one layer, for one connection.

    layer   its logger is "rtcstack.<layer>".
    tag     which connection, "#7"; "-" for what belongs to none.  Also in a record's `connection`.
    """

    def __init__(self, layer: str, tag: str = "-") -> None:
        super().__init__(logging.getLogger(f"{_ROOT}.{layer}"), {"connection": tag})
        self.tag = tag

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a line if anybody wants it; see logging.Logger.log()."""
        if not self.isEnabledFor(level):
            return
        kwargs["extra"] = {**(kwargs.get("extra") or {}), "connection": self.tag}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        if _is_redacting():
            self.logger.log(
                level, "[%s] %s", self.tag, redact(str(msg) % args if args else str(msg)), **kwargs
            )
        else:
            self.logger.log(level, f"[%s] {msg}", self.tag, *args, **kwargs)


def next_tag() -> str:
    """Give the next connection of this process its tag."""
    return f"#{next(_numbers)}"


def redact(text: str) -> str:
    """Put a short hash in the place of each IP address: the same for the same address, in this process."""
    return _ADDRESS.sub(_hide, text)


def _hide(found: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]  # the time of day, say
    return f"ip-{hashlib.blake2b(address.packed, key=_salt, digest_size=3).hexdigest()}"


def _is_redacting() -> bool:
    return os.environ.get("RTCSTACK_REDACT", "") not in ("", "0")


@functools.cache
def configure() -> None:
    """Do what RTCSTACK_LOG says, once."""
    wish = os.environ.get("RTCSTACK_LOG", "")
    if not wish:
        return
    root = logging.getLogger(_ROOT)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    root.addHandler(handler)
    root.propagate = False  # the application's handlers would write each line again
    for part in wish.lower().split(","):
        layer, _, level = part.strip().rpartition("=")
        if level in _LEVELS:
            logging.getLogger(f"{_ROOT}.{layer}" if layer else _ROOT).setLevel(_LEVELS[level])
        else:
            root.warning("RTCSTACK_LOG: %r is no level: use %s", part, ", ".join(_LEVELS))
