"""viewer.py and outline.py: the film is found in a picture that shows more than it, and its ball where it truly is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest

from ball_track import COLORS, Image, Point, find, planes
from common.processes import share
from finding.margins import Margins
from finding.outline import Floats, Mapping, candidates, mapping_of, read_through, refine
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


def blurred(image: Image, deviation: float = 1.2) -> Image:
    """Return a picture out of focus, by a Gaussian of some deviation, px."""
    return joined(
        [
            np.asarray(cv2.GaussianBlur(plane, (0, 0), deviation / side), np.uint8)
            for plane, side in zip(planes(image), (1, 2, 2), strict=True)
        ]
    )


def joined(seen: Sequence[Image]) -> Image:
    """Return Y, U and V planes as one image."""
    height, width = seen[0].shape
    return np.concatenate([plane.ravel() for plane in seen]).reshape(height * 3 // 2, width)


def on_screen(*films: tuple[Image, tuple[int, int]]) -> Image:
    """Return a grey screen that shows films, pixel by pixel, each with its top left corner (even) at a place, px."""
    width, height = ROOM
    screen = [
        np.full((height // side, width // side), level, np.uint8) for side, level in ((1, 60), (2, 128), (2, 128))
    ]
    for image, (left, top) in films:
        for plane, film, side in zip(screen, planes(image), (1, 2, 2), strict=True):
            room = plane[top // side :, left // side :]
            room[: film.shape[0], : film.shape[1]] = film[: room.shape[0], : room.shape[1]]
    return joined(screen)


def torn(above: Image, below: Image, row: int) -> Image:
    """Return a picture that is one above an even row, and another from there on."""
    return joined(
        [
            np.concatenate((first[: row // side], second[row // side :]))
            for first, second, side in zip(planes(above), planes(below), (1, 2, 2), strict=True)
        ]
    )


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


@pytest.mark.parametrize("deviation", [1.6, 2.0, 2.5])
@pytest.mark.parametrize("color", ["white", "red"])
def test_look_out_of_focus_shows_a_ball_that_can_be_found(deviation: float, color: str) -> None:
    """As long as the number can be read the ball is found, and where it is."""
    scene, viewer, errors = replace(SCENE, color=COLORS[color]), Viewer(LAYOUT, accept), []
    for n, k in enumerate(range(40, 190, 50)):
        picture = picture_of(coded_image(scene, k), seen_from(SKEWED))
        look = viewer.look(noisy(blurred(picture, deviation)), n / 30)
        assert (look.reading.number, look.whole) == (k, True)
        ball = ball_in(look)
        assert ball is not None
        errors.append(math.dist(ball, scene.position(k)))
    assert np.mean(errors) < (0.08 if color == "white" else 0.15)


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


@pytest.mark.parametrize("shift", [(3, -3), (0, 3), (-2, 0), (0.4, -0.4)])
def test_look_follows_a_film_that_moves_and_can_still_be_read(shift: tuple[float, float]) -> None:
    """A tripod that sinks by a few px leaves the number legible: that picture does not count, and the next ones do."""
    viewer = Viewer(LAYOUT, accept)
    assert viewer.look(picture_of(coded_image(SCENE, 1), seen_from(SKEWED)), 0).reading.number == 1
    moved = seen_from(SKEWED + np.array(shift))
    assert viewer.look(picture_of(coded_image(SCENE, 2), moved), 0.03).shown is None
    look = viewer.look(picture_of(coded_image(SCENE, 20), moved), 0.6)
    assert (look.reading.number, look.whole) == (20, True)
    ball = ball_in(look)
    assert ball is not None
    assert math.dist(ball, SCENE.position(20)) < 0.1


@pytest.mark.parametrize(
    "step",
    [
        *((2, 0), (0, 6), (14, 0), (26, 12)),
        *(pytest.param(step, marks=pytest.mark.slow) for step in ((0, 2), (4, 4), (8, 2), (0, 20), (40, 40))),
    ],
)
@pytest.mark.parametrize("tears", [False, True])
def test_look_at_a_film_that_moves_shows_no_ball_where_it_is_not(step: tuple[int, int], tears: bool) -> None:
    """Pictures of a window that is dragged, torn ones among them, count if the film is where it is looked for."""
    viewer, before = Viewer(LAYOUT, accept), on_screen((coded_image(SCENE, 40), (0, 0)))
    for n in range(40):
        left, top = (
            abs((n * by + room) % (2 * room) - room) // 2 * 2 for by, room in zip(step, (320, 240), strict=True)
        )
        picture = on_screen((coded_image(SCENE, 41 + n), (left, top)))
        look = viewer.look(torn(picture, before, 40 + 82 * n % 640) if tears and n % 2 else picture, n / 30)
        before = picture
        assert look.reading.number in (0, 40 + n, 41 + n)
        assert tears or look.whole or look.shown is None
        ball = ball_in(look) if look.whole else None
        assert ball is None or math.dist(ball, SCENE.position(look.reading.number)) < 0.3
    for n in range(40, 58):
        look = viewer.look(on_screen((coded_image(SCENE, 41 + n), (left, top))), n / 30)
    assert (look.reading.number, look.whole) == (98, True)


@pytest.mark.parametrize("side", [0, 1])
def test_look_at_a_film_that_is_cut_off_is_worth_no_error(side: int) -> None:
    """Where one side of the outline is not in the picture its place is a guess: the number counts, and no error."""
    cut = SKEWED - np.array([(150, 0), (0, 115)])[side] - (6, 6)
    viewer = Viewer(LAYOUT, accept)
    for n in range(20):
        look = viewer.look(picture_of(coded_image(SCENE, 60 + n), seen_from(cut)), n / 30)
        assert not look.whole


@pytest.mark.parametrize("box", [(0, 200, 60, 260), (300, 470, 400, 480), (560, 300, 640, 400), (0, 0, 640, 8)])
def test_look_at_a_film_that_is_partly_covered_is_worth_no_error(box: tuple[int, int, int, int]) -> None:
    """What lies over the outline may lie over the ball: the number counts where it can be read, and no error."""
    left, top, right, bottom = box
    viewer, window = Viewer(LAYOUT, accept), np.random.default_rng(4).integers(0, 256, (480, 640), np.uint8)
    assert viewer.look(on_screen((coded_image(SCENE, 1), (100, 60))), 0).whole
    for n in range(1, 30):
        image = coded_image(SCENE, 1 + n)
        planes(image)[0][top:bottom, left:right] = window[top:bottom, left:right]
        look = viewer.look(on_screen((image, (100, 60))), n / 30)
        assert (look.reading.number in (0, 1 + n), look.whole) == (True, False)
    for n in range(30, 50):
        look = viewer.look(on_screen((coded_image(SCENE, 1 + n), (100, 60))), n / 30)
    assert look.whole, "half a second after it was taken away"


def test_look_at_two_films_of_one_run_shows_the_ball_of_the_number() -> None:
    """Of two windows, one of which is late, number and ball are of the same one, in each picture."""
    viewer = Viewer(LAYOUT, accept)
    for n in range(12):
        late = [
            cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            for plane in planes(coded_image(SCENE, 40 + n))
        ]
        both = on_screen(
            (coded_image(SCENE, 47 + n), (0, 0)), (joined([np.asarray(each, np.uint8) for each in late]), (640, 480))
        )
        look = viewer.look(both, n / 30)
        assert look.reading.number in (40 + n, 47 + n)
        ball = ball_in(look)
        assert ball is not None
        assert math.dist(ball, SCENE.position(look.reading.number)) < 0.2


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


@pytest.mark.parametrize("size", [(2, 2), (16, 8), (30, 30), (64, 2)])
def test_candidates_in_a_tiny_picture_are_none(size: tuple[int, int]) -> None:
    """A picture of a few px, as a camera at its start may give, has room for no film, and that is all."""
    luma = np.random.default_rng(9).integers(0, 256, size[::-1], np.uint8)
    assert not any(read_through(luma, LAYOUT, each).reading.legibility == "read" for each in candidates(luma, LAYOUT))
    assert Viewer(LAYOUT, accept).look(np.full((size[1] * 3 // 2, size[0]), 40, np.uint8), 0).shown is None
