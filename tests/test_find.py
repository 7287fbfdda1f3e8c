"""ball_track.find: found where it was drawn, whatever happens to it, and nowhere else."""

import math
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ball_track import COLORS, MIN_SIDE, Image, Point, Scene, blank, draw, find, planes
from bench.clips import to_i420
from common.disc import Floats
from support.places import SIZES, errors, given_value, places


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("radius", [3, 5.5, 20, 31])
def test_find_finds_what_was_drawn_anywhere(size: tuple[int, int], radius: float) -> None:
    """White, with no codec between: in the middle, at every wall and corner, and anywhere else."""
    scene = Scene(*size, radius=radius, speed=0)
    assert max(errors(scene, places(scene, 15))) < 0.01


def test_find_is_typically_far_better_than_a_hundredth() -> None:
    """With no codec a white ball of radius 20 is found to half a thousandth of a pixel on average."""
    scene = Scene()
    assert np.mean(errors(scene, places(scene, 100))) < 0.0006


@pytest.mark.parametrize("color", COLORS)
def test_find_is_colour_blind(color: str) -> None:
    """Every colour is found to 0.01 px, those with little luma by their chroma."""
    scene = Scene(color=COLORS[color])
    assert max(errors(scene, places(scene, 20))) < 0.01


@given(
    st.tuples(*3 * [st.integers(0, 255)]).filter(lambda bgr: max(bgr) >= 100),
    st.floats(8, 100),
    st.floats(0, 1),
    st.floats(0, 1),
)
@settings(max_examples=60)
def test_find_finds_any_ball(color: tuple[int, int, int], radius: float, across: float, down: float) -> None:
    """Any colour that is not dark, any radius, anywhere."""
    scene = Scene(color=color, radius=radius)
    center = Point(radius - 0.5 + across * (640 - 2 * radius), radius - 0.5 + down * (480 - 2 * radius))
    assert errors(scene, [center])[0] < 0.02


def test_find_finds_the_largest_ball() -> None:
    """A ball that touches two walls at once is a ball."""
    for size in SIZES:
        scene = Scene(*size, radius=min(size) / 2, speed=0)
        assert max(errors(scene, places(scene, 0))) < 0.01


def test_find_leaves_the_image_as_it_was() -> None:
    """Looking changes nothing."""
    image = draw(Scene(), Point(100, 100))
    before = image.copy()
    image.flags.writeable = False
    assert find(image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("sigma", "bound"), [(2, 0.05), (8, 0.2)])
@pytest.mark.parametrize("color", ["white", "blue"])
def test_find_finds_it_through_noise(sigma: float, bound: float, color: str) -> None:
    """With gaussian noise on every sample the ball is where it is, to a fraction of a pixel."""
    scene = Scene(color=COLORS[color])
    noise = np.random.default_rng(1)
    for center in places(scene, 10):
        image = np.clip(draw(scene, center) + noise.normal(0, sigma, (720, 640)), 0, 255).astype(np.uint8)
        assert math.dist(given_value(find(image)), center) < bound


def noisy_images(width: int, height: int) -> Iterator[tuple[str, Image]]:
    """Return images of a size without a ball, by name."""
    noise, black = np.random.default_rng(2), blank(width, height)
    shape = black.shape
    yield "black", black
    for level in (0, 16, 90, 255):
        yield f"grey {level}", np.full(shape, level, np.uint8)
    for sigma in (1, 5, 20, 60):
        yield f"gaussian {sigma}", np.clip(black + noise.normal(0, sigma, shape), 0, 255).astype(np.uint8)
    for spread in (2, 10, 40, 128):
        yield f"uniform {spread}", np.clip(black + noise.uniform(-spread, spread, shape), 0, 255).astype(np.uint8)
    yield "anything", noise.integers(0, 256, shape, np.uint8)
    for share in (0.0005, 0.01, 0.2):
        salted = black.copy()
        salted[noise.random(shape) < share / 2] = 0
        salted[noise.random(shape) < share / 2] = 255
        yield f"salt and pepper {share}", salted


@pytest.mark.parametrize("size", SIZES[:4])
def test_find_finds_nothing_where_nothing_is(size: tuple[int, int]) -> None:
    """An image that is empty, or merely noisy, has no ball in it."""
    assert [name for name, image in noisy_images(*size) if find(image) is not None] == []


def test_find_takes_no_bar_for_a_ball() -> None:
    """What is long is no ball, nor are two."""
    bar, two = blank(640, 480), blank(640, 480)
    bar[200:220, 100:500] = 235
    assert find(bar) is None
    scene = Scene()
    np.maximum(draw(scene, Point(100, 100)), draw(scene, Point(400, 300)), out=two)
    assert find(two) is None


# --- Balls that are not as drawn here ------------------------------------------------------------


def painted(mask: Floats, color: tuple[int, int, int], shine: Floats | None = None) -> Image:
    """Return a ball of a colour (BGR) on black, (480, 640) shares, with a white highlight in it if there is one."""
    bgr = mask[..., None] * np.array(color)
    if shine is not None:
        bgr += shine[..., None] * (255 - bgr)
    return to_i420(np.rint(bgr).astype(np.uint8))


def ball_mask(center: Point, radius: float, stretch: float = 1.0, turn: float = 0.0) -> Floats:
    """Return the share of each px that a ball covers, (480, 640), by points; `stretch`: width to height."""
    fine, reach, mask = 4, 1.2 * radius + 2, np.zeros((480, 640))
    (left, top), (right_end, bottom) = ([max(0, int(each + way)) for each in center] for way in (-reach, reach))
    box = mask[top:bottom, left:right_end]
    x, y = ((np.arange(side * fine) + 0.5) / fine - 0.5 for side in box.shape[::-1])
    right, down = x + left - center.x, (y + top - center.y)[:, None]
    along, across = right * math.cos(turn) + down * math.sin(turn), down * math.cos(turn) - right * math.sin(turn)
    inside = along**2 / stretch + across**2 * stretch < radius**2
    box[:] = inside.reshape(box.shape[0], fine, box.shape[1], fine).mean(axis=(1, 3))
    return mask


@pytest.mark.parametrize("line", [cv2.LINE_8, cv2.LINE_AA])
@pytest.mark.parametrize("color", ["white", "blue", "red"])
def test_find_finds_a_ball_of_whole_pixels(line: int, color: str) -> None:
    """A ball as anybody draws it, by cv2.circle, is found whatever its radius, to a few hundredths of a pixel."""
    for radius in (*range(3, 24), 30, 47, 80, 150, 220):
        picture = np.zeros((480, 640, 3), np.uint8)
        cv2.circle(picture, (317, 242), radius, COLORS[color], cv2.FILLED, line)
        assert math.dist(given_value(find(to_i420(picture))), (317, 242)) < (0.06 if radius < 5 else 0.03)


@pytest.mark.parametrize("stretch", [0.91, 1.02, 1.06, 1.1])
@pytest.mark.parametrize("turn", [0, 0.7])
def test_find_finds_a_ball_that_is_a_little_oval(stretch: float, turn: float) -> None:
    """A lens, or pixels that are not square, make no other ball of it."""
    for radius in (6, 20, 80, 150):
        center = Point(300.3, 240.8)
        found = find(painted(ball_mask(center, radius, stretch, turn), COLORS["white"]))
        assert math.dist(given_value(found), center) < 0.03


@pytest.mark.parametrize("radius", [5, 20, 80])
@pytest.mark.parametrize("hidden", [0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("color", ["white", "red"])
def test_find_finds_what_the_wall_cuts(radius: float, hidden: float, color: str) -> None:
    """As long as half of its rim is to be seen, it is found as exactly as in the middle, at each wall."""
    scene, out = Scene(radius=radius, color=COLORS[color], speed=0), hidden * radius
    low, right, bottom = radius - 0.5 - out, 639.5 - radius + out, 479.5 - radius + out
    for center in (Point(low, 200.3), Point(right, 200.3), Point(300.7, low), Point(300.7, bottom)):
        assert math.dist(given_value(find(draw(scene, center))), center) < 0.01


@pytest.mark.parametrize("color", ["white", "red", "blue"])
@pytest.mark.parametrize("radius", [8, 20, 60])
def test_find_finds_a_ball_whose_far_side_is_darker(color: str, radius: float) -> None:
    """Lit from one side, all at once or by and by, it is found to a seventh of a pixel."""
    center = Point(333.3, 222.2)
    x, y = np.arange(640) - center.x, (np.arange(480) - center.y)[:, None]
    away = (x * 0.8 + y * 0.6) / radius
    for light in (np.where(away > 0, 0.6, 1.0), np.clip(0.8 - 0.2 * away, 0.6, 1)):
        found = find(painted(ball_mask(center, radius) * light, COLORS[color]))
        assert math.dist(given_value(found), center) < 0.14


@pytest.mark.parametrize("color", ["red", "green", "blue"])
@pytest.mark.parametrize("off", [0, 0.3, 0.55])
def test_find_is_not_led_astray_by_a_highlight(color: str, off: float) -> None:
    """Where a highlight makes the planes contradict each other, the ball is where its own rim is."""
    center = Point(250.4, 200.9)
    shine = ball_mask(Point(center.x + 20 * off, center.y - 10 * off), 5)
    found = find(painted(ball_mask(center, 20), COLORS[color], shine))
    assert math.dist(given_value(found), center) < 0.05


def test_find_takes_no_highlight_for_the_ball() -> None:
    """A highlight much brighter than the ball is no ball of its own: what is around it is not black."""
    center = Point(250.4, 200.9)
    assert find(painted(ball_mask(center, 20), (0, 0, 110), ball_mask(Point(256, 195), 5))) is None


def other_shape(name: str, size: int) -> Image:
    """Return what is no disc, of a size in px."""
    picture = np.zeros((480, 640, 3), np.uint8)
    corners = {"square": 4, "triangle": 3, "pentagon": 5}.get(name)
    if corners:
        angles = np.arange(corners) * (2 * math.pi / corners) + 0.3
        outline = np.stack((320 + size * np.cos(angles), 240 + size * np.sin(angles)), axis=1)
        cv2.fillPoly(picture, [np.rint(outline).astype(np.int32)], (255, 255, 255), cv2.LINE_AA)
    elif name == "ring":
        cv2.circle(picture, (320, 240), size, (0, 255, 255), size // 3, cv2.LINE_AA)
    elif name == "half":
        cv2.ellipse(picture, (320, 240), (size, size), 30, 0, 200, (255, 0, 255), cv2.FILLED, cv2.LINE_AA)
    elif name == "oval":
        cv2.ellipse(picture, (320, 240), (size, size * 2 // 3), 30, 0, 360, (255, 0, 255), cv2.FILLED, cv2.LINE_AA)
    elif name == "bean":
        cv2.circle(picture, (320, 240), size, (0, 0, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, (320 + size, 240), size, (0, 0, 255), cv2.FILLED, cv2.LINE_AA)
    else:
        cv2.line(picture, (320 - size, 240), (320 + size, 240), (255, 255, 255), size // 2)
        cv2.line(picture, (320, 240 - size), (320, 240 + size), (255, 255, 255), size // 2)
    return to_i420(picture)


@pytest.mark.parametrize("name", ["square", "triangle", "pentagon", "ring", "half", "bean", "oval", "cross"])
def test_find_takes_no_other_shape_for_a_ball(name: str) -> None:
    """What has corners, a hole or another half is no ball, be it as large as one."""
    assert [find(other_shape(name, size)) for size in (25, 60, 120)] == [None] * 3


@pytest.mark.parametrize("size", [(width, height) for width in range(2, 20, 2) for height in (2, 6, 8, 18)])
def test_find_raises_for_an_image_too_small_and_nothing_else(size: tuple[int, int]) -> None:
    """An image that is too small for a ball is told; one that is just large enough is looked at."""
    dice = np.random.default_rng(4)
    for image in (blank(*size), dice.integers(0, 256, blank(*size).shape, np.uint8)):
        if min(size) < MIN_SIDE:
            with pytest.raises(ValueError, match="too small"):
                find(image)
        else:
            assert find(image) is None


@pytest.mark.parametrize("light", [(235, 128, 128), (40, 128, 128), (81, 90, 240)])
def test_find_finds_nothing_where_all_is_light(light: tuple[int, int, int]) -> None:
    """A picture that is light all over shows no rim, whatever its size, and no ball: it is none that fills it."""
    for width in range(MIN_SIDE, 72, 2):
        for height in range(MIN_SIDE, 72, 2):
            image = blank(width, height)
            for plane, level in zip(planes(image), light, strict=True):
                plane[:] = level
            assert find(image) is None


@pytest.mark.parametrize(
    ("size", "discs"),
    [
        ((38, 20), [(34, 9, 11), (19, 10, 4)]),
        ((42, 26), [(16, 12, 6), (2, 4, 6)]),
        ((28, 20), [(9, 7, 10), (19, 11, 4)]),
        ((16, 30), [(9, 21, 3), (8, 10, 10)]),
        ((22, 54), [(7, 21, 6), (12, 2, 10)]),
    ],
)
def test_find_finds_nothing_in_what_two_discs_make(size: tuple[int, int], discs: list[tuple[int, int, int]]) -> None:
    """Two discs (x, y, radius) that nearly touch, and of which the picture shows a part, are no ball and no error."""
    image = blank(*size)
    for x, y, radius in discs:
        cv2.circle(image[: size[1]], (x, y), radius, 235, cv2.FILLED)
    assert find(image) is None


@pytest.mark.parametrize("color", ["white", "red", "blue"])
@pytest.mark.parametrize("radius", [3.5, 4, 5, 20])
def test_find_finds_a_ball_whose_rim_is_hardly_seen_where_it_is_or_not_at_all(radius: float, color: str) -> None:
    """Where an edge or a corner of the picture cuts off more than half of its rim, what is left is no smaller ball."""
    scene = Scene(color=COLORS[color], radius=radius)
    for out in (np.arange(-0.8, 0.46, 0.04) * radius).tolist():
        for center in (Point(out, 200.3), Point(300, 479 - out), Point(out, out), Point(639 - out, 1.2 * out)):
            found = find(draw(scene, center))
            assert found is None or math.dist(found, center) < 0.05
