"""The rim of a disc on grids of samples, seen along rays from its middle: one sample for each ray.

A sample that the rim passes through is met by as many rays as it holds of the rim's length. So a sum over the rays is
one over the samples, each weighted by how much it says. What a straight line across a ray covers of a sample depends on
the ray alone, and is known before. Everything is a pure function.

A grid is a plane of samples that are squares of some side, px; its first corner is that of the picture, at -0.5, -0.5.
Arrays are (S, n): for each grid and each ray.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.disc import Disc, Floats, Indices, coverage_of

Flags = npt.NDArray[np.bool_]

STEP = 64  # rays, of which there is a multiple
FEW, SPARSE = 384, 7  # rays for a disc, and for each sample of its radius, at least: one for each on the rim
DENSE, TINY = 32, 12.0  # rays for each sample of the radius of a disc that is smaller, in samples
CURVED = 6.0  # samples of radius; below, the rim is not nearly straight within a sample


class Grids(NamedTuple):
    """Planes of one picture. sides: of their samples, px, (S, 1); height, width: of the picture, px."""

    sides: Floats
    height: float
    width: float


class Met(NamedTuple):
    """The samples that rays meet at some distances.

    where: in the flat plane, of the nearest sample where one is not in the picture; seen: whether it is, None where all
    are; nearest: the samples' row and column; off: from where the ray is to there, (2, S, n).
    """

    where: Indices
    seen: Flags | None
    nearest: Floats
    off: Floats


class Rim(NamedTuple):
    """What a disc's rim is at the samples that rays meet there.

    where, seen: as in `Met`; coverage: what the disc covers of each; length: of the rim within each, samples, 0 for
    those that are not in the picture; slopes: how far outward the rim goes along each ray as the disc moves right and
    down by 1, grows by 1, is longer along x and shorter along y by 1, and the same turned by 45 degrees, (5, n).
    """

    where: Indices
    seen: Flags | None
    coverage: Floats
    length: Floats
    slopes: Floats


class Rays(NamedTuple):
    """Directions, n of them and none along an axis, and how a straight line across each lies in a sample.

    toward: sine and cosine, (2, 1, n); slopes: Rim's; along: how far along the line it is to a sample's middle row and
    middle column, for each sample that the line is off it, (2, 1, n); half_across: from there to the edges; corner: how
    far from its middle a line leaves the sample, (n,); sharp: half the product of sine and cosine.
    """

    toward: Floats
    slopes: Floats
    along: Floats
    half_across: Floats
    corner: Floats
    sharp: Floats


@lru_cache(maxsize=16)
def rays_of(count: int) -> Rays:
    """Return so many directions, spread evenly."""
    angle = (np.arange(count) + 0.5) * (2 * math.pi / count)
    return _rays_to(np.cos(angle), np.sin(angle), angle)


def _rays_to(cos: Floats, sin: Floats, angle: Floats) -> Rays:
    """Return directions, and at which angle each is for a round disc."""
    slopes = np.stack((cos, sin, np.ones(len(cos)), np.cos(2 * angle), np.sin(2 * angle)))
    toward, along = np.stack((sin, cos))[:, None], np.stack((1 / cos, -1 / sin))[:, None]
    wide, high = np.abs(cos), np.abs(sin)
    return Rays(toward, slopes, along, np.abs(along) / 2, (wide + high) / 2, wide * high / 2)


def meet(disc: Disc, toward: Floats, distances: Floats, grids: Grids, within: bool) -> Met:
    """Return the samples that rays meet at some distances from the middle of a disc.

    Args:
        disc: in px.
        toward: the rays' sine and cosine, (2, 1, n), or with more axes before the last.
        distances: as far as the round disc's middle, samples, (S, 1), or with more axes.
        grids: what is looked at.
        within: whether all of them are in the picture.
    """
    axes = (1,) * (distances.ndim - 1)
    sides = grids.sides.reshape(-1, *axes)
    place = toward * distances
    if disc[3:] != (1, 0):
        place[0] /= disc.stretch
        place[1] = disc.stretch * place[1] + disc.shear * place[0]
    place += np.array([disc.y + 0.5, disc.x + 0.5]).reshape(2, 1, *axes) / sides - 0.5
    nearest, seen = np.rint(place), None
    row, column = nearest
    if not within:
        last_row, last_column = grids.height / sides - 1, grids.width / sides - 1
        seen = (row >= 0) & (row <= last_row) & (column >= 0) & (column <= last_column)
        row, column = np.minimum(np.maximum(row, 0), last_row), np.minimum(np.maximum(column, 0), last_column)
    where = (row * (grids.width / sides) + column).astype(np.intp)
    return Met(where, seen, nearest, nearest - place)


def rim_of(disc: Disc, grids: Grids, within: bool) -> Rim:
    """Return what is to be seen of a disc's rim.

    Args:
        disc: in px.
        grids: on which, those of the smallest samples first.
        within: all of the disc is in the picture.
    """
    radius = disc.radius / grids.sides
    largest = float(radius[0, 0])
    rays = rays_of(STEP * math.ceil(max(DENSE * largest if largest < TINY else FEW, SPARSE * largest) / STEP))
    met = meet(disc, rays.toward, radius, grids, within)
    if disc[3:] != (1, 0):
        rays = _leaning(disc, rays)
    straight = sum(radius[:, 0] >= CURVED) if disc[3:] == (1, 0) else len(radius)
    coverage, length = np.empty((2, *met.where.shape))
    if straight:
        coverage[:straight], length[:straight] = _straight(met.off[:, :straight], rays, radius[:straight])
    if straight < len(radius):
        middle = np.array([disc.y + 0.5, disc.x + 0.5]).reshape(2, 1, 1) / grids.sides[straight:] - 0.5
        down, right = met.nearest[:, straight:] - middle
        coverage[straight:], length[straight:] = coverage_of(right, down, radius[straight:])
    if met.seen is not None:
        length *= met.seen
    return Rim(met.where, met.seen, coverage, length, rays.slopes)


def _leaning(disc: Disc, rays: Rays) -> Rays:
    """Return where an oval's rim faces, for each ray of the round disc that it is as seen through glasses."""
    sin, cos = rays.toward[:, 0]
    across, down = cos / disc.stretch, disc.stretch * sin - disc.shear / disc.stretch * cos
    norm = np.sqrt(across * across + down * down)
    return _rays_to(across / norm, down / norm, np.arctan2(sin, cos))


def _straight(off: Floats, rays: Rays, radius: Floats) -> tuple[Floats, Floats]:
    """Return what is covered of samples by a disc whose rim is nearly straight within them, and the rim's length there.

    Args:
        off: from where the rim meets the ray to the middle of the sample, down and right, (2, S, n).
        rays: in which directions.
        radius: samples, (S, 1).
    """
    outside = (off * rays.toward).sum(axis=0)
    # from where to where the straight line is in the sample, along it and from the ray on
    middle = off * rays.along
    end, begin = (middle + rays.half_across).min(axis=0), (middle - rays.half_across).max(axis=0)
    length = end - begin
    # of half of the sample it leaves a corner, or a corner and a strip
    beyond = rays.corner - np.abs(outside) - length * rays.sharp
    coverage = 0.5 - np.copysign(0.5 - length * beyond, outside)
    coverage -= length * (length * length + 3 * end * begin) / (6 * radius)  # the rim falls back from its tangent
    return coverage, length
