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

from common.disc import Disc, Floats, Gradient, Indices, Plane, rim_of

RAYS = 64
ANGLES = np.arange(RAYS) * (2 * math.pi / RAYS)
EACH_RAY = np.arange(RAYS)
COS, SIN = np.cos(ANGLES), np.sin(ANGLES)
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
    seen = _share_seen(Disc(center_x, center_y, radius), rows, columns)
    if seen < LEAST_SEEN or _share_of_circle(x[good] - center_x, y[good] - center_y) < 0.8 * seen:
        return None
    if seen < 1 or good.sum() < 0.8 * RAYS:
        return Disc(center_x, center_y, radius)
    angle = np.arctan2(y - center_y, x - center_x)[good]
    distance = np.hypot(x - center_x, y - center_y)[good]
    cos2, sin2 = ((2 * (distance - radius) * wave(2 * angle)).mean() / radius for wave in (np.cos, np.sin))
    disc = Disc(center_x, center_y, radius, 1 + float(cos2), 2 * float(sin2))
    return disc if _is_round(disc) else None


def _share_seen(disc: Disc, rows: int, columns: int) -> float:
    """Return which share of a disc's rim is in a picture."""
    x, y = disc.x + disc.radius * COS, disc.y + disc.radius * SIN
    return float(((x > -1) & (x < columns) & (y > -1) & (y < rows)).mean())


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


class _Step(NamedTuple):
    """Where a layer says that a disc is, seen from where it was taken to be: along `Gradient`'s slopes, and how surely.

    along: (5,), in samples; information: 1 / variance of x or y; even: whether
    the rim is off as little in every direction.
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
    disc = start
    levels: dict[int, list[Floats | None]] = {}
    for _ in range(MAX_STEPS):
        along, total, even = [0.0] * 5, 0.0, 0.0
        for side, same in layers:
            local = _scaled(disc, side)
            if side not in levels:
                levels[side] = _levels_within(same, local, contrast)
            for step in _steps(same, levels[side], local):
                weight = step.information / side**2
                along = [sum_so_far + weight * side * part for sum_so_far, part in zip(along, step.along, strict=True)]
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
    """Return a disc moved, and grown, by a step along the slopes that `Gradient` names."""
    right, down, outward, wider, leaning = along
    radius = max(disc.radius + outward, 1.0)
    stretch, shear = disc.stretch * (1 + wider / radius), disc.shear + 2 * leaning / radius
    return Disc(disc.x + right, disc.y + down, radius, stretch, shear)


def _steps(layers: Sequence[Layer], levels: Sequence[Floats | None], disc: Disc) -> Iterator[_Step]:
    """Return for each layer that shows a disc where it really is."""
    if all(level is None for level in levels):
        return
    rows, columns = layers[0].plane.shape
    rim = rim_of(disc, rows, columns)
    oval = disc.radius > SMALLEST_OVAL and _is_within(disc, 0, rows, columns)
    slopes = np.array(rim.gradient if oval else rim.gradient[:3])
    try:
        inverse = np.linalg.inv(cv2.mulTransposed(slopes, aTa=False))  # NumPy would wake its threads
    except np.linalg.LinAlgError:  # too little of the rim is to be seen
        return
    weight = slopes[2] * slopes[2]
    weight /= weight.sum()
    for layer, level in zip(layers, levels, strict=True):
        if level is None:
            continue
        inside = level if len(level) == 1 else level[_direction(rim.gradient)]
        residual = (layer.plane[rim.rows, rim.columns] - float(layer.background)) / inside - rim.coverage
        along = inverse @ (slopes * residual).sum(axis=1)
        residual -= (along[:, None] * slopes).sum(axis=0)
        variance = float((weight * residual * residual).sum()) + 1 / (12 * float(level[0]) ** 2)  # and of rounding
        step = along.tolist() + [0.0] * (5 - len(along))
        if max(map(abs, step)) < MAX_STEP and variance < HARDEST:
            even = variance < SMOOTHEST or _worst_sector(residual, rim.gradient) < MAX_BULGE
            yield _Step(step, 2 / (variance * float(inverse[0, 0] + inverse[1, 1])), even)


def _worst_sector(residual: Floats, gradient: Gradient) -> float:
    """Return by how much more or less than it should a disc covers of its rim, in that sector where it is worst.

    A rim of whole samples is off by as much everywhere, up and down; what is no disc is off along one side.
    """
    sectors = min(SECTORS, len(residual) // 8)
    if sectors < 4:
        return 0.0
    sector = _direction(gradient) * sectors // RAYS
    total = np.bincount(sector, gradient.outward * residual, sectors)
    length = np.bincount(sector, gradient.outward, sectors)
    return float((np.abs(total) / np.maximum(length, 1)).max())


def _direction(gradient: Gradient) -> Indices:
    """Return for each sample on the rim the number of the ray that goes there."""
    angle = np.arctan2(gradient.down, gradient.right)
    return np.rint(angle * (RAYS / (2 * math.pi))).astype(np.intp) % RAYS


def _is_within(disc: Disc, margin: float, rows: int, columns: int) -> bool:
    """Return whether all of a disc, and a margin around it, is in a picture."""
    radius = disc.radius + margin
    across, down = radius * (disc.stretch + abs(disc.shear)), radius / disc.stretch
    return across <= disc.x + 0.5 <= columns - across and down <= disc.y + 0.5 <= rows - down


def _levels_within(layers: Sequence[Layer], disc: Disc, contrast: float) -> list[Floats | None]:
    """Return by how much a disc differs from each layer's background, just within its rim.

    Returns:
        (1,) for a disc of one level, (RAYS,) for one that is lit from one side; None where it hardly differs, or
        where what is around it is not the background.
    """
    within = [-min(depth, 0.8 * disc.radius) for depth in (2, 3, 4)]
    rows, columns, seen = _around(disc, (*within, 2.5, 3.5), *layers[0].plane.shape)
    levels: list[Floats | None] = []
    for plane, background in layers:
        differs = plane[rows, columns] - float(background)
        inner, outer = (
            np.sort(differs[part].ravel() if seen is None else differs[part][seen[part]])
            for part in (slice(3), slice(3, 5))
        )
        level = float(inner[len(inner) // 2]) if len(inner) else 0.0
        outside = float(outer[len(outer) // 2]) if len(outer) else 0.0
        if abs(level) < contrast or abs(outside) > contrast / 2:
            levels.append(None)
        elif inner[-1] - inner[0] < EVEN * abs(level):
            levels.append(np.array([level]))
        else:
            levels.append(
                _levels_by_ray(differs[:3] if seen is None else np.where(seen[:3], differs[:3], level), level)
            )
    return levels


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


def _around(
    disc: Disc, distances: Sequence[float], rows: int, columns: int
) -> tuple[Indices, Indices, npt.NDArray[np.bool_] | None]:
    """Return row and column of the samples at some distances outside of a rim, and whether they are in the picture.

    Returns:
        Three of (distances, RAYS), the first two of the nearest sample in the picture where one is not; None instead
        of the last where all are.
    """
    away = (disc.radius + np.array(distances))[:, None]
    down, right = away * (SIN / disc.stretch), away * (COS * disc.stretch)
    if disc.shear:
        right += disc.shear * down
    column, row = (right + (disc.x + 0.5)).astype(np.intp), (down + (disc.y + 0.5)).astype(np.intp)
    if _is_within(disc, max(distances) + 1, rows, columns):
        return row, column, None
    near_column, near_row = np.minimum(np.maximum(column, 0), columns - 1), np.minimum(np.maximum(row, 0), rows - 1)
    return near_row, near_column, (column == near_column) & (row == near_row)
