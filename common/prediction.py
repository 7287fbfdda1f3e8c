"""Where the ball is now, from where it was: what whoever acts on a coordinate should reckon with.

A coordinate is as old as its frame, so the ball has gone on by speed x age when it arrives: 25 px at 240 px/s and
106 ms. Who knows when each frame was taken puts a straight line through the last coordinates and follows it to the
present; who knows the walls as well folds it there (ball_track.fold). This is done where the coordinate is used:
only there a frame's age is known, and a sender that guesses when it will arrive loses speed x jitter.

Everything is reckoned from coordinates as they were reported, never from the truth. x and y are two lines, each
with its own history, since a bounce turns one of them and leaves the other. The rules, each with its test:

    two coordinates      are needed; before, nothing is predicted
    a missed frame       leaves a gap: a line needs no neighbours
    a burst              each coordinate is taken in its turn; what is asked in between is answered from those so far
    a late coordinate    (of an earlier frame than the newest) adds nothing, and is passed over
    an outlier           one coordinate off the line, further than the noise allows, waits: if the next one is on the
                         line again, it is dropped; if not, the two begin a new line
    known walls          coordinates are unfolded before the line is put through them: a bounce is no event at all
    unknown walls        nothing is folded: the line leads on behind the wall until the bounce has been seen
    a bounce             is seen, without walls, in the first coordinate off the line that is no further from the last
                         one than the ball can have come: what went before is mirrored there; if the
                         next one is on the line as it was before, it was an outlier all the same
    a ball that stands   is a line like any other; its noise is averaged
    a pause              coordinates older than SPAN (against the newest) are forgotten: the world may have changed

This is ground and not scoring: the ledger judges by it, the client shows it, and rooms do not know each other.
The line is that of least squares. OpenCV's KalmanFilter, its process noise well chosen, reckons the same (0.0063 px
where this has 0.0059) in three times the time, and the server does without OpenCV.
"""

import math
from collections import deque
from typing import NamedTuple

from ball_track import Point, Walls, fold

SPAN = 1.0  # s that a coordinate is remembered
MAX_ON_LINE = 12  # coordinates: more average more noise, fewer follow a path sooner that is not quite straight
MIN_NOISE = 0.05  # px; what is nearer to the line than a few times this is on it
START_NOISE = 1.0  # px, as long as no better is known
OUTSIDE = 6.0  # times the noise: so far from where it should be, a coordinate is off the line
LEARNING = 0.1  # share of each coordinate's distance in the noise


class _Line(NamedTuple):
    """A straight line in time: `value` (px) at time `at` (s), going by `slope` (px / s).

    n: of the coordinates that it goes through; spread: the sum of their squared distances from `at`, s^2.
    """

    at: float
    value: float
    slope: float
    n: int
    spread: float

    def follow(self, time: float) -> float:
        """Return where it is at a time (s), px."""
        return self.value + self.slope * (time - self.at)

    def uncertainty(self, time: float) -> float:
        """Return how far a new coordinate is off it at a time (s), by noise alone, as a multiple of the noise."""
        return math.sqrt(1 + 1 / self.n + (time - self.at) ** 2 / self.spread)


class _Axis:
    """One coordinate of a thing that moves straight.

    Args:
        walls: between which it is folded, px; None if they are unknown.
    """

    def __init__(self, walls: tuple[float, float] | None) -> None:
        self._walls = walls
        self._kept: deque[tuple[float, float]] = deque(maxlen=MAX_ON_LINE)  # s, px unfolded; oldest first
        self._suspect: tuple[float, float] | None = None  # s, px: the newest one, if it was off the line
        self._unturned: deque[tuple[float, float]] | None = None  # what was kept, if that was taken for a bounce
        self._line: _Line | None = None
        self._noise = START_NOISE  # px

    def observe(self, time: float, value: float) -> None:
        """Take a coordinate (px) that belongs to a time (s) after all earlier ones."""
        while self._kept and self._kept[0][0] < time - SPAN:
            self._kept.popleft()
            self._line = _fit(self._kept)
        if self._line is None:
            near = self._kept[-1][1] if self._kept else value
            self._keep(time, self._unfold(value, near))
            return
        expected = self._line.follow(time)
        unfolded = self._unfold(value, expected)
        if self._fits(self._line, time, unfolded):
            self._suspect = self._unturned = None
            self._keep(time, unfolded)
        elif self._suspect is None:
            self._suspect = time, value
            if self._has_bounced(self._line, time, value):
                self._unturned = self._kept
                self._kept = deque(((at, expected + value - place) for at, place in self._kept), maxlen=MAX_ON_LINE)
                self._keep(time, value)
        elif self._unturned is not None and self._fits(_fit(self._unturned), time, value):
            self._kept, self._suspect, self._unturned = self._unturned, None, None
            self._keep(time, value)
        else:
            self._begin_again(self._suspect, (time, value))

    def _fits(self, line: _Line | None, time: float, value: float) -> bool:
        """Return whether a coordinate is on a line, as far as noise allows; learn from it how much that is."""
        if line is None:
            return False
        distance = abs(value - line.follow(time)) / line.uncertainty(time)
        allowed = OUTSIDE * self._noise
        self._noise += LEARNING * (min(distance, allowed) - self._noise)
        self._noise = max(self._noise, MIN_NOISE)
        return distance <= allowed

    def _has_bounced(self, line: _Line, time: float, value: float) -> bool:
        """Return whether a coordinate off the line is within reach of the last one on it: a wall was in between."""
        last, _ = self._kept[-1]
        reach = abs(line.slope) * (time - last) + OUTSIDE * self._noise
        return self._walls is None and abs(value - line.follow(last)) < reach

    def _begin_again(self, first: tuple[float, float], second: tuple[float, float]) -> None:
        self._suspect = self._unturned = self._line = None
        self._kept.clear()
        self._keep(*first)
        self._keep(second[0], self._unfold(second[1], first[1]))

    def _keep(self, time: float, unfolded: float) -> None:
        self._kept.append((time, unfolded))
        self._line = _fit(self._kept)

    def _unfold(self, value: float, near: float) -> float:
        """Return that of all places which the walls fold to `value` that is next to `near`, px."""
        if self._walls is None:
            return value
        low, high = self._walls
        period = 2 * (high - low)
        if period <= 0:
            return value
        straight = value + period * round((near - value) / period)
        mirrored = 2 * low - value
        mirrored += period * round((near - mirrored) / period)
        return straight if abs(straight - near) <= abs(mirrored - near) else mirrored

    def at(self, time: float) -> float | None:
        """Return where it is at a time (s), px; None if that is not known yet."""
        if self._line is None:
            return None
        value = self._line.follow(time)
        return value if self._walls is None else fold(value, *self._walls)


def _fit(kept: "deque[tuple[float, float]]") -> _Line | None:
    """Return the line of least squares through two or more (s, px), None through fewer.

    `statistics.linear_regression` gives the same line, and takes three times as long.
    """
    count = len(kept)
    if count < 2:
        return None
    origin, ground = kept[-1]  # sums of small numbers keep their digits
    times = places = squares = products = 0.0
    for time, place in kept:
        since, moved = time - origin, place - ground
        times += since
        places += moved
        squares += since * since
        products += since * moved
    spread = squares - times * times / count
    slope = (products - times * places / count) / spread
    return _Line(origin + times / count, ground + places / count, slope, count, spread)


class Predictor:
    """Says where the ball is at any time, from the coordinates found so far.

    Args:
        walls: between which its centre moves; None if they are unknown.

    >>> predictor = Predictor(Walls((0, 100), (0, 100)))
    >>> predictor.observe(0.0, Point(90, 50))
    >>> predictor.at(1.0)
    >>> predictor.observe(1.0, Point(96, 50))
    >>> predictor.at(2.0)
    Point(x=98.0, y=50.0)
    """

    def __init__(self, walls: Walls | None = None) -> None:
        self._newest = -math.inf  # s
        self._x = _Axis(walls.x if walls else None)
        self._y = _Axis(walls.y if walls else None)

    def observe(self, time: float, point: Point) -> None:
        """Take a coordinate (px) and the time (s) at which its frame was taken."""
        if time <= self._newest:
            return
        self._newest = time
        self._x.observe(time, point.x)
        self._y.observe(time, point.y)

    def at(self, time: float) -> Point | None:
        """Return where the ball is at a time (s), px; None as long as two coordinates have not come."""
        x, y = self._x.at(time), self._y.at(time)
        return None if x is None or y is None else Point(x, y)
