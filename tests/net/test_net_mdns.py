"""mDNS on loopback with real zeroconf, and without it."""

from __future__ import annotations

import select
import socket
import sys
import uuid
from collections.abc import Iterator

import pytest

from rtcstack import InvalidParameter, PeerConnection, poll
from rtcstack.net import mdns
from rtcstack.net.mdns import MdnsNames, is_installed

HERE = ("127.0.0.1",)


def new_name() -> str:
    return f"{uuid.uuid4()}.local"


def answers(names: MdnsNames, count: int) -> dict[str, tuple[list[str], str]]:
    """Wait for answers: name -> (addresses, reason)."""
    found: dict[str, tuple[list[str], str]] = {}
    while len(found) < count:
        assert select.select([names], [], [], 20)[0], f"only {found}"
        found |= {name: (addresses, reason) for name, addresses, reason in names.take()}
    return found


@pytest.fixture
def two() -> Iterator[tuple[MdnsNames, MdnsNames]]:
    """Two connections in one process; they share one zeroconf."""
    both = MdnsNames(HERE), MdnsNames(HERE)
    yield both
    for names in both:
        names.close()
        names.close()


@pytest.fixture(scope="module", autouse=True)
def loopback_multicast() -> None:
    """Machines without multicast on loopback cannot run these tests."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", 0))
        try:
            group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            listener.sendto(b"?", ("224.0.0.251", listener.getsockname()[1]))
        except OSError:
            pytest.skip("no multicast on loopback here")
        if not select.select([listener], [], [], 2)[0]:
            pytest.skip("no multicast on loopback here")


def test_a_published_name_is_resolved_until_it_is_withdrawn(two: tuple[MdnsNames, MdnsNames]) -> None:
    first, second = two
    name, other = new_name(), new_name()
    first.publish(name, "192.0.2.7")
    first.publish(other, "2001:db8::7")
    second.resolve(name)
    second.resolve(other)
    assert answers(second, 2) == {name: (["192.0.2.7"], ""), other: (["2001:db8::7"], "")}
    first.resolve(name)
    assert answers(first, 1) == {name: (["192.0.2.7"], "")}


def test_a_name_of_nobody_is_given_up_and_says_so() -> None:
    names, name = MdnsNames(HERE, patience=0.3), new_name()
    names.resolve(name)
    assert answers(names, 1) == {name: ([], f"no host answered for {name} within 0.3 s")}
    names.close()


def test_closing_does_not_wait_for_answers(two: tuple[MdnsNames, MdnsNames]) -> None:
    two[0].resolve(new_name())
    two[0].close()
    assert two[0].fileno() == -1


# zeroconf leaves the sockets that it cannot use to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interfaces_that_are_not_there_are_told_of() -> None:
    names = MdnsNames(("192.0.2.200",))
    name = new_name()
    names.publish(new_name(), "192.0.2.200")
    names.resolve(name)
    addresses, reason = answers(names, 1)[name]
    names.close()
    assert addresses == []
    assert name in reason


def connect(a: PeerConnection, b: PeerConnection) -> list[str]:
    """Connect two peers; returns the candidates of `a`."""
    lines: list[str] = []
    for here, there in ((a, b), (b, a)):
        here.session_description_created.connect(there.set_remote_description)
        here.ice_candidate_created.connect(there.add_ice_candidate)
    a.ice_candidate_created.connect(lambda media, index, line: lines.append(line))
    a.create_data_channel("chat")
    a.create_offer()
    while a.get_connection_state() != a.STATE_CONNECTED:
        assert a.get_connection_state() <= a.STATE_CONNECTED, a.get_failure_reason()
        assert b.get_connection_state() <= b.STATE_CONNECTED, b.get_failure_reason()
        poll((a, b), 1.0)
    return lines


def test_two_peers_that_hide_their_addresses_meet() -> None:
    """Both sides have nothing but names to tell, and check the addresses behind them."""
    configuration = {"bind_addresses": list(HERE), "mdns": True}
    a, b = PeerConnection(configuration), PeerConnection(configuration)
    lines = connect(a, b)
    assert lines
    assert not any(HERE[0] in line for line in lines)
    assert HERE[0] not in a.get_local_description()
    for peer in (a, b):
        assert "session.unresolved_name" not in peer.get_stats().drops
        peer.abort()


@pytest.fixture
def without_zeroconf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    mdns.say_what_is_missing.cache_clear()
    yield
    mdns.say_what_is_missing.cache_clear()


def test_a_peer_without_the_extra_is_reached_by_the_peers_own_checks(
    without_zeroconf: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The names cost nothing but a log line; the checks of the other side reveal its address (prflx)."""
    a, b = (PeerConnection({"bind_addresses": list(HERE)}) for _ in range(2))
    b.ice_candidate_created.connect(lambda media, index, line: None)
    real = a.add_ice_candidate
    a.add_ice_candidate = lambda media, index, line: real(media, index, line.replace(HERE[0], new_name()))
    connect(a, b)
    pair = a.get_stats().selected_pair
    assert pair is not None
    assert pair.remote_type == "prflx"
    assert a.get_stats().drops["session.unresolved_name"] == 1
    assert [record.message for record in caplog.records if "rtcstack[mdns]" in record.message]
    assert len(caplog.records) == 1
    for peer in (a, b):
        peer.abort()


def test_hiding_needs_the_extra(without_zeroconf: None) -> None:
    assert not is_installed()
    with pytest.raises(InvalidParameter, match=r"pip install 'rtcstack\[mdns\]'"):
        PeerConnection({"mdns": True})


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_the_configuration_is_checked(value: object) -> None:
    with pytest.raises(InvalidParameter, match=r"mdns: .* is not allowed: give True or False"):
        PeerConnection({"mdns": value})


def test_zeroconf_is_not_imported_before_a_name_needs_it() -> None:
    import subprocess

    program = "import rtcstack, sys; sys.exit('zeroconf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
