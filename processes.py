"""What every process of ours needs: how it is started, gets an image, and ends.

A child is spawned, not forked: it inherits no socket (a forked one would keep the signaling connection open
after the client is gone) and no thread's lock. It imports the main program's file again.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from ball_track import Image, planes

context = multiprocessing.get_context("spawn")


# --- In the parent -------------------------------------------------------------------------------


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM, which a child inherits: when it ends is for its parent to say.

    A Ctrl-C goes to the whole group of processes, and would end a child in the middle of its imports.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def wait_or_kill(process: BaseProcess, patience: float) -> None:
    """Wait for a process that was asked to end; kill it if it does not do so within `patience` seconds."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        async with asyncio.timeout(patience):
            await ended.wait()
    except TimeoutError:
        process.kill()
    finally:
        loop.remove_reader(process.sentinel)


class SharedImage:
    """An image in shared memory that pickles as its name: sent to a child, it comes out as the array.

    Only one image is current at a time: writing the next one, or closing, ends the validity of the last.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        """Make room for an image of `shape`, (H * 3 / 2, W) uint8 I420."""
        self._memory = SharedMemory(create=True, size=shape[0] * shape[1])
        self.array: Image = np.ndarray(shape, np.uint8, buffer=self._memory.buf)

    def __reduce__(self) -> tuple[Callable[..., Image], tuple[str, tuple[int, ...]]]:
        return _attach, (self._memory.name, self.array.shape)

    def close(self) -> None:
        """Give the memory back."""
        del self.array
        self._memory.close()
        self._memory.unlink()


def share(seen: Sequence[Image], into: SharedImage | None) -> SharedImage:
    """Copy a frame's Y, U and V planes to shared memory; into that of the last frame, if it has the size."""
    height, width = seen[0].shape
    shape = (height * 3 // 2, width)
    if into is not None and into.array.shape != shape:
        into.close()
        into = None
    image = into or SharedImage(shape)
    for mine, theirs in zip(planes(image.array), seen, strict=True):
        mine[:] = theirs
    return image


# --- In the child --------------------------------------------------------------------------------


def end_with_parent() -> None:
    """End this process as soon as its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_attached: SharedMemory | None = None  # the memory that the last image came in


def _attach(name: str, shape: tuple[int, ...]) -> Image:
    """Return the array that a SharedImage holds, in the process that it was sent to."""
    global _attached  # noqa: PLW0603  # unpickling has no other place to keep it
    if _attached is None or _attached.name != name:
        if _attached is not None:
            _attached.close()
        _attached = SharedMemory(name)
    return np.ndarray(shape, np.uint8, buffer=_attached.buf)
