"""What a listener on a session is told: every datagram, and the SCTP packets that DTLS hides."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Tap"]

Address = tuple[str, int]


class Tap(Protocol):
    """Hears what goes through a session, in lists as it goes; it must raise nothing.

    now     seconds, on the session's clock.
    """

    def heard(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Datagrams have arrived from `remote`."""

    def said(self, local: Address, remote: Address, datagrams: list[bytes], now: float) -> None:
        """Datagrams leave for `remote`."""

    def decrypted(self, packets: list[bytes], now: float) -> None:
        """SCTP packets of the peer have been decrypted."""

    def encrypted(self, packets: list[bytes], now: float) -> None:
        """SCTP packets of ours are about to be encrypted."""
