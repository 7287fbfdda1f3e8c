"""viewer.py and outline.py: the film is found in a picture that shows more than it, and its ball where it truly is."""

import math
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import pytest

from ball_track import Image, Point, find, planes
from common.processes import share
from finding.margins import Margins
from finding.outline import Floats, Mapping, mapping_of, refine
from finding.viewer import Look, Viewer
from protocol.picture_code import PERIOD, Legibility, Reading, layout_of, name_frame
from support.coded import RUN, coded_image, coded_scene

SCENE = coded_scene()
LAYOUT = layout_of(SCENE.width, SCENE.height)
ROOM = (960, 720)  # px of the pictures
CORNERS = np.array([(0, 0), (639, 0), (639, 479), (0, 479)], np.float64)
SKEWED = np.array([(150, 110), (780, 160), (740, 640), (180, 590)], np.float64)  # a view from the side
SMALL = SKEWED / 2 + (300, 200)


def accept(reading: Reading) -> bool:
    """Return whether a number is one of the run."""
    return name_frame(reading.number, reading.check, RUN, 10_000, PERIOD - 1) is not None


@lru_cache(maxsize=2)
def places_seen(
    parameters: tuple[float, ...], film: tuple[int, int], picture: tuple[int, int], over: int
) -> tuple[Floats, Floats]:
    """Return where in the film each place of a picture looks, x and y, px, through a mapping of these parameters."""
    width, height = picture
    grid = np.stack(np.meshgrid(*(np.arange(side * over) / over for side in (width, height))), axis=-1)
    u, v = (((grid[..., axis] - (picture[axis] - 1) / 2) / (width / 2)) for axis in (0, 1))
    k1, a, b = parameters[8], u, v
    for _ in range(30 if k1 else 0):  # what the lens did is undone
        lens = 1 + k1 * (a * a + b * b)
        a, b = u / lens, v / lens
    matrix = np.append(parameters[:8], 1.0).reshape(3, 3)
    back = np.stack((a, b, np.ones_like(a)), axis=-1) @ np.linalg.inv(matrix).T
    x, y = (back[..., axis] / back[..., 2] * (film[0] / 2) + (film[axis] - 1) / 2 for axis in (0, 1))
    return x, y


def picture_of(image: Image, mapping: Mapping, around: float = 60.0, over: int = 2) -> Image:
    """Return a picture with a film in it, seen through a mapping, on a wall as light as that."""
    width, height = mapping.picture
    x, y = places_seen(tuple(mapping.parameters), mapping.film, mapping.picture, over)
    seen = []
    for plane, side, beside in zip(planes(image), (1, 2, 2), (around, 128, 128), strict=True):
        at_x, at_y = (((each + 0.5) / side - 0.5).astype(np.float32) for each in (x, y))
        levels = plane.astype(np.float32)
        large = cv2.remap(
            levels, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=float(beside)
        )
        seen.append(cv2.resize(large, (width // side, height // side), interpolation=cv2.INTER_AREA))
    return np.concatenate([np.rint(each).astype(np.uint8).ravel() for each in seen]).reshape(height * 3 // 2, width)


def seen_from(corners: np.ndarray, k1: float = 0.0, size: tuple[int, int] = ROOM) -> Mapping:
    """Return how a film looks whose corners are seen there, by a lens that bends."""
    mapping = mapping_of((640, 480), size, CORNERS, corners)
    return mapping._replace(parameters=np.append(mapping.parameters[:8], k1))


def ball_in(look: Look) -> Point | None:
    """Return where the ball is found in what was seen."""
    assert look.shown is not None
    shared = share(Margins().paint_out(look.shown), None)
    try:
        return find(shared.array)
    finally:
        shared.close()


def blurred(image: Image) -> Image:
    """Return a picture out of focus."""
    soft = [cv2.GaussianBlur(plane, (0, 0), 1.2 / side) for plane, side in zip(planes(image), (1, 2, 2), strict=True)]
    return np.concatenate([np.asarray(plane, np.uint8).ravel() for plane in soft]).reshape(image.shape)


def noisy(image: Image) -> Image:
    """Return a picture as a sensor gives it, with its black not black and its white not white."""
    noise = np.random.default_rng(5).normal(0, 2, image.shape)
    luma_rows = image.shape[0] * 2 // 3
    levels = np.where(np.arange(image.shape[0])[:, None] < luma_rows, image * 0.7 + 30, image)
    return np.asarray(np.clip(np.rint(levels + noise), 0, 255), np.uint8)


@pytest.mark.parametrize(
    ("mapping", "worsen", "mean"),
    [
        (seen_from(SKEWED), noisy, 0.05),
        (seen_from(SMALL), noisy, 0.12),
        (seen_from(SKEWED[[2, 3, 0, 1]]), noisy, 0.06),
        (seen_from(SKEWED), blurred, 0.10),
        (seen_from(SKEWED, k1=-0.1), noisy, 0.05),
    ],
    ids=["aside", "half", "upside-down", "blur", "lens"],
)
def test_look_finds_film_number_and_ball(mapping: Mapping, worsen: Callable[[Image], Image], mean: float) -> None:
    """From the side, from afar, upside down, out of focus and bent by a lens, the ball is where it is in the film."""
    viewer, errors = Viewer(LAYOUT, accept), []
    for n, k in enumerate(range(40, 240, 50)):
        look = viewer.look(worsen(picture_of(coded_image(SCENE, k), mapping)), n / 30)
        assert (look.reading.legibility, look.reading.number) == ("read", k)
        ball = ball_in(look)
        assert ball is not None
        errors.append(math.dist(ball, SCENE.position(k)))
    assert np.mean(errors) < mean
    assert viewer.searches == 1


@pytest.mark.parametrize("around", [16.0, 235.0])
def test_look_finds_the_film_on_any_wall(around: float) -> None:
    """A black wall and a white one do not hide the outline."""
    look = Viewer(LAYOUT, accept).look(picture_of(coded_image(SCENE, 7), seen_from(SKEWED), around), 0)
    assert look.reading.number == 7


def test_look_at_the_film_itself_searches_nothing() -> None:
    """A picture of the film's size is read as it is, and what is shown is the picture, to the bit."""
    viewer = Viewer(LAYOUT, accept)
    for k in range(5):
        image = coded_image(SCENE, k)
        look = viewer.look(image, k / 30)
        assert look.shown is not None
        assert all(np.array_equal(*pair) for pair in zip(look.shown, planes(image), strict=True))
    assert viewer.searches == 0


def test_look_at_a_screen_gives_its_pixels() -> None:
    """A film that is shown pixel by pixel somewhere on a screen is given as it is."""
    image = coded_image(SCENE, 9)
    look = Viewer(LAYOUT, accept).look(picture_of(image, seen_from(CORNERS + np.array((101, 53))), over=1), 0)
    assert look.shown is not None
    assert np.array_equal(look.shown[0], planes(image)[0])


def test_look_heals_half_a_second_after_the_view_was_moved() -> None:
    """A tripod that is bumped costs half a second, and the ball is where it belongs again."""
    viewer = Viewer(LAYOUT, accept)
    assert viewer.look(picture_of(coded_image(SCENE, 1), seen_from(SKEWED)), 0).reading.number == 1
    moved = seen_from(SKEWED + np.array((25, -40)))
    assert viewer.look(picture_of(coded_image(SCENE, 2), moved), 0.1).reading.legibility is not Legibility.READ
    look = viewer.look(picture_of(coded_image(SCENE, 20), moved), 0.7)
    ball = ball_in(look)
    assert ball is not None
    assert math.dist(ball, SCENE.position(20)) < 0.1
    assert viewer.searches == 2


def test_look_follows_a_film_that_moves_and_can_still_be_read() -> None:
    """A tripod that sinks by a few px leaves the number legible, and the ball is where it belongs in half a second."""
    viewer = Viewer(LAYOUT, accept)
    assert viewer.look(picture_of(coded_image(SCENE, 1), seen_from(SKEWED)), 0).reading.number == 1
    look = viewer.look(picture_of(coded_image(SCENE, 20), seen_from(SKEWED + np.array((3, -3)))), 0.6)
    ball = ball_in(look)
    assert (look.reading.number, viewer.searches) == (20, 1)
    assert ball is not None
    assert math.dist(ball, SCENE.position(20)) < 0.1


@pytest.mark.parametrize("shift", [(1, 1), (2, -2), (-3, -4)])
def test_look_at_a_screen_grabbed_a_few_px_aside_names_no_frame(shift: tuple[int, int]) -> None:
    """A picture of the film's size that cuts off some of it has a legible number, and every place in it is wrong."""
    viewer = Viewer(LAYOUT, accept)
    aside = seen_from(CORNERS + np.array(shift), size=(640, 480))
    for n in range(2):
        assert viewer.look(picture_of(coded_image(SCENE, n), aside, over=1), n / 30).shown is None
    assert viewer.look(coded_image(SCENE, 3), 0.1).reading.number == 3


def test_look_passes_over_another_film_in_the_picture() -> None:
    """Of two films in one picture that one is looked at whose numbers are of the run."""
    theirs = picture_of(coded_image(SCENE, 5, run=RUN ^ 1), seen_from(CORNERS * 0.9 + (5, 5), size=(1280, 720)))
    ours = picture_of(coded_image(SCENE, 6), seen_from(CORNERS * 0.8 + (640, 200), size=(1280, 720)))
    both = np.concatenate(
        [
            np.concatenate((a[:, : a.shape[1] // 2], b[:, b.shape[1] // 2 :]), axis=1).ravel()
            for a, b in zip(planes(theirs), planes(ours), strict=True)
        ]
    ).reshape(theirs.shape)
    look = Viewer(LAYOUT, accept).look(both, 0)
    assert (look.reading.number, accept(look.reading)) == (6, True)
    alone = Viewer(LAYOUT, accept).look(theirs, 0)
    assert not accept(alone.reading)


@pytest.mark.parametrize("seed", [8, pytest.param(9, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.slow)])
def test_look_at_what_is_no_film_reads_nothing(seed: int) -> None:
    """Rooms full of edges, and black ones, have no number; the black one is said to be blank."""
    dice, viewer = np.random.default_rng(seed), Viewer(LAYOUT, accept)
    for n in range(2):
        room = cv2.resize(dice.integers(0, 256, (30, 40), np.uint8), ROOM, interpolation=cv2.INTER_NEAREST)
        image = np.full((1080, 960), 128, np.uint8)
        image[:720] = room
        look = viewer.look(image, n)
        assert (look.shown, look.blank) == (None, False)
    image[:720] = 20
    assert viewer.look(image, 9.0).blank


def test_refine_finds_no_line_where_there_is_none() -> None:
    """What has four corners and no light line around it is no film."""
    image = coded_image(SCENE, 3)
    bare = image.copy()
    planes(bare)[0][:14] = planes(bare)[0][-14:] = 16
    mapping = seen_from(SKEWED)
    assert refine(planes(picture_of(image, mapping))[0], LAYOUT, mapping) is not None
    planes(bare)[0][:, :14] = planes(bare)[0][:, -14:] = 16
    assert refine(planes(picture_of(bare, mapping))[0], LAYOUT, mapping) is None
