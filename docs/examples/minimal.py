"""The minimal connection of Godot's WebRTC page: two peers in one program, wired signal to method."""

from rtcstack import PeerConnection

# Create the two peers.
p1 = PeerConnection()
p2 = PeerConnection()
# And a negotiated channel for each of them, with the same id on both sides.
ch1 = p1.create_data_channel("chat", {"id": 1, "negotiated": True})
ch2 = p2.create_data_channel("chat", {"id": 1, "negotiated": True})

# Connect P1's session description to itself and P2, and its candidates to P2.
p1.session_description_created.connect(p1.set_local_description)
p1.session_description_created.connect(p2.set_remote_description)
p1.ice_candidate_created.connect(p2.add_ice_candidate)

# The same for P2.
p2.session_description_created.connect(p2.set_local_description)
p2.session_description_created.connect(p1.set_remote_description)
p2.ice_candidate_created.connect(p1.add_ice_candidate)


def main() -> None:
    """Let P1 make the offer, greet each way, and print what arrives."""
    p1.create_offer()

    greeted = received = 0
    while received < 2:
        # A game polls once a frame; a timeout makes this loop wait instead of spinning.
        p1.poll(0.01)
        p2.poll()
        if greeted == 0 and ch1.get_ready_state() == ch1.STATE_OPEN:
            ch1.put_packet(b"Hi from P1")
            greeted = 1
        if greeted == 1 and received == 1:
            ch2.put_packet(b"Hi from P2")
            greeted = 2
        for name, channel in (("P1", ch1), ("P2", ch2)):
            if channel.get_ready_state() == channel.STATE_OPEN and channel.get_available_packet_count() > 0:
                print(f"{name} received: {channel.get_packet().decode()}")
                received += 1

    p1.close()
    p2.close()


if __name__ == "__main__":
    main()
