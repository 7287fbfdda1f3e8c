"""What do drawing and finding a ball cost, whatever its size and its colour? The least of many times, in ms.

    python3 -m tools.ball_cost [--times 300]

Prints a table: the processor's time in one process that does nothing else, so that all is in its caches. (In the loop,
which has slept since the frame before, the same takes two to five times as long.)
"""

import sys
import time
from collections.abc import Callable, Sequence
from itertools import product

from ball_track import COLORS, Scene, draw, find
from common.memory import keep_freed_memory
from common.options import Parser, whole_number
from report.tables import Column, Results, Table, show

RADII = {(640, 480): (3, 20, 80, 160, 240), (1920, 1080): (3, 20, 100, 380, 540)}  # px
TABLE = Table("What a ball costs", (Column("draw, ms", "draw", 3), Column("find, ms", "find", 3)), "ball")


def least(work: Callable[[int], object], times: int) -> float:
    """Return how long some work takes at least, ms of the processor; it is given the number of the time."""
    took = []
    for n in range(times):
        began = time.thread_time_ns()
        work(n)
        took.append(time.thread_time_ns() - began)
    return min(took) / 1e6


def measure(scene: Scene, times: int) -> dict[str, list[float]]:
    """Return what drawing and finding cost in a scene, by name."""
    places = [scene.position(k) for k in range(times)]
    image = draw(scene, places[0])
    return {
        "draw": [least(lambda n: draw(scene, places[n]), times)],
        "find": [least(lambda _: find(image), times)],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = Parser(prog="python3 -m tools.ball_cost", description="Measure what drawing and finding a ball cost.")
    parser.add_argument("--times", type=whole_number, default=300, help="how often each is done (300)")
    times = parser.parse_args(argv).times
    if times < 1:
        parser.error(f"argument --times: {times}: must be at least 1")
    keep_freed_memory()  # as both programs do
    results: Results = {}
    for (width, height), radii in RADII.items():
        for color, radius in product(("white", "red", "blue"), radii):
            scene = Scene(width, height, radius=radius, color=COLORS[color])
            results[f"{width}x{height}, {color}: radius {radius} px"] = measure(scene, times)
    show(TABLE, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
