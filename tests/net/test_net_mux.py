"""One port for several sessions, seen from its sockets."""

from __future__ import annotations

from typing import Any

from test_net_driver import EchoSession

from rtcstack.net import UdpMux


class SharingSession(EchoSession):
    """A session that shares a port: it has nobody to talk with."""

    local_credentials = None
    wants_relay_address = False
    woken: Any = None

    def add_local_address(self, address: Any, interface: str = "", *, is_shared: bool = False) -> None:
        assert is_shared
        super().add_local_address(address, interface)


def test_the_network_may_cut_datagrams_while_one_of_the_sessions_says_so() -> None:
    """RFC 9260 section 6.9: what one has asked for is not taken back because another needs it no more."""
    with UdpMux(bind_addresses=["127.0.0.1"]) as mux:
        sessions = [SharingSession() for _ in range(3)]
        transports = [mux.attach(session) for session in sessions]
        for transport in transports:
            transport.gather()

        def is_cut() -> bool:
            """Tell whether what leaves goes one by one: the kernel does not cut what it segments."""
            sessions[2].outgoing = [(sessions[2].address, mux.addresses[0], [bytes(1200)] * 10)]
            calls = mux.stats.send_calls
            transports[2].step()
            return mux.stats.send_calls - calls == 10

        at_first = is_cut()  # where the system cannot segment
        for number, allowed, expected in (
            (0, True, True),
            (1, True, True),
            (0, False, True),
            (1, False, at_first),
            (1, True, True),
        ):
            sessions[number].may_fragment = allowed
            transports[number].step()
            assert is_cut() is expected
        transports[1].close()
        assert is_cut() is at_first
        for transport in (transports[0], transports[2]):
            transport.close()
