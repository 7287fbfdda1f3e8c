"""The number in the picture, as the page reads it: the same as Python reads, and a neighbour is told by it."""

import base64
import random
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import Chrome

from ball_track import Image, blank, planes
from protocol.matching import stamp
from protocol.picture_code import PERIOD, blacken
from support.coded import coded_image, coded_scene, layout

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SOURCE = base64.b64encode((Path(__file__).parent.parent / "browser" / "code.js").read_bytes()).decode()

# Gets I420 images as [data in base64, width, height]; returns the number of each, and its data without margins.
READ = """
    const [source, images, done] = arguments;
    (async () => {
        const {blacken, readNumber} = await import(
            URL.createObjectURL(new Blob([atob(source)], {type: "text/javascript"})));
        done(images.map(([text, width, height]) => {
            const data = Uint8Array.from(atob(text), character => character.charCodeAt(0)), luma = width * height;
            const plane = (offset, side) =>
                ({data, offset, step: 1, stride: width / side, width: width / side, height: height / side});
            const image = {y: plane(0, 1), u: plane(luma, 2), v: plane(luma * 5 / 4, 2)};
            const number = readNumber(image);
            if (number !== null) blacken(image);
            let text64 = "";
            for (let at = 0; at < data.length; at += 8192) {
                text64 += String.fromCharCode(...data.subarray(at, at + 8192));
            }
            return [number, btoa(text64)];
        }));
    })().catch(error => done(String(error)));
"""

# Gets [[pts, number], ...]; returns which of the pictures are said to be another frame's.
BELIE = """
    const [source, shown, done] = arguments;
    (async () => {
        const {Numbers} = await import(URL.createObjectURL(new Blob([atob(source)], {type: "text/javascript"})));
        const numbers = new Numbers();
        done(shown.map(([pts, number]) => numbers.belie(pts, number)));
    })().catch(error => done(String(error)));
"""


def read_in(browser: Chrome, images: list[Image]) -> list[tuple[int | None, Image]]:
    """Return what the page reads in each image, and what it leaves of it."""
    packed = [[base64.b64encode(image.tobytes()).decode(), image.shape[1], image.shape[0] * 2 // 3] for image in images]
    read = browser.execute_async_script(READ, SOURCE, packed)
    assert isinstance(read, list), read
    left = [np.frombuffer(base64.b64decode(text), np.uint8) for _, text in read]
    return [(number, rest.reshape(image.shape)) for (number, _), rest, image in zip(read, left, images, strict=True)]


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (854, 480), (1280, 720)])
def test_page_reads_the_number_and_paints_it_out(browser: Chrome, size: tuple[int, int]) -> None:
    """Number and margins are those of Python, to the bit, whatever the size."""
    scene, ks = coded_scene(*size), [0, 1, 40_000, PERIOD - 1, PERIOD + 77]
    images = [coded_image(scene, k) for k in ks]
    read = read_in(browser, images)
    assert [number for number, _ in read] == [k % PERIOD for k in ks]
    for image, (_, left) in zip(images, read, strict=True):
        blacken(planes(image), layout(scene))
        assert np.array_equal(left, image)


def test_page_reads_no_number_where_there_is_none(browser: Chrome) -> None:
    """Black, noise, and two frames mixed or torn have no number, and stay as they are."""
    scene = coded_scene()
    first, second = coded_image(scene, 10), coded_image(scene, 11)
    mixed = (0.6 * first + 0.4 * second).astype(np.uint8)
    torn = np.concatenate((first[:240], second[240:]))
    noise = np.random.default_rng(1).integers(0, 256, first.shape, np.uint8)
    images = [blank(640, 480), blank(64, 64), noise, mixed, torn]
    for image, (number, left) in zip(images, read_in(browser, images), strict=True):
        assert number is None
        assert np.array_equal(left, image)


@pytest.mark.parametrize("seed", range(4))
def test_page_tells_a_neighbours_picture_by_its_number(browser: Chrome, seed: int) -> None:
    """A picture of the frame before or behind is told, across seams of stamps and numbers, and no other is."""
    dice, fps = random.Random(seed), random.Random(seed).choice([15, 30, 59.94])
    shown: list[list[int]] = []
    wrong: list[bool] = []
    k = PERIOD - 200
    for index in range(400):
        k += 1 if dice.random() < 0.9 else dice.randint(2, 4)  # some frames are never shown
        off = dice.choice([-1, 1]) if index > 12 and not wrong[-1] and dice.random() < 0.1 else 0
        wrong.append(off != 0)
        shown.append([(2**32 - 90_000 + stamp(k, fps)) % 2**32, (k + off) % PERIOD])
    assert browser.execute_async_script(BELIE, SOURCE, shown) == wrong
