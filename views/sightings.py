"""What is known of each frame that the client has received, and when it is shown.

A frame is shown together with what is known of it: where the ball was found in it, and what the server made of
that, a round trip later. It is complete, and shown, as soon as its score is there or cannot come any more: no ball
was found, it was passed over, a later frame was scored, or PATIENCE is over. Frames are shown in their order.

This module knows no clock, no process and no network: times are handed in, in seconds of any monotonic clock.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ball_track import Image, Point
from protocol.messages import Score, Truth

PATIENCE = 0.25  # s that a frame waits for its score
MAX_WAITING = 16  # frames that wait so; they hold memory of the decoder's
TRAIL_TICKS = 90_000  # 1 s
HELD_TICKS = 45_000  # 0.5 s, for which what was told of a frame is told of the next ones
FPS_SPAN = 1.0  # s over which frames are counted


class Figures(NamedTuple):
    """What is known of one frame, None where it is not.

    found: the ball's centre, px; error_px and latency_ms: what the server made of it; fps: frames received in
    the last second; scored, lost: frames so far, counted by the server; predicted: where the ball is bound to be when
    the frame is shown, px; truth: the ball's true centre in it, as the server tells, px; newest: `found`, or of a frame
    that was passed over that of the one before. For such a frame error_px and latency_ms are those before, too;
    missed, skipped: frames so far without a ball, and passed over.
    """

    found: Point | None = None
    error_px: float | None = None
    latency_ms: float | None = None
    fps: float | None = None
    scored: int | None = None
    lost: int | None = None
    predicted: Point | None = None
    truth: Point | None = None
    newest: Point | None = None
    missed: int | None = None
    skipped: int | None = None


class Footprint(NamedTuple):
    """Where the ball was found, and how long ago: `age` is 0 for now, 1 for the trail's length."""

    age: float
    point: Point


class Sight(NamedTuple):
    """A frame that is ready to be shown.

    pts: ticks of 1 / 90000 s; seen: its Y, U and V planes, (H, W), (H / 2, W / 2) and (H / 2, W / 2) uint8;
    trail: where the ball was in the second up to it, oldest first.
    """

    pts: int
    seen: Sequence[Image]
    figures: Figures
    trail: Sequence[Footprint]


class Told(NamedTuple):
    """What was told last, and is told again of a frame of which nothing else is known: dashes would flicker."""

    newest: Point | None = None
    error_px: float | None = None
    latency_ms: float | None = None


@dataclass(slots=True)
class _Known:
    """What is known of a frame that waits."""

    pts: int
    seen: Sequence[Image]
    received: float  # s
    found: Point | None = None
    truth: Point | None = None
    score: Score | None = None
    missed: bool = False
    complete: bool = False


class Sightings:
    """Puts together what is known of the frames of one session.

    Args:
        on_complete: called with each frame when it is to be shown.
    """

    def __init__(self, on_complete: Callable[[Sight], None]) -> None:
        self._on_complete = on_complete
        self._waiting: deque[_Known] = deque()  # oldest first
        self._found: deque[tuple[int, Point]] = deque()  # pts and place, of the last second
        self._arrivals: deque[float] = deque()  # s, of the last FPS_SPAN
        self._counts: tuple[int, int] | tuple[None, None] = (None, None)  # scored, lost
        self._missed = self._skipped = 0
        self._told, self._told_at = Told(), 0  # and the pts of the frame that it was known of

    def on_frame(self, pts: int, seen: Sequence[Image], now: float) -> None:
        """Take note of a frame that was received at time `now` (s). Its planes must stay as they are."""
        self._arrivals.append(now)
        while self._arrivals[0] < now - FPS_SPAN:
            self._arrivals.popleft()
        self._waiting.append(_Known(pts, seen, now))
        while self._waiting[0].received <= now - PATIENCE or len(self._waiting) > MAX_WAITING:
            self._show(self._waiting.popleft())
        self._show_complete()

    def on_found(self, pts: int, point: Point | None) -> None:
        """Take note of where the ball is in a frame, None for nowhere."""
        known = self._know(pts)
        if known is None:
            return
        if point is None:
            known.complete = known.missed = True
            self._missed += 1
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
            self._skipped += 1
            self._show_complete()

    def on_truth(self, truth: Truth) -> None:
        """Take note of where the ball was in a frame; the server says so with the frame's score, or just before."""
        known = self._know(truth.pts)
        if known is not None:
            known.truth = Point(truth.x, truth.y)

    def on_score(self, score: Score) -> None:
        """Take note of what the server made of a coordinate.

        Frames are found in their order, and so scored: an earlier one that still waits has lost its score.
        """
        self._counts = score.scored, score.lost
        for known in self._waiting:
            if known.pts > score.pts:
                break
            known.complete = True
            if known.pts == score.pts:
                known.score = score
        self._show_complete()

    def flush(self) -> None:
        """Show all that waits, as it is."""
        while self._waiting:
            self._show(self._waiting.popleft())

    def _know(self, pts: int) -> _Known | None:
        return next((known for known in self._waiting if known.pts == pts), None)

    def _show_complete(self) -> None:
        while self._waiting and self._waiting[0].complete:
            self._show(self._waiting.popleft())

    def _show(self, known: _Known) -> None:
        if known.missed or known.pts - self._told_at > HELD_TICKS:
            self._told = Told()
        if known.found is not None:
            self._told = self._told._replace(newest=known.found)
        if known.score is not None:
            self._told = self._told._replace(error_px=known.score.error_px, latency_ms=known.score.latency_ms)
        if known.found is not None or known.score is not None:
            self._told_at = known.pts
        newest, error_px, latency_ms = self._told
        figures = Figures(known.found, error_px, latency_ms, self._fps(), *self._counts)
        figures = figures._replace(truth=known.truth, newest=newest, missed=self._missed, skipped=self._skipped)
        ages = ((known.pts - pts, point) for pts, point in self._found)
        trail = [Footprint(age / TRAIL_TICKS, point) for age, point in ages if 0 <= age <= TRAIL_TICKS]
        self._on_complete(Sight(known.pts, known.seen, figures, trail))

    def _fps(self) -> float | None:
        """Return the rate of the frames received lately, None for fewer than two."""
        if len(self._arrivals) < 2:
            return None
        span = self._arrivals[-1] - self._arrivals[0]
        return (len(self._arrivals) - 1) / span if span > 0 else None
