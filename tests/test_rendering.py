"""What frames show: known pictures in many forms, held against themselves, and against what FFmpeg makes of them."""

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from common.rendering import Renderer, SourceError
from film.sources import SourceFilm
from support.media import COLORS, colored_bars, write_video

NEAR = 5  # levels of 255, by which two roundings and swscale's dithering may be off


def to_rgb(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return an image of a film, I420 in video range by BT.601, as (H, W, 3) RGB. Source: ITU-R BT.601-7, 2.5."""
    height, width = image.shape[0] * 2 // 3, image.shape[1]
    luma = (image[:height].astype(float) - 16) / 219
    chroma = (image[height:].reshape(2, height // 2, width // 2).astype(float) - 128) / 224
    blue, red = chroma.repeat(2, axis=1).repeat(2, axis=2)
    return 255 * np.stack((luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue), axis=-1)


def colors_of(image: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """Return the colours in the middle of the bars that an image shows."""
    rgb = to_rgb(image)
    wide = rgb.shape[1] // len(COLORS)
    return [rgb[rgb.shape[0] // 2, i * wide + wide // 2] for i in range(len(COLORS))]


def render(frame: av.VideoFrame, aspect: Fraction = Fraction(1)) -> NDArray[np.uint8]:
    """Return what one frame shows."""
    return Renderer(lambda _: None).render(frame, aspect)


@pytest.mark.parametrize("matrix", ["ITU601", "ITU709", "BT2020"])
@pytest.mark.parametrize("color_range", ["MPEG", "JPEG"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "yuva420p"])
def test_render_shows_the_colors_that_are_meant(pixel_format: str, color_range: str, matrix: str):
    """White, black, grey and colours are what they were before they were written in any range and matrix."""
    frame = av.VideoFrame.from_ndarray(colored_bars(), format="rgb24").reformat(
        format=pixel_format, src_color_range="JPEG", dst_color_range=color_range, dst_colorspace=matrix
    )
    for color, shown in zip(COLORS, colors_of(render(frame)), strict=True):
        assert shown == pytest.approx(color, abs=NEAR)


@pytest.mark.parametrize("pixel_format", ["rgb24", "bgra", "gbrp", "rgb48le", "yuvj420p", "yuvj422p", "yuvj444p"])
def test_render_shows_full_range_by_the_format_alone(pixel_format: str):
    """What is RGB, or of a format that says full range by its name, is taken for that."""
    frame = av.VideoFrame.from_ndarray(colored_bars(), format="rgb24").reformat(
        format=pixel_format, dst_color_range="JPEG" if pixel_format.startswith("yuvj") else None
    )
    for color, shown in zip(COLORS, colors_of(render(frame)), strict=True):
        assert shown == pytest.approx(color, abs=NEAR)


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le"])
def test_render_shows_grey_by_its_light(pixel_format: str):
    """A picture without colours is as light as it was, and grey."""
    frame = av.VideoFrame.from_ndarray(colored_bars(), format="rgb24").reformat(format=pixel_format)
    for color, shown in zip(COLORS[:3], colors_of(render(frame))[:3], strict=True):  # white, black, grey
        assert shown == pytest.approx(color, abs=NEAR)


def test_render_leaves_alone_what_is_as_it_should_be():
    """Video range, BT.601 or no word of it: each byte stays."""
    picture = np.random.default_rng(0).integers(16, 235, (360, 320), np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    assert np.array_equal(render(frame), picture)


async def test_file_of_full_range_is_shown_as_meant(tmp_path: Path):
    """MJPEG, as most USB cameras give it, and H.264 marked as full range, show white as white and black as black."""
    for name, codec in (("clip.avi", "mjpeg"), ("clip.mp4", "libx264")):
        path = write_video(tmp_path / name, codec, pixel_format="yuvj420p")
        async with SourceFilm(str(path)) as film:
            image = (await film.next(-1)).image
        for color, shown in zip(COLORS, colors_of(image), strict=True):
            assert shown == pytest.approx(color, abs=2 * NEAR)


Turn = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
# a, b, c, d of a display matrix, and what it makes of a picture. Source: ISO/IEC 14496-12, 6.2.2
TURNS: dict[str, tuple[tuple[int, int, int, int], Turn]] = {
    "a quarter clockwise": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "a quarter the other way": ((0, -1, 1, 0), lambda picture: np.rot90(picture, 1)),
    "upside down": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "as in a mirror": ((-1, 0, 0, 1), np.fliplr),
    "mirrored upside down": ((1, 0, 0, -1), np.flipud),
    "mirrored and a quarter turned": ((0, 1, 1, 0), lambda picture: picture.swapaxes(0, 1)),
    "mirrored and three quarters turned": ((0, -1, -1, 0), lambda picture: np.rot90(picture, 2).swapaxes(0, 1)),
    "not at all": ((1, 0, 0, 1), lambda picture: picture),
}


@pytest.mark.parametrize("turn", TURNS)
async def test_file_that_lies_on_its_side_is_set_upright(tmp_path: Path, turn: str):
    """A phone's film is shown as every player shows it, whichever way the phone was held, mirrored or not."""
    matrix, expected = TURNS[turn]
    path = write_video(tmp_path / "clip.mp4", "libx264", colored_bars(quartered=True), matrix=matrix)
    async with SourceFilm(str(path)) as film:
        image = (await film.next(-1)).image
        assert (film.height, film.width) == expected(colored_bars()).shape[:2]
    assert np.mean(np.abs(to_rgb(image) - expected(colored_bars(quartered=True)))) < 2 * NEAR


async def test_file_whose_pixels_are_not_square_is_stretched(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """What is filmed with wide pixels is as wide as every player shows it, and one line says so."""
    path = write_video(tmp_path / "clip.mp4", "libx264", aspect=Fraction(4, 3))
    async with SourceFilm(str(path)) as film:
        image = (await film.next(-1)).image
        assert (film.width, film.height) == (426, 240)
    for color, shown in zip(COLORS, colors_of(image), strict=True):
        assert shown == pytest.approx(color, abs=2 * NEAR)
    assert [record.getMessage() for record in caplog.records] == [
        f"source {path}: its pixels are 4/3 times as wide as high: shown as 426x240"
    ]
    assert all(record.levelno == logging.WARNING for record in caplog.records)


@pytest.mark.parametrize("size", [(321, 241), (320, 241), (321, 240)])
def test_render_cuts_off_an_odd_row_or_column(size: tuple[int, int]):
    """A picture of an odd size loses a row or a column, and nothing else moves."""
    width, height = size
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[100:140, 100:140] = 255
    image = render(av.VideoFrame.from_ndarray(rgb, format="rgb24"))
    assert image.shape == (360, 320)
    assert (image[100:140, 100:140] > 230).all()
    assert (np.sum(image[:240] > 100)) == 40 * 40


def test_render_refuses_what_has_no_size_for_a_film():
    """The first picture's size must be that of a film, as it is shown."""
    with pytest.raises(SourceError, match="pictures of 32x32: must be 64 to 4096 px"):
        render(av.VideoFrame(32, 32, "yuv420p"))
    with pytest.raises(SourceError, match="pictures of 6400x64"):
        render(av.VideoFrame(64, 64, "yuv420p"), Fraction(100))
