"""Every exception of rtcstack, and Godot's error codes."""

from __future__ import annotations

import enum

__all__ = [
    "AlreadyExists",
    "Closed",
    "Error",
    "Full",
    "InvalidParameter",
    "InvalidState",
    "MessageTooLarge",
    "RTCError",
    "SdpError",
    "Unauthorized",
    "Unavailable",
    "Unconfigured",
    "VariantError",
    "WireError",
]


class Error(enum.IntEnum):
    """Godot's ``@GlobalScope.Error``: what a method answers, and what ``RTCError.code`` holds."""

    OK = 0
    FAILED = 1
    ERR_UNAVAILABLE = 2
    ERR_UNCONFIGURED = 3
    ERR_UNAUTHORIZED = 4
    ERR_PARAMETER_RANGE_ERROR = 5
    ERR_OUT_OF_MEMORY = 6
    ERR_FILE_NOT_FOUND = 7
    ERR_FILE_BAD_DRIVE = 8
    ERR_FILE_BAD_PATH = 9
    ERR_FILE_NO_PERMISSION = 10
    ERR_FILE_ALREADY_IN_USE = 11
    ERR_FILE_CANT_OPEN = 12
    ERR_FILE_CANT_WRITE = 13
    ERR_FILE_CANT_READ = 14
    ERR_FILE_UNRECOGNIZED = 15
    ERR_FILE_CORRUPT = 16
    ERR_FILE_MISSING_DEPENDENCIES = 17
    ERR_FILE_EOF = 18
    ERR_CANT_OPEN = 19
    ERR_CANT_CREATE = 20
    ERR_QUERY_FAILED = 21
    ERR_ALREADY_IN_USE = 22
    ERR_LOCKED = 23
    ERR_TIMEOUT = 24
    ERR_CANT_CONNECT = 25
    ERR_CANT_RESOLVE = 26
    ERR_CONNECTION_ERROR = 27
    ERR_CANT_ACQUIRE_RESOURCE = 28
    ERR_CANT_FORK = 29
    ERR_INVALID_DATA = 30
    ERR_INVALID_PARAMETER = 31
    ERR_ALREADY_EXISTS = 32
    ERR_DOES_NOT_EXIST = 33
    ERR_DATABASE_CANT_READ = 34
    ERR_DATABASE_CANT_WRITE = 35
    ERR_COMPILATION_FAILED = 36
    ERR_METHOD_NOT_FOUND = 37
    ERR_LINK_FAILED = 38
    ERR_SCRIPT_FAILED = 39
    ERR_CYCLIC_LINK = 40
    ERR_INVALID_DECLARATION = 41
    ERR_DUPLICATE_SYMBOL = 42
    ERR_PARSE_ERROR = 43
    ERR_BUSY = 44
    ERR_SKIP = 45
    ERR_HELP = 46
    ERR_BUG = 47
    ERR_PRINTER_ON_FIRE = 48


class WireError(ValueError):
    """Bytes from the network do not have the form that their RFC asks for.

    Parsers raise it; no ``receive`` lets it out: there it becomes a drop counter.
    """


class RTCError(Exception):
    """A call could not be carried out.

    ``code`` is the value that the same call answers in Godot; the text says what was wrong and what to do.
    """

    code: Error = Error.FAILED

    def __init__(self, message: str = "", code: Error | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InvalidState(RTCError):
    """The call does not fit the state that the object is in."""


class Closed(InvalidState):
    """The connection or the channel is closed."""


class Unconfigured(InvalidState):
    """Something has to be set up before this call."""

    code = Error.ERR_UNCONFIGURED


class InvalidParameter(RTCError):
    """An argument or a configuration value is not allowed."""

    code = Error.ERR_INVALID_PARAMETER


class AlreadyExists(InvalidParameter):
    """The stream id is in use by another channel."""

    code = Error.ERR_ALREADY_EXISTS


class Unauthorized(RTCError):
    """The application has said that this is not allowed."""

    code = Error.ERR_UNAUTHORIZED


class Unavailable(RTCError):
    """There is nothing to take at the moment."""

    code = Error.ERR_UNAVAILABLE


class Full(RTCError):
    """The send buffer has reached its limit; nothing was queued and the channel lives on."""

    code = Error.ERR_OUT_OF_MEMORY


class MessageTooLarge(RTCError):
    """A message is larger than the peer, or we, accept; nothing was queued and the channel lives on."""

    code = Error.ERR_OUT_OF_MEMORY

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"a message of {size} bytes is larger than the limit of {limit} bytes: split it, "
            "or raise max_message_size on both sides"
        )
        self.size = size
        self.limit = limit


class SdpError(RTCError, ValueError):
    """A session description cannot be read or does not fit the negotiation.

    line    number of the line at fault, counted from 1; 0 if it is the whole description.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"SDP line {line}: {message}" if line else f"SDP: {message}")
        self.line = line


class VariantError(RTCError):
    """A value cannot be sent as a Variant, or bytes are none.

    code    ERR_INVALID_DATA; ERR_UNAUTHORIZED for objects, ERR_OUT_OF_MEMORY if it is too large or too deep.
    """

    code = Error.ERR_INVALID_DATA
