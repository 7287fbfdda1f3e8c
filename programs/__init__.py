"""The parts of the two programs that have a file of their own: their command lines, and the server's session.

May import every room, as the programs do; no room imports it.
"""
