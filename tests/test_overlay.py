"""What is drawn over a frame: at the right place, in the right order, at any size."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ball_track import Point, Scene, blank, draw
from support.marks import find_cross, find_white
from views.overlay import compose, panel_text
from views.sightings import Figures, Footprint

SIZES = [(160, 120), (320, 240), (640, 480), (1280, 720), (1920, 1080)]


@given(st.floats(100, 540), st.floats(100, 360))
def test_compose_puts_the_cross_on_the_found_centre(x: float, y: float) -> None:
    """The centroid of the cross is the point that was found, as near as whole pixels can tell."""
    cross = find_cross(compose(blank(640, 480), Figures(found=Point(x, y)), ()))
    assert cross is not None
    assert math.dist(cross, (x, y)) < 0.6


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_compose_scales_with_the_picture(width: int, height: int) -> None:
    """The cross takes the same share of a picture of any size, and ball and cross share one centre."""
    scene = Scene(width, height, radius=height / 12, speed=0)
    place = Point(width / 2, height / 3)
    picture = compose(draw(scene, place), Figures(found=place), ())
    assert picture.shape == (height, width, 3)
    pink = np.abs(picture.astype(int) - compose(draw(scene, place), Figures(), ())).max(axis=2) > 40
    reach = np.nonzero(pink[: height // 2].any(axis=0))[0]
    assert np.ptp(reach) / min(width / 640, height / 480) == pytest.approx(33, abs=6)
    cross, ball = find_cross(picture), find_white(picture, scene.radius)
    assert cross is not None
    assert ball is not None
    assert math.dist(cross, ball) <= 1


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


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_compose_writes_figures_that_can_be_told_apart_at_any_size(width: int, height: int) -> None:
    """Each figure has a place of its own on the panel, and its text stands out from it."""
    image = blank(width, height)
    known = Figures(Point(123.45, 67.89), 0.004, 7.2, 30.0, 1234, 5)
    plain = compose(image, Figures(), ()).astype(int)
    boxes = []
    for name in ("error_px", "latency_ms", "fps", "scored", "lost"):
        changed = compose(image, Figures()._replace(**{name: getattr(known, name)}), ()).astype(int) - plain
        assert changed[: height * 6 // 10].max() == 0, "only the panel is written on"
        assert np.abs(changed).max() > 120, "it can be read"
        boxes.append(np.abs(changed).max(axis=2) > 40)
    assert sum(box.astype(int) for box in boxes).max() == 1, "no two overlap"


def test_panel_text_says_what_is_not_known() -> None:
    """A figure that is not known is a dash, never a nought."""
    assert {value for _, value in panel_text(Figures())} == {"-"}
    assert [value for _, value in panel_text(Figures(Point(1, 2), 0.0, 0.0, 0.0, 0, 0))] == [
        "1.00", "2.00", "0.000", "0.0", "0.0", "0", "0",
    ]  # fmt: skip
