"""The local signaling of Godot's WebRTC page: two chat nodes that find each other through one Signaling."""

from __future__ import annotations

from rtcstack import PeerConnection, poll


class Signaling:
    """Carries descriptions and candidates between two nodes, as a server would over a network."""

    def __init__(self) -> None:
        self.peers: list[Chat] = []

    def register(self, node: Chat) -> None:
        """Add a node; the second one makes the first create the offer."""
        assert len(self.peers) < 2
        self.peers.append(node)
        if len(self.peers) == 2:
            self.peers[0].peer.create_offer()

    def find_other(self, node: Chat) -> Chat:
        """Find the node to forward to."""
        return next(other for other in self.peers if other is not node)

    def send_session(self, node: Chat, type: str, sdp: str) -> None:
        """Forward a description to the other node."""
        self.find_other(node).peer.set_remote_description(type, sdp)

    def send_candidate(self, node: Chat, media: str, index: int, name: str) -> None:
        """Forward a candidate to the other node."""
        self.find_other(node).peer.add_ice_candidate(media, index, name)


class Chat:
    """A node with a peer and a negotiated channel of its own."""

    def __init__(self, path: str, signaling: Signaling) -> None:
        self.path = path
        self.signaling = signaling
        self.received: list[str] = []
        self.peer = PeerConnection()
        self.channel = self.peer.create_data_channel("chat", {"negotiated": True, "id": 1})
        self.peer.ice_candidate_created.connect(self.on_ice_candidate)
        self.peer.session_description_created.connect(self.on_session)
        signaling.register(self)

    def on_ice_candidate(self, media: str, index: int, name: str) -> None:
        """Send the candidate to the other node."""
        self.signaling.send_candidate(self, media, index, name)

    def on_session(self, type: str, sdp: str) -> None:
        """Send the description to the other node, and only then set it here."""
        self.signaling.send_session(self, type, sdp)
        self.peer.set_local_description(type, sdp)

    def process(self) -> None:
        """Do what a node does every frame: take the packets that have arrived."""
        if self.channel.get_ready_state() == self.channel.STATE_OPEN:
            while self.channel.get_available_packet_count() > 0:
                message = self.channel.get_packet().decode()
                self.received.append(message)
                print(f"{self.path} received: {message}")

    def send_message(self, message: str) -> None:
        """Send text to the other node."""
        self.channel.put_packet(message.encode())


def main() -> None:
    """Connect two nodes, let each greet the other, and stop when both have heard it."""
    signaling = Signaling()
    nodes = [Chat("/root/main/@chat", signaling), Chat("/root/main/@chat2", signaling)]
    peers = [node.peer for node in nodes]

    while any(node.channel.get_ready_state() != node.channel.STATE_OPEN for node in nodes):
        poll(peers, 0.01)
    for node in nodes:
        node.send_message(f"Hi from {node.path}")
    while not all(node.received for node in nodes):
        poll(peers, 0.01)
        for node in nodes:
            node.process()
    for peer in peers:
        peer.close()


if __name__ == "__main__":
    main()
