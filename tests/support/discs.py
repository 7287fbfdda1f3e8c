"""Discs in tests: where they are, and what they cover of every sample, by points and exactly."""

import math

import numpy as np
from hypothesis import strategies as st

from common import disc as geometry
from common.disc import Disc, Floats


@st.composite
def discs_near(pick: st.DrawFn, rows: int, columns: int, least: float, most: float, lean: float = 0.0) -> Disc:
    """Return discs whose rim passes through a grid of samples, or nearly."""
    radius, angle = pick(st.floats(least, most)), pick(st.floats(0, 2 * math.pi))
    x, y = pick(st.floats(-1, columns)), pick(st.floats(-1, rows))
    stretch, shear = 1 + pick(st.floats(-lean, lean)), pick(st.floats(-lean, lean))
    return Disc(x - radius * math.cos(angle), y - radius * math.sin(angle), radius, stretch, shear)


def share_of_points(disc: Disc, rows: int, columns: int, side: int = 1, fine: int = 64) -> Floats:
    """Return the share of points in each sample that lie in a disc.

    Args:
        disc: in px.
        rows, columns: of the picture, px.
        side: of a sample, px.
        fine: points along either side of a px.

    Returns:
        (rows / side, columns / side).
    """
    down, right = ((np.arange(length * fine) + 0.5) / fine - 0.5 for length in (rows, columns))
    down, right = (down - disc.y)[:, None], right - disc.x
    inside = np.hypot((right - disc.shear * down) / disc.stretch, down * disc.stretch) < disc.radius
    step = side * fine
    share: Floats = inside.reshape(rows // side, step, columns // side, step).mean(axis=(1, 3))
    return share


def coverage_of_all(disc: Disc, rows: int, columns: int) -> Floats:
    """Return what a round disc covers of every sample, (rows, columns), exactly."""
    u, half_u = geometry._chords(np.arange(columns + 1) - 0.5 - disc.x, disc.radius)
    v, half_v = geometry._chords(np.arange(rows + 1)[:, None] - 0.5 - disc.y, disc.radius)
    return geometry._coverage(geometry._Edges(disc.radius, u, v, half_u, half_v))
