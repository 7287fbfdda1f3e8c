"""Find the one disc in a picture of three planes on a known background: I420, the second and the third at half size.

A glance at every fourth px finds most discs: where nothing else is nearly as bright, and what is seen is as wide as it
is high, a disc is fitted to its rim in all planes (disc_fit.py). Whatever else there is, noise, two things, a disc that
the edge of the picture cuts, is looked at with care, by all samples. What a glance takes for a disc has every sample of
its rim looked at, so that the two differ in one thing: what is less than four px high or wide may lie between those of
the glance, and a disc beside it is found all the same.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from common.disc import Disc, Plane, area_in
from common.disc_fit import Layer, approach, find_rim, fit_disc, is_seen

EVERY = 4  # px between the samples of the glance: a disc of radius 3 has at least one of them
LARGE = 24  # samples; of what is less wide a glance does not say well enough where it is
FILLED = 0.75, 1.2  # share of a disc that is seen of it
GLANCED = 0.9, 1.1  # and at a glance, lest a ring's hole be overlooked
COARSE = 320  # px; a blob that is larger is looked at in a smaller picture
FINE = 8.0  # samples; a blob that reaches less far is looked at in a larger one, where its mean does not do


def find_disc(layers: Sequence[Layer], contrast: float, least: float) -> Disc | None:
    """Return the one disc in a picture, px, or None if there is none, or more than one thing.

    Args:
        layers: its Y, U and V planes.
        contrast: by how much one of them must differ from its background.
        least: radius, px.
    """
    look = _Look(layers, contrast, least)
    return look.at_a_glance() or look.with_care()


class _Look:
    """A look at a picture.

    Args:
        layers, contrast, least: as above.
    """

    def __init__(self, layers: Sequence[Layer], contrast: float, least: float) -> None:
        self._layers, self._contrast, self._least = layers, contrast, least
        self._rows, self._columns = layers[0].plane.shape

    def at_a_glance(self) -> Disc | None:
        """Find a disc that is plainly one, and alone in the picture; None says nothing."""
        glimpse = _glance(self._layers, self._contrast)
        if glimpse is None:
            return None
        left, top, width, height = (EVERY * length for length in glimpse.box)
        side = 1 if glimpse.layer == 0 else 2
        if max(width, height) < LARGE * side:
            return self.with_care((left - LARGE, top - LARGE, left + width + LARGE, top + height + LARGE))
        area = EVERY**2 * glimpse.area
        middle = Disc(left + (width - EVERY) / 2, top + (height - EVERY) / 2, math.sqrt(area / math.pi))
        start = approach(self._layers[glimpse.layer], side, middle)
        disc = start and self._fit(start)
        return disc if disc and self._is_seen(disc, area, EVERY / 2, GLANCED) else None

    def with_care(self, window: Sequence[int] | None = None) -> Disc | None:
        """Find a disc by all samples of the picture, or of a window in it (left, top, right, bottom), px and even."""
        blob = _find_blob(self._layers, self._contrast, window or (0, 0, self._columns, self._rows))
        if blob is None:
            return None
        for begin in (self._begin_with_mean, self._begin_with_rays):  # the former is quick, the latter copes with more
            start = begin(blob)
            disc = start and self._fit(start)
            if disc is not None:
                return disc if self._is_seen(disc, blob.area * blob.side**2, blob.side, FILLED) else None
        return None

    def _fit(self, start: Disc) -> Disc | None:
        """Return the disc that is to be seen near another, px."""
        return fit_disc(((1, self._layers[:1]), (2, self._layers[1:])), start, self._contrast / 2)

    def _is_seen(self, disc: Disc, area: float, blur: float, share: tuple[float, float]) -> bool:
        """Return whether enough of a disc is seen: of its rim, and of what it is filled with.

        A ring has a rim, too, but does not fill it; a small blob is a blurred one.

        Args:
            disc: in px.
            area: of what is seen, px.
            blur: px, to which that is sharp.
            share: of the disc that it has to be, least and most.
        """
        if disc.radius < self._least * 0.75 or not is_seen(disc, self._rows, self._columns):  # the former is noise
            return False
        whole, rim = area_in(disc, self._rows, self._columns), 2 * math.pi * disc.radius * blur
        return share[0] * whole - rim / 4 < area < share[1] * whole + rim

    def _begin_with_mean(self, blob: "_Blob") -> Disc | None:
        """Return the disc that has a blob's centroid and its area, px."""
        picture, x, y = blob.picture, round(blob.x), round(blob.y)
        left, top = max(0, math.floor(blob.x - blob.reach) - 2), max(0, math.floor(blob.y - blob.reach) - 2)
        box = picture[top : math.ceil(blob.y + blob.reach) + 3, left : math.ceil(blob.x + blob.reach) + 3]
        size = max(1, int(blob.reach / 2))
        middle = picture[max(0, y - size) : y + size + 1, max(0, x - size) : x + size + 1]
        level = cv2.mean(middle)[0] if size > 1 else float(middle.max())
        core = cv2.dilate(cv2.threshold(box, level / 2, 255, cv2.THRESH_BINARY)[1], np.ones((3, 3), np.uint8))
        moments = cv2.moments(cv2.min(cv2.bitwise_and(box, core), level))  # type: ignore[call-overload]  # no scalars in its stub
        if not moments["m00"]:
            return None
        x_mean, y_mean = moments["m10"] / moments["m00"] + left, moments["m01"] / moments["m00"] + top
        return blob.to_image(Disc(x_mean, y_mean, math.sqrt(moments["m00"] / level / math.pi)))

    def _begin_with_rays(self, blob: "_Blob") -> Disc | None:
        """Return the disc that a blob's rim is part of, px."""
        if blob.reach < FINE:  # a small one is looked at in full size
            size = math.ceil(blob.reach) + 4
            x, y = round(blob.x) + blob.left // 2, round(blob.y) + blob.top // 2
            left, top = max(0, x - size), max(0, y - size)
            luma, *chroma = _cut(self._layers, (2 * left, 2 * top, 2 * (x + size), 2 * (y + size)))
            shape = luma.plane.shape[::-1]
            enlarged = [cv2.resize(plane, shape, interpolation=cv2.INTER_LINEAR) for plane, _ in chroma]
            planes = [luma.plane, *(plane.astype(np.uint8, copy=False) for plane in enlarged)]
            picture = _difference(
                [layer._replace(plane=plane) for layer, plane in zip(self._layers, planes, strict=True)]
            )
            x_in, y_in = 2 * (blob.x + blob.left // 2 - left) + 0.5, 2 * (blob.y + blob.top // 2 - top) + 0.5
            blob = _Blob(picture, 1, 2 * left, 2 * top, x_in, y_in, 2 * blob.reach, 4 * blob.area)
        disc = find_rim(blob.picture, blob.x, blob.y, 1.3 * blob.reach + 2)
        if disc is not None and blob.side > 2:
            disc = fit_disc(((1, (Layer(blob.picture, 0),)),), disc, self._contrast / 4)
        return None if disc is None else blob.to_image(disc)


# --- At a glance ---------------------------------------------------------------------------------


class _Glimpse(NamedTuple):
    """What a glance shows.

    box: left, top, width, height of what differs from the background; area: how much does; all in samples. layer: the
    index of one in which it is seen well.
    """

    box: Sequence[int]
    area: int
    layer: int


def _glance(layers: Sequence[Layer], contrast: float) -> _Glimpse | None:
    """Look at every fourth px; return what is to be seen if that is one thing, and nothing else nearly as bright."""
    parts = [
        cv2.absdiff(_thinned(plane, step), float(background))  # type: ignore[call-overload]  # no scalars in its stub
        for (plane, background), step in zip(layers, (EVERY, EVERY // 2, EVERY // 2), strict=True)
    ]
    differs = cv2.max(parts[0], cv2.max(parts[1], parts[2]))
    peak = int(differs.max())
    if peak < contrast:
        return None
    mask = cv2.threshold(differs, peak / 2, 1, cv2.THRESH_BINARY)[1]
    box = x, y, width, height = cv2.boundingRect(mask)
    if abs(width - height) > 1 + max(width, height) // 5:
        return None
    dim = cv2.boundingRect(cv2.threshold(differs, peak / 4, 1, cv2.THRESH_BINARY)[1])
    if max(x - dim[0], y - dim[1]) > 1 or max(dim[2] - width, dim[3] - height) > 2:
        return None
    levels = [int(part[y + height // 2, x + width // 2]) for part in parts]
    layer = 0 if 3 * levels[0] > peak else levels.index(max(levels))  # its samples are the smallest
    return _Glimpse(box, cv2.countNonZero(mask), layer)


def _thinned(plane: Plane, step: int) -> Plane:
    """Return every so manieth sample of every so manieth row; quickest by taking as many for one number."""
    if plane.shape[1] % step or not plane.flags.c_contiguous:
        return np.ascontiguousarray(plane[::step, ::step])
    return plane[::step].view(f"<u{step}").astype(np.uint8)


# --- With care -----------------------------------------------------------------------------------


class _Blob(NamedTuple):
    """What differs from black, roughly.

    picture: (rows, columns) uint8, half of by how much a part of the image differs from black; side: of one of its
    samples, px; left, top: where in the image it begins, px; x, y: the middle of the blob's box in the picture;
    reach: half the longer side of the box; area: all three in samples of the picture.
    """

    picture: Plane
    side: int
    left: int
    top: int
    x: float
    y: float
    reach: float
    area: int

    def to_image(self, disc: Disc) -> Disc:
        """Return a disc in the picture as it is in the image, px."""
        x, y = self.side * (disc.x + 0.5) - 0.5 + self.left, self.side * (disc.y + 0.5) - 0.5 + self.top
        return Disc(x, y, disc.radius * self.side, disc.stretch, disc.shear)


def _find_blob(layers: Sequence[Layer], contrast: float, window: Sequence[int]) -> _Blob | None:
    """Return the one round blob in a window of a picture (left, top, right, bottom), px and even, or None."""
    window = max(0, window[0]), max(0, window[1]), *window[2:]
    differs = _difference(_cut(layers, window))
    smooth = cv2.blur(differs, (3, 3))
    peak = float(smooth.max())
    if peak < contrast / 4:
        return None
    mask = cv2.threshold(smooth, peak / 2, 1, cv2.THRESH_BINARY)[1]
    x, y, width, height = cv2.boundingRect(mask)
    margin = 3 + max(width, height) // 8
    left, top = max(0, x - margin), max(0, y - margin)
    box = slice(top, y + height + margin), slice(left, x + width + margin)
    picture, mask, side = differs[box], mask[box], 2
    while max(width, height) * 2 > COARSE * side:  # what is large is looked at in a smaller picture
        picture, side = _halve(picture), 2 * side
    if side > 2:
        mask = cv2.threshold(picture, peak / 2, 1, cv2.THRESH_BINARY)[1]
    area, box_of = cv2.countNonZero(mask), cv2.boundingRect(mask)
    if not area:
        return None
    if not _may_be_round(area, box_of, mask.shape):
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        areas = stats[1:, cv2.CC_STAT_AREA]
        *box_of, area = (int(value) for value in stats[1 + areas.argmax()])
        alone = area > 0.7 * areas.sum()  # noise is many blobs, a ball is one
        if not alone or not _may_be_round(area, box_of, mask.shape):
            return None
    x, y, width, height = box_of
    middle_x, middle_y, reach = x + (width - 1) / 2, y + (height - 1) / 2, max(width, height) / 2
    return _Blob(picture, side, 2 * left + window[0], 2 * top + window[1], middle_x, middle_y, reach, area)


def _cut(layers: Sequence[Layer], window: Sequence[int]) -> Sequence[Layer]:
    """Return a window (left, top, right, bottom) of three planes, px and even."""
    left, top, right, bottom = window
    return [
        layer._replace(plane=layer.plane[top // side : bottom // side, left // side : right // side])
        for layer, side in zip(layers, (1, 2, 2), strict=True)
    ]


def _difference(layers: Sequence[Layer]) -> Plane:
    """Return half of by how much each part of a picture differs from the background, as large as U and V, uint8."""
    (luma, _), (u, _), _ = layers
    if luma.shape != u.shape:
        luma = cv2.resize(luma, u.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    parts = [
        cv2.absdiff(plane, float(layer.background))  # type: ignore[call-overload]  # no scalars in its stub
        for plane, layer in zip((luma, *(layer.plane for layer in layers[1:])), layers, strict=True)
    ]
    half: Plane = cv2.addWeighted(parts[0], 0.5, cv2.add(parts[1], parts[2]), 0.5, 0)
    return half


def _halve(picture: Plane) -> Plane:
    """Return a picture at half the size, each sample the mean of four."""
    odd_rows, odd_columns = picture.shape[0] % 2, picture.shape[1] % 2
    if odd_rows or odd_columns:
        picture = np.pad(picture, ((0, odd_rows), (0, odd_columns)), "edge")
    size = picture.shape[1] // 2, picture.shape[0] // 2
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _may_be_round(area: int, box: Sequence[int], shape: Sequence[int]) -> bool:
    """Return whether something of so many samples in a box (left, top, width, height) may be a disc, or most of one.

    Args:
        shape: of the picture, (rows, columns).
    """
    left, top, width, height = box
    cut = left == 0 or top == 0 or left + width == shape[1] or top + height == shape[0]
    longest = 3.3 if cut else 1.6  # width to height; only the edge of the image leaves no margin
    fills = area / (math.pi / 4 * width * height)  # of the ellipse in its box
    return 0.6 < fills < 1.4 and 1 / longest < width / height < longest
