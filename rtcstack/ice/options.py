"""The numbers of an ICE agent that are choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtcstack.errors import InvalidParameter

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """What an Agent may be told; the defaults are the RFCs'."""

    lite: bool = False
    """Be an ICE-lite agent: host candidates only, no checks of our own, controlled; for servers whose address
    everybody can reach (RFC 8445 section 2.5)."""

    relay_only: bool = False
    """Offer and use relayed candidates only, so that the peer learns no address of ours (RFC 8828 mode 4)."""

    hide_related: bool = False
    """Write 0.0.0.0 or ::, port 9, where a candidate would show the address behind it (RFC 8839 section 5.1);
    relay_only does the same."""

    hide_host: bool = False
    """Tell the peer no host candidate unless a server has seen its address: sockets serve, but only what is
    public is told (RFC 8828 mode 3). Set hide_related too."""

    remote_candidate_filter: Callable[[str, int], bool] | None = None
    """Address and port of the peer -> whether anything may be sent there; it must not raise. Multicast,
    broadcast and unspecified addresses are refused anyway."""

    ta: float = 0.050
    """Seconds between two new checks, at least 0.005 (RFC 8445 section 14.2). Another value than 50 ms is to
    be told to the peer (a=ice-pacing, RFC 8839 section 5.8)."""

    triggered_burst: int = 5
    """Triggered checks that may leave at once, borrowing the turns of later checks: the answer to a peer that
    has just reached us should not wait for Ta. On average one check leaves every Ta all the same."""

    rto: float = 0.5
    """Smallest first retransmission interval of a check, seconds, at least 0.5 (RFC 8445 section 14.3)."""

    rc: int = 7
    """Requests sent in one check (RFC 8489 section 6.2.1)."""

    rm: float = 16
    """RTOs to wait after the last request (RFC 8489 section 6.2.1)."""

    pac: float = 39.5
    """Seconds for which the agent does not give up, even with nothing left to check (RFC 8863 section 4)."""

    settle: float = 0.2
    """Seconds that the controlling agent waits after the first valid pair for a better one to become valid
    before it nominates, or two round trips if that is more: long enough for checks already on their way.
    Data flows on the first valid pair meanwhile."""

    renomination_interval: float = 5.0
    """Seconds from one nomination to the next at least, when a better pair becomes valid later; math.inf
    nominates once only."""

    consent_interval: float = 5.0
    """Mean seconds between consent requests, at least 5: each interval is 0.8 to 1.2 of it, and RFC 7675
    section 5.1 forbids less than 4."""

    consent_expiry: float = 30.0
    """Seconds without an answer after which sending stops (RFC 7675 section 5.1)."""

    disconnected_after: float = 5.0
    """Seconds of silence after which the state is DISCONNECTED, as in browsers."""

    answer_timeout: float = 1.0
    """Seconds for which a consent request may stay unanswered before the silence counts."""

    max_remote_candidates: int = 100
    """Remote candidates kept; the oldest peer-reflexive ones that never answered make room."""

    max_pairs: int = 100
    """Pairs in the checklist (RFC 8445 section 6.1.2.5)."""

    max_early_checks: int = 100
    """Five-tuples of authenticated checks remembered from before the remote credentials are known."""

    max_role_conflicts: int = 32
    """487 answers after which a check so answered fails, so that no peer keeps us switching roles."""

    max_queued: int = 1000
    """Packets that wait for take_packets; more answers than that are not queued."""

    def __post_init__(self) -> None:
        """Refuse values that the RFCs forbid."""
        for name, least in (
            ("ta", 0.005),
            ("rto", 0.5),
            ("renomination_interval", 0.0),
            ("consent_interval", 5.0),
            ("rc", 1),
            ("triggered_burst", 0),
            ("max_remote_candidates", 1),
            ("max_pairs", 1),
        ):
            if getattr(self, name) < least:
                raise InvalidParameter(
                    f"ICE option {name} must be at least {least}, not {getattr(self, name)}"
                )
