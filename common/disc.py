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


def area_in(disc: Disc, rows: int, columns: int) -> float:
    """Return how much of a disc's area is in a picture of so many rows and columns, samples, to the nearest."""
    if disc.radius - 0.5 <= min(disc.x, disc.y, columns - 1 - disc.x, rows - 1 - disc.y):
        return math.pi * disc.radius**2
    down = np.arange(rows) - disc.y
    half = np.sqrt(np.maximum(disc.radius**2 - (down * disc.stretch) ** 2, 0)) * disc.stretch
    middle = disc.x + disc.shear * down
    lengths = np.minimum(middle + half, columns - 0.5) - np.maximum(middle - half, -0.5)
    return float(np.maximum(lengths, 0).sum())


def coverage_of(right: Floats, down: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """Return the share of samples that round discs cover, exactly, and the length of the rim in them, as chords.

    Args:
        right, down: of the samples' middles, seen from the discs' centres.
        radius: samples; all three broadcast.
    """
    ends = np.array([-0.5, 0.5]).reshape(2, *(1,) * right.ndim)
    u, half_u = _chords((right + ends)[None], radius)
    v, half_v = _chords((down + ends)[:, None], radius)
    covered = _coverage(_Edges(radius, u, v, half_u, half_v))[0, 0]
    # a disc that moves right gains, in each sample, the length of its chord along the right edge, and loses the left
    gained = _within(np.minimum(np.maximum(v, -half_u), half_u))[0, 0]
    below = _within(np.minimum(np.maximum(u, -half_v), half_v))[0, 0]
    return covered, np.sqrt(gained * gained + below * below)


class _Edges(NamedTuple):
    """The edges of samples as seen from a disc's centre; what lies outside of the disc is moved to its rim.

    u: x of the left and the right edge, v: y of the upper and the lower edge; half_u, half_v: half the length of the
    disc's chord along each. They broadcast to (corners down, corners across), or that and the shape of the samples.
    """

    radius: float | Floats
    u: Floats
    v: Floats
    half_u: Floats
    half_v: Floats


def _chords(edges: Floats, radius: float | Floats) -> tuple[Floats, Floats]:
    """Return edges moved to the rim where they are outside of a disc, and half the length of the chord along each."""
    inside = np.minimum(np.maximum(edges, -radius), radius)
    return inside, np.sqrt((radius - inside) * (radius + inside))


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


def _under(radius: float | Floats, t: Floats, half: Floats) -> Floats:
    """Return the integral of a disc's half chord from its middle to t, where it is `half`."""
    integral: Floats = (t * half + radius**2 * np.arcsin(t / radius)) / 2
    return integral


def _within(corners: Floats) -> Floats:
    """Return what lies in each sample of a sum that is known at its corners."""
    rows = corners[1:] - corners[:-1]
    within: Floats = rows[:, 1:] - rows[:, :-1]
    return within
