"""The process boundary: frames go out to `process_a`, coordinates come back.

    main thread                          process_a
    offer(pts, planes) ── frames ──────▶ find the ball       Queue: (pts, image)
    on_found(pts, x, y) ◀── x, y, pts ── store, then wake    Values under one lock, a byte through a pipe

- The frame's pixels lie in shared memory; what the Queue carries is their name (`SharedImage`). Pickled
  through the Queue's pipe, a frame of 640x480 takes 1 ms more each way, one of 1920x1080 seven.
- process_a waits for `taken` before it stores the next coordinate, so none is overwritten unread; x, y and the
  pts that they belong to change together under the lock that the three Values share.
- While process_a is busy frames wait, as many as can be found before the next one is due (see backlog.py); what is
  passed over is told.
- Nothing polls: the pipe, and the process's sentinel, wake the event loop. A process_a that says nothing for too
  long is killed (common/processes.py), and like one that died started again.
- What goes wrong with a person's own finder (own.py) comes as text through the same pipe.
- process_a imports neither aiortc nor av. As its start method is spawn, it imports the main program's file
  again: that file must not import them at its top either. (cv2.imshow hangs where av came first.)
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue

from ball_track import Image, Point
from common.processes import FAILED_STARTS, Child, ChildState, PromptQueue, SharedImage, context, share
from finding.backlog import Backlog
from finding.own import UNUSABLE
from finding.process_a import process_a

logger = logging.getLogger(__name__)

READY_TIMEOUT = 30.0  # s, for process_a to import OpenCV on a busy machine
STOP_TIMEOUT = 1.0  # s, for process_a to end when it is asked to
FRAME_PATIENCE = 1.25  # s for a frame; if they usually take more than a tenth of it, ten times that


class FinderError(Exception):
    """process_a cannot be started, or given frames."""


# --- In the main thread --------------------------------------------------------------------------


class Finder:
    """Runs process_a: starts it, feeds it the newest frame, takes each coordinate, and starts it again if it fails.

    Use it as `async with Finder(...) as finder`; process_a is ready when the block begins.

    Args:
        on_found: called in the event loop with each frame's pts and the ball's centre, None if there is none.
        on_skipped: called with the pts of each frame that process_a never got to.
        on_restart: called when process_a died, or hung, and is being started again.
        target: what runs in the process; process_a, but for the tests.
        on_fault: called with the kind of each fault of a person's own finder, and what happened; see own.py.
        patience: s for process_a to come up.
    """

    def __init__(
        self,
        on_found: Callable[[int, Point | None], None],
        on_skipped: Callable[[int], None],
        on_restart: Callable[[], None] = lambda: None,
        target: Callable[..., None] = process_a,
        on_fault: Callable[[str, str], None] = lambda *_: None,
        patience: float = READY_TIMEOUT,
    ) -> None:
        self.on_found = on_found
        self.on_skipped = on_skipped
        self.on_restart = on_restart
        self.on_fault = on_fault
        self._ready_timeout = patience
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._child = Child(
            "process_a",
            target,
            self._share_anew,
            self._on_message,
            self._on_end,
            patience=FRAME_PATIENCE,
            start_patience=patience,
        )
        self._shared: _Shared | None = None
        self._image: SharedImage | None = None
        self._current: int | None = None  # pts of the frame that process_a has
        self._fed = 0.0  # s, when process_a got it
        self._backlog: Backlog[Sequence[Image]] = Backlog()
        self._first_ready = self._loop.create_future()

    async def __aenter__(self) -> "Finder":
        """Start process_a and wait until it is ready for frames.

        Raises:
            FinderError: it did not come up.
        """
        self._child.start()
        try:
            async with asyncio.timeout(self._ready_timeout):
                await asyncio.wait((self.failed, self._first_ready), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self.close()
            raise FinderError(f"process_a was not ready within {self._ready_timeout:g} s") from None
        except asyncio.CancelledError:  # nobody waits for it any more
            await self.close()
            raise
        if self.failed.done():
            await self.close()
            self.failed.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """Return the process id of process_a, or None while there is none."""
        return self._child.pid

    @property
    def ready(self) -> bool:
        """Return whether process_a is there to find the ball."""
        return self._child.state in {ChildState.IDLE, ChildState.BUSY}

    def offer(self, pts: int, seen: Sequence[Image]) -> None:
        """Hand over a frame. Those before it are skipped that cannot be found any more before the next one is due.

        Args:
            pts: the frame's name, in ticks.
            seen: its Y, U and V planes, (H, W), (H / 2, W / 2) and (H / 2, W / 2) uint8. They must stay
                as they are until the frame is found or skipped.
        """
        for skipped in self._backlog.add(pts, seen, busy=self._current is not None):
            self.on_skipped(skipped)
        self._feed()

    def _feed(self) -> None:
        if self._child.state is not ChildState.IDLE:
            return
        waiting = self._backlog.pop()
        if waiting is None:
            return
        assert self._shared is not None
        pts, seen = waiting
        self._fed = self._loop.time()
        image, self._image = self._image, None
        try:
            self._image = share(seen, image)
        except OSError as error:
            self._fail(f"no shared memory for a frame: {error.strerror or error}")
            return
        self._current = pts
        self._child.begin()
        self._shared.frames.put((pts, self._image))

    def _share_anew(self) -> Sequence[object]:
        shared = self._shared = _Shared()
        return shared.frames, shared.x, shared.y, shared.pts, shared.taken

    def _on_message(self) -> None:
        """Take what process_a stored; process_a has let go of the lock before it woke us."""
        shared = self._shared
        assert shared is not None
        fault = self._child.connection.recv_bytes().decode()
        if fault:
            self._on_fault(*fault.split(" ", 1))
            return
        came_up = self._child.came_up
        self._child.done()
        if not came_up:
            if not self._first_ready.done():
                self._first_ready.set_result(None)
        else:
            with shared.x.get_lock():
                pts, point = shared.pts.value, Point(shared.x.value, shared.y.value)
            shared.taken.release()
            self._current = None
            self._backlog.on_found(self._loop.time() - self._fed)
            self.on_found(pts, None if math.isnan(point.x) else point)
        self._feed()

    def _on_fault(self, kind: str, text: str) -> None:
        if kind == UNUSABLE:
            self._fail(text)
        else:
            self.on_fault(kind, text)

    def _on_end(self, how: str) -> None:
        """Start process_a again; the frame that it had is skipped."""
        self._free_shared()
        if self.failed.done():
            return
        logger.warning("process_a: %s", how)
        if not self._child.restart():
            self._fail(f"process_a: {how}, {FAILED_STARTS} times before it was ready")
            return
        self._backlog.on_restart()
        self.on_restart()
        if self._current is not None:
            self.on_skipped(self._current)
            self._current = None

    def _fail(self, why: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(FinderError(why))

    def _free_shared(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    async def close(self) -> None:
        """End process_a: ask it, wait, and kill it if it does not listen. Does nothing the second time."""

        def ask() -> None:
            assert self._shared is not None
            self._shared.frames.put(None)
            self._shared.taken.release()

        await self._child.close(ask, STOP_TIMEOUT)
        self._free_shared()
        image, self._image = self._image, None
        if image is not None:
            image.close()
        self._backlog.clear()
        if not self.failed.cancel() and not self.failed.cancelled():
            self.failed.exception()  # seen


class _Shared:
    """What one life of process_a shares with us, but for the images."""

    def __init__(self) -> None:
        lock = context.RLock()
        self.frames: Queue[tuple[int, SharedImage] | None] = PromptQueue()
        self.x = context.Value("d", math.nan, lock=lock)
        self.y = context.Value("d", math.nan, lock=lock)
        self.pts = context.Value("q", 0, lock=lock)
        self.taken = context.Semaphore(1)

    def close(self) -> None:
        """Free it."""
        self.frames.close()
        self.frames.join_thread()  # its last act unlinks semaphores: cut short, it would leave a warning
