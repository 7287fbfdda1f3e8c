"""Meeting a peer and holding it, and the ways that frames and messages travel.

May import the ground (ball_track, protocol, common); never another room. What is private to aiortc is reached for
in one file, aiortc_internals.py.
"""
