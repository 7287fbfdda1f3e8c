"""What a view draws: over the frame the found centre, the path that led to it, where the ball is now; below it a strip.

Pure functions of their arguments, on BGR images. All sizes follow the image's, so that what is drawn can be
seen at any size. Points have the origin at the top left and pixel centres on integers, as everywhere.
"""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from ball_track import Image, Point
from protocol.picture_code import Legibility, layout_of, read
from views.sightings import Figures, Footprint
from views.strip import SUBPIXEL, draw_strip, lay_out, panel_text

CROSS = (170, 60, 255)  # BGR, a pink that no ball of COLORS has
TRAIL = (255, 190, 60)
RING = (90, 240, 150)  # a light green
EDGE = (24, 18, 16)  # dark, around the cross
RIM_RAYS = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy])  # in which the rim is looked for
RIM_CONTRAST = 0.5  # of the greatest difference from the middle, which the rim has


def compose(
    image: Image, figures: Figures, trail: Sequence[Footprint], written: bool = True, marked: bool = True
) -> Image:
    """Return a frame as a person sees it, and the strip below it; nothing but marks lies over the film.

    Args:
        image: (H * 3 / 2, W) uint8, I420; left as it is.
        figures: what is known of it.
        trail: where the ball was before, oldest first.
        written: whether the figures are written on the strip.
        marked: whether marks are drawn over the film.

    Returns:
        (H + strip, W, 3) uint8, BGR.
    """
    height, width = image.shape[0] * 2 // 3, image.shape[1]
    strip = lay_out(width, height, len(panel_text(figures)) if written else 0).height
    picture = np.empty((height + strip, width, 3), np.uint8)
    film = picture[:height]
    cv2.cvtColor(image, cv2.COLOR_YUV2BGR_I420, dst=film)
    draw_strip(picture[height:], film, figures, written)
    if not marked:
        return picture
    radius = rim(film, figures.found) if figures.found is not None else 0.0
    draw_trail(film, trail)
    if figures.predicted is not None:
        draw_ring(film, figures.predicted, radius)
    if figures.found is not None:
        draw_cross(film, figures.found, radius)
    return picture


def has_code(image: Image) -> bool:
    """Return whether a frame's number is in its picture: then others may watch it, and nothing is drawn over it."""
    height = image.shape[0] * 2 // 3
    try:
        return read(image[:height], layout_of(image.shape[1], height)).legibility is Legibility.READ
    except ValueError:  # too small for one
        return False


def rim(picture: Image, center: Point) -> float:
    """Return how far the rim of the disc at a point of a (H, W, 3) BGR image is from it, px, about; 0 if there is none.

    It is where the colour is no longer that of the middle: in eight directions, of which the median counts.
    """
    height, width = picture.shape[:2]
    if not (0 <= round(center.x) < width and 0 <= round(center.y) < height):
        return 0.0
    steps = np.arange(min(height, width) // 2)
    columns, rows = (
        np.rint(steps * rays[:, None] + at).astype(int) for rays, at in zip(RIM_RAYS.T, center, strict=True)
    )
    seen = picture[rows.clip(0, height - 1), columns.clip(0, width - 1)].astype(int)  # (8, steps, 3)
    differs = np.abs(seen - seen[:, :1]).max(axis=2)
    beyond = differs > max(16.0, RIM_CONTRAST * differs.max())
    reached = np.where(beyond.any(axis=1), beyond.argmax(axis=1), 0) * np.hypot(*RIM_RAYS.T)
    return float(np.median(reached))


def draw_cross(picture: Image, center: Point, radius: float) -> None:
    """Mark a point on a (H, W, 3) BGR image: four arms that point at it and leave the ball around it free."""
    if not _is_near(picture, center):
        return
    unit = _unit(picture)
    inner = radius + 3 * unit
    for color, thickness in ((EDGE, 5 * unit), (CROSS, 2 * unit)):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            start = Point(center.x + dx * inner, center.y + dy * inner)
            outer = inner + 11 * unit
            _line(picture, start, Point(center.x + dx * outer, center.y + dy * outer), color, thickness)


def draw_ring(picture: Image, center: Point, radius: float) -> None:
    """Draw a ring around where the ball is bound to be now on a (H, W, 3) BGR image: it runs ahead of what is seen."""
    if not _is_near(picture, center):
        return
    unit = _unit(picture)
    middle = tuple(round(side * 2**SUBPIXEL) for side in center)
    outer = round(max(26 * unit, radius + 6 * unit) * 2**SUBPIXEL)
    for color, thickness in ((EDGE, 3 * unit), (RING, 2 * unit)):
        cv2.circle(picture, middle, outer, color, max(1, round(thickness)), cv2.LINE_AA, SUBPIXEL)


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


def _is_near(picture: Image, point: Point) -> bool:
    """Return whether a point is on the picture or not far from it; OpenCV does not draw at 1e9."""
    height, width = picture.shape[:2]
    return bool(-width < point.x < 2 * width and -height < point.y < 2 * height)


def _unit(picture: Image) -> float:
    """Return how many pixels of this picture are as large as one of a picture 640 wide and 480 high."""
    return float(min(picture.shape[1] / 640, picture.shape[0] / 480))


def _line(picture: Image, start: Point, end: Point, color: Sequence[float], thickness: float) -> None:
    """Draw a line between two points that need not be whole pixels."""
    a, b = ((round(point.x * 2**SUBPIXEL), round(point.y * 2**SUBPIXEL)) for point in (start, end))
    cv2.line(picture, a, b, color, max(1, round(thickness)), cv2.LINE_AA, SUBPIXEL)
