"""Real pictures: a camera or a video file as a film.

A camera is read through aiortc's MediaPlayer. A file is not: told to loop it, MediaPlayer (aiortc 1.16, av 18)
ends with it all the same; it paces by the wall clock, and does not tell a broken file from one that has ended.

What a source can do in the middle, and what comes of it:

    a file ends                 it begins again
    it breaks, or is gone       one line in the log; it is opened again, every second until it is back
    its pictures change size    one line in the log; they are scaled to the size that the film began with

Only a source that gives no picture at the start is an error. Where the ball truly is, is known of a file with a
truth beside it: a CSV of frame, x, y. Frames count from 0; x and y are px, and empty where no ball is to be seen.
"""

import asyncio
import contextlib
import itertools
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import av
import numpy as np
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from ball_track import Image, Point, Walls
from film.drawn import FilmError, Shot
from protocol.matching import CLOCK_RATE, OFFSET, OFFSETS

logger = logging.getLogger(__name__)

START_TIMEOUT = 10.0  # s for the first picture
RETRY_INTERVAL = 1.0  # s between two attempts to open again what has gone
MAX_LATE = 0.5  # s; a file that is further behind, as after a machine's sleep, does not hurry to catch up
MIN_SIDE, MAX_SIDE = 64, 4096  # px, as of a drawn scene
MAX_FPS = 240.0  # frames / s, likewise

T = TypeVar("T")


class SourceError(FilmError):
    """The source gives no picture."""


class SourceFilm:
    """A camera's or a file's film: who asks gets the newest frame, as of drawn.Film.

    Use it as `async with SourceFilm(...) as film`: the first picture has come when the block begins.

    Args:
        source: a camera's number or device (Linux), or a file's path.
        size: width and height (px) that a camera is asked for; what it gives may be another.
        fps: frames a second that a camera is asked for; a file has its own.
        truth: where the ball is, by the file's frames.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        source: str,
        size: tuple[int, int] = (640, 480),
        fps: float = 30.0,
        truth: Mapping[int, Point] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.width, self.height = 0, 0  # px, of the first picture
        self.fps = fps
        self.walls: Walls | None = None  # nobody knows them
        self._source = source
        self._wanted_size = size
        self._truth = truth or {}
        self._start = self._due = clock()  # s; when the film began, and when a file's next frame is due
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="source")
        self._shot: Shot | None = None  # the newest
        self._n: int | None = None  # its number in the file
        self._scaled: tuple[int, int] | None = None  # px; the other size that was told last
        self._arrived = asyncio.Event()  # the frame after the newest one has come
        self._filming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the source and wait for its first picture.

        Raises:
            SourceError: there is none.
        """
        self._filming = asyncio.create_task(self._film())
        arrived = asyncio.create_task(self._arrived.wait())
        await asyncio.wait((self._filming, arrived), timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        if self._shot is None:
            filming = self._filming
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
        self._thread.shutdown()

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
            raise SourceError(f"--source {self._source}: {error!r}") from error

    def where(self, now: float) -> Point | None:
        """Return the ball's true centre at a time (s), in px, on the line between two frames; None if unknown."""
        if self._shot is None or self._n is None:
            return None
        n = self._n + (now - self._shot.drawn) * self.fps
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
        device = camera_of(self._source)
        while True:
            newest = self._shot
            fault = await (self._film_file() if device is None else self._film_camera(device))
            if self._shot is None:
                raise SourceError(fault or "no picture in it")
            if fault is not None:
                logger.warning("source %s: %s; opening it again", self._source, fault)
            if fault is not None or self._shot is newest:
                await asyncio.sleep(RETRY_INTERVAL)

    async def _film_camera(self, device: str) -> str:
        """Show what a camera sees for as long as it does; return why it ended."""
        width, height = self._wanted_size
        options = {"video_size": f"{width}x{height}", "framerate": f"{self.fps:g}"}
        try:
            player = await self._in_thread(partial(MediaPlayer, device, format="v4l2", options=options))
        except (av.FFmpegError, ValueError) as error:
            return describe(error)
        track = player.video
        assert track is not None  # v4l2 gives nothing else
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                self._show(None, await self._in_thread(partial(self._image_of, frame)))
        except SourceError as error:
            return str(error)
        except MediaStreamError:
            return "the camera is gone"
        finally:
            track.stop()

    async def _film_file(self) -> str | None:
        """Show a file once, at its own pace; return what is wrong with it, if anything is."""
        try:
            container = await self._in_thread(partial(av.open, locate(self._source)))
        except (av.FFmpegError, ValueError) as error:
            return describe(error)
        try:
            if not container.streams.video:
                return "no video in it"
            stream = container.streams.video[0]
            self.fps = min(max(float(stream.average_rate or self.fps), 1.0), MAX_FPS)
            frames = container.decode(stream)
            zero: float | None = None  # s, when the file's time 0 is due
            for n in itertools.count():
                read = await self._in_thread(partial(self._read_frame, frames))
                if read is None:
                    return None
                time_in_file, image = read
                elapsed = n / self.fps if time_in_file is None else time_in_file
                if zero is None or self.clock() - zero - elapsed > MAX_LATE:
                    zero = max(self._due, self.clock() - MAX_LATE) - elapsed
                # a timer may be early by its resolution
                while (now := self.clock()) < zero + elapsed:  # noqa: ASYNC110  # it waits for a time, no event
                    await asyncio.sleep(zero + elapsed - now)
                self._due = zero + elapsed + 1 / self.fps
                self._show(n, image)
        except SourceError as error:
            return str(error)
        except (av.FFmpegError, ValueError) as error:
            return describe(error)
        finally:
            self._thread.submit(container.close)  # behind whatever the thread still does with it
        return None

    def _read_frame(self, frames: Iterator[VideoFrame]) -> tuple[float | None, Image] | None:
        """Return the next frame's time in the file (s), if it has one, and its image; None at the end."""
        frame = next(frames, None)
        return None if frame is None else (frame.time, self._image_of(frame))

    def _image_of(self, frame: VideoFrame) -> Image:
        """Return a frame as an image of the film's size, (H * 3 / 2, W) uint8 I420.

        Raises:
            SourceError: the first one has no size for a film.
        """
        size = frame.width // 2 * 2, frame.height // 2 * 2  # an odd row or column is cut off
        if not self.width:
            if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
                raise SourceError(f"pictures of {frame.width}x{frame.height}: must be {MIN_SIDE} to {MAX_SIDE} px")
            self.width, self.height = size
        if size != (self.width, self.height):
            if size != self._scaled:
                self._scaled = size
                logger.warning(
                    "source %s: pictures of %dx%d now; scaled to %dx%d", self._source, *size, self.width, self.height
                )
            frame = frame.reformat(width=self.width, height=self.height)
        elif (frame.width, frame.height) != size:
            frame = VideoFrame.from_ndarray(frame.to_ndarray(format="gbrp")[: size[1], : size[0]], format="gbrp")
        return frame.to_ndarray(format="yuv420p").astype(np.uint8, copy=False)

    def _show(self, n: int | None, image: Image) -> None:
        """Make a picture the newest frame of the film; `n` is its number in the file, None of a camera."""
        now, newest = self.clock(), self._shot
        k = newest.k + 1 if newest is not None else 0
        pts = round((now - self._start) * CLOCK_RATE) + OFFSET * OFFSETS[k % len(OFFSETS)]
        if newest is not None:
            pts = max(pts, newest.pts + OFFSET)  # two that came at once
        truth = self._truth.get(n) if n is not None else None
        self._shot, self._n = Shot(k, pts, now, truth, image), n
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def camera_of(source: str) -> str | None:
    """Return the device of a camera given by number or device; None of a file.

    >>> camera_of("0"), camera_of("/dev/video2"), camera_of("clip.mp4")
    ('/dev/video0', '/dev/video2', None)
    """
    if re.fullmatch(r"\d{1,3}", source, re.ASCII):
        return f"/dev/video{source}"
    return source if source.startswith(("/dev/video", "/dev/v4l/")) else None


def locate(source: str) -> str:
    """Return what FFmpeg opens as a source: of a file the whole path, or what is before a colon is a protocol to it."""
    with contextlib.suppress(OSError, ValueError):  # it can be no file's name
        if Path(source).exists():
            return str(Path(source).absolute())
    return source


def describe(error: Exception) -> str:
    """Return what FFmpeg says, without its number and the file's name."""
    return getattr(error, "strerror", None) or str(error)
