"""Reads what runs left behind: a page of one run, a comparison of several.

May import the ground only; never a room, and never the programs. The plots need matplotlib, which nothing else does.
"""
