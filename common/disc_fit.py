"""Find a disc by its rim: a rough one by rays from within it, an exact one by least squares.

Only the rim says where a disc is. So what is looked at costs the rim, noise and ghosts elsewhere move nothing, and
of a disc that the edge of the picture cuts the rest is enough. All lengths are in samples of the plane at hand.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from common.disc import Disc, Floats, Plane
from common.rim import Grids, meet, rays_of, rim_of

RAYS = 64
ANGLES = (np.arange(RAYS) + 0.5) * (2 * math.pi / RAYS)
EACH_RAY = np.arange(RAYS)
COS, SIN = np.cos(ANGLES), np.sin(ANGLES)
TOWARD = rays_of(RAYS).toward[:, None]  # (2, 1, 1, RAYS)
BESIDE = np.array([[-2.0], [-3.0], [-4.0], [2.5], [3.5]])  # samples outside of the rim, where a disc's level is seen
INNER = 3  # of these, within it
ASIDE = np.arange(-6.0, 7)[:, None]  # samples outside of a rim that may be off by half of that
LEAST_SEEN = 0.45  # share of the rim that has to be in the picture
MAX_STRETCH = 1.2  # width to height, or the other way round, of what is a disc all the same
SMOOTH = (EACH_RAY[:, None] + np.arange(-2, 3)) % RAYS  # the rays whose mean is taken
HARDEST = 0.16  # variance on the rim, of the contrast squared; a rim of whole samples has 0.09 to 0.15
DARKEST, BRIGHTEST = 0.3, 1.5  # shares of a disc's level between which its sides may be lit; more is a highlight
EVEN = 0.1  # by how much the level of a disc that is lit evenly may vary along its rim
SMALLEST_OVAL = 4.0  # samples of radius, from which on it is told from a circle
SHORT_STEP = 0.05  # samples; what one step of Gauss and Newton is exact enough for
SECTORS = 16  # in which the rim is looked at one by one
MAX_BULGE = 0.3  # share of a sample's width by which one of them may stand out, or back
SMOOTHEST = MAX_BULGE**2 / SECTORS  # variance on the rim, below which none does
MAX_STEPS = 5
MAX_STEP = 1.5  # samples; a fit that has to go further has not been begun at the rim


# --- Roughly -------------------------------------------------------------------------------------


def find_rim(picture: Plane, x: float, y: float, reach: float) -> Disc | None:
    """Return the disc around a point, roughly, or None if what is there is none.

    Along each ray from the point the rim is where the picture falls most steeply; a circle, or an ellipse where all
    of it is to be seen, is fitted to those places.

    Args:
        picture: (rows, columns) uint8, by how much each sample differs from the background.
        x, y: a point well within the disc.
        reach: how far its rim is from there at most.
    """
    rho = np.arange(0, reach + 4, 0.5)
    profile = cv2.remap(
        picture.astype(np.float32),
        (x + COS[:, None] * rho).astype(np.float32),
        (y + SIN[:, None] * rho).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    half = 3 if reach > 6 else 2  # steps on either side of the rim
    fall = profile[:, : -2 * half] - profile[:, 2 * half :]
    at = fall.argmax(axis=1)
    steepest = fall[EACH_RAY, at]
    near = profile[EACH_RAY[:, None], at[:, None] + np.arange(2 * half + 1)]
    low, high = near[:, -1], near[:, 0]
    share = ((near[:, 1:-1] - low[:, None]) / np.maximum(high - low, 1)[:, None]).clip(0, 1)
    edge = (at + share.sum(axis=1) + 0.5) * 0.5
    good = (steepest > max(1.0, 0.5 * float(np.median(steepest)))) & (low < 0.35 * high)
    return _fit_circle(x + edge * COS, y + edge * SIN, good, *picture.shape)


def approach(layer: "Layer", side: int, disc: Disc) -> Disc | None:
    """Return a round disc moved to where one is seen that is some samples off, or None if none is.

    Args:
        layer: in which it is seen well.
        side: of its samples, px.
        disc: in px; it is moved, and grows, by less than half of its radius.
    """
    rows, columns = layer.plane.shape
    local = _scaled(disc, side)
    y, x = TOWARD[:, 0] * (local.radius + ASIDE) + np.array([local.y, local.x])[:, None, None]
    x, y = x.astype(np.float32), y.astype(np.float32)
    seen = cv2.remap(layer.plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    differs = seen - float(layer.background)
    level = float(np.sort(differs[:INNER], axis=None)[INNER * RAYS // 2])
    if not level:
        return None
    edge = np.minimum(np.maximum(differs / level, 0), 1).sum(axis=0) + (ASIDE[0, 0] - 0.5)
    slopes = rays_of(RAYS).slopes[:3]
    used = slopes
    if not _is_within(local, ASIDE[-1, 0], rows, columns):
        used = slopes * ((x[-1] > 0) & (x[-1] < columns - 1) & (y[-1] > 0) & (y[-1] < rows - 1))
    found, along = cv2.solve(used @ slopes.T, used @ edge[:, None], flags=cv2.DECOMP_CHOLESKY)
    steps = along[:, 0].tolist()
    if not found or max(map(abs, steps)) > min(ASIDE[-1, 0], local.radius / 2):  # so far off, it was not seen
        return None
    right, down, outward = (side * step for step in steps)
    radius = disc.radius + outward
    radius += (right * right + down * down) / (4 * radius)  # seen from beside its middle a disc is smaller
    return Disc(disc.x + right, disc.y + down, radius)


def is_seen(disc: Disc, rows: int, columns: int) -> bool:
    """Return whether enough of a disc's rim is in a picture to say where it is."""
    return _is_within(disc, 0, rows, columns) or _share_seen(disc, rows, columns) >= LEAST_SEEN


def _fit_circle(x: Floats, y: Floats, good: npt.NDArray[np.bool_], rows: int, columns: int) -> Disc | None:
    """Return the circle, or nearly, through the points that are good, as far as most of them lie on it.

    Args:
        x, y: (RAYS,).
        rows, columns: the size of the picture; of a rim that it cuts, the rest has to be there.
    """
    # at the edge of the picture it may be the picture that ends, and not the disc
    chosen = good & (x > 0.5) & (x < columns - 1.5) & (y > 0.5) & (y < rows - 1.5)
    for _ in range(3):
        if chosen.sum() < RAYS // 4:
            return None
        points = np.stack((x[chosen], y[chosen], np.ones(chosen.sum())), axis=1)
        squares = points[:, 0] ** 2 + points[:, 1] ** 2
        solution, _, rank, _ = np.linalg.lstsq(points, squares, rcond=None)  # Kasa, 1976
        square = float(solution[2] + (solution[0] ** 2 + solution[1] ** 2) / 4)
        if rank < 3 or square <= 0:
            return None
        center_x, center_y, radius = float(solution[0]) / 2, float(solution[1]) / 2, math.sqrt(square)
        off = np.abs(np.hypot(x - center_x, y - center_y) - radius)
        chosen = good & (off < max(0.75, 2.5 * float(np.median(off[chosen]))))
    good = chosen
    seen = _share_seen(Disc(center_x, center_y, radius), rows, columns, 0.5)
    if seen < LEAST_SEEN or _share_of_circle(x[good] - center_x, y[good] - center_y) < 0.8 * seen:
        return None
    if seen < 1 or good.sum() < 0.8 * RAYS:
        return Disc(center_x, center_y, radius)
    angle = np.arctan2(y - center_y, x - center_x)[good]
    distance = np.hypot(x - center_x, y - center_y)[good]
    cos2, sin2 = ((2 * (distance - radius) * wave(2 * angle)).mean() / radius for wave in (np.cos, np.sin))
    disc = Disc(center_x, center_y, radius, 1 + float(cos2), 2 * float(sin2))
    return disc if _is_round(disc) else None


def _share_seen(disc: Disc, rows: int, columns: int, beside: float = 0.0) -> float:
    """Return which share of a disc's rim is in a picture, or so many samples beside it."""
    x, y = disc.x + 0.5 + disc.radius * COS, disc.y + 0.5 + disc.radius * SIN
    return float(((x > -beside) & (x < columns + beside) & (y > -beside) & (y < rows + beside)).mean())


def _is_round(disc: Disc) -> bool:
    """Return whether a disc is round, or an ellipse that is nearly so."""
    return math.hypot(disc.stretch**2 - 1, disc.shear) < MAX_STRETCH - 1


def _share_of_circle(x: Floats, y: Floats) -> float:
    """Return over which share of a circle points around its centre are spread."""
    sectors = np.unique(np.floor((np.arctan2(y, x) / (2 * math.pi) % 1) * 32))
    return len(sectors) / 32


# --- Exactly -------------------------------------------------------------------------------------


class Layer(NamedTuple):
    """A plane that a disc is seen in. plane: (rows, columns) uint8; background: its level around the disc."""

    plane: Plane
    background: int


class _Sight(NamedTuple):
    """A layer in which a disc differs from the background.

    samples: of its plane, flat; background: their level around the disc; grid: the index of theirs; level: by how much
    they differ just within the rim, (1,) for a disc of one level, (RAYS,) for one that is lit from one side.
    """

    samples: Plane
    background: float
    grid: int
    level: Floats


class _Step(NamedTuple):
    """Where a layer says that a disc is, seen from where it was taken to be, and how surely.

    along: as `Rim.slopes`, (5,), samples; information: 1 / variance of x or y; even: whether the rim is off as little
    in every direction.
    """

    along: Sequence[float]
    information: float
    even: bool


def fit_disc(layers: Sequence[tuple[int, Sequence[Layer]]], start: Disc, contrast: float) -> Disc | None:
    """Return the disc at whose rim the layers fall from their own level to the background's, begun at one that is near.

    One step of Gauss and Newton, and another as long as they are long. How much the samples on the rim differ from
    what the disc covers of them tells how far a layer is to be trusted.

    Args:
        layers: those of one size each with the side of their samples, px.
        start: in px.
        contrast: by how much the disc has to differ from the background.

    Returns:
        The disc, in px; None where no layer shows one there.
    """
    grids, sights = _sights(layers, start, contrast)
    disc = start
    for _ in range(MAX_STEPS if sights else 0):
        along, total, even = [0.0] * 5, 0.0, 0.0
        for side, step in _steps(grids, sights, disc):
            weight = step.information / side**2
            along = [so_far + weight * side * part for so_far, part in zip(along, step.along, strict=True)]
            total += weight
            even += weight * step.even
        if not total:
            return None
        along = [part / total for part in along]
        disc = _moved(disc, along)
        if not _is_round(disc):
            return None
        if max(map(abs, along)) < SHORT_STEP:
            return disc if even > total / 2 else None
    return None


def _scaled(disc: Disc, side: int) -> Disc:
    """Return a disc in px as it is in samples that are so many px wide; the middle of the first one is at 0."""
    return Disc((disc.x + 0.5) / side - 0.5, (disc.y + 0.5) / side - 0.5, disc.radius / side, disc.stretch, disc.shear)


def _moved(disc: Disc, along: Sequence[float]) -> Disc:
    """Return a disc moved, and grown, by a step along the slopes that `Rim` names; what is hardly oval is round."""
    right, down, outward, wider, leaning = along
    radius = max(disc.radius + outward, 1.0)
    stretch, shear = disc.stretch * (1 + wider / radius), disc.shear + 2 * leaning / radius
    if max(abs(stretch - 1), abs(shear)) * radius < SHORT_STEP:
        stretch, shear = 1.0, 0.0
    return Disc(disc.x + right, disc.y + down, radius, stretch, shear)


def _steps(grids: Grids, sights: Sequence[_Sight], disc: Disc) -> Iterator[tuple[float, _Step]]:
    """Return for each layer that shows a disc where it really is, and the side of its samples."""
    within = _is_within(disc, 0, grids.height, grids.width)
    rim = rim_of(disc, grids, within)
    slopes, rays = rim.slopes, rim.slopes.shape[1]
    matrices = (slopes * rim.length[:, None]) @ slopes.T
    lengths = rim.length.sum(axis=1).tolist()
    of = [sight.grid for sight in sights]
    residual, length, along = np.empty((len(of), rays)), rim.length[of], np.zeros((len(of), 5))
    for k, (n, sight) in enumerate(zip(of, sights, strict=True)):
        level = sight.level if len(sight.level) == 1 else np.repeat(sight.level, rays // RAYS)
        np.divide(sight.samples[rim.where[n]] - sight.background, level, out=residual[k])
    residual -= rim.coverage[of]
    if rim.seen is not None:
        residual *= rim.seen[of]
    wanted = residual @ slopes.T
    radii = (disc.radius / grids.sides[of, 0]).tolist()
    solved = []
    for k, (n, radius) in enumerate(zip(of, radii, strict=True)):
        count = 5 if within and radius > SMALLEST_OVAL else 3
        found, solution = cv2.solve(matrices[n][:count, :count], wanted[k, :count, None], flags=cv2.DECOMP_CHOLESKY)
        along[k, :count] = solution[:, 0]
        solved.append(found)
    residual -= (along @ slopes) * length
    squares = (residual * residual * length).sum(axis=1).tolist()
    steps = along.tolist()
    for k, (n, radius) in enumerate(zip(of, radii, strict=True)):
        if not solved[k]:  # too little of the rim is to be seen
            continue
        variance = squares[k] / lengths[n] + 1 / (12 * float(sights[k].level[0]) ** 2)  # and of rounding
        if max(map(abs, steps[k])) < MAX_STEP and variance < HARDEST:
            seen = None if rim.seen is None else rim.seen[n]
            even = variance < SMOOTHEST or _worst_sector(residual[k], seen, radius) < MAX_BULGE
            met = min(1.0, 2 * math.pi * radius / rays)  # samples on the rim, a ray
            yield float(grids.sides[n, 0]), _Step(steps[k], met * lengths[n] / variance, even)


def _worst_sector(residual: Floats, seen: npt.NDArray[np.bool_] | None, radius: float) -> float:
    """Return by how much more or less than it should a disc covers of its rim, in that sector where it is worst.

    A rim of whole samples is off by as much everywhere, up and down; what is no disc is off along one side.
    """
    sectors = SECTORS
    while sectors > 1.15 * radius:
        sectors //= 2
    if sectors < 4:
        return 0.0
    total = residual.reshape(sectors, -1).sum(axis=1)
    count = len(residual) // sectors if seen is None else np.maximum(seen.reshape(sectors, -1).sum(axis=1), 1)
    return float(np.abs(total / count).max())


def _is_within(disc: Disc, margin: float, rows: float, columns: float) -> bool:
    """Return whether all of a disc, and a margin around it, is in a picture."""
    radius = disc.radius + margin
    across, down = radius * (disc.stretch + abs(disc.shear)), radius / disc.stretch
    return across <= disc.x + 0.5 <= columns - across and down <= disc.y + 0.5 <= rows - down


def _sights(
    layers: Sequence[tuple[int, Sequence[Layer]]], disc: Disc, contrast: float
) -> tuple[Grids, Sequence[_Sight]]:
    """Return the layers in which a disc differs from the background just within its rim, and nothing around it does.

    Returns:
        The grids of those that do, and in which of them each is.
    """
    (side, ((plane, _), *_)), *_ = layers
    grids = Grids(np.array([[float(side)] for side, _ in layers]), side * plane.shape[0], side * plane.shape[1])
    radius = disc.radius / grids.sides[:, None]  # (S, 1, 1)
    distances = radius + np.maximum(BESIDE, -0.8 * radius)
    margin = (BESIDE[-1, 0] + 1) * float(grids.sides[-1, 0])
    met = meet(disc, TOWARD, distances, grids, _is_within(disc, margin, grids.height, grids.width))
    sights = []
    for n, (_, same) in enumerate(layers):
        for layer in same:
            samples, background = layer.plane.reshape(-1), float(layer.background)
            differs = samples[met.where[n]] - background
            if met.seen is not None:
                differs[~met.seen[n]] = np.inf
            level = _level_within(differs[:INNER], differs[INNER:], contrast)
            if level is not None:
                sights.append(_Sight(samples, background, n, level))
    used = sorted({sight.grid for sight in sights})
    if len(used) < len(layers):
        grids = grids._replace(sides=grids.sides[used])
        sights = [sight._replace(grid=used.index(sight.grid)) for sight in sights]
    return grids, sights


def _level_within(inner: Floats, outer: Floats, contrast: float) -> Floats | None:
    """Return by how much a disc differs from the background just within its rim.

    Args:
        inner, outer: by how much samples within and outside of it do, (depths, RAYS); infinite where there is none.
        contrast: by how much it has to.

    Returns:
        (1,) for a disc of one level, (RAYS,) for one that is lit from one side; None where it hardly differs, or where
        what is around it is not the background.
    """
    flat, around = np.sort(inner, axis=None), np.sort(outer, axis=None)
    counts = [int(each.searchsorted(np.inf)) for each in (flat, around)]
    medians = [each[count // 2] if count else 0.0 for each, count in zip((flat, around), counts, strict=True)]
    level, outside = map(float, medians)
    if abs(level) < contrast or abs(outside) > contrast / 2:
        return None
    if flat[counts[0] - 1] - flat[0] < EVEN * abs(level):
        return np.array([level])
    return _levels_by_ray(np.where(np.isinf(inner), level, inner), level)


def _levels_by_ray(inner: Floats, level: float) -> Floats:
    """Return the level along the rim, (1,) or (RAYS,).

    Args:
        inner: samples just within the rim, (depths, RAYS).
        level: their median.
    """
    smooth = inner.sum(axis=0)[SMOOTH].sum(axis=1) / (len(inner) * SMOOTH.shape[1])
    if np.abs(smooth - level).max() < EVEN * abs(level):
        return np.array([level])
    share: Floats = np.maximum(smooth / level, DARKEST)
    share[share > BRIGHTEST] = 1
    share *= level
    return share
