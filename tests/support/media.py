"""Video files for tests, with what other people's files have: ranges, display matrices, wide pixels, time stamps."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

COLORS = (
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (200, 40, 40),
    (40, 200, 40),
    (40, 40, 200),
    (40, 40, 40),
    (220, 220, 30),
)  # of the bars, from the left, RGB
WIDTH, HEIGHT = 320, 240  # px


def colored_bars(quartered: bool = False) -> NDArray[np.uint8]:
    """Return (HEIGHT, WIDTH, 3) uint8 RGB of upright bars; if asked, with a black lower half and a light upper right.

    So no turn and no mirror image of it is like another.
    """
    rgb = np.array(COLORS, np.uint8).repeat(WIDTH // len(COLORS), axis=0)[np.newaxis].repeat(HEIGHT, axis=0)
    if quartered:
        rgb[HEIGHT // 2 :] = 0
        rgb[: HEIGHT // 4, WIDTH // 2 :] = 255
    return rgb


def write_video(
    path: Path,
    codec: str,
    picture: NDArray[np.uint8] | None = None,
    pixel_format: str = "yuv420p",
    stamps: Sequence[int] = range(3),
    rate: int = 30,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Write a file that shows one picture.

    Args:
        path: whose suffix chooses the container.
        codec: FFmpeg's name of it.
        picture: (H, W, 3) uint8 RGB; coloured bars unless given.
        pixel_format: as of FFmpeg; yuvj... is in full range.
        stamps: when each frame is due, in ticks of 1 / rate s.
        rate: ticks a second.
        matrix: a, b, c, d of the display matrix (MP4 only).
        aspect: a pixel's width by its height.
    """
    rgb = colored_bars() if picture is None else picture
    full = pixel_format.startswith("yuvj")
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    frame = frame.reformat(format=pixel_format, dst_color_range="JPEG" if full else "MPEG")
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = rgb.shape[1], rgb.shape[0], pixel_format
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for stamp in stamps:
            frame.pts, frame.time_base = stamp, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if matrix is not None:
        set_display_matrix(path, matrix)
    return path


def set_display_matrix(path: Path, matrix: Sequence[int]) -> None:
    """Set a, b, c, d of the display matrix of an MP4's video. Source: ISO/IEC 14496-12, 8.3.2 (tkhd, version 0)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (each << 16 for each in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
