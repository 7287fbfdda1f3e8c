"""Encoded images: exact as PNG, near as JPEG, and nothing else gets to a decoder."""

import asyncio
import itertools
import math
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ball_track import COLORS, Image, Scene, draw, find, planes
from film import image_encoder
from film.drawn import Film, FilmError
from film.image_encoder import ImageEncoder
from protocol import images
from protocol.images import PNG, ImageError, decode_image, encode_image
from support.reel import Reel
from transport.image_decoder import ImageDecoder


def noise(width: int = 64, height: int = 64, seed: int = 0) -> Image:
    """Return a frame of noise."""
    return np.random.default_rng(seed).integers(0, 256, (height * 3 // 2, width), np.uint8)


def frame(color: str = "white", k: int = 0) -> Image:
    """Return a frame of a film."""
    scene = Scene(color=COLORS[color])
    return draw(scene, scene.position(k))


@pytest.mark.parametrize("size", [(64, 64), (66, 80), (640, 480), (1920, 1080)])
def test_png_is_lossless(size: tuple[int, int]):
    """As PNG, every sample of a frame comes back as it was."""
    image = noise(*size)
    assert np.array_equal(decode_image(encode_image(image, PNG)), image)


@pytest.mark.parametrize("color", COLORS)
def test_jpeg_keeps_the_ball_where_it_is(color: str):
    """As JPEG of the default quality, the ball of any colour is found within 0.05 px."""
    scene = Scene(color=COLORS[color])
    for k in range(0, 60, 7):
        truth = scene.position(k)
        point = find(decode_image(encode_image(draw(scene, truth), images.DEFAULT_QUALITY)))
        assert point is not None
        assert math.dist(point, truth) < 0.05


def test_image_is_a_picture_that_opencv_can_show():
    """Two calls of OpenCV make a BGR picture of what travels, as the module says."""
    data = encode_image(frame("red"), PNG)
    gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    bgr = cv2.cvtColor(gray, cv2.COLOR_YUV2BGR_I420)
    x, y = map(round, Scene().position(0))
    assert bgr.shape == (480, 640, 3)
    assert bgr[y, x] == pytest.approx((0, 0, 255), abs=2)


def encoded(extension: str, image: npt.NDArray[Any], *options: int) -> bytes:
    """Return an image encoded by OpenCV, with its options."""
    return cv2.imencode(extension, image, options)[1].tobytes()


PNG_OF_NOISE = encode_image(noise(), PNG)
JPEG_OF_NOISE = encode_image(noise(), 90)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that is small and says that it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    header = struct.pack("!II5B", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        b"no image at all",
        PNG_OF_NOISE[:-1],
        JPEG_OF_NOISE[:-1],
        JPEG_OF_NOISE[:300],
        encoded(".png", np.zeros((96, 64, 3), np.uint8)),
        encoded(".png", np.zeros((96, 64), np.uint16)),
        encoded(".jpg", np.zeros((96, 64, 3), np.uint8)),
        encoded(".jpg", noise(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".bmp", noise()),
        encoded(".webp", noise()),
        encoded(".tiff", noise()),
        encoded(".png", np.zeros((95, 64), np.uint8)),
        encoded(".png", np.zeros((96, 63), np.uint8)),
        bomb(65535, 65535),
        bomb(4098, 96),
        bomb(2**31, 3),
        bomb(0, 0),
    ],
)
def test_decode_refuses_what_is_no_frame(data: bytes):
    """Other formats, colour, depth, progressive scans, odd or huge sizes and cut ends are all refused."""
    with pytest.raises(ImageError):
        decode_image(data)


@pytest.mark.parametrize("whole", [PNG_OF_NOISE, JPEG_OF_NOISE])
@given(st.data())
def test_decode_meets_any_damage_with_a_frame_or_an_error(whole: bytes, data: st.DataObject):
    """An image with bytes changed, taken out or put in is refused or decoded, with no other exception."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        image = decode_image(bytes(damaged))
    except ImageError:
        return
    planes(image)  # has the shape of a frame


async def test_encoder_encodes_each_frame_once():
    """Two clients get the very same encoded frame, and it shows what the film shows."""
    now = 0.0
    encoder = ImageEncoder(Film(Scene(), lambda: now), PNG)
    try:
        first, again = await asyncio.gather(encoder.next(-1), encoder.next(-1))
        assert first is again
        assert np.array_equal(decode_image(first.data), first.shot.image)
        now = 1.0
        later = await encoder.next(first.number)
        assert later.number > first.number
    finally:
        await encoder.close()


async def test_encoder_outlives_a_client_that_leaves():
    """One that waits for a frame can be cancelled while another goes on waiting for the same."""
    encoder = ImageEncoder(Film(Scene()), PNG)
    try:
        leaving, staying = (asyncio.create_task(encoder.next(-1)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying).number >= 0
    finally:
        await encoder.close()


@pytest.mark.parametrize("bad", [{0}, set(range(3, 100))])
async def test_encoder_goes_over_what_cannot_be_encoded(monkeypatch: pytest.MonkeyPatch, bad: set[int]):
    """A frame that cannot be encoded is gone over; some in a row are the end of the film, for all who ask."""
    made = itertools.count()

    def encode_or_fail(image: Image, quality: int | None) -> bytes:
        if next(made) in bad:
            raise cv2.error("no ink")
        return encode_image(image, quality)

    monkeypatch.setattr(image_encoder, "encode_image", encode_or_fail)
    encoder = ImageEncoder(Reel(Scene(64, 64, radius=8)), PNG)
    good = [k for k in range(6) if k not in bad]
    try:
        numbers = [-1]
        for _ in good:
            numbers.append((await encoder.next(numbers[-1])).number)
        assert numbers == [-1, *good]
        assert not encoder.stalled
        if len(bad) > 1:
            with pytest.raises(FilmError, match="5 frames in a row cannot be encoded"):
                await encoder.next(numbers[-1])
            assert encoder.stalled
    finally:
        await encoder.close()


class Sink:
    """Notes what a decoder says, and when it has said so much."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.skipped: list[int] = []
        self.damaged: list[str] = []
        self.failed: list[Exception] = []

    def decoder(self) -> ImageDecoder:
        """Return a decoder that says it here."""
        return ImageDecoder(self.take, self.skipped.append, self.damaged.append, self.failed.append)

    def take(self, pts: int, _: object) -> None:
        """Note a frame."""
        self.frames.append(pts)


async def until_idle(decoder: ImageDecoder) -> None:
    """Wait until a decoder has nothing to do."""
    while decoder._decoding is not None:
        await asyncio.wait([decoder._decoding])


async def test_decoder_prefers_the_newest():
    """Of the images that come while one is decoded only the last is; the others are skipped."""
    sink = Sink()
    decoder = sink.decoder()
    for pts in (1, 2, 3, 4):
        decoder.offer(pts, PNG_OF_NOISE)
    await until_idle(decoder)
    assert (sink.frames, sink.skipped) == ([4], [1, 2, 3])
    await decoder.close()


async def test_decoder_never_goes_back_in_time():
    """An image older than one before it is skipped, so that frames come in the order of the film."""
    sink = Sink()
    decoder = sink.decoder()
    for pts in (10, 5, 20):
        decoder.offer(pts, PNG_OF_NOISE)
        await until_idle(decoder)
    assert (sink.frames, sink.skipped) == ([10, 20], [5])
    await decoder.close()


async def test_decoder_tells_damage():
    """What is no image is told, and harms nothing else."""
    sink = Sink()
    decoder = sink.decoder()
    decoder.offer(1, b"nonsense")
    await until_idle(decoder)
    decoder.offer(2, JPEG_OF_NOISE)
    await until_idle(decoder)
    assert (sink.frames, len(sink.damaged)) == ([2], 1)
    await decoder.close()


async def test_decoder_tells_what_fails_of_ours():
    """What raises where a frame is handed over is told, and not lost with the task."""
    sink = Sink()
    error = ZeroDivisionError()

    def fail(*_: object) -> None:
        raise error

    sink.take = fail  # type: ignore[method-assign,assignment]  # this time
    decoder = sink.decoder()
    decoder.offer(1, JPEG_OF_NOISE)
    await until_idle(decoder)
    assert sink.failed == [error]
    await decoder.close()
