"""What peers and strangers send that is of no use: counted, and seldom told."""

import logging
import time
from collections import Counter

logger = logging.getLogger(__name__)

TELL_INTERVAL = 10.0  # s between two log lines of one kind

dropped: Counter[str] = Counter()  # how many, by kind
_told: dict[str, float] = {}  # when each kind was last logged, s


def drop(kind: str, error: Exception | None = None) -> None:
    """Count something that is of no use, and log it, though not more often than every TELL_INTERVAL."""
    dropped[kind] += 1
    now = time.monotonic()
    if now - _told.get(kind, -TELL_INTERVAL) >= TELL_INTERVAL:
        _told[kind] = now
        logger.warning("dropped %s: %d so far%s", kind, dropped[kind], f" ({error!r})" if error else "")
