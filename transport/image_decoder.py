"""Frames that came as encoded images: decoded in a thread, the newest first."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ball_track import Image, planes
from protocol.images import ImageError, decode_image


class ImageDecoder:
    """Decodes images in a thread, the newest first; the ones that it passes over are skipped.

    Args:
        on_frame: called with a frame's pts (ticks) and its Y, U and V planes, in the order of the film.
        on_skipped: called with the pts of each frame that came too late, or was replaced by a newer one.
        on_damaged: called when something was no image, with what is wrong with it.
        on_failed: called with whatever else goes wrong; nothing more is decoded then.
    """

    def __init__(
        self,
        on_frame: Callable[[int, tuple[Image, ...]], None],
        on_skipped: Callable[[int], None],
        on_damaged: Callable[[str], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_skipped = on_skipped
        self._on_damaged = on_damaged
        self._on_failed = on_failed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self._decoding: asyncio.Task[None] | None = None
        self._waiting: tuple[int, bytes] | None = None
        self._newest: int | None = None  # pts

    def offer(self, pts: int, data: bytes) -> None:
        """Hand over an encoded image."""
        if self._newest is not None and pts <= self._newest:
            self._on_skipped(pts)
            return
        self._newest = pts
        if self._waiting is not None:
            self._on_skipped(self._waiting[0])
        self._waiting = pts, data
        if self._decoding is None:
            self._decoding = asyncio.create_task(self._decode())

    async def _decode(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting is not None:
                (pts, data), self._waiting = self._waiting, None
                image = await loop.run_in_executor(self._thread, decode_image, data)
                self._on_frame(pts, planes(image))
        except ImageError as error:
            self._on_damaged(str(error))
        except Exception as error:  # nobody looks at this task
            self._on_failed(error)
        finally:
            self._decoding = None

    async def close(self) -> None:
        """Stop decoding. Does nothing the second time."""
        if self._decoding is not None:
            self._decoding.cancel()
            await asyncio.wait([self._decoding])
        self._thread.shutdown()
