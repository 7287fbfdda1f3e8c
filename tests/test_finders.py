"""examples/finders.py: each finds a ball that is drawn for it, and none where there is none."""

import math
from collections.abc import Callable
from typing import Any

import cv2
import pytest

from ball_track import COLORS, Image, Scene, blank, draw
from examples import finders

Finder = Callable[[Any], tuple[float, float] | None]

COSTS = {  # px that each way may be off on a clean picture; the benchmark measures it on decoded ones
    "hough": 3.0,
    "threshold": 0.3,
    "contours": 0.5,
    "hsv_white": 0.3,
    "hsv_blue": 0.3,
    "blob": 0.3,
    "template": 1.0,
    "background": 1.0,
}


def make(name: str) -> Finder:
    """Return a finder that has seen nothing yet."""
    return finders.Background() if name == "background" else getattr(finders, name)


def to_bgr(image: Image) -> Any:
    """Return an I420 image as (H, W, 3) uint8 BGR."""
    return cv2.cvtColor(image, cv2.COLOR_YUV2BGR_I420)


@pytest.mark.parametrize("name", COSTS)
def test_finder_finds_a_drawn_ball(name: str) -> None:
    """From picture to picture it says where the ball is, as a pair of numbers, as well as that way can."""
    scene = Scene(color=COLORS["blue" if name == "hsv_blue" else "white"])
    find = make(name)
    for _ in range(60 if name == "background" else 0):
        find(to_bgr(blank(640, 480)))  # it has to have seen the background first
    for k in range(12):
        found = find(to_bgr(draw(scene, scene.position(k))))
        assert found is not None
        x, y = found
        assert math.dist((float(x), float(y)), scene.position(k)) < COSTS[name]


@pytest.mark.parametrize("name", COSTS)
def test_finder_finds_no_ball_in_black(name: str) -> None:
    """Where there is nothing it says None."""
    find = make(name)
    find(to_bgr(blank(320, 240)))  # to some it is the background
    for _ in range(3):
        assert find(to_bgr(blank(320, 240))) is None


@pytest.mark.parametrize(("name", "color"), [("hsv_white", "blue"), ("hsv_blue", "white"), ("hsv_blue", "red")])
def test_finder_of_a_color_passes_over_others(name: str, color: str) -> None:
    """A ball of another colour is none."""
    scene = Scene(320, 240, color=COLORS[color])
    assert make(name)(to_bgr(draw(scene, scene.position(0)))) is None
