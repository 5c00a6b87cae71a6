"""Names that mean something on the local network only: asked for and answered by mDNS, with zeroconf."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import ipaddress
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rtcstack.log import Log
from rtcstack.net.interfaces import select_interfaces, system_interfaces

if TYPE_CHECKING:
    from concurrent.futures import Future

    from zeroconf import ServiceInfo, Zeroconf

__all__ = ["INSTALL", "MdnsNames", "is_installed", "say_what_is_missing"]

INSTALL = "install zeroconf: pip install 'rtcstack[mdns]'"

PATIENCE = 5.0
"""Seconds that a name may take: several questions of RFC 6762 section 5.2, as Wi-Fi loses multicasts. One
second is too short for hosts with several interfaces."""

_SERVICE = "_rtcstack._udp.local."
"""zeroconf answers for names that belong to a service; nobody announces this one, and it says nothing."""

_log = Log("mdns")

Answer = tuple[str, list[str], str]
"""A name, its IP addresses, and the reason where there are none."""

_Job = Callable[["Zeroconf | None", str], object]


def is_installed() -> bool:
    """Tell whether zeroconf is there."""
    return importlib.util.find_spec("zeroconf") is not None


class MdnsNames:
    """The names of one connection: the peer's, which it resolves, and our own, which it answers for.

    It begins with the first name; all that may take time happens in a thread.

    interfaces      IP addresses of the interfaces to ask on; None for those of candidates.
    patience        seconds that a name may take.

    Source: RFC 6762 section 5; draft-ietf-mmusic-mdns-ice-candidates section 3.
    """

    __slots__ = ("_answers", "_is_closed", "_own", "_patience", "_requests", "_waker", "_woken", "_worker")

    def __init__(self, interfaces: Iterable[str] | None = None, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._answers: deque[Answer] = deque()
        self._own: list[ServiceInfo] = []
        self._requests: list[Future[bool]] = []
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._worker: _Worker | None = None
        self._is_closed = False
        if is_installed():
            self._worker = _Worker.join(None if interfaces is None else tuple(interfaces))
        else:
            say_what_is_missing()

    def fileno(self) -> int:
        """File descriptor that is readable when take() has something; -1 once closed."""
        return self._woken.fileno()

    def resolve(self, name: str) -> None:
        """Ask all hosts of the local network for the addresses of a name; take() has the answer in 5 s."""
        if self._worker is None:
            self._answer((name, [], f"{name} can only be resolved by mDNS: {INSTALL}"))
        else:
            self._worker.do(functools.partial(self._ask, name))

    def publish(self, name: str, address: str) -> None:
        """Answer whoever asks for the address of a name, until close()."""
        if self._worker is not None:
            self._worker.do(functools.partial(self._register, name, address))

    def take(self) -> list[Answer]:
        """Hand over the answers that have come."""
        with contextlib.suppress(OSError):
            self._woken.recv(4096)
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def close(self) -> None:
        """Want no more answers, and answer for none of our names.  May be called twice."""
        if not self._is_closed:
            self._is_closed = True
            if self._worker is not None:
                self._worker.do(self._withdraw)
                self._worker.leave()
            self._woken.close()
            self._waker.close()

    # In the worker's thread

    def _ask(self, name: str, engine: Zeroconf | None, problem: str) -> None:
        if engine is None or engine.loop is None:
            self._answer((name, [], f"{name} cannot be resolved: {problem}"))
            return
        import asyncio

        from zeroconf import AddressResolver  # type: ignore[attr-defined]  # documented, not in __all__

        resolver = AddressResolver(f"{name}.")

        def conclude(found: Future[bool]) -> None:
            if not found.cancelled() and found.exception() is None and found.result():
                self._answer((name, resolver.parsed_addresses(), ""))
            else:
                self._answer((name, [], f"no host answered for {name} within {self._patience:g} s"))

        request = resolver.async_request(engine, self._patience * 1000)
        future = asyncio.run_coroutine_threadsafe(request, engine.loop)
        self._requests.append(future)
        future.add_done_callback(conclude)

    def _register(self, name: str, address: str, engine: Zeroconf | None, problem: str) -> None:
        if engine is None or engine.loop is None:
            _log.warning("nobody will be able to resolve our name %s: %s", name, problem)
            return
        from zeroconf import ServiceInfo

        label = name.removesuffix(".local")
        packed = ipaddress.ip_address(address).packed
        own = ServiceInfo(_SERVICE, f"{label}.{_SERVICE}", addresses=[packed], port=0, server=f"{name}.")
        self._own.append(own)
        # Into the registry and no further: a random name needs no probing, and who wants it asks.
        engine.loop.call_soon_threadsafe(engine.registry.async_add, own)

    def _withdraw(self, engine: Zeroconf | None, problem: str) -> None:
        for request in self._requests:
            request.cancel()
        if engine is not None and engine.loop is not None and self._own:
            engine.loop.call_soon_threadsafe(engine.registry.async_remove, self._own)

    def _answer(self, answer: Answer) -> None:
        self._answers.append(answer)
        with contextlib.suppress(OSError):  # closed meanwhile, or it has been woken often enough
            self._waker.send(b"!")


class _Worker:
    """A zeroconf and the thread that talks to it: one for all connections that use the same interfaces.

    Importing and starting zeroconf takes tenths of a second, which poll() does not have.
    """

    _all: dict[tuple[str, ...] | None, _Worker] = {}
    _lock = threading.Lock()

    def __init__(self, interfaces: tuple[str, ...] | None) -> None:
        self._interfaces = interfaces
        self._users = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="rtcstack mdns", daemon=True).start()

    @classmethod
    def join(cls, interfaces: tuple[str, ...] | None) -> _Worker:
        with cls._lock:
            worker = cls._all.get(interfaces)
            if worker is None:
                worker = cls._all[interfaces] = _Worker(interfaces)
            worker._users += 1
            return worker

    def leave(self) -> None:
        """Have one user less; without any it ends."""
        with self._lock:
            self._users -= 1
            if not self._users:
                del self._all[self._interfaces]
                self._jobs.put(None)

    def do(self, job: _Job) -> None:
        """Call `job` in the thread, with zeroconf, or with None and what is wrong."""
        self._jobs.put(job)

    def _run(self) -> None:
        engine, problem = _start_zeroconf(self._interfaces)
        while (job := self._jobs.get()) is not None:
            job(engine, problem)
        if engine is not None:
            engine.close()


def _start_zeroconf(interfaces: tuple[str, ...] | None) -> tuple[Zeroconf | None, str]:
    try:
        from zeroconf import IPVersion, Zeroconf
    except ImportError as error:
        return None, f"zeroconf cannot be used: {error}"

    problem = ""
    if interfaces is None:
        interfaces = tuple(each.address for each in select_interfaces(system_interfaces()))
    # The loopback interface of IPv6 knows no multicast.
    chosen = [ip for ip in interfaces if ip != "::1"]
    # Not every system lets a program join IPv6 groups on each of its interfaces.
    for version in (IPVersion.All, IPVersion.V4Only):
        try:
            return Zeroconf(interfaces=chosen, ip_version=version), ""
        except (OSError, RuntimeError, ValueError) as error:
            problem = f"mDNS is not possible here: {error}"
    return None, problem


@functools.cache
def say_what_is_missing() -> None:
    """Log, once in the life of the process, what to install."""
    _log.warning(
        "the peer hides its addresses behind names of mDNS: it may reach us all the same, but for us to "
        "reach it %s",
        INSTALL,
    )
