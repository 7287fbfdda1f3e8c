"""Finding in JavaScript, against what was drawn and against ball_track.find."""

import base64
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome

from ball_track import COLORS, Image, Point, Scene, blank, draw, find, planes
from protocol.matching import stamp

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIND, NEIGHBOUR = (
    (Path(__file__).parent.parent / "browser" / name).read_bytes() for name in ("find.js", "neighbour.js")
)

# Gets images as [data, format, width, height], data in base64; returns what is found in each.
SCRIPT = """
    const [source, images, done] = arguments;
    const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
    (async () => {
        const {find, planesOf, planesOfPixels} = await import(
            URL.createObjectURL(new Blob([atob(source)], {type: "text/javascript"})));
        done(images.map(([data, format, width, height]) => {
            const luma = width * height, offsets = [0, luma, luma * 5 / 4];
            const strides = format === "NV12" ? [width, width] : [width, width / 2, width / 2];
            const layout = strides.map((stride, index) => ({offset: offsets[index], stride}));
            return find(format === "RGBA" ? planesOfPixels(bytes(data), width, height)
                                          : planesOf(bytes(data), layout, format, width, height));
        }));
    })().catch(error => done(String(error)));
"""


def find_in(browser: Chrome, images: list[Image], data_format: str = "I420") -> list[dict[str, float] | None]:
    """Return what the browser's finder finds in each image."""
    packed = [pack(image, data_format) for image in images]
    found: list[Any] = browser.execute_async_script(SCRIPT, base64.b64encode(FIND).decode(), packed)
    assert isinstance(found, list), found
    return found


def pack(image: Image, data_format: str) -> list[object]:
    """Return an image as the script wants it."""
    luma, u, v = planes(image)
    height, width = luma.shape
    match data_format:
        case "I420":
            data = image.tobytes()
        case "NV12":
            data = luma.tobytes() + np.stack([u, v], axis=-1).tobytes()
        case _:
            import cv2

            data = cv2.cvtColor(image, cv2.COLOR_YUV2RGBA_I420).tobytes()
    return [base64.b64encode(data).decode(), data_format, width, height]


def scenes(seed: int, count: int) -> list[tuple[Scene, Point]]:
    """Return so many balls of all colours and sizes, anywhere, walls included."""
    dice = random.Random(seed)
    chosen = []
    for index in range(count):
        width, height = dice.choice([(640, 480), (320, 240), (130, 98), (800, 450)])
        radius = dice.uniform(4, min(width, height) / 4)
        scene = Scene(width, height, radius=radius, color=list(COLORS.values())[index % len(COLORS)], seed=index)
        chosen.append((scene, scene.position(dice.uniform(0, 500))))
    return chosen


@pytest.mark.parametrize("data_format", ["I420", "NV12"])
def test_find_finds_what_was_drawn(browser: Chrome, data_format: str):
    """A ball of any colour and size is found within hundredths of a pixel of where it was drawn."""
    chosen = scenes(1, 40)
    found = find_in(browser, [draw(*each) for each in chosen], data_format)
    for (scene, truth), place in zip(chosen, found, strict=True):
        assert place is not None, scene
        assert place["x"] == pytest.approx(truth.x, abs=0.02), scene
        assert place["y"] == pytest.approx(truth.y, abs=0.02), scene
        assert place["radius"] == pytest.approx(scene.radius, abs=0.3), scene


def test_find_agrees_with_ball_track(browser: Chrome):
    """On noisy pictures, too, it says what ball_track.find says, within what the noise leaves open."""
    noise = np.random.default_rng(2)
    images = []
    for scene, truth in scenes(2, 24):
        image = draw(scene, truth)
        images.append(np.clip(image + noise.normal(0, 2, image.shape), 0, 255).astype(np.uint8))
    for image, place in zip(images, find_in(browser, images), strict=True):
        ours = find(image)
        assert (place is None) == (ours is None)
        if place is not None and ours is not None:
            assert (place["x"], place["y"]) == pytest.approx(tuple(ours), abs=0.02)


def test_find_reads_the_pixels_of_a_canvas(browser: Chrome):
    """From RGB, where the colour was rounded twice, a ball is still found within hundredths of a pixel."""
    chosen = [(Scene(color=color), Point(100.3 + 40 * n, 99.7 + 20 * n)) for n, color in enumerate(COLORS.values())]
    for (scene, truth), place in zip(chosen, find_in(browser, [draw(*each) for each in chosen], "RGBA"), strict=True):
        assert place is not None, scene
        assert (place["x"], place["y"]) == pytest.approx(truth, abs=0.03)


def test_find_finds_nothing_where_there_is_no_ball(browser: Chrome):
    """Black, noise, a bar, a speck and two balls are no ball."""
    noise = np.random.default_rng(3)
    black = blank(320, 240)
    bar, speck = black.copy(), black.copy()
    bar[100:110, 40:280] = 200
    speck[50:52, 50:52] = 200
    two = np.maximum(draw(Scene(320, 240), Point(60, 60)), draw(Scene(320, 240), Point(250, 180)))
    noisy = noise.integers(0, 256, black.shape, dtype=np.uint8)
    assert find_in(browser, [black, bar, speck, two, noisy]) == [None] * 5


# Gets [[pts, x, y], ...], what each picture shows; returns which of them are said to be a neighbour's.
NEIGHBOUR_SCRIPT = """
    const [source, places, done] = arguments;
    (async () => {
        const {Neighbour} = await import(URL.createObjectURL(new Blob([atob(source)], {type: "text/javascript"})));
        const neighbour = new Neighbour();
        done(places.map(([pts, x, y]) => neighbour.shows({x, y, radius: 20}, pts, 640, 480)));
    })().catch(error => done(String(error)));
"""


@pytest.mark.parametrize("seed", range(6))
def test_neighbour_is_told_by_the_path(browser: Chrome, seed: int):
    """A picture of the frame before or behind is told from the frame's own, at the walls too, and no other is."""
    scene, dice = Scene(speed=240, seed=seed), random.Random(seed)
    shown: list[list[float]] = []
    wrong: list[bool] = []
    k = 0
    for index in range(400):
        k += 1 if dice.random() < 0.9 else dice.randint(2, 4)  # some frames are never shown
        off = dice.choice([-1, 1]) if index > 5 and not (wrong and wrong[-1]) and dice.random() < 0.1 else 0
        wrong.append(off != 0)
        shown.append([(2**32 - 90_000 + stamp(k, scene.fps)) % 2**32, *scene.position(k + off)])
    source = base64.b64encode(NEIGHBOUR).decode()
    told = browser.execute_async_script(NEIGHBOUR_SCRIPT, source, shown)
    assert isinstance(told, list), told
    missed = sum(is_wrong and not said for is_wrong, said in zip(wrong, told, strict=True))
    blamed = sum(said and not is_wrong for is_wrong, said in zip(wrong, told, strict=True))
    assert missed <= 1
    assert blamed <= 4  # of 400: one is left out, and not scored falsely
