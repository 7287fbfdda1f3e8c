"""What is drawn over a frame and below it: at the right place, in the right order, at any size."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ball_track import Point, Scene, blank, draw
from support.marks import film_of, find_cross, find_white
from views.overlay import compose, rim
from views.sightings import Figures, Footprint
from views.strip import FOUND, TRUTH, ZOOM, lay_out, panel_text

SIZES = [(160, 120), (320, 240), (640, 480), (1280, 720), (1920, 1080)]


@given(st.floats(100, 540), st.floats(100, 360))
def test_compose_puts_the_cross_on_the_found_centre(x: float, y: float) -> None:
    """The centroid of the cross is the point that was found, as near as whole pixels can tell."""
    cross = find_cross(film_of(compose(blank(640, 480), Figures(found=Point(x, y)), ())))
    assert cross is not None
    assert math.dist(cross, (x, y)) < 0.75


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("radius", [5, 20, 50])
def test_compose_never_hides_the_ball(width: int, height: int, radius: int) -> None:
    """Whatever the sizes of film and ball, the cross points at the ball's centre from outside, and is near."""
    scene = Scene(width, height, radius=radius, speed=0)
    place = Point(width / 2 + 0.3, height / 2 - 0.3)
    image, figures = draw(scene, place), Figures(found=place)
    film = compose(image, figures, ())[:height]
    changed = np.abs(film.astype(int) - compose(image, Figures(), ())[:height]).max(axis=2) > 20
    distances = np.hypot(*(np.nonzero(changed) - np.array([[place.y], [place.x]])))
    assert distances.min() > radius
    assert distances.max() < radius + 4 + 17 * min(width / 640, height / 480)
    cross, ball = find_cross(film), find_white(film, radius)
    assert cross is not None
    assert ball is not None
    assert math.dist(cross, ball) <= 1


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 255), (255, 0, 0), (40, 40, 40)])
def test_rim_is_where_the_ball_ends(color: tuple[int, int, int]) -> None:
    """Whatever its colour; also where it touches a wall, but none is made up where nothing is."""
    scene = Scene(radius=20, color=color)
    for place in (Point(300.2, 200.7), Point(19.5, 200.0), Point(619.5, 459.5)):
        film = compose(draw(scene, place), Figures(), ())[:480]
        assert rim(film, place) == pytest.approx(20, abs=2)
    assert rim(compose(blank(640, 480), Figures(), ())[:480], Point(300, 200)) == 0
    assert rim(film, Point(-5, 1e9)) == 0


def test_compose_leaves_the_image_as_it_was() -> None:
    """The image may be in shared memory; nothing is drawn on it."""
    image = draw(Scene(), Point(300, 200))
    before = image.copy()
    compose(image, Figures(Point(300, 200), 0.1, 7.0, 30.0, 12, 0), [Footprint(0.5, Point(1, 1))] * 2)
    assert (image == before).all()


def test_compose_shows_the_frame_in_its_colours() -> None:
    """A red ball is red on the screen: red 255, green and blue 0, within what video range can say."""
    picture = compose(draw(Scene(color=(0, 0, 255)), Point(300, 200)), Figures(), ())
    assert picture[200, 300] == pytest.approx([0, 0, 255], abs=4)


def test_compose_fades_the_trail_with_age() -> None:
    """The path is brightest where the ball was last, and black where it was a second ago."""
    trail = [Footprint(1 - n / 30, Point(50 + 15 * n, 100)) for n in range(31)]
    picture = compose(blank(640, 480), Figures(), trail)
    light = picture[100, [60 + 15 * n for n in range(29)]].max(axis=1).astype(int)
    assert (np.diff(light) > 0).all()
    assert light[0] < 15
    assert light[-1] > 200
    assert picture[:90].max() == 0


@pytest.mark.parametrize("length", [0, 1])
def test_compose_draws_no_trail_of_less_than_two_points(length: int) -> None:
    """A path begins with its second point."""
    trail = [Footprint(0, Point(100, 100))] * length
    assert compose(blank(640, 480), Figures(), trail)[:400].max() == 0


def test_compose_never_darkens_the_ball_by_the_trail() -> None:
    """The trail lies behind the ball: it only ever adds light."""
    image = draw(Scene(), Point(300, 200))
    trail = [Footprint(1 - n / 30, Point(10 * n, 200)) for n in range(31)]
    assert (compose(image, Figures(), trail) >= compose(image, Figures(), ())).all()
    assert compose(image, Figures(), trail)[200, 300].min() > 250


def test_compose_draws_a_ring_where_the_ball_is_now() -> None:
    """The ring is around the point that is predicted, in a colour of its own, and leaves the middle free."""
    place = Point(300.25, 200.75)
    ring = compose(blank(640, 480), Figures(predicted=place), ())
    rows, columns = np.nonzero(ring[:400, :, 1] > 200)
    distances = np.hypot(columns - place.x, rows - place.y)
    assert len(rows) > 100
    assert distances.min() > 22
    assert distances.max() < 30
    assert abs(columns.mean() - place.x) < 0.5
    assert abs(rows.mean() - place.y) < 0.5
    compose(blank(640, 480), Figures(predicted=Point(-3000.0, 1e12)), ())  # outside there is nothing to draw on


# --- The strip -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("light", [0, 128, 255])
def test_compose_writes_figures_that_can_be_read_at_any_size(width: int, height: int, light: int) -> None:
    """Each figure has a place of its own below the film, large and bright enough, whatever is filmed."""
    image = np.full((height * 3 // 2, width), light, np.uint8)
    known = Figures(None, 0.004, 7.2, 30.0, 1234, 5, newest=Point(123.45, 67.89))
    plain = compose(image, Figures(), ()).astype(np.int16)
    assert lay_out(width, height, 7).text >= 13
    assert plain[height:].max(axis=2).min() < 30, "the ground is dark"
    boxes = []
    for name in ("newest", "error_px", "latency_ms", "fps", "scored", "lost"):
        changed = compose(image, Figures()._replace(**{name: getattr(known, name)}), ()).astype(np.int16) - plain
        assert np.abs(changed[:height]).max() == 0, "nothing is written on the film"
        assert np.abs(changed).max() > 120, "it can be read"
        boxes.append(np.abs(changed).max(axis=2) > 40)
    if width >= 320:
        lenses = boxes[0] & (np.arange(width) >= width - 2 * lay_out(width, height, 7).lens[0] * ZOOM)
        boxes[0] &= ~lenses
    assert sum(box.astype(int) for box in boxes).max() == 1, "no two overlap"


@pytest.mark.parametrize(("width", "height"), [*SIZES, (640, 100), (120, 640), (64, 64), (3840, 2160)])
@pytest.mark.parametrize("written", [True, False])
def test_compose_puts_everything_on_the_strip(width: int, height: int, written: bool) -> None:
    """The film stays as it is, the whole has sides that video can have, and the strip is no larger than it need be."""
    image, figures = blank(width, height), Figures(truth=Point(9, 9), newest=Point(9, 9), error_px=123.456)
    picture = compose(image, figures, (), written)
    assert picture.shape[0] % 2 == 0
    assert picture.shape[1] == width
    assert picture[:height].max() == 0
    assert picture.shape[0] - height < 300
    if width >= 320 and height >= 240:
        assert picture.shape[0] - height < 0.5 * height


def lenses(figures: Figures) -> tuple[np.ndarray, np.ndarray]:
    """Return what the lenses of a 640x480 picture show: truth and found, (100, 100, 3) uint8 each."""
    scene = Scene(radius=20)
    strip = compose(draw(scene, Point(300.25, 200.5)), figures, ())[480:]
    bottom = (len(strip) + 100 + 22) // 2
    return strip[bottom - 100 : bottom, -216:-116], strip[bottom - 100 : bottom, -108:-8]


def place_of(lens: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float]:
    """Return where the lines of a colour meet, in pixels of the film from the lens's middle: x, y."""
    rows, columns = np.nonzero(np.abs(lens.astype(int) - color).max(axis=2) < 30)
    return (float(np.median(columns)) - 49.5) / ZOOM, (float(np.median(rows)) - 49.5) / ZOOM


def test_lenses_show_truth_and_found_twenty_times() -> None:
    """Each has its cross where the point is, to a twentieth of a pixel: an error of half a pixel is plain."""
    truth, found = lenses(Figures(found=Point(300.75, 200.0), truth=Point(300.25, 200.5)))
    assert place_of(truth, TRUTH) == pytest.approx((0.25, 0.5), abs=0.06)
    assert place_of(found, FOUND) == pytest.approx((0.75, 0.0), abs=0.06)
    assert truth[5, 5].min() > 240, "the ball is white, and its middle is in the lens"


def test_lens_shows_no_mark_that_is_not_known() -> None:
    """Where no truth is known there is none; where nothing was found nothing is marked, and nothing is made up."""
    truth, found = lenses(Figures(found=Point(300.25, 200.5)))
    assert not (np.abs(truth.astype(int) - TRUTH).max(axis=2) < 30).any()
    assert (np.abs(found.astype(int) - FOUND).max(axis=2) < 30).any()
    for lens in lenses(Figures()):
        assert lens.max() < 30
    compose(blank(640, 480), Figures(found=Point(-1e12, 3.0), truth=Point(1e12, 3.0)), ())


def test_panel_text_says_what_is_not_known() -> None:
    """A figure that is not known is a dash, never a nought."""
    assert {value for _, value in panel_text(Figures())} == {"-"}
    assert [value for _, value in panel_text(Figures(None, 0.0, 0.0, 0.0, 0, 0, newest=Point(1, 2)))] == [
        "1.00", "2.00", "0.000", "0.0", "0.0", "0", "0",
    ]  # fmt: skip
