"""WebRTC data channels from scratch in Python, in the shape of Godot's WebRTC API."""

__version__ = "0.1.0.dev0"
