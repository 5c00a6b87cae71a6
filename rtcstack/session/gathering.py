"""How a session comes to its candidates and the peer's: sockets, STUN and TURN servers, names of mDNS."""

from __future__ import annotations

import math
from collections.abc import Callable

from rtcstack import ice
from rtcstack.log import Log
from rtcstack.sdp import CandidateLine
from rtcstack.session.candidates import from_line, to_line
from rtcstack.session.command import command
from rtcstack.session.events import (
    CandidateError,
    GatheringState,
    GatheringStateChanged,
    IceRestartProposed,
    LocalCandidate,
    SessionEvent,
)
from rtcstack.session.gatherer import Event as ServerEvent
from rtcstack.session.gatherer import (
    Gathered,
    Gatherer,
    Relayed,
    RelayLost,
    ServerFailed,
    ServerReflexive,
    StreamRequest,
)
from rtcstack.session.names import HiddenAddresses, NamedCandidates, is_local_name
from rtcstack.session.options import SessionOptions

__all__ = ["Address", "Gathering"]

Address = tuple[str, int]


class Gathering:
    """The ICE agent of a session and who feeds it; PeerTransport adds what runs over the path."""

    def __init__(self, random_bytes: Callable[[int], bytes], options: SessionOptions, tag: str) -> None:
        self.options = options
        self.tag = tag
        self._log = Log("session", tag)
        self.gathering_state = GatheringState.NEW
        self.deadline = math.inf
        self.woken: Callable[[], object] | None = None
        self._is_awake = False  # more than checks has happened since take_packets(): `deadline` is -inf
        self.wants_sockets = False
        self.drops = {
            "not_stun_or_dtls": 0,
            "unvalidated_source": 0,
            "early_overflow": 0,
            "unresolved_name": 0,
            "name_overflow": 0,
        }
        self._random_bytes = random_bytes
        self._agent: ice.Agent | None = None
        self._gatherer: Gatherer | None = None
        self._named = NamedCandidates(at_once=options.max_names_at_once, in_all=options.max_names)
        self._hidden = HiddenAddresses(random_bytes) if options.hide_addresses else None
        self._ended_remote_ufrag: str | None = None
        self._media = ("0", 0)  # identification and m-line index of our data section
        self._connects: list[tuple[Address, Address]] = []
        self._events: list[SessionEvent] = []

    def _pump(self) -> None:
        """Carry events from layer to layer until all is quiet; what it led to may leave at once."""
        raise NotImplementedError

    # -- what the driver offers and answers --------------------------------------------------------

    def _wake(self) -> None:
        """Say that there is something to send, or that timers may have moved."""
        self._is_awake = True
        self._wake_for_checks()

    def _wake_for_checks(self) -> None:
        """Say that ICE alone may have something to send, or have moved its timers."""
        self.deadline = -math.inf
        if self.woken is not None:
            self.woken()

    @property
    def local_credentials(self) -> tuple[str, str] | None:
        """Our ICE username fragment and password, which checks name and prove; a restart changes them."""
        return None if self._agent is None else (self._agent.ufrag, self._agent.password)

    @command
    def add_local_address(self, address: Address, interface: str = "", *, is_shared: bool = False) -> None:
        """Offer a bound UDP socket as a host candidate.

        address     (ip, port) that the socket is bound to.
        is_shared   other sessions have it too: see add_relay_address().
        """
        if self._agent is not None:
            self._agent.add_local_address(address, interface=interface)
        if self._gatherer is not None:
            self._gatherer.add_base(address, "mapped" if is_shared else "all")

    @property
    def wants_relay_address(self) -> bool:
        """Whether a TURN server is to be asked over UDP, for which a shared socket will not do."""
        return self._gatherer is not None and self._gatherer.wants_relay_over_udp

    @command
    def add_relay_address(self, address: Address) -> None:
        """Offer a bound UDP socket for TURN servers only, where those of add_local_address() are shared.

        A server tells its clients apart by their addresses: sessions that share a socket cannot have a relay
        each.
        Source: RFC 8656 section 5.
        """
        if self._gatherer is not None:
            self._gatherer.add_base(address, "relay")

    @command
    def remove_local_address(self, address: Address) -> None:
        """Note that a socket, or an address for TCP, is gone; other paths are looked for.

        Source: RFC 8445 section 5.1.1.4.
        """
        if self._gatherer is not None:
            self._gatherer.remove_base(address)
        self._withdraw(address, f"the local address {address[0]} is gone")

    @command
    def end_of_local_candidates(self) -> None:
        """Say that every socket has been offered."""
        if self._agent is not None and self.wants_sockets:
            self.wants_sockets = False
            if self._gatherer is not None:
                self._gatherer.end_of_bases()
            else:
                self._agent.end_of_local_candidates()

    @property
    def tcp_types(self) -> tuple[str, ...]:
        """Kinds of TCP candidates that add_tcp_address() is to be called for: "active", "passive"."""
        ice_options = self.options.ice
        if ice_options.relay_only:
            return ()
        return tuple(each for each in self.options.ice_tcp if each == "passive" or not ice_options.lite)

    @command
    def add_tcp_address(self, address: Address, tcp_type: str, interface: str = "") -> None:
        """Offer a TCP address as a host candidate.

        address     passive: of the listening socket, whose port no UDP socket of that IP address may have.
                    active: where connections can come from, with port 9; take_connects() asks for them.
        Source: RFC 6544 section 5.1.
        """
        if self._agent is not None:
            self._agent.add_tcp_local(
                address, "active" if tcp_type == "active" else "passive", interface=interface
            )

    @property
    def asks_connections(self) -> bool:
        """Whether take_connects() has something."""
        return bool(self._connects)

    def take_connects(self) -> list[tuple[Address, Address]]:
        """Hand over connections to be opened to the peer: (our active candidate, the peer's address).

        Then: tcp_opened() or tcp_closed(). What comes by it, without its framing, goes to receive() and what
        is to leave by it comes from take_packets(), with these two addresses.
        """
        connects, self._connects = self._connects, []
        return connects

    @command
    def tcp_opened(self, local: Address, remote: Address, now: float) -> None:
        """Note that a connection of take_connects() is there."""
        if self._agent is not None:
            self._agent.tcp_connected(local, remote, now)

    @command
    def tcp_closed(self, local: Address, remote: Address, now: float) -> None:
        """Note that a connection with the peer could not be opened, or is gone."""
        if self._agent is not None:
            self._agent.tcp_closed(local, remote, now)

    def has_checked(self, local: Address, remote: Address) -> bool:
        """Tell whether a check has passed on a pair of addresses: a stranger's connection may be closed."""
        return self._agent is not None and self._agent.is_valid(local, remote)

    @property
    def asks_servers(self) -> bool:
        """Whether there are STUN or TURN servers: take_lookups() and take_stream_requests() need answers."""
        return self._gatherer is not None

    def take_lookups(self) -> list[str]:
        """Hand over names of servers to be resolved; resolved() takes the answers."""
        return self._gatherer.take_lookups() if self._gatherer is not None else []

    @command
    def resolved(self, host: str, addresses: list[str], reason: str) -> None:
        """Take the IP addresses of a server's name; none, and the reason, if it has none."""
        if self._gatherer is not None:
            self._gatherer.resolved(host, addresses, reason)

    @property
    def asks_mdns(self) -> bool:
        """Whether take_local_names() or take_hidden_addresses() has something."""
        return self._named.wants or (self._hidden is not None and self._hidden.wants)

    def take_local_names(self) -> list[str]:
        """Hand over mDNS names of the peer to be resolved; local_name_resolved() takes the answers."""
        return self._named.take()

    @command
    def local_name_resolved(self, name: str, addresses: list[str], reason: str) -> None:
        """Take the IP addresses of a name of mDNS; none, and the reason, if nobody has answered.

        Without an answer only this candidate is lost.
        Source: draft-ietf-mmusic-mdns-ice-candidates section 3.2.1.
        """
        agent = self._agent
        if agent is None:
            return
        if not addresses:
            self._log.debug("candidate %s is left out: %s", name, reason)
            self.drops["unresolved_name"] += 1
        for line, ufrag in self._named.resolved(name, addresses):
            agent.add_remote_candidate(from_line(line), ufrag=ufrag)
        if self._ended_remote_ufrag is not None and not self._named.is_pending:
            agent.end_of_remote_candidates(ufrag=self._ended_remote_ufrag)
            self._ended_remote_ufrag = None

    def take_hidden_addresses(self) -> list[tuple[str, str]]:
        """Hand over (name, address) of ours that mDNS is to answer for."""
        return self._hidden.take() if self._hidden is not None else []

    def take_stream_requests(self) -> list[StreamRequest]:
        """Hand over connections to servers to be opened; stream_opened() or stream_closed() answer.

        What arrives by one goes to receive() and what is to be sent comes from take_packets(), with its key
        for the local address.
        """
        return self._gatherer.take_stream_requests() if self._gatherer is not None else []

    @command
    def stream_opened(self, key: Address, now: float) -> None:
        """Note that a connection to a server is there."""
        if self._gatherer is not None:
            self._gatherer.stream_opened(key, now)

    @command
    def stream_closed(self, key: Address, reason: str, now: float) -> None:
        """Note that a connection to a server could not be opened, or is gone."""
        if self._gatherer is not None:
            self._gatherer.stream_closed(key, reason, now)

    # -- what the layers need ----------------------------------------------------------------------

    def _add_remote(self, agent: ice.Agent, line: CandidateLine, ufrag: str) -> None:
        """Hand the agent a candidate of the peer, at once or when its name is resolved."""
        lines: list[CandidateLine] | None = [line]
        # Who hides behind a relay asks nothing of the local network.
        if is_local_name(line.address) and not self.options.ice.relay_only:
            lines = self._named.add(line, ufrag)
        if lines is None:
            self.drops["name_overflow"] += 1
            return
        for found in lines:
            agent.add_remote_candidate(from_line(found), ufrag=ufrag)

    def _end_remote(self, agent: ice.Agent, ufrag: str) -> None:
        """Tell the agent that the peer has no more candidates, as soon as every name is resolved."""
        if self._named.is_pending:
            self._ended_remote_ufrag = ufrag
        else:
            agent.end_of_remote_candidates(ufrag=ufrag)

    def _describe(self, candidate: ice.Candidate, ufrag: str) -> CandidateLine:
        line = to_line(candidate, ufrag)
        return line if self._hidden is None else self._hidden.hide(line)

    def _start_ice(self, *, controlling: bool) -> ice.Agent:
        options = self.options
        self._agent = ice.Agent(
            controlling=controlling, random_bytes=self._random_bytes, options=options.ice, tag=self.tag
        )
        if options.servers:
            self._gatherer = Gatherer(
                options.servers,
                random_bytes=self._random_bytes,
                options=options.turn,
                wants_reflexive=not options.ice.relay_only,
                tag=self.tag,
            )
        return self._agent

    def _announce_again(self) -> None:
        """Bring every candidate once more: who ignored the description ignored its candidates, too."""
        state = self.gathering_state
        if self._agent is None or state is GatheringState.NEW:
            return
        self._set_gathering_state(GatheringState.GATHERING)
        for candidate in self._agent.told_candidates:
            line = self._describe(candidate, self._agent.ufrag).write()
            self._events.append(LocalCandidate(*self._media, line))
        if state is GatheringState.COMPLETE:
            self._set_gathering_state(GatheringState.COMPLETE)

    def _gather_again(self, agent: ice.Agent) -> None:
        """Announce our candidates under fresh credentials, and see whether servers see us elsewhere now."""
        if self._gatherer is not None:
            self._gatherer.ask_again()
        if self.gathering_state is GatheringState.COMPLETE:
            self._set_gathering_state(GatheringState.GATHERING)
            if self._gatherer is None or self._gatherer.is_done:
                agent.end_of_local_candidates()

    def _withdraw(self, address: Address, why: str) -> None:
        """Take a base from the agent; where data has left from it, a restart would help."""
        agent = self._agent
        if agent is not None:
            selected = agent.selected
            agent.remove_local(address)
            if selected is not None and selected.local_address == address:
                self._events.append(IceRestartProposed(why))

    def _on_server(self, event: ServerEvent) -> None:
        agent = self._agent
        assert agent is not None
        match event:
            case ServerReflexive(base, mapped, server):
                # A mapping that changes after gathering is found by checks, as a peer-reflexive candidate.
                is_known = any(each.base == base and each.type == "srflx" for each in agent.told_candidates)
                if self.gathering_state is GatheringState.GATHERING or not is_known:
                    agent.add_reflexive(base, mapped, server=server)
            case Relayed(relayed, mapped, server, protocol):
                agent.add_relayed(relayed, mapped, server=server, protocol=protocol)
            case RelayLost(relayed, reason):
                self._log.debug("relay %s is gone: %s", relayed, reason)
                self._withdraw(relayed, f"the relay {relayed[0]} is gone: {reason}")
            case ServerFailed(url, local, code, reason):
                self._events.append(CandidateError(url, local, code, reason))
            case Gathered():
                agent.end_of_local_candidates()

    def _set_gathering_state(self, state: GatheringState) -> None:
        if state is not self.gathering_state:
            self.gathering_state = state
            self._events.append(GatheringStateChanged(state))
