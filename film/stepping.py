"""When a client changes to another rung: a narrow connection gets a narrow film.

A rung is one bit rate of the film; rung 0 is the best, each further one a fraction of the one before, and the last has
fewer frames as well. Where the connection cannot take a rung, packets queue up in front of it, and latency grows above
the least that this client ever had: it steps down. After it has been well for long it tries the rung above; where that
fails, it waits twice as long before the next try.

What the handshake tells of the connection chooses the first rung. Where the first frame, a key frame and so the
largest, is no later than others, the handshake was mistaken, and the best rung is next. A client that has never
answered, and says again and again that it can decode nothing, is behind a connection that lets no picture through, and
steps down as well.

Latency also grows for a moment when a lost packet is waited for; but then the frames behind it arrive all at once,
closer to each other than they were drawn. A queue lets one through after the other. So the last few answers have to
be late, over some time, and none of them on the heels of the one before.

And latency grows where the machine is busy with other things. That shows in how late the server itself is with its
frames: an answer has passed more hands than those, so a multiple of it is taken off before an answer counts as late.

This module knows no clock and no network: times are handed in, in seconds of any monotonic clock.

Source for delay as the sign of congestion: LEDBAT, RFC 6817.
"""

import math
from collections import deque
from collections.abc import Sequence

from common.steadiness import Steadiness

LOW = 40_000  # bit / s; what goes with each frame takes as much there as the frame does
LOWEST, LOWEST_FPS = LOW // 2, 15  # bit / s; frames / s at most: half of the frames, each as good as on the rung above
FRACTION = 5  # of one rung is the next
OVERHEAD = 45_000  # bit / s that headers, acknowledgements and scores take at 30 frames / s
BALL = 0.4  # of the best rung's bit rate is what a ball and all that goes with it take
OPENING, OPENING_ANSWERS = 0.5, 10  # s, and answers, after which a rung that the handshake chose is judged
QUICK = 0.015  # s; a key frame that is not so much later than other frames shows that the connection is wide
UNSEEN, UNSEEN_PAUSE = 1.0, 2.0  # s for which nothing can be decoded, said at least once in so many s
QUEUE_LATENCY = 0.07  # s above the least, and so many times what it usually changes by: a queue, and no mere jitter
JITTERS, JITTER_MAX, JITTER_GAIN = 2, 0.05, 1 / 16  # times; s, at most; weight of the newest change (RFC 3550, A.8)
LAGS, LAG_FADE, LAG_MAX = 4, 0.97, 0.05  # times the server's own lag; what is left of it with each frame; s, at most
MIN_ANSWERS, MIN_TIME = 4, 0.12  # so many answers in a row, over so many s, have to be late
HEELS = 0.4  # of the time between two frames: answers that are closer to each other come out of no queue
MEMORY = 600.0  # s for which the least latency is remembered: routes change
UP_FIRST, UP_MAX = 30.0, 600.0  # s of being well before the rung above is tried; doubled each time that it fails
STRIKES, STRIKES_WITHIN = 3, 5.0  # so many times that far behind within so many s, and yet answering
TRIAL = 10.0  # s; a rung that was well for so long has passed its trial


def rungs(bitrate: int) -> tuple[int, ...]:
    """Return the bit rates (bit / s) to choose from, falling from the one that was asked for.

    >>> rungs(500_000)
    (500000, 100000, 40000, 20000)
    """
    rates = [bitrate]
    while rates[-1] > LOW:
        rates.append(max(LOW, rates[-1] // FRACTION))
    return (*rates, LOWEST) if bitrate > LOWEST else tuple(rates)


class LeastLatency:
    """The least latency (s) of about the last MEMORY seconds, in bounded memory."""

    PARTS = 10

    def __init__(self) -> None:
        self._parts: deque[tuple[float, float]] = deque(maxlen=self.PARTS)  # s when it began, least latency in it

    def add(self, latency: float, now: float) -> None:
        """Take note of one latency at time `now` (s)."""
        if not self._parts or now - self._parts[-1][0] >= MEMORY / self.PARTS:
            self._parts.append((now, latency))
        else:
            began, least = self._parts[-1]
            self._parts[-1] = began, min(least, latency)

    def value(self) -> float:
        """Return it; infinity where there is none."""
        return min((least for _, least in self._parts), default=math.inf)


class StepRule:
    """Decides which rung a client is on, from when its answers arrive.

    Args:
        rates: bit / s of each rung, falling; where there is one alone, nothing ever changes.
    """

    def __init__(self, rates: Sequence[int]) -> None:
        self.rung = 0
        self.changes = 0
        self._rates = rates
        self._least = LeastLatency()
        self._steadiness = Steadiness()
        self._answers: deque[tuple[float, float]] = deque()  # s of arrival, s of latency; as few as suffice
        self._jitter = 0.0  # s by which latency usually changes from one answer to the next
        self._lag = 0.0  # s by which the server's own frames were late, the worst of lately
        self._last = (0.0, 0.0)  # s, when the last frame that is answered was drawn, and its answer came
        self._counts_from = -math.inf  # s: answers for frames drawn before that say nothing
        self._well_since = 0.0  # s
        self._strikes: deque[float] = deque(maxlen=STRIKES)  # s
        self._answering = False  # since it was behind last
        self._stepped_up: float | None = None  # s, when the rung above was tried last
        self._patience = UP_FIRST
        self._first: tuple[float, float] | None = None  # s, when the first answer came, and how late
        self._opening: int | None = None  # answers since the handshake chose a rung; None: it did not, or that is over
        self._unseen: tuple[float, float] | None = None  # s, since when and until when it could decode nothing

    def begin(self, width: float | None, now: float) -> None:
        """Choose the first rung at time `now` (s).

        Args:
            width: bit / s that the connection takes, as the handshake has it; None where that is much, or unknown.
        """
        if width is None or len(self._rates) < 2 or width >= BALL * self._rates[0]:
            return
        fitting = (rung for rung, rate in enumerate(self._rates) if rung and rate + OVERHEAD <= width)
        self.rung, self._opening, self._well_since = next(fitting, len(self._rates) - 1), 0, now

    def on_sent(self, lag: float) -> None:
        """Take note that a frame was handed to the connection so many seconds after it was due."""
        self._lag = max(min(lag, LAG_MAX), LAG_FADE * self._lag)

    def on_answer(self, drawn: float, now: float) -> None:
        """Take note that the client answered at time `now` (s) for the frame that was drawn at `drawn` (s)."""
        if drawn < self._counts_from:
            return
        latency = now - drawn
        if self._first is None:
            self._first = now, latency
        if self._opening is not None:
            self._opening += 1
        if self._steadiness.on_answer(drawn, latency):
            self._least = LeastLatency()
        self._least.add(latency, now)
        self._answering = True
        (last_drawn, last_now), self._last = self._last, (drawn, now)
        change = abs(latency - (last_now - last_drawn))
        self._jitter += JITTER_GAIN * (min(change, JITTER_MAX) - self._jitter)
        if now - last_now < HEELS * (drawn - last_drawn):
            self._answers.clear()
        self._answers.append((now, latency))
        while len(self._answers) > MIN_ANSWERS and now - self._answers[1][0] >= MIN_TIME:
            self._answers.popleft()

    def on_picture_lost(self, now: float) -> None:
        """Take note at time `now` (s) that the client can decode nothing; it says so again and again."""
        since, until = self._unseen or (now, now)
        self._unseen = since if now - until <= UNSEEN_PAUSE else now, now

    @property
    def seen(self) -> bool:
        """Return whether the client has ever answered."""
        return self._first is not None

    def on_resumed(self, now: float) -> None:
        """Take note at time `now` (s) that its queue is empty: what was drawn before says nothing any more."""
        self._counts_from, self._unseen = now, None
        self._answers.clear()
        self._strikes.clear()

    def on_behind(self, now: float) -> bool:
        """Take note at time `now` (s) that the client is so far behind that it gets nothing for a while.

        Where the newest answer was late, the rung is too much by far, and few answers have to do; and where it happens
        again and again although answers come, each frame is too much for itself. Otherwise there is no network just
        now, and the rung is not to blame.

        Returns:
            As `step`.
        """
        late = len(self._answers) > 1 and self._answers[-1][1] > self._late
        if self._answering:
            self._answering = False
            self._strikes.append(now)
            late = late or (len(self._strikes) == STRIKES and now - self._strikes[0] <= STRIKES_WITHIN)
        if late:
            self._go_down(now)
        return late

    @property
    def _late(self) -> float:
        """Return the latency (s) from which on an answer is late."""
        return self._least.value() + QUEUE_LATENCY + JITTERS * self._jitter + LAGS * self._lag

    @property
    def congested(self) -> bool:
        """Return whether each of the last answers came late, or nothing comes through at all."""
        if not self.seen and self._unseen is not None and self._unseen[1] - self._unseen[0] >= UNSEEN:
            return True
        if len(self._answers) < MIN_ANSWERS or self._answers[-1][0] - self._answers[0][0] < MIN_TIME:
            return False
        return min(latency for _, latency in self._answers) > self._late

    def step(self, now: float) -> bool:
        """Change the rung if that is due at time `now` (s).

        Returns:
            Whether the client has to go on at a key frame: its rung is another one now, or there is none below and
            its queue has to become empty first.
        """
        if len(self._rates) < 2:
            return False
        if self.congested:
            self._go_down(now)
            return True
        if self._stepped_up is not None and now - self._stepped_up >= TRIAL:
            self._stepped_up, self._patience = None, UP_FIRST
        wide = self._proves_wide(now)
        if self.rung and (wide or now - self._well_since >= self._patience):
            self._stepped_up = now
            self._go_to(0 if wide else self.rung - 1, now)
            return True
        return False

    def _proves_wide(self, now: float) -> bool:
        """Return whether the opening is over just now, and its first frame, the largest, came as quickly as others."""
        if self._opening is None or self._first is None:
            return False
        answered, latency = self._first
        if self._opening < OPENING_ANSWERS or now - answered < OPENING:
            return False
        self._opening = None
        return latency - self._least.value() < QUICK + LAGS * self._lag

    def _go_down(self, now: float) -> None:
        if self._stepped_up is not None:
            self._stepped_up, self._patience = None, min(2 * self._patience, UP_MAX)
        self._go_to(min(self.rung + 1, max(0, len(self._rates) - 1)), now)

    def _go_to(self, rung: int, now: float) -> None:
        self.changes += rung != self.rung
        self.rung, self._opening = rung, None
        self._well_since = now
        self.on_resumed(now)
