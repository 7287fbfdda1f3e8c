"""Which frame a report speaks of.

A report names its frame by the pts that the client received. That is not the pts that the server sent: RTP
adds a random origin, an aiortc receiver takes away the time of the first frame *it* put together, whichever
that was, and the encoder's time base can lose a tick. So

    reported = sent + shift, give or take two ticks, modulo 2^32

with one unknown `shift` for each client. `stamp` gives every frame's pts a small irregular offset, so that the
pattern of a handful of reports fits the pattern of the frames sent at one shift only.

A report that is matched with a wrong frame would be scored against a wrong truth, and that must never be. So a
shift is believed only where chance does not explain the fit (`fits_needed`), and doubted at the first report
that fits nothing; a report that is in doubt waits until the doubt is settled, one way or the other:

    state      | meaning                                              | next
    -----------|------------------------------------------------------|-------------------------------------------
    SEARCHING  | no shift is known; the newest reports are held       | KNOWN when one shift explains most of them
    KNOWN      | each report names its frame; the shift is followed   | DOUBTED when a report names none
    DOUBTED    | all reports since then are held                      | KNOWN when the newest fit again, or another
               |                                                      | shift explains most; SEARCHING when nothing does

A path that decodes and encodes the video gives the frames time stamps of its own. Then nothing fits, and no
report is ever matched: `strays` counts them.

A tick is 1 / 90000 s, the RTP clock of video (RFC 3551, section 5).
"""

import math
import random
from collections import deque
from collections.abc import Collection, Sequence
from enum import Enum
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

CLOCK_RATE = 90_000  # ticks / s
MODULUS = 2**32  # an RTP time stamp's range
OFFSET = 16  # ticks; so much larger than a tolerance that rounding cannot turn one offset into another
TOLERANCE = 2  # ticks: one of rounding for the frame, one for the frame that the receiver counts from
DRIFT = 6  # ticks by which a known shift may be off; behind a relay that packs the frames anew it creeps
NEAREST = sorted(range(-DRIFT, DRIFT + 1), key=abs)
CHANCE = 1e-6  # that a shift fits by accident; above it, it is not believed
CHANCE_FIT = 1 / 9  # that a frame has the offset that a wrong shift wants
MAX_HELD = 32  # reports that wait while their frames are not known
CONFIRMING = 6  # reports in a row that fit the shift that was doubted
MAX_FRAMES = 600  # the newest, among which a shift is looked for: 2.5 s at 240 frames a second, all of them up to 60
MAX_STRAYS = 30  # reports in a row that name no frame before the shift is forgotten

Shifts = np.ndarray[tuple[int], np.dtype[np.int64]]
ReportT = TypeVar("ReportT")
FrameT = TypeVar("FrameT")


def draw_offsets(run: int) -> tuple[int, ...]:
    """Return the offsets of one run's frames, in units of OFFSET, at most 1.4 ms in all.

    Each run of a server has its own: where a client sees the film of another one, whatever it reports fits nothing.
    """
    return tuple(random.Random(run).choices(range(9), k=4096))


OFFSETS = draw_offsets(1)


def stamp(k: int, fps: float, offsets: Sequence[int] = OFFSETS) -> int:
    """Return the pts of frame `k` in ticks: when it is due, plus the offset that makes it recognisable.

    Args:
        k: its number.
        fps: frames a second.
        offsets: those of the run.
    """
    return round(k * CLOCK_RATE / fps) + OFFSET * offsets[k % len(offsets)]


# --- Finding a shift -----------------------------------------------------------------------------


def fits_needed(reports: int, frames: int) -> int:
    """Return how many of some reports a shift must explain to be no accident; more than all: too few reports.

    Where time stamps do not survive they come evenly at worst. A wrong shift can then begin at any of the frames,
    and has each report's offset right once in nine times. What is needed is most of the reports, and so many that
    a wrong shift is expected less than CHANCE times.

    Args:
        reports: how many there are, each with another pts.
        frames: how many frames they can mean.

    >>> fits_needed(8, 8), fits_needed(10, 300), fits_needed(32, 300), fits_needed(5, 300)
    (8, 10, 19, 6)
    """
    for fits in range(reports // 2 + 1, reports + 1):
        places = frames - fits + 1
        if places * math.comb(reports, fits) * CHANCE_FIT ** (fits - 1) <= CHANCE:
            return fits
    return reports + 1


def find_shift(reports: Collection[int], frames: Collection[int]) -> int | None:
    """Return the shift that explains most of the reports; None if there is none.

    Args:
        reports: the reports' pts, in ticks modulo 2^32, each another.
        frames: the pts of all frames that they can mean, likewise.
    """
    needed = fits_needed(len(reports), len(frames))
    if needed > min(len(reports), len(frames)):
        return None
    theirs = np.fromiter(reports, np.int64, len(reports))
    ours = np.fromiter(frames, np.int64, len(frames))
    shifts = np.sort(((theirs[:, None] - ours) % MODULUS).ravel())  # (reports * frames,), each pair's
    shifts = np.concatenate((shifts, shifts[: len(reports)] + MODULUS))  # those at the seam, too
    fits, best = needed - 1, None
    while (found := _clusters(shifts, fits + 1)).size:
        fits, best = fits + 1, int(found[len(found) // 2])
    return None if best is None else best % MODULUS


def _clusters(shifts: Shifts, count: int) -> Shifts:
    """Return the middles of all groups of `count` of the sorted shifts that rounding alone keeps apart."""
    first, last = shifts[: len(shifts) - count + 1], shifts[count - 1 :]
    return ((first + last) // 2)[last - first <= 2 * TOLERANCE]


# --- Knowing it ----------------------------------------------------------------------------------


class MatchState(Enum):
    """What a matcher knows; see the table at the top."""

    SEARCHING = "searching"
    KNOWN = "known"
    DOUBTED = "doubted"


class Matcher(Generic[ReportT, FrameT]):
    """Finds out which frames one client's reports speak of.

    Attributes:
        state: what it knows.
        shift: ticks; None while SEARCHING.
        strays: reports in a row, up to now, that name no frame.
    """

    def __init__(self) -> None:
        self.state = MatchState.SEARCHING
        self.shift: int | None = None
        self.strays = 0
        self._held: deque[tuple[int, ReportT]] = deque()  # the reports that wait, and the pts that they name
        self._until_search = 0  # so many more reports come before the next search

    def match(self, pts: int, report: ReportT, frames: dict[int, FrameT]) -> list[tuple[ReportT, FrameT | None]]:
        """Take a report, and return all reports of which it is known now what they speak of.

        Args:
            pts: what the report names its frame by, in ticks.
            report: the report, to be returned.
            frames: the frames that it can mean, by their pts modulo 2^32.

        Returns:
            Reports, in the order of their coming, and their frames; None for those that name no frame.
        """
        pts %= MODULUS
        if self.state is MatchState.KNOWN:
            frame = self._follow(pts, frames)
            if frame is not None:
                return [(report, frame)]
            self.state = MatchState.DOUBTED
            self._until_search = 0
        self.strays += 1
        given_up: list[tuple[ReportT, FrameT | None]] = []
        if len(self._held) == MAX_HELD:
            given_up.append((self._held.popleft()[1], None))
        self._held.append((pts, report))
        if self.state is MatchState.DOUBTED and self._fits_again(frames):
            return given_up + self._release(frames)
        shift = self._search(frames)
        if shift is not None:
            return given_up + self._release(frames, shift)
        if self.strays >= MAX_STRAYS:
            self.state, self.shift = MatchState.SEARCHING, None
        return given_up

    def is_after(self, pts: int, newest: int) -> bool:
        """Return whether a report speaks of a later frame than the newest one; False while no shift is known.

        Args:
            pts: what the report names its frame by, in ticks.
            newest: the frame's pts, in ticks.
        """
        return self.shift is not None and DRIFT < (pts - self.shift - newest) % MODULUS < MODULUS // 2

    def close(self) -> list[tuple[ReportT, None]]:
        """Return the reports that still wait: what they speak of will never be known."""
        left = [(report, None) for _, report in self._held]
        self._held.clear()
        return left

    def _fits_again(self, frames: dict[int, FrameT]) -> bool:
        """Return whether the doubt is over: the newest reports all fit the shift that was known."""
        newest = [self._held[index][0] for index in range(-min(CONFIRMING, len(self._held)), 0)]
        return len(newest) == CONFIRMING and all(self._find(pts, frames)[0] is not None for pts in newest)

    def _search(self, frames: dict[int, FrameT]) -> int | None:
        """Return the shift that explains most of the reports that wait; None if there is none.

        The longer there was none, the more seldom it is looked for: a client that names nothing costs little.
        """
        self._until_search -= 1
        if self._until_search > 0:
            return None
        self._until_search = len(self._held) // 8 if len(self._held) < MAX_HELD else MAX_HELD // 2
        return find_shift({pts for pts, _ in self._held}, list(islice(reversed(frames), MAX_FRAMES)))

    def _release(self, frames: dict[int, FrameT], shift: int | None = None) -> list[tuple[ReportT, FrameT | None]]:
        """Know the shift, which may be another one now, and return the reports that waited for it."""
        before = [self._find(pts, frames)[0] if shift is not None else None for pts, _ in self._held]
        self.state, self.strays = MatchState.KNOWN, 0
        self.shift = self.shift if shift is None else shift
        released: list[tuple[ReportT, FrameT | None]] = []
        for (pts, report), old in zip(self._held, before, strict=True):
            frame = self._follow(pts, frames)
            certain = old is None or old is frame  # what fits the shift of before as well may speak of either
            released.append((report, frame if certain else None))
        self._held.clear()
        return released

    def _follow(self, pts: int, frames: dict[int, FrameT]) -> FrameT | None:
        """Return the frame that a pts names, None if it names none; let the shift follow it by one tick."""
        frame, off = self._find(pts, frames)
        if off:
            assert self.shift is not None
            self.shift = (self.shift + (1 if off > 0 else -1)) % MODULUS
        return frame

    def _find(self, pts: int, frames: dict[int, FrameT]) -> tuple[FrameT | None, int]:
        """Return the frame that a pts names, and by how many ticks it is off; None and 0 if it names none."""
        if self.shift is not None:
            for off in NEAREST:
                frame = frames.get((pts - self.shift - off) % MODULUS)
                if frame is not None:
                    return frame, off
        return None, 0
