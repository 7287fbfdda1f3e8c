"""common/disc.py: what a disc covers of each sample, against points in it; how that changes, against differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ball_track import MIN_RADIUS
from common.disc import Disc, area_in, coverage_of
from support.discs import coverage_of_all, share_of_points

ROWS, COLUMNS = 11, 13


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


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1.5, 12))
@settings(max_examples=40)
def test_coverage_of_agrees_with_that_of_all(x: float, y: float, radius: float) -> None:
    """Of single samples it says the same, and the length of the rim in each is how fast the disc gains as it moves."""
    size, h = 2 * math.ceil(radius) + 4, 1e-5
    disc = Disc(x + size / 2 - 0.5, y + size / 2 - 0.5, radius)
    rows, columns = np.mgrid[:size, :size]
    share, length = coverage_of(columns - disc.x, rows - disc.y, np.array(radius))
    assert np.abs(share - coverage_of_all(disc, size, size)).max() < 1e-9
    right, down = (
        coverage_of_all(disc._replace(x=disc.x + dx, y=disc.y + dy), size, size)
        - coverage_of_all(disc._replace(x=disc.x - dx, y=disc.y - dy), size, size)
        for dx, dy in ((h, 0), (0, h))
    )
    # where an edge of a sample touches the disc the chord grows like a square root
    assert np.abs(length - np.hypot(right, down) / (2 * h)).max() < 4 * math.sqrt(radius * h)


@given(st.floats(-5, 18), st.floats(-5, 16), st.floats(1, 12))
@settings(max_examples=25)
def test_area_is_what_is_in_the_picture(x: float, y: float, radius: float) -> None:
    """The area of a disc, cut by the edge of the picture or not, is known to a sample in each row."""
    share = share_of_points(Disc(x, y, radius), ROWS, COLUMNS).sum()
    assert abs(area_in(Disc(x, y, radius), ROWS, COLUMNS) - share) <= 2 * radius + 2
