"""film.py: each frame is due at its time, whoever asks for it, and however late."""

import asyncio
import math

import numpy as np
import pytest

from ball_track import Image, Point, Scene, draw, find, planes
from film import drawn as film
from film.drawn import Film
from protocol.matching import stamp
from protocol.picture_code import blacken, check_of, read
from support.coded import RUN, coded_scene, layout

SCENE = Scene(64, 64, fps=30, radius=10, speed=100)


class Clock:
    """A clock that goes on only while the film sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0

    def __call__(self) -> float:
        """Return the time, s."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass: a bit less than asked for, as a timer of coarse resolution does, but never nothing."""
        self.slept += 1
        self.now += max(seconds * 0.9, 1e-6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the film goes by."""
    clock = Clock()
    monkeypatch.setattr("film.drawn.asyncio.sleep", clock.sleep)
    return clock


@pytest.mark.parametrize("fps", [1, 29.97, 30, 240])
async def test_next_keeps_to_the_schedule(clock: Clock, fps: float) -> None:
    """Frame k is drawn k / fps seconds after the first, never before and hardly after, without any drift."""
    shown = Film(Scene(64, 64, fps=fps, radius=10, speed=10), clock)
    for k in range(400):
        clock.now += 0.2 / fps  # what the rest of the work takes
        shot = await shown.next(after=k - 1)
        assert shot.k == k
        assert -1e-9 <= shot.drawn - (1000 + 0.2 / fps + k / fps) < 0.001
        assert shot.captured == pytest.approx(1000 + 0.2 / fps + k / fps, abs=1e-9)
    assert clock.slept


async def test_next_shows_what_is_true(clock: Clock) -> None:
    """A shot has the frame's stamp, the ball's true centre, and the image of it."""
    shown = Film(SCENE, clock)
    for k in range(3):
        shot = await shown.next(after=k - 1)
        assert shot.pts == stamp(k, 30)
        assert shot.truth == SCENE.position(k)
        assert np.array_equal(shot.image, draw(SCENE, SCENE.position(k)))


async def test_next_gives_one_who_is_late_the_frame_that_is_due(clock: Clock) -> None:
    """Frames that are over are passed over: no queue of old ones, and no waiting."""
    shown = Film(SCENE, clock)
    await shown.next(after=-1)
    clock.now += 100.5 / 30
    slept = clock.slept
    shot = await shown.next(after=0)
    assert shot.k == 100
    assert clock.slept == slept
    assert (await shown.next(after=shot.k)).k == 101


async def test_next_starts_when_the_first_one_asks(clock: Clock) -> None:
    """The film waits for its audience; one that comes later gets what is on by then."""
    shown = Film(SCENE, clock)
    clock.now += 1000
    assert (await shown.next(after=-1)).k == 0
    clock.now += 10.5 / 30
    assert (await shown.next(after=-1)).k == 10


async def test_next_draws_a_frame_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who ask for the same frame get the same shot."""
    drawn = []

    def counted(scene: Scene, center: Point) -> Image:
        drawn.append(center)
        return draw(scene, center)

    monkeypatch.setattr(film, "draw", counted)
    shown = Film(Scene(64, 64, fps=240, radius=10))
    last = -1
    for _ in range(5):
        shots = await asyncio.gather(*(shown.next(after=last) for _ in range(3)))
        last = shots[-1].k
    assert all(shot is shots[-1] for shot in shots if shot.k == last)
    assert len(drawn) == len(set(drawn))


async def test_next_never_goes_back(clock: Clock) -> None:
    """One who is behind another in the same frame interval gets the newest shot, not an older one."""
    shown = Film(SCENE, clock)
    shot = await shown.next(after=-1)
    for _ in range(20):
        newer = await shown.next(after=shot.k)
        assert newer.k == shot.k + 1
        assert await shown.next(after=shot.k) is newer
        shot = newer


async def test_where_follows_the_ball_between_the_frames(clock: Clock) -> None:
    """At a frame's due time the ball is where the frame shows it; before the film it is at its start."""
    shown = Film(SCENE, clock)
    assert shown.where(5.0) == SCENE.position(0)
    start = (await shown.next(after=-1)).drawn
    assert shown.where(start) == SCENE.position(0)
    assert shown.where(start + 10 / 30) == pytest.approx(SCENE.position(10))
    assert shown.where(start + 10.25 / 30) == pytest.approx(SCENE.position(10.25))


async def test_next_writes_each_frames_number_into_it(clock: Clock) -> None:
    """With a mask for the run each picture names its frame, and the truth is still where the ball is."""
    scene = coded_scene()
    shown = Film(scene, clock, run=RUN)
    for after in range(-1, 4):
        shot = await shown.next(after)
        reading = read(planes(shot.image)[0], layout(scene))
        assert (reading.number, reading.check) == (shot.k, check_of(shot.k, RUN))
        blacken(planes(shot.image), layout(scene))
        place = find(shot.image)
        assert place is not None
        assert math.dist(place, scene.position(shot.k)) < 0.01
