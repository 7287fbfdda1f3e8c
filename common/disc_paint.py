"""A disc painted: each sample of a picture is mixed by how much of it the disc covers, exactly (see disc.py).

The area of the disc between its centre and a corner of a sample (to the right and down; signed, to the left or up) has
a closed form; its second difference is the area within the sample, as in a summed-area table (Crow 1984). Around a
small disc that is done for all corners, those of the larger samples among them; of a large disc only the samples on
the rim are looked at. All planes share one pass: a call of NumPy costs more than what it computes. Corners and areas
are in units of the radius, as if that were 1.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.disc import Disc, Floats, Indices, Plane

SMALL = 64.0  # px of radius; below, all samples around a disc are painted sooner than those on its rim are found
TINY = 1e-11  # radii that the rim may be off: one through the corner of four samples is in two of a row, rounded or not
WAYS = np.array([[-1.0], [1.0]])  # left or up, right or down


class Paint(NamedTuple):
    """What a disc is painted on, and how light.

    plane: (rows, columns) uint8, C-contiguous; background: its level; level: the disc's.
    """

    plane: Plane
    background: int
    level: int

    def mix(self, area: Floats, whole: float) -> Plane:
        """Return the levels of samples, given the area of the disc in each, and that of a whole sample."""
        mixed: Floats = area * ((self.level - self.background) / whole) + (self.background + 0.5)
        return mixed.astype(np.uint8)  # cuts off, which with the half rounds


Layers = Sequence[tuple[int, Sequence[Paint]]]


def paint(layers: Layers, disc: Disc) -> None:
    """Paint a round disc.

    Args:
        layers: (side, paints): the planes whose samples are `side` px wide, all of one size; the finest first. All are
            the same picture, which is whole samples wide and high in each, and show nothing but their background.
        disc: where, px; its shape is not looked at.
    """
    if disc.radius < SMALL:
        _paint_box(layers, disc)
    else:
        _paint_rim(layers, disc)


def _touched(middle: float, reach: float, side: int, count: int) -> tuple[int, int]:
    """Return which of `count` samples in a row lie within reach of a point: the first, and the first behind them."""
    first, behind = math.floor((middle + 0.5 - reach) / side), math.floor((middle + 0.5 + reach) / side) + 1
    return min(max(first, 0), count), min(max(behind, 0), count)


def _half_chord(t: Floats) -> Floats:
    """Return half the length of the chord at a distance t from the centre, -1 to 1."""
    half: Floats = np.sqrt(1 - t * t)
    return half


def _under(t: Floats, half: Floats) -> Floats:
    """Return the integral of the half chord from the middle to t, where it is `half`."""
    integral: Floats = (t * half + np.arcsin(t)) * 0.5
    return integral


# --- All samples around it -----------------------------------------------------------------------


def _paint_box(layers: Layers, disc: Disc) -> None:
    """Paint all samples that a disc may touch."""
    side, paints = layers[-1]  # the largest samples, which the smaller ones are parts of
    rows, columns = paints[0].plane.shape
    top, bottom = (side * at for at in _touched(disc.y, disc.radius, side, rows))
    left, right = (side * at for at in _touched(disc.x, disc.radius, side, columns))
    area = _area_to_corners(disc, left, right, top, bottom)
    for side, paints in layers:
        corners = area[::side, ::side]
        in_rows = corners[1:] - corners[:-1]
        in_samples = in_rows[:, 1:] - in_rows[:, :-1]
        box = slice(top // side, bottom // side), slice(left // side, right // side)
        for each in paints:
            each.plane[box] = each.mix(in_samples, (side / disc.radius) ** 2)


def _area_to_corners(disc: Disc, left: int, right: int, top: int, bottom: int) -> Floats:
    """Return the area of the disc between its centre and each corner of pixels in a box."""
    corners = np.concatenate((np.arange(left, right + 1) - (disc.x + 0.5), np.arange(top, bottom + 1) - (disc.y + 0.5)))
    corners = np.minimum(np.maximum(corners / disc.radius, -1), 1)
    half, sign = _half_chord(corners), np.sign(corners)
    under = _under(corners, half)
    across, down = slice(right + 1 - left), (slice(right + 1 - left, None), None)
    u, v, beside, above = corners[across], corners[down], under[across], under[down]
    # where the corner is outside of the disc: what is beside it and what is above it, which have a quarter too much
    outside = sign[down] * beside + sign[across] * (above - math.pi / 4 * sign[down])
    return np.where(np.abs(u) < half[down], u * v, outside)


# --- The rim and what is within ------------------------------------------------------------------


class _Lines(NamedTuple):
    """Rows and columns of samples that a disc touches, those of all layers one after the other, N of them.

    Where the rim is steep it passes through one or two samples of a row, on the left and on the right; where it is
    flat, of a column. So each line has two samples each way: the inner one, in which the rim is closest to the middle,
    and the outer one next to it.

    inner: number of the inner sample in the line, (2, N), to the left or up, and to the right or down. Of inner and
    outer, (2, 2, N) each: places: counted row by row in their plane; area: of the disc in them; valid: whether they are
    in the picture, and the rim passes through no third one. (There the lines across have what this one has not.)
    """

    inner: Floats
    places: Indices
    area: Floats
    valid: npt.NDArray[np.bool_]


def _paint_rim(layers: Layers, disc: Disc) -> None:
    """Paint the samples that the rim passes through, and what is within."""
    parts = _parts_of(layers, disc)
    lines = _lines_of(parts)
    end = 0
    for (side, paints), (rows, columns) in zip(layers, zip(parts[::2], parts[1::2], strict=True), strict=True):
        begin, within, end = end, end + rows.lines, end + rows.lines + columns.lines
        valid = lines.valid[..., begin:end]
        places, area = lines.places[..., begin:end][valid], lines.area[..., begin:end][valid]
        inner = lines.inner[:, begin:within].astype(np.intp)
        for each in paints:
            _fill(each, rows.first, inner, disc.x / side, disc.radius / side)
            each.plane.reshape(-1)[places] = each.mix(area, (side / disc.radius) ** 2)


class _Part(NamedTuple):
    """The lines of a layer that are looked at, rows or columns.

    first: the first of them; lines: how many; side: of a sample, radii; down, along: how far down the lines and along
    them the disc's middle is, samples from the edges of the picture; samples: in a line; line_stride, stride: from one
    line to the next, and from one of its samples to the next, samples of the plane.
    """

    first: int
    lines: int
    side: float
    down: float
    along: float
    samples: int
    line_stride: int
    stride: int


def _parts_of(layers: Layers, disc: Disc) -> list[_Part]:
    """Return all rows that a disc touches, and the columns where its rim is flat, of each layer in turn."""
    parts = []
    for side, paints in layers:
        rows, columns = paints[0].plane.shape
        x, y, size = (disc.x + 0.5) / side, (disc.y + 0.5) / side, side / disc.radius
        top, bottom = _touched(disc.y, disc.radius, side, rows)
        left, right = _touched(disc.x, disc.radius * math.sqrt(0.5), side, columns)
        parts.append(_Part(top, bottom - top, size, y, x, columns, columns, 1))
        parts.append(_Part(left, right - left, size, x, y, rows, 1, columns))
    return parts


def _lines_of(parts: Sequence[_Part]) -> _Lines:
    """Return all lines of some parts."""
    counts = [part.lines for part in parts]
    _, _, side, down, along, samples, line_stride, stride = np.array(parts, np.float64).T.repeat(counts, axis=1)
    number = np.concatenate([np.arange(part.first, part.first + part.lines) for part in parts])
    edges = np.empty((2, len(number)))  # of the lines
    np.multiply(number - down, side, out=edges[0])
    np.add(edges[0], side, out=edges[1])
    edges = np.minimum(np.maximum(edges, -1), 1)
    half = _half_chord(edges)
    least, most = np.minimum(half[0], half[1]) + TINY, np.maximum(half[0], half[1])  # that the rim is from the middle
    sample = np.empty((2, 2, len(number)))  # its number in the line
    inner = np.floor(along + WAYS * (least / side), out=sample[0])
    np.add(inner, WAYS, out=sample[1])
    between = WAYS * (inner - along)  # from the middle to the edge between the inner and the outer sample
    between[1] += 1
    between *= side
    area = np.empty_like(sample)
    area[1] = _beyond(edges, between)
    both, height = _under(edges, half), edges[1] - edges[0]
    np.subtract(both[1] - both[0] - (between - side) * height, area[1], out=area[0])
    valid = (sample >= 0) & (sample < samples) & ((most < between + (side + TINY)) & (least > 0.5))
    return _Lines(inner, (number * line_stride + sample * stride).astype(np.intp), area, valid)


def _beyond(edges: Floats, between: Floats) -> Floats:
    """Return the area of a disc that is within lines and further from the middle than `between`.

    Args:
        edges: of the lines, (2, N).
        between: (2, N): both ways.
    """
    reach = _half_chord(np.minimum(between, 1))
    ends = np.minimum(np.maximum(edges[:, None], -reach), reach)
    area = _under(ends, _half_chord(ends))
    beyond: Floats = area[1] - area[0] - between * (ends[1] - ends[0])
    return beyond


def _fill(paint: Paint, top: int, inner: Indices, x: float, radius: float) -> None:
    """Paint what lies within the rim: each half of a row is a window into a strip of background, disc, background.

    Args:
        top: the first row.
        inner: the innermost samples on the rim, on the left and on the right of each row, (2, rows).
        x: roughly where the middle of the disc is; radius: of the disc; samples.
    """
    rows, columns = inner.shape[1], paint.plane.shape[1]
    reach = math.ceil(radius) + 1
    middle = min(max(round(x), 0), columns)
    strip = np.full(3 * reach, paint.background, np.uint8)
    strip[reach : 2 * reach] = paint.level
    patch = paint.plane[top : top + rows]
    for begin, end, at in (
        (max(middle - reach, 0), middle, reach - 1 - inner[0]),
        (middle, min(middle + reach, columns), 2 * reach - inner[1]),
    ):
        width = end - begin
        windows = np.ndarray((3 * reach - width + 1, width), np.uint8, strip, strides=(1, 1))
        patch[:, begin:end] = windows[np.minimum(np.maximum(at + begin, reach - width), 2 * reach)]
