"""Polls all connections of one port without asking each of them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rtcstack.net import Transport, UdpMux

if TYPE_CHECKING:
    from rtcstack.peer.connection import PeerConnection

__all__ = ["Roll"]


class Roll:
    """Who is polled together, remembered from poll() to poll() without keeping anybody alive.

    A look at each of a thousand connections, cold in the caches as idle ones are, takes a millisecond: 6 %
    of a core at 60 polls a second.

    transports  of the connections, in the order given.
    is_whole    whether they are all connections of one UdpMux, which knows who of them is due.
    """

    def __init__(self, peers: Sequence[PeerConnection], ids: list[int], mux: UdpMux) -> None:
        self._ids = ids
        self._has_lost = False
        self._version = mux.version
        self._peers: dict[Transport, weakref.ref[PeerConnection]] = {
            peer._transport: weakref.ref(peer, self._lose) for peer in peers
        }
        self.transports = tuple(self._peers)
        self.is_whole = len(peers) == mux.connection_count and all(
            peer._network is mux and not peer._is_background and not peer._session.is_finished
            for peer in peers
        )

    @classmethod
    def known(cls, peers: Sequence[object], first: PeerConnection) -> Roll | None:
        """Return the roll of just these, in this order, if they have been polled by it before; else None.

        Then they need no other look: they are connections, and as they were.
        """
        mux = first._network
        roll = cls._last(mux, list(map(id, peers))) if isinstance(mux, UdpMux) else None
        return roll if roll is not None and roll.is_whole else None

    @classmethod
    def of(cls, peers: Sequence[PeerConnection]) -> Roll | None:
        """Return the roll of these connections if they are all of one UdpMux, else None."""
        mux = peers[0]._network if len(peers) > 1 else None
        if not isinstance(mux, UdpMux):
            return None
        ids = list(map(id, peers))
        roll = cls._last(mux, ids)
        if roll is None:
            roll = mux.roll = cls(peers, ids, mux)
        return roll if roll.is_whole else None

    @classmethod
    def _last(cls, mux: UdpMux, ids: list[int]) -> Roll | None:
        roll = mux.roll
        if not isinstance(roll, cls) or roll._has_lost or roll._version != mux.version or roll._ids != ids:
            return None
        return roll

    def peer(self, transport: Transport) -> PeerConnection | None:
        """Return whose transport it is; None if it is gone."""
        reference = self._peers.get(transport)
        return None if reference is None else reference()

    def _lose(self, _: object) -> None:
        self._has_lost = True
