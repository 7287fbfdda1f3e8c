"""Sends each packet once more while there is loss, and counts what is sent."""

import asyncio
import contextlib
import heapq
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable

from aiortc import RTCRtpSender

from transport.aiortc_internals import tap_sender
from transport.copies import DELAYS, CopyRule

logger = logging.getLogger(__name__)

ROUND_TRIP = 0.05  # s, while it is not known
BUDGET_SHARE, MAX_BUDGET = 0.5, 64  # of the packets may be sent again; what is lost to a full queue would fill it anew
STATS_INTERVAL = 0.5  # s between two looks at what the receiver reports
MAX_PACKETS = 128  # that were sent, or sent again: aiortc remembers no more
USEFUL = 0.5  # s, and twice the round trip, after which a packet comes too late to be worth its bytes


class Resender:
    """Sends a sender's packets once more, some ms after the original, while the rule says so.

    Args:
        sender: one whose transport will not change any more.
        traffic: where to count `bytes_sent`, and the packets `resent_asked` and `resent_unasked`.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, sender: RTCRtpSender, traffic: Counter[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sender = sender
        self._traffic = traffic
        self._clock = clock
        self._rule = CopyRule()
        self._due: list[tuple[float, int]] = []  # s, sequence number; a heap
        self._waiting = asyncio.Event()  # something is due
        self._round_trip = ROUND_TRIP
        self._budget = float(MAX_BUDGET)  # packets that may be sent again when they are asked for
        self._sent: dict[int, float] = {}  # by sequence number, oldest first: when (s)
        self._resent: dict[int, float] = {}  # the same of those that were sent again
        self._copying = False  # what is sent again just now was not asked for
        self._retransmit = tap_sender(sender, self._on_sent, self._on_resent, self._on_asked)
        self._tasks = [asyncio.create_task(self._watch())]
        if self._retransmit is not None:
            self._tasks.append(asyncio.create_task(self._copy()))
        for task in self._tasks:
            task.add_done_callback(_tell)

    def on_congested(self) -> None:
        """Send nothing twice for a while, and nothing again of what was sent so far: latency grows."""
        self._rule.on_congested(self._clock())
        self._due.clear()
        self._sent.clear()

    def on_picture_lost(self) -> None:
        """Take it for loss that the receiver asks for a key frame."""
        self._rule.on_picture_lost(self._clock())

    def _on_sent(self, number: int, size: int) -> None:
        now = self._clock()
        self._traffic["bytes_sent"] += size
        self._budget = min(MAX_BUDGET, self._budget + BUDGET_SHARE)
        _note(self._sent, number, now)
        if self._retransmit is not None:
            self._schedule(number, self._rule.delays(now))

    def _schedule(self, number: int, delays: Iterable[float]) -> None:
        """Send a packet again after so many seconds each."""
        now = self._clock()
        for delay in delays:
            heapq.heappush(self._due, (now + delay, number))
            self._waiting.set()

    def _on_resent(self, size: int) -> None:
        self._traffic["bytes_sent"] += size
        self._traffic["resent_unasked" if self._copying else "resent_asked"] += 1

    def _on_asked(self, number: int) -> bool:
        """Return whether to send a packet again that is asked for: neither too many, nor too soon, nor too late."""
        now = self._clock()
        if now - self._sent.get(number, -math.inf) > USEFUL + 2 * self._round_trip:
            return False
        if now - self._resent.get(number, -math.inf) < self._round_trip:
            self._rule.on_asked_again(now)
            return False
        if self._budget < 1:
            return False
        self._budget -= 1
        self._rule.on_asked(now)
        self._schedule(number, self._rule.delays(now))  # what is sent again can be lost as well
        _note(self._resent, number, now)
        return True

    async def _watch(self) -> None:
        """Hand the receiver's reports to the rule."""
        newest = None
        while True:
            await asyncio.sleep(STATS_INTERVAL)
            for stats in (await self._sender.getStats()).values():
                if stats.type == "remote-inbound-rtp" and stats.timestamp != newest:
                    newest = stats.timestamp
                    self._round_trip = stats.roundTripTime or self._round_trip
                    self._rule.on_report(stats.packetsReceived + stats.packetsLost, stats.packetsLost, self._clock())

    async def _copy(self) -> None:
        """Send each packet once more when its time has come."""
        assert self._retransmit is not None
        while True:
            while self._due:
                wait = self._due[0][0] - self._clock()
                if wait > 0:
                    await asyncio.sleep(min(wait, DELAYS[0]))  # what is due earlier may come in the meantime
                    continue
                self._copying = True
                with contextlib.suppress(ConnectionError):
                    await self._retransmit(heapq.heappop(self._due)[1])
                self._copying = False
            self._waiting.clear()
            await self._waiting.wait()

    async def close(self) -> None:
        """Send nothing again any more. Does nothing the second time."""
        for task in self._tasks:
            task.remove_done_callback(_tell)
            task.cancel()
        await asyncio.wait(self._tasks)


def _note(times: dict[int, float], number: int, now: float) -> None:
    """Take note that a packet is sent at time `now` (s), and forget the oldest."""
    times[number] = now
    if len(times) > MAX_PACKETS:
        del times[next(iter(times))]


def _tell(task: asyncio.Task[None]) -> None:
    """Say that a task has failed: the film goes on, and what is lost is sent again only when it is asked for."""
    logger.error("packets are not sent twice any more: %r", task.exception())
