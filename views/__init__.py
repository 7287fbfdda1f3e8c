"""Where a person looks: window, page, recording.

May import the ground (ball_track, protocol, common); never another room, and never aiortc or av, but for the
recording's process, which encodes.
"""
