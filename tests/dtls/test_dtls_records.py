"""Records: cut, numbered, packed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcstack.dtls.records import pack_records, plaintext_record, renumber, split_records

RECORDS = st.lists(
    st.builds(
        plaintext_record,
        st.integers(20, 23),
        st.sampled_from([b"\xfe\xfd", b"\xfe\xff"]),
        st.integers(0, 2**48 - 1),
        st.binary(max_size=80),
    ),
    max_size=8,
)


def test_a_record_is_written_as_the_rfc_draws_it():
    """RFC 6347 §4.1."""
    assert plaintext_record(22, b"\xfe\xff", 0x0102030405, b"abc") == bytes.fromhex(
        "16 feff 0000 000102030405 0003 616263"
    )


@given(RECORDS)
def test_splitting_undoes_joining(records):
    assert split_records(b"".join(records)) == (records, 0)


@given(RECORDS, st.binary(max_size=12))
def test_what_follows_whole_records_is_left_over(records, rest):
    assert split_records(b"".join(records) + rest) == (records, len(rest))


def test_every_truncation_leaves_a_rest():
    record = plaintext_record(22, b"\xfe\xfd", 1, b"0123456789")
    for size in range(1, len(record)):
        assert split_records(record[:size]) == ([], size)
        assert split_records(record + record[:size]) == ([record], size)


@pytest.mark.parametrize("version", [b"\xfe\xfc", b"\x03\x03", b"\0\0", b"\xfe\xfe"])
def test_another_version_ends_the_splitting(version):
    good = plaintext_record(22, b"\xfe\xfd", 1, b"good")
    assert split_records(good + plaintext_record(22, version, 1, b"bad") + good)[0] == [good]


@given(RECORDS, st.integers(0, 2**48 - 1))
def test_renumbering_changes_the_number_only(records, number):
    for record in records:
        renumbered = renumber(record, number)
        assert (renumbered[:5], renumbered[11:]) == (record[:5], record[11:])
        assert int.from_bytes(renumbered[5:11]) == number


@given(RECORDS, st.integers(13, 300))
def test_packing_keeps_records_whole_and_in_order(records, mtu):
    """RFC 6347 §4.1.1: greedy, no datagram above the MTU unless a single record is."""
    datagrams = pack_records(records, mtu)
    assert [split_records(datagram)[1] for datagram in datagrams] == [0] * len(datagrams)
    assert [record for datagram in datagrams for record in split_records(datagram)[0]] == records
    for datagram, following in itertools.pairwise(datagrams):
        assert len(datagram) + len(split_records(following)[0][0]) > mtu
    for datagram in datagrams:
        assert len(datagram) <= mtu or len(split_records(datagram)[0]) == 1
