"""common/disc.py: what a disc covers of each sample, against points in it; how that changes, against differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ball_track import MIN_RADIUS
from common import disc as geometry
from common.disc import Disc, area_in, rim_of
from support.discs import coverage_of_all, discs_near, share_of_points

ROWS, COLUMNS = 11, 13


@given(discs_near(ROWS, COLUMNS, 1.5, 400, lean=0.08))
@settings(max_examples=40)
def test_rim_covers_what_points_say(disc: Disc) -> None:
    """Each sample that the rim passes through is in the rim, with what the disc, round or oval, covers of it."""
    share = share_of_points(disc, ROWS, COLUMNS)
    rim = rim_of(disc, ROWS, COLUMNS)
    off = 0.012 if disc[3:] == (1, 0) and disc.radius <= geometry.STRAIGHT else 0.06
    assert np.abs(rim.coverage - share[rim.rows, rim.columns]).max(initial=0) < off
    partly = (share > 0.06) & (share < 0.94)
    partly[rim.rows, rim.columns] = False
    assert not partly.any()


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.3, 60))
def test_coverage_adds_up_to_the_disc(x: float, y: float, radius: float) -> None:
    """The shares add up to pi r^2, and from the smallest ball on their centroid is the centre."""
    size = 2 * math.ceil(radius) + 4
    x, y = x + size / 2 - 0.5, y + size / 2 - 0.5
    share = coverage_of_all(Disc(x, y, radius), size, size)
    assert share.sum() == pytest.approx(math.pi * radius**2, rel=1e-7)
    assert share.min() >= 0
    assert share.max() <= 1
    if radius >= MIN_RADIUS:
        rows, columns = np.mgrid[:size, :size]
        assert (share * columns).sum() / share.sum() == pytest.approx(x, abs=0.003)
        assert (share * rows).sum() / share.sum() == pytest.approx(y, abs=0.003)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1.5, 40))
@settings(max_examples=40)
def test_gradient_is_the_difference_of_coverage(x: float, y: float, radius: float) -> None:
    """What moving or growing the disc by a little changes is what the gradient says."""
    size = 2 * math.ceil(radius) + 4
    disc, h = Disc(x + size / 2 - 0.5, y + size / 2 - 0.5, radius), 1e-5
    rim = rim_of(disc, size, size)
    for gradient, dx, dy, growth in zip(rim.gradient[:3], (h, 0, 0), (0, h, 0), (0, 0, h), strict=True):
        after, before = (
            coverage_of_all(Disc(disc.x + s * dx, disc.y + s * dy, radius + s * growth), size, size) for s in (1, -1)
        )
        difference = ((after - before) / (2 * h))[rim.rows, rim.columns]
        off = np.abs(gradient - difference)
        if radius <= geometry.STRAIGHT:  # where an edge of a sample touches the disc the chord grows like a square root
            assert off.max() < 3 * math.sqrt(radius * h) + (0.15 / radius**2 if growth else 1e-6)
        else:
            assert off.mean() < 0.04


@given(st.floats(-5, 18), st.floats(-5, 16), st.floats(1, 12))
@settings(max_examples=25)
def test_area_is_what_is_in_the_picture(x: float, y: float, radius: float) -> None:
    """The area of a disc, cut by the edge of the picture or not, is known to a sample in each row."""
    share = share_of_points(Disc(x, y, radius), ROWS, COLUMNS).sum()
    assert abs(area_in(Disc(x, y, radius), ROWS, COLUMNS) - share) <= 2 * radius + 2
