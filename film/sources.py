"""Real pictures: a camera, a video file or a stream as a film.

What a source can do in the middle, and what comes of it:

    a file ends                 it begins again
    it breaks, or is gone       one line in the log; it is opened again, after growing pauses, until it is back
    it says nothing at all      the same, after 10 s
    parts of it are damaged     one line in the log; what can be decoded is shown
    its time stamps jump        one line in the log; the next frame comes as if they had not
    its pictures change size    one line in the log; they are scaled to the size that the film began with

Only a source that gives no picture at the start is an error. Where the ball truly is, is known of a file with a
truth beside it (see truth.py). How a source is read is in common/decoding.py, what its frames show in rendering.py
there.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from ball_track import Image, Point, Walls, planes
from common.decoding import Picture, Reader, Source, camera_of, keep_reading, locate, reader_ended
from common.rendering import Renderer, SourceError
from common.urls import source_name
from film.drawn import Shot
from protocol.matching import CLOCK_RATE, OFFSET, OFFSETS
from protocol.picture_code import Painter, blacken, layout_of

logger = logging.getLogger(__name__)

START_TIMEOUT = 10.0  # s for the first picture
MAX_LATE = 0.5  # s; a file that is further behind, as after a machine's sleep, does not hurry to catch up
MAX_GAP = 10.0  # s between two frames of a file; more is a fault in its time stamps. Source: ffplay.c, ffmpeg.c
LONG = 2.0  # s between two frames, besides what is usual, of which one line is told
MOST_TOLD = 20  # faults of a source, of which one line each is told


class SourceFilm:
    """A camera's or a file's film: who asks gets the newest frame, as of drawn.Film.

    Use it as `async with SourceFilm(...) as film`: the first picture has come when the block begins.

    Args:
        source: a camera's number or device (Linux), or a file's path.
        size: width and height (px) that a camera is asked for; what it gives may be another.
        fps: frames a second that a camera is asked for; a file has its own.
        truth: where the ball is, by the file's frames.
        clock: returns monotonic seconds.
        run: the mask of the numbers that are written into its pictures, over what is there; None: they have none.
        offsets: of the frames' time stamps (matching.py); another run has others.
    """

    def __init__(
        self,
        source: str,
        size: tuple[int, int] = (640, 480),
        fps: float = 30.0,
        truth: Mapping[int, Point] | None = None,
        clock: Callable[[], float] = time.monotonic,
        run: int | None = None,
        offsets: Sequence[int] = OFFSETS,
    ) -> None:
        self._offsets = offsets
        self.clock = clock
        self.run = run
        self._painter: Painter | None = None  # of the numbers, once the size is known
        self.width, self.height = 0, 0  # px, of the first picture
        self.fps = fps
        self.walls: Walls | None = None  # nobody knows them
        self._source, self._name = source, source_name(source)
        self._wanted_size = size
        self._truth = truth or {}
        self._start = clock()  # s, when the film began
        self._due = self._start  # s, when the next frame is
        self._shot: Shot | None = None  # the newest
        self._n: int | None = None  # its number in the file
        self._span: float | None = None  # s from it to the next one, None while that is not known
        self._renderer = Renderer(self._say)
        self._reader: Reader | None = None  # the newest
        self._told: set[str] = set()  # what was said of the source, and is not said again
        self._arrived = asyncio.Event()  # the frame after the newest one has come
        self._filming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the source and wait for its first picture.

        Raises:
            SourceError: there is none.
        """
        self._filming = filming = asyncio.create_task(self._film())
        arrived = asyncio.create_task(self._arrived.wait())
        try:
            await asyncio.wait((filming, arrived), timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self.close()
            raise
        finally:
            arrived.cancel()
        if self._shot is None:
            await self.close()
            if not filming.cancelled():
                filming.result()
            raise SourceError(f"no picture within {START_TIMEOUT:g} s")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop filming. Does nothing the second time."""
        if self._filming is not None:
            self._filming.cancel()
            await asyncio.wait([self._filming])
            await self._reader_ended()

    async def next(self, after: int) -> Shot:
        """Wait for a frame after number `after`, and return the newest; for -1 the next one that comes."""
        if after < 0 and self._shot is not None:
            after = self._shot.k
        while self._shot is None or self._shot.k <= after:
            await self._arrived.wait()
        return self._shot

    async def watch(self) -> None:
        """Wait for ever, or until filming has failed.

        Raises:
            SourceError: it has; the text says why.
        """
        assert self._filming is not None
        await asyncio.wait([self._filming])
        error = None if self._filming.cancelled() else self._filming.exception()
        if error is not None:
            raise SourceError(f"--source {self._name}: {error!r}") from error

    def where(self, now: float) -> Point | None:
        """Return the ball's true centre at a time (s), in px, on the line between two frames; None if unknown."""
        if self._shot is None or self._n is None:
            return None
        passed, span = now - self._shot.drawn, self._span or 1 / self.fps
        n = self._n + (passed / span if passed <= span else 1 + (passed - span) * self.fps)
        before, after = self._truth.get(math.floor(n)), self._truth.get(math.ceil(n))
        if before is None or after is None:
            return None
        return Point(*(a + (b - a) * (n % 1) for a, b in zip(before, after, strict=True)))

    # --- Reading ---------------------------------------------------------------------------------

    async def _film(self) -> None:
        """Film for ever, again from the start when the source ends.

        Raises:
            SourceError: it gave no picture at all.
        """

        async def film_once() -> tuple[bool, str | None]:
            while not await self._reader_ended():  # never more than one that hangs
                pass
            newest, fault = self._shot, await self._film_once()
            return self._shot is not newest, fault

        await keep_reading(self._name, film_once)

    async def _film_once(self) -> str | None:
        """Show a source from its beginning to its end; return what is wrong with it, if anything is."""
        device = camera_of(self._source)
        width, height = self._wanted_size
        options = {"video_size": f"{width}x{height}", "framerate": f"{self.fps:g}"}
        source = Source(locate(self._source)) if device is None else Source(device, "v4l2", options)
        self._reader = reader = Reader(source, self._renderer, self.fps)
        reader.start()
        try:
            picture = await reader.next()
            while picture is not None:
                self.fps, self.width, self.height = reader.fps, self._renderer.width, self._renderer.height
                if self.run is not None and self._painter is None:
                    self._painter = self._create_painter(self.run)
                if not reader.live:
                    await self._wait_until_due()
                self._show(picture.number, picture.image)
                following = await reader.next()
                if not reader.live:
                    self._span = self._step(picture, following)
                    self._due += self._span
                if reader.damaged:
                    self._say("it is damaged; what can be decoded is shown")
                picture = following
        except SourceError as error:
            return str(error)
        finally:
            reader.stop()
        return None

    def _create_painter(self, run: int) -> Painter:
        """Return what writes the numbers into pictures of this size.

        Raises:
            SourceError: they are too small for that.
        """
        try:
            return Painter(layout_of(self.width, self.height), run)
        except ValueError as error:
            raise SourceError(f"pictures of {error}") from None

    async def _reader_ended(self) -> bool:
        """Wait a little for the newest reader to end; return whether it has."""
        return self._reader is None or await reader_ended(self._reader)

    async def _wait_until_due(self) -> None:
        """Wait for the time of the next frame of a file; one that is far behind does not hurry."""
        self._due = max(self._due, self.clock() - MAX_LATE)
        while (now := self.clock()) < self._due:  # noqa: ASYNC110  # a timer may be early by its resolution
            await asyncio.sleep(self._due - now)

    def _step(self, picture: Picture, following: Picture | None) -> float:
        """Return the time (s) from one picture of a file to the next, by their time stamps where these can be true."""
        usual = 1 / self.fps
        most = max(MAX_GAP, 2 * usual)
        if following is None:
            return picture.duration if picture.duration is not None and 0 < picture.duration <= most else usual
        if picture.time is None or following.time is None:
            return usual
        step = following.time - picture.time
        if abs(step) > most:
            self._say(f"its time stamps jump by {step:.0f} s")
        elif step > LONG + usual:
            self._say(f"it stands still for {step:.0f} s, by its time stamps")
        return step if 0 < step <= most else usual

    def _say(self, text: str) -> None:
        """Tell something of the source in the log, once: a damaged file has the same faults again in every round."""
        if text not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(text)
            logger.warning("source %s: %s", self._name, text)

    def _show(self, n: int | None, image: Image) -> None:
        """Make a picture the newest frame of the film; `n` is its number in the file, None where that is unknown."""
        now, newest = self.clock(), self._shot
        k = newest.k + 1 if newest is not None else 0
        pts = round((now - self._start) * CLOCK_RATE) + OFFSET * self._offsets[k % len(self._offsets)]
        if newest is not None:
            pts = max(pts, newest.pts + OFFSET)  # two that came at once
        truth = self._truth.get(n) if n is not None else None
        if self._painter is not None:
            blacken(planes(image), self._painter.layout)
            self._painter.paint(image, k)
        self._shot, self._n, self._span = Shot(k, pts, now, truth, image), n, None
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()
