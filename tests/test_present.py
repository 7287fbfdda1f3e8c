"""present.py: where the ball is now, as far as a client can know it."""

import math
import random

import pytest

from ball_track import Scene
from protocol.matching import stamp
from protocol.messages import Score
from views.present import MAX_AGE, Present

FPS = 30
SHIFT = 1_234_567_890  # ticks by which the client's pts differ from the server's
AHEAD = 777.0  # s by which its clock does


def watch(present: Present, scene: Scene, frames: int, out: float, back: float, jitter: float = 0.0) -> float:
    """Let a client see a film over a link, and have it scored; return its time (s) when the last score came.

    Args:
        out, back: s that each way takes; jitter: s around each.
    """
    dice = random.Random(1)
    now = 0.0
    for k in range(frames):
        taken, there, home, again = k / FPS, *(dice.uniform(way - jitter, way + jitter) for way in (out, back, out))
        pts = stamp(k, FPS) + SHIFT
        present.on_found(pts, scene.position(k), AHEAD + taken + there)
        now = AHEAD + taken + there + home + again
        present.on_score(Score(pts, None, (there + home) * 1000, k + 1, 0), now)
    return now


def off(present: Present, scene: Scene, now: float) -> float:
    """Return by how much (px) it is wrong at time `now` (s) of the client."""
    where = present.where(now)
    assert where is not None
    return math.dist(where, scene.position((now - AHEAD) * FPS))


@pytest.mark.parametrize(("way", "jitter"), [(0.002, 0.0), (0.05, 0.01), (0.1, 0.02)])
def test_where_is_right_whatever_the_clocks_say(way: float, jitter: float) -> None:
    """Two clocks that share nothing, pts that are off by a constant and irregular: hardly off all the same."""
    scene = Scene(speed=240, seed=1)
    present = Present()
    assert off(present, scene, watch(present, scene, 40, way, way, jitter)) < 2


def test_where_is_off_by_half_of_what_the_ways_differ() -> None:
    """A link that takes longer one way than the other cannot be seen through: the error is speed times half of that."""
    scene = Scene(speed=240, seed=1)
    present = Present()
    now = watch(present, scene, 40, 0.08, 0.02)
    assert off(present, scene, now) == pytest.approx(240 * 0.03, abs=1.5)


def test_where_does_not_believe_a_score_that_was_held_up() -> None:
    """A score that waited on its way says little of when its frame was taken: the quickest one is believed."""
    scene = Scene(speed=240, seed=1)
    present = Present()
    now = watch(present, scene, 40, 0.02, 0.02)
    present.on_score(Score(stamp(38, FPS) + SHIFT, None, 40.0, 40, 0), now + 0.5)
    assert off(present, scene, now) < 2


def test_where_says_nothing_until_a_score_came() -> None:
    """Without a score nobody knows how old a frame is; without a second coordinate nobody knows where it goes."""
    scene = Scene()
    present = Present()
    assert present.where(0) is None
    for k in range(3):
        present.on_found(k * 3000, scene.position(k), k / FPS)
    assert present.where(0.1) is None
    present.on_score(Score(123, None, 5.0, 1, 0), 0.1)  # of a frame that it does not know
    assert present.where(0.1) is None
    present.on_score(Score(3000, None, 5.0, 1, 0), 0.1)
    assert present.where(0.11) is not None


def test_where_says_nothing_of_long_ago() -> None:
    """When the ball has not been found for a while, there is no saying where it is."""
    scene = Scene()
    present = Present()
    now = watch(present, scene, 20, 0.01, 0.01)
    assert present.where(now) is not None
    assert present.where(now + MAX_AGE) is None
