"""Looks up names of servers in threads, so that no resolver delays anybody."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterable

__all__ = ["Resolver"]


class Resolver:
    """The look-ups of one connection; each has a thread of its own, which dies with its answer.

    names   host names; each is asked for once.

    answers     (name, IP addresses, reason): no addresses and the reason where there are none.
    """

    __slots__ = ("_waiting", "_waker", "_woken", "answers")

    def __init__(self, names: Iterable[str]) -> None:
        self.answers: deque[tuple[str, list[str], str]] = deque()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._waiting = 0
        for name in names:
            self._waiting += 1
            # Daemons: getaddrinfo can neither be cancelled nor given a time, and must not hold the exit.
            threading.Thread(
                target=self._look_up, args=(name,), name="rtcstack resolver", daemon=True
            ).start()

    def fileno(self) -> int:
        """File descriptor that is readable when `answers` has something; -1 once closed."""
        return self._woken.fileno()

    def take(self) -> list[tuple[str, list[str], str]]:
        """Hand over the answers that have come."""
        with contextlib.suppress(OSError):
            self._woken.recv(4096)
        answers = [self.answers.popleft() for _ in range(len(self.answers))]
        self._waiting -= len(answers)
        return answers

    @property
    def is_done(self) -> bool:
        """Whether every name has been answered and taken."""
        return self._waiting == 0

    def close(self) -> None:
        """Want no more answers.  May be called twice."""
        self._woken.close()
        self._waker.close()

    def _look_up(self, name: str) -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
            answer = (name, list(dict.fromkeys(str(entry[4][0]) for entry in found)), "")
        except (OSError, UnicodeError) as error:
            answer = (name, [], f"{name} cannot be resolved: {error}")
        self.answers.append(answer)
        with contextlib.suppress(OSError):  # closed meanwhile
            self._waker.send(b"!")
