"""Find a ball of a given colour in a real scene: textured, noisy, lit by changing light.

    hue      degrees on the colour wheel, 0 to 360: red 0, green 120, blue 240
    hues     two of them, from and to, clockwise; (340, 20) goes through red
    sample   a chroma sample: 2 x 2 px. U and V are stored at half size, and a colour is known no finer than that

The picture is looked at in HSV at half size, where what is of the colour, and saturated enough, is a mask. Of the
blobs in it the ball is the one that a disc explains best: a circle through its outline, of which half may be hidden,
but beyond which nothing sticks out (see arcs.py), or a round thing that the time of exposure has drawn out. Where
all of it is seen its centre is the centroid of how much each sample on the rim is ball and how much background, by
their chroma; within the rim it is all ball, so a highlight or a shadow on it moves nothing. Where a part is hidden
the centre is that of the circle through the rest of the rim. Everything here is a pure function.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from ball_track import Image, Point, planes
from common.disc import Disc
from finding.arcs import SECTORS, Arc, bumps, find_arc, fit_circle

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
MIN_ROUND, MAX_ROUND = 0.8, 1.2  # share of the ellipse around it that a ball fills; what has corners fills more
MIN_SOLID = 0.9  # share of its own hull that a ball fills, be it in motion or cut
MIN_STRETCH, MAX_STRETCH = 1.12, 2.2  # length to width of a ball in motion
MIN_SOFT = 0.55  # of the way that it goes while the shutter is open: how long its fading ends are
MIN_ALIKE = 0.65  # the shorter of them, of the longer
MAX_FADING_SIDE = 3.5  # samples
MAX_UP_AND_DOWN = 2.3  # a profile that goes up from 0 to 1 and down again has 2
TRIMMED = 0.6  # of a blob's own inner radius: what is narrower is cut off
ATTACHED = 1.35  # length to width of a ball and what is attached to it
ONE_SIDE = 0.6  # share of what is cut off that is in one piece
MOST_LEFT = 0.85  # share of a blob that is left when that is cut off
MAX_BLOBS = 12  # the largest, which are looked at
MAX_BUMP, ROUGHNESS = 0.02, 0.27  # by how much a ball's outline departs from an oval, of its radius and in samples
FADED = 0.2  # share of ball that is as good as none
FADES = (4, 8, 12)  # samples over which a ball in motion may fade
HARD_END = 1.2  # samples in which a hard edge fades
ALIKE = 0.15  # by how much less well a larger ball may be explained, to be the one all the same
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


class _Blob(NamedTuple):
    """Something of the colour. outline: (n, 2), x and y in samples; area: samples, without its holes."""

    outline: npt.NDArray[np.int32]
    area: float


def find(image: Image, hues: tuple[float, float]) -> Point | None:
    """Return the centre of the ball of a colour, or None if there is none.

    Args:
        image: (H * 3 / 2, W) uint8, I420.
        hues: from and to, in degrees.
    """
    disc = find_disc(image, hues)
    return None if disc is None else Point(disc.x, disc.y)


def find_disc(image: Image, hues: tuple[float, float]) -> Disc | None:
    """Return centre and radius of the ball of a colour, or None if there is none; of several alike the largest.

    Args:
        image: (H * 3 / 2, W) uint8, I420.
        hues: from and to, in degrees.

    Raises:
        ValueError: the array has not the shape of an I420 image.
    """
    luma, u, v = planes(image)
    mask = color_mask(cv2.merge((cv2.resize(luma, u.shape[::-1], interpolation=cv2.INTER_AREA), u, v)), hues)
    found: list[tuple[float, Disc]] = []  # how well it is explained, and where it is
    for blob in _blobs(mask):
        found += _explain(blob, u, v)
    best = max((score for score, _ in found), default=0)
    return max((disc for score, disc in found if score >= best - ALIKE), key=lambda disc: disc.radius, default=None)


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


def _blobs(mask: Image) -> Iterator[_Blob]:
    """Return the largest blobs in a mask."""
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    smallest = math.pi * (MIN_RADIUS / 2) ** 2
    # an outline runs through the middle of its samples: half of each lies outside of it
    areas = [cv2.contourArea(outline) + len(outline) / 2 + 1 if len(outline) > 4 else 0.0 for outline in outlines]
    outer = [n for n, area in enumerate(areas) if area >= smallest and tree[0][n][3] < 0]
    for n in sorted(outer, key=lambda n: -areas[n])[:MAX_BLOBS]:
        area, hole = areas[n], tree[0][n][2]
        while hole >= 0:
            area -= max(0.0, cv2.contourArea(outlines[hole]) - len(outlines[hole]) / 2)
            hole = tree[0][hole][0]
        yield _Blob(outlines[n].reshape(-1, 2).astype(np.int32), area)


def _trimmed(blob: _Blob) -> _Blob | None:
    """Return a blob without what is attached to it and much narrower: something else of the colour, beside the ball.

    Returns:
        None where there is no such thing.
    """
    left, top = (int(side) for side in blob.outline.min(axis=0) - 1)
    width, height = (int(side) for side in np.ptp(blob.outline, axis=0) + 3)
    filled = np.zeros((height, width), np.uint8)
    cv2.drawContours(filled, [(blob.outline - (left, top)).astype(np.int32)], -1, 1, cv2.FILLED)
    size = 2 * int(TRIMMED * cv2.distanceTransform(filled, cv2.DIST_L2, 3).max()) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = cv2.morphologyEx(filled, cv2.MORPH_OPEN, kernel)
    lost = cv2.connectedComponentsWithStats(cv2.subtract(filled, opened), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    if not len(lost) or lost.max() < ONE_SIDE * lost.sum():  # corners all around are the blob's own
        return None
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top))
    outline = max(outlines, key=cv2.contourArea)
    area = cv2.contourArea(outline) + len(outline) / 2 + 1
    # of a larger share the ball would be that which is attached
    return _Blob(outline.reshape(-1, 2).astype(np.int32), area) if MOST_LEFT * blob.area < area < blob.area else None


def _explain(blob: _Blob, u: Image, v: Image) -> Iterator[tuple[float, Disc]]:
    """Return how well a disc explains a blob, 0 to 1, and that disc; nothing if it does not."""
    shape = _shape_of(blob)
    if shape.solid < MIN_SOLID or not MIN_ROUND < shape.fills < MAX_ROUND:
        return
    whole = blob if _is_round(blob, shape) else _trimmed(blob) if shape.stretch < ATTACHED else None
    if whole is not None and (whole is blob or _is_round(whole, _shape_of(whole))):
        shares = _shares(whole.outline, u, v)
        if shares is not None:
            yield 1 - bumps(whole.outline), _centroid(shares)
            return
    if MIN_STRETCH <= shape.stretch < MAX_STRETCH:
        shares = _shares(blob.outline, u, v, shape.angle)
        if shares is not None and _is_in_motion(shares, shape):
            yield 1 - ALIKE, _centroid(shares)
            return
    arc = find_arc(blob.outline, blob.area)
    shares = arc and _shares(blob.outline, u, v)
    disc = arc and shares and _complete(arc, shares)
    if arc is not None and disc:
        yield arc.share, disc


def _is_round(blob: _Blob, shape: "_Shape") -> bool:
    """Return whether a blob is a disc, or nearly one."""
    return shape.stretch < MIN_STRETCH and bumps(blob.outline) < MAX_BUMP + ROUGHNESS / math.sqrt(blob.area / math.pi)


class _Shape(NamedTuple):
    """What a blob looks like.

    solid: which share of its hull it fills; fills: of the ellipse around it; stretch: length to width; way: by how much
    it is longer than wide, samples; angle: along which line.
    """

    solid: float
    fills: float
    stretch: float
    way: float
    angle: float


def _shape_of(blob: _Blob) -> _Shape:
    """Return what a blob looks like."""
    (_, (a, b), degrees) = cv2.minAreaRect(blob.outline)
    width, length = sorted((a + 1, b + 1))
    hull = cv2.convexHull(blob.outline)
    around = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1
    return _Shape(
        blob.area / around,
        blob.area / (math.pi / 4 * width * length),
        length / width,
        length - width,
        math.radians(degrees + (90 if b > a else 0)),
    )


class _Shares(NamedTuple):
    """How much of each sample around a blob is ball.

    share: 0 to 1; left, top: where the first of them is, in samples; at_end: how much still is, furthest from the blob.
    """

    share: npt.NDArray[np.float32]
    left: int
    top: int
    at_end: float


def _shares(outline: npt.NDArray[np.int32], u: Image, v: Image, angle: float | None = None) -> _Shares | None:
    """Return how much of each sample is ball; None if the ball hardly differs from what is around.

    Args:
        outline: its coarse edge, samples.
        u, v: the chroma planes.
        angle: along which line it moves, if it does: there it fades slowly, and how far is found by trying.
    """
    shares = None
    for rim in FADES if angle is not None else (RIM,):
        shares = _shares_within(outline, u, v, rim, _rim_kernel(rim, angle))
        if shares is None or shares.at_end < FADED:
            break
    return shares


def _rim_kernel(rim: int, angle: float | None) -> Image:
    """Return what of the surroundings of a sample on the edge of a ball may be ball in part, (rows, columns) uint8."""
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RIM + 1, 2 * RIM + 1))
    if angle is None:
        return around.astype(np.uint8)
    line = np.zeros((2 * (rim + RIM) + 1,) * 2, np.uint8)
    right, down, middle = round(rim * math.cos(angle)), round(rim * math.sin(angle)), rim + RIM
    cv2.line(line, (middle - right, middle - down), (middle + right, middle + down), 1)
    return cv2.dilate(line, around).astype(np.uint8)


def _shares_within(outline: npt.NDArray[np.int32], u: Image, v: Image, rim: int, kernel: Image) -> _Shares | None:
    """Return how much of each sample is ball, of which only those so near its coarse edge are so in part."""
    reach = 2 * rim + 1  # the background is seen from `rim` to `reach` samples outside
    left, top = (int(side) for side in np.maximum(outline.min(axis=0) - reach, 0))
    right, bottom = outline.max(axis=0) + reach + 1
    patch = [plane[top:bottom, left:right].astype(np.float32) for plane in (u, v)]
    filled = np.zeros(patch[0].shape, np.uint8)
    cv2.drawContours(filled, [(outline - (left, top)).astype(np.int32)], -1, 1, cv2.FILLED)
    core = cv2.erode(filled, kernel, borderValue=0)
    near = cv2.dilate(filled, kernel)
    if not core.any():
        core = _middle_of(filled)
    grounds, balls = _means_around(patch, 1 - near, rim), _means_around(patch, core, rim)
    at_rim = near > core
    part, contrast = np.zeros((2, int(at_rim.sum())), np.float32)  # of the samples on the rim alone
    for plane, ground, ball in zip(patch, grounds, balls, strict=True):
        beside = ground[at_rim]
        difference = ball[at_rim] - beside
        part += (plane[at_rim] - beside) * difference
        contrast += difference * difference
    if near.all() or np.median(contrast) < MIN_CONTRAST**2:
        return None
    share = core.astype(np.float32)
    share[at_rim] = np.clip(part / np.maximum(contrast, 1), 0, 1)
    at_end = float(np.quantile(share[(near > 0) & (cv2.erode(near, np.ones((3, 3), np.uint8)) == 0)], 0.85))
    return _Shares(share, left, top, at_end)


def _middle_of(filled: Image) -> Image:
    """Return the samples furthest from the edge of a mask, as a mask."""
    depth = cv2.distanceTransform(filled, cv2.DIST_L2, 3)
    return np.asarray(depth >= 0.8 * depth.max(), np.uint8)


def _means_around(patch: Sequence[npt.NDArray[np.float32]], where: MatLike, rim: int) -> Iterator[MatLike]:
    """Return for each plane and each of its samples the mean of those around it that `where` marks, float32.

    So a ball that is lit from one side is compared with its own bright and its own dark side.
    """
    size, nearness = (6 * rim + 1, 6 * rim + 1), NEARNESS * rim / RIM
    weights = where.astype(np.float32)
    weight = cv2.GaussianBlur(weights, size, nearness, borderType=cv2.BORDER_CONSTANT)
    np.maximum(weight, 1e-9, out=weight)
    for plane in patch:
        total = cv2.GaussianBlur(plane * weights, size, nearness, borderType=cv2.BORDER_CONSTANT)
        yield np.divide(total, weight, out=total)


def _centroid(shares: _Shares) -> Disc:
    """Return the disc that has the centroid and the area of what is ball."""
    moments = cv2.moments(shares.share)
    return _to_px(
        moments["m10"] / moments["m00"] + shares.left,
        moments["m01"] / moments["m00"] + shares.top,
        math.sqrt(moments["m00"] / math.pi),
    )


def _to_px(x: float, y: float, radius: float) -> Disc:
    """Return a disc in samples in px: the middle of a sample lies between its 2 x 2 pixels."""
    return Disc(2 * float(x) + 0.5, 2 * float(y) + 0.5, 2 * float(radius))


def _is_in_motion(shares: _Shares, shape: _Shape) -> bool:
    """Return whether a blob fades at both of its ends alike, and not at its sides.

    So does a ball that moves while the shutter is open.
    """
    along, across = (_profile(shares, shape.angle + turn) for turn in (0, math.pi / 2))
    middle = len(along) // 2
    ends = [_fading(end) for end in (along[:middle], along[middle:])]
    return (
        sum(ends) / 2 - HARD_END > MIN_SOFT * shape.way
        and min(ends) > MIN_ALIKE * max(ends)
        and _fading(across) / 2 < MAX_FADING_SIDE
        and float(np.abs(np.diff(along)).sum()) < MAX_UP_AND_DOWN
    )


def _profile(shares: _Shares, angle: float) -> npt.NDArray[np.float32]:
    """Return how much is ball along a line through the middle of a blob, (n,), in steps of half a sample."""
    rows, columns = np.nonzero(shares.share > 0.5)
    reach = math.hypot(*shares.share.shape) / 2
    steps = np.arange(-reach, reach, 0.5)
    x, y = columns.mean() + steps * math.cos(angle), rows.mean() + steps * math.sin(angle)
    smooth = cv2.GaussianBlur(shares.share, (0, 0), 0.7)
    line = cv2.remap(smooth, x.astype(np.float32)[None], y.astype(np.float32)[None], cv2.INTER_LINEAR)
    return np.asarray(line[0], np.float32)


def _fading(line: npt.NDArray[np.float32]) -> float:
    """Return over how many samples a profile is neither ball nor background."""
    return 0.5 * float(((line > 0.15) & (line < 0.85)).sum())


def _complete(arc: Arc, shares: _Shares) -> Disc | None:
    """Return the disc whose rim the seen part of a blob's edge is: where the share of ball passes one half."""
    angle = (np.flatnonzero(arc.sectors)[:, None] + (np.arange(4) + 0.5) / 4).ravel() * (2 * math.pi / SECTORS)
    rho = arc.radius + np.arange(-3, 3.25, 0.25)
    x, y = (
        middle - first + np.outer(wave(angle), rho)
        for middle, first, wave in ((arc.x, shares.left, np.cos), (arc.y, shares.top, np.sin))
    )
    profile = cv2.remap(shares.share, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    clear = (profile[:, :3].mean(axis=1) > 0.7) & (profile[:, -3:].mean(axis=1) < 0.3)
    edge = rho[0] + 0.25 * (profile.sum(axis=1)[clear] - 0.5)
    if clear.mean() < 0.6:
        return None
    x, y = edge * np.cos(angle[clear]), edge * np.sin(angle[clear])
    circle = fit_circle(x, y)
    if circle is None or math.hypot(circle[0], circle[1]) > 2 + 0.1 * arc.radius:
        return None
    off = np.hypot(x - circle[0], y - circle[1]) - circle[2]
    if np.sqrt((off * off).mean()) > 0.25 + 0.01 * arc.radius:  # samples; the rim of a ball is smooth
        return None
    return _to_px(arc.x + circle[0], arc.y + circle[1], circle[2])
