"""Says in words what a connection tried, and what most probably stands in its way."""

from __future__ import annotations

from collections.abc import Sequence

from rtcstack.ice import Candidate, Report
from rtcstack.session.stats import Stats, format_address

__all__ = ["explain"]


def explain(
    stats: Stats,
    reason: str,
    report: Report | None,
    servers: Sequence[tuple[str, tuple[str, int] | None, str]],
) -> str:
    """Write a report of several lines.

    reason      why the connection failed or ended; "" if it did not.
    report      of the ICE agent; None before there is one.
    servers     what each has answered: (url, the socket that asked, words).
    """
    lines = [f"connection {stats.connection_state}" + (f": {reason}" if reason else "")]
    if report is None:
        return "\n".join([*lines, "nothing has been negotiated yet"])
    role = "controlling" if report.controlling else "controlled"
    lines.append(f"ICE {report.state.name.lower()}, {role}")
    for side, candidates in (("our", report.local), ("the peer's", report.remote)):
        lines.append(f"{side} candidates:" + ("" if candidates else " none"))
        lines += [f"  {_describe(candidate)}" for candidate in candidates]
    if report.left_out:
        lines.append(f"left out: {', '.join(report.left_out)}")
    for url, local, outcome in servers:
        lines.append(f"server {url}{f' from {format_address(local)}' if local else ''}: {outcome}")
    lines.append("pairs, best first:" + ("" if report.pairs else " none"))
    for pair in report.pairs:
        notes = [pair.state.value]
        if pair.is_selected:
            notes.append("selected")
        notes.append(f"{pair.requests_sent} asked, {pair.responses_received} answered")
        notes.append(f"{pair.requests_received} checks of the peer")
        if pair.rtt:
            notes.append(f"{pair.rtt * 1000:.1f} ms")
        if pair.reason:
            notes.append(pair.reason)
        path = f"{_describe(pair.local)} -> {_describe(pair.remote)}"
        lines.append(f"  {path}: {', '.join(notes)}")
    if report.guess:
        lines.append(f"most probably: {report.guess}")
    return "\n".join(lines)


def _describe(candidate: Candidate) -> str:
    return f"{candidate.type} {candidate.transport} {format_address(candidate.transport_address)}"
