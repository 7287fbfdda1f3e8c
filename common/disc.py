"""A disc on a grid of samples: how much of each sample it covers, and how that changes when it moves.

A sample is a square of side 1 around its centre; centres lie on integers. Coverage is the share of a sample's
area that the disc covers, 0 to 1. Only the samples that the rim passes through have another one than 0 or 1, so
what is done here costs the rim and not the area. Everything is a pure function.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.intp]
Plane = npt.NDArray[np.uint8]

STRAIGHT = 16.0  # samples of radius; above, the rim is straight within one sample, to 0.005 of it


class Disc(NamedTuple):
    """A disc, or nearly one.

    x, y: its centre; radius: that of the round disc of the same area; all in samples. stretch: how much wider it is
    than round, as the square root of width / height; shear: how far it leans to the right, samples per sample down.
    """

    x: float
    y: float
    radius: float
    stretch: float = 1.0
    shear: float = 0.0


class Gradient(NamedTuple):
    """How the coverage of each sample on the rim changes, 1 / sample, (N,) each.

    right, down: as the disc moves that way; outward: as it grows; cos2, sin2: as it grows along x and shrinks along
    y, and the same turned by 45 degrees.
    """

    right: Floats
    down: Floats
    outward: Floats
    cos2: Floats
    sin2: Floats


class Rim(NamedTuple):
    """The samples that a disc's rim passes through, N of them, what it covers of each, and how that changes.

    rows, columns, coverage: (N,) each.
    """

    rows: Indices
    columns: Indices
    coverage: Floats
    gradient: Gradient


def rim_of(disc: Disc, rows: int, columns: int) -> Rim:
    """Return what of a disc's rim is in a picture of so many rows and columns."""
    spans = _spans_of(disc, rows)
    if disc.radius > STRAIGHT:
        return _straight_rim(disc, spans, columns)
    row, column = _on_rim(spans.ends, columns)
    edges = _edges_at(disc, spans, row, column)
    # a disc that moves right gains, in each sample, the length of its chord along the right edge, and loses the left
    right = -_within(np.minimum(np.maximum(edges.v, -edges.half_u), edges.half_u))[0, 0]
    down = -_within(np.minimum(np.maximum(edges.u, -edges.half_v), edges.half_v))[0, 0]
    length = np.maximum(np.sqrt(right * right + down * down), 1e-12)
    gradient = _gradient(disc, length, right / length, down / length)
    return Rim(row + spans.top, column, _coverage(edges)[0, 0], gradient)


def area_in(disc: Disc, rows: int, columns: int) -> float:
    """Return how much of a disc's area is in a picture of so many rows and columns, samples, to the nearest."""
    if disc.radius - 0.5 <= min(disc.x, disc.y, columns - 1 - disc.x, rows - 1 - disc.y):
        return math.pi * disc.radius**2
    first, *_, last = _spans_of(disc, rows).ends
    lengths = np.minimum(last, columns - 1) - np.maximum(first, 0)
    return float(np.maximum(lengths, 0).sum())


# --- Rows ----------------------------------------------------------------------------------------


class _Spans(NamedTuple):
    """The rows of a grid that a disc touches, n of them from row `top` on.

    ends: in which column the disc begins at the widest and at the narrowest, and where it ends at the narrowest and
    at the widest, (4, n); where a row's upper or lower edge is outside of the disc the narrowest is nothing.
    middle: the middle of the disc in each row, samples, (n,); v, half_v: the rows' edges as seen from the centre,
    and half the length of the chord along each, (n + 1,).
    """

    top: int
    ends: Indices
    middle: Floats
    v: Floats
    half_v: Floats


def _spans_of(disc: Disc, rows: int) -> _Spans:
    """Return the rows that a disc touches, of so many."""
    x, y, radius, stretch, shear = disc
    half_height = radius / stretch
    top = min(max(0, math.floor(y - half_height + 0.5)), rows - 1)
    bottom = max(min(rows - 1, math.floor(y + half_height + 0.5)), top)
    v, half_v = _chords((np.arange(top, bottom + 2) - 0.5 - y) * stretch, radius)
    reach = half_v * stretch
    ends = np.empty((4, len(v) - 1))
    np.minimum(reach[:-1], reach[1:], out=ends[2])
    np.maximum(reach[:-1], reach[1:], out=ends[3])
    ends[3, (v[:-1] < 0) & (v[1:] > 0)] = radius * stretch  # the row in which the disc is at its widest
    np.negative(ends[:1:-1], out=ends[:2])
    middle = x + shear * (np.arange(top, bottom + 1) - y)
    return _Spans(top, np.floor(ends + (middle + 0.5)).astype(np.intp), middle, v, half_v)


def _chords(edges: Floats, radius: float) -> tuple[Floats, Floats]:
    """Return edges moved to the rim where they are outside of a disc, and half the length of the chord along each."""
    inside = np.minimum(np.maximum(edges, -radius), radius)
    return inside, np.sqrt((radius - inside) * (radius + inside))


def _on_rim(ends: Indices, columns: int) -> tuple[Indices, Indices]:
    """Return row and column of all samples that the rim passes through: two runs in each row, which may meet."""
    first, last = np.maximum(ends[::2], 0), np.minimum(ends[1::2], columns - 1)
    np.maximum(first[1], last[0] + 1, out=first[1])
    counts = np.maximum(last - first + 1, 0).ravel()
    run = np.repeat(np.arange(len(counts)), counts)
    offset = first.ravel() - (np.cumsum(counts) - counts)
    return run % ends.shape[1], offset[run] + np.arange(len(run))


# --- Coverage ------------------------------------------------------------------------------------


class _Edges(NamedTuple):
    """The edges of samples as seen from a disc's centre; what lies outside of the disc is moved to its rim.

    u: x of the left and the right edge, v: y of the upper and the lower edge; half_u, half_v: half the length of the
    disc's chord along each. They broadcast to (corners down, corners across), or that and (N,). For an ellipse all is
    as through glasses that make it round.
    """

    radius: float
    u: Floats
    v: Floats
    half_u: Floats
    half_v: Floats


def _edges_at(disc: Disc, spans: _Spans, row: Indices, column: Indices) -> _Edges:
    """Return the edges of samples, given by row (from the first of the spans) and column, (N,) each."""
    edges = np.empty((2, len(row)))
    np.subtract(column - 0.5, spans.middle[row], out=edges[0])
    np.add(edges[0], 1, out=edges[1])
    u, half_u = _chords(edges / disc.stretch, disc.radius)
    upper_lower = np.empty((2, 1, len(row)), np.intp)
    upper_lower[0], upper_lower[1] = row, row + 1
    return _Edges(disc.radius, u, spans.v[upper_lower], half_u, spans.half_v[upper_lower])


def _coverage(edges: _Edges) -> Floats:
    """Return the share of each sample that a disc covers, exactly.

    The area of the disc left of u and above v has a closed form; taken at the corners of the samples, its second
    difference is the area within each sample (as in a summed-area table, Crow 1984).
    """
    radius, u, v, half_u, half_v = edges
    quarter = math.pi * radius**2 / 4
    area_u, area_v = _under(radius, u, half_u), _under(radius, half_v, np.abs(v))
    beside = np.minimum(area_u, -area_v) + np.maximum(area_u, area_v) - area_v + quarter
    area = area_u + quarter + np.sign(v) * beside + v * (np.minimum(np.maximum(u, -half_v), half_v) + half_v)
    covered: Floats = np.minimum(np.maximum(_within(area), 0), 1)
    return covered


def _under(radius: float, t: Floats, half: Floats) -> Floats:
    """Return the integral of a disc's half chord from its middle to t, where it is `half`."""
    integral: Floats = (t * half + radius**2 * np.arcsin(t / radius)) / 2
    return integral


def _within(corners: Floats) -> Floats:
    """Return what lies in each sample of a sum that is known at its corners."""
    rows = corners[1:] - corners[:-1]
    within: Floats = rows[:, 1:] - rows[:, :-1]
    return within


def _straight_rim(disc: Disc, spans: _Spans, columns: int) -> Rim:
    """Return what is to be seen of a large disc's rim, which is straight within a sample: a third of the work."""
    row, column = _on_rim(spans.ends, columns)
    u, v = (column - spans.middle[row]) / disc.stretch, (row + (spans.top - disc.y)) * disc.stretch
    distance = np.sqrt(u * u + v * v)
    cos, sin, inward = u / distance, v / distance, disc.radius - distance
    wide, high = np.abs(cos), np.abs(sin)
    more, less = np.maximum(wide, high), np.maximum(np.minimum(wide, high), 1e-9)
    # a straight edge leaves a triangle of the sample on one side, or passes from one side to the one across
    away = np.abs(inward)
    to_corner = np.maximum((more + less) / 2 - away, 0)
    length = to_corner / (more * less)
    triangle = to_corner * length / 2
    across = away < (more - less) / 2
    coverage = np.where(across, 0.5 + inward / more, 0.5 + np.copysign(0.5 - triangle, inward))
    gradient = _gradient(disc, np.where(across, 1 / more, length), cos, sin)
    return Rim(row + spans.top, column, coverage, gradient)


def _gradient(disc: Disc, length: Floats, cos: Floats, sin: Floats) -> Gradient:
    """Return the gradient, given the length of the rim in each sample and where it faces."""
    right, down = length * cos, length * sin
    leaning = right * (disc.shear / disc.stretch)
    return Gradient(
        right / disc.stretch, down * disc.stretch - leaning, length, right * cos - down * sin, 2 * right * sin
    )
