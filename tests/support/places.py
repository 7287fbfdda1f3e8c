"""Places where a ball can be, and how far from it `find` finds it."""

import math
import random
from typing import TypeVar

from ball_track import Point, Scene, draw, find

T = TypeVar("T")
SIZES = ((64, 64), (320, 240), (640, 480), (480, 640), (642, 482), (1280, 720))


def given_value(value: T | None) -> T:
    """Return a value that must not be None."""
    assert value is not None
    return value


def places(scene: Scene, count: int, seed: int = 0) -> list[Point]:
    """Return places where a ball can be: the middle, all walls and corners, and `count` others."""
    left, right, bottom = scene.radius - 0.5, scene.width - 0.5 - scene.radius, scene.height - 0.5 - scene.radius
    dice = random.Random(seed)
    xs, ys = (left, (left + right) / 2, right), (left, (left + bottom) / 2, bottom)
    anywhere = [Point(dice.uniform(left, right), dice.uniform(left, bottom)) for _ in range(count)]
    return [Point(x, y) for x in xs for y in ys] + anywhere


def errors(scene: Scene, centers: list[Point]) -> list[float]:
    """Return how far from each place `find` finds the ball that `draw` draws there, px."""
    return [math.dist(given_value(find(draw(scene, center))), center) for center in centers]
