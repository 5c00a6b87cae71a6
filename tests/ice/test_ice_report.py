"""Why it did not work: the report, and the guess in plain words."""

from __future__ import annotations

import pytest
from ice_link import A4, A6, Z4, Z6, Link, Packet, answer, request

from rtcstack import stun
from rtcstack.ice import Address, Candidate, Options, PairReport, PairState, Report
from rtcstack.stun import Message

PUBLIC: Address = ("203.0.113.7", 4242)


def host(address: Address, type_: str = "host") -> Candidate:
    return Candidate("9", 1, "udp", 2130706431, *address, type_)


def deaf(ours: list[Address], theirs: list[Candidate], *, gathering: bool = False, **options: object) -> Link:
    """Return a link on which nothing arrives at a, which knows these candidates and is checking them."""
    link = Link(addresses=(ours, []), options=Options(**options))  # type: ignore[arg-type]
    if gathering:
        link.a.restart()
    link.filter = lambda packet: False
    link.describe(link.a, candidates=False)
    for candidate in theirs:
        link.a.add_remote_candidate(candidate)
    link.a.handle_timeout(link.now)
    return link


def only(report: Report) -> PairReport:
    (pair,) = report.pairs
    return pair


def test_a_report_of_a_connection() -> None:
    link = Link(addresses=([A4, A6], [Z4, Z6]))
    link.connect()
    link.run(1.0)
    report = link.a.report()
    assert report.controlling
    assert [each.transport_address for each in report.local] == [A4, A6]
    assert [each.transport_address for each in report.remote] == [Z4, Z6]
    best, other = report.pairs
    assert (best.is_selected, best.is_nominated, best.state) == (True, True, PairState.SUCCEEDED)
    assert best.rtt == pytest.approx(0.1)
    assert (best.requests_sent, best.responses_received) == (3, 3)
    assert not other.is_selected
    assert report.guess == ""
    assert report.left_out == ()


def test_a_report_during_a_restart_shows_the_path_in_use() -> None:
    link = Link()
    link.connect()
    link.run(1.0)
    link.a.restart()
    assert only(link.a.report()).is_selected
    link.z.set_remote_credentials(link.a.ufrag, link.a.password)
    link.a.set_remote_credentials(link.z.ufrag, link.z.password)
    link.run(0.0)
    assert link.a.report().pairs == ()
    assert link.a.selected is not None


# The reason of each pair


def test_a_pair_without_answers_says_how_often_it_asked() -> None:
    """RFC 8489 §6.2.1."""
    link = deaf([A4], [host(Z4)])
    link.run(60.0)
    pair = only(link.a.report())
    assert (pair.state, pair.reason, pair.requests_sent) == (PairState.FAILED, "no answer to 7 requests", 7)


@pytest.mark.parametrize(
    ("error", "signed", "reason"),
    [
        (400, True, "refused with 400"),
        (487, False, "refused with 487, unsigned"),
        (401, False, "refused with 401, unsigned"),
    ],
)
def test_a_refused_pair_says_with_what(error: int, signed: bool, reason: str) -> None:
    """RFC 8445 §7.2.5.2, RFC 8489 §9.1.4."""
    link = deaf([A4], [host(Z4)])
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    key = link.z.password.encode() if signed else None
    link.a.receive([answer(check, key, error=error)], A4, Z4, link.now)
    assert only(link.a.report()).reason == reason
    link.run(60.0)
    assert only(link.a.report()).reason == reason


def test_an_answer_from_elsewhere_is_named() -> None:
    """RFC 8445 §7.2.5.2.1."""
    link = deaf([A4], [host(Z4)])
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    reply = answer(check, link.z.password.encode(), XOR_MAPPED_ADDRESS=A4)
    link.a.receive([reply], A4, PUBLIC, link.now)
    assert only(link.a.report()).reason == "answered from 203.0.113.7:4242 to 192.0.2.1:1000"


def test_pairs_that_were_not_needed_say_so() -> None:
    """RFC 8445 §8.1.2."""
    link = Link()
    link.describe(link.z)
    link.describe(link.a, candidates=False)
    link.a.add_remote_candidate(link.z.local_candidates[0])
    link.a.add_remote_candidate(Candidate("9", 1, "udp", 5, "198.51.100.1", 1, "relay"))
    link.run(1.0)
    assert [pair.reason for pair in link.a.report().pairs] == ["", "not needed: a better pair was nominated"]


# The guess


def test_two_private_networks_need_a_stun_server() -> None:
    link = deaf([("10.0.0.5", 1)], [host(("192.168.1.5", 1))])
    assert link.a.report().guess == (
        "both sides have only host candidates, in different networks: add a STUN server"
    )


def test_one_private_side_is_named() -> None:
    link = deaf([("10.0.0.5", 1)], [host(("192.168.1.5", 1)), host(("8.8.8.8", 1), "srflx")])
    assert link.a.report().guess.startswith("our side has only host candidates of a private network")
    link = deaf([("8.8.4.4", 1)], [host(("192.168.1.5", 1))])
    assert link.a.report().guess.startswith("the peer has only host candidates of a private network")


def test_reflexive_candidates_on_both_sides_need_a_relay() -> None:
    link = deaf([], [host(("192.168.1.5", 1)), host(("8.8.8.8", 1), "srflx")], gathering=True)
    link.a.add_local_address(("10.0.0.5", 1))
    link.a.add_reflexive(("10.0.0.5", 1), ("8.8.4.4", 1))
    assert link.a.report().guess.endswith("add a TURN server")


def test_a_relay_that_does_not_help_either() -> None:
    link = deaf([("10.0.0.5", 1)], [host(("8.8.8.8", 1), "relay")])
    assert link.a.report().guess.startswith("not even a relay helps")


def test_one_network_and_no_answer_is_a_firewall() -> None:
    link = deaf([("10.0.0.5", 1)], [host(("10.0.0.6", 1))])
    assert link.a.report().guess == "a firewall or NAT is in the way, or the peer is gone"


def test_checks_in_one_direction_only() -> None:
    link = deaf([("10.0.0.5", 1)], [host(("192.168.1.5", 1))])
    link.run(0.1)
    local, remote = ("10.0.0.5", 1), ("192.168.1.5", 1)
    link.a.receive([request(link.a, ufrag=link.z.ufrag)], local, remote, link.now)
    assert "only one direction" in link.a.report().guess


def test_wrong_credentials() -> None:
    link = deaf([A4], [host(Z4)])
    ((_, _, (check,)),) = link.a.take_packets(link.now)
    link.a.receive([answer(check, None, error=401)], A4, Z4, link.now)
    assert "credentials do not match" in link.a.report().guess


def test_nothing_to_work_with() -> None:
    assert Link().a.report().guess == "checks have not begun: the peer's description is not here"
    assert deaf([], []).a.report().guess == "no usable network interface was found"
    assert "TURN" in deaf([A4], [], relay_only=True).a.report().guess
    assert ".local" in deaf([A4], [host(("x.local", 1))]).a.report().guess
    assert deaf([A4], []).a.report().guess.startswith("the peer named no address")
    assert "address family" in deaf([A4], [host(Z6)]).a.report().guess


def test_what_was_left_out_is_counted() -> None:
    link = deaf(
        [A4],
        [host(("x.local", 1)), host(("224.0.0.1", 1)), host(("10.1.1.1", 1))],
        remote_candidate_filter=lambda address, port: not address.startswith("10."),
    )
    assert link.a.report().left_out == (
        "1 with host names",
        "1 with unusable addresses",
        "1 refused by the filter",
    )


# The filter


def test_the_filter_refuses_candidates_and_sources_alike() -> None:
    """RFC 8445 §19.5.1: whatever a peer says, nothing is sent to where it must not be."""
    asked: list[tuple[str, int]] = []

    def allows(address: str, port: int) -> bool:
        asked.append((address, port))
        return address != Z4[0]

    link = Link(options=Options(remote_candidate_filter=allows))
    link.describe(link.a)
    link.describe(link.z)
    link.run(1.0)
    assert link.sent_by(link.a) == []
    assert not link.a.is_valid(A4, Z4)
    assert link.a.selected is None
    assert link.a.drops.remote_filtered > 1
    assert Z4 in asked


def test_the_filter_is_asked_once_about_a_source() -> None:
    """A check of a known candidate costs no more than before."""
    asked: list[Address] = []

    def allows(address: str, port: int) -> bool:
        asked.append((address, port))
        return True

    link = Link(options=Options(remote_candidate_filter=allows))
    link.connect()
    link.run(30.0)
    assert len(asked) == 2


def test_answers_are_not_signed_for_strangers() -> None:
    """RFC 8489 §9.1.3: a wrong password gets a 401 whatever the filter says."""
    link = Link(options=Options(remote_candidate_filter=lambda address, port: False))

    def is_error(packet: Packet) -> bool:
        return packet.message.get(stun.ERROR_CODE) is not None

    link.a.receive([request(link.a, key=b"wrong")], A4, PUBLIC, link.now)
    ((_, _, (reply,)),) = link.a.take_packets(link.now)
    assert is_error(Packet(link.a, A4, PUBLIC, reply))
    assert Message.parse(reply).integrity is None


# Strangers of the same private address


def refused(ours: str, theirs: list[Candidate], answered: Address) -> Link:
    """Somebody at `answered` refuses the check of ours."""
    link = deaf([(ours, 1)], theirs)
    for _ in range(20):
        for local, remote, checks in link.a.take_packets(link.now):
            if remote == answered:
                link.a.receive([answer(check, None, error=401) for check in checks], local, remote, link.now)
        link.now += 0.05
    return link


def test_a_stranger_who_refuses_our_checks_is_not_the_peer() -> None:
    """192.168.1.5 is the peer at its home, and somebody else at ours."""
    link = refused("192.168.1.7", [host(("192.168.1.5", 1))], ("192.168.1.5", 1))
    guess = link.a.report().guess
    assert guess.startswith("both sides have only host candidates, in different networks: add a STUN server")
    assert "at 192.168.1.5 somebody refuses our checks: another host" in guess
    assert "or, if it is the peer, the credentials do not match" in guess


def test_our_own_address_refuses_nothing() -> None:
    """The peer has the same private address as we: the check came to ourselves."""
    link = refused("192.168.1.5", [host(("192.168.1.5", 2))], ("192.168.1.5", 2))
    assert link.a.report().guess == (
        "both sides have only host candidates, in different networks: add a STUN server"
    )


def test_a_public_address_that_refuses_is_the_peer() -> None:
    link = refused("8.8.4.4", [host(("8.8.8.8", 1))], ("8.8.8.8", 1))
    assert "credentials do not match" in link.a.report().guess
    assert "another host" not in link.a.report().guess


def test_checks_signed_for_another_session_are_the_peers() -> None:
    link = deaf([("192.168.1.7", 1)], [host(("192.168.1.5", 1))])
    link.a.receive([request(link.a, key=b"wrong")], ("192.168.1.7", 1), ("192.168.1.5", 1), link.now)
    assert "credentials do not match" in link.a.report().guess
