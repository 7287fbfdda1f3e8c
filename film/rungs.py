"""One film at several bit rates: each is encoded while somebody needs it, and no longer."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from common.waiting import start
from film.stepping import StepRule
from film.video_encoder import Encoded

logger = logging.getLogger(__name__)


class FrameEncoder(Protocol):
    """What encodes the film once for everyone: SharedEncoder, ImageEncoder."""

    @property
    def stalled(self) -> bool:
        """Return whether those who ask for frames get none."""

    def ask_for_key_frame(self) -> None:
        """Make one of the next frames a key frame."""

    async def next(self, after: int, anew: bool = False, shown: int = -1) -> Encoded:
        """Wait for the first encoded frame that can be decoded by one who has frame number `after`."""

    async def close(self) -> None:
        """Stop encoding."""


class Rungs:
    """The encoders of one film, by bit rate.

    Args:
        rates: bit / s of each rung, falling.
        create: makes the encoder of a bit rate.
    """

    def __init__(self, rates: Sequence[int], create: Callable[[int], FrameEncoder]) -> None:
        self.rates = tuple(rates)
        self._create = create
        self._encoders: dict[int, FrameEncoder] = {}
        self._clients: Counter[int] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> list[int]:
        """Return how many clients are on each rung."""
        return [self._clients[rung] for rung in range(len(self.rates))]

    @property
    def stalled(self) -> bool:
        """Return whether those who ask for frames get none."""
        return any(encoder.stalled for encoder in self._encoders.values())

    def enter(self, rung: int) -> FrameEncoder:
        """Return the encoder of a rung for one more client, which has to leave it again."""
        if rung not in self._encoders:
            self._encoders[rung] = self._create(self.rates[rung])
        self._clients[rung] += 1
        return self._encoders[rung]

    def leave(self, rung: int) -> None:
        """Let a client go from a rung; the last one ends its encoder."""
        self._clients[rung] -= 1
        if not self._clients[rung] and rung in self._encoders:
            self._end(rung)

    def _end(self, rung: int) -> None:
        """Close the encoder of a rung, in a task that `close` waits for."""
        task = start(self._encoders.pop(rung).close(), lambda error: logger.error("an encoder's end failed: %r", error))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End all encoders. Does nothing the second time."""
        for rung in tuple(self._encoders):
            self._end(rung)
        while self._closing:
            await asyncio.wait(self._closing)


class Subscription:
    """One client's place on the rungs: it gets each frame of the one that its connection can take.

    It changes at a key frame of the rung that it goes to; those on other rungs get none for it.

    Args:
        rungs: the film's.
    """

    def __init__(self, rungs: Rungs) -> None:
        self.rule = StepRule(rungs.rates)
        self._rungs = rungs
        self._rung = 0
        self._encoder = rungs.enter(0)
        self._waiting = False  # for a frame
        self._given_up = self._left = False
        self._after = -1  # number of the encoded frame that the client got last; -1 for none of this rung
        self._shown = -1  # number of the film's frame in it

    @property
    def bitrate(self) -> int:
        """Return the bit rate (bit / s) of the rung that the client is on."""
        return self._rungs.rates[self.rule.rung]

    async def next(self, anew: bool) -> Encoded:
        """Wait for the next frame, and return it.

        Args:
            anew: go on at a key frame, the newest frame that there is.
        """
        if self._rung != self.rule.rung:
            before, self._rung = self._rung, self.rule.rung
            self._encoder, self._after = self._rungs.enter(self._rung), -1
            self._rungs.leave(before)
        self._waiting = True
        try:
            encoded = await self._encoder.next(self._after, anew, self._shown)
        finally:
            self._waiting = False
            if self._given_up:
                self.leave()
        self._after, self._shown = encoded.number, encoded.shot.k
        return encoded

    def ask_for_key_frame(self) -> None:
        """Make one of the next frames of the client's rung a key frame."""
        self._encoder.ask_for_key_frame()

    def leave(self) -> None:
        """Give up the place, once the frame has come that is waited for. Does nothing the second time."""
        self._given_up = True
        if not self._waiting and not self._left:
            self._left = True
            self._rungs.leave(self._rung)
