"""Where the ball is bound to be now, which is not where the newest frame shows it.

The client has two clocks: that of the pts, which says when a frame was taken, and its own. What lies between them it
learns from the scores. A score says how long it took from the frame to its coordinate's arrival at the server; the
client knows when it sent that and when the score came back. If both ways took as long as each other,

    the frame was taken at (sent + received) / 2 - latency

as in NTP (RFC 5905, section 8), and as there, of the samples of the last seconds that with the shortest round trip is
taken: it has waited least, so its ways differ least. Where the ball is at a frame's time and later says
common/prediction.py. The walls are not known here.

This module knows no clock: times are handed in, in seconds of any monotonic clock.
"""

from collections import deque

from ball_track import Point
from common.prediction import Predictor
from protocol.matching import CLOCK_RATE
from protocol.messages import Score

SAMPLES = 64  # scores that the clocks are compared by; two seconds of them
MAX_AGE = 1.0  # s; from coordinates that are older nothing is predicted


class Present:
    """Says where the ball of one session is at a moment of the client's clock."""

    def __init__(self) -> None:
        self._predictor = Predictor()
        self._newest: int | None = None  # pts of the newest coordinate
        self._sent: deque[tuple[int, float]] = deque(maxlen=SAMPLES)  # pts, and s when its coordinate was sent
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)  # s: round trip, clock less pts

    def on_found(self, pts: int, point: Point, now: float) -> None:
        """Take note of a coordinate that is sent at time `now` (s)."""
        self._newest = pts
        self._sent.append((pts, now))
        self._predictor.observe(pts / CLOCK_RATE, point)

    def on_score(self, score: Score, now: float) -> None:
        """Take note of a score that came at time `now` (s)."""
        sent = next((sent for pts, sent in self._sent if pts == score.pts), None)
        if sent is not None:
            taken = (sent + now) / 2 - score.latency_ms / 1000
            self._samples.append((now - sent, taken - score.pts / CLOCK_RATE))

    def where(self, now: float) -> Point | None:
        """Return where the ball is at time `now` (s), px; None if that cannot be said."""
        if self._newest is None or not self._samples:
            return None
        _, offset = min(self._samples)
        time = now - offset
        return self._predictor.at(time) if time - self._newest / CLOCK_RATE < MAX_AGE else None
