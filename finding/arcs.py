"""Circles through a part of an outline: a ball of which something hides the rest.

An outline is a closed line of points, one from sample to sample. A circle explains it as far as long arcs of it are
covered by the outline, nothing of the outline lies beyond it, and what is within the outline fills the circle as a
disc that is cut straight would. So a ball half hidden is one, and what has corners, a hole or a second half is none.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]

POINTS = 96  # of an outline that are looked at
STARTS = 24  # of them from which circles are tried
REACHES = (6, 9, 14)  # into so many parts an outline is cut by three points that a circle is laid through
JUDGED = 3  # of the circles, those that most points are near
SECTORS = 32  # of a circle
LONG_ARC = 5  # sectors that an arc spans at least: between two corners of a pentagon there are 6, and 2 near a circle
MIN_SHARE = 0.46  # of a circle that has to be seen
MIN_FILL = 0.75  # of what a disc cut straight has within the same arc
MAX_BEYOND = 0.05  # share of the outline that may stick out
MIN_RADIUS = 4.0  # samples of a disc of which a part is seen


class Arc(NamedTuple):
    """A circle, in samples, and what of it is seen. share: 0 to 1; sectors: (SECTORS,), whether each one is."""

    x: float
    y: float
    radius: float
    share: float
    sectors: Flags


def find_arc(outline: npt.NDArray[np.int32], area: float) -> Arc | None:
    """Return the circle that explains an outline best, or None if none does.

    Args:
        outline: (n, 2), x and y, samples.
        area: of what is within, samples.
    """
    points = outline[np.linspace(0, len(outline), min(POINTS, len(outline)), endpoint=False).astype(np.intp)]
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    center_x, center_y, radius = _circles(x, y)
    off = np.abs(np.hypot(x - center_x[:, None], y - center_y[:, None]) - radius[:, None])
    near = off < _tolerance(radius)[:, None]
    best: Arc | None = None
    for n in np.argsort(-near.sum(axis=1) / np.sqrt(radius))[:JUDGED]:
        arc = _judge(x, y, near[n], area)
        if arc is not None and (best is None or arc.share > best.share):
            best = arc
    return best


def _tolerance(radius: Floats) -> Floats:
    """Return by how much an outline of whole samples may be off a circle, samples."""
    tolerance: Floats = 0.7 + 0.03 * radius
    return tolerance


def _circles(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the circles through three points each, of all over an outline: x, y and radius, (n,) each."""
    count = len(x)
    first = np.arange(0, count, max(1, count // STARTS))
    steps = np.array([max(1, count // reach) for reach in REACHES])
    a = np.repeat(first, len(steps))
    b, c = (a + np.tile(times * steps, len(first)) for times in (1, 2))
    ax, ay = x[a], y[a]
    bx, by, cx, cy = x[b % count] - ax, y[b % count] - ay, x[c % count] - ax, y[c % count] - ay
    twice = 2 * (bx * cy - by * cx)
    usable = np.abs(twice) > 1e-6
    ax, ay, bx, by, cx, cy, twice = (each[usable] for each in (ax, ay, bx, by, cx, cy, twice))
    b2, c2 = bx * bx + by * by, cx * cx + cy * cy
    dx, dy = (cy * b2 - by * c2) / twice, (bx * c2 - cx * b2) / twice
    radius = np.hypot(dx, dy) + 0.5  # the outline runs through the middle of its samples
    fits = radius < np.ptp(x) + np.ptp(y)
    return (ax + dx)[fits], (ay + dy)[fits], radius[fits] - 0.5


def fit_circle(x: Floats, y: Floats) -> tuple[float, float, float] | None:
    """Return the circle, x, y and radius, nearest to points, (n,) each; None if there is none. Source: Kasa, 1976."""
    if len(x) < 6:
        return None
    middle_x, middle_y = float(x.sum()) / len(x), float(y.sum()) / len(y)
    u, v = x - middle_x, y - middle_y
    square = u * u + v * v
    uu, uv, vv = float(u @ u), float(u @ v), float(v @ v)
    determinant = uu * vv - uv * uv
    if determinant <= 1e-9 * (uu + vv) ** 2:  # they are on a line
        return None
    du, dv = float(u @ square) / 2, float(v @ square) / 2
    right, down = (vv * du - uv * dv) / determinant, (uu * dv - uv * du) / determinant
    radius = math.sqrt(right * right + down * down + (uu + vv) / len(x))
    return middle_x + right, middle_y + down, radius


def bumps(outline: npt.NDArray[np.int32]) -> float:
    """Return by how much an outline, (n, 2), departs from the nearest oval around its middle, rms, of its radius."""
    x, y = (outline - outline.mean(axis=0)).T.astype(np.float64)
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    waves = np.stack([np.ones(len(x)), *(wave(n * angle) for n in (1, 2) for wave in (np.cos, np.sin))])
    oval, *_ = np.linalg.lstsq(waves.T, distance, rcond=None)
    off = distance - oval @ waves
    return math.sqrt(float((off * off).mean())) / float(oval[0])


def _judge(x: Floats, y: Floats, near: Flags, area: float) -> Arc | None:
    """Return the circle through the points that are near one, or None if it explains too little of the outline."""
    for _ in range(2):
        circle = fit_circle(x[near], y[near])
        if circle is None:
            return None
        center_x, center_y, radius = circle
        distance = np.hypot(x - center_x, y - center_y) - radius
        tolerance = float(_tolerance(np.array(radius)))
        near = np.abs(distance) < tolerance
    angle = np.arctan2(y - center_y, x - center_x)[near] * (SECTORS / (2 * math.pi))
    seen = 0  # a bit for each sector
    for sector in np.floor(angle).astype(np.intp) % SECTORS:
        seen |= 1 << int(sector)
    seen = _long_runs(_bridged(seen, radius))
    share = seen.bit_count() / SECTORS
    outer = radius + 0.5
    whole = math.pi * outer**2
    expected = whole * (share - math.sin(2 * math.pi * share) / (2 * math.pi))  # of a disc that is cut straight
    explains = (
        share >= MIN_SHARE
        and outer >= MIN_RADIUS
        and (distance > tolerance).mean() <= MAX_BEYOND
        and MIN_FILL * expected < area < 1.15 * whole
    )
    sectors = np.array([seen >> n & 1 for n in range(SECTORS)], np.bool_)
    return Arc(center_x, center_y, outer, share, sectors) if explains else None


def _turned(sectors: int, by: int) -> int:
    """Return sectors, a bit for each, moved on by so many."""
    by %= SECTORS
    return (sectors << by | sectors >> SECTORS - by) & (1 << SECTORS) - 1


def _bridged(sectors: int, radius: float) -> int:
    """Return sectors, those filled in that a small circle's outline has no point in by chance."""
    if radius > SECTORS / 4:
        return sectors
    return sectors | _turned(sectors, 1) & _turned(sectors, -1)


def _long_runs(sectors: int) -> int:
    """Return sectors without those that are not part of a long run."""
    begins, kept = sectors, 0  # where a long run begins
    for shift in range(1, LONG_ARC):
        begins &= _turned(sectors, -shift)
    for shift in range(LONG_ARC):
        kept |= _turned(begins, shift)
    return kept
