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
    side       of a sample, px: 1 in the Y plane, 2 in U and V.
"""

import math
import random
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.disc import Disc
from common.disc_paint import Paint, paint

Image = npt.NDArray[np.uint8]

BLACK_YUV = (16, 128, 128)  # black in ITU-R BT.601 video range
MIN_CONTRAST = 24  # grey levels by which the ball's Y, U or V must differ from black
MIN_RADIUS = 3  # px; below this the half-size chroma planes hold too few samples to find it by
MIN_SIDE = 8  # px of an image that a ball is looked for in

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
    | margins       | px         | left, top, right, bottom: where the ball never is, 0 each   |

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
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        left, top, right, bottom = self.margins
        shorter = min(self.width - left - right, self.height - top - bottom)
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
        left, top, right, bottom = self.margins
        low, high = self.radius - 0.5, -0.5 - self.radius
        return Walls((left + low, self.width - right + high), (top + low, self.height - bottom + high))

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
    image = np.empty((height * 3 // 2, width), np.uint8)
    image[:height], image[height:] = BLACK_YUV[:2]  # U and V are the same
    return image


def draw(scene: Scene, center: Point) -> Image:
    """Draw the ball at `center` on black.

    Every sample is mixed by the area that the disc covers of it, so the centroid of what is drawn is the
    centre that was asked for. (`cv2.circle` is up to 0.05 px off it.)

    Returns:
        (H * 3 / 2, W) uint8, I420.
    """
    image = blank(scene.width, scene.height)
    y, u, v = (Paint(*each) for each in zip(planes(image), BLACK_YUV, scene.yuv, strict=True))
    grey = scene.yuv[1:] == BLACK_YUV[1:]  # its U and V are those of black
    paint(((1, (y,)),) if grey else ((1, (y,)), (2, (u, v))), Disc(center.x, center.y, scene.radius))
    return image


# --- Finding -------------------------------------------------------------------------------------

# What imports OpenCV is imported where it is used: the server draws, finds nothing, and does without its 150 MB.


def find(image: Image) -> Point | None:
    """Find the one ball on a black scene, whatever its colour.

    The ball is whatever differs from black; it must be one thing, and round. Roughly found, a disc is fitted to its rim
    in all planes. A ball that is a little oval, lit from one side, or cut by the edge of the picture is found as well,
    as long as nearly half of its rim is seen.

    Args:
        image: (H * 3 / 2, W) uint8, I420.

    Returns:
        The centre in px, or None for an image without a ball, be it empty or merely noisy.

    Raises:
        ValueError: the array has not the shape of an I420 image, or is too small for a ball.
    """
    from common.disc_find import find_disc
    from common.disc_fit import Layer

    seen = planes(image)
    rows, columns = seen[0].shape
    if min(rows, columns) < MIN_SIDE:
        raise ValueError(f"an image of {columns}x{rows}: too small for a ball")
    layers = [Layer(plane, black) for plane, black in zip(seen, BLACK_YUV, strict=True)]
    disc = find_disc(layers, MIN_CONTRAST, MIN_RADIUS)
    return None if disc is None else Point(disc.x, disc.y)
