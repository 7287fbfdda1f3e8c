"""common/disc_paint.py: what is painted, against points in each sample, and against the exact coverage of every one."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common import disc_paint
from common.disc import Disc, Floats, Plane
from common.disc_paint import SMALL, Paint, paint
from support.discs import coverage_of_all, discs_near, share_of_points

ROWS, COLUMNS = 24, 28
LEVELS = ((16, 235), (128, 90), (128, 240))  # background and disc in Y, U and V


def painted(disc: Disc, rows: int = ROWS, columns: int = COLUMNS) -> list[Plane]:
    """Return the Y, U and V planes of a picture with a disc."""
    sides = (1, 2, 2)
    planes = [
        np.full((rows // side, columns // side), background, np.uint8)
        for side, (background, _) in zip(sides, LEVELS, strict=True)
    ]
    y, u, v = (Paint(plane, *levels) for plane, levels in zip(planes, LEVELS, strict=True))
    paint([(1, [y]), (2, [u, v])], disc)
    return planes


def in_larger_samples(disc: Disc, side: int) -> Disc:
    """Return a disc of a picture as it is among samples `side` px wide."""
    return Disc((disc.x + 0.5) / side - 0.5, (disc.y + 0.5) / side - 0.5, disc.radius / side)


def mixed(disc: Disc, rows: int = ROWS, columns: int = COLUMNS) -> list[Floats]:
    """Return what the planes have to show: every sample mixed by what is covered of it, and rounded."""
    return [
        np.rint(background + (level - background) * coverage_of_all(in_larger_samples(disc, side), *size))
        for side, (background, level) in zip((1, 2, 2), LEVELS, strict=True)
        for size in [(rows // side, columns // side)]
    ]


def differs(some: Sequence[Plane], others: Sequence[Floats] | Sequence[Plane]) -> list[tuple[int, list[int]]]:
    """Return where planes are not the same: number of the plane, row and column."""
    return [
        (n, place)
        for n, (one, other) in enumerate(zip(some, others, strict=True))
        for place in np.argwhere(one != other).tolist()
    ]


@given(discs_near(ROWS, COLUMNS, 3, 400))
@settings(max_examples=12)
def test_paint_agrees_with_points(disc: Disc) -> None:
    """Of whatever size, each sample is mixed by the share of the points in it that lie in the disc."""
    for side, plane, (background, level) in zip((1, 2, 2), painted(disc), LEVELS, strict=True):
        share = share_of_points(in_larger_samples(disc, side), *plane.shape)
        seen = (plane.astype(float) - background) / (level - background)
        assert np.abs(seen - share).max() < 0.012 + 0.5 / abs(level - background)


@given(discs_near(ROWS, COLUMNS, 3, 600))
@settings(max_examples=300)
@example(Disc(10, 10, 600))  # the whole picture
@example(Disc(-30, 10, 20))  # nothing of it
@example(Disc(10, 130, 90))
@example(Disc(-90, -90, 100))  # in the rows and the columns of the picture, but not in it
@example(Disc(-10, -10, 12))
def test_paint_shows_the_exact_coverage(disc: Disc) -> None:
    """Small or large, within the picture, cut or outside of it: each sample is as if all had been looked at."""
    assert not differs(painted(disc), mixed(disc))


@pytest.mark.parametrize("scale", [13, 17, 24, 29, 48])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (0.5, 0.5), (0.5, 0), (-0.5, 1.5), (1e-10, -1e-10)])
def test_paint_shows_a_rim_through_the_corners_of_samples(x: float, y: float, scale: int) -> None:
    """Where four samples meet on the rim, as they do on a circle with 3, 4 and 5 in it, each is what it has to be."""
    radius, size = 5.0 * scale, 10 * scale + 8
    disc = Disc(size // 2 + x, size // 2 + y, radius)
    assert not differs(painted(disc, size, size), mixed(disc, size, size))


def test_paint_shows_every_radius_at_the_edges() -> None:
    """From the smallest ball to one that fills the picture, at each wall, in each corner and in between."""
    rows, columns = 2 * 150, 2 * 160
    for radius in range(3, rows // 2 + 1):
        right, down = columns - 1 - 2 * (radius - 0.5), rows - 1 - 2 * (radius - 0.5)  # how far it can move
        places = [(a, b) for a in (0, 1, 0.377) for b in (0, 1, 0.619)]
        for a, b in (places[radius % 9], places[(radius + 4) % 9]):
            disc = Disc(radius - 0.5 + a * right, radius - 0.5 + b * down, radius)
            assert not differs(painted(disc, rows, columns), mixed(disc, rows, columns)), disc


@given(st.floats(0, 1), st.floats(0, 1), st.floats(30, 120))
@settings(max_examples=60)
def test_paint_paints_the_same_pixels_either_way(x: float, y: float, radius: float) -> None:
    """By its rim and by the whole box around it a disc looks the same, to the bit."""
    size = 2 * math.ceil(radius) + 8
    disc = Disc(size / 2 + x, size / 2 + y, radius)
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        for small in (0.0, SMALL, math.inf):
            patch.setattr(disc_paint, "SMALL", small)
            seen.append(painted(disc, size, size))
    assert not differs(seen[0], seen[1])
    assert not differs(seen[2], seen[1])
