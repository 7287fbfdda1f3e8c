"""ball_track.py: the ruler. Motion against a stepper, drawing against geometry."""

import math
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ball_track import BLACK_YUV, COLORS, MIN_RADIUS, Point, Scene, blank, draw, find, fold, planes
from support.places import places

# --- The scene -----------------------------------------------------------------------------------

scenes = st.builds(
    lambda width, height, fps, radius, speed, seed: Scene(
        2 * width,
        2 * height,
        fps,
        MIN_RADIUS + radius * (min(width, height) - MIN_RADIUS),
        speed * 2 * min(width, height) * fps,
        seed=seed,
    ),
    width=st.integers(32, 640),
    height=st.integers(32, 640),
    fps=st.sampled_from([1, 24, 29.97, 30, 60, 240]),
    radius=st.floats(0, 0.999),
    speed=st.floats(0, 0.999),
    seed=st.integers(),
)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("size 0x0", {"width": 0, "height": 0}),
        ("size 62x64", {"width": 62, "height": 64}),
        ("size 641x480", {"width": 641}),
        ("size 640x481", {"height": 481}),
        ("size 4098x480", {"width": 4098}),
        ("size 640x-480", {"height": -480}),
        ("fps 0", {"fps": 0}),
        ("fps -1", {"fps": -1}),
        ("fps 241", {"fps": 241}),
        ("fps nan", {"fps": math.nan}),
        ("fps inf", {"fps": math.inf}),
        ("radius 2.9", {"radius": 2.9}),
        ("radius 241", {"radius": 241}),
        ("radius nan", {"radius": math.nan}),
        ("speed -1", {"speed": -1}),
        ("speed 14401", {"speed": 14401}),
        ("speed nan", {"speed": math.nan}),
        ("speed inf", {"speed": math.inf}),
        (r"color \(-1, 0, 255\)", {"color": (-1, 0, 255)}),
        (r"color \(0, 256, 0\)", {"color": (0, 256, 0)}),
        (r"color \(0, 0, 0\)", {"color": (0, 0, 0)}),
        (r"color \(20, 20, 20\)", {"color": (20, 20, 20)}),
    ],
)
def test_scene_refuses_a_bad_field(field: str, fields: dict[str, Any]) -> None:
    """The complaint opens with the field and its value, and goes on with the rule."""
    with pytest.raises(ValueError, match=f"^{field}: (.*must be|too dark)"):
        Scene(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 64, "height": 64, "radius": 3, "speed": 0},
        {"width": 64, "height": 64, "radius": 32},
        {"width": 4096, "height": 4096, "fps": 240, "speed": 4096 * 240},
        {"fps": 1},
        {"seed": -(10**30)},
        *({"color": color} for color in COLORS.values()),
    ],
)
def test_scene_takes_the_ends_of_each_range(fields: dict[str, Any]) -> None:
    """What the table of ranges allows is a scene, and its ball can be drawn where it starts."""
    scene = Scene(**fields)
    assert draw(scene, scene.position(0)).shape == (scene.height * 3 // 2, scene.width)


@pytest.mark.parametrize(
    ("color", "yuv"), [("white", (235, 128, 128)), ("blue", (41, 240, 110)), ("red", (81, 90, 240))]
)
def test_scene_yuv_is_that_of_the_standard(color: str, yuv: tuple[int, int, int]) -> None:
    """The colours of BT.601's colour bars have the levels that every table of them gives."""
    assert Scene(color=COLORS[color]).yuv == yuv


@given(scenes)
@settings(max_examples=60)
def test_position_agrees_with_stepping_and_reflecting(scene: Scene) -> None:
    """The closed form is where a ball gets to that goes step by step and turns round at each wall."""
    low, right, bottom = scene.radius - 0.5, scene.width - 0.5 - scene.radius, scene.height - 0.5 - scene.radius
    x, y, vx, vy = scene._start
    for k in range(300):
        assert math.dist(scene.position(k), (x, y)) < 1e-6
        x, y = x + vx, y + vy
        while not low <= x <= right:
            x, vx = (2 * low - x, -vx) if x < low else (2 * right - x, -vx)
        while not low <= y <= bottom:
            y, vy = (2 * low - y, -vy) if y < low else (2 * bottom - y, -vy)


@given(scenes, st.floats(0, 1e7))
def test_position_is_inside_the_walls(scene: Scene, k: float) -> None:
    """No part of the ball is ever outside the image, at fractions of a frame neither."""
    x, y = scene.position(k)
    assert scene.radius - 0.5 - 1e-6 <= x <= scene.width - 0.5 - scene.radius + 1e-6
    assert scene.radius - 0.5 - 1e-6 <= y <= scene.height - 0.5 - scene.radius + 1e-6


@given(scenes)
def test_position_moves_with_the_speed(scene: Scene) -> None:
    """Between two frames without a bounce the ball goes speed / fps pixels, and along both axes."""
    _, _, vx, vy = scene._start
    assert math.hypot(vx, vy) == pytest.approx(scene.speed / scene.fps)
    if scene.speed > 1e-3:
        assert 15 - 1e-6 <= math.degrees(math.atan2(abs(vy), abs(vx))) <= 75 + 1e-6


def test_position_depends_on_the_seed_alone() -> None:
    """The same seed is the same path, another seed another one, in all four directions."""
    assert Scene(seed=5).position(77) == Scene(seed=5).position(77)
    starts = [Scene(seed=seed)._start for seed in range(40)]
    assert len(set(starts)) == 40
    assert {(vx > 0, vy > 0) for _, _, vx, vy in starts} == {(a, b) for a in (False, True) for b in (False, True)}


@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_fold_is_a_triangle_wave(along: float, low: float, span: float) -> None:
    """It stays between the walls, is the identity between them, mirrors at each, and repeats."""
    high = low + span
    folded = fold(along, low, high)
    near = pytest.approx(folded, abs=1e-6)
    assert low - 1e-9 <= folded <= high + 1e-9
    assert fold(2 * low - along, low, high) == near
    assert fold(2 * high - along, low, high) == near
    assert fold(along + 2 * span, low, high) == near
    if low <= along <= high:
        assert folded == pytest.approx(along, abs=1e-6)


def test_fold_of_no_room_is_the_wall() -> None:
    """A ball that just fits does not move."""
    assert fold(123.4, 5, 5) == 5


# --- Drawing -------------------------------------------------------------------------------------


def test_planes_are_views_of_the_image() -> None:
    """What is written to a plane is in the image: Y first, then U, then V."""
    image = blank(6, 4)
    for value, plane in enumerate(planes(image)):
        plane[:] = value
    assert [plane.shape for plane in planes(image)] == [(4, 6), (2, 3), (2, 3)]
    assert image.ravel().tolist() == [0] * 24 + [1] * 6 + [2] * 6


@pytest.mark.parametrize("shape", [(480, 640, 3), (480,), (481, 640), (480, 641), (0, 640), (480, 0), ()])
def test_planes_and_find_refuse_what_is_no_image(shape: tuple[int, ...]) -> None:
    """An array of another shape is named as what it is, rather than read as something else."""
    for function in (planes, find):
        with pytest.raises(ValueError, match="I420"):
            function(np.zeros(shape, np.uint8))


def test_blank_is_black() -> None:
    """Black as a decoder shows it: to BGR it converts to nought everywhere."""
    frame = av.VideoFrame.from_ndarray(blank(64, 48), format="yuv420p")
    assert (frame.width, frame.height) == (64, 48)
    assert not frame.to_ndarray(format="bgr24").any()


@pytest.mark.parametrize("color", COLORS)
def test_draw_shows_the_colour(color: str) -> None:
    """A decoder's conversion gives the colour back inside the ball, and black outside of it."""
    scene = Scene(64, 64, radius=20, color=COLORS[color], speed=0)
    bgr = av.VideoFrame.from_ndarray(draw(scene, Point(31.5, 31.5)), format="yuv420p").to_ndarray(format="bgr24")
    assert np.abs(bgr[24:40, 24:40].astype(int) - COLORS[color]).max() <= 6
    rows, columns = np.mgrid[:64, :64]
    outside = np.hypot(rows - 31.5, columns - 31.5) > 20 + 3
    assert bgr[outside].max() == 0


def test_draw_is_symmetric() -> None:
    """A ball in the middle is the same from all four sides, in all planes."""
    image = draw(Scene(128, 128, radius=23.4, color=COLORS["orange"]), Point(63.5, 63.5))
    for plane in planes(image):
        for turned in (plane[::-1], plane[:, ::-1], plane.T):
            assert np.array_equal(plane, turned)


@pytest.mark.parametrize("center", [Point(31.5, 31.5), Point(9.5, 9.5), Point(53.5, 40.25), Point(20.125, 53.5)])
def test_draw_changes_nothing_outside_of_the_ball(center: Point) -> None:
    """Every sample that the disc does not touch is black, those that it covers whole have its colour."""
    scene = Scene(64, 64, radius=10, color=COLORS["yellow"])
    rows, columns = np.mgrid[:64, :64]
    distance = np.hypot(columns - center.x, rows - center.y)
    luma, u, v = planes(draw(scene, center))
    assert set(luma[distance > 10 + 0.71]) == {BLACK_YUV[0]}
    assert set(luma[distance < 10 - 0.71]) == {scene.yuv[0]}
    far = distance.reshape(32, 2, 32, 2).min(axis=(1, 3)) > 10 + 0.71
    assert set(u[far]) | set(v[far]) == {BLACK_YUV[1]}


@pytest.mark.parametrize("color", ["white", "blue", "red"])
def test_draw_has_its_centroid_where_it_was_asked_for(color: str) -> None:
    """In each plane that shows the ball the centre of mass is the centre, to the rounding of its samples."""
    scene = Scene(color=COLORS[color])
    for center in places(scene, 30):
        image = draw(scene, center)
        for plane, scale, black, own in zip(planes(image), (1, 2, 2), BLACK_YUV, scene.yuv, strict=True):
            if abs(own - black) < 16:
                continue
            mass = (plane.astype(float) - black) / (own - black)
            rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]]
            x, y = ((mass * columns).sum() / mass.sum(), (mass * rows).sum() / mass.sum())
            found = (scale * (x + 0.5) - 0.5, scale * (y + 0.5) - 0.5)
            assert math.dist(found, center) < 0.03
