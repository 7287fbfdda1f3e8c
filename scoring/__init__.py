"""The ledger, its figures, and how the score is told: terminal, files, metrics.

May import the ground (ball_track, protocol, common); never another room, and neither aiortc nor av.
"""
