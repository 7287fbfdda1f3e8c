"""picture_code.py: the number in a picture is the frame's own, or there is none."""

import itertools
import random
from collections.abc import Callable, Iterator
from functools import cache

import av
import cv2
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given, settings
from hypothesis import strategies as st

from ball_track import Image, Point, find, planes
from film.video_encoder import CODECS, create_codec, encode
from protocol import picture_code
from protocol.picture_code import (
    CELLS,
    CHECK_BITS,
    GRID,
    PERIOD,
    Legibility,
    Painter,
    blacken,
    check_of,
    crc,
    from_gray,
    gray,
    layout_of,
    name_frame,
    read,
)
from support.coded import RUN, coded_image, coded_scene, layout

SIZES = [(320, 240), (640, 480), (854, 480), (1280, 720), (1920, 1080)]
MAX_APART = 8  # frames, of which two may be seen at once
SPAN = 300  # frames that can be meant


def luma(image: Image) -> Image:
    """Return the Y plane."""
    return planes(image)[0]


def named(image: Image, width: int, height: int, newest: int) -> int | None:
    """Return which frame a picture is, as a reader names it that knows the run."""
    reading = read(image[:height], layout_of(width, height))
    if reading.legibility is not Legibility.READ:
        return None
    return name_frame(reading.number, reading.check, RUN, newest, SPAN)


# --- Mixtures, enumerated ------------------------------------------------------------------------


@cache
def checks_differ(differ: int) -> int:
    """Return in which cells the checks of two words differ whose Gray codes (epoch and number) differ in these."""
    return crc(differ.to_bytes(4, "big")) ^ crc(bytes(4))


def subsets(bits: int) -> Iterator[int]:
    """Return all subsets of some bits, all and none of them included."""
    subset = bits
    while True:
        yield subset
        if not subset:
            return
        subset = (subset - 1) & bits


def third_numbers(differences: set[int]) -> list[tuple[int, int]]:
    """Return the differences of two words of which some cells alone make a third word."""
    return [
        (differ, part)
        for differ in differences
        for allowed in (checks_differ(differ),)
        for part in subsets(differ)
        if not checks_differ(part) & ~allowed and part not in (0, differ)
    ]


def test_codes_mixed_of_two_near_numbers_are_no_third_number() -> None:
    """In all numbers and distances of 1 to 8 no choice of cells from two frames is the word of another frame."""
    numbers = np.arange(PERIOD)
    codes = numbers ^ numbers >> 1
    differences = {int(each) for apart in range(1, MAX_APART + 1) for each in np.unique(codes[:-apart] ^ codes[apart:])}
    assert third_numbers(differences) == []
    plain = {int(each) for apart in range(1, MAX_APART + 1) for each in np.unique(numbers[:-apart] ^ numbers[apart:])}
    assert third_numbers(plain), "plain binary, which is known to fail, passes: this test tests nothing"


def test_codes_mixed_where_the_numbers_wrap_are_no_third_number() -> None:
    """The same where one frame is of the next epoch, which is not written out: the numbers near by stay apart."""
    for epoch_bit, apart in itertools.product(range(16), range(1, MAX_APART + 1)):
        epoch = 1 << 16 + epoch_bit
        for number in range(PERIOD - apart, PERIOD):
            before, after = gray(number), gray(number + apart - PERIOD)
            differ = before ^ after
            allowed = checks_differ(differ) ^ checks_differ(epoch)
            for part, new in itertools.product(subsets(differ), (0, epoch)):
                if (part, new) in ((0, 0), (differ, epoch)):
                    continue
                near = from_gray(before ^ part) + (PERIOD if new else 0)
                can_be_meant = PERIOD - PERIOD // 2 < near < PERIOD + PERIOD // 2
                assert not can_be_meant or (checks_differ(part) ^ checks_differ(new)) & ~allowed


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 3 * PERIOD),
    st.integers(1, MAX_APART),
    st.floats(0, 1),
    st.floats(0.4, 2.5),
    st.integers(0, 480),
    st.floats(-3, 3),
)
def test_read_of_a_blend_or_a_tear_names_one_of_the_two_or_none(
    k: int, apart: int, weight: float, gamma: float, cut: int, slope: float
) -> None:
    """Two frames blended at any weight and gamma, and torn along any line, are one of the two or unreadable."""
    width, height = 640, 480
    painter = Painter(layout_of(width, height), RUN)
    first, second = images = [np.full((height * 3 // 2, width), 16, np.uint8) for _ in range(2)]
    for image, number in zip(images, (k, k + apart), strict=True):
        painter.paint(image, number)
    first, second = first[:height], second[:height]
    light = (np.arange(16, 236) - 16) / 219  # of each level; 1 is white
    mixed = (1 - weight) * light[:, None] ** gamma + weight * light**gamma
    table = np.rint(16 + 219 * mixed ** (1 / gamma)).astype(np.uint8)  # (220, 220), by both levels
    blend = table[first - 16, second - 16]
    below = np.arange(height)[:, None] > cut + slope * np.arange(width)
    for picture in (blend, np.where(below, first, second), np.where(below, first, blend)):
        assert named(picture, width, height, k + apart + 3) in (k, k + apart, None)


def test_read_refuses_blends_and_tears() -> None:
    """A blend of 60 to 40 is mixed, a picture torn in the middle is torn, and both are told apart."""
    scene = coded_scene()
    first, second = luma(coded_image(scene, 100)), luma(coded_image(scene, 101))
    blend = cv2.addWeighted(first, 0.6, second, 0.4, 0).astype(np.uint8)
    assert read(blend, layout(scene)).legibility is Legibility.MIXED
    torn = np.concatenate((first[:240], second[240:]))
    assert read(torn, layout(scene)).legibility is Legibility.TORN


def test_read_of_a_faint_ghost_is_not_sharp() -> None:
    """A picture with a quarter of its neighbour is named, and says that the ball may be pulled."""
    scene = coded_scene()
    first, second = luma(coded_image(scene, 100)), luma(coded_image(scene, 101))
    ghost = read(cv2.addWeighted(first, 0.75, second, 0.25, 0).astype(np.uint8), layout(scene))
    assert (ghost.legibility, ghost.number, ghost.sharp) == (Legibility.READ, 100, False)
    assert read(first, layout(scene)).sharp


# --- Names ---------------------------------------------------------------------------------------


@given(st.integers(0, 2**40), st.integers(0, SPAN - 1), st.integers(0, PERIOD - 1))
def test_name_frame_unwraps_whatever_can_be_meant(k: int, behind: int, run: int) -> None:
    """A frame of the last moments gets its own number, however often the numbers have wrapped."""
    assert name_frame(k % PERIOD, check_of(k, run), run, k + behind, SPAN) == k


@given(st.integers(0, 2**24), st.integers(0, 2**24))
def test_name_frame_never_gives_an_old_frame_a_new_name(k: int, newest: int) -> None:
    """A picture of long ago, such as a photograph or a view that has frozen, is of no frame that can be meant."""
    assert name_frame(k % PERIOD, check_of(k, RUN), RUN, newest, SPAN) == (k if 0 <= newest - k < SPAN else None)


@given(st.integers(0, 2**20), st.integers(0, PERIOD - 1))
def test_name_frame_knows_another_runs_numbers(k: int, run: int) -> None:
    """The number of another run names nothing, even where that run had got as far."""
    assert (name_frame(k % PERIOD, check_of(k, run), RUN, k, SPAN) == k) == (run == RUN)


def test_crc_is_the_one_that_others_compute() -> None:
    """The check is the CRC of the standard, by its own check value and as a remainder of polynomials."""
    assert crc(b"123456789") == 0xEA82
    for data in (b"\x00", b"ball", bytes(range(40))):
        bits = "".join(f"{byte:08b}"[::-1] for byte in data) + "0" * 16
        remainder = int(bits, 2)
        for shift in range(len(bits) - 17, -1, -1):
            if remainder >> shift + 16 & 1:
                remainder ^= 0x13D65 << shift
        assert crc(data) == int(f"{remainder:016b}"[::-1], 2) ^ 0xFFFF


# --- Layout --------------------------------------------------------------------------------------


@given(st.integers(160, 2048).map(lambda half: 2 * half), st.integers(64, 2048).map(lambda half: 2 * half))
def test_layout_of_any_size_leaves_most_of_the_picture_and_lies_on_the_grid(width: int, height: int) -> None:
    """Outline, rows and inside lie within the picture, one within the other, on whole macroblocks."""
    code = layout_of(width, height)
    left, top, right, bottom = code.inside
    assert 0 < code.band <= left < right <= width - code.band
    assert code.left >= code.band
    assert code.left + CELLS * code.cell <= code.right
    assert top + height // 2 <= bottom <= code.bottom <= code.low <= height - code.band
    on_grid = (code.band, code.right, code.low, code.bottom, code.top)
    assert all(each % GRID == 0 for each in on_grid)
    assert code.left % min(code.cell, GRID) == 0
    assert code.cell % GRID == 0 or code.cell == GRID // 2


@pytest.mark.parametrize("size", [(318, 240), (320, 110), (64, 64)])
def test_layout_of_a_small_picture_is_refused(size: tuple[int, int]) -> None:
    """Where there is no room for cells that survive, one line says what there has to be."""
    with pytest.raises(ValueError, match=rf"{size[0]}x{size[1]}.*at least"):
        layout_of(*size)


def test_blacken_leaves_the_ball_as_it_was() -> None:
    """Without its margins the picture is as if there were no code, and so is the place of the ball."""
    for size in SIZES:
        scene = coded_scene(*size, radius=8)
        painter = Painter(layout(scene), RUN)
        for k in range(0, 300, 50):
            image = coded_image(scene, k)
            plain = image.copy()
            blacken(planes(image), layout(scene))
            painter.paint(plain, k)
            place = find(image)
            assert place is not None
            assert abs(place.x - scene.position(k).x) < 0.05
            assert abs(place.y - scene.position(k).y) < 0.05


def test_find_sees_no_ball_in_the_margins_alone() -> None:
    """A coded picture without a ball has none, be its margins seen or not."""
    scene = coded_scene()
    image = np.concatenate((np.full((480, 640), 16, np.uint8), np.full((240, 640), 128, np.uint8)))
    Painter(layout(scene), RUN).paint(image, 77)
    assert find(image) is None
    blacken(planes(image), layout(scene))
    assert find(image) is None


# --- What lies on the way ------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bitrate", [100_000, 500_000, 2_000_000])
@pytest.mark.parametrize("size", [(320, 240), (640, 480)])
def test_read_after_a_codec_names_every_frame(codec: str, bitrate: int, size: tuple[int, int]) -> None:
    """What our encoders leave of the code at 100k to 2M is read in every frame, and again at half as large."""
    scene = coded_scene(*size)
    encoder = create_codec(codec, scene.width, scene.height, scene.fps, bitrate)
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    first = PERIOD - 30  # the numbers wrap meanwhile
    decoded: list[Image] = []
    for k in range(60):
        data = encode(encoder, k, coded_image(scene, first + k), key=k == 0)
        decoded += [frame.to_ndarray().astype(np.uint8) for frame in decoder.decode(av.Packet(data))]
    decoded += [frame.to_ndarray().astype(np.uint8) for frame in decoder.decode(None)]
    assert [named(image, *size, first + 70) for image in decoded] == [first + k for k in range(60)]


def jpeg(image: Image) -> Image:
    """Return an image after JPEG at quality 30."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def resized(image: Image, factor: float) -> Image:
    """Return an image scaled, and scaled back."""
    scaled = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(scaled, image.shape[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def with_gamma(image: Image, gamma: float) -> Image:
    """Return an image on another screen."""
    return np.rint(255 * (image / 255) ** gamma).astype(np.uint8)


def with_noise(image: Image, deviation: float) -> Image:
    """Return an image as a sensor sees it."""
    return np.clip(image + np.random.default_rng(1).normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "worsen",
    [
        jpeg,
        lambda image: resized(image, 0.5),
        lambda image: resized(image, 1.5),
        lambda image: with_gamma(image, 0.7),
        lambda image: with_gamma(image, 1.3),
        lambda image: with_noise(image, 8),
        lambda image: cv2.GaussianBlur(image, (0, 0), 2).astype(np.uint8),
        lambda image: (image / 4 + 100).astype(np.uint8),
    ],
    ids=["jpeg", "half", "larger", "bright", "dark", "noise", "blur", "pale"],
)
def test_read_of_a_worsened_picture_names_it(worsen: Callable[[Image], Image]) -> None:
    """Compression, scaling, gamma, noise, blur and little contrast leave the number readable."""
    scene = coded_scene()
    for k in (0, 12_345, PERIOD - 1, PERIOD, 5 * PERIOD + 40_000):
        assert named(worsen(luma(coded_image(scene, k))), 640, 480, k + 5) == k


def test_read_of_a_picture_upside_down_mirrored_or_negative_is_none() -> None:
    """What is not the film as it was shown has no code."""
    scene = coded_scene()
    shown = luma(coded_image(scene, 4321))
    for changed in (shown[::-1, ::-1], shown[:, ::-1], 255 - shown, shown[::-1]):
        assert named(np.ascontiguousarray(changed), 640, 480, 4325) is None


def test_read_of_noise_names_nothing_false() -> None:
    """Where noise drowns the number it is unread, and never another one that can be meant."""
    dice, code = np.random.default_rng(3), layout_of(640, 480)
    scene = coded_scene()
    image = luma(coded_image(scene, 200)).astype(np.float32)
    named_right = 0
    for _ in range(400):
        noise = dice.normal(0, 1, (30, 40)).astype(np.float32)
        blurred = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_NEAREST) * dice.uniform(0, 150)
        name = named(np.clip(image + blurred, 0, 255).astype(np.uint8), code.width, code.height, 290)
        assert name in (None, 200)
        named_right += name == 200
    assert 0 < named_right < 400


def test_read_of_views_without_a_code_names_nothing() -> None:
    """Random views, stripes among them, are named nothing."""
    dice = np.random.default_rng(4)
    code = layout_of(640, 480)
    for _ in range(300):
        cells = tuple(dice.integers(1, 60, 2))
        view = cv2.resize(dice.integers(0, 256, cells, np.uint8), (640, 480), interpolation=cv2.INTER_NEAREST)
        for seen in (view, np.tile(view[:1], (480, 1))):
            assert read(seen.astype(np.uint8), code).legibility is not Legibility.READ


# --- A camera ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0, 1), st.floats(0.01, 1.5), st.floats(0, 1), st.sampled_from([10, 15, 24, 30, 60]), st.integers(0, 99)
)
def test_read_of_a_rolling_shutter_names_a_frame_that_is_on_the_screen_meanwhile(
    phase: float, exposure: float, readout: float, film_fps: int, number: int
) -> None:
    """Whatever phase, exposure and speed of its rows a camera of 30 fps has, it names what it saw, or nothing."""
    width, height, camera = 640, 480, 1 / 30
    painter = Painter(layout_of(width, height), RUN)
    shown: dict[int, Image] = {}
    random.seed(number)
    first = random.randrange(3 * PERIOD)
    picture = np.zeros((height, width))
    begin = camera * (2 + phase)
    for row in range(height):
        opens = begin + readout * camera * row / height
        closes = opens + exposure * camera
        for k in range(int(opens * film_fps), int(closes * film_fps) + 1):
            if k not in shown:
                shown[k] = np.full((height * 3 // 2, width), 16, np.uint8)
                painter.paint(shown[k], first + k)
            share = min(closes, (k + 1) / film_fps) - max(opens, k / film_fps)
            picture[row] += shown[k][row] * max(0.0, share) / (closes - opens)
    name = named(np.rint(picture).astype(np.uint8), width, height, first + max(shown))
    assert name is None or name - first in shown


def test_painter_and_reader_agree_at_every_size() -> None:
    """What is drawn is read, from the smallest picture to the largest, at every number."""
    for size in [*SIZES, (320, 128), (4096, 2304), (2050, 1152)]:
        scene = coded_scene(*size, radius=3)
        for k in (0, 1, 43_690, 65_535, 65_536, 10**7):
            assert named(coded_image(scene, k), *size, k) == k


def test_check_and_number_fill_the_row() -> None:
    """Number, check and references are all that a row has."""
    assert CELLS == picture_code.NUMBER_BITS + CHECK_BITS + 4


def test_scene_keeps_its_ball_out_of_the_margins() -> None:
    """The walls move inwards by the margins, and no rim ever reaches the code."""
    for size in SIZES:
        scene = coded_scene(*size, radius=8)
        left, top, right, bottom = layout(scene).inside
        places = [scene.position(k) for k in range(2000)]
        assert min(place.x for place in places) >= left + 8
        assert max(place.x for place in places) <= right - 8
        assert min(place.y for place in places) >= top + 8
        assert max(place.y for place in places) <= bottom - 8
        assert isinstance(places[0], Point)
