"""Where a person looks: a window, a page in a browser, a recording. Any of them, together.

    main thread                                            the view's own process
    Views: gathers what is known of each frame
    View.offer(picture) ── (figures, trail, image) ──────▶ draws it over the image, shows it
    ready for the next  ◀── Ready ────────────────────────

- What the loop pays for a view is one copy of the planes to shared memory, once the frame's coordinate is on
  its way. Colour conversion, drawing, JPEG, H.264 and the window system run elsewhere, at a lower priority.
- A view gets a picture when it is ready for one, and then the newest; only the recording has a queue.
- A frame is shown together with its own coordinate, error and latency: when its score arrives from the server,
  or that of a later frame does, or after PATIENCE.
- Each view has a process of its own, so that one that dies takes nothing along: imshow ends its process with
  SIGABRT where there is no display, and hangs for ever where av was imported before cv2.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2

from ball_track import Image, Point, blank
from messages import Score
from options import ListenError
from overlay import Figures, Footprint, compose
from processes import SharedImage, context, end_with_parent, share, signals_blocked, wait_or_kill

if TYPE_CHECKING:  # the views' processes import this file, and have no use for a web server
    from aiohttp import web

    from page import Page

logger = logging.getLogger(__name__)

TITLE = "ball over WebRTC"
CLOSING_KEYS = (27, ord("q"))  # Esc, q
WINDOW_POLL = 0.02  # s between two looks at keys and pictures
JPEG_QUALITY = 85
PAGE_INTERVAL = 1 / 45  # s between two pictures for the page at least: all of 30 a second, half of 60

READY_TIMEOUT = 30.0  # s for a view to come up on a busy machine
STOP_TIMEOUT = 1.0  # s for a view to end when it is asked to
FLUSH_TIMEOUT = 10.0  # s for the recording to encode what it has and to close the file
PATIENCE = 0.25  # s that a frame waits to be shown for the server to score it
MAX_PENDING = 16  # frames that wait so
RECORDING_BACKLOG = 16  # frames that wait for the recording's process
TRAIL_TICKS = 90_000  # 1 s
NICENESS = 10  # of the views' processes: decoder and process_a go first


class Picture(NamedTuple):
    """A frame and what is known of it, as a view's process gets it.

    pts: ticks of 1 / 90000 s; image: (H * 3 / 2, W) uint8 I420, valid until the view is ready again.
    """

    pts: int
    figures: Figures
    trail: Sequence[Footprint]
    image: Image


class Ready(NamedTuple):
    """A view says: send the next picture. There are `size` bytes of JPEG in the last one's place."""

    size: int = 0


class Closed(NamedTuple):
    """A view says: the person who looks wants to end."""


class Failed(NamedTuple):
    """A view says why it cannot go on."""

    reason: str


# --- In a view's process -------------------------------------------------------------------------


def run_view(target: Callable[..., None], connection: Connection, *args: Any) -> None:
    """Run a view until there are no more pictures, or nobody who could send them."""
    os.nice(NICENESS)
    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        target(connection, *args)


def show_window(connection: Connection) -> None:
    """Show pictures in a window until it is closed, by a key or with the mouse."""
    end_with_parent()  # where the window system hangs, too
    _open_window()
    connection.send(Ready())
    shape = None
    while True:
        if connection.poll(WINDOW_POLL):
            picture: Picture | None = connection.recv()
            if picture is None:
                return
            drawn = compose(picture.image, picture.figures, picture.trail)
            del picture  # its memory may be gone when the next one comes
            if drawn.shape != shape:
                shape = drawn.shape
                cv2.resizeWindow(TITLE, shape[1], shape[0])
            cv2.imshow(TITLE, drawn)
            connection.send(Ready())
        if cv2.waitKey(1) in CLOSING_KEYS or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            connection.send(Closed())
            return


def _open_window() -> None:
    """Open the window. Where there is no display, this process is aborted here."""
    # Qt tells on stderr what the main process tells better; a traceback of ours is still to be seen
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)
    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    cv2.imshow(TITLE, compose(blank(640, 480), Figures(), ()))
    cv2.waitKey(1)


def encode_jpegs(connection: Connection) -> None:
    """Turn pictures into JPEG, and put that where the image was."""
    connection.send(Ready())
    while True:
        picture: Picture | None = connection.recv()
        if picture is None:
            return
        drawn = compose(picture.image, picture.figures, picture.trail)
        data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        fits = data.size <= picture.image.size
        if fits:
            picture.image.reshape(-1)[: data.size] = data.reshape(-1)
        del picture  # its memory may be gone when the next one comes
        connection.send(Ready(data.size if fits else 0))


# --- In the main thread: one view ----------------------------------------------------------------


@dataclass(slots=True)
class Known:
    """What is known of a frame that waits to be shown."""

    pts: int
    seen: Sequence[Image]
    received: float  # s of the loop's clock
    found: Point | None = None
    score: Score | None = None
    complete: bool = False  # nothing more will be known


class View:
    """One view's process: starts it, feeds it, notices its end, stops it.

    Args:
        name: what a person calls it.
        target: what runs in the process, with a connection and `args`.
        on_end: called when the process has ended of its own accord, with why; None means that it was closed.
        on_jpeg: called with the JPEGs that it makes.
        backlog: pictures that may wait for it; the oldest gives way.
        patience: s for it to end when it is asked to.
    """

    def __init__(
        self,
        name: str,
        target: Callable[..., None],
        *args: Any,
        on_end: Callable[["View", str | None], None],
        on_jpeg: Callable[[bytes], None] = lambda _: None,
        backlog: int = 1,
        patience: float = STOP_TIMEOUT,
    ) -> None:
        self.name = name
        self.shown = self.passed_over = 0  # pictures
        self.came_up = False
        self.started = asyncio.Event()  # it is ready for pictures, or has ended
        self._idle = asyncio.Event()  # and there is none for it
        self._on_end, self._on_jpeg, self._patience = on_end, on_jpeg, patience
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Known, Figures, Sequence[Footprint]]] = deque()
        self._backlog = backlog
        self._ready = False
        self._image: SharedImage | None = None
        self._why: str | None = None
        self._closed_by_person = False
        self._connection, theirs = context.Pipe()
        self._process: SpawnProcess | None = context.Process(
            target=run_view, args=(target, theirs, *args), name=name, daemon=True
        )
        with signals_blocked():
            self._process.start()
        theirs.close()  # so that the connection ends when the process does
        self._loop.add_reader(self._connection, self._on_reply)

    @property
    def alive(self) -> bool:
        """Return whether its process is there."""
        return self._process is not None

    def offer(self, known: Known, figures: Figures, trail: Sequence[Footprint]) -> None:
        """Show a frame, when the view is ready for it and if no newer one is there by then."""
        if self._process is None:
            return
        self._waiting.append((known, figures, trail))
        if len(self._waiting) > self._backlog:
            self._waiting.popleft()
            self.passed_over += 1
        self._idle.clear()
        self._feed()

    def _feed(self) -> None:
        if not self._ready:
            return
        if not self._waiting:
            self._idle.set()
            return
        known, figures, trail = self._waiting.popleft()
        self._image = share(known.seen, self._image)
        self._ready = False
        self.shown += 1
        with contextlib.suppress(ConnectionError):  # it died: its end of the connection tells
            self._connection.send(Picture(known.pts, figures, trail, self._image))  # type: ignore[arg-type]  # see SharedImage

    def _on_reply(self) -> None:
        """Take what the process says; a message is short, so all of it is there."""
        try:
            reply = self._connection.recv()
        except (EOFError, ConnectionError):
            self._on_death()
            return
        match reply:
            case Ready(size):
                if size:
                    assert self._image is not None
                    self._on_jpeg(self._image.array.reshape(-1)[:size].tobytes())
                self._ready = self.came_up = True
                self.started.set()
                self._feed()
            case Closed():
                self._closed_by_person = True
            case Failed(reason):
                self._why = reason

    def _on_death(self) -> None:
        status = self._drop()
        self.started.set()
        self._idle.set()
        if self._closed_by_person:
            self._on_end(self, None)
        else:
            self._on_end(self, self._why or f"its process ended with {_describe(status)}")

    def _drop(self) -> int | None:
        """Reap the process and free what was shared with it; return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        self._loop.remove_reader(self._connection)
        process.join()
        status = process.exitcode
        process.close()
        self._connection.close()
        self._waiting.clear()
        if self._image is not None:
            self._image.close()
            self._image = None
        return status

    async def close(self) -> None:
        """End the process: let it show what waits, ask it, wait, and kill it if it does not listen."""
        if self._process is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._idle.wait()
        if self._process is None:
            return
        self._loop.remove_reader(self._connection)
        with contextlib.suppress(ConnectionError):
            self._connection.send(None)
        await wait_or_kill(self._process, self._patience)
        self._drop()


def _describe(status: int | None) -> str:
    """Return how a process ended, from its exit status."""
    return signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"


# --- In the main thread: all of them -------------------------------------------------------------


class Views:
    """All that shows the frames that the client receives, and what came of them.

    Use it as `async with Views(...)`. The callbacks are called in the event loop, and cost little where there is
    no view.

    Args:
        wanted: "window", "web", or "auto" for a window if there is a display.
        http: host and port of the page.
        record: where to write a recording, if at all.
        add_routes: adds to the page's web application what else is to be served there.
        on_closed: called when the person who looks has closed the window.
    """

    def __init__(
        self,
        wanted: Sequence[str],
        http: tuple[str, int],
        record: str | None,
        add_routes: "Callable[[web.Application], None]",
        on_closed: Callable[[], None],
    ) -> None:
        self.failed = False  # something that was asked for could not be had
        self._wanted, self._http, self._record = wanted, http, record
        self._add_routes, self._on_closed = add_routes, on_closed
        self._loop = asyncio.get_running_loop()
        self._views: list[View] = []
        self._page: Page | None = None
        self._jpegs: View | None = None
        self._recording: View | None = None
        self._next_jpeg = 0.0  # s of the loop's clock
        self.begin()

    async def __aenter__(self) -> "Views":
        """Start what is wanted.

        Raises:
            ListenError: the page's port cannot be had.
        """
        if "web" in self._wanted:
            from page import Page  # aiohttp takes its time to import

            self._page = Page(self._add_routes)
            try:
                await self._page.open(*self._http)
            except OSError as error:
                address = "{}:{}".format(*self._http)
                raise ListenError(f"--http {address}: cannot listen there: {error.strerror or error}") from None
            print(f"page: {self._page.url}")
            self._jpegs = self._start("page's picture", encode_jpegs, on_jpeg=self._page.show)
        if "window" in self._wanted or "auto" in self._wanted:
            if sys.platform == "linux" and not os.environ.get("DISPLAY"):
                print("window: there is no display (DISPLAY is not set); going on without it")
            else:
                self._start("window", show_window)
        if self._record:
            from recording import record

            self._recording = self._start(
                "recording", record, self._record, backlog=RECORDING_BACKLOG, patience=FLUSH_TIMEOUT
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything; does nothing the second time."""
        if self._page is not None:
            await self._page.close()
        for known in self._pending:
            known.complete = True
        self._show_complete()
        await asyncio.gather(*(view.close() for view in self._views))
        view = self._recording
        if view is not None and view.shown:
            missing = f", {view.passed_over} passed over" if view.passed_over else ""
            print(f"recording: {view.shown} frames in {self._record}{missing}")
            self._recording = None

    def _start(self, name: str, target: Callable[..., None], *args: Any, **options: Any) -> View:
        view = View(name, target, *args, on_end=self._on_end, **options)
        self._views.append(view)
        return view

    async def started(self) -> None:
        """Wait until every view is ready for frames, or has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT):
                for view in self._views:
                    await view.started.wait()

    def _on_end(self, view: View, why: str | None) -> None:
        if why is None:
            self._on_closed()
        elif view.name == "window" and not view.came_up:
            print(f"window: the display {os.environ.get('DISPLAY', '')} cannot be used; {why}; going on without it")
        else:
            logger.error("%s: %s; going on without it", view.name, why)
        self.failed = self.failed or view is self._recording

    # --- What the client tells -------------------------------------------------------------------

    def begin(self) -> None:
        """Forget the frames of the last session: a new one counts its pts anew."""
        self._pending: list[Known] = []  # oldest first
        self._found: deque[tuple[int, Point]] = deque()  # of the last second, oldest first
        self._arrivals: deque[float] = deque()  # s of the loop's clock, of the last second
        self._counts: tuple[int, int] | tuple[None, None] = (None, None)  # scored, lost

    def on_frame(self, pts: int, seen: Sequence[Image]) -> None:
        """Take note of a frame that was received.

        Args:
            pts: its name, in ticks.
            seen: its Y, U and V planes, (H, W), (H / 2, W / 2) and (H / 2, W / 2) uint8. They must stay as they are.
        """
        if not self._views:
            return
        now = self._loop.time()
        self._arrivals.append(now)
        while self._arrivals[0] <= now - 1:
            self._arrivals.popleft()
        self._pending.append(Known(pts, seen, now))
        for known in self._pending[:-MAX_PENDING]:
            known.complete = True
        for known in self._pending:
            if known.received > now - PATIENCE:
                break
            known.complete = True
        self._show_complete()

    def on_found(self, pts: int, point: Point | None) -> None:
        """Take note of where the ball is in a frame, None for nowhere."""
        known = self._know(pts)
        if known is None:
            return
        if point is None:
            known.complete = True
            self._show_complete()
            return
        known.found = point
        self._found.append((pts, point))
        while self._found[0][0] < pts - TRAIL_TICKS:
            self._found.popleft()

    def on_skipped(self, pts: int) -> None:
        """Take note of a frame that was passed over."""
        known = self._know(pts)
        if known is not None:
            known.complete = True
            self._show_complete()

    def on_score(self, score: Score) -> None:
        """Take note of what the server made of a coordinate.

        Scores arrive in the frames' order; one that was overtaken is not worth waiting for.
        """
        if not self._views:
            return
        self._counts = score.scored, score.lost
        if self._page is not None:
            self._page.sample(score.error_px, score.latency_ms)
        for known in self._pending:
            if known.pts > score.pts:
                break
            known.complete = True
            if known.pts == score.pts:
                known.score = score
        self._show_complete()

    def _know(self, pts: int) -> Known | None:
        return next((known for known in self._pending if known.pts == pts), None)

    def _show_complete(self) -> None:
        """Show the frames that wait no longer, in their order."""
        while self._pending and self._pending[0].complete:
            self._show(self._pending.pop(0))

    def _show(self, known: Known) -> None:
        score = known.score
        figures = Figures(known.found, score and score.error_px, score and score.latency_ms, self._fps(), *self._counts)
        trail = [Footprint((known.pts - pts) / TRAIL_TICKS, at) for pts, at in self._found if pts <= known.pts]
        for view in self._views:
            if view is not self._jpegs or self._page_wants_picture():
                view.offer(known, figures, trail)
        if self._page is not None:
            self._page.figures = figures

    def _fps(self) -> float | None:
        """Return how many frames a second were received in the last second."""
        if len(self._arrivals) < 2:
            return None
        return (len(self._arrivals) - 1) / (self._arrivals[-1] - self._arrivals[0])

    def _page_wants_picture(self) -> bool:
        assert self._page is not None
        now = self._loop.time()
        if not self._page.watchers or now < self._next_jpeg:
            return False
        self._next_jpeg = now + PAGE_INTERVAL
        return True


# --- The command line ----------------------------------------------------------------------------


def kinds(text: str) -> tuple[str, ...]:
    """Return which views are wanted, from their names with commas between; () for none.

    Raises:
        argparse.ArgumentTypeError: there is no such view.

    >>> kinds("window,web"), kinds("none")
    (('window', 'web'), ())
    """
    names = tuple(dict.fromkeys(text.split(",")))
    if names == ("none",):
        return ()
    if not {"auto", "window", "web"}.issuperset(names):
        raise argparse.ArgumentTypeError(f"{text!r}: must be none, or some of auto, window, web with commas between")
    return names
