"""Godot's WebRTCMultiplayerPeer: packets to and from peers that have an id, over three channels or more."""

from __future__ import annotations

import enum
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat, zip_longest
from typing import Any, TypedDict

from rtcstack.errors import (
    Closed,
    Error,
    InvalidParameter,
    RTCError,
    Unauthorized,
    Unavailable,
    Unconfigured,
)
from rtcstack.multiplayer.member import Inlet, Member, Standing, channel_modes, create_channels
from rtcstack.multiplayer.modes import ConnectionStatus, TransferMode
from rtcstack.multiplayer.notices import Notices
from rtcstack.peer import DataChannel, PacketPeer, PeerConnection, Signal, poll

__all__ = ["MultiplayerPeer", "PeerInfo"]

_SERVER = 1
_LARGEST_ID = 0x7FFF_FFFF
_LONGEST_LIFETIME_MS = 65_535
_ENDED = (PeerConnection.STATE_FAILED, PeerConnection.STATE_CLOSED)

_Packet = bytes | bytearray | memoryview
_Put = Callable[[_Packet], Error]


class _Role(enum.Enum):
    NONE = enum.auto()
    SERVER = enum.auto()
    CLIENT = enum.auto()
    MESH = enum.auto()


class PeerInfo(TypedDict):
    """What get_peer() tells about a peer.

    connection      to that peer.
    connected       whether peer_connected was emitted for it.
    channels        reliable, ordered, unreliable, and those of channels_config, in this order.
    """

    connection: PeerConnection
    connected: bool
    channels: list[DataChannel]


class MultiplayerPeer(PacketPeer):
    """One peer of a multiplayer game: a server, a client of one, or a peer among equals in a mesh.

    Choose one of create_server(), create_client() and create_mesh(), add a PeerConnection for each other peer
    before it makes or takes an offer, bring their descriptions and candidates over, and call poll() often.

        game = MultiplayerPeer()
        game.create_client(77)
        connection = PeerConnection()
        game.add_peer(connection, 1)        # creates the channels
        connection.create_offer()

    random_bytes    n -> n bytes, for generate_unique_id().

    Signals, from poll() only:
      peer_connected(id)        all channels to a peer are open; nothing of it is delivered before.
      peer_disconnected(id)     it is gone, whatever the cause: once for each peer_connected.

    Source: Godot's WebRTCMultiplayerPeer; docs/multiplayer.md says where it is better to differ.
    """

    CONNECTION_DISCONNECTED = ConnectionStatus.DISCONNECTED
    CONNECTION_CONNECTING = ConnectionStatus.CONNECTING
    CONNECTION_CONNECTED = ConnectionStatus.CONNECTED
    TRANSFER_MODE_UNRELIABLE = TransferMode.UNRELIABLE
    TRANSFER_MODE_UNRELIABLE_ORDERED = TransferMode.UNRELIABLE_ORDERED
    TRANSFER_MODE_RELIABLE = TransferMode.RELIABLE
    TARGET_PEER_BROADCAST = 0
    TARGET_PEER_SERVER = 1

    def __init__(self, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self.peer_connected: Signal[int] = Signal("peer_connected")
        self.peer_disconnected: Signal[int] = Signal("peer_disconnected")
        self.refuse_new_connections = False
        """Whether add_peer() refuses everybody."""
        self._random_bytes = random_bytes
        self._role = _Role.NONE
        self._status = ConnectionStatus.DISCONNECTED
        self._unique_id = 0
        self._extra_modes: list[TransferMode] = []
        self._members: dict[int, Member] = {}
        self._closing: list[PeerConnection] = []
        self._notices = Notices()
        self._target = 0
        self._mode = TransferMode.RELIABLE
        self._channel = 0
        self._put: _Put | None = None
        self._packets: deque[Inlet] = deque()
        self._packet_error = Error.OK

    # -- taking part -------------------------------------------------------------------------------

    def create_server(self, channels_config: Iterable[TransferMode | int] = ()) -> Error:
        """Be the server, with id 1: CONNECTED at once, every other peer is a client.

        channels_config     TRANSFER_MODE_* of transfer channels 1, 2, ...: the same list at every peer.

        Raises:
            InvalidParameter: channels_config holds something else.
        """
        return self._start(_Role.SERVER, _SERVER, channels_config)

    def create_client(self, peer_id: int, channels_config: Iterable[TransferMode | int] = ()) -> Error:
        """Be a client: CONNECTING until the channels to the server, peer 1, are open.

        peer_id             2 to 2,147,483,647: the id that signaling gave us.
        channels_config     as in create_server().

        Raises:
            InvalidParameter: the id is out of this range, or channels_config holds something else.
        """
        if peer_id == _SERVER:
            raise InvalidParameter("peer_id 1 is the server's: a client has an id from 2 on")
        return self._start(_Role.CLIENT, peer_id, channels_config)

    def create_mesh(self, peer_id: int, channels_config: Iterable[TransferMode | int] = ()) -> Error:
        """Be one of a mesh, in which each peer is connected to each other: CONNECTED at once.

        peer_id             1 to 2,147,483,647: the id that signaling gave us.
        channels_config     as in create_server().

        Raises:
            InvalidParameter: the id is out of this range, or channels_config holds something else.
        """
        return self._start(_Role.MESH, peer_id, channels_config)

    def add_peer(self, peer: PeerConnection, peer_id: int, unreliable_lifetime: int = 1) -> Error:
        """Add a peer by a connection that is still new, and create the channels to it.

        A peer that has this id already is gone, and its connection closed: it has come back.

        peer                    a connection on which neither side has offered yet.
        peer_id                 1 to 2,147,483,647: for a client 1, for a server from 2 on.
        unreliable_lifetime     0 to 65,535 ms that an unreliable packet is tried for; below 50 ms it is sent
                                once.

        Raises:
            Unconfigured: neither create_server(), create_client() nor create_mesh() was called.
            InvalidParameter: an argument is out of its range, or the connection is not new.
            Unauthorized: refuse_new_connections is True.
            RTCError: a channel cannot be created, for instance because its stream id is in use.
        Then: create_offer() on the connection of one side.
        """
        self._check_peer_id(peer_id)
        if not _is_within(unreliable_lifetime, 0, _LONGEST_LIFETIME_MS):
            raise InvalidParameter(f"unreliable_lifetime {unreliable_lifetime!r} is not 0 to 65535 ms")
        if self.refuse_new_connections:
            raise Unauthorized("refuse_new_connections is True: no peer can be added")
        if not isinstance(peer, PeerConnection):
            raise InvalidParameter(f"peer is a PeerConnection, not {peer!r}")
        if peer.get_connection_state() is not PeerConnection.STATE_NEW:
            raise InvalidParameter(
                f"the connection is {peer.get_connection_state().name}, not NEW: add it before any offer"
            )
        channels = create_channels(peer, self._extra_modes, unreliable_lifetime)
        if peer_id in self._members:
            self._remove(peer_id)
        if self._role is _Role.CLIENT:
            self._status = ConnectionStatus.CONNECTING
        self._members[peer_id] = Member(peer_id, peer, channels, channel_modes(self._extra_modes))
        self._put = None
        return Error.OK

    def remove_peer(self, peer_id: int) -> None:
        """Close the connection to a peer and forget it; the next poll() emits peer_disconnected.

        What was sent to it is still delivered, while poll() is called.  Packets of it that were not taken yet
        are dropped.

        Raises:
            InvalidParameter: there is no such peer.
        """
        self._member(peer_id)
        self._remove(peer_id)

    def disconnect_peer(self, peer: int, force: bool = False) -> None:
        """Close the connection to a peer; a later poll() emits peer_disconnected.

        force   forget the peer at once, and drop what was sent to it but has not left.

        Raises:
            InvalidParameter: there is no such peer.
        """
        connection = self._member(peer).connection
        if force:
            connection.abort()
            self._remove(peer)
        else:
            connection.close()

    def close(self) -> None:
        """Leave the game: the status is DISCONNECTED, there are no peers and no target.

        The other peers are told: what was sent is delivered, for at most `close_timeout` seconds, while
        poll() is called.  The next poll() emits peer_disconnected for each of them.  Idempotent.
        """
        for peer_id in list(self._members):
            self._remove(peer_id)
        self._role = _Role.NONE
        self._status = ConnectionStatus.DISCONNECTED
        self._unique_id = 0
        self._extra_modes = []
        self._target = 0
        self._put = None

    def has_peer(self, peer_id: int) -> bool:
        """Tell whether a peer was added and is not gone; it need not be connected yet."""
        return peer_id in self._members

    def get_peer(self, peer_id: int) -> PeerInfo:
        """Return {"connection": ..., "connected": ..., "channels": [...]} of a peer.

        Raises:
            InvalidParameter: there is no such peer.
        """
        return _describe(self._member(peer_id))

    def get_peers(self) -> dict[int, PeerInfo]:
        """Return what get_peer() tells, for each peer by its id."""
        return {peer_id: _describe(member) for peer_id, member in self._members.items()}

    # -- packets out -------------------------------------------------------------------------------

    def set_target_peer(self, id: int) -> None:
        """Send to this peer from now on: 0 for all, a negative id for all but that one."""
        self._target = id
        self._put = None

    @property
    def transfer_mode(self) -> TransferMode:
        """How put_packet() sends, TRANSFER_MODE_RELIABLE at first; it counts on transfer channel 0 only."""
        return self._mode

    @transfer_mode.setter
    def transfer_mode(self, mode: TransferMode | int) -> None:
        if mode not in (0, 1, 2):
            raise InvalidParameter(f"transfer_mode {mode!r} is none of the TRANSFER_MODE_* constants")
        self._mode = _MODES[mode]
        self._put = None

    def set_transfer_mode(self, mode: TransferMode | int) -> None:
        """Set `transfer_mode`."""
        self.transfer_mode = mode

    def get_transfer_mode(self) -> TransferMode:
        """Return `transfer_mode`."""
        return self._mode

    @property
    def transfer_channel(self) -> int:
        """Which channel put_packet() uses: 0, at first, for that of the mode, or N of channels_config."""
        return self._channel

    @transfer_channel.setter
    def transfer_channel(self, channel: int) -> None:
        if not _is_within(channel, 0, _LARGEST_ID):
            raise InvalidParameter(f"transfer_channel {channel!r} is not a number from 0 on")
        self._channel = channel
        self._put = None

    def set_transfer_channel(self, channel: int) -> None:
        """Set `transfer_channel`."""
        self.transfer_channel = channel

    def get_transfer_channel(self) -> int:
        """Return `transfer_channel`."""
        return self._channel

    def put_packet(self, packet: _Packet) -> Error:
        """Queue one packet for the target peers; the next poll() sends it.  Nothing is added to it.

        To several peers it goes to each that is connected; a failure with one does not keep it from the
        others, and is raised when all were tried.

        packet      bytes; a Godot game may not take more than 262,144.

        Raises:
            Unconfigured: the status is DISCONNECTED.
            InvalidParameter: there is no such target peer, or no such transfer channel.
            InvalidState: the target peer is not connected yet.
            Closed, MessageTooLarge, Full: as of DataChannel.put_packet().
        """
        put = self._put
        if put is None:
            put = self._put = self._find_way()
        return put(packet)

    def _find_way(self) -> _Put:
        """Choose what put_packet() calls, until something changes."""
        if self._status is ConnectionStatus.DISCONNECTED:
            raise Unconfigured("no game is on: call create_server(), create_client() or create_mesh() first")
        if self._channel > len(self._extra_modes):
            raise InvalidParameter(
                f"there is no transfer channel {self._channel}: channels_config has {len(self._extra_modes)}"
            )
        index = self._channel + 2 if self._channel else 2 - self._mode
        target = self._target
        if target > 0:
            return self._member(target).channels[index].put_packet
        channels = [
            member.channels[index]
            for peer_id, member in self._members.items()
            if member.is_connected and peer_id != -target
        ]

        def put_to_all(packet: _Packet) -> Error:
            failure: RTCError | None = None
            for channel in channels:
                try:
                    channel.put_packet(packet)
                except Closed:
                    continue  # it is leaving, which poll() will say
                except RTCError as error:
                    failure = failure or error
            if failure is not None:
                raise failure
            return _OK

        return put_to_all

    # -- packets in --------------------------------------------------------------------------------

    def get_packet(self) -> bytes:
        """Take the next packet; get_packet_peer(), _channel() and _mode() tell about it before that.

        Raises:
            Unavailable: none is waiting: ask get_available_packet_count() first.
        """
        try:
            inlet = self._packets.popleft()
            inlet.queued -= 1
            packet = inlet.take()
        except (IndexError, Unavailable):
            self._packet_error = Error.ERR_UNAVAILABLE
            raise Unavailable("no packet is waiting: ask get_available_packet_count() first") from None
        self._packet_error = _OK
        return packet

    def get_available_packet_count(self) -> int:
        """Count the packets that wait to be taken, as of the last poll()."""
        return len(self._packets)

    def get_packet_error(self) -> Error:
        """Tell how the last get_packet() went."""
        return self._packet_error

    def get_packet_peer(self) -> int:
        """Return the id of the peer that sent the next packet; 0 if there is none."""
        return self._packets[0].peer_id if self._packets else 0

    def get_packet_channel(self) -> int:
        """Return the transfer channel that the next packet came by; 0 if there is none."""
        return self._packets[0].transfer_channel if self._packets else 0

    def get_packet_mode(self) -> TransferMode:
        """Return the mode of the channel that the next packet came by; RELIABLE if there is none."""
        return self._packets[0].mode if self._packets else TransferMode.RELIABLE

    # -- driving -----------------------------------------------------------------------------------

    def poll(self, timeout: float = 0.0) -> None:
        """Poll every connection, notice who has come and gone, and deliver signals.

        timeout     seconds to wait for something to happen, if nothing has yet; 0 never waits.

        Nothing that comes from the network raises here; what a callback raises does, and the signals
        behind it come with the next poll().
        """
        poll((self,), timeout)

    def connections(self) -> list[PeerConnection]:
        """List the connections that poll() serves: of all peers, and those that still say goodbye."""
        return [member.connection for member in self._members.values()] + self._closing

    def due_in(self) -> float:
        """Tell for how long poll() may wait: 0 if there is something to say, math.inf if not."""
        is_due = self._notices or any(member.is_leaving for member in self._members.values())
        return 0.0 if is_due else math.inf

    def deliver(self) -> None:
        """Notice who has come and gone, deliver signals, and count the packets that have come.

        rtcstack.poll() calls it when the connections have been polled.
        """
        closing = self._closing
        if closing:
            closing[:] = [each for each in closing if each.get_connection_state() not in _ENDED]
        come: list[int] = []
        for peer_id, member in list(self._members.items()):
            standing = member.standing()
            if standing is Standing.LOST:
                # What came before the end can be taken until the next poll().
                if member.is_connected and not member.is_leaving and member.has_packets():
                    member.is_leaving = True
                else:
                    self._remove(peer_id)
            elif standing is Standing.OPEN and not member.is_connected:
                come.append(peer_id)
        for peer_id in come:
            self._members[peer_id].is_connected = True
            self._put = None
            if self._role is _Role.CLIENT:
                self._status = ConnectionStatus.CONNECTED
            self._notices.add(self.peer_connected, peer_id)
        if self._notices:
            self._notices.deliver()
        # A poll() inside a callback must not show packets of a peer that was not announced yet.
        if not self._notices:
            self._collect()

    # -- looking at it -----------------------------------------------------------------------------

    def get_connection_status(self) -> ConnectionStatus:
        """Return CONNECTION_DISCONNECTED, CONNECTION_CONNECTING or CONNECTION_CONNECTED."""
        return self._status

    def get_unique_id(self) -> int:
        """Return our own id, 1 for a server.

        Raises:
            Unconfigured: there is none before create_server(), create_client() or create_mesh().
        """
        if self._role is _Role.NONE:
            raise Unconfigured(
                "there is no id yet: call create_server(), create_client() or create_mesh() first"
            )
        return self._unique_id

    def generate_unique_id(self) -> int:
        """Return an id by chance, 2 to 2,147,483,647."""
        while True:
            chosen = int.from_bytes(self._random_bytes(4), "little") & _LARGEST_ID
            if chosen > _SERVER:
                return chosen

    def set_refuse_new_connections(self, enable: bool) -> None:
        """Set `refuse_new_connections`."""
        self.refuse_new_connections = enable

    def is_refusing_new_connections(self) -> bool:
        """Return `refuse_new_connections`."""
        return self.refuse_new_connections

    def is_server_relay_supported(self) -> bool:
        """Tell whether clients reach each other through the server: in a mesh they do without."""
        return self._role in (_Role.SERVER, _Role.CLIENT)

    def __repr__(self) -> str:
        return f"<MultiplayerPeer {self._unique_id} {self._status.name}, {len(self._members)} peers>"

    # -- inside ------------------------------------------------------------------------------------

    def _start(self, role: _Role, peer_id: int, channels_config: Iterable[TransferMode | int]) -> Error:
        if not _is_within(peer_id, 1, _LARGEST_ID):
            raise InvalidParameter(f"peer_id {peer_id!r} is not a number from 1 to {_LARGEST_ID}")
        modes = _read_channels_config(channels_config)
        self.close()
        self._role, self._unique_id, self._extra_modes = role, peer_id, modes
        self._status = ConnectionStatus.CONNECTING if role is _Role.CLIENT else ConnectionStatus.CONNECTED
        return Error.OK

    def _check_peer_id(self, peer_id: int) -> None:
        if self._role is _Role.NONE:
            raise Unconfigured("call create_server(), create_client() or create_mesh() before add_peer()")
        if self._role is _Role.CLIENT and peer_id != _SERVER:
            raise InvalidParameter(f"a client has one peer, the server with id 1, not {peer_id!r}")
        if self._role is _Role.SERVER and peer_id == _SERVER:
            raise InvalidParameter("id 1 is this server's own: its clients have ids from 2 on")
        if not _is_within(peer_id, 1, _LARGEST_ID):
            raise InvalidParameter(f"peer_id {peer_id!r} is not a number from 1 to {_LARGEST_ID}")
        if peer_id == self._unique_id:
            raise InvalidParameter(f"id {peer_id} is our own: another peer has another one")

    def _member(self, peer_id: int) -> Member:
        try:
            return self._members[peer_id]
        except KeyError:
            raise InvalidParameter(f"there is no peer {peer_id!r}: has_peer() tells") from None

    def _remove(self, peer_id: int) -> None:
        """Forget a peer, close its connection, and let the next deliver() say that it is gone."""
        member = self._members.pop(peer_id)
        member.connection.close()
        if member.connection.get_connection_state() not in _ENDED:
            self._closing.append(member.connection)
        if member.is_connected:
            self._notices.add(self.peer_disconnected, peer_id)
        if self._role is _Role.CLIENT:
            self._status = ConnectionStatus.DISCONNECTED
        self._put = None
        if self._packets:
            self._packets = deque(inlet for inlet in self._packets if inlet not in member.inlets)

    def _collect(self) -> None:
        """Line up the packets that have come: in turn from each peer, lowest channel first."""
        lines: list[Iterator[Inlet]] = []
        for member in self._members.values():
            if member.is_connected:
                line = []
                for inlet in member.inlets:
                    count = inlet.count_fresh()
                    if count > 0:
                        line.append(repeat(inlet, count))
                    elif count < 0:
                        self._withdraw(inlet, -count)
                if line:
                    lines.append(chain.from_iterable(line))
        if len(lines) == 1:
            self._packets.extend(lines[0])
        elif lines:
            for turn in zip_longest(*lines):
                self._packets.extend(inlet for inlet in turn if inlet is not None)

    def _withdraw(self, inlet: Inlet, count: int) -> None:
        """Strike packets from the line that the application has taken from their channel itself."""
        kept: list[Inlet] = []
        for each in reversed(self._packets):
            if each is inlet and count:
                count -= 1
            else:
                kept.append(each)
        self._packets = deque(reversed(kept))


_OK = Error.OK
_MODES = tuple(TransferMode)


def _describe(member: Member) -> PeerInfo:
    return PeerInfo(
        connection=member.connection, connected=member.is_connected, channels=list(member.channels)
    )


def _is_within(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _read_channels_config(config: Iterable[TransferMode | int]) -> list[TransferMode]:
    given: Sequence[Any] = list(config)
    for number, mode in enumerate(given, 1):
        if not _is_within(mode, 0, 2):
            raise InvalidParameter(f"channel {number} of channels_config is {mode!r}, no TRANSFER_MODE_*")
    return [_MODES[mode] for mode in given]
