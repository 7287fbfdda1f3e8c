"""The benchmark: runs the programs from outside, and measures. It may import everything."""
