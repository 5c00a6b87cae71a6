"""Godot's SceneMultiplayer: remote calls, raw packets, authentication and relay, over a MultiplayerPeer."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

from rtcstack.errors import Error, InvalidParameter, InvalidState, RTCError, Unconfigured, WireError
from rtcstack.multiplayer import scene_wire as wire
from rtcstack.multiplayer.modes import ConnectionStatus, TransferMode
from rtcstack.multiplayer.notices import Notices
from rtcstack.multiplayer.peer import MultiplayerPeer
from rtcstack.multiplayer.remote import (
    Node,
    RemoteMethod,
    RpcConfig,
    RpcMode,
    explain_difference,
    read_rpc_config,
)
from rtcstack.multiplayer.replication import Despawn, Spawn, Sync, read_despawn, read_spawn, read_sync
from rtcstack.multiplayer.roster import EarlyPackets, Roster
from rtcstack.multiplayer.scene_wire import Command, SysCommand
from rtcstack.multiplayer.tree import Tree
from rtcstack.peer import PeerConnection, Signal, poll

__all__ = [
    "Despawn",
    "Node",
    "RemoteMethod",
    "RpcConfig",
    "RpcMode",
    "SceneMultiplayer",
    "Spawn",
    "Sync",
    "rpc",
]

_logger = logging.getLogger("rtcstack.multiplayer")

_SERVER = 1
_LARGEST_ID = 0x7FFF_FFFF
_RELIABLE = TransferMode.RELIABLE
_MOST_RELAYED_PEERS = 4096
"""Peers that a server may announce."""
_MOST_EXPLANATIONS = 16
"""Differing method lists of one peer that are explained: it costs more than the packet that shows them."""

_MARK = "__rtcstack_rpc__"


def rpc(
    mode: Literal["authority", "any_peer"] = "authority",
    *,
    call_local: bool = False,
    transfer_mode: Literal["reliable", "unreliable", "unreliable_ordered"] = "reliable",
    channel: int = 0,
) -> Callable[[Callable[..., object]], Any]:
    """Mark a method of a class as remote, as @rpc does in GDScript; SceneMultiplayer.add() takes it up.

    Raises:
        InvalidParameter: an argument is not allowed.
    """
    config = read_rpc_config(mode, call_local=call_local, transfer_mode=transfer_mode, channel=channel)

    def mark(function: Callable[..., object]) -> Callable[..., object]:
        setattr(function, _MARK, config)
        return function

    return mark


class SceneMultiplayer:
    """The protocol that Godot 4.3 and later games speak over a MultiplayerPeer.

        scene = SceneMultiplayer(game)

        @scene.rpc("any_peer", call_local=True)     # on the root node, or path="Main/Player"
        def ping(number: float):
            print(scene.get_remote_sender_id(), number)

        ping.rpc(0.5)                               # calls it on all peers
        while True:
            scene.poll(0.1)

    peer            what carries the packets; may be set later as `multiplayer_peer`.
    root_path       absolute path of the node that the paths of others are relative to.
    godot_version   (4, 2) for a game of Godot 4.0 to 4.2, which confirms paths in another form.  With (4, 3)
                    the form of each peer is learnt from its first confirmation.
    clock           gives seconds, for the time-out of authentication.

    Signals, from poll() only:
      peer_connected(id), peer_disconnected(id)     a peer is there, directly or through the server; is gone
      connected_to_server(), connection_failed(), server_disconnected()    for a client
      peer_authenticating(id)                       a peer waits for send_auth() and complete_auth()
      peer_authentication_failed(id)                it did not get through, or is gone
      peer_packet(id, packet)                       bytes from send_bytes()
      spawned(event), despawned(event), synchronized(event)    Spawn, Despawn, Sync of a replicated scene
      methods_differ(id, explanation)               a peer has other remote methods on a node than we have

    Nothing that comes from the network raises out of poll(): what cannot be used is counted in `dropped`, by
    its reason.  What a remote method or a callback raises does come out; the next poll() goes on behind it.

    Source: Godot's SceneMultiplayer; docs/multiplayer.md says where it is better to differ.
    """

    RPC_MODE_DISABLED = RpcMode.DISABLED
    RPC_MODE_ANY_PEER = RpcMode.ANY_PEER
    RPC_MODE_AUTHORITY = RpcMode.AUTHORITY

    def __init__(
        self,
        peer: MultiplayerPeer | None = None,
        *,
        root_path: str = "/root",
        godot_version: tuple[int, int] = (4, 3),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notices = Notices()
        self._roster = roster = Roster(self._notices, True if godot_version < (4, 3) else None)
        self.peer_connected = roster.peer_connected
        self.peer_disconnected = roster.peer_disconnected
        self.connected_to_server = roster.connected_to_server
        self.peer_authenticating = roster.peer_authenticating
        self.peer_authentication_failed = roster.peer_authentication_failed
        self.connection_failed: Signal[()] = Signal("connection_failed")
        self.server_disconnected: Signal[()] = Signal("server_disconnected")
        self.peer_packet: Signal[int, bytes] = Signal("peer_packet")
        self.spawned: Signal[Spawn] = Signal("spawned")
        self.despawned: Signal[Despawn] = Signal("despawned")
        self.synchronized: Signal[Sync] = Signal("synchronized")
        self.methods_differ: Signal[int, str] = Signal("methods_differ")
        self.auth_callback: Callable[[int, bytes], object] | None = None
        """Is given (id, data) of a peer that wants in; while it is set, peers have to authenticate."""
        self.auth_timeout = 3.0
        """Seconds that a peer has for it; 0 for no limit."""
        self.allow_object_decoding = False
        """Whether arguments may be whole objects, as EncodedObject."""
        self.server_relay = True
        """Whether clients reach each other through the server: at the server, and at a client."""
        self.dropped: Counter[str] = Counter()
        """Packets that could not be used, by reason."""
        self._tree = Tree(root_path)
        self._clock = clock
        self._peer: MultiplayerPeer | None = None
        self._status = ConnectionStatus.DISCONNECTED
        self._is_client = False
        self._is_delivering = False
        self._sender = 0
        self._cache_ids: dict[str, int] = {}
        self._players = roster.players
        self._early = EarlyPackets()
        self._on_command: tuple[Callable[[int, bytes], None], ...] = (
            self._on_remote_call,
            self._on_simplify_path,
            self._on_confirm_path,
            self._on_raw,
            self._on_spawn,
            self._on_despawn,
            self._on_sync,
        )
        if peer is not None:
            self.multiplayer_peer = peer

    # -- nodes and methods -------------------------------------------------------------------------

    def node(self, path: str) -> Node:
        """Give the node at a path, relative to the root path or absolute; it is made when first asked for.

        Raises:
            InvalidParameter: the path is empty or leads out of the tree.
        """
        return self._tree.node(path, partial(Node, self))

    def add(self, path: str, target: object) -> Node:
        """Put an object at a path: its methods that are marked with rpc() become remote methods there.

        Raises:
            InvalidParameter: it has no such methods, or the node has one of that name.
        """
        node = self.node(path)
        marked = [name for name in dir(type(target)) if hasattr(getattr(type(target), name, None), _MARK)]
        if not marked:
            raise InvalidParameter(f"{target!r} has no method that is marked with rpc()")
        for name in marked:
            method = getattr(target, name)
            node.add(name, getattr(method, _MARK), method)
        return node

    def rpc(
        self,
        mode: Literal["authority", "any_peer"] = "authority",
        *,
        call_local: bool = False,
        transfer_mode: Literal["reliable", "unreliable", "unreliable_ordered"] = "reliable",
        channel: int = 0,
        path: str = ".",
    ) -> Callable[[Callable[..., object]], Any]:
        """Make a function a remote method of the node at `path`, or mark a method of a class for add().

        mode            who may call it: the authority of the node, or any peer.
        call_local      whether a call also runs it here.
        transfer_mode   how calls travel.
        channel         transfer channel that they travel by.

        Returns a decorator: of a function it makes a RemoteMethod, with rpc() and rpc_id().

        Raises:
            InvalidParameter: an argument is not allowed, or the node has a method of this name.
        """
        config = read_rpc_config(mode, call_local=call_local, transfer_mode=transfer_mode, channel=channel)

        def take(function: Callable[..., object]) -> Any:
            owner = function.__qualname__.rpartition(".")[0]
            if owner and not owner.endswith("<locals>"):
                setattr(function, _MARK, config)
                return function
            return self.node(path).add(function.__name__, config, function)

        return take

    def call(self, peer_id: int, method: RemoteMethod, arguments: Sequence[Any]) -> Error:
        """Call a remote method on other peers, and here if it is a call_local one.

        peer_id     one peer; 0 for all; negative for all but that one.

        Raises:
            Unconfigured: there is no multiplayer peer, or it is not connected (ERR_CONNECTION_ERROR).
            Closed, MessageTooLarge, Full: as of DataChannel.put_packet(); all other peers were called.
            InvalidParameter: there is no such peer, it is our own and the method not a call_local one, or
                there are more than 255 arguments.
            VariantError: an argument cannot be sent.
        """
        peer = self._connected_peer(Error.ERR_CONNECTION_ERROR)
        own = peer.get_unique_id()
        config, node = method.config, method.node
        if peer_id == own and not config.call_local:
            raise InvalidParameter(
                f"{method.name} of {node.path!r} is not call_local: it cannot be called on ourselves"
            )
        if peer_id > 0 and peer_id not in (own, *self._players):
            raise InvalidParameter(f"peer {peer_id} is not connected: get_peers() lists those that are")
        encoded = wire.write_arguments(arguments)
        if peer_id > 0:
            targets = [peer_id] if peer_id != own else []
        else:
            targets = [each for each in self._players if each != -peer_id]
        failure = self._send_call(method, encoded, targets)
        if config.call_local and (peer_id in (0, own) or (peer_id < 0 and peer_id != -own)):
            self._run(method, arguments, own)
        if failure is not None:
            raise failure
        return Error.OK

    def _send_call(
        self, method: RemoteMethod, encoded: tuple[bool, bytes], targets: list[int]
    ) -> RTCError | None:
        """Send a call to each target, also where one fails.  Returns what went wrong first."""
        node, config = method.node, method.config
        path, method_id = node.path, method.id
        cache_id = self._cache_ids.get(path)
        if cache_id is None:
            cache_id = self._cache_ids[path] = len(self._cache_ids) + 1
        caches = [(each, self._players[each].paths) for each in targets]
        failure: RTCError | None = None
        for target, paths in caches:
            if not paths.is_announced(cache_id):
                try:
                    self._send(target, wire.write_simplify_path(node.checksum, cache_id, path))
                    paths.announce(cache_id, path)
                except RTCError as error:
                    failure = failure or error
        are_all_told = all([paths.is_confirmed(cache_id) for _, paths in caches])  # noqa: C419 - faster
        short = full = b""
        for target, paths in caches:
            if paths.is_confirmed(cache_id):
                packet = short = short or wire.write_remote_call(
                    cache_id, method_id, encoded, is_wide=not are_all_told
                )
            else:
                packet = full = full or wire.write_remote_call(path, method_id, encoded)
            try:
                self._send(target, packet, config.transfer_mode, config.channel)
            except RTCError as error:
                failure = failure or error
        return failure

    def _run(self, method: RemoteMethod, arguments: Iterable[Any], sender: int) -> None:
        before, self._sender = self._sender, sender
        try:
            method(*arguments)
        finally:
            self._sender = before

    # -- packets -----------------------------------------------------------------------------------

    def send_bytes(
        self, bytes: bytes, id: int = 0, mode: TransferMode | int = TransferMode.RELIABLE, channel: int = 0
    ) -> Error:
        """Send bytes, which emit peer_packet there.

        id      one peer; 0 for all; negative for all but that one.

        Raises:
            RTCError: bytes is empty (ERR_INVALID_DATA), there is no such peer (ERR_BUG).
            Unconfigured: we are not connected.
            InvalidParameter: mode or channel do not exist.
            Closed, MessageTooLarge, Full: as of DataChannel.put_packet().
        """
        if not bytes:
            raise InvalidParameter("no bytes to send: at least one is needed", Error.ERR_INVALID_DATA)
        self._connected_peer()
        if mode not in (0, 1, 2):
            raise InvalidParameter(f"mode {mode!r} is none of the TRANSFER_MODE_* constants")
        if not -_LARGEST_ID <= id <= _LARGEST_ID:
            raise InvalidParameter(f"id {id} does not fit in 32 bits")
        is_known = id in self._players or (self._relays and id != self.get_unique_id())
        if id > 0 and not is_known:
            raise InvalidParameter(
                f"peer {id} is not connected: get_peers() lists those that are", Error.ERR_BUG
            )
        self._send(id, b"\x03" + bytes, TransferMode(mode), channel)
        return Error.OK

    def send_auth(self, id: int, data: bytes) -> Error:
        """Send data to the auth_callback of a peer that is authenticating.

        Raises:
            Unconfigured: we are not connected.
            InvalidParameter: the peer is not authenticating, or data is empty.
            InvalidState: we or the peer have completed it already (ERR_FILE_CANT_WRITE).
        """
        self._connected_peer()
        pending = self._roster.find_pending(id)
        if not data:
            raise InvalidParameter("no data to send: at least one byte is needed")
        if pending.is_local_done or pending.is_remote_done:
            raise InvalidState(
                f"the authentication of peer {id} is complete on one side already", Error.ERR_FILE_CANT_WRITE
            )
        self._send_directly(id, b"\x07\x00" + data)
        return Error.OK

    def complete_auth(self, id: int) -> Error:
        """Accept a peer; it is connected when it has accepted us too.

        Raises:
            Unconfigured: we are not connected.
            InvalidParameter: the peer is not authenticating.
            InvalidState: we have completed it already (ERR_FILE_CANT_WRITE).
        """
        self._connected_peer()
        pending = self._roster.find_pending(id)
        if pending.is_local_done:
            raise InvalidState(
                f"the authentication of peer {id} is complete already", Error.ERR_FILE_CANT_WRITE
            )
        self._send_directly(id, b"\x07\x00")
        pending.is_local_done = True
        if pending.is_remote_done:
            self._admit(id)
        return Error.OK

    def disconnect_peer(self, id: int) -> None:
        """Close the connection to a peer; a later poll() emits peer_disconnected.

        Raises:
            Unconfigured: there is no multiplayer peer.
            InvalidParameter: there is no such peer, or it is reached through the server only.
        """
        if self._peer is None:
            raise Unconfigured("there is no multiplayer peer: set multiplayer_peer")
        self._peer.disconnect_peer(id)

    # -- looking at it -----------------------------------------------------------------------------

    @property
    def multiplayer_peer(self) -> MultiplayerPeer | None:
        """What carries the packets.  Another one, or None, starts anew, with the peers that it has."""
        return self._peer

    @multiplayer_peer.setter
    def multiplayer_peer(self, peer: MultiplayerPeer | None) -> None:
        if peer is self._peer:
            return
        if peer is not None and peer.get_connection_status() is ConnectionStatus.DISCONNECTED:
            raise Unconfigured(
                "the peer is DISCONNECTED: create_server(), create_client() or create_mesh() first"
            )
        if self._peer is not None:
            self._peer.peer_connected.disconnect(self._on_connected)
            self._peer.peer_disconnected.disconnect(self._on_disconnected)
            self.clear()
        self._peer = peer
        self._status = ConnectionStatus.DISCONNECTED
        if peer is not None:
            self._status = peer.get_connection_status()
            self._is_client = _is_client(peer)
            peer.peer_connected.connect(self._on_connected)
            peer.peer_disconnected.connect(self._on_disconnected)
            for peer_id, info in peer.get_peers().items():
                if info["connected"]:
                    self._on_connected(peer_id)

    def has_multiplayer_peer(self) -> bool:
        """Tell whether there is a multiplayer peer."""
        return self._peer is not None

    def get_unique_id(self) -> int:
        """Return our own id; 1 without a multiplayer peer.

        Raises:
            Unconfigured: the multiplayer peer was closed.
        """
        return _SERVER if self._peer is None else self._peer.get_unique_id()

    def is_server(self) -> bool:
        """Tell whether our id is 1."""
        return self.get_unique_id() == _SERVER

    def get_peers(self) -> list[int]:
        """List the peers that are connected, directly or through the server."""
        return list(self._players)

    def get_authenticating_peers(self) -> list[int]:
        """List the peers that are not admitted yet."""
        return list(self._roster.pending)

    def get_remote_sender_id(self) -> int:
        """Return who has called, while a remote method runs; 0 otherwise."""
        return self._sender

    @property
    def refuse_new_connections(self) -> bool:
        """Whether the multiplayer peer refuses everybody."""
        return self._peer is not None and self._peer.refuse_new_connections

    @refuse_new_connections.setter
    def refuse_new_connections(self, refuse: bool) -> None:
        if self._peer is None:
            raise Unconfigured("there is no multiplayer peer: set multiplayer_peer")
        self._peer.refuse_new_connections = refuse

    def clear(self) -> None:
        """Forget all peers, and what they know of our paths; the next poll() emits peer_disconnected."""
        self._roster.clear()
        self._cache_ids.clear()
        self._early.clear()

    # -- driving -----------------------------------------------------------------------------------

    def poll(self, timeout: float = 0.0) -> Error:
        """Poll the multiplayer peer, take its packets, run remote methods and deliver signals.

        timeout     seconds to wait for something to happen, if nothing has yet; 0 never waits.
        """
        poll((self,), timeout)
        return Error.OK

    def connections(self) -> list[PeerConnection]:
        """List the connections that poll() serves."""
        return [] if self._peer is None else self._peer.connections()

    def due_in(self) -> float:
        """Tell for how long poll() may wait."""
        if self._peer is None:
            return math.inf
        if self._notices or self._peer.get_available_packet_count():
            return 0.0
        deadline = self._roster.deadline
        left = math.inf if deadline == math.inf else max(0.0, deadline - self._clock())
        return min(self._peer.due_in(), left)

    def deliver(self) -> None:
        """Do what follows from what the connections have received; rtcstack.poll() calls it."""
        peer = self._peer
        if peer is None or self._is_delivering:
            return
        self._is_delivering = True
        try:
            # Left from a poll() that an exception has ended, or of a peer that was polled on its own.
            self._take_packets(peer)
            peer.deliver()
            self._take_packets(peer)
            self._check_authentication(peer)
            self._check_status(peer)
            self._notices.deliver()
        finally:
            self._is_delivering = False

    def _take_packets(self, peer: MultiplayerPeer) -> None:
        notices = self._notices
        notices.deliver()
        while peer is self._peer and peer.get_available_packet_count():
            sender = peer.get_packet_peer()
            mode, channel = peer.get_packet_mode(), peer.get_packet_channel()
            packet = peer.get_packet()
            try:
                self._receive(sender, packet, mode, channel)
            except WireError as error:
                self._drop(sender, str(error))
            notices.deliver()

    def _receive(self, sender: int, packet: bytes, mode: TransferMode, channel: int) -> None:
        if not packet:
            raise WireError("an empty packet")
        command = packet[0] & 7
        if command == Command.SYS:
            self._on_sys(sender, packet, mode, channel)
        elif sender in self._players:
            self._on_command[command](sender, packet)
        else:
            raise WireError("a packet of a peer that is not admitted")

    def _check_authentication(self, peer: MultiplayerPeer) -> None:
        if self._roster.deadline == math.inf:
            return
        now = self._clock()
        for peer_id, pending in list(self._roster.pending.items()):
            if pending.deadline <= now:
                self._roster.forget(peer_id)
                if peer.has_peer(peer_id):
                    peer.disconnect_peer(peer_id)

    def _check_status(self, peer: MultiplayerPeer) -> None:
        before, self._status = self._status, peer.get_connection_status()
        if self._status is not ConnectionStatus.DISCONNECTED:
            self._is_client = _is_client(peer)
            return
        if before is ConnectionStatus.DISCONNECTED:
            return
        self.clear()
        if before is ConnectionStatus.CONNECTING:
            self._notices.add(self.connection_failed)
        elif self._is_client:
            self._notices.add(self.server_disconnected)

    # -- who is there ------------------------------------------------------------------------------

    def _on_connected(self, peer_id: int) -> None:
        if peer_id in self._roster:
            return  # taken over when the multiplayer peer was set, before its signal has come
        # Also if the peer was polled on its own, and is lost again by the next poll() of the scene.
        self._status = ConnectionStatus.CONNECTED
        if self.auth_callback is None:
            self._admit(peer_id)
            return
        deadline = self._clock() + self.auth_timeout if self.auth_timeout > 0 else math.inf
        self._roster.ask(peer_id, deadline)

    def _on_disconnected(self, peer_id: int) -> None:
        was_admitted = peer_id in self._players
        self._roster.forget(peer_id)
        if was_admitted and self._is_relaying_server:
            for other in self._players:
                self._send_quietly(other, wire.write_sys(SysCommand.DEL_PEER, peer_id))
        if peer_id == _SERVER and self._is_client:
            for other in list(self._players):
                self._roster.forget(other)

    def _admit(self, peer_id: int) -> None:
        if self._is_relaying_server:
            for other in self._players:
                self._send_quietly(other, wire.write_sys(SysCommand.ADD_PEER, peer_id))
                self._send_quietly(peer_id, wire.write_sys(SysCommand.ADD_PEER, other))
        self._roster.admit(peer_id)

    @property
    def _is_relaying_server(self) -> bool:
        peer = self._peer
        return (
            self.server_relay
            and peer is not None
            and peer.is_server_relay_supported()
            and peer.get_unique_id() == _SERVER
        )

    @property
    def _relays(self) -> bool:
        """Whether we reach other clients through the server."""
        return self.server_relay and self._peer is not None and _is_client(self._peer)

    # -- packets out -------------------------------------------------------------------------------

    def _connected_peer(self, code: Error = Error.ERR_UNCONFIGURED) -> MultiplayerPeer:
        if self._peer is None:
            raise Unconfigured("there is no multiplayer peer: set multiplayer_peer")
        status = self._peer.get_connection_status()
        if status is not ConnectionStatus.CONNECTED:
            raise Unconfigured(f"the multiplayer peer is {status.name}: wait for connected_to_server", code)
        return self._peer

    def _send(self, peer_id: int, packet: bytes, mode: TransferMode = _RELIABLE, channel: int = 0) -> None:
        """Send a packet to one peer, all, or all but one, where needed through the server."""
        if self._relays and peer_id != _SERVER:
            self._send_directly(_SERVER, wire.write_sys(SysCommand.RELAY, peer_id, packet), mode, channel)
        elif peer_id > 0:
            self._send_directly(peer_id, packet, mode, channel)
        else:
            failure: RTCError | None = None
            for other in self._players:
                if other != -peer_id:
                    try:
                        self._send_directly(other, packet, mode, channel)
                    except RTCError as error:
                        failure = failure or error
            if failure is not None:
                raise failure

    def _send_directly(
        self, peer_id: int, packet: bytes, mode: TransferMode = _RELIABLE, channel: int = 0
    ) -> None:
        peer = self._connected_peer()
        peer.set_target_peer(peer_id)
        peer.transfer_mode = mode
        peer.transfer_channel = channel
        peer.put_packet(packet)

    def _send_quietly(
        self, peer_id: int, packet: bytes, mode: TransferMode = _RELIABLE, channel: int = 0
    ) -> None:
        """Send what the protocol asks for: whether a peer can take it is not the application's business."""
        try:
            self._send(peer_id, packet, mode, channel)
        except RTCError as error:
            self._drop(peer_id, f"nothing could be sent to it: {error}", "not sent")

    # -- packets in --------------------------------------------------------------------------------

    def _drop(self, peer_id: int, why: str, reason: str = "") -> None:
        self.dropped[reason or why.partition(":")[0]] += 1
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("peer %d: %s", peer_id, why)

    def _on_remote_call(self, sender: int, packet: bytes) -> None:
        call = wire.read_remote_call(packet, self.allow_object_decoding)
        if call.cache_id is not None:
            node = self._players[sender].paths.node(call.cache_id)
        else:
            node = self._tree.find(call.path or "")
        if node is None:
            raise WireError(f"a call of an unknown node: {call.path or call.cache_id}")
        method = node.by_id(call.method_id)
        if method is None or method.function is None:
            raise WireError(f"a call of an unknown method: {call.method_id} of {node.path}")
        mode = method.config.rpc_mode
        if mode is not RpcMode.ANY_PEER and (mode is RpcMode.DISABLED or sender != node.authority):
            raise WireError(f"a call that is not allowed: {method.name} of {node.path}")
        unfit = method.fit(call.arguments)
        if unfit:
            raise WireError(f"a call with wrong arguments: {method.name} of {node.path} {unfit}")
        self._notices.call(partial(self._run, method, call.arguments, sender))

    def _on_simplify_path(self, sender: int, packet: bytes) -> None:
        checksum, cache_id, path = wire.read_simplify_path(packet)
        node = self._tree.find(path)
        paths = self._players[sender].paths
        if not paths.learn(cache_id, path, node):
            raise WireError("a path with a number that is taken, or one too many")
        if node is None:
            raise WireError(f"a path of an unknown node: {path}")
        is_right = checksum == node.checksum
        self._send_quietly(
            sender, wire.write_confirm_path(is_right, path if paths.has_old_form else cache_id)
        )
        if not is_right:
            self._explain(sender, node, checksum)

    def _on_confirm_path(self, sender: int, packet: bytes) -> None:
        confirmed = wire.read_confirm_path(packet)
        path = self._players[sender].paths.confirm(confirmed.cache_id, confirmed.path)
        if path is None:
            raise WireError("a confirmation of what was not announced")
        if not confirmed.is_right:
            self._explain(sender, self.node(path), "")

    def _explain(self, peer_id: int, node: Node, checksum: str) -> None:
        """Tell that a peer has other methods on a node, once for what is known of it."""
        explained = self._players[peer_id].explained
        key = f"{node.path} {checksum}"
        if key in explained or len(explained) >= _MOST_EXPLANATIONS:
            return
        explained.add(key)
        known = {name for each in self._tree for name in each.names}
        text = explain_difference(node, checksum, known)
        _logger.warning("peer %d, %s", peer_id, text)
        self._notices.add(self.methods_differ, peer_id, text)

    def _on_raw(self, sender: int, packet: bytes) -> None:
        if len(packet) < 2:
            raise WireError("raw bytes of no length")
        self._notices.add(self.peer_packet, sender, packet[1:])

    def _on_spawn(self, sender: int, packet: bytes) -> None:
        spawn = read_spawn(sender, packet, self._players[sender].paths.path)
        node = self._tree.find(spawn.spawner)
        if sender != (_SERVER if node is None else node.authority):
            raise WireError(f"a spawn that is not allowed: by {spawn.spawner}")
        self._notices.add(self.spawned, spawn)

    def _on_despawn(self, sender: int, packet: bytes) -> None:
        self._notices.add(self.despawned, read_despawn(sender, packet))

    def _on_sync(self, sender: int, packet: bytes) -> None:
        player = self._players[sender]
        sync = read_sync(sender, packet, player.paths.path)
        if sync.time is not None:
            # Times wrap: what is older by less than half the circle has been overtaken.
            if player.last_sync is not None and 0 < (player.last_sync - sync.time & 0xFFFF) < 0x7FFF:
                raise WireError("a sync that has been overtaken")
            player.last_sync = sync.time
        self._notices.add(self.synchronized, sync)

    def _on_sys(self, sender: int, packet: bytes, mode: TransferMode, channel: int) -> None:
        kind = packet[1] if len(packet) > 1 else -1
        if kind == SysCommand.AUTH:
            self._on_auth(sender, packet[2:])
            return
        if sender not in self._players:
            raise WireError("a packet of a peer that is not admitted")
        peer_id = wire.read_number(packet, 2, signed=True)
        if kind == SysCommand.RELAY:
            inner = packet[6:]
            if not inner or inner[0] & 7 == Command.SYS:
                raise WireError("a relayed packet that is empty or may not be relayed")
            if self._is_relaying_server:
                self._forward(sender, peer_id, inner, mode, channel)
            elif self._relays and sender == _SERVER:
                self._on_relayed(peer_id, inner)
            else:
                raise WireError("a relayed packet where there is no relay")
        elif not self._relays or sender != _SERVER:
            raise WireError("a notice of the relay from somebody else")
        elif kind == SysCommand.ADD_PEER:
            self._on_add_peer(peer_id)
        elif kind == SysCommand.DEL_PEER:
            self._on_del_peer(peer_id)
        else:
            raise WireError("an unknown system packet")

    def _on_auth(self, sender: int, data: bytes) -> None:
        pending = self._roster.pending.get(sender)
        if pending is None:
            # A peer that is done says so to everybody, also to those who do not ask.
            if data or sender not in self._players:
                raise WireError("authentication of a peer that is not authenticating")
        elif not data:
            pending.is_remote_done = True
            if pending.is_local_done:
                self._admit(sender)
        elif self.auth_callback is not None:
            self._notices.call(partial(self.auth_callback, sender, data))

    def _forward(self, source: int, peer_id: int, inner: bytes, mode: TransferMode, channel: int) -> None:
        """Relay a packet of a client, and take it ourselves if it is for all."""
        relayed = wire.write_sys(SysCommand.RELAY, source, inner)
        if peer_id > 0:
            if peer_id not in self._players:
                raise WireError("a packet for a peer that is not there")
            self._send_quietly(peer_id, relayed, mode, channel)
            return
        for other in self._players:
            if other not in (source, -peer_id):
                self._send_quietly(other, relayed, mode, channel)
        if peer_id != -_SERVER:
            self._on_command[inner[0] & 7](source, inner)

    def _on_relayed(self, source: int, inner: bytes) -> None:
        if source in self._players:
            self._on_command[inner[0] & 7](source, inner)
        elif source == self.get_unique_id():
            raise WireError("a relayed packet of our own")
        elif not self._early.keep(source, inner):
            raise WireError("a packet too many of peers that were not announced")

    def _on_add_peer(self, peer_id: int) -> None:
        is_new = peer_id > _SERVER and peer_id not in self._players and peer_id != self.get_unique_id()
        if not is_new or len(self._players) >= _MOST_RELAYED_PEERS:
            raise WireError("a peer that cannot be announced")
        self._roster.admit(peer_id, is_relayed=True)
        for inner in self._early.take(peer_id):
            try:
                self._on_relayed(peer_id, inner)
            except WireError as error:
                self._drop(peer_id, str(error))

    def _on_del_peer(self, peer_id: int) -> None:
        player = self._players.get(peer_id)
        if player is None or not player.is_relayed:
            raise WireError("the end of a peer that was not announced")
        self._roster.forget(peer_id)


def _is_client(peer: MultiplayerPeer) -> bool:
    return peer.is_server_relay_supported() and peer.get_unique_id() != _SERVER
