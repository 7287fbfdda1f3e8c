"""common/disc_find.py: a glance finds what care finds, and says nothing where more is to be seen than one disc."""

import math

import cv2
import numpy as np
import pytest

from ball_track import BLACK_YUV, COLORS, MIN_CONTRAST, MIN_RADIUS, Image, Point, Scene, blank, draw, find, planes
from bench.clips import to_i420
from common.disc_find import _Look
from common.disc_fit import Layer

Dice = np.random.Generator


def look_at(image: Image) -> _Look:
    """Return a look at an image, as find has it."""
    layers = [Layer(plane, black) for plane, black in zip(planes(image), BLACK_YUV, strict=True)]
    return _Look(layers, MIN_CONTRAST, MIN_RADIUS)


def both(*images: Image) -> Image:
    """Return what is to be seen in any of some images."""
    parts = np.stack([image.astype(np.int16) for image in images])
    black = np.full(images[0].shape, BLACK_YUV[1], np.int16)
    black[: len(black) * 2 // 3] = BLACK_YUV[0]
    furthest = np.abs(parts - black).argmax(axis=0)[None]
    seen: Image = np.take_along_axis(parts, furthest, axis=0)[0].astype(np.uint8)
    return seen


def any_scene(dice: Dice, most: float = 1.0) -> Scene:
    """Return a scene of any size, radius and colour."""
    size = [(640, 480), (320, 240), (642, 482), (326, 250), (1280, 720)][dice.integers(5)]
    radius = math.exp(dice.uniform(math.log(3), math.log(most * min(size) / 2)))
    color = list(COLORS.values())[dice.integers(len(COLORS))]
    return Scene(*size, radius=radius, color=color, seed=int(dice.integers(1000)))


def noisy(image: Image, dice: Dice) -> Image:
    """Return an image as a codec may leave it."""
    return np.clip(image + dice.normal(0, dice.uniform(0, 3), image.shape), 0, 255).astype(np.uint8)


def test_a_glance_finds_what_care_finds() -> None:
    """Of any size, radius and colour, anywhere, drawn or noisy: what a glance finds is where care finds it."""
    dice, glances = np.random.default_rng(5), 0
    for k in range(250):
        scene = any_scene(dice)
        image = draw(scene, scene.position(k))
        if k % 2:
            image = noisy(image, dice)
        look = look_at(image)
        at_a_glance, with_care = look.at_a_glance(), look.with_care()
        assert with_care is not None
        if at_a_glance is not None:
            glances += 1
            assert math.dist(at_a_glance[:2], with_care[:2]) < 0.03
            assert math.dist(at_a_glance[:2], scene.position(k)) < math.dist(with_care[:2], scene.position(k)) + 0.02
    assert glances > 230


def test_a_jump_a_bounce_and_another_picture_are_found_at_once() -> None:
    """Nothing is remembered: from picture to picture the ball may be anywhere, of another size and colour, or gone."""
    dice = np.random.default_rng(6)
    for k in range(60):
        scene = any_scene(dice)
        center = scene.position(1000.0 * k)
        found = find(draw(scene, center))
        assert found is not None
        assert math.dist(found, center) < 0.02
        assert k % 5 or find(blank(scene.width, scene.height)) is None


def test_of_two_balls_none_is_the_ball() -> None:
    """Two balls of like size, one of them ever so small and anywhere, are not one: neither is chosen."""
    dice, seen = np.random.default_rng(7), 0
    while seen < 60:
        scene = any_scene(dice, most=0.3)
        other = Scene(
            scene.width, scene.height, radius=max(3.0, scene.radius * dice.uniform(0.85, 1)), color=scene.color
        )
        first, second = scene.position(0), other.position(float(dice.integers(10_000)))
        if math.dist(first, second) > scene.radius + other.radius + 12:
            seen += 1
            assert find(both(draw(scene, first), draw(other, second))) is None


@pytest.mark.parametrize("radius", [3, 4, 6])
def test_a_glance_overlooks_no_second_ball(radius: float) -> None:
    """As small as a ball may be, at each place between the samples of the glance, beside a large one it is seen."""
    large = Scene(320, 240, radius=40)
    small = Scene(320, 240, radius=radius)
    first = draw(large, Point(80, 120))
    for x in np.arange(220, 224.1, 0.5):
        for y in np.arange(100, 104.1, 0.5):
            assert look_at(both(first, draw(small, Point(x, y)))).at_a_glance() is None


def test_a_glance_sees_noise() -> None:
    """Where anything else is nearly as bright as the ball, a glance says nothing; what care says is said."""
    dice = np.random.default_rng(8)
    image = draw(Scene(), Point(300, 200))
    image[:480][dice.random((480, 640)) < 0.01] = 200
    look = look_at(image)
    assert look.at_a_glance() is None
    assert find(image) == (None if (disc := look.with_care()) is None else Point(disc.x, disc.y))


@pytest.mark.parametrize("color", ["white", "red", "blue"])
@pytest.mark.parametrize("radius", [14, 19, 40, 120])
def test_a_ring_is_no_ball_at_a_glance(color: str, radius: int) -> None:
    """A ring whose hole is a third of it or more has a disc's rim and is none, anywhere between the samples."""
    for shift in range(16):
        picture = np.zeros((480, 640, 3), np.uint8)
        center = (320 + shift % 4, 240 + shift // 4)
        cv2.circle(picture, center, radius, COLORS[color], cv2.FILLED)
        cv2.circle(picture, center, round(0.6 * radius), (0, 0, 0), cv2.FILLED)
        assert look_at(to_i420(picture)).at_a_glance() is None
        cv2.circle(picture, center, round(0.75 * radius), (0, 0, 0), cv2.FILLED)
        assert find(to_i420(picture)) is None


@pytest.mark.parametrize("share", [0.35, 0.48])
def test_a_glance_leaves_to_care_what_else_is_a_third_as_bright(share: float) -> None:
    """What is too dim for another ball may be one that a codec blurred: all samples say how bright it is."""
    grey = round(255 * share)
    image = both(
        draw(Scene(radius=40), Point(100, 120)), draw(Scene(radius=6, color=(grey, grey, grey)), Point(400.3, 300.8))
    )
    look = look_at(image)
    assert look.at_a_glance() is None
    assert look.with_care() is not None


@pytest.mark.parametrize("hidden", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("radius", [12, 40, 150])
def test_a_cut_ball_is_found_where_it_is_or_not_at_all_at_a_glance(radius: float, hidden: float) -> None:
    """A glance takes no cut ball for a smaller one that is whole."""
    scene, out = Scene(radius=radius, speed=0), hidden * radius
    for center in (Point(radius - out, 220.3), Point(639.5 - radius + out, 220.3), Point(300.2, radius - out)):
        image = draw(scene, center)
        at_a_glance, found = look_at(image).at_a_glance(), find(image)
        assert at_a_glance is None or math.dist(at_a_glance[:2], center) < 0.01
        assert found is not None
        assert math.dist(found, center) < 0.01


def test_beside_what_lies_between_its_samples_a_glance_is_right() -> None:
    """A line so thin that a glance may not see it changes nothing about where the ball is."""
    dice = np.random.default_rng(9)
    for _ in range(40):
        center = Point(dice.uniform(30, 610), dice.uniform(30, 450))
        image = draw(Scene(), center)
        row = int(center.y + 240) % 480 // 4 * 4
        image[row + 1 : row + 3, 50:600] = 235
        found = find(image)
        assert found is None or math.dist(found, center) < 0.01
