"""The process boundary: frames go out to `process_a`, coordinates come back.

    main thread                          process_a
    offer(pts, planes) ── frames ──────▶ find the ball       Queue: (pts, image)
    on_found(pts, x, y) ◀── x, y, pts ── store, then wake    Values under one lock, a byte through a pipe

- The frame's pixels lie in shared memory; what the Queue carries is their name (`SharedImage`). Pickled
  through the Queue's pipe, a frame of 640x480 takes 1 ms more each way, one of 1920x1080 seven.
- process_a waits for `taken` before it stores the next coordinate, so none is overwritten unread; x, y and the
  pts that they belong to change together under the lock that the three Values share.
- While process_a is busy the newest frame waits, one only; the one that it replaces is skipped, and told.
- Nothing polls: the pipe, and the process's sentinel, wake the event loop.
- process_a imports neither aiortc nor av. As its start method is spawn, it imports the main program's file
  again: that file must not import them at its top either. (cv2.imshow hangs where av came first.)
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue

from ball_track import Image, Point
from common.processes import SharedImage, context, share, signals_blocked, wait_or_kill
from finding.process_a import process_a

logger = logging.getLogger(__name__)

READY_TIMEOUT = 30.0  # s, for process_a to import OpenCV on a busy machine
STOP_TIMEOUT = 1.0  # s, for process_a to end when it is asked to
MAX_FAILED_STARTS = 3  # in a row, before the first frame
RESTART_DELAY = 0.5  # s, after a start that failed


class FinderError(Exception):
    """process_a cannot be started."""


# --- In the main thread --------------------------------------------------------------------------


class Finder:
    """Runs process_a: starts it, feeds it the newest frame, takes each coordinate, and starts it again if it dies.

    Use it as `async with Finder(...) as finder`; process_a is ready when the block begins.

    Args:
        on_found: called in the event loop with each frame's pts and the ball's centre, None if there is none.
        on_skipped: called with the pts of each frame that process_a never got to.
        on_restart: called when process_a died and is being started again.
        target: what runs in the process; process_a, but for the tests.
    """

    def __init__(
        self,
        on_found: Callable[[int, Point | None], None],
        on_skipped: Callable[[int], None],
        on_restart: Callable[[], None] = lambda: None,
        target: Callable[..., None] = process_a,
    ) -> None:
        self.on_found = on_found
        self.on_skipped = on_skipped
        self.on_restart = on_restart
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._worker: _Worker | None = None
        self._image: SharedImage | None = None
        self._current: int | None = None  # pts of the frame that process_a has
        self._waiting: tuple[int, Sequence[Image]] | None = None  # the newest frame after that
        self._failed_starts = 0
        self._restart: asyncio.TimerHandle | None = None
        self._first_ready = self._loop.create_future()

    async def __aenter__(self) -> "Finder":
        """Start process_a and wait until it is ready for frames.

        Raises:
            FinderError: it did not come up.
        """
        self._start()
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await asyncio.wait((self.failed, self._first_ready), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self.close()
            raise FinderError(f"process_a was not ready within {READY_TIMEOUT:g} s") from None
        if self.failed.done():
            await self.close()
            self.failed.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """Return the process id of process_a, or None while there is none."""
        return self._worker.process.pid if self._worker else None

    def offer(self, pts: int, seen: Sequence[Image]) -> None:
        """Hand over a frame. The newest wins: one that has waited for process_a until now is skipped.

        Args:
            pts: the frame's name, in ticks.
            seen: its Y, U and V planes, (H, W), (H / 2, W / 2) and (H / 2, W / 2) uint8. They must stay
                as they are until the frame is found or skipped.
        """
        if self._waiting is not None:
            self.on_skipped(self._waiting[0])
        self._waiting = (pts, seen)
        self._feed()

    def _feed(self) -> None:
        worker = self._worker
        if worker is None or not worker.ready or self._current is not None or self._waiting is None:
            return
        (pts, seen), self._waiting = self._waiting, None
        self._image = share(seen, self._image)
        self._current = pts
        worker.frames.put((pts, self._image))

    def _start(self) -> None:
        self._restart = None
        worker = self._worker = _Worker(self._target)
        self._loop.add_reader(worker.wake, self._on_wake)
        self._loop.add_reader(worker.process.sentinel, self._on_death)

    def _on_wake(self) -> None:
        """Take what process_a stored; process_a has let go of the lock before it woke us."""
        worker = self._worker
        assert worker is not None
        try:
            worker.wake.recv_bytes()
        except (EOFError, OSError):  # it died: the sentinel tells
            self._loop.remove_reader(worker.wake)
            return
        if not worker.ready:
            worker.ready = True
            self._failed_starts = 0
            if not self._first_ready.done():
                self._first_ready.set_result(None)
        else:
            with worker.x.get_lock():
                pts, point = worker.pts.value, Point(worker.x.value, worker.y.value)
            worker.taken.release()
            self._current = None
            self.on_found(pts, None if math.isnan(point.x) else point)
        self._feed()

    def _on_death(self) -> None:
        """Start process_a again; the frame that it had is skipped."""
        worker = self._worker
        assert worker is not None
        self._drop_worker()
        logger.warning("process_a ended with status %s", worker.status)
        self._failed_starts = 0 if worker.ready else self._failed_starts + 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            error = FinderError(f"process_a ended {self._failed_starts} times before it was ready")
            if not self.failed.done():
                self.failed.set_exception(error)
            return
        self.on_restart()
        if self._current is not None:
            self.on_skipped(self._current)
            self._current = None
        self._restart = self._loop.call_later(RESTART_DELAY if self._failed_starts else 0, self._start)

    def _drop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._loop.remove_reader(worker.wake)
            self._loop.remove_reader(worker.process.sentinel)
            worker.close()

    def _free_image(self) -> None:
        image, self._image = self._image, None
        if image is not None:
            image.close()

    async def close(self) -> None:
        """End process_a: ask it, wait, and kill it if it does not listen. Does nothing the second time."""
        if self._restart is not None:
            self._restart.cancel()
        worker = self._worker
        if worker is not None:
            self._loop.remove_reader(worker.process.sentinel)
            with contextlib.suppress(ValueError):  # a queue that is closed already
                worker.frames.put(None)
            worker.taken.release()
            await wait_or_kill(worker.process, STOP_TIMEOUT)
            self._drop_worker()
        self._free_image()
        self._waiting = None
        if not self.failed.cancel() and not self.failed.cancelled():
            self.failed.exception()  # seen


class _Worker:
    """One life of process_a, with everything that it shares with us."""

    def __init__(self, target: Callable[..., None]) -> None:
        lock = context.RLock()
        self.ready = False
        self.status: int | None = None  # the exit status, once closed
        self.frames: Queue[tuple[int, SharedImage] | None] = context.Queue()
        self.x = context.Value("d", math.nan, lock=lock)
        self.y = context.Value("d", math.nan, lock=lock)
        self.pts = context.Value("q", 0, lock=lock)
        self.taken = context.Semaphore(1)
        self.wake, theirs = context.Pipe(duplex=False)
        self.process: SpawnProcess = context.Process(
            target=target,
            args=(self.frames, self.x, self.y, self.pts, self.taken, theirs),
            name="process_a",
            daemon=True,
        )
        with signals_blocked():
            self.process.start()
        theirs.close()  # ours is the reading end: it ends when the process does

    def close(self) -> None:
        """Reap the process and free what was shared with it."""
        self.process.join()
        self.status = self.process.exitcode
        self.process.close()
        self.wake.close()
        self.frames.close()
        self.frames.join_thread()  # its last act unlinks semaphores: cut short, it would leave a warning
