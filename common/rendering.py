"""What a decoded frame shows, as FFmpeg's own player shows it, in the form in which a film is sent.

A frame may lie on its side (a phone's display matrix), have pixels that are not square (DV), use the full range of its
8 bits (MJPEG, screen recordings) or another matrix of colours (BT.709, RGB). A film is I420 in video range with the
matrix of BT.601, upright, with square pixels, and of one size. Source: ffplay.c.
"""

import logging
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av import VideoFrame
from av.sidedata.sidedata import SideData

from ball_track import Image

logger = logging.getLogger(__name__)

MIN_SIDE, MAX_SIDE = 64, 4096  # px, as of a drawn scene

Steps = tuple[tuple[str, str], ...]  # filters of FFmpeg's, each with its arguments


class SourceError(Exception):
    """The source gives no picture."""


class _Kind(NamedTuple):
    """What frames have in common that are rendered the same way; the numbers are FFmpeg's."""

    width: int
    height: int
    pixel_format: str
    color_matrix: int
    color_range: int
    turning: Steps
    aspect: Fraction


class Renderer:
    """Turns frames into images of one size, that of the first; or says in the log that it scales them.

    Args:
        say: is told what a reader of the log should know, at each change.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.width, self.height = 0, 0  # px, of the images; 0 before the first
        self._say = say
        self._kind: _Kind | None = None  # of the newest frame
        self._graph: av.filter.Graph | None = None  # that renders it

    def render(self, frame: VideoFrame, aspect: Fraction = Fraction(1)) -> Image:
        """Return what a frame shows.

        Args:
            frame: as it was decoded.
            aspect: a pixel's width by its height.

        Returns:
            (H * 3 / 2, W) uint8, I420.

        Raises:
            SourceError: the first one has no size for a film.
        """
        kind = _Kind(
            frame.width,
            frame.height,
            frame.format.name,
            int(frame.colorspace),
            int(frame.color_range),
            turning(frame),
            aspect,
        )
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = self._build(kind), kind
        self._graph.push(frame)
        rendered = self._graph.pull()
        assert isinstance(rendered, VideoFrame)
        return rendered.to_ndarray().astype(np.uint8, copy=False)

    def _build(self, kind: _Kind) -> av.filter.Graph:
        """Return what renders frames of a kind."""
        width, height = upright_size(kind)
        even = width // 2 * 2, height // 2 * 2  # an odd row or column is cut off
        if not self.width:
            if not all(MIN_SIDE <= side <= MAX_SIDE for side in even):
                raise SourceError(f"pictures of {width}x{height}: must be {MIN_SIDE} to {MAX_SIDE} px")
            self.width, self.height = even
            if kind.aspect != 1:
                self._say(f"its pixels are {kind.aspect} times as wide as high: shown as {even[0]}x{even[1]}")
        elif even != (self.width, self.height):
            self._say("pictures of {}x{} now; scaled to {}x{}".format(*even, self.width, self.height))
        cut: Steps = (("crop", f"{even[0]}:{even[1]}:0:0:exact=1"),) if kind.aspect == 1 else ()
        scale = f"{self.width}:{self.height}:out_range=tv:out_color_matrix=bt601:flags=bicubic+accurate_rnd"
        steps: Steps = (*kind.turning, *cut, ("scale", scale), ("format", "yuv420p"), ("buffersink", ""))
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            f"video_size={kind.width}x{kind.height}:pix_fmt={kind.pixel_format}:time_base=1/90000:pixel_aspect=1/1"
            f":colorspace={kind.color_matrix}:range={kind.color_range}",
        )
        graph.link_nodes(source, *(graph.add(name, arguments or None) for name, arguments in steps)).configure()
        return graph


def upright_size(kind: _Kind) -> tuple[int, int]:
    """Return the width and height (px) of what frames of a kind show, with square pixels."""
    width, height = round(kind.width * kind.aspect), kind.height
    across = any(name == "transpose" for name, _ in kind.turning)
    return (height, width) if across else (width, height)


def turning(frame: VideoFrame) -> Steps:
    """Return the filters that set a frame upright, by its display matrix."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return ()
    angle = -frame.rotation % 360  # clockwise
    if abs(angle - 90) <= 1:
        return (("transpose", "cclock_flip" if matrix[3] > 0 else "clock"),)
    if abs(angle - 270) <= 1:
        return (("transpose", "clock_flip" if matrix[3] < 0 else "cclock"),)
    if abs(angle - 180) <= 1:
        flips = (("hflip", matrix[0] < 0), ("vflip", matrix[4] < 0))
        return tuple((name, "") for name, wanted in flips if wanted)
    if 1 < angle < 359:
        return (("rotate", f"{angle}*PI/180"),)
    return (("vflip", ""),) if matrix[4] < 0 else ()


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """Return the 3 x 3 numbers of a frame's display matrix, row by row; None if it has none."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know all kinds of side data, and then shows none
        return {0: None, 180: (-1, 0, 0, 0, -1, 0, 0, 0, 1)}.get(abs(frame.rotation), (0,) * 9)
    return struct.unpack("=9i", bytes(data)[:36]) if isinstance(data, SideData) else None
