"""margins.py: who looks for the ball does not see the number, and what shows the film does."""

import numpy as np

from ball_track import Image, Point, Scene, blank, draw, find, planes
from common.processes import share
from finding.margins import Margins
from support.coded import coded_image, coded_scene, layout


def found_in(image: Image, margins: Margins) -> Point | None:
    """Return where the ball is found in an image without its margins."""
    seen = planes(image)
    with_code = image.copy()
    shared = share(margins.paint_out(seen), None)
    try:
        return find(shared.array)
    finally:
        shared.close()
        assert np.array_equal(image, with_code), "what the views show was changed"


def test_paint_out_lets_the_ball_be_found() -> None:
    """With the code in the picture, the ball is where it is without; and so from the first frame on."""
    scene, margins = coded_scene(), Margins()
    for k in range(0, 200, 20):
        assert found_in(coded_image(scene, k), margins) == find(draw(scene, scene.position(k)))


def test_paint_out_goes_on_where_a_number_cannot_be_read() -> None:
    """Once there was a code, its place is painted out in every picture of that size."""
    scene, margins = coded_scene(), Margins()
    found_in(coded_image(scene, 0), margins)
    damaged = coded_image(scene, 1)
    damaged[layout(scene).top : layout(scene).top + 8, 100:300] = 126
    assert found_in(damaged, margins) == find(draw(scene, scene.position(1)))


def test_paint_out_leaves_pictures_without_a_code_as_they_are() -> None:
    """Nothing is copied, and a ball in what would be the margins is found; small pictures are no matter."""
    margins = Margins()
    for scene in (Scene(), Scene(64, 64)):
        image = draw(scene, Point(10, 10))
        assert margins.paint_out(planes(image))[0] is not None
        seen = planes(image)
        assert margins.paint_out(seen) is seen
    assert found_in(blank(640, 480), margins) is None
