"""Two sessions that hand each other their datagrams at once; no network, no face."""

from __future__ import annotations

import random

from rtcstack.datachannel import Channel, ChannelConfig
from rtcstack.session import LocalCandidate, LocalDescription, PeerSession, SessionEvent, SessionOptions

DEFAULTS = SessionOptions()
ADDRESS_A, ADDRESS_B = ("10.0.0.1", 5001), ("10.0.0.2", 5002)


class Sessions:
    """Session `a` offers, `b` answers; each has a negotiated channel with id 1."""

    def __init__(self, options: SessionOptions = DEFAULTS) -> None:
        self.now = 0.0
        self.a, self.b = (
            PeerSession(random_bytes=random.Random(name).randbytes, options=options) for name in "ab"
        )
        self.channel_a, self.channel_b = (
            session.create_channel(ChannelConfig("chat", negotiated=True), 1, self.now)
            for session in (self.a, self.b)
        )
        self.events: dict[PeerSession, list[SessionEvent]] = {self.a: [], self.b: []}

    def connect(self) -> Sessions:
        self.a.create_offer()
        self.exchange()
        self.gather()
        self.run(5.0)
        return self

    def gather(self) -> None:
        """Give each session its one address."""
        for session, address in ((self.a, ADDRESS_A), (self.b, ADDRESS_B)):
            session.add_local_address(address)
            session.end_of_local_candidates()
            self.exchange()

    def exchange(self) -> None:
        """Do the signaling."""
        for session, other in ((self.a, self.b), (self.b, self.a)):
            for event in session.take_events():
                self.events[session].append(event)
                match event:
                    case LocalDescription(kind, sdp):
                        other.set_remote_description(kind, sdp, self.now)
                    case LocalCandidate(_, _, line):
                        other.add_remote_candidate(line)

    def run(self, seconds: float) -> None:
        """Let time pass; datagrams arrive at the instant at which they are sent."""
        end = self.now + seconds
        while self.now < end:
            busy = True
            while busy:
                busy = False
                self.exchange()
                for session, other in ((self.a, self.b), (self.b, self.a)):
                    if session.deadline <= self.now:
                        session.handle_timeout(self.now)
                    for local, remote, datagrams in session.take_packets(self.now):
                        other.receive(remote, local, datagrams, self.now)
                        busy = True
            self.now = min(end, max(self.now + 0.001, min(self.a.deadline, self.b.deadline)))

    def say(self, text: str) -> list[tuple[bytes, bool]]:
        """Send a message from a to b; returns what waits there."""
        self.a.send(self.channel_a, text.encode(), True, self.now)
        self.run(1.0)
        return messages(self.b, self.channel_b)


def messages(session: PeerSession, channel: Channel) -> list[tuple[bytes, bool]]:
    return [session.channels.take(channel) for _ in range(len(channel.incoming))]
