"""Where the film is in a picture that shows more than it: its light outline makes the film itself one large marker.

A `Mapping` says at which place of the picture a place of the film is seen: a homography, and one coefficient of a lens
that bends straight lines (barrel, pincushion). A first look finds what has four corners; then 60 points on each side of
the outline are measured across the line, by the centroid of its light, and the mapping is fitted to all of them at once
(Gauss-Newton). No marker in a corner says as much: 240 points, as far apart as can be.

All of this is seen from the film: its points are projected into the picture, and samples are taken there. So the
picture is rectified before the ball is looked for, as the centre of an ellipse is not that of the circle it once was.

Source: Hartley and Zisserman, "Multiple View Geometry", 4 and 7.4 (radial distortion).
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ball_track import Image
from protocol.picture_code import CELLS, CodeLayout, Reading, judge

Floats = npt.NDArray[np.float64]
Maps = tuple[npt.NDArray[Any], npt.NDArray[Any]]

POINTS = 60  # on each side
CORNER = 0.03  # of a side, at either end of which nothing is measured
SEARCHED = 960  # px; a larger picture is searched in a smaller copy
LEVELS = (48, 80, 112, 144, 176, 208)  # at which light is told from dark, besides what is light for its surroundings
MIN_AREA = 0.01  # of the picture, that a film fills
MOST_CANDIDATES = 24
ALIKE = 2.0  # px between the corners of two that are one
CONTOUR_POINTS = 300  # of a contour, that are looked at
MIN_LINE = 12.0  # levels by which the line is lighter than what is beside it
MIN_SEEN = 0.6  # of the points that must be there
MAX_RESIDUAL = 0.7  # px of the film, root mean square
CORE = 0.5  # of the line's height; what is below is also of what lies beside it, where the picture is out of focus
ACROSS = 31  # places across the line, at which it is looked at
STEPS = 6  # of Gauss-Newton, with each way to measure
SECTION = 5  # points of a side, most of which have to be seen
MAX_UNLIKE = 0.2  # of its height, by which the line may differ there from what it is elsewhere
MAX_BULGE = 0.5  # px of the film, by which they may be off: by more, it is something else that is seen there
CELL_POINTS = 6  # along either side of a cell, at which it is looked at
SNAP = 0.1  # px that a film shown as it is may seem to be off whole pixels


class Mapping(NamedTuple):
    """Where in the picture each place of the film is.

    parameters: (9,), eight of a homography and one of the lens, in halves of the film's and the picture's width from
    the middle of each; film, picture: (width, height), px.
    """

    parameters: Floats
    film: tuple[int, int]
    picture: tuple[int, int]

    def project(self, points: Floats) -> Floats:
        """Return where points of the film are in the picture, (..., 2) of x and y, px."""
        p, half, half_picture = self.parameters, self.film[0] / 2, self.picture[0] / 2
        u, v = ((points[..., axis] - (self.film[axis] - 1) / 2) / half for axis in (0, 1))
        w = p[6] * u + p[7] * v + 1
        a, b = (p[0] * u + p[1] * v + p[2]) / w, (p[3] * u + p[4] * v + p[5]) / w
        lens = (1 + p[8] * (a * a + b * b)) * half_picture
        return np.stack((a * lens + (self.picture[0] - 1) / 2, b * lens + (self.picture[1] - 1) / 2), axis=-1)


def mapping_of(film: tuple[int, int], picture: tuple[int, int], places: Floats, seen: Floats) -> Mapping:
    """Return the mapping that shows four places of the film where they are seen in the picture, (4, 2) each, px."""
    source, target = (
        ((points - (np.array(size) - 1) / 2) / (size[0] / 2)).astype(np.float32)
        for points, size in ((places, film), (seen, picture))
    )
    matrix = cv2.getPerspectiveTransform(source, target)
    return Mapping(np.append((matrix / matrix[2, 2]).ravel()[:8], 0.0), film, picture)


def grid_of(size: tuple[int, int], side: int = 1) -> Floats:
    """Return where the samples of one of a film's planes are, (rows, columns, 2) of x and y, px; side: of a sample."""
    width, height = size
    x, y = np.meshgrid(*(np.arange(length // side) * side + (side - 1) / 2 for length in (width, height)))
    return np.stack((x, y), axis=-1)


def maps_of(places: Floats) -> Maps:
    """Return places in a plane, (rows, columns, 2) of x and y in its samples, as OpenCV samples them quickest."""
    x, y = (places[..., axis].astype(np.float32) for axis in (0, 1))
    whole, part = cv2.convertMaps(x, y, cv2.CV_16SC2)
    return whole, part


def sample(plane: Image, maps: Maps) -> Image:
    """Return the levels of a plane at places in it, (rows, columns) uint8."""
    sampled = cv2.remap(plane, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled.astype(np.uint8, copy=False)


# --- The number, seen through a mapping ----------------------------------------------------------


class Seen(NamedTuple):
    """What is read of the number, and the mean levels of what is dark and of what is light there."""

    reading: Reading
    dark: float
    light: float


def read_through(luma: Image, layout: CodeLayout, mapping: Mapping) -> Seen:
    """Read the number of a film that is somewhere in a picture.

    Args:
        luma: (H, W) uint8, the picture's Y plane.
        layout: where the code is in the film.
        mapping: where the film is in the picture.
    """
    inner = (np.arange(CELL_POINTS) + 0.5) / CELL_POINTS * layout.cell / 2 + layout.cell / 4 - 0.5
    x = (layout.left + np.arange(CELLS)[:, None] * layout.cell + inner).ravel()
    y = np.concatenate((layout.top + inner, layout.bottom + inner))
    places = mapping.project(np.stack(np.meshgrid(x, y), axis=-1))
    levels = (
        sample(luma, maps_of(places)).astype(np.float64).reshape(2, CELL_POINTS, CELLS, CELL_POINTS).mean(axis=(1, 3))
    )
    return Seen(judge(*levels), float(levels[:, [1, 35]].mean()), float(levels[:, [0, 34]].mean()))


# --- The search ----------------------------------------------------------------------------------


def candidates(luma: Image, layout: CodeLayout) -> Iterator[Mapping]:
    """Return where a film may be in a picture, the largest first, and each way up in which it may be held."""
    height, width = luma.shape
    left, top, right, bottom = layout.outline
    bent = []
    for corners, contour, inner in _largest(_quads(luma)):
        off = layout.band / 4 * (-1 if inner else 1)  # from the middle of the line to the edge that was seen
        sides = left - off, top - off, right + off, bottom + off
        places = np.array([(sides[x], sides[y]) for x, y in ((0, 1), (2, 1), (2, 3), (0, 3))])
        for turn in range(4):
            seen = np.roll(corners, turn, axis=0)
            mapping = mapping_of((layout.width, layout.height), (width, height), places, seen)
            yield mapping
            bent.append((mapping, sides, contour))
    for mapping, sides, contour in bent:  # only where no straight one will do
        yield _fit_to_contour(mapping, sides, contour)


class _Quad(NamedTuple):
    """What has four corners.

    corners: (4, 2), clockwise; contour: around it, (N, 2), px; inner: it is a hole in what is light.
    """

    corners: Floats
    contour: Floats
    inner: bool


def _largest(quads: Iterable[_Quad]) -> list[_Quad]:
    """Return the largest ones, each once."""
    found: list[_Quad] = []
    for quad in sorted(quads, key=lambda quad: -cv2.contourArea(quad.corners.astype(np.float32))):
        alike = (each for each in found if each.inner == quad.inner)
        if all(np.abs(each.corners - quad.corners).max() > ALIKE for each in alike):
            found.append(quad)
        if len(found) == MOST_CANDIDATES:
            break
    return found


def _quads(luma: Image) -> Iterator[_Quad]:
    scale = min(1.0, SEARCHED / max(luma.shape))
    small = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else luma
    block = max(3, max(small.shape) // 16 | 1)
    masks = [cv2.threshold(small, level, 255, cv2.THRESH_BINARY)[1] for level in LEVELS]
    masks.append(cv2.adaptiveThreshold(small, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, block, -8))
    for mask in masks:
        contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        for contour, (*_, parent) in zip(contours, hierarchy[0] if hierarchy is not None else (), strict=True):
            hull = cv2.convexHull(contour)
            if cv2.contourArea(hull) < MIN_AREA * small.size:
                continue
            corners = cv2.approxPolyDP(hull, 0.03 * cv2.arcLength(hull, True), True)
            if len(corners) != 4:
                continue
            points = _clockwise(corners.reshape(4, 2).astype(np.float64))
            around = contour.reshape(-1, 2).astype(np.float64)
            yield _Quad((points + 0.5) / scale - 0.5, (around + 0.5) / scale - 0.5, parent >= 0)


def _clockwise(corners: Floats) -> Floats:
    """Return four corners clockwise, as they are seen, from the one that is nearest to the top left."""
    middle = corners.mean(axis=0)
    order = np.argsort(np.arctan2(corners[:, 1] - middle[1], corners[:, 0] - middle[0]))
    ordered: Floats = corners[order]
    return np.roll(ordered, -int(ordered.sum(axis=1).argmin()), axis=0)


# --- The fit -------------------------------------------------------------------------------------


def _sides(sides: tuple[float, float, float, float]) -> tuple[Floats, Floats]:
    """Return points on the four sides of a box (left, top, right, bottom), and which way is out there, (N, 2) each."""
    left, top, right, bottom = sides
    along = np.linspace(CORNER, 1 - CORNER, POINTS)
    x, y = left + along * (right - left), top + along * (bottom - top)
    points, outward = [], []
    for fixed, axis, out in ((left, 0, -1), (right, 0, 1), (top, 1, -1), (bottom, 1, 1)):
        side = np.full(POINTS, fixed)
        points.append(np.stack((side, y) if axis == 0 else (x, side), axis=-1))
        outward.append(np.tile((out, 0) if axis == 0 else (0, out), (POINTS, 1)))
    return np.concatenate(points), np.concatenate(outward).astype(np.float64)


def _step(mapping: Mapping, points: Floats, outward: Floats, seen: Floats, weights: Floats) -> tuple[Mapping, Floats]:
    """Return the mapping after one step towards where points are seen, and how far off each was across its line, px."""
    tangent = mapping.project(points + outward[:, ::-1]) - mapping.project(points - outward[:, ::-1])
    normal = tangent[:, ::-1] * (1, -1) / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    at = mapping.project(points)
    off: Floats = ((seen - at) * normal).sum(axis=1)
    columns = []
    for index in range(9):
        changed = mapping.parameters.copy()
        changed[index] += 1e-5
        columns.append(((mapping._replace(parameters=changed).project(points) - at) * normal).sum(axis=1) / 1e-5)
    jacobian = np.stack(columns, axis=1)
    change = np.linalg.lstsq(jacobian * weights[:, None], off * weights, rcond=None)[0]
    return mapping._replace(parameters=mapping.parameters + change), off


def _fit_to_contour(mapping: Mapping, sides: tuple[float, float, float, float], contour: Floats) -> Mapping:
    """Return a mapping by which the sides of a box lie on a contour: so what the lens does is known before the line."""
    points, outward = _sides(sides)
    contour = contour[:: 1 + len(contour) // CONTOUR_POINTS]
    for _ in range(STEPS):
        at = mapping.project(points)
        if not np.isfinite(at).all():
            return mapping
        nearest = contour[((at[:, None] - contour) ** 2).sum(axis=2).argmin(axis=1)]
        distance = np.linalg.norm(nearest - at, axis=1)
        near = (distance <= 3 * np.median(distance) + 1).astype(np.float64)
        mapping, _ = _step(mapping, points, outward, nearest, near)
    return mapping


class _Line(NamedTuple):
    """What is seen of the light line, at each point of `_sides`.

    points, outward: (N, 2); off: (N,) px of the film, by which its middle is farther out than it was taken to be;
    there: (N,) whether there is a line at all; light: (N, ACROSS) levels above what is beside it, the innermost first.
    """

    points: Floats
    outward: Floats
    off: Floats
    there: npt.NDArray[np.bool_]
    light: Floats

    def seen(self, mapping: Mapping) -> Floats:
        """Return where in the picture the middle of the line is, (N, 2), px."""
        return mapping.project(self.points + self.off[:, None] * self.outward)

    def by_side(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return `off` and `there` of each side, (4, POINTS)."""
        return self.off.reshape(4, POINTS), self.there.reshape(4, POINTS)

    def unlike(self) -> Floats:
        """Return by how much the line, as high as it is, differs from what it mostly is, (N,) of 0 to 1."""
        shape = self.light / np.maximum(self.light.max(axis=1, keepdims=True), 1e-9)
        unlike: Floats = np.abs(shape - np.median(shape[self.there], axis=0)).mean(axis=1)
        return unlike

    def weights(self) -> Floats:
        """Return 1 for each point that is there and off as the others are, 0 for the others, (N,)."""
        off = np.abs(self.off - np.median(self.off[self.there]))
        weights: Floats = (self.there & (off <= 3 * np.median(off[self.there]) + 0.5)).astype(np.float64)
        return weights


def _see_line(luma: Image, layout: CodeLayout, mapping: Mapping) -> _Line | None:
    """Return what is seen of the line around a film; None where a mapping leads nowhere."""
    points, outward = _sides(layout.outline)
    across = np.linspace(-1, 1, ACROSS) * (layout.band / 2 - 1)
    at = mapping.project(points[:, None] + across[:, None] * outward[:, None])
    if not np.isfinite(at).all():
        return None
    profile = sample(luma, maps_of(at)).astype(np.float64)
    base = profile[:, :1] + (profile[:, -1:] - profile[:, :1]) * np.linspace(0, 1, ACROSS)
    light = np.maximum(profile - base, 0)
    inside = ((at > 0) & (at < np.array(mapping.picture) - 1)).all(axis=(1, 2))
    core = np.maximum(profile - base - CORE * (profile.max(axis=1, keepdims=True) - base), 0)
    off = (core * across).sum(axis=1) / np.maximum(core.sum(axis=1), 1e-9)
    return _Line(points, outward, off, (light.max(axis=1) >= MIN_LINE) & inside, light)


def refine(luma: Image, layout: CodeLayout, mapping: Mapping) -> Mapping | None:
    """Fit a mapping to the light line around the film; None if there is no such line.

    Args:
        luma: (H, W) uint8, the picture's Y plane.
        layout: of the film.
        mapping: where the film is, to a few px.
    """
    for _ in range(STEPS):
        line = _see_line(luma, layout, mapping)
        if line is None or line.there.mean() < MIN_SEEN:
            return None
        weights = line.weights()
        mapping, _ = _step(mapping, line.points, line.outward, line.seen(mapping), weights)
        off = line.off[weights > 0]
    if len(off) < MIN_SEEN * len(weights) or np.sqrt((off**2).mean()) > MAX_RESIDUAL:
        return None
    return _snapped(mapping)


def _snapped(mapping: Mapping) -> Mapping:
    """Return the mapping of a film that is shown pixel by pixel, if it seems to be; what is given otherwise."""
    width, height = mapping.film
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    shift = mapping.project(corners) - corners
    whole = np.rint(shift.mean(axis=0))
    if np.abs(shift - whole).max() > SNAP:
        return mapping
    return mapping_of(mapping.film, mapping.picture, corners, corners + whole)


# --- Where it was --------------------------------------------------------------------------------


class Place(NamedTuple):
    """How a film lies, seen from where it was taken to be.

    moved: px of the film, by which that of its corners is elsewhere that has moved most; whole: nothing covers its
    outline, or cuts it off, and it is in one piece; blur: px of the film, the deviation of a Gaussian that would make
    the line as soft.
    """

    moved: float
    whole: bool
    blur: float


def place_of(luma: Image, layout: CodeLayout, mapping: Mapping) -> Place | None:
    """Measure whether a film is where it is taken to be; None if there is too little of its outline to say.

    Args:
        luma: (H, W) uint8, the picture's Y plane.
        layout: of the film.
        mapping: where the film was, in the picture before.
    """
    line = _see_line(luma, layout, mapping)
    if line is None or line.there.mean() < MIN_SEEN:
        return None
    now, _ = _step(mapping, line.points, line.outward, line.seen(mapping), line.weights())
    width, height = layout.width, layout.height
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    were, are = mapping.project(corners), now.project(corners)
    scale = np.sqrt(cv2.contourArea(were.astype(np.float32)) / (width * height))
    moved = max(float(np.abs(are - were).max() / max(scale, 1e-9)), *map(_aside, *line.by_side()))
    fits = line.there & (np.abs(line.off) <= MAX_BULGE) & (line.unlike() <= MAX_UNLIKE)
    whole = (fits.reshape(-1, SECTION).mean(axis=1) > 0.5).all()
    return Place(moved, bool(whole), _blur(line, layout))


def _aside(off: Floats, there: npt.NDArray[np.bool_]) -> float:
    """Return by how much a side of the outline is off as a whole, px of the film; 0 if it is not.

    The fit passes over it where the two sides across it are where they were: so a film that sinks has two such sides.
    """
    if there.mean() <= 0.5:
        return 0.0
    middle = float(np.median(off[there]))
    alike = float(np.median(np.abs(off[there] - middle))) <= MAX_BULGE
    return abs(middle) if alike and abs(middle) > MAX_BULGE else 0.0


def _blur(line: _Line, layout: CodeLayout) -> float:
    """Return how soft a line is, px of the film: an edge rises by 1 / (deviation * sqrt(2 pi)) a px at its steepest."""
    profile = np.median(line.light[line.there], axis=0)
    steepest = np.abs(np.diff(profile)).max() * (ACROSS - 1) / (layout.band - 2)
    return float((profile.max() - profile.min()) / max(steepest, 1e-9) / np.sqrt(2 * np.pi))
