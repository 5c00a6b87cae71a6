"""Token buckets and addresses."""

from __future__ import annotations

import pytest

from rtcstack.signaling.limits import AddressLimits, Bucket, Limits


def test_a_bucket_gives_its_size_at_once_and_its_rate_from_then_on() -> None:
    bucket = Bucket(rate=2, size=3, now=0)
    assert [bucket.take(1, 0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(1, 0.4)
    assert bucket.take(1, 0.5)
    assert not bucket.take(4, 100)
    assert bucket.is_full(100)


def test_an_address_has_only_so_many_connections_and_gets_them_back() -> None:
    addresses = AddressLimits(Limits(address_peers=2))
    assert [addresses.enter("203.0.113.5", 0) for _ in range(3)] == [True, True, False]
    assert addresses.enter("203.0.113.6", 0)
    addresses.leave("203.0.113.5")
    assert addresses.enter("203.0.113.5", 1)
    assert addresses.count("203.0.113.5") == 2


def test_coming_and_going_too_fast_is_refused() -> None:
    addresses = AddressLimits(Limits(address_peers=3, address_connections=1))
    for _ in range(3):
        assert addresses.enter("203.0.113.5", 0)
        addresses.leave("203.0.113.5")
    assert not addresses.enter("203.0.113.5", 0.5)
    assert addresses.enter("203.0.113.5", 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("fe80::1%eth0", "fe80::1%eth1"),
        ("unix", "unix"),
    ],
)
def test_what_counts_as_one_address(first: str, second: str) -> None:
    addresses = AddressLimits(Limits(address_peers=1))
    assert addresses.enter(first, 0)
    assert not addresses.enter(second, 0)


def test_addresses_that_are_quiet_are_forgotten() -> None:
    addresses = AddressLimits(Limits(address_connections=1, address_peers=5))
    for number in range(1000):
        addresses.enter(f"10.0.{number // 256}.{number % 256}", 0)
        if number:
            addresses.leave(f"10.0.{number // 256}.{number % 256}")
    addresses.enter("203.0.113.5", 20)
    assert len(addresses) == 2
