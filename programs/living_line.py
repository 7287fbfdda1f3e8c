"""The line that tells in a client's terminal how it goes, in its own place; what is printed meanwhile stands above it.

    received 1234  found 1233  skipped 1  4.1 ms  30.0 fps

It fits 60 columns for hours, and is cut where there are fewer: one that wraps could not be written anew in its place.
"""

import asyncio
import os
import statistics
import sys
from collections import deque
from collections.abc import Callable, Mapping

from common.asides import log_to

DUMB = ("dumb", "unknown")  # terminals in which no line can be written anew
REFRESH_S = 0.5
SPAN = 4  # refreshes that frames a second are counted over
LATENCIES = 30  # of the newest scores; the median is told


class LivingLine:
    """Tells the counts of a client, what the server says of its latency, and how many frames come.

    Args:
        counts: of the client; it changes them.
        here: returns whether there is a server; without one there is no line.
    """

    def __init__(self, counts: Mapping[str, int], here: Callable[[], bool]) -> None:
        self._counts, self._here = counts, here
        self._latencies: deque[float] = deque(maxlen=LATENCIES)  # ms
        self._received: deque[tuple[float, int]] = deque(maxlen=SPAN + 1)  # s of the loop's clock, frames so far

    def on_latency(self, latency_ms: float) -> None:
        """Take note of a score."""
        self._latencies.append(latency_ms)

    async def run(self) -> None:
        """Keep the line up until cancelled, and take it away then; do nothing where stdout is no terminal."""
        if not sys.stdout.isatty() or os.environ.get("TERM", "").lower() in DUMB:
            return
        from rich.console import Console  # not at the top: process_a imports what client.py does, and needs none
        from rich.live import Live
        from rich.text import Text

        console = Console(highlight=False, soft_wrap=True)
        with Live(console=console, auto_refresh=False, transient=True) as live, log_to(print):
            while True:
                await asyncio.sleep(REFRESH_S)
                line = Text(self.line(asyncio.get_running_loop().time()), no_wrap=True)
                if columns := os.get_terminal_size(sys.stdout.fileno()).columns:  # 0: it does not say
                    line.truncate(columns - 1, overflow="ellipsis")
                live.update(line, refresh=True)

    def line(self, now: float) -> str:
        """Return the line at time `now` (s); an empty one while there is no server."""
        if not self._here():
            self._latencies.clear()
            self._received.clear()
            return ""
        self._received.append((now, self._counts["received"]))
        (before, fewer), (after, more) = self._received[0], self._received[-1]
        parts = ["received {received}  found {sent}  skipped {skipped}".format_map(self._counts)]
        if self._latencies:
            latency = statistics.median(self._latencies)
            parts.append(f"{latency:.{int(latency < 100)}f} ms")
        if after > before:
            parts.append(f"{(more - fewer) / (after - before):.1f} fps")
        return "  ".join(parts)
