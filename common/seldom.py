"""What happens again and again, told now and then: the log's reader learns of it, and can still read the rest."""

import time
from collections.abc import Callable

INTERVAL = 60.0  # s between two lines of the same words


class Seldom:
    """Tells the same thing once in an interval, however often it happens.

    Args:
        clock: returns monotonic seconds.
        interval: s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, interval: float = INTERVAL) -> None:
        self._clock = clock
        self._interval = interval
        self._told: dict[str, float] = {}  # when what was told, s; no more than the last interval's

    def due(self, what: str) -> bool:
        """Return whether to tell a thing now; it counts as told then."""
        now = self._clock()
        self._told = {each: at for each, at in self._told.items() if now - at < self._interval}
        if what in self._told:
            return False
        self._told[what] = now
        return True

    def forget(self, what: str) -> None:
        """Let a thing be told at its next time: it has been otherwise in between."""
        self._told.pop(what, None)
