"""One client's account: what it says is entered in its ledger, and what came of it is told to it."""

import asyncio
import logging
from collections.abc import Callable

from protocol.matching import MAX_STRAYS
from protocol.messages import About, Curious, Quiet, Ready, Score, Truth, encode, parse
from scoring.ledger import DEADLINE_S, Ledger
from scoring.tally import Frame, State

logger = logging.getLogger(__name__)

MAX_ASTRAY_S = 30.0  # s for which a client's reports may fit no frame, one like the other
MANY_REJECTED = 10  # messages in a row, of which one line is told
QUIET_INTERVAL = 1.0  # s between two scores for a client at which nobody looks at them
NARROW_INTERVAL = 0.25  # s, for one whose connection takes little: 30 scores a second are 50 kbit/s


class Account:
    """Takes the messages of one client, and answers them.

    Args:
        name: what the log calls the client.
        ledger: the client's.
        fps: frames a second that it gets.
        clock: returns monotonic seconds, those of the frames.
        send: sends the client a message.
        expel: ends its session, for the reason that it gets.
        on_scored: called with each frame that is scored.
        on_settled: called with each frame that gets its state by a report.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        fps: float,
        clock: Callable[[], float],
        send: Callable[[str], None],
        expel: Callable[[str], None],
        on_scored: Callable[[Frame], None],
        on_settled: Callable[[Frame], None] = lambda _: None,
    ) -> None:
        self.ledger = ledger
        self.answered = asyncio.Event()  # set at every report
        self.narrow = False  # whether the client's connection takes little
        self.about: str | None = None  # how the client was started, in its own words
        self._name = name
        self._clock, self._send, self._expel = clock, send, expel
        self._on_scored, self._on_settled = on_scored, on_settled
        self._allowance = Allowance(fps)
        self._astray: float | None = None  # s of the clock: since when its reports fit no frame; None: they do
        self._warned = False  # of that
        self._rejected, self._warned_of_rejected = 0, False  # messages in a row; whether that was told
        self._score_interval = 0.0  # s between two scores that the client is told, at least
        self._next_score = 0.0  # s of the clock
        self._curious = False  # whether the client wants the truth as well
        self._untold: Frame | None = None  # the newest frame that is scored and whose score was not sent

    def on_message(self, data: object) -> None:
        """Enter what the client says, whatever it is."""
        now = self._clock()
        if not self._allowance.take(now):
            self._expel("expelled: too many messages")
            return
        try:
            message = parse(data)
            if isinstance(message, Quiet):
                self._score_interval = QUIET_INTERVAL
                return
            if isinstance(message, Curious):
                self._curious = True
                return
            if isinstance(message, Ready):  # the link has heard it
                return
            if isinstance(message, About):
                self.about = message.text
                return
            settled = self.ledger.report(message, now)
        except ValueError as error:
            self.ledger.reject()
            logger.debug("%s: message rejected: %s", self._name, error)
            self._watch_rejected(error)
            return
        self._rejected = 0
        self._watch_strays(now)
        for frame in settled:
            self._on_settled(frame)
            if frame.state is State.SCORED:
                self._untold = frame
                if now >= self._next_score:
                    self._next_score = now + max(self._score_interval, NARROW_INTERVAL if self.narrow else 0)
                    self.tell()
                self._on_scored(frame)
        self.answered.set()

    def _watch_rejected(self, error: ValueError) -> None:
        """Tell of a client that says nothing but what is no message, once."""
        self._rejected += 1
        if self._rejected == MANY_REJECTED and not self._warned_of_rejected:
            self._warned_of_rejected = True
            logger.warning(
                "%s: its last %d messages are rejected, the newest as %a; docs/protocol.md has what is a message",
                self._name,
                MANY_REJECTED,
                str(error)[:100],
            )

    def _watch_strays(self, now: float) -> None:
        """Tell of a client whose reports fit no frame, once; end its session if that goes on for too long."""
        if not self.ledger.strays:
            self._astray = None
            return
        self._astray = now if self._astray is None else self._astray
        if self.ledger.strays < MAX_STRAYS:
            return
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s: its reports fit no frame sent in the last %g s, and are not scored: they come later than that, "
                "or the frames' time stamps do not survive the path, as behind what decodes and encodes the video; "
                "server.py --code writes each frame's number into its picture, which does survive, and "
                "client.py --watch reads it there",
                self._name,
                DEADLINE_S,
            )
        if now - self._astray >= MAX_ASTRAY_S:
            self._expel("expelled: its reports fit no frame")

    def tell(self) -> None:
        """Send the client the newest score, if it has not had it."""
        frame, self._untold = self._untold, None
        if frame is None:
            return
        assert frame.reported is not None
        assert frame.latency_ms is not None
        if self._curious and frame.truth is not None:
            self._send(encode(Truth(frame.reported, *frame.truth)))
        counts = self.ledger.tally.frames
        score = Score(frame.reported, frame.error_px, frame.latency_ms, counts[State.SCORED], counts[State.LOST])
        self._send(encode(score))

    def close(self, end: str) -> None:
        """Close the ledger for the reason `end`."""
        self.ledger.close(end)


class Allowance:
    """How many messages a client may send: some for each frame, with room for a burst (a token bucket).

    Args:
        fps: frames a second that it gets.
    """

    PER_FRAME = 4
    BURST_S = 2.0

    def __init__(self, fps: float) -> None:
        self._rate = fps * self.PER_FRAME + 30  # a second
        self._left = self._rate * self.BURST_S
        self._last = 0.0  # s

    def take(self, now: float) -> bool:
        """Take one message at time `now` (s); return whether it is still within bounds."""
        self._left = min(self._left + (now - self._last) * self._rate, self._rate * self.BURST_S) - 1
        self._last = now
        return self._left >= 0
