"""Perfect negotiation: both sides may offer at any time, and never get into each other's way.

One side is polite and takes its offer back when another one arrives; the other side ignores that one.  Which
is which does not matter, as long as they differ: the caller and the callee, or who entered the room first.
"""

from __future__ import annotations

from collections import deque

from rtcstack import PeerConnection, poll

CHANNEL = {"id": 1, "negotiated": True}


class Negotiation:
    """One side of a connection: what it hears goes to receive(), what it says into `outbox`.

    polite      gives way when both sides offer at once.
    """

    def __init__(self, peer: PeerConnection, *, polite: bool) -> None:
        self.peer = peer
        self.polite = polite
        self.outbox: deque[tuple[str, str, str, int]] = deque()
        peer.session_description_created.connect(lambda kind, sdp: self.outbox.append((kind, sdp, "", 0)))
        peer.ice_candidate_created.connect(
            lambda media, index, name: self.outbox.append(("candidate", name, media, index))
        )

    def offer(self) -> None:
        """Negotiate (again), unless a negotiation is under way: then that one will do."""
        if self.peer.get_signaling_state() == PeerConnection.SIGNALING_STATE_STABLE:
            self.peer.create_offer()

    def receive(self, kind: str, text: str, media: str, index: int) -> None:
        """Take what the other side has said."""
        ours_is_pending = self.peer.get_signaling_state() == PeerConnection.SIGNALING_STATE_HAVE_LOCAL_OFFER
        if kind == "candidate":
            self.peer.add_ice_candidate(media, index, text)  # one of an ignored offer does no harm
        elif kind == "offer" and ours_is_pending and not self.polite:
            return  # ours stands; the other side takes its own back and answers
        else:
            self.peer.set_remote_description(kind, text)  # a polite side's own offer is taken back by this


def main() -> None:
    """Let both sides of a connection offer at the same moment."""
    left = Negotiation(PeerConnection(), polite=True)
    right = Negotiation(PeerConnection(), polite=False)
    peers = (left.peer, right.peer)
    channels = [peer.create_data_channel("chat", CHANNEL) for peer in peers]

    left.offer()
    right.offer()  # at the same moment

    while not channels[1].get_available_packet_count():
        poll(peers, 0.1)
        for here, there in ((left, right), (right, left)):
            while here.outbox:  # a signaling server, in a real program
                there.receive(*here.outbox.popleft())
        if channels[0].get_ready_state() == channels[0].STATE_OPEN:
            channels[0].put_packet("both offered, one connection")
    print("Received: ", channels[1].get_packet().decode())

    for peer in peers:
        peer.close()


if __name__ == "__main__":
    main()
