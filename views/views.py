"""Where a person looks: a window, a page in a browser, a recording. Any of them, together.

    main thread                                            the view's own process (screens.py, recording.py)
    Sightings: what is known of each frame
    View.offer(picture) ── (figures, trail, image) ──────▶ draws it over the image, shows it
    ready for the next ◀─── Idle ─────────────────────────

- What the loop pays for a view is one copy of the planes to shared memory, once the frame's coordinate is on
  its way. Colour conversion, drawing, JPEG, H.264 and the window system run elsewhere, at a lower priority.
- A view gets a picture when it is ready for one, and then the newest; only the recording has a queue.
- Each view has a process of its own, so that one that dies takes nothing along: imshow ends its process with
  SIGABRT where there is no display, and hangs for ever where av was imported before cv2.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ball_track import Image, Point
from common.files import replaces
from protocol.messages import Score, Truth
from views.present import Present
from views.screens import encode_jpegs, show_window
from views.sightings import Sight, Sightings
from views.view import View

if TYPE_CHECKING:  # the views' processes import this file, and have no use for a web server
    from aiohttp import web

    from views.page import Page

logger = logging.getLogger(__name__)

PAGE_INTERVAL = 1 / 45  # s between two pictures for the page at least: all of 30 a second, half of 60

READY_TIMEOUT = 30.0  # s for the recording to come up on a busy machine, before frames are asked for
FLUSH_TIMEOUT = 10.0  # s for the recording to encode what it has and to close the file
RECORDING_BACKLOG = 16  # frames that wait for the recording's process


# --- All of them ---------------------------------------------------------------------------------


class ViewError(Exception):
    """A view that was asked for cannot be had."""


class Views:
    """All that shows the frames that the client receives, and what came of them.

    Use it as `async with Views(...)`. The callbacks are called in the event loop, and cost little where there is
    no view.

    Args:
        wanted: "window", "web", or "auto" for a window if there is a display.
        http: host and port of the page.
        record: where to write a recording, if at all.
        add_routes: adds to the page's web application what else is to be served there.
        on_closed: called when the person who looks has closed the window, or when the window that was asked for
            cannot be had.
    """

    def __init__(
        self,
        wanted: Sequence[str],
        http: tuple[str, int],
        record: Path | None,
        add_routes: "Callable[[web.Application], None]",
        on_closed: Callable[[], None],
    ) -> None:
        self.failed = False  # the recording could not be had, or not to its end
        self.missing: str | None = None  # why the window that was asked for cannot be had
        self.farewell = "the client has ended"  # what the page says at the end
        self._wanted, self._http, self._record = wanted, http, record
        self._add_routes, self._on_closed = add_routes, on_closed
        self._loop = asyncio.get_running_loop()
        self._views: list[View] = []
        self._page: Page | None = None
        self._jpegs: View | None = None
        self._recording: View | None = None
        self._next_jpeg = 0.0  # s of the loop's clock
        self._sightings = Sightings(self._show)
        self._present = Present()

    async def __aenter__(self) -> "Views":
        """Start what is wanted.

        Raises:
            ViewError: there is no display for the window that is asked for.
            ListenError: the page's port cannot be had.
        """
        no_display = sys.platform == "linux" and not os.environ.get("DISPLAY")
        if no_display and "window" in self._wanted:
            raise ViewError("--view window: there is no display (DISPLAY is not set)")
        if "web" in self._wanted:
            from views.page import Page

            self._page = Page(self._add_routes)
            await self._page.open(*self._http)
            print(f"page: {self._page.url}")
            self._jpegs = self._start("page's picture", encode_jpegs, on_jpeg=self._page.show, keep=True)
        if "window" in self._wanted or "auto" in self._wanted:
            if no_display:
                print("window: there is no display (DISPLAY is not set); going on without it")
            else:
                self._start("window", show_window)
        if self._record is not None:
            from views.recording import record

            if replaces(self._record):
                print(f"recording: {self._record} is there already; it is replaced now")

            self._recording = self._start(
                "recording", record, self._record, backlog=RECORDING_BACKLOG, patience=FLUSH_TIMEOUT
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything; does nothing the second time."""
        if self._page is not None:
            self._page.farewell = self.farewell
            await self._page.close()
        self._sightings.flush()
        await asyncio.gather(*(view.close() for view in self._views))
        view = self._recording
        if view is not None and view.shown and not self.failed:
            missing = f", {view.passed_over} passed over" if view.passed_over else ""
            print(f"recording: {view.shown} frames in {self._record}{missing}")
            self._recording = None

    def _start(self, name: str, target: Callable[..., None], *args: Any, **options: Any) -> View:
        view = View(name, target, *args, on_end=self._on_end, **options)
        self._views.append(view)
        return view

    async def started(self) -> None:
        """Wait until the recording is ready for frames; all else comes when it comes, and is waited for by nobody."""
        if self._recording is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_TIMEOUT):
                    await self._recording.started.wait()

    def _on_end(self, view: View, why: str | None) -> None:
        if why is None:
            self._on_closed()
        elif view.name == "window" and not view.came_up:
            self._miss_window(view.reason or f"the display {os.environ.get('DISPLAY', '')} cannot be used: {why}")
        else:
            logger.error("%s: %s; going on without it", view.name, why)
        self.failed = self.failed or view is self._recording

    def _miss_window(self, why: str) -> None:
        """Go on without a window, unless it is what was asked for."""
        if "window" in self._wanted:
            self.missing = f"--view window: {why}"
            self._on_closed()
        else:
            print(f"window: {why}; going on without it")

    @property
    def watched(self) -> bool:
        """Return whether there is a view that somebody may look at."""
        return any(view.alive for view in self._views)

    @property
    def restarts(self) -> int:
        """Return how often a view's process died or hung and was started again."""
        return sum(view.restarts for view in self._views)

    # --- What the client tells -------------------------------------------------------------------

    def begin(self, watched: Mapping[str, int] | None = None) -> None:
        """Begin a session: it counts its pts, and its frames, anew.

        Args:
            watched: what is read in pictures of the film, by kind, where they do not come from the server; it changes.
        """
        if self._page is not None:
            self._page.watched = watched
        self._sightings.flush()
        self._sightings = Sightings(self._show)
        self._present = Present()

    def on_frame(self, pts: int, seen: Sequence[Image]) -> None:
        """Take note of a frame that was received: its pts (ticks) and its planes, which must stay as they are."""
        if self._views:
            self._sightings.on_frame(pts, seen, self._loop.time())

    def on_found(self, pts: int, point: Point | None) -> None:
        """Take note of where the ball is in a frame, None for nowhere."""
        if point is not None and self._views:
            self._present.on_found(pts, point, self._loop.time())
        self._sightings.on_found(pts, point)

    def on_skipped(self, pts: int) -> None:
        """Take note of a frame that was passed over."""
        self._sightings.on_skipped(pts)

    def on_truth(self, truth: Truth) -> None:
        """Take note of where the ball was in a frame."""
        self._sightings.on_truth(truth)

    def on_score(self, score: Score) -> None:
        """Take note of what the server made of a coordinate."""
        if self._page is not None:
            self._page.sample(score.error_px, score.latency_ms)
        self._present.on_score(score, self._loop.time())
        self._sightings.on_score(score)

    def _show(self, sight: Sight) -> None:
        predicted = self._present.where(self._loop.time())
        sight = sight._replace(figures=sight.figures._replace(predicted=predicted))
        for view in self._views:
            if view is not self._jpegs or self._page_wants_picture():
                view.offer(sight)
        if self._page is not None:
            self._page.tell(sight.figures)

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
