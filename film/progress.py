"""Whether an encoder gets on: what goes wrong once is told, and gone over; what goes wrong again and again is the end.

This holds for every encoder of a film. Who asks for a frame waits for as long as it takes; that it takes too long can
be asked here.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator

from film.drawn import FilmError

logger = logging.getLogger(__name__)

MAX_FAILURES = 5  # frames in a row that cannot be encoded
STALL_S = 5.0  # s that somebody may wait for a frame


class Progress:
    """Counts an encoder's failures in a row, and knows how long those who ask have waited.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._waiting = 0  # who asks for a frame
        self._since = 0.0  # s: when the newest frame was encoded, or when the first of them began to wait

    @property
    def stalled(self) -> bool:
        """Return whether somebody has waited for too long, or the last frame could not be encoded."""
        return bool(self._failures) or (self._waiting > 0 and self._clock() - self._since > STALL_S)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Take note that somebody waits for a frame, for as long as the block lasts."""
        if not self._waiting:
            self._since = self._clock()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def succeed(self) -> None:
        """Take note that a frame was encoded."""
        self._failures = 0
        self._since = self._clock()

    def fail(self, k: int, error: Exception) -> None:
        """Take note that frame `k` could not be encoded.

        Raises:
            FilmError: that was once too often.
        """
        self._failures += 1
        logger.warning("frame %d cannot be encoded: %r", k, error)
        if self._failures >= MAX_FAILURES:
            raise FilmError(f"{self._failures} frames in a row cannot be encoded: {error!r}") from error
