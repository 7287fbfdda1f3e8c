"""Meeting a peer and holding it, and the ways that frames and messages travel.

May import the ground (ball_track, protocol, common); never another room. What is private to aiortc is reached for
in aiortc_internals.py, with aiortc_receiver.py and clocks.py for two subjects of their own.
"""
