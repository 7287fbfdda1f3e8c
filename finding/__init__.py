"""Finding the ball: process_a, its half in the main thread, and the ball of a colour.

May import the ground (ball_track, protocol, common); never another room, and never aiortc or av: process_a does
without them.
"""
