"""The ball: where it is, how it looks, and how it is found again.

A `Scene` is a black box in which one ball of one colour flies straight and bounces off the walls.
Everything here is a pure function of its arguments: no clock, no I/O, no state.

Words:
    image      (H * 3 / 2, W) uint8, I420: the Y plane, and under it the U and the V plane at half the
               width and half the height, each as H / 4 rows of W. It is what the encoder eats and what the
               decoder gives, so no frame is ever converted whole.
    x, y       pixels, the origin at the top left, pixel centres on integers: the image reaches from
               -0.5 to W - 0.5. Arrays are [y, x].
    k          the number of a frame; frame k shows the ball at k / fps seconds. Fractions are allowed.
    coverage   the share of a pixel's area that the disc covers, 0 to 1.
"""

import math
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

BLACK_YUV = (16, 128, 128)  # black in ITU-R BT.601 video range
MIN_CONTRAST = 24  # grey levels by which the ball's Y, U or V must differ from black
MIN_RADIUS = 3  # px; below this the half-size chroma planes hold too few samples to find it by

COLORS = {  # BGR, as OpenCV orders it
    "white": (255, 255, 255),
    "red": (0, 0, 255),
    "green": (0, 255, 0),
    "blue": (255, 0, 0),
    "yellow": (0, 255, 255),
    "cyan": (255, 255, 0),
    "magenta": (255, 0, 255),
    "orange": (0, 165, 255),
}


class Point(NamedTuple):
    """A place in an image.

    x: px, from the centre of the leftmost pixel to the right; y: px, from the centre of the top pixel down.
    """

    x: float
    y: float


class Walls(NamedTuple):
    """Between which a ball's centre moves: (low, high) of x and of y, px."""

    x: tuple[float, float]
    y: tuple[float, float]


# --- The scene -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """A ball in a box, checked once; its motion is a function of the frame number.

    | field         | unit       | range                                                       |
    |---------------|------------|-------------------------------------------------------------|
    | width, height | px         | even, 64 to 4096                                            |
    | fps           | frames / s | 1 to 240                                                    |
    | radius        | px         | 3 to half the shorter side                                  |
    | speed         | px / s     | 0 to one shorter side a frame                               |
    | color         | BGR        | 0 to 255 each; its Y, U or V at least 24 levels from black  |
    | seed          |            | any int; chooses where the ball starts and which way it goes |

    Raises:
        ValueError: a field is out of its range; the message opens with the field, its value and the rule.
    """

    width: int = 640
    height: int = 480
    fps: float = 30.0
    radius: float = 20.0
    speed: float = 240.0
    color: tuple[int, int, int] = COLORS["white"]
    seed: int = 0

    def __post_init__(self) -> None:
        shorter = min(self.width, self.height)
        for side in (self.width, self.height):
            if not 64 <= side <= 4096 or side % 2:
                raise ValueError(f"size {self.width}x{self.height}: width and height must be even, 64 to 4096 px")
        if not 1 <= self.fps <= 240:  # also refuses nan
            raise ValueError(f"fps {self.fps:g}: must be 1 to 240 frames a second")
        if not MIN_RADIUS <= self.radius <= shorter / 2:
            raise ValueError(
                f"radius {self.radius:g}: must be {MIN_RADIUS} px to half the shorter side, {shorter / 2:g} px"
            )
        if not 0 <= self.speed <= shorter * self.fps:
            raise ValueError(
                f"speed {self.speed:g}: must be 0 to {shorter * self.fps:g} px a second, one shorter side a frame"
            )
        if not all(0 <= channel <= 255 for channel in self.color):
            raise ValueError(f"color {self.color}: blue, green and red must be 0 to 255")
        if max(abs(own - black) for own, black in zip(self.yuv, BLACK_YUV, strict=True)) < MIN_CONTRAST:
            raise ValueError(f"color {self.color}: too dark to be told from the black background")

    @cached_property
    def yuv(self) -> tuple[int, int, int]:
        """The ball's colour as Y, U, V in video range (16 to 235, 16 to 240). Source: ITU-R BT.601-7, 2.5."""
        blue, green, red = self.color
        return (
            round(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255),
            round(128 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255),
            round(128 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255),
        )

    @cached_property
    def walls(self) -> Walls:
        """Return between which walls the ball's centre flies: it touches them a radius away."""
        low = self.radius - 0.5
        return Walls((low, self.width - 0.5 - self.radius), (low, self.height - 0.5 - self.radius))

    @cached_property
    def _start(self) -> tuple[float, float, float, float]:
        """Return x and y at k = 0 (px) and the velocity (px / frame), chosen by the seed."""
        dice = random.Random(self.seed)
        x, y = dice.uniform(*self.walls.x), dice.uniform(*self.walls.y)
        # 15 to 75 degrees into any quadrant: a path along a wall would measure one axis only
        angle = math.radians(dice.uniform(15, 75) + 90 * dice.randrange(4))
        step = self.speed / self.fps
        return x, y, step * math.cos(angle), step * math.sin(angle)

    def position(self, k: float) -> Point:
        """Return where the ball's centre is in frame `k`, in px.

        >>> Scene(speed=0).position(0) == Scene(speed=0).position(1e6)
        True
        """
        x, y, vx, vy = self._start
        return Point(fold(x + vx * k, *self.walls.x), fold(y + vy * k, *self.walls.y))


def fold(along: float, low: float, high: float) -> float:
    """Fold a straight line between two walls: a triangle wave, which is what bouncing is.

    Args:
        along: how far the ball would be if there were no walls.
        low, high: the walls, low <= high.

    >>> [fold(x, 0, 10) for x in (-3, 4, 12, 25)]
    [3, 4, 8, 5]
    """
    span = high - low
    if span <= 0:
        return low
    return low + span - abs((along - low) % (2 * span) - span)


# --- Drawing -------------------------------------------------------------------------------------


def planes(image: Image) -> tuple[Image, Image, Image]:
    """Return the Y, U and V planes of an I420 image as views: (H, W), (H / 2, W / 2), (H / 2, W / 2).

    Raises:
        ValueError: the array has not the shape of an I420 image.
    """
    if image.ndim != 2 or image.shape[0] % 3 or image.shape[1] % 2 or not image.size:
        raise ValueError(f"shape {image.shape}: an I420 image is (H * 3 / 2, W) with even H and W")
    height, width = image.shape[0] * 2 // 3, image.shape[1]
    chroma = image[height:].reshape(2, height // 2, width // 2)
    return image[:height], chroma[0], chroma[1]


def blank(width: int, height: int) -> Image:
    """Return a black image, (H * 3 / 2, W) uint8 I420."""
    image = np.full((height * 3 // 2, width), BLACK_YUV[1], np.uint8)
    image[:height] = BLACK_YUV[0]
    return image


def draw(scene: Scene, center: Point) -> Image:
    """Draw the ball at `center` on black.

    Every sample is mixed by the area that the disc covers of it, so the centroid of what is drawn is the
    centre that was asked for. (`cv2.circle` is up to 0.05 px off it.)

    Returns:
        (H * 3 / 2, W) uint8, I420.
    """
    image = blank(scene.width, scene.height)
    for plane, scale, black, own in zip(planes(image), (1, 2, 2), BLACK_YUV, scene.yuv, strict=True):
        if own == black:  # a grey ball's U and V
            continue
        # a chroma sample covers 2 x 2 pixels, so that its centre lies between theirs
        x, y, radius = ((center.x + 0.5) / scale - 0.5, (center.y + 0.5) / scale - 0.5, scene.radius / scale)
        left, top = max(0, math.floor(x - radius)), max(0, math.floor(y - radius))
        patch = plane[top : math.ceil(y + radius) + 1, left : math.ceil(x + radius) + 1]  # a view
        covered = coverage(edges_of(x - left, y - top, radius, *patch.shape))
        patch[:] = np.rint(black + (own - black) * covered)
    return image


class Edges(NamedTuple):
    """The edges between pixels as seen from a disc's centre, px; what lies outside the disc is moved to its rim.

    u: (columns + 1,), v: (rows + 1, 1); half_u, half_v: half the length of the disc's chord along each edge.
    """

    radius: float
    u: Floats
    v: Floats
    half_u: Floats
    half_v: Floats


def edges_of(x: float, y: float, radius: float, rows: int, columns: int) -> Edges:
    """Return the edges of rows x columns pixels, the first one's centre at (0, 0), as seen from a disc at x, y (px)."""
    u = np.clip(np.arange(columns + 1) - 0.5 - x, -radius, radius)
    v = np.clip(np.arange(rows + 1) - 0.5 - y, -radius, radius)[:, None]
    return Edges(radius, u, v, np.sqrt((radius - u) * (radius + u)), np.sqrt((radius - v) * (radius + v)))


def coverage(edges: Edges) -> Floats:
    """Return the share of each pixel that a disc covers, (rows, columns) float64, exactly.

    The area of the disc left of u and above v has a closed form; taken at the corners of the pixels, its
    second difference is the area within each pixel (as in a summed-area table, Crow 1984).

    >>> bool(abs(coverage(edges_of(4.3, 4.6, 3, 10, 10)).sum() - math.pi * 9) < 1e-9)
    True
    """
    radius, u, v, half_u, half_v = edges

    def under(t: Floats, half: Floats) -> Floats:
        """Return the integral of the half chord from 0 to t."""
        return (t * half + radius**2 * np.arcsin(t / radius)) / 2

    quarter = math.pi * radius**2 / 4
    area_u, area_v = under(u, half_u), under(half_v, np.abs(v))
    beside = np.minimum(area_u, -area_v) + np.maximum(area_u, area_v) - area_v + quarter
    area = area_u + quarter + np.sign(v) * beside + v * (np.clip(u, -half_v, half_v) + half_v)
    covered: Floats = np.clip(_within(area), 0, 1)
    return covered


def coverage_gradient(edges: Edges) -> tuple[Floats, Floats]:
    """Return how `coverage` changes as the disc moves right and as it moves down, 1 / px, two (rows, columns).

    A disc that moves right gains, in each pixel, the length of its chord along the pixel's right edge and
    loses that along the left one.
    """
    _, u, v, half_u, half_v = edges
    return -_within(np.clip(v, -half_u, half_u)), -_within(np.clip(u, -half_v, half_v))


def _within(corners: Floats) -> Floats:
    """Return what lies in each pixel, (rows, columns), of a sum that is known at its corners."""
    rows = corners[1:] - corners[:-1]
    return rows[:, 1:] - rows[:, :-1]


# --- Finding -------------------------------------------------------------------------------------

# OpenCV is imported where it is used: the server draws, finds nothing, and does without its 150 MB.


def find(image: Image) -> Point | None:
    """Find the one ball on a black scene, whatever its colour.

    The ball is whatever differs from black. A coarse look at half size finds a blob that must be one and
    round; then a disc is fitted to it in each plane, and the three centres are averaged by how well each
    is known.

    Args:
        image: (H * 3 / 2, W) uint8, I420.

    Returns:
        The centre in px, or None for an image without a ball, be it empty or merely noisy.

    Raises:
        ValueError: the array has not the shape of an I420 image.
    """
    seen = planes(image)
    box = _find_blob(seen)
    if box is None:
        return None
    left, top, right, bottom = box
    total, x, y = 0.0, 0.0, 0.0
    for plane, scale, black in zip(seen, (2, 1, 1), BLACK_YUV, strict=True):
        fit = _fit_disc(plane[scale * top : scale * bottom, scale * left : scale * right], black)
        if fit is None:
            continue
        px = 2 / scale  # a chroma sample is 2 px wide
        if fit.radius * px < MIN_RADIUS * 0.75:  # a speck of noise
            continue
        information = fit.information / px**2
        total += information
        x += information * (px * (fit.x + scale * left + 0.5) - 0.5)
        y += information * (px * (fit.y + scale * top + 0.5) - 0.5)
    return Point(x / total, y / total) if total else None


def _find_blob(seen: tuple[Image, Image, Image]) -> tuple[int, int, int, int] | None:
    """Return the box (left, top, right, bottom) around the one round blob, in chroma samples, or None."""
    import cv2

    luma, u, v = seen
    differs: npt.NDArray[Any] = _difference(cv2.resize(luma, u.shape[::-1], interpolation=cv2.INTER_AREA), BLACK_YUV[0])
    for plane in (u, v):
        differs = cv2.add(differs, _difference(plane, BLACK_YUV[1]))
    differs = cv2.blur(differs, (3, 3))
    peak = float(differs.max())
    if peak < MIN_CONTRAST / 2:
        return None
    mask = cv2.threshold(differs, peak / 2, 1, cv2.THRESH_BINARY)[1]
    x, y, columns, rows = cv2.boundingRect(mask)  # labelling the whole mask would cost half a millisecond
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask[y : y + rows, x : x + columns], connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    left, top, width, height, area = (int(value) for value in stats[1 + areas.argmax()])
    left, top = left + x, top + y
    alone = area > 0.7 * areas.sum()  # noise is many blobs, a ball is one
    fills = area / (math.pi / 4 * width * height)  # of the ellipse in its box
    if not (alone and 0.6 < fills < 1.4 and 0.6 < width / height < 1.6):
        return None
    margin = 3 + width // 8
    return (
        max(0, left - margin),
        max(0, top - margin),
        min(u.shape[1], left + width + margin),
        min(u.shape[0], top + height + margin),
    )


def _difference(plane: npt.ArrayLike, level: int) -> Image:
    """Return by how much each sample differs from a level, uint8."""
    import cv2

    return cv2.absdiff(plane, float(level))  # type: ignore[call-overload, no-any-return]  # its stub lacks scalars


class _Fit(NamedTuple):
    """A disc in a patch (samples), and how well it is known: 1 / variance of x or y (1 / samples^2)."""

    x: float
    y: float
    radius: float
    information: float


def _fit_disc(patch: Image, black: int) -> _Fit | None:
    """Fit a disc to a patch of one plane, by least squares.

    One Gauss-Newton step from the centroid: only the samples on the rim say where the disc is, so noise
    and ghosts elsewhere do not move it. The residual on the rim tells how far the fit is to be trusted.

    Args:
        patch: (rows, columns) uint8, the ball with some background around it.
        black: the background's level.

    Returns:
        None where this plane does not tell the ball from black, or shows something that is no disc.
    """
    import cv2

    level = patch.astype(np.float32) - black
    size = np.abs(level)
    peak = size.max()
    if peak < MIN_CONTRAST / 2:
        return None
    core = (size > peak / 2).astype(np.uint8)
    inside = level[core > 0]
    contrast = float(np.partition(inside, inside.size // 2)[inside.size // 2])  # the median
    if abs(contrast) < MIN_CONTRAST / 2:  # noise of both signs
        return None
    share = np.clip(level / contrast, 0, 1) * cv2.dilate(core, np.ones((3, 3), np.uint8))
    moments = cv2.moments(share)
    x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    radius = math.sqrt(moments["m00"] / math.pi)

    edges = edges_of(x, y, radius, *patch.shape)
    right, down = coverage_gradient(edges)
    residual = level / contrast - coverage(edges)
    xx, xy, yy = (right * right).sum(), (right * down).sum(), (down * down).sum()
    gx, gy = (right * residual).sum(), (down * residual).sum()
    determinant = xx * yy - xy * xy
    if determinant <= 0:
        return None
    step_x, step_y = (yy * gx - xy * gy) / determinant, (xx * gy - xy * gx) / determinant
    if max(abs(step_x), abs(step_y)) > 1:
        return None

    residual -= step_x * right + step_y * down
    rim = right * right + down * down
    variance = (rim * residual * residual).sum() / rim.sum() + 1 / (12 * contrast**2)  # and of rounding
    if variance > 0.1:  # of the contrast squared: no disc
        return None
    return _Fit(x + float(step_x), y + float(step_y), radius, float((xx + yy) / 2 / variance))
