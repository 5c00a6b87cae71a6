"""The life of an association: set-up, restart, heartbeat, shutdown, abort, and the chunks that drive it."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rtcstack.errors import WireError
from rtcstack.log import Log
from rtcstack.sctp import chunks as wire
from rtcstack.sctp.agreement import Agreement, unknown_parameters
from rtcstack.sctp.chunks import (
    DATA,
    I_DATA,
    Abort,
    CookieAck,
    CookieEcho,
    ErrorChunk,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    ReConfig,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    describe_causes,
)
from rtcstack.sctp.events import AssociationState, Closed, Established, Event, PathNarrowed, Restarted
from rtcstack.sctp.handshake import Action, Handshake, is_acceptable
from rtcstack.sctp.options import Options
from rtcstack.sctp.packet import (
    HEADER_SIZE,
    checksum_seed,
    is_intact,
    read_header,
    write_header,
    write_packet,
)
from rtcstack.sctp.parameters import (
    HOST_NAME_ADDRESS,
    STATE_COOKIE,
    ReconfigurationResponse,
    find_parameter,
    write_parameters,
)
from rtcstack.sctp.path_mtu import LARGEST_PACKET, PathMtu
from rtcstack.sctp.receiver import Receiver
from rtcstack.sctp.rto import RoundTripTime
from rtcstack.sctp.send_queue import SendQueue
from rtcstack.sctp.sender import Sender
from rtcstack.sctp.stats import Stats
from rtcstack.sctp.stream_reset import StreamReset
from rtcstack.serial import U32
from rtcstack.timer import Timer

__all__ = ["LifeCycle", "Link"]

CLOSED = AssociationState.CLOSED
COOKIE_WAIT = AssociationState.COOKIE_WAIT
COOKIE_ECHOED = AssociationState.COOKIE_ECHOED
ESTABLISHED = AssociationState.ESTABLISHED
SHUTDOWN_PENDING = AssociationState.SHUTDOWN_PENDING
SHUTDOWN_SENT = AssociationState.SHUTDOWN_SENT
SHUTDOWN_RECEIVED = AssociationState.SHUTDOWN_RECEIVED
SHUTDOWN_ACK_SENT = AssociationState.SHUTDOWN_ACK_SENT

_MOST_CONTROL = 64
"""Answers that wait for one take_packets(); a peer that asks for more gets no more."""
_LARGEST_ECHO = 1024
"""Bytes of a peer's chunk or HEARTBEAT that we give back to it."""
_PROBE_DELAY = 0.5
"""Seconds after the handshake before larger packets are tried: the first data has the path to itself."""
_CAUTIOUS_LARGEST = 1440
"""Bytes of a packet for a peer that is not known to be one of ours: what an Ethernet carries, and no more.
aiortc reads 1,500 bytes of a DTLS record and takes the rest for the next one, so that it lags behind for
ever; Chromium reads 2,048, and ends the connection over a record that holds more."""
_LEAST_PROBE_TIME = 1.0
"""Seconds that a probe for the path MTU may take at least: nothing waits for it."""

_chunk_head = struct.Struct("!BBH").unpack_from


class Link:
    """What exists from the moment on when both tags are known: the two directions and the reset of streams.

    Source: RFC 9260 section 14, the TCB.
    """

    __slots__ = ("agreement", "receiver", "reset", "sender")

    def __init__(
        self, agreement: Agreement, options: Options, queue: SendQueue, rtt: RoundTripTime, stats: Stats
    ) -> None:
        self.agreement = agreement
        queue.set_mtu(options.mtu, agreement.features.interleaving)
        self.sender = Sender(options, queue, rtt, stats, agreement)
        self.receiver = Receiver(agreement, options, stats)
        self.reset = StreamReset(
            agreement, queue, self.receiver.received, self.receiver.reassembly, rtt, stats, options
        )


class LifeCycle:
    """The state machine of an association and the chunks that drive it; Association adds the rest.

    Source: RFC 9260 sections 4, 5, 8 and 9.
    """

    def __init__(self, options: Options, random_bytes: Callable[[int], bytes], tag: str) -> None:
        self._log = Log("sctp", tag)
        self.options = options
        self.state = CLOSED
        self.failure_reason = ""
        """Why the association ended, for people; empty while it has not."""
        self.stats = Stats()
        self._random_bytes = random_bytes
        self._rtt = RoundTripTime(options.rto_initial, options.rto_min, options.rto_max)
        self._queue = SendQueue(options.mtu, self.stats)
        self._handshake = Handshake(options, random_bytes)
        self._link: Link | None = None
        self._over = False  # closed after use: no new association begins here
        self._shutting_down = False  # wished for before the handshake was done
        self._t2 = Timer(options.rto_initial, ceiling=options.rto_max)  # SHUTDOWN (ACK) is unanswered
        self._header_in = b""  # what packets to us begin with: ports and our tag
        self._seed_in = 0
        self._events: list[Event] = []
        self._replies: list[bytes] = []  # whole packets that do not belong to the association
        self._control: list[bytes] = []  # chunks for the next packet, in front of SACK and DATA
        self._first_chunk = b""  # COOKIE ECHO or COOKIE ACK: first in its packet
        self._path_mtu = PathMtu(options.mtu, options.path_mtu_limit, random_bytes)
        self._heartbeat_due = math.inf
        self._heartbeat = (b"", 0.0)  # nonce and time of the HEARTBEAT under way
        self._heard_at = 0.0
        self._set_state(CLOSED)

    def _set_state(self, state: AssociationState) -> None:
        """Enter a state; what may be done in it follows.

        _accepts     messages of the application are queued.
        _receives    user data is taken (RFC 9260 section 6).
        _sends       user data is sent (RFC 9260 section 9.2).
        """
        if state is not self.state:
            self._log.debug("association %s -> %s", self.state.name, state.name)
        self.state = state
        self._accepts = not self._over and state in (CLOSED, COOKIE_WAIT, COOKIE_ECHOED, ESTABLISHED)
        self._receives = state in (ESTABLISHED, SHUTDOWN_PENDING, SHUTDOWN_SENT)
        self._sends = state in (ESTABLISHED, SHUTDOWN_PENDING, SHUTDOWN_RECEIVED)

    def _set_tag(self, tag: int) -> None:
        """Say which tag packets to us bear from now on."""
        self._header_in = write_header(self.options.remote_port, self.options.local_port, tag)
        self._seed_in = checksum_seed(self._header_in)

    def _reply(self, tag: int, chunk: bytes) -> None:
        """Send one chunk alone in a packet that is not one of the association's.

        At most one for each packet that came, and few at once: nobody is answered with more than he sent.
        """
        if len(self._replies) >= _MOST_CONTROL:
            return
        header = write_header(self.options.local_port, self.options.remote_port, tag)
        self._replies.append(write_packet(header, [chunk], checksum_seed(header)))

    def _answer(self, chunk: bytes) -> None:
        """Send a chunk in answer to one of the peer's, if not too many wait already."""
        if len(self._control) < _MOST_CONTROL:
            self._control.append(chunk)
        else:
            self.stats.drop("too much to answer")

    def _report(self, *causes: wire.Cause) -> None:
        """Send an ERROR."""
        self._answer(ErrorChunk(causes).write())

    # -- packets that are not those of an association that stands -------------------------------------------

    def _receive_unexpected(self, packet: bytes, now: float) -> int:
        """Take a packet that does not bear the tag of an association that stands.

        Returns where to go on in it, behind a COOKIE ECHO that has begun an association; 0 if it is done
                with.
        Source: RFC 9260 sections 8.4 and 8.5.
        """
        stats = self.stats
        try:
            source, destination, tag, _ = read_header(packet)
        except WireError:
            stats.drop("packet too short")
            return 0
        if source != self.options.remote_port or destination != self.options.local_port:
            stats.drop("wrong port")
            return 0
        chunk_type, flags, length = _chunk_head(packet, HEADER_SIZE)
        end: int = HEADER_SIZE + length
        link = self._link
        # An INIT of ours has announced it: the INIT ACK may be the first packet without a checksum.
        accept_zero = self.options.zero_checksum and chunk_type not in (wire.INIT, wire.COOKIE_ECHO)
        if not is_intact(packet, checksum_seed(packet), accept_zero):
            stats.drop("wrong checksum")
            return 0
        if length < 4 or end > len(packet):
            stats.drop("malformed chunk")
            return 0
        chunk = packet[HEADER_SIZE:end]
        try:
            if chunk_type == wire.INIT:
                if tag or (end + 3) & ~3 < len(packet):
                    stats.drop("INIT with a tag or with company")
                else:
                    self._receive_init(Init.parse(chunk), now)
            elif chunk_type == wire.COOKIE_ECHO:
                if self._receive_cookie_echo(CookieEcho.parse(chunk), tag, now):
                    return (end + 3) & ~3
            elif self.state is COOKIE_WAIT and (ours := self._handshake.find_init(tag)) is not None:
                self._receive_while_waiting(ours, chunk_type, chunk, (end + 3) & ~3 < len(packet), now)
            elif chunk_type in (wire.ABORT, wire.SHUTDOWN_COMPLETE):
                self._receive_reflected(chunk_type, flags, chunk, tag)
            elif link is None or self.state is CLOSED:
                self._answer_stray(chunk_type, tag)
            else:
                stats.drop("wrong verification tag")
        except WireError:
            stats.drop("malformed chunk")
        return 0

    def _receive_reflected(self, chunk_type: int, flags: int, chunk: bytes, tag: int) -> None:
        """Take an ABORT or SHUTDOWN COMPLETE that bears the peer's own tag: it has no association any more.

        Source: RFC 9260 section 8.5.1 B and C.
        """
        link = self._link
        if (
            link is None
            or not flags & wire.REFLECTED
            or tag != link.agreement.peer_tag
            or self.state is CLOSED
        ):
            self.stats.drop("wrong verification tag")
        elif chunk_type == wire.ABORT:
            self._close(
                f"aborted by the peer: {describe_causes(Abort.parse(chunk).causes) or 'no reason given'}"
            )
        elif self.state is SHUTDOWN_ACK_SENT:
            self._close("shut down", graceful=True)

    def _answer_stray(self, chunk_type: int, tag: int) -> None:
        """Answer a packet for which there is no association.

        Source: RFC 9260 section 8.4.
        """
        self.stats.drop("no association")
        if chunk_type == wire.SHUTDOWN_ACK:
            self._reply(tag, ShutdownComplete(reflected=True).write())
        elif chunk_type not in (wire.COOKIE_ACK, wire.ERROR, wire.INIT_ACK, wire.HEARTBEAT_ACK):
            self._reply(tag, Abort(reflected=True).write())

    def _receive_while_waiting(
        self, ours: Init, chunk_type: int, chunk: bytes, has_company: bool, now: float
    ) -> None:
        """Take the first chunk of a packet in COOKIE-WAIT.

        ours           the INIT whose tag the packet bears.
        has_company    there are more chunks in it.
        Source: RFC 9260 sections 5.1, 8.5.1 E and 9.1.
        """
        if chunk_type == wire.INIT_ACK:
            if has_company:
                self.stats.drop("INIT ACK with company")
            else:
                self._receive_init_ack(ours, InitAck.parse(chunk), now)
        elif chunk_type == wire.ABORT:
            causes = describe_causes(Abort.parse(chunk).causes)
            self._close(f"refused by the peer: {causes or 'no reason given'}")
        elif chunk_type == wire.SHUTDOWN_ACK:
            self._reply(ours.initiate_tag, ShutdownComplete(reflected=True).write())
        else:
            self.stats.drop("unexpected chunk")

    def _receive_chunk(self, link: Link, packet: bytes, at: int, end: int, now: float) -> bool:
        """Take one chunk that is neither user data nor a SACK; tell whether to go on in the packet.

        Source: RFC 9260 section 3.2 for chunk types that are not known.
        """
        chunk_type = packet[at]
        handler = self._HANDLERS.get(chunk_type)
        if chunk_type == wire.COOKIE_ECHO and not is_intact(packet, self._seed_in, False):
            self.stats.drop("wrong checksum")  # RFC 9653 section 5.3: it never goes without
            return False
        if handler is not None:
            return handler(self, link, packet[at:end], now)
        self.stats.drop("unexpected chunk" if chunk_type in wire.CHUNK_NAMES else "unknown chunk")
        if chunk_type in (DATA, I_DATA):
            if self._receives and (chunk_type == I_DATA) != link.agreement.features.interleaving:
                self._accuse(f"{wire.CHUNK_NAMES[chunk_type]} was not agreed on")
                return False
            return True
        if chunk_type in wire.CHUNK_NAMES:
            return True
        if chunk_type & wire.REPORT_UNKNOWN:
            self._report((wire.UNRECOGNIZED_CHUNK_TYPE, packet[at : min(end, at + _LARGEST_ECHO)]))
        return bool(chunk_type & wire.SKIP_UNKNOWN)

    # -- set-up ---------------------------------------------------------------------------------------------

    def _receive_init(self, init: Init, now: float) -> None:
        """Answer an INIT; what stands is not touched until the cookie comes back.

        Source: RFC 9260 sections 5.1, 5.2.1, 5.2.2 and 9.2.
        """
        if not init.initiate_tag:
            self.stats.drop("INIT with tag 0")
        elif not is_acceptable(init):
            self.stats.drop("INIT with forbidden values")
            self._reply(init.initiate_tag, Abort(((wire.INVALID_MANDATORY_PARAMETER, b""),)).write())
        elif self._over:
            self.stats.drop("no association")
            self._reply(init.initiate_tag, Abort().write())
        elif find_parameter(init.parameters, HOST_NAME_ADDRESS) is not None:
            self.stats.drop("INIT with a host name")
            self._reply(init.initiate_tag, Abort(((wire.UNRESOLVABLE_ADDRESS, b""),)).write())
        elif self.state is SHUTDOWN_ACK_SENT:
            self._answer(ShutdownAck().write())
        else:
            standing = self._link.agreement if self._link is not None else None
            setting_up = self.state in (COOKIE_WAIT, COOKIE_ECHOED)
            self._reply(init.initiate_tag, self._handshake.answer(init, standing, setting_up, now))

    def _receive_init_ack(self, ours: Init, answer: InitAck, now: float) -> None:
        """Go on with COOKIE ECHO.

        ours    the INIT that it answers.
        Source: RFC 9260 sections 5.1 C and 3.3.3.
        """
        cookie = find_parameter(answer.parameters, STATE_COOKIE)
        if not answer.initiate_tag or not is_acceptable(answer):
            self._refuse(
                answer.initiate_tag, (wire.INVALID_MANDATORY_PARAMETER, b""), "INIT ACK with forbidden values"
            )
        elif find_parameter(answer.parameters, HOST_NAME_ADDRESS) is not None:
            self._refuse(answer.initiate_tag, (wire.UNRESOLVABLE_ADDRESS, b""), "INIT ACK with a host name")
        elif cookie is None:
            missing = struct.pack("!IH", 1, STATE_COOKIE)
            self._refuse(
                answer.initiate_tag, (wire.MISSING_MANDATORY_PARAMETER, missing), "INIT ACK without a cookie"
            )
        else:
            self._begin(Agreement.between(ours, answer))
            self._first_chunk = self._handshake.cookie_echo = CookieEcho(cookie).write()
            if unknown := unknown_parameters(answer):
                self._report((wire.UNRECOGNIZED_PARAMETERS, write_parameters(unknown)[:_LARGEST_ECHO]))
            self._set_state(COOKIE_ECHOED)
            self._handshake.timer.start(now, self._rtt.rto)

    def _refuse(self, tag: int, cause: wire.Cause, reason: str) -> None:
        if tag:
            self._reply(tag, Abort((cause,)).write())
        self._close(reason)

    def _begin(self, agreement: Agreement) -> None:
        """Make the two directions of the association."""
        for _ in range(self._queue.drop_streams(agreement.outbound)):
            self.stats.drop("message for a stream that the peer does not have")
        self._link = Link(agreement, self.options, self._queue, self._rtt, self.stats)
        self._set_tag(agreement.local_tag)

    def _receive_cookie_echo(self, echo: CookieEcho, tag: int, now: float) -> bool:
        """Take a cookie that comes back; tell whether to go on in its packet.

        tag    of that packet.
        Source: RFC 9260 sections 5.1 D, 5.1.5 and 5.2.4 with its table of actions A to D.
        """
        link = self._link
        setting_up = self.state in (COOKIE_WAIT, COOKIE_ECHOED)
        standing = link.agreement if link is not None else None
        action, cookie, too_old = self._handshake.judge(echo, standing, setting_up, now)
        if cookie is None or tag != cookie.agreement.local_tag or self._over:
            self.stats.drop("forged cookie" if cookie is None else "wrong verification tag")
            return False
        agreement = cookie.agreement
        if action is Action.STALE:
            self.stats.drop("stale cookie")
            cause = (wire.STALE_COOKIE, struct.pack("!I", min(int(too_old * 1e6), U32)))
            self._reply(agreement.peer_tag, ErrorChunk((cause,)).write())
            return False
        if action is Action.LATE:
            self.stats.drop("cookie of another handshake")
            return False
        if action is Action.RESTART:
            if self.state is SHUTDOWN_ACK_SENT:
                self._answer(ShutdownAck().write())
                self._report((wire.COOKIE_RECEIVED_WHILE_SHUTTING_DOWN, b""))
                return False
            self._restart(agreement, now)
        elif action is Action.COLLISION and link is not None and self.state is not COOKIE_ECHOED:
            if replace(agreement, peer_tag=link.agreement.peer_tag) == link.agreement:
                link.agreement = agreement
                link.sender.set_peer_tag(agreement.peer_tag)
            else:  # more than the tag is new: the peer has begun anew
                self._restart(agreement, now)
        elif self.state in (CLOSED, COOKIE_WAIT, COOKIE_ECHOED):
            if action is not Action.DUPLICATE:
                if link is not None:
                    link.sender.take_back()
                self._begin(agreement)
            self._establish(now)
        self._first_chunk = CookieAck().write()
        return True

    def _establish(self, now: float) -> None:
        self._handshake.timer.stop()
        self._heartbeat_due = now + self.options.heartbeat_interval
        if self._link is not None:
            features = self._link.agreement.features
            self._path_mtu.start(
                now + _PROBE_DELAY,
                pads=features.interleaving or features.zero_checksum,
                largest=LARGEST_PACKET if features.interleaved_forward else _CAUTIOUS_LARGEST,
            )
        self._set_state(ESTABLISHED)
        self._events.append(Established())
        if self._shutting_down:
            self._shutting_down = False
            self._set_state(SHUTDOWN_PENDING)

    def _restart(self, agreement: Agreement, now: float) -> None:
        """Begin anew with a peer that has forgotten the association (action A)."""
        old = self._link
        self.stats.restarts += 1
        if old is not None:
            old.sender.forget_all()
        self._queue.rewind()
        self._begin(agreement)
        if old is not None and self._link is not None:
            self._link.receiver.inherit(old.receiver)
        self._control.clear()
        self._t2.stop()
        if self.state is not ESTABLISHED:
            self._establish(now)
        self._events.append(Restarted())

    def _on_cookie_ack(self, link: Link, chunk: bytes, now: float) -> bool:
        CookieAck.parse(chunk)
        if self.state is COOKIE_ECHOED:
            self._establish(now)
        return True

    def _on_cookie_echo(self, link: Link, chunk: bytes, now: float) -> bool:
        return self._receive_cookie_echo(CookieEcho.parse(chunk), link.agreement.local_tag, now)

    def _on_error(self, link: Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 sections 3.3.10 and 5.2.6."""
        causes = ErrorChunk.parse(chunk).causes
        self.stats.drop("ERROR from the peer")
        if self.state is COOKIE_ECHOED and any(code == wire.STALE_COOKIE for code, _ in causes):
            self._begin_handshake(now)
            return False
        return True

    def _begin_handshake(self, now: float) -> None:
        """Send an INIT and wait for its answer.

        Source: RFC 9260 section 5.1 A.
        """
        again = self._link is not None
        if self._link is not None:
            self._link.sender.take_back()
            self._link = None
        self._first_chunk = b""
        self._set_tag(self._handshake.begin(afresh=again))
        self._set_state(COOKIE_WAIT)
        self._reply(0, self._handshake.next_init())
        self._handshake.timer.start(now, self._rtt.rto)

    def _repeat_handshake(self, now: float) -> None:
        """Send INIT or COOKIE ECHO again, without end: whether the path lives is for ICE to say.

        Source: RFC 9260 section 5.1.
        """
        self.stats.control_retransmissions += 1
        handshake = self._handshake
        if self._link is None:
            self._reply(0, handshake.next_init())
        else:
            self._first_chunk = handshake.cookie_echo
            self._link.sender.lose_all()
        handshake.timer.restart(now)

    # -- the path -------------------------------------------------------------------------------------------

    def _on_heartbeat(self, link: Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 section 8.3."""
        heartbeat = Heartbeat.parse(chunk)
        if len(heartbeat.value) > _LARGEST_ECHO:
            self.stats.drop("HEARTBEAT too large")
        else:
            self._answer(HeartbeatAck(heartbeat.value).write())
        return True

    def _on_heartbeat_ack(self, link: Link, chunk: bytes, now: float) -> bool:
        info = HeartbeatAck.parse(chunk).info
        nonce, sent_at = self._heartbeat
        if info is not None and self._path_mtu.acknowledged(info, now):
            link.sender.set_mtu(self._path_mtu.mtu)
        elif not nonce or info != nonce:
            self.stats.drop("HEARTBEAT ACK that was not asked for")
        else:
            self._rtt.measured(now - sent_at, now)
            self._heartbeat = (b"", 0.0)
        return True

    def _beat(self, now: float) -> None:
        """Send a HEARTBEAT if nothing has come for the interval; ask again after it.

        Source: RFC 9260 section 8.3.
        """
        if not self._sends:  # SHUTDOWN and SHUTDOWN ACK are repeated instead
            self._heartbeat_due = math.inf
            return
        interval = self.options.heartbeat_interval
        quiet_at = self._heard_at + interval
        if now < quiet_at:  # compared as it is scheduled: a sum and a difference round differently
            self._heartbeat_due = quiet_at
            return
        self._heartbeat_due = now + interval
        self._send_heartbeat(now)

    def _send_heartbeat(self, now: float) -> None:
        nonce = self._random_bytes(16)
        self._heartbeat = (nonce, now)
        self._control.append(Heartbeat.with_info(nonce).write())
        self.stats.heartbeats_sent += 1

    def _narrow(self, link: Link) -> None:
        """Build smaller packets; what is in flight and too large for them goes again as it is."""
        link.sender.set_mtu(self._path_mtu.mtu)
        if link.sender.needs_fragments:
            self._events.append(PathNarrowed())

    def _question_mtu(self, link: Link, now: float) -> None:
        """Ask whether the size of packets is why something was lost; if that is plain, go back to the base.

        Source: RFC 8899 section 4.3.
        """
        sender = link.sender
        sender.loses = False
        if not sender.black_hole:
            self._path_mtu.question(now)
        elif self._path_mtu.fall_back(now):
            self._narrow(link)
        sender.black_hole = False

    def _probe_path(self, link: Link, now: float) -> None:
        """Try a larger packet."""
        if not self._sends:
            self._path_mtu.due = math.inf
            return
        sender = link.sender
        if sender.needs_fragments:  # a probe that is fragmented says nothing
            self._path_mtu.due = now + _LEAST_PROBE_TIME
            return
        if chunks := self._path_mtu.probe(now, max(self._rtt.rto, _LEAST_PROBE_TIME)):
            self._replies.append(write_packet(sender.header, chunks, sender.seed))
            self.stats.mtu_probes += 1
        if sender.mtu > self._path_mtu.mtu:
            self._narrow(link)

    # -- chunks about data ----------------------------------------------------------------------------------

    def _on_forward_tsn(self, link: Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 3758 section 3.6; RFC 8260 section 2.3.1."""
        features = link.agreement.features
        interleaved = chunk[0] == wire.I_FORWARD_TSN
        if not self._receives:
            self.stats.drop("unexpected chunk")
        elif not features.partial_reliability or interleaved != features.interleaving:
            self._accuse(f"{wire.CHUNK_NAMES[chunk[0]]} was not agreed on")
            return False
        else:
            link.receiver.receive_forward_tsn(chunk, interleaved)
            link.reset.check_deferred()
        return True

    def _on_reconfig(self, link: Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 6525 section 5.2."""
        if self._receives or self._sends:
            reconfig = ReConfig.parse(chunk)
            link.reset.receive(reconfig, now)
            if not all(isinstance(it, ReconfigurationResponse) for it in reconfig.parameters):
                link.receiver.sack_now = True  # with the answer (RFC 6525 section 5.2.1)
        else:
            self.stats.drop("unexpected chunk")
        return True

    def _on_pad(self, link: Link, chunk: bytes, now: float) -> bool:
        return True

    # -- the end --------------------------------------------------------------------------------------------

    def _on_abort(self, link: Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 sections 8.5.1 B and 9.1."""
        if chunk[1] & wire.REFLECTED:  # with this bit the tag has to be the peer's
            self.stats.drop("wrong verification tag")
            return False
        self._close(f"aborted by the peer: {describe_causes(Abort.parse(chunk).causes) or 'no reason given'}")
        return False

    def _on_shutdown(self, link: Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 section 9.2."""
        shutdown = Shutdown.parse(chunk)
        if self.state is COOKIE_ECHOED:
            self.stats.drop("unexpected chunk")
            return True
        sender = link.sender
        if not sender.receive_sack(shutdown.cumulative_tsn, sender.peer_window, (), (), now):
            self.stats.drop("SACK of what was never sent")
        elif self.state in (ESTABLISHED, SHUTDOWN_PENDING):
            self._set_state(SHUTDOWN_RECEIVED)
        elif self.state is SHUTDOWN_SENT:
            self._send_shutdown_ack(now)
        elif self.state is SHUTDOWN_ACK_SENT:
            self._answer(ShutdownAck().write())
        return True

    def _on_shutdown_ack(self, link: Link, chunk: bytes, now: float) -> bool:
        """Source: RFC 9260 sections 9.2 and 8.5.1 E."""
        ShutdownAck.parse(chunk)
        if self.state in (SHUTDOWN_SENT, SHUTDOWN_ACK_SENT):
            self._reply(link.agreement.peer_tag, ShutdownComplete().write())
            self._close("shut down", graceful=True)
            return False
        self.stats.drop("unexpected chunk")
        if self.state is COOKIE_ECHOED:
            self._reply(link.agreement.local_tag, ShutdownComplete(reflected=True).write())
        return True

    def _on_shutdown_complete(self, link: Link, chunk: bytes, now: float) -> bool:
        if ShutdownComplete.parse(chunk).reflected:
            self.stats.drop("wrong verification tag")
        elif self.state is SHUTDOWN_ACK_SENT:
            self._close("shut down", graceful=True)
        else:
            self.stats.drop("unexpected chunk")
        return False

    def _go_on_shutting_down(self, now: float) -> None:
        """Take the step of the shutdown that is due once all data is acknowledged.

        Source: RFC 9260 section 9.2.
        """
        link = self._link
        if link is None or self._queue.buffered or not link.sender.is_idle:
            return
        if self.state is SHUTDOWN_PENDING:
            self._control.append(Shutdown(link.receiver.received.cumulative).write())
            self._set_state(SHUTDOWN_SENT)
            self._t2.start(now, self._rtt.rto)
        elif self.state is SHUTDOWN_RECEIVED:
            self._send_shutdown_ack(now)

    def _send_shutdown_ack(self, now: float) -> None:
        self._control.append(ShutdownAck().write())
        self._set_state(SHUTDOWN_ACK_SENT)
        self._t2.start(now, self._rtt.rto)

    def _repeat_shutdown(self, link: Link, now: float) -> None:
        """Send SHUTDOWN or SHUTDOWN ACK again (T2-shutdown)."""
        self.stats.control_retransmissions += 1
        if self.state is SHUTDOWN_SENT:
            self._control.append(Shutdown(link.receiver.received.cumulative).write())
        else:
            self._control.append(ShutdownAck().write())
        self._t2.restart(now)

    def _accuse(self, fault: str) -> None:
        """Abort, as the peer breaks the protocol."""
        self._abort((wire.PROTOCOL_VIOLATION, fault.encode()), f"the peer breaks the protocol: {fault}")

    def _abort(self, cause: wire.Cause, reason: str) -> None:
        link = self._link
        if link is not None and self.state is not CLOSED:
            self._replies.clear()
            self._reply(link.agreement.peer_tag, Abort((cause,)).write())
        self._close(reason)

    def _close(self, reason: str, *, graceful: bool = False) -> None:
        if self._over:
            return
        self._over = True
        self._set_state(CLOSED)
        self.failure_reason = reason
        self._handshake.timer.stop()
        self._t2.stop()
        self._control.clear()
        self._first_chunk = b""
        self._heartbeat_due = self._path_mtu.due = math.inf
        self._events.append(Closed(reason, graceful))

    _HANDLERS: ClassVar[dict[int, Callable[[LifeCycle, Link, bytes, float], bool]]] = {
        wire.HEARTBEAT: _on_heartbeat,
        wire.HEARTBEAT_ACK: _on_heartbeat_ack,
        wire.ABORT: _on_abort,
        wire.SHUTDOWN: _on_shutdown,
        wire.SHUTDOWN_ACK: _on_shutdown_ack,
        wire.SHUTDOWN_COMPLETE: _on_shutdown_complete,
        wire.ERROR: _on_error,
        wire.COOKIE_ECHO: _on_cookie_echo,
        wire.COOKIE_ACK: _on_cookie_ack,
        wire.RE_CONFIG: _on_reconfig,
        wire.PAD: _on_pad,
        wire.FORWARD_TSN: _on_forward_tsn,
        wire.I_FORWARD_TSN: _on_forward_tsn,
    }
