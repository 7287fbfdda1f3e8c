"""Find a ball of a given colour in a real scene: textured, noisy, lit by changing light.

    hue      degrees on the colour wheel, 0 to 360: red 0, green 120, blue 240
    hues     two of them, from and to, clockwise; (340, 20) goes through red
    sample   a chroma sample: 2 x 2 px. U and V are stored at half size, and a colour is known no finer than that

The picture is looked at in HSV at half size, where what is of the colour, and saturated enough, is a mask. The
largest blob in it that is round is the ball. Its centre is the centroid of how much each sample on the rim is
ball and how much background, by their chroma; within the rim it is all ball, so a highlight or a shadow on it
moves nothing. Everything here is a pure function.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from ball_track import Image, Point, planes

HUES = {  # degrees; between two neighbours, where skin, wood and leaves are, is room
    "red": (345, 15),
    "orange": (12, 42),
    "yellow": (42, 72),
    "green": (80, 165),
    "cyan": (165, 200),
    "blue": (200, 260),
    "magenta": (270, 345),
}
MIN_SATURATION = 90  # of 255; walls and floors have less
MIN_VALUE = 40  # of 255; darker, hue is noise
MIN_CONTRAST = 12  # levels of U and V by which a ball differs from what is beside it; spots on a wall do less
MIN_RADIUS = 5.0  # px; smaller, noise is round too
MIN_ROUND = 0.78  # share of its own hull, and of the ellipse around it, that a blob fills
MAX_STRETCH = 2.5  # length to width of a ball in motion
RIM = 2  # samples on either side of the blob's edge
NEARNESS = 1.0  # samples; so near are those that a sample on the rim is compared with

# Y, U, V in ITU-R BT.601 video range to B, G, R; the last column is what 16 and 128 add up to
TO_BGR = np.array(
    [
        [1.1644, 2.0172, 0.0, -276.836],
        [1.1644, -0.3918, -0.8130, 135.576],
        [1.1644, 0.0, 1.5960, -222.921],
    ]
)


class Disc(NamedTuple):
    """A ball in a picture. x, y: its centre, px; radius: px."""

    x: float
    y: float
    radius: float


def find(image: Image, hues: tuple[float, float]) -> Point | None:
    """Return the centre of the largest round blob of a colour, or None if there is none.

    Args:
        image: (H * 3 / 2, W) uint8, I420.
        hues: from and to, in degrees.
    """
    disc = find_disc(image, hues)
    return None if disc is None else Point(disc.x, disc.y)


def find_disc(image: Image, hues: tuple[float, float]) -> Disc | None:
    """Return centre and radius of the largest round blob of a colour, or None if there is none.

    Args:
        image: (H * 3 / 2, W) uint8, I420.
        hues: from and to, in degrees.

    Raises:
        ValueError: the array has not the shape of an I420 image.
    """
    luma, u, v = planes(image)
    mask = color_mask(cv2.merge((cv2.resize(luma, u.shape[::-1], interpolation=cv2.INTER_AREA), u, v)), hues)
    discs = (_refine(outline, u, v) for outline in _round_blobs(mask))
    return next((disc for disc in discs if disc is not None), None)


def color_mask(yuv: MatLike, hues: tuple[float, float]) -> Image:
    """Return which samples are of a colour, (rows, columns) uint8, 255 where they are.

    Args:
        yuv: (rows, columns, 3) uint8, video range.
        hues: from and to, in degrees.
    """
    hsv = cv2.cvtColor(cv2.transform(yuv, TO_BGR), cv2.COLOR_BGR2HSV)
    low, high = round(hues[0] / 2), round(hues[1] / 2)  # OpenCV counts hues from 0 to 179
    parts = [(low, high)] if low <= high else [(low, 179), (0, high)]
    masks = [cv2.inRange(hsv, (a, MIN_SATURATION, MIN_VALUE), (b, 255, 255)) for a, b in parts]
    mask = masks[0] if len(masks) == 1 else cv2.bitwise_or(*masks)
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8, copy=False)


def _round_blobs(mask: Image) -> Iterator[npt.NDArray[np.int32]]:
    """Return the outlines of the round blobs in a mask, in samples, the largest first."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    smallest = math.pi * (MIN_RADIUS / 2) ** 2
    # an outline runs through the middle of its samples: half of each lies outside of it
    areas = [(cv2.contourArea(outline) + len(outline) / 2 + 1, outline) for outline in outlines]
    for area, outline in sorted((each for each in areas if each[0] >= smallest), key=lambda each: -each[0]):
        (_, (a, b), _) = cv2.minAreaRect(outline)
        width, length = sorted((a + 1, b + 1))
        hull = cv2.convexHull(outline)
        around = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1
        fills_ellipse = area / (math.pi / 4 * width * length)
        if area > MIN_ROUND * around and MIN_ROUND < fills_ellipse < 1.2 and length < MAX_STRETCH * width:
            yield outline.reshape(-1, 2).astype(np.int32)


def _refine(outline: npt.NDArray[np.int32], u: Image, v: Image) -> Disc | None:
    """Return the disc that an outline (samples) is the coarse edge of; None if it hardly differs from what is around.

    Args:
        u, v: the chroma planes.
    """
    reach = 2 * RIM + 1  # the background is seen from RIM to `reach` samples outside
    left, top = np.maximum(outline.min(axis=0) - reach, 0)
    right, bottom = outline.max(axis=0) + reach + 1
    patch = cv2.merge([plane[top:bottom, left:right] for plane in (u, v)]).astype(np.float32)
    filled = np.zeros(patch.shape[:2], np.uint8)
    cv2.drawContours(filled, [(outline - (left, top)).astype(np.int32)], -1, 1, cv2.FILLED)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RIM + 1, 2 * RIM + 1))
    core = cv2.erode(filled, kernel, borderValue=0)
    near = cv2.dilate(filled, kernel)
    if not core.any():
        core = filled
    ground = _mean_around(patch, 1 - near)
    difference = _mean_around(patch, core) - ground
    contrast = (difference * difference).sum(axis=2)
    rim = (near > 0) & (core == 0)
    if near.all() or np.median(contrast[rim]) < MIN_CONTRAST**2:
        return None
    share = np.clip(((patch - ground) * difference).sum(axis=2) / np.maximum(contrast, 1), 0, 1)
    share[core > 0] = 1
    share[near == 0] = 0
    moments = cv2.moments(share.astype(np.float32))
    x, y = moments["m10"] / moments["m00"] + left, moments["m01"] / moments["m00"] + top
    # the middle of a sample lies between its 2 x 2 pixels
    return Disc(2 * float(x) + 0.5, 2 * float(y) + 0.5, 2 * math.sqrt(moments["m00"] / math.pi))


def _mean_around(patch: MatLike, where: MatLike) -> MatLike:
    """Return for each sample the mean of those around it that `where` marks, (rows, columns, 2) float32.

    So a ball that is lit from one side is compared with its own bright and its own dark side.
    """
    size = (6 * RIM + 1, 6 * RIM + 1)
    weights = where.astype(np.float32)
    total = cv2.GaussianBlur(patch * weights[..., None], size, NEARNESS, borderType=cv2.BORDER_CONSTANT)
    weight = cv2.GaussianBlur(weights, size, NEARNESS, borderType=cv2.BORDER_CONSTANT)
    return total / np.maximum(weight, 1e-9)[..., None]
