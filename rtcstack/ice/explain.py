"""Why no pair became valid, in a sentence made of what was counted."""

from __future__ import annotations

from rtcstack.ice.events import Drops, Stats

__all__ = ["explain_no_pair"]


def explain_no_pair(
    *, bases: int, remotes: int, pairs: int, patience: float, drops: Drops, stats: Stats
) -> str:
    """Say what was missing.

    bases, remotes, pairs   how many local addresses, remote candidates and pairs there were.
    patience                seconds waited.
    """
    if not bases:
        return "no local candidates: no usable network interface was found"
    counts = (
        (drops.remote_host_name, "with host names"),
        (drops.remote_tcp, "for TCP"),
        (drops.remote_unusable, "with unusable addresses"),
    )
    left_out = ", ".join(f"{count} {what}" for count, what in counts if count)
    ignored = f" (left out: {left_out})" if left_out else ""
    if not remotes:
        return (
            f"no remote candidates: the peer named none that can be used{ignored}, "
            f"and none of its checks arrived within {patience:g} s"
        )
    if not pairs:
        return f"no candidate pairs: no address family in common with {remotes} remote candidates{ignored}"
    reason = (
        f"none of {pairs} candidate pairs was answered within {patience:g} s "
        f"({stats.checks_sent} checks sent, {stats.requests_received} of the peer's arrived){ignored}"
    )
    if 401 in stats.errors_received or 401 in stats.errors_sent or drops.unauthenticated_response:
        return f"{reason}: credentials do not match, one description may be of another session"
    return f"{reason}: a firewall or NAT is in the way, or the peer is gone"
