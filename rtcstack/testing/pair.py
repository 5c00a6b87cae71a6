"""Two connected peers on a virtual network: the shortest way to see an application on a bad path."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Unpack

from rtcstack.peer import DataChannel, PeerConnection, poll
from rtcstack.testing.link import Conditions, Link
from rtcstack.testing.network import VirtualNetwork

__all__ = ["ChannelPair", "Pair", "Received"]

_SPARE_ID = 65534
"""Stream id of the channel that an offer without another one is made with."""
_ENDED = (PeerConnection.STATE_FAILED, PeerConnection.STATE_CLOSED)


class Received(NamedTuple):
    """One message that came out of a channel.

    at      seconds of virtual time.
    data    bytes; str if it was sent as text.
    """

    at: float
    data: bytes | str


class ChannelPair:
    """Both ends of one data channel, and what came out of each of them.

    left, right                      the ends.
    left_received, right_received    messages that came out of this end so far, in order.
    """

    def __init__(self, left: DataChannel, right: DataChannel) -> None:
        self.left = left
        self.right = right
        self.left_received: list[Received] = []
        self.right_received: list[Received] = []

    def record(self, now: float) -> None:
        """Take the messages that have arrived."""
        for channel, received in ((self.left, self.left_received), (self.right, self.right_received)):
            while channel.get_available_packet_count():
                data = channel.get_packet()
                received.append(Received(now, data.decode() if channel.was_string_packet() else data))


class Pair:
    """Two peers, `left` and `right`, on two hosts of a virtual network, with signaling that takes no time.

    Everything happens inside `run`, `connect` and `open_channel`; between them virtual time stands still.
    What happens is the same for the same seed, but for the sizes of the handshake's signatures.

    seed             of the links' chance and of the peers' random numbers.
    configuration    of both peers, as `PeerConnection` takes it; a value of None stands for the default.
    conditions       see `Conditions`: of the path, each direction alike. The default of `delay` is 1 ms here.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        configuration: Mapping[str, Any] | None = None,
        **conditions: Unpack[Conditions],
    ) -> None:
        self.network = VirtualNetwork(seed=seed, **conditions)
        hosts = self.network.host("left", ["10.0.0.1"]), self.network.host("right", ["10.0.0.2"])
        self.left, self.right = (
            PeerConnection(
                configuration, network=host, random_bytes=random.Random(f"{seed}/{host.name}").randbytes
            )
            for host in hosts
        )
        self.left_to_right: Link = self.network.link(hosts[0], hosts[1])
        self.right_to_left: Link = self.network.link(hosts[1], hosts[0])
        self._peers = (self.left, self.right)
        self._announced: list[DataChannel] = []
        self._recorded: list[ChannelPair] = []
        self._has_offered = False
        _signal(self.left, self.right)
        _signal(self.right, self.left)
        self.right.data_channel_received.connect(self._announced.append)

    @property
    def now(self) -> float:
        """Seconds of virtual time."""
        return self.network.now

    def connect(self, *, limit: float = 30.0) -> None:
        """Let left offer, and time pass until both peers are connected.

        limit     seconds of virtual time.
        Raises    TimeoutError if they are not connected then, or cannot be.
        """
        if not self._has_offered:
            for peer in self._peers:
                peer.create_data_channel("", {"negotiated": True, "id": _SPARE_ID})
            self._offer()
        connected = PeerConnection.STATE_CONNECTED
        self._run_until(lambda: all(p.get_connection_state() is connected for p in self._peers), limit)

    def open_channel(
        self, label: str, *, record: bool = True, limit: float = 30.0, **options: Any
    ) -> ChannelPair:
        """Create a channel on the left, and let time pass until both ends are open; connect first if needed.

        label      as in `create_data_channel`.
        record     whether messages are taken out as they arrive, into `ChannelPair.left_received` and
                   `right_received`; False leaves them to `get_packet`.
        limit      seconds of virtual time.
        options    as in `create_data_channel`: `ordered=False`, `maxRetransmits=0`, ... A negotiated channel
                   is created on both sides.
        Raises     TimeoutError if it is not open then, or cannot be.
        """
        left = self.left.create_data_channel(label, options)
        if options.get("negotiated"):
            self._announced.append(self.right.create_data_channel(label, options))
        if not self._has_offered:
            self._offer()

        def right_ends() -> list[DataChannel]:
            return [channel for channel in self._announced if channel.get_id() == left.get_id()]

        self._run_until(lambda: _is_open([left]) and _is_open(right_ends()), limit)
        (right,) = right_ends()
        self._announced.remove(right)
        channel = ChannelPair(left, right)
        if record:
            self._recorded.append(channel)
        return channel

    def run(self, until: float | Callable[[], bool] | None = None, *, limit: float = 60.0) -> bool:
        """Let time pass, polling both peers and recording messages at each event.

        until      seconds to let pass; or a condition, looked at after each event; None for `limit` seconds.
        limit      seconds of virtual time after which to give up, for a condition.
        Returns    False if a condition was still not met at the limit.
        """
        return self.network.run(until, limit=limit, peers=(self,))

    def poll(self) -> None:
        """Do what is due at this instant, deliver signals and record messages; `run` does it for you."""
        poll(self._peers)
        for channel in self._recorded:
            channel.record(self.now)

    def _offer(self) -> None:
        self._has_offered = True
        self.left.create_offer()

    def _run_until(self, is_done: Callable[[], bool], limit: float) -> None:
        self.run(
            lambda: is_done() or any(peer.get_connection_state() in _ENDED for peer in self._peers),
            limit=limit,
        )
        if not is_done():
            states = [
                f"{name} is {peer.get_connection_state().name} {peer.get_failure_reason()}".rstrip()
                for name, peer in (("left", self.left), ("right", self.right))
            ]
            raise TimeoutError(f"not open after {self.now:.3f} s of virtual time: {', '.join(states)}")


def _is_open(ends: list[DataChannel]) -> bool:
    return any(end.get_ready_state() is DataChannel.STATE_OPEN for end in ends)


def _signal(peer: PeerConnection, other: PeerConnection) -> None:
    """Bring everything that one peer has to say for signaling to the other at once."""
    peer.session_description_created.connect(peer.set_local_description)
    peer.session_description_created.connect(other.set_remote_description)
    peer.ice_candidate_created.connect(other.add_ice_candidate)
