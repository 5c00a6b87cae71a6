"""The sans-IO ICE agent: commands, dispatch, restarts, and what they amount to (RFC 8445, 8838)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from rtcstack import stun
from rtcstack.errors import InvalidParameter, InvalidState, WireError
from rtcstack.ice.candidate import Candidate, normalize
from rtcstack.ice.consent import Consent
from rtcstack.ice.events import (
    Drops,
    EndOfLocalCandidates,
    Event,
    IceState,
    LocalCandidate,
    PairSelected,
    StateChanged,
    Stats,
    TcpConnect,
)
from rtcstack.ice.generation import Generation
from rtcstack.ice.local_end import LocalEnd
from rtcstack.ice.options import Options
from rtcstack.ice.pair import Pair
from rtcstack.ice.report import Report, make_report
from rtcstack.log import Log
from rtcstack.stun import Address, Message, MessageClass

__all__ = ["Agent"]


_DEFAULTS = Options()
_GRACE = 3.0
"""Seconds for which the old generation is answered once the new one has a nominated pair (RFC 8445 section
8.3.1)."""


class Agent:
    """One ICE session for one component, through any number of restarts.

    controlling     whether we nominate: the offerer does, and whoever faces a lite peer.
    random_bytes    count -> that many unpredictable bytes.
    tie_breaker     64 bits for role conflicts; None takes random ones.

    state               IceState.
    selected            Pair to send data on; None before the first is valid, while the path is lost, and
                        after the end.
    deadline            seconds; take_packets is due then, math.inf while nothing is.

    Candidates may be added before and after the credentials and start(). Checks begin when both have come.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        random_bytes: Callable[[int], bytes],
        options: Options = _DEFAULTS,
        tie_breaker: int | None = None,
        tag: str = "-",
    ) -> None:
        self._log = Log("ice", tag)
        self.options = options
        self.state = IceState.NEW
        self.selected: Pair | None = None
        self.deadline = math.inf
        self._end = LocalEnd(
            controlling=controlling and not options.lite,
            random_bytes=random_bytes,
            options=options,
            tie_breaker=tie_breaker,
        )
        self._current = Generation(self._end)
        self._previous: Generation | None = None
        self._previous_ends = math.inf
        self._consent: Consent | None = None
        self._started = False
        self._now = -math.inf
        self._local_ended = False
        self._events: list[Event] = []

    # What there is

    @property
    def ufrag(self) -> str:
        """Our username fragment, to be told to the peer; a restart changes it."""
        return self._current.ufrag

    @property
    def password(self) -> str:
        """Our password, to be told to the peer; a restart changes it."""
        return self._current.password

    @property
    def controlling(self) -> bool:
        """Our role at present."""
        return self._end.controlling

    @property
    def failure_reason(self) -> str:
        """A sentence once the state is FAILED; "" before."""
        return self._current.failure_reason

    @property
    def drops(self) -> Drops:
        """What was thrown away, counted."""
        return self._end.drops

    @property
    def stats(self) -> Stats:
        """What was done, counted."""
        return self._end.stats

    @property
    def local_candidates(self) -> list[Candidate]:
        """Our candidates so far, peer-reflexive and hidden ones included."""
        return list(self._end.candidates.all)

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The peer's candidates so far, peer-reflexive ones included."""
        return list(self._carrier().remote.values())

    @property
    def told_candidates(self) -> list[Candidate]:
        """Those of our candidates that the peer may learn of by signaling."""
        candidates = self._end.candidates
        return [candidate for candidate in candidates.all if candidates.is_told(candidate)]

    def report(self) -> Report:
        """Tell all there is to know about the search for a path: candidates, pairs, what became of them."""
        is_waiting = self._current.state is IceState.NEW and self._previous is not None
        return make_report(self._end, self._carrier() if is_waiting else self._current)

    # Our candidates. What comes after end_of_local_candidates, from a network that has changed, is checked
    # at once, but told only with the next restart (RFC 8838 section 13): until then checks show it.

    def add_local_address(self, address: Address, *, interface: str = "") -> Candidate | None:
        """Make a host candidate of a bound UDP socket.

        The caller's order is the order of preference within an address family; IPv6 and IPv4 alternate.
        Loopback addresses are taken: they reach loopback addresses of the peer only.

        interface   name of the network interface, for reports.

        Returns the candidate; None if a peer cannot use such an address, must not see it (relay_only), or
                it is known.
        Raises InvalidParameter if it is no IP address and port.
        Source: RFC 8445 sections 5.1.1 and 5.1.2, RFC 8421 section 4.
        """
        host = _checked(address)
        return self._announce(self._end.candidates.add_host(host, interface))

    def add_reflexive(self, base: Address, mapped: Address, *, server: str = "") -> Candidate | None:
        """Make a server-reflexive candidate of what a STUN or TURN server saw.

        It is never paired itself: its base is.

        base        the socket that asked, as given to add_local_address.
        mapped      where the server saw it.
        server      IP address of the server: what came from one server shares a foundation.

        Returns the candidate; None if it is redundant (there is no NAT), its base is not known (any more),
                or the peer must not see it (relay_only).
        Raises InvalidParameter if mapped is no IP address and port.
        Source: RFC 8445 sections 5.1.1.2 and 5.1.3.
        """
        mapped = _checked(mapped)
        candidates = self._end.candidates
        public = candidates.confirm(base, mapped)
        if public is not None and not self._local_ended:
            self._events.append(LocalCandidate(public))
        return self._announce(candidates.add_reflexive(base, mapped, server))

    def add_relayed(
        self,
        relayed: Address,
        mapped: Address,
        *,
        server: str = "",
        protocol: Literal["udp", "tcp", "tls"] = "udp",
    ) -> Candidate | None:
        """Make a candidate of an allocation on a TURN server; it is its own base.

        Then: send what take_packets gives for the local address `relayed` through the allocation, and hand
        what comes by it to receive(local=relayed).

        relayed     the allocated address.
        mapped      where the server saw us; shown as related address.
        server      IP address of the server.
        protocol    how the server is reached: relays over UDP are preferred to those over TCP, then TLS.

        Returns the candidate; None if a peer cannot use such an address, or it is known.
        Raises InvalidParameter if relayed is no IP address and port.
        Source: RFC 8445 section 5.1.1.2.
        """
        relayed = _checked(relayed)
        return self._announce(self._end.candidates.add_relayed(relayed, mapped, server, protocol))

    def add_tcp_local(
        self, address: Address, tcp_type: Literal["active", "passive"], *, interface: str = ""
    ) -> Candidate | None:
        """Make a host candidate for TCP.

        Packets of its connections go by take_packets and receive as if they were datagrams, with `address`
        as local one whatever the port of the connection; framing them (RFC 4571) is up to the caller.

        address     passive: of the listening socket, whose port number no UDP socket of that IP address may
                    have. active: where connections will come from, with port 9; TcpConnect events ask for
                    them.
        Returns and raises as add_local_address does; a lite agent has no active candidates.
        Source: RFC 6544 sections 4.1 and 5.1.
        """
        base = _checked(address)
        if tcp_type == "active" and base[1] != 9:
            raise InvalidParameter(f"the port of an active candidate is 9, not {base[1]}")
        return self._announce(self._end.candidates.add_tcp(base, tcp_type, interface))

    def tcp_connected(self, local: Address, remote: Address, now: float) -> None:
        """Note that the connection which TcpConnect asked for is there."""
        self._now = now
        self._end.tcp.opened((local, remote))
        for generation in self._generations():
            generation.tcp_opened(local, remote)
        self._update()

    def tcp_closed(self, local: Address, remote: Address, now: float) -> None:
        """Note that a connection, ours or the peer's, has ended or could not be opened."""
        self._now = now
        self._end.tcp.closed((local, remote))
        for generation in self._generations():
            generation.tcp_closed(local, remote, now)
        self._update()

    def remove_local(self, base: Address) -> None:
        """Withdraw the candidates of a socket or allocation that is gone, and give up their pairs.

        If the selected pair is among them, the best other valid pair is selected. If there is none, selected
        is None and the state DISCONNECTED: all other pairs are checked, and the agent fails if none becomes
        valid within the time of a consent.

        Source: RFC 8445 section 5.1.1.4.
        """
        if self._end.candidates.remove(base):
            self._end.tcp.remove(base)
            for generation in self._generations():
                generation.remove_base(base, self._now)
            self._update()

    def end_of_local_candidates(self) -> None:
        """Note that no more local addresses will be told before a restart (RFC 8838 section 13)."""
        if not self._local_ended:
            self._local_ended = True
            self._events.append(EndOfLocalCandidates())

    def _announce(self, candidate: Candidate | None) -> Candidate | None:
        if candidate is not None:
            if not self._local_ended and self._end.candidates.is_told(candidate):
                self._events.append(LocalCandidate(candidate))
            if candidate.base == candidate.transport_address:
                for generation in self._generations():
                    generation.add_base(candidate)
                self._update()
        return candidate

    # The peer

    def set_remote_credentials(self, ufrag: str, password: str, *, lite: bool = False) -> None:
        """Take the peer's credentials; checks begin if start() has been called.

        Other credentials than before mean that the peer restarts ICE: so do we, unless restart() came first.
        The credentials of before our restart() mean that the peer knows no restarts: ours is taken back.

        ufrag       4 to 256 characters.
        password    22 to 256 characters.
        lite        the peer is an ICE-lite agent: we control (RFC 8445 section 6.1.1).
        Then:       tell the peer ufrag and password, which may have changed.
        Raises InvalidParameter for other lengths, InvalidState if both agents are lite: nobody would check.
        Source: RFC 8839 sections 5.4 and 4.4.1.1.1.
        """
        if not 4 <= len(ufrag) <= 256 or not 22 <= len(password) <= 256:
            raise InvalidParameter("ICE ufrag must have 4 to 256 characters and password 22 to 256")
        if lite and self.options.lite:
            raise InvalidState("both ICE agents are lite: neither would check the path")
        current, previous = self._current, self._previous
        if not current.has_remote_credentials and previous is not None and previous.is_of(ufrag, password):
            self.abandon_restart()
            return
        if current.has_remote_credentials and not current.is_of(ufrag, password):
            self.restart()
        self._current.set_remote_credentials(ufrag, password, lite=lite)
        self._update()

    def add_remote_candidate(self, candidate: Candidate, *, ufrag: str | None = None) -> None:
        """Take a candidate of the peer; one that cannot be used is counted and left out.

        ufrag       the peer's username fragment that came with it; None takes the credentials in force.
        Source: RFC 8838 section 11, RFC 8840 section 4.3.
        """
        if self.state in (IceState.FAILED, IceState.CLOSED):
            return
        generation = self._generation_of_peer(ufrag)
        if generation is None:
            self.drops.remote_other_generation += 1
        else:
            generation.add_remote(candidate)
            self._update()

    def end_of_remote_candidates(self, *, ufrag: str | None = None) -> None:
        """Note that the peer will send no more candidates; later ones are ignored (RFC 8838 section 14).

        ufrag       as in add_remote_candidate.
        """
        generation = self._generation_of_peer(ufrag)
        if generation is not None:
            generation.remote.has_ended = True
            self._update()

    def _generation_of_peer(self, ufrag: str | None) -> Generation | None:
        """Find whom a candidate is for; before the credentials of a generation are known, nobody can tell."""
        current, previous = self._current, self._previous
        if current.has_remote_credentials:
            return current if ufrag in (None, current.remote_ufrag) else None
        if previous is not None and ufrag in (None, previous.remote_ufrag):
            return previous if previous.is_active else None
        return current

    def set_controlling(self, controlling: bool) -> None:
        """Take a role; a lite peer leaves us no choice."""
        self._current.set_controlling(controlling)
        self._update()

    # Life

    def start(self, now: float) -> None:
        """Let checks begin as soon as the remote credentials are there."""
        self._now = now
        self._started = True
        self._update()

    def restart(self) -> None:
        """Begin a new generation: fresh credentials, checklist and remote candidates; the role stays.

        The pair selected so far goes on carrying data, with consent under the old credentials, until a pair
        of the new generation is selected. A failed agent lives again. Our candidates are announced anew,
        and more may be added until the next end_of_local_candidates.

        Then: tell the peer ufrag and password, and call set_remote_credentials with its new ones.
        Raises InvalidState when the agent is closed.
        Source: RFC 8445 section 9, RFC 8839 section 4.4.1.1.1.
        """
        if self.state is IceState.CLOSED:
            raise InvalidState("a closed ICE agent cannot be restarted")
        # A generation that never got a pair leaves its place to the older one that still carries data.
        current = self._current
        has_begun, has_pair = current.state is not IceState.NEW, current.selection.pair is not None
        if has_begun and (has_pair or self._previous is None):
            self._previous = current
            self._previous_ends = math.inf
        self._current = Generation(self._end)
        self._current.succeed(current)
        self._end.candidates.forget_learned()
        self._local_ended = False
        self._announce_all()
        self._update()

    def abandon_restart(self) -> None:
        """Return to the generation before restart(): the offer was taken back, or the peer knows no restarts.

        Nothing happens once the peer's new credentials are known, or if there was no restart.
        """
        if self._previous is not None and not self._current.has_remote_credentials:
            self._current, self._previous = self._previous, None
            self._announce_all()
            self._update()

    def close(self) -> None:
        """End at once; nothing is sent any more."""
        if self.state is not IceState.CLOSED:
            self._previous = None
            self._current.fail(self._current.failure_reason)
            self._end.discard_packets()
            self.selected = self._consent = None
            self.deadline = math.inf
            self._set_state(IceState.CLOSED)

    def heard(self, now: float) -> None:
        """Note that authenticated data of the peer came by the selected pair: it is no longer silent."""
        if self._consent is not None:
            self._consent.heard(now)
            if self.state is IceState.DISCONNECTED:
                self.deadline = now

    # From below

    def is_valid(self, local: Address, remote: Address) -> bool:
        """Tell whether data from there may be looked at: a check has passed on this five-tuple."""
        five_tuple = (local, remote)
        previous = self._previous
        return five_tuple in self._current.valid or (previous is not None and five_tuple in previous.valid)

    def receive(self, datagrams: list[bytes], local: Address, remote: Address, now: float) -> None:
        """Take STUN datagrams that arrived at one of our addresses; answers wait for take_packets.

        local       the socket's address, as given to add_local_address, or that of the relay or TCP
                    candidate.
        remote      where they came from.
        """
        drops = self.drops
        if self.state in (IceState.FAILED, IceState.CLOSED):
            drops.inactive += len(datagrams)
            return
        if local not in self._end.candidates.bases:
            drops.unknown_local += len(datagrams)
            return
        self._now = now
        self._begin_if_ready(now)
        for datagram in datagrams:
            if self._previous is None and self._current.receive_familiar(datagram, local, remote, now):
                continue
            try:
                message = Message.parse(datagram)
            except stun.FingerprintError:
                drops.fingerprint += 1
                continue
            except WireError:
                drops.malformed += 1
                continue
            self._receive_message(message, local, remote, now)
        self._update()

    def _receive_message(self, message: Message, local: Address, remote: Address, now: float) -> None:
        """Hand a message to the generation whose ufrag or transaction id it names."""
        current, previous = self._current, self._previous
        if message.method != stun.BINDING:
            self.drops.unsupported_method += 1
        elif message.message_class is MessageClass.INDICATION:
            self.stats.indications_received += 1
        elif message.message_class is MessageClass.REQUEST:
            ufrag = (message.get(stun.USERNAME) or "").partition(":")[0]
            if previous is not None and previous.ufrag == ufrag and previous.state is not IceState.FAILED:
                previous.receive_request(message, local, remote, now)
            else:
                current.receive_request(message, local, remote, now)
        elif previous is not None and previous.has_check(message.transaction_id):
            previous.receive_response(message, local, remote, now)
        else:
            current.receive_response(message, local, remote, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due: checks, retransmissions, nomination, consent, giving up."""
        if self.state in (IceState.FAILED, IceState.CLOSED):
            return
        self._now = now
        self._begin_if_ready(now)
        for generation in self._generations():
            generation.handle_timeout(now)
            if generation.is_hopeless(now):
                generation.fail(make_report(self._end, generation).failure(self.options.pac))
        self._update()

    def take_packets(self, now: float) -> list[tuple[Address, Address, list[bytes]]]:
        """Hand over what is to be sent now: (our address, the peer's address, datagrams)."""
        if now >= self.deadline:
            self.handle_timeout(now)
        return self._end.take_packets()

    def take_events(self) -> list[Event]:
        """Hand over what has happened since the last call."""
        events, self._events = self._events, []
        return events

    # Generations

    def _generations(self) -> tuple[Generation, ...]:
        return (self._current,) if self._previous is None else (self._previous, self._current)

    def _carrier(self) -> Generation:
        """Return the generation whose pair carries data."""
        previous = self._previous
        return previous if previous is not None and self._current.selection.pair is None else self._current

    def _begin_if_ready(self, now: float) -> None:
        """Begin the current generation; from then on the one before only keeps its pair, if it has one."""
        current = self._current
        if current.state is not IceState.NEW or not self._started or not current.has_remote_credentials:
            return
        if self._previous is not None:
            self._previous.retire()
        current.begin(now)

    def _announce_all(self) -> None:
        """Announce our candidates under the ufrag that now is ours."""
        self._events = [
            event for event in self._events if not isinstance(event, LocalCandidate | EndOfLocalCandidates)
        ]
        self._events += [LocalCandidate(each) for each in self.told_candidates]
        if self._local_ended:
            self._events.append(EndOfLocalCandidates())

    # What follows from the generations: selected pair, state, deadline

    def _update(self) -> None:
        """Bring selected pair, state and deadline up to date after whatever has happened."""
        if self.state is IceState.CLOSED:
            return
        now, current = self._now, self._current
        current.update(now)
        if self._previous is not None:
            self._previous.update(now)
            self._dismiss_previous(now)
        if current.state is IceState.FAILED:
            self._end.discard_packets()
        selection = self._carrier().selection
        self._consent, pair = selection.consent, selection.pair
        if pair is not self.selected:
            self.selected = pair
            if pair is not None:
                self._events.append(PairSelected(pair))
        self._set_state(self._derive_state())
        if self._end.tcp.has_wanted:
            self._events += [TcpConnect(local, remote) for local, remote in self._end.tcp.take_wanted()]
        is_ready = current.state is IceState.NEW and self._started and current.has_remote_credentials
        self.deadline = now if is_ready else current.deadline
        if self._previous is not None and self._previous.deadline < self.deadline:
            self.deadline = self._previous.deadline

    def _dismiss_previous(self, now: float) -> None:
        """Let the generation before the restart go, once it is of no more use."""
        current, previous = self._current, self._previous
        if previous is None or current.state is IceState.NEW:
            return
        selected = current.selection.pair
        if selected is not None and selected.nominated:
            # The peer may send by the old pair until it has selected a new one, too.
            self._previous_ends = min(self._previous_ends, now + _GRACE)
        is_useless = previous.selection.pair is None or current.state is IceState.FAILED
        if is_useless or now >= self._previous_ends:
            self._previous = None

    def _derive_state(self) -> IceState:
        """Tell the state of the whole: during a restart that of the path in use, as in browsers."""
        current, previous = self._current, self._previous
        if previous is None or current.selection.pair is not None:
            return current.state
        if previous.state is IceState.DISCONNECTED and current.state is IceState.NEW:
            return IceState.DISCONNECTED
        is_in_use = previous.state in (IceState.CONNECTED, IceState.COMPLETED)
        return IceState.CONNECTED if is_in_use else IceState.CHECKING

    def _set_state(self, state: IceState) -> None:
        if state is not self.state:
            self._log.debug("ICE %s -> %s", self.state.value, state.value)
            self.state = state
            self._events.append(StateChanged(state))


def _checked(address: Address) -> Address:
    ip = normalize(address[0])
    if ip is None or not 0 < address[1] < 65536:
        raise InvalidParameter(f"{address!r} is not the IP address and port of a bound socket")
    return ip, address[1]
