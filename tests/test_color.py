"""The finder for real scenes: on rendered clips, found where it is and nowhere else."""

import math
import statistics
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ball_track import COLORS, Image, Scene, blank, draw
from bench.clips import Clip, to_i420
from common.disc import Floats
from finding.color import HUES, find, find_disc
from programs import client_options
from support.programs import read_summary, run
from support.textures import SURFACES, surface
from tools.procfs import free_port

BALLS = {  # BGR, as a lit ball looks
    "red": (40, 30, 210),
    "orange": (20, 120, 240),
    "yellow": (30, 215, 235),
    "green": (60, 190, 50),
    "cyan": (200, 190, 40),
    "blue": (210, 90, 30),
    "magenta": (190, 40, 200),
}
NAMES = list(BALLS)
SLOW = pytest.mark.slow
SOME = [name if name in {"red", "green", "blue"} else pytest.param(name, marks=SLOW) for name in NAMES]


def clip_of(name: str, seed: int = 1, **changes: float) -> Clip:
    """Return a clip with a ball of a colour, and another ball of one far from it."""
    other = BALLS[NAMES[(NAMES.index(name) + 3) % len(NAMES)]]
    return Clip(seed, BALLS[name], other, **changes)  # type: ignore[arg-type]  # sizes and speeds


def check(clip: Clip, hues: tuple[float, float], mean_error: float) -> None:
    """Check what is found in a clip against its truth."""
    errors: list[float] = []
    visible = 0
    for image, truth in clip.render():
        point = find(image, hues)
        if truth is None:
            assert point is None, "found where it is hidden"
            continue
        visible += 1
        if point is not None:
            errors.append(math.dist(point, truth))
    assert len(errors) >= 0.96 * visible
    assert statistics.mean(errors) <= mean_error


@pytest.mark.parametrize("name", SOME)
def test_find_follows_the_ball_of_its_color(name: str):
    """Texture, light, noise, blur and another ball notwithstanding, it is found in 96 % and 0.3 px off in the mean."""
    check(clip_of(name, NAMES.index(name)), HUES[name], 0.3)


@SLOW
@pytest.mark.parametrize("seed", range(100, 106))
def test_find_follows_it_before_any_background(seed: int):
    """What holds for one background, path and light holds for others."""
    check(clip_of(NAMES[seed % len(NAMES)], seed), HUES[NAMES[seed % len(NAMES)]], 0.3)


@SLOW
@pytest.mark.parametrize("changes", [{"radius": 8.0}, {"radius": 60.0}, {"speed": 900.0}, {"noise": 10.0}])
def test_find_copes_with_more(changes: dict[str, float]):
    """A small, a large, a fast ball and heavy noise stay within 1 px in the mean."""
    check(clip_of("orange", 3, **changes), HUES["orange"], 1.0)


def test_find_disc_measures_the_radius():
    """The radius is that of the ball that was drawn, within half a pixel and blur."""
    for image, truth in clip_of("green", frames=10).render():
        disc = find_disc(image, HUES["green"])
        assert truth is not None
        assert disc is not None
        assert disc.radius == pytest.approx(20, abs=1)


@pytest.mark.parametrize("name", ["red", "green", "blue", "yellow", "cyan", "magenta"])
def test_find_agrees_with_the_drawn_ball(name: str):
    """On the drawn scene, whose truth is exact, it is 0.02 px off at most."""
    scene = Scene(color=COLORS[name])
    for k in range(0, 40, 3):
        point = find(draw(scene, scene.position(k)), HUES[name])
        assert point is not None
        assert math.dist(point, scene.position(k)) < 0.02


@pytest.mark.parametrize("name", BALLS)
def test_find_sees_no_ball_in_other_things(name: str):
    """A black picture, noise, a bar and a frame of the colour are no ball."""
    dice = np.random.default_rng(0)
    assert find(blank(320, 240), HUES[name]) is None
    assert find(dice.integers(0, 256, (360, 320), np.uint8), HUES[name]) is None
    for corners, thickness in ((((40, 100), (280, 120)), cv2.FILLED), (((100, 60), (110, 200)), cv2.FILLED)):
        picture = np.full((240, 320, 3), 90, np.uint8)
        cv2.rectangle(picture, *corners, BALLS[name], thickness)
        assert find(to_i420(picture), HUES[name]) is None


def test_find_takes_the_larger_of_two():
    """Of two balls of the colour the larger one counts."""
    picture = np.full((240, 320, 3), 90, np.uint8)
    cv2.circle(picture, (80, 120), 15, BALLS["red"], cv2.FILLED)
    cv2.circle(picture, (220, 120), 25, BALLS["red"], cv2.FILLED)
    assert find(to_i420(picture), HUES["red"]) == pytest.approx((220, 120), abs=0.2)


def with_ball(x: int, y: int) -> Image:
    """Return a picture of 320x240 with a blue ball of radius 24, perhaps cut off by the edge."""
    picture = np.full((240, 320, 3), 90, np.uint8)
    cv2.circle(picture, (x, y), 24, BALLS["blue"], cv2.FILLED)
    return to_i420(picture)


@pytest.mark.parametrize(("x", "y"), [(24, 24), (295, 215), (24, 120), (160, 215)])
def test_find_sees_a_ball_that_touches_the_edge(x: int, y: int):
    """A ball that is whole, at the very edge of the picture, is found as anywhere else."""
    assert find(with_ball(x, y), HUES["blue"]) == pytest.approx((x, y), abs=0.3)


@pytest.mark.parametrize(("x", "y"), [(160, 12), (305, 120)])
def test_find_sees_what_is_left_of_a_ball_at_the_edge(x: int, y: int):
    """Of a ball that is cut off by the edge, half of its rim or more to be seen, the centre is found by the rest."""
    point = find(with_ball(x, y), HUES["blue"])
    assert point is not None
    assert math.dist(point, (x, y)) < 1


@pytest.mark.parametrize(("x", "y"), [(2, 2), (-8, 100), (318, 238)])
def test_find_makes_no_centre_of_less_than_half_a_rim(x: int, y: int):
    """Where less is to be seen the ball is missed, rather than found in the middle of what is left of it."""
    assert find(with_ball(x, y), HUES["blue"]) is None


@pytest.mark.parametrize(("x", "y"), [(-23, 100), (160, -22), (342, 120)])
def test_find_sees_no_ball_in_a_sliver(x: int, y: int):
    """Of a ball that is all but out of the picture nothing is made."""
    assert find(with_ball(x, y), HUES["blue"]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", None), ("red", (345, 15)), ("340-20", (340, 20)), ("0-360", (0, 360)), ("90-150", (90, 150))],
)
def test_client_takes_names_and_hues(text: str, expected: tuple[int, int] | None):
    """--color is a name, a range in degrees, or auto."""
    assert client_options.parse_args(["--color", text]).color == expected


@pytest.mark.parametrize("text", ["", "plaid", "10", "10-", "-5-20", "0-361", "1.5-3", "٣-٤"])
def test_client_refuses_other_colors(text: str, capsys: pytest.CaptureFixture[str]):
    """Anything else is wrong usage, told in one line with all that may be said."""
    with pytest.raises(SystemExit) as ending:
        client_options.parse_args([f"--color={text}"])
    assert ending.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(each in told for each in ("auto", *HUES, "340-20", "#ff0000"))


@SLOW
@pytest.mark.parametrize("transport", ["media", "tcp"])
def test_programs_find_a_ball_in_a_real_scene(tmp_path: Path, transport: str):
    """A rendered clip as the server's source is found and scored against its truth, through codec and network."""
    clip, rows = clip_of("red", frames=30, radius=24.0), ["frame,x,y"]
    with av.open(tmp_path / "clip.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        for k, (image, truth) in enumerate(clip.render()):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="yuv420p")))
            rows.append(f"{k},{truth.x},{truth.y}" if truth is not None else f"{k},,")
        container.mux(stream.encode())
    (tmp_path / "clip.csv").write_text("\n".join(rows))
    port, path = free_port(), tmp_path / "s.json"
    shared = ("--signaling-port", port, "--transport", transport)
    source = ("--source", tmp_path / "clip.mp4", "--truth", tmp_path / "clip.csv")
    rate = ("--bitrate", "4M") if transport == "media" else ()
    with (
        run("server.py", *shared, *source, *rate, "--summary", path) as serving,
        run("client.py", *shared, "--color", "red") as finding,
    ):
        serving.wait_for(r"scored \d\d")
        assert finding.end() == 0
        assert serving.end() == 0
    summary = read_summary(path)
    assert summary["error_px"]["p50"] < 1
    assert summary["frames"]["missed"] > 0  # where it is hidden
    assert summary["frames"]["unmatched"] == 0


# --- What is a ball, and what is none ------------------------------------------------------------


@cache
def built_wall(seed: int) -> Floats:
    """Return a grey wall with a little texture and colour, (480, 640, 3) BGR, for all who do not paint on it."""
    dice = np.random.default_rng(seed)
    texture = np.full((480, 640, 3), 110.0)
    for cells, strength in ((4, 25), (16, 18), (64, 12)):
        spots = dice.normal(0, strength, (cells, cells, 1)) + dice.normal(0, strength / 4, (cells, cells, 3))
        texture += cv2.resize(spots, (640, 480), interpolation=cv2.INTER_CUBIC)
    clipped: Floats = np.clip(texture, 20, 220)
    return clipped


def wall(seed: int) -> Floats:
    """Return a wall to paint on."""
    return built_wall(seed).copy()


@cache
def noise(seed: int) -> Floats:
    """Return a camera's noise, (480, 640, 3)."""
    return np.random.default_rng(seed).normal(0, 3, (480, 640, 3))


def seen_by_camera(picture: Floats, seed: int = 0) -> Image:
    """Return a picture as a camera gives it: a little blurred, with noise."""
    return to_i420(np.clip(cv2.GaussianBlur(picture, (0, 0), 0.7) + noise(seed), 0, 255).astype(np.uint8))


def with_lit_ball(picture: Floats, x: float, y: float, radius: float, name: str) -> Floats:
    """Return a picture with a ball in it that is lit from the left."""
    right, down = np.arange(640) - x, (np.arange(480) - y)[:, None]
    covered = np.clip(radius + 0.5 - np.hypot(right, down), 0, 1)[..., None]
    light = 0.8 - 0.2 * np.clip(right / radius, -1, 1)[..., None] + 0 * covered
    mixed: Floats = picture * (1 - covered) + covered * light * np.array(BALLS[name])
    return mixed


@pytest.mark.parametrize("radius", [20, 40])
@pytest.mark.parametrize("hidden", [0.25, 0.5])
def test_find_fits_the_rim_that_is_seen(radius: float, hidden: float):
    """Of a ball that something hides in part the centre is found by the rest of the rim, or not at all."""
    errors = []
    for n, name in enumerate(BALLS):
        angle, (x, y) = 2.4 * n, (200 + 37.3 * n, 160 + 21.7 * n)
        across = (np.arange(640) - x) * math.cos(angle) + (np.arange(480) - y)[:, None] * math.sin(angle)
        picture = with_lit_ball(wall(n), x, y, radius, name)
        hiding = (across > radius * (1 - 2 * hidden))[..., None]
        point = find(seen_by_camera(np.where(hiding, 0.8 * wall(n + 99), picture), n), HUES[name])
        errors += [math.dist(point, (x, y))] if point is not None else []
    assert len(errors) >= len(BALLS) - 1
    assert max(errors) < 1


def other_things(name: str) -> Iterator[tuple[str, Floats]]:
    """Return pictures of things of a colour that are no balls."""
    color = BALLS[name]
    for size in (20, 45):
        for corners in (3, 4, 5):
            picture, angles = wall(corners), np.arange(corners) * (2 * math.pi / corners) + 0.4
            outline = np.stack((300 + size * np.cos(angles), 240 + size * np.sin(angles)), axis=1)
            cv2.fillPoly(picture, [np.rint(outline * 16).astype(np.int32)], color, cv2.LINE_AA, 4)
            yield f"{corners} corners", picture
        ring, merged, cross = wall(7), wall(8), wall(9)
        cv2.circle(ring, (300, 240), size, color, max(4, size // 2), cv2.LINE_AA)
        yield "a ring", ring
        for x in (300 - size // 2, 300 + size // 2):
            cv2.circle(merged, (x, 240), size, color, cv2.FILLED, cv2.LINE_AA)
        yield "two merged discs", merged
        for way in ((size, 0), (0, size)):
            cv2.line(cross, (300 - way[0], 240 - way[1]), (300 + way[0], 240 + way[1]), color, size // 2)
        yield "a cross", cross


@pytest.mark.parametrize("name", BALLS)
def test_find_takes_no_other_thing_for_a_ball(name: str):
    """What has corners, a hole or a second half is no ball, though it be of the colour."""
    for what, picture in other_things(name):
        assert find(seen_by_camera(picture), HUES[name]) is None, what


@pytest.mark.parametrize("name", BALLS)
def test_find_prefers_the_ball_to_a_larger_patch(name: str):
    """Not the largest thing of the colour is the ball, but the one that a disc explains."""
    angles = np.arange(0, 2 * math.pi, 0.1)
    away = 60 * (1 + 0.25 * np.sin(3 * angles))
    outline = np.stack((420 + away * np.cos(angles), 300 + away * np.sin(angles)), axis=1)
    picture = wall(3)
    cv2.fillPoly(picture, [np.rint(outline).astype(np.int32)], BALLS[name], cv2.LINE_AA)
    point = find(seen_by_camera(with_lit_ball(picture, 150.3, 120.6, 20, name)), HUES[name])
    assert point == pytest.approx((150.3, 120.6), abs=0.4)


def test_find_follows_a_ball_that_its_motion_draws_out():
    """At 30 px of blur what is found is 1.1 px off in the mean, and four of five are found."""
    errors: list[float] = []
    looked = 0
    for seed in range(1, 9):
        for image, truth in clip_of("orange", seed, speed=1800.0, frames=6, noise=3.0).render():
            looked += 1
            point = find(image, HUES["orange"])
            errors += [math.dist(point, truth)] if point is not None and truth is not None else []
    assert len(errors) >= 0.8 * looked
    assert statistics.mean(errors) < 1.1


@pytest.mark.parametrize("name", [each if each == "foliage" else pytest.param(each, marks=SLOW) for each in SURFACES])
def test_find_sees_hardly_a_ball_in_a_texture(name: str):
    """Where a person sees no ball, in wood, grass, brick and leaves, at most one look in a hundred finds one."""
    images = [to_i420(surface(name, seed)) for seed in range(20)]
    found = [find(image, hues) for image in images for hues in HUES.values()]
    assert sum(point is not None for point in found) <= 0.01 * len(found)
