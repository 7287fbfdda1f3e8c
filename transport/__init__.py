"""Meeting a peer and holding it, and the ways that frames and messages travel.

May import the ground (ball_track, protocol, common); never another room. What is private to aiortc and aioice is
reached for in aiortc_internals.py, and in those files beside it that it lists, each with a subject of its own.
"""
