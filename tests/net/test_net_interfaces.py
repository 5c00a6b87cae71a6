"""Which addresses are worth a socket."""

from __future__ import annotations

import ipaddress

import pytest

from rtcstack.net.interfaces import (
    CACHE_SECONDS,
    Interface,
    first_of_each_family,
    select_interfaces,
    system_interfaces,
    usable_interfaces,
)


def interfaces(*addresses: str) -> list[Interface]:
    return [Interface("eth0", address) for address in addresses]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (["192.0.2.2", "fd00::2", "127.0.0.1", "::1"], ["192.0.2.2", "fd00::2"]),
        (["169.254.7.7", "198.51.100.1", "fe80::1"], ["198.51.100.1"]),
        (["127.0.0.1", "::1", "fe80::1"], ["127.0.0.1", "::1"]),
        (["127.0.0.1", "169.254.7.7"], ["127.0.0.1", "169.254.7.7"]),
        (["0.0.0.0", "::", "224.0.0.1", "ff02::1"], []),
        (["10.0.0.1", "10.0.0.1"], ["10.0.0.1"]),
        ([], []),
    ],
)
def test_a_narrow_address_counts_only_where_there_is_no_other(found: list[str], kept: list[str]) -> None:
    assert select_interfaces(interfaces(*found)) == interfaces(*kept)


def test_the_system_has_addresses_without_zones_or_duplicates() -> None:
    found = system_interfaces()
    assert found
    assert len({interface.address for interface in found}) == len(found)
    for interface in found:
        assert "%" not in interface.address
        ipaddress.ip_address(interface.address)


def test_a_filter_decides_before_the_fallback() -> None:
    def only_loopback(interface: Interface) -> bool:
        return ipaddress.ip_address(interface.address).is_loopback

    kept = usable_interfaces(0.0, only_loopback)
    assert kept
    assert all(map(only_loopback, kept))
    assert usable_interfaces(0.0, lambda interface: False) == []


def test_the_answer_is_the_same_within_the_period_of_the_cache() -> None:
    assert usable_interfaces(CACHE_SECONDS * 7) == usable_interfaces(CACHE_SECONDS * 7.9)


def test_one_address_of_each_family_is_that_of_the_default_route() -> None:
    """RFC 8828 §5.2 modes 2 and 3; system_interfaces() has those that default routes start from first."""
    found = interfaces("192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:db8::2")
    assert first_of_each_family(found) == interfaces("192.0.2.2", "2001:db8::1")
    assert first_of_each_family([]) == []
