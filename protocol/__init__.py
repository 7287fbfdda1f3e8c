"""What travels between server and client: pure functions and values, without any I/O.

May import ball_track; nothing else of the house.
"""
