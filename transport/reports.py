"""How a client's reports get home over a network that loses some.

A report that is sent again a second later, as a reliable data channel does it, is of no use. So reports travel
unreliably, and while there is loss each message carries the last few reports as well, and is sent three times, some ms
apart. The server takes a report that it has had already for nothing.

Loss is noticed in three ways: packets of the film are missing; packets of the film come twice, since the server
knows of loss; or the server scores fewer frames than it was sent coordinates, not counting those that may have been
overtaken. Where frames or scores come late, there
is a queue, and loss is that of a queue that is full: nothing is said again there, as it would make it longer.

This module knows no clock and no network: times are handed in, in seconds of any monotonic clock.
"""

import math
from collections import deque

from protocol.matching import CLOCK_RATE
from protocol.messages import Found, Report, Reports, Score

# reports in a message, and in each repetition, so many s later: more would wait for SCTP, which allows 1,200 bytes on
# their way after a timeout
FIRST, AGAIN = 3, ((0.01, 5), (0.02, 3))
MOST = 5  # of these numbers
OVERTAKING = 0.05  # s by which a report may be overtaken by another one
MIN_SIGNS, SIGNS_WITHIN = 2, 10.0  # so many signs of loss, within so many s, are needed
HOLD = 20.0  # s without a sign, and reports are said once again
REMEMBERED_REPORTS = 128  # reports, for when they were sent
ROUND_TRIPS = 8  # of the last ones the least is taken: a score may wait, and never comes early
QUEUE_DELAY = 0.1  # s above the least: there is a queue
WINDOW = 10.0  # s, for the least delay of a frame: clocks drift
ROUTE_WINDOW = 60.0  # s, for the least round trip: routes change


class Least:
    """The least (s) of what was added lately, for one to two windows.

    Args:
        window: s.
    """

    def __init__(self, window: float) -> None:
        self._length = window
        self._window = 0.0  # s, when it began
        self._values = [math.inf, math.inf]  # in the window before, and in this one

    def add(self, value: float, now: float) -> float:
        """Take note of a value at time `now` (s); return the least."""
        if now - self._window > self._length:
            self._window, self._values = now, [self._values[1], value]
        self._values[1] = min(self._values[1], value)
        return min(self._values)


class Reporting:
    """Decides what each message says, and learns from the scores how the way there and back is."""

    def __init__(self) -> None:
        self._last: deque[Report] = deque(maxlen=MOST)
        self._signs: deque[float] = deque(maxlen=MIN_SIGNS)  # s
        self._lossy_until = -math.inf  # s
        self._sent: dict[int, tuple[float, int]] = {}  # by pts: when (s), and how many coordinates long before
        self._coordinates = 0
        self._newest_sent: deque[float] = deque()  # s, when: coordinates that may be overtaken yet
        self._unscored = 0  # coordinates that the server had not scored, at most, at any score
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIPS)  # s
        self._least_round_trip, self._least_delay = Least(ROUTE_WINDOW), Least(WINDOW)
        self._late = self._scores_late = 0.0  # s by which the newest frame, and the last two scores, came too late

    def message(self, report: Report, now: float) -> Report | Reports:
        """Return what to send at time `now` (s) to report this: itself, or the last few with it."""
        while self._newest_sent and now - self._newest_sent[0] >= OVERTAKING:
            self._newest_sent.popleft()
        self._sent[report.pts] = now, self._coordinates - len(self._newest_sent)
        if isinstance(report, Found):
            self._coordinates += 1
            self._newest_sent.append(now)
        if len(self._sent) > REMEMBERED_REPORTS:
            del self._sent[next(iter(self._sent))]
        self._last.append(report)
        return self.newest(FIRST) if self.lossy(now) and not self._congested() else report

    def newest(self, count: int) -> Reports:
        """Return the newest reports, so many: what to send again after a message of several."""
        return Reports(tuple(self._last)[-count:])

    def on_frame(self, pts: int, now: float) -> None:
        """Take note that the frame with time stamp `pts` (ticks) came at time `now` (s)."""
        delay = now - pts / CLOCK_RATE  # and an unknown constant
        self._late = delay - self._least_delay.add(delay, now)

    def on_loss(self, now: float) -> None:
        """Take note of a sign of loss at time `now` (s)."""
        self._signs.append(now)
        if len(self._signs) == MIN_SIGNS and now - self._signs[0] <= SIGNS_WITHIN:
            self._lossy_until = now + HOLD

    def on_score(self, score: Score, now: float) -> None:
        """Take what the server says of a report at time `now` (s)."""
        sent = self._sent.pop(score.pts, None)
        if sent is None:
            return
        at, coordinates = sent
        self._round_trips.append(now - at)
        self._scores_late = min(list(self._round_trips)[-2:]) - self._least_round_trip.add(now - at, now)
        unscored = coordinates - score.scored
        if unscored > self._unscored:
            self._unscored, self._lossy_until = unscored, now + HOLD

    def lossy(self, now: float) -> bool:
        """Return whether reports get lost, as far as is known at time `now` (s)."""
        return now < self._lossy_until

    def _congested(self) -> bool:
        """Return whether the newest frame came late, or the last two scores did."""
        return max(self._late, self._scores_late) > QUEUE_DELAY

    @property
    def round_trip(self) -> float | None:
        """Return how long (s) it takes to the server and back, as the queue is now; None while that is not known."""
        return min(self._round_trips) + self._late if self._round_trips else None
