"""Which frames wait for process_a, and which are skipped.

A frame is skipped if it cannot be found before the next one is due. That is a question of time, not of number: after
a lost packet has come at last, the frames that waited for it arrive all at once, and where process_a needs a
millisecond for each, all of them are found before the next one comes. Where it needs longer than a frame lasts, only
the newest waits. And what is older than the newest frame by more than STALE is of no use to anybody, though it could be
found: it comes after a time without network.

How long a frame takes is the mean of the last few, and how long one lasts is the shortest distance between the time
stamps of the last few: some may have been lost on the way.
"""

from collections import deque
from typing import Generic, TypeVar

from protocol.matching import CLOCK_RATE

MAX_WAITING = 16  # frames; each holds on to a decoded picture
STALE = 1.0  # s
REMEMBERED_FRAMES = 8  # frames, for how long they take and last

T = TypeVar("T")


class Backlog(Generic[T]):
    """The frames that wait, oldest first; T is what is kept of one."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, T]] = deque()  # pts in ticks, frame
        self._took: deque[float] = deque(maxlen=REMEMBERED_FRAMES)  # s
        self._lasted: deque[int] = deque(maxlen=REMEMBERED_FRAMES)  # ticks
        self._last: int | None = None  # pts of the newest frame, in ticks

    def add(self, pts: int, frame: T, *, busy: bool) -> list[int]:
        """Let a frame wait.

        Args:
            pts: its time stamp, in ticks.
            frame: itself.
            busy: whether process_a has one to find before all of these.

        Returns:
            The time stamps of those that are skipped for it, oldest first.
        """
        if self._last is not None and pts > self._last:
            self._lasted.append(pts - self._last)
        self._last = pts
        self._waiting.append((pts, frame))
        skipped = []
        oldest = pts - STALE * CLOCK_RATE
        while self._waiting[0][0] < oldest or len(self._waiting) > max(1, self.room() - busy):
            skipped.append(self._waiting.popleft()[0])
        return skipped

    def room(self) -> int:
        """Return how many frames can be found before the next one is due; 0 while that is not known."""
        if not self._took or not self._lasted:
            return 0
        took, lasts = sum(self._took) / len(self._took), min(self._lasted) / CLOCK_RATE
        return MAX_WAITING if took * MAX_WAITING <= lasts else int(lasts / took)

    def pop(self) -> tuple[int, T] | None:
        """Return the time stamp and the frame that is to be found next, and let it go; None if none waits."""
        return self._waiting.popleft() if self._waiting else None

    def on_found(self, took: float) -> None:
        """Take note of how long (s) process_a took for a frame."""
        self._took.append(took)

    def on_restart(self) -> None:
        """Forget how long frames took: until process_a is back, only the newest waits."""
        self._took.clear()

    def clear(self) -> None:
        """Let go of all frames."""
        self._waiting.clear()
