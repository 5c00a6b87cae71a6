"""The one daemon thread that does the I/O of all background connections of a process."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from rtcstack.log import Log
from rtcstack.net import Doorbell, OsNetwork, OsTransport

__all__ = ["IoThread", "Member", "join", "waiting_bell"]

_log = Log("peer")

_GOODBYE = 1.0
"""Seconds, at most, that the end of the program waits for connections to say goodbye."""


class Member(Protocol):
    """A connection that the thread serves; it calls these methods, and nobody else does."""

    transport: OsTransport | None
    """None before the thread has begun to serve it."""
    is_noted: bool
    """Whether the thread has been told already that the application has handed something over."""

    def serve(self) -> bool:
        """Do what the application has asked for.  Returns whether the connection lives on."""

    def step(self) -> bool:
        """Move datagrams, do what is due.  Returns whether the connection lives on."""

    def fail(self, error: Exception) -> None:
        """Give up: a step has raised."""

    def leave(self) -> None:
        """Ask for the end, waiting for nothing."""

    def disown(self) -> None:
        """Be closed in this process, the child of a fork: the connection lives on in its parent."""


class IoThread:
    """Waits for the sockets of its members and steps those that are due; ends with the last of them.

    No lock is needed where a member and its application meet: both sides only append to queues and take from
    them, which is one operation for the interpreter.
    """

    def __init__(self) -> None:
        self._members: dict[Member, None] = {}
        self._transports: dict[OsTransport, Member] = {}
        self._inbox: deque[Member] = deque()
        self._bell = Doorbell()
        self._network = OsNetwork()
        self._is_asleep = False
        self._thread = threading.Thread(target=self._run, name="rtcstack I/O", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, member: Member) -> None:
        """Serve one more."""
        self._members[member] = None
        self.note(member)

    def note(self, member: Member) -> None:
        """Let a member be served soon; from any thread, and cheap while this one is awake."""
        if not member.is_noted:
            member.is_noted = True
            self._inbox.append(member)
        if self._is_asleep:
            self._is_asleep = False
            self._bell.ring()

    @property
    def is_current(self) -> bool:
        """Whether this is the thread that asks."""
        return threading.current_thread() is self._thread

    @property
    def is_alive(self) -> bool:
        """Whether somebody will serve what is noted."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Part with every member, and wait until they have said goodbye."""
        for member in list(self._members):
            member.leave()
        self._thread.join(_GOODBYE)

    def disown(self) -> None:
        """Forget everything: this is the child of a fork, and the thread has stayed with the parent."""
        for member in self._members:
            member.disown()
        self._members.clear()
        self._transports.clear()
        self._inbox.clear()
        self._bell.close()

    # -- in the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while self._turn():
            pass
        self._bell.close()

    def _turn(self) -> bool:
        """Serve whoever has been noted, then wait and step.  Returns False at the end."""
        self._serve()
        if not self._members and _end(self):
            return False
        # Whoever notes a member now finds us asleep and rings; whoever was quicker is in the inbox.
        self._is_asleep = True
        due = self._network.wait([self._bell, *self._transports], 0.0 if self._inbox else None)
        self._is_asleep = False
        for transport in due:
            if isinstance(transport, Doorbell):
                transport.step()
            elif isinstance(transport, OsTransport) and transport in self._transports:
                member = self._transports[transport]
                self._guard(member, member.step)
        return True

    def _serve(self) -> None:
        inbox = self._inbox
        while inbox:
            member = inbox.popleft()
            member.is_noted = False
            self._guard(member, member.serve)

    def _guard(self, member: Member, work: Callable[[], bool]) -> None:
        """Let one member work: what goes wrong there is no matter of the others."""
        try:
            lives_on = work()
        except Exception as error:
            _log.exception("a background connection has failed by an error of its own")
            member.fail(error)
            lives_on = False
        transport = member.transport
        if not lives_on:
            self._members.pop(member, None)
            if transport is not None:
                self._transports.pop(transport, None)
        elif transport is not None:
            self._transports[transport] = member

    @property
    def is_idle(self) -> bool:
        """Whether there is nobody to serve."""
        return not (self._members or self._inbox)


# -- the thread of this process --------------------------------------------------------------------

_lock = threading.Lock()
"""Held while a thread begins or ends, and never while anything else is done."""
_current: IoThread | None = None


def join(member: Member) -> IoThread:
    """Let the process's thread, a new one if there is none, serve a connection.  Returns the thread."""
    global _current
    with _lock:
        thread = _current
        if thread is None:
            thread = _current = IoThread()
            thread.start()
        thread.add(member)
    return thread


def _end(thread: IoThread) -> bool:
    """Let a thread end, unless somebody has joined meanwhile."""
    global _current
    with _lock:
        if not thread.is_idle:
            return False
        if _current is thread:
            _current = None
    return True


class _Waiting(threading.local):
    """The bell of each thread of the application that has ever waited."""

    def __init__(self) -> None:
        self.bell = Doorbell()


_waiting = _Waiting()


def waiting_bell() -> Doorbell:
    """Return the bell that ends a wait of the thread that asks."""
    return _waiting.bell


def _at_exit() -> None:
    if _current is not None:
        _current.stop()


def _in_child() -> None:
    global _current, _lock, _waiting
    _lock = threading.Lock()
    _waiting = _Waiting()
    thread, _current = _current, None
    if thread is not None:
        thread.disown()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
