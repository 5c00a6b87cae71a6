"""The TCP connections that active candidates need: asked for, open, closed (RFC 6544)."""

from __future__ import annotations

from rtcstack.stun import Address

__all__ = ["TcpConnections"]


class TcpConnections:
    """Five-tuples of active candidates, with whom a connection is open or asked for. A restart keeps them."""

    __slots__ = ("_asked", "_open", "_wanted")

    def __init__(self) -> None:
        self._asked: set[tuple[Address, Address]] = set()
        self._open: set[tuple[Address, Address]] = set()
        self._wanted: list[tuple[Address, Address]] = []

    def is_open(self, five_tuple: tuple[Address, Address]) -> bool:
        """Tell whether a connection is there."""
        return five_tuple in self._open

    def ask(self, five_tuple: tuple[Address, Address]) -> None:
        """Ask for a connection, unless that has been done."""
        if five_tuple not in self._asked:
            self._asked.add(five_tuple)
            self._wanted.append(five_tuple)

    def opened(self, five_tuple: tuple[Address, Address]) -> None:
        """Note that a connection is there."""
        self._asked.add(five_tuple)
        self._open.add(five_tuple)

    def closed(self, five_tuple: tuple[Address, Address]) -> None:
        """Note that a connection is gone, or could not be opened; it may be asked for again."""
        self._asked.discard(five_tuple)
        self._open.discard(five_tuple)

    @property
    def has_wanted(self) -> bool:
        """Whether a connection has been asked for since the last take_wanted()."""
        return bool(self._wanted)

    def take_wanted(self) -> list[tuple[Address, Address]]:
        """Hand over the connections asked for since the last call."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def remove(self, local: Address) -> None:
        """Forget the connections of a local address that is gone."""
        for five_tuple in [each for each in self._asked if each[0] == local]:
            self.closed(five_tuple)
        self._wanted = [each for each in self._wanted if each[0] != local]
