"""Where a person looks: window, page, recording.

The film keeps its size, and nothing but marks (cross, path, ring) lies over it: figures and lenses stand below it, see
strip.py. What stands at the film's edges, such as the frame's number as a code, stays free.

May import the ground (ball_track, protocol, common); never another room, and never aiortc or av, but for the
recording's process, which encodes.
"""
