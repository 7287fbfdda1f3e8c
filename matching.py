"""Which frame a report speaks of.

A report names its frame by the pts that the client received. That is not the pts that the server sent: RTP
adds a random origin, an aiortc receiver takes away the time of the first frame *it* put together, whichever
that was, and the encoder's time base can lose a tick. So

    reported = sent + shift, give or take two ticks, modulo 2^32

with one unknown `shift` for each client. `stamp` gives every frame's pts a small irregular offset, so that the
pattern of a handful of reports fits the pattern of the frames sent at one shift only.

A tick is 1 / 90000 s, the RTP clock of video (RFC 3551, section 5).
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

CLOCK_RATE = 90_000  # ticks / s
MODULUS = 2**32  # an RTP time stamp's range
OFFSET = 16  # ticks; so much larger than TOLERANCE that rounding cannot turn one offset into another
OFFSETS = tuple(random.Random(1).choices(range(9), k=4096))  # in units of OFFSET, at most 1.4 ms in all
TOLERANCE = 2  # ticks: one of rounding for the frame, one for the frame that the receiver counts from
NEAREST = sorted(range(-TOLERANCE, TOLERANCE + 1), key=abs)
LEAD = 3  # by so many reports a shift must fit better than every other
MIN_FITS = 2  # reports; one alone fits any frame
MAX_UNDECIDED = 64  # reports that vote while the shift is unknown
MAX_CANDIDATES = 64  # shifts that are looked at for each report

T = TypeVar("T")


def stamp(k: int, fps: float) -> int:
    """Return the pts of frame `k` in ticks: when it is due, plus the offset that makes it recognisable."""
    return round(k * CLOCK_RATE / fps) + OFFSET * OFFSETS[k % len(OFFSETS)]


class Matcher:
    """Finds the shift of one client, and with it the frame that a reported pts names."""

    def __init__(self) -> None:
        self.shift: int | None = None
        self._votes: Counter[int] = Counter()  # shift: how many (report, frame) pairs it explains
        self._voted: set[int] = set()

    def vote(self, reported: int, sent: Iterable[int]) -> None:
        """Let one report vote for every shift that would make it name a frame that was sent.

        Args:
            reported: the report's pts, in ticks.
            sent: the pts of all frames that it can mean, in ticks.
        """
        reported %= MODULUS
        if reported in self._voted:  # saying it twice makes it no truer
            return
        if len(self._voted) >= MAX_UNDECIDED:
            self._votes.clear()
            self._voted.clear()
        self._voted.add(reported)
        self._votes.update((reported - pts) % MODULUS for pts in sent)

    def decide(self, lead: int = LEAD) -> bool:
        """Settle on the shift that fits best, if it fits `lead` reports more than any other.

        Returns:
            Whether the shift is known now.
        """
        if self.shift is None and self._votes:
            # few reports leave the true shift with one vote here and one beside it, among hundreds of others
            candidates = MAX_CANDIDATES if lead >= LEAD else None
            fits = {shift: self._near(shift) for shift, _ in self._votes.most_common(candidates)}
            best = max(fits, key=lambda shift: (fits[shift], self._votes[shift]))
            rivals = (
                count for shift, count in fits.items() if OFFSET / 2 <= (shift - best) % MODULUS <= MODULUS - OFFSET / 2
            )
            if fits[best] >= MIN_FITS and fits[best] - max(rivals, default=0) >= lead:
                self.shift = best
                self._votes.clear()
                self._voted.clear()
        return self.shift is not None

    def _near(self, shift: int) -> int:
        """Return how many votes there are for `shift` and its neighbours: rounding spreads the true one."""
        return sum(self._votes.get((shift + tick) % MODULUS, 0) for tick in NEAREST)

    def find(self, reported: int, sent: Mapping[int, T]) -> T | None:
        """Return what `sent` holds for the frame that a reported pts names, or None if it names none.

        Args:
            reported: the report's pts, in ticks.
            sent: the frames that it can mean, by their pts modulo 2^32.
        """
        assert self.shift is not None, "decide() first"
        for tick in NEAREST:
            frame = sent.get((reported - self.shift + tick) % MODULUS)
            if frame is not None:
                return frame
        return None
