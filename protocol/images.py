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

import struct

import numpy as np

from ball_track import Image

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
