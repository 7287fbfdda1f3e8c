"""Frames as encoded images: each frame of the film is encoded once, for everyone who asks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from film.drawn import Footage, Shot
from film.progress import Progress
from film.video_encoder import Encoded
from protocol.images import encode_image


class ImageEncoder:
    """Encodes each frame of a film once, for everyone who asks; the face is that of encoder.SharedEncoder.

    Args:
        film: what to encode.
        quality: see `encode_image`.
        on_encoded: called with the time (s) that each frame took.
    """

    def __init__(
        self, film: Footage, quality: int | None, on_encoded: Callable[[float], None] = lambda _: None
    ) -> None:
        self._film = film
        self._on_encoded = on_encoded
        self._quality = quality
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._encoding: asyncio.Task[Encoded | None] | None = None
        self._k = -1  # the frame that it encodes, or has encoded
        self._progress = Progress(film.clock)

    @property
    def stalled(self) -> bool:
        """Return whether those who ask for frames get none."""
        return self._progress.stalled

    def ask_for_key_frame(self) -> None:
        """Do nothing: every image is one."""

    async def next(self, after: int, anew: bool = False, shown: int = -1) -> Encoded:  # noqa: ARG002  # all are key frames
        """Wait for the newest frame after the one with number `after`, encoded; -1 for any.

        Raises:
            FilmError: there is none, and will be none.
        """
        with self._progress.waiting():
            while True:
                shot = await self._film.next(after)
                if self._encoding is None or self._k < shot.k:
                    self._k = shot.k
                    self._encoding = asyncio.create_task(self._encode(shot))
                encoded = await asyncio.shield(self._encoding)  # one that waits may be cancelled without the others
                if encoded is not None:
                    return encoded
                after = shot.k

    async def _encode(self, shot: Shot) -> Encoded | None:
        """Return a frame, encoded; None if it cannot be.

        Raises:
            FilmError: that was once too often.
        """
        loop = asyncio.get_running_loop()
        began = self._film.clock()
        try:
            data = await loop.run_in_executor(self._thread, encode_image, shot.image, self._quality)
        except Exception as error:  # whatever OpenCV raises
            self._progress.fail(shot.k, error)
            return None
        self._progress.succeed()
        self._on_encoded(self._film.clock() - began)
        return Encoded(shot.k, shot, data, key=True)

    async def close(self) -> None:
        """Stop encoding. Does nothing the second time."""
        if self._encoding is not None:
            self._encoding.cancel()
            await asyncio.wait([self._encoding])
        await asyncio.to_thread(self._thread.shutdown)  # what it is busy with takes a while
