"""A clock that nobody sets, for aiortc and aioice: they take round trips and deadlines from the wall clock."""

import datetime
import time
from types import SimpleNamespace

import aioice.turn
import aiortc.clock
import aiortc.mediastreams
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport

from transport.mending import replace, unexpected

LAST_DATE = 2**32 - 2_208_988_800  # s since 1970, in 2036: what is later does not fit an NTP time stamp
BEGAN = (
    time.time() if 0 <= time.time() < LAST_DATE - 2**25 else 0.0
) - time.monotonic()  # s: wall clock at monotonic 0


def monotonic_time() -> float:
    """Return the time as time.time() does, but by a clock that nobody sets."""
    return BEGAN + time.monotonic()


def monotonic_datetime() -> datetime.datetime:
    """Return the time as a date, by a clock that nobody sets."""
    return datetime.datetime.fromtimestamp(monotonic_time(), datetime.UTC)


CLOCKED = (aiortc.mediastreams, aiortc.rtcrtpreceiver, aiortc.rtcrtpsender, aiortc.rtcsctptransport, aioice.turn)


def mend_clocks() -> bool:
    """Give aiortc and aioice a clock that nobody sets: they take round trips and deadlines from the wall clock."""
    clock = SimpleNamespace(time=monotonic_time, monotonic=time.monotonic)
    if not all(getattr(module, "time", None) is time for module in CLOCKED):
        return unexpected("time")
    for module in CLOCKED:
        module.time = clock  # type: ignore[attr-defined]  # its own import of it
    return replace(aiortc.clock, "current_datetime", "", lambda _: monotonic_datetime)
