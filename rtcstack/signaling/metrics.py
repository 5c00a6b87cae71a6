"""What a server counts, as text for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rtcstack.signaling.rooms import Rooms

__all__ = ["write_metrics"]


def write_metrics(rooms: Rooms, refused: Mapping[str, int]) -> str:
    """Write the state of a server in Prometheus' text format, version 0.0.4.

    refused     connections that never became peers, by cause.
    """
    lines = [
        *_metric("peers", "gauge", "WebSocket connections.", [("", rooms.peer_count)]),
        *_metric("lobbies", "gauge", "Lobbies that live on this server.", [("", len(rooms.lobby_names))]),
        *_metric("linked_servers", "gauge", "Other servers spoken with.", [("", len(rooms.linked_servers))]),
        *_metric("connections_total", "counter", "Peers so far.", [("", rooms.connected)]),
        *_metric(
            "relayed_total", "counter", "Offers, answers and candidates passed on.", [("", rooms.relayed)]
        ),
        *_metric(
            "messages_total", "counter", "Messages received, by type.", _labelled("type", rooms.received)
        ),
        *_metric(
            "closes_total", "counter", "Peers closed by us, by reason.", _labelled("reason", rooms.closes)
        ),
        *_metric("refused_total", "counter", "Connections not let in, or cut.", _labelled("cause", refused)),
    ]
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, help_text: str, samples: Iterable[tuple[str, int]]) -> list[str]:
    name = f"rtcstack_signaling_{name}"
    return [
        f"# HELP {name} {help_text}",
        f"# TYPE {name} {kind}",
        *(f"{name}{label} {value}" for label, value in samples),
    ]


def _labelled(label: str, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(f'{{{label}="{value}"}}', count) for value, count in sorted(counts.items())]
