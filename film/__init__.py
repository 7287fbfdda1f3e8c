"""What each frame shows, when it is due, and how it is encoded, once for all clients.

May import the ground (ball_track, protocol, common); never another room, and nothing of WebRTC's transport.
"""
