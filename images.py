"""Frames as encoded images, each one whole in itself: what travels where no video codec does.

The image that is encoded is the I420 array as it is (see ball_track.py), taken for a grey picture of
W x H * 3 / 2: as PNG it is lossless by construction, as JPEG its chroma keeps its own resolution and range, and
both ends are spared the way through BGR. That way costs 1 to 5 ms a frame, and with a coloured ball 0.1 px of
error even as PNG, 0.2 px as JPEG, since OpenCV takes one pixel of four for the chroma. Any client with OpenCV
has its picture in one line:

    cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), cv2.COLOR_YUV2BGR_I420)

The client decodes what a stranger sends: what is no grey, 8-bit, non-progressive picture of a size that a frame
may have is refused before a decoder sees it.
"""

import asyncio
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ball_track import Image, planes
from encoder import Encoded
from film import Footage, Shot

DEFAULT_QUALITY = 90  # of JPEG, 1 to 100
PNG = None  # the quality that is lossless
MAX_SIDE = 4096  # px
PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
PNG_END = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
PNG_GREY = (8, 0, 0, 0, 0)  # bits, colour type, compression, filter, interlace: ISO/IEC 15948, 11.2.1
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_SEQUENTIAL = (0xC0, 0xC1)  # the markers that open a frame which is decoded in one go: ITU-T T.81, table B.1
JPEG_BEFORE_FRAME = (0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))  # tables, comment, application data


class ImageError(ValueError):
    """What arrived is not the image of a frame."""


def encode_image(image: Image, quality: int | None) -> bytes:
    """Encode a frame.

    Args:
        image: (H * 3 / 2, W) uint8, I420.
        quality: of JPEG, 1 to 100; or PNG, which is lossless.
    """
    import cv2  # here, as a server that sends a video does without

    if quality is PNG:
        # run lengths are both the fastest and, of a ball on black, the smallest
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
        return cv2.imencode(".png", image, options)[1].tobytes()
    # tables of its own halve the ball's image, for 0.1 ms
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1].tobytes()


def decode_image(data: bytes) -> Image:
    """Return the frame that `data` holds, (H * 3 / 2, W) uint8 I420.

    Raises:
        ImageError: it holds none.
    """
    import cv2

    width, rows = measure_image(data)
    if width > MAX_SIDE or rows > MAX_SIDE * 3 // 2 or width % 2 or rows % 3 or not width * rows:
        raise ImageError(f"an image of {width}x{rows}: not the size of a frame")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None or image.shape != (rows, width):
        raise ImageError("an image that cannot be decoded")
    return image.astype(np.uint8, copy=False)


def measure_image(data: bytes) -> tuple[int, int]:
    """Return width and height (px) of a grey PNG or JPEG without decoding it.

    Raises:
        ImageError: it is neither, or not all there.
    """
    if data.startswith(PNG_START) and data.endswith(PNG_END):
        width, height, *kind = struct.unpack_from("!II5B", data, len(PNG_START))
        if tuple(kind) == PNG_GREY:
            return width, height
    elif data.startswith(JPEG_START) and data.endswith(JPEG_END):
        at = len(JPEG_START)
        while at + 10 <= len(data):
            marker, length, bits, height, width, components = struct.unpack_from("!xBHBHHB", data, at)
            if marker in JPEG_SEQUENTIAL and (bits, components) == (8, 1):
                return width, height
            if data[at] != 0xFF or marker not in JPEG_BEFORE_FRAME:
                break
            at += 2 + length
    raise ImageError("data that is no grey PNG or JPEG")


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
        self._encoding: asyncio.Task[Encoded] | None = None
        self._k = -1  # the frame that it encodes, or has encoded

    def ask_for_key_frame(self) -> None:
        """Do nothing: every image is one."""

    async def next(self, after: int, anew: bool = False) -> Encoded:  # noqa: ARG002  # every image is a key frame
        """Wait for the newest frame after the one with number `after`, encoded; -1 for any."""
        shot = await self._film.next(after)
        if self._encoding is None or self._k < shot.k:
            self._k = shot.k
            self._encoding = asyncio.create_task(self._encode(shot))
        return await asyncio.shield(self._encoding)  # one that waits may be cancelled without the others

    async def _encode(self, shot: Shot) -> Encoded:
        loop = asyncio.get_running_loop()
        began = self._film.clock()
        data = await loop.run_in_executor(self._thread, encode_image, shot.image, self._quality)
        self._on_encoded(self._film.clock() - began)
        return Encoded(shot.k, shot, data, key=True)

    async def close(self) -> None:
        """Stop encoding. Does nothing the second time."""
        if self._encoding is not None:
            self._encoding.cancel()
            await asyncio.wait([self._encoding])
        self._thread.shutdown()


class ImageDecoder:
    """Decodes images in a thread, the newest first; the ones that it passes over are skipped.

    Args:
        on_frame: called with a frame's pts (ticks) and its Y, U and V planes, in the order of the film.
        on_skipped: called with the pts of each frame that came too late, or was replaced by a newer one.
        on_damaged: called when something was no image, with what is wrong with it.
    """

    def __init__(
        self,
        on_frame: Callable[[int, tuple[Image, ...]], None],
        on_skipped: Callable[[int], None],
        on_damaged: Callable[[str], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_skipped = on_skipped
        self._on_damaged = on_damaged
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
        finally:
            self._decoding = None

    async def close(self) -> None:
        """Stop decoding. Does nothing the second time."""
        if self._decoding is not None:
            self._decoding.cancel()
            await asyncio.wait([self._decoding])
        self._thread.shutdown()
