"""Whether a client is late by itself, and not because of a queue.

A client that is far behind is sent one frame now and then. Where each of these is answered, and each as late as the
one before, there is no queue that grows or empties: so long does this client take just now, and fewer frames are no
help. A browser that was stopped for 5 s is like that, and finds its clock again only if it gets many frames.
"""

from collections import deque

ALONE = 0.4  # s after the frame before: a frame that came alone
FRAMES, WITHIN = 4, 0.25  # such frames in a row, whose latencies differ by so many s at most


class Steadiness:
    """Watches the answers for frames that came alone; times are in s of any monotonic clock."""

    def __init__(self) -> None:
        self._drawn = 0.0  # s, of the frame that was answered last
        self._quick = False  # whether frames ever came closer to each other: a slow film says nothing
        self._latencies: deque[float] = deque(maxlen=FRAMES)  # s, of those that came alone

    def on_answer(self, drawn: float, latency: float) -> bool:
        """Take note of an answer for the frame drawn at `drawn`; return whether the client is late by itself."""
        alone, self._drawn = drawn - self._drawn >= ALONE, drawn
        if not alone:
            self._quick = True
            self._latencies.clear()
            return False
        self._latencies.append(latency)
        steady = len(self._latencies) == FRAMES and max(self._latencies) - min(self._latencies) <= WITHIN
        return steady and self._quick
