"""common/rim.py: what a disc covers of the samples on its rim, against what is known exactly, and against points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.disc import Disc, Floats
from common.rim import STEP, Grids, Rim, rays_of, rim_of
from support.discs import discs_near, share_of_points

HEIGHT, WIDTH = 26, 34  # px


def grids(*sides: float) -> Grids:
    """Return grids of a picture of HEIGHT x WIDTH px."""
    return Grids(np.array(sides)[:, None], HEIGHT, WIDTH)


def share_of(disc: Disc, side: int) -> Floats:
    """Return the share of points in each sample of a grid that lie in a disc, (rows, columns)."""
    return share_of_points(disc, HEIGHT, WIDTH, side, fine=32)


def discs(lean: float = 0.0) -> st.SearchStrategy[Disc]:
    """Return discs whose rim passes through the picture, or nearly."""
    return discs_near(HEIGHT, WIDTH, 3, 400, lean)


def agrees(rim: Rim, disc: Disc, n: int, side: int, off: float) -> None:
    """Check one grid of a rim against points."""
    share = share_of(disc, side)
    seen = np.ones(rim.where.shape[1], np.bool_) if rim.seen is None else rim.seen[n]
    where = rim.where[n][seen]
    assert np.abs(rim.coverage[n][seen] - share.ravel()[where]).max(initial=0) < off
    assert not rim.length[n][~seen].any()


@given(discs())
@settings(max_examples=30)
def test_rim_covers_what_points_say(disc: Disc) -> None:
    """Of each sample that a ray meets, on both grids and at the edge of the picture, the coverage is that of points."""
    rim = rim_of(disc, grids(1, 2), within=False)
    agrees(rim, disc, 0, 1, 0.02)
    agrees(rim, disc, 1, 2, 0.02)


@given(discs(lean=0.08))
@settings(max_examples=30)
def test_rim_of_an_oval_covers_what_points_say(disc: Disc) -> None:
    """An oval disc, however it leans, is covered as points say, as nearly as its curvature is known."""
    rim = rim_of(disc, grids(1), within=False)
    agrees(rim, disc, 0, 1, 0.02 + 0.3 / disc.radius)


@given(discs())
@settings(max_examples=30)
def test_rays_meet_every_sample_on_the_rim(disc: Disc) -> None:
    """What the rim passes through by more than a corner is met by a ray, where there are two for each."""
    rim = rim_of(disc, grids(1), within=False)
    if disc.radius * 2 * math.pi > rim.where.shape[1] / 2:
        return
    share = share_of(disc, 1)
    assert rim.seen is not None
    share.ravel()[rim.where[0][rim.seen[0]]] = 1
    assert not ((share > 0.1) & (share < 0.9)).any()


@given(st.floats(12, 13), st.floats(12, 13), st.floats(3, 11), st.sampled_from([(0, 1), (1, 0)]))
@settings(max_examples=30)
def test_a_step_along_the_slopes_goes_back_to_the_disc(x: float, y: float, radius: float, way: tuple[int, int]) -> None:
    """By what the coverage of a disc a little aside differs, least squares find by how much it is."""
    near, disc, h = Disc(x, y, radius), Disc(x + 0.02 * way[0], y + 0.02 * way[1], radius + 0.01), 0.002
    rim = rim_of(near, grids(1), within=True)
    difference = share_of(disc, 1).ravel()[rim.where[0]] - rim.coverage[0]
    slopes = rim.slopes[:3]
    along = np.linalg.solve((slopes * rim.length[0]) @ slopes.T, slopes @ difference)
    assert along == pytest.approx([0.02 * way[0], 0.02 * way[1], 0.01], abs=2 * h + 0.004)


def test_rays_are_none_along_an_axis_and_known_once() -> None:
    """Between two samples a ray along an axis could not choose, and a line across it would meet no edge."""
    rays = rays_of(STEP)
    assert np.abs(rays.toward).min() > 0.04
    assert rays is rays_of(STEP)
