"""The ledger: every frame that was sent to a client ends in exactly one state.

    state    | meaning
    ---------|------------------------------------------------------------------------------
    scored   | a coordinate came back for it; its latency is known, and its error where the truth is
    missed   | the client looked at it and found no ball
    skipped  | the client received it and passed over it to stay current
    lost     | nothing was said of it before the deadline or the end

Five figures are kept for the scored ones, each a `Distribution`:

    error             px   the coordinate against the truth of the very frame that it was found in
    latency           ms   from the frame's being drawn to its coordinate's arrival, on the server's monotonic clock
    live error        px   the coordinate against where the ball is when it arrives; what a robot would feel
    predicted error   px   the same, once the robot reckons with the coordinate's age: see common/prediction.py
    with walls        px   the same, if it knows the walls as well; where nobody does there is none

What is predicted, is predicted from coordinates as they were reported, and the times of their frames.

This module knows no clock, no file and no network: times are handed in, in seconds of any monotonic clock.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ball_track import Point, Walls
from common.prediction import Predictor
from common.steadiness import Steadiness
from protocol.matching import MODULUS, Matcher
from protocol.messages import MAX_REPORTS, Found, Message, Missed, Named, Report, Reports, Restarted, Skipped, Watched
from scoring.tally import Frame, Span, State, Tally

MAX_HEARD = 8 * MAX_REPORTS  # reports that are known again when they are said again
DEADLINE_S = 10.0  # a frame that nothing was said of for so long is lost

TimedReport = tuple[Report, float]  # and when it came, s


class Answers(NamedTuple):
    """What is known of a client that answers.

    newest: s, when the newest frame was drawn that has got its state by a report; quickest: s, from a frame's being
    drawn to its report.
    """

    newest: float
    quickest: float


class Ledger:
    """The account of one client's frames.

    A frame stays open until a report settles it; it leaves the ledger, in order, once the deadline has
    passed, open ones as lost. So memory holds the frames of the last ten seconds and no more.

    Args:
        where: the ball's true centre (px) at a time (s), None if unknown, for the live error.
        on_final: called with each frame once, as soon as its state is final: by a report, or at last as lost.
        walls: between which the ball flies, px; None if unknown.
    """

    def __init__(
        self,
        where: Callable[[float], Point | None],
        on_final: Callable[[Frame], None] = lambda _: None,
        walls: Walls | None = None,
    ) -> None:
        self.tally = Tally()
        self.end: str | None = None  # why it was closed
        self._where = where
        self._on_final = on_final
        self._straight = Predictor()
        self._folded = Predictor(walls) if walls is not None else None
        self._frames: dict[int, Frame] = {}  # by pts modulo 2^32, oldest first
        self._matcher: Matcher[TimedReport, Frame] = Matcher()
        self._heard: deque[int] = deque(maxlen=MAX_HEARD)  # pts of the newest reports, ticks
        self._first_k: int | None = 0  # number of the first frame that counts; None until the first report tells
        self._last_k: int | None = None  # number of the newest frame that counts
        self._last_but_one: float | None = None  # s: when the frame before the newest was drawn
        self._answers: Answers | None = None  # None: it has never answered
        self._steadiness = Steadiness()
        self._stopped = False
        self._strays = 0  # reports in a row that named a frame by a number of which there is none

    @property
    def behind(self) -> float:
        """Return by how much (s) answers are late, at least: 0 for a client that has never answered.

        That is the time from the newest frame that is answered to the last one but one, less what the quickest
        answer took. The newest does not count: some clients hold a frame back until the next one begins. Nor does what
        a client takes by itself, see steadiness.py.
        """
        if self._answers is None or self._last_but_one is None:
            return 0.0
        return max(0.0, self._last_but_one - self._answers.newest - self._answers.quickest)

    @property
    def strays(self) -> int:
        """Return how many reports in a row, up to now, speak of no frame that was sent."""
        return self._matcher.strays + self._strays

    @property
    def open(self) -> int:
        """Return how many frames are still on their way."""
        frames = self.tally.frames
        return frames["sent"] - sum(frames[state] for state in State)

    def sent(self, frame: Frame) -> None:
        """Enter a frame that is being sent; those past the deadline leave."""
        while self._frames:
            key, oldest = next(iter(self._frames.items()))
            if oldest.drawn > frame.drawn - DEADLINE_S:
                break
            del self._frames[key]
            self._leave(oldest)
        self._frames[frame.pts % MODULUS] = frame
        if self._counts(frame):
            self._count(frame)

    def stop(self) -> None:
        """Let what is seen of later frames be of no interest: none is entered any more."""
        self._stopped = True

    def begin_at_first_report(self) -> None:
        """Let no frame count before the first one that is reported: the client joins a film that others are shown."""
        self._first_k = None

    def _counts(self, frame: Frame) -> bool:
        return self._first_k is not None and frame.k >= self._first_k

    def _count(self, frame: Frame) -> None:
        """Count a frame as sent; they come in order."""
        if self._last_k is not None:
            self.tally.late += frame.k - self._last_k - 1
        self._last_k = frame.k
        self.tally.frames["sent"] += 1
        self._last_but_one = None if self.tally.span is None else self.tally.span.last
        self.tally.stretch(Span(frame.drawn, frame.drawn))

    def report(self, message: Message, now: float) -> list[Frame]:
        """Enter what the client says at time `now` (s).

        Returns:
            The frames that got their state by it: usually one; none while it is not certain which frames the
            reports speak of; and all those that waited so far as soon as it is.

        Raises:
            ValueError: it is no message of a client's.
        """
        if isinstance(message, Report):
            return self._take(message, now)
        if isinstance(message, Reports):
            settled = []
            for report in message.reports:
                if report.pts in self._heard:  # said again in case it was lost: that makes it no truer
                    self.tally.repeated += 1
                else:
                    settled += self._take(report, now)
            return settled
        if isinstance(message, Named):
            return self._take_named(message, now)
        if isinstance(message, Watched):
            self.tally.watched = Counter(message._asdict())
            return []
        if isinstance(message, Restarted):
            self.tally.restarts += 1
            return []
        raise ValueError(f"a client does not say {type(message).__name__}")

    def reject(self) -> None:
        """Count a message that was none."""
        self.tally.rejected += 1

    def close(self, end: str) -> None:
        """Close the account for the reason `end`: what is still open is lost.

        Reports of which it is not certain by now what they speak of are unmatched.
        """
        if self.end is not None:
            return
        self._settle(self._matcher.close())
        for frame in self._frames.values():
            self._leave(frame)
        self._frames.clear()
        self.end = end

    def _take(self, report: Report, now: float) -> list[Frame]:
        """Enter one report; return the frames that got their state by it."""
        self._heard.append(report.pts)
        newest = next(reversed(self._frames), None)
        if self._stopped and newest is not None and self._matcher.is_after(report.pts, newest):
            return []
        return self._settle(self._matcher.match(report.pts, (report, now), self._frames))

    def _take_named(self, named: Named, now: float) -> list[Frame]:
        """Enter a report that names its frame by number; return that frame, if it gets its state by it."""
        frame = next((each for each in reversed(self._frames.values()) if each.k <= named.k), None)
        if frame is not None and frame.k != named.k:
            if self._stopped and frame is next(reversed(self._frames.values())):
                return []
            frame = None
        self._strays = 0 if frame is not None else self._strays + 1
        if frame is not None and frame.state is State.OPEN:
            frame.sharp = named.sharp
        return self._settle([((named.report, now), frame)])

    def _settle(self, reports: Iterable[tuple[TimedReport, Frame | None]]) -> list[Frame]:
        """Enter reports of which it is known what they speak of; return the frames that got their state by it."""
        settled, reports = [], list(reports)
        if self._first_k is None:
            self._begin_at([frame.k for _, frame in reports if frame is not None])
        for (message, now), frame in reports:
            if frame is None:
                self.tally.frames["unmatched"] += 1
            elif frame.state is not State.OPEN or not self._counts(frame):
                self.tally.repeated += 1
            else:
                self._account(frame, message, now)
                settled.append(frame)
                self._on_final(frame)
        return settled

    def _begin_at(self, named: list[int]) -> None:
        """Count from the first of the frames with these numbers on; wait on if there are none."""
        self._first_k = min(named, default=None)
        for frame in self._frames.values():
            if self._counts(frame):
                self._count(frame)

    def _account(self, frame: Frame, message: Report, now: float) -> None:
        """Give a frame its state, and its figures where it has any."""
        frame.reported, frame.answered = message.pts, now
        latency = now - frame.drawn
        late_by_itself = self._steadiness.on_answer(frame.drawn, latency)
        if self._answers is None:
            self._answers = Answers(frame.drawn, latency)
        else:
            newest, quickest = self._answers
            self._answers = Answers(max(newest, frame.drawn), latency if late_by_itself else min(quickest, latency))
        match message:
            case Missed():
                frame.state = State.MISSED
            case Skipped():
                frame.state = State.SKIPPED
            case Found(_, x, y):
                frame.state = State.SCORED
                frame.found = Point(x, y)
                frame.latency_ms = (now - frame.drawn) * 1000
                self.tally.latency_ms.add(frame.latency_ms)
                if not frame.sharp:
                    self.tally.unjudged += 1
                    self.tally.frames[frame.state] += 1
                    return
                if frame.truth is not None:
                    frame.error_px = math.dist(frame.found, frame.truth)
                    self.tally.error_px.add(frame.error_px)
                truth_now = self._where(now)
                if truth_now is not None:
                    frame.live_error_px = math.dist(frame.found, truth_now)
                    self.tally.live_error_px.add(frame.live_error_px)
                self._predict(frame, frame.found, now, truth_now)
        self.tally.frames[frame.state] += 1

    def _predict(self, frame: Frame, found: Point, now: float, truth: Point | None) -> None:
        """Predict from a coordinate, and those before it, where the ball is `now` (s), and judge that by the truth."""
        captured = frame.drawn if frame.captured is None else frame.captured
        for figure, predictor in (("predicted_error_px", self._straight), ("predicted_walls_error_px", self._folded)):
            if predictor is None:
                continue
            predictor.observe(captured, found)
            predicted = predictor.at(now)
            if predicted is not None and truth is not None:
                error = math.dist(predicted, truth)
                setattr(frame, figure, error)
                getattr(self.tally, figure).add(error)

    def _leave(self, frame: Frame) -> None:
        if self._counts(frame) and frame.state is State.OPEN:
            frame.state = State.LOST
            self.tally.frames[State.LOST] += 1
            self._on_final(frame)
