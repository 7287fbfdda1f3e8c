"""One film that is shown somewhere: by a media server, on a screen, in a browser. Whoever asks is told of each frame.

A frame is shown when somebody has got it to send it on; what nobody asked for was never drawn.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ball_track import Point
from film.drawn import Footage, Shot

HISTORY = 10.0  # s; whoever wants to know is told of the frames before, too: they may be on their way still


class Shown(NamedTuple):
    """One frame that is shown somewhere; the fields are those of Shot."""

    k: int
    pts: int
    drawn: float
    truth: Point | None
    captured: float | None


class Published:
    """A film of which those who want to know are told each frame, once and in order, as soon as it is there.

    Args:
        film: the film itself.
    """

    def __init__(self, film: Footage) -> None:
        self.clock = film.clock
        self.width, self.height, self.fps = film.width, film.height, film.fps
        self.walls, self.run = film.walls, film.run
        self._film = film
        self._newest = -1  # number of the newest frame that was told
        self._recent: deque[Shown] = deque()
        self._told: dict[object, Callable[[Shown], None]] = {}

    @property
    def newest(self) -> int:
        """Return the number of the newest frame that was shown; -1 before the first."""
        return self._newest

    def tell(self, on_shown: Callable[[Shown], None]) -> Callable[[], None]:
        """Call `on_shown` with each frame of the last HISTORY and from now on; return what ends that."""
        key = object()
        self._told[key] = on_shown
        for shown in self._recent:
            on_shown(shown)

        def end() -> None:
            self._told.pop(key, None)

        return end

    async def next(self, after: int) -> Shot:
        """Wait for a frame after number `after`, and return the newest one."""
        shot = await self._film.next(after)
        if shot.k > self._newest:
            self._newest = shot.k
            shown = Shown(shot.k, shot.pts, shot.drawn, shot.truth, shot.captured)
            while self._recent and self._recent[0].drawn < shown.drawn - HISTORY:
                self._recent.popleft()
            self._recent.append(shown)
            for on_shown in tuple(self._told.values()):
                on_shown(shown)
        return shot

    def where(self, now: float) -> Point | None:
        """Return the ball's true centre at a time (s of the clock), in px; None if unknown."""
        return self._film.where(now)

    async def watch(self) -> None:
        """Wait for ever, or until the film cannot go on.

        Raises:
            SourceError: it cannot; the text says why.
        """
        await self._film.watch()
