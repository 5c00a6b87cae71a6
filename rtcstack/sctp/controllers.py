"""The congestion controllers that `Options.congestion_control` may name."""

from __future__ import annotations

from collections.abc import Callable

from rtcstack.sctp.bbr import Bbr
from rtcstack.sctp.congestion import CongestionControl, NewReno
from rtcstack.sctp.cubic import Cubic

__all__ = ["CONTROLLERS"]

CONTROLLERS: dict[str, Callable[[int, int], CongestionControl]] = {
    controller.name: controller for controller in (NewReno, Cubic, Bbr)
}
"""Name of a controller -> what makes one from the MTU (bytes) and the initial window (packets)."""
