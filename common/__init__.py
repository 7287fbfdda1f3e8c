"""What two rooms need: options, child processes, HTTP, waiting.

May import ball_track and protocol; none of the rooms.
"""
