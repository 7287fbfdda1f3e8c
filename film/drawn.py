"""The film: what each frame shows, and when it is due.

One film for all clients. Frame k is due k / fps seconds after the first one, on the monotonic clock, so an
hour drifts by nothing; whoever asks late gets the frame that is due by then, and never a queue of old ones.
A frame is drawn when the first one asks for it, once.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ball_track import Image, Point, Scene, Walls, draw
from protocol.matching import OFFSETS, stamp
from protocol.picture_code import Painter, layout_of


class Shot(NamedTuple):
    """One frame of the film.

    k: its number; pts: ticks of 1 / 90000 s; drawn: s, when its drawing began, or it came from its source;
    truth: the ball's centre, px, None where it is unknown; image: (H * 3 / 2, W) uint8 I420, which nobody may change;
    captured: s, the moment that it shows, as a camera stamps its pictures, None where that is not known better.
    """

    k: int
    pts: int
    drawn: float
    truth: Point | None
    image: Image
    captured: float | None = None


class FilmError(Exception):
    """The film cannot go on, for anybody."""


class Footage(Protocol):
    """What a server films: drawn (Film) or from a source (sources.SourceFilm)."""

    clock: Callable[[], float]  # returns monotonic seconds
    width: int  # px
    height: int
    fps: float  # frames / s
    walls: Walls | None  # between which the ball flies, px; None if unknown
    run: int | None  # the mask of the numbers in its pictures (picture_code.py); None if they have none

    async def next(self, after: int) -> Shot:
        """Wait for a frame after number `after`, and return the newest one."""

    def where(self, now: float) -> Point | None:
        """Return the ball's true centre at a time (s of the clock), in px; None if unknown."""

    async def watch(self) -> None:
        """Wait for ever, or until the film cannot go on.

        Raises:
            SourceError: it cannot; the text says why.
        """


class Film:
    """A scene that runs from the moment when the first frame is asked for.

    Args:
        scene: what to film.
        clock: returns monotonic seconds.
        run: the mask of the numbers that are written into its pictures; None: they have none.
        offsets: of the frames' time stamps (matching.py); another run has others.
    """

    def __init__(
        self,
        scene: Scene,
        clock: Callable[[], float] = time.monotonic,
        run: int | None = None,
        offsets: Sequence[int] = OFFSETS,
    ) -> None:
        self.scene = scene
        self._offsets = offsets
        self.run = run
        self._painter = Painter(layout_of(scene.width, scene.height), run) if run is not None else None
        self.clock = clock
        self.width, self.height, self.fps = scene.width, scene.height, scene.fps
        self.walls: Walls | None = scene.walls
        self._start: float | None = None  # s, when frame 0 is due
        self._shot: Shot | None = None  # the newest

    async def next(self, after: int) -> Shot:
        """Wait for the first frame after number `after` that is not over already, and return it."""
        now = self.clock()
        if self._start is None:
            self._start = now
        k = max(after + 1, math.floor((now - self._start) * self.scene.fps))
        due = self._start + k / self.scene.fps
        while (now := self.clock()) < due:  # noqa: ASYNC110  # a timer may be early by its resolution
            await asyncio.sleep(due - now)
        if self._shot is None or self._shot.k < k:
            self._shot = self._draw(k, due)
        return self._shot

    def where(self, now: float) -> Point:
        """Return the ball's true centre at a time (s of the film's clock), in px."""
        return self.scene.position((now - self._start) * self.scene.fps if self._start is not None else 0)

    async def watch(self) -> None:
        """Wait for ever: nothing keeps a drawn film from going on."""
        await asyncio.Event().wait()

    def _draw(self, k: int, due: float) -> Shot:
        drawn = self.clock()
        truth = self.scene.position(k)
        image = draw(self.scene, truth)
        if self._painter is not None:
            self._painter.paint(image, k)
        return Shot(k, stamp(k, self.scene.fps, self._offsets), drawn, truth, image, due)
