"""ball_track.py: the ruler. Motion against a stepper, drawing against supersampling, finding against drawing."""

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, TypeVar

import av
import numpy as np
import pytest
from aiortc.codecs.base import Decoder, Encoder
from aiortc.codecs.h264 import H264Decoder, H264Encoder, h264_depayload
from aiortc.codecs.vpx import Vp8Decoder, Vp8Encoder, vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from av.video.codeccontext import VideoCodecContext
from hypothesis import given, settings
from hypothesis import strategies as st

from ball_track import (
    BLACK_YUV,
    COLORS,
    MIN_RADIUS,
    Image,
    Point,
    Scene,
    blank,
    coverage,
    coverage_gradient,
    draw,
    edges_of,
    find,
    fold,
    planes,
)
from film.video_encoder import CODECS, create_codec, encode

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

discs = {"x": st.floats(-2, 14), "y": st.floats(-2, 12), "radius": st.floats(1.5, 8)}
ROWS, COLUMNS = 11, 13


@given(**discs)
@settings(max_examples=40)
def test_coverage_agrees_with_supersampling(x: float, y: float, radius: float) -> None:
    """Each pixel's share is the part of 64 x 64 points in it that lie in the disc."""
    fine = 64
    points = (np.arange(fine) + 0.5) / fine - 0.5
    px = (np.arange(COLUMNS)[:, None] + points).ravel()
    py = (np.arange(ROWS)[:, None] + points).ravel()
    inside = np.hypot(px - x, py[:, None] - y) < radius
    share = inside.reshape(ROWS, fine, COLUMNS, fine).mean(axis=(1, 3))
    assert np.abs(coverage(edges_of(x, y, radius, ROWS, COLUMNS)) - share).max() < 0.01


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.3, 60))
def test_coverage_adds_up_to_the_disc(x: float, y: float, radius: float) -> None:
    """The shares add up to pi r^2, and from the smallest ball on their centroid is the centre."""
    size = 2 * math.ceil(radius) + 4
    x, y = x + size / 2 - 0.5, y + size / 2 - 0.5
    share = coverage(edges_of(x, y, radius, size, size))
    assert share.sum() == pytest.approx(math.pi * radius**2, rel=1e-7)
    assert share.min() >= 0
    assert share.max() <= 1
    if radius >= MIN_RADIUS:
        rows, columns = np.mgrid[:size, :size]
        assert (share * columns).sum() / share.sum() == pytest.approx(x, abs=0.003)
        assert (share * rows).sum() / share.sum() == pytest.approx(y, abs=0.003)


@given(**discs)
def test_coverage_gradient_is_the_difference_of_coverage(x: float, y: float, radius: float) -> None:
    """What moving the disc by a little changes is what the gradient says."""
    h = 1e-5
    right, down = coverage_gradient(edges_of(x, y, radius, ROWS, COLUMNS))
    for gradient, dx, dy in ((right, h, 0), (down, 0, h)):
        after, before = (coverage(edges_of(x + s * dx, y + s * dy, radius, ROWS, COLUMNS)) for s in (1, -1))
        # where an edge of a pixel touches the disc the chord grows like a square root
        assert np.abs(gradient - (after - before) / (2 * h)).max() < 3 * math.sqrt(radius * h)


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


# --- Finding -------------------------------------------------------------------------------------


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


def noisy_images() -> Iterator[tuple[str, Image]]:
    """Return images without a ball, by name."""
    noise = np.random.default_rng(2)
    for width, height in SIZES[:4]:
        black = blank(width, height)
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


@pytest.mark.parametrize(("name", "image"), [pytest.param(*each, id=f"{each[0]}") for each in noisy_images()])
def test_find_finds_nothing_where_nothing_is(name: str, image: Image) -> None:
    """An image that is empty, or merely noisy, has no ball in it."""
    assert find(image) is None


def test_find_takes_no_bar_for_a_ball() -> None:
    """What is long is no ball, nor are two."""
    bar, two = blank(640, 480), blank(640, 480)
    bar[200:220, 100:500] = 235
    assert find(bar) is None
    scene = Scene()
    np.maximum(draw(scene, Point(100, 100)), draw(scene, Point(400, 300)), out=two)
    assert find(two) is None


# --- After a codec -------------------------------------------------------------------------------


SETTLED = 15  # frames after which the encoder has recovered from the size of its key frame


def image_of(frame: av.VideoFrame) -> Image:
    """Return a frame as find takes it."""
    return np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)


def through_codec(name: str, scene: Scene, bitrate: int, count: int) -> Iterator[tuple[int, Image]]:
    """Send a film through our encoder and PyAV's decoder."""
    encoder = create_codec(name, scene.width, scene.height, scene.fps, bitrate)
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    seen = 0
    for k in range(count):
        data = encode(encoder, k, draw(scene, scene.position(k)), key=k == 0)
        for frame in decoder.decode(av.Packet(data)):
            yield seen, image_of(frame)
            seen += 1
    for frame in decoder.decode(None):
        yield seen, image_of(frame)
        seen += 1
    assert seen == count


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("color", "mean", "most"), [("white", 0.015, 0.06), ("blue", 0.03, 0.15)])
def test_find_finds_it_after_our_encoder(codec: str, color: str, mean: float, most: float) -> None:
    """At the default bit rate, the ball moving and bouncing, it is found to a hundredth of a pixel."""
    scene = Scene(color=COLORS[color], seed=3)
    wrong = [
        math.dist(given_value(find(image)), scene.position(k)) for k, image in through_codec(codec, scene, 500_000, 90)
    ]
    assert max(wrong) < 1.5
    assert np.mean(wrong[SETTLED:]) < mean
    assert max(wrong[SETTLED:]) < most


CODERS: dict[str, tuple[type[Encoder], type[Decoder], Any]] = {
    "vp8": (Vp8Encoder, Vp8Decoder, vp8_depayload),
    "h264": (H264Encoder, H264Decoder, h264_depayload),
}


@pytest.mark.parametrize("codec", CODERS)
@pytest.mark.parametrize("color", ["white", "blue"])
def test_find_finds_it_after_aiortc(codec: str, color: str) -> None:
    """Through aiortc's own encoder, its packets and its decoder the ball is found to a few hundredths."""
    encoder_type, decoder_type, depayload = CODERS[codec]
    encoder, decoder = encoder_type(), decoder_type()
    scene = Scene(color=COLORS[color], seed=4)
    wrong: list[float] = []
    for k in range(60):
        frame = av.VideoFrame.from_ndarray(draw(scene, scene.position(k)), format="yuv420p")
        frame.pts, frame.time_base = k * 3000, Fraction(1, 90000)
        payloads, timestamp = encoder.encode(frame, force_keyframe=k == 0)
        data = b"".join(depayload(payload) for payload in payloads)
        for seen in decoder.decode(JitterFrame(data, timestamp)):
            assert isinstance(seen, av.VideoFrame)
            wrong.append(math.dist(given_value(find(image_of(seen))), scene.position(len(wrong))))
    assert len(wrong) >= 58  # a decoder may keep the last ones
    assert max(wrong) < 1.5
    assert np.mean(wrong[SETTLED:]) < 0.04
    assert max(wrong[SETTLED:]) < 0.2
