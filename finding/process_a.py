"""process_a: what runs in the process that finds the ball."""

import math
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Semaphore

import cv2

from ball_track import Image, Point, Scene, draw, find
from common.memory import keep_freed_memory
from common.processes import end_with_parent
from finding.own import UNUSABLE, OwnFinder, OwnFinderError, divert_stdout


def process_a(
    frames: "Queue[tuple[int, Image] | None]",
    x: "Synchronized[float]",
    y: "Synchronized[float]",
    pts: "Synchronized[int]",
    taken: Semaphore,
    wake: Connection,
    look: Callable[[Image], Point | None] = find,
    own: str | None = None,
) -> None:
    """Find the ball in each frame, and store where it is, until the frames end.

    Args:
        frames: (pts in ticks, (H * 3 / 2, W) uint8 I420) pairs; None means that there are no more.
        x, y: where the ball's centre goes, px; nan where there is none. Their lock is one and the same.
        pts: which frame it belongs to, ticks; under the same lock.
        taken: released by the reader when it has read x, y and pts.
        wake: gets an empty message when process_a is ready, and one for each coordinate stored; and, as text, the
            kind of each fault and what happened.
        look: finds the ball's centre in an image.
        own: MODULE:FUNCTION of a person's own finder, which is asked instead; see own.py.
    """
    end_with_parent()
    keep_freed_memory()
    cv2.setNumThreads(1)  # the other core has the codec to run
    if own is not None:

        def complain(kind: str, text: str) -> None:
            wake.send_bytes(f"{kind} {text}".encode(errors="backslashreplace"))

        try:
            look = OwnFinder(own, complain, divert_stdout())
        except OwnFinderError as error:
            complain(UNUSABLE, f"--find {own}: {error}")
            return
    look(draw(Scene(), Point(100, 100)))  # what is done once is done before the first frame
    wake.send_bytes(b"")
    while (item := frames.get()) is not None:
        stamp, image = item
        point = look(image) or Point(math.nan, math.nan)
        del item, image  # let go of the shared memory before the next frame may replace it
        taken.acquire()
        with x.get_lock():
            x.value, y.value = point
            pts.value = stamp
        wake.send_bytes(b"")
