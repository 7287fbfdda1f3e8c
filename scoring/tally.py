"""Frames in their states, and what they add up to: of one client, or of all of them together."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from ball_track import Point
from protocol.messages import Watched
from scoring.distribution import Distribution

FIGURES = ("error_px", "latency_ms", "live_error_px", "predicted_error_px", "predicted_walls_error_px")


class State(StrEnum):
    """What became of a frame; OPEN ones are on their way."""

    OPEN = "open"
    SCORED = "scored"
    MISSED = "missed"
    SKIPPED = "skipped"
    LOST = "lost"


@dataclass(slots=True)
class Frame:
    """One frame as it was sent to one client, and what came of it.

    k: its number; pts: ticks of 1 / 90000 s; drawn: s; truth: the ball's centre, px, None where it is unknown:
    then a coordinate has a latency and no error; reported: the pts that the client calls it by, ticks; found:
    where the client found the ball, px; captured: s, the moment that it shows, `drawn` if None; answered: s,
    when its report came; sharp: no other frame was in the picture that it was seen in; else there is no error.
    """

    k: int
    pts: int
    drawn: float
    truth: Point | None
    state: State = State.OPEN
    reported: int | None = None
    found: Point | None = None
    error_px: float | None = None
    latency_ms: float | None = None
    live_error_px: float | None = None
    predicted_error_px: float | None = None
    predicted_walls_error_px: float | None = None
    captured: float | None = None
    answered: float | None = None
    sharp: bool = True


class Span(NamedTuple):
    """When the first of some frames was drawn, and when the last one, s."""

    first: float
    last: float


class Tally:
    """Counts and figures, of one client or of all of them.

    frames: how many ended in each state, and how many were `sent`. Reports that named no frame are
    `unmatched`, those for a frame that has its state already `repeated`; messages that were none are
    `rejected`; `restarts` counts the deaths of process_a. Frames of the film between two that were sent, which were
    not, are `late`: the server, or the client's connection, did not get to them.
    unjudged: scored frames that are worth no error: another frame was in their picture, or a part of it was missing.
    watched: what was read in the pictures of a camera, a screen or a URL, by the names of messages.Watched.
    network: what was done to get the film through, by the names of NETWORK.
    """

    COUNTS = ("sent", State.SCORED, State.MISSED, State.SKIPPED, State.LOST, "unmatched")

    NETWORK = ("rung_changes", "resent_asked", "resent_unasked", "bytes_sent", "held_back_ms")

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        self.network: Counter[str] = Counter()
        self.watched: Counter[str] = Counter()
        self.unjudged = 0
        self.rejected = 0
        self.repeated = 0
        self.restarts = 0
        self.late = 0
        self.error_px = Distribution()
        self.latency_ms = Distribution()
        self.live_error_px = Distribution()
        self.predicted_error_px = Distribution()
        self.predicted_walls_error_px = Distribution()
        self.span: Span | None = None  # of the frames that were sent; None before the first

    def merge(self, other: "Tally") -> None:
        """Add another client's counts and figures to these."""
        self.frames.update(other.frames)
        self.network.update(other.network)
        self.watched.update(other.watched)
        self.unjudged += other.unjudged
        self.rejected += other.rejected
        self.repeated += other.repeated
        self.restarts += other.restarts
        self.late += other.late
        for figure in FIGURES:
            getattr(self, figure).merge(getattr(other, figure))
        if other.span is not None:
            self.stretch(other.span)

    def stretch(self, span: Span) -> None:
        """Count the time that other frames took."""
        mine = span if self.span is None else self.span
        self.span = Span(min(mine.first, span.first), max(mine.last, span.last))

    @property
    def duration_s(self) -> float:
        """Return the time from the first frame to the last, in s."""
        return 0.0 if self.span is None else self.span.last - self.span.first

    @property
    def fps(self) -> float:
        """Return how many frames a second were sent, to all clients together."""
        sent, seconds = self.frames["sent"], self.duration_s
        return (sent - 1) / seconds if sent > 1 and seconds else 0.0

    def summary(self) -> dict[str, Any]:
        """Return everything as plain numbers, unrounded; the keys are those of summary.json."""
        seconds = self.duration_s
        return {
            "frames": {name: self.frames[name] for name in map(str, self.COUNTS)},
            **{figure: getattr(self, figure).summary() for figure in FIGURES},
            "fps": self.fps,
            "duration_s": seconds,
            "rejected": self.rejected,
            "repeated": self.repeated,
            "restarts": self.restarts,
            "late": self.late,
            "unjudged": self.unjudged,
            "watched": {name: self.watched[name] for name in Watched._fields},
            "network": {
                **{name: self.network[name] for name in self.NETWORK},
                "kbit_s": self.network["bytes_sent"] * 8 / 1000 / seconds if seconds else 0.0,
            },
        }


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the counts and figures of all clients together."""
    together = Tally()
    for tally in tallies:
        together.merge(tally)
    return together
