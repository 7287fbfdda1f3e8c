"""What a view draws over a frame: the found centre, the path that led to it, where the ball is now, the figures.

Pure functions of their arguments, on BGR images. All sizes follow the image's, so that what is drawn can be
read at any size. Points have the origin at the top left and pixel centres on integers, as everywhere.
"""

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from ball_track import Image, Point
from views.sightings import Figures, Footprint

CROSS = (170, 60, 255)  # BGR, a pink that no ball of COLORS has
TRAIL = (255, 190, 60)
RING = (90, 240, 150)  # a light green
EDGE = (24, 18, 16)  # dark, around the cross
LABEL = (190, 176, 164)
VALUE = (255, 255, 255)
PANEL_OPACITY = 0.72
LOST_ALARM = (90, 130, 255)  # of the number of lost frames, unless it is 0
SUBPIXEL = 4  # bits of a coordinate behind the point, for cv2.line

_sans = cv2.FontFace("sans")  # OpenCV's own; it needs no file


def compose(image: Image, figures: Figures, trail: Sequence[Footprint]) -> Image:
    """Return a frame as a person sees it.

    Args:
        image: (H * 3 / 2, W) uint8, I420; left as it is.
        figures: what is known of it.
        trail: where the ball was before, oldest first.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    picture = np.empty((image.shape[0] * 2 // 3, image.shape[1], 3), np.uint8)
    cv2.cvtColor(image, cv2.COLOR_YUV2BGR_I420, dst=picture)
    draw_trail(picture, trail)
    draw_panel(picture, figures)
    if figures.predicted is not None:
        draw_ring(picture, figures.predicted)
    if figures.found is not None:
        draw_cross(picture, figures.found)
    return picture


def draw_cross(picture: Image, center: Point) -> None:
    """Mark a point on a (H, W, 3) BGR image: four arms, and a gap that leaves the point itself free."""
    unit = _unit(picture)
    inner, outer = 4 * unit, 15 * unit
    for color, thickness in ((EDGE, 5 * unit), (CROSS, 2 * unit)):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            start = Point(center.x + dx * inner, center.y + dy * inner)
            _line(picture, start, Point(center.x + dx * outer, center.y + dy * outer), color, thickness)


def draw_ring(picture: Image, center: Point) -> None:
    """Draw a ring around where the ball is bound to be now on a (H, W, 3) BGR image: it runs ahead of what is seen."""
    height, width = picture.shape[:2]
    if not (-width < center.x < 2 * width and -height < center.y < 2 * height):  # OpenCV does not draw at 1e9
        return
    unit = _unit(picture)
    middle = tuple(round(side * 2**SUBPIXEL) for side in center)
    radius = round(26 * unit * 2**SUBPIXEL)
    for color, thickness in ((EDGE, 4 * unit), (RING, 2 * unit)):
        cv2.circle(picture, middle, radius, color, max(1, round(thickness)), cv2.LINE_AA, SUBPIXEL)


def draw_trail(picture: Image, trail: Sequence[Footprint]) -> None:
    """Draw a path on a (H, W, 3) BGR image, the fainter the older."""
    if len(trail) < 2:
        return
    thickness = 3 * _unit(picture)
    margin = round(2 * thickness) + 1
    xs, ys = zip(*(footprint.point for footprint in trail), strict=True)
    left, top = max(0, int(min(xs)) - margin), max(0, int(min(ys)) - margin)
    patch = picture[top : int(max(ys)) + margin, left : int(max(xs)) + margin]
    glow = np.zeros_like(patch)
    for older, newer in itertools.pairwise(trail):
        strength = max(0.0, 1 - (older.age + newer.age) / 2)
        start, end = (Point(each.point.x - left, each.point.y - top) for each in (older, newer))
        _line(glow, start, end, [strength * channel for channel in TRAIL], thickness)
    cv2.max(patch, glow, dst=patch)  # so it fades into what lies below, and never darkens the ball


def draw_panel(picture: Image, figures: Figures) -> None:
    """Write the figures on a strip along the lower edge of a (H, W, 3) BGR image."""
    cells = panel_text(figures)
    height, width = picture.shape[:2]
    rows = 1 if width >= 480 else 2
    columns = math.ceil(len(cells) / rows)
    size = max(9, min(round(width / (4.8 * columns)), round(height / 18)))  # of the values, px
    row, column = round(2.5 * size), width / columns
    strip = picture[max(0, height - rows * row) :]
    cv2.addWeighted(strip, 1 - PANEL_OPACITY, np.full_like(strip, EDGE), PANEL_OPACITY, 0, dst=strip)
    for number, (label, value) in enumerate(cells):
        left = round(number % columns * column + 0.4 * size)
        bottom = height - row * (rows - 1 - number // columns)
        color = LOST_ALARM if label == "lost" and figures.lost else VALUE
        cv2.putText(picture, label, (left, bottom - round(1.55 * size)), LABEL, _sans, round(0.7 * size), 400)
        cv2.putText(picture, value, (left, bottom - round(0.5 * size)), color, _sans, size, 500)


def panel_text(figures: Figures) -> tuple[tuple[str, str], ...]:
    """Return labels and values as they are written, a dash for what is not known.

    >>> panel_text(Figures(Point(12.345, 6), error_px=0.0049))[:3]
    (('x px', '12.35'), ('y px', '6.00'), ('error px', '0.005'))
    >>> panel_text(Figures())[-1]
    ('lost', '-')
    """
    x, y = figures.found or (None, None)
    return (
        ("x px", _number(x, 2)),
        ("y px", _number(y, 2)),
        ("error px", _number(figures.error_px, 3)),
        ("latency ms", _number(figures.latency_ms, 1)),
        ("fps", _number(figures.fps, 1)),
        ("scored", _number(figures.scored, 0)),
        ("lost", _number(figures.lost, 0)),
    )


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _unit(picture: Image) -> float:
    """Return how many pixels of this picture are as large as one of a picture 640 wide and 480 high."""
    return float(min(picture.shape[1] / 640, picture.shape[0] / 480))


def _line(picture: Image, start: Point, end: Point, color: Sequence[float], thickness: float) -> None:
    """Draw a line between two points that need not be whole pixels."""
    a, b = ((round(point.x * 2**SUBPIXEL), round(point.y * 2**SUBPIXEL)) for point in (start, end))
    cv2.line(picture, a, b, color, max(1, round(thickness)), cv2.LINE_AA, SUBPIXEL)
