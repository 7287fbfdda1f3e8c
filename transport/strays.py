"""What peers and strangers send that is of no use: counted, and seldom told."""

import logging
from collections import Counter

from common.seldom import Seldom

logger = logging.getLogger(__name__)

TELL_INTERVAL = 10.0  # s between two log lines of one kind

dropped: Counter[str] = Counter()  # how many, by kind
_seldom = Seldom(interval=TELL_INTERVAL)


def drop(kind: str, error: Exception | None = None) -> None:
    """Count something that is of no use, and log it, though not more often than every TELL_INTERVAL."""
    dropped[kind] += 1
    if _seldom.due(kind):
        logger.warning("dropped %s: %d so far%s", kind, dropped[kind], f" ({error!r})" if error else "")
