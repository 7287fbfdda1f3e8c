"""What runs in the process instead of process_a, in the tests of its boundary.

Each stand-in has process_a's arguments and keeps its protocol. The module is small, because the process that
is started imports it.
"""

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Semaphore
from typing import Any


def x_of(pts: int) -> float:
    """Return the x that belongs to a pts in `store_triples`."""
    return pts * 0.5 + 0.25


def y_of(pts: int) -> float:
    """Return the y that belongs to a pts in `store_triples`."""
    return -3.0 * pts


def store(
    point: tuple[float, float],
    stamp: int,
    x: "Synchronized[float]",
    y: "Synchronized[float]",
    pts: "Synchronized[int]",
    taken: Semaphore,
    wake: Connection,
) -> None:
    """Store one coordinate as process_a does."""
    taken.acquire()
    with x.get_lock():
        x.value, y.value = point
        pts.value = stamp
    wake.send_bytes(b"")


def store_triples(
    frames: "Queue[Any]",
    x: "Synchronized[float]",
    y: "Synchronized[float]",
    pts: "Synchronized[int]",
    taken: Semaphore,
    wake: Connection,
    count: int,
) -> None:
    """Wait for one frame, then store `count` coordinates as fast as they are taken."""
    wake.send_bytes(b"")
    if frames.get() is None:
        return
    for stamp in range(count):
        store((x_of(stamp), y_of(stamp)), stamp, x, y, pts, taken, wake)
    frames.get()


def tell_modules(
    frames: "Queue[Any]",
    x: "Synchronized[float]",
    y: "Synchronized[float]",
    pts: "Synchronized[int]",
    taken: Semaphore,
    wake: Connection,
) -> None:
    """Import what process_a needs, and store in x and y how many modules of av and aiortc came with it."""
    from finding import process_a

    assert callable(process_a.process_a)
    roots = [name.partition(".")[0] for name in sys.modules]
    wake.send_bytes(b"")
    while (item := frames.get()) is not None:
        store((roots.count("av"), roots.count("aiortc")), item[0], x, y, pts, taken, wake)


def end_at_once(*_: object) -> None:
    """End before being ready."""
    os._exit(3)


def never_be_ready(frames: "Queue[Any]", *_: object) -> None:
    """Come up, and say nothing, until the parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()


def ignore_the_end(
    frames: "Queue[Any]",
    x: "Synchronized[float]",
    y: "Synchronized[float]",
    pts: "Synchronized[int]",
    taken: Semaphore,
    wake: Connection,
) -> None:
    """Be ready, and never end when asked to."""
    wake.send_bytes(b"")
    threading.Event().wait()


def die_after_storing(
    frames: "Queue[Any]",
    x: "Synchronized[float]",
    y: "Synchronized[float]",
    pts: "Synchronized[int]",
    taken: Semaphore,
    wake: Connection,
) -> None:
    """Store each frame's pts as its coordinate; die while holding the lock at one whose pts is a multiple of 5."""
    wake.send_bytes(b"")
    while (item := frames.get()) is not None:
        stamp = item[0]
        if stamp % 5 == 0:
            x.get_lock().acquire()
            os._exit(9)
        store((stamp, stamp), stamp, x, y, pts, taken, wake)


# --- In the tests of common/processes.py ---------------------------------------------------------


def echo(wake: Connection) -> None:
    """Be ready, and say each message back until None comes."""
    wake.send("ready")
    while (message := wake.recv()) is not None:
        wake.send(message)


def echo_but_hang(wake: Connection) -> None:
    """Be ready, and say each message back; at "hang" say nothing any more."""
    wake.send("ready")
    while (message := wake.recv()) != "hang":
        wake.send(message)
    threading.Event().wait()


def say_and_end(wake: Connection) -> None:
    """Say something, and end at once with status 7."""
    wake.send("last words")
    os._exit(7)


def deaf(wake: Connection) -> None:
    """Be ready, and never end when asked to."""
    wake.send("ready")
    threading.Event().wait()
